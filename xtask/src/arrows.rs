//! Who may depend on whom: the crate graph of `docs/architecture.md`, proved with `cargo tree`.

use anyhow::{Context, bail};

use crate::command::{cargo, root};

/// Each crate and the workspace crates it may reach, directly or not.
const ARROWS: [(&str, &[&str]); 7] = [
    ("samtone-loss", &[]),
    ("samtone-data", &[]),
    ("samtone-eval", &[]),
    ("samtone-report", &[]),
    ("samtone-model", &["samtone-data"]),
    ("samtone-train", &["samtone-loss", "samtone-data", "samtone-model", "samtone-eval"]),
    (
        "samtone",
        &[
            "samtone-loss",
            "samtone-data",
            "samtone-model",
            "samtone-eval",
            "samtone-report",
            "samtone-train",
        ],
    ),
];

/// Crates that must build without Burn: they are useful alone, and build in seconds.
const WITHOUT_BURN: [&str; 4] = ["samtone-data", "samtone-eval", "samtone-report", "xtask"];

pub(crate) fn check() -> anyhow::Result<()> {
    for (package, allowed) in ARROWS {
        for dependency in dependencies(package)? {
            let ours = dependency.starts_with("samtone") || dependency == "xtask";
            if ours && dependency != package && !allowed.contains(&dependency.as_str()) {
                bail!("`{package}` reaches `{dependency}`, which its layer may not");
            }
        }
    }
    for package in WITHOUT_BURN {
        if let Some(burn) = dependencies(package)?.iter().find(|name| name.starts_with("burn")) {
            bail!("`{package}` reaches `{burn}`, and must build without Burn");
        }
    }
    Ok(())
}

/// The names of all packages that `package` reaches by normal and build dependencies.
fn dependencies(package: &str) -> anyhow::Result<Vec<String>> {
    let tree = ["tree", "--package", package, "--edges", "normal,build", "--prefix", "none"];
    let output = cargo(&tree).current_dir(root()).output().context("cannot start `cargo tree`")?;
    if !output.status.success() {
        bail!("`cargo tree` failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    let text = String::from_utf8(output.stdout).context("`cargo tree` printed no UTF-8")?;
    Ok(text.lines().filter_map(|line| line.split(' ').next()).map(String::from).collect())
}
