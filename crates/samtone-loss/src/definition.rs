//! The loss as its equation reads: plain differentiable tensor operations on the whole score
//! matrix. The streaming form is held to this one.

use std::collections::HashSet;

use burn::tensor::backend::Backend;
use burn::tensor::{Bool, Tensor, TensorData};

use crate::embeddings::Sizes;
use crate::rows::{HIDDEN, UnitRows, column, working_type};
use crate::{
    Anchor, Batch, Candidates, Embeddings, FalseNegatives, Group, Loss, LossError, Relations,
    Similarity,
};

/// A loss with its per-row values, both differentiable.
#[derive(Debug, Clone)]
pub struct Definition<B: Backend> {
    /// `Σ w_i·ℓ_i / Σ w_i`, `[1]`, in nats.
    pub loss: Tensor<B, 1>,
    /// ℓ, `[batch]`, in nats.
    pub per_row: Tensor<B, 1>,
}

impl Loss {
    /// The loss in plain tensor operations, `O(batch²)` memory: the reference for the rest.
    ///
    /// `ℓ_i = Σ_g w_g·( -x(q_i,d_i) + ln Z_g[i] )` with
    /// `Z_g[i] = e^x(q_i,d_i) + Σ over the group's candidates of m·e^x`, `x = s/τ`.
    ///
    /// Under autodiff it is differentiable in every embedding and in `log_temperature`.
    ///
    /// # Shapes
    ///
    /// - `log_temperature`: `[1]`, ln τ, of the type of the embeddings.
    /// - returns the loss `[1]` and its rows `[batch]`.
    ///
    /// # Errors
    ///
    /// [`LossError`] where relations or weights do not fit the batch. Non-finite embeddings are
    /// not looked for: they spread, as in any tensor expression.
    pub fn definition<B: Backend>(
        &self,
        batch: &Batch<B>,
        log_temperature: Tensor<B, 1>,
    ) -> Result<Definition<B>, LossError> {
        let sizes = batch.check()?;
        let shares = batch.shares()?;
        let scores = Scores::new(self, batch, log_temperature);

        let per_row = self
            .groups
            .iter()
            .map(|group| scores.group(group) * group.weight)
            .reduce(Tensor::add)
            .expect("a resolved loss has groups"); // [batch, 1]
        let shares = column(shares, per_row.dtype(), &per_row.device());
        let loss = (per_row.clone() * shares).sum();
        Ok(Definition { loss, per_row: per_row.reshape([sizes.rows]) })
    }
}

/// Every score of a batch, and what hides some of them.
struct Scores<'a, B: Backend> {
    loss: &'a Loss,
    queries: Tensor<B, 2>,
    documents: Tensor<B, 2>,
    /// `[batch · negatives, dim]`, a row's own together.
    hard: Option<Tensor<B, 2>>,
    temperature: Tensor<B, 2>,
    /// s(q_i, d_i), `[batch, 1]`.
    positive: Tensor<B, 2>,
    /// Rows j hidden from anchors i, the diagonal among them, `[batch, batch]`.
    hidden_rows: Tensor<B, 2, Bool>,
    hidden_hard_own: Option<Tensor<B, 2, Bool>>,
    hidden_hard_others: Option<Tensor<B, 2, Bool>>,
}

impl<'a, B: Backend> Scores<'a, B> {
    fn new(loss: &'a Loss, batch: &Batch<B>, log_temperature: Tensor<B, 1>) -> Self {
        let sizes = batch.embeddings.sizes();
        let Sizes { rows, negatives, dim } = sizes;
        let Embeddings { queries, documents, hard_negatives } = batch.embeddings.clone();
        let device = queries.device();
        let dtype = working_type(queries.dtype());
        let scored = |rows: Tensor<B, 2>| {
            let rows = rows.cast(dtype);
            match loss.similarity {
                Similarity::Cosine => UnitRows::new(rows).unit,
                Similarity::Dot => rows,
            }
        };
        let queries = scored(queries);
        let documents = scored(documents);
        let hard = hard_negatives.filter(|_| negatives > 0);
        let hard = hard.map(|hard| scored(hard.reshape([rows * negatives, dim])));
        let positive = (queries.clone() * documents.clone()).sum_dim(1);
        let temperature = log_temperature.cast(dtype).exp().reshape([1, 1]);

        let masks = Masks::new(loss.false_negatives, &batch.relations, sizes);
        let mask = |bits: Vec<bool>| -> Tensor<B, 2, Bool> {
            let columns = bits.len() / rows;
            Tensor::from_data(TensorData::new(bits, [rows, columns]), &device)
        };
        Self {
            loss,
            queries,
            documents,
            temperature,
            positive,
            hidden_rows: mask(masks.rows()),
            hidden_hard_own: hard.is_some().then(|| mask(masks.hard(|anchor, row| anchor == row))),
            hidden_hard_others: hard
                .is_some()
                .then(|| mask(masks.hard(|anchor, row| anchor != row))),
            hard,
        }
    }

    /// -x(q_i,d_i) + ln Z_g\[i\], `[batch, 1]`.
    fn group(&self, group: &Group) -> Tensor<B, 2> {
        let positive = self.positive.clone() / self.temperature.clone(); // x(q_i,d_i)
        let mut terms = vec![positive.clone()];
        if group.positive_twice {
            terms.push(positive.clone());
        }
        terms.extend(group.candidates.iter().filter_map(|&c| self.logits(group.anchor, c)));
        let logits = Tensor::cat(terms, 1); // [batch, 1 + candidates]
        let largest = logits.clone().detach().max_dim(1);
        let log_z = (logits - largest.clone()).exp().sum_dim(1).log() + largest;
        log_z - positive
    }

    /// x of one block of candidates, `[batch, candidates]`; hidden ones are pushed out of sight.
    fn logits(&self, anchor: Anchor, candidates: Candidates) -> Option<Tensor<B, 2>> {
        let (own, other) = match anchor {
            Anchor::Query => (&self.queries, &self.documents),
            Anchor::Document => (&self.documents, &self.queries),
        };
        let rows = &self.hidden_rows;
        let (from, to, hidden) = match candidates {
            Candidates::Cross => (own, other, rows),
            Candidates::Same => (own, own, rows),
            Candidates::HardOwn => (own, self.hard.as_ref()?, self.hidden_hard_own.as_ref()?),
            Candidates::HardOthers => (own, self.hard.as_ref()?, self.hidden_hard_others.as_ref()?),
            Candidates::Opposite => (other, own, rows),
            Candidates::OppositePositives => (other, other, rows),
            Candidates::OppositeHard => {
                (other, self.hard.as_ref()?, self.hidden_hard_others.as_ref()?)
            }
            Candidates::Hard | Candidates::OppositeSame => {
                unreachable!("a resolved group spells its candidates out")
            }
        };
        let scores = from.clone().matmul(to.clone().transpose());
        let mut logits = scores.clone() / self.temperature.clone();
        if let Some(hardness) = self.loss.hardness
            && hardness.acts_on(anchor, candidates)
        {
            logits = logits + scores.clone().detach() * hardness.strength;
        }
        logits = logits.mask_fill(hidden.clone(), HIDDEN);
        if let Some(margin) = self.loss.false_negatives.margin {
            let positive = self.positive.clone().detach();
            let threshold = positive.clone() + positive.abs() * margin.relative + margin.absolute;
            let too_close = scores.detach().greater(threshold.expand(logits.dims()));
            logits = logits.mask_fill(too_close, HIDDEN);
        }
        Some(logits)
    }
}

/// The false-negative rule written out for every (anchor, candidate).
struct Masks<'a> {
    rule: FalseNegatives,
    relations: &'a Relations,
    sizes: Sizes,
    known: HashSet<(usize, usize)>,
}

impl<'a> Masks<'a> {
    fn new(rule: FalseNegatives, relations: &'a Relations, sizes: Sizes) -> Self {
        let known = relations.known.iter().flat_map(|&(i, j)| [(i, j), (j, i)]).collect();
        Self { rule, relations, sizes, known }
    }

    /// Whether rows i and j ≠ i share a query, a document, or a known judgment.
    fn related(&self, i: usize, j: usize) -> bool {
        let equal = |ids: &Option<Vec<u64>>| ids.as_ref().is_some_and(|ids| ids[i] == ids[j]);
        let Relations { query_ids, document_ids, .. } = self.relations;
        self.rule.ids && (equal(query_ids) || equal(document_ids))
            || self.rule.known && self.known.contains(&(i, j))
    }

    fn rows(&self) -> Vec<bool> {
        let Sizes { rows, .. } = self.sizes;
        let pairs = (0..rows).flat_map(|i| (0..rows).map(move |j| (i, j)));
        pairs.map(|(i, j)| i == j || self.related(i, j)).collect()
    }

    /// Hides all hard negatives but those whose (anchor, row) are `wanted`, and of those the ones
    /// of related rows and the ones that are relevant to the anchor themselves.
    fn hard(&self, wanted: impl Fn(usize, usize) -> bool) -> Vec<bool> {
        let Sizes { rows, negatives, .. } = self.sizes;
        let ids = self.relations.hard_negative_ids.as_ref();
        let mut hidden = Vec::with_capacity(rows * rows * negatives);
        for i in 0..rows {
            let relevant = self.relevant(i);
            for j in 0..rows {
                let row_hidden = !wanted(i, j) || i != j && self.related(i, j);
                hidden.extend((0..negatives).map(|k| {
                    row_hidden || ids.is_some_and(|ids| relevant.contains(&ids[j * negatives + k]))
                }));
            }
        }
        hidden
    }

    /// The ids of the documents known relevant to row i.
    fn relevant(&self, i: usize) -> HashSet<u64> {
        let Some(documents) = &self.relations.document_ids else { return HashSet::new() };
        if !(self.rule.ids || self.rule.known) {
            return HashSet::new();
        }
        let rows = 0..self.sizes.rows;
        rows.filter(|&j| j == i || self.related(i, j)).map(|j| documents[j]).collect()
    }
}
