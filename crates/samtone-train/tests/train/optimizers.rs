//! Adafactor and AdamW against transformers and PyTorch, step by step on fixed gradients.

use burn::backend::{Flex, NdArray};
use burn::optim::SimpleOptimizer;
use burn::tensor::DType;
use burn::tensor::backend::Backend;
use samtone_testing::{assert_close, updates};
use samtone_train::step::{Adafactor, AdamW};

/// Adafactor in f64: the arithmetic is the same, only its order differs.
const ADAFACTOR_TOLERANCE: f64 = 1e-12;
/// Burn keeps AdamW's β as f32, 1e-8 relative off 0.9 and 0.999; six steps amplify that.
const ADAMW_TOLERANCE: f64 = 1e-5;

fn check<B: Backend, O: SimpleOptimizer<B>>(optimizer: &O, case: &str, tolerance: f64) {
    updates::for_each::<B, O>(optimizer, case, DType::F64, |what, got, expected| {
        assert_close(&format!("{case}, {what}"), got, expected, tolerance);
    });
}

fn check_adafactor<B: Backend>() {
    let scaled = Adafactor::default();
    let plain = Adafactor { scale_by_parameter: false, ..scaled };
    let decayed = Adafactor { weight_decay: 0.1, ..scaled };
    check::<B, _>(&scaled, "adafactor_scaled", ADAFACTOR_TOLERANCE);
    check::<B, _>(&plain, "adafactor_plain", ADAFACTOR_TOLERANCE);
    check::<B, _>(&decayed, "adafactor_scaled_decay", ADAFACTOR_TOLERANCE);
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
    let adamw = AdamW { weight_decay: 0.1 };
    check::<Flex, _>(&adamw, "adamw", ADAMW_TOLERANCE);
    check::<NdArray, _>(&adamw, "adamw", ADAMW_TOLERANCE);
}
