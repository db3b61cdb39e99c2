//! Why two conventions give different numbers.

use std::fmt;

use crate::convention::{Average, Grades, OwnDocument, Queries, Rules, ScorePrecision, Ties};
use crate::evaluate::score_query;
use crate::metric::Metric;
use crate::qrels::Qrels;
use crate::run::Run;

/// A choice on which conventions differ, one for each field of [`Rules`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Rule {
    /// In which precision scores are compared.
    Precision,
    /// How documents of equal score are ranked.
    Ties,
    /// Over which queries the mean is taken.
    Queries,
    /// What becomes of a document whose id is the query's.
    OwnDocument,
    /// Whether grades above the threshold count for more.
    Grades,
    /// What average precision at a cutoff divides by.
    Average,
}

impl Rule {
    /// All rules.
    pub const ALL: [Self; 6] = [
        Self::Precision,
        Self::Ties,
        Self::Queries,
        Self::OwnDocument,
        Self::Grades,
        Self::Average,
    ];

    /// `rules` with this one taken from `other`.
    fn exchanged(self, mut rules: Rules, other: Rules) -> Rules {
        match self {
            Self::Precision => rules.precision = other.precision,
            Self::Ties => rules.ties = other.ties,
            Self::Queries => rules.queries = other.queries,
            Self::OwnDocument => rules.own_document = other.own_document,
            Self::Grades => rules.grades = other.grades,
            Self::Average => rules.average = other.average,
        }
        rules
    }

    /// What `rules` say on this, in words.
    pub const fn describe(self, rules: Rules) -> &'static str {
        match self {
            Self::Precision => match rules.precision {
                ScorePrecision::F32 => "scores are compared as f32",
                ScorePrecision::F64 => "scores are compared as f64",
            },
            Self::Ties => match rules.ties {
                Ties::DocumentDescending => "ties go to the greater document id",
                Ties::DocumentAscending => "ties go to the smaller document id",
                Ties::AsGiven => "ties keep the run's order",
            },
            Self::Queries => match rules.queries {
                Queries::InBoth => "queries that are judged and answered count",
                Queries::Judged => "all judged queries count",
                Queries::WithRelevant => "all queries with a relevant document count",
            },
            Self::OwnDocument => match rules.own_document {
                OwnDocument::Kept => "a document with the query's id is kept",
                OwnDocument::Dropped => "a document with the query's id is dropped",
            },
            Self::Grades => match rules.grades {
                Grades::Graded => "grades are gains",
                Grades::Binary => "every relevant grade gains 1",
            },
            Self::Average => match rules.average {
                Average::AllRelevant => "average precision divides by all relevant documents",
                Average::UpToCutoff => "average precision divides by at most the cutoff",
            },
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Precision => "precision",
            Self::Ties => "ties",
            Self::Queries => "queries",
            Self::OwnDocument => "own document",
            Self::Grades => "grades",
            Self::Average => "average",
        })
    }
}

/// A query to which two ways of measuring give different values.
#[derive(Clone, Debug, PartialEq)]
pub struct Difference {
    /// The metric.
    pub metric: Metric,
    /// The query's id.
    pub query: String,
    /// Its value in the first way; `None` if it does not count there.
    pub first: Option<f64>,
    /// Its value in the second way.
    pub second: Option<f64>,
    /// The rules that make the difference: each changes the first value when taken from the
    /// second way alone. Where only several together do, those are all rules that differ.
    pub rules: Vec<Rule>,
}

/// Values that differ by rounding alone are the same.
const SAME: f64 = 1e-12;

fn same(a: Option<f64>, b: Option<f64>) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => (a - b).abs() <= SAME,
        (a, b) => a.is_none() && b.is_none(),
    }
}

/// The queries to which two ways of measuring give different values, and the rules that are the
/// reason. `plan` has each metric with its rules in the first way and in the second.
///
/// # Examples
///
/// ```
/// use samtone_eval::{Convention, Metric, Qrels, Rule, Run, explain};
///
/// let qrels = Qrels::new([("q1", "d1", 1)])?;
/// let run = Run::new([("q1", "d1", 0.5), ("q1", "d2", 0.5)])?;
/// let (first, second) = (Convention::Trec9, Convention::SentenceTransformers);
/// let mrr = Metric::MRR_10;
/// let differences = explain(&qrels, &run, &[(mrr, first.rules(mrr), second.rules(mrr))]);
/// // Equal scores: trec_eval puts d2 first, sentence-transformers d1.
/// assert_eq!((differences[0].first, differences[0].second), (Some(0.5), Some(1.0)));
/// assert_eq!(differences[0].rules, [Rule::Ties]);
/// # Ok::<(), samtone_eval::EvalError>(())
/// ```
pub fn explain(qrels: &Qrels, run: &Run, plan: &[(Metric, Rules, Rules)]) -> Vec<Difference> {
    let mut differences = Vec::new();
    for &(metric, ours, theirs) in plan {
        let differing: Vec<Rule> =
            Rule::ALL.into_iter().filter(|rule| rule.exchanged(ours, theirs) != ours).collect();
        if differing.is_empty() {
            continue;
        }
        let value = |query, rules| score_query(qrels, run, query, &[(metric, rules)])[0];
        for (query, id) in qrels.queries().enumerate() {
            let (ours_value, theirs_value) = (value(query, ours), value(query, theirs));
            if same(ours_value, theirs_value) {
                continue;
            }
            let alone: Vec<Rule> = differing
                .iter()
                .copied()
                .filter(|rule| !same(value(query, rule.exchanged(ours, theirs)), ours_value))
                .collect();
            differences.push(Difference {
                metric,
                query: id.to_owned(),
                first: ours_value,
                second: theirs_value,
                rules: if alone.is_empty() { differing.clone() } else { alone },
            });
        }
    }
    differences
}
