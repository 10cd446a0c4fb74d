//! The tables of an embedded book, and how each event changes them.

use std::collections::BTreeMap;

use redb::{ReadableTable, Table, TableDefinition, WriteTransaction};
use tally_core::Digest;
use tally_core::account::{Account, TransferId};
use tally_core::cbor::Cbor as _;

use super::super::earnings::{Earnings, earned};
use super::super::event::{Event, Head, event_of};
use super::super::{Balance, BookAccount, Due, LedgerError, PaidOut, Payout, Resolution};

/// Number of an event → its record. The one table that nothing else yields.
pub(super) const JOURNAL: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("journal");
/// Encoded account → encoded balance.
pub(super) const ACCOUNTS: TableDefinition<'_, &[u8], &[u8; 64]> = TableDefinition::new("accounts");
/// Receipt digest → the event that booked it.
pub(super) const RECEIPTS: TableDefinition<'_, &[u8; 32], u64> = TableDefinition::new("receipts");
/// Log index → the event that booked its receipt.
pub(super) const LOGGED: TableDefinition<'_, u64, u64> = TableDefinition::new("logged");
/// Pending transfer → the event that booked its receipt.
pub(super) const IDS: TableDefinition<'_, &[u8; 16], u64> = TableDefinition::new("ids");
/// Log index of a pending receipt → its deadline and the event that booked it.
pub(super) const PENDING: TableDefinition<'_, u64, (u64, u64)> = TableDefinition::new("pending");
/// The events that posted and took back a receipt, 0 for none, and the reason.
pub(super) type ResolutionRow = (u64, u64, &'static [u8; 32]);
/// The event that booked a receipt → what became of it; pending ones are absent.
pub(super) const ENTRIES: TableDefinition<'_, u64, ResolutionRow> = TableDefinition::new("entries");
/// Number of an epoch → the event that closed it.
pub(super) const EPOCHS: TableDefinition<'_, u64, u64> = TableDefinition::new("epochs");
/// Encoded account and epoch → what it had earned, where that changed.
pub(super) const EARNINGS: TableDefinition<'_, (&[u8], u64), &[u8; 16]> =
    TableDefinition::new("earnings");
/// Encoded account and epoch → what was claimed.
pub(super) const CLAIMS: TableDefinition<'_, (&[u8], u64), &[u8; 16]> =
    TableDefinition::new("claims");
/// The event that paid the pool of feedback out → the event that took that back, 0 for none.
pub(super) const PAYOUTS: TableDefinition<'_, u64, u64> = TableDefinition::new("payouts");
/// `posted_end`: the index after the last posted receipt.
pub(super) const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");

/// No event that resolves something has number 0, which opens the book.
const NONE: u64 = 0;

/// All tables within one transaction that writes.
pub(super) struct Tables<'t> {
    pub(super) head: Head,
    journal: Table<'t, u64, &'static [u8]>,
    accounts: Table<'t, &'static [u8], &'static [u8; 64]>,
    receipts: Table<'t, &'static [u8; 32], u64>,
    logged: Table<'t, u64, u64>,
    ids: Table<'t, &'static [u8; 16], u64>,
    pending: Table<'t, u64, (u64, u64)>,
    entries: Table<'t, u64, ResolutionRow>,
    epochs: Table<'t, u64, u64>,
    earnings: Table<'t, (&'static [u8], u64), &'static [u8; 16]>,
    claims: Table<'t, (&'static [u8], u64), &'static [u8; 16]>,
    payouts: Table<'t, u64, u64>,
    meta: Table<'t, &'static str, u64>,
    /// Balances that were changed and are not in the table yet.
    changed: BTreeMap<BookAccount, Balance>,
    /// Names of transfers that are not in the table yet: written in order, which is faster.
    named: BTreeMap<TransferId, u64>,
    posted_end: u64,
}

impl<'t> Tables<'t> {
    pub(super) fn open(transaction: &'t WriteTransaction) -> Result<Self, LedgerError> {
        let journal = transaction.open_table(JOURNAL)?;
        let meta = transaction.open_table(META)?;
        let posted_end = meta.get("posted_end")?.map_or(0, |end| end.value());
        Ok(Self {
            head: head(&journal)?,
            journal,
            accounts: transaction.open_table(ACCOUNTS)?,
            receipts: transaction.open_table(RECEIPTS)?,
            logged: transaction.open_table(LOGGED)?,
            ids: transaction.open_table(IDS)?,
            pending: transaction.open_table(PENDING)?,
            entries: transaction.open_table(ENTRIES)?,
            epochs: transaction.open_table(EPOCHS)?,
            earnings: transaction.open_table(EARNINGS)?,
            claims: transaction.open_table(CLAIMS)?,
            payouts: transaction.open_table(PAYOUTS)?,
            meta,
            changed: BTreeMap::new(),
            named: BTreeMap::new(),
            posted_end,
        })
    }

    /// Writes what is changed in memory alone.
    pub(super) fn flush(&mut self) -> Result<(), LedgerError> {
        self.flush_accounts()?;
        for (id, event) in std::mem::take(&mut self.named) {
            let before = self.ids.insert(id.as_bytes(), event)?.map(|before| before.value());
            if let Some(before) = before {
                return Err(self.name_taken(id, before, event)?);
            }
        }
        self.meta.insert("posted_end", self.posted_end)?;
        Ok(())
    }

    fn flush_accounts(&mut self) -> Result<(), LedgerError> {
        for (account, balance) in std::mem::take(&mut self.changed) {
            self.accounts.insert(account.encode().as_slice(), &balance.encode())?;
        }
        Ok(())
    }

    fn name_taken(
        &self,
        id: TransferId,
        before: u64,
        event: u64,
    ) -> Result<LedgerError, LedgerError> {
        let (booked, receipt) = (self.due(before)?.receipt, self.due(event)?.receipt);
        Ok(LedgerError::Transfer { id, booked, receipt })
    }

    /// Writes the next event into the journal and applies it.
    pub(super) fn append(&mut self, event: &Event) -> Result<(), LedgerError> {
        let (number, record) = (self.head.count, self.head.record(event));
        self.journal.insert(number, record.as_slice())?;
        self.head = self.head.behind(&record);
        self.apply(number, event)
    }

    fn apply(&mut self, number: u64, event: &Event) -> Result<(), LedgerError> {
        match event {
            Event::Opened { .. } => Ok(()),
            Event::Booked(due) => self.apply_booked(number, due),
            Event::Posted { entries, .. } => {
                entries.iter().try_for_each(|entry| self.apply_posted(number, *entry))
            }
            Event::Voided { entry, reason } => self.apply_voided(number, *entry, reason),
            Event::Corrected { entry, reason } => self.apply_corrected(number, *entry, reason),
            Event::Closed { epoch, .. } => self.apply_closed(number, epoch.number),
            Event::Claimed { epoch, account, amount } => {
                self.apply_claimed(*epoch, account, *amount)
            }
            Event::PaidOut(payout) => self.apply_paid_out(number, payout),
        }
    }

    fn apply_booked(&mut self, number: u64, due: &Due) -> Result<(), LedgerError> {
        let (log_index, receipt) = (due.log_index, due.receipt);
        self.receipts.insert(receipt.as_bytes(), number)?;
        let before = self.logged.insert(log_index, number)?.map(|before| before.value());
        if let Some(before) = before {
            let booked = self.due(before)?.receipt;
            return Err(LedgerError::LogIndex { log_index, booked, receipt });
        }
        self.pending.insert(log_index, (due.deadline_s(), number))?;
        add(&mut self.change(BookAccount::Payer)?.debits_pending, due.amount)?;
        for share in &due.shares {
            let balance = self.change(BookAccount::Earned(share.account))?;
            add(&mut balance.credits_pending, share.amount)?;
            if let Some(before) = self.named.insert(share.id, number) {
                return Err(self.name_taken(share.id, before, number)?);
            }
        }
        Ok(())
    }

    fn apply_posted(&mut self, number: u64, entry: u64) -> Result<(), LedgerError> {
        let due = self.release(number, entry)?;
        add(&mut self.change(BookAccount::Payer)?.debits_posted, due.amount)?;
        for share in &due.shares {
            let balance = self.change(BookAccount::Earned(share.account))?;
            add(&mut balance.credits_posted, share.amount)?;
        }
        self.entries.insert(entry, (number, NONE, &[0; 32]))?;
        self.posted_end = self.posted_end.max(due.log_index.saturating_add(1));
        Ok(())
    }

    fn apply_voided(
        &mut self,
        number: u64,
        entry: u64,
        reason: &Digest,
    ) -> Result<(), LedgerError> {
        self.release(number, entry)?;
        self.entries.insert(entry, (NONE, number, reason.as_bytes()))?;
        Ok(())
    }

    fn apply_corrected(
        &mut self,
        number: u64,
        entry: u64,
        reason: &Digest,
    ) -> Result<(), LedgerError> {
        let Resolution::Posted { event } = self.resolution(entry)? else {
            return Err(LedgerError::Event { event: number, entry });
        };
        let due = self.due(entry)?;
        add(&mut self.change(BookAccount::Payer)?.credits_posted, due.amount)?;
        for share in &due.shares {
            let balance = self.change(BookAccount::Earned(share.account))?;
            add(&mut balance.debits_posted, share.amount)?;
        }
        self.entries.insert(entry, (event, number, reason.as_bytes()))?;
        while self.is_pool_overdrawn()? {
            self.take_back_payout(number)?;
        }
        Ok(())
    }

    fn apply_paid_out(&mut self, number: u64, payout: &Payout) -> Result<(), LedgerError> {
        let pool = self.change(BookAccount::Earned(Account::Feedback))?;
        add(&mut pool.debits_posted, payout.total())?;
        for (account, amount) in &payout.payments {
            add(&mut self.change(BookAccount::Earned(*account))?.credits_posted, *amount)?;
        }
        self.payouts.insert(number, NONE)?;
        Ok(())
    }

    /// Whether more went out of the pool than came in and was not taken back.
    fn is_pool_overdrawn(&self) -> Result<bool, LedgerError> {
        let pool = self.balance(BookAccount::Earned(Account::Feedback))?;
        let paid = self.balance(BookAccount::Paid(Account::Feedback))?.credits_posted;
        let gone = pool.debits_posted.checked_sub(paid).ok_or(LedgerError::Overflow)?;
        Ok(gone > pool.credits_posted)
    }

    /// Moves the newest payout that stands back into the pool.
    fn take_back_payout(&mut self, number: u64) -> Result<(), LedgerError> {
        let last = self.last_payout()?.ok_or(LedgerError::Overflow)?;
        let pool = self.change(BookAccount::Earned(Account::Feedback))?;
        add(&mut pool.credits_posted, last.payout.total())?;
        for (account, amount) in &last.payout.payments {
            add(&mut self.change(BookAccount::Earned(*account))?.debits_posted, *amount)?;
        }
        self.payouts.insert(last.event, number)?;
        Ok(())
    }

    /// The newest payout that stands.
    pub(super) fn last_payout(&self) -> Result<Option<PaidOut>, LedgerError> {
        let event = standing(&self.payouts)?;
        event.map(|event| paid_out(&self.journal, event, NONE)).transpose()
    }

    /// What the pool of feedback holds and nobody was paid.
    pub(super) fn pool(&self) -> Result<u128, LedgerError> {
        let pool = self.balance(BookAccount::Earned(Account::Feedback))?;
        let paid = self.balance(BookAccount::Paid(Account::Feedback))?.credits_posted;
        Ok(earned(pool.credits_posted, pool.debits_posted, paid)?.saturating_sub(paid))
    }

    /// Takes a pending receipt's reservations away.
    fn release(&mut self, number: u64, entry: u64) -> Result<Due, LedgerError> {
        let due = self.due(entry)?;
        let is_pending = self.resolution(entry)? == Resolution::Pending;
        if !is_pending || self.pending.remove(due.log_index)?.is_none() {
            return Err(LedgerError::Event { event: number, entry });
        }
        subtract(&mut self.change(BookAccount::Payer)?.debits_pending, due.amount)?;
        for share in &due.shares {
            let balance = self.change(BookAccount::Earned(share.account))?;
            subtract(&mut balance.credits_pending, share.amount)?;
        }
        Ok(due)
    }

    fn apply_closed(&mut self, number: u64, epoch: u64) -> Result<(), LedgerError> {
        let mut changed = self.earnings_now()?;
        let before = match epoch.checked_sub(1) {
            Some(before) => earnings_at(&self.earnings, before)?,
            None => Earnings::new(),
        };
        for (account, amount) in before {
            match changed.entry(account).or_insert(0) {
                now if *now == amount => {
                    changed.remove(&account);
                }
                _ => {}
            }
        }
        for (account, amount) in changed {
            self.earnings.insert((account.encode().as_slice(), epoch), &amount.to_be_bytes())?;
        }
        self.epochs.insert(epoch, number)?;
        Ok(())
    }

    fn apply_claimed(
        &mut self,
        epoch: u64,
        account: &Account,
        amount: u128,
    ) -> Result<(), LedgerError> {
        add(&mut self.change(BookAccount::Earned(*account))?.debits_posted, amount)?;
        add(&mut self.change(BookAccount::Paid(*account))?.credits_posted, amount)?;
        self.claims.insert((account.encode().as_slice(), epoch), &amount.to_be_bytes())?;
        Ok(())
    }

    /// A balance to be changed.
    fn change(&mut self, account: BookAccount) -> Result<&mut Balance, LedgerError> {
        if !self.changed.contains_key(&account) {
            let balance = self.balance(account)?;
            self.changed.insert(account, balance);
        }
        Ok(self.changed.entry(account).or_default())
    }

    pub(super) fn balance(&self, account: BookAccount) -> Result<Balance, LedgerError> {
        if let Some(balance) = self.changed.get(&account) {
            return Ok(*balance);
        }
        let balance = self.accounts.get(account.encode().as_slice())?;
        Ok(balance.map_or(Balance::default(), |balance| Balance::parse(balance.value())))
    }

    /// What payers were charged and did not get back, posted.
    pub(super) fn liability(&self) -> Result<u128, LedgerError> {
        let payer = self.balance(BookAccount::Payer)?;
        payer.debits_posted.checked_sub(payer.credits_posted).ok_or(LedgerError::Overflow)
    }

    /// What every account has earned by now; accounts without earnings are absent.
    pub(super) fn earnings_now(&mut self) -> Result<Earnings, LedgerError> {
        self.flush_accounts()?;
        let mut earnings = Earnings::new();
        for row in self.accounts.iter()? {
            let (account, balance) = row?;
            let BookAccount::Earned(account) = BookAccount::parse(account.value())? else {
                continue;
            };
            let balance = Balance::parse(balance.value());
            let paid = self.balance(BookAccount::Paid(account))?.credits_posted;
            let amount = earned(balance.credits_posted, balance.debits_posted, paid)?;
            if amount > 0 {
                earnings.insert(account, amount);
            }
        }
        Ok(earnings)
    }

    /// What an account had earned when an epoch was closed.
    pub(super) fn earned_in(&self, epoch: u64, account: &Account) -> Result<u128, LedgerError> {
        if self.epochs.get(epoch)?.is_none() {
            return Err(LedgerError::NoEpoch { number: epoch });
        }
        let account = account.encode();
        let mut rows =
            self.earnings.range((account.as_slice(), 0)..=(account.as_slice(), epoch))?;
        let last = rows.next_back().transpose()?;
        Ok(last.map_or(0, |(_, amount)| u128::from_be_bytes(*amount.value())))
    }

    /// What was claimed by an account for an epoch.
    pub(super) fn claimed(
        &self,
        epoch: u64,
        account: &Account,
    ) -> Result<Option<u128>, LedgerError> {
        let amount = self.claims.get((account.encode().as_slice(), epoch))?;
        Ok(amount.map(|amount| u128::from_be_bytes(*amount.value())))
    }

    /// The event that booked a receipt.
    pub(super) fn booked(&self, receipt: &Digest) -> Result<Option<u64>, LedgerError> {
        Ok(self.receipts.get(receipt.as_bytes())?.map(|event| event.value()))
    }

    /// The first pending receipts whose windows are closed, up to the first that is open.
    pub(super) fn closed_by(&self, now_s: u64, len_max: usize) -> Result<Vec<u64>, LedgerError> {
        let mut entries = vec![];
        for row in self.pending.iter()?.take(len_max) {
            let (deadline_s, event) = row?.1.value();
            if deadline_s > now_s {
                break;
            }
            entries.push(event);
        }
        Ok(entries)
    }

    pub(super) fn resolution(&self, entry: u64) -> Result<Resolution, LedgerError> {
        resolution(&self.entries, entry)
    }

    pub(super) fn due(&self, event: u64) -> Result<Due, LedgerError> {
        due(&self.journal, event)
    }

    pub(super) fn record(&self, event: u64) -> Result<Vec<u8>, LedgerError> {
        record(&self.journal, event)
    }
}

/// The end of a journal, by its last record.
pub(super) fn head(journal: &impl ReadableTable<u64, &'static [u8]>) -> Result<Head, LedgerError> {
    let last = journal.last()?;
    Ok(last.map_or(Head::START, |(number, record)| {
        Head { count: number.value(), link: Head::START.link }.behind(record.value())
    }))
}

/// The record of an event.
pub(super) fn record(
    journal: &impl ReadableTable<u64, &'static [u8]>,
    event: u64,
) -> Result<Vec<u8>, LedgerError> {
    let record = journal.get(event)?.ok_or(LedgerError::Event { event, entry: event })?;
    Ok(record.value().to_vec())
}

/// The due that an event booked.
pub(super) fn due(
    journal: &impl ReadableTable<u64, &'static [u8]>,
    event: u64,
) -> Result<Due, LedgerError> {
    let absent = LedgerError::Event { event, entry: event };
    let Some(record) = journal.get(event)? else { return Err(absent) };
    match event_of(record.value())? {
        Event::Booked(due) => Ok(due),
        _ => Err(absent),
    }
}

/// The event of the newest payout that was not taken back.
pub(super) fn standing(payouts: &impl ReadableTable<u64, u64>) -> Result<Option<u64>, LedgerError> {
    for row in payouts.iter()?.rev() {
        let (event, taken_back) = row?;
        if taken_back.value() == NONE {
            return Ok(Some(event.value()));
        }
    }
    Ok(None)
}

/// The payout that an event made.
pub(super) fn paid_out(
    journal: &impl ReadableTable<u64, &'static [u8]>,
    event: u64,
    taken_back: u64,
) -> Result<PaidOut, LedgerError> {
    match event_of(&record(journal, event)?)? {
        Event::PaidOut(payout) => {
            let taken_back = Some(taken_back).filter(|taken_back| *taken_back != NONE);
            Ok(PaidOut { event, payout, taken_back })
        }
        _ => Err(LedgerError::Event { event, entry: event }),
    }
}

/// What became of a receipt.
pub(super) fn resolution(
    entries: &impl ReadableTable<u64, ResolutionRow>,
    entry: u64,
) -> Result<Resolution, LedgerError> {
    let Some(row) = entries.get(entry)? else { return Ok(Resolution::Pending) };
    let (posted, event, reason) = row.value();
    let reason = Digest::from_bytes(*reason);
    Ok(match (posted, event) {
        (_, NONE) => Resolution::Posted { event: posted },
        (NONE, _) => Resolution::Voided { event, reason },
        _ => Resolution::Corrected { posted, event, reason },
    })
}

/// What every account had earned when an epoch was closed: of each the last row up to the epoch.
pub(super) fn earnings_at(
    table: &impl ReadableTable<(&'static [u8], u64), &'static [u8; 16]>,
    epoch: u64,
) -> Result<Earnings, LedgerError> {
    let mut earnings = Earnings::new();
    for row in table.iter()? {
        let (key, amount) = row?;
        let (account, changed) = key.value();
        if changed <= epoch {
            let amount = u128::from_be_bytes(*amount.value());
            earnings.insert(Account::parse(account)?, amount);
        }
    }
    earnings.retain(|_, amount| *amount > 0);
    Ok(earnings)
}

fn add(sum: &mut u128, more: u128) -> Result<(), LedgerError> {
    *sum = sum.checked_add(more).ok_or(LedgerError::Overflow)?;
    Ok(())
}

fn subtract(sum: &mut u128, less: u128) -> Result<(), LedgerError> {
    *sum = sum.checked_sub(less).ok_or(LedgerError::Overflow)?;
    Ok(())
}
