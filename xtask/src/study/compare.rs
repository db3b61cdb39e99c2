//! What the records say of each difference: paired tests over queries and over seeds, and what these
//! could have seen.

use std::collections::BTreeMap;

use anyhow::{Context, ensure};
use samtone_eval::significance::{bootstrap_interval, holm, paired_randomisation};
use statrs::distribution::{ContinuousCDF, StudentsT};
use toml::Value;

use super::plan::{Comparison, Run, SEED, Study, label};
use super::record::{Queries, Record};

/// Below this p a difference is told, after Holm's correction.
pub(crate) const SIGNIFICANT: f64 = 0.05;
/// The intervals' confidence.
const LEVEL: f64 = 1.0 - SIGNIFICANT;
/// How often a difference of the size that is named as seen would be found.
pub(crate) const POWER: f64 = 0.8;
/// Random sign patterns of a test over queries: the smallest p is one of so many.
pub(crate) const SIGNS: usize = 10_000;
/// Resamples of an interval over queries.
pub(crate) const RESAMPLES: usize = 2_000;

/// One value of the compared axis against the baseline, all else equal.
#[derive(Debug)]
pub(crate) struct Row<'a> {
    /// A run that has the value; its seed aside it is the condition.
    pub(crate) run: &'a Run,
    pub(crate) value: &'a Value,
    /// The evaluation.
    pub(crate) on: &'a str,
    /// Seeds under which both sides have a result.
    pub(crate) seeds: Vec<String>,
    /// Pairs in which either side has none, for its loss was not finite.
    pub(crate) failed: usize,
    /// What was found; nothing where no pair has a result.
    pub(crate) found: Option<Found<'a>>,
}

/// Means over the seeds, and their difference.
#[derive(Debug)]
pub(crate) struct Found<'a> {
    pub(crate) baseline: f64,
    pub(crate) mean: f64,
    pub(crate) queries: Tested,
    /// From two seeds on.
    pub(crate) over_seeds: Option<Tested>,
    /// Each query's difference, and the fingerprint of the judgments that they are of.
    differences: Vec<f64>,
    qrels: &'a str,
}

/// A difference that was tested.
#[derive(Debug)]
pub(crate) struct Tested {
    pub(crate) difference: f64,
    /// Where it lies with a confidence of 95 %.
    pub(crate) interval: (f64, f64),
    pub(crate) p: f64,
    /// That p after Holm's correction over all that are told together.
    pub(crate) p_holm: f64,
    /// The smallest true difference that the test would find.
    pub(crate) least: f64,
    /// The standard error, and how many differences it is over.
    error: f64,
    count: usize,
}

/// The rows of a comparison in the study's order; what is not recorded yet is left out.
pub(crate) fn rows<'a>(
    study: &'a Study,
    comparison: &Comparison,
    records: &'a BTreeMap<&str, Record>,
) -> anyhow::Result<Vec<Row<'a>>> {
    let mut conditions: Vec<(BTreeMap<&str, &Value>, Vec<&Run>)> = Vec::new();
    let compared =
        |run: &&Run| run.axes.get(&comparison.of).is_some_and(|v| *v != comparison.against);
    for run in study.runs.iter().filter(compared) {
        let axes = run.axes.iter().filter(|(axis, _)| *axis != SEED);
        let condition = axes.map(|(axis, value)| (axis.as_str(), value)).collect();
        match conditions.iter_mut().find(|(other, _)| *other == condition) {
            Some((_, runs)) => runs.push(run),
            None => conditions.push((condition, vec![run])),
        }
    }
    let mut rows = Vec::new();
    for (_, runs) in &conditions {
        for on in &study.judged {
            rows.extend(row(study, comparison, runs, on, records)?);
        }
    }
    let (mut by_query, mut by_seed) = (Vec::new(), Vec::new());
    for found in rows.iter_mut().filter_map(|row| row.found.as_mut()) {
        by_query.push(&mut found.queries);
        by_seed.extend(found.over_seeds.as_mut());
    }
    correct(by_query);
    correct(by_seed);
    Ok(rows)
}

/// The row of `runs`, which differ in their seeds; none where nothing is recorded.
fn row<'a>(
    study: &'a Study,
    comparison: &Comparison,
    runs: &[&'a Run],
    on: &'a str,
    records: &'a BTreeMap<&str, Record>,
) -> anyhow::Result<Option<Row<'a>>> {
    let run = *runs.first().expect("a condition has a run");
    let mut row = Row {
        run,
        value: &run.axes[&comparison.of],
        on,
        seeds: Vec::new(),
        failed: 0,
        found: None,
    };
    let mut pairs: Vec<(&Queries, &Queries)> = Vec::new();
    for run in runs {
        let other = study.counterpart(run, comparison).expect("a study has checked it");
        let record = |run: &Run| records.get(run.name.as_str());
        let (Some(own), Some(theirs)) = (record(run), record(other)) else { continue };
        if own.failed.is_some() || theirs.failed.is_some() {
            row.failed += 1;
            continue;
        }
        let (a, b) = (queries(own, run, on)?, queries(theirs, other, on)?);
        let first = pairs.first().map_or(a, |pair| pair.0);
        let is_alike =
            |one: &Queries| one.qrels == first.qrels && one.values.len() == first.values.len();
        ensure!(
            is_alike(a) && is_alike(b),
            "`{}` and its counterpart `{}` were judged by other queries than one another, or than \
             under another seed\nhint: delete the records of the older data",
            run.name,
            other.name
        );
        row.seeds.extend(run.axes.get(SEED).map(label));
        pairs.push((a, b));
    }
    row.found = found(&pairs);
    Ok((row.found.is_some() || row.failed > 0).then_some(row))
}

fn queries<'a>(record: &'a Record, run: &Run, on: &str) -> anyhow::Result<&'a Queries> {
    record.queries.get(on).with_context(|| format!("the record of `{}` has no `{on}`", run.name))
}

/// What pairs of runs, one a seed, found; nothing without one.
fn found<'a>(pairs: &[(&'a Queries, &'a Queries)]) -> Option<Found<'a>> {
    let first = pairs.first()?.0;
    let mut differences = vec![0.0; first.values.len()];
    for (own, other) in pairs {
        for (sum, (a, b)) in differences.iter_mut().zip(own.values.iter().zip(&other.values)) {
            *sum += (a - b) / pairs.len() as f64;
        }
    }
    let means: Vec<f64> = pairs.iter().map(|(own, _)| own.mean()).collect();
    let baselines: Vec<f64> = pairs.iter().map(|(_, other)| other.mean()).collect();
    let by_seed: Vec<f64> = means.iter().zip(&baselines).map(|(a, b)| a - b).collect();
    Some(Found {
        baseline: mean(&baselines),
        mean: mean(&means),
        queries: over_queries(&differences),
        over_seeds: (by_seed.len() > 1).then(|| over_seeds(&by_seed)),
        differences,
        qrels: &first.qrels,
    })
}

/// The rows' differences as one: each query's is the mean over the rows that have it, and all queries
/// count alike. Nothing where no row has a result; Holm's correction is the caller's.
pub(crate) fn together(rows: &[&Row<'_>]) -> Option<Tested> {
    let mut sets: BTreeMap<(&str, &str), Vec<&[f64]>> = BTreeMap::new();
    for (row, found) in rows.iter().filter_map(|row| Some((row, row.found.as_ref()?))) {
        sets.entry((row.on, found.qrels)).or_default().push(&found.differences);
    }
    let query_means = |rows: &Vec<&[f64]>| -> Vec<f64> {
        let of =
            |query| rows.iter().map(|row: &&[f64]| row[query]).sum::<f64>() / rows.len() as f64;
        (0..rows[0].len()).map(of).collect()
    };
    let differences: Vec<f64> = sets.values().flat_map(query_means).collect();
    (!differences.is_empty()).then(|| over_queries(&differences))
}

fn over_queries(differences: &[f64]) -> Tested {
    let interval = bootstrap_interval(differences, RESAMPLES, LEVEL, 0);
    Tested::new(differences, interval, paired_randomisation(differences, SIGNS, 0))
}

/// The paired t test: few seeds have too few sign patterns for another.
fn over_seeds(differences: &[f64]) -> Tested {
    let (mean, error) = (mean(differences), standard_error(differences));
    let t = student(differences.len());
    let half = t.inverse_cdf(f64::midpoint(1.0, LEVEL)) * error;
    let p = if error > 0.0 {
        2.0 * t.sf((mean / error).abs())
    } else if mean == 0.0 {
        1.0
    } else {
        0.0
    };
    Tested::new(differences, (mean - half, mean + half), p)
}

impl Tested {
    fn new(differences: &[f64], interval: (f64, f64), p: f64) -> Self {
        let (difference, error) = (mean(differences), standard_error(differences));
        let (p_holm, least) = (f64::NAN, f64::NAN);
        Self { difference, interval, p, p_holm, least, error, count: differences.len() }
    }

    /// Whether it is told from 0.
    pub(crate) fn is_told(&self) -> bool {
        self.p_holm < SIGNIFICANT
    }
}

/// Holm's correction over all of them, and what each could see at the level of its first step.
pub(crate) fn correct(tested: Vec<&mut Tested>) {
    let corrected = holm(&tested.iter().map(|tested| tested.p).collect::<Vec<_>>());
    let level = SIGNIFICANT / tested.len() as f64;
    for (tested, p) in tested.into_iter().zip(corrected) {
        tested.p_holm = p;
        tested.least = least(tested.error, tested.count, level);
    }
}

/// The smallest true difference that a two-sided paired test at `level` finds with a probability of
/// [`POWER`]: `(t_(1−level/2) + t_POWER) · error`.
///
/// Source: Bloom 1995, "Minimum detectable effects", Evaluation Review 19(5).
fn least(error: f64, count: usize, level: f64) -> f64 {
    if count < 2 {
        return f64::INFINITY;
    }
    let t = student(count);
    (t.inverse_cdf(1.0 - level / 2.0) + t.inverse_cdf(POWER)) * error
}

/// Student's t of the mean of `count` differences.
fn student(count: usize) -> StudentsT {
    StudentsT::new(0.0, 1.0, count as f64 - 1.0).expect("two differences at least")
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// Of the mean of `values`.
fn standard_error(values: &[f64]) -> f64 {
    let (mean, count) = (mean(values), values.len() as f64);
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    (squares / (count - 1.0) / count).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Quantiles of t, from tables of three decimals, leave this.
    const TOLERANCE: f64 = 1e-4;

    #[track_caller]
    fn near(found: f64, expected: f64) {
        assert!((found - expected).abs() < TOLERANCE, "{found}, not {expected}");
    }

    #[test]
    fn seeds_are_tested_by_students_t() {
        // Mean 0.2, deviation 0.1, error 0.1 / √3 = 0.057735; t = 3.4641 with 2 degrees of freedom.
        let found = over_seeds(&[0.1, 0.2, 0.3]);
        near(found.difference, 0.2);
        near(found.p, 0.07418);
        // ± 4.30265 errors.
        near(found.interval.0, 0.2 - 0.24841);
        near(found.interval.1, 0.2 + 0.24841);
        // (4.30265 + 1.06066) errors at 0.05, (6.20535 + 1.06066) at half of it.
        near(least(found.error, 3, 0.05), 0.30965);
        near(least(found.error, 3, 0.025), 0.41950);
        assert_eq!(over_seeds(&[0.1, 0.1]).p, 0.0);
        assert_eq!(over_seeds(&[0.0, 0.0]).p, 1.0);
    }

    fn queries(values: &[f64]) -> Queries {
        Queries { qrels: "ab".into(), values: values.into() }
    }

    #[test]
    fn queries_are_averaged_over_seeds_and_told_apart() {
        // Six queries; the second seed doubles the gain of the first.
        let [base, one, two] = [0.2, 0.3, 0.4].map(|value| queries(&[value; 6]));
        let found = found(&[(&one, &base), (&two, &base)]).unwrap();
        near(found.baseline, 0.2);
        near(found.mean, 0.35);
        near(found.queries.difference, 0.15);
        // All 6 signs alike: 2 of 64 patterns.
        assert_eq!(found.queries.p, 2.0 / 64.0);
        assert_eq!(found.queries.interval.0, found.queries.interval.1);
        // Gains of 0.1 and 0.2: error 0.05, t = 3 with 1 degree of freedom, p = 1 − (2/π)·atan 3.
        near(found.over_seeds.unwrap().p, 1.0 - 2.0 / std::f64::consts::PI * 3.0_f64.atan());
        assert!(super::found(&[(&one, &base)]).unwrap().over_seeds.is_none());
        assert!(super::found(&[]).is_none());
    }

    #[test]
    fn more_rows_need_a_larger_difference() {
        // 100 queries, half of them 0.2 better: error 0.1 / √99; t_0.975 = 1.98422, t_0.8 = 0.84528,
        // and t_0.9975 = 2.87130 for one row of ten.
        let differences: Vec<f64> = (0..100).map(|i| if i < 50 { 0.2 } else { 0.0 }).collect();
        let error = 0.1 / 99.0_f64.sqrt();
        let mut alone = over_queries(&differences);
        correct(vec![&mut alone]);
        near(alone.least, (1.98422 + 0.84528) * error);
        let mut ten: Vec<Tested> = (0..10).map(|_| over_queries(&differences)).collect();
        correct(ten.iter_mut().collect());
        near(ten[0].least, (2.87130 + 0.84528) * error);
        near(ten[0].p_holm, 10.0 * ten[0].p);
        assert_eq!(least(0.0, 1, 0.05), f64::INFINITY);
    }
}
