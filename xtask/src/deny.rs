//! `cargo xtask check deny`: the licences, versions and sources of what is compiled in, by
//! `deny.toml`.

use anyhow::Context;

use crate::command::{cargo, done, root};

/// What needs no network, then the known vulnerabilities if they can be had.
pub(crate) fn check() -> anyhow::Result<()> {
    if !succeeds(&["deny", "--version"])? {
        eprintln!("skipped, there is no cargo-deny: `cargo install --locked cargo-deny`");
        return Ok(());
    }
    let told = ["--log-level", "error"];
    done(cargo(&["deny"]).args(told).args(["check", "licenses", "bans", "sources"]))?;
    if !succeeds(&["deny", "--log-level", "off", "fetch", "db"])? {
        eprintln!("advisories are not checked: their database cannot be fetched");
        return Ok(());
    }
    done(cargo(&["deny", "--offline"]).args(told).args(["check", "advisories"]))
}

fn succeeds(arguments: &[&str]) -> anyhow::Result<bool> {
    let output = cargo(arguments).current_dir(root()).output().context("cannot start cargo")?;
    Ok(output.status.success())
}
