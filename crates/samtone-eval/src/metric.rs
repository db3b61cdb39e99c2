//! Metrics by name.

use std::fmt;
use std::str::FromStr;

use crate::error::{EvalError, Result};

/// What is measured; see [`metrics`](crate::metrics) for each definition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Measure {
    /// Normalised discounted cumulative gain, the gain being the grade.
    Ndcg,
    /// Normalised discounted cumulative gain, the gain being `2^grade − 1`.
    NdcgExp,
    /// Reciprocal rank of the first relevant document.
    Mrr,
    /// Average precision.
    Map,
    /// Share of the relevant documents that is found.
    Recall,
    /// Share of the cutoff that is relevant.
    Precision,
    /// Whether a relevant document is found.
    Success,
    /// Precision at the number of relevant documents.
    RPrecision,
    /// Preference of judged relevant over judged irrelevant documents.
    Bpref,
    /// Share of the documents found that is judged.
    Judged,
    /// Share of the documents found that is not judged.
    Holes,
}

/// Whether a measure is read down to a cutoff.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Cut {
    Needed,
    Optional,
    Never,
}

/// Each measure: the name printed, other names read (ir_measures, trec_eval, ranx, MTEB; all in
/// lower case), its cutoff, whether a grade threshold has a meaning.
const NAMES: &[(Measure, &str, &[&str], Cut, bool)] = &[
    (Measure::Ndcg, "ndcg", &["ndcg_cut"], Cut::Optional, false),
    (
        Measure::NdcgExp,
        "ndcg_exp",
        &["ndcg_burges", "ndcg(dcg='exp-log2')", "ndcg(dcg=\"exp-log2\")"],
        Cut::Optional,
        false,
    ),
    (Measure::Mrr, "mrr", &["rr", "recip_rank"], Cut::Optional, true),
    (Measure::Map, "map", &["ap", "map_cut"], Cut::Optional, true),
    (Measure::Recall, "recall", &["r"], Cut::Optional, true),
    (Measure::Precision, "p", &["precision"], Cut::Needed, true),
    (Measure::Success, "success", &["hit_rate", "accuracy"], Cut::Needed, true),
    (Measure::RPrecision, "r_precision", &["rprec", "r-precision"], Cut::Never, true),
    (Measure::Bpref, "bpref", &[], Cut::Never, true),
    (Measure::Judged, "judged", &[], Cut::Optional, false),
    (Measure::Holes, "holes", &["hole"], Cut::Optional, false),
];

/// A measure, the cutoff it is read to and the least grade that is relevant.
///
/// [`FromStr`] and [`Display`](fmt::Display) agree: what is printed is read back as the same metric.
/// Read are also the names of ir_measures (`nDCG@10`, `RR@10`, `AP`, `R@100`, `P(rel=2)@10`),
/// trec_eval (`ndcg_cut_10`, `recip_rank`, `P_10`, `map_cut_100`), ranx (`hit_rate@1`, `map-l2`)
/// and MTEB (`ndcg_at_10`), in any case.
///
/// # Examples
///
/// ```
/// use samtone_eval::Metric;
///
/// let metric: Metric = "nDCG@10".parse()?;
/// assert_eq!(metric, Metric::NDCG_10);
/// assert_eq!(metric.to_string(), "ndcg@10");
/// assert_eq!("P(rel=2)@5".parse::<Metric>()?.to_string(), "p(rel=2)@5");
/// # Ok::<(), samtone_eval::EvalError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Metric {
    measure: Measure,
    cutoff: Option<usize>,
    threshold: i32,
}

impl Metric {
    /// nDCG@10, what most retrieval results are quoted in.
    pub const NDCG_10: Self = Self { measure: Measure::Ndcg, cutoff: Some(10), threshold: 1 };
    /// MRR@10.
    pub const MRR_10: Self = Self { measure: Measure::Mrr, cutoff: Some(10), threshold: 1 };
    /// Recall@100.
    pub const RECALL_100: Self = Self { measure: Measure::Recall, cutoff: Some(100), threshold: 1 };
    /// Mean average precision over the whole ranking.
    pub const MAP: Self = Self { measure: Measure::Map, cutoff: None, threshold: 1 };
    /// Precision at 1.
    pub const P_1: Self = Self { measure: Measure::Precision, cutoff: Some(1), threshold: 1 };

    /// What is measured.
    pub const fn measure(&self) -> Measure {
        self.measure
    }

    /// Whether a higher value is a better ranking: `judged` and `holes` tell of the judgments alone.
    pub const fn is_quality(&self) -> bool {
        !matches!(self.measure, Measure::Judged | Measure::Holes)
    }

    /// How many documents are looked at; `None` for all.
    pub const fn cutoff(&self) -> Option<usize> {
        self.cutoff
    }

    /// The least grade that is relevant.
    pub const fn threshold(&self) -> i32 {
        self.threshold
    }
}

impl Measure {
    fn names(self) -> &'static (Self, &'static str, &'static [&'static str], Cut, bool) {
        NAMES.iter().find(|entry| entry.0 == self).expect("every measure is in the table")
    }

    /// The measure's name as printed, such as `ndcg`.
    pub fn name(self) -> &'static str {
        self.names().1
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.measure.name())?;
        if self.threshold != 1 {
            write!(f, "(rel={})", self.threshold)?;
        }
        if let Some(cutoff) = self.cutoff {
            write!(f, "@{cutoff}")?;
        }
        Ok(())
    }
}

/// The table's entry for a name in lower case.
fn measure(
    name: &str,
) -> Option<&'static (Measure, &'static str, &'static [&'static str], Cut, bool)> {
    NAMES.iter().find(|(_, printed, others, ..)| *printed == name || others.contains(&name))
}

/// Cuts `(rel=2)` or ranx's `-l2` out of a name: the rest and the number.
fn cut_threshold(name: &str) -> Option<(String, &str)> {
    if let Some((head, tail)) = name.split_once("(rel=") {
        let (number, rest) = tail.split_once(')')?;
        return Some((format!("{head}{rest}"), number));
    }
    let (head, number) = name.rsplit_once("-l")?;
    let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| (head.to_owned(), number))
}

impl FromStr for Metric {
    type Err = EvalError;

    fn from_str(given: &str) -> Result<Self> {
        let got = || given.to_owned();
        let unknown = || EvalError::UnknownMetric { got: got() };
        let lower = given.trim().to_lowercase().replace("_at_", "@");
        let (lower, threshold) = match cut_threshold(&lower) {
            Some((rest, number)) => (rest, Some(number.parse::<i32>().map_err(|_| unknown())?)),
            None => (lower, None),
        };
        let (name, cutoff) = match lower.split_once('@') {
            Some((name, cutoff)) => (name, Some(cutoff)),
            // trec_eval writes `P_10`.
            None => match lower.rsplit_once('_') {
                Some((name, digits)) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                    (name, Some(digits))
                }
                _ => (lower.as_str(), None),
            },
        };
        let &(measure, printed, _, cut, graded) = measure(name).ok_or_else(unknown)?;
        let cutoff = match cutoff {
            None => None,
            Some(digits) => match digits.parse::<usize>() {
                Ok(number) if number > 0 && !digits.starts_with('+') => Some(number),
                _ => return Err(EvalError::Cutoff { got: got() }),
            },
        };
        match (cut, cutoff) {
            (Cut::Needed, None) => return Err(EvalError::CutoffNeeded { got: printed.to_owned() }),
            (Cut::Never, Some(cutoff)) => {
                return Err(EvalError::Parameter { got: got(), parameter: format!("@{cutoff}") });
            }
            _ => {}
        }
        if let (Some(threshold), false) = (threshold, graded) {
            return Err(EvalError::Parameter { got: got(), parameter: format!("rel={threshold}") });
        }
        Ok(Self { measure, cutoff, threshold: threshold.unwrap_or(1) })
    }
}
