//! Vectors filled in parallel.
#![expect(unsafe_code, reason = "fresh vectors are zeroed in parallel")]

use std::mem::MaybeUninit;
use std::ops::Range;

use rayon::prelude::*;

/// Rows of a chunk of work, at most: enough to repay packing the other factor of a product.
const CHUNK_ROWS: usize = 512;

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
