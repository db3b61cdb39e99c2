//! What can be wrong with the columns of a file.

use thiserror::Error;

use super::fault::Fault;
use super::words::{nearest, quote_all};

/// Why it cannot be told what the columns of a file are.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum ColumnFault {
    /// A header that cannot be read.
    #[error("the header cannot be read: {fault}")]
    Header {
        /// What is wrong with it.
        fault: Fault,
    },
    /// A first line that is no header.
    #[error("the first line looks like data, not like names of columns: {}", quote_all(first))]
    Data {
        /// Its fields.
        first: Vec<String>,
        /// What stands between them.
        delimiter: char,
    },
    /// A header of one column.
    #[error("there is one column, `{column}`: expected a query and a positive at least")]
    Single {
        /// Its name.
        column: String,
    },
    /// A column without a name.
    #[error("column {number} has no name")]
    Unnamed {
        /// Its place, counted from 1.
        number: usize,
        /// Flags that say what the columns are.
        flags: String,
    },
    /// A column whose name says nothing.
    #[error("cannot tell what column `{column}` is")]
    Unknown {
        /// Its name.
        column: String,
        /// Flags that say what the columns are.
        flags: String,
    },
    /// No column for what must be there.
    #[error("no column is the {role}")]
    Missing {
        /// What must be there.
        role: &'static str,
        /// The columns there are.
        found: Vec<String>,
        /// Flags that say what the columns are.
        flags: String,
    },
    /// Two columns for what there can be one of.
    #[error("columns `{first}` and `{second}` both look like the {role}")]
    Twice {
        /// What they look like.
        role: &'static str,
        /// The one.
        first: String,
        /// The other.
        second: String,
    },
    /// A column that was asked for and is not there.
    #[error("there is no column `{column}`")]
    Absent {
        /// Its name.
        column: String,
        /// The columns there are.
        found: Vec<String>,
    },
    /// A column that was asked for as two things.
    #[error("column `{column}` is asked for twice")]
    Claimed {
        /// Its name.
        column: String,
    },
    /// A column of texts that holds none.
    #[error("column `{column}`, taken as the {role}, holds numbers alone")]
    Numbers {
        /// Its name.
        column: String,
        /// What it was taken for.
        role: &'static str,
        /// The flag that takes it all the same.
        flag: String,
    },
    /// A column of scores, which are no labels.
    #[error("column `{column}` looks like scores, which say nothing about what is relevant")]
    Scores {
        /// Its name.
        column: String,
        /// Whether a column beside it holds negatives.
        has_negatives: bool,
    },
    /// Two columns that say how relevant a document is.
    #[error("columns `{first}` and `{second}` both say how relevant a document is")]
    Verdicts {
        /// The one.
        first: String,
        /// The other.
        second: String,
    },
    /// A margin of scores that is not between a positive and one negative.
    #[error(
        "a margin is between the positive and one negative, but there are {negatives} columns of negatives"
    )]
    Margin {
        /// Columns of negatives.
        negatives: usize,
    },
}

impl ColumnFault {
    /// What the reader may do about it.
    pub(crate) fn hint(&self) -> Option<String> {
        let say =
            |flags: &str| format!("say which columns to take, the rest is left aside: `{flags}`");
        Some(match self {
            Self::Header { fault } => return fault.hint("sentence-transformers"),
            Self::Data { delimiter, .. } => {
                let delimiter =
                    if *delimiter == '\t' { "<tab>".into() } else { delimiter.to_string() };
                format!(
                    "put a line of names above it, for example `query{delimiter}positive`; if these \
                     are names, say which is which with `--query` and `--positive`"
                )
            }
            Self::Single { .. } => "columns are separated by `,`, `;`, a tab or `|`".to_owned(),
            Self::Unnamed { flags, .. } | Self::Unknown { flags, .. } => say(flags),
            Self::Missing { found, flags, .. } if found.is_empty() => say(flags),
            Self::Missing { found, flags, .. } => {
                format!("the columns are {}; {}", quote_all(found), say(flags))
            }
            Self::Twice { role, first, .. } => format!("say which one: `--{role} {first}`"),
            Self::Absent { column, found } => match nearest(column, found) {
                Some(name) => format!("did you mean `{name}`? there are: {}", quote_all(found)),
                None => format!("there are: {}", quote_all(found)),
            },
            Self::Claimed { .. } => return None,
            Self::Numbers { column, flag, .. } => format!(
                "are these ids? `{flag}` takes them as texts, `--ignore {}` leaves them aside",
                shell_word(column)
            ),
            Self::Scores { column, has_negatives: false } => format!(
                "`--label {0}` if it holds 0 and 1 alone, `--grade {0}` if whole numbers that are 1 or \
                 more where the answer is relevant (votes are none), `--ignore {0}` to take every row \
                 as relevant",
                shell_word(column)
            ),
            Self::Scores { column, has_negatives: true } => format!(
                "a teacher's: `--margin {0}` if it is the positive's score less the negative's, `--scores \
                 {0}` if it lists those of the positive and of each negative; `--ignore {0}` leaves it \
                 aside",
                shell_word(column)
            ),
            Self::Verdicts { second, .. } => {
                format!("leave one aside: `--ignore {}`", shell_word(second))
            }
            Self::Margin { .. } => {
                "`--scores` takes a list: the score of the positive, then of each negative"
                    .to_owned()
            }
        })
    }
}

/// A name as one word of a command line.
pub(crate) fn shell_word(name: &str) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || "_-./:@%+=".contains(c);
    if !name.is_empty() && !name.starts_with('-') && name.chars().all(is_plain) {
        name.to_owned()
    } else {
        format!("'{}'", name.replace('\'', "'\\''"))
    }
}
