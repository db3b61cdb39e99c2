//! What an infusion and a fine-tuning found: results alone.

use std::collections::BTreeMap;

use samtone_train::run::Metrics;
use serde::{Deserialize, Serialize};

/// `summary.json` of an infusion: no times, so that two runs of one configuration compare byte for
/// byte.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct InfuseSummary {
    /// The root of the run's randomness.
    pub seed: u64,
    /// Optimiser steps of the infusion.
    pub steps: usize,
    /// Mean training loss over the last tenth of the steps, in nats a token.
    pub train_loss: f64,
    /// Triples learned.
    pub triples: usize,
    /// Share of the triples (of a thousand at most) whose masked object the model then writes.
    pub facts: f64,
    /// Exact match after fine-tuning, a share of the questions: of the infused model, of the same
    /// without infusion (`plain`) and after text alone (`text`), each by split.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub exact_match: BTreeMap<String, Metrics>,
    /// Questions of each split.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub questions: BTreeMap<String, usize>,
}

/// `summary.json` of a fine-tuning.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct QaSummary {
    /// The root of the run's randomness.
    pub seed: u64,
    /// Optimiser steps.
    pub steps: usize,
    /// The results.
    #[serde(flatten)]
    pub result: QaResult,
}

/// What one fine-tuned model answers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct QaResult {
    /// Mean training loss over the last tenth of the steps, in nats a token.
    pub train_loss: f64,
    /// Share of the questions of each split that are answered right; `test_matched`: of those that
    /// the triples speak of.
    pub exact_match: Metrics,
    /// Questions of each split.
    pub questions: BTreeMap<String, usize>,
}
