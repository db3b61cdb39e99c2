//! Which maps of an encoder have an adapter, and of what rank and scale: PEFT's rules.

use std::collections::{BTreeMap, BTreeSet};

use regex::Regex;

use super::config::{ALL_LINEAR, AdapterBias, AdapterConfig, Targets};
use crate::error::ModelError;
use crate::folder::names::{Module, Names, parted};

/// The places of an encoder's adapters.
#[derive(Debug)]
pub(crate) struct Places {
    names: &'static Names,
    targets: Matcher,
    config: AdapterConfig,
    ranks: Vec<(Regex, usize)>,
    alphas: Vec<(Regex, f64)>,
}

/// The adapter of one map.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Place {
    pub(crate) rank: usize,
    /// The factor of B A.
    pub(crate) scale: f64,
    /// The map, as this crate calls it, that holds A.
    pub(crate) holder: String,
}

#[derive(Debug)]
enum Matcher {
    All,
    Whole(Regex),
    Names(Vec<String>),
}

impl Matcher {
    fn takes(&self, module: &str) -> bool {
        match self {
            Self::All => true,
            Self::Whole(pattern) => pattern.is_match(module),
            Self::Names(names) => names.iter().any(|name| is_called(module, name)),
        }
    }
}

/// Whether `module` has this name, or ends in it behind a dot.
fn is_called(module: &str, name: &str) -> bool {
    module.strip_suffix(name).is_some_and(|before| before.is_empty() || before.ends_with('.'))
}

/// Whether `module` has this name or lies inside a module that has.
fn lies_in(module: &str, name: &str) -> bool {
    let mut ends = module.match_indices('.').map(|(at, _)| at).chain([module.len()]);
    ends.any(|end| is_called(&module[..end], name))
}

/// Regular expressions for the ends of names, each with a value.
fn patterns<'p, T: Copy + 'p>(
    given: impl IntoIterator<Item = (&'p String, &'p T)>,
) -> Result<Vec<(Regex, T)>, ModelError> {
    let compile = |(pattern, &value): (&String, &T)| {
        Ok((regex(&format!(r"^(?:.*\.)?(?:{pattern})$"))?, value))
    };
    given.into_iter().map(compile).collect()
}

fn regex(pattern: &str) -> Result<Regex, ModelError> {
    let expected = "a regular expression";
    let wrong = |_| ModelError::Config { key: "adapter", got: pattern.to_owned(), expected };
    Regex::new(pattern).map_err(wrong)
}

/// The value of the pattern that `module` matches, if one does.
fn of_pattern<T: Copy + PartialEq>(
    key: &'static str,
    patterns: &[(Regex, T)],
    module: &str,
) -> Result<Option<T>, ModelError> {
    let mut found = patterns.iter().filter(|(pattern, _)| pattern.is_match(module));
    let first = found.next().map(|&(_, value)| value);
    match found.find(|&&(_, value)| Some(value) != first) {
        None => Ok(first),
        // PEFT takes the first of the file, whose order is lost here.
        Some(_) => Err(ModelError::Config {
            key,
            got: format!("two patterns that `{module}` matches"),
            expected: "one for each module",
        }),
    }
}

/// That nothing is called `name` among modules, of which the last parts are told.
fn no_module(key: &'static str, name: &str, among: &[String]) -> ModelError {
    let last = |module: &String| module.rsplit('.').next().unwrap_or(module).to_owned();
    let known = among.iter().map(last).collect::<BTreeSet<_>>().into_iter().collect();
    ModelError::NoModule { key, name: name.to_owned(), known }
}

/// For the modules of an encoder, each with its name in a whole model, the value of the pattern that the
/// latter matches: by patterns for the encoder's own names.
///
/// # Errors
/// As [`patterns`] and [`of_pattern`].
pub(crate) fn of_own_names<T: Copy + PartialEq>(
    key: &'static str,
    given: &BTreeMap<String, T>,
    modules: &BTreeMap<String, String>,
) -> Result<BTreeMap<String, T>, ModelError> {
    let patterns = patterns(given)?;
    let mut own = BTreeMap::new();
    for (module, whole) in modules {
        if let Some(value) = of_pattern(key, &patterns, whole)? {
            own.insert(regex::escape(module), value);
        }
    }
    Ok(own)
}

impl Places {
    /// The places that `config` names among the modules of an encoder with these names.
    ///
    /// # Errors
    /// A pattern that is no regular expression.
    pub(crate) fn new(config: &AdapterConfig, names: &'static Names) -> Result<Self, ModelError> {
        let targets = match &config.targets {
            None => Matcher::Names(names.adapted.iter().copied().map(String::from).collect()),
            Some(Targets::Names(names)) => Matcher::Names(names.clone()),
            Some(Targets::Pattern(all)) if all.eq_ignore_ascii_case(ALL_LINEAR) => Matcher::All,
            Some(Targets::Pattern(pattern)) => Matcher::Whole(regex(&format!("^(?:{pattern})$"))?),
        };
        let (ranks, alphas) = (patterns(&config.rank_pattern)?, patterns(&config.alpha_pattern)?);
        Ok(Self { names, targets, config: config.clone(), ranks, alphas })
    }

    /// Share of the elements of a state that A does not see.
    pub(crate) fn dropout(&self) -> f64 {
        self.config.dropout
    }

    /// The adapter of the map that this crate calls `map`, if it has one.
    ///
    /// # Errors
    /// If two patterns give it different ranks or αs.
    pub(crate) fn of(&self, map: &str) -> Result<Option<Place>, ModelError> {
        let Module { name: module, mut parts, .. } = self.names.module(map);
        if !self.targets.takes(&module) || self.saves(&module) {
            return Ok(None);
        }
        let rank = of_pattern("adapter.rank_pattern", &self.ranks, &module)?;
        let alpha = of_pattern("adapter.alpha_pattern", &self.alphas, &module)?;
        let rank = rank.unwrap_or(self.config.r);
        let alpha = alpha.unwrap_or(self.config.alpha());
        let divisor = if self.config.rslora { (rank as f64).sqrt() } else { rank as f64 };
        Ok(Some(Place { rank, scale: alpha / divisor, holder: parts.swap_remove(0) }))
    }

    /// Whether the encoder's own parameter `name` is trained beside the adapters.
    ///
    /// # Errors
    /// As [`of`](Self::of).
    pub(crate) fn trains(&self, name: &str) -> Result<bool, ModelError> {
        let (ours, kind) = parted(name);
        let is_of_bias = kind == ".bias"
            && match self.config.bias {
                AdapterBias::None => false,
                AdapterBias::All => true,
                AdapterBias::LoraOnly => self.of(ours)?.is_some(),
            };
        let mut saved = self.config.modules_to_save.iter();
        Ok(is_of_bias || saved.any(|name| self.is_called_in(ours, name)))
    }

    /// Whether a module is trained whole, itself or inside one that is.
    fn saves(&self, module: &str) -> bool {
        self.config.modules_to_save.iter().any(|name| lies_in(module, name))
    }

    /// Checks that adapters were found for all that is named, among `maps` and all the parameters'
    /// modules.
    ///
    /// # Errors
    /// The first name that nothing is called by.
    pub(crate) fn check<'n>(
        &self,
        maps: &[String],
        parameters: impl Iterator<Item = &'n str>,
    ) -> Result<(), ModelError> {
        let module = |ours: &String| self.names.module(ours).name;
        let maps: Vec<String> = maps.iter().map(module).collect();
        let wrong = |key, name: &str, among: &[String]| Err(no_module(key, name, among));
        let is_adapted = |map: &&String| self.targets.takes(map) && !self.saves(map);
        let adapted: Vec<String> = maps.iter().filter(is_adapted).cloned().collect();
        if let Matcher::Names(names) = &self.targets {
            let is_lost = |name: &&String| !adapted.iter().any(|map| is_called(map, name));
            if let Some(lost) = names.iter().find(is_lost) {
                return wrong("adapter.targets", lost, &maps);
            }
        }
        if maps.is_empty() {
            let (got, expected) = ("an encoder without maps".into(), "one with layers");
            return Err(ModelError::Config { key: "adapter", got, expected });
        }
        if adapted.is_empty() {
            let target = match &self.targets {
                Matcher::Whole(pattern) => pattern.as_str(),
                Matcher::All => ALL_LINEAR,
                Matcher::Names(_) => "[]",
            };
            return wrong("adapter.targets", target, &maps);
        }
        let without = |pattern: &Regex| !adapted.iter().any(|map| pattern.is_match(map));
        let mut ranks = self.config.rank_pattern.keys().zip(&self.ranks);
        if let Some((name, _)) = ranks.find(|(_, rank)| without(&rank.0)) {
            return wrong("adapter.rank_pattern", name, &adapted);
        }
        let mut alphas = self.config.alpha_pattern.keys().zip(&self.alphas);
        if let Some((name, _)) = alphas.find(|(_, alpha)| without(&alpha.0)) {
            return wrong("adapter.alpha_pattern", name, &adapted);
        }
        self.check_saved(parameters.map(|name| parted(name).0))
    }

    /// Checks that every module to save is there, among the modules of parameters that this crate calls
    /// `ours`, and is meant by PEFT as it is here: by the bare end of a name PEFT takes other modules, too.
    fn check_saved<'n>(&self, ours: impl Iterator<Item = &'n str>) -> Result<(), ModelError> {
        let key = "adapter.modules_to_save";
        let ours: BTreeSet<&str> = ours.collect();
        let modules: Vec<String> = ours.iter().map(|ours| self.names.module(ours).name).collect();
        for name in &self.config.modules_to_save {
            if !ours.iter().any(|ours| self.is_called_in(ours, name)) {
                return Err(no_module(key, name, &modules));
            }
            let is_mistaken = |module: &&String| module.ends_with(&**name) && !self.saves(module);
            if let Some(mistaken) = modules.iter().find(is_mistaken) {
                let got = format!("`{name}`, by which PEFT takes `{mistaken}`, too");
                return Err(ModelError::Config { key, got, expected: "names that end no others" });
            }
        }
        Ok(())
    }

    /// Whether the module that this crate calls `ours` has this name, one of its names in the file, or
    /// lies in a module that has.
    fn is_called_in(&self, ours: &str, name: &str) -> bool {
        lies_in(&self.names.module(ours).name, name)
            || self.names.other_names(ours).any(|other| lies_in(other, name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: Names = Names {
        rules: &[("layers.{}.Wqkv", &["layers.{}.q", "layers.{}.k", "layers.{}.v"])],
        words: "table.weight",
        left_out: &[],
        adapted: &["Wqkv"],
    };

    fn places(config: AdapterConfig) -> Places {
        Places::new(&config, &NAMES).unwrap()
    }

    fn adapted(targets: Targets) -> Vec<&'static str> {
        let places = places(AdapterConfig { targets: Some(targets), ..AdapterConfig::default() });
        let maps = ["layers.0.q", "layers.0.v", "layers.1.out", "out", "about"];
        maps.into_iter().filter(|map| places.of(map).unwrap().is_some()).collect()
    }

    fn named(names: &[&str]) -> Targets {
        Targets::Names(names.iter().copied().map(String::from).collect())
    }

    #[test]
    fn targets_are_ends_of_names_or_a_pattern_of_whole_ones() {
        assert_eq!(adapted(named(&["Wqkv"])), ["layers.0.q", "layers.0.v"]);
        assert_eq!(adapted(named(&["out"])), ["layers.1.out", "out"]);
        assert_eq!(adapted(named(&["layers.1.out"])), ["layers.1.out"]);
        // A module's own name, not a part's.
        assert!(adapted(named(&["q"])).is_empty());
        let pattern = |text: &str| Targets::Pattern(text.into());
        assert_eq!(adapted(pattern("all-linear")).len(), 5);
        assert_eq!(adapted(pattern(r"layers\.\d+\..*")).len(), 3);
        assert_eq!(adapted(pattern("out")), ["out"]);
    }

    #[test]
    fn patterns_change_ranks_and_scales_at_the_ends_of_names() {
        let config = AdapterConfig {
            r: 4,
            targets: Some(Targets::Pattern("all-linear".into())),
            rank_pattern: [("Wqkv".to_owned(), 2)].into(),
            alpha_pattern: [(r"layers\.1\.out".to_owned(), 6.0)].into(),
            ..AdapterConfig::default()
        };
        let of =
            |config: &AdapterConfig, map: &str| places(config.clone()).of(map).unwrap().unwrap();
        assert_eq!(
            of(&config, "layers.3.k"),
            Place { rank: 2, scale: 4.0, holder: "layers.3.q".into() }
        );
        assert_eq!(of(&config, "layers.1.out").scale, 1.5);
        assert_eq!(of(&config, "layers.11.out").scale, 2.0);
        let root = AdapterConfig { rslora: true, ..config.clone() };
        assert_eq!(of(&root, "layers.11.out").scale, 4.0);
        let patterns = [("out".to_owned(), 1), ("o.t".to_owned(), 2)];
        let twice = places(AdapterConfig { rank_pattern: patterns.into(), ..config });
        let error = twice.of("out").unwrap_err().to_string();
        assert!(error.contains("two patterns that `out` matches"), "{error}");
    }

    #[test]
    fn modules_are_trained_whole_with_what_lies_in_them() {
        let modules_to_save = vec!["layers.1".to_owned(), "norm".to_owned()];
        let trained = places(AdapterConfig { modules_to_save, ..AdapterConfig::default() });
        for (name, is_trained) in [
            ("layers.1.q.weight", true),
            ("layers.11.q.weight", false),
            ("layers.0.norm.bias", true),
            ("layers.0.subnorm.bias", false),
        ] {
            assert_eq!(trained.trains(name).unwrap(), is_trained, "{name}");
        }
        assert_eq!(trained.of("layers.1.q").unwrap(), None);
        let only = AdapterConfig { bias: AdapterBias::LoraOnly, ..AdapterConfig::default() };
        assert!(places(only.clone()).trains("layers.0.k.bias").unwrap());
        assert!(!places(only).trains("layers.0.out.bias").unwrap());
        let all = places(AdapterConfig { bias: AdapterBias::All, ..AdapterConfig::default() });
        for (name, is_trained) in [
            ("layers.0.norm.bias", true),
            ("layers.0.norm.weight", false),
            // As in PEFT, which goes by the last part of the name.
            ("relative_attention_bias.weight", false),
        ] {
            assert_eq!(all.trains(name).unwrap(), is_trained, "{name}");
        }
    }

    #[test]
    fn a_name_that_nothing_is_called_by_is_refused() {
        let maps = ["layers.0.q".to_owned(), "layers.0.out".to_owned()];
        let check = |config: AdapterConfig| {
            let names = ["layers.0.q.weight", "layers.0.norm.weight"];
            places(config).check(&maps, names.into_iter()).map_err(|error| error.to_string())
        };
        check(AdapterConfig::default()).unwrap();
        let lost =
            AdapterConfig { targets: Some(named(&["out", "query"])), ..AdapterConfig::default() };
        let message = "`adapter.targets` names `query`, which no module of the encoder is called: \
                       there are `Wqkv`, `out`";
        assert_eq!(check(lost).unwrap_err(), message);
        let modules_to_save = vec!["pooler".to_owned()];
        let lost = AdapterConfig { modules_to_save, ..AdapterConfig::default() };
        assert!(check(lost).unwrap_err().contains("`adapter.modules_to_save` names `pooler`"));
    }
}
