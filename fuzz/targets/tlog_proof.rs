//! Inclusion proofs in the tlog-proof form: one encoding, and judging one never panics.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tally_core::tlog_proof::TlogProof;

fuzz_target!(|data: &[u8]| {
    if let Ok(proof) = TlogProof::parse(data) {
        assert_eq!(proof.encode().as_bytes(), data);
        let _ = proof.verify_inclusion(data);
    }
});
