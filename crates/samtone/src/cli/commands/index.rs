//! `samtone index`.

use std::path::PathBuf;
use std::time::Instant;

use serde::Serialize;

use super::at_least_one;
use super::reading::SimilarityChoice;
use crate::index::{Record, Settings, Wanted};
use crate::output::{Format, table};

/// Make a folder of embeddings an index, for `search` and `ask`: exact, or with a graph beside.
///
/// The folder gets an `index.json`: the model, the dimensions, the similarity. With `--graph`, in a build
/// with the feature `usearch`, also a graph of near neighbours (HNSW), with the recall that was measured
/// beside the exact search.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  samtone index --documents vectors
  samtone index --documents vectors --graph --queries asked")]
pub(crate) struct Args {
    /// The documents: a folder as `samtone encode` writes it, or that of its parts; the index is written
    /// into it, in the place of one that is there.
    #[arg(long, value_name = "FOLDER")]
    documents: PathBuf,
    /// How embeddings are compared; as the model's folder said if absent.
    #[arg(long, value_enum)]
    similarity: Option<SimilarityChoice>,
    /// Also build a graph, for `--ef`.
    #[arg(long)]
    graph: bool,
    /// Neighbours of a document in the graph; twice as many on its lowest level.
    #[arg(long, value_name = "M", default_value_t = 16, value_parser = at_least_two, requires = "graph")]
    connectivity: usize,
    /// How many documents are looked at for these.
    #[arg(long, value_name = "N", default_value_t = 128, value_parser = at_least_one, requires = "graph")]
    expansion: usize,
    /// Measure with these queries, a folder as `samtone encode` writes it, at most 200 of them, instead of
    /// with documents.
    #[arg(long, value_name = "FOLDER", requires = "graph")]
    queries: Option<PathBuf>,
    /// For which `--ef` to measure.
    #[arg(
        long,
        value_name = "N,…",
        value_delimiter = ',',
        default_value = "16,32,64,128,256",
        value_parser = at_least_one,
        requires = "graph"
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
    let rows = graph.recall.iter().map(|of| {
        let time = of.milliseconds.map_or("–".into(), |time| format!("{time:.3}"));
        [of.ef.to_string(), format!("{:.4}", of.recall), time]
    });
    text.push_str(&table(&["ef", "recall@10", "ms/query"], rows));
    text
}
