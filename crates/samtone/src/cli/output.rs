//! What reaches stdout: results alone, as text or as one JSON object. All else goes to stderr, by
//! [`say`].

use std::fmt::Display;
use std::io::Write;

use anyhow::Context;
use serde::Serialize;

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
        write_out(out.as_bytes())
    }
}

/// Writes to stdout.
pub(crate) fn write_out(bytes: &[u8]) -> anyhow::Result<()> {
    match std::io::stdout().lock().write_all(bytes) {
        // `samtone … | head` closes the pipe early: no failure of ours.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        other => other.context("cannot write to stdout"),
    }
}

/// Writes a line to stderr; one that cannot be written is dropped.
///
/// Whoever reads the messages may go away (`2> >(head)`), the work goes on: `eprintln!` would panic.
pub(crate) fn say(line: impl Display) {
    // In one piece, so that lines of several threads do not mix.
    let _ = std::io::stderr().lock().write_all(format!("{line}\n").as_bytes());
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

/// A progress bar on stderr with rate and time left; hidden where stderr is no terminal.
pub(crate) fn progress(total: u64, what: &'static str) -> indicatif::ProgressBar {
    let bar = indicatif::ProgressBar::new(total);
    let style = indicatif::ProgressStyle::with_template(
        "{prefix} {wide_bar} {human_pos}/{human_len} · {per_sec} · {eta} left · {msg}",
    )
    .expect("the template is a literal");
    bar.set_style(style);
    bar.set_prefix(what);
    bar
}
