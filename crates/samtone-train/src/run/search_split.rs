//! Searching for what a split judges: judged queries to embeddings or words, to hits, to a run.
//!
//! The trainer's judge and the command line do it by the same steps, so that both find the same:
//! [`JudgedSplit`] says which queries are looked for and names what is found, [`Embedded`] is the
//! search by a model, [`JudgedSplit::bm25`] the one by words.

use std::borrow::Cow;
use std::ops::Range;
use std::path::Path;

use burn::tensor::backend::Backend;
use samtone_data::Dataset;
use samtone_eval::bm25::{Analyzer, Bm25, Bm25Config};
use samtone_eval::search::{self, Hit, Similarity, top_k_excluding};
use samtone_eval::{EvalError, Qrels, Run};
use samtone_model::{ModelError, Retriever, Side};
use samtone_text::DocumentText;

/// The queries that a split judges, and the documents they are looked for in: all of its data set.
///
/// # Examples
///
/// ```
/// use samtone_text::DocumentText;
/// use samtone_data::embedded::World;
/// use samtone_eval::bm25::{Analyzer, Bm25Config};
/// use samtone_eval::{Convention, Metric, evaluate};
/// use samtone_train::run::JudgedSplit;
///
/// let dataset = World::generate(0, 200).dataset();
/// let split = JudgedSplit::new(&dataset, "test");
/// let hits =
///     split.bm25(DocumentText::TitleText, Analyzer::default(), Bm25Config::default(), 10);
/// let found = evaluate(
///     &split.qrels()?,
///     &split.run(&hits)?,
///     &[Metric::MRR_10],
///     Convention::default(),
/// )?;
/// assert!(found.mean(Metric::MRR_10).is_some());
/// # Ok::<(), samtone_eval::EvalError>(())
/// ```
#[derive(Clone, Debug)]
pub struct JudgedSplit<'a> {
    dataset: &'a Dataset,
    split: &'a str,
    queries: Vec<usize>,
}

impl<'a> JudgedSplit<'a> {
    /// The split `split` of `dataset`; one that was not read judges nothing.
    pub fn new(dataset: &'a Dataset, split: &'a str) -> Self {
        Self { dataset, split, queries: dataset.queries_of(split) }
    }

    /// The judged queries, as indices into the data set's, in the order of the judgments.
    pub fn queries(&self) -> &[usize] {
        &self.queries
    }

    /// The judged queries' ids.
    pub fn query_ids(&self) -> Vec<&'a str> {
        self.queries.iter().map(|&query| self.dataset.queries()[query].id.as_str()).collect()
    }

    /// The documents' ids.
    pub fn document_ids(&self) -> Vec<&'a str> {
        self.dataset.documents().map(|document| document.id).collect()
    }

    /// The judged queries' texts.
    pub fn query_texts(&self) -> Vec<&'a str> {
        self.queries.iter().map(|&query| self.dataset.queries()[query].text.as_str()).collect()
    }

    /// What is read of each document, in their order.
    pub fn document_texts(
        &self,
        text: DocumentText,
    ) -> impl ExactSizeIterator<Item = Cow<'a, str>> + Clone + use<'a> {
        self.dataset.documents().map(move |document| document.passage(text))
    }

    /// For each query the document that has its id, if there is one.
    pub fn own_documents(&self) -> Vec<Option<usize>> {
        self.query_ids().into_iter().map(|id| self.dataset.document_index(id)).collect()
    }

    /// The split's judgments.
    ///
    /// # Errors
    /// [`EvalError::Duplicate`] if it judges a document twice for one query.
    pub fn qrels(&self) -> Result<Qrels, EvalError> {
        Qrels::new(self.dataset.qrels(self.split))
    }

    /// Embeds queries and documents from their texts.
    ///
    /// # Errors
    /// If a tokenizer cannot encode a text.
    pub fn embed<B: Backend>(
        &self,
        retriever: &Retriever<B>,
        text: DocumentText,
        batch_size: usize,
        observe: &mut Observe<'_>,
    ) -> Result<Embedded, ModelError> {
        let queries = self.query_texts();
        let documents: Vec<Cow<'_, str>> = self.document_texts(text).collect();
        Embedded::of(
            retriever,
            (queries.len(), |range| retriever.tokenize(Side::Query, &queries[range])),
            (documents.len(), |range| retriever.tokenize(Side::Document, &documents[range])),
            batch_size,
            observe,
        )
    }

    /// What BM25 finds for each query: at most `k` documents that share a word with it.
    pub fn bm25(
        &self,
        text: DocumentText,
        analyzer: Analyzer,
        config: Bm25Config,
        k: usize,
    ) -> Vec<Vec<Hit>> {
        Bm25::build(self.document_texts(text), analyzer, config).search_all(&self.query_texts(), k)
    }

    /// [`bm25`](Self::bm25) by the index that is kept in the file `index`.
    ///
    /// # Errors
    /// As [`Bm25::kept`].
    pub fn bm25_kept(
        &self,
        index: &Path,
        text: DocumentText,
        analyzer: Analyzer,
        config: Bm25Config,
        k: usize,
    ) -> Result<Vec<Vec<Hit>>, EvalError> {
        let index = Bm25::kept(index, self.document_texts(text), analyzer, config)?;
        Ok(index.search_all(&self.query_texts(), k))
    }

    /// Names what was found, a list of hits for each query.
    ///
    /// # Errors
    /// As [`Run::from_hits`].
    ///
    /// # Panics
    /// If there is not one list for each query.
    pub fn run(&self, hits: &[Vec<Hit>]) -> Result<Run, EvalError> {
        Run::from_hits(&self.query_ids(), &self.document_ids(), hits)
    }
}

/// What a model makes of a split's queries and of its documents.
#[derive(Clone, Debug, PartialEq)]
pub struct Embedded {
    /// `[queries, dim]`, row-major.
    pub queries: Vec<f32>,
    /// `[documents, dim]`, row-major.
    pub documents: Vec<f32>,
    /// Numbers in a row.
    pub dim: usize,
}

/// Is told a side, how many of its texts are embedded and how many there are.
pub type Observe<'a> = dyn FnMut(Side, usize, usize) + 'a;

impl Embedded {
    /// Embeds token rows: of each side how many there are, and what gives those in a range.
    ///
    /// As many tokens are computed at once as `batch_size` of a side's longest texts have. Which rows
    /// share a batch decides the last digits, so that two callers find the same only by the same
    /// `batch_size`.
    ///
    /// # Errors
    /// What `queries` or `documents` fail with.
    pub fn of<B: Backend, E>(
        retriever: &Retriever<B>,
        queries: (usize, impl FnMut(Range<usize>) -> Result<Vec<Vec<u32>>, E>),
        documents: (usize, impl FnMut(Range<usize>) -> Result<Vec<Vec<u32>>, E>),
        batch_size: usize,
        observe: &mut Observe<'_>,
    ) -> Result<Self, E> {
        Ok(Self {
            queries: embed(retriever, Side::Query, queries, batch_size, observe)?,
            documents: embed(retriever, Side::Document, documents, batch_size, observe)?,
            dim: retriever.dim(),
        })
    }

    /// The first `to` numbers of each row, at length 1 again for the cosine; all of them as they are.
    ///
    /// # Panics
    /// If `to` is 0 or more than a row has.
    pub fn cut(&self, to: usize, similarity: Similarity) -> Cow<'_, Self> {
        if to == self.dim {
            return Cow::Borrowed(self);
        }
        let cut = |rows: &[f32]| search::cut(rows, self.dim, to, similarity);
        Cow::Owned(Self { queries: cut(&self.queries), documents: cut(&self.documents), dim: to })
    }

    /// The `k` nearest documents of each query, best first; query `i` never finds the document
    /// `excluded[i]`, where `excluded` is not empty.
    ///
    /// # Errors
    /// As [`top_k_excluding`].
    ///
    /// # Panics
    /// As [`top_k_excluding`].
    pub fn search(
        &self,
        similarity: Similarity,
        k: usize,
        excluded: &[Option<usize>],
    ) -> Result<Vec<Vec<Hit>>, EvalError> {
        top_k_excluding(&self.queries, &self.documents, self.dim, k, similarity, excluded)
    }
}

/// How the folder of `retriever` says that its embeddings are compared.
pub fn similarity_of<B: Backend>(retriever: &Retriever<B>) -> Similarity {
    match retriever.similarity {
        samtone_model::Similarity::Cosine => Similarity::Cosine,
        samtone_model::Similarity::Dot => Similarity::Dot,
    }
}

/// Embeds the token rows of a side in steps that can be watched.
pub(crate) fn embed<B: Backend, E>(
    retriever: &Retriever<B>,
    side: Side,
    (count, mut rows): (usize, impl FnMut(Range<usize>) -> Result<Vec<Vec<u32>>, E>),
    batch_size: usize,
    observe: &mut Observe<'_>,
) -> Result<Vec<f32>, E> {
    /// Rows between two steps: enough to sort by length to good effect.
    const STEP: usize = 2048;
    let batch_tokens = batch_size * retriever.max_tokens(side);
    let mut embeddings = Vec::with_capacity(count * retriever.dim());
    observe(side, 0, count);
    for start in (0..count).step_by(STEP) {
        let range = start..count.min(start + STEP);
        let end = range.end;
        embeddings.extend(retriever.encode_tokens(side, &rows(range)?, batch_tokens));
        observe(side, end, count);
    }
    Ok(embeddings)
}
