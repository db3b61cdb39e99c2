//! Where imported records go: checks, then a folder in BEIR layout.

use std::collections::{BTreeMap, HashSet};
use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Read, Seek, Write};
use std::path::{Path, PathBuf};

use super::columns::roles::TakenColumns;
use super::example::Example;
use super::file_split::split_of;
use super::options::{
    FileSplit, ImportOptions, ImportReport, OnError, Progress, RENAMED_IDS, SCORED,
};
use super::pairs;
use super::passage::Passage;
use crate::error::{DataError, Fault};
use crate::output::{Folder, Output};
use crate::reading::beir::{self, DocumentLine, QRELS_HEADER, QueryLine};
use crate::reading::interner::{ByHash, Interner, Names};
use crate::reading::lines::{Line, Lines};

/// How many skipped records the report itself lists.
const LISTED: usize = 20;

/// Records between two reports of progress.
const PROGRESS_EVERY: u64 = 4096;

/// The split of judgments of which nothing says it.
pub(super) const DEFAULT_SPLIT: &str = "train";

/// What a negative that is a positive of the same query is counted as.
const CONTRADICTORY: &str = "contradictory negative";

pub(crate) struct Sink<'a> {
    options: &'a ImportOptions,
    report: ImportReport,
    folder: Folder,
    corpus: Output,
    query_file: Output,
    documents: Interner,
    queries: Interner,
    splits: BTreeMap<String, Split>,
    /// The files of a teacher's scores, by split.
    scored: BTreeMap<String, Output>,
    /// The split of judgments that do not name one, and the files whose splits are reported.
    split: String,
    /// The file that is read, until its first judgment; those that had one; whether the name of any
    /// said its split.
    file: Option<FileSplit>,
    files: Vec<FileSplit>,
    is_split_by_name: bool,
    is_single: bool,
    skipped: Option<Output>,
    progress: &'a mut dyn FnMut(Progress),
    total_bytes: u64,
    /// Bytes of the files done.
    bytes: u64,
    records: u64,
}

/// The judgments of a split. They lie by the numbers of their records in a file without a name until
/// the end, when names are settled and it is known which negatives are positives too.
struct Split {
    file: BufWriter<File>,
    count: u64,
    /// The two records of every judgment so far ([`key`]), by what they were judged first.
    positives: HashSet<u64, ByHash>,
    negatives: HashSet<u64, ByHash>,
    /// Those judged both, where a positive outweighs a negative.
    contradictory: HashSet<u64, ByHash>,
    /// Queries judged, and those of them that have a positive.
    judged: HashSet<u32, ByHash>,
    satisfied: HashSet<u32, ByHash>,
}

/// A query and a document as one number.
fn key(query: u32, document: u32) -> u64 {
    u64::from(query) << 32 | u64::from(document)
}

impl Sink<'_> {
    /// A sink that fills `folder`, which is there and empty.
    pub(crate) fn create<'a>(
        folder: &Path,
        inputs: &[PathBuf],
        options: &'a ImportOptions,
        progress: &'a mut dyn FnMut(Progress),
    ) -> Result<Sink<'a>, DataError> {
        let total_bytes = inputs.iter().map(|input| size_of_tree(input)).sum();
        let folder = Folder::new(folder, options.gzip);
        let qrels = folder.dir().join("qrels");
        fs::create_dir(&qrels).map_err(DataError::writing(&qrels))?;
        Ok(Sink {
            options,
            report: ImportReport::default(),
            corpus: folder.create("corpus.jsonl")?,
            query_file: folder.create("queries.jsonl")?,
            folder,
            documents: Interner::new("document", options.rename_ids),
            queries: Interner::new("query", options.rename_ids),
            splits: BTreeMap::new(),
            scored: BTreeMap::new(),
            split: options.split.clone().unwrap_or_else(|| DEFAULT_SPLIT.to_owned()),
            file: None,
            files: Vec::new(),
            is_split_by_name: false,
            is_single: inputs.len() == 1,
            skipped: None,
            progress,
            total_bytes,
            bytes: 0,
            records: 0,
        })
    }

    /// An input of a format whose files' names say their splits comes next.
    pub(crate) fn begin(&mut self, path: &Path) {
        if self.options.split.is_some() {
            return;
        }
        let told = split_of(path, self.is_single);
        self.is_split_by_name |= told.is_some();
        told.unwrap_or(DEFAULT_SPLIT).clone_into(&mut self.split);
        self.file = Some(FileSplit { path: path.to_owned(), split: self.split.clone() });
    }

    /// The lines of an input.
    pub(crate) fn open(&self, path: &Path) -> Result<Lines, DataError> {
        Lines::open_decoded(path, self.options.encoding)
    }

    /// The split of judgments whose file does not name one.
    pub(crate) fn split(&self) -> String {
        self.split.clone()
    }

    /// How to import.
    pub(crate) fn options(&self) -> &ImportOptions {
        self.options
    }

    /// Reads the lines of a file, `each` turning one into records of this sink.
    pub(crate) fn lines(
        &mut self,
        path: &Path,
        mut each: impl FnMut(&mut Self, Line<'_>) -> Result<(), Failure>,
    ) -> Result<(), DataError> {
        self.records(path, Lines::next, &mut each)
    }

    /// As [`Sink::lines`] for records that `next` reads.
    pub(crate) fn records(
        &mut self,
        path: &Path,
        mut next: impl for<'l> FnMut(&'l mut Lines) -> Result<Option<Line<'l>>, DataError>,
        mut each: impl FnMut(&mut Self, Line<'_>) -> Result<(), Failure>,
    ) -> Result<(), DataError> {
        let mut lines = self.open(path)?;
        loop {
            let position = lines.position();
            let outcome = match next(&mut lines) {
                Ok(None) => break,
                Ok(Some(line)) => {
                    let number = line.number;
                    each(self, line).map_err(|failure| failure.at(path, number))
                }
                Err(error) => Err(error),
            };
            self.outcome(outcome)?;
            self.count(position);
        }
        self.bytes += lines.position();
        Ok(())
    }

    /// Counts a record; `position` is that of the file being read.
    pub(crate) fn count(&mut self, position: u64) {
        self.records += 1;
        if self.records.is_multiple_of(PROGRESS_EVERY) {
            let (bytes, total_bytes) = (self.bytes + position, self.total_bytes);
            (self.progress)(Progress { bytes, total_bytes, records: self.records });
        }
    }

    /// A file is done that was not read by [`Sink::records`].
    pub(crate) fn file_done(&mut self, position: u64) {
        self.bytes += position;
    }

    /// Notes how the columns of a file are taken.
    pub(crate) fn columns_taken(&mut self, taken: TakenColumns) {
        self.report.columns.push(taken);
    }

    /// Lets a wrong record pass if it may be skipped.
    pub(crate) fn outcome(&mut self, outcome: Result<(), DataError>) -> Result<(), DataError> {
        match outcome {
            Err(error @ DataError::Record { .. }) if self.options.on_error == OnError::Skip => {
                let DataError::Record { fault, .. } = &error else { return Ok(()) };
                self.skip(fault.kind(), &error.to_string())
            }
            other => other,
        }
    }

    fn skip(&mut self, kind: &'static str, what: &str) -> Result<(), DataError> {
        *self.report.skipped.entry(kind).or_default() += 1;
        if self.report.first_skipped.len() < LISTED {
            self.report.first_skipped.push(what.to_owned());
        }
        let file = match &mut self.skipped {
            Some(file) => file,
            None => self.skipped.insert(self.folder.create_plain("skipped.txt")?),
        };
        file.write(|out| writeln!(out, "{what}"))
    }

    /// Writes a document that has an id; a second one of this id is a fault.
    pub(crate) fn document(
        &mut self,
        id: &str,
        title: &str,
        text: &str,
        line: u64,
    ) -> Result<(), Failure> {
        if title.trim().is_empty() && text.trim().is_empty() {
            return Err(Fault::EmptyField { field: "text" }.into());
        }
        self.documents.add(id, (title, text), line)?;
        Ok(self.corpus.write(|out| beir::write_document(out, id, title, text))?)
    }

    /// Writes a query that has an id; a second one of this id is a fault.
    pub(crate) fn query(&mut self, id: &str, text: &str, line: u64) -> Result<(), Failure> {
        if text.trim().is_empty() {
            return Err(Fault::EmptyField { field: "query" }.into());
        }
        self.queries.add(id, ("", text), line)?;
        Ok(self.query_file.write(|out| beir::write_query(out, id, text))?)
    }

    /// The number of the document that has this id.
    pub(crate) fn find_document(&self, id: &str) -> Option<u32> {
        self.documents.find(id)
    }

    /// Writes a passage unless it was written before, and returns its number.
    pub(crate) fn passage(&mut self, passage: &Passage<'_>, line: u64) -> Result<u32, Failure> {
        let (title, text) = (&*passage.title, &*passage.text);
        let found = self.documents.intern(passage.id(), (title, text), line)?;
        if let Some(id) = found.new {
            self.corpus.write(|out| beir::write_document(out, &id, title, text))?;
        }
        Ok(found.index)
    }

    /// As [`Sink::passage`] for a query.
    pub(crate) fn intern_query(&mut self, query: &Passage<'_>, line: u64) -> Result<u32, Failure> {
        let text = &*query.text;
        let found = self.queries.intern(query.id(), ("", text), line)?;
        if let Some(id) = found.new {
            self.query_file.write(|out| beir::write_query(out, &id, text))?;
        }
        Ok(found.index)
    }

    /// Writes a judgment by ids; its query and document must have been written. A second judgment of
    /// the same two is a fault if `strict`; otherwise a positive outweighs a negative.
    pub(crate) fn judgment(
        &mut self,
        split: &str,
        query: &str,
        document: &str,
        grade: i32,
        strict: bool,
    ) -> Result<(), Failure> {
        let unknown = |field, id: &str, within| Fault::UnknownId { field, id: id.into(), within };
        let query_index = self.queries.find(query);
        let query_index = query_index.ok_or_else(|| unknown("query-id", query, "queries"))?;
        let document_index = self.documents.find(document);
        let document_index =
            document_index.ok_or_else(|| unknown("corpus-id", document, "corpus"))?;
        if strict && self.splits.get(split).is_some_and(|s| s.holds(query_index, document_index)) {
            let (query, document) = (query.to_owned(), document.to_owned());
            return Err(Fault::DuplicateJudgment { query, document }.into());
        }
        self.judge(split, query_index, document_index, grade)
    }

    /// As [`Sink::judgment`] by numbers, and not strict.
    pub(crate) fn judge(
        &mut self,
        split: &str,
        query: u32,
        document: u32,
        grade: i32,
    ) -> Result<(), Failure> {
        self.files.extend(self.file.take());
        if !self.splits.contains_key(split) {
            self.splits.insert(split.to_owned(), Split::create(self.folder.dir())?);
        }
        let Some(judgments) = self.splits.get_mut(split) else { return Ok(()) };
        Ok(judgments.push(query, document, grade).map_err(DataError::writing(self.folder.dir()))?)
    }

    /// Writes an example with a teacher's scores as rows of a file of pairs: judgments have no place for
    /// them.
    pub(crate) fn scored(&mut self, split: &str, example: &Example<'_>) -> Result<(), DataError> {
        if !self.scored.contains_key(split) {
            let folder = self.folder.dir().join(SCORED);
            fs::create_dir_all(&folder).map_err(DataError::writing(&folder))?;
            let file = self.folder.create(&format!("{SCORED}/{split}.jsonl"))?;
            self.scored.insert(split.to_owned(), file);
        }
        let rows = self.report.scored.entry(split.to_owned()).or_default();
        *rows += example.positives.len() as u64;
        let Some(file) = self.scored.get_mut(split) else { return Ok(()) };
        file.write(|out| pairs::write(out, example))
    }

    /// Settles names and judgments, and closes the files.
    pub(crate) fn finish(mut self) -> Result<ImportReport, DataError> {
        self.report.documents = self.documents.len() as u64;
        self.report.queries = self.queries.len() as u64;
        if self.is_split_by_name {
            self.report.files = std::mem::take(&mut self.files);
        }
        for (what, count) in [("document", self.report.documents), ("query", self.report.queries)] {
            if count == 0 {
                return Err(DataError::NothingOf { what });
            }
        }
        self.report.ids_with_white_space =
            self.documents.with_white_space() + self.queries.with_white_space();
        self.corpus.close()?;
        self.query_file.close()?;
        self.scored.values_mut().try_for_each(Output::close)?;
        let documents = std::mem::take(&mut self.documents).into_names();
        let queries = std::mem::take(&mut self.queries).into_names();
        settle(&self.folder, "corpus.jsonl", &documents, |out, line, id| {
            let document = DocumentLine::parse(line)?;
            Ok(out.write(|out| beir::write_document(out, id, &document.title, &document.text))?)
        })?;
        settle(&self.folder, "queries.jsonl", &queries, |out, line, id| {
            let query = QueryLine::parse(line)?;
            Ok(out.write(|out| beir::write_query(out, id, &query.text))?)
        })?;
        self.write_renamed([("document", &documents), ("query", &queries)])?;
        for (name, judgments) in std::mem::take(&mut self.splits) {
            self.write_split(name, judgments, &queries, &documents)?;
        }
        if let Some(mut skipped) = self.skipped.take() {
            skipped.close()?;
        }
        let (bytes, total_bytes, records) = (self.total_bytes, self.total_bytes, self.records);
        (self.progress)(Progress { bytes, total_bytes, records });
        Ok(self.report)
    }

    /// Writes the table of the names that took an id's place, if there are any.
    fn write_renamed(&mut self, kinds: [(&str, &Names); 2]) -> Result<(), DataError> {
        let renamed = |names: &Names| names.renamed().count() as u64;
        self.report.renamed_ids = kinds.iter().map(|(_, names)| renamed(names)).sum();
        if self.report.renamed_ids == 0 {
            return Ok(());
        }
        let mut table = self.folder.create_plain(RENAMED_IDS)?;
        table.write(|out| {
            writeln!(out, "kind\told\tnew")?;
            for (kind, names) in kinds {
                for (old, new) in names.renamed() {
                    writeln!(out, "{kind}\t{old}\t{new}")?;
                }
            }
            Ok(())
        })?;
        table.close()
    }

    fn write_split(
        &mut self,
        name: String,
        judgments: Split,
        queries: &Names,
        documents: &Names,
    ) -> Result<(), DataError> {
        let mut file = self.folder.create(&format!("qrels/{name}.tsv"))?;
        file.write(|out| writeln!(out, "{QRELS_HEADER}"))?;
        let without = judgments.judged.len() - judgments.satisfied.len();
        if without > 0 {
            self.report.queries_without_positive.insert(name.clone(), without as u64);
        }
        let contradictory = judgments.contradictory;
        let mut reader = JudgmentReader::new(judgments.file, judgments.count)
            .map_err(DataError::writing(self.folder.dir()))?;
        let mut written = 0;
        while let Some((query, document, grade)) =
            reader.next().map_err(DataError::writing(self.folder.dir()))?
        {
            let is_contradictory = contradictory.contains(&key(query, document));
            let (query, document) = (queries.get(query), documents.get(document));
            if is_contradictory && grade <= 0 {
                continue;
            }
            if is_contradictory {
                let what = format!(
                    "split `{name}`: document `{document}` is a negative of query `{query}` and \
                     a positive: it stays a positive"
                );
                self.skip(CONTRADICTORY, &what)?;
            }
            written += 1;
            file.write(|out| writeln!(out, "{query}\t{document}\t{grade}"))?;
        }
        self.report.judgments.insert(name, written);
        file.close()
    }
}

impl Split {
    fn create(folder: &Path) -> Result<Self, DataError> {
        let file = tempfile::tempfile_in(folder).map_err(DataError::writing(folder))?;
        Ok(Self {
            file: BufWriter::new(file),
            count: 0,
            positives: HashSet::default(),
            negatives: HashSet::default(),
            contradictory: HashSet::default(),
            judged: HashSet::default(),
            satisfied: HashSet::default(),
        })
    }

    fn holds(&self, query: u32, document: u32) -> bool {
        let key = key(query, document);
        self.positives.contains(&key) || self.negatives.contains(&key)
    }

    fn push(&mut self, query: u32, document: u32, grade: i32) -> io::Result<()> {
        let key = key(query, document);
        self.judged.insert(query);
        let is_new = if grade >= 1 {
            self.satisfied.insert(query);
            if self.negatives.contains(&key) {
                self.contradictory.insert(key);
            }
            self.positives.insert(key)
        } else if self.positives.contains(&key) {
            self.contradictory.insert(key);
            false
        } else {
            self.negatives.insert(key)
        };
        if !is_new {
            return Ok(());
        }
        self.count += 1;
        self.file.write_all(&query.to_le_bytes())?;
        self.file.write_all(&document.to_le_bytes())?;
        self.file.write_all(&grade.to_le_bytes())
    }
}

/// Reads back what [`Split::push`] wrote.
struct JudgmentReader {
    file: BufReader<File>,
    left: u64,
}

impl JudgmentReader {
    fn new(file: BufWriter<File>, count: u64) -> io::Result<Self> {
        let mut file = file.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.rewind()?;
        Ok(Self { file: BufReader::new(file), left: count })
    }

    /// The numbers of the query and the document, and the grade.
    fn next(&mut self) -> io::Result<Option<(u32, u32, i32)>> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        let mut words = [[0; 4]; 3];
        for word in &mut words {
            self.file.read_exact(word)?;
        }
        let [query, document, grade] = words;
        let (query, document) = (u32::from_le_bytes(query), u32::from_le_bytes(document));
        Ok(Some((query, document, i32::from_le_bytes(grade))))
    }
}

/// Why a record could not be taken.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The record is wrong.
    Fault(Fault),
    /// Something else.
    Error(DataError),
}

impl Failure {
    pub(crate) fn at(self, path: &Path, line: u64) -> DataError {
        match self {
            Self::Fault(fault) => DataError::Record { path: path.to_owned(), line, fault },
            Self::Error(error) => error,
        }
    }
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl From<DataError> for Failure {
    fn from(error: DataError) -> Self {
        Self::Error(error)
    }
}

/// Writes the file of these records anew, if any of them has another name by now.
fn settle(
    folder: &Folder,
    name: &str,
    names: &Names,
    mut write: impl FnMut(&mut Output, Line<'_>, &str) -> Result<(), Failure>,
) -> Result<(), DataError> {
    if names.are_as_given() {
        return Ok(());
    }
    let given = folder.path(&format!("given-{name}"));
    fs::rename(folder.path(name), &given).map_err(DataError::writing(&given))?;
    let mut out = folder.create(name)?;
    let mut lines = Lines::open(&given)?;
    for index in 0.. {
        let Some(line) = lines.next()? else { break };
        let number = line.number;
        write(&mut out, line, &names.get(index)).map_err(|failure| failure.at(&given, number))?;
    }
    out.close()?;
    fs::remove_file(&given).map_err(DataError::writing(&given))
}

/// Bytes of a file, or of all files in a folder.
fn size_of_tree(path: &Path) -> u64 {
    match fs::read_dir(path) {
        Ok(entries) => entries.flatten().map(|entry| size_of_tree(&entry.path())).sum(),
        Err(_) => fs::metadata(path).map_or(0, |metadata| metadata.len()),
    }
}
