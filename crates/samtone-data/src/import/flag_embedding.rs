//! `FlagEmbedding`'s JSON lines: `{"query", "pos": [...], "neg": [...]}`. Scores and prompts beside them
//! are left aside.

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
}

/// Parses a line.
///
/// # Errors
/// A [`Fault`] if the line is not an example.
pub fn parse<'a>(line: Line<'a>) -> Result<Example<'a>, Fault> {
    let raw: Raw<'a> = line.json()?;
    let query = raw.query.ok_or_else(|| line.missing("query"))?;
    let positives = raw.pos.ok_or_else(|| line.missing("pos"))?;
    let texts =
        |texts: Vec<Text<'a>>| texts.into_iter().map(|text| Passage::text(text.0)).collect();
    let example = Example {
        query: Passage::text(query.0),
        positives: texts(positives),
        negatives: texts(raw.neg.unwrap_or_default()),
    };
    example.check()?;
    Ok(example)
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
