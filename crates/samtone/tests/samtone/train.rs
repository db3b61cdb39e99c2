//! Whole runs of a tiny model through the command line: it learns, repeats and resumes.
//!
//! `SAMTONE_BACKEND` names the backend (`flex` if unset); the build must hold it:
//! `SAMTONE_BACKEND=wgpu cargo nextest run -p samtone --features wgpu --test train`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use samtone_data::embedded::World;
use samtone_eval::{Evaluation, Metric};
use samtone_train::run::{Checkpoints, StepRecord, Summary, evaluation_path};

/// A folder with a data set and a configuration that trains in a second or two.
pub(crate) struct Bench {
    folder: tempfile::TempDir,
}

impl Bench {
    pub(crate) fn new(more: &str) -> Self {
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

    pub(crate) fn path(&self, name: &str) -> PathBuf {
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
    pub(crate) fn train(&self, run: &str, arguments: &[&str]) -> Output {
        let config = self.path("config.toml");
        let output =
            self.command(run).arg("--config").arg(config).args(arguments).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        output
    }

    /// The bytes of a file of a run.
    pub(crate) fn bytes(&self, run: &str, file: &str) -> Vec<u8> {
        fs::read(self.path(run).join(file)).unwrap()
    }
}

pub(crate) fn backend() -> String {
    std::env::var("SAMTONE_BACKEND").unwrap_or_else(|_| "flex".into())
}

/// Backends whose results are promised to the byte; the others tune kernels to the machine.
pub(crate) fn is_exact() -> bool {
    ["flex", "ndarray"].contains(&&*backend())
}

/// What two courses of one training may differ by, as a share of a loss: sums in another order differ
/// by 1e-7 in f32, and twenty steps at a learning rate of 3e-3 blow that up, most of all while Adam's
/// second moments are young.
pub(crate) const ROUNDING: f64 = 1e-3;

pub(crate) const WEIGHTS: &str = "model/model.safetensors";

pub(crate) fn losses(run: &Path) -> Vec<f64> {
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
    let files = ["config.toml", "environment.json", "report.html", "figures/loss.png"];
    for file in files.into_iter().chain(["model/config.json", WEIGHTS]) {
        assert!(bench.path("run").join(file).is_file(), "{file} is missing");
    }
    assert!(bench.bytes("run", WEIGHTS) != bench.bytes("run", &format!("baseline/{WEIGHTS}")));
    let card = String::from_utf8(bench.bytes("run", "baseline/model/README.md")).unwrap();
    assert!(card.contains("under the `in-batch-both` loss"), "{card}");
}

#[test]
fn both_losses_of_a_run_are_analysed_side_by_side() {
    let bench = Bench::new("baseline = \"in-batch-both\"\n");
    bench.train("run", &["--set", "model.sharing=ade"]);
    let analyze = |more: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_samtone"));
        command.current_dir(bench.path("run")).args(["analyze", "--data", "../data", "--format"]);
        command.args(["json", "--points", "20", "--perplexity", "6", "--backend", &backend()]);
        command.args(["--model", "model", "--model", "baseline/model"]).args(more).output().unwrap()
    };
    let output = analyze(&["--name", "same-tower", "--queries", "7"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let found: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let kept = fs::read(bench.path("run/analysis/analysis.json")).unwrap();
    assert_eq!(found, serde_json::from_slice::<serde_json::Value>(&kept).unwrap());
    let models = found["models"].as_array().unwrap();
    let names: Vec<&str> = models.iter().map(|model| model["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["same-tower", "baseline"]);
    // What `train` judged, `analyze` finds again.
    let summary: Summary = serde_json::from_slice(&bench.bytes("run", "summary.json")).unwrap();
    let judged = [summary.test["mrr@10"], summary.baseline.unwrap().test["mrr@10"]];
    for (model, judged) in models.iter().zip(judged) {
        assert_eq!(model["metrics"][1]["metric"], "mrr@10");
        assert_eq!(model["metrics"][1]["mean"].as_f64(), Some(judged), "{model}");
        let auc = model["geometry"][0][1].as_f64().unwrap();
        assert!((0.0..=1.0).contains(&auc), "{auc}");
    }
    let figures = bench.path("run/analysis/figures");
    for figure in
        ["same-tower-queries-and-documents", "baseline-top-1-cosine", "between-the-towers"]
    {
        for extension in ["svg", "png", "csv", "json"] {
            assert!(
                figures.join(format!("{figure}.{extension}")).is_file(),
                "{figure}.{extension}"
            );
        }
    }
    let page = fs::read_to_string(bench.path("run/analysis/report.html")).unwrap();
    assert!(page.contains("samtone analyze --data ../data"), "the command is not in the page");
    assert_eq!(page.matches("<details data-state").count(), 7);

    let refused = analyze(&["--name", "a", "--name", "b", "--name", "c"]);
    assert_eq!(refused.status.code(), Some(2), "{}", String::from_utf8_lossy(&refused.stderr));
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
fn a_comparison_gives_the_texts_of_queries() {
    let bench = Bench::new("");
    bench.train("run", &["--set", "train.steps=2"]);
    bench.train("longer", &["--set", "train.steps=12"]);
    let compare = |more: &[&str]| {
        let mut compare = Command::new(env!("CARGO_BIN_EXE_samtone"));
        compare.arg("compare").args(["run", "longer"]).args(more).current_dir(bench.folder.path());
        compare.output().unwrap()
    };
    let said = |output: Output| String::from_utf8(output.stdout).unwrap();
    let plain = said(compare(&[]));
    assert!(plain.contains("largest changes (`--data` gives their texts):"), "{plain}");
    let with_texts = said(compare(&["--data", "data"]));
    let dataset = World::generate(0, 200).dataset();
    let ends = |text: &str, line: &str| line.ends_with(&format!("  {text}"));
    let changed = plain.lines().zip(with_texts.lines()).filter(|(line, _)| line.contains(" of `"));
    let mut count = 0;
    for (line, with_text) in changed {
        let id = line.split('`').nth(1).unwrap();
        let text = &dataset.queries()[dataset.query_index(id).unwrap()].text;
        assert!(with_text.starts_with(line) && ends(text, with_text), "{with_text}");
        count += 1;
    }
    assert!(count > 0, "{plain}");
    fs::create_dir_all(bench.path("other/qrels")).unwrap();
    fs::write(bench.path("other/corpus.jsonl"), "{\"_id\":\"d\",\"text\":\"x\"}\n").unwrap();
    fs::write(bench.path("other/queries.jsonl"), "{\"_id\":\"q\",\"text\":\"x\"}\n").unwrap();
    let output = compare(&["--data", "other"]);
    let words = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{words}");
    assert!(words.contains("`other` has no query `"), "{words}");
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
        assert!((a - b).abs() < ROUNDING * a.abs(), "step {step}: {a} and {b}");
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

/// A training set of two sources with hard negatives and a teacher's scores, and every term of the
/// objective.
fn everything(bench: &Bench) -> Vec<String> {
    let dataset = samtone_data::Dataset::load(&bench.path("data"), &["train"]).unwrap();
    let documents = dataset.documents().len();
    let lines: Vec<String> = dataset
        .pairs("train")
        .iter()
        .enumerate()
        .map(|(row, pair)| {
            let negatives: Vec<&str> =
                (1..=row % 4).map(|i| dataset.document((row + 7 * i) % documents).text).collect();
            let scores: Vec<f64> = (0..=negatives.len()).map(|i| 3.0 - i as f64).collect();
            let line = serde_json::json!({
                "query": dataset.queries()[pair.query].text,
                "positive": dataset.document(pair.document).text,
                "negatives": negatives,
                "scores": scores,
            });
            format!("{line}\n")
        })
        .collect();
    let pairs = bench.path("pairs.jsonl");
    fs::write(&pairs, lines.concat()).unwrap();
    let (data, pairs) = (bench.path("data"), pairs.display());
    let data = data.display();
    [
        format!(
            "data.train=[{{ path = '{data}', weight = 1.0 }}, {{ path = '{pairs}', weight = 3.0 }}]"
        ),
        format!("data.dev={data}"),
        format!("data.test={data}"),
        "train.hard_negatives=2".into(),
        "train.eval_every=4".into(),
        "train.best_by=mrr@10".into(),
        "matryoshka.dims=[32, 8]".into(),
        "distillation.loss=kl".into(),
        "second_stage={ share = 0.3, loss = { preset = \"in-batch\" } }".into(),
    ]
    .into_iter()
    .flat_map(|set| ["--set".into(), set])
    .collect()
}

/// A command that must fail with exit code `code` and say `words`.
#[track_caller]
fn check_refused(mut command: Command, code: i32, words: &[&str]) {
    let output = command.output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{said}");
    for word in words {
        assert!(said.contains(word), "no `{word}` in: {said}");
    }
}

#[test]
fn the_same_command_begins_goes_on_and_leaves_a_finished_run_alone() {
    let bench = Bench::new("");
    let resume = |more: &[&str]| {
        let mut command = bench.command("run");
        command.arg("--config").arg(bench.path("config.toml")).arg("--resume").args(more);
        command
    };
    let run = |more: &[&str]| {
        let output = resume(more).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{said}");
        said
    };
    let mut alone = bench.command("run");
    alone.arg("--resume");
    check_refused(alone, 1, &["holds no run to resume"]);

    let five = ["--set", "train.steps=5"];
    run(&five);
    let begun = bench.bytes("run", WEIGHTS);
    let written = |file: &str| fs::metadata(bench.path("run").join(file)).unwrap().modified();
    let before =
        ["summary.json", WEIGHTS, "report.html", "config.toml"].map(|f| written(f).unwrap());
    assert!(run(&five).contains("has ended before"), "a finished run says so");
    let after =
        ["summary.json", WEIGHTS, "report.html", "config.toml"].map(|f| written(f).unwrap());
    assert_eq!(before, after, "and is left alone");

    // Longer: another model, which its card and its summary describe.
    let said = run(&["--set", "train.steps=9"]);
    assert!(said.contains("step 5 of 9"), "{said}");
    let summary: Summary = serde_json::from_slice(&bench.bytes("run", "summary.json")).unwrap();
    assert_eq!(summary.steps, 9);
    assert!(bench.bytes("run", WEIGHTS) != begun, "`model/` is that of step 9");
    let card = String::from_utf8(bench.bytes("run", "model/README.md")).unwrap();
    assert!(card.contains("9 steps of 16 pairs"), "{card}");
    let environment: samtone_train::run::Environment =
        serde_json::from_slice(&bench.bytes("run", "environment.json")).unwrap();
    assert_eq!(environment.legs, 2);
    let last = fs::read_to_string(bench.path("run/metrics.jsonl")).unwrap();
    let last: StepRecord = serde_json::from_str(last.lines().last().unwrap()).unwrap();
    assert!(environment.total_seconds > environment.train_seconds);
    let pairs = environment.pairs_per_second * environment.train_seconds;
    assert!((pairs - 9.0 * 16.0).abs() < 1e-6 * pairs, "{pairs} pairs in both legs");
    assert!((last.pairs_per_second / environment.pairs_per_second - 1.0).abs() < 1e-9);

    check_refused(resume(&["--set", "train.steps=4"]), 1, &["the run has 4 steps, had 9"]);
    let other = ["--set", "train.steps=9", "--set", "train.lr=1e-4", "--set", "loss.temperature=1"];
    let named = ["`train.lr` is 0.0001, was 0.003", "`loss.temperature` is 1.0, was 0.05"];
    check_refused(resume(&other), 1, &named);
    // The same by hand in the run's own configuration.
    let path = bench.path("run/config.toml");
    let own = fs::read_to_string(&path).unwrap();
    fs::write(&path, own.replace("hidden = 32", "hidden = 64")).unwrap();
    let mut alone = bench.command("run");
    alone.arg("--resume");
    check_refused(alone, 1, &["`model.encoder.hidden` is 64, was 32"]);
}

#[test]
fn a_run_goes_on_with_the_data_it_began_with_and_no_other() {
    let bench = Bench::new("");
    bench.train("run", &["--set", "train.steps=3"]);
    let kept = bench.bytes("run", "tokenizer.json");
    assert_eq!(kept, bench.bytes("run", "model/tokenizer.json"), "its own vocabulary is kept");
    let corpus = bench.path("data/corpus.jsonl");
    let text = fs::read_to_string(&corpus).unwrap();
    fs::write(&corpus, text.replacen("the", "hte", 1)).unwrap();
    let resume = || {
        let mut command = bench.command("run");
        command.args(["--resume", "--set", "train.steps=6"]);
        command
    };
    check_refused(resume(), 1, &["the data of `", "data`: not what the run began with"]);
    fs::write(&corpus, text).unwrap();
    let output = resume().output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_run_folder_is_one_process_s() {
    let bench = Bench::new("");
    let mut first = bench.command("run");
    first.arg("--config").arg(bench.path("config.toml"));
    first.args(["--set", "train.steps=100000"]).stderr(Stdio::null());
    let mut first = first.spawn().unwrap();
    let patience = Instant::now() + Duration::from_mins(2);
    while !bench.path("run/metrics.jsonl").exists() {
        assert!(Instant::now() < patience && first.try_wait().unwrap().is_none());
        std::thread::sleep(Duration::from_millis(5));
    }
    let mut second = bench.command("run");
    second.arg("--resume");
    check_refused(second, 1, &["is in use by another process"]);
    first.kill().unwrap();
    first.wait().unwrap();
}

#[test]
fn what_cannot_be_trained_or_judged_is_refused_before_the_first_step() {
    let bench = Bench::new("");
    bench.train("start", &["--set", "train.steps=1"]);
    let line = |query: usize, negatives: &str| {
        format!(
            "{{\"query\":\"q{query}\",\"positive\":\"p{query}\",\"negatives\":[{negatives}]}}\n"
        )
    };
    let pairs = (0..16).map(|i| line(i, "\"n1\",\"n2\"")).collect::<String>();
    fs::write(bench.path("pairs.jsonl"), pairs).unwrap();
    // A folder whose every text has three special tokens.
    let special = bench.path("special");
    fs::create_dir(&special).unwrap();
    for entry in fs::read_dir(bench.path("start/model")).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            fs::copy(&path, special.join(path.file_name().unwrap())).unwrap();
        } else {
            fs::create_dir(special.join(path.file_name().unwrap())).unwrap();
            for inner in fs::read_dir(&path).unwrap() {
                let inner = inner.unwrap().path();
                let place = special.join(path.file_name().unwrap());
                fs::copy(&inner, place.join(inner.file_name().unwrap())).unwrap();
            }
        }
    }
    let mut tokenizer: serde_json::Value =
        serde_json::from_slice(&fs::read(special.join("tokenizer.json")).unwrap()).unwrap();
    let token = |name: &str| serde_json::json!({ "SpecialToken": { "id": name, "type_id": 0 } });
    let text = serde_json::json!({ "Sequence": { "id": "A", "type_id": 0 } });
    let ids = ["cls", "sep"].map(|key| tokenizer["post_processor"][key].clone());
    let known = ids.map(|pair| {
        let (name, id) = (pair[0].as_str().unwrap().to_owned(), pair[1].clone());
        let known = serde_json::json!({ "id": name, "ids": [id], "tokens": [name] });
        (name, known)
    });
    let both = [token("[CLS]"), text, token("[SEP]"), token("[SEP]")];
    tokenizer["post_processor"] = serde_json::json!({
        "type": "TemplateProcessing",
        "single": both,
        "pair": both,
        "special_tokens": serde_json::Map::from_iter(known),
    });
    fs::write(special.join("tokenizer.json"), tokenizer.to_string()).unwrap();

    let path = |name: &str| bench.path(name).display().to_string();
    let start = format!("model.path={}", path("start/model"));
    let special = format!("model.path={}", path("special"));
    let file = path("pairs.jsonl");
    let [train, dev, test] = ["train", "dev", "test"].map(|set| format!("data.{set}={file}"));
    for (sets, words) in [
        (
            vec!["data.train=embedded", "data.test_split=tset"],
            vec!["`embedded` has no split `tset`"],
        ),
        (vec!["data.test_split=tset"], vec!["has no split `tset`", "did you mean `test`?"]),
        (vec![&train, &dev, &test], vec!["has no split `dev`"]),
        (
            vec![&start, "matryoshka.dims=[64,16]"],
            vec!["`matryoshka.dims` holds 64: expected 1 to 32"],
        ),
        (
            vec![&special, "model.query_max_len=3"],
            vec!["`model.query_max_len` is 3: no room is left beside 3 special tokens"],
        ),
        (
            vec![&start, "model.document_max_len=33"],
            vec!["`model.document_max_len` is 33: the encoder reads 32 tokens at most"],
        ),
        (
            vec![&train, "data.dev_split=", "data.test_split=", "train.hard_negatives=3"],
            vec!["`train.hard_negatives` is 3, but a row of step 0 has only 2 documents"],
        ),
        (
            vec!["second_stage.loss.similarity=dot"],
            vec!["`second_stage.loss.similarity` is not `loss.similarity`"],
        ),
    ] {
        let mut command = bench.command("refused");
        command.arg("--config").arg(bench.path("config.toml"));
        for set in &sets {
            command.args(["--set", set]);
        }
        check_refused(command, 1, &words);
        assert!(!bench.path("refused/config.toml").exists(), "{words:?}: the run has begun");
    }
}

#[test]
fn several_sources_hard_negatives_and_a_teacher_train_and_resume() {
    let bench = Bench::new("checkpoint_every = 7\nkeep = 9\n");
    let settings = everything(&bench);
    let arguments: Vec<&str> = settings.iter().map(String::as_str).collect();
    bench.train("unbroken", &arguments);
    let losses = losses(&bench.path("unbroken"));
    assert!(losses[19] < losses[0], "{losses:?}");
    bench.train("stopped", &arguments);
    for later in [14, 16, 20] {
        let step = bench.path("stopped").join(format!("checkpoints/step-{later}"));
        let _ = fs::remove_dir_all(step);
    }
    fs::remove_dir_all(bench.path("stopped/model")).unwrap();
    let resumed = bench.command("stopped").arg("--resume").output().unwrap();
    assert!(resumed.status.success(), "{}", String::from_utf8_lossy(&resumed.stderr));
    if is_exact() {
        for file in ["summary.json", WEIGHTS] {
            let same = bench.bytes("unbroken", file) == bench.bytes("stopped", file);
            assert!(same, "{file} differs");
        }
    }
    let card = String::from_utf8(bench.bytes("unbroken", "model/README.md")).unwrap();
    for part in
        ["`samtone` loss", "pairs.jsonl | train |", "[32, 8] dimensions", "SentenceTransformer"]
    {
        assert!(card.contains(part), "no {part} in:\n{card}");
    }
}

/// The dev values of a run's steps.
fn dev(run: &Path, metric: &str) -> Vec<(usize, f64)> {
    let text = fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    let records = text.lines().map(|line| serde_json::from_str::<StepRecord>(line).unwrap());
    records.filter_map(|record| Some((record.step, *record.dev.get(metric)?))).collect()
}

#[test]
fn a_model_that_is_there_is_judged_before_its_first_step() {
    let bench = Bench::new("");
    bench.train("first", &[]);
    let start = format!("model.path={}", bench.path("first/model").display());
    let keys = ["--set", &start, "--set", "train.eval_every=6", "--set", "eval.dev_documents=60"];
    let unset = ["--unset", "train.lr", "--unset", "train.warmup", "--format", "json"];
    let output = bench.train("second", &[&keys[..], &unset].concat());
    let summary = |run: &str| -> Summary {
        serde_json::from_slice(&bench.bytes(run, "summary.json")).unwrap()
    };
    let (first, second) = (summary("first"), summary("second"));
    assert_eq!(first.start, None);
    let start = second.start.unwrap();
    if is_exact() {
        assert_eq!((&start.dev, &start.test), (&first.dev, &first.test));
    }
    // Fewer documents are in the way of the right one.
    assert!(start.dev_sample["mrr@10"] >= start.dev["mrr@10"]);
    let sample: Vec<String> =
        serde_json::from_slice(&bench.bytes("second", "dev-sample.json")).unwrap();
    assert!((60..200).contains(&sample.len()), "{}", sample.len());
    let config = String::from_utf8(bench.bytes("second", "config.toml")).unwrap();
    assert!(config.contains("lr = 0.00003") || config.contains("lr = 3e-5"), "{config}");
    assert!(config.contains("warmup = \"10%\""), "{config}");
    let printed: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let gains = printed["gains"].as_array().unwrap();
    let names: Vec<&str> = gains.iter().map(|gain| gain["baseline"].as_str().unwrap()).collect();
    assert_eq!(names, ["start", "BM25"]);
    let row = &gains[0]["rows"][0];
    let gained = second.test["mrr@10"] - start.test["mrr@10"];
    assert_eq!(row["metric"], "mrr@10");
    assert!((row["difference"].as_f64().unwrap() - gained).abs() < 1e-12);
}

/// Whether a file of adapters holds a B that is not zero, which it starts as.
fn has_learned(file: &[u8]) -> bool {
    let (length, rest) = file.split_first_chunk::<8>().unwrap();
    let (header, data) = rest.split_at(u64::from_le_bytes(*length) as usize);
    let header: serde_json::Value = serde_json::from_slice(header).unwrap();
    let place =
        |tensor: &serde_json::Value, i: usize| tensor["data_offsets"][i].as_u64().unwrap() as usize;
    header
        .as_object()
        .unwrap()
        .iter()
        .filter(|(name, _)| name.contains("lora_B"))
        .any(|(_, tensor)| data[place(tensor, 0)..place(tensor, 1)].iter().any(|&byte| byte != 0))
}

/// One tower and two on one base: a checkpoint holds what is trained, and a run goes on from it to the
/// same bytes; what it ships opens through its base, and merged without it.
#[test]
fn adapters_learn_and_resume_and_their_base_stays_where_it_is() {
    let bench = Bench::new("");
    bench.train("base", &[]);
    let start = format!("model.path={}", bench.path("base/model").display());
    let samtone = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_samtone"));
        let output = command.args(arguments).args(["--backend", &backend()]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    for (sharing, tower) in [("sde", "model"), ("ade-adapter", "model/document")] {
        let sharing = format!("model.sharing={sharing}");
        let mut keys = vec!["--set", &start, "--set", &sharing];
        for key in ["model.adapter.r=4", "model.adapter.dropout=0.1", "train.lr=0.02"] {
            keys.extend(["--set", key]);
        }
        let config = bench.path("config.toml").display().to_string();
        let planned = samtone(&[&["plan", "--config", &config], &keys[..]].concat());
        assert!(
            planned.contains("of them adapters', ") && planned.contains(" frozen"),
            "{planned}"
        );
        let again = "each layer is computed again";
        assert!(!planned.contains(again), "{planned}");
        // Less than the process itself takes.
        let budget = ["--set", "train.memory_gib=0.03"];
        let planned = samtone(&[&["plan", "--config", &config], &keys[..], &budget].concat());
        assert!(planned.contains(again), "{planned}");
        keys.extend(["--set", "train.checkpoint_every=8"]);
        bench.train("whole", &keys);
        bench.train("torn", &keys);
        for gone in ["checkpoints/step-16", "checkpoints/step-20", "model"] {
            fs::remove_dir_all(bench.path("torn").join(gone)).unwrap();
        }
        fs::remove_file(bench.path("torn/summary.json")).unwrap();
        let output = bench.command("torn").arg("--resume").output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let weights = format!("{tower}/adapter_model.safetensors");
        if is_exact() {
            for file in ["summary.json", &weights] {
                assert!(bench.bytes("whole", file) == bench.bytes("torn", file), "{file} differs");
            }
        }
        assert!(has_learned(&bench.bytes("whole", &weights)), "every B is as it was");
        // A and B of two maps of 32 x 32, of one tower or two, among 30,000 numbers.
        let kept = bench.bytes("whole", "checkpoints/step-20/model.safetensors").len();
        assert!(kept < 3 * 4 * 2 * 2 * 2 * 4 * 32, "{kept} bytes");
        assert!(!bench.path("whole").join(tower).join("model.safetensors").exists());
        let card = String::from_utf8(bench.bytes("whole", "model/README.md")).unwrap();
        assert!(
            card.contains("of them trained") && card.contains("`samtone export --merge`"),
            "{card}"
        );

        let (model, merged) = (bench.path("whole"), bench.path("merged"));
        let [model, out] = [&model, &merged].map(|path| path.display().to_string());
        let said = samtone(&["export", "--model", &model, "--merge", "--out", &out]);
        assert!(said.contains("differ by at most"), "{said}");
        assert!(Path::new(&tower.replace("model", &out)).join("model.safetensors").is_file());
        for folder in ["whole", "torn", "merged"] {
            fs::remove_dir_all(bench.path(folder)).unwrap();
        }
    }
    let refused = |code: i32, keys: &[&str], words: &[&str]| {
        let mut command = bench.command("refused");
        command.arg("--config").arg(bench.path("config.toml"));
        for key in keys {
            command.args(["--set", key]);
        }
        check_refused(command, code, words);
    };
    refused(2, &["model.adapter.r=4"], &["`model.path`", "adapters change a model that is there"]);
    refused(1, &[&start, "model.adapter.targets=[\"q\"]"], &["names `q`", "`query`"]);
    refused(
        1,
        &[&start, "model.adapter.r=4", "model.projection=8"],
        &["`model.freeze.train_head`"],
    );
    refused(1, &[&start, "model.freeze.base=true"], &["`model.freeze` leaves nothing to train"]);
    refused(1, &[&start, "model.freeze.layers=2"], &["`freeze.layers` is 2"]);
}

#[test]
fn embeddings_that_may_be_cut_are_judged_at_each_length() {
    let bench = Bench::new("");
    let set = ["--set", "matryoshka.dims=[4, 32, 8]", "--format", "json"];
    let output = bench.train("run", &set);
    let summary: Summary = serde_json::from_slice(&bench.bytes("run", "summary.json")).unwrap();
    // The whole is what `test` is of.
    assert_eq!(summary.dims.keys().copied().collect::<Vec<_>>(), [4, 8]);
    let metrics = summary.test.keys().map(String::as_str).collect::<Vec<_>>().join(",");
    let (model, data) = (bench.path("run/model"), bench.path("data"));
    let mut eval = Command::new(env!("CARGO_BIN_EXE_samtone"));
    eval.args(["eval", "--dims", "4,8,32", "--metrics", &metrics, "--complete"]);
    eval.args(["--backend", &backend(), "--format", "json"]);
    eval.arg("--model").arg(model).arg("--data").arg(data);
    let judged = eval.output().unwrap();
    assert!(judged.status.success(), "{}", String::from_utf8_lossy(&judged.stderr));
    let judged: serde_json::Value = serde_json::from_slice(&judged.stdout).unwrap();
    let rows = [&summary.dims[&4], &summary.dims[&8], &summary.test];
    for (row, kind) in rows.into_iter().zip(judged["kinds"].as_array().unwrap()) {
        for (name, value) in row {
            let expected = kind["metrics"][name].as_f64().unwrap();
            assert!((value - expected).abs() <= ROUNDING, "{name}: {value} {expected} {kind}");
        }
    }
    assert!(summary.dims[&4]["ndcg@10"] < summary.test["ndcg@10"], "{:?}", summary.dims);
    let printed: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(printed["summary"]["dims"]["8"]["mrr@10"], summary.dims[&8]["mrr@10"]);
    let found = Evaluation::read(evaluation_path(&bench.path("run"), "dims/8")).unwrap();
    assert_eq!(found.mean(Metric::MRR_10), Some(summary.dims[&8]["mrr@10"]));
    let text = |file: &str| String::from_utf8(bench.bytes("run", file)).unwrap();
    assert!(text("report.html").contains("samtone, 8 dimensions"));
    let card = text("model/README.md");
    assert!(card.contains("| test, 8 dimensions | "), "{card}");
    assert!(card.contains("cut to their first 8 or 4 numbers: `truncate_dim=8`"), "{card}");
}

#[test]
fn data_and_a_model_alone_are_trained_by_the_defaults() {
    let bench = Bench::new("");
    bench.train("first", &["--set", "train.steps=2"]);
    let data = format!("data.train={}", bench.path("data").display());
    let start = format!("model.path={}", bench.path("first/model").display());
    let few = ["--set", "train.steps=2", "--set", "train.batch_size=8"];
    let mut train = bench.command("second");
    let output = train.args(["--set", &data, "--set", &start]).args(few).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{said}");
    assert!(said.contains("has its default, not the quick start's value"), "{said}");
    // No length is changed from the folder's, and no key is the quick start's.
    assert!(!said.contains("changed from the folder"), "{said}");
    let config = String::from_utf8(bench.bytes("second", "config.toml")).unwrap();
    for line in ["lr = 0.00003", "warmup = \"10%\"", "query_max_len = 16", "document_max_len = 24"]
    {
        assert!(config.contains(line), "{line}: {config}");
    }
    assert!(!config.contains("baseline"), "{config}");
}

#[test]
fn a_logged_loss_is_the_mean_since_the_one_before() {
    let bench = Bench::new("");
    bench.train("each", &[]);
    // Stopped and gone on with between two lines.
    bench.train("some", &["--set", "train.log_every=8", "--set", "train.checkpoint_every=5"]);
    let checkpoints = bench.path("some/checkpoints");
    for step in ["step-15", "step-20"] {
        fs::remove_dir_all(checkpoints.join(step)).unwrap();
    }
    fs::remove_file(bench.path("some/summary.json")).unwrap();
    let keys = ["--set", "train.log_every=8", "--set", "train.checkpoint_every=5", "--resume"];
    bench.train("some", &keys);
    let (each, some) = (losses(&bench.path("each")), losses(&bench.path("some")));
    let mean = |steps: std::ops::RangeInclusive<usize>| {
        let count = steps.end() - steps.start() + 1;
        steps.map(|step| each[step - 1]).sum::<f64>() / count as f64
    };
    // Steps 1, 8, 16 and the last are logged.
    let expected = [mean(1..=1), mean(2..=8), mean(9..=16), mean(17..=20)];
    assert_eq!(some.len(), 4);
    for (found, expected) in some.iter().zip(expected) {
        assert!((found - expected).abs() < ROUNDING * expected, "{found} {expected}");
    }
}

#[test]
fn negatives_of_the_data_are_used_unasked() {
    let bench = Bench::new("");
    let world = World::generate(0, 200).dataset();
    let text = |document: usize| world.document(document).text.to_owned();
    let rows: Vec<String> = world
        .pairs("train")
        .iter()
        .map(|pair| {
            let others = [1, 2].map(|other| text((pair.document + other) % 200));
            let query = &world.queries()[pair.query].text;
            let row = serde_json::json!({
                "query": query, "positive": text(pair.document), "negatives": others,
            });
            format!("{row}\n")
        })
        .collect();
    fs::write(bench.path("pairs.jsonl"), rows.concat()).unwrap();
    let data = format!("data.train={}", bench.path("pairs.jsonl").display());
    let keys = ["--set", &data, "--set", "train.steps=2"];
    let output = bench.train("run", &keys);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("`train.hard_negatives` = 2"), "{said}");
    let config = String::from_utf8(bench.bytes("run", "config.toml")).unwrap();
    assert!(config.contains("hard_negatives = 2"), "{config}");
    // What the data decided is no other run.
    let again = bench.train("run", &[&keys[..], &["--resume"]].concat());
    let said = String::from_utf8(again.stderr).unwrap();
    assert!(said.contains("has ended before"), "{said}");
    let without =
        bench.train("without", &[&keys[..], &["--set", "loss.preset=samtone-document"]].concat());
    let said = String::from_utf8(without.stderr).unwrap();
    assert!(said.contains("looks at none"), "{said}");
}

#[test]
fn the_best_model_by_the_dev_set_is_the_runs_model() {
    let bench = Bench::new("eval_every = 3\nbest_by = \"mrr@10\"\nkeep = 1\n");
    bench.train("run", &["--tensorboard"]);
    let dev = dev(&bench.path("run"), "mrr@10");
    assert_eq!(dev.iter().map(|(step, _)| *step).collect::<Vec<_>>(), [3, 6, 9, 12, 15, 18, 20]);
    let summary: Summary = serde_json::from_slice(&bench.bytes("run", "summary.json")).unwrap();
    let best = summary.best.unwrap();
    let highest = dev.iter().map(|(_, value)| *value).fold(0.0, f64::max);
    assert_eq!((best.value, summary.dev["mrr@10"]), (highest, highest));
    assert_eq!(dev.iter().find(|(_, value)| *value == highest).unwrap().0, best.step);
    let board = bench.path("run/tensorboard/samtone");
    assert_eq!(fs::read_dir(board).unwrap().count(), 1);
}

#[test]
fn a_run_that_gets_no_better_ends_early_and_keeps_its_best_checkpoint() {
    // At this rate no weight changes.
    let bench = Bench::new("eval_every = 4\nbest_by = \"mrr@10\"\npatience = 2\nkeep = 1\n");
    bench.train("run", &["--set", "train.lr=1e-12"]);
    let summary: Summary = serde_json::from_slice(&bench.bytes("run", "summary.json")).unwrap();
    assert_eq!((summary.steps, summary.best.unwrap().step), (12, 4));
    let mut kept: Vec<_> = fs::read_dir(bench.path("run/checkpoints"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    kept.sort();
    assert_eq!(kept, ["step-12", "step-4"]);
    // A run that has ended stays so.
    let again = bench.command("run").arg("--resume").output().unwrap();
    assert!(again.status.success(), "{}", String::from_utf8_lossy(&again.stderr));
    let again: Summary = serde_json::from_slice(&bench.bytes("run", "summary.json")).unwrap();
    assert_eq!(again.steps, 12);
}

/// Kills a run again and again, at random moments and in the middle of writing checkpoints: none is
/// lost, and the run ends as an unbroken one.
///
/// `SAMTONE_KILLS` says how often: 6 if unset.
#[test]
fn no_kill_costs_a_checkpoint() {
    let kills: u64 = std::env::var("SAMTONE_KILLS").map_or(6, |n| n.parse().unwrap());
    let steps = format!("train.steps={}", 40 * kills);
    let bench = Bench::new("checkpoint_every = 3\n");
    let settings = ["--set", &steps, "--set", "data.dev_split=", "--set", "data.test_split="];
    bench.train("unbroken", &settings);

    let key = samtone_text::Key::new(1);
    let checkpoints = Checkpoints::new(bench.path("killed/checkpoints"));
    let unfinished = || -> Vec<PathBuf> {
        let entries = fs::read_dir(bench.path("killed/checkpoints")).into_iter().flatten();
        let paths = entries.flatten().map(|entry| entry.path());
        paths.filter(|path| path.extension().is_some_and(|end| end == "tmp")).collect()
    };
    let (mut newest, mut killed, mut in_a_write) = (0, 0, 0);
    for kill in 0..kills {
        let mut command = bench.command("killed");
        if bench.path("killed/config.toml").is_file() {
            command.arg("--resume");
        } else {
            command.arg("--config").arg(bench.path("config.toml")).args(settings);
        }
        // Half of them at any moment, start included; half while a checkpoint is being written.
        let at_any_moment = kill % 2 == 0;
        if !at_any_moment {
            for path in unfinished() {
                fs::remove_dir_all(path).unwrap();
            }
        }
        let mut run = command.stderr(std::process::Stdio::null()).spawn().unwrap();
        let started = Instant::now();
        let patience = Duration::from_micros(key.below(kill, 900_000) as u64);
        while run.try_wait().unwrap().is_none() {
            let is_time = started.elapsed() > patience;
            if is_time && (at_any_moment || !unfinished().is_empty()) {
                run.kill().unwrap(); // SIGKILL on Unix
                killed += 1;
                break;
            }
            std::thread::sleep(Duration::from_micros(200));
        }
        run.wait().unwrap();
        in_a_write += u32::from(!unfinished().is_empty());
        let (found, torn) = checkpoints.newest();
        assert_eq!(torn, Vec::<PathBuf>::new(), "after kill {kill}");
        let found = found.map_or(0, |checkpoint| checkpoint.step);
        assert!(found >= newest, "after kill {kill}: step {found}, before {newest}");
        newest = found;
    }
    println!("{killed} kills, {in_a_write} in a write, {newest} steps by then");
    let ended = bench.command("killed").arg("--resume").output().unwrap();
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    if is_exact() {
        let same = bench.bytes("unbroken", WEIGHTS) == bench.bytes("killed", WEIGHTS);
        assert!(same, "the weights differ");
    }
}

#[test]
fn several_devices_share_batches_and_resume() {
    let bench = Bench::new("checkpoint_every = 7\nkeep = 9\n");
    let config = bench.path("config.toml");
    let three = [backend(), backend(), backend()].join(",");
    let train = |run: &str, arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_samtone"));
        command.arg("train").arg("--run-dir").arg(bench.path(run)).args(["--devices", &three]);
        let output = command.args(arguments).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{said}");
        said
    };
    let config = ["--config", config.to_str().unwrap()];
    train("shared", &config);
    bench.train("alone", &[]);
    let (alone, shared) = (losses(&bench.path("alone")), losses(&bench.path("shared")));
    for (step, (a, b)) in alone.iter().zip(&shared).enumerate() {
        assert!((a - b).abs() < ROUNDING * a.abs(), "step {step}: {a} and {b}");
    }

    train("stopped", &config);
    for later in [14, 20] {
        let step = bench.path("stopped").join(format!("checkpoints/step-{later}"));
        let _ = fs::remove_dir_all(step);
    }
    fs::remove_dir_all(bench.path("stopped/model")).unwrap();
    assert!(train("stopped", &["--resume"]).contains("step 7 of 20"));
    let stopped = losses(&bench.path("stopped"));
    assert_eq!(stopped.len(), shared.len());
    for (step, (a, b)) in shared.iter().zip(&stopped).enumerate() {
        assert!((a - b).abs() < ROUNDING * a.abs(), "step {step}, resumed: {a} and {b}");
    }
}

#[test]
#[cfg(feature = "flex")]
fn half_precision_trains_close_to_f32() {
    let bench = Bench::new("");
    let config = bench.path("config.toml");
    let train = |precision: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_samtone"));
        command.args(["train", "--backend", "flex", "--config"]).arg(&config);
        let set = format!("train.precision={precision}");
        command.args(["--set", &set, "--run-dir"]).arg(bench.path(precision));
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        losses(&bench.path(precision))
    };
    let single = train("f32");
    // Of 2.8 nats; numbers of 8 and of 11 bits.
    for (precision, at_most) in [("bf16", 3e-2), ("f16", 4e-3)] {
        let half = train(precision);
        let drift = single.iter().zip(&half).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        assert!(drift > 0.0 && drift < at_most, "{precision}: {drift}\n{single:?}\n{half:?}");
    }
}

#[test]
#[cfg(feature = "ndarray")]
fn a_precision_that_the_backend_lacks_is_refused() {
    let bench = Bench::new("");
    let mut command = Command::new(env!("CARGO_BIN_EXE_samtone"));
    command.arg("train").arg("--config").arg(bench.path("config.toml"));
    command.arg("--run-dir").arg(bench.path("run")).args(["--backend", "ndarray"]);
    let output = command.args(["--set", "train.precision=bf16"]).output().unwrap();
    let words = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{words}");
    assert!(words.contains("`train.precision` is `bf16`"), "{words}");
    assert!(!bench.path("run").exists());
}

#[test]
fn more_devices_than_pairs_are_refused() {
    let bench = Bench::new("");
    let mut command = Command::new(env!("CARGO_BIN_EXE_samtone"));
    command.arg("train").arg("--config").arg(bench.path("config.toml"));
    command.arg("--run-dir").arg(bench.path("run"));
    let many = vec![backend(); 17].join(",");
    let output = command.args(["--devices", &many]).output().unwrap();
    let words = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{words}");
    assert!(words.contains("17 devices cannot share batches of 16 pairs"), "{words}");
    assert!(!bench.path("run").exists());
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

#[test]
fn an_interrupted_grid_goes_on_and_ends_in_one_table() {
    let grid = "[ablate]
losses = [\"in-batch\", \"samtone\", { name = \"pair\", loss = { preset = \"pair\" }, second_stage = { loss = { preset = \"pair\", alpha = 0.0 } } }]
seeds = [1, 2]
";
    let bench = Bench::new(&format!("checkpoint_every = 5\n{grid}"));
    let ablate = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_samtone"));
        command.arg("ablate").arg("--config").arg(bench.path("config.toml"));
        command.arg("--run-dir").arg(bench.path("grid"));
        command.args(["--backend", &backend(), "--format", "json"]);
        command
    };
    let mut interrupted = ablate().stderr(std::process::Stdio::null()).spawn().unwrap();
    let second = bench.path("grid/samtone/sde/seed-1/checkpoints/step-5");
    while !second.exists() && interrupted.try_wait().unwrap().is_none() {
        std::thread::sleep(Duration::from_millis(1));
    }
    interrupted.kill().unwrap();
    interrupted.wait().unwrap();
    let first = bench.path("grid/in-batch/sde/seed-1/summary.json");
    let written = fs::metadata(&first).unwrap().modified().unwrap();

    let output = ablate().output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(fs::metadata(&first).unwrap().modified().unwrap(), written);
    let table: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let rows = table["rows"].as_array().unwrap();
    let names: Vec<&str> = rows.iter().map(|row| row["loss"].as_str().unwrap()).collect();
    assert_eq!(names, ["in-batch", "samtone", "pair"]);
    assert!(rows[0]["results"]["mrr@10"]["p"].is_null());
    let result = &rows[1]["results"]["mrr@10"];
    let mean_of = |loss: &str, seed: u64| {
        let path = bench.path(&format!("grid/{loss}/sde/seed-{seed}/summary.json"));
        let summary: Summary = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
        summary.test["mrr@10"]
    };
    let expected = f64::midpoint(mean_of("samtone", 1), mean_of("samtone", 2));
    assert!((result["mean"].as_f64().unwrap() - expected).abs() < 1e-12);
    assert!((0.0..=1.0).contains(&result["p_holm"].as_f64().unwrap()));
    assert!(bench.path("grid/report.html").is_file());
}
