//! Terms and their numbers.

use super::store::Store;
use crate::table::hash;

/// Slots of an empty table.
const SLOTS: usize = 16;

/// Terms that are being numbered, in the order of their first appearance.
#[derive(Debug)]
pub(super) struct TermsBuilder {
    text: Vec<u8>,
    ends: Vec<u64>,
    /// A hash table of numbers plus 1, 0 where it is free; at most half full.
    slots: Vec<u32>,
}

impl Default for TermsBuilder {
    fn default() -> Self {
        Self { text: Vec::new(), ends: Vec::new(), slots: vec![0; SLOTS] }
    }
}

impl TermsBuilder {
    /// The number of `term`, which is the next one if it is new.
    ///
    /// # Panics
    /// If there are 2^32 terms.
    pub(super) fn number(&mut self, term: &str) -> u32 {
        let slot = match find(&self.text, &self.ends, &self.slots, term) {
            Ok(number) => return number,
            Err(slot) => slot,
        };
        let number = u32::try_from(self.ends.len()).ok().filter(|&number| number < u32::MAX);
        let number = number.expect("fewer than 2^32 terms");
        self.text.extend_from_slice(term.as_bytes());
        self.ends.push(self.text.len() as u64);
        self.slots[slot] = number + 1;
        if 2 * self.ends.len() > self.slots.len() {
            self.grow();
        }
        number
    }

    /// How many terms there are.
    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    /// The terms in the order of their numbers.
    pub(super) fn iter(&self) -> impl Iterator<Item = &str> {
        (0..self.len()).map(|number| {
            let term = term(&self.text, &self.ends, number);
            std::str::from_utf8(term).expect("terms are added as text")
        })
    }

    fn grow(&mut self) {
        let mut slots = vec![0; 2 * self.slots.len()];
        for number in 0..self.len() {
            let slot = free(&slots, hash_of(term(&self.text, &self.ends, number)));
            slots[slot] = number as u32 + 1;
        }
        self.slots = slots;
    }
}

/// Numbered terms.
#[derive(Debug)]
pub(super) struct Terms {
    /// The terms one after the other, in UTF-8.
    pub(super) text: Store<u8>,
    /// Where each ends in the text.
    pub(super) ends: Store<u64>,
    /// As in [`TermsBuilder`].
    pub(super) slots: Store<u32>,
}

impl Terms {
    /// The number of `term`.
    pub(super) fn find(&self, term: &str) -> Option<u32> {
        find(&self.text, &self.ends, &self.slots, term).ok()
    }
}

impl From<TermsBuilder> for Terms {
    fn from(terms: TermsBuilder) -> Self {
        let TermsBuilder { text, ends, slots } = terms;
        Self { text: text.into(), ends: ends.into(), slots: slots.into() }
    }
}

fn hash_of(term: &[u8]) -> usize {
    hash(term) as usize
}

fn term<'a>(text: &'a [u8], ends: &[u64], number: usize) -> &'a [u8] {
    let start = number.checked_sub(1).map_or(0, |before| ends[before]);
    &text[start as usize..ends[number] as usize]
}

/// The number of `wanted`, or the free slot where it would stand.
fn find(text: &[u8], ends: &[u64], slots: &[u32], wanted: &str) -> Result<u32, usize> {
    let mask = slots.len() - 1;
    let mut slot = hash_of(wanted.as_bytes()) & mask;
    while let Some(number) = slots[slot].checked_sub(1) {
        if term(text, ends, number as usize) == wanted.as_bytes() {
            return Ok(number);
        }
        slot = (slot + 1) & mask;
    }
    Err(slot)
}

/// The first free slot for a hash.
fn free(slots: &[u32], hash: usize) -> usize {
    let mask = slots.len() - 1;
    let mut slot = hash & mask;
    while slots[slot] != 0 {
        slot = (slot + 1) & mask;
    }
    slot
}
