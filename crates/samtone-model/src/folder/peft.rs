//! PEFT's folders: `adapter_config.json` and `adapter_model.safetensors` of adapters of low rank, on the
//! weights of another folder.
//!
//! | here | there |
//! |---|---|
//! | `M.lora_A.weight` `[r, in]`, `M.lora_B.weight` `[out, r]` | `base_model.model.M.lora_A.weight`, `base_model.model.M.lora_B.weight` |
//! | a map `M` that is trained whole | `base_model.model.M.weight` |
//! | the bias of a map `M` with an adapter | `base_model.model.M.base_layer.bias` |
//!
//! What a file names as targets is not asked: where its tensors are, there are adapters. Where PEFT finds
//! a target without tensors, it puts an adapter that changes nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use super::checkpoint::{self, Checkpoint, HostTensor};
use super::hugging_face::module_names;
use super::json::{read_json_if_there, write_json};
use super::locate::find;
use super::names::{DOWN, UP, parted};
use super::unsupported;
use crate::adapter::{AdapterBias, AdapterConfig, Places, Targets, of_own_names};
use crate::config::{DualEncoderConfig, EncoderConfig};
use crate::error::ModelError;

/// The description of an adapter.
pub(crate) const DESCRIPTION: &str = "adapter_config.json";
const WEIGHTS: &str = "adapter_model.safetensors";
const PICKLE: &str = "adapter_model.bin";
/// What PEFT puts before the names of a model's modules.
const WRAPPED: &str = "base_model.model.";
/// What stands before them where the model is a whole one, with a head.
const OF_WHOLE_MODELS: [&str; 7] =
    ["bert.", "distilbert.", "electra.", "model.", "mpnet.", "new.", "roberta."];

/// Where the adapters of `config` lie, if it has any.
///
/// # Errors
/// A pattern that is no regular expression.
pub(crate) fn places(config: &DualEncoderConfig) -> Result<Option<Places>, ModelError> {
    let names = module_names(&config.encoder);
    config.adapter.as_ref().map(|adapter| Places::new(adapter, names)).transpose()
}

/// The model that an adapter is put on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Base {
    /// The folder of its encoder.
    pub(crate) folder: PathBuf,
    /// How an adapter's file calls it: a path, or a name of the hub, and that one's revision.
    pub(crate) name: String,
    pub(crate) revision: Option<String>,
}

impl Base {
    /// The encoder in `folder`, called by its path.
    pub(crate) fn of_folder(folder: &Path) -> Self {
        let whole = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
        let name = whole.display().to_string();
        Self { folder: folder.to_owned(), name, revision: None }
    }
}

/// The keys of `adapter_config.json` that are read here, or that the tensors say better.
const KNOWN: [&str; 18] = [
    "alpha_pattern",
    "base_model_name_or_path",
    "bias",
    "exclude_modules",
    "init_lora_weights",
    "layers_pattern",
    "layers_to_transform",
    "lora_alpha",
    "lora_dropout",
    "modules_to_save",
    "peft_type",
    "r",
    "rank_pattern",
    "revision",
    "target_modules",
    "task_type",
    "use_rslora",
    "peft_version",
];

/// Those that change nothing where a trained adapter is read.
const WITHOUT_EFFECT: [&str; 8] = [
    "auto_mapping",
    "ensure_weight_tying",
    "eva_config",
    "inference_mode",
    "megatron_config",
    "megatron_core",
    "qalora_group_size",
    "runtime_config",
];

/// Those of methods that are not there.
const REFUSED: [&str; 16] = [
    "alora_invocation_tokens",
    "arrow_config",
    "corda_config",
    "fan_in_fan_out",
    "kasa_config",
    "layer_replication",
    "loftq_config",
    "lora_bias",
    "lora_ga_config",
    "monteclora_config",
    "target_parameters",
    "trainable_token_indices",
    "use_bdlora",
    "use_dora",
    "use_qalora",
    "velora_config",
];

/// An adapter's folder whose description is read, and whose tensors are not, yet.
#[derive(Debug)]
pub(crate) struct AdapterFolder {
    folder: PathBuf,
    path: PathBuf,
    keys: Map<String, Value>,
}

/// An adapter, as its folder holds it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Adapter {
    pub(crate) config: AdapterConfig,
    /// Its tensors, and those of the encoder that were trained beside it.
    pub(crate) weights: Checkpoint,
}

/// Whether a value says nothing.
fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Array(list) => list.is_empty(),
        Value::Object(table) => table.is_empty(),
        _ => false,
    }
}

impl AdapterFolder {
    /// Reads the description in `folder`; none: there is no adapter.
    ///
    /// # Errors
    /// If it is broken, or a key says what this crate does not have.
    pub(crate) fn read(folder: &Path) -> Result<Option<Self>, ModelError> {
        let path = folder.join(DESCRIPTION);
        let Some(keys) = read_json_if_there::<Map<String, Value>>(&path)? else {
            return Ok(None);
        };
        let file = Self { folder: folder.to_owned(), path, keys };
        if file.keys.get("peft_type") != Some(&"LORA".into()) {
            return Err(file.refuse("peft_type", "LORA"));
        }
        for (key, value) in file.keys.iter().filter(|(_, value)| !is_nothing(value)) {
            if let Some(refused) = REFUSED.into_iter().find(|refused| refused == key) {
                return Err(file.refuse(refused, "an adapter of low rank alone"));
            }
            if !KNOWN.contains(&key.as_str()) && !WITHOUT_EFFECT.contains(&key.as_str()) {
                return Err(ModelError::UnknownKey { path: file.path, key: key.clone() });
            }
            // The others change the base.
            let harmless = ["gaussian", "orthogonal", "eva"];
            let is_harmless = value.as_str().is_none_or(|name| harmless.contains(&name));
            if key == "init_lora_weights" && !is_harmless {
                return Err(file.refuse("init_lora_weights", "true, false, gaussian or orthogonal"));
            }
        }
        Ok(Some(file))
    }

    fn refuse(&self, key: &'static str, expected: &'static str) -> ModelError {
        let got = match self.keys.get(key) {
            None | Some(Value::Null) => "none".to_owned(),
            Some(Value::String(text)) => text.clone(),
            Some(other) => other.to_string(),
        };
        unsupported(&self.path, key, &got, expected)
    }

    fn key<T: DeserializeOwned>(
        &self,
        key: &'static str,
        expected: &'static str,
    ) -> Result<Option<T>, ModelError> {
        let value = self.keys.get(key).filter(|value| !value.is_null()).cloned();
        value.map(serde_json::from_value).transpose().map_err(|_| self.refuse(key, expected))
    }

    /// The values of a key's patterns, which are for names in the whole model, by the encoder's own
    /// names of `modules`. As in PEFT, one that no module matches is nothing.
    fn pattern<T: Copy + PartialEq + DeserializeOwned>(
        &self,
        key: &'static str,
        modules: &BTreeMap<String, String>,
    ) -> Result<BTreeMap<String, T>, ModelError> {
        let given: BTreeMap<String, T> = self.key(key, "numbers by pattern")?.unwrap_or_default();
        of_own_names(key, &given, modules)
    }

    /// The model that it belongs on: a folder, also beside the adapter's own, or a name in the cache.
    ///
    /// # Errors
    /// If it names none, or there is none.
    pub(crate) fn base(&self) -> Result<Base, ModelError> {
        let expected = "the model that it was trained on";
        let name: Option<String> = self.key("base_model_name_or_path", expected)?;
        let name = name.filter(|name| !name.is_empty());
        let name = name.ok_or_else(|| self.refuse("base_model_name_or_path", expected))?;
        let beside = self.folder.join(&name);
        let path = if !Path::new(&name).is_dir() && beside.is_dir() {
            beside
        } else {
            name.clone().into()
        };
        if path.is_dir() {
            return Ok(Base::of_folder(&find(&path)?));
        }
        let revision: Option<String> = self.key("revision", "a revision")?;
        let wanted = match &revision {
            Some(revision) => format!("{name}@{revision}").into(),
            None => path,
        };
        let folder = find(&wanted).map_err(|source| ModelError::NoBase {
            path: self.path.clone(),
            source: Box::new(source),
        })?;
        Ok(Base { folder, name, revision })
    }

    /// Reads its tensors, for an encoder of this shape.
    ///
    /// # Errors
    /// As [`Checkpoint::read_file`], or if a key has an impossible value.
    pub(crate) fn load(&self, encoder: &EncoderConfig) -> Result<Adapter, ModelError> {
        let names = module_names(encoder);
        let own = |name: &str| {
            let name = name.strip_prefix(WRAPPED).unwrap_or(name);
            let whole = OF_WHOLE_MODELS.iter().find_map(|prefix| name.strip_prefix(prefix));
            let (module, kind) = parted(whole.unwrap_or(name));
            let module = module.strip_suffix(".base_layer").unwrap_or(module);
            format!("{}{kind}", module.replace(".modules_to_save", ""))
        };
        let file = [WEIGHTS, PICKLE].map(|name| self.folder.join(name));
        let file = file.iter().find(|path| path.exists()).unwrap_or(&file[0]);
        // With every bias trained, PEFT keeps that of the module under the one that it trains, too.
        let is_beside = |name: &str| names.is_left_out(name) || name.contains(".original_module.");
        let weights = Checkpoint::read_file(file, is_beside)?;
        // Each module with an adapter, and its name in the whole model.
        let module = |name: &str| name.strip_suffix(DOWN).map(str::to_owned);
        let modules = weights.names().filter_map(|name| {
            let whole = name.strip_prefix(WRAPPED).unwrap_or(name);
            Some((module(&own(name))?, module(whole)?))
        });
        let modules: BTreeMap<String, String> = modules.collect();
        let weights = weights.rename(own)?;
        let mut config = AdapterConfig {
            r: self.key("r", "a rank")?.unwrap_or(8),
            alpha: Some(self.key("lora_alpha", "a number")?.unwrap_or(8.0)),
            dropout: self.key("lora_dropout", "a rate")?.unwrap_or(0.0),
            rslora: self.key("use_rslora", "true or false")?.unwrap_or(false),
            rank_pattern: self.pattern("rank_pattern", &modules)?,
            alpha_pattern: self.pattern("alpha_pattern", &modules)?,
            bias: self.key("bias", "none, all or lora_only")?.unwrap_or(AdapterBias::None),
            ..AdapterConfig::default()
        };
        // An embedding's adapter, a magnitude.
        let is_known =
            |name: &str| !name.contains(".lora_") || name.ends_with(DOWN) || name.ends_with(UP);
        weights.check_names(is_known)?;
        let (mut targets, mut whole) = (BTreeSet::new(), BTreeSet::new());
        for name in weights.names() {
            match parted(name) {
                (module, DOWN | UP) => targets.insert(module.to_owned()),
                (_, ".bias") if config.bias != AdapterBias::None => false,
                (module, _) => whole.insert(module.to_owned()),
            };
        }
        config.targets = Some(Targets::Names(targets.into_iter().collect()));
        config.modules_to_save = whole.into_iter().collect();
        config.validate()?;
        Ok(Adapter { config, weights: names.read(weights)? })
    }
}

/// Writes the adapter of a tower: `parameters` are its tensors, and what was trained of the encoder.
pub(crate) fn write(
    folder: &Path,
    config: &DualEncoderConfig,
    base: &Base,
    parameters: Vec<(String, HostTensor)>,
) -> Result<(), ModelError> {
    let adapter = config.adapter.clone().unwrap_or_default();
    let mut tensors = module_names(&config.encoder).write(parameters);
    let adapted: Vec<String> =
        tensors.iter().filter_map(|(name, _)| Some(name.strip_suffix(DOWN)?.to_owned())).collect();
    let mut whole: Vec<String> = Vec::new();
    for (name, _) in &mut tensors {
        let (module, kind) = parted(name);
        // PEFT puts what it trains in a module's place: T5's encoder reads its table by this name.
        let module = if module == "shared" { "encoder.embed_tokens" } else { module };
        let is_of_bias = kind == ".bias" && adapter.bias != AdapterBias::None;
        if ![DOWN, UP].contains(&kind) && !is_of_bias && !whole.iter().any(|it| it == module) {
            whole.push(module.to_owned());
        }
        let inside = kind == ".bias" && adapted.iter().any(|it| it == module);
        *name = format!("{WRAPPED}{module}{}{kind}", if inside { ".base_layer" } else { "" });
    }
    checkpoint::write(&folder.join(WEIGHTS), &tensors)?;
    let file = json!({
        "alpha_pattern": adapter.alpha_pattern,
        "auto_mapping": null,
        "base_model_name_or_path": base.name,
        "bias": adapter.bias,
        "fan_in_fan_out": false,
        "inference_mode": true,
        "init_lora_weights": true,
        "lora_alpha": number(adapter.alpha()),
        "lora_dropout": adapter.dropout,
        "modules_to_save": (!whole.is_empty()).then_some(whole),
        "peft_type": "LORA",
        "r": adapter.r,
        "rank_pattern": adapter.rank_pattern,
        "revision": base.revision,
        "target_modules": adapted,
        "task_type": "FEATURE_EXTRACTION",
        "use_dora": false,
        "use_rslora": adapter.rslora,
    });
    write_json(&folder.join(DESCRIPTION), &file)
}

/// A number without a fraction where it has none: PEFT's α is an integer.
fn number(value: f64) -> Value {
    #[expect(clippy::cast_possible_truncation, reason = "an α that small has no fraction left out")]
    if value.fract() == 0.0 && value.abs() < 1e9 { (value as i64).into() } else { value.into() }
}
