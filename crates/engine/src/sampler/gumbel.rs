//! The Gumbel variate −ln(−ln u) of a Philox word, in integers.
//!
//! u = (2·word + 1)/2^33, so both tails are normalised by bit length: below one half the inner
//! logarithm comes from u itself, above it from v = 1 − u through ln(−ln(1 − v)) = ln v + tail(v),
//! where tail is smooth and small. A plain table over uniform cells of u would cut both tails off
//! and destroy the distribution (a test shows it).

use super::tables::{LOG_CELL_BITS, LOG_FRACTION_BITS, SamplerTables, TAIL_CELL_BITS};

/// Fraction bits of a variate.
pub const GUMBEL_FRACTION_BITS: u32 = 24;
/// log2 of the number of values of u: twice the words, of which the odd ones are taken.
const UNIT_BITS: u32 = 33;

/// round(2^24 · −ln(−ln u)) with u = (2·word + 1)/2^33, within 2^−23 of the real number over all
/// words; from −3.130 at word 0 to 22.874 at the last.
///
/// # Panics
/// Never: a variate lies between −4 and 23.
#[must_use]
pub fn gumbel(word: u32) -> i32 {
    let tables = SamplerTables::get();
    let u = 2 * u64::from(word) + 1;
    let value = if u < 1 << (UNIT_BITS - 1) {
        let inner = negative_log(tables, u, UNIT_BITS);
        negative_log(tables, inner.unsigned_abs(), LOG_FRACTION_BITS)
    } else {
        let v = (1 << UNIT_BITS) - u;
        negative_log(tables, v, UNIT_BITS) - tail(tables, v)
    };
    let rounded = ((value >> (LOG_FRACTION_BITS - GUMBEL_FRACTION_BITS - 1)) + 1) >> 1;
    i32::try_from(rounded).expect("a variate lies between −4 and 23")
}

/// −ln(value/2^bits) in Q40 for a positive value below 2^63: exact powers of two, then linear
/// interpolation in 4,096 cells of the mantissa, whose error is below 2^−26.9.
pub(super) fn negative_log(tables: &SamplerTables, value: u64, bits: u32) -> i64 {
    let exponent = value.ilog2();
    // 63 bits of mantissa below the leading one.
    let mantissa = (value << (63 - exponent)) & (u64::MAX >> 1);
    let fraction = interpolate(&tables.log, mantissa, 63 - LOG_CELL_BITS);
    (i64::from(bits) - i64::from(exponent)) * tables.log_2 - fraction
}

/// ln(−ln(1 − v)/v) in Q40 for v·2^33 from 1 to 2^32 − 1.
fn tail(tables: &SamplerTables, v: u64) -> i64 {
    interpolate(&tables.tail, v, UNIT_BITS - 1 - TAIL_CELL_BITS)
}

/// The value between two entries: the upper bits of `at` choose the cell, the next (up to) 22 bits
/// the place in it.
fn interpolate(table: &[i64], at: u64, cell_bits: u32) -> i64 {
    const PLACE_BITS: u32 = 22;
    let cell = usize::try_from(at >> cell_bits).expect("a table has fewer cells than memory");
    let place = (at & ((1 << cell_bits) - 1)) >> cell_bits.saturating_sub(PLACE_BITS);
    let place = i64::try_from(place).expect("a place has 22 bits");
    let (from, to) = (table[cell], table[cell + 1]);
    from + (((to - from) * place + (1 << (PLACE_BITS - 1))) >> PLACE_BITS)
}
