//! The few operations on registers that a product is made of, by instruction set.
#![expect(clippy::inline_always, reason = "what is not inlined has not its caller's instructions")]
#![expect(unsafe_code, reason = "registers are loaded from pointers")]

/// A register of f32.
///
/// # Safety
///
/// Every function wants the instructions it is made of, and `LANES` elements at the pointers it is
/// given, or the first `lanes` of them.
pub(crate) trait Vector: Copy {
    const LANES: usize;

    unsafe fn splat(value: f32) -> Self;
    unsafe fn load(from: *const f32) -> Self;
    unsafe fn load_first(from: *const f32, lanes: usize) -> Self;
    unsafe fn store(self, to: *mut f32);
    unsafe fn store_first(self, to: *mut f32, lanes: usize);
    /// `self · by + plus`
    unsafe fn mul_add(self, by: Self, plus: Self) -> Self;

    /// Brings what will be read into the first-level cache. Any pointer will do.
    #[inline(always)]
    fn fetch(_from: *const f32) {}

    /// Brings what will be written into the first-level cache. Any pointer will do.
    #[inline(always)]
    fn fetch_to_write(_to: *mut f32) {}

    /// Writes rows that start `stride` apart as columns: element (i, j) to `to + j · step + i`,
    /// for the first `rows` rows and the first `columns` of their elements, neither more than
    /// `LANES`, rounded to bf16 if so said.
    unsafe fn transpose(
        from: *const f32,
        stride: usize,
        shape: [usize; 2],
        rounds: bool,
        to: *mut f32,
        step: usize,
    );

    /// Every element rounded to the nearest bf16, ties to even; what is not a number stays so.
    unsafe fn to_bf16(self) -> Self;
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
    unsafe fn transpose(
        from: *const f32,
        stride: usize,
        [rows, columns]: [usize; 2],
        rounds: bool,
        to: *mut f32,
        step: usize,
    ) {
        for j in 0..columns {
            for i in 0..rows {
                // SAFETY: the caller gives the rows, and room for the columns.
                unsafe {
                    let value = *from.add(i * stride + j);
                    *to.add(j * step + i) = if rounds { crate::bf16::round(value) } else { value };
                }
            }
        }
    }

    #[inline(always)]
    unsafe fn to_bf16(self) -> Self {
        Self(self.0.map(crate::bf16::round))
    }
}

#[cfg(target_arch = "x86_64")]
pub(crate) mod x86 {
    #[allow(clippy::wildcard_imports, reason = "the names say whose they are")]
    use std::arch::x86_64::*;

    use super::Vector;

    /// AVX-512 F.
    #[derive(Clone, Copy)]
    pub(crate) struct Avx512(__m512);

    #[inline(always)]
    fn first16(lanes: usize) -> __mmask16 {
        // 16 lanes and more: all.
        (1_u32 << lanes.min(16)).wrapping_sub(1) as __mmask16
    }

    // SAFETY of all below: the trait's own conditions.
    impl Vector for Avx512 {
        const LANES: usize = 16;

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
        unsafe fn transpose(
            from: *const f32,
            stride: usize,
            [rows, columns]: [usize; 2],
            rounds: bool,
            to: *mut f32,
            step: usize,
        ) {
            unsafe {
                // Pairs of rows, then pairs of pairs: every quarter of a register holds 4 × 4.
                let mask = first16(columns);
                let mut pairs = [_mm512_setzero_pd(); 16];
                for quarter in 0..4 {
                    let row = |i: usize| {
                        let i = 4 * quarter + i;
                        let there = if i < rows { mask } else { 0 };
                        _mm512_maskz_loadu_ps(there, from.wrapping_add(i * stride))
                    };
                    let (a, b) = (row(0), row(1));
                    let (low, high) = (_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b));
                    let (a, b) = (row(2), row(3));
                    let (low2, high2) = (_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b));
                    let [low, high, low2, high2] =
                        [low, high, low2, high2].map(|x| _mm512_castps_pd(x));
                    pairs[4 * quarter] = _mm512_unpacklo_pd(low, low2);
                    pairs[4 * quarter + 1] = _mm512_unpackhi_pd(low, low2);
                    pairs[4 * quarter + 2] = _mm512_unpacklo_pd(high, high2);
                    pairs[4 * quarter + 3] = _mm512_unpackhi_pd(high, high2);
                }
                // The quarters of four registers, one column each.
                for i in 0..4 {
                    let part = |quarter: usize| _mm512_castpd_ps(pairs[4 * quarter + i]);
                    let (a, b, c, d) = (part(0), part(1), part(2), part(3));
                    let ab_even = _mm512_shuffle_f32x4::<0b10_00_10_00>(a, b);
                    let ab_odd = _mm512_shuffle_f32x4::<0b11_01_11_01>(a, b);
                    let cd_even = _mm512_shuffle_f32x4::<0b10_00_10_00>(c, d);
                    let cd_odd = _mm512_shuffle_f32x4::<0b11_01_11_01>(c, d);
                    let lines = [
                        _mm512_shuffle_f32x4::<0b10_00_10_00>(ab_even, cd_even),
                        _mm512_shuffle_f32x4::<0b10_00_10_00>(ab_odd, cd_odd),
                        _mm512_shuffle_f32x4::<0b11_01_11_01>(ab_even, cd_even),
                        _mm512_shuffle_f32x4::<0b11_01_11_01>(ab_odd, cd_odd),
                    ];
                    for (quarter, line) in lines.into_iter().enumerate() {
                        let column = 4 * quarter + i;
                        if column < columns {
                            let line = if rounds { Self(line).to_bf16() } else { Self(line) };
                            line.store_first(to.add(column * step), rows);
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

        #[inline(always)]
        unsafe fn store_first(self, to: *mut f32, lanes: usize) {
            unsafe { _mm256_maskstore_ps(to, first8(lanes), self.0) };
        }

        #[inline(always)]
        unsafe fn mul_add(self, by: Self, plus: Self) -> Self {
            Self(unsafe { _mm256_fmadd_ps(self.0, by.0, plus.0) })
        }

        #[inline(always)]
        unsafe fn transpose(
            from: *const f32,
            stride: usize,
            [rows, columns]: [usize; 2],
            rounds: bool,
            to: *mut f32,
            step: usize,
        ) {
            unsafe {
                let mask = first8(columns);
                let mut pairs = [_mm256_setzero_ps(); 8];
                for half in 0..2 {
                    let row = |i: usize| {
                        let i = 4 * half + i;
                        let there = if i < rows { mask } else { _mm256_setzero_si256() };
                        _mm256_maskload_ps(from.wrapping_add(i * stride), there)
                    };
                    let (a, b) = (row(0), row(1));
                    let (low, high) = (_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b));
                    let (a, b) = (row(2), row(3));
                    let (low2, high2) = (_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b));
                    pairs[4 * half] = _mm256_shuffle_ps::<0b01_00_01_00>(low, low2);
                    pairs[4 * half + 1] = _mm256_shuffle_ps::<0b11_10_11_10>(low, low2);
                    pairs[4 * half + 2] = _mm256_shuffle_ps::<0b01_00_01_00>(high, high2);
                    pairs[4 * half + 3] = _mm256_shuffle_ps::<0b11_10_11_10>(high, high2);
                }
                for i in 0..4 {
                    let (a, b) = (pairs[i], pairs[4 + i]);
                    let lines = [
                        _mm256_permute2f128_ps::<0x20>(a, b),
                        _mm256_permute2f128_ps::<0x31>(a, b),
                    ];
                    for (half, line) in lines.into_iter().enumerate() {
                        let column = 4 * half + i;
                        if column < columns {
                            let line = if rounds { Self(line).to_bf16() } else { Self(line) };
                            line.store_first(to.add(column * step), rows);
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
