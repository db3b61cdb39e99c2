//! Training examples into the folder: their texts, judgments and scores.

use std::path::PathBuf;

use super::example::Example;
use super::sink::{Failure, Sink};
use crate::error::{DataError, Fault};
use crate::reading::lines::Line;

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
