//! Updates against PyTorch and transformers, step by step on fixed gradients.

use burn::optim::SimpleOptimizer;
use burn::tensor::DType;
use burn::tensor::backend::{AutodiffBackend, Backend};
use samtone_testing::{assert_near, updates};
use samtone_train::step::{Adafactor, AdamW};

use crate::{Tolerance, conforms, supported};

conforms! {
    adamw_is_pytorch
    adafactor_is_transformers
}

fn compare<B: Backend, O: SimpleOptimizer<B>>(optimizer: &O, case: &str) {
    for dtype in supported::<B>(&[DType::F64, DType::F32]) {
        updates::for_each::<B, O>(optimizer, case, dtype, |what, got, expected| {
            let what = format!("{case}, {what}, {dtype:?}");
            assert_near(&what, got, expected, Tolerance::of(dtype).update, 0.0);
        });
    }
}

mod check {
    use super::*;

    pub(super) fn adamw_is_pytorch<B: AutodiffBackend>() {
        compare::<B::InnerBackend, _>(&AdamW { weight_decay: 0.1 }, "adamw");
    }

    pub(super) fn adafactor_is_transformers<B: AutodiffBackend>() {
        let scaled = Adafactor::default();
        let plain = Adafactor { scale_by_parameter: false, ..scaled };
        let decayed = Adafactor { weight_decay: 0.1, ..scaled };
        compare::<B::InnerBackend, _>(&scaled, "adafactor_scaled");
        compare::<B::InnerBackend, _>(&plain, "adafactor_plain");
        compare::<B::InnerBackend, _>(&decayed, "adafactor_scaled_decay");
    }
}
