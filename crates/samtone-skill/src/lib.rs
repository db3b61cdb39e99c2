//! SKILL (Moiseev et al. 2022, arXiv:2205.08184): a T5 learns the triples of a knowledge graph, and
//! is then asked what it knows.
//!
//! [`infuse()`] trains on triples with one entity masked, mixed with text; [`qa()`] fine-tunes on
//! questions and answers without any document, and judges by exact match. Both are whole runs of
//! `samtone-train`'s loop. [`Mixture`] gives the n-th example of a mix of corpora as a pure function
//! of its number; [`Records`] keeps nothing of a file but where its records lie.
//!
//! An infused model's folder is one that `T5ForConditionalGeneration` opens, and both towers of a
//! retriever can start from its encoder.
//!
//! # Features
//!
//! Tensors are Burn's, of one version: `burn = { version = "=0.21.0", features = ["autodiff", "flex"] }`.
//!
//! - `flex` (default): the fused CPU operations of `samtone-train` and what is below it.

mod config;
mod corpus;
mod fit;
mod infuse;
mod judge;
mod qa;
mod records;
mod summary;

pub use config::{
    CorpusConfig, DecodingConfig, FineTuning, InfuseConfig, LearningConfig, QaConfig,
    QuestionConfig, Start,
};
pub use corpus::{
    ExampleSource, MaskForm, Mentions, Mixture, Sentence, TokenPair, closed_part, corrupt_spans,
    matched, read_questions,
};
pub use infuse::{QUICK_START, infuse};
pub use judge::Prediction;
pub use qa::qa;
pub use records::{Parse, Records};
pub use summary::{InfuseSummary, QaResult, QaSummary};
