//! Gradients by parameter: their norms, the global norm and clipping by it.

use burn::module::{AutodiffModule, ModuleVisitor, Param, ParamId};
use burn::optim::GradientsParams;
use burn::tensor::backend::AutodiffBackend;
use burn::tensor::{DType, Tensor};

/// The Euclidean norm of one parameter's gradient.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GradientNorm {
    /// The parameter.
    pub id: ParamId,
    /// The norm; none where the loss does not reach the parameter.
    pub norm: Option<f64>,
}

/// The norm of each trainable parameter's gradient, in the module's order.
pub fn norms<B: AutodiffBackend, M: AutodiffModule<B>>(
    module: &M,
    gradients: &GradientsParams,
) -> Vec<GradientNorm> {
    let mut visitor = NormVisitor::<B> { gradients, norms: Vec::new(), squares: Vec::new() };
    module.visit(&mut visitor);
    let NormVisitor { mut norms, squares, .. } = visitor;
    if squares.is_empty() {
        return norms;
    }
    // One transfer for all parameters.
    let squares = Tensor::cat(squares, 0).into_data();
    let mut squares = squares.iter::<f64>();
    for entry in norms.iter_mut().filter(|entry| entry.norm.is_some()) {
        entry.norm = squares.next().map(f64::sqrt);
    }
    norms
}

/// The norm over all parameters.
pub fn global_norm(norms: &[GradientNorm]) -> f64 {
    norms.iter().filter_map(|entry| entry.norm).map(|norm| norm * norm).sum::<f64>().sqrt()
}

/// Multiplies every gradient by `factor`.
pub fn scale<B: AutodiffBackend, M: AutodiffModule<B>>(
    module: &M,
    gradients: &mut GradientsParams,
    factor: f64,
) {
    module.visit(&mut ScaleVisitor { gradients, factor });
}

/// Turns every gradient into f32 times `factor`.
pub(crate) fn to_single<B: AutodiffBackend, M: AutodiffModule<B>>(
    module: &M,
    gradients: &mut GradientsParams,
    factor: f64,
) {
    module.visit(&mut SingleVisitor { gradients, factor });
}

struct SingleVisitor<'a> {
    gradients: &'a mut GradientsParams,
    factor: f64,
}

impl<B: AutodiffBackend> ModuleVisitor<B> for SingleVisitor<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        if let Some(gradient) = self.gradients.remove::<B::InnerBackend, D>(param.id) {
            let single = gradient.cast(DType::F32).mul_scalar(self.factor);
            self.gradients.register(param.id, single);
        }
    }
}

struct NormVisitor<'a, B: AutodiffBackend> {
    gradients: &'a GradientsParams,
    norms: Vec<GradientNorm>,
    squares: Vec<Tensor<B::InnerBackend, 1>>,
}

impl<B: AutodiffBackend> ModuleVisitor<B> for NormVisitor<'_, B> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        if !param.is_require_grad() {
            return;
        }
        let gradient = self.gradients.get::<B::InnerBackend, D>(param.id);
        self.norms.push(GradientNorm { id: param.id, norm: gradient.as_ref().map(|_| 0.0) });
        if let Some(gradient) = gradient {
            // By rows first: Flex sums a whole large tensor in an order that varies.
            let width = gradient.dims()[D - 1];
            let rows = gradient.shape().num_elements() / width.max(1);
            let rows = gradient.reshape([rows, width]);
            let squares = (rows.clone() * rows).sum_dim(1).sum();
            self.squares.push(squares);
        }
    }
}

struct ScaleVisitor<'a> {
    gradients: &'a mut GradientsParams,
    factor: f64,
}

impl<B: AutodiffBackend> ModuleVisitor<B> for ScaleVisitor<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        if let Some(gradient) = self.gradients.remove::<B::InnerBackend, D>(param.id) {
            self.gradients.register(param.id, gradient.mul_scalar(self.factor));
        }
    }
}

#[cfg(test)]
mod tests {
    use burn::backend::{Autodiff, Flex};
    use burn::nn::{Linear, LinearConfig};
    use burn::tensor::TensorData;

    use super::*;

    type B = Autodiff<Flex>;

    #[test]
    fn norms_are_by_parameter_and_scaling_reaches_all() {
        let device = burn::tensor::Device::<B>::default();
        let layer: Linear<B> = LinearConfig::new(2, 2).init(&device);
        let x = Tensor::<B, 2>::from_data(TensorData::from([[3.0_f32, 4.0]]), &device);
        let mut gradients = GradientsParams::from_grads(layer.forward(x).sum().backward(), &layer);
        // d/dW = xᵀ · [1, 1]: two columns of (3, 4); d/db = (1, 1).
        let norms_of = |gradients: &GradientsParams| {
            norms(&layer, gradients).iter().map(|entry| entry.norm.unwrap()).collect::<Vec<_>>()
        };
        let before = norms_of(&gradients);
        assert!((before[0] - 50.0_f64.sqrt()).abs() < 1e-6, "{before:?}");
        assert!((before[1] - 2.0_f64.sqrt()).abs() < 1e-6);
        assert!((global_norm(&norms(&layer, &gradients)) - 52.0_f64.sqrt()).abs() < 1e-6);
        scale(&layer, &mut gradients, 0.5);
        assert!((norms_of(&gradients)[0] - 0.5 * before[0]).abs() < 1e-6);
    }
}
