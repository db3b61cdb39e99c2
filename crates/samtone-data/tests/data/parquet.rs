//! Parquet files of sentence-transformers' columns.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use parquet::basic::Compression;
use parquet::data_type::{ByteArray, ByteArrayType, Int64Type};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use proptest::prelude::*;
use samtone_data::import::{ColumnNames, ColumnRole, Format, ImportOptions, OnError, import};
use samtone_data::{DataError, Dataset};

/// Writes rows of three texts and a label, in row groups of three rows.
fn write(path: &Path, compression: Compression, rows: &[([Option<&str>; 3], i64)]) {
    let schema = "message rows {
        optional binary anchor (UTF8); optional binary positive (UTF8);
        optional binary negative (UTF8); required int64 label;
    }";
    let properties = WriterProperties::builder().set_compression(compression).build();
    let mut writer = SerializedFileWriter::new(
        fs::File::create(path).unwrap(),
        Arc::new(parse_message_type(schema).unwrap()),
        Arc::new(properties),
    )
    .unwrap();
    for rows in rows.chunks(3) {
        let mut group = writer.next_row_group().unwrap();
        for column in 0..3 {
            let texts = rows.iter().map(|(texts, _)| texts[column]);
            let levels: Vec<i16> = texts.clone().map(|text| i16::from(text.is_some())).collect();
            let values: Vec<ByteArray> = texts.flatten().map(ByteArray::from).collect();
            let mut column = group.next_column().unwrap().unwrap();
            let typed = column.typed::<ByteArrayType>();
            typed.write_batch(&values, Some(&levels), None).unwrap();
            column.close().unwrap();
        }
        let labels: Vec<i64> = rows.iter().map(|(_, label)| *label).collect();
        let mut column = group.next_column().unwrap().unwrap();
        column.typed::<Int64Type>().write_batch(&labels, None, None).unwrap();
        column.close().unwrap();
        group.close().unwrap();
    }
    writer.close().unwrap();
}

fn rows_of(folder: &Path) -> Vec<String> {
    let dataset = Dataset::load(folder, &["train"]).unwrap();
    let text = |id: &str| dataset.document(dataset.document_index(id).unwrap()).text.to_owned();
    let query = |id: &str| dataset.queries()[dataset.query_index(id).unwrap()].text.clone();
    dataset
        .qrels("train")
        .map(|(q, d, grade)| format!("{} | {} | {grade}", query(q), text(d)))
        .collect()
}

#[test]
fn every_compression_is_read() {
    let rows = [
        ([Some("one?"), Some("one"), Some("two")], 1),
        ([Some("two?"), Some("two"), Some("three")], 1),
        ([Some("two?"), Some("one"), Some("four")], 0),
        ([Some("größe?"), Some("\u{1F600}"), Some("5")], 1),
    ];
    for compression in [
        Compression::UNCOMPRESSED,
        Compression::SNAPPY,
        Compression::GZIP(parquet::basic::GzipLevel::default()),
        Compression::LZ4_RAW,
        Compression::ZSTD(parquet::basic::ZstdLevel::default()),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let (path, out) = (dir.path().join("train.parquet"), dir.path().join("out"));
        write(&path, compression, &rows);
        let options = ImportOptions::default();
        let mut last = None;
        let report =
            import(Format::Columns, &[path], &out, &options, &mut |p| last = Some(p)).unwrap();
        assert_eq!(report.skipped_in_all(), 0);
        let last = last.unwrap();
        assert_eq!((last.bytes, last.records), (last.total_bytes, 4));
        assert_eq!(
            rows_of(&out),
            [
                "one? | one | 1",
                "one? | two | 0",
                "two? | two | 1",
                "two? | three | 0",
                "two? | four | 0",
                "two? | one | 0",
                "größe? | \u{1F600} | 1",
                "größe? | 5 | 0",
            ]
        );
    }
}

#[test]
fn wrong_rows_are_named_or_skipped() {
    let rows = [
        ([Some("one?"), Some("1"), Some("two")], 1),
        ([Some("two?"), None, Some("3")], 1),
        ([Some("three?"), Some(" "), Some("3")], 1),
        ([Some("four?"), Some("4"), Some("5")], 7),
    ];
    let dir = tempfile::tempdir().unwrap();
    let (path, out) = (dir.path().join("train.parquet"), dir.path().join("out"));
    write(&path, Compression::SNAPPY, &rows);
    let inputs = [path];
    let fail = import(Format::Columns, &inputs, &out, &ImportOptions::default(), &mut |_| {});
    let error = fail.unwrap_err().to_string();
    assert!(
        error.ends_with("line 2: field `column`: expected a text, got `null in column `positive``"),
        "{error}"
    );
    let options = ImportOptions { on_error: OnError::Skip, ..ImportOptions::default() };
    let report = import(Format::Columns, &inputs, &out, &options, &mut |_| {}).unwrap();
    assert_eq!((report.queries, report.skipped_in_all()), (1, 3));
}

#[test]
fn columns_are_taken_by_their_names() {
    let rows = [([Some("one?"), Some("one"), Some("two")], 0)];
    let dir = tempfile::tempdir().unwrap();
    let (path, out) = (dir.path().join("train.parquet"), dir.path().join("out"));
    write(&path, Compression::SNAPPY, &rows);
    let columns = ColumnNames {
        query: Some("negative".to_owned()),
        positive: Some("anchor".to_owned()),
        ignored: vec!["label".to_owned()],
        ..ColumnNames::default()
    };
    let inputs = [path];
    let options = ImportOptions { columns, ..ImportOptions::default() };
    let report = import(Format::Columns, &inputs, &out, &options, &mut |_| {}).unwrap();
    assert_eq!(rows_of(&out), ["two | one? | 1"]);
    let roles: Vec<_> = report.columns[0].columns.iter().map(|column| column.role).collect();
    let [query, positive, aside] = [ColumnRole::Query, ColumnRole::Positive, ColumnRole::Ignored];
    assert_eq!(roles, [positive, aside, query, aside]);
    let columns = ColumnNames { query: Some("title".to_owned()), ..ColumnNames::default() };
    let options = ImportOptions { columns, ..ImportOptions::default() };
    let other = dir.path().join("other");
    let error = import(Format::Columns, &inputs, &other, &options, &mut |_| {}).unwrap_err();
    assert!(error.to_string().ends_with("there is no column `title`"), "{error}");
}

#[test]
fn a_file_that_is_no_parquet_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let (path, out) = (dir.path().join("train.parquet"), dir.path().join("out"));
    write(&path, Compression::SNAPPY, &[([Some("one?"), Some("1"), Some("2")], 1)]);
    let whole = fs::read(&path).unwrap();
    for cut in [0, 3, whole.len() / 2, whole.len() - 1] {
        fs::write(&path, &whole[..cut]).unwrap();
        let inputs = [path.clone()];
        let options = ImportOptions::default();
        let error = import(Format::Columns, &inputs, &out, &options, &mut |_| {}).unwrap_err();
        assert!(matches!(error, DataError::Read { .. }), "{error}");
        assert!(!out.exists());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn columns_come_back(
        rows in prop::collection::vec(prop::array::uniform3("\\PC*[a-zé]\\PC*"), 1..8),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let (path, out) = (dir.path().join("train.parquet"), dir.path().join("out"));
        let borrowed: Vec<_> =
            rows.iter().map(|row| (row.each_ref().map(|text| Some(text.as_str())), 1)).collect();
        write(&path, Compression::SNAPPY, &borrowed);
        import(Format::Columns, &[path], &out, &ImportOptions::default(), &mut |_| {}).unwrap();
        // A positive outweighs a negative, wherever it stands.
        let positives: Vec<_> = rows.iter().map(|[query, positive, _]| (query, positive)).collect();
        let mut expected: Vec<String> = Vec::new();
        for [query, positive, negative] in &rows {
            let negative =
                Some((negative, 0)).filter(|(text, _)| !positives.contains(&(query, *text)));
            for (text, grade) in [(positive, 1)].into_iter().chain(negative) {
                let judged = format!("{query} | {text} | {grade}");
                if !expected.contains(&judged) {
                    expected.push(judged);
                }
            }
        }
        prop_assert_eq!(rows_of(&out), expected);
    }
}
