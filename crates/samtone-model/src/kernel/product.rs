//! Matrix products on slices, and vectors filled in parallel.
#![expect(unsafe_code, reason = "the product takes pointers; fresh vectors are zeroed in parallel")]

use std::mem::MaybeUninit;
use std::ops::Range;

use rayon::prelude::*;

/// Rows of a chunk of work, at most: enough to repay packing the other factor of a product.
const CHUNK_ROWS: usize = 512;

/// A matrix inside a slice: element (i, j) lies at `i · row_stride + j · column_stride`.
#[derive(Clone, Copy)]
pub(super) struct View<'a> {
    values: &'a [f32],
    rows: usize,
    columns: usize,
    row_stride: usize,
    column_stride: usize,
}

impl<'a> View<'a> {
    /// `rows × columns` of a row-major matrix `stride` wide, from the start of `values`.
    pub(super) fn new(values: &'a [f32], [rows, columns]: [usize; 2], stride: usize) -> Self {
        let view = Self { values, rows, columns, row_stride: stride, column_stride: 1 };
        view.check();
        view
    }

    /// Some rows of it.
    pub(super) fn rows(self, range: Range<usize>) -> Self {
        let place = range.start * self.row_stride;
        let view = Self { values: &self.values[place..], rows: range.len(), ..self };
        view.check();
        view
    }

    pub(super) fn transposed(self) -> Self {
        Self {
            rows: self.columns,
            columns: self.rows,
            row_stride: self.column_stride,
            column_stride: self.row_stride,
            ..self
        }
    }

    fn check(&self) {
        let end = last(self.rows, self.columns, self.row_stride, self.column_stride);
        assert!(end <= self.values.len(), "a view of {end} elements on {}", self.values.len());
    }
}

/// One more than the place of a matrix's last element.
fn last(rows: usize, columns: usize, row_stride: usize, column_stride: usize) -> usize {
    match rows * columns {
        0 => 0,
        _ => (rows - 1) * row_stride + (columns - 1) * column_stride + 1,
    }
}

/// `target = scale · left × right`, the target row-major and `stride` wide.
pub(super) fn multiply(
    target: &mut [f32],
    stride: usize,
    left: View<'_>,
    right: View<'_>,
    scale: f32,
) {
    product(target, stride, left, right, scale, false);
}

/// `target += scale · left × right`, the target row-major and `stride` wide.
pub(super) fn multiply_add(
    target: &mut [f32],
    stride: usize,
    left: View<'_>,
    right: View<'_>,
    scale: f32,
) {
    product(target, stride, left, right, scale, true);
}

fn product(
    target: &mut [f32],
    stride: usize,
    left: View<'_>,
    right: View<'_>,
    scale: f32,
    adds: bool,
) {
    let (m, n, k) = (left.rows, right.columns, left.columns);
    assert_eq!(k, right.rows, "a product of {m}×{k} and {}×{n}", right.rows);
    assert!(n <= stride, "a product {n} wide into rows of {stride}");
    assert!(last(m, n, stride, 1) <= target.len(), "a product of {m}×{n} into {}", target.len());
    // SAFETY: the views were checked against their slices when made, the target just now, and the
    // target is borrowed exclusively.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            target.as_mut_ptr(),
            1,
            stride as isize,
            adds,
            left.values.as_ptr(),
            left.column_stride as isize,
            left.row_stride as isize,
            right.values.as_ptr(),
            right.column_stride as isize,
            right.row_stride as isize,
            1.0,
            scale,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}

/// Cuts rows into chunks that keep every thread busy.
pub(super) fn chunk_rows(rows: usize) -> usize {
    let threads = rayon::current_num_threads();
    let rounds = rows.div_ceil(threads * CHUNK_ROWS).max(1);
    // Whole registers of rows, and no chunk so small that its overhead shows.
    rows.div_ceil(threads * rounds).next_multiple_of(16).max(32)
}

/// A vector of `lengths` parts, each filled in parallel from zeros; and what each part gives
/// beside, in order.
///
/// The thread that fills a part also zeroes it: fresh memory costs most at its first touch.
pub(super) fn fill_parts<T: Send>(
    lengths: &[usize],
    fill: impl Fn(usize, &mut [f32]) -> T + Sync,
) -> (Vec<f32>, Vec<T>) {
    let total = lengths.iter().sum();
    let mut values: Vec<f32> = Vec::with_capacity(total);
    let mut rest = &mut values.spare_capacity_mut()[..total];
    let mut parts = Vec::with_capacity(lengths.len());
    for &length in lengths {
        let (part, later) = rest.split_at_mut(length);
        parts.push(part);
        rest = later;
    }
    let extra = parts.into_par_iter().enumerate().map(|(i, part)| fill(i, zeroed(part))).collect();
    // SAFETY: the parts cover the vector, and each was filled.
    unsafe { values.set_len(total) };
    (values, extra)
}

fn zeroed(part: &mut [MaybeUninit<f32>]) -> &mut [f32] {
    part.fill(MaybeUninit::new(0.0));
    // SAFETY: every element was initialised by the line above.
    unsafe { &mut *(std::ptr::from_mut(part) as *mut [f32]) }
}

/// A matrix of `rows × width`, filled chunk of rows by chunk of rows in parallel.
pub(super) fn fill_rows<T: Send>(
    rows: usize,
    width: usize,
    fill: impl Fn(Range<usize>, &mut [f32]) -> T + Sync,
) -> (Vec<f32>, Vec<T>) {
    let chunk = chunk_rows(rows);
    let starts: Vec<usize> = (0..rows).step_by(chunk).collect();
    let range = |start: usize| start..(start + chunk).min(rows);
    let lengths: Vec<usize> = starts.iter().map(|&start| range(start).len() * width).collect();
    fill_parts(&lengths, |i, part| fill(range(starts[i]), part))
}

/// Sums vectors of one length, in their order.
pub(super) fn sum(parts: &[Vec<f32>], length: usize) -> Vec<f32> {
    let mut total = vec![0.0; length];
    for part in parts {
        for (total, value) in total.iter_mut().zip(part) {
            *total += value;
        }
    }
    total
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_agree_with_their_definition() {
        let (m, n, k, stride) = (5, 7, 3, 9);
        let left: Vec<f32> = (0..m * k).map(|i| (i as f32 * 0.7).sin()).collect();
        let right: Vec<f32> = (0..n * k).map(|i| (i as f32 * 0.3).cos()).collect();
        let mut target = vec![1.0; m * stride];
        let (a, b) = (View::new(&left, [m, k], k), View::new(&right, [n, k], k).transposed());
        multiply_add(&mut target, stride, a, b, 2.0);
        for i in 0..m {
            for j in 0..stride {
                let terms = (0..k).map(|l| left[i * k + l] * right.get(j * k + l).unwrap_or(&0.0));
                let product = if j < n { 2.0 * terms.sum::<f32>() } else { 0.0 };
                assert!((target[i * stride + j] - 1.0 - product).abs() < 1e-6);
            }
        }
    }

    #[test]
    #[should_panic(expected = "a view of 12 elements on 11")]
    fn a_view_beyond_its_slice_is_refused() {
        let _ = View::new(&[0.0; 11], [3, 4], 4);
    }

    #[test]
    fn rows_are_filled_once_each() {
        let (values, chunks) = fill_rows(1000, 3, |range, part| {
            for (row, values) in range.clone().zip(part.chunks_mut(3)) {
                values.fill(row as f32);
            }
            range.len()
        });
        assert_eq!(chunks.iter().sum::<usize>(), 1000);
        assert!(values.iter().enumerate().all(|(i, &value)| value == (i / 3) as f32));
    }
}
