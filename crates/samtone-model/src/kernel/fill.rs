//! Vectors filled in parallel.
#![expect(unsafe_code, reason = "fresh vectors are zeroed in parallel")]

use std::mem::MaybeUninit;
use std::ops::Range;

use half::bf16;
use rayon::prelude::*;
use samtone_gemm::Target;

use super::matrix::{Elements, Held, PIECE, narrow};

/// Rows of a chunk of work, at most: enough to repay packing the other factor of a product.
const CHUNK_ROWS: usize = 512;

/// Cuts rows into chunks that keep every thread busy.
pub(super) fn chunk_rows(rows: usize) -> usize {
    let threads = rayon::current_num_threads();
    let rounds = rows.div_ceil(threads * CHUNK_ROWS).max(1);
    // Whole registers of rows, and no chunk so small that its overhead shows.
    rows.div_ceil(threads * rounds).next_multiple_of(16).max(32)
}

/// `lengths` parts side by side, each filled in parallel from zeros; and what each part gives
/// beside, in order.
///
/// The thread that fills a part also zeroes it: fresh memory costs most at its first touch.
pub(super) fn fill_parts<T: Send>(
    held: Held,
    lengths: &[usize],
    fill: impl Fn(usize, &mut [f32]) -> T + Sync,
) -> (Elements, Vec<T>) {
    match held {
        Held::F32 => {
            let (values, extra) = parts(lengths, 0.0, fill);
            (Elements::F32(values), extra)
        }
        Held::Bf16 => {
            let (values, extra) = parts(lengths, bf16::ZERO, |number, part: &mut [bf16]| {
                let mut wide = vec![0.0; part.len()];
                let extra = fill(number, &mut wide);
                narrow(&wide, part);
                extra
            });
            (Elements::Bf16(values), extra)
        }
    }
}

fn parts<E: Copy + Send + Sync, T: Send>(
    lengths: &[usize],
    zero: E,
    fill: impl Fn(usize, &mut [E]) -> T + Sync,
) -> (Vec<E>, Vec<T>) {
    let total = lengths.iter().sum();
    let mut values: Vec<E> = Vec::with_capacity(total);
    let mut rest = &mut values.spare_capacity_mut()[..total];
    let mut parts = Vec::with_capacity(lengths.len());
    for &length in lengths {
        let (part, later) = rest.split_at_mut(length);
        parts.push(part);
        rest = later;
    }
    let parts = parts.into_par_iter().enumerate();
    let extra = parts.map(|(number, part)| fill(number, all(part, zero))).collect();
    // SAFETY: the parts cover the vector, and each was filled.
    unsafe { values.set_len(total) };
    (values, extra)
}

fn all<E: Copy>(part: &mut [MaybeUninit<E>], value: E) -> &mut [E] {
    part.fill(MaybeUninit::new(value));
    // SAFETY: every element was initialised by the line above.
    unsafe { &mut *(std::ptr::from_mut(part) as *mut [E]) }
}

/// A matrix of `rows × width`, filled chunk of rows by chunk of rows in parallel.
pub(super) fn fill_rows<T: Send>(
    held: Held,
    [rows, width]: [usize; 2],
    fill: impl Fn(Range<usize>, &mut [f32]) -> T + Sync,
) -> (Elements, Vec<T>) {
    let chunk = match held {
        Held::F32 => chunk_rows(rows),
        Held::Bf16 => (PIECE / width.max(1)).clamp(16, chunk_rows(rows)),
    };
    let (lengths, range) = chunks([rows, width], chunk);
    fill_parts(held, &lengths, |i, part| fill(range(i), part))
}

/// A matrix of `rows × width`, its chunks of rows written as they are held, in parallel.
pub(super) fn write_rows(
    held: Held,
    [rows, width]: [usize; 2],
    write: impl Fn(Range<usize>, Target<'_>) + Sync,
) -> Elements {
    let (lengths, range) = chunks([rows, width], chunk_rows(rows));
    match held {
        Held::F32 => Elements::F32(parts(&lengths, 0.0, |i, part| write(range(i), part.into())).0),
        Held::Bf16 => {
            let write = |i, part: &mut [bf16]| write(range(i), part.into());
            Elements::Bf16(parts(&lengths, bf16::ZERO, write).0)
        }
    }
}

/// The length of every chunk of rows, and which rows each has.
fn chunks([rows, width]: [usize; 2], chunk: usize) -> (Vec<usize>, impl Fn(usize) -> Range<usize>) {
    let range = move |i: usize| i * chunk..((i + 1) * chunk).min(rows);
    let lengths = (0..rows.div_ceil(chunk)).map(|i| range(i).len() * width).collect();
    (lengths, range)
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
        for held in [Held::F32, Held::Bf16] {
            let (values, chunks) = fill_rows(held, [1000, 300], |range, part| {
                for (row, values) in range.clone().zip(part.chunks_mut(300)) {
                    assert!(values.iter().all(|&value| value == 0.0));
                    values.fill((row % 256) as f32);
                }
                range.len()
            });
            assert_eq!(chunks.iter().sum::<usize>(), 1000);
            let values = values.part(0..300_000);
            assert!(values.iter().enumerate().all(|(i, &value)| value == (i / 300 % 256) as f32));
        }
    }
}
