//! Training examples: a query with its positives and negatives, as foreign files hold them.

use super::passage::Passage;
use crate::error::Fault;

/// A query with its positives and negatives.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Example<'a> {
    /// The query; its title is empty.
    pub query: Passage<'a>,
    /// The documents relevant to it, at least one.
    pub positives: Vec<Passage<'a>>,
    /// Documents not relevant to it.
    pub negatives: Vec<Passage<'a>>,
}

impl Example<'_> {
    /// Checks what every format demands: no empty text, and a positive.
    ///
    /// # Errors
    /// The first [`Fault`].
    pub fn check(&self) -> Result<(), Fault> {
        let is_empty = |passage: &Passage<'_>| {
            passage.text.trim().is_empty() && passage.title.trim().is_empty()
        };
        if is_empty(&self.query) {
            return Err(Fault::EmptyField { field: "query" });
        }
        if self.positives.is_empty() {
            let query = match self.query.id() {
                Some(id) => id.to_owned(),
                None => self.query.text.chars().take(40).collect(),
            };
            return Err(Fault::NoPositive { query });
        }
        if self.positives.iter().any(is_empty) {
            return Err(Fault::EmptyField { field: "positive" });
        }
        if self.negatives.iter().any(is_empty) {
            return Err(Fault::EmptyField { field: "negative" });
        }
        Ok(())
    }
}
