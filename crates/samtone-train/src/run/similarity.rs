//! How embeddings are compared, in the words of each crate: none of them knows another.

use samtone_loss as loss;
use samtone_model as model;

/// What the loss calls it.
pub(crate) fn of_loss(similarity: model::Similarity) -> loss::Similarity {
    match similarity {
        model::Similarity::Cosine => loss::Similarity::Cosine,
        model::Similarity::Dot => loss::Similarity::Dot,
    }
}

/// What a model folder calls it.
pub(crate) fn of_model(similarity: loss::Similarity) -> model::Similarity {
    match similarity {
        loss::Similarity::Cosine => model::Similarity::Cosine,
        loss::Similarity::Dot => model::Similarity::Dot,
    }
}
