//! What a run scored and gained: tables for pages and for the terminal.

use std::path::{Path, PathBuf};

use samtone_eval::significance::{CompareConfig, ComparedRun, Comparison, compare};
use samtone_eval::{Evaluation, Metric};
use samtone_report::{
    Better, Estimate, MetricRow, MetricTable, Section, Table, TableCell, TableColumn,
};
use samtone_train::config::ExperimentConfig;
use samtone_train::run::{Summary, evaluation_path};

use crate::commands::eval::intervals;
use crate::run_files::RunFiles;
use crate::words::grouped;

/// BM25's name in the results.
pub(super) const BM25: &str = "BM25";

/// The name in the results of the model before its first step.
pub(super) const START: &str = "start";

/// What a run scored, with intervals.
pub(crate) struct Results {
    /// The trained model and what it is compared with, on the split that speaks for the run.
    pub(crate) own: MetricTable,
    /// The trained model cut to fewer dimensions; empty if it was not.
    pub(crate) dims: MetricTable,
    /// The trained model on other domains; empty if there are none.
    pub(crate) zero_shot: MetricTable,
}

/// What the run in `folder` scored: the trained model, its baselines, other domains.
pub(crate) fn results(
    folder: &Path,
    config: &ExperimentConfig,
    summary: &Summary,
) -> anyhow::Result<Results> {
    let (split, judged) = summary.judged();
    let metrics: Vec<Metric> =
        config.eval.metrics.iter().map(|name| name.parse()).collect::<Result<_, _>>()?;
    let table = |title: String| MetricTable::new(title, &config.eval.metrics);
    let quality = metrics.iter().filter(|metric| metric.is_quality()).map(Metric::to_string);
    let mut own = table(format!("Metrics on {split}")).ranked_by(quality).description(
        "Mean over all judged queries, with its 95 % bootstrap interval; the highest is bold.",
    );
    let mut dims = table(format!("Fewer dimensions on {split}"))
        .description("Embeddings cut to their first numbers, with 95 % bootstrap intervals.");
    // Other domains do not compete.
    let mut zero_shot = table("Zero-shot".into())
        .description("The trained model on the test sets of other domains.");
    let row = |name: String, is_baseline, folder: &Path, set: &str| {
        let found = Evaluation::read(evaluation_path(folder, set))?;
        let intervals = intervals(&found);
        let estimate = |metric: &Metric| {
            let place = found.metrics().iter().position(|found| found == metric)?;
            let (low, high) = intervals[place];
            Some(Estimate::with_interval(found.means()[place], low, high))
        };
        let values = metrics.iter().map(estimate).collect();
        anyhow::Ok(MetricRow { name, is_baseline, values })
    };
    if !judged.is_empty() {
        let name = config.loss_name();
        own.rows.push(row(name.clone(), false, folder, split)?);
        for cut in summary.dims.keys().rev() {
            let name = format!("{name}, {cut} dimensions");
            dims.rows.push(row(name, false, folder, &format!("dims/{cut}"))?);
        }
        if summary.start.is_some() {
            own.rows.push(row(START.into(), true, folder, &format!("start/{split}"))?);
        }
        if let Some(baseline) = &summary.baseline {
            let beside = folder.join("baseline");
            own.rows.push(row(baseline.loss.to_string(), true, &beside, split)?);
        }
    }
    if !summary.bm25.is_empty() {
        own.rows.push(row(BM25.into(), true, folder, "bm25")?);
    }
    for name in summary.zero_shot.keys() {
        let set = format!("zero-shot/{name}");
        zero_shot.rows.push(row(format!("{name} (zero-shot)"), false, folder, &set)?);
    }
    Ok(Results { own, dims, zero_shot })
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

/// Below it a difference is called significant, after Holm's correction.
pub(crate) const SIGNIFICANT: f64 = 0.05;

/// The results of a run: what it is worth, what was gained, on the way and elsewhere.
pub(super) fn section(run: &RunFiles, results: Results, gains: &[Comparison]) -> Section {
    let Results { own, dims, zero_shot } = results;
    let mut section = Section::new("Results");
    if !own.rows.is_empty() {
        section = section.figure(own);
    }
    if !gains.is_empty() {
        section = section.figure(gained(gains));
    }
    for table in [dims, zero_shot].into_iter().filter(|table| !table.rows.is_empty()) {
        section = section.figure(table);
    }
    let dev = dev_values(run);
    if dev.rows.is_empty() { section } else { section.figure(dev) }
}

/// The dev evaluations so far of a run that goes on.
pub(super) fn on_the_way(run: &RunFiles) -> Section {
    let dev = dev_values(run);
    let section = Section::new("Results");
    if dev.rows.is_empty() { section } else { section.figure(dev) }
}

/// The gains, a row a metric and opponent.
fn gained(gains: &[Comparison]) -> Table {
    let columns = ["metric", "against", "its mean", "own mean", "difference", "95 % interval"];
    let more = ["p", "p (Holm)", "won", "equal", "lost"];
    let table = Table::new("What was gained", columns.into_iter().chain(more).map(TableColumn::new))
        .description(
            "Differences of means over the same queries with their 95 % bootstrap intervals; p of the \
             paired randomisation test, and after Holm's correction over the metrics of a comparison. A \
             star: below 0.05 after it.",
        );
    let rows = gains.iter().flat_map(|gain| gain.rows.iter().map(move |row| (gain, row)));
    rows.fold(table, |table, (gain, row)| {
        let difference = TableCell::shown(signed(row.difference), row.difference);
        let (low, high) = row.interval;
        let counts = [row.wins, row.ties, row.losses];
        let cells = [
            TableCell::text(&row.metric),
            TableCell::text(&gain.baseline),
            TableCell::number(row.baseline),
            TableCell::number(row.mean),
            if row.p_holm < SIGNIFICANT { difference.significant() } else { difference },
            TableCell::shown(format!("{} to {}", signed(low), signed(high)), low),
            TableCell::shown(format!("{:.4}", row.p), row.p),
            TableCell::shown(format!("{:.4}", row.p_holm), row.p_holm),
        ];
        table
            .row(cells.into_iter().chain(counts.map(|n| TableCell::shown(n.to_string(), n as f64))))
    })
}

/// The column of a metric: its best number is bold where it says how good a ranking is.
pub(crate) fn metric_column(metric: Metric) -> TableColumn {
    let column = TableColumn::new(metric.to_string());
    if metric.is_quality() { column.better(Better::Higher) } else { column }
}

/// A number with its sign.
pub(crate) fn signed(value: f64) -> String {
    // Zero has no minus.
    format!("{:+.4}", value + 0.0).replace('-', "−")
}

/// The dev evaluations of a run's own training, the best step marked.
fn dev_values(run: &RunFiles) -> Table {
    let metrics = &run.config.eval.metrics;
    let known = metrics.iter().filter_map(|name| name.parse().ok());
    let columns = known.map(metric_column);
    let mut table =
        Table::new("Dev evaluations", [TableColumn::new("step")].into_iter().chain(columns))
            .description("At the evaluations on the way; the highest of a column is bold.");
    let summary = run.summary.as_ref();
    let cells = |step: usize, values: &samtone_train::run::Metrics| {
        let values = metrics.iter().map(|name| values.get(name).copied());
        let values = values.map(|value| value.map_or_else(TableCell::default, TableCell::number));
        let step = TableCell::shown(grouped(step), step as f64);
        std::iter::once(step).chain(values).collect::<Vec<_>>()
    };
    let start = summary.and_then(|summary| summary.start.as_ref());
    let judged: Vec<_> = run.steps().iter().filter(|step| !step.dev.is_empty()).collect();
    if let Some(start) = start.filter(|start| !judged.is_empty() && !start.on_the_way().is_empty())
    {
        table = table.marked_row(START, cells(0, start.on_the_way()));
    }
    let best = summary.and_then(|summary| summary.best.as_ref());
    for step in judged {
        let is_best = best.is_some_and(|best| best.step == step.step);
        table = table.marked_row(if is_best { "best" } else { "" }, cells(step.step, &step.dev));
    }
    if let Some(best) = best {
        table.description +=
            &format!(" The model is that of the step marked as best, by {}.", best.metric);
    }
    table
}
