//! What the tests of a step's gradients share.

use samtone_loss::Relations;
use samtone_testing::model::rows;
use samtone_train::step::StepRows;

/// Sums of a few thousand terms in f64, in other orders.
pub(crate) const TOLERANCE: f64 = 1e-9;

pub(crate) fn batch(relations: Relations) -> StepRows {
    let [queries, documents, hard_negatives] = rows();
    StepRows { queries, documents, hard_negatives, relations, teacher: Vec::new() }
}
