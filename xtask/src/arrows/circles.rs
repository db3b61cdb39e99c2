//! Circles between files: of two files that name each other, neither can be understood alone.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::files::Arrows;
use crate::source::{File, Tree};

/// A module of at most so many lines, tests aside, is read as one file, however it is cut.
const SMALL: usize = 600;

/// The circles of `tree` that are not inside one small module, a text each.
pub(super) fn forbidden(tree: &Tree, arrows: &Arrows) -> Vec<String> {
    let mut circles = BTreeSet::new();
    for component in components(arrows) {
        let is_forbidden = |circle: &Vec<usize>| {
            !is_in_small_module(&tree.files, arrows, &circle.iter().copied().collect())
        };
        circles.extend(shortest(arrows, &component).into_iter().filter(is_forbidden));
    }
    circles.iter().map(|circle| text(&tree.files, arrows, circle)).collect()
}

/// The sets of more than one file in which each reaches each.
fn components(arrows: &Arrows) -> BTreeSet<BTreeSet<usize>> {
    let reached: BTreeMap<usize, BTreeSet<usize>> =
        arrows.keys().map(|&file| (file, reached(arrows, file).into_keys().collect())).collect();
    let reaches = |from: &usize, to: &usize| reached.get(from).is_some_and(|set| set.contains(to));
    let of = |file| reached[file].iter().filter(|other| reaches(other, file)).copied().collect();
    let all = reached.keys().map(of);
    all.filter(|component: &BTreeSet<usize>| component.len() > 1).collect()
}

/// Every file that `from` reaches, with the one before it on a shortest way.
fn reached(arrows: &Arrows, from: usize) -> BTreeMap<usize, usize> {
    let mut before = BTreeMap::new();
    let mut queue = VecDeque::from([from]);
    while let Some(file) = queue.pop_front() {
        for &next in arrows.get(&file).into_iter().flat_map(BTreeMap::keys) {
            before.entry(next).or_insert_with(|| {
                queue.push_back(next);
                file
            });
        }
    }
    before
}

/// Whether `circle` stays within one module's own file and folder, and all that is in circles there
/// is small together.
fn is_in_small_module(files: &[File], arrows: &Arrows, circle: &BTreeSet<usize>) -> bool {
    let path = |file: &usize| files[*file].path.as_str();
    circle.iter().any(|root| {
        let Some(folder) = folder(path(root)) else { return false };
        let is_inside = |file: &usize| file == root || path(file).starts_with(&folder);
        let inside = arrows.iter().filter(|(from, _)| is_inside(from)).map(|(&from, to)| {
            let to = to.iter().filter(|(to, _)| is_inside(to));
            (from, to.map(|(&to, &line)| (to, line)).collect())
        });
        let lines =
            |part: &BTreeSet<usize>| part.iter().map(|&file| files[file].lines).sum::<usize>();
        components(&inside.collect())
            .iter()
            .any(|part| part.is_superset(circle) && lines(part) <= SMALL)
    })
}

/// The folder of the children of the module in `path`; a crate's root is no small module.
fn folder(path: &str) -> Option<String> {
    if ["/lib.rs", "/main.rs"].iter().any(|root| path.ends_with(root)) {
        return None;
    }
    let module = path.strip_suffix("/mod.rs").or_else(|| path.strip_suffix(".rs"))?;
    Some(format!("{module}/"))
}

/// Shortest circles of a component, from their least files, of which no two share an arrow: to cut one
/// of them often cuts many longer ones.
fn shortest(arrows: &Arrows, component: &BTreeSet<usize>) -> Vec<Vec<usize>> {
    let mut circles: BTreeSet<(usize, Vec<usize>)> = BTreeSet::new();
    for &from in component {
        for &to in arrows[&from].keys().filter(|file| component.contains(file)) {
            let circle = through(arrows, from, to);
            circles.insert((circle.len(), circle));
        }
    }
    let mut told = BTreeSet::new();
    let mut is_new = |circle: &Vec<usize>| {
        let arrows: Vec<_> = round(circle).zip(round(circle).skip(1)).collect();
        let is_new = arrows.iter().all(|arrow| !told.contains(arrow));
        if is_new {
            told.extend(arrows);
        }
        is_new
    };
    circles.into_iter().map(|(_, circle)| circle).filter(|circle| is_new(circle)).collect()
}

/// The shortest circle through the arrow between two files, from its least file.
fn through(arrows: &Arrows, from: usize, to: usize) -> Vec<usize> {
    let before = reached(arrows, to);
    let back = std::iter::successors(Some(from), |file| (*file != to).then(|| before[file]));
    let mut circle: Vec<usize> = back.collect();
    circle.reverse();
    let least = (0..circle.len()).min_by_key(|&at| circle[at]).unwrap_or(0);
    circle.rotate_left(least);
    circle
}

/// The files of a circle and its first again.
fn round(circle: &[usize]) -> impl Iterator<Item = usize> {
    circle.iter().copied().chain(circle.first().copied())
}

/// `a.rs → b.rs → a.rs`, and below it the line of each arrow.
fn text(files: &[File], arrows: &Arrows, circle: &[usize]) -> String {
    let path = |file: usize| files[file].path.as_str();
    let names: Vec<&str> = round(circle).map(path).collect();
    let mut text = names.join(" → ");
    for (from, to) in round(circle).zip(round(circle).skip(1)) {
        let line = arrows[&from][&to];
        text.push_str(&format!("\n    {}:{line} names {}", path(from), path(to)));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arrows::files;
    use crate::source::Texts;

    fn circles(texts: &[(&str, &str)]) -> Vec<String> {
        let texts: Texts =
            texts.iter().map(|(path, text)| (format!("src/{path}"), (*text).to_owned())).collect();
        let tree = Tree::read("src/lib.rs", &texts).unwrap();
        forbidden(&tree, &files::arrows(&tree))
    }

    #[test]
    fn a_circle_is_found() {
        let found = circles(&[
            ("lib.rs", "mod a; mod b; mod c;"),
            ("a.rs", "use crate::b::B;\npub struct A(B);"),
            ("b.rs", "\npub struct B;\nfn f() -> super::c::C { todo!() }"),
            ("c.rs", "pub struct C;\nfn f() { vec![crate::a::A::new()]; }"),
        ]);
        let expected = "src/a.rs → src/b.rs → src/c.rs → src/a.rs\n    \
            src/a.rs:1 names src/b.rs\n    src/b.rs:3 names src/c.rs\n    src/c.rs:2 names src/a.rs";
        assert_eq!(found, [expected]);
    }

    #[test]
    fn a_re_export_leads_to_the_definition() {
        // Through the root and through a folder's root, which hand names on and no more.
        let found = circles(&[
            ("lib.rs", "mod a; mod b; pub use a::A; pub use b::*;"),
            ("a.rs", "use crate::B; pub struct A;"),
            ("b.rs", "mod deep; pub use deep::B; pub(crate) use self::deep::C as D;"),
            ("b/deep.rs", "pub struct B; pub struct C;"),
        ]);
        assert!(found.is_empty(), "{found:?}");
        let found = circles(&[
            ("lib.rs", "mod a; mod b; pub use a::A; pub use b::*;"),
            ("a.rs", "use crate::B;\npub struct A;"),
            ("b.rs", "mod deep; pub use deep::B;"),
            ("b/deep.rs", "use crate::A;\npub struct B;"),
        ]);
        assert_eq!(found.len(), 1);
        assert!(found[0].starts_with("src/a.rs → src/b/deep.rs → src/a.rs"), "{found:?}");
    }

    #[test]
    fn tests_and_documentation_make_no_circle() {
        let found = circles(&[
            ("lib.rs", "mod a; mod b;"),
            ("a.rs", "use crate::b::B; pub struct A;"),
            (
                "b.rs",
                "/// [`crate::a::A`]\npub struct B;\n#[cfg(test)] use crate::a::A;\n\
                 #[cfg(all(test, unix))] mod tests;",
            ),
        ]);
        assert!(found.is_empty(), "{found:?}");
    }

    #[test]
    fn a_small_module_may_be_cut() {
        let filler = |lines| format!("pub struct B;\n{}", "// more\n".repeat(lines));
        let tree = |parent: &str, lines| {
            circles(&[
                ("lib.rs", "mod a; pub struct Root;"),
                ("a.rs", parent),
                ("a/b.rs", &format!("use super::A;\n{}", filler(lines))),
            ])
        };
        let parent = "mod b; use b::B; pub struct A(B);";
        assert!(tree(parent, 590).is_empty());
        assert_eq!(tree(parent, 600).len(), 1);
        // A parent that does not use what it imports is in no circle.
        assert!(tree("mod b; use b::B; pub struct A;", 600).is_empty());
        let tests = format!(
            "mod b; use b::B; pub struct A(B);\n#[cfg(test)]\nmod tests {{\n{}}}",
            filler(600)
        );
        assert!(tree(&tests, 100).is_empty());
    }

    #[test]
    fn many_small_circles_make_a_great_one() {
        let child = |lines| format!("use super::A;\npub struct B;\n{}", "// more\n".repeat(lines));
        let tree = |lines| {
            circles(&[
                ("lib.rs", "mod a;"),
                ("a.rs", "mod b; mod c; pub struct A(b::B, c::B);"),
                ("a/b.rs", &child(lines)),
                ("a/c.rs", &child(lines)),
            ])
        };
        assert!(tree(200).is_empty());
        assert_eq!(tree(400).len(), 2);
    }

    #[test]
    fn the_root_of_a_crate_is_no_small_module() {
        let found = circles(&[
            ("lib.rs", "mod a; pub struct Root(a::A);"),
            ("a.rs", "use crate::Root; pub struct A;"),
        ]);
        assert_eq!(found.len(), 1);
    }
}
