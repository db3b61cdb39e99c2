//! Where imported records go: checks, then a folder in BEIR layout.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    ffi::OsString,
    fs::{self, File},
    hash::{BuildHasherDefault, DefaultHasher, Hash, Hasher},
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
};

use flate2::write::GzEncoder;

use super::{ImportOptions, ImportReport, OnError, Progress, example::Passage};
use crate::{
    beir::{self, QRELS_HEADER, check_id},
    error::{DataError, Fault, write_error},
    lines::Lines,
};

/// How many skipped records the report itself lists.
const LISTED: usize = 20;

/// Records between two reports of progress.
const PROGRESS_EVERY: u64 = 4096;

pub(crate) struct Sink<'a> {
    files: Files,
    options: &'a ImportOptions,
    report: ImportReport,
    documents: Known,
    queries: Known,
    splits: BTreeMap<String, SplitFile>,
    skipped: Option<Output>,
    progress: &'a mut dyn FnMut(Progress),
    total_bytes: u64,
    /// Bytes of the files done.
    bytes: u64,
    records: u64,
}

/// The folder being written; removed unless it is finished.
struct Files {
    out: PathBuf,
    partial: PathBuf,
    gzip: bool,
    corpus: Option<Output>,
    query_file: Option<Output>,
}

struct SplitFile {
    output: Output,
    judged: HashSet<u64, ByHash>,
    /// Queries judged so far without a positive.
    pending: HashSet<u64, ByHash>,
}

/// What is kept of ids: a hash, and what is needed to report a second one.
#[derive(Default)]
struct Known {
    by_id: HashMap<u64, Seen, ByHash>,
    by_text: HashMap<u128, u32, BuildHasherDefault<Folded>>,
    numbered: u32,
}

#[derive(Clone, Copy)]
struct Seen {
    line: u32,
    text: u32,
}

impl Sink<'_> {
    pub(crate) fn create<'a>(
        out: &Path,
        inputs: &[PathBuf],
        options: &'a ImportOptions,
        progress: &'a mut dyn FnMut(Progress),
    ) -> Result<Sink<'a>, DataError> {
        if out.exists() {
            return Err(DataError::Exists { path: out.to_owned() });
        }
        let total_bytes = inputs.iter().map(|input| size_of_tree(input)).sum();
        let mut name = OsString::from(".");
        name.push(out.file_name().unwrap_or_default());
        name.push(format!(".partial-{}", std::process::id()));
        let partial = out.with_file_name(name);
        let qrels = partial.join("qrels");
        fs::create_dir_all(&qrels).map_err(write_error(&qrels))?;
        let mut files = Files {
            out: out.to_owned(),
            partial,
            gzip: options.gzip,
            corpus: None,
            query_file: None,
        };
        files.corpus = Some(files.create("corpus.jsonl")?);
        files.query_file = Some(files.create("queries.jsonl")?);
        Ok(Sink {
            files,
            options,
            report: ImportReport::default(),
            documents: Known::default(),
            queries: Known::default(),
            splits: BTreeMap::new(),
            skipped: None,
            progress,
            total_bytes,
            bytes: 0,
            records: 0,
        })
    }

    /// The split of judgments whose file does not name one.
    pub(crate) fn split(&self) -> String {
        self.options.split.clone()
    }

    /// Reads the lines of a file, `each` turning one into records of this sink.
    pub(crate) fn lines(
        &mut self,
        path: &Path,
        mut each: impl FnMut(&mut Self, crate::lines::Line<'_>) -> Result<(), Failure>,
    ) -> Result<(), DataError> {
        self.records(path, Lines::next, &mut each)
    }

    /// As [`Sink::lines`] for records that `next` reads.
    pub(crate) fn records(
        &mut self,
        path: &Path,
        mut next: impl for<'l> FnMut(&'l mut Lines) -> Result<Option<crate::lines::Line<'l>>, DataError>,
        mut each: impl FnMut(&mut Self, crate::lines::Line<'_>) -> Result<(), Failure>,
    ) -> Result<(), DataError> {
        let mut lines = Lines::open(path)?;
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

    /// Lets a wrong record pass if it may be skipped.
    pub(crate) fn outcome(&mut self, outcome: Result<(), DataError>) -> Result<(), DataError> {
        match outcome {
            Err(error @ DataError::Record { .. }) if self.options.on_error == OnError::Skip => {
                self.skip(&error)
            }
            other => other,
        }
    }

    fn skip(&mut self, error: &DataError) -> Result<(), DataError> {
        let DataError::Record { fault, .. } = error else { return Ok(()) };
        *self.report.skipped.entry(fault.kind()).or_default() += 1;
        if self.report.first_skipped.len() < LISTED {
            self.report.first_skipped.push(error.to_string());
        }
        let file = match &mut self.skipped {
            Some(file) => file,
            None => self.skipped.insert(self.files.create_plain("skipped.txt")?),
        };
        file.write(|out| writeln!(out, "{error}"))
    }

    /// Writes a document that has an id; a second one of this id is a fault.
    pub(crate) fn document(
        &mut self,
        id: &str,
        title: &str,
        text: &str,
        line: u64,
    ) -> Result<(), Failure> {
        check_id("document", id)?;
        if title.trim().is_empty() && text.trim().is_empty() {
            return Err(Fault::EmptyField { field: "text" }.into());
        }
        self.documents.insert("document", id, line)?;
        self.write_document(id, title, text)
    }

    /// Writes a query that has an id; a second one of this id is a fault.
    pub(crate) fn query(&mut self, id: &str, text: &str, line: u64) -> Result<(), Failure> {
        check_id("query", id)?;
        if text.trim().is_empty() {
            return Err(Fault::EmptyField { field: "query" }.into());
        }
        self.queries.insert("query", id, line)?;
        self.write_query(id, text)
    }

    /// Whether a document with this id was written.
    pub(crate) fn has_document(&self, id: &str) -> bool {
        self.documents.by_id.contains_key(&hash(id))
    }

    /// Writes a passage unless it was written before, and returns its id: its own, or one given to its
    /// text.
    pub(crate) fn passage(&mut self, passage: &Passage<'_>, line: u64) -> Result<String, Failure> {
        let (title, text) = (&*passage.title, &*passage.text);
        let (id, new) =
            self.documents.intern("document", 'd', passage.id(), (title, text), line)?;
        if new {
            self.write_document(&id, title, text)?;
        }
        Ok(id)
    }

    /// As [`Sink::passage`] for a query.
    pub(crate) fn intern_query(
        &mut self,
        query: &Passage<'_>,
        line: u64,
    ) -> Result<String, Failure> {
        let text = &*query.text;
        let (id, new) = self.queries.intern("query", 'q', query.id(), ("", text), line)?;
        if new {
            self.write_query(&id, text)?;
        }
        Ok(id)
    }

    fn write_document(&mut self, id: &str, title: &str, text: &str) -> Result<(), Failure> {
        self.report.documents += 1;
        let Some(corpus) = &mut self.files.corpus else { return Ok(()) };
        Ok(corpus.write(|out| beir::write_document(out, id, title, text))?)
    }

    fn write_query(&mut self, id: &str, text: &str) -> Result<(), Failure> {
        self.report.queries += 1;
        let Some(queries) = &mut self.files.query_file else { return Ok(()) };
        Ok(queries.write(|out| beir::write_query(out, id, text))?)
    }

    /// Writes a judgment; its query and document must have been written. A second judgment of the same
    /// two is a fault if `strict`, and passed over otherwise.
    pub(crate) fn judgment(
        &mut self,
        split: &str,
        query: &str,
        document: &str,
        grade: i32,
        strict: bool,
    ) -> Result<(), Failure> {
        let unknown = |field, id: &str, within| Fault::UnknownId { field, id: id.into(), within };
        if !self.queries.by_id.contains_key(&hash(query)) {
            return Err(unknown("query-id", query, "queries").into());
        }
        if !self.has_document(document) {
            return Err(unknown("corpus-id", document, "corpus").into());
        }
        if !self.splits.contains_key(split) {
            let mut output = self.files.create(&format!("qrels/{split}.tsv"))?;
            output.write(|out| writeln!(out, "{QRELS_HEADER}"))?;
            let (judged, pending) = (HashSet::default(), HashSet::default());
            self.splits.insert(split.to_owned(), SplitFile { output, judged, pending });
        }
        let Some(file) = self.splits.get_mut(split) else { return Ok(()) };
        if !file.judged.insert(hash(&(query, document))) {
            let (query, document) = (query.to_owned(), document.to_owned());
            let fault = Fault::DuplicateJudgment { query, document };
            return if strict { Err(fault.into()) } else { Ok(()) };
        }
        // The key of "some positive of this query" shares the set with the judgments'.
        let satisfied = hash(&(query, "\0positive"));
        if grade >= 1 {
            file.judged.insert(satisfied);
            file.pending.remove(&hash(query));
        } else if !file.judged.contains(&satisfied) {
            file.pending.insert(hash(query));
        }
        *self.report.judgments.entry(split.to_owned()).or_default() += 1;
        Ok(file.output.write(|out| writeln!(out, "{query}\t{document}\t{grade}"))?)
    }

    /// Closes the files and puts the folder in its place.
    pub(crate) fn finish(mut self) -> Result<ImportReport, DataError> {
        for (what, count) in [("document", self.report.documents), ("query", self.report.queries)] {
            if count == 0 {
                return Err(DataError::NothingOf { what });
            }
        }
        let outputs = [self.files.corpus.take(), self.files.query_file.take(), self.skipped.take()];
        for output in outputs.into_iter().flatten() {
            output.close()?;
        }
        for (split, file) in std::mem::take(&mut self.splits) {
            if !file.pending.is_empty() {
                let without = file.pending.len() as u64;
                self.report.queries_without_positive.insert(split, without);
            }
            file.output.close()?;
        }
        let out = &self.files.out;
        fs::rename(&self.files.partial, out).map_err(write_error(out))?;
        let (bytes, total_bytes, records) = (self.total_bytes, self.total_bytes, self.records);
        (self.progress)(Progress { bytes, total_bytes, records });
        Ok(self.report)
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

impl Known {
    fn insert(&mut self, field: &'static str, id: &str, line: u64) -> Result<(), Fault> {
        let seen = Seen { line: line.try_into().unwrap_or(u32::MAX), text: 0 };
        match self.by_id.entry(hash(id)) {
            std::collections::hash_map::Entry::Occupied(entry) => {
                let first = entry.get().line.into();
                Err(Fault::DuplicateId { field, id: id.to_owned(), first })
            }
            std::collections::hash_map::Entry::Vacant(entry) => {
                entry.insert(seen);
                Ok(())
            }
        }
    }

    /// The id of a text, and whether it is new.
    fn intern(
        &mut self,
        field: &'static str,
        prefix: char,
        id: Option<&str>,
        (title, text): (&str, &str),
        line: u64,
    ) -> Result<(String, bool), Fault> {
        let Some(id) = id else {
            if let Some(number) = self.by_text.get(&text_hash(title, text)) {
                return Ok((format!("{prefix}{number}"), false));
            }
            loop {
                let number = self.numbered;
                self.numbered += 1;
                let id = format!("{prefix}{number}");
                // A file may hold ids of this very form beside texts without one.
                if self.insert(field, &id, line).is_ok() {
                    self.by_text.insert(text_hash(title, text), number);
                    return Ok((id, true));
                }
            }
        };
        check_id(field, id)?;
        let short = hash(&(title, text)) as u32;
        let line = line.try_into().unwrap_or(u32::MAX);
        match self.by_id.get(&hash(id)) {
            None => {
                self.by_id.insert(hash(id), Seen { line, text: short });
                Ok((id.to_owned(), true))
            }
            Some(seen) if seen.text == short => Ok((id.to_owned(), false)),
            Some(seen) => {
                let first = seen.line.into();
                Err(Fault::ConflictingText { field, id: id.to_owned(), first })
            }
        }
    }
}

/// A 64-bit hash, the same in every process.
fn hash<T: Hash + ?Sized>(value: &T) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

/// A hash of the very text.
fn text_hash(title: &str, text: &str) -> u128 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&(title.len() as u64).to_le_bytes());
    hasher.update(title.as_bytes());
    hasher.update(text.as_bytes());
    let mut short = [0; 16];
    short.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
    u128::from_le_bytes(short)
}

type ByHash = BuildHasherDefault<Folded>;

/// Keys that are hashes already need no other.
#[derive(Default)]
struct Folded(u64);

impl Hasher for Folded {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.0 ^= u64::from_le_bytes(word);
        }
    }

    fn write_u64(&mut self, word: u64) {
        self.0 ^= word;
    }
}

impl Files {
    fn create(&self, name: &str) -> Result<Output, DataError> {
        if !self.gzip {
            return self.create_plain(name);
        }
        let path = self.partial.join(format!("{name}.gz"));
        let file = File::create(&path).map_err(write_error(&path))?;
        let level = flate2::Compression::new(6);
        let writer = Writer::Gzip(GzEncoder::new(BufWriter::new(file), level));
        Ok(Output { path, writer })
    }

    fn create_plain(&self, name: &str) -> Result<Output, DataError> {
        let path = self.partial.join(name);
        let file = File::create(&path).map_err(write_error(&path))?;
        Ok(Output { path, writer: Writer::Plain(BufWriter::with_capacity(1 << 18, file)) })
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        // After success the folder has moved away; after failure nothing half-written may stay, and a
        // failure to remove it is no reason to hide the first error.
        if self.partial.exists() {
            let _ = fs::remove_dir_all(&self.partial);
        }
    }
}

/// A file being written.
struct Output {
    path: PathBuf,
    writer: Writer,
}

enum Writer {
    Plain(BufWriter<File>),
    Gzip(GzEncoder<BufWriter<File>>),
}

impl Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(writer) => writer.write(bytes),
            Self::Gzip(writer) => writer.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(writer) => writer.flush(),
            Self::Gzip(writer) => writer.flush(),
        }
    }
}

impl Output {
    fn write(
        &mut self,
        write: impl FnOnce(&mut Writer) -> io::Result<()>,
    ) -> Result<(), DataError> {
        write(&mut self.writer).map_err(write_error(&self.path))
    }

    fn close(self) -> Result<(), DataError> {
        let file = match self.writer {
            Writer::Plain(writer) => Ok(writer),
            Writer::Gzip(writer) => writer.finish(),
        };
        file.and_then(|mut file| file.flush()).map_err(write_error(&self.path))
    }
}

/// Bytes of a file, or of all files in a folder.
fn size_of_tree(path: &Path) -> u64 {
    match fs::read_dir(path) {
        Ok(entries) => entries.flatten().map(|entry| size_of_tree(&entry.path())).sum(),
        Err(_) => fs::metadata(path).map_or(0, |metadata| metadata.len()),
    }
}
