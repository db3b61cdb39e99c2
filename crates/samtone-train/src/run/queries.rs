//! Queries to look at: those that a run won and lost most clearly, and those that it answers worst.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};

use samtone_eval::{Evaluation, Metric};
use serde::{Deserialize, Serialize};

use crate::config::ExperimentConfig;
use crate::error::TrainError;
use crate::run::judge::evaluation_path;
use crate::run::prepare::{Prepared, TestSet};
use crate::run::ranking::{self, Found};
use crate::run::run_folder::RunFolder;
use crate::run::summary::Summary;

/// `queries.json` of a run folder: chosen queries of the split that speaks for the run, with what every
/// system found for them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ShownQueries {
    /// The split.
    pub split: String,
    /// The metric that they were chosen by.
    pub metric: String,
    /// Judged queries in all.
    pub judged: usize,
    /// The systems: the trained model, then what it is compared with.
    pub systems: Vec<String>,
    /// The queries.
    pub queries: Vec<ShownQuery>,
    /// The texts of all documents that they name, by id; long ones are cut.
    pub documents: BTreeMap<String, String>,
}

/// One of [`ShownQueries`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ShownQuery {
    /// Its id.
    pub id: String,
    /// Its text.
    pub text: String,
    /// What it was chosen as: `won against SYSTEM`, `lost against SYSTEM` or `worst`.
    pub groups: Vec<String>,
    /// Ids of the documents that are judged relevant.
    pub right: Vec<String>,
    /// What each system found.
    pub found: Vec<ShownRanking>,
}

/// What a system found for a [`ShownQuery`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ShownRanking {
    /// The query's value of the metric.
    pub value: f64,
    /// Id, rank (from 1) and score of each right document that was found, best first.
    pub right: Vec<(String, usize, f32)>,
    /// The first documents.
    pub first: Vec<ShownDocument>,
}

/// A document that a system found.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ShownDocument {
    /// Its id.
    pub id: String,
    /// Its score.
    pub score: f32,
    /// Its rank by BM25 (from 1), among the first that are kept of that.
    pub bm25_rank: Option<usize>,
    /// Whether it reads as a right one does, and is not judged.
    pub is_copy: bool,
    /// Whether it is the positive of a training pair.
    pub is_trained: bool,
}

/// The file in a run folder.
const FILE: &str = "queries.json";

/// Queries chosen of each group.
const GROUP: usize = 20;

/// Documents shown of a ranking.
const FIRST: usize = 4;

/// Right documents named of a query: some have hundreds.
const RIGHT: usize = 5;

/// Characters kept of a text.
const CHARS: usize = 600;

impl ShownQueries {
    /// Those of the run in `folder`; none of a run that had none or was made before they were written.
    pub fn read(folder: &Path) -> Option<Self> {
        serde_json::from_slice(&std::fs::read(folder.join(FILE)).ok()?).ok()
    }
}

/// BM25 among the systems.
const BM25: &str = "BM25";

/// What a system scored and found, query by query.
struct System {
    name: String,
    values: HashMap<String, f64>,
    found: HashMap<String, Found>,
}

impl System {
    /// None if it was not judged or its rankings were not kept.
    fn read(
        name: String,
        metric: Metric,
        evaluation: PathBuf,
        ranking: PathBuf,
    ) -> Result<Option<Self>, TrainError> {
        let found = ranking::read(&ranking)?;
        if found.is_empty() || !evaluation.is_file() {
            return Ok(None);
        }
        let found_values = Evaluation::read(evaluation)?;
        let Some(place) = found_values.metrics().iter().position(|&known| known == metric) else {
            return Ok(None);
        };
        let values = found_values.per_query();
        let values = values.map(|(query, values)| (query.into(), values[place].unwrap_or(0.0)));
        let found = found.into_iter().map(|found| (found.query.clone(), found)).collect();
        Ok(Some(Self { name, values: values.collect(), found }))
    }

    fn value(&self, query: &str) -> f64 {
        self.values.get(query).copied().unwrap_or(0.0)
    }

    /// The rank of the first right document; behind all if there is none.
    fn rank(&self, query: &str) -> usize {
        let first = self.found.get(query).and_then(|found| found.right.first());
        first.map_or(usize::MAX, |right| right.1)
    }
}

/// Chooses the queries of a run that has been judged and writes them into its `folder`.
///
/// # Errors
/// Files of the folder that cannot be read or written.
pub(crate) fn keep(
    folder: &RunFolder<'_>,
    prepared: &Prepared,
    config: &ExperimentConfig,
    summary: &Summary,
) -> Result<(), TrainError> {
    let Some(set) = prepared.speaking() else { return Ok(()) };
    let Some(metric) = config.eval.leading() else { return Ok(()) };
    let systems = systems(folder.path(), metric, config, summary)?;
    if systems.first().is_none_or(|system| system.name != config.loss_name()) {
        return Ok(());
    }
    let queries = choose(&systems);
    let shown = Shown::new(set, prepared, &systems);
    let queries = queries.into_iter().map(|(id, groups)| shown.query(id, groups)).collect();
    let mut shown = ShownQueries {
        split: set.split.clone(),
        metric: metric.to_string(),
        judged: systems[0].values.len(),
        systems: systems.into_iter().map(|system| system.name).collect(),
        queries,
        documents: BTreeMap::new(),
    };
    shown.documents = texts(&shown.queries, set);
    folder.write_json(FILE, &shown)
}

/// The trained model, the start, the baseline and BM25, as far as they were judged.
fn systems(
    folder: &Path,
    metric: Metric,
    config: &ExperimentConfig,
    summary: &Summary,
) -> Result<Vec<System>, TrainError> {
    let (split, _) = summary.judged();
    let beside = folder.join("baseline");
    let start = evaluation_path(folder, &format!("start/{split}"));
    let mut wanted = vec![
        (config.loss_name(), evaluation_path(folder, split), ranking::path(folder, "model")),
        ("start".into(), start, ranking::path(folder, "start")),
    ];
    if let Some(baseline) = &summary.baseline {
        let found = (evaluation_path(&beside, split), ranking::path(&beside, "model"));
        wanted.push((baseline.loss.to_string(), found.0, found.1));
    }
    wanted.push((BM25.into(), evaluation_path(folder, "bm25"), ranking::path(folder, "bm25")));
    let mut systems = Vec::new();
    for (name, evaluation, ranking) in wanted {
        systems.extend(System::read(name, metric, evaluation, ranking)?);
    }
    Ok(systems)
}

/// The ids of the chosen queries, each with its groups.
fn choose(systems: &[System]) -> Vec<(String, Vec<String>)> {
    let [own, others @ ..] = systems else { return Vec::new() };
    let mut ids: Vec<&String> = own.found.keys().collect();
    ids.sort_unstable();
    let mut chosen: Vec<(String, Vec<String>)> = Vec::new();
    let mut choose = |group: String, ids: Vec<&String>| {
        for id in ids.into_iter().take(GROUP) {
            match chosen.iter_mut().find(|(known, _)| known == id) {
                Some((_, groups)) => groups.push(group.clone()),
                None => chosen.push((id.clone(), vec![group.clone()])),
            }
        }
    };
    for other in others {
        let gain = |id: &String| own.value(id) - other.value(id);
        for (word, sign) in [("won", 1.0), ("lost", -1.0)] {
            let mut ids: Vec<&String> =
                ids.iter().copied().filter(|id| sign * gain(id) > 0.0).collect();
            ids.sort_by(|a, b| (sign * gain(b)).total_cmp(&(sign * gain(a))));
            choose(format!("{word} against {}", other.name), ids);
        }
    }
    let mut worst: Vec<&String> = ids.iter().copied().filter(|id| own.rank(id) > 1).collect();
    worst.sort_by(|a, b| {
        own.value(a).total_cmp(&own.value(b)).then_with(|| own.rank(b).cmp(&own.rank(a)))
    });
    choose("worst".into(), worst);
    chosen
}

/// What is known of queries and documents.
struct Shown<'a> {
    set: &'a TestSet,
    systems: &'a [System],
    relevant: HashMap<usize, Vec<usize>>,
    /// The keys of the training sets' positives, where these are of the same data.
    trained: HashSet<usize>,
}

impl<'a> Shown<'a> {
    fn new(set: &'a TestSet, prepared: &Prepared, systems: &'a [System]) -> Self {
        let train = prepared.train.iter().filter(|train| train.source == set.source);
        let pairs = train.flat_map(|train| &train.pairs);
        let trained = pairs.map(|pair| set.dataset.document_keys()[pair.document]).collect();
        Self { set, systems, relevant: ranking::relevant(set), trained }
    }

    fn query(&self, id: String, groups: Vec<String>) -> ShownQuery {
        let dataset = &self.set.dataset;
        let query = dataset.query_index(&id).expect("a ranking names judged queries");
        let right = self.relevant.get(&query).map_or(&[][..], Vec::as_slice);
        let keys: HashSet<usize> = right.iter().map(|&at| dataset.document_keys()[at]).collect();
        let bm25 = self.systems.iter().find(|system| system.name == BM25);
        let bm25 = bm25.and_then(|system| system.found.get(&id));
        let document = |(id, score): &(String, f32)| {
            let at = dataset.document_index(id).expect("a ranking names documents of its set");
            let key = dataset.document_keys()[at];
            let rank = bm25.and_then(|bm25| bm25.first.iter().position(|found| found.0 == *id));
            ShownDocument {
                id: id.clone(),
                score: *score,
                bm25_rank: rank.map(|place| place + 1),
                is_copy: keys.contains(&key) && !right.contains(&at),
                is_trained: self.trained.contains(&key),
            }
        };
        let found = |system: &System| {
            let found = system.found.get(&id);
            ShownRanking {
                value: system.value(&id),
                right: found.map_or_else(Vec::new, |found| {
                    found.right.iter().take(RIGHT).cloned().collect()
                }),
                first: found.map_or_else(Vec::new, |found| {
                    found.first.iter().take(FIRST).map(document).collect()
                }),
            }
        };
        // Those that the model ranks first, then the others.
        let rank = |at: usize| {
            let id = dataset.document(at).id;
            let own = self.systems[0].found.get(&dataset.queries()[query].id);
            own.and_then(|own| own.right.iter().position(|right| right.0 == *id))
                .unwrap_or(usize::MAX)
        };
        let mut right = right.to_vec();
        right.sort_by_key(|&at| rank(at));
        right.truncate(RIGHT);
        ShownQuery {
            text: cut(&dataset.queries()[query].text),
            groups,
            right: right.iter().map(|&at| dataset.document(at).id.to_owned()).collect(),
            found: self.systems.iter().map(found).collect(),
            id,
        }
    }
}

/// The texts of the documents that `queries` name.
fn texts(queries: &[ShownQuery], set: &TestSet) -> BTreeMap<String, String> {
    let first = |query: &ShownQuery| {
        let first = query.found.iter().flat_map(|found| &found.first);
        first.map(|document| document.id.clone()).collect::<Vec<_>>()
    };
    let ids = queries.iter().flat_map(|query| query.right.iter().cloned().chain(first(query)));
    let text = |id: String| {
        let at = set.dataset.document_index(&id)?;
        let text = cut(&set.dataset.document(at).passage(set.text));
        Some((id, text))
    };
    ids.collect::<HashSet<_>>().into_iter().filter_map(text).collect()
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(CHARS) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}…", &text[..end]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A system whose queries `a`, `b`, … have these values, and a right document at this rank.
    fn system(name: &str, queries: &[(f64, usize)]) -> System {
        let ids = ('a'..).map(String::from);
        let found = |id: &String, rank: usize| Found {
            query: id.clone(),
            right: vec![("d".into(), rank, 0.5)],
            first: Vec::new(),
        };
        let rows: Vec<(String, f64, usize)> =
            ids.zip(queries).map(|(id, &(value, rank))| (id, value, rank)).collect();
        System {
            name: name.into(),
            values: rows.iter().map(|row| (row.0.clone(), row.1)).collect(),
            found: rows.iter().map(|row| (row.0.clone(), found(&row.0, row.2))).collect(),
        }
    }

    #[test]
    fn the_clearest_come_first_and_a_query_has_all_its_groups() {
        let own = system("own", &[(1.0, 1), (0.5, 2), (0.0, 40), (0.2, 5), (1.0, 1)]);
        let start = system("start", &[(0.0, 9), (0.25, 4), (0.5, 2), (0.2, 5), (0.5, 2)]);
        let chosen = choose(&[own, start]);
        let groups = |id: &str| {
            let found = chosen.iter().find(|(known, _)| known == id);
            found.map(|(_, groups)| groups.join(", ")).unwrap_or_default()
        };
        let ids: Vec<&str> = chosen.iter().map(|(id, _)| &**id).collect();
        assert_eq!(ids, ["a", "e", "b", "c", "d"]);
        assert_eq!(groups("a"), "won against start");
        assert_eq!(groups("c"), "lost against start, worst");
        assert_eq!(groups("d"), "worst");
    }
}
