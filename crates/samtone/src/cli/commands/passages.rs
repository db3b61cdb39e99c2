//! Passages that answer questions: documents with their texts, and what of them is searched.

use std::borrow::Cow;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use anyhow::ensure;
use burn::tensor::backend::Backend;
use samtone_data::reading::{find_corpus, for_each_document};
use samtone_data::{DataError, Document};
use samtone_eval::search::{Hit, Similarity, top_k};
use samtone_model::{Precision, Retriever, Side};
use samtone_text::DocumentText;
use samtone_train::run::similarity_of;

use super::at_least_one;
use super::reading::{TextChoice, cut, document_text};
use crate::cluster::{Address, Answers, Asked, Cluster, Place};
use crate::device::BackendChoice;
use crate::embeddings::{Embeddings, joined};
use crate::encoding::{BATCH_TOKENS, Input, Job, Shape, check_place, fingerprint};
use crate::error::{Failure, Usage};
use crate::index::Index;
use crate::output::say;
use crate::shard::Shard;

/// Where the embeddings of `--data` come from.
#[derive(Debug, clap::Args)]
pub(crate) struct PassageArgs {
    /// The documents' embeddings: a folder as `samtone encode` writes it, or that of its parts, or each
    /// of them; made and kept if absent.
    #[arg(
        long,
        value_name = "FOLDER",
        requires = "data",
        conflicts_with_all = ["cache", "document_text"]
    )]
    documents: Vec<PathBuf>,
    /// The documents' embeddings: a folder that `samtone index` made an index, or the collection that it
    /// put them into, `qdrant://HOST:PORT/COLLECTION` or `milvus://…`.
    #[arg(
        long,
        value_name = "FOLDER|URL",
        requires = "data",
        conflicts_with_all = ["documents", "cache", "document_text"]
    )]
    index: Option<Place>,
    /// Ask the index's graph, of which N documents or more are scored, or as many as are shown: the more,
    /// the fewer are missed. A collection's is always asked, with 128 if absent.
    #[arg(long, value_name = "N", value_parser = at_least_one, requires = "index")]
    ef: Option<usize>,
    /// Let words count too: of a collection that has BM25 beside its vectors, the documents that stand
    /// before others in both rankings come first.
    #[arg(long, requires = "index")]
    hybrid: bool,
    /// Where embeddings are kept; `.samtone` beside the documents if absent.
    #[arg(long, value_name = "FOLDER", requires = "data")]
    cache: Option<PathBuf>,
    /// What of a document the model reads; what the model's folder says, or `title-text`, if absent.
    #[arg(long, value_enum, requires = "data")]
    document_text: Option<TextChoice>,
}

/// What embeds the documents where they are not yet.
pub(crate) struct Embedder<'a, B: Backend> {
    pub(crate) retriever: &'a Retriever<B>,
    /// Its folder.
    pub(crate) model: &'a Path,
    pub(crate) backend: BackendChoice,
    pub(crate) precision: Precision,
}

/// Documents and their embeddings.
pub(crate) struct Passages {
    documents: Vec<Document>,
    /// What is searched.
    searched: Searched,
    /// What of a document was read.
    pub(crate) text: DocumentText,
    /// How much of the graph is looked at where nothing else is said; none: all documents are compared.
    pub(crate) ef: Option<usize>,
}

/// Where the embeddings of the documents are: rows of perhaps fewer numbers than the model's.
enum Searched {
    Here {
        index: Index,
        /// `[n, dim]`, where the embeddings are not read as they lie; made for the first exact search.
        rows: OnceLock<Vec<f32>>,
        /// The place of each row's document.
        places: Vec<usize>,
    },
    There {
        cluster: Cluster,
        /// Documents that it has.
        count: usize,
        /// The place of the document with each id.
        places: HashMap<String, usize>,
        /// Whether words count too.
        hybrid: bool,
    },
}

impl PassageArgs {
    /// The documents of `data`, a folder in BEIR layout or its corpus, with their embeddings; of an index
    /// the graph too if `--ef` asks for it, or if `has_graph` and there is one.
    ///
    /// # Errors
    /// If the embeddings are of another model or other texts, or cannot be made.
    pub(crate) fn open<B: Backend>(
        &self,
        data: &Path,
        embedder: &Embedder<'_, B>,
        has_graph: bool,
    ) -> anyhow::Result<Passages> {
        let file = corpus_of(data)?;
        let documents = read_documents(&file)?;
        let retriever = embedder.retriever;
        let exact =
            |documents| Index { documents, similarity: similarity_of(retriever), graph: None };
        if self.hybrid && !matches!(self.index, Some(Place::Cluster(_))) {
            return Err(not_hybrid().into());
        }
        let (index, folders) = match (&self.index, &self.documents[..]) {
            (Some(Place::Cluster(address)), _) => {
                return self.open_there(address, documents, embedder);
            }
            (Some(Place::Folder(folder)), _) => {
                let is_there = has_graph && Index::has_graph(folder);
                let index = Index::open(folder, self.ef.or(is_there.then_some(1)))?;
                (index, std::slice::from_ref(folder))
            }
            (None, []) => (exact(self.kept(embedder, &file)?), &[][..]),
            (None, folders) => (exact(Embeddings::open(folders)?), folders),
        };
        let embeddings = &index.documents;
        if !folders.is_empty() {
            check(embeddings, &joined(folders), embedder.model, &file)?;
        }
        let read = embeddings.origin.as_ref().and_then(|origin| origin.document_text);
        let text = read.unwrap_or_else(|| document_text(self.document_text, retriever));
        Passages::new(documents, index, retriever.dim(), text, self.ef)
    }

    /// `documents` and their embeddings in the collection at `address`.
    fn open_there<B: Backend>(
        &self,
        address: &Address,
        documents: Vec<Document>,
        embedder: &Embedder<'_, B>,
    ) -> anyhow::Result<Passages> {
        let cluster = Cluster::open(address)?;
        let model = format!("`{}`", embedder.model.display());
        cluster.check_model(&fingerprint(embedder.model)?, &model)?;
        let (dim, most) = (cluster.dim(), embedder.retriever.dim());
        ensure!(dim <= most, "the documents have {dim} dimensions, the model {most}");
        if self.hybrid {
            cluster.check_hybrid()?;
        }
        let places = documents.iter().zip(0..);
        let places = places.map(|(document, place)| (document.id.clone(), place)).collect();
        let count = cluster.count()?;
        let searched = Searched::There { cluster, count, places, hybrid: self.hybrid };
        let text = document_text(self.document_text, embedder.retriever);
        Ok(Passages { documents, searched, text, ef: self.ef })
    }

    /// The embeddings of the documents in `file`, made if they are not there yet.
    fn kept<B: Backend>(
        &self,
        embedder: &Embedder<'_, B>,
        file: &Path,
    ) -> anyhow::Result<Embeddings> {
        let &Embedder { retriever, model, backend, precision } = embedder;
        let text = document_text(self.document_text, retriever);
        let job = Job {
            model,
            input: Input::whole(file, Side::Document, text),
            shard: Shard::WHOLE,
            files: Vec::new(),
            batch_tokens: BATCH_TOKENS,
            backend,
            precision,
            shape: Shape::default(),
        };
        let content = job.input.scan()?;
        let plan = job.plan(retriever, &content)?;
        let beside = || file.with_file_name(".samtone");
        let folder = self.cache.clone().unwrap_or_else(beside).join(plan.key()?);
        if Embeddings::file_in(&folder).is_none() {
            let texts = content.texts;
            say(format_args!("embedding {texts} documents once, into `{}`", folder.display()));
            check_place(&folder).map_err(|error| {
                let hint = "`--cache` names another folder to keep embeddings in";
                Failure::new(format!("{error:#}"), hint)
            })?;
            let encoded = job.run(retriever, &content, plan, &folder)?;
            say(format_args!("done in {:.1} s", encoded.seconds));
        }
        Embeddings::open(&[folder])
    }
}

impl Passages {
    /// Joins documents and their embeddings by their ids, to be asked by embeddings of `most` numbers.
    ///
    /// # Errors
    /// If an embedding has no document, or is longer than a question's will be.
    fn new(
        documents: Vec<Document>,
        index: Index,
        most: usize,
        text: DocumentText,
        ef: Option<usize>,
    ) -> anyhow::Result<Self> {
        let embeddings = &index.documents;
        let dim = embeddings.dim;
        ensure!(dim <= most, "the documents have {dim} dimensions, the model {most}");
        let places = embeddings.places_in(&documents)?;
        let searched = Searched::Here { index, rows: OnceLock::new(), places };
        Ok(Self { documents, searched, text, ef })
    }

    /// How a question and a document are compared.
    pub(crate) fn similarity(&self) -> Similarity {
        match &self.searched {
            Searched::Here { index, .. } => index.similarity,
            Searched::There { cluster, .. } => cluster.similarity(),
        }
    }

    /// Documents that are searched.
    #[cfg_attr(not(feature = "serve"), expect(dead_code, reason = "the server's"))]
    pub(crate) fn count(&self) -> usize {
        match &self.searched {
            Searched::Here { places, .. } => places.len(),
            Searched::There { count, .. } => *count,
        }
    }

    /// Whether a search may look at a part of the documents alone.
    #[cfg_attr(not(feature = "serve"), expect(dead_code, reason = "the server's"))]
    pub(crate) fn has_graph(&self) -> bool {
        match &self.searched {
            Searched::Here { index, .. } => index.graph.is_some(),
            Searched::There { .. } => true,
        }
    }

    /// The `k` nearest of `question`, whose embedding is `asked`, as the model makes it; by the graph, if
    /// there is one, where `ef` says how much of it is looked at.
    ///
    /// # Errors
    /// If a document that is found is not among these.
    pub(crate) fn nearest(
        &self,
        question: &str,
        asked: &[f32],
        k: usize,
        ef: Option<usize>,
    ) -> anyhow::Result<Vec<Hit>> {
        let query = |dim| cut(asked.into(), asked.len(), dim, self.similarity());
        match &self.searched {
            Searched::Here { index, rows, places } => {
                let Index { documents, similarity, graph } = index;
                let query = query(documents.dim);
                let found = match (graph, ef) {
                    (Some((graph, _)), Some(ef)) => graph.nearest(&query, documents, k, ef, &[])?,
                    _ => top_k(&query, &numbers(documents, rows), documents.dim, k, *similarity)?,
                };
                let hits = found.into_iter().flatten();
                Ok(hits.map(|hit| Hit { index: places[hit.index], ..hit }).collect())
            }
            Searched::There { cluster, places, hybrid, .. } => {
                let (query, texts) = (query(cluster.dim()), [question]);
                let texts = hybrid.then_some(&texts[..]);
                let asked = Asked { queries: &query, texts, k, ef, own: &[] };
                let Answers { ids, hits } = cluster.search(&asked)?;
                let hit = |hit: Hit| {
                    let id = &ids[hit.index];
                    let index = *places.get(id).ok_or_else(|| {
                        let message = format!("`{id}` is found, but no document has this id");
                        Failure::new(message, "`--index` and `--data` belong together")
                    })?;
                    Ok(Hit { index, ..hit })
                };
                hits.into_iter().flatten().map(hit).collect()
            }
        }
    }

    /// The document that was found.
    pub(crate) fn document(&self, hit: &Hit) -> &Document {
        &self.documents[hit.index]
    }
}

/// The numbers of all embeddings, `[n, dim]`: those in `rows`, where they are not read as they lie.
fn numbers<'a>(documents: &'a Embeddings, rows: &'a OnceLock<Vec<f32>>) -> Cow<'a, [f32]> {
    if let Some(rows) = rows.get() {
        return rows.into();
    }
    match documents.rows() {
        Cow::Owned(made) => rows.get_or_init(|| made).into(),
        mapped @ Cow::Borrowed(_) => mapped,
    }
}

/// The refusal of `--hybrid` where no words are.
pub(crate) fn not_hybrid() -> Usage {
    let message = "`--hybrid` is for a collection with BM25 beside its vectors";
    Usage::new(message)
        .with_hint("`samtone index --data DATA --to URL` makes one, for `--index URL`")
}

/// The documents of `data`, a folder in BEIR layout or its corpus, that `embeddings`, of `folder`, are of,
/// or a part of them.
///
/// # Errors
/// If all of them are embedded, but from other texts.
pub(super) fn documents_of(
    data: &Path,
    embeddings: &Embeddings,
    folder: &Path,
) -> anyhow::Result<Vec<Document>> {
    let file = corpus_of(data)?;
    let documents = read_documents(&file)?;
    if documents.len() == embeddings.ids.len() && !is_of(embeddings, &file)? {
        let message = format!("`{}` was encoded from other texts", folder.display());
        return Err(Failure::new(message, "encode the documents again").into());
    }
    Ok(documents)
}

/// The file of documents of a folder in BEIR layout, or the file itself.
fn corpus_of(data: &Path) -> Result<PathBuf, DataError> {
    if data.is_dir() { find_corpus(data) } else { Ok(data.to_owned()) }
}

fn read_documents(file: &Path) -> Result<Vec<Document>, DataError> {
    let mut documents = Vec::new();
    for_each_document(file, |line, _| {
        documents.push(line.into_document());
        Ok(())
    })?;
    Ok(documents)
}

/// Refuses embeddings, of `folders`, that are another model's or of other documents.
fn check(embeddings: &Embeddings, folders: &str, model: &Path, file: &Path) -> anyhow::Result<()> {
    let Some(origin) = &embeddings.origin else { return Ok(()) };
    let refuse = |what: &str| {
        let hint =
            "encode the documents again, or let it be done without `--documents` or `--index`";
        Err(Failure::new(format!("{folders} was encoded {what}"), hint).into())
    };
    if origin.model != fingerprint(model)? {
        return refuse("with another model");
    }
    if !is_of(embeddings, file)? {
        return refuse("from other texts");
    }
    Ok(())
}

/// Whether embeddings are of the texts in `file`, where they say what they are of.
fn is_of(embeddings: &Embeddings, file: &Path) -> anyhow::Result<bool> {
    let text = embeddings.origin.as_ref().and_then(|origin| origin.document_text);
    let (Some(inputs), Some(text)) = (embeddings.inputs(), text) else { return Ok(true) };
    Input::whole(file, Side::Document, text).is(&inputs)
}
