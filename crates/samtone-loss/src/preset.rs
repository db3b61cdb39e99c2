//! The named losses of the literature, each a list of groups.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{Anchor, Candidates, GroupConfig, Margin, Temperature};

/// A loss of the literature, by name.
///
/// Written over x(a,b) = s(a,b)/τ for row i; every sum skips what the false-negative rule hides.
/// `h_i` are a row's own hard negatives, `h` those of the whole batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Preset {
    /// `-x(q_i,d_i) + ln[ Σ_j e^x(q_i,d_j) + Σ e^x(q_i,h) ]`: `InfoNCE`, query to document.
    ///
    /// The baseline of every dual encoder (Karpukhin et al. 2020, arXiv:2004.04906).
    InBatch,
    /// The mean of [`InBatch`](Self::InBatch) and its mirror from document to query.
    ///
    /// CLIP's loss (Radford et al. 2021, arXiv:2103.00020); hard negatives on the query side only.
    InBatchBoth,
    /// [`InBatch`](Self::InBatch) with `Σ_(j≠i) e^x(q_i,q_j)` in the denominator.
    ///
    /// `SamToNe`, query side (Moiseev et al. 2023, arXiv:2306.02516).
    SamtoneQuery,
    /// The mirror: `-x(q_i,d_i) + ln[ Σ_j e^x(q_j,d_i) + Σ_(j≠i) e^x(d_i,d_j) ]`.
    SamtoneDocument,
    /// The mean of the two `SamToNe` sides: NT-Xent over the 2N embeddings of the batch.
    #[default]
    Samtone,
    /// `(1-α)·` [`InBatch`](Self::InBatch) `+ α·(-x(q_i,d_i) + ln[ e^x(q_i,d_i) + Σ_(j≠i) e^x(d_i,d_j) ])`.
    ///
    /// PAIR (Ren et al. 2021, Findings of ACL), α = 0.1; its second stage is α = 0.
    /// The passage-centric term leaves the in-batch negatives out, where `SamToNe` keeps them.
    Pair,
    /// [`SamtoneQuery`](Self::SamtoneQuery), but a query sees its own hard negatives alone.
    ///
    /// Gecko, equation 3 (Lee et al. 2024, arXiv:2403.20327).
    Gecko,
    /// `-x(q_i,d_i) + ln[ e^x(q_i,d_i) + Σ` over q-d, q-q, d-q, d-d and hard negatives `]`.
    ///
    /// GTE (Li et al. 2023, arXiv:2308.03281), with the positive counted twice as its public
    /// implementations do, so the loss is at least ln 2; τ = 0.01 and no false-negative rule.
    Gte,
    /// Own hard negatives, q-d, q-q and d-d, hidden where they outscore the positive by 0.1.
    ///
    /// Qwen3-Embedding (Zhang et al. 2025, arXiv:2506.05176).
    Qwen3,
    /// [`InBatch`](Self::InBatch) without a false-negative rule: the default of
    /// sentence-transformers' `MultipleNegativesRankingLoss` (scale 20).
    St,
    /// The sum of both directions at τ = 0.01: `t5x_retrieval`'s default (scale 100).
    T5x,
}

impl Preset {
    /// Every preset, in the order of the documentation.
    pub const ALL: [Self; 11] = [
        Self::InBatch,
        Self::InBatchBoth,
        Self::SamtoneQuery,
        Self::SamtoneDocument,
        Self::Samtone,
        Self::Pair,
        Self::Gecko,
        Self::Gte,
        Self::Qwen3,
        Self::St,
        Self::T5x,
    ];

    /// The name in configurations.
    pub fn name(self) -> &'static str {
        match self {
            Self::InBatch => "in-batch",
            Self::InBatchBoth => "in-batch-both",
            Self::SamtoneQuery => "samtone-query",
            Self::SamtoneDocument => "samtone-document",
            Self::Samtone => "samtone",
            Self::Pair => "pair",
            Self::Gecko => "gecko",
            Self::Gte => "gte",
            Self::Qwen3 => "qwen3",
            Self::St => "st",
            Self::T5x => "t5x",
        }
    }

    /// The groups in full: what `[[loss.group]]` tables would say.
    ///
    /// `alpha` is the share of the passage-centric term of [`Preset::Pair`]; others ignore it.
    pub fn groups(self, alpha: f64) -> Vec<GroupConfig> {
        use Candidates::{Cross, Hard, HardOwn, Opposite, OppositePositives, OppositeSame, Same};
        let query = |weight, candidates: &[Candidates]| group(Anchor::Query, weight, candidates);
        let document = |weight, candidates: &[_]| group(Anchor::Document, weight, candidates);
        match self {
            Self::InBatch | Self::St => vec![query(1.0, &[Cross, Hard])],
            Self::InBatchBoth => vec![query(0.5, &[Cross, Hard]), document(0.5, &[Cross])],
            Self::SamtoneQuery => vec![query(1.0, &[Cross, Same, Hard])],
            Self::SamtoneDocument => vec![document(1.0, &[Cross, Same])],
            Self::Samtone => {
                vec![query(0.5, &[Cross, Same, Hard]), document(0.5, &[Cross, Same])]
            }
            Self::Pair => {
                let mut groups = vec![query(1.0 - alpha, &[Cross, Hard]), document(alpha, &[Same])];
                groups.retain(|group| group.weight > 0.0);
                groups
            }
            Self::Gecko => vec![query(1.0, &[Cross, Same, HardOwn])],
            Self::Gte => {
                let mut group = query(1.0, &[Cross, Same, Hard, Opposite, OppositeSame]);
                group.positive_twice = true;
                vec![group]
            }
            Self::Qwen3 => vec![query(1.0, &[Cross, Same, OppositePositives, HardOwn])],
            Self::T5x => vec![query(1.0, &[Cross, Hard]), document(1.0, &[Cross])],
        }
    }

    /// The temperature where none is given.
    pub fn temperature(self) -> Temperature {
        let value = match self {
            Self::Gte | Self::T5x => 0.01,
            _ => 0.05,
        };
        Temperature::new(value).expect("a positive constant")
    }

    /// Whether false negatives are hidden by id where nothing else is said.
    pub(crate) fn hides_ids(self) -> bool {
        !matches!(self, Self::Gte | Self::St | Self::T5x)
    }

    /// The margin rule where nothing else is said.
    pub(crate) fn margin(self) -> Option<Margin> {
        (self == Self::Qwen3).then_some(Margin { absolute: 0.1, relative: 0.0 })
    }
}

fn group(anchor: Anchor, weight: f64, candidates: &[Candidates]) -> GroupConfig {
    GroupConfig { anchor, weight, candidates: candidates.to_vec(), positive_twice: false }
}

impl fmt::Display for Preset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
