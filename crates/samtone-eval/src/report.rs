//! Evaluations as JSON.

use serde::ser::{Serialize, SerializeMap, Serializer};

use crate::evaluate::Evaluation;
use crate::metric::Measure;

/// An evaluation as `samtone eval` prints it.
///
/// `{"queries": 2, "metrics": {"ndcg@10": 0.5}, "per_query": {"q1": {"ndcg@10": 0.5}, …}}`, the last
/// part on request. A metric for which a query does not count is left out of that query.
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
/// assert_eq!(json, r#"{"queries":1,"metrics":{"p@1":1.0},"per_query":{"q1":{"p@1":1.0}}}"#);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct EvaluationJson<'a> {
    evaluation: &'a Evaluation,
    per_query: bool,
}

impl<'a> EvaluationJson<'a> {
    /// The means, and each query's values if `per_query`.
    pub fn new(evaluation: &'a Evaluation, per_query: bool) -> Self {
        Self { evaluation, per_query }
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

/// An evaluation in the shape of an MTEB result file.
///
/// `{"task_name": …, "scores": {"test": [{"ndcg_at_10": …, "main_score": …, "hf_subset": "default",
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
        map.serialize_entry("evaluation_time", &self.seconds)?;
        map.serialize_entry("scores", &Object(std::iter::once((self.split, [scores]))))?;
        map.end()
    }
}
