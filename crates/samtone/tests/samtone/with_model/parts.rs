//! Parts of a corpus, encoded by many processes, are the encoding of the whole.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::tiny::{printed, refused, two_models};

/// A folder with two models, judged data, and a corpus of several blocks: objects with white space behind
/// the text, so that few texts are many bytes.
fn home() -> tempfile::TempDir {
    let home = two_models();
    let corpus = fs::read_to_string(home.path().join("data/corpus.jsonl")).unwrap();
    let space = " ".repeat(40_000);
    let spaced: String =
        corpus.lines().flat_map(|line| [line.strip_suffix('}').unwrap(), &*space, "}\n"]).collect();
    fs::write(home.path().join("corpus.jsonl"), spaced).unwrap();
    home
}

const ENCODE: [&str; 7] =
    ["encode", "--model", "model", "--input", "corpus.jsonl", "--side", "document"];

fn encode(home: &Path, more: &[&str]) -> String {
    printed(home, &[&ENCODE[..], more].concat())
}

fn part(home: &Path, part: usize, parts: usize) -> String {
    encode(home, &["--out", "parts", "--shard", &format!("{part}/{parts}")])
}

/// The numbers of a folder's file, behind its header.
fn numbers(folder: &Path) -> Vec<u8> {
    let bytes = fs::read(folder.join("embeddings.safetensors")).unwrap();
    let header = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    bytes[8 + header..].to_vec()
}

/// Makes of a finished folder what a kill after `done` texts leaves, the next row torn.
fn kill(folder: &Path, done: usize) {
    let ids = fs::read_to_string(folder.join("ids.txt")).unwrap();
    let ids: String = ids.split_inclusive('\n').take(done).collect();
    fs::write(folder.join("ids.partial"), ids).unwrap();
    fs::remove_file(folder.join("ids.txt")).unwrap();
    let bytes = fs::read(folder.join("embeddings.safetensors")).unwrap();
    let header = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    fs::remove_file(folder.join("embeddings.safetensors")).unwrap();
    fs::write(folder.join("embeddings.partial"), &bytes[..header + done * 16 * 4 + 3]).unwrap();
}

#[test]
fn parts_in_any_order_killed_and_repeated_are_the_bytes_of_one_run() {
    let home = home();
    let home = home.path();
    encode(home, &["--out", "whole"]);
    let folder = |part: usize| home.join(format!("parts/part-{part:05}-of-00005"));
    for number in [4, 2, 5, 1] {
        part(home, number, 5);
    }
    for (number, done) in [(4, 13), (1, 0), (2, 30)] {
        kill(&folder(number), done);
    }
    // Which are not whole is known, and nothing takes them for all.
    assert_eq!(printed(home, &["encode", "--missing", "--out", "parts"]), "1-4\n");
    encode_queries(home);
    let search = ["search", "--queries", "q", "--out", "-", "-k", "7", "--documents"];
    let search = |documents: &[&str]| printed(home, &[&search[..], documents].concat());
    let words =
        refused(home, 1, &["search", "--queries", "q", "--out", "r", "--documents", "parts"]);
    assert!(words.contains("`parts` lacks parts of 5: 1-4, 3 of them begun\n"), "{words}");
    let alone =
        ["search", "--queries", "q", "--out", "r", "--documents", "parts/part-00005-of-00005"];
    assert!(refused(home, 1, &alone).contains("lacks parts of 5: 1-4\n"));

    let words: Vec<String> = [2, 3, 1, 4].map(|number| part(home, number, 5)).into();
    // What was computed together with what is lost is computed again.
    let resumed = words.iter().filter(|words| words.contains("of them before")).count();
    assert_eq!(resumed, 1, "{words:?}");
    assert_eq!(printed(home, &["encode", "--missing", "--out", "parts"]), "\n");
    let parts: Vec<u8> = (1..=5).flat_map(|number| numbers(&folder(number))).collect();
    assert!(parts == numbers(&home.join("whole")), "the numbers differ");
    let ids = |folder: &Path| fs::read_to_string(folder.join("ids.txt")).unwrap();
    let joined: String = (1..=5).map(|number| ids(&folder(number))).collect();
    assert_eq!(joined, ids(&home.join("whole")));

    // Found is the same, scores and all, in the whole, in the parts' folder, in each.
    let expected = search(&["whole"]);
    assert_eq!(search(&["parts"]), expected);
    let each = [3, 1, 2, 5, 4].map(|number| format!("parts/part-{number:05}-of-00005"));
    assert_eq!(search(&each.each_ref().map(String::as_str)), expected);
    let own = |documents: &str| {
        let more = ["--documents", documents, "--drop-own", "-k", "3", "--out", "-"];
        printed(home, &[&["search", "--queries", "whole"][..], &more].concat())
    };
    assert_eq!(own("parts"), own("whole"));
    let ask = |documents: &str| {
        let more = ["--documents", documents, "--format", "json", "who grinds corn"];
        let answer =
            printed(home, &[&["ask", "--model", "model", "--data", "data"][..], &more].concat());
        answer[answer.find("\"hits\"").unwrap()..].to_owned()
    };
    assert_eq!(ask("parts"), ask("whole"));

    // Another corpus than the one that the parts were cut from.
    let corpus = fs::read_to_string(home.join("data/corpus.jsonl")).unwrap();
    let line = corpus.rfind("\"text\"").unwrap();
    fs::create_dir(home.join("edited")).unwrap();
    let edited = format!("{}\"text\":\"other\"}}\n", &corpus[..line]);
    fs::write(home.join("edited/corpus.jsonl"), edited).unwrap();
    let ask = ["ask", "--model", "model", "--data", "edited", "--documents", "parts", "who"];
    assert!(refused(home, 1, &ask).contains("`parts` was encoded from other texts"));
}

fn encode_queries(home: &Path) {
    let queries = ["encode", "--model", "model", "--side", "query", "--out", "q"];
    printed(home, &[&queries[..], &["--input", "data/queries.jsonl"]].concat());
}

#[test]
fn several_files_are_one_input() {
    let home = home();
    let home = home.path();
    let corpus = fs::read_to_string(home.join("corpus.jsonl")).unwrap();
    let lines: Vec<&str> = corpus.split_inclusive('\n').collect();
    for (name, lines) in [("c-1.jsonl", &lines[..70]), ("c-2.jsonl", &lines[70..])] {
        fs::write(home.join(name), lines.concat()).unwrap();
    }
    let encode = |input: &[&str], more: &[&str]| {
        let start = ["encode", "--model", "model", "--side", "document"];
        printed(home, &[&start[..], more, &["--input"], input].concat())
    };
    encode(&["c-1.jsonl", "c-2.jsonl"], &["--out", "whole"]);
    for shard in ["2/3", "1/3", "3/3"] {
        encode(&["c-*.jsonl"], &["--out", "parts", "--shard", shard]);
    }
    let folder = |part: usize| home.join(format!("parts/part-{part:05}-of-00003"));
    let parts: Vec<u8> = (1..=3).flat_map(|number| numbers(&folder(number))).collect();
    assert!(parts == numbers(&home.join("whole")), "the numbers differ");
    let twice = ["--input", "c-1.jsonl", "c-1.jsonl", "--out", "no"];
    let start = ["encode", "--model", "model", "--side", "document"];
    let words = refused(home, 2, &[&start[..], &twice].concat());
    assert!(words.contains("`c-1.jsonl` is given twice"), "{words}");
}

#[test]
fn folders_that_are_not_the_parts_of_one_encoding_are_refused() {
    let home = home();
    let home = home.path();
    encode_queries(home);
    part(home, 1, 2);
    // Before the work: parts of another number, the whole in their folder, a part in a whole's.
    let out = |out: &str, shard: &str| {
        let words = [&ENCODE[..], &["--out", out, "--shard", shard]].concat();
        refused(home, 1, &words)
    };
    let words = out("parts", "2/3");
    assert!(words.contains("`parts` holds part 1/2, this is 2/3\n"), "{words}");
    assert!(out("parts", "1/1").contains("`parts` holds part 1/2, this is 1/1\n"));
    assert!(out("q", "1/2").contains("`q` holds embeddings, not parts of them\n"));
    assert!(out("parts", "1/2").contains("exists already"));
    let words = [&ENCODE[..], &["--out", "parts", "--shard", "2/2", "--max-tokens", "9"]].concat();
    let words = refused(home, 1, &words);
    let place = "`parts/part-00001-of-00002` was encoded with another max_tokens\n";
    assert!(words.contains(place), "{words}");

    let search = |documents: &[&str]| {
        let start = ["search", "--queries", "q", "--out", "r", "--documents"];
        refused(home, 1, &[&start[..], documents].concat())
    };
    let first = "parts/part-00001-of-00002";
    let words = search(&[first, first]);
    assert!(words.contains("part 1/2 is there twice"), "{words}");
    assert!(search(&[first, "q"]).contains("`q` is a whole encoding, not a part\n"));
    let other = |out: &str, more: &[&str]| {
        let more = [&["--out", out, "--shard", "2/2"][..], more].concat();
        encode(home, &more);
        search(&[first, &format!("{out}/part-00002-of-00002")])
    };
    let words = other("shorter", &["--max-tokens", "9", "--batch-tokens", "99"]);
    assert!(words.contains(" differ in batch_tokens, max_tokens\n"), "{words}");
    let corpus = fs::read_to_string(home.join("corpus.jsonl")).unwrap();
    // As long, but for one letter of a text in the first part.
    let letter = corpus.find("\"text\"").unwrap() + 9;
    let mut edited = corpus.clone();
    edited.replace_range(letter..=letter, "~");
    fs::write(home.join("corpus.jsonl"), &edited).unwrap();
    assert!(other("edited", &[]).contains(" differ in files\n"));
    fs::write(home.join("corpus.jsonl"), &corpus).unwrap();

    // An id of one part that another has: whoever reads its part alone cannot see it.
    let line = corpus.lines().next().unwrap();
    fs::write(home.join("corpus.jsonl"), format!("{corpus}{line}\n")).unwrap();
    for shard in ["1/2", "2/2"] {
        encode(home, &["--out", "repeated", "--shard", shard]);
    }
    let words = search(&["repeated"]);
    assert!(words.contains("part-00002-of-00002/ids.txt`, line "), "{words}");
    let place = " is already on line 1 of `repeated/part-00001-of-00002/ids.txt`\n";
    assert!(words.contains(place), "{words}");
}

#[test]
fn the_scheduler_says_the_part_aloud() {
    let home = home();
    let run = |variables: &[(&str, &str)], shard: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_samtone"));
        command.current_dir(home.path()).args(ENCODE).args(["--out", "parts", "--shard", shard]);
        let output = command.envs(variables.iter().copied()).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, words) = run(&[], "auto");
    assert_eq!(code, Some(2), "{words}");
    assert!(
        words.contains("finds no scheduler") && words.contains("give `--shard I/N`"),
        "{words}"
    );
    let (code, words) = run(&[("JOB_COMPLETION_INDEX", "1")], "auto");
    assert!(code == Some(2) && words.contains("hint: give it: `--shard auto/N`"), "{words}");
    assert!(!home.path().join("parts").exists());
    let (code, words) = run(&[("JOB_COMPLETION_INDEX", "1")], "auto/3");
    assert_eq!(code, Some(0), "{words}");
    assert!(words.starts_with("part 2 of 3, by `JOB_COMPLETION_INDEX`\n"), "{words}");
    assert!(home.path().join("parts/part-00002-of-00003/ids.txt").is_file());
}
