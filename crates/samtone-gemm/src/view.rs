use std::ops::Range;

use crate::values::{In, Values};

/// A matrix inside a slice of f32 or bf16: element (i, j) lies at `i · row_stride + j · column_stride`.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    values: Values<'a>,
    pub(crate) rows: usize,
    pub(crate) columns: usize,
    pub(crate) row_stride: usize,
    pub(crate) column_stride: usize,
}

impl<'a> View<'a> {
    /// `rows × columns` of a row-major matrix whose rows start `stride` apart, from the start of
    /// `values`.
    ///
    /// # Panics
    ///
    /// If the matrix does not lie within `values`.
    pub fn new(values: impl Into<Values<'a>>, [rows, columns]: [usize; 2], stride: usize) -> Self {
        let view =
            Self { values: values.into(), rows, columns, row_stride: stride, column_stride: 1 };
        view.check();
        view
    }

    /// Some of its rows.
    ///
    /// # Panics
    ///
    /// If it has no such rows.
    #[must_use]
    pub fn rows(self, range: Range<usize>) -> Self {
        let place = (range.start * self.row_stride).min(self.values.len());
        let view = Self { values: self.values.after(place), rows: range.len(), ..self };
        assert!(range.end <= self.rows, "rows {range:?} of {}", self.rows);
        view
    }

    /// Its transpose, of the same elements.
    #[must_use]
    pub fn t(self) -> Self {
        Self {
            rows: self.columns,
            columns: self.rows,
            row_stride: self.column_stride,
            column_stride: self.row_stride,
            ..self
        }
    }

    /// Where element (i, j) lies: within the slice, if it is one of the matrix.
    pub(crate) fn part(&self, i: usize, j: usize) -> In {
        self.values.at(i * self.row_stride + j * self.column_stride)
    }

    pub(crate) fn is_bf16(&self) -> bool {
        matches!(self.values, Values::Bf16(_))
    }

    fn check(&self) {
        let end = extent([self.rows, self.columns], self.row_stride);
        assert!(end <= self.values.len(), "a view of {end} elements on {}", self.values.len());
        assert!(self.rows < 2 || self.columns <= self.row_stride, "rows that overlap");
    }
}

/// Elements from the first of a row-major matrix to its last, both counted. More than can be
/// counted are more than any slice has: pointers rely on it.
pub(crate) fn extent([rows, columns]: [usize; 2], stride: usize) -> usize {
    if rows == 0 || columns == 0 {
        return 0;
    }
    (rows - 1).saturating_mul(stride).saturating_add(columns)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[should_panic(expected = "a view of 12 elements on 11")]
    fn a_view_beyond_its_slice_is_refused() {
        let _ = View::new(&[0.0_f32; 11], [3, 4], 4);
    }

    #[test]
    #[should_panic(expected = "on 1")]
    fn a_view_that_nobody_can_count_is_refused() {
        let _ = View::new(&[0.0_f32], [2, 1], usize::MAX);
    }

    #[test]
    #[should_panic(expected = "rows that overlap")]
    fn a_view_whose_rows_overlap_is_refused() {
        let _ = View::new(&[0.0_f32; 11], [3, 4], 3);
    }

    #[test]
    #[should_panic(expected = "rows 2..4 of 3")]
    fn rows_that_are_not_there_are_refused() {
        let _ = View::new(&[0.0_f32; 100], [3, 4], 4).rows(2..4);
    }
}
