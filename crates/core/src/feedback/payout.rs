//! How a pool is paid out to raters: by additive weights, rounded without bias, capped for each account.
//!
//! A weight is how many ratings of distinct receipts were used, times how often the rater's answers to
//! gold questions were right. Only the cap is not additive, so it pays for splitting names; it is there
//! so that one account cannot have the pool, and gold questions and use stand against many names.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use crate::account::Account;
use crate::contribution::BPS_WHOLE;
use crate::split::{Offset, SplitError, split};

/// What one rater brings to a payout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Weight {
    /// The rater's key.
    pub rater: [u8; 32],
    /// Who gets what it earns.
    pub account: Account,
    /// How many of its ratings count, times [`gold_bps`].
    pub weight: u64,
}

/// How often gold questions were answered right, in basis points, rounded down; 0 where none was answered.
#[must_use]
pub fn gold_bps(right: u32, answered: u32) -> u64 {
    let right = u64::from(right).saturating_mul(BPS_WHOLE.into());
    right.checked_div(answered.into()).unwrap_or(0)
}

/// What one account may get of a pool, in the amount's own unit, rounded down.
#[must_use]
pub fn cap(pool: u128, cap_bps: u16) -> u128 {
    // A pool is below 2⁹⁵ and basis points below 2¹⁶.
    let product = pool.saturating_mul(cap_bps.into());
    product.checked_div(BPS_WHOLE.into()).unwrap_or(0)
}

/// What each account gets of a pool, accounts without anything left out; the rest stays in the pool.
///
/// The weights stand in the order of raters and accounts. What an account gets under several raters is
/// capped together.
///
/// # Errors
/// A pool or a sum of weights above the limits of a split, and weights that are all zero.
pub fn divide(
    pool: u128,
    weights: &[Weight],
    cap_bps: u16,
    offset: Offset,
) -> Result<BTreeMap<Account, u128>, SplitError> {
    let parts: Vec<u64> = weights.iter().map(|it| it.weight).collect();
    let mut paid: BTreeMap<Account, u128> = BTreeMap::new();
    for (rater, share) in weights.iter().zip(split(pool, &parts, offset)?) {
        let sum = paid.entry(rater.account).or_insert(0);
        // All shares add up to the pool.
        *sum = sum.saturating_add(share);
    }
    let limit = cap(pool, cap_bps);
    paid.values_mut().for_each(|amount| *amount = limit.min(*amount));
    paid.retain(|_, amount| *amount > 0);
    Ok(paid)
}
