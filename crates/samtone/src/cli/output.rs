//! What reaches stdout: results alone, as text or as one JSON object; or a file that is written there,
//! and then results go to stderr. All else goes there by [`say`].

use std::fmt::Display;
use std::io::{self, Read, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context;
use serde::Serialize;

use crate::error::Usage;

/// Whether stdout is for a file.
static IS_TAKEN: AtomicBool = AtomicBool::new(false);

/// Keeps stdout for a file that is written there.
///
/// # Errors
/// If it is kept for another.
pub(crate) fn take_stdout() -> Result<(), Usage> {
    if IS_TAKEN.swap(true, Ordering::Relaxed) {
        return Err(Usage::new("`-` is given twice, but one file goes to stdout"));
    }
    Ok(())
}

/// Sends a file to stdout.
pub(crate) fn send(mut file: impl Read) -> anyhow::Result<()> {
    reached(io::copy(&mut file, &mut io::stdout().lock()).map(drop))
}

/// What became of writing to stdout. `samtone … | head` closes the pipe early: no failure of ours.
fn reached(written: io::Result<()>) -> anyhow::Result<()> {
    match written {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other.context("cannot write to stdout"),
    }
}

/// How results are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// For people.
    #[default]
    Text,
    /// One JSON object on stdout and nothing else there.
    Json,
}

impl Format {
    /// Prints `result`: as JSON, or as the text that `text` makes of it.
    pub(crate) fn print<T: Serialize>(
        self,
        result: &T,
        text: impl FnOnce(&T) -> String,
    ) -> anyhow::Result<()> {
        let mut out = match self {
            Self::Text => text(result),
            Self::Json => {
                serde_json::to_string(result).context("cannot write the result as JSON")?
            }
        };
        if !out.ends_with('\n') {
            out.push('\n');
        }
        if IS_TAKEN.load(Ordering::Relaxed) {
            say(out.trim_end_matches('\n'));
            return Ok(());
        }
        write_out(out.as_bytes())
    }
}

/// Writes to stdout.
pub(crate) fn write_out(bytes: &[u8]) -> anyhow::Result<()> {
    reached(io::stdout().lock().write_all(bytes))
}

/// Writes a line to stderr; one that cannot be written is dropped.
///
/// Whoever reads the messages may go away (`2> >(head)`), the work goes on: `eprintln!` would panic.
pub(crate) fn say(line: impl Display) {
    // In one piece, so that lines of several threads do not mix.
    let _ = io::stderr().lock().write_all(format!("{line}\n").as_bytes());
}

/// Says what the user should know although the work goes on.
pub(crate) fn warn(warning: impl Display) {
    say(format_args!("warning: {warning}"));
}

/// A plain table: the first row is the header, numbers are the caller's to format.
pub(crate) fn table<R, C>(header: &[&str], rows: R) -> String
where
    R: IntoIterator<Item = C>,
    C: IntoIterator<Item = String>,
{
    use comfy_table::{CellAlignment, Table, presets};
    let mut table = Table::new();
    table.load_style(presets::UTF8_HORIZONTAL_ONLY).set_header(header.iter().copied());
    for row in rows {
        table.add_row(row.into_iter().collect::<Vec<_>>());
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table.to_string()
}
