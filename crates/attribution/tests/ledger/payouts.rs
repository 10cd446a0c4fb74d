//! Chosen cases of what the pool of feedback pays, gives back, and cannot pay.

use tally_attribution::{
    ledger::{
        Book, BookAccount, Due, EmbeddedBook, FeedbackTerms, LedgerError, LogRange, Opening, Share,
        audit, totals,
    },
    policy_file,
};
use tally_core::Digest;
use tally_core::account::{Account, TransferId};
use tally_core::attribution::SplitPolicy;
use tally_core::cbor::Cbor as _;
use tally_core::feedback::payout::Weight;
use tally_core::sum_tree::EpochSecret;
use tempfile::TempDir;

use crate::operations::ASSET;

const SECRET: EpochSecret = EpochSecret::from_bytes([4; 32]);

fn rater(number: u8) -> Account {
    Account::Contributor([number; 32])
}

/// A receipt that gives 60 to the pool and 40 to the commons.
fn due(log_index: u8) -> Due {
    let id = [log_index; 16];
    let share = |ordinal, account, amount| Share {
        id: TransferId::derive(&id, ordinal),
        account,
        basis: 7,
        amount,
    };
    Due {
        receipt: Digest::of_content(&[log_index]),
        log_index: log_index.into(),
        time_s: 1_000,
        challenge_s: 10,
        asset: ASSET.into(),
        amount: 100,
        shares: vec![share(0, Account::Feedback, 60), share(1, Account::Commons, 40)],
    }
}

fn posted(count: u8) -> (TempDir, EmbeddedBook) {
    let folder = tempfile::tempdir().unwrap();
    let mut book = EmbeddedBook::open(&folder.path().join("book"), ASSET).unwrap();
    book.book(&(0..count).map(due).collect::<Vec<_>>()).unwrap();
    book.settle(1_010).unwrap();
    (folder, book)
}

fn policy(cap_bps: u16) -> SplitPolicy {
    SplitPolicy { asset: ASSET.into(), feedback_cap_bps: cap_bps, ..policy_file::free() }
}

/// Raters 1, 2, … with these weights.
fn terms(begin: u64, end: u64, cap_bps: u16, parts: &[u64]) -> FeedbackTerms {
    let weight = |(number, weight): (u8, &u64)| Weight {
        rater: [number; 32],
        account: rater(number),
        weight: *weight,
    };
    FeedbackTerms {
        range: LogRange { begin, end },
        policy: policy(cap_bps),
        uses: Digest::of_content(&begin.to_be_bytes()),
        weights: (1..).zip(parts).map(weight).collect(),
    }
}

fn earned(book: &dyn Book, account: Account) -> u128 {
    let balance = book.balance(&BookAccount::Earned(account)).unwrap();
    balance.credits_posted - balance.debits_posted
}

fn assert_balanced(book: &dyn Book) {
    let totals = totals(book).unwrap();
    assert_eq!(totals.sum.debits_posted, totals.sum.credits_posted);
    let mut sum = 0;
    book.each_balance(&mut |account, balance| {
        if matches!(account, BookAccount::Earned(_)) {
            sum += balance.credits_posted - balance.debits_posted;
        }
    })
    .unwrap();
    assert_eq!(sum, totals.liability, "what all have earned is what payers were charged");
}

#[test]
fn a_pool_is_paid_once_by_weight_and_what_the_cap_leaves_stays() {
    let (folder, mut book) = posted(10);
    let asked = terms(0, 10, 5_000, &[30_000, 10_000, 0]);
    let paid = book.pay_feedback(&asked).unwrap();
    assert_eq!((paid.payout.pool, paid.payout.total()), (600, 450));
    assert_eq!(paid.payout.payments, [(rater(1), 300), (rater(2), 150)]);
    assert_eq!([1, 2, 3].map(|number| earned(&book, rater(number))), [300, 150, 0]);
    assert_eq!(earned(&book, Account::Feedback), 150);
    assert_balanced(&book);
    let head = book.head().unwrap();
    assert_eq!(book.pay_feedback(&asked).unwrap(), paid);
    assert_eq!(book.head().unwrap(), head, "a replay changes nothing");
    let epoch = book.close_epoch(LogRange { begin: 0, end: 10 }, 1_100, &SECRET).unwrap();
    assert_eq!((epoch.total, epoch.count), (1_000, 4));
    assert_eq!(book.earnings(0).unwrap()[&rater(1)], 300);
    assert_eq!(book.claim(0, &rater(1)).unwrap(), 300);
    let rebuilt = book.rebuild(&folder.path().join("rebuilt")).unwrap();
    assert_eq!(rebuilt.state_digest().unwrap(), book.state_digest().unwrap());
    assert_eq!(rebuilt.payouts(0).unwrap(), [paid]);
}

#[test]
fn payouts_follow_one_another_and_nobody_gets_anything_of_nothing() {
    let (_folder, mut book) = posted(1);
    let mut refused = |terms: &FeedbackTerms| book.pay_feedback(terms).unwrap_err();
    let out_of_place = refused(&terms(1, 5, 10_000, &[1]));
    assert!(matches!(out_of_place, LedgerError::PayoutRange { expected: 0, begin: 1, end: 5 }));
    assert!(matches!(refused(&terms(0, 0, 10_000, &[1])), LedgerError::PayoutRange { .. }));
    for nothing in [terms(0, 5, 10_000, &[]), terms(0, 5, 10_000, &[0, 0]), terms(0, 5, 0, &[1])] {
        assert!(matches!(refused(&nothing), LedgerError::NothingToPay { pool: 60 }));
    }
    let mut swapped = terms(0, 5, 10_000, &[1, 1]);
    swapped.weights.reverse();
    assert!(matches!(refused(&swapped), LedgerError::Raters { found: 2 }));
    let mut to_pool = terms(0, 5, 10_000, &[1]);
    to_pool.weights[0].account = Account::Feedback;
    assert!(matches!(refused(&to_pool), LedgerError::Raters { found: 1 }));
    let mut foreign = terms(0, 5, 10_000, &[1]);
    foreign.policy.asset = "EUR".into();
    assert!(matches!(refused(&foreign), LedgerError::Asset { .. }));
    book.pay_feedback(&terms(0, 5, 10_000, &[1])).unwrap();
    let again = book.pay_feedback(&terms(0, 5, 10_000, &[1, 1])).unwrap_err();
    assert!(matches!(again, LedgerError::PayoutRange { expected: 5, begin: 0, .. }), "{again}");
    let empty = book.pay_feedback(&terms(5, 6, 10_000, &[1])).unwrap_err();
    assert!(matches!(empty, LedgerError::NothingToPay { pool: 0 }));
    assert_eq!(book.payout_begin().unwrap(), 5);
}

#[test]
fn a_correction_takes_back_what_the_pool_no_longer_has_newest_first() {
    let (_folder, mut book) = posted(2);
    let first = book.pay_feedback(&terms(0, 5, 10_000, &[1])).unwrap();
    book.book(&[due(6)]).unwrap();
    book.settle(1_010).unwrap();
    let second = book.pay_feedback(&terms(5, 9, 10_000, &[1, 1])).unwrap();
    assert_eq!((first.payout.total(), second.payout.total()), (120, 60));
    let why = Digest::of_content(b"why");
    book.void(&due(0).receipt, &why).unwrap();
    let event = book.head().unwrap().count - 1;
    let taken_back: Vec<Option<u64>> =
        book.payouts(0).unwrap().iter().map(|it| it.taken_back).collect();
    assert_eq!(taken_back, [None, Some(event)]);
    assert_eq!((earned(&book, rater(1)), earned(&book, rater(2))), (120, 0));
    assert_eq!((earned(&book, Account::Feedback), book.payout_begin().unwrap()), (0, 5));
    assert_balanced(&book);
    // The next one corrects the first payout away, and leaves the pool what is not corrected.
    book.void(&due(1).receipt, &why).unwrap();
    assert_eq!((earned(&book, rater(1)), book.payout_begin().unwrap()), (0, 0));
    assert_eq!(earned(&book, Account::Feedback), 60);
    assert_balanced(&book);
    let third = book.pay_feedback(&terms(0, 9, 10_000, &[1, 1])).unwrap();
    assert_eq!(third.payout.total(), 60);
    let range = LogRange { begin: 0, end: 9 };
    assert_eq!(book.close_epoch(range, 1_100, &SECRET).unwrap().total, 100);
    let all = [0, 1, 6].map(|index| (u64::from(index), Opening::Due(due(index))));
    let asked = |range: LogRange, policy: SplitPolicy| {
        let parts: &[u64] = if range.end == 5 { &[1] } else { &[1, 1] };
        FeedbackTerms { policy, ..terms(range.begin, range.end, 10_000, parts) }
    };
    let report = audit(&book, 0, all, &asked).unwrap();
    assert!(report.is_clean(), "{report:?}");
    assert_eq!(report.reclaimed.first, [first.event, second.event]);
}

#[test]
fn an_audit_names_a_payout_that_does_not_follow() {
    let (_folder, mut book) = posted(3);
    let paid = book.pay_feedback(&terms(0, 3, 10_000, &[20_000, 10_000])).unwrap();
    book.close_epoch(LogRange { begin: 0, end: 3 }, 1_100, &SECRET).unwrap();
    let all = || [0, 1, 2].map(|index| (u64::from(index), Opening::Due(due(index))));
    let found = |parts: &'static [u64], openings: Vec<(u64, Opening)>| {
        let asked = |range: LogRange, policy: SplitPolicy| FeedbackTerms {
            policy,
            ..terms(range.begin, range.end, 10_000, parts)
        };
        audit(&book, 0, openings, &asked).unwrap()
    };
    assert!(found(&[20_000, 10_000], all().to_vec()).is_clean());
    // Another's ratings were used, nobody's were, or the pool had less.
    for parts in [&[10_000, 20_000][..], &[], &[20_000]] {
        let report = found(parts, all().to_vec());
        assert_eq!(report.unfounded.first, [paid.event]);
        assert!(!report.is_clean() && !report.is_root_equal());
    }
    let report = found(&[20_000, 10_000], all()[1..].to_vec());
    assert_eq!((report.unfounded.first, report.surplus.first), (vec![paid.event], vec![0]));
}

#[test]
fn a_payout_comes_back_from_the_journal_as_it_was() {
    let (_folder, mut book) = posted(3);
    let paid = book.pay_feedback(&terms(0, 3, 10_000, &[2, 1])).unwrap().payout;
    let bytes = paid.encode();
    assert_eq!(tally_attribution::ledger::Payout::parse(&bytes), Ok(paid));
    for end in 0..bytes.len() {
        assert!(tally_attribution::ledger::Payout::parse(&bytes[..end]).is_err(), "{end}");
    }
    book.verify_journal().unwrap();
}
