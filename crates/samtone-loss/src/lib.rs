//! Contrastive losses for dual encoders: `SamToNe` and its family, streaming and exact.
//!
//! A batch has queries q_i, their documents d_i and, perhaps, hard negatives h_ik.
//! With x(a,b) = s(a,b)/τ, s the cosine (or the dot product) and τ the temperature, a loss is a
//! list of groups g, each with a weight, an anchor side and the candidates that stand in its
//! denominator beside the own positive:
//!
//! ```text
//! L = Σ_g w_g · mean_i( -x(q_i,d_i) + ln Z_g[i] )
//! Z_g[i] = e^x(q_i,d_i) + Σ over the group's candidates of m·e^x
//! ```
//!
//! m is 0 for a candidate that is taken to be relevant after all ([`FalseNegatives`]), 1 otherwise;
//! it carries no gradient and never hides the own positive.
//!
//! | preset | groups | τ | hidden | paper |
//! |---|---|---|---|---|
//! | [`in-batch`](Preset::InBatch) | query: cross, hard | 0.05 | ids | arXiv:2004.04906 |
//! | [`in-batch-both`](Preset::InBatchBoth) | ½ query: cross, hard; ½ document: cross | 0.05 | ids | arXiv:2103.00020 |
//! | [`samtone-query`](Preset::SamtoneQuery) | query: cross, same, hard | 0.05 | ids | arXiv:2306.02516 |
//! | [`samtone-document`](Preset::SamtoneDocument) | document: cross, same | 0.05 | ids | arXiv:2306.02516 |
//! | [`samtone`](Preset::Samtone), the default | ½ query: cross, same, hard; ½ document: cross, same | 0.05 | ids | arXiv:2306.02516 |
//! | [`pair`](Preset::Pair) | 1-α query: cross, hard; α document: same | 0.05 | ids | Ren et al. 2021 |
//! | [`gecko`](Preset::Gecko) | query: cross, same, hard-own | 0.05 | ids | arXiv:2403.20327 |
//! | [`gte`](Preset::Gte) | query: cross, same, hard, opposite, opposite-same; positive twice | 0.01 | none | arXiv:2308.03281 |
//! | [`qwen3`](Preset::Qwen3) | query: cross, same, opposite-positives, hard-own | 0.05 | ids, margin 0.1 | arXiv:2506.05176 |
//! | [`st`](Preset::St) | query: cross, hard | 0.05 | none | sentence-transformers |
//! | [`t5x`](Preset::T5x) | query: cross, hard; document: cross | 0.01 | none | `t5x_retrieval` |
//!
//! [`Candidates`] says what each block holds. How the presets relate:
//! `samtone-query` is `in-batch` with the same tower added, `gecko` is that with own hard negatives
//! alone, `qwen3` adds the documents' tower to `gecko`, `gte` adds the opposite direction as well;
//! `samtone` is NT-Xent over the 2N embeddings of a batch; `st` is `in-batch` without a rule for
//! false negatives, and `t5x` the sum of which `in-batch-both` is the mean.
//!
//! # Three ways to compute it
//!
//! - [`Loss::value_and_gradients`] walks tiles of the score matrices and returns the loss with
//!   closed-form gradients. No autodiff, memory linear in the batch: made for gradient caching.
//! - [`Loss::forward`] attaches those gradients to the graph of an autodiff backend.
//! - [`Loss::definition`] is the equation in plain tensor operations, with the whole score matrix:
//!   the reference that the other two are tested against.
//!
//! On the Flex backend f32 batches run in a fused kernel on all cores. Every other backend and type
//! walks tiles in tensor operations; on CUDA and WGPU what is done to a tile of f32 scores beside
//! the products runs in kernels of this crate.
//!
//! # Examples
//!
//! ```
//! use burn::backend::Flex;
//! use burn::tensor::Tensor;
//! use samtone_loss::{Batch, LossConfig, Preset, Relations};
//!
//! let device = Default::default();
//! let queries = Tensor::<Flex, 2>::from_data([[1.0, 0.2], [0.3, 1.0], [0.9, 0.3]], &device);
//! let documents = Tensor::from_data([[1.0, 0.1], [0.1, 1.0], [1.0, 0.2]], &device);
//!
//! // Rows 0 and 2 ask the same question: neither is a negative of the other.
//! let relations = Relations { query_ids: Some(vec![7, 8, 7]), ..Relations::default() };
//! let batch = Batch::new(queries, documents).with_relations(relations);
//!
//! let loss = LossConfig::preset(Preset::SamtoneQuery).resolve()?;
//! let result = loss.value_and_gradients(&batch, loss.temperature())?;
//! assert!(result.loss < 0.01);
//! # Ok::<(), samtone_loss::LossError>(())
//! ```
//!
//! # Features
//!
//! Tensors are Burn's, of one version: `burn = { version = "=0.21.0", features = ["autodiff", "flex"] }`.
//!
//! - `flex` (default): the fused CPU kernel for the Flex backend.
//! - `wgpu`, `cuda`: the kernels for tiles of scores on these runtimes, with and without burn-fusion.
//!
//! # What is left out
//!
//! The crate knows neither texts nor models. Regularisers on embeddings, distillation and
//! Matryoshka weighting sit outside: they add to the loss or call it on slices.

mod autodiff;
mod batch;
mod candidates;
mod config;
mod definition;
mod embeddings;
mod error;
mod false_negatives;
mod group;
mod hardness;
mod hidden;
mod kernel;
mod loss;
mod plan;
mod preset;
mod reading;
mod rows;
mod short;
mod similarity;
mod streaming;
mod temperature;
mod tile;

pub use batch::{Batch, Relations};
pub use candidates::{Anchor, Candidates};
pub use config::{Combine, HardNegatives, LossConfig};
pub use definition::Definition;
pub use embeddings::{Embeddings, Input};
pub use error::LossError;
pub use false_negatives::{FalseNegatives, Margin};
pub use group::{Group, GroupConfig};
pub use hardness::{Hardness, HardnessOn};
pub use kernel::has_kernels;
pub use loss::{Loss, LossGradients};
pub use preset::Preset;
pub use similarity::Similarity;
pub use temperature::{MaxScale, Temperature, TemperatureConfig};
