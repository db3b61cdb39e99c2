//! Files in, files out, as users have them, in one binary: linking is what takes time.

#![expect(clippy::unwrap_used, reason = "a test's helpers fail as the test does")]

mod embedded;
mod import;
#[cfg(feature = "parquet")]
mod parquet;
mod round_trip;
mod split;
