//! Updates against PyTorch and transformers, step by step on fixed gradients.

use burn::optim::{AdamWConfig, SimpleOptimizer};
use burn::tensor::DType;
use burn::tensor::backend::{AutodiffBackend, Backend};
use samtone_train::step::Adafactor;
use serde_json::Value;

use crate::{Tolerance, assert_near, conforms, supported, tensor, values};

conforms! {
    adamw_is_pytorch
    adafactor_is_transformers
}

const LEARNING_RATE: f64 = 0.05;

/// The wave that the fixture's parameters and gradients are made of.
fn wave(n: usize, phase: f64, scale: f64) -> Vec<f64> {
    let point = |i: f64| scale * (0.7 * i + phase + 0.01 * i * i).sin();
    (0..n).map(|i| point(i as f64)).collect()
}

fn compare<B: Backend, const D: usize, O: SimpleOptimizer<B>>(
    optimizer: &O,
    case: &str,
    parameter: usize,
    shape: [usize; D],
    dtype: DType,
) {
    let fixture = include_str!("../../../crates/samtone-train/tests/fixtures/optimizers.json");
    let fixture: Value = serde_json::from_str(fixture).unwrap();
    let n = shape.iter().product();
    let mut x = tensor::<B, D>(&wave(n, 0.3, 0.5), shape, dtype);
    let mut state = None;
    for (step, expected) in fixture["cases"][case].as_array().unwrap().iter().enumerate() {
        let number = (step + 1) as f64;
        let gradient = tensor(&wave(n, 1.1 * number, number), shape, dtype);
        (x, state) = optimizer.step(LEARNING_RATE, x, gradient, state);
        let expected = expected[parameter].as_array().unwrap();
        let expected: Vec<f64> = expected.iter().map(|x| x.as_f64().unwrap()).collect();
        let what = format!("{case}, step {number}, {shape:?}, {dtype:?}");
        assert_near(&what, &values(x.clone()), &expected, Tolerance::of(dtype).update, 0.0);
    }
}

fn compare_shapes<B: Backend, O: SimpleOptimizer<B>>(optimizer: &O, case: &str) {
    for dtype in supported::<B>(&[DType::F64, DType::F32]) {
        compare::<B, 1, O>(optimizer, case, 0, [7], dtype);
        compare::<B, 2, O>(optimizer, case, 1, [5, 3], dtype);
        compare::<B, 3, O>(optimizer, case, 2, [2, 4, 3], dtype);
    }
}

mod check {
    use super::*;

    pub(super) fn adamw_is_pytorch<B: AutodiffBackend>() {
        let adamw = AdamWConfig::new().with_epsilon(1e-8).with_weight_decay(0.1);
        compare_shapes::<B::InnerBackend, _>(&adamw.build(), "adamw");
    }

    pub(super) fn adafactor_is_transformers<B: AutodiffBackend>() {
        let scaled = Adafactor::default();
        let plain = Adafactor { scale_by_parameter: false, ..scaled };
        let decayed = Adafactor { weight_decay: 0.1, ..scaled };
        compare_shapes::<B::InnerBackend, _>(&scaled, "adafactor_scaled");
        compare_shapes::<B::InnerBackend, _>(&plain, "adafactor_plain");
        compare_shapes::<B::InnerBackend, _>(&decayed, "adafactor_scaled_decay");
    }
}
