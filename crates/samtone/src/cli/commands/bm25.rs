//! `samtone bm25`.

use std::path::{Path, PathBuf};

use samtone_eval::bm25::{Analyzer, Bm25Config, StopWords};
use samtone_train::run::{JudgedSplit, load_data};

use super::eval::{MeasureArgs, warn_of_ids};
use super::reading::TextChoice;
use super::{at_least_one, trec};
use crate::error::{Failure, Usage};
use crate::output::Format;
use crate::stream::Writable;

/// Search a data set with BM25, the lexical baseline, and score the result.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  samtone bm25 --data data/faq --split test
  samtone bm25 --data data/faq --split test --stem -k 1000 --out bm25.trec
  samtone bm25 --data data/faq --split dev --index faq.bm25")]
pub(crate) struct Args {
    /// The data set: a folder in BEIR layout, or `embedded`.
    #[arg(long, value_name = "FOLDER")]
    data: PathBuf,
    /// The split whose queries are searched.
    #[arg(long, default_value = "test")]
    split: String,
    /// How late further occurrences of a term stop counting.
    #[arg(long, default_value_t = 0.9, value_parser = at_least_zero, allow_negative_numbers = true)]
    k1: f32,
    /// How much a document's length counts, from 0 to 1.
    #[arg(long, default_value_t = 0.4, value_parser = share, allow_negative_numbers = true)]
    b: f32,
    /// How many documents to find for each query.
    #[arg(short, long, default_value_t = 100, value_name = "K", value_parser = at_least_one)]
    k: usize,
    /// What of a document is indexed.
    #[arg(long, value_enum, default_value_t)]
    document_text: TextChoice,
    /// Words left out.
    #[arg(long, value_enum, default_value_t)]
    stop_words: StopWordChoice,
    /// Cut words to their English stems.
    #[arg(long)]
    stem: bool,
    /// Let a term count as often as the query has it, as Lucene does.
    #[arg(long)]
    count_query_terms: bool,
    /// Keep the index in this file, and read it from there if it is there; one of other documents or
    /// settings is refused.
    #[arg(long, value_name = "FILE")]
    index: Option<PathBuf>,
    /// Write what is found: a TREC run, `-` to stdout.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    #[command(flatten)]
    measure: MeasureArgs,
}

/// `--stop-words`.
#[derive(Clone, Copy, Debug, Default, clap::ValueEnum)]
enum StopWordChoice {
    /// Lucene's, and those that make a question.
    #[default]
    Question,
    /// Lucene's 33.
    Lucene,
    /// None.
    None,
}

impl From<StopWordChoice> for StopWords {
    fn from(choice: StopWordChoice) -> Self {
        match choice {
            StopWordChoice::Question => Self::Question,
            StopWordChoice::Lucene => Self::Lucene,
            StopWordChoice::None => Self::None,
        }
    }
}

/// Reads k1.
pub(super) fn at_least_zero(text: &str) -> Result<f32, &'static str> {
    let number = text.parse().ok().filter(|&number: &f32| number >= 0.0 && number.is_finite());
    number.ok_or("expected a number of at least 0")
}

/// Reads b.
pub(super) fn share(text: &str) -> Result<f32, &'static str> {
    let number = text.parse().ok().filter(|number| (0.0..=1.0).contains(number));
    number.ok_or("expected a number from 0 to 1")
}

/// Refuses to keep the index where what is found is written.
pub(super) fn apart(index: Option<&Path>, out: Option<&Path>) -> Result<(), Usage> {
    let absolute = |path: Option<&Path>| path.and_then(|path| std::path::absolute(path).ok());
    match (absolute(index), absolute(out)) {
        (Some(index), Some(out)) if index == out => {
            Err(Usage::new("`--index` and `--out` are the same file"))
        }
        _ => Ok(()),
    }
}

pub(crate) fn run(args: &Args, format: Format) -> anyhow::Result<()> {
    apart(args.index.as_deref(), args.out.as_deref())?;
    let out = args.out.as_deref().map(Writable::prepare).transpose()?;
    let dataset = load_data(&args.data, &[&args.split])?;
    let split = JudgedSplit::new(&dataset, &args.split);
    args.measure.check_depth(args.k, dataset.documents().len())?;
    if out.is_some() {
        warn_of_ids(&split);
    }
    let analyzer = Analyzer::new(args.stop_words.into(), args.stem);
    let config = Bm25Config { k1: args.k1, b: args.b, count_query_terms: args.count_query_terms };
    let text = args.document_text.into();
    let hits = match &args.index {
        None => split.bm25(text, analyzer, config, args.k),
        Some(index) => split.bm25_kept(index, text, analyzer, config, args.k)?,
    };
    if hits.iter().all(Vec::is_empty) {
        let queries = hits.len();
        let message = format!("none of the {queries} judged queries shares a word with a document");
        let hint = "is it all stop words? `--stop-words none` searches for them too";
        return Err(Failure::new(message, hint).into());
    }
    let (qrels, found) = (split.qrels()?, split.run(&hits)?);
    // The numbers are printed whatever becomes of the file.
    let written = out.map_or(Ok(()), |out| trec::write(out, &found, "bm25"));
    let evaluation = args.measure.evaluate(&qrels, &found)?;
    args.measure.print(&qrels, &found, &evaluation, None, format)?;
    written
}
