//! Word overlap alone does not solve the embedded corpus.

use std::collections::{BTreeMap, HashMap, HashSet};

use samtone_data::Dataset;
use samtone_data::embedded::World;
use samtone_text::DocumentText;

fn words(text: &str) -> Vec<String> {
    text.split(|c: char| !c.is_alphanumeric())
        .filter(|w| !w.is_empty())
        .map(str::to_lowercase)
        .collect()
}

/// The mean nDCG@10 and P@1 of BM25 (k1 0.9, b 0.4) on a split of binary judgments.
fn bm25(dataset: &Dataset, split: &str) -> (f64, f64) {
    let documents: Vec<Vec<String>> =
        dataset.documents().map(|d| words(&d.passage(DocumentText::TitleText))).collect();
    let n = documents.len() as f64;
    let mean = documents.iter().map(Vec::len).sum::<usize>() as f64 / n;
    let mut postings: HashMap<&str, BTreeMap<usize, f64>> = HashMap::new();
    for (i, document) in documents.iter().enumerate() {
        for word in document {
            *postings.entry(word).or_default().entry(i).or_default() += 1.0;
        }
    }
    let (mut ndcg, mut precision) = (0.0, 0.0);
    let queries = dataset.queries_of(split);
    let positives = dataset.positives(&[split]);
    for &query in &queries {
        let mut scores: BTreeMap<usize, f64> = BTreeMap::new();
        for word in words(&dataset.queries()[query].text) {
            let Some(found) = postings.get(&*word) else { continue };
            let df = found.len() as f64;
            let idf = (1.0 + (n - df + 0.5) / (df + 0.5)).ln();
            for (&document, &tf) in found {
                let length = 1.0 - 0.4 + 0.4 * documents[document].len() as f64 / mean;
                *scores.entry(document).or_default() += idf * tf * 1.9 / (tf + 0.9 * length);
            }
        }
        let mut ranked: Vec<(usize, f64)> = scores.into_iter().collect();
        ranked.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        let relevant: HashSet<usize> =
            positives.of(dataset.query_keys()[query]).iter().copied().collect();
        let gain = |rank: usize| 1.0 / (rank as f64 + 2.0).log2();
        let hit = |rank: usize| ranked.get(rank).is_some_and(|(d, _)| relevant.contains(d));
        let ideal: f64 = (0..relevant.len().min(10)).map(gain).sum();
        ndcg += (0..10).filter(|&rank| hit(rank)).map(gain).sum::<f64>() / ideal;
        precision += f64::from(u8::from(hit(0)));
    }
    let count = queries.len() as f64;
    (ndcg / count, precision / count)
}

#[test]
fn bm25_finds_the_subject_but_not_the_fact() {
    let dataset = World::generate(0, World::DEFAULT_SIZE).dataset();
    let (ndcg, precision) = bm25(&dataset, "test");
    assert!((0.4..0.6).contains(&ndcg), "nDCG@10 {ndcg:.3}");
    assert!((0.1..0.3).contains(&precision), "P@1 {precision:.3}");
}
