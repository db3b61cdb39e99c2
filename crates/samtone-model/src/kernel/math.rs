//! Elementwise functions and sums written so that the compiler vectorises them.
//!
//! [`vectorised`] compiles its closure once per instruction set and picks at run time.
#![expect(clippy::inline_always, reason = "what is not inlined is not vectorised")]

use crate::config::Activation;

/// Lanes of a sum: one AVX-512 register.
const LANES: usize = 16;

/// Runs `work` compiled for the best instruction set of this processor.
///
/// `work` and all it calls must be inlined into it.
#[inline(always)]
pub(super) fn vectorised<R>(work: impl FnOnce() -> R) -> R {
    pulp::Arch::new().dispatch(work)
}

/// Σ f(i) over a slice, in [`LANES`] partial sums.
#[inline(always)]
pub(super) fn sum_of(values: &[f32], f: impl Fn(f32) -> f32) -> f32 {
    let mut lanes = [0.0; LANES];
    let (chunks, rest) = values.as_chunks::<LANES>();
    for chunk in chunks {
        for (lane, &value) in lanes.iter_mut().zip(chunk) {
            *lane += f(value);
        }
    }
    lanes.iter().sum::<f32>() + rest.iter().map(|&value| f(value)).sum::<f32>()
}

/// Σ f(a, b) over two slices of one length, in [`LANES`] partial sums.
#[inline(always)]
pub(super) fn sum_of_pairs(a: &[f32], b: &[f32], f: impl Fn(f32, f32) -> f32) -> f32 {
    let mut lanes = [0.0; LANES];
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
    for (a, b) in a.iter().zip(b) {
        for ((lane, &a), &b) in lanes.iter_mut().zip(a).zip(b) {
            *lane += f(a, b);
        }
    }
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(&a, &b)| f(a, b)).sum();
    lanes.iter().sum::<f32>() + rest
}

/// The greatest element.
#[inline(always)]
pub(super) fn greatest(values: &[f32]) -> f32 {
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let (chunks, rest) = values.as_chunks::<LANES>();
    for chunk in chunks {
        for (lane, &value) in lanes.iter_mut().zip(chunk) {
            *lane = if value > *lane { value } else { *lane };
        }
    }
    lanes.iter().chain(rest).fold(f32::NEG_INFINITY, |a, &b| if b > a { b } else { a })
}

/// eˣ within 2 units of the last place; 0 below -87.3, the greatest finite power above 88.
#[inline(always)]
pub(super) fn exp(x: f32) -> f32 {
    // Adding 1.5 · 2^23 leaves the nearest integer in the low bits.
    const MAGIC: f32 = 12_582_912.0;
    // ln 2 in two parts, the first exact in few bits (Cephes).
    const LN_2_HIGH: f32 = 0.693_359_4;
    const LN_2_LOW: f32 = -2.121_944_4e-4;
    let clamped = if x > 88.0 { 88.0 } else { x };
    let clamped = if clamped < -87.3 { -87.3 } else { clamped };
    let shifted = clamped * std::f32::consts::LOG2_E + MAGIC;
    let n = shifted - MAGIC;
    let r = clamped - n * LN_2_HIGH - n * LN_2_LOW;
    let mut p = 1.987_569_1e-4;
    p = p * r + 1.398_199_9e-3;
    p = p * r + 8.333_452e-3;
    p = p * r + 4.166_579_6e-2;
    p = p * r + 1.666_666_5e-1;
    p = p * r + 5.000_000_3e-1;
    let power = p * r * r + r + 1.0;
    let exponent = shifted.to_bits().wrapping_sub(MAGIC.to_bits()).wrapping_add(127) << 23;
    let y = power * f32::from_bits(exponent);
    if x < -87.3 { 0.0 } else { y }
}

/// The error function within 4e-7: a rational approximation on [-4, 4] (Eigen's and XLA's).
#[inline(always)]
pub(super) fn erf(x: f32) -> f32 {
    let x = if x > 4.0 { 4.0 } else { x };
    let x = if x < -4.0 { -4.0 } else { x };
    let s = x * x;
    let mut p = -2.726_142_3e-10;
    p = p * s + 2.770_681_4e-8;
    p = p * s - 2.101_024e-6;
    p = p * s - 5.692_506_5e-5;
    p = p * s - 7.349_906e-4;
    p = p * s - 2.954_6e-3;
    p = p * s - 1.609_603_3e-2;
    let mut q = -1.456_607_2e-5;
    q = q * s - 2.133_740_6e-4;
    q = q * s - 1.682_827e-3;
    q = q * s - 7.373_329e-3;
    q = q * s - 1.426_473_9e-2;
    x * p / q
}

/// tanh, from [`exp`].
#[inline(always)]
fn tanh(x: f32) -> f32 {
    1.0 - 2.0 / (exp(2.0 * x) + 1.0)
}

/// √(2/π)
const TANH_SLOPE: f32 = 0.797_884_6;
const TANH_CUBIC: f32 = 0.044_715;

/// The value of a nonlinearity.
#[inline(always)]
pub(super) fn activate(activation: Activation, x: f32) -> f32 {
    match activation {
        Activation::Gelu => 0.5 * x * (1.0 + erf(x * std::f32::consts::FRAC_1_SQRT_2)),
        Activation::GeluTanh => 0.5 * x * (1.0 + tanh(TANH_SLOPE * (x + TANH_CUBIC * x * x * x))),
        Activation::Relu => {
            if x > 0.0 {
                x
            } else {
                0.0
            }
        }
        Activation::Silu => x / (1.0 + exp(-x)),
    }
}

/// The derivative of a nonlinearity.
#[inline(always)]
pub(super) fn slope(activation: Activation, x: f32) -> f32 {
    match activation {
        Activation::Gelu => {
            // Φ(x) + x φ(x)
            let density = 0.398_942_3 * exp(-0.5 * x * x);
            0.5 * (1.0 + erf(x * std::f32::consts::FRAC_1_SQRT_2)) + x * density
        }
        Activation::GeluTanh => {
            let t = tanh(TANH_SLOPE * (x + TANH_CUBIC * x * x * x));
            let inner = TANH_SLOPE * (1.0 + 3.0 * TANH_CUBIC * x * x);
            0.5 * (1.0 + t) + 0.5 * x * (1.0 - t * t) * inner
        }
        Activation::Relu => {
            if x > 0.0 {
                1.0
            } else {
                0.0
            }
        }
        Activation::Silu => {
            let sigmoid = 1.0 / (1.0 + exp(-x));
            sigmoid * (1.0 + x * (1.0 - sigmoid))
        }
    }
}

/// Runs a loop over elements with the nonlinearity known inside it, so that each is vectorised:
/// `each_activation!(activation, |a| body)`.
macro_rules! each_activation {
    ($activation:expr, |$known:ident| $body:expr) => {
        match $activation {
            Activation::Gelu => {
                const $known: Activation = Activation::Gelu;
                vectorised(|| $body)
            }
            Activation::GeluTanh => {
                const $known: Activation = Activation::GeluTanh;
                vectorised(|| $body)
            }
            Activation::Relu => {
                const $known: Activation = Activation::Relu;
                vectorised(|| $body)
            }
            Activation::Silu => {
                const $known: Activation = Activation::Silu;
                vectorised(|| $body)
            }
        }
    };
}
pub(super) use each_activation;

#[cfg(test)]
mod tests {
    use super::*;

    fn range() -> impl Iterator<Item = f32> {
        (-6000..6000).map(|i| i as f32 * 0.002 + 0.0007)
    }

    /// The error function by its Taylor series, in f64.
    fn erf_series(x: f64) -> f64 {
        let mut term = x;
        let mut sum = x;
        for n in 1..400 {
            term *= -x * x / f64::from(n);
            sum += term / f64::from(2 * n + 1);
        }
        sum * std::f64::consts::FRAC_2_SQRT_PI
    }

    #[test]
    fn exp_is_exact_to_rounding() {
        for x in range().map(|x| x * 7.0) {
            let (got, expected) = (f64::from(exp(x)), f64::from(x).exp());
            assert!((got - expected).abs() <= 3e-7 * expected, "exp({x}) = {got}, not {expected}");
        }
        assert_eq!(exp(-200.0), 0.0);
        assert_eq!(exp(f32::NEG_INFINITY), 0.0);
        assert!(exp(200.0).is_finite());
    }

    #[test]
    fn erf_is_exact_to_rounding() {
        for x in range().filter(|x| x.abs() < 4.5) {
            let (got, expected) = (f64::from(erf(x)), erf_series(f64::from(x)));
            assert!((got - expected).abs() < 4e-7, "erf({x}) = {got}, not {expected}");
        }
        assert!((erf(50.0) - 1.0).abs() < 1e-6);
    }

    #[test]
    fn slopes_are_derivatives() {
        let all = [Activation::Gelu, Activation::GeluTanh, Activation::Relu, Activation::Silu];
        for activation in all {
            for x in range() {
                let h = 1e-2;
                let f = |x| f64::from(activate(activation, x));
                let difference = (f(x + h) - f(x - h)) / f64::from((x + h) - (x - h));
                let near_kink = activation == Activation::Relu && x.abs() < h;
                let error = (difference - f64::from(slope(activation, x))).abs();
                assert!(near_kink || error < 2e-4, "{activation:?} at {x}: {error}");
            }
        }
    }

    #[test]
    fn lanes_miss_no_element() {
        let values: Vec<f32> = (0..37).map(|i| i as f32).collect();
        assert_eq!(sum_of(&values, |x| x), 666.0);
        assert_eq!(sum_of_pairs(&values, &values, |a, b| a - b + 1.0), 37.0);
        assert_eq!(greatest(&values), 36.0);
        assert_eq!(greatest(&values[..5]), 4.0);
    }
}
