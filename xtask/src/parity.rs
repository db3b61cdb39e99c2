//! `cargo xtask parity`: samtone beside the Python tools whose numbers it promises.
//!
//! The tools live in a virtual environment of their own under the target directory, made once from
//! a pinned list and made anew when that list changes.

use std::env::consts::EXE_SUFFIX;
use std::process::{Command, ExitCode};

use anyhow::bail;

use crate::command::{cargo, done, root, status, target_directory};
use crate::python::environment;

/// One comparison: a script that is given the `samtone` binary and fails where they differ.
struct Parity {
    name: &'static str,
    /// Packages with their versions.
    requirements: &'static str,
    script: &'static str,
    /// What the script is given before the binary.
    arguments: &'static [&'static str],
    /// What of `samtone` it needs beside the default.
    features: &'static str,
}

const ALL: [Parity; 8] = [
    Parity {
        name: "metrics",
        requirements: "benches/peers/parity_metrics.txt",
        script: "crates/samtone-eval/tests/fixtures/metrics.py",
        arguments: &["compare"],
        features: "",
    },
    Parity {
        name: "minilm",
        requirements: "benches/peers/parity_minilm.txt",
        script: "benches/peers/parity_minilm.py",
        arguments: &[],
        features: "",
    },
    Parity {
        name: "folders",
        requirements: "benches/peers/parity_folders.txt",
        script: "benches/peers/folders/compare.py",
        arguments: &[],
        features: "",
    },
    Parity {
        name: "models",
        requirements: "benches/peers/parity_models.txt",
        script: "benches/peers/parity_models.py",
        arguments: &[],
        features: "",
    },
    Parity {
        name: "adapters",
        requirements: "benches/peers/parity_adapters.txt",
        script: "benches/peers/parity_adapters.py",
        arguments: &[],
        features: "",
    },
    Parity {
        name: "parquet",
        requirements: "benches/peers/parity_parquet.txt",
        script: "benches/peers/parity_parquet.py",
        arguments: &[],
        features: "parquet",
    },
    Parity {
        name: "serve",
        requirements: "benches/peers/parity_serve.txt",
        script: "benches/peers/parity_serve.py",
        arguments: &[],
        features: "serve",
    },
    Parity {
        name: "clusters",
        requirements: "benches/peers/parity_clusters.txt",
        script: "benches/peers/parity_clusters.py",
        arguments: &[],
        features: "milvus",
    },
];

/// Runs the comparison that the first argument names; the others go to its script.
pub(crate) fn run(arguments: &[String]) -> anyhow::Result<ExitCode> {
    let parity = arguments.split_first().and_then(|(name, rest)| {
        ALL.iter().find(|parity| parity.name == name).map(|parity| (parity, rest))
    });
    let Some((parity, rest)) = parity else {
        bail!("expected what to compare: {}", ALL.map(|parity| parity.name).join(" or "));
    };
    let target = target_directory()?;
    let folder = target.join("parity").join(parity.name);
    let python = environment(&folder, &root().join(parity.requirements))?;
    let build = ["build", "--release", "--package", "samtone", "--features", parity.features];
    done(&mut cargo(&build))?;
    let samtone = target.join("release").join(format!("samtone{EXE_SUFFIX}"));
    let mut script = Command::new(python);
    script.arg(root().join(parity.script)).args(parity.arguments).arg(samtone).args(rest);
    status(&mut script)
}
