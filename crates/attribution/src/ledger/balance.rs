//! The book's accounts and their four sums.

use tally_core::account::Account;
use tally_core::cbor::{Cbor, CborError, Decoder};

use super::{Book, LedgerError};

/// An account of the book, in the book's order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum BookAccount {
    /// Those who were charged, as one.
    Payer,
    /// What somebody has earned.
    Earned(Account),
    /// What was paid out to somebody.
    Paid(Account),
}

impl BookAccount {
    /// One encoding each, in the accounts' order: 0, or 1 or 2 before an encoded account.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let (first, account) = match self {
            Self::Payer => return vec![0],
            Self::Earned(account) => (1, account),
            Self::Paid(account) => (2, account),
        };
        let mut bytes = vec![first];
        bytes.extend(account.encode());
        bytes
    }

    /// Reads what [`encode`](Self::encode) writes.
    ///
    /// # Errors
    /// Bytes that are no account.
    pub fn parse(bytes: &[u8]) -> Result<Self, CborError> {
        let unknown = |found: u64| CborError::Value {
            what: "account of the book",
            found: i64::try_from(found).unwrap_or(i64::MAX),
        };
        match bytes {
            [0] => Ok(Self::Payer),
            [1, account @ ..] => Account::parse(account).map(Self::Earned),
            [2, account @ ..] => Account::parse(account).map(Self::Paid),
            _ => Err(Decoder::new(bytes).uint().map_or_else(|error| error, unknown)),
        }
    }
}

/// An account's four sums, which only grow but for pending ones that are resolved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Balance {
    /// What pending transfers will take.
    pub debits_pending: u128,
    /// What posted transfers took.
    pub debits_posted: u128,
    /// What pending transfers will give.
    pub credits_pending: u128,
    /// What posted transfers gave.
    pub credits_posted: u128,
}

impl Balance {
    /// Size of an encoded balance.
    pub const SIZE_BYTES: usize = 64;

    /// The four sums in the order of the fields, 16 bytes each, big-endian.
    #[must_use]
    pub fn encode(&self) -> [u8; Self::SIZE_BYTES] {
        let mut bytes = [0; Self::SIZE_BYTES];
        for (place, sum) in bytes.chunks_exact_mut(16).zip(self.sums()) {
            place.copy_from_slice(&sum.to_be_bytes());
        }
        bytes
    }

    /// Reads what [`encode`](Self::encode) writes.
    #[must_use]
    pub fn parse(bytes: &[u8; Self::SIZE_BYTES]) -> Self {
        let (sums, _) = bytes.as_chunks::<16>();
        let mut sums = sums.iter().map(|sum| u128::from_be_bytes(*sum));
        let mut next = || sums.next().unwrap_or(0);
        Self {
            debits_pending: next(),
            debits_posted: next(),
            credits_pending: next(),
            credits_posted: next(),
        }
    }

    /// The four sums in the order of the fields.
    #[must_use]
    pub const fn sums(&self) -> [u128; 4] {
        [self.debits_pending, self.debits_posted, self.credits_pending, self.credits_posted]
    }
}

/// The sums over all accounts, and what they mean.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Every account added up.
    pub sum: Balance,
    /// What payers were charged and did not get back, posted: what all have earned. An epoch's total
    /// equals it when the epoch is closed.
    pub liability: u128,
    /// What was paid out.
    pub paid: u128,
    /// What payers are charged by receipts that are still pending.
    pub pending: u128,
    /// How many accounts there are.
    pub accounts: u64,
}

/// Adds all accounts up.
///
/// # Errors
/// If the book cannot be read, a sum does not fit 128 bits, or payers got back more than they paid.
pub fn totals(book: &dyn Book) -> Result<Totals, LedgerError> {
    let (mut totals, mut fits) = (Totals::default(), true);
    let mut add = |sum: &mut u128, more: u128| match sum.checked_add(more) {
        Some(added) => *sum = added,
        None => fits = false,
    };
    let mut payer = Balance::default();
    book.each_balance(&mut |account, balance| {
        add(&mut totals.sum.debits_pending, balance.debits_pending);
        add(&mut totals.sum.debits_posted, balance.debits_posted);
        add(&mut totals.sum.credits_pending, balance.credits_pending);
        add(&mut totals.sum.credits_posted, balance.credits_posted);
        totals.accounts += 1;
        match account {
            BookAccount::Payer => payer = balance,
            BookAccount::Paid(_) => add(&mut totals.paid, balance.credits_posted),
            BookAccount::Earned(_) => {}
        }
    })?;
    let liability = payer.debits_posted.checked_sub(payer.credits_posted);
    totals.liability = liability.filter(|_| fits).ok_or(LedgerError::Overflow)?;
    totals.pending = payer.debits_pending;
    Ok(totals)
}

/// All accounts and balances as bytes: two books in the same state yield the same.
///
/// # Errors
/// If the book cannot be read.
pub fn encode_balances(book: &dyn Book) -> Result<Vec<u8>, LedgerError> {
    let mut bytes = vec![];
    book.each_balance(&mut |account, balance| {
        bytes.extend(account.encode());
        bytes.extend(balance.encode());
    })?;
    Ok(bytes)
}
