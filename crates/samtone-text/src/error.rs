//! What can go wrong between a text and its token ids.

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

/// What the tokenizers library says.
type Reason = Box<dyn std::error::Error + Send + Sync>;

/// Everything that tokenizers and token caches can fail with.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TextError {
    /// A tokenizer file that the `tokenizers` library refuses.
    #[error("`{}` is not a tokenizer", path.display())]
    Tokenizer {
        /// The file.
        path: PathBuf,
        /// The library's reason.
        source: Reason,
    },
    /// A text that the tokenizer cannot encode.
    #[error("cannot encode the text {text:?}")]
    Encode {
        /// The beginning of the text.
        text: String,
        /// The library's reason.
        source: Reason,
    },
    /// Token ids that the tokenizer cannot decode.
    #[error("cannot decode the token ids {ids:?}")]
    Decode {
        /// The ids.
        ids: Vec<u32>,
        /// The library's reason.
        source: Reason,
    },
    /// A tokenizer that cannot be made to turn texts into lower case.
    #[error("the tokenizer cannot be made lower-casing")]
    Lowercase {
        /// The library's reason.
        source: Reason,
    },
    /// A tokenizer whose file cannot be given another length.
    #[error("the tokenizer cannot be made to cut texts to this length")]
    Limit {
        /// The library's reason.
        source: Reason,
    },
    /// A tokenizer that cannot be trained as asked.
    #[error(
        "a vocabulary of {got} tokens is too small: the special tokens and characters alone are {least}"
    )]
    VocabularyTooSmall {
        /// The size asked for, in tokens.
        got: usize,
        /// The least size that works, in tokens.
        least: usize,
    },
    /// A token that a model has no embedding for.
    #[error("the token {token:?} has id {id}, and the model has embeddings for {ids}")]
    BeyondTable {
        /// The token.
        token: String,
        /// Its id.
        id: u32,
        /// Ids that the model knows, from 0.
        ids: usize,
    },
    /// A length that leaves nothing of a text.
    #[error("a length of {max_len} tokens leaves no room beside {special} special tokens")]
    NoRoom {
        /// The length, in tokens.
        max_len: usize,
        /// The special tokens that belong to every text.
        special: usize,
    },
    /// A tokenizer without the tokens that mark what was taken out of a text.
    #[error("the tokenizer has no special token `{missing}`, which stands for {what}")]
    NoSentinel {
        /// The first that is missing.
        missing: String,
        /// What it would stand for.
        what: &'static str,
    },
    /// A file that could not be read.
    #[error("cannot read `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// A file that could not be written.
    #[error("cannot write `{}`", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
}

impl TextError {
    /// What the reader may do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Tokenizer { .. } => {
                Some("samtone reads the `tokenizer.json` of a Hugging Face model folder".to_owned())
            }
            Self::BeyondTable { .. } => Some(
                "check that `tokenizer.json` belongs to these weights; a token that was added to it is met \
                 where a text spells it out"
                    .to_owned(),
            ),
            Self::NoRoom { special, .. } => Some(format!("give {} tokens at least", special + 1)),
            Self::VocabularyTooSmall { least, .. } => {
                Some(format!("ask for {least} tokens at least, better ten times as many"))
            }
            Self::NoSentinel { .. } => Some(
                "T5's tokenizers have `<extra_id_0>` to `<extra_id_99>`; triples and sentences need none \
                 with `mask = \"literal\"`"
                    .to_owned(),
            ),
            _ => None,
        }
    }
}

/// Wraps an error of reading `path`.
pub(crate) fn read_error(path: &Path) -> impl FnOnce(io::Error) -> TextError + '_ {
    move |source| TextError::Read { path: path.to_owned(), source }
}

/// Wraps an error of writing to `path`.
pub(crate) fn write_error(path: &Path) -> impl FnOnce(io::Error) -> TextError + '_ {
    move |source| TextError::Write { path: path.to_owned(), source }
}
