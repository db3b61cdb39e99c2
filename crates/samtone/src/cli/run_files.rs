//! What a run folder holds for a page, while the run goes on, too.

use std::path::{Path, PathBuf};

use anyhow::Context;
use samtone_train::config::{Configuration, ExperimentConfig};
use samtone_train::run::{
    CONFIG, DataRecord, ENVIRONMENT, Environment, Identity, METRICS, Origin, SUMMARY, ShownQueries,
    Status, StepRecord, Summary, logged,
};
use serde::de::DeserializeOwned;

/// The files of a run. What older versions did not write, and a run that goes on has not written yet, is
/// absent.
pub(crate) struct RunFiles {
    pub(crate) folder: PathBuf,
    pub(crate) status: Status,
    pub(crate) config: ExperimentConfig,
    pub(crate) identity: Identity,
    pub(crate) origin: Option<Origin>,
    pub(crate) data: Option<DataRecord>,
    pub(crate) queries: Option<ShownQueries>,
    pub(crate) environment: Option<Environment>,
    pub(crate) summary: Option<Summary>,
    /// A training's name and its logged steps: the run's own, then its baseline's.
    pub(crate) trainings: Vec<Training>,
}

/// A training's name and its logged steps.
pub(crate) type Training = (String, Vec<StepRecord>);

impl RunFiles {
    /// # Errors
    /// If `folder` holds no run of `samtone train`, or a file that is not what a run writes.
    pub(crate) fn read(folder: &Path) -> anyhow::Result<Self> {
        let status = Status::read(folder)?;
        let config = ExperimentConfig::load(&folder.join(CONFIG), &[])?;
        let summary: Option<Summary> = json(folder, SUMMARY)?;
        let mut trainings = vec![(config.loss_name(), logged(&folder.join(METRICS)))];
        let beside = logged(&folder.join("baseline").join(METRICS));
        if let Some(preset) = config.train.baseline.filter(|_| !beside.is_empty()) {
            trainings.push((preset.to_string(), beside));
        }
        Ok(Self {
            folder: folder.into(),
            status,
            identity: Identity::read(folder)?,
            origin: Origin::read(folder),
            data: DataRecord::read(folder),
            // Those of an earlier ending are not those of a run that was prolonged.
            queries: summary.as_ref().and_then(|_| ShownQueries::read(folder)),
            environment: if summary.is_some() { json(folder, ENVIRONMENT)? } else { None },
            summary,
            trainings,
            config,
        })
    }

    /// The folder's own name.
    pub(crate) fn name(&self) -> String {
        self.folder.file_name().unwrap_or(self.folder.as_os_str()).to_string_lossy().into_owned()
    }

    /// The run's own logged steps.
    pub(crate) fn steps(&self) -> &[StepRecord] {
        &self.trainings[0].1
    }
}

/// A JSON file of a run; none if it is not there.
fn json<T: DeserializeOwned>(folder: &Path, name: &str) -> anyhow::Result<Option<T>> {
    let path = folder.join(name);
    if !path.is_file() {
        return Ok(None);
    }
    let wrong = || format!("cannot read `{}`", path.display());
    let bytes = std::fs::read(&path).with_context(wrong)?;
    Ok(Some(serde_json::from_slice(&bytes).with_context(wrong)?))
}
