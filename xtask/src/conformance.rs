//! `cargo xtask conformance`: the suite of the package `samtone-conformance` on chosen backends.

use std::process::ExitCode;

use anyhow::bail;

use crate::check::test_runner;
use crate::command::{cargo, done};

/// The suite on the backends that `arguments` list, flex and ndarray if none; after `--`, the tests of
/// it by parts of their names, all if none.
pub(crate) fn run(arguments: &[String]) -> anyhow::Result<ExitCode> {
    let mut parts = arguments.splitn(2, |argument| argument == "--");
    let (names, tests) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let of_cpu = ["flex".to_owned(), "ndarray".to_owned()];
    for name in if names.is_empty() { &of_cpu } else { names } {
        on(name, tests)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The part of the suite for a device of few powers.
const LIMITS: &str = "webgpu_limits";

/// The suite, or those of its `tests`, on `backend`.
pub(crate) fn on(backend: &str, tests: &[String]) -> anyhow::Result<()> {
    eprintln!("conformance of {backend}");
    let mut command = match backend {
        "flex" | "ndarray" => {
            let mut runner = test_runner()?;
            runner.args(["--test", "conformance", "--"]);
            runner
        }
        // One process, so that kernels are compiled once.
        "wgpu" | "wgpu-unfused" | "cuda" | "cuda-unfused" => {
            let feature = backend.trim_end_matches("-unfused");
            let mut test =
                cargo(&["test", "--package", "samtone-conformance", "--package", "samtone-loss"]);
            test.args(["--features", &format!("samtone-conformance/{feature}")]);
            test.args(["--test", "conformance"]);
            if backend == "wgpu" {
                // What the loss's own tests say of its kernels.
                test.arg("--lib");
            }
            test.args(["--", "--test-threads", "1"]);
            if backend == "wgpu" && tests.is_empty() {
                // A process sets up its device once: that of few powers has one of its own.
                done(test.args(["--skip", LIMITS]).env("SAMTONE_BACKEND", backend))?;
                return on(backend, &[LIMITS.to_owned()]);
            }
            test
        }
        other => bail!(
            "`{other}` is no backend: they are flex, ndarray, wgpu, cuda, wgpu-unfused, cuda-unfused"
        ),
    };
    done(command.args(tests).env("SAMTONE_BACKEND", backend))
}
