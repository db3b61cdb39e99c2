//! A row a run.

use samtone_eval::Metric;
use samtone_report::{Table, TableCell, TableColumn};

use super::NamedRun;
use super::leaderboard::Judged;
use crate::run_report::metric_column;
use crate::words::{bytes, duration, grouped};

/// Results, course and cost of every run.
pub(super) fn runs(runs: &[NamedRun], own: Option<&Judged>) -> Table {
    let metrics: Vec<Metric> =
        runs[0].files.config.eval.metrics.iter().filter_map(|name| name.parse().ok()).collect();
    let metrics = if own.is_some() { metrics } else { Vec::new() };
    let columns = metrics.iter().copied().map(metric_column);
    let columns = ["run", "state"].map(TableColumn::new).into_iter().chain(columns);
    let more = ["training loss", "steps", "duration", "pairs/s", "memory", "parameters"];
    let title = own.map_or_else(|| "Runs".into(), |own| format!("Runs on {}", own.name));
    let table = Table::new(title, columns.chain(more.map(TableColumn::new))).description(
        "Bold is the best of a column. A star: the difference to the first run is significant (p < 0.05 of \
         the paired randomisation test, after Holm's correction over the metrics). Runs that were judged on \
         another set have a dash.",
    );
    runs.iter().enumerate().fold(table, |table, (place, run)| {
        let files = &run.files;
        let scores =
            metrics.iter().map(|&m| own.map_or_else(TableCell::default, |own| own.cell(place, m)));
        let loss = files.summary.as_ref().map(|summary| summary.train_loss).or(files.status.loss);
        let steps = files.summary.as_ref().map_or(files.status.step, |summary| summary.steps);
        let environment = files.environment.as_ref();
        let of = |value: Option<f64>, text: &dyn Fn(f64) -> String| {
            value.map_or_else(TableCell::default, |value| TableCell::shown(text(value), value))
        };
        let speed = environment.map(|e| e.pairs_per_second).or(files.status.pairs_per_second);
        let memory = environment.and_then(|e| e.peak_rss_bytes);
        let parameters = environment.map(|e| e.parameters);
        let row = [
            TableCell::text(&run.name).file(&run.page),
            TableCell::text(files.status.state.name()),
        ]
        .into_iter()
        .chain(scores)
        .chain([
            loss.map_or_else(TableCell::default, TableCell::number),
            TableCell::shown(grouped(steps), steps as f64),
            of(environment.map(|e| e.total_seconds), &duration),
            of(speed, &|speed| format!("{speed:.0}")),
            memory
                .map_or_else(TableCell::default, |held| TableCell::shown(bytes(held), held as f64)),
            parameters.map_or_else(TableCell::default, |n| TableCell::shown(grouped(n), n as f64)),
        ]);
        table.marked_row(if place == 0 { "first" } else { "" }, row)
    })
}
