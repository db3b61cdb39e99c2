//! What a value says of how relevant a document is.

use super::Cell;
use crate::error::Fault;
use crate::import::passage::Passage;

fn value<'a>(cell: &'a Cell<'_>) -> &'a str {
    let (Cell::Text(value) | Cell::Other(value)) = cell;
    value.trim()
}

fn wrong(field: &'static str, expected: &'static str, cell: &Cell<'_>) -> Fault {
    Fault::Value { field, expected, got: value(cell).to_owned() }
}

fn number(text: &str) -> Option<f64> {
    text.trim().parse().ok().filter(|number: &f64| number.is_finite())
}

/// The grade that a label of 0 or 1 stands for.
pub(super) fn label(cell: &Cell<'_>) -> Result<i32, Fault> {
    match value(cell) {
        "1" | "1.0" | "true" => Ok(1),
        "0" | "0.0" | "false" => Ok(0),
        _ => Err(wrong("label", "0 (not relevant) or 1 (relevant)", cell)),
    }
}

/// A grade, `2` or `2.0`.
pub(super) fn grade(cell: &Cell<'_>) -> Result<i32, Fault> {
    let digits = value(cell).trim_end_matches('0').strip_suffix('.');
    let grade = digits.unwrap_or(value(cell)).parse().ok();
    grade.ok_or_else(|| wrong("grade", "a whole number, 1 or more if it is relevant", cell))
}

/// How far the positive's score is above the negative's.
pub(super) fn margin(cell: &Cell<'_>) -> Result<f64, Fault> {
    number(value(cell)).ok_or_else(|| wrong("margin", "a number", cell))
}

/// Scores in brackets, parted by commas or by blanks as NumPy prints them.
pub(super) fn scores(cell: &Cell<'_>) -> Result<Vec<f64>, Fault> {
    let inside = value(cell).strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let parts = inside.map(|list| {
        let is_between = |c: char| c == ',' || c.is_whitespace();
        list.split(is_between).filter(|part| !part.is_empty()).map(number).collect()
    });
    parts.flatten().ok_or_else(|| wrong("scores", "a list of numbers, as in `[0.9, 0.2]`", cell))
}

/// Gives the positive and each negative its score.
pub(super) fn give<'a>(
    positive: &mut Passage<'a>,
    negatives: &mut [Passage<'a>],
    scores: &[f64],
) -> Result<(), Fault> {
    if scores.len() != 1 + negatives.len() {
        let got = format!("{} scores for {} texts", scores.len(), 1 + negatives.len());
        let expected = "one score for the positive and one per negative";
        return Err(Fault::Value { field: "scores", expected, got });
    }
    let passages = std::iter::once(positive).chain(negatives);
    passages.zip(scores).for_each(|(passage, &score)| passage.score = Some(score));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_what_it_says_or_refused() {
        let of = |text: &str| Cell::Text(text.to_owned().into());
        for (text, expected) in [
            ("2", Some(2)),
            (" 10 ", Some(10)),
            ("20.0", Some(20)),
            ("-1", Some(-1)),
            ("0.0", Some(0)),
        ] {
            assert_eq!(grade(&of(text)).ok(), expected, "{text}");
        }
        for text in ["0.5", "", "high", "1e3", "99999999999", "."] {
            assert!(grade(&of(text)).is_err(), "{text}");
        }
        assert_eq!(margin(&of("-3.5e-1")).unwrap(), -0.35);
        for text in ["", "nan", "inf", "[1]"] {
            assert!(margin(&of(text)).is_err(), "{text}");
        }
        assert_eq!(scores(&of("[0.5, -1]")).unwrap(), [0.5, -1.0]);
        assert_eq!(scores(&of("[ 9.5  1e-3]")).unwrap(), [9.5, 0.001]);
        for text in ["0.5", "[0.5, x]", "[nan]", "a list"] {
            assert!(scores(&of(text)).is_err(), "{text}");
        }
    }
}
