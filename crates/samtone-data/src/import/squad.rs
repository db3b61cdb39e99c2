//! SQuAD v1.1 JSON and MRQA JSON lines, as retrieval of the sentence that holds the answer.
//!
//! Every sentence of every context is a document (`ReQA`, MultiReQA); those in which an answer begins
//! are relevant to its question. Sentence boundaries are our own splitter's, or MultiReQA's files'
//! (`{"candidate_id", "response_start", "response_end"}`, in characters of the context), which are
//! matched to contexts through the ids of their questions.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::io::Read;
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use super::options::{ImportOptions, Unit};
use super::sentences::sentences;
use super::sink::{Failure, Sink};
use crate::error::{DataError, Fault};
use crate::reading::lines::{self, Line};

/// An article: a title and its paragraphs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Article {
    /// The title.
    #[serde(default)]
    pub title: String,
    /// The paragraphs.
    pub paragraphs: Vec<Paragraph>,
}

/// A context with its questions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Paragraph {
    /// The text.
    pub context: String,
    /// The questions about it.
    pub qas: Vec<SquadQuestion>,
}

/// A question with its answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SquadQuestion {
    /// The id.
    pub id: String,
    /// The text.
    pub question: String,
    /// Where the answers are.
    #[serde(default)]
    pub answers: Vec<Answer>,
}

/// An answer in a context.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// The text.
    pub text: String,
    /// Where it begins, in characters from 0.
    pub answer_start: usize,
}

#[derive(Deserialize)]
struct MrqaLine {
    header: Option<IgnoredAny>,
    context: Option<String>,
    qas: Option<Vec<MrqaQuestion>>,
}

#[derive(Deserialize)]
struct MrqaQuestion {
    qid: Option<String>,
    id: Option<String>,
    question: String,
    #[serde(default)]
    detected_answers: Vec<MrqaAnswer>,
}

#[derive(Deserialize)]
struct MrqaAnswer {
    text: String,
    char_spans: Vec<(usize, usize)>,
}

/// Parses a line of MRQA; `None` for the header.
///
/// # Errors
/// A [`Fault`] if the line is no context with questions.
pub fn parse_mrqa(line: Line<'_>) -> Result<Option<Paragraph>, Fault> {
    let raw: MrqaLine = line.json()?;
    if raw.header.is_some() && raw.context.is_none() {
        return Ok(None);
    }
    let context = raw.context.ok_or_else(|| line.missing("context"))?;
    let questions = raw.qas.ok_or_else(|| line.missing("qas"))?;
    let question = |raw: MrqaQuestion| {
        let id = raw.qid.or(raw.id).ok_or_else(|| line.missing("qid"))?;
        let answers = raw.detected_answers.into_iter().flat_map(|answer| {
            let text = answer.text;
            let starts = answer.char_spans.into_iter();
            starts.map(move |(start, _)| Answer { text: text.clone(), answer_start: start })
        });
        Ok(SquadQuestion { id, question: raw.question, answers: answers.collect() })
    };
    let qas = questions.into_iter().map(question).collect::<Result<_, Fault>>()?;
    Ok(Some(Paragraph { context, qas }))
}

/// Reads the articles of a SQuAD file one after the other, calling `each`: memory is bounded by the
/// largest article. `Err` in the inner result stops the reading.
///
/// # Errors
/// The JSON error, if the file is not SQuAD's.
pub fn read_articles<E>(
    reader: impl Read,
    each: &mut dyn FnMut(Article) -> Result<(), E>,
) -> Result<Result<(), E>, serde_json::Error> {
    let mut stopped = Ok(());
    let mut deserializer = serde_json::Deserializer::from_reader(reader);
    let read = File { each, stopped: &mut stopped }.deserialize(&mut deserializer);
    match (read, stopped) {
        (_, Err(error)) => Ok(Err(error)),
        (Err(error), Ok(())) => Err(error),
        (Ok(()), Ok(())) => deserializer.end().map(Ok),
    }
}

/// The whole file: an object whose `data` is a list of articles.
struct File<'a, E> {
    each: &'a mut dyn FnMut(Article) -> Result<(), E>,
    stopped: &'a mut Result<(), E>,
}

impl<'de, E> DeserializeSeed<'de> for File<'_, E> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de, E> Visitor<'de> for File<'_, E> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with a list `data` of articles")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<(), M::Error> {
        let mut found = false;
        while let Some(key) = map.next_key::<Cow<'_, str>>()? {
            if key == "data" {
                found = true;
                map.next_value_seed(Articles {
                    each: &mut *self.each,
                    stopped: &mut *self.stopped,
                })?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        if found { Ok(()) } else { Err(serde::de::Error::missing_field("data")) }
    }
}

struct Articles<'a, E> {
    each: &'a mut dyn FnMut(Article) -> Result<(), E>,
    stopped: &'a mut Result<(), E>,
}

impl<'de, E> DeserializeSeed<'de> for Articles<'_, E> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de, E> Visitor<'de> for Articles<'_, E> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of articles")
    }

    fn visit_seq<S: SeqAccess<'de>>(self, mut seq: S) -> Result<(), S::Error> {
        while let Some(article) = seq.next_element()? {
            if let Err(error) = (self.each)(article) {
                *self.stopped = Err(error);
                return Err(serde::de::Error::custom("stopped"));
            }
        }
        Ok(())
    }
}

/// MultiReQA's sentence boundaries: question id to ranges, in characters of its context.
type Boundaries = HashMap<String, Vec<Range<usize>>>;

#[derive(Deserialize)]
struct RawBoundary {
    candidate_id: Option<String>,
    response_start: Option<usize>,
    response_end: Option<usize>,
}

/// Parses a line of MultiReQA's candidates: the id of a question of the context, and the range of one of
/// its sentences in characters.
///
/// # Errors
/// A [`Fault`] if the line is no boundary.
pub fn parse_boundary(line: Line<'_>) -> Result<(String, Range<usize>), Fault> {
    let raw: RawBoundary = line.json()?;
    let id = raw.candidate_id.ok_or_else(|| line.missing("candidate_id"))?;
    let start = raw.response_start.ok_or_else(|| line.missing("response_start"))?;
    let end = raw.response_end.ok_or_else(|| line.missing("response_end"))?;
    // An id holds a question's id of 16 hexadecimal digits or more, with the names of data set and
    // sentence around it.
    let digits = |c: char| !c.is_ascii_hexdigit();
    let longest = id.split(digits).max_by_key(|part| part.len()).unwrap_or_default();
    let id = if longest.len() >= 16 { longest.to_owned() } else { id };
    Ok((id, start..end.max(start)))
}

/// The documents of a context: their byte ranges.
fn documents(paragraph: &Paragraph, unit: Unit, boundaries: &Boundaries) -> Vec<Range<usize>> {
    let context = &paragraph.context;
    if unit == Unit::Paragraph {
        return std::iter::once(0..context.len()).collect();
    }
    let given = paragraph.qas.iter().find_map(|question| boundaries.get(&question.id));
    let Some(given) = given else { return sentences(context) };
    let bytes: Vec<usize> =
        context.char_indices().map(|(at, _)| at).chain([context.len()]).collect();
    let byte = |character: usize| bytes[character.min(bytes.len() - 1)];
    let mut ranges: Vec<_> = given.iter().map(|range| byte(range.start)..byte(range.end)).collect();
    ranges.sort_unstable_by_key(|range| range.start);
    ranges.retain(|range| !context[range.clone()].trim().is_empty());
    ranges
}

/// The documents in which the answers of a question begin.
fn relevant(
    question: &SquadQuestion,
    context: &str,
    documents: &[Range<usize>],
) -> Result<Vec<usize>, Fault> {
    let mut found = Vec::new();
    for answer in &question.answers {
        let start = answer.answer_start;
        let at = context.char_indices().nth(start).map(|(at, _)| at);
        let at = at.filter(|&at| context[at..].starts_with(&answer.text)).ok_or_else(|| {
            let (id, answer) = (question.id.clone(), answer.text.clone());
            Fault::Answer { id, answer, start }
        })?;
        // An answer's leading white space may lie before its sentence.
        let at = at + (answer.text.len() - answer.text.trim_start().len());
        let document = documents.iter().rposition(|range| range.start <= at);
        found.extend(document.filter(|document| !found.contains(document)));
    }
    if found.is_empty() {
        return Err(Fault::NoPositive { query: question.id.clone() });
    }
    found.sort_unstable();
    Ok(found)
}

pub(super) fn import(
    inputs: &[PathBuf],
    options: &ImportOptions,
    sink: &mut Sink<'_>,
) -> Result<(), DataError> {
    let mut boundaries = Boundaries::new();
    for path in &options.boundaries {
        sink.lines(path, |_, line| {
            let (id, range) = parse_boundary(line)?;
            boundaries.entry(id).or_default().push(range);
            Ok(())
        })?;
    }
    let (names, seen) = (HashSet::new(), 0);
    let mut contexts = Contexts { boundaries, unit: options.unit, seen, articles: 0, names };
    for path in inputs {
        sink.begin(path);
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
        if name.unwrap_or_default().contains(".jsonl") {
            sink.lines(path, |sink, line| match parse_mrqa(line)? {
                None => Ok(()),
                Some(paragraph) => {
                    let prefix = contexts.unique(&format!("c{}", contexts.seen));
                    contexts.take(sink, path, line.number, "", &prefix, &paragraph)
                }
            })?;
        } else {
            import_squad(path, &mut contexts, sink)?;
        }
    }
    Ok(())
}

fn import_squad(
    path: &Path,
    contexts: &mut Contexts,
    sink: &mut Sink<'_>,
) -> Result<(), DataError> {
    let mut number = 0;
    let read = read_articles(
        lines::open_decoded(path, sink.options().encoding)?,
        &mut |article: Article| {
            number += 1;
            let title = article.title.replace('_', " ");
            let name = contexts.name(&article.title);
            for (i, paragraph) in article.paragraphs.iter().enumerate() {
                let prefix = format!("{name}_{i}");
                let taken = contexts.take(sink, path, number, &title, &prefix, paragraph);
                sink.outcome(taken.map_err(|failure| failure.at(path, number)))?;
                sink.count(0);
            }
            Ok::<_, DataError>(())
        },
    );
    match read {
        Ok(outcome) => outcome?,
        Err(error) => {
            let (path, line) = (path.to_owned(), error.line() as u64);
            // A file that breaks off is one record gone wrong: what came before it stands.
            sink.outcome(Err(DataError::Record { path, line, fault: Fault::json(&error) }))?;
        }
    }
    sink.file_done(std::fs::metadata(path).map_or(0, |metadata| metadata.len()));
    Ok(())
}

/// The contexts seen so far, and how to cut them.
struct Contexts {
    boundaries: Boundaries,
    unit: Unit,
    seen: usize,
    articles: usize,
    /// What ids of documents have begun with so far.
    names: HashSet<String>,
}

impl Contexts {
    /// What the ids of an article's documents begin with, in any of the files: its title or, without
    /// one, its number.
    fn name(&mut self, title: &str) -> String {
        self.articles += 1;
        match title.replace(char::is_whitespace, "_") {
            title if title.is_empty() => self.unique(&format!("a{}", self.articles)),
            title => self.unique(&title),
        }
    }

    /// This name, with a number after it if it was given out before.
    fn unique(&mut self, name: &str) -> String {
        let mut unique = name.to_owned();
        let mut copy = 1;
        while !self.names.insert(unique.clone()) {
            copy += 1;
            unique = format!("{name}-{copy}");
        }
        unique
    }

    /// Writes a context's documents and its questions. A wrong question is one wrong record.
    fn take(
        &mut self,
        sink: &mut Sink<'_>,
        path: &Path,
        line: u64,
        title: &str,
        prefix: &str,
        paragraph: &Paragraph,
    ) -> Result<(), Failure> {
        self.seen += 1;
        let documents = documents(paragraph, self.unit, &self.boundaries);
        let id = |document: usize| match self.unit {
            Unit::Sentence => format!("{prefix}_{document}"),
            Unit::Paragraph => prefix.to_owned(),
        };
        for (i, range) in documents.iter().enumerate() {
            sink.document(&id(i), title, &paragraph.context[range.clone()], line)?;
        }
        let split = sink.split();
        for question in &paragraph.qas {
            let take = |sink: &mut Sink<'_>| -> Result<(), Failure> {
                let positives = relevant(question, &paragraph.context, &documents)?;
                sink.query(&question.id, question.question.trim(), line)?;
                for document in positives {
                    sink.judgment(&split, &question.id, &id(document), 1, false)?;
                }
                Ok(())
            };
            let taken = take(sink).map_err(|failure| failure.at(path, line));
            sink.outcome(taken)?;
        }
        Ok(())
    }
}
