//! Two towers and what they share.

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::sync::Arc;

use burn::module::Module;
use burn::optim::GradientsParams;
use burn::tensor::backend::{AutodiffBackend, Backend};
use burn::tensor::{DType, FloatDType, Tensor};
use samtone_text::TokenBatch;

use crate::arch::{Stack, TokenEmbedder};
use crate::blocks::dropout::Dropout;
use crate::blocks::layout::Layout;
use crate::blocks::ops::{Linear, unpadded};
use crate::blocks::pass::Pass;
use crate::blocks::pooling::normalize;
use crate::blocks::streamed::{Attend, attend, attend_with_graph};
use crate::config::{DualEncoderConfig, Freeze, Sharing};
use crate::error::ModelError;
use crate::folder::names::{DOWN, UP};
use crate::folder::peft;
use crate::parameter::{self, Adapters, Builder, Init, Parameter, Source};
use crate::part::Part;
use crate::precision::Precision;
use crate::projection::layer_name;
use crate::side::{Side, own};
use crate::visit::{self, DeadParameter, GradientFault};

/// A dual encoder: token batches of either side to embeddings.
///
/// Each part that the towers share is held once, so it is one parameter: counted, updated and
/// saved once.
///
/// # Examples
///
/// ```
/// use burn::backend::Flex;
/// use samtone_text::TokenBatch;
/// use samtone_model::{BertConfig, DualEncoder, DualEncoderConfig, EncoderConfig, Side};
///
/// let bert = BertConfig { vocab_size: 100, hidden: 32, layers: 1, heads: 2, ..BertConfig::default() };
/// let config = DualEncoderConfig { encoder: EncoderConfig::Bert(bert), ..Default::default() };
/// let model = DualEncoder::<Flex>::init(&config, 42, &Default::default())?;
///
/// let batch = TokenBatch::pad(&[vec![1, 7, 9, 2], vec![1, 8, 2]], 0);
/// let embeddings = model.encode(Side::Query, &batch, None);
/// assert_eq!(embeddings.dims(), [2, 32]);
/// # Ok::<(), samtone_model::ModelError>(())
/// ```
#[derive(Module, Debug)]
pub struct DualEncoder<B: Backend> {
    // One: both sides' own, perhaps with adapters of either. Two: the query's, then the document's.
    embedders: Vec<TokenEmbedder<B>>,
    // None where the encoder has no layers.
    stacks: Vec<Stack<B>>,
    // The layers of one, both sides' own, or of the query's, then the document's; none where the model
    // has no projection.
    projections: Vec<Linear<B>>,
    // Tokens at the head of every query and every document that pooling leaves out.
    #[module(skip)]
    pub(crate) unpooled: [usize; 2],
    #[module(skip)]
    config: Arc<DualEncoderConfig>,
    #[module(skip)]
    parameters: Arc<Vec<Parameter>>,
}

impl<B: Backend> DualEncoder<B> {
    /// Makes a model with random weights, drawn on the host from `seed`: the same on every backend.
    ///
    /// # Errors
    /// If the configuration holds an impossible value.
    pub fn init(
        config: &DualEncoderConfig,
        seed: u64,
        device: &B::Device,
    ) -> Result<Self, ModelError> {
        Self::build(config, device, &mut |parameter, init| {
            Ok(parameter::draw(seed, parameter, init))
        })
    }

    /// Makes a model whose parameters `source` gives.
    pub(crate) fn build(
        config: &DualEncoderConfig,
        device: &B::Device,
        source: &mut Source<'_>,
    ) -> Result<Self, ModelError> {
        config.validate()?;
        let sharing = config.sharing;
        let sides = |shared| -> &[Option<Side>] {
            if shared { &[None] } else { &[Some(Side::Query), Some(Side::Document)] }
        };
        let places = peft::places(config)?;
        let of_each = [[None], [Some(Side::Query)], [Some(Side::Document)]];
        let adapters = |side: Option<Side>| {
            let sides: &[Option<Side>] = match side {
                None if sharing == Sharing::AdeAdapter => sides(false),
                side => &of_each[side.map_or(0, |side| 1 + side as usize)],
            };
            places.as_ref().map(|places| Adapters { places, sides })
        };
        let mut builder = Builder::new(device, source);
        builder.freeze(config.frozen());
        let (mut embedders, mut stacks, mut projections) = (Vec::new(), Vec::new(), Vec::new());
        for &side in sides(sharing.shares_embedder()) {
            builder.side(side).adapters(adapters(side));
            embedders.push(TokenEmbedder::new(&mut builder, &config.encoder)?);
        }
        for &side in sides(sharing.shares_stack()) {
            builder.side(side).adapters(adapters(side));
            stacks.extend(Stack::new(&mut builder, &config.encoder)?);
        }
        builder.check_adapters()?;
        builder.adapters(None);
        for &side in sides(sharing.shares_projection()) {
            builder.side(side).part(Part::Projection);
            let mut inputs = config.pooled();
            for (number, layer) in config.dense_layers().iter().enumerate() {
                // Variance scaling, fan in, scale 1; cutting a normal at two deviations leaves 0.8796.
                let init = Init::TruncatedNormal((inputs as f64).powf(-0.5) / 0.879_625_661);
                let (name, sizes) = (layer_name(number), [inputs, layer.dim]);
                projections.push(Linear::new(&mut builder, &name, sizes, init, layer.bias)?);
                inputs = layer.dim;
            }
        }
        let parameters = Arc::new(builder.finish());
        let config = Arc::new(config.clone());
        Ok(Self { embedders, stacks, projections, unpooled: [0; 2], config, parameters })
    }

    /// The same model with that many tokens at the head of every query and every document left out
    /// of pooling: those of a prompt that is read, but not pooled.
    #[must_use]
    pub fn with_unpooled(self, unpooled: [usize; 2]) -> Self {
        Self { unpooled, ..self }
    }

    /// Tokens at the head of every text of `side` that pooling leaves out.
    pub fn unpooled(&self, side: Side) -> usize {
        self.unpooled[side as usize]
    }

    /// Takes the weights: what stays knows what the model is and computes nothing.
    #[must_use]
    pub fn take(&mut self) -> Self {
        let bare = Self {
            embedders: Vec::new(),
            stacks: Vec::new(),
            projections: Vec::new(),
            unpooled: self.unpooled,
            config: self.config.clone(),
            parameters: self.parameters.clone(),
        };
        std::mem::replace(self, bare)
    }

    /// Embeds a batch of texts of one side.
    ///
    /// With `dropout`, elements are dropped at the rates of the configuration; without, none are.
    /// Padding takes no part: a text's embedding does not depend on the rest of the batch. Nor do the
    /// [first tokens that pooling leaves out](DualEncoder::with_unpooled), beyond what the others read
    /// of them; the embedding of a text that has no other is zero (pooled by the mean or the last
    /// token) or its first token's.
    ///
    /// # Shapes
    /// - returns `[batch, dim]`, rows of length 1 if the configuration says `normalize`
    ///
    /// # Panics
    /// If a text is longer than [`EncoderConfig::max_tokens`](crate::EncoderConfig::max_tokens), or
    /// holds an id outside the vocabulary.
    pub fn encode(&self, side: Side, batch: &TokenBatch, dropout: Option<Dropout>) -> Tensor<B, 2> {
        let (x, layout) = self.hidden_states(side, batch, dropout, attend);
        self.pooled(side, x, &layout)
    }

    /// Last states, `[rows, hidden]`, to embeddings, `[batch, dim]`.
    pub(crate) fn pooled(&self, side: Side, x: Tensor<B, 2>, layout: &Layout) -> Tensor<B, 2> {
        let x = match x.dtype() {
            DType::F16 | DType::BF16 => x.cast(FloatDType::F32),
            _ => x,
        };
        let mut x = self.config.pooling.forward(x, layout, self.unpooled(side));
        let layers = self.config.dense_layers();
        for (linear, layer) in self.projection(side).iter().zip(layers) {
            x = layer.activation.forward(linear.forward(x));
        }
        if self.config.normalize { normalize(x) } else { x }
    }

    /// The last layer's state of every real token, the texts one after the other.
    ///
    /// # Shapes
    /// - returns `[tokens, hidden]`, `tokens` as [`TokenBatch::tokens`]
    ///
    /// # Panics
    /// As [`DualEncoder::encode`].
    pub fn token_states(
        &self,
        side: Side,
        batch: &TokenBatch,
        dropout: Option<Dropout>,
    ) -> Tensor<B, 2> {
        let (x, layout) = self.hidden_states(side, batch, dropout, attend);
        unpadded(x, &layout)
    }

    /// The last layer's states, `[rows, hidden]`, and how the tokens lie among the rows.
    fn hidden_states(
        &self,
        side: Side,
        batch: &TokenBatch,
        dropout: Option<Dropout>,
        attend: Attend<B>,
    ) -> (Tensor<B, 2>, Layout) {
        let (x, layout) = self.embedded(side, batch, dropout);
        let pass = Pass { attend, ..Pass::of(side, &layout, dropout) };
        (self.through(0..self.depth(), x, pass), layout)
    }

    /// What the token embedder gives, `[rows, hidden]`, and how the tokens lie among the rows.
    pub(crate) fn embedded(
        &self,
        side: Side,
        batch: &TokenBatch,
        dropout: Option<Dropout>,
    ) -> (Tensor<B, 2>, Layout) {
        self.check(batch);
        let embedder = own(&self.embedders, side).expect("every tower has a token embedder");
        let layout = embedder.layout(batch);
        let x = embedder.forward(batch, Pass::of(side, &layout, dropout));
        (x, layout)
    }

    /// How many layers a tower has.
    pub(crate) fn depth(&self) -> usize {
        self.stacks.first().map_or(0, Stack::depth)
    }

    /// What some layers of a tower, one after the other, make of states, `[rows, hidden]`.
    pub(crate) fn through(
        &self,
        layers: Range<usize>,
        x: Tensor<B, 2>,
        pass: Pass<'_, B>,
    ) -> Tensor<B, 2> {
        match own(&self.stacks, pass.side) {
            Some(stack) => stack.forward(layers, x, pass),
            None => x,
        }
    }

    /// The dense layers of `side`.
    fn projection(&self, side: Side) -> &[Linear<B>] {
        let layers = self.config.dense_layers().len();
        let is_one = self.projections.len() == layers;
        let start = if side == Side::Query || is_one { 0 } else { layers };
        &self.projections[start..start + layers]
    }

    fn check(&self, batch: &TokenBatch) {
        let encoder = &self.config.encoder;
        let longest = batch.lengths().iter().copied().max().unwrap_or(0);
        if let Some(limit) = encoder.max_tokens() {
            let seq = batch.seq();
            assert!(seq <= limit, "{seq} tokens in a text, of which the encoder reads {limit}");
        }
        let largest = batch.ids().iter().copied().max().unwrap_or(0) as usize;
        // A table has a zero behind its last row, for texts without a token.
        let vocab = encoder.vocab_size() + usize::from(encoder.reads_bare_texts());
        assert!(
            largest < vocab && longest > 0,
            "token id {largest} in a batch, of a vocabulary of {vocab}"
        );
    }

    /// Whether padding is left out of the computation rather than masked: true where the fused
    /// operations run (Flex, in f32 or bf16).
    pub fn skips_padding(&self) -> bool {
        self.embedders.first().is_some_and(TokenEmbedder::skips_padding)
    }

    /// Whether the model has fused operations (Flex) that it would leave to compute in `precision`,
    /// which makes that slower than f32.
    pub fn unfuses(&self, precision: Precision) -> bool {
        self.skips_padding() && precision == Precision::F16
    }

    /// What the model was made from.
    pub fn config(&self) -> &DualEncoderConfig {
        &self.config
    }

    /// Every parameter once, in a fixed order.
    pub fn parameters(&self) -> &[Parameter] {
        &self.parameters
    }

    /// Numbers in all parameters; a shared parameter counts once.
    pub fn num_parameters(&self) -> usize {
        self.parameters.iter().map(Parameter::num_elements).sum()
    }

    /// Numbers in the parameters that an optimiser may update.
    pub fn num_trainable(&self) -> usize {
        let trainable = self.parameters.iter().filter(|parameter| parameter.is_trainable);
        trainable.map(Parameter::num_elements).sum()
    }

    /// Calls `visit` with every parameter and its values, flattened, in the fixed order of the
    /// module.
    pub fn for_each_parameter(&self, visit: impl FnMut(&Parameter, Tensor<B, 1>)) {
        visit::for_each_parameter(self, &self.parameters, visit);
    }

    /// The same model with its adapters in the weights: `W + s · B A`. Towers that share a base have
    /// their own weights then.
    ///
    /// # Errors
    /// None but a bug's: the model is there.
    pub fn merged(&self, device: &B::Device) -> Result<Self, ModelError> {
        let Some(places) = peft::places(&self.config)? else { return Ok(self.clone()) };
        let mut values = HashMap::new();
        self.for_each_parameter(|parameter, tensor| {
            let tensor = tensor.into_data().convert::<f32>();
            let tensor = tensor.into_vec::<f32>().expect("converted to f32 above");
            values.insert((parameter.side, parameter.name.clone()), tensor);
        });
        let find = |side: Option<Side>, name: &str| {
            let key = |side| (side, name.to_owned());
            values.get(&key(side)).or_else(|| values.get(&key(None)))
        };
        let sharing = match self.config.sharing {
            Sharing::AdeAdapter => Sharing::Ade,
            sharing => sharing,
        };
        let config = DualEncoderConfig {
            sharing,
            adapter: None,
            freeze: Freeze::default(),
            ..DualEncoderConfig::clone(&self.config)
        };
        Self::build(&config, device, &mut |parameter, _| {
            let own = find(parameter.side, &parameter.name);
            let mut weight = own.expect("a merged model has the same parameters").clone();
            let map = parameter.name.strip_suffix(".weight");
            let place = map.map(|map| places.of(map)).transpose()?.flatten();
            if let (Some(map), Some(place)) = (map, place) {
                let up = find(parameter.side, &format!("{map}{UP}"));
                let down = find(parameter.side, &format!("{}{DOWN}", place.holder));
                if let (Some(up), Some(down)) = (up, down) {
                    add_product(&mut weight, up, down, place.rank, place.scale);
                }
            }
            Ok(weight)
        })
    }

    /// Holds the parameters in another float type (f64 for proofs, half types to save memory).
    #[must_use]
    pub fn cast(self, dtype: FloatDType) -> Self {
        visit::cast(self, dtype, |_| false)
    }

    /// Computes token embedders and layers in `precision`, for which their parameters are held in it,
    /// those of norms and projections as they are: a copy to compute with. The states between layers
    /// have its type then; norms, pooling and what follows compute in f32.
    #[must_use]
    pub fn compute_in(self, precision: Precision) -> Self {
        let Some(dtype) = precision.half() else { return self };
        let keeps = |p: &&Parameter| p.part == Part::Projection || p.is_norm;
        let kept: HashSet<_> = self.parameters.iter().filter(keeps).map(|p| p.id).collect();
        visit::cast(self, dtype, |id| kept.contains(&id))
    }
}

impl<B: AutodiffBackend> DualEncoder<B> {
    /// [`encode`](Self::encode) for a way back: the same embeddings, whose graph holds no scores of
    /// attention on any backend. They are made again on the way back, those of a few queries at a time.
    ///
    /// # Panics
    /// As [`encode`](Self::encode).
    pub fn encode_with_graph(
        &self,
        side: Side,
        batch: &TokenBatch,
        dropout: Option<Dropout>,
    ) -> Tensor<B, 2> {
        let (x, layout) = self.hidden_states(side, batch, dropout, attend_with_graph);
        self.pooled(side, x, &layout)
    }

    /// Calls `visit` with every parameter and its gradient, flattened, or none where `gradients`
    /// holds none, in the fixed order of the module.
    pub fn for_each_gradient(
        &self,
        gradients: &GradientsParams,
        visit: impl FnMut(&Parameter, Option<Tensor<B::InnerBackend, 1>>),
    ) {
        visit::for_each_gradient(self, &self.parameters, gradients, visit);
    }

    /// Trainable parameters that this step cannot improve: their gradient is missing, zero or not
    /// finite. Worth a look after the first step. An adapter's A, whose B starts as zeros, learns from
    /// the second on.
    pub fn dead_parameters(&self, gradients: &GradientsParams) -> Vec<DeadParameter> {
        let waits =
            |dead: &DeadParameter| dead.fault == GradientFault::Zero && dead.path.ends_with(DOWN);
        let mut dead = visit::dead_parameters(self, &self.parameters, gradients);
        dead.retain(|dead| !waits(dead));
        dead
    }
}

/// `weight += scale · up down`, `[out, in]`, `[out, rank]` and `[rank, in]`.
fn add_product(weight: &mut [f32], up: &[f32], down: &[f32], rank: usize, scale: f64) {
    let width = down.len() / rank;
    let mut sum = vec![0.0; width];
    for (row, up) in weight.chunks_exact_mut(width).zip(up.chunks_exact(rank)) {
        sum.fill(0.0);
        for (&up, down) in up.iter().zip(down.chunks_exact(width)) {
            let factor = scale * f64::from(up);
            for (sum, &down) in sum.iter_mut().zip(down) {
                *sum += factor * f64::from(down);
            }
        }
        for (weight, sum) in row.iter_mut().zip(&sum) {
            *weight = (f64::from(*weight) + sum) as f32;
        }
    }
}
