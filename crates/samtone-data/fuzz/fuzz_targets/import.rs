//! Whole imports: the first byte says of what, the rest is the file. No panic, and what is written is a
//! folder that reads.
#![no_main]

use std::{fs, path::PathBuf};

use libfuzzer_sys::fuzz_target;
use samtone_data::{
    Dataset,
    import::{Format, ImportOptions, OnError, import},
};

const KINDS: [(Format, &str); 6] = [
    (Format::Pairs, "a.jsonl"),
    (Format::FlagEmbedding, "a.jsonl"),
    (Format::Tevatron, "a.jsonl"),
    (Format::Columns, "a.jsonl"),
    (Format::Columns, "a.csv"),
    (Format::Squad, "a.json"),
];

fn folder() -> PathBuf {
    std::env::temp_dir().join(format!("samtone-fuzz-import-{}", std::process::id()))
}

fuzz_target!(|bytes: &[u8]| {
    let Some((kind, bytes)) = bytes.split_first() else { return };
    let (format, name) = KINDS[usize::from(kind >> 1) % KINDS.len()];
    let folder = folder();
    let out = folder.join("out");
    let _ = fs::remove_dir_all(&out);
    fs::create_dir_all(&folder).unwrap();
    let input = folder.join(name);
    fs::write(&input, bytes).unwrap();
    let rename_ids = kind & 1 == 1;
    let options = ImportOptions { rename_ids, on_error: OnError::Skip, ..ImportOptions::default() };
    let Ok(report) = import(format, &[input.clone()], &out, &options, &mut |_| {}) else { return };
    let judged = report.judgments.get("train").copied().unwrap_or_default();
    let splits: &[&str] = if judged > 0 { &["train"] } else { &[] };
    let dataset = Dataset::load(&out, splits).unwrap();
    assert_eq!(dataset.documents().len() as u64, report.documents);
    assert_eq!(dataset.queries().len() as u64, report.queries);
    assert_eq!(dataset.judgments("train").len() as u64, judged);
    if format == Format::Pairs && report.skipped_in_all() == 0 && !rename_ids {
        let pairs = Dataset::load_pairs(&input, "train").unwrap();
        assert!(pairs.documents().eq(dataset.documents()));
        assert_eq!(pairs.queries(), dataset.queries());
    }
});
