//! A collection of the server of the tests.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use samtone_data::embedded::World;
use serde_json::Value;

use super::qdrant::Server;
use crate::with_model::tiny::{command, encode, printed, refused, save_model};

/// Two sums of 16 products in two orders, as a share of the sum, or of 1 if that is more: each is off by
/// some of 16 · 2^-24.
const ROUNDING: f64 = 2e-6;

/// How long something that is to happen may take.
const PATIENCE: Duration = Duration::from_mins(1);

/// Documents: four requests, the last of them smaller.
const DOCUMENTS: usize = 800;

/// A folder with two models, judged data, and its queries and documents as embeddings of length 1.
fn home() -> tempfile::TempDir {
    home_of(true)
}

/// The same, the embeddings of length 1 if they are of a model that `normalizes`.
fn home_of(normalizes: bool) -> tempfile::TempDir {
    let home = tempfile::tempdir().unwrap();
    let dataset = World::generate(0, DOCUMENTS).dataset();
    assert!(dataset.documents().len() > 3 * 256);
    dataset.save(&home.path().join("data")).unwrap();
    save_model(&dataset, &home.path().join("model"), 1, normalizes);
    save_model(&dataset, &home.path().join("other"), 2, true);
    encode(home.path(), "model", "queries", "query", &["--out", "q"]);
    encode(home.path(), "model", "corpus", "document", &["--out", "d"]);
    home
}

/// What `samtone index` says of a folder that it puts there.
fn index(home: &Path, documents: &str, to: &str, more: &[&str]) -> Value {
    let start = ["index", "--documents", documents, "--to", to, "--format", "json"];
    serde_json::from_str(&printed(home, &[&start[..], more].concat())).unwrap()
}

fn wait_for(happens: impl Fn() -> bool) {
    let start = Instant::now();
    while !happens() {
        assert!(start.elapsed() < PATIENCE);
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// The counts that it says: rows, how many were there, how many documents are there now.
fn counts(said: &Value) -> [u64; 3] {
    ["rows", "there", "documents"].map(|field| said[field].as_u64().unwrap())
}

/// Of each query its documents and their scores, the best first.
type Run = BTreeMap<String, Vec<(String, f64)>>;

fn run_of(text: &str) -> Run {
    let mut run = Run::new();
    for line in text.lines() {
        let columns: Vec<&str> = line.split(' ').collect();
        let hit = (columns[2].to_owned(), columns[4].parse().unwrap());
        run.entry(columns[0].to_owned()).or_default().push(hit);
    }
    run
}

fn search(home: &Path, more: &[&str]) -> Run {
    let start = ["search", "--queries", "q", "-k", "7", "--out", "-"];
    run_of(&printed(home, &[&start[..], more].concat()))
}

/// Asserts that two runs are one but for the last digits of scores, and what these decide.
#[track_caller]
fn assert_same(found: &Run, expected: &Run) {
    assert_eq!(found.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>());
    for (query, expected) in expected {
        let found = &found[query];
        assert_eq!(found.len(), expected.len(), "{query}");
        let rounding = ROUNDING * expected.first().map_or(1.0, |hit| hit.1.abs().max(1.0));
        for (found, expected) in found.iter().zip(expected) {
            assert!((found.1 - expected.1).abs() < rounding, "{query}: {found:?}, {expected:?}");
        }
        let last = expected.last().map_or(0.0, |hit| hit.1) + rounding;
        let of: HashMap<&str, f64> = found.iter().map(|hit| (&*hit.0, hit.1)).collect();
        for (document, score) in expected.iter().filter(|hit| hit.1 > last) {
            let found = of.get(&**document).unwrap_or_else(|| panic!("{query}: no {document}"));
            assert!((found - score).abs() < rounding, "{query} {document}: {found}, {score}");
        }
    }
}

#[test]
fn it_finds_what_the_exact_search_finds() {
    let (home, server) = (home_of(false), Server::start());
    let home = home.path();
    for similarity in ["cosine", "dot"] {
        let (url, by) = (server.url(similarity), ["--similarity", similarity]);
        let said = index(home, "d", &url, &[&by[..], &["--ef", "16,200"]].concat());
        let rows = said["rows"].as_u64().unwrap();
        assert_eq!(counts(&said), [rows, 0, rows]);
        assert_eq!((&said["similarity"], &said["has_graph"]), (&similarity.into(), &true.into()));
        assert_eq!(said["measured_by"], "documents");
        let recall = said["recall"].as_array().unwrap();
        assert_eq!(recall.len(), 2);
        assert!(recall.iter().all(|of| of["recall"] == 1.0), "{said}");
        let exact = search(home, &[&["--documents", "d"][..], &by].concat());
        assert_same(&search(home, &["--index", &url]), &exact);
        assert_eq!(server.seen(similarity, |of| of.ef), Some(128));
        assert_same(&search(home, &["--index", &url, "--ef", "33"]), &exact);
        assert_eq!(server.seen(similarity, |of| of.ef), Some(33));
        // As many are looked at as are wanted.
        search(home, &["--index", &url, "--ef", "3"]);
        assert_eq!(server.seen(similarity, |of| of.ef), Some(7));
    }
    // As the model compares.
    let url = server.url("dot");
    let own = |more: &[&str]| {
        let start = ["search", "--queries", "d", "-k", "3", "--out", "-", "--drop-own"];
        run_of(&printed(home, &[&start[..], more].concat()))
    };
    assert_same(&own(&["--index", &url]), &own(&["--documents", "d"]));
    let text = |more: &[&str]| {
        let start = ["search", "--model", "model", "--text", "who grinds corn"];
        printed(home, &[&start[..], more].concat())
    };
    assert_eq!(text(&["--index", &url]), text(&["--documents", "d"]));
    let ask = |more: &[&str]| -> Value {
        let start = ["ask", "--model", "model", "--data", "data", "--format", "json"];
        let answer = printed(home, &[&start[..], more, &["who grinds corn"]].concat());
        let answer: Value = serde_json::from_str(&answer).unwrap();
        let field = |hit: &Value| ["_id", "title", "sentence"].map(|name| hit[name].clone());
        answer["hits"].as_array().unwrap().iter().map(field).map(|hit| hit.to_vec()).collect()
    };
    assert_eq!(ask(&["--index", &url]), ask(&["--documents", "d"]));
    let eval = |more: &[&str]| -> (Value, Run) {
        let start = ["eval", "--model", "model", "--data", "data", "--format", "json"];
        let said = printed(home, &[&start[..], more, &["--out", "run"]].concat());
        let said: Value = serde_json::from_str(&said).unwrap();
        (said["metrics"].clone(), run_of(&fs::read_to_string(home.join("run")).unwrap()))
    };
    printed(home, &["index", "--documents", "d"]);
    let (metrics, run) = eval(&[]);
    let (here, run_here) = eval(&["--index", "d"]);
    let (there, run_there) = eval(&["--index", &url]);
    assert_same(&run_here, &run);
    assert_same(&run_there, &run);
    for (name, value) in metrics.as_object().unwrap() {
        for found in [&here, &there] {
            // Equal scores may come in another order.
            let difference = value.as_f64().unwrap() - found[name].as_f64().unwrap();
            assert!(difference.abs() < 1e-3, "{name}: {found}, {metrics}");
        }
    }
}

#[test]
fn documents_come_in_several_requests_at_once_before_there_is_a_graph() {
    let (home, server) = (home(), Server::start());
    let url = server.url("docs");
    let more = ["--streams", "2", "--connectivity", "5", "--expansion", "77"];
    // Until two are on their way nothing is written.
    server.hold(true);
    let said = std::thread::scope(|scope| {
        let put = scope.spawn(|| index(home.path(), "d", &url, &more));
        wait_for(|| server.writing() == 2);
        server.hold(false);
        put.join().unwrap()
    });
    server.seen("docs", |of| {
        let graph = of.made.hnsw_config.unwrap();
        assert_eq!((graph.ef_construct, of.neighbours), (Some(77), 5));
        assert!(of.writes.len() > 3 && of.writes.iter().all(|&(_, graph)| graph == 0));
        assert!(of.writes.iter().all(|&(points, _)| points <= 256));
        let all: usize = of.writes.iter().map(|write| write.0).sum();
        assert_eq!(all as u64, said["rows"].as_u64().unwrap());
    });
    assert_eq!(server.most_writes(), 2);
    // Once more: nothing is written.
    let [rows, ..] = counts(&said);
    assert_eq!(counts(&index(home.path(), "d", &url, &[])), [rows, rows, rows]);
}

#[test]
fn an_interrupted_upload_goes_on() {
    let (home, server) = (home(), Server::start());
    let (home, url) = (home.path(), server.url("docs"));
    let arguments = ["index", "--documents", "d", "--to", &url, "--streams", "1"];
    server.fail_after(1);
    let words = refused(home, 1, &arguments);
    assert!(words.contains(&format!("cannot index into `{url}`\n")), "{words}");
    assert!(words.contains("out of memory"), "{words}");
    // Killed while a write is on its way.
    server.fail_after(None);
    let written = || server.seen("docs", |of| of.writes.len());
    assert_eq!(written(), 1);
    server.hold(true);
    let mut killed = command(home, &arguments).stderr(Stdio::null()).spawn().unwrap();
    wait_for(|| server.writing() > 0);
    killed.kill().unwrap();
    killed.wait().unwrap();
    server.hold(false);
    let said = index(home, "d", &url, &[]);
    let [rows, there, documents] = counts(&said);
    assert!(documents == rows && (256..rows).contains(&there), "{said}");
    assert_same(&search(home, &["--index", &url]), &search(home, &["--documents", "d"]));
}

#[test]
fn several_workers_fill_it_at_once() {
    let (home, server) = (home(), Server::start());
    let (home, url) = (home.path(), server.url("docs"));
    // White space makes a part of a few documents: parts are cut by bytes.
    let path = home.join("data/corpus.jsonl");
    let corpus = fs::read_to_string(&path).unwrap();
    let wide = format!("\n{{{}", " ".repeat(4096));
    fs::write(&path, corpus.replace("\n{", &wide)).unwrap();
    fs::remove_dir_all(home.join("d")).unwrap();
    encode(home, "model", "corpus", "document", &["--out", "d"]);
    let part = |part: usize| {
        let out = ["--out", "parts", "--shard"];
        encode(home, "model", "corpus", "document", &[&out[..], &[&format!("{part}/3")]].concat());
        format!("parts/part-{part:05}-of-00003")
    };
    let parts = [1, 2, 3].map(part);
    let start = |part: &String| {
        let arguments = ["index", "--documents", part, "--data", "data", "--to", &url, "--part"];
        command(home, &arguments).stdout(Stdio::piped()).spawn().unwrap()
    };
    let workers: Vec<_> = parts.iter().map(start).collect();
    let mut most = 0;
    for worker in workers {
        let output = worker.wait_with_output().unwrap();
        assert!(output.status.success());
        let words = String::from_utf8(output.stdout).unwrap();
        assert!(words.contains("no graph yet: `samtone index` without `--part`"), "{words}");
        most = most.max(words.split(' ').next().unwrap().parse().unwrap());
    }
    assert_eq!(server.seen("docs", |of| of.neighbours), 0);
    // Who has all of them sees that they are there, and has the graph built.
    let [rows, there, documents] = counts(&index(home, "parts", &url, &["--data", "data"]));
    assert_eq!((there, documents), (rows, rows));
    assert!(most < rows, "one part has all documents");
    assert_eq!(server.seen("docs", |of| of.neighbours), 16);
    assert_same(&search(home, &["--index", &url]), &search(home, &["--documents", "d"]));
}

#[test]
fn what_is_there_otherwise_is_put_anew() {
    let (home, server) = (home(), Server::start());
    let (home, url) = (home.path(), server.url("docs"));
    index(home, "d", &url, &[]);
    let path = home.join("data/corpus.jsonl");
    let corpus = fs::read_to_string(&path).unwrap();
    let (first, rest) = corpus.split_once('\n').unwrap();
    let mut changed: Value = serde_json::from_str(first).unwrap();
    changed["text"] = "a mill that grinds no corn".into();
    fs::write(&path, format!("{changed}\n{rest}")).unwrap();
    fs::remove_dir_all(home.join("d")).unwrap();
    encode(home, "model", "corpus", "document", &["--out", "d"]);
    let [rows, there, documents] = counts(&index(home, "d", &url, &[]));
    assert_eq!([there, documents], [rows - 1, rows]);
    assert_same(&search(home, &["--index", &url]), &search(home, &["--documents", "d"]));
}

#[test]
fn it_is_of_one_model_dimension_and_similarity() {
    let (home, server) = (home(), Server::start());
    let (home, url) = (home.path(), server.url("docs"));
    index(home, "d", &url, &[]);
    encode(home, "other", "corpus", "document", &["--out", "others"]);
    encode(home, "model", "corpus", "document", &["--out", "short", "--dims", "8"]);
    encode(home, "model", "corpus", "document", &["--out", "bits", "--dtype", "binary"]);
    let put = |documents: &str, more: &[&str]| {
        let start = ["index", "--documents", documents, "--to", &url];
        refused(home, if documents == "bits" { 2 } else { 1 }, &[&start[..], more].concat())
    };
    for (documents, more, expected) in [
        ("others", &[][..], "the collection is of another model\n"),
        ("short", &[], "the collection has 16 dimensions, these embeddings 8\n"),
        ("d", &["--similarity", "dot"], "compares by cosine, these embeddings are compared by dot"),
        ("d", &["--data", "data"], "the collection has no BM25, which `--data` is for\n"),
        ("bits", &[], "binary embeddings are compared by their bits"),
    ] {
        let words = put(documents, more);
        assert!(words.contains(expected), "{words}");
    }
    server.make_foreign("foreign");
    let foreign = server.url("foreign");
    let words = refused(home, 1, &["index", "--documents", "d", "--to", &foreign]);
    assert!(words.contains("the collection was not made by `samtone index`\n"), "{words}");
    let search = |url: &str, queries: &str, more: &[&str]| {
        let start = ["search", "--queries", queries, "--out", "r", "--index", url];
        [&start[..], more].concat().iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    encode(home, "other", "queries", "query", &["--out", "asked"]);
    let missing = server.url("missing");
    for (code, arguments, expected) in [
        (1, search(&missing, "q", &[]), "there is no such collection\n"),
        (1, search(&foreign, "q", &[]), "the collection was not made by `samtone index`\n"),
        (1, search(&url, "asked", &[]), "were embedded by different models\n"),
        (2, search(&url, "q", &["--hybrid"]), "`--hybrid` needs the queries' texts\n"),
        (
            1,
            search(&url, "q", &["--hybrid", "--texts", "data/queries.jsonl"]),
            "has no BM25 beside its vectors\n",
        ),
        (2, search(&url, "q", &["--dims", "8"]), "which has its own\n"),
        (2, search("d", "q", &["--hybrid"]), "`--hybrid` is for a collection"),
        (2, search("qdrant://host/docs", "q", &[]), "expected `qdrant://HOST:PORT/COLLECTION`"),
    ] {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let words = refused(home, code, &arguments);
        assert!(words.contains(expected), "{words}");
    }
    let ask = ["ask", "--model", "other", "--data", "data", "--index", &url, "who"];
    assert!(refused(home, 1, &ask).contains("were embedded by different models\n"));
    let eval = ["eval", "--model", "other", "--data", "data", "--index", &url];
    assert!(refused(home, 1, &eval).contains("were embedded by different models\n"));
    // A server that is not there is named.
    let away = "qdrant://127.0.0.1:1/docs";
    let words = refused(home, 1, &["index", "--documents", "d", "--to", away]);
    assert!(words.contains(&format!("cannot index into `{away}`\n")), "{words}");
    // What is no number is never put there.
    let path = home.join("d/embeddings.safetensors");
    let mut bytes = fs::read(&path).unwrap();
    let last = bytes.len() - 4;
    bytes[last..].copy_from_slice(&f32::NAN.to_le_bytes());
    fs::write(&path, &bytes).unwrap();
    assert!(put("d", &[]).contains("holds a NaN or an infinity\n"));
}

#[test]
fn words_count_too() {
    let (home, server) = (home(), Server::start());
    let (home, url) = (home.path(), server.url("docs"));
    index(home, "d", &url, &["--data", "data"]);
    let words = refused(home, 1, &["index", "--documents", "d", "--to", &url]);
    assert!(words.contains("has BM25 beside its vectors, which needs `--data`\n"), "{words}");
    // By ranks alone: of what is found without words, and of what BM25 finds here.
    let start = ["search", "--queries", "q", "--index", &url, "--out", "-"];
    let near = run_of(&printed(home, &[&start[..], &["-k", "100"]].concat()));
    let by_words = run_of(&printed(home, &["bm25", "--data", "data", "-k", "100", "--out", "-"]));
    let hybrid = ["--hybrid", "--texts", "data/queries.jsonl", "-k", "10"];
    let found = run_of(&printed(home, &[&start[..], &hybrid].concat()));
    let eval = ["eval", "--model", "model", "--data", "data", "--index", &url, "--hybrid"];
    let few = ["-k", "10", "--metrics", "ndcg@10", "--out", "run"];
    printed(home, &[&eval[..], &few].concat());
    let judged = run_of(&fs::read_to_string(home.join("run")).unwrap());
    assert!(judged.len() > 50 && judged.keys().eq(by_words.keys()));
    let expected = |query: &String| fused([&near[query], &by_words[query]]);
    for (name, run) in [("search", &found), ("eval", &judged)] {
        let same = judged.keys().filter(|query| {
            let (expected, found) = (expected(query), &run[*query]);
            found.iter().zip(&expected).all(|(a, b)| a.0 == b.0 && (a.1 - b.1).abs() < ROUNDING)
                && found.len() == 10
        });
        let same = same.count();
        // Scores that differ in their last digit alone may come in two orders.
        assert!(20 * same >= 19 * judged.len(), "{name}: {same} of {}", judged.len());
    }
    let queries = fs::read_to_string(home.join("data/queries.jsonl")).unwrap();
    let query: Value = serde_json::from_str(queries.lines().next().unwrap()).unwrap();
    let (id, text) = (query["_id"].as_str().unwrap(), query["text"].as_str().unwrap());
    let ask = ["ask", "--model", "model", "--data", "data", "--index", &url, "--format", "json"];
    let answer: Value =
        serde_json::from_str(&printed(home, &[&ask[..], &["--hybrid", text]].concat())).unwrap();
    let first = &found[id][0];
    assert_eq!(answer["hits"][0]["_id"], *first.0);
    assert!((answer["hits"][0]["score"].as_f64().unwrap() - first.1).abs() < ROUNDING);
    // Queries that no text is known of.
    fs::write(home.join("few.jsonl"), queries.lines().next().unwrap()).unwrap();
    let few = ["--hybrid", "--texts", "few.jsonl"];
    assert!(refused(home, 1, &[&start[..], &few].concat()).contains("`few.jsonl` has no query `"));
    // Other texts are other weights: no worker mixes them.
    let path = home.join("data/corpus.jsonl");
    let corpus = fs::read_to_string(&path).unwrap();
    fs::write(&path, corpus + "{\"_id\": \"new\", \"text\": \"a mill\"}\n").unwrap();
    let words = refused(home, 1, &["index", "--documents", "d", "--to", &url, "--data", "data"]);
    assert!(words.contains("has BM25 of other texts, or by another version"), "{words}");
    let longer = fs::read_to_string(&path).unwrap();
    fs::write(&path, longer.split_once('\n').unwrap().1).unwrap();
    let words = refused(home, 1, &["index", "--documents", "d", "--to", &url, "--data", "data"]);
    assert!(words.contains("was encoded from other texts"), "{words}");
}

/// The documents of two rankings by the sum of 1 / (60 + rank), equal sums and equal scores by id.
fn fused(rankings: [&Vec<(String, f64)>; 2]) -> Vec<(String, f64)> {
    let by_score = |ranking: &mut Vec<(String, f64)>| {
        ranking.sort_by(|a, b| b.1.total_cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    };
    let mut sums: HashMap<String, f32> = HashMap::new();
    for ranking in rankings {
        let mut ranking = ranking.clone();
        by_score(&mut ranking);
        for (rank, (document, _)) in (1_u16..).zip(ranking) {
            *sums.entry(document).or_default() += 1.0 / (60.0 + f32::from(rank));
        }
    }
    let mut fused: Vec<_> = sums.into_iter().map(|(id, sum)| (id, f64::from(sum))).collect();
    by_score(&mut fused);
    fused
}
