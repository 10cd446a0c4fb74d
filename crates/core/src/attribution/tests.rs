//! Tests of the section's form and of the split.

#![expect(
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::cast_possible_truncation,
    reason = "a test counts small numbers"
)]

use std::string::ToString;
use std::vec;

use super::*;
use crate::account::{Account, TransferId};
use crate::cbor::{Cbor as _, CborError};
use crate::contribution::{Contribution, ContributionKind, Extent, PARENTS_MAX, Parent, Relation};
use crate::philox::block;
use crate::{Digest, tag};

fn digest(number: u32) -> Digest {
    Digest::of_content(&number.to_be_bytes())
}

fn contribution(number: u8, parents: &[(Digest, u16)]) -> Contribution {
    Contribution {
        contributor: [number; 32],
        kind: ContributionKind::Dataset,
        name: "pages".into(),
        licence: "unknown".into(),
        subject: digest(number.into()),
        extent: Extent { count: 1, size_bytes: 100 },
        time_ms: 1_790_000_000_000,
        parents: parents
            .iter()
            .map(|(manifest, share_bps)| Parent {
                relation: Relation::DerivedFrom,
                manifest: *manifest,
                share_bps: *share_bps,
            })
            .collect(),
        version: None,
        source: None,
        payee: None,
    }
}

fn policy(pools_bps: [u16; POOLS_COUNT]) -> SplitPolicy {
    SplitPolicy {
        name: "half and half".into(),
        asset: "USD".into(),
        tariff: Tariff { request: 5, input_token: 10, output_token: 20 },
        pools_bps,
        window: 32,
        challenge_s: 86_400,
        feedback_cap_bps: 100,
    }
}

fn section() -> Section {
    let policy = policy([1000, 2000, 500, 500, 1000, 3000, 500, 1500]);
    Section {
        policy_digest: policy.digest(),
        policy: policy.encode(),
        contributions: vec![vec![1, 2], vec![3]],
        bound: vec![Bound { role: Role::Node, contribution: 1 }],
        context: vec![Context { contribution: 0, document: digest(1), start: 3, end: 9 }],
        output: b"words".to_vec(),
        shards: vec![Shard { root: digest(2), built_by: vec![1] }],
        spans: vec![
            Span { end: 3, owner: Some(Owner { shard: 0, document: 7, contribution: 0 }) },
            Span { end: 5, owner: None },
        ],
        amount: 100,
        transfers: vec![Transfer {
            id: TransferId::derive(&[1; 16], 0),
            label: Label::Observed,
            account: Account::Contributor([9; 32]),
            amount: 60,
        }],
        residual: Residual { id: TransferId::derive(&[1; 16], 1), size_bytes: 2, amount: 40 },
    }
}

#[test]
fn a_section_has_one_encoding_and_knows_no_other_label_role_or_owner() {
    let section = section();
    let bytes = section.encode();
    assert_eq!(Section::parse(&bytes), Ok(section));
    for length in 0..bytes.len() {
        assert!(Section::parse(&bytes[..length]).is_err());
    }
    // The label stands after the transfer's id: 0x50 and 16 bytes.
    let id = TransferId::derive(&[1; 16], 0);
    let place = bytes.windows(16).position(|window| window == id.as_bytes()).unwrap() + 16;
    let mut other = bytes;
    other[place] = 8;
    assert_eq!(Section::parse(&other), Err(CborError::Value { what: "label", found: 8 }));
    other[place] = 0xfb;
    let is_float =
        matches!(Section::parse(&other), Err(CborError::Type { .. } | CborError::Form { .. }));
    assert!(is_float);
}

#[test]
fn labels_have_their_words_and_codes() {
    for label in Label::ALL {
        assert_eq!(Label::from_code(label.code()), Some(label));
    }
    assert_eq!(Label::from_code(0), None);
    assert_eq!(Label::from_code(8), None);
    let words: vec::Vec<_> = Label::ALL.iter().map(ToString::to_string).collect();
    let design =
        ["declared", "bound", "observed", "interventional", "replayed", "estimated", "policy"];
    assert_eq!(words, design);
}

#[test]
fn a_policy_keeps_its_pools_whole_and_its_numbers_within_limits() {
    let good = policy([1000, 2000, 500, 500, 1000, 3000, 500, 1500]);
    assert_eq!(SplitPolicy::parse(&good.encode()), Ok(good.clone()));
    assert_eq!(good.digest(), Digest::of_tagged(tag::SPLIT_POLICY, &[&good.encode()]));
    assert_eq!(good.tariff.amount(3, 7), 5 + 30 + 140);
    let limit = |policy: &SplitPolicy| SplitPolicy::parse(&policy.encode()).unwrap_err();
    let mut more = good.clone();
    more.pools_bps[0] += 1;
    assert!(matches!(limit(&more), CborError::Limit { what: "pools together", found: 10_001, .. }));
    let mut less = good.clone();
    less.pools_bps[0] -= 1;
    assert!(matches!(limit(&less), CborError::Below { what: "pools together", found: 9_999, .. }));
    for window in [WINDOW_MIN, WINDOW_MAX] {
        let edge = SplitPolicy { window, ..good.clone() };
        assert_eq!(SplitPolicy::parse(&edge.encode()), Ok(edge));
    }
    let short = SplitPolicy { window: WINDOW_MIN - 1, ..good.clone() };
    assert!(matches!(limit(&short), CborError::Below { what: "window", .. }));
    let long = SplitPolicy { window: WINDOW_MAX + 1, ..good.clone() };
    assert!(matches!(limit(&long), CborError::Limit { what: "window", .. }));
    let dear = SplitPolicy {
        tariff: Tariff { request: 0, input_token: 0, output_token: (1 << 40) + 1 },
        ..good.clone()
    };
    assert!(matches!(limit(&dear), CborError::Limit { what: "output token's price", .. }));
    let dearest = Tariff { request: 1 << 40, input_token: 1 << 40, output_token: 1 << 40 };
    assert_eq!(dearest.amount(1 << 20, 1 << 20), (1 << 61) + (1 << 40));
}

#[test]
fn a_manifest_reads_back_and_its_limits_hold() {
    let mut whole = contribution(3, &[(digest(1), 2_000), (digest(2), 8_000)]);
    whole.version = Some("1.0".into());
    whole.source = Some("https://example.org/pages".into());
    assert_eq!(Contribution::parse(&whole.encode()), Ok(whole.clone()));
    assert_eq!(whole.shares_bps(), 10_000);
    assert_eq!(whole.header().subject, std::format!("tally:contribution:{}", whole.subject));
    let nameless = Contribution { name: "".into(), ..whole.clone() };
    let parsed = Contribution::parse(&nameless.encode());
    assert!(matches!(parsed, Err(CborError::Empty { what: "contribution name", .. })));
    let parents = vec![(digest(1), 0); usize::try_from(PARENTS_MAX).unwrap() + 1];
    let parsed = Contribution::parse(&contribution(3, &parents).encode());
    assert!(matches!(parsed, Err(CborError::Limit { what: "parents", .. })));
    let given = Contribution { payee: Some(Account::Commons), ..whole.clone() };
    assert_eq!(Contribution::parse(&given.encode()), Ok(given.clone()));
    assert_eq!(given.account(), Account::Commons);
    assert_eq!(whole.account(), Account::Contributor([3; 32]));
    for payee in [Account::Feedback, Account::Contributor([3; 32])] {
        let odd = Contribution { payee: Some(payee), ..whole.clone() };
        let parsed = Contribution::parse(&odd.encode());
        assert!(matches!(parsed, Err(CborError::Value { what: "payee", .. })));
    }
    for kind in ContributionKind::ALL {
        let one = Contribution { kind, ..whole.clone() };
        assert_eq!(Contribution::parse(&one.encode()), Ok(one));
    }
}

/// Contributions in a row, each naming the parents given by place and share.
struct Case {
    manifests: vec::Vec<Digest>,
    contributions: vec::Vec<Contribution>,
    bound: vec::Vec<Bound>,
    context: vec::Vec<Context>,
    spans: vec::Vec<Span>,
    policy: SplitPolicy,
}

impl Case {
    fn new(lineage: &[&[(u32, u16)]]) -> Self {
        let manifests = (0..lineage.len() as u32).map(digest).collect();
        let contributions = lineage.iter().enumerate().map(|(place, parents)| {
            let parents: vec::Vec<_> =
                parents.iter().map(|(parent, share)| (digest(*parent), *share)).collect();
            contribution(place as u8, &parents)
        });
        Self {
            manifests,
            contributions: contributions.collect(),
            bound: vec![],
            context: vec![],
            spans: vec![],
            policy: policy([1000, 2000, 500, 500, 1000, 3000, 500, 1500]),
        }
    }

    fn allocate(&self, amount: u64, salt: u32) -> Result<Allocation, AllocationError> {
        let (computation, policy_digest) = (digest(salt), self.policy.digest());
        let grounds = Grounds {
            computation: &computation,
            policy_digest: &policy_digest,
            policy: &self.policy,
            manifests: &self.manifests,
            contributions: &self.contributions,
            bound: &self.bound,
            context: &self.context,
            spans: &self.spans,
        };
        allocate(&grounds, amount)
    }
}

fn total(allocation: &Allocation) -> u64 {
    allocation.shares.values().sum::<u64>() + allocation.residual
}

#[test]
fn an_exact_case_by_hand() {
    // The model (0) gives half to the pages (1), which give a tenth to a book (2).
    let mut case = Case::new(&[&[(1, 5_000)], &[(2, 1_000)], &[]]);
    case.bound = vec![Bound { role: Role::Weights, contribution: 0 }];
    case.spans = vec![
        Span { end: 60, owner: Some(Owner { shard: 0, document: 0, contribution: 1 }) },
        Span { end: 100, owner: None },
    ];
    let allocation = case.allocate(1_000_000, 1).unwrap();
    let share = |label, account| allocation.shares.get(&(label, account)).copied().unwrap_or(0);
    let who = |place: u8| Account::Contributor([place; 32]);
    // 2,000 bps of a million: half stays, 90 % of the rest stays with the pages.
    assert_eq!(share(Label::Bound, who(0)), 100_000);
    assert_eq!(share(Label::Declared, who(1)), 90_000);
    // The book: a tenth of 100,000 by the model's lineage and of 180,000 by quotation.
    assert_eq!(share(Label::Declared, who(2)), 10_000 + 18_000);
    assert_eq!(share(Label::Observed, who(1)), 162_000);
    assert_eq!(share(Label::Policy, Account::Feedback), 50_000);
    assert_eq!(share(Label::Policy, Account::Commons), 150_000);
    // Node, code, prompt and context have nobody; 40 of 100 bytes are nobody's.
    assert_eq!(allocation.residual, 100_000 + 50_000 + 50_000 + 100_000 + 120_000);
    assert_eq!(total(&allocation), 1_000_000);
}

#[test]
fn lineage_has_no_cycle_no_gap_and_no_more_than_the_whole() {
    let refused = |lineage: &[&[(u32, u16)]]| Case::new(lineage).allocate(1, 0).unwrap_err();
    assert_eq!(refused(&[&[(0, 1)]]), AllocationError::Cycle { child: 0, parent: 0 });
    let two = refused(&[&[(1, 1)], &[(0, 1)]]);
    assert_eq!(two, AllocationError::Cycle { child: 1, parent: 0 });
    let missing = AllocationError::ParentMissing { child: 0, parent: digest(7) };
    assert_eq!(refused(&[&[(7, 1)]]), missing);
    let above = refused(&[&[(1, 5_000), (2, 5_001)], &[], &[]]);
    assert_eq!(above, AllocationError::Shares { child: 0, found: 10_001 });
    let whole = Case::new(&[&[(1, 5_000), (2, 5_000)], &[], &[]]);
    assert_eq!(total(&whole.allocate(1, 0).unwrap()), 1);
    let mut case = Case::new(&[&[]]);
    case.bound = vec![Bound { role: Role::Node, contribution: 1 }];
    let none = case.allocate(1, 0).unwrap_err();
    let what = "a bound contribution";
    assert_eq!(none, AllocationError::NoContribution { what, place: 1, count: 1 });
}

#[test]
fn nothing_is_lost_or_added_in_10_000_random_cases() {
    let mut cases = 0;
    for number in 0..10_000_u32 {
        let draw = |place: u32| block([number, place, 0, 0], [3, 5]);
        let count = 1 + draw(0)[0] % 6;
        let lineage: vec::Vec<vec::Vec<(u32, u16)>> = (0..count)
            .map(|child| {
                let share = |parent: u32| (draw(100 + child * 8 + parent)[0] % 2_000) as u16;
                (child + 1..count).map(|parent| (parent, share(parent))).collect()
            })
            .collect();
        let lineage: vec::Vec<&[(u32, u16)]> = lineage.iter().map(vec::Vec::as_slice).collect();
        let mut case = Case::new(&lineage);
        case.bound = vec![Bound { role: Role::Weights, contribution: (draw(1)[0] % count) as u16 }];
        let mut end = 0;
        for place in 0..draw(2)[0] % 8 {
            let [size, whose, is_owned, _] = draw(200 + place);
            end += 1 + size % 100;
            let contribution = (whose % count) as u16;
            let owner = Owner { shard: 0, document: place, contribution };
            case.spans.push(Span { end, owner: (is_owned % 3 != 0).then_some(owner) });
        }
        let [high, low, bits, _] = draw(3);
        let amount = (u64::from(high) << 32 | u64::from(low)) >> (bits % 64);
        let allocation = case.allocate(amount, number).unwrap();
        assert_eq!(total(&allocation), amount);
        assert!(allocation.shares.values().all(|share| *share > 0));
        cases += 1;
    }
    std::println!("{cases} cases");
}

#[test]
fn who_puts_a_name_between_loses_nothing_and_gains_nothing() {
    // A dataset (1) that passes everything on is as if the model named its parent itself.
    let direct = Case::new(&[&[(1, 4_000)], &[]]);
    let between = Case::new(&[&[(1, 4_000)], &[(2, 10_000)], &[]]);
    for salt in 0..100 {
        let mut cases = [&direct, &between].map(|case| Case {
            manifests: case.manifests.clone(),
            contributions: case.contributions.clone(),
            bound: vec![Bound { role: Role::Weights, contribution: 0 }],
            context: vec![],
            spans: vec![],
            policy: case.policy.clone(),
        });
        let last = cases[1].contributions[2].clone();
        cases[0].contributions[1].contributor = last.contributor;
        let [direct, between] = cases.map(|case| case.allocate(999_983, salt).unwrap());
        assert_eq!(direct.shares, between.shares);
    }
}
