//! Evaluations as JSON, out and in.

use std::fmt;
use std::marker::PhantomData;
use std::path::Path;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};
use serde::ser::{Serialize, SerializeMap, Serializer};

use crate::error::{EvalError, Result};
use crate::source::read_text;

use crate::evaluate::Evaluation;
use crate::metric::Measure;

/// An evaluation as `samtone eval` prints it.
///
/// `{"queries": 2, "metrics": {"ndcg@10": 0.5}, "qrels": "90ab…", "per_query": {"q1": {"ndcg@10": 0.5},
/// …}}`, the last part on request; `qrels` is the judgments' fingerprint. A metric for which a query
/// does not count is left out of that query. [`Evaluation::read`] reads it back.
///
/// # Examples
///
/// ```
/// use samtone_eval::{Convention, EvaluationJson, Metric, Qrels, Run, evaluate};
///
/// let qrels = Qrels::new([("q1", "d1", 1)])?;
/// let run = Run::new([("q1", "d1", 0.9)])?;
/// let found = evaluate(&qrels, &run, &[Metric::P_1], Convention::default())?;
/// let json = serde_json::to_string(&EvaluationJson::new(&found, true))?;
/// assert!(json.starts_with(r#"{"queries":1,"metrics":{"p@1":1.0},"qrels":""#));
/// assert!(json.ends_with(r#""per_query":{"q1":{"p@1":1.0}}}"#));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct EvaluationJson<'a> {
    evaluation: &'a Evaluation,
    intervals: Option<&'a [(f64, f64)]>,
    per_query: bool,
}

impl<'a> EvaluationJson<'a> {
    /// The means, and each query's values if `per_query`.
    pub fn new(evaluation: &'a Evaluation, per_query: bool) -> Self {
        Self { evaluation, intervals: None, per_query }
    }

    /// Adds `"intervals": {"ndcg@10": [low, high], …}`, one interval for each metric.
    #[must_use]
    pub fn with_intervals(self, intervals: &'a [(f64, f64)]) -> Self {
        Self { intervals: Some(intervals), ..self }
    }
}

/// Writes pairs as an object, in order.
struct Object<I>(I);

impl<K: Serialize, V: Serialize, I: Iterator<Item = (K, V)> + Clone> Serialize for Object<I> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.clone())
    }
}

impl Serialize for EvaluationJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let names: Vec<String> =
            self.evaluation.metrics().iter().map(ToString::to_string).collect();
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("queries", &self.evaluation.queries().len())?;
        map.serialize_entry("metrics", &Object(names.iter().zip(self.evaluation.means())))?;
        if let Some(intervals) = self.intervals {
            map.serialize_entry("intervals", &Object(names.iter().zip(intervals)))?;
        }
        map.serialize_entry("qrels", &format!("{:016x}", self.evaluation.qrels()))?;
        if self.per_query {
            let queries = self.evaluation.per_query().map(|(query, values)| {
                let counted = names.iter().zip(values).filter_map(|(name, v)| Some((name, (*v)?)));
                (query, Object(counted))
            });
            map.serialize_entry("per_query", &Object(queries))?;
        }
        map.end()
    }
}

/// The entries of an object, in order.
struct Entries<V>(Vec<(String, V)>);

impl<'de, V: Deserialize<'de>> Deserialize<'de> for Entries<V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder<V>(PhantomData<V>);

        impl<'de, V: Deserialize<'de>> Visitor<'de> for InOrder<V> {
            type Value = Entries<V>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Entries(entries))
            }
        }

        deserializer.deserialize_map(InOrder(PhantomData))
    }
}

/// What [`EvaluationJson`] writes.
#[derive(serde::Deserialize)]
struct Saved {
    metrics: Entries<f64>,
    qrels: String,
    per_query: Entries<Entries<f64>>,
}

impl Evaluation {
    /// Reads an [`EvaluationJson`] with its values for each query.
    ///
    /// # Errors
    /// [`EvalError::Read`], [`EvalError::Utf8`], [`EvalError::Json`].
    pub fn read(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let text = read_text(path)?;
        Self::parse(&text).map_err(|source| EvalError::Json { path: path.to_owned(), source })
    }

    fn parse(text: &str) -> Result<Self, serde_json::Error> {
        let saved: Saved = serde_json::from_str(text)?;
        let (names, means): (Vec<String>, Vec<f64>) = saved.metrics.0.into_iter().unzip();
        let metrics: Vec<_> = names
            .iter()
            .map(|name| name.parse().map_err(serde_json::Error::custom))
            .collect::<Result<_, _>>()?;
        let qrels = u64::from_str_radix(&saved.qrels, 16).map_err(serde_json::Error::custom)?;
        let mut queries = Vec::with_capacity(saved.per_query.0.len());
        let mut values = Vec::with_capacity(queries.capacity() * metrics.len());
        for (query, Entries(counted)) in saved.per_query.0 {
            let value = |name: &String| Some(counted.iter().find(|(other, _)| other == name)?.1);
            values.extend(names.iter().map(value));
            queries.push(query);
        }
        if let Some(place) = (0..metrics.len())
            .find(|&place| values.iter().skip(place).step_by(metrics.len()).all(Option::is_none))
        {
            let message = format!("no query has a value for `{}`", names[place]);
            return Err(serde_json::Error::custom(message));
        }
        Ok(Self::from_parts(metrics, means, queries, values, qrels))
    }
}

/// An evaluation in the shape of an MTEB result file.
///
/// `{"task_name": …, "dataset_revision": …, "scores": {"test": [{"ndcg_at_10": …, "main_score": …, "hf_subset": "default",
/// "languages": [...]}]}}`, with MTEB's spelling of the metrics; `main_score` is the first metric.
#[derive(Clone, Copy, Debug)]
pub struct MtebJson<'a> {
    /// The numbers.
    pub evaluation: &'a Evaluation,
    /// The task's name, such as `SciFact`.
    pub task: &'a str,
    /// The split, such as `test`.
    pub split: &'a str,
    /// Languages as MTEB writes them, such as `eng-Latn`.
    pub languages: &'a [&'a str],
    /// The data's revision: MTEB's readers want one.
    pub revision: &'a str,
    /// Seconds the evaluation took.
    pub seconds: f64,
}

impl Serialize for MtebJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut scores = serde_json::Map::new();
        for (metric, &mean) in self.evaluation.metrics().iter().zip(self.evaluation.means()) {
            let name = match metric.measure() {
                Measure::Precision => "precision",
                Measure::Success => "hit_rate",
                other => other.name(),
            };
            let name = metric.to_string().replace(metric.measure().name(), name);
            scores.insert(name.replace('@', "_at_"), mean.into());
        }
        let main = self.evaluation.means().first().copied();
        scores.insert("main_score".into(), main.into());
        scores.insert("hf_subset".into(), "default".into());
        scores.insert("languages".into(), self.languages.into());
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("task_name", self.task)?;
        map.serialize_entry("dataset_revision", self.revision)?;
        // Present and null: without it MTEB takes the file for one of its own old ones.
        map.serialize_entry("mteb_version", &())?;
        map.serialize_entry("evaluation_time", &self.seconds)?;
        map.serialize_entry("scores", &Object(std::iter::once((self.split, [scores]))))?;
        map.end()
    }
}
