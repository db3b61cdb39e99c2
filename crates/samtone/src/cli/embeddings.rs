//! Folders of embeddings: their file in one of several formats, `ids.txt`, an id a line, and where
//! `samtone encode` wrote them `encode.json`, what they come from; several of them where they are the
//! parts of one encoding.

mod file;
#[cfg(feature = "parquet")]
mod parquet;
mod parts;

use std::borrow::Cow;
use std::collections::HashMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
pub(crate) use file::{FileFormat, Matrix, write_json_line};
use memmap2::Mmap;
#[cfg(feature = "parquet")]
pub(crate) use parquet::ParquetFile;
pub(crate) use parts::{check_company, check_kin, joined, missing_in, ranges};
use samtone_data::Document;
use samtone_eval::EvalError;
use samtone_eval::search::{Dtype, Hit, Ranges, Similarity, top_k};
use samtone_text::DocumentText;
use serde::Deserialize;

use crate::commands::reading::SimilarityChoice;
use crate::error::Failure;

pub(crate) const IDS: &str = "ids.txt";
pub(crate) const RECORD: &str = "encode.json";

/// Bytes of numbers that are copied at once, where they are not searched as they lie.
const COPIED: usize = if cfg!(test) { 16 } else { 1 << 29 };

/// What a folder of embeddings comes from.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub(crate) struct Origin {
    /// BLAKE3 of the model's files, in hexadecimal.
    pub(crate) model: String,
    /// BLAKE3 of the input's ids and texts, in hexadecimal.
    pub(crate) input: Option<String>,
    /// Which tower embedded them.
    pub(crate) side: Option<String>,
    /// What of a document was read.
    pub(crate) document_text: Option<DocumentText>,
    /// How the model's folder says that they are compared.
    pub(crate) similarity: SimilarityChoice,
    /// Numbers of an embedding, where the file holds bits.
    dim: Option<usize>,
    /// What one-byte numbers stand for.
    #[serde(default)]
    ranges: Ranges,
}

/// The embeddings of a folder, or of all parts of one encoding, one after the other.
pub(crate) struct Embeddings {
    parts: Vec<Part>,
    /// The rows' ids, no two alike.
    pub(crate) ids: Vec<String>,
    /// What the rows come from, if that is known; of parts, what they share.
    pub(crate) origin: Option<Origin>,
    pub(crate) dtype: Dtype,
    /// Numbers in a row.
    pub(crate) dim: usize,
}

/// The embeddings of one folder.
struct Part {
    bytes: Bytes,
    /// The place of its first row among all.
    first: usize,
    rows: usize,
    dtype: Dtype,
    dim: usize,
    origin: Option<Origin>,
    /// BLAKE3 of the words that say it.
    said: Option<blake3::Hash>,
}

/// Rows as they are stored.
enum Bytes {
    /// The end of a file, from here.
    Mapped(Mmap, usize),
    Held(Vec<u8>),
}

impl Embeddings {
    /// The place among `documents` of each row's.
    ///
    /// # Errors
    /// If one is not there.
    pub(crate) fn places_in(&self, documents: &[Document]) -> Result<Vec<usize>, Failure> {
        let of_ids: HashMap<&str, usize> =
            documents.iter().zip(0..).map(|(document, place)| (&*document.id, place)).collect();
        let place = |id: &String| {
            of_ids.get(id.as_str()).copied().ok_or_else(|| {
                let message = format!("`{id}` is embedded, but no document has this id");
                Failure::new(message, "`--documents` and `--data` belong together")
            })
        };
        self.ids.iter().map(place).collect()
    }

    /// Whether `folder` holds embeddings that are whole.
    pub(crate) fn file_in(folder: &Path) -> Option<FileFormat> {
        FileFormat::ALL.iter().copied().find(|format| folder.join(format.file()).exists())
    }

    /// Opens a folder as `samtone encode` writes it, memory-mapped; or all parts of one encoding, each
    /// given by itself or all by the folder that they lie in.
    ///
    /// # Errors
    /// If a folder is not one, or parts are missing, are there twice, or differ in model, input or
    /// settings, or an id is there twice.
    pub(crate) fn open(given: &[PathBuf]) -> anyhow::Result<Self> {
        Self::of(&parts::folders(given)?)
    }

    /// Opens one folder, be it a part whose others are not there.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub(crate) fn open_part(folder: &Path) -> anyhow::Result<Self> {
        Self::of(&[folder.to_owned()])
    }

    /// The embeddings of `folders`, one after the other.
    fn of(folders: &[PathBuf]) -> anyhow::Result<Self> {
        let (mut parts, mut ids) = (Vec::with_capacity(folders.len()), Vec::new());
        for folder in folders {
            let part = Part::open(folder, &mut ids)?;
            parts.push(part);
        }
        if let Some((id, first, second)) = first_repeated(&ids) {
            let place = |row: usize| {
                let part = parts.partition_point(|part: &Part| part.first <= row) - 1;
                let path = folders[part].join(IDS);
                (format!("`{}`", path.display()), row - parts[part].first + 1)
            };
            let ((there, first), (here, second)) = (place(first), place(second));
            let there = if there == here { String::new() } else { format!(" of {there}") };
            bail!("{here}, line {second}: `{id}` is already on line {first}{there}");
        }
        let Part { dtype, dim, ref origin, .. } = parts[0];
        let origin = origin.clone();
        ensure!(
            parts.iter().all(|part| (part.dtype, part.dim) == (dtype, dim)),
            "the parts in {} hold numbers of several kinds",
            joined(folders)
        );
        Ok(Self { parts, ids, origin, dtype, dim })
    }

    /// One embedding that comes from no folder.
    pub(crate) fn of_one(
        id: String,
        row: &[f32],
        model: String,
        similarity: SimilarityChoice,
    ) -> Self {
        let origin = Some(Origin {
            model,
            input: None,
            side: None,
            document_text: None,
            similarity,
            dim: None,
            ranges: Ranges::default(),
        });
        let (dtype, dim) = (Dtype::F32, row.len());
        let bytes = Bytes::Held(dtype.encode(row, dim, &Ranges::default()));
        let part =
            Part { bytes, first: 0, rows: 1, dtype, dim, origin: origin.clone(), said: None };
        Self { parts: vec![part], ids: vec![id], origin, dtype, dim }
    }

    /// All rows as they are stored.
    pub(crate) fn bytes(&self) -> Cow<'_, [u8]> {
        match &self.parts[..] {
            [part] => part.bytes().into(),
            parts => parts.iter().map(Part::bytes).collect::<Vec<_>>().concat().into(),
        }
    }

    /// The numbers of all rows, `[n, dim]`: the map itself where one folder holds them as f32, aligned.
    pub(crate) fn rows(&self) -> Cow<'_, [f32]> {
        match &self.parts[..] {
            [part] => part.rows(),
            parts => {
                let mut all = Vec::with_capacity(self.ids.len() * self.dim);
                for part in parts {
                    all.extend_from_slice(&part.rows());
                }
                all.into()
            }
        }
    }

    /// The numbers of all rows, some at a time, `[n, dim]`: never more than may be copied.
    pub(crate) fn parts(&self) -> impl Iterator<Item = Cow<'_, [f32]>> {
        let rows = (COPIED / (4 * self.dim)).max(1);
        let bytes = rows * self.dtype.row_bytes(self.dim);
        self.parts
            .iter()
            .flat_map(move |part| part.bytes().chunks(bytes).map(|some| part.numbers(some)))
    }

    /// The numbers of the rows at `places`, one after the other.
    pub(crate) fn rows_at(&self, places: &[usize]) -> Vec<f32> {
        let mut rows = Vec::with_capacity(places.len() * self.dim);
        for &place in places {
            let part = &self.parts[self.parts.partition_point(|part| part.first <= place) - 1];
            let length = self.dtype.row_bytes(self.dim);
            let start = (place - part.first) * length;
            rows.extend_from_slice(&part.numbers(&part.bytes()[start..start + length]));
        }
        rows
    }

    /// Of the rows at `places` the `k` best for `query`, scored as the exact search scores them, equal
    /// scores ranked by row.
    pub(crate) fn best_of(
        &self,
        query: &[f32],
        mut places: Vec<usize>,
        k: usize,
        similarity: Similarity,
    ) -> Result<Vec<Hit>, EvalError> {
        places.sort_unstable();
        let rows = self.rows_at(&places);
        let mut hits = top_k(query, &rows, self.dim, k, similarity)?.remove(0);
        for hit in &mut hits {
            hit.index = places[hit.index];
        }
        Ok(hits)
    }

    /// BLAKE3 of the ids, and of what every part says that it comes from, in hexadecimal.
    pub(crate) fn fingerprint(&self) -> String {
        let mut hash = blake3::Hasher::new();
        for part in &self.parts {
            hash.update(part.said.as_ref().map_or(&[], |said| said.as_slice()));
            let mut ids = blake3::Hasher::new();
            for id in &self.ids[part.first..part.first + part.rows] {
                ids.update(&(id.len() as u64).to_le_bytes());
                ids.update(id.as_bytes());
            }
            hash.update(ids.finalize().as_bytes());
        }
        hash.finalize().to_hex().to_string()
    }

    /// Of each part its rows and BLAKE3 of its ids and texts, if all say it.
    pub(crate) fn inputs(&self) -> Option<Vec<(usize, &str)>> {
        self.parts
            .iter()
            .map(|part| Some((part.rows, part.origin.as_ref()?.input.as_deref()?)))
            .collect()
    }
}

impl Part {
    /// Opens one folder, its ids behind those of `all_ids`.
    fn open(folder: &Path, all_ids: &mut Vec<String>) -> anyhow::Result<Self> {
        let format = Embeddings::file_in(folder).unwrap_or_default();
        let path = folder.join(format.file());
        let wrong = || format!("`{}` holds no embeddings", path.display());
        let file =
            File::open(&path).with_context(|| format!("cannot open `{}`", path.display()))?;
        #[expect(unsafe_code, reason = "embeddings larger than memory are read through a map")]
        // SAFETY: the map is read only; a file that another program cuts short while it is mapped
        // ends this process, as it would end any reader of a map.
        let map = unsafe { Mmap::map(&file) }
            .with_context(|| format!("cannot map `{}`", path.display()))?;
        let (matrix, start) = {
            #[allow(clippy::match_wildcard_for_single_variants, reason = "two with `parquet`")]
            let (matrix, bytes) = match format {
                FileFormat::Safetensors => Matrix::of_safetensors(&map).with_context(wrong)?,
                FileFormat::Npy => Matrix::of_npy(&map).with_context(wrong)?,
                _ => {
                    let message = format!("`{}` is for other programs", path.display());
                    let hint = "encode with `--out-format safetensors` or `npy` to search";
                    return Err(Failure::new(message, hint).into());
                }
            };
            (matrix, map.len() - bytes.len())
        };
        let ids_path = folder.join(IDS);
        let ids = fs::read_to_string(&ids_path)
            .with_context(|| format!("cannot read `{}`", ids_path.display()))?;
        let first = all_ids.len();
        all_ids.extend(ids.lines().map(str::to_owned));
        let count = all_ids.len() - first;
        let (origin, said) = origin(folder)?.unzip();
        let Matrix { dtype, rows, columns } = matrix;
        let dim = match dtype {
            Dtype::Binary => origin.as_ref().and_then(|origin| origin.dim).unwrap_or(8 * columns),
            _ => columns,
        };
        ensure!(dim > 0, "`{}`: the embeddings have no dimension", path.display());
        ensure!(
            Matrix::new(dtype, rows, dim) == matrix,
            "`{}` has rows of {columns} bytes, `{RECORD}` beside it says {dim} bits",
            path.display()
        );
        ensure!(
            dtype != Dtype::Int8
                || rows == 0
                || origin.as_ref().is_some_and(|origin| origin.ranges.low.len() == dim),
            "`{}` holds numbers of one byte, but no `{RECORD}` beside it says what they stand for",
            path.display()
        );
        ensure!(rows == count, "`{}` has {count} ids for {rows} embeddings", ids_path.display());
        Ok(Self { bytes: Bytes::Mapped(map, start), first, rows, dtype, dim, origin, said })
    }

    fn bytes(&self) -> &[u8] {
        match &self.bytes {
            Bytes::Mapped(map, start) => &map[*start..],
            Bytes::Held(bytes) => bytes,
        }
    }

    fn rows(&self) -> Cow<'_, [f32]> {
        self.numbers(self.bytes())
    }

    /// The numbers of stored rows: these themselves where they are f32 and aligned.
    fn numbers<'a>(&self, bytes: &'a [u8]) -> Cow<'a, [f32]> {
        if self.dtype == Dtype::F32
            && cfg!(target_endian = "little")
            && let Ok(rows) = bytemuck::try_cast_slice(bytes)
        {
            return Cow::Borrowed(rows);
        }
        if bytes.is_empty() {
            return Cow::Borrowed(&[]);
        }
        let none = Ranges::default();
        let ranges = self.origin.as_ref().map_or(&none, |origin| &origin.ranges);
        self.dtype.decode(bytes, self.dim, ranges).into()
    }
}

/// `row` at length 1; a row of zeros as it is.
pub(crate) fn direction(row: &[f32]) -> Vec<f32> {
    let squares: f64 = row.iter().map(|&x| f64::from(x) * f64::from(x)).sum();
    let length = if squares > 0.0 { squares.sqrt() } else { 1.0 };
    row.iter().map(|&x| (f64::from(x) / length) as f32).collect()
}

/// The first id that stood there before, with both its places.
fn first_repeated(ids: &[String]) -> Option<(&str, usize, usize)> {
    let mut places = HashMap::with_capacity(ids.len());
    ids.iter()
        .zip(0..)
        .find_map(|(id, place)| Some((id.as_str(), places.insert(id, place)?, place)))
}

/// What the embeddings in `folder` come from, where it says so, and BLAKE3 of the words.
fn origin(folder: &Path) -> anyhow::Result<Option<(Origin, blake3::Hash)>> {
    let path = folder.join(RECORD);
    let text = match fs::read_to_string(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        read => read.with_context(|| format!("cannot read `{}`", path.display()))?,
    };
    let origin = serde_json::from_str(&text)
        .with_context(|| format!("`{}` is not what `samtone encode` writes", path.display()))?;
    Ok(Some((origin, blake3::hash(text.as_bytes()))))
}

#[cfg(test)]
mod tests {
    use safetensors::tensor::TensorView;

    use super::*;

    fn write(folder: &Path, ids: &str, rows: &[f32], dim: usize) {
        let bytes: Vec<u8> = rows.iter().flat_map(|x| x.to_le_bytes()).collect();
        let view =
            TensorView::new(safetensors::Dtype::F32, vec![rows.len() / dim, dim], &bytes).unwrap();
        let path = folder.join("embeddings.safetensors");
        safetensors::serialize_to_file([("embeddings", view)], None, &path).unwrap();
        fs::write(folder.join("ids.txt"), ids).unwrap();
    }

    #[test]
    fn a_folder_is_read_as_it_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let rows = [1.0, -2.5, f32::MIN_POSITIVE, 0.1, 7.0, 8.0];
        write(folder.path(), "a\nb b\nc\n", &rows, 2);
        let read = Embeddings::open(&[folder.path().into()]).unwrap();
        assert_eq!((read.ids.as_slice(), read.dim), (&["a", "b b", "c"].map(String::from)[..], 2));
        assert_eq!(read.rows(), &rows[..]);
    }

    #[test]
    fn ids_that_do_not_fit_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), "a\n", &[1.0, 2.0], 1);
        let refused = || Embeddings::open(&[folder.path().into()]).err().unwrap().to_string();
        assert!(refused().contains("1 ids for 2 embeddings"), "{}", refused());
        write(folder.path(), "b\na\nc\na\n", &[1.0, 2.0, 3.0, 4.0], 1);
        assert!(refused().ends_with("ids.txt`, line 4: `a` is already on line 2"), "{}", refused());
    }

    #[test]
    fn where_the_rows_come_from_is_known_if_the_folder_says_it() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), "a\n", &[1.0], 1);
        assert_eq!(Embeddings::open(&[folder.path().into()]).unwrap().origin, None);
        let record = r#"{"model": "m", "similarity": "dot", "rows": 1}"#;
        fs::write(folder.path().join(RECORD), record).unwrap();
        let origin = Embeddings::open(&[folder.path().into()]).unwrap().origin.unwrap();
        let expected = Origin {
            model: "m".into(),
            input: None,
            side: None,
            document_text: None,
            similarity: SimilarityChoice::Dot,
            dim: None,
            ranges: Ranges::default(),
        };
        assert_eq!(origin, expected);
        fs::write(folder.path().join(RECORD), "{").unwrap();
        let error = Embeddings::open(&[folder.path().into()]).err().unwrap().to_string();
        assert!(error.contains("is not what `samtone encode` writes"), "{error}");
    }
}
