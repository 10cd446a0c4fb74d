//! From exact weights to int8 or int4 rows with dyadic scales, to int16 gains and int32 biases.
//!
//! Every source value is m · 2^e with integers m and e, so that each rounding below is of an exact
//! quotient. The scale is rounded first and the weights after it: its rounding costs nothing.

use crate::kernel::GROUP;
use crate::model::layout::{BIAS_MAX, GAIN_BITS_MAX, SCALE_BITS_MAX};

/// An exact real number: mantissa · 2^exponent, with |mantissa| < 2^86.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Dyadic {
    pub(crate) mantissa: i128,
    pub(crate) exponent: i32,
}

/// Largest row scale.
const SCALE_MAX: i128 = 32_767;
/// Largest magnitude of an int8 weight.
const WEIGHT_MAX: i128 = 127;
/// Beyond this shift a mantissa has no influence on a rounded result.
const SHIFT_MAX: u32 = 100;
/// Most bits of a numerator: what has more exceeds every bound.
const NUMERATOR_BITS_MAX: u32 = 110;
/// Largest scale of a group.
const GROUP_SCALE_MAX: i64 = 127;
/// What the largest weight of a row is divided by to give its largest group's scale, in int4.
const INT4_MAX: i128 = 7;
/// Fraction bits with which a group is compared with its rounded self.
const GROUP_BITS: u32 = 16;

impl Dyadic {
    /// Orders magnitudes.
    fn magnitude(self) -> (i64, u128) {
        let mantissa = self.mantissa.unsigned_abs();
        if mantissa == 0 {
            return (i64::MIN, 0);
        }
        let zeros = mantissa.leading_zeros();
        (i64::from(self.exponent) - i64::from(zeros), mantissa << zeros)
    }

    pub(crate) fn compare_magnitude(self, other: Self) -> std::cmp::Ordering {
        self.magnitude().cmp(&other.magnitude())
    }

    /// The power of two that brings `other` nearest to this in magnitude; 0 if either is zero.
    pub(crate) fn nearest_power_over(self, other: Self) -> i32 {
        let (a, b) = (self.magnitude(), other.magnitude());
        if a.1 == 0 || b.1 == 0 {
            return 0;
        }
        // Mantissas now have their highest bit set: 30 bits of each decide. With r = a/b between
        // 1/2 and 2, the power is one more from r² ≥ 2 and one less below r² = 1/2.
        let exponents = i32::try_from(a.0 - b.0).unwrap_or_default();
        let (a, b) = (a.1 >> 98, b.1 >> 98);
        let (a, b) = (a * a, b * b);
        exponents + i32::from(a >= 2 * b) - i32::from(2 * a < b)
    }

    /// The larger of two magnitudes.
    pub(crate) fn max_magnitude(self, other: Self) -> Self {
        if other.magnitude() > self.magnitude() { other } else { self }
    }

    /// Twice, as often as `power` says.
    pub(crate) const fn doubled(self, power: i32) -> Self {
        Self { mantissa: self.mantissa, exponent: self.exponent + power }
    }

    /// The exact sum of numbers of at most 53 bits; what lies 60 binary places below is lost.
    pub(crate) fn plus(self, other: Self) -> Self {
        let (low, high) =
            if self.exponent < other.exponent { (self, other) } else { (other, self) };
        if high.mantissa == 0 {
            return low;
        }
        match u32::try_from(high.exponent - low.exponent).unwrap_or(u32::MAX) {
            shift @ 0..=60 => {
                Self { mantissa: (high.mantissa << shift) + low.mantissa, exponent: low.exponent }
            }
            _ => high,
        }
    }

    /// The exact product of mantissas of at most 86 bits together.
    pub(crate) const fn times(self, other: Self) -> Self {
        Self { mantissa: self.mantissa * other.mantissa, exponent: self.exponent + other.exponent }
    }

    /// floor(self · 2^bits / divisor + 1/2), or `None` beyond every bound.
    fn over(self, bits: u32, divisor: i128) -> Option<i128> {
        let (numerator, denominator) = self.ratio(bits, divisor)?;
        if let (Ok(numerator), Ok(denominator)) =
            (i64::try_from(4 * numerator), i64::try_from(4 * denominator))
        {
            // Most weights are this small, and this division is much faster.
            let (numerator, denominator) = (numerator / 4, denominator / 4);
            let rounded = (2 * numerator + denominator).div_euclid(2 * denominator);
            return Some(rounded.into());
        }
        Some((2 * numerator + denominator).div_euclid(2 * denominator))
    }

    /// ceil(|self| · 2^bits / divisor), or `None` beyond every bound.
    fn over_up(self, bits: u32, divisor: i128) -> Option<i128> {
        let (numerator, denominator) = self.ratio(bits, divisor)?;
        Some((numerator.abs() + denominator - 1).div_euclid(denominator))
    }

    /// self · 2^bits / divisor as a fraction; magnitudes that round to zero or up to one are cut.
    fn ratio(self, bits: u32, divisor: i128) -> Option<(i128, i128)> {
        let shift = self.exponent.checked_add_unsigned(bits)?;
        if shift <= 0 {
            let denominator = divisor << shift.unsigned_abs().min(SHIFT_MAX);
            return Some((self.mantissa, denominator));
        }
        let length = 128 - self.mantissa.unsigned_abs().leading_zeros();
        if self.mantissa == 0 {
            return Some((0, divisor));
        }
        let fits = length.checked_add(shift.unsigned_abs())? <= NUMERATOR_BITS_MAX;
        fits.then(|| (self.mantissa << shift, divisor))
    }
}

/// The largest magnitude of some numbers.
pub(crate) fn max(row: &[Dyadic]) -> Dyadic {
    row.iter().fold(Dyadic::default(), |max, weight| max.max_magnitude(*weight))
}

/// One row as the model file holds it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Row {
    /// (width,) int8, or (width/2,) pairs of int4.
    pub(crate) values: Vec<u8>,
    /// (width/32,) of int4.
    pub(crate) group_scales: Vec<u8>,
    pub(crate) scale: i16,
}

/// How the elements of a row are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Int8,
    Int8Groups,
    Int4,
}

impl Format {
    /// The magnitude that the largest weight of a row is brought to, before the row's scale.
    fn range(self) -> i128 {
        match self {
            Self::Int8 => WEIGHT_MAX,
            Self::Int8Groups => WEIGHT_MAX * i128::from(GROUP_SCALE_MAX),
            Self::Int4 => INT4_MAX * i128::from(GROUP_SCALE_MAX),
        }
    }

    /// The least and the largest element within a group.
    const fn elements(self) -> (i64, i64) {
        match self {
            Self::Int8 | Self::Int8Groups => (-127, 127),
            Self::Int4 => (-8, 7),
        }
    }

    /// What the largest weight of a group may become under the scales that are compared.
    const fn candidates(self) -> (i64, i64) {
        match self {
            Self::Int8 | Self::Int8Groups => (96, 132),
            Self::Int4 => (5, 9),
        }
    }
}

/// The exponent j of a matrix whose largest magnitude is `max`: the largest for which every row's
/// scale fits; `None` if none does.
pub(crate) fn scale_bits(max: Dyadic, format: Format) -> Option<u32> {
    if max.mantissa == 0 {
        return Some(0);
    }
    let fits =
        |bits: &u32| max.over_up(*bits, format.range()).is_some_and(|scale| scale <= SCALE_MAX);
    (0..=SCALE_BITS_MAX).rev().find(fits)
}

/// A row whose scale is the least that brings every weight into the range of its elements.
pub(crate) fn round(row: &[Dyadic], scale_bits: u32, format: Format) -> Row {
    let scale = max(row).over_up(scale_bits, format.range()).unwrap_or(SCALE_MAX).max(1);
    let mut out = Row { scale: i16::try_from(scale).unwrap_or(i16::MAX), ..Row::default() };
    if format == Format::Int8 {
        out.values.extend(row.iter().map(|weight| {
            let value = weight.over(scale_bits, scale).unwrap_or_default();
            i8::try_from(value).unwrap_or_default().cast_unsigned()
        }));
        return out;
    }
    for group in row.chunks_exact(GROUP) {
        // Magnitudes are at most 127 · 127 · 2^16 < 2^30.
        let weights = group.iter().map(|weight| {
            let weight = weight.over(scale_bits + GROUP_BITS, scale).unwrap_or_default();
            i64::try_from(weight).unwrap_or_default()
        });
        push_group(&mut out, &weights.collect::<Vec<_>>(), format);
    }
    out
}

/// Appends a group of weights with 16 fraction bits under the scale that leaves the least error.
fn push_group(out: &mut Row, weights: &[i64], format: Format) {
    let group_scale = best_group_scale(weights, format);
    out.group_scales.push(u8::try_from(group_scale).unwrap_or(u8::MAX));
    let element = |weight: &i64| rounded(*weight, group_scale, format);
    if format == Format::Int4 {
        let nibble = |weight: &i64| u8::try_from(element(weight) + 8).unwrap_or(8);
        let (first, second) = weights.split_at(GROUP / 2);
        out.values.extend(first.iter().zip(second).map(|(a, b)| nibble(a) | nibble(b) << 4));
    } else {
        let byte = |weight: &i64| i8::try_from(element(weight)).unwrap_or_default();
        out.values.extend(weights.iter().map(|weight| byte(weight).cast_unsigned()));
    }
}

/// The weight in units of its group's scale, cut to the range of elements.
fn rounded(weight: i64, group_scale: i64, format: Format) -> i64 {
    let unit = group_scale << GROUP_BITS;
    let (least, most) = format.elements();
    (2 * weight + unit).div_euclid(2 * unit).clamp(least, most)
}

/// Of the scales under which the largest weight comes near the end of its range, the one with the
/// least sum of squared errors; the smaller of equals.
fn best_group_scale(weights: &[i64], format: Format) -> i64 {
    let max = weights.iter().fold(0, |max, weight| max.max(weight.abs()));
    let (nearest, farthest) = format.candidates();
    let least = (max / (farthest << GROUP_BITS)).clamp(1, GROUP_SCALE_MAX);
    let most = (max / (nearest << GROUP_BITS) + 1).clamp(1, GROUP_SCALE_MAX);
    let error = |scale: &i64| -> u128 {
        let errors = weights.iter().map(|weight| {
            let rest = weight - ((rounded(*weight, *scale, format) * scale) << GROUP_BITS);
            u128::from(rest.unsigned_abs()).pow(2)
        });
        errors.sum()
    };
    (least..=most).min_by_key(error).unwrap_or(1)
}

/// Biases as little-endian int32 with the most fraction bits that they all fit; `None` if none do.
pub(crate) fn biases(biases: &[Dyadic]) -> Option<(Vec<u8>, u32)> {
    let max = max(biases);
    let magnitude = Dyadic { mantissa: max.mantissa.abs(), ..max };
    let fits = |bits: &u32| magnitude.over(*bits, 1).is_some_and(|bias| bias <= BIAS_MAX.into());
    let bits = (0..=SCALE_BITS_MAX).rev().find(fits)?;
    let rounded = biases.iter().map(|bias| bias.over(bits, 1).unwrap_or_default());
    let bytes = rounded.flat_map(|bias| i32::try_from(bias).unwrap_or_default().to_le_bytes());
    Some((bytes.collect(), bits))
}

/// Gains as little-endian int16 with the most fraction bits that they all fit; `None` if none do.
pub(crate) fn gains(gains: &[Dyadic]) -> Option<(Vec<u8>, u32)> {
    let max = max(gains);
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

    fn dyadic(mantissa: i128, exponent: i32) -> Dyadic {
        Dyadic { mantissa, exponent }
    }

    fn quantised(row: &[Dyadic]) -> (Vec<i8>, i16, u32) {
        let scale_bits = scale_bits(max(row), Format::Int8).unwrap();
        let Row { values, scale, .. } = round(row, scale_bits, Format::Int8);
        (values.iter().map(|value| value.cast_signed()).collect(), scale, scale_bits)
    }

    #[test]
    fn int4_rows_find_the_scales_and_weights_that_they_were_made_from() {
        let (mut row, mut expected) = (vec![], vec![]);
        for group in 0..4_i128 {
            // Scales 127, 64, 1 and 0, of which the last becomes 1.
            let scale = [127, 64, 1, 0][usize::try_from(group).unwrap()];
            row.extend((0..32_i128).map(|i| dyadic(scale * (i % 15 - 7), -10)));
            expected.push(u8::try_from(scale.max(1)).unwrap());
        }
        let bits = scale_bits(max(&row), Format::Int4).unwrap();
        let found = round(&row, bits, Format::Int4);
        assert_eq!(found.group_scales, expected);
        for (index, byte) in found.values[..48].iter().enumerate() {
            let at = index % 16;
            let element = |i: usize| u8::try_from(i % 15 + 1).unwrap();
            assert_eq!((byte & 15, byte >> 4), (element(at), element(at + 16)));
        }
        assert!(found.values[48..].iter().all(|byte| *byte == 0x88));
    }

    #[test]
    fn groups_of_int8_keep_a_small_group_beside_a_large_one() {
        let row: Vec<Dyadic> = (0..64_i128)
            .map(|i| dyadic(if i < 32 { 127 * (i * 8 - 127) } else { i * 7 - 330 }, -20))
            .collect();
        let found =
            round(&row, scale_bits(max(&row), Format::Int8Groups).unwrap(), Format::Int8Groups);
        assert_eq!(found.group_scales, [127, 1]);
        let element = |index: usize| i128::from(found.values[index].cast_signed());
        assert!((0..32).all(|i| element(i) == i128::try_from(i).unwrap() * 8 - 127));
        assert!((32..64).all(|i| element(i) == i128::try_from(i).unwrap() * 7 - 330));
    }

    #[test]
    fn a_group_scale_leaves_no_larger_error_than_any_other() {
        let weights: Vec<i64> = (0..32).map(|i| (i * i * 7_919 - 3_000_000) % 9_000_000).collect();
        let best = best_group_scale(&weights, Format::Int4);
        let error = |scale: i64| -> i128 {
            let rest = |w: &i64| {
                i128::from(w - ((rounded(*w, scale, Format::Int4) * scale) << GROUP_BITS))
            };
            weights.iter().map(|w| rest(w).pow(2)).sum()
        };
        assert!((1..=127).all(|scale| error(best) <= error(scale)), "{best}");
    }

    #[test]
    fn biases_take_the_most_fraction_bits_that_all_of_them_fit() {
        let (bytes, bits) = biases(&[dyadic(1, 0), dyadic(-3, -2)]).unwrap();
        assert_eq!(bits, 28);
        assert_eq!(bytes, [(1_i32 << 28).to_le_bytes(), (-3_i32 << 26).to_le_bytes()].concat());
        assert_eq!(biases(&[dyadic(1, 29)]), None);
        assert_eq!(biases(&[dyadic(0, 0)]).unwrap(), (vec![0; 4], SCALE_BITS_MAX));
    }

    #[test]
    fn sums_are_exact() {
        assert_eq!(dyadic(3, -4).plus(dyadic(-1, 2)), dyadic(3 - 64, -4));
        assert_eq!(dyadic(0, 90).plus(dyadic(5, -90)), dyadic(5, -90));
        assert_eq!(dyadic(1, 0).plus(dyadic(1, -61)), dyadic(1, 0));
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
        let rows = |row: &[i128]| quantised(&row.iter().map(|w| dyadic(*w, 0)).collect::<Vec<_>>());
        let (values, scale, bits) = rows(&[254, 1, -1, 3, -3]);
        assert_eq!((scale, bits), (2 << 13, 13));
        assert_eq!(values, [127, 1, 0, 2, -1]);
        assert_eq!(rows(&[0, 0]), (vec![0, 0], 1, 0));
    }

    #[test]
    fn a_row_far_below_its_neighbours_keeps_a_scale_of_at_least_one() {
        let bits = scale_bits(dyadic(1, 0), Format::Int8).unwrap();
        let row = round(&[dyadic(1, -40), dyadic(-1, -149)], bits, Format::Int8);
        assert_eq!((row.values, row.scale), (vec![0, 0], 1));
    }

    #[test]
    fn weights_beyond_every_scale_are_refused() {
        assert_eq!(scale_bits(dyadic(127 * 32_767, 0), Format::Int8), Some(0));
        assert_eq!(scale_bits(dyadic(127 * 32_767 + 1, 0), Format::Int8), None);
        assert_eq!(scale_bits(dyadic(1, 127), Format::Int8), None);
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
