//! Tevatron's JSON lines, in its two generations.
//!
//! Inline: `{"query_id", "query", "positive_passages": [{"docid", "title", "text"}],
//! "negative_passages": [...]}`. By id: a corpus `{"docid", "document_text"}` and
//! `{"query_id", "query_text", "positive_document_ids", "negative_document_ids"}`. Each line tells by its
//! fields which it is; a corpus must come before the lines that name its ids.

use std::borrow::Cow;
use std::io::{self, Write};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::example::Example;
use super::passage::Passage;
use super::sink::{Failure, Sink};
use super::writing;
use crate::error::{DataError, Fault};
use crate::reading::json::{Id, Text};
use crate::reading::lines::Line;

/// A line, as its fields tell.
#[derive(Clone, Debug, PartialEq)]
pub enum Record<'a> {
    /// A document of a corpus.
    Document(Passage<'a>),
    /// A query with its passages.
    Example(Example<'a>),
    /// A query with the ids of its passages.
    Ids {
        /// The query.
        query: Passage<'a>,
        /// The ids of the documents relevant to it, at least one.
        positives: Vec<Cow<'a, str>>,
        /// The ids of documents not relevant to it.
        negatives: Vec<Cow<'a, str>>,
    },
}

/// A passage's fields. Read and written, they borrow in different types of id and text.
#[derive(Serialize, Deserialize)]
struct PassageFields<I, T> {
    #[serde(skip_serializing_if = "Option::is_none")]
    docid: Option<I>,
    #[serde(skip_serializing_if = "Option::is_none")]
    title: Option<T>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<T>,
}

/// The fields of any line, as [`PassageFields`].
#[derive(Default, Serialize, Deserialize)]
struct Fields<I, T> {
    #[serde(skip_serializing_if = "Option::is_none")]
    query_id: Option<I>,
    #[serde(skip_serializing_if = "Option::is_none")]
    query: Option<T>,
    #[serde(skip_serializing_if = "Option::is_none")]
    query_text: Option<T>,
    #[serde(skip_serializing_if = "Option::is_none")]
    positive_passages: Option<Vec<PassageFields<I, T>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    negative_passages: Option<Vec<PassageFields<I, T>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    positive_document_ids: Option<Vec<I>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    negative_document_ids: Option<Vec<I>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    docid: Option<I>,
    #[serde(skip_serializing_if = "Option::is_none")]
    title: Option<T>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<T>,
    #[serde(skip_serializing_if = "Option::is_none")]
    document_text: Option<T>,
}

/// Parses a line.
///
/// # Errors
/// A [`Fault`] if the line is none of the three.
pub fn parse<'a>(line: Line<'a>) -> Result<Record<'a>, Fault> {
    let raw: Fields<Id<'a>, Text<'a>> = line.json()?;
    if let Some(id) = raw.docid {
        let text = raw.document_text.or(raw.text);
        let text = text.ok_or_else(|| line.missing("document_text"))?.0;
        let title = raw.title.unwrap_or_default().0;
        if text.trim().is_empty() && title.trim().is_empty() {
            return Err(Fault::EmptyField { field: "document_text" });
        }
        return Ok(Record::Document(Passage { id: Some(id.0), title, text, score: None }));
    }
    let text = raw.query.or(raw.query_text).ok_or_else(|| line.missing("query"))?.0;
    let query = Passage { id: raw.query_id.map(|id| id.0), ..Passage::text(text) };
    if let Some(positives) = raw.positive_document_ids {
        let ids = |ids: Vec<Id<'a>>| ids.into_iter().map(|id| id.0).collect();
        let positives: Vec<_> = ids(positives);
        if query.text.trim().is_empty() {
            return Err(Fault::EmptyField { field: "query" });
        }
        if positives.is_empty() {
            return Err(Fault::NoPositive { query: query.text.chars().take(40).collect() });
        }
        let negatives = ids(raw.negative_document_ids.unwrap_or_default());
        return Ok(Record::Ids { query, positives, negatives });
    }
    let positives = raw.positive_passages.ok_or_else(|| line.missing("positive_passages"))?;
    let passages = |raw: Vec<PassageFields<Id<'a>, Text<'a>>>| {
        let passage = |raw: PassageFields<Id<'a>, Text<'a>>| {
            let text = raw.text.ok_or(Fault::MissingField { field: "text", found: Vec::new() })?.0;
            let title = raw.title.unwrap_or_default().0;
            Ok(Passage { id: raw.docid.map(|id| id.0), title, text, score: None })
        };
        raw.into_iter().map(passage).collect::<Result<Vec<_>, Fault>>()
    };
    let negatives = passages(raw.negative_passages.unwrap_or_default())?;
    let example = Example { query, positives: passages(positives)?, negatives };
    example.check()?;
    Ok(Record::Example(example))
}

pub(super) fn import(inputs: &[PathBuf], sink: &mut Sink<'_>) -> Result<(), DataError> {
    for path in inputs {
        sink.begin(path);
        sink.lines(path, |sink, line| take(sink, parse(line)?, line.number))?;
    }
    Ok(())
}

fn take(sink: &mut Sink<'_>, record: Record<'_>, line: u64) -> Result<(), Failure> {
    match record {
        Record::Document(passage) => {
            let id = passage.id.as_deref().unwrap_or_default();
            sink.document(id, &passage.title, &passage.text, line)
        }
        Record::Example(example) => writing::write(sink, &example, 1, line),
        Record::Ids { query, positives, negatives } => {
            let judged =
                positives.iter().map(|id| (id, 1)).chain(negatives.iter().map(|id| (id, 0)));
            let judged = judged.map(|(id, grade)| {
                let (field, within) = ("document id", "corpus read so far");
                let unknown = || Fault::UnknownId { field, id: id.to_string(), within };
                Ok((sink.find_document(id).ok_or_else(unknown)?, grade))
            });
            let judged = judged.collect::<Result<Vec<_>, Fault>>()?;
            let split = sink.split();
            let query = sink.intern_query(&query, line)?;
            judged
                .into_iter()
                .try_for_each(|(document, grade)| sink.judge(&split, query, document, grade))
        }
    }
}

/// Writes a record as one line.
///
/// # Errors
/// If `out` cannot be written.
pub fn write(out: &mut impl Write, record: &Record<'_>) -> io::Result<()> {
    fn fields<'a>(passage: &'a Passage<'_>) -> PassageFields<&'a str, &'a str> {
        let (title, text) = (Some(&*passage.title), Some(&*passage.text));
        PassageFields { docid: passage.id(), title, text }
    }
    let line = match record {
        Record::Document(document) => {
            let PassageFields { docid, title, text } = fields(document);
            Fields { docid, title, text, ..Fields::default() }
        }
        Record::Example(example) => Fields {
            query_id: example.query.id(),
            query: Some(&*example.query.text),
            positive_passages: Some(example.positives.iter().map(fields).collect()),
            negative_passages: Some(example.negatives.iter().map(fields).collect()),
            ..Fields::default()
        },
        Record::Ids { query, positives, negatives } => Fields {
            query_id: query.id(),
            query_text: Some(&*query.text),
            positive_document_ids: Some(positives.iter().map(|id| &**id).collect()),
            negative_document_ids: Some(negatives.iter().map(|id| &**id).collect()),
            ..Fields::default()
        },
    };
    serde_json::to_writer(&mut *out, &line)?;
    out.write_all(b"\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_holds_the_fields_of_its_kind_alone() {
        let passage =
            |id: Option<&'static str>| Passage { id: id.map(Into::into), ..Passage::text("one") };
        let (query, positives) = (passage(Some("q")), vec![passage(Some("d"))]);
        let example = Example { query, positives, negatives: vec![passage(None)] };
        let (positives, negatives) = (vec!["d".into()], Vec::new());
        let records = [
            (Record::Document(passage(Some("d"))), r#"{"docid":"d","title":"","text":"one"}"#),
            (
                Record::Example(example),
                r#"{"query_id":"q","query":"one","positive_passages":[{"docid":"d","title":"","text":"one"}],"negative_passages":[{"title":"","text":"one"}]}"#,
            ),
            (
                Record::Ids { query: passage(None), positives, negatives },
                r#"{"query_text":"one","positive_document_ids":["d"],"negative_document_ids":[]}"#,
            ),
        ];
        for (record, expected) in records {
            let mut line = Vec::new();
            write(&mut line, &record).unwrap();
            assert_eq!(String::from_utf8(line).unwrap(), format!("{expected}\n"));
        }
    }
}
