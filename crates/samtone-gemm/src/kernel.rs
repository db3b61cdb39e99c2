//! How a product is computed.

use crate::bytes;
use crate::pack::PackFn;
use crate::tile::Tiles;

/// Tiles of panels, parts of the factors that were copied for them.
///
/// A panel is of words of 32 bits, of as many terms as the instructions multiply at once.
#[derive(Clone, Copy)]
pub(crate) struct Kernel {
    pub(crate) tiles: &'static Tiles,
    pub(crate) pack_left: PackFn,
    pub(crate) pack_right: PackFn,
    /// Of a left factor's panel: the distances of rows and of steps, in words.
    pub(crate) left: [usize; 2],
    /// Terms of a word.
    pub(crate) group: usize,
    /// Words of a sum that are taken at once: a panel is whole steps, with zeros at its end.
    pub(crate) step: usize,
    /// Words of a panel, at most.
    pub(crate) depth: usize,
    /// Lines that follow the words of a left factor's panel and of a right one's: scales.
    pub(crate) beyond: [usize; 2],
    pub(crate) reads: Reads,
    /// What runs before a product's first tile and after its last.
    pub(crate) around: Option<[unsafe fn(); 2]>,
}

/// What tiles may read where it lies.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reads {
    Panels,
    F32,
    /// Row-major left factors of bf16, as many rows at once as a step has words.
    #[cfg_attr(not(target_arch = "x86_64"), expect(dead_code, reason = "AMX alone does"))]
    LeftBf16,
}

/// Words of a panel that are taken one by one, at most: a tile's part of the right factor stays in
/// the second-level cache while the left one's stream past it.
pub(crate) const DEPTH: usize = 512;

impl Kernel {
    /// Of words that are f32.
    pub(crate) const fn of_f32(tiles: &'static Tiles, pack: PackFn, reads: Reads) -> Self {
        Self {
            tiles,
            pack_left: pack,
            pack_right: pack,
            left: [1, tiles.rows],
            group: 1,
            step: 1,
            depth: DEPTH,
            beyond: [0, 0],
            reads,
            around: None,
        }
    }

    /// Of words that are four integers of eight bits, whose sums are never cut.
    pub(crate) const fn of_bytes(tiles: &'static Tiles, left: PackFn, right: PackFn) -> Self {
        Self {
            pack_right: right,
            group: bytes::GROUP,
            depth: bytes::MOST_TERMS / bytes::GROUP,
            beyond: [1, 2],
            ..Self::of_f32(tiles, left, Reads::Panels)
        }
    }

    /// The first of the terms that are summed before they are added to the target, and how many.
    pub(crate) fn depths(&self, terms: usize) -> impl Iterator<Item = (usize, usize)> + use<> {
        let depth = self.depth_of(terms).max(1);
        (0..terms).step_by(depth).map(move |first| (first, depth.min(terms - first)))
    }

    /// Terms that are summed at once, at most.
    pub(crate) fn depth_of(&self, terms: usize) -> usize {
        even(terms, self.depth * self.group).next_multiple_of(self.step * self.group)
    }

    /// Words of a panel of so many terms.
    pub(crate) fn words(&self, terms: usize) -> usize {
        terms.div_ceil(self.step * self.group) * self.step
    }
}

/// A length in parts of nearly one size, none above `most`: that size.
pub(crate) fn even(length: usize, most: usize) -> usize {
    length.div_ceil(length.div_ceil(most).max(1))
}
