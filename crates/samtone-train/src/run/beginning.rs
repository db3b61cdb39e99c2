//! What is found of a model before its first step.

use std::path::{Path, PathBuf};

use burn::tensor::backend::Backend;
use samtone_eval::Evaluation;
use samtone_model::Retriever;
use samtone_text::Key;

use crate::config::ExperimentConfig;
use crate::error::TrainError;
use crate::run::dev_sample;
use crate::run::judge::{Judge, evaluation_path, keep, means, watched};
use crate::run::prepare::{Prepared, TestSet, TokenRows};
use crate::run::ranking;
use crate::run::record::Event;
use crate::run::summary::{BeforeTraining, Metrics};

/// What is found of a model before its first step.
pub(crate) struct Beginning {
    /// What it is worth, where it is to be judged.
    pub(crate) start: Option<BeforeTraining>,
    /// The documents that dev evaluations on the way look in, where these are not all.
    pub(crate) among: Option<Vec<usize>>,
}

impl Beginning {
    /// Judges `start` where it is to be, and draws the dev sample where one is needed, or finds both in
    /// the run's `folder`.
    ///
    /// # Errors
    /// A metric that cannot be computed, embeddings that are not finite, files of the folder.
    pub(crate) fn of<B: Backend>(
        start: &Retriever<B>,
        prepared: &Prepared,
        config: &ExperimentConfig,
        folder: &Path,
        observe: &mut dyn FnMut(Event<'_>),
    ) -> Result<Self, TrainError> {
        let mut judge = Judge::new(start, &config.eval);
        let mut found = config.eval.start.unwrap_or(false).then(BeforeTraining::default);
        if let Some(found) = &mut found {
            let sets =
                [("dev", &prepared.dev, &mut found.dev), ("test", &prepared.test, &mut found.test)];
            observe(Event::Phase("judging the start"));
            for (split, set, metrics) in sets {
                let Some(set) = set else { continue };
                let kept = Kept {
                    evaluation: evaluation_path(folder, &format!("start/{split}")),
                    ranking: prepared.speaks(set).then(|| ranking::path(folder, "start")),
                };
                *metrics = once(&mut judge, set, prepared.rows(set), None, &kept, observe)?;
                observe(Event::Start { split, metrics });
            }
        }
        let among = dev_sample(&mut judge, found.is_some(), prepared, config, folder, observe)?;
        if let (Some(found), Some(among), Some(dev)) = (&mut found, &among, &prepared.dev) {
            let (rows, among) = (prepared.rows(dev), Some(&among[..]));
            let evaluation = evaluation_path(folder, "start/dev-sample");
            let kept = Kept { evaluation, ranking: None };
            found.dev_sample = once(&mut judge, dev, rows, among, &kept, observe)?;
        }
        Ok(Self { start: found, among })
    }
}

/// Where what is found is kept.
struct Kept {
    evaluation: PathBuf,
    /// Where the set speaks for the run.
    ranking: Option<PathBuf>,
}

/// What `judge` finds on `set`, or what it has found and `kept` before the run was interrupted.
fn once<B: Backend>(
    judge: &mut Judge<'_, B>,
    set: &TestSet,
    rows: &TokenRows,
    among: Option<&[usize]>,
    kept: &Kept,
    observe: &mut dyn FnMut(Event<'_>),
) -> Result<Metrics, TrainError> {
    if kept.evaluation.exists() {
        return Ok(means(&Evaluation::read(&kept.evaluation)?));
    }
    let (found, hits) = judge.found(set, rows, among, &mut watched(observe))?;
    if let Some(path) = &kept.ranking {
        ranking::keep(set, &hits, path)?;
    }
    keep(&found, &kept.evaluation)
}

/// The documents that dev evaluations on the way look in, if there are any and not in all; the nearest
/// by the start are among them if it `is_judged`.
fn dev_sample<B: Backend>(
    judge: &mut Judge<'_, B>,
    is_judged: bool,
    prepared: &Prepared,
    config: &ExperimentConfig,
    folder: &Path,
    observe: &mut dyn FnMut(Event<'_>),
) -> Result<Option<Vec<usize>>, TrainError> {
    let size = config.eval.dev_documents;
    let Some(dev) = &prepared.dev else { return Ok(None) };
    let all = dev.dataset.documents().len();
    if config.train.eval_every == 0 || size == 0 || all <= size {
        return Ok(None);
    }
    if let Some(sample) = dev_sample::read(folder, dev)? {
        return Ok(Some(sample));
    }
    let by_model = if is_judged {
        judge.search(dev, prepared.rows(dev), dev_sample::NEAREST, &mut watched(observe))?
    } else {
        Vec::new()
    };
    let sample = dev_sample::draw(dev, size, &by_model, Key::new(config.seed).child("dev sample"));
    dev_sample::write(folder, dev, &sample)?;
    observe(Event::Chosen(format!(
        "dev evaluations on the way look in {} of {all} documents (`eval.dev_documents`), listed in {}",
        sample.len(),
        dev_sample::FILE
    )));
    Ok(Some(sample))
}
