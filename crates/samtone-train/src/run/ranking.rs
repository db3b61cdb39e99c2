//! What a system found for each query of the split that speaks for a run.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use samtone_eval::search::Hit;
use serde::{Deserialize, Serialize};

use crate::error::TrainError;
use crate::run::prepare::TestSet;
use crate::run::search_split::JudgedSplit;

/// Documents kept of a ranking.
pub(crate) const KEPT: usize = 20;

/// A line of `rankings/SYSTEM.jsonl` in a run folder: what a system found for a query.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Found {
    /// The query's id.
    pub(crate) query: String,
    /// Rank and score of every right document that was found, best first.
    pub(crate) right: Vec<(String, usize, f32)>,
    /// The first documents with their scores.
    pub(crate) first: Vec<(String, f32)>,
}

/// The file in which the run in `folder` keeps what `system` found: `model`, `start` or `bm25`; the other
/// loss of `train.baseline` has its own in the run folder's `baseline`.
pub(crate) fn path(folder: &Path, system: &str) -> PathBuf {
    folder.join("rankings").join(format!("{system}.jsonl"))
}

/// Writes what was found for the judged queries of `set`.
///
/// # Errors
/// [`TrainError::Write`].
pub(crate) fn keep(set: &TestSet, hits: &[Vec<Hit>], path: &Path) -> Result<(), TrainError> {
    let failed = |source| TrainError::Write { path: path.into(), source };
    fs::create_dir_all(path.parent().expect("a ranking lies in a folder")).map_err(failed)?;
    let split = JudgedSplit::new(&set.dataset, &set.split);
    let relevant = relevant(set);
    let id = |hit: &Hit| set.dataset.document(hit.index).id.to_owned();
    let mut lines = Vec::new();
    for (&query, hits) in split.queries().iter().zip(hits) {
        let is_right = |hit: &Hit| relevant.get(&query).is_some_and(|of| of.contains(&hit.index));
        let ranked = hits.iter().enumerate().filter(|(_, hit)| is_right(hit));
        let found = Found {
            query: set.dataset.queries()[query].id.clone(),
            right: ranked.map(|(place, hit)| (id(hit), place + 1, hit.score)).collect(),
            first: hits.iter().take(KEPT).map(|hit| (id(hit), hit.score)).collect(),
        };
        serde_json::to_writer(&mut lines, &found).expect("a ranking is representable as JSON");
        lines.push(b'\n');
    }
    samtone_files::replace(path, &lines).map_err(failed)
}

/// The documents that are judged relevant to each query of `set`.
pub(crate) fn relevant(set: &TestSet) -> HashMap<usize, Vec<usize>> {
    let mut relevant: HashMap<usize, Vec<usize>> = HashMap::new();
    for judgment in set.dataset.judgments(&set.split).iter().filter(|judged| judged.grade >= 1) {
        relevant.entry(judgment.query).or_default().push(judgment.document);
    }
    relevant
}

/// What was kept at `path`, query by query; nothing if there is no such file.
///
/// # Errors
/// [`TrainError::Read`].
pub(crate) fn read(path: &Path) -> Result<Vec<Found>, TrainError> {
    let failed = |source| TrainError::Read { path: path.into(), source };
    if !path.is_file() {
        return Ok(Vec::new());
    }
    let text = fs::read_to_string(path).map_err(failed)?;
    let line = |line| serde_json::from_str(line).map_err(|error| failed(error.into()));
    text.lines().map(line).collect()
}
