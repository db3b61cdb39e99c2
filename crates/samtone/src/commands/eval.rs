//! `samtone eval`.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Context;
use burn::tensor::backend::{AutodiffBackend, Backend};
use samtone_data::{Dataset, DocumentText};
use samtone_eval::search::top_k_excluding;
use samtone_eval::{
    Convention, EvalError, Evaluation, EvaluationJson, Hit, Metric, MtebJson, Qrels, Queries,
    Rules, Run, Similarity, evaluate_by, explain,
};
use samtone_model::{Retriever, Side};
use serde::Serialize;

use crate::device::{DeviceArgs, Task};
use crate::output::{Format, progress, table};

/// Score a model on a data set, or a run against judgments.
///
/// Numbers are trec_eval's unless `--compat` names another convention.
#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("what").required(true).args(["run", "model"]))]
pub(crate) struct Args {
    /// A run to score: a TREC file.
    #[arg(long, value_name = "FILE", requires = "qrels")]
    run: Option<PathBuf>,
    /// The judgments: a TREC file or a BEIR table.
    #[arg(long, value_name = "FILE", requires = "run")]
    qrels: Option<PathBuf>,
    /// A model to score: its folder.
    #[arg(long, value_name = "FOLDER", requires = "data")]
    model: Option<PathBuf>,
    /// The data set to score the model on: a folder in BEIR layout.
    #[arg(long, value_name = "FOLDER", requires = "model")]
    data: Option<PathBuf>,
    /// The split of the data set.
    #[arg(long, default_value = "test")]
    split: String,
    /// How many documents to find for each query; `mrr` and `recall` see no more than these.
    #[arg(short, long, default_value_t = 100, value_name = "K")]
    k: usize,
    /// What of a document the model reads.
    #[arg(long, value_enum, default_value_t)]
    document_text: TextChoice,
    /// How embeddings are compared.
    #[arg(long, value_enum, default_value_t)]
    similarity: SimilarityChoice,
    /// Never find the document that has the query's own id.
    #[arg(long)]
    drop_own: bool,
    /// Also write what the model finds: a TREC run.
    #[arg(long, value_name = "FILE", requires = "model")]
    out: Option<PathBuf>,
    /// Also write the result as an MTEB JSON file.
    #[arg(long, value_name = "FILE")]
    mteb: Option<PathBuf>,
    #[command(flatten)]
    measure: MeasureArgs,
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
pub(super) fn metric(name: &str) -> std::result::Result<Metric, String> {
    name.parse().map_err(|error: EvalError| match error.hint() {
        Some(hint) => format!("{error}; {hint}"),
        None => error.to_string(),
    })
}

/// `--document-text`.
#[derive(Clone, Copy, Debug, Default, clap::ValueEnum)]
pub(super) enum TextChoice {
    /// Title, a space, text.
    #[default]
    TitleText,
    /// The text alone.
    Text,
}

impl From<TextChoice> for DocumentText {
    fn from(choice: TextChoice) -> Self {
        match choice {
            TextChoice::TitleText => Self::TitleText,
            TextChoice::Text => Self::Text,
        }
    }
}

/// `--similarity`.
#[derive(Clone, Copy, Debug, Default, clap::ValueEnum)]
pub(super) enum SimilarityChoice {
    /// The dot product of the embeddings over their lengths.
    #[default]
    Cosine,
    /// The dot product.
    Dot,
}

impl From<SimilarityChoice> for Similarity {
    fn from(choice: SimilarityChoice) -> Self {
        match choice {
            SimilarityChoice::Cosine => Self::Cosine,
            SimilarityChoice::Dot => Self::Dot,
        }
    }
}

pub(crate) fn run(args: &Args, format: Format) -> anyhow::Result<()> {
    let start = Instant::now();
    let (qrels, found) = if let (Some(run), Some(qrels)) = (&args.run, &args.qrels) {
        let (found, qrels) = std::thread::scope(|scope| {
            let qrels = scope.spawn(|| Qrels::read(qrels));
            (Run::read(run), qrels.join().expect("reading does not panic"))
        });
        (qrels?, found?)
    } else {
        search_model(args)?
    };
    if let Some(path) = &args.out {
        found.write(path, "samtone")?;
    }
    let evaluation = args.measure.evaluate(&qrels, &found)?;
    if let Some(path) = &args.mteb {
        let seconds = start.elapsed().as_secs_f64();
        write_mteb(path, args, &evaluation, seconds)?;
    }
    args.measure.print(&qrels, &found, &evaluation, format)
}

fn write_mteb(path: &Path, args: &Args, found: &Evaluation, seconds: f64) -> anyhow::Result<()> {
    let source = args.data.as_deref().or(args.qrels.as_deref()).unwrap_or(Path::new("run"));
    let task = source.file_stem().unwrap_or_default().to_string_lossy();
    let (split, languages) = (args.split.as_str(), &["eng-Latn"]);
    // Of the data no version is known but what it judges.
    let revision = format!("{:016x}", found.qrels());
    let json =
        MtebJson { evaluation: found, task: &task, revision: &revision, split, languages, seconds };
    let text = serde_json::to_string_pretty(&json).context("cannot write the result as JSON")?;
    std::fs::write(path, text + "\n").with_context(|| format!("cannot write `{}`", path.display()))
}

/// The judgments of the split, and what the model finds for its queries.
fn search_model(args: &Args) -> anyhow::Result<(Qrels, Run)> {
    let (data, model) =
        args.data.as_deref().zip(args.model.as_deref()).expect("clap asks for both");
    let dataset = Dataset::load(data, &[&args.split])?;
    let qrels = Qrels::new(dataset.qrels(&args.split))?;
    let queries: Vec<&samtone_data::Query> = dataset
        .queries()
        .iter()
        .filter(|query| qrels.documents(&query.id).next().is_some())
        .collect();
    let work = Search { args, model, dataset: &dataset, queries: &queries };
    let hits = args
        .device
        .backend
        .run(work)?
        .with_context(|| format!("cannot search with `{}`", model.display()))?;
    let queries: Vec<&str> = queries.iter().map(|query| query.id.as_str()).collect();
    let documents: Vec<&str> =
        dataset.documents().iter().map(|document| document.id.as_str()).collect();
    Ok((qrels, Run::from_hits(&queries, &documents, &hits)?))
}

struct Search<'a> {
    args: &'a Args,
    model: &'a Path,
    dataset: &'a Dataset,
    queries: &'a [&'a samtone_data::Query],
}

impl Task for Search<'_> {
    type Output = anyhow::Result<Vec<Vec<Hit>>>;

    fn run<B: AutodiffBackend>(self, device: &B::Device) -> Self::Output {
        let retriever = Retriever::<B::InnerBackend>::open(self.model, device)?;
        let texts: Vec<&str> = self.queries.iter().map(|query| query.text.as_str()).collect();
        let queries = embed(&retriever, Side::Query, &texts, "queries")?;
        let mode = self.args.document_text.into();
        let texts: Vec<_> =
            self.dataset.documents().iter().map(|document| document.passage(mode)).collect();
        let documents = embed(&retriever, Side::Document, &texts, "documents")?;
        let own: Vec<Option<usize>> = if self.args.drop_own {
            self.queries.iter().map(|query| self.dataset.document_index(&query.id)).collect()
        } else {
            Vec::new()
        };
        let (dim, similarity) = (retriever.dim(), self.args.similarity.into());
        Ok(top_k_excluding(&queries, &documents, dim, self.args.k, similarity, &own)?)
    }
}

/// Embeds texts with a progress bar.
pub(super) fn embed<B: Backend, S: AsRef<str> + Sync>(
    retriever: &Retriever<B>,
    side: Side,
    texts: &[S],
    what: &'static str,
) -> anyhow::Result<Vec<f32>> {
    /// Texts between two steps of the bar: enough to sort by length to good effect.
    const CHUNK: usize = 2048;
    let bar = progress(texts.len() as u64, what);
    let mut rows = Vec::with_capacity(texts.len() * retriever.dim());
    for chunk in texts.chunks(CHUNK) {
        rows.extend(retriever.encode_texts(side, chunk)?);
        bar.inc(chunk.len() as u64);
    }
    bar.finish_and_clear();
    Ok(rows)
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
struct Result<'a> {
    #[serde(flatten)]
    evaluation: EvaluationJson<'a>,
    compat: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    explain: Option<serde_json::Map<String, serde_json::Value>>,
}

impl MeasureArgs {
    /// How `metric` is measured here.
    fn rules(&self, metric: Metric) -> Rules {
        let rules = self.compat.rules(metric);
        if self.complete { Rules { queries: Queries::Judged, ..rules } } else { rules }
    }

    /// Scores a run.
    pub(super) fn evaluate(&self, qrels: &Qrels, run: &Run) -> anyhow::Result<Evaluation> {
        let plan: Vec<(Metric, Rules)> =
            self.metrics.iter().map(|&metric| (metric, self.rules(metric))).collect();
        let found = evaluate_by(qrels, run, &plan)?;
        if found.missing() > 0 {
            eprintln!("{} judged queries have no answer in the run", found.missing());
        }
        if found.unjudged() > 0 {
            eprintln!("{} queries of the run are not judged and do not count", found.unjudged());
        }
        Ok(found)
    }

    /// Prints an evaluation in the way asked for.
    pub(super) fn print(
        &self,
        qrels: &Qrels,
        run: &Run,
        found: &Evaluation,
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
        let result = Result { evaluation: json, compat: self.compat.name(), explain };
        format.print(&result, |_| {
            let mut text = self.text(found, intervals.as_deref().unwrap_or_default());
            for (convention, list) in explained.iter().flatten() {
                text.push_str(&self.explain_text(*convention, list));
            }
            text
        })
    }

    fn text(&self, found: &Evaluation, intervals: &[(f64, f64)]) -> String {
        let names: Vec<String> = found.metrics().iter().map(ToString::to_string).collect();
        let rows =
            names.iter().zip(found.means()).zip(intervals).map(|((name, mean), interval)| {
                [
                    name.clone(),
                    format!("{mean:.4}"),
                    format!("{:.4} – {:.4}", interval.0, interval.1),
                ]
            });
        let mut text = table(&["metric", "mean", "95 % interval"], rows);
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
