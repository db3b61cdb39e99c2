//! Times one pass of an encoder of MiniLM's shape, on request.
//!
//! Reads lines from stdin and answers each with the pass's seconds: `forward` and `backward`
//! (forward and backward) on 32 texts of 64 tokens, `dropout` (backward with dropout), and `ragged`
//! (backward on texts of 4 to 64 tokens padded to 64). `benches/peers/encoder.py` alternates it
//! with PyTorch.

use std::io::{BufRead, stdin};
use std::time::Instant;

use burn::backend::{Autodiff, Flex};
use burn::module::AutodiffModule;
use samtone_model::{Dropout, DualEncoder, DualEncoderConfig, Side};
use samtone_text::{Key, TokenBatch};

#[expect(clippy::print_stdout, reason = "the answers are its purpose")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let device = Default::default();
    let model = DualEncoder::<Autodiff<Flex>>::init(&DualEncoderConfig::default(), 1, &device)?;
    let inference = model.valid();
    let key = Key::new(1);
    let rows = |length: fn(Key, u64) -> usize| -> Vec<Vec<u32>> {
        (0..32)
            .map(|i| {
                (0..length(key, i)).map(|j| key.below(64 * i + j as u64, 30_000) as u32).collect()
            })
            .collect()
    };
    let full = TokenBatch::pad(&rows(|_, _| 64), 0);
    let ragged = TokenBatch::pad_to(&rows(|key, i| 4 + key.below(i, 61)), 0, 64);
    println!("ready: {} tokens, ragged {}", full.tokens(), ragged.tokens());
    for line in stdin().lock().lines() {
        let start = Instant::now();
        let train = |batch: &TokenBatch, dropout| {
            let embeddings = model.encode(Side::Query, batch, dropout);
            let _gradients = embeddings.sum().backward();
        };
        match line?.as_str() {
            "forward" => drop(inference.encode(Side::Query, &full, None).into_data()),
            "backward" => train(&full, None),
            "dropout" => train(&full, Some(Dropout { key, first_row: 0 })),
            "ragged" => train(&ragged, None),
            other => return Err(format!("no such pass: {other}").into()),
        }
        println!("{}", start.elapsed().as_secs_f64());
    }
    Ok(())
}
