//! The updates of reference optimizers, step by step on fixed gradients (`fixtures/optimizers.py`).

use burn::optim::SimpleOptimizer;
use burn::tensor::DType;
use burn::tensor::backend::Backend;
use serde_json::Value;

use crate::{tensor, values};

const LEARNING_RATE: f64 = 0.05;

/// The wave that the generator's parameters and gradients are made of.
fn wave(n: usize, phase: f64, scale: f64) -> Vec<f64> {
    let point = |i: f64| scale * (0.7 * i + phase + 0.01 * i * i).sin();
    (0..n).map(|i| point(i as f64)).collect()
}

/// Calls `check` for parameters of one, two and three axes with a name, the parameter after a step of
/// `optimizer`, and what `case` of the fixture says that it is.
pub fn for_each<B: Backend, O: SimpleOptimizer<B>>(
    optimizer: &O,
    case: &str,
    dtype: DType,
    check: impl Fn(&str, &[f64], &[f64]),
) {
    let fixture: Value = serde_json::from_str(include_str!("../fixtures/optimizers.json")).unwrap();
    let steps = fixture["cases"][case].as_array().unwrap();
    let expected = |parameter: usize| -> Vec<Vec<f64>> {
        let numbers = |step: &Value| serde_json::from_value(step[parameter].clone()).unwrap();
        steps.iter().map(numbers).collect()
    };
    of_shape::<B, 1, O>(optimizer, &expected(0), [7], dtype, &check);
    of_shape::<B, 2, O>(optimizer, &expected(1), [5, 3], dtype, &check);
    of_shape::<B, 3, O>(optimizer, &expected(2), [2, 4, 3], dtype, &check);
}

fn of_shape<B: Backend, const D: usize, O: SimpleOptimizer<B>>(
    optimizer: &O,
    expected: &[Vec<f64>],
    shape: [usize; D],
    dtype: DType,
    check: &impl Fn(&str, &[f64], &[f64]),
) {
    let n = shape.iter().product();
    let mut x = tensor::<B, D>(&wave(n, 0.3, 0.5), shape, dtype);
    let mut state = None;
    for (step, expected) in expected.iter().enumerate() {
        let number = (step + 1) as f64;
        let gradient = tensor(&wave(n, 1.1 * number, number), shape, dtype);
        (x, state) = optimizer.step(LEARNING_RATE, x, gradient, state);
        check(&format!("step {number}, {shape:?}"), &values(x.clone()), expected);
    }
}
