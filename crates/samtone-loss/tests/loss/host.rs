//! Batches for the tests, and a way to see a loss from both of its implementations.

use burn::backend::Autodiff;
use burn::tensor::backend::Backend;
use burn::tensor::{DType, Tensor, TensorData};
use samtone_loss::{Batch, Embeddings, Loss, LossGradients, Relations, Temperature};

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

/// Host embeddings of a batch and all that is known about its rows.
#[derive(Debug, Clone, Default)]
pub(crate) struct Host {
    pub(crate) rows: usize,
    pub(crate) dim: usize,
    pub(crate) negatives: usize,
    pub(crate) queries: Vec<f64>,
    pub(crate) documents: Vec<f64>,
    pub(crate) hard: Vec<f64>,
    pub(crate) relations: Relations,
    pub(crate) weights: Option<Vec<f64>>,
}

impl Host {
    pub(crate) fn batch<B: Backend>(&self, dtype: DType) -> Batch<B> {
        let device = B::Device::default();
        let matrix = |values: &[f64]| {
            let data = TensorData::new(values.to_vec(), [self.rows, self.dim]);
            Tensor::<B, 2>::from_data(data, (&device, dtype))
        };
        let mut batch = Batch::new(matrix(&self.queries), matrix(&self.documents))
            .with_relations(self.relations.clone());
        if self.negatives > 0 {
            let data = TensorData::new(self.hard.clone(), [self.rows, self.negatives, self.dim]);
            batch = batch.with_hard_negatives(Tensor::from_data(data, (&device, dtype)));
        }
        if let Some(weights) = &self.weights {
            batch = batch.with_weights(weights.clone());
        }
        batch
    }
}

/// A loss and its gradients on the host.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Outcome {
    pub(crate) loss: f64,
    pub(crate) per_row: Vec<f64>,
    pub(crate) queries: Vec<f64>,
    pub(crate) documents: Vec<f64>,
    pub(crate) hard: Vec<f64>,
    pub(crate) log_temperature: f64,
}

pub(crate) fn host<B: Backend, const D: usize>(tensor: Tensor<B, D>) -> Vec<f64> {
    tensor.into_data().iter::<f64>().collect()
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
) -> Outcome {
    let device = B::Device::default();
    let batch = tracked::<B>(at, dtype);
    let log = TensorData::new(vec![temperature.log()], [1]);
    let log = Tensor::<Autodiff<B>, 1>::from_data(log, (&device, dtype)).require_grad();
    let value = loss.definition(&batch, log.clone()).unwrap();
    let gradients = value.loss.backward();
    let Embeddings { queries, documents, hard_negatives } = batch.embeddings;
    Outcome {
        loss: host(value.loss)[0],
        per_row: host(value.per_row),
        queries: queries.grad(&gradients).map(host).unwrap(),
        documents: documents.grad(&gradients).map(host).unwrap(),
        hard: hard_negatives.map_or(vec![], |hard| {
            hard.grad(&gradients).map_or_else(|| vec![0.0; at.hard.len()], host)
        }),
        log_temperature: log.grad(&gradients).map_or(0.0, |g| host(g)[0]),
    }
}

/// The streaming form.
pub(crate) fn by_streaming<B: Backend>(
    loss: &Loss,
    at: &Host,
    temperature: Temperature,
    dtype: DType,
) -> Outcome {
    let result = loss.value_and_gradients(&at.batch::<B>(dtype), temperature).unwrap();
    let LossGradients { loss, per_row, embeddings, log_temperature } = result;
    Outcome {
        loss,
        per_row: host(per_row),
        queries: host(embeddings.queries),
        documents: host(embeddings.documents),
        hard: embeddings.hard_negatives.map_or(vec![], host),
        log_temperature,
    }
}

/// Frobenius norm.
pub(crate) fn norm(values: &[f64]) -> f64 {
    values.iter().map(|value| value * value).sum::<f64>().sqrt()
}

/// `|a - b|` over `|b|`, or over `floor` where that is more.
pub(crate) fn error(a: &[f64], b: &[f64], floor: f64) -> f64 {
    assert_eq!(a.len(), b.len());
    let difference: Vec<f64> = a.iter().zip(b).map(|(a, b)| a - b).collect();
    norm(&difference) / norm(b).max(floor)
}

/// Asserts that two outcomes agree.
#[track_caller]
pub(crate) fn assert_close(how: &str, got: &Outcome, expected: &Outcome, tolerance: Tolerance) {
    let parts = [
        ("loss", &vec![got.loss], &vec![expected.loss]),
        ("per_row", &got.per_row, &expected.per_row),
        ("queries", &got.queries, &expected.queries),
        ("documents", &got.documents, &expected.documents),
        ("hard negatives", &got.hard, &expected.hard),
        ("log temperature", &vec![got.log_temperature], &vec![expected.log_temperature]),
    ];
    for (what, got, expected) in parts {
        let error = error(got, expected, tolerance.floor);
        let passes = error <= tolerance.share;
        assert!(passes, "{how}, {what}: {error:e}\n{got:?}\n{expected:?}");
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

impl Host {
    /// The same batch with every embedding rounded to f32.
    pub(crate) fn in_single_precision(mut self) -> Self {
        for values in [&mut self.queries, &mut self.documents, &mut self.hard] {
            for value in values.iter_mut() {
                *value = f64::from(*value as f32);
            }
        }
        self
    }
}
