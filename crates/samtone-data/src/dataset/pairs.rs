//! Data sets from and to files of pairs.

use std::borrow::Cow;
use std::collections::HashSet;
use std::path::Path;

use samtone_text::DocumentText;

use super::{Dataset, Relevance, write_lines};
use crate::error::{DataError, Fault};
use crate::import::example::Example;
use crate::import::{self, Passage};
use crate::reading::interner::{Interner, Names};
use crate::reading::lines::Lines;
use crate::record::{Pair, Query};

impl Dataset {
    /// Reads a file of pairs, JSON lines `{"query", "positive", "negatives"}` ([`import::pairs`]), as
    /// the one split `split`.
    ///
    /// A text without an id of its own is the record of the same text, if there is one in the file;
    /// otherwise it is numbered (`q0`, `d0`, ...; numbers pass over the ids of the file). A row's
    /// positive is judged 1; its negatives belong to the row alone and are judged nothing.
    ///
    /// # Errors
    /// If the file cannot be read or holds no pair, or at the first wrong line.
    pub fn load_pairs(path: &Path, split: &str) -> Result<Self, DataError> {
        let mut lines = Lines::open(path)?;
        let mut builder = PairsBuilder::new();
        while let Some(line) = lines.next()? {
            let pair = import::pairs::parse(line);
            if let Err(fault) = pair.and_then(|pair| builder.push(&pair, line.number)) {
                return Err(lines.fault(fault));
            }
        }
        if builder.rows.is_empty() {
            let (dir, split) = (path.to_owned(), split.to_owned());
            return Err(DataError::EmptySplit { dir, available: vec![split.clone()], split });
        }
        Ok(builder.finish(split))
    }

    /// Writes training rows as a file of pairs: what [`Dataset::load_pairs`] reads. The file appears
    /// whole or not at all; what is no regular file (a pipe, a device) is written to.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn save_pairs(
        &self,
        path: &Path,
        rows: &[Pair],
        mode: DocumentText,
    ) -> Result<(), DataError> {
        let passage = |index: usize, score: Option<&f64>| {
            let document = self.documents.get(index);
            Passage {
                id: Some(Cow::Borrowed(document.id)),
                score: score.copied(),
                ..Passage::text(document.passage(mode))
            }
        };
        let written = write_lines(path, rows.iter(), |out, row| {
            let query = &self.queries[row.query];
            let example = Example {
                query: Passage {
                    id: Some(Cow::Borrowed(&query.id)),
                    ..Passage::text(query.text.as_str())
                },
                positives: vec![passage(row.document, row.scores.first())],
                negatives: row
                    .negatives
                    .iter()
                    .enumerate()
                    .map(|(i, &index)| passage(index, row.scores.get(i + 1)))
                    .collect(),
            };
            import::pairs::write(out, &example)
        });
        written.map_err(DataError::writing(path))
    }
}

/// A data set that grows by pairs.
struct PairsBuilder {
    dataset: Dataset,
    documents: Interner,
    queries: Interner,
    judged: HashSet<(usize, usize)>,
    judgments: Vec<Relevance>,
    rows: Vec<Pair>,
}

impl PairsBuilder {
    fn new() -> Self {
        Self {
            dataset: Dataset::default(),
            documents: Interner::new("document", false),
            queries: Interner::new("query", false),
            judged: HashSet::new(),
            judgments: Vec::new(),
            rows: Vec::new(),
        }
    }

    /// Adds the row that a pair makes, and its texts unless they are there.
    fn push(&mut self, pair: &Example<'_>, line: u64) -> Result<(), Fault> {
        let [positive] = &pair.positives[..] else {
            return Err(Fault::NoPositive { query: pair.query.text.to_string() });
        };
        let query = self.query(&pair.query, line)?;
        let document = self.document(positive, line)?;
        let negatives = pair.negatives.iter().map(|negative| self.document(negative, line));
        let negatives = negatives.collect::<Result<_, _>>()?;
        let scores = [positive].into_iter().chain(&pair.negatives).map(|passage| passage.score);
        let scores = scores.collect::<Option<_>>().unwrap_or_default();
        if self.judged.insert((query, document)) {
            self.judgments.push(Relevance { query, document, grade: 1 });
        }
        self.rows.push(Pair { query, document, negatives, scores });
        Ok(())
    }

    fn query(&mut self, passage: &Passage<'_>, line: u64) -> Result<usize, Fault> {
        let found = self.queries.intern(passage.id(), ("", &passage.text), line)?;
        if found.new.is_some() {
            // Ids are settled at the end.
            self.dataset.queries.push(Query { id: String::new(), text: passage.text.to_string() });
        }
        Ok(found.index as usize)
    }

    fn document(&mut self, passage: &Passage<'_>, line: u64) -> Result<usize, Fault> {
        let (title, text) = (&*passage.title, &*passage.text);
        let found = self.documents.intern(passage.id(), (title, text), line)?;
        if found.new.is_some() {
            self.dataset.documents.push_texts(title, text);
        }
        Ok(found.index as usize)
    }

    fn finish(self, split: &str) -> Dataset {
        let mut dataset = self.dataset;
        let names = |names: Names| move |index: usize| names.get(index as u32).into_owned();
        let (document_name, query_name) =
            (names(self.documents.into_names()), names(self.queries.into_names()));
        for index in 0..dataset.documents.len() {
            dataset.documents.push_id(&document_name(index));
        }
        for (index, query) in dataset.queries.iter_mut().enumerate() {
            query.id = query_name(index);
        }
        (0..dataset.documents.len()).for_each(|index| dataset.enter_document(index));
        (0..dataset.queries.len()).for_each(|index| dataset.enter_query(index));
        dataset.find_copies();
        dataset.splits.insert(split.to_owned(), self.judgments);
        dataset.rows.insert(split.to_owned(), self.rows);
        dataset
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::dataset::tests::{CORPUS, QRELS, QUERIES, folder};

    fn pairs(text: &str) -> Result<Dataset, DataError> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pairs.jsonl");
        fs::write(&path, text).unwrap();
        Dataset::load_pairs(&path, "train")
    }

    #[test]
    fn a_file_of_pairs_loads_with_its_negatives() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pairs.jsonl");
        let text = "{\"query\":\"a?\",\"positive\":\"a!\",\"negatives\":[\"b!\",\"c!\"]}\n\
                    {\"query\":\"b?\",\"positive\":\"b!\"}\n\
                    {\"query\":\"a?\",\"positive\":\"a!\",\"negatives\":[\"c!\"]}\n";
        fs::write(&path, text).unwrap();
        let dataset = Dataset::load_pairs(&path, "train").unwrap();
        let row = |query, document, negatives: &[usize]| Pair {
            query,
            document,
            negatives: negatives.to_vec(),
            scores: Vec::new(),
        };
        let expected = [row(0, 0, &[1, 2]), row(1, 1, &[]), row(0, 0, &[2])];
        assert_eq!(dataset.pairs("train"), expected);
        assert_eq!(dataset.judgments("train").len(), 2);
        fs::write(&path, "{\"query\":\"a?\"}\n").unwrap();
        let error = Dataset::load_pairs(&path, "train").unwrap_err().to_string();
        assert!(error.ends_with("line 1: field `positive` is missing"), "{error}");
    }

    #[test]
    fn rows_written_as_pairs_are_read_as_the_same_rows() {
        let dir = folder(CORPUS, QUERIES, QRELS);
        let dataset = Dataset::load(dir.path(), &["train"]).unwrap();
        let path = dir.path().join("pairs.jsonl");
        dataset.save_pairs(&path, &dataset.pairs("train"), DocumentText::TitleText).unwrap();
        let line = r#"{"query_id":"q","query":"what?","positive_id":"a","positive":"A one","negative_ids":["2"],"negatives":["two"]}"#;
        assert_eq!(fs::read_to_string(&path).unwrap(), format!("{line}\n"));
        let again = Dataset::load_pairs(&path, "train").unwrap();
        assert_eq!(again.pairs("train"), dataset.pairs("train"));
        let ids = |dataset: &Dataset| -> Vec<String> {
            dataset.documents().map(|document| document.id.to_owned()).collect()
        };
        assert_eq!(ids(&again), ids(&dataset));
        let missing = dir.path().join("nowhere/pairs.jsonl");
        let error = dataset.save_pairs(&missing, &[], DocumentText::Text).unwrap_err();
        assert!(matches!(error, DataError::Write { .. }), "{error}");
    }

    #[test]
    fn a_teachers_scores_stay_with_their_row() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pairs.jsonl");
        let write = |scores| {
            let line = format!(
                "{{\"query\":\"a?\",\"positive\":\"a!\",\"negatives\":[\"b!\",\"c!\"],\"scores\":{scores}}}\n"
            );
            fs::write(&path, line).unwrap();
        };
        write("[9.5, -1, 0.25]");
        let dataset = Dataset::load_pairs(&path, "train").unwrap();
        assert_eq!(dataset.pairs("train")[0].scores, [9.5, -1.0, 0.25]);
        dataset.save_pairs(&path, &dataset.pairs("train"), DocumentText::Text).unwrap();
        let again = Dataset::load_pairs(&path, "train").unwrap();
        assert_eq!(again.pairs("train"), dataset.pairs("train"));
        write("[9.5, -1]");
        let error = Dataset::load_pairs(&path, "train").unwrap_err().to_string();
        let expected = "line 1: field `scores`: expected one score for the positive and one per \
                        negative, got `2 scores for 3 texts`";
        assert!(error.ends_with(expected), "{error}");
    }

    #[track_caller]
    fn check_ids(text: &str, queries: &[(&str, &str)], documents: &[(&str, &str)]) {
        let dataset = pairs(text).unwrap();
        let found: Vec<_> = dataset.queries().iter().map(|q| (&*q.id, &*q.text)).collect();
        assert_eq!(found, queries);
        let found: Vec<_> = dataset.documents().map(|d| (d.id, d.text)).collect();
        assert_eq!(found, documents);
        for (index, (id, _)) in queries.iter().enumerate() {
            assert_eq!(dataset.query_index(id), Some(index));
        }
        for (index, (id, _)) in documents.iter().enumerate() {
            assert_eq!(dataset.document_index(id), Some(index));
        }
    }

    #[test]
    fn numbered_texts_and_ids_of_the_same_form_stay_apart_in_both_orders() {
        let named = r#"{"query_id":"q1","query":"a?","positive_id":"d1","positive":"a!"}"#;
        let bare = r#"{"query":"b?","positive":"b!"}"#;
        check_ids(
            &format!("{named}\n{bare}\n"),
            &[("q1", "a?"), ("q0", "b?")],
            &[("d1", "a!"), ("d0", "b!")],
        );
        let named = named.replace("q1", "q0").replace("d1", "d0");
        check_ids(
            &format!("{bare}\n{named}\n"),
            &[("q1", "b?"), ("q0", "a?")],
            &[("d1", "b!"), ("d0", "a!")],
        );
    }

    #[test]
    fn a_negative_without_an_id_is_the_document_of_its_text() {
        let named = r#"{"query_id":"x","query":"a?","positive_id":"y","positive":"a!"}"#;
        let bare = r#"{"query":"b?","positive":"b!","negatives":["a!"]}"#;
        check_ids(
            &format!("{named}\n{bare}\n"),
            &[("x", "a?"), ("q0", "b?")],
            &[("y", "a!"), ("d0", "b!")],
        );
        check_ids(
            &format!("{bare}\n{named}\n"),
            &[("q0", "b?"), ("x", "a?")],
            &[("d0", "b!"), ("y", "a!")],
        );
    }

    #[test]
    fn an_id_that_no_file_could_hold_is_refused() {
        let error = pairs(r#"{"query_id":"a\tb","query":"a?","positive":"a!"}"#).unwrap_err();
        let expected = r#"line 1: field `query id`: the id "a\tb" holds a tab or a line break"#;
        assert!(error.to_string().ends_with(expected), "{error}");
    }

    #[cfg(unix)]
    #[test]
    fn pairs_go_through_links_and_into_pipes() {
        use std::os::unix::fs::{FileTypeExt, symlink};
        let dataset = pairs(r#"{"query_id":"x","query":"a?","positive_id":"y","positive":"a!"}"#);
        let dataset = dataset.unwrap();
        let dir = tempfile::tempdir().unwrap();
        let place = |name: &str| dir.path().join(name);
        let save = |path: &Path| {
            dataset.save_pairs(path, &dataset.pairs("train"), DocumentText::Text).unwrap();
        };
        save(&place("plain"));
        let expected = fs::read(place("plain")).unwrap();
        fs::write(place("target"), "old").unwrap();
        symlink("target", place("link")).unwrap();
        save(&place("link"));
        assert!(fs::symlink_metadata(place("link")).unwrap().is_symlink());
        assert_eq!(fs::read(place("target")).unwrap(), expected);
        let pipe = place("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let reader = std::thread::spawn({
            let pipe = pipe.clone();
            move || fs::read(pipe).unwrap()
        });
        save(&pipe);
        assert_eq!(reader.join().unwrap(), expected);
        assert!(fs::symlink_metadata(&pipe).unwrap().file_type().is_fifo());
    }
}
