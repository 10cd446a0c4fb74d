//! The ledger: what receipts charge, whom it is owed to, and what was paid out.
//!
//! Accounts and transfers are those of double-entry bookkeeping as TigerBeetle has it: a transfer
//! has one debit and one credit account, is never changed, and is pending until it is posted or
//! voided by a further transfer. All transfers of a receipt stand or fall together. A [`Book`] keeps
//! them; [`EmbeddedBook`] in one file; others can be made of the parts that stand here. How a
//! receipt's amount is divided is not decided here, and no money moves: a claim says that somebody
//! else paid. Amounts are whole billionths of the book's one asset. `spec/attribution.md`, Ledger.

use tally_core::Digest;
use tally_core::account::{Account, TransferId};
use tally_core::sum_tree::{Epoch, EpochSecret};

mod audit;
mod balance;
mod due;
mod earnings;
mod embedded;
mod error;
mod event;
mod feedback;
mod owed;

pub use audit::{Audit, LISTED_MAX, Listed, Opening, TermsOf, audit};
pub use balance::{Balance, BookAccount, Totals, encode_balances, totals};
pub use due::{Due, Entry, Phase, Resolution, SHARES_MAX, Share, TIME_S_MAX, Transfer};
pub use earnings::{Earnings, EarningsTree, state_earnings};
pub use embedded::{EmbeddedBook, require_same};
pub use error::LedgerError;
pub use event::{Event, Head, event_of};
pub use feedback::{FeedbackTerms, PAYOUTS_LEN_MAX, PaidOut, Payout, RATERS_LEN_MAX};
pub use owed::{BASIS_RESIDUAL, Owed, OwedError};
pub use tally_core::attribution::CHALLENGE_S_MAX;

/// Most entries that one call of [`Book::entries`] yields: a page, not a book.
pub const ENTRIES_LEN_MAX: usize = 4_096;
/// Most receipts that one posting event names; a settlement of more makes several.
pub const POSTING_LEN_MAX: usize = 8_192;

/// One asset's book: an append-only journal of events, and the balances that follow from it.
///
/// When a method that changes the book returns `Ok`, the change is durable and whole; when it
/// returns an error, nothing of it happened, except for [`settle`](Self::settle), which says so.
/// Changes are made one after another, and a read sees all of those that returned before it. To ask
/// for a change that was made already is no fault and changes nothing.
pub trait Book {
    /// The asset that all amounts are of.
    fn asset(&self) -> &str;

    /// Books receipts: a pending transfer for each share. All of the dues are booked, or none.
    ///
    /// # Errors
    /// An unsound due ([`Due`] says when it is sound), another asset, a receipt that is booked with
    /// other contents, a log index or a transfer's id that another receipt has.
    fn book(&mut self, dues: &[Due]) -> Result<Booked, LedgerError>;

    /// Posts, in the log's order, the receipts whose challenge window is closed at `now_s` seconds
    /// since 1970-01-01T00:00:00Z, up to the first pending one whose window is open.
    ///
    /// In the log's order, so that what is posted is a beginning of the log, which an epoch can
    /// cover. If it fails on the way, the receipts posted so far stay posted.
    ///
    /// # Errors
    /// If the book cannot be read or written.
    fn settle(&mut self, now_s: u64) -> Result<Settled, LedgerError>;

    /// Takes a disproved receipt back, for a reason given by digest: by voiding transfers while it is
    /// pending, by opposite transfers once it is posted. The receipt and its transfers stay.
    ///
    /// # Errors
    /// A receipt that is not booked, or that was taken back for another reason.
    fn void(&mut self, receipt: &Digest, reason: &Digest) -> Result<Voided, LedgerError>;

    /// Closes the next epoch: log indices from `begin` on, before `end`.
    ///
    /// Its earnings are what stands posted: of all receipts before `end`, without those taken back.
    ///
    /// # Errors
    /// A range that does not begin where the last epoch ended or is empty, a receipt before `end`
    /// that is pending, a posted one after it.
    fn close_epoch(
        &mut self,
        range: LogRange,
        time_s: u64,
        secret: &EpochSecret,
    ) -> Result<Epoch, LedgerError>;

    /// Books that an account was paid what an epoch says it has earned, less what it was paid before
    /// and never more than it has earned by now; yields the amount of this epoch's claim, which is
    /// booked once.
    ///
    /// # Errors
    /// An epoch that is not closed, and the pool of feedback, which only
    /// [`pay_feedback`](Self::pay_feedback) pays.
    fn claim(&mut self, epoch: u64, account: &Account) -> Result<u128, LedgerError>;

    /// Pays the pool of feedback out: divides all that it holds by the weights, caps what an account
    /// gets, and leaves the rest in the pool. To ask for the last payout again yields that one.
    ///
    /// # Errors
    /// Terms that no payout can have, a range that does not begin where the last payout that stands
    /// ended, and a pool or weights of which nobody gets anything.
    fn pay_feedback(&mut self, terms: &FeedbackTerms) -> Result<PaidOut, LedgerError>;

    /// The first payouts whose event is number `from` or later, in their order,
    /// [`PAYOUTS_LEN_MAX`] at most; those that were taken back are among them.
    ///
    /// # Errors
    /// If the book cannot be read.
    fn payouts(&self, from: u64) -> Result<Vec<PaidOut>, LedgerError>;

    /// Where the next payout begins: where the last one that stands ended.
    ///
    /// # Errors
    /// If the book cannot be read.
    fn payout_begin(&self) -> Result<u64, LedgerError>;

    /// The balance of one account; zero for one that was never booked to.
    ///
    /// # Errors
    /// If the book cannot be read.
    fn balance(&self, account: &BookAccount) -> Result<Balance, LedgerError>;

    /// Every account that was ever booked to, in order.
    ///
    /// # Errors
    /// If the book cannot be read.
    fn each_balance(&self, visit: &mut dyn FnMut(BookAccount, Balance)) -> Result<(), LedgerError>;

    /// What is booked of a receipt.
    ///
    /// # Errors
    /// If the book cannot be read.
    fn entry(&self, receipt: &Digest) -> Result<Option<Entry>, LedgerError>;

    /// The first entries whose log index is `from` or more, in the log's order, [`ENTRIES_LEN_MAX`]
    /// at most.
    ///
    /// # Errors
    /// If the book cannot be read.
    fn entries(&self, from: u64) -> Result<Vec<Entry>, LedgerError>;

    /// All transfers of a receipt: the pending ones in its own order, then what resolved them.
    ///
    /// # Errors
    /// If the book cannot be read.
    fn transfers(&self, receipt: &Digest) -> Result<Vec<Transfer>, LedgerError>;

    /// The one receipt that a pending transfer belongs to.
    ///
    /// # Errors
    /// If the book cannot be read.
    fn receipt_of(&self, id: &TransferId) -> Result<Option<Digest>, LedgerError>;

    /// A closed epoch.
    ///
    /// # Errors
    /// If the book cannot be read.
    fn epoch(&self, number: u64) -> Result<Option<ClosedEpoch>, LedgerError>;

    /// The epoch closed last.
    ///
    /// # Errors
    /// If the book cannot be read.
    fn last_epoch(&self) -> Result<Option<ClosedEpoch>, LedgerError>;

    /// What every account had earned when an epoch was closed; accounts without earnings are absent.
    ///
    /// # Errors
    /// An epoch that is not closed.
    fn earnings(&self, epoch: u64) -> Result<Earnings, LedgerError>;

    /// The ends at which the next epoch can be closed now.
    ///
    /// # Errors
    /// If the book cannot be read.
    fn boundary(&self) -> Result<Boundary, LedgerError>;

    /// How many events the journal has, and its newest link.
    ///
    /// # Errors
    /// If the book cannot be read.
    fn head(&self) -> Result<Head, LedgerError>;
}

/// What became of dues.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Booked {
    /// Receipts booked by this call.
    pub count: u64,
    /// Receipts that stood in the book already, with the same contents.
    pub replayed: u64,
}

/// What a settlement posted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Settled {
    /// Receipts.
    pub count: u64,
    /// What they charge together.
    pub amount: u128,
}

/// How a receipt was taken back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Voided {
    /// It was pending: voiding transfers released it.
    Pending,
    /// It was posted: opposite transfers correct it.
    Posted,
    /// It was taken back before, for the same reason.
    Replayed,
}

/// Log indices from `begin` on, before `end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogRange {
    /// The first.
    pub begin: u64,
    /// The one after the last.
    pub end: u64,
}

/// The ends at which the next epoch can be closed: from `first` to `last`, none if `last` is less.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Boundary {
    /// Where the next epoch begins.
    pub begin: u64,
    /// The least end: behind everything that is posted.
    pub first: u64,
    /// The greatest end: the first pending receipt, or none at all.
    pub last: u64,
}

/// A closed epoch as the book has it; the secret is for the operator and its auditors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClosedEpoch {
    /// The public record.
    pub epoch: Epoch,
    /// From which its salts come.
    pub secret: EpochSecret,
    /// Number of the event that closed it.
    pub event: u64,
}
