//! Commands of samtone that serve a page.

use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::chromium::Page;

/// How long a page may take to show what is new: that of a run asks every one and a half seconds.
const PATIENCE: Duration = Duration::from_secs(20);

/// Waits until `condition`, a JavaScript expression, is true.
pub(super) fn wait(page: &mut Page<'_>, condition: &str, otherwise: &str) -> Result<()> {
    let started = Instant::now();
    while page.eval(condition)? != true {
        ensure!(started.elapsed() < PATIENCE, "{otherwise}");
        sleep(Duration::from_millis(200));
    }
    Ok(())
}

/// A command that says its address in its first line, ended with this.
pub(super) struct Server {
    process: Child,
    pub(super) url: String,
}

impl Server {
    pub(super) fn start(samtone: &Path, arguments: &[&OsStr]) -> Result<Self> {
        let mut process = Command::new(samtone)
            .args(arguments)
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start `{}`", samtone.display()))?;
        let mut line = String::new();
        let out = process.stdout.take().context("a pipe was asked for")?;
        BufReader::new(out).read_line(&mut line)?;
        let url = line.split_whitespace().find(|word| word.starts_with("http://"));
        let url = url.with_context(|| format!("no address in {line:?}"))?;
        Ok(Self { process, url: format!("{}/", url.trim_end_matches('/')) })
    }

    pub(super) fn end(&mut self) {
        // Nothing can be done about a failure here.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end();
    }
}
