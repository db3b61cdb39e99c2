use half::bf16;

/// Numbers of one of the two types.
#[derive(Clone, Copy, Debug)]
pub enum Values<'a> {
    /// Of 32 bits.
    F32(&'a [f32]),
    /// Of 16 bits: the upper half of an f32.
    Bf16(&'a [bf16]),
}

/// Where numbers of one of the two types are written.
#[derive(Debug)]
pub enum Target<'a> {
    /// Of 32 bits.
    F32(&'a mut [f32]),
    /// Of 16 bits: the upper half of an f32.
    Bf16(&'a mut [bf16]),
}

macro_rules! from {
    ($kind:ident, $number:ty) => {
        impl<'a> From<&'a [$number]> for Values<'a> {
            fn from(values: &'a [$number]) -> Self {
                Self::$kind(values)
            }
        }

        impl<'a> From<&'a Vec<$number>> for Values<'a> {
            fn from(values: &'a Vec<$number>) -> Self {
                Self::$kind(values)
            }
        }

        impl<'a> From<&'a mut [$number]> for Values<'a> {
            fn from(values: &'a mut [$number]) -> Self {
                Self::$kind(values)
            }
        }

        impl<'a> From<&'a mut Vec<$number>> for Values<'a> {
            fn from(values: &'a mut Vec<$number>) -> Self {
                Self::$kind(values)
            }
        }

        impl<'a, const N: usize> From<&'a [$number; N]> for Values<'a> {
            fn from(values: &'a [$number; N]) -> Self {
                Self::$kind(values)
            }
        }

        impl<'a> From<&'a mut [$number]> for Target<'a> {
            fn from(values: &'a mut [$number]) -> Self {
                Self::$kind(values)
            }
        }

        impl<'a> From<&'a mut Vec<$number>> for Target<'a> {
            fn from(values: &'a mut Vec<$number>) -> Self {
                Self::$kind(values)
            }
        }

        impl<'a, const N: usize> From<&'a mut [$number; N]> for Target<'a> {
            fn from(values: &'a mut [$number; N]) -> Self {
                Self::$kind(values)
            }
        }
    };
}

from!(F32, f32);
from!(Bf16, bf16);

impl<'a> From<&'a mut Target<'_>> for Target<'a> {
    fn from(target: &'a mut Target<'_>) -> Self {
        match target {
            Target::F32(values) => Self::F32(values),
            Target::Bf16(values) => Self::Bf16(values),
        }
    }
}

impl Values<'_> {
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::F32(values) => values.len(),
            Self::Bf16(values) => values.len(),
        }
    }

    /// What begins at a number, at most their end.
    pub(crate) fn after(self, number: usize) -> Self {
        match self {
            Self::F32(values) => Self::F32(&values[number..]),
            Self::Bf16(values) => Self::Bf16(&values[number..]),
        }
    }

    /// Where one of them lies: within the slice, if it is there.
    pub(crate) fn at(self, number: usize) -> In {
        match self {
            Self::F32(values) => In::F32(values.as_ptr().wrapping_add(number)),
            Self::Bf16(values) => In::Bf16(values.as_ptr().wrapping_add(number)),
        }
    }
}

/// Where numbers are read.
#[derive(Clone, Copy)]
pub(crate) enum In {
    F32(*const f32),
    Bf16(*const bf16),
}

impl In {
    /// The same place, of f32 or of what lies there in its stead.
    pub(crate) fn numbers(self) -> *const f32 {
        match self {
            Self::F32(from) => from,
            Self::Bf16(from) => from.cast(),
        }
    }
}

/// Where numbers are written.
#[derive(Clone, Copy)]
pub(crate) enum Out {
    F32(*mut f32),
    Bf16(*mut bf16),
}

impl Out {
    pub(crate) fn at(self, number: usize) -> Self {
        match self {
            Self::F32(to) => Self::F32(to.wrapping_add(number)),
            Self::Bf16(to) => Self::Bf16(to.wrapping_add(number)),
        }
    }

    /// What lies there.
    pub(crate) fn read(self) -> In {
        match self {
            Self::F32(to) => In::F32(to),
            Self::Bf16(to) => In::Bf16(to),
        }
    }
}

impl Target<'_> {
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::F32(values) => values.len(),
            Self::Bf16(values) => values.len(),
        }
    }

    pub(crate) fn place(&mut self) -> Out {
        match self {
            Self::F32(values) => Out::F32(values.as_mut_ptr()),
            Self::Bf16(values) => Out::Bf16(values.as_mut_ptr()),
        }
    }
}
