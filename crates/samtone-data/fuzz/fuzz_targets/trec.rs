//! TREC topics and documents: records of a file, and any bytes as one record.
#![no_main]

use std::io::Cursor;
use std::path::Path;

use libfuzzer_sys::fuzz_target;
use samtone_data::import::trec::{Kind, TrecRecords, parse_document, parse_topic};
use samtone_data::reading::{Line, Lines};

fuzz_target!(|bytes: &[u8]| {
    let parse = |line: Line<'_>| {
        let _ = parse_topic(line);
        if let Ok(document) = parse_document(line) {
            for text in [document.id, document.title, document.text] {
                assert!(text.split_whitespace().eq(text.split(' ').filter(|word| !word.is_empty())));
                assert!(!text.contains("  ") && text.trim() == text);
            }
        }
    };
    parse(Line { number: 1, bytes });
    for kind in [Kind::Documents, Kind::Topics] {
        let lines = Lines::new(Path::new("fuzz"), Box::new(Cursor::new(bytes.to_vec())));
        let mut records = TrecRecords::new(kind, lines);
        let (mut last, mut calls) = (1, 0);
        loop {
            // Every call takes some of the bytes.
            calls += 1;
            assert!(calls <= bytes.len() + 1, "the records do not end");
            match records.next() {
                Ok(None) => break,
                Ok(Some(record)) => {
                    assert!(record.number >= last && record.bytes.starts_with(b"<"));
                    last = record.number;
                    parse(record);
                }
                Err(_) => {}
            }
        }
    }
});
