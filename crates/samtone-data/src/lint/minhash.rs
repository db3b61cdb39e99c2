//! Near duplicates by `MinHash` and banding.
//!
//! A text is the set of its runs of three words. The chance that two sets have the same least element
//! under a random order is their Jaccard similarity (Broder 1997). 128 orders are cut into bands of r,
//! and two texts that agree in a whole band are candidates: at a similarity of s they are found with a
//! chance of 1 - (1 - s^r)^(128/r). r is the largest power of two for which that is 90 % or more at the
//! threshold (8 at 0.8: 94.7 %); candidates are then compared exactly, so nothing below the threshold is
//! reported.

use std::borrow::Cow;
use std::collections::HashSet;

use rayon::prelude::*;
use samtone_text::Key;

use crate::reading::interner::ByHash;

/// Random orders.
const ORDERS: usize = 128;

/// Words in a run.
const RUN: usize = 3;

/// A candidate pair of one band compares with so many of its fellows at most: a thousand copies of one
/// text need not be compared each with each.
const FELLOWS: usize = 8;

/// Bands whose hashes are held at a time.
const AT_ONCE: usize = 4;

/// Texts that are hashed before their hashes are put in order.
const GROUP: usize = 1 << 16;

/// The orders in a band: see the head of this file.
fn orders_in_band(threshold: f64) -> usize {
    let found = |orders: usize| {
        let band = threshold.powi(orders as i32);
        1.0 - (1.0 - band).powi((ORDERS / orders) as i32)
    };
    [16, 8, 4, 2].into_iter().find(|&orders| found(orders) >= 0.9).unwrap_or(1)
}

/// The set of a text's runs of three words, case and punctuation aside, as sorted hashes; the words
/// themselves if there are fewer than three.
fn shingles(text: &str) -> Vec<u64> {
    let add = |hash, byte| mix(hash ^ u64::from(byte));
    let hash = |word: &str| {
        if word.is_ascii() {
            return word.bytes().map(|byte| byte.to_ascii_lowercase()).fold(0, add);
        }
        word.to_lowercase().bytes().fold(0, add)
    };
    let words = text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    let words: Vec<u64> = words.map(hash).collect();
    let run = if words.len() < RUN { 1 } else { RUN };
    let mut hashes: Vec<u64> =
        words.windows(run).map(|run| run.iter().fold(1, |hash, word| mix(hash ^ word))).collect();
    hashes.sort_unstable();
    hashes.dedup();
    hashes
}

/// A bijection that mixes every bit.
fn mix(hash: u64) -> u64 {
    Key::new(hash).word(0)
}

/// The place of the set's first element in a random order, for each order of some bands, band by band; of
/// an empty set nothing.
fn bands<'a>(
    shingles: &'a [u64],
    orders: &'a [u64],
    in_band: usize,
) -> impl Iterator<Item = u64> + 'a {
    let least = move |order: &u64| {
        // Multiplying by an odd number and folding is order enough, and fast.
        let places = shingles.iter().map(move |&shingle| {
            let product = u128::from(shingle ^ order) * u128::from(order | 1);
            (product ^ (product >> 64)) as u64
        });
        places.min().unwrap_or_default()
    };
    let bands = orders.chunks(in_band).filter(move |_| !shingles.is_empty());
    bands.map(move |band| band.iter().fold(0, |hash, order| mix(hash ^ least(order))))
}

/// The Jaccard similarity of two sorted sets.
fn jaccard(a: &[u64], b: &[u64]) -> f64 {
    let (mut i, mut j, mut common) = (0, 0, 0_usize);
    while i < a.len() && j < b.len() {
        match a[i].cmp(&b[j]) {
            std::cmp::Ordering::Less => i += 1,
            std::cmp::Ordering::Greater => j += 1,
            std::cmp::Ordering::Equal => {
                common += 1;
                i += 1;
                j += 1;
            }
        }
    }
    common as f64 / (a.len() + b.len() - common).max(1) as f64
}

/// Pairs of similar texts, (earlier, later), in ascending order: each text after the first of its kind
/// at least once. `text` gives the `i`-th of `count`.
pub(super) fn near_pairs<'a>(
    count: usize,
    text: impl Fn(usize) -> Cow<'a, str> + Sync,
    threshold: f64,
) -> Vec<(usize, usize)> {
    let mut pairs = similar(count, text, threshold, |_, fellows| fellows);
    pairs.par_sort_unstable();
    pairs
}

/// Which of some texts are similar to one of some others, in ascending order: `text` gives the others
/// first, then the texts.
pub(super) fn near_any<'a>(
    others: usize,
    texts: usize,
    text: impl Fn(usize) -> Cow<'a, str> + Sync,
    threshold: f64,
) -> Vec<usize> {
    let pairs = similar(others + texts, text, threshold, |i, fellows| {
        let compared =
            if i < others { 0 } else { fellows.partition_point(|&(_, it)| (it as usize) < others) };
        &fellows[..compared]
    });
    let mut found: Vec<usize> = pairs.into_iter().map(|(_, b)| b - others).collect();
    found.sort_unstable();
    found.dedup();
    found
}

/// A band's hash and the text that has it.
type Entry = (u64, u32);

/// Similar pairs, (earlier, later), in any order. Each text is compared with the first of those before it in
/// a bucket that `compared` leaves over.
///
/// Texts are read again for each few bands, and once more where candidates are compared: what is held is
/// [`AT_ONCE`] hashes a text.
fn similar<'a>(
    count: usize,
    text: impl Fn(usize) -> Cow<'a, str> + Sync,
    threshold: f64,
    compared: impl for<'f> Fn(usize, &'f [Entry]) -> &'f [Entry] + Sync,
) -> Vec<(usize, usize)> {
    assert!(u32::try_from(count).is_ok(), "fewer than 2^32 texts");
    let in_band = orders_in_band(threshold);
    let key = Key::new(0).child("minhash");
    let orders: Vec<u64> = (0..ORDERS as u64).map(|order| key.word(order)).collect();
    let set = |i: u32| shingles(&text(i as usize));
    let mut found = HashSet::<u64, ByHash>::default();
    for orders in orders.chunks(in_band * AT_ONCE) {
        let mut columns: Vec<Vec<Entry>> = vec![Vec::new(); orders.len() / in_band];
        for start in (0..count as u32).step_by(GROUP) {
            let group = start..(count as u32).min(start.saturating_add(GROUP as u32));
            let hashes: Vec<Vec<u64>> = group
                .clone()
                .into_par_iter()
                .map(|i| bands(&set(i), orders, in_band).collect())
                .collect();
            for (i, hashes) in group.zip(hashes) {
                let entries = hashes.into_iter().map(|hash| (hash, i));
                columns.iter_mut().zip(entries).for_each(|(column, entry)| column.push(entry));
            }
        }
        for mut column in columns {
            column.par_sort_unstable();
            let buckets = column.par_chunk_by(|a, b| a.0 == b.0).filter(|bucket| bucket.len() > 1);
            let new: Vec<u64> = buckets
                .flat_map_iter(|bucket| {
                    let mut fellow_sets: Vec<(u32, Vec<u64>)> = Vec::new();
                    let mut new = Vec::new();
                    for (place, &(_, i)) in bucket.iter().enumerate() {
                        let fellows = compared(i as usize, &bucket[..place]);
                        let fellows = &fellows[..fellows.len().min(FELLOWS)];
                        let fellows = fellows.iter().map(|&(_, it)| it);
                        let fellows = fellows.filter(|&it| !found.contains(&pair(it, i)));
                        let mut own = None;
                        for fellow in fellows {
                            if fellow_sets.iter().all(|&(it, _)| it != fellow) {
                                fellow_sets.push((fellow, set(fellow)));
                            }
                            let known = fellow_sets.iter().find(|&&(it, _)| it == fellow);
                            let own = own.get_or_insert_with(|| set(i));
                            if known.is_some_and(|(_, set)| jaccard(set, own) >= threshold) {
                                new.push(pair(fellow, i));
                            }
                        }
                    }
                    new
                })
                .collect();
            found.extend(new);
        }
    }
    found.into_iter().map(|pair| ((pair >> 32) as usize, pair as u32 as usize)).collect()
}

/// Two texts as one number.
fn pair(earlier: u32, later: u32) -> u64 {
    u64::from(earlier) << 32 | u64::from(later)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn similar_texts_are_found_and_others_are_not() {
        let long = "the quick brown fox jumps over the lazy dog while seven wizards brew a potion of \
                    rare herbs and the moon climbs slowly above the silent valley of the old kings";
        let changed = long.replace("seven", "eight");
        let other =
            "an entirely different text about barges, tolls and the price of salt in winter";
        let texts = [long, other, &changed, other, "", ""];
        let text = |i: usize| Cow::Borrowed(texts[i]);
        assert_eq!(near_pairs(6, text, 0.7), [(0, 2), (1, 3)]);
        assert_eq!(near_pairs(6, text, 0.95), [(1, 3)]);
        // Copies among the texts themselves count for nothing.
        let texts = [long, other, &changed, "nothing like it", other, "nothing like it"];
        assert_eq!(near_any(2, 4, |i| Cow::Borrowed(texts[i]), 0.7), [0, 2]);
    }

    #[test]
    fn of_many_copies_each_but_the_first_is_found() {
        let texts = ["the same words over and over", "others"].repeat(100);
        let found = near_pairs(200, |i| Cow::Borrowed(texts[i]), 0.8);
        let later: HashSet<usize> = found.iter().map(|&(_, later)| later).collect();
        assert_eq!(later.len(), 198);
        assert!(found.iter().all(|(a, b)| a < b && (b - a) % 2 == 0));
        assert!(found.len() <= 198 * FELLOWS);
        let found = near_any(100, 100, |i| Cow::Borrowed(texts[i]), 0.8);
        assert!(found.into_iter().eq(0..100));
    }

    #[test]
    fn the_chance_of_finding_a_pair_is_as_written() {
        // 200 pairs that share 80 % of their runs: about 189 should be found.
        let texts: Vec<String> = (0..400)
            .map(|i| {
                let (pair, side) = (i / 2, i % 2);
                let common = (0..180).map(|w| format!("c{pair}x{w}"));
                let own = (0..20).map(|w| format!("o{pair}x{side}x{w}"));
                common.chain(own).collect::<Vec<_>>().join(" ")
            })
            .collect();
        let found = near_pairs(400, |i| Cow::Borrowed(&*texts[i]), 0.75).len();
        assert!((175..=200).contains(&found), "{found} of 200");
    }
}
