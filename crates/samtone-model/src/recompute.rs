//! Gradients without the activations of all layers at once: the pass forward keeps what some layers
//! read, and the pass back computes the layers from one such to the next again (Chen et al. 2016,
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

/// What every so many layers of a tower read in one pass, and what the last one gave; all that is kept
/// of it.
#[derive(Debug)]
pub struct LayerInputs<B: AutodiffBackend> {
    side: Side,
    batch: TokenBatch,
    dropout: Option<Dropout>,
    layout: Layout,
    /// How many layers go back at once: one state is kept of them.
    at_once: usize,
    states: Vec<Tensor<B::InnerBackend, 2>>,
}

impl<B: AutodiffBackend> LayerInputs<B> {
    /// The texts of the pass.
    pub fn texts(&self) -> usize {
        self.layout.batch()
    }
}

impl<B: AutodiffBackend> DualEncoder<B> {
    /// [`encode`](Self::encode) without a graph: the embeddings, `[batch, dim]`, and what
    /// [`accumulate_gradients`](Self::accumulate_gradients) wants to go back, the activations of
    /// `at_once` layers at a time.
    ///
    /// # Panics
    /// As [`encode`](Self::encode), and if `at_once` is 0.
    pub fn encode_by_layers(
        &self,
        side: Side,
        batch: TokenBatch,
        dropout: Option<Dropout>,
        at_once: usize,
    ) -> (Tensor<B::InnerBackend, 2>, LayerInputs<B>) {
        let plain = self.valid();
        let (x, layout) = plain.embedded(side, &batch, dropout);
        let mut states = vec![x];
        for first in (0..plain.depth()).step_by(at_once) {
            let x = states.last().expect("what the first layer reads").clone();
            let pass = Pass::of(side, &layout, dropout);
            states.push(plain.through(first..plain.depth().min(first + at_once), x, pass));
        }
        let x = states.last().expect("what the last layer gave").clone();
        let embeddings = plain.pooled(side, x, &layout);
        (embeddings, LayerInputs { side, batch, dropout, layout, at_once, states })
    }

    /// Adds to `sum` the gradients of a number whose gradient with respect to each pass's embeddings,
    /// `[batch, dim]`, stands beside it. All passes go back through a layer before the first goes
    /// through the next, so a layer's gradients exist when the states above it are gone; the
    /// activations of one pass through the layers that go back at once exist at a time, and of none
    /// below the lowest that is trained.
    pub fn accumulate_gradients(
        &self,
        passes: Vec<(LayerInputs<B>, Tensor<B::InnerBackend, 2>)>,
        sum: &mut GradientsAccumulator<Self>,
    ) {
        let back = passes.into_iter().filter_map(|(inputs, wanted)| {
            let of_side = |side: Option<Side>| side.is_none_or(|own| own == inputs.side);
            let trained = self.parameters().iter().filter(|p| p.is_trainable && of_side(p.side));
            let lowest = trained.map(|p| p.part).min()?;
            Some(PassBack { model: self, inputs, lowest, wanted: Some(wanted) })
        });
        let mut back: Vec<_> = back.collect();
        for pass in &mut back {
            pass.pooled(sum);
        }
        for first in (0..self.depth()).rev() {
            for pass in back.iter_mut().filter(|pass| first % pass.inputs.at_once == 0) {
                pass.layers(first, sum);
            }
        }
        for pass in back {
            pass.embedded(sum);
        }
    }
}

/// A pass on its way back.
struct PassBack<'m, B: AutodiffBackend> {
    model: &'m DualEncoder<B>,
    inputs: LayerInputs<B>,
    /// The lowest part of its tower that is trained.
    lowest: Part,
    /// The gradient by what was gone back through last; none: nothing below is trained.
    wanted: Option<Tensor<B::InnerBackend, 2>>,
}

impl<B: AutodiffBackend> PassBack<'_, B> {
    fn pooled(&mut self, sum: &mut GradientsAccumulator<DualEncoder<B>>) {
        let x = self.state(true);
        let embeddings = self.model.pooled(self.inputs.side, x.clone(), &self.inputs.layout);
        self.through(embeddings, Some(x), sum);
    }

    /// Goes back through the layers from `first` on whose states end with what it read.
    fn layers(&mut self, first: usize, sum: &mut GradientsAccumulator<DualEncoder<B>>) {
        // The lowest layer that goes back: the graph of the last one holds the norm after it.
        let lowest = match self.lowest {
            Part::Embedder => 0,
            Part::Layer(layer) => layer,
            Part::FinalNorm => self.model.depth() - 1,
            Part::Head | Part::Projection => self.model.depth(),
        };
        let LayerInputs { side, dropout, at_once, .. } = self.inputs;
        let layers = first..self.model.depth().min(first + at_once);
        if layers.end <= lowest || self.wanted.is_none() {
            return;
        }
        let is_wanted = first > lowest || self.lowest == Part::Embedder;
        let x = self.state(is_wanted);
        let layout = &self.inputs.layout;
        let pass = Pass { attend: attend_with_graph, ..Pass::of(side, layout, dropout) };
        let y = self.model.through(layers, x.clone(), pass);
        self.through(y, is_wanted.then_some(x), sum);
    }

    fn embedded(mut self, sum: &mut GradientsAccumulator<DualEncoder<B>>) {
        if self.lowest == Part::Embedder && self.wanted.is_some() {
            let LayerInputs { side, dropout, ref batch, .. } = self.inputs;
            let (x, _) = self.model.embedded(side, batch, dropout);
            self.through(x, None, sum);
        }
    }

    /// What is read next on the way back.
    fn state(&mut self, is_wanted: bool) -> Tensor<B, 2> {
        let state = self.inputs.states.pop().expect("a state for each layer");
        let state = Tensor::from_inner(state);
        if is_wanted { state.require_grad() } else { state }
    }

    /// Goes back through a graph to what it read, if that is asked for.
    fn through(
        &mut self,
        graph: Tensor<B, 2>,
        read: Option<Tensor<B, 2>>,
        sum: &mut GradientsAccumulator<DualEncoder<B>>,
    ) {
        let wanted = self.wanted.take().expect("what is gone through has a gradient");
        let mut gradients = (graph * Tensor::from_inner(wanted)).sum().backward();
        self.wanted = read.and_then(|read| read.grad_remove(&mut gradients));
        sum.accumulate(self.model, GradientsParams::from_grads(gradients, self.model));
    }
}
