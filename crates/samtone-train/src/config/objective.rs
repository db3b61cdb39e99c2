//! What is minimised beside the contrastive loss: `[matryoshka]`, `[distillation]`, `[second_stage]`.

use samtone_loss::LossConfig;
use serde::{Deserialize, Serialize};

use super::ExperimentConfig;

/// `[matryoshka]`: the first dimensions of an embedding are an embedding too.
///
/// The objective is the weighted sum over `dims` of the loss of the embeddings cut to that many
/// dimensions. Source: Kusupati et al. 2022, arXiv:2205.13147, equation 1.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MatryoshkaConfig {
    /// Dimensions; the whole embedding takes part only where it is named.
    pub dims: Vec<usize>,
    /// Factor of each; 1 each if absent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub weights: Vec<f64>,
}

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

/// `[second_stage]`: the last part of the steps under another loss, as PAIR trains.
///
/// Warmup and decay of the learning rate begin anew; the optimiser's moments go on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SecondStageConfig {
    /// Share of the steps, in (0, 1).
    pub share: f64,
    /// The contrastive loss of those steps.
    pub loss: LossConfig,
}

impl Default for SecondStageConfig {
    fn default() -> Self {
        Self { share: 0.5, loss: LossConfig::default() }
    }
}

impl ExperimentConfig {
    /// What is wrong with the terms beside the contrastive loss.
    pub(super) fn objective_mistake(&self) -> Option<String> {
        let positive = |value: f64| value.is_finite() && value > 0.0;
        if let Some(matryoshka) = &self.matryoshka {
            let whole = self.model.path.is_none().then(|| self.model.dual_encoder(1).dim());
            let limit = whole.unwrap_or(usize::MAX);
            if matryoshka.dims.is_empty() {
                return Some("`matryoshka.dims` is empty".into());
            }
            if let Some(dim) = matryoshka.dims.iter().find(|&&dim| dim == 0 || dim > limit) {
                return Some(format!(
                    "`matryoshka.dims` holds {dim}: expected 1 to {limit}, the embedding's"
                ));
            }
            let weights = &matryoshka.weights;
            if !weights.is_empty() && weights.len() != matryoshka.dims.len() {
                return Some("`matryoshka.weights`: expected one for each of `dims`".into());
            }
            if !weights.iter().all(|&weight| positive(weight)) {
                return Some("`matryoshka.weights`: expected finite numbers > 0".into());
            }
        }
        if let Some(distillation) = &self.distillation {
            let numbers = [
                ("weight", distillation.weight),
                ("teacher_temperature", distillation.teacher_temperature),
            ];
            for (key, value) in numbers {
                if !positive(value) {
                    return Some(format!(
                        "`distillation.{key}` is {value}: expected a finite number > 0"
                    ));
                }
            }
            if self.train.hard_negatives == 0 {
                return Some("`distillation` needs `train.hard_negatives` of at least 1".into());
            }
        }
        if let Some(stage) = &self.second_stage
            && !(positive(stage.share) && stage.share < 1.0)
        {
            return Some(format!(
                "`second_stage.share` is {}: expected a number between 0 and 1",
                stage.share
            ));
        }
        None
    }
}
