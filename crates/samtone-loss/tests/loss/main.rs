//! The loss against the papers' laws, other implementations and itself, through its public surface.

#![expect(clippy::unwrap_used, reason = "a test's helpers fail as the test does")]

mod edges;
mod host;
mod properties;
mod reference;
