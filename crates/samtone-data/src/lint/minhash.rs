//! Near duplicates by `MinHash` and banding.
//!
//! A text is the set of its runs of three words. The chance that two sets have the same least element
//! under a random order is their Jaccard similarity (Broder 1997). 128 orders are cut into bands of r,
//! and two texts that agree in a whole band are candidates: at a similarity of s they are found with a
//! chance of 1 - (1 - s^r)^(128/r). r is the largest power of two for which that is 90 % or more at the
//! threshold (8 at 0.8: 94.7 %); candidates are then compared exactly, so nothing below the threshold is
//! reported.

use std::collections::{HashMap, HashSet};

use rayon::prelude::*;
use samtone_text::Key;

/// Random orders.
const ORDERS: usize = 128;

/// Words in a run.
const RUN: usize = 3;

/// A candidate pair of one band compares with so many of its fellows at most: a thousand copies of one
/// text need not be compared each with each.
const FELLOWS: usize = 8;

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
    let words: Vec<u64> = text
        .split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(|word| word.to_lowercase().bytes().fold(0, |hash, byte| mix(hash ^ u64::from(byte))))
        .collect();
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

/// The bands of a set; none for an empty one.
fn bands(shingles: &[u64], orders: &[u64], in_band: usize) -> Vec<u64> {
    if shingles.is_empty() {
        return Vec::new();
    }
    let least = |order: &u64| {
        // Multiplying by an odd number and folding is order enough, and fast.
        let places = shingles.iter().map(|&shingle| {
            let product = u128::from(shingle ^ order) * u128::from(order | 1);
            (product ^ (product >> 64)) as u64
        });
        places.min().unwrap_or_default()
    };
    let bands = orders.chunks(in_band);
    bands.map(|band| band.iter().fold(0, |hash, order| mix(hash ^ least(order)))).collect()
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
/// at least once.
pub(super) fn near_pairs<S: AsRef<str> + Sync>(texts: &[S], threshold: f64) -> Vec<(usize, usize)> {
    let none = |_: usize, _: usize| true;
    pairs_among(texts, threshold, none)
}

/// For each of `texts` that is similar to one of `others`, its index.
pub(super) fn near_any<S: AsRef<str>>(texts: &[&str], others: &[S], threshold: f64) -> Vec<usize> {
    let others_first = others.iter().map(AsRef::as_ref).chain(texts.iter().copied());
    let all: Vec<&str> = others_first.collect();
    let across = |a: usize, b: usize| a < others.len() && b >= others.len();
    let pairs = pairs_among(&all, threshold, across);
    let mut found: Vec<usize> = pairs.into_iter().map(|(_, b)| b - others.len()).collect();
    found.sort_unstable();
    found.dedup();
    found
}

fn pairs_among<S: AsRef<str> + Sync>(
    texts: &[S],
    threshold: f64,
    wanted: impl Fn(usize, usize) -> bool,
) -> Vec<(usize, usize)> {
    let in_band = orders_in_band(threshold);
    let orders: Vec<u64> =
        (0..ORDERS).map(|i| Key::new(0).child("minhash").word(i as u64)).collect();
    let sets: Vec<Vec<u64>> = texts.par_iter().map(|text| shingles(text.as_ref())).collect();
    let signatures: Vec<Vec<u64>> =
        sets.par_iter().map(|set| bands(set, &orders, in_band)).collect();
    let mut found = HashSet::new();
    for band in 0..ORDERS / in_band {
        let mut buckets: HashMap<u64, Vec<usize>> = HashMap::new();
        for (i, signature) in signatures.iter().enumerate() {
            let Some(&hash) = signature.get(band) else { continue };
            let bucket = buckets.entry(hash).or_default();
            for &fellow in bucket.iter().filter(|&&fellow| wanted(fellow, i)).take(FELLOWS) {
                if !found.contains(&(fellow, i)) && jaccard(&sets[fellow], &sets[i]) >= threshold {
                    found.insert((fellow, i));
                }
            }
            bucket.push(i);
        }
    }
    let mut found: Vec<_> = found.into_iter().collect();
    found.sort_unstable();
    found
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
        assert_eq!(near_pairs(&texts, 0.7), [(0, 2), (1, 3)]);
        assert_eq!(near_pairs(&texts, 0.95), [(1, 3)]);
        assert_eq!(near_any(&[&changed, "nothing like it"], &[long, other], 0.7), [0]);
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
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let found = near_pairs(&texts, 0.75).len();
        assert!((175..=200).contains(&found), "{found} of 200");
    }
}
