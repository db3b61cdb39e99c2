//! Records of comma-separated values, or of values that something else separates.

use csv_core::{ReadFieldResult, Reader, ReaderBuilder, Terminator};

use super::roles::ColumnNames;
use crate::error::{DataError, Fault};
use crate::reading::lines::{Line, Lines};

/// What may separate columns.
const DELIMITERS: [u8; 4] = [b',', b';', b'\t', b'|'];

/// Reads records of several fields.
#[derive(Debug)]
pub struct RecordReader {
    delimiter: u8,
    reader: Reader,
    /// Bytes of the record that the reader has seen.
    scanned: usize,
}

impl RecordReader {
    /// For records whose fields this byte separates.
    pub fn new(delimiter: u8) -> Self {
        let mut builder = ReaderBuilder::new();
        builder.delimiter(delimiter).terminator(Terminator::Any(b'\n'));
        Self { delimiter, reader: builder.build(), scanned: 0 }
    }

    /// By the delimiter that gives a header the most columns whose names say something, or else the most
    /// columns; where two are alike, by the one that the file's name promises.
    pub(super) fn of(header: &[u8], promised: u8, names: &ColumnNames) -> Self {
        let line = Line { number: 1, bytes: header };
        let candidates = [promised].into_iter().chain(DELIMITERS).map(Self::new);
        let rated = candidates.map(|mut reader| {
            let fields = reader.fields(line).unwrap_or_default();
            ((names.known_among(&fields), fields.len()), reader)
        });
        // The first of the best.
        let best = rated.reduce(|best, next| if next.0 > best.0 { next } else { best });
        best.map_or_else(|| Self::new(promised), |(_, reader)| reader)
    }

    /// What separates fields.
    pub fn delimiter(&self) -> char {
        self.delimiter.into()
    }

    /// The next record of a file: a line end inside quotes does not end it.
    ///
    /// # Errors
    /// As [`Lines::next`].
    pub fn next<'l>(&mut self, lines: &'l mut Lines) -> Result<Option<Line<'l>>, DataError> {
        self.begin();
        lines.next_until(|bytes| self.is_complete(bytes))
    }

    /// Ready for a record.
    pub(super) fn begun(mut self) -> Self {
        self.begin();
        self
    }

    fn begin(&mut self) {
        self.reader.reset();
        self.scanned = 0;
        // What begins a record is content, even if it looks like a byte order mark.
        self.reader.read_field(b"\n", &mut [0]);
    }

    /// Whether a record with these bytes, grown by a line since the last call, is complete.
    pub(super) fn is_complete(&mut self, bytes: &[u8]) -> bool {
        let mut rest = &bytes[self.scanned..];
        if self.scanned > 0 {
            // The line end before this line, which was read when it was not known to be inside quotes.
            let trimmed = rest.strip_prefix(b"\r").unwrap_or(rest);
            rest = trimmed.strip_prefix(b"\n").unwrap_or(trimmed);
        }
        self.scanned = bytes.len();
        let mut nothing = [0; 256];
        while !rest.is_empty() {
            let (_, read, _) = self.reader.read_field(rest, &mut nothing);
            rest = &rest[read..];
        }
        let (result, ..) = self.reader.read_field(b"\n", &mut nothing);
        matches!(result, ReadFieldResult::Field { .. })
    }

    /// The fields of a record: a field in quotes loses them, and two quotes inside it are one.
    ///
    /// # Errors
    /// [`Fault::Utf8`] if the record is not text, [`Fault::OpenQuote`] if it ends inside quotes.
    pub fn fields(&mut self, line: Line<'_>) -> Result<Vec<String>, Fault> {
        self.begin();
        let text = format!("{}\n", line.text()?);
        let mut rest = text.as_bytes();
        let mut field = vec![0; rest.len()];
        let mut fields = Vec::new();
        loop {
            let (result, read, written) = self.reader.read_field(rest, &mut field);
            let ReadFieldResult::Field { record_end } = result else {
                return Err(Fault::OpenQuote);
            };
            let field = field[..written].to_vec();
            fields.push(String::from_utf8(field).expect("text, cut at bytes of ASCII"));
            if record_end {
                return Ok(fields);
            }
            rest = &rest[read..];
        }
    }
}
