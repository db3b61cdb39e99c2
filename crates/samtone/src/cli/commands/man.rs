//! `samtone man`.

use std::fs;
use std::path::PathBuf;

use anyhow::Context;

use crate::output::write_out;

/// Print the manual page, or write one for each command.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  samtone man | man -l -
  samtone man --out ~/.local/share/man/man1")]
pub(crate) struct Args {
    /// Write `samtone.1` and a page for each command into this folder.
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let Some(folder) = &args.out else {
        let mut page = Vec::new();
        clap_mangen::Man::new(super::command())
            .render(&mut page)
            .context("cannot make the manual page")?;
        return write_out(&page);
    };
    fs::create_dir_all(folder)
        .and_then(|()| clap_mangen::generate_to(super::command(), folder))
        .with_context(|| format!("cannot write manual pages into `{}`", folder.display()))
}
