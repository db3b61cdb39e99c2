//! What the tests of several crates share: numbers in and out of tensors and how far they may differ,
//! the updates of reference optimizers, with the feature `loss` batches and the reference of the
//! loss family, with `model` tiny encoders and token rows for them; programs under `mpirun`.
//!
//! Only tests depend on it, so it is not published: crates name it by its path, without a version, and
//! cargo leaves it out of what they publish. A crate's unit tests are a second copy of it, whose types
//! are not those seen here: fixtures that return them are for tests in `tests/`.
//! Crates without Burn have their own fixtures.

#![expect(clippy::unwrap_used, reason = "a test's helpers fail as the test does")]

#[cfg(feature = "loss")]
pub mod loss;
#[cfg(feature = "model")]
pub mod model;
#[cfg(target_os = "linux")]
pub mod mpi;
mod numbers;
pub mod updates;

pub use numbers::{
    assert_close, assert_close_to_scale, assert_near, error, norm, tensor, values, weighed_sum,
};
