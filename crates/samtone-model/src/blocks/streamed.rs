//! Attention on its way back without a graph of its scores, on any backend.
//!
//! Where attention is not fused, what it gives is one step of the graph: the scores of a few queries to
//! a few keys are made at a time, and made again on the way back.

use std::any::Any;

use burn::backend::Autodiff;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::NoCheckpointing;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::tensor::backend::{AutodiffBackend, Backend, BackendTypes};
use burn::tensor::{Tensor, TensorPrimitive};

use crate::blocks::attention::{Attention, Softmax};
use crate::blocks::dropout::DropoutSite;
use crate::blocks::layout::Layout;
use crate::blocks::sight::Sight;
#[cfg(feature = "flex")]
use crate::kernel;

/// How a pass attends: queries, keys and values side by side to what was attended to.
pub(crate) type Attend<B> = fn(Attention<'_, B>, Tensor<B, 2>) -> Tensor<B, 2>;

/// [`Attention::forward`].
pub(crate) fn attend<B: Backend>(attention: Attention<'_, B>, x: Tensor<B, 2>) -> Tensor<B, 2> {
    attention.forward(x)
}

/// [`Attention::forward`], whose step back holds a block of scores at a time.
pub(crate) fn attend_with_graph<B: AutodiffBackend>(
    attention: Attention<'_, B>,
    x: Tensor<B, 2>,
) -> Tensor<B, 2> {
    #[cfg(feature = "flex")]
    if kernel::takes(&x) {
        return attention.forward(x);
    }
    let Attention { layout, heads, kv_heads, scale, distance_bias, sight, dropout } = attention;
    let step = Streamed { layout: layout.clone(), heads, kv_heads, scale, sight, dropout };
    match distance_bias {
        Some(bias) => run::<B, 2>(step, [input(x), input(bias)]),
        None => run::<B, 1>(step, [input(x)]),
    }
}

/// Attention but for its tensors: queries, keys and values side by side, and the bias of distances if
/// there is one.
#[derive(Clone, Debug)]
struct Streamed {
    layout: Layout,
    heads: usize,
    kv_heads: usize,
    scale: f64,
    sight: Sight,
    dropout: Option<DropoutSite>,
}

/// Tensors of a backend under autodiff.
type Tracked<B> = <Autodiff<B> as BackendTypes>::FloatTensorPrimitive;

fn input<B: AutodiffBackend, const D: usize>(x: Tensor<B, D>) -> Tracked<B::InnerBackend> {
    let x: Box<dyn Any> = Box::new(x.into_primitive().tensor());
    *x.downcast().expect("the tensors of a backend with autodiff are Burn's")
}

fn run<B: AutodiffBackend, const N: usize>(
    step: Streamed,
    inputs: [Tracked<B::InnerBackend>; N],
) -> Tensor<B, 2> {
    let nodes = inputs.each_ref().map(|input| input.node.clone());
    let inputs = inputs.map(|input| input.primitive);
    let (attention, x) = step.on::<B::InnerBackend, N>(&inputs);
    let (attended, softmax) = attention.attend(x);
    let output = attended.clone().into_primitive().tensor();
    let step = Backward::<B::InnerBackend, N>::prepare::<NoCheckpointing>(step, nodes);
    let output = match step.compute_bound().stateful() {
        OpsKind::Tracked(step) => step.finish(Kept { inputs, attended, softmax }, output),
        OpsKind::UnTracked(step) => step.finish(output),
    };
    let output: Box<dyn Any> = Box::new(output);
    let output = output.downcast().expect("the tensors of a backend with autodiff are Burn's");
    Tensor::from_primitive(TensorPrimitive::Float(*output))
}

impl Streamed {
    /// The attention, and what it reads.
    fn on<B: Backend, const N: usize>(
        &self,
        inputs: &[B::FloatTensorPrimitive; N],
    ) -> (Attention<'_, B>, Tensor<B, 2>) {
        let Self { ref layout, heads, kv_heads, scale, sight, dropout } = *self;
        let mut inputs = inputs
            .iter()
            .map(|input| Tensor::<B, 2>::from_primitive(TensorPrimitive::Float(input.clone())));
        let x = inputs.next().expect("it reads queries, keys and values");
        let distance_bias = inputs.next();
        (Attention { layout, heads, kv_heads, scale, distance_bias, sight, dropout }, x)
    }
}

/// What is kept for the way back.
#[derive(Clone, Debug)]
struct Kept<B: Backend, const N: usize> {
    inputs: [B::FloatTensorPrimitive; N],
    attended: Tensor<B, 2>,
    softmax: Softmax<B>,
}

impl<B: Backend, const N: usize> Backward<B, N> for Streamed {
    type State = Kept<B, N>;

    fn backward(
        self,
        ops: Ops<Self::State, N>,
        grads: &mut Gradients,
        _checkpointer: &mut Checkpointer,
    ) {
        let of_output = TensorPrimitive::Float(grads.consume::<B>(&ops.node));
        let of_output = Tensor::from_primitive(of_output);
        let wants_bias = ops.parents.get(1).is_some_and(Option::is_some);
        let Kept { inputs, attended, softmax } = ops.state;
        let (attention, x) = self.on::<B, N>(&inputs);
        let kept = (attended, softmax);
        let (of_x, of_bias) = attention.gradients(x, kept, of_output, wants_bias);
        let gradients = std::iter::once(of_x).chain(of_bias);
        for (parent, gradient) in ops.parents.into_iter().zip(gradients) {
            if let Some(parent) = parent {
                grads.register::<B>(parent.id, gradient.into_primitive().tensor());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use burn::backend::Flex;
    use burn::tensor::{DType, TensorData};
    use samtone_text::{Key, TokenBatch};

    use super::*;
    use crate::blocks::dropout::Dropout;
    use crate::memory::LayerFloats;

    type B = Autodiff<Flex>;

    /// What is attended to: texts of some lengths, by what.
    #[derive(Clone, Copy)]
    struct Case<'a> {
        lengths: &'a [usize],
        /// The least padded length.
        seq: usize,
        sight: Sight,
        has_bias: bool,
        dropout: Option<Dropout>,
    }

    /// The output and the gradients by what was read, of tokens alone; in f32 by the fused kernel, which
    /// has rows for no others.
    fn results(attend: Attend<B>, case: Case<'_>, dtype: DType) -> Vec<Vec<f64>> {
        let Case { lengths, seq, sight, has_bias, dropout } = case;
        let device = Default::default();
        let random = |of: &str, shape: [usize; 2]| {
            let key = Key::new(3).child(of);
            let numbers = (0..shape[0] * shape[1]).map(|i| key.normal(i as u64)).collect();
            Tensor::<B, 2>::from_data(TensorData::new(numbers, shape), (&device, DType::F64))
        };
        let texts: Vec<Vec<u32>> = lengths.iter().map(|&length| vec![1; length]).collect();
        let batch = TokenBatch::pad_to(&texts, 0, seq);
        let (padded, rows) = (Layout::padded(&batch), texts.len() * batch.seq());
        let tokens = padded.spans().flat_map(|span| span.map(|row| row as i32));
        let tokens = Tensor::from_ints(&*tokens.collect::<Vec<_>>(), &device);
        let of_tokens = |x: Tensor<B, 2>| x.select(0, tokens.clone());
        let is_fused = dtype == DType::F32;
        let layout = if is_fused { Layout::packed(&batch) } else { padded };
        let (heads, kv_heads, dim) = (4, 2, 3);
        let x = random("read", [rows, (heads + 2 * kv_heads) * dim]);
        let x = if is_fused { of_tokens(x) } else { x }.cast(dtype).require_grad();
        let bias = [2 * layout.longest() - 1, heads];
        let bias = has_bias.then(|| random("bias", bias).require_grad());
        let attention = Attention {
            layout: &layout,
            heads,
            kv_heads,
            scale: 0.7,
            distance_bias: bias.clone(),
            sight,
            dropout: DropoutSite::new(dropout, 1, 2, 0.25),
        };
        let output = attend(attention, x.clone());
        // Nobody reads the rows of padding.
        let output = if is_fused { output } else { of_tokens(output) };
        let wanted = of_tokens(random("wanted", [rows, heads * dim])).cast(dtype);
        let gradients = (output.clone() * wanted).sum().backward();
        let of_bias = bias.map(|bias| bias.grad(&gradients).unwrap());
        let of_x = Tensor::from_inner(x.grad(&gradients).unwrap());
        let of_x = if is_fused { of_x } else { of_tokens(of_x) };
        let tensors = [output.inner(), of_x.inner()].into_iter().chain(of_bias);
        tensors.map(|tensor| tensor.into_data().convert::<f64>().into_vec().unwrap()).collect()
    }

    fn assert_near(a: &[Vec<f64>], b: &[Vec<f64>], bound: f64, of: &str) {
        assert_eq!(a.len(), b.len());
        for (a, b) in a.iter().zip(b) {
            assert_eq!(a.len(), b.len());
            let furthest = a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
            assert!(furthest < bound, "{of}: {furthest}");
        }
    }

    #[test]
    fn the_closed_form_is_the_gradient_of_the_graph() {
        let dropout = Dropout { key: Key::new(5), first_row: 2 };
        let sights = [(false, None), (true, None), (false, Some(64)), (true, Some(9))];
        for (is_causal, window) in sights {
            for (has_bias, dropout) in [(false, None), (true, Some(dropout))] {
                let sight = Sight { is_causal, window };
                // Two blocks of queries.
                let case = Case { lengths: &[700, 520, 3], seq: 0, sight, has_bias, dropout };
                let of = |attend| results(attend, case, DType::F64);
                let what = format!("{sight:?}, bias {has_bias}");
                assert_near(&of(attend), &of(attend_with_graph), 1e-12, &what);
            }
        }
    }

    #[test]
    fn a_softmax_over_blocks_of_keys_is_one_over_all() {
        let lengths = [LayerFloats::KEYS + 12, 3];
        for sight in [Sight::default(), Sight { is_causal: true, window: None }] {
            let case = Case { lengths: &lengths, seq: 0, sight, has_bias: false, dropout: None };
            let of = |attend, dtype| results(attend, case, dtype);
            let streamed = of(attend_with_graph, DType::F64);
            assert_near(&of(attend, DType::F64), &streamed, 1e-12, &format!("{sight:?}"));
            assert_near(&of(attend, DType::F32), &streamed, 1e-4, &format!("fused, {sight:?}"));
        }
    }

    #[test]
    fn padding_that_no_distance_reaches_changes_nothing() {
        let of = |seq| {
            let sight = Sight::default();
            let case = Case { lengths: &[5], seq, sight, has_bias: true, dropout: None };
            results(attend_with_graph, case, DType::F64)
        };
        assert_near(&of(0), &of(LayerFloats::KEYS + 9), 1e-12, "padded");
    }
}
