//! `report.html` and `figures/` of an infusion or a fine-tuning: from the run folder's files to a page.

use std::path::Path;

use anyhow::Context;
use samtone_report::{Curve, KeyValues, LearningCurves, MetricTable, Report, Section};
use samtone_skill::{InfuseConfig, InfuseSummary, Prediction, QaConfig, QaSummary};
use samtone_train::run::{Environment, METRICS, StepRecord, logged};
use serde::Serialize;

/// Questions shown as right, and as many as wrong.
const SHOWN: usize = 12;

/// Writes the report of an infusion.
pub(crate) fn write_infusion(
    folder: &Path,
    config: &InfuseConfig,
    summary: &InfuseSummary,
    environment: &Environment,
    command: &str,
) -> anyhow::Result<()> {
    let mut report = Report::new(title(folder))
        .summary(format!(
            "A T5 of {} parameters that learned {} triples in {} steps of {} examples.",
            environment.parameters, summary.triples, summary.steps, config.train.batch_size
        ))
        .command(command)
        .highlight(
            "triples known",
            format!("{:.1} %", 100.0 * summary.facts),
            "masked objects written",
        )
        .highlight("training loss", format!("{:.4} nats", summary.train_loss), "a token");
    let mut trainings = vec![("infusion".to_owned(), logged(&folder.join(METRICS)))];
    if !summary.exact_match.is_empty() {
        let splits: Vec<&String> = summary.questions.keys().collect();
        let mut figure =
            MetricTable::new("Exact match after the same fine-tuning", splits.iter().copied());
        for (name, values) in &summary.exact_match {
            let row = splits.iter().map(|split| values.get(*split).copied().unwrap_or(f64::NAN));
            let row: Vec<f64> = row.collect();
            figure =
                if name == "infused" { figure.row(name, row) } else { figure.baseline(name, row) };
            let metrics = folder.join(format!("qa-{name}")).join(METRICS);
            trainings.push((format!("questions, {name}"), logged(&metrics)));
        }
        report = report.section(Section::new("Results").figure(figure));
    }
    report = report.section(curves(&trainings));
    let predictions = folder.join("qa-infused/predictions-test.jsonl");
    if predictions.exists() {
        report = report.section(answers("Answers of the infused model", &predictions)?);
    }
    finish(report, folder, config, environment)
}

/// Writes the report of a fine-tuning.
pub(crate) fn write_qa(
    folder: &Path,
    config: &QaConfig,
    summary: &QaSummary,
    environment: &Environment,
    command: &str,
) -> anyhow::Result<()> {
    let result = &summary.result;
    let splits: Vec<&String> = result.exact_match.keys().collect();
    let mut report = Report::new(title(folder))
        .summary(format!(
            "A T5 of {} parameters, fine-tuned in {} steps to answer questions without documents.",
            environment.parameters, summary.steps
        ))
        .command(command);
    for (split, value) in &result.exact_match {
        let detail = format!("{} questions", result.questions[split]);
        report = report.highlight(format!("exact match on {split}"), format!("{value:.4}"), detail);
    }
    let figure = MetricTable::new("Exact match", splits)
        .row("fine-tuned", result.exact_match.values().copied().collect::<Vec<_>>());
    report = report.section(Section::new("Results").figure(figure));
    let training = ("questions".to_owned(), logged(&folder.join(METRICS)));
    report = report.section(curves(&[training]));
    let predictions = folder.join("predictions-test.jsonl");
    if predictions.exists() {
        report = report.section(answers("Answers", &predictions)?);
    }
    finish(report, folder, config, environment)
}

fn title(folder: &Path) -> String {
    folder
        .file_name()
        .map_or_else(|| "samtone run".into(), |name| format!("Run {}", name.to_string_lossy()))
}

fn finish(
    report: Report,
    folder: &Path,
    config: &impl Serialize,
    environment: &Environment,
) -> anyhow::Result<()> {
    let config = serde_json::to_value(config).context("cannot show the configuration")?;
    let environment = serde_json::to_value(environment).context("cannot show the environment")?;
    let setting = Section::new("Setting")
        .figure(KeyValues::from_json("Configuration", &config))
        .figure(KeyValues::from_json("Environment", &environment));
    let report = report.section(setting);
    report.write(folder.join("report.html"))?;
    report.write_figures(folder.join("figures"))?;
    Ok(())
}

fn curves(trainings: &[(String, Vec<StepRecord>)]) -> Section {
    let figure = |title: &str, unit: &str, value: fn(&StepRecord) -> f64| {
        trainings.iter().fold(LearningCurves::new(title, "step", unit), |figure, (name, steps)| {
            let points = steps.iter().map(|step| (step.step as f64, value(step))).collect();
            figure.curve(Curve::new(name, points))
        })
    };
    Section::new("Training")
        .figure(figure("Loss", "loss (nats a token)", |step| step.loss))
        .figure(figure("Learning rate", "learning rate", |step| step.lr))
}

/// Some questions answered right, and some answered wrong.
fn answers(title: &str, path: &Path) -> anyhow::Result<Section> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("cannot read `{}`", path.display()))?;
    let predictions: Vec<Prediction> = text
        .lines()
        .map(serde_json::from_str)
        .collect::<Result<_, _>>()
        .with_context(|| format!("`{}` holds no predictions", path.display()))?;
    let figure = |title: &str, correct: bool| {
        let shown = predictions.iter().filter(|each| each.correct == correct).take(SHOWN);
        shown.fold(KeyValues::new(title), |figure, each| {
            let answer = if correct {
                each.prediction.clone()
            } else {
                format!("{} (right: {})", each.prediction, each.answers.join(" | "))
            };
            figure.row(&each.question, answer)
        })
    };
    Ok(Section::new(title).figure(figure("Right", true)).figure(figure("Wrong", false)))
}
