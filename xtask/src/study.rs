//! `cargo xtask study`: a grid of trainings, run by run, and the page that their records make.
//!
//! A study's file, `benches/studies/NAME.toml`, says what is varied and what is compared. Every run is
//! one `samtone train`; what is kept of it is a record, `benches/record/studies/NAME/RUN.json`, and a
//! run that has one is not made again. The page, `docs/studies/NAME.md`, is written from the file and
//! the records alone, so that it can be checked against them.

mod compare;
mod page;
mod plan;
mod record;

use std::collections::{BTreeMap, BTreeSet};
use std::env::consts::EXE_SUFFIX;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Output, Stdio};

use anyhow::{Context, bail, ensure};

use self::plan::{Run, Study};
use self::record::{Record, Surroundings, write};
use crate::command::{cargo, done, root, target_directory};
use crate::others::Ticks;
use crate::processor::Processor;

/// What was asked for.
#[derive(Debug, PartialEq)]
struct Options {
    name: String,
    is_check: bool,
    keeps: bool,
    /// The program and the commit that it was built from; built here without them.
    program: Option<(PathBuf, String)>,
    folder: PathBuf,
    runs: usize,
}

impl Options {
    fn read(arguments: &[String], known: &[String]) -> anyhow::Result<Self> {
        let studies = known.join(", ");
        let (name, options) = arguments
            .split_first()
            .filter(|(name, _)| !name.starts_with('-'))
            .with_context(|| format!("which study? There are: {studies}"))?;
        ensure!(known.contains(name), "no study is called `{name}`. There are: {studies}");
        let (mut program, mut commit) = (None, None);
        let (mut is_check, mut keeps) = (false, false);
        let (mut folder, mut runs) = (root().to_owned(), usize::MAX);
        let mut rest = options.iter();
        while let Some(option) = rest.next() {
            let mut value = || rest.next().with_context(|| format!("`{option}` wants a value"));
            // The program is started elsewhere.
            let path = |value: &String| std::path::absolute(value).context("no such path");
            match option.as_str() {
                "--check" => is_check = true,
                "--keep" => keeps = true,
                "--program" => program = Some(path(value()?)?),
                "--commit" => commit = Some(value()?.clone()),
                "--folder" => folder = path(value()?)?,
                "--runs" => {
                    let value = value()?;
                    runs = value
                        .parse()
                        .ok()
                        .with_context(|| format!("`--runs` wants a number, not `{value}`"))?;
                }
                _ => bail!("no option `{option}`: `cargo xtask help` lists them"),
            }
        }
        let program = match (program, commit) {
            (Some(program), Some(commit)) => Some((program, commit)),
            (None, None) => None,
            _ => bail!(
                "`--program` and `--commit` go together: a record names what it was made with"
            ),
        };
        Ok(Self { name: name.clone(), is_check, keeps, program, folder, runs })
    }
}

/// Where the parts of a study lie below the workspace's root.
const FILES: &str = "benches/studies";
const RECORDS: &str = "benches/record/studies";
const PAGES: &str = "docs/studies";

/// `cargo xtask study ARGUMENTS`.
pub(crate) fn run(arguments: &[String]) -> anyhow::Result<ExitCode> {
    let options = Options::read(arguments, &names(root())?)?;
    let study = read(root(), &options.name)?;
    if options.is_check {
        agree(root(), &study)?;
    } else {
        carry_out(root(), &study, &options)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Trains what has no record yet, and writes the page.
fn carry_out(root: &Path, study: &Study, options: &Options) -> anyhow::Result<()> {
    let found = records(root, study)?;
    let todo: Vec<&Run> =
        study.runs.iter().filter(|run| !found.contains_key(run.name.as_str())).collect();
    let todo = &todo[..todo.len().min(options.runs)];
    eprintln!("{}: {} runs, {} recorded", study.name, study.runs.len(), found.len());
    let mut failed = Vec::new();
    if !todo.is_empty() {
        has_data(todo, &options.folder)?;
        let (program, commit) = match &options.program {
            Some((program, commit)) => (program.clone(), commit.clone()),
            None => built()?,
        };
        let trainer = Trainer {
            study,
            program,
            commit,
            processor: Processor::here().words,
            folder: &options.folder,
            records: root.join(RECORDS).join(&study.name),
            keeps: options.keeps,
        };
        for (place, run) in todo.iter().enumerate() {
            eprintln!("── {} ({} of {})", run.name, place + 1, todo.len());
            match trainer.train(run) {
                Ok(told) => eprintln!("{told}"),
                Err(error) => {
                    eprintln!("error: {error:#}");
                    failed.push(run.name.as_str());
                }
            }
        }
    }
    if publish(root, study)? {
        eprintln!("{PAGES}/{}.md", study.name);
    }
    ensure!(failed.is_empty(), "without a record, to be run again: {}", failed.join("; "));
    Ok(())
}

/// Checks that every study can be read, and that its page is what its records make.
pub(crate) fn check() -> anyhow::Result<()> {
    for name in names(root())? {
        agree(root(), &read(root(), &name)?)?;
    }
    Ok(())
}

/// The studies that there are.
fn names(root: &Path) -> anyhow::Result<Vec<String>> {
    let mut names = listed(&root.join(FILES), "toml")?;
    names.sort_unstable();
    Ok(names)
}

fn read(root: &Path, name: &str) -> anyhow::Result<Study> {
    let path = format!("{FILES}/{name}.toml");
    let text =
        fs::read_to_string(root.join(&path)).with_context(|| format!("cannot read `{path}`"))?;
    Study::parse(name.into(), &text).with_context(|| format!("in `{path}`"))
}

/// The names of the files in `folder` that end with `extension`, without it; none without the folder.
fn listed(folder: &Path, extension: &str) -> anyhow::Result<Vec<String>> {
    if !folder.exists() {
        return Ok(Vec::new());
    }
    let cannot = || format!("cannot read `{}`", folder.display());
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).with_context(cannot)? {
        let path = entry.with_context(cannot)?.path();
        if path.extension() == Some(OsStr::new(extension)) {
            names.extend(path.file_stem().map(|stem| stem.to_string_lossy().into_owned()));
        }
    }
    Ok(names)
}

/// What is recorded of the study's runs, each as it is now.
fn records<'a>(root: &Path, study: &'a Study) -> anyhow::Result<BTreeMap<&'a str, Record>> {
    let folder = root.join(RECORDS).join(&study.name);
    let mut strangers: BTreeSet<String> = listed(&folder, "json")?.into_iter().collect();
    let mut found = BTreeMap::new();
    for run in &study.runs {
        strangers.remove(&run.name);
        let path = record_path(&folder, run);
        if let Some(record) = Record::read(&path)? {
            ensure!(
                record.is_of(run),
                "`{}` is of another run than the study has under this name now:\n  {}\n  {}\n\
                 hint: delete the record, or give the run's settings another name",
                path.display(),
                record.command,
                run.command()
            );
            found.insert(run.name.as_str(), record);
        }
    }
    if let Some(stranger) = strangers.first() {
        bail!(
            "`{}` is of no run of the study\nhint: delete it, or take the run back into a grid",
            folder.join(format!("{stranger}.json")).display()
        );
    }
    Ok(found)
}

fn record_path(folder: &Path, run: &Run) -> PathBuf {
    folder.join(format!("{}.json", run.name))
}

/// The page and its figures, by their paths below `docs/studies`; none without a record.
fn pages(root: &Path, study: &Study) -> anyhow::Result<BTreeMap<String, String>> {
    let records = records(root, study)?;
    if records.is_empty() { Ok(BTreeMap::new()) } else { page::files(study, &records) }
}

/// The figures that lie there.
fn drawn(root: &Path, study: &Study) -> anyhow::Result<Vec<String>> {
    let names = listed(&root.join(PAGES).join(&study.name), "svg")?.into_iter();
    Ok(names.map(|name| format!("{}/{name}.svg", study.name)).collect())
}

/// Writes the page, if there is a record; figures that it has no longer are removed.
fn publish(root: &Path, study: &Study) -> anyhow::Result<bool> {
    let (pages, folder) = (pages(root, study)?, root.join(PAGES));
    for (name, text) in &pages {
        write(&folder.join(name), text)?;
    }
    for name in drawn(root, study)?.iter().filter(|name| !pages.contains_key(*name)) {
        fs::remove_file(folder.join(name)).with_context(|| format!("cannot remove `{name}`"))?;
    }
    Ok(!pages.is_empty())
}

/// Checks that the page is what [`publish`] would write.
fn agree(root: &Path, study: &Study) -> anyhow::Result<()> {
    let pages = pages(root, study)?;
    let hint = format!("`cargo xtask study {} --runs 0` writes the page", study.name);
    for (name, text) in &pages {
        let found = fs::read_to_string(root.join(PAGES).join(name)).unwrap_or_default();
        ensure!(found == *text, "`{PAGES}/{name}` is not what the records make: {hint}");
    }
    let page = format!("{}.md", study.name);
    let is_left = pages.is_empty() && root.join(PAGES).join(&page).exists();
    let left = is_left.then_some(page).into_iter().chain(drawn(root, study)?);
    if let Some(name) = left.into_iter().find(|name| !pages.contains_key(name)) {
        bail!("`{PAGES}/{name}` is made by no record: {hint}, or delete it");
    }
    Ok(())
}

/// Checks that the data of all `runs` lie below `folder`, before the first is begun.
fn has_data(runs: &[&Run], folder: &Path) -> anyhow::Result<()> {
    let keys = runs.iter().flat_map(|run| &run.keys);
    let named =
        keys.filter(|(key, _)| ["data.train", "data.dev", "data.test"].contains(&key.as_str()));
    for (key, value) in named {
        let Some(path) = value.as_str().filter(|path| *path != "embedded") else { continue };
        ensure!(
            folder.join(path).exists(),
            "`{key}` is `{path}`, and `{}` has none\n\
             hint: docs/experiments.md makes the data; `--folder` says where they lie",
            folder.display()
        );
    }
    Ok(())
}

/// The program, built here, and its commit.
fn built() -> anyhow::Result<(PathBuf, String)> {
    done(&mut cargo(&["build", "--release", "--package", "samtone"]))?;
    let program = target_directory()?.join("release").join(format!("samtone{EXE_SUFFIX}"));
    let git = |arguments: &[&str]| -> anyhow::Result<String> {
        let output = Command::new("git").args(arguments).current_dir(root()).output();
        let output = output.context("cannot start git, which knows the commit")?;
        ensure!(output.status.success(), "git knows no commit: {}", told(&output.stderr));
        Ok(told(&output.stdout))
    };
    let sources = ["status", "--porcelain", "--", "crates", "Cargo.toml", "Cargo.lock"];
    let is_dirty = !git(&sources)?.is_empty();
    let commit = git(&["rev-parse", "HEAD"])? + if is_dirty { "-dirty" } else { "" };
    Ok((program, commit))
}

fn told(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim().to_owned()
}

/// What trains the runs of a study, one after the other.
struct Trainer<'a> {
    study: &'a Study,
    program: PathBuf,
    commit: String,
    processor: String,
    /// Where the data lie; run folders are below it too.
    folder: &'a Path,
    records: PathBuf,
    /// Whether run folders stay.
    keeps: bool,
}

impl Trainer<'_> {
    /// Trains `run`, or goes on with it, and writes its record; what to say of it.
    fn train(&self, run: &Run) -> anyhow::Result<String> {
        let runs = format!("runs/studies/{}", self.study.name);
        let own = format!("{runs}/{}", run.name);
        let mut command = Command::new(&self.program);
        command.args(run.arguments()).args(["--run-dir", &own, "--resume"]);
        command.args(["--set", &format!("data.token_cache={runs}/tokens")]);
        let start = Ticks::now();
        let output = command
            .current_dir(self.folder)
            .stdin(Stdio::null())
            .output()
            .with_context(|| format!("cannot start `{}`", self.program.display()))?;
        let others = Ticks::now().zip(start).map(|(now, start)| now.others_since(&start));
        let folder = self.folder.join(&own);
        let failed = failure(&output);
        if let Some(failed) = &failed {
            // A loss that is not finite is a finding; all else is to be mended.
            let is_finding = folder.join("non-finite-batch.json").exists();
            ensure!(is_finding, "{failed}\nit was `{}`", run.command());
        }
        let surroundings =
            Surroundings { commit: self.commit.clone(), processor: self.processor.clone(), others };
        let record = Record::new(self.study, run, &folder, surroundings, failed)?;
        record.write(&record_path(&self.records, run))?;
        if !self.keeps {
            fs::remove_dir_all(&folder)
                .with_context(|| format!("cannot remove `{}`", folder.display()))?;
        }
        Ok(record.to_string())
    }
}

/// What a program that did not succeed said last: its error with causes and hint.
fn failure(output: &Output) -> Option<String> {
    if output.status.success() {
        return None;
    }
    let text = told(&output.stderr);
    let error = text.rfind("error: ").map(|at| &text[at + "error: ".len()..]);
    Some(error.map_or_else(|| format!("it ended with {}", output.status), str::to_owned))
}

#[cfg(test)]
mod tests {
    use super::*;

    const STUDY: &str = r#"
        title = "Gains"
        about = "Is it better?"
        metric = "mrr@10"
        [base]
        data.train = "data/small"
        [[grid]]
        loss.preset = ["in-batch", "samtone"]
        loss.temperature = [0.05, 0.1]
        seed = [0, 1]
        [[comparison]]
        of = "loss.preset"
        against = "in-batch"
    "#;

    /// A workspace with some data and nothing else.
    struct Workspace(tempfile::TempDir);

    impl Workspace {
        fn new() -> Self {
            let workspace = Self(tempfile::tempdir().unwrap());
            fs::create_dir_all(workspace.root().join("data/small")).unwrap();
            workspace
        }

        fn write(&self, path: &str, text: &str) {
            super::write(&self.root().join(path), text).unwrap();
        }

        fn root(&self) -> &Path {
            self.0.path()
        }

        fn read(&self, path: &str) -> String {
            fs::read_to_string(self.root().join(path)).unwrap_or_default()
        }

        fn carry_out(&self, study: &str, runs: usize) -> anyhow::Result<()> {
            let program = root().join("xtask/src/study/samtone.sh");
            let options = Options {
                name: "s".into(),
                is_check: false,
                keeps: false,
                program: Some((program, "0123456789abcdef".into())),
                folder: self.root().into(),
                runs,
            };
            carry_out(self.root(), &Study::parse("s".into(), study)?, &options)
        }

        fn agree(&self, study: &str) -> anyhow::Result<()> {
            agree(self.root(), &Study::parse("s".into(), study)?)
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_study_goes_on_where_it_stood_and_its_page_is_made_of_the_records() {
        let workspace = Workspace::new();
        workspace.carry_out(STUDY, 3).unwrap();
        assert!(workspace.read("docs/studies/s.md").contains("\n3 of 8 runs, 0.0 hours"));
        let first = "benches/record/studies/s/preset=in-batch,temperature=0.05,seed=0.json";
        let record = workspace.read(first);
        assert!(record.contains("samtone train --set data.train=data/small --set loss.preset=in-batch --set loss.temperature=0.05 --set seed=0"), "{record}");
        // What is recorded is not trained again.
        workspace.write(first, &record.replace("1.5", "99.5"));
        workspace.carry_out(STUDY, usize::MAX).unwrap();
        workspace.agree(STUDY).unwrap();
        let page = workspace.read("docs/studies/s.md");
        for expected in [
            "8 of 8 runs",
            // All 6 signs alike: 2 of 64 patterns; of 3 rows together the smallest p is tripled.
            "| samtone | everywhere | 2 | +0.3000 | +0.3000 to +0.3000 | 0.0312 | 0.0938 | 0.0000 | 0 | 0 |",
            "| samtone | temperature 0.1 | 1 | +0.3000 |",
            // Of 2 rows doubled. Gains of 0.25 and 0.35: t = 6 with 1 degree of freedom,
            // p = 0.1051; 12.706 errors of 0.05 to either side.
            "| 0.05 | samtone | 0, 1 | 0.5500 | 0.2500 | +0.3000 | +0.3000 to +0.3000 | 0.0312 | 0.0625 | 0.0000 | -0.3353 to +0.9353 | 0.1051 | 0.2103 |",
            "![mrr@10: difference to in-batch](s/preset-in-batch.svg)",
            "| in-batch | 0.05 | 0 | 0.2500 | | 0.1250 | 0.0276 |",
            "| samtone | 0.1 | 1 | 0.6000 | | 0.1250 | 0.0004 |",
            "| 0123456789 | 1 | [record](../../benches/record/studies/s/preset=samtone,temperature=0.1,seed=1.json) |",
        ] {
            assert!(page.contains(expected), "no `{expected}` in:\n{page}");
        }
        assert!(
            !workspace.root().join("runs/studies/s/preset=samtone,temperature=0.1,seed=1").exists()
        );
        assert!(workspace.read("docs/studies/s/preset-in-batch.svg").starts_with("<svg"));
    }

    #[cfg(unix)]
    #[test]
    fn a_page_is_held_to_its_records() {
        let workspace = Workspace::new();
        workspace.agree(STUDY).unwrap();
        workspace.carry_out(STUDY, 2).unwrap();
        workspace.agree(STUDY).unwrap();
        let error = || workspace.agree(STUDY).unwrap_err().to_string();

        let record = "benches/record/studies/s/preset=in-batch,temperature=0.05,seed=0.json";
        let kept = workspace.read(record);
        workspace.write(record, &kept.replace("0.125", "0.126"));
        assert_eq!(
            error(),
            "`docs/studies/s.md` is not what the records make: `cargo xtask study s --runs 0` writes the page"
        );
        workspace.write(record, &kept.replace("data/small", "data/other"));
        assert!(error().contains("is of another run than the study has under this name now"));
        workspace.write(record, &kept);
        workspace.write("benches/record/studies/s/seed=7.json", &kept);
        assert!(error().contains("seed=7.json` is of no run of the study"));
        fs::remove_file(workspace.root().join("benches/record/studies/s/seed=7.json")).unwrap();
        workspace.write("docs/studies/s/old.svg", "<svg>");
        assert!(error().contains("`docs/studies/s/old.svg` is made by no record"));
        workspace.carry_out(STUDY, 0).unwrap();
        workspace.agree(STUDY).unwrap();
    }

    #[cfg(unix)]
    #[test]
    fn a_loss_that_is_not_finite_is_a_finding_and_another_failure_is_not() {
        let workspace = Workspace::new();
        let study = STUDY.replace("\"samtone\"]", "\"broken\", \"lost\"]");
        let error = workspace.carry_out(&study, usize::MAX).unwrap_err().to_string();
        assert!(error.starts_with("without a record, to be run again: "), "{error}");
        assert!(error.contains("preset=lost") && !error.contains("preset=broken"), "{error}");
        let page = workspace.read("docs/studies/s.md");
        assert!(page.contains("8 of 12 runs, 0.0 hours in all; 4 had no finite loss."), "{page}");
        assert!(page.contains("| 0.05 | broken | 2 not finite | |"), "{page}");
        assert!(page.contains("| broken | 0.05 | 0 | not finite |"), "{page}");
        let record = "benches/record/studies/s/preset=broken,temperature=0.05,seed=0.json";
        let record = workspace.read(record);
        assert!(record.contains("\"failed\": \"step 3: no finite loss\""), "{record}");
        workspace.agree(&study).unwrap();
    }

    #[test]
    fn what_is_missing_is_named_before_the_first_run() {
        let workspace = Workspace::new();
        let study = STUDY.replace("data/small", "data/large");
        let error = workspace.carry_out(&study, usize::MAX).unwrap_err().to_string();
        assert!(error.starts_with("`data.train` is `data/large`, and"), "{error}");
        assert!(error.ends_with("`--folder` says where they lie"), "{error}");
        assert!(!workspace.root().join("runs").exists());
    }

    #[test]
    fn options_are_read_and_mistakes_named() {
        let read = |line: &str| {
            let words: Vec<String> = line.split_whitespace().map(String::from).collect();
            Options::read(&words, &["one".into(), "two".into()])
        };
        let options = read("one --runs 3 --keep --program p --commit ab --folder f").unwrap();
        let (program, commit) = options.program.unwrap();
        assert!(program.is_absolute() && options.folder.is_absolute());
        assert_eq!((commit.as_str(), options.runs, options.keeps), ("ab", 3, true));
        assert!(read("one --check").unwrap().is_check);
        for (line, message) in [
            ("", "which study? There are: one, two"),
            ("--check", "which study? There are: one, two"),
            ("three", "no study is called `three`. There are: one, two"),
            ("one --runs", "`--runs` wants a value"),
            ("one --runs few", "`--runs` wants a number, not `few`"),
            ("one --program p", "`--program` and `--commit` go together"),
            ("one --quick", "no option `--quick`"),
        ] {
            let error = read(line).unwrap_err().to_string();
            assert!(error.contains(message), "{line}: {error}");
        }
    }
}
