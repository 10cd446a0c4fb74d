//! `cargo xtask ledger`: a book of many receipts, and the embedded book beside PostgreSQL.
//!
//! Every line states a count or a time, and what does not hold ends the run. The receipts are made
//! up from their numbers, so that the auditor makes them again and nobody holds them all.

use std::fs;
use std::path::Path;
use std::time::Instant;

use anyhow::{Result, ensure};
use tally_attribution::feedback::Records;
use tally_attribution::ledger::{
    Audit, Book, Due, EarningsTree, EmbeddedBook, LogRange, Opening, Share, audit, encode_balances,
    state_earnings, totals,
};
use tally_core::Digest;
use tally_core::account::{Account, TransferId};
use tally_core::cbor::Cbor as _;
use tally_core::ed25519::SigningKey;
use tally_core::philox::block;
use tally_core::sum_tree::{EarningsStatement, Epoch, EpochSecret};

use crate::process::memory_peak_bytes;

mod beside;
#[path = "../../crates/attribution/tests/ledger/operations.rs"]
#[expect(clippy::unwrap_used, clippy::cast_possible_truncation, reason = "shared with a test")]
mod operations;
mod postgres;
mod server;

const ASSET: &str = "USD";
const CONTRIBUTORS: u32 = 10_000;
const SHARES: u32 = 5;
/// Receipts of one transaction: names of transfers are random, so that small ones would write the
/// pages of their table again and again.
const BATCH_LEN: usize = 50_000;
const TIME_S: u64 = 1_800_000_000;
const CHALLENGE_S: u32 = 86_400;
/// An epoch must close faster.
const CLOSE_S_MAX: u64 = 10;
/// The whole run must not take more memory.
const MEMORY_BYTES_MAX: u64 = 2 << 30;
const SECRET: EpochSecret = EpochSecret::from_bytes([0x5e; 32]);

/// Books `receipts` made-up receipts, then runs `operations` random ones on two kinds of books.
pub(crate) fn run(receipts: u64, operations: u32, is_embedded_alone: bool) -> Result<()> {
    ensure!(receipts >= 10, "{receipts} receipts are too few, expected 10 or more");
    let folder = tempfile::tempdir()?;
    at_scale(folder.path(), receipts)?;
    if is_embedded_alone {
        println!("ledger: PostgreSQL was left out");
        return Ok(());
    }
    beside::run(operations)
}

/// What the made-up log holds: one entry is in no book, so that an audit has something to find.
#[derive(Clone, Copy)]
struct Log {
    receipts: u64,
    omitted: u64,
    unopened: u64,
}

impl Log {
    const fn new(receipts: u64) -> Self {
        Self { receipts, omitted: receipts / 3, unopened: receipts / 2 }
    }

    fn booked(self) -> impl Iterator<Item = Due> {
        (0..self.receipts).filter(move |index| *index != self.omitted).map(due)
    }
}

/// Receipt number `index`: five shares, to four contributors and the commons.
fn due(index: u64) -> Due {
    let [low, high] =
        [index & 0xffff_ffff, index >> 32].map(|half| u32::try_from(half).unwrap_or(0));
    let id: [u8; 16] = u128::from(index).to_be_bytes();
    let share = |ordinal: u32| {
        let [who, amount, _, _] = block([low, high, ordinal, 0], [3, 5]);
        let key = Digest::of_content(&(who % CONTRIBUTORS).to_be_bytes());
        let account = match ordinal {
            0 => Account::Commons,
            _ => Account::Contributor(*key.as_bytes()),
        };
        Share { id: TransferId::derive(&id, ordinal), account, basis: 1, amount: amount.into() }
    };
    let shares: Vec<Share> = (0..SHARES).map(share).collect();
    Due {
        receipt: Digest::of_content(&id),
        log_index: index,
        time_s: TIME_S + index / 100,
        challenge_s: CHALLENGE_S,
        asset: ASSET.into(),
        amount: shares.iter().map(|share| share.amount).sum(),
        shares,
    }
}

fn at_scale(folder: &Path, receipts: u64) -> Result<()> {
    let log = Log::new(receipts);
    let path = folder.join("book");
    let mut book = EmbeddedBook::open(&path, ASSET)?;
    let charged = book_all(&mut book, log)?;
    let epoch = settle_and_close(&mut book, log, charged)?;
    rebuild(&book, &folder.join("rebuilt"))?;
    fill_from_log(&book, &epoch, log, &folder.join("from-log"))?;
    audit_twice(&book, log)?;
    state_all(&book, &epoch)?;
    let (size, memory) = (fs::metadata(&path)?.len(), memory_peak_bytes("self")?);
    println!("ledger: file {} MB, {} bytes a receipt", size / 1_000_000, size / receipts);
    println!("ledger: memory at most {} MB", memory / 1_000_000);
    ensure!(memory <= MEMORY_BYTES_MAX, "{memory} bytes of memory, allowed {MEMORY_BYTES_MAX}");
    Ok(())
}

/// Books in batches; yields what all receipts charge.
fn book_all(book: &mut EmbeddedBook, log: Log) -> Result<u128> {
    let started = Instant::now();
    let (mut dues, mut charged, mut count) = (log.booked(), 0, 0);
    loop {
        let batch: Vec<Due> = dues.by_ref().take(BATCH_LEN).collect();
        if batch.is_empty() {
            break;
        }
        charged += batch.iter().map(|due| due.amount).sum::<u128>();
        count += book.book(&batch)?.count;
    }
    let millis = started.elapsed().as_millis().max(1);
    let rate = u128::from(count) * 1_000 / millis;
    println!(
        "ledger: {count} receipts of {SHARES} transfers booked in {millis} ms, {rate} a second"
    );
    let again: Vec<Due> = log.booked().take(BATCH_LEN).collect();
    let (head, replayed) = (book.head()?, book.book(&again)?.replayed);
    ensure!(replayed == again.len() as u64 && book.head()? == head, "a replay changed the book");
    println!("ledger: {replayed} receipts booked again, nothing changed");
    Ok(charged)
}

fn settle_and_close(book: &mut EmbeddedBook, log: Log, charged: u128) -> Result<Epoch> {
    let started = Instant::now();
    let early = book.settle(TIME_S + u64::from(CHALLENGE_S) - 1)?;
    ensure!(early.count == 0, "{} receipts were posted before their window closed", early.count);
    let settled = book.settle(u64::MAX)?;
    println!("ledger: {} posted in {} ms", settled.count, started.elapsed().as_millis());
    ensure!(settled.count == log.receipts - 1, "{} receipts were posted", settled.count);
    let started = Instant::now();
    let range = LogRange { begin: 0, end: log.receipts };
    let epoch = book.close_epoch(range, TIME_S, &SECRET)?;
    let elapsed = started.elapsed();
    let millis = elapsed.as_millis();
    println!("ledger: epoch over {} accounts closed in {millis} ms", epoch.count);
    ensure!(elapsed.as_secs() < CLOSE_S_MAX, "an epoch took {} s", elapsed.as_secs());
    let totals = totals(book)?;
    ensure!(
        (totals.sum.debits_posted, totals.sum.debits_pending)
            == (totals.sum.credits_posted, totals.sum.credits_pending),
        "debits and credits differ: {totals:?}"
    );
    ensure!(
        [totals.liability, epoch.total, settled.amount] == [charged; 3],
        "{charged} was charged, the liability is {}, the root's total {}",
        totals.liability,
        epoch.total
    );
    println!("ledger: charged = owed = total of the root = {charged} billionths of {ASSET}");
    Ok(epoch)
}

fn rebuild(book: &EmbeddedBook, path: &Path) -> Result<()> {
    let started = Instant::now();
    let rebuilt = book.rebuild(path)?;
    let millis = started.elapsed().as_millis();
    let (balances, again) = (encode_balances(book)?, encode_balances(&rebuilt)?);
    ensure!(balances == again, "the rebuilt book has other balances");
    ensure!(book.state_digest()? == rebuilt.state_digest()?, "the rebuilt book has other rows");
    ensure!(book.head()? == rebuilt.head()?, "the rebuilt book has another journal");
    println!(
        "ledger: {} events rebuilt in {millis} ms, {} bytes of balances and all rows equal",
        rebuilt.head()?.count,
        balances.len()
    );
    Ok(())
}

/// A new book that is given nothing but the log's receipts, opened, the last ones first.
fn fill_from_log(book: &EmbeddedBook, epoch: &Epoch, log: Log, path: &Path) -> Result<()> {
    let started = Instant::now();
    let mut filled = EmbeddedBook::open(path, ASSET)?;
    let mut end = log.receipts;
    while end > 0 {
        let begin = end.saturating_sub(BATCH_LEN as u64);
        let range = (begin..end).filter(|index| *index != log.omitted);
        filled.book(&range.map(due).collect::<Vec<_>>())?;
        end = begin;
    }
    filled.settle(u64::MAX)?;
    let range = LogRange { begin: epoch.begin, end: epoch.end };
    let again = filled.close_epoch(range, epoch.time_s, &SECRET)?;
    let (balances, others) = (encode_balances(book)?, encode_balances(&filled)?);
    ensure!(balances == others, "the book that was filled from the log has other balances");
    let root = |epoch: &Epoch| (epoch.count, epoch.total, epoch.root);
    ensure!(root(&again) == root(epoch), "the book that was filled from the log has another root");
    println!(
        "ledger: a book filled from the log alone, in another order, in {} ms: same balances, same root",
        started.elapsed().as_millis()
    );
    Ok(())
}

/// Once with all that was booked, once with the log as it is and one receipt not opened.
fn audit_twice(book: &EmbeddedBook, log: Log) -> Result<()> {
    let records = Records::new([0; 32]);
    let none = |range, policy| records.terms(range, policy);
    let started = Instant::now();
    let report = audit(book, 0, log.booked().map(|due| (due.log_index, Opening::Due(due))), &none)?;
    ensure!(report.is_clean(), "the audit found {report:?}");
    let millis = started.elapsed().as_millis();
    println!("ledger: {} openings audited in {millis} ms, same root", report.opened);
    let openings = (0..log.receipts).map(|index| match index {
        index if index == log.unopened => (index, Opening::Unopened),
        index => (index, Opening::Due(due(index))),
    });
    let report = audit(book, 0, openings, &none)?;
    let Audit { omitted, unopened, .. } = &report;
    ensure!(
        omitted.first == [log.omitted] && unopened.first == [log.unopened] && !report.is_clean(),
        "the audit did not find what is missing: {report:?}"
    );
    ensure!(
        report.total + report.unopened_amount == report.stated_total + due(log.omitted).amount,
        "the audit's amounts do not explain the difference: {report:?}"
    );
    println!("ledger: entry {} found omitted, {} unopened", log.omitted, log.unopened);
    Ok(())
}

/// A statement for every account, each verified with nothing but itself and the key.
fn state_all(book: &EmbeddedBook, epoch: &Epoch) -> Result<()> {
    let (key, started) = (SigningKey::from_seed(&[8; 32]), Instant::now());
    let earnings = book.earnings(epoch.number)?;
    let tree = EarningsTree::new(&earnings, &SECRET)?;
    let (mut sum, mut size_max) = (0, 0);
    for account in earnings.keys() {
        let signed = state_earnings(book, epoch.number, &tree, account, &key)?.encode();
        let statement = EarningsStatement::verify(&signed, &key.public_key())?;
        ensure!(statement.account == *account && statement.epoch == *epoch, "another's statement");
        sum += statement.amount;
        size_max = size_max.max(signed.len());
    }
    ensure!(sum == epoch.total, "statements add up to {sum}, the epoch says {}", epoch.total);
    println!(
        "ledger: {} statements signed and verified in {} ms, {size_max} bytes at most, sum = total",
        earnings.len(),
        started.elapsed().as_millis()
    );
    Ok(())
}
