//! OpenAI's protocol: `POST /v1/embeddings`, `GET /v1/models`.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::Request;
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::bodies::{InputType, Inputs, answer, read};
use super::refusal::Refusal;
use super::service::Service;

/// `model` and `user` are not looked at: there is one model, and its name is in the answer.
#[derive(Deserialize)]
struct Asked {
    input: Inputs,
    #[serde(default)]
    encoding_format: Option<EncodingFormat>,
    #[serde(default)]
    dimensions: Option<usize>,
    #[serde(default)]
    input_type: Option<InputType>,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum EncodingFormat {
    #[default]
    Float,
    Base64,
}

#[derive(Serialize)]
struct Answer<'a> {
    object: &'static str,
    data: Vec<Item<'a>>,
    model: &'a str,
    usage: Usage,
}

#[derive(Serialize)]
struct Item<'a> {
    object: &'static str,
    index: usize,
    embedding: Numbers<'a>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Numbers<'a> {
    Float(&'a [f32]),
    /// Of four bytes each, the least first.
    Base64(String),
}

#[derive(Serialize)]
struct Usage {
    prompt_tokens: usize,
    total_tokens: usize,
}

pub(super) async fn embeddings(
    State(service): State<Arc<Service>>,
    request: Request<Body>,
) -> Result<Response, Refusal> {
    let asked: Asked = read(request, service.limits.body).await?;
    let side = service.side(asked.input_type)?;
    let format = asked.encoding_format.unwrap_or_default();
    let embedded = service.embed(side, asked.input.0, asked.dimensions, true, "input").await?;
    let item = |(index, row)| {
        let embedding = match format {
            EncodingFormat::Float => Numbers::Float(row),
            EncodingFormat::Base64 => {
                let bytes: Vec<u8> = row.iter().flat_map(|number| number.to_le_bytes()).collect();
                Numbers::Base64(STANDARD.encode(bytes))
            }
        };
        Item { object: "embedding", index, embedding }
    };
    answer(&Answer {
        object: "list",
        data: embedded.rows.chunks_exact(embedded.dim).enumerate().map(item).collect(),
        model: &service.model.name,
        usage: Usage { prompt_tokens: embedded.tokens, total_tokens: embedded.tokens },
    })
}

/// The one model.
pub(super) fn models(service: &Service) -> Result<Response, Refusal> {
    let model = json!({
        "id": service.model.name, "object": "model", "created": 0, "owned_by": "samtone",
    });
    answer(&json!({ "object": "list", "data": [model] }))
}
