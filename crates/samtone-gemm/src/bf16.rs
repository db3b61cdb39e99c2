//! Rounding to bf16, kept in f32: the upper half of its bits.

/// The nearest bf16, ties to even; what is not a number stays so.
pub(crate) fn round(value: f32) -> f32 {
    let bits = value.to_bits();
    let rounded = if value.is_nan() {
        bits | 0x0040_0000
    } else {
        // Beyond the greatest bf16 the carry reaches infinity, as it should.
        bits.wrapping_add(0x7fff + (bits >> 16 & 1))
    };
    f32::from_bits(rounded & 0xffff_0000)
}
