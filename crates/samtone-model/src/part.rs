//! The stages of a tower.

/// The stage of a tower that a parameter belongs to, from the input up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Part {
    /// The token embedder.
    Embedder,
    /// The transformer layer of this index, from 0.
    Layer(usize),
    /// The norm after the last layer (T5).
    FinalNorm,
    /// What makes scores of states: of words, where the map is no other's (T5 1.1), or of a pair of
    /// texts.
    Head,
    /// The projection after pooling.
    Projection,
}
