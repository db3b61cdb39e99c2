//! Sentences that tell triples, in KELM's form, and where their entities stand.

use std::ops::Range;

use samtone_data::Fault;
use samtone_data::reading::Line;
use serde::Deserialize;

/// A sentence and the places of its entities in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sentence {
    /// The sentence.
    pub text: String,
    /// Bytes of the text that name an entity, in the order of the text.
    pub spans: Vec<Range<usize>>,
    /// Triples of its line with more than three parts.
    pub longer_triples: usize,
}

#[derive(Deserialize)]
struct RawSentence {
    #[serde(alias = "gen_sentence", alias = "sentence")]
    text: Option<String>,
    #[serde(default)]
    triples: Vec<Vec<String>>,
    #[serde(default)]
    entities: Vec<String>,
}

impl Sentence {
    /// Parses a line of KELM's corpus: JSON with the sentence (`gen_sentence`, or `text`) and its
    /// `triples` as lists of subject, relation, object, or a list of `entities`.
    ///
    /// KELM cuts some triples into four parts: a relation in two (`Ann, voice, type, soprano`), or a
    /// qualifier with what it qualifies (`Ann, a prize, winner, Bob`). Their entities are the first
    /// and the last part; [`Sentence::longer_triples`] counts them.
    ///
    /// None if the sentence names none of its entities.
    ///
    /// # Errors
    /// A [`Fault`] if the line holds no sentence, or a triple of fewer than three parts.
    pub fn parse(line: Line<'_>) -> Result<Option<Self>, Fault> {
        let raw: RawSentence = line.json()?;
        let text = raw.text.ok_or_else(|| line.missing("gen_sentence"))?;
        let mut entities = raw.entities;
        let mut longer_triples = 0;
        for triple in raw.triples {
            let [subject, _, rest @ .., object] = &triple[..] else {
                let expected = "lists of subject, relation, object";
                let got = format!("a list of {}", triple.len());
                return Err(Fault::Value { field: "triples", expected, got });
            };
            longer_triples += usize::from(!rest.is_empty());
            entities.extend([subject.clone(), object.clone()]);
        }
        Ok(Self::find(text, &entities).map(|sentence| Self { longer_triples, ..sentence }))
    }

    /// Finds `entities` in `text` as the paper does (appendix A): in lower case and without punctuation,
    /// dates also in another spelling, and an entity that is not there without its trailing bracket.
    ///
    /// A departure: an entity must be whole words of the text. `None` if none is found.
    ///
    /// # Examples
    ///
    /// ```
    /// use samtone_skill::Sentence;
    ///
    /// let text = "John Doe was born on 5 May 1990 in St. Ives.".to_owned();
    /// let entities = ["John Doe (actor)", "1990-05-05", "St Ives"].map(String::from);
    /// let sentence = Sentence::find(text, &entities).unwrap();
    /// let names: Vec<&str> = sentence.spans.iter().map(|span| &sentence.text[span.clone()]).collect();
    /// assert_eq!(names, ["John Doe", "5 May 1990", "St. Ives"]);
    /// ```
    pub fn find(text: String, entities: &[String]) -> Option<Self> {
        let words = words(&text);
        let mut spans: Vec<Range<usize>> = entities
            .iter()
            .filter_map(|entity| {
                find_words(&words, entity).or_else(|| find_date(&words, entity)).or_else(|| {
                    let bare = entity.trim_end().strip_suffix(')')?.rsplit_once('(')?.0;
                    find_words(&words, bare)
                })
            })
            .collect();
        spans.sort_by_key(|span| (span.start, span.end));
        spans.dedup();
        (!spans.is_empty()).then_some(Self { text, spans, longer_triples: 0 })
    }
}

/// A word in lower case without punctuation, and its bytes from its first to its last letter.
struct Word {
    letters: String,
    place: Range<usize>,
}

fn words(text: &str) -> Vec<Word> {
    let mut words: Vec<Word> = Vec::new();
    let mut is_new = true;
    for (start, c) in text.char_indices() {
        if c.is_whitespace() {
            is_new = true;
        } else if c.is_alphanumeric() {
            let end = start + c.len_utf8();
            if is_new {
                words.push(Word { letters: String::new(), place: start..end });
            }
            is_new = false;
            if let Some(word) = words.last_mut() {
                word.letters.extend(c.to_lowercase());
                word.place.end = end;
            }
        }
    }
    words
}

fn find_words(text: &[Word], entity: &str) -> Option<Range<usize>> {
    let entity = words(entity);
    if entity.is_empty() {
        return None;
    }
    let same = |window: &&[Word]| window.iter().zip(&entity).all(|(a, b)| a.letters == b.letters);
    let found = text.windows(entity.len()).find(same)?;
    Some(found[0].place.start..found[found.len() - 1].place.end)
}

/// Year, month, day.
type Date = (u32, u32, u32);

fn find_date(text: &[Word], entity: &str) -> Option<Range<usize>> {
    let entity = words(entity);
    let wanted = date(&entity)?;
    let mut windows = text.windows(3).chain(text.windows(1));
    let found = windows.find(|window| date(window) == Some(wanted))?;
    Some(found[0].place.start..found[found.len() - 1].place.end)
}

/// The date that words are: `5 May 1990`, `May 5, 1990` or `1990-05-05` (with or without a time).
fn date(words: &[Word]) -> Option<Date> {
    const MONTHS: [&str; 12] =
        ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
    const NAMES: [&str; 12] = [
        "january",
        "february",
        "march",
        "april",
        "may",
        "june",
        "july",
        "august",
        "september",
        "october",
        "november",
        "december",
    ];
    let month = |word: &str| {
        let at = |names: [&str; 12]| names.iter().position(|name| *name == word);
        at(NAMES).or_else(|| at(MONTHS)).map(|at| at as u32 + 1)
    };
    let day = |word: &str| {
        let digits = ["st", "nd", "rd", "th"].iter().find_map(|end| word.strip_suffix(end));
        digits.unwrap_or(word).parse().ok().filter(|day| (1..=31).contains(day))
    };
    let year = |word: &str| (word.len() == 4).then(|| word.parse().ok()).flatten();
    match words.iter().map(|word| word.letters.as_str()).collect::<Vec<_>>()[..] {
        [a, b, c] => {
            let (day, month) = match (month(a), month(b)) {
                (Some(month), _) => (day(b)?, month),
                (None, Some(month)) => (day(a)?, month),
                (None, None) => return None,
            };
            Some((year(c)?, month, day))
        }
        [whole] => {
            // Punctuation is gone: 19900505, perhaps with 000000 or t000000z behind.
            let digits =
                whole.get(..8).filter(|digits| digits.bytes().all(|b| b.is_ascii_digit()))?;
            let number: u32 = digits.parse().ok()?;
            let date = (number / 10_000, number / 100 % 100, number % 100);
            ((1..=12).contains(&date.1) && (1..=31).contains(&date.2)).then_some(date)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, entity: &str, expected: Option<&str>) {
        let found = Sentence::find(text.to_owned(), &[entity.to_owned()]);
        let found = found.map(|sentence| sentence.text[sentence.spans[0].clone()].to_owned());
        assert_eq!(found.as_deref(), expected);
    }

    #[test]
    fn entities_are_found_as_the_paper_finds_them() {
        check("Pulp Fiction won the Palme d’Or.", "palme d'or", Some("Palme d’Or"));
        check("He lives in Washington, D.C., now.", "Washington D C", None);
        check("He lives in Washington, D.C., now.", "Washington DC", Some("Washington, D.C"));
        check("Australia is large.", "US", None);
        check("John Doe sings.", "John Doe (born 1990)", Some("John Doe"));
        check("John Doe (born 1990) sings.", "John Doe (born 1990)", Some("John Doe (born 1990"));
        check("It opened May 5th, 1990.", "05 May 1990", Some("May 5th, 1990"));
        check("It opened 5 May 1990.", "+1990-05-05T00:00:00Z", Some("5 May 1990"));
        check("It opened 6 May 1990.", "1990-05-05", None);
        check("", "x", None);
        check("x", "()", None);
    }

    #[test]
    fn lines_of_kelm_are_read() {
        let parse = |text: &str| Sentence::parse(Line { number: 1, bytes: text.as_bytes() });
        let line =
            r#"{"triples": [["Ada", "born in", "London"]], "gen_sentence": "Ada is from London."}"#;
        assert_eq!(parse(line).unwrap().unwrap().spans, [0..3, 12..18]);
        assert_eq!(parse(r#"{"text": "Nobody.", "entities": ["Ada"]}"#).unwrap(), None);
        assert!(parse(r#"{"triples": []}"#).is_err());
        for short in ["[]", r#"["a"]"#, r#"["a", "b"]"#] {
            let fault = parse(&format!(r#"{{"text": "x", "triples": [{short}]}}"#)).unwrap_err();
            assert!(matches!(fault, Fault::Value { field: "triples", .. }), "{short}: {fault}");
        }
    }

    #[test]
    fn a_triple_that_kelm_cut_in_four_names_its_first_and_last_part() {
        let parse = |triples: &str| {
            let text = "Ann Lee sings as a soprano of that voice type in Rome.";
            let line = format!(r#"{{"gen_sentence": "{text}", "triples": {triples}}}"#);
            let sentence = Sentence::parse(Line { number: 1, bytes: line.as_bytes() });
            let Sentence { text, spans, longer_triples } = sentence.unwrap().unwrap();
            let names = spans.into_iter().map(|span| text[span].to_owned());
            (names.collect::<Vec<_>>(), longer_triples)
        };
        let ann = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
        let four = r#"["Ann Lee", "voice", "type", "soprano"]"#;
        let three = r#"["Ann Lee", "lives in", "Rome"]"#;
        let five = r#"["Ann Lee", "voice", "type", "that", "Rome"]"#;
        assert_eq!(parse(&format!("[{four}]")), (ann(&["Ann Lee", "soprano"]), 1));
        assert_eq!(parse(&format!("[{three}]")), (ann(&["Ann Lee", "Rome"]), 0));
        let all = ann(&["Ann Lee", "soprano", "Rome"]);
        assert_eq!(parse(&format!("[{four}, {three}, {five}]")), (all, 2));
    }
}
