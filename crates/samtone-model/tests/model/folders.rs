//! Model folders: what is saved is what was there, and what is broken is named.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use burn::backend::{Flex, NdArray};
use burn::tensor::backend::Backend;
use samtone_model::{
    BertConfig, Checkpoint, DenseActivation, DenseLayer, DenseLayers, DualEncoder,
    DualEncoderConfig, EncoderConfig, ModelError, ModelFolder, Pooling, Retriever, Sharing, Side,
    SideSettings, Similarity, T5Config,
};
use samtone_testing::assert_close;
use samtone_testing::model::one_layer_bert;
use samtone_text::{DocumentText, TextTokenizer};
use serde_json::{Map, Value, json};

use crate::parity::fixture;

const TEXTS: [&str; 4] = ["a well holds water", "water runs", "a well runs dry", "dry"];

fn encoders() -> [EncoderConfig; 2] {
    [
        EncoderConfig::Bert(BertConfig { vocab_size: 70, ..one_layer_bert() }),
        EncoderConfig::T5(T5Config {
            vocab_size: 70,
            hidden: 8,
            layers: 1,
            heads: 2,
            head_dim: 4,
            intermediate: 12,
            ..T5Config::default()
        }),
    ]
}

fn retriever<B: Backend>(
    encoder: EncoderConfig,
    sharing: Sharing,
    projection: Option<usize>,
) -> Retriever<B> {
    let projection = projection.map(DenseLayers::from);
    let config = DualEncoderConfig {
        encoder,
        sharing,
        projection,
        pooling: Pooling::Last,
        ..Default::default()
    };
    retriever_of(&config)
}

fn retriever_of<B: Backend>(config: &DualEncoderConfig) -> Retriever<B> {
    let model = DualEncoder::init(config, 3, &Default::default()).unwrap();
    let tokenizer = TextTokenizer::train_wordpiece(&TEXTS, 60, true).unwrap();
    let settings = [
        SideSettings { prompt: "water ".into(), max_tokens: Some(6) },
        SideSettings { prompt: String::new(), max_tokens: Some(12) },
    ];
    let mut retriever = Retriever::new(model, tokenizer, settings).unwrap();
    retriever.temperature = Some(0.037);
    retriever
}

/// Every file below `folder` with its bytes.
fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() {
            let inner = files(&path).into_iter();
            found.extend(inner.map(|(inside, bytes)| (format!("{name}/{inside}"), bytes)));
        } else {
            found.insert(name, fs::read(&path).unwrap());
        }
    }
    found
}

#[test]
fn saving_then_loading_is_the_identity() {
    for encoder in encoders() {
        // Adapters are saved on a base alone (`adapters`).
        for sharing in Sharing::ALL.into_iter().filter(|&it| it != Sharing::AdeAdapter) {
            for projection in [None, Some(5)] {
                let home = tempfile::tempdir().unwrap();
                let [first, second] = ["first", "second"].map(|name| home.path().join(name));
                let saved = retriever::<Flex>(encoder.clone(), sharing, projection);
                saved.save(&first).unwrap();
                // On another backend the embeddings agree to rounding; the weights to the bit.
                let loaded = Retriever::<NdArray>::open(&first, &Default::default()).unwrap();
                loaded.save(&second).unwrap();
                assert_eq!(files(&first), files(&second));
                let loaded = Retriever::<Flex>::open(&first, &Default::default()).unwrap();
                assert_eq!(loaded.model.config(), saved.model.config());
                assert_eq!(loaded.model.num_parameters(), saved.model.num_parameters());
                assert_eq!(loaded.temperature, saved.temperature);
                for side in Side::ALL {
                    assert_eq!(loaded.prompt(side), saved.prompt(side));
                    assert_eq!(loaded.max_tokens(side), saved.max_tokens(side));
                    let embed = |r: &Retriever<Flex>| r.encode_texts(side, &TEXTS).unwrap();
                    assert_eq!(embed(&loaded), embed(&saved));
                }
            }
        }
    }
}

#[test]
fn a_router_holds_the_same_towers() {
    for sharing in [Sharing::Sde, Sharing::AdeSpl] {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("router");
        let [bert, _] = encoders();
        let saved = retriever::<Flex>(bert, sharing, Some(5));
        saved.save_router(&path).unwrap();
        let loaded = Retriever::<Flex>::open(&path, &Default::default()).unwrap();
        assert_eq!(loaded.model.config(), saved.model.config());
        for side in Side::ALL {
            assert_eq!(loaded.prompt(side), saved.prompt(side));
            let embed = |r: &Retriever<Flex>| r.encode_texts(side, &TEXTS).unwrap();
            assert_eq!(embed(&loaded), embed(&saved));
        }
    }
}

#[test]
fn one_checkpoint_starts_two_towers_and_a_projection() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("model");
    let [bert, _] = encoders();
    retriever::<Flex>(bert, Sharing::Sde, None).save(&path).unwrap();
    let mut folder = ModelFolder::open(&path).unwrap();
    folder.config.sharing = Sharing::AdeSpl;
    folder.config.projection = Some(3.into());
    let retriever = Retriever::<Flex>::load(&folder, 5, &Default::default()).unwrap();
    assert_eq!(retriever.dim(), 3);
    // The same weights and the same projection: only the prompt tells the towers apart.
    let rows = retriever.tokenize(Side::Document, &TEXTS).unwrap();
    let [query, document] = Side::ALL.map(|side| retriever.encode_tokens(side, &rows, 100));
    assert_eq!(query, document);
}

/// What a folder brings may be trained in two towers, shared or not, and is written as it came.
#[test]
fn dense_layers_of_a_folder_are_kept_in_two_towers() {
    let files = fs::read_to_string(fixture("folders/cases.json")).unwrap();
    let Variants { texts, cases } = serde_json::from_str(&files).unwrap();
    let case = cases.iter().find(|case| case.name == "two dense layers").unwrap();
    for (sharing, of_query) in [(Sharing::AdeSpl, true), (Sharing::Ade, false)] {
        let (home, path) = variant(&case.files);
        let mut folder = ModelFolder::open(&path).unwrap();
        folder.config.sharing = sharing;
        let two = Retriever::<Flex>::load(&folder, 0, &Default::default()).unwrap();
        let names = two.model.parameters().iter().map(|p| p.path.as_str());
        let shared = names.filter(|name| name.starts_with("shared.projection.")).count();
        assert_eq!(shared, if of_query { 4 } else { 0 });
        let saved = home.path().join("saved");
        two.save(&saved).unwrap();
        for side in ["query", "document"] {
            for file in ["2_Dense/model.safetensors", "3_Dense/model.safetensors"] {
                let again = fs::read(saved.join(side).join(file)).unwrap();
                let tensors = |bytes| {
                    let path = home.path().join("one.safetensors");
                    fs::write(&path, bytes).unwrap();
                    let read = Checkpoint::read_file(&path, |_| false).unwrap();
                    let shape = |name| read.shape(name).unwrap().to_vec();
                    ["linear.weight", "linear.bias"]
                        .map(|name| read.get(name, &shape(name)).unwrap().clone())
                };
                assert_eq!(tensors(again), tensors(fs::read(path.join(file)).unwrap()));
            }
        }
        let again = Retriever::<Flex>::open(&saved, &Default::default()).unwrap();
        let embed = |side| again.encode_texts(side, &texts).unwrap();
        let widened = |values: &[f32]| values.iter().copied().map(f64::from).collect::<Vec<_>>();
        for (side, expected) in [(Side::Query, &case.query), (Side::Document, &case.document)] {
            assert_close("saved", &widened(&embed(side)), &expected.concat(), EMBEDDING_TOLERANCE);
        }
    }
}

#[test]
fn another_projection_than_the_folders_is_refused() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("model");
    let [bert, _] = encoders();
    retriever::<Flex>(bert, Sharing::Sde, Some(5)).save(&path).unwrap();
    let load = |projection: Option<DenseLayers>| {
        let mut folder = ModelFolder::open(&path).unwrap();
        folder.config.projection = projection;
        folder.load::<Flex>(0, &Default::default()).map(|_| ())
    };
    load(Some(5.into())).unwrap();
    for (asked, expected) in [
        (Some(3.into()), "to 5 dimensions, and another, to 3, was asked for"),
        (None, "to 5 dimensions, and none was asked for"),
    ] {
        let error = load(asked).unwrap_err();
        assert!(error.to_string().ends_with(expected), "{error}");
        assert!(error.hint().unwrap().contains("leave `projection` out"));
    }
    let bias = vec![DenseLayer { dim: 5, bias: true, activation: DenseActivation::Identity }];
    assert!(load(Some(bias.into())).is_err());
}

/// Saves two towers, lets `edit` change the folder, and gives the error of opening it.
fn broken(sharing: Sharing, edit: impl Fn(&Path)) -> ModelError {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("model");
    let [bert, _] = encoders();
    retriever::<Flex>(bert, sharing, Some(5)).save(&path).unwrap();
    edit(&path);
    Retriever::<Flex>::open(&path, &Default::default()).map(|_| ()).unwrap_err()
}

#[test]
fn towers_that_should_share_but_differ_are_refused() {
    let error = broken(Sharing::AdeSpl, |path| {
        let other = tempfile::tempdir().unwrap();
        let other = other.path().join("model");
        let [bert, _] = encoders();
        let config = DualEncoderConfig {
            encoder: bert,
            sharing: Sharing::Sde,
            projection: Some(5.into()),
            pooling: Pooling::Last,
            ..Default::default()
        };
        let model = DualEncoder::<Flex>::init(&config, 4, &Default::default()).unwrap();
        let tokenizer = TextTokenizer::train_wordpiece(&TEXTS, 60, true).unwrap();
        Retriever::new(model, tokenizer, Default::default()).unwrap().save(&other).unwrap();
        let weights = "2_Dense/model.safetensors";
        fs::copy(other.join(weights), path.join("query").join(weights)).unwrap();
    });
    let message = error.to_string();
    assert!(message.starts_with("tensor `projection.weight` should be shared, but"), "{message}");
    assert!(message.ends_with("differ at element 0"), "{message}");
}

#[test]
fn what_is_wrong_with_a_folder_is_named() {
    let replace = |file: &'static str, from: &'static str, to: &'static str| {
        move |path: &Path| {
            let text = fs::read_to_string(path.join(file)).unwrap();
            assert!(text.contains(from), "{file} lacks {from}");
            fs::write(path.join(file), text.replace(from, to)).unwrap();
        }
    };
    let check = |edit: &dyn Fn(&Path), expected: &str| {
        let message = broken(Sharing::Sde, edit).to_string();
        assert!(message.contains(expected), "{message}");
    };
    let bigger = replace("config.json", "\"intermediate_size\": 12", "\"intermediate_size\": 13");
    check(&bigger, "tensor `encoder.layer.0.intermediate.dense.weight` of `");
    check(&bigger, "has shape [12, 8], expected [13, 8]");
    let deeper = replace("config.json", "\"num_hidden_layers\": 1", "\"num_hidden_layers\": 2");
    check(&deeper, "lacks tensor `encoder.layer.1.attention.self.query.weight`");
    let flatter = replace("config.json", "\"num_hidden_layers\": 1", "\"num_hidden_layers\": 0");
    check(&flatter, "holds tensor `encoder.layer.0.attention.output.LayerNorm.bias` of shape [8]");
    let dense = replace("2_Dense/config.json", "\"bias\": false", "\"bias\": true");
    check(&dense, "lacks tensor `linear.bias`, expected of shape [5]");
    let none = replace("2_Dense/config.json", "linear.Identity", "activation.Softmax");
    check(&none, "expected torch.nn's Identity, Tanh, ReLU, GELU, SiLU or Sigmoid");
    let pooling = "1_Pooling/config.json";
    let none =
        replace(pooling, "\"pooling_mode_lasttoken\": true", "\"pooling_mode_lasttoken\": false");
    check(&none, "has `pooling_mode` = ``, expected one or more of cls, max, mean");
    let odd = replace(pooling, "pooling_mode_max_tokens\": false", "pooling_mode_odd\": true");
    check(&odd, "pooling_mode_lasttoken + pooling_mode_odd");
    let odd = replace("modules.json", "models.Normalize", "models.WordWeights");
    check(&odd, "sentence_transformers.models.WordWeights");
    let outside = replace("modules.json", "\"1_Pooling\"", "\"../1_Pooling\"");
    check(&outside, "has `path` = `../1_Pooling`, expected a folder inside the model's");
    check(&replace("modules.json", "[", "{"), "cannot read `");
    check(&replace("samtone.json", "\"sde\"", "\"both\""), "cannot read `");
    check(&|path| fs::remove_file(path.join("tokenizer.json")).unwrap(), "tokenizer.json");
    check(&|path| fs::remove_file(path.join("model.safetensors")).unwrap(), "model.safetensors");
}

#[test]
fn a_tokenizer_larger_than_the_model_is_refused() {
    let [bert, _] = encoders();
    let mut config = DualEncoderConfig { encoder: bert, ..DualEncoderConfig::default() };
    config.encoder.set_vocab_size(10);
    let model = DualEncoder::<Flex>::init(&config, 4, &Default::default()).unwrap();
    let tokenizer = TextTokenizer::train_wordpiece(&TEXTS, 60, true).unwrap();
    let tokens = tokenizer.vocab_size();
    let error = Retriever::new(model, tokenizer, Default::default()).map(|_| ()).unwrap_err();
    let expected = format!("has id {}, and the model has embeddings for 10", tokens - 1);
    assert!(error.to_string().ends_with(&expected), "{error}");
}

#[test]
fn a_token_that_only_some_texts_spell_out_may_be_larger() {
    let file = fs::read(fixture("folders/model/tokenizer.json")).unwrap();
    let mut tokenizer: Value = serde_json::from_slice(&file).unwrap();
    tokenizer["added_tokens"].as_array_mut().unwrap().push(json!({
        "id": 77, "content": "<image>", "single_word": false, "lstrip": false, "rstrip": false,
        "normalized": false, "special": true
    }));
    let files = [("tokenizer.json".to_owned(), tokenizer)].into_iter().collect();
    let (_home, path) = variant(&files);
    let retriever = Retriever::<Flex>::open(&path, &Default::default()).unwrap();
    assert!(retriever.encode_texts(Side::Query, &["the old mill"]).is_ok());
    let error = retriever.encode_texts(Side::Query, &["the <image>"]).unwrap_err().to_string();
    assert!(error.starts_with("the token \"<image>\" has id 77"), "{error}");
}

/// A copy of the fixture's folder with other files.
fn variant(files: &Map<String, Value>) -> (tempfile::TempDir, PathBuf) {
    variant_of("folders/model", files)
}

/// A copy of a fixture's folder with other files; null: without the file.
pub(crate) fn variant_of(model: &str, files: &Map<String, Value>) -> (tempfile::TempDir, PathBuf) {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("model");
    copy_folder(&fixture(model), &path);
    for (name, content) in files {
        match content {
            Value::Null => fs::remove_file(path.join(name)).unwrap(),
            Value::String(weights) => {
                fs::create_dir_all(path.join(name).parent().unwrap()).unwrap();
                fs::copy(fixture("folders").join(weights), path.join(name)).unwrap();
            }
            content => {
                fs::create_dir_all(path.join(name).parent().unwrap()).unwrap();
                fs::write(path.join(name), content.to_string()).unwrap();
            }
        }
    }
    (home, path)
}

pub(crate) fn copy_folder(from: &Path, to: &Path) {
    for (name, content) in files(from) {
        let path = to.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
}

/// Embeddings of length near 1, of which sentence-transformers' are rounded to six digits.
const EMBEDDING_TOLERANCE: f64 = 5e-6;

/// What `fixtures/generate_folders.py` wrote.
#[derive(serde::Deserialize)]
struct Variants {
    texts: Vec<String>,
    cases: Vec<Variant>,
}

#[derive(serde::Deserialize)]
struct Variant {
    name: String,
    files: Map<String, Value>,
    similarity: Similarity,
    query: Vec<Vec<f32>>,
    document: Vec<Vec<f32>>,
}

#[test]
fn folders_are_read_as_sentence_transformers_reads_them_and_written_back() {
    let cases = fs::read_to_string(fixture("folders/cases.json")).unwrap();
    let Variants { texts, cases } = serde_json::from_str(&cases).unwrap();
    for case in &cases {
        let (home, path) = variant(&case.files);
        let retriever = Retriever::<Flex>::open(&path, &Default::default()).unwrap();
        let [again, router] = ["again", "router"].map(|name| home.path().join(name));
        retriever.save(&again).unwrap();
        retriever.save_router(&router).unwrap();
        let portable = Retriever::<NdArray>::open(&path, &Default::default()).unwrap();
        for (side, expected) in [(Side::Query, &case.query), (Side::Document, &case.document)] {
            let name = format!("{}, {}", case.name, side.name());
            let got = retriever.encode_texts(side, &texts).unwrap();
            let widened =
                |values: &[f32]| values.iter().copied().map(f64::from).collect::<Vec<_>>();
            assert_close(&name, &widened(&got), &expected.concat(), EMBEDDING_TOLERANCE);
            let portable = portable.encode_texts(side, &texts).unwrap();
            assert_close(&name, &widened(&portable), &expected.concat(), EMBEDDING_TOLERANCE);
            for path in [&again, &router] {
                let again = Retriever::<Flex>::open(path, &Default::default()).unwrap();
                assert_eq!(again.encode_texts(side, &texts).unwrap(), got, "{name}");
                assert_eq!(again.similarity, case.similarity, "{name}");
                assert_eq!(again.include_prompt(), retriever.include_prompt(), "{name}");
                assert_eq!(again.max_tokens(side), retriever.max_tokens(side), "{name}");
                assert!(!ModelFolder::open(path).unwrap().lowercase, "{name}");
            }
        }
    }
}

#[test]
fn prompts_nobody_reads_are_kept_and_named() {
    let prompts = json!({ "passage": "p: ", "clustering": "c: ", "query": "q: " });
    let file = "config_sentence_transformers.json";
    let settings = json!({ "prompts": prompts, "default_prompt_name": "clustering" });
    let (home, path) = variant(&[(file.to_owned(), settings)].into_iter().collect());
    let mut folder = ModelFolder::open(&path).unwrap();
    let [unread] = &folder.remarks()[..] else { panic!("{:?}", folder.remarks()) };
    assert!(unread.contains("not read: `clustering`, `passage`;"), "{unread}");
    folder.document.prompt = "d: ".into();
    let saved = |sharing, file: &str| -> Value {
        let mut folder = folder.clone();
        folder.config.sharing = sharing;
        let retriever = Retriever::<Flex>::load(&folder, 0, &Default::default()).unwrap();
        let path = home.path().join("saved");
        retriever.save(&path).unwrap();
        serde_json::from_slice(&fs::read(path.join(file)).unwrap()).unwrap()
    };
    let both = saved(Sharing::Sde, file);
    let expected =
        json!({ "passage": "p: ", "clustering": "c: ", "query": "q: ", "document": "d: " });
    assert_eq!(both["prompts"], expected);
    assert_eq!(both["default_prompt_name"], "clustering");
    let document = saved(Sharing::Ade, "document/config_sentence_transformers.json");
    let expected = json!({ "passage": "p: ", "clustering": "c: ", "document": "d: " });
    assert_eq!(document["prompts"], expected);
}

#[test]
fn an_encoder_alone_is_said_to_be_one() {
    let remarks = |path: &Path| ModelFolder::open(path).unwrap().remarks();
    let files = [("modules.json".to_owned(), Value::Null)].into_iter().collect();
    let (_home, alone) = variant(&files);
    let [remark] = &remarks(&alone)[..] else { panic!("{:?}", remarks(&alone)) };
    assert!(remark.contains("pooled by their mean and normalized"), "{remark}");
    assert_eq!(remarks(&fixture("folders/model")), [""; 0]);
}

#[test]
fn what_a_sentence_transformers_file_says_is_honoured_or_refused() {
    let check = |file: &str, content: Value, expected: &str| {
        let (_home, path) = variant(&[(file.to_owned(), content)].into_iter().collect());
        let error = Retriever::<Flex>::open(&path, &Default::default()).map(|_| ()).unwrap_err();
        let source = std::error::Error::source(&error).map(ToString::to_string);
        let message = format!("{error} {}", source.unwrap_or_default());
        assert!(message.contains(file) && message.contains(expected), "{message}");
    };
    let settings = "config_sentence_transformers.json";
    check(
        settings,
        json!({ "similarity_fn_name": "euclidean" }),
        "`euclidean`, expected cosine or",
    );
    check(
        settings,
        json!({ "similarity_fn_name": "manhattan" }),
        "`manhattan`, expected cosine or",
    );
    check(settings, json!({ "truncate_dim": 4 }), "`truncate_dim` = `4`, expected the whole");
    check(settings, json!({ "model_type": "SparseEncoder" }), "`model_type` = `SparseEncoder`");
    check(settings, json!({ "default_prompt_name": "none" }), "`default_prompt_name` = `none`");

    let limits = "sentence_bert_config.json";
    check(
        limits,
        json!({ "tokenizer_name_or_path": "x" }),
        "unknown field `tokenizer_name_or_path`",
    );
    check(limits, json!({ "transformer_task": "fill-mask" }), "`transformer_task` = `fill-mask`");
    check(limits, json!({ "module_output_name": "scores" }), "`module_output_name` = `scores`");
    let pooled = json!({ "method": "forward", "method_output_name": "pooler_output" });
    check(limits, json!({ "modality_config": { "text": pooled } }), "pooler_output");
    check(limits, json!({ "query_expansion": { "length": 32 } }), "`query_expansion`");
    let cut = json!({ "text": { "max_length": 8 } });
    check(limits, json!({ "processing_kwargs": cut }), "`processing_kwargs` = `text: ");
    check(limits, json!({ "config_args": { "hidden_act": "relu" } }), "`config_kwargs` = `hidden");

    let pooling = "1_Pooling/config.json";
    check(pooling, json!({ "pooling_mode": "min" }), "`min`, expected one or more of cls, max");
    check(pooling, json!({ "pooling_mode": ["mean", "cls"] }), "`[\"mean\",\"cls\"]`, expected");
    check(pooling, json!({ "pooling_mode": ["cls", "cls"] }), "in this order");
    check(pooling, json!({ "pooling_mode": [] }), "`[]`, expected");
    check(pooling, json!({ "pooling_mode": "mean", "weights": 1 }), "a key `weights`");
    check(pooling, json!({ "include_prompt": 0 }), "`include_prompt` = `0`");

    let tokens = json!({ "module_input_name": "token_embeddings" });
    check("2_Normalize/config.json", tokens, "token_embeddings");
    let cut = json!({ "truncation_side": "left" });
    check("tokenizer_config.json", cut, "`truncation_side` = `left`, expected right");
}

#[test]
fn a_dense_that_is_no_plain_projection_is_refused() {
    let plain = json!({
        "out_features": 5, "bias": false, "activation_function": "torch.nn.modules.linear.Identity"
    });
    let stage = |path: &str, kind: &str| json!({ "path": path, "type": format!("sentence_transformers.models.{kind}") });
    let [first, pooling, dense, norm] =
        [("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Dense", "Dense"), ("", "Normalize")]
            .map(|(path, kind)| stage(path, kind));
    let check = |modules: &[&Value], edit: (&str, Value), expected: &str| {
        let mut file = plain.clone();
        file[edit.0] = edit.1;
        let files = [("modules.json", json!(modules)), ("2_Dense/config.json", file)];
        let files = files.map(|(name, file)| (name.to_owned(), file)).into_iter().collect();
        let (_home, path) = variant(&files);
        let error = ModelFolder::open(&path).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    };
    let right = [&first, &pooling, &dense, &norm];
    let null = Value::Null;
    check(&right, ("bias", null.clone()), "`bias` = `null`");
    check(&right, ("activation_function", null.clone()), "`activation_function` = `null`");
    // Of a class that is none of torch's sentence-transformers makes a tanh.
    let own = "transformers.activations.GELUActivation";
    check(&right, ("activation_function", own.into()), "expected torch.nn's Identity, Tanh");
    check(&right, ("out_features", (-4).into()), "`out_features` = `-4`");
    check(&right, ("use_residual", true.into()), "`use_residual` = `true`");
    check(&right, ("module_input_name", "token_embeddings".into()), "`module_input_name`");
    let fine = ("bias", Value::from(false));
    let order = "expected Transformer and Pooling or StaticEmbedding, any Dense, then at most one \
                 Normalize";
    check(&[&first, &dense, &pooling], fine.clone(), order);
    check(&[&first, &pooling, &norm, &dense], fine.clone(), order);
    check(&[&first, &pooling, &norm, &norm], fine.clone(), order);
    check(&[&first, &pooling, &pooling], fine.clone(), order);
    check(&[&first], fine.clone(), order);
    let own = json!({ "path": "", "type": "custom_st.Transformer" });
    check(&[&own, &pooling], fine, "`type` = `custom_st.Transformer`");
}

/// BERT's tokenizer classes make a normalizer of their own from `tokenizer_config.json`, whatever
/// `tokenizer.json` says.
#[test]
fn tokenizer_files_that_contradict_each_other_are_refused() {
    let open = |file: Value| {
        let (home, path) =
            variant(&[("tokenizer_config.json".to_owned(), file)].into_iter().collect());
        (home, Retriever::<Flex>::open(&path, &Default::default()).map(|_| ()))
    };
    for class in ["BertTokenizer", "BertTokenizerFast"] {
        let (_home, opened) = open(json!({ "tokenizer_class": class, "do_lower_case": false }));
        opened.unwrap();
        let (home, opened) = open(json!({ "tokenizer_class": class, "do_lower_case": true }));
        let error = opened.unwrap_err();
        let folder = home.path().join("model");
        let expected = format!(
            "`{}` has `do_lower_case` = true, but `tokenizer.json` beside it says false",
            folder.join("tokenizer_config.json").display()
        );
        assert_eq!(error.to_string(), expected);
        let folder = folder.display();
        let expected =
            format!("`AutoTokenizer.from_pretrained(\"{folder}\").save_pretrained(\"{folder}\")`");
        assert!(error.hint().unwrap().ends_with(&expected), "{:?}", error.hint());
    }
    // By its model type the folder is BERT's, whose default is to lower case.
    let error = open(json!({})).1.unwrap_err().to_string();
    assert!(error.contains("`do_lower_case` = true"), "{error}");
    let accents = json!({ "do_lower_case": false, "strip_accents": true });
    let error = open(accents).1.unwrap_err().to_string();
    assert!(error.contains("`strip_accents` = true") && error.ends_with("says null"), "{error}");
    // A class that takes `tokenizer.json` as it is has no say.
    open(json!({ "tokenizer_class": "PreTrainedTokenizerFast", "do_lower_case": true })).1.unwrap();
}

/// Some releases of transformers add a token that `tokenizer.json` does not, and some do not.
#[test]
fn a_token_that_is_wanted_and_not_added_is_refused() {
    let file = fs::read(fixture("folders/model/tokenizer.json")).unwrap();
    let mut bare: Value = serde_json::from_slice(&file).unwrap();
    bare["post_processor"] = Value::Null;
    for key in ["add_bos_token", "add_eos_token"] {
        let settings = json!({ "tokenizer_class": "PreTrainedTokenizerFast", key: true });
        let mut files = Map::new();
        files.insert("tokenizer_config.json".to_owned(), settings);
        let open = |files: &Map<String, Value>| {
            let (_home, path) = variant(files);
            Retriever::<Flex>::open(&path, &Default::default()).map(|_| ())
        };
        open(&files).unwrap();
        files.insert("tokenizer.json".to_owned(), bare.clone());
        let error = open(&files).unwrap_err().to_string();
        assert!(error.contains(&format!("`{key}` = `true`")), "{error}");
    }
}

/// The classes of RoBERTa's kin and of T5 do not see that `tokenizer.json` lower-cases, though
/// sentence-transformers 6 writes `do_lower_case` there.
#[test]
fn a_lower_case_that_transformers_would_not_see_is_refused() {
    let file = fs::read(fixture("folders/model/tokenizer.json")).unwrap();
    let mut lower: Value = serde_json::from_slice(&file).unwrap();
    let lowercase = json!({ "type": "Lowercase" });
    lower["normalizer"] = json!({ "type": "Sequence", "normalizers": [lowercase] });
    let open = |class: &str, tokenizer: Option<&Value>| {
        let class = json!({ "tokenizer_class": class });
        let mut files = Map::new();
        files.insert("tokenizer_config.json".to_owned(), class);
        if let Some(tokenizer) = tokenizer {
            files.insert("tokenizer.json".to_owned(), tokenizer.clone());
        }
        let (_home, path) = variant(&files);
        Retriever::<Flex>::open(&path, &Default::default()).map(|_| ())
    };
    for class in
        ["RobertaTokenizer", "XLMRobertaTokenizerFast", "CamembertTokenizer", "T5Tokenizer"]
    {
        open(class, None).unwrap();
        let error = open(class, Some(&lower)).unwrap_err().to_string();
        let expected = format!("`tokenizer_class` = \"{}\"", class.trim_end_matches("Fast"));
        assert!(error.contains(&expected) && error.ends_with("\"Lowercase\""), "{error}");
    }
    open("PreTrainedTokenizerFast", Some(&lower)).unwrap();
}

#[test]
fn lower_case_is_shipped_in_the_tokenizer() {
    let (home, path) = variant(&Map::new());
    let mut folder = ModelFolder::open(&path).unwrap();
    assert!(!folder.lowercase);
    folder.lowercase = true;
    let retriever = Retriever::<Flex>::load(&folder, 0, &Default::default()).unwrap();
    let path = home.path().join("saved");
    retriever.save(&path).unwrap();
    let saved = Retriever::<Flex>::open(&path, &Default::default()).unwrap();
    let embed = |text: &str| saved.encode_texts(Side::Query, &[text]).unwrap();
    assert_eq!(embed("The OLD well"), embed("the old well"));
    let limits = fs::read_to_string(path.join("sentence_bert_config.json")).unwrap();
    assert!(limits.contains("\"do_lower_case\": false"), "{limits}");
}

#[test]
fn special_tokens_keep_the_names_the_folder_gives_them() {
    let names = json!({
        "tokenizer_class": "PreTrainedTokenizerFast",
        "cls_token": { "content": "[CLS]", "lstrip": true }, "bos_token": "[CLS]", "sep_token": null
    });
    let (home, path) =
        variant(&[("tokenizer_config.json".to_owned(), names)].into_iter().collect());
    let path_again = home.path().join("again");
    Retriever::<Flex>::open(&path, &Default::default()).unwrap().save(&path_again).unwrap();
    let written = fs::read(path_again.join("tokenizer_config.json")).unwrap();
    let written: Value = serde_json::from_slice(&written).unwrap();
    assert_eq!(written["bos_token"], "[CLS]");
    assert_eq!(written["cls_token"]["lstrip"], true);
    assert_eq!(written["sep_token"], Value::Null);
}

/// `[PAD]` and `<pad>` are both in MPNet's vocabulary: which of them pads, the files alone say.
#[test]
fn a_tokenizers_files_are_written_as_they_were() {
    let (home, path) = variant(&Map::new());
    let config = r#"{"tokenizer_class":"BertTokenizer",  "do_lower_case":false,
        "pad_token":"<pad>","model_max_length":24,"more":{"of":"another"} }"#;
    let mut tokenizer: Value =
        serde_json::from_slice(&fs::read(path.join("tokenizer.json")).unwrap()).unwrap();
    tokenizer["truncation"] =
        json!({ "direction": "Right", "max_length": 9, "strategy": "LongestFirst", "stride": 0 });
    let tokenizer = format!("  {tokenizer}\n");
    let beside = [
        ("tokenizer_config.json", config),
        ("tokenizer.json", &tokenizer),
        ("special_tokens_map.json", r#"{ "pad_token" : "<pad>" }"#),
        ("added_tokens.json", "{}"),
        ("vocab.txt", "[PAD]\n<pad>\n"),
        ("merges.txt", "#version\n"),
        ("vocab.json", "{ }"),
        ("spiece.model", "\u{1}\u{2}"),
        ("sentencepiece.bpe.model", "\u{3}"),
    ];
    for (name, content) in beside {
        fs::write(path.join(name), content).unwrap();
    }
    let load = |edit: &dyn Fn(&mut ModelFolder)| {
        let mut folder = ModelFolder::open(&path).unwrap();
        edit(&mut folder);
        let saved = home.path().join("saved");
        let retriever = Retriever::<Flex>::load(&folder, 0, &Default::default()).unwrap();
        retriever.save(&saved).unwrap();
        (saved, retriever)
    };
    let check = |folder: &Path, changed: &[&str]| {
        for (name, content) in beside.iter().filter(|(name, _)| !changed.contains(name)) {
            assert_eq!(fs::read_to_string(folder.join(name)).unwrap(), *content, "{name}");
        }
    };
    let written = |folder: &Path| -> Value {
        serde_json::from_slice(&fs::read(folder.join("tokenizer_config.json")).unwrap()).unwrap()
    };
    let (saved, _) = load(&|_| ());
    check(&saved, &[]);
    let (saved, _) = load(&|folder| folder.config.sharing = Sharing::Ade);
    for side in ["query", "document"] {
        check(&saved.join(side), &[]);
    }
    let (saved, retriever) = load(&|_| ());
    retriever.save_router(&saved).unwrap();
    check(&saved.join("shared_0_Transformer"), &[]);

    // Only what has changed is written anew.
    let (saved, _) = load(&|folder| {
        folder.query.max_tokens = Some(8);
        folder.document.max_tokens = Some(9);
    });
    check(&saved, &["tokenizer_config.json"]);
    let mut expected: Value = serde_json::from_str(config).unwrap();
    expected["model_max_length"] = 9.into();
    assert_eq!(written(&saved), expected);
    let (saved, _) = load(&|folder| folder.lowercase = true);
    check(&saved, &["tokenizer_config.json", "tokenizer.json"]);
    let mut expected: Value = serde_json::from_str(config).unwrap();
    expected["tokenizer_class"] = "PreTrainedTokenizerFast".into();
    assert_eq!(written(&saved), expected);

    // A class of the folder's own, or none, is one that takes `tokenizer.json` as it is.
    for class in [json!({ "auto_map": { "AutoTokenizer": ["own.Own", null] } }), json!({})] {
        let mut config = class.clone();
        config["do_lower_case"] = false.into();
        fs::write(path.join("tokenizer_config.json"), config.to_string()).unwrap();
        let (saved, _) = load(&|_| ());
        let expected =
            json!({ "do_lower_case": false, "tokenizer_class": "PreTrainedTokenizerFast" });
        assert_eq!(written(&saved), expected);
    }
}

#[test]
fn a_text_that_would_lose_its_beginning_is_refused() {
    let (_home, path) = variant(&Map::new());
    let mut tokenizer: Value =
        serde_json::from_slice(&fs::read(path.join("tokenizer.json")).unwrap()).unwrap();
    tokenizer["truncation"] =
        json!({ "direction": "Left", "max_length": 9, "strategy": "LongestFirst", "stride": 0 });
    fs::write(path.join("tokenizer.json"), tokenizer.to_string()).unwrap();
    let open = || Retriever::<Flex>::open(&path, &Default::default()).map(|_| ());
    let error = open().unwrap_err().to_string();
    assert!(
        error.ends_with("has `truncation` = `direction Left`, expected direction Right"),
        "{error}"
    );
    // Where both files say something, `tokenizer_config.json` decides.
    let config =
        json!({ "tokenizer_class": "PreTrainedTokenizerFast", "truncation_side": "right" });
    fs::write(path.join("tokenizer_config.json"), config.to_string()).unwrap();
    open().unwrap();
}

/// Nothing is allocated, and nothing panics, for a size that a file merely claims.
#[test]
fn sizes_that_the_weights_do_not_have_are_refused() {
    let huge = u64::MAX;
    let keys = [
        "vocab_size",
        "hidden_size",
        "num_hidden_layers",
        "num_attention_heads",
        "intermediate_size",
        "max_position_embeddings",
        "type_vocab_size",
    ];
    let config = fs::read(fixture("folders/model/config.json")).unwrap();
    let config: Value = serde_json::from_slice(&config).unwrap();
    for key in keys {
        for value in [json!(-1), json!(0), json!(1_000_000_000_007_u64), json!(huge), json!(1.5)] {
            let mut file = config.clone();
            file[key] = value.clone();
            let files = [("config.json".to_owned(), file)].into_iter().collect();
            let (_home, path) = variant(&files);
            let opened = Retriever::<Flex>::open(&path, &Default::default()).map(|_| ());
            assert!(opened.is_err(), "{key} = {value}");
        }
    }
    for (model, key) in [("encoders/umt5", "num_layers"), ("encoders/qwen3", "num_hidden_layers")] {
        for value in [json!(1_000_000_000_007_u64), json!(huge)] {
            let config = fs::read(fixture(model).join("config.json")).unwrap();
            let mut file: Value = serde_json::from_slice(&config).unwrap();
            file[key] = value;
            let (_home, path) =
                variant_of(model, &[("config.json".to_owned(), file)].into_iter().collect());
            let loaded = ModelFolder::open(&path)
                .and_then(|folder| folder.load::<Flex>(0, &Default::default()).map(|_| ()));
            assert!(loaded.is_err(), "{model}");
        }
    }
    let dense = |dim: Value| json!({ "out_features": dim, "bias": false, "activation_function": "torch.nn.Identity" });
    for dim in [json!(0), json!(huge), json!(1_000_000_000_007_u64)] {
        let stage = |path: &str, kind: &str| json!({ "path": path, "type": format!("sentence_transformers.models.{kind}") });
        let stages = [("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Dense", "Dense")];
        let files = [
            (
                "modules.json".to_owned(),
                stages.iter().map(|(path, kind)| stage(path, kind)).collect(),
            ),
            ("2_Dense/config.json".to_owned(), dense(dim.clone())),
        ];
        let (_home, path) = variant(&files.into_iter().collect());
        let opened = Retriever::<Flex>::open(&path, &Default::default()).map(|_| ());
        assert!(opened.is_err(), "{dim}");
    }
    // A length is no size: texts are cut to what the encoder reads.
    let limits = json!({ "max_seq_length": huge });
    let files = [("sentence_bert_config.json".to_owned(), limits)].into_iter().collect();
    let (_home, path) = variant(&files);
    let retriever = Retriever::<Flex>::open(&path, &Default::default()).unwrap();
    assert_eq!(retriever.max_tokens(Side::Query), 32);
}

#[test]
fn lists_of_stages_that_lead_nowhere_are_refused() {
    let stage = |path: &str, kind: &str| json!({ "path": path, "type": format!("sentence_transformers.models.{kind}") });
    let check = |files: &[(&str, Value)], expected: &str| {
        let files = files.iter().map(|(name, file)| ((*name).to_owned(), file.clone())).collect();
        let (_home, path) = variant(&files);
        let error = ModelFolder::open(&path).map(|_| ()).unwrap_err();
        let source = std::error::Error::source(&error).map(ToString::to_string);
        let message = format!("{error} {}", source.unwrap_or_default());
        assert!(message.contains(expected), "{message}");
    };
    let modules = |stages: &[Value]| [("modules.json", json!(stages))];
    check(&modules(&[]), "`type` = `too few stages`");
    check(&modules(&[stage("", "Router"), stage("1_Pooling", "Pooling")]), "models.Router");
    check(&modules(&[stage("", "Transformer"), stage("none", "Pooling")]), "cannot access `");
    check(&modules(&[stage("", "Transformer"), json!({ "path": 3 })]), "cannot read `");
    // A route through the router itself.
    let route = |names: &[&str]| json!({ "query": names, "document": names });
    let router = |types: Value, names: &[&str]| {
        [("router_config.json", json!({ "types": types, "structure": route(names) }))]
    };
    let class = "sentence_transformers.models.Router";
    check(&router(json!({ "": class }), &["", "1_Pooling"]), "`types` = `1_Pooling`");
    check(&router(json!({ "": class }), &["", "", ""]), "`type` =");
    check(&router(json!({}), &[]), "`type` =");
    let deep = "[".repeat(100_000);
    let (_home, path) = variant(&Map::new());
    fs::write(path.join("modules.json"), deep).unwrap();
    assert!(ModelFolder::open(&path).unwrap_err().to_string().contains("cannot read `"));
}

#[cfg(unix)]
#[test]
fn a_folder_of_links_is_read_and_a_circle_of_them_is_not() {
    let (home, path) = variant(&Map::new());
    let linked = home.path().join("linked");
    fs::create_dir(&linked).unwrap();
    for entry in fs::read_dir(&path).unwrap() {
        let entry = entry.unwrap();
        std::os::unix::fs::symlink(entry.path(), linked.join(entry.file_name())).unwrap();
    }
    let retriever = Retriever::<Flex>::open(&linked, &Default::default()).unwrap();
    let own = Retriever::<Flex>::open(&path, &Default::default()).unwrap();
    let embed = |r: &Retriever<Flex>| r.encode_texts(Side::Query, &TEXTS).unwrap();
    assert_eq!(embed(&retriever), embed(&own));
    let circle = linked.join("1_Pooling");
    fs::remove_file(&circle).unwrap();
    std::os::unix::fs::symlink(&circle, &circle).unwrap();
    let error = ModelFolder::open(&linked).map(|_| ()).unwrap_err();
    assert!(error.to_string().starts_with("cannot access `"), "{error}");
}

#[test]
fn a_saved_folder_takes_the_place_of_another() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("model");
    let [bert, t5] = encoders();
    retriever::<Flex>(bert, Sharing::Ade, None).save(&path).unwrap();
    let last = retriever::<Flex>(t5, Sharing::Sde, None);
    last.save(&path).unwrap();
    let fresh = home.path().join("fresh");
    last.save(&fresh).unwrap();
    assert_eq!(files(&path), files(&fresh));
    assert_eq!(fs::read_dir(home.path()).unwrap().count(), 2);
}

#[cfg(unix)]
#[test]
fn every_file_has_the_mode_of_the_umask() {
    use std::os::unix::fs::PermissionsExt;
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("model");
    let [bert, _] = encoders();
    retriever::<Flex>(bert, Sharing::Sde, Some(5)).save(&path).unwrap();
    fs::write(home.path().join("plain"), "").unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode();
    for name in files(&path).into_keys() {
        assert_eq!(mode(&path.join(&name)), mode(&home.path().join("plain")), "{name}");
    }
}

#[test]
fn a_length_without_room_for_a_text_is_refused() {
    let expected =
        "a longest query of 2 tokens leaves no room beside the tokenizer's 2 special ones";
    let limits = json!({ "query_length": 2, "document_length": 3 });
    let files = [("sentence_bert_config.json".to_owned(), limits)].into_iter().collect();
    let (_home, path) = variant(&files);
    let opened = Retriever::<Flex>::open(&path, &Default::default()).map(|_| ());
    assert_eq!(opened.unwrap_err().to_string(), expected);
    let [bert, _] = encoders();
    let mut retriever = retriever::<Flex>(bert, Sharing::Sde, None);
    let error = retriever.set_max_tokens(Side::Query, 2).unwrap_err();
    assert_eq!(error.to_string(), expected);
    assert_eq!(retriever.max_tokens(Side::Query), 6);
}

#[test]
fn a_shorter_length_leaves_out_a_shorter_prompt() {
    let pooling = json!({ "pooling_mode": "mean", "include_prompt": false });
    let settings = json!({ "prompts": { "query": "the old mill " } });
    let files =
        [("1_Pooling/config.json", pooling), ("config_sentence_transformers.json", settings)];
    let files = files.map(|(name, file)| (name.to_owned(), file)).into_iter().collect();
    let (_home, path) = variant(&files);
    let mut retriever = Retriever::<Flex>::open(&path, &Default::default()).unwrap();
    assert_eq!(Side::ALL.map(|side| retriever.model.unpooled(side)), [4, 0]);
    retriever.set_max_tokens(Side::Query, 4).unwrap();
    assert_eq!(retriever.model.unpooled(Side::Query), 3);
    assert_eq!(retriever.with_model(retriever.model.clone()).model.unpooled(Side::Query), 3);
}

#[test]
fn an_empty_row_is_read_as_padding() {
    let [bert, _] = encoders();
    let retriever = retriever::<Flex>(bert, Sharing::Sde, None);
    let rows = [vec![], vec![7, 8, 9], vec![retriever.tokenizer(Side::Query).pad_id()]];
    let embeddings = retriever.encode_tokens(Side::Query, &rows, 0);
    let [empty, _, padding] = [0, 1, 2].map(|row| &embeddings[row * 8..][..8]);
    assert_eq!(empty, padding);
    assert!(embeddings.iter().all(|value| value.is_finite()));
    assert_eq!(retriever.encode_tokens(Side::Query, &[vec![]], 10), empty);
}

#[test]
fn files_that_python_must_make_are_asked_for() {
    let (_home, path) = variant(&Map::new());
    let hint = |expected: &str| {
        let error = Retriever::<Flex>::open(&path, &Default::default()).map(|_| ()).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
        error.hint().unwrap()
    };
    fs::remove_file(path.join("tokenizer.json")).unwrap();
    let made = hint("tokenizer.json` does not exist");
    assert!(made.contains("AutoTokenizer.from_pretrained("), "{made}");
    for name in ["sentencepiece.bpe.model", "spiece.model", "vocab.txt"] {
        fs::write(path.join(name), "").unwrap();
        let made = hint(&format!("tokenizer.json` does not exist, only `{name}`"));
        assert!(made.contains("AutoTokenizer.from_pretrained("), "{made}");
        assert_eq!(made.contains("sentencepiece"), name != "vocab.txt", "{made}");
        fs::remove_file(path.join(name)).unwrap();
    }
}

#[test]
fn a_router_and_what_follows_it_are_one_model() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("router");
    let [bert, _] = encoders();
    let config = DualEncoderConfig { encoder: bert, ..DualEncoderConfig::default() };
    let with_norm = retriever_of::<Flex>(&config);
    let without = DualEncoderConfig { normalize: false, ..config.clone() };
    retriever_of::<Flex>(&without).save_router(&path).unwrap();
    let stage = |path: &str, kind: &str| json!({ "path": path, "type": format!("sentence_transformers.models.{kind}") });
    let modules = json!([stage("", "Router"), stage("1_Normalize", "Normalize")]);
    fs::write(path.join("modules.json"), modules.to_string()).unwrap();
    let loaded = Retriever::<Flex>::open(&path, &Default::default()).unwrap();
    assert_eq!(loaded.model.config(), &config);
    let embed = |r: &Retriever<Flex>| r.encode_texts(Side::Query, &TEXTS).unwrap();
    assert_eq!(embed(&loaded), embed(&with_norm));
    let mapped = fs::read_to_string(path.join("router_config.json")).unwrap();
    let mapped = mapped.replace(
        "\"parameters\": {",
        "\"parameters\": { \"route_mappings\": { \"(None, 'text')\": \"query\" },",
    );
    fs::write(path.join("router_config.json"), mapped).unwrap();
    let error = ModelFolder::open(&path).unwrap_err().to_string();
    assert!(error.contains("`route_mappings`"), "{error}");
}

#[test]
fn towers_that_differ_are_refused_by_what_differs() {
    let check = |file: &'static str, from: &'static str, to: &'static str, expected: &str| {
        let error = broken(Sharing::Ade, |path| {
            let path = path.join("query").join(file);
            let text = fs::read_to_string(&path).unwrap();
            assert!(text.contains(from), "{text}");
            fs::write(path, text.replace(from, to)).unwrap();
        });
        assert!(error.to_string().ends_with(expected), "{error}");
    };
    let settings = "config_sentence_transformers.json";
    check(settings, "cosine", "dot", "differ in `similarity_fn_name`");
    check("sentence_bert_config.json", "false", "true", "differ in `do_lower_case`");
    let pooling = "1_Pooling/config.json";
    check(
        pooling,
        "\"include_prompt\": true",
        "\"include_prompt\": false",
        "differ in `include_prompt`",
    );
}

#[test]
fn what_the_model_was_trained_on_is_kept() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("model");
    let [bert, _] = encoders();
    let mut retriever = retriever::<Flex>(bert, Sharing::Ade, None);
    retriever.similarity = Similarity::Dot;
    retriever.document_text = Some(DocumentText::Text);
    retriever.save(&path).unwrap();
    let folder = ModelFolder::open(&path).unwrap();
    assert_eq!(
        (folder.similarity, folder.document_text),
        (Similarity::Dot, Some(DocumentText::Text))
    );
    let opened = Retriever::<Flex>::open(&path, &Default::default()).unwrap();
    assert_eq!(
        (opened.similarity, opened.document_text),
        (Similarity::Dot, Some(DocumentText::Text))
    );
}
