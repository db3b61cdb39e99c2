//! BM25 on real collections against the values stated with them.
//!
//! The collections are looked for in the folder that `SAMTONE_DATA` names; a test whose collection is
//! absent says so and passes.

mod exact;
mod plain;

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;
use rayon::prelude::*;
use samtone_eval::bm25::{Analyzer, Bm25, Bm25Config, StopWords};
use samtone_eval::{Convention, Metric, Qrels, Run, evaluate};
use serde::Deserialize;

use plain::Plain;

#[derive(Deserialize)]
struct Record {
    #[serde(rename = "_id")]
    id: String,
    #[serde(default)]
    title: String,
    text: String,
}

fn collection(name: &str) -> Option<PathBuf> {
    let folder = PathBuf::from(std::env::var_os("SAMTONE_DATA")?).join(name);
    if !folder.is_dir() {
        eprintln!("skipped: `{}` is absent", folder.display());
        return None;
    }
    Some(folder)
}

fn records(path: &Path) -> Vec<Record> {
    let file = File::open(path).expect("the collection is readable");
    BufReader::new(GzDecoder::new(file))
        .lines()
        .map(|line| serde_json::from_str(&line.expect("valid gzip")).expect("a record a line"))
        .collect()
}

/// nDCG@10 of BM25 on the test split, every judged query counted; what it finds, for the other queries
/// too, is held to [`Plain`].
fn ndcg(folder: &Path, split: &str) -> f64 {
    let documents = records(&folder.join("corpus.jsonl.gz"));
    let texts = documents.iter().map(|document| format!("{} {}", document.title, document.text));
    let texts: Vec<String> = texts.collect();
    let index = Bm25::build(&texts, Analyzer::default(), Bm25Config::default());
    let qrels = Qrels::read(folder.join(format!("qrels/{split}.tsv"))).expect("valid judgments");
    let queries = records(&folder.join("queries.jsonl.gz"));
    check_exactness(&texts, &queries);
    let judged: Vec<Record> =
        queries.into_iter().filter(|query| qrels.documents(&query.id).next().is_some()).collect();
    let texts: Vec<&str> = judged.iter().map(|query| query.text.as_str()).collect();
    let ids: Vec<&str> = judged.iter().map(|query| query.id.as_str()).collect();
    let documents: Vec<&str> = documents.iter().map(|document| document.id.as_str()).collect();
    let run = Run::from_hits(&ids, &documents, &index.search_all(&texts, 100)).expect("unique ids");
    let found = evaluate(&qrels, &run, &[Metric::NDCG_10], Convention::default());
    found.expect("the queries are judged").means()[0]
}

/// Queries of a collection that are compared with [`Plain`], which takes its time.
const COMPARED: usize = 2000;

fn check_exactness(texts: &[String], queries: &[Record]) {
    let queries: Vec<&str> =
        queries.iter().take(COMPARED).map(|query| query.text.as_str()).collect();
    for stem in [false, true] {
        for config in
            [Bm25Config::default(), Bm25Config { k1: 1.2, b: 0.75, count_query_terms: true }]
        {
            let analyzer = || Analyzer::new(StopWords::default(), stem);
            let index = Bm25::build(texts, analyzer(), config);
            let plain = Plain::build(texts, analyzer(), config);
            for k in [10, 1000] {
                let found = index.search_all(&queries, k);
                queries.par_iter().zip(found).for_each(|(query, found)| {
                    assert_eq!(
                        exact::bits(&found),
                        exact::bits(&plain.search(query, k)),
                        "{query}"
                    );
                });
            }
        }
    }
}

/// The collections' own references count the first 1,500 queries and another list of stop words.
const TOLERANCE: f64 = 0.02;

#[track_caller]
fn check(name: &str, split: &str, expected: f64) {
    if let Some(folder) = collection(name) {
        let got = ndcg(&folder, split);
        eprintln!("{name}: nDCG@10 {got:.4}, reference {expected:.3}");
        assert!((got - expected).abs() < TOLERANCE, "{name}: {got}, reference {expected}");
    }
}

#[test]
fn scifact() {
    check("scifact", "test", 0.660);
}

#[test]
fn cranfield() {
    check("cranfield", "test", 0.403);
}

#[test]
fn cacm() {
    check("cacm", "test", 0.366);
}

#[test]
fn cisi() {
    check("cisi", "test", 0.259);
}

#[test]
fn medline() {
    check("medline", "test", 0.672);
}

#[test]
fn npl() {
    check("npl", "test", 0.382);
}

#[test]
fn medquad() {
    check("medquad", "test", 0.539);
}

#[test]
fn pubmedqa() {
    check("pubmedqa", "test", 0.970);
}

#[test]
fn qamr() {
    check("qamr", "test", 0.678);
}

#[test]
fn selqa() {
    check("selqa", "test", 0.791);
}

#[test]
fn squad() {
    check("squad_reqa", "test", 0.760);
}

#[test]
fn squad_train() {
    check("squad_reqa_train", "dev", 0.654);
}
