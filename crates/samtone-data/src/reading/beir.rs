//! The BEIR layout: `corpus.jsonl`, `queries.jsonl`, `qrels/<split>.tsv`, each plain, `.gz` or `.zst`.

use std::borrow::Cow;
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::error::{BEIR_JUDGMENT, DataError, Fault};
use crate::reading::json::{Id, Text};
use crate::reading::lines::{Compression, Line, Lines};
use crate::record::{Document, Query};

/// The columns of a BEIR qrels file.
pub const QRELS_HEADER: &str = "query-id\tcorpus-id\tscore";

#[derive(Deserialize)]
struct RawDocument<'a> {
    #[serde(borrow, rename = "_id")]
    id: Option<Id<'a>>,
    #[serde(borrow)]
    title: Option<Text<'a>>,
    #[serde(borrow)]
    text: Option<Text<'a>>,
}

#[derive(Deserialize)]
struct RawQuery<'a> {
    #[serde(borrow, rename = "_id")]
    id: Option<Id<'a>>,
    #[serde(borrow)]
    text: Option<Text<'a>>,
}

/// A document as it lies in its line: nothing is copied that need not be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DocumentLine<'a> {
    /// The id.
    pub id: Cow<'a, str>,
    /// The title; empty if there is none.
    pub title: Cow<'a, str>,
    /// The text.
    pub text: Cow<'a, str>,
}

impl<'a> DocumentLine<'a> {
    /// Parses a line of `corpus.jsonl`.
    ///
    /// # Errors
    /// A [`Fault`] if the line is not a document.
    pub fn parse(line: Line<'a>) -> Result<Self, Fault> {
        Self::parse_as(line, None)
    }

    /// [`parse`](Self::parse) where a document without `_id` is called by its line's number.
    ///
    /// # Errors
    /// As [`parse`](Self::parse).
    pub fn parse_numbered(line: Line<'a>) -> Result<Self, Fault> {
        Self::parse_as(line, Some(line.number))
    }

    fn parse_as(line: Line<'a>, number: Option<u64>) -> Result<Self, Fault> {
        let raw: RawDocument<'a> = line.json()?;
        let id = id(raw.id, line, number)?;
        let text = raw.text.ok_or_else(|| line.missing("text"))?.0;
        check_id("_id", &id)?;
        Ok(Self { id, title: raw.title.unwrap_or_default().0, text })
    }

    /// The document, on its own.
    pub fn into_document(self) -> Document {
        Document {
            id: self.id.into_owned(),
            title: self.title.into_owned(),
            text: self.text.into_owned(),
        }
    }

    /// The document, lent.
    pub fn as_deref(&self) -> Document<&str> {
        let Self { id, title, text } = self;
        Document { id, title, text }
    }
}

/// The id that a line gives, or else `number`.
fn id<'a>(
    given: Option<Id<'a>>,
    line: Line<'a>,
    number: Option<u64>,
) -> Result<Cow<'a, str>, Fault> {
    match (given, number) {
        (Some(Id(id)), _) => Ok(id),
        (None, Some(number)) => Ok(number.to_string().into()),
        (None, None) => Err(line.missing("_id")),
    }
}

/// Refuses an id that is empty or that a tab-separated file could not hold.
pub(crate) fn check_id(field: &'static str, id: &str) -> Result<(), Fault> {
    if id.trim().is_empty() {
        return Err(Fault::EmptyField { field });
    }
    if id.contains(['\t', '\n', '\r']) {
        return Err(Fault::BadId { field, id: id.to_owned() });
    }
    Ok(())
}

/// A query as it lies in its line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueryLine<'a> {
    /// The id.
    pub id: Cow<'a, str>,
    /// The text.
    pub text: Cow<'a, str>,
}

impl<'a> QueryLine<'a> {
    /// Parses a line of `queries.jsonl`.
    ///
    /// # Errors
    /// A [`Fault`] if the line is not a query.
    pub fn parse(line: Line<'a>) -> Result<Self, Fault> {
        Self::parse_as(line, None)
    }

    /// [`parse`](Self::parse) where a query without `_id` is called by its line's number.
    ///
    /// # Errors
    /// As [`parse`](Self::parse).
    pub fn parse_numbered(line: Line<'a>) -> Result<Self, Fault> {
        Self::parse_as(line, Some(line.number))
    }

    fn parse_as(line: Line<'a>, number: Option<u64>) -> Result<Self, Fault> {
        let raw: RawQuery<'a> = line.json()?;
        let id = id(raw.id, line, number)?;
        let text = raw.text.ok_or_else(|| line.missing("text"))?.0;
        check_id("_id", &id)?;
        if text.trim().is_empty() {
            return Err(Fault::EmptyField { field: "text" });
        }
        Ok(Self { id, text })
    }

    /// The query, on its own.
    pub fn into_query(self) -> Query {
        Query { id: self.id.into_owned(), text: self.text.into_owned() }
    }
}

/// A judgment as it lies in its line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JudgmentLine<'a> {
    /// The query's id.
    pub query_id: &'a str,
    /// The document's id.
    pub document_id: &'a str,
    /// The grade.
    pub grade: i32,
}

impl<'a> JudgmentLine<'a> {
    /// Parses a line of `qrels/<split>.tsv`; `None` for the header.
    ///
    /// The first line is a header if its columns are called `query-id`, `corpus-id` and `score`, or as
    /// other files spell these.
    ///
    /// # Errors
    /// A [`Fault`] if the line is not a judgment.
    pub fn parse(line: Line<'a>) -> Result<Option<Self>, Fault> {
        let text = line.text()?;
        let mut columns = text.split('\t');
        let (Some(query_id), Some(document_id), Some(grade), None) =
            (columns.next(), columns.next(), columns.next(), columns.next())
        else {
            let got = text.split('\t').count();
            return Err(Fault::Columns { expected: BEIR_JUDGMENT, got });
        };
        if line.number == 1 && is_header([query_id, document_id, grade]) {
            return Ok(None);
        }
        check_id("query-id", query_id)?;
        check_id("corpus-id", document_id)?;
        let number = grade.trim().parse();
        let grade = number.map_err(|_| Fault::Number { field: "score", got: grade.to_owned() })?;
        Ok(Some(Self { query_id, document_id, grade }))
    }
}

/// Whether these are the names of a qrels file's columns: BEIR's or another known spelling, letter case
/// and `_` for `-` aside. `samtone-eval` has the same rule.
fn is_header(columns: [&str; 3]) -> bool {
    const NAMES: [&[&str]; 3] = [
        &["query-id", "queryid", "qid"],
        &["corpus-id", "corpusid", "doc-id", "docid", "did", "document-id", "passage-id", "pid"],
        &["score", "grade", "label", "rel", "relevance"],
    ];
    columns.into_iter().zip(NAMES).all(|(column, names)| {
        names.contains(&&*column.trim().to_ascii_lowercase().replace('_', "-"))
    })
}

/// A folder in BEIR layout.
#[derive(Clone, Debug)]
pub struct BeirFolder {
    dir: PathBuf,
    corpus: PathBuf,
    queries: PathBuf,
}

impl BeirFolder {
    /// Finds the files of a folder. Where one is there in several compressions, the plain one counts,
    /// then `.gz`.
    ///
    /// # Errors
    /// If the folder or one of its files is not there.
    pub fn open(dir: &Path) -> Result<Self, DataError> {
        Ok(Self {
            dir: dir.to_owned(),
            corpus: find_corpus(dir)?,
            queries: required(dir, "queries.jsonl")?,
        })
    }

    /// The folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The file of documents.
    pub fn corpus(&self) -> &Path {
        &self.corpus
    }

    /// The file of queries, of all splits.
    pub fn queries(&self) -> &Path {
        &self.queries
    }

    /// The names of the splits that have judgments, in alphabetical order.
    pub fn splits(&self) -> Vec<String> {
        let mut names: Vec<String> = std::fs::read_dir(self.dir.join("qrels"))
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|entry| split_name(&entry.file_name().to_string_lossy()))
            .collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// The file of a split's judgments.
    ///
    /// # Errors
    /// [`DataError::NoSplit`], with the splits there are.
    pub fn qrels(&self, split: &str) -> Result<PathBuf, DataError> {
        find(&self.dir.join("qrels"), &format!("{split}.tsv")).ok_or_else(|| DataError::NoSplit {
            dir: self.dir.clone(),
            split: split.to_owned(),
            available: self.splits(),
        })
    }
}

/// The file of documents of a folder that need not hold more.
///
/// # Errors
/// If the folder or the file is not there.
pub fn find_corpus(dir: &Path) -> Result<PathBuf, DataError> {
    std::fs::read_dir(dir).map_err(|source| DataError::opening(dir, source))?;
    required(dir, "corpus.jsonl")
}

fn required(dir: &Path, missing: &'static str) -> Result<PathBuf, DataError> {
    find(dir, missing).ok_or(DataError::NotBeir { dir: dir.to_owned(), missing })
}

fn find(dir: &Path, name: &str) -> Option<PathBuf> {
    Compression::ALL
        .into_iter()
        .map(|compression| dir.join(format!("{name}{}", compression.suffix())))
        .find(|path| path.is_file())
}

fn split_name(file: &str) -> Option<String> {
    let stem = Compression::ALL
        .into_iter()
        .rev()
        .find_map(|compression| file.strip_suffix(compression.suffix()))?;
    stem.strip_suffix(".tsv").filter(|name| !name.is_empty()).map(str::to_owned)
}

/// Calls `each` with every document of a file, in order.
///
/// # Errors
/// At the first line that cannot be read or that `each` finds fault with.
pub fn for_each_document(
    path: &Path,
    mut each: impl FnMut(DocumentLine<'_>, u64) -> Result<(), Fault>,
) -> Result<(), DataError> {
    for_each(path, |line| each(DocumentLine::parse(line)?, line.number))
}

/// Calls `each` with every query of a file, in order.
///
/// # Errors
/// As [`for_each_document`].
pub fn for_each_query(
    path: &Path,
    mut each: impl FnMut(QueryLine<'_>, u64) -> Result<(), Fault>,
) -> Result<(), DataError> {
    for_each(path, |line| each(QueryLine::parse(line)?, line.number))
}

/// Calls `each` with every judgment of a file, in order.
///
/// # Errors
/// As [`for_each_document`].
pub fn for_each_judgment(
    path: &Path,
    mut each: impl FnMut(JudgmentLine<'_>, u64) -> Result<(), Fault>,
) -> Result<(), DataError> {
    for_each(path, |line| match JudgmentLine::parse(line)? {
        Some(judgment) => each(judgment, line.number),
        None => Ok(()),
    })
}

fn for_each(
    path: &Path,
    mut each: impl FnMut(Line<'_>) -> Result<(), Fault>,
) -> Result<(), DataError> {
    let mut lines = Lines::open(path)?;
    while let Some(line) = lines.next()? {
        if let Err(fault) = each(line) {
            return Err(lines.fault(fault));
        }
    }
    Ok(())
}

/// Writes one document as a line of `corpus.jsonl`.
///
/// # Errors
/// If `out` cannot be written.
pub fn write_document(
    out: &mut impl Write,
    id: &str,
    title: &str,
    text: &str,
) -> std::io::Result<()> {
    out.write_all(b"{\"_id\":")?;
    serde_json::to_writer(&mut *out, id)?;
    out.write_all(b",\"title\":")?;
    serde_json::to_writer(&mut *out, title)?;
    out.write_all(b",\"text\":")?;
    serde_json::to_writer(&mut *out, text)?;
    out.write_all(b"}\n")
}

/// Writes one query as a line of `queries.jsonl`.
///
/// # Errors
/// If `out` cannot be written.
pub fn write_query(out: &mut impl Write, id: &str, text: &str) -> std::io::Result<()> {
    out.write_all(b"{\"_id\":")?;
    serde_json::to_writer(&mut *out, id)?;
    out.write_all(b",\"text\":")?;
    serde_json::to_writer(&mut *out, text)?;
    out.write_all(b"}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judgment(number: u64, text: &str) -> Result<Option<JudgmentLine<'_>>, Fault> {
        JudgmentLine::parse(Line { number, bytes: text.as_bytes() })
    }

    #[test]
    fn a_header_is_what_names_the_columns_on_the_first_line() {
        for header in [
            QRELS_HEADER,
            "query_id\tcorpus_id\tscore",
            "Query-ID\tDoc-ID\tRelevance",
            " qid\tpid\tlabel ",
        ] {
            assert_eq!(judgment(1, header), Ok(None), "{header}");
            let got = header.rsplit('\t').next().unwrap().to_owned();
            assert_eq!(judgment(2, header), Err(Fault::Number { field: "score", got }));
        }
    }

    #[test]
    fn the_first_judgment_is_a_judgment() {
        for number in [1, 2] {
            for got in ["1.0", "yes", "", "score"] {
                let text = format!("q\ta\t{got}");
                let fault = Fault::Number { field: "score", got: got.to_owned() };
                assert_eq!(judgment(number, &text), Err(fault), "{text}");
            }
            let text = "query-id-7\tcorpus-id\t 1 ";
            let expected =
                JudgmentLine { query_id: "query-id-7", document_id: "corpus-id", grade: 1 };
            assert_eq!(judgment(number, text), Ok(Some(expected)));
            let empty = Err(Fault::EmptyField { field: "query-id" });
            assert_eq!(judgment(number, "\tcorpus-id\tscore"), empty);
        }
    }

    #[test]
    fn null_is_not_missing() {
        let line = |text: &'static str| Line { number: 1, bytes: text.as_bytes() };
        let null = |field| Some(Fault::NullField { field });
        let document = |text| DocumentLine::parse(line(text)).err();
        assert_eq!(document(r#"{"_id": "1", "text": null}"#), null("text"));
        assert_eq!(document(r#"{"_id": null, "text": "a"}"#), null("_id"));
        assert_eq!(document(r#"{"_id": "1", "text": "a", "title": null}"#), None);
        let query = |text| QueryLine::parse(line(text)).err();
        assert_eq!(query(r#"{"_id": "1", "text": null}"#), null("text"));
        assert_eq!(query(r#"{"_id": null, "text": "a"}"#), null("_id"));
        let missing = Fault::MissingField { field: "text", found: vec!["_id".to_owned()] };
        assert_eq!(query(r#"{"_id": "1"}"#), Some(missing));
    }
}
