//! Python with pinned packages, for what samtone is held against.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;

use crate::command::done;

/// The file in an environment that holds the list it was made from.
pub(crate) const INSTALLED: &str = "installed.txt";

/// The Python of the virtual environment in `folder`, with what `requirements` lists.
///
/// `PYTHON` names the interpreter to make it with, `python3` if unset.
pub(crate) fn environment(folder: &Path, requirements: &Path) -> anyhow::Result<PathBuf> {
    let wanted = fs::read_to_string(requirements)
        .with_context(|| format!("cannot read `{}`", requirements.display()))?;
    let python = folder.join(if cfg!(windows) { "Scripts/python.exe" } else { "bin/python" });
    let installed = folder.join(INSTALLED);
    if fs::read_to_string(&installed).is_ok_and(|installed| installed == wanted) {
        return Ok(python);
    }
    let base = std::env::var_os("PYTHON").unwrap_or_else(|| "python3".into());
    done(Command::new(base).args(["-m", "venv", "--clear"]).arg(folder))
        .context("cannot make a virtual environment (Debian has it in `python3-venv`)")?;
    let pip = ["-m", "pip", "install", "--quiet", "--requirement"];
    done(Command::new(&python).args(pip).arg(requirements))
        .with_context(|| format!("cannot install `{}`", requirements.display()))?;
    // Written last: an interrupted installation starts over.
    fs::write(&installed, wanted)
        .with_context(|| format!("cannot write `{}`", installed.display()))?;
    Ok(python)
}
