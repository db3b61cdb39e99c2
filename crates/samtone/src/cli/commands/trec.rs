//! Runs as TREC files: the place and the ids are looked at before the work, the file is written
//! after it.

use std::path::Path;

use samtone_eval::{EvalError, Run};

/// Makes sure, before the work, that a file can be written at `path`.
pub(super) fn prepare(path: &Path) -> Result<(), EvalError> {
    samtone_files::prepare_file(path)
        .map_err(|source| EvalError::Write { path: path.to_owned(), source })
}

/// What is wrong with the first of `ids` that cannot stand in a TREC file.
pub(super) fn check_ids<'a>(ids: impl IntoIterator<Item = &'a str>) -> Result<(), EvalError> {
    match ids.into_iter().find(|id| !Run::can_name(id)) {
        Some(id) => Err(EvalError::UnwritableId { id: id.to_owned() }),
        None => Ok(()),
    }
}

/// Writes `run`, whole or not at all.
pub(super) fn write(path: &Path, run: &Run, tag: &str) -> Result<(), EvalError> {
    run.check_ids(tag)?;
    samtone_files::write_whole(path, |out| run.write_to(out, tag))
        .map_err(|source| EvalError::Write { path: path.to_owned(), source })
}
