//! `samtone status` and `samtone runs`.

use std::path::PathBuf;

use samtone_train::run::{State, Status, runs_under};

use crate::output::{Format, table};
use crate::progress::time;

/// Say how a run stands, from the files that it writes: while it runs, too.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  samtone status runs/faq")]
pub(crate) struct Args {
    /// The run folder.
    run: PathBuf,
}

/// List the runs in and under a folder, and how each stands.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  samtone runs
  samtone runs experiments --format json")]
pub(crate) struct RunsArgs {
    /// The folder.
    #[arg(default_value = "runs")]
    folder: PathBuf,
}

pub(crate) fn run(args: &Args, format: Format) -> anyhow::Result<()> {
    format.print(&Status::read(&args.run)?, text)
}

pub(crate) fn list(args: &RunsArgs, format: Format) -> anyhow::Result<()> {
    let runs = runs_under(&args.folder)?;
    let runs: Vec<Status> = runs.iter().map(|run| Status::read(run)).collect::<Result<_, _>>()?;
    format.print(&runs, |runs| {
        let rows = runs.iter().map(|status| {
            let dev = status.dev.iter().next();
            [
                status.run.display().to_string(),
                status.state.name().into(),
                format!("{} of {}", status.step, status.steps),
                status.loss.map_or_else(dash, |loss| format!("{loss:.4}")),
                dev.map_or_else(dash, |(name, value)| format!("{name} {value:.4}")),
                status.seconds_left.map_or_else(dash, time),
            ]
        });
        table(&["run", "state", "step", "loss", "dev", "time left"], rows)
    })
}

fn dash() -> String {
    "–".into()
}

fn text(status: &Status) -> String {
    let mut lines = vec![format!(
        "{}: {}, step {} of {}",
        status.run.display(),
        status.state.name(),
        status.step,
        status.steps
    )];
    if let (Some(loss), Some(speed)) = (status.loss, status.pairs_per_second) {
        lines.push(format!("loss {loss:.4}, {speed:.0} pairs/s"));
    }
    if !status.dev.is_empty() {
        let dev: Vec<String> =
            status.dev.iter().map(|(name, value)| format!("{name} {value:.4}")).collect();
        lines.push(format!("dev: {}", dev.join(" · ")));
    }
    if let Some(left) = status.seconds_left {
        lines.push(format!("{} left for the steps, evaluations aside", time(left)));
    }
    if let Some(since) = status.seconds_since.filter(|_| status.state == State::Running) {
        lines.push(format!("last logged {} ago", time(since)));
    }
    if status.state == State::Stopped {
        let run = status.run.display();
        lines.push(format!("go on with: samtone train --run-dir {run} --resume"));
    }
    lines.join("\n")
}
