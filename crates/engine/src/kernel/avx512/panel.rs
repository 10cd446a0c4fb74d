//! Linear layers for many tokens: rows are regrouped into panels that every token then reads.
//!
//! A panel holds sixteen rows, four consecutive bytes of each beside the others, so that one vector
//! times four broadcast bytes of a token adds to sixteen complete sums without any reduction
//! across lanes. Regrouping is paid once per block of rows, whatever the number of tokens.

use core::arch::x86_64::{
    __m256i, __m512i, __mmask8, __mmask64, _mm512_add_epi64, _mm512_castsi512_si256,
    _mm512_cvtepi32_epi64, _mm512_dpbusd_epi32, _mm512_extracti64x4_epi64,
    _mm512_mask_storeu_epi64, _mm512_maskz_loadu_epi8, _mm512_maskz_loadu_epi32,
    _mm512_maskz_loadu_epi64, _mm512_set1_epi32, _mm512_setzero_si512, _mm512_shuffle_i32x4,
    _mm512_slli_epi64, _mm512_sub_epi64, _mm512_unpackhi_epi32, _mm512_unpackhi_epi64,
    _mm512_unpacklo_epi32, _mm512_unpacklo_epi64,
};
use std::cell::RefCell;

use super::groups;
use crate::kernel::{Activation, PLANE_BLOCK, Rows};

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

/// Rows of a pair of panels: both panels are rows, or the two planes of rows in groups.
pub(in crate::kernel) const fn pair_rows(rows: Rows<'_>) -> usize {
    match rows {
        Rows::Int8 { .. } => PANELS * PANEL_ROWS,
        Rows::Int8Groups { .. } | Rows::Int4 { .. } => PANEL_ROWS,
    }
}

/// Up to [`pair_rows`] rows → a pair of panels; what is missing is zero.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
pub(in crate::kernel) fn pack_pair(rows: Rows<'_>, pair: &mut [__m512i]) {
    let (front, behind) = pair.split_at_mut(pair.len() / PANELS);
    if let Rows::Int8 { values, .. } = rows {
        let (first, second) = values.split_at(values.len().min(PANEL_ROWS * rows.width()));
        pack(first, rows.width(), front);
        pack(second, rows.width(), behind);
    } else {
        groups::pack_planes(rows, front, behind);
    }
}

/// What is subtracted from the sums of a pair's rows, whose bytes are unsigned.
pub(in crate::kernel) struct Bias([[__m512i; 2]; PANELS]);

impl Bias {
    /// 32,768 times the sums of up to [`pair_rows`] rows.
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
    pub(in crate::kernel) fn of(rows: Rows<'_>) -> Self {
        match rows {
            Rows::Int8 { sums, .. } => {
                let (first, second) = sums.split_at(sums.len().min(PANEL_ROWS));
                Self([bias(first), bias(second)])
            }
            Rows::Int8Groups { sums, .. } | Rows::Int4 { sums, .. } => {
                Self([[_mm512_setzero_si512(); 2], bias(sums)])
            }
        }
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn bias(sums: &[i32]) -> [__m512i; 2] {
    let mask = u16::try_from((1_u32 << sums.len().min(PANEL_ROWS)) - 1).unwrap_or(u16::MAX);
    // SAFETY: the mask admits only the elements that `sums` has.
    let sums = unsafe { _mm512_maskz_loadu_epi32(mask, sums.as_ptr()) };
    let front = _mm512_cvtepi32_epi64(_mm512_castsi512_si256(sums));
    let behind = _mm512_cvtepi32_epi64(_mm512_extracti64x4_epi64::<1>(sums));
    [_mm512_slli_epi64::<15>(front), _mm512_slli_epi64::<15>(behind)]
}

/// The sums over high and low bytes of one token with both panels of a pair → (rows,).
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
pub(in crate::kernel) fn finish_pair(
    [front, behind]: [[__m512i; 2]; PANELS],
    bias: &Bias,
    rows: Rows<'_>,
    out: &mut [i64],
) {
    match rows {
        Rows::Int8 { .. } => {
            let (first, second) = out.split_at_mut(out.len().min(PANEL_ROWS));
            finish(front, bias.0[0], first);
            finish(behind, bias.0[1], second);
        }
        Rows::Int8Groups { .. } | Rows::Int4 { .. } => {
            finish(behind, bias.0[1], out);
            add_upper(front, out);
        }
    }
}

/// (rows, k) × (tokens, k) → (tokens, rows).
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
pub(super) fn linear(rows: Rows<'_>, xs: &[&Activation], outs: &mut [&mut [i64]]) {
    let quads = rows.width().div_ceil(PLANE_BLOCK) * BLOCK_QUADS;
    let pair_rows = pair_rows(rows);
    let block_rows = (BLOCK_VECTORS / (PANELS * quads)).max(1) * pair_rows;
    let pairs_max = rows.count().min(block_rows).div_ceil(pair_rows);
    with_room(pairs_max * PANELS * quads, |room| {
        for first in (0..rows.count()).step_by(block_rows) {
            let block = rows.part(first, rows.count().min(first + block_rows));
            let panels = &mut room[..block.count().div_ceil(pair_rows) * PANELS * quads];
            for (index, pair) in panels.chunks_exact_mut(PANELS * quads).enumerate() {
                let begin = index * pair_rows;
                pack_pair(block.part(begin, block.count().min(begin + pair_rows)), pair);
            }
            for (xs, outs) in xs.chunks(TOKENS).zip(outs.chunks_mut(TOKENS)) {
                match xs.len() {
                    1 => tokens::<1>(panels, quads, block, xs, outs, first),
                    2 => tokens::<2>(panels, quads, block, xs, outs, first),
                    3 => tokens::<3>(panels, quads, block, xs, outs, first),
                    4 => tokens::<4>(panels, quads, block, xs, outs, first),
                    5 => tokens::<5>(panels, quads, block, xs, outs, first),
                    _ => tokens::<TOKENS>(panels, quads, block, xs, outs, first),
                }
            }
        }
    });
}

/// One block's panels times T tokens.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn tokens<const T: usize>(
    panels: &[__m512i],
    quads: usize,
    rows: Rows<'_>,
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
    let pair_rows = pair_rows(rows);
    for (index, pair) in panels.chunks_exact(PANELS * quads).enumerate() {
        let (front, behind) = pair.split_at(quads);
        let begin = index * pair_rows;
        let part = rows.part(begin, rows.count().min(begin + pair_rows));
        let (products, bias) = (dots(front, behind, planes), Bias::of(part));
        for (products, out) in products.into_iter().zip(outs.iter_mut()) {
            finish_pair(
                products,
                &bias,
                part,
                &mut out[first + begin..first + begin + part.count()],
            );
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

/// 256·high + low less the bias for each of up to sixteen rows.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn finish([high, low]: [__m512i; 2], bias: [__m512i; 2], out: &mut [i64]) {
    let front = _mm512_slli_epi64::<8>(_mm512_cvtepi32_epi64(_mm512_castsi512_si256(high)));
    let front = _mm512_add_epi64(front, _mm512_cvtepi32_epi64(_mm512_castsi512_si256(low)));
    let front = _mm512_sub_epi64(front, bias[0]);
    let behind =
        _mm512_slli_epi64::<8>(_mm512_cvtepi32_epi64(_mm512_extracti64x4_epi64::<1>(high)));
    let low = _mm512_cvtepi32_epi64(_mm512_extracti64x4_epi64::<1>(low));
    let behind = _mm512_sub_epi64(_mm512_add_epi64(behind, low), bias[1]);
    let mask = u16::try_from((1_u32 << out.len().min(PANEL_ROWS)) - 1).unwrap_or(u16::MAX);
    let [mask, mask_behind]: [__mmask8; 2] = mask.to_le_bytes();
    // SAFETY: the mask admits only the elements that `out` has.
    unsafe { _mm512_mask_storeu_epi64(out.as_mut_ptr(), mask, front) };
    if mask_behind != 0 {
        // SAFETY: as above; there are more than eight elements.
        unsafe { _mm512_mask_storeu_epi64(out.as_mut_ptr().add(8), mask_behind, behind) };
    }
}

/// Adds 65,536·high + 256·low, the products with the upper plane of rows in groups.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn add_upper([high, low]: [__m512i; 2], out: &mut [i64]) {
    let (front, behind) = out.split_at_mut(out.len().min(PANEL_ROWS / 2));
    add_eight(_mm512_castsi512_si256(high), _mm512_castsi512_si256(low), front);
    let high = _mm512_extracti64x4_epi64::<1>(high);
    add_eight(high, _mm512_extracti64x4_epi64::<1>(low), behind);
}

/// Adds 65,536·high + 256·low to up to eight sums.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn add_eight(high: __m256i, low: __m256i, out: &mut [i64]) {
    let mask: __mmask8 = u8::try_from((1_u32 << out.len()) - 1).unwrap_or(u8::MAX);
    let high = _mm512_slli_epi64::<16>(_mm512_cvtepi32_epi64(high));
    let both = _mm512_add_epi64(high, _mm512_slli_epi64::<8>(_mm512_cvtepi32_epi64(low)));
    // SAFETY: the mask admits only the elements that `out` has.
    let before = unsafe { _mm512_maskz_loadu_epi64(mask, out.as_ptr()) };
    let sum = _mm512_add_epi64(before, both);
    // SAFETY: as above.
    unsafe { _mm512_mask_storeu_epi64(out.as_mut_ptr(), mask, sum) };
}

/// Up to sixteen rows of `width` bytes → one panel; what is missing is zero.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn pack(rows: &[i8], width: usize, panel: &mut [__m512i]) {
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
