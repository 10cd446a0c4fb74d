//! Linear layers for few tokens: each row is read once, as fast as memory gives it.

use core::arch::x86_64::{
    __m256i, __mmask64, _MM_HINT_T0, _mm_loadu_si128, _mm_prefetch, _mm256_add_epi64,
    _mm256_cvtepi32_epi64, _mm256_setzero_si256, _mm256_slli_epi64, _mm256_storeu_si256,
    _mm256_sub_epi64, _mm512_dpbusd_epi32, _mm512_loadu_si512, _mm512_maskz_loadu_epi8,
    _mm512_setzero_si512,
};

use super::{ROWS, across};
use crate::kernel::{Activation, PLANE_BLOCK};

/// How far ahead of the rows at hand memory is asked for, at the least.
pub(super) const AHEAD_BYTES: usize = 12 << 10;
/// Tokens whose bytes one pass over a tile of rows multiplies.
const TOKENS: usize = 3;

/// (rows, k) int8 × (tokens, k) → (tokens, rows); `sums` are the rows' sums.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
pub(super) fn linear(rows: &[i8], sums: &[i32], xs: &[&Activation], outs: &mut [&mut [i64]]) {
    let width = xs[0].values().len();
    for first in (0..sums.len()).step_by(ROWS) {
        let count = ROWS.min(sums.len() - first);
        // Where a tile lacks rows its last row stands in for them.
        let tile: [&[i8]; ROWS] = core::array::from_fn(|i| {
            let row = first + i.min(count - 1);
            &rows[row * width..(row + 1) * width]
        });
        let tile_sums = core::array::from_fn(|i| sums[first + i.min(count - 1)]);
        for (xs, outs) in xs.chunks(TOKENS).zip(outs.chunks_mut(TOKENS)) {
            match *xs {
                [a] => finish(dots(tile, [a]), &tile_sums, outs, first, count),
                [a, b] => finish(dots(tile, [a, b]), &tile_sums, outs, first, count),
                [a, b, c] => finish(dots(tile, [a, b, c]), &tile_sums, outs, first, count),
                _ => {}
            }
        }
    }
}

/// The sums over high and low planes of one tile's rows, for each of T tokens.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn dots<const T: usize>(tile: [&[i8]; ROWS], xs: [&Activation; T]) -> [[__m256i; 2]; T] {
    let width = tile[0].len();
    let planes: [(&[u8], &[u8]); T] = xs.map(Activation::planes);
    for (high, low) in planes {
        // Both sides of the border: the loads below stay within these lengths.
        assert!(high.len() >= width.next_multiple_of(PLANE_BLOCK) && low.len() == high.len());
    }
    assert!(tile.iter().all(|row| row.len() == width));
    // The rows of later tiles lie whole tiles further on.
    let ahead = AHEAD_BYTES.next_multiple_of(ROWS * width);
    let mut sums = [[[_mm512_setzero_si512(); ROWS]; 2]; T];
    for start in (0..width).step_by(PLANE_BLOCK) {
        let left = width - start;
        let mask: __mmask64 = if left >= PLANE_BLOCK { u64::MAX } else { (1 << left) - 1 };
        let mut weights = [_mm512_setzero_si512(); ROWS];
        for (weights, row) in weights.iter_mut().zip(tile) {
            // SAFETY: the mask admits only the bytes that the row has from `start` on.
            *weights = unsafe { _mm512_maskz_loadu_epi8(mask, row.as_ptr().add(start)) };
            let ahead = row.as_ptr().wrapping_add(start + ahead);
            _mm_prefetch::<_MM_HINT_T0>(ahead);
        }
        for (sums, (high, low)) in sums.iter_mut().zip(planes) {
            // SAFETY: planes are padded to whole blocks, asserted above.
            let high = unsafe { _mm512_loadu_si512(high.as_ptr().add(start).cast()) };
            // SAFETY: as above.
            let low = unsafe { _mm512_loadu_si512(low.as_ptr().add(start).cast()) };
            for (i, weights) in weights.iter().enumerate() {
                sums[0][i] = _mm512_dpbusd_epi32(sums[0][i], high, *weights);
                sums[1][i] = _mm512_dpbusd_epi32(sums[1][i], low, *weights);
            }
        }
    }
    let mut found = [[_mm256_setzero_si256(); 2]; T];
    for (found, sums) in found.as_flattened_mut().iter_mut().zip(sums.as_flattened()) {
        *found = _mm256_cvtepi32_epi64(across(*sums));
    }
    found
}

/// 256·high + low − 32,768·sum for the first `count` rows of a tile, from `first` on.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
pub(super) fn finish<const T: usize>(
    planes: [[__m256i; 2]; T],
    sums: &[i32; ROWS],
    outs: &mut [&mut [i64]],
    first: usize,
    count: usize,
) {
    // SAFETY: `sums` has four elements.
    let sums = unsafe { _mm_loadu_si128(sums.as_ptr().cast()) };
    let bias = _mm256_slli_epi64::<15>(_mm256_cvtepi32_epi64(sums));
    for ([high, low], out) in planes.into_iter().zip(outs) {
        let both = _mm256_add_epi64(_mm256_slli_epi64::<8>(high), low);
        let mut four = [0_i64; ROWS];
        // SAFETY: `four` has four elements.
        unsafe { _mm256_storeu_si256(four.as_mut_ptr().cast(), _mm256_sub_epi64(both, bias)) };
        out[first..first + count].copy_from_slice(&four[..count]);
    }
}
