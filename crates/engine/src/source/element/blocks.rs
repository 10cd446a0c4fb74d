//! Blocks of quantised elements, as their formats define them, without rounding.
//!
//! A block's scale is an F16 number; an element is an integer times the scale, less an integer
//! times a second scale for the K format of four bits. All of it is exact in a [`Dyadic`].

use super::{Dyadic, parse_f16};

/// 32 elements: scale, then one signed byte each.
pub(super) fn parse_q8_0(block: &[u8], out: &mut Vec<Dyadic>) -> Option<()> {
    let (scale, bytes) = split_scale(block)?;
    out.extend(bytes.iter().map(|byte| product(scale, byte.cast_signed().into())));
    Some(())
}

/// 32 elements: scale, then the low and the high four bits of 16 bytes, each less 8.
pub(super) fn parse_q4_0(block: &[u8], out: &mut Vec<Dyadic>) -> Option<()> {
    let (scale, bytes) = split_scale(block)?;
    let element = |nibble: u8| product(scale, i64::from(nibble) - 8);
    out.extend(bytes.iter().map(|byte| element(byte & 15)));
    out.extend(bytes.iter().map(|byte| element(byte >> 4)));
    Some(())
}

/// 256 elements in eight groups of 32: two scales, twelve bytes of six-bit factors of them, then
/// four bits each, of which two groups share 32 bytes.
pub(super) fn parse_q4_k(block: &[u8], out: &mut Vec<Dyadic>) -> Option<()> {
    let (scale, rest) = split_scale(block)?;
    let (offset, rest) = split_scale(rest)?;
    let (factors, nibbles) = rest.split_first_chunk::<12>()?;
    for (group, bytes) in nibbles.chunks_exact(32).enumerate() {
        for (index, shift) in [(2 * group, 0), (2 * group + 1, 4)] {
            let (factor, lowering) = q4_k_factors(factors, index)?;
            for byte in bytes {
                let nibble = i64::from((byte >> shift) & 15);
                out.push(difference(scale, factor * nibble, offset, lowering)?);
            }
        }
    }
    Some(())
}

/// Factors of the scale and of the offset of one of eight groups.
fn q4_k_factors(bytes: &[u8; 12], group: usize) -> Option<(i64, i64)> {
    let low = |index: usize| bytes.get(index).map(|byte| i64::from(byte & 63));
    let high = |index: usize| bytes.get(index).map(|byte| i64::from(byte >> 6) << 4);
    if group < 4 {
        return Some((low(group)?, low(group + 4)?));
    }
    let shared = i64::from(*bytes.get(group + 4)?);
    Some(((shared & 15) | high(group - 4)?, (shared >> 4) | high(group)?))
}

/// 256 elements in two halves: four low bits each, two high bits each, less 32; a signed factor
/// for every 16 elements; the scale comes last.
pub(super) fn parse_q6_k(block: &[u8], out: &mut Vec<Dyadic>) -> Option<()> {
    let (rest, scale) = block.split_last_chunk::<2>()?;
    let scale = parse_f16(*scale)?;
    let (lows, rest) = rest.split_at_checked(128)?;
    let (highs, factors) = rest.split_at_checked(64)?;
    for index in 0..256 {
        let (half, place) = (index / 128, index % 128);
        let low = lows.get(64 * half + place % 64)? >> (4 * (place / 64));
        let high = highs.get(32 * half + place % 32)? >> (2 * (place / 32));
        let number = i64::from((low & 15) | ((high & 3) << 4)) - 32;
        let factor = i64::from(factors.get(index / 16)?.cast_signed());
        out.push(product(scale, factor * number));
    }
    Some(())
}

fn split_scale(block: &[u8]) -> Option<(Dyadic, &[u8])> {
    let (scale, rest) = block.split_first_chunk::<2>()?;
    Some((parse_f16(*scale)?, rest))
}

const fn product(scale: Dyadic, factor: i64) -> Dyadic {
    Dyadic::new(scale.mantissa * factor, scale.exponent)
}

/// a · p − b · q: mantissas of 11 bits, factors of 10 and exponents 29 apart fit in 53 bits.
fn difference(a: Dyadic, p: i64, b: Dyadic, q: i64) -> Option<Dyadic> {
    let (left, right) = (a.mantissa * p, b.mantissa * q);
    if left == 0 || right == 0 {
        return Some(match left {
            0 => Dyadic::new(-right, b.exponent),
            _ => Dyadic::new(left, a.exponent),
        });
    }
    let exponent = a.exponent.min(b.exponent);
    let aligned = |number: i64, from: i32| Some(number << u32::try_from(from - exponent).ok()?);
    Some(Dyadic::new(aligned(left, a.exponent)? - aligned(right, b.exponent)?, exponent))
}
