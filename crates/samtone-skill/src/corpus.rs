//! What is learned: triples, sentences that tell them, questions, plain text.
//!
//! SKILL infuses a graph by masking one entity of a triple, or of a sentence that tells triples, mixed
//! with plain text.

mod corruption;
mod mixture;
mod part;
mod questions;
mod sentence;

pub use self::corruption::corrupt_spans;
pub use self::mixture::{ExampleSource, MaskForm, Mixture, TokenPair};
pub use self::part::{Mentions, closed_part, matched};
pub use self::questions::read_questions;
pub use self::sentence::Sentence;
