//! The sums that the hub gives to files, and by which a cache names them.

use std::fs::File;
use std::io;

use sha1::Sha1;
use sha2::{Digest, Sha256};

use crate::name::is_hexadecimal;

/// What a sum looks like.
pub(super) const SUM: &str = "40 or 64 hexadecimal digits";

/// Whether `text` is the sum of a file, and so may become a blob's name.
pub(super) fn is_sum(text: &str) -> bool {
    matches!(text.len(), 40 | 64) && is_hexadecimal(text)
}

/// The sum of a file in the form that `like` has: SHA-256, or git's SHA-1 of a blob.
pub(super) fn of_file(file: &mut File, like: &str) -> io::Result<String> {
    if like.len() == 64 {
        let mut sum = Sha256::new();
        io::copy(file, &mut sum)?;
        return Ok(format!("{:x}", sum.finalize()));
    }
    let mut sum = Sha1::new_with_prefix(format!("blob {}\0", file.metadata()?.len()));
    io::copy(file, &mut sum)?;
    Ok(format!("{:x}", sum.finalize()))
}
