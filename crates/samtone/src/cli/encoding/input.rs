//! A file of texts: looked through once before the work, then read for it.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use samtone_data::reading::{Compression, DocumentLine, Line, Lines, QueryLine};
use samtone_data::{DataError, Fault};
use samtone_eval::Run;
use samtone_model::Side;
use samtone_text::DocumentText;

/// A file of texts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Input<'a> {
    pub(crate) path: &'a Path,
    pub(crate) side: Side,
    /// What of a document is a text.
    pub(crate) text: DocumentText,
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

impl Input<'_> {
    /// Reads the whole input, in a few bytes a text.
    ///
    /// # Errors
    /// At the first wrong line, or the first id that was there before.
    pub(crate) fn scan(&self) -> anyhow::Result<Content> {
        let (mut hashes, mut unwritable) = (Vec::new(), None);
        let fingerprint = self.for_each(|id, _| {
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

    /// Calls `each` with every id and text, and returns BLAKE3 of them all, in hexadecimal.
    pub(crate) fn for_each(
        &self,
        mut each: impl FnMut(String, String) -> anyhow::Result<()>,
    ) -> anyhow::Result<String> {
        let mut lines = Lines::open(self.path)?;
        let mut hash = blake3::Hasher::new();
        let mut form = self.form();
        while let Some(line) = lines.next()? {
            match self.parse(line, &mut form) {
                Ok((id, text)) => {
                    for part in [&id, &text] {
                        hash.update(&(part.len() as u64).to_le_bytes());
                        hash.update(part.as_bytes());
                    }
                    each(id, text)?;
                }
                Err(fault) => return Err(lines.fault(fault).into()),
            }
        }
        Ok(hash.finalize().to_hex().to_string())
    }

    /// The form that the file's name says.
    fn form(&self) -> Option<Form> {
        let mut name = self.path.to_owned();
        if Compression::of(&name) != Compression::Plain {
            name.set_extension("");
        }
        match name.extension() {
            None => None,
            Some(extension) if extension == "txt" => Some(Form::Lines),
            Some(_) => Some(Form::Records),
        }
    }

    /// The id and the text of a line; where `form` is not known yet, it becomes the first line's.
    fn parse(&self, line: Line<'_>, form: &mut Option<Form>) -> Result<(String, String), Fault> {
        let own = if line.bytes[0] == b'{' { Form::Records } else { Form::Lines };
        if *form.get_or_insert(own) == Form::Lines {
            let text = line.text()?.trim();
            if text.is_empty() {
                return Err(Fault::EmptyField { field: "text" });
            }
            return Ok((line.number.to_string(), text.to_owned()));
        }
        match self.side {
            Side::Query => QueryLine::parse_numbered(line).map(|line| {
                let query = line.into_query();
                (query.id, query.text)
            }),
            Side::Document => DocumentLine::parse_numbered(line).map(|line| {
                let document = line.into_document();
                let text = document.passage(self.text).into_owned();
                (document.id, text)
            }),
        }
    }

    /// Finds the first id that was there before among those whose hash is in `repeated`.
    fn find_repeated(&self, repeated: &HashSet<u64>) -> Result<(), DataError> {
        let mut first_lines: HashMap<String, u64> = HashMap::new();
        let mut lines = Lines::open(self.path)?;
        let mut form = self.form();
        while let Some(line) = lines.next()? {
            let number = line.number;
            let Ok((id, _)) = self.parse(line, &mut form) else { continue };
            if !repeated.contains(&short_hash(&id)) {
                continue;
            }
            if let Some(&first) = first_lines.get(&id) {
                let field = self.side.name();
                return Err(lines.fault(Fault::DuplicateId { field, id, first }));
            }
            first_lines.insert(id, number);
        }
        Ok(())
    }
}

/// The first eight bytes of `id`'s BLAKE3: two ids that share them are compared themselves.
fn short_hash(id: &str) -> u64 {
    let hash = blake3::hash(id.as_bytes());
    let (first, _) = hash.as_bytes().split_first_chunk().expect("a hash has 32 bytes");
    u64::from_le_bytes(*first)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scan(text: &str, side: Side) -> Result<Content, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("in.jsonl");
        std::fs::write(&path, text).unwrap();
        let input = Input { path: &path, side, text: DocumentText::TitleText };
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
            let input = Input { path: &path, side: Side::Query, text: DocumentText::Text };
            let read = input.for_each(|id, text| {
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
}
