//! AdamW: Burn's own, and for Flex the same numbers in one pass by all threads.

use burn::optim::{AdamWConfig, AdamWState, AdaptiveMomentumState, LearningRate, SimpleOptimizer};
use burn::tensor::backend::Backend;
use burn::tensor::{Device, Tensor};

/// Adam with decoupled weight decay (Loshchilov and Hutter 2019, arXiv:1711.05101), β 0.9 and 0.999,
/// ε 1e-8.
///
/// With `g` the gradient and `t` the step from 1:
///
/// ```text
/// m = β₁ m + (1 − β₁) g        v = β₂ v + (1 − β₂) g²
/// p = p (1 − lr · decay) − lr · m / (1 − β₁^t) / (√(v / (1 − β₂^t)) + ε)
/// ```
///
/// Burn's operations go over a parameter a dozen times with one thread on Flex; there it is one pass by
/// all threads, to the same bits.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct AdamW {
    /// Decoupled weight decay.
    pub weight_decay: f64,
}

impl AdamW {
    /// The state of a parameter of `shape` after `step` steps, from its parts.
    pub(crate) fn state<B: Backend, const D: usize>(
        step: usize,
        moments: Vec<Tensor<B, 1>>,
        shape: [usize; D],
    ) -> AdamWState<B, D> {
        let mut moments = moments.into_iter().map(|moment| moment.reshape(shape));
        let mut next = || moments.next().expect("two moments are remembered");
        AdamWState::new(AdaptiveMomentumState::new(step, next(), next()))
    }

    /// The steps of a state, and its parts, flattened.
    pub(crate) fn parts<B: Backend, const D: usize>(
        state: AdamWState<B, D>,
    ) -> (usize, Vec<Tensor<B, 1>>) {
        let AdaptiveMomentumState { time, moment_1, moment_2, .. } = state.momentum;
        (time, [moment_1, moment_2].map(|moment| moment.flatten(0, D - 1)).into())
    }
}

const BETAS: [f32; 2] = [0.9, 0.999];
const EPS: f32 = 1e-8;

impl<B: Backend> SimpleOptimizer<B> for AdamW {
    type State<const D: usize> = AdamWState<B, D>;

    fn step<const D: usize>(
        &self,
        lr: LearningRate,
        tensor: Tensor<B, D>,
        gradient: Tensor<B, D>,
        state: Option<Self::State<D>>,
    ) -> (Tensor<B, D>, Option<Self::State<D>>) {
        #[cfg(feature = "flex")]
        if fused::takes([&tensor, &gradient], state.as_ref()) {
            let momentum = state.map(|state| state.momentum);
            let (tensor, momentum) = fused::step(self.weight_decay, lr, tensor, gradient, momentum);
            return (tensor, Some(AdamWState { momentum }));
        }
        let burns = AdamWConfig::new()
            .with_beta_1(BETAS[0])
            .with_beta_2(BETAS[1])
            .with_epsilon(EPS)
            .with_weight_decay(self.weight_decay as f32);
        burns.build().step(lr, tensor, gradient, state)
    }

    fn to_device<const D: usize>(state: Self::State<D>, device: &Device<B>) -> Self::State<D> {
        let AdaptiveMomentumState { time, moment_1, moment_2, .. } = state.momentum;
        let to = |moment: Tensor<B, D>| moment.to_device(device);
        AdamWState { momentum: AdaptiveMomentumState::new(time, to(moment_1), to(moment_2)) }
    }
}

#[cfg(feature = "flex")]
mod fused {
    use std::any::Any;

    use burn::tensor::{DType, TensorPrimitive};
    use burn_flex::FlexTensor;
    use rayon::prelude::*;

    use super::{AdamWState, AdaptiveMomentumState, BETAS, Backend, EPS, Tensor};

    /// Numbers that a thread goes over at a time: they and those beside them fit its cache.
    const CHUNK: usize = 1 << 14;

    /// Whether these are Flex's, in f32.
    pub(super) fn takes<B: Backend, const D: usize>(
        tensors: [&Tensor<B, D>; 2],
        state: Option<&AdamWState<B, D>>,
    ) -> bool {
        use std::any::TypeId;
        let moments = state.map(|state| [&state.momentum.moment_1, &state.momentum.moment_2]);
        TypeId::of::<B::FloatTensorPrimitive>() == TypeId::of::<FlexTensor>()
            && tensors.into_iter().chain(moments.into_iter().flatten()).all(is_single)
    }

    fn is_single<B: Backend, const D: usize>(x: &Tensor<B, D>) -> bool {
        x.dtype() == DType::F32
    }

    /// The parameter and the moments after a step, in the memory of those before where nothing else
    /// holds it.
    pub(super) fn step<B: Backend, const D: usize>(
        weight_decay: f64,
        lr: f64,
        parameter: Tensor<B, D>,
        gradient: Tensor<B, D>,
        momentum: Option<AdaptiveMomentumState<B, D>>,
    ) -> (Tensor<B, D>, AdaptiveMomentumState<B, D>) {
        let (time, moments) = match momentum {
            Some(old) => (old.time + 1, [old.moment_1, old.moment_2]),
            // To which any number is added without a change, a zero of either sign too.
            None => (1, [gradient.full_like(-0.0), gradient.full_like(-0.0)]),
        };
        let [mean, square] = moments;
        let [mut p, mut m, mut v] = [parameter, mean, square].map(of_flex);
        let g = of_flex(gradient);
        let update = Factors::new(weight_decay, lr, time);
        p.storage_mut()
            .par_chunks_mut(CHUNK)
            .zip(m.storage_mut().par_chunks_mut(CHUNK))
            .zip(v.storage_mut().par_chunks_mut(CHUNK))
            .zip(g.storage().par_chunks(CHUNK))
            .for_each(|(((p, m), v), g)| update.apply(p, m, v, g));
        let [p, m, v] = [p, m, v].map(to_burn);
        (p, AdaptiveMomentumState::new(time, m, v))
    }

    /// What a step multiplies by.
    struct Factors {
        /// What is left of old moments, and what enters of the new.
        kept: [f32; 2],
        new: [f32; 2],
        /// What moments are divided by, which began as zeros.
        corrections: [f32; 2],
        decay: f32,
        lr: f32,
    }

    impl Factors {
        fn new(weight_decay: f64, lr: f64, time: usize) -> Self {
            // In the types in which Burn computes them.
            let decay = lr * f64::from(weight_decay as f32);
            let time = time as i32;
            Self {
                kept: BETAS,
                new: BETAS.map(|beta| 1.0 - beta),
                corrections: BETAS.map(|beta| 1.0 - beta.powi(time)),
                decay: (1.0 - decay) as f32,
                lr: lr as f32,
            }
        }

        fn apply(&self, p: &mut [f32], m: &mut [f32], v: &mut [f32], g: &[f32]) {
            let &Self { kept, new, corrections, decay, lr } = self;
            for (((p, m), v), &g) in p.iter_mut().zip(m).zip(v).zip(g) {
                *m = *m * kept[0] + g * new[0];
                *v = *v * kept[1] + g * g * new[1];
                let update = *m / corrections[0] / ((*v / corrections[1]).sqrt() + EPS);
                *p = *p * decay - update * lr;
            }
        }
    }

    fn of_flex<B: Backend, const D: usize>(x: Tensor<B, D>) -> FlexTensor {
        let x: Box<dyn Any> = Box::new(x.into_primitive().tensor());
        let x = x.downcast::<FlexTensor>().expect("`takes` let Flex's alone pass");
        x.to_contiguous()
    }

    fn to_burn<B: Backend, const D: usize>(x: FlexTensor) -> Tensor<B, D> {
        let x: Box<dyn Any> = Box::new(x);
        let x = x.downcast().expect("`takes` let Flex's alone pass");
        Tensor::from_primitive(TensorPrimitive::Float(*x))
    }
}

#[cfg(test)]
mod tests {
    use burn::backend::Flex;
    use burn::tensor::Distribution;

    use super::*;

    /// The bits of a parameter and its moments after each of five steps.
    fn bits<O>(optimizer: &O, shape: [usize; 2]) -> Vec<u32>
    where
        O: SimpleOptimizer<Flex, State<2> = AdamWState<Flex, 2>>,
    {
        let device = Default::default();
        Flex::seed(&device, 7);
        let random = || Tensor::<Flex, 2>::random(shape, Distribution::Normal(0.0, 1.0), &device);
        let (mut x, mut state) = (random(), None);
        let mut bits = Vec::new();
        for step in 0..5 {
            // Some are zeros of either sign.
            let kept = random().abs().lower_elem(1.0).float();
            let gradient = random() * 10.0_f64.powi(step - 3) * kept;
            (x, state) = optimizer.step(1e-3 * f64::from(step + 1), x, gradient, state);
            let momentum = &state.as_ref().unwrap().momentum;
            for tensor in [&x, &momentum.moment_1, &momentum.moment_2] {
                bits.extend(tensor.to_data().iter::<f32>().map(f32::to_bits));
            }
        }
        bits
    }

    #[test]
    fn one_pass_gives_the_bits_of_many() {
        let burns = AdamWConfig::new().with_epsilon(1e-8);
        for decay in [0.0, 0.01] {
            let burns = burns.clone().with_weight_decay(decay as f32).build();
            for shape in [[1, 1], [3, 7], [130, 257]] {
                assert_eq!(bits(&AdamW { weight_decay: decay }, shape), bits(&burns, shape));
            }
        }
    }

    #[test]
    fn views_and_shared_tensors_are_left_as_they_are() {
        let device = Default::default();
        let whole = Tensor::<Flex, 1>::from_floats([1.0, 2.0, 3.0, 4.0], &device);
        let part = whole.clone().narrow(0, 2, 2);
        let gradient = Tensor::<Flex, 2>::from_floats([[1.0, 5.0], [3.0, -7.0]], &device);
        let column = gradient.clone().transpose().narrow(0, 1, 1).reshape([2]);
        let (x, state) = AdamW::default().step(0.5, part, column, None);
        // The first step moves each number by the rate, whatever its gradient.
        x.to_data().assert_approx_eq::<f32>(&[2.5, 4.5].into(), Default::default());
        let mean = || state.clone().unwrap().momentum.moment_1.into_data();
        let before = mean();
        let _ = AdamW::default().step(0.5, x.clone(), x.clone(), state.clone());
        x.to_data().assert_approx_eq::<f32>(&[2.5, 4.5].into(), Default::default());
        assert_eq!(mean(), before);
        assert_eq!(whole.to_data(), [1.0_f32, 2.0, 3.0, 4.0].into());
    }
}
