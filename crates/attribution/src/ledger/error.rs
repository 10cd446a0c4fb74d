//! Why a book refuses.

use tally_core::Digest;
use tally_core::account::{Account, TransferId};
use tally_core::cbor::CborError;
use tally_core::split::{AMOUNT_MAX, SplitError};
use tally_core::sum_tree::SumTreeError;
use thiserror::Error;

use super::RATERS_LEN_MAX;

/// Why a book refuses, or cannot be read.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum LedgerError {
    /// Something of a due is above its limit.
    #[error("{what} of receipt {receipt} is {found}, the limit is {limit}")]
    Limit {
        /// The receipt.
        receipt: Digest,
        /// What was measured.
        what: &'static str,
        /// The largest legal value.
        limit: u64,
        /// The value found.
        found: u64,
    },
    /// The amount is above [`AMOUNT_MAX`].
    #[error("receipt {receipt} charges {found}, the limit is {AMOUNT_MAX}")]
    Amount {
        /// The receipt.
        receipt: Digest,
        /// The amount.
        found: u128,
    },
    /// The shares do not add up to the amount.
    #[error("receipt {receipt} charges {amount}, its shares add up to {}", sum_in_words(*sum))]
    Shares {
        /// The receipt.
        receipt: Digest,
        /// What it charges.
        amount: u128,
        /// What its shares add up to, if 128 bits hold it.
        sum: Option<u128>,
    },
    /// A due names one transfer twice.
    #[error("receipt {receipt} names transfer {id} twice")]
    TransferTwice {
        /// The receipt.
        receipt: Digest,
        /// The transfer.
        id: TransferId,
    },
    /// The book is of another asset.
    #[error("asset is `{found}`, the book is of `{expected}`")]
    Asset {
        /// The book's asset.
        expected: String,
        /// The other.
        found: String,
    },
    /// The receipt is booked with other contents.
    #[error("receipt {receipt} is booked with contents {booked}, not {found}")]
    Conflict {
        /// The receipt.
        receipt: Digest,
        /// Digest of what is booked.
        booked: Digest,
        /// Digest of what was to be booked.
        found: Digest,
    },
    /// Two receipts claim one log entry.
    #[error("log index {log_index} of receipt {receipt} is that of receipt {booked}")]
    LogIndex {
        /// The index.
        log_index: u64,
        /// The receipt that has it.
        booked: Digest,
        /// The receipt that claims it.
        receipt: Digest,
    },
    /// Two receipts claim one transfer's name.
    #[error("transfer {id} of receipt {receipt} is one of receipt {booked}")]
    Transfer {
        /// The name.
        id: TransferId,
        /// The receipt that has it.
        booked: Digest,
        /// The receipt that claims it.
        receipt: Digest,
    },
    /// The receipt is not booked.
    #[error("receipt {receipt} is not booked")]
    Unknown {
        /// The receipt.
        receipt: Digest,
    },
    /// The receipt was taken back for another reason.
    #[error("receipt {receipt} was taken back for reason {reason}, not {found}")]
    Voided {
        /// The receipt.
        receipt: Digest,
        /// Digest of the reason that stands.
        reason: Digest,
        /// Digest of the other.
        found: Digest,
    },
    /// The epoch does not begin where the last one ended, or is empty.
    #[error("epoch {number} covers log indices {begin} to {end}, expected to begin at {expected}")]
    Range {
        /// The epoch.
        number: u64,
        /// Where the last one ended.
        expected: u64,
        /// Where this one is to begin.
        begin: u64,
        /// Where it is to end.
        end: u64,
    },
    /// A receipt that the epoch covers is pending.
    #[error("epoch ends at log index {end}, the receipt at {log_index} is pending")]
    Pending {
        /// The end.
        end: u64,
        /// The first pending receipt.
        log_index: u64,
    },
    /// A receipt behind the epoch is posted.
    #[error("epoch ends at log index {end}, receipts before {posted_end} are posted")]
    Posted {
        /// The end.
        end: u64,
        /// The index after the last posted receipt.
        posted_end: u64,
    },
    /// A time is above the limit that databases have.
    #[error("time is {found}, the limit is {limit}")]
    Time {
        /// The latest time.
        limit: u64,
        /// The time.
        found: u64,
    },
    /// The epoch is not closed.
    #[error("epoch {number} is not closed")]
    NoEpoch {
        /// The epoch.
        number: u64,
    },
    /// A payout of the pool does not begin where the one before ended, or covers nothing.
    #[error("payout covers log indices {begin} to {end}, expected to begin at {expected}")]
    PayoutRange {
        /// Where the last one that stands ended.
        expected: u64,
        /// Where this one is to begin.
        begin: u64,
        /// Where it is to end.
        end: u64,
    },
    /// The raters of a payout are too many, out of order, or to be paid into the pool itself.
    #[error(
        "{found} raters are not {RATERS_LEN_MAX} or fewer in the order of their keys, paid elsewhere than the pool"
    )]
    Raters {
        /// How many.
        found: usize,
    },
    /// Nobody would get anything of a payout.
    #[error("of the {pool} in the pool of feedback nobody gets anything")]
    NothingToPay {
        /// What is in the pool.
        pool: u128,
    },
    /// What is in the pool was to be claimed.
    #[error("the pool of feedback is paid out to raters and claimed by nobody")]
    PoolClaimed,
    /// The account has no leaf in the epoch's tree.
    #[error("account {account} has no earnings in epoch {number}")]
    NoEarnings {
        /// The account.
        account: Account,
        /// The epoch.
        number: u64,
    },
    /// More accounts than a sum tree has leaves.
    #[error("{found} accounts have earnings, the limit is {}", u32::MAX)]
    Accounts {
        /// How many.
        found: usize,
    },
    /// A sum does not fit 128 bits, or would fall below zero.
    #[error("a balance would leave the range of 128 bits")]
    Overflow,
    /// What all have earned is not what payers were charged: the file was changed by somebody else.
    #[error("earnings add up to {total}, payers were charged {liability}")]
    Imbalance {
        /// Sum of all earnings.
        total: u128,
        /// What payers were charged.
        liability: u128,
    },
    /// An event does not name the link before it: something was changed, removed or swapped.
    #[error("event {event} names {found} as the link before it, which is {expected}")]
    Chain {
        /// Number of the event.
        event: u64,
        /// The link before it.
        expected: Digest,
        /// The link that it names.
        found: Digest,
    },
    /// An event is missing.
    #[error("event {found} stands where event {expected} is expected")]
    Gap {
        /// The number expected.
        expected: u64,
        /// The number found.
        found: u64,
    },
    /// The journal does not end where the book says.
    #[error(
        "journal ends with {found_count} events at {found}, the book says {count} at {expected}"
    )]
    Head {
        /// How many events the book has seen.
        count: u64,
        /// Its newest link.
        expected: Digest,
        /// How many there are.
        found_count: u64,
        /// The link of the last.
        found: Digest,
    },
    /// An epoch's record does not commit to the journal before it.
    #[error("epoch {number} does not commit to the journal before event {event}")]
    EpochJournal {
        /// The epoch.
        number: u64,
        /// The event that closed it.
        event: u64,
    },
    /// An event refers to an entry that is not there, or is of a kind that cannot stand there.
    #[error("event {event} refers to event {entry}, which is no receipt in the right state")]
    Event {
        /// The event.
        event: u64,
        /// What it refers to.
        entry: u64,
    },
    /// The openings given to an audit are not in the log's order.
    #[error("opening of log index {found} comes after that of {previous}")]
    OpeningOrder {
        /// The one before.
        previous: u64,
        /// The one that comes too late.
        found: u64,
    },
    /// A record of the book is malformed.
    #[error(transparent)]
    Form(#[from] CborError),
    /// The sum tree cannot be made.
    #[error(transparent)]
    Tree(#[from] SumTreeError),
    /// The pool cannot be divided.
    #[error(transparent)]
    Split(#[from] SplitError),
    /// The embedded database refuses.
    #[error("the embedded book: {0}")]
    Embedded(#[source] Box<redb::Error>),
    /// A store that is not the embedded one refuses.
    #[error("the book's store: {0}")]
    Store(#[source] Box<dyn std::error::Error + Send + Sync>),
}

fn sum_in_words(sum: Option<u128>) -> String {
    sum.map_or_else(|| "more than 128 bits hold".to_owned(), |sum| sum.to_string())
}

macro_rules! from_redb {
    ($($error:ty),*) => {
        $(impl From<$error> for LedgerError {
            fn from(error: $error) -> Self {
                Self::Embedded(Box::new(error.into()))
            }
        })*
    };
}

from_redb!(
    redb::DatabaseError,
    redb::TransactionError,
    redb::TableError,
    redb::StorageError,
    redb::CommitError
);
