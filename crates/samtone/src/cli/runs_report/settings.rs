//! Where the configurations of runs differ.

use std::collections::BTreeMap;

use anyhow::Context;
use samtone_report::{KeyValues, Table, TableCell, TableColumn};

use super::NamedRun;
use super::leaderboard::Judged;
use crate::run_report::metric_column;

/// A row a run, a column a key that differs, beside what it came to; none if nothing differs.
///
/// # Errors
/// A configuration that cannot be shown.
pub(super) fn figure(runs: &[NamedRun], own: Option<&Judged>) -> anyhow::Result<Option<Table>> {
    let configs: Vec<BTreeMap<String, String>> =
        runs.iter().map(leaves).collect::<anyhow::Result<_>>()?;
    let keys: std::collections::BTreeSet<&String> =
        configs.iter().flat_map(BTreeMap::keys).collect();
    let differs =
        |key: &&String| configs.iter().any(|config| config.get(*key) != configs[0].get(*key));
    let keys: Vec<&String> = keys.into_iter().filter(differs).collect();
    if keys.is_empty() {
        return Ok(None);
    }
    let score = runs[0].files.config.eval.leading().zip(own);
    let better = score.map(|(metric, _)| metric_column(metric));
    let columns = [TableColumn::new("run")].into_iter().chain(better);
    let columns = columns.chain(keys.iter().map(|key| TableColumn::new(key.as_str())));
    let table = Table::new("Settings that differ", columns)
        .description("The keys of the resolved configurations that are not the same in all runs.");
    let rows = runs.iter().zip(&configs).enumerate().map(|(place, (run, config))| {
        let value = |key: &&String| match config.get(*key) {
            None => TableCell::default(),
            Some(text) => match text.parse() {
                Ok(number) => TableCell::shown(text, number),
                Err(_) => TableCell::text(text),
            },
        };
        let score = score.map(|(metric, own)| own.cell(place, metric));
        let name = TableCell::text(&run.name).file(&run.page);
        [name].into_iter().chain(score).chain(keys.iter().map(value)).collect::<Vec<_>>()
    });
    Ok(Some(rows.fold(table, Table::row)))
}

/// Every key of a run's configuration that has a value, and where its files lie aside.
fn leaves(run: &NamedRun) -> anyhow::Result<BTreeMap<String, String>> {
    let config =
        serde_json::to_value(&run.files.config).context("cannot show the configuration")?;
    let rows = KeyValues::from_json("", &config).rows.into_iter();
    let rows = rows.filter(|row| row.value != "–" && row.name != "data.token_cache");
    Ok(rows.map(|row| (row.name, row.value)).collect())
}
