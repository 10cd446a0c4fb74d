//! From exact weights to int8 rows with dyadic scales, and to int16 gains.
//!
//! Every source value is m · 2^e with integers m and e, so that each rounding below is of an exact
//! quotient. The scale is rounded first and the weights after it: its rounding costs nothing.

use crate::model::layout::{GAIN_BITS_MAX, SCALE_BITS_MAX};

/// An exact real number: mantissa · 2^exponent, with |mantissa| < 2^60.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Dyadic {
    pub(crate) mantissa: i64,
    pub(crate) exponent: i32,
}

/// Largest row scale.
const SCALE_MAX: i128 = 32_767;
/// Largest magnitude of an int8 weight.
const WEIGHT_MAX: i128 = 127;
/// Beyond this shift a mantissa has no influence on a rounded result.
const SHIFT_MAX: u32 = 100;

impl Dyadic {
    /// Orders magnitudes.
    fn magnitude(self) -> (i64, u64) {
        let mantissa = self.mantissa.unsigned_abs();
        if mantissa == 0 {
            return (i64::MIN, 0);
        }
        let zeros = mantissa.leading_zeros();
        (i64::from(self.exponent) - i64::from(zeros), mantissa << zeros)
    }

    /// The larger of two magnitudes.
    pub(crate) fn max_magnitude(self, other: Self) -> Self {
        if other.magnitude() > self.magnitude() { other } else { self }
    }

    /// The exact product of mantissas of at most 31 bits each.
    pub(crate) const fn times(self, other: Self) -> Self {
        Self { mantissa: self.mantissa * other.mantissa, exponent: self.exponent + other.exponent }
    }

    /// floor(self · 2^bits / divisor + 1/2), or `None` beyond 2^62.
    fn over(self, bits: u32, divisor: i128) -> Option<i128> {
        let (numerator, denominator) = self.ratio(bits, divisor)?;
        Some((2 * numerator + denominator).div_euclid(2 * denominator))
    }

    /// ceil(|self| · 2^bits / divisor), or `None` beyond 2^62.
    fn over_up(self, bits: u32, divisor: i128) -> Option<i128> {
        let (numerator, denominator) = self.ratio(bits, divisor)?;
        Some((numerator.abs() + denominator - 1).div_euclid(denominator))
    }

    /// self · 2^bits / divisor as a fraction; magnitudes that round to zero or up to one are cut.
    fn ratio(self, bits: u32, divisor: i128) -> Option<(i128, i128)> {
        let shift = self.exponent.checked_add_unsigned(bits)?;
        let mantissa = i128::from(self.mantissa);
        if shift <= 0 {
            let denominator = divisor << shift.unsigned_abs().min(SHIFT_MAX);
            return Some((mantissa, denominator));
        }
        let length = 64 - self.mantissa.unsigned_abs().leading_zeros();
        if mantissa == 0 {
            return Some((0, divisor));
        }
        (length + shift.unsigned_abs() <= 62).then(|| (mantissa << shift, divisor))
    }
}

/// A matrix as the model file holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rows {
    /// (rows, width) int8
    pub(crate) values: Vec<u8>,
    /// (rows,) little-endian int16
    pub(crate) scales: Vec<u8>,
    pub(crate) scale_bits: u32,
}

/// The exponent j of a matrix whose largest magnitude is `max`: the largest for which every row's
/// scale fits; `None` if none does.
pub(crate) fn scale_bits(max: Dyadic) -> Option<u32> {
    if max.mantissa == 0 {
        return Some(0);
    }
    (0..=SCALE_BITS_MAX)
        .rev()
        .find(|bits| max.over_up(*bits, WEIGHT_MAX).is_some_and(|scale| scale <= SCALE_MAX))
}

/// Appends a row: its scale is the least that brings every weight to at most 127 in magnitude.
pub(crate) fn push_row(rows: &mut Rows, row: &[Dyadic]) {
    let max = row.iter().fold(Dyadic::default(), |max, weight| max.max_magnitude(*weight));
    let scale = max.over_up(rows.scale_bits, WEIGHT_MAX).unwrap_or(SCALE_MAX).max(1);
    for weight in row {
        let value = weight.over(rows.scale_bits, scale).unwrap_or_default();
        let value = i8::try_from(value).unwrap_or_default();
        rows.values.push(value.cast_unsigned());
    }
    let scale = i16::try_from(scale).unwrap_or(i16::MAX);
    rows.scales.extend_from_slice(&scale.to_le_bytes());
}

/// Gains as little-endian int16 with the most fraction bits that they all fit; `None` if none do.
pub(crate) fn gains(gains: &[Dyadic]) -> Option<(Vec<u8>, u32)> {
    let max = gains.iter().fold(Dyadic::default(), |max, gain| max.max_magnitude(*gain));
    let magnitude = Dyadic { mantissa: max.mantissa.abs(), ..max };
    let fits = |bits: &u32| magnitude.over(*bits, 1).is_some_and(|gain| gain <= SCALE_MAX);
    let bits = (0..=GAIN_BITS_MAX).rev().find(fits)?;
    let rounded = gains.iter().map(|gain| gain.over(bits, 1).unwrap_or_default());
    let bytes = rounded.flat_map(|gain| i16::try_from(gain).unwrap_or_default().to_le_bytes());
    Some((bytes.collect(), bits))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dyadic(mantissa: i64, exponent: i32) -> Dyadic {
        Dyadic { mantissa, exponent }
    }

    fn quantised(row: &[Dyadic]) -> (Vec<i8>, i16, u32) {
        let max = row.iter().fold(Dyadic::default(), |max, weight| max.max_magnitude(*weight));
        let scale_bits = scale_bits(max).unwrap();
        let mut rows = Rows { values: vec![], scales: vec![], scale_bits };
        push_row(&mut rows, row);
        let values = rows.values.iter().map(|value| value.cast_signed()).collect();
        (values, i16::from_le_bytes([rows.scales[0], rows.scales[1]]), scale_bits)
    }

    #[test]
    fn the_largest_weight_of_a_row_becomes_127_and_its_negative_minus_127() {
        for exponent in [-149, -60, -30, -8, 0, 5, 14] {
            let (values, scale, bits) =
                quantised(&[dyadic(127, exponent), dyadic(-127, exponent), dyadic(64, exponent)]);
            if exponent >= -60 {
                assert_eq!((values[0], values[1]), (127, -127), "{exponent} {scale} {bits}");
                assert_eq!(values[2], 64);
            } else {
                assert_eq!(values, [0, 0, 0]);
            }
        }
    }

    #[test]
    fn weights_are_rounded_after_the_scale_half_up() {
        let rows = |row: &[i64]| quantised(&row.iter().map(|w| dyadic(*w, 0)).collect::<Vec<_>>());
        let (values, scale, bits) = rows(&[254, 1, -1, 3, -3]);
        assert_eq!((scale, bits), (2 << 13, 13));
        assert_eq!(values, [127, 1, 0, 2, -1]);
        assert_eq!(rows(&[0, 0]), (vec![0, 0], 1, 0));
    }

    #[test]
    fn a_row_far_below_its_neighbours_keeps_a_scale_of_at_least_one() {
        let mut rows =
            Rows { values: vec![], scales: vec![], scale_bits: scale_bits(dyadic(1, 0)).unwrap() };
        push_row(&mut rows, &[dyadic(1, -40), dyadic(-1, -149)]);
        assert_eq!((rows.values, rows.scales), (vec![0, 0], vec![1, 0]));
    }

    #[test]
    fn weights_beyond_every_scale_are_refused() {
        assert_eq!(scale_bits(dyadic(127 * 32_767, 0)), Some(0));
        assert_eq!(scale_bits(dyadic(127 * 32_767 + 1, 0)), None);
        assert_eq!(scale_bits(dyadic(1, 127)), None);
        assert_eq!(gains(&[dyadic(1, 15)]), None);
        assert_eq!(gains(&[dyadic(-1, 15)]), None);
    }

    #[test]
    fn gains_take_the_most_fraction_bits_that_all_of_them_fit() {
        assert_eq!(gains(&[dyadic(1, 0), dyadic(-3, -2)]), Some((vec![0, 0x40, 0, 0xd0], 14)));
        assert_eq!(gains(&[dyadic(0, 0)]), Some((vec![0, 0], GAIN_BITS_MAX)));
        // 32,767.5 rounds up to 32,768, so a bit less is taken.
        assert_eq!(gains(&[dyadic(65_535, -16)]).unwrap().1, 14);
    }

    #[test]
    fn magnitudes_are_ordered_across_exponents() {
        let ordered =
            [dyadic(0, 100), dyadic(1, -149), dyadic(-3, -4), dyadic(1, 0), dyadic(3, -1)];
        for (index, small) in ordered.iter().enumerate() {
            for large in &ordered[index + 1..] {
                assert_eq!(small.max_magnitude(*large), *large);
                assert_eq!(large.max_magnitude(*small), *large);
            }
        }
    }
}
