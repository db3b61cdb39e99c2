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

/// Checks that heads side by side have a width that numbers can count, threefold.
pub(crate) fn countable_heads(heads: usize, head_dim: usize) -> Result<(), ModelError> {
    let width = heads.checked_mul(head_dim).and_then(|width| width.checked_mul(3));
    let is_small = width.is_some_and(|width| u32::try_from(width).is_ok());
    if is_small {
        return Ok(());
    }
    let got = head_dim.to_string();
    Err(ModelError::Config { key: "head_dim", got, expected: "less: `heads` of it are too wide" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_that_nobody_could_count_are_refused() {
        assert!(countable_heads(16, 128).is_ok());
        for (heads, head_dim) in [(usize::MAX, 2), (2, usize::MAX), (1 << 16, 1 << 16)] {
            let error = countable_heads(heads, head_dim).unwrap_err().to_string();
            assert!(error.starts_with("`head_dim` is "), "{error}");
        }
    }
}
