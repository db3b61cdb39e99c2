//! A whole run: data in, trained and judged model out, everything in one folder.
//!
//! ```text
//! run/  config.toml         the configuration, every key
//!       metrics.jsonl       a line a logged step
//!       checkpoints/        step-N: model, optimiser, position
//!       tokens/             the tokenised texts; may be deleted
//!       model/              the trained model's folder
//!       summary.json        results alone
//!       evaluations/        each query's values: test, dev, bm25, zero-shot/NAME
//!       environment.json    machine, versions, times, speeds
//!       node                which of several nodes wrote the folder
//!       baseline/           the same under another loss, where asked for: metrics, checkpoints,
//!                           model, evaluations
//! ```

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use burn::tensor::backend::AutodiffBackend;
use samtone_eval::{Evaluation, EvaluationJson};
use samtone_loss::LossConfig;
use samtone_model::Retriever;

use crate::card::Card;
use crate::checkpoint::replace_file;
use crate::config::ExperimentConfig;
use crate::environment::Environment;
use crate::error::TrainError;
use crate::fit::{Fitted, fit};
use crate::judge::{judge, judge_bm25, means};
use crate::nodes::{Nodes, NodesError};
use crate::prepare::{Prepared, Sources, TestSet, check_precision, start, train_sets};
use crate::record::Event;
use crate::settings::Configuration;
use crate::shards::Workers;
use crate::summary::{Baseline, Metrics, Summary};
use crate::training::Place;

/// The configuration of the quick start, as TOML.
pub const QUICK_START: &str = include_str!("quick_start.toml");

/// Where a run goes and what may interrupt it.
#[derive(Clone, Copy, Debug)]
pub struct RunOptions<'a> {
    /// The run folder.
    pub folder: &'a Path,
    /// Go on with the run in that folder.
    pub resume: bool,
    /// Name of the backend, for the record.
    pub backend: &'a str,
    /// How the run was started, for the model card.
    pub command: &'a str,
    /// Set from outside to end the run after its current step, with a checkpoint.
    pub stop: &'a AtomicBool,
    /// Other processes that train the same run, each into a folder of its own; a dual encoder's alone.
    pub nodes: Option<&'a Arc<Nodes>>,
}

/// A run's results.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// What was found.
    pub summary: Summary,
    /// What it ran on and how fast.
    pub environment: Environment,
}

/// Checks that `folder` can take a new run, or holds one to resume.
///
/// # Errors
/// [`TrainError::RunExists`] or [`TrainError::NoRun`].
pub fn check_folder(folder: &Path, resume: bool) -> Result<(), TrainError> {
    match resume {
        true if !is_begun(folder) => Err(TrainError::NoRun { path: folder.into() }),
        false if folder.exists() && !is_empty(folder) => {
            Err(TrainError::RunExists { path: folder.into() })
        }
        _ => Ok(()),
    }
}

/// Whether `folder` holds a run, from its first moment on: its configuration is written first.
pub(crate) fn is_begun(folder: &Path) -> bool {
    folder.join(CONFIG).is_file()
}

/// Whether `folder` holds nothing, or what a run leaves that was killed in its first moment.
fn is_empty(folder: &Path) -> bool {
    let leftovers = [format!("{CONFIG}.tmp"), NODE.into()];
    fs::read_dir(folder).is_ok_and(|entries| {
        entries.flatten().all(|entry| leftovers.iter().any(|name| *entry.file_name() == **name))
    })
}

/// Makes `folder` this node's, which no other may write.
fn claim(folder: &Path, nodes: &Nodes) -> Result<(), TrainError> {
    let (path, own) = (folder.join(NODE), nodes.node().to_string());
    let fault = |source| TrainError::Write { path: path.clone(), source };
    match File::create_new(&path) {
        Ok(mut file) => file.write_all(own.as_bytes()).map_err(fault),
        Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(fault(error)),
        Err(_) if fs::read_to_string(&path).map_err(fault)? == own => Ok(()),
        Err(_) => Err(NodesError::Folder { path: folder.into() }.into()),
    }
}

/// The file that says which node a run folder belongs to, if there are several.
const NODE: &str = "node";

/// The configuration in a run folder.
pub(crate) const CONFIG: &str = "config.toml";

/// The file in which the run in `folder` keeps what each query of a set scored, for
/// [`Evaluation::read`].
///
/// `set` is `test`, `dev`, `bm25` (on the test set) or `zero-shot/NAME`; the other loss of
/// `train.baseline` has its own `test` and `dev` in the run folder's `baseline`.
pub fn evaluation_path(folder: &Path, set: &str) -> PathBuf {
    folder.join("evaluations").join(format!("{set}.json"))
}

/// Trains, judges and writes the run folder.
///
/// The folder is made once the configuration, the data and the model are known to be good. Several
/// `devices` share every batch (see [`crate::shards`]); the first does all that is no training. Other
/// nodes with devices of theirs call this with the same configuration.
///
/// # Errors
/// Anything that keeps the run from starting or going on; checkpoints stay.
///
/// # Panics
/// If `devices` is empty.
pub fn run<B: AutodiffBackend>(
    config: &ExperimentConfig,
    options: RunOptions<'_>,
    devices: &[B::Device],
    observe: &mut dyn FnMut(Event<'_>),
) -> Result<Outcome, TrainError> {
    let started = Instant::now();
    let folder = options.folder;
    check_folder(folder, options.resume)?;
    let (workers, batch) =
        (Workers::<B> { devices, nodes: options.nodes }, config.train.batch_size);
    if workers.count() > batch {
        return Err(TrainError::TooManyDevices { devices: workers.count(), batch });
    }
    let device = devices.first().expect("a run has a device");
    if let Some(nodes) = options.nodes {
        nodes.agree("the version", env!("CARGO_PKG_VERSION"))?;
        nodes.agree("the backend", &B::name(device))?;
        nodes.agree("the configuration", &config.to_toml())?;
    }
    check_precision::<B>(config, device)?;
    observe(Event::Phase("reading the data"));
    let sources = Sources::load(&config.data)?;
    let train = train_sets(&sources, config)?;
    observe(Event::Phase("tokenising"));
    let retriever = start::<B>(&train, config, device)?;
    let num_parameters = retriever.model.num_parameters();

    fs::create_dir_all(folder)
        .map_err(|source| TrainError::Write { path: folder.into(), source })?;
    if let Some(nodes) = options.nodes {
        claim(folder, nodes)?;
        let pairs = train.iter().map(|set| set.pairs.len()).sum::<usize>();
        let data = format!("{pairs} pairs, {num_parameters} parameters");
        nodes.agree("what they train", &data)?;
    }
    replace_file(&folder.join(CONFIG), config.to_toml().as_bytes())?;
    let cache = config.data.token_cache.clone().unwrap_or_else(|| folder.join("tokens"));
    let prepared = Prepared::new(&sources, train, config, &retriever, &cache)?;

    let place = Place { folder, stop: options.stop, nodes: options.nodes };
    let trained = fit(retriever.clone(), &prepared, config, &place, devices, observe)?;
    let judged = |retriever: &Retriever<B>, set: &TestSet<'_>, path: PathBuf| {
        let found = judge(&retriever.valid(), set, prepared.rows(set), &config.eval)?;
        keep(&found, &path)
    };
    let judged_splits = |fitted: &Fitted<B>, folder: &Path| {
        let judged_if = |set: &Option<TestSet<'_>>, name| match set {
            Some(set) => judged(&fitted.retriever, set, evaluation_path(folder, name)),
            None => Ok(Metrics::new()),
        };
        Ok::<_, TrainError>(Summary {
            seed: config.seed,
            steps: fitted.steps,
            train_loss: fitted.train_loss,
            temperature: fitted.temperature,
            best: fitted.best.clone(),
            dev: judged_if(&prepared.dev, "dev")?,
            test: judged_if(&prepared.test, "test")?,
            ..Summary::default()
        })
    };
    let save = |fitted: &Fitted<B>, config: &ExperimentConfig, summary: &Summary, folder: &Path| {
        let model = folder.join("model");
        if !model.exists() {
            fitted.retriever.valid().save(&model)?;
        }
        let card = Card {
            config,
            train: &prepared.train,
            summary,
            parameters: num_parameters,
            dim: fitted.retriever.dim(),
            command: options.command,
        };
        replace_file(&model.join("README.md"), card.render().as_bytes())
    };
    observe(Event::Phase("judging"));
    let mut summary = judged_splits(&trained, folder)?;
    for set in &prepared.zero_shot {
        let path = evaluation_path(folder, &format!("zero-shot/{}", set.name));
        summary.zero_shot.insert(set.name.clone(), judged(&trained.retriever, set, path)?);
    }
    if let Some(test) = &prepared.test {
        summary.bm25 = keep(&judge_bm25(test, &config.eval)?, &evaluation_path(folder, "bm25"))?;
    }
    save(&trained, config, &summary, folder)?;

    if let Some(preset) = config.train.baseline {
        observe(Event::Phase("the same model under the baseline's loss"));
        let folder = folder.join("baseline");
        fs::create_dir_all(&folder)
            .map_err(|source| TrainError::Write { path: folder.clone(), source })?;
        let config = ExperimentConfig { loss: LossConfig::preset(preset), ..config.clone() };
        let place = Place { folder: &folder, stop: options.stop, nodes: options.nodes };
        let fitted = fit(retriever, &prepared, &config, &place, devices, observe)
            .map_err(|error| error.in_run(options.folder))?;
        let mut found = judged_splits(&fitted, place.folder)?;
        found.bm25.clone_from(&summary.bm25);
        save(&fitted, &config, &found, place.folder)?;
        summary.baseline = Some(Baseline { loss: preset, dev: found.dev, test: found.test });
    }

    let environment = Environment {
        devices: workers.count(),
        ..Environment::new(options.backend, num_parameters, &trained.work, started)
    };
    write_json(&folder.join("environment.json"), &environment)?;
    write_json(&folder.join("summary.json"), &summary)?;
    Ok(Outcome { summary, environment })
}

/// Writes what each query scored to `path`; the means are returned.
fn keep(found: &Evaluation, path: &Path) -> Result<Metrics, TrainError> {
    let folder = path.parent().expect("an evaluation lies in a folder");
    fs::create_dir_all(folder)
        .map_err(|source| TrainError::Write { path: folder.into(), source })?;
    let json = serde_json::to_vec(&EvaluationJson::new(found, true))
        .expect("records are representable as JSON");
    replace_file(path, &json)?;
    Ok(means(found))
}

pub(crate) fn write_json<T: serde::Serialize>(path: &Path, value: &T) -> Result<(), TrainError> {
    let mut json = serde_json::to_vec_pretty(value).expect("records are representable as JSON");
    json.push(b'\n');
    replace_file(path, &json)
}
