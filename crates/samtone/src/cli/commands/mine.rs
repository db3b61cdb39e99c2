//! `samtone mine`.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use burn::tensor::backend::{AutodiffBackend, Backend};
use samtone_data::Dataset;
use samtone_eval::Run;
use samtone_eval::bm25::{Analyzer, Bm25Config};
use samtone_text::DocumentText;
use samtone_train::TrainError;
use samtone_train::config::EMBEDDED;
use samtone_train::mine::{
    Dense, Filter, Lexical, MineConfig, MineReport, Mined, Pick, Ranked, Ranks, ScoreMargin,
    mine_filtered,
};
use samtone_train::run::{JudgedSplit, load_data};
use serde::Serialize;

use super::at_least_one;
use super::bm25::{apart, at_least_zero, share};
use super::reading::{
    BATCH_SIZE, PrecisionChoice, SimilarityChoice, TextChoice, dims, document_text, embed,
    model_folder, similarity,
};
use super::scorer::Scorer;
use crate::device::{DeviceArgs, OnBackend};
use crate::error::Usage;
use crate::output::Format;
use crate::progress::Progress;
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
    /// Rank with a model: its folder, a run's, or its name in the Hugging Face cache.
    #[arg(long, value_name = "MODEL")]
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
    /// Drop what a second model takes to be relevant, before `--count` are taken: the folder of a
    /// cross-encoder, of a retriever, or of a run, or a name in the Hugging Face cache.
    #[arg(long, value_name = "MODEL")]
    filter: Option<PathBuf>,
    /// For `--filter`: dropped is what it scores higher than the positive less this much.
    #[arg(
        long,
        value_name = "SCORE",
        default_value_t = 0.0,
        value_parser = at_least_zero,
        allow_negative_numbers = true,
        requires = "filter"
    )]
    filter_margin: f32,
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
    /// For `--bm25`: keep the index in this file, and read it from there if it is there; one of other
    /// documents or settings is refused.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["model", "run"])]
    index: Option<PathBuf>,
    /// What the model's layers compute in: the halves are less exact, and faster where the device
    /// multiplies them faster.
    #[arg(long, value_enum, default_value_t, conflicts_with_all = ["bm25", "run"])]
    precision: PrecisionChoice,
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
    apart(args.index.as_deref(), Some(&args.out))?;
    let out = Writable::prepare(&args.out)?;
    let data = Readable::open(&args.data)?;
    let is_folder = data.path().is_dir() && args.data != Path::new(EMBEDDED);
    let dataset = if is_folder {
        Dataset::load_with_all_judgments(&args.data, &args.split)?
    } else {
        load_data(data.path(), &[&args.split])?
    };
    let mined = if args.model.is_some() || args.filter.is_some() {
        args.device.backend.run(MineWithModel {
            args,
            dataset: &dataset,
            config: &mut config,
        })??
    } else {
        mine_without_model(args, &dataset, &config, None)?
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

/// Mines with BM25 or a run.
fn mine_without_model(
    args: &Args,
    dataset: &Dataset,
    config: &MineConfig,
    filter: Option<&Filter<'_>>,
) -> anyhow::Result<Mined> {
    if let Some(run) = &args.run {
        let ranked = Ranked::new(&Run::read(Readable::open(run)?.path())?, dataset)
            .with_context(|| format!("cannot mine with `{}`", run.display()))?;
        return Ok(mine_filtered(dataset, &args.split, &ranked, config, filter)?);
    }
    let parameters = Bm25Config { k1: args.k1, b: args.b, ..Bm25Config::default() };
    let (text, analyzer) = (config.document_text, Analyzer::default());
    let bm25 = match &args.index {
        None => Lexical::new(dataset, text, analyzer, parameters),
        Some(index) => Lexical::kept(index, dataset, text, analyzer, parameters)?,
    };
    Ok(mine_filtered(dataset, &args.split, &bm25, config, filter)?)
}

struct MineWithModel<'a> {
    args: &'a Args,
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
        let Self { args, dataset, config } = self;
        let scorer = args.filter.as_deref().map(|path| Scorer::<B>::open(path, device));
        let scorer = scorer.transpose()?;
        let Some(model) = &args.model else {
            let text = config.document_text;
            return with_filter(scorer.as_ref(), args, dataset, text, |filter| {
                mine_without_model(args, dataset, config, filter)
            });
        };
        let failed = || format!("cannot mine with `{}`", model.display());
        let retriever = model_folder(model)
            .and_then(|folder| args.precision.open::<B>(&folder, device))
            .with_context(failed)?;
        config.document_text = document_text(args.document_text, &retriever);
        let dims = dims(args.dims, retriever.dim()).with_context(failed)?;
        let similarity = similarity(args.similarity, &retriever);
        let split = JudgedSplit::new(dataset, &args.split);
        let embedded =
            embed(&retriever, &split, config.document_text, BATCH_SIZE).with_context(failed)?;
        let embedded = embedded.cut(dims, similarity);
        let source = Dense::new(
            split.queries(),
            &embedded.queries,
            &embedded.documents,
            embedded.dim,
            similarity,
        );
        with_filter(scorer.as_ref(), args, dataset, config.document_text, |filter| {
            mine_filtered(dataset, &args.split, &source, config, filter).with_context(failed)
        })
    }
}

/// Lets `mine` use the filter that `scorer` makes, if there is one.
fn with_filter<B: Backend>(
    scorer: Option<&Scorer<B>>,
    args: &Args,
    dataset: &Dataset,
    text: DocumentText,
    mine: impl FnOnce(Option<&Filter<'_>>) -> anyhow::Result<Mined>,
) -> anyhow::Result<Mined> {
    let Some(scorer) = scorer else { return mine(None) };
    let bar = Progress::new(0, "pairs");
    let score = |pairs: &[(usize, usize)]| -> std::result::Result<Vec<f32>, TrainError> {
        let texts = |&(query, document): &(usize, usize)| {
            (dataset.queries()[query].text.as_str(), dataset.document(document).passage(text))
        };
        let texts: Vec<(&str, Cow<'_, str>)> = pairs.iter().map(texts).collect();
        let texts: Vec<(&str, &str)> =
            texts.iter().map(|(query, document)| (*query, &**document)).collect();
        Ok(scorer.score(&texts)?)
    };
    let observe = |done: usize, pairs: usize| {
        bar.set_length(pairs as u64);
        bar.set_position(done as u64);
    };
    let margin = args.filter_margin;
    let mined = mine(Some(&Filter { score: &score, margin, observe: &observe }));
    bar.finish_and_clear();
    mined
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
    if report.false_negatives > 0 {
        let dropped = report.false_negatives;
        text.push_str(&format!("\n{dropped} documents are relevant by the filter"));
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
