//! Where, when and how a run was begun.

use std::path::Path;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::config::ExperimentConfig;
use crate::error::TrainError;
use crate::run::identity::flat;
use crate::run::run_folder::RunFolder;

/// `origin.json` of a run folder: written when the run begins; what prolongs it is added.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// When it was begun, in seconds since 1970 (UTC).
    pub began: u64,
    /// How it was started.
    pub command: String,
    /// The working folder.
    pub folder: String,
    /// The commit of the working folder's repository, `-dirty` behind it where files differ from it; none
    /// without Git or a repository.
    pub commit: Option<String>,
    /// Keys of the configuration that were given another value than their default.
    pub given: Vec<String>,
    /// The commands that prolonged it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub prolonged: Vec<String>,
}

/// The file in a run folder.
const FILE: &str = "origin.json";

impl Origin {
    /// That of a run of `config`, as it was given, begun now by `command`.
    fn now(config: &ExperimentConfig, command: &str) -> Self {
        Self {
            began: seconds_since_1970(),
            command: command.into(),
            folder: std::env::current_dir().unwrap_or_default().display().to_string(),
            commit: commit(),
            given: given(config),
            prolonged: Vec::new(),
        }
    }

    /// Writes that of the run that begins in `folder`; one that goes on has its own already, to which
    /// `command` is added where it prolongs the run.
    ///
    /// # Errors
    /// [`TrainError::Read`], [`TrainError::Write`].
    pub(crate) fn keep(
        folder: &RunFolder<'_>,
        config: &ExperimentConfig,
        command: &str,
        is_prolonged: bool,
    ) -> Result<(), TrainError> {
        if !folder.has(FILE) {
            return folder.write_json(FILE, &Self::now(config, command));
        }
        if !is_prolonged {
            return Ok(());
        }
        let mut origin: Self = folder.read_json(FILE)?;
        origin.prolonged.push(command.into());
        let more = given(config).into_iter().filter(|key| !origin.given.contains(key));
        origin.given.extend(more.collect::<Vec<_>>());
        folder.write_json(FILE, &origin)
    }

    /// The commands that make the run, a line each.
    pub fn commands(&self) -> String {
        let prolonged = self.prolonged.iter().map(String::as_str);
        std::iter::once(&*self.command).chain(prolonged).collect::<Vec<_>>().join("\n")
    }

    /// That of the run in `folder`; none of a run that was begun before it was written.
    pub fn read(folder: &Path) -> Option<Self> {
        serde_json::from_slice(&std::fs::read(folder.join(FILE)).ok()?).ok()
    }
}

/// Now, in seconds since 1970 (UTC).
pub(crate) fn seconds_since_1970() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// The commit of the working folder's repository.
fn commit() -> Option<String> {
    let describe = ["describe", "--always", "--dirty", "--abbrev=40", "--match="];
    let output = Command::new("git").args(describe).output().ok()?;
    let commit = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    (output.status.success() && !commit.is_empty()).then_some(commit)
}

/// Keys of `config` whose values are not the defaults.
fn given(config: &ExperimentConfig) -> Vec<String> {
    let leaves = |config: &ExperimentConfig| {
        flat(&serde_json::to_value(config).expect("a configuration is representable"))
    };
    let (own, default) = (leaves(config), leaves(&ExperimentConfig::default()));
    own.into_iter()
        .filter(|(key, value)| default.get(key) != Some(value))
        .map(|own| own.0)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Configuration;

    #[test]
    fn what_is_given_is_what_differs_from_the_defaults() {
        let text = "seed = 0\n[train]\nlr = 1e-4\nbatch_size = 7\n[model]\nquery_prompt = \"q: \"";
        let config = ExperimentConfig::parse(text, Path::new("x.toml"), &[]).unwrap();
        assert_eq!(given(&config), ["model.query_prompt", "train.batch_size", "train.lr"]);
        assert!(given(&ExperimentConfig::default()).is_empty());
    }
}
