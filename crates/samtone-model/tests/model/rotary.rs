//! Rotary encoders and BERT's kin beyond what tiny fixtures show: long texts, and folders written again.

use burn::backend::{Autodiff, Flex};
use burn::optim::GradientsParams;
use burn::tensor::FloatDType;
use samtone_model::{
    BertConfig, BertKin, Checkpoint, Dropout, DualEncoder, EncoderConfig, ModelFolder, Pooling,
    Retriever, RotaryConfig, RotaryKin, RotaryScaling, Sharing, Side, SideSettings,
};
use samtone_testing::model::{config, fixture_batch, gradients};
use samtone_testing::{assert_close, assert_close_to_scale, values, weighed_sum};
use samtone_text::{Key, TextTokenizer, TokenBatch};
use serde_json::json;

use crate::dual_encoder::check_layers;
use crate::parity::{OTHER_ENCODERS, fixture};

/// Two layers, the second of which sees no further than `window`.
fn rotary(kin: RotaryKin, is_causal: bool, window: Option<usize>) -> EncoderConfig {
    EncoderConfig::Rotary(RotaryConfig {
        kin,
        vocab_size: 30,
        hidden: 8,
        layers: 2,
        heads: 4,
        kv_heads: 2,
        head_dim: 4,
        intermediate: 12,
        max_positions: 800,
        attention_dropout: 0.2,
        is_causal,
        window,
        global_every: 2,
        ..RotaryConfig::default()
    })
}

/// Two layers that see everything.
fn bert(kin: BertKin) -> EncoderConfig {
    EncoderConfig::Bert(BertConfig {
        kin,
        vocab_size: 30,
        hidden: 8,
        layers: 2,
        heads: 2,
        intermediate: 12,
        max_positions: 800,
        token_types: 0,
        attention_dropout: 0.0,
        ..BertConfig::default()
    })
}

/// Texts longer than a block of queries, of which the first has `longest` tokens.
fn long_batch(longest: u32) -> TokenBatch {
    let row = |length: u32| (0..length).map(|at| 1 + at * at % 29).collect();
    TokenBatch::pad(&[longest, 5, 129].map(row) as &[Vec<u32>], 0)
}

/// Tokens beyond one block of keys.
const BEYOND: u32 = 520;

#[test]
fn a_long_text_goes_back_block_by_block() {
    let dropout = Some(Dropout { key: Key::new(3), first_row: 0 });
    for encoder in [rotary(RotaryKin::Gemma3, true, Some(40)), bert(BertKin::Mpnet)] {
        let config = config(encoder, Sharing::Sde, Pooling::Mean);
        let model = DualEncoder::init(&config, 1, &Default::default()).unwrap();
        let model = model.cast(FloatDType::F64);
        check_layers(&model, (Side::Query, long_batch(BEYOND)), dropout, BLOCK_TOLERANCE);
    }
}

/// Sums over hundreds of tokens in f64.
const BLOCK_TOLERANCE: f64 = 1e-9;

/// Sums over hundreds of tokens, rounded in f32.
const LONG_TOLERANCE: f64 = 2e-5;

#[test]
fn a_long_text_is_the_same_block_by_block() {
    type B = Autodiff<Flex>;
    let dropout = Some(Dropout { key: Key::new(3), first_row: 0 });
    for (longest, encoder) in [
        (300, rotary(RotaryKin::ModernBert, false, Some(3))),
        (300, rotary(RotaryKin::ModernBert, false, Some(150))),
        (300, rotary(RotaryKin::Gemma3, true, Some(7))),
        (300, bert(BertKin::JinaBert)),
        (BEYOND, rotary(RotaryKin::ModernBert, true, Some(515))),
        (BEYOND, rotary(RotaryKin::Qwen3, true, None)),
        (BEYOND, bert(BertKin::Mpnet)),
    ] {
        let what = format!("{encoder:?}");
        let config = config(encoder, Sharing::Sde, Pooling::Mean);
        let run = |model: &DualEncoder<B>| {
            let embeddings = model.encode(Side::Query, &long_batch(longest), dropout);
            let graph = weighed_sum(embeddings.clone()).backward();
            let found = gradients(model, &GradientsParams::from_grads(graph, model));
            (values(embeddings), found)
        };
        let model = DualEncoder::<B>::init(&config, 1, &Default::default()).unwrap();
        let (fused, of_fused) = run(&model);
        // In f64 the plain operations compute it, with one mask for all.
        let (plain, of_plain) = run(&model.cast(FloatDType::F64));
        assert_close(&what, &fused, &plain, LONG_TOLERANCE);
        for ((path, fused), (_, plain)) in of_fused.iter().zip(&of_plain) {
            assert_close_to_scale(&format!("{what} {path}"), fused, plain, LONG_TOLERANCE);
        }
    }
}

#[test]
fn a_local_layer_sees_no_further_than_its_window() {
    // Both layers are local.
    let EncoderConfig::Rotary(rotary) = rotary(RotaryKin::ModernBert, false, Some(2)) else {
        unreachable!()
    };
    let encoder = EncoderConfig::Rotary(RotaryConfig { global_every: 0, ..rotary });
    let config = config(encoder, Sharing::Sde, Pooling::Mean);
    let model = DualEncoder::<Flex>::init(&config, 1, &Default::default()).unwrap();
    let states = |first: u32| {
        let row: Vec<u32> = std::iter::once(first).chain(2..9).collect();
        values(model.token_states(Side::Query, &TokenBatch::pad(&[row], 0), None))
    };
    let differs: Vec<bool> =
        states(20).chunks(8).zip(states(21).chunks(8)).map(|(a, b)| a != b).collect();
    // Two layers reach twice as far.
    assert_eq!(differs, [true, true, true, true, true, false, false, false]);
}

/// A window that holds the whole text changes nothing.
#[test]
fn angles_are_stretched_in_local_layers_as_in_global_ones() {
    let embeddings = |window: Option<usize>| {
        let EncoderConfig::Rotary(rotary) = rotary(RotaryKin::Mistral, true, window) else {
            unreachable!()
        };
        let encoder = EncoderConfig::Rotary(RotaryConfig {
            global_every: usize::from(window.is_none()),
            local_rotary_base: rotary.rotary_base,
            rotary_scaling: Some(RotaryScaling::Linear { factor: 4.0 }),
            ..rotary
        });
        let config = config(encoder, Sharing::Sde, Pooling::Mean);
        let model = DualEncoder::<Flex>::init(&config, 1, &Default::default()).unwrap();
        values(model.encode(Side::Query, &fixture_batch(1, 12), None))
    };
    assert_eq!(embeddings(Some(50)), embeddings(None));
}

#[test]
fn a_norm_starts_with_a_factor_of_one() {
    for (kin, first) in [(RotaryKin::Gemma3, 0.0), (RotaryKin::Qwen3, 1.0)] {
        let config = config(rotary(kin, true, None), Sharing::Sde, Pooling::Mean);
        let model = DualEncoder::<Flex>::init(&config, 1, &Default::default()).unwrap();
        let mut norms = 0;
        model.for_each_parameter(|parameter, x| {
            if parameter.is_norm {
                norms += 1;
                assert!(values(x).iter().all(|&x| x == first), "{kin:?} {}", parameter.name);
            }
        });
        assert!(norms > 4, "{kin:?}");
    }
}

/// A tokenizer as transformers reads every `qwen2`'s.
fn of_qwen2() -> TextTokenizer {
    let words = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
    let file = json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": [],
        "normalizer": { "type": "NFC" },
        "pre_tokenizer": { "type": "Sequence", "pretokenizers": [
            { "type": "Split", "pattern": { "Regex": words }, "behavior": "Isolated",
                "invert": false },
            { "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": false,
                "use_regex": false }] },
        "post_processor": null, "decoder": null,
        "model": { "type": "BPE", "vocab": { "a": 0, "b": 1 }, "merges": [] },
    });
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("tokenizer.json");
    std::fs::write(&path, file.to_string()).unwrap();
    TextTokenizer::from_file(&path).unwrap()
}

#[test]
fn a_saved_folder_has_the_source_s_names_and_states() {
    let of_words = || TextTokenizer::train_wordpiece(&["a b", "ab"], 9, true).unwrap();
    for name in OTHER_ENCODERS {
        let source = fixture(name);
        let model: DualEncoder<Flex> =
            ModelFolder::open(&source).unwrap().load(0, &Default::default()).unwrap();
        let settings = || [SideSettings::default(), SideSettings::default()];
        let is_qwen2 = name == "encoders/qwen2";
        if is_qwen2 {
            let error = Retriever::new(model.clone(), of_words(), settings()).unwrap_err();
            assert!(error.to_string().contains("by its `Qwen2Tokenizer`"), "{error}");
        }
        let tokenizer = if is_qwen2 { of_qwen2() } else { of_words() };
        let retriever = Retriever::new(model, tokenizer, settings()).unwrap();
        let home = tempfile::tempdir().unwrap();
        let saved = home.path().join("model");
        retriever.save(&saved).unwrap();

        let states = |model: &DualEncoder<Flex>| {
            values(model.token_states(Side::Query, &fixture_batch(0, 0), None))
        };
        let again = ModelFolder::open(&saved).unwrap().load(0, &Default::default()).unwrap();
        assert_eq!(states(&again), states(&retriever.model), "{name}");

        let names = |folder: &std::path::Path| {
            let file = folder.join("model.safetensors");
            let checkpoint = Checkpoint::read_file(&file, |name| {
                name == "lm_head.weight" || name.starts_with("pooler.")
            });
            let checkpoint = checkpoint.unwrap();
            let named = checkpoint.names().map(|name| {
                let bare = name.strip_prefix("model.").or(name.strip_prefix("new."));
                (bare.unwrap_or(name).to_owned(), checkpoint.shape(name).unwrap().to_vec())
            });
            named.collect::<std::collections::BTreeMap<_, _>>()
        };
        if name != "encoders/nomic-renamed" {
            assert_eq!(names(&saved), names(&source), "{name}");
        }
        let model_type = |folder: &std::path::Path| {
            let text = std::fs::read_to_string(folder.join("config.json")).unwrap();
            let keys: serde_json::Value = serde_json::from_str(&text).unwrap();
            keys["model_type"].clone()
        };
        assert_eq!(model_type(&saved), model_type(&source), "{name}");
    }
}
