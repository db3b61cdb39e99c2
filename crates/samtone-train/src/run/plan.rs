//! How a run will fit into memory and how long a step will take: what `chunk = "auto"` and `samtone
//! plan` go by.
//!
//! Memory is counted from the tensors that a step holds at its three peaks; each count names them.
//! The lengths come from the run's own batches. Time is measured on the device, on a small batch.

use std::ops::Range;
use std::time::Instant;

use burn::module::AutodiffModule;
use burn::tensor::backend::{AutodiffBackend, Backend};
use burn::tensor::{Distribution, Tensor};
use samtone_loss::Loss;
use samtone_model::{DualEncoder, LayerFloats, Parameter, Part, Retriever, Side};
use samtone_text::{Key, TokenCache};
use serde::Serialize;
use tempfile::TempDir;

use crate::config::{Chunk, ExperimentConfig, Recompute, TrainConfig};
use crate::error::TrainError;
use crate::run::batches::Batches;
use crate::run::prepare::{Prepared, TestSet};
use crate::run::proc::memory_bytes;
use crate::run::session::Session;
use crate::step::engine::{AtOnce, Engine, StepRows};
use crate::step::objective::Objective;
use crate::step::optimizer::{ModelOptimizer, OptimizerName};

/// What to expect of a run's steps.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Plan {
    /// Pairs that the loss sees at once.
    pub batch_size: usize,
    /// Pairs whose activations exist at once; `batch_size` where every batch goes through whole.
    pub chunk: usize,
    /// Whether batches are encoded twice to save memory (gradient caching).
    pub is_cached: bool,
    /// Whether each layer is computed again on the way back.
    pub recomputes: bool,
    /// Parameters of the model, a shared one counted once.
    pub parameters: usize,
    /// Those of them that are trained: not what is frozen.
    pub trained: usize,
    /// Those of them that are adapters'.
    pub adapters: usize,
    /// Tokens that a step computes, padding included where it is computed: the mean over batches.
    pub tokens_per_step: f64,
    /// The most tokens whose activations exist at once.
    pub longest_chunk: usize,
    /// Most memory that the process will hold, in bytes.
    pub peak_bytes: u64,
    /// Memory that the run may take, in bytes.
    pub budget_bytes: u64,
    /// Memory kept for tiles of the score matrices, in bytes.
    pub score_bytes: u64,
    /// Seconds a step; none if nothing was measured.
    pub seconds_per_step: Option<f64>,
    /// Steps of the whole run.
    pub steps: usize,
    /// Times that the model is judged on the way.
    pub evaluations: usize,
    /// Seconds of all that judges the run's model: the start, on the way, at the end; none if nothing
    /// was measured. Those of a baseline come on top, and so do its steps.
    pub evaluation_seconds: Option<f64>,
}

impl Plan {
    /// Texts of one kind whose activations exist at once, hard negatives being a kind.
    pub(crate) fn texts(&self, hard_negatives: usize) -> usize {
        if self.is_cached { self.chunk } else { self.batch_size * hard_negatives.max(1) }
    }

    /// The engine of a run as planned.
    pub(crate) fn engine(&self, objective: Objective, pad_id: u32, train: &TrainConfig) -> Engine {
        Engine {
            precision: train.precision,
            recomputes: self.recomputes,
            ..Engine::new(objective, self.texts(train.negatives()), pad_id)
        }
    }

    /// What to say where it does not fit.
    pub(crate) fn warning(&self) -> String {
        let gib = |bytes: u64| bytes as f64 / GIB;
        format!(
            "the run may need {:.1} GiB, more than the {:.1} GiB of `train.memory_gib`: a smaller `train.chunk`, `train.recompute = \"layers\"` or shorter texts need less",
            gib(self.peak_bytes),
            gib(self.budget_bytes)
        )
    }

    /// Whether the expected peak fits the budget.
    pub fn fits(&self) -> bool {
        self.peak_bytes <= self.budget_bytes
    }
}

/// Chunks beyond this many pairs save no time: the products are large enough.
pub const LARGEST_CHUNK: usize = 128;

/// Batches, and pairs in them, whose lengths stand for all.
const SAMPLED: usize = 32;
const SAMPLED_PAIRS: usize = 16_384;

/// The chunk of `config` where it says one, else the largest that the budget holds: the whole batch
/// if it fits, since gradient caching encodes twice. Layers are computed again where it says so, or
/// where nothing fits that keeps their activations.
pub(crate) fn choose<B: Backend>(
    model: &DualEncoder<B>,
    batches: &Batches<'_>,
    loss: &Loss,
    config: &ExperimentConfig,
) -> Plan {
    let train = &config.train;
    let batch_size = train.batch_size;
    let per_row = train.negatives().max(1);
    let steps = batches.steps();
    let sampled = (SAMPLED_PAIRS / batch_size).clamp(1, SAMPLED).min(steps);
    let sample: Vec<StepRows> =
        (0..sampled).map(|i| batches.at(i * steps / sampled).texts).collect();
    let budget_bytes = train.memory_gib.map_or_else(default_budget, bytes);
    let objective = Objective::from(loss.clone());
    let plan = |(chunk, recomputes): (usize, bool)| {
        let is_cached = chunk < batch_size;
        let texts = if is_cached { chunk } else { batch_size * per_row };
        let engine = Engine::new(objective.clone(), texts, 0);
        let tokens: usize = sample.iter().map(|b| engine.computed_tokens(model, b)).sum();
        let longest = sample.iter().map(|b| engine.longest_chunk(model, b)).max().unwrap_or(0);
        let [activations, remaining] = activation_bytes(model, &sample, recomputes, longest);
        let memory = Memory {
            parameters: model.num_parameters() as u64,
            trained: model.num_trainable() as u64,
            moments: 4 * moments(model, train.optimizer) as u64,
            largest: largest_bytes(model),
            activations,
            remaining: if is_cached { activations } else { remaining },
            embeddings: embedding_bytes(model.config().dim(), batch_size, train.negatives()),
            scores: score_bytes(loss, batch_size, train.negatives()),
            sums: is_cached && !recomputes,
            holds: !is_cached,
        };
        Plan {
            batch_size,
            chunk,
            is_cached,
            recomputes,
            parameters: model.num_parameters(),
            trained: model.num_trainable(),
            adapters: adapters(model),
            tokens_per_step: tokens as f64 / sample.len() as f64,
            longest_chunk: longest,
            peak_bytes: memory.peak(),
            budget_bytes,
            score_bytes: memory.scores,
            seconds_per_step: None,
            steps,
            evaluations: steps.checked_div(train.eval_every).unwrap_or(0),
            evaluation_seconds: None,
        }
    };
    let chunks: Vec<usize> = match train.chunk {
        Chunk::Pairs(pairs) => vec![pairs.min(batch_size)],
        Chunk::Auto => {
            let cached = std::iter::successors(Some(LARGEST_CHUNK), |chunk| Some(chunk / 2));
            let cached = cached.take_while(|&chunk| chunk > 0).filter(|&chunk| chunk < batch_size);
            std::iter::once(batch_size).chain(cached).collect()
        }
    };
    let recompute: &[bool] = match train.recompute {
        Recompute::None => &[false],
        Recompute::Layers => &[true],
        Recompute::Auto => &[false, true],
    };
    let ways = recompute.iter().flat_map(|&again| chunks.iter().map(move |&chunk| (chunk, again)));
    let mut plans = ways.map(plan);
    let mut last = plans.next().expect("a chunk is a plan");
    while !last.fits()
        && let Some(smaller) = plans.next()
    {
        last = smaller;
    }
    last
}

const GIB: f64 = (1_u64 << 30) as f64;

#[expect(clippy::cast_sign_loss, reason = "checked with the configuration")]
fn bytes(gib: f64) -> u64 {
    (gib * GIB) as u64
}

/// Half of the machine's memory, 8 GiB where it is not known.
fn default_budget() -> u64 {
    memory_bytes().map_or(8 << 30, |bytes| bytes / 2)
}

/// Code, data sets of some ten thousand texts, tokenizers and thread stacks, in bytes.
const PROCESS: u64 = 40 << 20;

/// What a step holds, in bytes but for the parameters.
struct Memory {
    parameters: u64,
    trained: u64,
    /// Bytes of what the optimiser remembers.
    moments: u64,
    /// Bytes of the largest trained parameter.
    largest: u64,
    activations: u64,
    /// Bytes of them that are there when all gradients are.
    remaining: u64,
    embeddings: u64,
    scores: u64,
    /// Whether a graph's gradients are added to those of others.
    sums: bool,
    /// Whether activations wait for the loss.
    holds: bool,
}

impl Memory {
    /// The largest of these moments. It depends on nothing measured: the chunk decides the last
    /// digits of the result, so the same configuration must always choose the same.
    fn peak(&self) -> u64 {
        let Self { moments, .. } = *self;
        let (weights, word) = (4 * self.parameters, 4 * self.trained);
        // Backward: moments, gradients, and with chunks those summed before.
        let gradients = word * if self.sums { 2 } else { 1 };
        let graph = self.activations.max(gradients + self.remaining);
        let backward = moments + graph + self.embeddings;
        // The loss: the tiles, beside the activations of a batch that goes through whole.
        let held = if self.holds { self.activations } else { 0 };
        let loss = moments + held + self.embeddings + self.scores;
        // A checkpoint: moments, and one tensor on its way to the file.
        let checkpoint = moments + 2 * self.largest;
        // A checkpoint that is gone on from: moments, and their bytes. The start: the weights, and what
        // was read of them.
        let (restored, start) = (2 * moments, weights);
        let beside = [backward, loss, checkpoint, restored, start].into_iter().fold(0, u64::max);
        PROCESS + weights + beside
    }
}

/// Bytes of the largest parameter that is trained.
fn largest_bytes<B: Backend>(model: &DualEncoder<B>) -> u64 {
    let trained = model.parameters().iter().filter(|parameter| parameter.is_trainable);
    4 * trained.map(Parameter::num_elements).max().unwrap_or(0) as u64
}

/// Numbers that `optimizer` remembers of what is trained: two for each, or a matrix's rows and columns.
fn moments<B: Backend>(model: &DualEncoder<B>, optimizer: OptimizerName) -> usize {
    let trained = model.parameters().iter().filter(|parameter| parameter.is_trainable);
    let of_shape = |shape: &[usize]| {
        let all: usize = shape.iter().product();
        match (optimizer, shape) {
            (OptimizerName::AdamW, _) => 2 * all,
            (_, [.., rows, columns]) => all / rows + all / columns,
            _ => all,
        }
    };
    trained.map(|parameter| of_shape(&parameter.shape)).sum()
}

/// Numbers in all adapters.
fn adapters<B: Backend>(model: &DualEncoder<B>) -> usize {
    let adapters = model.parameters().iter().filter(|parameter| parameter.is_adapter);
    adapters.map(Parameter::num_elements).sum()
}

/// Bytes that the activations of `tokens` take before the pass back, and those of them that the lowest
/// layer's gradients are made of.
fn activation_bytes<B: Backend>(
    model: &DualEncoder<B>,
    sample: &[StepRows],
    recomputes: bool,
    tokens: usize,
) -> [u64; 2] {
    let config = &model.config().encoder;
    let layer = config.layer_floats();
    let embedder = 4 * config.hidden();
    let layers = trained_layers(model);
    let longest = sample.iter().map(StepRows::longest).max().unwrap_or(0);
    let (of_layers, embedder): (Vec<usize>, usize) = if model.skips_padding() {
        (layers.map(|number| layer_floats(model, &layer, number)).collect(), embedder)
    } else {
        // Plain operations keep every step of norms as well, and all inputs; beside all layers there
        // are the scores of some queries, and what their softmax and its way back make of them.
        let one = layer.kept + layer.inputs;
        let [queries, keys] = [LayerFloats::QUERIES, LayerFloats::KEYS].map(|of| longest.min(of));
        let scores = 6 * layer.heads * queries * keys / longest.max(1);
        (vec![5 * one / 2; layers.len()], 3 * embedder + scores)
    };
    let floats = if recomputes {
        // What every so many layers read, and as many of some tokens whole.
        let at_once = AtOnce::of(model, longest);
        let read = tokens * config.layers().div_ceil(at_once.layers) * config.hidden();
        let layers = of_layers.chunks(at_once.layers).map(|layers| layers.iter().sum::<usize>());
        let whole = tokens.min(at_once.tokens) * (layers.max().unwrap_or(0) + embedder);
        [read + whole, whole]
    } else {
        [tokens * (of_layers.iter().sum::<usize>() + embedder); 2]
    };
    floats.map(|floats| 4 * floats as u64)
}

/// The layers that the backward pass goes through: from the lowest one with something trained below or
/// in it.
fn trained_layers<B: Backend>(model: &DualEncoder<B>) -> Range<usize> {
    let layers = model.config().encoder.layers();
    let lowest = model.parameters().iter().filter(|p| p.is_trainable).map(|p| match p.part {
        Part::Embedder => 0,
        Part::Layer(layer) => layer.min(layers),
        Part::FinalNorm | Part::Head | Part::Projection => layers,
    });
    lowest.min().unwrap_or(layers)..layers
}

/// Floats that one token keeps in the layer of a number.
fn layer_floats<B: Backend>(model: &DualEncoder<B>, layer: &LayerFloats, number: usize) -> usize {
    let own = model.parameters().iter().filter(|p| p.part == Part::Layer(number));
    let trained: Vec<&Parameter> = own.filter(|p| p.is_trainable && p.shape.len() == 2).collect();
    if trained.iter().any(|p| !p.is_adapter) {
        return layer.kept + layer.inputs;
    }
    // What several A of one tower read is counted for each.
    let of_tower = trained.iter().filter(|p| p.side != Some(Side::Document));
    let downs = of_tower.filter(|p| p.name.ends_with("lora_A.weight"));
    // Under dropout each A reads a state of its own, and keeps what of it was dropped.
    let has_dropout = model.config().adapter.as_ref().is_some_and(|a| a.dropout > 0.0);
    let states = if has_dropout { 2 } else { 1 };
    let of_down = |p: &&Parameter| p.shape[0] + states * p.shape[1];
    layer.kept + downs.map(of_down).sum::<usize>()
}

/// Embeddings, their gradients, and both once more inside the loss.
fn embedding_bytes(dim: usize, batch_size: usize, hard_negatives: usize) -> u64 {
    (4 * 4 * dim * batch_size * (2 + hard_negatives)) as u64
}

/// Score tiles kept for the backward pass.
#[expect(clippy::cast_sign_loss, reason = "a number of operations")]
fn score_bytes(loss: &Loss, batch_size: usize, hard_negatives: usize) -> u64 {
    let scores = loss.product_flops(batch_size, hard_negatives, 1) / 6.0;
    ((4.0 * scores) as u64).min(loss.score_memory() as u64)
}

/// The plan of `config` on this machine, its time measured on `device`. Nothing is trained or kept.
///
/// # Errors
/// What would keep the run from starting.
pub fn plan<B: AutodiffBackend>(
    config: &ExperimentConfig,
    device: &B::Device,
) -> Result<Plan, TrainError> {
    let session = Session::<B>::open(config.resolve()?, None, device, &mut |_| {})?;
    let (config, retriever) = (&session.config, &session.retriever);
    let own = temporary_folder()?;
    let prepared = session.tokenise(config.data.token_cache.as_deref().unwrap_or(own.path()))?;
    let batches = Batches::new(&prepared, config)?;
    let loss = config.loss.resolve()?;
    let mut plan = choose(&retriever.model, &batches, &loss, config);
    let Timed { step, token } = time(retriever, &batches, loss, config, &plan, device)?;
    plan.seconds_per_step = Some(step);
    let (once, on_the_way) = judged_tokens(&prepared, config);
    let tokens = once + plan.evaluations * on_the_way;
    // A pass without a graph is a third of a pass forward and back, which is one more where layers are
    // computed again.
    let passes = if plan.recomputes { 4.0 } else { 3.0 };
    plan.evaluation_seconds = Some(token / passes * tokens as f64);
    Ok(plan)
}

/// Tokens that are embedded to judge the model at its start and end, and in an evaluation on the way.
fn judged_tokens(prepared: &Prepared, config: &ExperimentConfig) -> (usize, usize) {
    let lengths =
        |cache: &TokenCache| (0..cache.len()).map(|row| cache.row_len(row)).sum::<usize>();
    let queries = |set: &TestSet| {
        let rows = prepared.rows(set);
        let judged = set.dataset.queries_of(&set.split);
        judged.into_iter().map(|query| rows.queries.row_len(query)).sum::<usize>()
    };
    let (mut once, mut sources) = (0, Vec::new());
    let own = prepared.dev.iter().chain(&prepared.test);
    for (set, times) in own
        .map(|set| (set, 1 + usize::from(config.eval.start.unwrap_or(false))))
        .chain(prepared.zero_shot.iter().map(|set| (set, 1)))
    {
        // The documents of one data set are embedded once for all its splits.
        let documents =
            if sources.contains(&set.source) { 0 } else { lengths(&prepared.rows(set).documents) };
        sources.push(set.source);
        once += times * (queries(set) + documents);
    }
    let on_the_way = prepared.dev.as_ref().map_or(0, |dev| {
        let documents = &prepared.rows(dev).documents;
        let (all, most) = (documents.len().max(1), config.eval.dev_documents);
        let looked_in = if most == 0 { all } else { most.min(all) };
        queries(dev) + lengths(documents) / all * looked_in
    });
    (once, on_the_way)
}

/// A folder for what only this call needs; it is gone when it is dropped.
pub(crate) fn temporary_folder() -> Result<TempDir, TrainError> {
    tempfile::tempdir().map_err(|source| TrainError::Write { path: std::env::temp_dir(), source })
}

/// Tokens of the small batch that encoding is timed on, about.
const TIMED_TOKENS: usize = 2000;

/// What was timed, in seconds.
struct Timed {
    step: f64,
    /// A token's pass forward and back.
    token: f64,
}

/// A step: encoding scaled up from a small batch, the loss on embeddings of the whole batch, and an
/// update.
fn time<B: AutodiffBackend>(
    retriever: &Retriever<B>,
    batches: &Batches<'_>,
    loss: Loss,
    config: &ExperimentConfig,
    plan: &Plan,
    device: &B::Device,
) -> Result<Timed, TrainError> {
    let model = &retriever.model;
    let whole = batches.at(0).texts;
    let rows = (TIMED_TOKENS * whole.queries.len() / whole.tokens()).clamp(1, whole.queries.len());
    let small = whole.first_rows(rows);
    let objective = Objective::from(loss.clone());
    let temperature = loss.temperature();
    let chunk = small.hard_negatives.len().max(rows);
    let pad_id = retriever.tokenizer(Side::Query).pad_id();
    let (precision, recomputes) = (config.train.precision, plan.recomputes);
    let engine = Engine { objective, chunk, pad_id, precision, recomputes };
    let encode = || engine.gradients(model, &small, temperature, Some(Key::new(0)));
    let gradients = encode()?.parameters; // warms up
    let started = Instant::now();
    encode()?;
    let token = started.elapsed().as_secs_f64() / engine.computed_tokens(model, &small) as f64;

    let mut optimizer = ModelOptimizer::<B>::new(&config.train, model.parameters());
    let started = Instant::now();
    let updated = optimizer.step(0.0, model.clone(), gradients);
    // Reading an embedding waits for the device.
    let one = small.first_rows(1);
    let row = samtone_text::TokenBatch::pad(&one.queries, pad_id);
    let _ = updated.valid().encode(Side::Query, &row, None).into_data();
    let update = started.elapsed().as_secs_f64();

    let random = |rows: usize| {
        let shape = [rows, model.config().dim()];
        Tensor::<B::InnerBackend, 2>::random(shape, Distribution::Normal(0.0, 1.0), device)
    };
    let (n, k) = (plan.batch_size, config.train.negatives());
    let mut batch = samtone_loss::Batch::new(random(n), random(n));
    if k > 0 {
        batch = batch.with_hard_negatives(random(n * k).reshape([n, k, model.config().dim()]));
    }
    let started = Instant::now();
    loss.value_and_gradients(&batch, temperature)?;
    let loss = started.elapsed().as_secs_f64();
    // The pass without a graph is a third of a pass forward and back, a fourth where that has two.
    let passes = match (plan.is_cached, plan.recomputes) {
        (false, _) => 1.0,
        (true, false) => 4.0 / 3.0,
        (true, true) => 5.0 / 4.0,
    };
    Ok(Timed { step: passes * token * plan.tokens_per_step + loss + update, token })
}
