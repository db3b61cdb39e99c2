//! Which keys the tokens of a text see, and the blocks in which they are looked at.

use std::ops::Range;

/// Queries whose scores are held at once.
const QUERIES: usize = 128;
/// Keys to which they are, at most.
const KEYS: usize = 512;
/// What a block's first key is a multiple of: keys that share a random word.
const ALIGNED: usize = 4;

/// Which keys a token sees.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sight {
    /// None of those after it.
    pub(crate) is_causal: bool,
    /// None further off than this many tokens.
    pub(crate) window: Option<usize>,
}

impl Sight {
    /// The keys that the token at `query` sees, of `length`.
    pub(crate) fn keys(self, query: usize, length: usize) -> Range<usize> {
        let end = if self.is_causal { query + 1 } else { length };
        match self.window {
            None => 0..end,
            Some(window) => {
                query.saturating_sub(window)
                    ..end.min(query.saturating_add(window).saturating_add(1))
            }
        }
    }

    /// Whether a text of `length` tokens has a token that does not see all of them.
    pub(crate) fn hides(self, length: usize) -> bool {
        (self.is_causal && length > 1)
            || self.window.is_some_and(|window| window < length.saturating_sub(1))
    }

    /// The keys of `length` that one of some queries sees, from a multiple of [`ALIGNED`] on.
    pub(crate) fn seen_by(self, queries: &Range<usize>, length: usize) -> Range<usize> {
        if !self.hides(length) {
            return 0..length;
        }
        let first = self.keys(queries.start, length).start;
        first / ALIGNED * ALIGNED..self.keys(queries.end - 1, length).end
    }

    /// The same in blocks.
    pub(crate) fn key_blocks(
        self,
        queries: &Range<usize>,
        length: usize,
    ) -> impl ExactSizeIterator<Item = Range<usize>> + use<> {
        blocks(self.seen_by(queries, length), KEYS)
    }

    /// Keys of the widest block.
    pub(crate) fn widest(self, queries: &Range<usize>, length: usize) -> usize {
        self.key_blocks(queries, length).map(|keys| keys.len()).max().unwrap_or(0)
    }
}

/// The queries of a text, in blocks.
pub(crate) fn query_blocks(queries: usize) -> impl ExactSizeIterator<Item = Range<usize>> {
    blocks(0..queries, QUERIES)
}

/// A range in blocks of one size but for the last.
pub(crate) fn blocks(of: Range<usize>, size: usize) -> impl ExactSizeIterator<Item = Range<usize>> {
    of.clone().step_by(size).map(move |start| start..of.end.min(start + size))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_hold_what_their_queries_see() {
        for (is_causal, window) in
            [(false, None), (true, None), (false, Some(5)), (true, Some(200)), (false, Some(1000))]
        {
            let sight = Sight { is_causal, window };
            for length in [1, 2, 7, 127, 128, 129, 300, 1500] {
                let mut asked = 0;
                for queries in query_blocks(length) {
                    assert_eq!(queries.start, asked);
                    asked = queries.end;
                    let keys: Vec<_> = sight.key_blocks(&queries, length).collect();
                    assert!(keys.iter().all(|keys| keys.start.is_multiple_of(ALIGNED)));
                    assert!(keys.windows(2).all(|pair| pair[0].end == pair[1].start));
                    let all = keys[0].start..keys.last().unwrap().end;
                    for query in queries {
                        let seen = sight.keys(query, length);
                        assert!(all.start <= seen.start && seen.end <= all.end);
                        assert!(seen.contains(&query));
                    }
                }
                assert_eq!(asked, length);
            }
        }
        let local = Sight { is_causal: false, window: Some(64) };
        let widest = query_blocks(2048).map(|queries| local.widest(&queries, 2048)).max();
        assert_eq!(widest, Some(QUERIES + 128));
        let all = Sight::default();
        assert_eq!(all.widest(&(0..1), 8192), KEYS);
    }
}
