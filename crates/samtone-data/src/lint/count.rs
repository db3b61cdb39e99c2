//! What is counted.

use std::collections::{BTreeMap, HashMap};

use rayon::prelude::*;

use super::options::{LintOptions, TestSet};
use super::report::{Collisions, Leakage, Lengths};
use super::texts::Texts;
use crate::dataset::{Dataset, Positives};
use crate::error::DataError;
use crate::record::Pair;

/// How many examples of a finding are listed.
const EXAMPLES: usize = 5;

/// The first few findings of each kind.
#[derive(Default)]
pub(super) struct Examples(pub(super) BTreeMap<&'static str, Vec<String>>);

impl Examples {
    /// Counts findings and keeps the first few.
    pub(super) fn count<T: Into<String>>(
        &mut self,
        kind: &'static str,
        findings: impl IntoIterator<Item = T>,
    ) -> usize {
        let mut count = 0;
        for finding in findings {
            count += 1;
            let examples = self.0.entry(kind).or_default();
            if examples.len() < EXAMPLES {
                examples.push(finding.into());
            }
        }
        count
    }
}

/// Hard negatives that are a positive of the same query, each behind the query.
pub(super) fn contradictory(
    dataset: &Dataset,
    pairs: &[Pair],
    positives: &Positives,
) -> Vec<String> {
    let (query_keys, document_keys) = (dataset.query_keys(), dataset.document_keys());
    let mut found = Vec::new();
    for pair in pairs {
        let (query, document) = (query_keys[pair.query], document_keys[pair.document]);
        for &negative in &pair.negatives {
            let key = document_keys[negative];
            if key == document || positives.contains(query, key) {
                let (query, negative) =
                    (&dataset.queries()[pair.query].id, dataset.document(negative).id);
                found.push(format!("{query} {negative}"));
            }
        }
    }
    found
}

/// Of n rows, m of one document make m(m-1)/2 colliding pairs of the n(n-1)/2; a random batch of B
/// holds B(B-1)/2 pairs, each one of the n(n-1)/2 with the same chance.
pub(super) fn collisions(
    rows: impl Iterator<Item = (usize, usize)>,
    batch_sizes: &[usize],
) -> Vec<Collisions> {
    let pairs = |n: usize| n as f64 * (n as f64 - 1.0) / 2.0;
    let (mut queries, mut documents, mut count) = (HashMap::new(), HashMap::new(), 0_usize);
    for (query, document) in rows {
        *queries.entry(query).or_insert(0_usize) += 1;
        *documents.entry(document).or_insert(0_usize) += 1;
        count += 1;
    }
    let share = |counts: &HashMap<usize, usize>| {
        // A sum of whole numbers below 2^53: exact in any order.
        let colliding: f64 = counts.values().map(|&count| pairs(count)).sum();
        if count > 1 { colliding / pairs(count) } else { 0.0 }
    };
    let (same_query, same_document) = (share(&queries), share(&documents));
    batch_sizes
        .iter()
        .map(|&batch_size| Collisions {
            batch_size,
            same_document: same_document * pairs(batch_size.min(count)),
            same_query: same_query * pairs(batch_size.min(count)),
        })
        .collect()
}

/// What of `test` the training data holds.
pub(super) fn leakage(
    train: &Dataset,
    options: &LintOptions<'_>,
    test: TestSet<'_>,
    examples: &mut Examples,
) -> Leakage {
    let mode = options.document_text;
    let mut overlap = |train: &Texts<'_>, test: &Texts<'_>| {
        let [same, near] = test.among(train, options.near);
        [examples.count("leakage", same), examples.count("near-leakage", near)]
    };
    let queries = Texts::queries(test.dataset, test.split);
    let documents = Texts::relevant(test.dataset, test.split, mode);
    let [same_queries, near_queries] = overlap(&Texts::queries(train, &options.split), &queries);
    let [same_documents, near_documents] =
        overlap(&Texts::relevant(train, &options.split, mode), &documents);
    Leakage {
        test: test.name.to_owned(),
        queries: queries.len(),
        same_queries,
        near_queries,
        documents: documents.len(),
        same_documents,
        near_documents,
    }
}

pub(super) fn lengths(texts: &Texts<'_>, options: &LintOptions<'_>) -> Result<Lengths, DataError> {
    /// Texts that are encoded at a time.
    const GROUP: usize = 4096;
    let all = 0..texts.len();
    let mut lengths: Vec<usize> = match options.tokenizer {
        None => all.into_par_iter().map(|i| texts.text(i).split_whitespace().count()).collect(),
        Some(tokenizer) => {
            let mut lengths = Vec::with_capacity(texts.len());
            for start in all.step_by(GROUP) {
                let group: Vec<_> =
                    (start..texts.len().min(start + GROUP)).map(|i| texts.text(i)).collect();
                let rows = tokenizer.encode_batch(&group, usize::MAX)?;
                lengths.extend(rows.iter().map(Vec::len));
            }
            lengths
        }
    };
    lengths.par_sort_unstable();
    let percentile = |percent: usize| match lengths.len() {
        0 => 0,
        n => lengths[(n * percent).div_ceil(100).clamp(1, n) - 1],
    };
    let longer = |limit: usize| {
        let longer = lengths.len() - lengths.partition_point(|&length| length <= limit);
        longer as f64 / lengths.len().max(1) as f64
    };
    Ok(Lengths {
        p50: percentile(50),
        p90: percentile(90),
        p95: percentile(95),
        p99: percentile(99),
        max: percentile(100),
        truncated: options.limits.iter().map(|&limit| (limit, longer(limit))).collect(),
    })
}
