//! Matrix products on slices of f32 and bf16, at the rate of the processor.
//!
//! A [`View`] is a matrix inside a slice, row-major or its transpose; a [`Product`] of two of them
//! is written, or added, to a row-major slice:
//!
//! ```
//! use samtone_gemm::{Product, View};
//!
//! let x = [1.0_f32, 2.0, 3.0, 4.0]; // [[1, 2], [3, 4]]
//! let weight = [1.0_f32, 0.0, 1.0, 1.0]; // [[1, 0], [1, 1]]
//! let mut y = [0.0; 4];
//! let (x, weight) = (View::new(&x, [2, 2], 2), View::new(&weight, [2, 2], 2));
//! Product::new(x, weight.t()).write_onto(&[10.0, 20.0], &mut y, 2);
//! assert_eq!(y, [11.0, 23.0, 13.0, 27.0]);
//! ```
//!
//! Where a factor is of bf16, both are rounded to it and the sums are f32; a target of bf16 is
//! rounded once. A right factor that is used again and again, as weights are, is [`Packed`] before,
//! and may be kept in [eight bits](Rounding::Int8):
//!
//! ```
//! use samtone_gemm::{Packed, Product, Rounding, View};
//!
//! let weight = Packed::new(View::new(&[0.5, -1.0, 2.0, 4.0], [2, 2], 2), Rounding::Int8);
//! let mut y = [0.0; 2];
//! Product::with(View::new(&[1.0, 1.0], [1, 2], 2), &weight).write(&mut y, 2);
//! assert!((y[0] - 2.5).abs() < 0.02 && (y[1] - 3.0).abs() < 0.04);
//! ```
//!
//! A product runs on the thread that asks for it: a caller who has threads cuts the rows of the
//! target among them, and gets the same numbers however it cuts.
//!
//! The best instructions that the processor has are found at run time. The environment's
//! `SAMTONE_CPU` asks for some; results differ between them by rounding alone, and in eight bits
//! not even by that where nothing is added.
//!
//! | `SAMTONE_CPU` | f32 | bf16 | eight bits |
//! |---|---|---|---|
//! | `amx` | as `avx512` | `tdpbf16ps` | `tdpbusd` |
//! | `avx512bf16` | as `avx512` | `vdpbf16ps` | as `avx512` |
//! | `avx512` | AVX-512's FMA | the same, of rounded numbers | `vpdpbusd` where there is VNNI |
//! | `avx2` | AVX2's FMA | the same, of rounded numbers | `vpmaddwd` |
//! | `portable` | what the compiler makes of plain code | the same | the same |
//!
//! Where there is no AMX, AMD's processors take `avx512bf16` first, whose instruction does twice the
//! work of f32's there, and Intel's `avx512`, as it does half of it.

#[cfg(target_arch = "x86_64")]
mod amx;
mod bytes;
mod kernel;
mod pack;
mod packed;
#[cfg(target_arch = "x86_64")]
mod pairs;
mod processor;
mod product;
mod room;
mod rounding;
mod tile;
mod values;
mod vector;
mod view;

pub use packed::{Packed, PackedPart};
pub use processor::{NoInstructions, instructions};
pub use product::Product;
pub use rounding::Rounding;
pub use values::{Target, Values};
pub use view::View;
