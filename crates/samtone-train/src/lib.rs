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
//! A whole run is a [`config::ExperimentConfig`] and a call of [`run::run()`]. Who has a loop already
//! takes [`step::Engine`], which turns token rows into gradients in bounded memory and reads no
//! configuration. [`run::Training`] is the loop for what is no dual encoder: `samtone-skill` learns in
//! it.
//!
//! Nothing here prints: events go to an observer. No backend is named but where [`step::AdamW`] has a
//! path of its own for Flex.
//!
//! # Features
//!
//! Tensors are Burn's, of one version: `burn = { version = "=0.21.0", features = ["autodiff", "flex"] }`.
//!
//! - `flex` (default): the fused CPU paths, of `samtone-loss` and `samtone-model` too.
//! - `mpi`: the ranks of a [`share::Job`] exchange by MPI; links the library that `mpicc` or pkg-config
//!   finds.

pub mod ablation;
pub mod config;
mod error;
pub mod mine;
pub mod run;
pub mod share;
pub mod step;
mod tensor_file;

pub use error::TrainError;
