//! A TOML file with changes of single keys on top, and the place of every mistake in them.

use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::unreadable::unreadable;
use super::written::{Override, Written};
use crate::error::TrainError;

/// The configuration of a run: a TOML file, every key with a default, unknown keys refused.
pub trait Configuration: Serialize + DeserializeOwned + Default {
    /// Keys of which one at most is given: a `--set` of one takes the other's place in the file.
    const RIVALS: &[[&str; 2]];

    /// What is wrong with the values, the key named; none if they fit together.
    fn mistake(&self) -> Option<String>;

    /// Reads the file at `path`, applies `overrides` in their order and validates.
    ///
    /// # Errors
    /// A missing file, a syntax error, an unknown key (with what was meant, where that is plain) or a
    /// value out of range, each with its place.
    fn load(path: &Path, overrides: &[Override]) -> Result<Self, TrainError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| TrainError::Read { path: path.into(), source })?;
        Self::parse(&text, path, overrides)
    }

    /// As [`load`](Self::load), from `text`; `path` names it in messages.
    ///
    /// # Errors
    /// As [`load`](Self::load), but for the missing file.
    fn parse(text: &str, path: &Path, overrides: &[Override]) -> Result<Self, TrainError> {
        let config: Self = read(text, path, overrides)?;
        let Some(mistake) = config.mistake() else { return Ok(config) };
        // Whose it is: the override's without which there is none of this kind.
        let is_of = |place: usize| {
            let mut others = overrides.to_vec();
            others.remove(place);
            read(text, path, &others)
                .is_ok_and(|config: Self| config.mistake().as_ref() != Some(&mistake))
        };
        let place = match (0..overrides.len()).rev().find(|&place| is_of(place)) {
            Some(place) => Written::Override(overrides[place].clone()),
            None => Written::File(path.into(), None),
        };
        Err(TrainError::config(place, mistake))
    }

    /// The configuration as TOML with every key in it, as the run folder holds it.
    ///
    /// # Panics
    /// Never: every configuration is representable.
    fn to_toml(&self) -> String {
        toml::to_string_pretty(self).expect("every configuration is representable as TOML")
    }
}

/// Reads the settings in `text`, which `path` names in messages, with `overrides` on top. What one of
/// them leaves unreadable a later one may complete, as a table's `type` does the keys that came before.
fn read<T: Configuration>(
    text: &str,
    path: &Path,
    overrides: &[Override],
) -> Result<T, TrainError> {
    // The file alone first: its mistakes have a line and a column.
    let _: T = toml::from_str(text).map_err(|error| {
        let place = error.span().map(|span| line_and_column(text, span.start));
        unreadable::<T>(Written::File(path.into(), place), error.message())
    })?;
    let mut table: toml::Table = toml::from_str(text).expect("the text was just parsed");
    let mut config = T::default();
    let mut unread = None;
    if overrides.is_empty() {
        config = T::deserialize(table.clone())
            .map_err(|error| unreadable::<T>(Written::File(path.into(), None), error.message()))?;
    }
    for change in overrides {
        let place = || Written::Override(change.clone());
        match change {
            Override::Unset(key) => {
                // A key that is not known is refused, as where it is given a value.
                let mut probe = table.clone();
                unset(&mut table, key.trim());
                set(&mut probe, key.trim(), toml::Value::Table(toml::Table::new()))
                    .map_err(|message| TrainError::config(place(), message))?;
                if let Err(error) = T::deserialize(probe)
                    && error.message().starts_with("unknown field")
                {
                    return Err(unreadable::<T>(place(), error.message()));
                }
            }
            Override::Set(text) => {
                let (key, value) = text
                    .split_once('=')
                    .ok_or_else(|| TrainError::config(place(), "expected `section.key=value`"))?;
                let rivals = T::RIVALS.iter().filter(|rivals| rivals.contains(&key.trim()));
                for rival in rivals.flatten().filter(|rival| **rival != key.trim()) {
                    unset(&mut table, rival);
                }
                set(&mut table, key.trim(), parse_value(value))
                    .map_err(|message| TrainError::config(place(), message))?;
            }
        }
        match T::deserialize(table.clone()) {
            Ok(read) => (config, unread) = (read, None),
            Err(error) => {
                unread.get_or_insert_with(|| unreadable::<T>(place(), error.message()));
            }
        }
    }
    unread.map_or(Ok(config), Err)
}

/// Puts `value` at the dotted `key`, making the tables on the way.
fn set(table: &mut toml::Table, key: &str, value: toml::Value) -> Result<(), String> {
    match key.split_once('.') {
        None if key.is_empty() => Err("the key is empty".into()),
        None => {
            table.insert(key.into(), value);
            Ok(())
        }
        Some((section, rest)) => {
            let entry =
                table.entry(section).or_insert_with(|| toml::Value::Table(toml::Table::new()));
            match entry {
                toml::Value::Table(inner) => set(inner, rest, value),
                _ => Err(format!("`{section}` is a value, not a section")),
            }
        }
    }
}

/// Removes the dotted `key`, if it is there.
fn unset(table: &mut toml::Table, key: &str) {
    match key.split_once('.') {
        None => {
            table.remove(key);
        }
        Some((section, rest)) => {
            if let Some(toml::Value::Table(inner)) = table.get_mut(section) {
                unset(inner, rest);
            }
        }
    }
}

/// A TOML value; text that is none is a string, so that quotes may be left out.
fn parse_value(text: &str) -> toml::Value {
    toml::from_str::<toml::Table>(&format!("value = {text}"))
        .ok()
        .and_then(|mut table| table.remove("value"))
        .unwrap_or_else(|| toml::Value::String(text.into()))
}

/// The line and column, from 1, of byte `offset` in `text`.
fn line_and_column(text: &str, offset: usize) -> (usize, usize) {
    let before = &text[..offset.min(text.len())];
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().map_or(0, |rest| rest.chars().count()) + 1;
    (line, column)
}
