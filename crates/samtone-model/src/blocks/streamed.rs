//! Attention on the way back without a graph of its scores.
//!
//! Where layers are computed again and attention is not fused, its graph is cut: what it gives is a
//! leaf, and the gradient by that leaf goes on in closed form, block by block, to where the graph of
//! queries, keys and values ends.

use std::cell::RefCell;

use burn::tensor::Tensor;
use burn::tensor::backend::{AutodiffBackend, Backend};

use crate::blocks::attention::Attention;
use crate::blocks::dropout::DropoutSite;
use crate::blocks::layout::Layout;
use crate::blocks::sight::Sight;

/// The places in one layer where its graph was cut.
#[derive(Debug)]
pub(crate) struct Cuts<B: Backend>(RefCell<Vec<Cut<B>>>);

impl<B: Backend> Default for Cuts<B> {
    fn default() -> Self {
        Self(RefCell::new(Vec::new()))
    }
}

#[derive(Debug)]
struct Cut<B: Backend> {
    /// Queries, keys and values side by side, and the bias of distances: the graph's ends.
    x: Tensor<B, 2>,
    bias: Option<Tensor<B, 2>>,
    /// What was attended to: the graph's new beginning.
    attended: Tensor<B, 2>,
    layout: Layout,
    heads: usize,
    kv_heads: usize,
    scale: f64,
    sight: Sight,
    dropout: Option<DropoutSite>,
}

/// [`Attention::forward`]; where it is not fused, as no padded texts are, the graph is cut, if there are
/// `cuts` to note it.
pub(crate) fn attend<B: Backend>(
    attention: Attention<'_, B>,
    x: Tensor<B, 2>,
    cuts: Option<&Cuts<B>>,
) -> Tensor<B, 2> {
    match cuts.filter(|_| attention.layout.seq().is_some()) {
        Some(cuts) => cuts.cut(&attention, x),
        None => attention.forward(x),
    }
}

impl<B: Backend> Cuts<B> {
    /// What `attention` gives of queries, keys and values side by side, as a leaf.
    fn cut(&self, attention: &Attention<'_, B>, x: Tensor<B, 2>) -> Tensor<B, 2> {
        let Attention { layout, heads, kv_heads, scale, sight, dropout, .. } = *attention;
        let bias = attention.distance_bias.clone();
        let (layout, attended) = (layout.clone(), x.zeros_like());
        let mut cut = Cut { x, bias, attended, layout, heads, kv_heads, scale, sight, dropout };
        let attended = cut.attention().forward(cut.x.clone().detach()).require_grad();
        cut.attended = attended.clone();
        self.0.borrow_mut().push(cut);
        attended
    }
}

impl<B: AutodiffBackend> Cuts<B> {
    /// What to go back from at the graph's ends, given the gradients of what came after: a number
    /// whose gradient by them is theirs; none: the graph was not cut.
    pub(crate) fn surrogate(self, gradients: &mut B::Gradients) -> Option<Tensor<B, 1>> {
        let of_cut = |cut: Cut<B>| {
            let of_attended = Tensor::from_inner(cut.attended.grad_remove(gradients)?);
            let (of_x, of_bias) = cut.attention().gradients(cut.x.clone().detach(), of_attended);
            let sum = (cut.x * of_x).sum();
            Some(match cut.bias.zip(of_bias) {
                Some((bias, of_bias)) => sum + (bias * of_bias).sum(),
                None => sum,
            })
        };
        self.0.into_inner().into_iter().filter_map(of_cut).reduce(|a, b| a + b)
    }
}

impl<B: Backend> Cut<B> {
    /// The attention, without a graph.
    fn attention(&self) -> Attention<'_, B> {
        let Self { heads, kv_heads, scale, sight, dropout, .. } = *self;
        let distance_bias = self.bias.clone().map(Tensor::detach);
        Attention { layout: &self.layout, heads, kv_heads, scale, distance_bias, sight, dropout }
    }
}
