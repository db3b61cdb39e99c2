//! Encoders with rotary positions in Hugging Face's files.
//!
//! | kin | `model_type` | tensors left out |
//! |---|---|---|
//! | ModernBERT | `modernbert` | pre-training and classifier heads |
//! | NomicBERT v1, v1.5 | `nomic_bert` | pre-training heads |
//! | GTE | `gte`, `new` | pooler and heads |
//! | EuroBERT, Llama, Mistral, Qwen2, Qwen3 | `eurobert`, `llama`, `mistral`, `qwen2`, `qwen3` | language model heads |
//! | Gemma 3 | `gemma3_text` | language model head |

mod names;
mod read;
mod write;

pub(crate) use names::{dialect, module_names, names};
pub(crate) use read::read;
pub(crate) use write::write;

use super::config::RotaryKin;

/// The `model_type` and the class of each kin.
pub(crate) const KINS: [(&str, &str, RotaryKin); 10] = [
    ("modernbert", "ModernBertModel", RotaryKin::ModernBert),
    ("nomic_bert", "NomicBertModel", RotaryKin::NomicBert),
    ("gte", "GteModel", RotaryKin::Gte),
    ("new", "NewModel", RotaryKin::New),
    ("eurobert", "EuroBertModel", RotaryKin::EuroBert),
    ("llama", "LlamaModel", RotaryKin::Llama),
    ("mistral", "MistralModel", RotaryKin::Mistral),
    ("qwen2", "Qwen2Model", RotaryKin::Qwen2),
    ("qwen3", "Qwen3Model", RotaryKin::Qwen3),
    ("gemma3_text", "Gemma3TextModel", RotaryKin::Gemma3),
];

/// The kin of a `model_type`, if it is one's.
pub(crate) fn kin(model_type: &str) -> Option<RotaryKin> {
    KINS.iter().find(|(known, _, _)| *known == model_type).map(|&(_, _, kin)| kin)
}
