//! Every run against every other.

use samtone_eval::Evaluation;
use samtone_eval::significance::{CompareConfig, compare, holm};
use samtone_report::{Table, TableCell, TableColumn};

use super::NamedRun;
use super::leaderboard::Judged;
use crate::run_report::{SIGNIFICANT, signed};

/// Runs in the table: of more, the best.
const MOST: usize = 12;

/// Differences of the leading metric, those of a row less those of a column; none of fewer than three runs,
/// which the table of runs compares already.
///
/// # Errors
/// Runs that cannot be compared.
pub(super) fn figure(runs: &[NamedRun], own: Option<&Judged>) -> anyhow::Result<Option<Table>> {
    let metric = runs[0].files.config.eval.leading();
    let (Some(own), Some(metric)) = (own, metric) else { return Ok(None) };
    let mut judged: Vec<(&NamedRun, Evaluation, f64)> = Vec::new();
    for (run, found) in runs.iter().zip(&own.found) {
        let Some(found) = found else { continue };
        let Some(mean) = found.mean(metric) else { continue };
        judged.push((run, found.select(&[metric])?, mean));
    }
    if judged.len() < 3 {
        return Ok(None);
    }
    let all = judged.len();
    judged.sort_by(|a, b| b.2.total_cmp(&a.2));
    judged.truncate(MOST);

    let config = CompareConfig { changes: 0, ..CompareConfig::default() };
    let mut pairs = Vec::new();
    for (i, (run, found, _)) in judged.iter().enumerate() {
        for (j, (other, others, _)) in judged.iter().enumerate().skip(i + 1) {
            // Runs that count other queries are not compared.
            let of_both = [(&*other.name, others), (&*run.name, found)];
            let Ok(compared) = compare(&of_both, &config) else { continue };
            pairs.push((i, j, compared.rows[0].difference, compared.rows[0].p));
        }
    }
    let corrected = holm(&pairs.iter().map(|pair| pair.3).collect::<Vec<_>>());
    let cell = |row: usize, column: usize| {
        let place =
            pairs.iter().position(|pair| (pair.0, pair.1) == (row.min(column), row.max(column)));
        let Some(place) = place else { return TableCell::default() };
        let difference = if row < column { pairs[place].2 } else { -pairs[place].2 };
        let text = format!("{} (p {:.4})", signed(difference), corrected[place]);
        let cell = TableCell::shown(text, difference);
        if corrected[place] < SIGNIFICANT { cell.significant() } else { cell }
    };
    let columns = judged.iter().map(|(run, ..)| TableColumn::new(format!("minus {}", run.name)));
    let which = if all > judged.len() {
        format!("The {} best of {all} runs", judged.len())
    } else {
        "All runs".into()
    };
    let title = format!("{metric} of every run against every other");
    let table = Table::new(title, [TableColumn::new("run")].into_iter().chain(columns)).description(format!(
        "{which}, the best first: a row's mean minus a column's, and p of the paired randomisation test \
         after Holm's correction over all pairs. A star: below 0.05.",
    ));
    let rows = judged.iter().enumerate().map(|(row, (run, ..))| {
        let cells = (0..judged.len()).map(|column| cell(row, column));
        std::iter::once(TableCell::text(&run.name)).chain(cells).collect::<Vec<_>>()
    });
    Ok(Some(rows.fold(table, Table::row)))
}
