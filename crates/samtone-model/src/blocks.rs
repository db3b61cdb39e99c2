//! What architectures are built of.
//!
//! A block is written once in tensor operations for every backend; where a backend has a faster way,
//! `kernel` takes it from within the same function.

pub(crate) mod adapter;
pub(crate) mod alibi;
pub(crate) mod attention;
pub(crate) mod dropout;
pub(crate) mod layout;
pub(crate) mod ops;
pub(crate) mod pass;
pub(crate) mod pooling;
pub(crate) mod relative_positions;
pub(crate) mod rotary;
pub(crate) mod sight;
pub(crate) mod streamed;
