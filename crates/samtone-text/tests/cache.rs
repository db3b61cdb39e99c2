//! The token cache under several processes: this test program runs itself again as the others.

#![expect(clippy::unwrap_used, reason = "a test's helpers fail as the test does")]

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use samtone_text::{TextTokenizer, TokenCache};

/// Names the cache folder to a process that is one of several.
const FOLDER: &str = "SAMTONE_TEST_CACHE_FOLDER";

fn tokenizer() -> TextTokenizer {
    let texts = ["a well holds water", "water runs", "a well runs dry, they say"];
    TextTokenizer::train_wordpiece(&texts, 80, true).unwrap()
}

fn texts() -> Vec<String> {
    (0..20_000).map(|i| format!("water {i} {}", "a well runs dry, ".repeat(i % 9))).collect()
}

/// Builds or opens the cache in `folder` and compares every row.
fn check(folder: &Path) {
    let (tokenizer, texts) = (tokenizer(), texts());
    let cache = TokenCache::of(folder, &tokenizer, 24, &texts).unwrap();
    assert_eq!(cache.len(), texts.len());
    for (i, row) in tokenizer.encode_batch(&texts, 24).unwrap().iter().enumerate() {
        assert_eq!(cache.row(i), *row);
    }
}

/// A process that builds or opens the cache in `folder`.
fn process(folder: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["one_of_several", "--exact"])
        .env(FOLDER, folder)
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

/// Nothing on its own: what the other processes run.
#[test]
fn one_of_several() {
    if let Some(folder) = std::env::var_os(FOLDER) {
        check(Path::new(&folder));
    }
}

#[test]
fn processes_at_once_end_with_one_whole_file() {
    let dir = tempfile::tempdir().unwrap();
    let mut processes: Vec<Child> = (0..3).map(|_| process(dir.path())).collect();
    check(dir.path());
    for process in &mut processes {
        assert!(process.wait().unwrap().success());
    }
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn a_process_killed_while_it_writes_does_no_harm() {
    let dir = tempfile::tempdir().unwrap();
    let is_partial = |path: &Path| path.extension().is_some_and(|end| end == "partial");
    let files = || fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().path());
    let mut killed = process(dir.path());
    while killed.try_wait().unwrap().is_none() {
        if files().any(|path| is_partial(&path)) {
            killed.kill().unwrap();
        }
    }
    check(dir.path());
    assert_eq!(files().filter(|path| !is_partial(path)).count(), 1);
}
