//! What a file calls tensors, and what the model calls them: tables that are read both ways.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::checkpoint::{Checkpoint, HostTensor};
use crate::error::ModelError;

/// A file's name of a map, norm or table (without `.weight` and `.bias`), and the parameters that lie
/// in it, one below the other. `{}` is the number of a layer.
pub(crate) type Rule = (&'static str, &'static [&'static str]);

/// How files of one kind call their tensors. What no rule names is called alike on both sides.
#[derive(Debug)]
pub(crate) struct Names {
    pub(crate) rules: &'static [Rule],
    /// The file's table of words, by which the prefix of a whole model is known.
    pub(crate) words: &'static str,
    /// Parts of names, between dots, of which one marks what stands around the encoder.
    pub(crate) left_out: &'static [&'static str],
    /// The maps of queries and values, by the ends of their modules' names: what an adapter sits on
    /// where nothing else is said.
    pub(crate) adapted: &'static [&'static str],
}

/// Where a parameter's map, norm or table lies in a file.
#[derive(Debug)]
pub(crate) struct Module {
    /// The file's name.
    pub(crate) name: String,
    /// Which of its parts, from the top.
    pub(crate) part: usize,
    /// This crate's names of all its parts.
    pub(crate) parts: Vec<String>,
}

/// A pattern's text with a layer's number for `{}`.
fn filled(pattern: &str, layer: &str) -> String {
    pattern.replace("{}", layer)
}

/// The number of the layer if `name` is `pattern`'s, empty where the pattern has none.
fn matched<'a>(pattern: &str, name: &'a str) -> Option<&'a str> {
    let Some((before, after)) = pattern.split_once("{}") else {
        return (pattern == name).then_some("");
    };
    let layer = name.strip_prefix(before)?.strip_suffix(after)?;
    let is_number = !layer.is_empty() && layer.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then_some(layer)
}

/// The ends of an adapter's names: what narrows the states that a map reads, `[r, in]`, and what widens
/// them to its outputs, `[out, r]`.
pub(crate) const DOWN: &str = ".lora_A.weight";
pub(crate) const UP: &str = ".lora_B.weight";

/// A tensor's name without its kind, and the kind with its dot.
pub(crate) fn parted(name: &str) -> (&str, &str) {
    for kind in [DOWN, UP, ".weight", ".bias"] {
        if let Some(module) = name.strip_suffix(kind) {
            return (module, kind);
        }
    }
    (name, "")
}

impl Names {
    pub(crate) fn is_left_out(&self, name: &str) -> bool {
        name.split('.').any(|part| self.left_out.contains(&part))
    }

    /// The prefix of the encoder's tensors among `names`, if the table of words is there.
    pub(crate) fn prefix<'a>(&self, mut names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
        names.find_map(|name| {
            let prefix = name.strip_suffix(self.words)?;
            (prefix.is_empty() || prefix.ends_with('.')).then_some(prefix)
        })
    }

    /// The rule of a file's module, and the layer's number in it.
    fn rule<'a>(&self, module: &'a str) -> Option<(&'static Rule, &'a str)> {
        self.rules.iter().find_map(|rule| Some((rule, matched(rule.0, module)?)))
    }

    /// Where the map, norm or table lies that this crate calls `ours`.
    pub(crate) fn module(&self, ours: &str) -> Module {
        let found = self.rules.iter().find_map(|(file, parts)| {
            let place = |(part, pattern): (usize, &&str)| Some((part, matched(pattern, ours)?));
            let (part, layer) = parts.iter().enumerate().find_map(place)?;
            let parts = parts.iter().map(|pattern| filled(pattern, layer)).collect();
            Some(Module { name: filled(file, layer), part, parts })
        });
        let alike = || Module { name: ours.to_owned(), part: 0, parts: vec![ours.to_owned()] };
        found.unwrap_or_else(alike)
    }

    /// What else a file may call the whole module that this crate calls `ours`.
    pub(crate) fn other_names(&self, ours: &str) -> impl Iterator<Item = &'static str> {
        self.rules.iter().filter(move |(_, parts)| *parts == [ours]).map(|&(file, _)| file)
    }

    /// The file's tensors under the model's names.
    pub(crate) fn read(&self, checkpoint: Checkpoint) -> Result<Checkpoint, ModelError> {
        let prefix = self.prefix(checkpoint.names()).unwrap_or_default().to_owned();
        checkpoint.flat_map(|name, tensor| {
            let name = name.strip_prefix(&prefix).unwrap_or(name);
            let (module, kind) = parted(name);
            let Some((&(_, ours), layer)) = self.rule(module) else {
                return Ok(vec![(name.to_owned(), tensor)]);
            };
            // All parts read what it makes of the states.
            if kind == DOWN {
                return Ok(vec![(filled(ours[0], layer) + kind, tensor)]);
            }
            let rows = tensor.shape.first().copied().unwrap_or(0);
            if !rows.is_multiple_of(ours.len()) || tensor.shape.is_empty() {
                return Err((name.to_owned(), tensor.shape.clone()));
            }
            let mut shape = tensor.shape.clone();
            shape[0] = rows / ours.len();
            let size = tensor.values.len() / ours.len();
            if let [only] = ours {
                return Ok(vec![(filled(only, layer) + kind, tensor)]);
            }
            let parts = ours.iter().enumerate().map(|(i, ours)| {
                let values = tensor.values[i * size..(i + 1) * size].to_vec();
                (filled(ours, layer) + kind, Arc::new(HostTensor { shape: shape.clone(), values }))
            });
            Ok(parts.collect())
        })
    }

    /// The model's tensors under the file's names, in the order of the first part of each.
    pub(crate) fn write(&self, tensors: Vec<(String, HostTensor)>) -> Vec<(String, HostTensor)> {
        let mut written: Vec<(String, Vec<Option<HostTensor>>)> = Vec::new();
        let mut places: BTreeMap<String, usize> = BTreeMap::new();
        for (name, tensor) in tensors {
            let (ours, kind) = parted(&name);
            let Module { name: file, part, parts } = self.module(ours);
            let (file, parts) = (file + kind, if kind == DOWN { 1 } else { parts.len() });
            let place = *places.entry(file.clone()).or_insert_with(|| {
                written.push((file, vec![None; parts]));
                written.len() - 1
            });
            written[place].1[part] = Some(tensor);
        }
        let join = |parts: Vec<Option<HostTensor>>| {
            let mut parts = parts.into_iter().map(|part| part.expect("a model has all its parts"));
            let mut whole = parts.next().expect("a tensor has a part");
            for part in parts {
                whole.shape[0] += part.shape[0];
                whole.values.extend(part.values);
            }
            whole
        };
        written.into_iter().map(|(name, parts)| (name, join(parts))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: Names = Names {
        rules: &[
            ("table", &["words"]),
            ("deep.{}.Wqkv", &["layers.{}.q", "layers.{}.k", "layers.{}.v"]),
        ],
        words: "table.weight",
        left_out: &["head"],
        adapted: &["Wqkv"],
    };

    fn tensor(shape: &[usize], start: f32) -> HostTensor {
        let n = shape.iter().product::<usize>();
        HostTensor { shape: shape.to_vec(), values: (0..n).map(|i| start + i as f32).collect() }
    }

    #[test]
    fn what_is_split_is_joined_again() {
        let file = vec![
            ("table.weight".to_owned(), tensor(&[4, 2], 0.0)),
            ("deep.10.Wqkv.weight".to_owned(), tensor(&[6, 2], 10.0)),
            ("deep.10.Wqkv.bias".to_owned(), tensor(&[6], 30.0)),
            ("other.weight".to_owned(), tensor(&[1], 5.0)),
        ];
        let prefixed = file.iter().map(|(name, it)| (format!("model.{name}"), it.clone()));
        let ours = NAMES.read(Checkpoint::of(prefixed.collect())).unwrap();
        let names: Vec<&str> = ours.names().collect();
        assert_eq!(names.len(), 8, "{names:?}");
        assert_eq!(
            ours.get("layers.10.k.weight", &[2, 2]).unwrap().values,
            [14.0, 15.0, 16.0, 17.0]
        );
        assert_eq!(ours.get("layers.10.v.bias", &[2]).unwrap().values, [34.0, 35.0]);
        let back = names.iter().map(|name| {
            let shape = ours.shape(name).unwrap().to_vec();
            ((*name).to_owned(), ours.get(name, &shape).unwrap().clone())
        });
        let mut back = NAMES.write(back.collect());
        let mut file = file;
        for list in [&mut back, &mut file] {
            list.sort_by(|a, b| a.0.cmp(&b.0));
        }
        assert_eq!(back, file);
    }

    #[test]
    fn rows_that_cannot_be_split_are_refused() {
        let file = vec![("deep.0.Wqkv.weight".to_owned(), tensor(&[4, 2], 0.0))];
        let error = NAMES.read(Checkpoint::of(file)).unwrap_err().to_string();
        assert!(error.contains("deep.0.Wqkv.weight") && error.contains("[4, 2]"), "{error}");
    }

    #[test]
    fn a_prefix_ends_with_a_dot() {
        let prefix = |name: &'static str| NAMES.prefix([name].into_iter());
        assert_eq!(prefix("0.auto_model.table.weight"), Some("0.auto_model."));
        assert_eq!(prefix("table.weight"), Some(""));
        assert_eq!(prefix("no_table.weight"), None);
    }
}
