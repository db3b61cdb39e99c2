//! What the layers compute with.

use std::fmt;

use burn::tensor::backend::Backend;
use burn::tensor::{DType, FloatDType};
use serde::{Deserialize, Serialize};

/// What token embedders and layers compute with. Weights are held and updated in f32; norms, pooling,
/// the projection and the loss compute in f32.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// 32 bits.
    #[default]
    F32,
    /// 16 bits with the range of f32.
    Bf16,
    /// 16 bits with a narrower range: gradients are scaled to it at every step.
    F16,
}

impl Precision {
    /// The type that a copy of the layers is held in; none where they compute as they are.
    pub(crate) fn half(self) -> Option<FloatDType> {
        match self {
            Self::F32 => None,
            Self::Bf16 => Some(FloatDType::BF16),
            Self::F16 => Some(FloatDType::F16),
        }
    }

    /// Whether `device` computes with it.
    pub fn is_on<B: Backend>(self, device: &B::Device) -> bool {
        self.half().is_none_or(|half| B::supports_dtype(device, DType::from(half)))
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
            Self::F16 => "f16",
        })
    }
}
