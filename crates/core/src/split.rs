//! An amount divided among weights: nothing lost, nothing added, and no rounding that can be gamed.
//!
//! With C(i) the sum of the first i weights, W of all, and one offset u below W, share i is
//! ⌊(A·C(i) + u) / W⌋ − ⌊(A·C(i−1) + u) / W⌋. The sum telescopes to A. Each share is its exact value
//! rounded down or up, and its mean over all offsets *is* the exact value. Two neighbours get
//! together what one with both weights would get, so that dividing a name among several gains
//! nothing. To round the largest remainders up instead gives many small shares nothing and pays
//! those who split; to round without an offset pays those who stand at the right place.

use alloc::vec::Vec;

use thiserror::Error;

use crate::{Digest, tag};

/// Largest amount, in billionths of the asset's unit: with [`WEIGHT_MAX`] every product fits 128 bits.
pub const AMOUNT_MAX: u128 = (1 << 95) - 1;
/// Largest sum of weights.
pub const WEIGHT_MAX: u64 = (1 << 32) - 1;

/// Why an amount cannot be divided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SplitError {
    /// The amount is above [`AMOUNT_MAX`].
    #[error("amount is {found}, the limit is {AMOUNT_MAX}")]
    Amount {
        /// The amount.
        found: u128,
    },
    /// The weights' sum is above [`WEIGHT_MAX`].
    #[error("weights add up to more than {WEIGHT_MAX}")]
    Weights,
    /// There is no weight to divide by.
    #[error("weights add up to nothing")]
    NoWeight,
}

/// Where rounding begins: below the sum of weights, and known to nobody before the answer.
///
/// It is drawn from what was computed and from the policy, never from something that the split
/// itself can change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offset(Digest);

impl Offset {
    /// The offset of one stage of one answer's split.
    #[must_use]
    pub fn derive(computation: &Digest, policy: &Digest, stage: u32) -> Self {
        let parts: [&[u8]; 3] = [computation.as_bytes(), policy.as_bytes(), &stage.to_be_bytes()];
        Self(Digest::of_tagged(tag::SPLIT_OFFSET, &parts))
    }

    /// The offset of one payout of the feedback pool: of the log index at which its range begins, the
    /// split policy, and the uses that it is for; never of what is divided or among whom.
    #[must_use]
    pub fn of_payout(begin: u64, policy: &Digest, uses: &Digest) -> Self {
        let parts: [&[u8]; 3] = [&begin.to_be_bytes(), policy.as_bytes(), uses.as_bytes()];
        Self(Digest::of_tagged(tag::FEEDBACK_OFFSET, &parts))
    }

    /// The digest as a number, modulo the sum of weights.
    fn below(self, sum: u64) -> u64 {
        let step = |rest: u64, byte: &u8| -> u64 {
            // 2³² · 256 is far below 2⁶⁴.
            rest.wrapping_mul(256).wrapping_add(u64::from(*byte)).checked_rem(sum).unwrap_or(0)
        };
        self.0.as_bytes().iter().fold(0, step)
    }
}

/// Divides an amount among weights; the shares stand in the weights' order.
///
/// # Errors
/// An amount or a sum of weights above its limit, and weights that are all zero.
pub fn split(amount: u128, weights: &[u64], offset: Offset) -> Result<Vec<u128>, SplitError> {
    if amount > AMOUNT_MAX {
        return Err(SplitError::Amount { found: amount });
    }
    let sum = weights.iter().try_fold(0_u64, |sum, weight| sum.checked_add(*weight));
    let sum = sum.filter(|sum| *sum <= WEIGHT_MAX).ok_or(SplitError::Weights)?;
    if sum == 0 {
        return Err(SplitError::NoWeight);
    }
    Ok(divide(amount, weights, sum, offset.below(sum)))
}

/// Divides within the limits, with an offset below `sum`.
fn divide(amount: u128, weights: &[u64], sum: u64, offset: u64) -> Vec<u128> {
    let (mut reached, mut given) = (0_u128, 0_u128);
    let share = |weight: &u64| {
        reached = reached.wrapping_add(u128::from(*weight));
        // (2⁹⁵ − 1)(2³² − 1) + 2³² − 1 is below 2¹²⁸, and `sum` is not zero.
        let up_to = amount.wrapping_mul(reached).wrapping_add(u128::from(offset));
        let up_to = up_to.checked_div(u128::from(sum)).unwrap_or(0);
        let share = up_to.wrapping_sub(given);
        given = up_to;
        share
    };
    weights.iter().map(share).collect()
}

#[cfg(test)]
#[expect(
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::integer_division,
    reason = "a test counts small numbers"
)]
mod tests {
    use std::vec;

    use super::*;
    use crate::philox::block;

    fn offset(number: u32) -> Offset {
        Offset::derive(&Digest::of_content(b"computation"), &Digest::of_content(b"policy"), number)
    }

    /// Numbers that look random and are the same everywhere.
    struct Draw(u32);

    impl Draw {
        fn words(&mut self) -> [u32; 4] {
            self.0 += 1;
            block([self.0, 0, 0, 0], [7, 11])
        }

        fn below(&mut self, limit: u32) -> u32 {
            self.words()[0] % limit
        }

        fn amount(&mut self) -> u128 {
            let [a, b, c, bits] = self.words();
            let wide = u128::from(a) << 64 | u128::from(b) << 32 | u128::from(c);
            // All sizes, from nothing to the limit.
            (wide & AMOUNT_MAX) >> (bits % 96)
        }
    }

    #[test]
    fn shares_add_up_and_each_is_its_exact_value_rounded() {
        let mut draw = Draw(0);
        let mut cases = 0;
        for case in 0..10_000 {
            let count = 1 + draw.below(20);
            let mut weights: Vec<u64> =
                (0..count).map(|_| u64::from(draw.below(1 << (1 + count % 24)))).collect();
            weights.push(1);
            let amount = draw.amount();
            let shares = split(amount, &weights, offset(case)).unwrap();
            assert_eq!(shares.iter().sum::<u128>(), amount);
            let sum = u128::from(weights.iter().sum::<u64>());
            for (share, weight) in shares.iter().zip(&weights) {
                let exact = amount * u128::from(*weight);
                let is_rounded = *share == exact / sum || *share == exact.div_ceil(sum);
                assert!(is_rounded, "{share} of {amount} for {weight} of {sum}");
            }
            cases += 1;
        }
        std::println!("{cases} cases");
    }

    #[test]
    fn a_million_splits_of_all_sizes_lose_nothing_and_add_nothing() {
        let mut draw = Draw(1 << 24);
        let mut cases = 0;
        for case in 0..1_000_000_u32 {
            let [a, b, c, sizes] = draw.words();
            let weights = [a, b, c].map(|weight| u64::from(weight >> (2 + sizes % 30)));
            let amount = match case % 1_000 {
                0 => 0,
                1 => AMOUNT_MAX,
                _ => draw.amount(),
            };
            let divided = split(amount, &weights, offset(case));
            let is_divisible = weights.iter().sum::<u64>() > 0;
            assert_eq!(
                divided.map(|shares| shares.iter().sum()).ok(),
                is_divisible.then_some(amount)
            );
            cases += 1;
        }
        std::println!("{cases} cases");
    }

    #[test]
    fn the_limits_are_reached_without_overflow() {
        let weights = [WEIGHT_MAX - 1, 1];
        let shares = split(AMOUNT_MAX, &weights, offset(0)).unwrap();
        assert_eq!(shares.iter().sum::<u128>(), AMOUNT_MAX);
        assert_eq!(
            split(AMOUNT_MAX + 1, &[1], offset(0)),
            Err(SplitError::Amount { found: AMOUNT_MAX + 1 })
        );
        assert_eq!(split(1, &[WEIGHT_MAX, 1], offset(0)), Err(SplitError::Weights));
        assert_eq!(split(1, &[u64::MAX, 1], offset(0)), Err(SplitError::Weights));
        assert_eq!(split(1, &[0, 0], offset(0)), Err(SplitError::NoWeight));
        assert_eq!(split(1, &[], offset(0)), Err(SplitError::NoWeight));
        assert_eq!(split(0, &[1, 2], offset(0)), Ok(vec![0, 0]));
    }

    /// The mean over all offsets is the exact value: Σ over u of a share is amount · weight.
    ///
    /// A share depends on the amount modulo W and adds amount/W · weight to that, so amounts below W
    /// stand for all.
    #[test]
    fn every_share_is_unbiased_for_every_sum_up_to_64() {
        for sum in 1..=64_u64 {
            for amount in 0..u128::from(sum) {
                for end in 1..=sum {
                    // The share of weight `end - begin` between others is a difference of these.
                    let up_to = |u| divide(amount, &[end, sum - end], sum, u)[0];
                    let all: u128 = (0..sum).map(up_to).sum();
                    assert_eq!(all, amount * u128::from(end));
                }
            }
        }
    }

    #[test]
    fn dividing_a_name_among_neighbours_gains_and_loses_nothing() {
        let mut draw = Draw(1 << 20);
        let mut cases = 0;
        for case in 0..10_000 {
            let weights: Vec<u64> = (0..8).map(|_| u64::from(draw.below(1000)) + 1).collect();
            let amount = draw.amount();
            let place = draw.below(8) as usize;
            let part = u64::from(draw.below(u32::try_from(weights[place]).unwrap() + 1));
            let mut divided = weights.clone();
            divided.splice(place..=place, [part, weights[place] - part]);
            let whole = split(amount, &weights, offset(case)).unwrap();
            let parts = split(amount, &divided, offset(case)).unwrap();
            assert_eq!(parts[place] + parts[place + 1], whole[place]);
            assert_eq!(parts[..place], whole[..place]);
            assert_eq!(parts[place + 2..], whole[place + 1..]);
            cases += 1;
        }
        std::println!("{cases} cases");
    }

    #[test]
    fn an_offset_is_below_the_sum_and_takes_all_values() {
        for sum in [1, 2, 3, 7, 64, WEIGHT_MAX] {
            assert!((0..200).all(|stage| offset(stage).below(sum) < sum));
        }
        let mut seen = [0; 7];
        (0..7_000).for_each(|stage| seen[usize::try_from(offset(stage).below(7)).unwrap()] += 1);
        assert!(seen.iter().all(|count| (850..1150).contains(count)), "{seen:?}");
    }
}
