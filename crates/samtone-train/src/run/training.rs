//! The loop over steps, whatever is learned: from wherever a run folder's newest checkpoint stands to
//! the last step.

use std::collections::VecDeque;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::sync_channel;
use std::time::Instant;

use burn::module::AutodiffModule;
use burn::optim::GradientsParams;
use burn::tensor::backend::AutodiffBackend;
use samtone_model::{DeadParameter, GradientFault};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::error::TrainError;
use crate::run::checkpoint::Checkpoints;
use crate::run::proc::{peak_rss_bytes, rss_bytes};
use crate::run::record::{Event, Log, StepRecord};
use crate::run::run_folder::METRICS;
use crate::run::summary::{Best, Metrics};
use crate::run::weights::{self, Weights};
use crate::share::job::{Job, JobError};
use crate::step::gradients;
use crate::step::optimizer::{ModelOptimizer, Moments};
use crate::step::schedule::Stages;

/// What a training learns and how it is judged.
pub trait Learner<B: AutodiffBackend> {
    /// What is trained.
    type Model: AutodiffModule<B>;
    /// What a step trains on.
    type Batch: Send;
    /// What steps change beside the model and the optimiser.
    type State: Clone + Serialize + DeserializeOwned;

    /// Its name, for whoever watches.
    fn name(&self) -> String;

    /// Mean loss of `batch` and the gradients of `model`, in the step of this number, from 0. A batch
    /// that gives no finite number is saved in `place`.
    ///
    /// # Errors
    /// A loss or a gradient that is not finite, or an exchange that fails.
    fn gradients(
        &mut self,
        model: &Self::Model,
        step: usize,
        batch: &Self::Batch,
        place: &Place<'_>,
    ) -> Result<(f64, GradientsParams), TrainError>;

    /// The parameters that `gradients` leave as they are.
    fn dead_parameters(
        &self,
        model: &Self::Model,
        gradients: &GradientsParams,
    ) -> Vec<DeadParameter>;

    /// After the model's update at the rate of `record`: changes what else is learned, and notes it.
    ///
    /// # Errors
    /// What is learned beside the model leaves its range.
    fn update(&mut self, record: &mut StepRecord) -> Result<(), TrainError>;

    /// What a step on `batch` is worth; its time aside.
    fn work(&self, model: &Self::Model, batch: &Self::Batch) -> Work;

    /// What `model` is worth on the dev set; empty if there is none. Tells `observe` how far it is.
    ///
    /// # Errors
    /// Whatever keeps the model from being judged.
    fn judge(
        &self,
        model: &Self::Model,
        observe: &mut dyn FnMut(Event<'_>),
    ) -> Result<Metrics, TrainError>;

    /// The error for a batch that gave no finite number; the batch is saved in `place`.
    fn not_finite(
        &self,
        step: usize,
        what: String,
        batch: &Self::Batch,
        place: &Place<'_>,
    ) -> TrainError;

    /// What a checkpoint keeps of it.
    fn state(&self) -> Self::State;

    /// Goes back to a checkpoint's state.
    fn restore(&mut self, state: Self::State);
}

/// The error for a batch that gave no finite number, once `batch` is saved in `place`.
///
/// # Panics
/// If the batch cannot be represented as JSON.
pub fn not_finite(
    place: &Place<'_>,
    step: usize,
    what: String,
    batch: &impl Serialize,
) -> TrainError {
    let path = place.folder.join("non-finite-batch.json");
    if !place.writes() {
        return TrainError::NonFinite { step, what, batch: path };
    }
    let json = serde_json::to_vec_pretty(batch).expect("it is representable as JSON");
    match samtone_files::replace(&path, &json) {
        Ok(()) => TrainError::NonFinite { step, what, batch: path },
        Err(source) => TrainError::Write { path, source },
    }
}

/// How a training goes, whatever it learns.
pub struct Course<'a> {
    /// The learning rates, and how many steps there are.
    pub stages: Stages,
    /// Largest global norm of the gradient; 0 turns clipping off.
    pub clip: f64,
    /// Steps between checkpoints; 0 writes one at the end alone.
    pub checkpoint_every: usize,
    /// Steps between dev evaluations; 0 judges nothing on the way.
    pub eval_every: usize,
    /// The dev metric that chooses the model; the last model if absent.
    pub best_by: Option<&'a str>,
    /// Dev evaluations without a better one after which the training ends; 0 never ends it early.
    pub patience: usize,
    /// Steps between lines of `metrics.jsonl`.
    pub log_every: usize,
    /// Checkpoints kept, the newest ones and the best.
    pub keep: usize,
}

/// What was done of a training, in however many processes one after the other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Work {
    /// Seconds spent in training steps.
    pub seconds: f64,
    /// Pairs trained on.
    pub pairs: usize,
    /// Real tokens of their texts.
    pub tokens: usize,
    /// Tokens computed, padding included where it is computed.
    pub computed_tokens: usize,
}

impl Work {
    /// How many of `count` things were done in a second of training.
    pub fn per_second(&self, count: usize) -> f64 {
        count as f64 / self.seconds.max(f64::MIN_POSITIVE)
    }

    /// Share of the computed tokens that were padding, in `[0, 1)`.
    pub fn padded_share(&self) -> f64 {
        1.0 - self.tokens as f64 / self.computed_tokens.max(self.tokens).max(1) as f64
    }
}

impl std::ops::AddAssign for Work {
    fn add_assign(&mut self, other: Self) {
        self.seconds += other.seconds;
        self.pairs += other.pairs;
        self.tokens += other.tokens;
        self.computed_tokens += other.computed_tokens;
    }
}

/// The files of one training inside a run folder, what may interrupt it, and who else trains the same.
pub struct Place<'a> {
    /// The folder, which rank 0 of a job alone reads and writes.
    pub folder: &'a Path,
    /// Set from outside: the training writes a checkpoint and ends.
    pub stop: &'a AtomicBool,
    /// The processes that train together, if there are several.
    pub job: Option<&'a Job>,
    /// When this process began the run.
    pub started: Instant,
}

impl Place<'_> {
    fn checkpoints(&self) -> Checkpoints {
        Checkpoints::new(self.folder.join("checkpoints"))
    }

    fn metrics(&self) -> PathBuf {
        self.folder.join(METRICS)
    }

    /// Whether this process judges the model and writes the folder.
    pub fn writes(&self) -> bool {
        self.job.is_none_or(Job::leads)
    }

    /// Whether this or another rank is to stop.
    fn is_to_stop(&self) -> Result<bool, JobError> {
        let stop = self.stop.load(Ordering::Relaxed);
        self.job.map_or(Ok(stop), |job| job.any(stop))
    }
}

/// What a training came to.
pub struct Trained<M> {
    /// The best model by the dev set where one was asked for, else the last.
    pub model: M,
    /// Steps done.
    pub steps: usize,
    /// Mean loss of the last steps, in nats.
    pub train_loss: f64,
    /// Where the model comes from, if dev evaluations chose it.
    pub best: Option<Best>,
    /// What was done, by all processes of the run.
    pub work: Work,
    /// What processes before this one did of it.
    pub before: Before,
}

/// The processes that worked on a run before this one, as far as a checkpoint has kept it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Before {
    /// How many there were.
    pub legs: usize,
    /// Seconds that they took.
    pub seconds: f64,
    /// The most memory that one of them held, in bytes; 0 where the system does not tell.
    pub peak_rss_bytes: u64,
}

impl Before {
    /// The same once the process that began at `started` has ended as well.
    #[must_use]
    pub fn and(self, started: Instant) -> Self {
        Self {
            legs: self.legs + 1,
            seconds: self.seconds + started.elapsed().as_secs_f64(),
            peak_rss_bytes: self.peak_rss_bytes.max(peak_rss_bytes().unwrap_or(0)),
        }
    }
}

/// What a checkpoint holds beside the model and the optimiser.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct State<S> {
    /// Steps done.
    step: usize,
    /// The losses of the last steps, the newest last.
    tail: VecDeque<f64>,
    /// The sum of the losses since the last line of the log, and how many there are.
    #[serde(default)]
    unlogged: (f64, usize),
    /// The best dev evaluation.
    best: Option<Best>,
    /// Dev evaluations since.
    stalled: usize,
    /// What was done so far.
    work: Work,
    /// The processes that did it, that which wrote the checkpoint among them.
    legs: Before,
    /// The learner's own.
    task: S,
}

/// The training loss of a run is the mean over a tenth of its steps, but no more than these.
const LONGEST_TAIL: usize = 100;

impl<S: Serialize> State<S> {
    fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec_pretty(self).expect("it is representable as JSON")
    }
}

impl<S> State<S> {
    fn remember(&mut self, loss: f64, steps: usize) {
        self.unlogged.0 += loss;
        self.unlogged.1 += 1;
        self.tail.push_back(loss);
        while self.tail.len() > steps.div_ceil(10).min(LONGEST_TAIL) {
            self.tail.pop_front();
        }
    }

    /// The mean loss since the last line of the log, which is to be written now.
    fn mean_to_log(&mut self) -> f64 {
        let (sum, count) = std::mem::take(&mut self.unlogged);
        sum / count.max(1) as f64
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

/// What is trained of the model.
const MODEL: &str = "model.safetensors";
/// What the update rule remembers of it.
const OPTIMIZER: &str = "optimizer.safetensors";
const STATE: &str = "state.json";

/// Why the model is there.
const HELD: &str = "a step puts the model back";

/// Batches that wait for their step while the one before is computed.
const READY: usize = 2;

/// A training: the model, what changes with each step, and what decides how.
pub struct Training<'a, B: AutodiffBackend, T: Learner<B>> {
    learner: &'a mut T,
    course: &'a Course<'a>,
    /// Not there while it is updated: nothing else holds its weights then.
    model: Option<T::Model>,
    optimizer: ModelOptimizer<B>,
    state: State<T::State>,
    /// The sum of the weights that are not trained.
    frozen: String,
    /// The processes before this one.
    before: Before,
}

impl<'a, B: AutodiffBackend, T: Learner<B>> Training<'a, B, T> {
    /// The training of `model` before its first step.
    pub fn new(
        learner: &'a mut T,
        course: &'a Course<'a>,
        model: T::Model,
        optimizer: ModelOptimizer<B>,
    ) -> Self {
        let (tail, task_state) = (VecDeque::new(), learner.state());
        let state = State {
            step: 0,
            tail,
            unlogged: (0.0, 0),
            best: None,
            stalled: 0,
            work: Work::default(),
            legs: Before::default(),
            task: task_state,
        };
        let frozen = weights::frozen_sum(&model);
        let (model, before) = (Some(model), Before::default());
        Self { learner, course, model, optimizer, state, frozen, before }
    }

    /// Trains on the batches of `batch_of`, from the newest checkpoint in `place` if there is one; the
    /// learner ends in the state of the model that is returned.
    ///
    /// A step's batch must depend on the step alone: it is made ahead, and made again on resuming.
    ///
    /// # Errors
    /// Whatever stops the training; what was written until then stays.
    pub fn run(
        mut self,
        batch_of: &(dyn Fn(usize) -> Result<T::Batch, TrainError> + Sync),
        place: &Place<'_>,
        device: &B::Device,
        observe: &mut dyn FnMut(Event<'_>),
    ) -> Result<Trained<T::Model>, TrainError> {
        let steps = self.course.stages.steps();
        let (newest, torn) =
            if place.writes() { place.checkpoints().newest() } else { (None, Vec::new()) };
        for path in torn {
            observe(Event::Warning(format!("`{}` is torn and passed over", path.display())));
        }
        if let Some(checkpoint) = &newest {
            let read = |name| checkpoint.read(name);
            self = self.with_model(&read(MODEL)?, &read(STATE)?, device)?;
            self = self.with_optimizer(&read(OPTIMIZER)?, device)?;
            self.before = self.state.legs;
        }
        self = self.like_first(place, device)?.updating_like_first(place, device)?;
        let first = self.state.step;
        let mut log = place.writes().then(|| Log::open(&place.metrics(), first)).transpose()?;
        observe(Event::Training { loss: &self.learner.name(), done: first, steps });

        std::thread::scope(|scope| {
            let (sender, ready) = sync_channel(READY);
            scope.spawn(move || {
                for step in first..steps {
                    // The loop below may end early: nobody listens then.
                    if sender.send(batch_of(step)).is_err() {
                        break;
                    }
                }
            });
            while self.state.step < steps && !self.is_stalled() {
                if place.is_to_stop()? {
                    self.write(place)?;
                    // A rank that ends may take the others with it: not before this is written.
                    place.job.map_or(Ok(()), Job::wait)?;
                    let step = self.state.step;
                    return Err(TrainError::Interrupted { step, folder: place.folder.into() });
                }
                let started = Instant::now();
                let batch = ready.recv().expect("a batch is made for every step")?;
                let mut record = self.step(&batch, place, observe)?;
                let seconds = started.elapsed().as_secs_f64();
                let model = self.model.as_ref().expect(HELD);
                self.state.work += Work { seconds, ..self.learner.work(model, &batch) };
                let work = self.state.work;
                record.seconds = work.seconds;
                record.pairs_per_second = work.per_second(work.pairs);
                record.tokens_per_second = work.per_second(work.tokens);
                record.padded_share = work.padded_share();
                let is_best = self.judge(&mut record, place, observe)?;
                observe(Event::Step(&record));
                if self.is_to_log(&record) {
                    record.loss = self.state.mean_to_log();
                    record.rss_bytes = rss_bytes();
                    log.as_mut().map_or(Ok(()), |log| log.write(&record))?;
                }
                if is_best || self.is_to_save() {
                    self.write(place)?;
                }
            }
            Ok(())
        })?;
        observe(Event::Trained);
        self.finish(place, device, observe)
    }

    /// Goes back to the best checkpoint, where one is chosen.
    fn finish(
        mut self,
        place: &Place<'_>,
        device: &B::Device,
        observe: &mut dyn FnMut(Event<'_>),
    ) -> Result<Trained<T::Model>, TrainError> {
        let (steps, train_loss) = (self.state.step, self.state.tail_loss());
        let (best, work, before) = (self.state.best.clone(), self.state.work, self.before);
        if let Some(best) = best.as_ref().filter(|best| best.step < steps && place.writes()) {
            match place.checkpoints().at(best.step) {
                Some(checkpoint) => {
                    let read = |name| checkpoint.read(name);
                    self = self.with_model(&read(MODEL)?, &read(STATE)?, device)?;
                }
                None => observe(Event::Warning(format!(
                    "the best checkpoint, of step {}, is gone or torn: the last model stands in for it",
                    best.step
                ))),
            }
        }
        self = self.like_first(place, device)?;
        let best = best.filter(|best| best.step == self.state.step);
        let model = self.model.expect(HELD);
        Ok(Trained { model, steps, train_loss, best, work, before })
    }

    /// One step on `batch`.
    fn step(
        &mut self,
        batch: &T::Batch,
        place: &Place<'_>,
        observe: &mut dyn FnMut(Event<'_>),
    ) -> Result<StepRecord, TrainError> {
        let step = self.state.step;
        let model = self.model.as_ref().expect(HELD);
        let (loss, mut gradients) = self.learner.gradients(model, step, batch, place)?;
        let norm = gradients::global_norm(&gradients::norms(model, &gradients));
        if step == 0 {
            for dead in self.learner.dead_parameters(model, &gradients) {
                observe(Event::Warning(dead_parameter(&dead)));
            }
        }
        if !norm.is_finite() {
            let what = "the gradient is not finite".into();
            return Err(self.learner.not_finite(step, what, batch, place));
        }
        if self.course.clip > 0.0 && norm > self.course.clip {
            gradients::scale(model, &mut gradients, self.course.clip / norm);
        }
        let lr = self.course.stages.learning_rate(step);
        let model = self.model.take().expect(HELD);
        self.model = Some(self.optimizer.step(lr, model, gradients));
        let (step, gradient_norm) = (step + 1, norm);
        let mut record = StepRecord { step, loss, lr, gradient_norm, ..StepRecord::default() };
        self.learner.update(&mut record)?;
        self.state.step = step;
        self.state.remember(loss, self.course.stages.steps());
        Ok(record)
    }

    /// Judges the model on the dev set, if it is the step for it; whether it is the best so far.
    fn judge(
        &mut self,
        record: &mut StepRecord,
        place: &Place<'_>,
        observe: &mut dyn FnMut(Event<'_>),
    ) -> Result<bool, TrainError> {
        let (step, course) = (self.state.step, self.course);
        // The end of the run judges its model anyway: here only where it is one to choose from.
        // And where the last evaluation on the way is not just over.
        let is_last = step == course.stages.steps();
        let is_due = if is_last {
            let since = step.checked_rem(course.eval_every).unwrap_or(step);
            course.best_by.is_some()
                && (since == 0 || 2 * since >= course.eval_every || step == since)
        } else {
            is_due(step, course.eval_every)
        };
        if !is_due {
            return Ok(false);
        }
        record.dev = match place.job {
            None => self.learner.judge(self.model.as_ref().expect(HELD), observe)?,
            Some(job) if job.leads() => {
                let dev = self.learner.judge(self.model.as_ref().expect(HELD), observe)?;
                job.give(&dev)?;
                dev
            }
            Some(job) => job.take()?,
        };
        if record.dev.is_empty() {
            return Ok(false);
        }
        observe(Event::Dev(&record.dev));
        Ok(course.best_by.is_some_and(|metric| self.state.improves(&record.dev, metric)))
    }

    /// Whether this step ends with a checkpoint, whatever its model is worth.
    fn is_to_save(&self) -> bool {
        let step = self.state.step;
        step == self.course.stages.steps()
            || self.is_stalled()
            || is_due(step, self.course.checkpoint_every)
    }

    /// Whether the dev set has not improved for too long.
    fn is_stalled(&self) -> bool {
        self.course.patience > 0 && self.state.stalled >= self.course.patience
    }

    fn is_to_log(&self, record: &StepRecord) -> bool {
        let step = record.step;
        let is_end = step == 1 || step == self.course.stages.steps();
        is_end || is_due(step, self.course.log_every) || !record.dev.is_empty()
    }

    /// Writes a checkpoint, where this process writes.
    fn write(&mut self, place: &Place<'_>) -> Result<(), TrainError> {
        if !place.writes() {
            return Ok(());
        }
        self.state.legs = self.before.and(place.started);
        self.state.task = self.learner.state();
        let best = self.state.best.as_ref().map(|best| best.step);
        let fill = |folder: &Path| {
            self.weights().write(&folder.join(MODEL))?;
            self.optimizer.moments().write(&folder.join(OPTIMIZER))?;
            fs::write(folder.join(STATE), self.state.to_json())
        };
        place.checkpoints().write(self.state.step, fill, self.course.keep, best)?;
        Ok(())
    }

    /// This training where that of rank 0 is, in a job: wherever that comes from, and whatever another
    /// machine has rounded otherwise; but for the optimiser.
    fn like_first(mut self, place: &Place<'_>, device: &B::Device) -> Result<Self, TrainError> {
        let Some(job) = place.job else { return Ok(self) };
        self.state.task = self.learner.state();
        let own = |bytes: &dyn Fn() -> Vec<u8>| if job.leads() { bytes() } else { Vec::new() };
        let model = job.of_first(own(&|| self.weights().to_bytes()))?;
        let state = job.of_first(own(&|| self.state.to_json()))?;
        self.with_model(&model, &state, device)
    }

    /// This training with the optimiser of rank 0, in a job.
    fn updating_like_first(
        self,
        place: &Place<'_>,
        device: &B::Device,
    ) -> Result<Self, TrainError> {
        let Some(job) = place.job else { return Ok(self) };
        let own = if job.leads() { self.optimizer.moments().to_bytes() } else { Vec::new() };
        self.with_optimizer(&job.of_first(own)?, device)
    }

    /// What is trained of the model.
    fn weights(&self) -> Weights<B::InnerBackend> {
        weights::trained(self.model.as_ref().expect(HELD), &self.frozen)
    }

    /// This training with the model and the state of a checkpoint.
    fn with_model(
        mut self,
        model: &[u8],
        state: &[u8],
        device: &B::Device,
    ) -> Result<Self, TrainError> {
        let weights = Weights::from_bytes(model, device).map_err(TrainError::Checkpoint)?;
        let model = weights::restored(self.model.expect(HELD), weights, &self.frozen);
        self.model = Some(model.map_err(TrainError::Checkpoint)?);
        self.state = serde_json::from_slice(state)
            .map_err(|error| TrainError::Checkpoint(error.to_string()))?;
        self.learner.restore(self.state.task.clone());
        Ok(self)
    }

    /// This training with the optimiser of a checkpoint.
    fn with_optimizer(mut self, optimizer: &[u8], device: &B::Device) -> Result<Self, TrainError> {
        let restored = Moments::from_bytes(optimizer, device)
            .and_then(|moments| self.optimizer.restore(moments));
        restored.map_err(TrainError::Checkpoint)?;
        Ok(self)
    }
}

/// Whether something that happens every `every` steps (0: never) happens after `step`.
fn is_due(step: usize, every: usize) -> bool {
    every > 0 && step.is_multiple_of(every)
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
