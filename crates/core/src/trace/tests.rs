//! The rule held against a plain model on small shards, and forged proofs, each with its reason.
#![expect(
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::cast_possible_truncation,
    clippy::integer_division,
    reason = "a test counts bytes of small texts"
)]

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::{vec, vec::Vec};
use core::ops::Range;

use super::items::Bound;
use super::*;
use crate::cbor::Cbor;
use crate::philox::block;

mod forged;
mod plain;

use plain::{Answer, Corpus, Plain};

/// Numbers that look random and are the same everywhere.
struct Draw(u32, u32);

impl Draw {
    fn below(&mut self, limit: usize) -> usize {
        self.1 += 1;
        block([self.0, self.1, 0, 0], [11, 7])[0] as usize % limit
    }

    fn text(&mut self, longest: usize, letters: usize) -> Vec<u8> {
        let len = self.below(longest + 1);
        (0..len).map(|_| b'a' + self.below(letters) as u8).collect()
    }
}

/// Shards of a few documents and an output that repeats parts of them.
fn drawn(number: u32) -> Answer {
    let mut draw = Draw(number, 0);
    let letters = [2, 3, 20][draw.below(3)];
    let mut shards = vec![];
    for _ in 0..=draw.below(3) {
        let documents = (0..=draw.below(4)).map(|_| draw.text(400, letters)).collect();
        shards.push(Plain::new(documents));
    }
    let mut output = draw.text(20, letters);
    for _ in 0..draw.below(5) {
        let shard = &shards[draw.below(shards.len())];
        let document = draw.below(shard.documents.len());
        let text = shard.text_of(document);
        let start = draw.below(text.len() + 1);
        output.extend(&text[start..start + draw.below(text.len() - start + 1).min(60)]);
        output.extend(draw.text(6, letters));
        if draw.below(8) == 0 {
            output.push(SEPARATOR);
        }
    }
    let window = [1, 2, 5, 8, 12][draw.below(5)];
    Answer { corpus: Corpus(shards), output, window }
}

#[test]
fn what_the_plain_rule_yields_is_shown_and_comes_through_its_encoding() {
    for number in 0..400 {
        let answer = drawn(number);
        let (spans, proof) = (answer.spans(), answer.proof());
        let owners =
            answer.verify(&spans, &proof).unwrap_or_else(|error| panic!("{number}: {error}"));
        let named: BTreeSet<DocumentId> = spans.iter().filter_map(|span| span.owner).collect();
        assert_eq!(owners.keys().copied().collect::<BTreeSet<_>>(), named);
        for (id, owner) in owners {
            let shard = &answer.corpus.0[id.shard as usize];
            assert_eq!(owner.document, shard.documents[id.document as usize]);
            assert_eq!(owner.document.digest, document_digest(shard.text_of(id.document as usize)));
        }
        assert_eq!(TraceProof::parse(&proof.encode()), Ok(proof));
    }
}

#[test]
fn any_other_owner_of_any_span_is_refused() {
    let mut count = 0;
    for number in 0..150 {
        let answer = drawn(number);
        let (spans, proof) = (answer.spans(), answer.proof());
        let mut owners: Vec<Option<DocumentId>> = answer.corpus.ids().map(Some).collect();
        owners.push(None);
        for at in 0..spans.len() {
            for owner in owners.iter().filter(|owner| **owner != spans[at].owner) {
                let mut forged = spans.clone();
                forged[at].owner = *owner;
                let found = answer.verify(&plain::merged(forged), &proof);
                assert!(found.is_err(), "{number}: span {at} is not of {owner:?}");
                count += 1;
            }
        }
    }
    assert!(count > 1_000, "{count}");
}

#[test]
fn borders_that_move_by_one_byte_are_refused() {
    for number in 0..150 {
        let answer = drawn(number);
        let (spans, proof) = (answer.spans(), answer.proof());
        for at in 1..spans.len() {
            for moved in [spans[at].start - 1, spans[at].start + 1] {
                let mut forged = spans.clone();
                (forged[at - 1].end, forged[at].start) = (moved, moved);
                let forged = forged.into_iter().filter(|span| span.start < span.end).collect();
                assert!(answer.verify(&plain::merged(forged), &proof).is_err(), "{number}: {at}");
            }
        }
    }
}

#[test]
fn a_probe_counts_exactly_and_bounds_at_the_earliest_occurrence() {
    for number in 0..300 {
        let answer = drawn(number);
        let proof = answer.proof();
        for trace in &proof.shards {
            let plain = &answer.corpus.0[trace.number as usize];
            let shown = trace.excerpt.verify(&plain.shard().root()).unwrap();
            for probe in &trace.probes {
                let query = &answer.output[probe.start as usize..probe.end as usize];
                let places = plain.occurrences(query);
                let bound = probe.verify(&shown, &answer.output).unwrap();
                assert_eq!((probe.high - probe.low) as usize, places.len());
                assert_eq!(bound, places.first().map_or(Bound::Absent, |at| Bound::From(*at)));
            }
        }
    }
}

#[test]
fn an_output_without_windows_is_all_residual_and_needs_no_proof() {
    let corpus = Corpus(vec![Plain::new(vec![b"abc".to_vec()])]);
    for len in 0..8 {
        let answer = Answer { corpus: corpus.clone(), output: vec![b'a'; len], window: 8 };
        let spans = answer.spans();
        assert_eq!(spans.len(), usize::from(len > 0));
        assert!(answer.verify(&spans, &TraceProof::default()).is_ok());
    }
}

#[test]
fn any_leaves_of_any_small_tree_lead_to_its_root() {
    for size in [1, 2, 3, 4, 5, 6, 7, 8, 9] {
        let leaves: Vec<Least> =
            (0..size).map(|at: u32| Least::leaf(&(at ^ 5).to_le_bytes())).collect();
        let root = plain::node_over(&leaves, 0..size);
        for set in 1_u32..1 << size {
            let wanted: Vec<u32> = (0..size).filter(|at| set >> at & 1 == 1).collect();
            let beside = prove_leaves(size, &wanted, &mut |range| plain::node_over(&leaves, range));
            let shown = || wanted.iter().map(|at| (*at, leaves[*at as usize]));
            let tree = (Tree::Array, size, root.hash);
            let partial = tree::Partial::grow(tree, shown(), beside.clone()).unwrap();
            for (from, to) in wanted.iter().flat_map(|a| wanted.iter().map(move |b| (*a, *b))) {
                let expected = (from..=to).map(|at| at ^ 5).min();
                assert_eq!(partial.least(&(from..to + 1)), Ok(expected));
            }
            let more = [beside.clone(), vec![root]].concat();
            let left = TraceError::NodesLeft {
                tree: Tree::Array,
                expected: beside.len(),
                found: more.len(),
            };
            assert_eq!(tree::Partial::grow(tree, shown(), more).unwrap_err(), left);
            for at in 0..beside.len() {
                let mut fewer = beside.clone();
                fewer.remove(at);
                assert!(tree::Partial::grow(tree, shown(), fewer).is_err());
                let mut wrong = beside.clone();
                wrong[at].entry ^= 1;
                let found = tree::Partial::grow(tree, shown(), wrong).unwrap_err();
                assert!(matches!(found, TraceError::TreeRoot { tree: Tree::Array, .. }), "{found}");
            }
        }
    }
}

#[test]
fn shards_of_which_no_window_can_be_are_passed_over() {
    // A section names 64 roots in little more than two kilobytes, and nothing has to be shown here.
    let output = vec![SEPARATOR; OUTPUT_BYTES_MAX as usize];
    let roots = vec![Digest::of_content(b"any root"); SHARD_COUNT_MAX as usize];
    let spans = [Span { start: 0, end: OUTPUT_BYTES_MAX, owner: None }];
    let claim = Claim { output: &output, window_bytes: 32, roots: &roots, spans: &spans };
    assert_eq!(verify_spans(&claim, &TraceProof::default()), Ok(BTreeMap::new()));
    // One window without the byte is open, and its bytes are not shown to be nobody's.
    let open = [vec![SEPARATOR; 32], vec![b'a'; 32], vec![SEPARATOR; 32]].concat();
    let spans = [Span { start: 0, end: 96, owner: None }];
    let claim = Claim { output: &open, window_bytes: 32, roots: &roots, spans: &spans };
    let refused = verify_spans(&claim, &TraceProof::default());
    assert_eq!(refused, Err(TraceError::ResidualOwned { at: 32, shard: 0 }));
}
