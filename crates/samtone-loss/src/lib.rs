//! Contrastive losses for dual encoders: SamToNe and its family, streaming and exact.

mod batch;
mod config;
mod definition;
mod error;
mod false_negatives;
mod group;
mod hidden;
mod kernel;
mod loss;
mod plan;
mod preset;
mod rows;
mod streaming;
mod temperature;

pub use batch::{Batch, Relations};
pub use config::{Combine, HardNegatives, Hardness, HardnessOn, LossConfig, Similarity};
pub use definition::Definition;
pub use error::{Input, LossError};
pub use false_negatives::{FalseNegatives, Margin};
pub use group::{Anchor, Candidates, Group, GroupConfig};
pub use loss::{Loss, LossGradients};
pub use preset::Preset;
pub use temperature::{MaxScale, Temperature, TemperatureConfig};
