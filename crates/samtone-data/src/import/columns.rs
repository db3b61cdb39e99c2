//! The columns of sentence-transformers: the first is the anchor (the query), the second its positive,
//! any further ones negatives, whatever their names. JSON lines, CSV and TSV with a header, or Parquet
//! (with the feature `parquet`).
//!
//! A column `label` with 0 and 1 (what its miner calls labeled pairs) says whether the second column
//! is a positive or a negative; other label or score columns are refused.

#[cfg(feature = "parquet")]
mod parquet;

use std::{
    borrow::Cow,
    fmt,
    io::{self, Write},
    path::{Path, PathBuf},
};

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
    ser::SerializeMap,
};

use super::{
    example::{self, Example, Passage},
    sink::{Failure, Sink},
};
use crate::{
    error::{DataError, Fault},
    json::{self, Text},
    lines::{Line, Lines},
};

/// Names of columns that hold no text.
const LABELS: [&str; 4] = ["label", "labels", "score", "scores"];

/// A row: names and values of the columns, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row<'a>(pub Vec<(Cow<'a, str>, Cow<'a, str>)>);

impl<'a> Row<'a> {
    /// The example that the columns make. A labelled pair that is not relevant makes one with a negative
    /// and no positive.
    ///
    /// # Errors
    /// A [`Fault`] if there are fewer than two columns of text, or a label other than 0 and 1.
    pub fn into_example(self) -> Result<Example<'a>, Fault> {
        let negative = self.is_negative()?;
        let got = self.0.len();
        let texts = self.0.into_iter().filter(|(name, _)| !LABELS.contains(&&**name));
        let mut texts = texts.map(|(_, text)| Passage::text(text));
        let (Some(query), Some(positive)) = (texts.next(), texts.next()) else {
            let expected = "2 columns at least (anchor, positive)";
            return Err(Fault::Columns { expected, got });
        };
        let mut example = Example { query, positives: vec![positive], negatives: texts.collect() };
        example.check()?;
        if negative {
            example.negatives.append(&mut example.positives);
        }
        Ok(example)
    }

    /// Whether the row is a labelled pair that is not relevant.
    fn is_negative(&self) -> Result<bool, Fault> {
        let label = self.0.iter().find(|(name, _)| LABELS.contains(&&**name));
        match label.map(|(name, value)| (&**name, value.trim())) {
            None | Some(("label", "1" | "1.0")) => Ok(false),
            Some(("label", "0" | "0.0")) => Ok(true),
            Some((_, got)) => Err(Fault::Value {
                field: "label",
                expected: "no label, or 0 and 1 in a column `label`",
                got: got.to_owned(),
            }),
        }
    }
}

/// Parses a line of JSON lines: its keys in order are the columns.
///
/// # Errors
/// A [`Fault`] if the line is no object of texts.
pub fn parse_json(line: Line<'_>) -> Result<Row<'_>, Fault> {
    json::parse(line)
}

impl<'de: 'a, 'a> Deserialize<'de> for Row<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(RowVisitor)
    }
}

struct RowVisitor;

impl<'de> Visitor<'de> for RowVisitor {
    type Value = Row<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of columns")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Row<'de>, M::Error> {
        let mut columns = Vec::new();
        while let Some(Text(name)) = map.next_key()? {
            let value = if LABELS.contains(&&*name) {
                Cow::Owned(match map.next_value()? {
                    serde_json::Value::String(text) => text,
                    other => other.to_string(),
                })
            } else {
                let Text(text) = map.next_value()?;
                text
            };
            columns.push((name, value));
        }
        Ok(Row(columns))
    }
}

/// Finds where a CSV record ends: a line end inside quotes does not end it.
#[derive(Clone, Copy, Debug, Default)]
pub struct QuoteState {
    scanned: usize,
    place: Place,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Place {
    #[default]
    FieldStart,
    Unquoted,
    Quoted,
    QuoteInQuoted,
}

impl QuoteState {
    /// Whether a record with these bytes, grown since the last call, is complete.
    pub fn is_complete(&mut self, bytes: &[u8], delimiter: u8) -> bool {
        for &byte in &bytes[self.scanned.min(bytes.len())..] {
            self.place = match (self.place, byte) {
                (Place::Quoted, b'"') => Place::QuoteInQuoted,
                (Place::FieldStart | Place::QuoteInQuoted, b'"') | (Place::Quoted, _) => {
                    Place::Quoted
                }
                (_, byte) if byte == delimiter => Place::FieldStart,
                _ => Place::Unquoted,
            };
        }
        self.scanned = bytes.len();
        self.place != Place::Quoted
    }
}

/// The next CSV record of a file.
fn next_record(lines: &mut Lines, delimiter: u8) -> Result<Option<Line<'_>>, DataError> {
    let mut state = QuoteState::default();
    lines.next_until(|bytes| state.is_complete(bytes, delimiter))
}

/// The fields of a CSV record: a field in quotes loses them, and two quotes inside it are one.
///
/// # Errors
/// [`Fault::Utf8`] if the record is not text.
pub fn fields(line: Line<'_>, delimiter: u8) -> Result<Vec<Cow<'_, str>>, Fault> {
    let mut rest = line.text()?;
    let delimiter = char::from(delimiter);
    let mut fields = Vec::new();
    loop {
        let (field, after) = if let Some(quoted) = rest.strip_prefix('"') {
            quoted_field(quoted, delimiter)
        } else {
            let end = rest.find(delimiter).unwrap_or(rest.len());
            (Cow::Borrowed(&rest[..end]), &rest[end..])
        };
        fields.push(field);
        match after.strip_prefix(delimiter) {
            Some(next) => rest = next,
            None => return Ok(fields),
        }
    }
}

/// A field after its opening quote, and what follows it.
fn quoted_field(text: &str, delimiter: char) -> (Cow<'_, str>, &str) {
    let mut field = Cow::Borrowed("");
    let mut rest = text;
    loop {
        let end = rest.find('"').unwrap_or(rest.len());
        append(&mut field, &rest[..end]);
        rest = rest[end..].strip_prefix('"').unwrap_or("");
        if let Some(after) = rest.strip_prefix('"') {
            append(&mut field, "\"");
            rest = after;
        } else {
            // Text between the closing quote and the delimiter is kept as it is.
            let end = rest.find(delimiter).unwrap_or(rest.len());
            append(&mut field, &rest[..end]);
            return (field, &rest[end..]);
        }
    }
}

fn append<'a>(field: &mut Cow<'a, str>, part: &'a str) {
    if field.is_empty() {
        *field = Cow::Borrowed(part);
    } else if !part.is_empty() {
        field.to_mut().push_str(part);
    }
}

/// The delimiter of a file by its name; `None` for JSON lines.
fn delimiter(path: &Path) -> Option<u8> {
    let name = path.file_name()?.to_str()?;
    let name = name.trim_end_matches(".gz").trim_end_matches(".zst");
    match name.rsplit('.').next() {
        Some("csv") => Some(b','),
        Some("tsv") => Some(b'\t'),
        _ => None,
    }
}

pub(super) fn import(inputs: &[PathBuf], sink: &mut Sink<'_>) -> Result<(), DataError> {
    for path in inputs {
        if path.extension().is_some_and(|extension| extension == "parquet") {
            import_parquet(path, sink)?;
            continue;
        }
        match delimiter(path) {
            None => sink.lines(path, |sink, line| take(sink, parse_json(line)?, line.number))?,
            Some(delimiter) => import_delimited(path, delimiter, sink)?,
        }
    }
    Ok(())
}

#[cfg(feature = "parquet")]
fn import_parquet(path: &Path, sink: &mut Sink<'_>) -> Result<(), DataError> {
    parquet::for_each_row(path, |row, number| {
        let taken = row.map_err(Failure::from).and_then(|row| take(sink, row, number));
        sink.outcome(taken.map_err(|failure| failure.at(path, number)))?;
        sink.count(0);
        Ok(())
    })?;
    sink.file_done(std::fs::metadata(path).map_or(0, |metadata| metadata.len()));
    Ok(())
}

#[cfg(not(feature = "parquet"))]
fn import_parquet(path: &Path, _sink: &mut Sink<'_>) -> Result<(), DataError> {
    Err(DataError::NeedsFeature { path: path.to_owned(), feature: "parquet" })
}

fn import_delimited(path: &Path, delimiter: u8, sink: &mut Sink<'_>) -> Result<(), DataError> {
    let mut header: Option<Vec<String>> = None;
    sink.records(
        path,
        |lines| next_record(lines, delimiter),
        |sink, line| {
            let fields = fields(line, delimiter)?;
            let Some(header) = &header else {
                header = Some(fields.into_iter().map(Cow::into_owned).collect());
                return Ok(());
            };
            if fields.len() != header.len() {
                let (expected, got) = ("as many columns as the header", fields.len());
                return Err(Fault::Columns { expected, got }.into());
            }
            let names = header.iter().map(|name| Cow::Borrowed(&**name));
            take(sink, Row(names.zip(fields).collect()), line.number)
        },
    )
}

fn take(sink: &mut Sink<'_>, row: Row<'_>, line: u64) -> Result<(), Failure> {
    let example = row.into_example()?;
    if !example.positives.is_empty() {
        return example::write(sink, &example, line);
    }
    let split = sink.split();
    let query = sink.intern_query(&example.query, line)?;
    for negative in &example.negatives {
        let document = sink.passage(negative, line)?;
        sink.judgment(&split, &query, &document, 0, false)?;
    }
    Ok(())
}

/// Writes a row as one line of JSON lines.
///
/// # Errors
/// If `out` cannot be written.
pub fn write_json(out: &mut impl Write, row: &Row<'_>) -> io::Result<()> {
    use serde::Serializer;
    let mut serializer = serde_json::Serializer::new(&mut *out);
    let mut map = serializer.serialize_map(Some(row.0.len()))?;
    for (name, value) in &row.0 {
        map.serialize_entry(name, value)?;
    }
    map.end()?;
    out.write_all(b"\n")
}

/// Writes fields as one CSV record, in quotes where they need them.
///
/// # Errors
/// If `out` cannot be written.
pub fn write_fields(
    out: &mut impl Write,
    fields: &[impl AsRef<str>],
    delimiter: u8,
) -> io::Result<()> {
    for (i, field) in fields.iter().map(AsRef::as_ref).enumerate() {
        if i > 0 {
            out.write_all(&[delimiter])?;
        }
        // A lone empty field would be an empty line, which is no record.
        let special = field.contains([char::from(delimiter), '"', '\n', '\r']);
        if special || (field.is_empty() && fields.len() == 1) {
            write!(out, "\"{}\"", field.replace('"', "\"\""))?;
        } else {
            out.write_all(field.as_bytes())?;
        }
    }
    out.write_all(b"\n")
}
