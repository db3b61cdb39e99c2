//! `cargo xtask check`: what must hold before a change is sent, cheapest first.

use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use crate::command::{cargo, done, root, status, target_directory};
use crate::{arrows, conformance, deny, names, package, readme, study};

/// A step's name and what it does.
type Step = (&'static str, fn() -> anyhow::Result<()>);

/// What every step is built with, so that nothing is compiled twice: both CPU backends where packages
/// have a choice, and every format.
const FEATURES: &str = "samtone/ndarray,samtone/parquet,samtone-conformance/ndarray";

/// The same, and those that `SAMTONE_FEATURES` adds, a list as cargo takes it.
pub(crate) fn test_features() -> String {
    let more = std::env::var("SAMTONE_FEATURES").unwrap_or_default();
    if more.is_empty() { FEATURES.into() } else { format!("{FEATURES},{more}") }
}

/// The steps in order.
const STEPS: [Step; 11] = [
    ("fmt", format),
    ("arrows", arrows::check),
    ("names", names::check),
    ("readme", readme::check),
    ("study", study::check),
    ("package", package::check),
    ("deny", deny::check),
    ("clippy", clippy),
    ("test", tests),
    // On Flex it is among the tests.
    ("conformance", || conformance::on("ndarray", &[])),
    ("doc", doc),
];

/// Runs the steps that `names` lists, or all.
pub(crate) fn run(names: &[String]) -> anyhow::Result<ExitCode> {
    if let Some(unknown) = names.iter().find(|name| !STEPS.iter().any(|(step, _)| step == name)) {
        let known = STEPS.map(|(step, _)| step).join(", ");
        bail!("no step is called `{unknown}`: they are {known}");
    }
    let mut took = Vec::new();
    for (name, step) in STEPS {
        if names.is_empty() || names.iter().any(|asked| asked == name) {
            eprintln!("── {name}");
            let start = Instant::now();
            step().with_context(|| format!("`cargo xtask check {name}` failed"))?;
            took.push((name, start.elapsed()));
        }
    }
    eprint!("{}", seconds(&took));
    Ok(ExitCode::SUCCESS)
}

/// A line for each step.
fn seconds(took: &[(&str, Duration)]) -> String {
    let line =
        |(name, time): &(&str, Duration)| format!("{name:<12}{:>8.1} s\n", time.as_secs_f64());
    took.iter().map(line).collect()
}

/// Builds every test, program and example as the tests are built; the folder that programs lie in.
pub(crate) fn build() -> anyhow::Result<PathBuf> {
    done(test_runner()?.arg("--no-run"))?;
    Ok(target_directory()?.join("debug"))
}

/// `cargo xtask test ARGUMENTS`.
pub(crate) fn test(arguments: &[String]) -> anyhow::Result<ExitCode> {
    status(test_runner()?.args(arguments))
}

/// cargo-nextest where installed (a process a test), plain `cargo test` otherwise, with both CPU
/// backends in the command line.
pub(crate) fn test_runner() -> anyhow::Result<Command> {
    let nextest =
        cargo(&["nextest", "--version"]).output().context("cannot start cargo")?.status.success();
    let runner: &[&str] = if nextest {
        &["nextest", "run"]
    } else {
        &["test", "--lib", "--bins", "--tests", "--examples"]
    };
    let mut command = cargo(runner);
    command.args(["--workspace", "--features", &test_features()]).current_dir(root());
    Ok(command)
}

fn format() -> anyhow::Result<()> {
    done(&mut cargo(&["fmt", "--all", "--check"]))
}

fn clippy() -> anyhow::Result<()> {
    let all = ["clippy", "--workspace", "--all-targets", "--features", &test_features()];
    done(cargo(&all).args(["--", "-D", "warnings"]))
}

fn tests() -> anyhow::Result<()> {
    done(&mut test_runner()?)?;
    // nextest runs no doctests.
    done(&mut cargo(&["test", "--workspace", "--features", &test_features(), "--doc", "--quiet"]))
}

fn doc() -> anyhow::Result<()> {
    let all = ["doc", "--workspace", "--no-deps", "--quiet", "--features", &test_features()];
    done(cargo(&all).env("RUSTDOCFLAGS", "-D warnings"))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    #[test]
    fn every_step_has_its_seconds() {
        let took = [("fmt", Duration::from_millis(1240)), ("test", Duration::from_secs(100))];
        assert_eq!(super::seconds(&took), "fmt              1.2 s\ntest           100.0 s\n");
    }
}
