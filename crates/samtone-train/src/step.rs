//! One step of a training: a batch's gradients, and what they do to a model.
//!
//! [`Engine`] turns token rows into gradients of an [`Objective`] in bounded memory,
//! [`ModelOptimizer`] turns gradients into the next model. Both serve a loop of one's own; nothing
//! here reads a configuration file.

pub(crate) mod adafactor;
pub(crate) mod adamw;
pub(crate) mod distillation;
pub(crate) mod engine;
pub mod gradients;
pub(crate) mod objective;
pub(crate) mod optimizer;
pub(crate) mod schedule;
pub(crate) mod temperature;
mod terms;

pub use self::adafactor::Adafactor;
pub use self::adamw::AdamW;
pub use self::distillation::{DistillationConfig, DistillationLoss};
pub use self::engine::{BatchGradients, Engine, GradientsError, StepRows};
pub use self::objective::{MatryoshkaConfig, Objective};
pub use self::optimizer::{ModelOptimizer, OptimizerName, Update};
pub use self::schedule::{Decay, Schedule, Stages};
pub use self::temperature::TemperatureState;
pub use self::terms::ObjectiveGradients;
