//! Text in parts: a file or a text in memory, cut at line breaks, read by many threads.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::Path;

use crate::error::{EvalError, Result};

/// A byte order mark: no part of what is written.
const MARK: &str = "\u{feff}";

/// Bytes of a part: enough that a part costs nothing, few enough to stay in a processor's cache.
const PART: u64 = 512 << 10;

/// A text that is read in parts.
pub(crate) struct Source<'a> {
    /// Named in errors.
    path: &'a Path,
    content: Content<'a>,
    len: u64,
}

enum Content<'a> {
    /// Read as it is needed.
    File,
    Bytes(Cow<'a, [u8]>),
}

impl<'a> Source<'a> {
    /// The file `path`.
    pub(crate) fn open(path: &'a Path) -> Result<Self> {
        let failed = |source| EvalError::Read { path: path.to_owned(), source };
        let metadata = path.metadata().map_err(failed)?;
        if metadata.is_file() {
            return Ok(Self { path, content: Content::File, len: metadata.len() });
        }
        // A pipe can be read once, and does not say how long it is.
        let bytes = std::fs::read(path).map_err(failed)?;
        Ok(Self { path, len: bytes.len() as u64, content: Content::Bytes(bytes.into()) })
    }

    /// A text in memory, `path` in errors.
    pub(crate) fn text(path: &'a Path, text: &'a str) -> Self {
        let content = Content::Bytes(text.as_bytes().into());
        Self { path, content, len: text.len() as u64 }
    }

    pub(crate) fn path(&self) -> &Path {
        self.path
    }

    /// Where the text starts, after a byte order mark, and its first line.
    pub(crate) fn first_line(&self) -> Result<(u64, String)> {
        let mut bytes = Vec::new();
        self.append(0..PART.min(self.len), &mut bytes)?;
        let compression = match bytes[..] {
            [0x1F, 0x8B, ..] => Some("gzip"),
            [0x28, 0xB5, 0x2F, 0xFD, ..] => Some("zstd"),
            _ => None,
        };
        if let Some(compression) = compression {
            return Err(EvalError::Compressed { path: self.path.to_owned(), compression });
        }
        let start = if bytes.starts_with(MARK.as_bytes()) { MARK.len() } else { 0 };
        let line = bytes[start..].split(|&byte| byte == b'\n').next().unwrap_or_default();
        // Bytes that are no text are refused when the line is read.
        Ok((start as u64, String::from_utf8_lossy(line).into_owned()))
    }

    /// The ranges to read one by one, from byte `from` on.
    pub(crate) fn parts(&self, from: u64) -> Vec<Range<u64>> {
        // No more parts than a table can number.
        let size = PART.max(self.len >> 15);
        let mut parts = Vec::new();
        let mut start = from;
        while start < self.len {
            let end = (start + size).min(self.len);
            parts.push(start..end);
            start = end;
        }
        parts
    }

    /// The lines that start in `range`, a part of the text from byte `from` on, and where the first
    /// of them starts.
    pub(crate) fn lines_in<'b>(
        &self,
        from: u64,
        range: Range<u64>,
        buffer: &'b mut Vec<u8>,
    ) -> Result<(u64, &'b str)> {
        // The byte before says whether a line starts with the range.
        let first = if range.start > from { range.start - 1 } else { range.start };
        buffer.clear();
        self.append(first..range.end, buffer)?;
        let last = buffer.len() - 1;
        let cut = match memchr::memchr(b'\n', buffer) {
            _ if first == range.start => 0,
            Some(at) if at < last => at + 1,
            _ => return Ok((range.end, "")),
        };
        // The last line may go on beyond the range.
        let mut end = range.end;
        let stop = loop {
            if let Some(at) = memchr::memchr(b'\n', &buffer[last..]) {
                break last + at + 1;
            }
            if end == self.len {
                break buffer.len();
            }
            let more = (end + buffer.len().max(4096) as u64).min(self.len);
            self.append(end..more, buffer)?;
            end = more;
        };
        let start = first + cut as u64;
        match std::str::from_utf8(&buffer[cut..stop]) {
            Ok(text) => Ok((start, text)),
            Err(error) => Err(EvalError::Utf8 {
                path: self.path.to_owned(),
                line: self.line_at(start + error.valid_up_to() as u64)?,
            }),
        }
    }

    /// The line that holds byte `offset`, counted from 1.
    pub(crate) fn line_at(&self, offset: u64) -> Result<usize> {
        let mut buffer = Vec::new();
        let mut line = 1;
        for part in self.parts(0).into_iter().take_while(|part| part.start < offset) {
            buffer.clear();
            self.append(part.start..part.end.min(offset), &mut buffer)?;
            line += memchr::memchr_iter(b'\n', &buffer).count();
        }
        Ok(line)
    }

    /// The first two lines, counted from 1, that are `wanted`, in the text from byte `from` on.
    pub(crate) fn find_two(&self, from: u64, wanted: impl Fn(&str) -> bool) -> Result<[usize; 2]> {
        let mut buffer = Vec::new();
        let mut found = Vec::new();
        for part in self.parts(from) {
            let (start, text) = self.lines_in(from, part, &mut buffer)?;
            for line in lines(text).filter(|line| wanted(line)) {
                found.push(start + (line.as_ptr() as usize - text.as_ptr() as usize) as u64);
                if let [first, second] = found[..] {
                    return Ok([self.line_at(first)?, self.line_at(second)?]);
                }
            }
        }
        let source = io::Error::other("it changed while it was read");
        Err(EvalError::Read { path: self.path.to_owned(), source })
    }

    /// Appends the bytes of `range`.
    fn append(&self, range: Range<u64>, buffer: &mut Vec<u8>) -> Result<()> {
        let old = buffer.len();
        let added = usize::try_from(range.end - range.start).expect("a part fits memory");
        match &self.content {
            Content::Bytes(bytes) => {
                let start = usize::try_from(range.start).expect("the bytes are in memory");
                buffer.extend_from_slice(&bytes[start..start + added]);
                Ok(())
            }
            Content::File => {
                buffer.resize(old + added, 0);
                let mut read = || {
                    let mut file = File::open(self.path)?;
                    file.seek(SeekFrom::Start(range.start))?;
                    file.read_exact(&mut buffer[old..])
                };
                read().map_err(|source| EvalError::Read { path: self.path.to_owned(), source })
            }
        }
    }
}

/// The lines of `text` without their ends, blank ones left out.
pub(crate) fn lines(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        while !rest.is_empty() {
            let end = memchr::memchr(b'\n', rest.as_bytes()).unwrap_or(rest.len());
            let line = &rest[..end];
            rest = rest.get(end + 1..).unwrap_or("");
            if line.bytes().any(|byte| !byte.is_ascii_whitespace()) {
                return Some(line);
            }
        }
        None
    })
}

/// The columns of a line, between ASCII white space, if there are `N`.
///
/// Eight bytes are looked at together, as this runs over every byte of every file.
pub(crate) fn columns<const N: usize>(line: &str) -> Option<[&str; N]> {
    const ONES: u64 = 0x0101_0101_0101_0101;
    let bytes = line.as_bytes();
    let (mut found, mut count, mut start) = ([""; N], 0, 0);
    for offset in (0..bytes.len()).step_by(8) {
        let word = match bytes[offset..].first_chunk::<8>() {
            Some(&word) => word,
            None => std::array::from_fn(|at| bytes.get(offset + at).copied().unwrap_or(b'.')),
        };
        let word = u64::from_le_bytes(word);
        // The high bit of every byte below 0x21, and perhaps of one above such a byte.
        let mut low = word.wrapping_sub(0x21 * ONES) & !word & (0x80 * ONES);
        while low != 0 {
            let end = offset + low.trailing_zeros() as usize / 8;
            low &= low - 1;
            if bytes[end].is_ascii_whitespace() {
                if start < end {
                    *found.get_mut(count)? = &line[start..end];
                    count += 1;
                }
                start = end + 1;
            }
        }
    }
    if start < bytes.len() {
        *found.get_mut(count)? = &line[start..];
        count += 1;
    }
    (count == N).then_some(found)
}

/// A small file's text.
pub(crate) fn read_text(path: &Path) -> Result<String> {
    let failed = |source| EvalError::Read { path: path.to_owned(), source };
    let bytes = std::fs::read(path).map_err(failed)?;
    String::from_utf8(bytes).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        let line = 1 + memchr::memchr_iter(b'\n', &error.as_bytes()[..valid]).count();
        EvalError::Utf8 { path: path.to_owned(), line }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_what_std_splits() {
        let bytes = *b"a!~.\0\x01\x0b\x1f  \t\r\x0c";
        for seed in 0..5000 {
            let byte = |at| bytes[(crate::random::word(seed, at, 0) % bytes.len() as u64) as usize];
            let mut line: String = (0..seed % 40).map(|at| byte(at) as char).collect();
            if seed % 7 == 0 {
                line.push_str("\u{e9}\u{2003}!");
            }
            let expected: Vec<&str> = line.split_ascii_whitespace().collect();
            assert_eq!(
                columns::<3>(&line).map(|found| found.to_vec()),
                (expected.len() == 3).then_some(expected.clone()),
                "{line:?}"
            );
            assert_eq!(
                columns::<6>(&line).map(|found| found.to_vec()),
                (expected.len() == 6).then_some(expected),
                "{line:?}"
            );
        }
    }

    #[test]
    fn parts_cut_anywhere_give_every_line_once() {
        let text = "a\n\nbcd\ne\n\n\nlonger than its part\nf";
        let source = Source::text(Path::new("t"), text);
        let expected: Vec<&str> = text.split('\n').filter(|line| !line.is_empty()).collect();
        let len = text.len() as u64;
        for from in [0, 2, 3] {
            let expected = if from == 0 { &expected[..] } else { &expected[1..] };
            for size in 1..=len {
                let mut found = Vec::new();
                let mut start = from;
                while start < len {
                    let range = start..(start + size).min(len);
                    let mut buffer = Vec::new();
                    let (at, part) = source.lines_in(from, range.clone(), &mut buffer).unwrap();
                    assert_eq!(part, &text[at as usize..][..part.len()]);
                    found.extend(lines(part).map(str::to_owned));
                    start = range.end;
                }
                assert_eq!(found, expected, "parts of {size} from {from}");
            }
        }
    }
}
