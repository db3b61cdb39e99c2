//! The cache and the client, against a hub of this process's own.

#![expect(clippy::unwrap_used, reason = "a test's helpers fail as the test does")]

#[cfg(unix)]
mod cache;
mod download;
mod server;
