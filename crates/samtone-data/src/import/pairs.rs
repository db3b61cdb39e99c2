//! JSON lines `{"query", "positive", "negatives"}`: what `samtone train` and `samtone mine` use.
//!
//! `query_id`, `positive_id` and `negative_ids` may stand beside them; texts without an id are told
//! apart by their text. `scores` are a teacher's: of the positive, then of each negative.

use std::fmt;
use std::io::{self, Write};

use serde::de::{MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

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

/// A line whose `scores` are these, in the place of any it had; its other fields, known here or not,
/// stay as they are and in their order.
///
/// # Errors
/// A [`Fault`] if the line is no JSON object.
pub fn with_scores(line: Line<'_>, scores: &[f32]) -> Result<String, Fault> {
    let Ordered(mut fields) = line.json()?;
    fields.retain(|(name, _)| name != "scores");
    let scored = Scored { fields, scores };
    Ok(serde_json::to_string(&scored).expect("what was JSON is JSON again"))
}

/// The fields of an object in their order.
struct Ordered(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Ordered {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields;
        impl<'de> Visitor<'de> for Fields {
            type Value = Ordered;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Ordered, A::Error> {
                let mut fields = Vec::new();
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                }
                Ok(Ordered(fields))
            }
        }
        deserializer.deserialize_map(Fields)
    }
}

/// A line's fields, and then its scores.
struct Scored<'a> {
    fields: Vec<(String, Value)>,
    scores: &'a [f32],
}

impl Serialize for Scored<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (name, value) in &self.fields {
            map.serialize_entry(name, value)?;
        }
        map.serialize_entry("scores", self.scores)?;
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_are_all_that_changes_of_a_line() {
        for (line, expected) in [
            (
                r#"{"query": "a?", "positive": "é", "z": {"b": 1.0}, "negatives": ["b"], "a": null}"#,
                r#"{"query":"a?","positive":"é","z":{"b":1.0},"negatives":["b"],"a":null,"scores":[0.1,-2.0]}"#,
            ),
            (
                r#"{"scores":[1,2],"query":"a?","positive":"b"}"#,
                r#"{"query":"a?","positive":"b","scores":[0.1,-2.0]}"#,
            ),
        ] {
            let line = Line { number: 1, bytes: line.as_bytes() };
            assert_eq!(with_scores(line, &[0.1, -2.0]).unwrap(), expected);
        }
        assert!(with_scores(Line { number: 1, bytes: b"[1]" }, &[]).is_err());
    }

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
