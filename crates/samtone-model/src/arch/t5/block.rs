//! The blocks that T5's layers are made of: each reads the norm of its input and is added to it.

use burn::module::Module;
use burn::tensor::Tensor;
use burn::tensor::backend::Backend;

use crate::blocks::attention::Attention;
use crate::blocks::dropout::DropoutSite;
use crate::blocks::layout::Layout;
use crate::blocks::ops::{Linear, RmsNorm, drop, linear};
use crate::blocks::pass::Pass;
use crate::blocks::sight::Sight;
use crate::config::{Activation, T5Config};
use crate::error::ModelError;
use crate::parameter::{Builder, Init};

/// Operations of a layer that drop elements.
pub(crate) mod site {
    pub(crate) const HIDDEN: u64 = 0;
    pub(crate) const ATTENTION: u64 = 1;
    pub(crate) const ATTENTION_OUTPUT: u64 = 2;
    pub(crate) const INNER: u64 = 3;
    pub(crate) const FEED_FORWARD: u64 = 4;
    pub(crate) const MEMORY: u64 = 5;
    pub(crate) const MEMORY_OUTPUT: u64 = 6;
}

/// The dropout sites of one layer in a pass; the embedder's layer is 0, the first transformer layer's 1.
pub(crate) struct Sites<'a, B: Backend> {
    pub(crate) pass: Pass<'a, B>,
    pub(crate) layer: usize,
    pub(crate) rate: f64,
}

#[expect(clippy::expl_impl_clone_on_copy, reason = "derived it would ask for `B: Copy`")]
impl<B: Backend> Clone for Sites<'_, B> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<B: Backend> Copy for Sites<'_, B> {}

impl<B: Backend> Sites<'_, B> {
    pub(crate) fn of(self, operation: u64) -> Option<DropoutSite> {
        DropoutSite::new(self.pass.dropout, self.layer, operation, self.rate)
    }
}

/// Attention, to the text's own tokens or to another's.
#[derive(Module, Debug)]
pub(crate) struct AttentionBlock<B: Backend> {
    norm: RmsNorm<B>,
    query: Linear<B>,
    key: Linear<B>,
    value: Linear<B>,
    output: Linear<B>,
    heads: usize,
}

impl<B: Backend> AttentionBlock<B> {
    /// The attention `kind` of the layer called `layer`.
    pub(crate) fn new(
        builder: &mut Builder<'_, B>,
        config: &T5Config,
        layer: &str,
        kind: &str,
    ) -> Result<Self, ModelError> {
        let T5Config { hidden, heads, head_dim, norm_eps, .. } = *config;
        let attended = heads * head_dim;
        let norm = RmsNorm::new(builder, &format!("{layer}.layer_norm"), hidden, norm_eps, false)?;
        let mut map = |part: &str, sizes, fan: usize| {
            Linear::new(builder, &format!("{layer}.{kind}.{part}"), sizes, std(fan), false)
        };
        Ok(Self {
            norm,
            query: map("q", [hidden, attended], hidden * head_dim)?,
            key: map("k", [hidden, attended], hidden)?,
            value: map("v", [hidden, attended], hidden)?,
            output: map("o", [attended, hidden], attended)?,
            heads,
        })
    }

    /// Every token attends to its own text, or, where `is_causal`, to what comes before it there.
    pub(crate) fn forward(
        &self,
        x: Tensor<B, 2>,
        distance_bias: Tensor<B, 2>,
        is_causal: bool,
        sites: Sites<'_, B>,
    ) -> Tensor<B, 2> {
        let pass = sites.pass;
        let layout = pass.layout;
        let attention = Attention {
            layout,
            heads: self.heads,
            kv_heads: self.heads,
            scale: 1.0,
            distance_bias: Some(distance_bias),
            sight: Sight { is_causal, window: None },
            dropout: sites.of(site::ATTENTION),
        };
        let normed = self.norm.forward(x.clone());
        let parts = linear(normed, self.maps(), None, Some(pass));
        let attended = (pass.attend)(attention, parts);
        let attended = self.output.forward_in(attended, pass);
        x + drop(attended, sites.of(site::ATTENTION_OUTPUT), layout)
    }

    /// Every token attends to the tokens of `memory`, the states of the text of the same number.
    pub(crate) fn forward_to(
        &self,
        x: Tensor<B, 2>,
        (memory, memory_layout): (Tensor<B, 2>, &Layout),
        sites: Sites<'_, B>,
    ) -> Tensor<B, 2> {
        let layout = sites.pass.layout;
        let attention = Attention {
            layout,
            heads: self.heads,
            kv_heads: self.heads,
            scale: 1.0,
            distance_bias: None,
            sight: Sight::default(),
            dropout: sites.of(site::MEMORY),
        };
        let query = self.query.forward(self.norm.forward(x.clone()));
        let attended = attention.forward_to(query, self.keys_and_values(memory), memory_layout);
        x + drop(self.output.forward(attended), sites.of(site::MEMORY_OUTPUT), layout)
    }

    /// Queries, keys and values of states, side by side, `[rows, 3 · heads · head_dim]`.
    pub(crate) fn project(&self, x: Tensor<B, 2>) -> Tensor<B, 2> {
        linear(self.norm.forward(x), self.maps(), None, None)
    }

    /// Queries of states, `[rows, heads · head_dim]`.
    pub(crate) fn queries(&self, x: Tensor<B, 2>) -> Tensor<B, 2> {
        self.query.forward(self.norm.forward(x))
    }

    /// Keys and values of a memory, side by side, `[rows, 2 · heads · head_dim]`.
    pub(crate) fn keys_and_values(&self, memory: Tensor<B, 2>) -> Tensor<B, 2> {
        linear(memory, [&self.key, &self.value], None, None)
    }

    /// What was attended to, `[rows, heads · head_dim]`, added to the block's input.
    pub(crate) fn add(&self, x: Tensor<B, 2>, attended: Tensor<B, 2>) -> Tensor<B, 2> {
        x + self.output.forward(attended)
    }

    fn maps(&self) -> [&Linear<B>; 3] {
        [&self.query, &self.key, &self.value]
    }
}

/// The feed-forward block: one nonlinear map, or one that gates another (version 1.1).
#[derive(Module, Debug)]
pub(crate) struct FeedForwardBlock<B: Backend> {
    norm: RmsNorm<B>,
    inner: Linear<B>,
    gated: Option<Linear<B>>,
    output: Linear<B>,
    #[module(skip)]
    activation: Activation,
}

impl<B: Backend> FeedForwardBlock<B> {
    pub(crate) fn new(
        builder: &mut Builder<'_, B>,
        config: &T5Config,
        layer: &str,
    ) -> Result<Self, ModelError> {
        let T5Config { hidden, intermediate, norm_eps, gated, activation, .. } = *config;
        let norm = RmsNorm::new(builder, &format!("{layer}.layer_norm"), hidden, norm_eps, false)?;
        let mut map = |part: &str, [inputs, outputs]: [usize; 2]| {
            let name = format!("{layer}.DenseReluDense.{part}");
            Linear::new(builder, &name, [inputs, outputs], std(inputs), false)
        };
        let inner = map(if gated { "wi_0" } else { "wi" }, [hidden, intermediate])?;
        let gated = if gated { Some(map("wi_1", [hidden, intermediate])?) } else { None };
        let output = map("wo", [intermediate, hidden])?;
        Ok(Self { norm, inner, gated, output, activation })
    }

    pub(crate) fn forward(&self, x: Tensor<B, 2>, sites: Sites<'_, B>) -> Tensor<B, 2> {
        let pass = sites.pass;
        let inner = drop(self.inner(x.clone(), Some(pass)), sites.of(site::INNER), pass.layout);
        let output = self.output.forward_in(inner, pass);
        x + drop(output, sites.of(site::FEED_FORWARD), pass.layout)
    }

    /// [`forward`](Self::forward) without dropout, for rows that are no whole texts.
    pub(crate) fn step(&self, x: Tensor<B, 2>) -> Tensor<B, 2> {
        let output = self.output.forward(self.inner(x.clone(), None));
        x + output
    }

    fn inner(&self, x: Tensor<B, 2>, pass: Option<Pass<'_, B>>) -> Tensor<B, 2> {
        let normed = self.norm.forward(x);
        let inner = linear(normed.clone(), [&self.inner], Some(self.activation), pass);
        match &self.gated {
            Some(gated) => inner * linear(normed, [gated], None, pass),
            None => inner,
        }
    }
}

fn std(inputs: usize) -> Init {
    Init::Normal((inputs as f64).powf(-0.5))
}
