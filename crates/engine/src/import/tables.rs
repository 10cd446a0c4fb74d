//! The tables that every model file carries: rotation, exponential and the bend of SiLU.
//!
//! Made from integers alone, so every machine makes the same ones; a model commits to their bytes.

use std::sync::OnceLock;

use crate::fixed::{Fixed, RopeFrequencies};
use crate::model::layout::{EXPONENTIAL_BITS, GATE_BITS, ROTATION_BITS, SCORE_BITS, TABLE_LEN};
use crate::source::Rotation;

/// Entry D is floor((2^16 − 1)·e^(−D/2^12) + 1/2), as little-endian uint16.
#[must_use]
pub fn exponential() -> &'static [u8] {
    static BYTES: OnceLock<Vec<u8>> = OnceLock::new();
    BYTES.get_or_init(|| {
        let one = (1_u64 << EXPONENTIAL_BITS) - 1;
        let entry = |index: i64| {
            let power = Fixed::from_ratio(-index, 1 << SCORE_BITS).and_then(Fixed::exp);
            power.unwrap_or(Fixed::ZERO).scaled(one)
        };
        entries(|index| u16::try_from(entry(index)).unwrap_or_default().to_le_bytes())
    })
}

/// Entry a is floor(2^12·ψ(a/2^12) + 1/2) with ψ(x) = −x/(1 + e^x), as little-endian int16.
///
/// SiLU(x) = max(x, 0) + ψ(|x|), so a ψ of zero beyond the table is the identity above and zero
/// below.
#[must_use]
pub fn silu() -> &'static [u8] {
    static BYTES: OnceLock<Vec<u8>> = OnceLock::new();
    BYTES.get_or_init(|| {
        let entry = |index: i64| {
            let x = Fixed::from_ratio(-index, 1 << GATE_BITS)?;
            Some(x.times(x.sigmoid())?.scaled(1 << GATE_BITS))
        };
        entries(|index| {
            let bend = entry(index).and_then(|bend| i16::try_from(bend).ok());
            bend.unwrap_or_default().to_le_bytes()
        })
    })
}

/// Entry a is floor(2^12·ψ(a/2^12) + 1/2) with ψ(x) = −x·Φ(−x), as little-endian int16.
///
/// GELU(x) = x·Φ(x) = max(x, 0) + ψ(|x|), with Φ the normal distribution. From 4.5 on |ψ| is below
/// 2^−15 and rounds to zero.
#[must_use]
pub fn gelu() -> &'static [u8] {
    static BYTES: OnceLock<Vec<u8>> = OnceLock::new();
    BYTES.get_or_init(|| {
        entries(|index| {
            let bend = if index < 9 << (GATE_BITS - 1) { gelu_bend(index) } else { 0 };
            i16::try_from(bend).unwrap_or_default().to_le_bytes()
        })
    })
}

/// 2^12·ψ(x), rounded, at x = `index`/2^12 below 4.5, from Φ(−x) = 1/2 − φ(x)·(x + x³/3 + x⁵/15 + …).
///
/// Numbers have 50 fraction bits. No term is negative and the series is below 2^15, so with φ good
/// to 2^−50 the bend is good to 2^−22.
fn gelu_bend(index: i64) -> i128 {
    const BITS: u32 = 50;
    /// 2^50/√(2π)
    const INVERSE_ROOT_TAU: i128 = 449_169_076_339_557;
    let x = i128::from(index) << (BITS - GATE_BITS);
    let square = (x * x) >> BITS;
    let (mut term, mut series) = (x, 0);
    for odd in (3..).step_by(2) {
        if term == 0 {
            break;
        }
        series += term;
        term = ((term * square) >> BITS) / odd;
    }
    let density = Fixed::from_ratio(-index * index, 1 << (2 * GATE_BITS + 1)).and_then(Fixed::exp);
    let density = density.unwrap_or(Fixed::ZERO).scaled(1 << BITS);
    let density = (density * INVERSE_ROOT_TAU) >> BITS;
    let tail = (1 << (BITS - 1)) - ((density * series) >> BITS);
    let product = i128::from(index) * tail;
    -((product + (1 << (BITS - 1))) >> BITS)
}

/// (context, `head_dim`/2) cosines and sines of position times the speed of each pair, in Q14.
///
/// `None` where the frequencies are not defined.
pub(crate) fn rotation(
    rotation: &Rotation,
    head_dim: u32,
    context: u32,
) -> Option<(Vec<u8>, Vec<u8>)> {
    let frequencies = RopeFrequencies::new(rotation, head_dim)?;
    let (mut cosines, mut sines) = (vec![], vec![]);
    for position in 0..context {
        for pair in 0..frequencies.pair_count() {
            let (cosine, sine) = frequencies.cos_sin(position, pair, ROTATION_BITS)?;
            cosines.extend_from_slice(&cosine.to_le_bytes());
            sines.extend_from_slice(&sine.to_le_bytes());
        }
    }
    Some((cosines, sines))
}

fn entries(entry: impl Fn(i64) -> [u8; 2]) -> Vec<u8> {
    (0..TABLE_LEN.cast_signed()).flat_map(entry).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(bytes: &[u8]) -> Vec<i32> {
        bytes.chunks(2).map(|pair| i32::from(i16::from_le_bytes([pair[0], pair[1]]))).collect()
    }

    #[test]
    fn the_exponential_agrees_with_floating_point_and_falls_to_zero() {
        let entries: Vec<u16> =
            exponential().chunks(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]])).collect();
        assert_eq!(entries.len(), 1 << 16);
        for (index, entry) in (0_u32..).zip(&entries) {
            let expected = 65_535.0 * (-f64::from(index) / 4096.0).exp();
            assert!((f64::from(*entry) - expected).abs() <= 0.500_001, "{index}");
        }
        assert_eq!((entries[0], entries[65_535]), (65_535, 0));
        assert!(entries.is_sorted_by(|a, b| a >= b));
    }

    #[test]
    fn silu_agrees_with_floating_point_and_is_the_identity_beyond_its_table() {
        let entries = values(silu());
        for (index, entry) in (0_u32..).zip(&entries) {
            let x = f64::from(index) / 4096.0;
            let expected = -4096.0 * x / (1.0 + x.exp());
            assert!((f64::from(*entry) - expected).abs() <= 0.500_001, "{index}");
        }
        assert_eq!((entries[0], entries[65_535]), (0, 0));
    }

    #[test]
    fn gelu_agrees_with_floating_point_and_is_the_identity_beyond_its_table() {
        // Φ(−x) by Simpson's rule over the density from x to x + 8.
        let density = |x: f64| (-x * x / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt();
        let entries = values(gelu());
        for (index, entry) in (0_u32..).zip(&entries).step_by(61) {
            let x = f64::from(index) / 4096.0;
            let at = |step: u32| density(x + f64::from(step) / 100.0);
            let inner: f64 = (1..800)
                .map(|step| if step % 2 == 1 { 4.0 * at(step) } else { 2.0 * at(step) })
                .sum();
            let tail = (at(0) + inner + at(800)) / 300.0;
            let expected = -4096.0 * x * tail;
            assert!((f64::from(*entry) - expected).abs() <= 0.500_1, "{index} {entry} {expected}");
        }
        assert_eq!((entries[0], entries[65_535]), (0, 0));
        assert!(entries.iter().all(|entry| (-700..=0).contains(entry)));
    }

    #[test]
    fn rotation_begins_with_no_turn_and_agrees_with_floating_point() {
        let theta = crate::source::Decimal::parse("10000").unwrap();
        let plain = Rotation { theta, scaling: crate::source::RotationScaling::None };
        let (cosines, sines) = rotation(&plain, 8, 512).unwrap();
        let (cosines, sines) = (values(&cosines), values(&sines));
        assert_eq!((&cosines[..4], &sines[..4]), (&[1 << 14; 4][..], &[0; 4][..]));
        for (index, (cosine, sine)) in cosines.iter().zip(&sines).enumerate() {
            let position = f64::from(u32::try_from(index / 4).unwrap());
            let pair = f64::from(u32::try_from(index % 4).unwrap());
            let angle = position * 10_000_f64.powf(-pair / 4.0);
            assert!((f64::from(*cosine) - angle.cos() * 16_384.0).abs() < 0.501);
            assert!((f64::from(*sine) - angle.sin() * 16_384.0).abs() < 0.501);
        }
    }
}
