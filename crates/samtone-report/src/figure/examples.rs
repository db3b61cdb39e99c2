//! Texts as a model sees them.

use serde::Serialize;

/// A few examples, token by token.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Examples {
    /// The figure's title.
    pub title: String,
    /// What is shown and how to read it; may be empty.
    pub description: String,
    /// The examples.
    pub examples: Vec<ExampleGroup>,
}

/// The texts that belong together, such as a query and its document.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ExampleGroup {
    /// What it is called.
    pub title: String,
    /// Its texts.
    pub texts: Vec<ExampleText>,
}

/// One text of an [`ExampleGroup`].
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ExampleText {
    /// What it is, such as `query`.
    pub role: String,
    /// What is to be known of it, such as `12 tokens`; may be empty.
    pub detail: String,
    /// Its pieces, in order.
    pub pieces: Vec<Piece>,
    /// The words that the model does not see; may be empty.
    pub cut: String,
}

/// A piece of a text.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "kind", content = "text", rename_all = "kebab-case")]
pub enum Piece {
    /// A token of the text.
    Token(String),
    /// A token of the prompt before it.
    Prompt(String),
    /// A token that stands for no text, such as `[CLS]`.
    Special(String),
}

impl Piece {
    /// What is read.
    pub fn text(&self) -> &str {
        match self {
            Self::Token(text) | Self::Prompt(text) | Self::Special(text) => text,
        }
    }
}

impl Examples {
    /// No examples yet.
    pub fn new(title: impl Into<String>) -> Self {
        Self { title: title.into(), ..Self::default() }
    }
}
