//! Batches on the host, what a loss makes of them, and the reference of the whole family.

use burn::tensor::backend::Backend;
use burn::tensor::{DType, TensorData};
use samtone_loss::{Batch, Loss, LossConfig, LossGradients, Relations, Temperature};
use serde::Deserialize;

use crate::{tensor, values};

/// Host embeddings of a batch and all that is known about its rows.
#[derive(Debug, Clone, Default)]
#[expect(missing_docs, reason = "its fields are those of a batch")]
pub struct Host {
    pub rows: usize,
    pub dim: usize,
    pub negatives: usize,
    pub queries: Vec<f64>,
    pub documents: Vec<f64>,
    pub hard: Vec<f64>,
    pub relations: Relations,
    pub weights: Option<Vec<f64>>,
}

impl Host {
    /// The batch on the default device of `B`.
    pub fn batch<B: Backend>(&self, dtype: DType) -> Batch<B> {
        let shape = [self.rows, self.dim];
        let [queries, documents] =
            [&self.queries, &self.documents].map(|x| tensor(x, shape, dtype));
        let mut batch = Batch::new(queries, documents).with_relations(self.relations.clone());
        if self.negatives > 0 {
            let shape = [self.rows, self.negatives, self.dim];
            batch = batch.with_hard_negatives(tensor(&self.hard, shape, dtype));
        }
        if let Some(weights) = &self.weights {
            batch = batch.with_weights(weights.clone());
        }
        batch
    }

    /// The batch with its numbers as `dtype` holds them.
    #[must_use]
    pub fn rounded(mut self, dtype: DType) -> Self {
        for numbers in [&mut self.queries, &mut self.documents, &mut self.hard] {
            let shape = [numbers.len()];
            let data = TensorData::new(std::mem::take(numbers), shape);
            *numbers = data.convert_dtype(dtype).iter::<f64>().collect();
        }
        self
    }
}

/// A loss and its gradients on the host.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "its fields are those of a loss's gradients")]
pub struct Found {
    pub loss: f64,
    pub per_row: Vec<f64>,
    pub queries: Vec<f64>,
    pub documents: Vec<f64>,
    pub hard: Vec<f64>,
    pub log_temperature: f64,
}

impl Found {
    /// Its parts by name, the gradients from the third on and that of ln τ last.
    pub fn parts(&self) -> [(&'static str, &[f64]); 6] {
        let Self { loss, per_row, queries, documents, hard, log_temperature } = self;
        [
            ("loss", std::slice::from_ref(loss)),
            ("rows", per_row),
            ("queries", queries),
            ("documents", documents),
            ("hard negatives", hard),
            ("ln τ", std::slice::from_ref(log_temperature)),
        ]
    }
}

/// The loss in its streaming form; its gradients have the embeddings' type.
#[track_caller]
pub fn by_streaming<B: Backend>(
    loss: &Loss,
    at: &Host,
    temperature: Temperature,
    dtype: DType,
) -> Found {
    let result = loss.value_and_gradients(&at.batch::<B>(dtype), temperature).unwrap();
    let LossGradients { loss, per_row, embeddings, log_temperature } = result;
    assert_eq!(embeddings.queries.dtype(), dtype, "gradients have the embeddings' type");
    Found {
        loss,
        per_row: values(per_row),
        queries: values(embeddings.queries),
        documents: values(embeddings.documents),
        hard: embeddings.hard_negatives.map_or(vec![], values),
        log_temperature,
    }
}

/// The loss of a configuration in TOML.
pub fn resolve(config: &str) -> Loss {
    toml::from_str::<LossConfig>(config).unwrap().resolve().unwrap()
}

/// `SamToNe` with a temperature that is learned.
pub fn learned() -> Loss {
    resolve("temperature = { learn = true, init = 0.1 }\npreset = \"samtone\"")
}

fn wave(a: f64) -> Vec<f64> {
    let entry = |i: f64, j: f64| (a + 1.7 * i + 0.9 * j + 0.31 * i * j).sin();
    (0..4).flat_map(|i| (0..5).map(move |j| entry(f64::from(i), f64::from(j)))).collect()
}

/// The reference's four pairs, `E(a)_ij = sin(a + 1.7i + 0.9j + 0.31ij)`, with `negatives` hard
/// negatives a row, 0 to 2.
pub fn pairs(negatives: usize) -> Host {
    let hard: Vec<Vec<f64>> = (0..negatives).map(|k| wave(2.0 + k as f64)).collect();
    let rows = 0..4;
    let hard = rows.flat_map(|row| hard.iter().flat_map(move |h| h[row * 5..][..5].to_vec()));
    Host {
        rows: 4,
        dim: 5,
        negatives,
        queries: wave(0.0),
        documents: wave(1.0),
        hard: hard.collect(),
        ..Host::default()
    }
}

/// What an independent implementation (`fixtures/reference.py`) finds for a configuration.
#[derive(Deserialize)]
pub struct Case {
    /// The configuration in words.
    pub name: String,
    /// The same in TOML.
    pub config: String,
    #[serde(default)]
    negatives: usize,
    query_ids: Option<Vec<u64>>,
    document_ids: Option<Vec<u64>>,
    hard_negative_ids: Option<Vec<Vec<u64>>>,
    #[serde(default)]
    known: Vec<(usize, usize)>,
    weights: Option<Vec<f64>>,
    /// Rows that are made equal to row 0.
    #[serde(default)]
    repeat: Vec<usize>,
    loss: f64,
    per_row: Vec<f64>,
    /// Of queries, documents and hard negatives, flattened.
    gradients: [Vec<f64>; 3],
    log_temperature: f64,
}

impl Case {
    /// Every preset with and without hard negatives, and every rule that hides or lifts candidates.
    pub fn all() -> Vec<Self> {
        let cases: Vec<Self> =
            serde_json::from_str(include_str!("../fixtures/reference.json")).unwrap();
        assert_eq!(cases.len(), 83);
        cases
    }

    /// The batch.
    pub fn host(&self) -> Host {
        let mut at = pairs(self.negatives);
        for &row in &self.repeat {
            at.queries.copy_within(0..5, row * 5);
            at.documents.copy_within(0..5, row * 5);
        }
        let relations = Relations {
            query_ids: self.query_ids.clone(),
            document_ids: self.document_ids.clone(),
            hard_negative_ids: self.hard_negative_ids.as_ref().map(|ids| ids.concat()),
            known: self.known.clone(),
        };
        Host { relations, weights: self.weights.clone(), ..at }
    }

    /// What is found, to twelve digits.
    pub fn outcome(&self) -> Found {
        let [queries, documents, hard] = self.gradients.clone();
        Found {
            loss: self.loss,
            per_row: self.per_row.clone(),
            queries,
            documents,
            hard,
            log_temperature: self.log_temperature,
        }
    }
}
