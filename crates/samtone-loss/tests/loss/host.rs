//! Batches for the tests, and a loss by its definition.

use burn::backend::Autodiff;
use burn::tensor::backend::Backend;
use burn::tensor::{DType, Tensor};
use samtone_loss::{Batch, Embeddings, Loss, Temperature};
use samtone_testing::loss::{Found, Host};
use samtone_testing::{assert_near, tensor, values};

/// What two ways of computing one number may differ by, as a share of it. Some thousand roundings
/// of 1.1e-16, which sums of some dozen exponentials under a division collect.
const F64_ROUNDING: f64 = 1e-12;

/// The same in f32, whose rounding is 6e-8, for logits up to 50: the rounding of a logit is the
/// relative error of its exponential.
const F32_ROUNDING: f64 = 1e-5;

/// One rounding to bf16 is 2^-9 of a number at most, 2^-8 where an operand was rounded before.
pub(crate) const HALF_ROUNDING: f64 = 5e-3;

pub(crate) fn rounding(dtype: DType) -> f64 {
    match dtype {
        DType::F64 => F64_ROUNDING,
        DType::F32 => F32_ROUNDING,
        DType::BF16 => HALF_ROUNDING,
        other => unreachable!("no test computes in {other:?}"),
    }
}

/// How far an outcome may be from another.
#[derive(Clone, Copy)]
pub(crate) struct Tolerance {
    /// As a share of the size of each part.
    pub(crate) share: f64,
    /// The least size counted: gradients that cancel are as exact as the terms they are summed
    /// from, which are this large in the tests.
    pub(crate) floor: f64,
}

impl Tolerance {
    /// In f64.
    pub(crate) const F64: Self = Self { share: F64_ROUNDING, floor: 1e-3 };
    /// In f32 against f64. The tests' temperatures and terms are larger there.
    pub(crate) const F32: Self = Self { share: F32_ROUNDING, floor: 0.1 };
}

pub(crate) fn temperature(value: f64) -> Temperature {
    Temperature::new(value).unwrap()
}

/// A batch whose embeddings are leaves of the autodiff graph.
pub(crate) fn tracked<B: Backend>(at: &Host, dtype: DType) -> Batch<Autodiff<B>> {
    let mut batch = at.batch(dtype);
    batch.embeddings = batch.embeddings.map(Tensor::require_grad, Tensor::require_grad);
    batch
}

/// The definition, differentiated by Burn's autodiff.
pub(crate) fn by_definition<B: Backend>(
    loss: &Loss,
    at: &Host,
    temperature: Temperature,
    dtype: DType,
) -> Found {
    let batch = tracked::<B>(at, dtype);
    let log = tensor::<Autodiff<B>, 1>(&[temperature.log()], [1], dtype).require_grad();
    let value = loss.definition(&batch, log.clone()).unwrap();
    let gradients = value.loss.backward();
    let Embeddings { queries, documents, hard_negatives } = batch.embeddings;
    Found {
        loss: values(value.loss)[0],
        per_row: values(value.per_row),
        queries: queries.grad(&gradients).map(values).unwrap(),
        documents: documents.grad(&gradients).map(values).unwrap(),
        hard: hard_negatives.map_or(vec![], |hard| {
            hard.grad(&gradients).map_or_else(|| vec![0.0; at.hard.len()], values)
        }),
        log_temperature: log.grad(&gradients).map_or(0.0, |g| values(g)[0]),
    }
}

/// Asserts that two outcomes agree.
#[track_caller]
pub(crate) fn assert_close(how: &str, got: &Found, expected: &Found, tolerance: Tolerance) {
    for ((what, got), (_, expected)) in got.parts().into_iter().zip(expected.parts()) {
        assert_near(&format!("{how}, {what}"), got, expected, tolerance.share, tolerance.floor);
    }
}

/// A batch of random embeddings; documents lie near their queries.
pub(crate) fn random(rows: usize, dim: usize, negatives: usize, seed: u64) -> Host {
    let mut state = seed;
    // SplitMix64, to a number in [-1, 1).
    let mut next = move || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 52) as f64 - 1.0
    };
    let queries: Vec<f64> = (0..rows * dim).map(|_| next()).collect();
    let documents = queries.iter().map(|value| value + 0.7 * next()).collect();
    let hard = (0..rows * negatives * dim).map(|_| next()).collect();
    Host { rows, dim, negatives, queries, documents, hard, ..Host::default() }
}
