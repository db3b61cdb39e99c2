//! Model folders: what is saved is what was there, and what is broken is named.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use burn::backend::{Flex, NdArray};
use burn::tensor::backend::Backend;
use samtone_data::TextTokenizer;
use samtone_model::{
    BertConfig, DualEncoder, DualEncoderConfig, EncoderConfig, ModelError, ModelFolder, Pooling,
    Retriever, Sharing, Side, SideSettings, T5Config,
};

const TEXTS: [&str; 4] = ["a well holds water", "water runs", "a well runs dry", "dry"];

fn encoders() -> [EncoderConfig; 2] {
    [
        EncoderConfig::Bert(BertConfig {
            vocab_size: 70,
            hidden: 8,
            layers: 1,
            heads: 2,
            intermediate: 12,
            max_positions: 16,
            ..BertConfig::default()
        }),
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
    let config =
        DualEncoderConfig { encoder, sharing, projection, pooling: Pooling::Last, normalize: true };
    let model = DualEncoder::init(&config, 3, &Default::default()).unwrap();
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
        for sharing in Sharing::ALL {
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
    folder.config.projection = Some(3);
    let retriever = Retriever::<Flex>::load(&folder, 5, &Default::default()).unwrap();
    assert_eq!(retriever.dim(), 3);
    // The same weights and the same projection: only the prompt tells the towers apart.
    let rows = retriever.tokenize(Side::Document, &TEXTS).unwrap();
    let [query, document] = Side::ALL.map(|side| retriever.encode_tokens(side, &rows, 100));
    assert_eq!(query, document);
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
            projection: Some(5),
            pooling: Pooling::Last,
            normalize: true,
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
    check(&dense, "has `bias` = `true`, expected false");
    let tanh = replace("2_Dense/config.json", "linear.Identity", "activation.Tanh");
    check(&tanh, "expected Identity");
    let pooling = "1_Pooling/config.json";
    let none =
        replace(pooling, "\"pooling_mode_lasttoken\": true", "\"pooling_mode_lasttoken\": false");
    check(&none, "has `pooling_mode` = ``, expected mean, cls or lasttoken");
    let max =
        replace(pooling, "\"pooling_mode_max_tokens\": false", "\"pooling_mode_max_tokens\": true");
    check(&max, "pooling_mode_lasttoken + pooling_mode_max_tokens");
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
    let expected =
        format!("the tokenizer has {tokens} tokens, but the model has embeddings for 10");
    assert_eq!(error.to_string(), expected);
}

#[test]
fn a_folder_that_is_there_is_not_written_over() {
    let home = tempfile::tempdir().unwrap();
    let [bert, _] = encoders();
    let error = retriever::<Flex>(bert, Sharing::Sde, None).save(home.path()).unwrap_err();
    assert!(matches!(error, ModelError::Exists { .. }), "{error}");
}

#[test]
fn the_newer_pooling_schema_is_read() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("model");
    let [bert, _] = encoders();
    retriever::<Flex>(bert, Sharing::Sde, None).save(&path).unwrap();
    let newer = r#"{ "embedding_dimension": 8, "pooling_mode": "cls", "include_prompt": true }"#;
    fs::write(path.join("1_Pooling/config.json"), newer).unwrap();
    assert_eq!(ModelFolder::open(&path).unwrap().config.pooling, Pooling::Cls);
}
