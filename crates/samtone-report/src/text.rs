//! Text from data sets, made harmless and short.
//!
//! Every string that reaches a page or a drawing passes [`clean`], then the escape of the place it
//! lands in: [`escape`] in markup, [`embed_json`] in a script block.

use std::collections::HashSet;

use serde::Serialize;

/// `text` on one line, at most `max_chars` characters long, the last an ellipsis if it was cut.
///
/// White space runs become one space. Control characters and noncharacters, which neither HTML nor
/// XML can hold, become U+FFFD. Of marks that stack on one letter the first few are kept: hundreds would
/// cover the lines around.
pub(crate) fn clean(text: &str, max_chars: usize) -> String {
    let mut out = String::with_capacity(text.len().min(4 * max_chars));
    let (mut chars, mut cut, mut marks) = (0, 0, 0);
    for word in text.split_whitespace() {
        let separator = (chars > 0).then_some(' ');
        for char in separator.into_iter().chain(word.chars()) {
            marks = if is_stacking(char) { marks + 1 } else { 0 };
            if marks > MOST_MARKS {
                continue;
            }
            if chars == max_chars {
                out.truncate(cut);
                out.push('…');
                return out;
            }
            if chars + 1 == max_chars {
                cut = out.len();
            }
            out.push(if is_forbidden(char) { '\u{fffd}' } else { char });
            chars += 1;
        }
    }
    out
}

/// Marks that stand on one letter: Vietnamese and polytonic Greek take two, phonetic alphabets three.
const MOST_MARKS: usize = 4;

/// Whether the character is of a block of marks that stack on the letter before.
fn is_stacking(char: char) -> bool {
    matches!(char, '\u{300}'..='\u{36f}' | '\u{1ab0}'..='\u{1aff}' | '\u{1dc0}'..='\u{1dff}' | '\u{20d0}'..='\u{20ff}' | '\u{fe20}'..='\u{fe2f}')
}

/// Whether HTML or XML 1.0 forbids the character, white space aside.
fn is_forbidden(char: char) -> bool {
    let code = u32::from(char);
    char.is_control() || code & 0xfffe == 0xfffe || (0xfdd0..=0xfdef).contains(&code)
}

/// Bytes that a button copies; of more there is none.
pub(crate) const MOST_COPIED: usize = 4000;

/// [`escape`] of all of `text` with its white space: what is copied must be what was written. What HTML
/// cannot hold becomes U+FFFD.
pub(crate) fn exact(text: &str) -> String {
    let is_kept = |char| !is_forbidden(char) || matches!(char, '\n' | '\t');
    escape(
        &text.chars().map(|char| if is_kept(char) { char } else { '\u{fffd}' }).collect::<String>(),
    )
}

/// `text` as the content of an element or a quoted attribute, in HTML and in XML.
pub(crate) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            _ => out.push(char),
        }
    }
    out
}

/// `value` as JSON that may stand in a `<script>` block: it holds no `<`, `>` or `&`, so nothing in
/// it can end the block or open a comment.
pub(crate) fn embed_json(value: &impl Serialize) -> String {
    serde_json::to_string(value)
        .expect("string keys and no failing serialisers")
        .replace('<', "\\u003c")
        .replace('>', "\\u003e")
        .replace('&', "\\u0026")
        .replace('\u{2028}', "\\u2028")
        .replace('\u{2029}', "\\u2029")
}

/// A file name and anchor for a title: lower-case letters, digits and single hyphens.
///
/// Empty when nothing of the title can be kept.
pub(crate) fn slug(title: &str) -> String {
    let mut out = String::new();
    for char in title.chars() {
        if char.is_ascii_alphanumeric() {
            out.push(char.to_ascii_lowercase());
        } else if !out.is_empty() && !out.ends_with('-') {
            out.push('-');
        }
        if out.len() == 60 {
            break;
        }
    }
    out.trim_end_matches('-').to_owned()
}

/// `stem`, or the first of `stem-2`, `stem-3`, … that is not `taken`; what is returned is, from then on.
pub(crate) fn unique(stem: String, taken: &mut HashSet<String>) -> String {
    let numbered = (2..).map(|n| format!("{stem}-{n}"));
    let mut names = std::iter::once(stem.clone()).chain(numbered);
    let name = names.find(|name| !taken.contains(name)).expect("an endless supply");
    taken.insert(name.clone());
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clean_cuts_long_texts_and_says_so() {
        assert_eq!(clean("a  b\n\tc ", 10), "a b c");
        assert_eq!(clean("abcdef", 6), "abcdef");
        assert_eq!(clean("abcdef", 4), "abc…");
        assert_eq!(clean(&"🦀".repeat(500), 3), "🦀🦀…");
    }

    #[test]
    fn clean_replaces_what_markup_cannot_hold() {
        assert_eq!(
            clean("a\0b\u{1b}c\u{ffff}d\u{fdd0}", 20),
            "a\u{fffd}b\u{fffd}c\u{fffd}d\u{fffd}"
        );
    }

    #[test]
    fn clean_keeps_a_few_of_the_marks_on_a_letter() {
        let marked = format!("e{}x\u{301}", "\u{301}".repeat(50));
        assert_eq!(clean(&marked, 20), format!("e{}x\u{301}", "\u{301}".repeat(4)));
    }

    #[test]
    fn what_is_copied_keeps_its_white_space() {
        assert_eq!(exact("a  \"b\"\n\tc\u{1}"), "a  &quot;b&quot;\n\tc\u{fffd}");
    }

    #[test]
    fn embedded_json_cannot_leave_its_block() {
        let json = embed_json(&"</script><!--&\u{2028}");
        assert_eq!(json, "\"\\u003c/script\\u003e\\u003c!--\\u0026\\u2028\"");
    }

    #[test]
    fn slugs_are_plain() {
        assert_eq!(slug("t-SNE: queries & documents"), "t-sne-queries-documents");
        assert_eq!(slug("∑"), "");
    }

    #[test]
    fn no_name_is_given_twice_whatever_the_titles() {
        let mut taken = HashSet::new();
        let names = ["a-3", "a", "a", "a", "a-2"].map(|stem| unique(stem.into(), &mut taken));
        assert_eq!(names, ["a-3", "a", "a-2", "a-4", "a-2-2"]);
    }
}
