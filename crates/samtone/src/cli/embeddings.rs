//! Folders of embeddings: `embeddings.safetensors`, one tensor `embeddings` `[n, dim]` of f32,
//! `ids.txt`, an id a line, and where `samtone encode` wrote them `encode.json`, what they come from.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use memmap2::Mmap;
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use serde::Deserialize;

use crate::commands::reading::SimilarityChoice;

pub(crate) const EMBEDDINGS: &str = "embeddings.safetensors";
pub(crate) const IDS: &str = "ids.txt";
pub(crate) const RECORD: &str = "encode.json";

/// What a folder of embeddings comes from.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct Origin {
    /// BLAKE3 of the model's files, in hexadecimal.
    pub(crate) model: String,
    /// How the model's folder says that they are compared.
    pub(crate) similarity: SimilarityChoice,
}

/// A folder of embeddings, memory-mapped.
pub(crate) struct Embeddings {
    path: PathBuf,
    map: Mmap,
    /// The rows' ids, no two alike.
    pub(crate) ids: Vec<String>,
    /// What the rows come from, if that is known.
    pub(crate) origin: Option<Origin>,
    /// Numbers in a row.
    pub(crate) dim: usize,
}

impl Embeddings {
    /// Opens a folder as `samtone encode` writes it.
    pub(crate) fn open(folder: &Path) -> anyhow::Result<Self> {
        let path = folder.join(EMBEDDINGS);
        let file =
            File::open(&path).with_context(|| format!("cannot open `{}`", path.display()))?;
        #[expect(unsafe_code, reason = "embeddings larger than memory are read through a map")]
        // SAFETY: the map is read only; a file that another program cuts short while it is mapped
        // ends this process, as it would end any reader of a map.
        let map = unsafe { Mmap::map(&file) }
            .with_context(|| format!("cannot map `{}`", path.display()))?;
        let ids_path = folder.join(IDS);
        let ids = fs::read_to_string(&ids_path)
            .with_context(|| format!("cannot read `{}`", ids_path.display()))?;
        let ids: Vec<String> = ids.lines().map(str::to_owned).collect();
        if let Some((id, first, second)) = first_repeated(&ids) {
            bail!("`{}`, line {second}: `{id}` is already on line {first}", ids_path.display());
        }
        let mut embeddings = Self { path, map, ids, origin: origin(folder)?, dim: 0 };
        let shape = {
            let tensor = embeddings.tensor()?;
            ensure!(
                tensor.dtype() == Dtype::F32,
                "`{}`: expected numbers of type F32, got {:?}",
                embeddings.path.display(),
                tensor.dtype()
            );
            tensor.shape().to_vec()
        };
        let &[rows, dim] = shape.as_slice() else {
            bail!("`{}`: expected the shape [n, dim], got {shape:?}", embeddings.path.display());
        };
        ensure!(dim > 0, "`{}`: the embeddings have no dimension", embeddings.path.display());
        ensure!(
            rows == embeddings.ids.len(),
            "`{}` has {} ids for {rows} embeddings",
            ids_path.display(),
            embeddings.ids.len()
        );
        embeddings.dim = dim;
        Ok(embeddings)
    }

    fn tensor(&self) -> anyhow::Result<TensorView<'_>> {
        SafeTensors::deserialize(&self.map)
            .and_then(|file| file.tensor("embeddings"))
            .with_context(|| format!("`{}` holds no tensor `embeddings`", self.path.display()))
    }

    /// All rows, `[n, dim]`: the map itself where its numbers are aligned.
    pub(crate) fn rows(&self) -> anyhow::Result<Cow<'_, [f32]>> {
        let bytes = self.tensor()?.data();
        Ok(match bytemuck::try_cast_slice(bytes) {
            Ok(rows) if cfg!(target_endian = "little") => Cow::Borrowed(rows),
            _ => bytes
                .as_chunks::<4>()
                .0
                .iter()
                .map(|&number| f32::from_le_bytes(number))
                .collect::<Vec<f32>>()
                .into(),
        })
    }
}

/// The first id that stood there before, with both its lines, from 1.
fn first_repeated(ids: &[String]) -> Option<(&str, usize, usize)> {
    let mut lines = HashMap::with_capacity(ids.len());
    ids.iter().zip(1..).find_map(|(id, line)| Some((id.as_str(), lines.insert(id, line)?, line)))
}

/// What the embeddings in `folder` come from, where it says so.
fn origin(folder: &Path) -> anyhow::Result<Option<Origin>> {
    let path = folder.join(RECORD);
    let text = match fs::read_to_string(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        read => read.with_context(|| format!("cannot read `{}`", path.display()))?,
    };
    let origin = serde_json::from_str(&text);
    origin.with_context(|| format!("`{}` is not what `samtone encode` writes", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(folder: &Path, ids: &str, rows: &[f32], dim: usize) {
        let bytes: Vec<u8> = rows.iter().flat_map(|x| x.to_le_bytes()).collect();
        let view = TensorView::new(Dtype::F32, vec![rows.len() / dim, dim], &bytes).unwrap();
        let path = folder.join("embeddings.safetensors");
        safetensors::serialize_to_file([("embeddings", view)], None, &path).unwrap();
        fs::write(folder.join("ids.txt"), ids).unwrap();
    }

    #[test]
    fn a_folder_is_read_as_it_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let rows = [1.0, -2.5, f32::MIN_POSITIVE, 0.1, 7.0, 8.0];
        write(folder.path(), "a\nb b\nc\n", &rows, 2);
        let read = Embeddings::open(folder.path()).unwrap();
        assert_eq!((read.ids.as_slice(), read.dim), (&["a", "b b", "c"].map(String::from)[..], 2));
        assert_eq!(read.rows().unwrap(), &rows[..]);
    }

    #[test]
    fn ids_that_do_not_fit_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), "a\n", &[1.0, 2.0], 1);
        let refused = || Embeddings::open(folder.path()).err().unwrap().to_string();
        assert!(refused().contains("1 ids for 2 embeddings"), "{}", refused());
        write(folder.path(), "b\na\nc\na\n", &[1.0, 2.0, 3.0, 4.0], 1);
        assert!(refused().ends_with("ids.txt`, line 4: `a` is already on line 2"), "{}", refused());
    }

    #[test]
    fn where_the_rows_come_from_is_known_if_the_folder_says_it() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), "a\n", &[1.0], 1);
        assert_eq!(Embeddings::open(folder.path()).unwrap().origin, None);
        let record = r#"{"model": "m", "similarity": "dot", "rows": 1}"#;
        fs::write(folder.path().join(RECORD), record).unwrap();
        let origin = Embeddings::open(folder.path()).unwrap().origin.unwrap();
        assert_eq!(origin, Origin { model: "m".into(), similarity: SimilarityChoice::Dot });
        fs::write(folder.path().join(RECORD), "{").unwrap();
        let error = Embeddings::open(folder.path()).err().unwrap().to_string();
        assert!(error.contains("is not what `samtone encode` writes"), "{error}");
    }
}
