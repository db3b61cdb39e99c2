//! The section "Glossary" of `docs/architecture.md`: terms and their paths, names of several things.

use std::collections::BTreeMap;

use anyhow::{Context, ensure};

/// The heading of the names that may stand for several things.
const DOUBLES: &str = "### Names that stand for more than one thing";

/// What the section's two tables say.
#[derive(Default)]
pub(super) struct Glossary {
    /// Terms, with the code spans of their last column.
    pub(super) terms: Vec<(String, Vec<String>)>,
    /// Names of several things, with the reason for each.
    pub(super) doubles: BTreeMap<String, String>,
}

impl Glossary {
    /// Reads the section out of the whole page.
    pub(super) fn read(page: &str) -> anyhow::Result<Self> {
        let (_, section) = page.split_once("\n## Glossary\n").context("no section `Glossary`")?;
        let section = section.split("\n## ").next().unwrap_or_default();
        let (terms, doubles) =
            section.split_once(DOUBLES).with_context(|| format!("no section `{DOUBLES}`"))?;
        let mut glossary = Self::default();
        for row in rows(terms) {
            let paths = row.last().map(|cell| code(cell)).unwrap_or_default();
            ensure!(!paths.is_empty(), "the glossary says not where `{}` stands", row[0]);
            glossary.terms.push((row[0].to_owned(), paths));
        }
        for row in rows(doubles) {
            let reason = row.last().filter(|_| row.len() > 1).copied().unwrap_or_default();
            for name in code(row[0]) {
                glossary.doubles.insert(name, reason.to_owned());
            }
        }
        Ok(glossary)
    }

    /// What the terms name that is not there, by what tells of a path in a crate and of a file.
    pub(super) fn unknown(
        &self,
        is_known: &dyn Fn(&str) -> bool,
        has_file: &dyn Fn(&str) -> bool,
    ) -> Vec<String> {
        let mut faults = Vec::new();
        for (term, paths) in &self.terms {
            for path in paths {
                let is_file = path.contains('/');
                if !(if is_file { has_file(path) } else { is_known(path) }) {
                    let what = if is_file { "file" } else { "public name" };
                    faults.push(format!("the glossary's `{term}`: there is no {what} `{path}`"));
                }
            }
        }
        faults
    }
}

/// The cells of a table's rows, without its head.
fn rows(text: &str) -> impl Iterator<Item = Vec<&str>> {
    let rows = text.lines().filter_map(|line| line.trim().strip_prefix('|')?.strip_suffix('|'));
    rows.skip(2).map(|row| row.split('|').map(str::trim).collect())
}

/// What stands between backticks.
fn code(cell: &str) -> Vec<String> {
    cell.split('`').skip(1).step_by(2).map(String::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "# A\n\n## Glossary\n\nWords.\n\n| term | is | where |\n|---|---|---|\n\
        | pair | two texts | `one::Pair`, `src/pair.rs` |\n\n\
        ### Names that stand for more than one thing\n\n| name | where | why |\n|---|---|---|\n\
        | `Side` | one, two | no arrow |\n\n## Next\n\n| x |\n|---|\n| y |\n";

    #[test]
    fn both_tables_are_read() {
        let glossary = Glossary::read(PAGE).unwrap();
        let paths = ["one::Pair", "src/pair.rs"].map(String::from).to_vec();
        assert_eq!(glossary.terms, [("pair".to_owned(), paths)]);
        assert_eq!(glossary.doubles, BTreeMap::from([("Side".to_owned(), "no arrow".to_owned())]));
        assert!(Glossary::read("# A\n").is_err());
    }

    #[test]
    fn a_term_is_where_its_row_says() {
        let glossary = Glossary::read(PAGE).unwrap();
        assert!(glossary.unknown(&|path| path == "one::Pair", &|_| true).is_empty());
        assert_eq!(
            glossary.unknown(&|_| false, &|_| false),
            [
                "the glossary's `pair`: there is no public name `one::Pair`",
                "the glossary's `pair`: there is no file `src/pair.rs`"
            ]
        );
    }
}
