//! What a run tells while it goes: events for whoever watches, lines of `metrics.jsonl`.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use samtone_model::Side;
use serde::{Deserialize, Serialize};

use crate::error::TrainError;
use crate::run::summary::Metrics;

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
    /// The model before its first step was judged on a split.
    Start {
        /// The split.
        split: &'a str,
        /// What it is worth there.
        metrics: &'a Metrics,
    },
    /// Texts are being embedded to judge a model.
    Judging {
        /// Whose texts.
        side: Side,
        /// How many are embedded.
        done: usize,
        /// How many there are.
        count: usize,
    },
    /// What the configuration changes of the model that the run starts from.
    Changed(&'a str),
    /// What the run takes where the configuration says nothing and the data decides.
    Chosen(String),
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
    /// Mean loss of the batch, in nats; in `metrics.jsonl` the mean over the steps since the line before.
    pub loss: f64,
    /// The learning rate of the step.
    pub lr: f64,
    /// The temperature of the step.
    pub temperature: f64,
    /// Global norm of the gradient before clipping.
    pub gradient_norm: f64,
    /// Seconds spent in steps since the run began.
    #[serde(default)]
    pub seconds: f64,
    /// Pairs trained on in a second, since the run began.
    pub pairs_per_second: f64,
    /// Real tokens (padding not counted) trained on in a second, since then.
    pub tokens_per_second: f64,
    /// Share of the computed tokens that were padding, since then, in `[0, 1)`.
    pub padded_share: f64,
    /// Memory that the process holds, in bytes, where the system tells it and the line is logged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rss_bytes: Option<u64>,
    /// Dev metrics after this step, where they were taken.
    #[serde(default, skip_serializing_if = "Metrics::is_empty")]
    pub dev: Metrics,
}

/// `metrics.jsonl`, open for appending.
#[derive(Debug)]
pub(crate) struct Log {
    path: PathBuf,
    file: fs::File,
}

impl Log {
    /// Opens the log and drops what was written after `step`: those steps will run again.
    pub(crate) fn open(path: &Path, step: usize) -> Result<Self, TrainError> {
        let failed = |source| TrainError::Write { path: path.into(), source };
        let old = match fs::read_to_string(path) {
            _ if step == 0 => String::new(),
            Ok(old) => old,
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(source) => return Err(TrainError::Read { path: path.into(), source }),
        };
        let kept: String = old
            .lines()
            .filter(|line| {
                serde_json::from_str::<StepRecord>(line).is_ok_and(|record| record.step <= step)
            })
            .flat_map(|line| [line, "\n"])
            .collect();
        samtone_files::replace(path, kept.as_bytes()).map_err(failed)?;
        let file = fs::OpenOptions::new().append(true).open(path).map_err(failed)?;
        Ok(Self { path: path.into(), file })
    }

    pub(crate) fn write(&mut self, record: &StepRecord) -> Result<(), TrainError> {
        let mut line = serde_json::to_vec(record).expect("a record is representable as JSON");
        line.push(b'\n');
        self.file
            .write_all(&line)
            .map_err(|source| TrainError::Write { path: self.path.clone(), source })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::run_folder::METRICS;

    #[test]
    fn a_log_that_cannot_be_read_is_no_empty_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(METRICS);
        let record = |step| StepRecord { step, ..StepRecord::default() };
        let mut log = Log::open(&path, 0).unwrap();
        (1..=3).for_each(|step| log.write(&record(step)).unwrap());
        drop(Log::open(&path, 2).unwrap());
        assert_eq!(fs::read_to_string(&path).unwrap().lines().count(), 2);
        fs::write(&path, b"{\"step\":1}\n\xff\n").unwrap();
        let error = Log::open(&path, 2).unwrap_err();
        assert!(matches!(error, TrainError::Read { .. }), "{error}");
        assert_eq!(fs::read(&path).unwrap(), b"{\"step\":1}\n\xff\n");
    }
}
