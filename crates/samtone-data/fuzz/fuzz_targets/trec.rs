//! TREC topics and documents.
#![no_main]

use libfuzzer_sys::fuzz_target;
use samtone_data::{
    import::trec::{parse_document, parse_topic},
    lines::Line,
};

fuzz_target!(|bytes: &[u8]| {
    let line = Line { number: 1, bytes };
    let _ = (parse_topic(line), parse_document(line));
});
