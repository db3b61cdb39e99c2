//! Memory that begins where a register's worth does.
#![expect(unsafe_code, reason = "lines are seen as the numbers they hold")]

/// A line of the first-level cache: a register that lies across two of them costs two reads.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub(crate) struct Line([f32; Line::LENGTH]);

impl Line {
    pub(crate) const LENGTH: usize = 16;
    pub(crate) const ZERO: Self = Self([0.0; Self::LENGTH]);
}

/// The numbers of lines.
pub(crate) fn floats(lines: &mut [Line]) -> &mut [f32] {
    // SAFETY: a line is sixteen f32 and nothing else.
    unsafe { std::slice::from_raw_parts_mut(lines.as_mut_ptr().cast(), lines.len() * Line::LENGTH) }
}

/// Room for parts of so many numbers, each from the start of a line.
pub(crate) fn room<const N: usize>(lines: &mut Vec<Line>, lengths: [usize; N]) -> [&mut [f32]; N] {
    let lengths = lengths.map(|length| length.div_ceil(Line::LENGTH));
    let all = lengths.iter().sum();
    if lines.len() < all {
        lines.resize(all, Line::ZERO);
    }
    let mut left = &mut lines[..];
    lengths.map(|length| floats(left.split_off_mut(..length).expect("room for all")))
}
