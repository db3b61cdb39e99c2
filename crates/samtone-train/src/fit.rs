//! The loop over steps: from wherever the run folder's newest checkpoint stands to the last step.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use burn::module::{AutodiffModule, Module};
use burn::record::{BinBytesRecorder, FullPrecisionSettings, Recorder, RecorderError};
use burn::tensor::backend::AutodiffBackend;
use samtone_data::random::Key;
use samtone_data::{BatchConfig, PairBatches, Positives};
use samtone_loss::Relations;
use samtone_model::{DeadParameter, DualEncoder, GradientFault, Retriever, Side};
use serde::{Deserialize, Serialize};

use crate::checkpoint::{Checkpoint, Checkpoints, replace_file};
use crate::config::{ExperimentConfig, Sampler};
use crate::engine::{Batch, Engine};
use crate::error::TrainError;
use crate::gradients;
use crate::judge::judge;
use crate::optimizer::DualEncoderOptimizer;
use crate::prepare::Prepared;
use crate::schedule::Schedule;
use crate::summary::Metrics;
use crate::temperature::TemperatureState;

/// What happens in a run, for whoever shows it.
#[derive(Clone, Debug)]
pub enum Event<'a> {
    /// A part of the run begins.
    Phase(&'a str),
    /// Training begins, or goes on after `done` of `steps`.
    Training {
        /// Name of the loss.
        loss: &'a str,
        /// Steps done before.
        done: usize,
        /// Steps of the whole run.
        steps: usize,
    },
    /// A step is done.
    Step(&'a StepRecord),
    /// The dev set was judged.
    Dev(&'a Metrics),
    /// Something that does not stop the run but deserves a look.
    Warning(String),
    /// Training is over.
    Trained,
}

/// A line of `metrics.jsonl`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct StepRecord {
    /// Steps done, this one included.
    pub step: usize,
    /// Mean loss of the batch, in nats.
    pub loss: f64,
    /// The learning rate of the step.
    pub lr: f64,
    /// The temperature of the step.
    pub temperature: f64,
    /// Global norm of the gradient before clipping.
    pub gradient_norm: f64,
    /// Pairs trained on in a second, since the run began or was resumed.
    pub pairs_per_second: f64,
    /// Dev metrics after this step, where they were taken.
    #[serde(default, skip_serializing_if = "Metrics::is_empty")]
    pub dev: Metrics,
}

/// What one process did of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Work {
    /// Seconds spent in training steps.
    pub(crate) seconds: f64,
    /// Pairs trained on.
    pub(crate) pairs: usize,
    /// Real tokens of their texts.
    pub(crate) tokens: usize,
    /// Tokens computed, padding included.
    pub(crate) computed_tokens: usize,
}

/// A trained retriever.
pub(crate) struct Fitted<B: AutodiffBackend> {
    pub(crate) retriever: Retriever<B>,
    pub(crate) state: State,
    pub(crate) work: Work,
}

/// What a checkpoint holds beside the model and the optimiser.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct State {
    /// Steps done.
    pub(crate) step: usize,
    pub(crate) temperature: TemperatureState,
    /// Sum and count of the losses of the last tenth of the steps.
    tail: (f64, usize),
}

impl State {
    /// Mean loss over the last tenth of the steps, in nats.
    pub(crate) fn tail_loss(&self) -> f64 {
        self.tail.0 / self.tail.1.max(1) as f64
    }
}

const MODEL: &str = "model.bin";
const OPTIMIZER: &str = "optimizer.bin";
const STATE: &str = "state.json";

/// The files of one training inside a run folder, and what may interrupt it.
pub(crate) struct Place<'a> {
    pub(crate) folder: &'a Path,
    pub(crate) stop: &'a AtomicBool,
}

impl Place<'_> {
    fn checkpoints(&self) -> Checkpoints {
        Checkpoints::new(self.folder.join("checkpoints"))
    }

    fn metrics(&self) -> PathBuf {
        self.folder.join("metrics.jsonl")
    }
}

/// Trains `retriever` as `config` says, or continues from the newest checkpoint in `place`.
pub(crate) fn fit<B: AutodiffBackend>(
    mut retriever: Retriever<B>,
    prepared: &Prepared<'_>,
    config: &ExperimentConfig,
    place: &Place<'_>,
    device: &B::Device,
    observe: &mut dyn FnMut(Event<'_>),
) -> Result<Fitted<B>, TrainError> {
    let train = &config.train;
    let engine = Engine {
        loss: config.loss.resolve()?,
        chunk: train.chunk.pairs(train.batch_size),
        pad_id: retriever.tokenizer(Side::Query).pad_id(),
    };
    let batches = Batches::new(prepared, config);
    let steps = batches.steps(config);
    let schedule = Schedule { peak: train.lr, warmup: train.warmup, steps, decay: train.schedule };
    let mut model = retriever.model.clone();
    let mut optimizer = DualEncoderOptimizer::<B>::new(train, model.parameters());
    let mut state =
        State { step: 0, temperature: TemperatureState::new(&engine.loss), tail: (0.0, 0) };

    let checkpoints = place.checkpoints();
    let (newest, torn) = checkpoints.newest();
    for path in torn {
        observe(Event::Warning(format!("`{}` is torn and passed over", path.display())));
    }
    if let Some(checkpoint) = newest {
        (model, optimizer, state) = restore(&checkpoint, model, optimizer, device)?;
    }
    let mut log = Log::open(&place.metrics(), state.step)?;
    observe(Event::Training { loss: &config.loss_name(), done: state.step, steps });

    let dropout = Key::new(config.seed).child("dropout");
    let mut work = Work::default();
    while state.step < steps {
        if place.stop.load(Ordering::Relaxed) {
            write(&checkpoints, &model, &optimizer, &state, train.keep)?;
            return Err(TrainError::Interrupted { step: state.step, folder: place.folder.into() });
        }
        let started = Instant::now();
        let step = state.step;
        let rows = batches.rows(step);
        let batch = batches.batch(&rows);
        let temperature = state.temperature.value;
        let not_finite = |what: String| batches.save_not_finite(step, what, &rows, place.folder);
        let out = engine
            .gradients(&model, &batch, temperature, Some(dropout.at(step as u64)))
            .map_err(|error| not_finite(error.to_string()))?;
        let norms = gradients::norms(&model, &out.parameters);
        let norm = gradients::global_norm(&norms);
        if step == 0 {
            for DeadParameter { path, fault } in model.dead_parameters(&out.parameters) {
                let fault = match fault {
                    GradientFault::Missing => "missing",
                    GradientFault::Zero => "zero",
                    GradientFault::NonFinite => "not finite",
                };
                observe(Event::Warning(format!(
                    "parameter `{path}` learns nothing: its gradient is {fault}"
                )));
            }
        }
        if !norm.is_finite() {
            return Err(not_finite("the gradient is not finite".into()));
        }
        let mut gradients = out.parameters;
        if train.clip > 0.0 && norm > train.clip {
            gradients::scale(&model, &mut gradients, train.clip / norm);
        }
        let lr = schedule.learning_rate(step);
        model = optimizer.step(lr, model, gradients);
        let temperature_rate = train.temperature_lr.map_or(1.0, |rate| rate / train.lr);
        state.temperature.step(&engine.loss, out.log_temperature, lr * temperature_rate)?;
        state.step += 1;
        if state.step > steps - steps.div_ceil(10) {
            state.tail = (state.tail.0 + out.loss, state.tail.1 + 1);
        }
        work.seconds += started.elapsed().as_secs_f64();
        work.pairs += batch.queries.len();
        work.tokens += batch.tokens();
        work.computed_tokens += engine.computed_tokens(&batch);

        let mut record = StepRecord {
            step: state.step,
            loss: out.loss,
            lr,
            temperature: temperature.value(),
            gradient_norm: norm,
            pairs_per_second: work.pairs as f64 / work.seconds,
            dev: Metrics::new(),
        };
        if is_due(state.step, train.eval_every, steps)
            && let Some(dev) = &prepared.dev
        {
            let rows = prepared.rows(dev);
            let retriever = retriever.with_model(model.valid());
            record.dev = judge(&retriever, dev, rows, &config.eval)?;
            observe(Event::Dev(&record.dev));
        }
        let last = state.step == steps;
        if state.step == 1
            || last
            || state.step.is_multiple_of(train.log_every)
            || !record.dev.is_empty()
        {
            log.write(&record)?;
        }
        observe(Event::Step(&record));
        if is_due(state.step, train.checkpoint_every, steps) {
            write(&checkpoints, &model, &optimizer, &state, train.keep)?;
        }
    }
    if checkpoints.newest().0.is_none_or(|newest| newest.step < steps) {
        write(&checkpoints, &model, &optimizer, &state, train.keep)?;
    }
    observe(Event::Trained);
    retriever.model = model;
    retriever.temperature = Some(state.temperature.value.value());
    Ok(Fitted { retriever, state, work })
}

/// Whether something that happens every `every` steps (0: never) happens after `step` of `steps`;
/// the end of the run has its own.
fn is_due(step: usize, every: usize, steps: usize) -> bool {
    every > 0 && step.is_multiple_of(every) && step < steps
}

/// The batches of a run, each a pure function of its step.
struct Batches<'a> {
    prepared: &'a Prepared<'a>,
    batches: PairBatches,
    positives: Positives,
}

impl<'a> Batches<'a> {
    fn new(prepared: &'a Prepared<'a>, config: &ExperimentConfig) -> Self {
        let train = &config.train;
        let rows = prepared.train_rows();
        let lengths = prepared.pairs.iter().map(|pair| rows.documents[pair.document].len());
        let how = BatchConfig {
            batch_size: train.batch_size,
            distinct: train.sampler == Sampler::NoDuplicates,
            keep_last: false,
            bucket: train.bucket,
        };
        let batches = PairBatches::new(prepared.train, &prepared.pairs, Key::new(config.seed), how)
            .with_lengths(lengths.collect());
        let positives = prepared.train.positives(&[&config.data.train_split]);
        Self { prepared, batches, positives }
    }

    fn steps(&self, config: &ExperimentConfig) -> usize {
        let per_epoch = self.batches.per_epoch();
        config.train.steps.unwrap_or_else(|| {
            let epochs = config.train.epochs.unwrap_or(1.0);
            ((epochs * per_epoch as f64).round() as usize).max(1)
        })
    }

    /// The pairs of `step`, as indices into the training pairs.
    fn rows(&self, step: usize) -> Vec<usize> {
        self.batches.batch(step as u64)
    }

    fn batch(&self, rows: &[usize]) -> Batch<'a> {
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
    fn save_not_finite(
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

/// `metrics.jsonl`, open for appending.
struct Log {
    path: PathBuf,
    file: fs::File,
}

impl Log {
    /// Opens the log and drops what was written after `step`: those steps will run again.
    fn open(path: &Path, step: usize) -> Result<Self, TrainError> {
        let failed = |source| TrainError::Write { path: path.into(), source };
        let old =
            if step > 0 { fs::read_to_string(path).unwrap_or_default() } else { String::new() };
        let kept: String = old
            .lines()
            .filter(|line| {
                serde_json::from_str::<StepRecord>(line).is_ok_and(|record| record.step <= step)
            })
            .flat_map(|line| [line, "\n"])
            .collect();
        replace_file(path, kept.as_bytes())?;
        let file = fs::OpenOptions::new().append(true).open(path).map_err(failed)?;
        Ok(Self { path: path.into(), file })
    }

    fn write(&mut self, record: &StepRecord) -> Result<(), TrainError> {
        let mut line = serde_json::to_vec(record).expect("a record is representable as JSON");
        line.push(b'\n');
        self.file
            .write_all(&line)
            .map_err(|source| TrainError::Write { path: self.path.clone(), source })
    }
}

fn write<B: AutodiffBackend>(
    checkpoints: &Checkpoints,
    model: &DualEncoder<B>,
    optimizer: &DualEncoderOptimizer<B>,
    state: &State,
    keep: usize,
) -> Result<(), TrainError> {
    let record = model.clone().into_record();
    let model = Recorder::<B>::record(&recorder(), record, ()).map_err(TrainError::Checkpoint)?;
    let optimizer = optimizer.to_bytes().map_err(TrainError::Checkpoint)?;
    let json = serde_json::to_vec_pretty(state).expect("the state is representable as JSON");
    checkpoints.write(
        state.step,
        &[(MODEL, model), (OPTIMIZER, optimizer), (STATE, json)],
        keep,
    )?;
    Ok(())
}

fn restore<B: AutodiffBackend>(
    checkpoint: &Checkpoint,
    model: DualEncoder<B>,
    optimizer: DualEncoderOptimizer<B>,
    device: &B::Device,
) -> Result<(DualEncoder<B>, DualEncoderOptimizer<B>, State), TrainError> {
    let record = Recorder::<B>::load(&recorder(), checkpoint.read(MODEL)?, device)
        .map_err(TrainError::Checkpoint)?;
    let optimizer = optimizer
        .with_bytes(checkpoint.read(OPTIMIZER)?, device)
        .map_err(TrainError::Checkpoint)?;
    let state = serde_json::from_slice(&checkpoint.read(STATE)?).map_err(|error| {
        TrainError::Checkpoint(RecorderError::DeserializeError(error.to_string()))
    })?;
    Ok((model.load_record(record), optimizer, state))
}

fn recorder() -> BinBytesRecorder<FullPrecisionSettings, Vec<u8>> {
    BinBytesRecorder::default()
}
