//! The first stage of a requantisation, eight sums at a time.

use core::arch::x86_64::{
    __mmask8, _mm_cvtsi32_si128, _mm512_abs_epi64, _mm512_add_epi64,
    _mm512_mask_cvtepi64_storeu_epi16, _mm512_maskz_loadu_epi64, _mm512_max_epu64,
    _mm512_reduce_max_epu64, _mm512_set1_epi64, _mm512_setzero_si512, _mm512_sra_epi64,
    _mm512_srai_epi64,
};

use crate::kernel::portable;

/// int64 values in one vector.
const LANES: usize = 8;

/// (n,) sums → (n,) int16 under one least exponent, returned.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
pub(super) fn narrow_sums(sums: &[i64], out: &mut [i16]) -> u32 {
    let mut max = [_mm512_setzero_si512(); 2];
    for (index, sums) in sums.chunks(LANES).enumerate() {
        let mask: __mmask8 = u8::MAX >> (LANES - sums.len());
        // SAFETY: the mask admits only the elements that `sums` has.
        let values = unsafe { _mm512_maskz_loadu_epi64(mask, sums.as_ptr()) };
        max[index % 2] = _mm512_max_epu64(max[index % 2], _mm512_abs_epi64(values));
    }
    let max = _mm512_reduce_max_epu64(_mm512_max_epu64(max[0], max[1]));
    let e = portable::least_exponent(max, portable::INT16_MAX);
    // A shift of more than 62 rounds every sum to zero; without a shift there is nothing to round.
    let (half, one) = match e {
        0 => (0, 0),
        e => (e.min(62) - 1, 1),
    };
    let (shift, half) = (_mm_cvtsi32_si128(half.cast_signed()), _mm512_set1_epi64(one));
    for (sums, out) in sums.chunks(LANES).zip(out.chunks_mut(LANES)) {
        let mask: __mmask8 = u8::MAX >> (LANES - sums.len().min(out.len()));
        // SAFETY: the mask admits only the elements that `sums` has.
        let values = unsafe { _mm512_maskz_loadu_epi64(mask, sums.as_ptr()) };
        let values = _mm512_add_epi64(_mm512_sra_epi64(values, shift), half);
        let rounded = if one == 0 { values } else { _mm512_srai_epi64::<1>(values) };
        // SAFETY: the mask admits only the elements that `out` has.
        unsafe { _mm512_mask_cvtepi64_storeu_epi16(out.as_mut_ptr().cast(), mask, rounded) };
    }
    e
}
