//! Factors of eight bits as panels of words: four terms of a sum side by side in 32 bits.
//!
//! A line, which is a row of the left factor or a column of the right one, is divided by its scale,
//! a 127th of its largest number, and rounded to the nearest integer, ties to even. Those of the
//! left factor lie 128 above themselves, as the instructions want them without a sign.
#![expect(clippy::inline_always, reason = "what is not inlined has not its caller's instructions")]
#![expect(unsafe_code, reason = "matrices are read and written through pointers")]

use half::bf16;

use crate::pack::{Lines, Part, copy, transpose};
use crate::values::In;
use crate::vector::Vector;

/// Terms of a word.
pub(crate) const GROUP: usize = 4;

/// Terms of a sum that 32 bits hold for certain.
pub(crate) const MOST_TERMS: usize = 1 << 16;

/// Words that are quantised at once.
const WORDS: usize = 16;

/// Terms that are quantised at once.
const TERMS: usize = WORDS * GROUP;

/// Lines of a panel at most.
const MOST: usize = 48;

/// By how much a left factor's integers lie above themselves.
const ABOVE: i32 = 128;

/// What lies below has no 127th that f32 divides by: it counts as zero.
const SMALLEST: f32 = 1e-36;

/// Numbers that are quantised.
trait Number: Copy {
    fn widened(self) -> f32;
}

impl Number for f32 {
    #[inline(always)]
    fn widened(self) -> f32 {
        self
    }
}

impl Number for bf16 {
    #[inline(always)]
    fn widened(self) -> f32 {
        f32::from_bits(u32::from(self.to_bits()) << 16)
    }
}

/// How a panel is laid out: a word of every line, then the next; or sixteen of every line at once.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layout {
    Words,
    #[cfg_attr(not(target_arch = "x86_64"), expect(dead_code, reason = "AMX alone wants it"))]
    Steps,
}

/// A [`PackFn`](crate::pack::PackFn) of a left factor, whose rows' scales follow.
#[inline(always)]
pub(crate) unsafe fn left<V: Vector>(
    part: &Part,
    to: *mut f32,
    width: usize,
    layout: Layout,
    step: usize,
) {
    // SAFETY: the caller's.
    unsafe {
        match part.from {
            In::F32(from) => panel::<V, _, ABOVE>(part, from, to, width, (layout, step)),
            In::Bf16(from) => panel::<V, _, ABOVE>(part, from, to, width, (layout, step)),
        };
    }
}

/// A [`PackFn`](crate::pack::PackFn) of a right factor, whose columns' scales follow, and then how
/// much the left factor's integers add to a sum by lying [`ABOVE`].
#[inline(always)]
pub(crate) unsafe fn right<V: Vector>(part: &Part, to: *mut f32, width: usize, step: usize) {
    let how = (Layout::Words, step);
    // SAFETY: the caller's.
    unsafe {
        let sums = match part.from {
            In::F32(from) => panel::<V, _, 0>(part, from, to, width, how),
            In::Bf16(from) => panel::<V, _, 0>(part, from, to, width, how),
        };
        let to = to.add((words_of(part.rows, step) + 1) * width);
        for (line, sum) in sums.into_iter().enumerate().take(part.columns) {
            *to.add(line) = f32::from_bits(ABOVE.wrapping_mul(sum).cast_unsigned());
        }
    }
}

fn words_of(terms: usize, step: usize) -> usize {
    terms.div_ceil(GROUP * step) * step
}

/// Writes the terms of every line, `above` themselves, and the lines' scales; returns the sums of
/// the lines' integers.
#[inline(always)]
unsafe fn panel<V: Vector, T: Number, const ABOVE: i32>(
    part: &Part,
    from: *const T,
    to: *mut f32,
    width: usize,
    (layout, step): (Layout, usize),
) -> [i32; MOST] {
    let Part { row_stride, column_stride, rows: terms, columns: lines, .. } = *part;
    let words = words_of(terms, step);
    let mut sums = [0; MOST];
    // SAFETY: the caller's.
    unsafe {
        let largest = largest(part, from);
        let mut inverses = [0.0; MOST];
        for line in 0..lines {
            let (scale, inverse) = scale_of(largest[line]);
            *to.add(words * width + line) = scale;
            inverses[line] = inverse;
        }
        let mut some = [Terms([ABOVE.cast_unsigned() as u8; TERMS]); MOST];
        let mut first = 0;
        while first < words {
            let from = from.wrapping_add(first * GROUP * row_stride);
            let count = TERMS.min(terms.saturating_sub(first * GROUP));
            if count < TERMS {
                some = [Terms([ABOVE.cast_unsigned() as u8; TERMS]); MOST];
            }
            if row_stride == 1 {
                for line in 0..lines {
                    let (from, inverse) = (from.add(line * column_stride), inverses[line]);
                    let sum = quantise::<T, ABOVE>(from, count, inverse, &mut some[line].0);
                    sums[line] = sum.wrapping_add(sums[line]);
                }
            } else {
                for term in 0..count {
                    let from = from.add(term * row_stride);
                    for line in 0..lines {
                        let integer = integer(*from.add(line * column_stride), inverses[line]);
                        sums[line] = integer.wrapping_add(sums[line]);
                        some[line].0[term] = integer.wrapping_add(ABOVE).cast_unsigned() as u8;
                    }
                }
            }
            let lines_of_words = Lines::<f32, false> { from: some.as_ptr().cast(), stride: WORDS };
            let to = to.add(first * width);
            let shape = [lines, WORDS.min(words - first)];
            match layout {
                Layout::Words => transpose::<V, _>(&lines_of_words, shape, to, width),
                Layout::Steps => copy::<V, _>(&lines_of_words, shape, to, WORDS),
            }
            first += WORDS;
        }
    }
    sums
}

/// Words of a line.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Terms([u8; TERMS]);

/// The largest number of every line, as the bits of its size.
#[inline(always)]
unsafe fn largest<T: Number>(part: &Part, from: *const T) -> [u32; MOST] {
    let Part { row_stride, column_stride, rows: terms, columns: lines, .. } = *part;
    let mut largest = [0; MOST];
    // SAFETY: the caller's.
    unsafe {
        if row_stride == 1 {
            for (line, largest) in largest.iter_mut().enumerate().take(lines) {
                let from = from.add(line * column_stride);
                for term in 0..terms {
                    *largest = size(*from.add(term)).max(*largest);
                }
            }
        } else {
            for term in 0..terms {
                let from = from.add(term * row_stride);
                for (line, largest) in largest.iter_mut().enumerate().take(lines) {
                    *largest = size(*from.add(line * column_stride)).max(*largest);
                }
            }
        }
    }
    largest
}

/// As bits: what is not a number is largest.
#[inline(always)]
fn size<T: Number>(number: T) -> u32 {
    number.widened().to_bits() & 0x7fff_ffff
}

/// Of a line whose largest number has these bits: the scale, which is not a number where that one
/// is not finite, and its inverse.
#[inline(always)]
fn scale_of(largest: u32) -> (f32, f32) {
    let largest = f32::from_bits(largest);
    if !largest.is_finite() {
        (f32::NAN, 0.0)
    } else if largest < SMALLEST {
        (0.0, 0.0)
    } else {
        (largest / 127.0, 127.0 / largest)
    }
}

/// The nearest integer of a number times an inverse, ties to even, where it is less than 2²²; of
/// what is not finite, any integer.
#[inline(always)]
fn integer<T: Number>(number: T, inverse: f32) -> i32 {
    // Beyond 2²³ a unit of f32 is one.
    const BEYOND: f32 = 12_582_912.0;
    let sum = number.widened() * inverse + BEYOND;
    sum.to_bits().cast_signed().wrapping_sub(BEYOND.to_bits().cast_signed())
}

/// Some terms of a line, next to each other; their sum.
#[inline(always)]
unsafe fn quantise<T: Number, const ABOVE: i32>(
    from: *const T,
    count: usize,
    inverse: f32,
    to: &mut [u8; TERMS],
) -> i32 {
    let mut sum = 0;
    // SAFETY: the caller's.
    unsafe {
        if count == TERMS {
            for (term, to) in to.iter_mut().enumerate() {
                let integer = integer(*from.add(term), inverse);
                sum = integer.wrapping_add(sum);
                *to = integer.wrapping_add(ABOVE).cast_unsigned() as u8;
            }
        } else {
            for (term, to) in to.iter_mut().enumerate().take(count) {
                let integer = integer(*from.add(term), inverse);
                sum = integer.wrapping_add(sum);
                *to = integer.wrapping_add(ABOVE).cast_unsigned() as u8;
            }
        }
    }
    sum
}
