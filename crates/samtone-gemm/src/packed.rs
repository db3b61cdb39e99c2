#![expect(unsafe_code, reason = "panels are written through pointers")]

use std::fmt;

use crate::bytes::MOST_TERMS;
use crate::kernel::Kernel;
use crate::pack::pack;
use crate::processor::{Processor, processor};
use crate::room::{Line, floats};
use crate::rounding::Rounding;
use crate::view::View;

/// A right factor, copied once into the order in which products read it, for
/// [`Product::with`](crate::Product::with).
///
/// A product copies its right factor anew for every block of rows, and so for every thread; what is
/// multiplied from the right again and again, as weights are, is packed before.
pub struct Packed {
    pub(crate) on: &'static Processor,
    /// Bf16 where the factor was of it.
    pub(crate) rounding: Rounding,
    pub(crate) shape: [usize; 2],
    /// As many columns as a tile has, one panel after the other; in each, the lines of the depths
    /// in their order.
    lines: Vec<Line>,
}

/// Some columns of a factor, to be packed on any thread.
pub struct PackedPart<'a> {
    kernel: &'static Kernel,
    view: View<'a>,
    columns: std::ops::Range<usize>,
    lines: &'a mut [Line],
}

impl Packed {
    /// A copy of a factor.
    ///
    /// # Panics
    ///
    /// If a column of integers is of more than 65,536.
    pub fn new(view: View<'_>, rounding: Rounding) -> Self {
        Self::in_parts(view, rounding, 1, pack_all)
    }

    /// The same in parts, about as many as said, each of which `run` is to [pack](PackedPart::pack),
    /// on threads of its own.
    ///
    /// # Panics
    ///
    /// As of [`Self::new`].
    pub fn in_parts(
        view: View<'_>,
        rounding: Rounding,
        parts: usize,
        run: impl FnOnce(Vec<PackedPart<'_>>),
    ) -> Self {
        Self::on(processor(), view, rounding, parts, run)
    }

    pub(crate) fn on(
        on: &'static Processor,
        view: View<'_>,
        rounding: Rounding,
        parts: usize,
        run: impl FnOnce(Vec<PackedPart<'_>>),
    ) -> Self {
        let shape = [view.rows, view.columns];
        let rounding = match rounding {
            Rounding::None if view.is_bf16() => Rounding::Bf16,
            rounding => rounding,
        };
        if rounding == Rounding::Int8 {
            assert!(view.rows <= MOST_TERMS, "columns of {} integers of eight bits", view.rows);
        }
        let kernel = on.kernel(rounding);
        let width = kernel.tiles.columns;
        let panels = view.columns.div_ceil(width);
        let mut lines = vec![Line::ZERO; panels * lines_of_panel(kernel, view.rows)];
        let panels = panels.div_ceil(parts.max(1)).max(1);
        let of_part = (panels * lines_of_panel(kernel, view.rows)).max(1);
        let part = |(i, lines)| {
            let first = i * panels * width;
            let columns = first..view.columns.min(first + panels * width);
            PackedPart { kernel, view, columns, lines }
        };
        run(lines.chunks_mut(of_part).enumerate().map(part).collect());
        Self { on, rounding, shape, lines }
    }

    /// The panel of a tile's columns from the `j`th, from a depth on.
    pub(crate) fn part(&self, first: usize, j: usize) -> *const f32 {
        let kernel = self.on.kernel(self.rounding);
        let width = kernel.tiles.columns;
        let panel = &self.lines[j / width * lines_of_panel(kernel, self.shape[0])..];
        panel.as_ptr().cast::<f32>().wrapping_add(first / kernel.group * width)
    }
}

fn lines_of_panel(kernel: &Kernel, terms: usize) -> usize {
    ((kernel.words(terms) + kernel.beyond[1]) * kernel.tiles.columns).div_ceil(Line::LENGTH)
}

pub(crate) fn pack_all(parts: Vec<PackedPart<'_>>) {
    parts.into_iter().for_each(PackedPart::pack);
}

impl PackedPart<'_> {
    /// Packs it.
    pub fn pack(self) {
        let Self { kernel, view, columns, lines } = self;
        let width = kernel.tiles.columns;
        let panels = lines.chunks_mut(lines_of_panel(kernel, view.rows));
        for (j, panel) in columns.step_by(width).zip(panels) {
            for (first, depth) in kernel.depths(view.rows) {
                let to = floats(panel)[first / kernel.group * width..].as_mut_ptr();
                let shape = [depth, width.min(view.columns - j)];
                let lines = [kernel.words(depth) + kernel.beyond[1], width];
                // SAFETY: the columns and terms lie within the view, and the panel holds them.
                unsafe { pack(kernel.pack_right, view, [first, j], shape, lines, to) };
            }
        }
    }
}

impl fmt::Debug for Packed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { on, rounding, shape: [rows, columns], .. } = self;
        write!(f, "Packed({rows}×{columns}, {rounding:?}, {})", on.name)
    }
}

impl fmt::Debug for PackedPart<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PackedPart({:?})", self.columns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Product;

    #[test]
    fn a_factor_packed_in_parts_is_the_same() {
        let (k, n) = (600, 201);
        let values: Vec<f32> = (0..k * n).map(|i| (i as f32).sin()).collect();
        let view = View::new(&values, [k, n], n);
        let whole = Packed::new(view, Rounding::Bf16);
        for parts in [0, 2, 3, 100] {
            // The last is packed first: each stands on its own.
            let run = |parts: Vec<PackedPart<'_>>| {
                parts.into_iter().rev().for_each(PackedPart::pack);
            };
            let packed = Packed::in_parts(view, Rounding::Bf16, parts, run);
            let left = View::new(&values, [3, k], k);
            let [ours, theirs] = [&packed, &whole].map(|packed| {
                let mut target = vec![0.0; 3 * n];
                Product::with(left, packed).write(&mut target, n);
                target
            });
            assert_eq!(ours, theirs, "{parts} parts");
        }
    }

    #[test]
    #[should_panic(expected = "columns of 65537 integers of eight bits")]
    fn columns_whose_sums_might_overflow_are_refused() {
        let values = vec![0.0; 65_537];
        let _ = Packed::new(View::new(&values, [65_537, 1], 1), Rounding::Int8);
    }

    #[test]
    #[should_panic(expected = "a product in Bf16 with what is packed in None")]
    fn what_is_packed_in_f32_is_no_factor_in_bf16() {
        let packed = Packed::new(View::new(&[1.0], [1, 1], 1), Rounding::None);
        let _ = Product::with(View::new(&[1.0], [1, 1], 1), &packed).in_bf16();
    }

    #[test]
    fn an_empty_factor_is_packed() {
        for [k, n] in [[0, 0], [0, 5], [5, 0]] {
            let packed = Packed::new(View::new(&[0.0; 0], [k, n], n), Rounding::None);
            let mut target = [7.0; 10];
            let left = vec![0.0; 2 * k];
            Product::with(View::new(&left, [2, k], k), &packed).write(&mut target, n);
            let expected = if k == 0 { 2 * n } else { 0 };
            assert_eq!(target.iter().filter(|&&x| x == 0.0).count(), expected, "{k}×{n}");
        }
    }
}
