//! text-embeddings-inference's protocol: `POST /embed`, `GET /info`.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::Request;
use axum::response::Response;
use samtone_eval::search::Similarity;
use serde::Deserialize;
use serde_json::json;

use super::bodies::{InputType, Inputs, answer, read};
use super::refusal::Refusal;
use super::service::Service;
use crate::commands::passages::Passages;
use crate::commands::reading::SimilarityChoice;

#[derive(Deserialize)]
struct Asked {
    inputs: Inputs,
    /// Absent: as the model computes them, at length 1 if they are not.
    #[serde(default)]
    normalize: Option<bool>,
    #[serde(default)]
    truncate: Option<bool>,
    #[serde(default)]
    truncation_direction: Option<Direction>,
    /// The side, by either name.
    #[serde(default, alias = "input_type")]
    prompt_name: Option<InputType>,
    #[serde(default)]
    dimensions: Option<usize>,
}

#[derive(Clone, Copy, PartialEq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Direction {
    #[serde(alias = "Left")]
    Left,
    #[serde(alias = "Right")]
    Right,
}

pub(super) async fn embed(
    State(service): State<Arc<Service>>,
    request: Request<Body>,
) -> Result<Response, Refusal> {
    let asked: Asked = read(request, service.limits.body).await?;
    if asked.truncation_direction == Some(Direction::Left) {
        let message = "`truncation_direction` is `left`, but texts lose their end alone here";
        return Err(Refusal::malformed(message));
    }
    let side = service.side(asked.prompt_name)?;
    let truncate = asked.truncate.unwrap_or(true);
    let mut embedded =
        service.embed(side, asked.inputs.0, asked.dimensions, truncate, "inputs").await?;
    // What is of length 1 stays as it is, to the bit: what the model has normalized, cut for the cosine
    // or not cut.
    let model = &service.model;
    let is_cut = embedded.dim < model.dim && model.similarity != Similarity::Cosine;
    if asked.normalize.unwrap_or(true) && (is_cut || !model.normalizes) {
        embedded.rows.chunks_exact_mut(embedded.dim).for_each(normalize);
    }
    answer(&embedded.rows.chunks_exact(embedded.dim).collect::<Vec<_>>())
}

/// Brings a row to length 1, unless it has none.
fn normalize(row: &mut [f32]) {
    let squares: f64 = row.iter().map(|&number| f64::from(number).powi(2)).sum();
    if squares > 0.0 {
        let length = squares.sqrt();
        for number in row {
            *number = (f64::from(*number) / length) as f32;
        }
    }
}

/// What is served.
pub(super) fn info(service: &Service) -> Result<Response, Refusal> {
    let Service { model, limits, passages, .. } = service;
    let similarity: SimilarityChoice = model.similarity.into();
    let [query, document] = model.max_tokens;
    answer(&json!({
        "model_id": model.name,
        "model_type": { "embedding": { "dim": model.dim, "similarity": similarity } },
        "max_input_length": query.max(document),
        "max_query_length": query,
        "max_document_length": document,
        "max_batch_tokens": limits.batch_tokens,
        "max_client_batch_size": limits.texts,
        "max_concurrent_texts": limits.queue,
        "auto_truncate": true,
        "needs_input_type": model.side.is_none(),
        "documents": passages.as_ref().map(Passages::count),
        "has_graph": passages.as_ref().is_some_and(Passages::has_graph),
        "ef": passages.as_ref().and_then(|passages| passages.ef),
        "version": env!("CARGO_PKG_VERSION"),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_has_length_1_or_0() {
        let mut row = [3.0, 0.0, -4.0];
        normalize(&mut row);
        assert_eq!(row, [0.6, 0.0, -0.8]);
        let mut none = [0.0; 3];
        normalize(&mut none);
        assert_eq!(none, [0.0; 3]);
    }
}
