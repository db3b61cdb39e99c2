//! Lines of a file, plain or compressed, in bounded memory.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use flate2::bufread::MultiGzDecoder;
use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

use crate::error::{DataError, Fault};
use crate::reading::encoding::{Encoding, UNDECODABLE, looks_like_windows_1252};
use crate::reading::signature::Signature;

/// No record is longer than this, in bytes: a longer line is a fault, not a reason to fill the memory.
pub const MAX_LINE: usize = 64 << 20;

/// What a record may hold beside [`MAX_LINE`] bytes (a byte order mark and a line end), and a byte more:
/// who holds that is too long.
const BESIDE: usize = 3 + 2 + 1;

/// UTF-8's byte order mark.
const MARK: &[u8] = b"\xEF\xBB\xBF";

const BUFFER: usize = 256 << 10;

/// The compression of a file, told by the end of its name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compression {
    /// None.
    #[default]
    Plain,
    /// `.gz`
    Gzip,
    /// `.zst`
    Zstd,
}

impl Compression {
    /// All of them, in the order in which files are looked for.
    pub const ALL: [Self; 3] = [Self::Plain, Self::Gzip, Self::Zstd];

    /// What it adds to a file's name.
    pub fn suffix(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Gzip => ".gz",
            Self::Zstd => ".zst",
        }
    }

    /// The compression that a path's name stands for.
    pub fn of(path: &Path) -> Self {
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("gz") => Self::Gzip,
            Some("zst") => Self::Zstd,
            _ => Self::Plain,
        }
    }
}

/// Opens a file for reading, decompressing it by its name.
///
/// # Errors
/// If it cannot be opened, or is compressed and not named so.
pub fn open(path: &Path) -> Result<Box<dyn BufRead + Send>, DataError> {
    open_counted(path, Arc::default(), |_| false)
}

/// As [`open`], for text in the encoding that its byte order mark says or else in `encoding`; what is
/// read is UTF-8, without a mark.
pub(crate) fn open_decoded(
    path: &Path,
    encoding: Option<Encoding>,
) -> Result<Box<dyn BufRead + Send>, DataError> {
    open_decoded_counted(path, encoding, Arc::default())
}

fn open_decoded_counted(
    path: &Path,
    encoding: Option<Encoding>,
    count: Arc<AtomicU64>,
) -> Result<Box<dyn BufRead + Send>, DataError> {
    let told = |start: &[u8]| Encoding::of_mark(start).or(encoding);
    let is_utf_16 = |start: &[u8]| told(start).is_some_and(Encoding::is_utf_16);
    let mut reader = open_counted(path, count, is_utf_16)?;
    let start = reader.fill_buf();
    let start = start.map_err(|source| DataError::Read { path: path.to_owned(), source })?;
    let (encoding, has_mark) = (told(start), start.starts_with(MARK));
    if has_mark {
        reader.consume(MARK.len());
    }
    Ok(match encoding {
        Some(encoding) => encoding.decode(reader),
        None => reader,
    })
}

/// As [`open`]; `count` grows with the bytes of the file itself as they are read: what a progress bar
/// can compare with the file's length. `is_utf_16` says of a file's beginning whether it is known to be
/// in UTF-16.
fn open_counted(
    path: &Path,
    count: Arc<AtomicU64>,
    is_utf_16: impl Fn(&[u8]) -> bool,
) -> Result<Box<dyn BufRead + Send>, DataError> {
    let file = File::open(path).map_err(|source| DataError::opening(path, source))?;
    let mut file = BufReader::with_capacity(BUFFER, Counted { reader: file, count });
    let compression = Compression::of(path);
    let start = file.fill_buf();
    let start = start.map_err(|source| DataError::Read { path: path.to_owned(), source })?;
    match Signature::of(start) {
        Some(Signature::Utf16) if is_utf_16(start) => Ok(decompress(file, compression)),
        Some(kind) if compression == Compression::Plain => {
            Err(DataError::NotText { path: path.to_owned(), kind })
        }
        _ => Ok(decompress(file, compression)),
    }
}

/// The decompressed bytes of a reader: every member of a gzip file, every frame of a zstd file.
pub fn decompress(
    reader: impl BufRead + Send + 'static,
    compression: Compression,
) -> Box<dyn BufRead + Send> {
    match compression {
        Compression::Plain => Box::new(reader),
        Compression::Gzip => {
            Box::new(BufReader::with_capacity(BUFFER, MultiGzDecoder::new(reader)))
        }
        Compression::Zstd => Box::new(BufReader::with_capacity(BUFFER, ZstdFrames::new(reader))),
    }
}

/// A reader that counts the bytes read.
struct Counted<R> {
    reader: R,
    count: Arc<AtomicU64>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let read = self.reader.read(out)?;
        self.count.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

/// All frames of a zstd stream, one after the other.
struct ZstdFrames<R> {
    decoder: FrameDecoder,
    source: R,
    inside: bool,
}

impl<R> ZstdFrames<R> {
    fn new(source: R) -> Self {
        Self { decoder: FrameDecoder::new(), source, inside: false }
    }
}

impl<R: BufRead> ZstdFrames<R> {
    /// Moves to the next frame; false at the end of the stream.
    fn enter_frame(&mut self) -> io::Result<bool> {
        while !self.source.fill_buf()?.is_empty() {
            match self.decoder.init(&mut self.source) {
                Ok(()) => {
                    self.inside = true;
                    return Ok(true);
                }
                Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame {
                    length,
                    ..
                })) => {
                    io::copy(&mut self.source.by_ref().take(length.into()), &mut io::sink())?;
                }
                Err(error) => return Err(io::Error::other(error)),
            }
        }
        Ok(false)
    }

    /// Compares the checksum that the finished frame carries with its content's.
    fn leave_frame(&mut self) -> io::Result<()> {
        self.inside = false;
        match self.decoder.get_checksum_from_data() {
            Some(stored) if Some(stored) != self.decoder.get_calculated_checksum() => {
                Err(io::Error::new(io::ErrorKind::InvalidData, "the zstd checksum does not match"))
            }
            _ => Ok(()),
        }
    }
}

impl<R: BufRead> Read for ZstdFrames<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if out.is_empty() {
            return Ok(0);
        }
        loop {
            if !self.inside && !self.enter_frame()? {
                return Ok(0);
            }
            while self.decoder.can_collect() == 0 && !self.decoder.is_finished() {
                self.decoder
                    .decode_blocks(&mut self.source, BlockDecodingStrategy::UptoBlocks(1))
                    .map_err(io::Error::other)?;
            }
            let read = self.decoder.read(out)?;
            if read > 0 {
                return Ok(read);
            }
            self.leave_frame()?;
        }
    }
}

/// The lines of a file, one at a time, without their line ends.
///
/// Memory is bounded by the longest line, and that by [`MAX_LINE`]. A byte order mark at the start is
/// left out; `\r\n` ends a line as `\n` does; empty lines are counted and passed over.
pub struct Lines {
    path: PathBuf,
    reader: Box<dyn BufRead + Send>,
    buffer: Vec<u8>,
    /// The number of the line read last.
    number: u64,
    /// The number of the record's first line.
    first: u64,
    /// Where the record read last begins, and where the reader stands, in decompressed bytes.
    start: u64,
    consumed: u64,
    /// Bytes before the reader's beginning, if their lines are not counted yet.
    uncounted: Option<u64>,
    /// Whether the line read last was too long, and its rest is still to be passed over.
    broken_off: bool,
    count: Arc<AtomicU64>,
}

/// One line of a file.
#[derive(Clone, Copy, Debug)]
pub struct Line<'a> {
    /// Its number, counted from 1; of a record of several lines, the first.
    pub number: u64,
    /// Its bytes, at least one.
    pub bytes: &'a [u8],
}

impl<'a> Line<'a> {
    /// The line as text.
    ///
    /// # Errors
    /// [`Fault::Utf8`] with the first wrong byte, or [`Fault::Undecodable`].
    pub fn text(&self) -> Result<&'a str, Fault> {
        std::str::from_utf8(self.bytes).map_err(|error| {
            let column = error.valid_up_to() + 1;
            if self.bytes[column - 1..].starts_with(&UNDECODABLE) {
                return Fault::Undecodable { column };
            }
            Fault::Utf8 { column, is_windows_1252: looks_like_windows_1252(self.bytes) }
        })
    }
}

impl Lines {
    /// Opens a file, plain, `.gz` or `.zst`.
    ///
    /// # Errors
    /// As [`open`].
    pub fn open(path: &Path) -> Result<Self, DataError> {
        let count = Arc::default();
        let reader = open_counted(path, Arc::clone(&count), |_| false)?;
        Ok(Self { count, ..Self::new(path, reader) })
    }

    /// As [`Lines::open`], for text in the encoding that its byte order mark says or else in `encoding`.
    pub(crate) fn open_decoded(path: &Path, encoding: Option<Encoding>) -> Result<Self, DataError> {
        let count = Arc::default();
        let reader = open_decoded_counted(path, encoding, Arc::clone(&count))?;
        Ok(Self { count, ..Self::new(path, reader) })
    }

    /// As [`Lines::open`], of a plain file, from the first line that begins at the byte `start` or
    /// behind it. What is before it is not read, so that numbers are wrong until
    /// [`count_before`](Self::count_before).
    ///
    /// # Errors
    /// As [`Lines::open`].
    pub fn open_at(path: &Path, start: u64) -> Result<Self, DataError> {
        let lines = Self::open(path)?;
        if start == 0 {
            return Ok(lines);
        }
        // A line begins behind a line end, so the byte before `start` decides.
        let before = start - 1;
        let open = || {
            let mut file = File::open(path)?;
            file.seek(SeekFrom::Start(before))?;
            Ok(BufReader::with_capacity(BUFFER, file))
        };
        let reader = open().map_err(|source| DataError::opening(path, source))?;
        Ok(Self {
            consumed: before,
            uncounted: Some(before),
            broken_off: true,
            ..Self::new(path, Box::new(reader))
        })
    }

    /// Whether numbers of lines are counted from the file's beginning.
    pub fn is_counted(&self) -> bool {
        self.uncounted.is_none()
    }

    /// Counts the lines before those of [`open_at`](Self::open_at), by reading them: the record read
    /// last, and those to come, have their numbers in the file then.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn count_before(&mut self) -> Result<(), DataError> {
        let Some(bytes) = self.uncounted else { return Ok(()) };
        let count = || {
            let mut before = BufReader::with_capacity(BUFFER, File::open(&self.path)?.take(bytes));
            // The line that was passed over is one.
            let mut lines = 1;
            loop {
                let bytes = before.fill_buf()?;
                if bytes.is_empty() {
                    return Ok(lines);
                }
                lines += memchr::memchr_iter(b'\n', bytes).count() as u64;
                let length = bytes.len();
                before.consume(length);
            }
        };
        let lines =
            count().map_err(|source| DataError::Read { path: self.path.clone(), source })?;
        self.uncounted = None;
        self.number += lines;
        self.first += lines;
        Ok(())
    }

    /// The lines of any reader; `path` is what errors name.
    pub fn new(path: &Path, reader: Box<dyn BufRead + Send>) -> Self {
        let (buffer, count) = (Vec::new(), Arc::default());
        let (number, first, start, consumed, uncounted, broken_off) = (0, 0, 0, 0, None, false);
        let path = path.to_owned();
        Self { path, reader, buffer, number, first, start, consumed, uncounted, broken_off, count }
    }

    /// The file that errors name.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Bytes of the file read so far, as they lie on the disk; 0 for any other reader.
    pub fn position(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// Where the record read last lies, its line end included, in decompressed bytes.
    pub fn place(&self) -> Range<u64> {
        self.start..self.consumed
    }

    /// The bytes of the record read last.
    pub fn last(&self) -> &[u8] {
        &self.buffer
    }

    /// The record read last, with its number as it is known now.
    pub fn last_line(&self) -> Line<'_> {
        Line { number: self.first, bytes: &self.buffer }
    }

    /// The next line that is not empty.
    ///
    /// # Errors
    /// If the file cannot be read, or the line is longer than [`MAX_LINE`].
    #[expect(clippy::should_implement_trait, reason = "a line borrows from the reader's buffer")]
    pub fn next(&mut self) -> Result<Option<Line<'_>>, DataError> {
        self.next_until(|_| true)
    }

    /// The next lines that are not empty, joined until `complete` says so or the file ends: records of
    /// several lines. `complete` is called once after each line, with all lines so far (the line
    /// ends between them included).
    ///
    /// # Errors
    /// As [`Lines::next`]; the limit is on the whole record.
    pub fn next_until(
        &mut self,
        mut complete: impl FnMut(&[u8]) -> bool,
    ) -> Result<Option<Line<'_>>, DataError> {
        self.pass_rest_of_line()?;
        self.buffer.clear();
        loop {
            // At least a byte: what was read before is a record that is not too long, and its line end.
            let room = (MAX_LINE + BESIDE - self.buffer.len()) as u64;
            let is_first = self.buffer.is_empty();
            let read = self.reader.by_ref().take(room).read_until(b'\n', &mut self.buffer);
            let read =
                read.map_err(|source| DataError::Read { path: self.path.clone(), source })?;
            if read == 0 {
                break;
            }
            self.number += 1;
            if is_first {
                (self.first, self.start) = (self.number, self.consumed);
            }
            self.consumed += read as u64;
            if self.consumed == read as u64 && self.buffer.starts_with(MARK) {
                self.buffer.drain(..MARK.len());
            }
            let end = trimmed(&self.buffer);
            if end > MAX_LINE {
                self.broken_off = self.buffer.last() != Some(&b'\n');
                let limit = MAX_LINE;
                return Err(self.fault(Fault::TooLong { limit }));
            }
            if end == 0 {
                self.buffer.clear();
                continue;
            }
            if complete(&self.buffer[..end]) {
                break;
            }
        }
        self.buffer.truncate(trimmed(&self.buffer));
        if self.buffer.is_empty() {
            return Ok(None);
        }
        Ok(Some(Line { number: self.first, bytes: &self.buffer }))
    }

    /// Passes over what is left of a line that was too long.
    fn pass_rest_of_line(&mut self) -> Result<(), DataError> {
        while self.broken_off {
            self.buffer.clear();
            let mut some = self.reader.by_ref().take(1 << 20);
            let read = some.read_until(b'\n', &mut self.buffer);
            let read =
                read.map_err(|source| DataError::Read { path: self.path.clone(), source })?;
            self.consumed += read as u64;
            self.broken_off = read > 0 && self.buffer.last() != Some(&b'\n');
        }
        Ok(())
    }

    /// The error that the record read last has this fault, with the number of its first line.
    pub fn fault(&self, fault: Fault) -> DataError {
        DataError::Record { path: self.path.clone(), line: self.first, fault }
    }
}

/// Length without the line end.
fn trimmed(bytes: &[u8]) -> usize {
    let bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    bytes.strip_suffix(b"\r").unwrap_or(bytes).len()
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn lines_of(name: &str, bytes: &[u8]) -> Result<Vec<(u64, String)>, DataError> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        let mut lines = Lines::open(&path)?;
        let mut all = Vec::new();
        while let Some(line) = lines.next()? {
            all.push((line.number, line.text().unwrap().to_owned()));
        }
        Ok(all)
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn zstd(bytes: &[u8]) -> Vec<u8> {
        ruzstd::encoding::compress_to_vec(bytes, ruzstd::encoding::CompressionLevel::Fastest)
    }

    #[test]
    fn line_ends_marks_and_empty_lines_are_not_content() {
        let lines = lines_of("a.txt", b"\xEF\xBB\xBFone\r\n\n\r\ntwo\nthree").unwrap();
        let expected = [(1, "one"), (4, "two"), (5, "three")];
        assert_eq!(lines, expected.map(|(n, s)| (n, s.to_owned())));
    }

    #[test]
    fn lines_from_any_byte_are_those_that_begin_there_or_behind() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.txt");
        let text = b"\xEF\xBB\xBFone\n\r\n\ntwo\r\nthree\n\nfour";
        std::fs::write(&path, text).unwrap();
        let mut lines = Lines::open(&path).unwrap();
        let mut all = Vec::new();
        while let Some(line) = lines.next().unwrap() {
            let found = (line.number, line.text().unwrap().to_owned());
            all.push((lines.place().start, found));
        }
        assert_eq!(all.len(), 4);
        for start in 0..=text.len() as u64 + 3 {
            for counts_at in 0..3 {
                let mut lines = Lines::open_at(&path, start).unwrap();
                let expected: Vec<_> = all.iter().filter(|(at, _)| *at >= start).collect();
                for (at, (place, found)) in expected.iter().enumerate() {
                    if at == counts_at {
                        lines.count_before().unwrap();
                    }
                    lines.next().unwrap().unwrap();
                    assert_eq!(lines.place().start, *place);
                    assert_eq!(lines.last_line().text().unwrap(), found.1);
                    if lines.is_counted() {
                        assert_eq!(lines.last_line().number, found.0, "{start}");
                    }
                }
                assert!(lines.next().unwrap().is_none(), "{start}");
            }
        }
    }

    #[test]
    fn every_member_and_frame_is_read() {
        let whole = [(1, "one".to_owned()), (2, "two".to_owned())];
        assert_eq!(lines_of("a.gz", &[gzip(b"one\n"), gzip(b"two\n")].concat()).unwrap(), whole);
        let skippable = [&0x184D_2A50_u32.to_le_bytes()[..], &3_u32.to_le_bytes(), b"xyz"].concat();
        let frames = [zstd(b"one\n"), skippable, zstd(b""), zstd(b"two\n")].concat();
        assert_eq!(lines_of("a.zst", &frames).unwrap(), whole);
    }

    #[test]
    fn torn_archives_are_errors() {
        let text = "some line or other\n".repeat(5000);
        for (name, archive) in [("a.gz", gzip(text.as_bytes())), ("a.zst", zstd(text.as_bytes()))] {
            let error = lines_of(name, &archive[..archive.len() - 6]).unwrap_err();
            assert!(matches!(error, DataError::Read { .. }), "{name}: {error}");
        }
    }

    #[test]
    fn a_line_without_end_is_refused_in_bounded_memory() {
        let path = Path::new("endless");
        let mut lines = Lines::new(path, Box::new(BufReader::new(io::repeat(b'x'))));
        assert!(matches!(
            lines.next(),
            Err(DataError::Record { line: 1, fault: Fault::TooLong { .. }, .. })
        ));
    }

    #[test]
    fn the_longest_record_is_read_whole_and_a_longer_one_refused() {
        let mark = b"\xEF\xBB\xBF".as_slice();
        for end in ["\n", "\r\n"] {
            // Two lines of a record; and, before and after it, one line of the same length.
            let half = [vec![b'a'; MAX_LINE / 2], end.into()].concat();
            let rest = vec![b'b'; MAX_LINE - half.len()];
            let record = [half, rest].concat();
            let line = vec![b'c'; MAX_LINE];
            let end = end.as_bytes();
            let text = [mark, &line, end, &record, end, b".", end, &line, end, b"last"].concat();
            let mut lines = Lines::new(Path::new("long"), Box::new(io::Cursor::new(text)));
            assert_eq!(lines.next().unwrap().unwrap().bytes.len(), MAX_LINE);
            let mut calls = 0;
            let mut second = |_: &[u8]| {
                calls += 1;
                calls == 2
            };
            let found = lines.next_until(&mut second).unwrap().unwrap();
            assert_eq!((found.number, found.bytes.len()), (2, MAX_LINE));
            assert_eq!(lines.next().unwrap().unwrap().bytes, b".");
            assert_eq!(lines.next().unwrap().unwrap().number, 5);
            assert_eq!(lines.next().unwrap().unwrap().bytes, b"last");

            // The same with a third line that does not end it: longer than it may be, not unfinished.
            let text = [&record, end, b".", end, b"last"].concat();
            let mut lines = Lines::new(Path::new("long"), Box::new(io::Cursor::new(text)));
            let error = lines.next_until(|_| false).err().unwrap();
            let fault = Fault::TooLong { limit: MAX_LINE };
            assert_eq!(error.to_string(), lines.fault(fault).to_string());
            assert!(error.to_string().starts_with("`long`, line 1: longer than"), "{error}");
            assert_eq!(lines.next().unwrap().unwrap().bytes, b"last");
        }
        // One byte too many, with or without a mark, is no line and a rest.
        for mark in [mark, b""] {
            let text = [mark, &vec![b'c'; MAX_LINE + 1], b"\nlast"].concat();
            let mut lines = Lines::new(Path::new("long"), Box::new(io::Cursor::new(text)));
            lines.next().unwrap_err();
            assert_eq!(lines.next().unwrap().unwrap().bytes, b"last");
        }
    }

    #[test]
    fn a_fault_is_on_the_first_line_of_its_record() {
        let text = "\n\none\ntwo.\n\nthree\nfour.\n";
        let mut lines = Lines::new(Path::new("a"), Box::new(io::Cursor::new(text)));
        for expected in [3, 6] {
            let record = lines.next_until(|bytes| bytes.ends_with(b".")).unwrap().unwrap();
            assert_eq!(record.number, expected);
            let error = lines.fault(Fault::EmptyField { field: "text" });
            assert!(matches!(error, DataError::Record { line, .. } if line == expected));
        }
    }

    #[test]
    fn compressed_bytes_under_a_plain_name_are_named() {
        for (bytes, suffix) in [(gzip(b"one\n"), ".gz"), (zstd(b"one\n"), ".zst")] {
            let error = lines_of("a.txt", &bytes).unwrap_err();
            assert!(matches!(&error, DataError::NotText { .. }), "{error}");
            let hint = error.hint().unwrap();
            assert!(hint.contains(&format!("end in `{suffix}`")), "{hint}");
            assert_eq!(lines_of(&format!("a{suffix}"), &bytes).unwrap(), [(1, "one".to_owned())]);
        }
        assert_eq!(lines_of("a", b"\x1f").unwrap(), [(1, "\x1f".to_owned())]);
        assert_eq!(lines_of("a", b"").unwrap(), []);
    }

    #[test]
    fn the_line_after_one_too_long_is_read() {
        let text = [vec![b'x'; 2 * MAX_LINE + 5], b"\nnext\n".to_vec()].concat();
        let mut lines = Lines::new(Path::new("long"), Box::new(io::Cursor::new(text)));
        assert!(lines.next().is_err());
        assert_eq!(lines.next().unwrap().unwrap().bytes, b"next");
    }

    #[test]
    fn a_missing_file_names_its_neighbour() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("corpus.jsonl"), "").unwrap();
        let error = Lines::open(&dir.path().join("corpus.json")).err().unwrap();
        assert!(error.hint().unwrap().contains("corpus.jsonl"), "{:?}", error.hint());
    }
}
