//! Runs as TREC files: the ids are looked at before the work, the file is written after it.

use samtone_eval::{EvalError, Run};

use crate::stream::Writable;

/// What is wrong with the first of `ids` that cannot stand in a TREC file.
pub(super) fn check_ids<'a>(ids: impl IntoIterator<Item = &'a str>) -> Result<(), EvalError> {
    match ids.into_iter().find(|id| !Run::can_name(id)) {
        Some(id) => Err(EvalError::UnwritableId { id: id.to_owned() }),
        None => Ok(()),
    }
}

/// Writes `run`, whole or not at all.
pub(super) fn write(out: Writable, run: &Run, tag: &str) -> anyhow::Result<()> {
    run.check_ids(tag)?;
    samtone_files::write_whole(out.path(), |file| run.write_to(file, tag))
        .map_err(|source| EvalError::Write { path: out.path().to_owned(), source })?;
    out.finish()
}
