//! Tiles of AMX: sixteen rows of 64 bytes each, multiplied by an engine of their own.
//!
//! The compiler does not know them: every instruction is written out.
#![expect(clippy::inline_always, reason = "what is not inlined has not its caller's instructions")]
#![expect(unsafe_code, reason = "instructions are written out, and tiles read through pointers")]

use std::arch::asm;
use std::arch::x86_64::__cpuid_count;
use std::mem::MaybeUninit;

use crate::bytes::{self, Layout};
use crate::pack::{Part, copy, transpose};
use crate::pairs::{Across, Along, Number, lines_of_pairs};
use crate::tile::{Tile, Tiles, finish_rows};
use crate::values::{In, Out};
use crate::vector::x86::Avx512;

/// Rows of a tile, and words of a row.
const SIDE: usize = 16;

/// Rows and columns of a full tile of ours: two by two of the processor's.
const TWO: usize = 2 * SIDE;

/// Words of two tiles.
const PAIR: usize = TWO * SIDE;

pub(crate) static PAIRS: Tiles = Tiles { rows: TWO, columns: TWO, tile: tile_of_pairs };

pub(crate) static BYTES: Tiles = Tiles { rows: TWO, columns: TWO, tile: tile_of_bytes };

/// Of a left factor's panel: the distances of rows and of steps, in words.
pub(crate) const LEFT: [usize; 2] = [SIDE, PAIR];

/// Words of a sum that one instruction takes.
pub(crate) const STEP: usize = SIDE;

/// Whether the processor has tiles of bf16 and of eight bits, and the system grants them to this
/// process.
pub(crate) fn is_granted() -> bool {
    /// Of the seventh leaf's EDX.
    const BF16_TILES_INT8: u32 = 1 << 22 | 1 << 24 | 1 << 25;
    __cpuid_count(7, 0).edx & BF16_TILES_INT8 == BF16_TILES_INT8 && system_grants()
}

/// The system saves tiles when it switches threads, once it was asked to.
#[cfg(target_os = "linux")]
fn system_grants() -> bool {
    const ARCH_PRCTL: i64 = 158;
    const REQUEST: u64 = 0x1023;
    const TILE_DATA: u64 = 18;
    let mut result = ARCH_PRCTL;
    // SAFETY: the call changes what the process may use, and no memory.
    unsafe {
        asm!("syscall", inlateout("rax") result, in("rdi") REQUEST, in("rsi") TILE_DATA,
            lateout("rcx") _, lateout("r11") _, options(nostack));
    }
    result == 0
}

#[cfg(not(target_os = "linux"))]
fn system_grants() -> bool {
    false
}

/// Whether a small product is what it should be, where tiles are [granted](is_granted): a machine
/// that promises them and does not keep the promise, as an emulated one may, is found here.
pub(crate) fn multiplies() -> bool {
    let [m, n, k] = [19, 21, 67_usize];
    let steps = k.div_ceil(2 * STEP);
    // Sums of small whole numbers, which are the same in any order.
    let numbers = |count: usize| (0..count).map(|i| (i * 7 % 13) as f32 - 6.0).collect::<Vec<_>>();
    let (a, b) = (numbers(m * k), numbers(k * n));
    let (mut left, mut right) = (vec![0.0; steps * PAIR], vec![0.0; steps * PAIR]);
    let mut target = vec![0.0_f32; m * n];
    let part = |from: &[f32], row_stride, column_stride, columns| Part {
        from: In::F32(from.as_ptr()),
        row_stride,
        column_stride,
        rows: k,
        columns,
    };
    // SAFETY: the factors, panels and target hold what they are said to; tiles are granted.
    unsafe {
        pack_left(&part(&a, 1, k, m), left.as_mut_ptr(), TWO);
        pack_right(&part(&b, n, 1, n), right.as_mut_ptr(), TWO);
        begin();
        tile_of_pairs(&Tile {
            shape: [m, n],
            depth: steps * STEP,
            left: left.as_ptr(),
            left_row: LEFT[0],
            left_step: LEFT[1],
            right: right.as_ptr(),
            right_step: TWO,
            next: right.as_ptr(),
            target: Out::F32(target.as_mut_ptr()),
            target_row: n,
            scale: 1.0,
            start: None,
            start_row: 0,
        });
        end();
    }
    let sum = |i: usize, j: usize| (0..k).map(|p| a[i * k + p] * b[p * n + j]).sum::<f32>();
    (0..m * n).all(|at| target[at] == sum(at / n, at % n))
}

/// The form of all eight tiles.
#[repr(C, align(64))]
struct Config {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    row_bytes: [u16; 16],
    rows: [u8; 16],
}

static CONFIG: Config = {
    let (mut row_bytes, mut rows) = ([0; 16], [0; 16]);
    let mut tile = 0;
    while tile < 8 {
        row_bytes[tile] = 64;
        rows[tile] = SIDE as u8;
        tile += 1;
    }
    Config { palette: 1, start_row: 0, reserved: [0; 14], row_bytes, rows }
};

/// Before the first tile of a product: a thread's tiles take their form.
///
/// # Safety
///
/// Tiles are [granted](is_granted).
pub(crate) unsafe fn begin() {
    // SAFETY: the caller's; the form is one.
    unsafe { asm!("ldtilecfg [{}]", in(reg) &raw const CONFIG, options(nostack, readonly)) };
}

/// After the last one: nothing is left to be saved when threads switch.
///
/// # Safety
///
/// Tiles are [granted](is_granted).
pub(crate) unsafe fn end() {
    // SAFETY: the caller's.
    unsafe { asm!("tilerelease", options(nostack, nomem)) };
}

/// Sums of a tile.
#[repr(C, align(64))]
struct Sums([f32; TWO * TWO]);

/// One tile program: what clears the sums, what one step does, what stores them.
macro_rules! program {
    (
        $of:ident, $sums:ident,
        [$($clear:expr),* $(,)?], [$($step:expr),* $(,)?], [$($store:expr),* $(,)?] $(,)?
    ) => {
        asm!(
            $($clear,)*
            "2:",
            $($step,)*
            // Of the next panel, a part every step.
            "prefetcht1 [{next}]",
            "prefetcht1 [{next} + 64]",
            "prefetcht1 [{next} + 128]",
            "prefetcht1 [{next} + 192]",
            "add {next}, 256",
            "add {left}, {left_step}",
            "add {below}, {left_step}",
            "add {right}, 2048",
            "dec {steps}",
            "jnz 2b",
            $($store,)*
            left = inout(reg) $of.left => _,
            below = inout(reg) $of.left.wrapping_add(SIDE * $of.left_row) => _,
            left_row = in(reg) 4 * $of.left_row,
            left_step = in(reg) 4 * $of.left_step,
            right = inout(reg) $of.right => _,
            next = inout(reg) $of.next => _,
            steps = inout(reg) $of.depth / STEP => _,
            sums = in(reg) $sums,
            // Bytes of a line of the right panel, and of the sums.
            line = in(reg) 4 * TWO,
            options(nostack),
        )
    };
}

/// The sums of a tile, by the instruction that multiplies.
macro_rules! multiply {
    ($of:ident, $sums:ident, $by:literal) => {
        match ($of.shape[0] > SIDE, $of.shape[1] > SIDE) {
            (true, true) => program!(
                $of,
                $sums,
                ["tilezero tmm0", "tilezero tmm1", "tilezero tmm2", "tilezero tmm3"],
                [
                    "tileloadd tmm4, [{left} + {left_row}]",
                    "tileloadd tmm6, [{right} + {line}]",
                    concat!($by, " tmm0, tmm4, tmm6"),
                    "tileloadd tmm7, [{right} + {line} + 64]",
                    concat!($by, " tmm1, tmm4, tmm7"),
                    "tileloadd tmm5, [{below} + {left_row}]",
                    concat!($by, " tmm2, tmm5, tmm6"),
                    concat!($by, " tmm3, tmm5, tmm7"),
                ],
                [
                    "tilestored [{sums} + {line}], tmm0",
                    "tilestored [{sums} + {line} + 64], tmm1",
                    "tilestored [{sums} + {line} + 2048], tmm2",
                    "tilestored [{sums} + {line} + 2112], tmm3",
                ],
            ),
            (true, false) => program!(
                $of,
                $sums,
                ["tilezero tmm0", "tilezero tmm2"],
                [
                    "tileloadd tmm4, [{left} + {left_row}]",
                    "tileloadd tmm6, [{right} + {line}]",
                    concat!($by, " tmm0, tmm4, tmm6"),
                    "tileloadd tmm5, [{below} + {left_row}]",
                    concat!($by, " tmm2, tmm5, tmm6"),
                ],
                [
                    "tilestored [{sums} + {line}], tmm0",
                    "tilestored [{sums} + {line} + 2048], tmm2",
                ],
            ),
            (false, true) => program!(
                $of,
                $sums,
                ["tilezero tmm0", "tilezero tmm1"],
                [
                    "tileloadd tmm4, [{left} + {left_row}]",
                    "tileloadd tmm6, [{right} + {line}]",
                    concat!($by, " tmm0, tmm4, tmm6"),
                    "tileloadd tmm7, [{right} + {line} + 64]",
                    concat!($by, " tmm1, tmm4, tmm7"),
                ],
                [
                    "tilestored [{sums} + {line}], tmm0",
                    "tilestored [{sums} + {line} + 64], tmm1",
                ],
            ),
            (false, false) => program!(
                $of,
                $sums,
                ["tilezero tmm0"],
                [
                    "tileloadd tmm4, [{left} + {left_row}]",
                    "tileloadd tmm6, [{right} + {line}]",
                    concat!($by, " tmm0, tmm4, tmm6"),
                ],
                ["tilestored [{sums} + {line}], tmm0"],
            ),
        }
    };
}

/// A [`TileFn`](crate::tile::TileFn) of panels of pairs.
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
unsafe fn tile_of_pairs(of: &Tile) {
    let mut sums = MaybeUninit::<Sums>::uninit();
    let sums = sums.as_mut_ptr().cast::<f32>();
    // SAFETY: the caller's; the sums have room for two by two tiles.
    unsafe {
        multiply!(of, sums, "tdpbf16ps");
        finish_rows::<Avx512, false>(of, sums, TWO, [std::ptr::null(); 3]);
    }
}

/// A [`TileFn`](crate::tile::TileFn) of panels of bytes.
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
unsafe fn tile_of_bytes(of: &Tile) {
    let mut sums = MaybeUninit::<Sums>::uninit();
    let sums = sums.as_mut_ptr().cast::<f32>();
    // SAFETY: the caller's; the sums have room for two by two tiles, and scales follow the words.
    unsafe {
        multiply!(of, sums, "tdpbusd");
        let (rows, columns) = (of.left.add(TWO * of.depth), of.right.add(TWO * of.depth));
        finish_rows::<Avx512, true>(of, sums, TWO, [rows, columns, columns.add(TWO)]);
    }
}

/// A [`PackFn`](crate::pack::PackFn) of a left factor of bytes.
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
pub(crate) unsafe fn left_bytes(part: &Part, to: *mut f32, width: usize) {
    // SAFETY: the caller's.
    unsafe { bytes::left::<Avx512>(part, to, width, Layout::Steps, STEP) }
}

/// A [`PackFn`](crate::pack::PackFn) of a right factor of bytes.
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
pub(crate) unsafe fn right_bytes(part: &Part, to: *mut f32, width: usize) {
    // SAFETY: the caller's.
    unsafe { bytes::right::<Avx512>(part, to, width, STEP) }
}

/// A [`PackFn`](crate::pack::PackFn) of a right factor.
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
pub(crate) unsafe fn pack_right(part: &Part, to: *mut f32, width: usize) {
    // SAFETY: the caller's.
    unsafe { lines_of_pairs(part, to, width, STEP) }
}

/// A [`PackFn`](crate::pack::PackFn) of a left factor: one step after the other, of every row.
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
pub(crate) unsafe fn pack_left(part: &Part, to: *mut f32, _width: usize) {
    // SAFETY: the caller's.
    unsafe {
        match part.from {
            In::F32(from) => steps_of(part, from, to),
            In::Bf16(from) => steps_of(part, from, to),
        }
    }
}

#[inline(always)]
unsafe fn steps_of<T: Number>(part: &Part, from: *const T, to: *mut f32) {
    let Part { row_stride, column_stride, rows: terms, columns: rows, .. } = *part;
    // SAFETY: the caller's. A step is whole: beyond the terms are zeros.
    unsafe {
        for step in 0..terms.div_ceil(2 * STEP) {
            let first = 2 * STEP * step;
            let (from, to) = (from.add(first * row_stride), to.add(PAIR * step));
            if row_stride == 1 {
                let lines = Along { from, stride: column_stride, length: terms - first };
                copy::<Avx512, _>(&lines, [rows, STEP], to, STEP);
            } else {
                let lines = Across { from, stride: row_stride, lines: terms - first };
                transpose::<Avx512, _>(&lines, [STEP, rows], to, STEP);
            }
        }
    }
}
