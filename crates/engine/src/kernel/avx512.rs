//! AVX-512 with VNNI: byte products for the linear layers; everything else is the law recompiled.
//!
//! An int16 activation is carried as x + 32,768 = 256·high + low with two unsigned byte planes, so
//! a row's sum is 256·(Σ w·high) + Σ w·low − 32,768·Σ w. Each plane's sum stays in int32: its
//! magnitude is at most 127·255·k, below 2^31 for k ≤ 66,311. `vpdpbusd` does not saturate.
#![expect(unsafe_code, reason = "vector loads and calls across target features")]

use core::arch::x86_64::{
    __m128i, __m512i, _mm_add_epi32, _mm256_add_epi32, _mm256_castsi256_si128,
    _mm256_extracti128_si256, _mm512_add_epi32, _mm512_castsi512_si256, _mm512_dpbusd_epi32,
    _mm512_extracti64x4_epi64, _mm512_set1_epi8, _mm512_setzero_si512, _mm512_unpackhi_epi32,
    _mm512_unpackhi_epi64, _mm512_unpacklo_epi32, _mm512_unpacklo_epi64,
};

use super::{Activation, Rows, portable};

mod attention;
mod groups;
mod narrow;
pub(super) mod panel;
mod stream;

/// Tokens from which regrouping rows into panels pays.
const PANEL_TOKENS_MIN: usize = 8;
/// Rows of one tile.
const ROWS: usize = 4;

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
    fn divide(sums: &[i64], total: u64, lag: u32, out: &mut [i16]);
}

/// (rows, k) × (tokens, k) → (tokens, rows).
pub(super) fn linear(rows: Rows<'_>, xs: &[&Activation], outs: &mut [&mut [i64]]) {
    // SAFETY: `Kernels` selects this file only where `is_supported` holds.
    unsafe {
        match rows {
            Rows::Int8 { values, sums } if xs.len() < PANEL_TOKENS_MIN => {
                stream::linear(values, sums, xs, outs);
            }
            Rows::Int8 { .. } | Rows::Int8Groups { .. } => panel::linear(rows, xs, outs),
            Rows::Int4 { .. } if xs.len() < PANEL_TOKENS_MIN => groups::stream(rows, xs, outs),
            Rows::Int4 { .. } => groups::panels(rows, xs, outs),
        }
    }
}

macro_rules! own {
    ($($file:ident::$name:ident($($arg:ident: $type:ty),*) $(-> $out:ty)?;)*) => {
        $(
            #[inline]
            pub(super) fn $name($($arg: $type),*) $(-> $out)? {
                // SAFETY: `Kernels` selects this file only where `is_supported` holds.
                unsafe { $file::$name($($arg),*) }
            }
        )*
    };
}

own! {
    narrow::narrow_sums(sums: &[i64], out: &mut [i16]) -> u32;
    attention::scores(query: &[i16], keys: &[i8], out: &mut [i32]);
    attention::align_scores(
        scores: &mut [i32], key_bits: &[i16], query_bits: i32, to_bits: i32
    ) -> u64;
    attention::weights(
        scores: &[i32], value_bits: &[i16], least_bits: i16, table: &[u16], out: &mut [u16]
    ) -> u64;
    attention::weighted_sum(weights: &[u16], values: &[i8], out: &mut [i64]);
    attention::activate(values: &mut [i32], table: &[i16]);
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

/// See [`Kernels::multiply_bytes`](super::Kernels::multiply_bytes).
pub(super) fn multiply_bytes(rounds: u64) -> u64 {
    #[target_feature(enable = "avx512f,avx512vnni")]
    fn multiply(rounds: u64) -> u64 {
        let factor = core::hint::black_box(_mm512_set1_epi8(1));
        let mut sums = [_mm512_setzero_si512(); 16];
        for _ in 0..rounds {
            for sum in &mut sums {
                *sum = _mm512_dpbusd_epi32(*sum, factor, factor);
            }
        }
        core::hint::black_box(sums);
        rounds * 16 * 64
    }
    // SAFETY: `Kernels` selects this file only where `is_supported` holds.
    unsafe { multiply(rounds) }
}
