//! Files and text to batches: formats, tokenizers, samplers, the embedded corpus.

pub mod batch;
pub mod random;

pub use batch::TokenBatch;
