//! The two sides of a dual encoder.

use serde::{Deserialize, Serialize};

/// A side of the dual encoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    /// What is asked.
    Query,
    /// What is found.
    Document,
}

impl Side {
    /// Both sides.
    pub const ALL: [Self; 2] = [Self::Query, Self::Document];

    /// The side's name, in lower case.
    pub fn name(self) -> &'static str {
        match self {
            Self::Query => "query",
            Self::Document => "document",
        }
    }
}

/// The part of `side`: the only one, or its own; none if there is none.
pub(crate) fn own<T>(parts: &[T], side: Side) -> Option<&T> {
    match (parts, side) {
        ([_, document], Side::Document) => Some(document),
        _ => parts.first(),
    }
}
