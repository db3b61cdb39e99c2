//! The loops around a tile.
#![expect(unsafe_code, reason = "tiles and parts are given as pointers")]

use std::cell::Cell;

use crate::pack::Part;
use crate::processor::{Processor, processor};
use crate::room::{Line, room};
use crate::tile::Tile;
use crate::view::{View, extent};

/// Terms of a sum before it is added to the target, at most: a tile's part of the right factor
/// stays in the second-level cache while the left one's stream past it.
const DEPTH: usize = 512;

/// Rows of the left factor that are copied at once, at most: with [`DEPTH`], one MiB.
const ROWS: usize = 512;

/// A product of two matrices, to be written somewhere.
///
/// Every element is the sum of its terms in the order of the inner dimension, the same whatever
/// part of a larger product it is computed in and however many threads compute the others.
/// What is not finite goes through as IEEE 754 says: nothing is left out because it is zero.
#[derive(Clone, Copy, Debug)]
pub struct Product<'a> {
    left: View<'a>,
    right: View<'a>,
    scale: f32,
    /// Whether the factors are rounded to bf16.
    rounds: bool,
}

/// What a product is added to.
#[derive(Clone, Copy)]
enum Start<'a> {
    Nothing,
    Target,
    /// The same for every row.
    Row(&'a [f32]),
}

impl<'a> Product<'a> {
    /// `left × right` in f32.
    ///
    /// # Panics
    ///
    /// If the inner dimensions differ.
    pub fn new(left: View<'a>, right: View<'a>) -> Self {
        let (k, [rows, columns]) = (left.columns, [right.rows, right.columns]);
        assert_eq!(k, rows, "a product of {}×{k} and {rows}×{columns}", left.rows);
        Self { left, right, scale: 1.0, rounds: false }
    }

    /// The same, times a number.
    #[must_use]
    pub fn scaled(self, scale: f32) -> Self {
        Self { scale, ..self }
    }

    /// The same of the factors rounded to bf16 (nearest, ties to even); terms and sums stay f32.
    #[must_use]
    pub fn in_bf16(self) -> Self {
        Self { rounds: true, ..self }
    }

    /// Writes it to a row-major matrix whose rows start `stride` apart, on this thread. What lies
    /// between the rows is left alone.
    ///
    /// # Panics
    ///
    /// If the target is too small.
    pub fn write(&self, target: &mut [f32], stride: usize) {
        self.store(processor(), target, stride, Start::Nothing);
    }

    /// Adds it to what the target holds; otherwise as [`Self::write`].
    ///
    /// # Panics
    ///
    /// If the target is too small.
    pub fn add(&self, target: &mut [f32], stride: usize) {
        self.store(processor(), target, stride, Start::Target);
    }

    /// Writes the sum of it and of a row, the same for all; otherwise as [`Self::write`].
    ///
    /// # Panics
    ///
    /// If the target is too small, or the row has another width.
    pub fn write_onto(&self, row: &[f32], target: &mut [f32], stride: usize) {
        self.store(processor(), target, stride, Start::Row(row));
    }

    fn store(&self, on: &Processor, target: &mut [f32], stride: usize, start: Start<'_>) {
        let (m, n, k) = (self.left.rows, self.right.columns, self.left.columns);
        assert!(m < 2 || n <= stride, "a product {n} wide into rows of {stride}");
        assert!(
            extent([m, n], stride) <= target.len(),
            "a product of {m}×{n} into {}",
            target.len()
        );
        if let Start::Row(row) = start {
            assert_eq!(row.len(), n, "a row onto which a product {n} wide is added");
        }
        if m == 0 || n == 0 {
            return;
        }
        if k == 0 {
            for row in 0..m {
                let target = &mut target[row * stride..][..n];
                match start {
                    Start::Nothing => target.fill(0.0),
                    Start::Target => {}
                    Start::Row(row) => target.copy_from_slice(row),
                }
            }
            return;
        }
        let lines = &mut ROOM.take();
        // SAFETY: the target was checked to hold the product.
        unsafe { self.blocks(on, lines, target.as_mut_ptr(), stride, start) };
        ROOM.set(std::mem::take(lines));
    }

    /// Block by block: as many terms and rows as the caches hold.
    ///
    /// # Safety
    ///
    /// The target reaches over the product, rows `stride` apart.
    unsafe fn blocks(
        &self,
        on: &Processor,
        lines: &mut Vec<Line>,
        target: *mut f32,
        stride: usize,
        start: Start<'_>,
    ) {
        let Self { left, right, scale, rounds } = *self;
        let (m, n, k) = (left.rows, self.right.columns, left.columns);
        let (tile_rows, tile_columns) = (on.tile_rows(), on.tile_columns());
        let block = even(m, ROWS).next_multiple_of(tile_rows);
        // A factor is copied where it is read often, not in order, or rounded.
        let packs_left = rounds || n > 2 * tile_columns || (left.column_stride != 1 && k > DEPTH);
        let packs_right = rounds || right.column_stride != 1 || m > 8 * tile_rows;
        let depth = k.min(DEPTH);
        let left_room = if packs_left { block * depth } else { 0 };
        let right_room = if packs_right { tile_columns * depth } else { 0 };
        let [left_room, right_room] = room(lines, left_room, right_room);
        let (left_room, right_room) = (left_room.as_mut_ptr(), right_room.as_mut_ptr());
        for (first, depth) in depths(k) {
            for top in (0..m).step_by(block) {
                let rows = block.min(m - top);
                if packs_left {
                    let (factor, shape) = (left.t(), [depth, rows]);
                    // SAFETY: the rows and terms lie within the view; the room is for a block.
                    unsafe { pack(on, factor, [first, top], shape, tile_rows, rounds, left_room) };
                }
                for j in (0..n).step_by(tile_columns) {
                    let columns = tile_columns.min(n - j);
                    let registers = columns.div_ceil(on.tiles.lanes);
                    let (of_right, right_step) = if packs_right {
                        let (place, shape) = ([first, j], [depth, columns]);
                        // SAFETY: the columns and terms lie within the view; the room is for a tile.
                        unsafe { pack(on, right, place, shape, tile_columns, rounds, right_room) };
                        (right_room.cast_const(), tile_columns)
                    } else {
                        (right.part(first, j), right.row_stride)
                    };
                    for i in (0..rows).step_by(tile_rows) {
                        let (of_left, left_row, left_step) = if packs_left {
                            (left_room.wrapping_add(i * depth).cast_const(), 1, tile_rows)
                        } else {
                            (left.part(top + i, first), left.row_stride, left.column_stride)
                        };
                        let target = target.wrapping_add((top + i) * stride + j);
                        let (start, start_row) = match start {
                            Start::Nothing if first == 0 => (std::ptr::null(), 0),
                            Start::Row(row) if first == 0 => (row[j..].as_ptr(), 0),
                            _ => (target.cast_const(), stride),
                        };
                        let tile = Tile {
                            depth,
                            left: of_left,
                            left_row,
                            left_step,
                            right: of_right,
                            right_step,
                            target,
                            target_row: stride,
                            start,
                            start_row,
                            last: columns - (registers - 1) * on.tiles.lanes,
                            scale,
                        };
                        let rows = tile_rows.min(rows - i);
                        // SAFETY: the pointers reach over what was checked and copied above.
                        unsafe { on.tiles.by_rows[rows - 1][registers - 1](&tile) };
                    }
                }
            }
        }
    }
}

/// Copies some terms of some columns of a factor, whose rows are its terms, to panels one after the
/// other.
///
/// # Safety
///
/// They lie within the view, and the target has room for `depth · width` elements a panel.
unsafe fn pack(
    on: &Processor,
    factor: View<'_>,
    [first, column]: [usize; 2],
    [depth, columns]: [usize; 2],
    width: usize,
    rounds: bool,
    to: *mut f32,
) {
    for at in (0..columns).step_by(width) {
        let (from, to) = (factor.part(first, column + at), to.wrapping_add(at * depth));
        let columns = width.min(columns - at);
        // SAFETY: the caller's.
        unsafe {
            if factor.column_stride == 1 {
                let stride = factor.row_stride;
                (on.copy)(&Part { from, stride, rows: depth, columns, rounds }, to, width);
            } else {
                let stride = factor.column_stride;
                let part = Part { from, stride, rows: columns, columns: depth, rounds };
                (on.transpose)(&part, to, width);
            }
        }
    }
}

/// The first of the terms that are summed before they are added to the target, and how many.
fn depths(terms: usize) -> impl Iterator<Item = (usize, usize)> {
    let depth = even(terms, DEPTH).max(1);
    (0..terms).step_by(depth).map(move |first| (first, depth.min(terms - first)))
}

/// A length in parts of nearly one size, none above `most`: that size.
fn even(length: usize, most: usize) -> usize {
    length.div_ceil(length.div_ceil(most).max(1))
}

thread_local! {
    /// Where parts are copied to, kept from product to product.
    static ROOM: Cell<Vec<Line>> = const { Cell::new(Vec::new()) };
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::bf16;
    use crate::processor::available;

    /// Numbers from -1 to 1 that differ in all their bits.
    fn numbers(count: usize, salt: usize) -> Vec<f32> {
        (0..count).map(|i| ((i * 7919 + salt * 104_729) as f32 * 0.37).sin()).collect()
    }

    /// A factor of `rows × columns`, row-major or column-major, with room between its lines.
    fn factor(values: &[f32], [rows, columns]: [usize; 2], transposed: bool) -> View<'_> {
        let (lines, length) = if transposed { (columns, rows) } else { (rows, columns) };
        let view = View::new(values, [lines, length], length + 3);
        if transposed { view.t() } else { view }
    }

    fn room_of([rows, columns]: [usize; 2]) -> usize {
        (rows + 3) * (columns + 3)
    }

    fn at(view: &View<'_>, values: &[f32], i: usize, j: usize) -> f64 {
        f64::from(values[i * view.row_stride + j * view.column_stride])
    }

    struct Case {
        shape: [usize; 3],
        transposed: [bool; 2],
        scale: f32,
        rounds: bool,
    }

    /// Compares a product with its definition in f64, on every set of instructions there is.
    fn check(case: &Case) {
        let Case { shape: [m, n, k], transposed, scale, rounds } = *case;
        let round = |values: Vec<f32>| {
            if rounds { values.into_iter().map(bf16::round).collect() } else { values }
        };
        let (a, b) = (numbers(room_of([m, k]), 1), numbers(room_of([k, n]), 2));
        let left = factor(&a, [m, k], transposed[0]);
        let right = factor(&b, [k, n], transposed[1]);
        let (rounded_a, rounded_b) = (round(a.clone()), round(b.clone()));
        let row = numbers(n, 3);
        let product = Product { rounds, ..Product::new(left, right).scaled(scale) };
        let stride = n + 5;
        for on in available() {
            for start in [Start::Nothing, Start::Target, Start::Row(&row)] {
                let before = match start {
                    Start::Nothing => vec![f32::NAN; m * stride],
                    _ => numbers(m * stride, 4),
                };
                let mut target = before.clone();
                product.store(on, &mut target, stride, start);
                for i in 0..m {
                    for j in 0..stride {
                        let (was, is) = (before[i * stride + j], target[i * stride + j]);
                        if j >= n {
                            assert_eq!(
                                was.to_bits(),
                                is.to_bits(),
                                "between the rows, {}",
                                on.name
                            );
                            continue;
                        }
                        let terms = (0..k)
                            .map(|p| at(&left, &rounded_a, i, p) * at(&right, &rounded_b, p, j));
                        let (sum, size) =
                            terms.fold((0.0, 0.0), |(sum, size), x| (sum + x, size + x.abs()));
                        let start = match start {
                            Start::Nothing => 0.0,
                            Start::Target => f64::from(was),
                            Start::Row(row) => f64::from(row[j]),
                        };
                        let expected = start + f64::from(scale) * sum;
                        // Every term and every sum is rounded once or twice.
                        let bound = (k as f64 + 8.0)
                            * 1.2e-7
                            * (size * f64::from(scale).abs() + start.abs());
                        let error = (f64::from(is) - expected).abs();
                        assert!(
                            error <= bound,
                            "{} {m}×{n}×{k} at {i}, {j}: {is}, not {expected}",
                            on.name
                        );
                    }
                }
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(60))]

        #[test]
        fn products_agree_with_their_definition(
            shape in [0..40_usize, 0..80_usize, 0..70_usize],
            transposed in any::<[bool; 2]>(),
            scale in prop::sample::select(vec![1.0_f32, -0.5, 0.0]),
            rounds in any::<bool>(),
        ) {
            check(&Case { shape, transposed, scale, rounds });
        }
    }

    #[test]
    fn products_of_many_blocks_agree_with_their_definition() {
        for transposed in [[false, true], [true, false]] {
            let shape = [ROWS + 9, 65, DEPTH + 7];
            check(&Case { shape, transposed, scale: 1.0, rounds: false });
        }
        let shape = [121, 70, 2 * DEPTH + 1];
        check(&Case { shape, transposed: [true, true], scale: 1.0, rounds: true });
    }

    #[test]
    fn an_element_is_the_same_in_any_part_of_a_product() {
        let (m, n, k) = (150, 70, 600);
        let (a, b) = (numbers(m * k, 1), numbers(k * n, 2));
        let (left, right) = (View::new(&a, [m, k], k), View::new(&b, [n, k], k).t());
        let mut whole = vec![0.0; m * n];
        Product::new(left, right).write(&mut whole, n);
        for rows in [1, 7, 64] {
            let mut part = vec![0.0; rows * n];
            Product::new(left.rows(31..31 + rows), right).write(&mut part, n);
            assert_eq!(part, whole[31 * n..(31 + rows) * n]);
        }
    }

    #[test]
    fn what_is_not_finite_goes_through_and_what_is_tiny_stays() {
        let tiny = f32::from_bits(3);
        for on in available() {
            for rounds in [false, true] {
                let run = |a: [f32; 2], b: [f32; 2]| {
                    let mut target = [7.0];
                    let (a, b) = (View::new(&a, [1, 2], 2), View::new(&b, [2, 1], 1));
                    Product { rounds, ..Product::new(a, b) }.store(
                        on,
                        &mut target,
                        1,
                        Start::Nothing,
                    );
                    target[0]
                };
                assert!(run([0.0, 1.0], [f32::NAN, 1.0]).is_nan(), "0 · NaN, {}", on.name);
                assert!(run([0.0, 1.0], [f32::INFINITY, 1.0]).is_nan(), "0 · ∞, {}", on.name);
                assert_eq!(run([-1.0, 0.0], [f32::INFINITY, 1.0]), f32::NEG_INFINITY);
                assert_eq!(run([f32::MAX, f32::MAX], [1.0, 1.0]), f32::INFINITY);
            }
            let mut target = [0.0];
            let (a, b) = ([tiny], [2.0]);
            let (a, b) = (View::new(&a, [1, 1], 1), View::new(&b, [1, 1], 1));
            Product::new(a, b).store(on, &mut target, 1, Start::Nothing);
            assert_eq!(target[0], f32::from_bits(6), "a denormal, {}", on.name);
        }
    }

    #[test]
    fn numbers_are_rounded_to_the_nearest_bf16_alike_everywhere() {
        let ties = [0x3f80_8000, 0x3f81_8000, 0x3f80_7fff, 0x3f80_8001, 0x7f7f_ffff, 0x0000_8000];
        let others = [0xff80_0000, 0x7fa0_0001, 0xffc0_ffff, 0x8000_0000, 0x0001_8000];
        let values: Vec<f32> =
            ties.into_iter().chain(others).map(f32::from_bits).chain(numbers(40, 5)).collect();
        let one = [1.0];
        for on in available() {
            for transposed in [false, true] {
                // Each alone, as a factor of one.
                for &value in &values {
                    let mut target = [0.0];
                    let value_at = [value];
                    let (a, b) = (View::new(&value_at, [1, 1], 1), View::new(&one, [1, 1], 1));
                    let (a, b) = if transposed { (b.t(), a.t()) } else { (a, b) };
                    let product = Product::new(a, b).in_bf16();
                    product.store(on, &mut target, 1, Start::Nothing);
                    let expected = half(value);
                    let same = target[0] == expected || (target[0].is_nan() && expected.is_nan());
                    assert!(
                        same,
                        "{value:e} ({:x}) became {:e} on {}",
                        value.to_bits(),
                        target[0],
                        on.name
                    );
                }
            }
        }
    }

    /// The nearest of the two bf16 around a number, found by trying both.
    fn half(value: f32) -> f32 {
        let low = value.to_bits() & 0xffff_0000;
        if value.is_nan() || value.is_infinite() {
            return value;
        }
        let (below, above) = (f32::from_bits(low), f32::from_bits(low + 0x1_0000));
        // The place beyond the greatest bf16 counts as the next power of two.
        let place = |x: f32| if x.is_infinite() { 2_f64.powi(128) } else { f64::from(x.abs()) };
        let size = f64::from(value.abs());
        let (down, up) = (size - place(below), place(above) - size);
        let even = low & 0x1_0000 == 0;
        if down < up || (down == up && even) { below } else { above }
    }

    #[test]
    #[should_panic(expected = "a product of 2×3 and 2×2")]
    fn factors_that_do_not_fit_are_refused() {
        let _ = Product::new(View::new(&[0.0; 6], [2, 3], 3), View::new(&[0.0; 4], [2, 2], 2));
    }

    #[test]
    #[should_panic(expected = "a product of 2×2 into 3")]
    fn a_target_that_is_too_small_is_refused() {
        let (a, b) = (View::new(&[0.0; 2], [2, 1], 1), View::new(&[0.0; 2], [1, 2], 2));
        Product::new(a, b).write(&mut [0.0; 3], 2);
    }
}
