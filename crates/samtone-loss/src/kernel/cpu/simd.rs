//! Exponentials and sums over score tiles, in the widest vectors the processor has.
//!
//! A tile is a slice of rows that start `stride` apart; the stride is a multiple of [`LANES`] and
//! the entries beyond the last column are [`HIDDEN`], so no loop has a remainder.

use pulp::{Arch, Simd, WithSimd};

use crate::plan::Axis;

/// Strides are multiples of this: the lanes of the widest vectors, AVX-512.
pub(super) const LANES: usize = 16;

/// Score of a candidate that an anchor must not see.
pub(super) const HIDDEN: f32 = crate::rows::HIDDEN as f32;

/// The logarithm of a sum of exponentials, in the making.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct LogSum {
    /// The largest logit so far, or `HIDDEN` where there is none.
    largest: f64,
    /// The sum of e^(logit - largest).
    sum: f64,
}

impl LogSum {
    pub(super) const EMPTY: Self = Self { largest: crate::rows::HIDDEN, sum: 0.0 };

    /// Adds `sum` exponentials relative to `largest`.
    pub(super) fn add(&mut self, largest: f64, sum: f64) {
        if largest > self.largest {
            self.sum = self.sum * (self.largest - largest).exp() + sum;
            self.largest = largest;
        } else {
            self.sum += sum * (largest - self.largest).exp();
        }
    }

    /// Adds another sum.
    pub(super) fn join(&mut self, other: Self) {
        self.add(other.largest, other.sum);
    }

    /// ln Σ, or minus infinity for an empty sum.
    pub(super) fn ln(self) -> f64 {
        self.largest + self.sum.ln()
    }
}

/// Adds the visible exponentials of every anchor of a tile to its sum.
///
/// `thresholds`, where given, hide the scores above them, one for each anchor (padded to the
/// stride where anchors are columns). `scratch` is working memory.
pub(super) fn sum_exponentials(
    scores: &[f32],
    stride: usize,
    axis: Axis,
    scale: f64,
    thresholds: Option<&[f32]>,
    sums: &mut [LogSum],
    scratch: &mut Vec<f32>,
) {
    let arch = Arch::new();
    match axis {
        Axis::Rows => arch.dispatch(RowSums { scores, stride, scale, thresholds, sums }),
        Axis::Columns => {
            scratch.clear();
            scratch.resize(stride, HIDDEN);
            scratch.resize(2 * stride, 0.0);
            let (largest, exponentials) = scratch.split_at_mut(stride);
            arch.dispatch(ColumnSums { scores, scale, thresholds, largest, exponentials });
            for ((sum, &largest), &exponentials) in
                sums.iter_mut().zip(&*largest).zip(&*exponentials)
            {
                add_visible(sum, scale, largest, exponentials);
            }
        }
    }
}

fn add_visible(sum: &mut LogSum, scale: f64, largest: f32, exponentials: f32) {
    // Where nothing was visible the exponentials are those of HIDDEN relative to itself.
    if largest > HIDDEN {
        sum.add(scale * f64::from(largest), f64::from(exponentials));
    }
}

/// One term's share of the weights `∂L/∂s` of a tile: `factor·e^(scale·(s - shift))`.
///
/// The slices hold one entry for each anchor, padded to the stride where anchors are columns.
#[derive(Clone, Copy)]
pub(super) struct Reading<'a> {
    pub(super) axis: Axis,
    pub(super) scale: f64,
    pub(super) shifts: &'a [f32],
    pub(super) factors: &'a [f32],
    pub(super) thresholds: Option<&'a [f32]>,
}

/// Turns the scores of a tile into the weights that the readings add up to, in place.
pub(super) fn weigh(
    scores: &mut [f32],
    stride: usize,
    readings: &[Reading<'_>],
    scratch: &mut Vec<f32>,
) {
    if readings.is_empty() {
        scores.fill(0.0);
        return;
    }
    scratch.clear();
    scratch.resize(stride, 0.0);
    Arch::new().dispatch(Weigh { scores, readings, row: scratch });
}

/// e^(scale·x) for a fixed positive scale, to about one unit in the last place.
///
/// `2^t = 2^n·2^f`: n is t rounded to a whole number by adding a large one, whose low bits then
/// hold n ready for the exponent field; 2^f on [-½, ½] is a polynomial of degree 6 with relative
/// error 2e-9 (fitted for the least maximum by reweighted least squares).
#[derive(Clone, Copy)]
struct Exp {
    scale: f32,
    /// Below it the exponent field would leave the normal numbers: the result is zero.
    smallest: f32,
}

impl Exp {
    fn new(scale: f64) -> Self {
        let scale = (scale * std::f64::consts::LOG2_E) as f32;
        Self { scale, smallest: -125.0 / scale }
    }

    #[inline(always)]
    fn of<S: Simd>(self, simd: S, x: S::f32s) -> S::f32s {
        const ROUND: f32 = 12_582_912.0; // 1.5·2^23
        const POLYNOMIAL: [f32; 6] = [
            1.535_336_2e-4,
            1.339_887_4e-3,
            9.618_437e-3,
            5.550_332_5e-2,
            2.402_264_8e-1,
            6.931_472e-1,
        ];
        let scale = simd.splat_f32s(self.scale);
        let round = simd.splat_f32s(ROUND);
        let shifted = simd.mul_add_e_f32s(x, scale, round);
        let whole = simd.sub_f32s(shifted, round);
        let fraction = simd.mul_add_e_f32s(x, scale, simd.neg_f32s(whole));
        let [first, rest @ ..] = POLYNOMIAL;
        let mut power = simd.splat_f32s(first);
        for coefficient in rest {
            power = simd.mul_add_e_f32s(power, fraction, simd.splat_f32s(coefficient));
        }
        power = simd.mul_add_e_f32s(power, fraction, simd.splat_f32s(1.0));
        let exponent =
            simd.wrapping_dyn_shl_u32s(simd.transmute_u32s_f32s(shifted), simd.splat_u32s(23));
        let bits = simd.add_u32s(simd.transmute_u32s_f32s(power), exponent);
        let value = simd.transmute_f32s_u32s(bits);
        let is_normal = simd.greater_than_f32s(x, simd.splat_f32s(self.smallest));
        simd.select_f32s(is_normal, value, simd.splat_f32s(0.0))
    }
}

/// Scores above their threshold, pushed out of sight.
#[inline(always)]
fn visible<S: Simd>(simd: S, scores: S::f32s, threshold: Option<S::f32s>) -> S::f32s {
    match threshold {
        Some(threshold) => {
            let above = simd.greater_than_f32s(scores, threshold);
            simd.select_f32s(above, simd.splat_f32s(HIDDEN), scores)
        }
        None => scores,
    }
}

struct RowSums<'a> {
    scores: &'a [f32],
    stride: usize,
    scale: f64,
    thresholds: Option<&'a [f32]>,
    sums: &'a mut [LogSum],
}

impl WithSimd for RowSums<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let exp = Exp::new(self.scale);
        let rows = self.scores.chunks_exact(self.stride).zip(self.sums).enumerate();
        for (index, (row, sum)) in rows {
            let threshold = self.thresholds.map(|values| simd.splat_f32s(values[index]));
            let (row, _) = S::as_simd_f32s(row);
            let mut largest = simd.splat_f32s(HIDDEN);
            for &scores in row {
                largest = simd.max_f32s(largest, visible(simd, scores, threshold));
            }
            let largest = simd.reduce_max_f32s(largest);
            let reference = simd.splat_f32s(largest);
            let mut exponentials = simd.splat_f32s(0.0);
            for &scores in row {
                let scores = visible(simd, scores, threshold);
                let term = exp.of(simd, simd.sub_f32s(scores, reference));
                exponentials = simd.add_f32s(exponentials, term);
            }
            add_visible(sum, self.scale, largest, simd.reduce_sum_f32s(exponentials));
        }
    }
}

struct ColumnSums<'a> {
    scores: &'a [f32],
    scale: f64,
    thresholds: Option<&'a [f32]>,
    largest: &'a mut [f32],
    exponentials: &'a mut [f32],
}

impl WithSimd for ColumnSums<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let stride = self.largest.len();
        let exp = Exp::new(self.scale);
        let thresholds = self.thresholds.map(|values| S::as_simd_f32s(&values[..stride]).0);
        let (largest, _) = S::as_mut_simd_f32s(self.largest);
        let (exponentials, _) = S::as_mut_simd_f32s(self.exponentials);
        for row in self.scores.chunks_exact(stride) {
            let (row, _) = S::as_simd_f32s(row);
            for (lane, (&scores, largest)) in row.iter().zip(&mut *largest).enumerate() {
                let scores = visible(simd, scores, thresholds.map(|values| values[lane]));
                *largest = simd.max_f32s(*largest, scores);
            }
        }
        for row in self.scores.chunks_exact(stride) {
            let (row, _) = S::as_simd_f32s(row);
            let columns = row.iter().zip(&*largest).zip(&mut *exponentials).enumerate();
            for (lane, ((&scores, &largest), sum)) in columns {
                let scores = visible(simd, scores, thresholds.map(|values| values[lane]));
                *sum = simd.add_f32s(*sum, exp.of(simd, simd.sub_f32s(scores, largest)));
            }
        }
    }
}

struct Weigh<'a> {
    scores: &'a mut [f32],
    readings: &'a [Reading<'a>],
    row: &'a mut [f32],
}

impl WithSimd for Weigh<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let stride = self.row.len();
        let (sum, _) = S::as_mut_simd_f32s(self.row);
        for (index, row) in self.scores.chunks_exact_mut(stride).enumerate() {
            let (row, _) = S::as_mut_simd_f32s(row);
            for (position, reading) in self.readings.iter().enumerate() {
                reading.add(simd, index, row, sum, position == 0);
            }
            row.copy_from_slice(sum);
        }
    }
}

impl Reading<'_> {
    /// Adds the weights of row `index` to `sum`, or writes them where the reading is the first.
    #[inline(always)]
    fn add<S: Simd>(
        &self,
        simd: S,
        index: usize,
        row: &[S::f32s],
        sum: &mut [S::f32s],
        is_first: bool,
    ) {
        let exp = Exp::new(self.scale);
        let stride = row.len() * S::F32_LANES;
        let weight = |scores, shift, factor, threshold, sum| {
            let scores = visible(simd, scores, threshold);
            let exponential = exp.of(simd, simd.sub_f32s(scores, shift));
            let sum = if is_first { simd.splat_f32s(0.0) } else { sum };
            simd.mul_add_e_f32s(exponential, factor, sum)
        };
        match self.axis {
            Axis::Rows => {
                let shift = simd.splat_f32s(self.shifts[index]);
                let factor = simd.splat_f32s(self.factors[index]);
                let threshold = self.thresholds.map(|values| simd.splat_f32s(values[index]));
                for (&scores, sum) in row.iter().zip(sum) {
                    *sum = weight(scores, shift, factor, threshold, *sum);
                }
            }
            Axis::Columns => {
                let (shifts, _) = S::as_simd_f32s(&self.shifts[..stride]);
                let (factors, _) = S::as_simd_f32s(&self.factors[..stride]);
                let thresholds = self.thresholds.map(|values| S::as_simd_f32s(&values[..stride]).0);
                for (lane, (&scores, sum)) in row.iter().zip(sum).enumerate() {
                    let threshold = thresholds.map(|values| values[lane]);
                    *sum = weight(scores, shifts[lane], factors[lane], threshold, *sum);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `e^(scale·x)` of every entry of a slice whose length is a multiple of the lanes.
    struct Each<'a>(f64, &'a mut [f32]);

    impl WithSimd for Each<'_> {
        type Output = ();

        fn with_simd<S: Simd>(self, simd: S) {
            for x in S::as_mut_simd_f32s(self.1).0 {
                *x = Exp::new(self.0).of(simd, *x);
            }
        }
    }

    #[test]
    fn exp_is_accurate_to_the_last_places() {
        for scale in [1.0, 20.0, 1000.0] {
            let count = 1_usize << 16;
            // From -120 to 2 in the exponent, whatever the scale.
            let at = |i: usize| (2.0 - 88.0 * i as f64 / count as f64) / scale;
            let inputs: Vec<f32> = (0..count).map(|i| at(i) as f32).collect();
            let mut outputs = inputs.clone();
            Arch::new().dispatch(Each(scale, &mut outputs));
            for (&x, &got) in inputs.iter().zip(&outputs) {
                let expected = (scale * f64::from(x)).exp();
                let error = (f64::from(got) - expected).abs() / expected;
                // The rounding of the scale to f32 counts as well, in proportion to the exponent.
                let bound = 1.5e-7 + 6e-8 * (scale * f64::from(x)).abs();
                assert!(error <= bound, "e^({scale}·{x}) = {got}, expected {expected}");
            }
        }
    }

    #[test]
    fn exp_of_what_is_hidden_is_zero() {
        let mut values = [HIDDEN; LANES];
        values[0] = 0.0;
        values[1] = -100.0;
        Arch::new().dispatch(Each(20.0, &mut values));
        assert_eq!(values[0].to_bits(), 1.0_f32.to_bits());
        assert!(values[1..].iter().all(|&value| value == 0.0));
    }
}
