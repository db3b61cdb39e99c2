//! What is kept of a run: one small file, from which pages are made and the run is repeated.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::Path;

use anyhow::{Context, ensure};
use samtone_eval::{Evaluation, Metric};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::plan::{Run, Study};

/// Decimal places of a query's value: a mean is off by less than 1e-5.
const PLACES: usize = 5;

/// A run that has ended.
#[derive(Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Record {
    /// What repeats it, where the data lie under the names that it says.
    pub(crate) command: String,
    /// Its place on every axis of the study.
    pub(crate) axes: BTreeMap<String, toml::Value>,
    /// The commit of the program, `-dirty` behind it where its sources differed.
    pub(crate) commit: String,
    /// The processor and what it can.
    pub(crate) processor: String,
    /// The share of the machine that other work took, where it is known: it slows the run.
    pub(crate) others: Option<f64>,
    /// Why it has no result: its loss was not finite.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) failed: Option<String>,
    /// BLAKE3 sums of what it read, and how a step was cut: of `identity.json`.
    pub(crate) inputs: BTreeMap<String, String>,
    pub(crate) chunk: usize,
    pub(crate) recomputes: bool,
    /// `environment.json`; versions, times and speeds.
    pub(crate) environment: Value,
    /// `summary.json`; the results.
    pub(crate) summary: Value,
    /// Each query's value, by evaluation.
    pub(crate) queries: BTreeMap<String, Queries>,
}

/// Values of one metric under one evaluation.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Queries {
    /// The judgments' fingerprint: equal ones have the same queries in the same order.
    pub(crate) qrels: String,
    #[serde(with = "spaced")]
    pub(crate) values: Vec<f64>,
}

/// What the one who starts a run knows of it.
pub(crate) struct Surroundings {
    pub(crate) commit: String,
    pub(crate) processor: String,
    pub(crate) others: Option<f64>,
}

impl Record {
    /// That of `run`, which ended in `folder`, with a result or for the reason `failed`.
    pub(crate) fn new(
        study: &Study,
        run: &Run,
        folder: &Path,
        surroundings: Surroundings,
        failed: Option<String>,
    ) -> anyhow::Result<Self> {
        let json = |name: &str| -> anyhow::Result<Value> {
            let path = folder.join(name);
            let text = fs::read_to_string(&path)
                .with_context(|| format!("cannot read `{}`", path.display()))?;
            serde_json::from_str(&text).with_context(|| format!("`{}` is no JSON", path.display()))
        };
        let Surroundings { commit, processor, others } = surroundings;
        let identity = json("identity.json")?;
        let of_identity = |name: &str| identity[name].clone();
        let has_result = failed.is_none();
        let result = |name: &str| if has_result { json(name) } else { Ok(Value::Null) };
        let judged = study.judged.iter().filter(|_| has_result);
        let queries = judged.map(|on| Ok((on.clone(), Queries::read(folder, on, study.metric)?)));
        Ok(Self {
            command: run.command(),
            axes: run.axes.clone(),
            commit,
            processor,
            others: others.map(rounded),
            failed,
            inputs: serde_json::from_value(of_identity("inputs")).context("`identity.json`")?,
            chunk: serde_json::from_value(of_identity("chunk")).context("`identity.json`")?,
            recomputes: identity["recomputes"].as_bool().unwrap_or_default(),
            environment: result("environment.json")?,
            summary: result("summary.json")?,
            queries: queries.collect::<anyhow::Result<_>>()?,
        })
    }

    /// The record in the file at `path`, if there is one.
    pub(crate) fn read(path: &Path) -> anyhow::Result<Option<Self>> {
        if !path.exists() {
            return Ok(None);
        }
        let shown = path.display();
        let text = fs::read_to_string(path).with_context(|| format!("cannot read `{shown}`"))?;
        serde_json::from_str(&text).map(Some).with_context(|| format!("`{shown}` is no record"))
    }

    /// Whether it is that of `run` as the study has it now.
    pub(crate) fn is_of(&self, run: &Run) -> bool {
        self.command == run.command()
    }

    pub(crate) fn write(&self, path: &Path) -> anyhow::Result<()> {
        let mut text = serde_json::to_string_pretty(self).context("a record is no JSON")?;
        text.push('\n');
        write(path, &text)
    }

    /// Seconds from start to end, evaluation included.
    pub(crate) fn seconds(&self) -> Option<f64> {
        self.environment["total_seconds"].as_f64()
    }
}

/// What there is to say when the run has ended.
impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(failed) = &self.failed {
            return f.write_str(failed);
        }
        for (on, queries) in &self.queries {
            write!(f, "{on} {:.4}, ", queries.mean())?;
        }
        write!(f, "{:.0} s", self.seconds().unwrap_or_default())
    }
}

impl Queries {
    pub(crate) fn mean(&self) -> f64 {
        self.values.iter().sum::<f64>() / self.values.len() as f64
    }

    fn read(folder: &Path, on: &str, metric: Metric) -> anyhow::Result<Self> {
        let found = Evaluation::read(folder.join("evaluations").join(format!("{on}.json")))
            .with_context(|| {
                format!("the run has no evaluation `{on}`, which the study compares")
            })?;
        let values = found.values(metric).with_context(|| {
            format!("`{on}` was not judged by {metric}: add it to `eval.metrics`")
        })?;
        ensure!(!values.is_empty(), "no query of `{on}` counts for {metric}");
        Ok(Self {
            qrels: format!("{:016x}", found.qrels()),
            values: values.into_iter().map(rounded).collect(),
        })
    }
}

/// Writes a file whole, and the folders that it is in.
pub(crate) fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    let folder = path.parent().unwrap_or(path);
    fs::create_dir_all(folder)
        .and_then(|()| samtone_files::replace(path, text.as_bytes()))
        .with_context(|| format!("cannot write `{}`", path.display()))
}

fn rounded(value: f64) -> f64 {
    let factor = 10_f64.powi(PLACES as i32);
    (value * factor).round() / factor
}

/// Numbers as one text: a line of a file, not one each.
mod spaced {
    use serde::de::{Deserialize, Deserializer, Error};
    use serde::ser::Serializer;

    pub(super) fn serialize<S: Serializer>(values: &[f64], to: S) -> Result<S::Ok, S::Error> {
        let values: Vec<String> = values.iter().map(f64::to_string).collect();
        to.serialize_str(&values.join(" "))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<f64>, D::Error> {
        let text = String::deserialize(from)?;
        text.split(' ').map(|value| value.parse().map_err(D::Error::custom)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_one_line_of_a_record_and_come_back() {
        let queries = Queries { qrels: "ab".into(), values: vec![1.0, rounded(1.0 / 3.0), 0.0] };
        let text = serde_json::to_string(&queries).unwrap();
        assert_eq!(text, r#"{"qrels":"ab","values":"1 0.33333 0"}"#);
        assert_eq!(serde_json::from_str::<Queries>(&text).unwrap(), queries);
        let faulty = text.replace("0.33333", "third");
        assert!(serde_json::from_str::<Queries>(&faulty).is_err());
    }
}
