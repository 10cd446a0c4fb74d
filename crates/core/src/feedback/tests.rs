//! Signed feedback, its neighbours that are refused, and what payouts keep.

use std::{string::ToString, vec, vec::Vec};

use super::payout::{Weight, cap, divide, gold_bps};
use super::*;
use crate::account::Account;
use crate::commitment::Salt;
use crate::ed25519::SigningKey;
use crate::philox::block;
use crate::split::{AMOUNT_MAX, Offset, SplitError, WEIGHT_MAX};

fn key(number: u8) -> SigningKey {
    SigningKey::from_seed(&[number; 32])
}

fn public(number: u8) -> [u8; 32] {
    *key(number).public_key().as_bytes()
}

fn sign(number: u8) -> impl FnOnce(&[u8]) -> [u8; 64] {
    move |message| *key(number).sign(message).as_bytes()
}

fn rating() -> Rating {
    Rating {
        rater: public(1),
        receipt: Digest::of_content(b"receipt"),
        score: 87,
        time_ms: 1_790_000_000_000,
        payee: Some(Account::Commons),
        comment: Some("clear, and it says what it does not know".into()),
    }
}

fn gold() -> Gold {
    let receipt = Digest::of_content(b"receipt");
    let salt = Salt::from_bytes([9; 32]);
    Gold { signer: public(2), receipt, from: 60, to: 100, time_ms: 7, salt }
}

fn used(count: u64) -> Use {
    let mut ratings: Vec<Digest> =
        (0..count).map(|number| Digest::of_content(&number.to_be_bytes())).collect();
    ratings.sort_unstable();
    Use { signer: public(2), batch: Digest::of_content(b"batch"), ratings, time_ms: 8 }
}

#[test]
fn what_is_signed_comes_back_as_what_it_is() {
    let plain = Rating { payee: None, comment: None, ..rating() };
    assert_eq!(plain.account(), Account::Contributor(public(1)));
    assert_eq!(rating().account(), Account::Commons);
    for rating in [plain, rating()] {
        let signed = rating.signed(sign(1));
        assert_eq!(Rating::open(&signed), Ok(rating.clone()));
        let again = SignedStatement::parse(&signed.encode()).unwrap();
        assert_eq!(Feedback::open(&again), Ok(Feedback::Rating(rating)));
    }
    assert_eq!(Feedback::open(&gold().signed(sign(2))), Ok(Feedback::Gold(gold())));
    for count in [1, 2, USED_RATINGS_MAX] {
        let signed = used(count).signed(sign(2));
        let again = SignedStatement::parse(&signed.encode()).unwrap();
        assert_eq!(Feedback::open(&again), Ok(Feedback::Use(used(count))));
    }
}

#[test]
fn feedback_under_another_name_header_or_signature_is_refused() {
    let signed = rating().signed(sign(1));
    let foreign = rating().signed(sign(2));
    assert!(matches!(Rating::open(&foreign), Err(FeedbackError::Signature(_))));
    let mut changed = signed.clone();
    changed.payload = Rating { score: 88, ..rating() }.encode();
    assert!(matches!(Rating::open(&changed), Err(FeedbackError::Signature(_))));
    let other = Rating { receipt: Digest::of_content(b"other"), ..rating() };
    changed.payload = other.encode();
    let refused = Rating::open(&changed);
    assert!(
        matches!(refused, Err(FeedbackError::Header { expected, .. }) if expected == other.subject())
    );
    assert!(Gold::open(&signed).is_err());
    let mut header = rating().header();
    header.content_type = "application/tally-statement+cbor".into();
    let other = SignedStatement::sign(&header, rating().encode(), sign(1));
    assert!(matches!(Feedback::open(&other), Err(FeedbackError::ContentType { .. })));
    assert!(matches!(Rating::open(&other), Err(FeedbackError::Header { .. })));
}

#[test]
fn the_limits_of_a_rating_are_reached_and_not_passed() {
    let with = |change: fn(&mut Rating)| {
        let mut rating = rating();
        change(&mut rating);
        (Rating::parse(&rating.encode()), rating)
    };
    let good: [fn(&mut Rating); 4] = [
        |it| it.score = 0,
        |it| it.score = SCORE_MAX,
        |it| it.comment = Some("x".repeat(1024)),
        |it| it.payee = Some(Account::Contributor([5; 32])),
    ];
    for (parsed, rating) in good.map(with) {
        assert_eq!(parsed, Ok(rating));
    }
    let bad: [fn(&mut Rating); 5] = [
        |it| it.score = SCORE_MAX + 1,
        |it| it.comment = Some("x".repeat(1025)),
        |it| it.comment = Some(String::new()),
        |it| it.payee = Some(Account::Feedback),
        |it| it.payee = Some(Account::Contributor(public(1))),
    ];
    for (parsed, rating) in bad.map(with) {
        assert!(parsed.is_err(), "{rating:?}");
    }
    let bytes = rating().encode();
    for end in 0..bytes.len() {
        assert!(Rating::parse(&bytes[..end]).is_err());
    }
    let longer = [&bytes[..], &[0]].concat();
    assert_eq!(Rating::parse(&longer), Err(CborError::Trailing { count: 1 }));
}

#[test]
fn a_gold_answer_is_an_interval_and_a_use_names_ratings_in_order() {
    assert!(Gold::parse(&Gold { from: 100, to: 100, ..gold() }.encode()).is_ok());
    let refused = Gold::parse(&Gold { from: 61, to: 60, ..gold() }.encode());
    assert!(matches!(refused, Err(CborError::Below { limit: 61, found: 60, .. })));
    assert!(Gold::parse(&Gold { to: 101, ..gold() }.encode()).is_err());
    let right: Vec<u8> = (0..=100).filter(|score| gold().is_right(*score)).collect();
    assert_eq!((right.first(), right.last(), right.len()), (Some(&60), Some(&100), 41));
    for count in [0, USED_RATINGS_MAX + 1] {
        assert!(Use::parse(&used(count).encode()).is_err(), "{count}");
    }
    let [a, b] = [0, 1].map(|place| used(2).ratings[place]);
    for ratings in [vec![a, a], vec![b, a]] {
        assert!(Use::parse(&Use { ratings, ..used(2) }.encode()).is_err());
    }
}

#[test]
fn the_digest_of_two_gold_answers_that_say_the_same_differs_by_the_salt() {
    let other = Gold { salt: Salt::from_bytes([8; 32]), ..gold() };
    assert_ne!(gold().signed(sign(2)).digest(), other.signed(sign(2)).digest());
    assert_eq!(gold().header(), other.header());
    assert_eq!(gold().subject(), std::format!("tally:gold:{}", Digest::of_content(b"receipt")));
    assert!(used(1).subject().to_string().starts_with("tally:rating-use:"));
}

fn offset(number: u64) -> Offset {
    Offset::of_payout(number, &Digest::of_content(b"policy"), &Digest::of_content(b"uses"))
}

fn weights(parts: &[u64]) -> Vec<Weight> {
    let weight = |(number, weight): (u8, &u64)| {
        let rater = [number; 32];
        Weight { rater, account: Account::Contributor(rater), weight: *weight }
    };
    (0..).zip(parts).map(weight).collect()
}

#[test]
fn gold_counts_in_basis_points_and_nothing_answered_is_nothing() {
    let cases = [(0, 0, 0), (0, 3, 0), (1, 3, 3_333), (2, 3, 6_666), (3, 3, 10_000)];
    for (right, answered, expected) in cases {
        assert_eq!(gold_bps(right, answered), expected);
    }
    assert_eq!(gold_bps(u32::MAX, u32::MAX), 10_000);
}

#[test]
fn ten_thousand_random_payouts_lose_nothing_and_keep_the_cap() {
    let mut cases = 0;
    for case in 0..12_000_u32 {
        let [a, b, c, sizes] = block([case, 0, 0, 0], [60, 61]);
        let pool = (u128::from(a) << 64 | u128::from(b) << 32 | u128::from(c)) & AMOUNT_MAX;
        let pool = pool >> (sizes % 96);
        let [count, cap_bps, accounts, _] = block([case, 1, 0, 0], [60, 61]);
        let cap_bps = u16::try_from(cap_bps % 10_001).unwrap();
        let mut all = weights(&vec![0; usize::try_from(count % 40).unwrap() + 1]);
        for (place, it) in (0..).zip(&mut all) {
            let [weight, to, bits, _] = block([case, 2, place, 0], [60, 61]);
            it.weight = u64::from(weight >> (8 + bits % 24));
            // Some raters share an account.
            let account = u8::try_from(to % (1 + accounts % 8)).unwrap();
            it.account = Account::Contributor([account; 32]);
        }
        let sum: u64 = all.iter().map(|it| it.weight).sum();
        let paid = divide(pool, &all, cap_bps, offset(case.into()));
        if sum == 0 {
            assert_eq!(paid, Err(SplitError::NoWeight));
            continue;
        }
        let paid = paid.unwrap();
        let (total, limit) = (paid.values().sum::<u128>(), cap(pool, cap_bps));
        assert!(total <= pool && paid.values().all(|amount| *amount <= limit));
        // Without a cap that binds, the pool is paid out to the last billionth.
        let whole = divide(pool, &all, 10_000, offset(case.into())).unwrap();
        assert_eq!(whole.values().sum::<u128>(), pool);
        for (account, amount) in &whole {
            let capped = paid.get(account).copied().unwrap_or(0);
            assert_eq!(capped, limit.min(*amount));
        }
        let earns =
            |account: &Account| all.iter().any(|it| it.account == *account && it.weight > 0);
        assert!(whole.keys().all(earns), "who has no weight earns nothing");
        cases += 1;
    }
    std::println!("{cases} cases");
}

#[test]
fn what_a_cap_leaves_stays_and_two_names_of_one_account_share_one_cap() {
    let paid = divide(1_000, &weights(&[10_000, 10_000]), 100, offset(0)).unwrap();
    assert_eq!(paid.into_values().collect::<Vec<_>>(), [10, 10]);
    let mut shared = weights(&[10_000, 10_000]);
    shared.iter_mut().for_each(|it| it.account = Account::Commons);
    let paid = divide(1_000, &shared, 100, offset(0)).unwrap();
    assert_eq!(paid.into_iter().collect::<Vec<_>>(), [(Account::Commons, 10)]);
    assert!(divide(99, &weights(&[1]), 100, offset(0)).unwrap().is_empty());
}

#[test]
fn the_limits_of_a_payout_are_those_of_a_split() {
    let paid = divide(AMOUNT_MAX, &weights(&[WEIGHT_MAX - 1, 1]), 10_000, offset(0)).unwrap();
    assert_eq!(paid.values().sum::<u128>(), AMOUNT_MAX);
    let amount = divide(AMOUNT_MAX + 1, &weights(&[1]), 1, offset(0));
    assert_eq!(amount, Err(SplitError::Amount { found: AMOUNT_MAX + 1 }));
    assert_eq!(divide(1, &weights(&[WEIGHT_MAX, 1]), 1, offset(0)), Err(SplitError::Weights));
    assert_eq!(divide(1, &[], 1, offset(0)), Err(SplitError::NoWeight));
}

#[test]
fn an_offset_is_of_range_policy_and_uses() {
    let digest = |text: &[u8]| Digest::of_content(text);
    let first = Offset::of_payout(1, &digest(b"p"), &digest(b"u"));
    for other in [
        Offset::of_payout(2, &digest(b"p"), &digest(b"u")),
        Offset::of_payout(1, &digest(b"q"), &digest(b"u")),
        Offset::of_payout(1, &digest(b"p"), &digest(b"v")),
        Offset::derive(&digest(b"p"), &digest(b"u"), 1),
    ] {
        assert_ne!(first, other);
    }
}
