//! Adapters: PEFT's on every encoder, exact gradients, and folders in and out
//! (`fixtures/generate_adapters.py`).

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use burn::backend::{Autodiff, Flex};
use burn::module::AutodiffModule;
use burn::optim::GradientsParams;
use burn::tensor::FloatDType;
use burn::tensor::backend::Backend;
use safetensors::tensor::{Dtype, TensorView};
use samtone_model::{
    AdapterBias, AdapterConfig, Checkpoint, Dropout, DualEncoder, Freeze, ModelFolder, Part,
    Retriever, Sharing, Side, Targets,
};
use samtone_testing::model::fixture_batch;
use samtone_testing::{assert_close, values, weighed_sum};
use samtone_text::{Key, TokenBatch};
use serde_json::{Value, json};

use crate::dual_encoder::nudge;
use crate::parity::fixture;

/// PEFT's adapters and the ids of padding of their encoders.
const ADAPTERS: [(&str, u32); 16] = [
    ("bert", 0),
    ("roberta", 1),
    ("t5", 0),
    ("umt5", 0),
    ("distilbert", 0),
    ("electra", 0),
    ("mpnet", 1),
    ("modernbert", 0),
    ("nomic", 0),
    ("gte", 0),
    ("eurobert", 0),
    ("llama", 0),
    ("mistral", 0),
    ("qwen2", 0),
    ("qwen3", 0),
    ("gemma3", 0),
];

/// Hidden states differ by rounding alone; the fixtures' are near 1 in size, some near 10.
const STATES_TOLERANCE: f64 = 2e-5;
/// Relative to the largest element of each gradient.
const GRADIENT_TOLERANCE: f64 = 1e-4;
/// Weights that are rounded once more, to f32, as a share of the largest state.
const MERGED_TOLERANCE: f64 = 1e-6;
/// Central differences in f64 have an error near 1e-10 here; a wrong term is far larger.
const DIFFERENCE_TOLERANCE: f64 = 1e-7;

fn adapter(name: &str) -> PathBuf {
    fixture(&format!("adapters/{name}"))
}

fn load<B: Backend>(path: &Path) -> DualEncoder<B> {
    ModelFolder::open(path).unwrap().load(0, &Default::default()).unwrap()
}

fn expected(name: &str) -> Checkpoint {
    Checkpoint::read_file(&adapter(name).join("expected.safetensors"), |_| false).unwrap()
}

fn states<B: Backend>(model: &DualEncoder<B>, pad: u32) -> Vec<f64> {
    values(model.token_states(Side::Query, &fixture_batch(pad, 9), None))
}

fn largest(values: &[f64]) -> f64 {
    values.iter().fold(0.0, |largest, value| value.abs().max(largest))
}

#[test]
fn states_under_adapters_agree_with_peft() {
    for (name, pad) in ADAPTERS {
        let expected = expected(name);
        let expected = &expected.get("states", &[15, 12]).unwrap().values;
        let model = load::<Flex>(&adapter(name));
        assert_close(name, &states(&model, pad), expected, STATES_TOLERANCE);
        let model = model.cast(FloatDType::F64);
        assert_close(name, &states(&model, pad), expected, STATES_TOLERANCE);
    }
}

#[test]
fn merged_weights_give_the_same_states() {
    for (name, pad) in ADAPTERS {
        let expected = expected(name);
        let expected = &expected.get("merged", &[15, 12]).unwrap().values;
        let model = load::<Flex>(&adapter(name));
        let merged = model.merged(&Default::default()).unwrap();
        assert!(merged.parameters().iter().all(|p| !p.is_adapter && p.is_trainable), "{name}");
        assert_close(name, &states(&merged, pad), expected, STATES_TOLERANCE);
        let [own, merged] = [model, merged].map(|model| states(&model.cast(FloatDType::F64), pad));
        assert_close(name, &merged, &own, MERGED_TOLERANCE * largest(&own));
    }
}

/// Where a parameter of an adapter lies in PEFT's: the module, which of its parts, and how many there
/// are.
fn in_peft(name: &str) -> (String, usize, usize) {
    let fused = [
        ("self_attn.q_proj", "attn.Wqkv", 0, 3),
        ("self_attn.k_proj", "attn.Wqkv", 1, 3),
        ("self_attn.v_proj", "attn.Wqkv", 2, 3),
        ("mlp.gate_proj", "mlp.Wi", 0, 2),
        ("mlp.up_proj", "mlp.Wi", 1, 2),
        ("self_attn.o_proj", "attn.Wo", 0, 1),
        ("mlp.down_proj", "mlp.Wo", 0, 1),
    ];
    let found = fused.into_iter().find(|(ours, ..)| name.contains(ours));
    let (ours, theirs, part, parts) = found.expect("a map of ModernBERT's");
    (name.replace(ours, theirs), part, parts)
}

#[test]
fn gradients_of_a_and_b_agree_with_peft() {
    for (name, pad) in ADAPTERS {
        // Names alike on both sides, but for ModernBERT's.
        if ["distilbert", "mpnet"].contains(&name) {
            continue;
        }
        for dtype in [FloatDType::F32, FloatDType::F64] {
            let model = load::<Autodiff<Flex>>(&adapter(name)).cast(dtype);
            let states = model.token_states(Side::Query, &fixture_batch(pad, 9), None);
            let gradients = GradientsParams::from_grads(weighed_sum(states).backward(), &model);
            let expected = expected(name);
            let mut compared = 0;
            model.for_each_gradient(&gradients, |parameter, gradient| {
                assert_eq!(gradient.is_some(), parameter.is_trainable, "{}", parameter.path);
                let (true, Some(gradient)) = (parameter.is_adapter, gradient) else { return };
                let own = parameter.name.trim_end_matches(".weight");
                let (theirs, part, parts) = match name {
                    "modernbert" => in_peft(own),
                    _ => (own.to_owned(), 0, 1),
                };
                let mut shape = parameter.shape.clone();
                let parts = if theirs.ends_with("lora_A") { 1 } else { parts };
                shape[0] *= parts;
                let whole = &expected.get(&format!("gradient.{theirs}"), &shape).unwrap().values;
                let size = whole.len() / parts;
                let expected = &whole[part * size..][..size];
                let scale = largest(&whole.iter().map(|&x| f64::from(x)).collect::<Vec<_>>());
                let what = format!("{name} {theirs}");
                assert_close(&what, &values(gradient), expected, GRADIENT_TOLERANCE * scale);
                compared += 1;
            });
            let adapters = model.parameters().iter().filter(|p| p.is_adapter).count();
            assert_eq!(compared, adapters, "{name}");
        }
    }
}

#[test]
fn gradients_of_a_and_b_agree_with_central_differences() {
    let dropout = Some(Dropout { key: Key::new(3), first_row: 0 });
    for name in ["bert", "t5", "modernbert", "qwen3"] {
        let mut folder = ModelFolder::open(&adapter(name)).unwrap();
        // Its own adapter with another rate.
        for rate in [0.0, 0.3] {
            folder.config.adapter.as_mut().unwrap().dropout = rate;
            let model = reloaded::<Autodiff<Flex>>(&folder, name, rate).cast(FloatDType::F64);
            let batch = fixture_batch(0, 9);
            let dropout = dropout.filter(|_| rate > 0.0);
            let graph = weighed_sum(model.token_states(Side::Query, &batch, dropout));
            let gradients = GradientsParams::from_grads(graph.backward(), &model);
            let loss = |model: &DualEncoder<Flex>| {
                values(weighed_sum(model.token_states(Side::Query, &batch, dropout)))[0]
            };
            model.for_each_gradient(&gradients, |parameter, gradient| {
                let Some(gradient) = gradient.map(values) else { return };
                let scale = largest(&gradient);
                for element in (0..gradient.len()).step_by(gradient.len() / 2 + 1) {
                    let [up, down] = [1e-5, -1e-5]
                        .map(|step| loss(&nudge(model.valid(), &parameter.path, element, step)));
                    let difference = (up - down) / 2e-5;
                    let error = (difference - gradient[element]).abs();
                    assert!(
                        error <= DIFFERENCE_TOLERANCE * (1.0 + scale),
                        "{name} {} [{element}]: {difference} by differences, {} by autodiff",
                        parameter.path,
                        gradient[element]
                    );
                }
            });
        }
    }
}

/// The adapter of a fixture with another rate of dropout, by way of a folder that says so.
fn reloaded<B: Backend>(folder: &ModelFolder, name: &str, rate: f64) -> DualEncoder<B> {
    let home = tempfile::tempdir().unwrap();
    let description = changed(name, json!({ "lora_dropout": rate }));
    write_adapter(home.path(), name, &description);
    let mut copy = ModelFolder::open(home.path()).unwrap();
    assert_eq!(copy.config.adapter, folder.config.adapter);
    copy.config.normalize = folder.config.normalize;
    copy.load(0, &Default::default()).unwrap()
}

/// A fixture's description with other keys, its base by its whole path.
fn changed(name: &str, keys: Value) -> Value {
    let path = adapter(name).join("adapter_config.json");
    let mut file: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    let base = adapter(name).join(file["base_model_name_or_path"].as_str().unwrap());
    file["base_model_name_or_path"] = base.display().to_string().into();
    let Value::Object(keys) = keys else { panic!("an object") };
    for (key, value) in keys {
        file[key] = value;
    }
    file
}

fn write_adapter(folder: &Path, name: &str, description: &Value) {
    fs::create_dir_all(folder).unwrap();
    fs::write(folder.join("adapter_config.json"), description.to_string()).unwrap();
    let weights = "adapter_model.safetensors";
    fs::copy(adapter(name).join(weights), folder.join(weights)).unwrap();
}

/// Adapters on every map.
fn on_all(r: usize) -> AdapterConfig {
    let targets = Some(Targets::Pattern("all-linear".into()));
    AdapterConfig { r, targets, dropout: 0.5, ..AdapterConfig::default() }
}

#[test]
fn new_adapters_change_no_bit() {
    for (name, pad) in ADAPTERS.into_iter().chain([("jina", 0), ("new", 0)]) {
        let base = match name {
            "bert" | "roberta" => name.to_owned(),
            "t5" => "t5-v1.1".to_owned(),
            "llama" => "encoders/llama-prefixed".to_owned(),
            _ => format!("encoders/{name}"),
        };
        for sharing in [Sharing::Sde, Sharing::AdeAdapter] {
            let mut folder = ModelFolder::open(&fixture(&base)).unwrap();
            let plain: DualEncoder<Flex> = folder.load(0, &Default::default()).unwrap();
            folder.config.adapter = Some(on_all(3));
            folder.config.sharing = sharing;
            let adapted: DualEncoder<Flex> = folder.load(1, &Default::default()).unwrap();
            assert!(adapted.parameters().iter().any(|p| p.is_adapter), "{name}");
            for dtype in [FloatDType::F32, FloatDType::F64] {
                let [plain, adapted] = [&plain, &adapted].map(|model| model.clone().cast(dtype));
                assert_eq!(states(&plain, pad), states(&adapted, pad), "{name}");
            }
            // B is zeros and A is not, the same as often as it is drawn, and apart for two towers.
            let again: DualEncoder<Flex> = folder.load(1, &Default::default()).unwrap();
            let adapters = |model: &DualEncoder<Flex>| {
                let mut found = BTreeMap::new();
                model.for_each_parameter(|parameter, x| {
                    if parameter.is_adapter {
                        found.insert(parameter.path.clone(), values(x));
                    }
                });
                found
            };
            let drawn = adapters(&adapted);
            assert_eq!(drawn, adapters(&again));
            for (path, values) in &drawn {
                let is_zero = values.iter().all(|&value| value == 0.0);
                assert_eq!(is_zero, path.ends_with("lora_B.weight"), "{path}");
                if let Some(own) = path.strip_prefix("query.") {
                    let other = &drawn[&format!("document.{own}")];
                    assert!(is_zero || values != other, "{path}");
                }
            }
        }
    }
}

#[test]
fn an_adapter_freezes_its_base() {
    type B = Autodiff<Flex>;
    let mut folder = ModelFolder::open(&fixture("bert")).unwrap();
    let trained = |folder: &ModelFolder| {
        let model: DualEncoder<B> = folder.load(0, &Default::default()).unwrap();
        let states = model.token_states(Side::Query, &fixture_batch(0, 7), None);
        let gradients = GradientsParams::from_grads(weighed_sum(states).backward(), &model);
        let mut found = Vec::new();
        model.for_each_gradient(&gradients, |parameter, gradient| {
            assert_eq!(gradient.is_some(), parameter.is_trainable, "{}", parameter.path);
            found.extend(gradient.map(|_| parameter.name.clone()));
        });
        // A waits for B.
        assert_eq!(model.dead_parameters(&gradients), []);
        found
    };
    let adapter = AdapterConfig { r: 2, ..AdapterConfig::default() };
    folder.config.adapter = Some(adapter.clone());
    let names = trained(&folder);
    assert_eq!(names.len(), 8, "{names:?}");
    assert!(names.iter().all(|name| name.contains("query.lora_") || name.contains("value.lora_")));

    folder.config.freeze = Freeze { train_norms: true, ..Freeze::default() };
    let with_norms = trained(&folder);
    assert_eq!(with_norms.iter().filter(|name| name.contains("LayerNorm")).count(), 10);
    assert_eq!(with_norms.len(), 18);

    folder.config.freeze = Freeze::default();
    let whole = AdapterConfig { modules_to_save: vec!["layer.1.output".into()], ..adapter.clone() };
    folder.config.adapter = Some(whole);
    assert_eq!(trained(&folder).len(), 8 + 4);
    folder.config.adapter = Some(AdapterConfig { bias: AdapterBias::LoraOnly, ..adapter });
    assert_eq!(trained(&folder).len(), 8 + 4);
}

#[test]
fn what_is_frozen_has_no_gradient() {
    type B = Autodiff<Flex>;
    let mut folder = ModelFolder::open(&fixture("bert")).unwrap();
    let mut trained = |freeze| {
        folder.config.freeze = freeze;
        let model: DualEncoder<B> = folder.load(0, &Default::default()).unwrap();
        let states = model.token_states(Side::Query, &fixture_batch(0, 7), None);
        let gradients = GradientsParams::from_grads(weighed_sum(states).backward(), &model);
        let mut parts = Vec::new();
        model.for_each_gradient(&gradients, |parameter, gradient| {
            assert_eq!(gradient.is_some(), parameter.is_trainable, "{}", parameter.path);
            if gradient.is_some() && !parts.contains(&parameter.part) {
                parts.push(parameter.part);
            }
        });
        parts
    };
    let (embedder, first, second) = (Part::Embedder, Part::Layer(0), Part::Layer(1));
    let none = Freeze::default();
    assert_eq!(trained(none), [embedder, first, second]);
    assert_eq!(trained(Freeze { embeddings: true, ..none }), [first, second]);
    assert_eq!(trained(Freeze { embeddings: true, layers: 1, ..none }), [second]);
    assert_eq!(trained(Freeze { base: true, train_norms: true, ..none }).len(), 3);
    let error = {
        folder.config.freeze = Freeze { layers: 3, ..none };
        folder.load::<Flex>(0, &Default::default()).unwrap_err().to_string()
    };
    assert_eq!(error, "`freeze.layers` is 3, expected at most the encoder's layers");
}

const TEXTS: [&str; 3] = ["which well runs dry", "the old mill", "water runs by the mill"];

fn embeddings(retriever: &Retriever<Flex>) -> Vec<f32> {
    let of = |side| retriever.encode_texts(side, &TEXTS).unwrap();
    [of(Side::Query), of(Side::Document)].concat()
}

/// A retriever with adapters on a folder of sentence-transformers', of random A and B.
fn adapted(sharing: Sharing, change: impl Fn(&mut ModelFolder)) -> Retriever<Flex> {
    let mut folder = ModelFolder::open(&fixture("folders/model")).unwrap();
    folder.config.adapter = Some(AdapterConfig { r: 3, ..on_all(3) });
    folder.config.sharing = sharing;
    change(&mut folder);
    let retriever = Retriever::load(&folder, 5, &Default::default()).unwrap();
    shaken(&retriever)
}

/// The same with every trained parameter moved.
fn shaken(retriever: &Retriever<Flex>) -> Retriever<Flex> {
    let model = retriever.model.clone();
    let trained = model.parameters().to_vec().into_iter().filter(|p| p.is_trainable);
    let moved = trained.fold(model, |model, parameter| {
        let key = Key::new(9).child(&parameter.path);
        (0..parameter.num_elements()).fold(model, |model, element| {
            nudge(model, &parameter.path, element, 0.3 * key.normal(element as u64))
        })
    });
    retriever.with_model(moved)
}

#[test]
fn adapters_are_saved_on_their_base_and_opened_again() {
    let home = tempfile::tempdir().unwrap();
    for (number, sharing) in
        [Sharing::Sde, Sharing::Ade, Sharing::AdeAdapter].into_iter().enumerate()
    {
        let retriever = adapted(sharing, |_| ());
        let path = home.path().join(number.to_string());
        retriever.save(&path).unwrap();
        let tower = if sharing == Sharing::Sde { path.clone() } else { path.join("query") };
        assert!(!tower.join("model.safetensors").exists() && !tower.join("config.json").exists());
        let file: Value =
            serde_json::from_slice(&fs::read(tower.join("adapter_config.json")).unwrap()).unwrap();
        let base = fixture("folders/model").display().to_string();
        assert_eq!(file["base_model_name_or_path"], base);
        assert_eq!((&file["r"], &file["lora_alpha"]), (&json!(3), &json!(6)));
        assert_eq!(file["target_modules"].as_array().unwrap().len(), 6);
        let again = Retriever::<Flex>::open(&path, &Default::default()).unwrap();
        assert_eq!(embeddings(&again), embeddings(&retriever), "{sharing}");
        assert_eq!(again.model.num_parameters(), retriever.model.num_parameters());
        // Saved once more, from what was opened.
        let second = home.path().join(format!("{number}-again"));
        again.save(&second).unwrap();
        let again = Retriever::<Flex>::open(&second, &Default::default()).unwrap();
        assert_eq!(embeddings(&again), embeddings(&retriever), "{sharing}");
        let router = home.path().join(format!("{number}-router"));
        let refused = retriever.save_router(&router).unwrap_err();
        assert!(refused.hint().unwrap().contains("--merge") && !router.exists());

        let merged = retriever.clone().merged(&Default::default()).unwrap();
        let path = home.path().join(format!("{number}-merged"));
        merged.save(&path).unwrap();
        merged.save_router(&router).unwrap();
        for path in [path, router] {
            let merged = Retriever::<Flex>::open(&path, &Default::default()).unwrap();
            assert!(merged.model.config().adapter.is_none());
            let got: Vec<f64> = embeddings(&merged).into_iter().map(f64::from).collect();
            assert_close("merged", &got, &embeddings(&retriever), MERGED_TOLERANCE);
        }
    }
}

#[test]
fn towers_of_adapters_hold_their_base_once() {
    let count = |sharing| adapted(sharing, |_| ()).model.num_parameters();
    let plain: DualEncoder<Flex> = load(&fixture("folders/model"));
    let base = plain.num_parameters();
    let adapter = count(Sharing::Sde) - base;
    assert_eq!(count(Sharing::AdeAdapter), base + 2 * adapter);
    assert_eq!(count(Sharing::Ade), 2 * (base + adapter));

    let retriever = adapted(Sharing::AdeAdapter, |_| ());
    let of = |side| retriever.encode_texts(side, &TEXTS).unwrap();
    assert_ne!(of(Side::Query), of(Side::Document));
    // Each side's own adapters and no other's are trained by its texts.
    type B = Autodiff<Flex>;
    let mut folder = ModelFolder::open(&fixture("bert")).unwrap();
    folder.config.sharing = Sharing::AdeAdapter;
    folder.config.adapter = Some(on_all(2));
    let model: DualEncoder<B> = folder.load(0, &Default::default()).unwrap();
    for side in Side::ALL {
        let states = model.token_states(side, &fixture_batch(0, 7), None);
        let gradients = GradientsParams::from_grads(weighed_sum(states).backward(), &model);
        model.for_each_gradient(&gradients, |parameter, gradient| {
            let is_own = parameter.is_adapter && parameter.side == Some(side);
            assert_eq!(gradient.is_some(), is_own, "{}", parameter.path);
        });
    }
}

#[test]
fn what_was_trained_beside_adapters_is_kept_with_them() {
    let home = tempfile::tempdir().unwrap();
    let retriever = adapted(Sharing::Sde, |folder| {
        folder.config.freeze.train_norms = true;
        folder.config.freeze.train_head = true;
        folder.config.adapter.as_mut().unwrap().bias = AdapterBias::LoraOnly;
    });
    retriever.save(home.path().join("model").as_path()).unwrap();
    let path = home.path().join("model");
    let weights =
        Checkpoint::read_file(&path.join("adapter_model.safetensors"), |_| false).unwrap();
    let names: Vec<&str> = weights.names().collect();
    let attention = "base_model.model.encoder.layer.0.attention";
    for name in [
        format!("{attention}.self.query.base_layer.bias"),
        format!("{attention}.self.query.lora_A.weight"),
        format!("{attention}.output.LayerNorm.bias"),
    ] {
        assert!(names.contains(&name.as_str()), "{name} of {names:?}");
    }
    let again = Retriever::<Flex>::open(&path, &Default::default()).unwrap();
    assert_eq!(embeddings(&again), embeddings(&retriever));
    let merged = again.merged(&Default::default()).unwrap();
    merged.save(&home.path().join("merged")).unwrap();
}

#[test]
fn an_adapter_alone_is_its_base_with_the_adapter_on_it() {
    let home = tempfile::tempdir().unwrap();
    let saved = home.path().join("saved");
    let retriever = adapted(Sharing::Sde, |_| ());
    retriever.save(&saved).unwrap();
    // The projection stays in the base's folder.
    let alone = home.path().join("alone");
    fs::create_dir(&alone).unwrap();
    for file in ["adapter_config.json", "adapter_model.safetensors"] {
        fs::copy(saved.join(file), alone.join(file)).unwrap();
    }
    let opened = Retriever::<Flex>::open(&alone, &Default::default()).unwrap();
    assert_eq!(opened.model.config().pooling, retriever.model.config().pooling);
    assert_eq!(embeddings(&opened), embeddings(&retriever));
    // An adapter on an adapter is none.
    let description = fs::read_to_string(alone.join("adapter_config.json")).unwrap();
    let mut description: Value = serde_json::from_str(&description).unwrap();
    description["base_model_name_or_path"] = saved.display().to_string().into();
    fs::write(alone.join("adapter_config.json"), description.to_string()).unwrap();
    let error = ModelFolder::open(&alone).map(|_| ()).unwrap_err();
    assert!(error.to_string().contains("is an adapter itself"), "{error}");
    assert!(error.hint().unwrap().contains("samtone export --merge"));
    for (base, message) in [
        (json!("nobody/nothing"), "puts its adapter on is not there"),
        (json!("./nothing"), "puts its adapter on is not there"),
        (Value::Null, "`base_model_name_or_path` = `none`"),
    ] {
        description["base_model_name_or_path"] = base;
        fs::write(alone.join("adapter_config.json"), description.to_string()).unwrap();
        let error = ModelFolder::open(&alone).map(|_| ()).unwrap_err().to_string();
        assert!(error.contains(message), "{error}");
    }
}

#[test]
fn what_an_adapter_asks_for_and_is_not_there_is_refused_by_name() {
    let home = tempfile::tempdir().unwrap();
    let open = |keys: Value| {
        write_adapter(home.path(), "qwen3", &changed("qwen3", keys));
        let folder = ModelFolder::open(home.path())?;
        folder.load::<Flex>(0, &Default::default()).map(drop)
    };
    open(json!({})).unwrap();
    open(json!({ "init_lora_weights": "gaussian", "use_dora": false, "novel": null })).unwrap();
    for (keys, named) in [
        (json!({ "peft_type": "LOHA" }), "`peft_type` = `LOHA`"),
        (json!({ "use_dora": true }), "`use_dora` = `true`"),
        (json!({ "fan_in_fan_out": true }), "`fan_in_fan_out`"),
        (json!({ "lora_bias": true }), "`lora_bias`"),
        (json!({ "layer_replication": [[0, 1]] }), "`layer_replication`"),
        (json!({ "trainable_token_indices": [1] }), "`trainable_token_indices`"),
        (json!({ "init_lora_weights": "pissa" }), "`init_lora_weights` = `pissa`"),
        (json!({ "novel": 1 }), "a key `novel`"),
        (json!({ "bias": "some" }), "`bias` = `some`"),
        (json!({ "r": 3 }), "has shape [2, 12], expected [3, 12]"),
        (json!({ "r": 0 }), "`adapter.r` is 0"),
        (json!({ "lora_dropout": 1.0 }), "`adapter.dropout` is 1"),
        (json!({ "rank_pattern": { "q_proj": 5 } }), "expected [5, 12]"),
    ] {
        let error = open(keys).unwrap_err().to_string();
        assert!(error.contains(named), "{error}");
    }
}

#[test]
fn an_adapter_s_tensors_are_all_there_and_all_known() {
    let home = tempfile::tempdir().unwrap();
    write_adapter(home.path(), "bert", &changed("bert", json!({})));
    let path = home.path().join("adapter_model.safetensors");
    let own = Checkpoint::read_file(&path, |_| false).unwrap();
    let query = "base_model.model.encoder.layer.0.attention.self.query";
    let write = |change: &dyn Fn(&str) -> Option<String>| {
        let tensors: Vec<(String, Vec<usize>, Vec<u8>)> = own
            .names()
            .filter_map(|name| {
                let shape = own.shape(name).unwrap();
                let bytes = own.get(name, shape).unwrap().values.iter();
                let bytes = bytes.flat_map(|value| value.to_le_bytes()).collect();
                Some((change(name)?, shape.to_vec(), bytes))
            })
            .collect();
        let views = tensors.iter().map(|(name, shape, bytes)| {
            (name, TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap())
        });
        fs::write(&path, safetensors::serialize(views, None).unwrap()).unwrap();
        let folder = ModelFolder::open(home.path())?;
        folder.load::<Flex>(0, &Default::default())
    };
    // As of a whole model.
    let whole = |name: &str| Some(name.replace("base_model.model.", "base_model.model.bert."));
    assert_eq!(states(&write(&whole).unwrap(), 0), states(&load::<Flex>(&adapter("bert")), 0));
    // Its patterns are for the names that the whole model has.
    let pattern = |prefix: &str| {
        let module = format!("{prefix}encoder.layer.0.attention.self.value");
        changed("bert", json!({ "alpha_pattern": { module: 9 } }))
    };
    write_adapter(home.path(), "bert", &pattern(""));
    let scaled = states(&load::<Flex>(home.path()), 0);
    write_adapter(home.path(), "bert", &pattern("bert."));
    assert_eq!(states(&write(&whole).unwrap(), 0), scaled);
    write_adapter(home.path(), "bert", &changed("bert", json!({ "alpha_pattern": {} })));
    assert_ne!(states(&load::<Flex>(home.path()), 0), scaled);
    let without = |name: &str| (name != format!("{query}.lora_B.weight")).then(|| name.to_owned());
    let error = write(&without).map(drop).unwrap_err().to_string();
    assert!(error.contains("lacks tensor `encoder.layer.0.attention.self.query.lora_B"), "{error}");
    let renamed = |name: &str| Some(name.replace("self.query.lora_A", "self.ask.lora_A"));
    let error = write(&renamed).map(drop).unwrap_err().to_string();
    assert!(error.contains("lacks tensor `encoder.layer.0.attention.self.query.lora_A"), "{error}");
    let unknown = |name: &str| Some(name.replace("layer.0.attention.self.query", "layer.7.ask"));
    let error = write(&unknown).map(drop).unwrap_err().to_string();
    assert!(error.contains("encoder.layer.7.ask"), "{error}");
    let embedding =
        |name: &str| Some(name.replace("query.lora_A.weight", "query.lora_embedding_A"));
    assert!(write(&embedding).map(drop).unwrap_err().to_string().contains("lora_embedding_A"));
}

#[test]
fn adapters_that_cannot_be_are_named() {
    let mut folder = ModelFolder::open(&fixture("bert")).unwrap();
    folder.config.adapter =
        Some(AdapterConfig { targets: Some(Targets::Names(vec!["q_proj".into()])), ..on_all(2) });
    let error = folder.load::<Flex>(0, &Default::default()).unwrap_err().to_string();
    let expected = "`adapter.targets` names `q_proj`, which no module of the encoder is called: there \
                    are `dense`, `key`, `query`, `value`";
    assert_eq!(error, expected);
    let mut refused = |adapter| {
        folder.config.adapter = Some(adapter);
        folder.load::<Flex>(0, &Default::default()).unwrap_err().to_string()
    };
    let rank_pattern = [("pooler".to_owned(), 3)].into();
    let error = refused(AdapterConfig { rank_pattern, ..AdapterConfig::default() });
    assert!(error.contains("`adapter.rank_pattern` names `pooler`"), "{error}");
    // Nothing would be left with an adapter.
    let modules_to_save = vec!["attention".to_owned()];
    let error = refused(AdapterConfig { modules_to_save, ..AdapterConfig::default() });
    assert!(error.contains("`adapter.targets` names `query`"), "{error}");
    // PEFT would train all norms.
    let mut llama = ModelFolder::open(&fixture("encoders/llama-prefixed")).unwrap();
    let modules_to_save = vec!["norm".to_owned()];
    llama.config.adapter = Some(AdapterConfig { modules_to_save, ..AdapterConfig::default() });
    let error = llama.load::<Flex>(0, &Default::default()).unwrap_err().to_string();
    assert!(error.contains("`norm`, by which PEFT takes `"), "{error}");
    folder.config.adapter = None;
    folder.config.sharing = Sharing::AdeAdapter;
    let error = folder.load::<Flex>(0, &Default::default()).unwrap_err().to_string();
    assert_eq!(error, "`sharing` is ade-adapter, expected an `adapter` with it");
    let biased = AdapterConfig { bias: AdapterBias::All, ..AdapterConfig::default() };
    folder.config.adapter = Some(biased);
    let error = folder.load::<Flex>(0, &Default::default()).unwrap_err().to_string();
    assert!(error.contains("the towers share it"), "{error}");
    // A folder's own adapter is not replaced.
    let mut own = ModelFolder::open(&adapter("bert")).unwrap();
    own.config.adapter = Some(on_all(2));
    let error = own.load::<Flex>(0, &Default::default()).unwrap_err();
    assert!(error.to_string().contains("has an adapter of its own"), "{error}");
    assert!(error.hint().unwrap().contains("--merge"));
}

#[test]
fn the_table_of_words_is_saved_by_either_of_its_names() {
    let mut folder = ModelFolder::open(&fixture("encoders/umt5")).unwrap();
    for name in ["shared", "embed_tokens"] {
        let modules_to_save = vec![name.to_owned()];
        folder.config.adapter = Some(AdapterConfig { modules_to_save, ..AdapterConfig::default() });
        let model: DualEncoder<Flex> = folder.load(0, &Default::default()).unwrap();
        let trained = model.parameters().iter().filter(|p| p.is_trainable && !p.is_adapter);
        let trained: Vec<Part> = trained.map(|p| p.part).collect();
        assert_eq!(trained, [Part::Embedder], "{name}");
    }
    // Every layer has positions of its own, and freezes them.
    let model: DualEncoder<Flex> = load(&fixture("encoders/umt5"));
    let tables = model.parameters().iter().filter(|p| p.name.contains("relative_attention_bias"));
    let parts: Vec<Part> = tables.map(|p| p.part).collect();
    assert_eq!(parts, [Part::Layer(0), Part::Layer(1)]);
}

#[test]
fn adapters_drop_the_same_elements_whatever_shares_the_batch() {
    let mut folder = ModelFolder::open(&fixture("folders/model")).unwrap();
    folder.config.adapter = Some(on_all(2));
    let retriever = Retriever::<Flex>::load(&folder, 5, &Default::default()).unwrap();
    let model = shaken(&retriever).model;
    let rows: Vec<Vec<u32>> = vec![vec![2, 5, 6, 3], vec![2, 7, 8, 9, 3]];
    let embed = |rows: &[Vec<u32>], first_row| {
        let dropout = Some(Dropout { key: Key::new(4), first_row });
        values(model.encode(Side::Query, &TokenBatch::pad(rows, 0), dropout))
    };
    let together = embed(&rows, 0);
    let apart = [embed(&rows[..1], 0), embed(&rows[1..], 1)].concat();
    assert_close("chunks", &together, &apart, 2e-6);
    assert_ne!(embed(&rows, 0), embed(&rows, 2));
}
