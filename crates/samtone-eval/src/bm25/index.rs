//! What an index holds.

use super::postings::Postings;
use super::store::Store;
use super::terms::Terms;

/// What is kept of documents.
#[derive(Debug)]
pub(super) struct Index {
    /// How many terms each document has.
    pub(super) lengths: Store<u32>,
    pub(super) terms: Terms,
    pub(super) postings: Postings,
}
