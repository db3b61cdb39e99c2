//! Foreign formats in, BEIR layout out.
//!
//! Files are read line by line and records written as they come. What is kept of a record is its id
//! and about 40 bytes beside it (as much again where a format may leave ids out, for a hash of 128 bits
//! that tells texts apart), and of a judgment 8 to 16 bytes, whatever the size of the texts. A file of
//! records is written a second time if names change at the end: if an id is met that a text without one
//! was given before, or if ids are renamed.
//!
//! Hard negatives have a place in BEIR layout too: they are judgments of grade 0, which
//! [`Dataset::pairs`](crate::Dataset::pairs) gives back as the pair's negatives. Where a document is
//! both a positive and a negative of a query, it is a positive, whatever comes first. A teacher's scores
//! have none: they lie beside, in files of pairs ([`SCORED`]).

pub mod beir;
pub mod columns;
pub mod example;
mod file_split;
pub mod flag_embedding;
pub mod ms_marco;
mod options;
pub mod pairs;
mod passage;
mod scored;
pub mod sentences;
mod sink;
pub mod squad;
pub mod tevatron;
pub mod trec;
mod writing;

use std::path::{Path, PathBuf};

pub use self::columns::roles::{ColumnNames, ColumnRole, TakenColumn, TakenColumns};
pub use self::options::{
    FileSplit, Format, ImportOptions, ImportReport, OnError, Progress, RENAMED_IDS, SCORED, Unit,
    UnknownFormat,
};
pub use self::passage::Passage;
use self::sink::{DEFAULT_SPLIT, Sink};
use crate::error::{DataError, Unwritten};
use crate::split::{SplitOptions, split_in_place};

/// Reads `inputs` and writes a folder in BEIR layout.
///
/// The folder appears when all is done, and only then. `progress` is called every few thousand records.
///
/// # Errors
/// If the output exists, a file cannot be read or written, the columns of a file cannot be told, or
/// (unless they are skipped) at the first wrong record.
pub fn import(
    format: Format,
    inputs: &[PathBuf],
    out: &Path,
    options: &ImportOptions,
    progress: &mut dyn FnMut(Progress),
) -> Result<ImportReport, DataError> {
    if out.exists() {
        return Err(DataError::Exists { path: out.to_owned() });
    }
    let written = samtone_files::write_folder(out, |folder| -> Result<_, Unwritten> {
        let mut sink = Sink::create(folder, inputs, options, progress)?;
        match format {
            Format::Beir => beir::import(inputs, &mut sink)?,
            Format::Pairs => writing::import(inputs, &mut sink, pairs::parse)?,
            Format::FlagEmbedding => writing::import(inputs, &mut sink, flag_embedding::parse)?,
            Format::Tevatron => tevatron::import(inputs, &mut sink)?,
            Format::Columns => columns::import(inputs, &mut sink)?,
            Format::MsMarco => ms_marco::import(inputs, &mut sink)?,
            Format::Squad => squad::import(inputs, options, &mut sink)?,
            Format::Trec => trec::import(inputs, &mut sink)?,
        }
        let mut report = sink.finish()?;
        take_shares(folder, options, &mut report).map_err(|error| error.of_folder(out))?;
        Ok(report)
    });
    written.map_err(|unwritten| unwritten.at(out).of_import(format.name()))
}

/// Takes the shares out of their split, if any are asked for.
fn take_shares(
    folder: &Path,
    options: &ImportOptions,
    report: &mut ImportReport,
) -> Result<(), DataError> {
    if options.shares.is_empty() {
        return Ok(());
    }
    let from = options.split.as_deref().unwrap_or(DEFAULT_SPLIT).to_owned();
    let (shares, seed) = (options.shares.clone(), options.seed);
    let parted = split_in_place(folder, &SplitOptions { from: from.clone(), shares, seed })?;
    if let Some(rows) = report.scored.get_mut(&from) {
        *rows = scored::leave(folder, options, &from)?;
    }
    let judgments = parted.splits.iter().map(|split| (split.name.clone(), split.judgments));
    report.judgments.extend(judgments);
    report.split = Some(parted);
    Ok(())
}
