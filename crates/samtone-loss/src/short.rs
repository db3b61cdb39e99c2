//! Keys that are written as a table or, in short, as one word or number.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{self, DeserializeOwned, MapAccess, Unexpected, Visitor};
use serde::{Deserialize, Deserializer};

/// The value of such a key.
pub(crate) trait Short: Sized {
    /// The value as a table.
    type Table: DeserializeOwned + Into<Self>;

    /// What may be written, for the error about anything else.
    const EXPECTED: &'static str;

    /// The value that a word stands for.
    fn from_word<E: de::Error>(word: &str) -> Result<Self, E> {
        Err(E::invalid_type(Unexpected::Str(word), &Self::EXPECTED))
    }

    /// The value that a number stands for, which was `written` like this.
    fn from_number<E: de::Error>(_: f64, written: Unexpected<'_>) -> Result<Self, E> {
        Err(E::invalid_type(written, &Self::EXPECTED))
    }
}

/// Reads either way of writing a value.
pub(crate) fn deserialize<'de, T: Short, D: Deserializer<'de>>(from: D) -> Result<T, D::Error> {
    from.deserialize_any(ShortVisitor(PhantomData))
}

struct ShortVisitor<T>(PhantomData<T>);

impl<'de, T: Short> Visitor<'de> for ShortVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(T::EXPECTED)
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<T, E> {
        T::from_word(value)
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<T, E> {
        T::from_number(value, Unexpected::Float(value))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<T, E> {
        T::from_number(value as f64, Unexpected::Signed(value))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<T, E> {
        T::from_number(value as f64, Unexpected::Unsigned(value))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
        T::Table::deserialize(MapAccessDeserializer::new(map)).map(Into::into)
    }
}
