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

/// Rows that are computed together, at most, where columns are cut among the threads.
const FEW_ROWS: usize = 128;

/// Columns of a chunk come in multiples of so many.
const CHUNK_COLUMNS: usize = 32;

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

/// The same block by block, some rows and some columns each, which are given: the rows of a block's
/// target lie as far apart as it has columns.
///
/// Few rows are not cut, for each of their chunks would read, and pack, all of the other factor: the
/// columns are.
pub(super) fn write_blocks(
    held: Held,
    [rows, width]: [usize; 2],
    write: impl Fn([Range<usize>; 2], Target<'_>) + Sync,
) -> Elements {
    if rows > FEW_ROWS {
        return write_rows(held, [rows, width], |range, part| write([range, 0..width], part));
    }
    let chunk = width.div_ceil(rayon::current_num_threads()).max(1);
    let (lengths, columns) = chunks([width, rows], chunk.next_multiple_of(CHUNK_COLUMNS));
    let block = |i| [0..rows, columns(i)];
    match held {
        Held::F32 => {
            let (blocks, _) = parts(&lengths, 0.0, |i, part| write(block(i), part.into()));
            Elements::F32(side_by_side(blocks, &lengths, rows))
        }
        Held::Bf16 => {
            let (blocks, _) = parts(&lengths, bf16::ZERO, |i, part| write(block(i), part.into()));
            Elements::Bf16(side_by_side(blocks, &lengths, rows))
        }
    }
}

/// Blocks of so many rows, one after the other, as one row-major matrix.
fn side_by_side<E: Copy>(blocks: Vec<E>, lengths: &[usize], rows: usize) -> Vec<E> {
    if lengths.len() < 2 {
        return blocks;
    }
    let mut values = Vec::with_capacity(blocks.len());
    for row in 0..rows {
        let mut rest = &blocks[..];
        for &length in lengths {
            let (block, later) = rest.split_at(length);
            let width = length / rows;
            values.extend_from_slice(&block[row * width..][..width]);
            rest = later;
        }
    }
    values
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
