//! Losses × sharing × seeds: the runs of a grid, and the table that compares them.
//!
//! Every cell is a run folder of its own, `<loss>/<sharing>/seed-<n>`, so an interrupted grid goes on
//! where it stood: finished cells are read, the interrupted one resumes.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use samtone_eval::significance::{holm, paired_randomisation};
use samtone_eval::{Evaluation, Metric};
use samtone_model::Sharing;
use serde::Serialize;

use crate::config::ExperimentConfig;
use crate::error::TrainError;
use crate::run::judge::evaluation_path;
use crate::run::run_folder::{SUMMARY, is_begun};
use crate::run::summary::{Metrics, Summary};

/// Random sign patterns of each significance test.
const SAMPLES: usize = 10_000;

/// One run of a grid.
#[derive(Clone, Debug, PartialEq)]
pub struct GridRun {
    /// Name of its loss.
    pub loss: String,
    /// How its towers share parameters.
    pub sharing: Sharing,
    /// Its seed.
    pub seed: u64,
    /// Its run folder.
    pub folder: PathBuf,
    /// Its configuration.
    pub config: ExperimentConfig,
}

impl GridRun {
    /// Whether the run has ended.
    pub fn is_done(&self) -> bool {
        self.folder.join(SUMMARY).is_file()
    }

    /// Whether the run has begun and can be resumed.
    pub fn is_begun(&self) -> bool {
        is_begun(&self.folder)
    }

    fn summary(&self) -> Result<Summary, TrainError> {
        let path = self.folder.join(SUMMARY);
        let failed = |source| TrainError::Read { path: path.clone(), source };
        let bytes = fs::read(&path).map_err(failed)?;
        serde_json::from_slice(&bytes).map_err(|error| failed(error.into()))
    }
}

/// The runs of the grid that `config` describes, under `folder`: seed by seed, so that every loss
/// has a first result early.
pub fn cells(config: &ExperimentConfig, folder: &Path) -> Vec<GridRun> {
    let grid = config.ablate.clone().unwrap_or_default();
    let sharing = if grid.sharing.is_empty() {
        vec![config.model.sharing.unwrap_or_default()]
    } else {
        grid.sharing.clone()
    };
    let seeds = if grid.seeds.is_empty() { vec![config.seed] } else { grid.seeds.clone() };
    let mut cells = Vec::new();
    for &seed in &seeds {
        for &sharing in &sharing {
            for variant in config.variants() {
                let mut own = ExperimentConfig {
                    seed,
                    loss: variant.loss,
                    second_stage: variant.second_stage,
                    ablate: None,
                    ..config.clone()
                };
                own.model.sharing = Some(sharing);
                own.train.baseline = None;
                // The same for all of them, and none is compared with it.
                own.eval.start.get_or_insert(false);
                own.data.token_cache.get_or_insert_with(|| folder.join("tokens"));
                cells.push(GridRun {
                    folder: folder
                        .join(&variant.name)
                        .join(sharing.to_string())
                        .join(format!("seed-{seed}")),
                    loss: variant.name,
                    sharing,
                    seed,
                    config: own,
                });
            }
        }
    }
    cells
}

/// What a grid found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Ablation {
    /// The split that was judged: `test`, or `dev` where there is no test set.
    pub split: &'static str,
    /// The metrics, in the order of the configuration.
    pub metrics: Vec<String>,
    /// The seeds that means and deviations are over.
    pub seeds: Vec<u64>,
    /// The loss that the others are compared with, under the same sharing.
    pub baseline: String,
    /// A row for each loss and sharing.
    pub rows: Vec<AblationRow>,
    /// BM25 on the test set; empty if there is none.
    #[serde(skip_serializing_if = "Metrics::is_empty")]
    pub bm25: Metrics,
}

/// A loss under a way of sharing.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AblationRow {
    /// Name of the loss.
    pub loss: String,
    /// How the towers share parameters.
    pub sharing: Sharing,
    /// What it reached, by metric.
    pub results: BTreeMap<String, AblationResult>,
}

/// A metric over the seeds, and against the baseline.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct AblationResult {
    /// Mean over the seeds.
    pub mean: f64,
    /// Standard deviation over the seeds (n - 1 below the line); none for one seed.
    pub sd: Option<f64>,
    /// Mean difference to the baseline; none for the baseline itself.
    pub difference: Option<f64>,
    /// p-value of the paired randomisation test over queries, each query's values averaged over the
    /// seeds first.
    pub p: Option<f64>,
    /// That p-value after Holm's correction over all rows and metrics.
    pub p_holm: Option<f64>,
}

/// Puts the table of `cells` together; all of them have ended.
///
/// # Errors
/// A result that cannot be read.
///
/// # Panics
/// If there is no cell.
pub fn table(config: &ExperimentConfig, cells: &[GridRun]) -> Result<Ablation, TrainError> {
    let baseline = config.compared_loss();
    let first = cells.first().expect("a grid has a cell").summary()?;
    let (split, _) = first.judged();
    let metrics = config.eval.metrics.clone();
    let mut keys: Vec<(&str, Sharing)> = Vec::new();
    let mut seeds = Vec::new();
    for cell in cells {
        if !keys.contains(&(&cell.loss, cell.sharing)) {
            keys.push((&cell.loss, cell.sharing));
        }
        if !seeds.contains(&cell.seed) {
            seeds.push(cell.seed);
        }
    }
    let rows: Vec<Vec<SeedValues>> = keys
        .iter()
        .map(|&(loss, sharing)| {
            let own = cells.iter().filter(|cell| cell.loss == loss && cell.sharing == sharing);
            let found: Vec<Evaluation> = own
                .map(|cell| Evaluation::read(evaluation_path(&cell.folder, split)))
                .collect::<Result<_, _>>()?;
            metrics.iter().map(|metric| SeedValues::new(&found, metric)).collect()
        })
        .collect::<Result<_, TrainError>>()?;

    let mut table = Vec::new();
    for (&(loss, sharing), values) in keys.iter().zip(&rows) {
        let against = keys.iter().position(|&key| key == (baseline.as_str(), sharing));
        let against = against.filter(|_| loss != baseline).map(|place| &rows[place]);
        let results = metrics.iter().enumerate().map(|(place, metric)| {
            let own = &values[place];
            let other = against.map(|rows| &rows[place]);
            (metric.clone(), own.against(other))
        });
        table.push(AblationRow { loss: loss.into(), sharing, results: results.collect() });
    }
    correct(&mut table);
    Ok(Ablation { split, metrics, seeds, baseline, rows: table, bm25: first.bm25 })
}

/// Fills in Holm's correction over the whole table.
fn correct(table: &mut [AblationRow]) {
    let results = || table.iter().flat_map(|row| row.results.values());
    let corrected = holm(&results().filter_map(|result| result.p).collect::<Vec<_>>());
    let mut corrected = corrected.into_iter();
    for result in table.iter_mut().flat_map(|row| row.results.values_mut()) {
        result.p_holm = result.p.and_then(|_| corrected.next());
    }
}

/// One metric of one row.
struct SeedValues {
    /// The mean over queries, for each seed.
    means: Vec<f64>,
    /// The mean over seeds, for each query.
    queries: Vec<f64>,
}

impl SeedValues {
    fn new(found: &[Evaluation], metric: &str) -> Result<Self, TrainError> {
        let metric: Metric = metric.parse()?;
        let means = found.iter().filter_map(|found| found.mean(metric)).collect();
        let mut queries: Vec<f64> = Vec::new();
        for values in found.iter().filter_map(|found| found.values(metric)) {
            queries.resize(values.len(), 0.0);
            let share = 1.0 / found.len() as f64;
            queries.iter_mut().zip(values).for_each(|(sum, value)| *sum += share * value);
        }
        Ok(Self { means, queries })
    }

    fn against(&self, baseline: Option<&Self>) -> AblationResult {
        let n = self.means.len() as f64;
        let mean = self.means.iter().sum::<f64>() / n;
        let squares: f64 = self.means.iter().map(|value| (value - mean).powi(2)).sum();
        let differences: Option<Vec<f64>> = baseline.map(|baseline| {
            self.queries.iter().zip(&baseline.queries).map(|(own, other)| own - other).collect()
        });
        AblationResult {
            mean,
            sd: (n > 1.0).then(|| (squares / (n - 1.0)).sqrt()),
            difference: differences.as_ref().map(|d| d.iter().sum::<f64>() / d.len().max(1) as f64),
            p: differences.map(|differences| paired_randomisation(&differences, SAMPLES, 0)),
            p_holm: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Configuration;

    fn config(text: &str) -> Result<ExperimentConfig, TrainError> {
        ExperimentConfig::parse(text, Path::new("x.toml"), &[])
    }

    #[test]
    fn a_grid_has_a_run_for_every_loss_sharing_and_seed() {
        let config = config(
            "[ablate]
            losses = [\"in-batch\", \"samtone\", { name = \"pair-two-stages\", loss = { preset = \"pair\" }, second_stage = { loss = { preset = \"pair\", alpha = 0.0 } } }]
            sharing = [\"sde\", \"ade\"]
            seeds = [1, 2]",
        )
        .unwrap();
        let cells = cells(&config, Path::new("grid"));
        assert_eq!(cells.len(), 12);
        let pair = &cells[11];
        assert_eq!(pair.folder, Path::new("grid/pair-two-stages/ade/seed-2"));
        assert_eq!((pair.config.seed, pair.config.model.sharing), (2, Some(Sharing::Ade)));
        let second = pair.config.second_stage.as_ref().unwrap();
        assert_eq!((second.share, second.loss.alpha), (0.5, Some(0.0)));
        assert_eq!(cells[0].config.second_stage, None);
    }

    #[test]
    fn mistakes_in_a_grid_are_named() {
        let error = |text| config(text).unwrap_err();
        let twice = error("[ablate]\nlosses = [\"samtone\", \"samtone\"]").to_string();
        assert_eq!(twice, "`x.toml`: `ablate.losses`: two are called `samtone`");
        let unknown = error("[ablate]\nlosses = [\"samton\"]");
        assert_eq!(unknown.hint().as_deref(), Some("did you mean `samtone`?"));
        let baseline = error("[ablate]\nlosses = [\"samtone\"]\nbaseline = \"x\"").to_string();
        let expected = "`x.toml`: `ablate.baseline` is `x`: expected one of `samtone`";
        assert_eq!(baseline, expected);
    }

    #[test]
    fn a_row_is_compared_query_by_query() {
        // Two seeds; the values of 6 queries averaged over them.
        let baseline = SeedValues { means: vec![0.2, 0.2], queries: vec![0.2; 6] };
        let better = SeedValues { means: vec![0.4, 0.5], queries: vec![0.45; 6] };
        let found = better.against(Some(&baseline));
        assert!((found.mean - 0.45).abs() < 1e-12);
        assert!((found.sd.unwrap() - 0.005_f64.sqrt()).abs() < 1e-12);
        assert!((found.difference.unwrap() - 0.25).abs() < 1e-12);
        // All 6 signs alike: 2 of 64 patterns.
        assert_eq!(found.p, Some(2.0 / 64.0));
        assert_eq!(baseline.against(None).p, None);
    }
}
