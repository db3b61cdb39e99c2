//! The pages as readers get them, in one binary: linking is what takes time.

#![expect(clippy::unwrap_used, reason = "a test's helpers fail as the test does")]

mod hostile;
mod pages;
#[cfg(feature = "tsne")]
mod tsne;
