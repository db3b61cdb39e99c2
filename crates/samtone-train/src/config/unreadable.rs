//! What serde finds wrong with a configuration, in the words of who wrote it.

use serde::de::DeserializeOwned;

use super::written::Written;
use crate::error::TrainError;

/// Names less alike than this (Jaro and Winkler's similarity, 1 for the same) are no slips of one
/// another: to name one would mislead.
const LEAST_LIKENESS: f64 = 0.75;

/// So many names are listed where none is near.
const FEW: usize = 12;

/// The mistake at `place` that serde tells by `message`.
pub(super) fn unreadable<C: DeserializeOwned>(place: Written, message: &str) -> TrainError {
    let message = message.lines().next().unwrap_or(message);
    match Unknown::read(message) {
        Some(unknown) => {
            TrainError::Config { place, message: unknown.message.into(), hint: unknown.hint::<C>() }
        }
        None => TrainError::config(place, in_words(message)),
    }
}

/// A name that a section or a choice does not have.
struct Unknown<'m> {
    /// What serde says of it.
    message: &'m str,
    name: &'m str,
    /// Those that are there.
    known: Vec<&'m str>,
}

impl<'m> Unknown<'m> {
    /// What `message` says, if it is of such a name.
    fn read(message: &'m str) -> Option<Self> {
        let (message, known) = message.split_once(", expected").unwrap_or((message, ""));
        if !message.starts_with("unknown field") && !message.starts_with("unknown variant") {
            return None;
        }
        let quoted = |text: &'m str| text.split('`').skip(1).step_by(2);
        Some(Self { message, name: quoted(message).next()?, known: quoted(known).collect() })
    }

    /// Whether it is a key, not a choice.
    fn is_key(&self) -> bool {
        self.message.starts_with("unknown field")
    }

    /// What was meant: the name that is like it, or the key of another section; all names where
    /// neither is there and they are few.
    fn hint<C: DeserializeOwned>(&self) -> Option<String> {
        let near = self
            .known
            .iter()
            .map(|known| (strsim::jaro_winkler(known, self.name), *known))
            .filter(|(likeness, _)| *likeness > LEAST_LIKENESS)
            .max_by(|a, b| a.0.total_cmp(&b.0))
            .map(|(_, known)| known.to_owned());
        let meant: Vec<String> = near.into_iter().chain(self.elsewhere::<C>()).collect();
        if !meant.is_empty() {
            return Some(format!("did you mean `{}`?", meant.join("` or `")));
        }
        let are_few = !self.known.is_empty() && self.known.len() <= FEW;
        are_few.then(|| format!("there are: `{}`", self.known.join("`, `")))
    }

    /// The keys of this name in other sections, those with the fewest sections around them.
    fn elsewhere<C: DeserializeOwned>(&self) -> Vec<String> {
        if !self.is_key() {
            return Vec::new();
        }
        let keys = keys::<C>().into_iter().filter(|key| key.last().is_some_and(|k| k == self.name));
        let mut keys: Vec<_> = keys.collect();
        let least = keys.iter().map(Vec::len).min();
        keys.retain(|key| Some(key.len()) == least);
        keys.into_iter().map(|key| key.join(".")).collect()
    }
}

/// Every key with the sections around it, the shortest first.
fn keys<C: DeserializeOwned>() -> Vec<Vec<String>> {
    let mut keys = vec![Vec::new()];
    let mut at = 0;
    while let Some(section) = keys.get(at).cloned() {
        keys.extend(
            keys_of::<C>(&section).into_iter().map(|key| [section.clone(), vec![key]].concat()),
        );
        at += 1;
    }
    keys
}

/// The keys of a section, as serde lists them where one is given that is none; a key that is no
/// section has none.
fn keys_of<C: DeserializeOwned>(section: &[String]) -> Vec<String> {
    const NONE: &str = "?";
    let key = |name: &str, value: toml::Value| toml::Table::from_iter([(name.to_owned(), value)]);
    let table = section
        .iter()
        .rev()
        .fold(key(NONE, toml::Value::Boolean(true)), |inner, name| key(name, inner.into()));
    let Err(error) = C::deserialize(table) else { return Vec::new() };
    let unknown =
        Unknown::read(error.message()).filter(|unknown| unknown.name == NONE && unknown.is_key());
    unknown.map_or_else(Vec::new, |unknown| unknown.known.into_iter().map(Into::into).collect())
}

/// `message` without the names of Rust's types.
fn in_words(message: &str) -> String {
    let Some((found, expected)) = message.rsplit_once(", expected ") else { return message.into() };
    let expected = match expected {
        "f64" => "a number",
        "u64" | "usize" => "a whole number of at least 0",
        words => words,
    };
    format!("{found}, expected {expected}")
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::{Configuration, ExperimentConfig, Override};

    #[track_caller]
    fn check(set: &str, message: &str, hint: Option<&str>) {
        let path = Path::new("x.toml");
        let error = ExperimentConfig::parse("", path, &Override::set_all([set])).unwrap_err();
        assert_eq!(error.to_string(), format!("`--set {set}`: {message}"));
        assert_eq!(error.hint().as_deref(), hint, "{set}");
    }

    #[test]
    fn every_section_tells_its_keys() {
        let keys: Vec<String> =
            keys::<ExperimentConfig>().iter().map(|key| key.join(".")).collect();
        for key in ["seed", "train.lr", "model.pooling", "loss.temperature", "ablate.seeds"] {
            assert!(keys.iter().any(|known| known == key), "{key} is not among {keys:?}");
        }
        assert!(keys.iter().any(|known| known == "second_stage.loss.preset"));
        // A choice is no key.
        assert!(!keys.iter().any(|known| known == "train.schedule.cosine"));
    }

    #[test]
    fn a_key_without_its_section_or_in_another_is_found() {
        for (set, name, meant) in [
            ("lr=1e-4", "lr", "did you mean `train.lr`?"),
            ("preset=gte", "preset", "did you mean `loss.preset`?"),
            ("pooling=cls", "pooling", "did you mean `model.pooling`?"),
            ("batch_size=7", "batch_size", "did you mean `train.batch_size` or `eval.batch_size`?"),
            ("model.lr=1e-4", "lr", "did you mean `train.lr`?"),
            (
                "train.temperature=0.1",
                "temperature",
                "did you mean `temperature_lr` or `loss.temperature`?",
            ),
            ("trian.lr=1e-4", "trian", "did you mean `train`?"),
        ] {
            check(set, &format!("unknown field `{name}`"), Some(meant));
        }
    }

    #[test]
    fn names_are_listed_where_none_is_near_and_they_are_few() {
        check("train.xyzzy=1", "unknown field `xyzzy`", None);
        check(
            "model.sharing=both",
            "unknown variant `both`",
            Some("there are: `sde`, `ade`, `ade-ste`, `ade-fte`, `ade-spl`, `ade-adapter`"),
        );
        let presets = "in-batch`, `in-batch-both`, `samtone-query`, `samtone-document`, `samtone`, \
                       `pair`, `gecko`, `gte`, `qwen3`, `st`, `t5x";
        for key in ["loss.preset", "train.baseline"] {
            let hint = format!("there are: `{presets}`");
            check(&format!("{key}=CoSENTLoss"), "unknown variant `CoSENTLoss`", Some(&hint));
            check(
                &format!("{key}=in_batch"),
                "unknown variant `in_batch`",
                Some("did you mean `in-batch`?"),
            );
        }
        check(
            "loss.preset=FlagEmbedding",
            "no preset is the same as `FlagEmbedding`: its default is `st` with `temperature = 0.02`",
            None,
        );
    }

    #[test]
    fn numbers_are_called_so() {
        let whole = "expected a whole number of at least 0";
        check("train.lr=fast", "invalid type: string \"fast\", expected a number", None);
        check("train.steps=-3", &format!("invalid value: integer `-3`, {whole}"), None);
        check("train.steps=1.5", &format!("invalid type: floating point `1.5`, {whole}"), None);
        check("seed=one", &format!("invalid type: string \"one\", {whole}"), None);
        check("model.normalize=1", "invalid type: integer `1`, expected a boolean", None);
    }
}
