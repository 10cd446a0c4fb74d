//! Vectors of span proofs: a small index, an answer that repeats it, and what shows that.

use std::fs;

use tally_attribution::index::{Builder, Index, prove};
use tally_core::attribution::{Owner, Section, Shard, Span};
use tally_core::cbor::Cbor as _;
use tally_core::contribution::{Contribution, ContributionKind};
use tally_core::receipt::{Evidence, EvidenceKind};
use tally_core::trace::TraceProof;

use super::super::scenario::{Scenario, digest};
use super::super::{Vector, accept, reject};
use super::{
    BOOK, INDEX, PAGES, attributed, contributions, draft, finish, policy, signed, with_section,
};

/// The book's documents come first, so they own what both hold.
const BOOK_TEXTS: [&str; 2] = [
    "In the beginning was the lock, and the lock was held by one transaction.",
    "A deadlock is two transactions that wait for each other.",
];
const PAGES_TEXTS: [&str; 1] =
    ["They say: the lock was held by one transaction. It was released when the transaction ended."];
/// What the book owns, what the pages own, and what nobody does.
const OUTPUT: &str = "Well, the lock was held by one transaction. It was released when the transaction ended! I think so.";

pub(super) fn accepted() -> Vec<Vector> {
    let scenario = Scenario { accepted_as: "026-attribution-traced", ..traced(|_, _| ()) };
    vec![accept::accept(
        "attribution-traced",
        &["AT-26", "AT-30"],
        "span proofs show whose words the answer repeats, given an index root",
        &scenario,
    )]
}

#[expect(clippy::too_many_lines, reason = "a table, one vector after another")]
pub(super) fn rejected() -> Vec<Vector> {
    let case = |name, clause, code, what, scenario: &Scenario| {
        let scenario = Scenario { accepted_as: "026-attribution-traced", ..scenario.clone() };
        reject(name, clause, code, what, &scenario)
    };
    let unreadable = {
        let mut scenario = traced(|_, _| ());
        scenario.evidence = vec![Evidence::new(EvidenceKind::Spans, vec![0x80, 0])];
        scenario
    };
    vec![
        case(
            "trace-form",
            &["AT-26"],
            "attribution/trace-form",
            "a byte follows the span proofs",
            &unreadable,
        ),
        case(
            "trace-root",
            &["AT-27"],
            "attribution/trace-root",
            "the proofs are of another index than the section's",
            &traced(|section, _| {
                section.shards = vec![Shard { root: digest("another index"), built_by: vec![] }];
            }),
        ),
        case(
            "trace-shard",
            &["AT-27"],
            "attribution/trace-item",
            "the proofs are about a shard that is not there",
            &traced(|_, proof| proof.shards[0].number = 1),
        ),
        case(
            "trace-shifted-offset",
            &["AT-28"],
            "attribution/trace-text",
            "a presence is said to begin one byte later in the document",
            &traced(|_, proof| {
                let mut presences = proof.shards[0].presences.iter_mut();
                // The book's ends with its document, the pages' has a byte behind it.
                let pages = presences.find(|presence| presence.document == 2);
                pages.expect("the answer repeats the pages").position += 1;
            }),
        ),
        case(
            "trace-other-document",
            &["AT-28"],
            "attribution/trace-document",
            "a presence is said to be in a document that lies elsewhere",
            &traced(|_, proof| {
                let presences = &mut proof.shards[0].presences;
                let (first, last) =
                    (presences[0].document, presences[presences.len() - 1].document);
                presences[0].document = last;
                let end = presences.len() - 1;
                presences[end].document = first;
            }),
        ),
        case(
            "trace-neighbour",
            &["AT-29"],
            "attribution/trace-neighbour",
            "an interval of the array leaves out its first entry",
            &traced(|_, proof| {
                let found = proof.shards[0].probes.iter_mut().find(|probe| probe.low < probe.high);
                found.expect("the answer repeats something").low += 1;
            }),
        ),
        case(
            "trace-earlier-owner",
            &["AT-30"],
            "attribution/trace-earlier-owner",
            "the pages' span is drawn out over bytes that the book owns",
            &traced(|section, _| {
                let end = section.spans[1].end;
                section.spans[1].end = end - 4;
            }),
        ),
        case(
            "trace-residual-owned",
            &["AT-30"],
            "attribution/trace-residual-owned",
            "the book's last bytes are said to be nobody's",
            &traced(|section, _| {
                let nobody = Span { end: section.spans[1].end, owner: None };
                section.spans[1].end -= 4;
                section.spans.insert(2, nobody);
                section.residual.size_bytes += 4;
            }),
        ),
        case(
            "trace-not-covered",
            &["AT-30"],
            "attribution/trace-not-covered",
            "the book is said to own bytes before those that it holds",
            &traced(|section, _| {
                section.spans[0].end -= 1;
                section.residual.size_bytes -= 1;
            }),
        ),
        case(
            "span-contribution",
            &["AT-31"],
            "attribution/span-contribution",
            "a span's document is said to be another contribution's",
            &traced(|section, _| {
                section.spans[1].owner.iter_mut().for_each(|owner| owner.contribution = PAGES);
            }),
        ),
    ]
}

/// The scenario with a traced answer; what is edited is edited before the split is computed.
fn traced(edit: impl Fn(&mut Section, &mut TraceProof)) -> Scenario {
    let index = index();
    let policy = tally_core::attribution::SplitPolicy { window: 16, ..policy() };
    let traced = prove(&[&index], OUTPUT.as_bytes(), policy.window.into())
        .expect("the vectors' output can be traced");
    let contribution = |document: u32| if document < 2 { BOOK } else { PAGES };
    let owner = |owner: tally_core::trace::DocumentId| Owner {
        shard: 0,
        document: owner.document,
        contribution: contribution(owner.document),
    };
    let spans = traced.ownership.spans.iter();
    let spans = spans.map(|span| Span { end: span.end, owner: span.owner.map(owner) }).collect();
    let mut section = {
        let mut draft = draft(&policy);
        draft.output = OUTPUT.as_bytes().to_vec();
        draft.shards = vec![Shard { root: index.root(), built_by: vec![INDEX] }];
        draft.spans = spans;
        draft.contributions[usize::from(INDEX)] = built(&index);
        finish(draft, &Scenario::local())
    };
    let mut proof = traced.proof;
    edit(&mut section, &mut proof);
    // The split follows from what was edited, so that only the proofs can tell.
    let mut again = draft(&policy);
    again.output.clone_from(&section.output);
    again.shards.clone_from(&section.shards);
    again.spans.clone_from(&section.spans);
    again.contributions[usize::from(INDEX)] = built(&index);
    let section = finish(again, &Scenario::local());
    let mut scenario = with_section(attributed(), &section);
    scenario.evidence = vec![Evidence::new(EvidenceKind::Spans, proof.encode())];
    scenario
}

/// The manifest of the vectors' builder, for their index.
fn built(index: &Index) -> (tally_core::receipt::SignedStatement, Contribution) {
    let (mut contribution, owner) = contributions().remove(usize::from(INDEX));
    assert_eq!(contribution.kind, ContributionKind::Index);
    contribution.subject = index.root();
    (signed(&contribution, owner), contribution)
}

/// An index over the book and the pages, in that order.
fn index() -> Index {
    let all = contributions();
    let manifest = |place: u16| {
        let (contribution, owner) = &all[usize::from(place)];
        signed(contribution, *owner).digest()
    };
    let mut builder = Builder::new();
    let mut add = |place: u16, texts: &[&str]| {
        builder.contribution(manifest(place)).expect("an index holds two contributions");
        for text in texts {
            builder.document("text", text.as_bytes()).expect("the vectors' texts are short");
        }
    };
    add(BOOK, &BOOK_TEXTS);
    add(PAGES, &PAGES_TEXTS);
    let folder = tempfile::tempdir().expect("there is a place for temporary files");
    let path = folder.path().join("vectors.index");
    let index = builder.build(&path, &mut |_| ()).expect("the vectors' index can be built");
    fs::remove_file(&path).expect("the index was written there");
    index
}
