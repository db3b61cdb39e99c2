//! A study's file: the runs that its grids ask for, and what is compared.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, bail, ensure};
use samtone_eval::Metric;
use serde::Deserialize;
use toml::{Table, Value};

/// `benches/studies/NAME.toml`.
///
/// Keys stand below their section or beside it: `loss.preset = [...]` is the axis `loss.preset`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    title: String,
    /// What is asked, and what must be known to read the answer: Markdown.
    about: String,
    /// What is compared, query by query.
    metric: String,
    /// The evaluations of a run that are compared: `test`, `dev`, `zero-shot/NAME`.
    #[serde(default = "test")]
    judged: Vec<String>,
    /// Keys of every run.
    #[serde(default)]
    base: Table,
    /// What a name on an axis stands for: keys, by axis and name.
    #[serde(default)]
    settings: BTreeMap<String, BTreeMap<String, Table>>,
    /// Axes with their lists of values: a run for every combination. What is no list is a key that
    /// all of them have.
    #[serde(default)]
    grid: Vec<Table>,
    #[serde(default)]
    comparison: Vec<Comparison>,
}

fn test() -> Vec<String> {
    vec!["test".into()]
}

/// The values of one axis against one of them, all else equal.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Comparison {
    /// The axis.
    pub(crate) of: String,
    /// Its value that the others are compared with.
    pub(crate) against: Value,
    /// The axis that has a figure for each of its values; one figure in all without it.
    pub(crate) figures: Option<String>,
}

/// One training.
#[derive(Debug)]
pub(crate) struct Run {
    /// A file's name: its place on every axis.
    pub(crate) name: String,
    pub(crate) axes: BTreeMap<String, Value>,
    /// The configuration's keys that are given.
    pub(crate) keys: Table,
}

/// A study as it is to be run.
#[derive(Debug)]
pub(crate) struct Study {
    pub(crate) name: String,
    pub(crate) title: String,
    pub(crate) about: String,
    pub(crate) metric: Metric,
    pub(crate) judged: Vec<String>,
    pub(crate) runs: Vec<Run>,
    pub(crate) comparisons: Vec<Comparison>,
}

/// The axis over which means are taken.
pub(crate) const SEED: &str = "seed";

impl Study {
    /// The study `name` of its file's text.
    pub(crate) fn parse(name: String, text: &str) -> anyhow::Result<Self> {
        let file: File = toml::from_str(text)?;
        let base = flat(&file.base);
        let mut used = BTreeSet::new();
        let mut runs: Vec<Run> = Vec::new();
        for (place, grid) in file.grid.iter().enumerate() {
            let (axes, fixed): (Table, Table) =
                flat(grid).into_iter().partition(|(_, value)| value.is_array());
            for axes in combinations(&axes) {
                used.extend(axes.iter().map(|(axis, value)| (axis.clone(), label(value))));
                let mut keys = base.clone();
                let given = given(&axes, &file.settings, fixed.clone());
                keys.extend(given.with_context(|| format!("`grid` {}", place + 1))?);
                let run = Run { name: name_of(&axes), axes, keys };
                match runs.iter().find(|other| other.name == run.name) {
                    None => runs.push(run),
                    // Grids may overlap.
                    Some(other) if other.axes == run.axes && other.keys == run.keys => {}
                    Some(_) => bail!("two runs that differ would be called `{}`", run.name),
                }
            }
        }
        ensure!(!runs.is_empty(), "it has no `[[grid]]` with values, and so no run");
        for (axis, named) in &file.settings {
            for name in named.keys() {
                let is_used = used.contains(&(axis.clone(), name.clone()));
                ensure!(is_used, "no grid uses `[settings.{axis}.{name}]`");
            }
        }
        let study = Self {
            name,
            title: file.title,
            about: file.about,
            metric: file.metric.parse().context("`metric`")?,
            judged: file.judged,
            runs,
            comparisons: file.comparison,
        };
        study.comparisons.iter().try_for_each(|comparison| study.has_pairs(comparison))?;
        Ok(study)
    }

    /// Whether every run that is to be compared has a counterpart.
    fn has_pairs(&self, comparison: &Comparison) -> anyhow::Result<()> {
        let Comparison { of, against, figures } = comparison;
        let mut compared = self.runs.iter().filter(|run| run.axes.contains_key(of)).peekable();
        ensure!(compared.peek().is_some(), "`comparison`: no grid has the axis `{of}`");
        for run in compared {
            ensure!(
                self.counterpart(run, comparison).is_some(),
                "`comparison`: the run `{}` has no counterpart with `{of}` = {against}",
                run.name
            );
            if let Some(axis) = figures {
                let name = &run.name;
                ensure!(
                    axis != of && run.axes.contains_key(axis),
                    "`comparison`: the run `{name}` has no place on the axis `{axis}` of `figures`"
                );
            }
        }
        Ok(())
    }

    /// The run that differs from `run` in having the value that others are compared with.
    pub(crate) fn counterpart(&self, run: &Run, comparison: &Comparison) -> Option<&Run> {
        let mut axes = run.axes.clone();
        axes.insert(comparison.of.clone(), comparison.against.clone());
        self.runs.iter().find(|other| other.axes == axes)
    }

    /// The values that the runs have on each axis, in their order.
    pub(crate) fn axes(&self) -> BTreeMap<&str, Vec<&Value>> {
        let mut axes: BTreeMap<&str, Vec<&Value>> = BTreeMap::new();
        for (axis, value) in self.runs.iter().flat_map(|run| &run.axes) {
            let values = axes.entry(axis).or_default();
            if !values.contains(&value) {
                values.push(value);
            }
        }
        axes
    }
}

impl Run {
    /// What `samtone` is given, the run folder aside.
    pub(crate) fn arguments(&self) -> Vec<String> {
        let set =
            |(key, value): (&String, &Value)| ["--set".into(), format!("{key}={}", bare(value))];
        std::iter::once("train".into()).chain(self.keys.iter().flat_map(set)).collect()
    }

    /// The command for a shell.
    pub(crate) fn command(&self) -> String {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_=./,:+@%".contains(c);
        let quoted = self.arguments().into_iter().map(|word| {
            if word.chars().all(plain) {
                word
            } else {
                format!("'{}'", word.replace('\'', r"'\''"))
            }
        });
        std::iter::once("samtone".into()).chain(quoted).collect::<Vec<_>>().join(" ")
    }
}

/// The keys `given` and those that a place on every axis stands for.
fn given(
    axes: &BTreeMap<String, Value>,
    settings: &BTreeMap<String, BTreeMap<String, Table>>,
    mut given: Table,
) -> anyhow::Result<Table> {
    for (axis, value) in axes {
        let keys = match settings.get(axis) {
            None => Table::from_iter([(axis.clone(), value.clone())]),
            Some(named) => {
                let keys = named.get(&label(value)).with_context(|| {
                    let known: Vec<&str> = named.keys().map(String::as_str).collect();
                    format!(
                        "no `[settings.{axis}.{}]`: there are {}",
                        label(value),
                        known.join(", ")
                    )
                })?;
                flat(keys)
            }
        };
        for (key, value) in keys {
            ensure!(!given.contains_key(&key), "the key `{key}` is given twice");
            given.insert(key, value);
        }
    }
    Ok(given)
}

/// Sections opened: keys as `--set` names them. A table inside a section is one value, for its keys
/// need each other (`model.encoder` its `type`).
fn flat(table: &Table) -> Table {
    let mut keys = Table::new();
    for (key, value) in table {
        match value {
            Value::Table(section) => {
                keys.extend(section.iter().map(|(end, v)| (format!("{key}.{end}"), v.clone())));
            }
            value => drop(keys.insert(key.clone(), value.clone())),
        }
    }
    keys
}

/// Every choice of one value of each axis; the last axis changes first, seeds last.
fn combinations(axes: &Table) -> Vec<BTreeMap<String, Value>> {
    let mut found = vec![BTreeMap::new()];
    let seeds = axes.iter().filter(|(axis, _)| *axis == SEED);
    for (axis, values) in seeds.chain(axes.iter().filter(|(axis, _)| *axis != SEED)) {
        let with = |chosen: &BTreeMap<String, Value>, value: &Value| {
            let mut chosen = chosen.clone();
            chosen.insert(axis.clone(), value.clone());
            chosen
        };
        let values = values.as_array().into_iter().flatten();
        let each =
            |chosen: &BTreeMap<_, _>| values.clone().map(|v| with(chosen, v)).collect::<Vec<_>>();
        found = found.iter().flat_map(each).collect();
    }
    found
}

/// A value as it is read on a page.
pub(crate) fn label(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), String::from)
}

/// The last part of an axis' name.
pub(crate) fn short(axis: &str) -> &str {
    axis.rsplit('.').next().unwrap_or(axis)
}

/// `preset=samtone,temperature=0.05`.
fn name_of(axes: &BTreeMap<String, Value>) -> String {
    let kept = |c: char| if c.is_ascii_alphanumeric() || ".-_".contains(c) { c } else { '-' };
    let parts = axes.iter().map(|(axis, value)| {
        let value: String = label(value).chars().map(kept).collect();
        format!("{}={value}", short(axis))
    });
    parts.collect::<Vec<_>>().join(",")
}

/// A value as `--set` takes it: text that TOML would take for nothing else stands without quotes.
fn bare(value: &Value) -> String {
    let is_plain = |text: &str| {
        text.starts_with(|c: char| c.is_ascii_alphabetic())
            && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_./@".contains(c))
            && !["true", "false", "inf", "nan"].contains(&text)
    };
    match value.as_str() {
        Some(text) if is_plain(text) => text.into(),
        _ => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STUDY: &str = r#"
        title = "T"
        about = "A"
        metric = "mrr@10"

        [base]
        train.lr = 1e-3
        data.dev_split = ""

        [settings.data.one]
        data.train = "data/one"
        train.lr = 0.5
        model.encoder = { type = "bert", layers = 2 }
        [settings.data.two]
        data.train = "data/two words"

        [[grid]]
        data = ["one", "two"]
        loss.preset = ["in-batch", "samtone"]
        seed = [0, 1]

        [[comparison]]
        of = "loss.preset"
        against = "in-batch"
        figures = "data"
    "#;

    fn read(text: &str) -> anyhow::Result<Study> {
        Study::parse("s".into(), text)
    }

    #[test]
    fn a_grid_has_a_run_for_every_combination_seeds_last() {
        let study = read(STUDY).unwrap();
        let names: Vec<&str> = study.runs.iter().map(|run| run.name.as_str()).collect();
        assert_eq!(
            names[..2],
            ["data=one,preset=in-batch,seed=0", "data=one,preset=samtone,seed=0"]
        );
        assert_eq!((names.len(), names[7]), (8, "data=two,preset=samtone,seed=1"));
        // What is named wins over what all have, and text is quoted where it must be.
        assert_eq!(
            study.runs[1].command(),
            "samtone train --set 'data.dev_split=\"\"' --set data.train=data/one \
             --set loss.preset=samtone --set 'model.encoder={ layers = 2, type = \"bert\" }' \
             --set seed=0 --set train.lr=0.5"
        );
        let command = study.runs[7].command();
        assert!(command.contains("--set 'data.train=\"data/two words\"'"), "{command}");
        let pair = study.counterpart(&study.runs[7], &study.comparisons[0]).unwrap();
        assert_eq!(pair.name, "data=two,preset=in-batch,seed=1");
    }

    #[test]
    fn grids_may_overlap_where_they_agree_and_have_keys_of_their_own() {
        let second = |more: &str| {
            let grid = "[[grid]]\ndata = [\"one\"]\nloss.preset = [\"in-batch\", \"samtone\"]";
            read(&STUDY.replace("[[comparison]]", &format!("{grid}\n{more}\n[[comparison]]")))
        };
        assert_eq!(second("seed = [1, 2]").unwrap().runs.len(), 10);
        let study = second("seed = [2]\ntrain.steps = 5").unwrap();
        assert!(study.runs[9].command().ends_with("--set train.steps=5"));
        assert!(!study.runs[0].command().contains("train.steps"));
        let error = second("seed = [1]\ntrain.steps = 5").unwrap_err().to_string();
        assert!(error.starts_with("two runs that differ would be called `data=one"), "{error}");
    }

    #[test]
    fn mistakes_are_named() {
        for (from, to, message) in [
            (
                "\"one\", \"two\"",
                "\"one\", \"too\"",
                "no `[settings.data.too]`: there are one, two",
            ),
            ("\"one\", \"two\"", "\"one\"", "no grid uses `[settings.data.two]`"),
            ("seed = [0, 1]", "seed = []", "it has no `[[grid]]` with values, and so no run"),
            (
                "against = \"in-batch\"",
                "against = \"gte\"",
                "has no counterpart with `loss.preset` = \"gte\"",
            ),
            (
                "of = \"loss.preset\"",
                "of = \"loss.present\"",
                "no grid has the axis `loss.present`",
            ),
            ("figures = \"data\"", "figures = \"start\"", "has no place on the axis `start`"),
            ("metric = \"mrr@10\"", "metric = \"mmr@10\"", "mmr"),
            ("title = \"T\"", "titel = \"T\"", "unknown field `titel`"),
            ("seed = [0, 1]", "train.lr = [1.0]", "`grid` 1: the key `train.lr` is given twice"),
        ] {
            assert_ne!(STUDY.replace(from, to), STUDY);
            let error = format!("{:#}", read(&STUDY.replace(from, to)).unwrap_err());
            assert!(error.contains(message), "{error}");
        }
        let error =
            format!("{:#}", read("title = \"T\"\nabout = \"\"\nmetric = \"p@1\"").unwrap_err());
        assert_eq!(error, "it has no `[[grid]]` with values, and so no run");
    }
}
