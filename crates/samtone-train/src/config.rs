//! What decides a run's result, as the user writes it: TOML, every key with a default, unknown keys
//! refused.
//!
//! [`Configuration::load`] reads a file and applies changes of single keys on top.

pub(crate) mod ablate;
pub(crate) mod data;
pub(crate) mod experiment;
pub mod rules;
pub(crate) mod settings;
mod unreadable;
pub(crate) mod written;

pub use self::ablate::{AblateConfig, LossVariant, SecondStageConfig};
pub(crate) use self::data::is_pairs_file;
pub use self::data::set_name;
pub use self::data::{DataConfig, EMBEDDED, TrainingData, TrainingSet};
pub use self::experiment::{
    Chunk, EvalConfig, ExperimentConfig, ModelConfig, Recompute, Sampler, TrainConfig, Warmup,
};
pub(crate) use self::experiment::{LR_FROM_MODEL, LR_FROM_RANDOM, LR_OF_ADAPTERS};
pub use self::settings::Configuration;
pub use self::written::{Override, Written};
