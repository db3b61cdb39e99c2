//! Fused operations for tensors of the Flex backend.
//!
//! Each operation has its forward and its closed-form backward pass on plain slices; here they are
//! attached to Burn's tensors: a tensor whose primitive is Flex's, with or without gradients, goes
//! through the fused operation, any other through the portable one. They take tensors in f32 and in
//! bf16, and compute in f32 but for products of bf16; f64 and f16 take the portable path.

mod attention;
mod cross_entropy;
mod embed;
mod fill;
mod gate;
mod linear;
mod math;
mod matrix;
mod mean;
mod norm;
mod rotate;

use std::any::Any;
use std::fmt::Debug;

use burn::backend::Autodiff;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::NoCheckpointing;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::tensor::backend::{AutodiffBackend, Backend, BackendTypes};
use burn::tensor::{DType, Tensor, TensorPrimitive};
use burn_flex::{Flex, FlexTensor};

pub(crate) use attention::AttentionOp;
pub(crate) use cross_entropy::CrossEntropyOp;
pub(crate) use embed::EmbedOp;
use fill::fill_rows;
pub(crate) use gate::GateOp;
pub(crate) use linear::LinearOp;
use matrix::{Held, Matrix};
pub(crate) use mean::MeanOp;
pub(crate) use norm::{NormKind, NormOp};
pub(crate) use rotate::RotateOp;

/// Flex's tensors under autodiff.
type Tracked = <Autodiff<Flex> as BackendTypes>::FloatTensorPrimitive;

/// A fused operation of `N` inputs and one output.
pub(crate) trait FusedOp<const N: usize>: Clone + Debug + Send + 'static {
    /// What the backward pass needs beside the inputs.
    type Saved: Clone + Debug + Send + 'static;

    /// The output; `save` says whether a backward pass will follow.
    fn forward(&self, inputs: &[Matrix; N], save: bool) -> (Matrix, Option<Self::Saved>);

    /// The gradient of every input that is `wanted`, from the output's.
    fn backward(
        &self,
        inputs: &[Matrix; N],
        saved: &Self::Saved,
        gradient: &Matrix,
        wanted: [bool; N],
    ) -> [Option<Matrix>; N];

    /// Of which inputs the backward pass reads the elements, if it gives the gradients of those that are
    /// `wanted`. Of the others it has the shapes, and the elements are let go.
    fn reads(&self, wanted: [bool; N]) -> [bool; N] {
        let _ = wanted;
        [true; N]
    }
}

/// Whether the fused operations take tensors like this one: of Flex, in f32 or bf16.
pub(crate) fn takes<B: Backend, const D: usize>(x: &Tensor<B, D>) -> bool {
    use std::any::TypeId;
    let primitive = TypeId::of::<B::FloatTensorPrimitive>();
    let is_flex = [TypeId::of::<FlexTensor>(), TypeId::of::<Tracked>()].contains(&primitive);
    is_flex && matches!(x.dtype(), DType::F32 | DType::BF16)
}

/// The numbers of a tensor that the operations [take](takes), rounded to bf16 by all threads; no
/// gradient goes through.
pub(crate) fn in_bf16<B: Backend, const D: usize>(x: Tensor<B, D>) -> Tensor<B, D> {
    let output = match cast::<_, FlexTensor>(input(x)) {
        Ok(x) => recast(rounded(&x)),
        Err(x) => {
            let x: Tracked = recast(x);
            recast(<Autodiff<Flex> as AutodiffBackend>::from_inner(rounded(&x.primitive)))
        }
    };
    Tensor::from_primitive(TensorPrimitive::Float(output))
}

fn rounded(x: &FlexTensor) -> FlexTensor {
    let x = Matrix::contiguous(x);
    let width = x.shape().last().copied().unwrap_or(1).max(1);
    let rows = x.shape().iter().product::<usize>() / width;
    let (elements, _) = fill_rows(Held::Bf16, [rows, width], |range, chunk| {
        chunk.copy_from_slice(&x.part(range.start * width..range.end * width));
    });
    Matrix::new(elements, x.shape()).0
}

/// A tensor of any rank, on its way into an operation.
pub(crate) fn input<B: Backend, const D: usize>(x: Tensor<B, D>) -> B::FloatTensorPrimitive {
    x.into_primitive().tensor()
}

/// Runs an operation on tensors that it [takes].
pub(crate) fn run<B: Backend, O: FusedOp<N>, const N: usize>(
    op: O,
    inputs: [B::FloatTensorPrimitive; N],
) -> Tensor<B, 2> {
    let output = match cast::<_, [FlexTensor; N]>(inputs) {
        Ok(inputs) => recast(op.forward(&inputs.map(|x| Matrix::contiguous(&x)), false).0.0),
        Err(inputs) => {
            let inputs: [Tracked; N] = recast(inputs);
            recast(run_tracked(op, inputs))
        }
    };
    Tensor::from_primitive(TensorPrimitive::Float(output))
}

/// [`run`] on as many inputs as an operation has at run time.
pub(crate) fn run_any<B: Backend>(
    op: LinearOp,
    inputs: Vec<B::FloatTensorPrimitive>,
) -> Tensor<B, 2> {
    // One weight, two or three, with biases or without, and a product of low rank beside some.
    fn fixed<B: Backend, const N: usize>(
        op: LinearOp,
        inputs: Vec<B::FloatTensorPrimitive>,
    ) -> Tensor<B, 2> {
        let Ok(inputs) = inputs.try_into() else { unreachable!("counted by the caller") };
        run::<B, _, N>(op, inputs)
    }
    match inputs.len() {
        2 => fixed::<B, 2>(op, inputs),
        3 => fixed::<B, 3>(op, inputs),
        4 => fixed::<B, 4>(op, inputs),
        5 => fixed::<B, 5>(op, inputs),
        6 => fixed::<B, 6>(op, inputs),
        7 => fixed::<B, 7>(op, inputs),
        8 => fixed::<B, 8>(op, inputs),
        9 => fixed::<B, 9>(op, inputs),
        10 => fixed::<B, 10>(op, inputs),
        11 => fixed::<B, 11>(op, inputs),
        n => panic!("a linear operation of {n} inputs"),
    }
}

fn run_tracked<O: FusedOp<N>, const N: usize>(op: O, inputs: [Tracked; N]) -> Tracked {
    let nodes = inputs.each_ref().map(|input| input.node.clone());
    let wanted = nodes.each_ref().map(|node| !node.requirement.is_none());
    let inputs = inputs.map(|input| Matrix::contiguous(&input.primitive));
    match Step(op.clone()).prepare::<NoCheckpointing>(nodes).compute_bound().stateful() {
        OpsKind::Tracked(step) => {
            let (output, saved) = op.forward(&inputs, true);
            let saved = saved.expect("a forward pass asked to save does");
            let mut reads = op.reads(wanted).into_iter();
            let kept = inputs.map(|input| match reads.next() {
                Some(false) => input.hollow(),
                _ => input,
            });
            step.finish((kept, saved), output.0)
        }
        OpsKind::UnTracked(step) => step.finish(op.forward(&inputs, false).0.0),
    }
}

/// An operation's step back.
#[derive(Debug)]
struct Step<O>(O);

impl<O: FusedOp<N>, const N: usize> Backward<Flex, N> for Step<O> {
    type State = ([Matrix; N], O::Saved);

    fn backward(
        self,
        ops: Ops<Self::State, N>,
        grads: &mut Gradients,
        _checkpointer: &mut Checkpointer,
    ) {
        let gradient = Matrix::contiguous(&grads.consume::<Flex>(&ops.node));
        let (inputs, saved) = &ops.state;
        let wanted = ops.parents.each_ref().map(Option::is_some);
        let gradients = self.0.backward(inputs, saved, &gradient, wanted);
        for (parent, gradient) in ops.parents.into_iter().zip(gradients) {
            if let (Some(parent), Some(gradient)) = (parent, gradient) {
                grads.register::<Flex>(parent.id, gradient.0);
            }
        }
    }
}

/// The value as the type it is.
fn cast<T: 'static, U: 'static>(value: T) -> Result<U, T> {
    let mut slot = Some(value);
    match (&mut slot as &mut dyn Any).downcast_mut::<Option<U>>() {
        Some(found) => Ok(found.take().expect("the slot was filled above")),
        None => Err(slot.expect("the slot was filled above")),
    }
}

fn recast<T: 'static, U: 'static>(value: T) -> U {
    let Ok(found) = cast(value) else { panic!("`takes` let a foreign tensor pass") };
    found
}
