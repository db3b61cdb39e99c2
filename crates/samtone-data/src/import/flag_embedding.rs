//! `FlagEmbedding`'s JSON lines: `{"query", "pos": [...], "neg": [...]}`, with a teacher's `pos_scores`
//! and `neg_scores` or without. Prompts beside them are left aside.

use std::io::{self, Write};

use serde::{Deserialize, Serialize};

use super::example::Example;
use super::passage::Passage;
use crate::error::Fault;
use crate::reading::json::Text;
use crate::reading::lines::Line;

#[derive(Deserialize)]
struct Raw<'a> {
    #[serde(borrow)]
    query: Option<Text<'a>>,
    #[serde(borrow)]
    pos: Option<Vec<Text<'a>>>,
    #[serde(borrow)]
    neg: Option<Vec<Text<'a>>>,
    pos_scores: Option<Vec<f64>>,
    neg_scores: Option<Vec<f64>>,
}

/// Parses a line.
///
/// # Errors
/// A [`Fault`] if the line is not an example.
pub fn parse<'a>(line: Line<'a>) -> Result<Example<'a>, Fault> {
    let raw: Raw<'a> = line.json()?;
    let query = raw.query.ok_or_else(|| line.missing("query"))?;
    let positives = raw.pos.ok_or_else(|| line.missing("pos"))?;
    let example = Example {
        query: Passage::text(query.0),
        positives: passages("pos_scores", positives, raw.pos_scores)?,
        negatives: passages("neg_scores", raw.neg.unwrap_or_default(), raw.neg_scores)?,
    };
    example.check()?;
    Ok(example)
}

/// Texts with their scores, if they have any.
fn passages<'a>(
    field: &'static str,
    texts: Vec<Text<'a>>,
    scores: Option<Vec<f64>>,
) -> Result<Vec<Passage<'a>>, Fault> {
    let scores: Vec<Option<f64>> = match scores {
        None => vec![None; texts.len()],
        Some(scores) if scores.len() == texts.len() => scores.into_iter().map(Some).collect(),
        Some(scores) => {
            let got = format!("{} scores for {} texts", scores.len(), texts.len());
            return Err(Fault::Value { field, expected: "one score per text", got });
        }
    };
    let texts = texts.into_iter().zip(scores);
    Ok(texts.map(|(text, score)| Passage { score, ..Passage::text(text.0) }).collect())
}

#[derive(Serialize)]
struct Written<'a> {
    query: &'a str,
    pos: Vec<&'a str>,
    neg: Vec<&'a str>,
}

/// Writes an example as one line; ids and titles have no place in this format.
///
/// # Errors
/// If `out` cannot be written.
pub fn write(out: &mut impl Write, example: &Example<'_>) -> io::Result<()> {
    let line = Written {
        query: &example.query.text,
        pos: example.positives.iter().map(|positive| &*positive.text).collect(),
        neg: example.negatives.iter().map(|negative| &*negative.text).collect(),
    };
    serde_json::to_writer(&mut *out, &line)?;
    out.write_all(b"\n")
}
