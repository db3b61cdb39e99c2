//! Which pairs a step trains on, and what is known about them.

use std::path::Path;

use samtone_data::random::Key;
use samtone_data::{BatchConfig, PairBatches, Positives};
use samtone_loss::Relations;

use crate::checkpoint::replace_file;
use crate::config::{ExperimentConfig, Sampler};
use crate::engine::Batch;
use crate::error::TrainError;
use crate::prepare::Prepared;

/// The batches of a run, each a pure function of its step.
pub(crate) struct Batches<'a> {
    prepared: &'a Prepared<'a>,
    order: PairBatches,
    positives: Positives,
}

impl<'a> Batches<'a> {
    pub(crate) fn new(prepared: &'a Prepared<'a>, config: &ExperimentConfig) -> Self {
        let train = &config.train;
        let rows = prepared.train_rows();
        let lengths = prepared.pairs.iter().map(|pair| rows.documents[pair.document].len());
        let how = BatchConfig {
            batch_size: train.batch_size,
            distinct: train.sampler == Sampler::NoDuplicates,
            keep_last: false,
            bucket: train.bucket,
        };
        let order = PairBatches::new(prepared.train, &prepared.pairs, Key::new(config.seed), how)
            .with_lengths(lengths.collect());
        let positives = prepared.train.positives(&[&config.data.train_split]);
        Self { prepared, order, positives }
    }

    #[expect(clippy::cast_sign_loss, reason = "the number is at least 1")]
    pub(crate) fn steps(&self, config: &ExperimentConfig) -> usize {
        let per_epoch = self.order.per_epoch();
        config.train.steps.unwrap_or_else(|| {
            let epochs = config.train.epochs.unwrap_or(1.0);
            ((epochs * per_epoch as f64).round().max(1.0)) as usize
        })
    }

    /// The pairs of `step`, as indices into the training pairs.
    pub(crate) fn rows(&self, step: usize) -> Vec<usize> {
        self.order.batch(step as u64)
    }

    pub(crate) fn batch(&self, rows: &[usize]) -> Batch<'a> {
        let tokens = self.prepared.train_rows();
        let train = self.prepared.train;
        let pairs = || rows.iter().map(|&row| &self.prepared.pairs[row]);
        let queries: Vec<usize> = pairs().map(|pair| train.query_keys()[pair.query]).collect();
        let documents: Vec<usize> =
            pairs().map(|pair| train.document_keys()[pair.document]).collect();
        let known = self.positives.known(&queries, &documents);
        let ids = |keys: Vec<usize>| Some(keys.into_iter().map(|key| key as u64).collect());
        Batch {
            queries: pairs().map(|pair| tokens.queries[pair.query].as_slice()).collect(),
            documents: pairs().map(|pair| tokens.documents[pair.document].as_slice()).collect(),
            hard_negatives: Vec::new(),
            relations: Relations {
                query_ids: ids(queries),
                document_ids: ids(documents),
                hard_negative_ids: None,
                known,
            },
        }
    }

    /// The error for a batch that gave no finite number, its ids saved beside the run.
    pub(crate) fn save_not_finite(
        &self,
        step: usize,
        what: String,
        rows: &[usize],
        folder: &Path,
    ) -> TrainError {
        let train = self.prepared.train;
        let ids: Vec<[&str; 2]> = rows
            .iter()
            .map(|&row| {
                let pair = &self.prepared.pairs[row];
                [&*train.queries()[pair.query].id, &*train.documents()[pair.document].id]
            })
            .collect();
        let batch = folder.join("non-finite-batch.json");
        let json = serde_json::to_vec_pretty(&ids).expect("ids are representable as JSON");
        match replace_file(&batch, &json) {
            Ok(()) => TrainError::NonFinite { step, what, batch },
            Err(error) => error,
        }
    }
}
