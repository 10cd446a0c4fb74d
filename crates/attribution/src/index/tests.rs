//! Indices of small corpora against plain searches, their proofs, and files that are none.

use std::ops::Range;
use std::path::PathBuf;

use tally_core::Digest;
use tally_core::cbor::Cbor;
use tally_core::philox::block;
use tally_core::trace::{
    Claim, DocumentId, LEAF_ENTRIES, SEPARATOR, TraceError, TraceProof, document_digest,
    verify_spans,
};
use tempfile::TempDir;

use super::*;
use crate::ownership::{Corpus, Ownership};

mod forms;
mod wrong;

/// Numbers that look random and are the same everywhere.
struct Draw(u32, u32);

impl Draw {
    fn below(&mut self, limit: usize) -> usize {
        self.1 += 1;
        block([self.0, self.1, 0, 0], [17, 3])[0] as usize % limit
    }

    fn text(&mut self, longest: usize, letters: usize) -> Vec<u8> {
        let len = self.below(longest + 1);
        (0..len).map(|_| b'a' + u8::try_from(self.below(letters)).unwrap()).collect()
    }
}

/// Texts of which each is searched from its beginning, shard by shard.
struct Plain(Vec<Vec<Vec<u8>>>);

impl Corpus for Plain {
    fn earliest(&self, window: &[u8]) -> Option<DocumentId> {
        let holds = |text: &Vec<u8>| text.windows(window.len()).any(|found| found == window);
        (0_u32..).zip(&self.0).find_map(|(shard, texts)| {
            let document = u32::try_from(texts.iter().position(holds)?).unwrap();
            Some(DocumentId { shard, document })
        })
    }
}

fn builder_of(texts: &[Vec<u8>]) -> Builder {
    let mut builder = Builder::new();
    for (at, text) in texts.iter().enumerate() {
        if at % 3 == 0 {
            builder.contribution(Digest::of_content(&[u8::try_from(at % 256).unwrap()])).unwrap();
        }
        builder.document(&format!("document {at}"), text).unwrap();
    }
    builder
}

struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("shard.index")
    }

    fn build(&self, texts: &[Vec<u8>]) -> Index {
        builder_of(texts).build(&self.path(), &mut |_| ()).unwrap()
    }
}

/// Shards of a few documents and an output that repeats parts of them.
struct Case {
    texts: Plain,
    shards: Vec<Index>,
    output: Vec<u8>,
    window: usize,
    draw: Draw,
}

fn cases(count: u32) -> impl Iterator<Item = Case> {
    (0..count).map(|number| {
        let mut draw = Draw(number, 0);
        let (letters, longest) = [(2, 60), (3, 200), (20, 800), (3, 3_000)][draw.below(4)];
        let mut texts: Vec<Vec<Vec<u8>>> = vec![];
        for _ in 0..=draw.below(3) {
            texts.push((0..=draw.below(6)).map(|_| draw.text(longest, letters)).collect());
        }
        let mut output = draw.text(20, letters);
        for _ in 0..draw.below(6) {
            let shard = &texts[draw.below(texts.len())];
            let text = &shard[draw.below(shard.len())];
            let start = draw.below(text.len() + 1);
            output.extend(&text[start..start + draw.below(text.len() - start + 1).min(90)]);
            output.extend(draw.text(6, letters));
            if draw.below(8) == 0 {
                output.push(SEPARATOR);
            }
        }
        let window = [1, 2, 3, 5, 8, 13, 32][draw.below(7)];
        let folder = Folder::new();
        let shards = texts.iter().map(|texts| folder.build(texts)).collect();
        Case { texts: Plain(texts), shards, output, window, draw }
    })
}

fn occurrences(text: &[u8], query: &[u8]) -> Vec<u32> {
    let all = 0..u32::try_from(text.len()).unwrap();
    all.filter(|at| text[*at as usize..].starts_with(query)).collect()
}

#[test]
fn array_counts_and_earliest_places_are_the_plain_ones() {
    for mut case in cases(300) {
        let index = &case.shards[0];
        let text = index.texts();
        let mut sorted: Vec<u32> = (0..index.shard().text_bytes).collect();
        sorted.sort_by_key(|at| &text[*at as usize..]);
        assert_eq!(index.entries(), sorted);
        index.verify(&mut |_| ()).unwrap();
        for _ in 0..20 {
            let start = case.draw.below(case.output.len() + 1);
            let len = case.draw.below(case.output.len() - start + 1).min(40);
            let query = &case.output[start..start + len];
            let places = occurrences(text, query);
            let interval = index.interval(query);
            assert_eq!(interval.len(), places.len());
            assert_eq!(index.earliest(query), places.first().copied());
            let before = sorted.iter().filter(|at| text[**at as usize..] < *query).count();
            assert_eq!(interval.start as usize, before);
            let longest = (0..=len).rev().find(|len| !occurrences(text, &query[..*len]).is_empty());
            let found = index.longest(query);
            assert_eq!(Some(found.len), longest);
            assert_eq!(found.interval, index.interval(&query[..found.len]));
        }
    }
}

#[test]
fn the_least_entry_of_any_interval_is_the_plain_one() {
    let mut draw = Draw(9, 9);
    let index = Folder::new()
        .build(&[(0..5_000).map(|_| b'a' + u8::try_from(draw.below(3)).unwrap()).collect()]);
    let size = index.shard().text_bytes;
    let edges = [0, 1, 127, 128, 129, 255, 256, 257, 1_000, 2_560, 4_992, 4_993, size - 1, size];
    let pairs = edges.iter().flat_map(|a| edges.iter().map(move |b| *a..*b));
    let drawn = (0..2_000).map(|_| {
        let [a, b] = [0; 2].map(|_| u32::try_from(draw.below(size as usize + 1)).unwrap());
        a.min(b)..a.max(b)
    });
    for Range { start, end } in pairs.filter(|pair| pair.start <= pair.end).chain(drawn) {
        let plain = index.entries()[start as usize..end as usize].iter().min().copied();
        assert_eq!(index.least(start..end), plain, "{start}..{end}");
    }
}

#[test]
fn owners_found_in_few_searches_are_those_of_each_window_and_of_the_texts() {
    let mut owned = 0;
    for case in cases(1_500) {
        let shards = Shards(&case.shards);
        let fast = shards.earliest_of_windows(&case.output, case.window);
        let each: Vec<_> =
            case.output.windows(case.window).map(|text| shards.earliest(text)).collect();
        let plain: Vec<_> =
            case.output.windows(case.window).map(|text| case.texts.earliest(text)).collect();
        assert_eq!(fast, each);
        assert_eq!(fast, plain);
        let found = Ownership::of(&case.output, case.window, &shards);
        assert_eq!(found, Ownership::of(&case.output, case.window, &case.texts));
        owned += found.weight(|_| true);
    }
    assert!(owned > 10_000, "{owned}");
}

#[test]
fn a_part_that_occurs_often_is_found_like_one_that_occurs_once() {
    // Many copies of one sentence, so that short parts have more places than are compared.
    let sentence = b"the same licence stands in every one of the files of this collection; ";
    let mut texts: Vec<Vec<u8>> =
        (0..100_u32).map(|at| [at.to_string().as_bytes(), sentence].concat()).collect();
    texts.push(b"every one of the files of this other collection".to_vec());
    let index = [Folder::new().build(&texts)];
    let output = [&sentence[..], b"every one of the files of this other ", sentence].concat();
    for window in [1, 2, 4, 16, 32, 64] {
        let plain = Plain(vec![texts.clone()]);
        let found = Ownership::of(&output, window, &Shards(&index));
        assert_eq!(found, Ownership::of(&output, window, &plain));
    }
}

fn verified(case: &Case, traced: &Traced, proof: &TraceProof) -> Result<(), TraceError> {
    let roots: Vec<Digest> = case.shards.iter().map(Index::root).collect();
    let claim = Claim {
        output: &case.output,
        window_bytes: u32::try_from(case.window).unwrap(),
        roots: &roots,
        spans: &traced.ownership.spans,
    };
    verify_spans(&claim, proof).map(|_| ())
}

#[test]
fn every_answer_is_proved() {
    let mut probes = 0;
    for case in cases(800) {
        let traced = prove(&case.shards, &case.output, case.window).unwrap();
        assert_eq!(traced.ownership, Ownership::of(&case.output, case.window, &case.texts));
        verified(&case, &traced, &traced.proof).unwrap();
        assert_eq!(TraceProof::parse(&traced.proof.encode()).unwrap(), traced.proof);
        probes += traced.proof.shards.iter().map(|shard| shard.probes.len()).sum::<usize>();
    }
    assert!(probes > 1_000, "{probes}");
}

#[test]
fn every_item_of_a_proof_is_needed() {
    let mut removed = 0;
    for case in cases(150) {
        let traced = prove(&case.shards, &case.output, case.window).unwrap();
        for (at, shard) in traced.proof.shards.iter().enumerate() {
            for probe in 0..shard.probes.len() {
                let mut fewer = traced.proof.clone();
                fewer.shards[at].probes.remove(probe);
                assert!(verified(&case, &traced, &fewer).is_err());
                removed += 1;
            }
            for presence in 0..shard.presences.len() {
                let mut fewer = traced.proof.clone();
                fewer.shards[at].presences.remove(presence);
                removed += usize::from(verified(&case, &traced, &fewer).is_err());
            }
        }
    }
    assert!(removed > 500, "{removed}");
}

#[test]
fn a_proof_says_how_often_and_how_far_a_part_occurs() {
    // The longest match of an output's place: so many bytes occur, and one more does not.
    let text = b"a green apple and a red apple".to_vec();
    let index = Folder::new().build(&[text]);
    let query = b"red applet";
    let Longest { len, interval } = index.longest(query);
    assert_eq!((len, interval.len()), (9, 1));
    assert!(index.interval(&query[..len + 1]).is_empty());
    assert_eq!(index.interval(b"apple").len(), 2);
    assert_eq!(index.interval(b"").len(), index.texts().len());
}

#[test]
fn documents_keep_names_places_digests_and_contributions() {
    let texts: Vec<Vec<u8>> =
        vec![b"first".to_vec(), vec![], "zweites \u{e4}".into(), b"last".to_vec()];
    let folder = Folder::new();
    let index = folder.build(&texts);
    assert_eq!(index.documents().len(), 4);
    for (at, text) in (0_u32..).zip(&texts) {
        let document = index.document(at).unwrap();
        assert_eq!(index.text(at), Some(&text[..]));
        assert_eq!(index.name(at), Some(&format!("document {at}")[..]));
        assert_eq!(document.digest, document_digest(text));
        assert_eq!(document.contribution, at / 3);
        for position in document.start..=document.start + document.size_bytes {
            assert_eq!(index.document_at(position), at);
        }
    }
    assert_eq!((index.document(4), index.text(4), index.name(4)), (None, None, None));
    assert_eq!(Index::open(&folder.path()).unwrap().root(), index.root());
}

#[test]
fn the_same_documents_have_the_same_file_and_another_order_another_root() {
    let mut texts: Vec<Vec<u8>> = vec![b"one".to_vec(), b"two".to_vec(), b"three".to_vec()];
    let [first, second] = [Folder::new(), Folder::new()];
    let root = first.build(&texts).root();
    assert_eq!(second.build(&texts).root(), root);
    let [a, b] = [first, second].map(|folder| std::fs::read(folder.path()).unwrap());
    assert_eq!(a, b);
    texts.swap(0, 1);
    assert_ne!(Folder::new().build(&texts).root(), root);
}

#[test]
fn a_large_text_costs_less_than_six_bytes_for_each() {
    let mut draw = Draw(3, 3);
    let texts: Vec<Vec<u8>> = (0..20).map(|_| draw.text(40_000, 20)).collect();
    let index = Folder::new().build(&texts);
    assert!(index.file_bytes() * 100 < index.texts().len() * 600, "{}", index.file_bytes());
    assert!(index.shard().leaf_count() > LEAF_ENTRIES, "the tree has more than a few leaves");
}

#[test]
fn progress_never_goes_back_and_ends_at_the_whole() {
    let mut told = vec![];
    let folder = Folder::new();
    let index = builder_of(&[vec![b'x'; 10_000]])
        .build(&folder.path(), &mut |done| told.push(done))
        .unwrap();
    let mut again = vec![];
    index.verify(&mut |done| again.push(done)).unwrap();
    for told in [told, again] {
        assert!(told.is_sorted(), "{told:?}");
        assert_eq!(told.last(), Some(&1_000));
    }
}

#[test]
fn limits_of_a_proof_are_exact() {
    let index = [Folder::new().build(&[b"text".to_vec()])];
    let largest = vec![b'q'; tally_core::trace::OUTPUT_BYTES_MAX as usize + 1];
    assert!(prove(&index, &largest[1..], 1_024).is_ok());
    for (output, window) in [(&largest[..], 32), (&largest[..5], 0), (&largest[..5], 1_025)] {
        assert!(matches!(prove(&index, output, window), Err(ProveError::Limit { .. })));
    }
}
