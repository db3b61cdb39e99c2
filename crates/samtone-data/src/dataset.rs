//! A retrieval data set at hand: documents, queries and the judgments of its splits.

mod documents;
mod index;
mod pairs;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::File;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, BufWriter, Write};
use std::path::Path;

use rayon::prelude::*;

use self::documents::Documents;
use self::index::Index;
use crate::error::{DataError, Fault};
use crate::reading::beir::{self, BeirFolder, JudgmentLine, QRELS_HEADER};
use crate::reading::interner::ByHash;
use crate::record::{Document, Judgment, Pair, Query};

/// A judgment of a [`Dataset`], its ids resolved to indices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Relevance {
    /// Index of the query.
    pub query: usize,
    /// Index of the document.
    pub document: usize,
    /// 1 or more: relevant; 0 or less: not.
    pub grade: i32,
}

/// Documents, queries and the judgments of one or more splits, checked: every id is there once, and
/// every judgment names a query and a document that exist.
///
/// All is in memory but the titles and texts of documents beyond some 64 MB, which lie in files without a
/// name in the system's folder for temporary ones, as long as it has room.
///
/// # Examples
///
/// ```
/// use samtone_data::embedded::World;
///
/// let dataset = World::generate(0, 500).dataset();
/// let pairs = dataset.pairs("train");
/// let first = &pairs[0];
/// println!("{} -> {}", dataset.queries()[first.query].text, dataset.document(first.document).text);
/// ```
#[derive(Clone, Debug, Default)]
pub struct Dataset {
    documents: Documents,
    queries: Vec<Query>,
    document_index: Index,
    query_index: Index,
    document_keys: Vec<usize>,
    query_keys: Vec<usize>,
    splits: BTreeMap<String, Vec<Relevance>>,
    /// Training rows with their own hard negatives, of splits read from files of pairs.
    rows: BTreeMap<String, Vec<Pair>>,
}

impl Dataset {
    /// The names of the splits that the folder at `dir` has.
    ///
    /// # Errors
    /// If it is no folder in BEIR layout.
    pub fn splits_in(dir: &Path) -> Result<Vec<String>, DataError> {
        Ok(BeirFolder::open(dir)?.splits())
    }

    /// Reads a folder in BEIR layout with the judgments of `splits`.
    ///
    /// Nothing wrong is passed over: `samtone import` mends a folder that this refuses.
    ///
    /// # Errors
    /// If a file or split is not there, a split is empty, or at the first wrong record.
    pub fn load(dir: &Path, splits: &[&str]) -> Result<Self, DataError> {
        let folder = BeirFolder::open(dir)?;
        let dataset = Self::read(&folder, splits)?;
        match splits.iter().find(|split| dataset.judgments(split).is_empty()) {
            Some(split) => Err(empty_split(&folder, split)),
            None => Ok(dataset),
        }
    }

    /// As [`Dataset::load`], with the judgments of every split of the folder: all that is known.
    /// `split` alone must be there and not be empty.
    ///
    /// # Errors
    /// As [`Dataset::load`].
    pub fn load_with_all_judgments(dir: &Path, split: &str) -> Result<Self, DataError> {
        let folder = BeirFolder::open(dir)?;
        folder.qrels(split)?;
        let splits = folder.splits();
        let splits: Vec<&str> = splits.iter().map(String::as_str).collect();
        let dataset = Self::read(&folder, &splits)?;
        if dataset.judgments(split).is_empty() {
            return Err(empty_split(&folder, split));
        }
        Ok(dataset)
    }

    fn read(folder: &BeirFolder, splits: &[&str]) -> Result<Self, DataError> {
        let qrels: Vec<_> =
            splits.iter().map(|split| folder.qrels(split)).collect::<Result<_, _>>()?;
        let mut builder = Builder::default();
        beir::for_each_document(folder.corpus(), |document, line| {
            builder.document(document.as_deref(), line)
        })?;
        beir::for_each_query(folder.queries(), |query, line| {
            builder.query(query.into_query(), line)
        })?;
        for (split, path) in splits.iter().zip(qrels) {
            let mut judgments = SplitBuilder::default();
            beir::for_each_judgment(&path, |judgment, _| {
                judgments.push(&builder.dataset, judgment)
            })?;
            builder.dataset.splits.insert((*split).to_owned(), judgments.relevances);
        }
        Ok(builder.finish())
    }

    /// A data set from records already in memory.
    ///
    /// # Errors
    /// The first [`Fault`], with the name of the list and the position in it, counted from 1.
    pub fn from_records(
        documents: Vec<Document>,
        queries: Vec<Query>,
        splits: impl IntoIterator<Item = (String, Vec<Judgment>)>,
    ) -> Result<Self, DataError> {
        let at = |name: &str, index: usize| {
            let (path, line) = (name.into(), index as u64 + 1);
            move |fault| DataError::Record { path, line, fault }
        };
        let mut builder = Builder::default();
        for (i, document) in documents.into_iter().enumerate() {
            builder.document(document.as_deref(), i as u64 + 1).map_err(at("documents", i))?;
        }
        for (i, query) in queries.into_iter().enumerate() {
            builder.query(query, i as u64 + 1).map_err(at("queries", i))?;
        }
        for (split, judgments) in splits {
            let mut resolved = SplitBuilder::default();
            for (i, judgment) in judgments.iter().enumerate() {
                let line = JudgmentLine {
                    query_id: &judgment.query_id,
                    document_id: &judgment.document_id,
                    grade: judgment.grade,
                };
                resolved.push(&builder.dataset, line).map_err(at(&split, i))?;
            }
            builder.dataset.splits.insert(split, resolved.relevances);
        }
        Ok(builder.finish())
    }

    /// Writes the data set as a folder in BEIR layout.
    ///
    /// # Errors
    /// If a file cannot be written.
    pub fn save(&self, dir: &Path) -> Result<(), DataError> {
        let qrels = dir.join("qrels");
        std::fs::create_dir_all(&qrels).map_err(DataError::writing(&qrels))?;
        let (corpus, queries) = (dir.join("corpus.jsonl"), dir.join("queries.jsonl"));
        write_lines(&corpus, self.documents(), |out, Document { id, title, text }| {
            beir::write_document(out, id, title, text)
        })
        .map_err(DataError::writing(&corpus))?;
        write_lines(&queries, self.queries.iter(), |out, query| {
            beir::write_query(out, &query.id, &query.text)
        })
        .map_err(DataError::writing(&queries))?;
        for (split, relevances) in &self.splits {
            let path = qrels.join(format!("{split}.tsv"));
            let mut header = Some(QRELS_HEADER);
            write_lines(&path, relevances.iter(), |out, relevance| {
                if let Some(header) = header.take() {
                    writeln!(out, "{header}")?;
                }
                let query = &self.queries[relevance.query].id;
                let document = self.documents.id(relevance.document);
                writeln!(out, "{query}\t{document}\t{}", relevance.grade)
            })
            .map_err(DataError::writing(&path))?;
        }
        Ok(())
    }

    /// All documents, in the order of the file.
    pub fn documents(&self) -> impl ExactSizeIterator<Item = Document<&str>> + Clone {
        (0..self.documents.len()).map(|index| self.documents.get(index))
    }

    /// The document of an index.
    ///
    /// # Panics
    /// If there are no more than `index`.
    pub fn document(&self, index: usize) -> Document<&str> {
        self.documents.get(index)
    }

    /// All queries, of all splits, in the order of the file.
    pub fn queries(&self) -> &[Query] {
        &self.queries
    }

    /// The index of the document with this id.
    pub fn document_index(&self, id: &str) -> Option<usize> {
        self.document_index.find(id_hash(id), |index| self.documents.id(index) == id)
    }

    /// The index of the query with this id.
    pub fn query_index(&self, id: &str) -> Option<usize> {
        self.query_index.find(id_hash(id), |index| self.queries[index].id == id)
    }

    /// Per document, the index of the first one with the same title and text (case and white space
    /// aside): its identity for the loss, under which a copy is no negative.
    pub fn document_keys(&self) -> &[usize] {
        &self.document_keys
    }

    /// Per query, the index of the first one with the same text (case and white space aside).
    pub fn query_keys(&self) -> &[usize] {
        &self.query_keys
    }

    /// The names of the splits read.
    pub fn split_names(&self) -> impl Iterator<Item = &str> {
        self.splits.keys().map(String::as_str)
    }

    /// The judgments of a split, in the order of its file; none for a split that was not read.
    pub fn judgments(&self, split: &str) -> &[Relevance] {
        self.splits.get(split).map_or(&[], Vec::as_slice)
    }

    /// The judgments of a split as (query id, document id, grade): what qrels are built from.
    pub fn qrels(&self, split: &str) -> impl Iterator<Item = (&str, &str, i32)> {
        self.judgments(split).iter().map(|judgment| {
            let query = self.queries[judgment.query].id.as_str();
            (query, self.documents.id(judgment.document), judgment.grade)
        })
    }

    /// The positives of a split, grade 1 or more, in the order of its file: the training rows.
    ///
    /// Documents judged 0 or less for the same query are the row's hard negatives; rows read from a
    /// file of pairs have their own.
    pub fn pairs(&self, split: &str) -> Vec<Pair> {
        if let Some(rows) = self.rows.get(split) {
            return rows.clone();
        }
        let mut negatives: HashMap<usize, Vec<usize>> = HashMap::new();
        for judgment in self.judgments(split).iter().filter(|judgment| judgment.grade <= 0) {
            negatives.entry(judgment.query).or_default().push(judgment.document);
        }
        let positives = self.judgments(split).iter().filter(|judgment| judgment.grade >= 1);
        positives
            .map(|judgment| Pair {
                query: judgment.query,
                document: judgment.document,
                negatives: negatives.get(&judgment.query).cloned().unwrap_or_default(),
                scores: Vec::new(),
            })
            .collect()
    }

    /// The queries a split judges, as indices, each once, in the order of its file.
    pub fn queries_of(&self, split: &str) -> Vec<usize> {
        let mut seen = HashSet::new();
        let queries = self.judgments(split).iter().map(|judgment| judgment.query);
        queries.filter(|&query| seen.insert(query)).collect()
    }

    /// What is known to be relevant, over the given splits.
    pub fn positives(&self, splits: &[&str]) -> Positives {
        let mut by_query: HashMap<usize, Vec<usize>> = HashMap::new();
        for judgment in splits.iter().flat_map(|split| self.judgments(split)) {
            if judgment.grade >= 1 {
                let query = self.query_keys[judgment.query];
                by_query.entry(query).or_default().push(self.document_keys[judgment.document]);
            }
        }
        for documents in by_query.values_mut() {
            documents.sort_unstable();
            documents.dedup();
        }
        Positives { by_query }
    }

    /// Lets a document be found by its id.
    fn enter_document(&mut self, index: usize) {
        self.document_index.insert(index, |index| id_hash(self.documents.id(index)));
    }

    /// Lets a query be found by its id.
    fn enter_query(&mut self, index: usize) {
        self.query_index.insert(index, |index| id_hash(&self.queries[index].id));
    }

    /// Finds what the keys say, once all records are there.
    fn find_copies(&mut self) {
        self.document_keys = keys(self.documents.len(), |index| {
            let Document { title, text, .. } = self.documents.get(index);
            text_hash(title, text)
        });
        self.query_keys =
            keys(self.queries.len(), |index| text_hash("", &self.queries[index].text));
    }
}

fn empty_split(folder: &BeirFolder, split: &str) -> DataError {
    let (dir, split) = (folder.dir().to_owned(), split.to_owned());
    DataError::EmptySplit { dir, split, available: folder.splits() }
}

fn write_lines<T>(
    path: &Path,
    mut records: impl Iterator<Item = T>,
    mut write: impl FnMut(&mut BufWriter<File>, T) -> io::Result<()>,
) -> io::Result<()> {
    samtone_files::write_whole(path, |out| records.try_for_each(|record| write(out, record)))
}

#[derive(Default)]
struct Builder {
    dataset: Dataset,
    /// Lines of the documents and queries, for the error that names an id's first place.
    document_lines: Vec<u64>,
    query_lines: Vec<u64>,
}

impl Builder {
    fn document(&mut self, document: Document<&str>, line: u64) -> Result<(), Fault> {
        let Document { id, title, text } = document;
        if let Some(first) = self.dataset.document_index(id) {
            let first = self.document_lines[first];
            return Err(Fault::DuplicateId { field: "document", id: id.to_owned(), first });
        }
        self.dataset.documents.push_texts(title, text);
        self.dataset.documents.push_id(id);
        self.dataset.enter_document(self.document_lines.len());
        self.document_lines.push(line);
        Ok(())
    }

    fn query(&mut self, query: Query, line: u64) -> Result<(), Fault> {
        if let Some(first) = self.dataset.query_index(&query.id) {
            let first = self.query_lines[first];
            return Err(Fault::DuplicateId { field: "query", id: query.id, first });
        }
        self.dataset.queries.push(query);
        self.dataset.enter_query(self.query_lines.len());
        self.query_lines.push(line);
        Ok(())
    }

    fn finish(self) -> Dataset {
        let mut dataset = self.dataset;
        dataset.find_copies();
        dataset
    }
}

fn id_hash(id: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    id.hash(&mut hasher);
    hasher.finish()
}

/// Per record, of so many, the index of the first one whose text has the same hash.
fn keys(records: usize, hash_of: impl Fn(usize) -> [u8; 16] + Sync) -> Vec<usize> {
    let hashes: Vec<[u8; 16]> = (0..records).into_par_iter().map(&hash_of).collect();
    // Any eight bytes of a hash are one.
    let part =
        |index: usize| hashes[index][..8].iter().fold(0, |part, &byte| part << 8 | u64::from(byte));
    let mut firsts = Index::default();
    let first = |index: usize| {
        let found = firsts.find(part(index), |other| hashes[other] == hashes[index]);
        found.unwrap_or_else(|| {
            firsts.insert(index, part);
            index
        })
    };
    (0..records).map(first).collect()
}

/// A hash of a text's words, case aside.
pub(crate) fn text_hash(title: &str, text: &str) -> [u8; 16] {
    let mut words = String::with_capacity(title.len() + text.len() + 3);
    for part in [title, text] {
        for word in part.split_whitespace() {
            if word.is_ascii() {
                words.extend(word.chars().map(|c| c.to_ascii_lowercase()));
            } else {
                words.push_str(&word.to_lowercase());
            }
            words.push(' ');
        }
        words.push('\n');
    }
    let mut hash = [0; 16];
    hash.copy_from_slice(&blake3::hash(words.as_bytes()).as_bytes()[..16]);
    hash
}

#[derive(Default)]
struct SplitBuilder {
    relevances: Vec<Relevance>,
    /// The two records of every judgment so far, as one number.
    seen: HashSet<u64, ByHash>,
}

impl SplitBuilder {
    fn push(&mut self, dataset: &Dataset, line: JudgmentLine<'_>) -> Result<(), Fault> {
        let unknown =
            |field, id: &str, within| Fault::UnknownId { field, id: id.to_owned(), within };
        let query = dataset
            .query_index(line.query_id)
            .ok_or_else(|| unknown("query-id", line.query_id, "queries"))?;
        let document = dataset
            .document_index(line.document_id)
            .ok_or_else(|| unknown("corpus-id", line.document_id, "corpus"))?;
        if !self.seen.insert((query as u64) << 32 | document as u64) {
            return Err(Fault::DuplicateJudgment {
                query: line.query_id.to_owned(),
                document: line.document_id.to_owned(),
            });
        }
        self.relevances.push(Relevance { query, document, grade: line.grade });
        Ok(())
    }
}

/// Which documents are known to be relevant to which queries, by the data set's keys.
#[derive(Clone, Debug, Default)]
pub struct Positives {
    by_query: HashMap<usize, Vec<usize>>,
}

impl Positives {
    /// Whether the document with key `document` is known to be relevant to the query with key `query`.
    pub fn contains(&self, query: usize, document: usize) -> bool {
        self.of(query).binary_search(&document).is_ok()
    }

    /// The keys of the documents known to be relevant to a query's key, in ascending order.
    pub fn of(&self, query: usize) -> &[usize] {
        self.by_query.get(&query).map_or(&[], Vec::as_slice)
    }

    /// The pairs of different rows (i, j) of a batch such that row j's document is relevant to row i's
    /// query, in ascending order. `queries` and `documents` are the rows' keys, `[batch]` each.
    pub fn known(&self, queries: &[usize], documents: &[usize]) -> Vec<(usize, usize)> {
        let mut rows: HashMap<usize, Vec<usize>> = HashMap::new();
        for (row, &document) in documents.iter().enumerate() {
            rows.entry(document).or_default().push(row);
        }
        let mut known = Vec::new();
        for (i, &query) in queries.iter().enumerate() {
            for document in self.of(query) {
                let others = rows.get(document).into_iter().flatten().filter(|&&j| j != i);
                known.extend(others.map(|&j| (i, j)));
            }
        }
        known.sort_unstable();
        known
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    pub(super) fn folder(corpus: &str, queries: &str, qrels: &str) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("qrels")).unwrap();
        fs::write(dir.path().join("corpus.jsonl"), corpus).unwrap();
        fs::write(dir.path().join("queries.jsonl"), queries).unwrap();
        fs::write(dir.path().join("qrels/train.tsv"), qrels).unwrap();
        dir
    }

    pub(super) const CORPUS: &str =
        "{\"_id\":\"a\",\"title\":\"A\",\"text\":\"one\"}\n{\"_id\":2,\"text\":\"two\"}\n";
    pub(super) const QUERIES: &str = "{\"_id\":\"q\",\"text\":\"what?\"}\n";
    pub(super) const QRELS: &str = "query-id\tcorpus-id\tscore\nq\ta\t1\nq\t2\t0\n";

    #[track_caller]
    fn check_error(corpus: &str, queries: &str, qrels: &str, expected: &str) {
        let dir = folder(corpus, queries, qrels);
        let error = Dataset::load(dir.path(), &["train"]).unwrap_err();
        let message = error.to_string().replace(&dir.path().display().to_string(), "D");
        assert_eq!(message.replace('\\', "/"), expected);
    }

    #[test]
    fn a_good_folder_loads() {
        let dir = folder(CORPUS, QUERIES, QRELS);
        let dataset = Dataset::load(dir.path(), &["train"]).unwrap();
        assert_eq!(dataset.document(1).id, "2");
        assert_eq!(dataset.queries_of("train"), [0]);
        assert_eq!(dataset.qrels("train").collect::<Vec<_>>(), [("q", "a", 1), ("q", "2", 0)]);
    }

    #[test]
    fn mistakes_name_their_place() {
        check_error(
            "{\"_id\":\"a\"",
            QUERIES,
            QRELS,
            "`D/corpus.jsonl`, line 1: column 10: EOF while parsing an object",
        );
        check_error(
            "{\"_id\":\"a\",\"text\":3}",
            QUERIES,
            QRELS,
            "`D/corpus.jsonl`, line 1: column 19: invalid type: integer `3`, expected a string",
        );
        check_error(
            "{\"id\":\"a\",\"text\":\"x\"}",
            QUERIES,
            QRELS,
            "`D/corpus.jsonl`, line 1: field `_id` is missing",
        );
        check_error(
            &CORPUS.repeat(2),
            QUERIES,
            QRELS,
            "`D/corpus.jsonl`, line 3: document `a` is already on line 1",
        );
        check_error(
            CORPUS,
            "{\"_id\":\"q\",\"text\":\" \"}",
            QRELS,
            "`D/queries.jsonl`, line 1: field `text` is empty",
        );
        check_error(
            CORPUS,
            QUERIES,
            "query-id\tcorpus-id\tscore\nq\tb\t1\n",
            "`D/qrels/train.tsv`, line 2: corpus-id `b` is not in the corpus",
        );
        check_error(
            CORPUS,
            QUERIES,
            "query-id\tcorpus-id\tscore\nz\ta\t1\n",
            "`D/qrels/train.tsv`, line 2: query-id `z` is not in the queries",
        );
        check_error(
            CORPUS,
            QUERIES,
            "q\ta\t1\nq\ta\tyes\n",
            "`D/qrels/train.tsv`, line 2: field `score`: expected a whole number, got `yes`",
        );
        check_error(
            CORPUS,
            QUERIES,
            "q 0 a 1\n",
            "`D/qrels/train.tsv`, line 1: expected 3 columns (query-id, corpus-id, score), got 1 column",
        );
        check_error(
            CORPUS,
            QUERIES,
            "q\ta\t1\nq\ta\t1\n",
            "`D/qrels/train.tsv`, line 2: query `q` and document `a` are judged twice",
        );
        check_error(
            CORPUS,
            QUERIES,
            "query-id\tcorpus-id\tscore\n",
            "split `train` of `D` is empty",
        );
    }

    #[test]
    fn invalid_utf8_is_named_with_its_column() {
        let dir = folder(CORPUS, QUERIES, QRELS);
        fs::write(dir.path().join("corpus.jsonl"), b"{\"_id\":\"a\xFF\"}").unwrap();
        let error = Dataset::load(dir.path(), &["train"]).unwrap_err().to_string();
        assert!(error.ends_with("line 1: column 10: invalid UTF-8"), "{error}");
    }

    #[test]
    fn what_is_not_there_is_named_with_what_is() {
        let dir = folder(CORPUS, QUERIES, QRELS);
        let error = Dataset::load(dir.path(), &["trian"]).unwrap_err();
        assert_eq!(error.hint().unwrap(), "did you mean `train`? there are: `train`");
        fs::remove_file(dir.path().join("queries.jsonl")).unwrap();
        let error = Dataset::load(dir.path(), &["train"]).unwrap_err();
        assert!(matches!(error, DataError::NotBeir { missing: "queries.jsonl", .. }));
        let error = Dataset::load(&dir.path().join("nowhere"), &["train"]).unwrap_err();
        assert!(matches!(error, DataError::Missing { .. }));
    }

    #[test]
    fn saving_and_loading_is_the_identity() {
        let dir = folder(CORPUS, QUERIES, QRELS);
        let dataset = Dataset::load(dir.path(), &["train"]).unwrap();
        let copy = tempfile::tempdir().unwrap();
        dataset.save(copy.path()).unwrap();
        let again = Dataset::load(copy.path(), &["train"]).unwrap();
        assert!(again.documents().eq(dataset.documents()));
        assert_eq!(again.queries(), dataset.queries());
        assert_eq!(again.judgments("train"), dataset.judgments("train"));
    }

    #[test]
    fn all_judgments_are_read_but_only_one_split_must_hold_some() {
        let dir = folder(CORPUS, QUERIES, QRELS);
        fs::write(dir.path().join("qrels/empty.tsv"), "query-id\tcorpus-id\tscore\n").unwrap();
        fs::write(dir.path().join("qrels/test.tsv"), "q\t2\t1\n").unwrap();
        let dataset = Dataset::load_with_all_judgments(dir.path(), "train").unwrap();
        assert_eq!(dataset.split_names().collect::<Vec<_>>(), ["empty", "test", "train"]);
        assert_eq!(dataset.positives(&["train", "test"]).of(0), [0, 1]);
        let error = Dataset::load_with_all_judgments(dir.path(), "empty").unwrap_err();
        assert!(matches!(error, DataError::EmptySplit { .. }), "{error}");
        let error = Dataset::load_with_all_judgments(dir.path(), "nowhere").unwrap_err();
        assert!(matches!(error, DataError::NoSplit { .. }), "{error}");
    }

    #[test]
    fn judged_negatives_are_hard_negatives() {
        let dir = folder(CORPUS, QUERIES, QRELS);
        let dataset = Dataset::load(dir.path(), &["train"]).unwrap();
        let row = Pair { query: 0, document: 0, negatives: vec![1], scores: Vec::new() };
        assert_eq!(dataset.pairs("train"), [row]);
    }

    #[test]
    fn copies_share_a_key_and_known_positives_are_found_through_it() {
        let document = |id: &str, text: &str| Document {
            id: id.into(),
            title: String::new(),
            text: text.into(),
        };
        let query = |id: &str, text: &str| Query { id: id.into(), text: text.into() };
        let judgment =
            |q: &str, d: &str| Judgment { query_id: q.into(), document_id: d.into(), grade: 1 };
        let dataset = Dataset::from_records(
            vec![document("a", "one  thing"), document("b", "other"), document("c", "One thing ")],
            vec![query("p", "P?"), query("q", "Q?")],
            [("train".into(), vec![judgment("p", "a"), judgment("q", "b"), judgment("q", "c")])],
        )
        .unwrap();
        assert_eq!(dataset.document_keys(), [0, 1, 0]);
        let positives = dataset.positives(&["train"]);
        // Row 0 is (p, a), row 1 is (q, b): q is relevant to a's copy c, so row 0's document is no
        // negative of row 1's query.
        assert_eq!(positives.known(&[0, 1], &[0, 1]), [(1, 0)]);
    }
}
