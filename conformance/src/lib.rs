//! What every backend must compute alike: `tests/conformance`.
