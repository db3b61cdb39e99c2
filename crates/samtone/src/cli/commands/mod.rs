//! One file a command: its arguments, and a `run` that prints its result.

mod ablate;
pub(crate) mod analyze;
mod ask;
pub(crate) mod backends;
mod bm25;
mod compare;
mod completions;
mod download;
mod encode;
pub(crate) mod eval;
mod export;
mod gradients;
mod import;
mod index;
mod infuse;
mod init;
mod lint;
mod loss;
mod man;
mod mine;
pub(crate) mod passages;
mod plan;
mod qa;
pub(crate) mod reading;
pub(crate) mod report;
mod rerank;
mod score;
mod scorer;
mod search;
mod serve;
mod split;
mod status;
mod train;
mod trec;
mod watch;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::error::Usage;
use crate::output::Format;

/// Train, judge and ship dual-encoder text retrievers.
#[derive(Debug, Parser)]
#[command(
    name = "samtone",
    version,
    arg_required_else_help = true,
    after_help = "`samtone COMMAND --help` says what a command takes, with examples."
)]
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
    Watch(watch::Args),
    Report(report::Args),
    Export(export::Args),
    Index(index::Args),
    Search(search::Args),
    Ask(ask::Args),
    Serve(serve::Args),
    Compare(compare::Args),
    Analyze(Box<analyze::Args>),
    Loss(loss::Args),
    Bm25(bm25::Args),
    Import(import::Args),
    Download(download::Args),
    Split(split::Args),
    Infuse(infuse::Args),
    Qa(qa::Args),
    Lint(lint::Args),
    Mine(mine::Args),
    Score(score::Args),
    Completions(completions::Args),
    Man(man::Args),
}

/// The commands by what they are for, as `samtone --help` lists them.
const GROUPS: [(&str, &[&str]); 6] = [
    ("Data", &["import", "split", "lint", "mine", "score", "bm25"]),
    (
        "Train",
        &["download", "init", "plan", "train", "status", "watch", "runs", "ablate", "infuse", "qa"],
    ),
    ("Judge", &["eval", "compare", "report", "analyze"]),
    ("Use", &["ask", "encode", "index", "search", "serve", "export"]),
    ("Check", &["backends", "gradients", "loss"]),
    ("Shell", &["completions", "man"]),
];

/// The command line, its commands listed in [`GROUPS`]: clap by itself has one list.
fn command() -> clap::Command {
    let command = Cli::command();
    let (header, literal) = (command.get_styles().get_header(), command.get_styles().get_literal());
    let mut help = "{about-with-newline}\n{usage-heading} {usage}\n".to_owned();
    for (title, names) in GROUPS {
        help += &format!("\n{header}{title}:{header:#}\n");
        for name in names {
            let about = command.find_subcommand(name).and_then(clap::Command::get_about);
            let about = about.map(ToString::to_string).unwrap_or_default();
            help += &format!("  {literal}{name:11}{literal:#}  {about}\n");
        }
    }
    help += &format!("\n{header}Options:{header:#}\n{{options}}{{after-help}}");
    command.help_template(help)
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
    /// What the process was started with; a mistake in it, and a question for help, end the process.
    pub(crate) fn read() -> Self {
        let matches = command().get_matches();
        Self::from_arg_matches(&matches).unwrap_or_else(|error| error.exit())
    }

    pub(crate) fn run(self) -> anyhow::Result<()> {
        samtone_gemm::instructions().map_err(|error| Usage::new(error.to_string()))?;
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
            Command::Watch(args) => watch::run(&args, self.format),
            Command::Report(args) => report::run(&args, self.format),
            Command::Export(args) => export::run(&args, self.format),
            Command::Index(args) => index::run(&args, self.format),
            Command::Search(args) => search::run(&args, self.format),
            Command::Ask(args) => ask::run(&args, self.format),
            Command::Serve(args) => serve::run(&args, self.format),
            Command::Analyze(args) => analyze::run(&args, self.format),
            Command::Compare(args) => compare::run(&args, self.format),
            Command::Loss(args) => loss::run(&args, self.format),
            Command::Bm25(args) => bm25::run(&args, self.format),
            Command::Download(args) => download::run(&args, self.format),
            Command::Import(args) => import::run(&args, self.format),
            Command::Split(args) => split::run(&args, self.format),
            Command::Infuse(args) => infuse::run(&args, self.format),
            Command::Qa(args) => qa::run(&args, self.format),
            Command::Lint(args) => lint::run(&args, self.format),
            Command::Mine(args) => mine::run(&args, self.format),
            Command::Score(args) => score::run(&args, self.format),
            Command::Completions(args) => completions::run(&args),
            Command::Man(args) => man::run(&args),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Cli, CommandFactory, GROUPS, command, quoted};

    #[test]
    fn clap_finds_no_fault() {
        command().debug_assert();
    }

    #[test]
    fn help_lists_every_command_once() {
        let mut listed: Vec<&str> = GROUPS.iter().flat_map(|(_, names)| *names).copied().collect();
        listed.sort_unstable();
        let cli = Cli::command();
        let mut known: Vec<&str> = cli.get_subcommands().map(clap::Command::get_name).collect();
        known.sort_unstable();
        assert_eq!(listed, known);
        let help = command().render_help().to_string();
        for name in known {
            assert!(help.contains(&format!("\n  {name} ")), "{name}: {help}");
        }
        assert!(help.contains("\n  train        Train a dual encoder"), "{help}");
        assert!(help.contains("--format"), "{help}");
    }

    #[test]
    fn every_command_has_examples_that_are_read() {
        for of in Cli::command().get_subcommands() {
            let name = of.get_name();
            let help = of.get_after_help().map(ToString::to_string).unwrap_or_default();
            let lines = help.strip_prefix("Examples:\n").unwrap_or_default().lines();
            let mut count = 0;
            for line in lines {
                let line_read = line.split(['|', '>', '<']).next().unwrap_or_default();
                // What stands in quotes is one word.
                let words: Vec<&str> = line_read
                    .split('"')
                    .enumerate()
                    .flat_map(|(place, part)| match place % 2 {
                        0 => part.split_whitespace().collect(),
                        _ => vec![part],
                    })
                    .collect();
                assert_eq!(words[..2], ["samtone", name]);
                if let Err(error) = command().try_get_matches_from(words) {
                    panic!("{line}: {error}");
                }
                assert!(line.len() <= 100, "clap breaks it: {line}");
                count += 1;
            }
            assert!((1..=3).contains(&count), "`{name}` has {count} examples");
        }
    }

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
