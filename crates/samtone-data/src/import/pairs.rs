//! JSON lines `{"query", "positive", "negatives"}`: what `samtone train` and `samtone mine` use.
//!
//! `query_id`, `positive_id` and `negative_ids` may stand beside them; texts without an id are told
//! apart by their text. `scores` are a teacher's: of the positive, then of each negative.

use std::io::{self, Write};

use serde::{Deserialize, Serialize};

use super::example::Example;
use super::passage::Passage;
use crate::error::Fault;
use crate::reading::json::{Id, Text};
use crate::reading::lines::Line;

/// A line's fields. Read and written, they borrow in different types of id and text.
#[derive(Serialize, Deserialize)]
struct Fields<I, T> {
    #[serde(skip_serializing_if = "Option::is_none")]
    query_id: Option<I>,
    query: Option<T>,
    #[serde(skip_serializing_if = "Option::is_none")]
    positive_id: Option<I>,
    positive: Option<T>,
    #[serde(skip_serializing_if = "Option::is_none")]
    negative_ids: Option<Vec<I>>,
    negatives: Option<Vec<T>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    scores: Option<Vec<f64>>,
}

/// Parses a line.
///
/// # Errors
/// A [`Fault`] if the line is not a pair.
pub fn parse<'a>(line: Line<'a>) -> Result<Example<'a>, Fault> {
    let raw: Fields<Id<'a>, Text<'a>> = line.json()?;
    let query = raw.query.ok_or_else(|| line.missing("query"))?;
    let positive = raw.positive.ok_or_else(|| line.missing("positive"))?;
    let negatives = raw.negatives.unwrap_or_default();
    let ids: Vec<Option<Id<'a>>> = match raw.negative_ids {
        None => negatives.iter().map(|_| None).collect(),
        Some(ids) if ids.len() == negatives.len() => ids.into_iter().map(Some).collect(),
        Some(ids) => {
            return Err(Fault::Value {
                field: "negative_ids",
                expected: "one id per negative",
                got: format!("{} ids for {} negatives", ids.len(), negatives.len()),
            });
        }
    };
    let scores = scores(raw.scores, 1 + negatives.len())?;
    let passage = |id: Option<Id<'a>>, text: Text<'a>, score| Passage {
        id: id.map(|id| id.0),
        score,
        ..Passage::text(text.0)
    };
    let texts = ids.into_iter().zip(negatives).zip(&scores[1..]);
    let example = Example {
        query: passage(raw.query_id, query, None),
        positives: vec![passage(raw.positive_id, positive, scores[0])],
        negatives: texts.map(|((id, text), &score)| passage(id, text, score)).collect(),
    };
    example.check()?;
    Ok(example)
}

/// One score a passage, or none for any of them.
fn scores(given: Option<Vec<f64>>, passages: usize) -> Result<Vec<Option<f64>>, Fault> {
    match given {
        None => Ok(vec![None; passages]),
        Some(scores) if scores.len() == passages => Ok(scores.into_iter().map(Some).collect()),
        Some(scores) => Err(Fault::Value {
            field: "scores",
            expected: "one score for the positive and one per negative",
            got: format!("{} scores for {passages} texts", scores.len()),
        }),
    }
}

/// Writes an example as one line for each positive. Titles have no place in this format; the ids of
/// the negatives are written if each has one, the scores if each text has one.
///
/// # Errors
/// If `out` cannot be written.
pub fn write(out: &mut impl Write, example: &Example<'_>) -> io::Result<()> {
    for positive in &example.positives {
        let ids: Option<Vec<&str>> = example.negatives.iter().map(Passage::id).collect();
        let negatives = example.negatives.iter().map(|negative| &*negative.text);
        let line = Fields {
            query_id: example.query.id(),
            query: Some(&*example.query.text),
            positive_id: positive.id(),
            positive: Some(&*positive.text),
            negative_ids: ids.filter(|ids| !ids.is_empty()),
            negatives: Some(negatives.collect()),
            scores: [positive].into_iter().chain(&example.negatives).map(|p| p.score).collect(),
        };
        serde_json::to_writer(&mut *out, &line)?;
        out.write_all(b"\n")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_has_no_field() {
        let example = Example {
            query: Passage::text("what?"),
            positives: vec![Passage { score: Some(1.5), ..Passage::text("one") }],
            negatives: Vec::new(),
        };
        let mut line = Vec::new();
        write(&mut line, &example).unwrap();
        let expected = r#"{"query":"what?","positive":"one","negatives":[],"scores":[1.5]}"#;
        assert_eq!(String::from_utf8(line).unwrap(), format!("{expected}\n"));
    }
}
