//! `ask` answers from what it keeps, which is never another model's or another text's.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use samtone_data::embedded::World;
use serde_json::Value;

use super::tiny::{printed, refused, samtone, save_model};

const CORPUS: &str = "{\"_id\":\"d1\",\"title\":\"Mills\",\"text\":\"The old mill is dry. It grinds corn.\"}\n\
                      {\"_id\":\"d2\",\"title\":\"\",\"text\":\"Water is drawn from the well.\"}\n\
                      {\"_id\":\"d3\",\"title\":\"Empty\",\"text\":\"\"}\n";

/// A folder with a model, a run folder that holds it, another model and three documents.
fn home() -> tempfile::TempDir {
    let home = tempfile::tempdir().unwrap();
    let world = World::generate(0, 200).dataset();
    save_model(&world, &home.path().join("run/model"), 1, true);
    save_model(&world, &home.path().join("other"), 2, true);
    fs::create_dir(home.path().join("data")).unwrap();
    fs::write(home.path().join("data/corpus.jsonl"), CORPUS).unwrap();
    home
}

const ASK: [&str; 8] =
    ["ask", "--model", "run", "--data", "data", "--format", "json", "who grinds corn?"];

/// The folders that `ask` keeps.
fn kept(home: &Path) -> usize {
    fs::read_dir(home.join("data/.samtone")).unwrap().count()
}

#[test]
fn an_answer_shows_passages_with_their_best_sentence() {
    let home = home();
    let output = samtone(home.path(), &ASK);
    let words = String::from_utf8(output.stderr).unwrap();
    assert!(words.contains("`run` is a run folder, its model is `run/model`"), "{words}");
    assert!(words.contains("embedding 3 documents once"), "{words}");
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    let hits = answer["hits"].as_array().unwrap();
    assert_eq!((answer["question"].as_str().unwrap(), hits.len()), ("who grinds corn?", 3));
    let mut scores = Vec::new();
    for (hit, rank) in hits.iter().zip(1..) {
        assert_eq!(hit["rank"], rank);
        scores.push(hit["score"].as_f64().unwrap());
        let (text, sentence) = (hit["text"].as_str().unwrap(), hit["sentence"].as_str().unwrap());
        let sentences: &[&str] = match hit["_id"].as_str().unwrap() {
            "d1" => &["The old mill is dry.", "It grinds corn."],
            _ => &[text],
        };
        assert!(sentences.contains(&sentence), "{hit}");
    }
    assert!(scores.is_sorted_by(|a, b| a >= b), "{scores:?}");

    // From the embeddings of the first call, or given ones, alike.
    let seconds = |answer: &str| {
        let mut answer: Value = serde_json::from_str(answer).unwrap();
        answer["seconds"].take();
        answer
    };
    let output = samtone(home.path(), &ASK);
    assert!(!String::from_utf8(output.stderr).unwrap().contains("embedding"));
    let again = String::from_utf8(output.stdout).unwrap();
    assert_eq!(seconds(&again)["hits"], answer["hits"]);
    let encode = ["encode", "--model", "run", "--side", "document", "--input", "data/corpus.jsonl"];
    printed(home.path(), &[&encode[..], &["--out", "e"]].concat());
    let given = printed(home.path(), &[&ASK[..], &["--documents", "e"]].concat());
    assert_eq!(seconds(&given), seconds(&again));
}

#[test]
fn what_is_kept_is_never_of_another_model_or_text() {
    let home = home();
    printed(home.path(), &ASK);
    printed(home.path(), &ASK);
    assert_eq!(kept(home.path()), 1);
    let mut other = ASK;
    other[2] = "other";
    printed(home.path(), &other);
    assert_eq!(kept(home.path()), 2);
    let encode = ["encode", "--model", "run", "--side", "document", "--input", "data/corpus.jsonl"];
    printed(home.path(), &[&encode[..], &["--out", "e"]].concat());
    let words = refused(home.path(), 1, &[&other[..], &["--documents", "e"]].concat());
    assert!(words.contains("`e` was encoded with another model"), "{words}");

    let corpus = CORPUS.replace("dry", "wet");
    fs::write(home.path().join("data/corpus.jsonl"), corpus).unwrap();
    let answer = printed(home.path(), &ASK);
    assert!(answer.contains("The old mill is wet."), "{answer}");
    assert_eq!(kept(home.path()), 3);
    let words = refused(home.path(), 1, &[&ASK[..], &["--documents", "e"]].concat());
    assert!(words.contains("`e` was encoded from other texts"), "{words}");
    printed(home.path(), &[&ASK[..], &["--document-text", "text", "--cache", "c"]].concat());
    assert_eq!(kept(home.path()), 3);
    assert_eq!(fs::read_dir(home.path().join("c")).unwrap().count(), 1);
}

#[test]
fn an_interrupted_first_call_goes_on() {
    let home = home();
    printed(home.path(), &ASK);
    let folder = fs::read_dir(home.path().join("data/.samtone")).unwrap().next().unwrap();
    let folder = folder.unwrap().path();
    let whole = fs::read(folder.join("embeddings.safetensors")).unwrap();
    fs::rename(folder.join("embeddings.safetensors"), folder.join("embeddings.partial")).unwrap();
    fs::rename(folder.join("ids.txt"), folder.join("ids.partial")).unwrap();
    let half = fs::OpenOptions::new().write(true).open(folder.join("embeddings.partial")).unwrap();
    half.set_len(whole.len() as u64 / 2).unwrap();
    printed(home.path(), &ASK);
    assert_eq!(fs::read(folder.join("embeddings.safetensors")).unwrap(), whole);
}

#[test]
fn every_line_of_stdin_is_a_question() {
    let home = home();
    let mut ask = Command::new(env!("CARGO_BIN_EXE_samtone"))
        .current_dir(home.path())
        .args(&ASK[..7])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    ask.stdin.take().unwrap().write_all(b"who grinds corn?\n\n  where is water? \nwhat").unwrap();
    let output = ask.wait_with_output().unwrap();
    let words = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success() && !words.contains('?'), "{words}");
    let answers = String::from_utf8(output.stdout).unwrap();
    let questions: Vec<String> = answers
        .lines()
        .map(|line| {
            serde_json::from_str::<Value>(line).unwrap()["question"].as_str().unwrap().into()
        })
        .collect();
    assert_eq!(questions, ["who grinds corn?", "where is water?", "what"]);
}

#[test]
fn a_mistake_says_what_to_do() {
    let home = home();
    let with = |model: &str, data: &str, question: &str, code| {
        refused(home.path(), code, &["ask", "--model", model, "--data", data, question])
    };
    let words = with("sentence-transformers/all-MiniLM-L6-v2", "data", "who?", 1);
    let hint = "`samtone download sentence-transformers/all-MiniLM-L6-v2`";
    assert!(words.contains(hint), "{words}");
    assert!(with("run", "run", "who?", 1).contains("corpus.jsonl"));
    let words = refused(home.path(), 1, &[&ASK[..], &["--cache", "data/corpus.jsonl"]].concat());
    assert!(words.contains("hint: `--cache` names another folder"), "{words}");
    assert!(with("run", "data", " ", 2).contains("the question is empty"));
}
