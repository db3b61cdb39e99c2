//! A tensor outside any backend.

/// The types of elements in files that become those of a [`HostTensor`].
pub(crate) const FLOATS: &str = "F64, F32, F16 or BF16";

/// A tensor on the host.
#[derive(Clone, Debug, PartialEq)]
pub struct HostTensor {
    /// Sizes of its axes.
    pub shape: Vec<usize>,
    /// Its elements, row-major.
    pub values: Vec<f32>,
}
