//! One page of several runs: their results in one table, their settings, their curves.

mod curves;
mod leaderboard;
mod pairwise;
mod settings;
mod table;

use samtone_report::{Report, Section};

use self::leaderboard::Leaderboard;
use crate::run_files::RunFiles;
use crate::words::grouped;

/// A run among others.
pub(crate) struct NamedRun {
    /// Its name among the others.
    pub(crate) name: String,
    /// Its page, relative to that of all runs; empty if it is not below it.
    pub(crate) page: String,
    /// Its files.
    pub(crate) files: RunFiles,
}

/// The page of `runs`; the first is what the others are compared with.
///
/// # Errors
/// Results that cannot be read.
pub(crate) fn page(title: &str, runs: &[NamedRun]) -> anyhow::Result<Report> {
    let report = Report::new(title).summary(format!(
        "{} runs side by side; {} is what the others are compared with.",
        grouped(runs.len()),
        runs[0].name
    ));
    Ok(sections(runs)?.into_iter().fold(report, Report::section))
}

/// The sections of that page.
///
/// # Errors
/// As [`page`].
pub(crate) fn sections(runs: &[NamedRun]) -> anyhow::Result<Vec<Section>> {
    let boards = Leaderboard::read(runs)?;
    let mut results = Section::new("Runs").figure(table::runs(runs, boards.own()));
    if let Some(figure) = boards.figure(runs) {
        results = results.figure(figure);
    }
    if let Some(figure) = pairwise::figure(runs, boards.own())? {
        results = results.figure(figure);
    }
    let settings = settings::figure(runs, boards.own())?;
    let settings = settings.into_iter().fold(Section::new("Settings"), Section::figure);
    let sections = [results, curves::section(runs, boards.own()), settings];
    Ok(sections.into_iter().filter(|section| !section.figures.is_empty()).collect())
}
