//! The model as its users see it, in one binary: linking Burn once is what takes time.

#![expect(clippy::unwrap_used, reason = "a test's helpers fail as the test does")]

mod adapters;
mod cross_encoder;
mod dual_encoder;
mod folders;
mod parity;
mod pytorch;
mod rotary;
#[cfg(feature = "seq2seq")]
mod seq2seq;
mod static_table;
