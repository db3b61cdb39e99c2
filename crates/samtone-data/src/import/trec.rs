//! TREC topics, qrels and documents, told apart by their contents.
//!
//! Topics are `<top>` records of the classic tracks (`<num>`, `<title>`, `<desc>`) or `<topic
//! number="...">` of the newer ones (`<query>`, `<question>`); the title or query is the text.
//! Documents are `<DOC>` records (`<DOCNO>`, `<TITLE>` or `<HEADLINE>`, `<TEXT>`), or a corpus in BEIR's
//! JSON lines. Anything else is qrels: query, iteration, document, grade, separated by white space.

use std::path::{Path, PathBuf};

use super::{ms_marco, sink::Sink};
use crate::{
    beir::DocumentLine,
    error::{DataError, Fault},
    lines::{Line, Lines},
};

/// What a file holds; the order is the one in which files are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Role {
    Documents,
    Corpus,
    Topics,
    Qrels,
}

/// A topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topic {
    /// The number, as qrels name it.
    pub id: String,
    /// The title (or query), or else the description.
    pub text: String,
}

/// Whether a record, read line by line, has its closing tag.
fn is_closed(bytes: &[u8]) -> bool {
    let last = bytes.rsplit(|&byte| byte == b'\n').next().unwrap_or_default();
    let last = last.to_ascii_lowercase();
    let holds = |tag: &[u8]| last.windows(tag.len()).any(|window| window == tag);
    holds(b"</top>") || holds(b"</topic>") || holds(b"</doc>")
}

fn next_record(lines: &mut Lines) -> Result<Option<Line<'_>>, DataError> {
    lines.next_until(is_closed)
}

/// The text of an element: to its closing tag, or (as classic topics leave that out) to the next tag.
fn element<'a>(record: &'a str, tag: &str) -> Option<&'a str> {
    let open = find_tag(record, tag)?;
    let body = &record[open + record[open..].find('>')? + 1..];
    let close = find_tag(body, &format!("/{tag}")).unwrap_or_else(|| {
        body.find("\n<").unwrap_or_else(|| body.find('<').unwrap_or(body.len()))
    });
    Some(&body[..close])
}

/// Where `<tag` stands, letter case aside.
fn find_tag(text: &str, tag: &str) -> Option<usize> {
    text.match_indices('<').map(|(at, _)| at).find(|&at| {
        let name = text[at + 1..].get(..tag.len());
        let after = text[at + 1..].get(tag.len()..).and_then(|rest| rest.chars().next());
        name.is_some_and(|name| name.eq_ignore_ascii_case(tag))
            && after.is_none_or(|c| c == '>' || c.is_whitespace())
    })
}

/// Text on one line, without tags and without the label and colon that classic fields begin with.
fn clean(text: &str, label: &str) -> String {
    let text = text.trim();
    let unlabelled = (!label.is_empty())
        .then(|| text.strip_prefix(label)?.trim_start().strip_prefix(':'))
        .flatten();
    let text = unlabelled.unwrap_or(text);
    let mut bare = String::with_capacity(text.len());
    let mut in_tag = false;
    for c in text.chars() {
        match c {
            '<' => in_tag = true,
            '>' if in_tag => {
                in_tag = false;
                bare.push(' ');
            }
            c if !in_tag => bare.push(c),
            _ => {}
        }
    }
    bare.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Parses a topic record; `None` for what stands around topics in XML.
///
/// # Errors
/// A [`Fault`] if the topic has no number or no text.
pub fn parse_topic(line: Line<'_>) -> Result<Option<Topic>, Fault> {
    let record = line.text()?;
    if find_tag(record, "top").is_none() && find_tag(record, "topic").is_none() {
        return Ok(None);
    }
    let missing = |field| Fault::MissingField { field, found: Vec::new() };
    let id = match element(record, "num") {
        Some(number) => clean(number, "Number"),
        None => attribute(record, "topic", "number").ok_or(missing("num"))?.to_owned(),
    };
    let fields = [
        ("title", "Topic"),
        ("query", ""),
        ("desc", "Description"),
        ("question", ""),
        ("description", ""),
    ];
    let mut texts =
        fields.iter().filter_map(|(tag, label)| Some(clean(element(record, tag)?, label)));
    let text = texts.find(|text| !text.is_empty()).ok_or(missing("title"))?;
    Ok(Some(Topic { id, text }))
}

/// The value of an attribute in quotes.
fn attribute<'a>(record: &'a str, tag: &str, name: &str) -> Option<&'a str> {
    let open = &record[find_tag(record, tag)?..];
    let open = &open[..open.find('>')?];
    let after = &open[open.find(&format!("{name}="))? + name.len() + 1..];
    let quote = after.chars().next().filter(|c| matches!(c, '"' | '\''))?;
    after[1..].split(quote).next()
}

/// Parses a document record: id, title, text; `None` for what stands around documents.
///
/// # Errors
/// A [`Fault`] if the document has no number or no text.
pub fn parse_document(line: Line<'_>) -> Result<Option<(String, String, String)>, Fault> {
    let record = line.text()?;
    if find_tag(record, "doc").is_none() {
        return Ok(None);
    }
    let missing = |field| Fault::MissingField { field, found: Vec::new() };
    let id = clean(element(record, "docno").ok_or(missing("DOCNO"))?, "");
    let title = element(record, "title").or_else(|| element(record, "headline"));
    let text = clean(element(record, "text").ok_or(missing("TEXT"))?, "");
    Ok(Some((id, title.map(|title| clean(title, "")).unwrap_or_default(), text)))
}

/// Writes a topic in the classic form.
///
/// # Errors
/// If `out` cannot be written.
pub fn write_topic(out: &mut impl std::io::Write, topic: &Topic) -> std::io::Result<()> {
    writeln!(out, "<top>\n<num> Number: {}\n<title> {}\n</top>", topic.id, topic.text)
}

/// Writes a judgment as a line of TREC qrels.
///
/// # Errors
/// If `out` cannot be written.
pub fn write_judgment(
    out: &mut impl std::io::Write,
    query: &str,
    document: &str,
    grade: i32,
) -> std::io::Result<()> {
    writeln!(out, "{query} 0 {document} {grade}")
}

/// What a file's first line tells.
fn role(path: &Path) -> Result<Role, DataError> {
    let mut lines = Lines::open(path)?;
    let Some(line) = lines.next()? else { return Ok(Role::Qrels) };
    let start = line.bytes.trim_ascii_start();
    let lower = start[..start.len().min(6)].to_ascii_lowercase();
    Ok(match &lower[..] {
        tag if tag.starts_with(b"<doc") => Role::Documents,
        tag if tag.starts_with(b"<") => Role::Topics,
        tag if tag.starts_with(b"{") => Role::Corpus,
        _ => Role::Qrels,
    })
}

pub(super) fn import(inputs: &[PathBuf], sink: &mut Sink<'_>) -> Result<(), DataError> {
    let mut files = Vec::new();
    for path in inputs {
        files.push((role(path)?, path));
    }
    files.sort_by_key(|(role, _)| *role);
    let split = sink.split();
    for (role, path) in files {
        match role {
            Role::Documents => sink.records(path, next_record, |sink, line| {
                let Some((id, title, text)) = parse_document(line)? else { return Ok(()) };
                sink.document(&id, &title, &text, line.number)
            }),
            Role::Corpus => sink.lines(path, |sink, line| {
                let document = DocumentLine::parse(line)?;
                sink.document(&document.id, &document.title, &document.text, line.number)
            }),
            Role::Topics => sink.records(path, next_record, |sink, line| {
                let Some(topic) = parse_topic(line)? else { return Ok(()) };
                sink.query(&topic.id, &topic.text, line.number)
            }),
            Role::Qrels => sink.lines(path, |sink, line| {
                let (query, document, grade) = ms_marco::parse_judgment(line)?;
                sink.judgment(&split, query, document, grade, true)
            }),
        }?;
    }
    Ok(())
}
