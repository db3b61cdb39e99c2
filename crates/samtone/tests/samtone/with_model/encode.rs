//! `encode` goes on only over what it began with, and takes each id once.

use std::fs;
use std::path::Path;

use super::tiny::{printed, refused, samtone, two_models};

const ENCODE: [&str; 9] = [
    "encode",
    "--model",
    "model",
    "--input",
    "data/corpus.jsonl",
    "--side",
    "document",
    "--out",
    "e",
];

/// Makes of the finished folder `e` what an interruption after `done` texts leaves.
fn interrupt(home: &Path, done: usize) {
    let ids = fs::read_to_string(home.join("e/ids.txt")).unwrap();
    let ids: String = ids.split_inclusive('\n').take(done).collect();
    fs::write(home.join("e/ids.partial"), ids).unwrap();
    fs::remove_file(home.join("e/ids.txt")).unwrap();
    fs::rename(home.join("e/embeddings.safetensors"), home.join("e/embeddings.partial")).unwrap();
}

#[test]
fn an_interrupted_encode_ends_in_the_same_bytes() {
    let home = two_models();
    // More texts than are computed together, of several lengths.
    let line = |i: usize| {
        let text = ["well", "river", "mill"].repeat(1 + i % 7).join(" ");
        format!("{{\"_id\":\"d{i}\",\"text\":\"{text} {i}\"}}\n")
    };
    let corpus: String = (0..4200).map(line).collect();
    fs::write(home.path().join("data/corpus.jsonl"), corpus).unwrap();
    printed(home.path(), &ENCODE);
    let whole = fs::read(home.path().join("e/embeddings.safetensors")).unwrap();
    interrupt(home.path(), 4133);
    let words = printed(home.path(), &ENCODE);
    assert!(words.contains("(4096 of them before)"), "{words}");
    assert_eq!(fs::read(home.path().join("e/embeddings.safetensors")).unwrap(), whole);
    let words = refused(home.path(), 1, &ENCODE);
    assert!(words.contains("`e/embeddings.safetensors` exists already"), "{words}");
}

#[test]
fn an_encode_does_not_go_on_over_anything_else() {
    let home = two_models();
    printed(home.path(), &ENCODE);
    interrupt(home.path(), 77);
    let with = |more: &[&str]| refused(home.path(), 1, &[&ENCODE[..], more].concat());
    let words = with(&["--max-tokens", "9", "--document-text", "text"]);
    // Another text of the documents is another input too.
    let what = "`e` was begun with another document_text, input, max_tokens\n";
    assert!(words.contains(what), "{words}");
    let words = with(&["--batch-tokens", "99"]);
    assert!(words.contains("another batch_tokens\n"), "{words}");
    let mut other = ENCODE;
    other[2] = "other";
    let words = refused(home.path(), 1, &other);
    assert!(words.contains("`e` was begun with another model\n"), "{words}");

    // The same length, in what was embedded and in what was not.
    let corpus = home.path().join("data/corpus.jsonl");
    let before = fs::read_to_string(&corpus).unwrap();
    let lines: Vec<&str> = before.lines().collect();
    for line in [3, 150] {
        let mut after = lines.clone();
        let letter = after[line].rfind(|c: char| c.is_ascii_lowercase()).unwrap();
        let mut edited = after[line].to_owned();
        edited.replace_range(letter..=letter, "Z");
        after[line] = &edited;
        fs::write(&corpus, after.join("\n") + "\n").unwrap();
        assert_eq!(fs::metadata(&corpus).unwrap().len(), before.len() as u64);
        let words = refused(home.path(), 1, &ENCODE);
        assert!(words.contains("`e` was begun with another input\n"), "{words}");
    }
    fs::write(&corpus, &before).unwrap();
    printed(home.path(), &ENCODE);
}

#[test]
fn an_id_that_is_there_twice_is_refused_before_the_work() {
    let home = two_models();
    let queries = "{\"_id\":\"q1\",\"text\":\"a\"}\n{\"_id\":\"q2\",\"text\":\"b\"}\n\
                   {\"_id\":\"q1\",\"text\":\"c\"}\n";
    fs::write(home.path().join("queries.jsonl"), queries).unwrap();
    let arguments = ["encode", "--model", "model", "--input", "queries.jsonl", "--side", "query"];
    let words = refused(home.path(), 1, &[&arguments[..], &["--out", "q"]].concat());
    assert!(words.contains("`queries.jsonl`, line 3: query `q1`"), "{words}");
    assert!(words.contains("line 1"), "{words}");
    assert_eq!(fs::read_dir(home.path().join("q")).unwrap().count(), 0);
}

#[test]
fn an_id_with_a_space_is_told_by_encode_and_refused_by_search() {
    let home = two_models();
    let queries = "{\"_id\":\"q 1\",\"text\":\"a\"}\n";
    fs::write(home.path().join("queries.jsonl"), queries).unwrap();
    let arguments = ["encode", "--model", "model", "--input", "queries.jsonl", "--side", "query"];
    let output = samtone(home.path(), &[&arguments[..], &["--out", "q"]].concat());
    let words = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{words}");
    assert!(words.starts_with("warning: the id `q 1` is empty or holds white space"), "{words}");
    assert!(words.contains("--rename-ids"), "{words}");
    let search = ["search", "--queries", "q", "--documents", "q", "--out", "no/r.trec"];
    let words = refused(home.path(), 1, &search);
    assert!(words.contains("the id `q 1` is empty or holds white space"), "{words}");
    assert!(!home.path().join("no").exists());
}
