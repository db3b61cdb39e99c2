//! `samtone search`.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::ensure;
use samtone_eval::Run;
use samtone_eval::search::{Similarity, top_k_excluding};
use serde::Serialize;

use super::reading::SimilarityChoice;
use super::{at_least_one, trec};
use crate::embeddings::{Embeddings, RECORD};
use crate::error::Failure;
use crate::output::Format;

/// Find the nearest documents of each query, exactly, and write a TREC run.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  samtone search --queries asked --documents faq -k 10 --out answers.trec")]
pub(crate) struct Args {
    /// The queries: a folder as `samtone encode` writes it.
    #[arg(long, value_name = "FOLDER")]
    queries: PathBuf,
    /// The documents: a folder as `samtone encode` writes it.
    #[arg(long, value_name = "FOLDER")]
    documents: PathBuf,
    /// How many documents to find for each query.
    #[arg(short, long, default_value_t = 100, value_name = "K", value_parser = at_least_one)]
    k: usize,
    /// How embeddings are compared; as the model's folder said, or by cosine where that is not known,
    /// if absent.
    #[arg(long, value_enum)]
    similarity: Option<SimilarityChoice>,
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
    similarity: SimilarityChoice,
    seconds: f64,
    out: &'a Path,
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
    let similarity = similarity(args, &queries, &documents)?;
    let ids = queries.ids.iter().chain(&documents.ids).map(String::as_str);
    trec::check_ids(ids.chain([args.tag.as_str()]))?;
    trec::prepare(&args.out)?;
    let own: Vec<Option<usize>> = if args.drop_own {
        let places: HashMap<&str, usize> =
            documents.ids.iter().enumerate().map(|(place, id)| (id.as_str(), place)).collect();
        queries.ids.iter().map(|id| places.get(id.as_str()).copied()).collect()
    } else {
        Vec::new()
    };
    let start = Instant::now();
    let (query_rows, document_rows) = (queries.rows()?, documents.rows()?);
    let hits = top_k_excluding(&query_rows, &document_rows, queries.dim, args.k, similarity, &own)?;
    let seconds = start.elapsed().as_secs_f64();
    trec::write(&args.out, &Run::from_hits(&queries.ids, &documents.ids, &hits)?, &args.tag)?;
    let result = Result {
        queries: queries.ids.len(),
        documents: documents.ids.len(),
        dim: queries.dim,
        similarity: similarity.into(),
        seconds,
        out: &args.out,
    };
    format.print(&result, |result| {
        format!(
            "{} queries over {} documents of {} dimensions by {} in {seconds:.3} s: `{}`",
            result.queries,
            result.documents,
            result.dim,
            result.similarity,
            result.out.display()
        )
    })
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
        let (queries, documents) = (args.queries.display(), args.documents.display());
        let message = format!("`{queries}` and `{documents}` were embedded by different models");
        let hint =
            format!("encode both with one `--model`; a folder without its `{RECORD}` is not asked");
        return Err(Failure::new(message, hint).into());
    }
    let known = queries.or(documents).map(|origin| origin.similarity);
    Ok(args.similarity.or(known).unwrap_or_default().into())
}
