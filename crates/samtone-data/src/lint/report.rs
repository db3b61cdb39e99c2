//! What a check found.

use std::collections::BTreeMap;

use serde::Serialize;

/// Everything counted.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LintReport {
    /// The split checked.
    pub split: String,
    /// Documents in all.
    pub documents: usize,
    /// Queries of the split.
    pub queries: usize,
    /// Training rows: positives of the split.
    pub rows: usize,
    /// Documents without any text.
    pub empty_documents: usize,
    /// Queries of the split to which nothing is relevant.
    pub queries_without_positive: usize,
    /// Documents that repeat an earlier one word for word.
    pub duplicate_documents: usize,
    /// Queries of the split that repeat an earlier one word for word.
    pub duplicate_queries: usize,
    /// Documents that nearly repeat an earlier one, word-for-word copies left out.
    pub near_duplicate_documents: usize,
    /// Queries of the split that nearly repeat an earlier one, word-for-word copies left out.
    pub near_duplicate_queries: usize,
    /// Hard negatives that are a positive of the same query.
    pub contradictory_negatives: usize,
    /// Ids of documents and of queries of the split that cannot stand in a TREC file.
    pub ids_with_white_space: usize,
    /// What random batches will hold.
    pub collisions: Vec<Collisions>,
    /// Overlap with each test set.
    pub leakage: Vec<Leakage>,
    /// `tokens` or `words`.
    pub length_unit: &'static str,
    /// Lengths of the queries of the split.
    pub query_lengths: Lengths,
    /// Lengths of all documents.
    pub document_lengths: Lengths,
    /// A few examples for each kind of finding: ids.
    pub examples: BTreeMap<&'static str, Vec<String>>,
}

/// The false negatives that a random batch holds on average, as unordered pairs of its rows.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Collisions {
    /// Rows of the batch.
    pub batch_size: usize,
    /// Pairs of rows with the same document.
    pub same_document: f64,
    /// Pairs of rows with the same query.
    pub same_query: f64,
}

/// What of a test set training has seen.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Leakage {
    /// The test set's name.
    pub test: String,
    /// Its queries.
    pub queries: usize,
    /// Test queries that are a training query word for word.
    pub same_queries: usize,
    /// Test queries that are nearly a training query, the former left out.
    pub near_queries: usize,
    /// Documents relevant in the test set.
    pub documents: usize,
    /// Of these, those that are a training positive word for word.
    pub same_documents: usize,
    /// Of these, those that are nearly a training positive, the former left out.
    pub near_documents: usize,
}

/// How long texts are.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Lengths {
    /// Half of the texts are no longer.
    pub p50: usize,
    /// 90 % of the texts are no longer.
    pub p90: usize,
    /// 95 % of the texts are no longer.
    pub p95: usize,
    /// 99 % of the texts are no longer.
    pub p99: usize,
    /// The longest.
    pub max: usize,
    /// Per limit, the fraction of texts that are longer.
    pub truncated: BTreeMap<usize, f64>,
}

/// The kinds of findings, by the names that `--deny` takes.
pub const FINDINGS: [&str; 10] = [
    "empty-documents",
    "queries-without-positive",
    "duplicate-documents",
    "duplicate-queries",
    "near-duplicate-documents",
    "near-duplicate-queries",
    "contradictory-negatives",
    "ids-with-white-space",
    "leakage",
    "near-leakage",
];

impl LintReport {
    /// How often each kind of finding of [`FINDINGS`] occurs; kinds that do not occur are left out.
    pub fn findings(&self) -> BTreeMap<&'static str, usize> {
        let same = |leak: &Leakage| leak.same_queries + leak.same_documents;
        let near = |leak: &Leakage| leak.near_queries + leak.near_documents;
        let counts = [
            self.empty_documents,
            self.queries_without_positive,
            self.duplicate_documents,
            self.duplicate_queries,
            self.near_duplicate_documents,
            self.near_duplicate_queries,
            self.contradictory_negatives,
            self.ids_with_white_space,
            self.leakage.iter().map(same).sum(),
            self.leakage.iter().map(near).sum(),
        ];
        FINDINGS.into_iter().zip(counts).filter(|(_, count)| *count > 0).collect()
    }
}
