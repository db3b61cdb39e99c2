//! JSON files, and folders that appear whole.

use std::path::Path;
use std::{fs, io};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::ModelError;

pub(crate) fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T, ModelError> {
    let text = fs::read_to_string(path).map_err(io_error(path))?;
    serde_json::from_str(&text).map_err(|source| ModelError::Json { path: path.to_owned(), source })
}

pub(crate) fn read_json_if_there<T: DeserializeOwned>(
    path: &Path,
) -> Result<Option<T>, ModelError> {
    if path.exists() { read_json(path).map(Some) } else { Ok(None) }
}

pub(crate) fn write_json(path: &Path, value: &impl Serialize) -> Result<(), ModelError> {
    let mut text = serde_json::to_string_pretty(value)
        .map_err(|source| ModelError::Json { path: path.to_owned(), source })?;
    text.push('\n');
    fs::write(path, text).map_err(io_error(path))
}

pub(crate) fn create_folder(path: &Path) -> Result<(), ModelError> {
    fs::create_dir_all(path).map_err(io_error(path))
}

/// Lets `write` fill a folder, which then takes the place of what is at `path`, at once.
pub(crate) fn replace_folder(
    path: &Path,
    write: impl FnOnce(&Path) -> Result<(), ModelError>,
) -> Result<(), ModelError> {
    enum Cause {
        Writing(ModelError),
        Moving(io::Error),
    }
    impl From<io::Error> for Cause {
        fn from(error: io::Error) -> Self {
            Self::Moving(error)
        }
    }
    samtone_files::write_folder(path, |inside| write(inside).map_err(Cause::Writing)).map_err(
        |cause| match cause {
            Cause::Writing(error) => error,
            Cause::Moving(source) => io_error(path)(source),
        },
    )
}

pub(crate) fn io_error(path: &Path) -> impl FnOnce(io::Error) -> ModelError {
    let path = path.to_owned();
    move |source| ModelError::Io { path, source }
}
