//! What this processor computes with.
#![expect(unsafe_code, reason = "functions are compiled for instructions that not all have")]

use std::sync::LazyLock;

use crate::pack::{PackFn, Part, numbers};
use crate::tile::{self, Tiles};
use crate::vector::Portable;

/// A set of instructions, and the products made of them.
pub(crate) struct Processor {
    pub(crate) name: &'static str,
    pub(crate) f32: Kernel,
    /// Of factors rounded to bf16.
    pub(crate) bf16: Kernel,
}

/// How a product is computed: by tiles of parts that were copied for them.
pub(crate) struct Kernel {
    pub(crate) tiles: &'static Tiles,
    pub(crate) pack: PackFn,
    /// Whether tiles may read a factor of f32 where it lies.
    pub(crate) reads: bool,
}

/// Terms of a sum before it is added to the target, at most: a tile's part of the right factor
/// stays in the second-level cache while the left one's stream past it.
pub(crate) const DEPTH: usize = 512;

/// The first of the terms that are summed before they are added to the target, and how many.
pub(crate) fn depths(terms: usize) -> impl Iterator<Item = (usize, usize)> {
    let depth = even(terms, DEPTH).max(1);
    (0..terms).step_by(depth).map(move |first| (first, depth.min(terms - first)))
}

/// A length in parts of nearly one size, none above `most`: that size.
pub(crate) fn even(length: usize, most: usize) -> usize {
    length.div_ceil(length.div_ceil(most).max(1))
}

macro_rules! processor {
    ($static:ident, $name:literal, $vector:ty, $tiles:path, $($features:literal)?) => {
        static $static: Processor = {
            $(#[target_feature(enable = $features)])?
            unsafe fn pack(part: &Part, to: *mut f32, width: usize) {
                // SAFETY: the caller's.
                unsafe { numbers::<$vector, false>(part, to, width) }
            }
            $(#[target_feature(enable = $features)])?
            unsafe fn pack_rounded(part: &Part, to: *mut f32, width: usize) {
                // SAFETY: the caller's.
                unsafe { numbers::<$vector, true>(part, to, width) }
            }
            Processor {
                name: $name,
                f32: Kernel { tiles: &$tiles, pack, reads: true },
                bf16: Kernel { tiles: &$tiles, pack: pack_rounded, reads: false },
            }
        };
    };
}

processor!(PORTABLE, "portable", Portable, tile::PORTABLE,);
#[cfg(target_arch = "x86_64")]
processor!(AVX2, "avx2", crate::vector::x86::Avx2, tile::AVX2, "avx2,fma");
#[cfg(target_arch = "x86_64")]
processor!(AVX512, "avx512", crate::vector::x86::Avx512, tile::AVX512, "avx512f,avx512bw,avx512vl");

/// The sets of instructions that this processor has, the best first.
pub(crate) fn available() -> Vec<&'static Processor> {
    let mut found = Vec::new();
    #[cfg(target_arch = "x86_64")]
    {
        let is_avx512 = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512vl");
        if is_avx512 {
            found.push(&AVX512);
        }
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            found.push(&AVX2);
        }
    }
    found.push(&PORTABLE);
    found
}

/// `SAMTONE_CPU` names instructions that the processor has not.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`SAMTONE_CPU` is `{asked}`; this processor has {}", available.join(", "))]
pub struct NoInstructions {
    /// What it names.
    pub asked: String,
    /// What it may name, the best first.
    pub available: Vec<&'static str>,
}

/// The name of the instructions in use: the best that the processor has, or what the environment's
/// `SAMTONE_CPU` names. A program asks when it starts; a product only panics.
///
/// # Errors
///
/// If the processor has not what `SAMTONE_CPU` names.
pub fn instructions() -> Result<&'static str, NoInstructions> {
    chosen().map(|processor| processor.name)
}

fn chosen() -> Result<&'static Processor, NoInstructions> {
    static CHOSEN: LazyLock<Result<&Processor, NoInstructions>> = LazyLock::new(|| {
        let asked = std::env::var_os("SAMTONE_CPU").unwrap_or_default();
        choose(&asked.to_string_lossy())
    });
    CHOSEN.clone()
}

fn choose(asked: &str) -> Result<&'static Processor, NoInstructions> {
    let available = available();
    if asked.is_empty() {
        return Ok(available[0]);
    }
    let names = || available.iter().map(|processor| processor.name).collect();
    available
        .iter()
        .find(|processor| processor.name == asked)
        .copied()
        .ok_or_else(|| NoInstructions { asked: asked.into(), available: names() })
}

/// The one in use.
///
/// # Panics
///
/// If the processor has not what `SAMTONE_CPU` names.
pub(crate) fn processor() -> &'static Processor {
    chosen().unwrap_or_else(|error| panic!("{error}"))
}

impl Processor {
    /// The products of factors rounded to bf16, or of f32 as they are.
    pub(crate) fn kernel(&self, rounds: bool) -> &Kernel {
        if rounds { &self.bf16 } else { &self.f32 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instructions_are_the_best_or_those_asked_for() {
        let best = available()[0].name;
        assert_eq!(choose("").map(|processor| processor.name), Ok(best));
        assert_eq!(choose("portable").map(|processor| processor.name), Ok("portable"));
        let error = choose("mmx").map(|processor| processor.name).unwrap_err().to_string();
        assert!(error.starts_with("`SAMTONE_CPU` is `mmx`; this processor has "), "{error}");
        assert!(error.ends_with("portable"), "{error}");
    }
}
