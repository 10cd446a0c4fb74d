//! Log entries: what is accepted has one encoding.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tally_core::entry::Entry;

fuzz_target!(|data: &[u8]| {
    if let Ok(entry) = Entry::parse(data) {
        assert_eq!(entry.encode(), data);
    }
});
