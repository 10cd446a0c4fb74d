//! The same random operations on the embedded book and on PostgreSQL: answers and states are equal.

use std::time::Instant;

use anyhow::{Result, ensure};
use tally_attribution::ledger::{Book, EmbeddedBook, encode_balances};
use tally_core::cbor::Cbor as _;

use super::operations::{ASSET, Script, all_entries, all_payouts, perform};
use super::postgres::PostgresBook;
use super::server::Server;

/// After so many operations the whole states are compared.
const COMPARED_EVERY: u32 = 500;

pub(super) fn run(operations: u32) -> Result<()> {
    let (folder, server) = (tempfile::tempdir()?, Server::start()?);
    let mut embedded = EmbeddedBook::open(&folder.path().join("book"), ASSET)?;
    let mut postgres = PostgresBook::open(&server.url(), ASSET)?;
    let (mut script, started, mut refused) = (Script::new(2), Instant::now(), 0);
    for number in 1..=operations {
        let operation = script.next(&embedded);
        let answer = perform(&mut embedded, &operation);
        let other = perform(&mut postgres, &operation);
        ensure!(
            answer == other,
            "operation {number}: embedded says `{answer}`, PostgreSQL `{other}`: {operation:?}"
        );
        refused += u32::from(answer.starts_with("refused"));
        if number % COMPARED_EVERY == 0 || number == operations {
            compare(&embedded, &postgres)?;
            drop(postgres);
            postgres = PostgresBook::open(&server.url(), ASSET)?;
        }
    }
    ensure!(PostgresBook::open(&server.url(), "EUR").is_err(), "a book was opened as another's");
    println!(
        "ledger: {operations} operations on the embedded book and on {}, {refused} of them refused: \
         equal answers, balances, transfers, epochs and journal of {} events, {} s",
        server.version(),
        embedded.head()?.count,
        started.elapsed().as_secs()
    );
    Ok(())
}

fn compare(one: &dyn Book, other: &dyn Book) -> Result<()> {
    ensure!(one.head()? == other.head()?, "the journals differ");
    ensure!(encode_balances(one)? == encode_balances(other)?, "the balances differ");
    ensure!(one.boundary()? == other.boundary()?, "the boundaries differ");
    let entries = all_entries(one);
    ensure!(entries == all_entries(other), "the entries differ");
    for entry in &entries {
        let receipt = entry.due.receipt;
        ensure!(
            one.transfers(&receipt)? == other.transfers(&receipt)?,
            "the transfers of {receipt} differ"
        );
        ensure!(one.entry(&receipt)? == other.entry(&receipt)?, "{receipt} differs");
        for share in &entry.due.shares {
            let found = other.receipt_of(&share.id)?;
            ensure!(found == Some(receipt), "transfer {} leads to {found:?}", share.id);
        }
    }
    ensure!(all_payouts(one) == all_payouts(other), "the payouts differ");
    ensure!(one.payout_begin()? == other.payout_begin()?, "the next payouts differ");
    let last = one.last_epoch()?;
    ensure!(last == other.last_epoch()?, "the last epochs differ");
    for number in 0..last.map_or(0, |last| last.epoch.number + 1) {
        let (epoch, its) = (one.epoch(number)?, other.epoch(number)?);
        let encoded = |epoch: &Option<tally_attribution::ledger::ClosedEpoch>| {
            epoch.as_ref().map(|closed| closed.epoch.encode())
        };
        ensure!(epoch == its && encoded(&epoch) == encoded(&its), "epoch {number} differs");
        ensure!(one.earnings(number)? == other.earnings(number)?, "earnings of {number} differ");
    }
    Ok(())
}
