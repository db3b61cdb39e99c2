//! TrecRecords between an opening and a closing tag, wherever on a line these stand.

use crate::error::{DataError, Fault};
use crate::reading::lines::{Line, Lines, MAX_LINE};

/// What the records of a file are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `<DOC>`
    Documents,
    /// `<top>` or `<topic>`
    Topics,
}

impl Kind {
    fn tags(self) -> &'static [&'static str] {
        match self {
            Self::Documents => &["DOC"],
            Self::Topics => &["top", "topic"],
        }
    }

    /// Whether a record is in a tag of this name.
    pub(super) fn is_tag(self, name: &str) -> bool {
        self.tags().iter().any(|tag| tag.eq_ignore_ascii_case(name))
    }

    /// Whether a record begins in this line.
    pub(super) fn is_in(self, line: &[u8]) -> bool {
        let mut from = 0;
        while let Some(end) = self.find(line, from) {
            if !end.is_closing {
                return true;
            }
            from = end.after;
        }
        false
    }

    /// The first tag of a record in `line` from `from` on. It may go on in the next line.
    fn find(self, line: &[u8], from: usize) -> Option<End> {
        let places = (from..line.len()).filter(|&at| line[at] == b'<');
        let mut found = places.filter_map(|start| {
            let bare = &line[start + 1..];
            let is_closing = bare.starts_with(b"/");
            let bare = &bare[usize::from(is_closing)..];
            let name = bare.iter().position(|byte| byte.is_ascii_whitespace() || *byte == b'>');
            let name = &bare[..name.unwrap_or(bare.len())];
            let tag = self.tags().iter().find(|tag| name.eq_ignore_ascii_case(tag.as_bytes()))?;
            let length = line[start..].iter().position(|&byte| byte == b'>');
            let after = length.map_or(line.len(), |length| start + length + 1);
            Some(End { tag, is_closing, start, after })
        });
        found.next()
    }
}

/// The tag at either end of a record, in its line.
struct End {
    tag: &'static str,
    is_closing: bool,
    start: usize,
    after: usize,
}

/// The records of a file, one at a time: several may share a line, and what is around them is passed
/// over.
///
/// Memory is bounded by the longest record, and that by [`MAX_LINE`].
pub struct TrecRecords {
    kind: Kind,
    lines: Lines,
    /// Where reading goes on in the line read last, and its number.
    at: usize,
    number: u64,
    record: Vec<u8>,
    /// The tag and the line that began the record, while one is being read.
    begun: Option<(&'static str, u64)>,
    /// Whether the rest of a record that was given up is to be passed over.
    given_up: bool,
}

impl TrecRecords {
    /// The records in `lines`.
    pub fn new(kind: Kind, lines: Lines) -> Self {
        let (at, number, record) = (0, 0, Vec::new());
        Self { kind, lines, at, number, record, begun: None, given_up: false }
    }

    /// Bytes of the file read so far, as they lie on the disk.
    pub fn position(&self) -> u64 {
        self.lines.position()
    }

    /// The next record, its tags included, with the number of the line on which it begins.
    ///
    /// # Errors
    /// If the file cannot be read; [`Fault::CutOff`] for a record that another one or the file's end
    /// breaks off, or whose beginning is not there; or if it is longer than [`MAX_LINE`]. The records
    /// after a wrong one can be read.
    #[expect(clippy::should_implement_trait, reason = "a record borrows from the reader's buffer")]
    pub fn next(&mut self) -> Result<Option<Line<'_>>, DataError> {
        self.record.clear();
        loop {
            if self.at >= self.lines.last().len() && !self.next_line()? {
                return match self.begun.take() {
                    None => Ok(None),
                    Some((tag, line)) => Err(self.cut_off(format!("</{tag}>"), line)),
                };
            }
            let line = self.lines.last();
            let end = self.kind.find(line, self.at);
            match (self.begun, end) {
                (None, None) => self.at = line.len(),
                (None, Some(end)) if !end.is_closing => {
                    self.begun = Some((end.tag, self.number));
                    self.given_up = false;
                    self.record.extend_from_slice(&line[end.start..end.after]);
                    self.at = end.after;
                }
                (None, Some(end)) => {
                    self.at = end.after;
                    if !std::mem::take(&mut self.given_up) {
                        return Err(self.cut_off(format!("<{}>", end.tag), self.number));
                    }
                }
                (Some((tag, begun)), Some(end)) if !end.is_closing => {
                    // The next call begins with the record that broke this one off.
                    (self.at, self.begun) = (end.start, None);
                    return Err(self.cut_off(format!("</{tag}>"), begun));
                }
                (Some((_, begun)), end) => {
                    let is_whole = end.is_some();
                    let stop = end.map_or(line.len(), |end| end.after);
                    self.record.extend_from_slice(&line[self.at..stop]);
                    self.at = stop;
                    if self.record.len() > MAX_LINE {
                        (self.begun, self.given_up) = (None, !is_whole);
                        let fault = Fault::TooLong { limit: MAX_LINE };
                        return Err(self.error(fault, begun));
                    }
                    if is_whole {
                        self.begun = None;
                        return Ok(Some(Line { number: begun, bytes: &self.record }));
                    }
                }
            }
        }
    }

    /// Reads a line; false at the end of the file.
    fn next_line(&mut self) -> Result<bool, DataError> {
        if self.begun.is_some() {
            self.record.push(b'\n');
        }
        self.at = 0;
        match self.lines.next() {
            Ok(Some(line)) => {
                self.number = line.number;
                Ok(true)
            }
            Ok(None) => Ok(false),
            Err(error) => {
                // The line is lost, and with it the record that it is a part of.
                self.at = usize::MAX;
                self.given_up |= self.begun.take().is_some();
                Err(error)
            }
        }
    }

    fn cut_off(&self, missing: String, line: u64) -> DataError {
        self.error(Fault::CutOff { missing }, line)
    }

    fn error(&self, fault: Fault, line: u64) -> DataError {
        DataError::Record { path: self.lines.path().to_owned(), line, fault }
    }
}

#[cfg(test)]
mod tests {
    use std::{io::Cursor, path::Path};

    use super::*;

    /// Each record with its line, or what is wrong.
    fn read(kind: Kind, text: &[u8]) -> Vec<String> {
        let lines = Lines::new(Path::new("f"), Box::new(Cursor::new(text.to_vec())));
        let mut records = TrecRecords::new(kind, lines);
        let mut found = Vec::new();
        loop {
            match records.next() {
                Ok(None) => return found,
                Ok(Some(line)) => found.push(format!("{}: {}", line.number, line.text().unwrap())),
                Err(error) => found.push(error.to_string()),
            }
        }
    }

    #[test]
    fn records_are_found_wherever_they_stand() {
        let text =
            "<?xml?><all>\n<doc>a</doc> <Doc id=\"1\">b\r\n\r\nc</DOC ><DOC\n>\nd</DOC>\n</all>";
        assert_eq!(
            read(Kind::Documents, text.as_bytes()),
            ["2: <doc>a</doc>", "2: <Doc id=\"1\">b\nc</DOC >", "4: <DOC\n>\nd</DOC>"]
        );
        let text = "<topics><topic number=\"1\">a</topic><topic>b\n</topic></topics><top>c</top>";
        assert_eq!(
            read(Kind::Topics, text.as_bytes()),
            ["1: <topic number=\"1\">a</topic>", "1: <topic>b\n</topic>", "2: <top>c</top>"]
        );
        // Names that only begin alike are no ends.
        let text = "<DOC><DOCNO>1</DOCNO><DOCS></DOCS></DOC>";
        assert_eq!(read(Kind::Documents, text.as_bytes()), [format!("1: {text}")]);
        assert!(read(Kind::Documents, b"no record\n\n").is_empty());
    }

    #[test]
    fn a_record_cut_off_at_either_end_is_named_and_the_next_one_read() {
        let text = "rest</DOC>\n<DOC>a\n<DOC>b</DOC>\n</DOC>\n<DOC>c</DOC>\n\n<DOC>\ntorn off";
        assert_eq!(
            read(Kind::Documents, text.as_bytes()),
            [
                "`f`, line 1: the record is cut off: it has no `<DOC>`",
                "`f`, line 2: the record is cut off: it has no `</DOC>`",
                "3: <DOC>b</DOC>",
                "`f`, line 4: the record is cut off: it has no `<DOC>`",
                "5: <DOC>c</DOC>",
                "`f`, line 7: the record is cut off: it has no `</DOC>`",
            ]
        );
        let text = "<top>\n<num> 1\n<topic number=2>a</topic>";
        assert_eq!(
            read(Kind::Topics, text.as_bytes()),
            [
                "`f`, line 1: the record is cut off: it has no `</top>`",
                "3: <topic number=2>a</topic>",
            ]
        );
    }

    #[test]
    fn a_record_too_long_is_passed_over() {
        let too_long = format!("longer than {MAX_LINE} bytes");
        let after = b"</DOC><DOC>next</DOC>".as_slice();
        let half = vec![b'x'; MAX_LINE / 2 + 8];
        let lines = [b"<DOC>a</DOC>\n<DOC>".as_slice(), &half, b"\n", &half, b"\n", after].concat();
        assert_eq!(
            read(Kind::Documents, &lines),
            ["1: <DOC>a</DOC>", &format!("`f`, line 2: {too_long}"), "4: <DOC>next</DOC>"]
        );
        let line = vec![b'x'; MAX_LINE + 1];
        let lines = [b"<DOC>\n".as_slice(), &line, b"\n", after].concat();
        assert_eq!(
            read(Kind::Documents, &lines),
            [&format!("`f`, line 2: {too_long}"), "3: <DOC>next</DOC>"]
        );
    }
}
