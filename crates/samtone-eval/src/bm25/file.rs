//! An index in a file.
//!
//! The file's numbers are in the machine's byte order, as they are read through the map. It appears when
//! it is whole; on opening, its checksum is compared, so that a torn or altered file is refused.
//!
//! ```text
//! "samtone bm25 idx"   16 bytes
//! version              u64
//! documents            32 bytes, BLAKE3 of the texts
//! length of settings   u64
//! bytes of a section   u64, for each of the ten sections
//! settings             UTF-8, filled up to 8 bytes
//! sections             each filled up to 8 bytes
//! checksum             32 bytes, BLAKE3 of all before
//! ```

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::Arc;

use bytemuck::AnyBitPattern;
use memmap2::Mmap;
use rayon::prelude::*;
use samtone_files::write_whole;

use super::index::Index;
use super::postings::Postings;
use super::store::Store;
use super::terms::Terms;
use crate::error::{EvalError, Result};

const MAGIC: &[u8; 16] = b"samtone bm25 idx";
/// Raised whenever another file is made of the same texts. In another byte order it is another number.
const VERSION: u64 = 1;
const HASH: usize = 32;
const SECTIONS: usize = 10;
/// Everything before the settings.
const HEADER: usize = MAGIC.len() + 8 + HASH + 8 + 8 * SECTIONS;

/// What an index was made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Origin {
    /// A hash of the texts.
    pub(super) documents: [u8; HASH],
    /// What decides the index beside the texts, in words.
    pub(super) settings: String,
}

/// A hash of texts in their order.
pub(super) fn hash_of<T: AsRef<str> + Sync>(texts: impl IntoIterator<Item = T>) -> [u8; HASH] {
    /// Texts that one thread hashes at a time.
    const GROUP: usize = 1024;
    let hash = |texts: &[T]| {
        let mut hasher = blake3::Hasher::new();
        for text in texts {
            hasher.update(&(text.as_ref().len() as u64).to_le_bytes());
            hasher.update(text.as_ref().as_bytes());
        }
        hasher.finalize()
    };
    let mut texts = texts.into_iter();
    let mut hasher = blake3::Hasher::new();
    loop {
        let some: Vec<T> = texts.by_ref().take(GROUP * rayon::current_num_threads()).collect();
        if some.is_empty() {
            return *hasher.finalize().as_bytes();
        }
        let hashes: Vec<blake3::Hash> = some.par_chunks(GROUP).map(hash).collect();
        for hash in hashes {
            hasher.update(hash.as_bytes());
        }
    }
}

/// Writes the index to `path`.
pub(super) fn write(index: &Index, origin: &Origin, path: &Path) -> Result<()> {
    let Index { lengths, terms, postings } = index;
    let sections: [&[u8]; SECTIONS] = [
        bytemuck::cast_slice(lengths),
        &terms.text,
        bytemuck::cast_slice(&terms.ends),
        bytemuck::cast_slice(&terms.slots),
        bytemuck::cast_slice(&postings.holding),
        bytemuck::cast_slice(&postings.starts),
        bytemuck::cast_slice(&postings.lasts),
        bytemuck::cast_slice(&postings.maxima),
        bytemuck::cast_slice(&postings.offsets),
        &postings.packed,
    ];
    let written = write_whole(path, |out| {
        let mut hasher = blake3::Hasher::new();
        let mut write = |bytes: &[u8]| {
            // A part at a time: what is hashed is still in the processor's cache when it is written.
            bytes.chunks(1 << 16).try_for_each(|part| {
                hasher.update(part);
                out.write_all(part)
            })
        };
        write(MAGIC)?;
        write(&VERSION.to_ne_bytes())?;
        write(&origin.documents)?;
        write(&(origin.settings.len() as u64).to_ne_bytes())?;
        for section in sections {
            write(&(section.len() as u64).to_ne_bytes())?;
        }
        for section in [origin.settings.as_bytes()].into_iter().chain(sections) {
            write(section)?;
            write(&[0; 8][..section.len().next_multiple_of(8) - section.len()])?;
        }
        out.write_all(hasher.finalize().as_bytes())
    });
    written.map_err(|source| EvalError::Write { path: path.to_owned(), source })
}

/// Opens the index at `path`; `None` if there is no file.
///
/// # Errors
/// A file that cannot be read, is no whole index, or is of another origin.
pub(super) fn open(path: &Path, origin: &Origin) -> Result<Option<Index>> {
    let failed = |source| EvalError::Read { path: path.to_owned(), source };
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let no_index = || EvalError::NoIndex { path: path.to_owned() };
    let torn = || EvalError::TornIndex { path: path.to_owned() };
    let is_whole = is_whole(&mut file).map_err(failed)?;
    // SAFETY: a map is sound while nobody changes the file. Indexes are written under another name and
    // renamed when whole; nothing opens one for writing under its own name.
    #[expect(unsafe_code, reason = "a memory map of a file that is never written in place")]
    let map = Arc::new(unsafe { Mmap::map(&file) }.map_err(failed)?);
    if map.len() < HEADER + HASH || &map[..16] != MAGIC || word(&map, 16) != VERSION as usize {
        return Err(no_index());
    }
    if !is_whole {
        return Err(torn());
    }
    let mut end = HEADER;
    let mut next = |bytes: usize| {
        let start = end;
        end = end.checked_add(bytes.checked_next_multiple_of(8)?)?;
        (end.checked_add(HASH)? <= map.len()).then_some(start..start + bytes)
    };
    let settings = next(word(&map, 24 + HASH)).ok_or_else(torn)?;
    let kept = Origin {
        documents: std::array::from_fn(|byte| map[24 + byte]),
        settings: String::from_utf8_lossy(&map[settings]).into_owned(),
    };
    if kept != *origin {
        return Err(other(path, kept, origin));
    }
    let mut ranges = Vec::with_capacity(SECTIONS);
    for section in 0..SECTIONS {
        ranges.push(next(word(&map, 32 + HASH + 8 * section)).ok_or_else(torn)?);
    }
    fn section<T: AnyBitPattern>(
        map: &Arc<Mmap>,
        ranges: &mut impl Iterator<Item = std::ops::Range<usize>>,
    ) -> Option<Store<T>> {
        let bytes = ranges.next().filter(|bytes| bytes.len().is_multiple_of(size_of::<T>()))?;
        Some(Store::mapped(map, bytes))
    }
    let mut ranges = ranges.into_iter();
    let mut read = || {
        Some(Index {
            lengths: section(&map, &mut ranges)?,
            terms: Terms {
                text: section(&map, &mut ranges)?,
                ends: section(&map, &mut ranges)?,
                slots: section(&map, &mut ranges)?,
            },
            postings: Postings {
                holding: section(&map, &mut ranges)?,
                starts: section(&map, &mut ranges)?,
                lasts: section(&map, &mut ranges)?,
                maxima: section(&map, &mut ranges)?,
                offsets: section(&map, &mut ranges)?,
                packed: section(&map, &mut ranges)?,
            },
        })
    };
    read().filter(fits).map(Some).ok_or_else(torn)
}

/// Whether the sections are of one index: none is read beyond its end, and the search for a term ends.
fn fits(index: &Index) -> bool {
    let Index { terms, postings, .. } = index;
    let (count, blocks) = (terms.ends.len(), postings.lasts.len());
    let last = |ends: &[u64]| ends.last().map(|&end| usize::try_from(end).unwrap_or(usize::MAX));
    let rises = |ends: &[u64]| ends.is_sorted();
    terms.slots.len().is_power_of_two()
        && terms.slots.contains(&0)
        && terms.slots.iter().all(|&slot| slot as usize <= count)
        && rises(&terms.ends)
        && last(&terms.ends).unwrap_or(0) == terms.text.len()
        && postings.holding.len() == count
        && postings.starts.len() == count + 1
        && rises(&postings.starts)
        && last(&postings.starts) == Some(blocks)
        && postings.maxima.len() == blocks
        && postings.offsets.len() == blocks + 1
        && rises(&postings.offsets)
        && last(&postings.offsets) == Some(postings.packed.len())
}

/// How the index at `path` differs from what is asked for.
fn other(path: &Path, kept: Origin, asked: &Origin) -> EvalError {
    let path = path.to_owned();
    if kept.settings == asked.settings {
        return EvalError::OtherDocuments { path };
    }
    EvalError::OtherSettings { path, kept: kept.settings, asked: asked.settings.clone() }
}

/// Whether the file ends with the checksum of what stands before. It is read, not mapped: pages of a map
/// would count as this process's memory.
fn is_whole(file: &mut File) -> io::Result<bool> {
    let Some(mut left) = file.metadata()?.len().checked_sub(HASH as u64) else { return Ok(false) };
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0; 1 << 18];
    while left > 0 {
        let part = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        file.read_exact(&mut buffer[..part])?;
        hasher.update(&buffer[..part]);
        left -= part as u64;
    }
    let mut checksum = [0; HASH];
    file.read_exact(&mut checksum)?;
    Ok(*hasher.finalize().as_bytes() == checksum)
}

/// The number at a byte.
fn word(bytes: &[u8], at: usize) -> usize {
    let bytes = bytes[at..].first_chunk().expect("a header is whole");
    usize::try_from(u64::from_ne_bytes(*bytes)).unwrap_or(usize::MAX)
}
