//! SKILL through the command line, on a tiny model: it infuses, answers, repeats, resumes, and its
//! model starts a dual encoder.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use samtone_skill::{InfuseSummary, Prediction, QaSummary};

const INFUSE: &str = "seed = 3
[data]
text = 'embedded'
embedded_size = 100
max_input = 32
max_target = 12
[model]
head = 'tied-scaled'
[model.encoder]
vocab_size = 700
hidden = 32
layers = 1
heads = 2
head_dim = 16
intermediate = 48
[train]
steps = 12
batch_size = 16
optimizer = 'adamw'
lr = 3e-3
log_every = 1
checkpoint_every = 5
[qa]
text_control = true
[qa.data]
embedded_size = 100
max_input = 32
max_target = 12
[qa.train]
steps = 4
batch_size = 8
";

const QA: &str = "seed = 1
[data]
embedded_size = 100
matched = 'embedded'
max_input = 32
max_target = 12
[train]
steps = 4
batch_size = 8
eval_every = 2
[eval]
beams = 2
";

struct Bench {
    folder: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("infuse.toml"), INFUSE).unwrap();
        fs::write(folder.path().join("qa.toml"), QA).unwrap();
        Self { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn command(&self, command: &str, run: &str) -> Command {
        let mut samtone = Command::new(env!("CARGO_BIN_EXE_samtone"));
        samtone.arg(command).arg("--run-dir").arg(self.path(run)).current_dir(self.folder.path());
        samtone
    }

    #[track_caller]
    fn run(&self, command: &str, run: &str, arguments: &[&str]) -> Output {
        let config = format!("{command}.toml");
        let mut samtone = self.command(command, run);
        let output = samtone.args(["--config", &config]).args(arguments).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        output
    }

    fn bytes(&self, file: impl AsRef<Path>) -> Vec<u8> {
        fs::read(self.folder.path().join(file)).unwrap()
    }
}

#[test]
fn an_infusion_is_judged_and_its_model_goes_on() {
    let bench = Bench::new();
    let output = bench.run("infuse", "one", &["--format", "json"]);
    let printed: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let summary: InfuseSummary = serde_json::from_slice(&bench.bytes("one/summary.json")).unwrap();
    assert_eq!(printed["summary"], serde_json::to_value(&summary).unwrap());
    assert_eq!((summary.steps, summary.triples), (12, 100));
    let names: Vec<&String> = summary.exact_match.keys().collect();
    assert_eq!(names, ["infused", "plain", "text"]);
    let predictions = bench.bytes("one/qa-infused/predictions-test.jsonl");
    let predictions: Vec<Prediction> = String::from_utf8(predictions)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(predictions.len(), summary.questions["test"]);
    for file in ["report.html", "environment.json", "qa-text/metrics.jsonl", "text/metrics.jsonl"] {
        assert!(bench.path("one").join(file).is_file(), "{file} is missing");
    }

    // Its questions, by the command of their own.
    let path = format!("model.path={}", bench.path("one/model").display());
    bench.run("qa", "asked", &["--set", &path]);
    let summary: QaSummary = serde_json::from_slice(&bench.bytes("asked/summary.json")).unwrap();
    let splits: Vec<&String> = summary.result.exact_match.keys().collect();
    assert_eq!(splits, ["dev", "test", "test_matched"]);
    assert!(summary.result.questions["test_matched"] <= summary.result.questions["test"]);
    assert!(bench.path("asked/report.html").is_file());

    // Its encoder, as both towers of a retriever.
    let sets = [
        path.as_str(),
        "train.steps=2",
        "train.batch_size=8",
        "model.query_max_len=16",
        "model.document_max_len=16",
    ];
    let mut train = bench.command("train", "towers");
    let output = train.args(sets.iter().flat_map(|set| ["--set", set])).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let config = String::from_utf8(bench.bytes("towers/model/config.json")).unwrap();
    assert!(config.contains("T5EncoderModel"), "{config}");
}

#[test]
fn a_killed_infusion_resumes_to_the_same_bytes() {
    let bench = Bench::new();
    bench.run("infuse", "unbroken", &[]);
    let mut killed =
        bench.command("infuse", "killed").args(["--config", "infuse.toml"]).spawn().unwrap();
    let first = bench.path("killed/checkpoints/step-5");
    let patience = Instant::now() + Duration::from_mins(2);
    while !first.exists() && killed.try_wait().unwrap().is_none() {
        assert!(Instant::now() < patience, "no checkpoint was written");
        std::thread::sleep(Duration::from_millis(1));
    }
    killed.kill().unwrap();
    killed.wait().unwrap();
    // However far it came, it goes on from the first checkpoint.
    for later in ["checkpoints/step-10", "checkpoints/step-12", "model", "qa-infused"] {
        let _ = fs::remove_dir_all(bench.path("killed").join(later));
    }
    let resumed = bench.command("infuse", "killed").arg("--resume").output().unwrap();
    assert!(resumed.status.success(), "{}", String::from_utf8_lossy(&resumed.stderr));
    for file in ["summary.json", "model/model.safetensors", "qa-infused/predictions-test.jsonl"] {
        let (unbroken, killed) = (Path::new("unbroken").join(file), Path::new("killed").join(file));
        assert!(bench.bytes(unbroken) == bench.bytes(killed), "{file} differs");
    }
}

#[test]
fn mistakes_are_named_before_anything_is_written() {
    let bench = Bench::new();
    let fails = |set: &str, code: i32, expected: &str| {
        let mut infuse = bench.command("infuse", "run");
        let output = infuse.args(["--config", "infuse.toml", "--set", set]).output().unwrap();
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{message}");
        assert!(message.contains(expected), "{message}");
        assert!(!bench.path("run").exists());
    };
    fails("data.triple=x", 2, "did you mean `triples`?");
    fails("data.triples=none.tsv", 1, "`none.tsv` does not exist");
    fs::write(bench.path("wrong.tsv"), "a\tb\tc\na\tb\n").unwrap();
    fails("data.triples=wrong.tsv", 1, "`wrong.tsv`, line 2: expected 3 columns");
    fails("model.path=none", 1, "none");
}
