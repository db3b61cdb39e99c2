//! `samtone import`.

use std::path::PathBuf;

use anyhow::Context;
use samtone_data::embedded::World;
use samtone_data::import::{
    self, ColumnNames, ColumnRole, ImportOptions, ImportReport, OnError, TakenColumn, TakenColumns,
    Unit,
};
use samtone_data::reading::Encoding;
use serde::Serialize;

use super::split::{ShareArgs, describe_split};
use crate::error::Usage;
use crate::output::Format;
use crate::progress::Progress;

/// Turn other tools' data into a folder in BEIR layout.
///
/// Files stream through: memory grows by a few dozen bytes a record, whatever its texts' size. The
/// folder appears when all is done, and only then. Hard negatives become judgments of grade 0, which
/// `train` reads as such.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  samtone import sentence-transformers faq.csv --query question --positive answer --out data/faq
  samtone import squad train-v1.1.json --out data/squad
  samtone import embedded --size 2000 --out data/world")]
pub(crate) struct Args {
    /// What the input is.
    #[arg(value_enum, value_name = "FORMAT")]
    from: FormatChoice,
    /// The input files, plain, `.gz` or `.zst`; for `beir`, folders.
    #[arg(value_name = "IN")]
    inputs: Vec<PathBuf>,
    /// The folder to write.
    #[arg(long, value_name = "FOLDER")]
    out: PathBuf,
    /// The split of judgments whose file does not name one; without it, the one that a file is called
    /// for (`dev.csv`, `faq-test.jsonl`), or else `train`.
    #[arg(long)]
    split: Option<String>,
    #[command(flatten)]
    shares: ShareArgs,
    /// The encoding of the input, for example windows-1252, where it is neither UTF-8 nor has a byte
    /// order mark.
    #[arg(long, value_name = "LABEL")]
    encoding: Option<Encoding>,
    /// What to do with a wrong record.
    #[arg(long, value_enum, default_value_t)]
    on_error: OnErrorChoice,
    /// Compress the files written.
    #[arg(long)]
    gzip: bool,
    /// Give ids that hold white space, which no TREC file can hold, names without; `renamed_ids.tsv`
    /// in the folder lists them.
    #[arg(long)]
    rename_ids: bool,
    #[command(flatten, next_help_heading = "Columns of sentence-transformers")]
    columns: ColumnArgs,
    /// For `squad`: what of a context becomes a document.
    #[arg(long, value_enum, default_value_t)]
    unit: UnitChoice,
    /// For `squad`: a file of MultiReQA's sentence boundaries, instead of samtone's own splitter.
    #[arg(long, value_name = "FILE")]
    candidates: Vec<PathBuf>,
    /// For `embedded`: how many documents.
    #[arg(long, value_name = "DOCUMENTS", default_value_t = World::DEFAULT_SIZE)]
    size: usize,
    /// What --dev and --test are drawn by; for `embedded`: which world.
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

/// What the columns of `sentence-transformers` are.
#[derive(Debug, clap::Args)]
struct ColumnArgs {
    /// The column of queries; without it, the one called query, question or anchor. With both
    /// --query and --positive, columns of unknown names are left aside.
    #[arg(long, value_name = "COLUMN")]
    query: Option<String>,
    /// The column of relevant documents; without it, the one called positive, answer, passage,
    /// document or response.
    #[arg(long, value_name = "COLUMN")]
    positive: Option<String>,
    /// A column of documents that are not relevant; without it, those called negative, `negative_1`,
    /// ...
    #[arg(long, value_name = "COLUMN")]
    negative: Vec<String>,
    /// The column that says with 1 or 0 whether the positive is one; without it, the one called
    /// label.
    #[arg(long, value_name = "COLUMN")]
    label: Option<String>,
    /// The column of grades, whole numbers: 1 or more, the positive is one; 0 or less, a negative.
    #[arg(long, value_name = "COLUMN")]
    grade: Option<String>,
    /// The column that says by how much a teacher's score of the positive is above the negative's.
    #[arg(long, value_name = "COLUMN")]
    margin: Option<String>,
    /// The column of a teacher's scores, lists: of the positive, then of each negative.
    #[arg(long, value_name = "COLUMN")]
    scores: Option<String>,
    /// A column to leave aside.
    #[arg(long, value_name = "COLUMN")]
    ignore: Vec<String>,
}

impl ColumnArgs {
    fn names(&self) -> ColumnNames {
        ColumnNames {
            query: self.query.clone(),
            positive: self.positive.clone(),
            negatives: self.negative.clone(),
            label: self.label.clone(),
            grade: self.grade.clone(),
            margin: self.margin.clone(),
            scores: self.scores.clone(),
            ignored: self.ignore.clone(),
        }
    }
}

/// `FORMAT`.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum FormatChoice {
    /// A BEIR folder, to be mended: with `--on-error skip`, wrong records are left out.
    Beir,
    /// JSON lines: query, positive, negatives.
    Pairs,
    /// `FlagEmbedding`'s JSON lines: query, pos, neg.
    FlagEmbedding,
    /// Tevatron's JSON lines; a corpus comes before the queries that name its ids.
    Tevatron,
    /// Columns query, positive, negatives, by their names: JSON lines, CSV, TSV, or Parquet in a build
    /// with that feature.
    SentenceTransformers,
    /// MS MARCO's collection, queries, qrels and triples, by their names.
    MsMarco,
    /// SQuAD JSON or MRQA JSON lines, as retrieval of the sentence with the answer.
    Squad,
    /// TREC topics, qrels and documents.
    Trec,
    /// No input: samtone's own generated world.
    Embedded,
}

/// `--on-error`.
#[derive(Clone, Copy, Debug, Default, clap::ValueEnum)]
enum OnErrorChoice {
    /// Stop and write nothing.
    #[default]
    Fail,
    /// Leave it out, count it and list it in `skipped.txt`.
    Skip,
}

/// `--unit`.
#[derive(Clone, Copy, Debug, Default, clap::ValueEnum)]
enum UnitChoice {
    /// Each sentence.
    #[default]
    Sentence,
    /// The whole paragraph.
    Paragraph,
}

impl FormatChoice {
    /// The library's format; `None` for the embedded world.
    fn format(self) -> Option<import::Format> {
        Some(match self {
            Self::Beir => import::Format::Beir,
            Self::Pairs => import::Format::Pairs,
            Self::FlagEmbedding => import::Format::FlagEmbedding,
            Self::Tevatron => import::Format::Tevatron,
            Self::SentenceTransformers => import::Format::Columns,
            Self::MsMarco => import::Format::MsMarco,
            Self::Squad => import::Format::Squad,
            Self::Trec => import::Format::Trec,
            Self::Embedded => return None,
        })
    }
}

/// What `--format json` prints.
#[derive(Serialize)]
struct Result<'a> {
    #[serde(flatten)]
    report: ImportReport,
    out: &'a PathBuf,
}

pub(crate) fn run(args: &Args, format: Format) -> anyhow::Result<()> {
    let has_columns = matches!(args.from, FormatChoice::SentenceTransformers);
    if !has_columns && !args.columns.names().is_empty() {
        return Err(Usage::new("only `sentence-transformers` has columns to name").into());
    }
    let report = match args.from.format() {
        None => embedded(args)?,
        Some(_) if args.inputs.is_empty() => {
            return Err(Usage::new("this format needs at least one input").into());
        }
        Some(from) => from_files(args, from)?,
    };
    format.print(&Result { report, out: &args.out }, |result| describe(&result.report, args))
}

fn embedded(args: &Args) -> anyhow::Result<ImportReport> {
    let sizes = World::SIZES;
    if !args.inputs.is_empty() {
        return Err(Usage::new("`embedded` reads no input").into());
    }
    if !args.shares.is_empty() {
        return Err(Usage::new("`embedded` has a split `dev` and a split `test` of its own").into());
    }
    if !sizes.contains(&args.size) {
        let (least, most) = (sizes.start(), sizes.end());
        return Err(
            Usage::new(format!("--size is from {least} to {most}, got {}", args.size)).into()
        );
    }
    let world = World::generate(args.seed, args.size);
    world.save(&args.out)?;
    let dataset = world.dataset();
    let count = |split: &str| dataset.judgments(split).len() as u64;
    let judgments = dataset.split_names().map(|split| (split.to_owned(), count(split))).collect();
    Ok(ImportReport {
        documents: dataset.documents().len() as u64,
        queries: dataset.queries().len() as u64,
        judgments,
        ..ImportReport::default()
    })
}

fn from_files(args: &Args, from: import::Format) -> anyhow::Result<ImportReport> {
    let options = ImportOptions {
        split: args.split.clone(),
        shares: args.shares.named(),
        seed: args.seed,
        encoding: args.encoding,
        on_error: match args.on_error {
            OnErrorChoice::Fail => OnError::Fail,
            OnErrorChoice::Skip => OnError::Skip,
        },
        gzip: args.gzip,
        unit: match args.unit {
            UnitChoice::Sentence => Unit::Sentence,
            UnitChoice::Paragraph => Unit::Paragraph,
        },
        boundaries: args.candidates.clone(),
        columns: args.columns.names(),
        rename_ids: args.rename_ids,
    };
    let bar = Progress::new(0, "importing");
    let report = import::import(from, &args.inputs, &args.out, &options, &mut |at| {
        bar.set_length(at.total_bytes);
        bar.set_position(at.bytes);
        bar.set_message(format!("{} records", at.records));
    });
    bar.finish_and_clear();
    report.with_context(|| {
        let (first, more) = (args.inputs[0].display(), args.inputs.len() - 1);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        format!("cannot import `{first}`{more}")
    })
}

fn describe(report: &ImportReport, args: &Args) -> String {
    let mut text = format!(
        "{}: {} documents, {} queries",
        args.out.display(),
        report.documents,
        report.queries
    );
    for taken in &report.columns {
        text.push_str(&describe_columns(taken));
    }
    for file in &report.files {
        text.push_str(&format!("\n{}: split `{}`, by its name", file.path.display(), file.split));
    }
    for (split, count) in &report.judgments {
        text.push_str(&format!("\n{count} judgments in `{split}`"));
        if let Some(without) = report.queries_without_positive.get(split) {
            text.push_str(&format!("; {without} of its queries have no positive"));
        }
    }
    for (split, rows) in &report.scored {
        let file = args.out.join(import::SCORED).join(format!("{split}.jsonl"));
        let gz = if args.gzip { ".gz" } else { "" };
        text.push_str(&format!(
            "\n{rows} rows of `{split}` with a teacher's scores, to train on: {}{gz}",
            file.display()
        ));
    }
    if let Some(split) = &report.split {
        text.push('\n');
        text.push_str(&describe_split(split));
    }
    if report.skipped_in_all() > 0 {
        let kinds: Vec<String> =
            report.skipped.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
        let listed = args.out.join("skipped.txt");
        text.push_str(&format!(
            "\n{} records left out ({}), listed in {}",
            report.skipped_in_all(),
            kinds.join(", "),
            listed.display()
        ));
    }
    if report.renamed_ids > 0 {
        let listed = args.out.join(import::RENAMED_IDS);
        text.push_str(&format!(
            "\n{} ids held white space and have new names, listed in {}",
            report.renamed_ids,
            listed.display()
        ));
    } else if report.ids_with_white_space > 0 {
        text.push_str(&format!(
            "\n{} ids hold white space, which no TREC file can hold: --rename-ids gives them other \
             names",
            report.ids_with_white_space
        ));
    }
    text
}

/// How a file's columns were taken, with its first row.
fn describe_columns(taken: &TakenColumns) -> String {
    let name = |column: &TakenColumn| match column.role {
        ColumnRole::Ignored => format!("`{}` left aside", column.name),
        role => format!("{} `{}`", role.name(), column.name),
    };
    let names: Vec<String> = taken.columns.iter().map(name).collect();
    let by_order = if taken.in_order { ", by their order" } else { "" };
    let shown = taken.columns.iter().filter(|column| column.role != ColumnRole::Ignored);
    let shown: Vec<String> =
        shown.map(|column| format!("{} {:?}", column.role.name(), column.first)).collect();
    format!(
        "\n{}: {}{by_order}\n  first row: {}",
        taken.path.display(),
        names.join(", "),
        shown.join(", ")
    )
}
