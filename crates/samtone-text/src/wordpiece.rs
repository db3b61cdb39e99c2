//! Training a WordPiece vocabulary.
//!
//! The trainer of the `tokenizers` library numbers the characters that continue a word in the order of
//! a randomly seeded hash map, and those numbers break its ties: two runs over the same texts give two
//! vocabularies. This one merges the same way (the most frequent pair first) with a total order: equal
//! counts are broken by the tokens' numbers, which follow from the texts alone.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap};

/// What the tokens inside a word begin with.
pub(crate) const CONTINUATION: &str = "##";

/// Merges are made of pairs that occur this often at least.
const MIN_COUNT: i64 = 2;

/// Characters beyond the most frequent thousand become unknown, as in BERT's vocabularies.
const MAX_CHARACTERS: usize = 1000;

type TokenPair = (u32, u32);

/// The words of the training texts and how often each occurs.
pub(crate) type WordCounts = BTreeMap<String, i64>;

/// The tokens of a vocabulary of at most `size`, in the order of their ids: `special` first, then
/// characters, then merges.
///
/// # Errors
/// The least size that holds the special tokens and the characters, if `size` is below it.
pub(crate) fn train(
    words: &WordCounts,
    special: &[&str],
    size: usize,
) -> Result<Vec<String>, usize> {
    let mut tokens: Vec<String> = special.iter().map(|&token| token.to_owned()).collect();
    let characters = characters(words);
    let starts = words.keys().filter_map(|word| word.chars().next());
    let inside = words.keys().flat_map(|word| word.chars().skip(1));
    let starts: BTreeSet<char> = starts.filter(|c| characters.contains(c)).collect();
    let inside: BTreeSet<char> = inside.filter(|c| characters.contains(c)).collect();
    let mut ids: HashMap<String, u32> = HashMap::new();
    let mut add = |tokens: &mut Vec<String>, token: String| -> u32 {
        *ids.entry(token.clone()).or_insert_with(|| {
            tokens.push(token);
            (tokens.len() - 1) as u32
        })
    };
    let starts: HashMap<char, u32> =
        starts.into_iter().map(|c| (c, add(&mut tokens, c.to_string()))).collect();
    let inside: HashMap<char, u32> =
        inside.into_iter().map(|c| (c, add(&mut tokens, format!("{CONTINUATION}{c}")))).collect();
    if tokens.len() > size {
        return Err(tokens.len());
    }

    let mut merger = Merger::default();
    for (word, &count) in words {
        let letters = word.chars().enumerate();
        let symbols: Option<Vec<u32>> =
            letters.map(|(i, c)| if i == 0 { &starts } else { &inside }.get(&c).copied()).collect();
        if let Some(symbols) = symbols {
            merger.add_word(symbols, count);
        }
    }
    let mut queue: BinaryHeap<(i64, Reverse<TokenPair>)> =
        merger.pairs.iter().map(|(&pair, entry)| (entry.count, Reverse(pair))).collect();
    while tokens.len() < size {
        let Some((count, Reverse(pair))) = queue.pop() else { break };
        let current = merger.pairs.get(&pair).map_or(0, |entry| entry.count);
        if current < MIN_COUNT {
            continue;
        }
        if current != count {
            queue.push((current, Reverse(pair)));
            continue;
        }
        let (left, right) = (&tokens[pair.0 as usize], &tokens[pair.1 as usize]);
        let joined = format!("{left}{}", right.strip_prefix(CONTINUATION).unwrap_or(right));
        let joined = add(&mut tokens, joined);
        for changed in merger.merge(pair, joined) {
            queue.push((merger.pairs[&changed].count, Reverse(changed)));
        }
    }
    Ok(tokens)
}

/// The most frequent characters.
fn characters(words: &WordCounts) -> BTreeSet<char> {
    let mut counts: BTreeMap<char, i64> = BTreeMap::new();
    for (word, count) in words {
        for c in word.chars() {
            *counts.entry(c).or_default() += count;
        }
    }
    let mut counts: Vec<(char, i64)> = counts.into_iter().collect();
    counts.sort_by_key(|&(_, count)| Reverse(count));
    counts.into_iter().take(MAX_CHARACTERS).map(|(c, _)| c).collect()
}

/// Words as sequences of tokens, and where each pair of neighbours occurs.
#[derive(Default)]
struct Merger {
    words: Vec<(Vec<u32>, i64)>,
    pairs: HashMap<TokenPair, PairEntry>,
}

#[derive(Default)]
struct PairEntry {
    /// Occurrences, weighted by the words' counts.
    count: i64,
    /// Words that hold the pair or held it once.
    words: BTreeSet<u32>,
}

impl Merger {
    fn add_word(&mut self, symbols: Vec<u32>, count: i64) {
        let index = self.words.len() as u32;
        for pair in symbols.windows(2) {
            self.change((pair[0], pair[1]), count, index);
        }
        self.words.push((symbols, count));
    }

    fn change(&mut self, pair: TokenPair, by: i64, word: u32) {
        let entry = self.pairs.entry(pair).or_default();
        entry.count += by;
        if by > 0 {
            entry.words.insert(word);
        }
    }

    /// Replaces `pair` by `joined` in every word; returns the pairs that became more frequent.
    fn merge(&mut self, pair: TokenPair, joined: u32) -> BTreeSet<TokenPair> {
        let Some(entry) = self.pairs.remove(&pair) else { return BTreeSet::new() };
        let mut grown = BTreeSet::new();
        for word in entry.words {
            let (symbols, count) = std::mem::take(&mut self.words[word as usize]);
            let mut merged = Vec::with_capacity(symbols.len());
            let mut rest = &symbols[..];
            while let Some((&first, tail)) = rest.split_first() {
                if tail.first() == Some(&pair.1) && first == pair.0 {
                    merged.push(joined);
                    rest = &tail[1..];
                } else {
                    merged.push(first);
                    rest = tail;
                }
            }
            if merged.len() < symbols.len() {
                // Counting the word out and in again is simpler than tracking neighbours, and words
                // are short.
                for old in symbols.windows(2) {
                    self.change((old[0], old[1]), -count, word);
                }
                for new in merged.windows(2) {
                    self.change((new[0], new[1]), count, word);
                    if new.contains(&joined) {
                        grown.insert((new[0], new[1]));
                    }
                }
            }
            self.words[word as usize] = (merged, count);
        }
        // Counting out touched the merged pair itself.
        self.pairs.remove(&pair);
        grown
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(words: &[(&str, i64)]) -> WordCounts {
        words.iter().map(|&(word, count)| (word.to_owned(), count)).collect()
    }

    #[test]
    fn the_most_frequent_pair_is_merged_first() {
        let words = counts(&[("hug", 10), ("pug", 5), ("pun", 12), ("bun", 4), ("hugs", 5)]);
        let tokens = train(&words, &["[UNK]"], 13).unwrap();
        // Counts: u+g 20, p+u 17, u+n 16, h+u 15, g+s 5, b+u 4. After "##ug" p+u is 12 and u+n still
        // 16, which makes "##un"; then h+ug is 15 and p+un 12. Last, p+ug and hug+s are both 5, and
        // "p" has the lower id.
        assert_eq!(
            tokens,
            [
                "[UNK]", "b", "h", "p", "##g", "##n", "##s", "##u", "##ug", "##un", "hug", "pun",
                "pug"
            ]
        );
    }

    #[test]
    fn ties_are_broken_by_the_order_of_the_tokens() {
        let words = counts(&[("ab", 3), ("cd", 3), ("ef", 3)]);
        let tokens = train(&words, &[], 8).unwrap();
        assert_eq!(tokens[6..], ["ab", "cd"]);
    }

    #[test]
    fn a_vocabulary_below_the_characters_is_refused() {
        assert_eq!(train(&counts(&[("ab", 3)]), &["[PAD]"], 2), Err(3));
    }
}
