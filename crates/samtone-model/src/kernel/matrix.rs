//! What operations take and give: matrices held in f32 or bf16, computed with in f32.

use std::borrow::Cow;
use std::ops::Range;

use burn::tensor::{Bytes, DType, Shape};
use burn_flex::{FlexTensor, Layout};
use half::bf16;
use samtone_gemm::{Values, View};

use super::math::vectorised;

/// Elements that are computed in f32 at once where they are held in bf16, about: they stay in the
/// second-level cache.
pub(super) const PIECE: usize = 64 * 1024;

/// What the elements of a matrix are held in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Held {
    F32,
    Bf16,
}

/// Elements that an operation has made.
#[derive(Clone, Debug)]
pub(crate) enum Elements {
    F32(Vec<f32>),
    Bf16(Vec<bf16>),
}

impl Elements {
    pub(super) fn of(values: Vec<f32>, held: Held) -> Self {
        match held {
            Held::F32 => Self::F32(values),
            Held::Bf16 => {
                let mut narrowed = vec![bf16::ZERO; values.len()];
                narrow(&values, &mut narrowed);
                Self::Bf16(narrowed)
            }
        }
    }

    pub(super) fn values(&self) -> Values<'_> {
        match self {
            Self::F32(values) => values.as_slice().into(),
            Self::Bf16(values) => values.as_slice().into(),
        }
    }

    /// Some of them, in f32.
    pub(super) fn part(&self, place: Range<usize>) -> Cow<'_, [f32]> {
        part(self.values(), place)
    }
}

impl From<Vec<f32>> for Elements {
    fn from(values: Vec<f32>) -> Self {
        Self::F32(values)
    }
}

/// Elements, row-major, and their shape.
#[derive(Clone, Debug)]
pub(crate) struct Matrix(pub(super) FlexTensor);

impl Matrix {
    pub(super) fn new(elements: impl Into<Elements>, shape: impl Into<Vec<usize>>) -> Self {
        let layout = Layout::contiguous(Shape::from(shape.into()));
        let (bytes, dtype) = match elements.into() {
            Elements::F32(values) => (Bytes::from_elems(values), DType::F32),
            Elements::Bf16(values) => (Bytes::from_elems(values), DType::BF16),
        };
        Self(FlexTensor::new(bytes, layout, dtype))
    }

    /// The same elements one after the other.
    pub(super) fn contiguous(tensor: &FlexTensor) -> Self {
        Self(tensor.to_contiguous())
    }

    /// The shape and the type alone, without the elements.
    pub(super) fn hollow(&self) -> Self {
        let shape = self.0.layout().shape().clone();
        let strides = vec![0; shape.num_dims()];
        let (bytes, dtype) = match self.held() {
            Held::F32 => (Bytes::from_elems(vec![0.0_f32]), DType::F32),
            Held::Bf16 => (Bytes::from_elems(vec![bf16::ZERO]), DType::BF16),
        };
        Self(FlexTensor::new(bytes, Layout::new(shape, strides, 0), dtype))
    }

    pub(super) fn shape(&self) -> &[usize] {
        self.0.layout().shape().as_slice()
    }

    pub(super) fn held(&self) -> Held {
        match self.0.dtype() {
            DType::F32 => Held::F32,
            DType::BF16 => Held::Bf16,
            other => unreachable!("`takes` let {other:?} pass"),
        }
    }

    fn elements(&self) -> Values<'_> {
        const WHOLE: &str = "matrices are contiguous";
        match self.held() {
            Held::F32 => self.0.as_slice::<f32>().expect(WHOLE).into(),
            Held::Bf16 => self.0.as_slice::<bf16>().expect(WHOLE).into(),
        }
    }

    /// All elements, in f32.
    pub(super) fn values(&self) -> Cow<'_, [f32]> {
        self.part(0..self.shape().iter().product())
    }

    /// Some of the elements, in f32.
    pub(super) fn part(&self, place: Range<usize>) -> Cow<'_, [f32]> {
        part(self.elements(), place)
    }

    /// A factor of a product: rows that start `stride` elements apart, the first at `start`.
    pub(super) fn view(&self, start: usize, shape: [usize; 2], stride: usize) -> View<'_> {
        match self.elements() {
            Values::F32(values) => View::new(&values[start..], shape, stride),
            Values::Bf16(values) => View::new(&values[start..], shape, stride),
        }
    }
}

fn part(values: Values<'_>, place: Range<usize>) -> Cow<'_, [f32]> {
    match values {
        Values::F32(values) => Cow::Borrowed(&values[place]),
        Values::Bf16(values) => Cow::Owned(widened(&values[place])),
    }
}

pub(super) fn widened(values: &[bf16]) -> Vec<f32> {
    let wide = |value: &bf16| f32::from_bits(u32::from(value.to_bits()) << 16);
    vectorised(|| values.iter().map(wide).collect())
}

/// Rounds to the nearest bf16, ties to even; what is not a number stays so.
pub(super) fn narrow(values: &[f32], to: &mut [bf16]) {
    vectorised(|| {
        for (to, value) in to.iter_mut().zip(values) {
            let bits = value.to_bits();
            let nearest = bits.wrapping_add(0x7fff + (bits >> 16 & 1));
            let rounded = if value.is_nan() { bits | 0x0040_0000 } else { nearest };
            *to = bf16::from_bits((rounded >> 16) as u16);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_become_bf16_and_back_as_the_crate_half_has_it() {
        let mut values: Vec<f32> = (0..=u16::MAX)
            .flat_map(|high| {
                let low = u32::from(high).wrapping_mul(40_503) & 0xffff;
                [low, 0x7fff, 0x8000, 0x8001].map(|low| f32::from_bits(u32::from(high) << 16 | low))
            })
            .collect();
        values.extend([f32::MAX, f32::MIN_POSITIVE, f32::INFINITY]);
        let mut narrowed = vec![bf16::ZERO; values.len()];
        narrow(&values, &mut narrowed);
        for ((value, narrowed), wide) in values.iter().zip(&narrowed).zip(widened(&narrowed)) {
            let expected = bf16::from_f32(*value);
            assert_eq!(narrowed.to_bits(), expected.to_bits(), "{value:e}");
            assert_eq!(wide.to_bits(), expected.to_f32().to_bits(), "{value:e}");
        }
    }
}
