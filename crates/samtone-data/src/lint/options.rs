//! What is checked.

use samtone_text::{DocumentText, TextTokenizer};

use crate::dataset::Dataset;

/// What to check, and how closely.
#[derive(Clone, Debug)]
pub struct LintOptions<'a> {
    /// The split to train on.
    pub split: String,
    /// Sizes of batches for which collisions are counted.
    pub batch_sizes: Vec<usize>,
    /// Length limits for which the share of cut texts is counted.
    pub limits: Vec<usize>,
    /// Counts lengths in this tokenizer's tokens; in words if there is none.
    pub tokenizer: Option<&'a TextTokenizer>,
    /// What of a document is read.
    pub document_text: DocumentText,
    /// The Jaccard similarity of runs of three words from which two texts are near duplicates, a
    /// fraction.
    pub near: f64,
}

impl Default for LintOptions<'_> {
    fn default() -> Self {
        Self {
            split: "train".to_owned(),
            batch_sizes: vec![64, 256, 1024],
            limits: vec![32, 64, 128, 256, 512],
            tokenizer: None,
            document_text: DocumentText::TitleText,
            near: 0.8,
        }
    }
}

/// A test set that training must not have seen.
#[derive(Clone, Copy, Debug)]
pub struct TestSet<'a> {
    /// What to call it.
    pub name: &'a str,
    /// The data.
    pub dataset: &'a Dataset,
    /// Its split.
    pub split: &'a str,
}
