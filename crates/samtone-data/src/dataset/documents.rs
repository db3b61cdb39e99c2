//! The documents of a data set, of which titles and texts are most bytes and seldom read.

use std::io::{self, Write};
use std::sync::Arc;

use memmap2::Mmap;

use crate::record::Document;

/// Bytes of titles and texts that stay in memory: as many at a time go into a temporary file.
const PART: usize = 64 << 20;

/// Documents by their numbers: their ids in memory, titles and texts in mapped files but for the last.
#[derive(Clone, Debug, Default)]
pub(super) struct Documents {
    /// The ids, one after the other, and where each ends.
    ids: String,
    id_ends: Vec<u64>,
    places: Vec<Place>,
    parts: Vec<Part>,
    /// Titles and texts after those of the parts.
    last: Vec<u8>,
}

/// Where a document's title lies, and its text right after it.
#[derive(Clone, Copy, Debug)]
struct Place {
    part: u32,
    title: u32,
    text: u32,
    end: u32,
}

/// Titles and texts of some documents.
#[derive(Clone, Debug)]
enum Part {
    Mapped(Arc<Mmap>),
    /// Where there is no room for a file.
    Held(Arc<[u8]>),
}

impl Documents {
    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    /// A document; its id is empty where it has none yet.
    ///
    /// # Panics
    /// If there is none of this number.
    pub(super) fn get(&self, number: usize) -> Document<&str> {
        let Place { part, title, text, end } = self.places[number];
        let bytes: &[u8] = match self.parts.get(part as usize) {
            Some(Part::Mapped(map)) => map,
            Some(Part::Held(bytes)) => bytes,
            None => &self.last,
        };
        let read = |first: u32, end: u32| {
            std::str::from_utf8(&bytes[first as usize..end as usize]).expect("a text was put here")
        };
        Document { id: self.id(number), title: read(title, text), text: read(text, end) }
    }

    /// A document's id.
    pub(super) fn id(&self, number: usize) -> &str {
        let end =
            |number: usize| self.id_ends.get(number).map_or(self.ids.len(), |&end| end as usize);
        let first = number.checked_sub(1).map_or(0, end);
        &self.ids[first..end(number)]
    }

    /// Adds a document's title and text; its id is to be the next of [`push_id`](Self::push_id).
    ///
    /// # Panics
    /// If they are 4 GiB long.
    pub(super) fn push_texts(&mut self, title: &str, text: &str) {
        if !self.last.is_empty() && self.last.len() + title.len() + text.len() > PART {
            let last = std::mem::take(&mut self.last);
            let mapped = map(&last).map(|map| Part::Mapped(Arc::new(map)));
            self.parts.push(mapped.unwrap_or_else(|_| Part::Held(last.into())));
        }
        let mut add = |bytes: &str| {
            let first = self.last.len();
            self.last.extend(bytes.as_bytes());
            first
        };
        let (title, text) = (add(title), add(text));
        let [title, text, end] = [title, text, self.last.len()]
            .map(|at| u32::try_from(at).expect("a document of less than 4 GiB"));
        let part = self.parts.len() as u32;
        self.places.push(Place { part, title, text, end });
    }

    /// Gives the first document without an id its own.
    pub(super) fn push_id(&mut self, id: &str) {
        self.ids.push_str(id);
        self.id_ends.push(self.ids.len() as u64);
    }
}

/// Bytes in a file that has no name, mapped.
fn map(bytes: &[u8]) -> io::Result<Mmap> {
    let mut file = tempfile::tempfile()?;
    file.write_all(bytes)?;
    // SAFETY: nobody else opens a file without a name, and this one is not written any more.
    #[expect(unsafe_code, reason = "a memory map of a file that nobody else has")]
    unsafe {
        Mmap::map(&file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_of_several_parts_are_what_was_put() {
        let text = |number: usize| "ü".repeat((5 << 20) + number);
        let mut documents = Documents::default();
        let count = 2 * PART / text(0).len() + 3;
        for number in 0..count {
            let title = if number % 2 == 0 { "" } else { "odd" };
            documents.push_texts(title, &text(number));
            documents.push_id(&format!("d{number}"));
        }
        assert!(matches!(&documents.parts[..], [Part::Mapped(_), Part::Mapped(_)]));
        for number in 0..count {
            let found = documents.get(number);
            assert_eq!(found.id, format!("d{number}"));
            assert_eq!(found.title.is_empty(), number % 2 == 0);
            assert!(found.text == text(number), "{number}");
        }
    }

    #[test]
    fn a_text_beyond_a_part_is_one() {
        let mut documents = Documents::default();
        let long = "x".repeat(PART + 1);
        for text in ["a", &long, "b"] {
            documents.push_texts("", text);
        }
        let texts: Vec<_> = (0..3).map(|number| documents.get(number)).collect();
        assert!(texts[1].text == long);
        assert_eq!([texts[0].text, texts[2].text, texts[2].id], ["a", "b", ""]);
    }
}
