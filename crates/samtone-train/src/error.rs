//! What can go wrong in training.

use std::path::PathBuf;

use samtone_data::DataError;
use samtone_model::Precision;

use crate::config::Written;
use crate::share::job::JobError;
use crate::step::engine::GradientsError;

/// A training run that cannot start or go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrainError {
    /// A file that cannot be read.
    #[error("cannot read `{path}`")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file or folder that cannot be written.
    #[error("cannot write `{path}`")]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A configuration with a mistake.
    #[error("{place}: {message}")]
    Config {
        /// Where it was written.
        place: Written,
        /// What is wrong.
        message: String,
        /// What to write instead, where that is known.
        hint: Option<String>,
    },
    /// A run folder that holds a run already.
    #[error("the run folder `{path}` exists already")]
    RunExists {
        /// The folder.
        path: PathBuf,
    },
    /// A run folder that another process writes.
    #[error("the run folder `{path}` is in use by another process")]
    RunInUse {
        /// The folder.
        path: PathBuf,
    },
    /// A run folder whose run is another than the one asked for.
    #[error("`{folder}` was begun otherwise: {}", differences.join("; "))]
    OtherRun {
        /// The folder.
        folder: PathBuf,
        /// What differs, a phrase each.
        differences: Vec<String>,
    },
    /// A key that does not fit the model or another key.
    #[error("`{key}` {problem}")]
    Misfit {
        /// The key.
        key: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// Fewer documents than a row's hard negatives, those that are relevant to its batch aside.
    #[error(
        "`train.hard_negatives` is {wanted}, but a row of step {step} has only {available} documents that may be one"
    )]
    TooFewNegatives {
        /// `train.hard_negatives`.
        wanted: usize,
        /// The step, from 0.
        step: usize,
        /// Documents that are relevant to no query of the batch.
        available: usize,
    },
    /// A run folder that holds nothing to resume from.
    #[error("`{path}` holds no run to resume")]
    NoRun {
        /// The folder.
        path: PathBuf,
    },
    /// Fewer training pairs than one batch takes.
    #[error("split `{split}` of `{folder}` holds {pairs} pairs, fewer than one batch of {batch}")]
    TooFewPairs {
        /// The data folder.
        folder: PathBuf,
        /// The split.
        split: String,
        /// Pairs that it holds.
        pairs: usize,
        /// `train.batch_size`.
        batch: usize,
    },
    /// A device that does not compute in a float type.
    #[error("`train.precision` is `{precision}`, which {backend} does not compute with here")]
    Precision {
        /// `train.precision`.
        precision: Precision,
        /// Burn's name of the backend.
        backend: String,
    },
    /// More devices than pairs in a batch.
    #[error("{devices} devices cannot share batches of {batch} pairs")]
    TooManyDevices {
        /// Devices that were asked for.
        devices: usize,
        /// `train.batch_size`.
        batch: usize,
    },
    /// Training data that lacks what the configuration asks for.
    #[error("no training row of `{data}` has a {what}, which `{key}` needs")]
    NothingToLearn {
        /// The training data.
        data: String,
        /// What is missing.
        what: &'static str,
        /// The key that asks for it.
        key: &'static str,
    },
    /// A loss or a gradient that is not a number.
    #[error("step {step}: {what}")]
    NonFinite {
        /// The step, from 0.
        step: usize,
        /// What was not finite, as a sentence.
        what: String,
        /// Where the ids of the batch were written.
        batch: PathBuf,
    },
    /// A TREC run of another data set.
    #[error("the {what} `{id}` of the run is not in the data")]
    ForeignRun {
        /// `query` or `document`.
        what: &'static str,
        /// The first one that is not there.
        id: String,
    },
    /// A run that was asked to stop, after writing a checkpoint.
    #[error("interrupted after {step} steps")]
    Interrupted {
        /// Steps done.
        step: usize,
        /// The run folder.
        folder: PathBuf,
    },
    /// A checkpoint that cannot be gone on from.
    #[error("cannot use the checkpoint: {0}")]
    Checkpoint(String),
    /// Processes that do not train together.
    #[error(transparent)]
    Job(#[from] JobError),
    /// Data that cannot be used.
    #[error(transparent)]
    Data(#[from] DataError),
    /// A tokenizer that cannot be used.
    #[error(transparent)]
    Text(#[from] samtone_text::TextError),
    /// A model that cannot be built, read or written.
    #[error(transparent)]
    Model(#[from] samtone_model::ModelError),
    /// A loss that cannot be computed.
    #[error(transparent)]
    Loss(#[from] samtone_loss::LossError),
    /// An evaluation that cannot be done.
    #[error(transparent)]
    Eval(#[from] samtone_eval::EvalError),
}

impl From<GradientsError> for TrainError {
    fn from(error: GradientsError) -> Self {
        match error {
            GradientsError::Loss(error) => error.into(),
            GradientsError::Job(error) => error.into(),
        }
    }
}

impl TrainError {
    /// A configuration mistake at `place`.
    pub(crate) fn config(place: Written, message: impl Into<String>) -> Self {
        Self::Config { place, message: message.into(), hint: None }
    }

    /// The same, of a training whose run folder is `run`: there an interrupted one is resumed.
    #[must_use]
    pub fn in_run(self, run: &std::path::Path) -> Self {
        match self {
            Self::Interrupted { step, .. } => Self::Interrupted { step, folder: run.into() },
            other => other,
        }
    }

    /// Whether every rank of a job meets it: rank 0 speaks for all.
    pub fn is_everyones(&self) -> bool {
        use TrainError::{Job, NonFinite, TooManyDevices};
        matches!(self, NonFinite { .. } | TooManyDevices { .. } | Job(JobError::Differ { .. }))
    }

    /// What to do about it, where that is known.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Config { hint, .. } => hint.clone(),
            Self::RunExists { .. } => Some(
                "give another `--run-dir`, `--resume` to continue that run, or remove the folder"
                    .into(),
            ),
            Self::RunInUse { .. } => Some(
                "wait until that run ends, or give another `--run-dir`".into(),
            ),
            Self::OtherRun { .. } => Some(
                "a run goes on only as it began; more `train.steps` or `train.epochs` prolong it, everything else wants another `--run-dir`".into(),
            ),
            Self::TooFewNegatives { available, .. } => Some(format!(
                "set `train.hard_negatives` to at most {available}, a smaller `train.batch_size`, or give more documents"
            )),
            Self::NoRun { .. } => Some(
                "`--resume` alone wants the folder of a run; with `--config` it starts one where there is none"
                    .into(),
            ),
            Self::TooFewPairs { pairs, .. } => {
                Some(format!("set `train.batch_size` to at most {pairs}"))
            }
            Self::Precision { .. } => {
                Some("every backend computes with `f32`; `samtone train --help` names them".into())
            }
            Self::TooManyDevices { batch, .. } => Some(format!(
                "name at most {batch} devices, or set a larger `train.batch_size`"
            )),
            Self::NothingToLearn { .. } => Some(
                "rows of a file of pairs have `negatives` and `scores`; in a folder, documents judged 0 are a query's negatives".into(),
            ),
            Self::NonFinite { batch, .. } => Some(format!(
                "the batch is in `{}`; a lower `train.lr`, a longer `train.warmup` or `train.clip` = 1 usually helps",
                batch.display()
            )),
            Self::Interrupted { folder, .. } => Some(format!(
                "`--run-dir {} --resume` goes on from there",
                folder.display()
            )),
            Self::ForeignRun { .. } => {
                Some("is it a run of this data set, and of these queries?".into())
            }
            Self::Job(error) => error.hint(),
            Self::Data(error @ DataError::NoSplit { split, .. })
                if ["dev", "test"].contains(&&**split) =>
            {
                let known = error.hint().unwrap_or_default();
                Some(format!(
                    "{known}; `samtone split` makes `{split}` of another, an empty `data.{split}_split` does without"
                ))
            }
            Self::Data(error) => error.hint(),
            Self::Text(error) => error.hint(),
            Self::Model(error) => error.hint(),
            Self::Loss(error) => error.hint(),
            Self::Eval(error) => error.hint(),
            Self::Read { .. }
            | Self::Write { .. }
            | Self::Misfit { .. }
            | Self::Checkpoint(_) => None,
        }
    }
}
