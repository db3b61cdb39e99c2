//! A question to the documents that answer it.

use std::collections::HashMap;
use std::time::Instant;

use anyhow::ensure;
use burn::tensor::backend::Backend;
use samtone_data::Document;
use samtone_eval::search::{Similarity, top_k};
use samtone_model::{Retriever, Side};
use samtone_train::run::similarity_of;
use serde::Serialize;

use super::sentence::best_sentences;
use crate::commands::eval::line;
use crate::commands::reading::cut;
use crate::embeddings::Embeddings;
use crate::error::Failure;

/// The documents and their embeddings, in memory, and what embeds a question.
pub(super) struct Corpus<'a, B: Backend> {
    retriever: &'a Retriever<B>,
    similarity: Similarity,
    documents: Vec<Document>,
    /// `[n, dim]`
    rows: Vec<f32>,
    /// Perhaps fewer than the model's.
    dim: usize,
    /// The place of each row's document.
    places: Vec<usize>,
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
    score: f32,
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
        embeddings: &Embeddings,
    ) -> anyhow::Result<Self> {
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
        let rows = embeddings.rows().into_owned();
        Ok(Self { retriever, similarity: similarity_of(retriever), documents, rows, dim, places })
    }

    /// The `k` documents that answer `question` best.
    pub(super) fn answer<'b>(&'b self, question: &'b str, k: usize) -> anyhow::Result<Answer<'b>> {
        let start = Instant::now();
        let asked = self.retriever.encode_texts(Side::Query, &[question])?;
        let query = cut(asked.as_slice().into(), asked.len(), self.dim, self.similarity);
        let found = top_k(&query, &self.rows, self.dim, k, self.similarity)?.remove(0);
        let documents: Vec<&Document> =
            found.iter().map(|hit| &self.documents[self.places[hit.index]]).collect();
        let texts: Vec<&str> = documents.iter().map(|document| document.text.as_str()).collect();
        let sentences = best_sentences(self.retriever, self.similarity, question, &asked, &texts)?;
        let hits = (1..).zip(found).zip(documents).zip(sentences);
        let hits = hits.map(|(((rank, hit), document), sentence)| Hit {
            rank,
            score: hit.score,
            id: &document.id,
            title: &document.title,
            sentence,
            text: &document.text,
        });
        Ok(Answer { question, hits: hits.collect(), seconds: start.elapsed().as_secs_f64() })
    }
}

impl Answer<'_> {
    /// For people: two lines a hit.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        for Hit { rank, score, id, title, sentence, .. } in &self.hits {
            let title = if title.is_empty() { String::new() } else { format!("{title}  ") };
            line(&mut text, format_args!("{rank:>3}  {score:.4}  {title}[{id}]"));
            line(&mut text, format_args!("     {sentence}"));
        }
        text.push('\n');
        text
    }
}
