//! Walks over the parameters of a module, each with its name.

use std::collections::HashMap;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::optim::GradientsParams;
use burn::tensor::backend::{AutodiffBackend, Backend};
use burn::tensor::{FloatDType, Tensor};

use crate::blocks::ops::in_dtype;
use crate::parameter::Parameter;

fn by_id(parameters: &[Parameter]) -> HashMap<ParamId, &Parameter> {
    parameters.iter().map(|parameter| (parameter.id, parameter)).collect()
}

/// Calls `visit` with every parameter of `module` and its values, flattened, in the module's order.
pub(crate) fn for_each_parameter<B: Backend>(
    module: &impl Module<B>,
    parameters: &[Parameter],
    visit: impl FnMut(&Parameter, Tensor<B, 1>),
) {
    struct Visitor<'a, F> {
        parameters: HashMap<ParamId, &'a Parameter>,
        visit: F,
    }
    impl<B: Backend, F: FnMut(&Parameter, Tensor<B, 1>)> ModuleVisitor<B> for Visitor<'_, F> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
            (self.visit)(self.parameters[&param.id], param.val().flatten(0, D - 1));
        }
    }
    module.visit(&mut Visitor { parameters: by_id(parameters), visit });
}

/// Calls `visit` with every parameter of `module` and its gradient, flattened, or none where
/// `gradients` holds none, in the module's order.
pub(crate) fn for_each_gradient<B: AutodiffBackend>(
    module: &impl Module<B>,
    parameters: &[Parameter],
    gradients: &GradientsParams,
    visit: impl FnMut(&Parameter, Option<Tensor<B::InnerBackend, 1>>),
) {
    struct Visitor<'a, F> {
        parameters: HashMap<ParamId, &'a Parameter>,
        gradients: &'a GradientsParams,
        visit: F,
    }
    impl<B, F> ModuleVisitor<B> for Visitor<'_, F>
    where
        B: AutodiffBackend,
        F: FnMut(&Parameter, Option<Tensor<B::InnerBackend, 1>>),
    {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
            let gradient = self.gradients.get::<B::InnerBackend, D>(param.id);
            let gradient = gradient.map(|gradient| gradient.flatten(0, D - 1));
            (self.visit)(self.parameters[&param.id], gradient);
        }
    }
    module.visit(&mut Visitor { parameters: by_id(parameters), gradients, visit });
}

/// The module with its parameters in another float type, but for those whose ids `keeps` says.
pub(crate) fn cast<B: Backend, M: Module<B>>(
    module: M,
    dtype: FloatDType,
    keeps: impl Fn(ParamId) -> bool,
) -> M {
    struct Cast<F>(FloatDType, F);
    impl<B: Backend, F: Fn(ParamId) -> bool> ModuleMapper<B> for Cast<F> {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<B, D>>) -> Param<Tensor<B, D>> {
            if self.1(param.id) {
                return param;
            }
            let (id, tensor, mapper) = param.consume();
            let is_trainable = tensor.is_require_grad();
            let tensor = in_dtype(tensor, self.0).detach().set_require_grad(is_trainable);
            Param::from_mapped_value(id, tensor, mapper)
        }
    }
    module.map(&mut Cast(dtype, keeps))
}

/// A trainable parameter without a usable gradient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadParameter {
    /// The parameter's path.
    pub path: String,
    /// What is wrong with its gradient.
    pub fault: GradientFault,
}

/// What is wrong with a gradient.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GradientFault {
    /// The backward pass did not reach the parameter.
    Missing,
    /// Every element is zero.
    Zero,
    /// An element is infinite or not a number.
    NonFinite,
}

/// Trainable parameters of `module` whose gradient is missing, zero or not finite.
pub(crate) fn dead_parameters<B: AutodiffBackend>(
    module: &impl Module<B>,
    parameters: &[Parameter],
    gradients: &GradientsParams,
) -> Vec<DeadParameter> {
    let mut dead = Vec::new();
    for_each_gradient::<B>(module, parameters, gradients, |parameter, gradient| {
        if !parameter.is_trainable {
            return;
        }
        let fault = match gradient {
            None => Some(GradientFault::Missing),
            Some(gradient) => {
                let total: f64 = gradient.abs().sum().into_data().iter::<f64>().sum();
                if total == 0.0 {
                    Some(GradientFault::Zero)
                } else {
                    (!total.is_finite()).then_some(GradientFault::NonFinite)
                }
            }
        };
        dead.extend(fault.map(|fault| DeadParameter { path: parameter.path.clone(), fault }));
    });
    dead
}
