//! Span proofs: what is accepted has one encoding, and no proof makes a verifier panic or hang.
//!
//! Roots are those of the proof's own shards, so that an input comes as far as its trees allow; the
//! seeds are proofs of this output.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tally_core::cbor::Cbor;
use tally_core::trace::{Claim, DocumentId, Refutation, Span, TraceProof, verify_spans};

const OUTPUT: &[u8] = b"so: what a sentence of the early one, by one that is late, says another";

fuzz_target!(|data: &[u8]| {
    if let Ok(refutation) = Refutation::parse(data) {
        assert_eq!(refutation.encode(), data);
        let _ = refutation.verify(&refutation.excerpt.shard.root());
    }
    let Ok(proof) = TraceProof::parse(data) else { return };
    assert_eq!(proof.encode(), data);
    let roots: Vec<_> = proof.shards.iter().map(|trace| trace.excerpt.shard.root()).collect();
    let owner = |shard, document| Some(DocumentId { shard, document });
    let end = u32::try_from(OUTPUT.len()).unwrap_or(u32::MAX);
    let whole = |owner| vec![Span { start: 0, end, owner }];
    let mut parts = vec![];
    let mut start = 0;
    for (until, owner) in
        [(4, None), (9, owner(0, 1)), (36, owner(0, 0)), (57, owner(0, 1)), (end, owner(1, 0))]
    {
        parts.push(Span { start, end: until, owner });
        start = until;
    }
    for window_bytes in [1, 8] {
        for spans in [&whole(None), &whole(owner(0, 0)), &parts] {
            let claim = Claim { output: OUTPUT, window_bytes, roots: &roots, spans };
            let _ = verify_spans(&claim, &proof);
        }
    }
});
