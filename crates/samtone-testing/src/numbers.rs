//! Numbers in and out of tensors, and how far they may differ.

use burn::tensor::backend::Backend;
use burn::tensor::{DType, Tensor, TensorData};

/// A tensor of `dtype` on the default device.
pub fn tensor<B: Backend, const D: usize>(
    numbers: &[f64],
    shape: [usize; D],
    dtype: DType,
) -> Tensor<B, D> {
    let data = TensorData::new(numbers.to_vec(), shape);
    Tensor::from_data(data, (&B::Device::default(), dtype))
}

/// The numbers of a tensor.
pub fn values<B: Backend, const D: usize>(x: Tensor<B, D>) -> Vec<f64> {
    x.into_data().iter::<f64>().collect()
}

/// A scalar that weighs every element differently, as the fixtures' generators do.
pub fn weighed_sum<B: Backend>(x: Tensor<B, 2>) -> Tensor<B, 1> {
    let [rows, width] = x.dims();
    let weights: Vec<f64> = (0..rows * width).map(|i| (1.7 * i as f64 + 0.3).sin()).collect();
    let weights = TensorData::new(weights, [rows, width]);
    let weights = Tensor::from_data(weights, (&x.device(), x.dtype()));
    (x * weights).sum()
}

/// Frobenius norm.
pub fn norm(values: &[f64]) -> f64 {
    values.iter().map(|value| value * value).sum::<f64>().sqrt()
}

/// The norm of the difference, and that of `expected` or `floor` where that is more.
fn difference(got: &[f64], expected: &[f64], floor: f64) -> (f64, f64) {
    assert_eq!(got.len(), expected.len());
    let difference: Vec<f64> = got.iter().zip(expected).map(|(a, b)| a - b).collect();
    (norm(&difference), norm(expected).max(floor))
}

/// How far `got` is off, as a share of the size of `expected`, or of `floor` where that is more.
#[track_caller]
pub fn error(got: &[f64], expected: &[f64], floor: f64) -> f64 {
    let (difference, size) = difference(got, expected, floor);
    difference / size
}

/// Asserts that `got` differs from `expected` by at most `tolerance` of its size, or of `floor`
/// where that is larger.
#[track_caller]
pub fn assert_near(what: &str, got: &[f64], expected: &[f64], tolerance: f64, floor: f64) {
    assert_eq!(got.len(), expected.len(), "{what}");
    let (difference, size) = difference(got, expected, floor);
    assert!(
        difference <= tolerance * size,
        "{what}: off by {:e} of its size, allowed {tolerance:e}",
        difference / size
    );
}

/// Asserts that no number differs by more than `tolerance`.
#[track_caller]
pub fn assert_close<T: Copy + Into<f64>>(what: &str, got: &[f64], expected: &[T], tolerance: f64) {
    assert_eq!(got.len(), expected.len(), "{what}");
    for (at, (&got, &expected)) in got.iter().zip(expected).enumerate() {
        let expected = expected.into();
        let difference = (got - expected).abs();
        assert!(
            difference <= tolerance,
            "{what} [{at}]: {got} for {expected}, off by {difference:e}, allowed {tolerance:e}"
        );
    }
}

/// As [`assert_close`], relative to the largest expected number. A gradient may be zero but for
/// rounding, which is then that of terms of a hundredth.
#[track_caller]
pub fn assert_close_to_scale(what: &str, got: &[f64], expected: &[f64], tolerance: f64) {
    let scale = expected.iter().map(|x| x.abs()).fold(1e-2, f64::max);
    assert_close(what, got, expected, tolerance * scale);
}
