//! Which record is which: told apart by its id or, where it has none, by its text.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::{BuildHasherDefault, DefaultHasher, Hash, Hasher};

use crate::error::Fault;
use crate::reading::beir::check_id;

/// Numbers the records of one kind (documents or queries) in the order in which they first appear, and
/// names those that come without an id: `d0`, `d1`, ...
///
/// A record without an id is the one with the same title and text, whether that has an id or gets one
/// later. Names pass over the ids that the input gives itself, wherever it gives them: so they are
/// settled only at the end ([`Interner::into_names`]).
///
/// Kept are a record's id, about 40 bytes beside it, and as much again for one of [`Interner::intern`].
#[derive(Debug, Default)]
pub(crate) struct Interner {
    kind: &'static str,
    renames: bool,
    /// The ids one after the other, and where each ends: that of a record without one is empty.
    ids: String,
    ends: Vec<u64>,
    lines: Vec<u32>,
    texts: Vec<u64>,
    by_id: HashMap<u64, u32, ByHash>,
    by_text: HashMap<u128, u32, ByHash>,
    /// Ids that came after their record.
    late: BTreeMap<u32, String>,
    /// The number of the next record without an id, as far as is known.
    next_number: u64,
    with_white_space: u64,
    is_settled: bool,
}

/// A record of an [`Interner`].
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Interned<'a> {
    /// Its number, counted from 0.
    pub(crate) index: u32,
    /// If it is new: its id as far as is known.
    pub(crate) new: Option<Cow<'a, str>>,
}

impl Interner {
    /// For records of this kind, `document` or `query`; with `renames`, ids that hold white space get
    /// names without.
    pub(crate) fn new(kind: &'static str, renames: bool) -> Self {
        Self {
            kind,
            renames,
            ids: String::new(),
            ends: Vec::new(),
            lines: Vec::new(),
            texts: Vec::new(),
            by_id: HashMap::default(),
            by_text: HashMap::default(),
            late: BTreeMap::new(),
            next_number: 0,
            with_white_space: 0,
            is_settled: true,
        }
    }

    /// Adds a record that has an id; a second one of this id is a fault.
    pub(crate) fn add(
        &mut self,
        id: &str,
        (title, text): (&str, &str),
        line: u64,
    ) -> Result<u32, Fault> {
        check_id(self.id_field(), id)?;
        match self.find(id) {
            Some(index) => {
                let first = self.lines[index as usize].into();
                Err(Fault::DuplicateId { field: self.kind, id: id.to_owned(), first })
            }
            None => Ok(self.push(Some(id), text_key(title, text), line)),
        }
    }

    /// The record of an id or, without one, of a text; added if it is new. The same id with another
    /// text is a fault.
    pub(crate) fn intern<'a>(
        &mut self,
        id: Option<&'a str>,
        (title, text): (&str, &str),
        line: u64,
    ) -> Result<Interned<'a>, Fault> {
        let key = text_key(title, text);
        let same_text = self.by_text.get(&key).copied();
        let Some(id) = id else {
            if let Some(index) = same_text {
                return Ok(Interned { index, new: None });
            }
            let index = self.push(None, key, line);
            self.by_text.insert(key, index);
            let name = self.numbered(self.next_number - 1);
            return Ok(Interned { index, new: Some(Cow::Owned(name)) });
        };
        check_id(self.id_field(), id)?;
        if let Some(index) = self.find(id) {
            if self.texts[index as usize] == key as u64 {
                return Ok(Interned { index, new: None });
            }
            let first = self.lines[index as usize].into();
            return Err(Fault::ConflictingText { field: self.kind, id: id.to_owned(), first });
        }
        if let Some(index) = same_text.filter(|&index| self.id(index).is_none()) {
            self.late.insert(index, id.to_owned());
            self.enter(id, index);
            self.is_settled = false;
            return Ok(Interned { index, new: None });
        }
        let index = self.push(Some(id), key, line);
        self.by_text.entry(key).or_insert(index);
        Ok(Interned { index, new: Some(Cow::Borrowed(id)) })
    }

    /// The record that has this id of its own.
    pub(crate) fn find(&self, id: &str) -> Option<u32> {
        for salt in 0.. {
            let index = *self.by_id.get(&id_key(id, salt))?;
            if self.id(index) == Some(id) {
                return Some(index);
            }
        }
        None
    }

    /// How many records there are.
    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    /// Ids so far that hold white space.
    pub(crate) fn with_white_space(&self) -> u64 {
        self.with_white_space
    }

    fn push(&mut self, id: Option<&str>, key: u128, line: u64) -> u32 {
        let index = self.ends.len().try_into().expect("fewer than four thousand million records");
        self.ids.push_str(id.unwrap_or_default());
        self.ends.push(self.ids.len() as u64);
        self.lines.push(line.try_into().unwrap_or(u32::MAX));
        self.texts.push(key as u64);
        match id {
            Some(id) => self.enter(id, index),
            None => {
                self.next_number = self.free_number(self.next_number) + 1;
            }
        }
        index
    }

    /// Notes that this record has this id.
    fn enter(&mut self, id: &str, index: u32) {
        let mut salt = 0;
        while self.by_id.contains_key(&id_key(id, salt)) {
            salt += 1;
        }
        self.by_id.insert(id_key(id, salt), index);
        if id.contains(char::is_whitespace) {
            self.with_white_space += 1;
            self.is_settled &= !self.renames;
        }
        let number = id.strip_prefix(self.prefix()).and_then(|digits| digits.parse::<u64>().ok());
        // A record without an id was written under this name.
        self.is_settled &= number.is_none_or(|number| number >= self.next_number);
    }

    /// The id that a record came with.
    pub(crate) fn id(&self, index: u32) -> Option<&str> {
        if let Some(id) = self.late.get(&index) {
            return Some(id);
        }
        let index = index as usize;
        let start = index.checked_sub(1).map_or(0, |before| self.ends[before]);
        let id = &self.ids[start as usize..self.ends[index] as usize];
        (!id.is_empty()).then_some(id)
    }

    fn prefix(&self) -> &'static str {
        &self.kind[..1]
    }

    /// What faults call an id.
    fn id_field(&self) -> &'static str {
        if self.kind == "query" { "query id" } else { "document id" }
    }

    fn numbered(&self, number: u64) -> String {
        format!("{}{number}", self.prefix())
    }

    /// The first number from this one on that makes no id of the input.
    fn free_number(&self, from: u64) -> u64 {
        let mut numbers = from..;
        numbers.find(|&number| self.find(&self.numbered(number)).is_none()).unwrap_or(from)
    }

    /// The names of all records, now that all are known.
    pub(crate) fn into_names(self) -> Names {
        let (mut numbers, mut renamed) = (Vec::new(), BTreeMap::new());
        let (mut next, mut taken) = (0, HashSet::new());
        for index in 0..self.ends.len() as u32 {
            match self.id(index) {
                None => {
                    numbers.resize(index as usize, 0);
                    let number = self.free_number(next);
                    numbers.push(number as u32);
                    next = number + 1;
                }
                Some(id) if self.renames && id.contains(char::is_whitespace) => {
                    let stem = id.replace(char::is_whitespace, "_");
                    let mut name = stem.clone();
                    let mut copy = 1;
                    while self.find(&name).is_some() || !taken.insert(name.clone()) {
                        copy += 1;
                        name = format!("{stem}-{copy}");
                    }
                    renamed.insert(index, name);
                }
                Some(_) => {}
            }
        }
        Names { records: self, numbers, renamed }
    }
}

/// The names of all records of an [`Interner`].
#[derive(Debug)]
pub(crate) struct Names {
    records: Interner,
    /// Per record, the number in the name of one without an id.
    numbers: Vec<u32>,
    renamed: BTreeMap<u32, String>,
}

impl Names {
    /// Whether every record has the name that [`Interner`] gave when it was new.
    pub(crate) fn are_as_given(&self) -> bool {
        self.records.is_settled
    }

    /// The name of a record.
    pub(crate) fn get(&self, index: u32) -> Cow<'_, str> {
        match (self.renamed.get(&index), self.records.id(index)) {
            (Some(name), _) => Cow::Borrowed(name),
            (None, Some(id)) => Cow::Borrowed(id),
            (None, None) => Cow::Owned(self.records.numbered(self.numbers[index as usize].into())),
        }
    }

    /// Ids that hold white space and the names that took their place, in the order of the records.
    pub(crate) fn renamed(&self) -> impl Iterator<Item = (&str, &str)> {
        let old = |index| self.records.id(index).unwrap_or_default();
        self.renamed.iter().map(move |(&index, new)| (old(index), new.as_str()))
    }
}

/// A 64-bit hash of an id, the same in every process; another one for every salt.
fn id_key(id: &str, salt: u32) -> u64 {
    let mut hasher = DefaultHasher::new();
    (id, salt).hash(&mut hasher);
    hasher.finish()
}

/// A hash of the very text.
fn text_key(title: &str, text: &str) -> u128 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&(title.len() as u64).to_le_bytes());
    hasher.update(title.as_bytes());
    hasher.update(text.as_bytes());
    let mut short = [0; 16];
    short.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
    u128::from_le_bytes(short)
}

/// For keys that are hashes already, or two numbers in one.
pub(crate) type ByHash = BuildHasherDefault<Folded>;

/// Mixes the bits of a key, no two keys of 64 bits alike.
#[derive(Default)]
pub(crate) struct Folded(u64);

impl Hasher for Folded {
    fn finish(&self) -> u64 {
        let spread = self.0.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        spread ^ (spread >> 32)
    }

    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.0 ^= u64::from_le_bytes(word);
        }
    }

    fn write_u64(&mut self, word: u64) {
        self.0 ^= word;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The names of records given as (id, title, text), an empty id being none.
    #[track_caller]
    fn check(renames: bool, records: &[(&str, &str, &str)], indices: &[u32], names: &[&str]) {
        let mut interner = Interner::new("document", renames);
        let mut found = Vec::new();
        for (line, (id, title, text)) in (1..).zip(records) {
            let id = (!id.is_empty()).then_some(*id);
            found.push(interner.intern(id, (title, text), line).unwrap().index);
        }
        assert_eq!(found, indices);
        let count = interner.len() as u32;
        let final_names = interner.into_names();
        let all: Vec<_> = (0..count).map(|index| final_names.get(index).into_owned()).collect();
        assert_eq!(all, names);
    }

    #[test]
    fn texts_without_an_id_are_numbered_and_told_apart_by_title_and_text() {
        let records = [("", "", "a"), ("", "", "b"), ("", "", "a"), ("", "T", "a")];
        check(false, &records, &[0, 1, 0, 2], &["d0", "d1", "d2"]);
    }

    #[test]
    fn numbers_pass_over_ids_of_the_input_wherever_they_stand() {
        check(false, &[("d0", "", "a"), ("", "", "b")], &[0, 1], &["d0", "d1"]);
        check(false, &[("", "", "b"), ("d0", "", "a")], &[0, 1], &["d1", "d0"]);
        let records = [("", "", "a"), ("d1", "", "b"), ("", "", "c"), ("d0", "", "d")];
        check(false, &records, &[0, 1, 2, 3], &["d2", "d1", "d3", "d0"]);
    }

    #[test]
    fn a_text_without_an_id_is_the_record_of_its_text_in_both_orders() {
        check(false, &[("x", "", "a"), ("", "", "a"), ("y", "", "a")], &[0, 0, 1], &["x", "y"]);
        check(false, &[("", "", "a"), ("x", "", "a"), ("y", "", "a")], &[0, 0, 1], &["x", "y"]);
    }

    #[test]
    fn ids_with_white_space_get_names_that_nothing_else_has() {
        let records = [("a b", "", "1"), ("a\u{a0}b", "", "2"), ("", "", "3"), ("a_b", "", "4")];
        check(true, &records, &[0, 1, 2, 3], &["a_b-2", "a_b-3", "d0", "a_b"]);
        check(false, &records, &[0, 1, 2, 3], &["a b", "a\u{a0}b", "d0", "a_b"]);
    }

    #[test]
    fn names_given_at_once_stand_unless_the_input_takes_them() {
        let settled = |ids: &[&str]| {
            let mut interner = Interner::new("query", false);
            for (line, id) in (1..).zip(ids) {
                let id = (!id.is_empty()).then_some(*id);
                interner.intern(id, ("", &line.to_string()), line).unwrap();
            }
            interner.into_names().are_as_given()
        };
        assert!(settled(&["q0", "", "q3", "", "x"]));
        assert!(!settled(&["", "q0"]));
        // q1 is passed over when it is given out, so nothing was written under it.
        assert!(settled(&["q1", "", "", "q7"]));
    }

    #[test]
    fn one_id_has_one_text() {
        let mut interner = Interner::new("query", false);
        interner.intern(Some("q"), ("", "a"), 1).unwrap();
        let fault = interner.intern(Some("q"), ("", "b"), 2).unwrap_err();
        assert_eq!(fault.to_string(), "query `q` has another text than on line 1");
        let fault = interner.add("q", ("", "a"), 3).unwrap_err();
        assert_eq!(fault.to_string(), "query `q` is already on line 1");
        let fault = interner.intern(Some(" "), ("", "b"), 4).unwrap_err();
        assert_eq!(fault.to_string(), "field `query id` is empty");
    }
}
