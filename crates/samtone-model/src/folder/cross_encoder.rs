//! A cross-encoder's folder: transformers' `BertForSequenceClassification` of one label, alone or as
//! sentence-transformers' `CrossEncoder` (2 to 6) writes it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use samtone_text::TextTokenizer;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::json::{read_json, read_json_if_there};
use super::limits::{Limits, Task};
use super::peft;
use super::settings::SETTINGS;
use super::stages::{Stage, read_modules};
use super::tokenizer::TokenizerSettings;
use super::{CONFIG, unsupported};
use crate::config::{BertConfig, EncoderConfig};
use crate::error::ModelError;
use crate::folder::checkpoint::Checkpoint;
use crate::folder::hugging_face;

/// The class whose weights are read.
const CLASS: &str = "BertForSequenceClassification";

/// What classes that score end with.
const SCORES: &str = "ForSequenceClassification";

/// What becomes of a classifier's output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ScoreActivation {
    /// Nothing.
    Identity,
    /// 1 / (1 + e^-x).
    Sigmoid,
}

/// A cross-encoder's folder whose descriptions are read and whose weights are not, yet.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct CrossEncoderFolder {
    /// The folder of the weights and the tokenizer.
    pub(crate) path: PathBuf,
    pub(crate) bert: BertConfig,
    pub(crate) activation: ScoreActivation,
    /// Pairs are cut to this many tokens.
    pub(crate) max_tokens: usize,
    pub(crate) lowercase: bool,
    pub(crate) tokenizer: TokenizerSettings,
}

/// The keys of `config.json` beside the encoder's.
#[derive(Deserialize)]
struct HeadFile {
    model_type: Option<String>,
    architectures: Option<Vec<String>>,
    id2label: Option<Map<String, Value>>,
    num_labels: Option<usize>,
    /// Of sentence-transformers 4 and 5.
    sentence_transformers: Option<SentenceTransformers>,
    /// Of those before.
    sbert_ce_default_activation_function: Option<String>,
}

#[derive(Deserialize)]
struct SentenceTransformers {
    activation_fn: Option<String>,
    #[serde(rename = "version")]
    _version: Option<String>,
    #[serde(flatten)]
    more: Map<String, Value>,
}

/// `config_sentence_transformers.json`, of sentence-transformers 6.
#[derive(Default, Deserialize)]
struct SettingsFile {
    model_type: Option<String>,
    activation_fn: Option<String>,
    #[serde(default)]
    prompts: BTreeMap<String, Option<String>>,
    default_prompt_name: Option<String>,
    #[serde(rename = "__version__")]
    _version: Option<Value>,
    // In f32 is what every layer computes here.
    #[serde(rename = "keep_in_fp32_modules")]
    _keep_in_fp32_modules: Option<Value>,
    #[serde(flatten)]
    more: Map<String, Value>,
}

impl HeadFile {
    /// Checks that it describes a BERT that gives one score.
    fn check(&self, path: &Path) -> Result<(), ModelError> {
        let refused = |key, got: &str, expected| Err(unsupported(path, key, got, expected));
        let architectures = self.architectures.as_deref().unwrap_or_default();
        if architectures != [CLASS] {
            return refused("architectures", &architectures.join(", "), CLASS);
        }
        match self.model_type.as_deref() {
            Some("bert") => {}
            other => return refused("model_type", other.unwrap_or("none"), "bert"),
        }
        // Where nothing is said, transformers has two.
        let labels = self.id2label.as_ref().map(Map::len);
        for (key, got) in [("id2label", labels), ("num_labels", self.num_labels)] {
            if let Some(got) = got.filter(|&got| got != 1) {
                return refused(key, &format!("{got} labels"), "one label: a score");
            }
        }
        if labels.or(self.num_labels).is_none() {
            return refused("num_labels", "2 labels, by default", "one label: a score");
        }
        Ok(())
    }
}

impl CrossEncoderFolder {
    /// Whether a folder describes a model that scores, of any architecture.
    ///
    /// # Errors
    /// If its `config.json` is broken.
    pub(crate) fn is_at(folder: &Path) -> Result<bool, ModelError> {
        #[derive(Default, Deserialize)]
        struct File {
            architectures: Option<Vec<String>>,
        }
        let file: File = read_json_if_there(&folder.join(CONFIG))?.unwrap_or_default();
        Ok(file.architectures.unwrap_or_default().iter().any(|class| class.ends_with(SCORES)))
    }

    /// Reads the descriptions in `folder`.
    ///
    /// # Errors
    /// If a file is missing or broken, or asks for what this crate does not have.
    pub(crate) fn open(folder: &Path) -> Result<Self, ModelError> {
        // Without stages nobody looks for the file of one.
        let (path, limits) = match read_modules(folder)? {
            None => (folder.to_owned(), Limits::default()),
            Some((file, stages)) => match &stages[..] {
                [stage] if stage.kind() == "Transformer" => {
                    let path = stage.place(&file, folder)?;
                    let limits = Limits::read(&path, Task::Scores)?;
                    (path, limits)
                }
                _ => {
                    let got = stages.iter().map(Stage::kind).collect::<Vec<_>>();
                    return Err(unsupported(&file, "type", &got.join(", "), "Transformer alone"));
                }
            },
        };
        let adapter = path.join(peft::DESCRIPTION);
        if adapter.exists() {
            let expected = "a cross-encoder with its own weights";
            return Err(unsupported(&adapter, "peft_type", "an adapter", expected));
        }
        let config = path.join(CONFIG);
        let head: HeadFile = read_json(&config)?;
        head.check(&config)?;
        let encoder = hugging_face::read_config(&config)?;
        let tokenizer = TokenizerSettings::read(&path)?;
        let max_tokens = encoder.longest_text(limits.pair_max_tokens().or(tokenizer.max_tokens));
        let EncoderConfig::Bert(bert) = encoder else {
            unreachable!("the head's `model_type` is bert")
        };
        Ok(Self {
            activation: read_activation(folder, head, &config)?,
            bert,
            max_tokens,
            lowercase: limits.lowercase,
            tokenizer,
            path,
        })
    }

    /// The tokenizer, lower-casing if a file says so.
    ///
    /// # Errors
    /// As [`TokenizerSettings::read_tokenizer`].
    pub(crate) fn read_tokenizer(&self) -> Result<TextTokenizer, ModelError> {
        let tokenizer = self.tokenizer.read_tokenizer(&self.path)?;
        if !self.lowercase {
            return Ok(tokenizer);
        }
        tokenizer.lowercased().map_err(|source| ModelError::Tokenizer { source })
    }

    /// Reads the weights: the encoder's under the names of its parameters, `pooler.dense` and
    /// `classifier`.
    ///
    /// # Errors
    /// As [`Checkpoint::read`].
    pub(crate) fn read_weights(&self) -> Result<Checkpoint, ModelError> {
        hugging_face::read_bert(&self.path)
    }
}

/// What sentence-transformers 6.2 does to the score: as the folder's settings say, or else its
/// `config.json`, or else the sigmoid of one label.
fn read_activation(
    folder: &Path,
    head: HeadFile,
    config: &Path,
) -> Result<ScoreActivation, ModelError> {
    let path = folder.join(SETTINGS);
    let settings: SettingsFile = read_json_if_there(&path)?.unwrap_or_default();
    if let Some(other) = settings.model_type.filter(|kind| kind != "CrossEncoder") {
        return Err(unsupported(&path, "model_type", &other, "CrossEncoder"));
    }
    let prompt = settings.default_prompt_name.as_ref().map(|name| settings.prompts.get(name));
    if let Some(prompt) = prompt
        && prompt.is_none_or(|text| text.as_ref().is_some_and(|text| !text.is_empty()))
    {
        let name = settings.default_prompt_name.unwrap_or_default();
        return Err(unsupported(&path, "default_prompt_name", &name, "no prompt before a pair"));
    }
    let unknown = |path: &Path, more: &Map<String, Value>| match more.keys().next() {
        Some(key) => Err(ModelError::UnknownKey { path: path.to_owned(), key: key.clone() }),
        None => Ok(()),
    };
    unknown(&path, &settings.more)?;
    let (key, older) = match head.sentence_transformers {
        Some(of_four) => {
            unknown(config, &of_four.more)?;
            ("sentence_transformers.activation_fn", of_four.activation_fn)
        }
        None => ("sbert_ce_default_activation_function", head.sbert_ce_default_activation_function),
    };
    let (path, key, class) = match (settings.activation_fn, older) {
        (Some(class), _) => (path.as_path(), "activation_fn", class),
        (None, Some(class)) => (config, key, class),
        (None, None) => return Ok(ScoreActivation::Sigmoid),
    };
    match class.strip_prefix("torch.").and_then(|rest| rest.rsplit('.').next()) {
        Some("Identity") => Ok(ScoreActivation::Identity),
        Some("Sigmoid") => Ok(ScoreActivation::Sigmoid),
        _ => Err(unsupported(path, key, &class, "torch's Identity or Sigmoid")),
    }
}
