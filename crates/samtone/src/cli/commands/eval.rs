//! `samtone eval`.

mod indexed;

use std::borrow::Cow;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Context;
use burn::tensor::backend::{AutodiffBackend, Backend};
use samtone_eval::search::{Dtype, Hit, Ranges, Similarity, signs, top_k_excluding, top_k_signs};
use samtone_eval::{
    Convention, EvalError, Evaluation, EvaluationJson, Metric, MtebJson, Qrels, Queries, Rules,
    Run, evaluate_by, explain,
};
use samtone_train::run::{Embedded, JudgedSplit, load_data};
use serde::Serialize;

use self::indexed::search_index;
use super::reading::{
    BATCH_SIZE, DtypeChoice, PrecisionChoice, RESCORE, SimilarityChoice, TextChoice, dims,
    document_text, embed, model_folder, similarity,
};
use super::rerank::{RerankArgs, Reranker, order};
use super::{at_least_one, trec};
use crate::cluster::Place;
use crate::device::{DeviceArgs, OnBackend};
use crate::error::Usage;
use crate::output::{Format, say, table, warn};
use crate::progress::Progress;
use crate::stream::{Readable, Writable};

/// Score a model on a data set, or a run against judgments.
///
/// Numbers are trec_eval's unless `--compat` names another convention.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  samtone eval --model runs/first/model --data data/faq --split test --intervals
  samtone eval --run other.trec --qrels data/faq/qrels/test.tsv --metrics ndcg@10,mrr@10")]
#[command(group = clap::ArgGroup::new("what").required(true).args(["run", "model"]))]
pub(crate) struct Args {
    /// A run to score: a TREC file, or `-`, stdin.
    #[arg(long, value_name = "FILE", requires = "qrels")]
    run: Option<PathBuf>,
    /// The judgments: a TREC file or a BEIR table, or `-`, stdin.
    #[arg(long, value_name = "FILE", requires = "run")]
    qrels: Option<PathBuf>,
    /// A model to score: its folder, a run's, or its name in the Hugging Face cache.
    #[arg(long, value_name = "MODEL", requires = "data")]
    model: Option<PathBuf>,
    /// The data set to score the model on: a folder in BEIR layout, or `embedded`.
    #[arg(long, value_name = "FOLDER", requires = "model")]
    data: Option<PathBuf>,
    /// The split of the data set.
    #[arg(long, default_value = "test")]
    split: String,
    /// How many documents to find for each query; `mrr` and `map` see no more than these.
    #[arg(
        short,
        long,
        default_value_t = 100,
        value_name = "K",
        value_parser = at_least_one,
        conflicts_with = "run"
    )]
    k: usize,
    /// Search this index of the documents instead of embedding them: a folder that `samtone index` made
    /// one, or the collection that it put them into, `qdrant://HOST:PORT/COLLECTION` or `milvus://…`.
    #[arg(
        long,
        value_name = "FOLDER|URL",
        requires = "model",
        conflicts_with_all = ["run", "document_text", "similarity", "dims", "dtype", "rerank"]
    )]
    index: Option<Place>,
    /// Ask the index's graph, of which N documents or more are scored for each query, or as many as `-k`;
    /// a collection's is always asked, with 128 if absent.
    #[arg(long, value_name = "N", value_parser = at_least_one, requires = "index")]
    ef: Option<usize>,
    /// Let words count too: of a collection that has BM25 beside its vectors, the documents that stand
    /// before others in both rankings come first.
    #[arg(long, requires = "index")]
    hybrid: bool,
    /// What of a document the model reads; what the model's folder says, or `title-text`, if absent.
    #[arg(long, value_enum, conflicts_with = "run")]
    document_text: Option<TextChoice>,
    /// How embeddings are compared; as the model's folder says if absent.
    #[arg(long, value_enum, conflicts_with = "run")]
    similarity: Option<SimilarityChoice>,
    /// Never find the document that has the query's own id.
    #[arg(long, conflicts_with = "run")]
    drop_own: bool,
    #[command(flatten)]
    rerank: RerankArgs,
    /// Embed as many tokens at once as this many of the longest texts have: a run's `eval.batch_size`
    /// gives its numbers to the last digit.
    #[arg(
        long,
        default_value_t = BATCH_SIZE,
        value_name = "TEXTS",
        value_parser = at_least_one,
        conflicts_with = "run"
    )]
    batch_size: usize,
    /// Compare only the first N numbers of each embedding; several give a row each.
    #[arg(
        long,
        value_delimiter = ',',
        value_name = "N,…",
        value_parser = at_least_one,
        conflicts_with = "run"
    )]
    dims: Vec<usize>,
    /// Store the documents' numbers so before they are compared; several give a row each.
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        value_name = "DTYPE,…",
        default_value = "f32",
        conflicts_with = "run"
    )]
    dtype: Vec<DtypeChoice>,
    /// Of binary documents, score N times `-k` by the query's own numbers; 0: none.
    #[arg(long, value_name = "N", default_value_t = RESCORE, conflicts_with = "run")]
    rescore: usize,
    /// Also write what the model finds: a TREC run, `-` to stdout.
    #[arg(long, value_name = "FILE", requires = "model")]
    out: Option<PathBuf>,
    /// Also write the result as an MTEB JSON file, `-` to stdout.
    #[arg(long, value_name = "FILE")]
    mteb: Option<PathBuf>,
    #[command(flatten)]
    measure: MeasureArgs,
    /// What the model's layers compute in: the halves are less exact, and faster where the device
    /// multiplies them faster.
    #[arg(long, value_enum, default_value_t, conflicts_with = "run")]
    precision: PrecisionChoice,
    #[command(flatten)]
    device: DeviceArgs,
}

/// What is measured and how, for every command that scores a run.
#[derive(Debug, clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
pub(super) struct MeasureArgs {
    /// The metrics, as in `ndcg@10,mrr@10`; the names of trec_eval, ir_measures and ranx are read too.
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "ndcg@10,mrr@10,recall@100,map,p@1",
        value_name = "METRIC,…",
        value_parser = metric
    )]
    metrics: Vec<Metric>,
    /// Whose conventions to follow: trec9, trec10, beir, st, mteb or ranx.
    #[arg(long, default_value_t, value_name = "CONVENTION")]
    compat: Convention,
    /// Average over all judged queries, one without an answer counting 0 (trec_eval's `-c`).
    #[arg(long)]
    complete: bool,
    /// Print each query's values.
    #[arg(long)]
    per_query: bool,
    /// Print 95 % bootstrap intervals in JSON too; text always has them.
    #[arg(long)]
    intervals: bool,
    /// List the queries to which other conventions give other values, and the rules that are why.
    #[arg(long)]
    explain: bool,
}

/// A metric, or what is wrong with its name and which there are.
pub(super) fn metric(name: &str) -> Result<Metric, String> {
    name.parse().map_err(|error: EvalError| match error.hint() {
        Some(hint) => format!("{error}; {hint}"),
        None => error.to_string(),
    })
}

pub(crate) fn run(args: &Args, format: Format) -> anyhow::Result<()> {
    let start = Instant::now();
    let place = |path: &Option<PathBuf>| path.as_deref().map(Writable::prepare).transpose();
    let (out, mteb) = (place(&args.out)?, place(&args.mteb)?);
    if let (Some(run), Some(qrels)) = (&args.run, &args.qrels) {
        let (run, qrels) = (Readable::open(run)?, Readable::open(qrels)?);
        let (found, qrels) = std::thread::scope(|scope| {
            let qrels = scope.spawn(|| Qrels::read(qrels.path()));
            (Run::read(run.path()), qrels.join().expect("reading does not panic"))
        });
        let (qrels, found) = (qrels?, Found { run: found?, before: None });
        return report(args, start, &qrels, &found, None, mteb, format);
    }
    if args.dims.len().max(1) * args.dtype.len() == 1 {
        let (qrels, mut found) = search_model(args)?;
        let (_, found) = found.remove(0);
        return report(args, start, &qrels, &found, out, mteb, format);
    }
    let files = args.out.is_some() || args.mteb.is_some();
    if files || args.rerank.rerank.is_some() || args.measure.per_query || args.measure.explain {
        let message = "`--out`, `--mteb`, `--rerank`, `--per-query` and `--explain` are for one kind \
                       of embeddings";
        return Err(Usage::new(message).with_hint("give one of `--dims` and one `--dtype`").into());
    }
    let (qrels, found) = search_model(args)?;
    args.measure.print_kinds(&qrels, &found, format)
}

/// What is found for the queries.
struct Found {
    run: Run,
    /// As it was before `--rerank`.
    before: Option<Run>,
}

/// Writes and prints what was found.
fn report(
    args: &Args,
    start: Instant,
    qrels: &Qrels,
    Found { run, before }: &Found,
    out: Option<Writable>,
    mteb: Option<Writable>,
    format: Format,
) -> anyhow::Result<()> {
    // The numbers are printed whatever becomes of the files.
    let run_written = out.map_or(Ok(()), |out| trec::write(out, run, "samtone"));
    let evaluation = args.measure.evaluate(qrels, run)?;
    let before =
        before.as_ref().map(|run| evaluate_by(qrels, run, &args.measure.plan())).transpose()?;
    let seconds = start.elapsed().as_secs_f64();
    let mteb_written = mteb.map_or(Ok(()), |mteb| write_mteb(mteb, args, &evaluation, seconds));
    args.measure.print(qrels, run, &evaluation, before.as_ref(), format)?;
    run_written?;
    mteb_written
}

fn write_mteb(out: Writable, args: &Args, found: &Evaluation, seconds: f64) -> anyhow::Result<()> {
    let source = args.data.as_deref().or(args.qrels.as_deref()).unwrap_or(Path::new("run"));
    let task = source.file_stem().unwrap_or_default().to_string_lossy();
    let (split, languages) = (args.split.as_str(), &["eng-Latn"]);
    // Of the data no version is known but what it judges.
    let revision = format!("{:016x}", found.qrels());
    let json =
        MtebJson { evaluation: found, task: &task, revision: &revision, split, languages, seconds };
    let text = serde_json::to_string_pretty(&json).context("cannot write the result as JSON")?;
    samtone_files::replace(out.path(), (text + "\n").as_bytes())
        .with_context(|| format!("cannot write `{}`", out.path().display()))?;
    out.finish()
}

/// The judgments of the split, and what the model finds for its queries with each kind of embeddings.
fn search_model(args: &Args) -> anyhow::Result<(Qrels, Vec<(Kind, Found)>)> {
    let (data, model) =
        args.data.as_deref().zip(args.model.as_deref()).expect("clap asks for both");
    let dataset = load_data(data, &[&args.split])?;
    let split = JudgedSplit::new(&dataset, &args.split);
    args.measure.check_depth(args.k, dataset.documents().len())?;
    if args.out.is_some() {
        warn_of_ids(&split);
    }
    let found = args.device.backend.run(Search { args, model, split: &split })??;
    Ok((split.qrels()?, found))
}

/// What embeddings are compared as.
#[derive(Clone, Copy, Debug, Serialize)]
struct Kind {
    dims: usize,
    dtype: Dtype,
}

/// Says before the work that it may not end in a TREC file.
pub(super) fn warn_of_ids(split: &JudgedSplit<'_>) {
    let ids = split.query_ids().into_iter().chain(split.document_ids());
    if let Err(error) = trec::check_ids(ids) {
        warn(format_args!("{error}: numbers will be printed, no run is written that holds it"));
    }
}

struct Search<'a> {
    args: &'a Args,
    model: &'a Path,
    split: &'a JudgedSplit<'a>,
}

impl OnBackend for Search<'_> {
    type Output = anyhow::Result<Vec<(Kind, Found)>>;

    fn run<B: AutodiffBackend>(self, device: &B::Device) -> Self::Output {
        let Self { args, model, split } = self;
        let reranker = args.rerank.open::<B::InnerBackend>(device)?;
        let failed = || format!("cannot search with `{}`", model.display());
        let retriever = model_folder(model)
            .and_then(|folder| args.precision.open::<B::InnerBackend>(&folder, device))
            .with_context(failed)?;
        if let Some(index) = &args.index {
            let found = search_index(args, index, &retriever, split).with_context(failed)?;
            let kind = Kind { dims: retriever.dim(), dtype: Dtype::F32 };
            return Ok(vec![(kind, Found { run: found, before: None })]);
        }
        let wanted = match args.dims.as_slice() {
            [] => vec![retriever.dim()],
            some => {
                let wanted = some.iter().map(|&n| dims(Some(n), retriever.dim()));
                wanted.collect::<Result<Vec<_>, _>>().with_context(failed)?
            }
        };
        let similarity = similarity(args.similarity, &retriever);
        let text = document_text(args.document_text, &retriever);
        let embedded = embed(&retriever, split, text, args.batch_size).with_context(failed)?;
        let own = if args.drop_own { split.own_documents() } else { Vec::new() };
        let mut found = Vec::new();
        for dims in wanted {
            let cut = embedded.cut(dims, similarity);
            for dtype in args.dtype.iter().map(|&dtype| dtype.into()) {
                let hits = stored(&cut, dtype, similarity, args, &own).with_context(failed)?;
                let run = split.run(&hits)?;
                let now = match &reranker {
                    None => Found { run, before: None },
                    Some(reranker) => {
                        let queries = split.query_texts();
                        let documents: Vec<_> = split.document_texts(text).collect();
                        let hits = rerank(reranker, &queries, &documents, &hits)?;
                        Found { run: split.run(&hits)?, before: Some(run) }
                    }
                };
                found.push((Kind { dims, dtype }, now));
            }
        }
        Ok(found)
    }
}

/// What is found where the documents are stored as `dtype`.
fn stored(
    embedded: &Embedded,
    dtype: Dtype,
    similarity: Similarity,
    args: &Args,
    own: &[Option<usize>],
) -> Result<Vec<Vec<Hit>>, EvalError> {
    let Embedded { queries, documents, dim } = embedded;
    if dtype == Dtype::F32 {
        return embedded.search(similarity, args.k, own);
    }
    if dtype == Dtype::Binary {
        let stored = signs(documents, *dim);
        return top_k_signs(queries, &stored, *dim, args.k, args.rescore, similarity, own);
    }
    let ranges = Ranges::of(documents, *dim);
    let read = dtype.decode(&dtype.encode(documents, *dim, &ranges), *dim, &ranges);
    top_k_excluding(queries, &read, *dim, args.k, similarity, own)
}

/// The first of each query's hits in the order of their new scores, and those behind as they were, with
/// scores below.
fn rerank<B: Backend>(
    reranker: &Reranker<B>,
    queries: &[&str],
    documents: &[Cow<'_, str>],
    hits: &[Vec<Hit>],
) -> anyhow::Result<Vec<Vec<Hit>>> {
    /// Queries that are reordered at once.
    const STEP: usize = 16;
    let bar = Progress::new(queries.len() as u64, "reranked");
    let mut reranked = Vec::with_capacity(hits.len());
    for (queries, hits) in queries.chunks(STEP).zip(hits.chunks(STEP)) {
        let pairs: Vec<(&str, &str)> = queries
            .iter()
            .zip(hits)
            .flat_map(|(query, hits)| {
                hits.iter().take(reranker.top).map(move |hit| (*query, &*documents[hit.index]))
            })
            .collect();
        let mut scores = reranker.score(&pairs)?.into_iter();
        for hits in hits {
            let scores: Vec<f32> = scores.by_ref().take(hits.len().min(reranker.top)).collect();
            reranked.push(reordered(hits, &scores));
        }
        bar.inc(queries.len() as u64);
    }
    bar.finish_and_clear();
    Ok(reranked)
}

/// Hits in the order of new `scores`, those that have none behind them as they were; of equal scores the
/// earlier hit stays first.
fn reordered(hits: &[Hit], scores: &[f32]) -> Vec<Hit> {
    let (first, behind) = hits.split_at(scores.len());
    let rescored = |place: usize| Hit { score: scores[place], ..first[place] };
    let mut ranked: Vec<Hit> = order(scores).into_iter().map(rescored).collect();
    let lowest = ranked.last().map_or(0.0, |hit| hit.score);
    let below = (1..).map(|step| lowest - step as f32);
    ranked.extend(behind.iter().zip(below).map(|(hit, score)| Hit { score, ..*hit }));
    ranked
}

/// Each metric's 95 % bootstrap interval from 1,000 resamples of the queries.
pub(crate) fn intervals(found: &Evaluation) -> Vec<(f64, f64)> {
    found.intervals(1000, 0.95, 0)
}

/// Queries listed for each convention by `--explain` in text.
const LISTED: usize = 10;

/// One query on which two conventions differ.
#[derive(Serialize)]
struct Explained {
    metric: String,
    query: String,
    ours: Option<f64>,
    theirs: Option<f64>,
    rules: Vec<String>,
}

/// What `--format json` prints.
#[derive(Serialize)]
struct Printed<'a> {
    #[serde(flatten)]
    evaluation: EvaluationJson<'a>,
    compat: &'static str,
    /// The means before `--rerank`.
    #[serde(skip_serializing_if = "Option::is_none")]
    before_rerank: Option<serde_json::Map<String, serde_json::Value>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    explain: Option<serde_json::Map<String, serde_json::Value>>,
}

impl MeasureArgs {
    /// How `metric` is measured here.
    fn rules(&self, metric: Metric) -> Rules {
        let rules = self.compat.rules(metric);
        if self.complete { Rules { queries: Queries::Judged, ..rules } } else { rules }
    }

    /// Checks before a search that `k` of all `documents` are as many as every metric looks at.
    pub(super) fn check_depth(&self, k: usize, documents: usize) -> Result<(), Usage> {
        let deepest = self.metrics.iter().max_by_key(|metric| metric.cutoff());
        let Some((metric, cutoff)) = deepest.and_then(|metric| Some((metric, metric.cutoff()?)))
        else {
            return Ok(());
        };
        if k >= cutoff.min(documents) {
            return Ok(());
        }
        let message = format!("`{metric}` looks at {cutoff} documents a query, `-k` finds {k}");
        let hint = format!("give `-k {cutoff}`, or `--metrics` that look at no more than {k}");
        Err(Usage::new(message).with_hint(hint))
    }

    /// The metrics and how each is measured.
    fn plan(&self) -> Vec<(Metric, Rules)> {
        self.metrics.iter().map(|&metric| (metric, self.rules(metric))).collect()
    }

    /// Scores a run.
    pub(super) fn evaluate(&self, qrels: &Qrels, run: &Run) -> anyhow::Result<Evaluation> {
        let found = evaluate_by(qrels, run, &self.plan())?;
        if found.missing() > 0 {
            let counts = |&metric| self.rules(metric).queries == Queries::Judged;
            let fate = if self.metrics.iter().all(counts) {
                "and count 0"
            } else {
                "(`--complete` counts them 0)"
            };
            let missing = found.missing();
            say(format_args!("{missing} judged queries have no answer in the run {fate}"));
        }
        if found.unjudged() > 0 {
            say(format_args!(
                "{} queries of the run are not judged and do not count",
                found.unjudged()
            ));
        }
        Ok(found)
    }

    /// Prints an evaluation in the way asked for, beside the one `before` the run was reordered.
    pub(super) fn print(
        &self,
        qrels: &Qrels,
        run: &Run,
        found: &Evaluation,
        before: Option<&Evaluation>,
        format: Format,
    ) -> anyhow::Result<()> {
        let intervals = (self.intervals || format == Format::Text).then(|| intervals(found));
        let explained = self.explain.then(|| self.explain(qrels, run));
        let mut json = EvaluationJson::new(found, self.per_query);
        if let Some(intervals) = &intervals {
            json = json.with_intervals(intervals);
        }
        let explain = explained.as_ref().map(|explained| {
            explained
                .iter()
                .map(|(convention, list)| (convention.to_string(), serde_json::json!(list)))
                .collect()
        });
        let before_rerank = before.map(|before| {
            let names = before.metrics().iter().map(ToString::to_string);
            names.zip(before.means().iter().map(|mean| serde_json::json!(mean))).collect()
        });
        let compat = self.compat.name();
        let result = Printed { evaluation: json, compat, before_rerank, explain };
        format.print(&result, |_| {
            let mut text = self.text(found, before, intervals.as_deref().unwrap_or_default());
            for (convention, list) in explained.iter().flatten() {
                text.push_str(&self.explain_text(*convention, list));
            }
            text
        })
    }

    /// Prints what each kind of embeddings finds: a row each.
    fn print_kinds(
        &self,
        qrels: &Qrels,
        found: &[(Kind, Found)],
        format: Format,
    ) -> anyhow::Result<()> {
        #[derive(Serialize)]
        struct Row<'a> {
            #[serde(flatten)]
            kind: Kind,
            #[serde(flatten)]
            evaluation: EvaluationJson<'a>,
        }
        let evaluations =
            found.iter().map(|(kind, found)| Ok((*kind, self.evaluate(qrels, &found.run)?)));
        let evaluations: Vec<(Kind, Evaluation)> = evaluations.collect::<anyhow::Result<_>>()?;
        let intervals: Vec<_> =
            evaluations.iter().map(|(_, found)| self.intervals.then(|| intervals(found))).collect();
        let rows = evaluations.iter().zip(&intervals).map(|((kind, found), intervals)| {
            let evaluation = EvaluationJson::new(found, false);
            Row {
                kind: *kind,
                evaluation: match intervals {
                    Some(intervals) => evaluation.with_intervals(intervals),
                    None => evaluation,
                },
            }
        });
        let rows: Vec<Row<'_>> = rows.collect();
        format.print(&serde_json::json!({ "compat": self.compat.name(), "kinds": rows }), |_| {
            let names: Vec<String> = self.metrics.iter().map(ToString::to_string).collect();
            let header: Vec<&str> =
                ["dims", "dtype"].into_iter().chain(names.iter().map(String::as_str)).collect();
            let rows = evaluations.iter().map(|(kind, found)| {
                let means = found.means().iter().map(|mean| format!("{mean:.4}"));
                [kind.dims.to_string(), kind.dtype.to_string()].into_iter().chain(means).collect()
            });
            let mut text = table(&header, rows.collect::<Vec<Vec<String>>>());
            let queries = evaluations.first().map_or(0, |(_, found)| found.queries().len());
            let compat = self.compat;
            line(&mut text, format_args!("\n{queries} queries, by the conventions of {compat}"));
            text
        })
    }

    fn text(
        &self,
        found: &Evaluation,
        before: Option<&Evaluation>,
        intervals: &[(f64, f64)],
    ) -> String {
        let names: Vec<String> = found.metrics().iter().map(ToString::to_string).collect();
        let before = before.map(Evaluation::means);
        let header: &[&str] = match before {
            Some(_) => &["metric", "before", "reranked", "95 % interval"],
            None => &["metric", "mean", "95 % interval"],
        };
        let rows = names.iter().zip(found.means()).zip(intervals).enumerate();
        let rows = rows.map(|(at, ((name, mean), interval))| {
            let before = before.as_ref().map(|means| format!("{:.4}", means[at]));
            let interval = format!("{:.4} – {:.4}", interval.0, interval.1);
            let means = before.into_iter().chain([format!("{mean:.4}"), interval]);
            std::iter::once(name.clone()).chain(means).collect::<Vec<_>>()
        });
        let mut text = table(header, rows);
        let queries = found.queries().len();
        line(&mut text, format_args!("\n{queries} queries, by the conventions of {}", self.compat));
        if self.per_query {
            let header: Vec<&str> =
                std::iter::once("query").chain(names.iter().map(String::as_str)).collect();
            let rows = found.per_query().map(|(query, values)| {
                let values = values.iter().map(|value| number(*value));
                std::iter::once(query.to_owned()).chain(values).collect::<Vec<_>>()
            });
            text.push_str(&table(&header, rows));
            text.push('\n');
        }
        text
    }

    /// For each other convention, the queries on which it differs.
    fn explain(&self, qrels: &Qrels, run: &Run) -> Vec<(Convention, Vec<Explained>)> {
        let others = Convention::ALL.into_iter().filter(|&other| other != self.compat);
        others
            .map(|other| {
                let plan: Vec<_> = self
                    .metrics
                    .iter()
                    .map(|&metric| (metric, self.rules(metric), other.rules(metric)))
                    .collect();
                let list = explain(qrels, run, &plan).into_iter().map(|difference| {
                    let ours = self.rules(difference.metric);
                    let theirs = other.rules(difference.metric);
                    let why = |rule: samtone_eval::Rule| {
                        let (ours, theirs) = (rule.describe(ours), rule.describe(theirs));
                        format!("{theirs} ({}: {ours})", self.compat)
                    };
                    Explained {
                        metric: difference.metric.to_string(),
                        query: difference.query,
                        ours: difference.first,
                        theirs: difference.second,
                        rules: difference.rules.into_iter().map(why).collect(),
                    }
                });
                (other, list.collect())
            })
            .collect()
    }

    fn explain_text(&self, convention: Convention, list: &[Explained]) -> String {
        if list.is_empty() {
            return format!("\n{convention}: the same as {} for every query\n", self.compat);
        }
        let mut text = String::new();
        let count = list.len();
        let values = if count == 1 { "value" } else { "values" };
        line(
            &mut text,
            format_args!("\n{convention} differs from {} in {count} {values}", self.compat),
        );
        for one in list.iter().take(LISTED) {
            let (ours, theirs) = (number(one.ours), number(one.theirs));
            let (metric, query, why) = (&one.metric, &one.query, one.rules.join("; "));
            line(&mut text, format_args!("  {metric} of `{query}`: {ours} → {theirs}: {why}"));
        }
        if count > LISTED {
            line(&mut text, format_args!("  … and {} more", count - LISTED));
        }
        text
    }
}

/// Appends a line.
pub(super) fn line(text: &mut String, words: fmt::Arguments<'_>) {
    fmt::Write::write_fmt(text, words).expect("a string takes anything");
    text.push('\n');
}

/// A value with four digits, or a dash where the query does not count.
fn number(value: Option<f64>) -> String {
    value.map_or_else(|| "–".into(), |value| format!("{value:.4}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_reranked_stays_behind_what_is() {
        let hit = |(index, score)| Hit { index, score };
        let hits = [(7, 0.9), (3, 0.8), (5, 0.7), (1, 0.6), (2, 0.5)].map(hit);
        for (scores, expected) in [
            (&[-3.0, 2.0, 2.0][..], [(3, 2.0), (5, 2.0), (7, -3.0), (1, -4.0), (2, -5.0)]),
            (&[1.0][..], [(7, 1.0), (3, 0.0), (5, -1.0), (1, -2.0), (2, -3.0)]),
            (&[1.0, 2.0, 3.0, 4.0, 5.0][..], [(2, 5.0), (1, 4.0), (5, 3.0), (3, 2.0), (7, 1.0)]),
        ] {
            assert_eq!(reordered(&hits, scores), expected.map(hit));
        }
        assert!(reordered(&[], &[]).is_empty());
    }
}
