//! BM25 as its formula is written: every posting of a query's terms, added up in a score of every document.

use std::collections::HashMap;

use samtone_eval::bm25::{Analyzer, Bm25Config};
use samtone_eval::search::Hit;

/// What every other implementation must find, to the bit.
pub(super) struct Plain {
    analyzer: Analyzer,
    terms: HashMap<String, u32>,
    /// Document and weight of each posting, by term.
    postings: Vec<Vec<(u32, f32)>>,
    documents: usize,
    count_query_terms: bool,
}

impl Plain {
    pub(super) fn build<T: AsRef<str>>(
        texts: &[T],
        analyzer: Analyzer,
        config: Bm25Config,
    ) -> Self {
        let mut terms: HashMap<String, u32> = HashMap::new();
        let mut counts: Vec<Vec<(u32, u32)>> = Vec::new();
        let mut lengths: Vec<u32> = Vec::new();
        for (document, text) in (0..).zip(texts) {
            let mut length = 0;
            analyzer.for_each_term(text.as_ref(), |term| {
                let next = terms.len() as u32;
                let id = *terms.entry(term.to_owned()).or_insert(next) as usize;
                counts.resize(counts.len().max(id + 1), Vec::new());
                match counts[id].last_mut() {
                    Some((last, count)) if *last == document => *count += 1,
                    _ => counts[id].push((document, 1)),
                }
                length += 1;
            });
            lengths.push(length);
        }
        let total: f64 = lengths.iter().map(|&length| f64::from(length)).sum();
        let average = total / lengths.len().max(1) as f64;
        let (k1, b) = (f64::from(config.k1), f64::from(config.b));
        let weigh = |postings: Vec<(u32, u32)>| {
            let holding = postings.len() as f64;
            let rarity = (1.0 + (lengths.len() as f64 - holding + 0.5) / (holding + 0.5)).ln();
            let weight = |(document, count)| {
                let f = f64::from(count);
                let length = f64::from(lengths[document as usize]) / average;
                (document, (rarity * f / (f + k1 * (1.0 - b + b * length))) as f32)
            };
            postings.into_iter().map(weight).collect()
        };
        let postings = counts.into_iter().map(weigh).collect();
        let (documents, count_query_terms) = (lengths.len(), config.count_query_terms);
        Self { analyzer, terms, postings, documents, count_query_terms }
    }

    pub(super) fn search(&self, text: &str, k: usize) -> Vec<Hit> {
        let mut terms: Vec<u32> = Vec::new();
        self.analyzer.for_each_term(text, |term| terms.extend(self.terms.get(term)));
        terms.sort_unstable();
        if !self.count_query_terms {
            terms.dedup();
        }
        let mut scores = vec![0.0; self.documents];
        for term in terms {
            for &(document, weight) in &self.postings[term as usize] {
                scores[document as usize] += weight;
            }
        }
        let mut hits: Vec<Hit> =
            scores.into_iter().enumerate().map(|(index, score)| Hit { index, score }).collect();
        hits.retain(|hit| hit.score > 0.0);
        hits.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.index.cmp(&b.index)));
        hits.truncate(k);
        hits
    }
}
