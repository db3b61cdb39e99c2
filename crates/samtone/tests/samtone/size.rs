//! What commands hold of a collection of a hundredth of MS MARCO's size: 88,418 passages, 5,029 training
//! queries with seven hard negatives each, 70 dev queries.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use samtone_data::made::Collection;

/// Of MS MARCO.
const SCALE: f64 = 0.01;

/// Between two looks at a command's memory: the last one is soon before its end.
const LOOK: Duration = Duration::from_millis(2);

/// The most memory that a command held, its maps included, in MB.
#[track_caller]
fn peak(home: &Path, arguments: &[&str]) -> u64 {
    let mut command = Command::new(env!("CARGO_BIN_EXE_samtone"));
    command.current_dir(home).args(arguments).stdin(Stdio::null()).stdout(Stdio::null());
    let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
    let status = format!("/proc/{}/status", child.id());
    let mut kibibytes = 0;
    while child.try_wait().unwrap().is_none() {
        let status = fs::read_to_string(&status).unwrap_or_default();
        // A process that has ended and is not waited for holds nothing.
        if let Some(line) = status.lines().find(|line| line.starts_with("VmHWM:")) {
            kibibytes = line.split_whitespace().nth(1).unwrap().parse().unwrap();
        }
        sleep(LOOK);
    }
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    kibibytes * 1024 / 1_000_000
}

/// A model that costs nothing beside the data, judged on nothing.
const TRAINING: &str = r#"
[data]
train = "data"
dev_split = ""
test_split = ""
token_cache = "tokens"
[model.encoder]
type = "static"
vocab_size = 2000
hidden = 8
[train]
steps = 1
batch_size = 8
hard_negatives = 7
"#;

#[test]
fn commands_hold_little_of_a_large_collection() {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path();
    Collection::new(0, SCALE).write(&home.join("raw")).unwrap();
    fs::write(home.join("train.toml"), TRAINING).unwrap();
    let inputs = Collection::FILES.map(|name| format!("raw/{name}"));
    let import: Vec<&str> = ["import", "ms-marco", "--out", "data"]
        .into_iter()
        .chain(inputs.iter().map(String::as_str))
        .collect();
    let bm25 = ["bm25", "--data", "data", "--split", "dev", "-k", "1000"];
    let kept = [&bm25[..], &["--index", "index"]].concat();
    // About half as much again as was held on two cores.
    for (most, arguments) in [
        (40, &import[..]),
        (110, &["lint", "data"]),
        (400, &bm25),
        (450, &kept),
        (150, &kept),
        (200, &["train", "--config", "train.toml", "--run-dir", "run"]),
    ] {
        let held = peak(home, arguments);
        eprintln!("{arguments:?}: {held} MB");
        assert!(held > 0 && held <= most, "{arguments:?} held {held} MB, more than {most}");
    }
}
