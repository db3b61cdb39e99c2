//! Tiny encoders and models of random weights, and token rows for them.

use burn::optim::GradientsParams;
use burn::tensor::backend::{AutodiffBackend, Backend};
use samtone_model::{
    AdapterConfig, BertConfig, DualEncoder, DualEncoderConfig, EncoderConfig, Pooling, Retriever,
    Sharing, SideSettings, Similarity, T5Config,
};
use samtone_text::{Key, TextTokenizer, TokenBatch};

use crate::values;

/// Pairs in a batch.
pub const ROWS: usize = 7;
/// Hard negatives of each.
pub const NEGATIVES: usize = 2;

/// One layer, for words of its user's.
pub fn one_layer_bert() -> BertConfig {
    BertConfig {
        hidden: 8,
        layers: 1,
        heads: 2,
        intermediate: 12,
        max_positions: 16,
        ..BertConfig::default()
    }
}

/// Two layers with dropout, for [`texts`].
pub fn bert() -> BertConfig {
    let (dropout, attention_dropout) = (0.2, 0.3);
    BertConfig { vocab_size: 30, layers: 2, dropout, attention_dropout, ..one_layer_bert() }
}

/// Two layers with dropout, for [`texts`].
pub fn t5() -> T5Config {
    T5Config {
        vocab_size: 30,
        hidden: 8,
        layers: 2,
        heads: 2,
        head_dim: 4,
        intermediate: 12,
        relative_buckets: 8,
        relative_max_distance: 6,
        dropout: 0.2,
        ..T5Config::default()
    }
}

/// [`bert`] and [`t5`].
pub fn encoders() -> [EncoderConfig; 2] {
    [EncoderConfig::Bert(bert()), EncoderConfig::T5(t5())]
}

/// Towers whose embeddings have 6 numbers and length 1; with adapters where the sharing wants them.
pub fn config(encoder: EncoderConfig, sharing: Sharing, pooling: Pooling) -> DualEncoderConfig {
    let adapter = (sharing == Sharing::AdeAdapter).then(AdapterConfig::default);
    let projection = Some(6.into());
    DualEncoderConfig { encoder, sharing, pooling, projection, adapter, ..Default::default() }
}

/// The model of a configuration, of weights from `seed`.
pub fn model<B: Backend>(config: &DualEncoderConfig, seed: u64) -> DualEncoder<B> {
    DualEncoder::init(config, seed, &Default::default()).unwrap()
}

/// A model of weights from `seed` whose tokenizer learned `words` tokens of `texts`. Its embeddings
/// have length 1 if it `normalizes`, and are compared by dot product if not.
pub fn retriever<B: Backend>(
    texts: &[impl AsRef<str> + Sync],
    words: usize,
    bert: BertConfig,
    seed: u64,
    normalizes: bool,
    prompt: &str,
) -> Retriever<B> {
    let tokenizer = TextTokenizer::train_wordpiece(texts, words, true).unwrap();
    let max_tokens = Some(bert.max_positions);
    let settings = || SideSettings { prompt: prompt.into(), max_tokens };
    let bert = BertConfig { vocab_size: tokenizer.vocab_size(), ..bert };
    let config = DualEncoderConfig {
        encoder: EncoderConfig::Bert(bert),
        normalize: normalizes,
        ..Default::default()
    };
    let model = model(&config, seed);
    let mut retriever = Retriever::new(model, tokenizer, [settings(), settings()]).unwrap();
    retriever.similarity = if normalizes { Similarity::Cosine } else { Similarity::Dot };
    retriever
}

/// `n` texts of 1 to 9 tokens.
pub fn texts(name: &str, n: usize) -> Vec<Vec<u32>> {
    let key = Key::new(0).child(name);
    let word = |text: usize, i: usize| 1 + key.at(text as u64).below(i as u64 + 1, 29) as u32;
    let length = |text: usize| 1 + key.at(text as u64).below(0, 9);
    (0..n).map(|text| (0..length(text)).map(|i| word(text, i)).collect()).collect()
}

/// Queries, documents and hard negatives of a batch.
pub fn rows() -> [Vec<Vec<u32>>; 3] {
    [texts("query", ROWS), texts("document", ROWS), texts("hard-negative", ROWS * NEGATIVES)]
}

/// The batch of the encoders' fixtures (`generate.py`): the same ids, padded to `min_seq` with
/// `pad_id`.
pub fn fixture_batch(pad_id: u32, min_seq: usize) -> TokenBatch {
    let row =
        |(row, length): (u32, u32)| (0..length).map(|at| 2 + (5 * row + 3 * at) % 21).collect();
    let rows: Vec<Vec<u32>> = (0..).zip([7, 3, 5]).map(row).collect();
    TokenBatch::pad_to(&rows, pad_id, min_seq)
}

/// Every parameter by its path.
pub fn parameters<B: Backend>(model: &DualEncoder<B>) -> Vec<(String, Vec<f64>)> {
    let mut found = Vec::new();
    model.for_each_parameter(|parameter, x| found.push((parameter.path.clone(), values(x))));
    found
}

/// Every trained parameter's gradient by its path.
pub fn gradients<B: AutodiffBackend>(
    model: &DualEncoder<B>,
    gradients: &GradientsParams,
) -> Vec<(String, Vec<f64>)> {
    let mut found = Vec::new();
    model.for_each_gradient(gradients, |parameter, gradient| {
        if parameter.is_trainable {
            found.push((parameter.path.clone(), values(gradient.unwrap())));
        }
    });
    found
}
