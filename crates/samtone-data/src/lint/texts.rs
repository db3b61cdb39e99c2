//! Texts that are checked for repeating one another.

use std::borrow::Cow;
use std::collections::HashSet;

use samtone_text::DocumentText;

use super::minhash;
use crate::dataset::{Dataset, text_hash};
use crate::reading::interner::ByHash;

/// Some documents, or some queries, of a data set, without a copy of their texts.
pub(super) struct Texts<'a> {
    dataset: &'a Dataset,
    /// What is read of documents; of queries there is nothing to choose.
    documents: Option<DocumentText>,
    /// Where they stand in the data set.
    places: Vec<usize>,
}

impl<'a> Texts<'a> {
    /// All documents, as `mode` reads them.
    pub(super) fn documents(dataset: &'a Dataset, mode: DocumentText) -> Self {
        let places = (0..dataset.documents().len()).collect();
        Self { dataset, documents: Some(mode), places }
    }

    /// The documents that a split calls relevant.
    pub(super) fn relevant(dataset: &'a Dataset, split: &str, mode: DocumentText) -> Self {
        let mut seen = HashSet::new();
        let places = dataset.pairs(split).into_iter().map(|pair| pair.document);
        let places = places.filter(|&document| seen.insert(document)).collect();
        Self { dataset, documents: Some(mode), places }
    }

    /// The queries of a split.
    pub(super) fn queries(dataset: &'a Dataset, split: &str) -> Self {
        Self { dataset, documents: None, places: dataset.queries_of(split) }
    }

    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    /// The id of the `i`-th text.
    pub(super) fn id(&self, i: usize) -> &'a str {
        self.id_at(self.places[i])
    }

    pub(super) fn ids(&self) -> impl Iterator<Item = &'a str> {
        self.places.iter().map(|&place| self.id_at(place))
    }

    /// The `i`-th text.
    pub(super) fn text(&self, i: usize) -> Cow<'a, str> {
        let place = self.places[i];
        match self.documents {
            Some(mode) => self.dataset.document(place).passage(mode),
            None => Cow::Borrowed(&self.dataset.queries()[place].text),
        }
    }

    /// Where the first text of the data set stands that reads the same as the `i`-th.
    fn first(&self, i: usize) -> usize {
        let is_query = self.documents.is_none();
        let keys = if is_query { self.dataset.query_keys() } else { self.dataset.document_keys() };
        keys[self.places[i]]
    }

    fn id_at(&self, place: usize) -> &'a str {
        match self.documents {
            Some(_) => self.dataset.document(place).id,
            None => &self.dataset.queries()[place].id,
        }
    }

    /// Which texts repeat an earlier one word for word.
    pub(super) fn copies(&self) -> impl Iterator<Item = usize> {
        let mut seen = HashSet::<usize, ByHash>::default();
        (0..self.len()).filter(move |&i| !seen.insert(self.first(i)))
    }

    /// A copy in words: what it repeats, then itself.
    pub(super) fn copy(&self, copy: usize) -> String {
        format!("{} = {}", self.id_at(self.first(copy)), self.id(copy))
    }

    /// Texts that nearly repeat an earlier one, copies left out, each behind what it repeats.
    pub(super) fn near_copies(&self, threshold: f64) -> impl Iterator<Item = String> {
        let mut seen = HashSet::new();
        minhash::near_pairs(self.len(), |i| self.text(i), threshold)
            .into_iter()
            .filter(move |&(a, b)| self.first(a) != self.first(b) && seen.insert(b))
            .map(move |(a, b)| format!("{} = {}", self.id(a), self.id(b)))
    }

    /// The ids of the texts that are one of `others` word for word, then of those that nearly are.
    pub(super) fn among(&self, others: &Texts<'_>, threshold: f64) -> [Vec<&'a str>; 2] {
        let known: HashSet<_> = (0..others.len()).map(|i| text_hash("", &others.text(i))).collect();
        let (same, rest): (Vec<usize>, Vec<usize>) =
            (0..self.len()).partition(|&i| known.contains(&text_hash("", &self.text(i))));
        let count = others.len();
        let text = |i: usize| if i < count { others.text(i) } else { self.text(rest[i - count]) };
        let near = minhash::near_any(count, rest.len(), text, threshold);
        [
            same.into_iter().map(|i| self.id(i)).collect(),
            near.into_iter().map(|i| self.id(rest[i])).collect(),
        ]
    }
}
