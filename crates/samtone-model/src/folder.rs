//! Model folders: what sentence-transformers opens, in the older schema that every reader accepts.
//!
//! One tower:
//!
//! | file | holds |
//! |---|---|
//! | `modules.json` | the stages: encoder, pooling, projection, norm |
//! | `config.json`, `model.safetensors` | the encoder, as Hugging Face has it |
//! | `tokenizer.json`, `tokenizer_config.json` | the tokenizer |
//! | `sentence_bert_config.json` | the longest text read, in tokens |
//! | `config_sentence_transformers.json` | a prompt per side |
//! | `1_Pooling/config.json` | the pooling |
//! | `2_Dense/` | the projection, if there is one |
//! | `samtone.json` | what the other files cannot say |
//!
//! Two towers: `query/` and `document/`, each as above, and `samtone.json` beside them; or, on
//! request, sentence-transformers' router: every stage in a folder of its own, `router_config.json`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use samtone_data::TextTokenizer;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::checkpoint::{self, Checkpoint, HostTensor, WEIGHTS};
use crate::config::{DualEncoderConfig, EncoderConfig, Pooling, Sharing, Side};
use crate::error::ModelError;
use crate::hugging_face;

const MODULES: &str = "modules.json";
pub(crate) const CONFIG: &str = "config.json";
const SAMTONE: &str = "samtone.json";
const PROMPTS: &str = "config_sentence_transformers.json";
const ROUTER: &str = "router_config.json";
const LIMITS: &str = "sentence_bert_config.json";
pub(crate) const TOKENIZER: &str = "tokenizer.json";
const TOKENIZER_CONFIG: &str = "tokenizer_config.json";

/// The name of the projection's weight inside its own file.
const DENSE_WEIGHT: &str = "linear.weight";

/// What a tower reads of a text beside its weights.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SideSettings {
    /// Put before every text.
    pub prompt: String,
    /// Texts are cut to this many tokens; none: to what the encoder can read.
    pub max_tokens: Option<usize>,
}

/// The content of `samtone.json`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SamtoneFile {
    #[serde(default)]
    pub(crate) sharing: Sharing,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) query_max_tokens: Option<usize>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) document_max_tokens: Option<usize>,
    /// A temperature learned in training.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) temperature: Option<f64>,
}

/// The description of one tower's folder.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct TowerFolder {
    pub(crate) path: PathBuf,
    pub(crate) encoder: EncoderConfig,
    pub(crate) pooling: Pooling,
    /// The projection's folder and its dimensions.
    pub(crate) projection: Option<(PathBuf, usize)>,
    pub(crate) normalize: bool,
    pub(crate) max_tokens: Option<usize>,
    pub(crate) prompts: BTreeMap<String, String>,
}

/// Both sides' towers, the same twice if there is but one.
pub(crate) fn read_towers(folder: &Path) -> Result<([TowerFolder; 2], SamtoneFile), ModelError> {
    let samtone: Option<SamtoneFile> = read_json_if_there(&folder.join(SAMTONE))?;
    let router_path = folder.join(ROUTER);
    if let Some(router) = read_json_if_there::<RouterFile>(&router_path)? {
        let [query, document] = Side::ALL.map(|side| {
            let stages = router.stages(&router_path, side)?;
            TowerFolder::read(folder, Some((&router_path, stages)))
        });
        let towers = [query?, document?];
        let is_one = towers[0].path == towers[1].path;
        let sharing = if is_one { Sharing::Sde } else { Sharing::Ade };
        return Ok((towers, samtone.unwrap_or(SamtoneFile { sharing, ..SamtoneFile::default() })));
    }
    let samtone = samtone.unwrap_or_default();
    let towers = if samtone.sharing.is_siamese() {
        let tower = TowerFolder::read(folder, None)?;
        [tower.clone(), tower]
    } else {
        let [query, document] =
            Side::ALL.map(|side| TowerFolder::read(&folder.join(side.name()), None));
        [query?, document?]
    };
    Ok((towers, samtone))
}

impl TowerFolder {
    /// Reads a tower's description: a sentence-transformers folder, or an encoder alone, which is
    /// pooled by the mean and normalized. `stages` are a router's for this tower, and its file.
    fn read(path: &Path, stages: Option<(&Path, Vec<ModuleEntry>)>) -> Result<Self, ModelError> {
        let mut tower = Self {
            path: path.to_owned(),
            encoder: EncoderConfig::default(),
            pooling: Pooling::Mean,
            projection: None,
            normalize: true,
            max_tokens: None,
            prompts: BTreeMap::new(),
        };
        let modules_path = path.join(MODULES);
        if let Some((file, stages)) = stages {
            tower.read_modules(file, &stages)?;
        } else if let Some(modules) = read_json_if_there::<Vec<ModuleEntry>>(&modules_path)? {
            tower.read_modules(&modules_path, &modules)?;
        }
        tower.encoder = hugging_face::read_config(&tower.path.join(CONFIG))?;
        if let Some(limits) = read_json_if_there::<LimitsFile>(&tower.path.join(LIMITS))? {
            tower.max_tokens = limits.max_seq_length;
        }
        if let Some(file) = read_json_if_there::<PromptsFile>(&path.join(PROMPTS))? {
            tower.prompts = file.prompts;
        }
        Ok(tower)
    }

    fn read_modules(&mut self, path: &Path, modules: &[ModuleEntry]) -> Result<(), ModelError> {
        let unsupported = |got: &str, expected| ModelError::Unsupported {
            path: path.to_owned(),
            key: "type",
            got: got.to_owned(),
            expected,
        };
        let folder = self.path.clone();
        self.normalize = false;
        for (at, module) in modules.iter().enumerate() {
            let kind = module.kind.rsplit('.').next().unwrap_or_default();
            let place = module_path(path, &folder, &module.path)?;
            match (at, kind) {
                (0, "Transformer") => self.path = place,
                (1, "Pooling") => self.pooling = read_pooling(&place.join(CONFIG))?,
                (2.., "Dense") if self.projection.is_none() && !self.normalize => {
                    let dim = read_dense(&place.join(CONFIG))?;
                    self.projection = Some((place, dim));
                }
                (2.., "Normalize") if at + 1 == modules.len() => self.normalize = true,
                _ => {
                    let expected =
                        "Transformer, Pooling, at most one Dense, then at most one Normalize";
                    return Err(unsupported(&module.kind, expected));
                }
            }
        }
        match modules.len() {
            0 | 1 => Err(unsupported("nothing", "a Transformer and a Pooling at least")),
            _ => Ok(()),
        }
    }

    /// The tower's weights under the names of its parameters.
    pub(crate) fn read_weights(&self) -> Result<TowerWeights, ModelError> {
        let encoder = hugging_face::read_weights(&self.path, &self.encoder)?;
        let projection = match &self.projection {
            Some((folder, _)) => Some(Checkpoint::read(folder, |_| false)?),
            None => None,
        };
        Ok(TowerWeights { encoder, projection })
    }
}

/// The weights of one tower, as its folder holds them.
#[derive(Debug)]
pub(crate) struct TowerWeights {
    encoder: Checkpoint,
    projection: Option<Checkpoint>,
}

/// The projection's weight among the parameters of a tower.
pub(crate) const PROJECTION: &str = "projection.weight";

impl TowerWeights {
    /// The values of a parameter and the file they came from; none if it is a projection and the
    /// folder has none.
    pub(crate) fn get(
        &self,
        name: &str,
        shape: &[usize],
    ) -> Result<Option<(&HostTensor, &Path)>, ModelError> {
        let (checkpoint, name) = match (name, &self.projection) {
            (PROJECTION, None) => return Ok(None),
            (PROJECTION, Some(projection)) => (projection, DENSE_WEIGHT),
            _ => (&self.encoder, name),
        };
        Ok(Some((checkpoint.get(name, shape)?, checkpoint.path())))
    }

    /// Checks that the files hold nothing but `names`.
    pub(crate) fn check_names(&self, names: &[&str]) -> Result<(), ModelError> {
        self.encoder.check_names(|name| names.contains(&name))?;
        let projects = names.contains(&PROJECTION);
        match &self.projection {
            Some(projection) => projection.check_names(|name| projects && name == DENSE_WEIGHT),
            None => Ok(()),
        }
    }
}

/// Everything one tower's folder is written from.
pub(crate) struct TowerContent<'a> {
    pub(crate) config: &'a DualEncoderConfig,
    pub(crate) max_tokens: usize,
    pub(crate) tokenizer: &'a TextTokenizer,
    /// Every parameter of the tower by name.
    pub(crate) parameters: Vec<(String, HostTensor)>,
}

/// How the stages of a tower are laid out in a folder.
#[derive(Clone, Copy)]
pub(crate) enum Stages<'a> {
    /// The encoder at the top, the other stages in numbered folders.
    Plain,
    /// Every stage in a folder of its own whose name starts with a route's.
    Route(&'a str),
}

impl TowerContent<'_> {
    /// Writes the tower's stages into `folder`; gives each one's path and kind.
    pub(crate) fn write_stages(
        self,
        folder: &Path,
        stages: Stages<'_>,
    ) -> Result<Vec<(String, &'static str)>, ModelError> {
        let mut written = Vec::new();
        let mut next = |kind: &'static str| {
            let number = written.len();
            let path = match stages {
                Stages::Plain if number == 0 => String::new(),
                Stages::Plain => format!("{number}_{kind}"),
                Stages::Route(route) => format!("{route}_{number}_{kind}"),
            };
            written.push((path.clone(), kind));
            let place = if path.is_empty() { folder.to_owned() } else { folder.join(path) };
            create_folder(&place)?;
            Ok::<PathBuf, ModelError>(place)
        };
        let config = self.config;
        let (projection, encoder): (Vec<_>, Vec<_>) =
            self.parameters.into_iter().partition(|(name, _)| name == PROJECTION);

        let place = next("Transformer")?;
        checkpoint::write(&place.join(WEIGHTS), &encoder)?;
        let pad_id = self.tokenizer.pad_id();
        write_json(&place.join(CONFIG), &hugging_face::config_json(&config.encoder, pad_id))?;
        write_tokenizer(&place, self.tokenizer, self.max_tokens)?;
        let limits = json!({ "max_seq_length": self.max_tokens, "do_lower_case": false });
        write_json(&place.join(LIMITS), &limits)?;

        write_pooling(&next("Pooling")?, config.pooling, config.encoder.hidden())?;
        if let Some((_, weight)) = projection.into_iter().next() {
            write_dense(&next("Dense")?, weight)?;
        }
        if config.normalize {
            next("Normalize")?;
        }
        Ok(written)
    }
}

/// Writes the top of a sentence-transformers folder: the stages in order, the prompts.
pub(crate) fn write_top(
    folder: &Path,
    stages: &[(String, &str)],
    prompts: &BTreeMap<&str, &str>,
    normalize: bool,
) -> Result<(), ModelError> {
    let modules: Vec<Value> = stages
        .iter()
        .enumerate()
        .map(|(idx, (path, kind))| {
            let kind = format!("sentence_transformers.models.{kind}");
            json!({ "idx": idx, "name": idx.to_string(), "path": path, "type": kind })
        })
        .collect();
    write_json(&folder.join(MODULES), &modules)?;
    let prompts = json!({
        // The release whose schema this is.
        "__version__": { "sentence_transformers": "3.0.0" },
        "default_prompt_name": null,
        "prompts": prompts,
        "similarity_fn_name": if normalize { "cosine" } else { "dot" },
    });
    write_json(&folder.join(PROMPTS), &prompts)
}

/// Writes the file that routes each side's texts through its own stages.
pub(crate) fn write_router(
    folder: &Path,
    routes: &[(Side, Vec<(String, &str)>)],
) -> Result<(), ModelError> {
    let path = |(path, _): &(String, &str)| path.clone();
    let kind = |kind: &str| format!("sentence_transformers.models.{kind}");
    let stages = routes.iter().flat_map(|(_, stages)| stages);
    let file = RouterFile {
        types: stages.map(|stage| (path(stage), kind(stage.1))).collect(),
        structure: routes
            .iter()
            .map(|(side, stages)| (side.name().to_owned(), stages.iter().map(path).collect()))
            .collect(),
        parameters: json!({ "default_route": "document", "allow_empty_key": true }),
    };
    write_json(&folder.join(ROUTER), &file)
}

/// Writes `tokenizer.json` and the names of its special tokens.
pub(crate) fn write_tokenizer(
    folder: &Path,
    tokenizer: &TextTokenizer,
    max_tokens: usize,
) -> Result<(), ModelError> {
    let path = folder.join(TOKENIZER);
    tokenizer.save(&path).map_err(|source| ModelError::Tokenizer { source })?;
    let mut config = json!({
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": max_tokens,
        "clean_up_tokenization_spaces": false,
    });
    // The names BERT, RoBERTa and T5 give their special tokens.
    let names = [
        ("pad_token", ["[PAD]", "<pad>"]),
        ("unk_token", ["[UNK]", "<unk>"]),
        ("cls_token", ["[CLS]", "<s>"]),
        ("sep_token", ["[SEP]", "</s>"]),
        ("eos_token", ["</s>", "</s>"]),
        ("mask_token", ["[MASK]", "<mask>"]),
    ];
    for (key, spellings) in names {
        if let Some(name) = spellings.iter().find(|name| tokenizer.token_id(name).is_some()) {
            config[key] = (*name).into();
        }
    }
    write_json(&folder.join(TOKENIZER_CONFIG), &config)
}

/// Writes what the other files cannot say.
pub(crate) fn write_samtone(folder: &Path, file: &SamtoneFile) -> Result<(), ModelError> {
    write_json(&folder.join(SAMTONE), file)
}

#[derive(Deserialize)]
struct ModuleEntry {
    path: String,
    #[serde(rename = "type")]
    kind: String,
}

/// Which stages each side's texts go through.
#[derive(Serialize, Deserialize)]
struct RouterFile {
    types: BTreeMap<String, String>,
    structure: BTreeMap<String, Vec<String>>,
    #[serde(default)]
    parameters: Value,
}

impl RouterFile {
    fn stages(&self, path: &Path, side: Side) -> Result<Vec<ModuleEntry>, ModelError> {
        let unsupported = |key, got: &str, expected| ModelError::Unsupported {
            path: path.to_owned(),
            key,
            got: got.to_owned(),
            expected,
        };
        let names = self.structure.get(side.name()).ok_or_else(|| {
            let routes: Vec<&str> = self.structure.keys().map(String::as_str).collect();
            unsupported("structure", &routes.join(", "), "the routes query and document")
        })?;
        let stage = |path: &String| {
            let kind = self.types.get(path);
            let kind = kind.ok_or_else(|| unsupported("types", path, "a type for each stage"))?;
            Ok(ModuleEntry { path: path.clone(), kind: kind.clone() })
        };
        names.iter().map(stage).collect()
    }
}

#[derive(Deserialize)]
struct LimitsFile {
    max_seq_length: Option<usize>,
}

#[derive(Deserialize)]
struct PromptsFile {
    #[serde(default)]
    prompts: BTreeMap<String, String>,
}

/// A module's folder, which must lie inside the model's.
fn module_path(file: &Path, folder: &Path, path: &str) -> Result<PathBuf, ModelError> {
    use std::path::Component;
    let inside = Path::new(path).components().all(|part| matches!(part, Component::Normal(_)));
    if inside {
        return Ok(if path.is_empty() { folder.to_owned() } else { folder.join(path) });
    }
    Err(ModelError::Unsupported {
        path: file.to_owned(),
        key: "path",
        got: path.to_owned(),
        expected: "a folder inside the model's",
    })
}

/// The poolings by their name in the newer schema and their key in the older one.
const POOLINGS: [(Pooling, &str, &str); 3] = [
    (Pooling::Cls, "cls", "pooling_mode_cls_token"),
    (Pooling::Mean, "mean", "pooling_mode_mean_tokens"),
    (Pooling::Last, "lasttoken", "pooling_mode_lasttoken"),
];

fn read_pooling(path: &Path) -> Result<Pooling, ModelError> {
    let file: BTreeMap<String, Value> = read_json(path)?;
    let unsupported = |got: String| ModelError::Unsupported {
        path: path.to_owned(),
        key: "pooling_mode",
        got,
        expected: "mean, cls or lasttoken",
    };
    let modes: Vec<&str> = match file.get("pooling_mode") {
        Some(Value::String(mode)) => vec![mode],
        Some(other) => return Err(unsupported(other.to_string())),
        None => {
            let is_on = |(key, value): (&'_ String, &Value)| {
                (key.starts_with("pooling_mode_") && value == true).then_some(key.clone())
            };
            let on: Vec<String> = file.iter().filter_map(is_on).collect();
            let [key] = on.as_slice() else { return Err(unsupported(on.join(" + "))) };
            let known = POOLINGS.iter().find(|(_, _, old)| old == key);
            vec![known.ok_or_else(|| unsupported(key.clone()))?.1]
        }
    };
    let known = POOLINGS.iter().find(|(_, new, _)| modes == [*new]);
    Ok(known.ok_or_else(|| unsupported(modes.join(" + ")))?.0)
}

fn write_pooling(folder: &Path, pooling: Pooling, hidden: usize) -> Result<(), ModelError> {
    let mut file = json!({
        "word_embedding_dimension": hidden,
        "pooling_mode_max_tokens": false,
        "pooling_mode_mean_sqrt_len_tokens": false,
        "pooling_mode_weightedmean_tokens": false,
        "include_prompt": true,
    });
    for (mode, _, key) in POOLINGS {
        file[key] = (mode == pooling).into();
    }
    write_json(&folder.join(CONFIG), &file)
}

/// Dimensions of a projection.
fn read_dense(path: &Path) -> Result<usize, ModelError> {
    #[derive(Deserialize)]
    struct Dense {
        out_features: usize,
        #[serde(default = "yes")]
        bias: bool,
        activation_function: String,
    }
    fn yes() -> bool {
        true
    }
    let dense: Dense = read_json(path)?;
    let unsupported = |key, got: &str, expected| {
        Err(ModelError::Unsupported { path: path.to_owned(), key, got: got.to_owned(), expected })
    };
    if dense.bias {
        return unsupported("bias", "true", "false");
    }
    if !dense.activation_function.ends_with(".Identity") {
        return unsupported("activation_function", &dense.activation_function, "Identity");
    }
    Ok(dense.out_features)
}

fn write_dense(folder: &Path, weight: HostTensor) -> Result<(), ModelError> {
    let file = json!({
        "in_features": weight.shape[1],
        "out_features": weight.shape[0],
        "bias": false,
        "activation_function": "torch.nn.modules.linear.Identity",
    });
    write_json(&folder.join(CONFIG), &file)?;
    checkpoint::write(&folder.join(WEIGHTS), &[(DENSE_WEIGHT.to_owned(), weight)])
}

fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T, ModelError> {
    let text = fs::read_to_string(path)
        .map_err(|source| ModelError::Io { path: path.to_owned(), source })?;
    serde_json::from_str(&text).map_err(|source| ModelError::Json { path: path.to_owned(), source })
}

fn read_json_if_there<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, ModelError> {
    if path.exists() { read_json(path).map(Some) } else { Ok(None) }
}

fn write_bytes(path: &Path, bytes: &[u8]) -> Result<(), ModelError> {
    fs::write(path, bytes).map_err(|source| ModelError::Io { path: path.to_owned(), source })
}

pub(crate) fn write_json(path: &Path, value: &impl Serialize) -> Result<(), ModelError> {
    let mut text = serde_json::to_string_pretty(value)
        .map_err(|source| ModelError::Json { path: path.to_owned(), source })?;
    text.push('\n');
    write_bytes(path, text.as_bytes())
}

pub(crate) fn create_folder(path: &Path) -> Result<(), ModelError> {
    fs::create_dir_all(path).map_err(|source| ModelError::Io { path: path.to_owned(), source })
}

/// Lets `write` fill a folder beside `path`, then moves it there.
pub(crate) fn whole(
    path: &Path,
    write: impl FnOnce(&Path) -> Result<(), ModelError>,
) -> Result<(), ModelError> {
    if path.exists() {
        return Err(ModelError::Exists { path: path.to_owned() });
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let partial: PathBuf = path.with_file_name(format!(".{name}.partial"));
    let io = |source| ModelError::Io { path: partial.clone(), source };
    if partial.exists() {
        fs::remove_dir_all(&partial).map_err(io)?;
    }
    create_folder(&partial)?;
    write(&partial)?;
    fs::rename(&partial, path).map_err(|source| ModelError::Io { path: path.to_owned(), source })
}
