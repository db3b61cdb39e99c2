//! The command line as its users see it, in one binary: linking is what takes time.

#![expect(clippy::unwrap_used, reason = "a test's helpers fail as the test does")]

mod backends;
mod contract;
#[cfg(unix)]
mod csv_page;
mod jobs;
#[cfg(unix)]
mod outputs;
mod pages;
mod reports;
#[cfg(all(target_os = "linux", feature = "flex"))]
mod size;
mod skill;
mod train;
#[cfg(feature = "flex")]
mod with_model;
