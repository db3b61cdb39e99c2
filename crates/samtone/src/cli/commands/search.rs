//! `samtone search`.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, ensure};
use burn::tensor::backend::AutodiffBackend;
use samtone_eval::Run;
use samtone_eval::search::{Dtype, Hit, Similarity, signs, top_k_of_parts, top_k_signs};
use samtone_model::{Retriever, Side};
use samtone_text::DocumentText;
use samtone_train::run::similarity_of;
use serde::Serialize;

use super::eval::line;
use super::passages::not_hybrid;
use super::reading::{RESCORE, SimilarityChoice, cut, dims, model_folder};
use super::{at_least_one, trec};
use crate::cluster::{Address, Answers, Asked, Cluster, Place};
use crate::device::{DeviceArgs, OnBackend};
use crate::embeddings::{Embeddings, RECORD, joined};
use crate::encoding::{Input, Text, fingerprint};
use crate::error::{Failure, Usage};
use crate::index::Index;
use crate::output::{Format, warn};
use crate::stream::Writable;

/// Find the nearest documents of each query and write a TREC run; or those of one text.
///
/// Every document is compared, unless `--ef` asks the graph of an index, or the index is a collection of a
/// cluster of vectors.
#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("what").required(true).args(["queries", "text"]))]
#[command(group = clap::ArgGroup::new("where").required(true).args(["documents", "index"]))]
#[command(after_help = "\
Examples:
  samtone search --queries asked --documents faq -k 10 --out answers.trec
  samtone search --text \"how is it treated\" --model runs/faq --documents vectors")]
pub(crate) struct Args {
    /// The queries: a folder as `samtone encode` writes it, or that of its parts, or each of them.
    #[arg(long, value_name = "FOLDER", num_args = 1.., requires = "out")]
    queries: Vec<PathBuf>,
    /// One query: its text.
    #[arg(long, value_name = "QUESTION", requires = "model")]
    text: Option<String>,
    /// The model that embeds it: its folder, a run's, or its name in the Hugging Face cache.
    #[arg(long, value_name = "MODEL", requires = "text")]
    model: Option<PathBuf>,
    /// The documents: a folder as `samtone encode` writes it, or that of its parts, or each of them.
    #[arg(long, value_name = "FOLDER", num_args = 1..)]
    documents: Vec<PathBuf>,
    /// The documents: a folder that `samtone index` made an index, or the collection that it put them
    /// into, `qdrant://HOST:PORT/COLLECTION` or `milvus://…`; what is not as it says is refused.
    #[arg(long, value_name = "FOLDER|URL")]
    index: Option<Place>,
    /// Ask the index's graph, of which N documents or more are scored for each query, or as many as `-k`:
    /// the more, the fewer are missed. A collection's is always asked, with 128 if absent.
    #[arg(
        long,
        value_name = "N",
        value_parser = at_least_one,
        requires = "index",
        conflicts_with_all = ["dims", "similarity", "rescore"]
    )]
    ef: Option<usize>,
    /// Let words count too: of a collection that has BM25 beside its vectors, the documents that stand
    /// before others in both rankings come first.
    #[arg(long, requires = "index")]
    hybrid: bool,
    /// The queries' texts, for `--hybrid`: the file that `samtone encode` read.
    #[arg(long, value_name = "FILE", requires_all = ["queries", "hybrid"])]
    texts: Option<PathBuf>,
    /// How many documents to find for each query; 10 for one text.
    #[arg(short, long, default_value_t = 100, default_value_if("text", clap::builder::ArgPredicate::IsPresent, "10"), value_name = "K", value_parser = at_least_one)]
    k: usize,
    /// Compare only the first N numbers of each embedding.
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    dims: Option<usize>,
    /// How embeddings are compared; as the model's folder said, or by cosine where that is not known,
    /// if absent.
    #[arg(long, value_enum)]
    similarity: Option<SimilarityChoice>,
    /// Of binary documents, score N times `-k` by the query's own numbers; 0: none.
    #[arg(long, value_name = "N", default_value_t = RESCORE)]
    rescore: usize,
    /// Never find the document that has the query's own id.
    #[arg(long)]
    drop_own: bool,
    /// The run to write, `-` to stdout; a text's, called `1`, is printed if absent.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// The run's name in its last column.
    #[arg(long, default_value = "samtone")]
    tag: String,
    #[command(flatten)]
    device: DeviceArgs,
}

/// What `--format json` prints.
#[derive(Serialize)]
struct Result {
    queries: usize,
    documents: usize,
    dim: usize,
    dtype: Dtype,
    similarity: SimilarityChoice,
    seconds: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    out: Option<PathBuf>,
    /// What is found for one text.
    #[serde(skip_serializing_if = "Option::is_none")]
    hits: Option<Vec<Found>>,
}

#[derive(Serialize)]
struct Found {
    rank: usize,
    score: f32,
    #[serde(rename = "_id")]
    id: String,
}

pub(crate) fn run(args: &Args, format: Format) -> anyhow::Result<()> {
    if let Some(Place::Cluster(address)) = &args.index {
        return run_there(args, address, format);
    }
    if args.hybrid {
        return Err(not_hybrid().into());
    }
    let (documents, asked_of) = match args.folder() {
        Some(folder) => {
            let Index { documents, similarity, graph } = Index::open(folder, args.ef)?;
            (documents, Some((similarity, graph)))
        }
        None => (Embeddings::open(&args.documents)?, None),
    };
    let queries = args.queries()?;
    args.check_dim(&queries, documents.dim)?;
    let dim = dims(args.dims, documents.dim)?;
    let mut similarity = similarity(args, &queries, &documents)?;
    let mut graph = None;
    if let Some((of_index, of_graph)) = asked_of {
        similarity = args.similarity.map_or(of_index, Into::into);
        graph = of_graph;
    }
    if documents.origin.as_ref().is_some_and(|origin| origin.side.as_deref() == Some("query")) {
        let folder = searched(args);
        warn(format_args!(
            "{folder} was encoded with `--side query`, and is searched as documents"
        ));
    }
    if args.out.is_some() {
        let ids = queries.ids.iter().chain(&documents.ids).map(String::as_str);
        trec::check_ids(ids.chain([args.tag.as_str()]))?;
    }
    let out = args.out.as_deref().map(Writable::prepare).transpose()?;
    let own: Vec<Option<usize>> = if args.drop_own {
        let places: HashMap<&str, usize> =
            documents.ids.iter().enumerate().map(|(place, id)| (id.as_str(), place)).collect();
        queries.ids.iter().map(|id| places.get(id.as_str()).copied()).collect()
    } else {
        Vec::new()
    };
    let start = Instant::now();
    let hits = match &graph {
        Some((graph, ef)) => {
            let asked = cut(queries.rows(), queries.dim, dim, similarity);
            graph.nearest(&asked, &documents, args.k, *ef, &own)?
        }
        None => search(args, &queries, &documents, dim, similarity, &own)?,
    };
    let seconds = start.elapsed().as_secs_f64();
    let result = Result {
        queries: queries.ids.len(),
        documents: documents.ids.len(),
        dim,
        dtype: documents.dtype,
        similarity: similarity.into(),
        seconds,
        out: args.out.clone(),
        hits: None,
    };
    report(args, out, result, &queries.ids, &documents.ids, &hits, format)
}

/// Searches a collection.
fn run_there(args: &Args, address: &Address, format: Format) -> anyhow::Result<()> {
    if args.dims.is_some() || args.similarity.is_some() {
        let message = "`--dims` and `--similarity` are not for a collection, which has its own";
        return Err(Usage::new(message).into());
    }
    if args.hybrid && args.texts.is_none() && args.text.is_none() {
        let message = "`--hybrid` needs the queries' texts";
        return Err(Usage::new(message).with_hint("`--texts` names their file").into());
    }
    let cluster = Cluster::open(address)?;
    if args.hybrid {
        cluster.check_hybrid()?;
    }
    let queries = args.queries()?;
    args.check_dim(&queries, cluster.dim())?;
    if let Some(origin) = &queries.origin {
        cluster.check_model(&origin.model, &asked(args))?;
    }
    let texts = match (&args.text, &args.texts) {
        (Some(text), _) => Some(vec![text.clone()]),
        (None, Some(file)) => Some(texts_of(&queries.ids, file)?),
        (None, None) => None,
    };
    let texts: Option<Vec<&str>> =
        texts.as_ref().filter(|_| args.hybrid).map(|all| all.iter().map(String::as_str).collect());
    if args.out.is_some() {
        let ids = queries.ids.iter().map(String::as_str);
        trec::check_ids(ids.chain([args.tag.as_str()]))?;
    }
    let out = args.out.as_deref().map(Writable::prepare).transpose()?;
    let own: Vec<&str> = queries.ids.iter().filter(|_| args.drop_own).map(String::as_str).collect();
    let start = Instant::now();
    let rows = cut(queries.rows(), queries.dim, cluster.dim(), cluster.similarity());
    let texts = texts.as_deref();
    let wanted = Asked { queries: &rows, texts, k: args.k, ef: args.ef, own: &own };
    let Answers { ids, hits } = cluster.search(&wanted)?;
    let seconds = start.elapsed().as_secs_f64();
    let result = Result {
        queries: queries.ids.len(),
        documents: cluster.count()?,
        dim: cluster.dim(),
        dtype: Dtype::F32,
        similarity: cluster.similarity().into(),
        seconds,
        out: args.out.clone(),
        hits: None,
    };
    report(args, out, result, &queries.ids, &ids, &hits, format)
}

/// Writes and prints what was found.
fn report(
    args: &Args,
    out: Option<Writable>,
    mut result: Result,
    queries: &[String],
    documents: &[String],
    hits: &[Vec<Hit>],
    format: Format,
) -> anyhow::Result<()> {
    if let Some(out) = out {
        trec::write(out, &Run::from_hits(queries, documents, hits)?, &args.tag)?;
    } else {
        let found = (1..).zip(&hits[0]).map(|(rank, hit)| Found {
            rank,
            score: hit.score,
            id: documents[hit.index].clone(),
        });
        result.hits = Some(found.collect());
    }
    format.print(&result, describe)
}

/// The texts of the queries with these `ids`, in `file`.
fn texts_of(ids: &[String], file: &Path) -> anyhow::Result<Vec<String>> {
    let mut texts = HashMap::new();
    Input::whole(file, Side::Query, DocumentText::default()).for_each(
        |Text { id, text, .. }| {
            texts.insert(id, text);
            Ok(())
        },
    )?;
    let text = |id: &String| {
        texts.remove(id).ok_or_else(|| {
            let message = format!("`{}` has no query `{id}`", file.display());
            Failure::new(message, "`--texts` is the file that the queries were encoded from").into()
        })
    };
    ids.iter().map(text).collect()
}

impl Args {
    /// The index, if it is a folder.
    fn folder(&self) -> Option<&PathBuf> {
        match &self.index {
            Some(Place::Folder(folder)) => Some(folder),
            _ => None,
        }
    }

    /// The queries' embeddings, of one text made now.
    fn queries(&self) -> anyhow::Result<Embeddings> {
        match &self.text {
            Some(text) => self.device.backend.run(Ask { args: self, text })?,
            None => Embeddings::open(&self.queries),
        }
    }

    /// Refuses queries that cannot be compared with documents of `dim` numbers.
    fn check_dim(&self, queries: &Embeddings, dim: usize) -> anyhow::Result<()> {
        ensure!(
            queries.dim == dim || queries.dim > dim && self.text.is_some(),
            "the queries have {} dimensions, the documents {dim}",
            queries.dim,
        );
        Ok(())
    }
}

/// The nearest of `documents` of each of `queries`, by their first `dim` numbers.
fn search(
    args: &Args,
    queries: &Embeddings,
    documents: &Embeddings,
    dim: usize,
    similarity: Similarity,
    own: &[Option<usize>],
) -> anyhow::Result<Vec<Vec<Hit>>> {
    let asked = cut(queries.rows(), queries.dim, dim, similarity);
    if documents.dtype == Dtype::Binary {
        let stored = if dim == documents.dim {
            documents.bytes()
        } else {
            signs(&cut(documents.rows(), documents.dim, dim, similarity), dim).into()
        };
        return Ok(top_k_signs(&asked, &stored, dim, args.k, args.rescore, similarity, own)?);
    }
    let parts = documents.parts().map(|rows| cut(rows, documents.dim, dim, similarity));
    Ok(top_k_of_parts(&asked, parts, dim, args.k, similarity, own)?)
}

/// Embeds the one text.
struct Ask<'a> {
    args: &'a Args,
    text: &'a str,
}

impl OnBackend for Ask<'_> {
    type Output = anyhow::Result<Embeddings>;

    fn run<B: AutodiffBackend>(self, device: &B::Device) -> Self::Output {
        let Self { args, text } = self;
        if text.trim().is_empty() {
            return Err(Usage::new("the text is empty").into());
        }
        let path = args.model.as_deref().expect("clap asks for it");
        let embed = || {
            let model = model_folder(path)?;
            let retriever = Retriever::<B::InnerBackend>::open(&model, device)?;
            let row = retriever.encode_texts(Side::Query, &[text])?;
            let similarity = similarity_of(&retriever).into();
            anyhow::Ok(Embeddings::of_one("1".into(), &row, fingerprint(&model)?, similarity))
        };
        embed().with_context(|| format!("cannot search with `{}`", path.display()))
    }
}

fn describe(result: &Result) -> String {
    if let Some(hits) = &result.hits {
        let mut text = String::new();
        for Found { rank, score, id } in hits {
            line(&mut text, format_args!("{rank:>3}  {score:.4}  {id}"));
        }
        return text;
    }
    let out = result.out.as_ref().map(|out| format!(": `{}`", out.display())).unwrap_or_default();
    format!(
        "{} queries over {} documents of {} dimensions by {} in {:.3} s{out}",
        result.queries, result.documents, result.dim, result.similarity, result.seconds
    )
}

/// What is searched, in a message.
fn searched(args: &Args) -> String {
    joined(args.folder().map_or(&args.documents, std::slice::from_ref))
}

/// What is searched for, in a message.
fn asked(args: &Args) -> String {
    match &args.model {
        Some(model) => format!("`{}`", model.display()),
        None => joined(&args.queries),
    }
}

/// How the two are compared: as asked for, or else as what they come from says.
fn similarity(
    args: &Args,
    queries: &Embeddings,
    documents: &Embeddings,
) -> anyhow::Result<Similarity> {
    let (queries, documents) = (queries.origin.as_ref(), documents.origin.as_ref());
    if let (Some(asked), Some(found)) = (queries, documents)
        && asked.model != found.model
    {
        let (queries, documents) = (self::asked(args), searched(args));
        let message = format!("{queries} and {documents} were embedded by different models");
        let hint =
            format!("encode both with one `--model`; a folder without its `{RECORD}` is not asked");
        return Err(Failure::new(message, hint).into());
    }
    let known = queries.or(documents).map(|origin| origin.similarity);
    Ok(args.similarity.or(known).unwrap_or_default().into())
}
