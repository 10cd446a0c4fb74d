//! The book in one file: a hash-chained journal in `redb`, and tables that follow from it.
//!
//! Every change is decided on the tables, written as an event, and applied to the tables by the code
//! that also rebuilds them, all in one transaction: after a crash the file is as it was before or
//! after a change. The file is the operator's; whoever can write it can rewrite all of it, and is
//! found out by the commitments to the journal that epochs publish.

use std::fs::OpenOptions;
use std::ops::ControlFlow;
#[cfg(unix)]
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use redb::{Database, ReadTransaction, ReadableDatabase as _, ReadableTable};
use tally_core::Digest;
use tally_core::account::{Account, TransferId};
use tally_core::sum_tree::{Epoch, EpochSecret};

use super::earnings::{Earnings, EarningsTree, earned};
use super::event::{Event, Head, event_of};
use super::{
    Balance, Book, BookAccount, Booked, Boundary, ClosedEpoch, Due, ENTRIES_LEN_MAX, Entry,
    FeedbackTerms, LedgerError, LogRange, PAYOUTS_LEN_MAX, POSTING_LEN_MAX, PaidOut, Resolution,
    Settled, TIME_S_MAX, Transfer, Voided,
};
use tables::{
    ACCOUNTS, EARNINGS, ENTRIES, EPOCHS, IDS, JOURNAL, LOGGED, META, PAYOUTS, PENDING, RECEIPTS,
    Tables,
};

mod rebuild;
mod tables;
#[cfg(test)]
mod tests;

/// Memory that the database may use for itself.
const CACHE_BYTES: usize = 256 << 20;

/// A book in one file. One process at a time has it open.
#[derive(Debug)]
pub struct EmbeddedBook {
    database: Database,
    asset: String,
}

impl EmbeddedBook {
    /// Opens the book at `path`, or makes it for this asset.
    ///
    /// # Errors
    /// If the file cannot be used, another process has it open, or its book is of another asset.
    pub fn open(path: &Path, asset: &str) -> Result<Self, LedgerError> {
        let book = Self::over(path, asset)?;
        book.write(|tables| match tables.head.count {
            0 => tables.append(&Event::Opened { asset: asset.to_owned() }),
            _ => match event_of(&tables.record(0)?)? {
                Event::Opened { asset: expected } if expected == asset => Ok(()),
                Event::Opened { asset: expected } => {
                    Err(LedgerError::Asset { expected, found: asset.to_owned() })
                }
                _ => Err(LedgerError::Event { event: 0, entry: 0 }),
            },
        })?;
        Ok(book)
    }

    /// The file at `path` with all tables, and no event if it is new.
    fn over(path: &Path, asset: &str) -> Result<Self, LedgerError> {
        let mut builder = Database::builder();
        builder.set_cache_size(CACHE_BYTES);
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        // It holds what everybody has earned, and the secrets of all epochs.
        #[cfg(unix)]
        options.mode(0o600);
        let file = options.open(path).map_err(redb::StorageError::from)?;
        let book = Self { database: builder.create_file(file)?, asset: asset.to_owned() };
        book.write(|_| Ok(()))?;
        Ok(book)
    }

    /// Makes a change in one transaction: durable when it returns, and nothing of it on an error.
    fn write<T>(
        &self,
        change: impl FnOnce(&mut Tables<'_>) -> Result<T, LedgerError>,
    ) -> Result<T, LedgerError> {
        let transaction = self.database.begin_write()?;
        let value = {
            let mut tables = Tables::open(&transaction)?;
            let value = change(&mut tables)?;
            tables.flush()?;
            value
        };
        transaction.commit()?;
        Ok(value)
    }

    fn read(&self) -> Result<ReadTransaction, LedgerError> {
        Ok(self.database.begin_read()?)
    }
}

impl Book for EmbeddedBook {
    fn asset(&self) -> &str {
        &self.asset
    }

    fn book(&mut self, dues: &[Due]) -> Result<Booked, LedgerError> {
        for due in dues {
            due.require_sound()?;
            if due.asset != self.asset {
                let (expected, found) = (self.asset.clone(), due.asset.clone());
                return Err(LedgerError::Asset { expected, found });
            }
        }
        self.write(|tables| {
            let mut booked = Booked::default();
            for due in dues {
                match tables.booked(&due.receipt)? {
                    Some(event) => {
                        require_same(due, &tables.due(event)?)?;
                        booked.replayed += 1;
                    }
                    None => {
                        tables.append(&Event::Booked(due.clone()))?;
                        booked.count += 1;
                    }
                }
            }
            Ok(booked)
        })
    }

    fn settle(&mut self, now_s: u64) -> Result<Settled, LedgerError> {
        let mut settled = Settled::default();
        loop {
            let posted = self.write(|tables| {
                let entries = tables.closed_by(now_s, POSTING_LEN_MAX)?;
                if entries.is_empty() {
                    return Ok(Settled::default());
                }
                let before = tables.balance(BookAccount::Payer)?.debits_posted;
                let count = entries.len() as u64;
                tables.append(&Event::Posted { now_s, entries })?;
                let after = tables.balance(BookAccount::Payer)?.debits_posted;
                Ok(Settled { count, amount: after.saturating_sub(before) })
            })?;
            settled.count += posted.count;
            settled.amount =
                settled.amount.checked_add(posted.amount).ok_or(LedgerError::Overflow)?;
            if posted.count < POSTING_LEN_MAX as u64 {
                return Ok(settled);
            }
        }
    }

    fn void(&mut self, receipt: &Digest, reason: &Digest) -> Result<Voided, LedgerError> {
        let (receipt, found) = (*receipt, *reason);
        self.write(|tables| {
            let entry = tables.booked(&receipt)?.ok_or(LedgerError::Unknown { receipt })?;
            let reason = found;
            match tables.resolution(entry)? {
                Resolution::Pending => {
                    tables.append(&Event::Voided { entry, reason })?;
                    Ok(Voided::Pending)
                }
                Resolution::Posted { .. } => {
                    tables.append(&Event::Corrected { entry, reason })?;
                    Ok(Voided::Posted)
                }
                Resolution::Voided { reason, .. } | Resolution::Corrected { reason, .. } => {
                    if reason != found {
                        return Err(LedgerError::Voided { receipt, reason, found });
                    }
                    Ok(Voided::Replayed)
                }
            }
        })
    }

    fn close_epoch(
        &mut self,
        range: LogRange,
        time_s: u64,
        secret: &EpochSecret,
    ) -> Result<Epoch, LedgerError> {
        if time_s > TIME_S_MAX {
            return Err(LedgerError::Time { limit: TIME_S_MAX, found: time_s });
        }
        let last = self.last_epoch()?;
        if let Some(last) = last.as_ref().filter(|last| last.is_replay(range, time_s, secret)) {
            return Ok(last.epoch.clone());
        }
        let boundary = self.boundary()?;
        let number = last.map_or(0, |last| last.epoch.number + 1);
        boundary.require(number, range)?;
        let asset = self.asset.clone();
        self.write(|tables| {
            let earnings = tables.earnings_now()?;
            let tree = EarningsTree::new(&earnings, secret)?;
            let (total, liability) = (tree.total(), tables.liability()?);
            if total != liability {
                return Err(LedgerError::Imbalance { total, liability });
            }
            let journal = secret.commit_journal(&tables.head.link);
            let (LogRange { begin, end }, count, root) = (range, tree.count(), tree.root());
            let epoch = Epoch { number, begin, end, time_s, asset, count, total, root, journal };
            tables.append(&Event::Closed { epoch: epoch.clone(), secret: secret.clone() })?;
            Ok(epoch)
        })
    }

    fn claim(&mut self, epoch: u64, account: &Account) -> Result<u128, LedgerError> {
        if *account == Account::Feedback {
            return Err(LedgerError::PoolClaimed);
        }
        self.write(|tables| {
            if let Some(amount) = tables.claimed(epoch, account)? {
                return Ok(amount);
            }
            let stated = tables.earned_in(epoch, account)?;
            let balance = tables.balance(BookAccount::Earned(*account))?;
            let paid = tables.balance(BookAccount::Paid(*account))?.credits_posted;
            let now = earned(balance.credits_posted, balance.debits_posted, paid)?;
            let amount = stated.min(now).saturating_sub(paid);
            if amount > 0 {
                tables.append(&Event::Claimed { epoch, account: *account, amount })?;
            }
            Ok(amount)
        })
    }

    fn pay_feedback(&mut self, terms: &FeedbackTerms) -> Result<PaidOut, LedgerError> {
        terms.require_sound(&self.asset)?;
        self.write(|tables| {
            let last = tables.last_payout()?;
            if terms.follow(last.as_ref().map(|last| &last.payout))? {
                return last.ok_or(LedgerError::Overflow);
            }
            let payout = terms.payout(tables.pool()?)?;
            let event = tables.head.count;
            tables.append(&Event::PaidOut(payout.clone()))?;
            Ok(PaidOut { event, payout, taken_back: None })
        })
    }

    fn payouts(&self, from: u64) -> Result<Vec<PaidOut>, LedgerError> {
        let read = self.read()?;
        let (payouts, journal) = (read.open_table(PAYOUTS)?, read.open_table(JOURNAL)?);
        let page = payouts.range(from..)?.take(PAYOUTS_LEN_MAX);
        page.map(|row| {
            let (event, taken_back) = row?;
            tables::paid_out(&journal, event.value(), taken_back.value())
        })
        .collect()
    }

    fn payout_begin(&self) -> Result<u64, LedgerError> {
        let read = self.read()?;
        let Some(event) = tables::standing(&read.open_table(PAYOUTS)?)? else { return Ok(0) };
        let last = tables::paid_out(&read.open_table(JOURNAL)?, event, 0)?;
        Ok(last.payout.range.end)
    }

    fn balance(&self, account: &BookAccount) -> Result<Balance, LedgerError> {
        let accounts = self.read()?.open_table(ACCOUNTS)?;
        let balance = accounts.get(account.encode().as_slice())?;
        Ok(balance.map_or(Balance::default(), |balance| Balance::parse(balance.value())))
    }

    fn each_balance(&self, visit: &mut dyn FnMut(BookAccount, Balance)) -> Result<(), LedgerError> {
        let accounts = self.read()?.open_table(ACCOUNTS)?;
        for row in accounts.iter()? {
            let (account, balance) = row?;
            visit(BookAccount::parse(account.value())?, Balance::parse(balance.value()));
        }
        Ok(())
    }

    fn entry(&self, receipt: &Digest) -> Result<Option<Entry>, LedgerError> {
        let read = self.read()?;
        let event = read.open_table(RECEIPTS)?.get(receipt.as_bytes())?.map(|event| event.value());
        event.map(|event| Rows::open(&read)?.entry(event)).transpose()
    }

    fn entries(&self, from: u64) -> Result<Vec<Entry>, LedgerError> {
        let read = self.read()?;
        let rows = Rows::open(&read)?;
        let logged = read.open_table(LOGGED)?;
        let page = logged.range(from..)?.take(ENTRIES_LEN_MAX);
        page.map(|row| rows.entry(row?.1.value())).collect()
    }

    fn transfers(&self, receipt: &Digest) -> Result<Vec<Transfer>, LedgerError> {
        Ok(self.entry(receipt)?.map(|entry| entry.transfers()).unwrap_or_default())
    }

    fn receipt_of(&self, id: &TransferId) -> Result<Option<Digest>, LedgerError> {
        let read = self.read()?;
        let event = read.open_table(IDS)?.get(id.as_bytes())?.map(|event| event.value());
        event.map(|event| Ok(Rows::open(&read)?.entry(event)?.due.receipt)).transpose()
    }

    fn epoch(&self, number: u64) -> Result<Option<ClosedEpoch>, LedgerError> {
        let read = self.read()?;
        let event = read.open_table(EPOCHS)?.get(number)?.map(|event| event.value());
        event.map(|event| Rows::open(&read)?.closed(event)).transpose()
    }

    fn last_epoch(&self) -> Result<Option<ClosedEpoch>, LedgerError> {
        let read = self.read()?;
        let event = read.open_table(EPOCHS)?.last()?.map(|(_, event)| event.value());
        event.map(|event| Rows::open(&read)?.closed(event)).transpose()
    }

    fn earnings(&self, epoch: u64) -> Result<Earnings, LedgerError> {
        if self.epoch(epoch)?.is_none() {
            return Err(LedgerError::NoEpoch { number: epoch });
        }
        tables::earnings_at(&self.read()?.open_table(EARNINGS)?, epoch)
    }

    fn boundary(&self) -> Result<Boundary, LedgerError> {
        let read = self.read()?;
        let posted_end = read.open_table(META)?.get("posted_end")?.map_or(0, |end| end.value());
        let pending = read.open_table(PENDING)?.first()?.map(|(log_index, _)| log_index.value());
        let begin = self.last_epoch()?.map_or(0, |last| last.epoch.end);
        Ok(Boundary::new(begin, posted_end, pending))
    }

    fn head(&self) -> Result<Head, LedgerError> {
        tables::head(&self.read()?.open_table(JOURNAL)?)
    }
}

impl EmbeddedBook {
    /// Walks the journal and verifies that every event names the one before it, that no number is
    /// missing, and that every epoch's record commits to what stands before it.
    ///
    /// A cut or rewritten end is seen only by an epoch behind it, or beside a head kept elsewhere.
    ///
    /// # Errors
    /// The first event that was changed, removed or swapped.
    pub fn verify_journal(&self) -> Result<Head, LedgerError> {
        self.each_event(|_, _| Ok(ControlFlow::Continue(())))
    }

    /// As [`verify_journal`](Self::verify_journal), beside a head that was kept elsewhere.
    ///
    /// # Errors
    /// As there, and if the journal ends otherwise.
    pub fn verify_journal_to(&self, expected: &Head) -> Result<(), LedgerError> {
        require_head(&self.verify_journal()?, expected)
    }

    /// Hands on every event in order, each after its place in the chain was verified.
    fn each_event(
        &self,
        mut visit: impl FnMut(&Head, &Event) -> Result<ControlFlow<()>, LedgerError>,
    ) -> Result<Head, LedgerError> {
        let journal = self.read()?.open_table(JOURNAL)?;
        let mut head = Head::START;
        for row in journal.iter()? {
            let (number, record) = row?;
            if number.value() != head.count {
                return Err(LedgerError::Gap { expected: head.count, found: number.value() });
            }
            let (next, event) = head.follow(record.value())?;
            if let Event::Closed { epoch, secret } = &event
                && !epoch.is_of_journal(secret, &head.link)
            {
                let (number, event) = (epoch.number, head.count);
                return Err(LedgerError::EpochJournal { number, event });
            }
            if visit(&head, &event)?.is_break() {
                break;
            }
            head = next;
        }
        Ok(head)
    }
}

/// The tables from which entries are read.
struct Rows {
    journal: redb::ReadOnlyTable<u64, &'static [u8]>,
    entries: redb::ReadOnlyTable<u64, tables::ResolutionRow>,
}

impl Rows {
    fn open(read: &ReadTransaction) -> Result<Self, LedgerError> {
        Ok(Self { journal: read.open_table(JOURNAL)?, entries: read.open_table(ENTRIES)? })
    }

    fn entry(&self, event: u64) -> Result<Entry, LedgerError> {
        let due = tables::due(&self.journal, event)?;
        Ok(Entry { due, event, resolution: tables::resolution(&self.entries, event)? })
    }

    fn closed(&self, event: u64) -> Result<ClosedEpoch, LedgerError> {
        match event_of(&tables::record(&self.journal, event)?)? {
            Event::Closed { epoch, secret } => Ok(ClosedEpoch { epoch, secret, event }),
            _ => Err(LedgerError::Event { event, entry: event }),
        }
    }
}

/// Refuses another head than the one expected.
fn require_head(found: &Head, expected: &Head) -> Result<(), LedgerError> {
    if found != expected {
        return Err(LedgerError::Head {
            count: expected.count,
            expected: expected.link,
            found_count: found.count,
            found: found.link,
        });
    }
    Ok(())
}

/// Refuses a receipt that is booked with other contents.
///
/// # Errors
/// [`LedgerError::Conflict`].
pub fn require_same(due: &Due, booked: &Due) -> Result<(), LedgerError> {
    if due != booked {
        let (booked, found) = (booked.digest(), due.digest());
        return Err(LedgerError::Conflict { receipt: due.receipt, booked, found });
    }
    Ok(())
}

impl ClosedEpoch {
    /// Whether closing with these arguments would be closing this epoch again.
    #[must_use]
    pub fn is_replay(&self, range: LogRange, time_s: u64, secret: &EpochSecret) -> bool {
        let own = LogRange { begin: self.epoch.begin, end: self.epoch.end };
        own == range && self.epoch.time_s == time_s && self.secret == *secret
    }
}

impl Boundary {
    /// From where the last epoch ended, the index after the last posted receipt, and the first
    /// pending one.
    #[must_use]
    pub fn new(begin: u64, posted_end: u64, pending: Option<u64>) -> Self {
        let first = posted_end.max(begin.saturating_add(1));
        Self { begin, first, last: pending.unwrap_or(u64::MAX) }
    }

    /// Refuses a range that the next epoch, with this number, cannot have.
    ///
    /// # Errors
    /// A range that is empty or begins elsewhere, a pending receipt in it, a posted one behind it.
    pub const fn require(&self, number: u64, range: LogRange) -> Result<(), LedgerError> {
        let LogRange { begin, end } = range;
        if begin != self.begin || end <= begin {
            return Err(LedgerError::Range { number, expected: self.begin, begin, end });
        }
        if end > self.last {
            return Err(LedgerError::Pending { end, log_index: self.last });
        }
        if end < self.first {
            return Err(LedgerError::Posted { end, posted_end: self.first });
        }
        Ok(())
    }
}
