//! Rows `(query, document, value)` grouped by query: what qrels and runs have in common.
//!
//! All ids live in one text: that of the file itself when the table was read from one, so a run of
//! a million lines is a million 16-byte rows and no other allocation.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::Path;

use rayon::prelude::*;

use crate::error::{EvalError, Result};

/// Where an id stands in the table's text: 40 bits of offset and 24 of length.
#[derive(Clone, Copy, Debug, Default)]
struct Span(u64);

impl Span {
    const LENGTH_BITS: u32 = 24;

    fn new(start: usize, len: usize) -> Self {
        let (start, len) = (start as u64, len as u64);
        assert!(len < 1 << Self::LENGTH_BITS, "an id is shorter than 16 MiB");
        assert!(start < 1 << (64 - Self::LENGTH_BITS), "a table's ids take less than 1 TiB");
        Self(start << Self::LENGTH_BITS | len)
    }

    /// Where `part` stands in `text`, of which it is a part.
    fn of(part: &str, text: &str) -> Self {
        Self::new(part.as_ptr() as usize - text.as_ptr() as usize, part.len())
    }

    fn start(self) -> usize {
        (self.0 >> Self::LENGTH_BITS) as usize
    }

    fn get(self, text: &str) -> &str {
        let len = (self.0 & ((1 << Self::LENGTH_BITS) - 1)) as usize;
        &text[self.start()..self.start() + len]
    }
}

/// A document and its value for the query whose group it stands in.
#[derive(Clone, Copy, Debug, Default)]
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

/// A file's bytes, a large file's read in parts by all threads.
fn read_bytes(path: &Path) -> io::Result<Vec<u8>> {
    const PART: usize = 4 << 20;
    let len = usize::try_from(path.metadata()?.len()).map_err(io::Error::other)?;
    if len <= PART {
        return std::fs::read(path);
    }
    let mut bytes = vec![0; len];
    bytes.par_chunks_mut(PART).enumerate().try_for_each(|(place, part)| {
        let mut file = File::open(path)?;
        file.seek(SeekFrom::Start((place * PART) as u64))?;
        file.read_exact(part)
    })?;
    Ok(bytes)
}

/// A file's text.
pub(crate) fn read_text(path: &Path) -> Result<String> {
    let bytes = read_bytes(path).map_err(|source| EvalError::Read { path: path.into(), source })?;
    let mut text = String::from_utf8(bytes).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        let line = 1 + memchr::memchr_iter(b'\n', &error.as_bytes()[..valid]).count();
        EvalError::Utf8 { path: path.into(), line }
    })?;
    // A byte order mark is no part of the first id.
    if text.starts_with('\u{feff}') {
        text.drain(..'\u{feff}'.len_utf8());
    }
    Ok(text)
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

/// How many lines there are, the last perhaps without its end.
fn count_lines(text: &str) -> usize {
    memchr::memchr_iter(b'\n', text.as_bytes()).count() + usize::from(!text.ends_with('\n'))
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

impl<V: Copy + Default + Send + Sync> Table<V> {
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
        let parts = chunks(body, body.len() / CHUNK + 1);
        let slots: Vec<usize> = parts.par_iter().map(|part| count_lines(part)).collect();
        // Every part's rows go to their final place: one allocation, touched once.
        let mut rows = vec![Row::default(); slots.iter().sum()];
        let mut places = Vec::with_capacity(parts.len());
        let mut rest = rows.as_mut_slice();
        for &count in &slots {
            let (place, tail) = rest.split_at_mut(count);
            places.push(place);
            rest = tail;
        }
        let read: Vec<Vec<Segment>> = parts
            .into_par_iter()
            .zip(places)
            .map(|(part, place)| {
                let mut segments: Vec<Segment> = Vec::new();
                let mut last_query = "";
                for (line, row) in lines(part).zip(place) {
                    let (query, document, value) = parse(line).map_err(|error| {
                        error.at(path, line_of(&text, Span::of(line, &text).start()))
                    })?;
                    match segments.last_mut() {
                        Some(last) if last_query == query => last.rows += 1,
                        _ => segments.push(Segment { query: Span::of(query, &text), rows: 1 }),
                    }
                    last_query = query;
                    *row = Row { document: Span::of(document, &text), value };
                }
                Ok(segments)
            })
            // Collected before the first error is taken: which one it is must not depend on timing.
            .collect::<Vec<Result<_>>>()
            .into_iter()
            .collect::<Result<_>>()?;
        // Blank lines were counted and not read: close the gaps they left.
        let (mut from, mut to) = (0, 0);
        for (segments, slots) in read.iter().zip(slots) {
            let filled: usize = segments.iter().map(|segment| segment.rows).sum();
            if from > to {
                rows.copy_within(from..from + filled, to);
            }
            from += slots;
            to += filled;
        }
        rows.truncate(to);
        let segments: Vec<Segment> = read.into_iter().flatten().collect();
        let table = Self::group(text, &segments, rows);
        match table.duplicate() {
            None => Ok(table),
            Some((group, first, second)) => Err(EvalError::DuplicateLine {
                path: path.to_owned(),
                line: line_of(&table.text, table.rows[second].document.start()),
                first: line_of(&table.text, table.rows[first].document.start()),
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
            let span = Span::new(text.len(), id.len());
            text.push_str(id);
            span
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
            .map_init(Vec::new, |slots, (group, Group { rows, .. })| {
                let (first, second) = self.first_repeat(rows.clone(), slots)?;
                Some((group, first, second))
            })
            .flatten()
            .min_by_key(|&(_, _, second)| self.rows[second].document.start())
    }

    /// The first row among `rows` that repeats a document, after the row it repeats.
    ///
    /// A hash table of `slots` (a row plus 1, or 0) that is at most half full; std's is several
    /// times slower, and this runs over every row of every file.
    fn first_repeat(&self, rows: Range<usize>, slots: &mut Vec<usize>) -> Option<(usize, usize)> {
        let mask = (2 * rows.len()).next_power_of_two() - 1;
        slots.clear();
        slots.resize(mask + 1, 0);
        for row in rows {
            let id = self.document(row);
            let mut slot = hash(id) as usize & mask;
            while slots[slot] != 0 {
                let other = slots[slot] - 1;
                if self.document(other) == id {
                    return Some((other, row));
                }
                slot = (slot + 1) & mask;
            }
            slots[slot] = row + 1;
        }
        None
    }

    fn document(&self, row: usize) -> &str {
        self.rows[row].document.get(&self.text)
    }
}

/// Mixes an id eight bytes at a time.
pub(crate) fn hash(id: &str) -> u64 {
    let mix = |state: u64, word: u64| {
        let product = u128::from(state ^ word) * 0x9E37_79B9_7F4A_7C15;
        (product >> 64) as u64 ^ product as u64
    };
    let (words, rest) = id.as_bytes().as_chunks::<8>();
    let state =
        words.iter().fold(id.len() as u64, |state, &word| mix(state, u64::from_le_bytes(word)));
    let tail = rest.iter().rev().fold(0, |tail, &byte| tail << 8 | u64::from(byte));
    mix(state, tail)
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
