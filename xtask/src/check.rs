//! `cargo xtask check`: what must hold before a change is sent, cheapest first.

use std::process::{Command, ExitCode};

use anyhow::{Context, bail};

use crate::command::{cargo, done, root, status};
use crate::{arrows, conformance, names, readme};

/// A step's name and what it does.
type Step = (&'static str, fn() -> anyhow::Result<()>);

/// Both CPU backends, where packages have a choice.
const FEATURES: &str = "samtone/ndarray,samtone-conformance/ndarray";

/// The steps in order.
const STEPS: [Step; 8] = [
    ("fmt", format),
    ("arrows", arrows::check),
    ("names", names::check),
    ("readme", readme::check),
    ("clippy", clippy),
    ("test", tests),
    ("conformance", || conformance::on_cpu(&[])),
    ("doc", doc),
];

/// Runs the steps that `names` lists, or all.
pub(crate) fn run(names: &[String]) -> anyhow::Result<ExitCode> {
    if let Some(unknown) = names.iter().find(|name| !STEPS.iter().any(|(step, _)| step == name)) {
        let known = STEPS.map(|(step, _)| step).join(", ");
        bail!("no step is called `{unknown}`: they are {known}");
    }
    for (name, step) in STEPS {
        if names.is_empty() || names.iter().any(|asked| asked == name) {
            eprintln!("── {name}");
            step().with_context(|| format!("`cargo xtask check {name}` failed"))?;
        }
    }
    Ok(ExitCode::SUCCESS)
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
    let runner: &[&str] =
        if nextest { &["nextest", "run"] } else { &["test", "--lib", "--bins", "--tests"] };
    let mut command = cargo(runner);
    command.args(["--workspace", "--features", FEATURES]).current_dir(root());
    Ok(command)
}

fn format() -> anyhow::Result<()> {
    done(&mut cargo(&["fmt", "--all", "--check"]))
}

fn clippy() -> anyhow::Result<()> {
    done(&mut cargo(&[
        "clippy",
        "--workspace",
        "--all-targets",
        "--features",
        FEATURES,
        "--",
        "-D",
        "warnings",
    ]))
}

fn tests() -> anyhow::Result<()> {
    done(&mut test_runner()?)?;
    done(&mut cargo(&[
        "test",
        "-p",
        "samtone-data",
        "--features",
        "parquet",
        "--test",
        "parquet",
    ]))?;
    // nextest runs no doctests.
    done(&mut cargo(&["test", "--workspace", "--doc", "--quiet"]))
}

fn doc() -> anyhow::Result<()> {
    done(cargo(&["doc", "--workspace", "--no-deps", "--quiet"]).env("RUSTDOCFLAGS", "-D warnings"))
}
