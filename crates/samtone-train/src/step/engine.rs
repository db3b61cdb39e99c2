//! One training step: encode, loss, gradients, update.
//!
//! The loss returns its gradients with respect to the embeddings in closed form, and the engine
//! sends those back through the encoder. A batch of several chunks is encoded without a graph
//! first, then chunk by chunk with one (gradient caching, Gao et al. 2021, arXiv:2101.06983): the
//! loss sees the whole batch, activations exist for one chunk. Where layers are computed again on the
//! way back, activations exist for one layer of it, or some layers of a part.
//!
//! Several devices share a batch in the same way: each [`Shard`] encodes its rows, and all see the
//! embeddings of all.

use std::sync::{Mutex, MutexGuard, PoisonError};

use burn::module::{AutodiffModule, Module};
use burn::optim::{GradientsAccumulator, GradientsParams};
use burn::tensor::Tensor;
use burn::tensor::backend::{AutodiffBackend, Backend};
use samtone_loss::{Embeddings, LossError, Relations, Temperature};
use samtone_model::{Dropout, DualEncoder, LayerInputs, Precision, Side};
use samtone_text::{Key, TokenBatch};

use crate::share::job::JobError;
use crate::share::shards::{Shard, Workers};
use crate::step::gradients;
use crate::step::objective::Objective;
use crate::step::terms::ObjectiveGradients;

/// The token rows of one training step's batch and who is related to whom in it.
#[derive(Clone, Debug, Default)]
pub struct StepRows {
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

impl StepRows {
    /// Real tokens of all texts.
    pub fn tokens(&self) -> usize {
        self.streams().iter().flat_map(|stream| stream.rows).map(Vec::len).sum()
    }

    /// Tokens of the longest text.
    pub(crate) fn longest(&self) -> usize {
        let rows = self.streams().into_iter().flat_map(|stream| stream.rows);
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

    /// The three kinds of text.
    fn streams(&self) -> [Stream<'_>; 3] {
        let whole = |side, name, rows| Stream { side, name, rows, first: 0 };
        [
            whole(Side::Query, "query", &*self.queries),
            whole(Side::Document, "document", &*self.documents),
            whole(Side::Document, "hard-negative", &*self.hard_negatives),
        ]
    }

    /// What of each kind a shard of the batch encodes: whole pairs with their hard negatives.
    fn streams_of(&self, shard: Option<&Shard>) -> [Stream<'_>; 3] {
        let Some(shard) = shard else { return self.streams() };
        let pairs = shard.rows(self.queries.len());
        self.streams().map(|stream| {
            let per_pair = stream.rows.len() / self.queries.len().max(1);
            let (first, end) = (pairs.start * per_pair, pairs.end * per_pair);
            Stream { rows: &stream.rows[first..end], first, ..stream }
        })
    }
}

/// Texts of one kind.
#[derive(Clone, Copy)]
struct Stream<'b> {
    side: Side,
    /// Its name in the dropout's key.
    name: &'static str,
    rows: &'b [Vec<u32>],
    /// Where in the batch the rows begin.
    first: usize,
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

/// Why a batch gave no gradients.
#[derive(Debug, thiserror::Error)]
pub enum GradientsError {
    /// A non-finite embedding or loss, named with its row.
    #[error(transparent)]
    Loss(#[from] LossError),
    /// The exchange with the other ranks fails.
    #[error(transparent)]
    Job(#[from] JobError),
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
    /// What the layers compute with.
    pub precision: Precision,
    /// Whether layers are computed again on the way back, so that the activations of one exist at a
    /// time, or of some for a part of the texts.
    pub recomputes: bool,
}

impl Engine {
    /// Gradients in f32, `chunk` texts of one kind at once, whose activations are all kept.
    pub fn new(objective: impl Into<Objective>, chunk: usize, pad_id: u32) -> Self {
        let (objective, precision) = (objective.into(), Precision::F32);
        Self { objective, chunk, pad_id, precision, recomputes: false }
    }

    /// The gradients of `model` on `batch`; `dropout` keys this step's masks, none turns it off.
    ///
    /// # Errors
    /// A non-finite embedding or loss, named with its row.
    pub fn gradients<B: AutodiffBackend>(
        &self,
        model: &DualEncoder<B>,
        batch: &StepRows,
        temperature: Temperature,
        dropout: Option<Key>,
    ) -> Result<BatchGradients, GradientsError> {
        self.shard_gradients(model, batch, temperature, dropout, None)
    }

    /// [`gradients`](Self::gradients), the work shared: each device gets a copy of the model. The
    /// result lies on the model's own device, which is the first.
    ///
    /// # Errors
    /// As [`gradients`](Self::gradients), or that the exchange with other ranks fails.
    ///
    /// # Panics
    /// If the batch has fewer pairs than there are devices, or a device fails.
    pub fn shared_gradients<B: AutodiffBackend>(
        &self,
        workers: &Workers<'_, B>,
        model: &DualEncoder<B>,
        batch: &StepRows,
        temperature: Temperature,
        dropout: Option<Key>,
    ) -> Result<BatchGradients, GradientsError> {
        let &Workers { devices, job } = workers;
        if workers.count() < 2 {
            return self.gradients(model, batch, temperature, dropout);
        }
        assert!(workers.count() <= batch.queries.len(), "every device wants a pair");
        // Fused backends compute late: other threads want the weights as they are now.
        B::sync(&devices[0]).expect("the device computes");
        let mut shards = Shard::group(devices.len(), job.cloned());
        let own = shards.remove(0);
        std::thread::scope(|scope| {
            // Dropped if this panics: the others do not wait for it then.
            let own = own;
            for (device, shard) in devices[1..].iter().zip(shards) {
                let copy = model.clone().fork(device);
                scope.spawn(move || {
                    // What fails here fails in the first shard too, which tells of it.
                    let _ = self.shard_gradients(&copy, batch, temperature, dropout, Some(&shard));
                });
            }
            self.shard_gradients(model, batch, temperature, dropout, Some(&own))
        })
    }

    /// [`gradients`](Self::gradients), the work shared with the other shards of a group. Each calls
    /// this with a fork of the model; all get the same result. The batch has a pair for each.
    ///
    /// A fork, not a clone: the parameters of clones are leaves of one graph of Burn's autodiff, and
    /// threads that share a graph can wait for each other's locks for ever.
    ///
    /// # Errors
    /// As [`shared_gradients`](Self::shared_gradients), the same for all.
    ///
    /// # Panics
    /// If another shard of the group is dropped before.
    pub fn shard_gradients<B: AutodiffBackend>(
        &self,
        model: &DualEncoder<B>,
        batch: &StepRows,
        temperature: Temperature,
        dropout: Option<Key>,
        shard: Option<&Shard>,
    ) -> Result<BatchGradients, GradientsError> {
        let is_half = self.precision != Precision::F32;
        let layers = is_half.then(|| model.clone().compute_in(self.precision));
        let (master, model) = (model, layers.as_ref().unwrap_or(model));
        let is_one_pass = self.is_one_pass(&batch.streams_of(shard));
        let (mut gradients, scale) = match (is_one_pass, self.recomputes) {
            (true, false) => self.in_one_pass(model, batch, temperature, dropout, shard)?,
            (true, true) => self.by_layers(model, batch, temperature, dropout, shard)?,
            (false, _) => self.in_chunks(model, batch, temperature, dropout, shard)?,
        };
        if is_half {
            gradients::to_single(master, &mut gradients.parameters, scale.recip());
        }
        if let Some(shard) = shard {
            gradients.parameters = shard.sum::<B, _>(master, gradients.parameters)?;
        }
        Ok(gradients)
    }

    /// A shard's own gradients and their factor, by one pass: its graph is kept until the loss has
    /// spoken.
    fn in_one_pass<B: AutodiffBackend>(
        &self,
        model: &DualEncoder<B>,
        batch: &StepRows,
        temperature: Temperature,
        dropout: Option<Key>,
        shard: Option<&Shard>,
    ) -> Result<(BatchGradients, f64), GradientsError> {
        let graphs = embed(batch.streams_of(shard), |Stream { side, name, rows, first }| {
            let dropout = dropout.map(|key| Dropout { key: key.child(name), first_row: first });
            let _one = one_at_a_time();
            model.encode_with_graph(side, &TokenBatch::pad(rows, self.pad_id), dropout)
        });
        let own = graphs.clone().map(Tensor::inner, Tensor::inner);
        let (ObjectiveGradients { loss, log_temperature, embeddings: wanted }, scale) =
            self.loss_gradients::<B>(own, batch, temperature, shard)?;
        let wanted = own_rows(wanted, batch, shard);
        let _one = one_at_a_time();
        let gradients = surrogate_of_all(graphs, wanted, scale).backward();
        let parameters = GradientsParams::from_grads(gradients, model);
        Ok((BatchGradients { loss, log_temperature, parameters }, scale))
    }

    /// The same, without a graph: what the layers read is kept until the loss has spoken.
    fn by_layers<B: AutodiffBackend>(
        &self,
        model: &DualEncoder<B>,
        batch: &StepRows,
        temperature: Temperature,
        dropout: Option<Key>,
        shard: Option<&Shard>,
    ) -> Result<(BatchGradients, f64), GradientsError> {
        let mut passes = Vec::new();
        let own = embed(batch.streams_of(shard), |Stream { side, name, rows, first }| {
            let dropout = dropout.map(|key| Dropout { key: key.child(name), first_row: first });
            let (embeddings, some) = self.encode_by_layers(model, side, rows, dropout);
            passes.extend(some);
            embeddings
        });
        let (ObjectiveGradients { loss, log_temperature, embeddings: wanted }, scale) =
            self.loss_gradients::<B>(own, batch, temperature, shard)?;
        let wanted = own_rows(wanted, batch, shard).into_rows().into_iter().flatten();
        let wanted = Tensor::cat(wanted.collect(), 0);
        let mut sum = GradientsAccumulator::new();
        accumulate(model, passes, scaled(wanted, scale), &mut sum);
        Ok((BatchGradients { loss, log_temperature, parameters: sum.grads() }, scale))
    }

    /// The same, chunk by chunk, without a graph first.
    fn in_chunks<B: AutodiffBackend>(
        &self,
        model: &DualEncoder<B>,
        batch: &StepRows,
        temperature: Temperature,
        dropout: Option<Key>,
        shard: Option<&Shard>,
    ) -> Result<(BatchGradients, f64), GradientsError> {
        let streams = batch.streams_of(shard);
        let plain = model.valid();
        let own = embed(streams, |stream| {
            let chunks = self.chunks(stream, dropout).map(|(_, rows, dropout)| {
                plain.encode(stream.side, &TokenBatch::pad(rows, self.pad_id), dropout)
            });
            Tensor::cat(chunks.collect(), 0)
        });
        let (ObjectiveGradients { loss, log_temperature, embeddings: wanted }, scale) =
            self.loss_gradients::<B>(own, batch, temperature, shard)?;
        let mut sum = GradientsAccumulator::new();
        let mut add = |stream: Stream<'_>, wanted: Tensor<B::InnerBackend, 2>| {
            for (first, rows, dropout) in self.chunks(stream, dropout) {
                let wanted = wanted.clone().narrow(0, first, rows.len());
                if self.recomputes {
                    let (_, passes) = self.encode_by_layers(model, stream.side, rows, dropout);
                    accumulate(model, passes, scaled(wanted, scale), &mut sum);
                } else {
                    let rows = TokenBatch::pad(rows, self.pad_id);
                    let _one = one_at_a_time();
                    let graph = model.encode_with_graph(stream.side, &rows, dropout);
                    let gradients = surrogate(graph, wanted, scale).backward();
                    sum.accumulate(model, GradientsParams::from_grads(gradients, model));
                }
            }
        };
        for (stream, wanted) in streams.into_iter().zip(wanted.into_rows()) {
            if let Some(wanted) = wanted {
                add(stream, wanted);
            }
        }
        Ok((BatchGradients { loss, log_temperature, parameters: sum.grads() }, scale))
    }

    /// The embeddings of texts of one kind, and their passes, the texts of one after those of another.
    fn encode_by_layers<B: AutodiffBackend>(
        &self,
        model: &DualEncoder<B>,
        side: Side,
        rows: &[Vec<u32>],
        dropout: Option<Dropout>,
    ) -> (Tensor<B::InnerBackend, 2>, Vec<LayerInputs<B>>) {
        let longest = rows.iter().map(Vec::len).max().unwrap_or(0);
        let at_once = AtOnce::of(model, longest);
        let texts = at_once.tokens / longest.max(1);
        let passes = rows.chunks(texts).enumerate().map(|(i, rows)| {
            let dropout = dropout.map(|Dropout { key, first_row }| Dropout {
                key,
                first_row: first_row + i * texts,
            });
            let rows = TokenBatch::pad(rows, self.pad_id);
            model.encode_by_layers(side, rows, dropout, at_once.layers)
        });
        let (embeddings, passes) = passes.unzip::<_, _, Vec<_>, Vec<_>>();
        (Tensor::cat(embeddings, 0), passes)
    }

    /// The factor of gradients on their way through the layers. f16 holds nothing below 6e-8 and
    /// nothing above 65,504: the largest gradient of an embedding becomes about 1.
    fn gradient_scale<B: Backend>(&self, wanted: &Embeddings<B>) -> f64 {
        if self.precision != Precision::F16 {
            return 1.0;
        }
        let largest = wanted.clone().into_rows().into_iter().flatten().map(|x| x.abs().max());
        let largest = Tensor::cat(largest.collect(), 0).max().into_data();
        let largest = largest.iter::<f64>().next().expect("a maximum is a number");
        // A power of two, which rounds nothing.
        if largest > 0.0 { (-largest.log2().floor()).exp2() } else { 1.0 }
    }

    /// Tokens that one pass of `model` over `batch` computes: with its padding, unless the model
    /// leaves padding out.
    pub fn computed_tokens<B: Backend>(&self, model: &DualEncoder<B>, batch: &StepRows) -> usize {
        self.tokens_by_chunk(model, batch).sum()
    }

    /// The most tokens whose activations exist at once.
    pub(crate) fn longest_chunk<B: Backend>(
        &self,
        model: &DualEncoder<B>,
        batch: &StepRows,
    ) -> usize {
        let chunks = self.tokens_by_chunk(model, batch);
        if self.is_one_pass(&batch.streams()) { chunks.sum() } else { chunks.max().unwrap_or(0) }
    }

    /// The tokens that each chunk computes.
    fn tokens_by_chunk<'b, B: Backend>(
        &self,
        model: &DualEncoder<B>,
        batch: &'b StepRows,
    ) -> impl Iterator<Item = usize> + 'b {
        let (size, skips_padding) = (self.chunk, model.skips_padding());
        let chunks = batch.streams().into_iter().flat_map(move |stream| stream.rows.chunks(size));
        chunks.map(move |rows| {
            let lengths = rows.iter().map(Vec::len);
            if skips_padding { lengths.sum() } else { rows.len() * lengths.max().unwrap_or(0) }
        })
    }

    /// Whether all texts go through at once.
    fn is_one_pass(&self, streams: &[Stream<'_>]) -> bool {
        streams.iter().all(|stream| stream.rows.len() <= self.chunk)
    }

    /// The chunks of a stream, each with its first row in the batch and its dropout.
    fn chunks<'r>(
        &self,
        stream: Stream<'r>,
        dropout: Option<Key>,
    ) -> impl Iterator<Item = (usize, &'r [Vec<u32>], Option<Dropout>)> {
        let (size, key) = (self.chunk, dropout.map(|key| key.child(stream.name)));
        stream.rows.chunks(size).enumerate().map(move |(i, rows)| {
            let first_row = stream.first + i * size;
            (first_row, rows, key.map(|key| Dropout { key, first_row }))
        })
    }

    /// The loss of the embeddings of all shards and its gradients by them, from those of `shard`; and
    /// the factor of the gradients on their way through the layers.
    fn loss_gradients<B: AutodiffBackend>(
        &self,
        own: Embeddings<B::InnerBackend>,
        batch: &StepRows,
        temperature: Temperature,
        shard: Option<&Shard>,
    ) -> Result<(ObjectiveGradients<B::InnerBackend>, f64), GradientsError> {
        let all = match shard {
            Some(shard) => Embeddings {
                queries: shard.gather(own.queries)?,
                documents: shard.gather(own.documents)?,
                hard_negatives: own.hard_negatives.map(|own| shard.gather(own)).transpose()?,
            },
            None => own,
        };
        let StepRows { relations, teacher, .. } = batch;
        let gradients =
            self.objective.value_and_gradients::<B>(&all, relations, teacher, temperature)?;
        let scale = self.gradient_scale(&gradients.embeddings);
        Ok((gradients, scale))
    }
}

/// The embeddings of the three kinds of text, each kind's `[texts, dim]` by `encode`.
fn embed<B: Backend>(
    [queries, documents, hard_negatives]: [Stream<'_>; 3],
    mut encode: impl FnMut(Stream<'_>) -> Tensor<B, 2>,
) -> Embeddings<B> {
    let embeddings = Embeddings::new(encode(queries), encode(documents));
    if hard_negatives.rows.is_empty() {
        return embeddings;
    }
    let [rows, dim] = embeddings.queries.dims();
    let k = hard_negatives.rows.len() / rows;
    embeddings.with_hard_negatives(encode(hard_negatives).reshape([rows, k, dim]))
}

/// Those of the embeddings of all pairs of `batch` that are the shard's own.
fn own_rows<B: Backend>(
    embeddings: Embeddings<B>,
    batch: &StepRows,
    shard: Option<&Shard>,
) -> Embeddings<B> {
    let Some(shard) = shard else { return embeddings };
    let pairs = shard.rows(batch.queries.len());
    let (first, count) = (pairs.start, pairs.len());
    embeddings.map(|x| x.narrow(0, first, count), |x| x.narrow(0, first, count))
}

/// Whose activations exist at once where layers are computed again.
pub(crate) struct AtOnce {
    /// Tokens, of whole texts.
    pub(crate) tokens: usize,
    /// Layers.
    pub(crate) layers: usize,
}

impl AtOnce {
    /// For texts of at most `longest` tokens. Where operations are fused, as much as 2,048 tokens of a
    /// layer: the shorter the texts, the more layers, of which one's input is kept, up to the root of
    /// all, where what is kept and what is computed of it again balance. Elsewhere all tokens of a
    /// layer, for each operation is a launch.
    pub(crate) fn of<B: Backend>(model: &DualEncoder<B>, longest: usize) -> Self {
        if !model.skips_padding() {
            return Self { tokens: usize::MAX, layers: 1 };
        }
        let longest = longest.max(1);
        let most = model.config().encoder.layers().isqrt().max(1);
        let layers = (2048 / longest).clamp(1, most);
        Self { tokens: longest.max(2048 / layers), layers }
    }
}

/// Adds to `sum` the gradients that `wanted`, the rows of one pass after those of another, asks of
/// passes.
fn accumulate<B: AutodiffBackend>(
    model: &DualEncoder<B>,
    passes: Vec<LayerInputs<B>>,
    wanted: Tensor<B::InnerBackend, 2>,
    sum: &mut GradientsAccumulator<DualEncoder<B>>,
) {
    let mut first = 0;
    let passes = passes.into_iter().map(|pass| {
        let start = first;
        first += pass.texts();
        let wanted = wanted.clone().narrow(0, start, pass.texts());
        (pass, wanted)
    });
    let passes = passes.collect();
    let _one = one_at_a_time();
    model.accumulate_gradients(passes, sum);
}

/// Held while a graph is made or gone through, of which a process has one for each of its devices.
///
/// Where several did at once, a gradient was another now and then: it looks as if Burn's autodiff, which
/// looks after the graphs of all threads, disturbs them.
fn one_at_a_time() -> MutexGuard<'static, ()> {
    static GRAPHS: Mutex<()> = Mutex::new(());
    GRAPHS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The sum of the three [`surrogate`]s.
fn surrogate_of_all<B: AutodiffBackend>(
    embeddings: Embeddings<B>,
    wanted: Embeddings<B::InnerBackend>,
    scale: f64,
) -> Tensor<B, 1> {
    let kinds = embeddings.into_rows().into_iter().zip(wanted.into_rows());
    let parts =
        kinds.filter_map(|(embeddings, wanted)| Some(surrogate(embeddings?, wanted?, scale)));
    parts.reduce(|a, b| a + b).expect("there are queries")
}

/// A number whose gradient with respect to `embeddings` is `scale` times `wanted`.
fn surrogate<B: AutodiffBackend>(
    embeddings: Tensor<B, 2>,
    wanted: Tensor<B::InnerBackend, 2>,
    scale: f64,
) -> Tensor<B, 1> {
    (embeddings * Tensor::from_inner(scaled(wanted, scale))).sum()
}

fn scaled<B: Backend>(wanted: Tensor<B, 2>, scale: f64) -> Tensor<B, 2> {
    if scale == 1.0 { wanted } else { wanted * scale }
}
