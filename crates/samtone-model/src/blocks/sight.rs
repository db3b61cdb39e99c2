//! Which keys the tokens of a text see, and the blocks in which they are looked at.

use std::ops::Range;

/// Queries whose keys are looked at together, where not every query sees every key.
const BLOCK: usize = 128;

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
            Some(window) => query.saturating_sub(window)..end.min(query + window + 1),
        }
    }

    /// Whether a text of `length` tokens has a token that does not see all of them.
    pub(crate) fn hides(self, length: usize) -> bool {
        (self.is_causal && length > 1) || self.window.is_some_and(|window| window + 1 < length)
    }

    /// Blocks of queries, each with the keys that one of them sees.
    pub(crate) fn blocks(
        self,
        queries: usize,
        length: usize,
    ) -> impl Iterator<Item = (Range<usize>, Range<usize>)> {
        let size = if self.hides(length) { BLOCK } else { queries.max(1) };
        (0..queries).step_by(size).map(move |start| {
            let end = queries.min(start + size);
            let keys = self.keys(start, length).start..self.keys(end - 1, length).end;
            (start..end, if self.hides(length) { keys } else { 0..length })
        })
    }
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
            for length in [1, 2, 7, 127, 128, 129, 300] {
                let mut next = 0;
                for (queries, keys) in sight.blocks(length, length) {
                    assert_eq!(queries.start, next);
                    next = queries.end;
                    for query in queries {
                        let seen = sight.keys(query, length);
                        assert!(keys.start <= seen.start && seen.end <= keys.end);
                        assert!(seen.contains(&query));
                    }
                }
                assert_eq!(next, length);
            }
        }
        let local = Sight { is_causal: false, window: Some(64) };
        let widest = local.blocks(2048, 2048).map(|(_, keys)| keys.len()).max();
        assert_eq!(widest, Some(BLOCK + 128));
    }
}
