//! `POST /search`: a query to the nearest documents, with their texts.

use std::sync::Arc;
use std::time::Instant;

use axum::body::Body;
use axum::extract::State;
use axum::http::Request;
use axum::response::Response;
use samtone_data::Document;
use samtone_eval::search::Hit;
use samtone_model::Side;
use serde::{Deserialize, Serialize};
use tokio::task::spawn_blocking;

use super::bodies::{answer, read};
use super::refusal::Refusal;
use super::service::Service;

/// The most documents of an answer.
const MOST: usize = 1000;

/// Documents of an answer where nothing else is said.
const DEFAULT: usize = 10;

#[derive(Deserialize)]
struct Asked {
    query: String,
    #[serde(default)]
    k: Option<usize>,
    #[serde(default)]
    ef: Option<usize>,
}

#[derive(Serialize)]
struct Answer<'a> {
    query: &'a str,
    /// From the query to this answer.
    seconds: f64,
    hits: Vec<Found<'a>>,
}

#[derive(Serialize)]
struct Found<'a> {
    rank: usize,
    score: f32,
    #[serde(rename = "_id")]
    id: &'a str,
    title: &'a str,
    text: &'a str,
}

pub(super) async fn search(
    State(service): State<Arc<Service>>,
    request: Request<Body>,
) -> Result<Response, Refusal> {
    let start = Instant::now();
    let Some(passages) = &service.passages else {
        let message = "there are no documents here: start the server with `--data`";
        return Err(Refusal::unknown(message));
    };
    let Asked { query, k, ef } = read(request, service.limits.body).await?;
    let k = k.unwrap_or(DEFAULT);
    if !(1..=MOST).contains(&k) {
        return Err(Refusal::malformed(format!("`k` is {k}, but may be 1 to {MOST}")).of("k"));
    }
    if ef == Some(0) {
        return Err(Refusal::malformed("`ef` is 0, but is at least 1").of("ef"));
    }
    if ef.is_some() && !passages.has_graph() {
        let message = "`ef` is for an index with a graph: leave it out, the search is exact then";
        return Err(Refusal::malformed(message).of("ef"));
    }
    if query.trim().is_empty() {
        return Err(Refusal::empty("`query` is empty").of("query"));
    }
    let embedded = service.embed(Side::Query, vec![query.clone()], None, true, "query").await?;
    let found = {
        let (service, query) = (Arc::clone(&service), query.clone());
        let nearest = move || {
            let passages = service.passages.as_ref()?;
            Some(passages.nearest(&query, &embedded.rows, k, ef.or(passages.ef)))
        };
        spawn_blocking(nearest).await.map_err(Refusal::failed)?
    };
    let found: Vec<Hit> = found.transpose().map_err(Refusal::failed)?.unwrap_or_default();
    let hits = (1..).zip(&found).map(|(rank, hit)| {
        let Document { id, title, text } = passages.document(hit);
        Found { rank, score: hit.score, id, title, text }
    });
    let hits = hits.collect();
    answer(&Answer { query: &query, seconds: start.elapsed().as_secs_f64(), hits })
}
