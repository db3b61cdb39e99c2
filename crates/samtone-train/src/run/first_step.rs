//! What the first step of a run asks of the parameters: to compare backends, machines and versions.

use std::time::Instant;

use burn::tensor::backend::AutodiffBackend;
use samtone_model::{Parameter, Side};

use crate::config::ExperimentConfig;
use crate::error::TrainError;
use crate::run::batches::Batches;
use crate::run::fit::{dropout_key, objective};
use crate::run::plan;
use crate::run::session::Session;

/// The first step of a run, before any update. Weights, batch and dropout masks are drawn on the host:
/// the same on every backend.
#[derive(Clone, Debug)]
pub struct FirstStep {
    /// The loss, in nats.
    pub loss: f64,
    /// Every parameter that the loss reaches, with its gradient, flattened.
    pub gradients: Vec<(Parameter, Vec<f32>)>,
    /// Seconds that it took, the compilation and tuning of kernels included.
    pub seconds_at_first: f64,
    /// Seconds that it took the second time.
    pub seconds: f64,
}

/// The first step of `config` on `device`. Nothing is trained or kept.
///
/// # Errors
/// What would keep the run from starting.
pub fn first_step<B: AutodiffBackend>(
    config: &ExperimentConfig,
    device: &B::Device,
) -> Result<FirstStep, TrainError> {
    let session = Session::<B>::open(config.resolve()?, None, device, &mut |_| {})?;
    let (config, retriever) = (&session.config, &session.retriever);
    let own = plan::temporary_folder()?;
    let prepared = session.tokenise(config.data.token_cache.as_deref().unwrap_or(own.path()))?;
    let batches = Batches::new(&prepared, config)?;
    let plan = plan::choose(&retriever.model, &batches, &config.loss.resolve()?, config);
    let pad_id = retriever.tokenizer(Side::Query).pad_id();
    let engine = plan.engine(objective(config, &config.loss)?, pad_id, &config.train);
    let batch = batches.at(0).texts;
    let temperature = engine.objective.contrastive.temperature();
    let dropout = dropout_key(config).at(0);
    let step = || {
        let started = Instant::now();
        let out = engine.gradients(&retriever.model, &batch, temperature, Some(dropout))?;
        let mut gradients = Vec::new();
        retriever.model.for_each_gradient(&out.parameters, |parameter, gradient| {
            let values = gradient.map(|gradient| gradient.into_data().iter::<f32>().collect());
            gradients.extend(values.map(|values| (parameter.clone(), values)));
        });
        Ok::<_, TrainError>((out.loss, gradients, started.elapsed().as_secs_f64()))
    };
    let (loss, gradients, seconds_at_first) = step()?;
    let (_, _, seconds) = step()?;
    Ok(FirstStep { loss, gradients, seconds_at_first, seconds })
}
