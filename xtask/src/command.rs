//! Running cargo, and `samtone` through it.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, bail};

/// Cargo, in the workspace's root.
pub(crate) fn cargo(arguments: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments);
    command
}

/// The workspace's root folder.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lies in the workspace")
}

/// Runs `command` and hands its exit code on.
pub(crate) fn status(command: &mut Command) -> anyhow::Result<ExitCode> {
    let status = command.status().with_context(|| format!("cannot start {command:?}"))?;
    Ok(status.code().and_then(|code| u8::try_from(code).ok()).map_or(ExitCode::FAILURE, Into::into))
}

/// Runs `command` in the workspace's root to its end, which must be a success.
pub(crate) fn done(command: &mut Command) -> anyhow::Result<()> {
    let status = command
        .current_dir(root())
        .status()
        .with_context(|| format!("cannot start {command:?}"))?;
    if !status.success() {
        bail!("{command:?} ended with {status}");
    }
    Ok(())
}

/// The folder that cargo builds into.
pub(crate) fn target_directory() -> anyhow::Result<PathBuf> {
    let metadata = ["metadata", "--no-deps", "--format-version", "1"];
    let output = cargo(&metadata).current_dir(root()).output().context("cannot start cargo")?;
    if !output.status.success() {
        bail!("`cargo metadata` failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    let metadata: serde_json::Value =
        serde_json::from_slice(&output.stdout).context("`cargo metadata` printed no JSON")?;
    let folder = metadata["target_directory"].as_str().context("no target directory is named")?;
    Ok(folder.into())
}

/// `samtone ARGUMENTS`, built in release with the feature of the backend that they name.
pub(crate) fn samtone(arguments: &[String]) -> anyhow::Result<ExitCode> {
    let mut command = cargo(&["run", "--release", "--package", "samtone"]);
    let backend = backend(arguments).map(|name| name.split(':').next().unwrap_or(name));
    // Flex is always in; of a name that is no backend, the command line says what it expected.
    if let Some(feature @ ("ndarray" | "wgpu" | "cuda")) = backend {
        command.args(["--features", feature]);
    }
    status(command.arg("--").args(arguments))
}

/// The value of `--backend` among `arguments`.
fn backend(arguments: &[String]) -> Option<&str> {
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        if argument == "--backend" {
            return rest.next().map(String::as_str);
        }
        if let Some(value) = argument.strip_prefix("--backend=") {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::backend;

    #[test]
    fn the_backend_is_read_in_both_spellings() {
        let arguments = |line: &str| line.split(' ').map(String::from).collect::<Vec<_>>();
        assert_eq!(backend(&arguments("train --backend cuda:1 --x y")), Some("cuda:1"));
        assert_eq!(backend(&arguments("train --backend=wgpu")), Some("wgpu"));
        assert_eq!(backend(&arguments("train")), None);
    }
}
