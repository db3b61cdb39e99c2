//! T5 whole: an encoder reads a text, a decoder writes another.

use std::path::Path;
use std::sync::Arc;

use burn::module::Module;
use burn::optim::GradientsParams;
use burn::tensor::backend::{AutodiffBackend, Backend};
use burn::tensor::{FloatDType, Tensor};
use samtone_text::TokenBatch;

use super::beam;
use super::config::{Decoding, Head, Seq2SeqConfig};
use super::hugging_face;
use crate::arch::t5::{Cache, Decoder, T5Embedder, T5Stack};
use crate::blocks::dropout::Dropout;
use crate::blocks::layout::Layout;
use crate::blocks::ops::{Linear, cross_entropy, layout, skips_padding, unpadded};
use crate::blocks::pass::Pass;
use crate::error::ModelError;
use crate::folder::CONFIG;
use crate::parameter::{self, Builder, Init, Parameter, Source};
use crate::part::Part;
use crate::visit::{self, DeadParameter};

/// T5's encoder-decoder: token batches to token batches.
///
/// # Examples
///
/// ```
/// use burn::backend::Flex;
/// use samtone_text::TokenBatch;
/// use samtone_model::{Decoding, Seq2Seq, Seq2SeqConfig, T5Config};
///
/// let encoder = T5Config { vocab_size: 50, hidden: 16, layers: 1, heads: 2, head_dim: 8, ..T5Config::default() };
/// let config = Seq2SeqConfig { encoder, decoder_layers: 1, ..Seq2SeqConfig::default() };
/// let model = Seq2Seq::<Flex>::init(&config, 42, &Default::default())?;
///
/// let inputs = TokenBatch::pad(&[vec![7, 9, 1], vec![8, 1]], 0);
/// let targets = TokenBatch::pad(&[vec![5, 1], vec![6, 6, 1]], 0);
/// assert_eq!(model.loss_sum(&inputs, &targets, None).dims(), [1]);
/// let written = model.generate(&inputs, Decoding { max_tokens: 4, ..Decoding::default() });
/// assert!(written.len() == 2 && written.iter().all(|ids| ids.len() <= 4));
/// # Ok::<(), samtone_model::ModelError>(())
/// ```
#[derive(Module, Debug)]
pub struct Seq2Seq<B: Backend> {
    embedder: T5Embedder<B>,
    encoder: T5Stack<B>,
    decoder: Decoder<B>,
    head: Option<Linear<B>>,
    #[module(skip)]
    config: Arc<Seq2SeqConfig>,
    #[module(skip)]
    parameters: Arc<Vec<Parameter>>,
}

impl<B: Backend> Seq2Seq<B> {
    /// Makes a model with random weights, drawn on the host from `seed`: the same on every backend.
    ///
    /// # Errors
    /// If the configuration holds an impossible value.
    pub fn init(config: &Seq2SeqConfig, seed: u64, device: &B::Device) -> Result<Self, ModelError> {
        Self::build(config, device, &mut |parameter, init| {
            Ok(parameter::draw(seed, parameter, init))
        })
    }

    /// Makes a model whose parameters `source` gives.
    pub(crate) fn build(
        config: &Seq2SeqConfig,
        device: &B::Device,
        source: &mut Source<'_>,
    ) -> Result<Self, ModelError> {
        config.validate()?;
        let sizes = &config.encoder;
        let mut builder = Builder::new(device, source);
        let embedder = T5Embedder::new(&mut builder, sizes)?;
        let encoder = T5Stack::new(&mut builder, sizes)?;
        let decoder = Decoder::new(&mut builder, sizes, config.decoder_layers)?;
        let head = match config.head {
            Head::Tied | Head::TiedScaled => None,
            Head::Own => {
                builder.part(Part::Head);
                // As T5X draws it; `transformers` takes a deviation of 1, whose first losses are
                // tens of nats.
                let init = Init::Normal((sizes.hidden as f64).powf(-0.5));
                let shape = [sizes.hidden, sizes.vocab_size];
                Some(Linear::new(&mut builder, "lm_head", shape, init, false)?)
            }
        };
        let parameters = Arc::new(builder.finish());
        Ok(Self { embedder, encoder, decoder, head, config: Arc::new(config.clone()), parameters })
    }

    /// Reads a Hugging Face folder of T5, whole: `config.json` and its weights.
    ///
    /// # Errors
    /// If a file is missing or broken, or a tensor is missing, left over, of another shape or not
    /// finite; each is named.
    pub fn open(path: &Path, device: &B::Device) -> Result<Self, ModelError> {
        let mut config = hugging_face::read_seq2seq_config(&path.join(CONFIG))?;
        let weights = hugging_face::read_seq2seq_weights(path, &mut config)?;
        let model = Self::build(&config, device, &mut |parameter, _| {
            Ok(weights.get(&parameter.name, &parameter.shape)?.values.clone())
        })?;
        let names: Vec<&str> = model.parameters().iter().map(|p| p.name.as_str()).collect();
        weights.check_names(|name| names.contains(&name))?;
        Ok(model)
    }

    /// The loss of writing `targets` after reading `inputs`, summed over all target tokens, in nats;
    /// padding takes no part.
    ///
    /// Teacher forcing: each token is predicted from the right ones before it.
    ///
    /// # Shapes
    /// - returns `[1]`
    ///
    /// # Panics
    /// If the batches have different numbers of texts, or an id is outside the vocabulary.
    pub fn loss_sum(
        &self,
        inputs: &TokenBatch,
        targets: &TokenBatch,
        dropout: Option<Dropout>,
    ) -> Tensor<B, 1> {
        let logits = self.logits(inputs, targets, dropout);
        let ids = targets.ids().chunks_exact(targets.seq()).zip(targets.lengths());
        let ids = ids.flat_map(|(row, &length)| &row[..length]).map(|&id| id as usize).collect();
        cross_entropy(logits, ids).sum()
    }

    /// The scores of every word for every target token, the texts one after the other.
    ///
    /// # Shapes
    /// - returns `[target tokens, vocab]`, before any softmax
    ///
    /// # Panics
    /// As [`Seq2Seq::loss_sum`].
    pub fn logits(
        &self,
        inputs: &TokenBatch,
        targets: &TokenBatch,
        dropout: Option<Dropout>,
    ) -> Tensor<B, 2> {
        assert_eq!(inputs.batch(), targets.batch(), "as many inputs as targets");
        let (memory, memory_layout) = self.encode(inputs, dropout);
        self.check(targets);
        let read = self.shifted(targets);
        let layout = layout(&read, &self.embedder.words());
        let dropout = dropout
            .map(|Dropout { key, first_row }| Dropout { key: key.child("decoder"), first_row });
        let x = self.embedder.forward(layout.ids(&read), Pass::new(&layout, dropout));
        let x = self.decoder.forward(x, &layout, (memory, &memory_layout), dropout);
        self.score(unpadded(x, &layout))
    }

    /// Writes a text for every input; its ids without the start and the end.
    ///
    /// # Panics
    /// If an id is outside the vocabulary, `beams` is 0, or there are fewer than `2 · beams` words.
    pub fn generate(&self, inputs: &TokenBatch, decoding: Decoding) -> Vec<Vec<u32>> {
        let (memory, layout) = self.encode(inputs, None);
        let mut cache = self.decoder.start((memory, &layout));
        let (texts, start) = (inputs.batch(), self.config.start_id);
        if decoding.beams == 1 {
            return self.greedy(texts, decoding.max_tokens, &mut cache);
        }
        beam::search(texts, self.config.end_id, decoding, |rows| {
            let last = match rows {
                None => vec![start; texts * decoding.beams],
                Some((parents, last)) => {
                    cache.reorder(parents);
                    last.to_vec()
                }
            };
            let logits = self.step(&last, &mut cache).into_data().convert::<f32>();
            logits.into_vec().expect("converted to f32 above")
        })
    }

    fn greedy(&self, texts: usize, max_tokens: usize, cache: &mut Cache<B>) -> Vec<Vec<u32>> {
        let mut written = vec![Vec::new(); texts];
        let mut is_open = vec![true; texts];
        let mut last = vec![self.config.start_id; texts];
        for _ in 0..max_tokens {
            let best = self.step(&last, cache).argmax(1).into_data();
            last = best.iter::<i64>().map(|id| u32::try_from(id).expect("ids fit")).collect();
            for ((&id, written), is_open) in last.iter().zip(&mut written).zip(&mut is_open) {
                *is_open &= id != self.config.end_id;
                if *is_open {
                    written.push(id);
                }
            }
            if !is_open.contains(&true) {
                break;
            }
        }
        written
    }

    /// The scores of every word after one more token of every hypothesis, `[rows, vocab]`.
    fn step(&self, last: &[u32], cache: &mut Cache<B>) -> Tensor<B, 2> {
        let x = self.embedder.rows(last.iter().map(|&id| id as usize).collect());
        self.score(self.decoder.step(x, cache))
    }

    /// The encoder's states, `[rows, hidden]`, and how the tokens lie among the rows.
    fn encode(&self, inputs: &TokenBatch, dropout: Option<Dropout>) -> (Tensor<B, 2>, Layout) {
        self.check(inputs);
        let layout = layout(inputs, &self.embedder.words());
        let pass = Pass::new(&layout, dropout);
        let x = self.embedder.forward(layout.ids(inputs), pass);
        (self.encoder.forward(0..self.encoder.depth(), x, pass), layout)
    }

    /// What the decoder reads to write `targets`: the start, then all but the last token.
    fn shifted(&self, targets: &TokenBatch) -> TokenBatch {
        let rows = targets.ids().chunks_exact(targets.seq()).zip(targets.lengths());
        let rows: Vec<Vec<u32>> = rows
            .map(|(row, &length)| [&[self.config.start_id], &row[..length - 1]].concat())
            .collect();
        TokenBatch::pad_to(&rows, self.config.start_id, targets.seq())
    }

    /// `[rows, hidden]` → `[rows, vocab]`
    fn score(&self, x: Tensor<B, 2>) -> Tensor<B, 2> {
        if let Some(head) = &self.head {
            return head.forward(x);
        }
        let x = match self.config.head {
            Head::TiedScaled => x * (self.config.encoder.hidden as f64).powf(-0.5),
            _ => x,
        };
        self.embedder.tied_head().forward(x)
    }

    fn check(&self, batch: &TokenBatch) {
        let largest = batch.ids().iter().copied().max().unwrap_or(0) as usize;
        let vocab = self.config.encoder.vocab_size;
        assert!(largest < vocab, "token id {largest} in a batch, of a vocabulary of {vocab}");
    }

    /// Whether padding is left out of the computation rather than masked: true where the fused
    /// operations run (Flex, f32).
    pub fn skips_padding(&self) -> bool {
        skips_padding(&self.embedder.words())
    }

    /// What the model was made from.
    pub fn config(&self) -> &Seq2SeqConfig {
        &self.config
    }

    /// Every parameter once, in a fixed order.
    pub fn parameters(&self) -> &[Parameter] {
        &self.parameters
    }

    /// Numbers in all parameters.
    pub fn num_parameters(&self) -> usize {
        self.parameters.iter().map(Parameter::num_elements).sum()
    }

    /// Calls `visit` with every parameter and its values, flattened, in the fixed order of the
    /// module.
    pub fn for_each_parameter(&self, visit: impl FnMut(&Parameter, Tensor<B, 1>)) {
        visit::for_each_parameter(self, &self.parameters, visit);
    }

    /// Holds the parameters in another float type (f64 for proofs, half types to save memory).
    #[must_use]
    pub fn cast(self, dtype: FloatDType) -> Self {
        visit::cast(self, dtype, |_| false)
    }
}

impl<B: AutodiffBackend> Seq2Seq<B> {
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
    /// finite. Worth a look after the first step.
    pub fn dead_parameters(&self, gradients: &GradientsParams) -> Vec<DeadParameter> {
        visit::dead_parameters(self, &self.parameters, gradients)
    }
}

#[cfg(test)]
mod tests {
    use burn::backend::{Flex, NdArray};
    use samtone_text::Key;

    use super::*;
    use crate::config::T5Config;

    fn model<B: Backend>() -> Seq2Seq<B> {
        let encoder = T5Config {
            vocab_size: 30,
            hidden: 24,
            layers: 2,
            heads: 3,
            head_dim: 8,
            intermediate: 32,
            relative_buckets: 8,
            relative_max_distance: 6,
            ..T5Config::default()
        };
        let config = Seq2SeqConfig { encoder, decoder_layers: 2, ..Seq2SeqConfig::default() };
        Seq2Seq::init(&config, 5, &Default::default()).unwrap()
    }

    fn inputs() -> TokenBatch {
        let key = Key::new(1);
        let row = |row: u64| (0..3 + 2 * row).map(move |i| 2 + key.at(row).below(i, 28) as u32);
        TokenBatch::pad(&(0..6).map(|i| row(i).collect()).collect::<Vec<Vec<u32>>>(), 0)
    }

    /// The scores after each prefix, from the whole of it: no cache.
    fn uncached<B: Backend>(
        model: &Seq2Seq<B>,
        inputs: &TokenBatch,
        prefixes: &[Vec<u32>],
    ) -> Vec<f32> {
        let hypotheses = prefixes.len() / inputs.batch();
        let repeated: Vec<&[u32]> = (0..prefixes.len())
            .map(|row| {
                let text = row / hypotheses;
                &inputs.ids()[text * inputs.seq()..][..inputs.lengths()[text]]
            })
            .collect();
        // The scores of a row's last token do not depend on which token that is.
        let targets: Vec<Vec<u32>> =
            prefixes.iter().map(|prefix| [prefix.as_slice(), &[2]].concat()).collect();
        let tokens = targets[0].len();
        let logits =
            model.logits(&TokenBatch::pad(&repeated, 0), &TokenBatch::pad(&targets, 0), None);
        let [_, vocab] = logits.dims();
        let last = logits.reshape([prefixes.len(), tokens, vocab]).narrow(1, tokens - 1, 1);
        last.into_data().into_vec().unwrap()
    }

    fn check_cache<B: Backend>() {
        let (model, inputs) = (model::<B>(), inputs());
        for beams in [1, 3] {
            let decoding = Decoding { max_tokens: 9, beams, length_penalty: 0.7 };
            let mut prefixes = vec![Vec::new(); inputs.batch() * beams];
            let expected = beam::search(inputs.batch(), 1, decoding, |rows| {
                if let Some((parents, last)) = rows {
                    let rows = parents.iter().zip(last);
                    prefixes =
                        rows.map(|(&row, &id)| [&prefixes[row][..], &[id]].concat()).collect();
                }
                uncached(&model, &inputs, &prefixes)
            });
            assert_eq!(model.generate(&inputs, decoding), expected, "{beams} beams");
            assert!(expected.iter().any(|text| text != &expected[0]), "{expected:?}");
        }
    }

    #[test]
    fn the_cache_changes_no_id_and_one_beam_is_greedy() {
        check_cache::<Flex>();
        check_cache::<NdArray>();
    }

    #[test]
    fn the_loss_is_the_negative_logarithm_of_the_targets() {
        let (model, inputs) = (model::<Flex>(), inputs());
        let targets: Vec<Vec<u32>> = (0..6).map(|i| vec![3 + i; 1 + i as usize % 3]).collect();
        let targets = TokenBatch::pad(&targets, 0);
        let logits = model.logits(&inputs, &targets, None).into_data().to_vec::<f32>().unwrap();
        let ids = targets.ids().chunks(targets.seq()).zip(targets.lengths());
        let ids: Vec<u32> = ids.flat_map(|(row, &n)| row[..n].to_vec()).collect();
        let losses = logits.chunks(30).zip(ids).map(|(row, id)| {
            let sum: f64 = row.iter().map(|&x| f64::from(x).exp()).sum();
            sum.ln() - f64::from(row[id as usize])
        });
        let expected: f64 = losses.sum();
        let got = f64::from(model.loss_sum(&inputs, &targets, None).into_scalar());
        assert!((got - expected).abs() < 1e-4 * expected, "{got} and {expected}");
    }

    #[test]
    fn impossible_sizes_are_named() {
        let config = Seq2SeqConfig { end_id: 32_128, ..Seq2SeqConfig::default() };
        let message = config.validate().unwrap_err().to_string();
        assert_eq!(message, "`end_id` is 32128, expected an id below `vocab_size`");
    }
}
