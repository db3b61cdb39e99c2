//! Running cargo, and `samtone` through it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, bail};

/// Cargo, in the workspace's root, as a shell would start it: without what cargo tells xtask of xtask's
/// own package, for build scripts that read the like (ring's) run again where it changes, and all that
/// hangs on them is built again.
pub(crate) fn cargo(arguments: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    let of_package = |name: &OsString| {
        name.to_str().is_some_and(|name| {
            name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_")
        })
    };
    for (name, _) in std::env::vars_os().filter(|(name, _)| of_package(name)) {
        command.env_remove(name);
    }
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

/// What cargo knows of the workspace's own packages.
pub(crate) fn metadata() -> anyhow::Result<serde_json::Value> {
    let metadata = ["metadata", "--no-deps", "--format-version", "1"];
    let output = cargo(&metadata).current_dir(root()).output().context("cannot start cargo")?;
    if !output.status.success() {
        bail!("`cargo metadata` failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    serde_json::from_slice(&output.stdout).context("`cargo metadata` printed no JSON")
}

/// The folder that cargo builds into.
pub(crate) fn target_directory() -> anyhow::Result<PathBuf> {
    let metadata = metadata()?;
    let folder = metadata["target_directory"].as_str().context("no target directory is named")?;
    Ok(folder.into())
}

/// `samtone ARGUMENTS`, built in release with the features of the backends that they name.
pub(crate) fn samtone(arguments: &[String]) -> anyhow::Result<ExitCode> {
    let mut command = cargo(&["run", "--release", "--package", "samtone"]);
    let features = features(arguments);
    if !features.is_empty() {
        command.args(["--features", &features.join(",")]);
    }
    status(command.arg("--").args(arguments))
}

/// The cargo features of the backends that `arguments` name.
fn features(arguments: &[String]) -> Vec<&'static str> {
    let mut named: Vec<&str> = Vec::new();
    let mut rest = arguments.iter().map(String::as_str);
    while let Some(argument) = rest.next() {
        let (name, value) = match argument.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (argument, None),
        };
        if ["--backend", "--backends", "--devices"].contains(&name) {
            named.extend(value.or_else(|| rest.next()).into_iter().flat_map(|v| v.split(',')));
        }
    }
    if named.is_empty() && arguments.first().is_some_and(|command| command == "backends") {
        named.push("ndarray"); // its default is flex,ndarray
    }
    // Flex is always in; of a name that is no backend, the command line says what it expected.
    let is_named =
        |feature: &&str| named.iter().any(|n| n.split([':', '-']).any(|p| p == *feature));
    ["ndarray", "wgpu", "cuda", "unfused"].into_iter().filter(is_named).collect()
}

#[cfg(test)]
mod tests {
    use super::features;

    #[test]
    fn backends_are_read_in_every_spelling() {
        let arguments = |line: &str| line.split(' ').map(String::from).collect::<Vec<_>>();
        let of = |line: &str| features(&arguments(line)).join(",");
        assert_eq!(of("train --backend cuda:1 --x y"), "cuda");
        assert_eq!(of("train --backend=wgpu"), "wgpu");
        assert_eq!(of("train --devices cuda:0,cuda:1"), "cuda");
        assert_eq!(of("train"), "");
        assert_eq!(of("backends --backends wgpu,cuda-unfused:1"), "wgpu,cuda,unfused");
        assert_eq!(of("backends"), "ndarray");
        assert_eq!(of("backends --backends wgpu,flex,ndarray --out x"), "ndarray,wgpu");
    }
}
