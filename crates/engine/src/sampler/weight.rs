//! Softmax weights of candidates as integers of 40 bits, for top-p.

use super::tables::{EXP_FRACTION_BITS, SamplerTables};

/// Bits of the highest weight: a candidate at distance zero weighs 2^40.
pub const WEIGHT_BITS: u32 = 40;
/// Fraction bits of the exponent x in e^−x.
const EXPONENT_BITS: u32 = 32;

/// How the distance of a logit from the highest becomes an exponent.
pub struct WeightScale {
    tables: &'static SamplerTables,
    /// round(10^6 · 2^64 / (2^a · T)): exponent units per unit of distance, times 2^32.
    step: u128,
}

impl WeightScale {
    /// For logits of `fraction_bits` a and a temperature of T > 0 millionths.
    #[must_use]
    pub fn new(fraction_bits: u32, temperature: u32) -> Self {
        let divisor = u128::from(temperature.max(1)) << fraction_bits;
        let step = ((1_000_000_u128 << 64) + divisor / 2) / divisor;
        Self { tables: SamplerTables::get(), step }
    }

    /// 2^40 · e^−x, rounded, with x = round(distance · step / 2^32) in units of 2^−32, and zero
    /// from x = 32 on. Before that last rounding the error is at most 2^−9 + weight · 2^−31.
    #[must_use]
    pub fn weight(&self, distance: u64) -> u64 {
        let Some(product) = u128::from(distance).checked_mul(self.step) else { return 0 };
        let exponent = (product >> EXPONENT_BITS) + ((product >> (EXPONENT_BITS - 1)) & 1);
        let Ok(exponent) = u64::try_from(exponent) else { return 0 };
        let whole = usize::try_from(exponent >> EXPONENT_BITS).unwrap_or(usize::MAX);
        let Some(start) = self.tables.exp_whole.get(whole) else { return 0 };
        let [.., b3, b2, b1, b0] = exponent.to_be_bytes();
        let factors = self.tables.exp_byte.iter().zip([b3, b2, b1, b0]);
        let value =
            factors.fold(*start, |value, (table, byte)| multiply(value, table[usize::from(byte)]));
        ((value >> (EXP_FRACTION_BITS - WEIGHT_BITS - 1)) + 1) >> 1
    }
}

/// The product of two numbers of at most one in Q51, rounded.
fn multiply(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    let rounded = ((product >> (EXP_FRACTION_BITS - 1)) + 1) >> 1;
    u64::try_from(rounded).unwrap_or(u64::MAX)
}
