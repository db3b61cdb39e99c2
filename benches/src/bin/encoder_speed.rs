//! Times one pass of an encoder of a known shape and random weights, on request.
//!
//! `encoder_speed [SHAPE [TEXTS [TOKENS [PRECISION]]]]`: `minilm` (the default; 32 texts of 64
//! tokens), `mpnet`, `modernbert` or `qwen3` (8 of 128); `f32` or `bf16`, which is what the layers
//! compute in. In bf16 a backward pass begins with f32 weights and ends with f32 gradients, as in
//! training; a forward pass alone finds its weights in bf16.
//!
//! Reads lines from stdin and answers each with the pass's seconds: `forward` and `backward`
//! (forward and backward) on texts of one length, `dropout` (backward with dropout), and `ragged`
//! (backward on texts of 4 tokens and more padded to that length). `benches/peers/encoder.py`
//! alternates it with PyTorch.

use std::io::{BufRead, stdin};
use std::time::Instant;

use burn::backend::{Autodiff, Flex};
use burn::module::AutodiffModule;
use samtone_model::{
    BertConfig, BertKin, Dropout, DualEncoder, DualEncoderConfig, EncoderConfig, Precision,
    RotaryConfig, RotaryKin, Side,
};
use samtone_text::{Key, TokenBatch};

fn shape(name: &str) -> Option<EncoderConfig> {
    Some(match name {
        "minilm" => EncoderConfig::default(),
        "mpnet" => EncoderConfig::Bert(BertConfig {
            kin: BertKin::Mpnet,
            vocab_size: 30_527,
            hidden: 768,
            layers: 12,
            intermediate: 3072,
            max_positions: 514,
            position_offset: 2,
            token_types: 0,
            norm_eps: 1e-5,
            ..BertConfig::default()
        }),
        "modernbert" => EncoderConfig::Rotary(RotaryConfig::default()),
        "qwen3" => EncoderConfig::Rotary(RotaryConfig {
            kin: RotaryKin::Qwen3,
            vocab_size: 151_669,
            hidden: 1024,
            layers: 28,
            heads: 16,
            kv_heads: 8,
            head_dim: 128,
            intermediate: 3072,
            max_positions: 32_768,
            activation: samtone_model::Activation::Silu,
            norm_eps: 1e-6,
            is_causal: true,
            window: None,
            rotary_base: 1e6,
            ..RotaryConfig::default()
        }),
        _ => return None,
    })
}

#[expect(clippy::print_stdout, reason = "the answers are its purpose")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    samtone_model::keep_freed_memory();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let name = arguments.first().map_or("minilm", String::as_str);
    let encoder = shape(name).ok_or_else(|| format!("no such shape: {name}"))?;
    let number = |at: usize, absent: usize| arguments.get(at).map_or(Ok(absent), |n| n.parse());
    let (texts, tokens) = if name == "minilm" { (32, 64) } else { (8, 128) };
    let (texts, tokens) = (number(1, texts)?, number(2, tokens)?);
    let precision = match arguments.get(3).map_or("f32", String::as_str) {
        "f32" => Precision::F32,
        "bf16" => Precision::Bf16,
        other => return Err(format!("no such precision: {other}").into()),
    };
    let config = DualEncoderConfig { encoder, ..DualEncoderConfig::default() };
    let model = DualEncoder::<Autodiff<Flex>>::init(&config, 1, &Default::default())?;
    let inference = model.valid().compute_in(precision);
    let key = Key::new(1);
    let rows = |length: &dyn Fn(u64) -> usize| -> Vec<Vec<u32>> {
        let word = |text: u64, at: usize| key.below(4096 * text + at as u64, 30_000) as u32;
        (0..texts as u64).map(|i| (0..length(i)).map(|at| word(i, at)).collect()).collect()
    };
    let full = TokenBatch::pad(&rows(&|_| tokens), 0);
    let ragged = rows(&|text| 4 + key.below(text, tokens - 3));
    let ragged = TokenBatch::pad_to(&ragged, 0, tokens);
    println!("ready: {} tokens, ragged {}", full.tokens(), ragged.tokens());
    for line in stdin().lock().lines() {
        let start = Instant::now();
        let train = |batch: &TokenBatch, dropout| {
            // As in training: the layers' copy is made anew for every step.
            let model = model.clone().compute_in(precision);
            let _gradients = model.encode(Side::Query, batch, dropout).sum().backward();
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
