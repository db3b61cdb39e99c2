//! What can be wrong with one record.

use thiserror::Error;

use super::words::quote_all;

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
        /// Whether the line looks like Windows-1252.
        is_windows_1252: bool,
    },
    /// Bytes that are no character in the encoding of their file.
    #[error("column {column}: no character in the encoding of the file")]
    Undecodable {
        /// Where they are in the line, in bytes of UTF-8, counted from 1.
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
        let message = message
            .replace("expected f64", "expected a number")
            .replace("expected usize", "expected a whole number of at least 0");
        Self::Json { column: error.column().max(1), message }
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
            Self::Undecodable { .. } => "undecodable",
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
            Self::Utf8 { is_windows_1252: true, .. } => Some(format!(
                "it looks like Windows-1252: `samtone import {format} --encoding windows-1252` reads it"
            )),
            Self::Utf8 { .. } | Self::Undecodable { .. } => Some(format!(
                "if the file is in another encoding, say which: `samtone import {format} --encoding \
                 LABEL`"
            )),
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
