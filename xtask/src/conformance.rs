//! `cargo xtask conformance`: the suite of the package `samtone-conformance` on chosen backends.

use std::process::ExitCode;

use anyhow::bail;

use crate::check::test_runner;
use crate::command::{cargo, done};

/// The suite on the backends that `names` lists; flex and ndarray if none.
pub(crate) fn run(names: &[String]) -> anyhow::Result<ExitCode> {
    if names.is_empty() {
        on_cpu()?;
    }
    for name in names {
        on(name)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The suite on both CPU backends.
pub(crate) fn on_cpu() -> anyhow::Result<()> {
    on("flex")?;
    on("ndarray")
}

fn on(backend: &str) -> anyhow::Result<()> {
    eprintln!("conformance of {backend}");
    let mut command = match backend {
        "flex" | "ndarray" => {
            let mut runner = test_runner()?;
            runner.args(["--test", "conformance"]);
            runner
        }
        // One process, so that kernels are compiled once.
        "wgpu" | "wgpu-unfused" | "cuda" | "cuda-unfused" => {
            let feature = backend.trim_end_matches("-unfused");
            let mut test = cargo(&["test", "--package", "samtone-conformance"]);
            test.args(["--features", feature, "--test", "conformance"]);
            test.args(["--", "--test-threads", "1"]);
            test
        }
        other => bail!(
            "`{other}` is no backend: they are flex, ndarray, wgpu, cuda, wgpu-unfused, cuda-unfused"
        ),
    };
    done(command.env("SAMTONE_BACKEND", backend))
}
