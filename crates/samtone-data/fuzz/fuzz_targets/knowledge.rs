//! Triples, sentences and questions with answers.
#![no_main]

use libfuzzer_sys::fuzz_target;
use samtone_data::reading::{Line, QaPair, Triple};
use samtone_skill::Sentence;

fuzz_target!(|bytes: &[u8]| {
    let line = Line { number: 1, bytes };
    if let Ok(triple) = Triple::parse(line) {
        let out = format!("{}\t{}\t{}", triple.subject, triple.relation, triple.object);
        assert_eq!(out.as_bytes(), bytes);
    }
    if let Ok(Some(sentence)) = Sentence::parse(line) {
        assert!(sentence.spans.iter().all(|span| !sentence.text[span.clone()].is_empty()));
        assert!(sentence.spans.is_sorted_by_key(|span| (span.start, span.end)));
    }
    if let Ok(pair) = QaPair::parse(line) {
        let out = serde_json::to_vec(&pair).unwrap();
        assert_eq!(QaPair::parse(Line { number: 1, bytes: &out }), Ok(pair));
    }
});
