//! Rows of query, document and value, grouped by query: what runs and judgments are made of.
//!
//! A file is read in parts by all threads, each part into a buffer that is used again: of a file
//! only its ids and values stay, which is what makes reading fast (memory that is touched for the
//! first time is what costs most) and small.

use std::collections::HashMap;
use std::ops::Range;
use std::path::Path;

use rayon::prelude::*;

use crate::error::{EvalError, Result};
use crate::source::{Source, lines};

/// Where an id stands in the table's texts: 16 bits of text, 24 of offset and 24 of length.
///
/// Spans are ordered as their ids were read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Span(u64);

impl Span {
    const BITS: u32 = 24;
    const MASK: u64 = (1 << Self::BITS) - 1;

    /// Adds `id` to the end of the `number`-th text.
    fn push(text: &mut String, number: usize, id: &str) -> Self {
        let (start, len) = (text.len() as u64, id.len() as u64);
        assert!(start <= Self::MASK && len <= Self::MASK, "an id is shorter than 16 MiB");
        text.push_str(id);
        Self((number as u64) << (2 * Self::BITS) | start << Self::BITS | len)
    }

    fn get(self, texts: &[String]) -> &str {
        self.get_in(&texts[(self.0 >> (2 * Self::BITS)) as usize])
    }

    /// [`get`](Self::get) from the text it stands in.
    fn get_in(self, text: &str) -> &str {
        let start = (self.0 >> Self::BITS & Self::MASK) as usize;
        &text[start..start + (self.0 & Self::MASK) as usize]
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
    part: usize,
    rows: Range<usize>,
}

/// Rows grouped by query, queries and rows in the order of their first appearance.
#[derive(Clone, Debug)]
pub(crate) struct Table<V> {
    /// The ids, a text for each part.
    texts: Vec<String>,
    groups: Vec<Group>,
    /// The rows as they were read, part by part, and a last part for the queries whose rows did
    /// not stand together.
    rows: Vec<Vec<Row<V>>>,
    index: HashMap<Box<str>, usize>,
}

/// What was read from one part.
struct Part<V> {
    text: String,
    segments: Vec<Segment>,
    rows: Vec<Row<V>>,
}

/// Consecutive rows of one query, as they are read.
struct Segment {
    query: Span,
    rows: Range<usize>,
}

impl<V> Part<V> {
    fn with_capacity(bytes: usize, rows: usize) -> Self {
        Self {
            text: String::with_capacity(bytes),
            segments: Vec::new(),
            rows: Vec::with_capacity(rows),
        }
    }

    /// Adds a row to the `number`-th part.
    fn push(&mut self, number: usize, query: &str, document: &str, value: V) {
        let at = self.rows.len();
        match self.segments.last_mut() {
            Some(last) if last.query.get_in(&self.text) == query => last.rows.end += 1,
            _ => {
                let query = Span::push(&mut self.text, number, query);
                self.segments.push(Segment { query, rows: at..at + 1 });
            }
        }
        self.rows.push(Row { document: Span::push(&mut self.text, number, document), value });
    }
}

/// One line's meaning: query id, document id and value, or what is wrong with it.
pub(crate) type Parsed<'a, V> = Result<(&'a str, &'a str, V), LineError>;

/// What is wrong with a line; [`Table::read`] adds where.
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

impl<V: Copy + Send + Sync> Table<V> {
    /// Reads `source`, from byte `from` on, with `parse` for each line that is not blank.
    ///
    /// The first wrong line, or the first line that repeats a document, is the error.
    pub(crate) fn read(
        source: &Source<'_>,
        from: u64,
        parse: impl for<'a> Fn(&'a str) -> Parsed<'a, V> + Sync,
    ) -> Result<Self> {
        let parts: Vec<Result<Part<V>>> = source
            .parts(from)
            .into_par_iter()
            .enumerate()
            .map_init(Vec::new, |buffer, (number, range)| {
                let (start, text) = source.lines_in(from, range, buffer)?;
                // About what TREC files need; the memory is touched only as it is filled.
                let mut part = Part::with_capacity(text.len() / 2, text.len() / 32);
                for line in lines(text) {
                    let (query, document, value) = parse(line).map_err(|error| {
                        let offset = line.as_ptr() as usize - text.as_ptr() as usize;
                        match source.line_at(start + offset as u64) {
                            Ok(line) => error.at(source.path(), line),
                            Err(unreadable) => unreadable,
                        }
                    })?;
                    part.push(number, query, document, value);
                }
                Ok(part)
            })
            .collect();
        // Collected before the first error is taken: which one it is must not depend on timing.
        let table = Self::group(parts.into_iter().collect::<Result<_>>()?);
        let Some((query, document)) = table.duplicate() else { return Ok(table) };
        let [first, line] = source.find_two(from, |line| {
            parse(line).is_ok_and(|(q, d, _)| (q, d) == (query, document))
        })?;
        Err(EvalError::DuplicateLine {
            path: source.path().to_owned(),
            line,
            first,
            query: query.to_owned(),
            document: document.to_owned(),
        })
    }

    /// Gathers `(query, document, value)` triples in any order.
    pub(crate) fn collect<Q: AsRef<str>, D: AsRef<str>>(
        triples: impl IntoIterator<Item = (Q, D, V)>,
    ) -> Result<Self> {
        /// Bytes of ids in a text, about.
        const TEXT: usize = 1 << 22;
        let mut parts = vec![Part::with_capacity(0, 0)];
        for (query, document, value) in triples {
            if parts.last().is_some_and(|part| part.text.len() > TEXT) {
                parts.push(Part::with_capacity(TEXT, 0));
            }
            let number = parts.len() - 1;
            parts[number].push(number, query.as_ref(), document.as_ref(), value);
        }
        let table = Self::group(parts);
        match table.duplicate() {
            None => Ok(table),
            Some((query, document)) => {
                Err(EvalError::Duplicate { query: query.to_owned(), document: document.to_owned() })
            }
        }
    }

    /// Brings the segments of each query together, in order of first appearance.
    fn group(parts: Vec<Part<V>>) -> Self {
        let (mut texts, mut rows) = (Vec::new(), Vec::new());
        let mut segments: Vec<(usize, Segment)> = Vec::new();
        for (number, part) in parts.into_iter().enumerate() {
            texts.push(part.text);
            rows.push(part.rows);
            segments.extend(part.segments.into_iter().map(|segment| (number, segment)));
        }
        let mut index: HashMap<Box<str>, usize> = HashMap::new();
        let mut groups: Vec<Group> = Vec::new();
        // The segments of the queries that have several.
        let mut scattered: HashMap<usize, Vec<(usize, Range<usize>)>> = HashMap::new();
        for (part, Segment { query, rows }) in segments {
            let id = query.get(&texts);
            if let Some(&group) = index.get(id) {
                let known = &groups[group];
                scattered
                    .entry(group)
                    .or_insert_with(|| vec![(known.part, known.rows.clone())])
                    .push((part, rows));
            } else {
                index.insert(id.into(), groups.len());
                groups.push(Group { query, part, rows });
            }
        }
        let mut gathered = Vec::new();
        for (group, segments) in scattered {
            let start = gathered.len();
            for (part, segment) in segments {
                gathered.extend_from_slice(&rows[part][segment]);
            }
            groups[group].part = rows.len();
            groups[group].rows = start..gathered.len();
        }
        rows.push(gathered);
        Self { texts, groups, rows, index }
    }

    /// The query and document of the earliest row that repeats a document, if any.
    fn duplicate(&self) -> Option<(&str, &str)> {
        let (_, group, document) = self
            .groups
            .par_iter()
            .enumerate()
            .map_init(Vec::new, |slots, (group, _)| {
                let repeat = self.first_repeat(self.group_rows(group), slots)?;
                Some((repeat, group, repeat.get(&self.texts)))
            })
            .flatten()
            .min_by_key(|&(span, ..)| span)?;
        Some((self.query(group), document))
    }

    /// The first document among `rows` that repeats one before it.
    ///
    /// A hash table of `slots` (a row plus 1, or 0) that is at most half full; std's is several
    /// times slower, and this runs over every row of every file.
    fn first_repeat(&self, rows: &[Row<V>], slots: &mut Vec<usize>) -> Option<Span> {
        let mask = (2 * rows.len()).next_power_of_two() - 1;
        slots.clear();
        slots.resize(mask + 1, 0);
        for (place, row) in rows.iter().enumerate() {
            let id = row.document.get(&self.texts);
            let mut slot = hash(id) as usize & mask;
            while slots[slot] != 0 {
                if rows[slots[slot] - 1].document.get(&self.texts) == id {
                    return Some(row.document);
                }
                slot = (slot + 1) & mask;
            }
            slots[slot] = place + 1;
        }
        None
    }
}

/// Mixes an id eight bytes at a time.
pub(crate) fn hash(id: impl AsRef<[u8]>) -> u64 {
    let id = id.as_ref();
    let mix = |state: u64, word: u64| {
        let product = u128::from(state ^ word) * 0x9E37_79B9_7F4A_7C15;
        (product >> 64) as u64 ^ product as u64
    };
    let (words, rest) = id.as_chunks::<8>();
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
        self.groups.iter().map(|group| group.rows.len()).sum()
    }

    /// The id of the `query`-th query.
    pub(crate) fn query(&self, query: usize) -> &str {
        self.groups[query].query.get(&self.texts)
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
        self.group_rows(query).iter().map(|row| (row.document.get(&self.texts), row.value))
    }

    fn group_rows(&self, query: usize) -> &[Row<V>] {
        let Group { part, rows, .. } = &self.groups[query];
        &self.rows[*part][rows.clone()]
    }

    /// Orders every query's rows by document id, so that [`Table::value`] can search them.
    pub(crate) fn sort_by_document(&mut self) {
        for Group { part, rows, .. } in &self.groups {
            self.rows[*part][rows.clone()].sort_unstable_by(|a, b| {
                a.document.get(&self.texts).cmp(b.document.get(&self.texts))
            });
        }
    }

    /// A document's value for the `query`-th query, in a table sorted by document.
    pub(crate) fn value(&self, query: usize, document: &str) -> Option<V> {
        let rows = self.group_rows(query);
        rows.binary_search_by(|row| row.document.get(&self.texts).cmp(document))
            .ok()
            .map(|place| rows[place].value)
    }
}
