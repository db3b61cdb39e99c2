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
//! rounded once. A right factor that is used again and again is [`Packed`] before.
//!
//! A product runs on the thread that asks for it: a caller who has threads cuts the rows of the
//! target among them, and gets the same numbers however it cuts.
//!
//! AVX-512, AVX2 with FMA, or what the compiler makes of plain code: the best that the processor
//! has is found at run time. The environment's `SAMTONE_CPU` (`portable`, `avx2`, `avx512`) asks
//! for one; results differ between them by rounding alone.

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
