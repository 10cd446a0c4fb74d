//! What earns and what does not, and that nothing kept is kept twice or lost.

use tally_core::cbor::Cbor as _;
use tally_core::commitment::Salt;
use tally_core::ed25519::SigningKey;
use tally_core::feedback::Word as _;
use tally_core::feedback::payout::Weight;

use super::*;

const OPERATOR: u8 = 100;
const ALL: LogRange = LogRange { begin: 0, end: 1_000 };

fn key(number: u8) -> SigningKey {
    SigningKey::from_seed(&[number; 32])
}

fn public(number: u8) -> [u8; 32] {
    *key(number).public_key().as_bytes()
}

fn receipt(number: u8) -> Digest {
    Digest::of_content(&[number])
}

fn rating(rater: u8, about: u8, score: u8) -> SignedStatement {
    let receipt = receipt(about);
    let time_ms = score.into();
    let rating =
        Rating { rater: public(rater), receipt, score, time_ms, payee: None, comment: None };
    rating.signed(|message| *key(rater).sign(message).as_bytes())
}

fn gold(about: u8, from: u8, to: u8) -> SignedStatement {
    let (signer, salt) = (public(OPERATOR), Salt::from_bytes([about; 32]));
    let gold = Gold { signer, receipt: receipt(about), from, to, time_ms: 0, salt };
    gold.signed(|message| *key(OPERATOR).sign(message).as_bytes())
}

fn used_by(signer: u8, ratings: &[&SignedStatement]) -> SignedStatement {
    let mut ratings: Vec<Digest> = ratings.iter().map(|signed| signed.digest()).collect();
    ratings.sort_unstable();
    let batch = Digest::of_content(b"batch");
    let used = Use { signer: public(signer), batch, ratings, time_ms: 0 };
    used.signed(|message| *key(signer).sign(message).as_bytes())
}

fn used(ratings: &[&SignedStatement]) -> SignedStatement {
    used_by(OPERATOR, ratings)
}

/// Feedback in the log's order from index 10 on.
fn records(all: &[&SignedStatement]) -> Records {
    let mut records = Records::new(public(OPERATOR));
    for (at, signed) in (10..).zip(all) {
        records.add(at, signed).unwrap();
    }
    records
}

fn weight_of(records: &Records, range: LogRange, rater: u8) -> u64 {
    let of = |it: &&Weight| it.rater == public(rater);
    records.weights(range).iter().filter(of).map(|it| it.weight).sum()
}

#[test]
fn a_rating_earns_when_it_was_used_and_its_rater_answered_gold() {
    let (gold, hit, miss) = (gold(1, 50, 100), rating(1, 1, 80), rating(2, 1, 20));
    let (both, silent) = (rating(1, 2, 3), rating(3, 2, 90));
    let all = [&gold, &hit, &miss, &both, &silent];
    let unused = records(&all);
    assert!(unused.weights(ALL).is_empty(), "unused earns nothing");
    let used = used(&[&hit, &miss, &both, &silent]);
    let records = records(&[&all[..], &[&used]].concat());
    let weights = [1, 2, 3].map(|rater| weight_of(&records, ALL, rater));
    assert_eq!(weights, [20_000, 0, 0], "two used and right, wrong, and no gold answered");
    let standing = records.standings(ALL)[&public(1)];
    assert_eq!(standing, Standing { used: 2, answered: 1, right: 1 });
    assert!(records.weights(ALL).is_sorted_by(|a, b| a.rater < b.rater));
}

#[test]
fn gold_that_is_fixed_after_the_rating_or_in_another_range_does_not_count() {
    let (gold, rated) = (gold(1, 50, 100), rating(1, 1, 80));
    let late = records(&[&rated, &gold, &used(&[&rated])]);
    assert_eq!(weight_of(&late, ALL, 1), 0);
    let early = records(&[&gold, &rated, &used(&[&rated])]);
    assert_eq!(weight_of(&early, ALL, 1), 10_000);
    assert_eq!(weight_of(&early, LogRange { begin: 11, end: 1_000 }, 1), 0);
    assert_eq!(weight_of(&early, LogRange { begin: 0, end: 12 }, 1), 0, "the use is outside");
}

#[test]
fn a_rating_earns_once_and_only_by_a_use_behind_it() {
    let (gold, rated, next) = (gold(1, 0, 100), rating(1, 1, 80), rating(1, 2, 80));
    let twice = [used(&[&rated]), used(&[&rated, &next])];
    let all = records(&[&gold, &rated, &next, &twice[0], &twice[1]]);
    assert_eq!(weight_of(&all, ALL, 1), 20_000);
    // 10 gold, 11 and 12 ratings, 13 and 14 uses.
    assert_eq!(weight_of(&all, LogRange { begin: 0, end: 14 }, 1), 10_000);
    assert!(all.standings(LogRange { begin: 14, end: 20 })[&public(1)].used == 1);
    let before = records(&[&gold, &twice[0], &rated]);
    assert!(before.weights(ALL).is_empty(), "a use names what is not in the log yet");
}

#[test]
fn of_two_ratings_of_one_receipt_the_first_in_the_log_counts() {
    let (gold, first, second) = (gold(1, 50, 100), rating(1, 1, 80), rating(1, 1, 10));
    let both = used(&[&first, &second]);
    let all = records(&[&gold, &first, &second, &both]);
    assert_eq!(weight_of(&all, ALL, 1), 10_000);
    let all = records(&[&gold, &second, &first, &both]);
    assert_eq!(weight_of(&all, ALL, 1), 0);
}

#[test]
fn only_the_operator_fixes_gold_and_says_what_was_used() {
    let (mut records, rated) = (Records::new(public(OPERATOR)), rating(1, 1, 80));
    let refused = records.add(0, &used_by(7, &[&rated]));
    assert!(matches!(refused, Err(RecordError::Signer { found, .. }) if found == public(7)));
    let mut own = Records::new(public(7));
    assert!(own.add(0, &gold(1, 0, 1)).is_err());
    let mut forged = rated.clone();
    forged.signature[0] ^= 1;
    assert!(matches!(records.add(0, &forged), Err(RecordError::Feedback(_))));
    assert!(records.weights(ALL).is_empty());
}

#[test]
fn the_uses_of_a_range_have_a_digest_of_their_own() {
    let (one, other) = (rating(1, 1, 80), rating(2, 1, 80));
    let all = records(&[&one, &other, &used(&[&one]), &used(&[&other])]);
    let range = |begin, end| all.uses(LogRange { begin, end });
    assert_eq!(range(0, 12), range(20, 30), "without uses");
    assert_ne!(range(0, 13), range(0, 14));
    assert_ne!(range(0, 13), range(13, 14));
    assert_eq!(range(0, 14), range(12, 20));
}

#[cfg(unix)]
#[test]
fn nobody_else_reads_what_is_kept() {
    use std::os::unix::fs::PermissionsExt as _;

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("feedback");
    FeedbackStore::open(&path).unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
}

fn keep(store: &FeedbackStore, signed: &SignedStatement) -> Result<Kept, FeedbackStoreError> {
    store.keep(signed, &Feedback::open(signed).unwrap())
}

#[test]
fn what_is_kept_is_there_after_the_store_is_opened_again_and_waits_for_the_log() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("feedback");
    let (rated, gold) = (rating(1, 1, 80), gold(1, 0, 9));
    {
        let store = FeedbackStore::open(&path).unwrap();
        assert_eq!(keep(&store, &rated).unwrap(), Kept::New);
        assert_eq!(keep(&store, &rated).unwrap(), Kept::Before);
        assert_eq!(keep(&store, &gold).unwrap(), Kept::New);
    }
    let store = FeedbackStore::open(&path).unwrap();
    assert_eq!(store.get(&rated.digest()).unwrap().as_ref(), Some(&rated));
    assert_eq!(store.get(&receipt(1)).unwrap(), None);
    let mut expected = vec![rated.digest(), gold.digest()];
    expected.sort_unstable();
    assert_eq!(store.waiting(10).unwrap(), expected);
    assert_eq!(store.waiting(1).unwrap().len(), 1);
    store.entered(&gold.digest()).unwrap();
    store.entered(&gold.digest()).unwrap();
    assert_eq!(store.waiting(10).unwrap(), [rated.digest()]);
    let mut found = vec![];
    let mut visit = |digest, signed: SignedStatement| -> Result<(), FeedbackStoreError> {
        assert_eq!(Digest::of_content(&signed.encode()), digest);
        found.push(digest);
        Ok(())
    };
    store.each(&mut visit).unwrap();
    assert_eq!(found, expected);
}

#[test]
fn one_rater_rates_a_receipt_once_and_a_receipt_has_so_many_raters() {
    let folder = tempfile::tempdir().unwrap();
    let store = FeedbackStore::open(&folder.path().join("feedback")).unwrap();
    let first = rating(1, 1, 80);
    keep(&store, &first).unwrap();
    let again = keep(&store, &rating(1, 1, 81)).unwrap_err();
    assert!(matches!(again, FeedbackStoreError::Rated { known, .. } if known == first.digest()));
    keep(&store, &rating(1, 2, 81)).unwrap();
    let limit = u8::try_from(RATERS_OF_RECEIPT_MAX).unwrap();
    for rater in 2..=limit {
        keep(&store, &rating(rater, 1, 50)).unwrap();
    }
    let full = keep(&store, &rating(limit + 1, 1, 50)).unwrap_err();
    assert!(matches!(full, FeedbackStoreError::Raters { .. }));
    assert_eq!(keep(&store, &first).unwrap(), Kept::Before);
    keep(&store, &rating(limit + 1, 2, 50)).unwrap();
}
