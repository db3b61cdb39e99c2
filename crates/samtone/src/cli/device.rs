//! The backends of this build: the only file that names one.

use std::fmt;
use std::str::FromStr;
use std::sync::{Mutex, PoisonError};

use burn::prelude::DeviceOps;
use burn::tensor::backend::{AutodiffBackend, Backend};
use burn::tensor::{Device, Tensor};

use crate::error::Usage;

/// A compute backend, and the device on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BackendChoice {
    Flex,
    NdArray,
    Wgpu,
    WgpuUnfused,
    Cuda(u16),
    CudaUnfused(u16),
}

/// A backend without the kernel fusion around it.
#[cfg(all(feature = "unfused", any(feature = "wgpu", feature = "cuda")))]
type Unfused<B> = <B as HasFusion>::Inner;

#[cfg(all(feature = "unfused", any(feature = "wgpu", feature = "cuda")))]
trait HasFusion {
    type Inner;
}

#[cfg(all(feature = "unfused", any(feature = "wgpu", feature = "cuda")))]
impl<B: burn_fusion::FusionBackend> HasFusion for burn_fusion::Fusion<B> {
    type Inner = B;
}

/// Work that runs on any backend: [`BackendChoice::run`] picks the type.
pub(crate) trait OnBackend {
    type Output;
    fn run<B: AutodiffBackend>(self, device: &B::Device) -> Self::Output;
}

/// `--backend`, for the commands that compute with tensors.
#[derive(Debug, clap::Args)]
pub(crate) struct DeviceArgs {
    /// Where to compute: `flex`, `ndarray`, `wgpu` or `cuda[:index]`, where the build has it;
    /// `wgpu-unfused` and `cuda-unfused[:index]` leave kernel fusion out.
    #[arg(long, default_value_t, value_name = "BACKEND")]
    pub(crate) backend: BackendChoice,
}

impl Default for BackendChoice {
    /// The first backend of this build, in the order CPU, then GPU.
    fn default() -> Self {
        match () {
            () if cfg!(feature = "flex") => Self::Flex,
            () if cfg!(feature = "ndarray") => Self::NdArray,
            () if cfg!(feature = "cuda") => Self::Cuda(0),
            () => Self::Wgpu,
        }
    }
}

impl fmt::Display for BackendChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flex => f.write_str("flex"),
            Self::NdArray => f.write_str("ndarray"),
            Self::Wgpu => f.write_str("wgpu"),
            Self::WgpuUnfused => f.write_str("wgpu-unfused"),
            Self::Cuda(0) => f.write_str("cuda"),
            Self::Cuda(index) => write!(f, "cuda:{index}"),
            Self::CudaUnfused(0) => f.write_str("cuda-unfused"),
            Self::CudaUnfused(index) => write!(f, "cuda-unfused:{index}"),
        }
    }
}

impl FromStr for BackendChoice {
    type Err = String;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        match s {
            "flex" => Ok(Self::Flex),
            "ndarray" => Ok(Self::NdArray),
            "wgpu" => Ok(Self::Wgpu),
            "wgpu-unfused" => Ok(Self::WgpuUnfused),
            "cuda" => Ok(Self::Cuda(0)),
            "cuda-unfused" => Ok(Self::CudaUnfused(0)),
            _ => s
                .split_once(':')
                .and_then(|(name, index)| match name {
                    "cuda" => Some(Self::Cuda(index.parse().ok()?)),
                    "cuda-unfused" => Some(Self::CudaUnfused(index.parse().ok()?)),
                    _ => None,
                })
                .ok_or_else(|| "expected flex, ndarray, wgpu, cuda or cuda:INDEX".into()),
        }
    }
}

impl BackendChoice {
    /// The cargo feature that holds this backend.
    #[cfg(not(all(
        feature = "flex",
        feature = "ndarray",
        feature = "wgpu",
        feature = "cuda",
        feature = "unfused"
    )))]
    fn feature(self) -> &'static str {
        match self {
            Self::Flex => "flex",
            Self::NdArray => "ndarray",
            Self::Wgpu => "wgpu",
            Self::WgpuUnfused => "wgpu,unfused",
            Self::Cuda(_) => "cuda",
            Self::CudaUnfused(_) => "cuda,unfused",
        }
    }

    /// Runs `task` on this backend.
    ///
    /// # Errors
    /// [`Usage`] if the build lacks the backend or the machine lacks the device.
    pub(crate) fn run<T: OnBackend>(self, task: T) -> anyhow::Result<T::Output> {
        use burn::backend::Autodiff;
        match self {
            #[cfg(feature = "flex")]
            Self::Flex => self.on::<Autodiff<burn::backend::Flex>, T>(
                task,
                &Device::<burn::backend::Flex>::default(),
            ),
            #[cfg(feature = "ndarray")]
            Self::NdArray => self.on::<Autodiff<burn::backend::NdArray>, T>(
                task,
                &Device::<burn::backend::NdArray>::default(),
            ),
            #[cfg(feature = "wgpu")]
            Self::Wgpu => self.on::<Autodiff<burn::backend::Wgpu>, T>(
                task,
                &Device::<burn::backend::Wgpu>::default(),
            ),
            #[cfg(all(feature = "wgpu", feature = "unfused"))]
            Self::WgpuUnfused => self.on::<Autodiff<Unfused<burn::backend::Wgpu>>, T>(
                task,
                &Device::<burn::backend::Wgpu>::default(),
            ),
            #[cfg(all(feature = "cuda", feature = "unfused"))]
            Self::CudaUnfused(index) => self.on::<Autodiff<Unfused<burn::backend::Cuda>>, T>(
                task,
                &Device::<burn::backend::Cuda>::new(index.into()),
            ),
            #[cfg(feature = "cuda")]
            Self::Cuda(index) => self.on::<Autodiff<burn::backend::Cuda>, T>(
                task,
                &Device::<burn::backend::Cuda>::new(index.into()),
            ),
            #[cfg(not(all(
                feature = "flex",
                feature = "ndarray",
                feature = "wgpu",
                feature = "cuda",
                feature = "unfused"
            )))]
            absent => {
                let feature = absent.feature();
                Err(Usage::new(format!("backend `{absent}` is not in this build"))
                    .with_hint(format!(
                        "build with `--features {feature}`, or `cargo xtask <command> --backend {absent}` does it"
                    ))
                    .into())
            }
        }
    }

    /// Checks that this backend is built and finds its device.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub(crate) fn check(self) -> anyhow::Result<()> {
        struct Nothing;
        impl OnBackend for Nothing {
            type Output = ();
            fn run<B: AutodiffBackend>(self, _: &B::Device) {}
        }
        self.run(Nothing)
    }

    /// The device of this choice for the process that is `local_rank` of those on its machine: each its
    /// own, in turn, of the GPUs that it sees, where none is named.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub(crate) fn of_rank(self, local_rank: usize) -> anyhow::Result<Self> {
        struct Count;
        impl OnBackend for Count {
            type Output = usize;
            fn run<B: AutodiffBackend>(self, device: &B::Device) -> usize {
                B::device_count(device.to_id().type_id)
            }
        }
        Ok(match self {
            Self::Cuda(0) => Self::Cuda(in_turn(local_rank, self.run(Count)?)),
            Self::CudaUnfused(0) => Self::CudaUnfused(in_turn(local_rank, self.run(Count)?)),
            other => other,
        })
    }

    /// The device of this choice, of the same backend as `device`.
    pub(crate) fn beside<B: Backend>(self, device: &B::Device) -> B::Device {
        let index = match self {
            Self::Cuda(index) | Self::CudaUnfused(index) => index,
            Self::Flex | Self::NdArray | Self::Wgpu | Self::WgpuUnfused => return device.clone(),
        };
        let mut id = device.to_id();
        id.index_id = index;
        B::Device::from_id(id)
    }

    fn on<B: AutodiffBackend, T: OnBackend>(
        self,
        task: T,
        device: &B::Device,
    ) -> anyhow::Result<T::Output> {
        self.probe::<B>(device)?;
        Ok(task.run::<B>(device))
    }

    /// Computes one number on the device: GPU runtimes panic where there is none, and that must
    /// reach the user as an error.
    fn probe<B: Backend>(self, device: &B::Device) -> anyhow::Result<()> {
        if matches!(self, Self::Flex | Self::NdArray) {
            return Ok(());
        }
        let one = || Tensor::<B, 1>::ones([1], device).into_data().iter::<f32>().next();
        let cause = match without_panic(one) {
            Ok(Some(1.0)) => return Ok(()),
            Ok(other) => format!("the device computes {other:?} where 1 is right"),
            Err(message) => message,
        };
        let hint = match self {
            Self::Cuda(_) | Self::CudaUnfused(_) => {
                "it needs an NVIDIA driver, and `nvidia-smi -L` lists the indices"
            }
            _ => {
                "it needs a Vulkan, Metal or DirectX 12 driver (`vulkaninfo --summary` lists them)"
            }
        };
        let usage = Usage::new(format!("backend `{self}` finds no device here"));
        Err(usage.with_cause(cause).with_hint(hint).into())
    }
}

/// Which of `count` devices is for the process of this number.
fn in_turn(process: usize, count: usize) -> u16 {
    (process % count.max(1)) as u16
}

/// Checks that all `backends` are there, and one backend with as many devices.
///
/// # Errors
/// [`Usage`] where they are not.
pub(crate) fn check_all(backends: &[BackendChoice]) -> anyhow::Result<()> {
    let kind = std::mem::discriminant::<BackendChoice>;
    if let Some(other) = backends.iter().find(|other| kind(other) != kind(&backends[0])) {
        let message = format!("`{}` and `{other}` cannot share a batch", backends[0]);
        return Err(Usage::new(message).with_hint("name devices of one backend").into());
    }
    backends.iter().try_for_each(|backend| backend.check())
}

/// What `work` returns, or the first line of the first panic, on whichever thread it was.
fn without_panic<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    static FIRST: Mutex<Option<String>> = Mutex::new(None);
    let first = || FIRST.lock().unwrap_or_else(PoisonError::into_inner);
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let message = panic.payload_as_str().and_then(|message| message.lines().next());
        first().get_or_insert_with(|| message.unwrap_or("it gave no reason").to_owned());
    }));
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
    std::panic::set_hook(before);
    let message = first().take();
    outcome.map_err(|_| message.unwrap_or_else(|| "it gave no reason".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_parse_as_they_print() {
        for name in ["flex", "ndarray", "wgpu", "wgpu-unfused", "cuda", "cuda:3", "cuda-unfused:1"]
        {
            assert_eq!(name.parse::<BackendChoice>().unwrap().to_string(), name);
        }
        assert!("cuda:x".parse::<BackendChoice>().is_err());
        // A device has 16 bits for its index: one more would be another device.
        assert!("cuda:65535".parse::<BackendChoice>().is_ok());
        assert!("cuda:65536".parse::<BackendChoice>().is_err());
        assert!("tpu".parse::<BackendChoice>().is_err());
    }

    #[test]
    fn processes_of_a_machine_take_its_devices_in_turn() {
        assert_eq!([0, 1, 2, 3, 4].map(|process| in_turn(process, 4)), [0, 1, 2, 3, 0]);
        // A scheduler that shows each process its own device alone.
        assert_eq!([0, 1, 2].map(|process| in_turn(process, 1)), [0, 0, 0]);
        // What has one place to compute is the same for all.
        assert_eq!(BackendChoice::Flex.of_rank(3).unwrap(), BackendChoice::Flex);
    }

    #[test]
    fn a_panic_becomes_its_first_line_wherever_it_was() {
        assert_eq!(without_panic(|| 3), Ok(3));
        let deep = || std::thread::spawn(|| panic!("no driver\n  at 0x0")).join().unwrap();
        assert_eq!(without_panic::<()>(deep), Err("no driver".into()));
    }
}
