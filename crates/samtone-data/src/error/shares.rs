//! What can be wrong with the shares of a split.

use thiserror::Error;

/// Why a split cannot be parted as it is asked for.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum ShareFault {
    /// A new split that is there already.
    #[error("there is a split `{name}` already")]
    Exists {
        /// Its name.
        name: String,
    },
    /// Two shares of one name.
    #[error("the new split `{name}` is asked for twice")]
    Twice {
        /// The name.
        name: String,
    },
    /// A share of less than half a query.
    #[error("{share} of {queries} queries is none")]
    Nothing {
        /// The share.
        share: String,
        /// The queries of the split.
        queries: usize,
    },
    /// Shares that leave nothing.
    #[error("{asked} queries are asked for, of {queries}, and nothing would be left")]
    All {
        /// The queries that the shares ask for.
        asked: usize,
        /// The queries of the split.
        queries: usize,
    },
    /// Queries that belong together in groups too large to give.
    #[error(
        "cannot take {asked} of {queries} queries: {largest} of them belong together, most by \
         document `{document}`, which is relevant to {joined}"
    )]
    Joined {
        /// The queries that the shares ask for.
        asked: usize,
        /// The queries of the split.
        queries: usize,
        /// The queries of the largest component.
        largest: usize,
        /// The document that joins the most of them.
        document: String,
        /// How many it joins.
        joined: usize,
    },
}

impl ShareFault {
    /// What the reader may do about it.
    pub(crate) fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Exists { .. } => "name the new split otherwise".to_owned(),
            Self::Twice { .. } => return None,
            Self::Nothing { .. } => "ask for a number of queries, at least 1".to_owned(),
            Self::All { .. } => "ask for less".to_owned(),
            Self::Joined { .. } => "queries with a relevant document or a text in common stay in \
                                    one split; ask for other shares, or leave out the judgments of \
                                    that document"
                .to_owned(),
        })
    }
}
