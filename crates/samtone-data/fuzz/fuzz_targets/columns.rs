//! Columns as JSON lines, CSV and TSV.
#![no_main]

use std::{io::Cursor, path::Path};

use libfuzzer_sys::fuzz_target;
use samtone_data::{
    import::columns::{QuoteState, Row, fields, parse_json, write_fields, write_json},
    lines::{Line, Lines},
};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(row) = parse_json(Line { number: 1, bytes }) {
        let mut out = Vec::new();
        write_json(&mut out, &row).unwrap();
        assert_eq!(parse_json(Line { number: 1, bytes: &out }).as_ref(), Ok(&row));
        let _ = row.into_example();
    }
    for delimiter in [b',', b'\t'] {
        let mut lines = Lines::new(Path::new("fuzz"), Box::new(Cursor::new(bytes.to_vec())));
        loop {
            let mut state = QuoteState::default();
            let record = lines.next_until(|bytes| state.is_complete(bytes, delimiter));
            let Ok(Some(line)) = record else { break };
            let Ok(read) = fields(line, delimiter) else { continue };
            let mut out = Vec::new();
            write_fields(&mut out, &read, delimiter).unwrap();
            out.pop();
            assert!(QuoteState::default().is_complete(&out, delimiter));
            assert_eq!(fields(Line { number: 1, bytes: &out }, delimiter).as_ref(), Ok(&read));
            let names = (0..read.len()).map(|i| format!("c{i}").into());
            let _ = Row(names.zip(read).collect()).into_example();
        }
    }
});
