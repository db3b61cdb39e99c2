//! The crate graph, proved with `cargo tree`.

use std::collections::BTreeSet;

use anyhow::{Context, bail, ensure};

use crate::command::{cargo, root};
use crate::source::crate_names;

/// A crate, then the workspace crates it may reach, directly or not, whatever its features.
const ARROWS: &str = "
samtone-files:
samtone-text: samtone-files
samtone-hub: samtone-files
samtone-gemm:
samtone-loss: samtone-gemm
samtone-data: samtone-text samtone-files
samtone-model: samtone-gemm samtone-hub samtone-text samtone-files
samtone-eval: samtone-files
samtone-report:
samtone-train: samtone-loss samtone-model samtone-data samtone-eval samtone-gemm samtone-hub samtone-text samtone-files
samtone-skill: samtone-train samtone-loss samtone-model samtone-data samtone-eval samtone-gemm samtone-hub samtone-text samtone-files
samtone-testing: samtone-loss samtone-model samtone-gemm samtone-hub samtone-text samtone-files
samtone: samtone-skill samtone-train samtone-loss samtone-model samtone-data samtone-eval samtone-report samtone-gemm samtone-hub samtone-text samtone-files
";

/// Crates whose default build has no Burn: they are useful alone, and build in seconds.
const WITHOUT_BURN: [&str; 8] = [
    "samtone-files",
    "samtone-text",
    "samtone-gemm",
    "samtone-hub",
    "samtone-data",
    "samtone-eval",
    "samtone-report",
    "xtask",
];

/// What opens connections, and who may reach it: models are read without the network.
const CLIENT: &str = "ureq";
const WITH_CLIENT: [&str; 2] = ["samtone-hub", "samtone"];

/// What only the command line needs: a program that has `samtone` as its one dependency does not
/// compile it.
const OF_THE_COMMAND_LINE: [&str; 6] =
    ["clap", "indicatif", "comfy-table", "signal-hook", "anyhow", CLIENT];

/// Checks the whole graph.
pub(super) fn check() -> anyhow::Result<()> {
    let table = table(ARROWS);
    let named = table.iter().map(|(package, _)| (*package).to_owned()).collect();
    same_crates(&named, &crate_names()?)?;
    for (package, allowed) in &table {
        let reached = reached(package, &["--all-features"])?;
        reaches_only(package, allowed, &reached)?;
        let is_offline = WITH_CLIENT.contains(package) || !reached.contains(CLIENT);
        ensure!(is_offline, "`{package}` reaches `{CLIENT}`, and must not need the network");
    }
    for package in WITHOUT_BURN {
        if let Some(burn) = reached(package, &[])?.iter().find(|name| name.starts_with("burn")) {
            bail!("`{package}` reaches `{burn}`, and must build without Burn");
        }
    }
    let facade = reached("samtone", &["--no-default-features", "--features", "flex"])?;
    if let Some(name) = OF_THE_COMMAND_LINE.iter().find(|name| facade.contains(**name)) {
        bail!(
            "`samtone` without its feature `cli` reaches `{name}`, which only a command line needs"
        );
    }
    Ok(())
}

fn table(lines: &str) -> Vec<(&str, Vec<&str>)> {
    let rows = lines.lines().filter_map(|line| line.split_once(':'));
    rows.map(|(package, reached)| (package, reached.split_whitespace().collect())).collect()
}

fn same_crates(named: &BTreeSet<String>, present: &BTreeSet<String>) -> anyhow::Result<()> {
    if let Some(missing) = named.difference(present).next() {
        bail!("the table of crates names `{missing}`, which `crates/` has not");
    }
    if let Some(new) = present.difference(named).next() {
        bail!("`{new}` stands in `crates/` and not in the table of crates: whom may it reach?");
    }
    Ok(())
}

fn reaches_only(package: &str, allowed: &[&str], reached: &BTreeSet<String>) -> anyhow::Result<()> {
    for name in reached {
        let ours = name.starts_with("samtone") || name == "xtask";
        ensure!(
            !ours || name == package || allowed.contains(&name.as_str()),
            "`{package}` reaches `{name}`, which its layer may not"
        );
    }
    Ok(())
}

/// The names of all packages that `package` reaches by normal and build dependencies.
fn reached(package: &str, features: &[&str]) -> anyhow::Result<BTreeSet<String>> {
    let tree = ["tree", "--package", package, "--edges", "normal,build", "--prefix", "none"];
    let output = cargo(&tree)
        .args(features)
        .current_dir(root())
        .output()
        .context("cannot start `cargo tree`")?;
    if !output.status.success() {
        bail!("`cargo tree` failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    let text = String::from_utf8(output.stdout).context("`cargo tree` printed no UTF-8")?;
    Ok(text.lines().filter_map(|line| line.split(' ').next()).map(String::from).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crate_reaches_only_what_its_row_names() {
        let table = table(ARROWS);
        let (package, allowed) = &table[1];
        assert_eq!((*package, &allowed[..]), ("samtone-text", &["samtone-files"][..]));
        let reached = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let sound = reached(&["serde", "samtone-files", "samtone-text"]);
        assert!(reaches_only(package, allowed, &sound).is_ok());
        let error = reaches_only(package, allowed, &reached(&["samtone-data"])).unwrap_err();
        assert_eq!(
            error.to_string(),
            "`samtone-text` reaches `samtone-data`, which its layer may not"
        );
    }

    #[test]
    fn the_table_and_the_folder_name_the_same_crates() {
        let [one, two] = [["a"], ["b"]].map(|names| names.map(String::from).into());
        assert!(same_crates(&one, &one).is_ok());
        assert!(same_crates(&one, &two).unwrap_err().to_string().contains("`a`"));
        let both = one.union(&two).cloned().collect();
        assert!(same_crates(&one, &both).unwrap_err().to_string().contains("`b`"));
    }
}
