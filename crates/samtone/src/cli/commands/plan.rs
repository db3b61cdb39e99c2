//! `samtone plan`.

use burn::tensor::backend::AutodiffBackend;
use samtone_train::TrainError;
use samtone_train::config::ExperimentConfig;
use samtone_train::run::{Plan, plan};

use crate::device::{DeviceArgs, OnBackend};
use crate::output::Format;
use crate::runner::ConfigArgs;

/// Say how a run would fit into memory and how long its steps would take, without training.
///
/// What it plans is what `samtone train` does where `train.chunk` is `"auto"`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  samtone plan --config my.toml
  samtone plan --config my.toml --set train.batch_size=1024 --backend cuda")]
pub(crate) struct Args {
    #[command(flatten)]
    config: ConfigArgs,
    #[command(flatten)]
    device: DeviceArgs,
}

pub(crate) fn run(args: &Args, format: Format) -> anyhow::Result<()> {
    let config = args.config.read()?;
    let found = args.device.backend.run(Planning(&config))??;
    format.print(&found, text)
}

struct Planning<'a>(&'a ExperimentConfig);

impl OnBackend for Planning<'_> {
    type Output = Result<Plan, TrainError>;

    fn run<B: AutodiffBackend>(self, device: &B::Device) -> Self::Output {
        plan::<B>(self.0, device)
    }
}

fn text(plan: &Plan) -> String {
    let gigabytes = |bytes: u64| bytes as f64 / 1e9;
    let passes = if plan.is_cached {
        format!("chunks of {} pairs, each encoded twice (gradient caching)", plan.chunk)
    } else {
        "whole, in one pass".into()
    };
    let kept = if plan.recomputes { "; each layer is computed again on the way back" } else { "" };
    let seconds = plan.seconds_per_step.unwrap_or(f64::NAN);
    let judging = plan.evaluation_seconds.unwrap_or(f64::NAN);
    format!(
        "batches of {} pairs go through {passes}{kept}\n\
         {}; {:.0} tokens a step, at most {} in one pass\n\
         peak memory about {:.2} GB of the {:.1} GB it may take{}; {:.2} GB of it for score tiles\n\
         about {seconds:.2} s a step, {:.0} pairs/s, {:.1} min for {} steps\n\
         about {:.1} min to judge the model, {} times of it on the way\n",
        plan.batch_size,
        parameters(plan),
        plan.tokens_per_step,
        plan.longest_chunk,
        gigabytes(plan.peak_bytes),
        gigabytes(plan.budget_bytes),
        if plan.fits() { "" } else { ": IT DOES NOT FIT" },
        gigabytes(plan.score_bytes),
        plan.batch_size as f64 / seconds,
        seconds * plan.steps as f64 / 60.0,
        plan.steps,
        judging / 60.0,
        plan.evaluations,
    )
}

/// How many parameters there are, and of how many a step knows more than the weights.
fn parameters(plan: &Plan) -> String {
    let all = format!("{} parameters", plan.parameters);
    let adapters = match plan.adapters {
        0 => String::new(),
        adapters => format!(", {adapters} of them adapters'"),
    };
    match plan.parameters - plan.trained {
        0 => all + &adapters,
        frozen => format!("{all}, {} trained{adapters}, {frozen} frozen", plan.trained),
    }
}
