//! The keys of a `config.json`, read by name and type, and the tokens that are written there.

use std::path::Path;

use samtone_text::TextTokenizer;
use serde_json::{Map, Value};

use super::json::read_json;
use super::unsupported;
use crate::config::Activation;
use crate::error::ModelError;

/// The keys of a `config.json`. One that is absent or null is [`None`]; one of another type is
/// refused.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Keys<'a> {
    path: &'a Path,
    values: Map<String, Value>,
}

impl<'a> Keys<'a> {
    /// # Errors
    /// If the file is missing or no JSON object.
    pub(crate) fn read(path: &'a Path) -> Result<Self, ModelError> {
        Ok(Self { path, values: read_json(path)? })
    }

    /// The same, of a file's inner object.
    pub(crate) fn inner(&self, key: &'static str) -> Result<Option<Self>, ModelError> {
        match self.values.get(key) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Object(values)) => {
                Ok(Some(Self { path: self.path, values: values.clone() }))
            }
            Some(_) => Err(self.refuse(key, "an object")),
        }
    }

    /// The error that the value of `key` is not what was expected.
    pub(crate) fn refuse(&self, key: &'static str, expected: &'static str) -> ModelError {
        let got = match self.values.get(key) {
            None | Some(Value::Null) => "none".to_owned(),
            Some(Value::String(text)) => text.clone(),
            Some(other) => other.to_string(),
        };
        unsupported(self.path, key, &got, expected)
    }

    fn parsed<T>(
        &self,
        key: &'static str,
        expected: &'static str,
        parse: impl Fn(&Value) -> Option<T>,
    ) -> Result<Option<T>, ModelError> {
        match self.values.get(key) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => parse(value).map(Some).ok_or_else(|| self.refuse(key, expected)),
        }
    }

    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Whether a key is there, be it null.
    pub(crate) fn says(&self, key: &str) -> bool {
        self.values.contains_key(key)
    }

    /// Whether a key is there and not null.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.values.get(key).is_some_and(|value| !value.is_null())
    }

    pub(crate) fn count(&self, key: &'static str) -> Result<Option<usize>, ModelError> {
        let parse = |value: &Value| value.as_u64().and_then(|n| usize::try_from(n).ok());
        self.parsed(key, "a whole number, not negative", parse)
    }

    pub(crate) fn number(&self, key: &'static str) -> Result<Option<f64>, ModelError> {
        self.parsed(key, "a number", Value::as_f64)
    }

    /// A yes or no, which some files write as text.
    pub(crate) fn flag(&self, key: &'static str) -> Result<Option<bool>, ModelError> {
        self.parsed(key, "true or false", |value| match value {
            Value::Bool(flag) => Some(*flag),
            Value::String(text) => text.parse().ok(),
            _ => None,
        })
    }

    pub(crate) fn text(&self, key: &'static str) -> Result<Option<&str>, ModelError> {
        match self.values.get(key) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(self.refuse(key, "a text")),
        }
    }

    pub(crate) fn list(&self, key: &'static str) -> Result<Option<&[Value]>, ModelError> {
        match self.values.get(key) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Array(list)) => Ok(Some(list)),
            Some(_) => Err(self.refuse(key, "a list")),
        }
    }

    /// Checks that a key is absent, null or false.
    pub(crate) fn never(&self, key: &'static str) -> Result<(), ModelError> {
        match self.values.get(key) {
            None | Some(Value::Null | Value::Bool(false)) => Ok(()),
            Some(Value::String(text)) if text == "false" => Ok(()),
            Some(_) => Err(self.refuse(key, "false")),
        }
    }

    /// Checks that a key, where it is there, is `only`.
    pub(crate) fn only(&self, key: &'static str, only: &'static str) -> Result<(), ModelError> {
        match self.text(key)? {
            Some(got) if got != only => Err(self.refuse(key, only)),
            _ => Ok(()),
        }
    }

    /// The nonlinearity of `key`, or `absent`.
    pub(crate) fn activation(
        &self,
        key: &'static str,
        absent: Activation,
    ) -> Result<Activation, ModelError> {
        let Some(name) = self.text(key)? else { return Ok(absent) };
        NONLINEARITIES
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, activation)| *activation)
            .ok_or_else(|| self.refuse(key, "gelu, gelu_new, relu or silu"))
    }
}

/// Transformers' names of nonlinearities; the first of each is written.
const NONLINEARITIES: [(&str, Activation); 8] = [
    ("gelu", Activation::Gelu),
    ("gelu_python", Activation::Gelu),
    ("gelu_new", Activation::GeluTanh),
    ("gelu_fast", Activation::GeluTanh),
    ("gelu_pytorch_tanh", Activation::GeluTanh),
    ("relu", Activation::Relu),
    ("silu", Activation::Silu),
    ("swish", Activation::Silu),
];

/// Transformers' name of a nonlinearity.
pub(crate) fn activation_name(activation: Activation) -> &'static str {
    let named = NONLINEARITIES.iter().find(|(_, known)| *known == activation);
    named.expect("every nonlinearity has a name").0
}

/// The tokens that a `config.json` names.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct TokenIds {
    /// What fills a batch's rows.
    pub(crate) pad: u32,
    /// What every text begins with, or the padding.
    pub(crate) first: u32,
    /// What every text ends with, or the padding.
    pub(crate) last: u32,
}

impl TokenIds {
    /// Those of a tokenizer.
    pub(crate) fn of(tokenizer: &TextTokenizer) -> Self {
        let (pad, [before, after]) = (tokenizer.pad_id(), tokenizer.ends());
        let [first, last] = [before.first(), after.last()].map(|id| *id.unwrap_or(&pad));
        Self { pad, first, last }
    }
}
