//! What is imported and how, and what came of it.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use serde::Serialize;

use super::columns::roles::{ColumnNames, TakenColumns};
use crate::reading::Encoding;
use crate::split::{Share, SplitReport};

/// The table, in the folder written, of ids that held white space and the names that took their place:
/// tab-separated `kind`, `old`, `new`.
pub const RENAMED_IDS: &str = "renamed_ids.tsv";

/// The folder, in the folder written, of a teacher's scores: for each split that has any a file of pairs
/// (as [`pairs`](super::pairs) reads it), to train on with distillation.
pub const SCORED: &str = "scored";

/// A foreign format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// A BEIR folder, mended: what [`Dataset::load`](crate::Dataset::load) refuses is left out.
    Beir,
    /// JSON lines `{"query", "positive", "negatives"}`.
    Pairs,
    /// `FlagEmbedding`'s JSON lines `{"query", "pos", "neg"}`.
    FlagEmbedding,
    /// Tevatron's JSON lines: passages inline, or ids and a corpus.
    Tevatron,
    /// The columns of sentence-transformers: anchor, positive, negatives; JSON lines, CSV, TSV or
    /// Parquet (with the feature `parquet`).
    Columns,
    /// MS MARCO: `collection.tsv`, `queries.*.tsv`, `qrels.*.tsv`, triples by id.
    MsMarco,
    /// SQuAD v1.1 JSON or MRQA JSON lines, as sentence retrieval.
    Squad,
    /// TREC topics, qrels and documents.
    Trec,
}

impl Format {
    /// All formats.
    pub const ALL: [Self; 8] = [
        Self::Beir,
        Self::Pairs,
        Self::FlagEmbedding,
        Self::Tevatron,
        Self::Columns,
        Self::MsMarco,
        Self::Squad,
        Self::Trec,
    ];

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Beir => "beir",
            Self::Pairs => "pairs",
            Self::FlagEmbedding => "flag-embedding",
            Self::Tevatron => "tevatron",
            Self::Columns => "sentence-transformers",
            Self::MsMarco => "ms-marco",
            Self::Squad => "squad",
            Self::Trec => "trec",
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A name that no format has.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown format `{got}`, expected one of {}", Format::ALL.map(Format::name).join(", "))]
pub struct UnknownFormat {
    /// The name.
    pub got: String,
}

impl FromStr for Format {
    type Err = UnknownFormat;

    fn from_str(name: &str) -> Result<Self, UnknownFormat> {
        let format = Self::ALL.into_iter().find(|format| format.name() == name);
        format.ok_or_else(|| UnknownFormat { got: name.to_owned() })
    }
}

/// What to do with a wrong record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnError {
    /// Stop: nothing is written.
    #[default]
    Fail,
    /// Leave it out, count it and list it.
    Skip,
}

/// What of a context becomes a document.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Unit {
    /// Each sentence, as in `ReQA` and MultiReQA.
    #[default]
    Sentence,
    /// The whole paragraph.
    Paragraph,
}

/// How to import.
#[derive(Clone, Debug)]
pub struct ImportOptions {
    /// The split of judgments whose file does not name one; without it, the one that the name of the
    /// input says, in formats that have no other place for it, or `train`.
    pub split: Option<String>,
    /// New splits, taken out of that one when all is imported, and how much each gets.
    pub shares: Vec<(String, Share)>,
    /// What these are drawn by.
    pub seed: u64,
    /// The encoding of the inputs; a byte order mark outranks it. UTF-8 without either.
    pub encoding: Option<Encoding>,
    /// What to do with a wrong record.
    pub on_error: OnError,
    /// Whether the files written are compressed with gzip.
    pub gzip: bool,
    /// For [`Format::Squad`]: what becomes a document.
    pub unit: Unit,
    /// For [`Format::Squad`]: MultiReQA's files of sentence boundaries, in place of our own splitter.
    pub boundaries: Vec<PathBuf>,
    /// For [`Format::Columns`]: what the columns are, where their names do not say it.
    pub columns: ColumnNames,
    /// Whether ids that hold white space, which no TREC file can hold, get names without:
    /// [`RENAMED_IDS`] lists them.
    pub rename_ids: bool,
}

impl Default for ImportOptions {
    fn default() -> Self {
        Self {
            split: None,
            shares: Vec::new(),
            seed: 0,
            encoding: None,
            on_error: OnError::Fail,
            gzip: false,
            unit: Unit::Sentence,
            boundaries: Vec::new(),
            columns: ColumnNames::default(),
            rename_ids: false,
        }
    }
}

/// How far an import is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Bytes of the input files read, as they lie on the disk.
    pub bytes: u64,
    /// Bytes of the input files in all.
    pub total_bytes: u64,
    /// Records read.
    pub records: u64,
}

/// A file, and what its judgments became.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FileSplit {
    /// The file.
    pub path: PathBuf,
    /// Their split.
    pub split: String,
}

/// What an import did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ImportReport {
    /// Documents written.
    pub documents: u64,
    /// Queries written.
    pub queries: u64,
    /// Judgments written, by split.
    pub judgments: BTreeMap<String, u64>,
    /// Judged queries to which nothing is relevant, by split.
    pub queries_without_positive: BTreeMap<String, u64>,
    /// Rows with a teacher's scores, by split: the lines of the files in [`SCORED`].
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub scored: BTreeMap<String, u64>,
    /// Records left out, by kind of fault; among them negatives that are positives of the same query.
    pub skipped: BTreeMap<&'static str, u64>,
    /// The first records left out, with place and reason; all of them are in `skipped.txt` of the
    /// folder written.
    pub first_skipped: Vec<String>,
    /// The split of each file with judgments, if the name of one said it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<FileSplit>,
    /// How a split was parted, if it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub split: Option<SplitReport>,
    /// How the columns of each file were taken.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub columns: Vec<TakenColumns>,
    /// Ids of the input that hold white space.
    pub ids_with_white_space: u64,
    /// How many of them got another name.
    pub renamed_ids: u64,
}

impl ImportReport {
    /// Records left out in all.
    pub fn skipped_in_all(&self) -> u64 {
        self.skipped.values().sum()
    }
}
