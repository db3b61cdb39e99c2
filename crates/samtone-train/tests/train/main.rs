//! The training as its users see it, in one binary: linking is what takes time.

#![expect(clippy::unwrap_used, reason = "a test's helpers fail as the test does")]

mod adapters;
mod chunks;
mod jobs;
mod objective;
mod optimizers;
mod search_split;
mod shards;
mod threads;
mod tiny;
