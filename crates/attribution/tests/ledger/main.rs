//! The embedded book beside a naive one, over random operations; and what follows from its laws.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::cast_possible_truncation, reason = "a test draws small numbers")]

use std::collections::BTreeMap;

use tally_attribution::ledger::{
    Audit, Book, BookAccount, EarningsTree, EmbeddedBook, Entry, FeedbackTerms, LogRange, Opening,
    audit, encode_balances, state_earnings, totals,
};
use tally_core::account::Account;
use tally_core::attribution::SplitPolicy;
use tally_core::cbor::Cbor as _;
use tally_core::ed25519::SigningKey;
use tally_core::sum_tree::EarningsStatement;

use model::Model;
use operations::{ASSET, Script, all_entries, all_payouts, perform};

mod laws;
mod model;
mod operations;
mod payouts;

const OPERATIONS: u32 = 10_000;
/// After so many operations the whole states are compared.
const COMPARED_EVERY: u32 = 1_000;

#[test]
fn random_operations_give_the_answers_and_the_state_of_a_naive_book() {
    let folder = tempfile::tempdir().unwrap();
    let mut book = EmbeddedBook::open(&folder.path().join("book"), ASSET).unwrap();
    let (mut model, mut script) = (Model::new(), Script::new(1));
    let mut answers: BTreeMap<String, u32> = BTreeMap::new();
    for number in 1..=OPERATIONS {
        let operation = script.next(&model);
        let (answer, expected) = (perform(&mut book, &operation), perform(&mut model, &operation));
        assert_eq!(answer, expected, "operation {number}: {operation:?}");
        *answers.entry(kind_of(&answer, &operation)).or_default() += 1;
        if number % COMPARED_EVERY == 0 {
            compare(&book, &model);
        }
    }
    let rebuilt = book.rebuild(&folder.path().join("rebuilt")).unwrap();
    assert_eq!(rebuilt.state_digest().unwrap(), book.state_digest().unwrap());
    assert_eq!(rebuilt.head().unwrap(), book.head().unwrap());
    assert_eq!(encode_balances(&rebuilt).unwrap(), encode_balances(&book).unwrap());
    compare(&rebuilt, &model);
    println!("{}", audit_all(&book, &script.terms));
    println!("{OPERATIONS} operations, {} events", book.head().unwrap().count);
    println!("{} cases", answers.values().sum::<u32>());
    let payouts = all_payouts(&book);
    let taken_back = payouts.iter().filter(|it| it.taken_back.is_some()).count();
    println!("{} payouts, {taken_back} of them taken back", payouts.len());
    assert!(payouts.len() >= 100 && taken_back >= 5, "too few payouts to tell");
    answers.iter().for_each(|(kind, count)| println!("{count:6} {kind}"));
    assert!(answers.len() >= 20, "too few kinds of answers: {answers:?}");
}

/// The answer without its numbers.
fn kind_of(answer: &str, operation: &operations::Operation) -> String {
    let name = format!("{operation:?}");
    let name = name.split(|letter: char| !letter.is_alphabetic()).next().unwrap_or_default();
    let words = answer.split_whitespace().filter(|word| {
        let is_hex = word.len() >= 32;
        !is_hex && word.chars().all(|letter| letter.is_alphabetic() || letter == ':')
    });
    format!("{name}: {}", words.collect::<Vec<_>>().join(" "))
}

fn compare(book: &dyn Book, model: &Model) {
    assert_eq!(encode_balances(book).unwrap(), encode_balances(model).unwrap());
    assert_eq!(totals(book).unwrap(), totals(model).unwrap());
    assert_eq!(book.boundary().unwrap(), model.boundary().unwrap());
    assert_eq!(book.head().unwrap().count, model.head().unwrap().count);
    let entries = all_entries(book);
    assert_eq!(entries, all_entries(model));
    assert_eq!(all_payouts(book), all_payouts(model));
    assert_eq!(book.payout_begin().unwrap(), model.payout_begin().unwrap());
    entries.iter().for_each(|entry| trace(book, entry));
    let totals = totals(book).unwrap();
    assert_eq!(totals.sum.debits_pending, totals.sum.credits_pending);
    assert_eq!(totals.sum.debits_posted, totals.sum.credits_posted);
    assert_eq!(totals.sum.debits_pending, totals.pending);
    for number in 0.. {
        let Some(closed) = book.epoch(number).unwrap() else { break };
        assert_eq!(closed.event, model.epoch(number).unwrap().unwrap().event);
        assert_eq!(book.earnings(number).unwrap(), model.earnings(number).unwrap());
    }
}

/// From a receipt to its transfers and back, and nothing of its amount is lost.
fn trace(book: &dyn Book, entry: &Entry) {
    let due = &entry.due;
    assert_eq!(book.entry(&due.receipt).unwrap().as_ref(), Some(entry));
    assert_eq!(due.shares.iter().map(|share| share.amount).sum::<u128>(), due.amount);
    for share in &due.shares {
        assert_eq!(book.receipt_of(&share.id).unwrap(), Some(due.receipt));
    }
    assert_eq!(book.transfers(&due.receipt).unwrap(), entry.transfers());
}

/// How a payout is computed again: by the terms that it was asked for with.
fn terms_of(all: &[FeedbackTerms]) -> impl Fn(LogRange, SplitPolicy) -> FeedbackTerms + '_ {
    move |_, policy| all.iter().find(|terms| terms.policy == policy).cloned().unwrap()
}

/// Some epochs of the book, recomputed from openings, and every statement of the last one.
fn audit_all(book: &dyn Book, terms: &[FeedbackTerms]) -> String {
    let entries = all_entries(book);
    let last = book.last_epoch().unwrap().unwrap();
    let key = SigningKey::from_seed(&[3; 32]);
    let audited: Vec<u64> = (0..last.epoch.number).step_by(20).chain([last.epoch.number]).collect();
    for number in audited.iter().copied() {
        let closed = book.epoch(number).unwrap().unwrap();
        // An entry that was booked only later was not there to be opened.
        let openings = entries.iter().filter(|entry| entry.event < closed.event);
        let openings = openings.map(|entry| (entry.due.log_index, Opening::Due(entry.due.clone())));
        let report: Audit = audit(book, number, openings, &terms_of(terms)).unwrap();
        assert!(report.is_clean(), "epoch {number}: {report:?}");
        let tree = EarningsTree::new(&book.earnings(number).unwrap(), &closed.secret).unwrap();
        assert_eq!((tree.root(), tree.total()), (closed.epoch.root, closed.epoch.total));
    }
    let earnings = book.earnings(last.epoch.number).unwrap();
    let tree = EarningsTree::new(&earnings, &last.secret).unwrap();
    let mut total = 0;
    for (account, amount) in &earnings {
        let signed = state_earnings(book, last.epoch.number, &tree, account, &key).unwrap();
        let statement = EarningsStatement::verify(&signed.encode(), &key.public_key()).unwrap();
        assert_eq!((statement.account, statement.amount), (*account, *amount));
        let paid = book.balance(&BookAccount::Paid(*account)).unwrap().credits_posted;
        assert_eq!(statement.claimed, paid);
        total += statement.amount;
    }
    assert_eq!(total, last.epoch.total);
    let nobody = Account::Contributor([0; 32]);
    assert!(state_earnings(book, last.epoch.number, &tree, &nobody, &key).is_err());
    format!("{} epochs audited, {} statements", audited.len(), earnings.len())
}
