//! What `eval` finds: a run's own numbers, and numbers in any case.

use std::fs;
use std::path::Path;

use samtone_data::embedded::World;
use samtone_train::run::Summary;

use super::tiny::{printed, refused, samtone, save_model};

const CONFIG: &str = "
[data]
train = 'data'
[model]
query_max_len = 16
document_max_len = 24
[model.encoder]
type = \"bert\"
vocab_size = 500
hidden = 16
layers = 1
heads = 2
intermediate = 32
max_positions = 32
[train]
steps = 3
batch_size = 16
warmup = 0
[eval]
batch_size = 7
";

fn home(config: &str) -> tempfile::TempDir {
    let home = tempfile::tempdir().unwrap();
    World::generate(0, 200).dataset().save(&home.path().join("data")).unwrap();
    fs::write(home.path().join("config.toml"), config).unwrap();
    home
}

const TRAIN: [&str; 5] = ["train", "--config", "config.toml", "--run-dir", "run"];

/// The values of `metrics` in what `eval` or `bm25` print as JSON.
fn metrics(home: &Path, arguments: &[&str]) -> serde_json::Value {
    let more = ["--data", "data", "--format", "json"];
    let text = printed(home, &[arguments, &more].concat());
    serde_json::from_str::<serde_json::Value>(&text).unwrap()["metrics"].clone()
}

#[test]
fn eval_finds_what_the_run_was_judged_by_to_the_last_digit() {
    let home = home(CONFIG);
    printed(home.path(), &TRAIN);
    let summary = fs::read(home.path().join("run/summary.json")).unwrap();
    let summary: Summary = serde_json::from_slice(&summary).unwrap();
    let names: Vec<&str> = summary.test.keys().map(String::as_str).collect();
    let names = names.join(",");
    let eval = ["eval", "--model", "run/model", "--metrics", &names];
    let eval = [&eval[..], &["--batch-size", "7"]].concat();
    let complete = metrics(home.path(), &[&eval[..], &["--complete"]].concat());
    assert_eq!(complete, serde_json::to_value(&summary.test).unwrap());
    assert_eq!(metrics(home.path(), &eval), complete);
    let bm25 = metrics(home.path(), &["bm25", "--metrics", &names, "--complete"]);
    assert_eq!(bm25, serde_json::to_value(&summary.bm25).unwrap());
}

#[test]
fn a_run_that_judges_nothing_prints_no_table() {
    let home = home(CONFIG);
    let nothing = ["--set", "data.dev_split=", "--set", "data.test_split="];
    let text = printed(home.path(), &[&TRAIN[..], &nothing].concat());
    assert!(!text.contains('═'), "{text}");
    assert!(text.contains("parameters, 3 steps"), "{text}");
}

#[test]
fn what_cannot_be_is_refused_before_the_model_is_opened() {
    let home = home("");
    let eval = ["eval", "--model", "nowhere", "--data", "data"];
    let with = |code, more: &[&str]| refused(home.path(), code, &[&eval[..], more].concat());
    let words = with(2, &["-k", "10", "--metrics", "mrr@10,recall@100"]);
    assert!(
        words.contains("`recall@100` looks at 100 documents a query, `-k` finds 10"),
        "{words}"
    );
    assert!(words.contains("hint: give `-k 100`"), "{words}");
    // As many documents as there are is all that a metric can look at.
    let words = with(1, &["-k", "200", "--metrics", "recall@1000"]);
    assert!(words.contains("cannot search with `nowhere`"), "{words}");
    fs::write(home.path().join("file"), "").unwrap();
    for option in ["--out", "--mteb"] {
        let words = with(1, &[option, "file/r"]);
        assert!(words.contains("cannot write `file/r`"), "{words}");
    }
    let words = refused(
        home.path(),
        1,
        &["mine", "--model", "nowhere", "--data", "data", "--out", "file/m.jsonl"],
    );
    assert!(words.contains("cannot write `file/m.jsonl`"), "{words}");
    let encode =
        ["encode", "--model", "nowhere", "--input", "data/corpus.jsonl", "--side", "query"];
    let words = refused(home.path(), 1, &[&encode[..], &["--out", "file/e"]].concat());
    assert!(words.contains("cannot write embeddings into `file/e`"), "{words}");
    let words = refused(home.path(), 1, &["export", "--model", "nowhere", "--out", "file/x"]);
    assert!(words.contains("cannot write `file/x`"), "{words}");
}

#[test]
fn numbers_are_printed_whatever_becomes_of_the_run() {
    let home = home("");
    let spaced = home.path().join("spaced");
    fs::create_dir_all(spaced.join("qrels")).unwrap();
    let corpus = "{\"_id\":\"d 1\",\"title\":\"\",\"text\":\"a well\"}\n";
    fs::write(spaced.join("corpus.jsonl"), corpus).unwrap();
    fs::write(spaced.join("queries.jsonl"), "{\"_id\":\"q1\",\"text\":\"well?\"}\n").unwrap();
    fs::write(spaced.join("qrels/test.tsv"), "q1\td 1\t1\n").unwrap();
    let dataset = World::generate(0, 200).dataset();
    save_model(&dataset, &home.path().join("model"), 1, true);
    let arguments = ["eval", "--model", "model", "--data", "spaced", "--metrics", "mrr"];
    let output = samtone(home.path(), &[&arguments[..], &["--out", "r.trec"]].concat());
    let words = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{words}");
    assert!(words.starts_with("warning: the id `d 1` is empty or holds white space"), "{words}");
    assert!(words.contains("error: the id `d 1`") && words.contains("--rename-ids"), "{words}");
    assert!(String::from_utf8(output.stdout).unwrap().contains("1.0000"));
    assert!(!home.path().join("r.trec").exists());
}
