//! Embeddings in fewer numbers and in smaller ones.

use half::f16;
use serde::{Deserialize, Serialize};

use super::Similarity;
use super::scan::inverse_length_of;

/// What a stored embedding's numbers are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Dtype {
    /// Four bytes a number.
    #[default]
    F32,
    /// Two bytes.
    F16,
    /// One: a step between the least and the greatest number of its dimension ([`Ranges`]).
    Int8,
    /// A bit: whether it is above 0 ([`signs`]).
    Binary,
}

impl Dtype {
    /// Its name in files.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Int8 => "int8",
            Self::Binary => "binary",
        }
    }

    /// Bytes of an embedding of `dim` numbers.
    pub fn row_bytes(self, dim: usize) -> usize {
        match self {
            Self::F32 => 4 * dim,
            Self::F16 => 2 * dim,
            Self::Int8 => dim,
            Self::Binary => dim.div_ceil(8),
        }
    }

    /// `rows` as they are stored, little-endian; `ranges` are those of [`Int8`](Self::Int8).
    ///
    /// # Shapes
    /// - `rows`: `[n, dim]`
    ///
    /// # Panics
    /// If `ranges` are not of `dim` dimensions, for `Int8`.
    pub fn encode(self, rows: &[f32], dim: usize, ranges: &Ranges) -> Vec<u8> {
        match self {
            Self::F32 => rows.iter().flat_map(|x| x.to_le_bytes()).collect(),
            Self::F16 => rows.iter().flat_map(|&x| f16::from_f32(x).to_le_bytes()).collect(),
            Self::Int8 => ranges.encode(rows, dim),
            Self::Binary => signs(rows, dim),
        }
    }

    /// The numbers of stored rows: what is compared with a query.
    ///
    /// A bit is 1 or −1.
    ///
    /// # Shapes
    /// - returns `[n, dim]`
    ///
    /// # Panics
    /// As [`encode`](Self::encode), or if `bytes` are no whole rows.
    pub fn decode(self, bytes: &[u8], dim: usize, ranges: &Ranges) -> Vec<f32> {
        let row = self.row_bytes(dim);
        assert!(
            row > 0 && bytes.len().is_multiple_of(row),
            "{} bytes in rows of {row}",
            bytes.len()
        );
        match self {
            Self::F32 => bytes.as_chunks().0.iter().map(|&x| f32::from_le_bytes(x)).collect(),
            Self::F16 => {
                bytes.as_chunks().0.iter().map(|&x| f16::from_le_bytes(x).to_f32()).collect()
            }
            Self::Int8 => ranges.decode(bytes, dim),
            Self::Binary => {
                let bit = |row: &[u8], at: usize| row[at / 8] >> (7 - at % 8) & 1 == 1;
                let number = |is_set| if is_set { 1.0 } else { -1.0 };
                bytes
                    .chunks_exact(row)
                    .flat_map(|row| (0..dim).map(move |at| number(bit(row, at))))
                    .collect()
            }
        }
    }
}

impl std::fmt::Display for Dtype {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// The least and the greatest number of each dimension, between which [`Dtype::Int8`] has 255 steps: as
/// sentence-transformers' `quantize_embeddings` calibrates, but that a number goes to the nearest
/// step, where that one cuts towards 0.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Ranges {
    /// The least.
    pub low: Vec<f32>,
    /// The greatest.
    pub high: Vec<f32>,
}

impl Ranges {
    /// The ranges of `rows`.
    ///
    /// # Shapes
    /// - `rows`: `[n, dim]`
    pub fn of(rows: &[f32], dim: usize) -> Self {
        let mut ranges = Self::default();
        ranges.widen(rows, dim);
        ranges
    }

    /// Takes in more rows.
    ///
    /// # Shapes
    /// - `rows`: `[n, dim]`
    pub fn widen(&mut self, rows: &[f32], dim: usize) {
        self.low.resize(dim, f32::INFINITY);
        self.high.resize(dim, f32::NEG_INFINITY);
        for row in rows.chunks_exact(dim) {
            for ((low, high), &x) in self.low.iter_mut().zip(&mut self.high).zip(row) {
                (*low, *high) = (low.min(x), high.max(x));
            }
        }
    }

    fn step(&self, at: usize) -> f32 {
        (self.high[at] - self.low[at]) / 255.0
    }

    /// The codes of `rows`, each the bits of an i8.
    fn encode(&self, rows: &[f32], dim: usize) -> Vec<u8> {
        assert_eq!(self.low.len(), dim, "a range for each dimension");
        let code = |(at, &x): (usize, &f32)| {
            let step = self.step(at);
            let steps = if step > 0.0 { ((x - self.low[at]) / step).round() } else { 0.0 };
            ((steps - 128.0).clamp(-128.0, 127.0) as i8).cast_unsigned()
        };
        rows.chunks_exact(dim).flat_map(|row| row.iter().enumerate().map(code)).collect()
    }

    fn decode(&self, rows: &[u8], dim: usize) -> Vec<f32> {
        assert_eq!(self.low.len(), dim, "a range for each dimension");
        let number = |(at, &x): (usize, &u8)| {
            self.low[at] + (f32::from(x.cast_signed()) + 128.0) * self.step(at)
        };
        rows.chunks_exact(dim).flat_map(|row| row.iter().enumerate().map(number)).collect()
    }
}

/// The signs of embeddings, eight a byte, the first in the highest bit, as NumPy's `packbits` and FAISS
/// have them: 1 above 0. A row that ends inside a byte is filled with 0.
///
/// # Shapes
/// - `rows`: `[n, dim]`; returns `[n, ⌈dim / 8⌉]`
pub fn signs(rows: &[f32], dim: usize) -> Vec<u8> {
    let byte = |numbers: &[f32]| {
        (0..).zip(numbers).fold(0, |byte, (at, &x)| byte | u8::from(x > 0.0) << (7 - at))
    };
    rows.chunks_exact(dim).flat_map(|row| row.chunks(8).map(byte)).collect()
}

/// The first `to` numbers of each embedding; for the cosine at length 1 again, a row of zeros as it is.
///
/// # Shapes
/// - `rows`: `[n, dim]`; returns `[n, to]`
///
/// # Panics
/// If `to` is 0 or beyond `dim`.
pub fn cut(rows: &[f32], dim: usize, to: usize, similarity: Similarity) -> Vec<f32> {
    assert!((1..=dim).contains(&to), "{to} of {dim} dimensions");
    let mut cut = Vec::with_capacity(rows.len() / dim * to);
    for row in rows.chunks_exact(dim) {
        let row = &row[..to];
        let scale = if similarity == Similarity::Cosine { inverse_length_of(row) } else { 1.0 };
        cut.extend(row.iter().map(|x| x * scale));
    }
    cut
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_stored_is_read_within_its_precision() {
        let rows = [0.5, -0.25, 0.125, /* */ -1.0, 0.75, 0.125, /* */ 0.1, 0.0, 0.125];
        let ranges = Ranges::of(&rows, 3);
        assert_eq!((ranges.low[1], ranges.high[1]), (-0.25, 0.75));
        // Half a step of the widest range is 1.5 / 510.
        for (dtype, bytes, error) in
            [(Dtype::F32, 36, 0.0), (Dtype::F16, 18, 3e-5), (Dtype::Int8, 9, 0.003)]
        {
            let stored = dtype.encode(&rows, 3, &ranges);
            assert_eq!((stored.len(), 3 * dtype.row_bytes(3)), (bytes, bytes));
            let read = dtype.decode(&stored, 3, &ranges);
            for (a, b) in rows.iter().zip(&read) {
                assert!((a - b).abs() <= error, "{dtype}: {a} {b}");
            }
        }
    }

    #[test]
    fn int8_has_the_steps_of_sentence_transformers() {
        // quantize_embeddings([[0, 7], [0.25, 7], [1, 7]]): steps of 1/255 from −128, 63.75 of them.
        let rows = [0.0, 7.0, /* */ 0.25, 7.0, /* */ 1.0, 7.0];
        let stored = Dtype::Int8.encode(&rows, 2, &Ranges::of(&rows, 2));
        let codes: &[i8] = bytemuck::cast_slice(&stored);
        assert_eq!(codes, [-128, -128, -64, -128, 127, -128]);
        let read = Dtype::Int8.decode(&stored, 2, &Ranges::of(&rows, 2));
        assert_eq!([read[0], read[1], read[4], read[5]], [0.0, 7.0, 1.0, 7.0]);
    }

    #[test]
    fn signs_are_packed_as_numpy_packs_them() {
        // np.packbits([[1, 0, 1, 0, 0, 0, 0, 1, 1]], axis=1) is [[161, 128]].
        let row = [0.1, -0.1, 2.0, 0.0, -1.0, -0.0, -3.0, 1.0, 1.0];
        assert_eq!(signs(&row, 9), [161, 128]);
        let read = Dtype::Binary.decode(&[161, 128], 9, &Ranges::default());
        assert_eq!(read, [1.0, -1.0, 1.0, -1.0, -1.0, -1.0, -1.0, 1.0, 1.0]);
    }

    #[test]
    fn cut_embeddings_have_length_one_where_length_does_not_count() {
        let rows = [3.0, 4.0, 12.0, /* */ 0.0, 0.0, 1.0];
        assert_eq!(cut(&rows, 3, 2, Similarity::Cosine), [0.6, 0.8, 0.0, 0.0]);
        assert_eq!(cut(&rows, 3, 2, Similarity::Dot), [3.0, 4.0, 0.0, 0.0]);
    }
}
