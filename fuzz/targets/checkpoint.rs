//! Checkpoints, bare and signed: what is accepted has one encoding.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tally_core::checkpoint::{Checkpoint, SignedCheckpoint};

fuzz_target!(|data: &[u8]| {
    if let Ok(signed) = SignedCheckpoint::parse(data) {
        assert_eq!(signed.encode().as_bytes(), data);
    }
    let Ok(text) = str::from_utf8(data) else { return };
    if let Ok(checkpoint) = Checkpoint::parse(text) {
        assert_eq!(checkpoint.encode(), text);
    }
});
