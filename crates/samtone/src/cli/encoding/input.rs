//! Files of texts, or a part of them: looked through once before the work, then read for it.

use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use samtone_data::Fault;
use samtone_data::reading::{Compression, DocumentLine, Line, Lines, QueryLine};
use samtone_eval::Run;
use samtone_model::Side;
use samtone_text::DocumentText;

use super::pieces::{BLOCK, Piece};
use crate::error::Failure;

/// Texts of files.
#[derive(Clone, Debug)]
pub(crate) struct Input {
    /// Where they are, in order.
    pub(crate) pieces: Vec<Piece>,
    /// Whether every text must have an id: the lines of several files have the same numbers.
    pub(crate) has_ids: bool,
    pub(crate) side: Side,
    /// What of a document is a text.
    pub(crate) text: DocumentText,
}

/// A text as it is read.
#[expect(clippy::struct_field_names, reason = "its text is what it is")]
#[derive(Debug)]
pub(crate) struct Text {
    pub(crate) id: String,
    pub(crate) text: String,
    /// The piece and the block that it begins in.
    pub(crate) block: (usize, u64),
}

/// What a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// A JSON object.
    Records,
    /// A text, called by the line's number.
    Lines,
}

/// What an input holds.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Content {
    pub(crate) texts: usize,
    /// BLAKE3 of the ids and texts, in hexadecimal.
    pub(crate) fingerprint: String,
    /// The first id that cannot stand in a TREC run.
    pub(crate) unwritable: Option<String>,
}

/// BLAKE3 of ids and texts.
#[derive(Default)]
struct Fingerprint(blake3::Hasher);

impl Fingerprint {
    fn add(&mut self, id: &str, text: &str) {
        for part in [id, text] {
            self.0.update(&(part.len() as u64).to_le_bytes());
            self.0.update(part.as_bytes());
        }
    }

    /// In hexadecimal.
    fn finish(&self) -> String {
        self.0.finalize().to_hex().to_string()
    }
}

impl Input {
    /// All texts of one file.
    pub(crate) fn whole(path: &Path, side: Side, text: DocumentText) -> Self {
        Self { pieces: vec![Piece::whole(path)], has_ids: false, side, text }
    }

    /// Reads all texts, in a few bytes each.
    ///
    /// # Errors
    /// At the first wrong line, or the first id that was there before.
    pub(crate) fn scan(&self) -> anyhow::Result<Content> {
        let (mut hashes, mut unwritable) = (Vec::new(), None);
        let fingerprint = self.for_each(|Text { id, .. }| {
            hashes.push(short_hash(&id));
            if unwritable.is_none() && !Run::can_name(&id) {
                unwritable = Some(id);
            }
            Ok(())
        })?;
        let texts = hashes.len();
        hashes.sort_unstable();
        let repeated: HashSet<u64> =
            hashes.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| pair[0]).collect();
        drop(hashes);
        if !repeated.is_empty() {
            self.find_repeated(&repeated)?;
        }
        Ok(Content { texts, fingerprint, unwritable })
    }

    /// Calls `each` with every text, and returns BLAKE3 of them all, in hexadecimal.
    pub(crate) fn for_each(
        &self,
        mut each: impl FnMut(Text) -> anyhow::Result<()>,
    ) -> anyhow::Result<String> {
        let mut hash = Fingerprint::default();
        for (place, piece) in self.pieces.iter().enumerate() {
            let mut lines = piece.lines()?;
            let form = self.form(piece)?;
            while lines.next()?.is_some() {
                let start = lines.place().start;
                if piece.ends_before(start) {
                    break;
                }
                let (id, text) = self.text(&mut lines, form)?;
                hash.add(&id, &text);
                each(Text { id, text, block: (place, start / BLOCK) })?;
            }
        }
        Ok(hash.finish())
    }

    /// Whether the texts are, one after the other, those of `parts`: of each how many, and BLAKE3 of
    /// them.
    pub(crate) fn is(&self, parts: &[(usize, &str)]) -> anyhow::Result<bool> {
        let (mut hash, mut parts, mut left, mut same) =
            (Fingerprint::default(), parts.iter(), 0, true);
        let mut expected: Option<&str> = None;
        // Ends a part, and those after it that hold nothing.
        let mut next = |hash: &mut Fingerprint, left: &mut usize, same: &mut bool| {
            while *left == 0 {
                let read = std::mem::take(hash).finish();
                *same &= expected.is_none_or(|expected| expected == read);
                let Some(&(rows, fingerprint)) = parts.next() else { return false };
                (*left, expected) = (rows, Some(fingerprint));
            }
            true
        };
        self.for_each(|Text { id, text, .. }| {
            if next(&mut hash, &mut left, &mut same) {
                hash.add(&id, &text);
                left -= 1;
            } else {
                same = false;
            }
            Ok(())
        })?;
        let goes_on = next(&mut hash, &mut left, &mut same);
        Ok(same && !goes_on)
    }

    /// The form that the file's name says, or else its first line.
    fn form(&self, piece: &Piece) -> anyhow::Result<Form> {
        let mut name: PathBuf = piece.path.clone();
        if Compression::of(&name) != Compression::Plain {
            name.set_extension("");
        }
        let form = match name.extension().map(OsStr::to_str) {
            Some(Some("txt")) => Form::Lines,
            Some(_) => Form::Records,
            None => match Lines::open(&piece.path)?.next()? {
                Some(line) if line.bytes[0] != b'{' => Form::Lines,
                _ => Form::Records,
            },
        };
        if form == Form::Lines && self.has_ids {
            return Err(without_id(format!("`{}` holds plain lines", piece.path.display())));
        }
        Ok(form)
    }

    /// The id and the text of the line read last.
    fn text(&self, lines: &mut Lines, form: Form) -> anyhow::Result<(String, String)> {
        if form == Form::Records && (self.has_ids || !lines.is_counted()) {
            // Lines before a part are counted only for who needs a number.
            let fault = match self.record(lines.last_line(), false) {
                Ok(found) => return Ok(found),
                Err(fault) => fault,
            };
            if let Fault::MissingField { field: "_id", .. } = &fault
                && self.has_ids
            {
                lines.count_before()?;
                return Err(without_id(lines.fault(fault).to_string()));
            }
        }
        lines.count_before()?;
        let found = match form {
            Form::Records => self.record(lines.last_line(), true),
            Form::Lines => plain(lines.last_line()),
        };
        found.map_err(|fault| lines.fault(fault).into())
    }

    /// The id and the text of a JSON object; without an id it is called by its line if `is_numbered`.
    fn record(&self, line: Line<'_>, is_numbered: bool) -> Result<(String, String), Fault> {
        match self.side {
            Side::Query => {
                let parse = if is_numbered { QueryLine::parse_numbered } else { QueryLine::parse };
                let query = parse(line)?.into_query();
                Ok((query.id, query.text))
            }
            Side::Document => {
                let parse =
                    if is_numbered { DocumentLine::parse_numbered } else { DocumentLine::parse };
                let document = parse(line)?.into_document();
                let text = document.passage(self.text).into_owned();
                Ok((document.id, text))
            }
        }
    }

    /// Finds the first id that was there before among those whose hash is in `repeated`.
    fn find_repeated(&self, repeated: &HashSet<u64>) -> anyhow::Result<()> {
        let mut first_lines: HashMap<String, (&Path, u64)> = HashMap::new();
        for piece in &self.pieces {
            let mut lines = piece.lines()?;
            let form = self.form(piece)?;
            lines.count_before()?;
            while lines.next()?.is_some() && !piece.ends_before(lines.place().start) {
                let Ok((id, _)) = self.text(&mut lines, form) else { continue };
                if !repeated.contains(&short_hash(&id)) {
                    continue;
                }
                let number = lines.last_line().number;
                let Some((path, first)) = first_lines.insert(id.clone(), (&piece.path, number))
                else {
                    continue;
                };
                let field = self.side.name();
                if path == piece.path {
                    return Err(lines.fault(Fault::DuplicateId { field, id, first }).into());
                }
                let (here, there) = (piece.path.display(), path.display());
                let message = format!(
                    "`{here}`, line {number}: {field} `{id}` is already in `{there}`, line {first}"
                );
                return Err(Failure::new(message, "each id is there once in all files").into());
            }
        }
        Ok(())
    }
}

/// The number and the text of a line that is no object.
fn plain(line: Line<'_>) -> Result<(String, String), Fault> {
    let text = line.text()?.trim();
    if text.is_empty() {
        return Err(Fault::EmptyField { field: "text" });
    }
    Ok((line.number.to_string(), text.to_owned()))
}

/// The first eight bytes of `id`'s BLAKE3: two ids that share them are compared themselves.
fn short_hash(id: &str) -> u64 {
    let hash = blake3::hash(id.as_bytes());
    let (first, _) = hash.as_bytes().split_first_chunk().expect("a hash has 32 bytes");
    u64::from_le_bytes(*first)
}

/// The error for a text of one of several files that has no id.
fn without_id(message: String) -> anyhow::Error {
    let hint = "of several files each text needs an `_id`: lines of two have the same number";
    Failure::new(message, hint).into()
}

#[cfg(test)]
mod tests {
    use super::super::pieces::cut;
    use super::*;
    use crate::shard::Shard;

    fn scan(text: &str, side: Side) -> Result<Content, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("in.jsonl");
        std::fs::write(&path, text).unwrap();
        let input = Input::whole(&path, side, DocumentText::TitleText);
        input.scan().map_err(|error| error.to_string())
    }

    #[test]
    fn the_fingerprint_is_of_ids_and_texts_alone() {
        let fingerprint = |text: &str| scan(text, Side::Document).unwrap().fingerprint;
        let first =
            fingerprint("{\"_id\":\"a\",\"text\":\"bc\"}\n{\"_id\":\"d\",\"text\":\"e\"}\n");
        let same =
            "{\"text\": \"bc\", \"_id\": \"a\", \"more\": 1}\n{\"_id\":\"d\",\"text\":\"e\"}";
        assert_eq!(fingerprint(same), first);
        for other in [
            "{\"_id\":\"a\",\"text\":\"bc\"}\n{\"_id\":\"d\",\"text\":\"f\"}\n",
            "{\"_id\":\"ab\",\"text\":\"c\"}\n{\"_id\":\"d\",\"text\":\"e\"}\n",
            "{\"_id\":\"d\",\"text\":\"e\"}\n{\"_id\":\"a\",\"text\":\"bc\"}\n",
            "{\"_id\":\"a\",\"text\":\"bc\"}\n",
        ] {
            assert_ne!(fingerprint(other), first, "{other}");
        }
    }

    #[test]
    fn an_id_that_is_there_twice_is_refused_with_both_lines() {
        let line = |id: &str| format!("{{\"_id\":\"{id}\",\"text\":\"t\"}}\n");
        for side in [Side::Query, Side::Document] {
            let text = ["b", "a", "c", "a", "b"].map(line).concat();
            let error = scan(&text, side).unwrap_err();
            assert!(error.contains("line 4"), "{error}");
            assert!(error.contains("`a`") && error.contains("line 2"), "{error}");
        }
        let all: String = (0..2000).map(|id| line(&id.to_string())).collect();
        assert_eq!(scan(&all, Side::Query).unwrap().texts, 2000);
    }

    #[test]
    fn a_text_without_an_id_is_called_by_its_line() {
        let ids = |name: &str, text: &str| {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            let mut ids = Vec::new();
            let input = Input::whole(&path, Side::Query, DocumentText::Text);
            let read = input.for_each(|Text { id, text, .. }| {
                ids.push(format!("{id}={text}"));
                Ok(())
            });
            read.map(|_| ids.join(" ")).map_err(|error| error.to_string())
        };
        let objects = "{\"text\":\"a\"}\n\n{\"_id\":\"x\",\"text\":\"b\"}\n{\"text\":\"c\"}\n";
        for name in ["in.jsonl", "stdin"] {
            assert_eq!(ids(name, objects).unwrap(), "1=a x=b 4=c");
        }
        for name in ["in.txt", "stdin"] {
            assert_eq!(ids(name, "a b\n\n c\n").unwrap(), "1=a b 3=c");
        }
        assert_eq!(ids("in.txt", "{}\n").unwrap(), "1={}");
        let error = ids("in.jsonl", "a b\n").unwrap_err();
        assert!(error.contains("line 1"), "{error}");
    }

    #[test]
    fn an_id_that_no_run_can_name_is_told() {
        let text = "{\"_id\":\"a\",\"text\":\"t\"}\n{\"_id\":\"b c\",\"text\":\"t\"}\n";
        assert_eq!(scan(text, Side::Query).unwrap().unwritable.as_deref(), Some("b c"));
    }

    #[test]
    fn parts_read_what_the_whole_reads() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        // Objects with white space after the text, so that few of them are many blocks.
        let space = " ".repeat(BLOCK as usize / 5);
        let object = |id: String| format!("{{{id}\"text\":\"t{space}\"}}\n");
        let named: String = (0..23).map(|i| object(format!("\"_id\":\"d{i}\","))).collect();
        let unnamed: String = (0..23).map(|_| object(String::new())).collect();
        let plain: Vec<String> = (0..23).map(|i| format!("\n{i} {space}x\n")).collect();
        let plain = plain.concat();
        for (name, content) in [("a.jsonl", &named), ("b.jsonl", &unnamed), ("c", &plain)] {
            std::fs::write(path(name), content).unwrap();
            let read = |shard: Shard| {
                let (files, mut ids, mut blocks) = ([path(name)], Vec::new(), Vec::new());
                let pieces = cut(&files, shard).unwrap();
                let whole = Input::whole(&files[0], Side::Query, DocumentText::Text);
                let input = Input { pieces, ..whole };
                let fingerprint = input.for_each(|text| {
                    ids.push(text.id);
                    blocks.push(text.block.1);
                    Ok(())
                });
                (ids, blocks, fingerprint.unwrap())
            };
            let (ids, blocks, fingerprint) = read(Shard::WHOLE);
            assert_eq!((ids.len(), blocks.last()), (23, Some(&4)));
            for parts in [2, 3, 5, 9] {
                let read: Vec<_> = (1..=parts).map(|part| read(Shard { part, parts })).collect();
                let all: Vec<&String> = read.iter().flat_map(|part| &part.0).collect();
                assert_eq!(all, ids.iter().collect::<Vec<_>>(), "{name} in {parts}");
                let all: Vec<u64> = read.iter().flat_map(|part| part.1.clone()).collect();
                assert_eq!(all, blocks, "{name} in {parts}");

                let whole = Input::whole(&path(name), Side::Query, DocumentText::Text);
                let mut of: Vec<(usize, &str)> =
                    read.iter().map(|part| (part.0.len(), &*part.2)).collect();
                assert!(whole.is(&of).unwrap(), "{name} in {parts}");
                assert!(!whole.is(&of[1..]).unwrap() && !whole.is(&of[..1]).unwrap());
                of[0].1 = &fingerprint;
                assert!(!whole.is(&of).unwrap());
                assert!(whole.is(&[(23, &fingerprint)]).unwrap());
            }
        }
        // A mistake is told with its line in the file.
        std::fs::write(path("a.jsonl"), named + "{\"_id\":\"x\"}\n").unwrap();
        let pieces = cut(&[path("a.jsonl")], Shard { part: 3, parts: 3 }).unwrap();
        let whole = Input::whole(&path("a.jsonl"), Side::Query, DocumentText::Text);
        let error = Input { pieces, ..whole }.scan().unwrap_err().to_string();
        assert!(error.contains("line 24: field `text` is missing"), "{error}");
    }

    #[test]
    fn of_several_files_each_text_has_an_id_that_no_other_has() {
        let folder = tempfile::tempdir().unwrap();
        let scan = |files: &[(&str, &str)]| {
            let paths: Vec<PathBuf> =
                files.iter().map(|(name, _)| folder.path().join(name)).collect();
            for (path, (_, content)) in paths.iter().zip(files) {
                std::fs::write(path, content).unwrap();
            }
            let pieces = cut(&paths, Shard::WHOLE).unwrap();
            let (side, text) = (Side::Document, DocumentText::Text);
            let found = Input { pieces, has_ids: true, side, text }.scan();
            found.map(|content| content.texts).map_err(|error| error.to_string())
        };
        let a = ("a.jsonl", "{\"_id\":\"a\",\"text\":\"t\"}\n");
        let b = ("b.jsonl", "\n{\"_id\":\"b\",\"text\":\"t\"}\n");
        assert_eq!(scan(&[a, b]), Ok(2));
        let error = scan(&[a, ("b.jsonl", "\n{\"_id\":\"a\",\"text\":\"t\"}\n")]).unwrap_err();
        assert!(error.contains("b.jsonl`, line 2: document `a` is already in `"), "{error}");
        assert!(error.ends_with("a.jsonl`, line 1"), "{error}");
        let error = scan(&[a, ("b.jsonl", "{\"text\":\"t\"}\n")]).unwrap_err();
        assert!(error.contains("b.jsonl`, line 1: field `_id` is missing"), "{error}");
        assert!(scan(&[a, ("b.txt", "t\n")]).unwrap_err().ends_with("holds plain lines"));
    }
}
