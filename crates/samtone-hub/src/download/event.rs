//! What is told of a download.

use std::time::Duration;

use crate::error::HubError;

/// What happens while a model is fetched.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum DownloadEvent<'a> {
    /// It is known what is wanted.
    Begun {
        /// The commit that the revision is.
        commit: &'a str,
        /// Files that are wanted.
        files: usize,
        /// Their bytes.
        bytes: u64,
        /// Bytes that are there already.
        there: u64,
    },
    /// A file is asked for.
    File {
        /// Its path in the repository.
        file: &'a str,
        /// Its bytes.
        bytes: u64,
    },
    /// So many bytes of all files are there.
    At {
        /// Bytes.
        bytes: u64,
    },
    /// Something went wrong and is tried again after a pause.
    Retry {
        /// What went wrong.
        why: &'a HubError,
        /// How long the pause is.
        pause: Duration,
    },
}

/// Who is told of it.
pub(super) type Observer<'a> = &'a mut dyn FnMut(DownloadEvent<'_>);
