//! A folder in BEIR layout as it is being written.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use flate2::write::GzEncoder;

use crate::error::DataError;
use crate::reading::lines::Compression;

/// The folder being filled.
pub(crate) struct Folder {
    dir: PathBuf,
    gzip: bool,
}

impl Folder {
    /// The folder at `dir`, whose files of records are compressed if `gzip` says so.
    pub(crate) fn new(dir: &Path, gzip: bool) -> Self {
        Self { dir: dir.to_owned(), gzip }
    }

    /// Where it lies.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// The path of a file of records, by its name without what compression adds.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        let compression = if self.gzip { Compression::Gzip } else { Compression::Plain };
        self.dir.join(format!("{name}{}", compression.suffix()))
    }

    /// Begins a file of records, by its name without what compression adds.
    pub(crate) fn create(&self, name: &str) -> Result<Output, DataError> {
        if !self.gzip {
            return self.create_plain(name);
        }
        let path = self.path(name);
        let file = File::create(&path).map_err(DataError::writing(&path))?;
        let level = flate2::Compression::new(6);
        let writer = Writer::Gzip(GzEncoder::new(BufWriter::new(file), level));
        Ok(Output { path, writer })
    }

    /// Begins a file that is not compressed.
    pub(crate) fn create_plain(&self, name: &str) -> Result<Output, DataError> {
        let path = self.dir.join(name);
        let file = File::create(&path).map_err(DataError::writing(&path))?;
        Ok(Output { path, writer: Writer::Plain(BufWriter::with_capacity(1 << 18, file)) })
    }
}

/// A file being written.
pub(crate) struct Output {
    path: PathBuf,
    writer: Writer,
}

/// Where its bytes go.
pub(crate) enum Writer {
    Plain(BufWriter<File>),
    Gzip(GzEncoder<BufWriter<File>>),
}

impl Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(writer) => writer.write(bytes),
            Self::Gzip(writer) => writer.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(writer) => writer.flush(),
            Self::Gzip(writer) => writer.flush(),
        }
    }
}

impl Output {
    /// Lets `write` go on with the file.
    pub(crate) fn write(
        &mut self,
        write: impl FnOnce(&mut Writer) -> io::Result<()>,
    ) -> Result<(), DataError> {
        write(&mut self.writer).map_err(DataError::writing(&self.path))
    }

    /// Ends the file: all of it is with the system.
    pub(crate) fn close(&mut self) -> Result<(), DataError> {
        self.write(|writer| match writer {
            Writer::Plain(writer) => writer.flush(),
            Writer::Gzip(writer) => {
                writer.try_finish()?;
                writer.get_mut().flush()
            }
        })
    }
}
