//! `report.html` of a run folder: from its files to a page.

use std::path::{Path, PathBuf};

use anyhow::Context;
use samtone_eval::significance::{CompareConfig, ComparedRun, Comparison, compare};
use samtone_eval::{Evaluation, Metric};
use samtone_report::{
    Curve, Estimate, KeyValues, LearningCurves, MetricRow, MetricTable, Report, Section,
};
use samtone_train::config::ExperimentConfig;
use samtone_train::run::{Identity, Outcome, StepRecord, Summary, evaluation_path};

use crate::commands::eval::intervals;

/// Writes `report.html` and `figures/` into the run folder of `outcome`.
pub(crate) fn write(
    folder: &Path,
    outcome: &Outcome,
    results: MetricTable,
    gains: &[Comparison],
    command: &str,
) -> anyhow::Result<()> {
    let mut report = overview(folder, outcome, &results).command(command);
    if !results.rows.is_empty() {
        let mut section = Section::new("Results").figure(results);
        if !gains.is_empty() {
            section = section.figure(gains_figure(gains));
        }
        report = report.section(section);
    }
    report = report.section(training(folder, outcome)?).section(setting(folder, outcome)?);
    report.write_figures(folder.join("figures"))?;
    report.write(folder.join("report.html"))?;
    Ok(())
}

/// What a run was, in a sentence and a few numbers.
fn overview(folder: &Path, outcome: &Outcome, results: &MetricTable) -> Report {
    let Outcome { summary, environment, config, .. } = outcome;
    let mut report = Report::new(folder.file_name().map_or_else(
        || "samtone run".into(),
        |name| format!("Run {}", name.to_string_lossy()),
    ))
    .summary(format!(
        "A dual encoder ({}, {} parameters), trained for {} steps of {} pairs under the {} loss. Data: {}.",
        config.model.sharing.unwrap_or_default(),
        environment.parameters,
        summary.steps,
        config.train.batch_size,
        config.loss_name(),
        config.data.train
    ));
    let value = |name: &str| {
        let row = results.rows.iter().find(|row| row.name == name)?;
        Some(row.values.first().copied()??.value)
    };
    if let Some((name, ours)) = results.metrics.first().zip(value(&config.loss_name())) {
        let bm25 = value(BM25).map_or_else(String::new, |value| format!("BM25 {value:.4}"));
        let (split, _) = summary.judged();
        report = report.highlight(format!("{name} on {split}"), format!("{ours:.4}"), bm25);
    }
    let loss = format!("{:.4} nats", summary.train_loss);
    let speed = format!("{:.0} pairs/s", environment.pairs_per_second);
    report.highlight("training loss", loss, "mean of the last tenth").highlight(
        "speed",
        speed,
        &environment.backend,
    )
}

/// The course of a run's training, and of its baseline's.
fn training(folder: &Path, outcome: &Outcome) -> anyhow::Result<Section> {
    let Outcome { summary, config, .. } = outcome;
    let mut trainings = vec![(config.loss_name(), steps(&folder.join("metrics.jsonl"))?)];
    if let Some(baseline) = &summary.baseline {
        let metrics = folder.join("baseline").join("metrics.jsonl");
        trainings.push((baseline.loss.to_string(), steps(&metrics)?));
    }
    let mut section = Section::new("Training").figure(loss_curves(&trainings));
    if let Some(metric) = config.eval.metrics.first()
        && let Some(figure) = dev_curves(metric, &trainings)
    {
        let start = summary.start.as_ref().and_then(|start| start.on_the_way().get(metric));
        section = section.figure(match start {
            Some(&value) => from_start(figure, value),
            None => figure,
        });
    }
    let norm = curves("Gradient norm", "norm before clipping", &trainings, |s| s.gradient_norm);
    let rate = curves("Learning rate", "learning rate", &trainings, |s| s.lr);
    Ok(section.figure(norm.description("Over all parameters.")).figure(rate))
}

/// What decided a run.
fn setting(folder: &Path, outcome: &Outcome) -> anyhow::Result<Section> {
    let Outcome { environment, config, changed, .. } = outcome;
    let config = serde_json::to_value(config).context("cannot show the configuration")?;
    let environment = serde_json::to_value(environment).context("cannot show the environment")?;
    let mut section = Section::new("Setting");
    if !changed.is_empty() {
        let mut figure = KeyValues::new("Changed from where it started");
        for change in changed {
            let (key, values) = change.split_once(": ").unwrap_or((change, ""));
            figure = figure.row(key.trim_matches('`'), values);
        }
        section = section.figure(figure);
    }
    let mut read = KeyValues::new("What it read").description("BLAKE3 sums, of identity.json.");
    for (name, sum) in Identity::read(folder)?.inputs {
        read = read.row(name, sum);
    }
    let config = KeyValues::from_json("Configuration", &config)
        .description("Every key as resolved, config.toml in the run folder; a dash is no value.");
    let environment = KeyValues::from_json("Environment", &environment);
    Ok(section.figure(config).figure(environment).figure(read))
}

/// BM25's name in the results.
const BM25: &str = "BM25";

/// The name in the results of the model before its first step.
const START: &str = "start";

/// What the run in `folder` scored, with intervals: the trained model, its baselines, other domains.
pub(crate) fn results(
    folder: &Path,
    config: &ExperimentConfig,
    summary: &Summary,
) -> anyhow::Result<MetricTable> {
    let (split, judged) = summary.judged();
    let metrics: Vec<Metric> =
        config.eval.metrics.iter().map(|name| name.parse()).collect::<Result<_, _>>()?;
    let mut table = MetricTable::new(format!("Metrics on {split}"), &config.eval.metrics);
    // Other domains do not compete.
    table.is_ranked = summary.zero_shot.is_empty();
    table.description =
        "Mean over all judged queries, with its 95 % bootstrap interval; the highest is bold."
            .into();
    let mut push = |name: String, is_baseline, folder: &Path, set: &str| {
        let found = Evaluation::read(evaluation_path(folder, set))?;
        let intervals = intervals(&found);
        let estimate = |metric: &Metric| {
            let place = found.metrics().iter().position(|found| found == metric)?;
            let (low, high) = intervals[place];
            Some(Estimate::with_interval(found.means()[place], low, high))
        };
        let values = metrics.iter().map(estimate).collect();
        table.rows.push(MetricRow { name, is_baseline, values });
        anyhow::Ok(())
    };
    if !judged.is_empty() {
        push(config.loss_name(), false, folder, split)?;
        for dims in summary.dims.keys().rev() {
            let name = format!("{}, {dims} dimensions", config.loss_name());
            push(name, false, folder, &format!("dims/{dims}"))?;
        }
        if summary.start.is_some() {
            push(START.into(), true, folder, &format!("start/{split}"))?;
        }
        if let Some(baseline) = &summary.baseline {
            push(baseline.loss.to_string(), true, &folder.join("baseline"), split)?;
        }
    }
    if !summary.bm25.is_empty() {
        push(BM25.into(), true, folder, "bm25")?;
    }
    for name in summary.zero_shot.keys() {
        push(format!("{name} (zero-shot)"), false, folder, &format!("zero-shot/{name}"))?;
    }
    Ok(table)
}

/// What the trained model gained, against the start, the run's own baseline and BM25, on the split that
/// speaks for the run.
pub(crate) fn gains(
    folder: &Path,
    config: &ExperimentConfig,
    summary: &Summary,
) -> anyhow::Result<Vec<Comparison>> {
    let (split, judged) = summary.judged();
    if judged.is_empty() {
        return Ok(Vec::new());
    }
    let mut others = Vec::new();
    if summary.start.is_some() {
        others.push((START.to_owned(), evaluation_path(folder, &format!("start/{split}"))));
    }
    if let Some(baseline) = &summary.baseline {
        let path = evaluation_path(&folder.join("baseline"), split);
        others.push((baseline.loss.to_string(), path));
    }
    if !summary.bm25.is_empty() && split == "test" {
        others.push((BM25.to_owned(), evaluation_path(folder, "bm25")));
    }
    let (own, name) = (Evaluation::read(evaluation_path(folder, split))?, config.loss_name());
    let config = CompareConfig { changes: 0, ..CompareConfig::default() };
    let against = |(other, path): (String, PathBuf)| {
        Ok(compare(&[(&other, &Evaluation::read(path)?), (&name, &own)], &config)?)
    };
    others.into_iter().map(against).collect()
}

/// A difference with its interval and what it is worth.
pub(crate) fn told(row: &ComparedRun) -> String {
    let ComparedRun { difference, interval: (low, high), p, p_holm, .. } = row;
    format!("{difference:+.4} ({low:+.4} to {high:+.4}), p = {p:.4}, {p_holm:.4} after Holm")
}

/// The gains as a figure.
fn gains_figure(gains: &[Comparison]) -> KeyValues {
    let figure = KeyValues::new("What was gained").description(
        "Differences of means over the same queries with their 95 % bootstrap intervals; p of the paired \
         randomisation test, and after Holm's correction over the metrics of a row's comparison.",
    );
    gains.iter().flat_map(|gain| gain.rows.iter().map(move |row| (gain, row))).fold(
        figure,
        |figure, (gain, row)| {
            figure.row(format!("{} against {}", row.metric, gain.baseline), told(row))
        },
    )
}

/// A training's name and its logged steps.
pub(crate) type Training = (String, Vec<StepRecord>);

/// The losses of some trainings over their steps.
pub(crate) fn loss_curves(trainings: &[Training]) -> LearningCurves {
    curves("Loss", "loss (nats)", trainings, |step| step.loss).description(
        "Mean over the steps since the one before. Losses with other candidates are other numbers: \
         compare their course, not their height.",
    )
}

/// The curves of a dev metric from what it was before the first step.
fn from_start(mut figure: LearningCurves, value: f64) -> LearningCurves {
    for curve in &mut figure.curves {
        curve.points.insert(0, (0.0, value));
    }
    figure
}

/// A dev metric of some trainings over their steps, if it was taken on the way.
pub(crate) fn dev_curves(metric: &str, trainings: &[Training]) -> Option<LearningCurves> {
    let judged = |step: &StepRecord| step.dev.contains_key(metric);
    let judged: Vec<Training> = trainings
        .iter()
        .map(|(name, steps)| (name.clone(), steps.iter().filter(|s| judged(s)).cloned().collect()))
        .collect();
    let value = |step: &StepRecord| step.dev[metric];
    let is_there = judged.iter().any(|(_, steps)| !steps.is_empty());
    let title = format!("{metric} on dev");
    is_there.then(|| {
        curves(&title, metric, &judged, value).description("At the evaluations on the way.")
    })
}

fn curves(
    title: &str,
    unit: &str,
    trainings: &[Training],
    value: impl Fn(&StepRecord) -> f64,
) -> LearningCurves {
    trainings.iter().fold(LearningCurves::new(title, "step", unit), |figure, (name, steps)| {
        let points = steps.iter().map(|step| (step.step as f64, value(step))).collect();
        figure.curve(Curve::new(name, points))
    })
}

/// The lines of a `metrics.jsonl`.
pub(crate) fn steps(path: &Path) -> anyhow::Result<Vec<StepRecord>> {
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
