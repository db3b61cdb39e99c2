//! What a run tells while it goes: events for whoever watches, lines of `metrics.jsonl`.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::checkpoint::replace_file;
use crate::error::TrainError;
use crate::summary::Metrics;

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
    /// Real tokens (padding not counted) trained on in a second, since then.
    pub tokens_per_second: f64,
    /// Share of the computed tokens that were padding, since then, in `[0, 1)`.
    pub padded_share: f64,
    /// Dev metrics after this step, where they were taken.
    #[serde(default, skip_serializing_if = "Metrics::is_empty")]
    pub dev: Metrics,
}

/// `metrics.jsonl`, open for appending.
pub(crate) struct Log {
    path: PathBuf,
    file: fs::File,
}

impl Log {
    /// Opens the log and drops what was written after `step`: those steps will run again.
    pub(crate) fn open(path: &Path, step: usize) -> Result<Self, TrainError> {
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

    pub(crate) fn write(&mut self, record: &StepRecord) -> Result<(), TrainError> {
        let mut line = serde_json::to_vec(record).expect("a record is representable as JSON");
        line.push(b'\n');
        self.file
            .write_all(&line)
            .map_err(|source| TrainError::Write { path: self.path.clone(), source })
    }
}
