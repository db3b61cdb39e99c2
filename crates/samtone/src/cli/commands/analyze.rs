//! `samtone analyze`.

mod found;
mod report;

use std::path::{Path, PathBuf};

use anyhow::Context;
use burn::tensor::backend::AutodiffBackend;
use samtone_eval::search::Hit;
use samtone_eval::statistics::Towers;
use samtone_eval::{Convention, Metric, Qrels, evaluate};
use samtone_model::ModelFolder;
use samtone_report::Tsne;
use samtone_text::Key;
use samtone_train::run::{Embedded, JudgedSplit, load_data};

use self::found::{Analysis, Drawn, FOUND, Measured, ModelAnalysis, Sample};
use super::at_least_one;
use super::reading::{
    BATCH_SIZE, PrecisionChoice, SimilarityChoice, TextChoice, dims, document_text, embed,
    model_folder, similarity,
};
use crate::device::{DeviceArgs, OnBackend};
use crate::error::Usage;
use crate::output::{Format, say, table};

/// Look into the towers: t-SNE, score distributions, geometry and neighbours, models side by side.
///
/// Writes `analysis.json`, `report.html` and each figure as SVG, PNG, CSV and JSON.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  samtone analyze --model runs/first/model --data data/faq --out analysis
  samtone analyze --model a/model --model b/model --name before --name after --data embedded")]
pub(crate) struct Args {
    /// A model: its folder, a run's, or its name in the Hugging Face cache; may be repeated to compare
    /// several.
    #[arg(long, required = true, value_name = "MODEL")]
    model: Vec<PathBuf>,
    /// What a model is called in the results, in the order of the models; its folder if absent.
    #[arg(long, value_name = "NAME")]
    name: Vec<String>,
    /// The data set: a folder in BEIR layout, or `embedded`.
    #[arg(long, value_name = "FOLDER")]
    data: PathBuf,
    /// The split of the data set.
    #[arg(long, default_value = "test")]
    split: String,
    /// How many queries, and as many documents, the t-SNE shows.
    #[arg(long, default_value_t = 400)]
    points: usize,
    /// About how many neighbours each point of the t-SNE keeps.
    #[arg(long, default_value_t = 30.0)]
    perplexity: f64,
    /// How many queries the neighbour browser shows.
    #[arg(long, default_value_t = 200)]
    queries: usize,
    /// How many documents the neighbour browser shows for each.
    #[arg(long, default_value_t = 5)]
    top: usize,
    /// Decides what is sampled, and the start of the t-SNE.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// What of a document a model reads; what its folder says, or `title-text`, if absent.
    #[arg(long, value_enum)]
    document_text: Option<TextChoice>,
    /// How embeddings are compared in the search, as a model's folder says if absent; all else here is
    /// the cosine.
    #[arg(long, value_enum)]
    similarity: Option<SimilarityChoice>,
    /// Compare only the first N numbers of each embedding.
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    dims: Option<usize>,
    /// The folder to write.
    #[arg(long, default_value = "analysis", value_name = "FOLDER")]
    out: PathBuf,
    /// What the model's layers compute in: the halves are less exact, and faster where the device
    /// multiplies them faster.
    #[arg(long, value_enum, default_value_t)]
    precision: PrecisionChoice,
    #[command(flatten)]
    device: DeviceArgs,
}

/// The most pairs that the geometry is measured on.
const PAIRS: usize = 2000;
/// The fewest that it can be measured on: the probe's folds need as many.
const FEWEST_PAIRS: usize = 10;
/// Random pairs of queries whose similarities are compared.
const RATIOS: usize = 5000;
/// Resamples of the queries for an interval, and its confidence.
const RESAMPLES: usize = 1000;
const LEVEL: f64 = 0.95;

pub(crate) fn run(args: &Args, format: Format) -> anyhow::Result<()> {
    let page = args.out.join("report.html");
    samtone_files::prepare_file(&page)
        .with_context(|| format!("cannot write `{}`", page.display()))?;
    let sample = sample(args)?;
    args.tsne().check(sample.points)?;
    let names = names(&args.model, &args.name)?;
    let mut models = Vec::new();
    for (model, name) in args.model.iter().zip(names) {
        say(format_args!("{name} …"));
        let work = Analyze { args, model, name, sample: &sample };
        let analysed = args.device.backend.run(work)?;
        models.push(analysed.with_context(|| format!("cannot analyse `{}`", model.display()))?);
    }
    let analysis = Analysis {
        data: &args.data,
        split: &args.split,
        queries: sample.queries.len(),
        documents: sample.dataset.documents().len(),
        pairs: sample.pairs.len(),
        points: sample.points,
        perplexity: args.perplexity,
        seed: args.seed,
        models,
    };
    let command = super::command_line();
    report::write(&args.out, &analysis, &sample, args.top, &command)?;
    format.print(&analysis, |analysis| text(analysis, &args.out))
}

impl Args {
    fn tsne(&self) -> Tsne {
        Tsne { perplexity: self.perplexity, seed: self.seed, ..Tsne::default() }
    }
}

fn sample(args: &Args) -> anyhow::Result<Sample> {
    let dataset = load_data(&args.data, &[&args.split])?;
    let qrels = Qrels::new(dataset.qrels(&args.split))?;
    let queries = dataset.queries_of(&args.split);
    let places: std::collections::HashMap<usize, usize> =
        queries.iter().enumerate().map(|(place, query)| (*query, place)).collect();

    let key = Key::new(args.seed).child("analyze");
    let all = dataset.pairs(&args.split);
    let mut queries_seen = vec![false; queries.len()];
    let mut documents_seen = vec![false; dataset.documents().len()];
    let mut pairs = Vec::new();
    let most = PAIRS.max(args.points);
    for index in key.child("pairs").permutation(all.len()) {
        let (query, document) = (places[&all[index].query], all[index].document);
        if pairs.len() == most {
            break;
        }
        if !queries_seen[query] && !documents_seen[document] {
            (queries_seen[query], documents_seen[document]) = (true, true);
            pairs.push((query, document));
        }
    }
    if pairs.len() < FEWEST_PAIRS {
        let (data, split, found) = (args.data.display(), &args.split, pairs.len());
        let message = format!(
            "split `{split}` of `{data}` has {found} pairs of distinct documents, {FEWEST_PAIRS} are needed"
        );
        return Err(Usage::new(message).into());
    }
    let mut browsed = key.child("browsed").permutation(queries.len());
    browsed.truncate(args.queries);
    Ok(Sample {
        points: args.points.min(pairs.len()),
        text: args.document_text.unwrap_or_default().into(),
        dataset,
        qrels,
        queries,
        pairs,
        browsed,
    })
}

/// A name for each model: the one `given`, else its folder's, or the run's where that is just
/// `model`; made unique.
fn names(models: &[PathBuf], given: &[String]) -> anyhow::Result<Vec<String>> {
    if given.len() > models.len() {
        let (given, models) = (given.len(), models.len());
        return Err(Usage::new(format!("{given} names were given for {models} models")).into());
    }
    let mut names: Vec<String> = Vec::new();
    for (place, model) in models.iter().enumerate() {
        let parts: Vec<String> = model
            .components()
            .map(|part| part.as_os_str().to_string_lossy().into_owned())
            .collect();
        let name = match (given.get(place), parts.as_slice()) {
            (Some(name), _) => name.clone(),
            (None, [.., run, other, last]) if last == "model" && other == "baseline" => {
                format!("{run}, baseline")
            }
            (None, [.., run, last]) if last == "model" => run.clone(),
            (None, [.., last]) => last.clone(),
            (None, []) => "model".to_owned(),
        };
        let numbered = (2..).map(|number| format!("{name} ({number})"));
        let name = std::iter::once(name.clone()).chain(numbered).find(|name| !names.contains(name));
        names.push(name.expect("some number is free"));
    }
    Ok(names)
}

struct Analyze<'a> {
    args: &'a Args,
    model: &'a Path,
    name: String,
    sample: &'a Sample,
}

impl OnBackend for Analyze<'_> {
    type Output = anyhow::Result<ModelAnalysis>;

    fn run<B: AutodiffBackend>(self, device: &B::Device) -> Self::Output {
        let Self { args, model, name, sample } = self;
        let Sample { dataset, .. } = sample;
        let model = ModelFolder::pin(model)?;
        let retriever = args.precision.open::<B::InnerBackend>(&model_folder(&model)?, device)?;
        let dims = dims(args.dims, retriever.dim())?;
        let similarity = similarity(args.similarity, &retriever);
        let text = document_text(args.document_text, &retriever);
        let split = JudgedSplit::new(dataset, &args.split);
        let embedded = embed(&retriever, &split, text, BATCH_SIZE)?;
        let embedded = embedded.cut(dims, similarity).into_owned();
        let hits = embedded.search(similarity, FOUND, &[])?;
        let Embedded { queries, documents, dim } = embedded;
        let metrics = measure(sample, &split, &hits, args.seed)?;
        let towers = Towers::new(&queries, &documents, dim, &sample.pairs, &hits);
        let plane = args.tsne().project(&towers.first_pairs(sample.points), dim)?;
        let first = towers.first_cosines().into_iter();
        let first = first.map(|(query, hit, cosine)| (cosine, sample.is_relevant(query, hit)));
        let key = Key::new(args.seed).child("analyze").child("ratios");
        let pairs = sample.pairs.len();
        let ratio = |index: u64| {
            let i = key.below(2 * index, pairs);
            towers.ratio(i, (i + 1 + key.below(2 * index + 1, pairs - 1)) % pairs)
        };
        let drawn = Drawn {
            positions: plane.positions,
            first: first.collect(),
            ratios: (0..RATIOS as u64).map(ratio).collect(),
            hits: hits.clone(),
        };
        Ok(ModelAnalysis {
            name,
            model,
            dim,
            similarity: similarity.into(),
            document_text: text,
            metrics,
            geometry: towers.geometry(args.seed).named().to_vec(),
            kl_divergence: plane.kl_divergence,
            drawn,
        })
    }
}

/// The retrieval metrics of what was found.
fn measure(
    sample: &Sample,
    split: &JudgedSplit<'_>,
    hits: &[Vec<Hit>],
    seed: u64,
) -> anyhow::Result<Vec<Measured>> {
    let run = split.run(hits)?;
    let metrics = ["p@1", "mrr@10", "ndcg@10", "recall@100"];
    let metrics: Vec<Metric> = metrics.iter().map(|name| name.parse()).collect::<Result<_, _>>()?;
    let found = evaluate(&sample.qrels, &run, &metrics, Convention::default())?;
    let intervals = found.intervals(RESAMPLES, LEVEL, seed);
    let means = metrics.iter().zip(found.means()).zip(intervals);
    Ok(means
        .map(|((metric, &mean), interval)| Measured { metric: metric.to_string(), mean, interval })
        .collect())
}

fn text(analysis: &Analysis<'_>, out: &Path) -> String {
    let names: Vec<&str> = std::iter::once("")
        .chain(analysis.models.iter().map(|model| model.name.as_str()))
        .collect();
    let row = |name: &str, value: &dyn Fn(&ModelAnalysis) -> f64| {
        let values = analysis.models.iter().map(|model| format!("{:.4}", value(model)));
        std::iter::once(name.to_owned()).chain(values).collect::<Vec<_>>()
    };
    let Some(model) = analysis.models.first() else { return String::new() };
    let mut lines = Vec::new();
    for (index, metric) in model.metrics.iter().enumerate() {
        lines.push(row(&metric.metric, &|model| model.metrics[index].mean));
    }
    for (index, (name, _)) in model.geometry.iter().enumerate() {
        lines.push(row(name, &|model| model.geometry[index].1));
    }
    lines.push(row("t-SNE divergence (nats)", &|model| model.kl_divergence));
    let page = out.join("report.html");
    format!("{}\n{}\n", table(&names, lines), page.display())
}
