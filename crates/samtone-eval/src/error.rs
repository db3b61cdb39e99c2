//! What can be wrong with runs, judgments and requests.

use std::path::PathBuf;

/// A mistake in a run, in judgments, in embeddings or in what was asked of them.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EvalError {
    /// A file could not be read.
    #[error("cannot read `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file could not be written.
    #[error("cannot write `{}`", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file is compressed.
    #[error("`{}` is compressed with {compression}", path.display())]
    Compressed {
        /// The file.
        path: PathBuf,
        /// The program that unpacks it.
        compression: &'static str,
    },
    /// A line holds bytes that are not UTF-8.
    #[error("`{}`, line {line}: not UTF-8", path.display())]
    Utf8 {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
    },
    /// A line has too few or too many columns.
    #[error("`{}`, line {line}: expected {expected}, got {got} columns", path.display())]
    Columns {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// The columns' names.
        expected: &'static str,
        /// How many columns there are.
        got: usize,
    },
    /// A grade is not a whole number.
    #[error("`{}`, line {line}: expected a whole number as the grade, got `{got}`", path.display())]
    Grade {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// What stands there.
        got: String,
    },
    /// A score is not a number.
    #[error("`{}`, line {line}: expected a number as the score, got `{got}`", path.display())]
    Score {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// What stands there.
        got: String,
    },
    /// A file names the same document twice for one query.
    #[error(
        "`{}`, line {line}: document `{document}` appears twice for query `{query}`, \
         first on line {first}",
        path.display()
    )]
    DuplicateLine {
        /// The file.
        path: PathBuf,
        /// The second line, counted from 1.
        line: usize,
        /// The first line, counted from 1.
        first: usize,
        /// The query's id.
        query: String,
        /// The document's id.
        document: String,
    },
    /// A file is no index of BM25, or one of another version or of another kind of machine.
    #[error("`{}` is no BM25 index of this version", path.display())]
    NoIndex {
        /// The file.
        path: PathBuf,
    },
    /// An index does not have the checksum that it ends with.
    #[error("the index `{}` is not whole", path.display())]
    TornIndex {
        /// The file.
        path: PathBuf,
    },
    /// An index was built of other texts.
    #[error("`{}` is an index of other documents", path.display())]
    OtherDocuments {
        /// The file.
        path: PathBuf,
    },
    /// An index was built with other settings.
    #[error("`{}` is an index with {kept}; asked for are {asked}", path.display())]
    OtherSettings {
        /// The file.
        path: PathBuf,
        /// Its settings.
        kept: String,
        /// The settings asked for.
        asked: String,
    },
    /// The same document was given twice for one query.
    #[error("document `{document}` appears twice for query `{query}`")]
    Duplicate {
        /// The query's id.
        query: String,
        /// The document's id.
        document: String,
    },
    /// A score given in memory is NaN.
    #[error("the score of document `{document}` for query `{query}` is not a number")]
    NanScore {
        /// The query's id.
        query: String,
        /// The document's id.
        document: String,
    },
    /// An id cannot stand in a file whose columns are separated by white space.
    #[error("the id `{id}` is empty or holds white space and cannot stand in a TREC file")]
    UnwritableId {
        /// The id.
        id: String,
    },
    /// A metric's name is unknown.
    #[error("unknown metric `{got}`")]
    UnknownMetric {
        /// The name as given.
        got: String,
    },
    /// A metric's cutoff is not a positive whole number.
    #[error("metric `{got}`: expected a cutoff of at least 1 after `@`")]
    Cutoff {
        /// The name as given.
        got: String,
    },
    /// A metric is only defined with a cutoff.
    #[error("metric `{got}` needs a cutoff")]
    CutoffNeeded {
        /// The name as given.
        got: String,
    },
    /// A metric takes no such cutoff or parameter.
    #[error("metric `{got}`: `{parameter}` has no meaning here")]
    Parameter {
        /// The name as given.
        got: String,
        /// The part that has no meaning.
        parameter: String,
    },
    /// A convention's name is unknown.
    #[error("unknown convention `{got}`, expected one of trec9, trec10, beir, st, mteb, ranx")]
    UnknownConvention {
        /// The name as given.
        got: String,
    },
    /// There are no judgments to score against.
    #[error("there are no judgments")]
    NoJudgments,
    /// A run without any document, where only the queries that it answers count.
    #[error("the run is empty: nothing is found for any of the {judged} judged queries")]
    EmptyRun {
        /// Queries in the judgments.
        judged: usize,
    },
    /// No query is both judged and answered, so there is nothing to average.
    #[error("none of the run's {run} queries is among the {judged} judged ones")]
    NoCommonQueries {
        /// Queries in the run.
        run: usize,
        /// Queries in the judgments.
        judged: usize,
    },
    /// No query counts for a metric, so there is nothing to average.
    #[error("no query counts for `{metric}`: none has a relevant document")]
    NothingToAverage {
        /// The metric.
        metric: String,
    },
    /// An evaluation lacks a metric that was asked for.
    #[error("`{metric}` was not evaluated, only {known}")]
    NotEvaluated {
        /// The metric.
        metric: String,
        /// The metrics that were.
        known: String,
    },
    /// A file is not an evaluation as `samtone eval --per-query --format json` prints it.
    #[error("`{}` is no evaluation with values for each query", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// Fewer than two evaluations, or none that share a metric.
    #[error("nothing to compare: expected two evaluations or more that share a metric")]
    NothingToCompare,
    /// Evaluations over different judgments.
    #[error("`{first}` and `{second}` are scored against different judgments")]
    QrelsDiffer {
        /// The baseline's name.
        first: String,
        /// The other's name.
        second: String,
    },
    /// Evaluations in which different queries count.
    #[error("different queries count for {metric} in `{first}` and in `{second}`")]
    QueriesDiffer {
        /// The baseline's name.
        first: String,
        /// The other's name.
        second: String,
        /// The metric.
        metric: String,
    },
    /// A score of two embeddings is beyond the greatest number, though their own numbers are finite.
    #[error("the score of query {query} and document {document} overflows")]
    Overflow {
        /// The query's row, counted from 0.
        query: usize,
        /// The document's row, counted from 0.
        document: usize,
    },
    /// An embedding holds a NaN or an infinity.
    #[error("{side} {row} holds a number that is not finite")]
    NotFinite {
        /// `query` or `document`.
        side: &'static str,
        /// The row, counted from 0.
        row: usize,
    },
}

impl EvalError {
    /// What the user could do about it, where that is known.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Columns { .. } => Some(
                "a run has the columns `query Q0 document rank score tag`, judgments \
                 `query 0 document grade`, BEIR judgments `query document grade` after a header"
                    .into(),
            ),
            Self::Compressed { compression, .. } => Some(format!(
                "runs and judgments are plain text: unpack the file first, with `{compression} -d`"
            )),
            Self::NoIndex { .. } => Some("name a file that is not there yet".into()),
            Self::TornIndex { .. } => Some("delete it: it is built again".into()),
            Self::OtherDocuments { .. } | Self::OtherSettings { .. } => {
                Some("name another file, or delete this one: it is built again".into())
            }
            Self::Utf8 { .. } => Some("runs and judgments are plain text, in UTF-8".into()),
            Self::EmptyRun { .. } => Some(
                "are the queries stop words alone, or the documents empty? where every judged query \
                 counts, one without an answer counts 0"
                    .into(),
            ),
            Self::Overflow { .. } => {
                Some("scale the embeddings down, or compare them by cosine".into())
            }
            Self::Grade { .. } => Some("grades are whole numbers such as 0, 1 or 2".into()),
            Self::DuplicateLine { .. } => {
                Some("keep the higher-scored line for each document".into())
            }
            Self::UnwritableId { .. } => Some(
                "`samtone import beir` with `--rename-ids` gives a folder ids that can stand there"
                    .into(),
            ),
            Self::UnknownMetric { .. } => Some(
                "known are ndcg, ndcg_exp, mrr, map, recall, p, success, r_precision, bpref, \
                 judged and holes, with a cutoff such as `ndcg@10`"
                    .into(),
            ),
            Self::CutoffNeeded { got } => Some(format!("write for example `{got}@10`")),
            Self::NoCommonQueries { .. } => {
                Some("check that both files belong to the same data set and split".into())
            }
            Self::QueriesDiffer { .. } => {
                Some("let every judged query count, one without an answer as 0".into())
            }
            Self::QrelsDiffer { .. } => {
                Some("score both runs against the same file of judgments".into())
            }
            _ => None,
        }
    }
}

/// The crate's result.
pub type Result<T, E = EvalError> = std::result::Result<T, E>;
