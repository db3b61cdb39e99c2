//! The training of a dual encoder: what the loop over steps learns, and what judges it.

use burn::module::AutodiffModule;
use burn::optim::GradientsParams;
use burn::tensor::backend::AutodiffBackend;
use samtone_loss::{LossConfig, LossError};
use samtone_model::{DeadParameter, DualEncoder, Retriever, Side};
use samtone_text::Key;

use crate::config::{ExperimentConfig, Warmup};
use crate::error::TrainError;
use crate::run::batches::{Batches, StepBatch};
use crate::run::judge::{Judge, means};
use crate::run::plan::Plan;
use crate::run::prepare::{TestSet, TokenRows};
use crate::run::record::{Event, StepRecord};
use crate::run::summary::{Best, Metrics};
use crate::run::training::{Before, Course, Learner, Place, Trained, Training, Work};
use crate::share::shards::Workers;
use crate::step::engine::{Engine, GradientsError};
use crate::step::objective::Objective;
use crate::step::optimizer::ModelOptimizer;
use crate::step::schedule::{Schedule, Stages};
use crate::step::temperature::TemperatureState;

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
    /// The processes that worked on it before this one.
    pub(crate) before: Before,
}

/// What a training learns from, and what judges it on the way.
#[derive(Clone, Copy)]
pub(crate) struct Lessons<'a> {
    pub(crate) batches: &'a Batches<'a>,
    pub(crate) plan: &'a Plan,
    pub(crate) dev: Option<DevSet<'a>>,
}

/// A dev set, with the documents that evaluations on the way look in; all if none are named.
#[derive(Clone, Copy)]
pub(crate) struct DevSet<'a> {
    pub(crate) set: &'a TestSet,
    pub(crate) rows: &'a TokenRows,
    pub(crate) among: Option<&'a [usize]>,
}

/// What a run's masks of dropout are drawn by, step by step.
pub(crate) fn dropout_key(config: &ExperimentConfig) -> Key {
    Key::new(config.seed).child("dropout")
}

/// Trains `retriever` as `config` says, or continues from the newest checkpoint in `place`. The model is
/// on the first of `devices`; the others, and those of the job's other ranks, share its batches.
pub(crate) fn fit<B: AutodiffBackend>(
    mut retriever: Retriever<B>,
    lessons: Lessons<'_>,
    config: &ExperimentConfig,
    place: &Place<'_>,
    devices: &[B::Device],
    observe: &mut dyn FnMut(Event<'_>),
) -> Result<Fitted<B>, TrainError> {
    let (train, Lessons { batches, plan, dev }) = (&config.train, lessons);
    let second = config.second_stage.as_ref();
    let warmup = train.warmup.unwrap_or(Warmup::FROM_RANDOM).of(plan.steps);
    if warmup >= plan.steps {
        observe(Event::Warning(format!(
            "`train.warmup` takes {warmup} steps and the run has {}: the highest learning rate is never reached",
            plan.steps
        )));
    }
    let schedule =
        Schedule { peak: train.peak_lr(), warmup, steps: plan.steps, decay: train.schedule };
    let course = Course {
        stages: Stages::new(schedule, second.map(|stage| stage.share)),
        clip: train.clip,
        checkpoint_every: train.checkpoint_every,
        eval_every: train.eval_every,
        best_by: train.best_by.as_deref(),
        patience: train.patience,
        log_every: train.log_every,
        keep: train.keep,
    };
    let first = objective(config, &config.loss)?;
    // The weights of the start are not kept beside those that are trained.
    let model = retriever.model.take();
    let mut learner = Contrast {
        config,
        dev,
        retriever: &retriever,
        batches,
        workers: Workers { devices, job: place.job },
        second_begins: course.stages.second_begins(),
        second: second.map(|stage| objective(config, &stage.loss)).transpose()?,
        dropout: dropout_key(config),
        temperature: TemperatureState::new(&first.contrastive),
        log_temperature: 0.0,
        engine: plan.engine(first, retriever.tokenizer(Side::Query).pad_id(), train),
    };
    let optimizer = ModelOptimizer::new(train, model.parameters());
    let batch_of = |step| Ok(batches.at(step));
    let Trained { model, steps, train_loss, best, work, before } = Training::new(
        &mut learner,
        &course,
        model,
        optimizer,
    )
    .run(&batch_of, place, &devices[0], observe)?;
    let temperature = learner.temperature.value.value();
    retriever.model = model;
    retriever.temperature = Some(temperature);
    Ok(Fitted { retriever, steps, train_loss, temperature, best, work, before })
}

/// Learning to tell a query's document from others.
struct Contrast<'a, B: AutodiffBackend> {
    config: &'a ExperimentConfig,
    dev: Option<DevSet<'a>>,
    retriever: &'a Retriever<B>,
    batches: &'a Batches<'a>,
    workers: Workers<'a, B>,
    engine: Engine,
    /// The first step of the second stage, and its objective until then.
    second_begins: Option<usize>,
    second: Option<Objective>,
    dropout: Key,
    temperature: TemperatureState,
    /// The last step's gradient with respect to ln τ.
    log_temperature: f64,
}

impl<B: AutodiffBackend> Contrast<'_, B> {
    /// Takes up the second stage's objective from its first step on.
    fn enter_stage(&mut self, step: usize) {
        let Some(begin) = self.second_begins.filter(|&begin| step >= begin) else { return };
        let Some(second) = self.second.take() else { return };
        let learned = |objective: &Objective| objective.contrastive.learned_temperature().is_some();
        // A learned temperature goes on; a fixed one is the stage's own.
        if step == begin && !(learned(&self.engine.objective) && learned(&second)) {
            self.temperature = TemperatureState::new(&second.contrastive);
        }
        self.engine.objective = second;
    }
}

impl<B: AutodiffBackend> Learner<B> for Contrast<'_, B> {
    type Model = DualEncoder<B>;
    type Batch = StepBatch;
    type State = TemperatureState;

    fn name(&self) -> String {
        self.config.loss_name()
    }

    fn gradients(
        &mut self,
        model: &DualEncoder<B>,
        step: usize,
        batch: &StepBatch,
        place: &Place<'_>,
    ) -> Result<(f64, GradientsParams), TrainError> {
        self.enter_stage(step);
        let (dropout, temperature) = (self.dropout.at(step as u64), self.temperature.value);
        let out = self
            .engine
            .shared_gradients(&self.workers, model, &batch.texts, temperature, Some(dropout))
            .map_err(|error| match error {
                GradientsError::Loss(what) => self.not_finite(step, what.to_string(), batch, place),
                lost @ GradientsError::Job(_) => lost.into(),
            })?;
        self.log_temperature = out.log_temperature;
        Ok((out.loss, out.parameters))
    }

    fn dead_parameters(
        &self,
        model: &DualEncoder<B>,
        gradients: &GradientsParams,
    ) -> Vec<DeadParameter> {
        model.dead_parameters(gradients)
    }

    fn update(&mut self, record: &mut StepRecord) -> Result<(), TrainError> {
        record.temperature = self.temperature.value.value();
        let train = &self.config.train;
        let share = train.temperature_lr.map_or(1.0, |rate| rate / train.peak_lr());
        let loss = &self.engine.objective.contrastive;
        Ok(self.temperature.step(loss, self.log_temperature, record.lr * share)?)
    }

    fn work(&self, model: &DualEncoder<B>, StepBatch { texts, .. }: &StepBatch) -> Work {
        Work {
            pairs: texts.queries.len(),
            tokens: texts.tokens(),
            computed_tokens: self.engine.computed_tokens(model, texts),
            ..Work::default()
        }
    }

    fn judge(
        &self,
        model: &DualEncoder<B>,
        observe: &mut dyn FnMut(Event<'_>),
    ) -> Result<Metrics, TrainError> {
        let Some(DevSet { set, rows, among }) = self.dev else { return Ok(Metrics::new()) };
        let judged = self.retriever.with_model(model.valid());
        let mut judge = Judge::new(&judged, &self.config.eval);
        Ok(means(&judge.on(set, rows, among, &mut |side, done, count| {
            observe(Event::Judging { side, done, count });
        })?))
    }

    fn not_finite(
        &self,
        step: usize,
        what: String,
        batch: &StepBatch,
        place: &Place<'_>,
    ) -> TrainError {
        self.batches.save_not_finite(step, what, batch, place)
    }

    fn state(&self) -> TemperatureState {
        self.temperature
    }

    fn restore(&mut self, state: TemperatureState) {
        self.temperature = state;
    }
}

/// What a run minimises under `loss`.
pub(crate) fn objective(
    config: &ExperimentConfig,
    loss: &LossConfig,
) -> Result<Objective, LossError> {
    let mut objective = Objective::from(loss.resolve()?);
    if let Some(matryoshka) = &config.matryoshka {
        objective = objective.with_matryoshka(matryoshka);
    }
    if let Some(distillation) = &config.distillation {
        objective = objective.with_distillation(distillation.clone());
    }
    Ok(objective)
}
