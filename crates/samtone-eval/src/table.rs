//! Rows `(query, document, value)` grouped by query: what qrels and runs have in common.
//!
//! All ids live in one text: that of the file itself when the table was read from one, so a run of
//! a million lines is a million 24-byte rows and no other allocation.

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::path::Path;

use rayon::prelude::*;

use crate::error::{EvalError, Result};

/// Where an id stands in the table's text.
#[derive(Clone, Copy, Debug)]
struct Span {
    start: usize,
    len: u32,
}

impl Span {
    fn of(part: &str, text: &str) -> Self {
        let start = part.as_ptr() as usize - text.as_ptr() as usize;
        Self { start, len: u32::try_from(part.len()).expect("an id is shorter than 4 GiB") }
    }

    fn get(self, text: &str) -> &str {
        &text[self.start..self.start + self.len as usize]
    }
}

/// A document and its value for the query whose group it stands in.
#[derive(Clone, Copy, Debug)]
struct Row<V> {
    document: Span,
    value: V,
}

/// One query: its id and its rows.
#[derive(Clone, Debug)]
struct Group {
    query: Span,
    rows: Range<usize>,
}

/// Rows grouped by query, queries and rows in the order of their first appearance.
#[derive(Clone, Debug)]
pub(crate) struct Table<V> {
    text: String,
    groups: Vec<Group>,
    rows: Vec<Row<V>>,
    index: HashMap<Box<str>, usize>,
}

/// Consecutive rows of one query, as they are read.
struct Segment {
    query: Span,
    rows: usize,
}

/// One line's meaning: query id, document id and value, or what is wrong with it.
pub(crate) type Parsed<'a, V> = Result<(&'a str, &'a str, V), LineError>;

/// What is wrong with a line; [`Table::parse`] adds where.
pub(crate) enum LineError {
    Columns { expected: &'static str, got: usize },
    Grade { got: String },
    Score { got: String },
}

impl LineError {
    fn at(self, path: &Path, line: usize) -> EvalError {
        let path = path.to_owned();
        match self {
            Self::Columns { expected, got } => EvalError::Columns { path, line, expected, got },
            Self::Grade { got } => EvalError::Grade { path, line, got },
            Self::Score { got } => EvalError::Score { path, line, got },
        }
    }
}

/// The line that holds byte `offset` of `text`, counted from 1.
fn line_of(text: &str, offset: usize) -> usize {
    1 + memchr::memchr_iter(b'\n', &text.as_bytes()[..offset]).count()
}

/// A file's text.
pub(crate) fn read_text(path: &Path) -> Result<String> {
    let bytes =
        std::fs::read(path).map_err(|source| EvalError::Read { path: path.into(), source })?;
    String::from_utf8(bytes).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        let line = 1 + memchr::memchr_iter(b'\n', &error.as_bytes()[..valid]).count();
        EvalError::Utf8 { path: path.into(), line }
    })
}

/// Cuts `text` after line breaks into about `count` parts.
fn chunks(text: &str, count: usize) -> Vec<&str> {
    let target = text.len() / count + 1;
    let mut parts = Vec::with_capacity(count);
    let mut rest = text;
    while rest.len() > target {
        match memchr::memchr(b'\n', &rest.as_bytes()[target..]) {
            Some(at) => {
                let (part, tail) = rest.split_at(target + at + 1);
                parts.push(part);
                rest = tail;
            }
            None => break,
        }
    }
    parts.push(rest);
    parts
}

/// The lines of `text` without their ends, blank ones left out.
fn lines(text: &str) -> impl Iterator<Item = &str> {
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

impl<V: Copy + Send + Sync> Table<V> {
    /// Reads `text`, from byte `from` on, with `parse` for each line that is not blank.
    ///
    /// The first wrong line, or the first line that repeats a document, is the error.
    pub(crate) fn parse(
        path: &Path,
        text: String,
        from: usize,
        parse: impl for<'a> Fn(&'a str) -> Parsed<'a, V> + Sync,
    ) -> Result<Self> {
        const CHUNK: usize = 1 << 20;
        let body = &text[from..];
        let parts: Vec<(Vec<Segment>, Vec<Row<V>>)> = chunks(body, body.len() / CHUNK + 1)
            .into_par_iter()
            .map(|part| {
                let mut segments: Vec<Segment> = Vec::new();
                let mut rows = Vec::with_capacity(part.len() / 32);
                for line in lines(part) {
                    let (query, document, value) = parse(line).map_err(|error| {
                        error.at(path, line_of(&text, Span::of(line, &text).start))
                    })?;
                    match segments.last_mut() {
                        Some(last) if last.query.get(&text) == query => last.rows += 1,
                        _ => segments.push(Segment { query: Span::of(query, &text), rows: 1 }),
                    }
                    rows.push(Row { document: Span::of(document, &text), value });
                }
                Ok((segments, rows))
            })
            // Collected before the first error is taken: which one it is must not depend on timing.
            .collect::<Vec<Result<_>>>()
            .into_iter()
            .collect::<Result<_>>()?;
        let mut segments = Vec::new();
        let mut rows = Vec::with_capacity(parts.iter().map(|part| part.1.len()).sum());
        for (part_segments, part_rows) in parts {
            segments.extend(part_segments);
            rows.extend(part_rows);
        }
        let table = Self::group(text, &segments, rows);
        match table.duplicate() {
            None => Ok(table),
            Some((group, first, second)) => Err(EvalError::DuplicateLine {
                path: path.to_owned(),
                line: line_of(&table.text, table.rows[second].document.start),
                first: line_of(&table.text, table.rows[first].document.start),
                query: table.groups[group].query.get(&table.text).to_owned(),
                document: table.rows[second].document.get(&table.text).to_owned(),
            }),
        }
    }

    /// Gathers `(query, document, value)` triples in any order.
    pub(crate) fn collect<Q: AsRef<str>, D: AsRef<str>>(
        triples: impl IntoIterator<Item = (Q, D, V)>,
    ) -> Result<Self> {
        let mut text = String::new();
        let mut push = |id: &str| {
            let start = text.len();
            text.push_str(id);
            Span { start, len: u32::try_from(id.len()).expect("an id is shorter than 4 GiB") }
        };
        let mut segments: Vec<Segment> = Vec::new();
        let mut rows = Vec::new();
        let mut last_query = String::new();
        for (query, document, value) in triples {
            let query = query.as_ref();
            match segments.last_mut() {
                Some(last) if last_query == query => last.rows += 1,
                _ => {
                    last_query.clear();
                    last_query.push_str(query);
                    segments.push(Segment { query: push(query), rows: 1 });
                }
            }
            rows.push(Row { document: push(document.as_ref()), value });
        }
        let table = Self::group(text, &segments, rows);
        match table.duplicate() {
            None => Ok(table),
            Some((group, _, second)) => Err(EvalError::Duplicate {
                query: table.groups[group].query.get(&table.text).to_owned(),
                document: table.rows[second].document.get(&table.text).to_owned(),
            }),
        }
    }

    /// Brings the segments of each query together, in order of first appearance.
    fn group(text: String, segments: &[Segment], rows: Vec<Row<V>>) -> Self {
        let mut index: HashMap<Box<str>, usize> = HashMap::new();
        let mut groups: Vec<Group> = Vec::new();
        let mut owners = Vec::with_capacity(segments.len());
        for segment in segments {
            let id = segment.query.get(&text);
            let group = if let Some(&group) = index.get(id) {
                group
            } else {
                index.insert(id.into(), groups.len());
                groups.push(Group { query: segment.query, rows: 0..0 });
                groups.len() - 1
            };
            groups[group].rows.end += segment.rows;
            owners.push(group);
        }
        let mut start = 0;
        for group in &mut groups {
            group.rows = start..start + group.rows.end;
            start = group.rows.end;
        }
        let in_order = owners.is_sorted();
        let rows = if in_order {
            rows
        } else {
            let mut place: Vec<usize> = groups.iter().map(|group| group.rows.start).collect();
            let mut gathered = rows.clone();
            let mut from = 0;
            for (segment, &group) in segments.iter().zip(&owners) {
                let to = place[group];
                gathered[to..to + segment.rows].copy_from_slice(&rows[from..from + segment.rows]);
                place[group] += segment.rows;
                from += segment.rows;
            }
            gathered
        };
        Self { text, groups, rows, index }
    }

    /// The group, first and second row of the earliest repeated document, if any.
    fn duplicate(&self) -> Option<(usize, usize, usize)> {
        self.groups
            .par_iter()
            .enumerate()
            .map_init(HashSet::new, |seen, (group, Group { rows, .. })| {
                seen.clear();
                let second = rows.clone().find(|&row| !seen.insert(self.document(row)))?;
                let id = self.document(second);
                let first = rows.clone().find(|&row| self.document(row) == id)?;
                Some((group, first, second))
            })
            .flatten()
            .min_by_key(|&(_, _, second)| self.rows[second].document.start)
    }

    fn document(&self, row: usize) -> &str {
        self.rows[row].document.get(&self.text)
    }
}

impl<V: Copy> Table<V> {
    /// How many queries there are.
    pub(crate) fn len(&self) -> usize {
        self.groups.len()
    }

    /// How many rows there are.
    pub(crate) fn rows(&self) -> usize {
        self.rows.len()
    }

    /// The id of the `query`-th query.
    pub(crate) fn query(&self, query: usize) -> &str {
        self.groups[query].query.get(&self.text)
    }

    /// The place of a query.
    pub(crate) fn find(&self, id: &str) -> Option<usize> {
        self.index.get(id).copied()
    }

    /// The `query`-th query's documents and values.
    pub(crate) fn documents(
        &self,
        query: usize,
    ) -> impl ExactSizeIterator<Item = (&str, V)> + Clone {
        self.rows[self.groups[query].rows.clone()]
            .iter()
            .map(|row| (row.document.get(&self.text), row.value))
    }

    /// Orders every query's rows by document id, so that [`Table::value`] can search them.
    pub(crate) fn sort_by_document(&mut self) {
        for group in &self.groups {
            self.rows[group.rows.clone()].sort_unstable_by(|a, b| {
                a.document.get(&self.text).cmp(b.document.get(&self.text))
            });
        }
    }

    /// A document's value for the `query`-th query, in a table sorted by document.
    pub(crate) fn value(&self, query: usize, document: &str) -> Option<V> {
        let rows = &self.rows[self.groups[query].rows.clone()];
        rows.binary_search_by(|row| row.document.get(&self.text).cmp(document))
            .ok()
            .map(|place| rows[place].value)
    }
}
