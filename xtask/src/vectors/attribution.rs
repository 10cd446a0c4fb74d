//! Vectors of the attribution section, accepted and rejected.

use tally_attribution::section::SectionDraft;
use tally_core::Digest;
use tally_core::account::Account;
use tally_core::attribution::{
    Bound, Context, Owner, Role, Section, Shard, Span, SplitPolicy, Tariff,
};
use tally_core::cbor::Cbor as _;
use tally_core::commitment::Field;
use tally_core::contribution::{Contribution, ContributionKind, Extent, Parent, Relation};
use tally_core::receipt::{Outcome, Price, SignedStatement, key_id};

use super::Vector;
use super::accept::accept;
use super::scenario::{ISSUER_KEY, MADE_MS, RESPONSE, Scenario, digest, key, opening, secret};

const NODE_OWNER: u8 = 21;
const MODEL_OWNER: u8 = 22;
const PAGES_OWNER: u8 = 23;
const BOOK_OWNER: u8 = 24;
const INDEX_OWNER: u8 = 25;

mod rejected;
mod traced;

pub(super) use rejected::vectors as rejected;

pub(super) fn accepted() -> Vec<Vector> {
    let hidden = attributed().with(|s| {
        s.openings.remove(&Field::Attribution);
    });
    let free = with_section(
        Scenario { accepted_as: "025-attribution-free", ..Scenario::local() },
        &free_section(),
    );
    let mut vectors = vec![
        accept(
            "attribution",
            &["AT-1", "AT-20", "AT-24"],
            "an answer with a price: node, model and its lineage, a quoted page, a built index, a residual",
            &attributed(),
        ),
        accept(
            "attribution-hidden",
            &["AT-1"],
            "the attribution section is committed to and not opened",
            &Scenario { accepted_as: "024-attribution-hidden", ..hidden },
        ),
        accept(
            "attribution-free",
            &["AT-19", "AT-21"],
            "nobody is registered and nothing is charged: everything is residual",
            &free,
        ),
    ];
    vectors.extend(traced::accepted());
    vectors
}

/// A policy under which every pool has something.
fn policy() -> SplitPolicy {
    SplitPolicy {
        name: "example".into(),
        asset: "USD".into(),
        tariff: Tariff { request: 1_000, input_token: 100, output_token: 300 },
        pools_bps: [3_000, 2_000, 500, 500, 500, 2_000, 500, 1_000],
        window: 32,
        challenge_s: 604_800,
        feedback_cap_bps: 100,
    }
}

fn manifest(owner: u8, kind: ContributionKind, subject: Digest) -> Contribution {
    Contribution {
        contributor: *key(owner).public_key().as_bytes(),
        kind,
        name: format!("{kind} of {owner}"),
        licence: "CC-BY-4.0".into(),
        subject,
        extent: Extent { count: 1, size_bytes: 1_000 },
        time_ms: MADE_MS - 86_400_000,
        parents: vec![],
        version: None,
        source: None,
        payee: None,
    }
}

fn signed(contribution: &Contribution, owner: u8) -> SignedStatement {
    contribution.signed(|message| *key(owner).sign(message).as_bytes())
}

/// The contributions of the accepted vector, children before parents, with their owners.
fn contributions() -> Vec<(Contribution, u8)> {
    let from = |parent: &Contribution, owner, relation, share_bps| Parent {
        relation,
        manifest: signed(parent, owner).digest(),
        share_bps,
    };
    let dataset = ContributionKind::Dataset;
    let mut book = manifest(BOOK_OWNER, dataset, digest("book"));
    book.payee = Some(Account::Commons);
    let mut pages = manifest(PAGES_OWNER, dataset, digest("pages"));
    pages.licence = "unknown".into();
    pages.parents = vec![from(&book, BOOK_OWNER, Relation::DerivedFrom, 2_500)];
    let mut weights = manifest(MODEL_OWNER, ContributionKind::Weights, digest("model"));
    weights.parents = vec![
        from(&pages, PAGES_OWNER, Relation::TrainedOn, 3_000),
        from(&book, BOOK_OWNER, Relation::TrainedOn, 1_000),
    ];
    let node_key = key_id(key(ISSUER_KEY).public_key().as_bytes());
    let node = manifest(NODE_OWNER, ContributionKind::Node, node_key);
    let index = manifest(INDEX_OWNER, ContributionKind::Index, digest("index"));
    vec![
        (node, NODE_OWNER),
        (weights, MODEL_OWNER),
        (index, INDEX_OWNER),
        (pages, PAGES_OWNER),
        (book, BOOK_OWNER),
    ]
}

const NODE: u16 = 0;
const WEIGHTS: u16 = 1;
const INDEX: u16 = 2;
const PAGES: u16 = 3;
const BOOK: u16 = 4;

/// The draft of the accepted vector.
fn draft(policy: &SplitPolicy) -> SectionDraft<'_> {
    let pair =
        |(contribution, owner): (Contribution, u8)| (signed(&contribution, owner), contribution);
    let owner = Owner { shard: 0, document: 7, contribution: PAGES };
    SectionDraft {
        policy,
        contributions: contributions().into_iter().map(pair).collect(),
        bound: vec![
            Bound { role: Role::Node, contribution: NODE },
            Bound { role: Role::Weights, contribution: WEIGHTS },
        ],
        context: vec![Context {
            contribution: BOOK,
            document: digest("a chapter"),
            start: 100,
            end: 900,
        }],
        output: RESPONSE.to_vec(),
        shards: vec![Shard { root: digest("index"), built_by: vec![INDEX] }],
        spans: vec![Span { end: 3, owner: Some(owner) }, Span { end: 5, owner: None }],
    }
}

/// What the policy's tariff yields for the vectors' four input and three output tokens.
fn amount(policy: &SplitPolicy) -> u64 {
    policy.tariff.amount(4, 3)
}

fn finish(draft: SectionDraft<'_>, scenario: &Scenario) -> Section {
    let Outcome::Answer(answer) = &scenario.statement.outcome else {
        unreachable!("the vectors' scenario is an answer")
    };
    let computation = Digest::of_content(&answer.computation.encode());
    let amount = amount(draft.policy);
    draft
        .finish(&scenario.statement.id, &computation, amount)
        .expect("the vectors' grounds allow a split")
}

fn section() -> Section {
    finish(draft(&policy()), &Scenario::local())
}

/// A section of a node that charges nothing and knows nobody.
fn free_section() -> Section {
    let policy = SplitPolicy { tariff: Tariff::default(), ..policy() };
    let spans = vec![Span { end: 5, owner: None }];
    let draft = SectionDraft {
        contributions: vec![],
        bound: vec![],
        context: vec![],
        shards: vec![],
        spans,
        ..draft(&policy)
    };
    finish(draft, &Scenario::local())
}

/// The scenario with any bytes as its attribution section.
fn with_bytes(mut scenario: Scenario, bytes: &[u8]) -> Scenario {
    let field = Field::Attribution;
    scenario.statement.attribution = Some(secret().salt(field).commit(bytes));
    scenario.openings.insert(field, opening(field, bytes));
    scenario
}

fn with_section(scenario: Scenario, section: &Section) -> Scenario {
    let price = (section.amount > 0).then(|| Price { asset: "USD".into(), amount: section.amount });
    let mut scenario = with_bytes(scenario, &section.encode());
    scenario.statement.price = price;
    scenario
}

/// The scenario of the accepted vector.
fn attributed() -> Scenario {
    with_section(Scenario { accepted_as: "023-attribution", ..Scenario::local() }, &section())
}

/// The accepted vector with its section edited.
fn edited(edit: impl FnOnce(&mut Section)) -> Scenario {
    let mut section = section();
    edit(&mut section);
    with_section(attributed(), &section)
}

/// The accepted vector with other contributions, and all that follows from them.
fn contributed(edit: impl FnOnce(&mut Vec<(Contribution, u8)>)) -> Scenario {
    edited(|section| {
        let mut all = contributions();
        edit(&mut all);
        section.contributions =
            all.iter().map(|(contribution, owner)| signed(contribution, *owner).encode()).collect();
    })
}
