//! Writes down the versions of the crates that compute and tokenise, as the lock file of this build
//! has them: `environment.json` of a run says what computed it.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::{env, fs};

/// The crates whose versions decide what is computed.
const CRATES: [&str; 6] = ["burn", "burn-flex", "burn-ndarray", "cubecl", "gemm", "tokenizers"];

fn main() {
    let folder = |name| PathBuf::from(env::var_os(name).expect("cargo sets it"));
    let (package, out) = (folder("CARGO_MANIFEST_DIR"), folder("OUT_DIR"));
    // The workspace's, or, where this package comes from a registry, that of who builds it.
    let above = package.ancestors().skip(1).chain(out.ancestors());
    let lock = above.map(|folder| folder.join("Cargo.lock")).find(|lock| lock.is_file());
    let versions = lock.as_deref().map(versions).unwrap_or_default();
    let mut code = String::from("Vec::<(&str, &str)>::from([\n");
    for (name, version) in versions {
        writeln!(code, "    ({name:?}, {version:?}),").expect("a string takes it");
    }
    code.push_str("])\n");
    fs::write(out.join("versions.rs"), code).expect("cargo gives a folder to write to");
    println!("cargo::rerun-if-changed=build.rs");
    if let Some(lock) = lock {
        println!("cargo::rerun-if-changed={}", lock.display());
    }
}

/// The versions in the lock file at `path`: a `version` line follows each `name` line.
fn versions(path: &Path) -> Vec<(String, String)> {
    let text = fs::read_to_string(path).unwrap_or_default();
    let value = |line: &str, key: &str| {
        let value = line.strip_prefix(key)?.strip_prefix(" = \"")?.strip_suffix('"')?;
        Some(value.to_owned())
    };
    let lines: Vec<&str> = text.lines().collect();
    lines
        .windows(2)
        .filter_map(|pair| Some((value(pair[0], "name")?, value(pair[1], "version")?)))
        .filter(|(name, _)| CRATES.contains(&name.as_str()))
        .collect()
}
