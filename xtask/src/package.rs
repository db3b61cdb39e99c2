//! `cargo xtask check package`: each crate can be published, needs nothing outside its folder, and has
//! an example to copy.

use std::collections::BTreeSet;
use std::path::{Component, Path};

use anyhow::{Context, bail, ensure};
use proc_macro2::{Delimiter, Group, TokenStream, TokenTree};

use crate::command::{cargo, done, metadata, root};
use crate::source::{Texts, crate_names, rust_files};

/// The scan first, which says more than a build that fails elsewhere.
pub(crate) fn check() -> anyhow::Result<()> {
    let mut faults = Vec::new();
    for name in crate_names()? {
        for (path, text) in texts(&format!("crates/{name}"))? {
            let inside = path.splitn(3, '/').nth(2).unwrap_or_default();
            let found = outside(inside, &text).with_context(|| format!("in `{path}`"))?;
            faults.extend(found.iter().map(|(line, what)| {
                format!(
                    "{path}:{line} names `{what}`, which is outside the package and not published"
                )
            }));
        }
    }
    ensure!(faults.is_empty(), "{} paths:\n{}", faults.len(), faults.join("\n"));
    let published = published(&metadata()?);
    for name in &published {
        let folder = format!("crates/{name}/examples");
        let mut examples = Texts::new();
        if root().join(&folder).is_dir() {
            rust_files(&folder, &mut examples)?;
        }
        let is_short = examples.iter().any(|(_, text)| text.lines().count() < LONGEST_EXAMPLE);
        ensure!(is_short, "`{folder}` has no program of under {LONGEST_EXAMPLE} lines to copy");
    }
    packages(&published)
}

/// Lines from which on nobody copies an example.
const LONGEST_EXAMPLE: usize = 60;

/// `cargo package` of all that may be published, without building it again.
fn packages(published: &[String]) -> anyhow::Result<()> {
    if published.is_empty() {
        eprintln!("every package is `publish = false`");
        return Ok(());
    }
    let command = |mode: &[&str]| {
        let mut command = cargo(&["package", "--no-verify", "--allow-dirty", "--quiet"]);
        command.args(mode).args(published.iter().flat_map(|name| ["--package", name]));
        command
    };
    // Without the network where all is downloaded already, as it is after a build.
    let offline = command(&["--offline"]).current_dir(root()).output();
    if offline.context("cannot start cargo")?.status.success() {
        return Ok(());
    }
    done(&mut command(&[]))
}

fn published(metadata: &serde_json::Value) -> Vec<String> {
    let packages = metadata["packages"].as_array().into_iter().flatten();
    let published = packages.filter(|package| package["publish"] != serde_json::json!([]));
    published.filter_map(|package| package["name"].as_str().map(String::from)).collect()
}

fn texts(package: &str) -> anyhow::Result<Texts> {
    let mut texts = Texts::new();
    for folder in ["src", "tests", "examples", "benches"] {
        let folder = format!("{package}/{folder}");
        if root().join(&folder).is_dir() {
            rust_files(&folder, &mut texts)?;
        }
    }
    Ok(texts)
}

/// The lines of a package's file that name a path outside it, with that path.
fn outside(file: &str, text: &str) -> anyhow::Result<BTreeSet<(usize, String)>> {
    let Ok(tokens) = text.parse::<TokenStream>() else { bail!("no Rust") };
    let mut scan = Scan {
        folder: file.rsplit_once('/').map_or("", |(folder, _)| folder),
        found: BTreeSet::new(),
    };
    scan.tokens(tokens, Delimiter::None);
    Ok(scan.found)
}

/// A walk over a file's tokens.
struct Scan<'a> {
    /// Where the file lies in its package.
    folder: &'a str,
    found: BTreeSet<(usize, String)>,
}

const PACKAGE: &str = "CARGO_MANIFEST_DIR";

impl Scan<'_> {
    fn tokens(&mut self, tokens: TokenStream, delimiter: Delimiter) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        // Whether this statement has named the package's folder.
        let mut of_package = false;
        for (at, token) in tokens.iter().enumerate() {
            let before = |back: usize| at.checked_sub(back).map(|at| tokens[at].to_string());
            match token {
                TokenTree::Group(group) => {
                    let called =
                        if before(1).as_deref() == Some("!") { before(2) } else { before(1) };
                    self.call(called.as_deref().unwrap_or_default(), group, of_package);
                    of_package |= group.stream().to_string().contains(PACKAGE);
                }
                TokenTree::Punct(punct) if punct.as_char() == ';' => of_package = false,
                TokenTree::Ident(name) if of_package && name == "parent" => {
                    self.add(token, format!("the parent of {PACKAGE}"));
                }
                TokenTree::Literal(_) => {
                    let Some(text) = string(token) else { continue };
                    let is = |token: Option<&TokenTree>| {
                        token.is_none_or(|token| token.to_string() == ",")
                    };
                    let alone =
                        is(at.checked_sub(1).map(|at| &tokens[at])) && is(tokens.get(at + 1));
                    if delimiter == Delimiter::Parenthesis && alone && text.starts_with("../../") {
                        self.add(token, text);
                    } else if before(1).as_deref() == Some("=")
                        && before(2).as_deref() == Some("path")
                    {
                        self.relative(token, text);
                    }
                }
                _ => {}
            }
        }
    }

    /// What is called `name` with the arguments `group`.
    fn call(&mut self, name: &str, group: &Group, of_package: bool) {
        let arguments: Vec<TokenTree> = group.stream().into_iter().collect();
        let strings = || arguments.iter().filter_map(|token| Some((token, string(token)?)));
        match name {
            "include_str" | "include_bytes" | "include" => {
                for (token, text) in strings() {
                    self.relative(token, text);
                }
                return;
            }
            "join" if of_package => {
                for (token, text) in strings().filter(|(_, text)| leaves(text)) {
                    self.add(token, text);
                }
            }
            "concat" if group.stream().to_string().contains(PACKAGE) => {
                for (token, text) in
                    strings().filter(|(_, text)| leaves(text.trim_start_matches('/')))
                {
                    self.add(token, text);
                }
            }
            _ => {}
        }
        self.tokens(group.stream(), group.delimiter());
    }

    /// A path that is read from the file's own folder on.
    fn relative(&mut self, token: &TokenTree, text: String) {
        if leaves(&format!("{}/{text}", self.folder)) {
            self.add(token, text);
        }
    }

    fn add(&mut self, token: &TokenTree, what: String) {
        self.found.insert((token.span().start().line, what));
    }
}

fn string(token: &TokenTree) -> Option<String> {
    syn::parse_str::<syn::LitStr>(&token.to_string()).ok().map(|literal| literal.value())
}

/// Whether a path from a folder on leads out of it.
fn leaves(path: &str) -> bool {
    let mut depth = 0_usize;
    for component in Path::new(path.trim_start_matches('/')).components() {
        match component {
            Component::ParentDir if depth == 0 => return true,
            Component::ParentDir => depth -= 1,
            Component::Normal(_) => depth += 1,
            _ => {}
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(file: &str, text: &str) -> Vec<String> {
        outside(file, text)
            .unwrap()
            .into_iter()
            .map(|(line, what)| format!("{line} {what}"))
            .collect()
    }

    #[test]
    fn a_path_out_of_the_package_is_found() {
        let text = r#"#[doc = include_str!("../../../docs/a.md")]
            const A: &[u8] = include_bytes!("../../../a.bin");
            fn f() { let a = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../Cargo.lock"); }
            fn g() { let a = concat!(env!("CARGO_MANIFEST_DIR"), "/../data"); }
            fn h() { let a = Path::new(env!("CARGO_MANIFEST_DIR")).parent(); }
            fn i() { vec![std::fs::read("../../x")]; }
            #[path = "../../../b.rs"] mod b;"#;
        let expected = [
            "1 ../../../docs/a.md",
            "2 ../../../a.bin",
            "3 ../../Cargo.lock",
            "4 /../data",
            "5 the parent of CARGO_MANIFEST_DIR",
            "6 ../../x",
            "7 ../../../b.rs",
        ];
        assert_eq!(found("src/deep/a.rs", text), expected);
    }

    #[test]
    fn a_path_within_the_package_is_none() {
        let text = r#"//! `../../a`
            const A: &str = include_str!("../../assets/a.css");
            fn f() { let a = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/a/../b"); }
            fn g() { concat!(env!("CARGO_MANIFEST_DIR"), "/tests"); folder.parent().join("..") }
            fn hostile() { vec!["../../etc/passwd".to_owned()]; }"#;
        assert!(found("src/deep/a.rs", text).is_empty(), "{:?}", found("src/deep/a.rs", text));
    }

    #[test]
    fn what_is_not_published_is_left_out() {
        let metadata = serde_json::json!({ "packages": [
            { "name": "a", "publish": null }, { "name": "b", "publish": [] },
        ] });
        assert_eq!(published(&metadata), ["a"]);
    }
}
