//! A whole run: data in, trained and judged model out, everything in one folder.
//!
//! ```text
//! run/  config.toml         the configuration, every key
//!       identity.json       the same, and sums of all that is read: what the run is
//!       tokenizer.json      the vocabulary, where the run made its own
//!       metrics.jsonl       a line a logged step
//!       checkpoints/        step-N: model, optimiser, position
//!       tokens/             the tokenised texts, unless `data.token_cache` says where; may be deleted
//!       model/              the trained model's folder
//!       summary.json        results alone
//!       origin.json         when, where and how it was begun
//!       data.json           what is trained on: sizes, lengths, findings, the first pairs
//!       evaluations/        each query's values: test, dev, bm25, zero-shot/NAME, dims/N of a run
//!                           with `[matryoshka]`, and start/test, start/dev of the model before its
//!                           first step, where it was judged
//!       rankings/           what was found for each query of the split that speaks for the run: model,
//!                           start, bm25
//!       queries.json        queries to look at: won, lost and worst, with texts
//!       dev-sample.json     the documents that dev evaluations on the way look in, where not all
//!       environment.json    machine, versions, times, speeds
//!       .lock               held by the process that writes the folder
//!       non-finite-batch.json  what gave no finite loss, where that ended the run
//!       baseline/           the same under another loss, where asked for: metrics, checkpoints,
//!                           model, evaluations, rankings
//! ```
//!
//! Of a job of several ranks, rank 0 alone judges and writes.
//!
//! The command line adds `report.html`, `figures/` and, on request, `tensorboard/`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use burn::tensor::backend::{AutodiffBackend, Backend};
use samtone_eval::Evaluation;
use samtone_loss::{LossConfig, Preset};
use samtone_model::{ModelFolder, Retriever, Side};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::config::{Chunk, Configuration, ExperimentConfig, Recompute};
use crate::error::TrainError;
use crate::run::batches::Batches;
use crate::run::beginning::Beginning;
use crate::run::card::Card;
use crate::run::data_record::DataRecord;
use crate::run::environment::Environment;
use crate::run::fit::{DevSet, Fitted, Lessons, fit};
use crate::run::identity::Identity;
use crate::run::judge::{Judge, evaluation_path, judge_bm25, keep, watched};
use crate::run::origin::{Origin, seconds_since_1970};
use crate::run::plan::{self, Plan};
use crate::run::prepare::{Prepared, TestSet};
use crate::run::queries;
use crate::run::ranking;
use crate::run::record::Event;
use crate::run::run_folder::{ENVIRONMENT, MODEL, RunFolder, SUMMARY, TOKENS, VOCABULARY};
use crate::run::session::Session;
use crate::run::summary::{Baseline, Metrics, Summary};
use crate::run::training::{Before, Place};
use crate::share::job::{Job, JobError};
use crate::share::shards::Workers;

/// The configuration of the quick start, as TOML.
pub const QUICK_START: &str = include_str!("quick_start.toml");

/// Where a run goes and what may interrupt it.
#[derive(Clone, Copy, Debug)]
pub struct RunOptions<'a> {
    /// The run folder.
    pub folder: &'a Path,
    /// Go on with the run in that folder, if there is one.
    pub resume: bool,
    /// Name of the backend, for the record.
    pub backend: &'a str,
    /// How the run was started, for the model card.
    pub command: &'a str,
    /// Set from outside to end the run after its current step, with a checkpoint.
    pub stop: &'a AtomicBool,
    /// The processes that train the run together, if there are several; a dual encoder's alone.
    pub job: Option<&'a Job>,
}

/// A run's results.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome<S = Summary, C = ExperimentConfig> {
    /// What was found.
    pub summary: S,
    /// What it ran on and how fast.
    pub environment: Environment,
    /// The configuration, resolved.
    pub config: C,
    /// What the configuration changed of the model that the run started from, a line each.
    pub changed: Vec<String>,
    /// Whether the run had ended before: nothing was done then.
    pub was_finished: bool,
}

/// Trains, judges and writes the run folder.
///
/// The folder is made once the configuration, the data and the model are known to be good. Several
/// `devices` share every batch (see [`crate::share`]); the first does all that is no training. All
/// ranks of a job call this with the same configuration; rank 0 judges and writes, and all get what it
/// finds.
///
/// # Errors
/// Anything that keeps the run from starting or going on; checkpoints stay. A rank of a job that fails
/// must end the others too, which wait for it.
///
/// # Panics
/// If `devices` is empty.
pub fn run<B: AutodiffBackend>(
    config: &ExperimentConfig,
    options: RunOptions<'_>,
    devices: &[B::Device],
    observe: &mut dyn FnMut(Event<'_>),
) -> Result<Outcome, TrainError> {
    let (workers, batch) = (Workers::<B> { devices, job: options.job }, config.train.batch_size);
    if workers.count() > batch {
        return Err(TrainError::TooManyDevices { devices: workers.count(), batch });
    }
    let device = devices.first().expect("a run has a device");
    if let Some(job) = options.job {
        job.agree("the version", env!("CARGO_PKG_VERSION"))?;
        job.agree("the backend", &B::name(device))?;
        job.agree("the configuration", &config.to_toml())?;
    }
    match options.job.filter(|job| !job.leads()) {
        None => lead::<B>(config, options, devices, observe),
        Some(job) => follow::<B>(config, options, job, devices, observe),
    }
}

/// What the other ranks of a job want to know of the run folder, which rank 0 alone opens.
#[derive(Serialize, Deserialize)]
struct Found {
    is_finished: bool,
    /// Of a run that goes on with one of its own.
    vocabulary: Option<String>,
}

impl Found {
    fn of(folder: &RunFolder<'_>) -> Result<Self, TrainError> {
        let read =
            |path| fs::read_to_string(&path).map_err(|source| TrainError::Read { path, source });
        let vocabulary = folder.vocabulary().map(read).transpose()?;
        Ok(Self { is_finished: folder.is_finished(), vocabulary })
    }
}

/// The run as rank 0 does it, or a process without others.
fn lead<B: AutodiffBackend>(
    given: &ExperimentConfig,
    options: RunOptions<'_>,
    devices: &[B::Device],
    observe: &mut dyn FnMut(Event<'_>),
) -> Result<Outcome, TrainError> {
    let started = Instant::now();
    let RunOptions { folder: path, job, .. } = options;
    let is_random = given.model.path.is_none() && given.model.encoder.is_none();
    let resolved = given.resolve()?;
    let now = Identity::new(&resolved.config, resolved.changed.clone());
    let mut folder = RunFolder::open(path, options.resume, &now)?;
    if let Some(job) = job {
        job.give(&Found::of(&folder)?)?;
    }
    if folder.is_finished() {
        return Outcome::of_finished(&folder, resolved.config, resolved.changed)?.shared(job);
    }
    for remark in resolved.folder.iter().flat_map(ModelFolder::remarks) {
        observe(Event::Chosen(remark));
    }
    for change in &resolved.changed {
        observe(Event::Changed(change));
    }
    let vocabulary = folder.vocabulary();
    let session = Session::<B>::open(resolved, vocabulary.as_deref(), &devices[0], observe)?;
    let Session { config, retriever, identity, .. } = &session;
    let parameters = retriever.model.num_parameters();
    if let Some(job) = job {
        agree_on_inputs(job, &session)?;
    }
    folder.take(identity)?;
    let prepared = tokenised(&session, job, &path.join(TOKENS))?;
    if is_random {
        observe(Event::Warning(RANDOM.into()));
    }
    warn(&session, &prepared, observe);
    let batches = Batches::new(&prepared, config)?;
    let plan = plan_of(&session, &batches, folder.then())?;
    if !plan.fits() {
        observe(Event::Warning(plan.warning()));
    }
    let Plan { chunk, recomputes, steps, .. } = plan;
    let begun = Identity { chunk, recomputes, steps, ..identity.clone() };
    if let Some(job) = job {
        job.give(&begun)?;
        agree_on_batches(job, &batches)?;
    }
    begin(&folder, &session, &begun, given, options.command)?;
    let Session { config, retriever, identity, .. } = session;
    let (config, identity) = (&config, &identity);
    DataRecord::keep(&folder, &prepared, &batches, &retriever, config)?;
    let place = Place { folder: path, stop: options.stop, job, started };
    let Beginning { start, among } =
        Beginning::of(&retriever.valid(), &prepared, config, path, observe)?;
    let dev = prepared.dev.as_ref();
    let dev = dev.map(|set| DevSet { set, rows: prepared.rows(set), among: among.as_deref() });
    let lessons = Lessons { batches: &batches, plan: &plan, dev };
    // What the baseline, if there is to be one, begins with as well.
    let anew = config.train.baseline.map(|preset| (preset, retriever.clone()));
    let trained = fit(retriever, lessons, config, &place, devices, observe)?;
    observe(Event::Phase("judging"));
    let (command, place) = (options.command, &place);
    let ending = Ending { identity, prepared: &prepared, parameters, command, place };
    let mut summary = ending.judge(&trained, config, path, observe)?;
    ending.judge_elsewhere(&trained, config, &mut summary, observe)?;
    summary.start = start;
    ending.ship(&trained, config, &summary, path)?;
    let beside = ending.baseline(anew, config, lessons, &mut summary, devices, observe)?;
    let longest = if beside.seconds > trained.before.seconds { beside } else { trained.before };

    let environment = Environment {
        devices: Workers::<B> { devices, job }.count(),
        ended: Some(seconds_since_1970()),
        ..Environment::new(options.backend, parameters, &trained.work, longest.and(started))
    };
    let environment = match job {
        Some(job) => environment.in_job(job),
        None => environment,
    };
    queries::keep(&folder, &prepared, config, &summary)?;
    folder.write_json(ENVIRONMENT, &environment)?;
    folder.write_json(SUMMARY, &summary)?;
    let (config, changed) = (config.clone(), identity.changed.clone());
    Outcome { summary, environment, config, changed, was_finished: false }.shared(job)
}

/// The run as the other ranks of a job do it: each reads the same and shares the batches.
fn follow<B: AutodiffBackend>(
    config: &ExperimentConfig,
    options: RunOptions<'_>,
    job: &Job,
    devices: &[B::Device],
    observe: &mut dyn FnMut(Event<'_>),
) -> Result<Outcome, TrainError> {
    let started = Instant::now();
    let resolved = config.resolve()?;
    let (mut config, changed) = (resolved.config.clone(), resolved.changed.clone());
    let found: Found = job.take()?;
    if !found.is_finished {
        let own = plan::temporary_folder()?;
        let vocabulary = found.vocabulary.map(|text| keep_vocabulary(own.path(), &text));
        let vocabulary = vocabulary.transpose()?;
        let session = Session::<B>::open(resolved, vocabulary.as_deref(), &devices[0], observe)?;
        config.clone_from(&session.config);
        agree_on_inputs(job, &session)?;
        let prepared = tokenised(&session, Some(job), own.path())?;
        let batches = Batches::new(&prepared, &config)?;
        let begun: Identity = job.take()?;
        let plan = plan_of(&session, &batches, Some(&begun))?;
        agree_on_batches(job, &batches)?;
        let place = Place { folder: own.path(), stop: options.stop, job: Some(job), started };
        let lessons = Lessons { batches: &batches, plan: &plan, dev: None };
        let Session { retriever, .. } = session;
        let anew = config.train.baseline.map(|preset| (preset, retriever.clone()));
        fit(retriever, lessons, &config, &place, devices, observe)?;
        if let Some((preset, retriever)) = anew {
            let config = config_of_baseline(&config, preset)?;
            fit(retriever, lessons, &config, &place, devices, observe)?;
        }
    }
    let (summary, environment) = job.take()?;
    Ok(Outcome { summary, environment, config, changed, was_finished: found.is_finished })
}

/// Writes a vocabulary that rank 0 has sent into `folder`.
fn keep_vocabulary(folder: &Path, text: &str) -> Result<PathBuf, TrainError> {
    let path = folder.join(VOCABULARY);
    match fs::write(&path, text) {
        Ok(()) => Ok(path),
        Err(source) => Err(TrainError::Write { path, source }),
    }
}

/// Makes sure that all ranks have read the same, mean the same by it, and start from the same weights.
fn agree_on_inputs<B: Backend>(job: &Job, session: &Session<B>) -> Result<(), JobError> {
    let Session { config, retriever, identity, .. } = session;
    let inputs = identity.inputs.iter().map(|(name, sum)| format!("{name}: {sum}\n"));
    job.agree("what they read", &inputs.collect::<String>())?;
    job.agree("what a model folder says", &config.to_toml())?;
    job.agree("the model", &format!("{:#?}\n", retriever.model.config()))
}

/// Makes sure that all ranks train on the same.
fn agree_on_batches(job: &Job, batches: &Batches<'_>) -> Result<(), JobError> {
    let first = blake3::hash(format!("{:?}", batches.at(0).texts).as_bytes());
    job.agree("the training data", &format!("{} steps, first batch {first}", batches.steps()))
}

/// Everything tokenised, in the folder `own` or where `data.token_cache` says. There rank 0 comes first,
/// and those who see its files find them made.
fn tokenised<B: AutodiffBackend>(
    session: &Session<B>,
    job: Option<&Job>,
    own: &Path,
) -> Result<Prepared, TrainError> {
    let (Some(cache), Some(job)) = (&session.config.data.token_cache, job) else {
        return session.tokenise(session.config.data.token_cache.as_deref().unwrap_or(own));
    };
    if !job.leads() {
        job.wait()?;
        return session.tokenise(cache);
    }
    let prepared = session.tokenise(cache)?;
    job.wait()?;
    Ok(prepared)
}

/// Says what of a run that is to begin its user may not have meant.
fn warn<B: AutodiffBackend>(
    session: &Session<B>,
    prepared: &Prepared,
    observe: &mut dyn FnMut(Event<'_>),
) {
    let Session { config, retriever, .. } = session;
    let precision = config.train.precision;
    if retriever.model.unfuses(precision) {
        let warning =
            format!("`{precision}` leaves the fused operations: it is slower than `f32` here");
        observe(Event::Warning(warning));
    }
    for warning in cut_texts(prepared, config) {
        observe(Event::Warning(warning));
    }
}

/// How the run computes; `then` is what it began with. What `"auto"` chose once stays: what a machine's
/// memory holds decides the last digits of a result.
fn plan_of<B: AutodiffBackend>(
    session: &Session<B>,
    batches: &Batches<'_>,
    then: Option<&Identity>,
) -> Result<Plan, TrainError> {
    let Session { config, retriever, .. } = session;
    let chosen = then.map_or_else(|| config.clone(), |then| as_begun(config, then));
    let loss = config.loss.resolve()?;
    Ok(plan::choose(&retriever.model, batches, &loss, &chosen))
}

/// Writes what the run begins with, so that it can go on from there.
fn begin<B: AutodiffBackend>(
    folder: &RunFolder<'_>,
    session: &Session<B>,
    begun: &Identity,
    given: &ExperimentConfig,
    command: &str,
) -> Result<(), TrainError> {
    let Session { config, retriever, .. } = session;
    let vocabulary = config.model.path.is_none().then(|| retriever.tokenizer(Side::Query));
    let is_prolonged = folder.then().is_some_and(|then| then.steps != begun.steps);
    folder.unfinish()?;
    folder.begin(begun, &config.to_toml(), vocabulary)?;
    Origin::keep(folder, given, command, is_prolonged)
}

/// `config` with what `"auto"` chose when the run began.
fn as_begun(config: &ExperimentConfig, then: &Identity) -> ExperimentConfig {
    let mut config = config.clone();
    config.train.chunk = Chunk::Pairs(then.chunk);
    config.train.recompute = if then.recomputes { Recompute::Layers } else { Recompute::None };
    config
}

impl<S: DeserializeOwned, C> Outcome<S, C> {
    /// What a run that has ended left in `folder`.
    ///
    /// # Errors
    /// A file that is missing or broken.
    pub fn of_finished(
        folder: &RunFolder<'_>,
        config: C,
        changed: Vec<String>,
    ) -> Result<Self, TrainError> {
        let (summary, environment) = (folder.read_json(SUMMARY)?, folder.read_json(ENVIRONMENT)?);
        Ok(Self { summary, environment, config, changed, was_finished: true })
    }
}

impl<S: Serialize, C> Outcome<S, C> {
    /// The same, once the other ranks of the job have its results too.
    fn shared(self, job: Option<&Job>) -> Result<Self, TrainError> {
        if let Some(job) = job {
            job.give(&(&self.summary, &self.environment))?;
        }
        Ok(self)
    }
}

/// `config` of the run's baseline, whose loss is `preset`.
fn config_of_baseline(
    config: &ExperimentConfig,
    preset: Preset,
) -> Result<ExperimentConfig, TrainError> {
    let similarity = config.loss.similarity;
    let loss = LossConfig { similarity, ..LossConfig::preset(preset) }.written_out()?;
    Ok(ExperimentConfig { loss, ..config.clone() })
}

/// What is said where neither a model nor the sizes of one are named.
const RANDOM: &str = "without `model.path` the model starts from random weights, which a small data set teaches little";

/// At this share of the training texts a side's limit deserves a look.
const MANY_CUT: f64 = 0.2;

/// What to say of the limits that much of the training data reaches.
fn cut_texts(prepared: &Prepared, config: &ExperimentConfig) -> Vec<String> {
    let limits = [
        (Side::Query, "query_max_len", config.model.query_max_len),
        (Side::Document, "document_max_len", config.model.document_max_len),
    ];
    let cut = |(side, key, limit): (Side, &str, Option<usize>)| {
        let (limit, share) = (limit?, prepared.filled(side, limit?));
        (share >= MANY_CUT).then(|| {
            let (percent, side) = (100.0 * share, side.name());
            format!(
                "{percent:.0} % of the training pairs have a {side} that fills all {limit} tokens of \
                 `model.{key}`: what is longer is cut"
            )
        })
    };
    limits.into_iter().filter_map(cut).collect()
}

/// What becomes of a trained model, the run's own and its baseline's: judged, shipped, described.
struct Ending<'a> {
    identity: &'a Identity,
    prepared: &'a Prepared,
    parameters: usize,
    command: &'a str,
    /// The run's own.
    place: &'a Place<'a>,
}

impl Ending<'_> {
    /// Trains the same model under the loss of the baseline, if there is to be one, into a folder beside
    /// the run, and notes its scores; gives the processes that worked on it before.
    fn baseline<B: AutodiffBackend>(
        &self,
        anew: Option<(Preset, Retriever<B>)>,
        config: &ExperimentConfig,
        lessons: Lessons<'_>,
        summary: &mut Summary,
        devices: &[B::Device],
        observe: &mut dyn FnMut(Event<'_>),
    ) -> Result<Before, TrainError> {
        let Some((preset, retriever)) = anew else { return Ok(Before::default()) };
        observe(Event::Phase("the same model under the baseline's loss"));
        let path = self.place.folder;
        let beside = path.join("baseline");
        fs::create_dir_all(&beside)
            .map_err(|source| TrainError::Write { path: beside.clone(), source })?;
        let config = config_of_baseline(config, preset)?;
        let place = Place { folder: &beside, ..*self.place };
        let fitted = fit(retriever, lessons, &config, &place, devices, observe)
            .map_err(|error| error.in_run(path))?;
        let mut found = self.judge(&fitted, &config, &beside, observe)?;
        found.start.clone_from(&summary.start);
        found.bm25.clone_from(&summary.bm25);
        self.ship(&fitted, &config, &found, &beside)?;
        summary.baseline = Some(Baseline { loss: preset, dev: found.dev, test: found.test });
        Ok(fitted.before)
    }

    /// Adds what the model scores on other domains, and BM25 on the test set.
    fn judge_elsewhere<B: AutodiffBackend>(
        &self,
        fitted: &Fitted<B>,
        config: &ExperimentConfig,
        summary: &mut Summary,
        observe: &mut dyn FnMut(Event<'_>),
    ) -> Result<(), TrainError> {
        let (folder, retriever) = (self.place.folder, fitted.retriever.valid());
        for set in &self.prepared.zero_shot {
            let kept = evaluation_path(folder, &format!("zero-shot/{}", set.name));
            let mut judge = Judge::new(&retriever, &config.eval);
            let found = judge.on(set, self.prepared.rows(set), None, &mut watched(observe))?;
            summary.zero_shot.insert(set.name.clone(), keep(&found, &kept)?);
        }
        if let Some(test) = &self.prepared.test {
            let (found, hits) = judge_bm25(test, &config.eval)?;
            ranking::keep(test, &hits, &ranking::path(folder, "bm25"))?;
            summary.bm25 = keep(&found, &evaluation_path(folder, "bm25"))?;
        }
        Ok(())
    }

    /// What the model scores on the dev and the test set; each query's values go into `folder`.
    fn judge<B: AutodiffBackend>(
        &self,
        fitted: &Fitted<B>,
        config: &ExperimentConfig,
        folder: &Path,
        observe: &mut dyn FnMut(Event<'_>),
    ) -> Result<Summary, TrainError> {
        let retriever = fitted.retriever.valid();
        let mut judge = Judge::new(&retriever, &config.eval);
        let mut judged_if = |set: &Option<TestSet>, name| match set {
            Some(set) => {
                let rows = self.prepared.rows(set);
                let (found, hits) = judge.found(set, rows, None, &mut watched(observe))?;
                if self.prepared.speaks(set) {
                    ranking::keep(set, &hits, &ranking::path(folder, "model"))?;
                }
                keep(&found, &evaluation_path(folder, name))
            }
            None => Ok(Metrics::new()),
        };
        let dev = judged_if(&self.prepared.dev, "dev")?;
        let test = judged_if(&self.prepared.test, "test")?;
        Ok(Summary {
            seed: config.seed,
            steps: fitted.steps,
            train_loss: fitted.train_loss,
            temperature: fitted.temperature,
            best: fitted.best.clone(),
            dev,
            test,
            dims: self.judge_dims(&mut judge, config, folder, observe)?,
            ..Summary::default()
        })
    }

    /// What the first numbers of its embeddings alone score, on the split that speaks for the run.
    fn judge_dims<B: Backend>(
        &self,
        judge: &mut Judge<'_, B>,
        config: &ExperimentConfig,
        folder: &Path,
        observe: &mut dyn FnMut(Event<'_>),
    ) -> Result<BTreeMap<usize, Metrics>, TrainError> {
        let Some(set) = self.prepared.test.as_ref().or(self.prepared.dev.as_ref()) else {
            return Ok(BTreeMap::new());
        };
        let dims = config.shorter_dims(judge.dim());
        if dims.is_empty() {
            return Ok(BTreeMap::new());
        }
        let found = judge.at_dims(&dims, set, self.prepared.rows(set), &mut watched(observe))?;
        let keep = |(dim, found): (usize, Evaluation)| {
            Ok((dim, keep(&found, &evaluation_path(folder, &format!("dims/{dim}")))?))
        };
        dims.into_iter().zip(found).map(keep).collect()
    }

    /// Writes the model's folder, its card in it, into `folder`.
    fn ship<B: AutodiffBackend>(
        &self,
        fitted: &Fitted<B>,
        config: &ExperimentConfig,
        summary: &Summary,
        folder: &Path,
    ) -> Result<(), TrainError> {
        let model = folder.join(MODEL);
        fitted.retriever.valid().save(&model)?;
        let card = Card {
            config,
            changed: &self.identity.changed,
            train: &self.prepared.train,
            summary,
            parameters: self.parameters,
            trained: fitted.retriever.model.num_trainable(),
            dim: fitted.retriever.dim(),
            command: self.command,
        };
        let path = model.join("README.md");
        samtone_files::replace(&path, card.render().as_bytes())
            .map_err(|source| TrainError::Write { path, source })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_quick_start_is_a_configuration_and_resolves() {
        let config = ExperimentConfig::parse(QUICK_START, Path::new("the quick start"), &[]);
        let resolved = config.unwrap().resolve().unwrap();
        assert!(resolved.folder.is_none() && resolved.changed.is_empty());
    }

    #[test]
    fn what_auto_chose_is_all_that_changes() {
        let config = ExperimentConfig::default();
        let then = Identity { chunk: 7, recomputes: true, ..Identity::new(&config, Vec::new()) };
        let mut begun = as_begun(&config, &then);
        assert_eq!(begun.train.chunk, Chunk::Pairs(7));
        assert_eq!(begun.train.recompute, Recompute::Layers);
        begun.train.chunk = config.train.chunk;
        begun.train.recompute = config.train.recompute;
        assert_eq!(begun, config);
    }

    #[test]
    fn a_finished_run_is_read_and_not_done_again() {
        let folder = tempfile::tempdir().unwrap();
        let config = ExperimentConfig::default();
        let now = Identity::new(&config, Vec::new());
        let mut run = RunFolder::open(folder.path(), false, &now).unwrap();
        run.take(&now).unwrap();
        run.begin(&now, &config.to_toml(), None).unwrap();
        let missing = Outcome::<Summary, _>::of_finished(&run, (), Vec::new()).unwrap_err();
        assert!(matches!(missing, TrainError::Read { .. }), "{missing}");
        let work = crate::run::training::Work { seconds: 2.0, pairs: 10, ..Default::default() };
        let environment = Environment::new("flex", 5, &work, Default::default());
        run.write_json(ENVIRONMENT, &environment).unwrap();
        run.write_json(SUMMARY, &Summary { steps: 3, ..Summary::default() }).unwrap();
        let outcome = Outcome::<Summary, _>::of_finished(&run, (), Vec::new()).unwrap();
        assert!(outcome.was_finished);
        assert_eq!((outcome.summary.steps, outcome.environment.pairs_per_second), (3, 5.0));
    }
}
