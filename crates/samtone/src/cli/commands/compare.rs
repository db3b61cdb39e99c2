//! `samtone compare`.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use samtone_data::reading::{BeirFolder, for_each_query};
use samtone_eval::significance::{Change, CompareConfig, Comparison, Style, compare};
use samtone_eval::{Convention, Evaluation, Metric, Qrels, Queries, Rules, Run, evaluate_by};
use samtone_train::config::EMBEDDED;
use samtone_train::run::{evaluation_path, load_data};

use super::at_least_one;
use super::eval::{line, metric};
use crate::error::{Failure, Usage};
use crate::output::Format;
use crate::stream::Readable;

/// Compare runs with the first of them: is the difference more than chance?
///
/// Paired randomisation test, bootstrap interval of the difference, p-values after Holm's correction
/// over all runs and metrics, paired effect size, and the queries that changed most.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  samtone compare runs/first runs/second
  samtone compare bm25.trec dense.trec --qrels data/faq/qrels/test.tsv --metrics ndcg@10")]
pub(crate) struct Args {
    /// Run folders of `samtone train`, what `samtone eval --per-query --format json` prints, or, with
    /// `--qrels`, TREC runs, `-` on stdin. The first is the baseline.
    #[arg(required = true, num_args = 2.., value_name = "RUN")]
    runs: Vec<PathBuf>,
    /// What of run folders to compare: `test`, `dev`, `bm25` or `zero-shot/NAME`.
    #[arg(long, default_value = "test", value_name = "SET")]
    on: String,
    /// Judgments to score TREC runs against.
    #[arg(long, value_name = "FILE")]
    qrels: Option<PathBuf>,
    /// The metrics; ndcg@10, mrr@10 and recall@100 of TREC runs if absent, else all that are there.
    #[arg(long, value_delimiter = ',', value_name = "METRIC,…", value_parser = metric)]
    metrics: Vec<Metric>,
    /// Whose conventions to follow with TREC runs; all judged queries count in any case.
    #[arg(long, default_value_t, value_name = "CONVENTION", requires = "qrels")]
    compat: Convention,
    /// Random sign patterns, and resamples of the queries.
    #[arg(long, default_value_t = 10_000, value_parser = at_least_one)]
    samples: usize,
    /// How many of the queries that changed most to list.
    #[arg(long, default_value_t = 5)]
    changes: usize,
    /// Give the texts of these queries beside their ids: the data set they are of, a folder in BEIR
    /// layout or `embedded`.
    #[arg(long, value_name = "FOLDER")]
    data: Option<PathBuf>,
    /// Where the randomness starts.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// How the table is written in text.
    #[arg(long, value_enum, default_value_t)]
    table: TableChoice,
}

/// `--table`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
enum TableChoice {
    /// For a terminal, with the largest changes below.
    #[default]
    Text,
    /// A Markdown table.
    Markdown,
    /// A LaTeX `tabular`.
    Latex,
}

pub(crate) fn run(args: &Args, format: Format) -> anyhow::Result<()> {
    let read_qrels = |path: &PathBuf| anyhow::Ok(Qrels::read(Readable::open(path)?.path())?);
    let qrels = args.qrels.as_ref().map(read_qrels).transpose()?;
    let metrics = match args.metrics.as_slice() {
        [] => &[Metric::NDCG_10, Metric::MRR_10, Metric::RECALL_100],
        metrics => metrics,
    };
    let plan: Vec<(Metric, Rules)> = metrics
        .iter()
        .map(|&metric| (metric, Rules { queries: Queries::Judged, ..args.compat.rules(metric) }))
        .collect();
    let evaluations: Vec<(String, Evaluation)> = args
        .runs
        .iter()
        .map(|path| {
            let found = match &qrels {
                Some(qrels) => {
                    evaluate_by(qrels, &Run::read(Readable::open(path)?.path())?, &plan)?
                }
                None if args.metrics.is_empty() => read_evaluation(path, &args.on)?,
                None => read_evaluation(path, &args.on)?.select(metrics)?,
            };
            Ok((path.display().to_string(), found))
        })
        .collect::<anyhow::Result<_>>()?;
    let named: Vec<(&str, &Evaluation)> =
        evaluations.iter().map(|(name, found)| (name.as_str(), found)).collect();
    let config = CompareConfig {
        samples: args.samples,
        changes: args.changes,
        seed: args.seed,
        ..CompareConfig::default()
    };
    let found = compare(&named, &config)?;
    let texts = args.data.as_deref().map(|data| texts(data, &found)).transpose()?;
    format.print(&found, |found| match args.table {
        TableChoice::Text => found.render(Style::Text) + &changes(found, texts.as_ref()),
        TableChoice::Markdown => found.render(Style::Markdown),
        TableChoice::Latex => found.render(Style::Latex),
    })
}

/// An evaluation's file, or that of `set` in a run folder.
fn read_evaluation(path: &Path, set: &str) -> anyhow::Result<Evaluation> {
    if path.is_dir() {
        let file = evaluation_path(path, set);
        if !file.is_file() {
            let file = file.strip_prefix(path).unwrap_or(&file);
            let message = format!("`{}` holds no `{}`", path.display(), file.display());
            let hint = "`--on` names one of the sets in a run folder's `evaluations`";
            return Err(Usage::new(message).with_hint(hint).into());
        }
        return Ok(Evaluation::read(file)?);
    }
    if path.extension().is_none_or(|extension| extension != "json") {
        let message = format!("`{}` is a run without judgments", path.display());
        return Err(Usage::new(message).with_hint("name them with `--qrels`").into());
    }
    Ok(Evaluation::read(path)?)
}

/// The texts of the queries that changed most, by id.
fn texts(data: &Path, found: &Comparison) -> anyhow::Result<HashMap<String, String>> {
    let changes = found.rows.iter().flat_map(|row| &row.changes);
    let wanted: HashSet<&str> = changes.map(|change| change.query.as_str()).collect();
    let mut texts = HashMap::new();
    let mut take = |id: &str, text: &str| {
        if wanted.contains(id) {
            texts.insert(id.to_owned(), text.to_owned());
        }
    };
    if data == Path::new(EMBEDDED) {
        load_data(data, &[])?.queries().iter().for_each(|query| take(&query.id, &query.text));
    } else {
        for_each_query(BeirFolder::open(data)?.queries(), |query, _| {
            take(&query.id, &query.text);
            Ok(())
        })?;
    }
    if let Some(id) = wanted.iter().find(|&&id| !texts.contains_key(id)) {
        let message = format!("`{}` has no query `{id}`", data.display());
        return Err(Failure::new(message, "`--data` is what the runs were judged on").into());
    }
    Ok(texts)
}

/// The queries that changed most, run by run and metric by metric, with their `texts`.
fn changes(found: &Comparison, texts: Option<&HashMap<String, String>>) -> String {
    let more = if texts.is_some() { "" } else { " (`--data` gives their texts)" };
    let mut text = format!("\n{} queries; the largest changes{more}:\n", found.queries);
    for row in &found.rows {
        for change in &row.changes {
            let Change { query, baseline, other } = change;
            let (metric, run) = (&row.metric, &row.run);
            let words = texts.and_then(|texts| texts.get(query));
            let words = words.map_or_else(String::new, |words| format!("  {words}"));
            line(
                &mut text,
                format_args!("  {metric} of `{query}` in {run}: {baseline:.4} → {other:.4}{words}"),
            );
        }
    }
    text
}
