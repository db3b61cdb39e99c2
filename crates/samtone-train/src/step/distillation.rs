//! The term that follows a teacher's scores of a row's document and hard negatives.

use burn::tensor::backend::{AutodiffBackend, Backend};
use burn::tensor::{Tensor, TensorData};
use samtone_loss::{Embeddings, Similarity, Temperature};
use serde::{Deserialize, Serialize};

use crate::step::terms::ObjectiveGradients;

/// Added to the logit of a candidate without a teacher's score: its probability is 0.
const HIDDEN: f64 = -1e9;

/// The smallest squared length that a cosine divides by.
const SMALLEST_SQUARE: f64 = 1e-24;

/// `[distillation]`: a term that learns from a teacher's scores of a row's document and hard
/// negatives; rows without scores take no part in it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DistillationConfig {
    /// The term.
    pub loss: DistillationLoss,
    /// Its factor beside the contrastive loss.
    pub weight: f64,
    /// What the teacher's scores are divided by.
    pub teacher_temperature: f64,
}

impl Default for DistillationConfig {
    fn default() -> Self {
        Self { loss: DistillationLoss::default(), weight: 1.0, teacher_temperature: 1.0 }
    }
}

/// How a student follows its teacher.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DistillationLoss {
    /// `KL(softmax(t) ‖ softmax(s / τ))` over a row's document and hard negatives, τ the contrastive
    /// loss's (as in `RocketQAv2`, arXiv:2110.07367, equation 5).
    #[default]
    Kl,
    /// The mean square of `(s_positive - s_negative) - (t_positive - t_negative)` over rows and their
    /// hard negatives (Hofstätter et al. 2020, arXiv:2010.02666, equation 7).
    MarginMse,
}

/// The term and its gradients, times its weight; none where the teacher compares no two candidates.
///
/// `teacher`: `[batch × (1 + k)]`, not a number where there is no score.
pub(crate) fn term<B: AutodiffBackend>(
    config: &DistillationConfig,
    embeddings: &Embeddings<B::InnerBackend>,
    teacher: &[f64],
    similarity: Similarity,
    temperature: Temperature,
) -> Option<ObjectiveGradients<B::InnerBackend>> {
    let [rows, k, dim] = embeddings.hard_negatives.as_ref()?.dims();
    let width = 1 + k;
    let teacher = Teacher::new(teacher, width, config.teacher_temperature)?;
    let tracked: Embeddings<B> = embeddings
        .clone()
        .map(|x| Tensor::from_inner(x).require_grad(), |x| Tensor::from_inner(x).require_grad());
    let Embeddings { queries, documents, hard_negatives } = tracked.clone();
    let hard_negatives = hard_negatives?;
    let device = queries.device();
    let dtype = queries.dtype();

    // Scores of each row's own candidates, the document first: [rows, 1 + k].
    let candidates = Tensor::cat(vec![documents.reshape([rows, 1, dim]), hard_negatives], 1);
    let anchors = queries.reshape([rows, 1, dim]);
    let (anchors, candidates) = match similarity {
        Similarity::Cosine => (normalize(anchors), normalize(candidates)),
        Similarity::Dot => (anchors, candidates),
    };
    let scores = (anchors * candidates).sum_dim(2).reshape([rows, width]);
    let constant = |values: Vec<f64>| {
        Tensor::<B, 2>::from_data(TensorData::new(values, [rows, width]), (&device, dtype))
    };

    let log_temperature =
        Tensor::<B, 1>::from_data(TensorData::new(vec![temperature.log()], [1]), (&device, dtype))
            .require_grad();
    let value = match config.loss {
        DistillationLoss::Kl => {
            let scale = log_temperature.clone().neg().exp().reshape([1, 1]);
            let logits = scores * scale + constant(teacher.hidden());
            let peak = logits.clone().detach().max_dim(1);
            let shifted = logits - peak;
            let log_probabilities = shifted.clone() - shifted.exp().sum_dim(1).log();
            let (probabilities, entropy) = teacher.probabilities();
            (constant(probabilities) * log_probabilities).sum().neg().add_scalar(-entropy)
        }
        DistillationLoss::MarginMse => {
            let positive = scores.clone().narrow(1, 0, 1);
            let (margins, shares) = teacher.margins();
            let errors = positive - scores - constant(margins);
            (errors.clone() * errors * constant(shares)).sum()
        }
    };
    let value = value.mul_scalar(config.weight);
    let gradients = value.backward();
    let number = |x: Option<Tensor<B::InnerBackend, 1>>| {
        x.and_then(|x| x.into_data().iter::<f64>().next()).unwrap_or(0.0)
    };
    Some(ObjectiveGradients {
        loss: number(Some(value.inner())),
        log_temperature: number(log_temperature.grad(&gradients)),
        embeddings: tracked.map(
            |x| x.grad(&gradients).expect("the term depends on it"),
            |x| x.grad(&gradients).expect("the term depends on it"),
        ),
    })
}

/// Scores divided by their temperature, of the rows that say something.
struct Teacher {
    /// `[batch × width]`; not a number where unknown.
    scores: Vec<f64>,
    width: usize,
}

impl Teacher {
    /// None if no row has a score of its document and of a negative.
    fn new(scores: &[f64], width: usize, temperature: f64) -> Option<Self> {
        let mut scores: Vec<f64> = scores.iter().map(|score| score / temperature).collect();
        let mut says_something = false;
        for row in scores.chunks_mut(width) {
            if row[0].is_nan() || row[1..].iter().all(|score| score.is_nan()) {
                row.fill(f64::NAN);
            } else {
                says_something = true;
            }
        }
        says_something.then_some(Self { scores, width })
    }

    /// What hides unknown candidates from a softmax.
    fn hidden(&self) -> Vec<f64> {
        self.scores.iter().map(|score| if score.is_nan() { HIDDEN } else { 0.0 }).collect()
    }

    /// Each row's softmax divided by the number of rows with scores, and the mean of `Σ -p ln p`.
    fn probabilities(&self) -> (Vec<f64>, f64) {
        let rows = self.scores.chunks(self.width).filter(|row| !row[0].is_nan()).count() as f64;
        let mut entropy = 0.0;
        let mut probabilities = Vec::with_capacity(self.scores.len());
        for row in self.scores.chunks(self.width) {
            let peak = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let weight = |score: &f64| if score.is_nan() { 0.0 } else { (score - peak).exp() };
            let sum: f64 = row.iter().map(weight).sum();
            for score in row {
                let p = if sum > 0.0 { weight(score) / sum } else { 0.0 };
                if p > 0.0 {
                    entropy -= p * p.ln() / rows;
                }
                probabilities.push(p / rows);
            }
        }
        (probabilities, entropy)
    }

    /// `t_positive - t` of each candidate, and its share in the mean over known negatives.
    fn margins(&self) -> (Vec<f64>, Vec<f64>) {
        let known = |row: &[f64]| row[1..].iter().filter(|score| !score.is_nan()).count();
        let pairs: usize = self.scores.chunks(self.width).map(known).sum();
        let mut margins = Vec::with_capacity(self.scores.len());
        let mut shares = Vec::with_capacity(self.scores.len());
        for row in self.scores.chunks(self.width) {
            for (place, score) in row.iter().enumerate() {
                let counts = place > 0 && !score.is_nan();
                margins.push(if counts { row[0] - score } else { 0.0 });
                shares.push(if counts { 1.0 / pairs as f64 } else { 0.0 });
            }
        }
        (margins, shares)
    }
}

/// Vectors of length 1 along the last axis.
fn normalize<B: Backend>(x: Tensor<B, 3>) -> Tensor<B, 3> {
    let square = (x.clone() * x.clone()).sum_dim(2).clamp_min(SMALLEST_SQUARE);
    x / square.sqrt()
}
