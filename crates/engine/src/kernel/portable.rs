//! The law: every operation of `spec/arithmetic.md`, scalar and safe, without tricks.
//!
//! Each sum is complete over the integers before anything is rounded, so the order of the loops
//! below carries no meaning. What another kernel computes is right when it equals this.
#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "each cast follows a reduction whose bound the specification derives"
)]

use super::{Activation, GROUP, Rows};

/// Bound of an int16 activation: 2^15 − 1.
pub(crate) const INT16_MAX: u64 = 32_767;
/// Bound of an int8 cache entry: 2^7 − 1.
pub(crate) const INT8_MAX: u64 = 127;
/// Bound of a layer norm's output before it is rescaled: 2^30 − 1.
pub(crate) const WIDE_MAX: u64 = (1 << 30) - 1;
/// Bound of a norm's input after its shift: 2^23 − 1.
pub(crate) const NORM_MAX: u64 = (1 << 23) - 1;
/// Products that an int32 sum holds: 516 · 127 · 32,767 < 2^31.
const INT32_PRODUCTS: usize = 512;
/// Keys that an int32 sum of weighted values holds: 256 · 127 · 65,535 < 2^31.
const INT32_KEYS: usize = 256;
/// Largest shift that is carried out: beyond it every operand of the arithmetic rounds to zero.
const SHIFT_MAX: u32 = 62;
/// Largest left shift that is carried out: beyond it every non-zero operand exceeds its bound.
const LEFT_SHIFT_MAX: u32 = 32;

/// floor(x / 2^shift + 1/2) for |x| < 2^61.
#[inline(always)]
pub(crate) fn round_shift(x: i64, shift: u32) -> i64 {
    match shift.min(SHIFT_MAX) {
        0 => x,
        shift => ((x >> (shift - 1)) + 1) >> 1,
    }
}

/// floor(x / 2^shift + 1/2) for |x| < 2^31, of which nothing is left beyond a shift by 31.
#[inline(always)]
pub(crate) fn round_shift_i32(x: i32, shift: u32) -> i32 {
    match shift {
        0 => x,
        1..=31 => ((x >> (shift - 1)) + 1) >> 1,
        _ => 0,
    }
}

/// floor(x · 2^−shift + 1/2) for |x| < 2^30; a left shift stops where every bound is exceeded.
#[inline(always)]
pub(crate) fn scaled(x: i64, shift: i32) -> i64 {
    if shift >= 0 {
        round_shift(x, shift.unsigned_abs())
    } else {
        x << shift.unsigned_abs().min(LEFT_SHIFT_MAX)
    }
}

/// The least e ≥ 0 with round_shift(max, e) ≤ limit, for a limit of the form 2^b − 1.
#[inline(always)]
pub(crate) fn least_exponent(max: u64, limit: u64) -> u32 {
    let e = limit.leading_zeros().saturating_sub(max.leading_zeros());
    // The rounding can carry into one more bit; then one more shift is needed.
    let rounded = if e == 0 { max } else { ((max >> (e - 1)) + 1) >> 1 };
    e + u32::from(rounded > limit)
}

/// (rows, k) × (tokens, k) → (tokens, rows), complete sums over the integers.
///
/// The sums of the rows, which some kernels need, are not used here.
#[inline(always)]
pub(super) fn linear(rows: Rows<'_>, xs: &[&Activation], outs: &mut [&mut [i64]]) {
    for (x, out) in xs.iter().zip(outs) {
        let x = x.values();
        match rows {
            Rows::Int8 { values, .. } => {
                for (row, out) in values.chunks_exact(x.len()).zip(out.iter_mut()) {
                    *out = dot(row, x);
                }
            }
            Rows::Int8Groups { values, group_scales, .. } => {
                let rows = values.chunks_exact(x.len());
                let rows = rows.zip(group_scales.chunks_exact(x.len() / GROUP));
                for ((values, scales), out) in rows.zip(out.iter_mut()) {
                    let groups = values.chunks_exact(GROUP).zip(x.chunks_exact(GROUP)).zip(scales);
                    *out = groups.map(|((q, x), scale)| dot(q, x) * i64::from(*scale)).sum();
                }
            }
            Rows::Int4 { nibbles, group_scales, .. } => {
                let rows = nibbles.chunks_exact(x.len() / 2);
                let rows = rows.zip(group_scales.chunks_exact(x.len() / GROUP));
                for ((nibbles, scales), out) in rows.zip(out.iter_mut()) {
                    *out = dot_of_groups(nibbles, scales, x);
                }
            }
        }
    }
}

#[inline(always)]
fn dot(row: &[i8], x: &[i16]) -> i64 {
    let blocks = row.chunks(INT32_PRODUCTS).zip(x.chunks(INT32_PRODUCTS));
    let sums = blocks.map(|(row, x)| {
        let products = row.iter().zip(x).map(|(w, x)| i32::from(*w) * i32::from(*x));
        i64::from(products.sum::<i32>())
    });
    sums.sum()
}

/// Σ s·Σ q·x over groups of 32; byte i of a group holds q + 8 of its elements i and i + 16.
///
/// A group's sum stays below 32 · 8 · 32,768 = 2^23, times its scale below 2^30.
#[inline(always)]
fn dot_of_groups(nibbles: &[u8], scales: &[u8], x: &[i16]) -> i64 {
    let groups = nibbles.chunks_exact(GROUP / 2).zip(x.chunks_exact(GROUP)).zip(scales);
    let sums = groups.map(|((nibbles, x), scale)| {
        let (first, second) = x.split_at(GROUP / 2);
        let pairs = nibbles.iter().zip(first.iter().zip(second));
        let products = pairs.map(|(byte, (a, b))| {
            let (low, high) = (i32::from(byte & 15) - 8, i32::from(byte >> 4) - 8);
            low * i32::from(*a) + high * i32::from(*b)
        });
        i64::from(products.sum::<i32>() * i32::from(*scale))
    });
    sums.sum()
}

/// First stage of a requantisation: (n,) sums → (n,) int16 under one least exponent, returned.
#[inline(always)]
pub(super) fn narrow_sums(sums: &[i64], out: &mut [i16]) -> u32 {
    let max = sums.iter().fold(0, |max, sum| max.max(sum.unsigned_abs()));
    let e = least_exponent(max, INT16_MAX);
    for (out, sum) in out.iter_mut().zip(sums) {
        *out = round_shift(*sum, e) as i16;
    }
    e
}

/// (n,) int32 below 2^30 → (n,) int16 under one least exponent, returned.
#[inline(always)]
pub(super) fn narrow(values: &[i32], out: &mut [i16]) -> u32 {
    let max = values.iter().fold(0, |max, value| max.max(value.unsigned_abs()));
    let e = least_exponent(max.into(), INT16_MAX);
    for (out, value) in out.iter_mut().zip(values) {
        *out = round_shift_i32(*value, e) as i16;
    }
    e
}

/// (n,) int32 below 2^30 → (n,) int8 under one least exponent, returned.
#[inline(always)]
pub(super) fn narrow_to_int8(values: &[i32], out: &mut [i8]) -> u32 {
    let max = values.iter().fold(0, |max, value| max.max(value.unsigned_abs()));
    let e = least_exponent(max.into(), INT8_MAX);
    for (out, value) in out.iter_mut().zip(values) {
        *out = round_shift_i32(*value, e) as i8;
    }
    e
}

/// (n,) int16 times (n,) int16 → (n,) int32 below 2^30.
#[inline(always)]
pub(super) fn products(a: &[i16], b: &[i16], out: &mut [i32]) {
    for ((out, a), b) in out.iter_mut().zip(a).zip(b) {
        *out = i32::from(*a) * i32::from(*b);
    }
}

/// Adds values · 2^−shift, rounded, to the residual stream; returns the largest magnitude reached.
///
/// When that exceeds 2^31 − 1 the stream is void: the caller refuses.
#[inline(always)]
pub(super) fn add_scaled(values: &[i32], shift: i32, residual: &mut [i32]) -> u64 {
    let mut max = 0;
    for (value, residual) in values.iter().zip(residual) {
        let sum = i64::from(*residual) + scaled(i64::from(*value), shift);
        max = max.max(sum.unsigned_abs());
        *residual = sum as i32;
    }
    max
}

/// values · 2^−shift, rounded; returns the largest magnitude.
///
/// When that exceeds 2^31 − 1 the result is void: the caller's bound is below.
#[inline(always)]
pub(super) fn rescale(values: &[i32], shift: i32, out: &mut [i32]) -> u64 {
    let mut max = 0;
    for (value, out) in values.iter().zip(out) {
        let value = scaled(i64::from(*value), shift);
        max = max.max(value.unsigned_abs());
        *out = value as i32;
    }
    max
}

/// Adds a bias; both are first rescaled to the fewer fraction bits of the two, which are returned.
///
/// Values stay below 2^30 and biases below 2^29 in magnitude, so sums below 2^31.
#[inline(always)]
pub(super) fn add_bias(values: &mut [i32], bits: i32, bias: &[i32], bias_bits: i32) -> i32 {
    let common = bits.min(bias_bits);
    let (down, bias_down) = ((bits - common).unsigned_abs(), (bias_bits - common).unsigned_abs());
    for (value, bias) in values.iter_mut().zip(bias) {
        *value = round_shift_i32(*value, down) + round_shift_i32(*bias, bias_down);
    }
    common
}

/// Root mean square norm of (d,) int32 with (d,) int16 gains → (d,) int16.
///
/// `epsilon` has `epsilon_bits` more fraction bits than the squares of the values. `scratch` has d
/// elements. Returns how many fraction bits the output has beyond the gains'.
#[inline(always)]
pub(super) fn norm(
    values: &[i32],
    gains: &[i16],
    epsilon: u64,
    epsilon_bits: u32,
    scratch: &mut [i64],
    out: &mut [i16],
) -> i32 {
    let max = values.iter().fold(0, |max, value| max.max(value.unsigned_abs()));
    let shift = least_exponent(max.into(), NORM_MAX);
    let mut squares = 0_u64;
    for value in values {
        let value = i64::from(round_shift_i32(*value, shift));
        squares += (value * value) as u64;
    }
    let epsilon = epsilon_of(epsilon, epsilon_bits + 2 * shift);
    let (root, half_k) = inverse_root(values.len() as u64, squares + epsilon);
    for ((scratch, value), gain) in scratch.iter_mut().zip(values).zip(gains) {
        let value = i64::from(round_shift_i32(*value, shift));
        *scratch = value * i64::from(*gain) * root;
    }
    let e = narrow_sums(scratch, out);
    half_k.cast_signed() - e.cast_signed()
}

/// Layer norm of (d,) int32 with (d,) int16 gains → (d,) int32 below 2^30.
///
/// The differences from the mean are taken d-fold, so that they are integers: `epsilon` carries
/// d³ where the other norm's carries d. `scratch` has d elements. Returns as [`norm`] does.
#[inline(always)]
pub(super) fn layer_norm(
    values: &[i32],
    gains: &[i16],
    epsilon: u64,
    scratch: &mut [i64],
    out: &mut [i32],
) -> i32 {
    let width = values.len() as i64;
    let sum: i64 = values.iter().map(|value| i64::from(*value)).sum();
    let mut max = 0;
    for (scratch, value) in scratch.iter_mut().zip(values) {
        *scratch = width * i64::from(*value) - sum;
        max = max.max(scratch.unsigned_abs());
    }
    let shift = least_exponent(max, NORM_MAX);
    let mut squares = 0_u64;
    for scratch in scratch.iter_mut() {
        *scratch = round_shift(*scratch, shift);
        squares += (*scratch * *scratch) as u64;
    }
    let (root, half_k) = inverse_root(width as u64, squares + epsilon_of(epsilon, 2 * shift));
    let mut max = 0;
    for (scratch, gain) in scratch.iter_mut().zip(gains) {
        *scratch *= i64::from(*gain) * root;
        max = max.max(scratch.unsigned_abs());
    }
    let e = least_exponent(max, WIDE_MAX);
    for (out, scratch) in out.iter_mut().zip(scratch) {
        *out = round_shift(*scratch, e) as i32;
    }
    half_k.cast_signed() - e.cast_signed()
}

/// floor(epsilon / 2^shift + 1/2).
pub(super) fn epsilon_of(epsilon: u64, shift: u32) -> u64 {
    match shift {
        0 => epsilon,
        64.. => 0,
        shift => ((epsilon >> (shift - 1)) + 1) >> 1,
    }
}

/// The integer r < 2^16 with v·r² ≤ d·2^k < v·(r+1)², and k/2, for the largest such even k.
///
/// v = max(1, squares).
pub(super) fn inverse_root(width: u64, squares: u64) -> (i64, u32) {
    let v = u128::from(squares).max(1);
    let ceiling = v << 32;
    // d·2^k < v·2^32 bounds k from above; the bit lengths are within one of it.
    let width = u128::from(width);
    let mut half_k = (width.leading_zeros() - ceiling.leading_zeros()).div_ceil(2);
    while width << (2 * half_k) >= ceiling {
        half_k -= 1;
    }
    let root = ((width << (2 * half_k)) / v).isqrt();
    (root as i64, half_k)
}

/// Rotates (`head_dim`,) int16 by one position's (`head_dim`/2,) cosines and sines → int32.
///
/// Channel i turns with channel i + `head_dim`/2. Magnitudes stay below 2^30.
#[inline(always)]
pub(super) fn rotate(x: &[i16], cosines: &[i16], sines: &[i16], out: &mut [i32]) {
    let half = cosines.len();
    let (x_a, x_b) = x.split_at(half);
    let (out_a, out_b) = out.split_at_mut(half);
    for i in 0..half.min(sines.len()).min(x_b.len()).min(out_a.len()).min(out_b.len()) {
        let (a, b) = (i32::from(x_a[i]), i32::from(x_b[i]));
        let (cosine, sine) = (i32::from(cosines[i]), i32::from(sines[i]));
        out_a[i] = a * cosine - b * sine;
        out_b[i] = b * cosine + a * sine;
    }
}

/// (keys, `head_dim`) int8 × (`head_dim`,) int16 → (keys,) int32 below 2^30.
#[inline(always)]
pub(super) fn scores(query: &[i16], keys: &[i8], out: &mut [i32]) {
    for (key, out) in keys.chunks_exact(query.len()).zip(out) {
        *out = key.iter().zip(query).map(|(k, q)| i32::from(*k) * i32::from(*q)).sum();
    }
}

/// Brings each score to the fixed point of the exponential's table; returns the largest magnitude.
///
/// Score j has `query_bits` + `key_bits`\[j\] fraction bits before, `to_bits` after.
#[inline(always)]
pub(super) fn align_scores(
    scores: &mut [i32],
    key_bits: &[i16],
    query_bits: i32,
    to_bits: i32,
) -> u64 {
    let mut max = 0;
    for (score, key_bits) in scores.iter_mut().zip(key_bits) {
        let aligned = scaled(i64::from(*score), query_bits + i32::from(*key_bits) - to_bits);
        max = max.max(aligned.unsigned_abs());
        *score = aligned as i32;
    }
    max
}

/// Softmax numerators of aligned scores, each rounded down to its value's exponent.
///
/// Returns Z, the sum of the numerators before that rounding.
#[inline(always)]
pub(super) fn weights(
    scores: &[i32],
    value_bits: &[i16],
    least_bits: i16,
    table: &[u16],
    out: &mut [u16],
) -> u64 {
    let max = scores.iter().copied().max().unwrap_or_default();
    let mut total = 0_u64;
    for ((score, bits), out) in scores.iter().zip(value_bits).zip(out) {
        let below = i64::from(max) - i64::from(*score);
        let numerator = table.get(below as usize).copied().unwrap_or_default();
        total += u64::from(numerator);
        let shift = (i32::from(*bits) - i32::from(least_bits)).unsigned_abs();
        *out = round_shift(numerator.into(), shift) as u16;
    }
    total
}

/// (keys,) uint16 × (keys, `head_dim`) int8 → (`head_dim`,) complete sums.
#[inline(always)]
pub(super) fn weighted_sum(weights: &[u16], values: &[i8], out: &mut [i64]) {
    let width = out.len();
    out.fill(0);
    let mut block = [0_i32; super::HEAD_DIM_MAX];
    let block = &mut block[..width];
    let blocks = weights.chunks(INT32_KEYS).zip(values.chunks(INT32_KEYS * width));
    for (weights, values) in blocks {
        block.fill(0);
        for (weight, value) in weights.iter().zip(values.chunks_exact(width)) {
            for (sum, value) in block.iter_mut().zip(value) {
                *sum += i32::from(*weight) * i32::from(*value);
            }
        }
        for (out, sum) in out.iter_mut().zip(block.iter()) {
            *out += i64::from(*sum);
        }
    }
}

/// The one division of attention: floor(o · 2^(8 − lag) / Z + 1/2) for each sum o.
#[inline(always)]
pub(super) fn divide(sums: &[i64], total: u64, lag: u32, out: &mut [i16]) {
    // Beyond a lag of 16 every quotient is below 2^−1 in magnitude and rounds to zero.
    let lag = lag.min(24);
    let divisor = total.cast_signed() << lag.saturating_sub(8);
    let up = 8_u32.saturating_sub(lag);
    for (out, sum) in out.iter_mut().zip(sums) {
        *out = (2 * (*sum << up) + divisor).div_euclid(2 * divisor) as i16;
    }
}

/// max(x, 0) + ψ(|x|) for each x: SiLU or GELU, as the table says; beyond it ψ is zero.
#[inline(always)]
pub(super) fn activate(values: &mut [i32], table: &[i16]) {
    for value in values {
        let bend = table.get(value.unsigned_abs() as usize).copied().unwrap_or_default();
        *value = (*value).max(0) + i32::from(bend);
    }
}
