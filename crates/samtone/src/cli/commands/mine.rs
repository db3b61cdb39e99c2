//! `samtone mine`.

use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use burn::tensor::backend::{AutodiffBackend, Backend};
use samtone_data::Dataset;
use samtone_eval::Run;
use samtone_eval::bm25::{Analyzer, Bm25Config};
use samtone_model::Retriever;
use samtone_train::config::EMBEDDED;
use samtone_train::mine::{
    Dense, Lexical, MineConfig, MineReport, Mined, Pick, Ranked, Ranks, ScoreMargin, mine,
};
use samtone_train::run::{JudgedSplit, load_data};
use serde::Serialize;

use super::at_least_one;
use super::bm25::{at_least_zero, share};
use super::reading::{
    BATCH_SIZE, SimilarityChoice, TextChoice, cut_split, dims, document_text, embed, model_folder,
    similarity,
};
use crate::device::{DeviceArgs, OnBackend};
use crate::error::Usage;
use crate::output::Format;
use crate::stream::{Readable, Writable};

/// Find hard negatives: documents that rank high for a query without being relevant to it.
///
/// The ranking is a model's, BM25's, or any system's run. No document known to be relevant to a query
/// is taken, nor a copy of one. The result is a file of pairs with their negatives, which `train` reads
/// as its data.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  samtone mine --data data/faq --bm25 --out mined.jsonl
  samtone mine --data data/faq --model runs/first/model --ranks 10-100 --out mined.jsonl")]
#[command(group = clap::ArgGroup::new("source").required(true).args(["model", "bm25", "run"]))]
pub(crate) struct Args {
    /// The data: a folder in BEIR layout, a file of pairs (JSON lines; `-` on stdin), or `embedded`.
    #[arg(long, value_name = "DATA")]
    data: PathBuf,
    /// The split whose pairs get negatives.
    #[arg(long, default_value = "train")]
    split: String,
    /// Rank with a model: its folder, or a run's.
    #[arg(long, value_name = "FOLDER")]
    model: Option<PathBuf>,
    /// Rank with BM25.
    #[arg(long)]
    bm25: bool,
    /// Take the ranking of a TREC run, `-` on stdin.
    #[arg(long, value_name = "FILE")]
    run: Option<PathBuf>,
    /// The file of pairs to write, `-` to stdout.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// The ranks to take negatives from, counted from 1 over the documents not known to be relevant.
    #[arg(long, value_name = "FIRST-LAST", default_value = "1-100")]
    ranks: Ranks,
    /// How many negatives each pair gets, at most.
    #[arg(long, value_name = "N", default_value_t = 4)]
    count: usize,
    /// A negative scores less than its positive by this share of the positive's score, or more
    /// (NV-Retriever's 95 % rule).
    #[arg(long, value_name = "SHARE", default_value_t = 0.05, allow_negative_numbers = true)]
    relative_margin: f64,
    /// A negative scores less than its positive by this much, or more.
    #[arg(long, value_name = "SCORE", allow_negative_numbers = true)]
    absolute_margin: Option<f64>,
    /// Take negatives whatever the positive scores.
    #[arg(long, conflicts_with_all = ["relative_margin", "absolute_margin"])]
    no_margin: bool,
    /// Which of the documents in range are taken.
    #[arg(long, value_enum, default_value_t)]
    pick: PickChoice,
    /// For `--pick random`: which draw.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Leave out pairs with fewer negatives than `--count`.
    #[arg(long)]
    whole_rows: bool,
    /// What of a document is ranked and written; what the model's folder says, or `title-text`, if
    /// absent.
    #[arg(long, value_enum)]
    document_text: Option<TextChoice>,
    /// How embeddings are compared; as the model's folder says if absent.
    #[arg(long, value_enum, conflicts_with_all = ["bm25", "run"])]
    similarity: Option<SimilarityChoice>,
    /// Compare only the first N numbers of each embedding.
    #[arg(long, value_name = "N", value_parser = at_least_one, requires = "model")]
    dims: Option<usize>,
    /// For `--bm25`: how late further occurrences of a term stop counting.
    #[arg(
        long,
        default_value_t = 0.9,
        value_parser = at_least_zero,
        allow_negative_numbers = true,
        conflicts_with_all = ["model", "run"]
    )]
    k1: f32,
    /// For `--bm25`: how much a document's length counts, from 0 to 1.
    #[arg(
        long,
        default_value_t = 0.4,
        value_parser = share,
        allow_negative_numbers = true,
        conflicts_with_all = ["model", "run"]
    )]
    b: f32,
    #[command(flatten)]
    device: DeviceArgs,
}

/// `--pick`.
#[derive(Clone, Copy, Debug, Default, clap::ValueEnum)]
enum PickChoice {
    /// The best.
    #[default]
    Top,
    /// Any, each with equal chance.
    Random,
}

/// What `--format json` prints.
#[derive(Serialize)]
struct Result<'a> {
    #[serde(flatten)]
    report: MineReport,
    out: &'a Path,
}

impl Args {
    fn config(&self) -> std::result::Result<MineConfig, Usage> {
        let wrong = |flag: &str, expected: &str, got: &dyn std::fmt::Display| {
            Err(Usage::new(format!("{flag} is {expected}, got {got}")))
        };
        if self.count == 0 {
            return wrong("--count", "at least 1", &self.count);
        }
        if !(0.0..1.0).contains(&self.relative_margin) {
            return wrong("--relative-margin", "at least 0 and below 1", &self.relative_margin);
        }
        if let Some(margin) = self.absolute_margin
            && !(margin >= 0.0 && margin.is_finite())
        {
            return wrong("--absolute-margin", "at least 0", &margin);
        }
        let margin =
            ScoreMargin { absolute: self.absolute_margin, relative: Some(self.relative_margin) };
        Ok(MineConfig {
            ranks: self.ranks,
            count: self.count,
            margin: if self.no_margin { ScoreMargin::NONE } else { margin },
            pick: match self.pick {
                PickChoice::Top => Pick::Top,
                PickChoice::Random => Pick::Random,
            },
            seed: self.seed,
            whole_rows: self.whole_rows,
            document_text: self.document_text.unwrap_or_default().into(),
        })
    }
}

pub(crate) fn run(args: &Args, format: Format) -> anyhow::Result<()> {
    let mut config = args.config()?;
    let out = Writable::prepare(&args.out)?;
    let data = Readable::open(&args.data)?;
    let is_folder = data.path().is_dir() && args.data != Path::new(EMBEDDED);
    let dataset = if is_folder {
        Dataset::load_with_all_judgments(&args.data, &args.split)?
    } else {
        load_data(data.path(), &[&args.split])?
    };
    let mined = if let Some(model) = &args.model {
        let work = MineWithModel { args, model, dataset: &dataset, config: &mut config };
        args.device
            .backend
            .run(work)?
            .with_context(|| format!("cannot mine with `{}`", model.display()))?
    } else if let Some(run) = &args.run {
        let ranked = Ranked::new(&Run::read(Readable::open(run)?.path())?, &dataset)
            .with_context(|| format!("cannot mine with `{}`", run.display()))?;
        mine(&dataset, &args.split, &ranked, &config)?
    } else {
        let parameters = Bm25Config { k1: args.k1, b: args.b, ..Bm25Config::default() };
        let bm25 = Lexical::new(&dataset, config.document_text, Analyzer::default(), parameters);
        mine(&dataset, &args.split, &bm25, &config)?
    };
    let MineReport { pairs, rows, .. } = mined.report;
    let count = config.count;
    ensure!(rows > 0, "none of {pairs} pairs gets {count} negatives: nothing is written");
    dataset.save_pairs(out.path(), &mined.rows, config.document_text)?;
    out.finish()?;
    format.print(&Result { report: mined.report, out: &args.out }, |result| {
        describe(&result.report, args)
    })
}

struct MineWithModel<'a> {
    args: &'a Args,
    model: &'a Path,
    dataset: &'a Dataset,
    /// What the model's folder says is put into it.
    config: &'a mut MineConfig,
}

impl OnBackend for MineWithModel<'_> {
    type Output = anyhow::Result<Mined>;

    fn run<B: AutodiffBackend>(self, device: &B::Device) -> Self::Output {
        self.mine::<B::InnerBackend>(device)
    }
}

impl MineWithModel<'_> {
    fn mine<B: Backend>(self, device: &B::Device) -> anyhow::Result<Mined> {
        let Self { args, model, dataset, config } = self;
        let retriever = Retriever::<B>::open(&model_folder(model)?, device)?;
        config.document_text = document_text(args.document_text, &retriever);
        let dims = dims(args.dims, retriever.dim())?;
        let similarity = similarity(args.similarity, &retriever);
        let split = JudgedSplit::new(dataset, &args.split);
        let embedded = embed(&retriever, &split, config.document_text, BATCH_SIZE)?;
        let embedded = cut_split(&embedded, dims, similarity);
        let source = Dense::new(
            split.queries(),
            &embedded.queries,
            &embedded.documents,
            embedded.dim,
            similarity,
        );
        Ok(mine(dataset, &args.split, &source, config)?)
    }
}

fn describe(report: &MineReport, args: &Args) -> String {
    let MineReport { pairs, rows, negatives, short, without, too_near, .. } = report;
    let mut text =
        format!("{}: {rows} of {pairs} pairs with {negatives} negatives", args.out.display());
    if *short > 0 {
        let fate = if args.whole_rows { ", left out" } else { "" };
        let count = args.count;
        text.push_str(&format!(
            "\n{short} pairs have fewer than {count}{fate}, {without} of them none"
        ));
    }
    if *too_near > 0 {
        text.push_str(&format!("\n{too_near} documents in range score too near the positive"));
    }
    if report.unscored_positives > 0 {
        let unscored = report.unscored_positives;
        text.push_str(&format!("\n{unscored} positives are not in the ranking"));
        if !args.no_margin {
            text.push_str(": no margin can be kept, so their pairs get none");
        }
    }
    if let (Some(positive), Some(negative)) =
        (report.mean_positive_score, report.mean_negative_score)
    {
        text.push_str(&format!(
            "\nmean score: {positive:.4} of the positives, {negative:.4} of the negatives"
        ));
    }
    text
}
