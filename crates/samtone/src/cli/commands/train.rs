//! `samtone train`.

use std::path::Path;

use samtone_eval::significance::Comparison;
use samtone_report::Estimate;
use samtone_train::config::ExperimentConfig;
use samtone_train::run::{Outcome, Summary};
use serde::Serialize;

use crate::device::BackendChoice;
use crate::job;
use crate::output::{Format, table};
use crate::run_report::{self, Results};
use crate::runner::{Done, Ended, RunArgs, Shared};

/// Train a dual encoder, judge it and write a run folder.
///
/// With nothing given: the quick start, a small siamese model on the embedded corpus. With
/// `--set data.train=...` or `--set model.path=...` and no `--config`, every other key has its default.
///
/// The keys that most runs set: `data.train`, `data.dev`, `data.test` (folders or files), `model.path`
/// (a model to start from: a folder, or a name in the Hugging Face cache), `loss.preset` and `loss.temperature`, `train.epochs` or `train.steps`,
/// `train.batch_size`, `train.lr`, `train.warmup`, `train.eval_every` with `train.best_by`, and `seed`.
/// All keys with their defaults are in docs/configuration.md, and the run folder's `config.toml` has
/// them as they were resolved.
///
/// Under `mpirun`, `srun` or an MPIJob all processes train one run together, where the build has the
/// feature `mpi` (docs/scale.md).
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  samtone train
  samtone train --config my.toml --set train.lr=3e-5 --run-dir runs/first
  samtone train --run-dir runs/first --resume")]
pub(crate) struct Args {
    #[command(flatten)]
    run: RunArgs,
    /// Share every batch among these devices, all of one backend, as in `cuda:0,cuda:1`.
    #[arg(
        long,
        value_name = "BACKEND,BACKEND,...",
        value_delimiter = ',',
        conflicts_with = "backend"
    )]
    devices: Vec<BackendChoice>,
}

pub(crate) fn run(args: &Args, format: Format) -> anyhow::Result<()> {
    let joined = job::join()?;
    let exchange = joined.as_ref().map(|joined| &joined.exchange);
    let shared = Shared { devices: &args.devices, exchange };
    let done = match args.run.run::<ExperimentConfig>("quick-start", shared) {
        Ok(done) => done,
        Err(error) => match joined.filter(|_| job::is_stop(&error)) {
            Some(joined) => joined.stop(&error),
            None => return Err(error),
        },
    };
    if exchange.is_none_or(|exchange| exchange.rank() == 0) {
        show(&done, format)?;
    }
    if let Some(joined) = joined {
        joined.leave();
    }
    Ok(())
}

/// Writes the run's page and prints what was found.
fn show(done: &Done<ExperimentConfig>, format: Format) -> anyhow::Result<()> {
    let Done { folder, outcome, .. } = done;
    let results = run_report::results(folder, &outcome.config, &outcome.summary)?;
    let gains = run_report::gains(folder, &outcome.config, &outcome.summary)?;
    let text = text(folder, outcome, &results, &gains);
    if !outcome.was_finished {
        run_report::write_or_warn(folder);
    }
    let ended = Ended { run: folder, summary: &outcome.summary, environment: &outcome.environment };
    format.print(&Result { ended, gains: &gains }, |_| text)
}

/// What `--format json` prints.
#[derive(Serialize)]
struct Result<'a> {
    #[serde(flatten)]
    ended: Ended<'a, Summary>,
    /// The trained model against the start, the baseline and BM25.
    gains: &'a [Comparison],
}

fn text(folder: &Path, outcome: &Outcome, results: &Results, gains: &[Comparison]) -> String {
    let Outcome { summary, environment, .. } = outcome;
    let (split, _) = summary.judged();
    let mut header = vec![split];
    header.extend(results.own.metrics.iter().map(String::as_str));
    let cell = |estimate: &Option<Estimate>| match estimate {
        None => "–".into(),
        Some(Estimate { value, interval: None, .. }) => format!("{value:.4}"),
        Some(Estimate { value, interval: Some((low, high)), .. }) => {
            format!("{value:.4}\n{low:.3} – {high:.3}")
        }
    };
    let Results { own, dims, zero_shot } = results;
    let rows = own.rows.iter().chain(&dims.rows).chain(&zero_shot.rows);
    let rows = rows.map(|row| {
        std::iter::once(row.name.clone()).chain(row.values.iter().map(cell)).collect::<Vec<_>>()
    });
    // Without a dev and a test set there is nothing to show.
    let is_empty = own.rows.is_empty() && zero_shot.rows.is_empty();
    let table = if is_empty { String::new() } else { table(&header, rows) + "\n" };
    let leading = outcome.config.eval.leading().map(|metric| metric.to_string());
    let gained: Vec<String> = gains
        .iter()
        .filter_map(|gain| {
            Some((gain, gain.rows.iter().find(|row| Some(&row.metric) == leading.as_ref())?))
        })
        .map(|(gain, row)| {
            format!("{} against {}: {}\n", row.metric, gain.baseline, run_report::told(row))
        })
        .collect();
    let gained = gained.concat();
    format!(
        "{table}{gained}{} parameters, {} steps in {:.0} s, {:.0} pairs/s, {:.0} tokens/s on {}\nrun folder: {} (see its report.html)\n",
        environment.parameters,
        summary.steps,
        environment.train_seconds,
        environment.pairs_per_second,
        environment.tokens_per_second,
        environment.backend,
        folder.display()
    )
}
