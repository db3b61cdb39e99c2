//! What the field's tools do differently, as rules.

use std::fmt;
use std::str::FromStr;

use crate::error::{EvalError, Result};
use crate::metric::{Measure, Metric};

/// Whose numbers to reproduce. The default is trec_eval 9.
///
/// A convention is nothing but its [`Rules`]: [`Convention::rules`] says which for each metric.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Convention {
    /// trec_eval 9.0, and so `pytrec_eval` and ir_measures.
    #[default]
    Trec9,
    /// trec_eval 10: scores keep the precision of f64.
    Trec10,
    /// BEIR 2: trec_eval 9 after dropping a document with the query's own id; its own MRR.
    Beir,
    /// sentence-transformers' `InformationRetrievalEvaluator`, version 6.
    SentenceTransformers,
    /// MTEB 2: trec_eval 9, and its own MRR.
    Mteb,
    /// ranx 0.3 with `make_comparable`.
    Ranx,
}

impl Convention {
    /// All conventions.
    pub const ALL: [Self; 6] =
        [Self::Trec9, Self::Trec10, Self::Beir, Self::SentenceTransformers, Self::Mteb, Self::Ranx];

    /// The name as given on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Trec9 => "trec9",
            Self::Trec10 => "trec10",
            Self::Beir => "beir",
            Self::SentenceTransformers => "st",
            Self::Mteb => "mteb",
            Self::Ranx => "ranx",
        }
    }

    /// The rules by which the convention computes a metric.
    pub const fn rules(self, metric: Metric) -> Rules {
        let own = matches!(metric.measure(), Measure::Mrr | Measure::Success | Measure::Holes);
        match self {
            Self::Trec9 => Rules::TREC9,
            Self::Trec10 => Rules { precision: ScorePrecision::F64, ..Rules::TREC9 },
            Self::Beir => Rules {
                own_document: OwnDocument::Dropped,
                precision: if own { ScorePrecision::F64 } else { ScorePrecision::F32 },
                ties: if own { Ties::AsGiven } else { Ties::DocumentDescending },
                queries: if matches!(metric.measure(), Measure::Mrr | Measure::Success) {
                    Queries::Judged
                } else {
                    Queries::InBoth
                },
                ..Rules::TREC9
            },
            Self::Mteb => Rules {
                precision: if own { ScorePrecision::F64 } else { ScorePrecision::F32 },
                ties: if own { Ties::AsGiven } else { Ties::DocumentDescending },
                ..Rules::TREC9
            },
            Self::SentenceTransformers => Rules {
                precision: ScorePrecision::F64,
                ties: Ties::DocumentAscending,
                queries: Queries::WithRelevant,
                grades: Grades::Binary,
                average: Average::UpToCutoff,
                ..Rules::TREC9
            },
            Self::Ranx => Rules {
                precision: ScorePrecision::F64,
                ties: Ties::AsGiven,
                queries: Queries::Judged,
                ..Rules::TREC9
            },
        }
    }
}

impl fmt::Display for Convention {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Convention {
    type Err = EvalError;

    fn from_str(name: &str) -> Result<Self> {
        Self::ALL
            .into_iter()
            .find(|convention| convention.name() == name)
            .ok_or_else(|| EvalError::UnknownConvention { got: name.to_owned() })
    }
}

/// In which precision scores are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ScorePrecision {
    /// Rounded to f32: scores that differ only beyond 7 digits are equal.
    F32,
    /// As f64.
    F64,
}

/// How documents of equal score are ranked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ties {
    /// By document id, the greater first.
    DocumentDescending,
    /// By document id, the smaller first.
    DocumentAscending,
    /// In the order of the run.
    AsGiven,
}

/// Over which queries the mean is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Queries {
    /// Those both judged and in the run.
    InBoth,
    /// All judged ones; one the run does not answer counts 0.
    Judged,
    /// All that have a relevant document; one the run does not answer counts 0.
    WithRelevant,
}

/// What becomes of a document whose id is the query's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OwnDocument {
    /// It is a document like others.
    Kept,
    /// It is taken out of the ranking.
    Dropped,
}

/// Whether grades above the threshold count for more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Grades {
    /// As judged.
    Graded,
    /// 1 if relevant, else 0.
    Binary,
}

/// What average precision at a cutoff k divides by; R is the number of relevant documents.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Average {
    /// R.
    AllRelevant,
    /// min(k, R).
    UpToCutoff,
}

/// The choices on which evaluation tools differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rules {
    /// In which precision scores are compared.
    pub precision: ScorePrecision,
    /// How documents of equal score are ranked.
    pub ties: Ties,
    /// Over which queries the mean is taken.
    pub queries: Queries,
    /// What becomes of a document whose id is the query's.
    pub own_document: OwnDocument,
    /// Whether grades above the threshold count for more.
    pub grades: Grades,
    /// What average precision at a cutoff divides by.
    pub average: Average,
}

impl Rules {
    /// trec_eval 9's.
    pub const TREC9: Self = Self {
        precision: ScorePrecision::F32,
        ties: Ties::DocumentDescending,
        queries: Queries::InBoth,
        own_document: OwnDocument::Kept,
        grades: Grades::Graded,
        average: Average::AllRelevant,
    };
}
