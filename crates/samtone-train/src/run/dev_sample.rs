//! The documents that dev evaluations on the way look in, where all would take too long.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use samtone_eval::search::Hit;
use samtone_text::Key;

use crate::error::TrainError;
use crate::run::judge::by_bm25;
use crate::run::prepare::TestSet;

/// The file in a run folder with the ids of the sample, a JSON array.
pub(crate) const FILE: &str = "dev-sample.json";

/// Of each query so many of the nearest are taken, by BM25 and by the model.
pub(crate) const NEAREST: usize = 10;

/// At most `size` documents of `set`, ascending: all that are judged, however many, then the nearest of
/// every query, the first of all queries before the second of any, then random others.
///
/// `by_model` are the nearest by the model before its first step, where they are known.
pub(crate) fn draw(set: &TestSet, size: usize, by_model: &[Vec<Hit>], key: Key) -> Vec<usize> {
    let judged = set.dataset.judgments(&set.split).iter().map(|judgment| judgment.document);
    let mut sample: BTreeSet<usize> = judged.collect();
    let by_words = by_bm25(set, NEAREST);
    let nearest = (0..NEAREST).flat_map(|rank| {
        by_words.iter().chain(by_model).filter_map(move |hits| Some(hits.get(rank)?.index))
    });
    let others = key.permutation(set.dataset.documents().len());
    for document in nearest.chain(others) {
        if sample.len() >= size {
            break;
        }
        sample.insert(document);
    }
    sample.into_iter().collect()
}

/// The sample that the run in `folder` has drawn, if it has.
///
/// # Errors
/// A file that cannot be read or names a document that `set` has not.
pub(crate) fn read(folder: &Path, set: &TestSet) -> Result<Option<Vec<usize>>, TrainError> {
    let path = folder.join(FILE);
    if !path.exists() {
        return Ok(None);
    }
    let failed = |source| TrainError::Read { path: path.clone(), source };
    let text = fs::read_to_string(&path).map_err(failed)?;
    let ids: Vec<String> = serde_json::from_str(&text).map_err(|error| failed(error.into()))?;
    let index = |id: &String| {
        let unknown = || failed(std::io::Error::other(format!("`{id}` is no document")));
        set.dataset.document_index(id).ok_or_else(unknown)
    };
    ids.iter().map(index).collect::<Result<_, _>>().map(Some)
}

/// Keeps the sample in `folder`.
///
/// # Errors
/// [`TrainError::Write`].
pub(crate) fn write(folder: &Path, set: &TestSet, sample: &[usize]) -> Result<(), TrainError> {
    let path = folder.join(FILE);
    let ids: Vec<&str> = sample.iter().map(|&document| set.dataset.document(document).id).collect();
    let json = serde_json::to_vec(&ids).expect("ids are representable as JSON");
    samtone_files::replace(&path, &json).map_err(|source| TrainError::Write { path, source })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use samtone_data::embedded::World;
    use samtone_text::DocumentText;

    use super::*;

    #[test]
    fn a_sample_has_what_is_judged_then_the_nearest_then_others() {
        let dataset = Arc::new(World::generate(0, 400).dataset());
        let set = TestSet {
            source: 0,
            name: "world".into(),
            dataset: dataset.clone(),
            split: "dev".into(),
            text: DocumentText::default(),
        };
        let judged: BTreeSet<usize> =
            dataset.judgments("dev").iter().map(|judgment| judgment.document).collect();
        let stranger = (0..400).rev().find(|document| !judged.contains(document)).unwrap();
        let by_model = vec![vec![Hit { index: stranger, score: 1.0 }]];
        let draw = |size, seed| draw(&set, size, &by_model, Key::new(seed));
        // However few are wanted, all that is judged is there.
        assert_eq!(draw(1, 0), judged.iter().copied().collect::<Vec<_>>());
        // The first by words and by the model come before others.
        let first: BTreeSet<usize> =
            by_bm25(&set, 1).iter().flatten().map(|hit| hit.index).chain([stranger]).collect();
        let near: BTreeSet<usize> = judged.union(&first).copied().collect();
        let small: BTreeSet<usize> = draw(near.len(), 0).into_iter().collect();
        assert_eq!(small, near);
        let large = draw(390, 0);
        assert_eq!(large.len(), 390);
        assert!(large.is_sorted() && near.iter().all(|document| large.contains(document)));
        assert_eq!(large, draw(390, 0));
        assert_ne!(large, draw(390, 1));
        assert_eq!(draw(1000, 0).len(), 400);
    }

    #[test]
    fn a_kept_sample_is_read_again() {
        let dataset = Arc::new(World::generate(0, 100).dataset());
        let (name, split) = ("world".into(), "dev".into());
        let set = TestSet { source: 0, name, dataset, split, text: DocumentText::default() };
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(read(folder.path(), &set).unwrap(), None);
        write(folder.path(), &set, &[3, 17, 40]).unwrap();
        assert_eq!(read(folder.path(), &set).unwrap(), Some(vec![3, 17, 40]));
        fs::write(folder.path().join(FILE), "[\"no such id\"]").unwrap();
        let error = read(folder.path(), &set).unwrap_err();
        assert!(matches!(error, TrainError::Read { .. }), "{error}");
    }
}
