//! Which negatives are taken to be relevant after all, and hidden.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::LossError;
use crate::short::{self, Short};

/// Hides a candidate that scores suspiciously high: `s > s_pos + absolute + relative·|s_pos|`.
///
/// Scores are raw similarities, before the temperature; `s_pos` is the anchor row's positive.
/// Qwen3-Embedding has `absolute = 0.1`; `GISTEmbed`'s margin m is `absolute = -m`;
/// NV-Retriever's 95 % is `relative = -0.05`. The rule carries no gradient.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Margin {
    /// Added to the positive's score, in units of the similarity.
    #[serde(default)]
    pub absolute: f64,
    /// Added as a fraction of the positive's absolute score.
    #[serde(default)]
    pub relative: f64,
}

/// The `false_negatives` key: `"none"`, `"ids"`, or a table with any of its three rules.
///
/// The own positive is never hidden.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FalseNegatives {
    /// Hide row j from anchor i where both share the query id or the document id, and a hard
    /// negative whose id is a document known relevant to the anchor row.
    pub ids: bool,
    /// Hide the rows and documents that the batch's known (query row, document row) pairs join.
    pub known: bool,
    /// Hide by score.
    pub margin: Option<Margin>,
}

impl FalseNegatives {
    /// Nothing is hidden.
    pub const NONE: Self = Self { ids: false, known: false, margin: None };
    /// Everything the batch's ids and known pairs tell.
    pub const IDS: Self = Self { ids: true, known: true, margin: None };

    pub(crate) fn check(&self) -> Result<(), LossError> {
        let Some(margin) = self.margin else { return Ok(()) };
        for (part, got) in [("absolute", margin.absolute), ("relative", margin.relative)] {
            if !got.is_finite() {
                return Err(LossError::Margin { part, got });
            }
        }
        Ok(())
    }
}

/// The table form, as serde reads it.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Table {
    #[serde(default = "yes")]
    ids: bool,
    #[serde(default = "yes")]
    known: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    margin: Option<Margin>,
}

fn yes() -> bool {
    true
}

impl Serialize for FalseNegatives {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match *self {
            Self::NONE => serializer.serialize_str("none"),
            Self::IDS => serializer.serialize_str("ids"),
            Self { ids, known, margin } => Table { ids, known, margin }.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for FalseNegatives {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        short::deserialize(deserializer)
    }
}

impl Short for FalseNegatives {
    type Table = Table;

    const EXPECTED: &'static str = "\"none\", \"ids\" or a table { ids, known, margin }";

    fn from_word<E: de::Error>(word: &str) -> Result<Self, E> {
        match word {
            "none" => Ok(Self::NONE),
            "ids" => Ok(Self::IDS),
            other => Err(E::unknown_variant(other, &["none", "ids"])),
        }
    }
}

impl From<Table> for FalseNegatives {
    fn from(Table { ids, known, margin }: Table) -> Self {
        Self { ids, known, margin }
    }
}
