//! A book in PostgreSQL: the same rules in SQL.
//!
//! It stands here since its client brings an asynchronous runtime, which `attribution` must not reach.
//!
//! It is a second implementation and not the embedded one over another store: balances are moved by
//! set-based statements, resolving transfers are rows of their own, and the same operations must give
//! the same answers, balances and journal (`cargo xtask ledger` compares). Changes are one
//! transaction each and wait for one another on the row that holds the journal's head. The connection
//! is not encrypted: use a Unix socket or a network that is. It blocks, so an asynchronous caller
//! gives it a thread of its own.

use std::sync::{Mutex, MutexGuard, PoisonError};

use postgres::{Client, NoTls, Row};
use tally_attribution::ledger::{
    Balance, Book, BookAccount, Booked, Boundary, ClosedEpoch, Due, ENTRIES_LEN_MAX, Earnings,
    EarningsTree, Entry, Event, FeedbackTerms, Head, LedgerError, LogRange, PAYOUTS_LEN_MAX,
    POSTING_LEN_MAX, PaidOut, Phase, Resolution, Settled, TIME_S_MAX, Transfer, Voided, event_of,
    require_same,
};
use tally_core::Digest;
use tally_core::account::{Account, TransferId};
use tally_core::sum_tree::{Epoch, EpochSecret};

use change::Change;

mod change;

const SCHEMA: &str = include_str!("postgres/schema.sql");

/// A book in a PostgreSQL database, in the schema `tally_ledger`.
pub(super) struct PostgresBook {
    client: Mutex<Client>,
    asset: String,
}

impl std::fmt::Debug for PostgresBook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PostgresBook").field("asset", &self.asset).finish_non_exhaustive()
    }
}

impl PostgresBook {
    /// Opens the book of the database at `url`, or makes it for this asset.
    ///
    /// # Errors
    /// If the server refuses, or its book is of another asset.
    pub(super) fn open(url: &str, asset: &str) -> Result<Self, LedgerError> {
        let mut client = Client::connect(url, NoTls).refused()?;
        client.batch_execute(SCHEMA).refused()?;
        let book = Self { client: Mutex::new(client), asset: asset.to_owned() };
        book.write(|change| match change.head.count {
            0 => change.append(&Event::Opened { asset: asset.to_owned() }),
            _ => match event_of(&change.record(0)?)? {
                Event::Opened { asset: expected } if expected == asset => Ok(()),
                Event::Opened { asset: expected } => {
                    Err(LedgerError::Asset { expected, found: asset.to_owned() })
                }
                _ => Err(LedgerError::Event { event: 0, entry: 0 }),
            },
        })?;
        Ok(book)
    }

    fn client(&self) -> MutexGuard<'_, Client> {
        self.client.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a change in one transaction that no other writer overlaps.
    fn write<T>(
        &self,
        act: impl FnOnce(&mut Change<'_>) -> Result<T, LedgerError>,
    ) -> Result<T, LedgerError> {
        let mut client = self.client();
        let mut change = Change::begin(client.transaction().refused()?)?;
        let value = act(&mut change)?;
        change.commit()?;
        Ok(value)
    }
}

impl Book for PostgresBook {
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
        self.write(|change| {
            let mut booked = Booked::default();
            for due in dues {
                match change.booked(&due.receipt)? {
                    Some((event, _)) => {
                        require_same(due, &change.due(event)?)?;
                        booked.replayed += 1;
                    }
                    None => {
                        change.book(due)?;
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
            let posted = self.write(|change| change.settle(now_s))?;
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
        self.write(|change| {
            let booked = change.booked(&receipt)?;
            let (entry, resolution) = booked.ok_or(LedgerError::Unknown { receipt })?;
            let reason = found;
            match resolution {
                Resolution::Pending => {
                    change.void(entry, &reason)?;
                    Ok(Voided::Pending)
                }
                Resolution::Posted { .. } => {
                    change.correct(entry, &reason)?;
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
        let number = last.map_or(0, |last| last.epoch.number + 1);
        self.boundary()?.require(number, range)?;
        let asset = self.asset.clone();
        self.write(|change| {
            let (earnings, liability) = (change.snapshot(number)?, change.liability()?);
            let tree = EarningsTree::new(&earnings, secret)?;
            let total = tree.total();
            if total != liability {
                return Err(LedgerError::Imbalance { total, liability });
            }
            let journal = secret.commit_journal(&change.head.link);
            let (LogRange { begin, end }, count, root) = (range, tree.count(), tree.root());
            let epoch = Epoch { number, begin, end, time_s, asset, count, total, root, journal };
            change.close(&epoch, secret)?;
            Ok(epoch)
        })
    }

    fn claim(&mut self, epoch: u64, account: &Account) -> Result<u128, LedgerError> {
        if *account == Account::Feedback {
            return Err(LedgerError::PoolClaimed);
        }
        self.write(|change| change.claim(epoch, account))
    }

    fn pay_feedback(&mut self, terms: &FeedbackTerms) -> Result<PaidOut, LedgerError> {
        terms.require_sound(&self.asset)?;
        self.write(|change| {
            let last = change.last_payout()?;
            if terms.follow(last.as_ref().map(|last| &last.payout))? {
                return last.ok_or(LedgerError::Overflow);
            }
            let payout = terms.payout(change.pool()?)?;
            change.pay_out(payout)
        })
    }

    fn payouts(&self, from: u64) -> Result<Vec<PaidOut>, LedgerError> {
        let query = "SELECT event, taken_back, record FROM tally_ledger.payouts \
                     JOIN tally_ledger.events ON number = event WHERE event >= $1 \
                     ORDER BY event LIMIT $2";
        let limit = signed(PAYOUTS_LEN_MAX as u64);
        let rows = self.client().query(query, &[&signed(from), &limit]).refused()?;
        rows.iter().map(paid_out).collect()
    }

    fn payout_begin(&self) -> Result<u64, LedgerError> {
        let last = self.client().query_opt(change::LAST_PAYOUT, &[]).refused()?;
        last.map_or(Ok(0), |row| Ok(paid_out(&row)?.payout.range.end))
    }

    fn balance(&self, account: &BookAccount) -> Result<Balance, LedgerError> {
        let query = "SELECT debits_pending::text, debits_posted::text, credits_pending::text, \
                     credits_posted::text, account FROM tally_ledger.accounts WHERE account = $1";
        let row = self.client().query_opt(query, &[&account.encode()]).refused()?;
        row.map_or(Ok(Balance::default()), |row| balance(&row))
    }

    fn each_balance(&self, visit: &mut dyn FnMut(BookAccount, Balance)) -> Result<(), LedgerError> {
        let query = "SELECT debits_pending::text, debits_posted::text, credits_pending::text, \
                     credits_posted::text, account FROM tally_ledger.accounts ORDER BY account";
        for row in self.client().query(query, &[]).refused()? {
            visit(BookAccount::parse(row.get(4))?, balance(&row)?);
        }
        Ok(())
    }

    fn entry(&self, receipt: &Digest) -> Result<Option<Entry>, LedgerError> {
        let query = "SELECT event, posted, resolved, reason, record FROM tally_ledger.receipts \
                     JOIN tally_ledger.events ON number = event WHERE receipt = $1";
        let row = self.client().query_opt(query, &[&receipt.as_bytes().as_slice()]).refused()?;
        row.map(|row| entry(&row)).transpose()
    }

    fn entries(&self, from: u64) -> Result<Vec<Entry>, LedgerError> {
        let query = "SELECT event, posted, resolved, reason, record FROM tally_ledger.receipts \
                     JOIN tally_ledger.events ON number = event WHERE log_index >= $1 \
                     ORDER BY log_index LIMIT $2";
        let limit = signed(ENTRIES_LEN_MAX as u64);
        self.client().query(query, &[&signed(from), &limit]).refused()?.iter().map(entry).collect()
    }

    fn transfers(&self, receipt: &Digest) -> Result<Vec<Transfer>, LedgerError> {
        let query = "SELECT id, debit, credit, amount::text, phase, resolves \
                     FROM tally_ledger.transfers WHERE receipt = $1 ORDER BY phase, ordinal";
        let rows = self.client().query(query, &[&receipt.as_bytes().as_slice()]).refused()?;
        rows.iter().map(transfer).collect()
    }

    fn receipt_of(&self, id: &TransferId) -> Result<Option<Digest>, LedgerError> {
        let query = "SELECT receipt FROM tally_ledger.transfers WHERE id = $1 AND phase = 0";
        let row = self.client().query_opt(query, &[&id.as_bytes().as_slice()]).refused()?;
        row.map(|row| digest(row.get(0))).transpose()
    }

    fn epoch(&self, number: u64) -> Result<Option<ClosedEpoch>, LedgerError> {
        let query = "SELECT event, record FROM tally_ledger.epochs \
                     JOIN tally_ledger.events ON number = event WHERE epoch = $1";
        let row = self.client().query_opt(query, &[&signed(number)]).refused()?;
        row.map(|row| closed(&row)).transpose()
    }

    fn last_epoch(&self) -> Result<Option<ClosedEpoch>, LedgerError> {
        let query = "SELECT event, record FROM tally_ledger.epochs \
                     JOIN tally_ledger.events ON number = event ORDER BY epoch DESC LIMIT 1";
        let row = self.client().query_opt(query, &[]).refused()?;
        row.map(|row| closed(&row)).transpose()
    }

    fn earnings(&self, epoch: u64) -> Result<Earnings, LedgerError> {
        if self.epoch(epoch)?.is_none() {
            return Err(LedgerError::NoEpoch { number: epoch });
        }
        let query = "SELECT account, amount::text FROM tally_ledger.earnings WHERE epoch = $1";
        change::earnings(&self.client().query(query, &[&signed(epoch)]).refused()?)
    }

    fn boundary(&self) -> Result<Boundary, LedgerError> {
        let query = "SELECT posted_end, (SELECT min(log_index) FROM tally_ledger.receipts \
                     WHERE posted = 0 AND resolved = 0) FROM tally_ledger.head";
        let row = self.client().query_one(query, &[]).refused()?;
        let (posted_end, pending): (i64, Option<i64>) = (row.get(0), row.get(1));
        let begin = self.last_epoch()?.map_or(0, |last| last.epoch.end);
        Ok(Boundary::new(begin, posted_end.cast_unsigned(), pending.map(i64::cast_unsigned)))
    }

    fn head(&self) -> Result<Head, LedgerError> {
        let row =
            self.client().query_one("SELECT count, link FROM tally_ledger.head", &[]).refused()?;
        Ok(Head { count: row.get::<_, i64>(0).cast_unsigned(), link: digest(row.get(1))? })
    }
}

/// What the client refuses, as the book's error.
trait Refused<T> {
    fn refused(self) -> Result<T, LedgerError>;
}

impl<T> Refused<T> for Result<T, postgres::Error> {
    fn refused(self) -> Result<T, LedgerError> {
        self.map_err(|error| LedgerError::Store(Box::new(error)))
    }
}

/// The error of a row of another form than this version writes.
fn malformed(what: &'static str) -> LedgerError {
    LedgerError::Store(format!("the book in PostgreSQL holds a malformed {what}").into())
}

/// Numbers of the book are far below 2⁶³; a limit of a search may be above.
fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn digest(bytes: &[u8]) -> Result<Digest, LedgerError> {
    Digest::from_slice(bytes).ok_or(malformed("digest"))
}

fn amount(text: &str) -> Result<u128, LedgerError> {
    text.parse().map_err(|_| malformed("amount"))
}

fn transfer_id(bytes: &[u8]) -> Result<TransferId, LedgerError> {
    let bytes = bytes.try_into().map_err(|_| malformed("transfer id"))?;
    Ok(TransferId::from_bytes(bytes))
}

/// The four sums, from the first four columns.
fn balance(row: &Row) -> Result<Balance, LedgerError> {
    Ok(Balance {
        debits_pending: amount(row.get(0))?,
        debits_posted: amount(row.get(1))?,
        credits_pending: amount(row.get(2))?,
        credits_posted: amount(row.get(3))?,
    })
}

/// From event, posted, resolved, reason and record.
fn entry(row: &Row) -> Result<Entry, LedgerError> {
    let event = row.get::<_, i64>(0).cast_unsigned();
    let Event::Booked(due) = event_of(row.get(4))? else {
        return Err(LedgerError::Event { event, entry: event });
    };
    Ok(Entry { due, event, resolution: resolution(row)? })
}

/// From the columns after the first: posted, resolved, reason.
fn resolution(row: &Row) -> Result<Resolution, LedgerError> {
    let [posted, event] = [1, 2].map(|column| row.get::<_, i64>(column).cast_unsigned());
    if event == 0 {
        return Ok(if posted == 0 {
            Resolution::Pending
        } else {
            Resolution::Posted { event: posted }
        });
    }
    let reason = digest(row.get(3))?;
    Ok(match posted {
        0 => Resolution::Voided { event, reason },
        _ => Resolution::Corrected { posted, event, reason },
    })
}

/// From id, debit, credit, amount, phase and the transfer that it resolves.
fn transfer(row: &Row) -> Result<Transfer, LedgerError> {
    let resolves = row.get::<_, Option<&[u8]>>(5).map(transfer_id).transpose()?;
    let phase = match (row.get::<_, i16>(4), resolves) {
        (0, None) => Phase::Pending,
        (1, Some(id)) => Phase::Post(id),
        (2, Some(id)) => Phase::Void(id),
        (3, Some(id)) => Phase::Correct(id),
        _ => return Err(malformed("phase")),
    };
    Ok(Transfer {
        id: transfer_id(row.get(0))?,
        debit: BookAccount::parse(row.get(1))?,
        credit: BookAccount::parse(row.get(2))?,
        amount: amount(row.get(3))?,
        phase,
    })
}

/// From event, the event that took it back and record.
fn paid_out(row: &Row) -> Result<PaidOut, LedgerError> {
    let [event, taken_back] = [0, 1].map(|column| row.get::<_, i64>(column).cast_unsigned());
    let taken_back = Some(taken_back).filter(|taken_back| *taken_back > 0);
    match event_of(row.get(2))? {
        Event::PaidOut(payout) => Ok(PaidOut { event, payout, taken_back }),
        _ => Err(LedgerError::Event { event, entry: event }),
    }
}

/// From event and record.
fn closed(row: &Row) -> Result<ClosedEpoch, LedgerError> {
    let event = row.get::<_, i64>(0).cast_unsigned();
    match event_of(row.get(1))? {
        Event::Closed { epoch, secret } => Ok(ClosedEpoch { epoch, secret, event }),
        _ => Err(LedgerError::Event { event, entry: event }),
    }
}
