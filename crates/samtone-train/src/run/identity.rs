//! What makes a run this run and no other: its resolved configuration and what it reads.
//!
//! `identity.json` of a run folder holds it from the run's first moment on, and a run goes on only
//! under the same. More steps prolong a run; nothing else may differ.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io;
use std::path::Path;

use samtone_data::Dataset;
use samtone_model::ModelFolder;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::config::{Configuration, EMBEDDED};
use crate::error::TrainError;

/// The file in a run folder.
pub(crate) const FILE: &str = "identity.json";

/// The keys that the data decides where the configuration says nothing; the data's sums are compared.
const OF_DATA: [&str; 1] = ["train.hard_negatives"];

/// The keys that prolong a run.
const PROLONGING: [&str; 2] = ["train.steps", "train.epochs"];

/// What a run is, beside the steps that it takes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    /// The configuration, every key resolved.
    pub config: Value,
    /// What was changed of the model that it starts from, a line each.
    pub changed: Vec<String>,
    /// BLAKE3 sums of what it reads, by name: each data set, the tokenizer, the weights before the
    /// first step.
    pub inputs: BTreeMap<String, String>,
    /// Pairs whose activations exist at once, as `train.chunk` says or `"auto"` chose.
    pub chunk: usize,
    /// Whether layers are computed again on the way back, as `train.recompute` says or `"auto"` chose.
    #[serde(default)]
    pub recomputes: bool,
    /// Steps of the whole run.
    pub steps: usize,
}

impl Identity {
    /// That of a run under `config`, whose chunk and steps are not known yet.
    ///
    /// # Panics
    /// Never: every configuration is representable as JSON.
    pub fn new<C: Configuration>(config: &C, changed: Vec<String>) -> Self {
        let config = serde_json::to_value(config).expect("a configuration is representable");
        Self { config, changed, inputs: BTreeMap::new(), chunk: 0, recomputes: false, steps: 0 }
    }

    /// Notes the sum of what is read under `name`.
    pub(crate) fn reads(&mut self, name: impl Into<String>, sum: blake3::Hash) {
        self.inputs.insert(name.into(), sum.to_hex().to_string());
    }

    /// Notes the sum of the file at `path`, or of all files in that folder; nothing where the name
    /// means what is generated.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn reads_file(&mut self, path: &Path) -> Result<(), TrainError> {
        if path == Path::new(EMBEDDED) {
            return Ok(());
        }
        self.reads_folder(path, path)
    }

    /// Notes the sum of the files of the model that `path` stands for.
    ///
    /// # Errors
    /// As [`ModelFolder::find`], or a file that cannot be read.
    pub fn reads_model(&mut self, path: &Path) -> Result<(), TrainError> {
        self.reads_folder(path, &ModelFolder::find(path)?)
    }

    fn reads_folder(&mut self, name: &Path, path: &Path) -> Result<(), TrainError> {
        let mut sum = blake3::Hasher::new();
        add_file(path, &mut sum)
            .map_err(|source| TrainError::Read { path: path.into(), source })?;
        self.reads(format!("`{}`", name.display()), sum.finalize());
        Ok(())
    }

    /// That of the run in `folder`.
    ///
    /// # Errors
    /// If there is none, or no intact one.
    pub fn read(folder: &Path) -> Result<Self, TrainError> {
        let path = folder.join(FILE);
        let failed = |source| TrainError::Read { path: path.clone(), source };
        let bytes = std::fs::read(&path).map_err(failed)?;
        serde_json::from_slice(&bytes).map_err(|error| failed(error.into()))
    }

    pub(crate) fn write(&self, folder: &Path) -> Result<(), TrainError> {
        let path = folder.join(FILE);
        let mut json = serde_json::to_vec_pretty(self).expect("it is representable as JSON");
        json.push(b'\n');
        samtone_files::replace(&path, &json).map_err(|source| TrainError::Write { path, source })
    }

    /// Whether a run under `now` has nothing of its configuration changed, more steps aside; whether
    /// the steps are as they were.
    ///
    /// # Errors
    /// [`TrainError::OtherRun`] with the keys that differ.
    pub(crate) fn allows(&self, now: &Self, folder: &Path) -> Result<bool, TrainError> {
        let (then, now) = (flat(&self.config), flat(&now.config));
        let keys: BTreeSet<&String> = then.keys().chain(now.keys()).collect();
        let value = |of: &BTreeMap<String, String>, key: &str| {
            of.get(key).cloned().unwrap_or_else(|| "nothing".into())
        };
        let differing: Vec<&String> =
            keys.into_iter().filter(|key| then.get(*key) != now.get(*key)).collect();
        let is_open = |key: &str| OF_DATA.contains(&key) && !now.contains_key(key);
        let differing = differing.into_iter().filter(|key| !is_open(key));
        let (steps, others): (Vec<_>, Vec<_>) =
            differing.partition(|key| PROLONGING.contains(&key.as_str()));
        if others.is_empty() {
            return Ok(steps.is_empty());
        }
        let differences = others
            .into_iter()
            .map(|key| format!("`{key}` is {}, was {}", value(&now, key), value(&then, key)))
            .collect();
        Err(TrainError::OtherRun { folder: folder.into(), differences })
    }

    /// Checks that what is read `now` is what this run began with.
    ///
    /// # Errors
    /// [`TrainError::OtherRun`] with what differs.
    pub(crate) fn same_inputs(&self, now: &Self, folder: &Path) -> Result<(), TrainError> {
        let names: BTreeSet<&String> = self.inputs.keys().chain(now.inputs.keys()).collect();
        let differences: Vec<String> = names
            .into_iter()
            .filter(|name| self.inputs.get(*name) != now.inputs.get(*name))
            .map(|name| format!("{name}: not what the run began with"))
            .collect();
        if differences.is_empty() {
            return Ok(());
        }
        Err(TrainError::OtherRun { folder: folder.into(), differences })
    }

    /// Checks that a run of `steps` steps is not shorter than this one.
    ///
    /// # Errors
    /// [`TrainError::OtherRun`].
    pub(crate) fn is_prolonged_to(&self, steps: usize, folder: &Path) -> Result<(), TrainError> {
        if steps >= self.steps {
            return Ok(());
        }
        let differences = vec![format!("the run has {steps} steps, had {}", self.steps)];
        Err(TrainError::OtherRun { folder: folder.into(), differences })
    }
}

/// Every leaf of `value` by its dotted key, as it is written.
pub(crate) fn flat(value: &Value) -> BTreeMap<String, String> {
    fn add(key: &str, value: &Value, leaves: &mut BTreeMap<String, String>) {
        match value {
            Value::Null => {}
            Value::Object(table) => {
                for (name, value) in table {
                    let dot = if key.is_empty() { "" } else { "." };
                    add(&format!("{key}{dot}{name}"), value, leaves);
                }
            }
            leaf => {
                leaves.insert(key.to_owned(), leaf.to_string());
            }
        }
    }
    let mut leaves = BTreeMap::new();
    add("", value, &mut leaves);
    leaves
}

/// Adds the file at `path`, or the files in that folder by their names.
fn add_file(path: &Path, sum: &mut blake3::Hasher) -> io::Result<()> {
    if !path.is_dir() {
        return io::copy(&mut File::open(path)?, sum).map(drop);
    }
    let mut entries: Vec<_> = fs::read_dir(path)?.collect::<Result<_, _>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        sum.update(entry.file_name().as_encoded_bytes());
        add_file(&entry.path(), sum)?;
    }
    Ok(())
}

/// The sum of everything that a run can see of a data set's `splits`.
pub(crate) fn data_sum(dataset: &Dataset, splits: &[&str]) -> blake3::Hash {
    let mut sum = blake3::Hasher::new();
    for document in dataset.documents() {
        for part in [document.id, document.title, document.text] {
            add_text(part, &mut sum);
        }
    }
    for query in dataset.queries() {
        for part in [&query.id, &query.text] {
            add_text(part, &mut sum);
        }
    }
    for split in splits {
        add_text(split, &mut sum);
        for judgment in dataset.judgments(split) {
            sum.update(&(judgment.query as u64).to_le_bytes());
            sum.update(&(judgment.document as u64).to_le_bytes());
            sum.update(&judgment.grade.to_le_bytes());
        }
        for pair in dataset.pairs(split) {
            for index in [pair.query, pair.document].iter().chain(&pair.negatives) {
                sum.update(&(*index as u64).to_le_bytes());
            }
            for score in &pair.scores {
                sum.update(&score.to_le_bytes());
            }
        }
    }
    sum.finalize()
}

fn add_text(text: &str, sum: &mut blake3::Hasher) {
    sum.update(&(text.len() as u64).to_le_bytes());
    sum.update(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{ExperimentConfig, Override};

    fn identity(text: &str, overrides: &[&str]) -> Identity {
        let overrides = Override::set_all(overrides.iter().copied());
        let config = ExperimentConfig::parse(text, Path::new("x.toml"), &overrides).unwrap();
        Identity::new(&config, Vec::new())
    }

    #[test]
    fn only_more_steps_may_differ() {
        let text = "[train]\nsteps = 5";
        let (begun, folder) = (identity(text, &[]), Path::new("run"));
        let same = begun.allows(&identity(text, &[]), folder);
        assert!(same.unwrap(), "nothing differs");
        let longer = begun.allows(&identity(text, &["train.steps=9"]), folder);
        assert!(!longer.unwrap(), "the steps differ");
        let by_epochs = begun.allows(&identity(text, &["train.epochs=2"]), folder);
        assert!(!by_epochs.unwrap(), "they are given in another unit");
        let other = identity(text, &["train.clip=2.5", "model.path=m", "train.steps=9"]);
        let error = begun.allows(&other, folder).unwrap_err();
        assert_eq!(
            error.to_string(),
            "`run` was begun otherwise: `model.path` is \"m\", was nothing; `train.clip` is 2.5, was 1.0"
        );
        let begun = Identity { steps: 5, ..begun };
        begun.is_prolonged_to(5, folder).unwrap();
        let error = begun.is_prolonged_to(4, folder).unwrap_err().to_string();
        assert_eq!(error, "`run` was begun otherwise: the run has 4 steps, had 5");
    }

    #[test]
    fn every_letter_and_every_judgment_is_in_the_sum() {
        let folder = tempfile::tempdir().unwrap();
        let sum = |row: &str| {
            let path = folder.path().join("pairs.jsonl");
            std::fs::write(&path, row).unwrap();
            data_sum(&Dataset::load_pairs(&path, "train").unwrap(), &["train"])
        };
        let rows = [
            r#"{"query":"a","positive":"b","negatives":["c","d"]}"#,
            r#"{"query":"a","positive":"b","negatives":["cd"]}"#,
            r#"{"query":"a","positive":"c","negatives":["b","d"]}"#,
            r#"{"query":"a","positive":"b","negatives":["c","d"],"scores":[1,2,3]}"#,
        ];
        let sums: BTreeSet<String> = rows.iter().map(|row| sum(row).to_string()).collect();
        assert_eq!(sums.len(), rows.len());
        assert_eq!(sum(rows[0]), sum(rows[0]));
    }
}
