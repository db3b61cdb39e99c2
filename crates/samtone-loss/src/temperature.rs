//! The divisor of every score, and how it may be learned.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::LossError;
use crate::short::{self, Short};

/// A temperature τ: positive and finite, always.
///
/// Scores are divided by it; peers that speak of a `scale` mean 1/τ.
///
/// # Examples
///
/// ```
/// use samtone_loss::Temperature;
///
/// let temperature = Temperature::new(0.05)?;
/// assert!((temperature.scale() - 20.0).abs() < 1e-12);
/// assert!(Temperature::new(0.0).is_err());
/// # Ok::<(), samtone_loss::LossError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(try_from = "f64", into = "f64")]
pub struct Temperature(f64);

impl Temperature {
    /// Wraps a value.
    ///
    /// # Errors
    ///
    /// [`LossError::Temperature`] for zero, a negative, an infinity or a value so small that its
    /// inverse is infinite, and for not-a-number.
    pub fn new(value: f64) -> Result<Self, LossError> {
        if value > 0.0 && value.is_finite() && value.recip().is_finite() {
            Ok(Self(value))
        } else {
            Err(LossError::Temperature { got: value })
        }
    }

    /// The temperature whose natural logarithm is `log`: the form in which it is learned.
    ///
    /// # Errors
    ///
    /// [`LossError::Temperature`] where `exp(log)` is no temperature.
    pub fn from_log(log: f64) -> Result<Self, LossError> {
        Self::new(log.exp())
    }

    /// τ itself.
    pub fn value(self) -> f64 {
        self.0
    }

    /// 1/τ, the factor on the scores.
    pub fn scale(self) -> f64 {
        self.0.recip()
    }

    /// ln τ, the parameter that is learned.
    pub fn log(self) -> f64 {
        self.0.ln()
    }
}

impl TryFrom<f64> for Temperature {
    type Error = LossError;

    fn try_from(value: f64) -> Result<Self, LossError> {
        Self::new(value)
    }
}

impl From<Temperature> for f64 {
    fn from(temperature: Temperature) -> Self {
        temperature.0
    }
}

impl fmt::Display for Temperature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The clamp of a learned temperature: 1/τ never exceeds it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MaxScale(f64);

impl MaxScale {
    /// The bound of CLIP and its successors, τ ≥ 0.01.
    pub const CLIP: Self = Self(100.0);

    /// Wraps a bound on 1/τ.
    ///
    /// # Errors
    ///
    /// [`LossError::MaxScale`] unless it is positive and finite.
    pub fn new(value: f64) -> Result<Self, LossError> {
        if value > 0.0 && value.is_finite() && value.recip().is_finite() {
            Ok(Self(value))
        } else {
            Err(LossError::MaxScale { got: value })
        }
    }

    /// The largest 1/τ.
    pub fn value(self) -> f64 {
        self.0
    }

    /// The nearest temperature at or above 1/`max_scale`.
    #[must_use]
    pub fn clamp(self, temperature: Temperature) -> Temperature {
        Temperature(temperature.0.max(self.0.recip()))
    }

    /// The smallest ln τ allowed: what a trainer clamps its parameter to after each step.
    pub fn min_log(self) -> f64 {
        -self.0.ln()
    }
}

/// The `temperature` key: a number, or a table for a learned one.
///
/// `temperature = 0.05` or `temperature = { learn = true, init = 0.05, max_scale = 100 }`.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct TemperatureConfig {
    /// Whether ln τ is a parameter of the training.
    pub learn: bool,
    /// τ, or where a learned one starts; the preset's value where absent.
    pub init: Option<Temperature>,
    /// Largest 1/τ a learned temperature may reach; 100 where absent.
    pub max_scale: Option<f64>,
}

impl TemperatureConfig {
    /// A temperature that stays as it is.
    pub fn fixed(temperature: Temperature) -> Self {
        Self { learn: false, init: Some(temperature), max_scale: None }
    }

    /// The temperature to start from and, where it is learned, its clamp.
    pub(crate) fn resolve(
        self,
        preset: Temperature,
    ) -> Result<(Temperature, Option<MaxScale>), LossError> {
        let init = self.init.unwrap_or(preset);
        if !self.learn {
            return match self.max_scale {
                Some(_) => Err(LossError::MaxScaleWithoutLearn),
                None => Ok((init, None)),
            };
        }
        let max_scale = self.max_scale.map_or(Ok(MaxScale::CLIP), MaxScale::new)?;
        // A hair of slack: 1/0.01 is not exactly 100 for every way of writing it.
        if init.scale() > max_scale.value() * (1.0 + 1e-9) {
            return Err(LossError::InitBelowClamp {
                init: init.value(),
                smallest: max_scale.value().recip(),
            });
        }
        Ok((max_scale.clamp(init), Some(max_scale)))
    }
}

/// The table form, as serde reads it.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Table {
    #[serde(default)]
    learn: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    init: Option<Temperature>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    max_scale: Option<f64>,
}

impl Serialize for TemperatureConfig {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match (self.learn, self.init, self.max_scale) {
            (false, Some(temperature), None) => temperature.serialize(serializer),
            (learn, init, max_scale) => Table { learn, init, max_scale }.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for TemperatureConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        short::deserialize(deserializer)
    }
}

impl Short for TemperatureConfig {
    type Table = Table;

    const EXPECTED: &'static str = "a positive number or a table { learn, init, max_scale }";

    fn from_number<E: de::Error>(number: f64, _: de::Unexpected<'_>) -> Result<Self, E> {
        Temperature::new(number).map(Self::fixed).map_err(E::custom)
    }
}

impl From<Table> for TemperatureConfig {
    fn from(Table { learn, init, max_scale }: Table) -> Self {
        Self { learn, init, max_scale }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_temperature_is_positive_and_finite() {
        for bad in [0.0, -0.05, f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e-320] {
            assert!(Temperature::new(bad).is_err(), "{bad}");
            assert!(serde_json::from_value::<Temperature>(serde_json::json!(bad)).is_err());
        }
        assert!((Temperature::new(0.01).unwrap().scale() - 100.0).abs() < 1e-12);
        assert!((Temperature::from_log(0.05_f64.ln()).unwrap().value() - 0.05).abs() < 1e-15);
    }

    #[test]
    fn both_ways_of_writing_it_are_read() {
        #[derive(Deserialize)]
        struct Holder {
            temperature: TemperatureConfig,
        }
        let read = |text: &str| toml::from_str::<Holder>(text).map(|h| h.temperature);
        let fixed = TemperatureConfig::fixed(Temperature::new(0.05).unwrap());
        assert_eq!(read("temperature = 0.05").unwrap(), fixed);
        let learned = read("temperature = { learn = true, init = 0.07 }").unwrap();
        assert!(learned.learn);
        let error = read("temperature = 0").unwrap_err().to_string();
        assert!(error.contains("must be positive and finite, got 0"), "{error}");
        assert!(read("temperature = { init = -1.0 }").is_err());
        assert!(read("temperature = { learned = true }").is_err());
        assert!(read("temperature = \"hot\"").is_err());
    }

    #[test]
    fn the_clamp_holds() {
        let clamp = MaxScale::CLIP;
        assert_eq!(clamp.clamp(Temperature::new(0.001).unwrap()).value(), 0.01);
        assert_eq!(clamp.clamp(Temperature::new(0.02).unwrap()).value(), 0.02);
        assert!((clamp.min_log().exp() - 0.01).abs() < 1e-15);
        let preset = Temperature::new(0.05).unwrap();
        let learn = TemperatureConfig { learn: true, ..Default::default() };
        assert_eq!(learn.resolve(preset).unwrap(), (preset, Some(MaxScale::CLIP)));
        let tight = TemperatureConfig { max_scale: Some(10.0), ..learn };
        assert!(matches!(tight.resolve(preset), Err(LossError::InitBelowClamp { .. })));
    }
}
