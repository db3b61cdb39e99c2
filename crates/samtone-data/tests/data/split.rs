//! A split is parted so that no text is on two sides, and nothing else changes.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use proptest::prelude::*;
use samtone_data::split::{SplitOptions, SplitReport, split};
use samtone_data::{DataError, Dataset, Document, Judgment, Query};
use tempfile::TempDir;

fn options(shares: &[(&str, &str)], seed: u64) -> SplitOptions {
    let share = |&(name, share): &(&str, &str)| (name.to_owned(), share.parse().unwrap());
    let shares = shares.iter().map(share).collect();
    SplitOptions { shares, seed, ..SplitOptions::default() }
}

/// Writes a folder with these texts of queries and documents, and judgments by their numbers.
fn folder(
    queries: &[impl AsRef<str>],
    documents: &[impl AsRef<str>],
    train: &[(usize, usize, i32)],
) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let query = |(i, text): (usize, _)| Query { id: format!("q{i}"), text };
    let document =
        |(i, text): (usize, _)| Document { id: format!("d{i}"), title: String::new(), text };
    let judgment = |&(query, document, grade): &(usize, usize, i32)| Judgment {
        query_id: format!("q{query}"),
        document_id: format!("d{document}"),
        grade,
    };
    let text = |text: &dyn AsRef<str>| text.as_ref().to_owned();
    let dataset = Dataset::from_records(
        documents.iter().map(|it| text(it)).enumerate().map(document).collect(),
        queries.iter().map(|it| text(it)).enumerate().map(query).collect(),
        [("train".to_owned(), train.iter().map(judgment).collect())],
    );
    dataset.unwrap().save(&dir.path().join("in")).unwrap();
    dir
}

fn part(dir: &TempDir, options: &SplitOptions) -> Result<SplitReport, DataError> {
    split(&dir.path().join("in"), &dir.path().join("out"), options)
}

/// The queries of a split of the folder written.
fn queries_of(out: &Path, split: &str) -> BTreeSet<String> {
    let dataset = Dataset::load(out, &[split]).unwrap();
    dataset.qrels(split).map(|(query, ..)| query.to_owned()).collect()
}

/// As many queries as documents, each relevant to the one of its number.
fn apart(count: usize) -> TempDir {
    let texts = |kind: &str| (0..count).map(|i| format!("{kind} {i}")).collect::<Vec<_>>();
    let train: Vec<_> = (0..count).map(|i| (i, i, 1)).collect();
    folder(&texts("question"), &texts("answer"), &train)
}

/// Whether the first two of four queries are in one split, whatever the seed.
#[track_caller]
fn check_joined(queries: [&str; 4], documents: &[&str], train: &[(usize, usize, i32)], is: bool) {
    let mut parted = 0;
    for seed in 0..30 {
        let dir = folder(&queries, documents, train);
        part(&dir, &options(&[("dev", "2")], seed)).unwrap();
        let dev = queries_of(&dir.path().join("out"), "dev");
        parted += usize::from(dev.contains("q0") != dev.contains("q1"));
    }
    assert_eq!(parted == 0, is, "parted by {parted} of 30 seeds");
}

#[test]
fn what_has_a_text_in_common_stays_together() {
    let queries = ["one?", "two?", "three?", "four?"];
    let documents = ["a", "b", "c", "d"];
    let alone = [(0, 0, 1), (1, 1, 1), (2, 2, 1), (3, 3, 1)];
    check_joined(queries, &documents, &alone, false);
    // A document, a copy of one, a query of the same words.
    check_joined(queries, &documents, &[(0, 0, 1), (1, 0, 2), (2, 2, 1), (3, 3, 1)], true);
    check_joined(queries, &["an  A", "An a ", "c", "d"], &alone, true);
    check_joined(["one?", "ONE? ", "three?", "four?"], &documents, &alone, true);
    // By way of the others.
    let chain = [(0, 0, 1), (0, 1, 1), (2, 1, 1), (2, 2, 1), (1, 2, 1), (3, 3, 1)];
    let dir = folder(&queries, &documents, &chain);
    let report = part(&dir, &options(&[("dev", "1")], 0)).unwrap();
    assert_eq!((report.components, report.largest), (2, 3));
    // What is not relevant joins nothing, and neither does what is empty.
    let negatives = [(0, 0, 1), (0, 1, 0), (1, 1, 1), (1, 0, -1), (2, 2, 1), (3, 3, 1)];
    check_joined(queries, &documents, &negatives, false);
    check_joined(queries, &["", " ", "c", "d"], &alone, false);
}

#[test]
fn shares_are_percentages_and_numbers_of_queries() {
    let dir = apart(200);
    let report = part(&dir, &options(&[("dev", "10%"), ("held-out", "7")], 0)).unwrap();
    assert_eq!(
        serde_json::to_string(&report).unwrap(),
        concat!(
            r#"{"splits":[{"name":"train","queries":173,"judgments":173,"documents":173},"#,
            r#"{"name":"dev","queries":20,"judgments":20,"documents":20},"#,
            r#"{"name":"held-out","queries":7,"judgments":7,"documents":7}],"#,
            r#""components":200,"largest":1}"#
        )
    );
    let out = dir.path().join("out");
    let sizes = ["train", "dev", "held-out"].map(|split| queries_of(&out, split).len());
    assert_eq!(sizes, [173, 20, 7]);
}

#[test]
fn the_seed_alone_decides() {
    let dev = |seed| {
        let dir = apart(30);
        part(&dir, &options(&[("dev", "3")], seed)).unwrap();
        fs::read_to_string(dir.path().join("out/qrels/dev.tsv")).unwrap()
    };
    // Written down once: a change here changes every data set that was split.
    let written = "query-id\tcorpus-id\tscore\nq0\td0\t1\nq2\td2\t1\nq7\td7\t1\n";
    assert_eq!(dev(0), written);
    assert_ne!(dev(1), written);
}

#[test]
fn all_else_stays_as_it_is() {
    let dir = apart(10);
    let (input, out) = (dir.path().join("in"), dir.path().join("out"));
    let qrels = input.join("qrels");
    fs::write(qrels.join("test.tsv"), "qid\tpid\trel\r\nq1\td2\t1\r\n").unwrap();
    fs::write(input.join("queries.jsonl.gz"), "never read").unwrap();
    // A header of another spelling, a judgment that is none of the positives.
    fs::write(qrels.join("all.tsv"), fs::read(qrels.join("train.tsv")).unwrap()).unwrap();
    fs::write(qrels.join("train.tsv"), "q1\td1\t1\nq1\td2\t0\nq2\td2\t3\nq3\td4\t0\n").unwrap();
    let report = part(&dir, &options(&[("dev", "1")], 0)).unwrap();
    for file in ["corpus.jsonl", "queries.jsonl", "qrels/test.tsv", "qrels/all.tsv"] {
        assert_eq!(fs::read(out.join(file)).unwrap(), fs::read(input.join(file)).unwrap());
    }
    let read = |file: &str| fs::read_to_string(out.join(file)).unwrap();
    let (train, dev) = (read("qrels/train.tsv"), read("qrels/dev.tsv"));
    // A query without a positive stays, a negative goes with its query.
    let header = "query-id\tcorpus-id\tscore\n";
    let (one, two, three) = ("q1\td1\t1\nq1\td2\t0\n", "q2\td2\t3\n", "q3\td4\t0\n");
    let either = [[one, two], [two, one]];
    let written = |[stays, goes]: [&str; 2]| {
        (train == format!("{header}{stays}{three}")) && (dev == format!("{header}{goes}"))
    };
    assert!(either.into_iter().any(written), "{train}\n{dev}");
    assert_eq!(report.splits.iter().map(|split| split.queries).collect::<Vec<_>>(), [2, 1]);
    assert_eq!(fs::read_dir(out.join("qrels")).unwrap().count(), 4);
}

#[test]
fn what_was_compressed_is_compressed() {
    let dir = apart(10);
    let qrels = dir.path().join("in/qrels");
    let text = fs::read(qrels.join("train.tsv")).unwrap();
    fs::remove_file(qrels.join("train.tsv")).unwrap();
    let file = fs::File::create(qrels.join("train.tsv.gz")).unwrap();
    let mut gzip = flate2::write::GzEncoder::new(file, flate2::Compression::fast());
    std::io::Write::write_all(&mut gzip, &text).unwrap();
    gzip.finish().unwrap();
    part(&dir, &options(&[("dev", "2")], 0)).unwrap();
    let out = dir.path().join("out");
    let start = |name: &str| fs::read(out.join("qrels").join(name)).unwrap()[..2].to_owned();
    assert_eq!([start("train.tsv.gz"), start("dev.tsv.gz")], [b"\x1F\x8B", b"\x1F\x8B"]);
    assert_eq!(queries_of(&out, "dev").len() + queries_of(&out, "train").len(), 10);
}

/// That the input's folder is refused with this in the message and this hint.
#[track_caller]
fn refused(dir: &TempDir, options: &SplitOptions, message: &str, hint: &str) {
    let error = part(dir, options).unwrap_err();
    assert!(error.to_string().contains(message), "{error}");
    assert!(error.hint().unwrap_or_default().starts_with(hint), "{:?}", error.hint());
    assert!(!dir.path().join("out").exists());
}

#[test]
fn what_cannot_be_is_refused() {
    let dir = apart(20);
    for (shares, message, hint) in [
        (vec![("train", "10%")], "in`, split `train`: there is a split `train` already", "name"),
        (vec![("dev", "1"), ("dev", "2")], "the new split `dev` is asked for twice", ""),
        (vec![("dev", "2%")], "2% of 20 queries is none", "ask for a number of queries"),
        (
            vec![("dev", "50%"), ("test", "10")],
            "20 queries are asked for, of 20, and nothing would be left",
            "ask for less",
        ),
    ] {
        refused(&dir, &options(&shares, 0), message, hint);
    }
    let from = SplitOptions { from: "dev".to_owned(), ..options(&[("test", "1")], 0) };
    refused(&dir, &from, "has no split `dev`", "there are: `train`");
    let qrels = |name| dir.path().join("in/qrels").join(name);
    fs::write(qrels("dev.tsv"), "query-id\tcorpus-id\tscore\n").unwrap();
    refused(&dir, &from, "split `dev` of", "there are: `dev`, `train`");
    let one = options(&[("test", "1")], 0);
    for (line, message) in [
        ("q1\tnowhere\t1", "train.tsv`, line 2: corpus-id `nowhere` is not in the corpus"),
        ("nobody\td1\t1", "train.tsv`, line 2: query-id `nobody` is not in the queries"),
    ] {
        fs::write(qrels("train.tsv"), format!("q1\td1\t1\n{line}\n")).unwrap();
        refused(&dir, &one, message, "is this file of the same data set?");
    }
    fs::write(dir.path().join("out"), "").unwrap();
    assert!(matches!(part(&dir, &one), Err(DataError::Exists { .. })));
}

#[test]
fn one_answer_to_nearly_all_is_named() {
    let texts: Vec<String> = (0..20).map(|i| i.to_string()).collect();
    // Document 3 answers queries 3 to 19, document 4 query 4 too.
    let train: Vec<_> = (0..20).map(|i| (i, i.min(3), 1)).chain([(4, 4, 1)]).collect();
    let dir = folder(&texts, &texts, &train);
    let message = "cannot take 4 of 20 queries: 17 of them belong together, most by document `d3`, \
                   which is relevant to 17";
    let shares = [("dev", "10%"), ("test", "10%")];
    refused(&dir, &options(&shares, 0), message, "queries with a relevant document or a text in");
    // What is free can be had.
    let report = part(&dir, &options(&[("dev", "1"), ("test", "2")], 0)).unwrap();
    assert_eq!(report.splits.iter().map(|split| split.queries).collect::<Vec<_>>(), [17, 1, 2]);
}

proptest! {
    #[test]
    fn no_text_is_on_two_sides(
        queries in prop::collection::vec("[ab]{1,4}", 8..40),
        documents in prop::collection::vec("[a-c]{1,4}", 8..40),
        judgments in prop::collection::btree_map((0..40_usize, 0..40_usize), 0..3, 1..60),
        seed in 0..8_u64,
    ) {
        let (q, d) = (queries.len(), documents.len());
        let train: std::collections::BTreeMap<_, _> =
            judgments.iter().map(|(&(query, document), &grade)| ((query % q, document % d), grade)).collect();
        let train: Vec<_> = train.into_iter().map(|((query, document), grade)| (query, document, grade)).collect();
        let dir = folder(&queries, &documents, &train);
        let shares = options(&[("dev", "20%"), ("test", "2")], seed);
        let Ok(report) = part(&dir, &shares) else { return Ok(()) };
        let names = ["train", "dev", "test"];
        let parted = Dataset::load(&dir.path().join("out"), &names).unwrap();
        let whole = Dataset::load(&dir.path().join("in"), &["train"]).unwrap();
        let all = |dataset: &Dataset, splits: &[&str]| {
            let ids = |(q, d, grade): (&str, &str, i32)| (q.to_owned(), d.to_owned(), grade);
            splits.iter().flat_map(|split| dataset.qrels(split)).map(ids).collect::<BTreeSet<_>>()
        };
        prop_assert_eq!(all(&parted, &names), all(&whole, &["train"]));
        let mut seen = BTreeSet::new();
        for size in &report.splits {
            let judgments = parted.judgments(&size.name);
            prop_assert_eq!(judgments.len() as u64, size.judgments);
            prop_assert_eq!(parted.queries_of(&size.name).len(), size.queries);
            let pairs = parted.pairs(&size.name);
            let documents: BTreeSet<_> = pairs.iter().map(|pair| pair.document).collect();
            prop_assert_eq!(documents.len(), size.documents);
            let queries = parted.queries_of(&size.name).into_iter();
            let texts = queries.map(|query| ("query", parted.query_keys()[query]));
            let documents = documents.into_iter();
            let texts = texts.chain(documents.map(|it| ("document", parted.document_keys()[it])));
            let texts: BTreeSet<_> = texts.collect();
            prop_assert!(seen.is_disjoint(&texts));
            seen.extend(texts);
        }
    }
}
