//! A crate's README is the documentation of its `lib.rs`, for those who look at its folder or its
//! page on crates.io.

use std::fs;
use std::process::ExitCode;

use anyhow::{Context, ensure};
use syn::{Attribute, Expr, ExprLit, Lit, Meta, Token};

use crate::command::root;
use crate::source::crate_names;

/// `cargo xtask readme`: writes every crate's README.
pub(crate) fn write() -> anyhow::Result<ExitCode> {
    for name in crate_names()? {
        let path = root().join(readme_of(&name));
        fs::write(&path, expected(&name)?)
            .with_context(|| format!("cannot write `{}`", path.display()))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Checks that every crate's README is what [`write()`] would write.
pub(crate) fn check() -> anyhow::Result<()> {
    for name in crate_names()? {
        let path = readme_of(&name);
        let text = fs::read_to_string(root().join(&path)).unwrap_or_default();
        ensure!(
            text == expected(&name)?,
            "`{path}` is not the documentation of its `src/lib.rs`: `cargo xtask readme` writes it"
        );
    }
    Ok(())
}

fn readme_of(name: &str) -> String {
    format!("crates/{name}/README.md")
}

fn expected(name: &str) -> anyhow::Result<String> {
    let path = format!("crates/{name}/src/lib.rs");
    let source = fs::read_to_string(root().join(&path)).with_context(|| format!("no `{path}`"))?;
    readme(name, &source).with_context(|| format!("in `{path}`"))
}

/// The README of the crate `name` from the source of its `lib.rs`.
fn readme(name: &str, source: &str) -> anyhow::Result<String> {
    let attributes = syn::parse_file(source).context("no Rust")?.attrs;
    let lines: Vec<String> = attributes.iter().flat_map(documentation).collect();
    ensure!(!lines.is_empty(), "it has no documentation");
    let mut text = format!("# {name}\n\n");
    let mut fence = None;
    for line in &lines {
        // What a `//!` line holds begins with the blank after it.
        let line = line.strip_prefix(' ').unwrap_or(line);
        if let Some(written) = written(line, &mut fence) {
            text.push_str(written.trim_end());
            text.push('\n');
        }
    }
    Ok(text)
}

/// The lines of documentation that an attribute holds with all features on.
fn documentation(attribute: &Attribute) -> Vec<String> {
    let meta = if attribute.path().is_ident("cfg_attr") {
        let with = |input: syn::parse::ParseStream<'_>| {
            let condition: Meta = input.parse()?;
            let _: Token![,] = input.parse()?;
            let meta: Meta = input.parse()?;
            let _: Option<Token![,]> = input.parse()?;
            Ok((condition, meta))
        };
        match attribute.parse_args_with(with) {
            Ok((condition, meta)) if !condition.path().is_ident("not") => meta,
            _ => return Vec::new(),
        }
    } else {
        attribute.meta.clone()
    };
    match meta {
        Meta::NameValue(pair) if pair.path.is_ident("doc") => match pair.value {
            Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) => {
                text.value().split('\n').map(String::from).collect()
            }
            _ => Vec::new(),
        },
        _ => Vec::new(),
    }
}

/// A code block's language.
#[derive(Clone, Copy, PartialEq)]
enum Fence {
    Rust,
    Other,
}

/// How a line of documentation stands in the README, if it does.
fn written(line: &str, fence: &mut Option<Fence>) -> Option<String> {
    if let Some(words) = line.trim_start().strip_prefix("```") {
        let is_end = fence.is_some();
        *fence = (!is_end).then(|| language(words));
        return Some(if *fence == Some(Fence::Rust) { "```rust".into() } else { line.into() });
    }
    match fence {
        Some(Fence::Rust) if line == "#" || line.starts_with("# ") => None,
        Some(_) => Some(line.to_owned()),
        None if line.starts_with('#') => Some(format!("#{}", without_links(line))),
        None => Some(without_links(line)),
    }
}

/// Code without a language is Rust, and so is code that only rustdoc's words stand at.
fn language(words: &str) -> Fence {
    let mut words = words.split([',', ' ']).filter(|word| !word.is_empty());
    let is_rust = |word: &str| {
        let known = ["rust", "no_run", "ignore", "should_panic", "compile_fail"];
        known.contains(&word) || word.starts_with("edition")
    };
    if words.all(is_rust) { Fence::Rust } else { Fence::Other }
}

/// Links to items as plain code; links to pages as they are.
fn without_links(line: &str) -> String {
    let mut text = String::new();
    let mut rest = line;
    while let Some(at) = rest.find(['`', '[']) {
        text.push_str(&rest[..at]);
        rest = &rest[at..];
        let end = if rest.starts_with('`') { code_end(rest) } else { link(rest, &mut text) };
        let end = end.unwrap_or_else(|| {
            text.push_str(&rest[..1]);
            1
        });
        if rest.starts_with('`') && end > 1 {
            text.push_str(&rest[..end]);
        }
        rest = &rest[end..];
    }
    text + rest
}

/// Where the code that `text` begins with ends.
fn code_end(text: &str) -> Option<usize> {
    text[1..].find('`').map(|at| at + 2)
}

/// Writes the label of the link to an item that `text` begins with, and says where the link ends.
fn link(text: &str, out: &mut String) -> Option<usize> {
    let (label, after) = text[1..].split_once(']')?;
    let (target, end) = match after.chars().next() {
        Some('(') => {
            let target = after[1..].split_once(')')?.0;
            // `run()` names a function: its own bracket is no end.
            let target_end = if target.ends_with('(') { target.len() + 1 } else { target.len() };
            (&after[1..=target_end], label.len() + target_end + 4)
        }
        Some('[') => return None,
        _ => (label.trim_matches('`'), label.len() + 2),
    };
    let is_code = label.starts_with('`') && label.ends_with('`') && label.len() > 2;
    let has_target = after.starts_with('(');
    if !(has_target || is_code) || !is_item(target) {
        return None;
    }
    out.push_str(label);
    Some(end)
}

/// Whether rustdoc takes `target` for an item's path.
fn is_item(target: &str) -> bool {
    let target = target.split_once('@').map_or(target, |(_, path)| path);
    let target = target.trim_end_matches("()").trim_end_matches('!');
    let is_name = |name: &str| {
        let mut characters = name.chars();
        characters.next().is_some_and(|first| first.is_alphabetic() || first == '_')
            && characters.all(|next| next.is_alphanumeric() || next == '_')
    };
    target.split("::").all(is_name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documentation_becomes_a_page() {
        let source = "\
//! Texts, and [`Thing`]s.
//!
//! # Examples
//!
//! ```
//! use one::Thing;
//! # let hidden = 1;
//! #[derive(Debug)] struct A([u8; 2]);
//! ```
//!
//! ```text
//! # kept [`as`](it::is)
//! ```
#![cfg_attr(feature = \"more\", doc = \"With more.\")]
#![cfg_attr(not(feature = \"more\"), doc = \"Without.\")]
#![deny(unsafe_code)]
/// Not the crate's.
pub struct Thing;
";
        let expected = "\
# one

Texts, and `Thing`s.

## Examples

```rust
use one::Thing;
#[derive(Debug)] struct A([u8; 2]);
```

```text
# kept [`as`](it::is)
```
With more.
";
        assert_eq!(readme("one", source).unwrap(), expected);
        assert!(readme("one", "pub struct Thing;").is_err());
    }

    #[test]
    fn links_to_items_become_code() {
        for (written, expected) in [
            ("[`a`](crate::b::C), the default", "`a`, the default"),
            ("[`run()`] and [`World::new`]", "`run()` and `World::new`"),
            ("[words](struct@Thing) [`mine()`](mine())", "words `mine()`"),
            ("[page](https://a.b/c) [`up`](../a.md)", "[page](https://a.b/c) [`up`](../a.md)"),
            ("Z_g[i] is [0, 1] and `[`x`]`", "Z_g[i] is [0, 1] and `[`x`]`"),
            ("[`τ`] é [`no end", "`τ` é [`no end"),
        ] {
            assert_eq!(without_links(written), expected, "{written}");
        }
    }

    #[test]
    fn rustdocs_words_are_of_rust() {
        for words in ["", "rust", "no_run", "rust,should_panic", "ignore, edition2024"] {
            assert!(language(words) == Fence::Rust, "{words}");
        }
        assert!(language("toml") == Fence::Other && language("sh,ignore") == Fence::Other);
    }
}
