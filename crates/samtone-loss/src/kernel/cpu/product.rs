//! Matrix products on slices, one thread each.

/// A matrix inside a slice, by its strides.
#[derive(Clone, Copy)]
pub(super) struct View<'a> {
    data: &'a [f32],
    rows: usize,
    columns: usize,
    row_stride: usize,
    column_stride: usize,
}

impl<'a> View<'a> {
    /// Rows of `columns` entries that start `stride` apart.
    pub(super) fn new(data: &'a [f32], rows: usize, columns: usize, stride: usize) -> Self {
        assert!(rows > 0 && columns > 0 && columns <= stride, "an empty or overlapping matrix");
        assert!((rows - 1) * stride + columns <= data.len(), "a matrix larger than its slice");
        Self { data, rows, columns, row_stride: stride, column_stride: 1 }
    }

    /// The transpose.
    pub(super) fn t(self) -> Self {
        Self {
            data: self.data,
            rows: self.columns,
            columns: self.rows,
            row_stride: self.column_stride,
            column_stride: self.row_stride,
        }
    }
}

/// `out = lhs·rhs`, or `out += lhs·rhs` where it accumulates. Rows of `out` start `stride` apart.
pub(super) fn multiply(
    out: &mut [f32],
    stride: usize,
    lhs: View<'_>,
    rhs: View<'_>,
    accumulate: bool,
) {
    let (m, k, n) = (lhs.rows, lhs.columns, rhs.columns);
    assert_eq!(k, rhs.rows, "the inner sizes of a product differ");
    assert!(n <= stride && (m - 1) * stride + n <= out.len(), "a product larger than its slice");
    let stride = stride as isize;
    #[expect(unsafe_code, reason = "the strides were checked against the slices")]
    // SAFETY: `View::new` and the assertions above keep every access inside the three slices, and
    // `out` is borrowed mutably, so it overlaps neither operand.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            out.as_mut_ptr(),
            1,
            stride,
            accumulate,
            lhs.data.as_ptr(),
            lhs.column_stride as isize,
            lhs.row_stride as isize,
            rhs.data.as_ptr(),
            rhs.column_stride as isize,
            rhs.row_stride as isize,
            1.0,
            1.0,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_follow_their_strides() {
        let a = [1.0, 2.0, 9.0, 3.0, 4.0, 9.0]; // [[1, 2], [3, 4]], stride 3
        let b = [5.0, 6.0, 7.0, 8.0]; // [[5, 6], [7, 8]]
        let (a, b) = (View::new(&a, 2, 2, 3), View::new(&b, 2, 2, 2));
        let mut out = [0.0; 6];
        multiply(&mut out, 3, a, b, false);
        assert_eq!(out, [19.0, 22.0, 0.0, 43.0, 50.0, 0.0]);
        multiply(&mut out, 3, a.t(), b, true);
        assert_eq!(out, [19.0 + 26.0, 22.0 + 30.0, 0.0, 43.0 + 38.0, 50.0 + 44.0, 0.0]);
    }
}
