//! An index on a cluster of vectors: a collection of Qdrant or Milvus that says what it is of, filled by
//! as many workers as one likes, and searched as an index here is.
//!
//! What an engine must be able to do is [`engine::Engine`]; all else is the same for each.

mod address;
mod engine;
mod fusion;
#[cfg(feature = "milvus")]
mod milvus;
#[cfg(feature = "qdrant")]
mod qdrant;
mod streams;
mod upload;

use std::collections::HashMap;

use anyhow::Context;
use samtone_eval::bm25::{Analyzer, Bm25Config, SparseVector};
use samtone_eval::search::{Hit, Similarity};

pub(crate) use address::{Address, Place};
use engine::{Card, Engine, Found};
use fusion::fused;
use streams::streams;
pub(crate) use upload::{Made, Upload};

use crate::embeddings::direction;
use crate::error::Failure;
use crate::index::Settings;

/// How much of a graph is looked at where nothing else is said.
pub(crate) const EF: usize = 128;

/// Requests on their way at once where nothing else is said.
pub(crate) const STREAMS: usize = 4;

/// Queries of a request.
const QUERIES: usize = 64;

/// A collection that is searched.
pub(crate) struct Cluster {
    address: Address,
    engine: Box<dyn Engine>,
    card: Card,
}

/// What is searched for.
pub(crate) struct Asked<'a> {
    /// `[n, dim]`
    pub(crate) queries: &'a [f32],
    /// Their texts, where words count too.
    pub(crate) texts: Option<&'a [&'a str]>,
    pub(crate) k: usize,
    pub(crate) ef: Option<usize>,
    /// The document that each never finds; none: all are found.
    pub(crate) own: &'a [&'a str],
}

/// What is found: each hit's index is a place among the ids.
pub(crate) struct Answers {
    pub(crate) ids: Vec<String>,
    pub(crate) hits: Vec<Vec<Hit>>,
}

impl Cluster {
    /// Opens a collection that [`Upload`] made.
    ///
    /// # Errors
    /// If there is none, or another program's, or this build has no client for it.
    pub(crate) fn open(address: &Address) -> anyhow::Result<Self> {
        let engine = connect(address, Settings::default())?;
        let open = || {
            let Some(card) = engine.card()? else {
                let hint = format!("`samtone index --documents FOLDER --to {address}` makes it");
                return Err(Failure::new("there is no such collection", hint).into());
            };
            let card = read(&card)?;
            engine.ready()?;
            anyhow::Ok(card)
        };
        let card = open().with_context(|| format!("cannot search `{address}`"))?;
        Ok(Self { address: address.clone(), engine, card })
    }

    /// Numbers of an embedding.
    pub(crate) fn dim(&self) -> usize {
        self.card.dim
    }

    pub(crate) fn similarity(&self) -> Similarity {
        self.card.similarity.into()
    }

    /// How many documents are there.
    pub(crate) fn count(&self) -> anyhow::Result<usize> {
        self.engine.count().with_context(|| format!("cannot search `{}`", self.address))
    }

    /// Refuses queries of another model than the documents'; `queries` says whose they are.
    pub(crate) fn check_model(&self, model: &str, queries: &str) -> anyhow::Result<()> {
        if self.card.model == model {
            return Ok(());
        }
        let message = format!("{queries} and `{}` were embedded by different models", self.address);
        Err(Failure::new(message, "encode both with one `--model`").into())
    }

    /// Refuses to count words where there are none.
    pub(crate) fn check_hybrid(&self) -> anyhow::Result<()> {
        let Some(bm25) = &self.card.bm25 else {
            let message = format!("`{}` has no BM25 beside its vectors", self.address);
            let hint =
                "leave `--hybrid` out, or `samtone index --data DATA --to` another collection";
            return Err(Failure::new(message, hint).into());
        };
        if bm25.settings == settings() {
            return Ok(());
        }
        let message = format!(
            "`{}` has another BM25 than this version of `samtone`: {}",
            self.address, bm25.settings
        );
        Err(Failure::new(message, "index the documents into another collection").into())
    }

    /// Searches: the hits of each query by score, of equal scores by id.
    pub(crate) fn search(&self, asked: &Asked<'_>) -> anyhow::Result<Answers> {
        let found =
            self.found(asked).with_context(|| format!("cannot search `{}`", self.address))?;
        let (mut ids, mut places) = (Vec::new(), HashMap::new());
        let mut hit = |Found { id, score }| {
            let index = *places.entry(id).or_insert_with_key(|id: &String| {
                ids.push(id.clone());
                ids.len() - 1
            });
            Hit { index, score }
        };
        let hits = found.into_iter().map(|found| found.into_iter().map(&mut hit).collect());
        let hits = hits.collect();
        Ok(Answers { ids, hits })
    }

    fn found(&self, asked: &Asked<'_>) -> anyhow::Result<Vec<Vec<Found>>> {
        let &Asked { queries, texts, k, ef, own } = asked;
        // One more where one is dropped; of two rankings that become one at least so many.
        let wanted = k + usize::from(!own.is_empty());
        let depth = if texts.is_some() { wanted.max(fusion::DEPTH) } else { wanted };
        let ef = ef.unwrap_or(EF).max(depth);
        let rows: Vec<Vec<f32>> =
            queries.chunks_exact(self.card.dim).map(|row| self.comparable(row)).collect();
        let rows: Vec<&[f32]> = rows.iter().map(Vec::as_slice).collect();
        let mut found = batches(&rows, |some| self.engine.nearest(some, depth, ef))?;
        if let Some(texts) = texts {
            let analyzer = Analyzer::default();
            let vectors: Vec<SparseVector> =
                texts.iter().map(|text| analyzer.query_vector(text)).collect();
            // A query without a word finds nothing by words, and is not asked.
            let (places, asked): (Vec<usize>, Vec<&SparseVector>) =
                vectors.iter().enumerate().filter(|(_, vector)| !vector.is_empty()).unzip();
            let by_terms = batches(&asked, |some| self.engine.by_terms(some, depth))?;
            let mut lists = vec![Vec::new(); found.len()];
            for (place, list) in places.into_iter().zip(by_terms) {
                lists[place] = list;
            }
            found =
                found.into_iter().zip(lists).map(|(near, words)| fused([near, words])).collect();
        }
        for (query, found) in found.iter_mut().enumerate() {
            in_order(found);
            found.retain(|hit| own.get(query).is_none_or(|own| hit.id != *own));
            found.truncate(k);
        }
        Ok(found)
    }

    /// `row` as it is compared: of the cosine its direction.
    fn comparable(&self, row: &[f32]) -> Vec<f32> {
        comparable(row, self.similarity())
    }
}

/// What stands in a collection for `row`: of the cosine its direction, so that the dot product is it.
fn comparable(row: &[f32], similarity: Similarity) -> Vec<f32> {
    match similarity {
        Similarity::Cosine => direction(row),
        Similarity::Dot => row.to_vec(),
    }
}

/// By score, the greatest first; equal scores by id.
fn in_order(found: &mut [Found]) {
    found.sort_by(|a, b| b.score.total_cmp(&a.score).then_with(|| a.id.cmp(&b.id)));
}

/// What `ask` finds for each of `queries`, several at once.
fn batches<Q: Copy + Sync>(
    queries: &[Q],
    ask: impl Fn(&[Q]) -> anyhow::Result<Vec<Vec<Found>>> + Sync,
) -> anyhow::Result<Vec<Vec<Found>>> {
    let mut all = vec![Vec::new(); queries.len()];
    let some = |batch: usize| {
        let first = batch * QUERIES;
        let queries = &queries[first..queries.len().min(first + QUERIES)];
        let found = ask(queries)?;
        anyhow::ensure!(found.len() == queries.len(), "the server answered another question");
        Ok((first, found))
    };
    streams(queries.len().div_ceil(QUERIES), STREAMS, some, |(first, found)| {
        for (place, found) in (first..).zip(found) {
            all[place] = found;
        }
    })?;
    Ok(all)
}

/// Reads a card.
fn read(card: &str) -> anyhow::Result<Card> {
    serde_json::from_str(card).map_err(|_| {
        let message = "the collection was not made by `samtone index`";
        Failure::new(message, "give another name: it will be made").into()
    })
}

/// What a collection's BM25 is computed by, in words.
fn settings() -> String {
    let Bm25Config { k1, b, .. } = Bm25Config::default();
    format!("k1 {k1}, b {b}, {}", Analyzer::default())
}

/// A client for the engine at `address`, which makes graphs by `settings`.
///
/// # Errors
/// If this build has none.
#[cfg_attr(not(any(feature = "qdrant", feature = "milvus")), expect(unused_variables))]
fn connect(address: &Address, settings: Settings) -> anyhow::Result<Box<dyn Engine>> {
    match address.engine {
        #[cfg(feature = "qdrant")]
        address::EngineName::Qdrant => Ok(Box::new(qdrant::Collection::new(address, settings)?)),
        #[cfg(feature = "milvus")]
        address::EngineName::Milvus => Ok(Box::new(milvus::Collection::new(address, settings)?)),
        #[cfg(not(all(feature = "qdrant", feature = "milvus")))]
        engine => {
            let name = engine.name();
            let message = format!("this build of `samtone` has no client for `{name}://`");
            let hint = format!("build with `--features {name}`");
            Err(crate::error::Usage::new(message).with_hint(hint).into())
        }
    }
}

/// What the clients, which wait for many answers at once, run in.
#[cfg(any(feature = "qdrant", feature = "milvus"))]
fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()
}
