//! Reordering what was found by a second model.

use std::path::PathBuf;

use burn::tensor::backend::Backend;
use samtone_model::ModelError;

use super::at_least_one;
use super::scorer::Scorer;

/// `--rerank` and how far down it reaches.
#[derive(Debug, clap::Args)]
pub(super) struct RerankArgs {
    /// Reorder the first documents found for each query by a second model: the folder of a
    /// cross-encoder, of a retriever, or of a run, or a name in the Hugging Face cache.
    #[arg(long, value_name = "MODEL", requires = "model")]
    pub(super) rerank: Option<PathBuf>,
    /// For `--rerank`: how many documents of each query are reordered; those found behind them stay
    /// there.
    #[arg(
        long,
        default_value_t = 100,
        value_name = "N",
        value_parser = at_least_one,
        requires = "rerank"
    )]
    rerank_top: usize,
}

impl RerankArgs {
    /// Opens the second model, if one is asked for.
    pub(super) fn open<B: Backend>(
        &self,
        device: &B::Device,
    ) -> anyhow::Result<Option<Reranker<B>>> {
        let open = |path: &PathBuf| {
            anyhow::Ok(Reranker { scorer: Scorer::open(path, device)?, top: self.rerank_top })
        };
        self.rerank.as_ref().map(open).transpose()
    }
}

/// A second model, and how many documents of each query it looks at.
pub(super) struct Reranker<B: Backend> {
    scorer: Scorer<B>,
    /// At least 1.
    pub(super) top: usize,
}

impl<B: Backend> Reranker<B> {
    /// Scores pairs of a query and a document, in their order.
    pub(super) fn score(&self, pairs: &[(&str, &str)]) -> Result<Vec<f32>, ModelError> {
        self.scorer.score(pairs)
    }
}

/// The places of `scores`, the highest first; of equal ones the earlier stays first.
pub(super) fn order(scores: &[f32]) -> Vec<usize> {
    let mut places: Vec<usize> = (0..scores.len()).collect();
    places.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]));
    places
}
