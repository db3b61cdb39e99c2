//! What this processor computes with.
#![expect(unsafe_code, reason = "functions are compiled for instructions that not all have")]

use std::sync::LazyLock;

use crate::pack::{PackFn, Part, copy, transpose};
use crate::tile::{self, Tiles};
use crate::vector::Portable;

/// A set of instructions, and the functions made of them.
pub(crate) struct Processor {
    pub(crate) name: &'static str,
    pub(crate) tiles: &'static Tiles,
    pub(crate) copy: PackFn,
    pub(crate) transpose: PackFn,
}

macro_rules! processor {
    ($static:ident, $name:literal, $vector:ty, $tiles:path, $($features:literal)?) => {
        static $static: Processor = {
            $(#[target_feature(enable = $features)])?
            unsafe fn copy_part(part: &Part, to: *mut f32, step: usize) {
                // SAFETY: the caller's.
                unsafe { copy::<$vector>(part, to, step) }
            }
            $(#[target_feature(enable = $features)])?
            unsafe fn transpose_part(part: &Part, to: *mut f32, step: usize) {
                // SAFETY: the caller's.
                unsafe { transpose::<$vector>(part, to, step) }
            }
            Processor { name: $name, tiles: &$tiles, copy: copy_part, transpose: transpose_part }
        };
    };
}

processor!(PORTABLE, "portable", Portable, tile::PORTABLE,);
#[cfg(target_arch = "x86_64")]
processor!(AVX2, "avx2", crate::vector::x86::Avx2, tile::AVX2, "avx2,fma");
#[cfg(target_arch = "x86_64")]
processor!(AVX512, "avx512", crate::vector::x86::Avx512, tile::AVX512, "avx512f");

/// The sets of instructions that this processor has, the best first.
pub(crate) fn available() -> Vec<&'static Processor> {
    let mut found = Vec::new();
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx512f") {
            found.push(&AVX512);
        }
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            found.push(&AVX2);
        }
    }
    found.push(&PORTABLE);
    found
}

/// The one in use: the best, or what `SAMTONE_CPU` names.
///
/// # Panics
///
/// If the processor has not what `SAMTONE_CPU` names.
pub(crate) fn processor() -> &'static Processor {
    static CHOSEN: LazyLock<&Processor> = LazyLock::new(|| {
        let available = available();
        let Some(name) = std::env::var_os("SAMTONE_CPU").filter(|name| !name.is_empty()) else {
            return available[0];
        };
        let names: Vec<_> = available.iter().map(|processor| processor.name).collect();
        available.into_iter().find(|processor| name == processor.name).unwrap_or_else(|| {
            panic!("SAMTONE_CPU is {}; this processor has {}", name.display(), names.join(", "))
        })
    });
    *CHOSEN
}

impl Processor {
    /// Rows of a full tile.
    pub(crate) fn tile_rows(&self) -> usize {
        self.tiles.by_rows.len()
    }

    /// Columns of a full tile.
    pub(crate) fn tile_columns(&self) -> usize {
        self.tiles.by_rows[0].len() * self.tiles.lanes
    }
}
