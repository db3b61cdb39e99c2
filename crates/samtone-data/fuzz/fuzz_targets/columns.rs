//! Columns as JSON lines and as separated values: no panic, and records written are read back the same.
#![no_main]

use std::io::Cursor;
use std::path::Path;

use libfuzzer_sys::fuzz_target;
use samtone_data::import::columns::{RecordReader, parse_json};
use samtone_data::reading::{Line, Lines};

/// The records of a file of separated values, up to the first that is none.
fn records(bytes: Vec<u8>, delimiter: u8) -> Vec<Vec<String>> {
    let mut lines = Lines::new(Path::new("fuzz"), Box::new(Cursor::new(bytes)));
    let mut reader = RecordReader::new(delimiter);
    let mut records = Vec::new();
    while let Ok(Some(line)) = reader.next(&mut lines) {
        let Ok(fields) = reader.fields(line) else { break };
        records.push(fields);
    }
    records
}

fuzz_target!(|bytes: &[u8]| {
    let _ = parse_json(Line { number: 1, bytes });
    for delimiter in *b",;\t|" {
        let read = records(bytes.to_vec(), delimiter);
        // A byte order mark at the start of a file is none of its content: what begins with one needs
        // another before it.
        let mut writer = csv::WriterBuilder::new();
        let mut writer =
            writer.delimiter(delimiter).flexible(true).from_writer(b"\xEF\xBB\xBF".to_vec());
        for record in &read {
            writer.write_record(record).unwrap();
        }
        assert_eq!(records(writer.into_inner().unwrap(), delimiter), read);
    }
});
