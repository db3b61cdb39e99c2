//! Static tables in files: sentence-transformers' `StaticEmbedding`, which has no `config.json`, and
//! model2vec's.
//!
//! sentence-transformers' tensor is `embedding.weight`. model2vec's are `embeddings`, perhaps
//! `mapping` (the row of each token) and `weights` (the factor of each token), which become one row a
//! token, as sentence-transformers 6.2 has it.

use std::fs;
use std::path::Path;

use safetensors::tensor::{Dtype, SafeTensors, TensorView};

use super::config::StaticConfig;
use crate::error::ModelError;
use crate::folder::CONFIG;
use crate::folder::checkpoint::{Checkpoint, HostTensor, WEIGHTS, floats};
use crate::folder::keys::Keys;
use crate::folder::names::Names;

/// The table's name here and in the file that is written.
pub(crate) const TABLE: &str = "embedding.weight";

/// The file that is written calls it as this crate does.
pub(crate) const NAMES: Names = Names { rules: &[], words: TABLE, left_out: &[] };

/// Whether model2vec's own folder normalizes embeddings; none: it is another folder.
///
/// # Errors
/// If its `config.json` is broken.
pub(crate) fn normalizes(folder: &Path) -> Result<Option<bool>, ModelError> {
    let path = folder.join(CONFIG);
    if !path.exists() {
        return Ok(None);
    }
    let keys = Keys::read(&path)?;
    let is_table = keys.text("model_type")? == Some("model2vec");
    Ok(if is_table { Some(keys.flag("normalize")?.unwrap_or(true)) } else { None })
}

/// Reads the sizes of the table in `folder`, from the head of its file.
///
/// # Errors
/// If there is no file, it is broken, or it holds no table.
pub(crate) fn read_config(folder: &Path) -> Result<StaticConfig, ModelError> {
    let path = folder.join(WEIGHTS);
    with_file(&path, |file| {
        let table = table(&path, file)?;
        let [rows, hidden] = sizes(&path, table.shape())?;
        let vocab_size = file.tensor("mapping").map_or(rows, |mapping| mapping.shape()[0]);
        Ok(StaticConfig { vocab_size, hidden })
    })
}

/// Reads the table, a row a token.
///
/// # Errors
/// As [`read_config`], or if a mapping points outside the table.
pub(crate) fn read_weights(folder: &Path) -> Result<Checkpoint, ModelError> {
    let path = folder.join(WEIGHTS);
    let tensor = with_file(&path, |file| {
        let view = table(&path, file)?;
        let [rows, hidden] = sizes(&path, view.shape())?;
        let mut values = numbers(&path, "the table", &view)?;
        let mut count = rows;
        if let Ok(mapping) = file.tensor("mapping") {
            let places = integers(&path, &mapping)?;
            let mut mapped = Vec::with_capacity(places.len() * hidden);
            for (token, &got) in places.iter().enumerate() {
                let Some(row) = usize::try_from(got).ok().filter(|&row| row < rows) else {
                    return Err(ModelError::Mapping { path: path.clone(), token, got, rows });
                };
                mapped.extend_from_slice(&values[row * hidden..][..hidden]);
            }
            (values, count) = (mapped, places.len());
        }
        if let Ok(weights) = file.tensor("weights") {
            let weights = numbers(&path, "weights", &weights)?;
            if weights.len() != count {
                return Err(ModelError::TensorShape {
                    path: path.clone(),
                    tensor: "weights".to_owned(),
                    expected: vec![count],
                    got: vec![weights.len()],
                });
            }
            for (row, weight) in values.chunks_exact_mut(hidden).zip(weights) {
                for value in row {
                    *value *= weight;
                }
            }
        }
        Ok(HostTensor { shape: vec![count, hidden], values })
    })?;
    Checkpoint::checked(path, vec![(TABLE.to_owned(), tensor)])
}

fn with_file<T>(
    path: &Path,
    read: impl FnOnce(&SafeTensors<'_>) -> Result<T, ModelError>,
) -> Result<T, ModelError> {
    let bytes =
        fs::read(path).map_err(|source| ModelError::Io { path: path.to_owned(), source })?;
    let file = SafeTensors::deserialize(&bytes)
        .map_err(|source| ModelError::Safetensors { path: path.to_owned(), source })?;
    read(&file)
}

fn table<'a>(path: &Path, file: &SafeTensors<'a>) -> Result<TensorView<'a>, ModelError> {
    let found = [TABLE, "embeddings"].iter().find_map(|name| file.tensor(name).ok());
    found.ok_or_else(|| ModelError::MissingTensor {
        path: path.to_owned(),
        tensor: TABLE.to_owned(),
        expected: vec![0, 0],
    })
}

fn sizes(path: &Path, shape: &[usize]) -> Result<[usize; 2], ModelError> {
    <[usize; 2]>::try_from(shape).map_err(|_| ModelError::TensorShape {
        path: path.to_owned(),
        tensor: TABLE.to_owned(),
        expected: vec![0, 0],
        got: shape.to_vec(),
    })
}

/// A tensor's numbers: floats, or whole numbers of eight bits, which stand for themselves.
fn numbers(path: &Path, tensor: &str, view: &TensorView<'_>) -> Result<Vec<f32>, ModelError> {
    if view.dtype() == Dtype::I8 {
        return Ok(view.data().iter().map(|&byte| f32::from(byte.cast_signed())).collect());
    }
    floats(view).ok_or_else(|| wrong_type(path, tensor, view))
}

fn integers(path: &Path, view: &TensorView<'_>) -> Result<Vec<i64>, ModelError> {
    let bytes = view.data();
    match view.dtype() {
        Dtype::I64 => Ok(bytes.as_chunks::<8>().0.iter().map(|&b| i64::from_le_bytes(b)).collect()),
        Dtype::I32 => {
            let numbers = bytes.as_chunks::<4>().0.iter();
            Ok(numbers.map(|&b| i64::from(i32::from_le_bytes(b))).collect())
        }
        _ => Err(wrong_type(path, "mapping", view)),
    }
}

fn wrong_type(path: &Path, tensor: &str, view: &TensorView<'_>) -> ModelError {
    let got = format!("{:?}", view.dtype());
    ModelError::TensorType { path: path.to_owned(), tensor: tensor.to_owned(), got }
}
