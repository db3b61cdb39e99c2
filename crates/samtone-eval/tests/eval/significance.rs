//! Significance tests against their definitions and scipy.

use proptest::prelude::*;
use samtone_eval::significance::{
    CompareConfig, bootstrap_interval, compare, effect_size, holm, paired_randomisation,
};
use samtone_eval::{
    Convention, EvalError, Evaluation, EvaluationJson, Metric, Qrels, Run, evaluate,
};

/// A few operations in f64 on numbers of the order of 1.
const ROUNDING: f64 = 1e-12;
/// The same over up to 80 numbers, divided by their deviation.
const ROUNDING_OF_EFFECTS: f64 = 1e-9;

/// Differences of a plausible pair of runs: mostly 0, some up, fewer down.
fn differences(count: usize) -> Vec<f64> {
    (0..count)
        .map(|i| [0.0, 0.3, 0.0, -0.2, 0.1, 0.0, 0.25][i * i % 7] * (1.0 + i as f64 / 9.0))
        .collect()
}

#[test]
fn sampled_p_values_approach_the_exact_one() {
    let differences: Vec<f64> = (0..14).map(|i| 0.1 + f64::from(i * 37 % 11 - 6) / 10.0).collect();
    let exact = paired_randomisation(&differences, 1 << 14, 0);
    let sampled = paired_randomisation(&differences, (1 << 14) - 1, 0);
    // Four standard errors of 16,383 draws.
    assert!(
        (exact - sampled).abs() < 4.0 * (exact * (1.0 - exact) / 16383.0).sqrt(),
        "{exact} {sampled}"
    );
}

#[test]
fn no_difference_is_not_significant_and_a_steady_one_is() {
    assert!((paired_randomisation(&[0.0; 50], 1000, 0) - 1.0).abs() < ROUNDING);
    assert!((paired_randomisation(&[0.1; 200], 9999, 0) - 1e-4).abs() < ROUNDING);
}

#[test]
fn scipy_gives_the_same_exact_p_value() {
    // scipy 1.17.1: permutation_test((d,), np.mean, permutation_type="samples", n_resamples=inf)
    let d = [0.12, -0.05, 0.3, 0.07, 0.0, 0.21, -0.11, 0.02];
    assert!((paired_randomisation(&d, 100_000, 0) - 0.203_125).abs() < ROUNDING);
}

#[test]
fn holm_is_the_step_down_rule() {
    let got = holm(&[0.01, 0.04, 0.03, 0.005]);
    for (got, expected) in got.iter().zip([0.03, 0.06, 0.06, 0.02]) {
        assert!((got - expected).abs() < ROUNDING, "{got} {expected}");
    }
    assert_eq!(holm(&[]), [0.0; 0]);
}

#[test]
fn an_interval_covers_the_mean_about_as_often_as_it_says() {
    // 400 sets of 60 draws from a skewed distribution of mean 1.
    let mut state = 1_u64;
    let mut uniform = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        ((state >> 11) as f64 + 0.5) / (1_u64 << 53) as f64
    };
    let covered = (0..400)
        .filter(|&seed| {
            let values: Vec<f64> = (0..60).map(|_| -uniform().ln()).collect();
            let (low, high) = bootstrap_interval(&values, 500, 0.95, seed);
            low <= 1.0 && 1.0 <= high
        })
        .count();
    assert!((360..=392).contains(&covered), "{covered} of 400");
}

proptest! {
    #[test]
    fn p_values_are_probabilities_and_ignore_the_direction(
        d in prop::collection::vec(-1.0_f64..1.0, 1..80), seed: u64,
    ) {
        let p = paired_randomisation(&d, 200, seed);
        prop_assert!(p > 0.0 && p <= 1.0);
        let flipped: Vec<f64> = d.iter().map(|x| -x).collect();
        prop_assert_eq!(p.to_bits(), paired_randomisation(&flipped, 200, seed).to_bits());
        prop_assert!((effect_size(&d) + effect_size(&flipped)).abs() < ROUNDING_OF_EFFECTS);
    }
}

#[test]
fn results_do_not_depend_on_threads() {
    let d = differences(300);
    let with = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| (paired_randomisation(&d, 999, 5), bootstrap_interval(&d, 999, 0.9, 5)))
    };
    assert_eq!(with(1), with(4));
}

fn evaluation(good: &[f64], grade: i32) -> Evaluation {
    let qrels = Qrels::new((0..good.len()).map(|q| (format!("q{q}"), "good", grade)))
        .expect("no duplicates");
    let scores = good.iter().enumerate();
    let run =
        Run::new(scores.flat_map(|(q, &score)| {
            [(format!("q{q}"), "good", score), (format!("q{q}"), "bad", 0.5)]
        }));
    let metrics = [Metric::P_1, Metric::MRR_10];
    evaluate(&qrels, &run.expect("no duplicates"), &metrics, Convention::default())
        .expect("common queries")
}

#[test]
fn a_comparison_counts_wins_and_lists_the_largest_changes() {
    let (before, after) =
        (evaluation(&[0.9, 0.1, 0.1, 0.9], 1), evaluation(&[0.9, 0.9, 0.9, 0.1], 1));
    let config = CompareConfig { changes: 2, ..CompareConfig::default() };
    let found = compare(&[("a", &before), ("b", &after)], &config).unwrap();
    let row = &found.rows[0];
    assert_eq!((row.metric.as_str(), row.wins, row.ties, row.losses), ("p@1", 2, 1, 1));
    assert!((row.difference - 0.25).abs() < ROUNDING && row.p <= row.p_holm);
    assert_eq!(row.changes.iter().map(|c| c.query.as_str()).collect::<Vec<_>>(), ["q1", "q2"]);
}

#[test]
fn evaluations_over_other_judgments_or_queries_are_refused() {
    let a = evaluation(&[0.9, 0.1], 1);
    let other_grades =
        compare(&[("a", &a), ("b", &evaluation(&[0.9, 0.1], 2))], &CompareConfig::default());
    assert!(matches!(other_grades, Err(EvalError::QrelsDiffer { .. })));
    let alone = compare(&[("a", &a)], &CompareConfig::default());
    assert!(matches!(alone, Err(EvalError::NothingToCompare)));
    let qrels = Qrels::new([("q0", "good", 1), ("q1", "good", 1)]).unwrap();
    let one = Run::new([("q0", "good", 1.0)]).unwrap();
    let b = evaluate(&qrels, &one, &[Metric::P_1], Convention::default()).unwrap();
    let queries = compare(&[("a", &a), ("b", &b)], &CompareConfig::default());
    assert!(matches!(queries, Err(EvalError::QueriesDiffer { .. })));
}

#[test]
fn an_evaluation_survives_its_json() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.json");
    let a = evaluation(&[0.9, 0.1, 0.3], 1);
    std::fs::write(&path, serde_json::to_string(&EvaluationJson::new(&a, true)).unwrap()).unwrap();
    let b = Evaluation::read(&path).unwrap();
    assert_eq!((a.metrics(), a.means(), a.qrels()), (b.metrics(), b.means(), b.qrels()));
    assert!(a.per_query().eq(b.per_query()));
    std::fs::write(&path, serde_json::to_string(&EvaluationJson::new(&a, false)).unwrap()).unwrap();
    assert!(matches!(Evaluation::read(&path), Err(EvalError::Json { .. })));
}
