//! Runs and judgments to numbers: metrics, exact search, BM25, significance.
//!
//! [`evaluate`] scores a [`Run`] against [`Qrels`] in the [`Metric`]s asked for, by the rules of a
//! [`Convention`]: trec_eval's unless told otherwise, because tools differ in how they rank equal
//! scores, which queries they average over and what they divide by.
//!
//! ```
//! use samtone_eval::{Convention, Metric, Qrels, Run, evaluate};
//!
//! let qrels = Qrels::parse("qrels.txt", "q1 0 d1 2\nq1 0 d2 1\n")?;
//! let run = Run::parse("run.trec", "q1 Q0 d2 1 0.9 me\nq1 Q0 d1 2 0.8 me\n")?;
//! let found = evaluate(&qrels, &run, &["ndcg@10".parse()?], Convention::Trec9)?;
//! assert!((found.mean(Metric::NDCG_10).unwrap() - 0.8597).abs() < 1e-4);
//! # Ok::<(), samtone_eval::EvalError>(())
//! ```
//!
//! | module | holds |
//! |---|---|
//! | [`metrics`] | the measures themselves, over one query's grades |
//! | [`search`] | the k nearest embeddings, exactly |
//! | [`bm25`] | lexical search |
//! | [`significance`] | whether two systems differ: paired tests and intervals |
//! | [`statistics`] | what the embeddings of two towers look like |
//!
//! [`explain()`] says which queries another convention scores otherwise, and by which rule.
//!
//! The crate knows neither models nor files other than runs and judgments; embeddings are slices
//! of f32, texts are strings.
//!
//! # Features
//!
//! - `burn`: search on any Burn backend, `search::top_k_on`. Without it the crate has no Burn.

pub mod bm25;
mod convention;
mod error;
mod evaluate;
mod exact_match;
mod explain;
mod metric;
pub mod metrics;
mod qrels;
mod random;
mod report;
mod run;
pub mod search;
pub mod significance;
mod source;
pub mod statistics;
mod table;

pub use convention::{
    Average, Convention, Grades, OwnDocument, Queries, Rules, ScorePrecision, Ties,
};
pub use error::{EvalError, Result};
pub use evaluate::{Evaluation, evaluate, evaluate_by};
pub use exact_match::{exact_match, normalize_answer};
pub use explain::{Difference, Rule, explain};
pub use metric::{Measure, Metric};
pub use qrels::Qrels;
pub use report::{EvaluationJson, MtebJson};
pub use run::Run;
