//! Adafactor and AdamW against transformers and PyTorch, step by step on fixed gradients.

use burn::backend::{Autodiff, Flex, NdArray};
use burn::optim::{AdamWConfig, SimpleOptimizer};
use burn::tensor::backend::Backend;
use burn::tensor::{DType, Tensor, TensorData};
use samtone_train::step::Adafactor;
use serde_json::Value;

const LR: f64 = 0.05;
/// Adafactor in f64: the arithmetic is the same, only its order differs.
const ADAFACTOR_TOLERANCE: f64 = 1e-12;
/// Burn keeps AdamW's β as f32, 1e-8 relative off 0.9 and 0.999; six steps amplify that.
const ADAMW_TOLERANCE: f64 = 1e-5;

/// The wave that the generator's parameters and gradients are made of.
fn wave(n: usize, phase: f64) -> Vec<f64> {
    (0..n).map(|i| i as f64).map(|i| (0.7 * i + phase + 0.01 * i * i).sin()).collect()
}

#[track_caller]
fn check<B: Backend, const D: usize, O: SimpleOptimizer<B>>(
    optimizer: &O,
    case: &str,
    parameter: usize,
    shape: [usize; D],
    tolerance: f64,
) {
    let fixture: Value = serde_json::from_str(include_str!("../fixtures/optimizers.json")).unwrap();
    let device = B::Device::default();
    let tensor = |values: Vec<f64>| {
        Tensor::<B, D>::from_data(TensorData::new(values, shape), (&device, DType::F64))
    };
    let n: usize = shape.iter().product();
    let mut x = tensor(wave(n, 0.3).into_iter().map(|value| 0.5 * value).collect());
    let mut state = None;
    for (step, expected) in fixture["cases"][case].as_array().unwrap().iter().enumerate() {
        let gradient = wave(n, 1.1 * (step + 1) as f64)
            .into_iter()
            .map(|value| (1 + step) as f64 * value)
            .collect();
        (x, state) = optimizer.step(LR, x, tensor(gradient), state);
        let got = x.to_data().to_vec::<f64>().unwrap();
        for (i, got) in got.iter().enumerate() {
            let expected = expected[parameter][i].as_f64().unwrap();
            let difference = (got - expected).abs();
            assert!(difference <= tolerance, "{case}, step {step}, [{i}]: {got} for {expected}");
        }
    }
}

fn check_shapes<B: Backend, O: SimpleOptimizer<B>>(optimizer: &O, case: &str, tolerance: f64) {
    check::<B, 1, O>(optimizer, case, 0, [7], tolerance);
    check::<B, 2, O>(optimizer, case, 1, [5, 3], tolerance);
    check::<B, 3, O>(optimizer, case, 2, [2, 4, 3], tolerance);
}

fn check_adafactor<B: Backend>() {
    let scaled = Adafactor::default();
    let plain = Adafactor { scale_by_parameter: false, ..scaled };
    let decayed = Adafactor { weight_decay: 0.1, ..scaled };
    check_shapes::<B, _>(&scaled, "adafactor_scaled", ADAFACTOR_TOLERANCE);
    check_shapes::<B, _>(&plain, "adafactor_plain", ADAFACTOR_TOLERANCE);
    check_shapes::<B, _>(&decayed, "adafactor_scaled_decay", ADAFACTOR_TOLERANCE);
}

#[test]
fn adafactor_is_transformers_on_flex() {
    check_adafactor::<Flex>();
}

#[test]
fn adafactor_is_transformers_on_ndarray() {
    check_adafactor::<NdArray>();
}

#[test]
fn adamw_is_pytorch() {
    let adamw = AdamWConfig::new().with_epsilon(1e-8).with_weight_decay(0.1);
    check_shapes::<Flex, _>(&adamw.build(), "adamw", ADAMW_TOLERANCE);
}

#[test]
fn the_trainer_can_hold_adafactor() {
    type B = Autodiff<Flex>;
    let _ = Adafactor::default().init::<B, burn::nn::Linear<B>>();
}
