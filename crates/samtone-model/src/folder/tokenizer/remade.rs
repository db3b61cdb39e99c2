//! What the tokenizer classes of transformers 5 make anew, whatever `tokenizer.json` says: all but
//! `PreTrainedTokenizerFast` take the vocabulary from it and build the rest by themselves.

use std::path::Path;

use samtone_text::TextTokenizer;
use serde::Deserialize;
use serde_json::Value;

use crate::arch::rotary::config::RotaryKin;
use crate::config::EncoderConfig;
use crate::error::ModelError;

/// A class that does so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Remade {
    /// BERT's, and those made like it.
    Bert(BertNormalizer),
    /// `RobertaTokenizer`, and whether a text starts with a space.
    Roberta(bool),
    /// One of SentencePiece's pieces by Unigram, and whether words start with a space.
    Pieces(&'static str, bool),
    /// `Qwen2Tokenizer`.
    Qwen2,
    /// `LlamaTokenizer`, and whether a text starts with a space.
    Llama(bool),
    /// `GemmaTokenizer`.
    Gemma,
}

/// What BERT's tokenizer classes are told of their normalizer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BertNormalizer {
    pub(crate) lowercase: bool,
    pub(crate) strip_accents: Option<bool>,
    pub(crate) chinese: bool,
}

/// BERT's classes.
const BERT: [&str; 4] =
    ["BertTokenizer", "DistilBertTokenizer", "ElectraTokenizer", "MPNetTokenizer"];
/// The encoders whose class is one of them where none is named.
const OF_BERT: [&str; 5] = ["bert", "mpnet", "distilbert", "electra", "nomic_bert"];

/// The classes of SentencePiece's pieces, and the encoders whose class each is.
const PIECES: [(&str, &[&str]); 3] = [
    ("XLMRobertaTokenizer", &["xlm-roberta", "gte"]),
    ("CamembertTokenizer", &["camembert"]),
    ("T5Tokenizer", &["t5", "mt5"]),
];

/// What is between two words by `Qwen2Tokenizer`.
const QWEN2_WORDS: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// The parts of `tokenizer.json` that a class may make anew.
#[derive(Deserialize)]
struct Parts {
    #[serde(default)]
    normalizer: Value,
    #[serde(default)]
    pre_tokenizer: Value,
    model: Model,
}

#[derive(Deserialize)]
struct Model {
    #[serde(rename = "type")]
    kind: Option<String>,
}

/// A part that differs: the key that decides, what it says, and what `tokenizer.json` has.
type Difference = (&'static str, Value, Value);

impl Remade {
    /// The class of a folder, by its name or else by the encoder's.
    pub(crate) fn by(
        class: Option<&str>,
        model_type: &str,
        normalizer: BertNormalizer,
        prefix: Option<bool>,
    ) -> Option<Self> {
        // Whatever class is named.
        if model_type == "qwen2" {
            return Some(Self::Qwen2);
        }
        let is = |name: &str, types: &[&str]| match class {
            Some(class) => class == name,
            None => types.contains(&model_type),
        };
        if BERT.iter().any(|name| is(name, &OF_BERT)) {
            return Some(Self::Bert(normalizer));
        }
        if is("RobertaTokenizer", &["roberta"]) {
            return Some(Self::Roberta(prefix.unwrap_or(false)));
        }
        if is("Qwen2Tokenizer", &["qwen3"]) {
            return Some(Self::Qwen2);
        }
        // Of Mistral's kin `tokenizer.json` is taken as it is.
        if is("LlamaTokenizer", &[]) && model_type != "mistral" {
            return Some(Self::Llama(prefix.unwrap_or(true)));
        }
        if is("GemmaTokenizer", &["gemma3_text"]) {
            return Some(Self::Gemma);
        }
        let pieces = PIECES.iter().find(|(name, types)| is(name, types));
        // T5's has no such key.
        pieces.map(|(name, _)| Self::Pieces(name, *name == "T5Tokenizer" || prefix.unwrap_or(true)))
    }

    /// The class's name.
    fn name(self) -> &'static str {
        match self {
            Self::Bert(_) => "BertTokenizer",
            Self::Roberta(_) => "RobertaTokenizer",
            Self::Pieces(name, _) => name,
            Self::Qwen2 => "Qwen2Tokenizer",
            Self::Llama(_) => "LlamaTokenizer",
            Self::Gemma => "GemmaTokenizer",
        }
    }

    /// Checks that the class makes of a folder's `tokenizer` what it is; `path` is that of
    /// `tokenizer_config.json`.
    pub(super) fn check(self, path: &Path, tokenizer: &TextTokenizer) -> Result<(), ModelError> {
        match self.difference(tokenizer) {
            None => Ok(()),
            Some((key, asked, found)) => Err(ModelError::TokenizerFiles {
                path: path.to_owned(),
                key,
                got: asked.to_string(),
                other: found.to_string(),
            }),
        }
    }

    /// What the class makes otherwise, if anything.
    pub(crate) fn difference(self, tokenizer: &TextTokenizer) -> Option<Difference> {
        let parts: Parts = serde_json::from_str(tokenizer.json()).ok()?;
        let Parts { normalizer, pre_tokenizer, model } = parts;
        let differs = |found: &Value| Some(("tokenizer_class", self.name().into(), found.clone()));
        let (kind, ends) = match self {
            Self::Bert(_) => ("WordPiece", [1, 1]),
            Self::Roberta(_) => ("BPE", [1, 1]),
            Self::Pieces("T5Tokenizer", _) => ("Unigram", [0, 1]),
            Self::Pieces(..) => ("Unigram", [1, 1]),
            // They are the file's.
            Self::Qwen2 | Self::Llama(_) | Self::Gemma => {
                ("BPE", tokenizer.ends().map(<[u32]>::len))
            }
        };
        if !matches!(self, Self::Bert(_)) && lower_cases(&normalizer) {
            return differs(&"Lowercase".into());
        }
        if let Some(other) = model.kind.filter(|other| *other != kind) {
            // A class that cannot hold it is a leftover where the encoder's own is not forced on it.
            return if self == Self::Qwen2 { differs(&other.into()) } else { None };
        }
        match self {
            Self::Bert(wanted) => {
                if let Some(difference) = wanted.difference(&normalizer) {
                    return Some(difference);
                }
                if pre_tokenizer["type"] != "BertPreTokenizer" {
                    return differs(&pre_tokenizer["type"]);
                }
            }
            Self::Roberta(prefix) => {
                if !normalizer.is_null() {
                    return differs(&normalizer["type"]);
                }
                if pre_tokenizer["type"] != "ByteLevel" || pre_tokenizer["use_regex"] == false {
                    return differs(&pre_tokenizer["type"]);
                }
                if pre_tokenizer["add_prefix_space"] != prefix {
                    let found = pre_tokenizer["add_prefix_space"].clone();
                    return Some(("add_prefix_space", prefix.into(), found));
                }
            }
            Self::Pieces(_, prefix) => {
                if let Some(other) = steps(&normalizer, "normalizers").find(|step| {
                    !["Precompiled", "Replace", "Strip"].iter().any(|it| step["type"] == *it)
                }) {
                    return differs(&other["type"]);
                }
                let mut words = steps(&pre_tokenizer, "pretokenizers");
                let Some(pieces) = words.find(|step| step["type"] == "Metaspace") else {
                    return differs(&pre_tokenizer["type"]);
                };
                let never =
                    pieces["prepend_scheme"] == "never" || pieces["add_prefix_space"] == false;
                if never == prefix {
                    return Some(("add_prefix_space", prefix.into(), (!never).into()));
                }
            }
            Self::Qwen2 => {
                if normalizer["type"] != "NFC" {
                    return differs(&normalizer["type"]);
                }
                let is_split = |step: &Value| step["pattern"]["Regex"] == QWEN2_WORDS;
                let is_bytes =
                    |step: &Value| step["type"] == "ByteLevel" && step["use_regex"] == false;
                let steps: Vec<&Value> = steps(&pre_tokenizer, "pretokenizers").collect();
                if !matches!(steps[..], [split, bytes] if is_split(split) && is_bytes(bytes)) {
                    return differs(&pre_tokenizer["type"]);
                }
            }
            Self::Llama(prefix) => {
                if let Some(difference) = llama_difference(prefix, &normalizer, &pre_tokenizer) {
                    return Some(difference);
                }
            }
            Self::Gemma => {
                if !is_space_marked(&normalizer) {
                    return differs(&normalizer["type"]);
                }
                // No space is left to split at.
                if !(pre_tokenizer.is_null() || pre_tokenizer["pattern"]["String"] == " ") {
                    return differs(&pre_tokenizer["type"]);
                }
            }
        }
        let added = tokenizer.ends().map(<[u32]>::len);
        (added != ends).then(|| {
            let found = format!("{} tokens before a text and {} after", added[0], added[1]);
            ("tokenizer_class", self.name().into(), found.into())
        })
    }
}

/// Checks that transformers reads an encoder's texts by `tokenizer`, where it has a class of its own for
/// them, whatever a folder says.
///
/// # Errors
/// [`ModelError::TokenizerClass`] with what is otherwise.
pub(crate) fn check_class(
    encoder: &EncoderConfig,
    tokenizer: &TextTokenizer,
) -> Result<(), ModelError> {
    let is_qwen2 =
        matches!(encoder, EncoderConfig::Rotary(rotary) if rotary.kin == RotaryKin::Qwen2);
    if !is_qwen2 {
        return Ok(());
    }
    match Remade::Qwen2.difference(tokenizer) {
        None => Ok(()),
        Some((_, _, found)) => Err(ModelError::TokenizerClass {
            model_type: "qwen2",
            class: Remade::Qwen2.name(),
            found: found.to_string(),
        }),
    }
}

/// The steps of a part, or it itself; none of null.
fn steps<'a>(part: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> {
    let alone = part[key].is_null() && !part.is_null();
    part[key].as_array().into_iter().flatten().chain(alone.then_some(part))
}

/// What `LlamaTokenizer` makes otherwise, of which a text starts with a space or does not.
fn llama_difference(prefix: bool, normalizer: &Value, words: &Value) -> Option<Difference> {
    let differs = |found: &Value| Some(("tokenizer_class", "LlamaTokenizer".into(), found.clone()));
    // Then transformers takes the file as it is.
    if steps(words, "pretokenizers").any(|step| step["type"] == "ByteLevel") {
        return None;
    }
    let normalizers: Vec<&Value> = steps(normalizer, "normalizers").collect();
    let prepends = match (normalizers.as_slice(), words["type"].as_str()) {
        ([], Some("Metaspace")) if words["split"] == false => words["prepend_scheme"] != "never",
        ([first, spaces], None) if first["type"] == "Prepend" && is_space_marked(spaces) => true,
        ([spaces], None) if is_space_marked(spaces) => false,
        (_, None) => return differs(&normalizer["type"]),
        _ => return differs(&words["type"]),
    };
    (prepends != prefix).then(|| ("add_prefix_space", prefix.into(), prepends.into()))
}

/// Whether a normalizer writes SentencePiece's mark for each space.
fn is_space_marked(step: &Value) -> bool {
    step["type"] == "Replace" && step["pattern"]["String"] == " " && step["content"] == "\u{2581}"
}

/// Whether a normalizer, or one of those in it, turns texts into lower case.
fn lower_cases(normalizer: &Value) -> bool {
    let parts = normalizer["normalizers"].as_array();
    normalizer["type"] == "Lowercase"
        || normalizer["lowercase"] == true
        || parts.is_some_and(|parts| parts.iter().any(lower_cases))
}

impl BertNormalizer {
    fn difference(self, got: &Value) -> Option<Difference> {
        if got["type"] != "BertNormalizer" {
            return Some(("tokenizer_class", "BertTokenizer".into(), got["type"].clone()));
        }
        let keys = [
            ("do_lower_case", self.lowercase.into(), &got["lowercase"]),
            ("strip_accents", self.strip_accents.into(), &got["strip_accents"]),
            ("tokenize_chinese_chars", self.chinese.into(), &got["handle_chinese_chars"]),
        ];
        let differing = keys.into_iter().find(|(_, asked, found)| asked != *found);
        differing.map(|(key, asked, found)| (key, asked, found.clone()))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// A tokenizer of these parts.
    fn tokenizer(
        model: Value,
        normalizer: Value,
        words: Value,
        ends: Option<[Option<&str>; 2]>,
    ) -> TextTokenizer {
        let special = |(id, token): (usize, &&str)| {
            json!({ "id": id, "content": token, "single_word": false, "lstrip": false,
                "rstrip": false, "normalized": false, "special": true })
        };
        let step = |token: &str| json!({ "SpecialToken": { "id": token, "type_id": 0 } });
        let text = |name: &str| json!({ "Sequence": { "id": name, "type_id": 0 } });
        let surrounded = |[first, last]: [Option<&str>; 2]| {
            let of = |steps: Vec<Option<Value>>| steps.into_iter().flatten().collect::<Vec<_>>();
            let token =
                |id: usize, name: &str| json!({ "id": name, "ids": [id], "tokens": [name] });
            json!({
                "type": "TemplateProcessing",
                "single": of(vec![first.map(step), Some(text("A")), last.map(step)]),
                "pair": of(vec![first.map(step), Some(text("A")), Some(text("B")), last.map(step)]),
                "special_tokens": { "<s>": token(0, "<s>"), "</s>": token(1, "</s>") },
            })
        };
        let added: Vec<Value> = ["<s>", "</s>"].iter().enumerate().map(special).collect();
        let file = json!({
            "version": "1.0", "truncation": null, "padding": null, "added_tokens": added,
            "normalizer": normalizer, "pre_tokenizer": words,
            "post_processor": ends.map_or(Value::Null, surrounded), "decoder": null, "model": model,
        });
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("tokenizer.json");
        std::fs::write(&path, file.to_string()).unwrap();
        TextTokenizer::from_file(&path).unwrap()
    }

    fn vocabulary() -> Value {
        json!({ "<s>": 0, "</s>": 1, "<unk>": 2, "a": 3 })
    }

    fn word_piece() -> Value {
        json!({ "type": "WordPiece", "unk_token": "<unk>", "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100, "vocab": vocabulary() })
    }

    fn bpe() -> Value {
        json!({ "type": "BPE", "vocab": vocabulary(), "merges": [] })
    }

    fn unigram() -> Value {
        let pieces = [["<s>", "</s>", "<unk>", "a"].map(|piece| json!([piece, -1.0]))].concat();
        json!({ "type": "Unigram", "unk_id": 2, "vocab": pieces, "byte_fallback": false })
    }

    const BOTH: Option<[Option<&str>; 2]> = Some([Some("<s>"), Some("</s>")]);
    const END: Option<[Option<&str>; 2]> = Some([None, Some("</s>")]);

    /// What the class of `class` and `model_type` makes otherwise: the key, and what is found.
    fn found(
        class: Option<&str>,
        model_type: &str,
        tokenizer: &TextTokenizer,
    ) -> Option<(&'static str, String)> {
        let normalizer = BertNormalizer { lowercase: true, strip_accents: None, chinese: true };
        let remade = Remade::by(class, model_type, normalizer, None)?;
        remade.difference(tokenizer).map(|(key, _, found)| (key, found.to_string()))
    }

    #[test]
    fn the_encoder_decides_where_no_class_is_named() {
        let cased = json!({ "type": "BertNormalizer", "clean_text": true, "lowercase": false,
            "handle_chinese_chars": true, "strip_accents": null });
        let words = json!({ "type": "BertPreTokenizer" });
        let cased = tokenizer(word_piece(), cased, words, BOTH);
        for model_type in OF_BERT {
            let expected = ("do_lower_case", "false".to_owned());
            assert_eq!(found(None, model_type, &cased), Some(expected), "{model_type}");
            assert_eq!(found(Some("PreTrainedTokenizer"), model_type, &cased), None);
        }
        assert_eq!(found(None, "modernbert", &cased), None);
    }

    #[test]
    fn each_class_adds_its_own_special_tokens() {
        let lower = json!({ "type": "BertNormalizer", "clean_text": true, "lowercase": true,
            "handle_chinese_chars": true, "strip_accents": null });
        let pieces = json!({ "type": "Metaspace", "replacement": "\u{2581}",
            "prepend_scheme": "always", "split": true });
        let bytes = |prefix: bool| {
            json!({ "type": "ByteLevel", "add_prefix_space": prefix, "trim_offsets": true,
                "use_regex": true })
        };
        let words = json!({ "type": "BertPreTokenizer" });
        let bert = |ends| tokenizer(word_piece(), lower.clone(), words.clone(), ends);
        let roberta = |ends| tokenizer(bpe(), Value::Null, bytes(false), ends);
        let xlm = |ends| tokenizer(unigram(), Value::Null, pieces.clone(), ends);
        let check =
            |class, of: &dyn Fn(Option<[Option<&'static str>; 2]>) -> TextTokenizer, ends| {
                assert_eq!(found(Some(class), "", &of(ends)), None, "{class}");
                for other in [None, BOTH, END].into_iter().filter(|other| *other != ends) {
                    let (key, found) = found(Some(class), "", &of(other)).unwrap();
                    assert!(key == "tokenizer_class" && found.contains("tokens before"), "{found}");
                }
            };
        check("BertTokenizer", &bert, BOTH);
        check("RobertaTokenizer", &roberta, BOTH);
        check("XLMRobertaTokenizer", &xlm, BOTH);
        check("T5Tokenizer", &xlm, END);
        // A class that cannot hold the vocabulary is a leftover.
        assert_eq!(found(Some("BertTokenizer"), "", &xlm(None)), None);

        let spaced = tokenizer(bpe(), Value::Null, bytes(true), BOTH);
        let expected = Some(("add_prefix_space", "true".to_owned()));
        assert_eq!(found(None, "roberta", &spaced), expected);
        let accents = json!({ "type": "Sequence", "normalizers":
            [{ "type": "NFD" }, { "type": "StripAccents" }] });
        let stripped = tokenizer(unigram(), accents, pieces, BOTH);
        assert_eq!(found(None, "xlm-roberta", &stripped).unwrap().1, "\"NFD\"");
        let split = tokenizer(word_piece(), lower, json!({ "type": "Whitespace" }), BOTH);
        assert_eq!(found(None, "bert", &split).unwrap().1, "\"Whitespace\"");
    }

    #[test]
    fn qwen2_is_read_by_its_own_class_whatever_is_named() {
        let words = |pattern: &str| {
            json!({ "type": "Sequence", "pretokenizers": [
                { "type": "Split", "pattern": { "Regex": pattern }, "behavior": "Isolated",
                    "invert": false },
                { "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": false,
                    "use_regex": false }] })
        };
        let nfc = json!({ "type": "NFC" });
        let plain = Some("PreTrainedTokenizer");
        let own = tokenizer(bpe(), nfc.clone(), words(QWEN2_WORDS), END);
        let other = tokenizer(bpe(), nfc.clone(), words("[a-z]+"), END);
        let lower = own.clone().lowercased().unwrap();
        assert_eq!(found(plain, "qwen2", &own), None);
        assert_eq!(found(plain, "qwen2", &other).unwrap().1, "\"Sequence\"");
        assert_eq!(found(plain, "qwen2", &lower).unwrap().1, "\"Lowercase\"");
        assert_eq!(found(plain, "qwen3", &other), None);
        assert!(found(None, "qwen3", &other).is_some());
        let pieces = tokenizer(word_piece(), nfc, Value::Null, END);
        assert_eq!(found(plain, "qwen2", &pieces).unwrap().1, "\"WordPiece\"");
    }

    #[test]
    fn spaces_are_marked_as_the_class_marks_them() {
        let mark = "\u{2581}";
        let prepend = json!({ "type": "Prepend", "prepend": mark });
        let spaces = json!({ "type": "Replace", "pattern": { "String": " " }, "content": mark });
        let both = json!({ "type": "Sequence", "normalizers": [prepend, spaces] });
        let pieces = |scheme: &str, split: bool| {
            json!({ "type": "Metaspace", "replacement": mark, "prepend_scheme": scheme,
                "split": split })
        };
        let bytes = json!({ "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true,
            "use_regex": true });
        let split = json!({ "type": "Split", "pattern": { "String": " " },
            "behavior": "MergedWithPrevious", "invert": false });
        let of = |normalizer: &Value, words: &Value| {
            tokenizer(bpe(), normalizer.clone(), words.clone(), None)
        };
        let null = Value::Null;
        let llama = |prefix: Option<bool>, of: &TextTokenizer| {
            let normalizer = BertNormalizer { lowercase: true, strip_accents: None, chinese: true };
            let remade = Remade::by(Some("LlamaTokenizer"), "llama", normalizer, prefix).unwrap();
            remade.difference(of).map(|(key, ..)| key)
        };
        let never = Some("add_prefix_space");
        for (of, [yes, no]) in [
            (of(&both, &null), [None, never]),
            (of(&spaces, &null), [never, None]),
            (of(&null, &pieces("first", false)), [None, never]),
            (of(&null, &pieces("never", false)), [never, None]),
            (of(&null, &pieces("first", true)), [Some("tokenizer_class"); 2]),
            (of(&spaces, &split), [Some("tokenizer_class"); 2]),
            (of(&null, &bytes), [None; 2]),
        ] {
            let found = [None, Some(true), Some(false)].map(|prefix| llama(prefix, &of));
            assert_eq!(found, [yes, yes, no], "{}", of.json());
        }
        assert_eq!(found(Some("LlamaTokenizer"), "mistral", &of(&null, &split)), None);

        assert_eq!(found(None, "gemma3_text", &of(&spaces, &split)), None);
        assert_eq!(found(None, "gemma3_text", &of(&spaces, &null)), None);
        assert_eq!(found(None, "gemma3_text", &of(&both, &null)).unwrap().1, "\"Sequence\"");
        assert_eq!(found(None, "gemma3_text", &of(&spaces, &bytes)).unwrap().1, "\"ByteLevel\"");
    }
}
