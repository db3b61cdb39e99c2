//! Factors of bf16 as panels of words: two terms of a sum side by side in 32 bits, the earlier one
//! below.
#![expect(clippy::inline_always, reason = "what is not inlined has not its caller's instructions")]
#![expect(unsafe_code, reason = "matrices are read and written through pointers")]

use std::arch::x86_64::{
    __m512i, _mm256_maskz_loadu_epi16, _mm512_castps_si512, _mm512_castsi512_ps,
    _mm512_cvtepu16_epi32, _mm512_maskz_loadu_epi16, _mm512_or_si512, _mm512_packus_epi32,
    _mm512_permutexvar_epi64, _mm512_set_epi64, _mm512_slli_epi32, _mm512_srli_epi32,
};

use half::bf16;

use crate::pack::{Part, copy, transpose};
use crate::values::In;
use crate::vector::x86::{Avx512, first16};
use crate::vector::{Source, Vector};

/// Numbers that are read as bf16.
pub(crate) trait Number: Copy {
    /// The first `lanes`, each the lower half of a word.
    ///
    /// # Safety
    ///
    /// They are there, and the processor has the instructions.
    unsafe fn low_halves(from: *const Self, lanes: usize) -> __m512i;

    /// The first `count` of 32, in pairs.
    ///
    /// # Safety
    ///
    /// As of [`Self::low_halves`].
    unsafe fn pairs(from: *const Self, count: usize) -> __m512i;
}

impl Number for bf16 {
    #[inline(always)]
    unsafe fn low_halves(from: *const Self, lanes: usize) -> __m512i {
        // SAFETY: the caller's.
        unsafe { _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(first16(lanes), from.cast())) }
    }

    #[inline(always)]
    unsafe fn pairs(from: *const Self, count: usize) -> __m512i {
        let mask = (1_u64 << count.min(32)).wrapping_sub(1) as u32;
        // SAFETY: the caller's.
        unsafe { _mm512_maskz_loadu_epi16(mask, from.cast()) }
    }
}

impl Number for f32 {
    #[inline(always)]
    unsafe fn low_halves(from: *const Self, lanes: usize) -> __m512i {
        // SAFETY: the caller's.
        unsafe { halves(Avx512::load_first(from, lanes)) }
    }

    #[inline(always)]
    unsafe fn pairs(from: *const Self, count: usize) -> __m512i {
        // SAFETY: the caller's.
        unsafe {
            let low = halves(Avx512::load_first(from, count));
            let high = halves(Avx512::load_first(from.wrapping_add(16), count.saturating_sub(16)));
            // It packs each quarter of a register on its own.
            let packed = _mm512_packus_epi32(low, high);
            _mm512_permutexvar_epi64(_mm512_set_epi64(7, 5, 3, 1, 6, 4, 2, 0), packed)
        }
    }
}

/// Numbers rounded, each the lower half of a word.
#[inline(always)]
unsafe fn halves(numbers: Avx512) -> __m512i {
    // SAFETY: the caller's.
    unsafe { _mm512_srli_epi32::<16>(_mm512_castps_si512(numbers.to_bf16().0)) }
}

/// Lines of numbers in pairs: word `j` of line `i` holds numbers `2 · j` and `2 · j + 1` of it.
pub(crate) struct Along<T> {
    pub(crate) from: *const T,
    pub(crate) stride: usize,
    /// Numbers of a line; beyond are zeros.
    pub(crate) length: usize,
}

impl<T: Number> Source<Avx512> for Along<T> {
    #[inline(always)]
    unsafe fn load(&self, i: usize, j: usize, lanes: usize) -> Avx512 {
        let count = self.length.saturating_sub(2 * j).min(2 * lanes);
        let from = self.from.wrapping_add(i * self.stride + 2 * j);
        // SAFETY: the caller's.
        unsafe { Avx512(_mm512_castsi512_ps(T::pairs(from, count))) }
    }

    #[inline(always)]
    fn fetch(&self, i: usize, j: usize) {
        Avx512::fetch(self.from.wrapping_add(i * self.stride + 2 * j).cast());
    }
}

/// Pairs of lines: word `j` of line `i` holds number `j` of lines `2 · i` and `2 · i + 1`.
pub(crate) struct Across<T> {
    pub(crate) from: *const T,
    pub(crate) stride: usize,
    /// Beyond are zeros.
    pub(crate) lines: usize,
}

impl<T: Number> Source<Avx512> for Across<T> {
    #[inline(always)]
    unsafe fn load(&self, i: usize, j: usize, lanes: usize) -> Avx512 {
        let from = self.from.wrapping_add(2 * i * self.stride + j);
        // SAFETY: the caller's; no lane of a line that is not there is read.
        unsafe {
            let low = T::low_halves(from, if 2 * i < self.lines { lanes } else { 0 });
            let from = from.wrapping_add(self.stride);
            let high = T::low_halves(from, if 2 * i + 1 < self.lines { lanes } else { 0 });
            Avx512(_mm512_castsi512_ps(_mm512_or_si512(low, _mm512_slli_epi32::<16>(high))))
        }
    }

    #[inline(always)]
    fn fetch(&self, i: usize, j: usize) {
        let from = self.from.wrapping_add(2 * i * self.stride + j);
        Avx512::fetch(from.cast());
        Avx512::fetch(from.wrapping_add(self.stride).cast());
    }
}

/// A [`PackFn`](crate::pack::PackFn) of words: a line of the panel holds a pair of terms for every
/// column; lines of zeros are added up to a multiple of `step`.
#[inline(always)]
pub(crate) unsafe fn lines_of_pairs(part: &Part, to: *mut f32, width: usize, step: usize) {
    // SAFETY: the caller's.
    unsafe {
        match part.from {
            In::F32(from) => lines_of(part, from, to, width, step),
            In::Bf16(from) => lines_of(part, from, to, width, step),
        }
    }
}

#[inline(always)]
unsafe fn lines_of<T: Number>(
    part: &Part,
    from: *const T,
    to: *mut f32,
    width: usize,
    step: usize,
) {
    let Part { row_stride, column_stride, rows, columns, .. } = *part;
    let words = rows.div_ceil(2).next_multiple_of(step);
    // SAFETY: the caller's.
    unsafe {
        if column_stride == 1 {
            let lines = Across { from, stride: row_stride, lines: rows };
            copy::<Avx512, _>(&lines, [words, columns], to, width);
        } else {
            let lines = Along { from, stride: column_stride, length: rows };
            transpose::<Avx512, _>(&lines, [columns, words], to, width);
        }
    }
}
