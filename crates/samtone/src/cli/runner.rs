//! What the commands that write a run folder share: their arguments, and how a run is watched and
//! stopped.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::Context;
use burn::tensor::backend::AutodiffBackend;
use samtone_skill::{InfuseConfig, InfuseSummary, QaConfig, QaSummary};
use samtone_train::TrainError;
use samtone_train::config::{Configuration, ExperimentConfig, Override};
use samtone_train::run::{
    CONFIG, Environment, Event, Metrics, Outcome, QUICK_START, RunOptions, StepRecord, Summary,
    check_folder, is_begun, peak_rss_bytes,
};
use samtone_train::share::{Exchange, Job};
use serde::Serialize;

use crate::commands::command_line;
use crate::commands::reading::Watch;
use crate::device::{BackendChoice, DeviceArgs, OnBackend, check_all};
use crate::error::Usage;
use crate::output::say;
use crate::progress::{Progress, time};
use crate::tensorboard::EventFile;

/// A configuration that can be run.
pub(crate) trait Run: Configuration + Sized {
    /// What the run finds.
    type Summary;

    /// The configuration with nothing given, as TOML, where there is one.
    const QUICK_START: Option<&str>;

    /// The run on the first of `devices`, or on all where it can share its batches.
    fn run<B: AutodiffBackend>(
        &self,
        options: RunOptions<'_>,
        devices: &[B::Device],
        observe: &mut dyn FnMut(Event<'_>),
    ) -> Result<Outcome<Self::Summary, Self>, TrainError>;
}

impl Run for ExperimentConfig {
    type Summary = Summary;
    const QUICK_START: Option<&str> = Some(QUICK_START);

    fn run<B: AutodiffBackend>(
        &self,
        options: RunOptions<'_>,
        devices: &[B::Device],
        observe: &mut dyn FnMut(Event<'_>),
    ) -> Result<Outcome<Self::Summary, Self>, TrainError> {
        samtone_train::run::run::<B>(self, options, devices, observe)
    }
}

impl Run for InfuseConfig {
    type Summary = InfuseSummary;
    const QUICK_START: Option<&str> = Some(samtone_skill::QUICK_START);

    fn run<B: AutodiffBackend>(
        &self,
        options: RunOptions<'_>,
        devices: &[B::Device],
        observe: &mut dyn FnMut(Event<'_>),
    ) -> Result<Outcome<Self::Summary, Self>, TrainError> {
        samtone_skill::infuse::<B>(self, options, &devices[0], observe)
    }
}

impl Run for QaConfig {
    type Summary = QaSummary;
    const QUICK_START: Option<&str> = None;

    fn run<B: AutodiffBackend>(
        &self,
        options: RunOptions<'_>,
        devices: &[B::Device],
        observe: &mut dyn FnMut(Event<'_>),
    ) -> Result<Outcome<Self::Summary, Self>, TrainError> {
        samtone_skill::qa::<B>(self, options, &devices[0], observe)
    }
}

/// `--config` and `--set`.
#[derive(Debug, clap::Args)]
pub(crate) struct ConfigArgs {
    /// The configuration, a TOML file. If absent: the quick start, where there is one, or, with the
    /// data or the model's path `--set`, the defaults.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Override one key, as in `--set train.steps=200`; may be repeated.
    #[arg(long, value_name = "SECTION.KEY=VALUE")]
    set: Vec<String>,
    /// Take one key of the configuration away, so that its default holds; may be repeated. What is
    /// `--set` is set after it.
    #[arg(long, value_name = "SECTION.KEY")]
    unset: Vec<String>,
}

impl ConfigArgs {
    /// The changes on top of the configuration.
    fn overrides(&self) -> Vec<Override> {
        let unset = self.unset.iter().cloned().map(Override::Unset);
        unset.chain(self.set.iter().cloned().map(Override::Set)).collect()
    }

    /// Whether what is set is another experiment than the quick start, which is made for its data and
    /// for random weights: its learning rate spoils a trained model.
    fn is_own(&self) -> bool {
        let mut keys = self.set.iter().filter_map(|set| Some(set.split_once('=')?.0.trim()));
        let own = ["data", "data.train", "data.triples", "model", "model.path"];
        keys.any(|key| own.contains(&key))
    }

    /// The configuration that they name, with its overrides.
    pub(crate) fn read<C: Run>(&self) -> anyhow::Result<C> {
        match (&self.config, C::QUICK_START) {
            (Some(path), _) => Ok(C::load(path, &self.overrides())?),
            (None, Some(_)) if self.is_own() => {
                say(
                    "without `--config`, what is not `--set` has its default, not the quick start's value",
                );
                Ok(C::parse("", Path::new("the defaults"), &self.overrides())?)
            }
            (None, Some(text)) => {
                Ok(C::parse(text, Path::new("the quick start"), &self.overrides())?)
            }
            (None, None) => Err(Usage::new("`--config` is missing: it says what to do").into()),
        }
    }
}

/// The arguments of a command that writes a run folder.
#[derive(Debug, clap::Args)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// The run folder; a new one under `runs/` if absent.
    #[arg(long, value_name = "FOLDER")]
    run_dir: Option<PathBuf>,
    /// Go on with the run in `--run-dir` from its newest checkpoint. With `--config` or `--set` beside
    /// it, start the run where there is none: the same command then begins it and goes on with it.
    #[arg(long, requires = "run_dir")]
    resume: bool,
    /// Write the run's numbers as TensorBoard event files too, into `tensorboard/`.
    #[arg(long)]
    tensorboard: bool,
    #[command(flatten)]
    device: DeviceArgs,
}

/// Who shares a run's batches.
#[derive(Default)]
pub(crate) struct Shared<'a> {
    /// Devices instead of the one in the arguments; may be empty.
    pub(crate) devices: &'a [BackendChoice],
    /// The processes of a job, if there are several.
    pub(crate) exchange: Option<&'a Arc<dyn Exchange>>,
}

/// A run that has ended.
pub(crate) struct Done<C: Run> {
    pub(crate) folder: PathBuf,
    pub(crate) outcome: Outcome<C::Summary, C>,
    /// How it was started.
    pub(crate) command: String,
}

/// What `--format json` prints of it.
#[derive(Serialize)]
pub(crate) struct Ended<'a, S> {
    pub(crate) run: &'a Path,
    pub(crate) summary: &'a S,
    pub(crate) environment: &'a Environment,
}

impl RunArgs {
    /// Begins the run, or goes on with it, and sees it to its end; a folder that is not named is called
    /// after the configuration, or after `name`.
    pub(crate) fn run<C: Run>(&self, name: &str, shared: Shared<'_>) -> anyhow::Result<Done<C>> {
        let own = match shared.exchange.filter(|_| shared.devices.is_empty()) {
            Some(exchange) => [self.device.backend.of_rank(exchange.local_rank())?],
            None => [self.device.backend],
        };
        let backends = if shared.devices.is_empty() { &own[..] } else { shared.devices };
        check_all(backends)?;
        let job = match shared.exchange {
            Some(exchange) => {
                Some(Job::new(Arc::clone(exchange), backends.len()).map_err(TrainError::from)?)
            }
            None => None,
        };
        let folder = match &self.run_dir {
            Some(folder) => folder.clone(),
            None => new_folder(self.config.config.as_deref(), name),
        };
        let config = match job.as_ref().filter(|_| self.resume && self.config.config.is_none()) {
            None => self.configuration(&folder)?,
            // The run folder is rank 0's.
            Some(job) if job.leads() => {
                let config: C = self.configuration(&folder)?;
                job.give(&config.to_toml()).map_err(TrainError::from)?;
                config
            }
            Some(job) => {
                let text: String = job.take().map_err(TrainError::from)?;
                C::parse(&text, Path::new("the configuration of rank 0"), &[])?
            }
        };
        let leads = job.as_ref().is_none_or(Job::leads);
        if leads {
            check_folder(&folder, self.resume)?;
        }
        let command = command_line();
        let tensorboard = (self.tensorboard && leads).then(|| Board::new(&folder));
        let show = Show { tensorboard, is_silent: !leads, ..Show::default() };
        let runner = Runner {
            config: &config,
            folder: &folder,
            resume: self.resume,
            backends,
            job: job.as_ref(),
            command: &command,
            show,
        };
        let outcome = runner.run()?;
        if outcome.was_finished && leads {
            say(format_args!(
                "the run in `{}` has ended before: nothing is done",
                folder.display()
            ));
        }
        Ok(Done { folder, outcome, command })
    }

    /// The configuration that is asked for: that of the run in `folder`, or another.
    fn configuration<C: Run>(&self, folder: &Path) -> anyhow::Result<C> {
        let overrides = self.config.overrides();
        let is_named = self.config.config.is_some() || !overrides.is_empty();
        if self.resume && !is_named {
            if !is_begun(folder) {
                return Err(TrainError::NoRun { path: folder.into() }.into());
            }
            return Ok(C::load(&folder.join(CONFIG), &[])?);
        }
        if self.resume && self.config.config.is_none() && is_begun(folder) {
            return Ok(C::load(&folder.join(CONFIG), &overrides)?);
        }
        self.config.read()
    }
}

/// The first free folder under `runs/` with the configuration's name, or with `default`.
fn new_folder(config: Option<&Path>, default: &str) -> PathBuf {
    let name = config
        .and_then(Path::file_stem)
        .map_or_else(|| default.into(), |stem| stem.to_string_lossy().into_owned());
    let numbered = |number| Path::new("runs").join(format!("{name}-{number}"));
    (1..=u32::MAX).map(numbered).find(|folder| !folder.exists()).expect("some number is free")
}

/// A run on some backend, shown while it goes and ended by signals.
pub(crate) struct Runner<'a, C> {
    pub(crate) config: &'a C,
    pub(crate) folder: &'a Path,
    pub(crate) resume: bool,
    /// Of one kind; one unless they share batches.
    pub(crate) backends: &'a [BackendChoice],
    pub(crate) job: Option<&'a Job>,
    pub(crate) command: &'a str,
    pub(crate) show: Show,
}

impl<C: Run> Runner<'_, C> {
    pub(crate) fn run(self) -> anyhow::Result<Outcome<C::Summary, C>> {
        let folder = self.folder;
        self.backends[0].run(self)?.map_err(|error| match error.downcast_ref() {
            Some(TrainError::Write { .. } | TrainError::Checkpoint(_)) => {
                error.context(format!("cannot train into `{}`", folder.display()))
            }
            _ => error,
        })
    }
}

impl<C: Run> OnBackend for Runner<'_, C> {
    type Output = anyhow::Result<Outcome<C::Summary, C>>;

    fn run<B: AutodiffBackend>(mut self, device: &B::Device) -> Self::Output {
        let stop = stop_on_signals()?;
        let options = RunOptions {
            folder: self.folder,
            resume: self.resume,
            backend: &self.backends.iter().map(ToString::to_string).collect::<Vec<_>>().join(","),
            command: self.command,
            stop: &stop,
            job: self.job,
        };
        let show = &mut self.show;
        let devices: Vec<B::Device> =
            self.backends.iter().map(|backend| backend.beside::<B>(device)).collect();
        let outcome = self.config.run::<B>(options, &devices, &mut |event| show.event(event));
        self.show.end();
        Ok(outcome?)
    }
}

/// The signals that end a run after its step. Launchers of several processes and schedulers pass the
/// user's one on, or send it some time before the end.
#[cfg(unix)]
const SIGNALS: [i32; 3] = {
    use signal_hook::consts::{SIGINT, SIGTERM, SIGUSR1};
    [SIGINT, SIGTERM, SIGUSR1]
};
#[cfg(not(unix))]
const SIGNALS: [i32; 2] = [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM];

/// A flag that Ctrl-C and a termination signal set; the second one ends the process at once.
pub(super) fn stop_on_signals() -> anyhow::Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in SIGNALS {
        signal_hook::flag::register_conditional_shutdown(signal, 130, Arc::clone(&stop))
            .and_then(|_| signal_hook::flag::register(signal, Arc::clone(&stop)))
            .context("cannot listen to signals")?;
    }
    Ok(stop)
}

/// Shows a run's events: on stderr, and to TensorBoard if asked.
#[derive(Default)]
pub(crate) struct Show {
    tensorboard: Option<Board>,
    /// Of another rank than the one that speaks for all.
    is_silent: bool,
    steps: Option<Steps>,
    /// Texts embedded to judge the model.
    judging: Watch,
}

impl Show {
    fn event(&mut self, event: Event<'_>) {
        if self.is_silent {
            return;
        }
        if let Some(board) = &mut self.tensorboard
            && let Err(error) = board.event(&event)
        {
            self.tell(&format!("warning: no more numbers for TensorBoard: {error}"));
            self.tensorboard = None;
        }
        if !matches!(event, Event::Judging { .. }) {
            self.judging.end();
        }
        match event {
            Event::Phase(what) => say(format_args!("{what} …")),
            Event::Changed(what) => say(format_args!("changed from the folder: {what}")),
            Event::Chosen(what) => say(what),
            Event::Judging { side, done, count } => self.judging.at(side, done, count),
            Event::Start { split, metrics } => {
                self.tell(&format!("start, {split}: {}", listed(metrics)));
            }
            Event::Training { loss, done, steps } => {
                let steps = Steps::new(done, steps);
                if steps.bar.is_hidden() {
                    say(format_args!("training with {loss}, step {done} of {} …", steps.total));
                }
                self.steps = Some(steps);
            }
            Event::Step(record) => {
                self.steps.as_mut().expect("steps follow the start of training").step(record);
            }
            Event::Dev(metrics) => self.tell(&format!("dev: {}", listed(metrics))),
            Event::Warning(warning) => self.tell(&format!("warning: {warning}")),
            Event::Trained => self.end(),
        }
    }

    /// A line on stderr, above the bar if there is one.
    fn tell(&self, line: &str) {
        match &self.steps {
            Some(steps) => steps.bar.say(line),
            None => say(line),
        }
    }

    fn end(&mut self) {
        self.judging.end();
        if let Some(steps) = self.steps.take() {
            steps.bar.abandon();
        }
    }
}

fn listed(metrics: &Metrics) -> String {
    let metrics: Vec<String> =
        metrics.iter().map(|(name, value)| format!("{name} {value:.4}")).collect();
    metrics.join(" · ")
}

/// The steps of a training under a bar.
struct Steps {
    bar: Progress,
    total: usize,
    /// The sum of the losses since the user last saw one, and how many there are.
    losses: (f64, usize),
}

impl Steps {
    fn new(done: usize, total: usize) -> Self {
        let bar = Progress::plain(total as u64, "step");
        bar.begin_at(done as u64);
        Self { bar, total, losses: (0.0, 0) }
    }

    fn step(&mut self, record: &StepRecord) {
        self.losses.0 += record.loss;
        self.losses.1 += 1;
        // Evaluations take their time too, and say so themselves.
        let a_step = record.seconds / record.step.max(1) as f64;
        self.bar.set_message(format!(
            "loss {:.4} · lr {:.2e} · {:.0} pairs/s · {:.0} tokens/s · {:.0} % padding · {:.1} GB · {} left",
            self.losses.0 / self.losses.1 as f64,
            record.lr,
            record.pairs_per_second,
            record.tokens_per_second,
            100.0 * record.padded_share,
            peak_rss_bytes().unwrap_or(0) as f64 / 1e9,
            time(a_step * self.total.saturating_sub(record.step) as f64)
        ));
        if self.bar.set_position(record.step as u64) {
            self.losses = (0.0, 0);
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
