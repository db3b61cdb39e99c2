//! The sentence of a text that fits a question best.

use burn::tensor::backend::Backend;
use samtone_data::import::sentences::sentences;
use samtone_eval::bm25::{Analyzer, Bm25, Bm25Config};
use samtone_eval::search::Similarity;
use samtone_model::{ModelError, Retriever, Side};

/// Tokens that are embedded for all sentences of a question: a share of the time that an answer may take.
const TOKENS: usize = 256;

/// Of each of `texts` the sentence whose embedding, as a document, fits `question` best, `asked` being
/// its embedding. In a long text only those compete that share most with the question's words, as many
/// as the text's part of [`TOKENS`] has room for. A text without a sentence is its own.
pub(super) fn best_sentences<'a, B: Backend>(
    retriever: &Retriever<B>,
    similarity: Similarity,
    question: &str,
    asked: &[f32],
    texts: &[&'a str],
) -> Result<Vec<&'a str>, ModelError> {
    let split = |text: &&'a str| match sentences(text) {
        found if found.is_empty() => vec![*text],
        found => found.into_iter().map(|range| &text[range]).collect(),
    };
    let mut all: Vec<Vec<&str>> = texts.iter().map(split).collect();
    let bm25 = Bm25::build(all.concat(), Analyzer::default(), Bm25Config::default());
    let room = TOKENS / all.iter().filter(|sentences| sentences.len() > 1).count().max(1);
    let (mut rows, mut first) = (Vec::new(), 0);
    for sentences in &mut all {
        let mut by_words: Vec<(f32, &str)> = (first..)
            .zip(&*sentences)
            .map(|(place, &sentence)| (bm25.score(question, place), sentence))
            .collect();
        first += sentences.len();
        by_words.sort_by(|a, b| b.0.total_cmp(&a.0));
        sentences.clear();
        let mut left = room;
        for (_, sentence) in by_words {
            let row = retriever.tokenize(Side::Document, &[sentence])?.remove(0);
            // The first competes whatever its length.
            if row.len() > left && !sentences.is_empty() {
                break;
            }
            left = left.saturating_sub(row.len());
            sentences.push(sentence);
            rows.push(row);
        }
        if let [_] = **sentences {
            // There is nothing to choose.
            rows.pop();
        }
    }
    let embedded = retriever.encode_tokens(Side::Document, &rows, TOKENS);
    let mut scores = embedded.chunks_exact(asked.len()).map(|row| similarity.score(asked, row));
    Ok(all
        .iter()
        .map(|sentences| {
            if let [only] = **sentences {
                return only;
            }
            let scored = sentences.iter().map(|sentence| (scores.next(), *sentence));
            let best = scored.reduce(|best, other| if other.0 > best.0 { other } else { best });
            best.expect("every text has a sentence").1
        })
        .collect())
}
