//! Linear layers for many tokens: rows are regrouped into panels that every token then reads.
//!
//! A panel holds sixteen rows, four consecutive bytes of each beside the others, so that one vector
//! times four broadcast bytes of a token adds to sixteen complete sums without any reduction
//! across lanes. Regrouping is paid once per block of rows, whatever the number of tokens.

use core::arch::x86_64::{
    __m512i, __mmask8, __mmask64, _mm512_add_epi64, _mm512_castsi512_si256, _mm512_cvtepi32_epi64,
    _mm512_dpbusd_epi32, _mm512_extracti64x4_epi64, _mm512_mask_storeu_epi64,
    _mm512_maskz_loadu_epi8, _mm512_maskz_loadu_epi32, _mm512_set1_epi32, _mm512_setzero_si512,
    _mm512_shuffle_i32x4, _mm512_slli_epi64, _mm512_sub_epi64, _mm512_unpackhi_epi32,
    _mm512_unpackhi_epi64, _mm512_unpacklo_epi32, _mm512_unpacklo_epi64,
};
use std::cell::RefCell;

use crate::kernel::{Activation, PLANE_BLOCK};

/// Rows of one panel: int32 lanes of a vector.
pub(super) const PANEL_ROWS: usize = 16;
/// Panels that one pass over a token's bytes multiplies.
const PANELS: usize = 2;
/// Tokens of one pass: 2 planes · 2 panels · 6 tokens fill 24 of 32 registers.
const TOKENS: usize = 6;
/// Vectors of the panels that are made at a time: 256 KiB stay in a second-level cache.
const BLOCK_VECTORS: usize = (256 << 10) / size_of::<__m512i>();
/// Vectors that a block of [`PLANE_BLOCK`] bytes of sixteen rows takes.
const BLOCK_QUADS: usize = PLANE_BLOCK / 4;

thread_local! {
    /// The panels of the block of rows at hand; kept, so that no call allocates after the first.
    static PANELS_AT_HAND: RefCell<Vec<__m512i>> = const { RefCell::new(vec![]) };
}

/// Gives `act` room for `len` vectors that belong to this thread.
pub(in crate::kernel) fn with_room(len: usize, act: impl FnOnce(&mut [__m512i])) {
    PANELS_AT_HAND.with_borrow_mut(|room| {
        if room.len() < len {
            // SAFETY: all bits zero is a vector.
            room.resize(len, unsafe { core::mem::zeroed() });
        }
        act(&mut room[..len]);
    });
}

/// (rows, k) int8 × (tokens, k) → (tokens, rows); `sums` are the rows' sums.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
pub(super) fn linear(rows: &[i8], sums: &[i32], xs: &[&Activation], outs: &mut [&mut [i64]]) {
    let width = xs[0].values().len();
    let quads = width.div_ceil(PLANE_BLOCK) * BLOCK_QUADS;
    let block_rows = (BLOCK_VECTORS / quads).max(PANELS) / PANELS * PANELS * PANEL_ROWS;
    let panel_count = sums.len().min(block_rows).div_ceil(PANEL_ROWS).next_multiple_of(PANELS);
    with_room(panel_count * quads, |room| {
        for (block, sums) in sums.chunks(block_rows).enumerate() {
            let first = block * block_rows;
            let rows = &rows[first * width..(first + sums.len()) * width];
            let used = sums.len().div_ceil(PANEL_ROWS).next_multiple_of(PANELS) * quads;
            let panels = &mut room[..used];
            for (index, panel) in panels.chunks_exact_mut(quads).enumerate() {
                let begin = (index * PANEL_ROWS * width).min(rows.len());
                let end = ((index + 1) * PANEL_ROWS * width).min(rows.len());
                pack(&rows[begin..end], width, panel);
            }
            self::block(panels, quads, sums, xs, outs, first);
        }
    });
}

/// One block's panels times every token.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn block(
    panels: &[__m512i],
    quads: usize,
    sums: &[i32],
    xs: &[&Activation],
    outs: &mut [&mut [i64]],
    first: usize,
) {
    let mut chunks = xs.chunks_exact(TOKENS).zip(outs.chunks_exact_mut(TOKENS));
    for (xs, outs) in &mut chunks {
        tokens::<TOKENS>(panels, quads, sums, xs, outs, first);
    }
    let done = xs.len() - xs.len() % TOKENS;
    let (xs, outs) = (&xs[done..], &mut outs[done..]);
    match xs.len() {
        0 => {}
        1 => tokens::<1>(panels, quads, sums, xs, outs, first),
        2 => tokens::<2>(panels, quads, sums, xs, outs, first),
        3 => tokens::<3>(panels, quads, sums, xs, outs, first),
        4 => tokens::<4>(panels, quads, sums, xs, outs, first),
        _ => tokens::<5>(panels, quads, sums, xs, outs, first),
    }
}

/// One block's panels times T tokens.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn tokens<const T: usize>(
    panels: &[__m512i],
    quads: usize,
    sums: &[i32],
    xs: &[&Activation],
    outs: &mut [&mut [i64]],
    first: usize,
) {
    let mut planes: [(&[u8], &[u8]); T] = [(&[], &[]); T];
    for (planes, x) in planes.iter_mut().zip(xs) {
        *planes = x.planes();
        // The reads below stay within these lengths.
        assert!(planes.0.len() >= 4 * quads && planes.1.len() >= 4 * quads);
    }
    let pairs = panels.chunks_exact(PANELS * quads).zip(sums.chunks(PANELS * PANEL_ROWS));
    for (pair, (panels, sums)) in pairs.enumerate() {
        let (a, b) = panels.split_at(quads);
        let at = first + pair * PANELS * PANEL_ROWS;
        let products = dots(a, b, planes);
        for (products, out) in products.iter().zip(outs.iter_mut()) {
            let out = &mut out[at..at + sums.len()];
            for ((planes, sums), out) in
                products.iter().zip(sums.chunks(PANEL_ROWS)).zip(out.chunks_mut(PANEL_ROWS))
            {
                finish(*planes, sums, out);
            }
        }
    }
}

/// The sums over high and low planes of two panels' rows, for each of T tokens.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn dots<const T: usize>(
    a: &[__m512i],
    b: &[__m512i],
    planes: [(&[u8], &[u8]); T],
) -> [[[__m512i; 2]; PANELS]; T] {
    let mut sums = [[[_mm512_setzero_si512(); 2]; PANELS]; T];
    for (quad, (a, b)) in a.iter().zip(b).enumerate() {
        for (sums, (high, low)) in sums.iter_mut().zip(planes) {
            // SAFETY: each plane has four bytes for every vector of a panel: `tokens` asserts it.
            let high = unsafe { high.as_ptr().add(4 * quad).cast::<i32>().read_unaligned() };
            // SAFETY: as above.
            let low = unsafe { low.as_ptr().add(4 * quad).cast::<i32>().read_unaligned() };
            let (high, low) = (_mm512_set1_epi32(high), _mm512_set1_epi32(low));
            sums[0][0] = _mm512_dpbusd_epi32(sums[0][0], high, *a);
            sums[1][0] = _mm512_dpbusd_epi32(sums[1][0], high, *b);
            sums[0][1] = _mm512_dpbusd_epi32(sums[0][1], low, *a);
            sums[1][1] = _mm512_dpbusd_epi32(sums[1][1], low, *b);
        }
    }
    sums
}

/// 256·high + low − 32,768·sum for each of up to sixteen rows.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
pub(in crate::kernel) fn finish([high, low]: [__m512i; 2], sums: &[i32], out: &mut [i64]) {
    let len = sums.len().min(out.len()).min(PANEL_ROWS);
    let mask = u16::try_from((1_u32 << len) - 1).unwrap_or(u16::MAX);
    // SAFETY: the mask admits only the elements that `sums` has.
    let sums = unsafe { _mm512_maskz_loadu_epi32(mask, sums.as_ptr()) };
    let [mask, mask_behind]: [__mmask8; 2] = mask.to_le_bytes();
    let total = |high, low, sums| {
        let bias = _mm512_slli_epi64::<15>(_mm512_cvtepi32_epi64(sums));
        let high = _mm512_slli_epi64::<8>(_mm512_cvtepi32_epi64(high));
        _mm512_sub_epi64(_mm512_add_epi64(high, _mm512_cvtepi32_epi64(low)), bias)
    };
    let front = total(
        _mm512_castsi512_si256(high),
        _mm512_castsi512_si256(low),
        _mm512_castsi512_si256(sums),
    );
    let behind = total(
        _mm512_extracti64x4_epi64::<1>(high),
        _mm512_extracti64x4_epi64::<1>(low),
        _mm512_extracti64x4_epi64::<1>(sums),
    );
    // SAFETY: the mask admits only the elements that `out` has.
    unsafe { _mm512_mask_storeu_epi64(out.as_mut_ptr(), mask, front) };
    if mask_behind != 0 {
        // SAFETY: as above; there are more than eight elements.
        unsafe { _mm512_mask_storeu_epi64(out.as_mut_ptr().add(8), mask_behind, behind) };
    }
}

/// Up to sixteen rows of `width` bytes → one panel; what is missing is zero.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
pub(in crate::kernel) fn pack(rows: &[i8], width: usize, panel: &mut [__m512i]) {
    let count = rows.len() / width;
    for (block, quads) in panel.chunks_exact_mut(BLOCK_QUADS).enumerate() {
        let start = block * PLANE_BLOCK;
        let left = width - start;
        let mask: __mmask64 = if left >= PLANE_BLOCK { u64::MAX } else { (1 << left) - 1 };
        let mut vectors = [_mm512_setzero_si512(); PANEL_ROWS];
        for (vector, row) in vectors.iter_mut().zip(rows.chunks_exact(width)).take(count) {
            // SAFETY: the mask admits only the bytes that the row has from `start` on.
            *vector = unsafe { _mm512_maskz_loadu_epi8(mask, row.as_ptr().add(start)) };
        }
        quads.copy_from_slice(&transpose(vectors));
    }
}

/// Element j of vector i becomes element i of vector j, for sixteen vectors of sixteen int32.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
pub(super) fn transpose(v: [__m512i; 16]) -> [__m512i; 16] {
    let mut pairs = v;
    for i in (0..16).step_by(2) {
        pairs[i] = _mm512_unpacklo_epi32(v[i], v[i + 1]);
        pairs[i + 1] = _mm512_unpackhi_epi32(v[i], v[i + 1]);
    }
    let mut fours = pairs;
    for i in (0..16).step_by(4) {
        fours[i] = _mm512_unpacklo_epi64(pairs[i], pairs[i + 2]);
        fours[i + 1] = _mm512_unpackhi_epi64(pairs[i], pairs[i + 2]);
        fours[i + 2] = _mm512_unpacklo_epi64(pairs[i + 1], pairs[i + 3]);
        fours[i + 3] = _mm512_unpackhi_epi64(pairs[i + 1], pairs[i + 3]);
    }
    // Vector 4g + c holds, in its 128-bit lane l, element 4l + c of vectors 4g to 4g + 3.
    let mut out = fours;
    for c in 0..4 {
        let even = _mm512_shuffle_i32x4::<0b10_00_10_00>(fours[c], fours[4 + c]);
        let odd = _mm512_shuffle_i32x4::<0b11_01_11_01>(fours[c], fours[4 + c]);
        let even_behind = _mm512_shuffle_i32x4::<0b10_00_10_00>(fours[8 + c], fours[12 + c]);
        let odd_behind = _mm512_shuffle_i32x4::<0b11_01_11_01>(fours[8 + c], fours[12 + c]);
        out[c] = _mm512_shuffle_i32x4::<0b10_00_10_00>(even, even_behind);
        out[8 + c] = _mm512_shuffle_i32x4::<0b11_01_11_01>(even, even_behind);
        out[4 + c] = _mm512_shuffle_i32x4::<0b10_00_10_00>(odd, odd_behind);
        out[12 + c] = _mm512_shuffle_i32x4::<0b11_01_11_01>(odd, odd_behind);
    }
    out
}
