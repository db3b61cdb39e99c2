//! Embeddings into a collection, by one of perhaps several workers.

use std::collections::HashMap;
use std::time::Instant;

use anyhow::Context;
use samtone_data::Document;
use samtone_eval::bm25::{Analyzer, Bm25, Bm25Config};
use samtone_eval::search::{Dtype, Similarity};
use samtone_text::DocumentText;
use serde::Serialize;

use super::address::Address;
use super::engine::{Bm25Card, Card, Engine, Found, Row, Words};
use super::{batches, comparable, connect, read, settings, streams};
use crate::commands::reading::SimilarityChoice;
use crate::embeddings::Embeddings;
use crate::error::{Failure, Usage};
use crate::index::{Recall, Sample, Settings};
use crate::progress::Progress;

/// Documents of a request.
const ROWS: usize = 256;

/// Embeddings that are to stand in a collection.
pub(crate) struct Upload<'a> {
    pub(crate) address: &'a Address,
    pub(crate) documents: &'a Embeddings,
    /// Where they are, in a message.
    pub(crate) folder: String,
    /// The documents that they are of, to stand beside them; none: the embeddings stand alone.
    pub(crate) texts: Option<Vec<Document>>,
    pub(crate) similarity: Option<SimilarityChoice>,
    pub(crate) settings: Settings,
    pub(crate) streams: usize,
    /// Whether others follow, so that there is no graph yet.
    pub(crate) is_part: bool,
    /// Queries to measure by, instead of documents.
    pub(crate) queries: Option<&'a Embeddings>,
    /// The values to measure for.
    pub(crate) efs: &'a [usize],
}

/// What was done.
#[derive(Serialize)]
pub(crate) struct Made {
    #[serde(flatten)]
    pub(crate) card: Card,
    /// Embeddings that were to stand there.
    pub(crate) rows: usize,
    /// How many of them did, as they are.
    pub(crate) there: usize,
    /// How many documents stand there now, whoever put them.
    pub(crate) documents: usize,
    pub(crate) has_graph: bool,
    /// Without their measuring.
    pub(crate) seconds: f64,
    /// If all that stands there is of these embeddings.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) recall: Option<Vec<Recall>>,
}

impl Upload<'_> {
    /// Makes the collection if there is none, and puts there what it lacks, under a progress bar.
    ///
    /// # Errors
    /// If the collection is of another model, dimension or similarity, or the embeddings cannot stand
    /// there, or the server fails: the next call goes on.
    pub(crate) fn run(self) -> anyhow::Result<Made> {
        let start = Instant::now();
        let engine = connect(self.address, self.settings)?;
        let wrong = || format!("cannot index into `{}`", self.address);
        let texts = self.texts_of_rows()?;
        let card = self.card(texts.as_ref()).with_context(wrong)?;
        make(&*engine, &card).with_context(wrong)?;
        let bm25 = texts.as_ref().map(Texts::bm25);
        let there = self.put(&*engine, texts.as_ref().zip(bm25.as_ref())).with_context(wrong)?;
        if !self.is_part {
            engine.finish().with_context(wrong)?;
        }
        let documents = engine.count().with_context(wrong)?;
        let seconds = start.elapsed().as_secs_f64();
        let rows = self.documents.ids.len();
        let is_all = !self.is_part && documents == rows;
        let recall = is_all.then(|| self.measure(&*engine, &card)).transpose()?;
        let has_graph = !self.is_part;
        Ok(Made { card, rows, there, documents, has_graph, seconds, recall })
    }

    fn card(&self, texts: Option<&Texts<'_>>) -> anyhow::Result<Card> {
        let documents = self.documents;
        let Some(origin) = &documents.origin else {
            let message = format!("{} does not say what it comes from", self.folder);
            let hint =
                "`samtone encode` writes folders with an `encode.json`, which an index needs";
            return Err(Failure::new(message, hint).into());
        };
        if documents.dtype == Dtype::Binary {
            let message =
                "binary embeddings are compared by their bits, which a collection has not";
            return Err(Usage::new(message).with_hint("encode with another `--dtype`").into());
        }
        Ok(Card {
            version: env!("CARGO_PKG_VERSION").into(),
            model: origin.model.clone(),
            similarity: self.similarity.unwrap_or(origin.similarity),
            dim: documents.dim,
            bm25: texts.map(Texts::card),
        })
    }

    /// The documents of the rows, if there are any.
    fn texts_of_rows(&self) -> anyhow::Result<Option<Texts<'_>>> {
        let Some(documents) = &self.texts else { return Ok(None) };
        let places = self.documents.places_in(documents)?;
        let text = self.documents.origin.as_ref().and_then(|origin| origin.document_text);
        Ok(Some(Texts { documents, places, text: text.unwrap_or_default() }))
    }

    /// Puts what is not there, or otherwise; how many were.
    fn put(
        &self,
        engine: &dyn Engine,
        texts: Option<(&Texts<'_>, &Bm25)>,
    ) -> anyhow::Result<usize> {
        let rows = self.documents.ids.len();
        let bar = Progress::new(rows as u64, "documents");
        let mut all_there = 0;
        let batch = |batch: usize| {
            let places: Vec<usize> = (batch * ROWS..rows.min((batch + 1) * ROWS)).collect();
            let mut some = self.rows(&places, texts)?;
            let ids: Vec<&str> = some.iter().map(|row| row.id).collect();
            let stamps = engine.stamps(&ids)?;
            some.retain(|row| stamps.get(row.id) != Some(&row.stamp));
            if !some.is_empty() {
                engine.put(&some)?;
            }
            Ok((places.len(), places.len() - some.len()))
        };
        streams(rows.div_ceil(ROWS), self.streams, batch, |(rows, there)| {
            all_there += there;
            bar.inc(rows as u64);
        })?;
        bar.finish_and_clear();
        Ok(all_there)
    }

    /// The rows at `places` as they are to stand there.
    fn rows<'a>(
        &'a self,
        places: &[usize],
        texts: Option<(&Texts<'a>, &Bm25)>,
    ) -> anyhow::Result<Vec<Row<'a>>> {
        let documents = self.documents;
        let similarity = self.similarity();
        let numbers = documents.rows_at(places);
        let row = |(&place, numbers): (&usize, &[f32])| {
            let id = documents.ids[place].as_str();
            if !numbers.iter().all(|number| number.is_finite()) {
                let message = format!("the embedding of `{id}` holds a NaN or an infinity");
                return Err(Failure::new(message, "search these embeddings exactly, here").into());
            }
            let vector = comparable(numbers, similarity);
            let mut hash = blake3::Hasher::new();
            for number in &vector {
                hash.update(&number.to_le_bytes());
            }
            let words = texts.map(|(texts, bm25)| texts.words(place, bm25));
            for text in words.iter().flat_map(|words| [words.title, words.text]) {
                hash.update(&(text.len() as u64).to_le_bytes()).update(text.as_bytes());
            }
            let stamp = hash.finalize().to_hex()[..16].to_owned();
            Ok(Row { id, stamp, vector, words })
        };
        places.iter().zip(numbers.chunks_exact(documents.dim)).map(row).collect()
    }

    fn similarity(&self) -> Similarity {
        let origin = self.documents.origin.as_ref().map(|origin| origin.similarity);
        self.similarity.or(origin).unwrap_or_default().into()
    }

    /// What the collection finds of what the exact search finds.
    fn measure(&self, engine: &dyn Engine, card: &Card) -> anyhow::Result<Vec<Recall>> {
        let similarity = card.similarity.into();
        let of_ids: HashMap<&str, usize> =
            self.documents.ids.iter().zip(0..).map(|(id, place)| (&**id, place)).collect();
        let sample = Sample::of(self.documents, self.queries, similarity)?;
        sample.recall(self.efs, |queries, k, ef, own| {
            let depth = k + usize::from(!own.is_empty());
            let rows: Vec<Vec<f32>> =
                queries.chunks_exact(card.dim).map(|row| comparable(row, similarity)).collect();
            let rows: Vec<&[f32]> = rows.iter().map(Vec::as_slice).collect();
            let found = batches(&rows, |some| engine.nearest(some, depth, ef.max(depth)))?;
            let hits = |(query, found): (usize, Vec<Found>)| {
                let skip = own.get(query).copied().flatten();
                let places = found.iter().filter_map(|found| of_ids.get(&*found.id).copied());
                let places = places.filter(|&place| Some(place) != skip).collect();
                let row = &queries[query * card.dim..(query + 1) * card.dim];
                Ok(self.documents.best_of(row, places, k, similarity)?)
            };
            found.into_iter().enumerate().map(hits).collect()
        })
    }
}

/// The documents of rows.
struct Texts<'a> {
    documents: &'a [Document],
    /// The place of each row's document.
    places: Vec<usize>,
    /// What of a document was read.
    text: DocumentText,
}

impl<'a> Texts<'a> {
    /// Of all documents, be they rows or not: workers that put parts agree on what a term is worth.
    fn bm25(&self) -> Bm25 {
        let texts = self.documents.iter().map(|document| document.passage(self.text));
        Bm25::build(texts, Analyzer::default(), Bm25Config::default())
    }

    fn card(&self) -> Bm25Card {
        let texts = self.documents.iter().map(|document| document.passage(self.text));
        Bm25Card { settings: settings(), documents: Bm25::fingerprint(texts) }
    }

    fn words(&self, row: usize, bm25: &Bm25) -> Words<'a> {
        let document = &self.documents[self.places[row]];
        let terms = bm25.document_vector(&document.passage(self.text));
        Words { title: &document.title, text: &document.text, terms }
    }
}

/// Makes the collection, or sees that the one that is there is of the same kind.
fn make(engine: &dyn Engine, card: &Card) -> anyhow::Result<()> {
    let is_new = engine.card()?.is_none();
    if is_new {
        let made = engine.create(&serde_json::to_string(card)?, card.dim, card.bm25.is_some());
        // Another worker may have been faster.
        if made.is_err() && engine.card()?.is_none() {
            made?;
        }
    }
    let there = engine.card()?.context("the collection is gone as soon as it is made")?;
    if is_new && there.is_empty() {
        let message = "the server does not keep what a collection says of itself";
        return Err(Failure::new(message, "take a newer one: Qdrant does since 1.16").into());
    }
    if let Some(difference) = difference(&read(&there)?, card) {
        let hint = "give another name: it will be made";
        return Err(Failure::new(format!("the collection {difference}"), hint).into());
    }
    engine.ready()
}

/// In what the collection with the card `there` is another than the one that is wanted.
fn difference(there: &Card, wanted: &Card) -> Option<String> {
    if there.model != wanted.model {
        return Some("is of another model".into());
    }
    if there.dim != wanted.dim {
        return Some(format!("has {} dimensions, these embeddings {}", there.dim, wanted.dim));
    }
    if there.similarity != wanted.similarity {
        let (there, wanted) = (there.similarity, wanted.similarity);
        return Some(format!("compares by {there}, these embeddings are compared by {wanted}"));
    }
    match (&there.bm25, &wanted.bm25) {
        (None, Some(_)) => Some("has no BM25, which `--data` is for".into()),
        (Some(_), None) => Some("has BM25 beside its vectors, which needs `--data`".into()),
        (there, wanted) if there != wanted => {
            Some("has BM25 of other texts, or by another version of `samtone`".into())
        }
        _ => None,
    }
}
