//! What every backend must compute alike: written once, run on the one that `SAMTONE_BACKEND` names
//! (`flex` if unset), which the build must hold.
//!
//! ```text
//! cargo xtask conformance                    flex and ndarray; part of `cargo xtask check`
//! cargo xtask conformance wgpu wgpu-unfused  the same on other backends
//! cargo xtask conformance nvrtc              CUDA's compiler takes the kernels
//! ```
//!
//! The truth is the portable path of Flex in f64, computed beside, and fixtures of PyTorch,
//! transformers and NumPy. The loss and the update are held to it in every float type that the
//! device computes with; encoders, towers and gradient caching in f32.

#![expect(clippy::unwrap_used, reason = "a test's helpers fail as the test does")]

mod cases;
mod encoders;
mod losses;
mod optimizers;
mod products;
mod search;
mod towers;
#[cfg(feature = "wgpu")]
mod webgpu_limits;

use burn::tensor::DType;
use burn::tensor::backend::Backend;

/// How far a float type may be off, relative to the size of what is compared.
#[derive(Clone, Copy, Debug)]
struct Tolerance {
    /// Values of the loss.
    loss: f64,
    /// A gradient, by its Euclidean norm.
    gradient: f64,
    /// A parameter after some updates, relative to one step.
    update: f64,
}

/// Other orders of a few thousand terms.
const F64: Tolerance = Tolerance { loss: 1e-10, gradient: 1e-9, update: 1e-5 };
/// A logit of 50 is rounded by 3e-6, which is the relative error of its exponential; GPUs have an
/// exponential of their own.
const F32: Tolerance = Tolerance { loss: 1e-5, gradient: 5e-5, update: 1e-4 };
/// The loss computes in f32; what it returns is rounded to 11 bits.
const F16: Tolerance = Tolerance { loss: 1e-5, gradient: 1e-3, update: f64::NAN };
/// As [`F16`], with 8 bits.
const BF16: Tolerance = Tolerance { loss: 1e-5, gradient: 8e-3, update: f64::NAN };

impl Tolerance {
    fn of(dtype: DType) -> Self {
        match dtype {
            DType::F64 => F64,
            DType::F32 => F32,
            DType::F16 => F16,
            DType::BF16 => BF16,
            other => unreachable!("{other:?} is no float type of the suite"),
        }
    }
}

/// Those of `dtypes` that the backend's device computes with.
#[expect(clippy::print_stderr, reason = "which types were tested is worth a line")]
fn supported<B: Backend>(dtypes: &[DType]) -> Vec<DType> {
    let device = B::Device::default();
    let name = B::name(&device);
    // Burn says yes to f64 on WGPU, but panics on it where fused, and takes an exponential that
    // SPIR-V does not define in f64 where not.
    let is_wgpu_f64 = |dtype| dtype == DType::F64 && name.contains("wgpu");
    let supports = |dtype| B::supports_dtype(&device, dtype) && !is_wgpu_f64(dtype);
    let supported: Vec<DType> = dtypes.iter().copied().filter(|&dtype| supports(dtype)).collect();
    assert!(supported.contains(&DType::F32), "every backend computes in f32");
    eprintln!("{name}: {supported:?}");
    supported
}

/// A backend without the kernel fusion around it.
#[cfg(any(feature = "wgpu-unfused", feature = "cuda-unfused"))]
type Unfused<B> = <B as HasFusion>::Inner;

#[cfg(any(feature = "wgpu-unfused", feature = "cuda-unfused"))]
trait HasFusion {
    type Inner;
}

#[cfg(any(feature = "wgpu-unfused", feature = "cuda-unfused"))]
impl<B: burn_fusion::FusionBackend> HasFusion for burn_fusion::Fusion<B> {
    type Inner = B;
}

/// Makes a test of each `check::<B: AutodiffBackend>()`, on the backend that is asked for.
macro_rules! conforms {
    ($($name:ident)*) => {$(
        #[test]
        fn $name() {
            use burn::backend::Autodiff;
            match std::env::var("SAMTONE_BACKEND").as_deref().unwrap_or("flex") {
                "flex" => check::$name::<Autodiff<burn::backend::Flex>>(),
                #[cfg(feature = "ndarray")]
                "ndarray" => check::$name::<Autodiff<burn::backend::NdArray>>(),
                #[cfg(feature = "wgpu")]
                "wgpu" => check::$name::<Autodiff<burn::backend::Wgpu>>(),
                #[cfg(feature = "wgpu-unfused")]
                "wgpu-unfused" => check::$name::<Autodiff<crate::Unfused<burn::backend::Wgpu>>>(),
                #[cfg(feature = "cuda")]
                "cuda" => check::$name::<Autodiff<burn::backend::Cuda>>(),
                #[cfg(feature = "cuda-unfused")]
                "cuda-unfused" => check::$name::<Autodiff<crate::Unfused<burn::backend::Cuda>>>(),
                other => panic!("`{other}` is not in this build: add `--features {other}`"),
            }
        }
    )*};
}
use conforms;
