//! What can be wrong with data, and where.

mod columns;

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

pub use self::columns::ColumnFault;
pub(crate) use self::columns::shell_word;
use crate::reading::signature::Signature;

/// Everything that reading, writing or preparing data can fail with.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DataError {
    /// A file or folder that is not there.
    #[error("`{}` does not exist", path.display())]
    Missing {
        /// The file or folder asked for.
        path: PathBuf,
        /// What lies beside it under the most similar name.
        nearest: Option<String>,
    },
    /// A folder that is not in BEIR layout.
    #[error("`{}` holds no `{missing}` (nor `{missing}.gz`, `{missing}.zst`)", dir.display())]
    NotBeir {
        /// The folder.
        dir: PathBuf,
        /// The file it needs.
        missing: &'static str,
    },
    /// A split that a data set does not have.
    #[error("`{}` has no split `{split}`", dir.display())]
    NoSplit {
        /// The data set.
        dir: PathBuf,
        /// The split asked for.
        split: String,
        /// The splits there are.
        available: Vec<String>,
    },
    /// A split without a single judgment.
    #[error("split `{split}` of `{}` is empty", dir.display())]
    EmptySplit {
        /// The data set.
        dir: PathBuf,
        /// The split asked for.
        split: String,
        /// The splits there are.
        available: Vec<String>,
    },
    /// One record of a file is wrong.
    #[error("`{}`, line {line}: {fault}", path.display())]
    Record {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1; in a file without lines, the record.
        line: u64,
        /// What is wrong with it.
        fault: Fault,
    },
    /// A tokenizer that cannot do what is asked.
    #[error(transparent)]
    Text(#[from] samtone_text::TextError),
    /// An output that is there already.
    #[error("`{}` exists already", path.display())]
    Exists {
        /// The file or folder.
        path: PathBuf,
    },
    /// Input files without a record of a kind that the output needs.
    #[error("the input holds no {what}")]
    NothingOf {
        /// The kind of record.
        what: &'static str,
    },
    /// A file whose role in a format cannot be told from its name.
    #[error("cannot tell what `{}` holds: expected {expected}", path.display())]
    UnknownRole {
        /// The file.
        path: PathBuf,
        /// The names the format uses.
        expected: &'static str,
    },
    /// A file of a format that this build does not read.
    #[error("`{}` needs the feature `{feature}`, which this build lacks", path.display())]
    NeedsFeature {
        /// The file.
        path: PathBuf,
        /// The cargo feature.
        feature: &'static str,
    },
    /// A file that could not be read.
    #[error("cannot read `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// A file that could not be written.
    #[error("cannot write `{}`", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// A file that is no text, under a name that promises one.
    #[error("`{}` is {}", path.display(), kind.name())]
    NotText {
        /// The file.
        path: PathBuf,
        /// What it is.
        kind: Signature,
    },
    /// Columns of which it cannot be told what they are.
    #[error("`{}`: {fault}", path.display())]
    Columns {
        /// The file.
        path: PathBuf,
        /// What is wrong with them.
        fault: ColumnFault,
    },
    /// One record of a file in a foreign format is wrong.
    #[error("`{}`, line {line}: {fault}", path.display())]
    ForeignRecord {
        /// The format's name on the command line.
        format: &'static str,
        /// The file.
        path: PathBuf,
        /// The line, counted from 1; in a file without lines, the record.
        line: u64,
        /// What is wrong with it.
        fault: Fault,
    },
}

/// What is wrong with one record.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// Text that is not JSON, or JSON of another shape.
    #[error("column {column}: {message}")]
    Json {
        /// The byte of the line where reading stopped, counted from 1.
        column: usize,
        /// What was expected and what was there.
        message: String,
    },
    /// A field that is not there.
    #[error("field `{field}` is missing")]
    MissingField {
        /// The field.
        field: &'static str,
        /// The fields that are there.
        found: Vec<String>,
    },
    /// A field that is there and holds nothing.
    #[error("field `{field}` is null")]
    NullField {
        /// The field.
        field: &'static str,
    },
    /// A field that holds nothing but white space.
    #[error("field `{field}` is empty")]
    EmptyField {
        /// The field.
        field: &'static str,
    },
    /// An id that a tab-separated file could not hold.
    #[error("field `{field}`: the id {id:?} holds a tab or a line break")]
    BadId {
        /// The field.
        field: &'static str,
        /// The id.
        id: String,
    },
    /// Bytes that are not UTF-8.
    #[error("column {column}: invalid UTF-8")]
    Utf8 {
        /// The first wrong byte of the line, counted from 1.
        column: usize,
    },
    /// The wrong number of columns.
    #[error("expected {expected}, got {got} column{}", if *got == 1 { "" } else { "s" })]
    Columns {
        /// The columns that should be there, in words.
        expected: &'static str,
        /// How many there are.
        got: usize,
    },
    /// Text where a whole number belongs.
    #[error("field `{field}`: expected a whole number, got `{got}`")]
    Number {
        /// The field.
        field: &'static str,
        /// What it holds.
        got: String,
    },
    /// An id that an earlier line holds already.
    #[error("{field} `{id}` is already on line {first}")]
    DuplicateId {
        /// The field.
        field: &'static str,
        /// The id.
        id: String,
        /// The line that holds it, counted from 1.
        first: u64,
    },
    /// A second judgment of one query and document.
    #[error("query `{query}` and document `{document}` are judged twice")]
    DuplicateJudgment {
        /// The query's id.
        query: String,
        /// The document's id.
        document: String,
    },
    /// An id that leads nowhere.
    #[error("{field} `{id}` is not in the {within}")]
    UnknownId {
        /// The field.
        field: &'static str,
        /// The id.
        id: String,
        /// Where it should be.
        within: &'static str,
    },
    /// A query to which nothing is relevant.
    #[error("query `{query}` has no positive")]
    NoPositive {
        /// The query's id, or the beginning of its text.
        query: String,
    },
    /// The same id with another text.
    #[error("{field} `{id}` has another text than on line {first}")]
    ConflictingText {
        /// The field.
        field: &'static str,
        /// The id.
        id: String,
        /// The line that holds it first, counted from 1.
        first: u64,
    },
    /// A value outside the ones allowed.
    #[error("field `{field}`: expected {expected}, got `{got}`")]
    Value {
        /// The field.
        field: &'static str,
        /// The values allowed, in words.
        expected: &'static str,
        /// What it holds.
        got: String,
    },
    /// An answer that its context does not hold where it should.
    #[error("question `{id}`: the answer {answer:?} is not at character {start} of its context")]
    Answer {
        /// The question's id.
        id: String,
        /// The answer.
        answer: String,
        /// Where it should be, in characters from 0.
        start: usize,
    },
    /// A record that does not begin or does not end.
    #[error("the record is cut off: it has no `{missing}`")]
    CutOff {
        /// The tag that it lacks.
        missing: String,
    },
    /// A line longer than any record should be.
    #[error("longer than {limit} bytes")]
    TooLong {
        /// The limit, in bytes.
        limit: usize,
    },
    /// A row with more or fewer fields than its file has columns.
    #[error("expected {expected} columns as in the header, got {got}")]
    Row {
        /// The columns of the header.
        expected: usize,
        /// The fields of the row.
        got: usize,
        /// What stands between them.
        delimiter: char,
    },
    /// A quote in a CSV file that nothing closes.
    #[error("a double quote opens a text and none closes it")]
    OpenQuote,
    /// A header in the middle of a file.
    #[error("the line repeats the header")]
    RepeatedHeader,
}

impl Fault {
    /// A serde error of one line, with the position it names.
    pub fn json(error: &serde_json::Error) -> Self {
        let text = error.to_string();
        let message = match text.rfind(" at line ") {
            Some(end) => text[..end].to_owned(),
            None => text,
        };
        Self::Json { column: error.column().max(1), message }
    }
}

impl DataError {
    /// What the reader may do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Missing { nearest: Some(name), .. } => Some(format!("did you mean `{name}`?")),
            Self::NotBeir { .. } => Some(
                "a data folder holds corpus.jsonl (`_id`, `title`, `text`), queries.jsonl (`_id`, \
                 `text`) and qrels/<split>.tsv (`query-id`, `corpus-id`, `score`), each plain, .gz \
                 or .zst; `samtone import` makes one from other formats"
                    .to_owned(),
            ),
            Self::NoSplit { available, split, .. } => Some(match nearest(split, available) {
                Some(name) => format!("did you mean `{name}`? {}", list_splits(available)),
                None => list_splits(available),
            }),
            Self::EmptySplit { available, .. } => Some(list_splits(available)),
            Self::Record { fault, .. } => fault.hint("beir"),
            Self::ForeignRecord { format, fault, .. } => fault.hint(format),
            Self::NotText { kind, .. } => Some(kind.advice().to_owned()),
            Self::Columns { fault, .. } => fault.hint(),
            Self::Exists { .. } => Some("name another one, or remove it first".to_owned()),
            Self::NothingOf { what: "document" } => Some(
                "give the file of documents too: the judged documents must be in the corpus"
                    .to_owned(),
            ),
            Self::NeedsFeature { feature, .. } => {
                Some(format!("build with `--features {feature}`"))
            }
            Self::Text(error) => error.hint(),
            _ => None,
        }
    }

    /// The error for a path that could not be opened: [`DataError::Missing`] with the most similar
    /// name beside it, or the system's reason.
    pub fn opening(path: &Path, source: io::Error) -> Self {
        if source.kind() != io::ErrorKind::NotFound {
            return Self::Read { path: path.to_owned(), source };
        }
        let wanted = path.file_name().map(|name| name.to_string_lossy().into_owned());
        let siblings: Vec<String> = path
            .parent()
            .map(|parent| if parent.as_os_str().is_empty() { Path::new(".") } else { parent })
            .and_then(|parent| parent.read_dir().ok())
            .map(|entries| {
                entries.flatten().map(|e| e.file_name().to_string_lossy().into_owned()).collect()
            })
            .unwrap_or_default();
        let nearest = wanted.and_then(|wanted| {
            let name = nearest(&wanted, &siblings)?;
            Some(path.with_file_name(name).display().to_string())
        });
        Self::Missing { path: path.to_owned(), nearest }
    }

    /// The error of writing to `path`.
    pub fn writing(path: &Path) -> impl FnOnce(io::Error) -> Self + '_ {
        move |source| Self::Write { path: path.to_owned(), source }
    }

    /// The error as one of importing this format.
    pub(crate) fn of_import(self, format: &'static str) -> Self {
        match self {
            Self::Record { path, line, fault } => Self::ForeignRecord { format, path, line, fault },
            other => other,
        }
    }
}

/// The columns of a line of `qrels/<split>.tsv`.
pub(crate) const BEIR_JUDGMENT: &str = "3 columns (query-id, corpus-id, score)";

impl Fault {
    /// A word or two for this kind of fault, to count by.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Json { .. } => "broken json",
            Self::MissingField { .. } => "missing field",
            Self::NullField { .. } => "null field",
            Self::EmptyField { .. } => "empty text",
            Self::BadId { .. } => "bad id",
            Self::Utf8 { .. } => "invalid utf-8",
            Self::Columns { .. } | Self::Row { .. } => "wrong columns",
            Self::Number { .. } | Self::Value { .. } => "bad value",
            Self::DuplicateId { .. } => "duplicate id",
            Self::DuplicateJudgment { .. } => "duplicate judgment",
            Self::UnknownId { .. } => "id to nowhere",
            Self::NoPositive { .. } => "no positive",
            Self::ConflictingText { .. } => "conflicting text",
            Self::Answer { .. } => "misplaced answer",
            Self::CutOff { .. } => "cut off",
            Self::TooLong { .. } => "too long",
            Self::OpenQuote => "open quote",
            Self::RepeatedHeader => "repeated header",
        }
    }

    /// What the reader may do about it; `format` is what `samtone import` calls the file's.
    pub(crate) fn hint(&self, format: &str) -> Option<String> {
        match self {
            Self::MissingField { found, .. } if found.is_empty() => None,
            Self::MissingField { found, .. } => Some(format!("the line has {}", quote_all(found))),
            Self::Json { message, .. } if message.starts_with("trailing characters") => {
                Some("each line holds one JSON object".to_owned())
            }
            Self::Json { message, .. } if message.starts_with("invalid type") => None,
            Self::Json { .. } => Some(
                "each line holds one whole JSON object, its quotes and backslashes escaped"
                    .to_owned(),
            ),
            Self::Columns { expected: BEIR_JUDGMENT, got: 4 } => Some(
                "four columns look like TREC qrels: `samtone import trec` converts them".to_owned(),
            ),
            Self::Columns { .. } => Some("columns are separated by one tab each".to_owned()),
            Self::Utf8 { .. } => {
                let command = "iconv -f WINDOWS-1252 -t UTF-8";
                Some(format!("convert the file first, for example with `{command}`"))
            }
            Self::DuplicateId { .. } | Self::DuplicateJudgment { .. } => Some(format!(
                "`samtone import {format} --on-error skip` keeps the first and lists what it leaves \
                 out"
            )),
            Self::UnknownId { .. } => Some(format!(
                "is this file of the same data set? `samtone import {format} --on-error skip` \
                 leaves such lines out"
            )),
            Self::Row { delimiter, .. } => Some(format!(
                "columns are separated by {}; a text that holds one stands in double quotes",
                name_of(*delimiter)
            )),
            Self::OpenQuote => Some(
                "a text in double quotes ends with one, and one inside it is written twice"
                    .to_owned(),
            ),
            Self::RepeatedHeader => {
                Some("were files put together? `--on-error skip` leaves such lines out".to_owned())
            }
            _ => None,
        }
    }
}

/// A delimiter in words.
fn name_of(delimiter: char) -> String {
    if delimiter == '\t' { "one tab each".to_owned() } else { format!("`{delimiter}`") }
}

fn quote_all(names: &[String]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

fn list_splits(available: &[String]) -> String {
    match available {
        [] => "there are no splits: `qrels/` holds no .tsv file".to_owned(),
        names => format!("there are: {}", quote_all(names)),
    }
}

/// The candidate most like `name`, if any is alike at all.
fn nearest<'a>(name: &str, candidates: &'a [String]) -> Option<&'a String> {
    candidates
        .iter()
        .map(|candidate| (strsim::jaro_winkler(name, candidate), candidate))
        .filter(|(similarity, _)| *similarity > 0.75)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}

/// Why a file or folder was not written: what should be in it, or the system.
#[derive(Debug)]
pub(crate) enum Unwritten {
    Content(DataError),
    System(io::Error),
}

impl Unwritten {
    /// The error of writing to `path`.
    pub(crate) fn at(self, path: &Path) -> DataError {
        match self {
            Self::Content(error) => error,
            Self::System(source) => DataError::Write { path: path.to_owned(), source },
        }
    }
}

impl From<DataError> for Unwritten {
    fn from(error: DataError) -> Self {
        Self::Content(error)
    }
}

impl From<io::Error> for Unwritten {
    fn from(error: io::Error) -> Self {
        Self::System(error)
    }
}
