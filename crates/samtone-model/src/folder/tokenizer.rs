//! `tokenizer.json` and `tokenizer_config.json`.

use std::fs;
use std::path::Path;

use samtone_text::TextTokenizer;
use serde::Deserialize;
use serde_json::{Map, Number, Value, json};

use super::json::{io_error, read_json, read_json_if_there, write_json};
use super::{CONFIG, unsupported};
use crate::error::ModelError;

pub(crate) const TOKENIZER: &str = "tokenizer.json";
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
    /// Whether the file says that texts lose their end.
    cuts_right: bool,
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
        }
        #[derive(Default, Deserialize)]
        struct Encoder {
            model_type: Option<String>,
            tokenizer_class: Option<String>,
        }
        let path = folder.join(TOKENIZER_CONFIG);
        let file: File = read_json_if_there(&path)?.unwrap_or_default();
        if let Some(side) = file.truncation_side.as_ref().filter(|side| *side != "right") {
            return Err(unsupported(&path, "truncation_side", side, "right"));
        }
        // A static table has none.
        let encoder: Encoder = read_json_if_there(&folder.join(CONFIG))?.unwrap_or_default();
        let class = file.tokenizer_class.or(encoder.tokenizer_class);
        let class = class.as_deref().map(|class| class.trim_end_matches("Fast"));
        let model_type = encoder.model_type.as_deref().unwrap_or_default();
        let is_bert = match class {
            Some(class) => {
                let family =
                    ["BertTokenizer", "DistilBertTokenizer", "ElectraTokenizer", "MPNetTokenizer"];
                family.contains(&class)
            }
            None => ["bert", "mpnet"].contains(&model_type),
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
        Ok(Self {
            cuts_right: file.truncation_side.is_some(),
            // Transformers writes 10^30 for "no limit".
            max_tokens: file
                .model_max_length
                .and_then(|length| length.as_u64())
                .filter(|&length| length < 1_000_000_000)
                .map(|length| length as usize),
            // Of transformers 5's classes BERT's alone does so unasked.
            tells_types: match file.model_input_names {
                Some(names) => names.iter().any(|name| name == "token_type_ids"),
                None => {
                    is_bert
                        && model_type != "mpnet"
                        && !matches!(class, Some("DistilBertTokenizer" | "MPNetTokenizer"))
                }
            },
            normalizer: if is_bert {
                Some(Remade::Bert(bert))
            } else {
                cased.map(|(class, _)| Remade::Cased(class))
            },
        })
    }

    /// Reads the tokenizer.
    ///
    /// # Errors
    /// If there is none, texts would lose their beginning, or `tokenizer_config.json` has transformers give it another normalizer than
    /// `tokenizer.json`.
    pub(crate) fn read_tokenizer(&self, folder: &Path) -> Result<TextTokenizer, ModelError> {
        let tokenizer = read_tokenizer(folder)?;
        if tokenizer.cuts_left() && !self.cuts_right {
            let path = folder.join(TOKENIZER);
            return Err(unsupported(&path, "truncation", "direction Left", "direction Right"));
        }
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

/// What other releases of transformers make a tokenizer from, where `tokenizer.json` is not there.
const SOURCES: [&str; 6] = [
    "vocab.txt",
    "vocab.json",
    "spiece.model",
    "sentencepiece.bpe.model",
    "spm.model",
    "tokenizer.model",
];

/// Reads `tokenizer.json`.
pub(crate) fn read_tokenizer(folder: &Path) -> Result<TextTokenizer, ModelError> {
    let path = folder.join(TOKENIZER);
    if !path.exists() {
        let only = SOURCES.into_iter().find(|name| folder.join(name).exists());
        return Err(ModelError::NoTokenizer { path, only });
    }
    TextTokenizer::from_file(&path).map_err(|source| ModelError::Tokenizer { source })
}

/// The tokenizer's other files, which nobody here reads.
const BESIDE: [&str; 9] = [
    "added_tokens.json",
    "merges.txt",
    "sentencepiece.bpe.model",
    "special_tokens_map.json",
    "spiece.model",
    "spm.model",
    "tokenizer.model",
    "vocab.json",
    "vocab.txt",
];

/// A tokenizer's files beside `tokenizer.json`, as a folder had them.
#[derive(Clone, Debug, Default)]
pub(crate) struct TokenizerFiles {
    /// `tokenizer_config.json`.
    config: Option<Vec<u8>>,
    beside: Vec<(&'static str, Vec<u8>)>,
    /// Whether `tokenizer.json` is as it was, too.
    is_whole: bool,
    /// What texts were cut to, in tokens.
    max_tokens: usize,
}

impl TokenizerFiles {
    /// Reads the files of `folder`, of which `tokenizer` was made and whose texts are cut to
    /// `max_tokens`.
    pub(crate) fn read(
        folder: &Path,
        tokenizer: &TextTokenizer,
        max_tokens: usize,
    ) -> Result<Self, ModelError> {
        let read = |name: &str| match folder.join(name) {
            path if path.exists() => fs::read(&path).map(Some).map_err(io_error(&path)),
            _ => Ok(None),
        };
        let mut beside = Vec::new();
        for name in BESIDE {
            beside.extend(read(name)?.map(|bytes| (name, bytes)));
        }
        let is_whole = read(TOKENIZER)?.is_some_and(|file| file == tokenizer.json().as_bytes());
        Ok(Self { config: read(TOKENIZER_CONFIG)?, beside, is_whole, max_tokens })
    }

    /// `tokenizer_config.json` with what it must say now that texts are cut to `max_tokens`; none if
    /// that is what it says.
    fn config(&self, bytes: &[u8], max_tokens: usize) -> Option<Map<String, Value>> {
        let before: Map<String, Value> = serde_json::from_slice(bytes).unwrap_or_default();
        let mut now = before.clone();
        if max_tokens != self.max_tokens {
            now.insert("model_max_length".into(), max_tokens.into());
        }
        // A class of the folder's own is not written with it; where none is named, `config.json` decides,
        // which is written anew; and a class of transformers may undo what was changed.
        let has_class = now.get("tokenizer_class").is_some_and(Value::is_string);
        if now.remove("auto_map").is_some() || !self.is_whole || !has_class {
            now.insert("tokenizer_class".into(), PLAIN_CLASS.into());
        }
        (now != before).then_some(now)
    }
}

/// The class that takes `tokenizer.json` as it is: those of the architectures make another normalizer.
const PLAIN_CLASS: &str = "PreTrainedTokenizerFast";

/// Writes `tokenizer.json` and the files beside it: as they were, but for what has changed; where there
/// were none, a `tokenizer_config.json` with the special tokens by the names that they have elsewhere.
pub(crate) fn write_tokenizer(
    folder: &Path,
    tokenizer: &TextTokenizer,
    files: &TokenizerFiles,
    max_tokens: usize,
) -> Result<(), ModelError> {
    let path = folder.join(TOKENIZER);
    tokenizer.save(&path).map_err(|source| ModelError::Tokenizer { source })?;
    let write = |name: &str, bytes: &[u8]| {
        let path = folder.join(name);
        fs::write(&path, bytes).map_err(io_error(&path))
    };
    for (name, bytes) in &files.beside {
        write(name, bytes)?;
    }
    if let Some(bytes) = &files.config {
        return match files.config(bytes, max_tokens) {
            Some(changed) => write_json(&folder.join(TOKENIZER_CONFIG), &changed),
            None => write(TOKENIZER_CONFIG, bytes),
        };
    }
    let mut config = json!({
        "tokenizer_class": PLAIN_CLASS,
        "model_max_length": max_tokens,
        "clean_up_tokenization_spaces": false,
    });
    for (key, spellings) in SPECIAL {
        if let Some(name) = spellings.iter().find(|name| tokenizer.token_id(name).is_some()) {
            config[key] = Value::from(*name);
        }
    }
    write_json(&folder.join(TOKENIZER_CONFIG), &config)
}
