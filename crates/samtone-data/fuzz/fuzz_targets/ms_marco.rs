//! Lines of MS MARCO's four files.
#![no_main]

use libfuzzer_sys::fuzz_target;
use samtone_data::import::ms_marco::{parse_document, parse_judgment, parse_query, parse_triple};
use samtone_data::reading::Line;

fuzz_target!(|bytes: &[u8]| {
    let line = Line { number: 1, bytes };
    let _ = (parse_document(line), parse_triple(line));
    if let Ok((id, text)) = parse_query(line) {
        assert_eq!(format!("{id}\t{text}").as_bytes(), bytes);
    }
    if let Ok((query, document, grade)) = parse_judgment(line) {
        let out = format!("{query} 0 {document} {grade}");
        let again = Line { number: 1, bytes: out.as_bytes() };
        assert_eq!(parse_judgment(again), Ok((query, document, grade)));
    }
});
