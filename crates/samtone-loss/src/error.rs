//! What can go wrong between a loss configuration and its gradients.

use crate::candidates::Candidates;
use crate::embeddings::Input;
use crate::hardness::HardnessOn;

/// Why a loss was refused or could not be computed.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum LossError {
    /// A temperature that is zero, negative, infinite or not a number.
    #[error("temperature must be positive and finite, got {got}")]
    Temperature {
        /// The value given.
        got: f64,
    },
    /// A learnable temperature's bound is not a positive finite number.
    #[error("max_scale must be positive and finite, got {got}")]
    MaxScale {
        /// The value given.
        got: f64,
    },
    /// A learnable temperature starts below its own clamp.
    #[error("temperature starts at {init}, below the smallest allowed 1/max_scale = {smallest}")]
    InitBelowClamp {
        /// Where the temperature starts.
        init: f64,
        /// The smallest temperature `max_scale` allows.
        smallest: f64,
    },
    /// `max_scale` beside a temperature that is not learned.
    #[error("max_scale bounds a learned temperature, but learn is false")]
    MaxScaleWithoutLearn,
    /// A name that no loss has.
    #[error("unknown loss `{got}`; known are {}", known.join(", "))]
    UnknownPreset {
        /// The name.
        got: String,
        /// Those that a loss has.
        known: &'static [&'static str],
    },
    /// A loss of another library that no preset is the same as.
    #[error("no preset is the same as `{got}`: {nearest}")]
    ForeignPreset {
        /// What it is called there.
        got: String,
        /// What comes nearest, in words.
        nearest: &'static str,
    },
    /// Both `preset` and `group` say which groups the loss has.
    #[error("preset `{preset}` and [[group]] tables both define the groups")]
    PresetAndGroups {
        /// The preset named.
        preset: &'static str,
    },
    /// A key that adjusts a preset stands beside explicit groups.
    #[error("`{key}` adjusts a preset, but the groups are given in full")]
    KeyWithGroups {
        /// The key that has nothing to adjust.
        key: &'static str,
    },
    /// `alpha` beside a preset that has none.
    #[error("`alpha` belongs to the preset `pair`, not to `{preset}`")]
    AlphaWithoutPair {
        /// The preset in force.
        preset: &'static str,
    },
    /// `alpha` is not a share.
    #[error("alpha must lie in [0, 1], got {got}")]
    Alpha {
        /// The value given.
        got: f64,
    },
    /// `combine` beside a preset with one direction.
    #[error("`combine` joins two directions, but `{preset}` {reason}")]
    Combine {
        /// The preset in force.
        preset: &'static str,
        /// Why there is nothing to combine.
        reason: &'static str,
    },
    /// `hard_negatives` beside a preset that never looks at hard negatives.
    #[error("`hard_negatives` has no effect: `{preset}` has no hard negatives")]
    NoHardNegatives {
        /// The preset in force.
        preset: &'static str,
    },
    /// The list of groups is empty.
    #[error("the loss has no group")]
    NoGroups,
    /// A group without a candidate: its loss would be zero for every input.
    #[error("group {group} has no candidates, so its loss is zero whatever the embeddings")]
    NoCandidates {
        /// Position of the group, from 0.
        group: usize,
    },
    /// The same candidates appear twice in one group.
    #[error("group {group} lists `{candidates}` twice")]
    CandidatesTwice {
        /// Position of the group, from 0.
        group: usize,
        /// The candidates listed again.
        candidates: Candidates,
    },
    /// Candidates that do not exist for this anchor.
    #[error(
        "group {group}: `{candidates}` needs hard negatives among the queries, but they are documents"
    )]
    CandidatesOfAnchor {
        /// Position of the group, from 0.
        group: usize,
        /// The impossible candidates.
        candidates: Candidates,
    },
    /// A group weight that is not positive and finite.
    #[error("group {group} has weight {got}, expected a positive finite number")]
    GroupWeight {
        /// Position of the group, from 0.
        group: usize,
        /// The value given.
        got: f64,
    },
    /// A hardness strength that is not positive and finite.
    #[error("hardness strength must be positive and finite, got {got}")]
    HardnessStrength {
        /// The value given.
        got: f64,
    },
    /// Hardness that no group's candidates can feel.
    #[error("hardness on `{on}` has no effect: no group has such candidates")]
    HardnessWithoutCandidates {
        /// What the hardness was put on.
        on: HardnessOn,
    },
    /// A false-negative margin that is not finite.
    #[error("the {part} margin must be finite, got {got}")]
    Margin {
        /// `absolute` or `relative`.
        part: &'static str,
        /// The value given.
        got: f64,
    },
    /// The memory for score tiles is zero.
    #[error("score_memory_mib must be at least 1")]
    NoScoreMemory,
    /// A batch without a pair, or embeddings without a dimension.
    #[error("the batch is empty: {rows} pairs of {dim} dimensions")]
    EmptyBatch {
        /// Pairs in the batch.
        rows: usize,
        /// Dimensions of an embedding.
        dim: usize,
    },
    /// A list beside the embeddings has the wrong length.
    #[error("{what} has {got} entries, expected {expected}")]
    Length {
        /// The list.
        what: &'static str,
        /// Entries the embeddings ask for.
        expected: usize,
        /// Entries given.
        got: usize,
    },
    /// A known pair points outside the batch.
    #[error("known pair {index} names row {row}, but the batch has {rows} rows")]
    KnownRow {
        /// Position in the list of known pairs, from 0.
        index: usize,
        /// The row named.
        row: usize,
        /// Rows of the batch.
        rows: usize,
    },
    /// A row weight that is negative, infinite or not a number.
    #[error("row {row} has weight {got}, expected a finite number of at least 0")]
    RowWeight {
        /// The row, from 0.
        row: usize,
        /// The value given.
        got: f64,
    },
    /// All row weights are zero.
    #[error("the row weights sum to zero")]
    NoRowWeight,
    /// An embedding holds an infinite or undefined number.
    #[error("{what} row {row} is not finite")]
    NonFinite {
        /// The input that holds it.
        what: Input,
        /// The row of the batch, from 0.
        row: usize,
    },
    /// Finite embeddings, but the loss of a row overflows its number type.
    #[error("the loss of row {row} is not finite although its embeddings are")]
    Overflow {
        /// The row of the batch, from 0.
        row: usize,
    },
}

impl LossError {
    /// What to try next, where that is not plain from the message.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Temperature { .. } => "0.05 is the usual start; a scale of 20 is 1/20 = 0.05",
            Self::InitBelowClamp { .. } => "raise init, or raise max_scale",
            Self::MaxScaleWithoutLearn => "set learn = true, or drop max_scale",
            Self::PresetAndGroups { .. } => "keep one of the two",
            Self::KeyWithGroups { .. } => {
                "write it into the groups, or name a preset instead of groups"
            }
            Self::Combine { .. } => "drop the key, or choose a preset with both directions",
            Self::HardnessWithoutCandidates { .. } => {
                "hardness acts on `cross` and hard candidates; add them or drop hardness"
            }
            Self::CandidatesOfAnchor { .. } => "use `opposite-positives` for a document anchor",
            Self::NonFinite { .. } => {
                "look one step back: a learning rate too high, or half precision that overflowed"
            }
            Self::Overflow { .. } => {
                "unnormalised embeddings with `similarity = \"dot\"` need a larger temperature"
            }
            _ => return None,
        };
        Some(hint.to_owned())
    }
}
