//! `samtone gradients`.

use std::path::PathBuf;

use anyhow::Context;
use burn::tensor::backend::AutodiffBackend;
use safetensors::Dtype;
use safetensors::tensor::TensorView;
use samtone_model::Part;
use samtone_train::TrainError;
use samtone_train::config::ExperimentConfig;
use samtone_train::run::{FirstStep, first_step};
use serde::{Deserialize, Serialize};

use crate::device::{DeviceArgs, OnBackend};
use crate::output::Format;
use crate::runner::ConfigArgs;

/// Write the gradients of an experiment's first step, to compare backends, machines or versions.
///
/// Weights, batch and dropout masks are those that `samtone train` starts with.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  samtone gradients --out here.safetensors
  samtone gradients --config my.toml --backend wgpu --out there.safetensors")]
pub(crate) struct Args {
    #[command(flatten)]
    config: ConfigArgs,
    /// The safetensors file to write: a tensor a parameter, named `PART/PARAMETER`.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    #[command(flatten)]
    device: DeviceArgs,
}

/// What `--format json` prints.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Result {
    /// In nats.
    pub(crate) loss: f64,
    pub(crate) parameters: usize,
    /// The compilation and tuning of kernels included.
    pub(crate) seconds_at_first: f64,
    pub(crate) seconds: f64,
    out: PathBuf,
}

pub(crate) fn run(args: &Args, format: Format) -> anyhow::Result<()> {
    let config = args.config.read::<ExperimentConfig>()?;
    samtone_files::prepare_file(&args.out)
        .with_context(|| format!("cannot write `{}`", args.out.display()))?;
    let found = args.device.backend.run(First(&config))??;
    write(&found, args)?;
    let result = Result {
        loss: found.loss,
        parameters: found.gradients.len(),
        seconds_at_first: found.seconds_at_first,
        seconds: found.seconds,
        out: args.out.clone(),
    };
    format.print(&result, |result| {
        format!(
            "loss {:.6}, gradients of {} parameters in {:.2} s, {:.2} s at first: `{}`",
            result.loss,
            result.parameters,
            result.seconds,
            result.seconds_at_first,
            result.out.display()
        )
    })
}

struct First<'a>(&'a ExperimentConfig);

impl OnBackend for First<'_> {
    type Output = std::result::Result<FirstStep, TrainError>;

    fn run<B: AutodiffBackend>(self, device: &B::Device) -> Self::Output {
        first_step::<B>(self.0, device)
    }
}

fn write(found: &FirstStep, args: &Args) -> anyhow::Result<()> {
    let tensors: Vec<(String, &[usize], Vec<u8>)> = found
        .gradients
        .iter()
        .map(|(parameter, values)| {
            let part = match parameter.part {
                Part::Embedder => "embedder".into(),
                Part::Layer(index) => format!("layer {index}"),
                Part::FinalNorm => "final norm".into(),
                Part::Head => "head".into(),
                Part::Projection => "projection".into(),
            };
            let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
            (format!("{part}/{}", parameter.path), &*parameter.shape, bytes)
        })
        .collect();
    let views = tensors.iter().map(|(name, shape, bytes)| {
        let view = TensorView::new(Dtype::F32, shape.to_vec(), bytes);
        (name, view.expect("a gradient has its parameter's shape"))
    });
    safetensors::serialize(views, None)
        .map_err(anyhow::Error::from)
        .and_then(|bytes| Ok(samtone_files::replace(&args.out, &bytes)?))
        .with_context(|| format!("cannot write `{}`", args.out.display()))
}
