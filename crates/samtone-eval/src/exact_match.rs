//! Exact match of short answers.

use std::sync::LazyLock;

use regex::Regex;

/// The answer as T5 and SQuAD compare it: in lower case, without ASCII punctuation, without the
/// articles a, an and the, words joined by single spaces.
///
/// Source: `normalize_squad` in T5's evaluation, which is `normalize_answer` of SQuAD's; Python's
/// notions of a word (letters and numbers of any script, and `_`) and of white space hold.
///
/// # Examples
///
/// ```
/// use samtone_eval::normalize_answer;
///
/// assert_eq!(normalize_answer("The  Palme d'Or (1994)!"), "palme dor 1994");
/// ```
pub fn normalize_answer(text: &str) -> String {
    let lower: String = text.to_lowercase().chars().filter(|c| !c.is_ascii_punctuation()).collect();
    let mut kept = String::with_capacity(lower.len());
    let mut rest = 0;
    for word in WORD.find_iter(&lower) {
        if ["a", "an", "the"].contains(&word.as_str()) {
            kept.push_str(&lower[rest..word.start()]);
            kept.push(' ');
            rest = word.end();
        }
    }
    kept.push_str(&lower[rest..]);
    kept.split(is_space).filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

/// Whether `prediction` is one of the right `answers`, all of them normalised.
///
/// # Examples
///
/// ```
/// use samtone_eval::exact_match;
///
/// assert!(exact_match("the U.S.A.", &["America", "USA"]));
/// assert!(!exact_match("USA and Canada", &["USA"]));
/// ```
pub fn exact_match<S: AsRef<str>>(prediction: &str, answers: &[S]) -> bool {
    let prediction = normalize_answer(prediction);
    answers.iter().any(|answer| normalize_answer(answer.as_ref()) == prediction)
}

/// A word by Python's `\w`: general categories L and N, and the underscore.
static WORD: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"[\p{L}\p{N}_]+").expect("the pattern is a literal"));

/// White space by Python's `str.split`: Unicode's, and four separators of ASCII.
fn is_space(c: char) -> bool {
    c.is_whitespace() || ('\u{1C}'..='\u{1F}').contains(&c)
}
