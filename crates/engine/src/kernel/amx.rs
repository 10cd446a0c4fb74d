//! AMX: linear layers for many tokens in tiles of 16 tokens, 16 rows and 64 elements.
//!
//! Tokens are carried as two unsigned byte planes, as in `avx512`. int8 rows are one signed plane;
//! elements w = s·q of groups are two, w = 256·a + b with b from −128 to 127 and |a| ≤ 63. Each sum
//! of a plane of tokens with a plane of rows stays in int32: 255·128·k < 2^31 for k ≤ 65,793.
//! `tdpbusd` neither saturates nor rounds. All else is as in `avx512`.
#![expect(unsafe_code, reason = "tile instructions, which have no intrinsics")]

use core::arch::asm;
use core::arch::x86_64::{__cpuid_count, __m512i, _mm512_loadu_si512};
use std::cell::RefCell;
use std::sync::OnceLock;

use super::avx512::panel;
use super::{Activation, PLANE_BLOCK, Rows, avx512};

/// Tokens of a tile, and rows of a tile.
const SIDE: usize = 16;
/// int32 elements of a tile of sums.
const SUMS: usize = SIDE * SIDE;
/// Bytes of a tile.
const TILE: usize = SIDE * PLANE_BLOCK;
/// Tokens from which tiles are faster than vectors.
const TOKENS_MIN: usize = 12;
/// Vectors of the panels that are made at a time: 512 KiB stay in a second-level cache.
const BLOCK_VECTORS: usize = (512 << 10) / size_of::<__m512i>();

thread_local! {
    /// Tokens in tiles; kept, so that no call allocates after the first.
    static TOKENS: RefCell<Vec<u8>> = const { RefCell::new(vec![]) };
}

/// Whether this machine has tiles of bytes, the system lets this process use them, and `avx512`
/// runs.
pub(super) fn is_supported() -> bool {
    static IS_SUPPORTED: OnceLock<bool> = OnceLock::new();
    *IS_SUPPORTED.get_or_init(|| avx512::is_supported() && has_tiles() && may_use_tiles())
}

fn has_tiles() -> bool {
    const TILE_AND_INT8: u32 = 1 << 24 | 1 << 25;
    __cpuid_count(0, 0).eax >= 7 && __cpuid_count(7, 0).edx & TILE_AND_INT8 == TILE_AND_INT8
}

/// Asks Linux for the room that tiles take in a thread's saved state.
#[cfg(target_os = "linux")]
fn may_use_tiles() -> bool {
    const ARCH_PRCTL: u64 = 158;
    const REQUEST_PERMISSION: u64 = 0x1023;
    const TILE_DATA: u64 = 18;
    let mut result = ARCH_PRCTL;
    // SAFETY: this system call changes nothing but which instructions the process may use.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") result,
            in("rdi") REQUEST_PERMISSION,
            in("rsi") TILE_DATA,
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack),
        );
    }
    result == 0
}

#[cfg(not(target_os = "linux"))]
fn may_use_tiles() -> bool {
    false
}

/// (rows, k) × (tokens, k) → (tokens, rows).
pub(super) fn linear(rows: Rows<'_>, xs: &[&Activation], outs: &mut [&mut [i64]]) {
    if xs.len() < TOKENS_MIN {
        return avx512::linear(rows, xs, outs);
    }
    TOKENS.with_borrow_mut(|room| {
        let steps = xs[0].values().len().div_ceil(PLANE_BLOCK);
        let used = xs.len().div_ceil(SIDE) * steps * 2 * TILE;
        room.resize(room.len().max(used), 0);
        gather(xs, steps, &mut room[..used]);
        // SAFETY: `Kernels` selects this file only where `is_supported` holds.
        unsafe {
            configure();
            blocks(rows, &room[..used], steps, outs);
            asm!("tilerelease", options(nostack, nomem));
        }
    });
}

/// Tokens → tiles: for each 16 tokens and 64 elements, the high bytes and then the low bytes.
fn gather(xs: &[&Activation], steps: usize, out: &mut [u8]) {
    for (xs, out) in xs.chunks(SIDE).zip(out.chunks_exact_mut(steps * 2 * TILE)) {
        for (step, out) in out.chunks_exact_mut(2 * TILE).enumerate() {
            let bytes = step * PLANE_BLOCK..(step + 1) * PLANE_BLOCK;
            let (highs, lows) = out.split_at_mut(TILE);
            let lines = highs.chunks_exact_mut(PLANE_BLOCK).zip(lows.chunks_exact_mut(PLANE_BLOCK));
            for (x, (high_out, low_out)) in xs.iter().zip(lines) {
                let (high, low) = x.planes();
                high_out.copy_from_slice(&high[bytes.clone()]);
                low_out.copy_from_slice(&low[bytes.clone()]);
            }
        }
    }
}

/// Makes each of the eight tiles 16 lines of 64 bytes.
///
/// # Safety
/// `is_supported` holds.
unsafe fn configure() {
    let mut configuration = [0_u8; 64];
    configuration[0] = 1;
    for tile in 0..8 {
        configuration[16 + 2 * tile] = 64;
        configuration[48 + tile] = 16;
    }
    // SAFETY: palette 1 has tiles of this size; the operand has 64 bytes.
    unsafe { asm!("ldtilecfg [{}]", in(reg) configuration.as_ptr(), options(nostack, readonly)) };
}

/// Block after block of rows, packed once, times every tile of tokens.
///
/// # Safety
/// `is_supported` holds and the tiles are configured.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
unsafe fn blocks(rows: Rows<'_>, tokens: &[u8], steps: usize, outs: &mut [&mut [i64]]) {
    let quads = steps * SIDE;
    let pair_rows = panel::pair_rows(rows);
    let block_rows = (BLOCK_VECTORS / (2 * quads)).max(1) * pair_rows;
    let pairs_max = rows.count().min(block_rows).div_ceil(pair_rows);
    let mut sums = [0; 4 * SUMS];
    panel::with_room(pairs_max * 2 * quads, |room| {
        for first in (0..rows.count()).step_by(block_rows) {
            let block = rows.part(first, rows.count().min(first + block_rows));
            let panels = &mut room[..block.count().div_ceil(pair_rows) * 2 * quads];
            for (index, pair) in panels.chunks_exact_mut(2 * quads).enumerate() {
                let begin = index * pair_rows;
                panel::pack_pair(block.part(begin, block.count().min(begin + pair_rows)), pair);
            }
            let outs = outs.chunks_mut(SIDE);
            for (tokens, outs) in tokens.chunks_exact(steps * 2 * TILE).zip(outs) {
                for (index, pair) in panels.chunks_exact(2 * quads).enumerate() {
                    // SAFETY: the tiles are configured; both operands have `steps` tiles of each kind.
                    unsafe { multiply(tokens, pair, steps, &mut sums) };
                    let begin = index * pair_rows;
                    let part = block.part(begin, block.count().min(begin + pair_rows));
                    finish(&sums, part, outs, first + begin);
                }
            }
        }
    });
}

/// Two planes of 16 tokens times a pair of panels: four tiles of (tokens, rows) sums.
///
/// # Safety
/// `is_supported` holds and the tiles are configured.
unsafe fn multiply(tokens: &[u8], pair: &[__m512i], steps: usize, sums: &mut [i32; 4 * SUMS]) {
    assert!(steps > 0 && tokens.len() == steps * 2 * TILE && size_of_val(pair) == steps * 2 * TILE);
    let (front, behind) = pair.split_at(pair.len() / 2);
    // SAFETY: the loop reads `steps` tiles from each panel and twice as many from the tokens, which
    // is all that they have; the stores fill `sums`.
    unsafe {
        asm!(
            "tilezero tmm0",
            "tilezero tmm1",
            "tilezero tmm2",
            "tilezero tmm3",
            "2:",
            "tileloadd tmm6, [{front} + {line}*1]",
            "tileloadd tmm4, [{tokens} + {line}*1]",
            "tdpbusd tmm0, tmm4, tmm6",
            "tileloadd tmm7, [{behind} + {line}*1]",
            "tdpbusd tmm1, tmm4, tmm7",
            "tileloadd tmm5, [{tokens} + {line}*1 + 1024]",
            "tdpbusd tmm2, tmm5, tmm6",
            "tdpbusd tmm3, tmm5, tmm7",
            "add {tokens}, 2048",
            "add {front}, 1024",
            "add {behind}, 1024",
            "dec {steps}",
            "jnz 2b",
            "tilestored [{sums} + {line}*1], tmm0",
            "tilestored [{sums} + {line}*1 + 1024], tmm1",
            "tilestored [{sums} + {line}*1 + 2048], tmm2",
            "tilestored [{sums} + {line}*1 + 3072], tmm3",
            tokens = inout(reg) tokens.as_ptr() => _,
            front = inout(reg) front.as_ptr() => _,
            behind = inout(reg) behind.as_ptr() => _,
            steps = inout(reg) steps => _,
            line = in(reg) PLANE_BLOCK,
            sums = in(reg) sums.as_mut_ptr(),
            out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
            out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
            options(nostack),
        );
    }
}

/// Puts four tiles together: high bytes times first and second panel, then low bytes.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn finish(tiles: &[i32; 4 * SUMS], rows: Rows<'_>, outs: &mut [&mut [i64]], at: usize) {
    let bias = panel::Bias::of(rows);
    for (token, out) in outs.iter_mut().enumerate() {
        let line = |tile: usize| {
            let line = &tiles[tile * SUMS + token * SIDE..tile * SUMS + (token + 1) * SIDE];
            // SAFETY: a line of a tile has sixteen elements.
            unsafe { _mm512_loadu_si512(line.as_ptr().cast()) }
        };
        let sums = [[line(0), line(2)], [line(1), line(3)]];
        panel::finish_pair(sums, &bias, rows, &mut out[at..at + rows.count()]);
    }
}
