//! Fixed-point `ln`, `exp`, `pow` and sine and cosine in integers alone, for the tables of a model.
//!
//! No libm stands in the trusted base: tables made with these functions are the same bits on every
//! machine. A [`Fixed`] is an `i128` with 62 fraction bits. The error bounds below are worst
//! cases, proven by counting roundings and compared with known answers of 300 bits; what is
//! tabulated has at most 40 fraction bits, so a table entry is the correctly rounded real value
//! unless that value lies within the bound of a rounding boundary.
//!
//! Rotation speeds are in [`rope`]. These functions run when a model is imported or a table first used, never per token.

use std::fmt;

pub mod rope;
#[cfg(test)]
mod tests;

pub use rope::{ROPE_HEAD_DIM_MAX, ROPE_POSITION_MAX, ROPE_TURNS_MAX, RopeFrequencies};

/// Fraction bits of a [`Fixed`].
pub const FRACTION_BITS: u32 = 62;

const ONE: i128 = 1 << FRACTION_BITS;
/// round(ln 2 · 2^96)
const LN_2_Q96: i128 = 0xb172_17f7_d1cf_79ab_c9e3_b398;
/// round(ln 2 · 2^62)
const LN_2: i128 = 3_196_577_161_300_663_915;
/// round(π/2 · 2^62)
const HALF_PI: i128 = 0x6487_ed51_10b4_611a;
/// round(√2 · 2^62)
const SQRT_2: i128 = 6_521_908_912_666_391_106;
/// 61 ln 2: above this `exp` leaves its range.
const EXP_MAX: i128 = 61 * LN_2;

/// A real number as an integer multiple of 2^−62, of magnitude at most 2^62.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fixed(i128);

impl Fixed {
    /// One.
    pub const ONE: Self = Self(ONE);
    /// Zero.
    pub const ZERO: Self = Self(0);

    /// floor(numerator · 2^62 / denominator + 1/2); `None` for a denominator of zero or a
    /// magnitude above 2^62.
    ///
    /// Error ≤ 2^−63.
    #[must_use]
    pub fn from_ratio(numerator: i64, denominator: u64) -> Option<Self> {
        if denominator == 0 {
            return None;
        }
        Self::bounded(divide(i128::from(numerator) << FRACTION_BITS, denominator.into()))
    }

    /// The number of multiples of 2^−62.
    #[must_use]
    pub const fn raw(self) -> i128 {
        self.0
    }

    /// floor(self · multiplier + 1/2): a table entry in the scale of the table.
    #[must_use]
    pub fn scaled(self, multiplier: u64) -> i128 {
        let multiplier = i128::from(multiplier);
        let (high, low) = (self.0 >> FRACTION_BITS, self.0 & (ONE - 1));
        high * multiplier + shift(low * multiplier, FRACTION_BITS)
    }

    /// The negated number.
    #[must_use]
    pub const fn negated(self) -> Self {
        Self(-self.0)
    }

    /// The sum; `None` when its magnitude exceeds 2^62.
    #[must_use]
    pub fn plus(self, other: Self) -> Option<Self> {
        Self::bounded(self.0 + other.0)
    }

    /// The product, rounded once; `None` when its magnitude exceeds 2^62.
    #[must_use]
    pub fn times(self, other: Self) -> Option<Self> {
        let sign = if (self.0 < 0) == (other.0 < 0) { 1 } else { -1 };
        let (a, b) = (self.0.abs(), other.0.abs());
        let (a_high, a_low) = (a >> FRACTION_BITS, a & (ONE - 1));
        let (b_high, b_low) = (b >> FRACTION_BITS, b & (ONE - 1));
        let whole = (a_high * b_high).checked_mul(ONE)?;
        let mixed = a_high * b_low + a_low * b_high;
        let low = shift(a_low * b_low, FRACTION_BITS);
        Self::bounded(sign * whole.checked_add(mixed)?.checked_add(low)?)
    }

    /// The natural logarithm; `None` unless the number is positive.
    ///
    /// Error ≤ 2^−57.
    #[must_use]
    pub fn ln(self) -> Option<Self> {
        if self.0 <= 0 {
            return None;
        }
        let bit_length = 128 - self.0.leading_zeros();
        let mut exponent = i128::from(bit_length) - i128::from(FRACTION_BITS) - 1;
        let mut mantissa = match bit_length.checked_sub(FRACTION_BITS + 1) {
            Some(excess) => shift(self.0, excess),
            None => self.0 << (FRACTION_BITS + 1 - bit_length),
        };
        if mantissa > SQRT_2 {
            mantissa = shift(mantissa, 1);
            exponent += 1;
        }
        // ln m = 2 artanh((m − 1)/(m + 1)), with a square below 2^−5.
        let ratio = divide((mantissa - ONE) << FRACTION_BITS, mantissa + ONE);
        let square = multiply(ratio, ratio);
        let series =
            (0..14).rev().fold(0, |sum, term| multiply(sum, square) + ONE / (2 * term + 1));
        let whole = shift(exponent * LN_2_Q96, 96 - FRACTION_BITS);
        Some(Self(whole + 2 * multiply(ratio, series)))
    }

    /// e to this power; zero when that is below 2^−63, `None` above 61 ln 2.
    ///
    /// Error ≤ 2^−58 · max(1, result).
    #[must_use]
    pub fn exp(self) -> Option<Self> {
        if self.0 > EXP_MAX {
            return None;
        }
        let power = divide(self.0, LN_2);
        if power < -64 {
            return Some(Self::ZERO);
        }
        let rest = shift((self.0 << (96 - FRACTION_BITS)) - power * LN_2_Q96, 96 - FRACTION_BITS);
        let series = (1..20).rev().fold(ONE, |sum, term| ONE + divide(multiply(rest, sum), term));
        let power = i32::try_from(power).ok()?;
        Self::bounded(match power.is_negative() {
            true => shift(series, power.unsigned_abs()),
            false => series << power,
        })
    }

    /// This number to the power numerator/denominator; `None` unless it is positive and the
    /// result at most 2^61.
    #[must_use]
    pub fn pow_ratio(self, numerator: i64, denominator: u64) -> Option<Self> {
        let exponent = Self::from_ratio(numerator, denominator)?;
        self.ln()?.times(exponent)?.exp()
    }

    /// The logistic function 1/(1 + e^−x): total.
    ///
    /// Error ≤ 2^−56.
    #[must_use]
    pub fn sigmoid(self) -> Self {
        let small = Self(-self.0.abs()).exp().unwrap_or(Self::ZERO);
        let below = Self(divide(small.0 << FRACTION_BITS, ONE + small.0));
        if self.0 < 0 { below } else { Self(ONE - below.0) }
    }

    /// Sine and cosine of an angle of `phase` · 2^−64 turns.
    ///
    /// Error ≤ 2^−58 each.
    #[must_use]
    pub fn sin_cos_of_turn(phase: u64) -> (Self, Self) {
        let quadrant = phase >> 62;
        let rest = i128::from(phase & ((1 << 62) - 1));
        let is_mirrored = rest > ONE / 2;
        let angle = multiply(if is_mirrored { ONE - rest } else { rest }, HALF_PI);
        let square = multiply(angle, angle);
        // Taylor series on [0, π/4]: the first omitted terms are below 2^−70.
        let sine = (1..11)
            .rev()
            .fold(ONE, |sum, term| ONE - divide(multiply(square, sum), 2 * term * (2 * term + 1)));
        let cosine = (1..11)
            .rev()
            .fold(ONE, |sum, term| ONE - divide(multiply(square, sum), 2 * term * (2 * term - 1)));
        let (sine, cosine) = (multiply(sine, angle), cosine);
        let (sine, cosine) = if is_mirrored { (cosine, sine) } else { (sine, cosine) };
        let (sine, cosine) = match quadrant {
            0 => (sine, cosine),
            1 => (cosine, -sine),
            2 => (-sine, -cosine),
            _ => (-cosine, sine),
        };
        (Self(sine), Self(cosine))
    }

    fn bounded(raw: i128) -> Option<Self> {
        (raw.unsigned_abs() <= 1 << (FRACTION_BITS + 62)).then_some(Self(raw))
    }
}

impl fmt::Debug for Fixed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/2^{FRACTION_BITS}", self.0)
    }
}

/// floor(value / 2^bits + 1/2): the one rounding of shifts.
const fn shift(value: i128, bits: u32) -> i128 {
    if bits == 0 { value } else { ((value >> (bits - 1)) + 1) >> 1 }
}

/// floor(numerator / denominator + 1/2) for a positive denominator.
const fn divide(numerator: i128, denominator: i128) -> i128 {
    let rest = numerator.rem_euclid(denominator);
    numerator.div_euclid(denominator) + (rest >= denominator - rest) as i128
}

/// The product of two numbers in Q62 whose magnitudes multiply to less than 2.
const fn multiply(a: i128, b: i128) -> i128 {
    shift(a * b, FRACTION_BITS)
}
