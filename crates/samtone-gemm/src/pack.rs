//! Parts of a factor copied to where a tile reads them in order.
#![expect(clippy::inline_always, reason = "what is not inlined has not its caller's instructions")]
#![expect(unsafe_code, reason = "matrices are read and written through pointers")]

use crate::vector::Vector;

/// What is copied: `rows × columns` of a row-major matrix.
pub(crate) struct Part {
    pub(crate) from: *const f32,
    pub(crate) stride: usize,
    pub(crate) rows: usize,
    pub(crate) columns: usize,
    /// Whether every element is rounded to bf16.
    pub(crate) rounds: bool,
}

/// Copies to a panel, in which the lines of `width` elements that a tile reads lie in order.
///
/// # Safety
///
/// The part's pointer reaches over its elements, the target over its lines, and the processor has
/// the instructions.
pub(crate) type PackFn = unsafe fn(&Part, to: *mut f32, width: usize);

/// Rows that are fetched ahead: each may lie in a page of its own, where no processor foresees it.
const AHEAD: usize = 16;

/// No closure: one has not the instructions of the function that it stands in.
#[inline(always)]
unsafe fn rounded<V: Vector>(value: V, rounds: bool) -> V {
    // SAFETY: the caller's.
    if rounds { unsafe { value.to_bf16() } } else { value }
}

/// Its rows are the panel's lines.
#[inline(always)]
pub(crate) unsafe fn copy<V: Vector>(part: &Part, to: *mut f32, width: usize) {
    // SAFETY: the caller's.
    unsafe {
        let (mut from, mut to) = (part.from, to);
        for _ in 0..part.rows {
            let mut at = 0;
            while at + V::LANES <= part.columns {
                V::fetch(from.wrapping_add(AHEAD * part.stride + at));
                rounded(V::load(from.add(at)), part.rounds).store(to.add(at));
                at += V::LANES;
            }
            if at < part.columns {
                let left = part.columns - at;
                let value = V::load_first(from.add(at), left);
                rounded(value, part.rounds).store_first(to.add(at), left);
            }
            from = from.wrapping_add(part.stride);
            to = to.wrapping_add(width);
        }
    }
}

/// Its columns are the panel's lines.
#[inline(always)]
pub(crate) unsafe fn transpose<V: Vector>(part: &Part, to: *mut f32, width: usize) {
    // SAFETY: the caller's.
    unsafe {
        for j in (0..part.columns).step_by(V::LANES) {
            let columns = V::LANES.min(part.columns - j);
            for i in (0..part.rows).step_by(V::LANES) {
                let (from, to) = (part.from.add(i * part.stride + j), to.add(j * width + i));
                let shape = [V::LANES.min(part.rows - i), columns];
                V::transpose(from, part.stride, shape, part.rounds, to, width);
            }
        }
    }
}
