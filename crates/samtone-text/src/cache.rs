//! Texts tokenised once, kept in a file and read through a memory map.
//!
//! A cache file is named by its key: a hash of the texts, the tokenizer, the length limit, the version
//! of the library that encodes and that of this format. Another of them is another file, so a stale one
//! is never read; any of them may be deleted at any time. A file appears when it is whole, so processes
//! that write the same one at once end with the same bytes; on opening, its checksum is compared, so a
//! torn or altered file is written anew.
//!
//! ```text
//! "samtone tokens 1"   16 bytes
//! key                  32 bytes, BLAKE3
//! tokens               u32 each, little-endian, row after row
//! ends                 u64 each: where each row ends, in tokens
//! rows                 u64
//! checksum             32 bytes, BLAKE3 of all before
//! ```

use std::fs::{self, File};
use std::io::{self, Read, Seek, Write};
use std::path::Path;

use memmap2::Mmap;
use samtone_files::write_whole;

use crate::error::{TextError, read_error, write_error};
use crate::tokenizer::TextTokenizer;

/// What a file begins with. Its number is raised whenever another file is made of the same texts.
const MAGIC: &[u8; 16] = b"samtone tokens 1";
/// What encodes: another version may encode otherwise. `cargo xtask`'s tests hold it to what the workspace pins.
const ENCODER: &str = "tokenizers 0.23.2";
const HASH: usize = 32;
const HEADER: usize = MAGIC.len() + HASH;

/// Texts are encoded in groups of this many, or of this many bytes.
const GROUP: usize = 4096;
const GROUP_BYTES: usize = 4 << 20;

/// Token ids of many texts, read from a file as they are asked for.
///
/// # Examples
///
/// ```
/// use samtone_text::{TextTokenizer, TokenCache};
///
/// let texts = ["a well holds water", "water runs"];
/// let tokenizer = TextTokenizer::train_wordpiece(&texts, 60, true)?;
/// let dir = tempfile::tempdir().unwrap();
/// let cache = TokenCache::of(dir.path(), &tokenizer, 16, &texts)?;
/// assert_eq!(cache.row(1), tokenizer.encode("water runs", 16)?);
/// # Ok::<(), samtone_text::TextError>(())
/// ```
#[derive(Debug)]
pub struct TokenCache {
    map: Mmap,
    rows: usize,
    /// Where the rows' ends begin, in bytes.
    ends: usize,
}

impl TokenCache {
    /// The cache of these texts in `dir`, built if it is not there.
    ///
    /// # Errors
    /// If a text cannot be encoded, or the file cannot be written or read.
    pub fn of<S: AsRef<str>>(
        dir: &Path,
        tokenizer: &TextTokenizer,
        max_len: usize,
        texts: &[S],
    ) -> Result<Self, TextError> {
        Self::of_stream(dir, tokenizer, max_len, |each| {
            for text in texts {
                each(text.as_ref());
            }
            Ok::<_, TextError>(())
        })
    }

    /// The cache of the texts that `visit` passes to its argument, built if it is not there. `visit` is
    /// called once to hash the texts and, if they are not cached, once more to encode them: they need
    /// not be in memory.
    ///
    /// # Errors
    /// The errors of `visit`, or as [`TokenCache::of`].
    pub fn of_stream<E: From<TextError>>(
        dir: &Path,
        tokenizer: &TextTokenizer,
        max_len: usize,
        visit: impl Fn(&mut dyn FnMut(&str)) -> Result<(), E>,
    ) -> Result<Self, E> {
        tokenizer.room(max_len)?;
        let mut hasher = begin_key([MAGIC, ENCODER.as_bytes()], tokenizer, max_len);
        visit(&mut |text| {
            hasher.update(&(text.len() as u64).to_le_bytes());
            hasher.update(text.as_bytes());
        })?;
        let key = hasher.finalize();
        let path = dir.join(format!("{}.tokens", &key.to_hex()[..32]));
        if let Some(cache) = Self::open(&path, key.as_bytes())? {
            return Ok(cache);
        }
        fs::create_dir_all(dir).map_err(write_error(dir))?;
        let written = write_whole(&path, |out| {
            let mut builder = Builder::create(out, key.as_bytes(), tokenizer, max_len)?;
            let mut failed = None;
            let visited = visit(&mut |text| {
                if failed.is_none() {
                    failed = builder.push(text).err();
                }
            });
            visited.map_err(Unwritten::Visit)?;
            match failed {
                Some(failure) => Err(failure),
                None => builder.finish(),
            }
        });
        written.map_err(|failure: Unwritten<E>| failure.at(&path))?;
        let torn = || io::Error::new(io::ErrorKind::InvalidData, "changed while it was written");
        let cache = Self::open(&path, key.as_bytes())?;
        Ok(cache.ok_or_else(|| read_error(&path)(torn()))?)
    }

    /// Opens a cache file; `None` if it is not there, is of another key, or is not whole.
    ///
    /// # Errors
    /// If it is there but cannot be read.
    pub fn open(path: &Path, key: &[u8; HASH]) -> Result<Option<Self>, TextError> {
        let mut file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(read_error(path)(error)),
        };
        // Read, not mapped: pages of a map would count as this process's memory.
        let Some(rows) = check(&mut file, key).map_err(read_error(path))? else { return Ok(None) };
        // SAFETY: a map is sound while nobody changes the file. Caches are written under another name
        // and renamed when whole; nothing opens one for writing under its own name.
        #[expect(unsafe_code, reason = "a memory map of a file that is never written in place")]
        let map = unsafe { Mmap::map(&file) }.map_err(read_error(path))?;
        let ends = map.len() - HASH - 8 - rows * 8;
        Ok(Some(Self { map, rows, ends }))
    }

    /// How many texts.
    pub fn len(&self) -> usize {
        self.rows
    }

    /// Whether there is no text.
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// The token ids of a text.
    ///
    /// # Panics
    /// If there is no such text.
    pub fn row(&self, index: usize) -> Vec<u32> {
        let (start, end) = self.range(index);
        let bytes = &self.map[HEADER + start * 4..HEADER + end * 4];
        bytes.chunks_exact(4).map(|id| u32::from_le_bytes([id[0], id[1], id[2], id[3]])).collect()
    }

    /// How many token ids a text has.
    ///
    /// # Panics
    /// If there is no such text.
    pub fn row_len(&self, index: usize) -> usize {
        let (start, end) = self.range(index);
        end - start
    }

    fn range(&self, index: usize) -> (usize, usize) {
        assert!(index < self.rows, "no text {index}: there are {}", self.rows);
        let end = |index: usize| word(&self.map[self.ends + index * 8..]) as usize;
        (if index == 0 { 0 } else { end(index - 1) }, end(index))
    }
}

/// A cache file of any body: header, body and a right checksum. For tests of the reader, which must
/// not trust even those.
#[doc(hidden)]
pub fn seal(key: &[u8; HASH], body: &[u8]) -> Vec<u8> {
    let mut bytes = [&MAGIC[..], key, body].concat();
    let checksum = blake3::hash(&bytes);
    bytes.extend(checksum.as_bytes());
    bytes
}

/// The first eight bytes as a number.
fn word(bytes: &[u8]) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&bytes[..8]);
    u64::from_le_bytes(word)
}

/// Reads the whole file; the number of rows if it is whole, of this key, and consistent.
fn check(file: &mut File, key: &[u8; HASH]) -> io::Result<Option<usize>> {
    let length = file.metadata()?.len();
    let Some(body) = length.checked_sub(HASH as u64).filter(|&body| body >= HEADER as u64 + 8)
    else {
        return Ok(None);
    };
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0; 1 << 18];
    let mut left = body;
    let mut first = true;
    while left > 0 {
        let part = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let part = &mut buffer[..part];
        if read_whole(file, part)?.is_none() {
            return Ok(None);
        }
        if std::mem::take(&mut first) && (&part[..16] != MAGIC || part[16..HEADER] != key[..]) {
            return Ok(None);
        }
        hasher.update(part);
        left -= part.len() as u64;
    }
    let mut checksum = [0; HASH];
    if read_whole(file, &mut checksum)?.is_none() || *hasher.finalize().as_bytes() != checksum {
        return Ok(None);
    }
    // The checksum holds; the sizes must still agree, or a forged file could lead out of bounds.
    let mut rows = [0; 8];
    file.seek(io::SeekFrom::Start(body - 8))?;
    file.read_exact(&mut rows)?;
    let rows = u64::from_le_bytes(rows);
    let ends = rows.checked_mul(8).and_then(|ends| (body - 8).checked_sub(ends));
    let Some(ends) =
        ends.filter(|&ends| ends >= HEADER as u64 && (ends - HEADER as u64).is_multiple_of(4))
    else {
        return Ok(None);
    };
    let tokens = (ends - HEADER as u64) / 4;
    file.seek(io::SeekFrom::Start(ends))?;
    let mut reader = io::BufReader::new(file);
    let mut last = 0;
    for _ in 0..rows {
        let mut end = [0; 8];
        reader.read_exact(&mut end)?;
        let end = u64::from_le_bytes(end);
        if end < last || end > tokens {
            return Ok(None);
        }
        last = end;
    }
    Ok((last == tokens).then(|| usize::try_from(rows).ok()).flatten())
}

/// Fills `bytes`; `None` if the file ends before.
fn read_whole(file: &mut File, bytes: &mut [u8]) -> io::Result<Option<()>> {
    match file.read_exact(bytes) {
        Ok(()) => Ok(Some(())),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(error),
    }
}

/// The beginning of a key: all but the texts.
fn begin_key(versions: [&[u8]; 2], tokenizer: &TextTokenizer, max_len: usize) -> blake3::Hasher {
    let mut hasher = blake3::Hasher::new();
    for part in [versions[0], versions[1], tokenizer.fingerprint().as_bytes()] {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    hasher.update(&(max_len as u64).to_le_bytes());
    hasher
}

/// Why a cache was not written: its texts could not be had, or encoded, or the system.
enum Unwritten<E> {
    Visit(E),
    Encoding(TextError),
    System(io::Error),
}

impl<E: From<TextError>> Unwritten<E> {
    /// The error of writing to `path`.
    fn at(self, path: &Path) -> E {
        match self {
            Self::Visit(error) => error,
            Self::Encoding(error) => error.into(),
            Self::System(error) => write_error(path)(error).into(),
        }
    }
}

impl<E> From<io::Error> for Unwritten<E> {
    fn from(error: io::Error) -> Self {
        Self::System(error)
    }
}

/// A cache being written.
struct Builder<'a, W> {
    out: W,
    hasher: blake3::Hasher,
    tokenizer: &'a TextTokenizer,
    max_len: usize,
    group: Vec<String>,
    group_bytes: usize,
    ends: Vec<u64>,
    tokens: u64,
}

impl<'a, W: Write> Builder<'a, W> {
    fn create(
        out: W,
        key: &[u8; HASH],
        tokenizer: &'a TextTokenizer,
        max_len: usize,
    ) -> io::Result<Self> {
        let (hasher, group, ends) = (blake3::Hasher::new(), Vec::new(), Vec::new());
        let (group_bytes, tokens) = (0, 0);
        let mut builder =
            Self { out, hasher, tokenizer, max_len, group, group_bytes, ends, tokens };
        builder.write(MAGIC)?;
        builder.write(key)?;
        Ok(builder)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.hasher.update(bytes);
        self.out.write_all(bytes)
    }

    fn push<E>(&mut self, text: &str) -> Result<(), Unwritten<E>> {
        self.group.push(text.to_owned());
        self.group_bytes += text.len();
        if self.group.len() == GROUP || self.group_bytes >= GROUP_BYTES {
            self.encode_group()?;
        }
        Ok(())
    }

    fn encode_group<E>(&mut self) -> Result<(), Unwritten<E>> {
        let mut bytes = Vec::new();
        let rows = self.tokenizer.encode_batch(&self.group, self.max_len);
        for row in rows.map_err(Unwritten::Encoding)? {
            bytes.extend(row.iter().flat_map(|id| id.to_le_bytes()));
            self.tokens += row.len() as u64;
            self.ends.push(self.tokens);
        }
        self.group.clear();
        self.group_bytes = 0;
        Ok(self.write(&bytes)?)
    }

    fn finish<E>(mut self) -> Result<(), Unwritten<E>> {
        self.encode_group()?;
        let ends = std::mem::take(&mut self.ends);
        for part in ends.chunks(8192) {
            let bytes: Vec<u8> = part.iter().flat_map(|end| end.to_le_bytes()).collect();
            self.write(&bytes)?;
        }
        self.write(&(ends.len() as u64).to_le_bytes())?;
        Ok(self.out.write_all(self.hasher.finalize().as_bytes())?)
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use proptest::prelude::*;

    use super::*;

    fn tokenizer() -> TextTokenizer {
        let texts = ["a well holds water", "water runs", "a well runs dry, they say"];
        TextTokenizer::train_wordpiece(&texts, 80, true).unwrap()
    }

    fn only_file(dir: &Path) -> PathBuf {
        let mut files = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
        let file = files.next().unwrap();
        assert_eq!(files.next(), None);
        file
    }

    fn key_of(bytes: &[u8]) -> [u8; HASH] {
        bytes[16..HEADER].try_into().unwrap()
    }

    #[test]
    fn rows_come_back_and_files_are_reused() {
        let (dir, tokenizer) = (tempfile::tempdir().unwrap(), tokenizer());
        let texts: Vec<String> =
            (0..10_000).map(|i| format!("water {i} {}", "well ".repeat(i % 7))).collect();
        let expected = tokenizer.encode_batch(&texts, 6).unwrap();
        for _ in 0..2 {
            let cache = TokenCache::of(dir.path(), &tokenizer, 6, &texts).unwrap();
            assert_eq!(cache.len(), texts.len());
            for (i, row) in expected.iter().enumerate() {
                assert_eq!((&cache.row(i), cache.row_len(i)), (row, row.len()));
            }
        }
        only_file(dir.path());
    }

    #[test]
    fn other_texts_tokenizers_and_limits_are_other_files() {
        let (dir, one) = (tempfile::tempdir().unwrap(), tokenizer());
        let other = TextTokenizer::train_wordpiece(&["water", "wells"], 40, true).unwrap();
        for (tokenizer, max_len, texts) in [
            (&one, 6, ["a", "b"]),
            (&one, 7, ["a", "b"]),
            (&one, 6, ["ab", ""]),
            (&other, 6, ["a", "b"]),
        ] {
            let cache = TokenCache::of(dir.path(), tokenizer, max_len, &texts).unwrap();
            assert_eq!(cache.row(0), tokenizer.encode(texts[0], max_len).unwrap());
        }
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 4);
    }

    #[test]
    fn other_versions_are_other_files() {
        let key = |versions| begin_key(versions, &tokenizer(), 8).finalize();
        let versions: [[&[u8]; 2]; 4] = [
            [MAGIC, ENCODER.as_bytes()],
            [MAGIC, b"tokenizers 0.0.0"],
            [b"samtone tokens 0", ENCODER.as_bytes()],
            [b"samtone tokens 0t", &ENCODER.as_bytes()[1..]],
        ];
        for (i, &one) in versions.iter().enumerate() {
            for (j, &other) in versions.iter().enumerate() {
                assert_eq!(key(one) == key(other), i == j);
            }
        }
    }

    #[test]
    fn a_text_that_cannot_be_read_leaves_no_file() {
        let (dir, tokenizer) = (tempfile::tempdir().unwrap(), tokenizer());
        let calls = std::cell::Cell::new(0);
        let error = TokenCache::of_stream(dir.path(), &tokenizer, 8, |each| {
            each("water");
            calls.set(calls.get() + 1);
            if calls.get() == 2 {
                Err(TextError::NoRoom { max_len: 0, special: 0 })
            } else {
                Ok(())
            }
        });
        assert!(matches!(error, Err(TextError::NoRoom { .. })));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_torn_or_altered_file_is_written_anew() {
        let (dir, tokenizer) = (tempfile::tempdir().unwrap(), tokenizer());
        let texts = ["a well", "water"];
        TokenCache::of(dir.path(), &tokenizer, 8, &texts).unwrap();
        let path = only_file(dir.path());
        let whole = fs::read(&path).unwrap();
        for cut in 0..whole.len() {
            fs::write(&path, &whole[..cut]).unwrap();
            assert!(TokenCache::open(&path, &key_of(&whole)).unwrap().is_none(), "cut at {cut}");
        }
        for at in 0..whole.len() {
            let mut altered = whole.clone();
            altered[at] ^= 0x10;
            fs::write(&path, &altered).unwrap();
            assert!(TokenCache::open(&path, &key_of(&whole)).unwrap().is_none(), "altered at {at}");
        }
        let cache = TokenCache::of(dir.path(), &tokenizer, 8, &texts).unwrap();
        assert_eq!(cache.row(1), tokenizer.encode("water", 8).unwrap());
        assert_eq!(fs::read(&path).unwrap(), whole);
    }

    #[test]
    fn writers_at_once_end_with_one_whole_file() {
        let (dir, tokenizer) = (tempfile::tempdir().unwrap(), tokenizer());
        let texts: Vec<String> = (0..3000).map(|i| format!("water {i}")).collect();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let cache = TokenCache::of(dir.path(), &tokenizer, 8, &texts).unwrap();
                    assert_eq!(cache.row(2999), tokenizer.encode("water 2999", 8).unwrap());
                });
            }
        });
        only_file(dir.path());
    }

    proptest! {
        #[test]
        fn a_forged_file_never_leads_out_of_bounds(
            body in prop::collection::vec(any::<u8>(), 0..200),
            rows in prop_oneof![0_u64..30, any::<u64>()],
        ) {
            let key = [7; HASH];
            let bytes = seal(&key, &[&body[..], &rows.to_le_bytes()].concat());
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("forged");
            fs::write(&path, &bytes).unwrap();
            if let Some(cache) = TokenCache::open(&path, &key).unwrap() {
                for row in 0..cache.len() {
                    prop_assert_eq!(cache.row(row).len(), cache.row_len(row));
                }
            }
        }
    }
}
