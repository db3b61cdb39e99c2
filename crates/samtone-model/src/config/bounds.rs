//! What the numbers of a configuration may be.

use crate::error::ModelError;

pub(crate) fn at_least_one(key: &'static str, value: usize) -> Result<(), ModelError> {
    if value > 0 {
        return Ok(());
    }
    Err(ModelError::Config { key, got: value.to_string(), expected: "at least 1" })
}

pub(crate) fn positive(key: &'static str, value: f64) -> Result<(), ModelError> {
    if value > 0.0 && value.is_finite() {
        return Ok(());
    }
    Err(ModelError::Config { key, got: value.to_string(), expected: "a positive number" })
}

pub(crate) fn probability(key: &'static str, value: f64) -> Result<(), ModelError> {
    if (0.0..1.0).contains(&value) {
        return Ok(());
    }
    Err(ModelError::Config { key, got: value.to_string(), expected: "0 or more and less than 1" })
}
