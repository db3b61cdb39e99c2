//! Columns as sentence-transformers has them: a query (`anchor`), its positive, any negatives. JSON
//! lines, CSV and its like with a header, or Parquet (with the feature `parquet`).
//!
//! A column is what the caller says ([`ColumnNames`]) or what its name says, wherever it stands; columns
//! whose names say nothing are refused, and so are texts that turn out to be numbers alone. If no name
//! says anything, two or three columns are the query, the positive and a negative, in this order. The
//! report tells how columns were taken.
//!
//! A column `label` with 0 and 1 (what its miner calls labeled pairs) says whether the positive is one
//! or a negative, a column `grade` how relevant it is. A teacher's scores are a `margin` between the
//! positive and its one negative, or a list `scores` of the positive's and each negative's.

mod csv;
#[cfg(feature = "parquet")]
mod parquet;
pub(super) mod roles;
mod verdict;

use std::borrow::Cow;
use std::cell::RefCell;
use std::fmt;
use std::path::{Path, PathBuf};

use serde::de::{Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

pub use self::csv::RecordReader;
use self::roles::Mapping;
use self::roles::{ColumnNames, ColumnRole, TakenColumn, TakenColumns};
use super::{
    example::Example,
    passage::Passage,
    sink::{Failure, Sink},
    writing,
};
use crate::error::{ColumnFault, DataError, Fault, shell_word};
use crate::reading::json::Text;
use crate::reading::lines::Line;

/// So many rows tell whether a column holds numbers alone, if the file has as many.
const PROBED: u64 = 100;

/// A longer list of numbers holds no scores but an embedding, say.
const MOST_SCORES: usize = 256;

/// The report gives so many characters of a value.
const SHOWN: usize = 60;

/// A value in a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cell<'a> {
    /// A text.
    Text(Cow<'a, str>),
    /// Something else, in words or digits.
    Other(Cow<'a, str>),
}

/// A row: names and values of the columns, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row<'a>(pub Vec<(Cow<'a, str>, Cell<'a>)>);

/// Parses a line of JSON lines: its keys in order are the columns.
///
/// # Errors
/// A [`Fault`] if the line is no object.
pub fn parse_json(line: Line<'_>) -> Result<Row<'_>, Fault> {
    line.json()
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
        while let Some((Text(name), cell)) = map.next_entry()? {
            columns.push((name, cell));
        }
        Ok(Row(columns))
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Cell<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(CellVisitor)
    }
}

struct CellVisitor;

impl<'de> Visitor<'de> for CellVisitor {
    type Value = Cell<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Cell::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Cell::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Self::Value, E> {
        Ok(Cell::Other(value.to_string().into()))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Self::Value, E> {
        Ok(Cell::Other(value.to_string().into()))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Self::Value, E> {
        Ok(Cell::Other(value.to_string().into()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Self::Value, E> {
        Ok(Cell::Other(value.to_string().into()))
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(Cell::Other("null".into()))
    }

    fn visit_seq<S: SeqAccess<'de>>(self, mut seq: S) -> Result<Self::Value, S::Error> {
        let mut numbers = Some(Vec::new());
        while let Some(value) = seq.next_element::<Value>()? {
            match (&mut numbers, value) {
                (Some(numbers), Value::Number(number)) if numbers.len() < MOST_SCORES => {
                    numbers.push(number.to_string());
                }
                (numbers, _) => *numbers = None,
            }
        }
        let numbers = numbers.filter(|numbers| !numbers.is_empty());
        Ok(Cell::Other(match numbers {
            Some(numbers) => format!("[{}]", numbers.join(", ")).into(),
            None => "a list".into(),
        }))
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Self::Value, M::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Cell::Other("an object".into()))
    }
}

/// The delimiter that a file's name promises; `None` for JSON lines.
fn promised_delimiter(path: &Path) -> Option<u8> {
    let name = path.file_name()?.to_str()?.to_lowercase();
    let name = name.trim_end_matches(".gz").trim_end_matches(".zst");
    match name.rsplit('.').next() {
        Some("csv") => Some(b','),
        Some("tsv" | "tab") => Some(b'\t'),
        _ => None,
    }
}

pub(super) fn import(inputs: &[PathBuf], sink: &mut Sink<'_>) -> Result<(), DataError> {
    let given = sink.options().columns.clone();
    for path in inputs {
        sink.begin(path);
        let mut table = Table { path, given: &given, mapping: None, rows: 0, columns: Vec::new() };
        if path.extension().is_some_and(|extension| extension == "parquet") {
            import_parquet(&mut table, sink)?;
        } else if let Some(promised) = promised_delimiter(path) {
            import_delimited(&mut table, promised, sink)?;
        } else {
            sink.lines(path, |sink, line| table.take(sink, parse_json(line)?, false, line.number))?;
        }
        table.finish(sink)?;
    }
    Ok(())
}

#[cfg(feature = "parquet")]
fn import_parquet(table: &mut Table<'_>, sink: &mut Sink<'_>) -> Result<(), DataError> {
    let path = table.path;
    parquet::for_each_row(path, |row, number| {
        let taken = table.take(sink, row, true, number);
        sink.outcome(taken.map_err(|failure| failure.at(path, number)))?;
        sink.count(0);
        Ok(())
    })?;
    sink.file_done(std::fs::metadata(path).map_or(0, |metadata| metadata.len()));
    Ok(())
}

#[cfg(not(feature = "parquet"))]
fn import_parquet(table: &mut Table<'_>, _sink: &mut Sink<'_>) -> Result<(), DataError> {
    Err(without_parquet(table.path))
}

/// What a build without the feature says of a Parquet file.
#[cfg(any(test, not(feature = "parquet")))]
fn without_parquet(path: &Path) -> DataError {
    DataError::NeedsFeature { path: path.to_owned(), feature: "parquet" }
}

fn import_delimited(
    table: &mut Table<'_>,
    promised: u8,
    sink: &mut Sink<'_>,
) -> Result<(), DataError> {
    let (path, given) = (table.path, table.given);
    let reader: RefCell<Option<RecordReader>> = RefCell::new(None);
    let mut header: Option<Vec<String>> = None;
    sink.records(
        path,
        |lines| {
            let mut reader = reader.borrow_mut();
            match &mut *reader {
                Some(reader) => reader.next(lines),
                // The first line tells what separates fields.
                none => lines.next_until(|bytes| {
                    let first = || RecordReader::of(bytes, promised, given).begun();
                    none.get_or_insert_with(first).is_complete(bytes)
                }),
            }
        },
        |sink, line| {
            let mut reader = reader.borrow_mut();
            let Some(reader) = &mut *reader else { return Ok(()) };
            let delimiter = reader.delimiter();
            let Some(header) = &header else {
                let names = reader.fields(line);
                let names = names.map_err(|fault| table.fault(ColumnFault::Header { fault }))?;
                table.mapping = Some(table.map(&names, Some(delimiter), true)?);
                header = Some(names);
                return Ok(());
            };
            let fields = reader.fields(line)?;
            if fields == *header {
                return Err(Fault::RepeatedHeader.into());
            }
            if fields.len() != header.len() {
                let (expected, got) = (header.len(), fields.len());
                return Err(Fault::Row { expected, got, delimiter }.into());
            }
            let cells = fields.into_iter().map(|field| Cell::Text(field.into()));
            let names = header.iter().map(|name| Cow::Borrowed(&**name));
            table.take(sink, Row(names.zip(cells).collect()), true, line.number)
        },
    )
}

/// The rows of a file on their way into a sink.
struct Table<'a> {
    path: &'a Path,
    given: &'a ColumnNames,
    mapping: Option<Mapping>,
    rows: u64,
    /// What was seen of each column of the mapping.
    columns: Vec<Seen>,
}

/// What was seen of a column.
#[derive(Clone, Debug, Default)]
struct Seen {
    /// Its first value.
    first: Option<String>,
    /// Whether a value was something else than a number.
    holds_text: bool,
}

impl Table<'_> {
    fn fault(&self, fault: ColumnFault) -> DataError {
        DataError::Columns { path: self.path.to_owned(), fault }
    }

    fn map(
        &self,
        names: &[String],
        delimiter: Option<char>,
        all: bool,
    ) -> Result<Mapping, DataError> {
        Mapping::of(names, self.given, delimiter, all).map_err(|fault| self.fault(fault))
    }

    /// Takes a row in; if the file has a header, every row has `all` columns.
    fn take(
        &mut self,
        sink: &mut Sink<'_>,
        row: Row<'_>,
        all: bool,
        line: u64,
    ) -> Result<(), Failure> {
        let places = self.places(&row, all)?;
        let Some(mapping) = &self.mapping else { return Ok(()) };
        self.columns.resize_with(mapping.columns.len(), Seen::default);
        for ((_, cell), &place) in row.0.iter().zip(&places) {
            self.columns[place].see(cell);
        }
        self.rows += 1;
        if self.rows == PROBED {
            self.check_texts()?;
        }
        write(sink, mapping, row, &places, line)
    }

    /// Where the columns of a row stand in the mapping, which grows by columns that are new.
    fn places(&mut self, row: &Row<'_>, all: bool) -> Result<Vec<usize>, DataError> {
        let mapping = match self.mapping.take() {
            Some(mapping) => mapping,
            None => self.map(&names(row), None, all)?,
        };
        let find = |mapping: &Mapping| -> Option<Vec<usize>> {
            let names = row.0.iter().map(|(name, _)| &**name);
            names.enumerate().map(|(guess, name)| mapping.find(name, guess)).collect()
        };
        if let Some(places) = find(&mapping) {
            self.mapping = Some(mapping);
            return Ok(places);
        }
        let known: Vec<String> = mapping.columns.iter().map(|column| column.name.clone()).collect();
        let new = names(row).into_iter().filter(|name| !known.contains(name));
        let all_names: Vec<String> = known.iter().cloned().chain(new).collect();
        if mapping.in_order {
            // Another column would change what the order says.
            let column = all_names[known.len()].clone();
            let flags = "--query COLUMN --positive COLUMN".to_owned();
            return Err(self.fault(ColumnFault::Unknown { column, flags }));
        }
        let mapping = self.map(&all_names, None, all)?;
        let places = find(&mapping).unwrap_or_default();
        self.mapping = Some(mapping);
        Ok(places)
    }

    /// Refuses a column of texts that held numbers alone, unless the caller named it.
    fn check_texts(&self) -> Result<(), DataError> {
        let columns = self.mapping.iter().flat_map(|mapping| &mapping.columns);
        let numbers = columns.zip(&self.columns).find(|(column, seen)| {
            column.role.is_text() && !column.is_named && seen.first.is_some() && !seen.holds_text
        });
        match numbers {
            None => Ok(()),
            Some((column, _)) => {
                let (column, role) = (column.name.clone(), column.role.name());
                let flag = format!("--{role} {}", shell_word(&column));
                Err(self.fault(ColumnFault::Numbers { column, role, flag }))
            }
        }
    }

    /// Reports how the columns were taken.
    fn finish(self, sink: &mut Sink<'_>) -> Result<(), DataError> {
        self.check_texts()?;
        let Some(mapping) = self.mapping else { return Ok(()) };
        let mut seen = self.columns.into_iter();
        let columns = mapping.columns.into_iter().map(|column| TakenColumn {
            name: column.name,
            role: column.role,
            first: seen.next().and_then(|seen| seen.first).unwrap_or_default(),
        });
        sink.columns_taken(TakenColumns {
            path: self.path.to_owned(),
            in_order: mapping.in_order,
            columns: columns.collect(),
        });
        Ok(())
    }
}

impl Seen {
    fn see(&mut self, cell: &Cell<'_>) {
        let (Cell::Text(value) | Cell::Other(value)) = cell;
        self.holds_text |= !is_number(value);
        if self.first.is_none() {
            let mut shown: String = value.chars().take(SHOWN).collect();
            if shown.len() < value.len() {
                shown.push('…');
            }
            self.first = Some(shown);
        }
    }
}

/// Whether a text has digits and nothing that is read aloud otherwise: a number, a date, an id.
fn is_number(text: &str) -> bool {
    let text = text.trim();
    let is_part = |c: char| c.is_ascii_digit() || "+-.,:/".contains(c);
    text.contains(|c: char| c.is_ascii_digit()) && text.chars().all(is_part)
}

fn names(row: &Row<'_>) -> Vec<String> {
    row.0.iter().map(|(name, _)| name.to_string()).collect()
}

/// Writes what a row says. A pair that is judged not relevant is a query with a negative.
fn write(
    sink: &mut Sink<'_>,
    mapping: &Mapping,
    row: Row<'_>,
    places: &[usize],
    line: u64,
) -> Result<(), Failure> {
    let found = || row_names(mapping, places);
    let (mut query, mut positive, mut negatives) = (None, None, Vec::new());
    let (mut query_id, mut positive_id, mut grade, mut scores) = (None, None, 1, None);
    for ((name, cell), &place) in row.0.into_iter().zip(places) {
        match mapping.columns[place].role {
            ColumnRole::Query => query = Some(text(&name, cell)?),
            ColumnRole::Positive => positive = Some(text(&name, cell)?),
            ColumnRole::Negative => negatives.push(Passage::text(text(&name, cell)?)),
            ColumnRole::QueryId => query_id = Some(id(cell)),
            ColumnRole::PositiveId => positive_id = Some(id(cell)),
            ColumnRole::Label => grade = verdict::label(&cell)?,
            ColumnRole::Grade => grade = verdict::grade(&cell)?,
            ColumnRole::Margin => scores = Some(vec![verdict::margin(&cell)?, 0.0]),
            ColumnRole::Scores => scores = Some(verdict::scores(&cell)?),
            ColumnRole::Ignored => {}
        }
    }
    let missing = |field| Fault::MissingField { field, found: found() };
    let query = Passage { id: query_id, ..Passage::text(query.ok_or_else(|| missing("query"))?) };
    let positive = positive.ok_or_else(|| missing("positive"))?;
    let mut positive = Passage { id: positive_id, ..Passage::text(positive) };
    if let Some(scores) = scores {
        verdict::give(&mut positive, &mut negatives, &scores)?;
    }
    let example = Example { query, positives: vec![positive], negatives };
    if grade >= 1 {
        return writing::write(sink, &example, grade, line);
    }
    example.check()?;
    let split = sink.split();
    let query = sink.intern_query(&example.query, line)?;
    let graded = example.negatives.iter().map(|negative| (negative, 0));
    for (passage, grade) in graded.chain(example.positives.iter().map(|one| (one, grade))) {
        let document = sink.passage(passage, line)?;
        sink.judge(&split, query, document, grade)?;
    }
    Ok(())
}

fn row_names(mapping: &Mapping, places: &[usize]) -> Vec<String> {
    places.iter().map(|&place| mapping.columns[place].name.clone()).collect()
}

fn text<'a>(name: &str, cell: Cell<'a>) -> Result<Cow<'a, str>, Fault> {
    match cell {
        Cell::Text(text) => Ok(text),
        Cell::Other(what) => {
            let got = format!("{what} in column `{name}`");
            Err(Fault::Value { field: "column", expected: "a text", got })
        }
    }
}

/// An id: a text or a number as it prints.
fn id(cell: Cell<'_>) -> Cow<'_, str> {
    let (Cell::Text(value) | Cell::Other(value)) = cell;
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_build_without_parquet_names_the_feature() {
        let error = without_parquet(Path::new("train.parquet"));
        let expected = "`train.parquet` needs the feature `parquet`, which this build lacks";
        assert_eq!(error.to_string(), expected);
        assert_eq!(error.hint().as_deref(), Some("build with `--features parquet`"));
    }
}
