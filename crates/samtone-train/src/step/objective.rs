//! What a step minimises: the contrastive loss, perhaps of shortened embeddings too, and perhaps a
//! term that follows a teacher.

use burn::tensor::backend::{AutodiffBackend, Backend};
use samtone_loss::{Batch, Embeddings, Loss, LossError, Relations, Temperature};
use serde::{Deserialize, Serialize};

use super::distillation::{self, DistillationConfig};
use super::terms::ObjectiveGradients;

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

/// `Σ_m w_m · (contrastive loss + distillation)` of embeddings cut to m dimensions.
#[derive(Clone, Debug)]
pub struct Objective {
    /// The contrastive loss.
    pub contrastive: Loss,
    /// The term beside it.
    pub distillation: Option<DistillationConfig>,
    /// Dimensions and their factors; the whole embedding alone if empty.
    matryoshka: Vec<(usize, f64)>,
}

impl From<Loss> for Objective {
    /// The contrastive loss alone.
    fn from(contrastive: Loss) -> Self {
        Self { contrastive, distillation: None, matryoshka: Vec::new() }
    }
}

impl Objective {
    /// Adds the loss of shortened embeddings.
    #[must_use]
    pub fn with_matryoshka(mut self, config: &MatryoshkaConfig) -> Self {
        let weights = config.weights.iter().copied().chain(std::iter::repeat(1.0));
        self.matryoshka = config.dims.iter().copied().zip(weights).collect();
        self
    }

    /// Adds a term that follows a teacher.
    #[must_use]
    pub fn with_distillation(mut self, config: DistillationConfig) -> Self {
        self.distillation = Some(config);
        self
    }

    /// The value and its gradients. `teacher`: scores of each row's document and hard negatives,
    /// `[batch × (1 + k)]`, not a number where there is none; may be empty.
    ///
    /// # Errors
    /// A non-finite embedding or loss, named with its row.
    pub fn value_and_gradients<B: AutodiffBackend>(
        &self,
        embeddings: &Embeddings<B::InnerBackend>,
        relations: &Relations,
        teacher: &[f64],
        temperature: Temperature,
    ) -> Result<ObjectiveGradients<B::InnerBackend>, LossError> {
        let [_, whole] = embeddings.queries.dims();
        let all = [(whole, 1.0)];
        let slices = if self.matryoshka.is_empty() { &all[..] } else { &self.matryoshka };
        let mut sum: Option<ObjectiveGradients<B::InnerBackend>> = None;
        for &(dim, weight) in slices {
            let cut = cut(embeddings, dim);
            let batch = Batch::from(cut.clone()).with_relations(relations.clone());
            let found = self.contrastive.value_and_gradients(&batch, temperature)?;
            let mut part = ObjectiveGradients::from(found);
            if let Some(config) = &self.distillation {
                let similarity = self.contrastive.similarity();
                let term = distillation::term::<B>(config, &cut, teacher, similarity, temperature);
                if let Some(term) = term {
                    part = part.plus(term);
                }
            }
            let part = if dim == whole && weight == 1.0 { part } else { part.widen(whole, weight) };
            sum = Some(match sum {
                Some(sum) => sum.plus(part),
                None => part,
            });
        }
        Ok(sum.expect("there is a slice"))
    }
}

/// The first `dim` dimensions.
fn cut<B: Backend>(embeddings: &Embeddings<B>, dim: usize) -> Embeddings<B> {
    let embeddings = embeddings.clone();
    if embeddings.queries.dims()[1] == dim {
        return embeddings;
    }
    embeddings.map(|x| x.narrow(1, 0, dim), |x| x.narrow(2, 0, dim))
}
