//! From a path to where its item is defined, through imports and re-exports.

use std::collections::BTreeSet;

use super::{Mention, Name, Target, Tree, What};

/// The paths that a search stands in: names may import one another in a ring.
type Seen = BTreeSet<(usize, Vec<String>)>;

impl Tree {
    /// What `path`, written in the module `from`, may lead to: nothing if that lies in another crate.
    pub(crate) fn resolve(&self, from: usize, path: &[String]) -> BTreeSet<Target> {
        self.follow(from, path, &mut Seen::new())
    }

    fn follow(&self, from: usize, path: &[String], seen: &mut Seen) -> BTreeSet<Target> {
        if !seen.insert((from, path.to_vec())) {
            return BTreeSet::new();
        }
        let found = self.begin(from, path, seen);
        seen.remove(&(from, path.to_vec()));
        found
    }

    fn begin(&self, from: usize, path: &[String], seen: &mut Seen) -> BTreeSet<Target> {
        let mut from = from;
        let mut rest = path;
        while let Some((first, after)) = rest.split_first() {
            match (first.as_str(), self.modules[from].parent) {
                ("crate" | "$crate", _) => from = 0,
                ("self", _) => {}
                ("super", Some(parent)) => from = parent,
                _ => break,
            }
            rest = after;
        }
        self.within(from, rest, seen)
    }

    /// What `path` leads to, read in the names of `module`.
    fn within(&self, module: usize, path: &[String], seen: &mut Seen) -> BTreeSet<Target> {
        let Some((first, rest)) = path.split_first() else {
            return BTreeSet::from([Target { module, item: None }]);
        };
        let mut found = BTreeSet::new();
        for Name { what, .. } in self.modules[module].names.get(first).into_iter().flatten() {
            match what {
                What::Module(child) => found.extend(self.within(*child, rest, seen)),
                What::Item(kind) if rest.is_empty() || kind.has_parts() => {
                    found.insert(Target { module, item: Some(first.clone()) });
                }
                What::Item(_) => {}
                What::Import(Mention { path, .. }) => {
                    let targets = self.follow(module, path, seen);
                    found.extend(self.onward(targets, rest, seen));
                }
            }
        }
        if found.is_empty() {
            for glob in &self.modules[module].globs {
                let targets = self.follow(module, &glob.path.path, seen);
                // Of an enum's variants nothing is known.
                let modules = targets.into_iter().filter(|target| target.item.is_none()).collect();
                found.extend(self.onward(modules, path, seen));
            }
        }
        found
    }

    /// Where `rest` leads from each of `targets`; what follows an item is a part of it.
    fn onward(
        &self,
        targets: BTreeSet<Target>,
        rest: &[String],
        seen: &mut Seen,
    ) -> BTreeSet<Target> {
        let mut found = BTreeSet::new();
        for target in targets {
            match &target.item {
                None => found.extend(self.within(target.module, rest, seen)),
                Some(name) => {
                    let known = &self.modules[target.module].names[name];
                    let is_whole = |name: &Name| match name.what {
                        What::Item(kind) => rest.is_empty() || kind.has_parts(),
                        _ => false,
                    };
                    if known.iter().any(is_whole) {
                        found.insert(target);
                    }
                }
            }
        }
        found
    }
}
