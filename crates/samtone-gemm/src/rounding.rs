/// How the numbers of a packed factor are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rounding {
    /// As they are, in the type they have.
    None,
    /// Rounded to bf16, if they are not of it: nearest, ties to even.
    Bf16,
    /// As integers of eight bits: every column is divided by its scale, a 127th of its largest
    /// number, and rounded, ties to even. A product does the same to the rows of its left factor;
    /// it sums integers, exactly, and multiplies each sum by both scales.
    ///
    /// A row or column that holds what is not finite makes all its products NaN; one that holds
    /// nothing above 10⁻³⁶ counts as zeros.
    Int8,
}
