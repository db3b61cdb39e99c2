//! What a cross-encoder is good for: a teacher's scores, negatives without false ones, a better order.

use std::path::Path;

use burn::backend::Flex;
use samtone_data::Dataset;
use samtone_data::embedded::World;
use samtone_eval::Run;
use samtone_model::{CrossEncoder, Retriever, Side};
use samtone_text::DocumentText;

use super::tiny::{printed, refused, save_model};

/// A tiny cross-encoder of random weights, by transformers.
const CROSS_ENCODER: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/tests/samtone/with_model/cross-encoder");

/// Scores and similarities of one text pair in batches of other sizes differ by rounding alone.
const TOLERANCE: f64 = 1e-5;

/// What a teacher says of a query and a document.
type Score<'a> = dyn Fn(&String, &String) -> f32 + 'a;

fn json(home: &Path, arguments: &[&str]) -> serde_json::Value {
    let text = printed(home, &[arguments, &["--format", "json"]].concat());
    serde_json::from_str(&text).unwrap()
}

/// A data set, a run folder with its model and a file of pairs with mined negatives.
fn home() -> (tempfile::TempDir, Dataset) {
    let home = tempfile::tempdir().unwrap();
    let dataset = World::generate(0, 120).dataset();
    dataset.save(&home.path().join("data")).unwrap();
    save_model(&dataset, &home.path().join("run/model"), 42, false);
    let mine = ["mine", "--data", "data", "--bm25", "--no-margin", "--count", "3"];
    printed(home.path(), &[&mine[..], &["--out", "pairs.jsonl"]].concat());
    (home, dataset)
}

/// The query's text, and those of the positive and the negatives, of every row of a file of pairs, and
/// its scores.
fn rows(path: &Path) -> Vec<(String, Vec<String>, Vec<f64>)> {
    let dataset = Dataset::load_pairs(path, "train").unwrap();
    let text = |index: usize| dataset.document(index).text.to_owned();
    let rows = dataset.pairs("train").into_iter().map(|row| {
        let documents = [row.document].into_iter().chain(row.negatives).map(text).collect();
        (dataset.queries()[row.query].text.clone(), documents, row.scores)
    });
    rows.collect()
}

#[test]
fn a_teacher_scores_every_row_of_a_file_of_pairs() {
    let (home, _) = home();
    let path = |name: &str| home.path().join(name);
    let before = rows(&path("pairs.jsonl"));
    let cross_encoder = CrossEncoder::<Flex>::open(CROSS_ENCODER.as_ref(), &Default::default());
    let cross_encoder = cross_encoder.unwrap();
    let retriever = Retriever::<Flex>::open(&path("run/model"), &Default::default()).unwrap();
    let similarity = |query: &String, document: &String| {
        let embed = |side, text: &String| retriever.encode_texts(side, &[text]).unwrap();
        let (query, document) = (embed(Side::Query, query), embed(Side::Document, document));
        query.iter().zip(&document).map(|(a, b)| a * b).sum::<f32>()
    };
    let by_cross_encoder = |query: &String, document: &String| {
        cross_encoder.score(&[(query, document)], 1).unwrap()[0]
    };
    let teachers: [(&str, &Score<'_>); 2] =
        [(CROSS_ENCODER, &by_cross_encoder), ("run", &similarity)];
    for (model, score) in teachers {
        let score_command = ["score", "--model", model, "--input", "pairs.jsonl"];
        let report = json(home.path(), &[&score_command[..], &["--out", "scored.jsonl"]].concat());
        let after = rows(&path("scored.jsonl"));
        assert_eq!(report["rows"], before.len());
        assert_eq!(after.len(), before.len());
        for ((query, documents, none), (query_after, documents_after, scores)) in
            before.iter().zip(&after)
        {
            assert_eq!((query, documents), (query_after, documents_after));
            assert_eq!((none.len(), scores.len()), (0, documents.len()));
            for (document, got) in documents.iter().zip(scores) {
                let expected = f64::from(score(query, document));
                let scale = expected.abs().max(1.0);
                assert!((got - expected).abs() <= TOLERANCE * scale, "{got} {expected}");
            }
        }
        // Scored again, in place, a file is the same.
        let first = std::fs::read(path("scored.jsonl")).unwrap();
        let again = ["score", "--model", model, "--input", "scored.jsonl", "--out", "scored.jsonl"];
        printed(home.path(), &again);
        assert_eq!(std::fs::read(path("scored.jsonl")).unwrap(), first);
        let streamed = printed(home.path(), &[&score_command[..], &["--out", "-"]].concat());
        assert_eq!(streamed.as_bytes(), first);
    }
}

#[test]
fn a_filter_leaves_no_negative_that_scores_above_its_positive() {
    let (home, _) = home();
    let mine = ["mine", "--data", "data", "--bm25", "--no-margin", "--count", "3"];
    let filter = ["--filter", CROSS_ENCODER, "--filter-margin", "0.01", "--out", "filtered.jsonl"];
    let report = json(home.path(), &[&mine[..], &filter].concat());
    assert!(report["false_negatives"].as_u64().unwrap() > 0, "{report}");
    let score = ["score", "--model", CROSS_ENCODER, "--input", "filtered.jsonl"];
    printed(home.path(), &[&score[..], &["--out", "scored.jsonl"]].concat());
    let scored = rows(&home.path().join("scored.jsonl"));
    assert!(scored.iter().map(|row| row.2.len() - 1).sum::<usize>() > 0);
    for (_, _, scores) in scored {
        let limit = scores[0] - 0.01 + TOLERANCE;
        assert!(scores[1..].iter().all(|&score| score <= limit), "{scores:?}");
    }
    let alone = [&mine[..], &["--filter-margin", "0.1", "--out", "x.jsonl"]].concat();
    assert!(refused(home.path(), 2, &alone).contains("--filter <MODEL>"));
}

#[test]
fn what_is_found_is_reranked_and_shown_beside_what_it_was() {
    let (home, dataset) = home();
    let eval = ["eval", "--model", "run", "--data", "data", "--metrics", "ndcg@10,recall@20"];
    let kinds = [&eval[..], &["--rerank", CROSS_ENCODER, "--dims", "4,8"]].concat();
    assert!(refused(home.path(), 2, &kinds).contains("are for one kind of embeddings"));
    let eval = [&eval[..], &["-k", "20", "--out"]].concat();
    let plain = json(home.path(), &[&eval[..], &["plain.trec"]].concat());
    let rerank = ["reranked.trec", "--rerank", CROSS_ENCODER, "--rerank-top", "15"];
    let rerank = [&eval[..], &rerank].concat();
    let reranked = json(home.path(), &rerank);
    assert_eq!(reranked["before_rerank"], plain["metrics"]);
    assert!(plain.get("before_rerank").is_none());
    // All the same documents, in another order.
    assert_eq!(reranked["metrics"]["recall@20"], plain["metrics"]["recall@20"]);
    assert_ne!(reranked["metrics"]["ndcg@10"], plain["metrics"]["ndcg@10"]);
    let text = printed(home.path(), &rerank);
    assert!(text.contains("before") && text.contains("reranked"), "{text}");

    let model = CrossEncoder::<Flex>::open(CROSS_ENCODER.as_ref(), &Default::default()).unwrap();
    let read = |name: &str| Run::read(home.path().join(name)).unwrap();
    let (before, after) = (read("plain.trec"), read("reranked.trec"));
    let query = before.queries().next().unwrap();
    let ranked = |run: &Run| -> Vec<(String, f64)> {
        let mut documents: Vec<_> = run.documents(query).collect();
        documents.sort_by(|a, b| b.1.total_cmp(&a.1));
        documents.into_iter().map(|(id, score)| (id.to_owned(), score)).collect()
    };
    let (before, after) = (ranked(&before), ranked(&after));
    let text = &dataset.queries()[dataset.query_index(query).unwrap()].text;
    for (id, score) in &after[..15] {
        let document = dataset.document(dataset.document_index(id).unwrap());
        let passage = document.passage(DocumentText::TitleText);
        let expected = f64::from(model.score(&[(text, passage)], 1).unwrap()[0]);
        assert!((score - expected).abs() <= TOLERANCE, "{id}: {score} {expected}");
    }
    let ids =
        |hits: &[(String, f64)]| -> Vec<String> { hits.iter().map(|(id, _)| id.clone()).collect() };
    assert_eq!(ids(&after[15..]), ids(&before[15..]));
}

#[test]
fn an_answer_is_reranked_and_says_both_scores() {
    let (home, dataset) = home();
    let query = &dataset.queries()[0].text;
    let answer = |more: &[&str]| {
        let ask = ["ask", "--model", "run", "--data", "data", "-k"];
        let answer = json(home.path(), &[&ask[..], more, &[query]].concat());
        answer["hits"].as_array().unwrap().clone()
    };
    let plain = answer(&["20"]);
    assert!(plain.iter().all(|hit| hit.get("rerank_score").is_none()), "{plain:?}");
    let ids = |hits: &[serde_json::Value]| -> Vec<String> {
        hits.iter().map(|hit| hit["_id"].as_str().unwrap().to_owned()).collect()
    };
    let by_model = CrossEncoder::<Flex>::open(CROSS_ENCODER.as_ref(), &Default::default()).unwrap();
    for (mode, name) in [(DocumentText::TitleText, "title-text"), (DocumentText::Text, "text")] {
        let rerank = ["--rerank", CROSS_ENCODER, "--rerank-top", "15", "--document-text", name];
        let plain = answer(&["20", "--document-text", name]);
        let reranked = answer(&[&["20"][..], &rerank].concat());
        // The same documents, the first of them in another order, each with the score it had.
        assert_eq!(reranked[15..], plain[15..]);
        assert_ne!(ids(&reranked), ids(&plain));
        for (hit, rank) in reranked[..15].iter().zip(1..) {
            let id = hit["_id"].as_str().unwrap();
            let before = plain[..15].iter().find(|before| before["_id"] == id).unwrap();
            assert_eq!((&hit["score"], &hit["rank"]), (&before["score"], &rank.into()));
            let document = dataset.document(dataset.document_index(id).unwrap());
            let expected = by_model.score(&[(query, document.passage(mode))], 1).unwrap()[0];
            let got = hit["rerank_score"].as_f64().unwrap();
            assert!((got - f64::from(expected)).abs() <= TOLERANCE, "{got} {expected}");
        }
        let scores = reranked[..15].iter().map(|hit| hit["rerank_score"].as_f64().unwrap());
        assert!(scores.is_sorted_by(|a, b| a >= b));
        // Fewer are shown than are looked at.
        assert_eq!(ids(&answer(&[&["3"][..], &rerank].concat())), ids(&reranked[..3]));
    }
    let ask = ["ask", "--model", "run", "--data", "data", query];
    let words = refused(home.path(), 1, &[&ask[..], &["--rerank", "data"]].concat());
    assert!(words.contains("error: cannot score with `data`"), "{words}");
    let words = refused(home.path(), 2, &[&ask[..], &["--rerank-top", "3"]].concat());
    assert!(words.contains("--rerank <MODEL>"), "{words}");
    let text = printed(home.path(), &[&ask[..], &["--rerank", "run"]].concat());
    // By the model itself both scores are the same.
    let (first, second) = text.lines().next().unwrap()[3..].trim().split_once(" (").unwrap();
    assert_eq!(first, second.split_once(')').unwrap().0);
}
