//! The training engine: contrastive training of dual encoders with gradient caching, schedules,
//! checkpoints and guards.
//!
//! [`run()`] does a whole experiment from an [`ExperimentConfig`]; [`engine::Engine`] is one step of it
//! for those with a loop of their own. [`mine`] finds hard negatives. Nothing here names a backend.

pub mod ablation;
pub mod adafactor;
mod batches;
mod card;
pub mod checkpoint;
pub mod config;
mod distillation;
pub mod engine;
mod environment;
mod error;
mod first_step;
mod fit;
pub mod gradients;
mod identity;
mod judge;
pub mod mine;
pub mod nodes;
pub mod objective;
mod optimizer;
pub mod plan;
mod prepare;
mod record;
mod run;
mod run_folder;
pub mod schedule;
mod search_split;
mod session;
mod settings;
pub mod shards;
mod similarity;
pub mod skill;
mod summary;
mod temperature;
mod training;

pub use config::ExperimentConfig;
pub use environment::{Environment, peak_rss_bytes};
pub use error::TrainError;
pub use first_step::{FirstStep, first_step};
pub use identity::Identity;
pub use optimizer::{DualEncoderOptimizer, ModelOptimizer, Update};
pub use record::{Event, StepRecord};
pub use run::{Outcome, QUICK_START, RunOptions, evaluation_path, run};
pub use run_folder::{check_folder, is_begun};
pub use search_split::{Embedded, JudgedSplit, Observe, similarity_of};
pub use settings::Configuration;
pub use summary::{Baseline, Best, Metrics, Summary};
pub use temperature::TemperatureState;
