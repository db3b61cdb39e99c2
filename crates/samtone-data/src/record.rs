//! The records of retrieval data: queries, documents, judgments, pairs.

use std::borrow::Cow;

use samtone_text::DocumentText;
use serde::Serialize;

/// Whether an id can stand in a TREC run or qrels file: it is not empty and holds no white space (of
/// ASCII, which is what parts the columns).
pub fn id_fits_trec(id: &str) -> bool {
    !id.is_empty() && !id.contains(|c: char| c.is_ascii_whitespace())
}

/// A query: what is asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Query {
    /// The id that judgments and runs name it by.
    #[serde(rename = "_id")]
    pub id: String,
    /// Its text.
    pub text: String,
}

/// A document: what is found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Document {
    /// The id that judgments and runs name it by.
    #[serde(rename = "_id")]
    pub id: String,
    /// Its title; empty if it has none.
    pub title: String,
    /// Its text.
    pub text: String,
}

impl Document {
    /// The text an encoder or BM25 reads, white space at its ends removed.
    ///
    /// # Examples
    ///
    /// ```
    /// use samtone_data::Document;
    /// use samtone_text::DocumentText;
    ///
    /// let document = Document { id: "d1".into(), title: "Wells".into(), text: "They hold water.".into() };
    /// assert_eq!(document.passage(DocumentText::TitleText), "Wells They hold water.");
    /// assert_eq!(document.passage(DocumentText::Text), "They hold water.");
    /// ```
    pub fn passage(&self, mode: DocumentText) -> Cow<'_, str> {
        let (title, text) = (self.title.trim(), self.text.trim());
        match mode {
            DocumentText::Text => Cow::Borrowed(text),
            DocumentText::TitleText if title.is_empty() => Cow::Borrowed(text),
            DocumentText::TitleText if text.is_empty() => Cow::Borrowed(title),
            DocumentText::TitleText => Cow::Owned(format!("{title} {text}")),
        }
    }
}

/// One line of qrels: how relevant a document is to a query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judgment {
    /// The query's id.
    pub query_id: String,
    /// The document's id.
    pub document_id: String,
    /// 1 or more: relevant; 0 or less: not.
    pub grade: i32,
}

/// One training row: a query, a document relevant to it, and any hard negatives, as indices into
/// the [`Dataset`](crate::Dataset) they come from.
#[derive(Clone, Debug, PartialEq)]
pub struct Pair {
    /// Index of the query.
    pub query: usize,
    /// Index of the document.
    pub document: usize,
    /// Indices of its hard negatives.
    pub negatives: Vec<usize>,
    /// A teacher's scores of the document and of each negative, in that order; empty if it gave none.
    pub scores: Vec<f64>,
}
