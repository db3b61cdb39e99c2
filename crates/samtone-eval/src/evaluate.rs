//! Judgments and a run to numbers.

use std::cmp::Ordering;

use rayon::prelude::*;

use crate::convention::{
    Average, Convention, Grades, OwnDocument, Queries, Rules, ScorePrecision, Ties,
};
use crate::error::{EvalError, Result};
use crate::metric::{Measure, Metric};
use crate::metrics::{self, JudgedRanking};
use crate::qrels::Qrels;
use crate::run::Run;
use crate::significance::bootstrap_interval;
use crate::table::hash;

/// What [`evaluate`] found: each metric's mean and its value for each query.
#[derive(Clone, Debug)]
pub struct Evaluation {
    metrics: Vec<Metric>,
    queries: Vec<String>,
    /// `[queries, metrics]`
    values: Vec<Option<f64>>,
    means: Vec<f64>,
    missing: usize,
    unjudged: usize,
    qrels: u64,
}

impl Evaluation {
    /// Puts an evaluation together again from its parts; `values` are `[queries, metrics]`.
    pub(crate) fn from_parts(
        metrics: Vec<Metric>,
        means: Vec<f64>,
        queries: Vec<String>,
        values: Vec<Option<f64>>,
        qrels: u64,
    ) -> Self {
        assert_eq!(values.len(), queries.len() * metrics.len(), "one value for query and metric");
        Self { metrics, queries, values, means, missing: 0, unjudged: 0, qrels }
    }

    /// The [fingerprint](Qrels::fingerprint) of the judgments.
    pub fn qrels(&self) -> u64 {
        self.qrels
    }

    /// The metrics, in the order asked for.
    pub fn metrics(&self) -> &[Metric] {
        &self.metrics
    }

    /// The queries that count for at least one metric, in the order of the judgments.
    pub fn queries(&self) -> &[String] {
        &self.queries
    }

    /// Each metric's mean over the queries that count for it, in the order of [`metrics`](Self::metrics).
    pub fn means(&self) -> &[f64] {
        &self.means
    }

    /// A metric's mean, if it was asked for.
    pub fn mean(&self, metric: Metric) -> Option<f64> {
        self.place(metric).map(|place| self.means[place])
    }

    /// Each query and its values in the order of [`metrics`](Self::metrics); `None` where the
    /// query does not count for a metric.
    pub fn per_query(&self) -> impl ExactSizeIterator<Item = (&str, &[Option<f64>])> + Clone {
        self.queries.iter().map(String::as_str).zip(self.values.chunks(self.metrics.len().max(1)))
    }

    /// A metric's values over the queries that count for it, in the order of the judgments.
    pub fn values(&self, metric: Metric) -> Option<Vec<f64>> {
        let place = self.place(metric)?;
        Some(self.per_query().filter_map(|(_, values)| values[place]).collect())
    }

    /// Each metric's bootstrap interval at confidence `level` from `samples` resamples of the
    /// queries, in the order of [`metrics`](Self::metrics).
    ///
    /// # Panics
    /// As [`bootstrap_interval`].
    pub fn intervals(&self, samples: usize, level: f64, seed: u64) -> Vec<(f64, f64)> {
        let values = |place: usize| -> Vec<f64> {
            self.per_query().filter_map(|(_, values)| values[place]).collect()
        };
        (0..self.metrics.len())
            .map(|place| bootstrap_interval(&values(place), samples, level, seed))
            .collect()
    }

    /// The same evaluation in some of its metrics, in the order given.
    ///
    /// # Errors
    /// [`EvalError::NotEvaluated`].
    pub fn select(&self, metrics: &[Metric]) -> Result<Self> {
        let place = |metric: &Metric| {
            self.place(*metric).ok_or_else(|| EvalError::NotEvaluated {
                metric: metric.to_string(),
                known: self.metrics.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
            })
        };
        let places: Vec<usize> = metrics.iter().map(place).collect::<Result<_>>()?;
        let row = |values: &[Option<f64>]| -> Vec<_> {
            places.iter().map(|&place| values[place]).collect()
        };
        Ok(Self {
            metrics: metrics.to_vec(),
            values: self.per_query().flat_map(|(_, values)| row(values)).collect(),
            means: places.iter().map(|&place| self.means[place]).collect(),
            ..self.clone()
        })
    }

    /// How many judged queries the run does not answer.
    pub fn missing(&self) -> usize {
        self.missing
    }

    /// How many of the run's queries are not judged; they count for nothing.
    pub fn unjudged(&self) -> usize {
        self.unjudged
    }

    fn place(&self, metric: Metric) -> Option<usize> {
        self.metrics.iter().position(|&other| other == metric)
    }
}

/// Scores a run against judgments, by the rules of a convention.
///
/// # Errors
/// [`EvalError::NoJudgments`]; [`EvalError::EmptyRun`] if the run holds nothing and a metric is averaged
/// over the queries that it answers; [`EvalError::NoCommonQueries`] if it holds queries, but none that
/// is judged; [`EvalError::NothingToAverage`] if none counts for one of the metrics.
///
/// # Examples
///
/// ```
/// use samtone_eval::{Convention, Metric, Qrels, Run, evaluate};
///
/// let qrels = Qrels::new([("q1", "d1", 1), ("q2", "d2", 1)])?;
/// let run = Run::new([("q1", "d1", 0.9), ("q1", "d2", 0.3), ("q2", "d1", 0.8), ("q2", "d2", 0.4)])?;
/// let found = evaluate(&qrels, &run, &[Metric::MRR_10], Convention::default())?;
/// assert_eq!(found.mean(Metric::MRR_10), Some(0.75)); // (1 + 1/2) / 2
/// # Ok::<(), samtone_eval::EvalError>(())
/// ```
pub fn evaluate(
    qrels: &Qrels,
    run: &Run,
    metrics: &[Metric],
    convention: Convention,
) -> Result<Evaluation> {
    let plan: Vec<(Metric, Rules)> =
        metrics.iter().map(|&metric| (metric, convention.rules(metric))).collect();
    evaluate_by(qrels, run, &plan)
}

/// [`evaluate`] with the rules given for each metric.
///
/// # Errors
/// As [`evaluate`].
///
/// # Examples
///
/// ```
/// use samtone_eval::{Metric, Qrels, Queries, Rules, Run, evaluate_by};
///
/// let qrels = Qrels::new([("q1", "d1", 1), ("q2", "d2", 1)])?;
/// let run = Run::new([("q1", "d1", 0.9)])?;
/// // trec_eval -c: a judged query without an answer counts 0.
/// let complete = Rules { queries: Queries::Judged, ..Rules::TREC9 };
/// let found = evaluate_by(&qrels, &run, &[(Metric::MAP, complete)])?;
/// assert_eq!(found.mean(Metric::MAP), Some(0.5));
/// # Ok::<(), samtone_eval::EvalError>(())
/// ```
pub fn evaluate_by(qrels: &Qrels, run: &Run, plan: &[(Metric, Rules)]) -> Result<Evaluation> {
    let found: Vec<usize> = qrels.queries().filter_map(|query| run.table().find(query)).collect();
    let judged = qrels.len();
    if judged == 0 {
        return Err(EvalError::NoJudgments);
    }
    if run.is_empty() && plan.iter().any(|(_, rules)| rules.queries == Queries::InBoth) {
        return Err(EvalError::EmptyRun { judged });
    }
    // A run that finds nothing scores 0 where every judged query counts; other ids are a mistake.
    if found.is_empty() && !run.is_empty() {
        return Err(EvalError::NoCommonQueries { run: run.len(), judged });
    }
    let rows: Vec<Vec<Option<f64>>> = (0..qrels.len())
        .into_par_iter()
        .map(|query| score_query(qrels, run, query, plan))
        .collect();
    let mut queries = Vec::with_capacity(rows.len());
    let mut values = Vec::with_capacity(rows.len() * plan.len());
    let mut sums = vec![(0.0, 0_usize); plan.len()];
    for (query, row) in qrels.queries().zip(rows) {
        if row.iter().all(Option::is_none) {
            continue;
        }
        for ((sum, count), value) in sums.iter_mut().zip(&row) {
            *sum += value.unwrap_or(0.0);
            *count += usize::from(value.is_some());
        }
        queries.push(query.to_owned());
        values.extend(row);
    }
    if let Some(place) = sums.iter().position(|&(_, count)| count == 0) {
        return Err(EvalError::NothingToAverage { metric: plan[place].0.to_string() });
    }
    Ok(Evaluation {
        metrics: plan.iter().map(|&(metric, _)| metric).collect(),
        queries,
        values,
        means: sums.into_iter().map(|(sum, count)| sum / count as f64).collect(),
        missing: qrels.len() - found.len(),
        unjudged: run.len() - found.len(),
        qrels: qrels.fingerprint(),
    })
}

/// One judged query's value for each metric, each by its own rules.
pub(crate) fn score_query(
    qrels: &Qrels,
    run: &Run,
    query: usize,
    plan: &[(Metric, Rules)],
) -> Vec<Option<f64>> {
    let answer = run.table().find(qrels.table().query(query));
    // Most conventions rank once; the ranking of the metric before is kept.
    let mut last: Option<(Rules, i32, JudgedRanking)> = None;
    plan.iter()
        .map(|&(metric, rules)| {
            let counts = match rules.queries {
                Queries::InBoth => answer.is_some(),
                Queries::Judged => true,
                Queries::WithRelevant => {
                    qrels.table().documents(query).any(|(_, grade)| grade >= metric.threshold())
                }
            };
            if !counts {
                return None;
            }
            let ranking = match &mut last {
                Some((same, threshold, ranking))
                    if same.ranks_like(rules)
                        && (rules.grades == Grades::Graded || *threshold == metric.threshold()) =>
                {
                    ranking
                }
                last => {
                    let ranking = judge(qrels, run, query, answer, rules, metric.threshold());
                    &mut last.insert((rules, metric.threshold(), ranking)).2
                }
            };
            Some(score(ranking, metric, rules))
        })
        .collect()
}

impl Rules {
    /// Whether both give the same ranking and grades, though perhaps other queries or denominators.
    fn ranks_like(self, other: Self) -> bool {
        (self.precision, self.ties, self.own_document, self.grades)
            == (other.precision, other.ties, other.own_document, other.grades)
    }
}

/// Ranks a query's documents by the rules and looks their grades up.
fn judge(
    qrels: &Qrels,
    run: &Run,
    query: usize,
    answer: Option<usize>,
    rules: Rules,
    threshold: i32,
) -> JudgedRanking {
    let id = qrels.table().query(query);
    let grade = |grade: i32| match rules.grades {
        Grades::Graded => grade,
        Grades::Binary => i32::from(grade >= threshold) * threshold.max(1),
    };
    let mut ranked: Vec<(&str, f64)> = answer
        .map(|answer| {
            run.table()
                .documents(answer)
                .filter(|&(document, _)| rules.own_document == OwnDocument::Kept || document != id)
                .map(|(document, score)| match rules.precision {
                    ScorePrecision::F32 => (document, f64::from(score as f32)),
                    ScorePrecision::F64 => (document, score),
                })
                .collect()
        })
        .unwrap_or_default();
    let order = |a: &(&str, f64), b: &(&str, f64)| {
        let by_score = b.1.partial_cmp(&a.1).expect("a run holds no NaN");
        by_score.then_with(|| match rules.ties {
            Ties::DocumentDescending => b.0.cmp(a.0),
            Ties::DocumentAscending => a.0.cmp(b.0),
            Ties::AsGiven => Ordering::Equal,
        })
    };
    ranked.sort_by(order);
    // Most documents found are not judged, which a hash tells sooner than the ids do.
    let mut hashes: Vec<u64> =
        qrels.table().documents(query).map(|(document, _)| hash(document)).collect();
    hashes.sort_unstable();
    let grade_of = |document: &str| {
        hashes.binary_search(&hash(document)).ok()?;
        qrels.table().value(query, document).map(grade)
    };
    JudgedRanking::new(
        ranked.iter().map(|(document, _)| grade_of(document)).collect(),
        qrels.table().documents(query).map(|(_, judged)| grade(judged)).collect(),
    )
}

/// A metric's value for one ranking.
fn score(ranking: &JudgedRanking, metric: Metric, rules: Rules) -> f64 {
    let (cutoff, threshold) = (metric.cutoff(), metric.threshold());
    let depth = cutoff.unwrap_or(usize::MAX);
    match metric.measure() {
        Measure::Ndcg => metrics::ndcg(ranking, cutoff),
        Measure::NdcgExp => metrics::ndcg_exp(ranking, cutoff),
        Measure::Mrr => metrics::reciprocal_rank(ranking, cutoff, threshold),
        Measure::Map => match rules.average {
            Average::AllRelevant => metrics::average_precision(ranking, cutoff, threshold),
            Average::UpToCutoff => metrics::average_precision_capped(ranking, cutoff, threshold),
        },
        Measure::Recall => metrics::recall(ranking, cutoff, threshold),
        Measure::Precision => metrics::precision(ranking, depth, threshold),
        Measure::Success => metrics::success(ranking, depth, threshold),
        Measure::RPrecision => metrics::r_precision(ranking, threshold),
        Measure::Bpref => metrics::bpref(ranking, threshold),
        Measure::Judged => metrics::judged(ranking, cutoff),
        Measure::Holes => metrics::holes(ranking, cutoff),
    }
}
