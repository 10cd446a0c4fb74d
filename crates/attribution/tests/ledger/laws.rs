//! Chosen cases of each rule of a book.

use tally_attribution::ledger::{
    Balance, Book, BookAccount, Booked, Due, EmbeddedBook, FeedbackTerms, LedgerError, LogRange,
    Opening, Settled, Share, TIME_S_MAX, Voided, audit, totals,
};
use tally_core::Digest;
use tally_core::account::{Account, TransferId};
use tally_core::attribution::SplitPolicy;
use tally_core::split::AMOUNT_MAX;
use tally_core::sum_tree::EpochSecret;
use tempfile::TempDir;

use crate::operations::ASSET;

const ALICE: Account = Account::Contributor([1; 32]);
const SECRET: EpochSecret = EpochSecret::from_bytes([4; 32]);

fn opened() -> (TempDir, EmbeddedBook) {
    let folder = tempfile::tempdir().unwrap();
    let book = EmbeddedBook::open(&folder.path().join("book"), ASSET).unwrap();
    (folder, book)
}

/// A receipt that gives 70 to Alice and 30 to the commons, with a window of 10 seconds.
fn due(log_index: u8) -> Due {
    let id = [log_index; 16];
    let share = |ordinal, account, amount| Share {
        id: TransferId::derive(&id, ordinal),
        account,
        basis: 1,
        amount,
    };
    Due {
        receipt: Digest::of_content(&[log_index]),
        log_index: log_index.into(),
        time_s: 1_000,
        challenge_s: 10,
        asset: ASSET.into(),
        amount: 100,
        shares: vec![share(0, ALICE, 70), share(1, Account::Commons, 30)],
    }
}

/// Nobody was used for anything.
fn nobody(range: LogRange, policy: SplitPolicy) -> FeedbackTerms {
    FeedbackTerms { range, policy, uses: Digest::of_content(b""), weights: vec![] }
}

fn earned(book: &dyn Book) -> Balance {
    book.balance(&BookAccount::Earned(ALICE)).unwrap()
}

fn posted(begin: u8, end: u8) -> (TempDir, EmbeddedBook) {
    let (folder, mut book) = opened();
    book.book(&(begin..end).map(due).collect::<Vec<_>>()).unwrap();
    book.settle(1_010).unwrap();
    (folder, book)
}

fn range(begin: u64, end: u64) -> LogRange {
    LogRange { begin, end }
}

#[test]
fn a_receipt_is_pending_until_its_window_is_closed() {
    let (_folder, mut book) = opened();
    assert_eq!(book.book(&[due(0)]).unwrap(), Booked { count: 1, replayed: 0 });
    assert_eq!(earned(&book), Balance { credits_pending: 70, ..Balance::default() });
    assert_eq!(book.settle(1_009).unwrap(), Settled::default());
    assert_eq!(book.settle(1_010).unwrap(), Settled { count: 1, amount: 100 });
    assert_eq!(book.settle(1_010).unwrap(), Settled::default());
    assert_eq!(earned(&book), Balance { credits_posted: 70, ..Balance::default() });
}

#[test]
fn receipts_are_posted_in_the_logs_order() {
    let (_folder, mut book) = opened();
    let long = Due { challenge_s: 50, ..due(1) };
    book.book(&[due(2), long, due(0)]).unwrap();
    assert_eq!(book.settle(1_010).unwrap().count, 1);
    assert_eq!(book.settle(1_049).unwrap().count, 0);
    assert_eq!(book.settle(1_050).unwrap().count, 2);
}

#[test]
fn a_batch_is_booked_whole_or_not_at_all() {
    let (_folder, mut book) = opened();
    let head = book.head().unwrap();
    let bad = Due { amount: 101, ..due(1) };
    assert!(matches!(book.book(&[due(0), bad]), Err(LedgerError::Shares { sum: Some(100), .. })));
    let mut same_name = due(1);
    same_name.shares[0].id = due(0).shares[0].id;
    assert!(matches!(book.book(&[due(0), same_name]), Err(LedgerError::Transfer { .. })));
    assert_eq!(book.head().unwrap(), head);
    assert_eq!(totals(&book).unwrap().accounts, 0);
}

#[test]
fn what_stands_in_a_dues_way_is_named() {
    let (_folder, mut book) = posted(0, 1);
    let other = Due { time_s: 1_001, ..due(0) };
    let (booked, found) = (due(0).digest(), other.digest());
    let said = book.book(&[other]).unwrap_err().to_string();
    assert!(said.contains(&booked.to_string()) && said.contains(&found.to_string()), "{said}");
    let mut other = due(1);
    other.shares[1].id = due(0).shares[0].id;
    let said = book.book(&[other]).unwrap_err().to_string();
    let (first, second) = (due(0).receipt.to_string(), due(1).receipt.to_string());
    assert!(said.contains(&first) && said.contains(&second), "{said}");
    let other = Due { log_index: 0, ..due(1) };
    assert!(matches!(book.book(&[other]), Err(LedgerError::LogIndex { log_index: 0, .. })));
    let other = Due { asset: "EUR".into(), ..due(1) };
    assert!(matches!(book.book(&[other]), Err(LedgerError::Asset { .. })));
    assert_eq!(book.book(&[due(0)]).unwrap(), Booked { count: 0, replayed: 1 });
}

#[test]
fn the_limits_of_a_due_are_reached_and_not_passed() {
    let (_folder, mut book) = opened();
    let mut large = Due { amount: AMOUNT_MAX, time_s: TIME_S_MAX, ..due(0) };
    large.shares[0].amount = AMOUNT_MAX - 30;
    book.book(std::slice::from_ref(&large)).unwrap();
    let mut larger = Due { amount: AMOUNT_MAX + 1, ..due(1) };
    larger.shares[0].amount = AMOUNT_MAX - 29;
    assert!(matches!(book.book(&[larger]), Err(LedgerError::Amount { .. })));
    let late = Due { time_s: TIME_S_MAX + 1, ..due(1) };
    assert!(matches!(book.book(&[late]), Err(LedgerError::Limit { what: "time", .. })));
    let far = Due { log_index: u64::MAX, ..due(1) };
    assert!(matches!(book.book(&[far]), Err(LedgerError::Limit { what: "log index", .. })));
    let mut overflowing = due(1);
    overflowing.shares[0].amount = u128::MAX;
    assert!(matches!(book.book(&[overflowing]), Err(LedgerError::Shares { sum: None, .. })));
    let nothing = Due { amount: 0, shares: vec![], ..due(1) };
    assert_eq!(book.book(&[nothing]).unwrap().count, 1);
}

#[test]
fn a_disproved_receipt_is_released_once_and_stays_in_the_book() {
    let (_folder, mut book) = opened();
    book.book(&[due(0)]).unwrap();
    let (receipt, reason) = (due(0).receipt, Digest::of_content(b"replay differs"));
    assert_eq!(book.void(&receipt, &reason).unwrap(), Voided::Pending);
    assert_eq!(earned(&book), Balance::default());
    assert_eq!(book.void(&receipt, &reason).unwrap(), Voided::Replayed);
    let other = Digest::of_content(b"another");
    assert!(matches!(book.void(&receipt, &other), Err(LedgerError::Voided { .. })));
    assert!(matches!(book.void(&other, &reason), Err(LedgerError::Unknown { .. })));
    assert_eq!(book.settle(2_000).unwrap(), Settled::default());
    assert_eq!(book.transfers(&receipt).unwrap().len(), 4);
}

#[test]
fn a_posted_receipt_is_taken_back_by_opposite_transfers() {
    let (_folder, mut book) = posted(0, 2);
    let (receipt, reason) = (due(0).receipt, Digest::of_content(b"replay differs"));
    assert_eq!(book.void(&receipt, &reason).unwrap(), Voided::Posted);
    assert_eq!(book.void(&receipt, &reason).unwrap(), Voided::Replayed);
    let balance = Balance { credits_posted: 140, debits_posted: 70, ..Balance::default() };
    assert_eq!(earned(&book), balance);
    assert_eq!(book.transfers(&receipt).unwrap().len(), 6);
    assert_eq!(totals(&book).unwrap().liability, 100);
}

#[test]
fn epochs_follow_one_another_and_cover_what_is_posted() {
    let (_folder, mut book) = posted(0, 3);
    book.book(&[due(5)]).unwrap();
    let mut close = |begin, end| book.close_epoch(range(begin, end), 1_100, &SECRET);
    assert!(matches!(close(1, 3), Err(LedgerError::Range { expected: 0, .. })));
    assert!(matches!(close(0, 0), Err(LedgerError::Range { .. })));
    assert!(matches!(close(0, 2), Err(LedgerError::Posted { posted_end: 3, .. })));
    assert!(matches!(close(0, 6), Err(LedgerError::Pending { log_index: 5, .. })));
    let epoch = close(0, 5).unwrap();
    assert_eq!((epoch.number, epoch.total, epoch.count), (0, 300, 2));
    assert_eq!(close(0, 5).unwrap(), epoch);
    assert!(matches!(close(0, 6), Err(LedgerError::Range { number: 1, expected: 5, .. })));
    assert!(matches!(close(6, 7), Err(LedgerError::Range { expected: 5, .. })));
    assert!(matches!(
        book.close_epoch(range(5, 6), TIME_S_MAX + 1, &SECRET),
        Err(LedgerError::Time { .. })
    ));
    assert_eq!(totals(&book).unwrap().liability, epoch.total);
}

#[test]
fn a_claim_is_paid_once_and_never_more_than_was_earned() {
    let (_folder, mut book) = posted(0, 2);
    assert!(matches!(book.claim(0, &ALICE), Err(LedgerError::NoEpoch { number: 0 })));
    book.close_epoch(range(0, 2), 1_100, &SECRET).unwrap();
    assert_eq!(book.claim(0, &ALICE).unwrap(), 140);
    assert_eq!(book.claim(0, &ALICE).unwrap(), 140);
    assert!(matches!(book.claim(0, &Account::Feedback), Err(LedgerError::PoolClaimed)));
    assert_eq!(totals(&book).unwrap().paid, 140);
    // One of the two is taken back: what was paid too much is made up for by what comes later.
    book.void(&due(0).receipt, &Digest::of_content(b"why")).unwrap();
    book.book(&[due(2), due(3)]).unwrap();
    book.settle(1_010).unwrap();
    let epoch = book.close_epoch(range(2, 4), 1_200, &SECRET).unwrap();
    assert_eq!(epoch.total, 300);
    assert_eq!(book.claim(1, &ALICE).unwrap(), 70);
    assert_eq!(book.claim(1, &Account::Commons).unwrap(), 90);
    assert_eq!(book.claim(0, &Account::Commons).unwrap(), 0);
    assert_eq!(totals(&book).unwrap().paid, 300);
}

#[test]
fn a_claim_of_an_old_epoch_is_bounded_by_what_is_earned_now() {
    let (_folder, mut book) = posted(0, 2);
    book.close_epoch(range(0, 2), 1_100, &SECRET).unwrap();
    book.void(&due(0).receipt, &Digest::of_content(b"why")).unwrap();
    assert_eq!(book.claim(0, &ALICE).unwrap(), 70);
}

#[test]
fn an_audit_names_what_is_omitted_unopened_changed_surplus_and_taken_back() {
    let (_folder, mut book) = posted(0, 3);
    book.book(&[due(4), due(5), due(6)]).unwrap();
    book.settle(1_010).unwrap();
    book.void(&due(6).receipt, &Digest::of_content(b"why")).unwrap();
    book.close_epoch(range(0, 7), 1_100, &SECRET).unwrap();
    let honest = |log_index: u8| (u64::from(log_index), Opening::Due(due(log_index)));
    let all = || [0, 1, 2, 4, 5, 6].map(honest);
    let clean = audit(&book, 0, all(), &nobody).unwrap();
    assert!(clean.is_clean());
    assert_eq!((clean.opened, clean.total, &clean.voided.first[..]), (6, 500, &[6][..]));
    // The log has an entry 3 that the book does not.
    let mut openings = all().to_vec();
    openings.insert(3, honest(3));
    let report = audit(&book, 0, openings, &nobody).unwrap();
    assert_eq!((&report.omitted.first[..], report.total), (&[3][..], 600));
    assert!(!report.is_clean() && !report.is_root_equal());
    let mut openings = all();
    openings[1].1 = Opening::Unopened;
    let report = audit(&book, 0, openings, &nobody).unwrap();
    assert_eq!((&report.unopened.first[..], report.unopened_amount), (&[1][..], 100));
    assert_eq!(report.total + report.unopened_amount, report.stated_total);
    assert!(!report.is_clean());
    let mut openings = all();
    let mut changed = due(2);
    (changed.shares[0].amount, changed.shares[1].amount) = (69, 31);
    openings[2].1 = Opening::Due(changed);
    let report = audit(&book, 0, openings, &nobody).unwrap();
    assert_eq!((&report.differing.first[..], report.total), (&[2][..], 500));
    assert!(!report.is_clean() && !report.is_root_equal());
    let mut openings = all();
    openings[4].1 = Opening::Due(Due { amount: 99, ..due(5) });
    assert_eq!(audit(&book, 0, openings, &nobody).unwrap().unsound.first, [5]);
    let report =
        audit(&book, 0, all().into_iter().filter(|(index, _)| *index != 4), &nobody).unwrap();
    assert_eq!(report.surplus.first, [4]);
    let order = audit(&book, 0, [honest(1), honest(1)], &nobody);
    assert!(matches!(order, Err(LedgerError::OpeningOrder { previous: 1, found: 1 })));
    assert!(matches!(audit(&book, 1, all(), &nobody), Err(LedgerError::NoEpoch { number: 1 })));
}

#[test]
fn a_correction_after_an_epoch_leaves_its_audit_as_it_was() {
    let (_folder, mut book) = posted(0, 2);
    book.close_epoch(range(0, 2), 1_100, &SECRET).unwrap();
    book.void(&due(1).receipt, &Digest::of_content(b"why")).unwrap();
    let all = [0, 1].map(|log_index| (u64::from(log_index), Opening::Due(due(log_index))));
    let report = audit(&book, 0, all.clone(), &nobody).unwrap();
    assert!(report.is_clean() && report.voided.count == 0);
    book.close_epoch(range(2, 3), 1_200, &EpochSecret::from_bytes([5; 32])).unwrap();
    let report = audit(&book, 1, all, &nobody).unwrap();
    assert!(report.is_clean() && report.voided.first == [1] && report.total == 100);
}

#[test]
fn a_book_is_found_again_and_only_with_its_asset() {
    let (folder, book) = posted(0, 2);
    let (head, state) = (book.head().unwrap(), book.state_digest().unwrap());
    drop(book);
    let path = folder.path().join("book");
    assert!(matches!(EmbeddedBook::open(&path, "EUR"), Err(LedgerError::Asset { .. })));
    let book = EmbeddedBook::open(&path, ASSET).unwrap();
    assert_eq!((book.head().unwrap(), book.state_digest().unwrap()), (head, state));
    assert!(book.rebuild(&path).is_err());
}
