//! Cross-encoders against sentence-transformers' `CrossEncoder` (`fixtures/generate_cross_encoder.py`).

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

use burn::backend::{Flex, NdArray};
use burn::tensor::backend::Backend;
use samtone_model::{CrossEncoder, ModelError};
use samtone_testing::assert_close;
use serde_json::{Map, Value, json};

use crate::folders::variant_of;
use crate::parity::fixture;

/// The fixtures' scores are near 1 in size and rounded to six digits.
const SCORE_TOLERANCE: f64 = 5e-6;

const CONFIG: &str = "config.json";
const SETTINGS: &str = "config_sentence_transformers.json";
const STAGE: &str = "sentence_bert_config.json";

#[derive(serde::Deserialize)]
struct Fixture {
    pairs: Vec<(String, String)>,
    cases: Vec<Case>,
}

#[derive(serde::Deserialize)]
struct Case {
    name: String,
    files: Map<String, Value>,
    max_tokens: usize,
    scores: Vec<f32>,
}

/// A copy of the fixture's folder with other files.
fn variant(files: &Map<String, Value>) -> (tempfile::TempDir, PathBuf) {
    variant_of("cross-encoder/model", files)
}

fn check_scores<B: Backend>(case: &Case, path: &Path, pairs: &[(String, String)]) {
    let model = CrossEncoder::<B>::open(path, &Default::default()).unwrap();
    assert_eq!(model.max_tokens(), case.max_tokens, "{}", case.name);
    // Alone, a few and all at once.
    for batch_tokens in [1, 60, 4096] {
        let scores = model.score(pairs, batch_tokens).unwrap();
        let scores: Vec<f64> = scores.into_iter().map(f64::from).collect();
        assert_close(&case.name, &scores, &case.scores, SCORE_TOLERANCE);
    }
}

#[test]
fn scores_agree_with_sentence_transformers() {
    let Fixture { pairs, cases } =
        serde_json::from_slice(&fs::read(fixture("cross-encoder/cases.json")).unwrap()).unwrap();
    for case in &cases {
        let (_home, path) = variant(&case.files);
        assert!(CrossEncoder::<Flex>::is_at(&path).unwrap());
        check_scores::<Flex>(case, &path, &pairs);
        check_scores::<NdArray>(case, &path, &pairs);
    }
    assert!(!CrossEncoder::<Flex>::is_at(&fixture("folders/model")).unwrap());
    assert!(!CrossEncoder::<Flex>::is_at(&fixture("nowhere")).unwrap());
}

fn open(path: &Path) -> Result<CrossEncoder<Flex>, ModelError> {
    CrossEncoder::open(path, &Default::default())
}

#[test]
fn no_pair_has_no_score() {
    let model = open(&fixture("cross-encoder/model")).unwrap();
    assert!(model.score::<&str, &str>(&[], 4096).unwrap().is_empty());
}

/// The file of the fixture with one key changed, or with null removed.
fn edited(file: &str, key: &str, value: Value) -> Value {
    let text = fs::read(fixture("cross-encoder/model").join(file)).unwrap();
    let mut content: Value = serde_json::from_slice(&text).unwrap();
    let object = content.as_object_mut().unwrap();
    match value {
        Value::Null => object.remove(key),
        value => object.insert(key.to_owned(), value),
    };
    content
}

#[test]
fn what_would_change_a_score_is_refused_by_name() {
    let check = |file: &str, content: Value, expected: &str| {
        let (_home, path) = variant(&[(file.to_owned(), content)].into_iter().collect());
        let error = open(&path).map(|_| ()).unwrap_err();
        let source = error.source().map(ToString::to_string).unwrap_or_default();
        let message = format!("{error} {source}");
        assert!(message.contains(expected), "{message}");
    };
    let tanh = "torch.nn.modules.activation.Tanh";
    for (file, key, value, expected) in [
        (CONFIG, "architectures", json!(["BertModel"]), "`architectures` = `BertModel`"),
        (CONFIG, "architectures", Value::Null, "`architectures` = ``, expected BertForSeq"),
        (CONFIG, "model_type", json!("roberta"), "`model_type` = `roberta`, expected bert"),
        (CONFIG, "id2label", json!({ "0": "a", "1": "b" }), "`id2label` = `2 labels`"),
        (CONFIG, "id2label", Value::Null, "`num_labels` = `2 labels, by default`"),
        (CONFIG, "num_labels", json!(3), "`num_labels` = `3 labels`, expected one label"),
        (CONFIG, "hidden_act", json!("mish"), "`hidden_act` = `mish`"),
        (CONFIG, "sentence_transformers", json!({ "scale": 2 }), "a key `scale`"),
        (SETTINGS, "activation_fn", json!(tanh), "`activation_fn` = `torch.nn.modules.activ"),
        (SETTINGS, "activation_fn", json!("mine.Sigmoid"), "`activation_fn` = `mine.Sigmoid`"),
        (SETTINGS, "model_type", json!("SparseEncoder"), "`model_type` = `SparseEncoder`"),
        (SETTINGS, "default_prompt_name", json!("ask"), "`default_prompt_name` = `ask`"),
        (SETTINGS, "scale", json!(2), "a key `scale`"),
        (STAGE, "transformer_task", json!("fill-mask"), "`transformer_task` = `fill-mask`"),
        (STAGE, "module_output_name", json!("token_embeddings"), "expected scores"),
        (STAGE, "stride", json!(1), "unknown field `stride`"),
    ] {
        check(file, edited(file, key, value), expected);
    }
    let older = json!({ "activation_fn": tanh });
    let (_home, path) = variant(&Map::from_iter([
        (SETTINGS.to_owned(), Value::Null),
        (CONFIG.to_owned(), edited(CONFIG, "sentence_transformers", older)),
    ]));
    let message = open(&path).map(|_| ()).unwrap_err().to_string();
    assert!(message.contains("`sentence_transformers.activation_fn` = `torch"), "{message}");
    let prompted = json!({ "prompts": { "ask": "ask: " }, "default_prompt_name": "ask" });
    check(SETTINGS, prompted, "`default_prompt_name` = `ask`, expected no prompt");
    let stage = |kind: &str| json!({ "path": "", "type": format!("sentence_transformers.{kind}") });
    check("modules.json", json!([stage("Transformer"), stage("Dense")]), "`Transformer, Dense`");
    let cut = json!({ "truncation_side": "left" });
    check("tokenizer_config.json", cut, "`truncation_side` = `left`");
    check(CONFIG, edited(CONFIG, "num_hidden_layers", json!(1)), "holds tensor `encoder.layer.1");
    check(CONFIG, edited(CONFIG, "hidden_size", json!(4)), "expected [");
}
