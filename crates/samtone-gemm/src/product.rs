//! The loops around a tile.
#![expect(unsafe_code, reason = "tiles and parts are given as pointers")]

use std::cell::Cell;

use half::bf16;

use crate::kernel::{Kernel, Reads, even};
use crate::pack::{Part, pack};
use crate::packed::Packed;
use crate::processor::{Processor, processor};
use crate::room::{Line, room};
use crate::rounding::Rounding;
use crate::tile::Tile;
use crate::values::{In, Out, Target};
use crate::view::{View, extent};

/// Words of the left factor that are copied at once, at most: one MiB.
const BLOCK: usize = 256 * 1024;

/// Columns of the target for which a row-major left factor is read where it lies, at most.
const IN_PLACE: usize = 768;

/// Rows of a product that is computed by its transpose, at most.
const FEW_ROWS: usize = 128;

/// A product of two matrices, to be written somewhere.
///
/// If either of the factors is of bf16, both are rounded to it (nearest, ties to even); terms and
/// sums are f32 always. A sum that is written to bf16 is rounded once, when it is complete.
///
/// Every element is the sum of its terms in the order of the inner dimension, the same whatever
/// part of a larger product it is computed in and however many threads compute the others.
/// What is not finite goes through as IEEE 754 says: nothing is left out because it is zero.
/// In bf16, a factor or a sum below 2⁻¹²⁶ counts as zero where the processor has instructions of its
/// own for it (`avx512bf16`, `amx`).
#[derive(Clone, Copy, Debug)]
pub struct Product<'a> {
    left: View<'a>,
    right: Right<'a>,
    scale: f32,
    rounding: Rounding,
}

#[derive(Clone, Copy, Debug)]
enum Right<'a> {
    View(View<'a>),
    Packed(&'a Packed),
}

impl Right<'_> {
    fn shape(&self) -> [usize; 2] {
        match self {
            Self::View(view) => [view.rows, view.columns],
            Self::Packed(packed) => packed.shape,
        }
    }
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
    /// `left × right`.
    ///
    /// # Panics
    ///
    /// If the inner dimensions differ.
    pub fn new(left: View<'a>, right: View<'a>) -> Self {
        let is_bf16 = left.is_bf16() || right.is_bf16();
        let rounding = if is_bf16 { Rounding::Bf16 } else { Rounding::None };
        Self { left, right: Right::View(right), scale: 1.0, rounding }.checked()
    }

    /// `left × right`, the same to the bit as if the right factor had not been packed; in eight bits
    /// where it was [packed so](Rounding::Int8).
    ///
    /// # Panics
    ///
    /// If the inner dimensions differ, or the left factor is of bf16 and the right one was packed
    /// in f32.
    pub fn with(left: View<'a>, right: &'a Packed) -> Self {
        let rounding = match right.rounding {
            Rounding::None if left.is_bf16() => Rounding::Bf16,
            rounding => rounding,
        };
        Self { left, right: Right::Packed(right), scale: 1.0, rounding }.checked()
    }

    fn checked(self) -> Self {
        let (k, [rows, columns]) = (self.left.columns, self.right.shape());
        assert_eq!(k, rows, "a product of {}×{k} and {rows}×{columns}", self.left.rows);
        if let Right::Packed(packed) = self.right {
            let (ours, theirs) = (self.rounding, packed.rounding);
            assert_eq!(ours, theirs, "a product in {ours:?} with what is packed in {theirs:?}");
        }
        self
    }

    /// The same, times a number.
    #[must_use]
    pub fn scaled(self, scale: f32) -> Self {
        Self { scale, ..self }
    }

    /// The same of the factors rounded to bf16, whatever they are of.
    ///
    /// # Panics
    ///
    /// If the right factor was packed otherwise.
    #[must_use]
    pub fn in_bf16(self) -> Self {
        Self { rounding: Rounding::Bf16, ..self }.checked()
    }

    /// Writes it to a row-major matrix whose rows start `stride` apart, on this thread. What lies
    /// between the rows is left alone.
    ///
    /// The target is a slice, array or vector of f32 or bf16, or a [`Target`].
    ///
    /// # Panics
    ///
    /// If the target is too small.
    pub fn write<'t, T: ?Sized>(&self, target: &'t mut T, stride: usize)
    where
        &'t mut T: Into<Target<'t>>,
    {
        self.store(self.processor(), target.into(), stride, Start::Nothing);
    }

    /// Adds it to what the target holds; otherwise as [`Self::write`].
    ///
    /// # Panics
    ///
    /// If the target is too small.
    pub fn add<'t, T: ?Sized>(&self, target: &'t mut T, stride: usize)
    where
        &'t mut T: Into<Target<'t>>,
    {
        self.store(self.processor(), target.into(), stride, Start::Target);
    }

    /// Writes the sum of it and of a row, the same for all; otherwise as [`Self::write`].
    ///
    /// # Panics
    ///
    /// If the target is too small, or the row has another width.
    pub fn write_onto<'t, T: ?Sized>(&self, row: &[f32], target: &'t mut T, stride: usize)
    where
        &'t mut T: Into<Target<'t>>,
    {
        self.store(self.processor(), target.into(), stride, Start::Row(row));
    }

    /// What is packed is packed for one.
    fn processor(&self) -> &'static Processor {
        match self.right {
            Right::View(_) => processor(),
            Right::Packed(packed) => packed.on,
        }
    }

    fn store(&self, on: &Processor, mut target: Target<'_>, stride: usize, start: Start<'_>) {
        let (m, [k, n]) = (self.left.rows, self.right.shape());
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
            for place in (0..m).map(|row| row * stride) {
                match (&mut target, start) {
                    (Target::F32(target), Start::Nothing) => target[place..][..n].fill(0.0),
                    (Target::Bf16(target), Start::Nothing) => target[place..][..n].fill(bf16::ZERO),
                    (Target::F32(target), Start::Row(row)) => {
                        target[place..][..n].copy_from_slice(row);
                    }
                    (Target::Bf16(target), Start::Row(row)) => {
                        for (target, &value) in target[place..].iter_mut().zip(row) {
                            *target = bf16::from_f32(value);
                        }
                    }
                    (_, Start::Target) => {}
                }
            }
            return;
        }
        let lines = &mut ROOM.take();
        let kernel = on.kernel(self.rounding);
        // SAFETY: the target was checked to hold the product, and the processor has the kernel's
        // instructions.
        unsafe {
            if let Some([begin, _]) = kernel.around {
                begin();
            }
            match (self.turned(kernel), target.place()) {
                (Some(turned), Out::F32(target)) => {
                    turned.turned_blocks(kernel, lines, target, stride, start);
                }
                (_, target) => self.blocks(kernel, lines, target, stride, start),
            }
            if let Some([_, end]) = kernel.around {
                end();
            }
        }
        ROOM.set(std::mem::take(lines));
    }

    /// Its transpose, where that is computed sooner: a right factor that lies across would be copied for
    /// a few rows, and is read where it lies as a left one. Every sum has the same terms in their order.
    fn turned(&self, kernel: &Kernel) -> Option<Self> {
        let Right::View(right) = self.right else { return None };
        let is_turned = kernel.reads == Reads::F32
            && right.column_stride != 1
            && self.left.rows <= FEW_ROWS.min(right.columns);
        is_turned.then(|| Self { left: right.t(), right: Right::View(self.left.t()), ..*self })
    }

    /// Stores the transpose of this product.
    ///
    /// # Safety
    ///
    /// The target reaches over the transpose, rows `stride` apart, and the processor has the kernel's
    /// instructions, which are of f32.
    unsafe fn turned_blocks(
        &self,
        kernel: &Kernel,
        lines: &mut Vec<Line>,
        target: *mut f32,
        stride: usize,
        start: Start<'_>,
    ) {
        let (rows, [_, columns]) = (self.left.rows, self.right.shape());
        let mut sums = vec![0.0; rows * columns];
        let inner = match start {
            Start::Nothing => Start::Nothing,
            Start::Row(row) => {
                for (sums, &value) in sums.chunks_exact_mut(columns).zip(row) {
                    sums.fill(value);
                }
                Start::Target
            }
            Start::Target => {
                let part = Part {
                    from: In::F32(target),
                    row_stride: 1,
                    column_stride: stride,
                    rows,
                    columns,
                };
                // SAFETY: the target is the transpose of the sums.
                unsafe { (kernel.pack_right)(&part, sums.as_mut_ptr(), columns) };
                Start::Target
            }
        };
        let place = sums.as_mut_ptr();
        // SAFETY: the sums are of the product, and the target is their transpose.
        unsafe {
            self.blocks(kernel, lines, Out::F32(place), columns, inner);
            let part = Part {
                from: In::F32(place),
                row_stride: 1,
                column_stride: columns,
                rows: columns,
                columns: rows,
            };
            (kernel.pack_right)(&part, target, stride);
        }
    }

    /// Block by block: as many rows and terms as the caches hold.
    ///
    /// # Safety
    ///
    /// The target reaches over the product, rows `stride` apart.
    unsafe fn blocks(
        &self,
        kernel: &Kernel,
        lines: &mut Vec<Line>,
        target: Out,
        stride: usize,
        start: Start<'_>,
    ) {
        let Self { left, right, scale, .. } = *self;
        let (m, [k, n]) = (left.rows, right.shape());
        let (tile_rows, tile_columns) = (kernel.tiles.rows, kernel.tiles.columns);
        let depth = kernel.depth_of(k);
        let words = kernel.words(depth);
        let block = even(m, BLOCK / words).next_multiple_of(tile_rows);
        let reads_left = self.reads_left(kernel);
        let packs_right = match right {
            Right::View(right) => {
                kernel.reads != Reads::F32 || right.column_stride != 1 || m > 8 * tile_rows
            }
            Right::Packed(_) => false,
        };
        let of_panel = words + kernel.beyond[0];
        let left_room = if reads_left == Some(1) { 0 } else { block * of_panel };
        let right_room = if packs_right { tile_columns * words } else { 0 };
        // Sums that are not complete are not rounded.
        let keeps_sums = matches!(target, Out::Bf16(_)) && depth < k;
        let sums = if keeps_sums { block * n } else { 0 };
        let [left_room, right_room, sums] = room(lines, [left_room, right_room, sums]);
        let (left_room, right_room) = (left_room.as_mut_ptr(), right_room.as_mut_ptr());
        let sums = Out::F32(sums.as_mut_ptr());
        for top in (0..m).step_by(block) {
            let rows = block.min(m - top);
            let in_place = match reads_left {
                None => 0,
                Some(at_once) if rows.is_multiple_of(at_once) => rows,
                // The last tile's rows are copied, to be as many as it reads.
                Some(_) => rows / tile_rows * tile_rows,
            };
            for (first, depth) in kernel.depths(k) {
                let words = kernel.words(depth);
                let (place, shape) = ([first, top + in_place], [depth, rows - in_place]);
                let of_panel = words + kernel.beyond[0];
                let lines = [of_panel, tile_rows];
                // SAFETY: the rows and terms lie within the view; the room is for a block.
                unsafe { pack(kernel.pack_left, left.t(), place, shape, lines, left_room) };
                for j in (0..n).step_by(tile_columns) {
                    let columns = tile_columns.min(n - j);
                    let (of_right, right_step) = match right {
                        Right::Packed(packed) => (packed.part(first, j), tile_columns),
                        Right::View(right) if packs_right => {
                            let (place, shape) = ([first, j], [depth, columns]);
                            let lines = [words, tile_columns];
                            // SAFETY: the columns and terms lie within the view; the room is for a
                            // tile.
                            unsafe {
                                pack(kernel.pack_right, right, place, shape, lines, right_room);
                            }
                            (right_room.cast_const(), tile_columns)
                        }
                        Right::View(right) => (right.part(first, j).numbers(), right.row_stride),
                    };
                    let next = match right {
                        Right::Packed(packed) => packed.part(first, j + tile_columns),
                        Right::View(_) => of_right,
                    };
                    for i in (0..rows).step_by(tile_rows) {
                        let (of_left, [left_row, left_step]) = if i < in_place {
                            (left.part(top + i, first).numbers(), self.left_in_place(kernel))
                        } else {
                            let panel = left_room.wrapping_add((i - in_place) * of_panel);
                            (panel.cast_const(), kernel.left)
                        };
                        let whole = (target.at((top + i) * stride + j), stride);
                        let partial = if keeps_sums { (sums.at(i * n + j), n) } else { whole };
                        let to = if first + depth == k { whole } else { partial };
                        let (start, start_row) = match start {
                            _ if first > 0 => (Some(partial.0.read()), partial.1),
                            Start::Nothing => (None, 0),
                            Start::Target => (Some(whole.0.read()), whole.1),
                            Start::Row(row) => (Some(In::F32(row[j..].as_ptr())), 0),
                        };
                        let tile = Tile {
                            shape: [tile_rows.min(rows - i), columns],
                            depth: words,
                            left: of_left,
                            left_row,
                            left_step,
                            right: of_right,
                            right_step,
                            // Every tile of these columns fetches a part: 64 words a step.
                            next: next.wrapping_add(i / tile_rows * (words / kernel.step) * 64),
                            target: to.0,
                            target_row: to.1,
                            start,
                            start_row,
                            scale,
                        };
                        // SAFETY: the pointers reach over what was checked and copied above.
                        unsafe { (kernel.tiles.tile)(&tile) };
                    }
                }
            }
        }
    }

    /// Whether tiles read the left factor where it lies, and then how many rows at once. It is
    /// copied where it is read often, not in order, or not as it is.
    fn reads_left(&self, kernel: &Kernel) -> Option<usize> {
        let (left, [k, n]) = (self.left, self.right.shape());
        let is_row_major = left.column_stride == 1;
        match kernel.reads {
            Reads::Panels => None,
            Reads::F32 => {
                let seldom = n <= 2 * kernel.tiles.columns && (is_row_major || k <= kernel.depth);
                // Rows a multiple of a page apart lie in the same few lines of the cache.
                let apart = !left.row_stride.is_multiple_of(1024);
                let in_order = is_row_major && apart && n <= IN_PLACE;
                (seldom || in_order).then_some(1)
            }
            Reads::LeftBf16 => {
                let in_words = left.row_stride.is_multiple_of(kernel.group)
                    && k.is_multiple_of(kernel.group * kernel.step);
                (left.is_bf16() && is_row_major && in_words).then_some(kernel.step)
            }
        }
    }

    /// The distances of rows and of steps where the left factor lies, in words.
    fn left_in_place(&self, kernel: &Kernel) -> [usize; 2] {
        match kernel.reads {
            Reads::LeftBf16 => [self.left.row_stride / kernel.group, kernel.step],
            Reads::F32 | Reads::Panels => [self.left.row_stride, self.left.column_stride],
        }
    }
}

thread_local! {
    /// Where parts are copied to, kept from product to product.
    static ROOM: Cell<Vec<Line>> = const { Cell::new(Vec::new()) };
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::kernel::DEPTH;
    use crate::packed::pack_all;
    use crate::processor::available;
    use crate::values::Values;

    /// Numbers from -1 to 1 that differ in all their bits.
    fn numbers(count: usize, salt: usize) -> Vec<f32> {
        (0..count).map(|i| ((i * 7919 + salt * 104_729) as f32 * 0.37).sin()).collect()
    }

    /// A factor of `rows × columns`, row-major or column-major, with room between its lines.
    fn factor(values: Values<'_>, [rows, columns]: [usize; 2], transposed: bool) -> View<'_> {
        let (lines, length) = if transposed { (columns, rows) } else { (rows, columns) };
        let view = View::new(values, [lines, length], length + 4);
        if transposed { view.t() } else { view }
    }

    fn values<'a>(values: &'a [f32], halves: &'a [bf16], is_bf16: bool) -> Values<'a> {
        if is_bf16 { Values::Bf16(halves) } else { Values::F32(values) }
    }

    fn room_of([rows, columns]: [usize; 2]) -> usize {
        (rows + 4) * (columns + 4)
    }

    fn at(view: &View<'_>, values: &[f32], i: usize, j: usize) -> f64 {
        f64::from(values[i * view.row_stride + j * view.column_stride])
    }

    /// What a target holds before a product that starts so.
    fn before(start: Start<'_>, length: usize) -> Vec<f32> {
        match start {
            Start::Nothing => vec![f32::NAN; length],
            _ => rounded(&numbers(length, 4)),
        }
    }

    /// What a target of f32 or bf16 that held `before` holds after a product.
    fn stored(
        product: &Product<'_>,
        on: &Processor,
        before: &[f32],
        is_bf16: bool,
        stride: usize,
        start: Start<'_>,
    ) -> Vec<f32> {
        if is_bf16 {
            let mut target = in_bf16(before);
            product.store(on, (&mut target).into(), stride, start);
            target.into_iter().map(bf16::to_f32).collect()
        } else {
            let mut target = before.to_vec();
            product.store(on, (&mut target).into(), stride, start);
            target
        }
    }

    fn rounded(values: &[f32]) -> Vec<f32> {
        values.iter().map(|&value| bf16::from_f32(value).to_f32()).collect()
    }

    fn in_bf16(values: &[f32]) -> Vec<bf16> {
        values.iter().copied().map(bf16::from_f32).collect()
    }

    #[derive(Clone, Debug)]
    struct Case {
        /// m, n and k.
        shape: [usize; 3],
        transposed: [bool; 2],
        /// Of the left factor, the right one and the target.
        of_bf16: [bool; 3],
        scale: f32,
        rounds: bool,
    }

    /// Compares a product with its definition in f64, on every set of instructions there is, the
    /// right factor packed and not.
    fn check(case: &Case) {
        let Case { shape: [m, n, k], transposed, of_bf16, scale, rounds } = *case;
        let (a, b) = (numbers(room_of([m, k]), 1), numbers(room_of([k, n]), 2));
        let (half_a, half_b) = (in_bf16(&a), in_bf16(&b));
        let left = factor(values(&a, &half_a, of_bf16[0]), [m, k], transposed[0]);
        let right = factor(values(&b, &half_b, of_bf16[1]), [k, n], transposed[1]);
        let rounding =
            if rounds || of_bf16[0] || of_bf16[1] { Rounding::Bf16 } else { Rounding::None };
        let (a, b) = if rounding == Rounding::Bf16 {
            (rounded(&a), rounded(&b))
        } else {
            (a.clone(), b.clone())
        };
        let row = numbers(n, 3);
        let stride = n + 5;
        for on in available() {
            let packed = Packed::on(on, right, rounding, 1, pack_all);
            let unpacked = Product { rounding, ..Product::new(left, right).scaled(scale) };
            let with_packed = Product { rounding, ..Product::with(left, &packed).scaled(scale) };
            for start in [Start::Nothing, Start::Target, Start::Row(&row)] {
                let before = before(start, m * stride);
                let run = |product| stored(product, on, &before, of_bf16[2], stride, start);
                let target = run(&unpacked);
                let same =
                    run(&with_packed).iter().zip(&target).all(|(x, y)| x.to_bits() == y.to_bits());
                assert!(same, "packed, {} {case:?}", on.name);
                for i in 0..m {
                    for j in 0..stride {
                        let (was, is) = (before[i * stride + j], target[i * stride + j]);
                        if j >= n {
                            let same = was.to_bits() == is.to_bits();
                            assert!(same, "between the rows, {} {case:?}", on.name);
                            continue;
                        }
                        let terms = (0..k).map(|p| at(&left, &a, i, p) * at(&right, &b, p, j));
                        let (sum, size) =
                            terms.fold((0.0, 0.0), |(sum, size), x| (sum + x, size + x.abs()));
                        let start = match start {
                            Start::Nothing => 0.0,
                            Start::Target => f64::from(was),
                            Start::Row(row) => f64::from(row[j]),
                        };
                        let expected = start + f64::from(scale) * sum;
                        // Every term and every sum is rounded once or twice.
                        let mut bound = (k as f64 + 8.0)
                            * 1.2e-7
                            * (size * f64::from(scale).abs() + start.abs());
                        if of_bf16[2] {
                            // Once more, by half of a unit in the last of eight places.
                            bound += (expected.abs() + bound) * 2_f64.powi(-8);
                        }
                        let error = (f64::from(is) - expected).abs();
                        assert!(
                            error <= bound,
                            "{} at {i}, {j}: {is}, not {expected}, {case:?}",
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
            of_bf16 in any::<[bool; 3]>(),
            scale in prop::sample::select(vec![1.0_f32, -0.5, 0.0]),
            rounds in any::<bool>(),
        ) {
            let case = Case { shape, transposed, of_bf16, scale, rounds };
            check(&case);
            check_in_bytes(&case);
        }
    }

    #[test]
    fn products_of_many_blocks_agree_with_their_definition() {
        let case = Case {
            shape: [525, 65, DEPTH + 7],
            transposed: [false, true],
            of_bf16: [false; 3],
            scale: 1.0,
            rounds: false,
        };
        check(&case);
        check(&Case { of_bf16: [true; 3], ..case.clone() });
        let case = Case { transposed: [true, false], ..case };
        check(&case);
        check(&Case { of_bf16: [true, true, false], ..case.clone() });
        let (shape, transposed) = ([121, 70, 2 * DEPTH + 1], [true, true]);
        check(&Case { shape, transposed, rounds: true, ..case.clone() });
        check(&Case { shape, transposed, of_bf16: [false, false, true], ..case.clone() });
        // A left factor that some tiles read where it lies, and the end of which they do not.
        for (m, k) in [(77, 64), (80, 32), (45, 2 * 2 * DEPTH + 64)] {
            let transposed = [false, true];
            check(&Case { shape: [m, 70, k], transposed, of_bf16: [true; 3], ..case.clone() });
        }
    }

    /// The integers of a line and its scale, by their definition.
    fn quantised(line: &[f32]) -> (Vec<i32>, f32) {
        let largest = line.iter().fold(0.0_f32, |largest, x| largest.max(x.abs()));
        if largest == 0.0 {
            return (vec![0; line.len()], 0.0);
        }
        let inverse = 127.0 / largest;
        let integers = line.iter().map(|x| (x * inverse).round_ties_even() as i32).collect();
        (integers, largest / 127.0)
    }

    /// Compares a product in eight bits with its definition in integers.
    fn check_in_bytes(case: &Case) {
        let Case { shape: [m, n, k], transposed, of_bf16, scale, .. } = *case;
        let (mut a, mut b) = (numbers(room_of([m, k]), 1), numbers(room_of([k, n]), 2));
        for x in &mut a {
            *x *= 100.0;
        }
        if m * n * k > 3 {
            // A row of nothing, as padding is.
            let zero = factor(Values::F32(&a), [m, k], transposed[0]);
            let places: Vec<_> =
                (0..k).map(|p| (m / 2) * zero.row_stride + p * zero.column_stride).collect();
            for place in places {
                a[place] = 0.0;
            }
            b.iter_mut().step_by(7).for_each(|x| *x = 1.0);
        }
        let (half_a, half_b) = (in_bf16(&a), in_bf16(&b));
        let left = factor(values(&a, &half_a, of_bf16[0]), [m, k], transposed[0]);
        let right = factor(values(&b, &half_b, of_bf16[1]), [k, n], transposed[1]);
        let a = if of_bf16[0] { rounded(&a) } else { a.clone() };
        let b = if of_bf16[1] { rounded(&b) } else { b.clone() };
        let line = |length: usize, of: &dyn Fn(usize) -> f64| -> (Vec<i32>, f32) {
            quantised(&(0..length).map(|p| of(p) as f32).collect::<Vec<_>>())
        };
        let rows: Vec<_> = (0..m).map(|i| line(k, &|p| at(&left, &a, i, p))).collect();
        let columns: Vec<_> = (0..n).map(|j| line(k, &|p| at(&right, &b, p, j))).collect();
        let (row, stride) = (numbers(n, 3), n + 5);
        for on in available() {
            let packed = Packed::on(on, right, Rounding::Int8, 1, pack_all);
            let product = Product::with(left, &packed).scaled(scale);
            for start in [Start::Nothing, Start::Target, Start::Row(&row)] {
                let before = before(start, m * stride);
                let target = stored(&product, on, &before, of_bf16[2], stride, start);
                for i in 0..m {
                    for j in 0..stride {
                        let (was, is) = (before[i * stride + j], target[i * stride + j]);
                        if j >= n {
                            let same = was.to_bits() == is.to_bits();
                            assert!(same, "between the rows, {} {case:?}", on.name);
                            continue;
                        }
                        let ((row_of, row_scale), (column, column_scale)) = (&rows[i], &columns[j]);
                        let sum: i32 = row_of.iter().zip(column).map(|(x, y)| x * y).sum();
                        let product = scale * row_scale * column_scale * sum as f32;
                        let start = match start {
                            Start::Nothing => 0.0,
                            Start::Target => was,
                            Start::Row(row) => row[j],
                        };
                        // To the bit where nothing is added: what is rounded once or twice is not.
                        let expected = start + product;
                        let mut bound =
                            if start == 0.0 { 0.0 } else { 1.2e-7 * (start.abs() + product.abs()) };
                        if of_bf16[2] {
                            bound += (expected.abs() + bound) * 2_f32.powi(-8);
                        }
                        assert!(
                            (is - expected).abs() <= bound,
                            "{} at {i}, {j}: {is}, not {expected}, {case:?}",
                            on.name
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn products_in_bytes_of_many_terms_agree_with_their_definition() {
        for (shape, transposed) in
            [([70, 101, 1500], [false, true]), ([9, 50, 2050], [true, false])]
        {
            for of_bf16 in [[false; 3], [true; 3]] {
                check_in_bytes(&Case { shape, transposed, of_bf16, scale: 1.0, rounds: false });
            }
        }
    }

    #[test]
    fn the_largest_integers_do_not_overflow() {
        for on in available() {
            for sign in [1.0, -1.0] {
                let k = 1 << 16;
                let (a, b) = (vec![3.0; k], vec![sign; k]);
                let right = View::new(&b, [k, 1], 1);
                let packed = Packed::on(on, right, Rounding::Int8, 1, pack_all);
                let mut target = [0.0];
                let product = Product::with(View::new(&a, [1, k], k), &packed);
                product.store(on, (&mut target).into(), 1, Start::Nothing);
                let expected = 3.0 * sign * k as f32;
                assert!((target[0] - expected).abs() <= expected.abs() * 1e-6, "{}", on.name);
            }
        }
    }

    #[test]
    fn in_bytes_a_line_that_is_not_finite_is_not_a_number_and_a_tiny_one_is_zero() {
        for on in available() {
            let run = |a: &[f32], b: &[f32]| {
                let packed = Packed::on(on, View::new(b, [2, 2], 2), Rounding::Int8, 1, pack_all);
                let mut target = [7.0; 4];
                Product::with(View::new(a, [2, 2], 2), &packed).store(
                    on,
                    (&mut target).into(),
                    2,
                    Start::Nothing,
                );
                target
            };
            for wrong in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
                let by_row = run(&[1.0, wrong, 2.0, 1.0], &[1.0, 0.0, 0.0, 1.0]);
                assert!(by_row[0].is_nan() && by_row[1].is_nan(), "{} {by_row:?}", on.name);
                assert!((by_row[2] - 2.0).abs() < 1e-6 && (by_row[3] - 1.0).abs() < 0.01);
                let by_column = run(&[1.0, 0.0, 0.0, 1.0], &[wrong, 1.0, 0.0, 1.0]);
                assert!(by_column[0].is_nan() && by_column[2].is_nan(), "{}", on.name);
                assert!((by_column[1] - 1.0).abs() < 1e-6, "{}", on.name);
            }
            assert_eq!(run(&[1e-37, 1e-38, 0.0, 0.0], &[1.0; 4]), [0.0; 4], "{}", on.name);
        }
    }

    #[test]
    fn an_element_is_the_same_in_any_part_of_a_product() {
        let (m, n, k) = (150, 70, 2080);
        let (a, b) = (in_bf16(&numbers(m * k, 1)), numbers(k * n, 2));
        let (wide_a, right) = (numbers(m * k, 1), View::new(&b, [n, k], k).t());
        for on in available() {
            for rounding in [Rounding::None, Rounding::Bf16, Rounding::Int8] {
                let packed = Packed::on(on, right, rounding, 1, pack_all);
                let left = match rounding {
                    Rounding::None => View::new(&wide_a, [m, k], k),
                    Rounding::Bf16 | Rounding::Int8 => View::new(&a, [m, k], k),
                };
                let run = |left: View<'_>, right: Right<'_>| {
                    let mut target = vec![0.0; left.rows * n];
                    let product = Product { left, right, scale: 1.0, rounding };
                    product.store(on, (&mut target).into(), n, Start::Nothing);
                    target
                };
                let mut rights = vec![Right::Packed(&packed)];
                if rounding != Rounding::Int8 {
                    rights.push(Right::View(right));
                }
                let whole = run(left, rights[0]);
                for rows in [1, 7, 64] {
                    for &right in &rights {
                        let part = run(left.rows(31..31 + rows), right);
                        let expected = &whole[31 * n..(31 + rows) * n];
                        assert_eq!(part, expected, "{} {rounding:?} {right:?}", on.name);
                    }
                }
            }
        }
    }

    #[test]
    fn what_is_not_finite_goes_through_and_what_is_tiny_stays() {
        let tiny = f32::from_bits(3);
        for on in available() {
            for rounding in [Rounding::None, Rounding::Bf16] {
                let run = |a: [f32; 2], b: [f32; 2]| {
                    let mut target = [7.0_f32];
                    let (a, b) = (View::new(&a, [1, 2], 2), View::new(&b, [2, 1], 1));
                    let product = Product { rounding, ..Product::new(a, b) };
                    product.store(on, (&mut target).into(), 1, Start::Nothing);
                    target[0]
                };
                assert!(run([0.0, 1.0], [f32::NAN, 1.0]).is_nan(), "0 · NaN, {}", on.name);
                assert!(run([0.0, 1.0], [f32::INFINITY, 1.0]).is_nan(), "0 · ∞, {}", on.name);
                assert_eq!(run([-1.0, 0.0], [f32::INFINITY, 1.0]), f32::NEG_INFINITY);
                assert_eq!(run([f32::MAX, f32::MAX], [1.0, 1.0]), f32::INFINITY);
            }
            let mut target = [0.0_f32];
            let (a, b) = ([tiny], [2.0]);
            let (a, b) = (View::new(&a, [1, 1], 1), View::new(&b, [1, 1], 1));
            Product::new(a, b).store(on, (&mut target).into(), 1, Start::Nothing);
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
                    let mut target = [0.0_f32];
                    let value_at = [value];
                    let (a, b) = (View::new(&value_at, [1, 1], 1), View::new(&one, [1, 1], 1));
                    let (a, b) = if transposed { (b.t(), a.t()) } else { (a, b) };
                    let product = Product::new(a, b).in_bf16();
                    product.store(on, (&mut target).into(), 1, Start::Nothing);
                    let flushes = on.bf16.group > 1 && half(value).is_subnormal();
                    let expected = if flushes { 0.0 } else { half(value) };
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
        let _ =
            Product::new(View::new(&[0.0_f32; 6], [2, 3], 3), View::new(&[0.0_f32; 4], [2, 2], 2));
    }

    #[test]
    #[should_panic(expected = "a product of 2×2 into 3")]
    fn a_target_that_is_too_small_is_refused() {
        let (a, b) = (View::new(&[0.0_f32; 2], [2, 1], 1), View::new(&[0.0_f32; 2], [1, 2], 2));
        Product::new(a, b).write(&mut [0.0_f32; 3], 2);
    }
}
