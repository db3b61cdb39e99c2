//! The evaluation as its users see it, in one binary: linking is what takes time.

#[expect(clippy::print_stderr, reason = "what was skipped, and what was found, is worth a line")]
mod bm25;
mod evaluate;
mod exact_match;
mod files;
mod parity;
mod search;
mod significance;
mod statistics;
