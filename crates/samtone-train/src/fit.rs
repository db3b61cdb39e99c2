//! The loop over steps: from wherever the run folder's newest checkpoint stands to the last step.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::sync_channel;
use std::time::Instant;

use burn::module::{AutodiffModule, Module};
use burn::record::{BinBytesRecorder, FullPrecisionSettings, Recorder, RecorderError};
use burn::tensor::backend::AutodiffBackend;
use samtone_data::random::Key;
use samtone_loss::{LossConfig, LossError};
use samtone_model::{DeadParameter, DualEncoder, GradientFault, Retriever, Side};
use serde::{Deserialize, Serialize};

use crate::batches::{Batches, StepBatch};
use crate::checkpoint::{Checkpoint, Checkpoints};
use crate::config::{ExperimentConfig, TrainConfig};
use crate::engine::{Batch, Engine};
use crate::error::TrainError;
use crate::gradients;
use crate::judge::{judge, means};
use crate::objective::Objective;
use crate::optimizer::DualEncoderOptimizer;
use crate::plan::{self, Plan};
use crate::prepare::Prepared;
use crate::record::{Event, Log, StepRecord};
use crate::schedule::{Schedule, Stages};
use crate::summary::{Best, Metrics};
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
    /// Tokens computed, padding included where it is computed.
    pub(crate) computed_tokens: usize,
}

/// A trained retriever.
pub(crate) struct Fitted<B: AutodiffBackend> {
    /// With the best model by the dev set where one was asked for, else the last.
    pub(crate) retriever: Retriever<B>,
    /// Steps done.
    pub(crate) steps: usize,
    /// Mean loss of the last steps, in nats.
    pub(crate) train_loss: f64,
    /// The temperature of the model.
    pub(crate) temperature: f64,
    /// Where the model comes from, if dev evaluations chose it.
    pub(crate) best: Option<Best>,
    pub(crate) work: Work,
}

/// What a checkpoint holds beside the model and the optimiser.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct State {
    /// Steps done.
    step: usize,
    temperature: TemperatureState,
    /// The losses of the last steps, the newest last.
    tail: VecDeque<f64>,
    /// The best dev evaluation.
    best: Option<Best>,
    /// Dev evaluations since.
    stalled: usize,
}

/// The training loss of a run is the mean over a tenth of its steps, but no more than these.
const LONGEST_TAIL: usize = 100;

impl State {
    fn remember(&mut self, loss: f64, steps: usize) {
        self.tail.push_back(loss);
        while self.tail.len() > steps.div_ceil(10).min(LONGEST_TAIL) {
            self.tail.pop_front();
        }
    }

    fn tail_loss(&self) -> f64 {
        self.tail.iter().sum::<f64>() / self.tail.len().max(1) as f64
    }

    /// Whether `dev` is better than every evaluation before by `metric`.
    fn improves(&mut self, dev: &Metrics, metric: &str) -> bool {
        let Some(&value) = dev.get(metric) else { return false };
        if self.best.as_ref().is_none_or(|best| value > best.value) {
            self.best = Some(Best { step: self.step, metric: metric.into(), value });
            self.stalled = 0;
            return true;
        }
        self.stalled += 1;
        false
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

/// Batches that wait for their step while the one before is computed.
const READY: usize = 2;

/// Trains `retriever` as `config` says, or continues from the newest checkpoint in `place`.
pub(crate) fn fit<B: AutodiffBackend>(
    mut retriever: Retriever<B>,
    prepared: &Prepared<'_>,
    config: &ExperimentConfig,
    place: &Place<'_>,
    device: &B::Device,
    observe: &mut dyn FnMut(Event<'_>),
) -> Result<Fitted<B>, TrainError> {
    let batches = Batches::new(prepared, config);
    let steps = batches.steps();
    let plan = plan::choose(&retriever.model, &batches, &config.loss.resolve()?, config);
    if !plan.fits() {
        observe(Event::Warning(plan.warning()));
    }
    let mut trainer = Trainer::new(&retriever, config, &plan)?;
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
    let first = trainer.state.step;
    std::thread::scope(|scope| {
        // A step's batch depends on the step alone: made ahead or not, it is the same.
        let (sender, ready) = sync_channel(READY);
        let ahead = &batches;
        scope.spawn(move || {
            for step in first..steps {
                // The loop below may end early: nobody listens then.
                if sender.send(ahead.at(step)).is_err() {
                    break;
                }
            }
        });
        while trainer.state.step < steps && !trainer.is_stalled() {
            if place.stop.load(Ordering::Relaxed) {
                trainer.write(place)?;
                let step = trainer.state.step;
                return Err(TrainError::Interrupted { step, folder: place.folder.into() });
            }
            let started = Instant::now();
            let next = ready.recv().expect("a batch is made for every step");
            let mut record = trainer.step(&next.batch, observe).map_err(|error| match error {
                StepError::NotFinite(what) => {
                    batches.save_not_finite(trainer.state.step, what, &next, place.folder)
                }
                StepError::Other(error) => error,
            })?;
            work.seconds += started.elapsed().as_secs_f64();
            work.add(&next, &trainer);
            record.pairs_per_second = work.per_second(work.pairs);
            record.tokens_per_second = work.per_second(work.tokens);
            record.padded_share = work.padded_share();
            let is_best = trainer.judge(&mut record, &retriever, prepared, config, observe)?;
            if trainer.is_to_log(&record) {
                log.write(&record)?;
            }
            observe(Event::Step(&record));
            if is_best || trainer.is_to_save() {
                trainer.write(place)?;
            }
        }
        Ok(())
    })?;
    observe(Event::Trained);
    let (done, train_loss) = (trainer.state.step, trainer.state.tail_loss());
    let best = trainer.state.best.clone();
    if let Some(best) = best.as_ref().filter(|best| best.step < done) {
        match place.checkpoints().at(best.step) {
            Some(checkpoint) => trainer = trainer.restore(&checkpoint, device)?,
            None => observe(Event::Warning(format!(
                "the best checkpoint, of step {}, is gone or torn: the last model stands in for it",
                best.step
            ))),
        }
    }
    let temperature = trainer.state.temperature.value.value();
    let best = best.filter(|best| best.step == trainer.state.step);
    retriever.model = trainer.model;
    retriever.temperature = Some(temperature);
    Ok(Fitted { retriever, steps: done, train_loss, temperature, best, work })
}

impl Work {
    /// How many of `count` things were done in a second of training.
    pub(crate) fn per_second(&self, count: usize) -> f64 {
        count as f64 / self.seconds.max(f64::MIN_POSITIVE)
    }

    /// Share of the computed tokens that were padding, in `[0, 1)`.
    pub(crate) fn padded_share(&self) -> f64 {
        1.0 - self.tokens as f64 / self.computed_tokens.max(self.tokens).max(1) as f64
    }

    fn add<B: AutodiffBackend>(&mut self, step: &StepBatch, trainer: &Trainer<'_, B>) {
        self.pairs += step.batch.queries.len();
        self.tokens += step.batch.tokens();
        self.computed_tokens += trainer.engine.computed_tokens(&trainer.model, &step.batch);
    }
}

/// Whether something that happens every `every` steps (0: never) happens after `step`.
fn is_due(step: usize, every: usize) -> bool {
    every > 0 && step.is_multiple_of(every)
}

/// What changes from step to step, and what decides how.
struct Trainer<'a, B: AutodiffBackend> {
    config: &'a TrainConfig,
    engine: Engine,
    /// The second stage's objective.
    second: Option<Objective>,
    stages: Stages,
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
        plan: &Plan,
    ) -> Result<Self, TrainError> {
        let train = &config.train;
        let first = objective(config, &config.loss)?;
        let temperature = TemperatureState::new(&first.contrastive);
        let second = config.second_stage.as_ref();
        let model = retriever.model.clone();
        let schedule = Schedule {
            peak: train.lr,
            warmup: train.warmup,
            steps: plan.steps,
            decay: train.schedule,
        };
        Ok(Self {
            config: train,
            engine: Engine {
                objective: first,
                chunk: plan.texts(train.hard_negatives),
                pad_id: retriever.tokenizer(Side::Query).pad_id(),
            },
            second: second.map(|stage| objective(config, &stage.loss)).transpose()?,
            stages: Stages::new(schedule, second.map(|stage| stage.share)),
            dropout: Key::new(config.seed).child("dropout"),
            optimizer: DualEncoderOptimizer::new(train, model.parameters()),
            model,
            state: State { step: 0, temperature, tail: VecDeque::new(), best: None, stalled: 0 },
        })
    }

    /// One step on `batch`.
    fn step(
        &mut self,
        batch: &Batch,
        observe: &mut dyn FnMut(Event<'_>),
    ) -> Result<StepRecord, StepError> {
        let step = self.state.step;
        self.enter_stage(step);
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
        let lr = self.stages.learning_rate(step);
        self.model = self.optimizer.step(lr, self.model.clone(), gradients);
        let share = self.config.temperature_lr.map_or(1.0, |rate| rate / self.config.lr);
        self.state
            .temperature
            .step(&self.engine.objective.contrastive, out.log_temperature, lr * share)
            .map_err(|error| StepError::Other(error.into()))?;
        self.state.step += 1;
        self.state.remember(out.loss, self.stages.steps());
        Ok(StepRecord {
            step: self.state.step,
            loss: out.loss,
            lr,
            temperature: temperature.value(),
            gradient_norm: norm,
            ..StepRecord::default()
        })
    }

    /// Takes up the second stage's objective from its first step on.
    fn enter_stage(&mut self, step: usize) {
        let Some(begin) = self.stages.second_begins().filter(|&begin| step >= begin) else {
            return;
        };
        let Some(second) = self.second.take() else { return };
        let learned = |objective: &Objective| objective.contrastive.learned_temperature().is_some();
        // A learned temperature goes on; a fixed one is the stage's own.
        if step == begin && !(learned(&self.engine.objective) && learned(&second)) {
            self.state.temperature = TemperatureState::new(&second.contrastive);
        }
        self.engine.objective = second;
    }

    /// Judges the model on the dev set, if it is the step for it; whether it is the best so far.
    fn judge(
        &mut self,
        record: &mut StepRecord,
        retriever: &Retriever<B>,
        prepared: &Prepared<'_>,
        config: &ExperimentConfig,
        observe: &mut dyn FnMut(Event<'_>),
    ) -> Result<bool, TrainError> {
        let (step, train) = (self.state.step, self.config);
        // The end of the run judges its model anyway: here only where it is one to choose from.
        let is_last = step == self.stages.steps();
        let is_due = if is_last { train.best_by.is_some() } else { is_due(step, train.eval_every) };
        let Some(dev) = prepared.dev.as_ref().filter(|_| is_due) else { return Ok(false) };
        let judged = retriever.with_model(self.model.valid());
        record.dev = means(&judge(&judged, dev, prepared.rows(dev), &config.eval)?);
        observe(Event::Dev(&record.dev));
        let metric = train.best_by.as_ref();
        Ok(metric.is_some_and(|metric| self.state.improves(&record.dev, metric)))
    }

    /// Whether this step ends with a checkpoint, whatever its model is worth.
    fn is_to_save(&self) -> bool {
        let step = self.state.step;
        step == self.stages.steps()
            || self.is_stalled()
            || is_due(step, self.config.checkpoint_every)
    }

    /// Whether the dev set has not improved for too long.
    fn is_stalled(&self) -> bool {
        self.config.patience > 0 && self.state.stalled >= self.config.patience
    }

    fn is_to_log(&self, record: &StepRecord) -> bool {
        let step = record.step;
        let is_end = step == 1 || step == self.stages.steps();
        is_end || is_due(step, self.config.log_every) || !record.dev.is_empty()
    }

    /// Writes a checkpoint.
    fn write(&self, place: &Place<'_>) -> Result<(), TrainError> {
        let record = self.model.clone().into_record();
        let model =
            Recorder::<B>::record(&recorder(), record, ()).map_err(TrainError::Checkpoint)?;
        let optimizer = self.optimizer.to_bytes().map_err(TrainError::Checkpoint)?;
        let state = serde_json::to_vec_pretty(&self.state).expect("it is representable as JSON");
        let files = [(MODEL, model), (OPTIMIZER, optimizer), (STATE, state)];
        let best = self.state.best.as_ref().map(|best| best.step);
        place.checkpoints().write(self.state.step, &files, self.config.keep, best)?;
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

/// What a run minimises under `loss`.
fn objective(config: &ExperimentConfig, loss: &LossConfig) -> Result<Objective, LossError> {
    let mut objective = Objective::from(loss.resolve()?);
    if let Some(matryoshka) = &config.matryoshka {
        objective = objective.with_matryoshka(matryoshka);
    }
    if let Some(distillation) = &config.distillation {
        objective = objective.with_distillation(distillation.clone());
    }
    Ok(objective)
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
