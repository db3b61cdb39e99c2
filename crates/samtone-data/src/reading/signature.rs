//! What a file is, by its first bytes, where it is no text.

/// A kind of file that no reader of texts takes as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Signature {
    /// A gzip archive.
    Gzip,
    /// A zstd archive.
    Zstd,
    /// A bzip2 archive.
    Bzip2,
    /// An xz archive.
    Xz,
    /// A zip archive, or a file of an office program, which is one.
    Zip,
    /// A Parquet file.
    Parquet,
    /// Text in UTF-16.
    Utf16,
}

impl Signature {
    const STARTS: [(&'static [u8], Self); 8] = [
        (b"\x1F\x8B", Self::Gzip),
        (b"\x28\xB5\x2F\xFD", Self::Zstd),
        (b"BZh", Self::Bzip2),
        (b"\xFD7zXZ\0", Self::Xz),
        (b"PK\x03\x04", Self::Zip),
        (b"PAR1", Self::Parquet),
        (b"\xFF\xFE", Self::Utf16),
        (b"\xFE\xFF", Self::Utf16),
    ];

    /// The kind of a file that begins with these bytes; `None` for what may be text.
    pub(crate) fn of(start: &[u8]) -> Option<Self> {
        let by_start = Self::STARTS.iter().find(|(mark, _)| start.starts_with(mark));
        by_start.map(|(_, kind)| *kind).or_else(|| is_half_zero(start).then_some(Self::Utf16))
    }

    /// What such a file is.
    pub fn name(self) -> &'static str {
        match self {
            Self::Gzip => "a gzip archive",
            Self::Zstd => "a zstd archive",
            Self::Bzip2 => "a bzip2 archive",
            Self::Xz => "an xz archive",
            Self::Zip => "a zip archive or a spreadsheet",
            Self::Parquet => "a Parquet file",
            Self::Utf16 => "text in UTF-16",
        }
    }

    /// What to do with one.
    pub(crate) fn advice(self) -> &'static str {
        match self {
            Self::Gzip => "let its name end in `.gz`, and it is decompressed as it is read",
            Self::Zstd => "let its name end in `.zst`, and it is decompressed as it is read",
            Self::Bzip2 | Self::Xz => "decompress it first; `.gz` and `.zst` are read as they are",
            Self::Zip => "unpack it first; save a spreadsheet as CSV in UTF-8",
            Self::Parquet => {
                "let its name end in `.parquet`: `samtone import sentence-transformers` reads it"
            }
            Self::Utf16 => {
                "`samtone import` reads it; without a byte order mark, with `--encoding utf-16le` or \
                 `--encoding utf-16be`"
            }
        }
    }
}

/// Whether every other byte is 0, as in plain letters in UTF-16 without a mark: no text begins so.
fn is_half_zero(start: &[u8]) -> bool {
    let zeros = |first: usize| start.iter().skip(first).step_by(2).take(8).all(|&byte| byte == 0);
    start.len() >= 16 && zeros(0) != zeros(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_text_is_told_from_what_is() {
        let check =
            |start: &[u8], expected| assert_eq!(Signature::of(start), expected, "{start:?}");
        check(b"\x1F\x8B\x08\0", Some(Signature::Gzip));
        check(b"\x28\xB5\x2F\xFD\x04", Some(Signature::Zstd));
        check(b"PK\x03\x04\x14", Some(Signature::Zip));
        check(b"\xFF\xFEa\0", Some(Signature::Utf16));
        check(b"\0q\0u\0e\0r\0y\0,\0p\0o\0s", Some(Signature::Utf16));
        check(b"q\0u\0e\0r\0y\0,\0p\0o\0s\0", Some(Signature::Utf16));
        check(b"\0\t\0\t", None);
        check(b"", None);
        check(b"a", None);
        check(b"\xEF\xBB\xBF{\"a\"", None);
        check("größe\tx".as_bytes(), None);
        check(b"PKs and BZs", None);
    }
}
