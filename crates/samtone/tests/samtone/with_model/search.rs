//! `search`, `encode` and `eval` with cut embeddings, smaller numbers, one text and streams.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use samtone_data::embedded::World;
use serde_json::Value;

use super::tiny::{printed, refused, save_model};

/// A folder with a model of 16 dimensions, a data set and its encoded queries and documents.
fn home() -> tempfile::TempDir {
    let home = tempfile::tempdir().unwrap();
    let dataset = World::generate(0, 200).dataset();
    dataset.save(&home.path().join("data")).unwrap();
    save_model(&dataset, &home.path().join("model"), 1, true);
    for (file, side, out) in [("queries", "query", "q"), ("corpus", "document", "d")] {
        encode(home.path(), file, side, &["--out", out]);
    }
    home
}

fn encode(home: &Path, file: &str, side: &str, more: &[&str]) {
    let input = format!("data/{file}.jsonl");
    let arguments = ["encode", "--model", "model", "--input", &input, "--side", side];
    printed(home, &[&arguments[..], more].concat());
}

/// The run of a search, a line a hit.
fn found(home: &Path, documents: &str, more: &[&str]) -> Vec<String> {
    let arguments = ["search", "--queries", "q", "--documents", documents, "-k", "5", "--out", "-"];
    let run = printed(home, &[&arguments[..], more].concat());
    run.lines().map(str::to_owned).collect()
}

/// How many hits of two runs are the same document of the same query, as a share.
fn shared(a: &[String], b: &[String]) -> f64 {
    let key = |line: &String| {
        let columns: Vec<&str> = line.split(' ').collect();
        (columns[0].to_owned(), columns[2].to_owned())
    };
    let b: std::collections::HashSet<_> = b.iter().map(key).collect();
    a.iter().filter(|line| b.contains(&key(line))).count() as f64 / a.len() as f64
}

/// `samtone` with something on its stdin.
fn piped(home: &Path, arguments: &[&str], input: &[u8]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_samtone"))
        .current_dir(home)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    command.stdin.take().unwrap().write_all(input).unwrap();
    command.wait_with_output().unwrap()
}

#[test]
fn smaller_numbers_find_nearly_the_same() {
    let home = home();
    let exact = found(home.path(), "d", &[]);
    for (dtype, file, least) in [
        ("f16", "safetensors", 0.99),
        ("int8", "npy", 0.9),
        ("f32", "npy", 1.0),
        // The signs of this model's embeddings are nearly the same everywhere.
        ("binary", "safetensors", 0.0),
    ] {
        let out = format!("d-{dtype}-{file}");
        let more = ["--dtype", dtype, "--out-format", file, "--out", &out];
        encode(home.path(), "corpus", "document", &more);
        let share = shared(&exact, &found(home.path(), &out, &[]));
        assert!(share >= least, "{dtype} {file}: {share}");
    }
    // Rescored is no worse than the bits alone.
    let rescored = shared(&exact, &found(home.path(), "d-binary-safetensors", &[]));
    let bits = found(home.path(), "d-binary-safetensors", &["--rescore", "0"]);
    assert!(rescored >= shared(&exact, &bits), "{rescored}");

    encode(home.path(), "corpus", "document", &["--out-format", "jsonl", "--out", "lines"]);
    let lines = fs::read_to_string(home.path().join("lines/embeddings.jsonl")).unwrap();
    let first: Value = serde_json::from_str(lines.lines().next().unwrap()).unwrap();
    assert_eq!(first["embedding"].as_array().unwrap().len(), 16);
    let ids = fs::read_to_string(home.path().join("lines/ids.txt")).unwrap();
    assert_eq!(first["_id"].as_str(), ids.lines().next());
    let search = ["search", "--queries", "q", "--documents", "lines", "--out", "r"];
    assert!(refused(home.path(), 1, &search).contains("is for other programs"));
}

#[test]
fn cut_before_or_after_the_file_is_cut_alike() {
    let home = home();
    for (file, side, out) in [("queries", "query", "q8"), ("corpus", "document", "d8")] {
        encode(home.path(), file, side, &["--dims", "8", "--out", out]);
    }
    let cut = found(home.path(), "d", &["--dims", "8"]);
    let arguments = ["search", "--queries", "q8", "--documents", "d8", "-k", "5", "--out", "-"];
    let stored = printed(home.path(), &arguments);
    assert_eq!(stored.lines().map(str::to_owned).collect::<Vec<_>>(), cut);
    assert!(shared(&found(home.path(), "d", &[]), &cut) < 1.0);
    let search = ["search", "--queries", "q", "--documents", "d", "--out", "r", "--dims", "17"];
    let words = refused(home.path(), 2, &search);
    assert!(words.contains("`--dims` is 17, but embeddings have 16 dimensions"), "{words}");
}

#[test]
fn eval_has_a_row_for_each_kind_of_embeddings() {
    let home = home();
    let eval = ["eval", "--model", "model", "--data", "data", "--metrics", "ndcg@10"];
    let with = |more: &[&str]| -> Value {
        let arguments = [&eval[..], more, &["--format", "json"]].concat();
        serde_json::from_str(&printed(home.path(), &arguments)).unwrap()
    };
    let all = with(&["--dims", "8,16", "--dtype", "f32,int8,binary"]);
    let kinds = all["kinds"].as_array().unwrap();
    let named: Vec<_> = kinds
        .iter()
        .map(|row| format!("{} {}", row["dims"], row["dtype"].as_str().unwrap()))
        .collect();
    assert_eq!(named, ["8 f32", "8 int8", "8 binary", "16 f32", "16 int8", "16 binary"]);
    assert_eq!(kinds[3]["metrics"], with(&[])["metrics"]);
    assert_eq!(kinds[2]["metrics"], with(&["--dims", "8", "--dtype", "binary"])["metrics"]);
    let words = refused(home.path(), 2, &[&eval[..], &["--dims", "4,8", "--out", "r"]].concat());
    assert!(words.contains("are for one kind of embeddings"), "{words}");
    let text = printed(home.path(), &[&eval[..], &["--dims", "8,16"]].concat());
    assert!(text.contains("dtype"), "{text}");
}

#[test]
fn one_text_is_searched_without_a_file() {
    let home = home();
    let text = "who built the bridge?";
    let search = ["search", "--model", "model", "--text", text, "--documents", "d"];
    let shown = printed(home.path(), &search);
    assert_eq!(shown.lines().count(), 10);
    // As from a file.
    let lines = piped(
        home.path(),
        &["encode", "--model", "model", "--input", "-", "--side", "query", "--out", "one"],
        format!("{text}\n").as_bytes(),
    );
    assert!(lines.status.success(), "{}", String::from_utf8_lossy(&lines.stderr));
    let arguments = ["search", "--queries", "one", "--documents", "d", "-k", "10", "--out", "-"];
    let file = printed(home.path(), &arguments);
    assert_eq!(printed(home.path(), &[&search[..], &["--out", "-"]].concat()), file);
    let ids = |text: &str, at: usize| -> Vec<String> {
        text.lines().map(|line| line.split_whitespace().nth(at).unwrap().to_owned()).collect()
    };
    assert_eq!(ids(&shown, 2), ids(&file, 2));
    save_model(&World::generate(0, 200).dataset(), &home.path().join("other"), 2, true);
    let other = ["search", "--model", "other", "--text", text, "--documents", "d"];
    let words = refused(home.path(), 1, &other);
    assert!(words.contains("were embedded by different models"), "{words}");
}

#[test]
fn streams_stand_for_files() {
    let home = home();
    let run = found(home.path(), "d", &[]).join("\n") + "\n";
    fs::write(home.path().join("run.trec"), &run).unwrap();
    let eval = |run: &str, input: &[u8]| {
        let arguments = ["eval", "--run", run, "--qrels", "data/qrels/test.tsv"];
        let output = piped(home.path(), &arguments, input);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    };
    assert_eq!(eval("-", run.as_bytes()), eval("run.trec", b""));
    let twice = piped(home.path(), &["eval", "--run", "-", "--qrels", "-"], run.as_bytes());
    assert_eq!(twice.status.code(), Some(2));
    for command in [
        &["bm25", "--data", "data"][..],
        &["mine", "--data", "data", "--bm25"],
        &["search", "--queries", "q", "--documents", "d"],
    ] {
        printed(home.path(), &[command, &["--out", "file"]].concat());
        let output = piped(home.path(), &[command, &["--out", "-"]].concat(), b"");
        assert_eq!(output.stdout, fs::read(home.path().join("file")).unwrap(), "{command:?}");
        assert!(!output.stderr.is_empty(), "{command:?}");
        assert!(!home.path().join("-").exists());
    }
}
