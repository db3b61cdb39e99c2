//! Text to terms.

use rust_stemmers::{Algorithm, Stemmer};

/// The English stop words of Lucene, in order.
const LUCENE: [&str; 33] = [
    "a", "an", "and", "are", "as", "at", "be", "but", "by", "for", "if", "in", "into", "is", "it",
    "no", "not", "of", "on", "or", "such", "that", "the", "their", "then", "there", "these",
    "they", "this", "to", "was", "will", "with",
];

/// The words that make a sentence a question, in order.
const QUESTION: [&str; 12] =
    ["did", "do", "does", "how", "what", "when", "where", "which", "who", "whom", "whose", "why"];

/// Words left out of documents and queries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum StopWords {
    /// Lucene's 33 and 12 that make a question, such as `what` and `does`: a document seldom
    /// answers a question for holding its `how`.
    #[default]
    Question,
    /// Lucene's 33.
    Lucene,
    /// None.
    None,
}

impl StopWords {
    /// Whether a word in lower case is left out.
    pub fn contains(self, word: &str) -> bool {
        let lucene = || LUCENE.binary_search(&word).is_ok();
        match self {
            Self::Question => lucene() || QUESTION.binary_search(&word).is_ok(),
            Self::Lucene => lucene(),
            Self::None => false,
        }
    }
}

/// How a text becomes terms.
///
/// Terms are the longest runs of letters and digits (in Unicode's sense), in lower case:
/// `Don't use T5-base` is `don t use t5 base`. Lucene keeps `don't` in one piece and cuts the
/// English possessive off instead.
pub struct Analyzer {
    stop_words: StopWords,
    stemmer: Option<Stemmer>,
}

impl Analyzer {
    /// Terms without `stop_words`, cut to their English stem (Snowball's Porter 2) if `stem`.
    pub fn new(stop_words: StopWords, stem: bool) -> Self {
        Self { stop_words, stemmer: stem.then(|| Stemmer::create(Algorithm::English)) }
    }

    /// Calls `take` with each term in turn.
    pub fn for_each_term(&self, text: &str, mut take: impl FnMut(&str)) {
        let mut lower = String::new();
        for word in text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()) {
            lower.clear();
            lower.extend(word.chars().flat_map(char::to_lowercase));
            if self.stop_words.contains(&lower) {
                continue;
            }
            match &self.stemmer {
                Some(stemmer) => take(&stemmer.stem(&lower)),
                None => take(&lower),
            }
        }
    }
}

impl Default for Analyzer {
    /// Without the usual [`StopWords`], not stemmed.
    fn default() -> Self {
        Self::new(StopWords::default(), false)
    }
}

/// What the analyzer does, in words that no other one has.
impl std::fmt::Display for Analyzer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let stop_words = match self.stop_words {
            StopWords::Question => "Lucene's stop words and a question's",
            StopWords::Lucene => "Lucene's stop words",
            StopWords::None => "no stop words",
        };
        let words = if self.stemmer.is_some() { "English stems" } else { "whole words" };
        // Which characters are letters.
        let (major, minor, _) = char::UNICODE_VERSION;
        write!(f, "{stop_words}, {words}, Unicode {major}.{minor}")
    }
}

impl std::fmt::Debug for Analyzer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Analyzer")
            .field("stop_words", &self.stop_words)
            .field("stem", &self.stemmer.is_some())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(analyzer: &Analyzer, text: &str, expected: &[&str]) {
        let mut terms = Vec::new();
        analyzer.for_each_term(text, |term| terms.push(term.to_owned()));
        assert_eq!(terms, expected);
    }

    #[test]
    fn terms_are_runs_of_letters_and_digits_in_lower_case() {
        let plain = Analyzer::new(StopWords::None, false);
        check(&plain, "Don't use T5-base!", &["don", "t", "use", "t5", "base"]);
        check(&plain, "Ünïcode, ΣΟΦΌΣ 東京", &["ünïcode", "σοφόσ", "東京"]);
        check(&plain, " -- ", &[]);
    }

    #[test]
    fn stop_words_are_left_out_whatever_their_case() {
        let text = "What IS the answer";
        check(&Analyzer::default(), text, &["answer"]);
        check(&Analyzer::new(StopWords::Lucene, false), text, &["what", "answer"]);
    }

    #[test]
    fn stems_are_snowball_english() {
        check(&Analyzer::new(StopWords::None, true), "running flies", &["run", "fli"]);
    }

    #[test]
    fn the_lists_are_in_order() {
        assert!(LUCENE.is_sorted() && QUESTION.is_sorted());
    }
}
