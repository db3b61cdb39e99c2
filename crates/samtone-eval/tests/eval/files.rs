//! Reading and writing: what is accepted, and what is refused with file and line.

use proptest::prelude::*;
use samtone_eval::{EvalError, Metric, Qrels, Run};

#[track_caller]
fn run_error(text: &str, expected: &str) {
    let error = Run::parse("r.trec", text).expect_err("the run is wrong");
    assert_eq!(error.to_string(), expected);
}

#[track_caller]
fn qrels_error(text: &str, expected: &str) {
    let error = Qrels::parse("q.tsv", text).expect_err("the judgments are wrong");
    assert_eq!(error.to_string(), expected);
}

#[test]
fn wrong_lines_of_a_run_are_named() {
    let six = "expected `query Q0 document rank score tag`";
    run_error("q Q0 d 1 0.5 t\nq Q0 e 2 0.4\n", &format!("`r.trec`, line 2: {six}, got 5 columns"));
    run_error("\n\nq Q0 d 1 0.5 t u\n", &format!("`r.trec`, line 3: {six}, got 7 columns"));
    run_error("q Q0 d 1 high t", "`r.trec`, line 1: expected a number as the score, got `high`");
    run_error("q Q0 d 1 NaN t", "`r.trec`, line 1: expected a number as the score, got `NaN`");
    run_error(
        "q Q0 d 1 2 t\nq Q0 e 2 1 t\np Q0 d 1 3 t\nq Q0 d 3 0 t\n",
        "`r.trec`, line 4: document `d` appears twice for query `q`, first on line 1",
    );
}

#[test]
fn wrong_lines_of_judgments_are_named() {
    qrels_error(
        "q 0 d 1\nq 0 e\n",
        "`q.tsv`, line 2: expected `query 0 document grade`, got 3 columns",
    );
    qrels_error(
        "query-id\tcorpus-id\tscore\nq\td\t1\nq\te\t0.5\n",
        "`q.tsv`, line 3: expected a whole number as the grade, got `0.5`",
    );
    qrels_error(
        "query-id\tcorpus-id\tscore\nq\td\n",
        "`q.tsv`, line 2: expected `query-id corpus-id score` between tabs, got 2 columns",
    );
    qrels_error(
        "q\td\t1\nq\td\t1\n",
        "`q.tsv`, line 2: document `d` appears twice for query `q`, first on line 1",
    );
}

#[test]
fn the_first_line_is_a_header_only_if_it_names_the_columns() {
    for header in [
        "query-id\tcorpus-id\tscore",
        "query_id\tcorpus_id\tscore\r",
        "\u{feff}Query-ID\tDoc-ID\tRelevance",
        "qid\tpid\tlabel",
    ] {
        let qrels = Qrels::parse("q", &format!("{header}\nq\td\t1\n")).unwrap();
        assert!(qrels.queries().eq(["q"]), "{header}");
    }
    let qrels = Qrels::parse("q", "query-id-1\td1\t1\nq2\td2\t1\n").unwrap();
    assert!(qrels.queries().eq(["query-id-1", "q2"]));
    let trec = Qrels::parse("q", "query-id 0 corpus-id 1\nq2 0 d2 1\n").unwrap();
    assert!(trec.queries().eq(["query-id", "q2"]));
    for grade in ["1.0", "yes", "score"] {
        qrels_error(
            &format!("query-id-1\td1\t{grade}\n"),
            &format!("`q.tsv`, line 1: expected a whole number as the grade, got `{grade}`"),
        );
    }
    qrels_error(
        "query-id\tcorpus-id\n",
        "`q.tsv`, line 1: expected `query 0 document grade`, got 2 columns",
    );
}

#[test]
fn a_compressed_file_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.trec");
    let starts = [("gzip", b"\x1f\x8b\x08\0".as_slice()), ("zstd", b"\x28\xb5\x2f\xfd\0")];
    for (expected, bytes) in starts {
        std::fs::write(&path, bytes).unwrap();
        for error in [Run::read(&path).err(), Qrels::read(&path).err()] {
            let error = error.unwrap();
            let EvalError::Compressed { compression, .. } = error else { panic!("{error}") };
            assert_eq!(compression, expected);
            assert!(error.hint().unwrap().contains(&format!("`{expected} -d`")));
        }
    }
}

#[test]
fn bytes_that_are_no_text_and_files_that_are_not_there_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.trec");
    std::fs::write(&path, b"q Q0 d 1 0.5 t\nq Q0 \xff 2 0.4 t\n").unwrap();
    assert!(matches!(Run::read(&path), Err(EvalError::Utf8 { line: 2, .. })));
    assert!(matches!(Run::read(folder.path().join("no")), Err(EvalError::Read { .. })));
}

#[test]
fn a_byte_order_mark_is_no_part_of_an_id() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("test.tsv");
    std::fs::write(&path, "\u{feff}query-id\tcorpus-id\tscore\nq\td\t1\n").unwrap();
    assert_eq!(Qrels::read(&path).unwrap().grade("q", "d"), Some(1));
    std::fs::write(&path, "\u{feff}q Q0 d 1 0.5 t\n").unwrap();
    assert!(Run::read(&path).unwrap().queries().eq(["q"]));
}

#[test]
fn lines_may_be_blank_apart_and_end_in_any_way() {
    let run = Run::parse("r", "q Q0 a 1 2 t\r\n\r\np\tQ0\tb\t1\t1\tt\n \nq Q0 c 2 1 t").unwrap();
    assert!(run.queries().eq(["q", "p"]));
    assert!(run.documents("q").eq([("a", 2.0), ("c", 1.0)]));
    assert_eq!(run.documents("absent").count(), 0);
    let beir = Qrels::parse("q", "query-id\tcorpus-id\tscore\r\nq 1\td 1\t2\r\n").unwrap();
    assert_eq!(beir.grade("q 1", "d 1"), Some(2));
    assert!(Qrels::parse("q", "").unwrap().is_empty());
}

#[test]
fn many_lines_are_read_in_parts_that_join() {
    // Several of the reader's parts, queries across their borders, blank lines between.
    let mut text = String::new();
    for i in 0..120_000 {
        text += ["", "\n"][usize::from(i % 1000 == 0)];
        text +=
            &["q", &(i / 700).to_string(), " Q0 document", &i.to_string(), " 1 0.5 t\n"].concat();
    }
    let run = Run::parse("r", &text).unwrap();
    let ids = (0..120_000).map(|i| format!("document{i}"));
    let queries: Vec<String> = run.queries().map(str::to_owned).collect();
    assert!(queries.iter().flat_map(|q| run.documents(q)).map(|(id, _)| id.to_owned()).eq(ids));
    text += "q5 Q0 document3500 1 0.5 t\n";
    let error = Run::parse("r", &text).unwrap_err();
    assert!(
        matches!(error, EvalError::DuplicateLine { line: 120_121, first: 3505, .. }),
        "{error}"
    );
}

#[test]
fn an_id_with_white_space_cannot_be_written() {
    let folder = tempfile::tempdir().unwrap();
    let run = Run::new([("q 1", "d", 1.0)]).unwrap();
    let error = run.write(folder.path().join("r"), "t").unwrap_err();
    assert!(matches!(error, EvalError::UnwritableId { .. }));
    assert!(!folder.path().join("r").exists());
    let run = Run::new([("q", "d", 1.0)]).unwrap();
    for tag in ["", "a b"] {
        assert!(matches!(run.check_ids(tag), Err(EvalError::UnwritableId { id }) if id == tag));
    }
    let mut out = Vec::new();
    run.check_ids("t").unwrap();
    run.write_to(&mut out, "t").unwrap();
    assert_eq!(out, b"q Q0 d 1 1 t\n");
}

#[test]
fn judgments_have_one_fingerprint_in_any_order() {
    let a = Qrels::new([("q", "d", 1), ("q", "e", 0), ("p", "d", 2)]).unwrap();
    let b = Qrels::new([("p", "d", 2), ("q", "e", 0), ("q", "d", 1)]).unwrap();
    let c = Qrels::new([("p", "d", 2), ("q", "e", 1), ("q", "d", 1)]).unwrap();
    assert_eq!(a.fingerprint(), b.fingerprint());
    assert_ne!(a.fingerprint(), c.fingerprint());
}

proptest! {
    #[test]
    fn a_run_written_and_read_is_the_same(
        rows in prop::collection::hash_map(
            ("[a-z]{1,3}", "[^\\s\u{b}\u{85}\u{a0}]{1,12}"),
            prop::num::f64::NORMAL | prop::num::f64::ZERO | prop::num::f64::SUBNORMAL, 0..60),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run.trec");
        let run = Run::new(rows.iter().map(|((q, d), &score)| (q, d, score))).unwrap();
        run.write(&path, "t").unwrap();
        let read = Run::read(&path).unwrap();
        prop_assert_eq!(run.len(), read.len());
        for query in run.queries() {
            let mut given: Vec<_> = run.documents(query).collect();
            given.sort_by(|a, b| b.1.total_cmp(&a.1));
            prop_assert!(given.into_iter().eq(read.documents(query)));
        }
    }

    #[test]
    fn any_text_is_read_or_refused_without_panic(text in "[a0q \t\n.1é-]{0,200}") {
        drop(Run::parse("r", &text));
        drop(Qrels::parse("q", &text));
        drop(text.parse::<Metric>());
    }
}

#[test]
fn metrics_print_as_they_are_read() {
    for (given, printed) in [
        ("ndcg@10", "ndcg@10"),
        ("nDCG@10", "ndcg@10"),
        ("ndcg_cut_10", "ndcg@10"),
        ("ndcg_at_10", "ndcg@10"),
        ("NDCG", "ndcg"),
        ("nDCG(dcg='exp-log2')@5", "ndcg_exp@5"),
        ("ndcg_burges@5", "ndcg_exp@5"),
        ("RR@10", "mrr@10"),
        ("RR", "mrr"),
        ("recip_rank", "mrr"),
        ("AP", "map"),
        ("AP@100", "map@100"),
        ("AP(rel=2)", "map(rel=2)"),
        ("map-l2", "map(rel=2)"),
        ("map_cut_100", "map@100"),
        ("R@100", "recall@100"),
        ("recall_100", "recall@100"),
        ("P@1", "p@1"),
        ("P_10", "p@10"),
        ("P(rel=2)@10", "p(rel=2)@10"),
        ("precision@5", "p@5"),
        ("Success@1", "success@1"),
        ("hit_rate@1", "success@1"),
        ("accuracy@1", "success@1"),
        ("Rprec", "r_precision"),
        ("r-precision", "r_precision"),
        ("bpref", "bpref"),
        ("Judged@10", "judged@10"),
        ("hole@10", "holes@10"),
        ("mrr@5-l2", "mrr(rel=2)@5"),
    ] {
        let metric: Metric = given.parse().unwrap();
        assert_eq!(metric.to_string(), printed, "{given}");
        assert_eq!(printed.parse::<Metric>().unwrap(), metric);
    }
    for wrong in [
        "",
        "ndgc@10",
        "ndcg@",
        "ndcg@0",
        "ndcg@-1",
        "ndcg@+1",
        "p",
        "success",
        "bpref@10",
        "ndcg(rel=2)@10",
        "judged(rel=2)@5",
        "p(rel=x)@5",
        "p(rel=2@5",
        "_10",
    ] {
        assert!(wrong.parse::<Metric>().is_err(), "{wrong}");
    }
}
