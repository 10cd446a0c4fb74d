//! Rotation speeds of attention heads, with every scaling, in integers alone.

use crate::source::{Decimal, Dyadic, Rotation, RotationScaling};

use super::{FRACTION_BITS, Fixed, ONE, divide, multiply, shift};

#[cfg(test)]
mod tests;

/// Highest position that [`RopeFrequencies`] reaches with its stated error.
pub const ROPE_POSITION_MAX: u32 = 1 << 17;
/// Widest attention head that [`RopeFrequencies`] takes.
pub const ROPE_HEAD_DIM_MAX: u32 = 1 << 12;
/// Most turns that a factor of [`RotationScaling::Llama3`] may state.
pub const ROPE_TURNS_MAX: i64 = 1 << 16;

/// round(2^64 / 2π)
const INVERSE_TAU_Q64: i128 = 0x28be_60db_9391_054a;

/// The rotation speeds of one attention head: pair i turns by theta^(−2i/d) radians per position,
/// or slower where the rotation is scaled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RopeFrequencies {
    /// Turns per position, in units of 2^−110.
    steps: Vec<i128>,
}

impl RopeFrequencies {
    /// Speeds for a head of `head_dim` channels, so `head_dim`/2 pairs.
    ///
    /// `None` unless theta is at least 1 and below 2^62, `head_dim` is even and in
    /// 2..=[`ROPE_HEAD_DIM_MAX`], and the scaling has divisors of at least 1, one for each pair
    /// where it lists them, and turns that increase from low to high.
    #[must_use]
    pub fn new(rotation: &Rotation, head_dim: u32) -> Option<Self> {
        let theta = rotation.theta.fixed()?;
        let is_head = (2..=ROPE_HEAD_DIM_MAX).contains(&head_dim) && head_dim.is_multiple_of(2);
        if theta < Fixed::ONE || !is_head {
            return None;
        }
        if let RotationScaling::Factors(factors) = &rotation.scaling
            && factors.len() != head_dim as usize / 2
        {
            return None;
        }
        let step = |pair: u32| {
            let speed = theta.pow_ratio(-2 * i64::from(pair), head_dim.into())?;
            let speed = scaled(speed, pair as usize, &rotation.scaling)?;
            Some(shift(speed.0 * INVERSE_TAU_Q64, 16))
        };
        Some(Self { steps: (0..head_dim / 2).map(step).collect::<Option<_>>()? })
    }

    /// Number of pairs: half the head's channels.
    #[must_use]
    pub fn pair_count(&self) -> usize {
        self.steps.len()
    }

    /// (cosine, sine) of position · speed of `pair`, each floor(value · 2^bits + 1/2) and at most
    /// 2^15 − 1, so that a cosine of one in Q15 is 32,767.
    ///
    /// The angle's error is at most 2^−38 radians up to [`ROPE_POSITION_MAX`]; the value is then
    /// correctly rounded, unless it lies within 2^−37 of a rounding boundary. `None` when `pair`,
    /// `position` or `bits` (at most 15) is out of range.
    #[must_use]
    pub fn cos_sin(&self, position: u32, pair: usize, bits: u32) -> Option<(i16, i16)> {
        if position > ROPE_POSITION_MAX || bits > 15 {
            return None;
        }
        let turns = shift(i128::from(position) * self.steps.get(pair)?, 110 - 64);
        let phase = u64::try_from(turns & i128::from(u64::MAX)).ok()?;
        let (sine, cosine) = Fixed::sin_cos_of_turn(phase);
        let rounded = |value: Fixed| {
            let scaled = value.scaled(1 << bits).min(i16::MAX.into());
            i16::try_from(scaled).ok()
        };
        Some((rounded(cosine)?, rounded(sine)?))
    }
}

/// A speed of at most 1 after the scaling.
fn scaled(speed: Fixed, pair: usize, scaling: &RotationScaling) -> Option<Fixed> {
    match scaling {
        RotationScaling::None => Some(speed),
        RotationScaling::Linear { factor } => divided(speed, *factor),
        RotationScaling::Factors(factors) => divided_exactly(speed, *factors.get(pair)?),
        RotationScaling::Llama3 { factor, low_freq_factor, high_freq_factor, original_context } => {
            let (low, high) = (low_freq_factor.fixed()?, high_freq_factor.fixed()?);
            if low >= high || high > Fixed::from_ratio(ROPE_TURNS_MAX, 1)? {
                return None;
            }
            let slow = divided(speed, *factor)?;
            let turn = Fixed(shift(speed.0 * INVERSE_TAU_Q64, 64));
            let turns = turn.times(Fixed::from_ratio(i64::from(*original_context), 1)?)?;
            if turns <= low {
                return Some(slow);
            }
            if turns >= high {
                return Some(speed);
            }
            let share = fraction(turns.0 - low.0, high.0 - low.0);
            Some(Fixed(slow.0 + multiply(share, speed.0 - slow.0)))
        }
    }
}

/// speed / factor, rounded once; `None` for a factor below 1.
fn divided(speed: Fixed, factor: Decimal) -> Option<Fixed> {
    let (numerator, denominator) = factor.ratio()?;
    let (numerator, denominator) = (i128::from(numerator), i128::from(denominator));
    // A speed of at most 2^62 times a denominator below 2^64.
    (numerator >= denominator).then(|| Fixed(divide(speed.0 * denominator, numerator)))
}

/// speed / factor, rounded once; `None` for a factor below 1 or of 2^63 or more.
fn divided_exactly(speed: Fixed, factor: Dyadic) -> Option<Fixed> {
    let mantissa = u64::try_from(factor.mantissa).ok()?;
    let whole_bits = 64 - i64::from(mantissa.leading_zeros()) + i64::from(factor.exponent);
    if !(1..=63).contains(&whole_bits) {
        return None;
    }
    // Here −52 ≤ exponent ≤ 62, since a mantissa has at most 53 bits.
    let power = factor.exponent.unsigned_abs();
    let divisor = i128::from(mantissa);
    Some(Fixed(match factor.exponent.is_negative() {
        true => divide(speed.0.checked_shl(power).filter(|_| power <= 64)?, divisor),
        false => divide(speed.0, divisor << power),
    }))
}

/// floor(numerator · 2^62 / denominator) for 0 ≤ numerator < denominator < 2^126.
fn fraction(numerator: i128, denominator: i128) -> i128 {
    let (mut rest, mut quotient) = (numerator, 0);
    for _ in 0..FRACTION_BITS {
        rest <<= 1;
        quotient <<= 1;
        if rest >= denominator {
            rest -= denominator;
            quotient |= 1;
        }
    }
    debug_assert!(quotient < ONE);
    quotient
}
