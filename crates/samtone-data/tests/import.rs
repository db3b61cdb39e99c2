//! Every foreign format becomes the BEIR folder it should, and what is wrong is named or skipped.

#![expect(clippy::unwrap_used, reason = "a failed helper fails its test")]

use std::{fs, path::Path};

use samtone_data::{
    DataError, Dataset,
    import::{Format, ImportOptions, ImportReport, OnError, Unit, import},
};
use tempfile::TempDir;

/// Writes files and imports them.
fn run(
    format: Format,
    files: &[(&str, &str)],
    options: &ImportOptions,
) -> (TempDir, Result<ImportReport, DataError>) {
    let dir = tempfile::tempdir().unwrap();
    let mut inputs = Vec::new();
    for (name, text) in files {
        let path = dir.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        inputs.push(path);
    }
    if format == Format::Beir {
        inputs = vec![dir.path().join("beir")];
    }
    let report = import(format, &inputs, &dir.path().join("out"), options, &mut |_| {});
    (dir, report)
}

/// The folder written, one line a record, in a short form.
fn written(dir: &Path, splits: &[&str]) -> Vec<String> {
    let dataset = Dataset::load(&dir.join("out"), splits).unwrap();
    let mut all = Vec::new();
    for document in dataset.documents() {
        all.push(format!("{}: {}|{}", document.id, document.title, document.text));
    }
    for query in dataset.queries() {
        all.push(format!("{}: {}", query.id, query.text));
    }
    for split in splits {
        for (query, document, grade) in dataset.qrels(split) {
            all.push(format!("{split}: {query} {document} {grade}"));
        }
    }
    all
}

#[track_caller]
fn check(format: Format, files: &[(&str, &str)], splits: &[&str], expected: &[&str]) {
    let (dir, report) = run(format, files, &ImportOptions::default());
    report.unwrap();
    assert_eq!(written(dir.path(), splits), expected);
}

#[test]
fn pairs() {
    check(
        Format::Pairs,
        &[(
            "a.jsonl",
            concat!(
                r#"{"query":"one?","positive":"1","negatives":["2","3"]}"#,
                "\n",
                r#"{"query":"two?","positive":"2","query_id":"Q"}"#,
                "\n",
            ),
        )],
        &["train"],
        &[
            "d0: |1",
            "d1: |2",
            "d2: |3",
            "q0: one?",
            "Q: two?",
            "train: q0 d0 1",
            "train: q0 d1 0",
            "train: q0 d2 0",
            "train: Q d1 1",
        ],
    );
}

#[test]
fn flag_embedding() {
    check(
        Format::FlagEmbedding,
        &[(
            "a.jsonl",
            r#"{"query":"one?","pos":["1","one"],"neg":["2"],"pos_scores":[0.5,0.25],"prompt":"p"}"#,
        )],
        &["train"],
        &[
            "d0: |1",
            "d1: |one",
            "d2: |2",
            "q0: one?",
            "train: q0 d0 1",
            "train: q0 d1 1",
            "train: q0 d2 0",
        ],
    );
}

#[test]
fn tevatron_inline_and_by_id() {
    let expected = ["a: T|1", "b: |2", "7: one?", "train: 7 a 1", "train: 7 b 0"];
    check(
        Format::Tevatron,
        &[(
            "a.jsonl",
            r#"{"query_id":"7","query":"one?","positive_passages":[{"docid":"a","title":"T","text":"1"}],"negative_passages":[{"docid":"b","text":"2"}]}"#,
        )],
        &["train"],
        &expected,
    );
    check(
        Format::Tevatron,
        &[
            (
                "corpus.jsonl",
                "{\"docid\":\"a\",\"title\":\"T\",\"text\":\"1\"}\n{\"docid\":\"b\",\"document_text\":\"2\"}\n",
            ),
            (
                "train.jsonl",
                r#"{"query_id":7,"query_text":"one?","positive_document_ids":["a"],"negative_document_ids":["b"]}"#,
            ),
        ],
        &["train"],
        &expected,
    );
}

#[test]
fn columns_of_sentence_transformers() {
    let expected = [
        "d0: |1, \"one\"",
        "d1: |2\n\n2",
        "d2: |3",
        "q0: one?",
        "q1: two?",
        "train: q0 d0 1",
        "train: q0 d1 0",
        "train: q1 d1 1",
        "train: q1 d2 0",
    ];
    check(
        Format::Columns,
        &[(
            "a.csv",
            "anchor,positive,negative\r\none?,\"1, \"\"one\"\"\",\"2\n\n2\"\r\ntwo?,\"2\n\n2\",3\r\n",
        )],
        &["train"],
        &expected,
    );
    check(
        Format::Columns,
        &[(
            "a.tsv",
            "anchor\tpositive\tnegative\none?\t1, \"one\"\t\"2\n\n2\"\ntwo?\t\"2\n\n2\"\t3\n",
        )],
        &["train"],
        &expected,
    );
    check(
        Format::Columns,
        &[(
            "a.jsonl",
            concat!(
                r#"{"sentence1":"one?","sentence2":"1","label":1}"#,
                "\n",
                r#"{"sentence1":"one?","sentence2":"2","label":0}"#,
            ),
        )],
        &["train"],
        &["d0: |1", "d1: |2", "q0: one?", "train: q0 d0 1", "train: q0 d1 0"],
    );
}

#[test]
fn ms_marco() {
    check(
        Format::MsMarco,
        &[
            // In the wrong order: roles decide.
            ("qidpidtriples.train.tsv", "7\t1\t2\n7\t1\t3\n"),
            ("qrels.dev.small.tsv", "8\t0\t3\t1\n"),
            ("queries.all.tsv", "7\tone?\n8\tthree?\n"),
            ("collection.tsv", "1\tone \"x\n2\ttwo\n3\tthree\n"),
        ],
        &["train", "dev.small"],
        &[
            "1: |one \"x",
            "2: |two",
            "3: |three",
            "7: one?",
            "8: three?",
            "train: 7 1 1",
            "train: 7 2 0",
            "train: 7 3 0",
            "dev.small: 8 3 1",
        ],
    );
}

const SQUAD: &str = r#"{"version":"1.1","data":[{"title":"Old_Wells","paragraphs":[{"context":"Wells hold wäter. Buckets lift it.","qas":[
{"id":"x","question":"What lifts it? ","answers":[{"text":"Buckets","answer_start":18},{"text":"wäter","answer_start":11}]}]}]}]}"#;

#[test]
fn squad_by_sentence_and_by_paragraph() {
    check(
        Format::Squad,
        &[("train-v1.1.json", SQUAD)],
        &["train"],
        &[
            "Old_Wells_0_0: Old Wells|Wells hold wäter.",
            "Old_Wells_0_1: Old Wells|Buckets lift it.",
            "x: What lifts it?",
            "train: x Old_Wells_0_0 1",
            "train: x Old_Wells_0_1 1",
        ],
    );
    let options = ImportOptions { unit: Unit::Paragraph, ..ImportOptions::default() };
    let (dir, report) = run(Format::Squad, &[("train.json", SQUAD)], &options);
    report.unwrap();
    assert_eq!(
        written(dir.path(), &["train"]),
        [
            "Old_Wells_0: Old Wells|Wells hold wäter. Buckets lift it.",
            "x: What lifts it?",
            "train: x Old_Wells_0 1"
        ]
    );
}

#[test]
fn mrqa_with_given_boundaries() {
    let dir = tempfile::tempdir().unwrap();
    let boundaries = dir.path().join("candidates.json");
    fs::write(
        &boundaries,
        concat!(
            r#"{"candidate_id":"SQuAD_0123456789abcdef0123456789abcdef/_0_0","response_start":0,"response_end":5}"#,
            "\n",
            r#"{"candidate_id":"SQuAD_0123456789abcdef0123456789abcdef/_0_1","response_start":6,"response_end":16}"#,
            "\n",
        ),
    )
    .unwrap();
    let options = ImportOptions { boundaries: vec![boundaries], ..ImportOptions::default() };
    let text = concat!(
        r#"{"header":{"dataset":"SQuAD"}}"#,
        "\n",
        r#"{"id":"","context":"Wells hold water","qas":[{"qid":"0123456789abcdef0123456789abcdef","question":"what?","detected_answers":[{"text":"water","char_spans":[[11,15]]}]}]}"#,
    );
    let (dir, report) = run(Format::Squad, &[("SQuAD.jsonl", text)], &options);
    report.unwrap();
    assert_eq!(
        written(dir.path(), &["train"]),
        [
            "c0_0: |Wells",
            "c0_1: |hold water",
            "0123456789abcdef0123456789abcdef: what?",
            "train: 0123456789abcdef0123456789abcdef c0_1 1",
        ]
    );
}

#[test]
fn trec() {
    check(
        Format::Trec,
        &[
            ("qrels.txt", "301 0 FT-1 1\n302 0 FT-2 0\n302 0 FT-1 2\n"),
            (
                "topics.txt",
                "<top>\n\n<num> Number: 301\n<title> Topic: one thing\n\n<desc> Description:\nLonger.\n</top>\n<top>\n<num> Number: 302 \n<title>\n<desc> Description:\nOnly a description\n</top>\n",
            ),
            (
                "docs.sgml",
                "<DOC>\n<DOCNO> FT-1 </DOCNO>\n<HEADLINE>Head</HEADLINE>\n<TEXT>\nSome <b>text</b>\nhere.\n</TEXT>\n</DOC>\n<DOC><DOCNO>FT-2</DOCNO><TEXT>x</TEXT></DOC>\n",
            ),
        ],
        &["train"],
        &[
            "FT-1: Head|Some text here.",
            "FT-2: |x",
            "301: one thing",
            "302: Only a description",
            "train: 301 FT-1 1",
            "train: 302 FT-2 0",
            "train: 302 FT-1 2",
        ],
    );
    check(
        Format::Trec,
        &[
            ("qrels.txt", "1 0 a 1\n"),
            ("corpus.jsonl", "{\"_id\":\"a\",\"text\":\"x\"}\n"),
            (
                "topics.xml",
                "<?xml version=\"1.0\"?>\n<topics>\n<topic number=\"1\">\n<query>short</query>\n<question>Long?</question>\n</topic>\n</topics>\n",
            ),
        ],
        &["train"],
        &["a: |x", "1: short", "train: 1 a 1"],
    );
}

const BROKEN: [(&str, &str); 3] = [
    (
        "beir/corpus.jsonl",
        "{\"_id\":\"a\",\"text\":\"one\"}\n{\"_id\":\"a\",\"text\":\"again\"}\nnot json\n{\"_id\":\"b\",\"text\":\"\"}\n{\"_id\":\"c\",\"text\":\"three\"}\n",
    ),
    (
        "beir/queries.jsonl",
        "{\"_id\":\"q\",\"text\":\"?\"}\n{\"_id\":\"r\",\"text\":\"r?\"}\n{\"_id\":\"s\"}\n",
    ),
    (
        "beir/qrels/test.tsv",
        "query-id\tcorpus-id\tscore\nq\ta\t1\nq\tnowhere\t1\nq\ta\t1\nr\tc\t0\nr\tc\n",
    ),
];

#[test]
fn wrong_records_are_skipped_counted_and_listed() {
    let options = ImportOptions { on_error: OnError::Skip, ..ImportOptions::default() };
    let (dir, report) = run(Format::Beir, &BROKEN, &options);
    let report = report.unwrap();
    assert_eq!((report.documents, report.queries, report.judgments["test"]), (2, 2, 2));
    let skipped: Vec<_> = report.skipped.iter().map(|(kind, count)| (*kind, *count)).collect();
    assert_eq!(
        skipped,
        [
            ("broken json", 1),
            ("duplicate id", 1),
            ("duplicate judgment", 1),
            ("empty text", 1),
            ("id to nowhere", 1),
            ("missing field", 1),
            ("wrong columns", 1),
        ]
    );
    assert_eq!(report.queries_without_positive["test"], 1);
    let listed = fs::read_to_string(dir.path().join("out/skipped.txt")).unwrap();
    assert_eq!(listed.lines().collect::<Vec<_>>(), report.first_skipped);
    assert!(listed.contains("line 3: corpus-id `nowhere` is not in the corpus"), "{listed}");
    assert_eq!(written(dir.path(), &["test"]).last().unwrap(), "test: r c 0");
}

#[test]
fn a_failed_import_leaves_nothing_behind() {
    let (dir, report) = run(Format::Beir, &BROKEN, &ImportOptions::default());
    let error = report.unwrap_err().to_string();
    assert!(error.ends_with("line 2: document `a` is already on line 1"), "{error}");
    let names: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(names, ["beir"]);
}

#[test]
fn an_output_that_exists_is_kept() {
    let (dir, report) = run(Format::Pairs, &[("out/mine", "x")], &ImportOptions::default());
    assert!(matches!(report.unwrap_err(), DataError::Exists { .. }));
    assert!(dir.path().join("out/mine").exists());
}

#[test]
fn gzip_is_written_and_read() {
    let options = ImportOptions { gzip: true, ..ImportOptions::default() };
    let line = r#"{"query":"one?","positive":"1"}"#;
    let (dir, report) = run(Format::Pairs, &[("a.jsonl", line)], &options);
    report.unwrap();
    assert!(dir.path().join("out/corpus.jsonl.gz").exists());
    assert_eq!(written(dir.path(), &["train"]), ["d0: |1", "q0: one?", "train: q0 d0 1"]);
}

#[test]
fn progress_ends_at_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.jsonl");
    let lines: Vec<String> =
        (0..10_000).map(|i| format!("{{\"query\":\"q {i}\",\"positive\":\"p {i}\"}}")).collect();
    fs::write(&path, lines.join("\n")).unwrap();
    let mut seen = Vec::new();
    let out = dir.path().join("out");
    import(Format::Pairs, &[path], &out, &ImportOptions::default(), &mut |p| seen.push(p)).unwrap();
    assert!(seen.len() >= 3 && seen.windows(2).all(|p| p[0].bytes <= p[1].bytes), "{seen:?}");
    let last = seen.last().unwrap();
    assert_eq!((last.bytes, last.records), (last.total_bytes, 10_000));
}
