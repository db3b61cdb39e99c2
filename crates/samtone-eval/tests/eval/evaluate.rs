//! What an evaluation does at its edges: nothing to average, nothing found, parts of a whole.

use samtone_eval::metrics::{JudgedRanking, ndcg, ndcg_exp};
use samtone_eval::{
    Convention, EvalError, Evaluation, EvaluationJson, Metric, MtebJson, Qrels, Queries, Rules,
    Run, evaluate, evaluate_by,
};

/// A few operations in f64 on numbers of the order of 1.
const ROUNDING: f64 = 1e-12;

fn metric(name: &str) -> Metric {
    name.parse().expect("a known metric")
}

fn qrels() -> Qrels {
    Qrels::new([("q1", "d1", 1), ("q2", "d1", 0), ("q3", "d2", 2)])
        .expect("no document is judged twice")
}

fn run() -> Run {
    Run::new([("q1", "d1", 0.5), ("q2", "d1", 0.5), ("q4", "d1", 0.5)])
        .expect("no document is found twice")
}

#[test]
fn a_metric_for_which_no_query_counts_is_refused() {
    let irrelevant = Qrels::new([("q1", "d1", 0), ("q2", "d1", -1)]).unwrap();
    for convention in Convention::ALL {
        let found = evaluate(&irrelevant, &run(), &[Metric::MAP], convention);
        if convention == Convention::SentenceTransformers {
            assert!(matches!(found, Err(EvalError::NothingToAverage { .. })), "{found:?}");
        } else {
            assert_eq!(found.unwrap().means(), [0.0]);
        }
    }
    let plan = Convention::SentenceTransformers.rules(metric("map(rel=3)"));
    let error = evaluate_by(&qrels(), &run(), &[(metric("map(rel=3)"), plan)]).unwrap_err();
    assert_eq!(error.to_string(), "no query counts for `map(rel=3)`: none has a relevant document");
}

#[test]
fn foreign_queries_or_no_judgments_are_refused() {
    let foreign = Run::new([("other", "d1", 1.0)]).unwrap();
    let none = Qrels::parse("empty.tsv", "").unwrap();
    for convention in Convention::ALL {
        let error = evaluate(&qrels(), &foreign, &[Metric::MAP], convention).unwrap_err();
        assert!(matches!(error, EvalError::NoCommonQueries { run: 1, judged: 3 }), "{error}");
        let error = evaluate(&none, &run(), &[Metric::MAP], convention).unwrap_err();
        assert!(matches!(error, EvalError::NoJudgments), "{error}");
    }
}

#[test]
fn a_run_that_finds_nothing_scores_0_where_every_judged_query_counts() {
    let empty = Run::parse("empty.trec", "").unwrap();
    for convention in Convention::ALL {
        let found = evaluate(&qrels(), &empty, &[Metric::MAP], convention);
        match convention.rules(Metric::MAP).queries {
            Queries::InBoth => {
                let error = found.unwrap_err();
                assert!(matches!(error, EvalError::EmptyRun { judged: 3 }), "{error}");
                assert_eq!(
                    error.to_string(),
                    "the run is empty: nothing is found for any of the 3 judged queries"
                );
            }
            Queries::Judged => assert_eq!(found.unwrap().values(Metric::MAP).unwrap(), [0.0; 3]),
            Queries::WithRelevant => {
                let found = found.unwrap();
                assert_eq!(found.values(Metric::MAP).unwrap(), [0.0; 2]);
                assert_eq!((found.means(), found.missing()), (&[0.0][..], 3));
            }
        }
    }
    // BEIR counts every judged query for its own MRR alone.
    let metrics = [Metric::MRR_10, Metric::MAP];
    assert!(evaluate(&qrels(), &empty, &metrics[..1], Convention::Beir).is_ok());
    let both = evaluate(&qrels(), &empty, &metrics, Convention::Beir);
    assert!(matches!(both, Err(EvalError::EmptyRun { .. })));
}

#[test]
fn queries_are_counted_by_the_rule_and_the_others_reported() {
    let both = evaluate(&qrels(), &run(), &[Metric::P_1], Convention::Trec9).unwrap();
    assert_eq!((both.means(), both.missing(), both.unjudged()), (&[0.5][..], 1, 1));
    assert_eq!(both.queries(), ["q1", "q2"]);
    let complete = Rules { queries: Queries::Judged, ..Rules::TREC9 };
    let all = evaluate_by(&qrels(), &run(), &[(Metric::P_1, complete)]).unwrap();
    assert_eq!(all.values(Metric::P_1).unwrap(), [1.0, 0.0, 0.0]);
}

#[test]
fn some_metrics_of_an_evaluation_are_those_metrics_alone() {
    let metrics = [Metric::MAP, Metric::P_1, Metric::MRR_10];
    let all = evaluate(&qrels(), &run(), &metrics, Convention::Trec9).unwrap();
    let some = all.select(&[Metric::MRR_10, Metric::MAP]).unwrap();
    let asked = evaluate(&qrels(), &run(), &[Metric::MRR_10, Metric::MAP], Convention::Trec9);
    let json = |found: &Evaluation| serde_json::to_string(&EvaluationJson::new(found, true));
    assert_eq!(json(&some).unwrap(), json(&asked.unwrap()).unwrap());
    let error = some.select(&[Metric::P_1]).unwrap_err();
    assert_eq!(error.to_string(), "`p@1` was not evaluated, only mrr@10, map");
}

#[test]
fn a_saved_evaluation_without_values_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("evaluation.json");
    for per_query in ["{}", r#"{"q1": {}}"#, r#"{"q1": {"map": 0.5}}"#] {
        let text =
            format!(r#"{{"metrics": {{"p@1": 0.5}}, "qrels": "1f", "per_query": {per_query}}}"#);
        std::fs::write(&path, text).unwrap();
        assert!(matches!(Evaluation::read(&path), Err(EvalError::Json { .. })), "{per_query}");
    }
}

#[test]
fn no_grade_is_too_high_for_the_exponential_gain() {
    let grades = |high| JudgedRanking::new(vec![Some(1), Some(high)], vec![1, high]);
    let (second, expected) = (3_f64.log2(), 1.0 / 3_f64.log2());
    for high in [1500, i32::MAX] {
        assert!((ndcg_exp(&grades(high), None) - expected).abs() < ROUNDING);
    }
    assert!(
        (ndcg_exp(&grades(2), None) - (1.0 + 3.0 / second) / (3.0 + 1.0 / second)).abs() < ROUNDING
    );
    assert!(ndcg(&grades(i32::MAX), None).is_finite());
}

#[test]
fn an_mteb_file_has_the_keys_that_mteb_reads() {
    let found = evaluate(
        &qrels(),
        &run(),
        &["ndcg@10", "p@1", "success@5", "map"].map(metric),
        Convention::Mteb,
    )
    .unwrap();
    let json = MtebJson {
        evaluation: &found,
        task: "Small",
        revision: "1",
        split: "test",
        languages: &["eng-Latn"],
        seconds: 0.5,
    };
    let json = serde_json::to_value(json).unwrap();
    // MTEB 2.26 refuses a file that lacks one of these.
    for key in ["task_name", "dataset_revision", "mteb_version", "evaluation_time", "scores"] {
        assert!(json.get(key).is_some(), "{key}");
    }
    let scores = &json["scores"]["test"][0];
    for key in ["ndcg_at_10", "precision_at_1", "hit_rate_at_5", "map", "main_score"] {
        assert!(scores[key].is_f64(), "{key}: {scores}");
    }
    assert_eq!(scores["hf_subset"], "default");
    assert_eq!(scores["languages"][0], "eng-Latn");
}
