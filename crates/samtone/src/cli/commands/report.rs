//! `samtone report`.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use anyhow::Context;
use samtone_report::Report;
use samtone_train::run::{is_begun, runs_under};
use serde::Serialize;

use super::command_line;
use crate::error::Usage;
use crate::output::{Format, warn};
use crate::run_files::RunFiles;
use crate::run_report;
use crate::runs_report::{self, NamedRun};

/// Make the page of a run anew, or one page of several runs.
///
/// Of one run: its `report.html` and `figures/`, as `train` writes them. Of several, or of a folder of
/// runs: a table to sort, the settings that differ, the curves over each other, who differs from whom by
/// more than chance, and a leaderboard over data sets. The first run is what the others are compared with.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  samtone report runs/first
  samtone report runs/first runs/second --out both.html
  samtone report runs")]
pub(crate) struct Args {
    /// Run folders of `samtone train`, or folders with such in them.
    #[arg(required = true, value_name = "RUN")]
    runs: Vec<PathBuf>,
    /// The page of several runs; `report.html` in the folder if one folder is given, else here.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// What `--format json` prints.
#[derive(Serialize)]
struct Written<'a> {
    report: &'a Path,
    runs: usize,
}

pub(crate) fn run(args: &Args, format: Format) -> anyhow::Result<()> {
    if let ([run], None) = (&*args.runs, &args.out)
        && is_run(run)
    {
        run_report::write(run)?;
        return tell(&run.join("report.html"), 1, format);
    }
    let out = match (&args.out, &*args.runs) {
        (Some(out), _) => out.clone(),
        (None, [folder]) => folder.join("report.html"),
        (None, _) => PathBuf::from("report.html"),
    };
    samtone_files::prepare_file(&out)
        .with_context(|| format!("cannot write `{}`", out.display()))?;
    let runs = read(&args.runs, &out)?;
    page(&args.runs, &runs)?.write(&out)?;
    tell(&out, runs.len(), format)
}

fn tell(report: &Path, runs: usize, format: Format) -> anyhow::Result<()> {
    format.print(&Written { report, runs }, |written| written.report.display().to_string())
}

/// Whether `folder` itself holds a run. An ablation's has a configuration, too, but its runs lie below it.
fn is_run(folder: &Path) -> bool {
    is_begun(folder) && folder.join("identity.json").is_file()
}

/// The runs in `folders`, of which one page is written to `out`.
fn read(folders: &[PathBuf], out: &Path) -> anyhow::Result<Vec<NamedRun>> {
    let found: Vec<Vec<PathBuf>> =
        folders.iter().map(|folder| gather(folder)).collect::<anyhow::Result<_>>()?;
    let (mut runs, mut seen) = (Vec::new(), HashSet::new());
    for folder in found.into_iter().flatten() {
        if !seen.insert(whole(&folder)) {
            continue; // However often it is named.
        }
        match RunFiles::read(&folder) {
            Ok(files) => runs.push(files),
            Err(error) => warn(format_args!("`{}` is left out: {error:#}", folder.display())),
        }
    }
    if runs.is_empty() {
        let hint = "name run folders of `samtone train`, or a folder that they lie in";
        return Err(Usage::new("there is no run to report").with_hint(hint).into());
    }
    Ok(named(runs, out))
}

/// The run in `folder`, or those below it.
fn gather(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    if is_run(folder) {
        return Ok(vec![folder.into()]);
    }
    // An ablation has a configuration of its own above its runs.
    let parts = if is_begun(folder) { folders_in(folder)? } else { runs_under(folder)? };
    let gathered: Vec<Vec<PathBuf>> =
        parts.iter().map(|part| gather(part)).collect::<anyhow::Result<_>>()?;
    Ok(gathered.concat())
}

fn folders_in(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let wrong = || format!("cannot read `{}`", folder.display());
    let entries = folder.read_dir().with_context(wrong)?.flatten().map(|entry| entry.path());
    let mut folders: Vec<PathBuf> = entries.filter(|path| path.is_dir()).collect();
    folders.sort();
    Ok(folders)
}

/// Each run by what its folder has that not all have, with its page as seen from `out`.
pub(crate) fn named(runs: Vec<RunFiles>, out: &Path) -> Vec<NamedRun> {
    let parent = whole(out.parent().unwrap_or(Path::new("")));
    let common = common(&runs);
    let named = |files: RunFiles| {
        let rest: PathBuf = files.folder.components().skip(common).collect();
        let folder = whole(&files.folder);
        let page = folder.strip_prefix(&parent).map(|below| below.join("report.html"));
        let page = page.ok().filter(|page| parent.join(page).is_file());
        NamedRun {
            name: if rest.as_os_str().is_empty() {
                files.name()
            } else {
                rest.display().to_string()
            },
            page: page.map_or_else(String::new, |page| page.display().to_string()),
            files,
        }
    };
    runs.into_iter().map(named).collect()
}

/// The path from the root on, however it was written.
fn whole(path: &Path) -> PathBuf {
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}

/// How many of the first parts of their paths all runs share; never the last part.
fn common(runs: &[RunFiles]) -> usize {
    let parts =
        |run: &RunFiles| run.folder.components().map(|c| c.as_os_str().to_owned()).collect();
    let all: Vec<Vec<_>> = runs.iter().map(parts).collect();
    let least = all.iter().map(|parts| parts.len().saturating_sub(1)).min().unwrap_or(0);
    (0..least).find(|&at| all.iter().any(|parts| parts[at] != all[0][at])).unwrap_or(least)
}

/// The page of several runs.
fn page(folders: &[PathBuf], runs: &[NamedRun]) -> anyhow::Result<Report> {
    let title = match folders {
        [folder] => format!("Runs in {}", folder.display()),
        _ => format!("{} runs", runs.len()),
    };
    Ok(runs_report::page(&title, runs)?.command(command_line()))
}
