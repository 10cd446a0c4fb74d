//! Reject vectors of the attribution section.

use tally_core::account::{Account, TransferId};
use tally_core::attribution::{Context, Label, Span, Transfer};
use tally_core::cbor::Cbor as _;
use tally_core::commitment::Field;
use tally_core::contribution::Contribution;
use tally_core::receipt::SignedStatement;

use super::super::raw::replace;
use super::super::scenario::{Scenario, digest, key};
use super::super::{Vector, reject};
use super::{
    BOOK, INDEX, NODE, NODE_OWNER, PAGES, PAGES_OWNER, WEIGHTS, attributed, contributed,
    contributions, edited, policy, section, signed, with_bytes,
};

pub(in super::super) fn vectors() -> Vec<Vector> {
    let mut vectors = forms();
    vectors.extend(manifests());
    vectors.extend(grounds());
    vectors.extend(shards());
    vectors.extend(context());
    vectors.extend(spans());
    vectors.extend(amounts());
    vectors.extend(super::traced::rejected());
    vectors
}

fn case(
    name: &'static str,
    clause: &'static [&'static str],
    code: &'static str,
    what: &'static str,
    scenario: &Scenario,
) -> Vector {
    reject(name, clause, code, what, scenario)
}

#[expect(clippy::too_many_lines, reason = "a table, one vector after another")]
fn forms() -> Vec<Vector> {
    let bytes = section().encode();
    let raw = |bytes: &[u8]| {
        let mut scenario = with_bytes(attributed(), bytes);
        scenario.statement.price = attributed().statement.price;
        scenario
    };
    let transfers = section().transfers;
    let first = transfers.first().expect("the vectors' split has transfers");
    // id, label, then the account: the label is one byte after the id's sixteen.
    let labelled = |byte: u8| {
        let mut from = first.id.as_bytes().to_vec();
        let mut to = from.clone();
        from.push(first.label.code());
        to.push(byte);
        replace(&bytes, &from, &to)
    };
    let mut float = first.id.as_bytes().to_vec();
    float.push(first.label.code());
    let mut half = first.id.as_bytes().to_vec();
    half.extend([0xf9, 0x38, 0x00]);
    let float = replace(&bytes, &float, &half);
    let mut headless = section().encode();
    let residual = section().residual;
    let mut tail = tally_core::cbor::Encoder::new();
    tail.key(12).array(3).bytes(residual.id.as_bytes()).uint(residual.size_bytes.into());
    tail.uint(residual.amount);
    headless.truncate(headless.len() - tail.finish().len());
    headless[0] = 0xab;
    let mut longer = bytes.clone();
    longer.push(0);
    let policy = {
        let mut wide = policy();
        wide.pools_bps[0] += 1;
        edited(|section| {
            section.policy = wide.encode();
            section.policy_digest = wide.digest();
        })
    };
    vec![
        case(
            "attribution-altered",
            &["AT-1"],
            "receipt/opening",
            "the opened section differs in its last byte",
            &attributed().with(|s| {
                s.openings.entry(Field::Attribution).and_modify(|opening| {
                    opening.value.iter_mut().last().into_iter().for_each(|byte| *byte ^= 1);
                });
            }),
        ),
        case(
            "attribution-trailing",
            &["AT-2"],
            "attribution/form",
            "a byte follows the section",
            &raw(&longer),
        ),
        case(
            "attribution-float",
            &["AT-3"],
            "attribution/float",
            "a transfer's label is the half-precision float 0.5",
            &raw(&float),
        ),
        case(
            "attribution-label",
            &["AT-4"],
            "attribution/label",
            "a transfer has label 8",
            &raw(&labelled(8)),
        ),
        case(
            "attribution-without-residual",
            &["AT-5"],
            "attribution/residual-missing",
            "the section has no residual",
            &raw(&headless),
        ),
        case(
            "attribution-policy-digest",
            &["AT-6"],
            "attribution/policy-digest",
            "the section names the digest of another policy",
            &edited(|section| section.policy_digest = digest("another policy")),
        ),
        case(
            "attribution-pools",
            &["AT-7"],
            "attribution/form",
            "the policy's pools are 10,001 basis points together",
            &policy,
        ),
    ]
}

fn manifests() -> Vec<Vector> {
    let mut foreign = contributions();
    let bytes = |all: &[(Contribution, u8)]| -> Vec<Vec<u8>> {
        all.iter().map(|(contribution, owner)| signed(contribution, *owner).encode()).collect()
    };
    foreign[usize::from(BOOK)].1 = PAGES_OWNER;
    let header = edited(|section| {
        let (mut contribution, owner) = contributions().remove(usize::from(NODE));
        let mut other = contribution.clone();
        other.subject = digest("another node");
        let mut signed = signed(&contribution, owner);
        signed.protected = other.header().encode();
        let message = SignedStatement::to_be_signed(&signed.protected, &signed.payload);
        signed.signature = *key(owner).sign(&message).as_bytes();
        contribution.parents.clear();
        section.contributions[usize::from(NODE)] = signed.encode();
    });
    vec![
        case(
            "contribution-header",
            &["AT-8"],
            "attribution/contribution-header",
            "a manifest's header is about another subject than its payload",
            &header,
        ),
        case(
            "contribution-signature",
            &["AT-9"],
            "attribution/contribution-signature",
            "a manifest is signed by another key than its contributor's",
            &edited(|section| section.contributions = bytes(&foreign)),
        ),
        case(
            "contribution-twice",
            &["AT-10"],
            "attribution/contribution-twice",
            "a manifest stands there twice",
            &contributed(|all| {
                let book = all[usize::from(BOOK)].clone();
                all.push(book);
            }),
        ),
        case(
            "lineage-cycle",
            &["AT-11"],
            "attribution/lineage-cycle",
            "a parent stands before its child, as in a lineage that returns to where it began",
            &contributed(|all| all.swap(usize::from(PAGES), usize::from(BOOK))),
        ),
        case(
            "lineage-parent-missing",
            &["AT-12"],
            "attribution/parent-missing",
            "a manifest names a parent that is not there",
            &edited(|section| {
                section.contributions.pop();
                section.context.clear();
            }),
        ),
        case(
            "lineage-shares",
            &["AT-13"],
            "attribution/shares",
            "a manifest gives its parents 10,001 basis points",
            &contributed(|all| {
                all[usize::from(WEIGHTS)].0.parents[0].share_bps = 9_001;
            }),
        ),
    ]
}

fn grounds() -> Vec<Vector> {
    vec![
        case(
            "role-order",
            &["AT-14"],
            "attribution/role-order",
            "two nodes are said to have computed it",
            &edited(|section| section.bound[1] = section.bound[0]),
        ),
        case(
            "role-kind",
            &["AT-15"],
            "attribution/kind",
            "the weights are a contribution of kind dataset",
            &edited(|section| section.bound[1].contribution = PAGES),
        ),
        case(
            "role-subject",
            &["AT-16"],
            "attribution/subject",
            "the weights are of another model than the statement names",
            &contributed(|all| all[usize::from(WEIGHTS)].0.subject = digest("another model")),
        ),
        case(
            "role-place",
            &["AT-15"],
            "attribution/no-contribution",
            "the weights are a contribution that is not there",
            &edited(|section| section.bound[1].contribution = 5),
        ),
    ]
}

fn shards() -> Vec<Vector> {
    vec![
        case(
            "shard-twice",
            &["AT-17"],
            "attribution/shard-twice",
            "an index stands there twice",
            &edited(|section| section.shards.push(section.shards[0].clone())),
        ),
        case(
            "index-builder",
            &["AT-17"],
            "attribution/subject",
            "the builder of an index signed another root",
            &contributed(|all| all[usize::from(INDEX)].0.subject = digest("another index")),
        ),
        case(
            "builder-twice",
            &["AT-17"],
            "attribution/builder-twice",
            "an index has the same builder twice",
            &edited(|section| {
                let builder = section.shards[0].built_by[0];
                section.shards[0].built_by.push(builder);
            }),
        ),
    ]
}

fn context() -> Vec<Vector> {
    vec![
        case(
            "context-empty",
            &["AT-18"],
            "attribution/context-empty",
            "a document of the context ends where it starts",
            &edited(|section| section.context[0].end = section.context[0].start),
        ),
        case(
            "context-weights",
            &["AT-18"],
            "attribution/split",
            "the context's documents have more than 2³² − 1 bytes together",
            &edited(|section| {
                let whole = Context { start: 0, end: u32::MAX, ..section.context[0] };
                let other = Context { document: digest("another document"), ..whole };
                section.context = vec![whole, other];
            }),
        ),
        case(
            "context-twice",
            &["AT-18"],
            "attribution/context-twice",
            "two parts of one document in the context have a byte in common",
            &edited(|section| {
                let first = section.context[0];
                let next = Context { start: first.end - 1, end: first.end + 1, ..first };
                section.context.push(next);
            }),
        ),
    ]
}

fn spans() -> Vec<Vector> {
    vec![
        case(
            "span-order",
            &["AT-19"],
            "attribution/span-order",
            "a span ends where the one before it ends",
            &edited(|section| section.spans[1].end = 3),
        ),
        case(
            "span-beyond",
            &["AT-19"],
            "attribution/span-order",
            "a span ends after the output",
            &edited(|section| section.spans[1].end = 6),
        ),
        case(
            "span-divided",
            &["AT-19"],
            "attribution/span-divided",
            "nobody's bytes stand in two spans",
            &edited(|section| section.spans.insert(1, Span { end: 4, owner: None })),
        ),
        case(
            "span-cover",
            &["AT-19"],
            "attribution/span-cover",
            "the output's last byte is in no span",
            &edited(|section| {
                section.spans[1].end = 4;
                section.residual.size_bytes = 1;
            }),
        ),
        case(
            "span-shard",
            &["AT-20"],
            "attribution/span-shard",
            "a span belongs to an index that is not there",
            &edited(|section| {
                section.spans[0].owner.iter_mut().for_each(|owner| owner.shard = 1);
            }),
        ),
        case(
            "span-owner",
            &["AT-20"],
            "attribution/kind",
            "a span belongs to the node",
            &edited(|section| {
                section.spans[0].owner.iter_mut().for_each(|owner| owner.contribution = NODE);
            }),
        ),
        case(
            "residual-bytes",
            &["AT-21"],
            "attribution/residual-bytes",
            "the residual is said to be of one byte, it is of two",
            &edited(|section| section.residual.size_bytes = 1),
        ),
    ]
}

#[expect(clippy::too_many_lines, reason = "a table, one vector after another")]
fn amounts() -> Vec<Vector> {
    let shifted = |place: usize, by: fn(&mut u64)| {
        edited(move |section| by(&mut section.transfers[place].amount))
    };
    vec![
        case(
            "attribution-amount",
            &["AT-22"],
            "attribution/amount",
            "the price is one billionth above the tariff",
            &attributed().with(|s| {
                s.statement.price.iter_mut().for_each(|price| price.amount += 1);
            }),
        ),
        case(
            "attribution-unpriced",
            &["AT-22"],
            "attribution/amount",
            "the statement has no price, and the tariff demands one",
            &attributed().with(|s| s.statement.price = None),
        ),
        case(
            "attribution-asset",
            &["AT-22"],
            "attribution/asset",
            "the price is in another asset than the policy's",
            &attributed().with(|s| {
                s.statement.price.iter_mut().for_each(|price| price.asset = "EUR".into());
            }),
        ),
        case(
            "transfer-twice",
            &["AT-23"],
            "attribution/transfer-twice",
            "two transfers have one id",
            &edited(|section| section.transfers[1].id = section.transfers[0].id),
        ),
        case(
            "transfer-id",
            &["AT-23"],
            "attribution/transfer-id",
            "a transfer's id is that of another receipt",
            &edited(|section| section.transfers[0].id = TransferId::derive(&[0xa2; 16], 0)),
        ),
        case(
            "share-moved",
            &["AT-24"],
            "attribution/share",
            "one billionth is moved from one account to another",
            &edited(|section| {
                section.transfers[0].amount -= 1;
                section.transfers[1].amount += 1;
            }),
        ),
        case(
            "share-above",
            &["AT-24"],
            "attribution/share",
            "the last transfer is one billionth above its share",
            &{
                let last = section().transfers.len() - 1;
                shifted(last, |amount| *amount += 1)
            },
        ),
        case(
            "share-account",
            &["AT-24"],
            "attribution/share",
            "the commons' part goes to the node's owner",
            &edited(|section| {
                let owner = Account::Contributor(*key(NODE_OWNER).public_key().as_bytes());
                let commons = |transfer: &&mut Transfer| transfer.account == Account::Commons;
                section.transfers.iter_mut().filter(commons).for_each(|t| t.account = owner);
            }),
        ),
        case(
            "share-label",
            &["AT-24"],
            "attribution/share",
            "a declared share is said to be observed",
            &edited(|section| {
                let declared = |transfer: &&mut Transfer| transfer.label == Label::Declared;
                let label = Label::Observed;
                section.transfers.iter_mut().filter(declared).for_each(|t| t.label = label);
            }),
        ),
        case(
            "residual-taken",
            &["AT-25"],
            "attribution/residual",
            "the residual is one billionth short",
            &edited(|section| section.residual.amount -= 1),
        ),
    ]
}
