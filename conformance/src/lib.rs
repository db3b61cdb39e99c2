//! What every backend must compute alike: `tests/conformance`. And what the documents promise:
//! `tests/documents.rs`, and the guide, whose examples run as this crate's.

#[cfg(doctest)]
#[doc = include_str!("../../docs/guide.md")]
struct Guide;
