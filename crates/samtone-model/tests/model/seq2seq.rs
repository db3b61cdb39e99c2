//! The encoder-decoder against `transformers`, on tiny random checkpoints
//! (`fixtures/generate_seq2seq.py`), and its folder.

use std::fs;
use std::sync::Arc;

use burn::backend::{Autodiff, Flex, NdArray};
use burn::module::Module;
use burn::optim::GradientsParams;
use burn::tensor::FloatDType;
use burn::tensor::backend::Backend;
use samtone_model::{Decoding, Dropout, Head, Seq2Seq, TextToText};
use samtone_testing::{assert_close, values};
use samtone_text::{Key, TextTokenizer, TokenBatch};

use crate::parity::{expected, fixture};

const MODELS: [&str; 2] = ["seq2seq-v1.0", "seq2seq-v1.1"];

/// What is expected was computed in f64 and stored in f32: in f64 nothing but the storage is between.
const EXACT: f64 = 2e-7;
/// Logits are up to 5 in size. These models magnify rounding: of 40 draws in which torch's f64 had
/// every layer's output moved by up to half a unit of f32's last place, the worst was off by 1.1e-4,
/// and by a whole unit 1.9e-4. Torch's own f32 is off by 7e-5, sums by FMA by 1.2e-4.
const LOGITS_TOLERANCE: f64 = 2e-4;
/// Relative to the largest element of each parameter's gradient. Of 40 draws in which torch's f64 had
/// the output of every map, norm and table moved by up to a unit of f32's last place, the worst was off
/// by 1.45e-4. Torch's own f32 is off by 6e-5, sums by AVX2's tiles by 1.04e-4.
const GRADIENT_TOLERANCE: f64 = 1.5e-4;

/// The generator's batch, padded to `min_seq`.
fn batch(lengths: &[u32], start: u32, min_seq: usize, ends: bool) -> TokenBatch {
    let row = |row: u32, length: u32| -> Vec<u32> {
        let mut ids: Vec<u32> = (0..length).map(|at| 2 + (start + 5 * row + 3 * at) % 21).collect();
        if ends {
            *ids.last_mut().unwrap() = 1;
        }
        ids
    };
    let rows: Vec<Vec<u32>> = lengths.iter().zip(0..).map(|(&n, i)| row(i, n)).collect();
    TokenBatch::pad_to(&rows, 0, min_seq)
}

fn inputs(min_seq: usize) -> TokenBatch {
    batch(&[7, 3, 5, 6], 0, min_seq, false)
}

fn targets(min_seq: usize) -> TokenBatch {
    batch(&[2, 4, 1, 3], 11, min_seq, true)
}

fn open<B: Backend>(name: &str) -> Seq2Seq<B> {
    Seq2Seq::open(&fixture(name), &Default::default()).unwrap()
}

fn check_values<B: Backend>(dtype: FloatDType) {
    let tolerance = if dtype == FloatDType::F64 { 10.0 * EXACT } else { LOGITS_TOLERANCE };
    for name in MODELS {
        let (model, expected) = (open::<B>(name).cast(dtype), expected(name));
        let logits = &expected.get("logits", &[10, 23]).unwrap().values;
        let loss = &expected.get("loss", &[1]).unwrap().values;
        for (inputs, targets) in [(inputs(0), targets(0)), (inputs(11), targets(6))] {
            let got = values(model.logits(&inputs, &targets, None));
            assert_close(name, &got, logits, tolerance);
            let got = values(model.loss_sum(&inputs, &targets, None) / 10.0);
            assert_close(name, &got, loss, tolerance);
        }
    }
}

#[test]
fn logits_and_loss_agree_with_transformers() {
    check_values::<Flex>(FloatDType::F32);
    check_values::<Flex>(FloatDType::F64);
    check_values::<NdArray>(FloatDType::F32);
    check_values::<NdArray>(FloatDType::F64);
}

fn check_gradients<B: Backend>(dtype: FloatDType)
where
    Autodiff<B>: burn::tensor::backend::AutodiffBackend,
{
    let tolerance = if dtype == FloatDType::F64 { 5.0 * EXACT } else { GRADIENT_TOLERANCE };
    for name in MODELS {
        let model = open::<Autodiff<B>>(name).cast(dtype);
        let loss = model.loss_sum(&inputs(0), &targets(5), None) / 10.0;
        let gradients = GradientsParams::from_grads(loss.backward(), &model);
        let expected = expected(name);
        let mut compared = 0;
        model.for_each_gradient(&gradients, |parameter, gradient| {
            let key = format!("gradient.{}", parameter.name);
            let expected = &expected.get(&key, &parameter.shape).unwrap().values;
            let scale = expected.iter().map(|x| f64::from(x.abs())).fold(0.0, f64::max);
            let got = values(gradient.unwrap());
            let what = format!("{name} {}", parameter.name);
            assert_close(&what, &got, expected, tolerance * scale);
            compared += 1;
        });
        assert_eq!(compared, model.parameters().len());
        assert_eq!(model.num_parameters(), model.num_params());
        assert!(model.dead_parameters(&gradients).is_empty());
    }
}

#[test]
fn gradients_of_the_loss_agree_with_transformers() {
    check_gradients::<Flex>(FloatDType::F32);
    check_gradients::<Flex>(FloatDType::F64);
    check_gradients::<NdArray>(FloatDType::F64);
}

fn check_generated<B: Backend>() {
    for name in MODELS {
        let (model, expected) = (open::<B>(name), expected(name));
        for (key, beams) in [("greedy", 1), ("beams", 4)] {
            let width = expected.shape(key).unwrap()[1];
            let rows = expected.get(key, &[4, width]).unwrap().values.chunks(width);
            #[expect(clippy::cast_sign_loss, reason = "token ids are not negative")]
            let ids = |row: &[f32]| row.iter().map(|&id| id as u32).collect();
            // Padding is 0 and the end is 1: a written 0 inside a text stays.
            let rows: Vec<Vec<u32>> = rows
                .map(|row| {
                    let end = row.iter().position(|&id| id == 1.0).unwrap_or(width);
                    ids(&row[..end])
                })
                .collect();
            let lengths: Vec<usize> = rows.iter().map(Vec::len).collect();
            assert!(lengths.iter().any(|&n| n != lengths[0]), "the fixture's texts end together");
            for min_seq in [0, 10] {
                let decoding = Decoding { max_tokens: 8, beams, length_penalty: 1.0 };
                assert_eq!(model.generate(&inputs(min_seq), decoding), rows, "{name} {key}");
            }
        }
    }
}

#[test]
fn generated_ids_agree_with_transformers() {
    check_generated::<Flex>();
    check_generated::<NdArray>();
}

#[test]
fn dropout_is_the_same_on_every_path() {
    // The fused and the portable operations, packed and padded texts: one mask.
    let dropout = Some(Dropout { key: Key::new(3), first_row: 0 });
    for name in MODELS {
        let flex = values(open::<Flex>(name).logits(&inputs(0), &targets(0), dropout));
        let portable = values(open::<NdArray>(name).logits(&inputs(9), &targets(7), dropout));
        let portable: Vec<f32> = portable.into_iter().map(|x| x as f32).collect();
        assert_close(name, &flex, &portable, 1e-4);
        let plain = values(open::<Flex>(name).logits(&inputs(0), &targets(0), None));
        assert!(flex.iter().zip(&plain).any(|(a, b)| (a - b).abs() > 0.1));
    }
}

#[test]
fn a_saved_folder_is_the_model() {
    let device = Default::default();
    let folder = tempfile::tempdir().unwrap();
    let texts = ["a b c d", "b c d e", "a e"];
    let tokenizer = Arc::new(TextTokenizer::train_wordpiece(&texts, 20, true).unwrap());
    for (name, head) in [(MODELS[0], Head::TiedScaled), (MODELS[1], Head::Own)] {
        let model = open::<Flex>(name);
        assert_eq!(model.config().head, head);
        let whole = TextToText::new(model.clone(), tokenizer.clone()).unwrap();
        let path = folder.path().join(name);
        whole.save(&path).unwrap();
        let again = TextToText::<Flex>::open(&path, &device).unwrap();
        assert_eq!(again.model.config(), model.config());
        let logits = |model: &Seq2Seq<Flex>| values(model.logits(&inputs(0), &targets(0), None));
        assert_eq!(logits(&again.model), logits(&model));
        let decoding = Decoding { max_tokens: 3, ..Decoding::default() };
        let answers = |whole: &TextToText<Flex>| whole.answer(&texts, 8, decoding, 2).unwrap();
        assert_eq!(answers(&again), answers(&whole));
        fs::write(path.join("left"), "").unwrap();
        whole.save(&path).unwrap();
        assert!(!path.join("left").exists(), "a folder takes the old one's place");
    }
}

#[test]
fn a_saved_folder_has_the_tokenizer_s_files_as_they_were() {
    let home = tempfile::tempdir().unwrap();
    let (source, saved) = (home.path().join("source"), home.path().join("saved"));
    let tokenizer = TextTokenizer::train_wordpiece(&["a b c d", "b c d e"], 20, true).unwrap();
    TextToText::new(open::<Flex>(MODELS[0]), tokenizer.into()).unwrap().save(&source).unwrap();
    let config =
        r#"{"tokenizer_class": "T5TokenizerFast", "extra_ids": 100, "model_max_length": 99}"#;
    for (name, content) in [
        ("tokenizer_config.json", config),
        ("special_tokens_map.json", r#"{"pad_token":   "[PAD]"}"#),
        ("spiece.model", "sentencepiece's own"),
    ] {
        fs::write(source.join(name), content).unwrap();
    }
    let opened = TextToText::<Flex>::open(&source, &Default::default()).unwrap();
    // A trained one stands in the place of the one that was opened.
    opened.with_model(opened.model.clone()).save(&saved).unwrap();
    let files =
        ["tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "spiece.model"];
    for name in files {
        let [before, after] = [&source, &saved].map(|folder| fs::read(folder.join(name)).unwrap());
        assert_eq!(after, before, "{name}");
    }
}

#[test]
fn a_wrong_tensor_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let error = |from: &str, edit: fn(&str) -> String| {
        for file in ["config.json", "model.safetensors"] {
            fs::copy(fixture(from).join(file), folder.path().join(file)).unwrap();
        }
        let config = folder.path().join("config.json");
        fs::write(&config, edit(&fs::read_to_string(&config).unwrap())).unwrap();
        let opened = Seq2Seq::<Flex>::open(folder.path(), &Default::default());
        opened.unwrap_err().to_string()
    };
    let layers =
        |text: &str| text.replace("\"num_decoder_layers\": 2", "\"num_decoder_layers\": 3");
    let missing = "lacks tensor `decoder.block.2.layer.0.layer_norm.weight`";
    assert!(error(MODELS[0], layers).contains(missing));
    let layers =
        |text: &str| text.replace("\"num_decoder_layers\": 2", "\"num_decoder_layers\": 1");
    assert!(error(MODELS[0], layers).contains("holds tensor `decoder.block.1.layer.0"));
    let wide = |text: &str| text.replace("\"d_kv\": 5", "\"d_kv\": 4");
    assert!(error(MODELS[1], wide).contains("SelfAttention.q.weight"));
    let scaled = |text: &str| {
        text.replace("\"scale_decoder_outputs\": false", "\"scale_decoder_outputs\": true")
    };
    assert!(error(MODELS[1], scaled).contains("`lm_head.weight` differs from `shared.weight`"));
    let bert = |text: &str| text.replace("\"t5\"", "\"bert\"");
    assert!(error(MODELS[0], bert).contains("expected t5 or mt5"));
}
