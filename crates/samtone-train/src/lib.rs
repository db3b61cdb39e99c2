//! The training of dual encoders: contrastive losses, gradient caching, schedules, checkpoints,
//! guards.
//!
//! | room | holds |
//! |---|---|
//! | [`config`] | what decides a run, as TOML |
//! | [`step`] | one step: [`step::Engine`], objectives, optimizers; for loops of one's own |
//! | [`run`] | whole runs: [`run::run()`], the loop, judging, the run folder |
//! | [`share`] | several devices and machines that share every batch |
//! | [`mine`] | hard negatives out of any ranking |
//! | [`ablation`] | a grid of runs, compared |
//!
//! Nothing here names a backend or prints: events go to an observer.

pub mod ablation;
pub mod config;
mod error;
pub mod mine;
pub mod run;
pub mod share;
pub mod step;

pub use error::TrainError;
