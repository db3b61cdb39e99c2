//! Texts that are checked for repeating one another.

use std::borrow::Cow;
use std::collections::HashSet;

use samtone_text::DocumentText;

use super::minhash;
use crate::dataset::{Dataset, text_hash};

/// Some documents, or some queries, of a data set.
pub(super) struct Texts<'a> {
    pub(super) ids: Vec<&'a str>,
    pub(super) words: Vec<Cow<'a, str>>,
    /// Per text, the id of the first one of the data set that reads the same.
    firsts: Vec<&'a str>,
}

impl<'a> Texts<'a> {
    /// The documents at `places`, as `mode` reads them.
    pub(super) fn documents(
        dataset: &'a Dataset,
        places: impl IntoIterator<Item = usize>,
        mode: DocumentText,
    ) -> Self {
        let (documents, keys) = (dataset.documents(), dataset.document_keys());
        let one =
            |i: usize| (&*documents[i].id, documents[i].passage(mode), &*documents[keys[i]].id);
        let (ids, words, firsts) = places.into_iter().map(one).collect();
        Self { ids, words, firsts }
    }

    /// The documents that a split calls relevant.
    pub(super) fn relevant(dataset: &'a Dataset, split: &str, mode: DocumentText) -> Self {
        let mut seen = HashSet::new();
        let places = dataset.pairs(split).into_iter().map(|pair| pair.document);
        Self::documents(dataset, places.filter(|&document| seen.insert(document)), mode)
    }

    /// The queries of a split.
    pub(super) fn queries(dataset: &'a Dataset, split: &str) -> Self {
        let (queries, keys) = (dataset.queries(), dataset.query_keys());
        let one =
            |i: usize| (&*queries[i].id, Cow::Borrowed(&*queries[i].text), &*queries[keys[i]].id);
        let (ids, words, firsts) = dataset.queries_of(split).into_iter().map(one).collect();
        Self { ids, words, firsts }
    }

    /// The places of texts that repeat an earlier one word for word.
    pub(super) fn copies(&self) -> impl Iterator<Item = usize> {
        let mut seen = HashSet::new();
        self.firsts
            .iter()
            .enumerate()
            .filter_map(move |(i, first)| (!seen.insert(first)).then_some(i))
    }

    /// A copy in words: what it repeats, then itself.
    pub(super) fn copy(&self, copy: usize) -> String {
        format!("{} = {}", self.firsts[copy], self.ids[copy])
    }

    /// Texts that nearly repeat an earlier one, copies left out, each behind what it repeats.
    pub(super) fn near_copies(&self, threshold: f64) -> impl Iterator<Item = String> {
        let mut seen = HashSet::new();
        minhash::near_pairs(&self.words, threshold)
            .into_iter()
            .filter(move |&(a, b)| self.firsts[a] != self.firsts[b] && seen.insert(b))
            .map(move |(a, b)| format!("{} = {}", self.ids[a], self.ids[b]))
    }

    /// The ids of the texts that are one of `others` word for word, then of those that nearly are.
    pub(super) fn among(&self, others: &Texts<'_>, threshold: f64) -> [Vec<&'a str>; 2] {
        let known: HashSet<_> = others.words.iter().map(|text| text_hash("", text)).collect();
        let texts = self.ids.iter().zip(&self.words);
        let (same, rest): (Vec<_>, Vec<_>) =
            texts.partition(|(_, text)| known.contains(&text_hash("", text)));
        let (ids, texts): (Vec<&str>, Vec<&str>) =
            rest.into_iter().map(|(id, text)| (*id, &**text)).unzip();
        let near = minhash::near_any(&texts, &others.words, threshold);
        [
            same.into_iter().map(|(id, _)| *id).collect(),
            near.into_iter().map(|place| ids[place]).collect(),
        ]
    }
}
