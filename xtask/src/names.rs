//! Public names: one path an item, one thing a name, and a glossary that names what is there.

mod glossary;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use anyhow::{Context, bail};

use crate::command::root;
use crate::source::{self, Kind, Package, Target, Tree, What};
use glossary::Glossary;

/// An item that other crates can reach.
#[derive(Debug, PartialEq)]
struct Public {
    name: String,
    /// What a macro makes is not seen, only that it is handed on.
    kind: Option<Kind>,
    paths: BTreeSet<String>,
}

/// What outsiders see of a crate.
#[derive(Default)]
struct Outside {
    items: BTreeMap<Target, Public>,
    modules: BTreeSet<String>,
}

/// Checks the names of all crates and the glossary.
pub(crate) fn check() -> anyhow::Result<()> {
    let file = "docs/architecture.md";
    let text = fs::read_to_string(root().join(file)).with_context(|| format!("no `{file}`"))?;
    let glossary = Glossary::read(&text).with_context(|| format!("in `{file}`"))?;
    let crates = outsides(&source::packages()?);
    let mut faults = two_paths(&crates);
    faults.extend(doubles(&crates, &glossary));
    let has_file = |path: &str| root().join(path).exists();
    faults.extend(glossary.unknown(&|path| is_known(&crates, path), &has_file));
    if !faults.is_empty() {
        bail!("{} names:\n{}", faults.len(), faults.join("\n"));
    }
    Ok(())
}

/// What outsiders see, by the crate's name in code.
fn outsides(packages: &[Package]) -> BTreeMap<String, Outside> {
    let library = |package: &Package| {
        let name = package.name.replace('-', "_");
        let tree = package.trees.iter().find(|tree| tree.files[0].path.ends_with("/lib.rs"))?;
        Some((name.clone(), outside(&name, tree)))
    };
    packages.iter().filter_map(library).collect()
}

fn outside(name: &str, tree: &Tree) -> Outside {
    let mut outside = Outside::default();
    outside.enter(tree, 0, name, &mut BTreeSet::new());
    outside
}

impl Outside {
    /// Adds the public names of `module`, which `path` leads to; `within` are the modules on the way.
    fn enter(&mut self, tree: &Tree, module: usize, path: &str, within: &mut BTreeSet<usize>) {
        if !within.insert(module) {
            return;
        }
        for (name, known) in &tree.modules[module].names {
            let path = format!("{path}::{name}");
            for known in known.iter().filter(|known| known.public) {
                match &known.what {
                    What::Module(child) => {
                        self.modules.insert(name.clone());
                        self.enter(tree, *child, &path, within);
                    }
                    What::Item(kind) => {
                        let home = Target { module, item: Some(name.clone()) };
                        self.add(home, Some(*kind), &path);
                    }
                    What::Import(mention) => {
                        self.hand_on(tree, module, &mention.path, &path, within);
                    }
                }
            }
        }
        for glob in tree.modules[module].globs.iter().filter(|glob| glob.public) {
            for target in tree.resolve(module, &glob.path.path) {
                if target.item.is_none() {
                    self.enter(tree, target.module, path, within);
                }
            }
        }
        within.remove(&module);
    }

    /// Adds what a `pub use` of `from` hands on under `path`.
    fn hand_on(
        &mut self,
        tree: &Tree,
        module: usize,
        from: &[String],
        path: &str,
        within: &mut BTreeSet<usize>,
    ) {
        let targets = tree.resolve(module, from);
        if targets.is_empty() && is_ours(tree, module, from) {
            let home = Target { module, item: from.last().cloned() };
            return self.add(home, None, path);
        }
        for target in targets {
            let Some(name) = &target.item else {
                self.enter(tree, target.module, path, within);
                continue;
            };
            let mut known = tree.modules[target.module].names[name].iter();
            let kind = known.find_map(|name| match name.what {
                What::Item(kind) => Some(kind),
                _ => None,
            });
            self.add(target, kind, path);
        }
    }

    fn add(&mut self, home: Target, kind: Option<Kind>, path: &str) {
        let name = path.rsplit("::").next().unwrap_or_default().to_owned();
        let new = || Public { name, kind, paths: BTreeSet::new() };
        self.items.entry(home).or_insert_with(new).paths.insert(path.to_owned());
    }
}

/// Whether `path` begins in this crate: what it leads to is then made by a macro.
fn is_ours(tree: &Tree, module: usize, path: &[String]) -> bool {
    let Some(first) = path.first() else { return false };
    let begins = ["crate", "self", "super"].contains(&first.as_str());
    begins || (path.len() > 1 && !tree.resolve(module, &path[..1]).is_empty())
}

/// Items that have more than one public path.
fn two_paths(crates: &BTreeMap<String, Outside>) -> Vec<String> {
    let items = crates.values().flat_map(|outside| outside.items.values());
    let several = items.filter(|item| item.paths.len() > 1);
    let text = |item: &Public| {
        let paths: Vec<&str> = item.paths.iter().map(String::as_str).collect();
        format!("one item has several public paths: {}", paths.join(", "))
    };
    several.map(text).collect()
}

/// Types and traits of one name that the glossary does not explain, and explanations of none.
fn doubles(crates: &BTreeMap<String, Outside>, glossary: &Glossary) -> Vec<String> {
    let mut named: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for item in crates.values().flat_map(|outside| outside.items.values()) {
        if is_type(item) {
            let path = item.paths.first().map_or("", String::as_str);
            named.entry(&item.name).or_default().push(path);
        }
    }
    named.retain(|_, paths| paths.len() > 1);
    let unexplained = named.iter().filter(|(name, _)| !glossary.doubles.contains_key(**name));
    let mut faults: Vec<String> = unexplained
        .map(|(name, paths)| format!("`{name}` names several things: {}", paths.join(", ")))
        .collect();
    for (name, reason) in &glossary.doubles {
        if !named.contains_key(name.as_str()) {
            faults.push(format!(
                "the glossary has `{name}` as a name of several things: it is of none"
            ));
        } else if reason.is_empty() {
            faults.push(format!("the glossary gives no reason why `{name}` names several things"));
        }
    }
    faults
}

fn is_type(item: &Public) -> bool {
    match item.kind {
        Some(kind) => kind.has_parts(),
        None => item.name.starts_with(char::is_uppercase) && item.name.contains(char::is_lowercase),
    }
}

/// Whether the crate that `path` begins with has an item or a module of the name that it ends with:
/// items move between modules more often than they change their names.
fn is_known(crates: &BTreeMap<String, Outside>, path: &str) -> bool {
    let (package, name) = path.split_once("::").unwrap_or((path, ""));
    let name = name.rsplit("::").next().unwrap_or_default();
    crates.get(package).is_some_and(|outside| {
        let mut items = outside.items.values();
        name.is_empty() || outside.modules.contains(name) || items.any(|item| item.name == name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::Texts;

    fn crates(sources: &[(&str, &[(&str, &str)])]) -> BTreeMap<String, Outside> {
        let read = |(name, texts): &(&str, &[(&str, &str)])| {
            let texts: Texts = texts
                .iter()
                .map(|(path, text)| (format!("src/{path}"), (*text).to_owned()))
                .collect();
            ((*name).to_owned(), outside(name, &Tree::read("src/lib.rs", &texts).unwrap()))
        };
        sources.iter().map(read).collect()
    }

    #[test]
    fn an_item_has_one_path() {
        let lib = "mod a; pub mod b; mod run; pub use a::A; pub use b::{B, C as D}; pub use run::{Run, run};";
        let crates = crates(&[(
            "one",
            &[
                ("lib.rs", lib),
                ("a.rs", "pub struct A; pub struct Hidden;"),
                ("b.rs", "pub struct B; pub struct C; pub(crate) struct E; pub use std::fmt;"),
                ("run.rs", "pub fn run() {} pub struct Run;"),
            ],
        )]);
        let expected = ["one::B, one::b::B", "one::D, one::b::C"]
            .map(|paths| format!("one item has several public paths: {paths}"));
        assert_eq!(two_paths(&crates), expected);
        for (path, known) in
            [("one::run", true), ("one::b", true), ("one::elsewhere::A", true), ("one::E", false)]
        {
            assert_eq!(is_known(&crates, path), known, "{path}");
        }
        assert!(!is_known(&crates, "one::Hidden") && !is_known(&crates, "two::A"));
    }

    #[test]
    fn a_name_means_one_thing_unless_it_is_explained() {
        let crates = crates(&[
            ("one", &[("lib.rs", "pub struct Side; pub fn run() {} pub trait Same {}")]),
            ("two", &[("lib.rs", "pub enum Side {} pub fn run() {} pub type Same = u8;")]),
        ]);
        let with = |rows: &[(&str, &str)]| {
            let doubles =
                rows.iter().map(|(name, why)| ((*name).to_owned(), (*why).to_owned())).collect();
            super::doubles(&crates, &Glossary { doubles, ..Glossary::default() })
        };
        assert_eq!(with(&[("Side", "why")]), ["`Same` names several things: one::Same, two::Same"]);
        assert!(with(&[("Side", "why"), ("Same", "because")]).is_empty());
        assert_eq!(with(&[("Side", ""), ("Same", "why"), ("Gone", "why")]).len(), 2);
    }

    #[test]
    fn what_a_macro_makes_is_a_name() {
        let crates =
            crates(&[("one", &[("lib.rs", "mod a; pub use a::Made;"), ("a.rs", "made!();")])]);
        assert!(is_known(&crates, "one::Made"));
        let made = crates["one"].items.values().next().unwrap();
        assert!(made.kind.is_none() && is_type(made));
    }
}
