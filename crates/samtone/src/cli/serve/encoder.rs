//! The model's side of the queue.

use std::panic::{AssertUnwindSafe, catch_unwind};

use burn::tensor::backend::Backend;
use samtone_model::{ModelError, Retriever, Side};

use super::metrics::Metrics;
use super::queue::{Queue, Share};
use crate::error::Failure;
use crate::output::say;

/// What makes token rows of texts: all that the web knows of a model.
pub(crate) trait Reader: Send + Sync {
    /// The token rows of texts of `side`, prompted and cut.
    fn tokenize(&self, side: Side, texts: &[String]) -> Result<Vec<Vec<u32>>, ModelError>;

    /// Whether `text` loses its end.
    fn is_cut(&self, side: Side, text: &str) -> Result<bool, ModelError>;
}

impl<B: Backend> Reader for Retriever<B> {
    fn tokenize(&self, side: Side, texts: &[String]) -> Result<Vec<Vec<u32>>, ModelError> {
        self.tokenize(side, texts)
    }

    fn is_cut(&self, side: Side, text: &str) -> Result<bool, ModelError> {
        let (prompted, most) = (format!("{}{text}", self.prompt(side)), self.max_tokens(side));
        let row = self.tokenizer(side).encode(&prompted, most + 1);
        Ok(row.map_err(|source| ModelError::Tokenizer { source })?.len() > most)
    }
}

/// What makes token rows of a side to their embeddings, `[rows, dim]`.
pub(crate) type Encode<'a> = dyn Fn(Side, &[Vec<u32>]) -> Vec<f32> + 'a;

/// Embeds what waits in `queue`, `tokens` at once, until it is closed and empty. Where `encode` panics at
/// requests together, each is computed alone: of one that it panics at again there is no answer, and
/// the work goes on.
///
/// # Errors
/// If `encode` then panics at a token alone: the device, or what it holds, is gone.
pub(crate) fn work(
    queue: &Queue,
    metrics: &Metrics,
    tokens: usize,
    encode: &Encode<'_>,
) -> Result<(), Failure> {
    let attempt =
        |side, rows: &[Vec<u32>]| catch_unwind(AssertUnwindSafe(|| encode(side, rows))).ok();
    while let Some(shares) = queue.take(tokens) {
        let (queries, documents): (Vec<Share>, Vec<Share>) =
            shares.into_iter().partition(|share| share.job.side == Side::Query);
        for (side, mut shares) in [(Side::Query, queries), (Side::Document, documents)] {
            let rows: Vec<Vec<u32>> = shares.iter_mut().flat_map(Share::take_rows).collect();
            if rows.is_empty() {
                continue;
            }
            metrics.batch(rows.len(), rows.iter().map(Vec::len).sum());
            if let Some(embeddings) = attempt(side, &rows) {
                queue.done(shares, &embeddings, embeddings.len() / rows.len());
                continue;
            }
            let is_alone = shares.len() == 1;
            let mut rest = &rows[..];
            for share in shares {
                let (own, behind) = rest.split_at(share.texts());
                rest = behind;
                let embeddings = if is_alone { None } else { attempt(side, own) };
                if let Some(embeddings) = embeddings {
                    queue.done(vec![share], &embeddings, embeddings.len() / own.len());
                } else if attempt(side, &[vec![0]]).is_some() {
                    say("error: the model failed at the texts of a request, which has no answer");
                } else {
                    let hint = "the messages above say where; start the server again";
                    return Err(Failure::new("the model does not compute any more", hint));
                }
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The answers to requests of one text each, whose tokens are all of these numbers, and how the work
    /// ended.
    fn work_on(numbers: &[u32], encode: &Encode<'_>) -> (Vec<Option<Vec<f32>>>, bool) {
        let queue = Queue::new(99);
        let answers: Vec<_> = numbers
            .iter()
            .map(|&number| {
                queue.push(queue.place(1).unwrap(), Side::Query, vec![vec![number; 3]]).unwrap()
            })
            .collect();
        queue.close();
        let ended = work(&queue, &Metrics::new(), 99, encode).is_ok();
        drop(queue);
        (answers.into_iter().map(|mut answer| answer.try_recv().ok()).collect(), ended)
    }

    #[test]
    fn who_waits_beside_a_request_that_fails_has_an_answer() {
        let encode = |_: Side, rows: &[Vec<u32>]| {
            assert!(rows.iter().all(|row| row[0] != 2), "2 is more than it bears");
            rows.iter().map(|row| row[0] as f32).collect()
        };
        let (answers, ended) = work_on(&[1, 2, 3], &encode);
        assert_eq!(answers, [Some(vec![1.0]), None, Some(vec![3.0])]);
        assert!(ended);
        assert_eq!(work_on(&[2], &encode), (vec![None], true));
    }

    #[test]
    fn a_model_that_computes_nothing_ends_the_work() {
        let encode = |_: Side, _: &[Vec<u32>]| -> Vec<f32> { panic!("the device is gone") };
        assert_eq!(work_on(&[1, 2, 3], &encode), (vec![None; 3], false));
    }
}
