//! `samtone backends`.

mod found;
mod report;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail, ensure};
use safetensors::SafeTensors;
use samtone_data::embedded::World;
use samtone_train::config::{Configuration, ExperimentConfig, Override};
use samtone_train::run::{CONFIG, METRICS, QUICK_START, StepRecord};
use serde::Deserialize;

use self::found::{Comparison, Difference, Ran, STEPS, rows};
use super::{command_line, gradients};
use crate::device::BackendChoice;
use crate::embeddings::Embeddings;
use crate::error::Usage;
use crate::output::{Format, say, table};

/// Run one experiment on several backends from the same weights and batches, and compare them.
///
/// Each runs in a process of its own: the gradients of the first step, a training, and the texts of
/// one trained model embedded. Fails where they differ by more than rounding explains.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  samtone backends --backends flex,ndarray
  samtone backends --backends flex,wgpu --config my.toml --out backends")]
pub(crate) struct Args {
    /// The experiment, a TOML file; the quick start, shortened, if absent.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Override one key, as in `--set train.steps=50`; may be repeated.
    #[arg(long, value_name = "SECTION.KEY=VALUE")]
    set: Vec<String>,
    /// The backends, `flex` or else the first being what the others are compared with.
    #[arg(long, value_name = "BACKEND,...", value_delimiter = ',', default_value = "flex,ndarray")]
    backends: Vec<BackendChoice>,
    /// The folder to write.
    #[arg(long, value_name = "FOLDER", default_value = "backends")]
    out: PathBuf,
}

/// Documents that the trained model embeds on every backend.
const TEXTS: usize = 200;

pub(crate) fn run(args: &Args, format: Format) -> anyhow::Result<()> {
    for backend in &args.backends {
        backend.check()?;
    }
    if args.out.exists() {
        let message = format!("the folder `{}` exists already", args.out.display());
        return Err(Usage::new(message).with_hint("give another `--out`").into());
    }
    let config = shortened(args)?;
    fs::create_dir_all(&args.out)
        .with_context(|| format!("cannot create `{}`", args.out.display()))?;
    let file = args.out.join("config.toml");
    fs::write(&file, config.to_toml())
        .with_context(|| format!("cannot write `{}`", file.display()))?;
    let texts = args.out.join("texts");
    World::generate(0, TEXTS).dataset().save(&texts)?;

    let mut order: Vec<String> = args.backends.iter().map(ToString::to_string).collect();
    order.sort_by_key(|name| name != "flex");
    order.dedup();
    let model = folder(&args.out, &order[0]).join("run/model");
    let work = order.iter().map(|backend| Work { backend, out: folder(&args.out, backend) });
    let mut backends: Vec<Ran> = Vec::new();
    for work in work {
        let mut ran = work.run(&file, &model, &texts.join("corpus.jsonl"))?;
        if let Some(reference) = backends.first() {
            ran.difference = Some(work.difference(&ran, reference, &args.out)?);
        }
        backends.push(ran);
    }
    let found = Comparison { reference: order.remove(0), backends };
    let json = serde_json::to_vec_pretty(&found).context("cannot write the result as JSON")?;
    fs::write(args.out.join("comparison.json"), json).context("cannot write `comparison.json`")?;
    let command = command_line();
    report::write(&args.out, &config, &found, &command)?;
    format.print(&found, |found| text(found, &args.out))?;
    let faults: Vec<String> = found
        .backends
        .iter()
        .filter_map(|ran| Some((ran, ran.difference.as_ref()?.faults())))
        .flat_map(|(ran, faults)| {
            faults.into_iter().map(|fault| format!("{} {fault}", ran.backend))
        })
        .collect();
    ensure!(faults.is_empty(), "backends differ from {}: {}", found.reference, faults.join("; "));
    Ok(())
}

/// Where in `out` a backend's files are.
fn folder(out: &Path, backend: &str) -> PathBuf {
    out.join(backend.replace(':', "-"))
}

/// The experiment as every backend runs it: each step logged, no second training beside it.
fn shortened(args: &Args) -> anyhow::Result<ExperimentConfig> {
    let short = ["train.steps=60", "train.warmup=10"];
    let short = if args.config.is_none() { &short[..] } else { &[] };
    let mut set = Override::set_all(short.iter().copied());
    set.extend(Override::set_all(&args.set));
    let mut config = match &args.config {
        Some(path) => ExperimentConfig::load(path, &set)?,
        None => ExperimentConfig::parse(QUICK_START, Path::new("the quick start"), &set)?,
    };
    config.train.baseline = None;
    config.train.log_every = 1;
    Ok(config)
}

/// One backend's work, each part in a process of its own, so that memory and start-up are its own.
struct Work<'a> {
    backend: &'a str,
    out: PathBuf,
}

impl Work<'_> {
    fn run(&self, config: &Path, model: &Path, texts: &Path) -> anyhow::Result<Ran> {
        fs::create_dir_all(&self.out)
            .with_context(|| format!("cannot create `{}`", self.out.display()))?;
        let (gradients, run) = (self.gradients(), self.out.join("run"));
        let first: gradients::Result = self.child(&[
            ("gradients", None),
            ("--config", Some(config)),
            ("--out", Some(&gradients)),
        ])?;
        let trained: Trained =
            self.child(&[("train", None), ("--config", Some(config)), ("--run-dir", Some(&run))])?;
        let _: serde_json::Value = self.child(&[
            ("encode", None),
            ("--model", Some(model)),
            ("--input", Some(texts)),
            ("--side", Some(Path::new("document"))),
            ("--out", Some(&self.out.join("embeddings"))),
        ])?;
        let steps = steps(&run.join(METRICS))?;
        let (steps_per_second, tokens_per_second) = speed(&steps, Trained::batch_size(&run)?);
        Ok(Ran {
            backend: self.backend.into(),
            start_up_seconds: (first.seconds_at_first - first.seconds).max(0.0),
            steps_per_second,
            tokens_per_second,
            peak_rss_bytes: trained.environment.peak_rss_bytes,
            metrics: trained.summary.test,
            losses: steps.iter().map(|step| step.loss).collect(),
            difference: None,
        })
    }

    fn gradients(&self) -> PathBuf {
        self.out.join("gradients.safetensors")
    }

    /// Runs this program with `arguments` on this backend; its result.
    fn child<T: for<'de> Deserialize<'de>>(
        &self,
        arguments: &[(&str, Option<&Path>)],
    ) -> anyhow::Result<T> {
        let program = std::env::current_exe().context("cannot find this program")?;
        let mut command = Command::new(program);
        for (name, value) in arguments {
            command.arg(name).args(*value);
        }
        command.args(["--backend", self.backend, "--format", "json"]).stderr(Stdio::inherit());
        say(format_args!("{}: {} …", self.backend, arguments[0].0));
        let output = command.output().with_context(|| format!("cannot start {command:?}"))?;
        if !output.status.success() {
            bail!("{command:?} ended with {}", output.status);
        }
        serde_json::from_slice(&output.stdout)
            .with_context(|| format!("{command:?} printed no result"))
    }

    fn difference(&self, ran: &Ran, reference: &Ran, out: &Path) -> anyhow::Result<Difference> {
        let other = folder(out, &reference.backend);
        let losses = ran.losses.iter().zip(&reference.losses).take(STEPS);
        let embeddings =
            [&self.out, &other].map(|folder| Embeddings::open(&[folder.join("embeddings")]));
        let [ours, theirs] = embeddings;
        let (ours, theirs) = (ours?, theirs?);
        let (ours, theirs) = (ours.rows(), theirs.rows());
        Ok(Difference {
            gradients: by_part(&self.gradients(), &other.join("gradients.safetensors"))?,
            losses: losses.map(|(a, b)| (a - b).abs()).fold(0.0, f64::max),
            embeddings: largest(&ours, &theirs),
        })
    }
}

/// What `samtone train` prints, as far as it is compared.
#[derive(Deserialize)]
struct Trained {
    summary: Tested,
    environment: Peak,
}

#[derive(Deserialize)]
struct Tested {
    test: BTreeMap<String, f64>,
}

#[derive(Deserialize)]
struct Peak {
    peak_rss_bytes: Option<u64>,
}

impl Trained {
    fn batch_size(run: &Path) -> anyhow::Result<usize> {
        Ok(ExperimentConfig::load(&run.join(CONFIG), &[])?.train.batch_size)
    }
}

fn steps(path: &Path) -> anyhow::Result<Vec<StepRecord>> {
    let text =
        fs::read_to_string(path).with_context(|| format!("cannot read `{}`", path.display()))?;
    let steps = text.lines().map(serde_json::from_str).collect::<Result<_, _>>();
    steps.with_context(|| format!("`{}` holds no steps", path.display()))
}

/// Steps and tokens a second after the first fifth of the steps, from the rates since the start.
fn speed(steps: &[StepRecord], batch_size: usize) -> (f64, f64) {
    // Seconds and tokens since the start.
    let since = |step: &StepRecord| {
        let seconds = (step.step * batch_size) as f64 / step.pairs_per_second;
        (seconds, seconds * step.tokens_per_second)
    };
    let Some(((last, first), first_step)) = steps
        .last()
        .map(since)
        .zip(steps.get(steps.len() / 5).map(since))
        .zip(steps.get(steps.len() / 5))
    else {
        return (f64::NAN, f64::NAN);
    };
    let seconds = last.0 - first.0;
    let count = steps.last().map_or(0, |step| step.step) - first_step.step;
    (count as f64 / seconds, (last.1 - first.1) / seconds)
}

/// The difference of two files of gradients by part, relative to the second's norm.
fn by_part(ours: &Path, theirs: &Path) -> anyhow::Result<BTreeMap<String, f64>> {
    let read =
        |path: &Path| fs::read(path).with_context(|| format!("cannot read `{}`", path.display()));
    let (ours, theirs) = (read(ours)?, read(theirs)?);
    let (ours, theirs) = (SafeTensors::deserialize(&ours)?, SafeTensors::deserialize(&theirs)?);
    let mut squares: BTreeMap<String, (f64, f64)> = BTreeMap::new();
    for (name, theirs) in theirs.iter() {
        let ours = ours.tensor(name).with_context(|| format!("no gradient of `{name}`"))?;
        let part = name.split('/').next().unwrap_or(name);
        let (difference, size) = squares.entry(part.to_owned()).or_default();
        for (a, b) in numbers(ours.data()).zip(numbers(theirs.data())) {
            *difference += (a - b).powi(2);
            *size += b.powi(2);
        }
    }
    let relative =
        |(difference, size): (f64, f64)| (difference / size.max(f64::MIN_POSITIVE)).sqrt();
    Ok(squares.into_iter().map(|(part, sums)| (part, relative(sums))).collect())
}

fn numbers(bytes: &[u8]) -> impl Iterator<Item = f64> {
    bytes.as_chunks::<4>().0.iter().map(|&bytes| f64::from(f32::from_le_bytes(bytes)))
}

fn largest(ours: &[f32], theirs: &[f32]) -> f64 {
    if ours.len() != theirs.len() {
        return f64::NAN;
    }
    let differences = ours.iter().zip(theirs).map(|(a, b)| f64::from((a - b).abs()));
    differences.fold(0.0, f64::max)
}

fn text(found: &Comparison, out: &Path) -> String {
    let (header, rows) = rows(found);
    let header: Vec<&str> = header.iter().map(String::as_str).collect();
    format!(
        "{}\ndifferences are against {}: of the first step's gradients the worst part's, relative; of losses over {STEPS} steps in nats; of embeddings the largest\nreport: {}\n",
        table(&header, rows),
        found.reference,
        out.join("report.html").display()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn speed_leaves_the_start_out() {
        // Ten steps of 4 pairs and 20 tokens: the first takes ten seconds, the others one each.
        let step = |step: usize| {
            let seconds = 9.0 + step as f64;
            StepRecord {
                step,
                pairs_per_second: (4 * step) as f64 / seconds,
                tokens_per_second: (20 * step) as f64 / seconds,
                ..StepRecord::default()
            }
        };
        let (steps, tokens) = speed(&(1..=10).map(step).collect::<Vec<_>>(), 4);
        assert!((steps - 1.0).abs() < 1e-9 && (tokens - 20.0).abs() < 1e-9, "{steps} {tokens}");
        assert!(speed(&[], 4).0.is_nan());
    }
}
