//! JSON lines, parsed without copying where a text holds no escape.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeOwned, Error, Visitor};
use serde::{Deserialize, Deserializer};

use crate::error::Fault;
use crate::reading::lines::Line;

impl<'a> Line<'a> {
    /// The JSON value that the line is.
    ///
    /// # Errors
    /// [`Fault::Utf8`] or [`Fault::Json`].
    pub fn json<T: Deserialize<'a>>(self) -> Result<T, Fault> {
        // Valid UTF-8 is checked first, so that wrong bytes get their own message; then parsing a
        // `str` need not check again.
        serde_json::from_str(self.text()?).map_err(|error| Fault::json(&error))
    }

    /// The fault that `field` is not in the line's JSON object, with the fields that are, or is null.
    pub fn missing(self, field: &'static str) -> Fault {
        fn keys<T: DeserializeOwned>(line: Line<'_>) -> Option<T> {
            serde_json::from_slice(line.bytes).ok()
        }
        let object: Option<serde_json::Map<String, serde_json::Value>> = keys(self);
        if object.as_ref().is_some_and(|object| object.contains_key(field)) {
            return Fault::NullField { field };
        }
        let found = object.map(|object| object.keys().cloned().collect()).unwrap_or_default();
        Fault::MissingField { field, found }
    }
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
