//! `samtone score`.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::ensure;
use burn::tensor::backend::{AutodiffBackend, Backend};
use samtone_data::DataError;
use samtone_data::import::pairs;
use samtone_data::reading::{Line, Lines};
use serde::Serialize;

use super::scorer::Scorer;
use crate::device::{DeviceArgs, OnBackend};
use crate::output::Format;
use crate::progress::Progress;
use crate::stream::{Readable, Writable};

/// Rows that are scored at once.
const STEP: usize = 512;

/// Score a file of pairs by a teacher: what `train` distils with `[distillation]`.
///
/// Each row gets `scores`, of its positive and of each of its negatives, in the place of any that it
/// had; all else stays as it is.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  samtone score --model ms-marco-MiniLM-L6-v2 --input mined.jsonl --out scored.jsonl")]
pub(crate) struct Args {
    /// The teacher: the folder of a cross-encoder, or of a retriever, whose score is its similarity, or
    /// of a run; or a name in the Hugging Face cache.
    #[arg(long, value_name = "MODEL")]
    model: PathBuf,
    /// The file of pairs (JSON lines, plain, `.gz` or `.zst`), or `-`, stdin.
    #[arg(long, value_name = "FILE")]
    input: PathBuf,
    /// The file of pairs to write, `-` to stdout.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    #[command(flatten)]
    device: DeviceArgs,
}

/// What was scored.
#[derive(Clone, Copy, Debug, Default, Serialize)]
struct Report {
    rows: usize,
    /// Positives and negatives of all rows.
    scores: usize,
    /// Negatives that score higher than their positive.
    above_positive: usize,
}

/// What `--format json` prints.
#[derive(Serialize)]
struct Result<'a> {
    #[serde(flatten)]
    report: Report,
    out: &'a Path,
}

pub(crate) fn run(args: &Args, format: Format) -> anyhow::Result<()> {
    let out = Writable::prepare(&args.out)?;
    let report = args.device.backend.run(Score { args, out: out.path() })??;
    out.finish()?;
    format.print(&Result { report, out: &args.out }, |result| describe(&result.report, args))
}

struct Score<'a> {
    args: &'a Args,
    out: &'a Path,
}

impl OnBackend for Score<'_> {
    type Output = anyhow::Result<Report>;

    fn run<B: AutodiffBackend>(self, device: &B::Device) -> Self::Output {
        let Self { args, out } = self;
        let input = Readable::open(&args.input)?;
        let lines = Lines::open(input.path())?;
        let bytes = std::fs::metadata(input.path()).map_or(0, |file| file.len());
        let scorer = Scorer::<B::InnerBackend>::open(&args.model, device)?;
        let written = samtone_files::write_whole(out, |out| {
            let report = score_all(&scorer, lines, bytes, out)?;
            ensure!(report.rows > 0, "`{}` holds no pair", args.input.display());
            Ok(report)
        });
        written.map_err(|error: anyhow::Error| match error.downcast() {
            Ok(source) => DataError::Write { path: out.to_owned(), source }.into(),
            Err(error) => error,
        })
    }
}

/// A row as it was read.
struct Row {
    number: u64,
    line: Vec<u8>,
    query: String,
    /// The positive, then the negatives.
    documents: Vec<String>,
}

impl Row {
    fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.documents.iter().map(|document| (self.query.as_str(), document.as_str()))
    }
}

/// Scores the rows of a file of so many `bytes`.
fn score_all<B: Backend>(
    scorer: &Scorer<B>,
    mut lines: Lines,
    bytes: u64,
    out: &mut BufWriter<File>,
) -> anyhow::Result<Report> {
    let bar = Progress::new(bytes, "scoring");
    let mut report = Report::default();
    loop {
        let rows = read(&mut lines)?;
        if rows.is_empty() {
            break;
        }
        let pairs: Vec<(&str, &str)> = rows.iter().flat_map(Row::pairs).collect();
        let scores = scorer.score(&pairs)?;
        let mut scores = &scores[..];
        for row in &rows {
            let (own, rest) = scores.split_at(row.documents.len());
            scores = rest;
            let line = Line { number: row.number, bytes: &row.line };
            let scored = pairs::with_scores(line, own).map_err(|fault| lines.fault(fault))?;
            writeln!(out, "{scored}")?;
            report.rows += 1;
            report.scores += own.len();
            report.above_positive += own[1..].iter().filter(|&&score| score > own[0]).count();
        }
        bar.set_message(format!("{} rows", report.rows));
        bar.set_position(lines.position());
    }
    bar.finish_and_clear();
    Ok(report)
}

/// The next rows; none at the end of the file.
fn read(lines: &mut Lines) -> std::result::Result<Vec<Row>, DataError> {
    let mut rows = Vec::new();
    while rows.len() < STEP {
        let Some(line) = lines.next()? else { break };
        let row = pairs::parse(line).map(|example| Row {
            number: line.number,
            line: line.bytes.to_vec(),
            query: example.query.text.into_owned(),
            documents: example
                .positives
                .into_iter()
                .chain(example.negatives)
                .map(|passage| passage.text.into_owned())
                .collect(),
        });
        match row {
            Ok(row) => rows.push(row),
            Err(fault) => return Err(lines.fault(fault)),
        }
    }
    Ok(rows)
}

fn describe(report: &Report, args: &Args) -> String {
    let Report { rows, scores, above_positive } = report;
    let mut text = format!("{}: {rows} rows with {scores} scores", args.out.display());
    if *above_positive > 0 {
        text.push_str(&format!("\n{above_positive} negatives score higher than their positive"));
    }
    text
}
