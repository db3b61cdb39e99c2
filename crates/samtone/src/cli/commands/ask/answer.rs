//! A question to the documents that answer it.

use std::borrow::Cow;
use std::time::Instant;

use burn::tensor::backend::Backend;
use samtone_data::Document;
use samtone_eval::search;
use samtone_model::{Retriever, Side};
use serde::Serialize;

use super::sentence::best_sentences;
use crate::commands::eval::line;
use crate::commands::passages::Passages;
use crate::commands::rerank::{Reranker, order};

/// The documents, what embeds a question, and perhaps a second model.
pub(super) struct Corpus<'a, B: Backend> {
    pub(super) retriever: &'a Retriever<B>,
    pub(super) passages: Passages,
    pub(super) reranker: Option<Reranker<B>>,
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

impl<B: Backend> Corpus<'_, B> {
    /// The `k` documents that answer `question` best.
    pub(super) fn answer<'b>(&'b self, question: &'b str, k: usize) -> anyhow::Result<Answer<'b>> {
        let start = Instant::now();
        let asked = self.retriever.encode_texts(Side::Query, &[question])?;
        let (passages, found) = (&self.passages, self.found(question, &asked, k)?);
        let texts: Vec<&str> = found.iter().map(|(hit, _)| &*passages.document(hit).text).collect();
        let similarity = passages.similarity();
        let sentences = best_sentences(self.retriever, similarity, question, &asked, &texts)?;
        let hits =
            (1..).zip(&found).zip(sentences).map(|((rank, (hit, rerank_score)), sentence)| {
                let Document { id, title, text } = passages.document(hit);
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
        asked: &[f32],
        k: usize,
    ) -> anyhow::Result<Vec<(search::Hit, Option<f32>)>> {
        let passages = &self.passages;
        let nearest = |k| passages.nearest(question, asked, k, passages.ef);
        let Some(reranker) = &self.reranker else {
            return Ok(nearest(k)?.into_iter().map(|hit| (hit, None)).collect());
        };
        let found = nearest(k.max(reranker.top))?;
        let (first, behind) = found.split_at(found.len().min(reranker.top));
        let read: Vec<Cow<'_, str>> =
            first.iter().map(|hit| passages.document(hit).passage(passages.text)).collect();
        let pairs: Vec<(&str, &str)> = read.iter().map(|passage| (question, &**passage)).collect();
        let scores = reranker.score(&pairs)?;
        let reranked = order(&scores).into_iter().map(|at| (first[at], Some(scores[at])));
        Ok(reranked.chain(behind.iter().map(|&hit| (hit, None))).take(k).collect())
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
