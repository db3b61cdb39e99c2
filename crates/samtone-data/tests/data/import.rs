//! Every foreign format becomes the BEIR folder it should, and what is wrong is named or skipped.

use std::fs;
use std::path::Path;

use samtone_data::import::{
    ColumnNames, ColumnRole, Format, ImportOptions, ImportReport, OnError, RENAMED_IDS, Unit,
    import,
};
use samtone_data::reading::Lines;
use samtone_data::{DataError, Dataset};
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
                r#"{"sentence1":"one?","sentence2":"one","label":1}"#,
                "\n",
                r#"{"sentence1":"one?","sentence2":"two","label":0}"#,
            ),
        )],
        &["train"],
        &["d0: |one", "d1: |two", "q0: one?", "train: q0 d0 1", "train: q0 d1 0"],
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

/// The queries, positives and negatives that columns become, by their texts.
fn columns(file: (&str, &str), names: ColumnNames) -> Result<Vec<String>, DataError> {
    let options = ImportOptions { columns: names, ..ImportOptions::default() };
    let (dir, report) = run(Format::Columns, &[file], &options);
    report?;
    let dataset = Dataset::load(&dir.path().join("out"), &["train"])?;
    let text = |id: &str| dataset.document(dataset.document_index(id).unwrap()).text.to_owned();
    let query = |id: &str| dataset.queries()[dataset.query_index(id).unwrap()].text.clone();
    let judged = dataset.qrels("train");
    Ok(judged.map(|(q, d, grade)| format!("{} > {} {grade}", query(q), text(d))).collect())
}

fn named(query: &str, positive: &str) -> ColumnNames {
    ColumnNames {
        query: Some(query.to_owned()),
        positive: Some(positive.to_owned()),
        ..ColumnNames::default()
    }
}

#[track_caller]
fn check_columns(file: (&str, &str), names: ColumnNames, expected: &[&str]) {
    assert_eq!(columns(file, names).unwrap(), expected);
}

/// The error and its hint.
#[track_caller]
fn check_refused(file: (&str, &str), names: ColumnNames, expected: &str, hint: &str) {
    let error = columns(file, names).unwrap_err();
    let message = error.to_string();
    assert!(message.ends_with(expected), "{message}");
    assert_eq!(error.hint().unwrap_or_default(), hint);
}

#[test]
fn columns_are_what_they_are_called_wherever_they_stand() {
    let expected = ["a? > a! 1", "a? > b! 0"];
    for (name, text) in [
        ("a.csv", "negative,positive,anchor\nb!,a!,a?\n"),
        ("a.csv", "id,Answer,hard-negative,QUESTION\n17,a!,b!,a?\n"),
        ("a.csv", "\u{FEFF}query;passage;neg_1\na?;a!;b!\n"),
        ("a.csv", "query\tdocument\tnegative\na?\ta!\tb!\n"),
        ("a.tsv", "query|pos|neg\na?|a!|b!\n"),
        ("a.csv.gz.tsv", "negative_text\tquery_text\tanswer_text\nb!\ta?\ta!\n"),
        ("a.jsonl", r#"{"anchor":"a?","negative":"b!","positive":"a!"}"#),
        ("a.jsonl", r#"{"id":3,"negative":"b!","positive":"a!","query":"a?"}"#),
    ] {
        check_columns((name, text), ColumnNames::default(), &expected);
    }
}

#[test]
fn rows_of_json_lines_may_have_other_columns_and_another_order() {
    let text = concat!(
        r#"{"anchor":"a?","positive":"a!"}"#,
        "\n",
        r#"{"positive":"b!","negative":"a!","anchor":"b?"}"#,
        "\n",
    );
    let expected = ["a? > a! 1", "b? > b! 1", "b? > a! 0"];
    check_columns(("a.jsonl", text), ColumnNames::default(), &expected);
    // Where the order decided, it is the names of the first row that later ones are read by.
    let text = concat!(
        r#"{"sentence1":"a?","sentence2":"a!"}"#,
        "\n",
        r#"{"sentence2":"b!","sentence1":"b?"}"#,
        "\n",
    );
    check_columns(("a.jsonl", text), ColumnNames::default(), &["a? > a! 1", "b? > b! 1"]);
    check_refused(
        ("a.jsonl", &format!("{text}{}", r#"{"sentence1":"c?","sentence3":"c!"}"#)),
        ColumnNames::default(),
        "a.jsonl`: cannot tell what column `sentence3` is",
        "say which columns to take, the rest is left aside: `--query COLUMN --positive COLUMN`",
    );
}

#[test]
fn the_callers_word_stands_above_the_names() {
    let text = "title,body,query,category\na?,a!,x,y\n";
    check_columns(("a.csv", text), named("title", "body"), &["a? > a! 1"]);
    let names = ColumnNames { negatives: vec!["query".into()], ..named("title", "body") };
    check_columns(("a.csv", text), names, &["a? > a! 1", "a? > x 0"]);
    let text = "query,answer,score\na?,a!,1\nb?,b!,0\n";
    let names = ColumnNames { label: Some("score".into()), ..ColumnNames::default() };
    check_columns(("a.csv", text), names, &["a? > a! 1", "b? > b! 0"]);
    let names = ColumnNames { ignored: vec!["score".into()], ..ColumnNames::default() };
    check_columns(("a.csv", text), names, &["a? > a! 1", "b? > b! 1"]);
    let names = named("question", "answer");
    let hint = "there are: `query`, `answer`, `score`";
    check_refused(("a.csv", text), names, "a.csv`: there is no column `question`", hint);
    let names = named("query", "query");
    check_refused(("a.csv", text), names, "a.csv`: column `query` is asked for twice", "");
}

#[test]
fn a_grade_says_how_relevant_a_document_is() {
    let text = |name: &str| format!("query,answer,{name}\na?,a!,2\na?,b!,0\nb?,b!,1.0\nb?,a!,-1\n");
    let expected = ["a? > a! 2", "a? > b! 0", "b? > b! 1", "b? > a! -1"];
    check_columns(("a.csv", &text("Grade")), ColumnNames::default(), &expected);
    check_columns(("a.csv", &text("relevance")), ColumnNames::default(), &expected);
    let names = ColumnNames { grade: Some("score".into()), ..ColumnNames::default() };
    check_columns(("a.csv", &text("score")), names.clone(), &expected);
    check_refused(
        ("a.csv", "query,answer,score\na?,a!,0.7\n"),
        names,
        "a.csv`, line 2: field `grade`: expected a whole number, 1 or more if it is relevant, got `0.7`",
        "",
    );
}

/// The rows that a teacher scored, and the judgments.
#[track_caller]
fn check_scored(file: (&str, &str), names: &ColumnNames, expected: &str) {
    let options = ImportOptions { columns: names.clone(), ..ImportOptions::default() };
    let (dir, report) = run(Format::Columns, &[file], &options);
    let rows = expected.lines().count() as u64;
    assert_eq!(report.unwrap().scored, [("train".to_owned(), rows)].into());
    let written = fs::read_to_string(dir.path().join("out/scored/train.jsonl")).unwrap();
    assert_eq!(written, expected);
    let pairs = dir.path().join("out/scored/train.jsonl");
    let dataset = Dataset::load_pairs(&pairs, "train").unwrap();
    assert!(dataset.pairs("train").iter().all(|row| row.scores.len() == 1 + row.negatives.len()));
    // And the folder is one as any other.
    let folder = Dataset::load(&dir.path().join("out"), &["train"]).unwrap();
    assert_eq!(folder.pairs("train")[0].negatives.len(), dataset.pairs("train")[0].negatives.len());
}

#[test]
fn a_teachers_scores_lie_beside_the_judgments() {
    let row = |scores: &str| {
        format!(
            "{{\"query\":\"a?\",\"positive\":\"a!\",\"negatives\":[\"b!\"],\"scores\":{scores}}}\n"
        )
    };
    let none = ColumnNames::default();
    let (text, expected) = ("query,answer,negative,margin\na?,a!,b!,-1.5\n", row("[-1.5,0.0]"));
    check_scored(("a.csv", text), &none, &expected);
    let names = ColumnNames { margin: Some("score".into()), ..none.clone() };
    check_scored(("a.csv", &text.replace("margin", "score")), &names, &expected);
    let expected = row("[0.9,0.2]");
    check_scored(("a.csv", "query,pos,neg,scores\na?,a!,b!,\"[0.9, 0.2]\"\n"), &none, &expected);
    let json = r#"{"scores":[0.9,0.2],"query":"a?","positive":"a!","negative":"b!"}"#;
    check_scored(("a.jsonl", json), &none, &expected);
    let names = ColumnNames { scores: Some("label".into()), ..none.clone() };
    check_scored(("a.jsonl", &json.replace("scores", "label")), &names, &expected);
    for (scores, message) in [
        ("[0.9]", "got `1 scores for 2 texts`"),
        ("0.9", "field `scores`: expected a list of numbers, as in `[0.9, 0.2]`, got `0.9`"),
        ("[\"x\"]", "got `a list`"),
    ] {
        let text = json.replace("[0.9,0.2]", scores);
        check_refused(("a.jsonl", &text), none.clone(), message, "");
    }
    // A list where a text should be is no text.
    let names = ColumnNames { positive: Some("scores".into()), ..none };
    check_refused(
        ("a.jsonl", json),
        names,
        "expected a text, got `[0.9, 0.2] in column `scores``",
        "",
    );
}

#[test]
fn formats_with_scores_keep_them_and_their_splits() {
    let files = [(
        "a.jsonl",
        r#"{"query":"one?","pos":["1"],"neg":["2"],"pos_scores":[0.5],"neg_scores":[0.25]}"#,
    )];
    let (dir, report) = run(Format::FlagEmbedding, &files, &ImportOptions::default());
    assert_eq!(report.unwrap().scored["train"], 1);
    let row = r#"{"query":"one?","positive":"1","negatives":["2"],"scores":[0.5,0.25]}"#;
    let scored = |dir: &tempfile::TempDir, name: &str| {
        let mut lines = Lines::open(&dir.path().join("out/scored").join(name)).unwrap();
        let mut rows = Vec::new();
        while let Some(line) = lines.next().unwrap() {
            rows.push(line.text().unwrap().to_owned());
        }
        rows
    };
    assert_eq!(scored(&dir, "train.jsonl"), [row]);
    let wrong = [("a.jsonl", r#"{"query":"one?","pos":["1"],"pos_scores":[0.5,0.25]}"#)];
    let error = run(Format::FlagEmbedding, &wrong, &ImportOptions::default()).1.unwrap_err();
    let expected = "field `pos_scores`: expected one score per text, got `2 scores for 1 texts`";
    assert!(error.to_string().ends_with(expected), "{error}");

    // What goes to another split is not trained on by its scores either.
    let line = |i: usize| {
        format!(
            "{{\"query\":\"q{i}?\",\"positive\":\"d{i}\",\"negatives\":[\"n\"],\"scores\":[1,{i}]}}\n"
        )
    };
    let lines = (0..20).map(line).collect::<Vec<_>>().concat();
    for gzip in [false, true] {
        let options = ImportOptions {
            shares: vec![("dev".into(), "5".parse().unwrap())],
            gzip,
            ..ImportOptions::default()
        };
        let (dir, report) = run(Format::Pairs, &[("a.jsonl", &lines)], &options);
        assert_eq!(report.unwrap().scored["train"], 15);
        let rows = scored(&dir, if gzip { "train.jsonl.gz" } else { "train.jsonl" });
        assert_eq!(rows.len(), 15);
        let dataset = Dataset::load(&dir.path().join("out"), &["dev"]).unwrap();
        let dev: Vec<&str> =
            dataset.queries_of("dev").iter().map(|&q| &*dataset.queries()[q].text).collect();
        assert_eq!(dev.len(), 5);
        assert!(
            rows.iter().all(|row| !dev.iter().any(|text| row.contains(&format!("\"{text}\""))))
        );
    }
}

#[test]
fn columns_whose_names_say_nothing_are_refused_by_name() {
    let none = ColumnNames::default;
    let hint =
        |flags: &str| format!("say which columns to take, the rest is left aside: `{flags}`");
    check_refused(
        ("a.csv", ",anchor,positive\n0,a?,a!\n"),
        none(),
        "a.csv`: column 1 has no name",
        &hint("--query anchor --positive positive"),
    );
    check_refused(
        ("a.csv", ",x,y\n0,a?,a!\n"),
        none(),
        "a.csv`: column 1 has no name",
        &hint("--query x --positive y"),
    );
    check_refused(
        ("a.csv", "Unnamed: 0,query,answer\n0,a?,a!\n"),
        none(),
        "a.csv`: cannot tell what column `Unnamed: 0` is",
        &hint("--query query --positive answer"),
    );
    check_refused(
        ("a.csv", "id,question,answer,category\n1,a?,a!,c\n"),
        none(),
        "a.csv`: cannot tell what column `category` is",
        &hint("--query question --positive answer"),
    );
    check_refused(
        ("a.csv", "_id,title,my text\n1,a,b\n"),
        none(),
        "a.csv`: cannot tell what column `title` is",
        &hint("--query title --positive 'my text'"),
    );
    check_refused(
        ("a.csv", "a,b,c,d\n1,2,3,4\n"),
        none(),
        "a.csv`: cannot tell what column `a` is",
        &hint("--query a --positive b"),
    );
    check_refused(
        ("a.csv", "question,query,answer\na,b,c\n"),
        none(),
        "a.csv`: columns `question` and `query` both look like the query",
        "say which one: `--query question`",
    );
    check_refused(
        ("a.csv", "question,negative\na,b\n"),
        none(),
        "a.csv`: no column is the positive",
        &format!(
            "the columns are `question`, `negative`; {}",
            hint("--query question --positive COLUMN")
        ),
    );
    check_refused(
        ("a.csv", "query,answer,score\na,b,0.5\n"),
        none(),
        "a.csv`: column `score` looks like scores, which say nothing about what is relevant",
        "`--label score` if it holds 0 and 1 alone, `--grade score` if whole numbers that are 1 or more \
         where the answer is relevant (votes are none), `--ignore score` to take every row as relevant",
    );
    check_refused(
        ("a.csv", "query,answer,negative,score\na,b,c,0.5\n"),
        none(),
        "a.csv`: column `score` looks like scores, which say nothing about what is relevant",
        "a teacher's: `--margin score` if it is the positive's score less the negative's, `--scores \
         score` if it lists those of the positive and of each negative; `--ignore score` leaves it aside",
    );
    check_refused(
        ("a.csv", "query,answer,margin\na,b,c\n"),
        none(),
        "a.csv`: cannot tell what column `margin` is",
        &hint("--query query --positive answer"),
    );
    check_refused(
        ("a.csv", "query,answer,label,grade\na,b,1,2\n"),
        none(),
        "a.csv`: columns `label` and `grade` both say how relevant a document is",
        "leave one aside: `--ignore grade`",
    );
    let margin = ColumnNames { margin: Some("score".into()), ..none() };
    check_refused(
        ("a.csv", "query,answer,neg_1,neg_2,score\na,b,c,d,1\n"),
        margin,
        "a.csv`: a margin is between the positive and one negative, but there are 2 columns of negatives",
        "`--scores` takes a list: the score of the positive, then of each negative",
    );
    check_refused(
        ("a.csv", "query:answer\na:b\n"),
        none(),
        "a.csv`: there is one column, `query:answer`: expected a query and a positive at least",
        "columns are separated by `,`, `;`, a tab or `|`",
    );
}

#[test]
fn columns_of_numbers_alone_are_no_texts() {
    let rows: Vec<String> = (0..200).map(|i| format!("{i},what {i}?\n")).collect();
    let rows = rows.concat();
    for text in [format!("row,text\n{rows}"), "row,text\n17,what?\n".to_owned()] {
        check_refused(
            ("a.csv", &text),
            ColumnNames::default(),
            "a.csv`: column `row`, taken as the query, holds numbers alone",
            "are these ids? `--query row` takes them as texts, `--ignore row` leaves them aside",
        );
    }
    let names = ColumnNames { ignored: vec!["row".into()], ..ColumnNames::default() };
    check_columns(("a.csv", "row,text,reply\n17,a?,a!\n"), names, &["a? > a! 1"]);
    let text = "query,answer\nwhen?,1984\nhow many?,2\n";
    assert!(columns(("a.csv", text), ColumnNames::default()).is_err());
    let names = ColumnNames { positive: Some("answer".into()), ..ColumnNames::default() };
    check_columns(("a.csv", text), names, &["when? > 1984 1", "how many? > 2 1"]);
    // One text among them, and it is a column of texts.
    let text = "query,answer\nwhen?,1984\nhow many?,two\n";
    check_columns(
        ("a.csv", text),
        ColumnNames::default(),
        &["when? > 1984 1", "how many? > two 1"],
    );
}

#[test]
fn a_first_line_of_data_is_no_header() {
    let hint = |example: &str| {
        format!(
            "put a line of names above it, for example `{example}`; if these are names, say which is \
             which with `--query` and `--positive`"
        )
    };
    check_refused(
        ("a.csv", "who grinds,the mill\nwho bakes,the baker\n"),
        ColumnNames::default(),
        "a.csv`: the first line looks like data, not like names of columns: `who grinds`, `the mill`",
        &hint("query,positive"),
    );
    check_refused(
        ("a.tsv", "0\twho?\tmill\n1\twho?\tbaker\n"),
        ColumnNames::default(),
        "names of columns: `0`, `who?`, `mill`",
        &hint("query<tab>positive"),
    );
    // Names that only the caller can know.
    let text = "die Frage,die Antwort\nwer?,die Mühle\n";
    check_columns(("a.csv", text), named("die Frage", "die Antwort"), &["wer? > die Mühle 1"]);
}

#[test]
fn rows_that_are_none_are_named() {
    let (header, row) = ("query;answer\n", "a?;a!\n");
    let check = |text: String, expected: &str, hint: &str| {
        check_refused(("a.csv", &text), ColumnNames::default(), expected, hint);
    };
    check(
        format!("{header}{row}{header}{row}"),
        "line 3: the line repeats the header",
        "were files put together? `--on-error skip` leaves such lines out",
    );
    check(
        format!("{header}{row}b?;b!;c!\n"),
        "line 3: expected 2 columns as in the header, got 3",
        "columns are separated by `;`; a text that holds one stands in double quotes",
    );
    // All that follows would be one text.
    check(
        format!("{header}a?;\"a!\n{row}{row}"),
        "line 2: a double quote opens a text and none closes it",
        "a text in double quotes ends with one, and one inside it is written twice",
    );
    let options = ImportOptions { on_error: OnError::Skip, ..ImportOptions::default() };
    let text = format!("{header}{row}{header}b?;b!;c!\nc?;c!\n");
    let (_dir, report) = run(Format::Columns, &[("a.csv", &text)], &options);
    let report = report.unwrap();
    assert_eq!((report.queries, report.skipped_in_all()), (2, 2));
}

#[test]
fn the_report_tells_how_columns_were_taken() {
    let options = ImportOptions::default();
    let files =
        [("a.csv", "id,answer,question\n7,a!,a?\n8,b!,b?\n"), ("b.tsv", "x\ty\nlong\tshort\n")];
    let (_dir, report) = run(Format::Columns, &files, &options);
    let taken = report.unwrap().columns;
    let told: Vec<_> = taken
        .iter()
        .map(|file| {
            let columns = file.columns.iter();
            let columns: Vec<_> =
                columns.map(|column| (&*column.name, column.role, &*column.first)).collect();
            (file.path.file_name().unwrap().to_str().unwrap(), file.in_order, columns)
        })
        .collect();
    let expected = [
        (
            "a.csv",
            false,
            vec![
                ("id", ColumnRole::Ignored, "7"),
                ("answer", ColumnRole::Positive, "a!"),
                ("question", ColumnRole::Query, "a?"),
            ],
        ),
        (
            "b.tsv",
            true,
            vec![("x", ColumnRole::Query, "long"), ("y", ColumnRole::Positive, "short")],
        ),
    ];
    assert_eq!(told, expected);
}

#[test]
fn ids_in_columns_are_the_records_ids() {
    check(
        Format::Columns,
        &[("a.csv", "qid,query,positive,docid\n7,a?,a!,x\n7,a?,b!,y\n")],
        &["train"],
        &["x: |a!", "y: |b!", "7: a?", "train: 7 x 1", "train: 7 y 1"],
    );
}

/// Imports rows in both orders and expects two positives of the one query.
#[track_caller]
fn check_positives(
    format: Format,
    name: &str,
    before: &str,
    rows: &[&str],
    others: &[(&str, &str)],
) {
    let backwards: Vec<&str> = rows.iter().rev().copied().collect();
    for rows in [rows, &backwards] {
        let text = format!("{before}{}\n", rows.join("\n"));
        let files: Vec<_> = others.iter().copied().chain([(name, text.as_str())]).collect();
        let (dir, report) = run(format, &files, &ImportOptions::default());
        let report = report.unwrap();
        let dataset = Dataset::load(&dir.path().join("out"), &["train"]).unwrap();
        let positives = dataset.qrels("train").filter(|(_, _, grade)| *grade >= 1).count();
        assert_eq!((positives, dataset.queries().len()), (2, 1), "{format} {rows:?}");
        let judged = dataset.judgments("train").len() as u64;
        assert_eq!(report.judgments["train"], judged);
        assert_eq!(report.skipped["contradictory negative"], 1, "{format}");
        assert_eq!(report.queries_without_positive.len(), 0);
        let listed = fs::read_to_string(dir.path().join("out/skipped.txt")).unwrap();
        assert_eq!(listed.lines().collect::<Vec<_>>(), report.first_skipped);
        let [line] = &report.first_skipped[..] else { panic!("{listed}") };
        assert!(line.starts_with("split `train`: document `"), "{line}");
        assert!(line.ends_with("and a positive: it stays a positive"), "{line}");
    }
}

#[test]
fn a_positive_outweighs_a_negative_whatever_the_order_of_the_rows() {
    check_positives(
        Format::Pairs,
        "a.jsonl",
        "",
        &[
            r#"{"query":"a?","positive":"1","negatives":["2","3"]}"#,
            r#"{"query":"a?","positive":"2","negatives":["4"]}"#,
        ],
        &[],
    );
    check_positives(
        Format::FlagEmbedding,
        "a.jsonl",
        "",
        &[r#"{"query":"a?","pos":["1"],"neg":["2"]}"#, r#"{"query":"a?","pos":["2"],"neg":["3"]}"#],
        &[],
    );
    check_positives(
        Format::Tevatron,
        "a.jsonl",
        "",
        &[
            r#"{"query_id":"1","query":"a?","positive_passages":[{"docid":"x","text":"1"}],"negative_passages":[{"docid":"y","text":"2"}]}"#,
            r#"{"query_id":"1","query":"a?","positive_passages":[{"docid":"y","text":"2"}]}"#,
        ],
        &[],
    );
    check_positives(
        Format::Tevatron,
        "z.jsonl",
        "",
        &[
            r#"{"query_text":"a?","positive_document_ids":["x"],"negative_document_ids":["y"]}"#,
            r#"{"query_text":"a?","positive_document_ids":["y"]}"#,
        ],
        &[("corpus.jsonl", "{\"docid\":\"x\",\"text\":\"1\"}\n{\"docid\":\"y\",\"text\":\"2\"}\n")],
    );
    check_positives(
        Format::Columns,
        "a.tsv",
        "anchor\tpassage\tlabel\n",
        &["a?\tone\t0", "a?\tone\t1", "a?\ttwo\t1"],
        &[],
    );
    check_positives(
        Format::Columns,
        "a.csv",
        "anchor,positive,negative\n",
        &["a?,one,two", "a?,two,three"],
        &[],
    );
    check_positives(
        Format::MsMarco,
        "triples.tsv",
        "",
        &["7\t1\t2", "7\t2\t3"],
        &[("queries.tsv", "7\ta?\n"), ("collection.tsv", "1\tone\n2\ttwo\n3\tthree\n")],
    );
    check_positives(
        Format::MsMarco,
        "triples.tsv",
        "",
        &["7\t1\t2"],
        &[
            ("queries.tsv", "7\ta?\n"),
            ("collection.tsv", "1\tone\n2\ttwo\n"),
            ("qrels.train.tsv", "7\t0\t2\t1\n"),
        ],
    );
    check_positives(
        Format::MsMarco,
        "triples.tsv",
        "",
        &["7\t1\t3", "7\t2\t3"],
        &[
            ("queries.tsv", "7\ta?\n"),
            ("collection.tsv", "1\tone\n2\ttwo\n3\tthree\n"),
            ("qrels.train.tsv", "7\t0\t2\t0\n"),
        ],
    );
}

#[test]
fn a_negative_of_another_split_or_query_is_no_contradiction() {
    let text = concat!(
        r#"{"query":"a?","positive":"1","negatives":["2","2"]}"#,
        "\n",
        r#"{"query":"b?","positive":"2","negatives":["1"]}"#,
        "\n",
        r#"{"query":"b?","positive":"2","negatives":["1"]}"#,
    );
    let (dir, report) = run(Format::Pairs, &[("a.jsonl", text)], &ImportOptions::default());
    assert_eq!(report.unwrap().skipped_in_all(), 0);
    assert!(!dir.path().join("out/skipped.txt").exists());
    assert_eq!(
        Dataset::load(&dir.path().join("out"), &["train"]).unwrap().judgments("train").len(),
        4
    );
}

#[test]
fn numbered_texts_and_ids_of_the_same_form_stay_apart() {
    let named = r#"{"query_id":"q0","query":"a?","positive_id":"d0","positive":"1"}"#;
    let bare = r#"{"query":"b?","positive":"2","negatives":["1"]}"#;
    let judged = ["train: q0 d0 1", "train: q1 d1 1", "train: q1 d0 0"];
    for gzip in [false, true] {
        let options = ImportOptions { gzip, ..ImportOptions::default() };
        for rows in [[named, bare], [bare, named]] {
            let text = rows.join("\n");
            let (dir, report) = run(Format::Pairs, &[("a.jsonl", &text)], &options);
            report.unwrap();
            let mut all = written(dir.path(), &["train"]);
            all.sort();
            let mut expected = vec!["d0: |1", "d1: |2", "q0: a?", "q1: b?"];
            expected.extend(judged);
            expected.sort_unstable();
            assert_eq!(all, expected);
            let names = fs::read_dir(dir.path().join("out")).unwrap();
            assert_eq!(names.count(), 3, "no file of the work is left");
        }
    }
}

#[test]
fn one_document_in_a_corpus_and_inline_is_one() {
    check(
        Format::Tevatron,
        &[
            ("corpus.jsonl", "{\"docid\":\"a\",\"title\":\"T\",\"text\":\"1\"}\n"),
            (
                "train.jsonl",
                r#"{"query_id":7,"query":"a?","positive_passages":[{"docid":"a","title":"T","text":"1"}]}"#,
            ),
        ],
        &["train"],
        &["a: T|1", "7: a?", "train: 7 a 1"],
    );
}

const WITH_SPACES: [(&str, &str); 3] = [
    (
        "beir/corpus.jsonl",
        "{\"_id\":\"doc one\",\"text\":\"1\"}\n{\"_id\":\"doc_one\",\"text\":\"2\"}\n{\"_id\":\"doc\u{a0}one\",\"text\":\"3\"}\n",
    ),
    ("beir/queries.jsonl", "{\"_id\":\"q 1\",\"text\":\"a?\"}\n{\"_id\":\"q2\",\"text\":\"b?\"}\n"),
    (
        "beir/qrels/test.tsv",
        "query-id\tcorpus-id\tscore\nq 1\tdoc one\t1\nq2\tdoc_one\t1\nq2\tdoc\u{a0}one\t0\n",
    ),
];

#[test]
fn ids_with_white_space_are_counted_and_can_be_replaced() {
    let (dir, report) = run(Format::Beir, &WITH_SPACES, &ImportOptions::default());
    let report = report.unwrap();
    assert_eq!((report.ids_with_white_space, report.renamed_ids), (3, 0));
    assert!(!dir.path().join("out").join(RENAMED_IDS).exists());
    assert_eq!(written(dir.path(), &["test"])[0], "doc one: |1");
    for gzip in [false, true] {
        let options = ImportOptions { rename_ids: true, gzip, ..ImportOptions::default() };
        let (dir, report) = run(Format::Beir, &WITH_SPACES, &options);
        let report = report.unwrap();
        assert_eq!((report.ids_with_white_space, report.renamed_ids), (3, 3));
        assert_eq!(
            written(dir.path(), &["test"]),
            [
                "doc_one-2: |1",
                "doc_one: |2",
                "doc_one-3: |3",
                "q_1: a?",
                "q2: b?",
                "test: q_1 doc_one-2 1",
                "test: q2 doc_one 1",
                "test: q2 doc_one-3 0",
            ]
        );
        assert_eq!(
            fs::read_to_string(dir.path().join("out").join(RENAMED_IDS)).unwrap(),
            "kind\told\tnew\ndocument\tdoc one\tdoc_one-2\ndocument\tdoc\u{a0}one\tdoc_one-3\n\
             query\tq 1\tq_1\n"
        );
    }
}

#[test]
fn articles_of_two_files_do_not_share_ids() {
    let article = |title: &str, id: &str| {
        format!(
            r#"{{"data":[{{{title}"paragraphs":[{{"context":"It grinds {id}.","qas":[{{"id":"{id}","question":"What?","answers":[{{"text":"{id}","answer_start":10}}]}}]}}]}}]}}"#
        )
    };
    let (bare, titled) = (|id| article("", id), |id| article(r#""title":"The Mill","#, id));
    check(
        Format::Squad,
        &[
            ("1.json", &bare("u1")),
            ("2.json", &bare("u2")),
            ("3.json", &titled("u3")),
            ("4.json", &titled("u4")),
        ],
        &["train"],
        &[
            "a1_0_0: |It grinds u1.",
            "a2_0_0: |It grinds u2.",
            "The_Mill_0_0: The Mill|It grinds u3.",
            "The_Mill-2_0_0: The Mill|It grinds u4.",
            "u1: What?",
            "u2: What?",
            "u3: What?",
            "u4: What?",
            "train: u1 a1_0_0 1",
            "train: u2 a2_0_0 1",
            "train: u3 The_Mill_0_0 1",
            "train: u4 The_Mill-2_0_0 1",
        ],
    );
    // The same question twice is a mistake, and the way on is one of the same command.
    let files = [("1.json", &*bare("u1")), ("2.json", &*bare("u1"))];
    let (_dir, report) = run(Format::Squad, &files, &ImportOptions::default());
    let error = report.unwrap_err();
    assert!(error.to_string().ends_with("query `u1` is already on line 1"), "{error}");
    let hint =
        "`samtone import squad --on-error skip` keeps the first and lists what it leaves out";
    assert_eq!(error.hint().unwrap(), hint);
}

#[test]
fn what_is_no_text_is_named_with_what_to_do() {
    let gzip = b"\x1F\x8B\x08\0\0\0\0\0\0\x03";
    let utf16 = utf_16("query,answer\n", u16::to_le_bytes);
    for (format, name, bytes, expected, hint) in [
        (
            Format::MsMarco,
            "collection.tsv",
            &gzip[..],
            "collection.tsv` is a gzip archive",
            "let its name end in `.gz`, and it is decompressed as it is read",
        ),
        (
            Format::Pairs,
            "a.jsonl",
            b"\x28\xB5\x2F\xFD\0\0",
            "a.jsonl` is a zstd archive",
            "let its name end in `.zst`, and it is decompressed as it is read",
        ),
        (
            Format::Squad,
            "a.json",
            gzip,
            "a.json` is a gzip archive",
            "let its name end in `.gz`, and it is decompressed as it is read",
        ),
        (
            Format::Columns,
            "a.csv",
            &utf16,
            "a.csv` is text in UTF-16",
            "`samtone import` reads it; without a byte order mark, with `--encoding utf-16le` or \
             `--encoding utf-16be`",
        ),
        (
            Format::Columns,
            "a.csv",
            b"query,answer\ngr\xF6\xDFe?,a!\n",
            "line 2: column 3: invalid UTF-8",
            "it looks like Windows-1252: `samtone import sentence-transformers --encoding \
             windows-1252` reads it",
        ),
        (
            Format::Columns,
            "a.csv",
            b"query,gr\xF6\xDFe\na?,a!\n",
            "the header cannot be read: column 9: invalid UTF-8",
            "it looks like Windows-1252: `samtone import sentence-transformers --encoding \
             windows-1252` reads it",
        ),
        (
            Format::Columns,
            "a.csv",
            b"query,answer\n\xE3\xF0\xE8\xE1?,a!\n",
            "line 2: column 1: invalid UTF-8",
            "if the file is in another encoding, say which: `samtone import sentence-transformers \
             --encoding LABEL`",
        ),
        (
            Format::Columns,
            "a.csv",
            b"\xFF\xFEq\0u\0e\0r\0y\0,\0a\0n\0s\0w\0e\0r\0\n\0a\0\0\xD8?\0,\0b\0",
            "line 2: column 2: no character in the encoding of the file",
            "if the file is in another encoding, say which: `samtone import sentence-transformers \
             --encoding LABEL`",
        ),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(name);
        fs::write(&path, bytes).unwrap();
        // Nothing of this is a record to be left out.
        let on_error = if expected.contains("line") { OnError::Fail } else { OnError::Skip };
        let options = ImportOptions { on_error, ..ImportOptions::default() };
        let error = import(format, &[path], &dir.path().join("out"), &options, &mut |_| {});
        let error = error.unwrap_err();
        assert!(error.to_string().ends_with(expected), "{error}");
        assert_eq!(error.hint().unwrap(), hint);
        assert!(!dir.path().join("out").exists());
    }
}

fn utf_16(text: &str, bytes: fn(u16) -> [u8; 2]) -> Vec<u8> {
    text.encode_utf16().flat_map(bytes).collect()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut gzip, bytes).unwrap();
    gzip.finish().unwrap()
}

#[test]
fn a_mark_or_the_caller_says_the_encoding() {
    let marked = |text: &str| format!("\u{FEFF}{text}");
    let csv = "query,answer\ngröße?,a €\n";
    let pair = r#"{"query":"größe?","positive":"a €"}"#;
    let squad = r#"{"data":[{"paragraphs":[{"context":"a €","qas":[{"id":"q0","question":"größe?","answers":[{"text":"€","answer_start":2}]}]}]}]}"#;
    let latin1 = b"query,answer\ngr\xF6\xDFe?,a \x80\n";
    let le = |text: &str| utf_16(text, u16::to_le_bytes);
    for (format, name, bytes, encoding) in [
        (Format::Columns, "a.csv", marked(csv).into_bytes(), None),
        (Format::Columns, "a.csv", le(&marked(csv)), None),
        (Format::Columns, "a.csv", utf_16(&marked(csv), u16::to_be_bytes), None),
        (Format::Columns, "a.csv.gz", gzip(&le(&marked(csv))), None),
        (Format::Columns, "a.csv", le(csv), Some("utf-16le")),
        (Format::Columns, "a.csv", latin1.to_vec(), Some("latin1")),
        (Format::Columns, "a.csv.gz", gzip(latin1), Some("windows-1252")),
        // The mark outranks the caller.
        (Format::Columns, "a.csv", le(&marked(csv)), Some("latin1")),
        (Format::Pairs, "a.jsonl", le(&marked(pair)), None),
        (Format::Squad, "a.json", le(&marked(squad)), None),
        (Format::Squad, "a.json", marked(squad).into_bytes(), None),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(name);
        fs::write(&path, &bytes).unwrap();
        let encoding = encoding.map(|label| label.parse().unwrap());
        let options = ImportOptions { encoding, ..ImportOptions::default() };
        import(format, &[path], &dir.path().join("out"), &options, &mut |_| {}).unwrap();
        let dataset = Dataset::load(&dir.path().join("out"), &["train"]).unwrap();
        let texts = (&*dataset.queries()[0].text, dataset.document(0).text);
        assert_eq!(texts, ("größe?", "a €"), "{name}, {encoding:?}");
    }
}

#[test]
fn trec_files_have_encodings_too() {
    let options =
        ImportOptions { encoding: Some("latin1".parse().unwrap()), ..ImportOptions::default() };
    let dir = tempfile::tempdir().unwrap();
    let files = [
        ("docs", b"<DOC><DOCNO>d</DOCNO><TEXT>gr\xF6\xDFe</TEXT></DOC>\n".to_vec()),
        (
            "topics",
            utf_16("\u{FEFF}<top><num>1<title>gr\u{f6}\u{df}e?\n</top>\n", u16::to_le_bytes),
        ),
        ("qrels", b"1 0 d 1\n".to_vec()),
    ];
    let inputs = files.map(|(name, bytes)| {
        fs::write(dir.path().join(name), bytes).unwrap();
        dir.path().join(name)
    });
    import(Format::Trec, &inputs, &dir.path().join("out"), &options, &mut |_| {}).unwrap();
    assert_eq!(written(dir.path(), &["train"]), ["d: |größe", "1: größe?", "train: 1 d 1"]);
}

/// The judgments of each split of the files imported, and the splits that the report gives files.
fn splits_of(format: Format, files: &[(&str, &str)], split: Option<&str>) -> (String, String) {
    let options = ImportOptions { split: split.map(str::to_owned), ..ImportOptions::default() };
    let (_dir, report) = run(format, files, &options);
    let report = report.unwrap();
    let judgments = report.judgments.iter().map(|(split, count)| format!("{split} {count}"));
    let files = report.files.iter().map(|file| {
        let name = file.path.file_name().unwrap().to_str().unwrap();
        format!("{name} {}", file.split)
    });
    (judgments.collect::<Vec<_>>().join(", "), files.collect::<Vec<_>>().join(", "))
}

#[test]
fn files_named_for_a_split_are_that_split() {
    let csv =
        ["question,answer\none?,a\n", "question,answer\ntwo?,b\n", "question,answer\nthree?,c\n"];
    let files =
        |names: &[&'static str]| -> Vec<(&str, &str)> { names.iter().copied().zip(csv).collect() };
    for (names, split, judgments, told) in [
        (
            &["train.csv", "dev.csv", "test.csv"][..],
            None,
            "dev 1, test 1, train 1",
            "train.csv train, dev.csv dev, test.csv test",
        ),
        (
            &["faq-train.csv", "faq-validation.csv"],
            None,
            "dev 1, train 1",
            "faq-train.csv train, faq-validation.csv dev",
        ),
        (&["faq.csv", "test.csv"], None, "test 1, train 1", "faq.csv train, test.csv test"),
        (&["test.csv"], None, "test 1", "test.csv test"),
        (&["faq-test.csv"], None, "train 1", ""),
        (&["a.csv", "b.csv"], None, "train 2", ""),
        (&["train.csv", "dev.csv", "test.csv"], Some("all"), "all 3", ""),
    ] {
        let expected = (judgments.to_owned(), told.to_owned());
        assert_eq!(splits_of(Format::Columns, &files(names), split), expected, "{names:?}");
    }
    let pair = |query| format!(r#"{{"query":"{query}","positive":"1"}}"#);
    let flag = |query| format!(r#"{{"query":"{query}","pos":["1"]}}"#);
    let ids = |query| format!(r#"{{"query_text":"{query}","positive_document_ids":["a"]}}"#);
    let corpus = r#"{"docid":"a","text":"1"}"#;
    let squad = |id| SQUAD.replace("\"x\"", id);
    for (format, files) in [
        (
            Format::Pairs,
            [("c.jsonl", pair("z")), ("train.jsonl", pair("a")), ("dev.jsonl", pair("b"))],
        ),
        (
            Format::FlagEmbedding,
            [("c.jsonl", flag("z")), ("train.jsonl", flag("a")), ("dev.jsonl", flag("b"))],
        ),
        (
            Format::Tevatron,
            [("c.jsonl", corpus.into()), ("train.jsonl", ids("a")), ("dev.jsonl", ids("b"))],
        ),
        (
            Format::Squad,
            [
                ("c.json", squad("\"z\"")),
                ("train-v1.1.json", squad("\"a\"")),
                ("dev-v1.1.json", squad("\"b\"")),
            ],
        ),
    ] {
        let files: Vec<(&str, &str)> = files.iter().map(|(name, text)| (*name, &**text)).collect();
        let (judgments, told) = splits_of(format, &files, None);
        assert!(
            judgments.starts_with("dev 1, train") || judgments.starts_with("dev 2, train"),
            "{judgments}"
        );
        // A file without a judgment has no split.
        let (train, dev) = (files[1].0, files[2].0);
        let rest =
            if format == Format::Tevatron { "" } else { &*format!("{} train, ", files[0].0) };
        assert_eq!(told, format!("{rest}{train} train, {dev} dev"));
    }
    // Other formats' names mean other things.
    let files = [
        ("qrels.test.tsv", "7\t0\t1\t1\n"),
        ("train.triples.tsv", "7\t1\t2\n"),
        ("queries.dev.tsv", "7\tone?\n"),
        ("collection.tsv", "1\tone\n2\ttwo\n"),
    ];
    let expected = ("test 1, train 2".to_owned(), String::new());
    assert_eq!(splits_of(Format::MsMarco, &files, None), expected);
}

#[test]
fn shares_are_taken_when_all_is_imported() {
    let rows: Vec<_> = (0..50).map(|i| format!("question {i},answer {i}\n")).collect();
    let text = format!("question,answer\n{}", rows.concat());
    let shares = |names: &[(&str, &str)]| -> Vec<_> {
        names.iter().map(|(name, share)| ((*name).to_owned(), share.parse().unwrap())).collect()
    };
    let both = shares(&[("dev", "10%"), ("test", "4")]);
    let mut chosen = Vec::new();
    for (gzip, seed) in [(false, 0), (true, 0), (false, 1)] {
        let options =
            ImportOptions { shares: both.clone(), seed, gzip, ..ImportOptions::default() };
        let (dir, report) = run(Format::Columns, &[("faq.csv", &text)], &options);
        let report = report.unwrap();
        let sizes: Vec<_> =
            report.judgments.iter().map(|(name, &count)| (&**name, count)).collect();
        assert_eq!(sizes, [("dev", 5), ("test", 4), ("train", 41)]);
        let split = report.split.unwrap();
        assert_eq!((split.splits[0].queries, split.components, split.largest), (41, 50, 1));
        let qrels = fs::read_dir(dir.path().join("out/qrels")).unwrap().flatten();
        assert!(
            qrels
                .map(|it| it.path())
                .all(|it| it.extension().unwrap() == if gzip { "gz" } else { "tsv" })
        );
        chosen.push(written(dir.path(), &["dev"]));
    }
    assert_eq!(chosen[0], chosen[1]);
    assert_ne!(chosen[0], chosen[2]);
    // The folder that messages name is the one that was to be.
    for (split, shares, files, message) in [
        (None, &both, vec![("dev.csv", &*text)], "out` has no split `train`"),
        (
            None,
            &both,
            vec![("train.csv", &text), ("dev.csv", &text)],
            "out`, split `train`: there is a split `dev` already",
        ),
        (
            Some("all"),
            &shares(&[("dev", "50")]),
            vec![("a.csv", &text)],
            "out`, split `all`: 50 queries are asked for, of 50, and nothing would be left",
        ),
    ] {
        let options = ImportOptions {
            split: split.map(str::to_owned),
            shares: shares.clone(),
            ..ImportOptions::default()
        };
        let (dir, report) = run(Format::Columns, &files, &options);
        let error = report.unwrap_err().to_string();
        let expected = format!("`{}/{message}", dir.path().display());
        assert_eq!(error, expected);
        assert!(!dir.path().join("out").exists());
    }
}
