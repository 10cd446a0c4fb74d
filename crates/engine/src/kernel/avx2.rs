//! AVX2: products of int16 for linear layers and attention; everything else is the law recompiled.
//!
//! `vpmaddubsw` saturates, so weights are widened to int16 and multiplied with `vpmaddwd`, whose
//! pairs of products are exact in int32. How many pairs an int32 lane may add before it is widened:
//! int8 rows 256 (256·2·127·32,768 < 2^31), int4 elements s·q 32 (32·2·1,016·32,768 < 2^31).
#![expect(unsafe_code, reason = "vector loads and calls across target features")]

use core::arch::x86_64::{
    __m256i, _mm_add_epi32, _mm_and_si128, _mm_cvtsi128_si32, _mm_loadu_si128, _mm_set1_epi8,
    _mm_shuffle_epi32, _mm_srli_epi16, _mm256_add_epi32, _mm256_add_epi64, _mm256_castsi256_si128,
    _mm256_cvtepi8_epi16, _mm256_cvtepi32_epi64, _mm256_extracti128_si256, _mm256_loadu_si256,
    _mm256_madd_epi16, _mm256_mullo_epi16, _mm256_set1_epi16, _mm256_set1_epi32,
    _mm256_setzero_si256, _mm256_storeu_si256, _mm256_sub_epi16, _mm256_unpackhi_epi16,
    _mm256_unpacklo_epi16,
};
use std::cell::RefCell;

use super::{Activation, GROUP, HEAD_DIM_MAX, Rows, portable};

/// int16 values in one vector.
const LANES: usize = 16;
/// Rows of one tile.
const ROWS: usize = 4;
/// Tokens of one tile: 4 rows · 2 tokens fill 8 of 16 registers.
const TOKENS: usize = 2;
/// Widened elements that are made at a time: 256 KiB stay in a second-level cache.
const BLOCK_ELEMENTS: usize = 128 << 10;
/// Vectors of int8 products that an int32 lane adds before it is widened.
const INT8_VECTORS: usize = 256;
/// Vectors of products of int8 groups that an int32 lane adds: 2 · 2 · 127² · 32,768 < 2^31.
const INT8_GROUPS_VECTORS: usize = 2;
/// Vectors of int4 products that an int32 lane adds before it is widened.
const INT4_VECTORS: usize = 32;
/// Keys that an int32 lane adds: 508 · 127 · 32,768 < 2^31, in pairs.
const INT32_KEYS: usize = 508;

thread_local! {
    /// The widened rows at hand; kept, so that no call allocates after the first.
    static WIDENED: RefCell<Vec<i16>> = const { RefCell::new(vec![]) };
}

/// Whether this machine has every instruction that this file uses.
pub(super) fn is_supported() -> bool {
    is_x86_feature_detected!("avx2")
}

macro_rules! law_recompiled {
    ($(fn $name:ident($($arg:ident: $type:ty),*) $(-> $out:ty)?;)*) => {
        $(
            #[inline]
            pub(super) fn $name($($arg: $type),*) $(-> $out)? {
                #[target_feature(enable = "avx2,bmi1,bmi2,lzcnt")]
                fn recompiled($($arg: $type),*) $(-> $out)? {
                    portable::$name($($arg),*)
                }
                // SAFETY: `Kernels` selects this file only where `is_supported` holds.
                unsafe { recompiled($($arg),*) }
            }
        )*
    };
}

law_recompiled! {
    fn narrow_sums(sums: &[i64], out: &mut [i16]) -> u32;
    fn narrow(values: &[i32], out: &mut [i16]) -> u32;
    fn narrow_to_int8(values: &[i32], out: &mut [i8]) -> u32;
    fn products(a: &[i16], b: &[i16], out: &mut [i32]);
    fn add_scaled(values: &[i32], shift: i32, residual: &mut [i32]) -> u64;
    fn rescale(values: &[i32], shift: i32, out: &mut [i32]) -> u64;
    fn norm(
        values: &[i32], gains: &[i16], epsilon: u64, epsilon_bits: u32,
        scratch: &mut [i64], out: &mut [i16]
    ) -> i32;
    fn layer_norm(
        values: &[i32], gains: &[i16], epsilon: u64, scratch: &mut [i64], out: &mut [i32]
    ) -> i32;
    fn add_bias(values: &mut [i32], bits: i32, bias: &[i32], bias_bits: i32) -> i32;
    fn rotate(x: &[i16], cosines: &[i16], sines: &[i16], out: &mut [i32]);
    fn align_scores(scores: &mut [i32], key_bits: &[i16], query_bits: i32, to_bits: i32) -> u64;
    fn weights(
        scores: &[i32], value_bits: &[i16], least_bits: i16, table: &[u16], out: &mut [u16]
    ) -> u64;
    fn divide(sums: &[i64], total: u64, lag: u32, out: &mut [i16]);
    fn activate(values: &mut [i32], table: &[i16]);
}

/// (rows, k) × (tokens, k) → (tokens, rows).
pub(super) fn linear(rows: Rows<'_>, xs: &[&Activation], outs: &mut [&mut [i64]]) {
    let Some(width) = xs.first().map(|x| x.values().len()) else { return };
    let padded = width.next_multiple_of(LANES);
    let block_rows = (BLOCK_ELEMENTS / padded).max(ROWS) / ROWS * ROWS;
    let lane_vectors = match rows {
        Rows::Int8 { .. } => INT8_VECTORS,
        Rows::Int8Groups { .. } => INT8_GROUPS_VECTORS,
        Rows::Int4 { .. } => INT4_VECTORS,
    };
    WIDENED.with_borrow_mut(|room| {
        room.resize(room.len().max(block_rows.min(rows.count()) * padded), 0);
        for first in (0..rows.count()).step_by(block_rows) {
            let end = rows.count().min(first + block_rows);
            let widened = &mut room[..(end - first) * padded];
            // SAFETY: `Kernels` selects this file only where `is_supported` holds.
            unsafe {
                widen(rows.part(first, end), width, widened);
                block(widened, width, lane_vectors, xs, outs, first);
            }
        }
    });
}

/// (rows, k) elements → (rows, k rounded up to whole vectors) int16.
#[target_feature(enable = "avx2")]
fn widen(rows: Rows<'_>, width: usize, out: &mut [i16]) {
    let outs = out.chunks_exact_mut(width.next_multiple_of(LANES));
    match rows {
        Rows::Int8 { values, .. } => {
            for (out, row) in outs.zip(values.chunks_exact(width)) {
                out[width..].fill(0);
                for (out, value) in out.iter_mut().zip(row) {
                    *out = (*value).into();
                }
            }
        }
        Rows::Int8Groups { values, group_scales, .. } => {
            let rows = values.chunks_exact(width).zip(group_scales.chunks_exact(width / GROUP));
            for (out, (row, scales)) in outs.zip(rows) {
                let groups = row.chunks_exact(GROUP).zip(scales);
                for (out, (values, scale)) in out.chunks_exact_mut(GROUP).zip(groups) {
                    for (out, value) in out.iter_mut().zip(values) {
                        *out = i16::from(*value) * i16::from(*scale);
                    }
                }
            }
        }
        Rows::Int4 { nibbles, group_scales, .. } => {
            let rows =
                nibbles.chunks_exact(width / 2).zip(group_scales.chunks_exact(width / GROUP));
            for (out, (nibbles, scales)) in outs.zip(rows) {
                let groups = nibbles.chunks_exact(GROUP / 2).zip(scales);
                for (out, (bytes, scale)) in out.chunks_exact_mut(GROUP).zip(groups) {
                    widen_group(bytes, *scale, out);
                }
            }
        }
    }
}

/// The 32 elements s·q of one group.
#[target_feature(enable = "avx2")]
fn widen_group(bytes: &[u8], scale: u8, out: &mut [i16]) {
    assert!(bytes.len() == GROUP / 2 && out.len() == GROUP);
    // SAFETY: a group has sixteen bytes, asserted above.
    let bytes = unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) };
    let nibble = _mm_set1_epi8(15);
    let halves = [bytes, _mm_srli_epi16::<4>(bytes)];
    for (half, out) in halves.into_iter().zip(out.chunks_exact_mut(LANES)) {
        let elements = _mm256_cvtepi8_epi16(_mm_and_si128(half, nibble));
        let elements = _mm256_sub_epi16(elements, _mm256_set1_epi16(8));
        let elements = _mm256_mullo_epi16(elements, _mm256_set1_epi16(scale.into()));
        // SAFETY: half a group has sixteen elements.
        unsafe { _mm256_storeu_si256(out.as_mut_ptr().cast(), elements) };
    }
}

/// One block's widened rows times every token.
#[target_feature(enable = "avx2")]
fn block(
    rows: &[i16],
    width: usize,
    lane_vectors: usize,
    xs: &[&Activation],
    outs: &mut [&mut [i64]],
    first: usize,
) {
    let padded = width.next_multiple_of(LANES);
    let count = rows.len() / padded;
    for (xs, outs) in xs.chunks(TOKENS).zip(outs.chunks_mut(TOKENS)) {
        for begin in (0..count).step_by(ROWS) {
            let have = ROWS.min(count - begin);
            // Where a tile lacks rows its last row stands in for them.
            let tile = core::array::from_fn(|i| {
                let row = begin + i.min(have - 1);
                &rows[row * padded..(row + 1) * padded]
            });
            let at = first + begin..first + begin + have;
            match *xs {
                [a] => {
                    let [a] = dots(tile, [a.values()], lane_vectors);
                    outs[0][at].copy_from_slice(&a[..have]);
                }
                [a, b] => {
                    let [a, b] = dots(tile, [a.values(), b.values()], lane_vectors);
                    outs[0][at.clone()].copy_from_slice(&a[..have]);
                    outs[1][at].copy_from_slice(&b[..have]);
                }
                _ => {}
            }
        }
    }
}

/// The sums of four widened rows times T tokens; `lane_vectors` are added between two widenings.
#[target_feature(enable = "avx2")]
fn dots<const T: usize>(
    tile: [&[i16]; ROWS],
    xs: [&[i16]; T],
    lane_vectors: usize,
) -> [[i64; ROWS]; T] {
    let width = xs[0].len();
    assert!(xs.iter().all(|x| x.len() == width));
    assert!(tile.iter().all(|row| row.len() == width.next_multiple_of(LANES)));
    let whole = width / LANES * LANES;
    let mut wide = [[_mm256_setzero_si256(); ROWS]; T];
    for start in (0..whole).step_by(lane_vectors * LANES) {
        let end = whole.min(start + lane_vectors * LANES);
        let mut sums = [[_mm256_setzero_si256(); ROWS]; T];
        for at in (start..end).step_by(LANES) {
            // SAFETY: each row has sixteen elements from `at` on.
            let rows = tile.map(|row| unsafe { load(row.as_ptr().add(at)) });
            for (sums, x) in sums.iter_mut().zip(xs) {
                // SAFETY: `at` + 16 is at most the width of each token.
                let x = unsafe { load(x.as_ptr().add(at)) };
                for (sum, row) in sums.iter_mut().zip(rows) {
                    *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(row, x));
                }
            }
        }
        widen_sums(&mut wide, sums);
    }
    if whole < width {
        let mut sums = [[_mm256_setzero_si256(); ROWS]; T];
        for (sums, x) in sums.iter_mut().zip(xs) {
            let mut tail = [0; LANES];
            tail[..width - whole].copy_from_slice(&x[whole..]);
            // SAFETY: `tail` has sixteen elements.
            let x = unsafe { load(tail.as_ptr()) };
            for (sum, row) in sums.iter_mut().zip(tile) {
                // SAFETY: each row has sixteen elements from `whole` on.
                let row = unsafe { load(row.as_ptr().add(whole)) };
                *sum = _mm256_madd_epi16(row, x);
            }
        }
        widen_sums(&mut wide, sums);
    }
    wide.map(|rows| rows.map(|row| across_wide(row)))
}

/// Adds int32 lanes to int64 lanes; which lane does not matter.
#[target_feature(enable = "avx2")]
fn widen_sums<const T: usize>(wide: &mut [[__m256i; ROWS]; T], sums: [[__m256i; ROWS]; T]) {
    for (wide, sum) in wide.as_flattened_mut().iter_mut().zip(sums.as_flattened()) {
        let front = _mm256_cvtepi32_epi64(_mm256_castsi256_si128(*sum));
        let behind = _mm256_cvtepi32_epi64(_mm256_extracti128_si256::<1>(*sum));
        *wide = _mm256_add_epi64(*wide, _mm256_add_epi64(front, behind));
    }
}

/// Sixteen int16 values.
///
/// # Safety
/// They can be read from `from` on.
#[target_feature(enable = "avx2")]
unsafe fn load(from: *const i16) -> __m256i {
    // SAFETY: the caller's promise.
    unsafe { _mm256_loadu_si256(from.cast()) }
}

/// Sixteen int8 values as int16.
#[target_feature(enable = "avx2")]
fn load_bytes(from: &[i8]) -> __m256i {
    assert!(from.len() >= LANES);
    // SAFETY: there are sixteen bytes, asserted above.
    _mm256_cvtepi8_epi16(unsafe { _mm_loadu_si128(from.as_ptr().cast()) })
}

/// The sum of four int64 lanes.
#[target_feature(enable = "avx2")]
fn across_wide(v: __m256i) -> i64 {
    let mut four = [0_i64; 4];
    // SAFETY: `four` has four elements.
    unsafe { _mm256_storeu_si256(four.as_mut_ptr().cast(), v) };
    four.iter().sum()
}

/// (keys, `head_dim`) int8 × (`head_dim`,) int16 → (keys,) int32 below 2^30.
pub(super) fn scores(query: &[i16], keys: &[i8], out: &mut [i32]) {
    // SAFETY: `Kernels` selects this file only where `is_supported` holds.
    unsafe { key_products(query, keys, out) }
}

#[target_feature(enable = "avx2")]
fn key_products(query: &[i16], keys: &[i8], out: &mut [i32]) {
    let (query_whole, query_tail) = query.split_at(query.len() / LANES * LANES);
    for (key, out) in keys.chunks_exact(query.len()).zip(out) {
        let (key_whole, key_tail) = key.split_at(query_whole.len());
        let mut sum = _mm256_setzero_si256();
        for (query, key) in query_whole.chunks_exact(LANES).zip(key_whole.chunks_exact(LANES)) {
            // SAFETY: a chunk has sixteen elements.
            let query = unsafe { load(query.as_ptr()) };
            sum = _mm256_add_epi32(sum, _mm256_madd_epi16(query, load_bytes(key)));
        }
        let half = _mm_add_epi32(_mm256_castsi256_si128(sum), _mm256_extracti128_si256::<1>(sum));
        let pair = _mm_add_epi32(half, _mm_shuffle_epi32::<0b00_00_11_10>(half));
        let one = _mm_add_epi32(pair, _mm_shuffle_epi32::<0b00_00_00_01>(pair));
        let tail = key_tail.iter().zip(query_tail).map(|(k, q)| i32::from(*k) * i32::from(*q));
        *out = _mm_cvtsi128_si32(one) + tail.sum::<i32>();
    }
}

/// (keys,) uint16 × (keys, `head_dim`) int8 → (`head_dim`,) complete sums.
pub(super) fn weighted_sum(weights: &[u16], values: &[i8], out: &mut [i64]) {
    // SAFETY: `Kernels` selects this file only where `is_supported` holds.
    unsafe { weigh(weights, values, out) }
}

/// A weight is taken as w − 32,768, which int16 holds; 32,768 times the sum of the values is added.
#[target_feature(enable = "avx2")]
fn weigh(weights: &[u16], values: &[i8], out: &mut [i64]) {
    let width = out.len();
    if !width.is_multiple_of(LANES) || width > HEAD_DIM_MAX {
        return portable::weighted_sum(weights, values, out);
    }
    out.fill(0);
    let chunks = weights.chunks(INT32_KEYS).zip(values.chunks(INT32_KEYS * width));
    for (weights, values) in chunks {
        for (index, out) in out.chunks_exact_mut(LANES).enumerate() {
            weigh_channels(weights, values, width, index * LANES, out);
        }
    }
}

/// Sixteen channels from `channel` on, of keys that an int32 lane can add.
#[target_feature(enable = "avx2")]
fn weigh_channels(weights: &[u16], values: &[i8], width: usize, channel: usize, out: &mut [i64]) {
    let ones = _mm256_set1_epi32(0x0001_0001);
    let zero = _mm256_setzero_si256();
    let (mut sums, mut plain) = ([zero; 2], [zero; 2]);
    for (weights, values) in weights.chunks(2).zip(values.chunks(2 * width)) {
        let first = load_bytes(&values[channel..]);
        // A last single key is paired with zeros.
        let (second, weight) = match weights {
            [_, weight] => (load_bytes(&values[width + channel..]), *weight),
            _ => (zero, 0x8000),
        };
        let pair = u32::from(weights[0] ^ 0x8000) | u32::from(weight ^ 0x8000) << 16;
        let pair = _mm256_set1_epi32(pair.cast_signed());
        let pairs = [_mm256_unpacklo_epi16(first, second), _mm256_unpackhi_epi16(first, second)];
        for ((sum, plain), values) in sums.iter_mut().zip(&mut plain).zip(pairs) {
            *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(pair, values));
            *plain = _mm256_add_epi32(*plain, _mm256_madd_epi16(ones, values));
        }
    }
    // Each half of a vector has its first four channels in the first, its others in the second.
    for (half, (sum, plain)) in sums.into_iter().zip(plain).enumerate() {
        let (mut weighted, mut counted) = ([0_i32; 8], [0_i32; 8]);
        // SAFETY: both arrays have eight elements.
        unsafe { _mm256_storeu_si256(weighted.as_mut_ptr().cast(), sum) };
        // SAFETY: as above.
        unsafe { _mm256_storeu_si256(counted.as_mut_ptr().cast(), plain) };
        for (lane, (weighted, counted)) in weighted.into_iter().zip(counted).enumerate() {
            let at = lane / 4 * 8 + half * 4 + lane % 4;
            out[at] += i64::from(weighted) + (i64::from(counted) << 15);
        }
    }
}

/// See [`Kernels::multiply_bytes`](super::Kernels::multiply_bytes).
pub(super) fn multiply_bytes(rounds: u64) -> u64 {
    #[target_feature(enable = "avx2")]
    fn multiply(rounds: u64) -> u64 {
        let factor = core::hint::black_box(_mm256_set1_epi16(1));
        let mut sums = [_mm256_setzero_si256(); 8];
        for _ in 0..rounds {
            for sum in &mut sums {
                *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(*sum, factor));
            }
        }
        core::hint::black_box(sums);
        rounds * 8 * 16
    }
    // SAFETY: `Kernels` selects this file only where `is_supported` holds.
    unsafe { multiply(rounds) }
}
