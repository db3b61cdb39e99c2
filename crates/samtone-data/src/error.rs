//! What can be wrong with data, and where.

mod columns;
mod fault;
mod shares;
mod words;

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

pub use self::columns::ColumnFault;
pub(crate) use self::columns::shell_word;
pub(crate) use self::fault::BEIR_JUDGMENT;
pub use self::fault::Fault;
pub use self::shares::ShareFault;
use self::words::{nearest, quote_all};
use crate::reading::signature::Signature;

/// Everything that reading, writing or preparing data can fail with.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DataError {
    /// A file or folder that is not there.
    #[error("`{}` does not exist", path.display())]
    Missing {
        /// The file or folder asked for.
        path: PathBuf,
        /// What lies beside it under the most similar name.
        nearest: Option<String>,
    },
    /// A folder that is not in BEIR layout.
    #[error("`{}` holds no `{missing}` (nor `{missing}.gz`, `{missing}.zst`)", dir.display())]
    NotBeir {
        /// The folder.
        dir: PathBuf,
        /// The file it needs.
        missing: &'static str,
    },
    /// A split that a data set does not have.
    #[error("`{}` has no split `{split}`", dir.display())]
    NoSplit {
        /// The data set.
        dir: PathBuf,
        /// The split asked for.
        split: String,
        /// The splits there are.
        available: Vec<String>,
    },
    /// A split without a single judgment.
    #[error("split `{split}` of `{}` is empty", dir.display())]
    EmptySplit {
        /// The data set.
        dir: PathBuf,
        /// The split asked for.
        split: String,
        /// The splits there are.
        available: Vec<String>,
    },
    /// One record of a file is wrong.
    #[error("`{}`, line {line}: {fault}", path.display())]
    Record {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1; in a file without lines, the record.
        line: u64,
        /// What is wrong with it.
        fault: Fault,
    },
    /// A tokenizer that cannot do what is asked.
    #[error(transparent)]
    Text(#[from] samtone_text::TextError),
    /// An output that is there already.
    #[error("`{}` exists already", path.display())]
    Exists {
        /// The file or folder.
        path: PathBuf,
    },
    /// Input files without a record of a kind that the output needs.
    #[error("the input holds no {what}")]
    NothingOf {
        /// The kind of record.
        what: &'static str,
    },
    /// A file whose role in a format cannot be told from its name.
    #[error("cannot tell what `{}` holds: expected {expected}", path.display())]
    UnknownRole {
        /// The file.
        path: PathBuf,
        /// The names the format uses.
        expected: &'static str,
    },
    /// A file of a format that this build does not read.
    #[error("`{}` needs the feature `{feature}`, which this build lacks", path.display())]
    NeedsFeature {
        /// The file.
        path: PathBuf,
        /// The cargo feature.
        feature: &'static str,
    },
    /// A file that could not be read.
    #[error("cannot read `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// A file that could not be written.
    #[error("cannot write `{}`", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// A file that is no text, under a name that promises one.
    #[error("`{}` is {}", path.display(), kind.name())]
    NotText {
        /// The file.
        path: PathBuf,
        /// What it is.
        kind: Signature,
    },
    /// Columns of which it cannot be told what they are.
    #[error("`{}`: {fault}", path.display())]
    Columns {
        /// The file.
        path: PathBuf,
        /// What is wrong with them.
        fault: ColumnFault,
    },
    /// A split that cannot be parted as it is asked for.
    #[error("`{}`, split `{split}`: {fault}", dir.display())]
    Shares {
        /// The data set.
        dir: PathBuf,
        /// The split.
        split: String,
        /// What is wrong.
        fault: ShareFault,
    },
    /// One record of a file in a foreign format is wrong.
    #[error("`{}`, line {line}: {fault}", path.display())]
    ForeignRecord {
        /// The format's name on the command line.
        format: &'static str,
        /// The file.
        path: PathBuf,
        /// The line, counted from 1; in a file without lines, the record.
        line: u64,
        /// What is wrong with it.
        fault: Fault,
    },
}

impl DataError {
    /// What the reader may do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Missing { nearest: Some(name), .. } => Some(format!("did you mean `{name}`?")),
            Self::NotBeir { .. } => Some(
                "a data folder holds corpus.jsonl (`_id`, `title`, `text`), queries.jsonl (`_id`, \
                 `text`) and qrels/<split>.tsv (`query-id`, `corpus-id`, `score`), each plain, .gz \
                 or .zst; `samtone import` makes one from other formats"
                    .to_owned(),
            ),
            Self::NoSplit { available, split, .. } => Some(match nearest(split, available) {
                Some(name) => format!("did you mean `{name}`? {}", list_splits(available)),
                None => list_splits(available),
            }),
            Self::EmptySplit { available, .. } => Some(list_splits(available)),
            Self::Record { fault, .. } => fault.hint("beir"),
            Self::ForeignRecord { format, fault, .. } => fault.hint(format),
            Self::NotText { kind, .. } => Some(kind.advice().to_owned()),
            Self::Columns { fault, .. } => fault.hint(),
            Self::Shares { fault, .. } => fault.hint(),
            Self::Exists { .. } => Some("name another one, or remove it first".to_owned()),
            Self::NothingOf { what: "document" } => Some(
                "give the file of documents too: the judged documents must be in the corpus"
                    .to_owned(),
            ),
            Self::NeedsFeature { feature, .. } => {
                Some(format!("build with `--features {feature}`"))
            }
            Self::Text(error) => error.hint(),
            _ => None,
        }
    }

    /// The error for a path that could not be opened: [`DataError::Missing`] with the most similar
    /// name beside it, or the system's reason.
    pub fn opening(path: &Path, source: io::Error) -> Self {
        if source.kind() != io::ErrorKind::NotFound {
            return Self::Read { path: path.to_owned(), source };
        }
        let wanted = path.file_name().map(|name| name.to_string_lossy().into_owned());
        let siblings: Vec<String> = path
            .parent()
            .map(|parent| if parent.as_os_str().is_empty() { Path::new(".") } else { parent })
            .and_then(|parent| parent.read_dir().ok())
            .map(|entries| {
                entries.flatten().map(|e| e.file_name().to_string_lossy().into_owned()).collect()
            })
            .unwrap_or_default();
        let nearest = wanted.and_then(|wanted| {
            let name = nearest(&wanted, &siblings)?;
            Some(path.with_file_name(name).display().to_string())
        });
        Self::Missing { path: path.to_owned(), nearest }
    }

    /// The error of writing to `path`.
    pub fn writing(path: &Path) -> impl FnOnce(io::Error) -> Self + '_ {
        move |source| Self::Write { path: path.to_owned(), source }
    }

    /// The error as one of a folder that was to lie at `place`.
    pub(crate) fn of_folder(mut self, place: &Path) -> Self {
        if let Self::NoSplit { dir, .. } | Self::EmptySplit { dir, .. } | Self::Shares { dir, .. } =
            &mut self
        {
            place.clone_into(dir);
        }
        self
    }

    /// The error as one of importing this format.
    pub(crate) fn of_import(self, format: &'static str) -> Self {
        match self {
            Self::Record { path, line, fault } => Self::ForeignRecord { format, path, line, fault },
            other => other,
        }
    }
}

fn list_splits(available: &[String]) -> String {
    match available {
        [] => "there are no splits: `qrels/` holds no .tsv file".to_owned(),
        names => format!("there are: {}", quote_all(names)),
    }
}

/// Why a file or folder was not written: what should be in it, or the system.
#[derive(Debug)]
pub(crate) enum Unwritten {
    Content(DataError),
    System(io::Error),
}

impl Unwritten {
    /// The error of writing to `path`.
    pub(crate) fn at(self, path: &Path) -> DataError {
        match self {
            Self::Content(error) => error,
            Self::System(source) => DataError::Write { path: path.to_owned(), source },
        }
    }
}

impl From<DataError> for Unwritten {
    fn from(error: DataError) -> Self {
        Self::Content(error)
    }
}

impl From<io::Error> for Unwritten {
    fn from(error: io::Error) -> Self {
        Self::System(error)
    }
}
