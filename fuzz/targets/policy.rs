//! Policy files: no text makes the parser panic, and what it accepts can be described.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tally_verifier::Policy;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = str::from_utf8(data) else { return };
    if let Ok(policy) = Policy::parse(text) {
        assert!(!policy.describe().is_empty());
    }
});
