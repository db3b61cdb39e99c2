//! What an anchor is compared with.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The side whose rows a group's softmax runs over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Anchor {
    /// Row i is the query q_i.
    Query,
    /// Row i is the document d_i.
    Document,
}

/// A block of candidates in a group's denominator, named from an anchor on the query side.
///
/// For a document anchor exchange q and d; hard negatives stay documents.
/// The own positive is no candidate: it is in every denominator anyway, once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Candidates {
    /// q_i with d_j, j ≠ i: the in-batch negatives.
    Cross,
    /// q_i with q_j, j ≠ i: the same-tower negatives.
    Same,
    /// q_i with its own hard negatives h_ik.
    HardOwn,
    /// q_i with the hard negatives h_jk of other rows.
    HardOthers,
    /// `hard-own` and `hard-others`.
    Hard,
    /// d_i with q_j, j ≠ i: the other direction, in the same denominator.
    Opposite,
    /// d_i with d_j, j ≠ i.
    OppositePositives,
    /// d_i with the hard negatives h_jk of other rows (query anchors only).
    OppositeHard,
    /// `opposite-positives` and, for a query anchor, `opposite-hard`.
    OppositeSame,
}

impl fmt::Display for Candidates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cross => "cross",
            Self::Same => "same",
            Self::HardOwn => "hard-own",
            Self::HardOthers => "hard-others",
            Self::Hard => "hard",
            Self::Opposite => "opposite",
            Self::OppositePositives => "opposite-positives",
            Self::OppositeHard => "opposite-hard",
            Self::OppositeSame => "opposite-same",
        })
    }
}
