//! The bytes of one file: from where they broke off, and under their sum when they are whole.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use ureq::http::StatusCode;

use super::client::{HubClient, Trouble, unreachable};
use super::event::{DownloadEvent, Observer};
use super::listing::RemoteFile;
use super::sum;
use crate::cache::INCOMPLETE;
use crate::error::HubError;
use crate::name::ModelName;

/// Bytes between two looks at how far it is.
const PIECE: usize = 1 << 18;

/// The file that becomes `blob`.
pub(super) fn unfinished(blob: &Path) -> PathBuf {
    let mut name: OsString = blob.as_os_str().to_owned();
    name.push(INCOMPLETE);
    name.into()
}

/// Bytes of a file; none where there is none.
pub(super) fn size(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |found| found.len())
}

/// Whether the blob is there.
pub(super) fn is_whole(blob: &Path, bytes: u64) -> bool {
    fs::metadata(blob).is_ok_and(|found| found.is_file() && found.len() == bytes)
}

/// A file that is asked for.
pub(super) struct Request<'a> {
    pub(super) client: &'a HubClient,
    pub(super) name: &'a ModelName,
    pub(super) url: &'a str,
    pub(super) remote: &'a RemoteFile,
}

impl Request<'_> {
    /// Writes the file's bytes to `target`, which appears whole. Who holds `lock` is waited for: it is
    /// the one that `huggingface_hub` takes.
    pub(super) fn fetch(
        &self,
        target: &Path,
        lock: &Path,
        observe: Observer<'_>,
    ) -> Result<(), HubError> {
        let held = File::create(lock).and_then(|file| file.lock().map(|()| file));
        let _held = held.map_err(|source| HubError::Io { path: lock.to_owned(), source })?;
        if is_whole(target, self.remote.size) {
            return Ok(());
        }
        let partial = unfinished(target);
        let fault = |source| HubError::Io { path: partial.clone(), source };
        let mut file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .open(&partial)
            .map_err(fault)?;
        let mut begun_before = size(&partial) > 0;
        loop {
            self.fill(&mut file, &partial, &mut begun_before, observe)?;
            let got = sum::of_file(&mut File::open(&partial).map_err(fault)?, &self.remote.sum);
            let got = got.map_err(fault)?;
            if got == self.remote.sum {
                break;
            }
            file.set_len(0).map_err(fault)?;
            if !begun_before {
                fs::remove_file(&partial).map_err(fault)?;
                let (file, expected) = (self.remote.path.clone(), self.remote.sum.clone());
                return Err(HubError::Sum { file, expected, got });
            }
            // What was there before may have been another's: once more, from the first byte.
            begun_before = false;
        }
        file.sync_all().and_then(|()| fs::rename(&partial, target)).map_err(fault)?;
        target.parent().map_or(Ok(()), samtone_files::flush_folder).map_err(fault)
    }

    /// Appends bytes to `file` until it has as many as it should. `is_resumed` becomes true where it is
    /// put together from several answers.
    fn fill(
        &self,
        file: &mut File,
        path: &Path,
        is_resumed: &mut bool,
        observe: Observer<'_>,
    ) -> Result<(), HubError> {
        let mut patience = self.client.patience();
        loop {
            let had = size(path);
            if had == self.remote.size {
                return Ok(());
            }
            let fault = |source| HubError::Io { path: path.to_owned(), source };
            let from = if had < self.remote.size { had } else { 0 };
            file.set_len(from).map_err(fault)?;
            let Err(trouble) = self.append(file, path, from, observe) else { continue };
            if size(path) > from {
                *is_resumed = true;
                patience.renew();
            }
            patience.bear(trouble, observe)?;
        }
    }

    /// Appends what one answer brings, from the byte `from` on.
    fn append(
        &self,
        file: &mut File,
        path: &Path,
        from: u64,
        observe: Observer<'_>,
    ) -> Result<(), Trouble> {
        let fault = |source| HubError::Io { path: path.to_owned(), source };
        let (at, response) = self.client.get(self.name, self.url, from)?;
        let goes_on = response.status() == StatusCode::PARTIAL_CONTENT && {
            let range = response.headers().get("content-range");
            let range = range.and_then(|range| range.to_str().ok()).unwrap_or_default();
            range.starts_with(&format!("bytes {from}-"))
        };
        let mut now = if goes_on { from } else { 0 };
        if now != from {
            file.set_len(0).map_err(fault)?;
        }
        let is_whole = response.status() == StatusCode::OK;
        if !goes_on && !is_whole {
            // From the first byte then.
            let source = io::Error::other("it does not go on from where it broke off");
            return Err(unreachable(&at, source));
        }
        let mut body = response.into_body().into_reader();
        let mut piece = vec![0; PIECE];
        loop {
            let len = match body.read(&mut piece) {
                Ok(0) => break,
                Ok(len) => len,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(unreachable(&at, error)),
            };
            now += len as u64;
            if now > self.remote.size {
                file.set_len(0).map_err(fault)?;
                return Err(self.wrong_size(now).into());
            }
            file.write_all(&piece[..len]).map_err(fault)?;
            observe(DownloadEvent::At { bytes: now });
        }
        if now < self.remote.size {
            let source = io::Error::from(io::ErrorKind::UnexpectedEof);
            return Err(unreachable(&at, source));
        }
        Ok(())
    }

    fn wrong_size(&self, got: u64) -> HubError {
        HubError::Size { file: self.remote.path.clone(), expected: self.remote.size, got }
    }
}
