//! The loop over steps: from wherever the run folder's newest checkpoint stands to the last step.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use burn::module::{AutodiffModule, Module};
use burn::record::{BinBytesRecorder, FullPrecisionSettings, Recorder, RecorderError};
use burn::tensor::backend::AutodiffBackend;
use samtone_data::random::Key;
use samtone_model::{DeadParameter, DualEncoder, GradientFault, Retriever, Side};
use serde::{Deserialize, Serialize};

use crate::batches::Batches;
use crate::checkpoint::{Checkpoint, Checkpoints};
use crate::config::{ExperimentConfig, TrainConfig};
use crate::engine::{Batch, Engine};
use crate::error::TrainError;
use crate::gradients;
use crate::judge::{judge, means};
use crate::optimizer::DualEncoderOptimizer;
use crate::prepare::Prepared;
use crate::record::{Event, Log, StepRecord};
use crate::schedule::Schedule;
use crate::temperature::TemperatureState;

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
    let batches = Batches::new(prepared, config);
    let steps = batches.steps(config);
    let mut trainer = Trainer::new(&retriever, config, steps)?;
    let (newest, torn) = place.checkpoints().newest();
    for path in torn {
        observe(Event::Warning(format!("`{}` is torn and passed over", path.display())));
    }
    if let Some(checkpoint) = &newest {
        trainer = trainer.restore(checkpoint, device)?;
    }
    let mut log = Log::open(&place.metrics(), trainer.state.step)?;
    observe(Event::Training { loss: &config.loss_name(), done: trainer.state.step, steps });

    let mut work = Work::default();
    while trainer.state.step < steps {
        if place.stop.load(Ordering::Relaxed) {
            trainer.write(place)?;
            let step = trainer.state.step;
            return Err(TrainError::Interrupted { step, folder: place.folder.into() });
        }
        let started = Instant::now();
        let rows = batches.rows(trainer.state.step);
        let batch = batches.batch(&rows);
        let mut record = trainer.step(&batch, observe).map_err(|error| match error {
            StepError::NotFinite(what) => {
                batches.save_not_finite(trainer.state.step, what, &rows, place.folder)
            }
            StepError::Other(error) => error,
        })?;
        work.seconds += started.elapsed().as_secs_f64();
        work.pairs += batch.queries.len();
        work.tokens += batch.tokens();
        work.computed_tokens += trainer.engine.computed_tokens(&batch);
        record.pairs_per_second = work.pairs as f64 / work.seconds;

        let step = record.step;
        if is_due(step, train.eval_every, steps)
            && let Some(dev) = &prepared.dev
        {
            let judged = retriever.with_model(trainer.model.valid());
            record.dev = means(&judge(&judged, dev, prepared.rows(dev), &config.eval)?);
            observe(Event::Dev(&record.dev));
        }
        let is_end = step == 1 || step == steps;
        if is_end || step.is_multiple_of(train.log_every) || !record.dev.is_empty() {
            log.write(&record)?;
        }
        observe(Event::Step(&record));
        if is_due(step, train.checkpoint_every, steps) {
            trainer.write(place)?;
        }
    }
    if newest.is_none_or(|newest| newest.step < steps) {
        trainer.write(place)?;
    }
    observe(Event::Trained);
    retriever.model = trainer.model;
    retriever.temperature = Some(trainer.state.temperature.value.value());
    Ok(Fitted { retriever, state: trainer.state, work })
}

/// Whether something that happens every `every` steps (0: never) happens after `step` of `steps`;
/// the end of the run has its own.
fn is_due(step: usize, every: usize, steps: usize) -> bool {
    every > 0 && step.is_multiple_of(every) && step < steps
}

/// What changes from step to step, and what decides how.
struct Trainer<'a, B: AutodiffBackend> {
    config: &'a TrainConfig,
    engine: Engine,
    schedule: Schedule,
    dropout: Key,
    model: DualEncoder<B>,
    optimizer: DualEncoderOptimizer<B>,
    state: State,
}

/// Why a step failed.
enum StepError {
    /// Something was no finite number.
    NotFinite(String),
    Other(TrainError),
}

impl<'a, B: AutodiffBackend> Trainer<'a, B> {
    fn new(
        retriever: &Retriever<B>,
        config: &'a ExperimentConfig,
        steps: usize,
    ) -> Result<Self, TrainError> {
        let train = &config.train;
        let engine = Engine {
            loss: config.loss.resolve()?,
            chunk: train.chunk.pairs(train.batch_size),
            pad_id: retriever.tokenizer(Side::Query).pad_id(),
        };
        let temperature = TemperatureState::new(&engine.loss);
        let model = retriever.model.clone();
        Ok(Self {
            config: train,
            engine,
            schedule: Schedule {
                peak: train.lr,
                warmup: train.warmup,
                steps,
                decay: train.schedule,
            },
            dropout: Key::new(config.seed).child("dropout"),
            optimizer: DualEncoderOptimizer::new(train, model.parameters()),
            model,
            state: State { step: 0, temperature, tail: (0.0, 0) },
        })
    }

    /// One step on `batch`.
    fn step(
        &mut self,
        batch: &Batch<'_>,
        observe: &mut dyn FnMut(Event<'_>),
    ) -> Result<StepRecord, StepError> {
        let step = self.state.step;
        let temperature = self.state.temperature.value;
        let dropout = self.dropout.at(step as u64);
        let out = self
            .engine
            .gradients(&self.model, batch, temperature, Some(dropout))
            .map_err(|error| StepError::NotFinite(error.to_string()))?;
        let mut gradients = out.parameters;
        let norm = gradients::global_norm(&gradients::norms(&self.model, &gradients));
        if step == 0 {
            for dead in self.model.dead_parameters(&gradients) {
                observe(Event::Warning(dead_parameter(&dead)));
            }
        }
        if !norm.is_finite() {
            return Err(StepError::NotFinite("the gradient is not finite".into()));
        }
        if self.config.clip > 0.0 && norm > self.config.clip {
            gradients::scale(&self.model, &mut gradients, self.config.clip / norm);
        }
        let lr = self.schedule.learning_rate(step);
        self.model = self.optimizer.step(lr, self.model.clone(), gradients);
        let share = self.config.temperature_lr.map_or(1.0, |rate| rate / self.config.lr);
        self.state
            .temperature
            .step(&self.engine.loss, out.log_temperature, lr * share)
            .map_err(|error| StepError::Other(error.into()))?;
        self.state.step += 1;
        let steps = self.schedule.steps;
        if self.state.step > steps - steps.div_ceil(10) {
            self.state.tail = (self.state.tail.0 + out.loss, self.state.tail.1 + 1);
        }
        Ok(StepRecord {
            step: self.state.step,
            loss: out.loss,
            lr,
            temperature: temperature.value(),
            gradient_norm: norm,
            ..StepRecord::default()
        })
    }

    /// Writes a checkpoint.
    fn write(&self, place: &Place<'_>) -> Result<(), TrainError> {
        let record = self.model.clone().into_record();
        let model =
            Recorder::<B>::record(&recorder(), record, ()).map_err(TrainError::Checkpoint)?;
        let optimizer = self.optimizer.to_bytes().map_err(TrainError::Checkpoint)?;
        let state = serde_json::to_vec_pretty(&self.state).expect("it is representable as JSON");
        let files = [(MODEL, model), (OPTIMIZER, optimizer), (STATE, state)];
        place.checkpoints().write(self.state.step, &files, self.config.keep)?;
        Ok(())
    }

    /// This trainer where `checkpoint` left it.
    fn restore(self, checkpoint: &Checkpoint, device: &B::Device) -> Result<Self, TrainError> {
        let model = Recorder::<B>::load(&recorder(), checkpoint.read(MODEL)?, device)
            .map_err(TrainError::Checkpoint)?;
        let optimizer = self
            .optimizer
            .with_bytes(checkpoint.read(OPTIMIZER)?, device)
            .map_err(TrainError::Checkpoint)?;
        let state = serde_json::from_slice(&checkpoint.read(STATE)?)
            .map_err(|error| RecorderError::DeserializeError(error.to_string()))
            .map_err(TrainError::Checkpoint)?;
        Ok(Self { model: self.model.load_record(model), optimizer, state, ..self })
    }
}

/// The warning about a parameter that the first step cannot improve.
fn dead_parameter(DeadParameter { path, fault }: &DeadParameter) -> String {
    let fault = match fault {
        GradientFault::Missing => "missing",
        GradientFault::Zero => "zero",
        GradientFault::NonFinite => "not finite",
    };
    format!("parameter `{path}` learns nothing: its gradient is {fault}")
}

fn recorder() -> BinBytesRecorder<FullPrecisionSettings, Vec<u8>> {
    BinBytesRecorder::default()
}
