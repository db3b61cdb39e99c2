//! One file a command: its arguments, and a `run` that prints its result.

mod ablate;
pub(crate) mod analyze;
mod bm25;
mod compare;
mod encode;
pub(crate) mod eval;
mod export;
mod import;
mod infuse;
mod lint;
mod loss;
mod mine;
mod plan;
mod qa;
mod search;
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
    Plan(plan::Args),
    Ablate(ablate::Args),
    Eval(Box<eval::Args>),
    Encode(encode::Args),
    Export(export::Args),
    Search(search::Args),
    Compare(compare::Args),
    Analyze(Box<analyze::Args>),
    Loss(loss::Args),
    Bm25(bm25::Args),
    Import(import::Args),
    Infuse(infuse::Args),
    Qa(qa::Args),
    Lint(lint::Args),
    Mine(mine::Args),
}

impl Cli {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        match self.command {
            Command::Train(args) => train::run(&args, self.format),
            Command::Ablate(args) => ablate::run(&args, self.format),
            Command::Plan(args) => plan::run(&args, self.format),
            Command::Eval(args) => eval::run(&args, self.format),
            Command::Encode(args) => encode::run(&args, self.format),
            Command::Export(args) => export::run(&args, self.format),
            Command::Search(args) => search::run(&args, self.format),
            Command::Analyze(args) => analyze::run(&args, self.format),
            Command::Compare(args) => compare::run(&args, self.format),
            Command::Loss(args) => loss::run(&args, self.format),
            Command::Bm25(args) => bm25::run(&args, self.format),
            Command::Import(args) => import::run(&args, self.format),
            Command::Infuse(args) => infuse::run(&args, self.format),
            Command::Qa(args) => qa::run(&args, self.format),
            Command::Lint(args) => lint::run(&args, self.format),
            Command::Mine(args) => mine::run(&args, self.format),
        }
    }
}
