//! The adapters of an encoder, as the user or a model folder describes them.

use std::collections::BTreeMap;

use regex::Regex;
use serde::{Deserialize, Serialize};

use crate::error::ModelError;

/// Adapters of low rank on an encoder whose own weights are frozen, in PEFT's terms.
///
/// Modules are called as transformers calls them where the encoder is loaded:
/// `encoder.layer.0.attention.self.query`.
///
/// # Examples
///
/// ```
/// use samtone_model::{AdapterConfig, Targets};
///
/// let config: AdapterConfig = serde_json::from_str(r#"{ "r": 8, "targets": "all-linear" }"#)?;
/// assert_eq!(config.targets, Some(Targets::Pattern("all-linear".into())));
/// assert_eq!(config.alpha(), 16.0);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AdapterConfig {
    /// The rank: rows of A, columns of B.
    pub r: usize,
    /// α: the product is scaled by α / r; twice the rank if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alpha: Option<f64>,
    /// Share of the elements that A does not see of a state, in training.
    pub dropout: f64,
    /// The modules that have an adapter; if absent the maps of queries and values.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub targets: Option<Targets>,
    /// Whether the scale is α / √r (Kalajdzievski 2023, arXiv:2312.03732).
    pub rslora: bool,
    /// Other ranks, by a regular expression that the end of a module's name matches.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub rank_pattern: BTreeMap<String, usize>,
    /// Other αs, by a regular expression that the end of a module's name matches.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub alpha_pattern: BTreeMap<String, f64>,
    /// Which biases of the encoder are trained too.
    pub bias: AdapterBias,
    /// Modules that are trained whole, by their names or the ends of them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub modules_to_save: Vec<String>,
}

impl Default for AdapterConfig {
    fn default() -> Self {
        Self {
            r: 16,
            alpha: None,
            dropout: 0.0,
            targets: None,
            rslora: false,
            rank_pattern: BTreeMap::new(),
            alpha_pattern: BTreeMap::new(),
            bias: AdapterBias::None,
            modules_to_save: Vec::new(),
        }
    }
}

/// Modules by name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Targets {
    /// Every map of the encoder (`all-linear`), or those whose whole names match a regular expression.
    Pattern(String),
    /// Those that have one of these names, or end in one behind a dot.
    Names(Vec<String>),
}

/// Which biases are trained beside adapters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AdapterBias {
    /// None.
    #[default]
    None,
    /// All of the encoder, those of norms included.
    All,
    /// Those of the maps that have an adapter.
    LoraOnly,
}

/// What stands for every map.
pub(super) const ALL_LINEAR: &str = "all-linear";

impl AdapterConfig {
    /// α where no pattern says otherwise.
    pub fn alpha(&self) -> f64 {
        self.alpha.unwrap_or(2.0 * self.r as f64)
    }

    /// Checks that adapters like these can exist.
    ///
    /// # Errors
    /// The first key with an impossible value.
    pub(crate) fn validate(&self) -> Result<(), ModelError> {
        let wrong = |key, got: String, expected| Err(ModelError::Config { key, got, expected });
        if self.r == 0 || self.rank_pattern.values().any(|&r| r == 0) {
            return wrong("adapter.r", "0".into(), "at least 1");
        }
        let alphas = self.alpha_pattern.values().copied().chain([self.alpha()]);
        for alpha in alphas {
            if !(alpha.is_finite() && alpha > 0.0) {
                return wrong("adapter.alpha", alpha.to_string(), "a finite number > 0");
            }
        }
        if !(0.0..1.0).contains(&self.dropout) {
            return wrong("adapter.dropout", self.dropout.to_string(), "at least 0 and below 1");
        }
        let target = match &self.targets {
            Some(Targets::Pattern(pattern)) => Some(pattern),
            _ => None,
        };
        let patterns = self.rank_pattern.keys().chain(self.alpha_pattern.keys()).chain(target);
        for pattern in patterns {
            if Regex::new(pattern).is_err() {
                return wrong("adapter", pattern.clone(), "a regular expression");
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn impossible_values_are_named() {
        for (text, message) in [
            (r#"{ "r": 0 }"#, "`adapter.r` is 0, expected at least 1"),
            (r#"{ "alpha": 0 }"#, "`adapter.alpha` is 0, expected a finite number > 0"),
            (r#"{ "dropout": 1 }"#, "`adapter.dropout` is 1, expected at least 0 and below 1"),
            (r#"{ "targets": "a(" }"#, "`adapter` is a(, expected a regular expression"),
        ] {
            let config: AdapterConfig = serde_json::from_str(text).unwrap();
            assert_eq!(config.validate().unwrap_err().to_string(), message);
        }
        AdapterConfig::default().validate().unwrap();
        let unknown = serde_json::from_str::<AdapterConfig>(r#"{ "rank": 8 }"#).unwrap_err();
        assert!(unknown.to_string().contains("unknown field `rank`"), "{unknown}");
    }
}
