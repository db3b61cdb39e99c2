//! The few operations on registers that a product is made of, by instruction set.
#![expect(clippy::inline_always, reason = "what is not inlined has not its caller's instructions")]
#![expect(unsafe_code, reason = "registers are loaded from pointers")]

use half::bf16;

/// A register of f32.
///
/// # Safety
///
/// Every function wants the instructions it is made of, and `LANES` elements at the pointers it is
/// given, or the first `lanes` of them.
pub(crate) trait Vector: Copy {
    const LANES: usize;
    /// Whether reading and writing the first lanes costs no more than all.
    const MASKS_ARE_FREE: bool = false;

    unsafe fn splat(value: f32) -> Self;
    unsafe fn load(from: *const f32) -> Self;
    unsafe fn load_first(from: *const f32, lanes: usize) -> Self;
    unsafe fn store(self, to: *mut f32);
    unsafe fn store_first(self, to: *mut f32, lanes: usize);
    /// `self · by + plus`
    unsafe fn mul_add(self, by: Self, plus: Self) -> Self;

    /// The sums of a register's bits as integers and of four products a lane: of the integers from 0
    /// to 255 in the bits of `self` and those from -128 to 127 in the bits of `by`.
    unsafe fn add_bytes(self, by: Self, plus: Self) -> Self;
    /// The differences of the bits as integers, in f32.
    unsafe fn difference(self, less: Self) -> Self;

    /// Brings what will be read into the first-level cache. Any pointer will do.
    #[inline(always)]
    fn fetch(_from: *const f32) {}

    /// Brings what will be written into the first-level cache. Any pointer will do.
    #[inline(always)]
    fn fetch_to_write(_to: *mut f32) {}

    /// The first `lanes` numbers, widened.
    unsafe fn load_bf16_first(from: *const bf16, lanes: usize) -> Self;
    /// Every number rounded to the nearest bf16, ties to even; what is not a number stays so.
    unsafe fn store_bf16_first(self, to: *mut bf16, lanes: usize);
    /// The same rounding, kept in f32.
    unsafe fn to_bf16(self) -> Self;

    /// Writes lines as columns: number (i, j) from a place on to `to + j · step + i`, for `rows`
    /// lines of the source and `columns` of their numbers, neither more than `LANES`.
    unsafe fn transpose<S: Source<Self>>(
        source: &S,
        place: [usize; 2],
        shape: [usize; 2],
        to: *mut f32,
        step: usize,
    );
}

/// Lines of memory, as the numbers of a panel.
pub(crate) trait Source<V> {
    /// The first `lanes` of the numbers of line `i` from the `j`th.
    ///
    /// # Safety
    ///
    /// The line has them, and the processor has the instructions.
    unsafe fn load(&self, i: usize, j: usize, lanes: usize) -> V;

    /// Brings them into the first-level cache, if there are any.
    fn fetch(&self, i: usize, j: usize);
}

/// Four lanes without instructions of any processor's own.
#[derive(Clone, Copy)]
pub(crate) struct Portable([f32; 4]);

impl Vector for Portable {
    const LANES: usize = 4;

    #[inline(always)]
    unsafe fn splat(value: f32) -> Self {
        Self([value; 4])
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: the caller gives four elements.
        Self(unsafe { from.cast::<[f32; 4]>().read_unaligned() })
    }

    #[inline(always)]
    unsafe fn load_first(from: *const f32, lanes: usize) -> Self {
        // SAFETY: only the first lanes are read.
        Self(std::array::from_fn(|i| if i < lanes { unsafe { *from.add(i) } } else { 0.0 }))
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: the caller gives room for four elements.
        unsafe { to.cast::<[f32; 4]>().write_unaligned(self.0) };
    }

    #[inline(always)]
    unsafe fn store_first(self, to: *mut f32, lanes: usize) {
        for (i, value) in self.0.into_iter().enumerate().take(lanes) {
            // SAFETY: only the first lanes are written.
            unsafe { *to.add(i) = value };
        }
    }

    #[inline(always)]
    unsafe fn mul_add(self, by: Self, plus: Self) -> Self {
        Self(std::array::from_fn(|i| {
            // Elsewhere it would be a call.
            if cfg!(target_arch = "aarch64") {
                self.0[i].mul_add(by.0[i], plus.0[i])
            } else {
                self.0[i] * by.0[i] + plus.0[i]
            }
        }))
    }

    #[inline(always)]
    unsafe fn add_bytes(self, by: Self, plus: Self) -> Self {
        let sum = |i: usize| {
            let (left, right) = (self.0[i].to_bits(), by.0[i].to_bits());
            let product = |at: u32| {
                (left >> (8 * at) & 0xff).cast_signed() * i32::from((right >> (8 * at)) as i8)
            };
            let sum = product(0) + product(1) + product(2) + product(3);
            f32::from_bits(plus.0[i].to_bits().wrapping_add(sum.cast_unsigned()))
        };
        Self(std::array::from_fn(sum))
    }

    #[inline(always)]
    unsafe fn difference(self, less: Self) -> Self {
        let integer = |value: f32| value.to_bits().cast_signed();
        Self(std::array::from_fn(|i| integer(self.0[i]).wrapping_sub(integer(less.0[i])) as f32))
    }

    #[inline(always)]
    unsafe fn load_bf16_first(from: *const bf16, lanes: usize) -> Self {
        // SAFETY: only the first lanes are read.
        Self(std::array::from_fn(
            |i| if i < lanes { unsafe { *from.add(i) }.to_f32() } else { 0.0 },
        ))
    }

    #[inline(always)]
    unsafe fn store_bf16_first(self, to: *mut bf16, lanes: usize) {
        for (i, value) in self.0.into_iter().enumerate().take(lanes) {
            // SAFETY: only the first lanes are written.
            unsafe { *to.add(i) = bf16::from_f32(value) };
        }
    }

    #[inline(always)]
    unsafe fn to_bf16(self) -> Self {
        Self(self.0.map(|value| bf16::from_f32(value).to_f32()))
    }

    #[inline(always)]
    unsafe fn transpose<S: Source<Self>>(
        source: &S,
        [line, place]: [usize; 2],
        [rows, columns]: [usize; 2],
        to: *mut f32,
        step: usize,
    ) {
        for i in 0..rows {
            // SAFETY: the caller gives the lines, and room for the columns.
            let numbers = unsafe { source.load(line + i, place, columns) };
            for (j, value) in numbers.0.into_iter().enumerate().take(columns) {
                // SAFETY: as above.
                unsafe { *to.add(j * step + i) = value };
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
pub(crate) mod x86 {
    #[allow(clippy::wildcard_imports, reason = "the names say whose they are")]
    use std::arch::x86_64::*;

    use half::bf16;

    use super::{Source, Vector};

    /// AVX-512 F, BW and VL.
    #[derive(Clone, Copy)]
    pub(crate) struct Avx512(pub(crate) __m512);

    #[inline(always)]
    pub(crate) fn first16(lanes: usize) -> __mmask16 {
        // 16 lanes and more: all.
        (1_u32 << lanes.min(16)).wrapping_sub(1) as __mmask16
    }

    // SAFETY of all below: the trait's own conditions.
    impl Vector for Avx512 {
        const LANES: usize = 16;
        const MASKS_ARE_FREE: bool = true;

        #[inline(always)]
        unsafe fn splat(value: f32) -> Self {
            Self(unsafe { _mm512_set1_ps(value) })
        }

        #[inline(always)]
        fn fetch_to_write(to: *mut f32) {
            unsafe { _mm_prefetch::<_MM_HINT_ET0>(to.cast()) };
        }

        #[inline(always)]
        fn fetch(from: *const f32) {
            unsafe { _mm_prefetch::<_MM_HINT_T0>(from.cast()) };
        }

        #[inline(always)]
        unsafe fn load(from: *const f32) -> Self {
            Self(unsafe { _mm512_loadu_ps(from) })
        }

        #[inline(always)]
        unsafe fn load_first(from: *const f32, lanes: usize) -> Self {
            Self(unsafe { _mm512_maskz_loadu_ps(first16(lanes), from) })
        }

        #[inline(always)]
        unsafe fn store(self, to: *mut f32) {
            unsafe { _mm512_storeu_ps(to, self.0) };
        }

        #[inline(always)]
        unsafe fn store_first(self, to: *mut f32, lanes: usize) {
            unsafe { _mm512_mask_storeu_ps(to, first16(lanes), self.0) };
        }

        #[inline(always)]
        unsafe fn mul_add(self, by: Self, plus: Self) -> Self {
            Self(unsafe { _mm512_fmadd_ps(self.0, by.0, plus.0) })
        }

        #[inline(always)]
        unsafe fn add_bytes(self, by: Self, plus: Self) -> Self {
            unsafe {
                let (left, right) = (_mm512_castps_si512(self.0), _mm512_castps_si512(by.0));
                let sums = _mm512_dpbusd_epi32(_mm512_castps_si512(plus.0), left, right);
                Self(_mm512_castsi512_ps(sums))
            }
        }

        #[inline(always)]
        unsafe fn difference(self, less: Self) -> Self {
            unsafe {
                let (more, less) = (_mm512_castps_si512(self.0), _mm512_castps_si512(less.0));
                Self(_mm512_cvtepi32_ps(_mm512_sub_epi32(more, less)))
            }
        }

        #[inline(always)]
        unsafe fn load_bf16_first(from: *const bf16, lanes: usize) -> Self {
            unsafe {
                let halves = _mm256_maskz_loadu_epi16(first16(lanes), from.cast());
                let bits = _mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(halves));
                Self(_mm512_castsi512_ps(bits))
            }
        }

        #[inline(always)]
        unsafe fn store_bf16_first(self, to: *mut bf16, lanes: usize) {
            unsafe {
                let bits = _mm512_srli_epi32::<16>(_mm512_castps_si512(self.to_bf16().0));
                _mm256_mask_storeu_epi16(to.cast(), first16(lanes), _mm512_cvtepi32_epi16(bits));
            }
        }

        #[inline(always)]
        unsafe fn transpose<S: Source<Self>>(
            source: &S,
            [line, place]: [usize; 2],
            [rows, columns]: [usize; 2],
            to: *mut f32,
            step: usize,
        ) {
            unsafe {
                let mut lines = [Self::splat(0.0); 16];
                for (i, numbers) in lines.iter_mut().enumerate() {
                    if i < rows {
                        *numbers = source.load(line + i, place, columns);
                    }
                }
                // Pairs of lines, then pairs of pairs: every quarter of a register holds 4 × 4.
                let mut pairs = [_mm512_setzero_pd(); 16];
                for quarter in 0..4 {
                    let (a, b) = (lines[4 * quarter].0, lines[4 * quarter + 1].0);
                    let (c, d) = (lines[4 * quarter + 2].0, lines[4 * quarter + 3].0);
                    let low = _mm512_castps_pd(_mm512_unpacklo_ps(a, b));
                    let high = _mm512_castps_pd(_mm512_unpackhi_ps(a, b));
                    let low2 = _mm512_castps_pd(_mm512_unpacklo_ps(c, d));
                    let high2 = _mm512_castps_pd(_mm512_unpackhi_ps(c, d));
                    pairs[4 * quarter] = _mm512_unpacklo_pd(low, low2);
                    pairs[4 * quarter + 1] = _mm512_unpackhi_pd(low, low2);
                    pairs[4 * quarter + 2] = _mm512_unpacklo_pd(high, high2);
                    pairs[4 * quarter + 3] = _mm512_unpackhi_pd(high, high2);
                }
                // The quarters of four registers, one column each.
                for i in 0..4 {
                    let (a, b) = (_mm512_castpd_ps(pairs[i]), _mm512_castpd_ps(pairs[4 + i]));
                    let (c, d) = (_mm512_castpd_ps(pairs[8 + i]), _mm512_castpd_ps(pairs[12 + i]));
                    let ab_even = _mm512_shuffle_f32x4::<0b10_00_10_00>(a, b);
                    let ab_odd = _mm512_shuffle_f32x4::<0b11_01_11_01>(a, b);
                    let cd_even = _mm512_shuffle_f32x4::<0b10_00_10_00>(c, d);
                    let cd_odd = _mm512_shuffle_f32x4::<0b11_01_11_01>(c, d);
                    let columns_of = [
                        _mm512_shuffle_f32x4::<0b10_00_10_00>(ab_even, cd_even),
                        _mm512_shuffle_f32x4::<0b10_00_10_00>(ab_odd, cd_odd),
                        _mm512_shuffle_f32x4::<0b11_01_11_01>(ab_even, cd_even),
                        _mm512_shuffle_f32x4::<0b11_01_11_01>(ab_odd, cd_odd),
                    ];
                    for (quarter, column) in columns_of.into_iter().enumerate() {
                        let at = 4 * quarter + i;
                        if at < columns {
                            Self(column).store_first(to.add(at * step), rows);
                        }
                    }
                }
            }
        }

        #[inline(always)]
        unsafe fn to_bf16(self) -> Self {
            unsafe {
                let bits = _mm512_castps_si512(self.0);
                let odd = _mm512_and_si512(_mm512_srli_epi32::<16>(bits), _mm512_set1_epi32(1));
                let half = _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff));
                let high = _mm512_set1_epi32(0xffff_0000_u32 as i32);
                let rounded = _mm512_and_si512(_mm512_add_epi32(bits, half), high);
                // Not a number: quiet, and its payload's low half dropped.
                let nan = _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(self.0, self.0);
                let quiet =
                    _mm512_and_si512(_mm512_or_si512(bits, _mm512_set1_epi32(0x0040_0000)), high);
                Self(_mm512_castsi512_ps(_mm512_mask_mov_epi32(rounded, nan, quiet)))
            }
        }
    }

    /// AVX2 with FMA.
    #[derive(Clone, Copy)]
    pub(crate) struct Avx2(__m256);

    #[inline(always)]
    unsafe fn first8(lanes: usize) -> __m256i {
        unsafe {
            let numbers = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
            _mm256_cmpgt_epi32(_mm256_set1_epi32(lanes.min(8) as i32), numbers)
        }
    }

    impl Vector for Avx2 {
        const LANES: usize = 8;

        #[inline(always)]
        unsafe fn splat(value: f32) -> Self {
            Self(unsafe { _mm256_set1_ps(value) })
        }

        #[inline(always)]
        unsafe fn load(from: *const f32) -> Self {
            Self(unsafe { _mm256_loadu_ps(from) })
        }

        #[inline(always)]
        unsafe fn load_first(from: *const f32, lanes: usize) -> Self {
            Self(unsafe { _mm256_maskload_ps(from, first8(lanes)) })
        }

        #[inline(always)]
        unsafe fn store(self, to: *mut f32) {
            unsafe { _mm256_storeu_ps(to, self.0) };
        }

        // No masked store: AMD's processors are slow at it.
        #[inline(always)]
        unsafe fn store_first(self, mut to: *mut f32, lanes: usize) {
            unsafe {
                if lanes >= 8 {
                    return _mm256_storeu_ps(to, self.0);
                }
                let mut rest = _mm256_castps256_ps128(self.0);
                if lanes & 4 != 0 {
                    _mm_storeu_ps(to, rest);
                    (to, rest) = (to.add(4), _mm256_extractf128_ps::<1>(self.0));
                }
                if lanes & 2 != 0 {
                    _mm_storel_pd(to.cast(), _mm_castps_pd(rest));
                    (to, rest) = (to.add(2), _mm_movehl_ps(rest, rest));
                }
                if lanes & 1 != 0 {
                    _mm_store_ss(to, rest);
                }
            }
        }

        #[inline(always)]
        unsafe fn mul_add(self, by: Self, plus: Self) -> Self {
            Self(unsafe { _mm256_fmadd_ps(self.0, by.0, plus.0) })
        }

        #[inline(always)]
        unsafe fn add_bytes(self, by: Self, plus: Self) -> Self {
            unsafe {
                let (left, right) = (_mm256_castps_si256(self.0), _mm256_castps_si256(by.0));
                // Every second byte, widened to 16 bits, and the others.
                let low = _mm256_and_si256(left, _mm256_set1_epi16(0xff));
                let high = _mm256_srli_epi16::<8>(left);
                let right_low = _mm256_srai_epi16::<8>(_mm256_slli_epi16::<8>(right));
                let right_high = _mm256_srai_epi16::<8>(right);
                let low = _mm256_madd_epi16(low, right_low);
                let high = _mm256_madd_epi16(high, right_high);
                let sums = _mm256_add_epi32(_mm256_castps_si256(plus.0), low);
                Self(_mm256_castsi256_ps(_mm256_add_epi32(sums, high)))
            }
        }

        #[inline(always)]
        unsafe fn difference(self, less: Self) -> Self {
            unsafe {
                let (more, less) = (_mm256_castps_si256(self.0), _mm256_castps_si256(less.0));
                Self(_mm256_cvtepi32_ps(_mm256_sub_epi32(more, less)))
            }
        }

        #[inline(always)]
        unsafe fn load_bf16_first(from: *const bf16, lanes: usize) -> Self {
            unsafe {
                // No mask goes by numbers this small.
                let halves = if lanes >= 8 {
                    _mm_loadu_si128(from.cast())
                } else {
                    let mut first = [bf16::ZERO; 8];
                    for (i, value) in first.iter_mut().enumerate() {
                        if i < lanes {
                            *value = *from.add(i);
                        }
                    }
                    _mm_loadu_si128(first.as_ptr().cast())
                };
                let bits = _mm256_slli_epi32::<16>(_mm256_cvtepu16_epi32(halves));
                Self(_mm256_castsi256_ps(bits))
            }
        }

        #[inline(always)]
        unsafe fn store_bf16_first(self, to: *mut bf16, lanes: usize) {
            unsafe {
                let bits = _mm256_srli_epi32::<16>(_mm256_castps_si256(self.to_bf16().0));
                // Either half of a register packs on its own.
                let halves =
                    _mm256_permute4x64_epi64::<0b00_00_10_00>(_mm256_packus_epi32(bits, bits));
                let halves = _mm256_castsi256_si128(halves);
                if lanes >= 8 {
                    _mm_storeu_si128(to.cast(), halves);
                } else {
                    let mut first = [bf16::ZERO; 8];
                    _mm_storeu_si128(first.as_mut_ptr().cast(), halves);
                    for (i, value) in first.into_iter().enumerate() {
                        if i < lanes {
                            *to.add(i) = value;
                        }
                    }
                }
            }
        }

        #[inline(always)]
        unsafe fn transpose<S: Source<Self>>(
            source: &S,
            [line, place]: [usize; 2],
            [rows, columns]: [usize; 2],
            to: *mut f32,
            step: usize,
        ) {
            unsafe {
                let mut lines = [Self::splat(0.0); 8];
                for (i, numbers) in lines.iter_mut().enumerate() {
                    if i < rows {
                        *numbers = source.load(line + i, place, columns);
                    }
                }
                let mut pairs = [_mm256_setzero_ps(); 8];
                for half in 0..2 {
                    let (a, b) = (lines[4 * half].0, lines[4 * half + 1].0);
                    let (c, d) = (lines[4 * half + 2].0, lines[4 * half + 3].0);
                    let (low, high) = (_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b));
                    let (low2, high2) = (_mm256_unpacklo_ps(c, d), _mm256_unpackhi_ps(c, d));
                    pairs[4 * half] = _mm256_shuffle_ps::<0b01_00_01_00>(low, low2);
                    pairs[4 * half + 1] = _mm256_shuffle_ps::<0b11_10_11_10>(low, low2);
                    pairs[4 * half + 2] = _mm256_shuffle_ps::<0b01_00_01_00>(high, high2);
                    pairs[4 * half + 3] = _mm256_shuffle_ps::<0b11_10_11_10>(high, high2);
                }
                for i in 0..4 {
                    let (a, b) = (pairs[i], pairs[4 + i]);
                    let columns_of = [
                        _mm256_permute2f128_ps::<0x20>(a, b),
                        _mm256_permute2f128_ps::<0x31>(a, b),
                    ];
                    for (half, column) in columns_of.into_iter().enumerate() {
                        let at = 4 * half + i;
                        if at < columns {
                            Self(column).store_first(to.add(at * step), rows);
                        }
                    }
                }
            }
        }

        #[inline(always)]
        unsafe fn to_bf16(self) -> Self {
            unsafe {
                let bits = _mm256_castps_si256(self.0);
                let odd = _mm256_and_si256(_mm256_srli_epi32::<16>(bits), _mm256_set1_epi32(1));
                let half = _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff));
                let high = _mm256_set1_epi32(0xffff_0000_u32 as i32);
                let rounded = _mm256_and_si256(_mm256_add_epi32(bits, half), high);
                let nan = _mm256_cmp_ps::<_CMP_UNORD_Q>(self.0, self.0);
                let quiet =
                    _mm256_and_si256(_mm256_or_si256(bits, _mm256_set1_epi32(0x0040_0000)), high);
                Self(_mm256_blendv_ps(
                    _mm256_castsi256_ps(rounded),
                    _mm256_castsi256_ps(quiet),
                    nan,
                ))
            }
        }
    }
}
