//! Extra weight on close negatives.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::candidates::{Anchor, Candidates};

/// Extra weight on close negatives: adds `strength·s`, without gradient, to their logits.
///
/// It acts on an anchor's candidates of the other tower (`cross` and a query's hard negatives),
/// never on same-tower or opposite blocks, and is not divided by τ.
/// Source: Lan et al. 2025, arXiv:2503.04812, equation 5 (strength 9); `EmbeddingGemma` uses 5.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hardness {
    /// The candidates it acts on.
    pub on: HardnessOn,
    /// The factor on the raw similarity.
    pub strength: f64,
}

/// The candidates that hardness acts on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HardnessOn {
    /// Those of other rows: their positives and their hard negatives.
    InBatch,
    /// The anchor row's own hard negatives.
    Hard,
    /// Both.
    All,
}

impl fmt::Display for HardnessOn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::InBatch => "in-batch",
            Self::Hard => "hard",
            Self::All => "all",
        })
    }
}

impl Hardness {
    /// Whether it acts on candidates of a group with this anchor.
    pub(crate) fn acts_on(&self, anchor: Anchor, candidates: Candidates) -> bool {
        let query = anchor == Anchor::Query;
        match candidates {
            Candidates::Cross => self.on != HardnessOn::Hard,
            Candidates::HardOthers => query && self.on != HardnessOn::Hard,
            Candidates::HardOwn => query && self.on != HardnessOn::InBatch,
            _ => false,
        }
    }
}
