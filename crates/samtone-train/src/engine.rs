//! One training step: encode, loss, gradients, update.
//!
//! The loss returns its gradients with respect to the embeddings in closed form, and the engine
//! sends those back through the encoder. A batch of several chunks is encoded without a graph
//! first, then chunk by chunk with one (gradient caching, Gao et al. 2021, arXiv:2101.06983): the
//! loss sees the whole batch, activations exist for one chunk.

use burn::module::AutodiffModule;
use burn::optim::{GradientsAccumulator, GradientsParams};
use burn::tensor::Tensor;
use burn::tensor::backend::{AutodiffBackend, Backend};
use samtone_data::TokenBatch;
use samtone_data::random::Key;
use samtone_loss::{LossError, Relations, Temperature};
use samtone_model::{Dropout, DualEncoder, Side};

use crate::objective::{Embeddings, Objective};

/// The token rows of a batch and who is related to whom in it.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// `[batch]` queries, each its token ids.
    pub queries: Vec<Vec<u32>>,
    /// `[batch]` documents; row i belongs to query i.
    pub documents: Vec<Vec<u32>>,
    /// `[batch × k]` hard negatives, row by row; may be empty.
    pub hard_negatives: Vec<Vec<u32>>,
    /// Which rows share a query or a document.
    pub relations: Relations,
    /// `[batch × (1 + k)]` teacher's scores of each row's document and hard negatives, not a number
    /// where there is none; may be empty.
    pub teacher: Vec<f64>,
}

impl Batch {
    /// Real tokens of all texts.
    pub fn tokens(&self) -> usize {
        self.streams().iter().flat_map(|(_, _, rows)| rows.iter()).map(Vec::len).sum()
    }

    /// Tokens of the longest text.
    pub(crate) fn longest(&self) -> usize {
        let rows = self.streams().into_iter().flat_map(|(_, _, rows)| rows);
        rows.map(Vec::len).max().unwrap_or(0)
    }

    /// The first `rows` pairs with their hard negatives, about which nothing else is known.
    pub(crate) fn first_rows(&self, rows: usize) -> Self {
        let per_row = self.hard_negatives.len() / self.queries.len().max(1);
        Self {
            queries: self.queries[..rows].to_vec(),
            documents: self.documents[..rows].to_vec(),
            hard_negatives: self.hard_negatives[..rows * per_row].to_vec(),
            ..Self::default()
        }
    }

    /// The three kinds of text, each with its side and its name in the dropout's key.
    fn streams(&self) -> [(Side, &'static str, &[Vec<u32>]); 3] {
        [
            (Side::Query, "query", &self.queries),
            (Side::Document, "document", &self.documents),
            (Side::Document, "hard-negative", &self.hard_negatives),
        ]
    }
}

/// The loss of a batch and what it asks of the parameters.
pub struct BatchGradients {
    /// The objective's value, in nats.
    pub loss: f64,
    /// Gradient with respect to ln τ.
    pub log_temperature: f64,
    /// Gradients of the model's parameters.
    pub parameters: GradientsParams,
}

/// How a batch is turned into gradients.
#[derive(Clone, Debug)]
pub struct Engine {
    /// What is minimised.
    pub objective: Objective,
    /// Texts of one kind whose activations exist at once.
    pub chunk: usize,
    /// The token that padding is made of.
    pub pad_id: u32,
}

impl Engine {
    /// The gradients of `model` on `batch`; `dropout` keys this step's masks, none turns it off.
    ///
    /// # Errors
    /// A non-finite embedding or loss, named with its row.
    pub fn gradients<B: AutodiffBackend>(
        &self,
        model: &DualEncoder<B>,
        batch: &Batch,
        temperature: Temperature,
        dropout: Option<Key>,
    ) -> Result<BatchGradients, LossError> {
        let streams = batch.streams();
        if self.is_one_pass(batch) {
            // One chunk: one pass, its graph kept until the loss has spoken.
            let graphs = streams.map(|(side, name, rows)| {
                let dropout = dropout.map(|key| Dropout { key: key.child(name), first_row: 0 });
                (!rows.is_empty()).then(|| self.encode(model, side, rows, dropout))
            });
            let embeddings = graphs.clone().map(|graph| graph.map(Tensor::inner));
            let (loss, log_temperature, wanted) =
                self.loss_gradients::<B>(embeddings, batch, temperature)?;
            let surrogate = graphs
                .into_iter()
                .zip(wanted)
                .filter_map(|(graph, wanted)| Some(surrogate(graph?, wanted?)))
                .reduce(|sum, term| sum + term)
                .expect("a batch has queries");
            let parameters = GradientsParams::from_grads(surrogate.backward(), model);
            return Ok(BatchGradients { loss, log_temperature, parameters });
        }

        let plain = model.valid();
        let embeddings = streams.map(|(side, name, rows)| {
            let chunks: Vec<_> = self
                .chunks(rows, name, dropout)
                .map(|(_, rows, dropout)| self.encode(&plain, side, rows, dropout))
                .collect();
            (!chunks.is_empty()).then(|| Tensor::cat(chunks, 0))
        });
        let (loss, log_temperature, wanted) =
            self.loss_gradients::<B>(embeddings, batch, temperature)?;
        let mut sum = GradientsAccumulator::new();
        for ((side, name, rows), wanted) in streams.into_iter().zip(wanted) {
            let Some(wanted) = wanted else { continue };
            for (first, rows, dropout) in self.chunks(rows, name, dropout) {
                let graph = self.encode(model, side, rows, dropout);
                let wanted = wanted.clone().narrow(0, first, rows.len());
                let gradients = surrogate(graph, wanted).backward();
                sum.accumulate(model, GradientsParams::from_grads(gradients, model));
            }
        }
        Ok(BatchGradients { loss, log_temperature, parameters: sum.grads() })
    }

    /// Tokens that one pass of `model` over `batch` computes: with its padding, unless the model
    /// leaves padding out.
    pub fn computed_tokens<B: Backend>(&self, model: &DualEncoder<B>, batch: &Batch) -> usize {
        self.tokens_by_chunk(model, batch).sum()
    }

    /// The most tokens whose activations exist at once.
    pub(crate) fn longest_chunk<B: Backend>(&self, model: &DualEncoder<B>, batch: &Batch) -> usize {
        let chunks = self.tokens_by_chunk(model, batch);
        if self.is_one_pass(batch) { chunks.sum() } else { chunks.max().unwrap_or(0) }
    }

    /// The tokens that each chunk computes.
    fn tokens_by_chunk<'b, B: Backend>(
        &self,
        model: &DualEncoder<B>,
        batch: &'b Batch,
    ) -> impl Iterator<Item = usize> + 'b {
        let (size, skips_padding) = (self.chunk, model.skips_padding());
        let chunks = batch.streams().into_iter().flat_map(move |(_, _, rows)| rows.chunks(size));
        chunks.map(move |rows| {
            let lengths = rows.iter().map(Vec::len);
            if skips_padding { lengths.sum() } else { rows.len() * lengths.max().unwrap_or(0) }
        })
    }

    /// Whether `batch` goes through whole.
    fn is_one_pass(&self, batch: &Batch) -> bool {
        batch.streams().iter().all(|(_, _, rows)| rows.len() <= self.chunk)
    }

    /// The chunks of `rows`, each with its first row and its dropout.
    fn chunks<'r>(
        &self,
        rows: &'r [Vec<u32>],
        name: &str,
        dropout: Option<Key>,
    ) -> impl Iterator<Item = (usize, &'r [Vec<u32>], Option<Dropout>)> {
        let (size, key) = (self.chunk, dropout.map(|key| key.child(name)));
        rows.chunks(size).enumerate().map(move |(i, rows)| {
            let first_row = i * size;
            (first_row, rows, key.map(|key| Dropout { key, first_row }))
        })
    }

    fn encode<B: Backend>(
        &self,
        model: &DualEncoder<B>,
        side: Side,
        rows: &[Vec<u32>],
        dropout: Option<Dropout>,
    ) -> Tensor<B, 2> {
        model.encode(side, &TokenBatch::pad(rows, self.pad_id), dropout)
    }

    /// The loss of embeddings (queries, documents, hard negatives) and its gradients by them.
    #[expect(clippy::type_complexity, reason = "one caller, which takes it apart at once")]
    fn loss_gradients<B: AutodiffBackend>(
        &self,
        embeddings: [Option<Tensor<B::InnerBackend, 2>>; 3],
        batch: &Batch,
        temperature: Temperature,
    ) -> Result<(f64, f64, [Option<Tensor<B::InnerBackend, 2>>; 3]), LossError> {
        let [queries, documents, hard_negatives] = embeddings;
        let (queries, documents) = (queries.expect("checked"), documents.expect("checked"));
        let [rows, dim] = queries.dims();
        let hard_negatives = hard_negatives.map(|h| {
            let k = h.dims()[0] / rows;
            h.reshape([rows, k, dim])
        });
        let embeddings = Embeddings { queries, documents, hard_negatives };
        let out = self.objective.value_and_gradients::<B>(
            &embeddings,
            &batch.relations,
            &batch.teacher,
            temperature,
        )?;
        let Embeddings { queries, documents, hard_negatives } = out.embeddings;
        let hard_negatives = hard_negatives.map(|h| {
            let [rows, k, dim] = h.dims();
            h.reshape([rows * k, dim])
        });
        Ok((out.loss, out.log_temperature, [Some(queries), Some(documents), hard_negatives]))
    }
}

/// A number whose gradient with respect to `embeddings` is `wanted`.
fn surrogate<B: AutodiffBackend>(
    embeddings: Tensor<B, 2>,
    wanted: Tensor<B::InnerBackend, 2>,
) -> Tensor<B, 1> {
    (embeddings * Tensor::from_inner(wanted)).sum()
}
