//! Which file of a crate names something of which other.

use std::collections::BTreeMap;

use crate::source::{Mention, Target, Tree, What};

/// From a file to those it names, with the line of one mention each.
pub(super) type Arrows = BTreeMap<usize, BTreeMap<usize, usize>>;

/// The arrows between the files of `tree`, each to the file where the item is defined.
pub(super) fn arrows(tree: &Tree) -> Arrows {
    let mut arrows = Arrows::new();
    for (index, module) in tree.modules.iter().enumerate() {
        let imports = module.names.values().flatten().filter_map(|name| match &name.what {
            What::Import(mention) => Some(mention),
            _ => None,
        });
        // A parent that imports of its children may only hand the name on: if it does more, its code
        // mentions it.
        let imported = imports.flat_map(|mention| targets(tree, index, mention));
        let used = imported.filter(|(target, _)| !tree.is_within(target.module, index));
        let globs = module.globs.iter().map(|glob| &glob.path).flat_map(|mention| {
            let modules = tree.resolve(index, &mention.path).into_iter();
            modules.map(|target| (target, mention.line))
        });
        let globs = globs.filter(|(target, _)| !tree.is_within(target.module, index));
        let mentioned = module.mentions.iter().flat_map(|mention| targets(tree, index, mention));
        for (target, line) in used.chain(globs).chain(mentioned) {
            let file = tree.modules[target.module].file;
            if file != module.file {
                arrows.entry(module.file).or_default().entry(file).or_insert(line);
            }
        }
    }
    arrows
}

/// The items that a mention may lead to: a module by itself is a way, and a variable may share its name.
fn targets(tree: &Tree, module: usize, mention: &Mention) -> Vec<(Target, usize)> {
    let targets = tree.resolve(module, &mention.path).into_iter();
    targets.filter(|target| target.item.is_some()).map(|target| (target, mention.line)).collect()
}
