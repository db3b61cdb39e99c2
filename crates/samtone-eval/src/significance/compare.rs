//! Runs side by side.

use serde::Serialize;

use super::{Style, bootstrap_interval, effect_size, holm, paired_randomisation, table};
use crate::error::{EvalError, Result};
use crate::evaluate::Evaluation;

/// How runs are compared.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CompareConfig {
    /// Random sign patterns and resamples.
    pub samples: usize,
    /// The intervals' confidence, in `(0, 1)`.
    pub level: f64,
    /// How many of the queries that changed most are listed.
    pub changes: usize,
    /// Where the randomness starts.
    pub seed: u64,
}

impl Default for CompareConfig {
    /// 10,000 samples, 95 % intervals, 5 changes.
    fn default() -> Self {
        Self { samples: 10_000, level: 0.95, changes: 5, seed: 0 }
    }
}

/// A query's value before and after.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Change {
    /// The query's id.
    pub query: String,
    /// Its value in the baseline.
    pub baseline: f64,
    /// Its value in the other run.
    pub other: f64,
}

/// One run against the baseline in one metric.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ComparedRun {
    /// The run's name.
    pub run: String,
    /// The metric's name.
    pub metric: String,
    /// The baseline's mean.
    pub baseline: f64,
    /// The run's mean.
    pub mean: f64,
    /// The run's mean less the baseline's.
    pub difference: f64,
    /// The difference's bootstrap interval.
    pub interval: (f64, f64),
    /// The p-value of the paired randomisation test.
    pub p: f64,
    /// That p-value after Holm's correction over all rows.
    pub p_holm: f64,
    /// The paired effect size; `null` in JSON where it is infinite.
    pub effect: f64,
    /// Queries on which the run is better.
    pub wins: usize,
    /// Queries on which both are equal.
    pub ties: usize,
    /// Queries on which the run is worse.
    pub losses: usize,
    /// The queries that changed most, the largest change first.
    pub changes: Vec<Change>,
}

/// Runs against a baseline, in every metric they share.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Comparison {
    /// The baseline's name.
    pub baseline: String,
    /// How many queries each comparison pairs.
    pub queries: usize,
    /// The intervals' confidence.
    pub level: f64,
    /// Run by run, and metric by metric.
    pub rows: Vec<ComparedRun>,
}

/// Compares named evaluations with the first of them.
///
/// # Errors
/// [`EvalError::QrelsDiffer`] if they are over different judgments,
/// [`EvalError::QueriesDiffer`] if different queries count, [`EvalError::NothingToCompare`] if there
/// are fewer than two or no metric is common.
///
/// # Examples
///
/// ```
/// use samtone_eval::significance::{CompareConfig, Style, compare};
/// use samtone_eval::{Convention, Metric, Qrels, Run, evaluate};
///
/// let qrels = Qrels::new((0..8).map(|q| (format!("q{q}"), "good", 1)))?;
/// let score = |good: f64| {
///     let run = Run::new((0..8).flat_map(|q| {
///         [(format!("q{q}"), "good", good), (format!("q{q}"), "bad", 0.5)]
///     }))?;
///     evaluate(&qrels, &run, &[Metric::P_1], Convention::default())
/// };
/// let (before, after) = (score(0.1)?, score(0.9)?);
/// let found = compare(&[("before", &before), ("after", &after)], &CompareConfig::default())?;
/// assert_eq!((found.rows[0].difference, found.rows[0].wins), (1.0, 8));
/// assert_eq!(found.rows[0].p, 2.0 / 256.0); // all 8 signs alike
/// assert!(found.render(Style::Markdown).contains("| after | p@1 |"));
/// # Ok::<(), samtone_eval::EvalError>(())
/// ```
pub fn compare(runs: &[(&str, &Evaluation)], config: &CompareConfig) -> Result<Comparison> {
    let [(baseline_name, baseline), others @ ..] = runs else {
        return Err(EvalError::NothingToCompare);
    };
    let mut rows = Vec::new();
    for &(name, other) in others {
        if baseline.qrels() != other.qrels() {
            return Err(EvalError::QrelsDiffer {
                first: (*baseline_name).to_owned(),
                second: name.to_owned(),
            });
        }
        for (place, metric) in baseline.metrics().iter().enumerate() {
            let Some(other_place) = other.metrics().iter().position(|m| m == metric) else {
                continue;
            };
            let pairs = pair(baseline, place, other, other_place).ok_or_else(|| {
                EvalError::QueriesDiffer {
                    first: (*baseline_name).to_owned(),
                    second: name.to_owned(),
                    metric: metric.to_string(),
                }
            })?;
            let baseline_mean = baseline.means()[place];
            let mean = other.means()[other_place];
            rows.push(row(name, metric.to_string(), (baseline_mean, mean), pairs, config));
        }
    }
    if rows.is_empty() {
        return Err(EvalError::NothingToCompare);
    }
    let corrected = holm(&rows.iter().map(|row| row.p).collect::<Vec<_>>());
    for (row, p) in rows.iter_mut().zip(corrected) {
        row.p_holm = p;
    }
    Ok(Comparison {
        baseline: (*baseline_name).to_owned(),
        queries: rows[0].wins + rows[0].ties + rows[0].losses,
        level: config.level,
        rows,
    })
}

/// Each query's two values; `None` if a query counts for one side only.
fn pair(a: &Evaluation, a_place: usize, b: &Evaluation, b_place: usize) -> Option<Vec<Change>> {
    let counted = |evaluation: &Evaluation, place: usize| -> Vec<(String, f64)> {
        let all = evaluation.per_query();
        all.filter_map(|(query, values)| Some((query.to_owned(), values[place]?))).collect()
    };
    let (mut a, mut b) = (counted(a, a_place), counted(b, b_place));
    a.sort_by(|x, y| x.0.cmp(&y.0));
    b.sort_by(|x, y| x.0.cmp(&y.0));
    if a.len() != b.len() {
        return None;
    }
    a.into_iter()
        .zip(b)
        .map(|((query, baseline), (other_query, other))| {
            (query == other_query).then_some(Change { query, baseline, other })
        })
        .collect()
}

fn row(
    run: &str,
    metric: String,
    (baseline, mean): (f64, f64),
    mut pairs: Vec<Change>,
    config: &CompareConfig,
) -> ComparedRun {
    let differences: Vec<f64> = pairs.iter().map(|pair| pair.other - pair.baseline).collect();
    let count = |which: fn(f64) -> bool| differences.iter().filter(|&&d| which(d)).count();
    let (wins, ties, losses) = (count(|d| d > 0.0), count(|d| d == 0.0), count(|d| d < 0.0));
    let p = paired_randomisation(&differences, config.samples, config.seed);
    let interval = bootstrap_interval(&differences, config.samples, config.level, config.seed);
    let effect = effect_size(&differences);
    let size = |change: &Change| (change.other - change.baseline).abs();
    pairs.retain(|change| size(change) > 0.0);
    pairs.sort_by(|a, b| size(b).total_cmp(&size(a)).then_with(|| a.query.cmp(&b.query)));
    pairs.truncate(config.changes);
    ComparedRun {
        run: run.to_owned(),
        metric,
        baseline,
        mean,
        difference: mean - baseline,
        interval,
        p,
        p_holm: p,
        effect,
        wins,
        ties,
        losses,
        changes: pairs,
    }
}

impl Comparison {
    /// The rows as a table.
    pub fn render(&self, style: Style) -> String {
        let header = [
            "run".to_owned(),
            "metric".to_owned(),
            self.baseline.clone(),
            "mean".to_owned(),
            "difference".to_owned(),
            format!("{} % interval", trimmed(100.0 * self.level)),
            "p".to_owned(),
            "p (Holm)".to_owned(),
            "d_z".to_owned(),
            "wins/ties/losses".to_owned(),
        ];
        let rows: Vec<Vec<String>> = self
            .rows
            .iter()
            .map(|row| {
                vec![
                    row.run.clone(),
                    row.metric.clone(),
                    format!("{:.4}", row.baseline),
                    format!("{:.4}", row.mean),
                    format!("{:+.4}", row.difference),
                    format!("[{:+.4}, {:+.4}]", row.interval.0, row.interval.1),
                    format!("{:.4}", row.p),
                    format!("{:.4}", row.p_holm),
                    format!("{:+.2}", row.effect),
                    format!("{}/{}/{}", row.wins, row.ties, row.losses),
                ]
            })
            .collect();
        table::render(&header, &rows, style)
    }
}

/// 95 as `95`, 99.5 as `99.5`.
fn trimmed(percentage: f64) -> String {
    let digits = format!("{percentage:.2}");
    digits.trim_end_matches('0').trim_end_matches('.').to_owned()
}
