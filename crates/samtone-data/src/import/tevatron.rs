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

use super::example::{self, Example};
use super::passage::Passage;
use super::sink::{Failure, Sink};
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

#[derive(Deserialize)]
struct RawPassage<'a> {
    #[serde(borrow)]
    docid: Option<Id<'a>>,
    #[serde(borrow)]
    title: Option<Text<'a>>,
    #[serde(borrow)]
    text: Option<Text<'a>>,
}

#[derive(Deserialize)]
struct Raw<'a> {
    #[serde(borrow)]
    query_id: Option<Id<'a>>,
    #[serde(borrow)]
    query: Option<Text<'a>>,
    #[serde(borrow)]
    query_text: Option<Text<'a>>,
    #[serde(borrow)]
    positive_passages: Option<Vec<RawPassage<'a>>>,
    #[serde(borrow)]
    negative_passages: Option<Vec<RawPassage<'a>>>,
    #[serde(borrow)]
    positive_document_ids: Option<Vec<Id<'a>>>,
    #[serde(borrow)]
    negative_document_ids: Option<Vec<Id<'a>>>,
    #[serde(borrow)]
    docid: Option<Id<'a>>,
    #[serde(borrow)]
    title: Option<Text<'a>>,
    #[serde(borrow)]
    text: Option<Text<'a>>,
    #[serde(borrow)]
    document_text: Option<Text<'a>>,
}

/// Parses a line.
///
/// # Errors
/// A [`Fault`] if the line is none of the three.
pub fn parse<'a>(line: Line<'a>) -> Result<Record<'a>, Fault> {
    let raw: Raw<'a> = line.json()?;
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
    let passages = |raw: Vec<RawPassage<'a>>| {
        let passage = |raw: RawPassage<'a>| {
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
        Record::Example(example) => example::write(sink, &example, line),
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

#[derive(Serialize)]
struct WrittenPassage<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    docid: Option<&'a str>,
    title: &'a str,
    text: &'a str,
}

#[derive(Serialize)]
struct WrittenExample<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    query_id: Option<&'a str>,
    query: &'a str,
    positive_passages: Vec<WrittenPassage<'a>>,
    negative_passages: Vec<WrittenPassage<'a>>,
}

#[derive(Serialize)]
struct WrittenIds<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    query_id: Option<&'a str>,
    query_text: &'a str,
    positive_document_ids: &'a [Cow<'a, str>],
    negative_document_ids: &'a [Cow<'a, str>],
}

/// Writes a record as one line.
///
/// # Errors
/// If `out` cannot be written.
pub fn write(out: &mut impl Write, record: &Record<'_>) -> io::Result<()> {
    fn written<'a>(passage: &'a Passage<'_>) -> WrittenPassage<'a> {
        WrittenPassage { docid: passage.id(), title: &passage.title, text: &passage.text }
    }
    match record {
        Record::Document(document) => serde_json::to_writer(&mut *out, &written(document))?,
        Record::Example(example) => {
            let line = WrittenExample {
                query_id: example.query.id(),
                query: &example.query.text,
                positive_passages: example.positives.iter().map(written).collect(),
                negative_passages: example.negatives.iter().map(written).collect(),
            };
            serde_json::to_writer(&mut *out, &line)?;
        }
        Record::Ids { query, positives, negatives } => {
            let line = WrittenIds {
                query_id: query.id(),
                query_text: &query.text,
                positive_document_ids: positives,
                negative_document_ids: negatives,
            };
            serde_json::to_writer(&mut *out, &line)?;
        }
    }
    out.write_all(b"\n")
}
