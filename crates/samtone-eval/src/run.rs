//! Ranked lists.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use crate::error::{EvalError, Result};
use crate::search::Hit;
use crate::source::{Source, columns};
use crate::table::{LineError, Parsed, Table};

/// A run: for each query, documents and their scores.
///
/// Queries and documents keep the order they came in. How equal scores are ranked, and in which
/// precision scores are compared, is for the [`Convention`](crate::Convention) to say: see
/// [`evaluate`](crate::evaluate). A document named twice for one query, or a NaN score, is an error.
///
/// # Examples
///
/// ```
/// use samtone_eval::Run;
///
/// let run = Run::new([("q1", "d1", 0.5), ("q1", "d2", 0.7)])?;
/// assert_eq!(run.documents("q1").count(), 2);
/// # Ok::<(), samtone_eval::EvalError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Run {
    table: Table<f64>,
}

impl Run {
    /// Gathers `(query id, document id, score)` triples, in any order.
    ///
    /// # Errors
    /// [`EvalError::Duplicate`], [`EvalError::NanScore`].
    pub fn new<Q: AsRef<str>, D: AsRef<str>>(
        triples: impl IntoIterator<Item = (Q, D, f64)>,
    ) -> Result<Self> {
        let table = Table::collect(triples)?;
        for query in 0..table.len() {
            if let Some((document, _)) = table.documents(query).find(|(_, score)| score.is_nan()) {
                return Err(EvalError::NanScore {
                    query: table.query(query).to_owned(),
                    document: document.to_owned(),
                });
            }
        }
        Ok(Self { table })
    }

    /// Names the hits of a search: row `i` of `hits` belongs to `queries[i]`, and a hit's index
    /// to `documents[index]`.
    ///
    /// Each score enters as the shortest decimal that names it, so that a run written to a file
    /// and read again is the same run, and its scores rounded to f32 are the search's.
    ///
    /// # Errors
    /// [`EvalError::Duplicate`] when ids repeat.
    ///
    /// # Panics
    /// If `queries` and `hits` differ in length or a hit's index has no document.
    pub fn from_hits<Q: AsRef<str>, D: AsRef<str>>(
        queries: &[Q],
        documents: &[D],
        hits: &[Vec<Hit>],
    ) -> Result<Self> {
        assert_eq!(queries.len(), hits.len(), "one list of hits for each query");
        Self::new(queries.iter().zip(hits).flat_map(|(query, hits)| {
            hits.iter().map(move |hit| {
                (query.as_ref(), documents[hit.index].as_ref(), shortest_decimal(hit.score))
            })
        }))
    }

    /// Reads a TREC file: `query Q0 document rank score tag`, the rank ignored.
    ///
    /// # Errors
    /// A file that cannot be read, a wrong line or a repeated document, with the line's number.
    pub fn read(path: impl AsRef<Path>) -> Result<Self> {
        Self::from_source(&Source::open(path.as_ref())?)
    }

    /// Reads a run from a text already in memory; `path` is only named in errors.
    ///
    /// # Errors
    /// As [`Run::read`].
    pub fn parse(path: impl AsRef<Path>, text: &str) -> Result<Self> {
        Self::from_source(&Source::text(path.as_ref(), text))
    }

    fn from_source(source: &Source<'_>) -> Result<Self> {
        let (start, _) = source.first_line()?;
        Ok(Self { table: Table::read(source, start, trec_line)? })
    }

    /// Makes sure that a TREC file can name every id of the run and `tag`: what
    /// [`write_to`](Self::write_to) trusts.
    ///
    /// # Errors
    /// [`EvalError::UnwritableId`] with the first of the ids, or the tag, that cannot stand there.
    pub fn check_ids(&self, tag: &str) -> Result<()> {
        let ids = (0..self.table.len()).flat_map(|query| {
            std::iter::once(self.table.query(query))
                .chain(self.table.documents(query).map(|(document, _)| document))
        });
        match ids.chain([tag]).find(|id| !Self::can_name(id)) {
            Some(id) => Err(EvalError::UnwritableId { id: id.to_owned() }),
            None => Ok(()),
        }
    }

    /// Whether `id` can stand in a TREC file, whose columns white space separates.
    pub fn can_name(id: &str) -> bool {
        !id.is_empty() && !id.contains(|c: char| c.is_ascii_whitespace())
    }

    /// Writes the lines of a TREC file, each query's documents by score descending and then as they
    /// came, once [`check_ids`](Self::check_ids) has passed.
    ///
    /// Scores are written with as few digits as give the same number back.
    ///
    /// # Errors
    /// If `out` cannot be written.
    pub fn write_to(&self, out: &mut impl Write, tag: &str) -> io::Result<()> {
        for query in 0..self.table.len() {
            let mut ranked: Vec<(&str, f64)> = self.table.documents(query).collect();
            ranked.sort_by(|a, b| b.1.total_cmp(&a.1));
            let query = self.table.query(query);
            for (rank, (document, score)) in (1..).zip(ranked) {
                writeln!(out, "{query} Q0 {document} {rank} {score} {tag}")?;
            }
        }
        Ok(())
    }

    /// Writes a TREC file: [`write_to`](Self::write_to) a new file, its ids checked first.
    ///
    /// # Errors
    /// [`EvalError::Write`], [`EvalError::UnwritableId`].
    pub fn write(&self, path: impl AsRef<Path>, tag: &str) -> Result<()> {
        let path = path.as_ref();
        self.check_ids(tag)?;
        let write = || -> io::Result<()> {
            let mut out = BufWriter::new(File::create(path)?);
            self.write_to(&mut out, tag)?;
            out.flush()
        };
        write().map_err(|source| EvalError::Write { path: path.to_owned(), source })
    }

    /// How many queries the run answers.
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Whether the run is empty.
    pub fn is_empty(&self) -> bool {
        self.table.len() == 0
    }

    /// The queries' ids, in order of first appearance.
    pub fn queries(&self) -> impl ExactSizeIterator<Item = &str> {
        (0..self.table.len()).map(|query| self.table.query(query))
    }

    /// A query's documents and scores as they came; empty for a query the run does not answer.
    pub fn documents(&self, query: &str) -> impl Iterator<Item = (&str, f64)> {
        self.table.find(query).into_iter().flat_map(|query| self.table.documents(query))
    }

    pub(crate) fn table(&self) -> &Table<f64> {
        &self.table
    }
}

/// The f64 nearest to the shortest decimal that names `score`.
fn shortest_decimal(score: f32) -> f64 {
    score.to_string().parse().expect("a printed f32 is a number")
}

fn trec_line(line: &str) -> Parsed<'_, f64> {
    if let Some([query, _, document, _, score, _]) = columns(line) {
        return match score.parse::<f64>() {
            Ok(value) if !value.is_nan() => Ok((query, document, value)),
            _ => Err(LineError::Score { got: score.to_owned() }),
        };
    }
    Err(LineError::Columns {
        expected: "`query Q0 document rank score tag`",
        got: line.split_ascii_whitespace().count(),
    })
}
