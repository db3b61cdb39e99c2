//! What the tests of a step's gradients share: a tiny encoder with dropout, and texts for it.

use samtone_loss::{Loss, LossConfig};
use samtone_model::BertConfig;
use samtone_text::Key;

/// Pairs in a batch.
pub(crate) const ROWS: usize = 7;
/// Hard negatives of each.
pub(crate) const NEGATIVES: usize = 2;

/// Sums of a few thousand terms in f64, in other orders.
pub(crate) const TOLERANCE: f64 = 1e-9;

pub(crate) fn bert() -> BertConfig {
    BertConfig {
        vocab_size: 30,
        hidden: 8,
        layers: 2,
        heads: 2,
        intermediate: 12,
        max_positions: 16,
        dropout: 0.2,
        attention_dropout: 0.3,
        ..BertConfig::default()
    }
}

/// `SamToNe` with a temperature that is learned.
pub(crate) fn loss() -> Loss {
    let config = "temperature = { learn = true, init = 0.1 }\npreset = \"samtone\"";
    toml::from_str::<LossConfig>(config).unwrap().resolve().unwrap()
}

/// `n` texts of 1 to 9 tokens.
pub(crate) fn texts(name: &str, n: usize) -> Vec<Vec<u32>> {
    let key = Key::new(0).child(name);
    let word = |text: usize, i: usize| 1 + key.at(text as u64).below(i as u64 + 1, 29) as u32;
    let length = |text: usize| 1 + key.at(text as u64).below(0, 9);
    (0..n).map(|text| (0..length(text)).map(|i| word(text, i)).collect()).collect()
}
