//! `cargo xtask bench-peers`: samtone's speed beside its Python peers', and this processor's page of
//! the record.
//!
//! Each comparison is a script of `benches/peers` that lets the sides take turns and prints its rows
//! as it finds them; the page is written anew after every row. What a run does not measure stays on
//! the page as it was.

mod page;

use std::env::consts::EXE_SUFFIX;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, bail, ensure};

use self::page::{Line, Page, Row, Section};
use crate::command::{cargo, done, root, target_directory};
use crate::others::Ticks;
use crate::processor::Processor;
use crate::python::{INSTALLED, environment};

/// What the peers are.
const REQUIREMENTS: &str = "benches/peers/bench.txt";

/// One script and what it is run on.
struct Comparison {
    /// Also the script's, without its ending.
    name: &'static str,
    title: &'static str,
    /// What is compared, a sentence a line.
    about: &'static str,
    /// The package of samtone's side and its binary.
    program: [&'static str; 2],
    /// Whether it takes `--precision`; f32 alone otherwise.
    has_precisions: bool,
    runs: &'static [Run],
}

/// One call of a script.
struct Run {
    /// Words after the binary.
    arguments: &'static str,
    /// Turns of every side.
    repeat: usize,
}

const SAMTONE: [&str; 2] = ["samtone", "samtone"];

const ALL: [Comparison; 7] = [
    Comparison {
        name: "encoder",
        title: "The encoder",
        about: "Random weights, texts × tokens of a pass; ragged texts are padded to that length, \
                and PyTorch computes the padding.\n\
                In bf16 samtone trains f32 weights; so does PyTorch under autocast.\n",
        program: ["samtone-benches", "encoder_speed"],
        has_precisions: true,
        runs: &[
            Run { arguments: "--shape minilm", repeat: 15 },
            Run { arguments: "--shape mpnet", repeat: 5 },
            Run { arguments: "--shape modernbert", repeat: 5 },
            Run { arguments: "--shape qwen3", repeat: 3 },
        ],
    },
    Comparison {
        name: "loss",
        title: "The loss",
        about: "Loss plus gradients for both inputs, random embeddings, batch × dim, τ = 0.05.\n",
        program: SAMTONE,
        has_precisions: false,
        runs: &[Run { arguments: "2048x384 4096x768 8192x384 --compile", repeat: 5 }],
    },
    Comparison {
        name: "encode",
        title: "Encoding texts",
        about: "all-MiniLM-L6-v2; tokenising counts, loading the model does not.\n",
        program: SAMTONE,
        has_precisions: true,
        runs: &[Run { arguments: "--texts 256", repeat: 5 }],
    },
    Comparison {
        name: "train",
        title: "Training",
        about: "MiniLM's shape from random weights, SamToNe's query side, AdamW, dropout 0.1, \
                beside sentence-transformers' trainer (in bf16 under autocast).\n",
        program: SAMTONE,
        has_precisions: true,
        runs: &[Run { arguments: "--steps 18", repeat: 3 }],
    },
    Comparison {
        name: "search",
        title: "Exact search",
        about: "Queries × documents × dim in memory, by dot product, beside `IndexFlatIP`.\n",
        program: ["samtone-benches", "search_speed"],
        has_precisions: false,
        runs: &[Run { arguments: "", repeat: 15 }],
    },
    Comparison {
        name: "bm25",
        title: "BM25",
        about: "From text to hits, every side on the same words; `mapped`: by an index on the disk.\n",
        program: ["samtone-benches", "bm25_speed"],
        has_precisions: false,
        runs: &[Run { arguments: "", repeat: 7 }],
    },
    Comparison {
        name: "product",
        title: "Matrix products",
        about: "Tokens × inputs × outputs of a layer; samtone's factors and results are f32 in \
                memory, PyTorch's bf16 in bf16.\n",
        program: ["samtone-benches", "product_speed"],
        has_precisions: true,
        runs: &[Run { arguments: "--size 2048x384x1536", repeat: 15 }],
    },
];

/// What a row's ratio should be at most.
fn aim(comparison: &str, kind: &str, row: &Row) -> Option<f64> {
    let pass = row.work.strip_prefix("MiniLM, 32 × 64 tokens: ");
    let peer = row.peer.as_str();
    Some(match (comparison, row.precision.as_str(), pass) {
        ("encoder", "f32", Some("forward" | "forward and backward")) => 0.9,
        ("encoder", "bf16", Some("forward")) if peer.ends_with("bf16 weights") => 0.9,
        ("encoder", "bf16", Some("forward and backward")) if peer.ends_with("autocast") => {
            if kind.starts_with("intel") { 0.5 } else { 0.9 }
        }
        ("loss", ..) if row.work.ends_with(" × 384") => {
            if peer == "torch.compile" {
                0.8
            } else {
                0.6
            }
        }
        ("bm25", ..) => {
            if peer == "tantivy" {
                1.5
            } else {
                1.0
            }
        }
        // 1.5 and 3 times as many a second.
        ("encode", "bf16", _) => 1.0 / 1.5,
        ("train", "bf16", _) => 1.0 / 3.0,
        _ => return None,
    })
}

/// What was asked for.
#[derive(Debug, PartialEq)]
struct Options {
    only: Vec<String>,
    precisions: Vec<String>,
    repeat: usize,
    threads: usize,
    data: Option<PathBuf>,
    model: Option<PathBuf>,
    venv: Option<PathBuf>,
    out: Option<PathBuf>,
}

impl Options {
    fn read(arguments: &[String]) -> anyhow::Result<Self> {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let names = ALL.map(|comparison| comparison.name);
        let mut options = Self {
            only: names.map(String::from).into(),
            precisions: vec!["f32".into(), "bf16".into()],
            repeat: usize::MAX,
            threads,
            data: None,
            model: None,
            venv: None,
            out: None,
        };
        let mut rest = arguments.iter();
        while let Some(name) = rest.next() {
            let value = rest.next().with_context(|| format!("`{name}` wants a value"))?;
            let list = |known: &[&str]| {
                let found: Vec<String> = value.split(',').map(String::from).collect();
                match found.iter().find(|found| !known.contains(&found.as_str())) {
                    Some(other) => bail!("`{name}` knows {}, not `{other}`", known.join(", ")),
                    None => Ok(found),
                }
            };
            let number = || match value.parse() {
                Ok(number) if number > 0 => Ok(number),
                _ => bail!("`{name}` wants a number from 1, not `{value}`"),
            };
            // Scripts and cargo are started elsewhere.
            let path = || std::path::absolute(value).map(Some).context("no such path");
            match name.as_str() {
                "--only" => options.only = list(&names)?,
                "--precision" => options.precisions = list(&["f32", "bf16"])?,
                "--repeat" => options.repeat = number()?,
                "--threads" => options.threads = number()?,
                "--data" => options.data = path()?,
                "--model" => options.model = path()?,
                "--venv" => options.venv = path()?,
                "--out" => options.out = path()?,
                _ => bail!("no option `{name}`: `cargo xtask help` lists them"),
            }
        }
        Ok(options)
    }

    /// What a script is given after the binary for one of its runs.
    fn arguments(&self, comparison: &Comparison, run: &Run) -> Vec<String> {
        let mut given = Vec::new();
        let mut add = |words: &[&str]| given.extend(words.iter().map(|word| (*word).to_owned()));
        let under = |name: &str| self.data.as_ref().map(|data| data.join(name));
        if comparison.name == "encode" {
            // Before any option: the script takes no file after one.
            for corpus in ["squad_reqa", "pubmedqa"].into_iter().filter_map(under) {
                add(&[&corpus.join("corpus.jsonl.gz").to_string_lossy()]);
            }
            if let Some(model) = &self.model {
                add(&["--model", &model.to_string_lossy()]);
            }
        }
        if let ("train", Some(data)) = (comparison.name, under("squad_reqa_train")) {
            add(&["--data", &data.to_string_lossy()]);
        }
        add(&run.arguments.split_whitespace().collect::<Vec<_>>());
        if comparison.has_precisions {
            add(&["--precision"]);
            add(&self.precisions.iter().map(String::as_str).collect::<Vec<_>>());
        }
        add(&["--threads", &self.threads.to_string()]);
        add(&["--repeat", &run.repeat.min(self.repeat).to_string()]);
        given
    }
}

/// `cargo xtask bench-peers ARGUMENTS`.
pub(crate) fn run(arguments: &[String]) -> anyhow::Result<ExitCode> {
    let options = Options::read(arguments)?;
    let processor = Processor::here();
    let out = options.out.clone().unwrap_or_else(|| {
        root().join("benches/record").join(&processor.kind).with_extension("md")
    });
    let asked = |comparison: &&Comparison| {
        let has_work = comparison.has_precisions || options.precisions.iter().any(|p| p == "f32");
        has_work && options.only.iter().any(|name| name == comparison.name)
    };
    let chosen: Vec<&Comparison> = ALL.iter().filter(asked).collect();

    let target = target_directory()?;
    if let Some(venv) = &options.venv {
        // An environment whose list changed is emptied.
        let is_ours = !venv.exists() || venv.join(INSTALLED).is_file();
        ensure!(is_ours, "`{}` was not made here: name a folder that is not there", venv.display());
    }
    let venv = options.venv.clone().unwrap_or_else(|| target.join("peers"));
    let python = environment(&venv, &root().join(REQUIREMENTS))?;
    for comparison in &chosen {
        let [package, binary] = comparison.program;
        done(&mut cargo(&["build", "--release", "--package", package, "--bin", binary]))?;
    }

    let old = fs::read_to_string(&out).unwrap_or_default();
    let mut page = Page::read(&old, &processor, &ALL.map(|comparison| comparison.title));
    let mut failed = Vec::new();
    for comparison in chosen {
        let program = target.join("release").join(comparison.program[1]);
        let mut section = Section {
            title: comparison.title,
            about: comparison.about,
            threads: options.threads,
            peers: String::new(),
            others: None,
            rows: Vec::new(),
        };
        let start = Ticks::now();
        for run in comparison.runs {
            let script = root().join("benches/peers").join(comparison.name).with_extension("py");
            let mut command = Command::new(&python);
            command.arg(script).arg(format!("{}{EXE_SUFFIX}", program.display()));
            command.args(options.arguments(comparison, run));
            eprintln!("── {} {}", comparison.name, run.arguments);
            let ran = rows(&mut command, |line| {
                match line {
                    Line::Peers(peers) => section.peers = peers,
                    Line::Row(mut row) => {
                        row.aim = aim(comparison.name, &processor.kind, &row);
                        eprintln!("{row}");
                        section.rows.push(row);
                        page.set(&section);
                        write(&out, &page.text())?;
                    }
                }
                Ok(())
            });
            if !section.rows.is_empty() {
                section.others =
                    Ticks::now().zip(start).map(|(now, start)| now.others_since(&start));
                page.set(&section);
                write(&out, &page.text())?;
            }
            if let Err(error) = ran {
                eprintln!("error: {error:#}");
                failed.push(format!("{} {}", comparison.name, run.arguments));
            }
        }
    }
    eprintln!("{}", out.display());
    ensure!(failed.is_empty(), "without all rows: {}", failed.join("; "));
    Ok(ExitCode::SUCCESS)
}

/// Runs a script to its end and hands on what it prints.
fn rows(
    command: &mut Command,
    mut each: impl FnMut(Line) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let mut child = command
        .current_dir(root())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start {command:?}"))?;
    let mut lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
    let read = lines.try_for_each(|line| {
        let line = line.context("it printed no text")?;
        each(Line::read(&line).with_context(|| format!("it printed `{line}`"))?)
    });
    if read.is_err() {
        let _ = child.kill();
    }
    let status = child.wait().context("cannot wait for it")?;
    read?;
    ensure!(status.success(), "{command:?} ended with {status}");
    Ok(())
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    fs::write(path, text).with_context(|| format!("cannot write `{}`", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(line: &str) -> anyhow::Result<Options> {
        Options::read(&line.split_whitespace().map(String::from).collect::<Vec<_>>())
    }

    fn row(work: &str, precision: &str, peer: &str) -> Row {
        let line = format!(
            r#"{{"work": "{work}", "precision": "{precision}", "peer": "{peer}", "unit": "s",
            "samtone": 1, "theirs": 2, "ratio": 0.5, "least": 0.4, "most": 0.6}}"#
        );
        match Line::read(&line).unwrap() {
            Line::Row(row) => row,
            Line::Peers(_) => panic!("{line}"),
        }
    }

    #[test]
    fn options_are_read_and_mistakes_named() {
        let read = options("--only loss,search --precision bf16 --repeat 2 --threads 4").unwrap();
        assert_eq!(read.only, ["loss", "search"]);
        assert_eq!(read.precisions, ["bf16"]);
        assert_eq!((read.repeat, read.threads), (2, 4));
        assert_eq!(options("").unwrap().only.len(), ALL.len());
        assert!(options("--venv here").unwrap().venv.unwrap().is_absolute());
        for (line, message) in [
            (
                "--only loss,lost",
                "knows encoder, loss, encode, train, search, bm25, product, not `lost`",
            ),
            ("--precision f16", "knows f32, bf16, not `f16`"),
            ("--repeat 0", "`--repeat` wants a number from 1, not `0`"),
            ("--repeat", "`--repeat` wants a value"),
            ("--quick yes", "no option `--quick`"),
        ] {
            let error = options(line).unwrap_err().to_string();
            assert!(error.contains(message), "{line}: {error}");
        }
    }

    #[test]
    fn scripts_are_given_what_they_take() {
        let options = options("--repeat 4 --threads 2 --data /d --model /m").unwrap();
        let given = |name: &str| {
            let comparison = ALL.iter().find(|comparison| comparison.name == name).unwrap();
            options.arguments(comparison, &comparison.runs[0]).join(" ")
        };
        let end = "--precision f32 bf16 --threads 2 --repeat 4";
        assert_eq!(given("encoder"), format!("--shape minilm {end}"));
        let corpora = "/d/squad_reqa/corpus.jsonl.gz /d/pubmedqa/corpus.jsonl.gz";
        assert_eq!(given("encode"), format!("{corpora} --model /m --texts 256 {end}"));
        // Fewer turns than were asked for.
        let train = "--data /d/squad_reqa_train --steps 18 --precision f32 bf16";
        assert_eq!(given("train"), format!("{train} --threads 2 --repeat 3"));
        assert_eq!(given("search"), "--threads 2 --repeat 4");
    }

    #[test]
    fn every_comparison_has_its_script_and_its_peers() {
        for Comparison { name, .. } in &ALL {
            assert!(root().join(format!("benches/peers/{name}.py")).is_file(), "{name}");
        }
        let pinned = fs::read_to_string(root().join(REQUIREMENTS)).unwrap();
        assert!(pinned.lines().all(|line| line.starts_with('#') || line.contains("==")));
    }

    #[test]
    fn rows_know_what_they_should_reach() {
        let aim = |comparison, kind, work: &str, precision, peer| {
            super::aim(comparison, kind, &row(work, precision, peer))
        };
        let minilm = |pass| format!("MiniLM, 32 × 64 tokens: {pass}");
        let (forward, both) = (minilm("forward"), minilm("forward and backward"));
        let (weights, autocast) = ("PyTorch sdpa, bf16 weights", "PyTorch eager, autocast");
        assert_eq!(aim("encoder", "amd-avx512", &both, "f32", "PyTorch eager"), Some(0.9));
        assert_eq!(aim("encoder", "amd-avx512", &forward, "bf16", weights), Some(0.9));
        assert_eq!(aim("encoder", "amd-avx512", &forward, "bf16", autocast), None);
        assert_eq!(aim("encoder", "intel-amx", &both, "bf16", autocast), Some(0.5));
        assert_eq!(aim("encoder", "amd-avx512", &both, "bf16", autocast), Some(0.9));
        let qwen3 = "Qwen3-0.6B, 4 × 128 tokens: forward";
        assert_eq!(aim("encoder", "intel-amx", qwen3, "f32", "PyTorch sdpa"), None);
        let sizes = ["`samtone-query`, 8192 × 384", "`samtone-query`, 4096 × 768"];
        assert_eq!(aim("loss", "intel-amx", sizes[0], "f32", "PyTorch eager"), Some(0.6));
        assert_eq!(aim("loss", "intel-amx", sizes[0], "f32", "torch.compile"), Some(0.8));
        assert_eq!(aim("loss", "intel-amx", sizes[1], "f32", "torch.compile"), None);
        assert_eq!(aim("train", "intel-amx", "x", "f32", "sentence-transformers"), None);
        assert_eq!(
            aim("train", "intel-amx", "x", "bf16", "sentence-transformers"),
            Some(1.0 / 3.0)
        );
    }

    #[cfg(unix)]
    #[test]
    fn what_a_script_prints_is_handed_on_and_its_failure_told() {
        let run = |script: &str| {
            let mut found = Vec::new();
            let ran = rows(Command::new("sh").args(["-c", script]), |line| {
                found.push(line);
                Ok(())
            });
            (found, ran.map_err(|error| format!("{error:#}")))
        };
        let peers = r#"echo '{"peers": ["a 1", "b 2"]}'"#;
        let (found, ran) = run(peers);
        assert_eq!((found, ran), (vec![Line::Peers("a 1, b 2".into())], Ok(())));
        let (found, ran) = run(&format!("{peers}; exit 3"));
        assert_eq!(found.len(), 1);
        assert!(ran.unwrap_err().contains("exit status: 3"));
        assert!(run("echo words").1.unwrap_err().contains("it printed `words`"));
    }
}
