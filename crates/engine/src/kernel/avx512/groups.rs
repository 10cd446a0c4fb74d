//! Rows in groups of 32 with integer scales: int4 by kernels of its own, int8 as two planes of bytes.
//!
//! Few tokens: nibbles times byte planes. A lane of a vector sums eight products of a group, at most
//! 8·8·255 = 16,320 in magnitude, which fits int16: one `vpdpwssd` multiplies it by the group's
//! scale and adds it. All lanes of 8,192 elements sum to at most 8,192·8·127·255 < 2^31.
//!
//! Many tokens: panels of the elements s·q as int16. A lane adds 2·1,016·32,768 at a time, so int32
//! holds 32 additions, 64 elements; then it is widened.

use core::arch::x86_64::{
    __m256i, __m512i, __mmask8, __mmask64, _MM_HINT_T0, _mm_loadu_si128, _mm_prefetch,
    _mm_srli_epi16, _mm256_add_epi64, _mm256_and_si256, _mm256_castsi128_si256,
    _mm256_cvtepi32_epi64, _mm256_inserti128_si256, _mm256_loadu_si256, _mm256_set1_epi8,
    _mm256_setzero_si256, _mm512_add_epi16, _mm512_add_epi64, _mm512_and_si512,
    _mm512_castsi256_si512, _mm512_castsi512_si256, _mm512_cvtepi8_epi16, _mm512_cvtepi16_epi8,
    _mm512_cvtepi32_epi64, _mm512_dpbusd_epi32, _mm512_dpwssd_epi32, _mm512_extracti64x4_epi64,
    _mm512_inserti64x4, _mm512_mask_storeu_epi64, _mm512_maskz_loadu_epi8, _mm512_mullo_epi16,
    _mm512_set_epi64, _mm512_set1_epi8, _mm512_set1_epi16, _mm512_set1_epi32, _mm512_setzero_si512,
    _mm512_shuffle_epi8, _mm512_shuffle_i32x4, _mm512_srai_epi16, _mm512_srli_epi16,
    _mm512_sub_epi16, _mm512_sub_epi32,
};

use core::ops::Range;

use super::panel::{PANEL_ROWS, transpose, with_room};
use super::stream::{AHEAD_BYTES, finish};
use super::{ROWS, across};
use crate::kernel::{Activation, GROUP, PLANE_BLOCK, Rows};

/// Bytes of a group's nibbles.
const GROUP_BYTES: usize = GROUP / 2;
/// Groups in one vector of nibbles.
const GROUPS: usize = 4;
/// Bytes of a row whose products int32 can add: 8,192 elements.
const WIDEN_BYTES: usize = 4096;
/// Vectors of a prepared token for each vector of nibbles.
const PREPARED: usize = 6;
/// Tokens whose bytes one pass over a tile of rows multiplies.
const TOKENS: usize = 2;
/// Panels that one pass over a token's values multiplies.
const PANELS: usize = 2;
/// Tokens of one pass over panels: 2 panels · 12 tokens fill 24 of 32 registers.
const PANEL_TOKENS: usize = 12;
/// Vectors of a panel between two widenings: 32 · 2 · 1,016 · 32,768 < 2^31.
const WIDEN_AFTER: usize = 32;
/// Vectors of the panels that are made at a time: 256 KiB stay in a second-level cache.
const BLOCK_VECTORS: usize = (256 << 10) / size_of::<__m512i>();

/// The parts of int4 rows.
#[derive(Clone, Copy)]
struct Nibbles<'a> {
    /// (rows, k/2)
    nibbles: &'a [u8],
    /// (rows, k/32)
    scales: &'a [u8],
    width: usize,
}

impl<'a> Nibbles<'a> {
    fn row(self, row: usize) -> (&'a [u8], &'a [u8]) {
        let (bytes, groups) = (self.width / 2, self.width / GROUP);
        let nibbles = &self.nibbles[row * bytes..(row + 1) * bytes];
        (nibbles, &self.scales[row * groups..(row + 1) * groups])
    }

    /// The 32 elements s·q of one group as int16.
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
    fn elements(self, row: usize, group: usize) -> __m512i {
        let (nibbles, scales) = self.row(row);
        let bytes = &nibbles[group * GROUP_BYTES..(group + 1) * GROUP_BYTES];
        // SAFETY: a group has sixteen bytes.
        let bytes = unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) };
        let second = _mm_srli_epi16::<4>(bytes);
        let both = _mm256_inserti128_si256::<1>(_mm256_castsi128_si256(bytes), second);
        let halves = _mm256_and_si256(both, _mm256_set1_epi8(15));
        let elements = _mm512_sub_epi16(_mm512_cvtepi8_epi16(halves), _mm512_set1_epi16(8));
        _mm512_mullo_epi16(elements, _mm512_set1_epi16(scales[group].into()))
    }
}

/// (rows, k) × (tokens, k) → (tokens, rows), a tile of rows at a time.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
pub(super) fn stream(rows: Rows<'_>, xs: &[&Activation], outs: &mut [&mut [i64]]) {
    let Rows::Int4 { nibbles, group_scales, sums } = rows else { return };
    let groups = Nibbles { nibbles, scales: group_scales, width: rows.width() };
    let blocks = groups.width.div_ceil(2 * PLANE_BLOCK);
    with_room(xs.len() * blocks * PREPARED, |room| {
        for (x, prepared) in xs.iter().zip(room.chunks_exact_mut(blocks * PREPARED)) {
            prepare(x, groups.width, prepared);
        }
        for first in (0..sums.len()).step_by(ROWS) {
            let count = ROWS.min(sums.len() - first);
            let tile = core::array::from_fn(|i| groups.row(first + i.min(count - 1)));
            let tile_sums = core::array::from_fn(|i| sums[first + i.min(count - 1)]);
            let tokens = room.chunks(TOKENS * blocks * PREPARED);
            for (xs, outs) in tokens.zip(outs.chunks_mut(TOKENS)) {
                if let [a, b] = outs {
                    let (x, y) = xs.split_at(blocks * PREPARED);
                    finish(dots(tile, [x, y]), &tile_sums, &mut [a, b], first, count);
                } else {
                    finish(dots(tile, [xs]), &tile_sums, outs, first, count);
                }
            }
        }
    });
}

/// A token as the rows want it: for each 128 elements and each plane the first halves of four groups,
/// their second halves, and minus eight times the sums of both; what is missing is zero.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn prepare(x: &Activation, width: usize, out: &mut [__m512i]) {
    let (high, low) = x.planes();
    let eight = _mm512_set1_epi8(8);
    for (block, out) in out.chunks_exact_mut(PREPARED).enumerate() {
        for (out, plane) in out.chunks_exact_mut(PREPARED / 2).zip([high, low]) {
            let (first, second) = halves(&plane[2 * block * PLANE_BLOCK..width]);
            // What q + 8 has too many.
            let more = _mm512_dpbusd_epi32(_mm512_setzero_si512(), first, eight);
            let more = _mm512_dpbusd_epi32(more, second, eight);
            let less = _mm512_sub_epi32(_mm512_setzero_si512(), more);
            out.copy_from_slice(&[first, second, less]);
        }
    }
}

/// The sums over high and low planes of one tile's rows, for each of T prepared tokens.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn dots<const T: usize>(tile: [(&[u8], &[u8]); ROWS], xs: [&[__m512i]; T]) -> [[__m256i; 2]; T] {
    let bytes = tile[0].0.len();
    for (nibbles, scales) in tile {
        assert!(nibbles.len() == bytes && scales.len() * GROUP_BYTES == bytes);
    }
    for x in xs {
        assert!(x.len() >= bytes.div_ceil(PLANE_BLOCK) * PREPARED);
    }
    let mut wide = [[_mm256_setzero_si256(); 2]; T];
    for part in (0..bytes).step_by(WIDEN_BYTES) {
        let sums = part_of_dots(tile, xs, part..bytes.min(part + WIDEN_BYTES));
        for (wide, sums) in wide.as_flattened_mut().iter_mut().zip(sums.as_flattened()) {
            *wide = _mm256_add_epi64(*wide, _mm256_cvtepi32_epi64(across(*sums)));
        }
    }
    wide
}

/// The same over some bytes of each row, which int32 can add; `dots` asserts the lengths.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn part_of_dots<const T: usize>(
    tile: [(&[u8], &[u8]); ROWS],
    xs: [&[__m512i]; T],
    part: Range<usize>,
) -> [[[__m512i; ROWS]; 2]; T] {
    let nibble = _mm512_set1_epi8(15);
    let spread = spread();
    let ahead = AHEAD_BYTES.next_multiple_of(ROWS * tile[0].0.len());
    let mut sums = [[[_mm512_setzero_si512(); ROWS]; 2]; T];
    let mut start = part.start;
    while start < part.end {
        let left = part.end - start;
        let mask: __mmask64 = if left >= PLANE_BLOCK { u64::MAX } else { (1 << left) - 1 };
        let mut rows = [[_mm512_setzero_si512(); 3]; ROWS];
        for (found, (row, scales)) in rows.iter_mut().zip(tile) {
            // SAFETY: the mask admits only the bytes that the row has from `start` on.
            let both = unsafe { _mm512_maskz_loadu_epi8(mask, row.as_ptr().add(start).cast()) };
            _mm_prefetch::<_MM_HINT_T0>(row.as_ptr().wrapping_add(start + ahead).cast());
            let scales = _mm512_set1_epi32(four_bytes(&scales[start / GROUP_BYTES..]));
            found[0] = _mm512_and_si512(both, nibble);
            found[1] = _mm512_and_si512(_mm512_srli_epi16::<4>(both), nibble);
            found[2] = _mm512_shuffle_epi8(scales, spread);
        }
        for (sums, x) in sums.iter_mut().zip(xs) {
            let planes = x[start / PLANE_BLOCK * PREPARED..].chunks_exact(PREPARED / 2);
            for (sums, x) in sums.iter_mut().zip(planes) {
                for (sum, [first, second, scales]) in sums.iter_mut().zip(rows) {
                    let lane = _mm512_dpbusd_epi32(x[2], x[0], first);
                    let lane = _mm512_dpbusd_epi32(lane, x[1], second);
                    // The upper half of a lane is its sign, times zero.
                    *sum = _mm512_dpwssd_epi32(*sum, lane, scales);
                }
            }
        }
        start += PLANE_BLOCK;
    }
    sums
}

/// Byte l of each 32-bit element of 128-bit lane l, with zeros above it.
#[target_feature(enable = "avx512f")]
fn spread() -> __m512i {
    let lane = |index: i64| {
        let four = index | 0x8080_8000;
        four | four << 32
    };
    let [a, b, c, d] = [lane(0), lane(1), lane(2), lane(3)];
    _mm512_set_epi64(d, d, c, c, b, b, a, a)
}

/// Up to four groups of a plane: their first halves and their second halves, a lane each.
#[target_feature(enable = "avx512f,avx512bw")]
fn halves(plane: &[u8]) -> (__m512i, __m512i) {
    let mask =
        |left: usize| -> __mmask64 { if left >= PLANE_BLOCK { u64::MAX } else { (1 << left) - 1 } };
    // SAFETY: the mask admits only the bytes that the plane has.
    let a = unsafe { _mm512_maskz_loadu_epi8(mask(plane.len()), plane.as_ptr().cast()) };
    let rest = plane.get(PLANE_BLOCK..).unwrap_or_default();
    // SAFETY: as above.
    let b = unsafe { _mm512_maskz_loadu_epi8(mask(rest.len()), rest.as_ptr().cast()) };
    (_mm512_shuffle_i32x4::<0b10_00_10_00>(a, b), _mm512_shuffle_i32x4::<0b11_01_11_01>(a, b))
}

/// The scales of up to four groups; absent ones are zero.
#[inline]
fn four_bytes(scales: &[u8]) -> i32 {
    match scales.first_chunk::<GROUPS>() {
        Some(four) => i32::from_le_bytes(*four),
        None => fewer_bytes(scales),
    }
}

#[cold]
#[inline(never)]
fn fewer_bytes(scales: &[u8]) -> i32 {
    let mut four = [0; GROUPS];
    four[..scales.len()].copy_from_slice(scales);
    i32::from_le_bytes(four)
}

/// (rows, k) × (tokens, k) → (tokens, rows), through panels of int16 elements.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
pub(super) fn panels(rows: Rows<'_>, xs: &[&Activation], outs: &mut [&mut [i64]]) {
    let Rows::Int4 { nibbles, group_scales, sums } = rows else { return };
    let width = xs[0].values().len();
    let groups = Nibbles { nibbles, scales: group_scales, width };
    let pairs = width / 2;
    let block_rows = (BLOCK_VECTORS / pairs).max(PANELS) / PANELS * PANELS * PANEL_ROWS;
    let most = sums.len().min(block_rows).div_ceil(PANEL_ROWS).next_multiple_of(PANELS);
    with_room(most * pairs, |room| {
        for first in (0..sums.len()).step_by(block_rows) {
            let count = block_rows.min(sums.len() - first);
            let used = count.div_ceil(PANEL_ROWS).next_multiple_of(PANELS) * pairs;
            for (index, panel) in room[..used].chunks_exact_mut(pairs).enumerate() {
                let begin = index * PANEL_ROWS;
                pack(groups, first + begin, PANEL_ROWS.min(count.saturating_sub(begin)), panel);
            }
            for (xs, outs) in xs.chunks(PANEL_TOKENS).zip(outs.chunks_mut(PANEL_TOKENS)) {
                block(&room[..used], pairs, first, count, xs, outs);
            }
        }
    });
}

/// Up to sixteen rows in groups → two panels of bytes, s·q = 256·a + b with b from −128 to 127.
///
/// So a is from −4 to 4 for int4 and from −63 to 63 for int8.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
pub(super) fn pack_planes(rows: Rows<'_>, upper: &mut [__m512i], lower: &mut [__m512i]) {
    let groups = rows.width() / GROUP;
    let blocks = upper.chunks_exact_mut(PANEL_ROWS).zip(lower.chunks_exact_mut(PANEL_ROWS));
    for (block, (upper, lower)) in blocks.enumerate() {
        let [mut a, mut b] = [[_mm512_setzero_si512(); PANEL_ROWS]; 2];
        for (row, (a, b)) in a.iter_mut().zip(&mut b).enumerate().take(rows.count()) {
            let mut halves = [_mm512_setzero_si512(); 2];
            for (half, group) in halves.iter_mut().zip(2 * block..groups) {
                *half = elements(rows, row, group);
            }
            *a = joined(
                halves.map(|x| _mm512_srai_epi16::<8>(_mm512_add_epi16(x, _mm512_set1_epi16(128)))),
            );
            *b = joined(halves);
        }
        upper.copy_from_slice(&transpose(a));
        lower.copy_from_slice(&transpose(b));
    }
}

/// The low bytes of 64 int16 values.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn joined([first, second]: [__m512i; 2]) -> __m512i {
    let first = _mm512_castsi256_si512(_mm512_cvtepi16_epi8(first));
    _mm512_inserti64x4::<1>(first, _mm512_cvtepi16_epi8(second))
}

/// The 32 elements s·q of one group as int16.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn elements(rows: Rows<'_>, row: usize, group: usize) -> __m512i {
    match rows {
        Rows::Int4 { nibbles, group_scales: scales, .. } => {
            Nibbles { nibbles, scales, width: rows.width() }.elements(row, group)
        }
        Rows::Int8Groups { values, group_scales, .. } => {
            let index = row * (rows.width() / GROUP) + group;
            let bytes = &values[index * GROUP..(index + 1) * GROUP];
            // SAFETY: a group has 32 bytes.
            let bytes = unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) };
            let scale = _mm512_set1_epi16(group_scales[index].into());
            _mm512_mullo_epi16(_mm512_cvtepi8_epi16(bytes), scale)
        }
        // Rows without groups have panels of their own.
        Rows::Int8 { .. } => _mm512_setzero_si512(),
    }
}

/// `count` rows from `first` on → one panel of s·q in int16; what is missing is zero.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn pack(groups: Nibbles<'_>, first: usize, count: usize, panel: &mut [__m512i]) {
    for (group, out) in panel.chunks_exact_mut(GROUP / 2).enumerate() {
        let mut vectors = [_mm512_setzero_si512(); PANEL_ROWS];
        for (row, vector) in vectors.iter_mut().enumerate().take(count) {
            *vector = groups.elements(first + row, group);
        }
        out.copy_from_slice(&transpose(vectors));
    }
}

/// One block's panels times up to [`PANEL_TOKENS`] tokens.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn block(
    panels: &[__m512i],
    pairs: usize,
    first: usize,
    count: usize,
    xs: &[&Activation],
    outs: &mut [&mut [i64]],
) {
    // Where tokens are missing the last one stands in for them.
    let values: [&[i16]; PANEL_TOKENS] = core::array::from_fn(|t| xs[t.min(xs.len() - 1)].values());
    for values in values {
        assert!(values.len() >= 2 * pairs);
    }
    for (pair, panels) in panels.chunks_exact(PANELS * pairs).enumerate() {
        let (a, b) = panels.split_at(pairs);
        let mut wide = [[[_mm512_setzero_si512(); 2]; PANELS]; PANEL_TOKENS];
        products(a, b, values, &mut wide);
        let begin = pair * PANELS * PANEL_ROWS;
        for (wide, out) in wide.iter().zip(outs.iter_mut()) {
            let out = &mut out[first + begin..first + count.min(begin + PANELS * PANEL_ROWS)];
            for (out, wide) in out.chunks_mut(8).zip(wide.as_flattened()) {
                let mask: __mmask8 = u8::MAX >> (8 - out.len());
                // SAFETY: the mask admits only the elements that `out` has.
                unsafe { _mm512_mask_storeu_epi64(out.as_mut_ptr(), mask, *wide) };
            }
        }
    }
}

/// Adds the products of two panels with every token to int64 sums.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn products(
    a: &[__m512i],
    b: &[__m512i],
    values: [&[i16]; PANEL_TOKENS],
    wide: &mut [[[__m512i; 2]; PANELS]; PANEL_TOKENS],
) {
    for (index, (a, b)) in a.chunks(WIDEN_AFTER).zip(b.chunks(WIDEN_AFTER)).enumerate() {
        let mut sums = [[_mm512_setzero_si512(); PANELS]; PANEL_TOKENS];
        for (pair, (a, b)) in a.iter().zip(b).enumerate() {
            let at = 2 * (index * WIDEN_AFTER + pair);
            for (sums, values) in sums.iter_mut().zip(values) {
                // SAFETY: a token has two values for every vector of a panel: `block` asserts it.
                let x = unsafe { values.as_ptr().add(at).cast::<i32>().read_unaligned() };
                let x = _mm512_set1_epi32(x);
                sums[0] = _mm512_dpwssd_epi32(sums[0], x, *a);
                sums[1] = _mm512_dpwssd_epi32(sums[1], x, *b);
            }
        }
        for (wide, sums) in wide.as_flattened_mut().iter_mut().zip(sums.as_flattened()) {
            let front = _mm512_cvtepi32_epi64(_mm512_castsi512_si256(*sums));
            let behind = _mm512_cvtepi32_epi64(_mm512_extracti64x4_epi64::<1>(*sums));
            wide[0] = _mm512_add_epi64(wide[0], front);
            wide[1] = _mm512_add_epi64(wide[1], behind);
        }
    }
}
