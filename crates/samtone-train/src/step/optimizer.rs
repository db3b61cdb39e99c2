//! The update of a model's parameters, each by its rule and at its rate.

use std::collections::{BTreeMap, HashMap};

use burn::module::{AutodiffModule, ModuleMapper, Param, ParamId};
use burn::optim::{GradientsParams, SimpleOptimizer};
use burn::tensor::backend::{AutodiffBackend, Backend};
use burn::tensor::{DType, Tensor};
use samtone_model::{Parameter, Part};
use serde::{Deserialize, Serialize};

use crate::step::adafactor::Adafactor;
use crate::step::adamw::AdamW;
use crate::tensor_file::{TensorFile, parameter_name};

/// The update rule.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OptimizerName {
    /// [`AdamW`](crate::step::AdamW).
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

/// The optimiser of a model: what each trained parameter is updated by, and what is remembered of it.
///
/// Weight decay falls on matrices, not on biases and norms; the projection may learn at its own
/// rate, and layers far from the output more slowly (`train.layer_decay`).
#[derive(Clone)]
pub struct ModelOptimizer<B: AutodiffBackend> {
    trained: HashMap<ParamId, Trained<B::InnerBackend>>,
}

/// What moments are called in a file: the parameter's name before the point, the moment's after it.
/// About them, how often each parameter was updated.
pub(crate) type Moments<B> = TensorFile<B, BTreeMap<String, usize>>;

/// How a parameter is updated.
#[derive(Clone)]
struct Trained<B: Backend> {
    rule: Rule,
    shape: Vec<usize>,
    /// Its share of the learning rate.
    rate: f64,
    /// None before its first update.
    memory: Option<Memory<B>>,
}

/// What a rule remembers of a parameter.
#[derive(Clone)]
struct Memory<B: Backend> {
    /// Its updates.
    steps: usize,
    /// Means over them, flattened: [`Rule::moments_of`].
    moments: Vec<Tensor<B, 1>>,
}

#[derive(Clone, Copy)]
enum Rule {
    AdamW(AdamW),
    Adafactor(Adafactor),
}

impl<B: AutodiffBackend> ModelOptimizer<B> {
    /// The optimiser that `update` describes, for the trainable ones of `parameters`.
    pub fn new(update: impl Into<Update>, parameters: &[Parameter]) -> Self {
        let update = &update.into();
        let layers = 1 + parameters.iter().filter_map(|p| layer(p.part)).max().unwrap_or(0);
        let trained = parameters.iter().filter(|p| p.is_trainable).map(|parameter| {
            let rule = Rule::new(update, parameter.decays);
            let rate = rate(update, parameter.part, layers);
            let shape = parameter.shape.clone();
            (parameter.id, Trained { rule, shape, rate, memory: None })
        });
        Self { trained: trained.collect() }
    }

    /// The model after one step of `gradients` at `learning_rate`.
    pub fn step<M: AutodiffModule<B>>(
        &mut self,
        learning_rate: f64,
        model: M,
        gradients: GradientsParams,
    ) -> M {
        model.map(&mut Step::<B> { learning_rate, gradients, trained: &mut self.trained })
    }

    /// What is remembered of all parameters.
    pub(crate) fn moments(&self) -> Moments<B::InnerBackend> {
        let (mut tensors, mut about) = (BTreeMap::new(), BTreeMap::new());
        for (&id, trained) in &self.trained {
            let Some(memory) = &trained.memory else { continue };
            let parameter = parameter_name(id);
            about.insert(parameter.clone(), memory.steps);
            let moments = trained.rule.moments_of(&trained.shape);
            for ((name, _), moment) in moments.into_iter().zip(&memory.moments) {
                tensors.insert(format!("{parameter}.{name}"), moment.clone());
            }
        }
        TensorFile { tensors, about }
    }

    /// Goes on from what [`moments`](Self::moments) gave.
    ///
    /// # Errors
    /// If they are not exactly those of this optimiser's parameters and rules.
    pub(crate) fn restore(&mut self, moments: Moments<B::InnerBackend>) -> Result<(), String> {
        let TensorFile { mut tensors, mut about } = moments;
        let stranger = || "its optimiser is not the one of this run".to_owned();
        for (&id, trained) in &mut self.trained {
            let parameter = parameter_name(id);
            let mut moment = |(name, size): (&str, usize)| {
                let found = tensors.remove(&format!("{parameter}.{name}"));
                found.filter(|found: &Tensor<B::InnerBackend, 1>| {
                    found.dims() == [size] && matches!(found.dtype(), DType::F32 | DType::F64)
                })
            };
            trained.memory = match about.remove(&parameter) {
                Some(steps) => {
                    let moments = trained.rule.moments_of(&trained.shape);
                    let moments: Option<_> = moments.into_iter().map(&mut moment).collect();
                    Some(Memory { steps, moments: moments.ok_or_else(stranger)? })
                }
                None => None,
            };
        }
        if tensors.is_empty() && about.is_empty() { Ok(()) } else { Err(stranger()) }
    }
}

/// One step of an optimiser.
struct Step<'a, B: AutodiffBackend> {
    learning_rate: f64,
    gradients: GradientsParams,
    trained: &'a mut HashMap<ParamId, Trained<B::InnerBackend>>,
}

impl<B: AutodiffBackend> ModuleMapper<B> for Step<'_, B> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<B, D>>) -> Param<Tensor<B, D>> {
        let Some(trained) = self.trained.get_mut(&param.id) else { return param };
        let Some(gradient) = self.gradients.remove::<B::InnerBackend, D>(param.id) else {
            return param;
        };
        let (id, tensor, mapper) = param.consume();
        let lr = self.learning_rate * trained.rate;
        let memory = trained.memory.take();
        let (tensor, memory) = trained.rule.update(lr, tensor.inner(), gradient, memory);
        trained.memory = Some(memory);
        Param::from_mapped_value(id, Tensor::from_inner(tensor).require_grad(), mapper)
    }
}

impl Rule {
    fn new(update: &Update, decays: bool) -> Self {
        let weight_decay = if decays { update.weight_decay } else { 0.0 };
        let adafactor = |scale_by_parameter| {
            Self::Adafactor(Adafactor { scale_by_parameter, weight_decay, ..Adafactor::default() })
        };
        match update.rule {
            OptimizerName::AdamW => Self::AdamW(AdamW { weight_decay }),
            OptimizerName::Adafactor => adafactor(true),
            OptimizerName::AdafactorPlain => adafactor(false),
        }
    }

    /// The moments of a parameter of `shape`: their names, and how many numbers each has.
    fn moments_of(self, shape: &[usize]) -> Vec<(&'static str, usize)> {
        let all = shape.iter().product::<usize>();
        match (self, shape) {
            (Self::AdamW(_), _) => vec![("mean", all), ("square", all)],
            (Self::Adafactor(_), [.., rows, columns]) => {
                vec![("rows", all / columns), ("columns", all / rows)]
            }
            (Self::Adafactor(_), _) => vec![("rows", all)],
        }
    }

    /// A parameter and what is remembered of it after a step of `gradient` at the rate `lr`.
    fn update<B: Backend, const D: usize>(
        self,
        lr: f64,
        tensor: Tensor<B, D>,
        gradient: Tensor<B, D>,
        memory: Option<Memory<B>>,
    ) -> (Tensor<B, D>, Memory<B>) {
        let shape = tensor.dims();
        match self {
            Self::AdamW(rule) => {
                let state = memory.map(|memory| AdamW::state(memory.steps, memory.moments, shape));
                let (tensor, state) = rule.step(lr, tensor, gradient, state);
                let (steps, moments) = AdamW::parts(state.expect("a step leaves a state"));
                (tensor, Memory { steps, moments })
            }
            Self::Adafactor(rule) => {
                let state =
                    memory.map(|memory| Adafactor::state(memory.steps, memory.moments, shape));
                let (tensor, state) = rule.step(lr, tensor, gradient, state);
                let (steps, moments) = Adafactor::parts(state.expect("a step leaves a state"));
                (tensor, Memory { steps, moments })
            }
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

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use burn::backend::{Autodiff, Flex};
    use burn::module::{Module, ModuleVisitor};
    use samtone_model::{
        BertConfig, DualEncoder, DualEncoderConfig, EncoderConfig, Pooling, Sharing,
    };

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
        let model = ModelOptimizer::<B>::new(update, &parameters).step(0.2, model, gradients);
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

    #[test]
    fn moments_of_others_are_refused() {
        let encoder = BertConfig {
            hidden: 8,
            layers: 1,
            heads: 2,
            intermediate: 16,
            vocab_size: 30,
            ..BertConfig::default()
        };
        let encoder = EncoderConfig::Bert(encoder);
        let config = DualEncoderConfig { encoder, ..DualEncoderConfig::default() };
        let model = DualEncoder::<B>::init(&config, 1, &Default::default()).unwrap();
        for rule in [OptimizerName::AdamW, OptimizerName::Adafactor] {
            let update = Update { rule, ..Update::default() };
            let new = || ModelOptimizer::<B>::new(update, model.parameters());
            let mut optimizer = new();
            optimizer.step(0.1, model.clone(), Still::of(&model).gradients);
            let moments = optimizer.moments();
            assert_eq!(new().restore(moments.clone()), Ok(()));
            let changed = |change: &dyn Fn(&mut Moments<Flex>, &str)| {
                let mut moments = moments.clone();
                // The second moment of a matrix.
                let is_second =
                    |name: &&String| name.ends_with("square") || name.ends_with("columns");
                let name = moments.tensors.keys().find(is_second).unwrap().clone();
                change(&mut moments, &name);
                new().restore(moments)
            };
            let of = |name: &str| name.split('.').next().unwrap().to_owned();
            let missing = changed(&|moments, name| {
                moments.tensors.remove(name);
            });
            let unnamed = changed(&|moments, name| {
                moments.about.remove(&of(name));
            });
            let further = changed(&|moments, _| {
                moments.about.insert("x".into(), 1);
            });
            let short = changed(&|moments, name| {
                let moment = moments.tensors.get_mut(name).unwrap();
                *moment = moment.clone().narrow(0, 0, 1);
            });
            let half = changed(&|moments, name| {
                let moment = moments.tensors.get_mut(name).unwrap();
                *moment = moment.clone().cast(DType::F16);
            });
            for refused in [missing, unnamed, further, short, half] {
                assert!(refused.is_err(), "{rule:?}");
            }
        }
        let of = |rule| {
            ModelOptimizer::<B>::new(Update { rule, ..Update::default() }, model.parameters())
        };
        let mut adafactor = of(OptimizerName::Adafactor);
        adafactor.step(0.1, model.clone(), Still::of(&model).gradients);
        assert!(of(OptimizerName::AdamW).restore(adafactor.moments()).is_err());
    }
}
