//! What the backends did, and how far each may be from the reference.

use std::collections::BTreeMap;

use serde::Serialize;

/// Largest difference of a part's gradient at the first step, relative to its norm.
pub(super) const GRADIENTS: f64 = 1e-3;
/// Largest difference of a loss over the first [`STEPS`] steps, in nats.
pub(super) const LOSSES: f64 = 1e-2;
pub(super) const STEPS: usize = 50;
/// Largest difference of a number of an embedding of one trained model.
pub(super) const EMBEDDINGS: f64 = 1e-4;

/// What one backend did.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Ran {
    pub(super) backend: String,
    /// What the first step took beyond the second: kernels compiled and tuned.
    pub(super) start_up_seconds: f64,
    /// Without the first fifth of the steps.
    pub(super) steps_per_second: f64,
    /// Real tokens, in the same steps.
    pub(super) tokens_per_second: f64,
    /// Of the training process on the host, where the system tells it.
    pub(super) peak_rss_bytes: Option<u64>,
    pub(super) metrics: BTreeMap<String, f64>,
    pub(super) losses: Vec<f64>,
    /// Against the reference; none for the reference itself.
    pub(super) difference: Option<Difference>,
}

/// How far a backend is from the reference.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Difference {
    /// Of the first step's gradient, by part of the model, relative to its norm.
    pub(super) gradients: BTreeMap<String, f64>,
    /// Of the losses of the first steps, the largest, in nats.
    pub(super) losses: f64,
    /// Of the embeddings of one trained model, the largest.
    pub(super) embeddings: f64,
}

impl Difference {
    /// The largest of the parts' gradients.
    pub(super) fn gradient(&self) -> f64 {
        self.gradients.values().copied().fold(0.0, f64::max)
    }

    /// What is too far off, in words.
    pub(super) fn faults(&self) -> Vec<String> {
        let found = [
            ("gradients of the first step", self.gradient(), GRADIENTS),
            ("losses", self.losses, LOSSES),
            ("embeddings", self.embeddings, EMBEDDINGS),
        ];
        let off = found.into_iter().filter(|(_, got, allowed)| got > allowed || got.is_nan());
        off.map(|(what, got, allowed)| format!("{what} by {got:.1e}, allowed {allowed:.0e}"))
            .collect()
    }
}

/// What `--format json` prints and `comparison.json` holds.
#[derive(Serialize)]
pub(super) struct Comparison {
    pub(super) reference: String,
    pub(super) backends: Vec<Ran>,
}

/// The columns of the table, and each backend's row.
pub(super) fn rows(found: &Comparison) -> (Vec<String>, Vec<Vec<String>>) {
    let mut header: Vec<String> =
        ["backend", "gradients", "losses", "embeddings"].map(String::from).into();
    let metrics = found.backends.first().into_iter().flat_map(|ran| ran.metrics.keys().cloned());
    header.extend(metrics);
    header.extend(["start-up s", "steps/s", "tokens/s", "peak MB"].map(String::from));
    let rows = found.backends.iter().map(|ran| {
        let of = |value: fn(&Difference) -> f64| {
            ran.difference.as_ref().map_or("–".into(), |found| format!("{:.1e}", value(found)))
        };
        let mut row = vec![
            ran.backend.clone(),
            of(Difference::gradient),
            of(|found| found.losses),
            of(|found| found.embeddings),
        ];
        row.extend(ran.metrics.values().map(|value| format!("{value:.4}")));
        row.push(format!("{:.1}", ran.start_up_seconds));
        row.push(format!("{:.2}", ran.steps_per_second));
        row.push(format!("{:.0}", ran.tokens_per_second));
        let peak = ran.peak_rss_bytes.map(|bytes| format!("{:.0}", bytes as f64 / 1e6));
        row.push(peak.unwrap_or_else(|| "–".into()));
        row
    });
    let rows = rows.collect();
    (header, rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_far_off_is_named() {
        let gradients = [("embedder".into(), 1e-5), ("layer 0".into(), 2e-3)].into();
        let off = Difference { gradients, losses: 1e-3, embeddings: f64::NAN };
        let expected = [
            "gradients of the first step by 2.0e-3, allowed 1e-3",
            "embeddings by NaN, allowed 1e-4",
        ];
        assert_eq!(off.faults(), expected);
    }
}
