//! Who may depend on whom: crates as `docs/architecture.md` draws them, files without circles.

mod circles;
mod crates;
mod files;

use anyhow::bail;

use crate::source;

/// The crate graph, then the files of each crate.
pub(crate) fn check() -> anyhow::Result<()> {
    let crates = crates::check();
    let mut found = Vec::new();
    for package in source::packages()? {
        for tree in &package.trees {
            found.extend(circles::forbidden(tree, &files::arrows(tree)));
        }
    }
    if found.is_empty() {
        return crates;
    }
    // Both are told: who moves files breaks both at once.
    let circles = format!("{} circles between files:\n{}", found.len(), found.join("\n"));
    match crates {
        Ok(()) => bail!(circles),
        Err(error) => bail!("{error:#}\n{circles}"),
    }
}
