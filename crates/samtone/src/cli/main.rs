//! The `samtone` command line.

mod cluster;
mod commands;
mod device;
mod embeddings;
mod encoding;
mod error;
mod index;
mod job;
mod output;
mod progress;
mod run_files;
mod run_report;
mod runner;
mod runs_report;
#[cfg(feature = "serve")]
mod serve;
mod shard;
mod skill_report;
mod stream;
mod tensorboard;
mod words;

use std::process::ExitCode;

fn main() -> ExitCode {
    samtone_model::keep_freed_memory();
    match commands::Cli::read().run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => job::fail(&error),
    }
}
