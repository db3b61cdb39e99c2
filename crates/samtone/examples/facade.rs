//! One dependency for all: BM25 over an embedded corpus, judged.
//!
//! `cargo run -p samtone --example facade`

#![expect(clippy::print_stdout, reason = "an example shows what it finds")]

use samtone::data::embedded::World;
use samtone::eval::bm25::{Analyzer, Bm25, Bm25Config};
use samtone::eval::{Convention, Metric, Qrels, Run, evaluate};
use samtone::text::DocumentText;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let data = World::generate(0, 400).dataset();
    let passages = data.documents().map(|document| document.passage(DocumentText::TitleText));
    let index = Bm25::build(passages, Analyzer::default(), Bm25Config::default());

    let asked = data.queries_of("test").into_iter().map(|index| &data.queries()[index]);
    let (ids, texts): (Vec<&str>, Vec<&str>) =
        asked.map(|query| (query.id.as_str(), query.text.as_str())).unzip();
    let documents: Vec<&str> = data.documents().map(|document| document.id).collect();
    let run = Run::from_hits(&ids, &documents, &index.search_all(&texts, 10))?;

    let qrels = Qrels::new(data.qrels("test"))?;
    let found = evaluate(&qrels, &run, &[Metric::NDCG_10], Convention::default())?;
    let mean = found.mean(Metric::NDCG_10).ok_or("it was asked for")?;
    println!("nDCG@10 of BM25: {mean:.4}");
    Ok(())
}

#[test]
fn the_corpus_is_searched() -> Result<(), Box<dyn std::error::Error>> {
    main()
}
