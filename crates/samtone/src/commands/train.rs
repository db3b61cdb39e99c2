//! `samtone train`.

use crate::device::{DeviceArgs, Task};
use crate::output::Format;

/// Train a dual encoder, evaluate it and write a run folder.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    device: DeviceArgs,
}

struct Train;

impl Task for Train {
    type Output = anyhow::Result<()>;
    fn run<B: burn::tensor::backend::AutodiffBackend>(self, _device: &B::Device) -> Self::Output {
        Ok(())
    }
}

pub(crate) fn run(args: Args, _format: Format) -> anyhow::Result<()> {
    args.device.backend.run(Train)?
}
