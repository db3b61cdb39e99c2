//! TREC topics, qrels and documents, told apart by their contents.
//!
//! Topics are `<top>` records of the classic tracks (`<num>`, `<title>`, `<desc>`) or `<topic
//! number="...">` of the newer ones (`<query>`, `<question>`); the title or query is the text.
//! Documents are `<DOC>` records with a `<DOCNO>`, or a corpus in BEIR's JSON lines. A document's fields
//! are Anserini's but for the dates, each as often as it comes: `<TITLE>`, `<HEADLINE>`, `<HL>`,
//! `<HEAD>` and `<TTL>` make the title, `<TEXT>`, `<LP>` and `<LEADPARA>` the text. Anything else is
//! qrels: query, iteration, document, grade, separated by white space.
//!
//! Markup is read as browsers read it: a `<` that begins no tag is text, tags and comments fall away,
//! `&amp;` and its like are the characters they name. What stands between records belongs to none; a
//! record that is cut off, at its beginning or its end, is a fault.

mod markup;
mod records;

use std::path::{Path, PathBuf};

use self::markup::{Tag, clean, tags};
pub use self::records::{Kind, TrecRecords};
use super::{
    ms_marco,
    sink::{Failure, Sink},
};
use crate::error::{DataError, Fault};
use crate::reading::beir::DocumentLine;
use crate::reading::lines::Line;

/// What a file holds; the order is the one in which files are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Role {
    Documents,
    Corpus,
    Topics,
    Qrels,
}

/// What of a document is its title, and what its text.
const TITLES: [&str; 5] = ["TITLE", "HEADLINE", "HL", "HEAD", "TTL"];
const TEXTS: [&str; 3] = ["TEXT", "LP", "LEADPARA"];

/// Fields that a topic's text is taken from, the first that is not empty, each with the label that it
/// begins with in the classic tracks.
const QUERIES: [(&str, &str); 5] = [
    ("title", "Topic"),
    ("query", ""),
    ("desc", "Description"),
    ("question", ""),
    ("description", ""),
];
/// Other fields of topics: they end one that has no closing tag.
const OTHERS: [&str; 10] =
    ["num", "narr", "narrative", "dom", "smry", "con", "fac", "def", "head", "nat"];

/// A topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topic {
    /// The number, as qrels name it.
    pub id: String,
    /// The title (or query), or else the description.
    pub text: String,
}

/// A document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrecDocument {
    /// The number, as qrels name it.
    pub id: String,
    /// Its titles, a space between them; empty if it has none.
    pub title: String,
    /// Its texts, a space between them; empty if it has none.
    pub text: String,
}

/// A field: what stands between `tags[open]` and its closing tag or, where that is left out, the first
/// tag that `ends` it; and the place of that in `tags`.
fn field<'a>(
    record: &'a str,
    tags: &[Tag<'_>],
    open: usize,
    ends: impl Fn(&Tag<'_>) -> bool,
) -> (&'a str, usize) {
    let after = || tags.iter().enumerate().skip(open + 1);
    let end = after().find(|(_, tag)| tag.closes(tags[open].name));
    let end = end.or_else(|| after().find(|(_, tag)| ends(tag)));
    let (at, end) = end.map_or((tags.len(), record.len()), |(at, tag)| (at, tag.place.start));
    (&record[tags[open].place.end..end], at)
}

/// Parses a topic record.
///
/// # Errors
/// A [`Fault`] if the topic has no number or no text.
pub fn parse_topic(line: Line<'_>) -> Result<Topic, Fault> {
    let record = line.text()?;
    let tags: Vec<Tag<'_>> = tags(record).collect();
    let find = |name: &str, label| {
        let open = tags.iter().position(|tag| tag.opens(name))?;
        // Classic topics leave closing tags out; a field ends at the next one, or at a line that
        // begins with a tag.
        let ends = |tag: &Tag<'_>| {
            let is_field = OTHERS.iter().chain(QUERIES.iter().map(|(name, _)| name));
            Kind::Topics.is_tag(tag.name)
                || is_field.copied().any(|name| tag.opens(name))
                || record[..tag.place.start].trim_end_matches([' ', '\t']).ends_with('\n')
        };
        Some(clean(field(record, &tags, open, ends).0, label))
    };
    let missing = |field| Fault::MissingField { field, found: names(&tags) };
    let number = || tags.iter().find(|tag| tag.opens("topic"))?.attribute("number");
    let id = find("num", "Number").or_else(|| Some(clean(number()?, ""))).ok_or(missing("num"))?;
    let mut texts = QUERIES.iter().filter_map(|&(name, label)| find(name, label));
    let text = texts.find(|text| !text.is_empty()).ok_or(missing("title"))?;
    Ok(Topic { id, text })
}

/// Parses a document record.
///
/// # Errors
/// A [`Fault`] if the document has no number, or no field that is title or text.
pub fn parse_document(line: Line<'_>) -> Result<TrecDocument, Fault> {
    let record = line.text()?;
    let tags: Vec<Tag<'_>> = tags(record).collect();
    let missing = |field| Fault::MissingField { field, found: names(&tags) };
    let open = tags.iter().position(|tag| tag.opens("DOCNO")).ok_or(missing("DOCNO"))?;
    let (id, mut at) = field(record, &tags, open, |_| true);
    let (mut titles, mut texts) = (Vec::new(), Vec::new());
    while let Some(tag) = tags.get(at) {
        let of = |names: &[&str]| names.iter().any(|name| tag.opens(name));
        let part = match (of(&TITLES), of(&TEXTS)) {
            (true, _) => &mut titles,
            (_, true) => &mut texts,
            _ => {
                at += 1;
                continue;
            }
        };
        let ends = |tag: &Tag<'_>| {
            let mut names = TITLES.iter().chain(&TEXTS);
            names.any(|name| tag.opens(name)) || Kind::Documents.is_tag(tag.name)
        };
        let body;
        (body, at) = field(record, &tags, at, ends);
        part.push(clean(body, ""));
    }
    if titles.is_empty() && texts.is_empty() {
        return Err(missing("TEXT"));
    }
    let join = |mut parts: Vec<String>| {
        parts.retain(|part| !part.is_empty());
        parts.join(" ")
    };
    Ok(TrecDocument { id: clean(id, ""), title: join(titles), text: join(texts) })
}

/// The names of the opening tags, each once.
fn names(tags: &[Tag<'_>]) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for tag in tags.iter().filter(|tag| !tag.is_closing) {
        if !names.iter().any(|name| name == tag.name) {
            names.push(tag.name.to_owned());
        }
    }
    names
}

/// What a file's beginning tells.
fn role(path: &Path, sink: &Sink<'_>) -> Result<Role, DataError> {
    let mut lines = sink.open(path)?;
    match lines.next()?.map(|line| line.bytes.trim_ascii_start()) {
        Some([b'<', ..]) => {}
        Some([b'{', ..]) => return Ok(Role::Corpus),
        _ => return Ok(Role::Qrels),
    }
    // The first record may stand behind a declaration, comments and tags around all.
    loop {
        let line = lines.last();
        for (kind, role) in [(Kind::Documents, Role::Documents), (Kind::Topics, Role::Topics)] {
            if kind.is_in(line) {
                return Ok(role);
            }
        }
        if lines.next()?.is_none() {
            let expected = "`<DOC>`, `<top>` or `<topic>` records, a BEIR corpus, or qrels";
            return Err(DataError::UnknownRole { path: path.to_owned(), expected });
        }
    }
}

/// Reads the records of a file, `each` turning one into what the sink takes.
fn read(
    path: &Path,
    kind: Kind,
    sink: &mut Sink<'_>,
    each: impl Fn(&mut Sink<'_>, Line<'_>) -> Result<(), Failure>,
) -> Result<(), DataError> {
    let mut records = TrecRecords::new(kind, sink.open(path)?);
    loop {
        let position = records.position();
        let outcome = match records.next() {
            Ok(None) => break,
            Ok(Some(record)) => {
                each(sink, record).map_err(|failure| failure.at(path, record.number))
            }
            Err(error) => Err(error),
        };
        sink.outcome(outcome)?;
        sink.count(position);
    }
    sink.file_done(records.position());
    Ok(())
}

pub(super) fn import(inputs: &[PathBuf], sink: &mut Sink<'_>) -> Result<(), DataError> {
    let mut files = Vec::new();
    for path in inputs {
        files.push((role(path, sink)?, path));
    }
    files.sort_by_key(|(role, _)| *role);
    let split = sink.split();
    for (role, path) in files {
        match role {
            Role::Documents => read(path, Kind::Documents, sink, |sink, record| {
                let TrecDocument { id, title, text } = parse_document(record)?;
                sink.document(&id, &title, &text, record.number)
            }),
            Role::Corpus => sink.lines(path, |sink, line| {
                let document = DocumentLine::parse(line)?;
                sink.document(&document.id, &document.title, &document.text, line.number)
            }),
            Role::Topics => read(path, Kind::Topics, sink, |sink, record| {
                let Topic { id, text } = parse_topic(record)?;
                sink.query(&id, &text, record.number)
            }),
            Role::Qrels => sink.lines(path, |sink, line| {
                let (query, document, grade) = ms_marco::parse_judgment(line)?;
                sink.judgment(&split, query, document, grade, true)
            }),
        }?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::import::{Format, ImportOptions, ImportReport, OnError, import};

    /// What files become, or the error: corpus and queries, one string each.
    fn imported(
        files: &[(&str, &str)],
        on_error: OnError,
    ) -> Result<(ImportReport, [String; 2]), DataError> {
        let dir = tempfile::tempdir().unwrap();
        let inputs: Vec<PathBuf> = files.iter().map(|(name, _)| dir.path().join(name)).collect();
        for (path, (_, text)) in inputs.iter().zip(files) {
            std::fs::write(path, text).unwrap();
        }
        let (out, options) =
            (dir.path().join("out"), ImportOptions { on_error, ..Default::default() });
        let report = import(Format::Trec, &inputs, &out, &options, &mut |_| {})?;
        let read = |name: &str| std::fs::read_to_string(out.join(name)).unwrap();
        Ok((report, [read("corpus.jsonl"), read("queries.jsonl")]))
    }

    const TOPICS: (&str, &str) = ("topics", "<topic number=\"1\"><query>a</query></topic>");

    #[test]
    fn a_torn_document_is_an_error_or_skipped() {
        let torn =
            "<DOC>\n<DOCNO>D1</DOCNO>\n<TEXT>a</TEXT>\n</DOC> <DOC>\n<DOCNO>D2</DOCNO>\n<TEXT>b";
        let files = [TOPICS, ("docs", torn)];
        let error = imported(&files, OnError::Fail).unwrap_err().to_string();
        assert!(
            error.ends_with("docs`, line 4: the record is cut off: it has no `</DOC>`"),
            "{error}"
        );
        let (report, [corpus, _]) = imported(&files, OnError::Skip).unwrap();
        assert_eq!(report.skipped, [("cut off", 1)].into());
        assert_eq!(corpus, "{\"_id\":\"D1\",\"title\":\"\",\"text\":\"a\"}\n");
    }

    #[test]
    fn what_a_file_holds_is_told_by_its_first_record() {
        let doc = "<DOC><DOCNO>D</DOCNO><TEXT>a</TEXT></DOC>";
        let wrapped = format!("<?xml version=\"1.0\"?>\n<!-- top -->\n<DOCS>\n{doc}\n</DOCS>");
        for (docs, topics) in [
            (doc, TOPICS.1),
            (
                &*wrapped,
                "<?xml version=\"1.0\"?>\n\n<topics>\n<topic number=\"1\"><query>a</query></topic>",
            ),
            (&*wrapped, "\u{feff}<TOP><num>1<title>a</TOP>"),
        ] {
            let files = [("topics", topics), ("docs", docs)];
            let (report, [_, queries]) = imported(&files, OnError::Fail).unwrap();
            assert_eq!((report.documents, report.queries), (1, 1));
            assert_eq!(queries, "{\"_id\":\"1\",\"text\":\"a\"}\n");
        }
        let files = [TOPICS, ("docs", "<DOCUMENT>a</DOCUMENT>\n")];
        let error = imported(&files, OnError::Skip).unwrap_err();
        assert!(matches!(&error, DataError::UnknownRole { .. }), "{error}");
    }

    fn line(text: &str) -> Line<'_> {
        Line { number: 1, bytes: text.as_bytes() }
    }

    #[track_caller]
    fn document(fields: &str, title: &str, text: &str) {
        let record = format!("<DOC>\n<DOCNO> D-1 </DOCNO>{fields}</DOC>");
        let found = parse_document(line(&record)).unwrap();
        assert_eq!((&*found.id, &*found.title, &*found.text), ("D-1", title, text), "{fields}");
    }

    #[test]
    fn every_field_counts_as_often_as_it_comes() {
        document("<TEXT>\none\n</TEXT>\n<TEXT>\ntwo\n</TEXT>\n", "", "one two");
        document("<HEAD>a</HEAD><HEAD>b</HEAD><TEXT>c</TEXT><HL>d</HL>", "a b d", "c");
        document("<headline>h</headline><leadpara>l</leadpara><Text>t</Text>", "h", "l t");
        document("<TTL>a</TTL><LP>b</LP><TITLE/><TITLE></TITLE>", "a", "b");
        // One inside another is a part of it.
        document("<TEXT>a<TITLE>b</TITLE>c</TEXT>", "", "a b c");
        // Without a closing tag a field ends where another begins, or with the record.
        document("<HEADLINE>a <b>b</b>\n<TEXT>c\n<P>d\n", "a b", "c d");
        document("<TEXT>a</TEXT><DATE>1990</DATE><DD>b</DD>", "", "a");
        document("<HEADLINE>only</HEADLINE>", "only", "");
    }

    #[test]
    fn markup_is_read_as_browsers_read_it() {
        let text =
            |body: &str, expected: &str| document(&format!("<TEXT>{body}</TEXT>"), "", expected);
        text("(p < 0.05) in A. 3<4, a <- b", "(p < 0.05) in A. 3<4, a <- b");
        text("x<y is all", "x<y is all");
        text("a<b>b</b>c <F P=105>d</F>", "a b c d");
        text("Smith &amp; Sons; caf&eacute; &#233;&#xE9; &lt;b&gt;", "Smith & Sons; café éé <b>");
        text("AT&T &nosuch; & &; a&b;", "AT&T &nosuch; & &; a&b;");
        text("a<!-- </TEXT> -->b<!-- c", "a b<!-- c");
        text("<![CDATA[a <b> &amp;]]> c", "a <b> &amp; c");
        text("a&nbsp;&nbsp;b\n\n c", "a b c");
        text("&amp;lt;", "&lt;");
    }

    #[test]
    fn a_document_without_number_or_text_is_a_fault() {
        let fault = |record: &str| parse_document(line(record)).unwrap_err();
        let found = |names: &[&str]| names.iter().map(ToString::to_string).collect();
        assert_eq!(
            fault("<DOC><TEXT>a</TEXT></DOC>"),
            Fault::MissingField { field: "DOCNO", found: found(&["DOC", "TEXT"]) }
        );
        assert_eq!(
            fault("<DOC><DOCNO>1</DOCNO><BODY>a</BODY></DOC>"),
            Fault::MissingField { field: "TEXT", found: found(&["DOC", "DOCNO", "BODY"]) }
        );
    }

    #[track_caller]
    fn topic(record: &str, id: &str, text: &str) {
        let expected = Topic { id: id.to_owned(), text: text.to_owned() };
        assert_eq!(parse_topic(line(record)), Ok(expected), "{record}");
    }

    #[test]
    fn topics_of_all_tracks_are_read() {
        topic(
            "<top>\n<num> Number: 301\n<title> a < b &amp; c\n<desc> d\n</top>",
            "301",
            "a < b & c",
        );
        topic("<top><num>Number: 2<title>Topic: a<desc>d</top>", "2", "a");
        topic(
            "<top>\n<num> 3\n<title>\n\n<desc> Description:\na <i>b</i>\nc\n<narr> n\n</top>",
            "3",
            "a b c",
        );
        topic("<top>\n<num>4</num>\n<title>\n<p>a\n<p>b\n</title>\n</top>", "4", "a b");
        topic("<top>\n<num> 5\n<title> a\n  <unknown> b\n</top>", "5", "a");
        topic("<topic number=\"6\"><query>price < 5 coins</query></topic>", "6", "price < 5 coins");
        topic("<topic type='x' number = '7'>\n<question>a?</question></topic>", "7", "a?");
        topic("<topic\nnumber=8><query>a</query></topic>", "8", "a");
    }

    #[test]
    fn a_topic_without_number_or_text_is_a_fault() {
        for (record, field) in [
            ("<topic id=\"1\" renumber=\"2\"><query>a</query></topic>", "num"),
            ("<top><num>1</num><narr>a</narr></top>", "title"),
            ("<top><num>1</num><title> Topic: </title></top>", "title"),
        ] {
            let fault = parse_topic(line(record)).unwrap_err();
            assert!(
                matches!(&fault, Fault::MissingField { field: found, .. } if *found == field),
                "{fault}"
            );
        }
    }
}
