//! A crate's source as a tree of modules: who defines, imports and mentions which name.
//!
//! It knows paths, not types: a method call names nothing.

mod read;
mod resolve;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use anyhow::Context;

use crate::command::root;

/// Texts by their paths.
pub(crate) type Texts = BTreeMap<String, String>;

/// What one `lib.rs` or `main.rs` holds together, without its tests.
pub(crate) struct Tree {
    /// The first is the root's.
    pub(crate) files: Vec<File>,
    /// The first is the root.
    pub(crate) modules: Vec<Module>,
}

/// A file of a tree.
pub(crate) struct File {
    pub(crate) path: String,
    /// Lines outside tests.
    pub(crate) lines: usize,
}

/// A module, in a file of its own or not.
pub(crate) struct Module {
    pub(crate) parent: Option<usize>,
    pub(crate) file: usize,
    /// What stands under a name: a module and a function may share one.
    pub(crate) names: BTreeMap<String, Vec<Name>>,
    /// `use path::*`.
    pub(crate) globs: Vec<Import>,
    /// Paths in code, `use` aside.
    pub(crate) mentions: Vec<Mention>,
}

/// What a module knows under a name.
pub(crate) struct Name {
    pub(crate) what: What,
    /// Written `pub`, without a restriction.
    pub(crate) public: bool,
}

/// The kinds of names.
pub(crate) enum What {
    Module(usize),
    Item(Kind),
    Import(Mention),
}

/// The kinds of items.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// A struct, enum, union or alias.
    Type,
    Trait,
    Function,
    /// A constant or a static.
    Value,
    Macro,
}

impl Kind {
    /// Whether a path may go on after the item: to a variant, a function, a constant of it.
    pub(crate) fn has_parts(self) -> bool {
        matches!(self, Self::Type | Self::Trait)
    }
}

/// A `use path::*`.
pub(crate) struct Import {
    pub(crate) path: Mention,
    pub(crate) public: bool,
}

/// A path and where it stands.
#[derive(Clone)]
pub(crate) struct Mention {
    pub(crate) path: Vec<String>,
    pub(crate) line: usize,
}

/// What a path leads to.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Target {
    /// The module itself, or the one that defines the item.
    pub(crate) module: usize,
    pub(crate) item: Option<String>,
}

impl Tree {
    /// Reads the tree that begins at the file `root`.
    pub(crate) fn read(root: &str, texts: &Texts) -> anyhow::Result<Self> {
        read::tree(root, texts)
    }

    /// Whether `module` is `above` or lies somewhere in it.
    pub(crate) fn is_within(&self, module: usize, above: usize) -> bool {
        let parent = |&module: &usize| self.modules[module].parent;
        std::iter::successors(Some(module), parent).any(|module| module == above)
    }
}

/// A package of `crates/`.
pub(crate) struct Package {
    pub(crate) name: String,
    /// Its library first, where it has one.
    pub(crate) trees: Vec<Tree>,
}

/// Every package of `crates/`, by name.
pub(crate) fn packages() -> anyhow::Result<Vec<Package>> {
    crate_names()?.into_iter().map(package).collect()
}

/// The names of the packages of `crates/`, sorted: each lies in a folder of its name.
pub(crate) fn crate_names() -> anyhow::Result<BTreeSet<String>> {
    let folder = root().join("crates");
    let entries = fs::read_dir(&folder).with_context(|| format!("in `{}`", folder.display()))?;
    let mut names = BTreeSet::new();
    for entry in entries {
        let entry = entry.context("a folder's entry")?;
        if entry.path().join("Cargo.toml").is_file() {
            names.insert(entry.file_name().to_string_lossy().into_owned());
        }
    }
    Ok(names)
}

fn package(name: String) -> anyhow::Result<Package> {
    let mut texts = Texts::new();
    rust_files(&format!("crates/{name}/src"), &mut texts)?;
    let roots = ["lib.rs", "main.rs"].map(|file| format!("crates/{name}/src/{file}"));
    let roots = roots.iter().filter(|root| texts.contains_key(*root));
    let trees = roots.map(|root| Tree::read(root, &texts)).collect::<anyhow::Result<_>>()?;
    Ok(Package { name, trees })
}

/// Adds every Rust file under `folder`, a path from the workspace's root.
pub(crate) fn rust_files(folder: &str, texts: &mut Texts) -> anyhow::Result<()> {
    let read = || format!("cannot read `{folder}`");
    for entry in fs::read_dir(root().join(folder)).with_context(read)? {
        let entry = entry.with_context(read)?;
        let path = format!("{folder}/{}", entry.file_name().to_string_lossy());
        if entry.file_type().with_context(read)?.is_dir() {
            rust_files(&path, texts)?;
        } else if Path::new(&path).extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(entry.path()).with_context(|| format!("in `{path}`"))?;
            texts.insert(path, text);
        }
    }
    Ok(())
}
