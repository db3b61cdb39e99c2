//! `tokenizer.json` and `tokenizer_config.json`.

use std::path::Path;

use samtone_text::TextTokenizer;
use serde::Deserialize;
use serde_json::{Map, Number, Value, json};

use super::json::{read_json, read_json_if_there, write_json};
use super::{CONFIG, unsupported};
use crate::error::ModelError;

const TOKENIZER: &str = "tokenizer.json";
const TOKENIZER_CONFIG: &str = "tokenizer_config.json";

/// The keys that name special tokens, and the names BERT, RoBERTa and T5 give them.
const SPECIAL: [(&str, &[&str]); 7] = [
    ("pad_token", &["[PAD]", "<pad>"]),
    ("unk_token", &["[UNK]", "<unk>"]),
    ("cls_token", &["[CLS]", "<s>"]),
    ("sep_token", &["[SEP]", "</s>"]),
    ("bos_token", &[]),
    ("eos_token", &["</s>"]),
    ("mask_token", &["[MASK]", "<mask>"]),
];

/// What `tokenizer_config.json` adds to the tokenizer.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct TokenizerSettings {
    /// Texts are cut to this many tokens where nothing else says so.
    pub(crate) max_tokens: Option<usize>,
    /// Whether the model is told which of two texts a token is of.
    pub(crate) tells_types: bool,
    /// The names of the special tokens by their key, as the file has them.
    special: Map<String, Value>,
    /// What transformers puts in place of the tokenizer's normalizer.
    normalizer: Option<Remade>,
}

/// The normalizer that a class of transformers makes anew, whatever `tokenizer.json` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Remade {
    Bert(BertNormalizer),
    /// One that keeps the case, by the class of this name.
    Cased(&'static str),
}

/// The classes whose normalizer keeps the case, and the encoders whose class each is.
const CASED: [(&str, &[&str]); 4] = [
    ("RobertaTokenizer", &["roberta"]),
    ("XLMRobertaTokenizer", &["xlm-roberta"]),
    ("CamembertTokenizer", &["camembert"]),
    ("T5Tokenizer", &["t5", "mt5"]),
];

/// What BERT's tokenizer classes are told of their normalizer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct BertNormalizer {
    lowercase: bool,
    strip_accents: Option<bool>,
    chinese: bool,
}

impl TokenizerSettings {
    /// Reads the settings of an encoder's folder.
    pub(crate) fn read(folder: &Path) -> Result<Self, ModelError> {
        #[derive(Default, Deserialize)]
        struct File {
            model_max_length: Option<Number>,
            tokenizer_class: Option<String>,
            truncation_side: Option<String>,
            model_input_names: Option<Vec<String>>,
            do_lower_case: Option<bool>,
            strip_accents: Option<bool>,
            tokenize_chinese_chars: Option<bool>,
            #[serde(flatten)]
            more: Map<String, Value>,
        }
        #[derive(Deserialize)]
        struct Encoder {
            model_type: Option<String>,
            tokenizer_class: Option<String>,
        }
        let path = folder.join(TOKENIZER_CONFIG);
        let mut file: File = read_json_if_there(&path)?.unwrap_or_default();
        if let Some(side) = file.truncation_side.filter(|side| side != "right") {
            return Err(unsupported(&path, "truncation_side", &side, "right"));
        }
        let encoder: Encoder = read_json(&folder.join(CONFIG))?;
        let class = file.tokenizer_class.or(encoder.tokenizer_class);
        let class = class.as_deref().map(|class| class.trim_end_matches("Fast"));
        let model_type = encoder.model_type.as_deref().unwrap_or_default();
        let is_bert = match class {
            Some(class) => {
                ["BertTokenizer", "DistilBertTokenizer", "ElectraTokenizer"].contains(&class)
            }
            None => model_type == "bert",
        };
        let cased = CASED.iter().find(|(name, types)| match class {
            Some(class) => class == *name,
            None => types.contains(&model_type),
        });
        let bert = BertNormalizer {
            lowercase: file.do_lower_case.unwrap_or(true),
            strip_accents: file.strip_accents,
            chinese: file.tokenize_chinese_chars.unwrap_or(true),
        };
        let special = SPECIAL
            .iter()
            .filter_map(|(key, _)| Some(((*key).to_owned(), file.more.remove(*key)?)))
            .filter(|(_, name)| !name.is_null());
        Ok(Self {
            // Transformers writes 10^30 for "no limit".
            max_tokens: file
                .model_max_length
                .and_then(|length| length.as_u64())
                .filter(|&length| length < 1_000_000_000)
                .map(|length| length as usize),
            // Of transformers 5's classes BERT's alone does so unasked.
            tells_types: match file.model_input_names {
                Some(names) => names.iter().any(|name| name == "token_type_ids"),
                None => is_bert && class != Some("DistilBertTokenizer"),
            },
            special: special.collect(),
            normalizer: if is_bert {
                Some(Remade::Bert(bert))
            } else {
                cased.map(|(class, _)| Remade::Cased(class))
            },
        })
    }

    /// The names of the special tokens by their key.
    pub(crate) fn special(&self) -> &Map<String, Value> {
        &self.special
    }

    /// Reads the tokenizer.
    ///
    /// # Errors
    /// If there is none, or `tokenizer_config.json` has transformers give it another normalizer than
    /// `tokenizer.json`.
    pub(crate) fn read_tokenizer(&self, folder: &Path) -> Result<TextTokenizer, ModelError> {
        let tokenizer = read_tokenizer(folder)?;
        if let Some(remade) = self.normalizer {
            remade.check(folder)?;
        }
        Ok(tokenizer)
    }
}

/// What of `tokenizer.json` a class of transformers may make anew.
#[derive(Deserialize)]
struct Parts {
    #[serde(default)]
    normalizer: Value,
    model: Model,
}

#[derive(Deserialize)]
struct Model {
    #[serde(rename = "type")]
    kind: Option<String>,
}

impl Remade {
    /// Checks that the tokenizer of `folder` has this normalizer.
    fn check(self, folder: &Path) -> Result<(), ModelError> {
        let parts: Parts = read_json(&folder.join(TOKENIZER))?;
        let differs = |key, asked: Value, found: &Value| ModelError::TokenizerFiles {
            path: folder.join(TOKENIZER_CONFIG),
            key,
            got: asked.to_string(),
            other: found.to_string(),
        };
        match self {
            Self::Bert(wanted) => wanted.check(parts, differs),
            Self::Cased(class) if lower_cases(&parts.normalizer) => {
                Err(differs("tokenizer_class", class.into(), &"Lowercase".into()))
            }
            Self::Cased(_) => Ok(()),
        }
    }
}

/// Whether a normalizer, or one of those in it, turns texts into lower case.
fn lower_cases(normalizer: &Value) -> bool {
    let parts = normalizer["normalizers"].as_array();
    normalizer["type"] == "Lowercase"
        || normalizer["lowercase"] == true
        || parts.is_some_and(|parts| parts.iter().any(lower_cases))
}

impl BertNormalizer {
    fn check(
        self,
        parts: Parts,
        differs: impl Fn(&'static str, Value, &Value) -> ModelError,
    ) -> Result<(), ModelError> {
        if parts.model.kind.is_some_and(|kind| kind != "WordPiece") {
            // No class of BERT's can hold it: the class is a leftover, the file alone counts.
            return Ok(());
        }
        let got = &parts.normalizer;
        if got["type"] != "BertNormalizer" {
            return Err(differs("tokenizer_class", "BertTokenizer".into(), &got["type"]));
        }
        for (key, asked, found) in [
            ("do_lower_case", self.lowercase.into(), &got["lowercase"]),
            ("strip_accents", self.strip_accents.into(), &got["strip_accents"]),
            ("tokenize_chinese_chars", self.chinese.into(), &got["handle_chinese_chars"]),
        ] {
            if asked != *found {
                return Err(differs(key, asked, found));
            }
        }
        Ok(())
    }
}

/// Reads `tokenizer.json`.
pub(crate) fn read_tokenizer(folder: &Path) -> Result<TextTokenizer, ModelError> {
    let path = folder.join(TOKENIZER);
    if !path.exists() {
        return Err(ModelError::NoTokenizer { path });
    }
    TextTokenizer::from_file(&path).map_err(|source| ModelError::Tokenizer { source })
}

/// Writes `tokenizer.json` and the names of its special tokens: `special`, or where there are none
/// those that such tokens have elsewhere.
pub(crate) fn write_tokenizer(
    folder: &Path,
    tokenizer: &TextTokenizer,
    special: &Map<String, Value>,
    max_tokens: usize,
) -> Result<(), ModelError> {
    let path = folder.join(TOKENIZER);
    tokenizer.save(&path).map_err(|source| ModelError::Tokenizer { source })?;
    let mut config = json!({
        // The class that takes `tokenizer.json` as it is: those of the architectures make another
        // normalizer.
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": max_tokens,
        "clean_up_tokenization_spaces": false,
    });
    for (key, spellings) in SPECIAL {
        let usual = || {
            let name = spellings.iter().find(|name| tokenizer.token_id(name).is_some())?;
            Some(Value::from(*name))
        };
        let name = if special.is_empty() { usual() } else { special.get(key).cloned() };
        if let Some(name) = name {
            config[key] = name;
        }
    }
    write_json(&folder.join(TOKENIZER_CONFIG), &config)
}
