//! What the commands do with a model: a tiny one of random weights, or trained for a few steps.

#![cfg(feature = "flex")]
#![expect(clippy::unwrap_used, reason = "a test's helpers fail as the test does")]

mod compared;
mod encode;
mod judged;
mod mine;
mod tiny;
