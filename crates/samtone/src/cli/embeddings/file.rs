//! The files that hold embeddings, of each format and number.

use std::io::{self, Write};

use anyhow::{Context, bail, ensure};
use safetensors::SafeTensors;
use samtone_eval::search::Dtype;
use serde::{Deserialize, Serialize};

/// `--out-format`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum FileFormat {
    /// One tensor `embeddings` `[n, dim]`.
    #[default]
    Safetensors,
    /// NumPy's array `[n, dim]`.
    Npy,
    /// An object a line: `_id` and `embedding`.
    Jsonl,
    /// The columns `id`, `text` and `vector`, lists of one length, with the model card.
    #[cfg(feature = "parquet")]
    Parquet,
}

impl FileFormat {
    /// All of them, in the order in which a folder is asked for them.
    pub(crate) const ALL: &[Self] = &[
        Self::Safetensors,
        Self::Npy,
        Self::Jsonl,
        #[cfg(feature = "parquet")]
        Self::Parquet,
    ];

    /// The file of a folder that is finished.
    pub(crate) fn file(self) -> &'static str {
        match self {
            Self::Safetensors => "embeddings.safetensors",
            Self::Npy => "embeddings.npy",
            Self::Jsonl => "embeddings.jsonl",
            #[cfg(feature = "parquet")]
            Self::Parquet => "embeddings.parquet",
        }
    }
}

/// A matrix of numbers as it lies in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Matrix {
    pub(crate) dtype: Dtype,
    pub(crate) rows: usize,
    /// Numbers of a row, or bytes of a row of bits.
    pub(crate) columns: usize,
}

impl Matrix {
    /// The matrix of embeddings of `dim` dimensions.
    pub(crate) fn new(dtype: Dtype, rows: usize, dim: usize) -> Self {
        let columns = if dtype == Dtype::Binary { dtype.row_bytes(dim) } else { dim };
        Self { dtype, rows, columns }
    }

    /// The start of a safetensors file of one tensor, `embeddings`: the header's length in 8 bytes, the
    /// header, padded so that the numbers are aligned.
    pub(crate) fn safetensors_header(self) -> Vec<u8> {
        let Self { dtype, rows, columns } = self;
        let (name, size) = match dtype {
            Dtype::F32 => ("F32", 4),
            Dtype::F16 => ("F16", 2),
            Dtype::Int8 => ("I8", 1),
            Dtype::Binary => ("U8", 1),
        };
        let bytes = rows * columns * size;
        let mut json = format!(
            r#"{{"embeddings":{{"dtype":"{name}","shape":[{rows},{columns}],"data_offsets":[0,{bytes}]}}}}"#
        );
        while json.len() % 8 != 0 {
            json.push(' ');
        }
        let mut header = (json.len() as u64).to_le_bytes().to_vec();
        header.extend(json.as_bytes());
        header
    }

    /// The start of a file of NumPy's format, version 1.0: the numbers begin at a multiple of 64.
    pub(crate) fn npy_header(self) -> Vec<u8> {
        let Self { dtype, rows, columns } = self;
        let descr = match dtype {
            Dtype::F32 => "<f4",
            Dtype::F16 => "<f2",
            Dtype::Int8 => "|i1",
            Dtype::Binary => "|u1",
        };
        let mut words = format!(
            "{{'descr': '{descr}', 'fortran_order': False, 'shape': ({rows}, {columns}), }}"
        );
        while !(NPY.len() + 2 + words.len() + 1).is_multiple_of(64) {
            words.push(' ');
        }
        words.push('\n');
        let length = u16::try_from(words.len()).expect("two numbers are short");
        [NPY, &length.to_le_bytes(), words.as_bytes()].concat()
    }

    /// The matrix of a safetensors file and its bytes.
    pub(crate) fn of_safetensors(file: &[u8]) -> anyhow::Result<(Self, &[u8])> {
        let found = SafeTensors::deserialize(file).and_then(|file| file.tensor("embeddings"));
        let tensor = found.context("holds no tensor `embeddings`")?;
        let dtype = match tensor.dtype() {
            safetensors::Dtype::F32 => Dtype::F32,
            safetensors::Dtype::F16 => Dtype::F16,
            safetensors::Dtype::I8 => Dtype::Int8,
            safetensors::Dtype::U8 => Dtype::Binary,
            other => bail!("expected numbers of type F32, F16, I8 or U8, got {other:?}"),
        };
        let &[rows, columns] = tensor.shape() else {
            bail!("expected the shape [n, dim], got {:?}", tensor.shape());
        };
        Ok((Self { dtype, rows, columns }, tensor.data()))
    }

    /// The matrix of a file of NumPy's and its bytes.
    pub(crate) fn of_npy(file: &[u8]) -> anyhow::Result<(Self, &[u8])> {
        let parsed = npy(file).context("is no array of NumPy's, version 1.0, in C's order")?;
        let (descr, (rows, columns), bytes) = parsed;
        let dtype = match descr {
            "<f4" => Dtype::F32,
            "<f2" => Dtype::F16,
            "|i1" => Dtype::Int8,
            "|u1" => Dtype::Binary,
            other => bail!("expected numbers of type <f4, <f2, |i1 or |u1, got {other}"),
        };
        let matrix = Self { dtype, rows, columns };
        let size = dtype.row_bytes(8) * columns / if dtype == Dtype::Binary { 1 } else { 8 };
        let expected = rows * size;
        ensure!(bytes.len() == expected, "holds {} bytes, expected {expected}", bytes.len());
        Ok((matrix, bytes))
    }
}

const NPY: &[u8] = b"\x93NUMPY\x01\0";

/// What an array of two axes says of its numbers, its shape, and its bytes.
fn npy(file: &[u8]) -> Option<(&str, (usize, usize), &[u8])> {
    let (length, rest) = file.strip_prefix(NPY)?.split_first_chunk::<2>()?;
    let (words, bytes) = rest.split_at_checked(u16::from_le_bytes(*length).into())?;
    let words = std::str::from_utf8(words).ok()?;
    let after = |key: &str| words.split_once(key)?.1.split_once(':').map(|(_, value)| value.trim());
    let descr = after("'descr'")?.strip_prefix('\'')?.split('\'').next()?;
    after("'fortran_order'")?.strip_prefix("False")?;
    let shape = after("'shape'")?.strip_prefix('(')?.split(')').next()?;
    let (rows, columns) = shape.split_once(',')?;
    Some((descr, (rows.trim().parse().ok()?, columns.trim().parse().ok()?), bytes))
}

/// Writes `id` and its stored `row` as a line of JSON.
pub(crate) fn write_json_line(
    out: &mut impl Write,
    id: &str,
    dtype: Dtype,
    row: &[u8],
) -> io::Result<()> {
    #[derive(Serialize)]
    struct Line<'a, T> {
        #[serde(rename = "_id")]
        id: &'a str,
        embedding: T,
    }
    match dtype {
        Dtype::F32 | Dtype::F16 => {
            let dim = row.len() / dtype.row_bytes(1);
            let embedding = dtype.decode(row, dim, &Default::default());
            serde_json::to_writer(&mut *out, &Line { id, embedding })?;
        }
        Dtype::Int8 => {
            let embedding: &[i8] = bytemuck::cast_slice(row);
            serde_json::to_writer(&mut *out, &Line { id, embedding })?;
        }
        Dtype::Binary => serde_json::to_writer(&mut *out, &Line { id, embedding: row })?,
    }
    out.write_all(b"\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    type Read = fn(&[u8]) -> anyhow::Result<(Matrix, &[u8])>;

    #[test]
    fn a_header_says_what_was_written() {
        for dtype in [Dtype::F32, Dtype::F16, Dtype::Int8, Dtype::Binary] {
            let matrix = Matrix::new(dtype, 3, 12);
            let numbers: Vec<u8> = (0..).take(3 * dtype.row_bytes(12)).collect();
            let read = |header: Vec<u8>, of: Read| {
                let file = [header, numbers.clone()].concat();
                let (found, bytes) = of(&file).unwrap();
                assert_eq!((found, bytes), (matrix, &numbers[..]), "{dtype}");
                assert!(of(&file[..file.len() - 1]).is_err());
            };
            read(matrix.safetensors_header(), Matrix::of_safetensors);
            read(matrix.npy_header(), Matrix::of_npy);
            assert_eq!(matrix.npy_header().len() % 64, 0);
        }
    }

    #[test]
    fn an_array_that_is_no_row_of_embeddings_is_refused() {
        let file = |words: &str| {
            let length = u16::try_from(words.len()).unwrap().to_le_bytes();
            [NPY, &length[..], words.as_bytes()].concat()
        };
        for words in [
            "{'descr': '<f4', 'fortran_order': True, 'shape': (0, 2), }",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (0,), }",
            "{'descr': '<f8', 'fortran_order': False, 'shape': (0, 2), }",
            "",
        ] {
            assert!(Matrix::of_npy(&file(words)).is_err(), "{words}");
        }
        let numpy = "{'descr': '<f4', 'fortran_order': False, 'shape': (0, 2), }  \n";
        assert!(Matrix::of_npy(&file(numpy)).is_ok());
    }

    #[test]
    fn a_line_holds_numbers_as_they_are_stored() {
        let line = |dtype: Dtype, row: &[u8]| {
            let mut out = Vec::new();
            write_json_line(&mut out, "a\"b", dtype, row).unwrap();
            String::from_utf8(out).unwrap()
        };
        let row = [0.5_f32, -0.1].map(f32::to_le_bytes).concat();
        assert_eq!(line(Dtype::F32, &row), "{\"_id\":\"a\\\"b\",\"embedding\":[0.5,-0.1]}\n");
        assert_eq!(line(Dtype::F16, &[0, 0x38]), "{\"_id\":\"a\\\"b\",\"embedding\":[0.5]}\n");
        assert_eq!(line(Dtype::Int8, &[255, 3]), "{\"_id\":\"a\\\"b\",\"embedding\":[-1,3]}\n");
        assert_eq!(line(Dtype::Binary, &[255]), "{\"_id\":\"a\\\"b\",\"embedding\":[255]}\n");
    }
}
