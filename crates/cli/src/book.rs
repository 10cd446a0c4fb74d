//! This home's book: what receipts charged, taken in from where the node keeps it for the ledger.

use anyhow::{Context as _, Result, bail, ensure};
use tally_attribution::ledger::{Book, ClosedEpoch, EmbeddedBook, Entry as Booking, LedgerError};
use tally_core::{
    Digest,
    attribution::{SplitPolicy, Tariff},
    cosignature::Timestamp,
    entry::{Entry, EntryKind, HourBucket},
    receipt::SignedStatement,
    tree::LeafIndex,
};
use tally_issuer::Node;
use tally_server::store::StatementStore;

use crate::{
    context::{Context, now_ms},
    contributions,
    home::Home,
};

/// Receipts that are taken in at a time.
const TAKEN_LEN_MAX: usize = 4_096;
/// Fewest digits that name a receipt.
const DIGITS_MIN: usize = 4;

/// The home's book, made for the split policy's asset where there is none.
pub(crate) fn open(home: &Home) -> Result<EmbeddedBook> {
    let asset = contributions::split_policy(home)?.asset;
    EmbeddedBook::open(&home.ledger(), &asset).map_err(|error| match &error {
        LedgerError::Asset { .. } => of_other_asset(&error),
        _ => anyhow::Error::from(error).context("cannot open the ledger's book"),
    })
}

/// Refuses to answer for a price that the home's book could never take in.
pub(crate) fn require_asset(home: &Home, policy: &SplitPolicy) -> Result<()> {
    if policy.tariff == Tariff::default() || !home.ledger().is_file() {
        return Ok(());
    }
    match EmbeddedBook::open(&home.ledger(), &policy.asset) {
        Err(error @ LedgerError::Asset { .. }) => Err(of_other_asset(&error)),
        // A book that is in use, or cannot be read, holds up no answer: what is owed waits beside it.
        Ok(_) | Err(_) => Ok(()),
    }
}

fn of_other_asset(error: &LedgerError) -> anyhow::Error {
    anyhow::anyhow!(
        "the split policy is not of the book's asset: {error}\n\nhint: a book is of one asset; another one takes another home"
    )
}

/// The home and its book, which must be there: looking at a book never makes one.
pub(crate) fn existing(context: &Context) -> Result<(Home, EmbeddedBook)> {
    let home = context.existing_home()?;
    ensure!(
        home.ledger().is_file(),
        "this home has no book yet\n\nhint: `tally ledger settle` makes one and takes in what receipts owe"
    );
    let book = open(&home)?;
    Ok((home, book))
}

/// What became of what receipts owe.
#[derive(Debug, Default)]
pub(crate) struct Taken {
    /// Receipts that were booked now.
    pub(crate) booked: u64,
    /// Receipts that the log does not have: nobody was told of them.
    pub(crate) unlogged: Vec<Digest>,
    /// Receipts that charge in another asset than the book's.
    pub(crate) foreign: Vec<Digest>,
}

/// Books what receipts owe, and only then removes it from where the node keeps it.
pub(crate) fn take_in(home: &Home, node: &Node, book: &mut dyn Book) -> Result<Taken> {
    let mut taken = Taken::default();
    if !home.statements().is_file() {
        return Ok(taken);
    }
    let store = StatementStore::open(&home.statements()).context("cannot open the statements")?;
    let mut after = None;
    loop {
        let page = store.owed(after.as_ref(), TAKEN_LEN_MAX)?;
        let Some(last) = page.last() else { return Ok(taken) };
        after = Some(last.receipt());
        let mut dues = vec![];
        for owed in page {
            let receipt = owed.receipt();
            let index = node.sequencer().with_log(|log| log.lookup(&receipt))?;
            match index {
                _ if owed.asset() != book.asset() => taken.foreign.push(receipt),
                None => taken.unlogged.push(receipt),
                Some(index) => dues.push(owed.at(index.0)),
            }
        }
        // In the log's order, as the journal is read by people.
        dues.sort_by_key(|due| due.log_index);
        taken.booked += book.book(&dues)?.count;
        let receipts: Vec<Digest> = dues.iter().map(|due| due.receipt).collect();
        store.remove_owed(&receipts)?;
    }
}

/// The signed record of a closed epoch: always the same bytes.
pub(crate) fn record_of(home: &Home, closed: &ClosedEpoch) -> Result<SignedStatement> {
    Ok(closed.epoch.sign(&home.load_or_create_keys()?.receipt))
}

/// The log entry of an epoch's record.
pub(crate) fn entry_of(epoch_time_s: u64, record: Digest) -> Entry {
    let hour = HourBucket::of_unix_seconds(epoch_time_s);
    Entry { kind: EntryKind::EPOCH, hour, digest: record }
}

/// Enters the record of the epoch closed last into the log, unless it is there; says where it is.
///
/// An epoch is closed first and logged then, so that after a crash this makes up for what is missing.
pub(crate) fn enter_last_epoch(
    home: &Home,
    node: &Node,
    book: &dyn Book,
) -> Result<Option<(ClosedEpoch, LeafIndex)>> {
    let Some(closed) = book.last_epoch()? else { return Ok(None) };
    let entry = entry_of(closed.epoch.time_s, record_of(home, &closed)?.digest());
    let index = match node.sequencer().with_log(|log| log.lookup(&entry.digest))? {
        Some(index) => index,
        None => node.sequencer().append_wait(entry, Timestamp::new(now_ms()? / 1000)?)?,
    };
    Ok(Some((closed, index)))
}

/// The epoch of a number, or the one closed last.
pub(crate) fn epoch_of(book: &dyn Book, number: Option<u64>) -> Result<ClosedEpoch> {
    let found = match number {
        Some(number) => book.epoch(number)?,
        None => book.last_epoch()?,
    };
    found.with_context(|| {
        let what = number.map_or("no epoch".to_owned(), |number| format!("epoch {number} is not"));
        let what = if number.is_some() { what } else { format!("{what} is") };
        format!("{what} closed\n\nhint: `tally ledger epoch close` closes the next one")
    })
}

/// The booked receipt whose digest begins so.
pub(crate) fn receipt_of(book: &dyn Book, digits: &str) -> Result<Digest> {
    let digits = digits.to_ascii_lowercase();
    ensure!(
        digits.len() >= DIGITS_MIN && digits.bytes().all(|byte| byte.is_ascii_hexdigit()),
        "`{digits}` is not the beginning of a receipt's digest: at least {DIGITS_MIN} hexadecimal digits"
    );
    if let Some(whole) = Digest::parse_hex(&digits) {
        return Ok(whole);
    }
    let mut found = vec![];
    each_entry(book, &mut |entry| {
        if entry.due.receipt.to_string().starts_with(&digits) {
            found.push(entry.due.receipt);
        }
    })?;
    match found.as_slice() {
        [one] => Ok(*one),
        [] => bail!(
            "no booked receipt begins with `{digits}`\n\nhint: `tally ledger settle` takes in what receipts owe"
        ),
        several => bail!("{} booked receipts begin with `{digits}`", several.len()),
    }
}

/// Hands on everything that is booked, in the log's order.
fn each_entry(book: &dyn Book, visit: &mut dyn FnMut(&Booking)) -> Result<()> {
    let mut from = 0;
    loop {
        let page = book.entries(from)?;
        let Some(last) = page.last() else { return Ok(()) };
        from = last.due.log_index + 1;
        page.iter().for_each(&mut *visit);
    }
}
