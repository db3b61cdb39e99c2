//! A loss as a list of groups: an anchor side and the candidates it is compared with.

use serde::{Deserialize, Serialize};

use crate::candidates::{Anchor, Candidates};
use crate::error::LossError;

/// One `[[loss.group]]` table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GroupConfig {
    /// The anchor side.
    pub anchor: Anchor,
    /// The group's factor in the loss, positive.
    #[serde(default = "one")]
    pub weight: f64,
    /// What stands in the denominator beside the own positive.
    pub candidates: Vec<Candidates>,
    /// Whether the own positive is counted a second time in the denominator (GTE-style code).
    #[serde(default)]
    pub positive_twice: bool,
}

fn one() -> f64 {
    1.0
}

impl GroupConfig {
    /// Checks the table, which stands at position `index`, and spells its candidates out.
    pub(crate) fn resolve(&self, index: usize) -> Result<Group, LossError> {
        if !(self.weight > 0.0 && self.weight.is_finite()) {
            return Err(LossError::GroupWeight { group: index, got: self.weight });
        }
        let mut candidates = Vec::new();
        for &given in &self.candidates {
            let document = self.anchor == Anchor::Document;
            if document && given == Candidates::OppositeHard {
                return Err(LossError::CandidatesOfAnchor { group: index, candidates: given });
            }
            let elements: &[Candidates] = match given {
                Candidates::Hard => &[Candidates::HardOwn, Candidates::HardOthers],
                Candidates::OppositeSame if document => &[Candidates::OppositePositives],
                Candidates::OppositeSame => {
                    &[Candidates::OppositePositives, Candidates::OppositeHard]
                }
                _ => &[given],
            };
            for &element in elements {
                if candidates.contains(&element) {
                    return Err(LossError::CandidatesTwice { group: index, candidates: element });
                }
                candidates.push(element);
            }
        }
        if candidates.is_empty() {
            return Err(LossError::NoCandidates { group: index });
        }
        Ok(Group {
            anchor: self.anchor,
            weight: self.weight,
            candidates,
            positive_twice: self.positive_twice,
        })
    }
}

/// A checked group: every shorthand among the candidates is spelled out.
#[derive(Debug, Clone, PartialEq)]
pub struct Group {
    pub(crate) anchor: Anchor,
    pub(crate) weight: f64,
    pub(crate) candidates: Vec<Candidates>,
    pub(crate) positive_twice: bool,
}

impl Group {
    /// The anchor side.
    pub fn anchor(&self) -> Anchor {
        self.anchor
    }

    /// The group's factor in the loss.
    pub fn weight(&self) -> f64 {
        self.weight
    }

    /// The candidates beside the own positive, shorthands spelled out.
    pub fn candidates(&self) -> &[Candidates] {
        &self.candidates
    }

    /// Whether the own positive is counted twice in the denominator.
    pub fn positive_twice(&self) -> bool {
        self.positive_twice
    }
}
