//! The innermost product: a tile of the target, held in registers.
#![expect(clippy::inline_always, reason = "what is not inlined has not its caller's instructions")]
#![expect(unsafe_code, reason = "tiles are read and written through pointers")]

#[cfg(target_arch = "x86_64")]
use std::{
    arch::x86_64::{__m512, __m512bh, _mm512_dpbf16_ps},
    mem::transmute,
};

use crate::values::{In, Out};
#[cfg(target_arch = "x86_64")]
use crate::vector::x86::{Avx2, Avx512};
use crate::vector::{Portable, Vector};

/// What a tile is made of.
///
/// Factors are read in words of 32 bits, of as many terms as the instructions multiply at once. The
/// left factor's word (i, p) lies at `left + i · left_row + p · left_step`, the right one's
/// (p, j) at `right + p · right_step + j`, the target's (i, j) at `target + i · target_row + j`.
pub(crate) struct Tile {
    /// Of the target: rows and columns, one of each at least and no more than a full tile's.
    pub(crate) shape: [usize; 2],
    /// Words of every sum.
    pub(crate) depth: usize,
    pub(crate) left: *const f32,
    pub(crate) left_row: usize,
    pub(crate) left_step: usize,
    pub(crate) right: *const f32,
    pub(crate) right_step: usize,
    /// What of the right factor's next panel this tile may fetch ahead. Any pointer will do.
    #[cfg_attr(not(target_arch = "x86_64"), expect(dead_code, reason = "AMX alone fetches it"))]
    pub(crate) next: *const f32,
    pub(crate) target: Out,
    pub(crate) target_row: usize,
    pub(crate) scale: f32,
    /// What the product is added to, if anything: element (i, j) at `start + i · start_row + j`.
    pub(crate) start: Option<In>,
    pub(crate) start_row: usize,
}

/// # Safety
///
/// The pointers of the tile reach over all elements it names, and the processor has the
/// instructions.
pub(crate) type TileFn = unsafe fn(&Tile);

/// An instruction set's tiles.
pub(crate) struct Tiles {
    /// Of a full tile.
    pub(crate) rows: usize,
    /// Of a full tile.
    pub(crate) columns: usize,
    pub(crate) tile: TileFn,
}

/// Words of the left factor that are fetched ahead.
const AHEAD: usize = 16;

/// What a word holds, and how it is multiplied.
trait Word<V> {
    /// Whether a factor of f32 is words where it lies.
    const IS_F32: bool = false;
    /// Whether the sums are integers, which panels hold scales for.
    const IS_SCALED: bool = false;

    /// The sum and the products of the terms of two words.
    ///
    /// # Safety
    ///
    /// The processor has the instructions.
    unsafe fn add_product(left: V, right: V, sum: V) -> V;
}

/// One f32.
struct One;

impl<V: Vector> Word<V> for One {
    const IS_F32: bool = true;

    #[inline(always)]
    unsafe fn add_product(left: V, right: V, sum: V) -> V {
        // SAFETY: the caller's.
        unsafe { left.mul_add(right, sum) }
    }
}

/// Four integers of eight bits, the left one's without a sign.
struct Bytes;

impl<V: Vector> Word<V> for Bytes {
    const IS_SCALED: bool = true;

    #[inline(always)]
    unsafe fn add_product(left: V, right: V, sum: V) -> V {
        // SAFETY: the caller's.
        unsafe { left.add_bytes(right, sum) }
    }
}

/// Two bf16.
#[cfg(target_arch = "x86_64")]
struct Pair;

#[cfg(target_arch = "x86_64")]
impl Word<Avx512> for Pair {
    #[inline(always)]
    unsafe fn add_product(left: Avx512, right: Avx512, sum: Avx512) -> Avx512 {
        // SAFETY: the caller's; a register's bits are as well those of 32 bf16.
        unsafe {
            let left = transmute::<__m512, __m512bh>(left.0);
            let right = transmute::<__m512, __m512bh>(right.0);
            Avx512(_mm512_dpbf16_ps(sum.0, left, right))
        }
    }
}

/// A tile of `ROWS × REGISTERS · LANES`.
#[inline(always)]
unsafe fn tile<
    V,
    W,
    const ROWS: usize,
    const REGISTERS: usize,
    const PACKED: bool,
    const FULL: bool,
>(
    of: &Tile,
) where
    V: Vector,
    W: Word<V>,
{
    let left_row = if PACKED { 1 } else { of.left_row };
    let last = if FULL { V::LANES } else { of.shape[1] - (REGISTERS - 1) * V::LANES };
    // SAFETY: the caller's.
    unsafe {
        let mut sums = [[V::splat(0.0); REGISTERS]; ROWS];
        let (mut left, mut right) = (of.left, of.right);
        // The target is wanted last: it comes while the sums are made.
        for row in 0..ROWS {
            for at in 0..REGISTERS {
                match of.target.at(row * of.target_row + at * V::LANES) {
                    Out::F32(to) => V::fetch_to_write(to),
                    Out::Bf16(to) => V::fetch_to_write(to.cast()),
                }
            }
        }
        for p in 0..of.depth {
            let mut columns = [V::splat(0.0); REGISTERS];
            for (at, columns) in columns.iter_mut().enumerate() {
                let from = right.add(at * V::LANES);
                let is_whole = FULL || at + 1 < REGISTERS;
                *columns = if is_whole { V::load(from) } else { V::load_first(from, last) };
            }
            if PACKED {
                V::fetch(left.wrapping_add(AHEAD * of.left_step));
            } else if ROWS.is_power_of_two() {
                // The next tile's rows, one after the other: no processor foresees where they lie.
                V::fetch(left.wrapping_add((ROWS + p % ROWS) * left_row));
            }
            for (row, sums) in sums.iter_mut().enumerate() {
                let factor = V::splat(*left.add(row * left_row));
                for (sum, columns) in sums.iter_mut().zip(columns) {
                    *sum = W::add_product(factor, columns, *sum);
                }
            }
            left = left.add(of.left_step);
            right = right.add(of.right_step);
        }
        // The usual ones are compiled each on its own, out of registers.
        match (of.start, of.target) {
            (None, Out::F32(target)) if !W::IS_SCALED => {
                finish(of, &sums, std::ptr::null(), 0, target, last);
            }
            (Some(In::F32(start)), Out::F32(target)) if !W::IS_SCALED => {
                if std::ptr::eq(start, target) {
                    finish(of, &sums, target, of.target_row, target, last);
                } else {
                    finish(of, &sums, start, of.start_row, target, last);
                }
            }
            _ => {
                let mut stored = std::mem::MaybeUninit::<[[V; REGISTERS]; ROWS]>::uninit();
                let stored = stored.as_mut_ptr().cast::<V>();
                for (row, sums) in sums.iter().enumerate() {
                    for (at, sum) in sums.iter().enumerate() {
                        *stored.add(row * REGISTERS + at) = *sum;
                    }
                }
                if W::IS_SCALED {
                    let scales = [left, right, right.add(of.right_step)];
                    finish_rows::<V, true>(of, stored.cast(), REGISTERS * V::LANES, scales);
                } else {
                    let none = [std::ptr::null(); 3];
                    finish_rows::<V, false>(of, stored.cast(), REGISTERS * V::LANES, none);
                }
            }
        }
    }
}

/// Writes the sums, times the scale, on top of what they start from; `last` are the lanes of a row's
/// last register.
#[inline(always)]
unsafe fn finish<V: Vector, const ROWS: usize, const REGISTERS: usize>(
    of: &Tile,
    sums: &[[V; REGISTERS]; ROWS],
    start: *const f32,
    start_row: usize,
    target: *mut f32,
    last: usize,
) {
    // SAFETY: the caller's.
    unsafe {
        let scale = V::splat(of.scale);
        for (row, sums) in sums.iter().enumerate() {
            for (at, sum) in sums.iter().enumerate() {
                let place = at * V::LANES;
                let lanes = if at + 1 < REGISTERS { V::LANES } else { last };
                let start = if start.is_null() {
                    V::splat(0.0)
                } else {
                    V::load_first(start.add(row * start_row + place), lanes)
                };
                let to = target.add(row * of.target_row + place);
                scale.mul_add(*sum, start).store_first(to, lanes);
            }
        }
    }
}

/// The same of sums that were stored, in rows that start `sums_row` apart, from and to any numbers.
///
/// Where they are `SCALED`, they are integers: less those of the columns, in the third place, times
/// the scales of the rows, in the first, and of the columns, in the second.
///
/// # Safety
///
/// As of [`TileFn`], and the sums are whole registers.
#[inline(always)]
pub(crate) unsafe fn finish_rows<V: Vector, const SCALED: bool>(
    of: &Tile,
    sums: *const f32,
    sums_row: usize,
    [row_scales, column_scales, above]: [*const f32; 3],
) {
    let [rows, columns] = of.shape;
    // SAFETY: the caller's.
    unsafe {
        for row in 0..rows {
            let scale = if SCALED { of.scale * *row_scales.add(row) } else { of.scale };
            let scale = V::splat(scale);
            let mut at = 0;
            while at < columns {
                let lanes = V::LANES.min(columns - at);
                let place = row * of.start_row + at;
                let start = match of.start {
                    None => V::splat(0.0),
                    Some(In::F32(from)) => V::load_first(from.add(place), lanes),
                    Some(In::Bf16(from)) => V::load_bf16_first(from.add(place), lanes),
                };
                let sum = V::load(sums.add(row * sums_row + at));
                let sum = if SCALED {
                    let scale = scale.mul_add(V::load(column_scales.add(at)), V::splat(0.0));
                    scale.mul_add(sum.difference(V::load(above.add(at))), start)
                } else {
                    scale.mul_add(sum, start)
                };
                match of.target.at(row * of.target_row + at) {
                    Out::F32(to) => sum.store_first(to, lanes),
                    Out::Bf16(to) => sum.store_bf16_first(to, lanes),
                }
                at += V::LANES;
            }
        }
    }
}

macro_rules! tiles {
    ($name:ident, $vector:ty, $word:ty, $($features:literal)?, [$($rows:literal)*], $registers:tt) => {
        pub(crate) static $name: Tiles = {
            $(#[target_feature(enable = $features)])?
            unsafe fn of<const ROWS: usize, const REGISTERS: usize>(of: &Tile) {
                // SAFETY: the caller's.
                unsafe {
                    let is_packed = of.left_row == 1 || !<$word as Word<$vector>>::IS_F32;
                    let is_full = of.shape[1] == REGISTERS * <$vector>::LANES;
                    match (is_packed, is_full && !<$vector>::MASKS_ARE_FREE) {
                        (true, true) => tile::<$vector, $word, ROWS, REGISTERS, true, true>(of),
                        (true, false) => tile::<$vector, $word, ROWS, REGISTERS, true, false>(of),
                        (false, true) => tile::<$vector, $word, ROWS, REGISTERS, false, true>(of),
                        (false, false) => tile::<$vector, $word, ROWS, REGISTERS, false, false>(of),
                    }
                }
            }
            /// By rows less one, by registers of columns less one.
            static BY_SHAPE: &[&[TileFn]] = &[$(tiles!(@row $rows, $registers)),*];
            unsafe fn any(of: &Tile) {
                let [rows, columns] = of.shape;
                let registers = columns.div_ceil(<$vector>::LANES);
                // SAFETY: the caller's.
                unsafe { BY_SHAPE[rows - 1][registers - 1](of) }
            }
            Tiles { rows: BY_SHAPE.len(), columns: BY_SHAPE[0].len() * <$vector>::LANES, tile: any }
        };
    };
    (@row $rows:literal, [$($registers:literal)*]) => { &[$(of::<$rows, $registers>),*] };
}

tiles!(PORTABLE, Portable, One, , [1 2 3 4], [1 2]);
tiles!(PORTABLE_BYTES, Portable, Bytes, , [1 2 3 4], [1 2]);
#[cfg(target_arch = "x86_64")]
tiles!(AVX2, Avx2, One, "avx2,fma", [1 2 3 4 5 6], [1 2]);
#[cfg(target_arch = "x86_64")]
tiles!(AVX2_BYTES, Avx2, Bytes, "avx2,fma", [1 2 3 4], [1 2]);
#[cfg(target_arch = "x86_64")]
tiles!(AVX512, Avx512, One, "avx512f,avx512bw,avx512vl", [1 2 3 4 5 6 7 8], [1 2 3]);
#[cfg(target_arch = "x86_64")]
tiles!(
    AVX512_BF16,
    Avx512,
    Pair,
    "avx512f,avx512bw,avx512vl,avx512bf16",
    [1 2 3 4 5 6 7 8],
    [1 2 3]
);
#[cfg(target_arch = "x86_64")]
tiles!(
    AVX512_BYTES,
    Avx512,
    Bytes,
    "avx512f,avx512bw,avx512vl,avx512vnni",
    [1 2 3 4 5 6 7 8],
    [1 2 3]
);
