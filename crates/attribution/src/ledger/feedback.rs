//! Paying the pool of feedback out to raters.
//!
//! Who has which weight follows from what stands in the log ([`crate::feedback`]); a book holds the
//! pool, divides it by the rule of `core`, and never pays more than is there. Payouts cover ranges of
//! the log that follow one another. A correction that takes from the pool what it no longer has takes
//! back the newest payouts, whole: what they covered is paid again by the next one.

use tally_core::Digest;
use tally_core::account::{Account, decode_amount, encode_amount};
use tally_core::attribution::SplitPolicy;
use tally_core::cbor::{Cbor, CborError, Decoder, Encoder};
use tally_core::feedback::payout::{Weight, divide};
use tally_core::split::{AMOUNT_MAX, Offset};

use super::{LedgerError, LogRange};

/// Most raters of one payout; whoever has more to pay ends its range earlier.
pub const RATERS_LEN_MAX: usize = 16_384;
/// Most payouts that one call of [`Book::payouts`](super::Book::payouts) yields.
pub const PAYOUTS_LEN_MAX: usize = 64;
/// Most bytes of an encoded split policy.
const POLICY_BYTES_MAX: u64 = 1_024;

/// What a payout is to be for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeedbackTerms {
    /// Log indices whose uses it is for; it begins where the last payout that stands ended.
    pub range: LogRange,
    /// The split policy that holds: whose cap, and of whose asset.
    pub policy: SplitPolicy,
    /// Digest of the uses that it is for.
    pub uses: Digest,
    /// What each rater brings, in strictly increasing order of rater and account.
    pub weights: Vec<Weight>,
}

/// What was paid out of the pool at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payout {
    /// Log indices whose uses it is for.
    pub range: LogRange,
    /// The split policy that held.
    pub policy: SplitPolicy,
    /// Digest of the uses that it is for.
    pub uses: Digest,
    /// What was divided.
    pub pool: u128,
    /// What each account got, in the accounts' order; what the cap left is still in the pool.
    pub payments: Vec<(Account, u128)>,
}

/// A payout as the book has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PaidOut {
    /// Number of the event that paid it.
    pub event: u64,
    /// What was paid.
    pub payout: Payout,
    /// Number of the event that took it back, if one did.
    pub taken_back: Option<u64>,
}

impl FeedbackTerms {
    /// Refuses what no payout of a book can be for, whatever is in its pool.
    ///
    /// # Errors
    /// Another asset than the book's, an empty range, too many raters or raters out of order, the pool
    /// as a payee.
    pub fn require_sound(&self, asset: &str) -> Result<(), LedgerError> {
        if self.policy.asset != asset {
            let (expected, found) = (asset.to_owned(), self.policy.asset.clone());
            return Err(LedgerError::Asset { expected, found });
        }
        let LogRange { begin, end } = self.range;
        if end <= begin {
            return Err(LedgerError::PayoutRange { expected: begin, begin, end });
        }
        let found = self.weights.len();
        let is_ordered =
            self.weights.is_sorted_by(|a, b| (a.rater, a.account) < (b.rater, b.account));
        let is_paid = |it: &Weight| it.account != Account::Feedback;
        if found > RATERS_LEN_MAX || !is_ordered || !self.weights.iter().all(is_paid) {
            return Err(LedgerError::Raters { found });
        }
        Ok(())
    }

    /// The payout of a pool that holds this much.
    ///
    /// # Errors
    /// If nobody gets anything, or the weights are above the limits of a split.
    pub fn payout(&self, pool: u128) -> Result<Payout, LedgerError> {
        let pool = pool.min(AMOUNT_MAX);
        let Self { range, policy, uses, weights } = self;
        if pool == 0 || weights.iter().all(|it| it.weight == 0) {
            return Err(LedgerError::NothingToPay { pool });
        }
        let offset = Offset::of_payout(range.begin, &policy.digest(), uses);
        let paid = divide(pool, weights, policy.feedback_cap_bps, offset)?;
        if paid.is_empty() {
            return Err(LedgerError::NothingToPay { pool });
        }
        let (range, policy, uses) = (*range, policy.clone(), *uses);
        Ok(Payout { range, policy, uses, pool, payments: paid.into_iter().collect() })
    }

    /// Refuses a range that does not begin where the last payout that stands ended; whether these are
    /// the terms of that payout itself, so that there is nothing to do.
    ///
    /// # Errors
    /// [`LedgerError::PayoutRange`].
    pub fn follow(&self, last: Option<&Payout>) -> Result<bool, LedgerError> {
        let expected = last.map_or(0, |last| last.range.end);
        let LogRange { begin, end } = self.range;
        if begin == expected {
            return Ok(false);
        }
        match last {
            Some(last) if self.payout(last.pool).ok().as_ref() == Some(last) => Ok(true),
            _ => Err(LedgerError::PayoutRange { expected, begin, end }),
        }
    }
}

impl Payout {
    /// What all accounts got together: never more than the pool.
    #[must_use]
    pub fn total(&self) -> u128 {
        self.payments.iter().fold(0, |sum, (_, amount)| sum.saturating_add(*amount))
    }
}

impl Cbor for Payout {
    fn encode_into(&self, encoder: &mut Encoder) {
        encoder.array(6).uint(self.range.begin).uint(self.range.end);
        encoder.bytes(&self.policy.encode()).bytes(self.uses.as_bytes());
        encode_amount(encoder, self.pool);
        encoder.array(self.payments.len());
        for (account, amount) in &self.payments {
            account.encode_into(encoder.array(2));
            encode_amount(encoder, *amount);
        }
    }

    fn decode_from(decoder: &mut Decoder<'_>) -> Result<Self, CborError> {
        decoder.array_exact("payout", 6)?;
        let range = LogRange { begin: decoder.uint()?, end: decoder.uint()? };
        let policy = SplitPolicy::parse(decoder.bytes("split policy", POLICY_BYTES_MAX)?)?;
        let uses = decoder.digest("digest of uses")?;
        let pool = decode_amount(decoder, "pool")?;
        let count = decoder.array("payments", RATERS_LEN_MAX as u64)?;
        let payments = (0..count).map(|_| decode_payment(decoder)).collect::<Result<_, _>>()?;
        Ok(Self { range, policy, uses, pool, payments })
    }
}

fn decode_payment(decoder: &mut Decoder<'_>) -> Result<(Account, u128), CborError> {
    decoder.array_exact("payment", 2)?;
    Ok((Account::decode_from(decoder)?, decode_amount(decoder, "payment")?))
}
