//! `[ablate]`: the grid of runs that `samtone ablate` trains.

use samtone_loss::{LossConfig, Preset};
use samtone_model::Sharing;
use serde::de::{self, MapAccess, Visitor, value::MapAccessDeserializer};
use serde::{Deserialize, Deserializer, Serialize};

use super::{ExperimentConfig, SecondStageConfig};

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

impl AblateConfig {
    /// The losses of the grid on `base`.
    pub fn variants(&self, base: &ExperimentConfig) -> Vec<LossVariant> {
        if !self.losses.is_empty() {
            return self.losses.clone();
        }
        vec![LossVariant {
            name: base.loss_name(),
            loss: base.loss.clone(),
            second_stage: base.second_stage.clone(),
        }]
    }

    /// The name of the loss that the others are compared with.
    pub fn baseline(&self, base: &ExperimentConfig) -> String {
        self.baseline.clone().unwrap_or_else(|| self.variants(base)[0].name.clone())
    }

    /// What is wrong with it, as a sentence.
    pub(super) fn mistake(&self, base: &ExperimentConfig) -> Option<String> {
        let names: Vec<String> = self.variants(base).into_iter().map(|loss| loss.name).collect();
        for (i, name) in names.iter().enumerate() {
            if name.is_empty() || name.contains(['/', '\\']) || name.starts_with('.') {
                return Some(format!("`ablate.losses`: `{name}` cannot name a folder"));
            }
            if names[..i].contains(name) {
                return Some(format!("`ablate.losses`: two are called `{name}`"));
            }
        }
        let baseline = self.baseline(base);
        if !names.contains(&baseline) {
            let known = names.join("`, `");
            return Some(format!("`ablate.baseline` is `{baseline}`: expected one of `{known}`"));
        }
        None
    }
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
        Ok(LossVariant { name: name.into(), loss: LossConfig::preset(preset), second_stage: None })
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        let Table { name, loss, second_stage } =
            Table::deserialize(MapAccessDeserializer::new(map))?;
        Ok(LossVariant { name, loss, second_stage })
    }
}
