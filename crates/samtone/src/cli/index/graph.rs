//! A graph of near neighbours (HNSW) over embeddings, by usearch: it proposes, and the embeddings
//! themselves decide.

use std::borrow::Cow;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, ensure};
use rayon::prelude::*;
use samtone_eval::search::{Hit, Similarity};
use usearch::{Index, IndexOptions, MetricKind, ScalarKind};

use super::Settings;
use crate::embeddings::{Embeddings, direction};
use crate::error::Failure;

/// What usearch is called in an index; its files are read by the same major version.
pub(crate) const MADE_BY: &str = "usearch 2.26";

/// A graph whose keys are rows and whose numbers have two bytes.
pub(crate) struct Graph {
    index: Index,
    dim: usize,
    similarity: Similarity,
    /// Held while it is searched: how much is looked at is a setting of the whole index.
    searched: Mutex<()>,
}

impl Graph {
    /// The graph of all rows of `documents`; `each` is told how many more are in it. On one thread it is
    /// the same each time.
    ///
    /// # Errors
    /// If a number is not finite, or, where rows are compared by their dot product, too great for two bytes.
    pub(crate) fn build(
        documents: &Embeddings,
        similarity: Similarity,
        settings: Settings,
        mut each: impl FnMut(usize),
    ) -> anyhow::Result<Self> {
        /// At once, between two words to `each`.
        const ROWS: usize = 1024;
        let (rows, dim) = (documents.ids.len(), documents.dim);
        let graph = Self::new(dim, similarity, settings)?;
        graph.index.reserve_capacity_and_threads(rows, rayon::current_num_threads())?;
        let add = |(place, row): (usize, &[f32])| -> anyhow::Result<()> {
            let row = graph.fitting(row).map_err(|what| {
                let message = format!("the embedding of `{}` {what}", documents.ids[place]);
                Failure::new(message, "search these embeddings exactly, without `--graph`")
            })?;
            Ok(graph.index.add(place as u64, &row)?)
        };
        let mut first = 0;
        for part in documents.parts() {
            for some in part.chunks(ROWS * dim) {
                let rows = some.par_chunks_exact(dim).enumerate();
                rows.map(|(at, row)| (first + at, row)).try_for_each(add)?;
                first += some.len() / dim;
                each(some.len() / dim);
            }
        }
        ensure!(graph.index.size() == rows, "the graph took {} of {rows} rows", graph.index.size());
        Ok(graph)
    }

    /// Opens the graph in the file at `path`, memory-mapped, of `rows` rows of `dim` numbers.
    pub(crate) fn open(
        path: &Path,
        rows: usize,
        dim: usize,
        similarity: Similarity,
        settings: Settings,
    ) -> anyhow::Result<Self> {
        let wrong = || format!("`{}` is no graph of this index", path.display());
        let text = path.to_str().with_context(|| format!("`{}` is not UTF-8", path.display()))?;
        let graph = Self::new(dim, similarity, settings)?;
        // As many may search at once as are told before the file is mapped.
        graph.index.reserve_capacity_and_threads(0, rayon::current_num_threads())?;
        graph.index.view(text).with_context(wrong)?;
        let (index, metric) = (&graph.index, metric(similarity));
        ensure!(
            (index.size(), index.dimensions()) == (rows, dim)
                && index.metric_kind() == metric
                && index.scalar_kind() == ScalarKind::F16,
            wrong()
        );
        Ok(graph)
    }

    fn new(dim: usize, similarity: Similarity, settings: Settings) -> anyhow::Result<Self> {
        let options = IndexOptions {
            dimensions: dim,
            metric: metric(similarity),
            quantization: ScalarKind::F16,
            connectivity: settings.connectivity,
            expansion_add: settings.expansion,
            expansion_search: 0,
            multi: false,
        };
        Ok(Self { index: Index::new(&options)?, dim, similarity, searched: Mutex::default() })
    }

    /// `row` as two bytes a number can hold it: of a cosine its direction alone; or what keeps it from
    /// that.
    fn fitting<'a>(&self, row: &'a [f32]) -> Result<Cow<'a, [f32]>, &'static str> {
        /// The greatest number of two bytes.
        const GREATEST: f32 = 65504.0;
        if !row.iter().all(|x| x.is_finite()) {
            return Err("holds a NaN or an infinity");
        }
        if self.similarity == Similarity::Cosine {
            return Ok(direction(row).into());
        }
        if row.iter().any(|x| x.abs() > GREATEST) {
            return Err("holds a number beyond 65504, a graph's greatest");
        }
        Ok(row.into())
    }

    /// Writes the graph to the file at `path`.
    pub(crate) fn save(&self, path: &Path) -> anyhow::Result<()> {
        let text = path.to_str().with_context(|| format!("`{}` is not UTF-8", path.display()))?;
        self.index.save(text).with_context(|| format!("cannot write `{}`", path.display()))
    }

    /// The `k` nearest of each of `queries`, among the `ef` or more that the graph proposes; scored by
    /// their numbers in `documents`, so that scores are the exact search's. Query `i` never finds row
    /// `own[i]`.
    pub(crate) fn nearest(
        &self,
        queries: &[f32],
        documents: &Embeddings,
        k: usize,
        ef: usize,
        own: &[Option<usize>],
    ) -> anyhow::Result<Vec<Vec<Hit>>> {
        let propose = ef.max(k + usize::from(!own.is_empty())).min(self.index.size());
        let _alone = self.searched.lock().unwrap_or_else(PoisonError::into_inner);
        self.index.change_expansion_search(propose);
        let nearest = |(query, numbers): (usize, &[f32])| -> anyhow::Result<Vec<Hit>> {
            if propose == 0 {
                return Ok(Vec::new());
            }
            let skip = own.get(query).copied().flatten();
            let asked = self.fitting(numbers).map_err(|what| {
                let message =
                    format!("the embedding of query {}, counted from 1, {what}", query + 1);
                Failure::new(message, "search exactly, without `--ef`")
            })?;
            let proposed = self.index.search(&asked, propose)?.keys.into_iter();
            let proposed = proposed.map(|key| key as usize).filter(|&at| Some(at) != skip);
            Ok(documents.best_of(numbers, proposed.collect(), k, self.similarity)?)
        };
        queries.par_chunks_exact(self.dim).enumerate().map(nearest).collect()
    }
}

fn metric(similarity: Similarity) -> MetricKind {
    match similarity {
        Similarity::Cosine => MetricKind::Cos,
        Similarity::Dot => MetricKind::IP,
    }
}
