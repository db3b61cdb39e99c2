//! Cache files: any bytes at all, and any body under a right header and checksum.
#![no_main]

use std::fs;
use std::path::PathBuf;

use libfuzzer_sys::fuzz_target;
use samtone_text::{TokenCache, seal};

fn path() -> PathBuf {
    let folder = std::env::temp_dir();
    folder.join(format!("samtone-fuzz-cache-{}", std::process::id()))
}

fuzz_target!(|bytes: &[u8]| {
    let path = path();
    let key = [7; 32];
    for file in [bytes.to_vec(), seal(&key, bytes)] {
        fs::write(&path, file).unwrap();
        if let Some(cache) = TokenCache::open(&path, &key).unwrap() {
            for row in 0..cache.len() {
                assert_eq!(cache.row(row).len(), cache.row_len(row));
            }
        }
    }
});
