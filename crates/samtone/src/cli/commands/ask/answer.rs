//! A question to the documents that answer it.

use std::borrow::Cow;
use std::collections::HashMap;
use std::time::Instant;

use anyhow::ensure;
use burn::tensor::backend::Backend;
use samtone_data::Document;
use samtone_eval::search::{self, Similarity, top_k};
use samtone_model::{Retriever, Side};
use samtone_text::DocumentText;
use serde::Serialize;

use super::sentence::best_sentences;
use crate::commands::eval::line;
use crate::commands::reading::cut;
use crate::commands::rerank::{Reranker, order};
use crate::error::Failure;
use crate::index::Index;

/// The documents and their embeddings, in memory, and what embeds a question.
pub(super) struct Corpus<'a, B: Backend> {
    retriever: &'a Retriever<B>,
    similarity: Similarity,
    documents: Vec<Document>,
    /// What is searched: rows of perhaps fewer numbers than the model's.
    index: Index,
    /// `[n, dim]`, where no graph is asked.
    rows: Vec<f32>,
    /// The place of each row's document.
    places: Vec<usize>,
    reranking: Option<Reranking<B>>,
}

/// A second model, and what of a document it reads.
pub(super) struct Reranking<B: Backend> {
    pub(super) reranker: Reranker<B>,
    pub(super) text: DocumentText,
}

/// What is found for a question; what `--format json` prints, a line each.
#[derive(Serialize)]
pub(super) struct Answer<'a> {
    question: &'a str,
    /// From the question to this answer.
    seconds: f64,
    hits: Vec<Hit<'a>>,
}

#[derive(Serialize)]
struct Hit<'a> {
    rank: usize,
    /// How near the retriever takes the document to be.
    score: f32,
    /// What the second model says of it, where it looked: the ranks follow this then.
    #[serde(skip_serializing_if = "Option::is_none")]
    rerank_score: Option<f32>,
    #[serde(rename = "_id")]
    id: &'a str,
    title: &'a str,
    /// The sentence of the text that fits best.
    sentence: &'a str,
    text: &'a str,
}

impl<'a, B: Backend> Corpus<'a, B> {
    /// Joins documents and their embeddings by their ids.
    ///
    /// # Errors
    /// If an embedding has no document, or is longer than a question's will be.
    pub(super) fn new(
        retriever: &'a Retriever<B>,
        documents: Vec<Document>,
        index: Index,
        reranking: Option<Reranking<B>>,
    ) -> anyhow::Result<Self> {
        let embeddings = &index.documents;
        let (dim, most) = (embeddings.dim, retriever.dim());
        ensure!(dim <= most, "the documents have {dim} dimensions, the model {most}");
        let of_ids: HashMap<&str, usize> =
            documents.iter().zip(0..).map(|(document, place)| (&*document.id, place)).collect();
        let place = |id: &String| {
            of_ids.get(id.as_str()).copied().ok_or_else(|| {
                let message = format!("`{id}` is embedded, but no document has this id");
                Failure::new(message, "`--documents` and `--data` belong together")
            })
        };
        let places = embeddings.ids.iter().map(place).collect::<Result<_, _>>()?;
        let rows = if index.graph.is_some() { Vec::new() } else { embeddings.rows().into_owned() };
        let similarity = index.similarity;
        Ok(Self { retriever, similarity, documents, index, rows, places, reranking })
    }

    /// The `k` documents that answer `question` best.
    pub(super) fn answer<'b>(&'b self, question: &'b str, k: usize) -> anyhow::Result<Answer<'b>> {
        let start = Instant::now();
        let asked = self.retriever.encode_texts(Side::Query, &[question])?;
        let dim = self.index.documents.dim;
        let query = cut(asked.as_slice().into(), asked.len(), dim, self.similarity);
        let found = self.found(question, &query, k)?;
        let texts: Vec<&str> = found.iter().map(|(hit, _)| &*self.document(hit).text).collect();
        let sentences = best_sentences(self.retriever, self.similarity, question, &asked, &texts)?;
        let hits =
            (1..).zip(&found).zip(sentences).map(|((rank, (hit, rerank_score)), sentence)| {
                let Document { id, title, text } = self.document(hit);
                Hit {
                    rank,
                    score: hit.score,
                    rerank_score: *rerank_score,
                    id,
                    title,
                    sentence,
                    text,
                }
            });
        Ok(Answer { question, hits: hits.collect(), seconds: start.elapsed().as_secs_f64() })
    }

    /// The `k` nearest, or, of as many as the second model looks at, the `k` that it prefers; behind
    /// these the nearest that it did not look at.
    fn found(
        &self,
        question: &str,
        query: &[f32],
        k: usize,
    ) -> anyhow::Result<Vec<(search::Hit, Option<f32>)>> {
        let Index { documents, graph, .. } = &self.index;
        let nearest = |k| {
            let mut found = match graph {
                Some((graph, ef)) => graph.nearest(query, documents, k, *ef, &[])?,
                None => top_k(query, &self.rows, documents.dim, k, self.similarity)?,
            };
            anyhow::Ok(found.remove(0))
        };
        let Some(Reranking { reranker, text }) = &self.reranking else {
            return Ok(nearest(k)?.into_iter().map(|hit| (hit, None)).collect());
        };
        let found = nearest(k.max(reranker.top))?;
        let (first, behind) = found.split_at(found.len().min(reranker.top));
        let passages: Vec<Cow<'_, str>> =
            first.iter().map(|hit| self.document(hit).passage(*text)).collect();
        let pairs: Vec<(&str, &str)> =
            passages.iter().map(|passage| (question, &**passage)).collect();
        let scores = reranker.score(&pairs)?;
        let reranked = order(&scores).into_iter().map(|at| (first[at], Some(scores[at])));
        Ok(reranked.chain(behind.iter().map(|&hit| (hit, None))).take(k).collect())
    }

    fn document(&self, hit: &search::Hit) -> &Document {
        &self.documents[self.places[hit.index]]
    }
}

impl Answer<'_> {
    /// For people: two lines a hit.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        for Hit { rank, score, rerank_score, id, title, sentence, .. } in &self.hits {
            let score = match rerank_score {
                Some(by_second) => format!("{by_second:.4} ({score:.4})"),
                None => format!("{score:.4}"),
            };
            let title = if title.is_empty() { String::new() } else { format!("{title}  ") };
            line(&mut text, format_args!("{rank:>3}  {score}  {title}[{id}]"));
            line(&mut text, format_args!("     {sentence}"));
        }
        text.push('\n');
        text
    }
}
