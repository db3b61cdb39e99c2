//! What a run found: its results alone.

use std::collections::BTreeMap;

use samtone_loss::Preset;
use serde::{Deserialize, Serialize};

/// Mean value of each metric, by its name.
pub type Metrics = BTreeMap<String, f64>;

/// `summary.json` of a run folder: results alone, no times, so that two runs of one configuration
/// compare byte for byte.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// The root of the run's randomness.
    pub seed: u64,
    /// Optimiser steps done.
    pub steps: usize,
    /// Mean training loss over the last tenth of the steps, at most the last 100, in nats.
    pub train_loss: f64,
    /// The temperature at the end.
    pub temperature: f64,
    /// Where the model comes from, if dev evaluations chose it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub best: Option<Best>,
    /// On the dev split; empty if there is none.
    #[serde(default, skip_serializing_if = "Metrics::is_empty")]
    pub dev: Metrics,
    /// On the test split; empty if there is none.
    #[serde(default, skip_serializing_if = "Metrics::is_empty")]
    pub test: Metrics,
    /// On the split that speaks for the run, by the dimensions that embeddings are cut to: those of
    /// `matryoshka.dims` that are fewer than all.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub dims: BTreeMap<usize, Metrics>,
    /// On the test split of each zero-shot folder, by the folder's name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub zero_shot: BTreeMap<String, Metrics>,
    /// The model before its first step, where it was judged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<BeforeTraining>,
    /// BM25 on the test split.
    #[serde(default, skip_serializing_if = "Metrics::is_empty")]
    pub bm25: Metrics,
    /// The same configuration under another loss.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub baseline: Option<Baseline>,
}

impl Summary {
    /// The split that speaks for the run, test before dev, and its metrics.
    pub fn judged(&self) -> (&'static str, &Metrics) {
        if self.test.is_empty() { ("dev", &self.dev) } else { ("test", &self.test) }
    }
}

/// What a model was worth before its first step.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct BeforeTraining {
    /// On the dev split; empty if there is none.
    #[serde(default, skip_serializing_if = "Metrics::is_empty")]
    pub dev: Metrics,
    /// On the test split; empty if there is none.
    #[serde(default, skip_serializing_if = "Metrics::is_empty")]
    pub test: Metrics,
    /// On the dev split, among the documents that the evaluations on the way look in; empty where these
    /// are all.
    #[serde(default, skip_serializing_if = "Metrics::is_empty")]
    pub dev_sample: Metrics,
}

impl BeforeTraining {
    /// What the dev evaluations on the way compare with.
    pub fn on_the_way(&self) -> &Metrics {
        if self.dev_sample.is_empty() { &self.dev } else { &self.dev_sample }
    }
}

/// The best dev evaluation of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Best {
    /// Steps done before it.
    pub step: usize,
    /// The metric that decided.
    pub metric: String,
    /// Its value.
    pub value: f64,
}

/// The results of the same configuration under another loss.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Baseline {
    /// That loss.
    pub loss: Preset,
    /// On the dev split; empty if there is none.
    #[serde(default, skip_serializing_if = "Metrics::is_empty")]
    pub dev: Metrics,
    /// On the test split; empty if there is none.
    #[serde(default, skip_serializing_if = "Metrics::is_empty")]
    pub test: Metrics,
}
