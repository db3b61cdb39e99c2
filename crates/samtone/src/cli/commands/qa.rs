//! `samtone qa`.

use std::path::Path;

use samtone_skill::{QaConfig, QaSummary};
use samtone_train::run::{Environment, Outcome};
use serde::Serialize;

use crate::job;
use crate::output::{Format, table};
use crate::runner::{Done, Ended, Run, RunArgs, Shared};
use crate::skill_report;

/// Fine-tune a T5 to answer questions without documents, and judge it by exact match.
///
/// Questions are JSON lines of `question` and `answers`, MetaQA's text files, FreebaseQA's and
/// WebQuestions' JSON, or NQ-open's JSON lines.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  samtone qa --config benches/experiments/qa.toml --set model.path=runs/infuse-1/model")]
pub(crate) struct Args {
    #[command(flatten)]
    run: RunArgs,
}

pub(crate) fn run(args: &Args, format: Format) -> anyhow::Result<()> {
    job::alone("qa")?;
    see_through::<QaConfig>(&args.run, "qa", format, skill_report::write_qa, text)
}

/// Sees the run called `name` to its end, writes its `report` and prints its results, in words `text`.
pub(super) fn see_through<C: Run<Summary: Serialize>>(
    run: &RunArgs,
    name: &str,
    format: Format,
    report: fn(&Path, &C, &C::Summary, &Environment, &str) -> anyhow::Result<()>,
    text: fn(&Path, &C::Summary, &Environment) -> String,
) -> anyhow::Result<()> {
    let Done { folder, outcome, command } = run.run::<C>(name, Shared::default())?;
    let Outcome { summary, environment, config, was_finished, .. } = outcome;
    if !was_finished {
        report(&folder, &config, &summary, &environment, &command)?;
    }
    let result = Ended { run: &folder, summary: &summary, environment: &environment };
    format.print(&result, |_| text(&folder, &summary, &environment))
}

fn text(folder: &Path, summary: &QaSummary, environment: &Environment) -> String {
    let result = &summary.result;
    let rows = result.exact_match.iter().map(|(split, value)| {
        vec![split.clone(), result.questions[split].to_string(), format!("{value:.4}")]
    });
    format!(
        "{}\n{} parameters, {} steps in {:.0} s on {}\nrun folder: {} (see its report.html and predictions)\n",
        table(&["split", "questions", "exact match"], rows),
        environment.parameters,
        summary.steps,
        environment.train_seconds,
        environment.backend,
        folder.display()
    )
}
