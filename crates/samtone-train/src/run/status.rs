//! How a run stands, from the files that it writes.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;

use crate::error::TrainError;
use crate::run::identity::Identity;
use crate::run::record::StepRecord;
use crate::run::run_folder::{Hold, METRICS, SUMMARY, is_begun};
use crate::run::summary::Metrics;

/// How far a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// A process works on it.
    Running,
    /// No process does, and it has not ended: `--resume` goes on with it.
    Stopped,
    /// It has ended.
    Finished,
}

impl State {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Stopped => "stopped",
            Self::Finished => "finished",
        }
    }
}

/// How a run stands.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Status {
    /// The run folder.
    pub run: PathBuf,
    /// Whether it goes on.
    pub state: State,
    /// Steps done, as far as they are logged.
    pub step: usize,
    /// Steps of the whole run.
    pub steps: usize,
    /// The last loss logged, the mean since the one before; none before the first.
    pub loss: Option<f64>,
    /// The last dev evaluation; empty if there was none.
    pub dev: Metrics,
    /// Pairs trained on in a second; none before the first step logged.
    pub pairs_per_second: Option<f64>,
    /// Seconds that the steps to come will take, evaluations aside, at the speed of those done.
    pub seconds_left: Option<f64>,
    /// Seconds since something was logged.
    pub seconds_since: Option<f64>,
}

impl Status {
    /// Reads how the run in `folder` stands; it may be worked on meanwhile.
    ///
    /// # Errors
    /// [`TrainError::NoRun`] if there is none, [`TrainError::Read`] for a file that is not what a run
    /// writes.
    pub fn read(folder: &Path) -> Result<Self, TrainError> {
        if !is_begun(folder) {
            return Err(TrainError::NoRun { path: folder.into() });
        }
        let steps = Identity::read(folder)?.steps;
        let log = folder.join(METRICS);
        let records = logged(&log);
        let last = records.last();
        let state = if folder.join(SUMMARY).is_file() {
            State::Finished
        } else if Hold::is_taken(folder) {
            State::Running
        } else {
            State::Stopped
        };
        let since = |time: std::time::SystemTime| time.elapsed().unwrap_or(Duration::ZERO);
        let logged = fs::metadata(&log).and_then(|metadata| metadata.modified()).ok();
        let left = |last: &StepRecord| {
            last.seconds / last.step.max(1) as f64 * steps.saturating_sub(last.step) as f64
        };
        Ok(Self {
            run: folder.into(),
            state,
            step: last.map_or(0, |last| last.step),
            steps,
            loss: last.map(|last| last.loss),
            dev: records
                .iter()
                .rev()
                .find(|record| !record.dev.is_empty())
                .map_or_else(Metrics::new, |record| record.dev.clone()),
            pairs_per_second: last.map(|last| last.pairs_per_second),
            seconds_left: last.filter(|_| state != State::Finished).map(left),
            seconds_since: logged.map(|logged| since(logged).as_secs_f64()),
        })
    }
}

/// The lines of a `metrics.jsonl` that are whole: the last may be in the making.
pub fn logged(path: &Path) -> Vec<StepRecord> {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

/// Ablations hold their runs so deep.
const DEPTH: usize = 4;

/// The folders in and under `folder` that hold a run, by their names; a run's own folders are not
/// looked into.
///
/// # Errors
/// [`TrainError::Read`] if `folder` cannot be read.
pub fn runs_under(folder: &Path) -> Result<Vec<PathBuf>, TrainError> {
    let mut found = Vec::new();
    look(folder, DEPTH, &mut found)
        .map_err(|source| TrainError::Read { path: folder.into(), source })?;
    found.sort();
    Ok(found)
}

fn look(folder: &Path, depth: usize, found: &mut Vec<PathBuf>) -> std::io::Result<()> {
    if is_begun(folder) {
        found.push(folder.into());
    } else if depth > 0 {
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            if path.is_dir() {
                look(&path, depth - 1, found)?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Configuration, ExperimentConfig};
    use crate::run::run_folder::CONFIG;

    /// A run folder of ten steps with these lines logged.
    fn run(folder: &Path, lines: &str) {
        fs::create_dir_all(folder).unwrap();
        let config = ExperimentConfig::default();
        let identity = Identity { steps: 10, ..Identity::new(&config, Vec::new()) };
        identity.write(folder).unwrap();
        fs::write(folder.join(CONFIG), config.to_toml()).unwrap();
        fs::write(folder.join(METRICS), lines).unwrap();
    }

    #[test]
    fn a_run_is_read_while_it_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("runs/a/b");
        let line = |step: usize, dev: &str| {
            let dev = if dev.is_empty() { String::new() } else { format!(",\"dev\":{dev}") };
            format!(
                "{{\"step\":{step},\"loss\":0.5,\"lr\":1.0,\"temperature\":1.0,\"gradient_norm\":1.0,\
                 \"seconds\":8.0,\"pairs_per_second\":4.0,\"tokens_per_second\":9.0,\
                 \"padded_share\":0.0{dev}}}\n"
            )
        };
        let lines = line(2, "{\"mrr@10\":0.25}") + &line(4, "") + "{\"step\":6,\"lo";
        run(&path, &lines);
        assert_eq!(runs_under(folder.path()).unwrap(), std::slice::from_ref(&path));
        let status = Status::read(&path).unwrap();
        assert_eq!((status.state, status.step, status.steps), (State::Stopped, 4, 10));
        assert_eq!((status.loss, status.seconds_left), (Some(0.5), Some(12.0)));
        assert_eq!(status.dev["mrr@10"], 0.25);
        let hold = Hold::take(&path).unwrap();
        assert_eq!(Status::read(&path).unwrap().state, State::Running);
        drop(hold);
        fs::write(path.join(SUMMARY), "{}").unwrap();
        let status = Status::read(&path).unwrap();
        assert_eq!((status.state, status.seconds_left), (State::Finished, None));
        let error = Status::read(folder.path()).unwrap_err();
        assert!(matches!(error, TrainError::NoRun { .. }), "{error}");
    }
}
