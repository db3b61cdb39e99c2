//! Rotary positions (Su et al. 2021, arXiv:2104.09864): queries and keys are turned by angles that
//! grow with their position, so that a score depends on the distance between two tokens.
//!
//! A pair of dimensions that turn together is (i, i + d/2), the two halves of a head of d dimensions,
//! as every published checkpoint has it.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::blocks::layout::Layout;

/// How the angles of rotary positions are stretched for texts longer than the model was trained on.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase", deny_unknown_fields)]
pub enum RotaryScaling {
    /// Every angle is divided by `factor`.
    Linear {
        /// Greater than 0.
        factor: f64,
    },
    /// The base is multiplied with `factor`, and every angle divided by `factor^(2/d)` in a head of d
    /// dimensions (GTE's form of "NTK-aware").
    Ntk {
        /// Greater than 0.
        factor: f64,
    },
    /// Slow angles are divided by `factor`, fast ones kept, those between blended (Llama 3.1).
    Llama3 {
        /// Greater than 0.
        factor: f64,
        /// Turns in the original length below which an angle is slow.
        low_freq_factor: f64,
        /// Turns in the original length above which an angle is fast.
        high_freq_factor: f64,
        /// The length that the model was first trained on, in tokens.
        original_max_position_embeddings: usize,
    },
}

/// The angles, in radians, by which one position turns each pair of a head's dimensions.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Frequencies(Vec<f32>);

impl Frequencies {
    /// Pair i of `dim / 2` turns by `base^(-2i / dim)`, then stretched.
    pub(crate) fn new(dim: usize, base: f64, scaling: Option<RotaryScaling>) -> Self {
        let base = match scaling {
            Some(RotaryScaling::Ntk { factor }) => base * factor,
            _ => base,
        };
        // A position is counted in f32, as transformers does.
        let plain = |i: usize| base.powf(-((2 * i) as f64) / dim as f64);
        let stretched = |angle: f64| match scaling {
            None => angle,
            Some(RotaryScaling::Linear { factor }) => angle / factor,
            Some(RotaryScaling::Ntk { factor }) => angle / factor.powf(2.0 / dim as f64),
            Some(RotaryScaling::Llama3 {
                factor,
                low_freq_factor: low,
                high_freq_factor: high,
                original_max_position_embeddings: original,
            }) => {
                let turns = original as f64 * angle / std::f64::consts::TAU;
                let kept = ((turns - low) / (high - low)).clamp(0.0, 1.0);
                kept * angle + (1.0 - kept) * angle / factor
            }
        };
        Self((0..dim / 2).map(|i| stretched(plain(i)) as f32).collect())
    }
}

/// The turns of every row of a layout.
#[derive(Clone, Debug)]
pub(crate) struct Turns {
    /// Of every position and pair, `[positions, pairs]`.
    pub(crate) cos: Arc<[f32]>,
    pub(crate) sin: Arc<[f32]>,
    pub(crate) pairs: usize,
    /// Of every row.
    pub(crate) positions: Arc<[usize]>,
}

impl Turns {
    pub(crate) fn new(frequencies: &Frequencies, layout: &Layout) -> Self {
        let positions: Arc<[usize]> = layout.positions().into();
        let count = positions.iter().max().map_or(0, |last| last + 1);
        let angles = (0..count)
            .flat_map(|position| frequencies.0.iter().map(move |turn| position as f32 * turn));
        let (cos, sin): (Vec<f32>, Vec<f32>) =
            angles.map(|angle| (angle.cos(), angle.sin())).unzip();
        Self { cos: cos.into(), sin: sin.into(), pairs: frequencies.0.len(), positions }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scaling_stretches_as_published() {
        let of = |scaling| Frequencies::new(4, 100.0, scaling).0;
        assert_eq!(of(None), [1.0, 0.1]);
        assert_eq!(of(Some(RotaryScaling::Linear { factor: 4.0 })), [0.25, 0.025]);
        // Base 1600; both divided by 16^(2/4).
        assert_eq!(of(Some(RotaryScaling::Ntk { factor: 16.0 })), [0.25, 0.006_25]);
        let llama = RotaryScaling::Llama3 {
            factor: 8.0,
            low_freq_factor: 1.0,
            high_freq_factor: 4.0,
            original_max_position_embeddings: 16,
        };
        // 16 / 2π = 2.546 turns: a share of 0.5155 is kept; 0.2546 turns: slow.
        let [fast, slow] = of(Some(llama))[..] else { panic!() };
        assert!((fast - 0.576_07).abs() < 1e-4, "{fast}");
        assert_eq!(slow, 0.0125);
    }
}
