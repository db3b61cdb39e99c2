//! What is served: a model, perhaps documents, and the limits of both.

use std::sync::Arc;
use std::time::Duration;

use samtone_eval::search::Similarity;
use samtone_model::Side;
use tokio::task::spawn_blocking;

use super::bodies::InputType;
use super::encoder::Reader;
use super::metrics::Metrics;
use super::queue::Queue;
use super::refusal::Refusal;
use crate::commands::passages::Passages;
use crate::commands::reading::cut;

/// What is served, and within which limits.
pub(crate) struct Service {
    pub(crate) model: Model,
    pub(crate) passages: Option<Passages>,
    pub(crate) limits: Limits,
    /// Who asks must know it.
    pub(crate) token: Option<Token>,
    pub(super) queue: Queue,
    pub(super) metrics: Metrics,
}

/// What is known of the model.
pub(crate) struct Model {
    /// What it is called in answers.
    pub(crate) name: String,
    /// Numbers of an embedding.
    pub(crate) dim: usize,
    pub(crate) similarity: Similarity,
    /// Whether embeddings have length 1 as they are computed.
    pub(crate) normalizes: bool,
    /// The most tokens of a query and of a document.
    pub(crate) max_tokens: [usize; 2],
    /// What a text is that is not said to be a query or a document; none: it must be said.
    pub(crate) side: Option<Side>,
    pub(crate) reader: Arc<dyn Reader>,
}

/// What a server takes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Bytes of a request's body.
    pub(crate) body: usize,
    /// Texts of a request.
    pub(crate) texts: usize,
    /// Texts that are waiting or being embedded.
    pub(crate) queue: usize,
    pub(crate) connections: usize,
    /// Tokens that are computed at once.
    pub(crate) batch_tokens: usize,
    /// How long requests have to end when the server does.
    pub(crate) grace: Duration,
}

/// What who asks must know, as its hash: hashes are compared in a time that says nothing of them.
pub(crate) struct Token(blake3::Hash);

impl Token {
    pub(crate) fn new(token: &str) -> Self {
        Self(blake3::hash(token.as_bytes()))
    }

    pub(super) fn is(&self, given: &[u8]) -> bool {
        self.0 == blake3::hash(given)
    }
}

/// Embeddings of a request's texts.
#[derive(Debug)]
pub(super) struct Embedded {
    /// `[texts, dim]`
    pub(super) rows: Vec<f32>,
    /// Numbers of each.
    pub(super) dim: usize,
    /// Tokens of all texts.
    pub(super) tokens: usize,
}

impl Service {
    pub(crate) fn new(
        model: Model,
        passages: Option<Passages>,
        limits: Limits,
        token: Option<Token>,
    ) -> Self {
        let (queue, metrics) = (Queue::new(limits.queue), Metrics::new());
        Self { model, passages, limits, token, queue, metrics }
    }

    /// The side of a text that is said to be `input_type`.
    pub(super) fn side(&self, input_type: Option<InputType>) -> Result<Side, Refusal> {
        input_type.map(Into::into).or(self.model.side).ok_or_else(|| {
            Refusal::malformed(
                "this model reads queries and documents differently: give `input_type`, `query` or \
                 `document` (the server's `--input-type` is for who cannot)",
            )
            .of("input_type")
        })
    }

    /// The embeddings of `texts` of `side`, the first `dims` numbers of each; `parameter` is what the
    /// request calls the texts. Texts that are too long are cut, or refused if not `truncate`.
    pub(super) async fn embed(
        self: &Arc<Self>,
        side: Side,
        texts: Vec<String>,
        dims: Option<usize>,
        truncate: bool,
        parameter: &'static str,
    ) -> Result<Embedded, Refusal> {
        let (count, most, dim) = (texts.len(), self.limits.texts, self.model.dim);
        if count == 0 {
            return Err(Refusal::empty(format!("`{parameter}` holds no text")).of(parameter));
        }
        if count > most {
            let message = format!("{count} texts, but a request has at most {most}: send several");
            return Err(Refusal::too_much(message).of(parameter));
        }
        if let Some(place) = texts.iter().position(String::is_empty) {
            let message = match count {
                1 => format!("`{parameter}` is empty"),
                _ => format!("`{parameter}[{place}]` is empty"),
            };
            return Err(Refusal::empty(message).of(parameter));
        }
        if let Some(dims) = dims.filter(|dims| !(1..=dim).contains(dims)) {
            let message =
                format!("`dimensions` is {dims}, but this model's embeddings have 1 to {dim}");
            return Err(Refusal::malformed(message).of("dimensions"));
        }
        // Before anything is done for a request that has no place.
        let place = self.queue.place(count)?;
        let service = Arc::clone(self);
        let read = move || service.model.read(side, &texts, truncate, parameter);
        let rows = spawn_blocking(read).await.map_err(Refusal::failed)??;
        let tokens = rows.iter().map(Vec::len).sum();
        let embedded = self.queue.push(place, side, rows)?;
        let rows = embedded.await.map_err(|_| Refusal::failed("the model failed"))?;
        if !rows.iter().all(|number| number.is_finite()) {
            return Err(Refusal::failed("an embedding holds a NaN or an infinity"));
        }
        let to = dims.unwrap_or(dim);
        let rows = cut(rows.into(), dim, to, self.model.similarity).into_owned();
        self.metrics.embedded(side, count, tokens);
        Ok(Embedded { rows, dim: to, tokens })
    }
}

impl Model {
    /// The token rows of `texts`.
    fn read(
        &self,
        side: Side,
        texts: &[String],
        truncate: bool,
        parameter: &'static str,
    ) -> Result<Vec<Vec<u32>>, Refusal> {
        let rows = self.reader.tokenize(side, texts).map_err(Refusal::failed)?;
        let most = self.max_tokens[side as usize];
        for (row, text) in rows.iter().zip(texts).filter(|_| !truncate) {
            // A shorter row is whole.
            if row.len() >= most && self.reader.is_cut(side, text).map_err(Refusal::failed)? {
                let message = format!(
                    "a text has more than the {most} tokens that the model reads of a {}: \
                     shorten it, or leave `truncate` out",
                    side.name()
                );
                return Err(Refusal::too_much(message).of(parameter));
            }
        }
        Ok(rows)
    }
}
