//! `samtone split`.

use std::path::PathBuf;

use anyhow::Context;
use samtone_data::split::{Share, SplitOptions, SplitReport, SplitSize, split};
use serde::Serialize;

use crate::error::Usage;
use crate::output::Format;

/// Take a dev and a test split out of a data set's training split, without leaks.
///
/// Queries that have a relevant document in common, or texts that are equal, stay in one split: no text
/// is trained on and tested. The folder appears when all is done, and only then; the data are copied.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  samtone split faq --dev 10% --test 200 --out faq-split")]
pub(crate) struct Args {
    /// The data: a folder in BEIR layout.
    #[arg(value_name = "DATA")]
    data: PathBuf,
    /// The folder to write.
    #[arg(long, value_name = "FOLDER")]
    out: PathBuf,
    #[command(flatten)]
    shares: ShareArgs,
    /// The split that they are taken out of.
    #[arg(long, value_name = "SPLIT", default_value = "train")]
    from: String,
    /// What they are drawn by.
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

/// What becomes another split.
#[derive(Debug, clap::Args)]
pub(crate) struct ShareArgs {
    /// Take a split `dev` out of the training split: a percentage of its queries (10%) or a number of
    /// them (200). Queries that share a relevant document or a text stay together.
    #[arg(long, value_name = "SHARE")]
    dev: Option<Share>,
    /// As --dev, a split `test`.
    #[arg(long, value_name = "SHARE")]
    test: Option<Share>,
}

impl ShareArgs {
    /// Whether none is asked for.
    pub(crate) fn is_empty(&self) -> bool {
        self.dev.is_none() && self.test.is_none()
    }

    /// The new splits and how much each gets.
    pub(crate) fn named(&self) -> Vec<(String, Share)> {
        let shares = [("dev", self.dev), ("test", self.test)];
        shares.into_iter().filter_map(|(name, share)| Some((name.to_owned(), share?))).collect()
    }
}

/// What `--format json` prints.
#[derive(Serialize)]
struct Result<'a> {
    #[serde(flatten)]
    report: SplitReport,
    out: &'a PathBuf,
}

pub(crate) fn run(args: &Args, format: Format) -> anyhow::Result<()> {
    if args.shares.is_empty() {
        return Err(Usage::new("nothing is to be taken out")
            .with_hint("say how much: `--dev 10%`, `--test 200`, or both")
            .into());
    }
    let (from, shares, seed) = (args.from.clone(), args.shares.named(), args.seed);
    let report = split(&args.data, &args.out, &SplitOptions { from, shares, seed });
    let report = report.with_context(|| format!("cannot split `{}`", args.data.display()))?;
    format.print(&Result { report, out: &args.out }, |result| describe_split(&result.report))
}

/// How large each split became, and how much belonged together.
pub(crate) fn describe_split(report: &SplitReport) -> String {
    let size = |split: &SplitSize| {
        let SplitSize { name, queries, judgments, documents } = split;
        format!(
            "{name}: {queries} queries, {judgments} judgments, {documents} relevant documents\n"
        )
    };
    let sizes: String = report.splits.iter().map(size).collect();
    let (components, largest) = (report.components, report.largest);
    format!(
        "{sizes}parted by {components} groups that belong together, the largest of {largest} queries"
    )
}
