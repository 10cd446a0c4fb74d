//! Every way to forge a proof that somebody thought of, each with its own reason of refusal.

use super::*;

const WINDOW: usize = 8;

/// Two shards; the first document of each holds the same sentence, which the output repeats.
fn answer() -> Answer {
    let mut draw = Draw(1, 0);
    let mut noise = |len: usize| (0..len).map(|_| b'0' + draw.below(10) as u8).collect::<Vec<u8>>();
    let early = [noise(300), b"a sentence of the early one".to_vec(), noise(300)].concat();
    let late =
        [noise(200), b"what a sentence of the early one, by one that is late".to_vec(), noise(300)]
            .concat();
    let other = b"what a sentence, says another shard".to_vec();
    let corpus = Corpus(vec![Plain::new(vec![early, late]), Plain::new(vec![other])]);
    let output =
        b"so: what a sentence of the early one, by one that is late, says another".to_vec();
    Answer { corpus, output, window: WINDOW }
}

fn owner(shard: u32, document: u32) -> DocumentId {
    DocumentId { shard, document }
}

/// The reason for which a changed proof of the right spans is refused.
fn refused(change: impl FnOnce(&mut TraceProof)) -> TraceError {
    let answer = answer();
    let mut proof = answer.proof();
    change(&mut proof);
    answer.verify(&answer.spans(), &proof).unwrap_err()
}

/// The place of the first probe of the first shard that occurs there.
fn occurring(trace: &ShardTrace) -> usize {
    trace.probes.iter().position(|probe| probe.low < probe.high).unwrap()
}

#[test]
fn the_answer_has_all_kinds_of_owners_and_its_proof_holds() {
    let answer = answer();
    let found: Vec<_> = answer.spans().iter().map(|span| span.owner).collect();
    let [early, late, other] = [owner(0, 0), owner(0, 1), owner(1, 0)].map(Some);
    assert_eq!(found, [None, late, early, late, other]);
    answer.verify(&answer.spans(), &answer.proof()).unwrap();
}

#[test]
fn a_shifted_offset_is_another_text() {
    for moved in [-1_i32, 1] {
        let error = refused(|proof| {
            let presence = &mut proof.shards[0].presences[5];
            presence.position = presence.position.checked_add_signed(moved).unwrap();
        });
        assert!(matches!(error, TraceError::Text { .. }), "{error}");
    }
}

#[test]
fn a_position_outside_its_document_is_refused() {
    let error = refused(|proof| proof.shards[0].presences[0].document ^= 1);
    assert!(matches!(error, TraceError::OutsideDocument { .. }), "{error}");
    let error = refused(|proof| proof.shards[0].presences[0].document = 9);
    assert_eq!(error, TraceError::NotShown { tree: Tree::Documents, index: 9 });
}

#[test]
fn a_span_that_hides_an_earlier_owner_is_refused() {
    let answer = answer();
    let early =
        answer.spans().iter().find(|span| span.owner == Some(owner(0, 0))).copied().unwrap();
    // The later document holds the whole sentence, so it claims all of it, or all but a little.
    for shortened in
        [early.start..early.end, early.start..early.end - 1, early.start + 1..early.end]
    {
        let mut spans = vec![];
        for at in 0..answer.output.len() as u32 {
            let was = answer.spans().into_iter().find(|span| span.end > at).unwrap().owner;
            let owner = if shortened.contains(&at) { Some(owner(0, 1)) } else { was };
            spans.push(Span { start: at, end: at + 1, owner });
        }
        let mut proof = answer.proof();
        // Further presences show that it holds the text; what is earlier cannot be hidden.
        let plain = &answer.corpus.0[0];
        let text = &answer.output[early.start as usize..early.end as usize];
        let position = *plain.occurrences(text).last().unwrap();
        proof.shards[0].presences.push(Presence {
            start: early.start,
            end: early.end,
            document: 1,
            position,
        });
        let error = answer.verify(&plain::merged(spans.clone()), &proof).unwrap_err();
        let TraceError::EarlierOwner { at, owner: claimed, shard: 0, .. } = error else {
            panic!("{error}")
        };
        assert_eq!((at, claimed), (shortened.start, owner(0, 1)));
    }
}

#[test]
fn an_owned_byte_is_not_of_the_residual_and_a_residual_byte_of_nobody() {
    let answer = answer();
    let (spans, proof) = (answer.spans(), answer.proof());
    let mut forged = spans.clone();
    forged[2].owner = None;
    let error = answer.verify(&forged, &proof).unwrap_err();
    assert_eq!(error, TraceError::ResidualOwned { at: spans[2].start, shard: 0 });
    let mut forged = spans.clone();
    forged[0].owner = Some(owner(0, 0));
    let error = answer.verify(&forged, &proof).unwrap_err();
    assert_eq!(error, TraceError::NotCovered { at: 0, owner: owner(0, 0) });
    // A residual whose absence nobody shows is none.
    let error = answer.verify(&spans, &TraceProof::default()).unwrap_err();
    assert_eq!(error, TraceError::ResidualOwned { at: 0, shard: 0 });
    let mut no_later = proof.clone();
    no_later.shards[1].probes.clear();
    let error = answer.verify(&spans, &no_later).unwrap_err();
    assert_eq!(error, TraceError::ResidualOwned { at: 0, shard: 1 });
    // An owner in a later shard is earlier than nobody, and later than an earlier shard.
    let mut no_earlier = proof;
    no_earlier.shards[0].probes.retain(|probe| probe.start + 20 < spans[4].start);
    let error = answer.verify(&spans, &no_earlier).unwrap_err();
    assert!(matches!(error, TraceError::EarlierOwner { shard: 0, position: 0, .. }), "{error}");
}

#[test]
fn an_interval_with_a_wrong_edge_names_the_wrong_neighbour() {
    let change = |low: i32, high: i32| {
        refused(move |proof| {
            let at = occurring(&proof.shards[0]);
            let probe = &mut proof.shards[0].probes[at];
            probe.low = probe.low.checked_add_signed(low).unwrap();
            probe.high = probe.high.checked_add_signed(high).unwrap();
        })
    };
    let neighbour = |error| {
        let TraceError::Neighbour { neighbour, .. } = error else { panic!("{error}") };
        neighbour
    };
    // Too small on either side, too large on either side, beside, and empty.
    assert_eq!(neighbour(change(1, 0)), Neighbour::Before);
    assert_eq!(neighbour(change(0, -1)), Neighbour::Behind);
    assert_eq!(neighbour(change(-1, 0)), Neighbour::First);
    assert_eq!(neighbour(change(0, 1)), Neighbour::Last);
    assert_eq!(neighbour(change(-1, -1)), Neighbour::Behind);
    let error = change(1_000_000, 1_000_000);
    assert!(matches!(error, TraceError::Interval { .. }), "{error}");
    let error = change(1, -2);
    assert!(matches!(error, TraceError::Interval { .. }), "{error}");
}

#[test]
fn an_absent_text_that_is_said_to_be_elsewhere_absent_is_refused() {
    for moved in [-1_i32, 1] {
        let error = refused(|proof| {
            let absent = proof.shards[0].probes.iter_mut().find(|probe| probe.low == probe.high);
            let probe = absent.unwrap();
            (probe.low, probe.high) =
                (probe.low.wrapping_add_signed(moved), probe.high.wrapping_add_signed(moved));
        });
        let expected = if moved < 0 { Neighbour::Behind } else { Neighbour::Before };
        assert!(
            matches!(error, TraceError::Neighbour { neighbour, .. } if neighbour == expected),
            "{error}"
        );
    }
}

#[test]
fn whatever_is_changed_in_a_tree_leads_to_another_root() {
    let root_of = |error| {
        let TraceError::TreeRoot { tree, .. } = error else { panic!("{error}") };
        tree
    };
    let chunk = |proof: &mut TraceProof| {
        proof.shards[0].excerpt.chunks.first_entry().unwrap().get_mut()[3] ^= 1
    };
    assert_eq!(root_of(refused(chunk)), Tree::Text);
    let entry = |proof: &mut TraceProof| {
        proof.shards[0].excerpt.leaves.first_entry().unwrap().get_mut()[0] ^= 1
    };
    assert_eq!(root_of(refused(entry)), Tree::Array);
    let least = |proof: &mut TraceProof| proof.shards[0].excerpt.leaf_nodes[0].entry ^= 1;
    assert_eq!(root_of(refused_few(least)), Tree::Array);
    let document = |proof: &mut TraceProof| {
        proof.shards[0].excerpt.documents.first_entry().unwrap().get_mut().size_bytes += 1
    };
    assert_eq!(root_of(refused(document)), Tree::Documents);
    let swapped = |proof: &mut TraceProof| {
        let documents = &mut proof.shards[0].excerpt.documents;
        let [first, second] = [documents[&0], documents[&1]];
        documents.extend([(0, second), (1, first)]);
    };
    assert_eq!(root_of(refused(swapped)), Tree::Documents);
}

/// As [`refused`], with a proof that leaves leaves of the array out, so that nodes stand beside.
fn refused_few(change: impl FnOnce(&mut TraceProof)) -> TraceError {
    let answer = answer();
    let mut proof = answer.proof();
    let plain = &answer.corpus.0[0];
    proof.shards[0].excerpt =
        plain.excerpt(&BTreeSet::from([0]), &BTreeSet::from([1]), &BTreeSet::from([1]));
    change(&mut proof);
    answer.verify(&answer.spans(), &proof).unwrap_err()
}

#[test]
fn another_shard_and_another_order_of_shards_are_refused() {
    let error = refused(|proof| {
        let excerpt = proof.shards[1].excerpt.clone();
        proof.shards[0].excerpt = excerpt;
    });
    assert!(matches!(error, TraceError::IndexRoot { .. }), "{error}");
    let error = refused(|proof| proof.shards[0].excerpt.shard.contributions.reverse());
    assert!(matches!(error, TraceError::IndexRoot { .. }), "{error}");
    let error = refused(|proof| proof.shards.swap(0, 1));
    assert!(matches!(error, TraceError::ShardNumber { number: 1 | 0, count: 2 }), "{error}");
    let error = refused(|proof| proof.shards[1].number = 2);
    assert_eq!(error, TraceError::ShardNumber { number: 2, count: 2 });
}

#[test]
fn a_truncated_proof_names_what_is_missing() {
    let missing =
        |change: &dyn Fn(&mut Excerpt)| refused_few(|proof| change(&mut proof.shards[0].excerpt));
    assert!(matches!(missing(&|_| ()), TraceError::NotShown { .. }));
    let error = missing(&|excerpt| _ = excerpt.chunk_nodes.pop());
    assert!(matches!(error, TraceError::NodesMissing { tree: Tree::Text, .. }), "{error}");
    let error = missing(&|excerpt| _ = excerpt.leaf_nodes.pop());
    assert!(matches!(error, TraceError::NodesMissing { tree: Tree::Array, .. }), "{error}");
    let error = missing(&|excerpt| excerpt.document_nodes.clear());
    assert!(matches!(error, TraceError::NodesMissing { tree: Tree::Documents, .. }), "{error}");
    let error = missing(&|excerpt| excerpt.document_nodes.push(Digest::of_content(b"")));
    assert!(matches!(error, TraceError::NodesLeft { tree: Tree::Documents, .. }), "{error}");
    let error = missing(&|excerpt| _ = excerpt.chunks.insert(1_000, vec![0]));
    assert!(
        matches!(error, TraceError::LeafOutside { tree: Tree::Text, index: 1_000, .. }),
        "{error}"
    );
    let error = missing(&|excerpt| _ = excerpt.documents.insert(2, excerpt.documents[&1]));
    assert!(
        matches!(error, TraceError::LeafOutside { tree: Tree::Documents, index: 2, .. }),
        "{error}"
    );
    let error = missing(&|excerpt| _ = excerpt.chunks.first_entry().unwrap().get_mut().pop());
    assert!(matches!(error, TraceError::LeafSize { tree: Tree::Text, .. }), "{error}");
    let error = missing(&|excerpt| excerpt.leaves.first_entry().unwrap().get_mut().truncate(508));
    assert!(matches!(error, TraceError::LeafSize { tree: Tree::Array, .. }), "{error}");
    for kind in [0, 1, 2] {
        let error = refused(|proof| {
            let excerpt = &mut proof.shards[0].excerpt;
            match kind {
                0 => (excerpt.chunks.clear(), excerpt.chunk_nodes.clear()),
                1 => (excerpt.leaves.clear(), excerpt.leaf_nodes.clear()),
                _ => (excerpt.documents.clear(), excerpt.document_nodes.clear()),
            };
        });
        let expected = [Tree::Text, Tree::Array, Tree::Documents][kind];
        assert!(matches!(error, TraceError::NotShown { tree, .. } if tree == expected), "{error}");
    }
}

#[test]
fn items_that_are_none_are_refused() {
    let size = answer().output.len() as u32;
    let error = refused(|proof| proof.shards[0].probes[0].end = size + 1);
    assert_eq!(error, TraceError::OutputRange { start: 0, end: size + 1, size });
    let error = refused(|proof| proof.shards[0].probes[0].end = 0);
    let limit = WINDOW_BYTES_MAX;
    assert_eq!(error, TraceError::Limit { what: "bytes of an item", least: 1, limit, found: 0 });
    let error = refused(|proof| proof.shards[0].presences[0].end -= 1);
    let (what, limit) = ("bytes of a presence", PRESENCE_BYTES_MAX);
    assert_eq!(error, TraceError::Limit { what, least: 8, limit, found: 7 });
    let mut answer = answer();
    let proof = answer.proof();
    answer.output[3] = SEPARATOR;
    let error = answer.verify(&answer.spans(), &proof).unwrap_err();
    assert_eq!(error, TraceError::Separator { at: 3 });
}

type Change<'a> = &'a dyn Fn(&mut Vec<Span>);

#[test]
fn spans_must_divide_the_output() {
    let answer = answer();
    let proof = answer.proof();
    let refused = |change: Change<'_>| {
        let mut spans = answer.spans();
        change(&mut spans);
        answer.verify(&spans, &proof).unwrap_err()
    };
    let changes: [Change<'_>; 6] = [
        &|spans| _ = spans.remove(0),
        &|spans| _ = spans.pop(),
        &|spans| spans[1].start += 1,
        &|spans| spans[1].start -= 1,
        &|spans| spans[1].end = spans[1].start,
        &|spans| spans[4].end += 1,
    ];
    for change in changes {
        let error = refused(change);
        assert!(matches!(error, TraceError::Partition { .. }), "{error}");
    }
    let error = refused(&|spans| spans[1].owner = spans[2].owner);
    assert!(matches!(error, TraceError::SpansMeet { .. }), "{error}");
}

#[test]
fn limits_of_a_claim_are_exact() {
    let roots = vec![Digest::of_content(b""); SHARD_COUNT_MAX as usize + 1];
    let output = vec![b'a'; OUTPUT_BYTES_MAX as usize + 1];
    let verify = |window_bytes: u32, size: u32, shards: usize| {
        let spans = [Span { start: 0, end: size, owner: None }];
        let (output, roots) = (&output[..size as usize], &roots[..shards]);
        verify_spans(&Claim { output, window_bytes, roots, spans: &spans }, &TraceProof::default())
    };
    let is_limit = |found| matches!(found, Err(TraceError::Limit { .. }));
    assert!(verify(1, OUTPUT_BYTES_MAX, 0).is_ok());
    assert!(is_limit(verify(1, OUTPUT_BYTES_MAX + 1, 0)));
    assert!(verify(WINDOW_BYTES_MAX, 5, SHARD_COUNT_MAX as usize).is_ok());
    assert!(is_limit(verify(WINDOW_BYTES_MAX + 1, 5, 0)));
    assert!(is_limit(verify(0, 5, 0)));
    assert!(is_limit(verify(8, 5, SHARD_COUNT_MAX as usize + 1)));
}

#[test]
fn no_flipped_byte_of_a_proof_is_accepted() {
    let answer = answer();
    let (spans, bytes) = (answer.spans(), answer.proof().encode());
    for at in (0..bytes.len()).step_by(3) {
        let mut flipped = bytes.clone();
        flipped[at] ^= 1 << (at % 8);
        let Ok(proof) = TraceProof::parse(&flipped) else { continue };
        assert_eq!(proof.encode(), flipped);
        // A few items say more than is needed; such a proof still shows what it is to show.
        if answer.verify(&spans, &proof).is_ok() {
            let [was, is] = [answer.proof(), proof].map(|proof| {
                proof.shards.into_iter().map(|shard| shard.excerpt).collect::<Vec<_>>()
            });
            assert_eq!(was, is, "byte {at}");
        }
    }
}

#[test]
fn a_wrong_order_and_an_entry_outside_are_refuted_and_a_right_array_is_not() {
    let good = Plain::new(vec![Draw(5, 0).text(2_000, 3)]);
    let everything = |plain: &Plain| {
        let all = |count: u32| (0..count).collect::<BTreeSet<u32>>();
        let shard = plain.shard();
        plain.excerpt(&all(shard.chunk_count()), &all(shard.leaf_count()), &BTreeSet::new())
    };
    let size = good.array.len() as u32;
    let excerpt = everything(&good);
    for place in 0..size - 1 {
        let refutation = Refutation { excerpt: excerpt.clone(), place };
        let root = good.shard().root();
        assert_eq!(refutation.verify(&root), Err(TraceError::InOrder { place }));
    }
    let refutes = |wrong: &Plain, place| {
        let refutation = Refutation { excerpt: everything(wrong), place };
        assert_eq!(Refutation::parse(&refutation.encode()).as_ref(), Ok(&refutation));
        assert!(refutation.verify(&good.shard().root()).is_err(), "it is about another index");
        refutation.verify(&wrong.shard().root())
    };
    for place in [0, 1, 127, 128, size / 2, size - 2] {
        let at = place as usize;
        let mut swapped = good.clone();
        swapped.array.swap(at, at + 1);
        assert_eq!(refutes(&swapped, place), Ok(()));
        let mut twice = good.clone();
        twice.array[at] = twice.array[at + 1];
        assert_eq!(refutes(&twice, place), Ok(()));
        let mut outside = good.clone();
        outside.array[at] = size;
        assert_eq!(refutes(&outside, place), Ok(()));
        assert_eq!(refutes(&outside, place.saturating_sub(1)), Ok(()));
    }
    let refutation = Refutation { excerpt, place: size - 1 };
    let (tree, index) = (Tree::Array, size / LEAF_ENTRIES);
    assert_eq!(refutation.verify(&good.shard().root()), Err(TraceError::NotShown { tree, index }));
}
