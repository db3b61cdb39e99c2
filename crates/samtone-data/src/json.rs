//! JSON lines, parsed without copying where a text holds no escape.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, Error, Visitor},
};

use crate::{error::Fault, lines::Line};

/// Parses one line.
pub(crate) fn parse<'a, T: Deserialize<'a>>(line: Line<'a>) -> Result<T, Fault> {
    // Valid UTF-8 is checked first, so that wrong bytes get their own message; then parsing a `str`
    // need not check again.
    serde_json::from_str(line.text()?).map_err(|error| Fault::json(&error))
}

/// Text borrowed from the line where it can be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Text<'a>(pub(crate) Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(TextVisitor)
    }
}

struct TextVisitor;

impl<'de> Visitor<'de> for TextVisitor {
    type Value = Text<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Text(Cow::Borrowed(text)))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Text(Cow::Owned(text.to_owned())))
    }
}

/// An id: text, or a whole number as some collections write it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Id<'a>(pub(crate) Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Id<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(IdVisitor)
    }
}

struct IdVisitor;

impl<'de> Visitor<'de> for IdVisitor {
    type Value = Id<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string or a whole number")
    }

    fn visit_borrowed_str<E: Error>(self, id: &'de str) -> Result<Self::Value, E> {
        Ok(Id(Cow::Borrowed(id)))
    }

    fn visit_str<E: Error>(self, id: &str) -> Result<Self::Value, E> {
        Ok(Id(Cow::Owned(id.to_owned())))
    }

    fn visit_u64<E: Error>(self, id: u64) -> Result<Self::Value, E> {
        Ok(Id(Cow::Owned(id.to_string())))
    }

    fn visit_i64<E: Error>(self, id: i64) -> Result<Self::Value, E> {
        Ok(Id(Cow::Owned(id.to_string())))
    }
}

/// The fault that `field` is not in `line`, with the fields that are, or is null.
pub(crate) fn missing(line: Line<'_>, field: &'static str) -> Fault {
    fn keys<T: DeserializeOwned>(line: Line<'_>) -> Option<T> {
        serde_json::from_slice(line.bytes).ok()
    }
    let object: Option<serde_json::Map<String, serde_json::Value>> = keys(line);
    if object.as_ref().is_some_and(|object| object.contains_key(field)) {
        return Fault::NullField { field };
    }
    let found = object.map(|object| object.keys().cloned().collect()).unwrap_or_default();
    Fault::MissingField { field, found }
}
