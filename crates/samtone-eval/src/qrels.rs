//! Relevance judgments.

use std::path::Path;

use crate::error::Result;
use crate::random::word;
use crate::source::{Source, columns};
use crate::table::{LineError, Parsed, Table, hash};

/// Relevance judgments: for each query, documents and their grades.
///
/// A grade of 1 or more is relevant unless a metric says otherwise, 0 is judged and not relevant,
/// a negative grade counts as no judgment (as in trec_eval). Queries keep the order of their first
/// appearance. A document judged twice for one query is an error.
///
/// # Examples
///
/// ```
/// use samtone_eval::Qrels;
///
/// let qrels = Qrels::new([("q1", "d1", 2), ("q1", "d2", 0), ("q2", "d1", 1)])?;
/// assert_eq!(qrels.grade("q1", "d1"), Some(2));
/// assert_eq!(qrels.grade("q2", "d2"), None);
/// # Ok::<(), samtone_eval::EvalError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Qrels {
    table: Table<i32>,
}

impl Qrels {
    /// Gathers `(query id, document id, grade)` triples, in any order.
    ///
    /// # Errors
    /// [`EvalError::Duplicate`](crate::EvalError::Duplicate).
    pub fn new<Q: AsRef<str>, D: AsRef<str>>(
        triples: impl IntoIterator<Item = (Q, D, i32)>,
    ) -> Result<Self> {
        Ok(Self::sorted(Table::collect(triples)?))
    }

    /// Reads a TREC file (`query 0 document grade`) or a BEIR table (`query document grade` between
    /// tabs, its header `query-id corpus-id score` or another known spelling of it optional). The
    /// first line decides which.
    ///
    /// # Errors
    /// A file that cannot be read, a wrong line or a repeated document, with the line's number.
    pub fn read(path: impl AsRef<Path>) -> Result<Self> {
        Self::from_source(&Source::open(path.as_ref())?)
    }

    /// Reads judgments from a text already in memory; `path` is only named in errors.
    ///
    /// # Errors
    /// As [`Qrels::read`].
    pub fn parse(path: impl AsRef<Path>, text: &str) -> Result<Self> {
        Self::from_source(&Source::text(path.as_ref(), text))
    }

    fn from_source(source: &Source<'_>) -> Result<Self> {
        let (start, first) = source.first_line()?;
        let table = if is_header(&first) {
            Table::read(source, start + first.len() as u64 + 1, beir_line)?
        } else if first.split('\t').count() == 3 {
            Table::read(source, start, beir_line)?
        } else {
            Table::read(source, start, trec_line)?
        };
        Ok(Self::sorted(table))
    }

    fn sorted(mut table: Table<i32>) -> Self {
        table.sort_by_document();
        Self { table }
    }

    /// How many queries are judged.
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Whether there are no judgments.
    pub fn is_empty(&self) -> bool {
        self.table.len() == 0
    }

    /// How many judgments there are over all queries.
    pub fn judgments(&self) -> usize {
        self.table.rows()
    }

    /// The judged queries' ids, in order of first appearance.
    pub fn queries(&self) -> impl ExactSizeIterator<Item = &str> {
        (0..self.table.len()).map(|query| self.table.query(query))
    }

    /// A query's judged documents and grades, by document id; empty for an unjudged query.
    pub fn documents(&self, query: &str) -> impl Iterator<Item = (&str, i32)> {
        self.table.find(query).into_iter().flat_map(|query| self.table.documents(query))
    }

    /// The grade of a document for a query, if judged.
    pub fn grade(&self, query: &str, document: &str) -> Option<i32> {
        self.table.value(self.table.find(query)?, document)
    }

    /// A number that differs between different judgments, whatever the order they were given in.
    pub fn fingerprint(&self) -> u64 {
        let judgments = (0..self.table.len()).flat_map(|query| {
            let id = self.table.query(query);
            self.table.documents(query).map(move |(document, grade)| (id, document, grade))
        });
        // A sum does not depend on the order.
        judgments.fold(0, |sum: u64, (query, document, grade)| {
            let ids = hash(query) ^ hash(document).rotate_left(32);
            sum.wrapping_add(word(ids, u64::from(grade.cast_unsigned()), 0))
        })
    }

    pub(crate) fn table(&self) -> &Table<i32> {
        &self.table
    }
}

/// Whether a line names the columns of a BEIR table, letter case and `_` for `-` aside. `samtone-data`
/// has the same rule.
fn is_header(line: &str) -> bool {
    const NAMES: [&[&str]; 3] = [
        &["query-id", "queryid", "qid"],
        &["corpus-id", "corpusid", "doc-id", "docid", "did", "document-id", "passage-id", "pid"],
        &["score", "grade", "label", "rel", "relevance"],
    ];
    let columns: Vec<String> =
        line.split('\t').map(|name| name.trim().to_ascii_lowercase().replace('_', "-")).collect();
    columns.len() == NAMES.len()
        && columns.iter().zip(NAMES).all(|(column, names)| names.contains(&column.as_str()))
}

fn grade(text: &str) -> Result<i32, LineError> {
    text.parse().map_err(|_| LineError::Grade { got: text.to_owned() })
}

fn trec_line(line: &str) -> Parsed<'_, i32> {
    if let Some([query, _, document, value]) = columns(line) {
        return Ok((query, document, grade(value)?));
    }
    Err(LineError::Columns {
        expected: "`query 0 document grade`",
        got: line.split_ascii_whitespace().count(),
    })
}

fn beir_line(line: &str) -> Parsed<'_, i32> {
    let mut columns = line.split('\t');
    if let (Some(query), Some(document), Some(value), None) =
        (columns.next(), columns.next(), columns.next(), columns.next())
        && !query.is_empty()
        && !document.is_empty()
    {
        return Ok((query, document, grade(value.trim_ascii())?));
    }
    Err(LineError::Columns {
        expected: "`query-id corpus-id score` between tabs",
        got: line.split('\t').filter(|column| !column.trim_ascii().is_empty()).count(),
    })
}
