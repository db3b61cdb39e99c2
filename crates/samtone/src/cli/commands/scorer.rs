//! What scores pairs of a query and a document: a cross-encoder, or a retriever by its similarity.

use std::collections::HashMap;
use std::path::Path;

use anyhow::Context;
use burn::tensor::backend::Backend;
use samtone_model::{CrossEncoder, ModelError, Retriever, Side};
use samtone_train::run::similarity_of;

use super::reading::{BATCH_SIZE, model_folder};

/// A model that scores pairs of texts.
pub(super) enum Scorer<B: Backend> {
    /// Reads both texts at once.
    CrossEncoder(Box<CrossEncoder<B>>),
    /// Compares their embeddings, as its folder says.
    Retriever(Box<Retriever<B>>),
}

impl<B: Backend> Scorer<B> {
    /// Opens the model folder at `path`, or in the run folder there, as what it holds.
    pub(super) fn open(path: &Path, device: &B::Device) -> anyhow::Result<Self> {
        let open = || {
            let folder = model_folder(path)?;
            Ok::<_, ModelError>(if CrossEncoder::<B>::is_at(&folder)? {
                Self::CrossEncoder(Box::new(CrossEncoder::open(&folder, device)?))
            } else {
                Self::Retriever(Box::new(Retriever::open(&folder, device)?))
            })
        };
        open().with_context(|| format!("cannot score with `{}`", path.display()))
    }

    /// Scores pairs of a query and a document, in their order.
    pub(super) fn score(&self, pairs: &[(&str, &str)]) -> Result<Vec<f32>, ModelError> {
        let retriever = match self {
            Self::CrossEncoder(model) => {
                return model.score(pairs, BATCH_SIZE * model.max_tokens());
            }
            Self::Retriever(retriever) => retriever,
        };
        let (similarity, dim) = (similarity_of(retriever), retriever.dim());
        let queries = embed(retriever, Side::Query, pairs.iter().map(|pair| pair.0))?;
        let documents = embed(retriever, Side::Document, pairs.iter().map(|pair| pair.1))?;
        let rows = queries.chunks_exact(dim).zip(documents.chunks_exact(dim));
        Ok(rows.map(|(query, document)| similarity.score(query, document)).collect())
    }
}

/// Embeds texts in their order, each of them once.
fn embed<'a, B: Backend>(
    retriever: &Retriever<B>,
    side: Side,
    texts: impl Iterator<Item = &'a str>,
) -> Result<Vec<f32>, ModelError> {
    let mut places = HashMap::new();
    let mut unlike = Vec::new();
    let place = |text| {
        *places.entry(text).or_insert_with(|| {
            unlike.push(text);
            unlike.len() - 1
        })
    };
    let rows: Vec<usize> = texts.map(place).collect();
    let tokens = retriever.tokenize(side, &unlike)?;
    let batch_tokens = BATCH_SIZE * retriever.max_tokens(side);
    let (embedded, dim) = (retriever.encode_tokens(side, &tokens, batch_tokens), retriever.dim());
    Ok(rows.into_iter().flat_map(|row| &embedded[row * dim..][..dim]).copied().collect())
}
