//! The update: Burn's optimisers, one for each group of parameters that is treated alike.

use burn::module::{AutodiffModule, ModuleVisitor, Param, ParamId};
use burn::optim::adaptor::OptimizerAdaptor;
use burn::optim::{AdamW, AdamWConfig, GradientsParams, Optimizer};
use burn::record::{BinBytesRecorder, FullPrecisionSettings, Record, Recorder, RecorderError};
use burn::tensor::Tensor;
use burn::tensor::backend::AutodiffBackend;
use samtone_model::{DualEncoder, Parameter, Part};
use serde::{Deserialize, Serialize};

use crate::step::adafactor::Adafactor;

/// The update rule.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OptimizerName {
    /// Adam with decoupled weight decay (Loshchilov and Hutter 2019), β 0.9 and 0.999, ε 1e-8.
    #[default]
    #[serde(rename = "adamw")]
    AdamW,
    /// [`Adafactor`](crate::step::Adafactor), updates scaled by the parameter's size: the
    /// papers' choice, at a learning rate of 1e-3.
    Adafactor,
    /// Adafactor without that scale.
    AdafactorPlain,
}

/// How parameters are updated.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Update {
    /// The update rule.
    pub rule: OptimizerName,
    /// Decoupled weight decay, on every parameter but biases and norms.
    pub weight_decay: f64,
    /// Each layer learns at this share of the rate of the one above it.
    pub layer_decay: f64,
    /// The projection's share of the learning rate.
    pub projection_rate: f64,
}

impl Default for Update {
    /// AdamW with a weight decay of 0.01, every parameter at one rate.
    fn default() -> Self {
        let rule = OptimizerName::default();
        Self { rule, weight_decay: 0.01, layer_decay: 1.0, projection_rate: 1.0 }
    }
}

/// The optimiser of a dual encoder.
pub type DualEncoderOptimizer<B> = ModelOptimizer<B, DualEncoder<B>>;

/// The optimiser of a model.
///
/// Weight decay falls on matrices, not on biases and norms; the projection may learn at its own
/// rate, and layers far from the output more slowly (`train.layer_decay`).
#[derive(Clone)]
pub struct ModelOptimizer<B: AutodiffBackend, M: AutodiffModule<B>> {
    groups: Vec<Group<B, M>>,
}

/// Parameters with the same decay and the same share of the learning rate.
#[derive(Clone)]
struct Group<B: AutodiffBackend, M: AutodiffModule<B>> {
    decays: bool,
    rate: f64,
    ids: Vec<ParamId>,
    rule: Rule<B, M>,
}

#[derive(Clone)]
enum Rule<B: AutodiffBackend, M: AutodiffModule<B>> {
    AdamW(OptimizerAdaptor<AdamW, M, B>),
    Adafactor(OptimizerAdaptor<Adafactor, M, B>),
}

impl<B: AutodiffBackend, M: AutodiffModule<B>> ModelOptimizer<B, M> {
    /// The optimiser that `update` describes, for the trainable ones of `parameters`.
    pub fn new(update: impl Into<Update>, parameters: &[Parameter]) -> Self {
        let update = &update.into();
        let layers = 1 + parameters.iter().filter_map(|p| layer(p.part)).max().unwrap_or(0);
        let mut groups: Vec<Group<B, M>> = Vec::new();
        for parameter in parameters.iter().filter(|p| p.is_trainable) {
            let rate = rate(update, parameter.part, layers);
            let decays = parameter.decays;
            match groups.iter_mut().find(|g| g.decays == decays && g.rate.total_cmp(&rate).is_eq())
            {
                Some(group) => group.ids.push(parameter.id),
                None => groups.push(Group {
                    decays,
                    rate,
                    ids: vec![parameter.id],
                    rule: Rule::new(update, decays),
                }),
            }
        }
        Self { groups }
    }

    /// The model after one step of `gradients` at `learning_rate`.
    pub fn step(&mut self, learning_rate: f64, model: M, mut gradients: GradientsParams) -> M {
        self.groups.iter_mut().fold(model, |model, group| {
            let mut chosen = GradientsParams::new();
            model.visit(&mut Take { from: &mut gradients, to: &mut chosen, ids: &group.ids });
            let rate = learning_rate * group.rate;
            match &mut group.rule {
                Rule::AdamW(rule) => rule.step(rate, model, chosen),
                Rule::Adafactor(rule) => rule.step(rate, model, chosen),
            }
        })
    }

    /// The optimiser's state, as bytes.
    ///
    /// # Errors
    /// Burn's, if the state cannot be serialised.
    pub fn to_bytes(&self) -> Result<Vec<u8>, RecorderError> {
        let groups: Vec<Vec<u8>> = self
            .groups
            .iter()
            .map(|group| match &group.rule {
                Rule::AdamW(rule) => record_bytes::<B, _>(rule.to_record()),
                Rule::Adafactor(rule) => record_bytes::<B, _>(rule.to_record()),
            })
            .collect::<Result<_, _>>()?;
        record_bytes::<B, _>(groups)
    }

    /// This optimiser in the state that [`to_bytes`](Self::to_bytes) gave.
    ///
    /// # Errors
    /// Burn's, if `bytes` hold no state of such an optimiser.
    pub fn with_bytes(mut self, bytes: Vec<u8>, device: &B::Device) -> Result<Self, RecorderError> {
        let groups: Vec<Vec<u8>> = read_bytes::<B, _>(bytes, device)?;
        if groups.len() != self.groups.len() {
            return Err(RecorderError::DeserializeError(format!(
                "{} parameter groups, expected {}",
                groups.len(),
                self.groups.len()
            )));
        }
        for (group, bytes) in self.groups.iter_mut().zip(groups) {
            group.rule = match group.rule.clone() {
                Rule::AdamW(rule) => {
                    Rule::AdamW(rule.load_record(read_bytes::<B, _>(bytes, device)?))
                }
                Rule::Adafactor(rule) => {
                    Rule::Adafactor(rule.load_record(read_bytes::<B, _>(bytes, device)?))
                }
            };
        }
        Ok(self)
    }
}

impl<B: AutodiffBackend, M: AutodiffModule<B>> Rule<B, M> {
    fn new(update: &Update, decays: bool) -> Self {
        let weight_decay = if decays { update.weight_decay } else { 0.0 };
        match update.rule {
            OptimizerName::AdamW => Self::AdamW(
                AdamWConfig::new()
                    .with_epsilon(1e-8)
                    .with_weight_decay(weight_decay as f32)
                    .init::<B, M>(),
            ),
            OptimizerName::Adafactor => {
                Self::Adafactor(Adafactor { weight_decay, ..Adafactor::default() }.init())
            }
            OptimizerName::AdafactorPlain => Self::Adafactor(
                Adafactor { weight_decay, scale_by_parameter: false, ..Adafactor::default() }
                    .init(),
            ),
        }
    }
}

/// The transformer layer of a part.
fn layer(part: Part) -> Option<usize> {
    match part {
        Part::Layer(index) => Some(index),
        _ => None,
    }
}

/// The share of the learning rate at which `part` learns, in an encoder of `layers`.
fn rate(update: &Update, part: Part, layers: usize) -> f64 {
    let below_top = match part {
        Part::Projection => return update.projection_rate,
        Part::FinalNorm | Part::Head => 0,
        Part::Layer(index) => layers - 1 - index,
        Part::Embedder => layers,
    };
    update.layer_decay.powi(below_top as i32)
}

fn record_bytes<B: AutodiffBackend, R: Record<B>>(record: R) -> Result<Vec<u8>, RecorderError> {
    let recorder = BinBytesRecorder::<FullPrecisionSettings, Vec<u8>>::default();
    Recorder::<B>::record(&recorder, record, ())
}

fn read_bytes<B: AutodiffBackend, R: Record<B>>(
    bytes: Vec<u8>,
    device: &B::Device,
) -> Result<R, RecorderError> {
    let recorder = BinBytesRecorder::<FullPrecisionSettings, Vec<u8>>::default();
    Recorder::<B>::load(&recorder, bytes, device)
}

/// Moves the gradients of `ids` from one set to another.
struct Take<'a> {
    from: &'a mut GradientsParams,
    to: &'a mut GradientsParams,
    ids: &'a [ParamId],
}

impl<B: AutodiffBackend> ModuleVisitor<B> for Take<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        if self.ids.contains(&param.id)
            && let Some(gradient) = self.from.remove::<B::InnerBackend, D>(param.id)
        {
            self.to.register(param.id, gradient);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use burn::backend::{Autodiff, Flex};
    use burn::module::Module;
    use samtone_model::{BertConfig, DualEncoderConfig, EncoderConfig, Pooling, Sharing};

    use super::*;

    type B = Autodiff<Flex>;

    /// A module's values and gradients of nothing, by parameter.
    struct Still {
        values: HashMap<ParamId, Vec<f32>>,
        gradients: GradientsParams,
    }

    impl Still {
        fn of(model: &DualEncoder<B>) -> Self {
            let mut still = Self { values: HashMap::new(), gradients: GradientsParams::new() };
            model.visit(&mut still);
            still
        }
    }

    impl ModuleVisitor<B> for Still {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
            let value = param.val().inner();
            self.values.insert(param.id, value.to_data().to_vec().unwrap());
            self.gradients.register(param.id, value.zeros_like());
        }
    }

    /// A step without gradients leaves decay alone: what a parameter shrinks by is its rate times
    /// its decay.
    #[test]
    fn matrices_decay_at_the_rate_of_their_part() {
        let encoder = BertConfig {
            hidden: 8,
            layers: 2,
            heads: 2,
            intermediate: 16,
            vocab_size: 30,
            ..BertConfig::default()
        };
        let config = DualEncoderConfig {
            encoder: EncoderConfig::Bert(encoder),
            sharing: Sharing::Sde,
            pooling: Pooling::Mean,
            projection: Some(4.into()),
            ..DualEncoderConfig::default()
        };
        let model = DualEncoder::<B>::init(&config, 1, &Default::default()).unwrap();
        let parameters = model.parameters().to_vec();
        let Still { values: before, gradients } = Still::of(&model);
        let update = Update {
            rule: OptimizerName::AdamW,
            weight_decay: 0.1,
            layer_decay: 0.5,
            projection_rate: 3.0,
        };
        let model = DualEncoderOptimizer::<B>::new(update, &parameters).step(0.2, model, gradients);
        let after = Still::of(&model).values;
        for parameter in &parameters {
            let rate = match parameter.part {
                Part::Embedder => 0.25,
                Part::Layer(0) => 0.5,
                Part::Layer(_) => 1.0,
                Part::Projection => 3.0,
                other => unreachable!("{other:?}"),
            };
            let kept = if parameter.shape.len() > 1 { 1.0 - 0.2 * 0.1 * rate } else { 1.0 };
            for (before, after) in before[&parameter.id].iter().zip(&after[&parameter.id]) {
                assert!(
                    (before * kept - after).abs() <= 1e-6 * before.abs(),
                    "{}: {before} to {after}",
                    parameter.path
                );
            }
        }
    }
}
