//! Knowledge graphs and questions: their records and files.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::{DataError, Fault};
use crate::reading::lines::{Line, Lines};

/// One fact: subject, relation, object, as text.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Triple {
    /// What the fact is about.
    pub subject: String,
    /// What is said of it.
    pub relation: String,
    /// The other side of the relation.
    pub object: String,
}

/// A question and the answers that are right.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QaPair {
    /// The question.
    pub question: String,
    /// The right answers, at least one.
    pub answers: Vec<String>,
}

#[derive(Deserialize)]
struct RawQaPair {
    question: Option<String>,
    #[serde(alias = "answer")]
    answers: Option<Answers>,
}

/// The right answers to a question, written as a list or, as Natural Questions and others do, as one
/// text.
#[derive(Deserialize)]
#[serde(from = "OneOrMany")]
pub struct Answers(pub Vec<String>);

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl From<OneOrMany> for Answers {
    fn from(answers: OneOrMany) -> Self {
        match answers {
            OneOrMany::One(answer) => Self(vec![answer]),
            OneOrMany::Many(answers) => Self(answers),
        }
    }
}

impl Triple {
    /// Parses a line of `triples.tsv`.
    ///
    /// # Errors
    /// A [`Fault`] if the line is not a triple.
    pub fn parse(line: Line<'_>) -> Result<Self, Fault> {
        let text = line.text()?;
        let columns: Vec<&str> = text.split('\t').collect();
        let [subject, relation, object] = columns[..] else {
            let expected = "3 columns (subject, relation, object)";
            return Err(Fault::Columns { expected, got: columns.len() });
        };
        for (field, value) in [("subject", subject), ("relation", relation), ("object", object)] {
            if value.trim().is_empty() {
                return Err(Fault::EmptyField { field });
            }
        }
        Ok(Self { subject: subject.into(), relation: relation.into(), object: object.into() })
    }
}

impl QaPair {
    /// Parses a line of QA; other fields than `question` and `answers` (or `answer`) are left aside.
    ///
    /// # Errors
    /// A [`Fault`] if the line is not a question with answers.
    pub fn parse(line: Line<'_>) -> Result<Self, Fault> {
        let raw: RawQaPair = line.json()?;
        let question = raw.question.ok_or_else(|| line.missing("question"))?;
        let Answers(answers) = raw.answers.ok_or_else(|| line.missing("answers"))?;
        Self::new(question, answers)
    }

    /// A question with at least one answer, none of them empty.
    ///
    /// # Errors
    /// A [`Fault`] if it is not so.
    pub fn new(question: String, answers: Vec<String>) -> Result<Self, Fault> {
        if question.trim().is_empty() {
            return Err(Fault::EmptyField { field: "question" });
        }
        if answers.is_empty() || answers.iter().any(|answer| answer.trim().is_empty()) {
            return Err(Fault::EmptyField { field: "answers" });
        }
        Ok(Self { question, answers })
    }
}

/// Reads a file of triples, plain, `.gz` or `.zst`.
///
/// # Errors
/// At the first line that cannot be read or is not a triple.
pub fn read_triples(path: &Path) -> Result<Vec<Triple>, DataError> {
    read(path, Triple::parse)
}

/// Reads a file of questions, plain, `.gz` or `.zst`.
///
/// # Errors
/// At the first line that cannot be read or is not a question with answers.
pub fn read_qa(path: &Path) -> Result<Vec<QaPair>, DataError> {
    read(path, QaPair::parse)
}

fn read<T>(path: &Path, parse: impl Fn(Line<'_>) -> Result<T, Fault>) -> Result<Vec<T>, DataError> {
    let mut lines = Lines::open(path)?;
    let mut all = Vec::new();
    while let Some(line) = lines.next()? {
        match parse(line) {
            Ok(record) => all.push(record),
            Err(fault) => return Err(lines.fault(fault)),
        }
    }
    Ok(all)
}

/// Writes triples, one a line. The file appears whole or not at all.
///
/// # Errors
/// If the file cannot be written.
pub fn write_triples(path: &Path, triples: &[Triple]) -> Result<(), DataError> {
    write(path, triples, |out, triple| {
        writeln!(out, "{}\t{}\t{}", triple.subject, triple.relation, triple.object)
    })
}

/// Writes questions, one a line. The file appears whole or not at all.
///
/// # Errors
/// If the file cannot be written.
pub fn write_qa(path: &Path, questions: &[QaPair]) -> Result<(), DataError> {
    write(path, questions, |out, question| {
        serde_json::to_writer(&mut *out, question)?;
        out.write_all(b"\n")
    })
}

fn write<T>(
    path: &Path,
    records: &[T],
    record: impl Fn(&mut BufWriter<File>, &T) -> std::io::Result<()>,
) -> Result<(), DataError> {
    let all = |out: &mut BufWriter<File>| records.iter().try_for_each(|each| record(out, each));
    samtone_files::write_whole(path, all).map_err(DataError::writing(path))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn cell() -> impl Strategy<Value = String> {
        "[^\t\n\r]*[^\\s\u{FEFF}][^\t\n\r]*"
            .prop_filter("a byte order mark", |s| !s.starts_with('\u{FEFF}'))
    }

    proptest! {
        #[test]
        fn writing_and_reading_is_the_identity(
            triples in prop::collection::vec((cell(), cell(), cell()), 0..10),
            questions in prop::collection::vec((".*[^\\s].*", prop::collection::vec(".*[^\\s].*", 1..3)), 0..10),
        ) {
            let dir = tempfile::tempdir().unwrap();
            let triples: Vec<Triple> = triples
                .into_iter()
                .map(|(subject, relation, object)| Triple { subject, relation, object })
                .collect();
            let path = dir.path().join("triples.tsv");
            write_triples(&path, &triples).unwrap();
            prop_assert_eq!(read_triples(&path).unwrap(), triples);
            let questions: Vec<QaPair> = questions
                .into_iter()
                .map(|(question, answers)| QaPair { question, answers })
                .collect();
            let path = dir.path().join("qa.jsonl");
            write_qa(&path, &questions).unwrap();
            prop_assert_eq!(read_qa(&path).unwrap(), questions);
        }
    }
}
