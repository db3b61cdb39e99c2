//! `[ablate]`: the grid of runs that `samtone ablate` trains.

use samtone_loss::{LossConfig, Preset};
use samtone_model::Sharing;
use serde::de::value::MapAccessDeserializer;
use serde::de::{self, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

/// `[ablate]`: losses × sharing × seeds; `train` leaves it aside.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AblateConfig {
    /// The losses: names of presets, or tables `{ name, loss, second_stage }`; the configuration's
    /// own if empty.
    pub losses: Vec<LossVariant>,
    /// Ways of sharing; the configuration's own if empty.
    pub sharing: Vec<Sharing>,
    /// Seeds; the configuration's own if empty.
    pub seeds: Vec<u64>,
    /// Name of the loss that the others are compared with; the first if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub baseline: Option<String>,
}

/// `[second_stage]`: the last part of the steps under another loss, as PAIR trains.
///
/// Warmup and decay of the learning rate begin anew; the optimiser's moments go on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SecondStageConfig {
    /// Share of the steps, in (0, 1).
    pub share: f64,
    /// The contrastive loss of those steps.
    pub loss: LossConfig,
}

impl Default for SecondStageConfig {
    fn default() -> Self {
        Self { share: 0.5, loss: LossConfig::default() }
    }
}

/// A loss of the grid.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LossVariant {
    /// Its name in the table and among the folders.
    pub name: String,
    /// The loss.
    pub loss: LossConfig,
    /// Another loss for the last part of the steps.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub second_stage: Option<SecondStageConfig>,
}

/// The table form of a loss.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    name: String,
    loss: LossConfig,
    second_stage: Option<SecondStageConfig>,
}

impl<'de> Deserialize<'de> for LossVariant {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(LossVariantVisitor)
    }
}

struct LossVariantVisitor;

impl<'de> Visitor<'de> for LossVariantVisitor {
    type Value = LossVariant;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the name of a preset or a table { name, loss, second_stage }")
    }

    fn visit_str<E: de::Error>(self, name: &str) -> Result<Self::Value, E> {
        let preset = Preset::deserialize(de::value::StrDeserializer::new(name))?;
        Ok(LossVariant {
            name: preset.name().into(),
            loss: LossConfig::preset(preset),
            second_stage: None,
        })
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        let Table { name, loss, second_stage } =
            Table::deserialize(MapAccessDeserializer::new(map))?;
        Ok(LossVariant { name, loss, second_stage })
    }
}
