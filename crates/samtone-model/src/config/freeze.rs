//! Which parameters training leaves as they are.

use serde::{Deserialize, Serialize};

use crate::part::Part;

/// What of a model is not trained. Nothing is computed for what is frozen: no gradient, and below the
/// lowest trained layer none of the states either.
#[expect(clippy::struct_excessive_bools, reason = "parts that are frozen or not, one by one")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Freeze {
    /// The token embedder.
    pub embeddings: bool,
    /// This many transformer layers, from the first.
    pub layers: usize,
    /// Everything: the encoder, and the projection. An adapter's base always is.
    pub base: bool,
    /// Whether the norms in what is frozen are trained nevertheless.
    pub train_norms: bool,
    /// Whether the projection is trained although everything is frozen.
    pub train_head: bool,
}

impl Freeze {
    /// Nothing is trained.
    pub(crate) const ALL: Self =
        Self { embeddings: true, layers: 0, base: true, train_norms: false, train_head: false };

    /// Whether a parameter of this part is trained.
    pub(crate) fn trains(self, part: Part, is_norm: bool) -> bool {
        let is_frozen = self.base
            || match part {
                Part::Embedder => self.embeddings,
                Part::Layer(layer) => layer < self.layers,
                Part::FinalNorm | Part::Head | Part::Projection => false,
            };
        !is_frozen || self.train_norms && is_norm || self.train_head && part == Part::Projection
    }

    pub(crate) fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_frozen_is_told_by_part() {
        let first = Freeze { embeddings: true, layers: 2, ..Freeze::default() };
        let parts = [
            (Part::Embedder, false),
            (Part::Layer(1), false),
            (Part::Layer(2), true),
            (Part::FinalNorm, true),
            (Part::Projection, true),
        ];
        for (part, is_trained) in parts {
            assert_eq!(first.trains(part, false), is_trained, "{part:?}");
            assert!(Freeze { train_norms: true, ..first }.trains(part, true), "{part:?}");
            assert!(!Freeze::ALL.trains(part, false), "{part:?}");
        }
        let head = Freeze { train_head: true, ..Freeze::ALL };
        assert!(head.trains(Part::Projection, false) && !head.trains(Part::Layer(9), false));
    }
}
