//! One file a command: its arguments, and a `run` that prints its result.

mod ablate;
pub(crate) mod analyze;
pub(crate) mod backends;
mod bm25;
mod compare;
mod encode;
pub(crate) mod eval;
mod export;
mod gradients;
mod import;
mod infuse;
mod init;
mod lint;
mod loss;
mod mine;
mod plan;
mod qa;
pub(crate) mod reading;
mod score;
mod scorer;
mod search;
mod split;
mod status;
mod train;
mod trec;

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
    Init(init::Args),
    Train(train::Args),
    Plan(plan::Args),
    Ablate(ablate::Args),
    Backends(backends::Args),
    Gradients(gradients::Args),
    Eval(Box<eval::Args>),
    Encode(encode::Args),
    Status(status::Args),
    Runs(status::RunsArgs),
    Export(export::Args),
    Search(search::Args),
    Compare(compare::Args),
    Analyze(Box<analyze::Args>),
    Loss(loss::Args),
    Bm25(bm25::Args),
    Import(import::Args),
    Split(split::Args),
    Infuse(infuse::Args),
    Qa(qa::Args),
    Lint(lint::Args),
    Mine(mine::Args),
    Score(score::Args),
}

/// Reads a count.
fn at_least_one(text: &str) -> Result<usize, &'static str> {
    let number = text.parse().ok().filter(|&number| number >= 1);
    number.ok_or("expected a whole number of at least 1")
}

/// How this process was started, as a line for a POSIX shell; the program by its name alone.
pub(crate) fn command_line() -> String {
    let arguments = std::env::args().skip(1).map(quoted);
    std::iter::once("samtone".to_owned()).chain(arguments).collect::<Vec<_>>().join(" ")
}

/// `argument` in single quotes where a shell would read more into it.
fn quoted(argument: String) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || "_-+=./,:@%".contains(c);
    if !argument.is_empty() && argument.chars().all(is_plain) {
        return argument;
    }
    format!("'{}'", argument.replace('\'', "'\\''"))
}

impl Cli {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        match self.command {
            Command::Init(args) => init::run(&args, self.format),
            Command::Train(args) => train::run(&args, self.format),
            Command::Ablate(args) => ablate::run(&args, self.format),
            Command::Backends(args) => backends::run(&args, self.format),
            Command::Gradients(args) => gradients::run(&args, self.format),
            Command::Plan(args) => plan::run(&args, self.format),
            Command::Eval(args) => eval::run(&args, self.format),
            Command::Encode(args) => encode::run(&args, self.format),
            Command::Status(args) => status::run(&args, self.format),
            Command::Runs(args) => status::list(&args, self.format),
            Command::Export(args) => export::run(&args, self.format),
            Command::Search(args) => search::run(&args, self.format),
            Command::Analyze(args) => analyze::run(&args, self.format),
            Command::Compare(args) => compare::run(&args, self.format),
            Command::Loss(args) => loss::run(&args, self.format),
            Command::Bm25(args) => bm25::run(&args, self.format),
            Command::Import(args) => import::run(&args, self.format),
            Command::Split(args) => split::run(&args, self.format),
            Command::Infuse(args) => infuse::run(&args, self.format),
            Command::Qa(args) => qa::run(&args, self.format),
            Command::Lint(args) => lint::run(&args, self.format),
            Command::Mine(args) => mine::run(&args, self.format),
            Command::Score(args) => score::run(&args, self.format),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::quoted;

    #[test]
    fn a_shell_reads_an_argument_as_it_was_given() {
        let quoted = |argument: &str| quoted(argument.into());
        assert_eq!(quoted("--set"), "--set");
        assert_eq!(quoted("train.lr=1e-3"), "train.lr=1e-3");
        assert_eq!(quoted("eval.metrics=[\"p@1\"]"), "'eval.metrics=[\"p@1\"]'");
        assert_eq!(quoted("it's"), "'it'\\''s'");
        assert_eq!(quoted(""), "''");
    }
}
