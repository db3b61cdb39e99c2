//! `samtone index`.

use std::path::PathBuf;
use std::time::Instant;

use serde::Serialize;

use super::at_least_one;
use super::passages::documents_of;
use super::reading::SimilarityChoice;
use crate::cluster::{self, Address, STREAMS, Upload};
use crate::embeddings::Embeddings;
use crate::index::{Recall, Record, Settings, Wanted, check_queries};
use crate::output::{Format, table};

/// Make a folder of embeddings an index, for `search` and `ask`: exact, with a graph beside, or on a
/// cluster of vectors.
///
/// The folder gets an `index.json`: the model, the dimensions, the similarity. With `--graph`, in a build
/// with the feature `usearch`, also a graph of near neighbours (HNSW), with the recall that was measured
/// beside the exact search. With `--to`, in a build with the feature `qdrant` or `milvus`, the embeddings
/// are put into a collection on a server instead; a call goes on where another was.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  samtone index --documents vectors
  samtone index --documents vectors --graph --queries asked
  samtone index --documents vectors --data faq --to qdrant://localhost:6334/faq")]
#[command(group = clap::ArgGroup::new("graphs").args(["graph", "to"]))]
pub(crate) struct Args {
    /// The documents: a folder as `samtone encode` writes it, or that of its parts; the index is written
    /// into it, in the place of one that is there. With `--part` one of the parts.
    #[arg(long, value_name = "FOLDER")]
    documents: PathBuf,
    /// How embeddings are compared; as the model's folder said if absent.
    #[arg(long, value_enum)]
    similarity: Option<SimilarityChoice>,
    /// Also build a graph, for `--ef`.
    #[arg(long)]
    graph: bool,
    /// Put the embeddings into a collection of Qdrant or Milvus, `qdrant://HOST:PORT/COLLECTION` or
    /// `milvus://…`, encrypted `qdrant+https://…`; made if it is not there. The server's key is read from
    /// `QDRANT_API_KEY` or `MILVUS_TOKEN`.
    #[arg(long, value_name = "URL")]
    to: Option<Address>,
    /// The documents' texts, to stand beside their embeddings, with BM25 for `search --hybrid`: a folder
    /// in BEIR layout, or its `corpus.jsonl` alone; all documents, where the embeddings are a part.
    #[arg(long, value_name = "DATA", requires = "to")]
    data: Option<PathBuf>,
    /// The documents are a part of all, others follow: build no graph yet.
    #[arg(long, requires = "to")]
    part: bool,
    /// Requests on their way at once.
    #[arg(long, value_name = "N", default_value_t = STREAMS, value_parser = at_least_one, requires = "to")]
    streams: usize,
    /// Neighbours of a document in the graph; twice as many on its lowest level.
    #[arg(
        long,
        value_name = "M",
        default_value_t = Settings::default().connectivity,
        value_parser = at_least_two,
        requires = "graphs"
    )]
    connectivity: usize,
    /// How many documents are looked at for these.
    #[arg(
        long,
        value_name = "N",
        default_value_t = Settings::default().expansion,
        value_parser = at_least_one,
        requires = "graphs"
    )]
    expansion: usize,
    /// Measure with these queries, a folder as `samtone encode` writes it, at most 200 of them, instead of
    /// with documents.
    #[arg(long, value_name = "FOLDER", requires = "graphs")]
    queries: Option<PathBuf>,
    /// For which `--ef` to measure.
    #[arg(
        long,
        value_name = "N,…",
        value_delimiter = ',',
        default_value = "16,32,64,128,256",
        value_parser = at_least_one,
        requires = "graphs"
    )]
    ef: Vec<usize>,
}

fn at_least_two(text: &str) -> Result<usize, &'static str> {
    text.parse().ok().filter(|&number| number >= 2).ok_or("expected a whole number of at least 2")
}

/// What `--format json` prints.
#[derive(Serialize)]
struct Made<'a> {
    #[serde(flatten)]
    index: &'a Record,
    seconds: f64,
    out: &'a PathBuf,
}

pub(crate) fn run(args: &Args, format: Format) -> anyhow::Result<()> {
    let start = Instant::now();
    let settings = Settings { connectivity: args.connectivity, expansion: args.expansion };
    if let Some(address) = &args.to {
        return upload(args, address, settings, format);
    }
    let wanted = Wanted {
        folder: &args.documents,
        similarity: args.similarity,
        graph: args.graph.then_some(settings),
        queries: args.queries.as_ref(),
        efs: &args.ef,
    };
    let record = wanted.make()?;
    let made =
        Made { index: &record, seconds: start.elapsed().as_secs_f64(), out: &args.documents };
    format.print(&made, describe)
}

fn describe(made: &Made<'_>) -> String {
    let Made { index, seconds, out } = made;
    let mut text = format!(
        "{} documents of {} dimensions, by {}, in {seconds:.1} s: `{}`",
        index.rows,
        index.dim,
        index.similarity,
        out.display()
    );
    let Some(graph) = &index.graph else { return text };
    text.push_str(&format!(
        "\na graph of {:.1} MB; recall@10 beside the exact search, by {}:\n",
        graph.bytes as f64 / 1e6,
        graph.measured_by
    ));
    text + &recall(&graph.recall)
}

fn recall(measured: &[Recall]) -> String {
    let rows = measured.iter().map(|of| {
        let time = of.milliseconds.map_or("–".into(), |time| format!("{time:.3}"));
        [of.ef.to_string(), format!("{:.4}", of.recall), time]
    });
    table(&["ef", "recall@10", "ms/query"], rows)
}

/// What `--to` prints with `--format json`.
#[derive(Serialize)]
struct Uploaded {
    #[serde(flatten)]
    made: cluster::Made,
    measured_by: Option<&'static str>,
    to: String,
}

/// Puts the embeddings into a collection.
fn upload(
    args: &Args,
    address: &Address,
    settings: Settings,
    format: Format,
) -> anyhow::Result<()> {
    let documents = if args.part {
        Embeddings::open_part(&args.documents)?
    } else {
        Embeddings::open(std::slice::from_ref(&args.documents))?
    };
    let queries = args.queries.as_ref().map(std::slice::from_ref).map(Embeddings::open);
    let queries = queries.transpose()?;
    if let Some(queries) = &queries {
        check_queries(queries, &documents)?;
    }
    let texts = args.data.as_deref();
    let texts = texts.map(|data| documents_of(data, &documents, &args.documents)).transpose()?;
    let upload = Upload {
        address,
        documents: &documents,
        folder: format!("`{}`", args.documents.display()),
        texts,
        similarity: args.similarity,
        settings,
        streams: args.streams,
        is_part: args.part,
        queries: queries.as_ref(),
        efs: &args.ef,
    };
    let made = upload.run()?;
    let by = if queries.is_some() { "queries" } else { "documents" };
    let measured_by = made.recall.is_some().then_some(by);
    let uploaded = Uploaded { made, measured_by, to: address.to_string() };
    format.print(&uploaded, |Uploaded { made, measured_by, to }| {
        let mut text = format!(
            "{} documents of {} dimensions, by {}, in {:.1} s: `{to}`, where {} were before and {} \
             are now",
            made.rows,
            made.card.dim,
            made.card.similarity,
            made.seconds,
            made.there,
            made.documents
        );
        if !made.has_graph {
            text.push_str("\nno graph yet: `samtone index` without `--part` has it built");
        }
        if let (Some(measured), Some(by)) = (&made.recall, measured_by) {
            text.push_str(&format!("\nrecall@10 beside the exact search, by {by}:\n"));
            text.push_str(&recall(measured));
        }
        text
    })
}
