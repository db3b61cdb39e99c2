//! The metrics against other people's evaluators; `fixtures/metrics.py` and
//! `fixtures/ir_measures.py` say which and how.

use std::collections::BTreeMap;

use samtone_eval::{Convention, Metric, Qrels, Run, evaluate};
use serde::Deserialize;

#[derive(Deserialize)]
struct Case {
    qrels: Vec<(String, String, i32)>,
    run: Vec<(String, String, f64)>,
    per_query: BTreeMap<String, BTreeMap<String, BTreeMap<String, f64>>>,
    st: BTreeMap<String, f64>,
}

/// The fixture keeps nine digits.
const TOLERANCE: f64 = 2e-9;

fn cases() -> Vec<(usize, Qrels, Run, Case)> {
    let cases: Vec<Case> = serde_json::from_str(include_str!("../fixtures/metrics.json"))
        .expect("the fixture is JSON");
    cases
        .into_iter()
        .enumerate()
        .map(|(number, case)| {
            let qrels = Qrels::new(case.qrels.iter().map(|(q, d, g)| (q, d, *g)))
                .expect("no document is judged twice");
            let run = Run::new(case.run.iter().map(|(q, d, s)| (q, d, *s)))
                .expect("no document is found twice");
            (number, qrels, run, case)
        })
        .collect()
}

#[test]
fn every_query_has_the_reference_value_in_every_convention() {
    let mut compared = 0;
    for (number, qrels, run, case) in cases() {
        for (convention, values) in case.per_query {
            let convention: Convention = convention.parse().unwrap();
            for (metric, expected) in values {
                let name = format!("case {number}, {convention}, {metric}");
                let metric: Metric = metric.parse().unwrap();
                let found = evaluate(&qrels, &run, &[metric], convention).unwrap();
                let got: BTreeMap<String, f64> =
                    found.per_query().map(|(query, v)| (query.to_owned(), v[0].unwrap())).collect();
                assert!(got.keys().eq(expected.keys()), "{name}: {got:?}, expected {expected:?}");
                for (query, value) in expected {
                    let error = (got[&query] - value).abs();
                    assert!(error < TOLERANCE, "{name}, {query}: {} and {value}", got[&query]);
                    compared += 1;
                }
            }
        }
    }
    assert!(compared > 2000, "only {compared} values");
}

#[test]
fn means_are_those_of_sentence_transformers() {
    for (number, qrels, run, case) in cases() {
        for (metric, value) in case.st {
            let metric: Metric = metric.parse().unwrap();
            let found =
                evaluate(&qrels, &run, &[metric], Convention::SentenceTransformers).unwrap();
            let got = found.mean(metric).unwrap();
            assert!((got - value).abs() < TOLERANCE, "case {number}, {metric}: {got} and {value}");
        }
    }
}

#[derive(Deserialize)]
struct Named {
    qrels: Vec<(String, String, i32)>,
    run: Vec<(String, String, f64)>,
    values: BTreeMap<String, BTreeMap<String, f64>>,
}

#[test]
fn a_name_of_ir_measures_is_read_and_means_what_it_means_there() {
    let Named { qrels, run, values } =
        serde_json::from_str(include_str!("../fixtures/ir_measures.json"))
            .expect("the fixture is JSON");
    let qrels = Qrels::new(qrels).unwrap();
    let run = Run::new(run).unwrap();
    assert!(values.len() > 25, "only {} names", values.len());
    for (name, expected) in values {
        let metric: Metric = name.parse().unwrap();
        let found = evaluate(&qrels, &run, &[metric], Convention::default()).unwrap();
        for (query, got) in found.per_query() {
            let error = (got[0].unwrap() - expected[query]).abs();
            assert!(error < TOLERANCE, "{name}, {query}: {got:?} and {}", expected[query]);
        }
        assert_eq!(found.queries().len(), expected.len(), "{name}");
    }
}
