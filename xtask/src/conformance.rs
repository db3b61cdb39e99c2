//! `cargo xtask conformance`: the suite of the package `samtone-conformance` on chosen backends.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, bail};

use crate::check::{test_features, test_runner};
use crate::command::{cargo, done, root, target_directory};
use crate::python::environment;

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
        "nvrtc" => return nvrtc(),
        "flex" | "ndarray" => {
            let mut runner = test_runner()?;
            runner.args(["--test", "conformance", "--"]);
            runner
        }
        // One process, so that kernels are compiled once. The whole workspace's features, so that where
        // the tests were built with this backend (`SAMTONE_FEATURES`) nothing is built again.
        "wgpu" | "wgpu-unfused" | "cuda" | "cuda-unfused" => {
            let features = format!("{},samtone-conformance/{backend}", test_features());
            let mut test = cargo(&["test", "--workspace", "--features", &features]);
            test.args(["--test", "conformance", "--", "--test-threads", "1"]);
            if backend == "wgpu" && tests.is_empty() {
                // A process sets up its device once: that of few powers has one of its own.
                done(test.args(["--skip", LIMITS]).env("SAMTONE_BACKEND", backend))?;
                return on(backend, &[LIMITS.to_owned()]);
            }
            test
        }
        other => bail!(
            "`{other}` is no backend: they are flex, ndarray, wgpu, cuda, wgpu-unfused, cuda-unfused, \
             and nvrtc, which only compiles for cuda"
        ),
    };
    done(command.args(tests).env("SAMTONE_BACKEND", backend))
}

/// The compute capabilities that kernels are compiled for: Ampere and Hopper.
const ARCHITECTURES: [&str; 2] = ["80", "90"];

/// Has the kernels compiled by CUDA's own compiler, which wants no GPU, below a driver that is none.
fn nvrtc() -> anyhow::Result<()> {
    if !cfg!(target_os = "linux") {
        bail!("the driver without a GPU is found as on Linux alone");
    }
    let target = target_directory()?;
    let folder = target.join("nvrtc");
    let python = environment(&folder.join("python"), &root().join("conformance/nvrtc.txt"))?;
    let packages = "import sysconfig; print(sysconfig.get_path('purelib'))";
    let packages = Command::new(python).args(["-c", packages]).output()?.stdout;
    let toolkit = Path::new(std::str::from_utf8(&packages)?.trim()).join("nvidia/cu13");
    let driver = build(&["build", "--example", "cuda"])?;
    let tests = build(&["test", "--no-run", "--test", "nvrtc"])?;
    // Where cudarc looks for `libcuda.so` and `libnvrtc.so.13`.
    let driver = driver.parent().context("the driver lies in a folder")?;
    let mut libraries = vec![driver.to_owned(), toolkit.join("lib")];
    if let Some(others) = std::env::var_os("LD_LIBRARY_PATH") {
        libraries.extend(std::env::split_paths(&others));
    }
    let libraries = std::env::join_paths(libraries)?;
    for architecture in ARCHITECTURES {
        eprintln!("kernels for sm_{architecture}");
        let kernels = empty(folder.join(format!("sm_{architecture}")))?;
        let mut tests = Command::new(&tests);
        tests
            .env("CUDA_PATH", &toolkit)
            .env("LD_LIBRARY_PATH", &libraries)
            .env("SAMTONE_CUDA_ARCH", architecture)
            .env("SAMTONE_PTX", kernels);
        done(&mut tests)?;
    }
    Ok(())
}

/// What cargo makes of the package by `arguments`. The toolkit's folder is kept from it: cudarc would
/// be built anew by its name.
fn build(arguments: &[&str]) -> anyhow::Result<PathBuf> {
    let mut command = cargo(arguments);
    command.args(["--package", "samtone-conformance", "--features", "nvrtc"]);
    command.args(["--message-format", "json-render-diagnostics"]).current_dir(root());
    command.env("CUDARC_CUDA_VERSION", "13000").env_remove("CUDA_PATH").stderr(Stdio::inherit());
    let output = command.output().context("cannot start cargo")?;
    if !output.status.success() {
        bail!("{command:?} ended with {}", output.status);
    }
    let messages = String::from_utf8(output.stdout)?;
    let mut made = messages.lines().filter_map(|line| {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        let file = message["executable"].as_str().or_else(|| message["filenames"][0].as_str())?;
        Some(file.into())
    });
    made.next_back().context("cargo made nothing")
}

/// The folder, with nothing in it.
fn empty(folder: PathBuf) -> anyhow::Result<PathBuf> {
    if folder.exists() {
        fs::remove_dir_all(&folder)
            .with_context(|| format!("cannot empty `{}`", folder.display()))?;
    }
    fs::create_dir_all(&folder).with_context(|| format!("cannot make `{}`", folder.display()))?;
    Ok(folder)
}
