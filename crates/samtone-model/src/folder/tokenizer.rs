//! `tokenizer.json` and `tokenizer_config.json`.

mod remade;

use std::fs;
use std::path::Path;

use samtone_text::TextTokenizer;
use serde::Deserialize;
use serde_json::{Map, Number, Value, json};

pub(crate) use self::remade::check_class;
use self::remade::{BertNormalizer, Remade};
use super::json::{io_error, read_json_if_there, write_json};
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
    /// Whether tokens are to be put before and after every text, where the file says.
    adds: [bool; 2],
    /// What transformers makes in place of the tokenizer's own parts.
    remade: Option<Remade>,
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
            add_prefix_space: Option<bool>,
            add_bos_token: Option<bool>,
            add_eos_token: Option<bool>,
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
        let encoder: Encoder = read_json_if_there(&folder.join(CONFIG))?.unwrap_or_default();
        let class = file.tokenizer_class.or(encoder.tokenizer_class);
        let class = class.as_deref().map(|class| class.trim_end_matches("Fast"));
        let model_type = encoder.model_type.as_deref().unwrap_or_default();
        let normalizer = BertNormalizer {
            lowercase: file.do_lower_case.unwrap_or(true),
            strip_accents: file.strip_accents,
            chinese: file.tokenize_chinese_chars.unwrap_or(true),
        };
        let remade = Remade::by(class, model_type, normalizer, file.add_prefix_space);
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
                    matches!(remade, Some(Remade::Bert(_)))
                        && model_type != "mpnet"
                        && !matches!(class, Some("DistilBertTokenizer" | "MPNetTokenizer"))
                }
            },
            adds: [file.add_bos_token, file.add_eos_token].map(|adds| adds == Some(true)),
            remade,
        })
    }

    /// The settings of a static table's folder: sentence-transformers goes by `tokenizer.json` alone, its
    /// truncation included.
    pub(crate) fn of_table(folder: &Path) -> Result<Self, ModelError> {
        #[derive(Deserialize)]
        struct Truncation {
            max_length: usize,
        }
        #[derive(Default, Deserialize)]
        struct File {
            truncation: Option<Truncation>,
        }
        let file: File = read_json_if_there(&folder.join(TOKENIZER))?.unwrap_or_default();
        let max_tokens = file.truncation.map(|truncation| truncation.max_length);
        Ok(Self { max_tokens, ..Self::default() })
    }

    /// Reads the tokenizer.
    ///
    /// # Errors
    /// If there is none, texts would lose their beginning, a token that `tokenizer_config.json` wants is
    /// not added, or its class has transformers make another tokenizer than `tokenizer.json`.
    pub(crate) fn read_tokenizer(&self, folder: &Path) -> Result<TextTokenizer, ModelError> {
        let tokenizer = read_tokenizer(folder)?;
        if tokenizer.cuts_left() && !self.cuts_right {
            let path = folder.join(TOKENIZER);
            return Err(unsupported(&path, "truncation", "direction Left", "direction Right"));
        }
        let ends = tokenizer.ends();
        for ((key, adds), end) in
            ["add_bos_token", "add_eos_token"].into_iter().zip(self.adds).zip(ends)
        {
            if adds && end.is_empty() {
                // Some releases of transformers add it, some do not.
                let path = folder.join(TOKENIZER_CONFIG);
                return Err(unsupported(
                    &path,
                    key,
                    "true",
                    "what `tokenizer.json` does: it adds none",
                ));
            }
        }
        if let Some(remade) = self.remade {
            remade.check(&folder.join(TOKENIZER_CONFIG), &tokenizer)?;
        }
        Ok(tokenizer)
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
