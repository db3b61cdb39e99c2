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

/// A document: what is found. A [`Dataset`](crate::Dataset) lends those that it holds as
/// `Document<&str>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Document<S = String> {
    /// The id that judgments and runs name it by.
    #[serde(rename = "_id")]
    pub id: S,
    /// Its title; empty if it has none.
    pub title: S,
    /// Its text.
    pub text: S,
}

impl Document {
    /// The document, lent.
    pub fn as_deref(&self) -> Document<&str> {
        let Self { id, title, text } = self;
        Document { id, title, text }
    }

    /// [`passage`](Document::<&str>::passage) of a document of one's own.
    pub fn passage(&self, mode: DocumentText) -> Cow<'_, str> {
        self.as_deref().passage(mode)
    }
}

impl<'a> Document<&'a str> {
    /// The text an encoder or BM25 reads, white space at its ends removed.
    ///
    /// # Examples
    ///
    /// ```
    /// use samtone_data::Document;
    /// use samtone_text::DocumentText;
    ///
    /// let document = Document { id: "d1", title: "Wells", text: "They hold water." };
    /// assert_eq!(document.passage(DocumentText::TitleText), "Wells They hold water.");
    /// assert_eq!(document.passage(DocumentText::Text), "They hold water.");
    /// ```
    pub fn passage(&self, mode: DocumentText) -> Cow<'a, str> {
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
