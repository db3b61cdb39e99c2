//! Which record has a key.

/// Slots of a table's first record.
const SLOTS: usize = 16;

/// Records by keys that lie with the records: a hash table of their numbers alone, 4 to 8 bytes a record.
#[derive(Clone, Debug, Default)]
pub(super) struct Index {
    /// Numbers plus 1, 0 where a slot is free; at most three quarters are taken.
    slots: Vec<u32>,
    taken: usize,
}

impl Index {
    /// The record of this hash that `is_it`, if it was inserted.
    pub(super) fn find(&self, hash: u64, is_it: impl Fn(usize) -> bool) -> Option<usize> {
        self.probe(hash).find(|&number| is_it(number))
    }

    /// Adds a record, which is not there; `hash_of` gives the hash of any record's key.
    ///
    /// # Panics
    /// If `number` is 2^32 - 1 or more.
    pub(super) fn insert(&mut self, number: usize, hash_of: impl Fn(usize) -> u64) {
        if 4 * (self.taken + 1) > 3 * self.slots.len() {
            let old = std::mem::take(&mut self.slots);
            self.slots = vec![0; (2 * old.len()).max(SLOTS)];
            for slot in old.into_iter().filter(|&slot| slot != 0) {
                self.enter(slot, hash_of(slot as usize - 1));
            }
        }
        let slot = u32::try_from(number + 1).expect("fewer than 2^32 records");
        self.enter(slot, hash_of(number));
        self.taken += 1;
    }

    fn enter(&mut self, slot: u32, hash: u64) {
        let mask = self.slots.len() - 1;
        let mut place = hash as usize & mask;
        while self.slots[place] != 0 {
            place = (place + 1) & mask;
        }
        self.slots[place] = slot;
    }

    /// The records that stand from a hash's place on, up to a free slot.
    fn probe(&self, hash: u64) -> impl Iterator<Item = usize> {
        let mask = self.slots.len().saturating_sub(1);
        let places =
            (0..self.slots.len()).map(move |step| (hash as usize).wrapping_add(step) & mask);
        places
            .map_while(move |place| self.slots[place].checked_sub(1))
            .map(|number| number as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_found_by_their_keys_whatever_the_hashes() {
        // Few hashes, so that most records stand elsewhere than their hash says.
        for hashes in [1, 3, u64::MAX] {
            let hash_of = |number: usize| (number as u64).wrapping_mul(0x9E37_79B9) % hashes;
            let mut index = Index::default();
            assert_eq!(index.find(0, |_| true), None);
            for number in 0..200 {
                assert_eq!(index.find(hash_of(number), |found| found == number), None);
                index.insert(number, hash_of);
            }
            for number in 0..200 {
                assert_eq!(index.find(hash_of(number), |found| found == number), Some(number));
            }
            assert_eq!(index.find(hash_of(200), |found| found == 200), None);
        }
    }
}
