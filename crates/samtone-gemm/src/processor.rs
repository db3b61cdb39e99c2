//! What this processor computes with.
#![expect(unsafe_code, reason = "functions are compiled for instructions that not all have")]

use std::sync::LazyLock;

#[cfg(target_arch = "x86_64")]
use crate::amx;
use crate::bytes::{self, Layout};
#[cfg(target_arch = "x86_64")]
use crate::kernel::DEPTH;
use crate::kernel::{Kernel, Reads};
use crate::pack::{Part, numbers};
#[cfg(target_arch = "x86_64")]
use crate::pairs::lines_of_pairs;
use crate::rounding::Rounding;
use crate::tile;
use crate::vector::Portable;
#[cfg(target_arch = "x86_64")]
use crate::vector::x86;

/// A set of instructions, and the products made of them.
pub(crate) struct Processor {
    pub(crate) name: &'static str,
    pub(crate) f32: Kernel,
    pub(crate) bf16: Kernel,
    pub(crate) int8: Kernel,
}

macro_rules! processor {
    ($static:ident, $name:literal, $vector:ty, $tiles:path, $bytes:path, $($features:literal)?) => {
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
            $(#[target_feature(enable = $features)])?
            unsafe fn left_bytes(part: &Part, to: *mut f32, width: usize) {
                // SAFETY: the caller's.
                unsafe { bytes::left::<$vector>(part, to, width, Layout::Words, 1) }
            }
            $(#[target_feature(enable = $features)])?
            unsafe fn right_bytes(part: &Part, to: *mut f32, width: usize) {
                // SAFETY: the caller's.
                unsafe { bytes::right::<$vector>(part, to, width, 1) }
            }
            Processor {
                name: $name,
                f32: Kernel::of_f32(&$tiles, pack, Reads::F32),
                bf16: Kernel::of_f32(&$tiles, pack_rounded, Reads::Panels),
                int8: Kernel::of_bytes(&$bytes, left_bytes, right_bytes),
            }
        };
    };
}

processor!(PORTABLE, "portable", Portable, tile::PORTABLE, tile::PORTABLE_BYTES,);
#[cfg(target_arch = "x86_64")]
processor!(AVX2, "avx2", x86::Avx2, tile::AVX2, tile::AVX2_BYTES, "avx2,fma");
#[cfg(target_arch = "x86_64")]
processor!(
    AVX512,
    "avx512",
    x86::Avx512,
    tile::AVX512,
    tile::AVX512_BYTES,
    "avx512f,avx512bw,avx512vl"
);

/// Without VNNI.
#[cfg(target_arch = "x86_64")]
static AVX512_ALONE: Processor =
    Processor { name: "avx512", f32: AVX512.f32, bf16: AVX512.bf16, int8: AVX2.int8 };

#[cfg(target_arch = "x86_64")]
static AVX512_BF16: Processor = {
    #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
    unsafe fn pack(part: &Part, to: *mut f32, width: usize) {
        // SAFETY: the caller's.
        unsafe { lines_of_pairs(part, to, width, 1) }
    }
    let bf16 = Kernel { group: 2, ..Kernel::of_f32(&tile::AVX512_BF16, pack, Reads::Panels) };
    Processor { name: "avx512bf16", f32: AVX512.f32, bf16, int8: AVX512.int8 }
};

#[cfg(target_arch = "x86_64")]
static AMX: Processor = {
    let amx = Kernel {
        tiles: &amx::PAIRS,
        pack_left: amx::pack_left,
        pack_right: amx::pack_right,
        left: amx::LEFT,
        group: 2,
        step: amx::STEP,
        // So fast are the tiles that to store sums and load them again would be felt.
        depth: 2 * DEPTH,
        beyond: [0, 0],
        reads: Reads::LeftBf16,
        around: Some([amx::begin, amx::end]),
    };
    let of_bytes = Kernel::of_bytes(&amx::BYTES, amx::left_bytes, amx::right_bytes);
    let int8 = Kernel { left: amx.left, step: amx.step, around: amx.around, ..of_bytes };
    Processor { name: "amx", f32: AVX512.f32, bf16: amx, int8 }
};

/// The sets of instructions that this processor has, the best first.
pub(crate) fn available() -> Vec<&'static Processor> {
    let mut found = beyond_portable();
    found.push(&PORTABLE);
    found
}

#[cfg(target_arch = "x86_64")]
fn beyond_portable() -> Vec<&'static Processor> {
    let mut found = Vec::new();
    let has_avx512 = is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512vl");
    let has_vnni = has_avx512 && is_x86_feature_detected!("avx512vnni");
    let has_bf16 = has_vnni && is_x86_feature_detected!("avx512bf16");
    if has_vnni && amx::is_granted() && amx::multiplies() {
        found.push(&AMX);
    }
    if has_bf16 && is_amd() {
        found.push(&AVX512_BF16);
    }
    if has_avx512 {
        found.push(if has_vnni { &AVX512 } else { &AVX512_ALONE });
    }
    if has_bf16 && !is_amd() {
        found.push(&AVX512_BF16);
    }
    if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
        found.push(&AVX2);
    }
    found
}

#[cfg(not(target_arch = "x86_64"))]
fn beyond_portable() -> Vec<&'static Processor> {
    Vec::new()
}

/// Whether `vdpbf16ps` is the better way to a product in bf16: on AMD's processors it does twice
/// the work of f32's instructions; on Intel's half of it, so that f32 tiles of rounded numbers win.
#[cfg(target_arch = "x86_64")]
fn is_amd() -> bool {
    let leaf = std::arch::x86_64::__cpuid(0);
    [leaf.ebx, leaf.edx, leaf.ecx].map(u32::to_le_bytes).as_flattened() == b"AuthenticAMD"
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
    /// Products of factors that are kept so.
    pub(crate) fn kernel(&self, rounding: Rounding) -> &Kernel {
        match rounding {
            Rounding::None => &self.f32,
            Rounding::Bf16 => &self.bf16,
            Rounding::Int8 => &self.int8,
        }
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
