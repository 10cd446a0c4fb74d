//! Attention and tables: scores, the softmax's numerators, weighted sums, activations.

use core::arch::x86_64::{
    __m256i, __m512i, __mmask8, __mmask16, __mmask32, __mmask64, _mm_storeu_si128,
    _mm256_loadu_si256, _mm256_maskz_loadu_epi8, _mm256_maskz_loadu_epi16, _mm512_abs_epi32,
    _mm512_add_epi32, _mm512_add_epi64, _mm512_and_si512, _mm512_castsi512_si256,
    _mm512_cmpeq_epi32_mask, _mm512_cmplt_epi32_mask, _mm512_cmplt_epu32_mask,
    _mm512_cvtepi8_epi16, _mm512_cvtepi16_epi32, _mm512_cvtepi32_epi64, _mm512_cvtepu32_epi64,
    _mm512_dpbusd_epi32, _mm512_dpwssd_epi32, _mm512_extracti64x4_epi64, _mm512_loadu_si512,
    _mm512_mask_blend_epi32, _mm512_mask_cvtepi32_storeu_epi16, _mm512_mask_i32gather_epi32,
    _mm512_mask_loadu_epi32, _mm512_mask_storeu_epi32, _mm512_mask_storeu_epi64,
    _mm512_maskz_loadu_epi8, _mm512_maskz_loadu_epi16, _mm512_maskz_loadu_epi32,
    _mm512_maskz_loadu_epi64, _mm512_maskz_mov_epi32, _mm512_max_epi32, _mm512_max_epu32,
    _mm512_min_epi32, _mm512_reduce_add_epi64, _mm512_reduce_max_epi32, _mm512_reduce_max_epu32,
    _mm512_set1_epi32, _mm512_setzero_si512, _mm512_shuffle_i32x4, _mm512_slli_epi32,
    _mm512_slli_epi64, _mm512_srai_epi32, _mm512_srav_epi32, _mm512_srli_epi32, _mm512_srlv_epi32,
    _mm512_sub_epi32, _mm512_unpackhi_epi8, _mm512_unpackhi_epi16, _mm512_unpacklo_epi8,
    _mm512_unpacklo_epi16,
};

use super::{ROWS, across};
use crate::kernel::portable;

/// int32 values in one vector.
const LANES: usize = 16;
/// int16 values in one vector.
const PAIR_BLOCK: usize = 32;
/// Bytes in one vector.
const BLOCK: usize = 64;
/// Keys whose bytes one product adds.
const QUAD: usize = 4;
/// Keys that an int32 lane adds: 65,536 · 255 · 127 < 2^31.
const INT32_KEYS: usize = 1 << 16;
/// Numerators that sixteen uint32 lanes add: 2^20 / 16 · 65,535 < 2^32.
const INT32_NUMERATORS: usize = 1 << 20;

/// The first `left` of sixteen lanes.
fn first_lanes(left: usize) -> __mmask16 {
    if left >= LANES { u16::MAX } else { (1 << left) - 1 }
}

/// (keys, `head_dim`) int8 × (`head_dim`,) int16 → (keys,), four keys at a time.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
pub(super) fn scores(query: &[i16], keys: &[i8], out: &mut [i32]) {
    match query.len() {
        32 => key_products::<1>(query, keys, out),
        64 => key_products::<2>(query, keys, out),
        96 => key_products::<3>(query, keys, out),
        128 => key_products::<4>(query, keys, out),
        256 => key_products::<8>(query, keys, out),
        width => {
            let full = out.len() - out.len() % ROWS;
            assert!(keys.len() >= out.len() * width);
            for (index, out) in out[..full].chunks_exact_mut(ROWS).enumerate() {
                four_keys(query, &keys[index * ROWS * width..], out);
            }
            portable::scores(query, &keys[full * width..], &mut out[full..]);
        }
    }
}

/// Keys of exactly BLOCKS vectors of 32 channels.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn key_products<const BLOCKS: usize>(query: &[i16], keys: &[i8], out: &mut [i32]) {
    let width = BLOCKS * PAIR_BLOCK;
    let full = out.len() - out.len() % ROWS;
    assert!(query.len() == width && keys.len() >= out.len() * width);
    let mut pairs = [_mm512_setzero_si512(); BLOCKS];
    for (block, pairs) in pairs.iter_mut().enumerate() {
        // SAFETY: the query has BLOCKS vectors, asserted above.
        *pairs = unsafe { _mm512_loadu_si512(query.as_ptr().add(block * PAIR_BLOCK).cast()) };
    }
    for (index, out) in out[..full].chunks_exact_mut(ROWS).enumerate() {
        let mut sums = [_mm512_setzero_si512(); ROWS];
        for (i, sum) in sums.iter_mut().enumerate() {
            for (block, query) in pairs.iter().enumerate() {
                let at = (index * ROWS + i) * width + block * PAIR_BLOCK;
                // SAFETY: `keys` holds every key whole, asserted above.
                let key = unsafe { _mm256_loadu_si256(keys.as_ptr().add(at).cast()) };
                *sum = _mm512_dpwssd_epi32(*sum, *query, _mm512_cvtepi8_epi16(key));
            }
        }
        // SAFETY: `out` is a chunk of four elements.
        unsafe { _mm_storeu_si128(out.as_mut_ptr().cast(), across(sums)) };
    }
    portable::scores(query, &keys[full * width..], &mut out[full..]);
}

/// Four keys of any width.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn four_keys(query: &[i16], keys: &[i8], out: &mut [i32]) {
    let width = query.len();
    assert!(keys.len() >= ROWS * width && out.len() == ROWS);
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
    // SAFETY: `out` has four elements, asserted above.
    unsafe { _mm_storeu_si128(out.as_mut_ptr().cast(), across(sums)) };
}

/// Sixteen scores at a time, unless one of them wants a left shift.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
pub(super) fn align_scores(
    scores: &mut [i32],
    key_bits: &[i16],
    query_bits: i32,
    to_bits: i32,
) -> u64 {
    let common = _mm512_set1_epi32(query_bits - to_bits);
    let one = _mm512_set1_epi32(1);
    let mut max = _mm512_setzero_si512();
    let mut max_elsewhere = 0;
    for (scores, key_bits) in scores.chunks_mut(LANES).zip(key_bits.chunks(LANES)) {
        let mask = first_lanes(scores.len().min(key_bits.len()));
        // SAFETY: the mask admits only the elements that `key_bits` has.
        let bits = unsafe { _mm256_maskz_loadu_epi16(mask, key_bits.as_ptr()) };
        let shift = _mm512_add_epi32(common, _mm512_cvtepi16_epi32(bits));
        if _mm512_cmplt_epi32_mask(shift, _mm512_setzero_si512()) & mask != 0 {
            let found = portable::align_scores(scores, key_bits, query_bits, to_bits);
            max_elsewhere = max_elsewhere.max(found);
            continue;
        }
        // SAFETY: the mask admits only the elements that `scores` has.
        let score = unsafe { _mm512_maskz_loadu_epi32(mask, scores.as_ptr()) };
        // Beyond 31 every score rounds to zero, as it does at 31.
        let shift = _mm512_min_epi32(shift, _mm512_set1_epi32(31));
        let halves = _mm512_srav_epi32(score, _mm512_sub_epi32(shift, one));
        let rounded = _mm512_srai_epi32::<1>(_mm512_add_epi32(halves, one));
        let is_same = _mm512_cmpeq_epi32_mask(shift, _mm512_setzero_si512());
        let aligned = _mm512_mask_blend_epi32(is_same, rounded, score);
        max = _mm512_max_epu32(max, _mm512_maskz_mov_epi32(mask, _mm512_abs_epi32(aligned)));
        // SAFETY: as above.
        unsafe { _mm512_mask_storeu_epi32(scores.as_mut_ptr(), mask, aligned) };
    }
    max_elsewhere.max(_mm512_reduce_max_epu32(max).into())
}

/// Entry i of a table of 16-bit entries for each lane i, in the lane's lower half; zero beyond it.
///
/// A lane reads two entries, so the last one is put in without reading.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn look_up(table: &[u16], indices: __m512i) -> __m512i {
    let Some((last, rest)) = table.split_last() else { return _mm512_setzero_si512() };
    let count = i32::try_from(rest.len()).unwrap_or(i32::MAX);
    let limit = _mm512_set1_epi32(count);
    let is_within = _mm512_cmplt_epu32_mask(indices, limit);
    let zero = _mm512_setzero_si512();
    // SAFETY: indices within the mask are below the index of the last entry, and two entries lie
    // from each of them on.
    let pairs = unsafe {
        _mm512_mask_i32gather_epi32::<2>(zero, is_within, indices, table.as_ptr().cast())
    };
    let found = _mm512_and_si512(pairs, _mm512_set1_epi32(0xffff));
    let is_last = _mm512_cmpeq_epi32_mask(indices, limit);
    _mm512_mask_blend_epi32(is_last, found, _mm512_set1_epi32((*last).into()))
}

/// Softmax numerators, sixteen at a time.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
pub(super) fn weights(
    scores: &[i32],
    value_bits: &[i16],
    least_bits: i16,
    table: &[u16],
    out: &mut [u16],
) -> u64 {
    let count = scores.len().min(value_bits.len()).min(out.len());
    if scores.len() > INT32_NUMERATORS || count < scores.len() {
        return portable::weights(scores, value_bits, least_bits, table, out);
    }
    let lowest = _mm512_set1_epi32(i32::MIN);
    let mut max = lowest;
    for scores in scores.chunks(LANES) {
        let mask = first_lanes(scores.len());
        // SAFETY: the mask admits only the elements that `scores` has.
        max = _mm512_max_epi32(max, unsafe {
            _mm512_mask_loadu_epi32(lowest, mask, scores.as_ptr())
        });
    }
    let max = _mm512_set1_epi32(_mm512_reduce_max_epi32(max));
    let (one, least) = (_mm512_set1_epi32(1), _mm512_set1_epi32(least_bits.into()));
    let mut totals = _mm512_setzero_si512();
    let chunks = scores.chunks(LANES).zip(value_bits.chunks(LANES)).zip(out.chunks_mut(LANES));
    for ((scores, bits), out) in chunks {
        let mask = first_lanes(scores.len());
        // SAFETY: the mask admits only the elements that `scores` has.
        let score = unsafe { _mm512_maskz_loadu_epi32(mask, scores.as_ptr()) };
        let found = look_up(table, _mm512_sub_epi32(max, score));
        let numerator = _mm512_maskz_mov_epi32(mask, found);
        totals = _mm512_add_epi32(totals, numerator);
        // SAFETY: the mask admits only the elements that `bits` has.
        let bits = unsafe { _mm256_maskz_loadu_epi16(mask, bits.as_ptr()) };
        let shift = _mm512_abs_epi32(_mm512_sub_epi32(_mm512_cvtepi16_epi32(bits), least));
        let halves = _mm512_srlv_epi32(numerator, _mm512_sub_epi32(shift, one));
        let rounded = _mm512_srli_epi32::<1>(_mm512_add_epi32(halves, one));
        let is_same = _mm512_cmpeq_epi32_mask(shift, _mm512_setzero_si512());
        let weight = _mm512_mask_blend_epi32(is_same, rounded, numerator);
        // SAFETY: the mask admits only the elements that `out` has.
        unsafe { _mm512_mask_cvtepi32_storeu_epi16(out.as_mut_ptr().cast(), mask, weight) };
    }
    let front = _mm512_cvtepu32_epi64(_mm512_castsi512_si256(totals));
    let behind = _mm512_cvtepu32_epi64(_mm512_extracti64x4_epi64::<1>(totals));
    _mm512_reduce_add_epi64(_mm512_add_epi64(front, behind)).cast_unsigned()
}

/// (keys,) uint16 × (keys, `head_dim`) int8 → (`head_dim`,), 64 channels at a time.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
pub(super) fn weighted_sum(weights: &[u16], values: &[i8], out: &mut [i64]) {
    let width = out.len();
    assert!(values.len() >= weights.len() * width);
    out.fill(0);
    let chunks = weights.chunks(INT32_KEYS).zip(values.chunks(INT32_KEYS * width));
    for (weights, values) in chunks {
        for (index, out) in out.chunks_mut(BLOCK).enumerate() {
            let planes = channels(weights, &values[index * BLOCK..], width, out.len());
            let [high, low] = planes;
            add_planes([in_order(high), in_order(low)], out);
        }
    }
}

/// Sums over the weights' high and low bytes for `count` channels at the head of `values`.
///
/// 128-bit lane l of vector m holds channels 16l + 4m to 16l + 4m + 3.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn channels(weights: &[u16], values: &[i8], width: usize, count: usize) -> [[__m512i; QUAD]; 2] {
    let mask: __mmask64 = if count >= BLOCK { u64::MAX } else { (1 << count) - 1 };
    let zero = _mm512_setzero_si512();
    let [mut high_sums, mut low_sums] = [[zero; QUAD]; 2];
    for (index, weights) in weights.chunks(QUAD).enumerate() {
        let (mut high, mut low, mut rows) = ([0; QUAD], [0; QUAD], [zero; QUAD]);
        for (i, weight) in weights.iter().enumerate() {
            [high[i], low[i]] = weight.to_be_bytes();
            let row = &values[(index * QUAD + i) * width..];
            assert!(row.len() >= count);
            // SAFETY: the mask admits only `count` bytes, which the row has.
            rows[i] = unsafe { _mm512_maskz_loadu_epi8(mask, row.as_ptr()) };
        }
        let high = _mm512_set1_epi32(i32::from_le_bytes(high));
        let low = _mm512_set1_epi32(i32::from_le_bytes(low));
        for (m, quads) in beside(rows).into_iter().enumerate() {
            high_sums[m] = _mm512_dpbusd_epi32(high_sums[m], high, quads);
            low_sums[m] = _mm512_dpbusd_epi32(low_sums[m], low, quads);
        }
    }
    [high_sums, low_sums]
}

/// Four rows of bytes → the four bytes of each channel beside each other.
#[target_feature(enable = "avx512f,avx512bw")]
fn beside([a, b, c, d]: [__m512i; QUAD]) -> [__m512i; QUAD] {
    let (ab, ab_behind) = (_mm512_unpacklo_epi8(a, b), _mm512_unpackhi_epi8(a, b));
    let (cd, cd_behind) = (_mm512_unpacklo_epi8(c, d), _mm512_unpackhi_epi8(c, d));
    [
        _mm512_unpacklo_epi16(ab, cd),
        _mm512_unpackhi_epi16(ab, cd),
        _mm512_unpacklo_epi16(ab_behind, cd_behind),
        _mm512_unpackhi_epi16(ab_behind, cd_behind),
    ]
}

/// 128-bit lane l of vector m becomes lane m of vector l.
#[target_feature(enable = "avx512f")]
fn in_order([a, b, c, d]: [__m512i; QUAD]) -> [__m512i; QUAD] {
    let even = _mm512_shuffle_i32x4::<0b10_00_10_00>(a, b);
    let odd = _mm512_shuffle_i32x4::<0b11_01_11_01>(a, b);
    let even_behind = _mm512_shuffle_i32x4::<0b10_00_10_00>(c, d);
    let odd_behind = _mm512_shuffle_i32x4::<0b11_01_11_01>(c, d);
    [
        _mm512_shuffle_i32x4::<0b10_00_10_00>(even, even_behind),
        _mm512_shuffle_i32x4::<0b10_00_10_00>(odd, odd_behind),
        _mm512_shuffle_i32x4::<0b11_01_11_01>(even, even_behind),
        _mm512_shuffle_i32x4::<0b11_01_11_01>(odd, odd_behind),
    ]
}

/// Adds 256·high + low of up to 64 channels.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn add_planes([high, low]: [[__m512i; QUAD]; 2], out: &mut [i64]) {
    for (block, out) in out.chunks_mut(LANES).enumerate() {
        let (front, behind) = out.split_at_mut(out.len().min(8));
        let (high, low) = (high[block], low[block]);
        add_eight(_mm512_castsi512_si256(high), _mm512_castsi512_si256(low), front);
        let high = _mm512_extracti64x4_epi64::<1>(high);
        add_eight(high, _mm512_extracti64x4_epi64::<1>(low), behind);
    }
}

/// Adds 256·high + low of up to eight channels.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn add_eight(high: __m256i, low: __m256i, out: &mut [i64]) {
    let mask: __mmask8 = u8::try_from((1_u32 << out.len()) - 1).unwrap_or(u8::MAX);
    let high = _mm512_slli_epi64::<8>(_mm512_cvtepi32_epi64(high));
    let both = _mm512_add_epi64(high, _mm512_cvtepi32_epi64(low));
    // SAFETY: the mask admits only the elements that `out` has.
    let before = unsafe { _mm512_maskz_loadu_epi64(mask, out.as_ptr()) };
    let sum = _mm512_add_epi64(before, both);
    // SAFETY: as above.
    unsafe { _mm512_mask_storeu_epi64(out.as_mut_ptr(), mask, sum) };
}

/// max(x, 0) + ψ(|x|), sixteen at a time.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
pub(super) fn activate(values: &mut [i32], table: &[i16]) {
    let table: &[u16] = bytemuck::cast_slice(table);
    for values in values.chunks_mut(LANES) {
        let mask = first_lanes(values.len());
        // SAFETY: the mask admits only the elements that `values` has.
        let x = unsafe { _mm512_maskz_loadu_epi32(mask, values.as_ptr()) };
        let found = look_up(table, _mm512_abs_epi32(x));
        let bend = _mm512_srai_epi32::<16>(_mm512_slli_epi32::<16>(found));
        let sum = _mm512_add_epi32(_mm512_max_epi32(x, _mm512_setzero_si512()), bend);
        // SAFETY: as above.
        unsafe { _mm512_mask_storeu_epi32(values.as_mut_ptr(), mask, sum) };
    }
}
