//! The model's side of the queue.

use std::panic::{AssertUnwindSafe, catch_unwind};

use burn::tensor::backend::Backend;
use samtone_model::{ModelError, Retriever, Side};

use super::metrics::Metrics;
use super::queue::{Queue, Share};
use crate::output::say;

/// What makes token rows of texts: all that the web knows of a model.
pub(crate) trait Reader: Send + Sync {
    /// The token rows of texts of `side`, prompted and cut.
    fn tokenize(&self, side: Side, texts: &[String]) -> Result<Vec<Vec<u32>>, ModelError>;

    /// Whether `text` loses its end.
    fn is_cut(&self, side: Side, text: &str) -> Result<bool, ModelError>;
}

impl<B: Backend> Reader for Retriever<B> {
    fn tokenize(&self, side: Side, texts: &[String]) -> Result<Vec<Vec<u32>>, ModelError> {
        self.tokenize(side, texts)
    }

    fn is_cut(&self, side: Side, text: &str) -> Result<bool, ModelError> {
        let (prompted, most) = (format!("{}{text}", self.prompt(side)), self.max_tokens(side));
        let row = self.tokenizer(side).encode(&prompted, most + 1);
        Ok(row.map_err(|source| ModelError::Tokenizer { source })?.len() > most)
    }
}

/// What makes token rows of a side to their embeddings, `[rows, dim]`.
pub(crate) type Encode<'a> = dyn Fn(Side, &[Vec<u32>]) -> Vec<f32> + 'a;

/// Embeds what waits in `queue`, `tokens` at once, until it is closed and empty. Of what `encode` panics
/// at there is no answer, and the work goes on.
pub(crate) fn work(queue: &Queue, metrics: &Metrics, tokens: usize, encode: &Encode<'_>) {
    while let Some(shares) = queue.take(tokens) {
        let (queries, documents): (Vec<Share>, Vec<Share>) =
            shares.into_iter().partition(|share| share.job.side == Side::Query);
        for (side, mut shares) in [(Side::Query, queries), (Side::Document, documents)] {
            let rows: Vec<Vec<u32>> = shares.iter_mut().flat_map(Share::take_rows).collect();
            if rows.is_empty() {
                continue;
            }
            metrics.batch(rows.len(), rows.iter().map(Vec::len).sum());
            match catch_unwind(AssertUnwindSafe(|| encode(side, &rows))) {
                Ok(embeddings) => queue.done(shares, &embeddings, embeddings.len() / rows.len()),
                Err(_) => say("error: the model failed at a batch; its requests have no answer"),
            }
        }
    }
}
