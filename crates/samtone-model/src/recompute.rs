//! Gradients without the activations of all layers at once: the pass forward keeps what each layer
//! reads, and the pass back computes one layer after the other again (Chen et al. 2016,
//! arXiv:1604.06174).

use burn::module::AutodiffModule;
use burn::optim::{GradientsAccumulator, GradientsParams};
use burn::tensor::Tensor;
use burn::tensor::backend::AutodiffBackend;
use samtone_text::TokenBatch;

use crate::blocks::dropout::Dropout;
use crate::blocks::layout::Layout;
use crate::blocks::pass::Pass;
use crate::blocks::streamed::attend_with_graph;
use crate::dual_encoder::DualEncoder;
use crate::part::Part;
use crate::side::Side;

/// What each layer of a tower read in one pass, and what the last one gave; all that is kept of it.
#[derive(Debug)]
pub struct LayerInputs<B: AutodiffBackend> {
    side: Side,
    batch: TokenBatch,
    dropout: Option<Dropout>,
    layout: Layout,
    states: Vec<Tensor<B::InnerBackend, 2>>,
}

impl<B: AutodiffBackend> DualEncoder<B> {
    /// [`encode`](Self::encode) without a graph: the embeddings, `[batch, dim]`, and what
    /// [`accumulate_gradients`](Self::accumulate_gradients) wants to go back.
    ///
    /// # Panics
    /// As [`encode`](Self::encode).
    pub fn encode_by_layers(
        &self,
        side: Side,
        batch: TokenBatch,
        dropout: Option<Dropout>,
    ) -> (Tensor<B::InnerBackend, 2>, LayerInputs<B>) {
        let plain = self.valid();
        let (x, layout) = plain.embedded(side, &batch, dropout);
        let mut states = vec![x];
        for layer in 0..plain.depth() {
            let x = states[layer].clone();
            let pass = Pass::of(side, &layout, dropout);
            states.push(plain.through(layer..layer + 1, x, pass));
        }
        let embeddings = plain.pooled(side, states[plain.depth()].clone(), &layout);
        (embeddings, LayerInputs { side, batch, dropout, layout, states })
    }

    /// Adds to `sum` the gradients of a number whose gradient with respect to the embeddings of a pass
    /// is `wanted`, `[batch, dim]`. The activations of one layer exist at a time, and of none below the
    /// lowest that is trained.
    pub fn accumulate_gradients(
        &self,
        pass: LayerInputs<B>,
        wanted: Tensor<B::InnerBackend, 2>,
        sum: &mut GradientsAccumulator<Self>,
    ) {
        let LayerInputs { side, batch, dropout, layout, mut states } = pass;
        let of_side = self.parameters().iter().filter(|p| p.side.is_none_or(|own| own == side));
        let Some(lowest) = of_side.filter(|p| p.is_trainable).map(|p| p.part).min() else {
            return;
        };
        let trains_embedder = lowest == Part::Embedder;
        // The lowest layer that goes back: the graph of the last one holds the norm after it.
        let lowest = match lowest {
            Part::Embedder => 0,
            Part::Layer(layer) => layer,
            Part::FinalNorm => self.depth() - 1,
            Part::Head | Part::Projection => self.depth(),
        };
        // The gradient by what a graph read, if it is asked for.
        let mut back = |graph: Tensor<B, 2>, read: Option<Tensor<B, 2>>, wanted| {
            let mut gradients = (graph * Tensor::from_inner(wanted)).sum().backward();
            let of_read = read.and_then(|read| read.grad_remove(&mut gradients));
            sum.accumulate(self, GradientsParams::from_grads(gradients, self));
            of_read
        };
        let mut next = || Tensor::<B, 2>::from_inner(states.pop().expect("a state for each layer"));
        let x = next().require_grad();
        let mut wanted = back(self.pooled(side, x.clone(), &layout), Some(x), wanted);
        for layer in (lowest..self.depth()).rev() {
            let Some(of_output) = wanted else { return };
            let is_wanted = layer > lowest || trains_embedder;
            let x = if is_wanted { next().require_grad() } else { next() };
            let attend = attend_with_graph;
            let pass = Pass { attend, ..Pass::of(side, &layout, dropout) };
            let y = self.through(layer..layer + 1, x.clone(), pass);
            wanted = back(y, is_wanted.then_some(x), of_output);
        }
        if let Some(of_output) = wanted.filter(|_| trains_embedder) {
            let (x, _) = self.embedded(side, &batch, dropout);
            back(x, None, of_output);
        }
    }
}
