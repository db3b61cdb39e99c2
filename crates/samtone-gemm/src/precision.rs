/// What the terms of a product are computed from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Precision {
    /// The factors as they are.
    #[default]
    F32,
    /// The factors rounded to bf16 (nearest, ties to even), every term and sum in f32.
    Bf16,
}
