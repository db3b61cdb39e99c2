//! Texts to an index, on all threads.
//!
//! Texts are taken a group at a time, and every thread makes a segment of its share: terms numbered as
//! they appear in it, and their postings. Then the terms of one segment after the other are numbered for
//! all, so that terms have the order of their first appearance however many threads there are. At the end
//! each term's postings are joined over the segments. Beside a group of texts, memory holds the postings
//! twice, both times compact.

use std::ops::Range;

use rayon::prelude::*;

use super::analyzer::Analyzer;
use super::config::Bm25Config;
use super::index::Index;
use super::postings::{Postings, PostingsBuilder, read_rest, write_rest};
use super::terms::TermsBuilder;
use super::weight::Weights;

/// Bytes of the texts that a thread makes a segment of, about, and what a text counts beside its own.
const SEGMENT: usize = 16 << 20;
const TEXT: usize = 64;

/// Postings that are joined as one piece of work, about.
const JOINED: u64 = 1 << 20;

/// The index of `texts`, in their order.
///
/// # Panics
/// If there are 2^32 documents or terms.
pub(super) fn build<T: AsRef<str> + Sync>(
    texts: impl IntoIterator<Item = T>,
    analyzer: &Analyzer,
    config: Bm25Config,
) -> Index {
    build_by(SEGMENT, texts, analyzer, config)
}

/// [`build`] by segments of about `bytes` of text.
fn build_by<T: AsRef<str> + Sync>(
    bytes: usize,
    texts: impl IntoIterator<Item = T>,
    analyzer: &Analyzer,
    config: Bm25Config,
) -> Index {
    let threads = rayon::current_num_threads();
    let mut texts = texts.into_iter().peekable();
    let mut terms = TermsBuilder::default();
    let (mut lengths, mut holding, mut segments) = (Vec::new(), Vec::new(), Vec::new());
    while texts.peek().is_some() {
        let mut room = threads * bytes;
        let mut fits = |text: &T| {
            let had_room = room > 0;
            room = room.saturating_sub(text.as_ref().len() + TEXT);
            had_room
        };
        let group: Vec<T> = std::iter::from_fn(|| texts.next_if(&mut fits)).collect();
        let share = group.len().div_ceil(threads);
        let parts: Vec<Part> =
            group.par_chunks(share).map(|texts| Part::of(texts, analyzer)).collect();
        let mut numbered = Vec::with_capacity(parts.len());
        for part in parts {
            let numbers: Vec<u32> = part.terms.iter().map(|term| terms.number(term)).collect();
            holding.resize(terms.len(), 0);
            for (&number, &here) in numbers.iter().zip(&part.holding) {
                holding[number as usize] += here;
            }
            let first = u32::try_from(lengths.len()).expect("fewer than 2^32 documents");
            lengths.extend_from_slice(&part.lengths);
            numbered.push((part, numbers, first));
        }
        let sorted = numbered.into_par_iter();
        segments.par_extend(sorted.map(|(part, numbers, first)| part.segment(&numbers, first)));
    }
    assert!(u32::try_from(lengths.len()).is_ok(), "fewer than 2^32 documents");
    let weights = Weights::new(config, &lengths);
    let postings = join(&segments, holding, &lengths, &weights);
    Index { lengths: lengths.into(), terms: terms.into(), postings }
}

/// What a thread reads out of some texts: documents and terms counted from its own first.
struct Part {
    terms: TermsBuilder,
    /// How many of the documents hold each term.
    holding: Vec<u32>,
    lengths: Vec<u32>,
    /// Term, document and how often, the documents ascending.
    postings: Vec<(u32, u32, u32)>,
}

impl Part {
    fn of<T: AsRef<str>>(texts: &[T], analyzer: &Analyzer) -> Self {
        let mut terms = TermsBuilder::default();
        let (mut holding, mut lengths, mut postings) = (Vec::new(), Vec::new(), Vec::new());
        let mut of_document: Vec<u32> = Vec::new();
        for (document, text) in (0..).zip(texts) {
            of_document.clear();
            analyzer.for_each_term(text.as_ref(), |term| of_document.push(terms.number(term)));
            holding.resize(terms.len(), 0);
            lengths.push(u32::try_from(of_document.len()).expect("fewer than 2^32 terms"));
            of_document.sort_unstable();
            for same in of_document.chunk_by(|a, b| a == b) {
                holding[same[0] as usize] += 1;
                postings.push((same[0], document, same.len() as u32));
            }
        }
        Self { terms, holding, lengths, postings }
    }

    /// The part with the numbers that its terms and documents have in the collection.
    fn segment(self, numbers: &[u32], first: u32) -> Segment {
        let mut order: Vec<usize> = (0..numbers.len()).collect();
        order.sort_unstable_by_key(|&term| numbers[term]);
        // Where each term's postings go.
        let mut places = vec![0; numbers.len()];
        let mut before = 0;
        for &term in &order {
            places[term] = before;
            before += self.holding[term] as usize;
        }
        let (mut documents, mut counts) = (vec![0; before], vec![0; before]);
        for (term, document, count) in self.postings {
            let place = &mut places[term as usize];
            (documents[*place], counts[*place]) = (first + document, count);
            *place += 1;
        }
        let (mut bytes, mut ends, mut start) = (Vec::new(), Vec::with_capacity(order.len()), 0);
        for &term in &order {
            let end = start + self.holding[term] as usize;
            write_rest(&mut bytes, first, &documents[start..end], &counts[start..end]);
            ends.push(u32::try_from(bytes.len()).expect("a segment has few bytes"));
            start = end;
        }
        bytes.shrink_to_fit();
        let terms = order.into_iter().map(|term| numbers[term]).collect();
        Segment { terms, ends, bytes, first }
    }
}

/// The postings of consecutive documents.
struct Segment {
    /// The terms that the documents hold, ascending.
    terms: Vec<u32>,
    /// Where each one's postings end.
    ends: Vec<u32>,
    bytes: Vec<u8>,
    /// The first document.
    first: u32,
}

impl Segment {
    /// Appends the postings of the term at `place`.
    fn read(&self, place: usize, documents: &mut Vec<u32>, counts: &mut Vec<u32>) {
        let start = place.checked_sub(1).map_or(0, |before| self.ends[before]);
        let mut bytes = &self.bytes[start as usize..self.ends[place] as usize];
        let mut next = self.first;
        while !bytes.is_empty() {
            let (document, count) = read_rest(&mut bytes, next);
            documents.push(document);
            counts.push(count);
            next = document + 1;
        }
    }
}

/// The postings of all segments, which are in the order of their documents.
fn join(segments: &[Segment], holding: Vec<u32>, lengths: &[u32], weights: &Weights) -> Postings {
    let join = |terms: &Range<u32>| {
        let mut built = PostingsBuilder::default();
        // Where each segment's next term stands.
        let first = |segment: &Segment| segment.terms.partition_point(|&term| term < terms.start);
        let mut places: Vec<usize> = segments.iter().map(first).collect();
        let (mut documents, mut counts) = (Vec::new(), Vec::new());
        for term in terms.clone() {
            documents.clear();
            counts.clear();
            for (segment, place) in segments.iter().zip(&mut places) {
                if segment.terms.get(*place) == Some(&term) {
                    segment.read(*place, &mut documents, &mut counts);
                    *place += 1;
                }
            }
            let rarity = weights.rarity(holding[term as usize]);
            built.push(&documents, &counts, |document, count| {
                weights.weight(rarity, count, lengths[document as usize])
            });
        }
        built
    };
    let mut all = PostingsBuilder::default();
    for work in pieces(&holding).chunks(2 * rayon::current_num_threads()) {
        let built: Vec<PostingsBuilder> = work.par_iter().map(join).collect();
        for built in built {
            all.append(built);
        }
    }
    all.finish(holding)
}

/// The terms in ranges of about [`JOINED`] postings.
fn pieces(holding: &[u32]) -> Vec<Range<u32>> {
    let (mut pieces, mut start, mut postings) = (Vec::new(), 0, 0);
    for (end, &holding) in (1..).zip(holding) {
        postings += u64::from(holding);
        if postings >= JOINED {
            pieces.push(start..end);
            (start, postings) = (end, 0);
        }
    }
    pieces.push(start..holding.len() as u32);
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::below;

    #[test]
    fn an_index_is_the_same_whatever_its_segments() {
        let texts: Vec<String> = (0..2000)
            .map(|document| {
                let word = |place| below(document, 0, place, 40) * below(document, 1, place, 40);
                let words = (0..document % 30).map(|place| format!("w{} ", word(place)));
                words.collect()
            })
            .collect();
        let (analyzer, config) = (Analyzer::default(), Bm25Config::default());
        let [whole, parts, singles] = [SEGMENT, 3000, 1].map(|bytes| {
            let Index { lengths, terms, postings: p } = build_by(bytes, &texts, &analyzer, config);
            let numbers =
                (lengths.to_vec(), p.holding.to_vec(), p.starts.to_vec(), p.lasts.to_vec());
            let maxima: Vec<u32> = p.maxima.iter().map(|most| most.to_bits()).collect();
            (terms.text.to_vec(), numbers, maxima, p.offsets.to_vec(), p.packed.to_vec())
        });
        assert!(whole.2.len() > 400);
        assert!(whole == parts && whole == singles);
    }
}
