//! `samtone train`.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::Context;
use burn::tensor::backend::AutodiffBackend;
use indicatif::ProgressBar;
use samtone_report::{Estimate, MetricTable};
use samtone_train::{
    Event, ExperimentConfig, Outcome, QUICK_START, RunOptions, TrainError, check_folder,
    resumed_config, run as train,
};
use serde::Serialize;

use crate::device::{DeviceArgs, Task};
use crate::output::{Format, progress, table};
use crate::run_report;
use crate::tensorboard::EventFile;

/// Train a dual encoder, judge it and write a run folder.
///
/// With nothing given: the quick start, a small siamese model on the embedded corpus.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The experiment, a TOML file; the quick start if absent.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Override one key, as in `--set train.steps=200`; may be repeated.
    #[arg(long, value_name = "SECTION.KEY=VALUE")]
    set: Vec<String>,
    /// The run folder; a new one under `runs/` if absent.
    #[arg(long, value_name = "FOLDER")]
    run_dir: Option<PathBuf>,
    /// Go on with the run in `--run-dir` from its newest checkpoint.
    #[arg(long, requires = "run_dir", conflicts_with_all = ["config", "set"])]
    resume: bool,
    /// Write the run's numbers as TensorBoard event files too, into `tensorboard/`.
    #[arg(long)]
    tensorboard: bool,
    #[command(flatten)]
    device: DeviceArgs,
}

/// What `--format json` prints.
#[derive(Serialize)]
struct Result<'a> {
    run: &'a Path,
    summary: &'a samtone_train::Summary,
    environment: &'a samtone_train::Environment,
}

pub(crate) fn run(args: &Args, format: Format) -> anyhow::Result<()> {
    let folder = args.run_dir.clone().unwrap_or_else(|| new_folder(args.config.as_deref()));
    let config = if args.resume {
        resumed_config(&folder)?
    } else {
        configuration(args.config.as_deref(), &args.set)?
    };
    check_folder(&folder, args.resume)?;
    let backend = args.device.backend;
    let command = super::command_line();
    let work = Train {
        config: &config,
        folder: &folder,
        resume: args.resume,
        backend: backend.to_string(),
        command: &command,
        show: Show { tensorboard: args.tensorboard.then(|| Board::new(&folder)), bar: None },
    };
    let outcome =
        backend.run(work)?.with_context(|| format!("cannot train into `{}`", folder.display()))?;
    let results = run_report::results(&folder, &config, &outcome.summary)?;
    let text = text(&folder, &outcome, &results);
    run_report::write(&folder, &config, &outcome, results, &command)?;
    let result =
        Result { run: &folder, summary: &outcome.summary, environment: &outcome.environment };
    format.print(&result, |_| text)
}

/// The experiment at `path` with its overrides; the quick start if there is none.
pub(super) fn configuration(
    path: Option<&Path>,
    set: &[String],
) -> std::result::Result<ExperimentConfig, TrainError> {
    match path {
        Some(path) => ExperimentConfig::load(path, set),
        None => ExperimentConfig::parse(QUICK_START, Path::new("the quick start"), set),
    }
}

/// The first free folder under `runs/` with the configuration's name.
fn new_folder(config: Option<&Path>) -> PathBuf {
    let name = config
        .and_then(Path::file_stem)
        .map_or_else(|| "quick-start".into(), |stem| stem.to_string_lossy().into_owned());
    let numbered = |number| Path::new("runs").join(format!("{name}-{number}"));
    (1..=u32::MAX).map(numbered).find(|folder| !folder.exists()).expect("some number is free")
}

/// A run to train on some backend.
pub(super) struct Train<'a> {
    pub(super) config: &'a ExperimentConfig,
    pub(super) folder: &'a Path,
    pub(super) resume: bool,
    pub(super) backend: String,
    pub(super) command: &'a str,
    pub(super) show: Show,
}

impl Task for Train<'_> {
    type Output = anyhow::Result<Outcome>;

    fn run<B: AutodiffBackend>(mut self, device: &B::Device) -> Self::Output {
        let stop = stop_on_signals()?;
        let options = RunOptions {
            folder: self.folder,
            resume: self.resume,
            backend: &self.backend,
            command: self.command,
            stop: &stop,
        };
        let show = &mut self.show;
        let outcome = train::<B>(self.config, options, device, &mut |event| show.event(event));
        if let Some(bar) = self.show.bar {
            bar.abandon();
        }
        Ok(outcome?)
    }
}

/// A flag that Ctrl-C and a termination signal set; the second Ctrl-C ends the process at once.
fn stop_on_signals() -> anyhow::Result<Arc<AtomicBool>> {
    use signal_hook::consts::{SIGINT, SIGTERM};
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register_conditional_shutdown(signal, 130, Arc::clone(&stop))
            .and_then(|_| signal_hook::flag::register(signal, Arc::clone(&stop)))
            .context("cannot listen to signals")?;
    }
    Ok(stop)
}

/// Shows a run's events: on stderr, and to TensorBoard if asked.
#[derive(Default)]
pub(super) struct Show {
    tensorboard: Option<Board>,
    bar: Option<ProgressBar>,
}

impl Show {
    fn event(&mut self, event: Event<'_>) {
        if let Some(board) = &mut self.tensorboard
            && let Err(error) = board.event(&event)
        {
            tell(self.bar.as_ref(), &format!("warning: no more numbers for TensorBoard: {error}"));
            self.tensorboard = None;
        }
        match event {
            Event::Phase(what) => eprintln!("{what} …"),
            Event::Training { loss, done, steps } => {
                let new = progress(steps as u64, "training").with_position(done as u64);
                new.reset_eta();
                if new.is_hidden() {
                    eprintln!("training with {loss}, step {done} of {steps} …");
                }
                self.bar = Some(new);
            }
            Event::Step(step) => {
                let bar = self.bar.as_ref().expect("steps follow the start of training");
                bar.set_message(format!(
                    "loss {:.4} · lr {:.2e} · {:.0} pairs/s · {:.0} tokens/s · {:.0} % padding · {:.1} GB",
                    step.loss,
                    step.lr,
                    step.pairs_per_second,
                    step.tokens_per_second,
                    100.0 * step.padded_share,
                    samtone_train::peak_rss_bytes().unwrap_or(0) as f64 / 1e9
                ));
                bar.set_position(step.step as u64);
            }
            Event::Dev(metrics) => {
                let metrics: Vec<String> =
                    metrics.iter().map(|(name, value)| format!("{name} {value:.4}")).collect();
                tell(self.bar.as_ref(), &format!("dev: {}", metrics.join(" · ")));
            }
            Event::Warning(warning) => tell(self.bar.as_ref(), &format!("warning: {warning}")),
            Event::Trained => {
                if let Some(bar) = self.bar.take() {
                    bar.finish();
                }
            }
        }
    }
}

/// Where a run's numbers go for TensorBoard: a folder a training, for `train` and its baseline.
struct Board {
    folder: PathBuf,
    file: Option<EventFile>,
}

impl Board {
    fn new(run: &Path) -> Self {
        Self { folder: run.join("tensorboard"), file: None }
    }

    fn event(&mut self, event: &Event<'_>) -> std::io::Result<()> {
        match event {
            Event::Training { loss, done, .. } => {
                self.file = Some(EventFile::create(&self.folder.join(loss), *done)?);
                Ok(())
            }
            Event::Step(step) => self.file.as_mut().map_or(Ok(()), |file| file.step(step)),
            _ => Ok(()),
        }
    }
}

/// A line on stderr, above the progress bar if there is one.
fn tell(bar: Option<&ProgressBar>, line: &str) {
    match bar {
        Some(bar) => bar.suspend(|| eprintln!("{line}")),
        None => eprintln!("{line}"),
    }
}

fn text(folder: &Path, outcome: &Outcome, results: &MetricTable) -> String {
    let Outcome { summary, environment } = outcome;
    let (split, _) = summary.judged();
    let mut header = vec![split];
    header.extend(results.metrics.iter().map(String::as_str));
    let cell = |estimate: &Option<Estimate>| match estimate {
        None => "–".into(),
        Some(Estimate { value, interval: None }) => format!("{value:.4}"),
        Some(Estimate { value, interval: Some((low, high)) }) => {
            format!("{value:.4}\n{low:.3} – {high:.3}")
        }
    };
    let rows = results.rows.iter().map(|row| {
        std::iter::once(row.name.clone()).chain(row.values.iter().map(cell)).collect::<Vec<_>>()
    });
    format!(
        "{}\n{} parameters, {} steps in {:.0} s, {:.0} pairs/s, {:.0} tokens/s on {}\nrun folder: {} (see its report.html)\n",
        table(&header, rows),
        environment.parameters,
        summary.steps,
        environment.train_seconds,
        environment.pairs_per_second,
        environment.tokens_per_second,
        environment.backend,
        folder.display()
    )
}
