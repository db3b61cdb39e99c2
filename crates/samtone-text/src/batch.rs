//! Token batches: what an encoder reads.

/// A batch of token sequences, padded on the right to one length.
///
/// Held on the host; the model moves it to its device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenBatch {
    ids: Vec<u32>,
    lengths: Vec<usize>,
    seq: usize,
}

impl TokenBatch {
    /// Pads `rows` with `pad_id` to the longest of them.
    ///
    /// # Panics
    /// If there is no row, or an empty one: no encoder can pool zero tokens.
    pub fn pad<R: AsRef<[u32]>>(rows: &[R], pad_id: u32) -> Self {
        Self::pad_to(rows, pad_id, 0)
    }

    /// Pads `rows` with `pad_id` to the longest of them, or to `min_seq` if that is longer.
    ///
    /// # Panics
    /// As [`TokenBatch::pad`].
    pub fn pad_to<R: AsRef<[u32]>>(rows: &[R], pad_id: u32, min_seq: usize) -> Self {
        assert!(!rows.is_empty(), "a token batch needs at least one row");
        let lengths: Vec<usize> = rows.iter().map(|row| row.as_ref().len()).collect();
        assert!(lengths.iter().all(|&n| n > 0), "a token batch cannot hold an empty row");
        let seq = lengths.iter().copied().fold(min_seq, usize::max);
        let mut ids = Vec::with_capacity(rows.len() * seq);
        for row in rows {
            let row = row.as_ref();
            ids.extend_from_slice(row);
            ids.resize(ids.len() + seq - row.len(), pad_id);
        }
        Self { ids, lengths, seq }
    }

    /// Token ids, row-major `[batch, seq]`.
    pub fn ids(&self) -> &[u32] {
        &self.ids
    }

    /// Real tokens of each row, `[batch]`; the rest is padding.
    pub fn lengths(&self) -> &[usize] {
        &self.lengths
    }

    /// Rows.
    pub fn batch(&self) -> usize {
        self.lengths.len()
    }

    /// Padded length of every row, in tokens.
    pub fn seq(&self) -> usize {
        self.seq
    }

    /// Real tokens in the whole batch, padding left out.
    pub fn tokens(&self) -> usize {
        self.lengths.iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_padded_to_the_longest() {
        let batch = TokenBatch::pad(&[vec![5, 6, 7], vec![8]], 0);
        assert_eq!(batch.ids(), [5, 6, 7, 8, 0, 0]);
        assert_eq!((batch.batch(), batch.seq(), batch.tokens()), (2, 3, 4));
    }

    #[test]
    #[should_panic(expected = "empty row")]
    fn an_empty_row_is_refused() {
        let _ = TokenBatch::pad(&[vec![5], vec![]], 0);
    }
}
