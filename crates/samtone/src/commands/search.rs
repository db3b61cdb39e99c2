//! `samtone search`.

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::ensure;
use samtone_eval::Run;
use samtone_eval::search::top_k_excluding;
use serde::Serialize;

use super::eval::SimilarityChoice;
use crate::embeddings::Embeddings;
use crate::output::Format;

/// Find the nearest documents of each query, exactly, and write a TREC run.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The queries: a folder as `samtone encode` writes it.
    #[arg(long, value_name = "FOLDER")]
    queries: PathBuf,
    /// The documents: a folder as `samtone encode` writes it.
    #[arg(long, value_name = "FOLDER")]
    documents: PathBuf,
    /// How many documents to find for each query.
    #[arg(short, long, default_value_t = 100, value_name = "K")]
    k: usize,
    /// How embeddings are compared.
    #[arg(long, value_enum, default_value_t)]
    similarity: SimilarityChoice,
    /// Never find the document that has the query's own id.
    #[arg(long)]
    drop_own: bool,
    /// The run to write.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// The run's name in its last column.
    #[arg(long, default_value = "samtone")]
    tag: String,
}

/// What `--format json` prints.
#[derive(Serialize)]
struct Result<'a> {
    queries: usize,
    documents: usize,
    dim: usize,
    seconds: f64,
    out: &'a std::path::Path,
}

pub(crate) fn run(args: &Args, format: Format) -> anyhow::Result<()> {
    let (queries, documents) =
        (Embeddings::open(&args.queries)?, Embeddings::open(&args.documents)?);
    ensure!(
        queries.dim == documents.dim,
        "the queries have {} dimensions, the documents {}",
        queries.dim,
        documents.dim
    );
    let own: Vec<Option<usize>> = if args.drop_own {
        let places: HashMap<&str, usize> =
            documents.ids.iter().enumerate().map(|(place, id)| (id.as_str(), place)).collect();
        queries.ids.iter().map(|id| places.get(id.as_str()).copied()).collect()
    } else {
        Vec::new()
    };
    let start = Instant::now();
    let (query_rows, document_rows) = (queries.rows()?, documents.rows()?);
    let similarity = args.similarity.into();
    let hits = top_k_excluding(&query_rows, &document_rows, queries.dim, args.k, similarity, &own)?;
    let seconds = start.elapsed().as_secs_f64();
    Run::from_hits(&queries.ids, &documents.ids, &hits)?.write(&args.out, &args.tag)?;
    let result = Result {
        queries: queries.ids.len(),
        documents: documents.ids.len(),
        dim: queries.dim,
        seconds,
        out: &args.out,
    };
    format.print(&result, |result| {
        format!(
            "{} queries over {} documents of {} dimensions in {seconds:.3} s: `{}`",
            result.queries,
            result.documents,
            result.dim,
            result.out.display()
        )
    })
}
