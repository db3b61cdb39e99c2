//! What the server did, as Prometheus reads it.

use std::time::Duration;

use axum::http::StatusCode;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};
use samtone_model::Side;

/// Counters and histograms.
pub(crate) struct Metrics {
    registry: Registry,
    requests: Family<Answered, Counter>,
    seconds: Family<Path, Histogram>,
    texts: Family<OfSide, Counter>,
    tokens: Family<OfSide, Counter>,
    batch_texts: Histogram,
    batch_tokens: Histogram,
    queue: Gauge,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answered {
    path: &'static str,
    status: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Path {
    path: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfSide {
    input_type: &'static str,
}

/// The paths that are told apart; whatever else is asked for is one.
const PATHS: [&str; 8] =
    ["/", "/health", "/info", "/metrics", "/v1/models", "/v1/embeddings", "/embed", "/search"];

impl Metrics {
    pub(super) fn new() -> Self {
        // A millisecond to half a minute; one to four thousand texts; eight to 32 thousand tokens.
        let seconds = || Histogram::new(exponential_buckets(0.001, 2.0, 16));
        let (batch_texts, batch_tokens) = (
            Histogram::new(exponential_buckets(1.0, 2.0, 13)),
            Histogram::new(exponential_buckets(8.0, 2.0, 13)),
        );
        let metrics = Self {
            registry: Registry::default(),
            requests: Family::default(),
            seconds: Family::new_with_constructor(seconds as fn() -> Histogram),
            texts: Family::default(),
            tokens: Family::default(),
            batch_texts,
            batch_tokens,
            queue: Gauge::default(),
        };
        metrics.registered()
    }

    fn registered(mut self) -> Self {
        let mut registry = Registry::with_prefix("samtone");
        let of = &mut registry;
        of.register("requests", "Requests that were answered", self.requests.clone());
        let help = "From a request's head to its answer";
        of.register_with_unit("request", help, Unit::Seconds, self.seconds.clone());
        of.register("texts", "Texts that were embedded", self.texts.clone());
        of.register("tokens", "Tokens that were embedded", self.tokens.clone());
        of.register("batch_texts", "Texts computed at once", self.batch_texts.clone());
        of.register("batch_tokens", "Tokens computed at once", self.batch_tokens.clone());
        let help = "Texts that are waiting or being embedded";
        of.register("queue_texts", help, self.queue.clone());
        self.registry = registry;
        self
    }

    /// A request to `path` was answered after `seconds`.
    pub(super) fn answered(&self, path: &str, status: StatusCode, seconds: Duration) {
        let path = PATHS.into_iter().find(|&known| known == path).unwrap_or("other");
        self.requests.get_or_create(&Answered { path, status: status.as_u16() }).inc();
        self.seconds.get_or_create(&Path { path }).observe(seconds.as_secs_f64());
    }

    /// A request's texts were embedded.
    pub(super) fn embedded(&self, side: Side, texts: usize, tokens: usize) {
        let side = OfSide { input_type: side.name() };
        self.texts.get_or_create(&side).inc_by(texts as u64);
        self.tokens.get_or_create(&side).inc_by(tokens as u64);
    }

    /// So much is computed at once.
    pub(super) fn batch(&self, texts: usize, tokens: usize) {
        self.batch_texts.observe(texts as f64);
        self.batch_tokens.observe(tokens as f64);
    }

    /// All of it, in [`TEXT`], when so many texts are waiting or being embedded.
    pub(super) fn text(&self, queue: usize) -> Result<String, std::fmt::Error> {
        self.queue.set(i64::try_from(queue).unwrap_or(i64::MAX));
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

/// The form of [`Metrics::text`].
pub(super) const TEXT: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
