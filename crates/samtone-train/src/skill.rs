//! SKILL (Moiseev et al. 2022, arXiv:2205.08184): a T5 learns the triples of a knowledge graph, and
//! is then asked what it knows.
//!
//! [`infuse()`] trains on triples with one entity masked, mixed with text; [`qa()`] fine-tunes on
//! questions and answers without any document, and judges by exact match.

mod config;
mod fit;
mod infuse;
mod judge;
mod qa;
mod summary;

pub use config::{
    CorpusConfig, DecodingConfig, FineTuning, InfuseConfig, LearningConfig, QaConfig,
    QuestionConfig, Start,
};
pub use infuse::{QUICK_START, infuse};
pub use judge::Prediction;
pub use qa::qa;
pub use summary::{InfuseSummary, QaResult, QaSummary};
