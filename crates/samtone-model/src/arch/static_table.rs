//! A static table: a text's embedding is the mean of its tokens' rows, and nothing is computed but
//! that (sentence-transformers' `StaticEmbedding`, model2vec).

pub(crate) mod config;
pub(crate) mod files;

use burn::module::{Module, Param};
use burn::tensor::backend::Backend;
use burn::tensor::{Tensor, TensorData};

use self::config::StaticConfig;
use crate::blocks::ops::embed;
use crate::error::ModelError;
use crate::parameter::{Builder, Init};
use crate::part::Part;

/// A row for each token.
#[derive(Module, Debug)]
pub struct StaticEmbedder<B: Backend> {
    words: Param<Tensor<B, 2>>,
}

impl<B: Backend> StaticEmbedder<B> {
    pub(crate) fn new(
        builder: &mut Builder<'_, B>,
        config: &StaticConfig,
    ) -> Result<Self, ModelError> {
        builder.part(Part::Embedder);
        let shape = [config.vocab_size, config.hidden];
        // As PyTorch draws an `EmbeddingBag`.
        Ok(Self { words: builder.tensor("embedding.weight", shape, Init::Normal(1.0))? })
    }

    /// The table.
    pub(crate) fn words(&self) -> Tensor<B, 2> {
        self.words.val()
    }

    /// The rows of ids, `[ids, hidden]`; zeros for the id behind the last, which stands for no token.
    pub(crate) fn forward(&self, mut ids: Vec<usize>) -> Tensor<B, 2> {
        let words = self.words.val();
        let nothing = words.dims()[0];
        let kept: Vec<f32> = ids.iter().map(|&id| f32::from(u8::from(id != nothing))).collect();
        if !kept.contains(&0.0) {
            return embed([words], [ids]);
        }
        for id in &mut ids {
            *id %= nothing;
        }
        let kept = TensorData::new(kept, [ids.len(), 1]);
        let kept = Tensor::from_data(kept, (&words.device(), words.dtype()));
        embed([words], [ids]) * kept
    }
}
