//! A data set checked before training.
//!
//! [`lint`] counts what harms training or makes a score untrue: copies that become false negatives,
//! negatives that are positives elsewhere, test texts that were trained on, texts cut short. Nothing
//! is changed.

mod count;
mod describe;
mod minhash;
mod options;
mod report;
mod texts;

use count::{Examples, collisions, contradictory, leakage, lengths};
pub use options::{LintOptions, TestSet};
pub use report::{Collisions, FINDINGS, Leakage, Lengths, LintReport};
use texts::Texts;

use crate::dataset::Dataset;
use crate::error::DataError;
use crate::record::id_fits_trec;

/// Checks a data set.
///
/// # Errors
/// If the tokenizer cannot encode a text.
pub fn lint(
    dataset: &Dataset,
    options: &LintOptions<'_>,
    tests: &[TestSet<'_>],
) -> Result<LintReport, DataError> {
    let (split, near) = (&*options.split, options.near);
    let documents = Texts::documents(dataset, options.document_text);
    let queries = Texts::queries(dataset, split);
    let pairs = dataset.pairs(split);
    let positives = dataset.positives(&[split]);
    let (query_keys, document_keys) = (dataset.query_keys(), dataset.document_keys());

    let is_empty = |&i: &usize| documents.text(i).is_empty();
    let empty = (0..documents.len()).filter(is_empty).map(|i| documents.id(i));
    let without = dataset.queries_of(split).into_iter();
    let without = without.filter(|&query| positives.of(query_keys[query]).is_empty());
    let without = without.map(|query| &*dataset.queries()[query].id);
    let copies = documents.copies().filter(|i| !is_empty(i));
    let ids = documents.ids().chain(queries.ids());
    let unfit = ids.filter(|id| !id_fits_trec(id)).map(|id| format!("`{id}`"));
    let rows = pairs.iter().map(|pair| (query_keys[pair.query], document_keys[pair.document]));
    let mut examples = Examples::default();
    Ok(LintReport {
        split: split.to_owned(),
        documents: documents.len(),
        queries: queries.len(),
        rows: pairs.len(),
        empty_documents: examples.count("empty-documents", empty),
        queries_without_positive: examples.count("queries-without-positive", without),
        duplicate_documents: examples
            .count("duplicate-documents", copies.map(|i| documents.copy(i))),
        duplicate_queries: examples
            .count("duplicate-queries", queries.copies().map(|i| queries.copy(i))),
        near_duplicate_documents: examples
            .count("near-duplicate-documents", documents.near_copies(near)),
        near_duplicate_queries: examples.count("near-duplicate-queries", queries.near_copies(near)),
        contradictory_negatives: examples
            .count("contradictory-negatives", contradictory(dataset, &pairs, &positives)),
        ids_with_white_space: examples.count("ids-with-white-space", unfit),
        collisions: collisions(rows, &options.batch_sizes),
        leakage: tests.iter().map(|test| leakage(dataset, options, *test, &mut examples)).collect(),
        length_unit: if options.tokenizer.is_some() { "tokens" } else { "words" },
        query_lengths: lengths(&queries, options)?,
        document_lengths: lengths(&documents, options)?,
        examples: examples.0,
    })
}

#[cfg(test)]
mod tests {
    use samtone_text::DocumentText;

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
        let data = dataset(&texts, &["q"], &[]);
        let options = LintOptions { limits: vec![32, 100], ..LintOptions::default() };
        let texts = Texts::documents(&data, DocumentText::Text);
        let lengths = lengths(&texts, &options).unwrap();
        assert_eq!((lengths.p50, lengths.p95, lengths.max), (50, 95, 100));
        // 68 of 100: the nearest number of f64 to it, as the literal is.
        assert_eq!((lengths.truncated[&32], lengths.truncated[&100]), (0.68, 0.0));
    }
}
