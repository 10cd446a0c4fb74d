//! AVX-512 with VNNI: byte products for the linear layers; everything else is the law recompiled.
//!
//! An int16 activation is carried as x + 32,768 = 256·high + low with two unsigned byte planes, so
//! a row's sum is 256·(Σ w·high) + Σ w·low − 32,768·Σ w. Each plane's sum stays in int32: its
//! magnitude is at most 127·255·k, below 2^31 for k ≤ 66,311. `vpdpbusd` does not saturate.
#![expect(unsafe_code, reason = "vector loads and calls across target features")]

use core::arch::x86_64::{
    __m128i, __m512i, __mmask32, __mmask64, _mm_add_epi32, _mm_loadu_si128, _mm_setzero_si128,
    _mm_storeu_si128, _mm256_add_epi32, _mm256_add_epi64, _mm256_castsi256_si128,
    _mm256_cvtepi32_epi64, _mm256_extracti128_si256, _mm256_maskz_loadu_epi8, _mm256_slli_epi64,
    _mm256_storeu_si256, _mm256_sub_epi64, _mm512_add_epi32, _mm512_castsi512_si256,
    _mm512_cvtepi8_epi16, _mm512_dpbusd_epi32, _mm512_dpwssd_epi32, _mm512_extracti64x4_epi64,
    _mm512_loadu_si512, _mm512_maskz_loadu_epi8, _mm512_maskz_loadu_epi16, _mm512_setzero_si512,
    _mm512_unpackhi_epi32, _mm512_unpackhi_epi64, _mm512_unpacklo_epi32, _mm512_unpacklo_epi64,
};

use super::{Activation, PLANE_BLOCK, Rows, portable};

/// Rows of one tile.
const ROWS: usize = 4;
/// int16 values in one vector.
const PAIR_BLOCK: usize = 32;

/// Whether this machine has every instruction that this file uses.
pub(super) fn is_supported() -> bool {
    is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512dq")
        && is_x86_feature_detected!("avx512vl")
        && is_x86_feature_detected!("avx512vnni")
}

macro_rules! law_recompiled {
    ($(fn $name:ident($($arg:ident: $type:ty),*) $(-> $out:ty)?;)*) => {
        $(
            #[inline]
            pub(super) fn $name($($arg: $type),*) $(-> $out)? {
                #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
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
    fn weighted_sum(weights: &[u16], values: &[i8], out: &mut [i64]);
    fn divide(sums: &[i64], total: u64, lag: u32, out: &mut [i16]);
    fn activate(values: &mut [i32], table: &[i16]);
}

/// (rows, k) × (tokens, k) → (tokens, rows).
pub(super) fn linear(rows: Rows<'_>, xs: &[&Activation], outs: &mut [&mut [i64]]) {
    match rows {
        // SAFETY: `Kernels` selects this file only where `is_supported` holds.
        Rows::Int8 { values, sums } => unsafe { tiles(values, sums, xs, outs) },
        Rows::Int4 { .. } => portable::linear(rows, xs, outs),
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn tiles(rows: &[i8], sums: &[i32], xs: &[&Activation], outs: &mut [&mut [i64]]) {
    let Some(width) = xs.first().map(|x| x.values().len()) else { return };
    let full = sums.len() - sums.len() % ROWS;
    for row in (0..full).step_by(ROWS) {
        let mut tile: [&[i8]; ROWS] = [&[]; ROWS];
        for (i, tile) in tile.iter_mut().enumerate() {
            *tile = &rows[(row + i) * width..(row + i + 1) * width];
        }
        let tile_sums = &sums[row..row + ROWS];
        let mut pairs = xs.chunks_exact(2).zip(outs.chunks_exact_mut(2));
        for (xs, outs) in &mut pairs {
            let [a, b] = dots(tile, [xs[0], xs[1]]);
            finish(a, tile_sums, &mut outs[0][row..row + ROWS]);
            finish(b, tile_sums, &mut outs[1][row..row + ROWS]);
        }
        if xs.len() % 2 == 1 {
            let last = xs.len() - 1;
            let [a] = dots(tile, [xs[last]]);
            finish(a, tile_sums, &mut outs[last][row..row + ROWS]);
        }
    }
    for row in full..sums.len() {
        let weights = &rows[row * width..(row + 1) * width];
        for (x, out) in xs.iter().zip(outs.iter_mut()) {
            // A tile whose rows are all this one: the tail is at most three rows of a matrix.
            let [a] = dots([weights; ROWS], [*x]);
            let mut four = [0_i64; ROWS];
            finish(a, &[sums[row]; ROWS], &mut four);
            out[row] = four[0];
        }
    }
}

/// The sums over high and low planes of one tile's rows, for each of T tokens.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn dots<const T: usize>(tile: [&[i8]; ROWS], xs: [&Activation; T]) -> [[__m128i; 2]; T] {
    let width = tile[0].len();
    let planes: [(&[u8], &[u8]); T] = xs.map(Activation::planes);
    for (high, low) in planes {
        // Both sides of the border: the loads below stay within these lengths.
        assert!(high.len() >= width.next_multiple_of(PLANE_BLOCK) && low.len() == high.len());
    }
    assert!(tile.iter().all(|row| row.len() == width));
    let mut high_sums = [[_mm512_setzero_si512(); ROWS]; T];
    let mut low_sums = high_sums;
    for start in (0..width).step_by(PLANE_BLOCK) {
        let left = width - start;
        let mask: __mmask64 = if left >= PLANE_BLOCK { u64::MAX } else { (1 << left) - 1 };
        let mut weights = [_mm512_setzero_si512(); ROWS];
        for (weights, row) in weights.iter_mut().zip(tile) {
            // SAFETY: the mask admits only the bytes that the row has from `start` on.
            *weights = unsafe { _mm512_maskz_loadu_epi8(mask, row.as_ptr().add(start)) };
        }
        for t in 0..T {
            let (high, low) = planes[t];
            // SAFETY: planes are padded to whole blocks, asserted above.
            let high = unsafe { _mm512_loadu_si512(high.as_ptr().add(start).cast()) };
            // SAFETY: as above.
            let low = unsafe { _mm512_loadu_si512(low.as_ptr().add(start).cast()) };
            for i in 0..ROWS {
                high_sums[t][i] = _mm512_dpbusd_epi32(high_sums[t][i], high, weights[i]);
                low_sums[t][i] = _mm512_dpbusd_epi32(low_sums[t][i], low, weights[i]);
            }
        }
    }
    let mut sums = [[_mm_setzero_si128(); 2]; T];
    for t in 0..T {
        sums[t] = [across(high_sums[t]), across(low_sums[t])];
    }
    sums
}

/// (keys, `head_dim`) int8 × (`head_dim`,) int16 → (keys,), four keys at a time.
pub(super) fn scores(query: &[i16], keys: &[i8], out: &mut [i32]) {
    // SAFETY: `Kernels` selects this file only where `is_supported` holds.
    unsafe { key_products(query, keys, out) }
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn key_products(query: &[i16], keys: &[i8], out: &mut [i32]) {
    let width = query.len();
    let full = out.len() - out.len() % ROWS;
    assert!(keys.len() >= out.len() * width);
    for (index, out) in out[..full].chunks_exact_mut(ROWS).enumerate() {
        let keys = &keys[index * ROWS * width..(index + 1) * ROWS * width];
        let mut sums = [_mm512_setzero_si512(); ROWS];
        for start in (0..width).step_by(PAIR_BLOCK) {
            let left = width - start;
            let mask: __mmask32 = if left >= PAIR_BLOCK { u32::MAX } else { (1 << left) - 1 };
            // SAFETY: the mask admits only the values that the query has from `start` on.
            let query = unsafe { _mm512_maskz_loadu_epi16(mask, query.as_ptr().add(start)) };
            for (i, sum) in sums.iter_mut().enumerate() {
                // SAFETY: the mask admits only the bytes of key i, which `keys` holds.
                let key =
                    unsafe { _mm256_maskz_loadu_epi8(mask, keys.as_ptr().add(i * width + start)) };
                *sum = _mm512_dpwssd_epi32(*sum, query, _mm512_cvtepi8_epi16(key));
            }
        }
        // SAFETY: `out` is a chunk of four elements.
        unsafe { _mm_storeu_si128(out.as_mut_ptr().cast(), across(sums)) };
    }
    portable::scores(query, &keys[full * width..], &mut out[full..]);
}

/// The sum of all lanes of each of four vectors.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn across(v: [__m512i; ROWS]) -> __m128i {
    let ab = _mm512_add_epi32(_mm512_unpacklo_epi32(v[0], v[1]), _mm512_unpackhi_epi32(v[0], v[1]));
    let cd = _mm512_add_epi32(_mm512_unpacklo_epi32(v[2], v[3]), _mm512_unpackhi_epi32(v[2], v[3]));
    let abcd = _mm512_add_epi32(_mm512_unpacklo_epi64(ab, cd), _mm512_unpackhi_epi64(ab, cd));
    let half = _mm256_add_epi32(_mm512_castsi512_si256(abcd), _mm512_extracti64x4_epi64::<1>(abcd));
    _mm_add_epi32(_mm256_castsi256_si128(half), _mm256_extracti128_si256::<1>(half))
}

/// 256·high + low − 32,768·sum for each of a tile's rows.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn finish(planes: [__m128i; 2], sums: &[i32], out: &mut [i64]) {
    assert!(sums.len() >= ROWS && out.len() >= ROWS);
    let [high, low] = planes.map(|plane| _mm256_cvtepi32_epi64(plane));
    // SAFETY: `sums` has at least four elements, asserted above.
    let sums = unsafe { _mm_loadu_si128(sums.as_ptr().cast()) };
    let bias = _mm256_slli_epi64::<15>(_mm256_cvtepi32_epi64(sums));
    let total = _mm256_sub_epi64(_mm256_add_epi64(_mm256_slli_epi64::<8>(high), low), bias);
    // SAFETY: `out` has at least four elements, asserted above.
    unsafe { _mm256_storeu_si256(out.as_mut_ptr().cast(), total) };
}
