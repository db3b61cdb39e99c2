//! The input of `samtone encode`: looked through once before the work, then read for it.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use samtone_data::reading::{DocumentLine, Line, Lines, QueryLine};
use samtone_data::{DataError, Fault};
use samtone_eval::Run;
use samtone_model::Side;
use samtone_text::DocumentText;

/// A file of texts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Input<'a> {
    pub(super) path: &'a Path,
    pub(super) side: Side,
    /// What of a document is a text.
    pub(super) text: DocumentText,
}

/// What an input holds.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Content {
    pub(super) texts: usize,
    /// BLAKE3 of the ids and texts, in hexadecimal.
    pub(super) fingerprint: String,
    /// The first id that cannot stand in a TREC run.
    pub(super) unwritable: Option<String>,
}

impl Input<'_> {
    /// Reads the whole input, in a few bytes a text.
    ///
    /// # Errors
    /// At the first wrong line, or the first id that was there before.
    pub(super) fn scan(&self) -> anyhow::Result<Content> {
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
    pub(super) fn for_each(
        &self,
        mut each: impl FnMut(String, String) -> anyhow::Result<()>,
    ) -> anyhow::Result<String> {
        let mut lines = Lines::open(self.path)?;
        let mut hash = blake3::Hasher::new();
        while let Some(line) = lines.next()? {
            match self.parse(line) {
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

    fn parse(&self, line: Line<'_>) -> Result<(String, String), Fault> {
        match self.side {
            Side::Query => QueryLine::parse(line).map(|line| {
                let query = line.into_query();
                (query.id, query.text)
            }),
            Side::Document => DocumentLine::parse(line).map(|line| {
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
        while let Some(line) = lines.next()? {
            let number = line.number;
            let Ok((id, _)) = self.parse(line) else { continue };
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
    fn an_id_that_no_run_can_name_is_told() {
        let text = "{\"_id\":\"a\",\"text\":\"t\"}\n{\"_id\":\"b c\",\"text\":\"t\"}\n";
        assert_eq!(scan(text, Side::Query).unwrap().unwritable.as_deref(), Some("b c"));
    }
}
