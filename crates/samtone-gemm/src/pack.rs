//! Parts of a factor copied to where a tile reads them in order.
#![expect(clippy::inline_always, reason = "what is not inlined has not its caller's instructions")]
#![expect(unsafe_code, reason = "matrices are read and written through pointers")]

use half::bf16;

use crate::values::In;
use crate::vector::{Source, Vector};
use crate::view::View;

/// What is copied: element (i, j) lies at `from + i · row_stride + j · column_stride`, and one of
/// the strides is 1.
pub(crate) struct Part {
    pub(crate) from: In,
    pub(crate) row_stride: usize,
    pub(crate) column_stride: usize,
    pub(crate) rows: usize,
    pub(crate) columns: usize,
}

/// Copies to a panel: the part's rows, which are terms of sums, as lines of words `width` apart.
///
/// # Safety
///
/// The part's pointer reaches over its elements, the target over its lines, and the processor has
/// the instructions.
pub(crate) type PackFn = unsafe fn(&Part, to: *mut f32, width: usize);

/// Lines that are fetched ahead: each may lie in a page of its own, where no processor foresees it.
const AHEAD: usize = 16;

/// Lines that start `stride` apart, of numbers that are rounded to bf16 where `ROUNDS`.
pub(crate) struct Lines<T, const ROUNDS: bool> {
    pub(crate) from: *const T,
    pub(crate) stride: usize,
}

impl<T, const ROUNDS: bool> Lines<T, ROUNDS> {
    #[inline(always)]
    fn at(&self, i: usize, j: usize) -> *const T {
        self.from.wrapping_add(i * self.stride + j)
    }
}

impl<V: Vector, const ROUNDS: bool> Source<V> for Lines<f32, ROUNDS> {
    #[inline(always)]
    unsafe fn load(&self, i: usize, j: usize, lanes: usize) -> V {
        // SAFETY: the caller's.
        unsafe {
            let from = self.at(i, j);
            let numbers =
                if lanes == V::LANES { V::load(from) } else { V::load_first(from, lanes) };
            if ROUNDS { numbers.to_bf16() } else { numbers }
        }
    }

    #[inline(always)]
    fn fetch(&self, i: usize, j: usize) {
        V::fetch(self.at(i, j));
    }
}

impl<V: Vector> Source<V> for Lines<bf16, true> {
    #[inline(always)]
    unsafe fn load(&self, i: usize, j: usize, lanes: usize) -> V {
        // SAFETY: the caller's.
        unsafe { V::load_bf16_first(self.at(i, j), lanes) }
    }

    #[inline(always)]
    fn fetch(&self, i: usize, j: usize) {
        V::fetch(self.at(i, j).cast());
    }
}

/// A [`PackFn`] of one number a lane, rounded to bf16 where `ROUNDS`; what is bf16 is widened.
#[inline(always)]
pub(crate) unsafe fn numbers<V: Vector, const ROUNDS: bool>(
    part: &Part,
    to: *mut f32,
    width: usize,
) {
    let shape = [part.rows, part.columns];
    let turned = [part.columns, part.rows];
    // SAFETY: the caller's; which stride is 1 says which way the lines of memory go.
    unsafe {
        match (part.from, part.column_stride == 1) {
            (In::F32(from), true) => {
                let lines = Lines::<f32, ROUNDS> { from, stride: part.row_stride };
                copy::<V, _>(&lines, shape, to, width);
            }
            (In::F32(from), false) => {
                let lines = Lines::<f32, ROUNDS> { from, stride: part.column_stride };
                transpose::<V, _>(&lines, turned, to, width);
            }
            (In::Bf16(from), true) => {
                let lines = Lines::<bf16, true> { from, stride: part.row_stride };
                copy::<V, _>(&lines, shape, to, width);
            }
            (In::Bf16(from), false) => {
                let lines = Lines::<bf16, true> { from, stride: part.column_stride };
                transpose::<V, _>(&lines, turned, to, width);
            }
        }
    }
}

/// The lines of memory are the panel's. No closure: one has not the instructions of the function
/// that it stands in.
#[inline(always)]
pub(crate) unsafe fn copy<V: Vector, S: Source<V>>(
    from: &S,
    [lines, length]: [usize; 2],
    to: *mut f32,
    width: usize,
) {
    // SAFETY: the caller's.
    unsafe {
        for i in 0..lines {
            let to = to.add(i * width);
            let mut at = 0;
            while at + V::LANES <= length {
                from.fetch(i + AHEAD, at);
                from.load(i, at, V::LANES).store(to.add(at));
                at += V::LANES;
            }
            if at < length {
                from.load(i, at, length - at).store_first(to.add(at), length - at);
            }
        }
    }
}

/// The lines of memory are the panel's columns.
#[inline(always)]
pub(crate) unsafe fn transpose<V: Vector, S: Source<V>>(
    from: &S,
    [lines, length]: [usize; 2],
    to: *mut f32,
    width: usize,
) {
    // SAFETY: the caller's.
    unsafe {
        let mut j = 0;
        while j < length {
            let columns = V::LANES.min(length - j);
            let mut i = 0;
            while i < lines {
                let shape = [V::LANES.min(lines - i), columns];
                V::transpose(from, [i, j], shape, to.add(j * width + i), width);
                i += V::LANES;
            }
            j += V::LANES;
        }
    }
}

/// Copies some terms of some columns of a factor, whose rows are its terms, to panels one after the
/// other.
///
/// # Safety
///
/// They lie within the view, and the target has room for as many words a panel.
pub(crate) unsafe fn pack(
    pack: PackFn,
    factor: View<'_>,
    [first, column]: [usize; 2],
    [depth, columns]: [usize; 2],
    [words, width]: [usize; 2],
    to: *mut f32,
) {
    for at in (0..columns).step_by(width) {
        let part = Part {
            from: factor.part(first, column + at),
            row_stride: factor.row_stride,
            column_stride: factor.column_stride,
            rows: depth,
            columns: width.min(columns - at),
        };
        // SAFETY: the caller's.
        unsafe { pack(&part, to.wrapping_add(at * words), width) };
    }
}
