//! What `samtone watch` serves, while a run folder grows.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;

use anyhow::{Context, Result, ensure};

use super::DESKTOP;
use super::chromium::Chromium;
use super::server::{Server, wait};

/// Watches a copy of the finished `run` that gets its last lines while the page is open.
pub(super) fn check(browser: &mut Chromium, samtone: &Path, run: &Path) -> Result<()> {
    let folder = run.with_file_name("watched");
    fs::create_dir_all(&folder)?;
    for name in ["config.toml", "identity.json", "origin.json", "data.json"] {
        fs::copy(run.join(name), folder.join(name)).with_context(|| format!("no `{name}`"))?;
    }
    let lines = fs::read_to_string(run.join("metrics.jsonl"))?;
    let half = lines[..lines.len() / 2].rfind('\n').context("lines")? + 1;
    fs::write(folder.join("metrics.jsonl"), &lines[..half])?;

    let mut server = Server::start(samtone, &["watch".as_ref(), folder.as_os_str()])?;
    let mut page = browser.open(&server.url, DESKTOP)?;
    page.eval("void (window.isTheSame = true)")?;
    let curve = "document.querySelector('figure[data-plot] svg.live .line').getAttribute('d')";
    let before = page.eval(curve)?;
    page.eval("document.querySelector('details.numbers').open = true")?;
    File::options()
        .append(true)
        .open(folder.join("metrics.jsonl"))?
        .write_all(&lines.as_bytes()[half..])?;
    wait(&mut page, &format!("{curve} !== {before}"), "the curve does not grow")?;
    let kept = page.eval("[window.isTheSame, document.querySelector('details.numbers').open]")?;
    ensure!(kept == serde_json::json!([true, true]), "the page was loaded anew: {kept}");

    for name in ["environment.json", "queries.json", "evaluations", "baseline", "summary.json"] {
        copy(&run.join(name), &folder.join(name))?;
    }
    wait(&mut page, "!!document.querySelector('figure.metrics')", "the results do not come")?;
    page.requested_only_from(&server.url)?;
    server.end();
    wait(
        &mut page,
        "document.querySelector('.live-note').textContent.startsWith('No longer')",
        "the page does not say that its server has ended",
    )?;
    page.close()
}

/// Copies a file or a folder; what is not there is left out.
fn copy(from: &Path, to: &Path) -> Result<()> {
    if from.is_dir() {
        fs::create_dir_all(to)?;
        for entry in fs::read_dir(from)? {
            let entry = entry?;
            copy(&entry.path(), &to.join(entry.file_name()))?;
        }
    } else if from.is_file() {
        fs::copy(from, to)?;
    }
    Ok(())
}
