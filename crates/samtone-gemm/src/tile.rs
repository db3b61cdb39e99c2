//! The innermost product: a tile of the target, held in registers.
#![expect(clippy::inline_always, reason = "what is not inlined has not its caller's instructions")]
#![expect(unsafe_code, reason = "tiles are read and written through pointers")]

use crate::values::{In, Out};
use crate::vector::Vector;

/// What a tile is made of.
///
/// The left factor's element (i, p) lies at `left + i · left_row + p · left_step`, the right one's
/// (p, j) at `right + p · right_step + j`, the target's (i, j) at `target + i · target_row + j`.
pub(crate) struct Tile {
    /// Of the target: rows and columns, one of each at least and no more than a full tile's.
    pub(crate) shape: [usize; 2],
    /// Terms of every sum.
    pub(crate) depth: usize,
    pub(crate) left: *const f32,
    pub(crate) left_row: usize,
    pub(crate) left_step: usize,
    pub(crate) right: *const f32,
    pub(crate) right_step: usize,
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

/// Terms of the left factor that are fetched ahead.
const AHEAD: usize = 16;

/// A tile of `ROWS × REGISTERS · LANES`.
#[inline(always)]
unsafe fn tile<V: Vector, const ROWS: usize, const REGISTERS: usize, const PACKED: bool>(
    of: &Tile,
) {
    let left_row = if PACKED { 1 } else { of.left_row };
    let last = of.shape[1] - (REGISTERS - 1) * V::LANES;
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
        for _ in 0..of.depth {
            let mut columns = [V::splat(0.0); REGISTERS];
            for (at, columns) in columns.iter_mut().enumerate() {
                let from = right.add(at * V::LANES);
                *columns =
                    if at + 1 < REGISTERS { V::load(from) } else { V::load_first(from, last) };
            }
            if PACKED {
                V::fetch(left.wrapping_add(AHEAD * of.left_step));
            }
            for (row, sums) in sums.iter_mut().enumerate() {
                let factor = V::splat(*left.add(row * left_row));
                for (sum, columns) in sums.iter_mut().zip(columns) {
                    *sum = factor.mul_add(columns, *sum);
                }
            }
            left = left.add(of.left_step);
            right = right.add(of.right_step);
        }
        // The usual ones are compiled each on its own, without a branch in their loops: sums that a
        // loop walks over would lie in memory from the first term on.
        match (of.start, of.target) {
            (None, Out::F32(to)) => finish(of, &sums, (std::ptr::null(), 0), to),
            (Some(In::F32(start)), Out::F32(to)) if std::ptr::eq(start, to) => {
                finish(of, &sums, (to, of.target_row), to);
            }
            (Some(In::F32(start)), Out::F32(to)) => finish(of, &sums, (start, of.start_row), to),
            _ => {
                let mut stored = [[V::splat(0.0); REGISTERS]; ROWS];
                let to = stored.as_mut_ptr().cast::<f32>();
                for (row, sums) in sums.iter().enumerate() {
                    for (at, sum) in sums.iter().enumerate() {
                        sum.store(to.add((row * REGISTERS + at) * V::LANES));
                    }
                }
                finish_any(of, &stored);
            }
        }
    }
}

/// Writes the sums, times the scale, on top of what they start from, all of it f32.
#[inline(always)]
unsafe fn finish<V: Vector, const ROWS: usize, const REGISTERS: usize>(
    of: &Tile,
    sums: &[[V; REGISTERS]; ROWS],
    (start, start_row): (*const f32, usize),
    target: *mut f32,
) {
    // SAFETY: the caller's.
    unsafe {
        let scale = V::splat(of.scale);
        let last = of.shape[1] - (REGISTERS - 1) * V::LANES;
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

/// Writes the sums, times the scale, on top of what they start from.
#[inline(always)]
unsafe fn finish_any<V: Vector, const ROWS: usize, const REGISTERS: usize>(
    of: &Tile,
    sums: &[[V; REGISTERS]; ROWS],
) {
    // SAFETY: the caller's.
    unsafe {
        let scale = V::splat(of.scale);
        for (row, sums) in sums.iter().enumerate() {
            for (at, sum) in sums.iter().enumerate() {
                let place = at * V::LANES;
                let lanes = if at + 1 < REGISTERS { V::LANES } else { of.shape[1] - place };
                let (start, start_row) = (of.start, of.start_row);
                let start = match start {
                    None => V::splat(0.0),
                    Some(In::F32(from)) => V::load_first(from.add(row * start_row + place), lanes),
                    Some(In::Bf16(from)) => {
                        V::load_bf16_first(from.add(row * start_row + place), lanes)
                    }
                };
                let sum = scale.mul_add(*sum, start);
                match of.target.at(row * of.target_row + place) {
                    Out::F32(to) => sum.store_first(to, lanes),
                    Out::Bf16(to) => sum.store_bf16_first(to, lanes),
                }
            }
        }
    }
}

macro_rules! tiles {
    ($name:ident, $vector:ty, $($features:literal)?, [$($rows:literal)*], $registers:tt) => {
        pub(crate) static $name: Tiles = {
            $(#[target_feature(enable = $features)])?
            unsafe fn of<const ROWS: usize, const REGISTERS: usize>(of: &Tile) {
                // SAFETY: the caller's.
                unsafe {
                    if of.left_row == 1 {
                        tile::<$vector, ROWS, REGISTERS, true>(of)
                    } else {
                        tile::<$vector, ROWS, REGISTERS, false>(of)
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

tiles!(PORTABLE, crate::vector::Portable, , [1 2 3 4], [1 2]);
#[cfg(target_arch = "x86_64")]
tiles!(AVX2, crate::vector::x86::Avx2, "avx2,fma", [1 2 3 4 5 6], [1 2]);
#[cfg(target_arch = "x86_64")]
tiles!(AVX512, crate::vector::x86::Avx512, "avx512f,avx512bw,avx512vl", [1 2 3 4 5 6 7 8], [1 2 3]);
