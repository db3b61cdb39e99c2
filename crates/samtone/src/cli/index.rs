//! An index: a folder of embeddings, or of the parts of one encoding, with `index.json`, which says what
//! they are and how they are compared, and perhaps a graph, `graph.usearch`, with what it was measured to
//! find.

#[cfg(feature = "usearch")]
mod graph;
#[cfg(not(feature = "usearch"))]
mod no_graph;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Context;
use samtone_eval::search::{Dtype, Hit, Similarity, top_k_of_parts, top_k_signs};
use serde::{Deserialize, Serialize};

use crate::commands::reading::SimilarityChoice;
use crate::embeddings::Embeddings;
use crate::error::{Failure, Usage};
use crate::progress::Progress;
#[cfg(feature = "usearch")]
pub(crate) use graph::{Graph, MADE_BY};
#[cfg(not(feature = "usearch"))]
pub(crate) use no_graph::{Graph, MADE_BY};

const RECORD: &str = "index.json";
const GRAPH: &str = "graph.usearch";

/// Hits of a query that a measured recall is of.
const MEASURED: usize = 10;

/// Queries that it is measured by, at most.
const QUERIES: usize = 200;

/// `index.json`.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Record {
    /// samtone's.
    version: String,
    /// BLAKE3 of the model's files, in hexadecimal.
    model: String,
    /// BLAKE3 of the ids, and of what the parts were embedded from, in hexadecimal.
    encoding: String,
    pub(crate) similarity: SimilarityChoice,
    pub(crate) rows: usize,
    pub(crate) dim: usize,
    pub(crate) dtype: Dtype,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) graph: Option<GraphRecord>,
}

/// What `index.json` says of a graph.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct GraphRecord {
    /// What made it.
    by: String,
    /// Of the file.
    pub(crate) bytes: u64,
    #[serde(flatten)]
    settings: Settings,
    /// What it was measured by: `documents`, some of them without themselves, or `queries`.
    pub(crate) measured_by: String,
    pub(crate) recall: Vec<Recall>,
}

/// How a graph is built.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Settings {
    /// Neighbours of a row (M): twice as many on the lowest level.
    pub(crate) connectivity: usize,
    /// Rows that are looked at for them (ef_construction).
    pub(crate) expansion: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self { connectivity: 16, expansion: 128 }
    }
}

/// What a graph finds of what the exact search does.
#[expect(clippy::struct_field_names, reason = "the key in the file")]
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Recall {
    pub(crate) ef: usize,
    /// The share of the nearest ten that it finds, or others that are as near.
    pub(crate) recall: f64,
    /// Of a query, with all others at once; not kept.
    #[serde(skip_deserializing, skip_serializing_if = "Option::is_none")]
    pub(crate) milliseconds: Option<f64>,
}

/// An index that is searched.
pub(crate) struct Index {
    pub(crate) documents: Embeddings,
    pub(crate) similarity: Similarity,
    /// The graph, and how much of it is looked at.
    pub(crate) graph: Option<(Graph, usize)>,
}

impl Index {
    /// Whether the index in `folder` says that it has a graph, and this build reads graphs.
    pub(crate) fn has_graph(folder: &Path) -> bool {
        let record = fs::read(folder.join(RECORD)).ok();
        let record = record.and_then(|bytes| serde_json::from_slice::<Record>(&bytes).ok());
        cfg!(feature = "usearch") && record.is_some_and(|record| record.graph.is_some())
    }

    /// Opens the index in `folder`, by its graph if `ef` is there.
    ///
    /// # Errors
    /// If there is none, or it is of other embeddings than lie there now, or has no graph and one is
    /// wanted.
    pub(crate) fn open(folder: &Path, ef: Option<usize>) -> anyhow::Result<Self> {
        let path = folder.join(RECORD);
        let text = match fs::read_to_string(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let message = format!("`{}` holds no `{RECORD}`", folder.display());
                let hint = "`samtone index --documents FOLDER` makes one; `--documents` needs none";
                return Err(Failure::new(message, hint).into());
            }
            read => read.with_context(|| format!("cannot read `{}`", path.display()))?,
        };
        let record: Record = serde_json::from_str(&text)
            .with_context(|| format!("`{}` is not what `samtone index` writes", path.display()))?;
        let documents = Embeddings::open(&[folder.to_owned()])?;
        let stale = |what: &str| {
            let message =
                format!("`{}` is of other embeddings than lie there: {what}", path.display());
            Err(Failure::new(message, "index them again: `samtone index --documents FOLDER`")
                .into())
        };
        let shape = (record.rows, record.dim, record.dtype);
        if shape != (documents.ids.len(), documents.dim, documents.dtype) {
            return stale("another number of rows, dimensions or another dtype");
        }
        if record.encoding != documents.fingerprint() {
            return stale("another model, input or settings");
        }
        let similarity = record.similarity.into();
        let graph = match (ef, &record.graph) {
            (None, _) => None,
            (Some(_), None) => {
                let message = format!("`{}` has no graph, which `--ef` is for", folder.display());
                let hint = "leave `--ef` out: the search is exact then; or index with `--graph`";
                return Err(Failure::new(message, hint).into());
            }
            (Some(ef), Some(graph)) => {
                let file = folder.join(GRAPH);
                let bytes = fs::metadata(&file)
                    .with_context(|| format!("cannot open `{}`", file.display()))?
                    .len();
                if bytes != graph.bytes {
                    return stale(&format!("`{GRAPH}` has {bytes} bytes, not {}", graph.bytes));
                }
                let (rows, dim) = (record.rows, record.dim);
                Some((Graph::open(&file, rows, dim, similarity, graph.settings)?, ef))
            }
        };
        Ok(Self { documents, similarity, graph })
    }

    /// The `k` nearest of each of `queries`, by the graph if there is one; of binary documents `rescore`
    /// times as many are ranked by the query's own numbers. Query `i` never finds row `own[i]`.
    pub(crate) fn nearest(
        &self,
        queries: &[f32],
        k: usize,
        rescore: usize,
        own: &[Option<usize>],
    ) -> anyhow::Result<Vec<Vec<Hit>>> {
        let Self { documents, similarity, graph } = self;
        if let Some((graph, ef)) = graph {
            return graph.nearest(queries, documents, k, *ef, own);
        }
        let (dim, similarity) = (documents.dim, *similarity);
        if documents.dtype == Dtype::Binary {
            let stored = documents.bytes();
            return Ok(top_k_signs(queries, &stored, dim, k, rescore, similarity, own)?);
        }
        Ok(top_k_of_parts(queries, documents.parts(), dim, k, similarity, own)?)
    }
}

/// What `samtone index` is to make.
pub(crate) struct Wanted<'a> {
    /// A folder of embeddings or of the parts of one encoding: the index is written into it.
    pub(crate) folder: &'a Path,
    pub(crate) similarity: Option<SimilarityChoice>,
    pub(crate) graph: Option<Settings>,
    /// Queries to measure by, instead of documents.
    pub(crate) queries: Option<&'a PathBuf>,
    /// The values to measure for.
    pub(crate) efs: &'a [usize],
}

impl Wanted<'_> {
    /// Makes the index, its graph measured, under a progress bar.
    ///
    /// # Errors
    /// If the embeddings do not say what they come from, or a graph cannot be made of them.
    pub(crate) fn make(&self) -> anyhow::Result<Record> {
        let folder = self.folder;
        let documents = Embeddings::open(&[folder.to_owned()])?;
        let wrong = || format!("cannot write an index into `{}`", folder.display());
        samtone_files::prepare_file(&folder.join(RECORD)).with_context(wrong)?;
        let Some(origin) = &documents.origin else {
            let message = format!("`{}` does not say what it comes from", folder.display());
            let hint =
                "`samtone encode` writes folders with an `encode.json`, which an index needs";
            return Err(Failure::new(message, hint).into());
        };
        let queries = self.queries.map(|folder| Embeddings::open(std::slice::from_ref(folder)));
        let queries = queries.transpose()?;
        if let Some(queries) = &queries {
            check_queries(queries, &documents)?;
        }
        let mut record = Record {
            version: env!("CARGO_PKG_VERSION").into(),
            model: origin.model.clone(),
            encoding: documents.fingerprint(),
            similarity: self.similarity.unwrap_or(origin.similarity),
            rows: documents.ids.len(),
            dim: documents.dim,
            dtype: documents.dtype,
            graph: None,
        };
        let partial = folder.join(format!("{GRAPH}.partial"));
        if let Some(settings) = self.graph {
            if documents.dtype == Dtype::Binary {
                let message = "binary embeddings have no graph: their bits are compared exactly";
                return Err(Usage::new(message).with_hint("leave `--graph` out").into());
            }
            let similarity = record.similarity.into();
            let bar = Progress::new(record.rows as u64, "documents");
            let each = |more: usize| bar.inc(more as u64);
            let graph = Graph::build(&documents, similarity, settings, each);
            bar.finish_and_clear();
            let graph = graph?;
            let sample = Sample::of(&documents, queries.as_ref(), similarity)?;
            let recall = sample.recall(self.efs, |queries, k, ef, own| {
                graph.nearest(queries, &documents, k, ef, own)
            })?;
            graph.save(&partial).inspect_err(|_| drop(fs::remove_file(&partial)))?;
            record.graph = Some(GraphRecord {
                by: MADE_BY.into(),
                bytes: fs::metadata(&partial)?.len(),
                settings,
                measured_by: if queries.is_some() { "queries" } else { "documents" }.into(),
                recall,
            });
        }
        self.write(&record, &partial).with_context(wrong)?;
        Ok(record)
    }

    /// Without its `index.json` a folder is no index, so that goes first and comes last.
    fn write(&self, record: &Record, partial: &Path) -> anyhow::Result<()> {
        let (path, graph) = (self.folder.join(RECORD), self.folder.join(GRAPH));
        for old in [&path, &graph] {
            match fs::remove_file(old) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(error.into());
                }
                _ => {}
            }
        }
        if record.graph.is_some() {
            fs::File::open(partial)?.sync_all()?;
            fs::rename(partial, graph)?;
        }
        let mut kept = serde_json::to_value(record)?;
        if let Some(list) = kept.pointer_mut("/graph/recall").and_then(|list| list.as_array_mut()) {
            // A time is this machine's, the rest the index's.
            list.iter_mut().filter_map(|of| of.as_object_mut()).for_each(|of| {
                of.remove("milliseconds");
            });
        }
        Ok(samtone_files::replace(&path, &serde_json::to_vec_pretty(&kept)?)?)
    }
}

/// What a search is measured by: queries, or some documents that do not find themselves.
pub(crate) struct Sample {
    /// `[n, dim]`
    queries: Vec<f32>,
    /// The row that each does not find; empty where these are queries.
    own: Vec<Option<usize>>,
    k: usize,
    exact: Vec<Vec<Hit>>,
}

impl Sample {
    /// A sample of `queries`, or else of `documents`, with what the exact search finds for it.
    pub(crate) fn of(
        documents: &Embeddings,
        queries: Option<&Embeddings>,
        similarity: Similarity,
    ) -> anyhow::Result<Self> {
        let (rows, dim) = (documents.ids.len(), documents.dim);
        let asked = queries.unwrap_or(documents);
        let count = asked.ids.len().min(QUERIES);
        let places: Vec<usize> = (0..count).map(|at| at * asked.ids.len() / count).collect();
        let numbers: Vec<f32> = asked.rows_at(&places);
        let own: Vec<Option<usize>> = match queries {
            Some(_) => Vec::new(),
            None => places.iter().map(|&at| Some(at)).collect(),
        };
        let k = MEASURED.min(if queries.is_some() { rows } else { rows.saturating_sub(1) });
        let exact = top_k_of_parts(&numbers, documents.parts(), dim, k, similarity, &own)?;
        Ok(Self { queries: numbers, own, k, exact })
    }

    /// For each of `efs` what `search` finds of it, given the queries, how many documents are wanted for
    /// each, the `ef`, and the row that each does not find.
    pub(crate) fn recall(
        &self,
        efs: &[usize],
        search: impl Fn(&[f32], usize, usize, &[Option<usize>]) -> anyhow::Result<Vec<Vec<Hit>>>,
    ) -> anyhow::Result<Vec<Recall>> {
        let Self { queries, own, k, exact } = self;
        let (k, count) = (*k, exact.len());
        let recall = |&ef: &usize| {
            let start = Instant::now();
            let found = search(queries, k, ef, own)?;
            let milliseconds = 1e3 * start.elapsed().as_secs_f64() / count.max(1) as f64;
            let mut right = 0;
            for (found, exact) in found.iter().zip(exact) {
                // As near as the last is as good: copies are many in texts.
                let last = exact.last().map_or(f32::INFINITY, |hit| hit.score);
                right += found.iter().filter(|hit| hit.score >= last).count();
            }
            let wanted = (count * k).max(1);
            let recall = if count * k == 0 { 1.0 } else { right as f64 / wanted as f64 };
            Ok(Recall { ef, recall, milliseconds: Some(milliseconds) })
        };
        efs.iter().map(recall).collect()
    }
}

/// Refuses queries of another model than the documents', or in other dimensions.
pub(crate) fn check_queries(queries: &Embeddings, documents: &Embeddings) -> anyhow::Result<()> {
    let model = |of: &Embeddings| of.origin.as_ref().map(|origin| origin.model.clone());
    if model(queries) == model(documents) && queries.dim == documents.dim {
        return Ok(());
    }
    let message = "the queries were embedded by another model, or in other dimensions";
    Err(Failure::new(message, "encode both with one `--model`").into())
}
