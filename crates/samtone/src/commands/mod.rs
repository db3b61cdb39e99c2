//! One file a command: its arguments, and a `run` that prints its result.

mod train;

use clap::{Parser, Subcommand};

use crate::output::Format;

/// Train, judge and ship dual-encoder text retrievers.
#[derive(Debug, Parser)]
#[command(name = "samtone", version, arg_required_else_help = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
    /// How results are printed on stdout.
    #[arg(long, global = true, value_enum, default_value_t)]
    format: Format,
}

#[derive(Debug, Subcommand)]
enum Command {
    Train(train::Args),
}

impl Cli {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        match self.command {
            Command::Train(args) => train::run(args, self.format),
        }
    }
}
