//! Postings in blocks: which documents hold a term, and how often.
//!
//! A block of 128 is packed in as many bits as its greatest gap and its greatest count need. The rest of
//! a term's postings, fewer than that, stands as numbers of one byte or more: twice the gap, plus 1 and
//! followed by the count less 2 where the count is not 1.

use std::ops::Range;

use bitpacking::{BitPacker, BitPacker4x};

use super::store::Store;

/// Postings in a block.
pub(super) const BLOCK: usize = BitPacker4x::BLOCK_LEN;

/// Bytes before a packed block: the bits of a gap and of a count.
const BITS: usize = 2;

/// The postings of all terms.
#[derive(Debug)]
pub(super) struct Postings {
    /// How many documents hold each term.
    pub(super) holding: Store<u32>,
    /// The first block of each term, and where the last one's end.
    pub(super) starts: Store<u64>,
    /// The last document of each block.
    pub(super) lasts: Store<u32>,
    /// What a document of each block scores at most for one occurrence of the term in a query.
    pub(super) maxima: Store<f32>,
    /// Where each block starts in `packed`, and where the last one ends.
    pub(super) offsets: Store<u64>,
    pub(super) packed: Store<u8>,
}

impl Postings {
    /// A cursor at the beginning of a term's postings.
    pub(super) fn of(&self, term: u32) -> Cursor<'_> {
        let term = term as usize;
        let blocks = self.starts[term] as usize..self.starts[term + 1] as usize;
        Cursor {
            holding: self.holding[term],
            lasts: &self.lasts[blocks.clone()],
            maxima: &self.maxima[blocks.clone()],
            offsets: &self.offsets[blocks.start..=blocks.end],
            packed: &self.packed,
            block: 0,
            opened: usize::MAX,
            has_counts: false,
            documents: [0; BLOCK],
            counts: [0; BLOCK],
        }
    }
}

/// Postings of consecutive terms, being written; as in [`Postings`].
#[derive(Debug)]
pub(super) struct PostingsBuilder {
    starts: Vec<u64>,
    lasts: Vec<u32>,
    maxima: Vec<f32>,
    offsets: Vec<u64>,
    packed: Vec<u8>,
}

impl Default for PostingsBuilder {
    fn default() -> Self {
        let (lasts, maxima, packed) = (Vec::new(), Vec::new(), Vec::new());
        Self { starts: vec![0], lasts, maxima, offsets: vec![0], packed }
    }
}

impl PostingsBuilder {
    /// Adds a term: the documents that hold it, ascending, how often, and what it is worth in a document
    /// that has it so often.
    pub(super) fn push(
        &mut self,
        documents: &[u32],
        counts: &[u32],
        weight: impl Fn(u32, u32) -> f32,
    ) {
        let mut before = None;
        for (documents, counts) in documents.chunks(BLOCK).zip(counts.chunks(BLOCK)) {
            let postings = documents.iter().zip(counts);
            let most =
                postings.map(|(&document, &count)| weight(document, count)).fold(0.0, f32::max);
            if documents.len() == BLOCK {
                pack(&mut self.packed, before, documents, counts);
            } else {
                let next = before.map_or(0, |before| before + 1);
                write_rest(&mut self.packed, next, documents, counts);
            }
            before = documents.last().copied();
            self.lasts.extend(before);
            self.maxima.push(most);
            self.offsets.push(self.packed.len() as u64);
        }
        self.starts.push(self.lasts.len() as u64);
    }

    /// Adds the terms of `other` after its own.
    pub(super) fn append(&mut self, other: Self) {
        let (blocks, bytes) = (self.lasts.len() as u64, self.packed.len() as u64);
        self.starts.extend(other.starts[1..].iter().map(|start| start + blocks));
        self.offsets.extend(other.offsets[1..].iter().map(|offset| offset + bytes));
        self.lasts.extend(other.lasts);
        self.maxima.extend(other.maxima);
        self.packed.extend(other.packed);
    }

    /// The postings; `holding` is how many documents hold each term.
    pub(super) fn finish(self, holding: Vec<u32>) -> Postings {
        Postings {
            holding: holding.into(),
            starts: self.starts.into(),
            lasts: self.lasts.into(),
            maxima: self.maxima.into(),
            offsets: self.offsets.into(),
            packed: self.packed.into(),
        }
    }
}

/// Appends a whole block; `before` is the document before it.
fn pack(out: &mut Vec<u8>, before: Option<u32>, documents: &[u32], counts: &[u32]) {
    let packer = BitPacker4x::new();
    let mut more = [0; BLOCK];
    for (more, count) in more.iter_mut().zip(counts) {
        *more = count - 1;
    }
    let bits = [packer.num_bits_strictly_sorted(before, documents), packer.num_bits(&more)];
    out.extend(bits);
    let [gaps, counts] = bits.map(BitPacker4x::compressed_block_size);
    let start = out.len();
    out.resize(start + gaps + counts, 0);
    packer.compress_strictly_sorted(before, documents, &mut out[start..start + gaps], bits[0]);
    packer.compress(&more, &mut out[start + gaps..], bits[1]);
}

/// Appends postings one by one; none is of a document before `next`.
pub(super) fn write_rest(out: &mut Vec<u8>, mut next: u32, documents: &[u32], counts: &[u32]) {
    for (&document, &count) in documents.iter().zip(counts) {
        write_number(out, u64::from(document - next) << 1 | u64::from(count > 1));
        if count > 1 {
            write_number(out, u64::from(count - 2));
        }
        next = document + 1;
    }
}

/// Takes a posting of [`write_rest`] off the beginning of `bytes`: document and count.
pub(super) fn read_rest(bytes: &mut &[u8], next: u32) -> (u32, u32) {
    let number = read_number(bytes);
    let count = if number & 1 == 0 { 1 } else { read_number(bytes) as u32 + 2 };
    (next + (number >> 1) as u32, count)
}

/// Appends a number, seven bits a byte, the lowest first; all bytes but the last have their high bit set.
fn write_number(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Takes a number of [`write_number`] off the beginning of `bytes`.
fn read_number(bytes: &mut &[u8]) -> u64 {
    let (mut number, mut shift) = (0, 0);
    loop {
        let (&byte, rest) = bytes.split_first().expect("a number ends");
        *bytes = rest;
        number |= u64::from(byte & 0x7F) << shift;
        if byte < 0x80 {
            return number;
        }
        shift += 7;
    }
}

/// A place in a term's postings, which only moves on. A block is unpacked when it is looked into.
pub(super) struct Cursor<'a> {
    holding: u32,
    lasts: &'a [u32],
    maxima: &'a [f32],
    offsets: &'a [u64],
    packed: &'a [u8],
    /// The first block that still counts.
    block: usize,
    /// The block whose documents are unpacked.
    opened: usize,
    has_counts: bool,
    documents: [u32; BLOCK],
    counts: [u32; BLOCK],
}

impl<'a> Cursor<'a> {
    /// How many documents hold the term.
    pub(super) fn holding(&self) -> u32 {
        self.holding
    }

    /// A document from `from` on before which none holds the term: the very first that does where
    /// postings are so rare that their block reaches beyond `width` documents. `None` if there is none.
    pub(super) fn next(&mut self, from: u32, width: u32) -> Option<u32> {
        self.pass(from);
        let &last = self.lasts.get(self.block)?;
        let start = self.start_of(self.block).max(from);
        if last - start < width {
            return Some(start);
        }
        Some(*self.documents().iter().find(|&&document| document >= from).expect("the last is"))
    }

    /// What a document of `window` scores at most for one occurrence of the term; 0 if none holds it.
    pub(super) fn most_in(&mut self, window: &Range<u32>) -> f32 {
        self.pass(window.start);
        let Some(&last) = self.lasts.get(self.block) else { return 0.0 };
        if last >= window.end && self.start_of(self.block) <= window.start {
            // One block is all: whether any of its postings is in the window is soon seen.
            let is_in = |document: &u32| window.contains(document);
            let block = self.block;
            return if self.documents().iter().any(is_in) { self.maxima[block] } else { 0.0 };
        }
        let after = |block: &usize| self.start_of(*block) < window.end;
        let blocks = (self.block..self.lasts.len()).take_while(after);
        blocks.map(|block| self.maxima[block]).fold(0.0, f32::max)
    }

    /// Passes every posting in `window` to `take`, except those in blocks that score so little at most
    /// that `skip` says so.
    pub(super) fn each_in(
        &mut self,
        window: &Range<u32>,
        skip: impl Fn(f32) -> bool,
        mut take: impl FnMut(u32, u32),
    ) {
        self.pass(window.start);
        while self.block < self.lasts.len() && self.start_of(self.block) < window.end {
            let last = self.lasts[self.block];
            if !skip(self.maxima[self.block]) {
                self.open_counts();
                let len = self.len_of(self.block);
                let documents = &self.documents[..len];
                let first = documents.partition_point(|&document| document < window.start);
                let end = if last < window.end {
                    len
                } else {
                    documents.partition_point(|&document| document < window.end)
                };
                for (&document, &count) in
                    documents[first..end].iter().zip(&self.counts[first..end])
                {
                    take(document, count);
                }
            }
            if last >= window.end {
                return;
            }
            self.block += 1;
        }
    }

    /// What `document` scores at most for one occurrence of the term; 0 if it does not hold it for sure.
    pub(super) fn most_at(&mut self, document: u32) -> f32 {
        self.pass(document);
        self.maxima.get(self.block).copied().unwrap_or(0.0)
    }

    /// How often `document` has the term.
    pub(super) fn count_at(&mut self, document: u32) -> Option<u32> {
        self.pass(document);
        if self.block == self.lasts.len() {
            return None;
        }
        let place = self.documents().binary_search(&document).ok()?;
        self.open_counts();
        Some(self.counts[place])
    }

    /// Leaves the blocks that end before `document` behind.
    fn pass(&mut self, document: u32) {
        while self.lasts.get(self.block).is_some_and(|&last| last < document) {
            self.block += 1;
        }
    }

    /// The first document that may stand in a block.
    fn start_of(&self, block: usize) -> u32 {
        block.checked_sub(1).map_or(0, |before| self.lasts[before] + 1)
    }

    fn len_of(&self, block: usize) -> usize {
        (self.holding as usize - block * BLOCK).min(BLOCK)
    }

    /// The documents of the current block.
    fn documents(&mut self) -> &[u32] {
        if self.opened != self.block {
            self.open();
        }
        &self.documents[..self.len_of(self.block)]
    }

    /// The bytes of the current block, and the last document before it.
    fn bytes(&self) -> (&'a [u8], Option<u32>) {
        let bytes = self.offsets[self.block] as usize..self.offsets[self.block + 1] as usize;
        (&self.packed[bytes], self.block.checked_sub(1).map(|before| self.lasts[before]))
    }

    fn open(&mut self) {
        let (mut bytes, before) = self.bytes();
        let len = self.len_of(self.block);
        self.has_counts = len < BLOCK;
        if len == BLOCK {
            let (bits, packed) = bytes.split_at(BITS);
            let documents = &mut self.documents;
            BitPacker4x::new().decompress_strictly_sorted(before, packed, documents, bits[0]);
        } else {
            let mut next = before.map_or(0, |before| before + 1);
            for (document, count) in self.documents.iter_mut().zip(&mut self.counts).take(len) {
                (*document, *count) = read_rest(&mut bytes, next);
                next = *document + 1;
            }
        }
        self.opened = self.block;
    }

    /// Unpacks the current block with its counts.
    fn open_counts(&mut self) {
        if self.opened != self.block {
            self.open();
        }
        if !self.has_counts {
            let (bytes, _) = self.bytes();
            let (bits, packed) = bytes.split_at(BITS);
            let packed = &packed[BitPacker4x::compressed_block_size(bits[0])..];
            BitPacker4x::new().decompress(packed, &mut self.counts, bits[1]);
            self.counts.iter_mut().for_each(|count| *count += 1);
            self.has_counts = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The postings of one term.
    fn postings(documents: &[u32], counts: &[u32]) -> Postings {
        let mut built = PostingsBuilder::default();
        built.push(documents, counts, |_, count| count as f32);
        built.finish(vec![documents.len() as u32])
    }

    /// Postings of `len` documents, near and far, some with great counts.
    fn sample(len: usize) -> (Vec<u32>, Vec<u32>) {
        let gap = |i: u64| [1, 2, 1, 700][(crate::random::word(0, i, 0) % 4) as usize];
        let count = |i: u64| [1, 1, 2, 3, 90_000][(crate::random::word(1, i, 0) % 5) as usize];
        let mut next = 0;
        let documents = (0..len as u64).map(|i| {
            next += gap(i);
            next - 1
        });
        (documents.collect(), (0..len as u64).map(count).collect())
    }

    #[test]
    fn postings_come_back() {
        for len in [0, 1, 127, 128, 129, 300, 512] {
            let (mut documents, counts) = sample(len);
            if let Some(last) = documents.last_mut() {
                *last = u32::MAX - 1;
            }
            let postings = postings(&documents, &counts);
            let mut found = (Vec::new(), Vec::new());
            postings.of(0).each_in(
                &(0..u32::MAX),
                |_| false,
                |document, count| {
                    found.0.push(document);
                    found.1.push(count);
                },
            );
            assert_eq!(found, (documents, counts), "{len} postings");
        }
    }

    #[test]
    fn windows_and_single_documents_find_what_is_in_them() {
        let (documents, counts) = sample(700);
        let postings = postings(&documents, &counts);
        let end = documents[699] + 500;
        for width in [1, 60, 1000, 100_000] {
            let (mut all, mut one) = (postings.of(0), postings.of(0));
            let mut found = Vec::new();
            for start in (0..end).step_by(width as usize) {
                let window = start..start + width;
                let most = all.most_in(&window);
                let next = all.next(start, width);
                let before = found.len();
                all.each_in(&window, |_| false, |document, count| found.push((document, count)));
                let here = &found[before..];
                assert!(here.iter().all(|&(_, count)| count as f32 <= most));
                assert!(
                    here.iter().all(|&(document, _)| next.is_some_and(|next| next <= document))
                );
            }
            assert!(found.iter().copied().eq(documents.iter().copied().zip(counts.clone())));
            for document in (0..end).step_by(width.min(7) as usize) {
                let expected = documents.binary_search(&document).ok().map(|place| counts[place]);
                let most = one.most_at(document);
                assert!(expected.is_none_or(|count| count as f32 <= most));
                assert_eq!(one.count_at(document), expected);
            }
        }
    }
}
