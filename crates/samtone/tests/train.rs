//! Whole runs of a tiny model through the command line: it learns, repeats and resumes.
//!
//! `SAMTONE_BACKEND` names the backend (`flex` if unset); the build must hold it:
//! `SAMTONE_BACKEND=wgpu cargo nextest run -p samtone --features wgpu --test train`.

#![expect(clippy::unwrap_used, reason = "a test's helpers fail as the test does")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use samtone_data::embedded::World;
use samtone_eval::{Evaluation, Metric};
use samtone_train::{StepRecord, Summary, evaluation_path};

/// A folder with a data set and a configuration that trains in a second or two.
struct Bench {
    folder: tempfile::TempDir,
}

impl Bench {
    fn new(more: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        World::generate(0, 200).dataset().save(&folder.path().join("data")).unwrap();
        let config = format!(
            "seed = 3
[data]
train = '{}'
[model]
query_max_len = 16
document_max_len = 24
[model.encoder]
type = \"bert\"
vocab_size = 800
hidden = 32
layers = 1
heads = 2
intermediate = 64
max_positions = 32
[train]
steps = 20
batch_size = 16
lr = 3e-3
warmup = 2
log_every = 1
{more}",
            folder.path().join("data").display()
        );
        fs::write(folder.path().join("config.toml"), config).unwrap();
        Self { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// `samtone train` into the run folder `run`, ready to start.
    fn command(&self, run: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_samtone"));
        command.arg("train").arg("--run-dir").arg(self.path(run));
        command.args(["--backend", &backend()]);
        command
    }

    #[track_caller]
    fn train(&self, run: &str, arguments: &[&str]) -> Output {
        let config = self.path("config.toml");
        let output =
            self.command(run).arg("--config").arg(config).args(arguments).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        output
    }

    /// The bytes of a file of a run.
    fn bytes(&self, run: &str, file: &str) -> Vec<u8> {
        fs::read(self.path(run).join(file)).unwrap()
    }
}

fn backend() -> String {
    std::env::var("SAMTONE_BACKEND").unwrap_or_else(|_| "flex".into())
}

/// Backends whose results are promised to the byte; the others tune kernels to the machine.
fn is_exact() -> bool {
    ["flex", "ndarray"].contains(&&*backend())
}

const WEIGHTS: &str = "model/model.safetensors";

fn losses(run: &Path) -> Vec<f64> {
    let text = fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str::<StepRecord>(line).unwrap().loss).collect()
}

#[test]
fn the_loss_falls_and_the_run_folder_is_whole() {
    let bench = Bench::new("baseline = \"in-batch-both\"\n");
    let output = bench.train("run", &["--set", "train.steps=30", "--format", "json"]);
    let printed: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let summary: Summary = serde_json::from_slice(&bench.bytes("run", "summary.json")).unwrap();
    assert_eq!(printed["summary"], serde_json::to_value(&summary).unwrap());

    let losses = losses(&bench.path("run"));
    let mean = |part: &[f64]| part.iter().sum::<f64>() / part.len() as f64;
    let (first, last) = (mean(&losses[..5]), mean(&losses[25..]));
    assert!(last < 0.8 * first, "the loss went from {first} to {last}");
    assert_eq!((summary.steps, summary.seed), (30, 3));
    assert!(summary.test["mrr@10"] > 0.0 && summary.baseline.unwrap().test["mrr@10"] > 0.0);
    for file in ["config.toml", "environment.json", "report.html", "model/config.json", WEIGHTS] {
        assert!(bench.path("run").join(file).is_file(), "{file} is missing");
    }
}

#[test]
fn run_folders_hold_what_a_comparison_needs() {
    let bench = Bench::new("baseline = \"in-batch-both\"\n");
    bench.train("run", &["--set", "eval.metrics=[\"nDCG@10\", \"mrr@10\"]"]);
    let summary: Summary = serde_json::from_slice(&bench.bytes("run", "summary.json")).unwrap();
    let run = bench.path("run");
    let evaluation = |folder: &Path, set: &str| {
        let found = Evaluation::read(evaluation_path(folder, set)).unwrap();
        found.mean(Metric::NDCG_10).unwrap()
    };
    assert_eq!(evaluation(&run, "test"), summary.test["ndcg@10"]);
    assert_eq!(evaluation(&run, "dev"), summary.dev["ndcg@10"]);
    assert_eq!(evaluation(&run, "bm25"), summary.bm25["ndcg@10"]);
    let baseline = summary.baseline.unwrap();
    assert_eq!(evaluation(&run.join("baseline"), "test"), baseline.test["ndcg@10"]);

    let compare = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_samtone"));
        command.current_dir(&run).arg("compare").args(arguments).args(["--format", "json"]);
        command.output().unwrap()
    };
    let output = compare(&[".", "baseline", "evaluations/bm25.json", "--metrics", "ndcg@10"]);
    let found: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let means: Vec<f64> =
        found["rows"].as_array().unwrap().iter().map(|row| row["mean"].as_f64().unwrap()).collect();
    assert_eq!(means, [baseline.test["ndcg@10"], summary.bm25["ndcg@10"]]);
    let refused = compare(&[".", "evaluations/dev.json"]);
    let words = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(1), "{words}");
    assert!(words.contains("are scored against different judgments"), "{words}");
}

#[test]
fn the_same_seed_gives_the_same_bytes() {
    let bench = Bench::new("");
    for run in ["one", "two"] {
        bench.train(run, &[]);
    }
    bench.train("other-seed", &["--set", "seed=4"]);
    if is_exact() {
        for file in ["summary.json", WEIGHTS] {
            assert!(bench.bytes("one", file) == bench.bytes("two", file), "{file} differs");
        }
    }
    assert!(bench.bytes("one", WEIGHTS) != bench.bytes("other-seed", WEIGHTS));
}

#[test]
fn chunks_change_nothing_but_rounding() {
    let bench = Bench::new("");
    bench.train("whole", &["--set", "train.chunk=16"]);
    bench.train("chunked", &["--set", "train.chunk=5"]);
    let (whole, chunked) = (losses(&bench.path("whole")), losses(&bench.path("chunked")));
    for (step, (a, b)) in whole.iter().zip(&chunked).enumerate() {
        assert!((a - b).abs() < 1e-3 * a.abs(), "step {step}: {a} and {b}");
    }
}

/// Twenty steps are seven, a kill and thirteen more: with dropout, in the middle of an epoch.
#[track_caller]
fn check_kill_and_resume(optimizer: &str) {
    let bench = Bench::new(&format!("checkpoint_every = 7\noptimizer = \"{optimizer}\"\n"));
    bench.train("unbroken", &[]);

    // Slow the killed run down by its log alone: it is killed once its first checkpoint stands.
    let config = bench.path("config.toml");
    let mut killed = bench.command("killed").arg("--config").arg(config).spawn().unwrap();
    let first = bench.path("killed").join("checkpoints/step-7");
    let patience = Instant::now() + Duration::from_mins(2);
    while !first.exists() && killed.try_wait().unwrap().is_none() {
        assert!(Instant::now() < patience, "no checkpoint was written");
        std::thread::sleep(Duration::from_millis(1));
    }
    killed.kill().unwrap(); // SIGKILL on Unix
    killed.wait().unwrap();
    // However far it came, it goes on from the first checkpoint.
    for later in [14, 20] {
        let _ = fs::remove_dir_all(bench.path("killed").join(format!("checkpoints/step-{later}")));
    }
    let _ = fs::remove_dir_all(bench.path("killed/model"));

    let resumed = bench.command("killed").arg("--resume").output().unwrap();
    assert!(resumed.status.success(), "{}", String::from_utf8_lossy(&resumed.stderr));
    assert_eq!(losses(&bench.path("killed")).len(), 20);
    if is_exact() {
        for file in ["summary.json", WEIGHTS] {
            assert!(bench.bytes("unbroken", file) == bench.bytes("killed", file), "{file} differs");
        }
    }
}

#[test]
fn a_run_that_cannot_start_leaves_nothing_behind() {
    let bench = Bench::new("");
    let mut command = bench.command("run");
    command.arg("--config").arg(bench.path("config.toml"));
    let output = command.args(["--set", "data.train_split=nowhere"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(!bench.path("run").exists());
}

#[test]
#[cfg(not(feature = "cuda"))]
fn an_absent_backend_names_its_feature() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_samtone"));
    let output = command.args(["train", "--backend", "cuda:1"]).output().unwrap();
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(message.contains("backend `cuda:1` is not in this build"), "{message}");
    assert!(message.contains("--features cuda"), "{message}");
}

#[test]
fn a_killed_run_resumes_to_the_same_weights_under_adamw() {
    check_kill_and_resume("adamw");
}

#[test]
fn a_killed_run_resumes_to_the_same_weights_under_adafactor() {
    check_kill_and_resume("adafactor");
}
