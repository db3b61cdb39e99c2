//! Records of a file by their number, in bounded memory.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Cursor, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use samtone_data::reading::{Compression, Line, Lines};
use samtone_data::{DataError, Fault};
use samtone_text::Key;

/// A line's record; none if the line is not used.
pub type Parse<T> = fn(Line<'_>) -> Result<Option<T>, Fault>;

/// The place of every so-manyth record is kept: 8 bytes for this many.
const STRIDE: usize = 16;

/// The records of a file, one a line, any of them at any time.
///
/// Opening reads the whole file once and checks every line; from then on half a byte a record is kept
/// in memory, and records are read from the disk as they are asked for. A compressed file is
/// decompressed into a temporary file that goes with this value.
///
/// # Examples
///
/// ```
/// use samtone_data::reading::Triple;
/// use samtone_skill::Records;
///
/// let dir = tempfile::tempdir().unwrap();
/// let path = dir.path().join("triples.tsv");
/// std::fs::write(&path, "Ada\tborn in\tLondon\nAda\tfield\tmathematics\n").unwrap();
/// let triples = Records::open(&path, |line| Triple::parse(line).map(Some))?;
/// assert_eq!(triples.len(), 2);
/// assert_eq!(triples.get(1)?.object, "mathematics");
/// # Ok::<(), samtone_data::DataError>(())
/// ```
#[derive(Debug)]
pub struct Records<T> {
    source: Arc<Source<T>>,
    len: usize,
    unused: usize,
}

/// Clones share the file.
impl<T> Clone for Records<T> {
    fn clone(&self) -> Self {
        let Self { source, len, unused } = self;
        Self { source: Arc::clone(source), len: *len, unused: *unused }
    }
}

#[derive(Debug)]
enum Source<T> {
    Memory(Vec<T>),
    Disk(OnDisk<T>),
}

/// A file whose lines are all known to be good.
#[derive(Debug)]
struct OnDisk<T> {
    path: PathBuf,
    file: Mutex<File>,
    /// Where every block of records begins.
    places: Vec<u64>,
    end: u64,
    parse: Parse<T>,
}

impl<T> Records<T> {
    /// Opens a file, plain, `.gz` or `.zst`, and checks all its lines.
    ///
    /// # Errors
    /// If it cannot be read, or at the first line that `parse` refuses.
    pub fn open(path: &Path, parse: Parse<T>) -> Result<Self, DataError> {
        Self::open_each(path, parse, |_| {})
    }

    /// As [`Records::open`]; `each` sees every record once, in their order.
    ///
    /// # Errors
    /// As [`Records::open`].
    pub fn open_each(
        path: &Path,
        parse: Parse<T>,
        mut each: impl FnMut(&T),
    ) -> Result<Self, DataError> {
        let mut lines = Lines::open(path)?;
        let mut copy = match Compression::of(path) {
            Compression::Plain => None,
            _ => Some(BufWriter::new(tempfile::tempfile().map_err(DataError::writing(path))?)),
        };
        let (mut places, mut len, mut unused, mut end) = (Vec::new(), 0_usize, 0, 0);
        while let Some(line) = lines.next()? {
            match parse(line) {
                Ok(Some(record)) => each(&record),
                Ok(None) => {
                    unused += 1;
                    continue;
                }
                Err(fault) => return Err(lines.fault(fault)),
            }
            let place = match &mut copy {
                None => lines.place(),
                Some(copy) => {
                    let line = lines.last();
                    let written = copy.write_all(line).and_then(|()| copy.write_all(b"\n"));
                    written.map_err(DataError::writing(path))?;
                    end..end + line.len() as u64 + 1
                }
            };
            if len.is_multiple_of(STRIDE) {
                places.push(place.start);
            }
            end = place.end;
            len += 1;
        }
        let file = match copy {
            None => File::open(path).map_err(|source| DataError::opening(path, source))?,
            Some(copy) => {
                copy.into_inner().map_err(|error| DataError::writing(path)(error.into_error()))?
            }
        };
        let (path, file) = (path.to_owned(), Mutex::new(file));
        let source = Arc::new(Source::Disk(OnDisk { path, file, places, end, parse }));
        Ok(Self { source, len, unused })
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Lines of the file that `parse` did not use.
    pub fn unused(&self) -> usize {
        self.unused
    }
}

impl<T: Clone> Records<T> {
    /// Records that are in memory already.
    pub fn in_memory(records: Vec<T>) -> Self {
        Self { len: records.len(), unused: 0, source: Arc::new(Source::Memory(records)) }
    }

    /// All records in their order; the file is read once.
    pub fn iter(&self) -> impl Iterator<Item = Result<T, DataError>> + '_ {
        (0..self.len.div_ceil(STRIDE)).flat_map(|block| {
            let records = match &*self.source {
                Source::Memory(records) => {
                    let end = self.len.min((block + 1) * STRIDE);
                    Ok(records[block * STRIDE..end].to_vec())
                }
                Source::Disk(disk) => disk.block(block, STRIDE.min(self.len - block * STRIDE)),
            };
            let (records, error) = match records {
                Ok(records) => (records, None),
                Err(error) => (Vec::new(), Some(Err(error))),
            };
            records.into_iter().map(Ok).chain(error)
        })
    }

    /// Up to `most` records: all of them in their order, or so many drawn by `key`.
    ///
    /// # Errors
    /// As [`Records::get`].
    pub fn sample(&self, most: usize, key: Key) -> Result<Vec<T>, DataError> {
        if self.len <= most {
            return self.iter().collect();
        }
        let drawn = (0..most as u64).map(|index| key.shuffled(index, self.len as u64));
        drawn.map(|number| self.get(number as usize)).collect()
    }

    /// The record of this number, from 0.
    ///
    /// # Errors
    /// If the file cannot be read any more, or was changed.
    ///
    /// # Panics
    /// If there is no such record.
    pub fn get(&self, number: usize) -> Result<T, DataError> {
        assert!(number < self.len, "record {number} of {}", self.len);
        match &*self.source {
            Source::Memory(records) => Ok(records[number].clone()),
            Source::Disk(disk) => {
                let mut records = disk.block(number / STRIDE, number % STRIDE + 1)?;
                Ok(records.pop().expect("a block has as many records as asked for"))
            }
        }
    }
}

impl<T> OnDisk<T> {
    /// The first `count` records of a block.
    fn block(&self, block: usize, count: usize) -> Result<Vec<T>, DataError> {
        let Self { path, file, places, end, parse } = self;
        let start = places[block];
        let end = places.get(block + 1).copied().unwrap_or(*end);
        let mut bytes = Vec::new();
        {
            // A panic elsewhere leaves nothing half-done: every read seeks first.
            let file = file.lock().unwrap_or_else(PoisonError::into_inner);
            (&*file)
                .seek(SeekFrom::Start(start))
                .and_then(|_| (&*file).take(end - start).read_to_end(&mut bytes))
                .map_err(|source| DataError::Read { path: path.clone(), source })?;
        }
        let mut lines = Lines::new(path, Box::new(BufReader::new(Cursor::new(bytes))));
        let mut records = Vec::with_capacity(count);
        while records.len() < count {
            let Some(line) = lines.next()? else {
                let changed = "it was changed while it was used";
                let source = io::Error::new(io::ErrorKind::InvalidData, changed);
                return Err(DataError::Read { path: path.clone(), source });
            };
            match parse(line) {
                Ok(record) => records.extend(record),
                Err(fault) => return Err(lines.fault(fault)),
            }
        }
        Ok(records)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn even(line: Line<'_>) -> Result<Option<String>, Fault> {
        let text = line.text()?;
        Ok((text.len() % 2 == 0).then(|| text.to_owned()))
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        out.write_all(bytes).unwrap();
        out.finish().unwrap()
    }

    proptest! {
        #[test]
        fn any_record_is_that_of_its_number(
            lines in prop::collection::vec("[a-zé]{0,9}", 0..100),
            mark: bool,
            carriage: bool,
        ) {
            let expected: Vec<&String> =
                lines.iter().filter(|line| !line.is_empty() && line.len() % 2 == 0).collect();
            let mut text = lines.join(if carriage { "\r\n" } else { "\n" });
            if mark {
                text.insert(0, '\u{FEFF}');
            }
            let dir = tempfile::tempdir().unwrap();
            for (name, bytes) in [("a", text.as_bytes().to_vec()), ("a.gz", gzip(text.as_bytes()))] {
                let path = dir.path().join(name);
                std::fs::write(&path, bytes).unwrap();
                let mut seen = Vec::new();
                let records =
                    Records::open_each(&path, even, |record| seen.push(record.clone())).unwrap();
                prop_assert_eq!(seen.iter().collect::<Vec<_>>(), expected.clone());
                prop_assert_eq!(records.len(), expected.len());
                for number in (0..expected.len()).rev() {
                    prop_assert_eq!(&records.get(number).unwrap(), expected[number]);
                }
                let all: Vec<String> = records.iter().map(Result::unwrap).collect();
                prop_assert_eq!(all.iter().collect::<Vec<_>>(), expected.clone());
            }
        }
    }

    #[test]
    fn a_wrong_line_is_named_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        std::fs::write(&path, b"aa\n\xff\n").unwrap();
        let error = Records::open(&path, even).unwrap_err().to_string();
        assert!(error.ends_with("line 2: column 1: invalid UTF-8"), "{error}");
    }
}
