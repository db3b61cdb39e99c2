//! Splitting a paragraph into sentences.

use std::ops::Range;

/// Words whose full stop ends no sentence.
const ABBREVIATIONS: [&str; 47] = [
    "mr", "mrs", "ms", "dr", "prof", "st", "mt", "ft", "rev", "gen", "col", "lt", "sgt", "capt",
    "cmdr", "gov", "sen", "rep", "hon", "jr", "sr", "inc", "ltd", "co", "corp", "vs", "etc", "e.g",
    "i.e", "cf", "al", "no", "vol", "fig", "ed", "eds", "pp", "approx", "dept", "est", "u.s",
    "u.k", "jan", "feb", "aug", "sept", "dec",
];

/// The sentences of a text, as byte ranges without the white space between them.
///
/// A sentence ends at a line break, or at `.`, `!`, `?` or `…` with any closing quotes and brackets,
/// where white space and then a capital, a digit or an opening quote or bracket follow, unless the
/// word before the full stop is an initial or a known abbreviation. Every character that is not white
/// space lies in exactly one sentence.
///
/// # Examples
///
/// ```
/// use samtone_data::import::sentences::sentences;
///
/// let text = "Dr. J. Wells slept. \"Why?\" asked the U.S. consul.";
/// let found: Vec<&str> = sentences(text).into_iter().map(|range| &text[range]).collect();
/// assert_eq!(found, ["Dr. J. Wells slept.", "\"Why?\" asked the U.S. consul."]);
/// ```
pub fn sentences(text: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut start = 0;
    let mut chars = text.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        let end = at + c.len_utf8();
        if c == '\n' {
            push_trimmed(text, start..end, &mut found);
            start = end;
            continue;
        }
        if !matches!(c, '.' | '!' | '?' | '…') {
            continue;
        }
        let mut end = end;
        while let Some((at, c)) =
            chars.next_if(|(_, c)| is_closing(*c) || matches!(c, '.' | '!' | '?'))
        {
            end = at + c.len_utf8();
        }
        let after = &text[end..];
        let next = after.trim_start();
        let breaks = next.len() < after.len()
            && next.chars().next().is_some_and(begins_sentence)
            && !(c == '.' && end == at + 1 && is_abbreviation(&text[start..at]));
        if breaks {
            push_trimmed(text, start..end, &mut found);
            start = end;
        }
    }
    push_trimmed(text, start..text.len(), &mut found);
    found
}

fn push_trimmed(text: &str, range: Range<usize>, found: &mut Vec<Range<usize>>) {
    let part = &text[range.clone()];
    let start = range.start + (part.len() - part.trim_start().len());
    let end = start + part.trim().len();
    if end > start {
        found.push(start..end);
    }
}

fn is_closing(c: char) -> bool {
    matches!(c, '"' | '\'' | ')' | ']' | '}' | '”' | '’' | '»')
}

fn begins_sentence(c: char) -> bool {
    c.is_uppercase()
        || c.is_numeric()
        || matches!(c, '"' | '\'' | '(' | '[' | '{' | '“' | '‘' | '«')
        || (c.is_alphabetic() && !c.is_lowercase())
}

/// Whether the full stop after `before` belongs to its last word.
fn is_abbreviation(before: &str) -> bool {
    let word = before.rsplit(|c: char| c.is_whitespace() || matches!(c, '(' | '[' | '"' | '“'));
    let word = word.take(1).collect::<String>();
    let mut chars = word.chars();
    let initial = matches!((chars.next(), chars.next()), (Some(c), None) if c.is_uppercase());
    initial || ABBREVIATIONS.contains(&&*word.to_lowercase())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &[&str]) {
        let found: Vec<&str> = sentences(text).into_iter().map(|range| &text[range]).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn sentences_end_where_a_reader_ends_them() {
        check("One. Two! Three? Four", &["One.", "Two!", "Three?", "Four"]);
        check(
            "It cost $3.50. (He paid.) \"Fine.\" So",
            &["It cost $3.50.", "(He paid.)", "\"Fine.\"", "So"],
        );
        check("Wait... what? Yes.", &["Wait... what?", "Yes."]);
        check("Line one\nline two", &["Line one", "line two"]);
        check(
            "In the U.S. Army of J. Smith et al. 1999 e.g. The end",
            &["In the U.S. Army of J. Smith et al. 1999 e.g. The end"],
        );
        check(" \n ", &[]);
    }

    proptest! {
        #[test]
        fn nothing_is_lost(text in "[a-zA-Z0-9.!?\"' \n()é…]{0,80}") {
            let kept: String = sentences(&text).into_iter().map(|range| text[range].to_owned()).collect();
            let bare = |s: &str| s.chars().filter(|c| !c.is_whitespace()).collect::<String>();
            prop_assert_eq!(bare(&kept), bare(&text));
        }
    }
}
