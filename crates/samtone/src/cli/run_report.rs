//! `report.html` of a run folder: from its files to a page.

mod data;
mod queries;
mod record;
mod results;
mod training;

use std::path::Path;

use samtone_eval::significance::Comparison;
use samtone_report::Report;
use samtone_train::run::State;

pub(crate) use self::results::{Results, SIGNIFICANT, gains, metric_column, results, signed, told};
pub(crate) use self::training::{dev_curves, loss_curves};
use crate::output::warn;
use crate::run_files::RunFiles;
use crate::words::{count, duration, grouped};

/// Writes `report.html` and `figures/` into the run `folder`.
pub(crate) fn write(folder: &Path) -> anyhow::Result<()> {
    let report = page(&RunFiles::read(folder)?)?;
    report.write_figures(folder.join("figures"))?;
    report.write(folder.join("report.html"))?;
    Ok(())
}

/// [`write`] after a training, which is worth no less without its page.
pub(crate) fn write_or_warn(folder: &Path) {
    if let Err(error) = write(folder) {
        let again = format!("`samtone report {}` makes it again", folder.display());
        warn(format_args!("the run is whole, but not its page: {error:#}; {again}"));
    }
}

/// The page of a run, as far as it has come.
pub(crate) fn page(run: &RunFiles) -> anyhow::Result<Report> {
    let mut report = overview(run);
    if let Some(summary) = &run.summary {
        let results = results(&run.folder, &run.config, summary)?;
        let gains = gains(&run.folder, &run.config, summary)?;
        report = highlights(report, run, &results, &gains);
        report = report.section(results::section(run, results, &gains));
    } else {
        report = progress(report, run).section(results::on_the_way(run));
    }
    report = report.section(training::section(run));
    if let Some(shown) = run.queries.as_ref().filter(|shown| !shown.queries.is_empty()) {
        report = report.section(queries::section(shown, &run.config));
    }
    if let Some(data) = &run.data {
        report = report.section(data::section(data));
    }
    report = report.section(record::section(run)?);
    report.sections.retain(|section| !section.figures.is_empty());
    Ok(report)
}

/// What a run is, in a sentence.
fn overview(run: &RunFiles) -> Report {
    let config = &run.config;
    let parameters = run.environment.as_ref();
    let parameters = parameters.map_or_else(String::new, |environment| {
        format!(", {} parameters", count(environment.parameters))
    });
    let done = match (&run.summary, run.status.state) {
        (Some(summary), _) => format!("trained for {} steps", grouped(summary.steps)),
        (None, state) => {
            let (step, steps) = (grouped(run.status.step), grouped(run.status.steps));
            let state = if state == State::Stopped { "stopped" } else { "in training" };
            format!("{state}, step {step} of {steps}")
        }
    };
    let report = Report::new(format!("Run {}", run.name())).summary(format!(
        "A dual encoder ({}{parameters}) under the {} loss, {} pairs a step: {done}. Data: {}.",
        config.model.sharing.unwrap_or_default(),
        config.loss_name(),
        config.train.batch_size,
        config.data.train
    ));
    match &run.origin {
        Some(origin) => report.command(origin.commands()),
        None => report,
    }
}

/// The few numbers of a run that has ended.
fn highlights(
    mut report: Report,
    run: &RunFiles,
    results: &Results,
    gains: &[Comparison],
) -> Report {
    let name = run.config.eval.leading().map(|metric| metric.to_string());
    let place = results.own.metrics.iter().position(|metric| Some(metric) == name.as_ref());
    let first = results.own.rows.first();
    let own = place.zip(first).and_then(|(place, row)| row.values.get(place).copied()?);
    if let (Some(name), Some(own)) = (&name, own) {
        report = report.highlight(
            results.own.title.replace("Metrics", name),
            format!("{:.4}", own.value),
            "",
        );
        for gain in gains {
            let Some(row) = gain.rows.iter().find(|row| row.metric == *name) else { continue };
            let star = if row.p_holm < SIGNIFICANT { "significant" } else { "may be chance" };
            let label = format!("against {}", gain.baseline);
            report = report.highlight(
                label,
                signed(row.difference),
                format!("{star}, p {:.4}", row.p_holm),
            );
        }
    }
    if let Some(summary) = &run.summary {
        let loss = format!("{:.4} nats", summary.train_loss);
        report = report.highlight("training loss", loss, "mean of the last tenth");
    }
    let Some(environment) = &run.environment else { return report };
    let speed = format!("{:.0} pairs/s", environment.pairs_per_second);
    let lasted = format!("{} in all", duration(environment.total_seconds));
    report.highlight("speed", speed, format!("{}, {lasted}", environment.backend))
}

/// The few numbers of a run that goes on or was stopped.
fn progress(report: Report, run: &RunFiles) -> Report {
    let status = &run.status;
    let share = 100.0 * status.step as f64 / status.steps.max(1) as f64;
    let left = status
        .seconds_left
        .map_or_else(String::new, |left| format!("{} left for the steps", duration(left)));
    let mut report = report.highlight(status.state.name(), format!("{share:.0} %"), left);
    if let Some(loss) = status.loss {
        report = report.highlight("loss", format!("{loss:.4} nats"), "mean since the line before");
    }
    if let Some((name, value)) = status.dev.iter().next() {
        report = report.highlight(
            format!("{name} on dev"),
            format!("{value:.4}"),
            "the last evaluation",
        );
    }
    if let Some(speed) = status.pairs_per_second {
        report = report.highlight("speed", format!("{speed:.0} pairs/s"), "since the run began");
    }
    report
}
