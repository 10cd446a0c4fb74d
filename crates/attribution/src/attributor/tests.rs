//! From outputs to sections: who is named, and what happens at the limits.

use std::path::PathBuf;

use tally_core::{
    account::Account,
    attribution::{Label, Tariff},
    contribution::{Contribution, Extent, Parent, Relation},
    ed25519::SigningKey,
    receipt::SignedStatement,
};
use tempfile::TempDir;

use super::*;
use crate::{dataset::documents_root, index::Builder, policy_file, registry::ANCESTORS_MAX};

const WORDS: &str = "the quick brown fox jumps over the lazy dog and sleeps";
const OTHER: &str = "seven tired wizards boxed up every jar of black liquid";
const SIGNER: Digest = Digest::from_bytes([1; 32]);
const MODEL: Digest = Digest::from_bytes([2; 32]);
const COMPUTATION: Digest = Digest::from_bytes([3; 32]);

/// A registry in the making, and a folder for indices.
struct World {
    folder: TempDir,
    registry: Registry,
}

fn key(seed: u8) -> SigningKey {
    SigningKey::from_seed(&[seed; 32])
}

fn account(seed: u8) -> Account {
    Account::Contributor(*key(seed).public_key().as_bytes())
}

impl World {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), registry: Registry::default() }
    }

    /// A signed contribution that nothing has registered.
    fn signed(
        seed: u8,
        kind: ContributionKind,
        subject: Digest,
        parents: &[Digest],
    ) -> SignedStatement {
        let parent = |manifest: &Digest| Parent {
            relation: Relation::DerivedFrom,
            manifest: *manifest,
            share_bps: 100,
        };
        let contribution = Contribution {
            contributor: *key(seed).public_key().as_bytes(),
            kind,
            name: format!("{kind} of {seed}"),
            licence: "MIT".into(),
            subject,
            extent: Extent { count: 1, size_bytes: 1 },
            time_ms: 1,
            parents: parents.iter().map(parent).collect(),
            version: None,
            source: None,
            payee: None,
        };
        contribution.signed(|message| *key(seed).sign(message).as_bytes())
    }

    fn register(
        &mut self,
        seed: u8,
        kind: ContributionKind,
        subject: Digest,
        parents: &[Digest],
    ) -> Digest {
        let log_index = self.registry.all().len() as u64;
        let signed = Self::signed(seed, kind, subject, parents);
        self.registry.register(log_index, signed).unwrap().manifest
    }

    /// Registers a dataset of one text.
    fn dataset(&mut self, seed: u8, text: &str) -> Digest {
        let root = documents_root([Digest::of_content(text.as_bytes())]);
        self.register(seed, ContributionKind::Dataset, root, &[])
    }

    /// A lineage as long as one may be; its youngest.
    fn line(&mut self, kind: ContributionKind, subject: Digest, what: &str) -> Digest {
        let mut parents = vec![];
        for age in 1..=ANCESTORS_MAX {
            let subject = Digest::of_content(format!("{what} {age}").as_bytes());
            parents = vec![self.register(1, ContributionKind::Dataset, subject, &parents)];
        }
        self.register(1, kind, subject, &parents)
    }

    fn index(&self, name: &str, datasets: &[(Digest, &str)]) -> PathBuf {
        let mut builder = Builder::new();
        for (manifest, text) in datasets {
            builder.contribution(*manifest).unwrap();
            builder.document("text", text.as_bytes()).unwrap();
        }
        let path = self.folder.path().join(name);
        builder.build(&path, &mut |_| {}).unwrap();
        path
    }

    fn attributor(&self, indices: &[&PathBuf]) -> Result<Attributor, AttributeError> {
        let indices = indices.iter().map(|path| Index::open(path).unwrap()).collect();
        let tariff = Tariff { request: 1_000_003, input_token: 10, output_token: 100 };
        let policy = SplitPolicy { tariff, ..policy_file::free() };
        Attributor::new(policy, self.registry.clone(), indices)
    }
}

fn answered<'a>(output: &'a [u8], context: &'a [Retrieved]) -> Answered<'a> {
    Answered {
        receipt_id: &[7; 16],
        signer: &SIGNER,
        computation: &COMPUTATION,
        model_root: &MODEL,
        template: None,
        software: "tally 0",
        input_count: 5,
        output_count: 9,
        output,
        context,
    }
}

/// Attributes an answer and demands what holds of every section.
fn attribute(attributor: &Attributor, answered: &Answered<'_>) -> Section {
    let section = attributor.attribute(answered).unwrap();
    assert_eq!(section.amount, 1_000_003 + 5 * 10 + 9 * 100);
    let booked: u64 = section.transfers.iter().map(|transfer| transfer.amount).sum();
    assert_eq!(booked + section.residual.amount, section.amount, "nothing is lost");
    assert!(section.contributions.len() as u64 <= CONTRIBUTIONS_MAX);
    assert_eq!(section.output, answered.output);
    assert_eq!(section.spans.last().map(|it| it.end as usize).unwrap_or(0), section.output.len());
    section
}

fn digest_at(section: &Section, place: u16) -> Digest {
    Digest::of_content(&section.contributions[usize::from(place)])
}

fn earned(section: &Section, label: Label, seed: u8) -> u64 {
    let is_it =
        |it: &&tally_core::attribution::Transfer| it.label == label && it.account == account(seed);
    section.transfers.iter().filter(is_it).map(|it| it.amount).sum()
}

#[test]
fn the_owner_of_repeated_words_is_found_named_and_paid() {
    let mut world = World::new();
    let first = world.dataset(1, WORDS);
    let second = world.dataset(2, OTHER);
    let index = world.index("both", &[(first, WORDS), (second, OTHER)]);
    let output = format!("He wrote: {OTHER}!");
    let attributor = world.attributor(&[&index]).unwrap();
    let section = attribute(&attributor, &answered(output.as_bytes(), &[]));
    let owners: Vec<(u32, Option<Digest>)> = section
        .spans
        .iter()
        .map(|span| (span.end, span.owner.map(|it| digest_at(&section, it.contribution))))
        .collect();
    let [start, end] = [10, 10 + OTHER.len()].map(|at| u32::try_from(at).unwrap());
    assert_eq!(owners, [(start, None), (end, Some(second)), (end + 1, None)]);
    assert_eq!(section.spans[1].owner.unwrap().document, 1);
    assert_eq!(section.residual.size_bytes, 11);
    assert!(earned(&section, Label::Observed, 2) > 0);
    assert_eq!(earned(&section, Label::Observed, 1), 0);
    // Who owns nothing is not named, and neither is anybody in what nobody wrote.
    assert_eq!(section.contributions.len(), 1);
    let nothing =
        attribute(&attributor, &answered(b"nobody wrote this sentence before, we hope", &[]));
    assert!(nothing.contributions.is_empty() && nothing.shards.len() == 1);
    let empty = attribute(&attributor, &answered(b"", &[]));
    assert!(empty.spans.is_empty() && empty.residual.size_bytes == 0);
}

#[test]
fn what_the_statement_names_is_bound_to_the_first_who_registered_it() {
    let mut world = World::new();
    let node = world.register(1, ContributionKind::Node, SIGNER, &[]);
    let book = world.dataset(4, WORDS);
    let weights = world.register(2, ContributionKind::Weights, MODEL, &[book]);
    world.register(3, ContributionKind::Weights, MODEL, &[]);
    let code = world.register(3, ContributionKind::Code, Digest::of_content(b"tally 0"), &[]);
    let section = attribute(&world.attributor(&[]).unwrap(), &answered(b"text", &[]));
    let bound: Vec<(Role, Digest)> =
        section.bound.iter().map(|it| (it.role, digest_at(&section, it.contribution))).collect();
    assert_eq!(bound, [(Role::Node, node), (Role::Weights, weights), (Role::Code, code)]);
    assert_eq!(section.contributions.len(), 4, "with what the weights were made from");
    assert!(section.shards.is_empty());
    assert!(earned(&section, Label::Bound, 2) > earned(&section, Label::Declared, 4));
    assert!(earned(&section, Label::Declared, 4) > 0);
    let mut template = answered(b"text", &[]);
    let other = Digest::of_content(b"a template");
    template.template = Some(&other);
    let same = attribute(&world.attributor(&[]).unwrap(), &template);
    assert_eq!(same.bound, section.bound, "an unregistered template is nobody's");
}

#[test]
fn retrieved_documents_stand_in_the_section_with_their_bytes() {
    let mut world = World::new();
    let dataset = world.dataset(2, WORDS);
    let retrieved = |dataset, start, end| Retrieved {
        dataset,
        document: Digest::of_content(WORDS.as_bytes()),
        start,
        end,
    };
    let unknown = Digest::of_content(b"never registered");
    let context = [retrieved(dataset, 4, 9), retrieved(unknown, 0, 3), retrieved(dataset, 10, 15)];
    let section = attribute(&world.attributor(&[]).unwrap(), &answered(b"a fox", &context));
    let named: Vec<(Digest, u32, u32)> = section
        .context
        .iter()
        .map(|it| (digest_at(&section, it.contribution), it.start, it.end))
        .collect();
    assert_eq!(named, [(dataset, 4, 9), (dataset, 10, 15)]);
    assert!(section.context.iter().all(|it| it.document == Digest::of_content(WORDS.as_bytes())));
    assert!(earned(&section, Label::Bound, 2) > 0);
}

#[test]
fn an_index_of_what_is_not_registered_is_refused() {
    let world = World::new();
    let unknown = Digest::of_content(b"unknown");
    let index = world.index("unknown", &[(unknown, WORDS)]);
    let refused = world.attributor(&[&index]).unwrap_err();
    let found = Index::open(&index).unwrap().root();
    assert!(
        matches!(refused, AttributeError::Unregistered { root, manifest } if root == found && manifest == unknown),
        "{refused}"
    );
}

#[test]
fn indices_and_their_datasets_stand_in_the_order_of_registration() {
    let mut world = World::new();
    let first = world.dataset(1, WORDS);
    let second = world.dataset(2, OTHER);
    let [one, two] = [("one", first, WORDS), ("two", second, OTHER)]
        .map(|(name, manifest, text)| world.index(name, &[(manifest, text)]));
    world.attributor(&[&one, &two]).unwrap();
    let order = |indices: &[&PathBuf]| match world.attributor(indices).unwrap_err() {
        AttributeError::Order { manifest, .. } => manifest,
        other => panic!("{other}"),
    };
    assert_eq!(order(&[&two, &one]), first);
    assert_eq!(order(&[&one, &one]), first, "nor may one stand twice");
    let within = world.index("within", &[(second, OTHER), (first, WORDS)]);
    assert_eq!(order(&[&within]), first);
}

#[test]
fn indices_end_at_their_limit() {
    let mut world = World::new();
    let texts: Vec<String> = (0..=SHARDS_MAX).map(|number| format!("{WORDS} {number}")).collect();
    let paths: Vec<PathBuf> = texts
        .iter()
        .map(|text| {
            let manifest = world.dataset(1, text);
            world.index(&text[text.len() - 2..], &[(manifest, text)])
        })
        .collect();
    let all: Vec<&PathBuf> = paths.iter().collect();
    world.attributor(&all[1..]).unwrap();
    let refused = world.attributor(&all).unwrap_err();
    assert!(matches!(refused, AttributeError::Shards { found: 65 }), "{refused}");
}

#[test]
fn however_many_say_that_they_built_an_index_the_answer_is_traced() {
    let mut world = World::new();
    let dataset = world.dataset(1, WORDS);
    let path = world.index("index", &[(dataset, WORDS)]);
    let root = Index::open(&path).unwrap().root();
    let builders: Vec<Digest> =
        (2..=201).map(|seed| world.register(seed, ContributionKind::Index, root, &[])).collect();
    let section = attribute(&world.attributor(&[&path]).unwrap(), &answered(WORDS.as_bytes(), &[]));
    let [shard] = section.shards.as_slice() else { panic!("traced in {:?}", section.shards) };
    let named: Vec<Digest> =
        shard.built_by.iter().map(|place| digest_at(&section, *place)).collect();
    assert_eq!(named, builders[..64], "the first who said so, in half of the places");
    assert_eq!(digest_at(&section, section.spans[0].owner.unwrap().contribution), dataset);
    assert!(earned(&section, Label::Observed, 1) > 0);
}

#[test]
fn an_output_of_more_contributors_than_a_section_names_is_traced_nowhere() {
    let mut world = World::new();
    let texts: Vec<String> = (0..=CONTRIBUTIONS_MAX)
        .map(|number| format!("{number:03} is the number of this text, which nobody else has"))
        .collect();
    let datasets: Vec<(Digest, &str)> =
        texts.iter().map(|text| (world.dataset(1, text), text.as_str())).collect();
    let path = world.index("index", &datasets);
    let attributor = world.attributor(&[&path]).unwrap();
    // Each number stands in windows that no other text has.
    let whole = |count: usize| texts[..count].concat();
    let most = attribute(&attributor, &answered(whole(128).as_bytes(), &[]));
    assert_eq!((most.contributions.len(), most.shards.len()), (128, 1));
    let more = attribute(&attributor, &answered(whole(129).as_bytes(), &[]));
    assert!(more.contributions.is_empty() && more.shards.is_empty());
    assert!(more.spans.iter().all(|span| span.owner.is_none()) && more.spans.len() == 1);
    assert_eq!(more.residual.size_bytes as usize, more.output.len());
}

#[test]
fn an_output_too_long_to_be_traced_is_traced_nowhere() {
    let mut world = World::new();
    let dataset = world.dataset(1, WORDS);
    let path = world.index("index", &[(dataset, WORDS)]);
    let attributor = world.attributor(&[&path]).unwrap();
    let mut output = WORDS.as_bytes().to_vec();
    output.resize(OUTPUT_BYTES_MAX as usize, b'.');
    assert_eq!(attribute(&attributor, &answered(&output, &[])).shards.len(), 1);
    output.push(b'.');
    let longer = attribute(&attributor, &answered(&output, &[]));
    assert!(longer.shards.is_empty() && longer.contributions.is_empty());
}

#[test]
fn a_lineage_beyond_a_section_names_nobody_at_all() {
    let mut world = World::new();
    world.line(ContributionKind::Node, SIGNER, "node");
    let alone = attribute(&world.attributor(&[]).unwrap(), &answered(b"text", &[]));
    assert_eq!((alone.contributions.len(), alone.bound.len()), (65, 1));
    world.line(ContributionKind::Weights, MODEL, "weights");
    let both = attribute(&world.attributor(&[]).unwrap(), &answered(b"text", &[]));
    assert!(both.contributions.is_empty() && both.bound.is_empty());
    assert_eq!(both.residual.size_bytes, 4);
}
