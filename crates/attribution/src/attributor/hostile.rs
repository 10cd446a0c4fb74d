//! What others register, and what lies in a folder of indices, must not decide who owns words.

use tally_core::{
    cbor::Cbor as _,
    contribution::{Contribution, Extent, Parent, Relation},
    ed25519::SigningKey,
};

use super::*;
use crate::{index::Builder, policy_file::free};

const TEXT: &str = "A text of more than thirty-two bytes, registered before all others.";

/// Registers the next contribution under a key of its own.
fn register(
    registry: &mut Registry,
    kind: ContributionKind,
    subject: Digest,
    parents: &[Digest],
) -> Digest {
    let log_index = registry.all().len() as u64;
    let mut seed = [0; 32];
    seed[..8].copy_from_slice(&log_index.to_be_bytes());
    let key = SigningKey::from_seed(&seed);
    let parent = |manifest: &Digest| Parent {
        relation: Relation::DerivedFrom,
        manifest: *manifest,
        share_bps: 0,
    };
    let contribution = Contribution {
        contributor: *key.public_key().as_bytes(),
        kind,
        name: "a name".into(),
        licence: "unknown".into(),
        subject,
        extent: Extent::default(),
        time_ms: 0,
        parents: parents.iter().map(parent).collect(),
        version: None,
        source: None,
        payee: None,
    };
    let signed = contribution.signed(|message| *key.sign(message).as_bytes());
    registry.register(log_index, signed).unwrap().manifest
}

fn subject_of(text: &str) -> Digest {
    documents_root([Digest::of_content(text.as_bytes())])
}

fn index_of(manifest: Digest, text: &str) -> (tempfile::TempDir, Index) {
    let folder = tempfile::tempdir().unwrap();
    let mut builder = Builder::new();
    builder.contribution(manifest).unwrap();
    builder.document("a", text.as_bytes()).unwrap();
    let index = builder.build(&folder.path().join("a.index"), &mut |_| ()).unwrap();
    (folder, index)
}

fn attributed(attributor: &Attributor, output: &[u8]) -> Section {
    let nothing = Digest::of_content(b"");
    let answered = Answered {
        receipt_id: &[0; 16],
        signer: &nothing,
        computation: &nothing,
        model_root: &nothing,
        template: None,
        software: "",
        input_count: 1,
        output_count: 1,
        output,
        context: &[],
    };
    attributor.attribute(&answered).unwrap()
}

#[test]
fn builders_with_long_lineages_keep_no_answer_from_being_traced() {
    let mut registry = Registry::default();
    let manifest = register(&mut registry, ContributionKind::Dataset, subject_of(TEXT), &[]);
    let (_folder, index) = index_of(manifest, TEXT);
    let others: Vec<Digest> = (0..126_u8)
        .map(|number| {
            let subject = Digest::of_content(&[number]);
            register(&mut registry, ContributionKind::Dataset, subject, &[])
        })
        .collect();
    // Two strangers say that they built the index, from 63 others each.
    let (first, second) = others.split_at(63);
    let kind = ContributionKind::Index;
    let long = register(&mut registry, kind, index.root(), first);
    register(&mut registry, kind, index.root(), second);
    let own = register(&mut registry, kind, index.root(), &[]);
    let attributor = Attributor::new(free(), registry, vec![index]).unwrap();
    assert_eq!(attributor.builders, [vec![long]]);
    let section = attributed(&attributor, TEXT.as_bytes());
    assert_eq!((section.shards.len(), section.residual.size_bytes), (1, 0));
    assert_ne!(own, long);
}

#[test]
fn the_first_builders_are_named_as_far_as_there_is_room() {
    let mut registry = Registry::default();
    let manifest = register(&mut registry, ContributionKind::Dataset, subject_of(TEXT), &[]);
    let (_folder, index) = index_of(manifest, TEXT);
    let kind = ContributionKind::Index;
    let built: Vec<Digest> =
        (0..70).map(|_| register(&mut registry, kind, index.root(), &[manifest])).collect();
    let attributor = Attributor::new(free(), registry, vec![index]).unwrap();
    // The dataset that all of them name has a place too.
    assert_eq!(attributor.builders, [&built[..63]]);
}

#[test]
fn an_index_of_other_texts_than_were_registered_is_refused() {
    let mut registry = Registry::default();
    let kind = ContributionKind::Dataset;
    let manifest = register(&mut registry, kind, subject_of(TEXT), &[]);
    let (_folder, right) = index_of(manifest, TEXT);
    Attributor::new(free(), registry.clone(), vec![right]).unwrap();
    // Somebody put an index in its place that is sound and makes more words theirs.
    let more = format!("{TEXT} And all that others may ever say.");
    let (_other, wrong) = index_of(manifest, &more);
    wrong.verify(&mut |_| ()).unwrap();
    let refused = Attributor::new(free(), registry, vec![wrong]).unwrap_err();
    let AttributeError::Documents { manifest: of, found } = refused else {
        panic!("{refused}");
    };
    assert_eq!((of, found), (manifest, subject_of(&more)));
}

#[test]
fn an_output_of_more_pieces_than_a_section_holds_is_traced_nowhere() {
    let mut registry = Registry::default();
    let word = "abcdefgh";
    let manifest = register(&mut registry, ContributionKind::Dataset, subject_of(word), &[]);
    let (_folder, index) = index_of(manifest, word);
    let policy = SplitPolicy { window: 8, ..free() };
    let attributor = Attributor::new(policy, registry, vec![index]).unwrap();
    let piece = [word.as_bytes(), b"!"].concat();
    let count = usize::try_from(SPANS_MAX / 2).unwrap();
    let most = attributed(&attributor, &piece.repeat(count));
    assert_eq!((most.spans.len(), most.shards.len()), (2 * count, 1));
    assert_eq!(Section::parse(&most.encode()).as_ref(), Ok(&most));
    let more = attributed(&attributor, &piece.repeat(count + 1));
    assert_eq!((more.spans.len(), more.shards.len()), (1, 0));
    assert_eq!(Section::parse(&more.encode()).as_ref(), Ok(&more));
}
