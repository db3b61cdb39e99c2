//! Which lines of which files are a part of an input.
//!
//! A plain file is a run of blocks of [`BLOCK`] bytes, and a line is of the block that it begins in; a
//! compressed file is one piece. A block or such a file is of the part in which it begins, where all
//! files, one after the other, are cut into parts of as many bytes. So the parts hold every line once,
//! in order, whatever their number, and nobody reads another's part.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::{Path, PathBuf};

use anyhow::Context;
use samtone_data::DataError;
use samtone_data::reading::{Compression, Lines};
use serde::{Deserialize, Serialize};

use crate::error::{Failure, Usage};
use crate::shard::Shard;

/// Texts of two blocks are not computed together: what is computed together decides each other's last
/// digits, and so parts have the bytes of the whole.
pub(crate) const BLOCK: u64 = 1 << 20;

/// Lines of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    pub(crate) path: PathBuf,
    /// Where they begin, in bytes; anywhere if absent.
    range: Option<Range<u64>>,
}

impl Piece {
    /// All lines of the file.
    pub(crate) fn whole(path: &Path) -> Self {
        Self { path: path.to_owned(), range: None }
    }

    /// The file's lines from the first of this piece on.
    pub(super) fn lines(&self) -> Result<Lines, DataError> {
        match &self.range {
            None => Lines::open(&self.path),
            Some(range) => Lines::open_at(&self.path, range.start),
        }
    }

    /// Whether a line that begins at `start` is behind this piece.
    pub(super) fn ends_before(&self, start: u64) -> bool {
        self.range.as_ref().is_some_and(|range| start >= range.end)
    }
}

/// The pieces of `files` that are `shard`.
pub(crate) fn cut(files: &[PathBuf], shard: Shard) -> anyhow::Result<Vec<Piece>> {
    if shard == Shard::WHOLE {
        return Ok(files.iter().map(|path| Piece::whole(path)).collect());
    }
    let sizes = files.iter().map(|path| Ok(length(path)?)).collect::<anyhow::Result<Vec<u64>>>()?;
    Ok(cut_sizes(files, &sizes, shard))
}

fn cut_sizes(files: &[PathBuf], sizes: &[u64], shard: Shard) -> Vec<Piece> {
    let total: u128 = sizes.iter().map(|&size| u128::from(size)).sum();
    let begin = |part: usize| (part as u128 * total).div_ceil(shard.parts as u128);
    let mine = begin(shard.part - 1)..begin(shard.part);
    let (mut at, mut pieces) = (0, Vec::new());
    for (path, &size) in files.iter().zip(sizes) {
        if Compression::of(path) == Compression::Plain {
            // The first byte of a block that begins at `from` or behind it.
            let block = |from: u128| {
                let blocks = from.saturating_sub(at).div_ceil(u128::from(BLOCK));
                (blocks * u128::from(BLOCK)).min(u128::from(size)) as u64
            };
            let range = block(mine.start)..block(mine.end);
            if !range.is_empty() {
                pieces.push(Piece { path: path.clone(), range: Some(range) });
            }
        } else if mine.contains(&at) {
            pieces.push(Piece::whole(path));
        }
        at += u128::from(size);
    }
    pieces
}

fn length(path: &Path) -> Result<u64, DataError> {
    let file = File::open(path).map_err(|source| DataError::opening(path, source))?;
    let metadata = file.metadata();
    Ok(metadata.map_err(|source| DataError::Read { path: path.to_owned(), source })?.len())
}

/// What tells that two parts were cut from the same file, without reading all of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FileMark {
    /// Its name, without folders: machines mount them where they like.
    name: String,
    bytes: u64,
    /// BLAKE3 of 4 KiB at each of 64 places, evenly from its beginning to its end, in hexadecimal.
    sample: String,
}

/// The marks of `files`.
pub(crate) fn marks(files: &[PathBuf]) -> anyhow::Result<Vec<FileMark>> {
    let mark = |path: &PathBuf| {
        const PLACES: u64 = 64;
        const LENGTH: u64 = 4096;
        let read = || {
            let mut file = File::open(path)?;
            let bytes = file.metadata()?.len();
            let (mut hash, mut piece) = (blake3::Hasher::new(), Vec::new());
            for place in 0..PLACES {
                let last = bytes.saturating_sub(LENGTH);
                let start = (u128::from(last) * u128::from(place) / u128::from(PLACES - 1)) as u64;
                file.seek(SeekFrom::Start(start))?;
                piece.clear();
                Read::by_ref(&mut file).take(LENGTH).read_to_end(&mut piece)?;
                hash.update(&piece);
            }
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            Ok::<_, io::Error>(FileMark {
                name,
                bytes,
                sample: hash.finalize().to_hex().to_string(),
            })
        };
        read().with_context(|| format!("cannot read `{}`", path.display()))
    };
    files.iter().map(mark).collect()
}

/// The files that `given` names: each a file, or a pattern (`*`, `?`, `[…]`) and its files by name.
///
/// # Errors
/// If a pattern fits no file, or a file is there twice.
pub(crate) fn expand(given: &[PathBuf]) -> anyhow::Result<Vec<PathBuf>> {
    let mut files: Vec<PathBuf> = Vec::new();
    for path in given {
        let pattern = path.to_str().filter(|text| text.contains(['*', '?', '[']) && !path.exists());
        let Some(pattern) = pattern else {
            files.push(path.clone());
            continue;
        };
        let wrong = |error: glob::PatternError| {
            Usage::new(format!("`{pattern}` is no pattern of files")).with_cause(error.to_string())
        };
        let before = files.len();
        for found in glob::glob(pattern).map_err(wrong)? {
            let found = found.with_context(|| format!("cannot look for `{pattern}`"))?;
            if found.is_file() {
                files.push(found);
            }
        }
        if files.len() == before {
            let message = format!("no file fits `{pattern}`");
            return Err(Failure::new(message, "a pattern in quotes is read by `samtone`").into());
        }
    }
    let mut sorted: Vec<&PathBuf> = files.iter().collect();
    sorted.sort_unstable();
    if let Some(twice) = sorted.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(Usage::new(format!("`{}` is given twice", twice[0].display())).into());
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_hold_every_block_and_every_compressed_file_once() {
        let mib = |n: u64| n * BLOCK;
        for sizes in [
            &[("a.jsonl", mib(7) + 5)][..],
            &[("a.jsonl", mib(2)), ("b.jsonl.gz", mib(3)), ("c", 17), ("d.jsonl", mib(1) + 1)],
            &[("a.gz", 5), ("b.zst", 0), ("c.gz", 900)],
            &[("a.jsonl", 0)],
            &[],
        ] {
            let files: Vec<PathBuf> = sizes.iter().map(|(name, _)| name.into()).collect();
            let bytes: Vec<u64> = sizes.iter().map(|&(_, size)| size).collect();
            for parts in [2, 3, 7, 64] {
                let mut ends: Vec<u64> = vec![0; files.len()];
                let mut last = 0;
                for part in 1..=parts {
                    for piece in cut_sizes(&files, &bytes, Shard { part, parts }) {
                        let at = files.iter().position(|path| *path == piece.path).unwrap();
                        let range = piece.range.unwrap_or(0..bytes[at]);
                        assert_eq!(range.start, ends[at], "{files:?} {part}/{parts}");
                        assert!(range.start.is_multiple_of(BLOCK) && at >= last);
                        (ends[at], last) = (range.end, at);
                    }
                }
                // An empty compressed file that begins where the input ends has no line to lose.
                assert_eq!(ends, bytes, "{files:?} in {parts}");
            }
        }
    }

    #[test]
    fn parts_are_as_long_as_blocks_allow() {
        let (files, size) = (["a".into()], 1000 * BLOCK + 77);
        for part in 1..=64 {
            let [piece] = &cut_sizes(&files, &[size], Shard { part, parts: 64 })[..] else {
                panic!("part {part}")
            };
            let range = piece.range.clone().unwrap();
            assert!((range.end - range.start).abs_diff(size / 64) <= BLOCK, "{part}");
        }
    }

    #[test]
    fn a_mark_tells_files_apart() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        let mark = |content: &[u8]| {
            std::fs::write(&path, content).unwrap();
            marks(std::slice::from_ref(&path)).unwrap().remove(0)
        };
        let long: Vec<u8> = (0..300_000_u32).map(|i| (i % 251) as u8).collect();
        let first = mark(&long);
        assert_eq!((first.name.as_str(), first.bytes), ("a", 300_000));
        assert_eq!(mark(&long), first);
        // What moves everything behind it, and what only changes the end.
        assert_ne!(mark(&[&b"xy"[..], &long[..long.len() - 2]].concat()), first);
        assert_ne!(mark(&[&long[..long.len() - 1], b"x"].concat()), first);
        assert_ne!(mark(b""), mark(b"x"));
    }

    #[test]
    fn patterns_are_read_by_name_and_must_fit() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["b.jsonl", "a.jsonl", "c.txt"] {
            std::fs::write(folder.path().join(name), "").unwrap();
        }
        std::fs::create_dir(folder.path().join("d.jsonl")).unwrap();
        let paths = |names: &[&str]| -> Vec<PathBuf> {
            names.iter().map(|name| folder.path().join(name)).collect()
        };
        let names = |given: &[&str]| expand(&paths(given)).map_err(|error| error.to_string());
        assert_eq!(names(&["c.txt", "*.jsonl"]), Ok(paths(&["c.txt", "a.jsonl", "b.jsonl"])));
        // One that is not there is told where it is opened.
        assert_eq!(names(&["missing"]), Ok(paths(&["missing"])));
        assert!(names(&["*.md"]).unwrap_err().starts_with("no file fits"));
        assert!(names(&["*.jsonl", "a.jsonl"]).unwrap_err().ends_with("a.jsonl` is given twice"));
    }
}
