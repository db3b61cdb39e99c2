//! A data set checked before training.
//!
//! [`lint`] counts what harms training or makes a score untrue: copies that become false negatives,
//! negatives that are positives elsewhere, test texts that were trained on, texts cut short. Nothing
//! is changed.

mod minhash;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::{self, Write};

use samtone_text::{DocumentText, TextTokenizer};
use serde::Serialize;

use crate::dataset::{Dataset, text_hash};
use crate::error::DataError;
use crate::record::id_fits_trec;

/// What to check, and how closely.
#[derive(Clone, Debug)]
pub struct LintOptions<'a> {
    /// The split to train on.
    pub split: String,
    /// Sizes of batches for which collisions are counted.
    pub batch_sizes: Vec<usize>,
    /// Length limits for which the share of cut texts is counted.
    pub limits: Vec<usize>,
    /// Counts lengths in this tokenizer's tokens; in words if there is none.
    pub tokenizer: Option<&'a TextTokenizer>,
    /// What of a document is read.
    pub document_text: DocumentText,
    /// The Jaccard similarity of runs of three words from which two texts are near duplicates, a
    /// fraction.
    pub near: f64,
}

impl Default for LintOptions<'_> {
    fn default() -> Self {
        Self {
            split: "train".to_owned(),
            batch_sizes: vec![64, 256, 1024],
            limits: vec![32, 64, 128, 256, 512],
            tokenizer: None,
            document_text: DocumentText::TitleText,
            near: 0.8,
        }
    }
}

/// A test set that training must not have seen.
#[derive(Clone, Copy, Debug)]
pub struct TestSet<'a> {
    /// What to call it.
    pub name: &'a str,
    /// The data.
    pub dataset: &'a Dataset,
    /// Its split.
    pub split: &'a str,
}

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

/// How many examples of a finding are listed.
const EXAMPLES: usize = 5;

/// Checks a data set.
///
/// # Errors
/// If the tokenizer cannot encode a text.
pub fn lint(
    dataset: &Dataset,
    options: &LintOptions<'_>,
    tests: &[TestSet<'_>],
) -> Result<LintReport, DataError> {
    let split = &*options.split;
    let queries = dataset.queries_of(split);
    let pairs = dataset.pairs(split);
    let positives = &dataset.positives(&[split]);
    let (query_keys, document_keys) = (dataset.query_keys(), dataset.document_keys());
    let mut examples = Examples::default();

    let passages: Vec<_> = dataset
        .documents()
        .iter()
        .map(|document| document.passage(options.document_text))
        .collect();
    let passages: Vec<&str> = passages.iter().map(|passage| &**passage).collect();
    let query_texts: Vec<&str> =
        queries.iter().map(|&query| &*dataset.queries()[query].text).collect();

    let document_id = |index: usize| dataset.documents()[index].id.clone();
    let query_id = |index: usize| dataset.queries()[index].id.clone();
    let empty = (0..passages.len()).filter(|&i| passages[i].is_empty()).map(document_id);
    let without = queries.iter().filter(|&&query| positives.of(query_keys[query]).is_empty());
    let copies = (0..passages.len()).filter(|&i| document_keys[i] != i && !passages[i].is_empty());
    let mut seen = HashSet::new();
    let query_copies = queries.iter().filter(|&&query| !seen.insert(query_keys[query]));
    let pair_of = |first: String, second: String| format!("{first} = {second}");
    let contradictory = pairs.iter().flat_map(|pair| {
        let query = query_keys[pair.query];
        let wrong = pair.negatives.iter().filter(move |&&negative| {
            let negative = document_keys[negative];
            negative == document_keys[pair.document] || positives.contains(query, negative)
        });
        wrong.map(|&negative| format!("{} {}", query_id(pair.query), document_id(negative)))
    });
    let near = |texts: &[&str], keys: &dyn Fn(usize) -> usize| -> Vec<(usize, usize)> {
        let pairs = minhash::near_pairs(texts, options.near).into_iter();
        let mut later = HashSet::new();
        pairs.filter(|&(a, b)| keys(a) != keys(b) && later.insert(b)).collect()
    };
    let ids = dataset.documents().iter().map(|document| &document.id);
    let ids = ids.chain(queries.iter().map(|&query| &dataset.queries()[query].id));
    let unfit = ids.filter(|id| !id_fits_trec(id)).map(|id| format!("`{id}`"));
    let near_documents = near(&passages, &|i| document_keys[i]);
    let near_queries = near(&query_texts, &|i| query_keys[queries[i]]);

    Ok(LintReport {
        split: split.to_owned(),
        documents: passages.len(),
        queries: queries.len(),
        rows: pairs.len(),
        empty_documents: examples.count("empty-documents", empty),
        queries_without_positive: examples
            .count("queries-without-positive", without.map(|&query| query_id(query))),
        duplicate_documents: examples.count(
            "duplicate-documents",
            copies.map(|i| pair_of(document_id(document_keys[i]), document_id(i))),
        ),
        duplicate_queries: examples.count(
            "duplicate-queries",
            query_copies.map(|&i| pair_of(query_id(query_keys[i]), query_id(i))),
        ),
        near_duplicate_documents: examples.count(
            "near-duplicate-documents",
            near_documents.into_iter().map(|(a, b)| pair_of(document_id(a), document_id(b))),
        ),
        near_duplicate_queries: examples.count(
            "near-duplicate-queries",
            near_queries
                .into_iter()
                .map(|(a, b)| pair_of(query_id(queries[a]), query_id(queries[b]))),
        ),
        contradictory_negatives: examples.count("contradictory-negatives", contradictory),
        ids_with_white_space: examples.count("ids-with-white-space", unfit),
        collisions: collisions(
            pairs.iter().map(|pair| (query_keys[pair.query], document_keys[pair.document])),
            &options.batch_sizes,
        ),
        leakage: tests.iter().map(|test| leakage(dataset, options, *test, &mut examples)).collect(),
        length_unit: if options.tokenizer.is_some() { "tokens" } else { "words" },
        query_lengths: lengths(&query_texts, options)?,
        document_lengths: lengths(&passages, options)?,
        examples: examples.0,
    })
}

#[derive(Default)]
struct Examples(BTreeMap<&'static str, Vec<String>>);

impl Examples {
    /// Counts findings and keeps the first few.
    fn count(&mut self, kind: &'static str, findings: impl Iterator<Item = String>) -> usize {
        let mut count = 0;
        for finding in findings {
            count += 1;
            let examples = self.0.entry(kind).or_default();
            if examples.len() < EXAMPLES {
                examples.push(finding);
            }
        }
        count
    }
}

/// Of n rows, m of one document make m(m-1)/2 colliding pairs of the n(n-1)/2; a random batch of B
/// holds B(B-1)/2 pairs, each one of the n(n-1)/2 with the same chance.
fn collisions(
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

fn leakage(
    train: &Dataset,
    options: &LintOptions<'_>,
    test: TestSet<'_>,
    examples: &mut Examples,
) -> Leakage {
    let queries = |dataset: &Dataset, split: &str| -> Vec<(String, String)> {
        let queries = dataset.queries_of(split).into_iter().map(|query| &dataset.queries()[query]);
        queries.map(|query| (query.id.clone(), query.text.clone())).collect()
    };
    let relevant = |dataset: &Dataset, split: &str| -> Vec<(String, String)> {
        let mut seen = HashSet::new();
        let pairs = dataset.pairs(split).into_iter().filter(|pair| seen.insert(pair.document));
        pairs
            .map(|pair| &dataset.documents()[pair.document])
            .map(|document| {
                (document.id.clone(), document.passage(options.document_text).into_owned())
            })
            .collect()
    };
    let mut overlap = |train: &[(String, String)], test: &[(String, String)]| {
        let known: HashSet<_> = train.iter().map(|(_, text)| text_hash("", text)).collect();
        let (same, other): (Vec<_>, Vec<_>) =
            test.iter().partition(|(_, text)| known.contains(&text_hash("", text)));
        let texts = |records: &[&(String, String)]| -> Vec<String> {
            records.iter().map(|(_, text)| text.clone()).collect()
        };
        let other_texts = texts(&other);
        let other_texts: Vec<&str> = other_texts.iter().map(String::as_str).collect();
        let train: Vec<&str> = train.iter().map(|(_, text)| text.as_str()).collect();
        let near = minhash::near_any(&other_texts, &train, options.near);
        let same = examples.count("leakage", same.iter().map(|(id, _)| id.clone()));
        let near = examples.count("near-leakage", near.iter().map(|&i| other[i].0.clone()));
        (same, near)
    };
    let test_queries = queries(test.dataset, test.split);
    let test_documents = relevant(test.dataset, test.split);
    let (same_queries, near_queries) = overlap(&queries(train, &options.split), &test_queries);
    let (same_documents, near_documents) =
        overlap(&relevant(train, &options.split), &test_documents);
    Leakage {
        test: test.name.to_owned(),
        queries: test_queries.len(),
        same_queries,
        near_queries,
        documents: test_documents.len(),
        same_documents,
        near_documents,
    }
}

fn lengths(texts: &[&str], options: &LintOptions<'_>) -> Result<Lengths, DataError> {
    let mut lengths: Vec<usize> = match options.tokenizer {
        None => texts.iter().map(|text| text.split_whitespace().count()).collect(),
        Some(tokenizer) => {
            let mut lengths = Vec::with_capacity(texts.len());
            for group in texts.chunks(4096) {
                let rows = tokenizer.encode_batch(group, usize::MAX)?;
                lengths.extend(rows.iter().map(Vec::len));
            }
            lengths
        }
    };
    lengths.sort_unstable();
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

    fn describe(&self, out: &mut String) -> fmt::Result {
        let share = |part: usize, whole: usize| 100.0 * part as f64 / whole.max(1) as f64;
        writeln!(
            out,
            "split `{}`: {} documents, {} queries, {} training rows",
            self.split, self.documents, self.queries, self.rows
        )?;
        let lines = [
            ("empty-documents", self.empty_documents, self.documents, "documents have no text"),
            (
                "queries-without-positive",
                self.queries_without_positive,
                self.queries,
                "queries have no relevant document",
            ),
            (
                "duplicate-documents",
                self.duplicate_documents,
                self.documents,
                "documents repeat an earlier one word for word",
            ),
            (
                "near-duplicate-documents",
                self.near_duplicate_documents,
                self.documents,
                "documents nearly repeat an earlier one",
            ),
            (
                "duplicate-queries",
                self.duplicate_queries,
                self.queries,
                "queries repeat an earlier one word for word",
            ),
            (
                "near-duplicate-queries",
                self.near_duplicate_queries,
                self.queries,
                "queries nearly repeat an earlier one",
            ),
        ];
        for (kind, count, whole, what) in lines {
            let percent = share(count, whole);
            writeln!(out, "{count} of {whole} {what} ({percent:.1} %){}", self.list(kind))?;
        }
        writeln!(
            out,
            "{} hard negatives are a positive of the same query{}",
            self.contradictory_negatives,
            self.list("contradictory-negatives")
        )?;
        if self.ids_with_white_space > 0 {
            writeln!(
                out,
                "{} ids hold white space, so that no TREC file can name them{}",
                self.ids_with_white_space,
                self.list("ids-with-white-space")
            )?;
        }
        for collisions in &self.collisions {
            writeln!(
                out,
                "a random batch of {} holds {:.2} pairs of rows with the same document and {:.2} with \
                 the same query",
                collisions.batch_size, collisions.same_document, collisions.same_query
            )?;
        }
        for leak in &self.leakage {
            writeln!(
                out,
                "test set `{}`: of its {} queries {} are trained on word for word and {} nearly; of its \
                 {} relevant documents {} and {}",
                leak.test,
                leak.queries,
                leak.same_queries,
                leak.near_queries,
                leak.documents,
                leak.same_documents,
                leak.near_documents
            )?;
        }
        for (what, lengths) in
            [("queries", &self.query_lengths), ("documents", &self.document_lengths)]
        {
            writeln!(
                out,
                "{what}: half have at most {} {unit}, 90 % at most {}, 95 % at most {}, 99 % at most {}, \
                 the longest {}",
                lengths.p50,
                lengths.p90,
                lengths.p95,
                lengths.p99,
                lengths.max,
                unit = self.length_unit
            )?;
            let cut = lengths.truncated.iter();
            let cut: Vec<String> =
                cut.map(|(limit, share)| format!("{:.1} % at {limit}", 100.0 * share)).collect();
            writeln!(out, "{what} cut short: {}", cut.join(", "))?;
        }
        Ok(())
    }

    fn list(&self, kind: &str) -> String {
        match self.examples.get(kind) {
            Some(examples) => format!(": {}", examples.join(", ")),
            None => String::new(),
        }
    }
}

impl fmt::Display for LintReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::new();
        self.describe(&mut text)?;
        f.write_str(text.trim_end())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Document, Judgment, Query};

    fn dataset(documents: &[&str], queries: &[&str], judgments: &[(usize, usize, i32)]) -> Dataset {
        let documents = documents.iter().enumerate().map(|(i, text)| Document {
            id: format!("d{i}"),
            title: String::new(),
            text: (*text).to_owned(),
        });
        let queries = queries
            .iter()
            .enumerate()
            .map(|(i, text)| Query { id: format!("q{i}"), text: (*text).to_owned() });
        let judgments = judgments.iter().map(|&(query, document, grade)| Judgment {
            query_id: format!("q{query}"),
            document_id: format!("d{document}"),
            grade,
        });
        let split = ("train".to_owned(), judgments.collect());
        Dataset::from_records(documents.collect(), queries.collect(), [split]).unwrap()
    }

    const LONG: &str =
        "barges bring the salt of the coast up the river to the market of the old town";

    #[test]
    fn every_kind_of_finding_is_counted() {
        let near = LONG.replace("old", "new");
        let data = dataset(
            &["one thing", "One  thing", "", LONG, &near, "other"],
            &["what?", "What? ", "where?", "nothing"],
            &[(0, 0, 1), (0, 5, 0), (1, 1, 1), (1, 5, 1), (2, 3, 1), (3, 4, 0)],
        );
        let test = dataset(
            &["one thing", &LONG.replace("up", "down")],
            &["WHAT?", "new"],
            &[(0, 0, 1), (1, 1, 1)],
        );
        let options = LintOptions { near: 0.6, batch_sizes: vec![4], ..LintOptions::default() };
        let test = TestSet { name: "test", dataset: &test, split: "train" };
        let report = lint(&data, &options, &[test]).unwrap();
        let findings: Vec<_> = report.findings().into_iter().collect();
        assert_eq!(
            findings,
            [
                ("contradictory-negatives", 1),
                ("duplicate-documents", 1),
                ("duplicate-queries", 1),
                ("empty-documents", 1),
                ("leakage", 2),
                ("near-duplicate-documents", 1),
                ("near-leakage", 1),
                ("queries-without-positive", 1),
            ]
        );
        assert_eq!(report.examples["contradictory-negatives"], ["q0 d5"]);
        assert_eq!(report.examples["near-duplicate-documents"], ["d3 = d4"]);
        assert_eq!(report.document_lengths.max, 17);
        let text = report.to_string();
        assert!(text.contains("1 of 6 documents repeat an earlier one word for word"), "{text}");
    }

    #[test]
    fn ids_that_no_trec_file_can_name_are_found() {
        let document = |id: &str| Document { id: id.into(), title: String::new(), text: id.into() };
        let query = |id: &str| Query { id: id.into(), text: id.into() };
        let judgment =
            |query: &str| Judgment { query_id: query.into(), document_id: "d1".into(), grade: 1 };
        let data = Dataset::from_records(
            vec![document("d1"), document("doc two"), document("d\u{a0}3")],
            vec![query("q 1"), query("q2"), query("q 3")],
            // Query `q 3` is not of the split.
            [("train".to_owned(), vec![judgment("q 1"), judgment("q2")])],
        )
        .unwrap();
        let report = lint(&data, &LintOptions::default(), &[]).unwrap();
        assert_eq!(report.findings()["ids-with-white-space"], 2);
        assert_eq!(report.examples["ids-with-white-space"], ["`doc two`", "`q 1`"]);
        let expected =
            "2 ids hold white space, so that no TREC file can name them: `doc two`, `q 1`";
        assert!(report.to_string().contains(expected), "{report}");
    }

    #[test]
    fn collisions_are_the_mean_over_all_batches() {
        // Rows of documents a a b c: one of the 6 pairs collides. A batch of 3 holds 3 pairs: 0.5.
        let rows = [(0, 0), (1, 0), (2, 1), (3, 2)];
        let found = collisions(rows.into_iter(), &[3, 4, 100]);
        let same: Vec<f64> = found.iter().map(|collisions| collisions.same_document).collect();
        assert_eq!(same, [0.5, 1.0, 1.0]);
        assert!(found.iter().all(|collisions| collisions.same_query.abs() < f64::EPSILON));
    }

    #[test]
    fn percentiles_are_of_the_nearest_rank() {
        let texts: Vec<String> = (1..=100).map(|n| vec!["w"; n].join(" ")).collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let options = LintOptions { limits: vec![32, 100], ..LintOptions::default() };
        let lengths = lengths(&texts, &options).unwrap();
        assert_eq!((lengths.p50, lengths.p95, lengths.max), (50, 95, 100));
        // 68 of 100: the nearest number of f64 to it, as the literal is.
        assert_eq!((lengths.truncated[&32], lengths.truncated[&100]), (0.68, 0.0));
    }
}
