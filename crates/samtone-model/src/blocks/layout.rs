//! Where each text's tokens lie among the rows of a hidden-state matrix.

use std::ops::Range;

use samtone_text::TokenBatch;

/// The tokens of a batch as rows of one matrix, `[rows, hidden]`.
///
/// Padded: every text takes `seq` rows, as `[batch, seq, hidden]` flattened. Packed: only real
/// tokens have rows, one text after the other, so nothing is computed for padding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    starts: Vec<usize>,
    lengths: Vec<usize>,
    seq: Option<usize>,
}

impl Layout {
    pub(crate) fn padded(batch: &TokenBatch) -> Self {
        let seq = batch.seq();
        Self {
            starts: (0..batch.batch()).map(|text| text * seq).collect(),
            lengths: batch.lengths().to_vec(),
            seq: Some(seq),
        }
    }

    pub(crate) fn packed(batch: &TokenBatch) -> Self {
        let mut rows = 0;
        let starts = batch
            .lengths()
            .iter()
            .map(|length| {
                rows += length;
                rows - length
            })
            .collect();
        Self { starts, lengths: batch.lengths().to_vec(), seq: None }
    }

    /// Texts.
    pub(crate) fn batch(&self) -> usize {
        self.lengths.len()
    }

    /// Real tokens of the longest text.
    pub(crate) fn longest(&self) -> usize {
        self.lengths.iter().copied().max().unwrap_or(0)
    }

    /// Real tokens of each text.
    pub(crate) fn lengths(&self) -> &[usize] {
        &self.lengths
    }

    /// The padded length of every text; none: the layout is packed.
    pub(crate) fn seq(&self) -> Option<usize> {
        self.seq
    }

    /// The rows that hold `text`'s real tokens.
    pub(crate) fn span(&self, text: usize) -> Range<usize> {
        self.starts[text]..self.starts[text] + self.lengths[text]
    }

    /// The text of a row, and the row's position in it.
    pub(crate) fn place(&self, row: usize) -> (usize, usize) {
        let text = self.starts.partition_point(|&start| start <= row) - 1;
        (text, row - self.starts[text])
    }

    /// The rows of every text's real tokens.
    pub(crate) fn spans(&self) -> impl Iterator<Item = Range<usize>> + '_ {
        (0..self.batch()).map(|text| self.span(text))
    }

    /// The token id of every row, padding included where it has rows.
    pub(crate) fn ids(&self, batch: &TokenBatch) -> Vec<usize> {
        let row = |text: usize| &batch.ids()[text * batch.seq()..][..batch.seq()];
        (0..self.batch())
            .flat_map(|text| &row(text)[..self.seq.unwrap_or(self.lengths[text])])
            .map(|&id| id as usize)
            .collect()
    }

    /// The position of every row in its text, from 0.
    pub(crate) fn positions(&self) -> Vec<usize> {
        self.lengths.iter().flat_map(|&length| 0..self.seq.unwrap_or(length)).collect()
    }
}

/// A row's number as backends index with it.
pub(crate) fn index(row: usize) -> i32 {
    i32::try_from(row).expect("no tensor here has 2^31 rows")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packed_layout_has_no_padding_rows() {
        let batch = TokenBatch::pad(&[vec![5, 6, 7], vec![8]], 0);
        let (packed, padded) = (Layout::packed(&batch), Layout::padded(&batch));
        assert_eq!(packed.ids(&batch), [5, 6, 7, 8]);
        assert_eq!(packed.positions(), [0, 1, 2, 0]);
        assert_eq!(packed.spans().collect::<Vec<_>>(), [0..3, 3..4]);
        assert_eq!(padded.ids(&batch), [5, 6, 7, 8, 0, 0]);
        assert_eq!(padded.spans().collect::<Vec<_>>(), [0..3, 3..4]);
        assert_eq!((packed.place(3), padded.place(3)), ((1, 0), (1, 0)));
    }
}
