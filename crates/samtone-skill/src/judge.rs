//! Answers, and whether they are right.

use std::path::Path;

use burn::tensor::backend::Backend;
use samtone_data::reading::QaPair;
use samtone_eval::exact_match;
use samtone_model::TextToText;
use samtone_train::TrainError;
use serde::{Deserialize, Serialize};

use crate::config::{DecodingConfig, QuestionConfig};

/// A line of a predictions file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Prediction {
    /// The question.
    pub question: String,
    /// What the model wrote.
    pub prediction: String,
    /// The right answers.
    pub answers: Vec<String>,
    /// Whether the prediction is one of them, normalised.
    pub correct: bool,
}

/// The model's answers to `questions`.
pub(crate) fn predict<B: Backend>(
    model: &TextToText<B>,
    questions: &[QaPair],
    data: &QuestionConfig,
    eval: &DecodingConfig,
) -> Result<Vec<Prediction>, TrainError> {
    let texts: Vec<&str> = questions.iter().map(|question| question.question.as_str()).collect();
    let decoding = eval.decoding(data.max_target);
    let answers = model.answer(&texts, data.max_input, decoding, eval.batch_size)?;
    let pairs = questions.iter().zip(answers);
    Ok(pairs
        .map(|(QaPair { question, answers }, prediction)| Prediction {
            question: question.clone(),
            correct: exact_match(&prediction, answers),
            prediction: prediction.trim().to_owned(),
            answers: answers.clone(),
        })
        .collect())
}

/// The share that is right; 0 of none.
pub(crate) fn share<'a>(predictions: impl IntoIterator<Item = &'a Prediction>) -> f64 {
    let counts = predictions.into_iter().fold((0_usize, 0_usize), |(right, all), each| {
        (right + usize::from(each.correct), all + 1)
    });
    counts.0 as f64 / counts.1.max(1) as f64
}

/// Writes predictions as JSON lines.
pub(crate) fn write_predictions(path: &Path, predictions: &[Prediction]) -> Result<(), TrainError> {
    let mut text = Vec::new();
    for prediction in predictions {
        serde_json::to_writer(&mut text, prediction).expect("texts are representable as JSON");
        text.push(b'\n');
    }
    samtone_files::replace(path, &text)
        .map_err(|source| TrainError::Write { path: path.into(), source })
}
