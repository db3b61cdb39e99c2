//! Batches for the tests, and a way to see a loss from both of its implementations.

#![expect(clippy::unwrap_used, reason = "a test's helpers fail as the test does")]
#![allow(dead_code, reason = "each test binary uses a part")]

use burn::backend::Autodiff;
use burn::tensor::backend::Backend;
use burn::tensor::{DType, Tensor, TensorData};
use samtone_loss::{Batch, Loss, Relations, Temperature};

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

fn host<B: Backend, const D: usize>(tensor: Tensor<B, D>) -> Vec<f64> {
    tensor.into_data().iter::<f64>().collect()
}

/// The definition, differentiated by Burn's autodiff.
pub(crate) fn by_definition<B: Backend>(
    loss: &Loss,
    at: &Host,
    temperature: Temperature,
    dtype: DType,
) -> Outcome {
    let device = B::Device::default();
    let mut batch = at.batch::<Autodiff<B>>(dtype);
    batch.queries = batch.queries.require_grad();
    batch.documents = batch.documents.require_grad();
    batch.hard_negatives = batch.hard_negatives.map(Tensor::require_grad);
    let log = TensorData::new(vec![temperature.log()], [1]);
    let log = Tensor::<Autodiff<B>, 1>::from_data(log, (&device, dtype)).require_grad();
    let value = loss.definition(&batch, log.clone()).unwrap();
    let gradients = value.loss.backward();
    let zeros = |len: usize| vec![0.0; len];
    Outcome {
        loss: host(value.loss)[0],
        per_row: host(value.per_row),
        queries: batch.queries.grad(&gradients).map(host).unwrap(),
        documents: batch.documents.grad(&gradients).map(host).unwrap(),
        hard: batch.hard_negatives.map_or(vec![], |hard| {
            hard.grad(&gradients).map_or_else(|| zeros(at.hard.len()), host)
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
    Outcome {
        loss: result.loss,
        per_row: host(result.per_row),
        queries: host(result.queries),
        documents: host(result.documents),
        hard: result.hard_negatives.map_or(vec![], host),
        log_temperature: result.log_temperature,
    }
}

/// Frobenius norm.
pub(crate) fn norm(values: &[f64]) -> f64 {
    values.iter().map(|value| value * value).sum::<f64>().sqrt()
}

/// Asserts that two outcomes agree, each part relative to its own size, or to `floor` where that
/// is smaller.
#[track_caller]
pub(crate) fn assert_close(got: &Outcome, expected: &Outcome, tolerance: f64, floor: f64) {
    let parts = [
        ("loss", vec![got.loss], vec![expected.loss]),
        ("per_row", got.per_row.clone(), expected.per_row.clone()),
        ("queries", got.queries.clone(), expected.queries.clone()),
        ("documents", got.documents.clone(), expected.documents.clone()),
        ("hard negatives", got.hard.clone(), expected.hard.clone()),
        ("log temperature", vec![got.log_temperature], vec![expected.log_temperature]),
    ];
    for (what, got, expected) in parts {
        assert_eq!(got.len(), expected.len(), "{what}");
        let difference: Vec<f64> = got.iter().zip(&expected).map(|(a, b)| a - b).collect();
        let error = norm(&difference) / norm(&expected).max(floor);
        assert!(error <= tolerance, "{what}: relative error {error:e}\n{got:?}\n{expected:?}");
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
