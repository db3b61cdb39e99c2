//! Lines of plain, gzip and zstd files, the first byte says which; the rest is the file.
#![no_main]

use std::io::Cursor;
use std::path::Path;

use libfuzzer_sys::fuzz_target;
use samtone_data::reading::{Compression, Lines, decompress};

/// Archives unpack to a thousand times their size and more; what is read of them is bounded here.
const LINES: usize = 10_000;

fuzz_target!(|bytes: &[u8]| {
    let Some((kind, bytes)) = bytes.split_first() else { return };
    let compression = Compression::ALL[usize::from(*kind) % 3];
    let reader = decompress(Cursor::new(bytes.to_vec()), compression);
    let mut lines = Lines::new(Path::new("fuzz"), reader);
    let mut last = 0;
    for _ in 0..LINES {
        let Ok(Some(line)) = lines.next() else { break };
        assert!(line.number > last && !line.bytes.is_empty());
        last = line.number;
    }
});
