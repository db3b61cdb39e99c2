//! `report.html` of a run folder: from its files to a page.

use std::path::Path;

use anyhow::Context;
use samtone_report::{Curve, KeyValues, LearningCurves, MetricTable, Report, Section};
use samtone_train::{ExperimentConfig, Metrics, Outcome, StepRecord};

/// Writes `report.html` into the run folder of `outcome`.
pub(crate) fn write(
    folder: &Path,
    config: &ExperimentConfig,
    outcome: &Outcome,
    command: &str,
) -> anyhow::Result<()> {
    let Outcome { summary, environment } = outcome;
    let main = (config.loss_name(), steps(&folder.join("metrics.jsonl"))?);
    let mut trainings = vec![main];
    if let Some(baseline) = &summary.baseline {
        let metrics = folder.join("baseline").join("metrics.jsonl");
        trainings.push((baseline.loss.to_string(), steps(&metrics)?));
    }

    let mut report = Report::new(folder.file_name().map_or_else(
        || "samtone run".into(),
        |name| format!("Run {}", name.to_string_lossy()),
    ))
    .summary(format!(
        "A {} dual encoder of {} parameters, trained for {} steps of {} pairs with the {} loss on `{}`.",
        config.model.sharing,
        environment.parameters,
        summary.steps,
        config.train.batch_size,
        config.loss_name(),
        config.data.train.display()
    ))
    .command(command);

    let (split, metrics) = outcome.summary.judged();
    if let Some(name) = config.eval.metrics.iter().find(|name| metrics.contains_key(*name)) {
        let detail =
            summary.bm25.get(name).map_or_else(String::new, |value| format!("BM25 {value:.4}"));
        report =
            report.highlight(format!("{name} on {split}"), format!("{:.4}", metrics[name]), detail);
    }
    report = report
        .highlight(
            "training loss",
            format!("{:.4} nats", summary.train_loss),
            "mean of the last tenth",
        )
        .highlight(
            "speed",
            format!("{:.0} pairs/s", environment.pairs_per_second),
            &environment.backend,
        );

    let values = |metrics: &Metrics| {
        let value = |name: &String| metrics.get(name).copied().unwrap_or(f64::NAN);
        config.eval.metrics.iter().map(value).collect::<Vec<_>>()
    };
    let mut table = MetricTable::new(format!("Metrics on {split}"), &config.eval.metrics)
        .row(config.loss_name(), values(metrics));
    if let Some(baseline) = &summary.baseline {
        let metrics = if summary.test.is_empty() { &baseline.dev } else { &baseline.test };
        table = table.baseline(baseline.loss.to_string(), values(metrics));
    }
    if !summary.bm25.is_empty() {
        table = table.baseline("BM25", values(&summary.bm25));
    }
    for (name, metrics) in &summary.zero_shot {
        table = table.row(format!("{name} (zero-shot)"), values(metrics));
    }
    report = report.section(Section::new("Results").figure(table));

    let curves = |title: &str, unit: &str, value: fn(&StepRecord) -> f64| {
        trainings.iter().fold(LearningCurves::new(title, "step", unit), |figure, (name, steps)| {
            let points = steps.iter().map(|step| (step.step as f64, value(step))).collect();
            figure.curve(Curve::new(name, points))
        })
    };
    let mut section = Section::new("Training")
        .figure(curves("Loss", "loss (nats)", |step| step.loss))
        .figure(curves("Gradient norm", "norm before clipping", |step| step.gradient_norm))
        .figure(curves("Learning rate", "learning rate", |step| step.lr));
    if let Some(figure) = dev_curves(&trainings[0].1) {
        section = section.figure(figure);
    }
    report = report.section(section);

    let config = serde_json::to_value(config).context("cannot show the configuration")?;
    let environment = serde_json::to_value(environment).context("cannot show the environment")?;
    report = report.section(
        Section::new("Setting")
            .figure(KeyValues::from_json("Configuration", &config))
            .figure(KeyValues::from_json("Environment", &environment)),
    );
    report.write(folder.join("report.html"))?;
    Ok(())
}

/// The dev metrics over the steps, if they were taken on the way.
fn dev_curves(steps: &[StepRecord]) -> Option<LearningCurves> {
    let judged: Vec<&StepRecord> = steps.iter().filter(|step| !step.dev.is_empty()).collect();
    let names = judged.first()?.dev.keys();
    Some(names.fold(LearningCurves::new("Dev metrics", "step", "metric"), |figure, name| {
        let value = |step: &&StepRecord| {
            (step.step as f64, step.dev.get(name).copied().unwrap_or(f64::NAN))
        };
        figure.curve(Curve::new(name, judged.iter().map(value).collect()))
    }))
}

/// The lines of a `metrics.jsonl`.
fn steps(path: &Path) -> anyhow::Result<Vec<StepRecord>> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("cannot read `{}`", path.display()))?;
    text.lines()
        .enumerate()
        .map(|(i, line)| {
            serde_json::from_str(line)
                .with_context(|| format!("`{}`, line {}: not a step", path.display(), i + 1))
        })
        .collect()
}
