//! `samtone lint`.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use samtone_data::Dataset;
use samtone_data::lint::{FINDINGS, LintOptions, TestSet, lint};
use samtone_text::TextTokenizer;
use samtone_train::run::load_data;

use super::reading::TextChoice;
use crate::error::Usage;
use crate::output::Format;

/// Check a data set before training on it.
///
/// Counts copies, near copies, negatives that are positives, overlap with test sets, collisions in
/// random batches, and lengths. Nothing is changed.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  samtone lint data/faq
  samtone lint data/faq --test data/other --tokenizer runs/first/model --deny leakage")]
pub(crate) struct Args {
    /// The data: a folder in BEIR layout, a file of pairs (JSON lines), or `embedded`.
    #[arg(value_name = "DATA")]
    data: PathBuf,
    /// The split to train on.
    #[arg(long, default_value = "train")]
    split: String,
    /// A test set that must not be trained on: FOLDER or FOLDER:SPLIT (`test` unless named).
    #[arg(long = "test", value_name = "FOLDER[:SPLIT]")]
    tests: Vec<String>,
    /// Count collisions in random batches of these many rows.
    #[arg(long, value_name = "ROWS", value_delimiter = ',', default_value = "64,256,1024")]
    batch_sizes: Vec<usize>,
    /// Count the texts longer than these limits, in tokens or words.
    #[arg(long, value_name = "LENGTH", value_delimiter = ',', default_value = "32,64,128,256,512")]
    limits: Vec<usize>,
    /// Measure lengths in the tokens of this `tokenizer.json`, or of this model folder's; in words
    /// otherwise.
    #[arg(long, value_name = "FILE")]
    tokenizer: Option<PathBuf>,
    /// What of a document counts.
    #[arg(long, value_enum, default_value_t)]
    document_text: TextChoice,
    /// From which similarity of their runs of three words two texts nearly repeat each other.
    #[arg(long, default_value_t = 0.8)]
    near: f64,
    /// Exit with 1 if any of these is found (all, unless some are named).
    #[arg(long, value_name = "FINDING", value_delimiter = ',', num_args = 0.., default_missing_value = "all")]
    deny: Vec<String>,
}

pub(crate) fn run(args: &Args, format: Format) -> anyhow::Result<()> {
    if let Some(unknown) =
        args.deny.iter().find(|name| *name != "all" && !FINDINGS.contains(&name.as_str()))
    {
        let hint = format!("one of all, {}", FINDINGS.join(", "));
        return Err(Usage::new(format!("no finding is called `{unknown}`")).with_hint(hint).into());
    }
    if !(args.near > 0.0 && args.near <= 1.0) {
        return Err(
            Usage::new(format!("--near is above 0 and at most 1, got {}", args.near)).into()
        );
    }
    let dataset = load(&args.data, &args.split)?;
    let tokenizer = match &args.tokenizer {
        Some(path) if path.is_dir() => {
            Some(TextTokenizer::from_file(&path.join("tokenizer.json"))?)
        }
        Some(path) => Some(TextTokenizer::from_file(path)?),
        None => None,
    };
    let mut tests = Vec::new();
    for name in &args.tests {
        let (folder, split) = match name.rsplit_once(':') {
            Some((folder, split)) if !Path::new(name).exists() => (folder, split),
            _ => (name.as_str(), "test"),
        };
        tests.push((name, load(Path::new(folder), split)?, split));
    }
    let tests: Vec<TestSet<'_>> =
        tests.iter().map(|(name, dataset, split)| TestSet { name, dataset, split }).collect();
    let options = LintOptions {
        split: args.split.clone(),
        batch_sizes: args.batch_sizes.clone(),
        limits: args.limits.clone(),
        tokenizer: tokenizer.as_ref(),
        document_text: args.document_text.into(),
        near: args.near,
    };
    let report = lint(&dataset, &options, &tests)?;
    format.print(&report, ToString::to_string)?;
    let denied = |kind: &&str| args.deny.iter().any(|name| name == "all" || name == kind);
    let found: Vec<String> = report
        .findings()
        .into_iter()
        .filter(|(kind, _)| denied(kind))
        .map(|(kind, count)| format!("{count} {kind}"))
        .collect();
    if !found.is_empty() {
        bail!("denied findings: {}", found.join(", "));
    }
    Ok(())
}

fn load(path: &Path, split: &str) -> anyhow::Result<Dataset> {
    load_data(path, &[split]).with_context(|| format!("cannot check `{}`", path.display()))
}
