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
use crate::folder::checkpoint::{Checkpoint, HostTensor, WEIGHTS, floats};
use crate::folder::keys::Keys;
use crate::folder::names::Names;
use crate::folder::{CONFIG, unsupported};

/// The table's name here and in the file that is written.
pub(crate) const TABLE: &str = "embedding.weight";

/// The file that is written calls it as this crate does.
pub(crate) const NAMES: Names = Names { rules: &[], words: TABLE, left_out: &[], adapted: &[] };

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
/// If there is no file, it is broken, or it holds no table or more than one.
pub(crate) fn read_config(folder: &Path) -> Result<StaticConfig, ModelError> {
    let path = folder.join(WEIGHTS);
    with_file(&path, |file| {
        let parts = Parts::find(&path, file)?;
        Ok(StaticConfig { vocab_size: parts.tokens, hidden: parts.hidden })
    })
}

/// Reads the table, a row a token.
///
/// # Errors
/// As [`read_config`], or if a mapping points outside the table.
pub(crate) fn read_weights(folder: &Path) -> Result<Checkpoint, ModelError> {
    let path = folder.join(WEIGHTS);
    let tensor = with_file(&path, |file| {
        let Parts { name, table, mapping, weights, rows, tokens, hidden } =
            Parts::find(&path, file)?;
        let mut values = numbers(&path, name, &table)?;
        if let Some(mapping) = mapping {
            let mut mapped = Vec::with_capacity(tokens * hidden);
            for (token, &got) in integers(&path, &mapping)?.iter().enumerate() {
                let Some(row) = usize::try_from(got).ok().filter(|&row| row < rows) else {
                    return Err(ModelError::Mapping { path: path.clone(), token, got, rows });
                };
                mapped.extend_from_slice(&values[row * hidden..][..hidden]);
            }
            values = mapped;
        }
        if let Some(weights) = weights {
            let weights = numbers(&path, "weights", &weights)?;
            for (row, weight) in values.chunks_exact_mut(hidden.max(1)).zip(weights) {
                for value in row {
                    *value *= weight;
                }
            }
        }
        Ok(HostTensor { shape: vec![tokens, hidden], values })
    })?;
    Checkpoint::checked(path, vec![(TABLE.to_owned(), tensor)])
}

/// Most numbers in a table that a mapping makes of a smaller one: 4 GiB, four times the largest that
/// is published. A small file could ask for any amount.
const MOST_MAPPED: usize = 1 << 30;

/// What of a file makes the table.
struct Parts<'a> {
    /// The file's name of the table.
    name: &'static str,
    table: TensorView<'a>,
    /// The row of each token; none: its own.
    mapping: Option<TensorView<'a>>,
    /// The factor of each token; none: 1.
    weights: Option<TensorView<'a>>,
    /// Rows of the file's table.
    rows: usize,
    /// Rows of the table that becomes of it.
    tokens: usize,
    hidden: usize,
}

impl<'a> Parts<'a> {
    fn find(path: &Path, file: &SafeTensors<'a>) -> Result<Self, ModelError> {
        let of_name = |name| file.tensor(name).ok();
        let (name, known): (_, &[&str]) = match of_name(TABLE) {
            Some(_) => (TABLE, &[TABLE]),
            None => ("embeddings", &["embeddings", "mapping", "weights"]),
        };
        let table = of_name(name).ok_or_else(|| ModelError::MissingTensor {
            path: path.to_owned(),
            tensor: TABLE.to_owned(),
            expected: vec![0, 0],
        })?;
        // sentence-transformers reads no factors beside its own tensor, model2vec does.
        if let Some((extra, view)) = file.iter().find(|(name, _)| !known.contains(name)) {
            return Err(ModelError::ExtraTensor {
                path: path.to_owned(),
                tensor: extra.to_owned(),
                got: view.shape().to_vec(),
            });
        }
        let &[rows, hidden] = table.shape() else {
            return Err(misshapen(path, name, vec![0, 0], &table));
        };
        let (mapping, weights) = match name {
            TABLE => (None, None),
            _ => (of_name("mapping"), of_name("weights")),
        };
        let mut tokens = rows;
        if let Some(mapping) = &mapping {
            tokens = mapping.shape().iter().product();
            if mapping.shape() != [tokens] {
                return Err(misshapen(path, "mapping", vec![tokens], mapping));
            }
            if tokens.saturating_mul(hidden) > MOST_MAPPED {
                let got = format!("{tokens} rows of {hidden} numbers");
                return Err(unsupported(path, "mapping", &got, "at most 2^30 numbers in all"));
            }
        }
        if let Some(weights) = &weights
            && weights.shape() != [tokens]
        {
            return Err(misshapen(path, "weights", vec![tokens], weights));
        }
        Ok(Self { name, table, mapping, weights, rows, tokens, hidden })
    }
}

fn misshapen(path: &Path, name: &str, expected: Vec<usize>, view: &TensorView<'_>) -> ModelError {
    let (tensor, got) = (name.to_owned(), view.shape().to_vec());
    ModelError::TensorShape { path: path.to_owned(), tensor, expected, got }
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

/// A tensor's numbers: floats, or whole numbers of eight bits, which stand for themselves: model2vec
/// keeps no scale of what it rounds to them.
fn numbers(path: &Path, tensor: &str, view: &TensorView<'_>) -> Result<Vec<f32>, ModelError> {
    if view.dtype() == Dtype::I8 {
        return Ok(view.data().iter().map(|&byte| f32::from(byte.cast_signed())).collect());
    }
    floats(view).ok_or_else(|| wrong_type(path, tensor, view, "F64, F32, F16, BF16 or I8"))
}

fn integers(path: &Path, view: &TensorView<'_>) -> Result<Vec<i64>, ModelError> {
    let bytes = view.data();
    match view.dtype() {
        Dtype::I64 => Ok(bytes.as_chunks::<8>().0.iter().map(|&b| i64::from_le_bytes(b)).collect()),
        Dtype::I32 => {
            let numbers = bytes.as_chunks::<4>().0.iter();
            Ok(numbers.map(|&b| i64::from(i32::from_le_bytes(b))).collect())
        }
        _ => Err(wrong_type(path, "mapping", view, "I64 or I32")),
    }
}

fn wrong_type(
    path: &Path,
    tensor: &str,
    view: &TensorView<'_>,
    expected: &'static str,
) -> ModelError {
    let got = format!("{:?}", view.dtype());
    ModelError::TensorType { path: path.to_owned(), tensor: tensor.to_owned(), got, expected }
}
