//! Lines of pairs, of FlagEmbedding and of Tevatron.
#![no_main]

use libfuzzer_sys::fuzz_target;
use samtone_data::import::{flag_embedding, pairs, tevatron};
use samtone_data::reading::Line;

fuzz_target!(|bytes: &[u8]| {
    let line = Line { number: 1, bytes };
    if let Ok(example) = pairs::parse(line) {
        let mut out = Vec::new();
        pairs::write(&mut out, &example).unwrap();
        assert_eq!(pairs::parse(Line { number: 1, bytes: &out }), Ok(example));
    }
    if let Ok(example) = flag_embedding::parse(line) {
        let mut out = Vec::new();
        flag_embedding::write(&mut out, &example).unwrap();
        assert_eq!(flag_embedding::parse(Line { number: 1, bytes: &out }), Ok(example));
    }
    if let Ok(record) = tevatron::parse(line) {
        let mut out = Vec::new();
        tevatron::write(&mut out, &record).unwrap();
        assert_eq!(tevatron::parse(Line { number: 1, bytes: &out }), Ok(record));
    }
});
