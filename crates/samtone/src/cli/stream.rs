//! `-` in the place of a file: stdin where one is read, stdout where one is written.
//!
//! A file of its own stands in for the stream, so that input can be read twice and what is written
//! reaches stdout whole or not at all.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context;
use samtone_data::reading::Compression;
use tempfile::TempDir;

use crate::error::Usage;
use crate::output;

/// What stands for a stream.
const STREAM: &str = "-";

/// A file that is read.
pub(crate) struct Readable {
    path: PathBuf,
    _stream: Option<TempDir>,
}

impl Readable {
    /// The file at `path`, or stdin's content.
    ///
    /// # Errors
    /// If stdin cannot be read, or was before.
    pub(crate) fn open(path: &Path) -> anyhow::Result<Self> {
        static IS_READ: AtomicBool = AtomicBool::new(false);
        if path != Path::new(STREAM) {
            return Ok(Self { path: path.to_owned(), _stream: None });
        }
        if IS_READ.swap(true, Ordering::Relaxed) {
            return Err(Usage::new("`-` is given twice, but stdin can be read once").into());
        }
        let spool = || {
            let folder = temporary()?;
            let path = spool(&mut io::stdin().lock(), folder.path())?;
            Ok::<_, io::Error>(Self { path, _stream: Some(folder) })
        };
        spool().context("cannot read stdin")
    }

    /// Where it lies, as long as `self` lives.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

/// A file that is written.
pub(crate) struct Writable {
    path: PathBuf,
    stream: Option<TempDir>,
}

impl Writable {
    /// Makes sure, before the work, that a file can be written at `path`, or takes stdout.
    ///
    /// # Errors
    /// If it cannot, or if stdout is taken.
    pub(crate) fn prepare(path: &Path) -> anyhow::Result<Self> {
        let wrong = || format!("cannot write `{}`", path.display());
        if path != Path::new(STREAM) {
            samtone_files::prepare_file(path).with_context(wrong)?;
            return Ok(Self { path: path.to_owned(), stream: None });
        }
        output::take_stdout()?;
        let folder = temporary().with_context(wrong)?;
        Ok(Self { path: folder.path().join("stdout"), stream: Some(folder) })
    }

    /// Where it is written, as long as `self` lives.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Sends what was written to where it is wanted.
    pub(crate) fn finish(self) -> anyhow::Result<()> {
        match self.stream {
            Some(_) => output::send(File::open(&self.path).context("cannot write to stdout")?),
            None => Ok(()),
        }
    }
}

fn temporary() -> io::Result<TempDir> {
    tempfile::Builder::new().prefix("samtone-").tempdir()
}

/// Copies all of `stream` into `folder`; the file's name says how it is compressed.
fn spool(stream: &mut impl Read, folder: &Path) -> io::Result<PathBuf> {
    let path = folder.join("stdin");
    io::copy(stream, &mut File::create(&path)?)?;
    let mut start = Vec::new();
    File::open(&path)?.take(4).read_to_end(&mut start)?;
    let compression = match start.as_slice() {
        [0x1f, 0x8b, ..] => Compression::Gzip,
        [0x28, 0xb5, 0x2f, 0xfd] => Compression::Zstd,
        _ => return Ok(path),
    };
    let named = folder.join(format!("stdin{}", compression.suffix()));
    fs::rename(path, &named)?;
    Ok(named)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_by_stdin_is_named_by_its_compression() {
        for (content, name) in [
            (&b"{}"[..], "stdin"),
            (b"", "stdin"),
            (b"\x1f\x8b\x08\0\0", "stdin.gz"),
            (b"\x28\xb5\x2f\xfd\x04", "stdin.zst"),
        ] {
            let folder = tempfile::tempdir().unwrap();
            let path = spool(&mut &content[..], folder.path()).unwrap();
            assert_eq!(path.file_name().unwrap(), name);
            assert_eq!(fs::read(path).unwrap(), content);
        }
    }
}
