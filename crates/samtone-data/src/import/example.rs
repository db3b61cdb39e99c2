//! Training examples: a query with its positives and negatives, as foreign files hold them.

use std::path::PathBuf;

use super::passage::Passage;
use super::sink::{Failure, Sink};
use crate::error::{DataError, Fault};
use crate::reading::lines::Line;

/// A query with its positives and negatives.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Example<'a> {
    /// The query; its title is empty.
    pub query: Passage<'a>,
    /// The documents relevant to it, at least one.
    pub positives: Vec<Passage<'a>>,
    /// Documents not relevant to it.
    pub negatives: Vec<Passage<'a>>,
}

impl Example<'_> {
    /// Checks what every format demands: no empty text, and a positive.
    ///
    /// # Errors
    /// The first [`Fault`].
    pub fn check(&self) -> Result<(), Fault> {
        let is_empty = |passage: &Passage<'_>| {
            passage.text.trim().is_empty() && passage.title.trim().is_empty()
        };
        if is_empty(&self.query) {
            return Err(Fault::EmptyField { field: "query" });
        }
        if self.positives.is_empty() {
            let query = match self.query.id() {
                Some(id) => id.to_owned(),
                None => self.query.text.chars().take(40).collect(),
            };
            return Err(Fault::NoPositive { query });
        }
        if self.positives.iter().any(is_empty) {
            return Err(Fault::EmptyField { field: "positive" });
        }
        if self.negatives.iter().any(is_empty) {
            return Err(Fault::EmptyField { field: "negative" });
        }
        Ok(())
    }
}

/// Writes an example: its new texts, a judgment for each positive (`grade`) and negative (0), and a
/// teacher's scores where each text has one.
pub(super) fn write(
    sink: &mut Sink<'_>,
    example: &Example<'_>,
    grade: i32,
    line: u64,
) -> Result<(), Failure> {
    example.check()?;
    let split = sink.split();
    let query = sink.intern_query(&example.query, line)?;
    for (passages, grade) in [(&example.positives, grade), (&example.negatives, 0)] {
        for passage in passages {
            let document = sink.passage(passage, line)?;
            sink.judge(&split, query, document, grade)?;
        }
    }
    if example.positives.iter().chain(&example.negatives).all(|passage| passage.score.is_some()) {
        sink.scored(&split, example)?;
    }
    Ok(())
}

/// Imports files of one example a line.
pub(super) fn import(
    inputs: &[PathBuf],
    sink: &mut Sink<'_>,
    parse: impl for<'a> Fn(Line<'a>) -> Result<Example<'a>, Fault>,
) -> Result<(), DataError> {
    for path in inputs {
        sink.begin(path);
        sink.lines(path, |sink, line| write(sink, &parse(line)?, 1, line.number))?;
    }
    Ok(())
}
