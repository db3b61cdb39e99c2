//! Lines of `corpus.jsonl`, `queries.jsonl` and `qrels/*.tsv`: no panic, and what is read is written and
//! read back the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use samtone_data::reading::{DocumentLine, JudgmentLine, Line, QueryLine, write_document, write_query};

fuzz_target!(|bytes: &[u8]| {
    for number in [1, 2] {
        let line = Line { number, bytes };
        if let Ok(document) = DocumentLine::parse(line) {
            let mut out = Vec::new();
            write_document(&mut out, &document.id, &document.title, &document.text).unwrap();
            let line = Line { number, bytes: out.trim_ascii_end() };
            assert_eq!(DocumentLine::parse(line), Ok(document));
        }
        if let Ok(query) = QueryLine::parse(line) {
            let mut out = Vec::new();
            write_query(&mut out, &query.id, &query.text).unwrap();
            let line = Line { number, bytes: out.trim_ascii_end() };
            assert_eq!(QueryLine::parse(line), Ok(query));
        }
        if let Ok(Some(judgment)) = JudgmentLine::parse(line) {
            let JudgmentLine { query_id, document_id, grade } = judgment;
            let out = format!("{query_id}\t{document_id}\t{grade}");
            let line = Line { number, bytes: out.as_bytes() };
            assert_eq!(JudgmentLine::parse(line), Ok(Some(judgment)));
        }
    }
});
