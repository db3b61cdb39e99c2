//! What runs score on every data set that they were judged on.

use samtone_eval::significance::{CompareConfig, Comparison, compare};
use samtone_eval::{Evaluation, Metric};
use samtone_report::{Better, Table, TableCell, TableColumn};
use samtone_train::run::{JudgedSet, evaluation_path};

use super::NamedRun;
use crate::run_report::SIGNIFICANT;

/// The data sets of some runs: what has other documents, queries or judgments is another set.
pub(super) struct Leaderboard {
    metric: Metric,
    sets: Vec<Judged>,
}

/// A data set and what runs scored on it.
pub(super) struct Judged {
    /// What it is called.
    pub(super) name: String,
    /// What makes it this set and no other.
    key: Key,
    /// By the place of the run; none of a run that was not judged on it.
    pub(super) found: Vec<Option<Evaluation>>,
    /// By the place of the run: against the first run, in all metrics that both have.
    pub(super) against_first: Vec<Option<Comparison>>,
}

/// What makes a data set this one: what its judgments add up to, and the sum of all that it holds, or
/// its name where a run did not note one.
type Key = (u64, String);

impl Leaderboard {
    /// Reads what was judged of every run: the split that speaks for it, and its zero-shot sets.
    ///
    /// # Errors
    /// A result that cannot be read.
    pub(super) fn read(runs: &[NamedRun]) -> anyhow::Result<Self> {
        let metric = runs[0].files.config.eval.leading().unwrap_or(Metric::MRR_10);
        let mut board = Self { metric, sets: Vec::new() };
        for (place, run) in runs.iter().enumerate() {
            let Some(summary) = &run.files.summary else { continue };
            let (split, judged) = summary.judged();
            let data = &run.files.config.data;
            let own = if split == "test" { data.test_set() } else { data.dev_set() };
            if let Some((path, own)) = own.filter(|_| !judged.is_empty()) {
                let name = format!("{}, {own}", samtone_train::config::set_name(path));
                let path = evaluation_path(&run.files.folder, split);
                let sum = sum(run, |set| set.role == split);
                board.add(name, sum, Evaluation::read(path)?, place, runs.len());
            }
            for name in summary.zero_shot.keys() {
                let path = evaluation_path(&run.files.folder, &format!("zero-shot/{name}"));
                let sum = sum(run, |set| set.role == "zero-shot" && set.name == *name);
                board.add(format!("{name}, test"), sum, Evaluation::read(path)?, place, runs.len());
            }
        }
        for set in &mut board.sets {
            set.compare(runs);
        }
        Ok(board)
    }

    fn add(
        &mut self,
        name: String,
        sum: Option<String>,
        found: Evaluation,
        place: usize,
        runs: usize,
    ) {
        let key = (found.qrels(), sum.unwrap_or_else(|| name.clone()));
        // What a run was judged on twice, as its own set and elsewhere, stays what it was first.
        let at = self.sets.iter().position(|set| set.key == key).unwrap_or_else(|| {
            let namesakes = self.sets.iter().filter(|set| set.name.starts_with(&name)).count();
            let name = if namesakes > 0 { format!("{name} ({})", namesakes + 1) } else { name };
            let none = || std::iter::repeat_with(|| None).take(runs);
            let (found, against_first) = (none().collect(), (0..runs).map(|_| None).collect());
            self.sets.push(Judged { name, key, found, against_first });
            self.sets.len() - 1
        });
        self.sets[at].found[place].get_or_insert(found);
    }

    /// The set that the first run with results was judged on: the others are compared there.
    pub(super) fn own(&self) -> Option<&Judged> {
        self.sets.first()
    }

    /// A column a data set, where there are several.
    pub(super) fn figure(&self, runs: &[NamedRun]) -> Option<Table> {
        if self.sets.len() < 2 {
            return None;
        }
        let better = |name: &str| TableColumn::new(name).better(Better::Higher);
        let columns = self.sets.iter().map(|set| better(&set.name));
        let columns = [TableColumn::new("run"), better("mean of all")].into_iter().chain(columns);
        let table = Table::new(format!("{} by data set", self.metric), columns).description(
            "Bold is the best of a column, a star a difference to the first run that is significant (p < 0.05 \
             after Holm's correction over its metrics). The mean is of the runs that were judged on every set.",
        );
        let rows = runs.iter().enumerate().map(|(place, run)| {
            let cells: Vec<TableCell> =
                self.sets.iter().map(|set| set.cell(place, self.metric)).collect();
            let values: Option<Vec<f64>> = cells.iter().map(|cell| cell.number).collect();
            let mean = values.map_or_else(TableCell::default, |values| {
                TableCell::number(values.iter().sum::<f64>() / values.len() as f64)
            });
            [TableCell::text(&run.name).file(&run.page), mean]
                .into_iter()
                .chain(cells)
                .collect::<Vec<_>>()
        });
        Some(rows.fold(table, Table::row))
    }
}

/// The sum of the judged set of `run` that is meant, if the run noted it.
fn sum(run: &NamedRun, is_meant: impl Fn(&JudgedSet) -> bool) -> Option<String> {
    let set = run.files.data.as_ref()?.judged.iter().find(|set| is_meant(set))?;
    Some(set.sum.clone()).filter(|sum| !sum.is_empty())
}

impl Judged {
    /// Compares every run with the first that was judged on the set.
    fn compare(&mut self, runs: &[NamedRun]) {
        let Some(first) = self.found.first().and_then(Option::as_ref) else { return };
        let config = CompareConfig { changes: 0, ..CompareConfig::default() };
        let against = |(place, found): (usize, &Option<Evaluation>)| {
            let found = found.as_ref().filter(|_| place > 0)?;
            let (first_name, name) = (&*runs[0].name, &*runs[place].name);
            // Runs that share no metric or count other queries are not compared.
            compare(&[(first_name, first), (name, found)], &config).ok()
        };
        self.against_first = self.found.iter().enumerate().map(against).collect();
    }

    /// What the run at `place` scored in `metric`, with a star where that is another value than the first
    /// run's by more than chance.
    pub(super) fn cell(&self, place: usize, metric: Metric) -> TableCell {
        let Some(value) = self.found[place].as_ref().and_then(|found| found.mean(metric)) else {
            return TableCell::default();
        };
        let name = metric.to_string();
        let against = self.against_first[place].as_ref();
        let row = against.and_then(|against| against.rows.iter().find(|row| row.metric == name));
        let cell = TableCell::number(value);
        if row.is_some_and(|row| row.p_holm < SIGNIFICANT) { cell.significant() } else { cell }
    }
}
