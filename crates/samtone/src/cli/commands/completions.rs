//! `samtone completions`.

use crate::output::write_out;

/// Print the script with which a shell completes commands and flags.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  samtone completions bash > ~/.local/share/bash-completion/completions/samtone
  samtone completions fish > ~/.config/fish/completions/samtone.fish")]
pub(crate) struct Args {
    /// The shell.
    shell: clap_complete::Shell,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut super::command(), "samtone", &mut script);
    write_out(&script)
}
