//! Which parts of which score matrices a loss needs.
//!
//! Groups share score matrices: the q-d scores serve the query anchors by rows and the document
//! anchors by columns. A [`Term`] is one such reading of a matrix. Every normaliser is a sum over
//! terms, so each matrix is computed once, whatever the number of groups that read it:
//!
//! ```text
//! A_t[i] = ln Σ over the candidates c of term t visible to anchor i of e^(a_t·s_ic)
//! ln Z_g[i] = ln( p·e^x_ii + Σ_(t in g) e^A_t[i] )                  p = 1, or 2 for positive_twice
//! λ_t[i] = -ln Σ_(g has t) w_g·v_i·e^(-ln Z_g[i])                   v_i: the row's share of the mean
//! ∂L/∂s_ic = 1/τ · Σ_t e^(a_t·s_ic - λ_t[i])
//! ```

use crate::{Anchor, Candidates, Group, Input, Loss, Temperature};

/// A score matrix. Queries and documents are `[batch, dim]`, hard negatives
/// `[batch · negatives, dim]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Matrix {
    /// Queries by documents.
    Cross,
    /// Queries by queries.
    Queries,
    /// Documents by documents.
    Documents,
    /// Queries by the hard negatives of other rows.
    QueryHard,
    /// Documents by the hard negatives of other rows.
    DocumentHard,
    /// Queries by the row's own hard negatives, `[batch, negatives]`.
    QueryOwn,
    /// Documents by the row's own hard negatives, `[batch, negatives]`.
    DocumentOwn,
}

impl Matrix {
    /// What its rows and its columns come from.
    pub(crate) fn inputs(self) -> (Input, Input) {
        match self {
            Self::Cross => (Input::Queries, Input::Documents),
            Self::Queries => (Input::Queries, Input::Queries),
            Self::Documents => (Input::Documents, Input::Documents),
            Self::QueryHard | Self::QueryOwn => (Input::Queries, Input::HardNegatives),
            Self::DocumentHard | Self::DocumentOwn => (Input::Documents, Input::HardNegatives),
        }
    }

    /// Whether it is its own transpose, so that half of it suffices.
    pub(crate) fn is_symmetric(self) -> bool {
        matches!(self, Self::Queries | Self::Documents)
    }

    /// The readings of one of its tiles: the axis of the tile on which the anchors lie, and the
    /// axis of the matrix that they come from.
    ///
    /// A `mirrored` tile of a symmetric matrix also stands for its image below the diagonal.
    pub(crate) fn readings(self, mirrored: bool) -> &'static [(Axis, Axis)] {
        const ROWS: (Axis, Axis) = (Axis::Rows, Axis::Rows);
        match self {
            Self::Cross => &[ROWS, (Axis::Columns, Axis::Columns)],
            Self::Queries | Self::Documents if mirrored => &[ROWS, (Axis::Columns, Axis::Rows)],
            _ => &[ROWS],
        }
    }

    /// Whether it holds a row's own hard negatives alone.
    pub(crate) fn is_own(self) -> bool {
        matches!(self, Self::QueryOwn | Self::DocumentOwn)
    }
}

/// Along which axis of a score matrix the anchors lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Axis {
    Rows,
    Columns,
}

/// One reading of a score matrix.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Term {
    pub(crate) matrix: Matrix,
    pub(crate) anchors: Axis,
    /// The factor on the scores: 1/τ, plus the strength of hardness where it acts.
    pub(crate) scale: f64,
}

/// A group over the plan's terms.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct PlannedGroup {
    pub(crate) weight: f64,
    /// How often the positive stands in the denominator, 1 or 2.
    pub(crate) positives: f64,
    pub(crate) terms: Vec<usize>,
}

/// What to compute for a loss at a temperature.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Plan {
    pub(crate) terms: Vec<Term>,
    pub(crate) groups: Vec<PlannedGroup>,
}

impl Plan {
    /// Plans a loss; terms on hard negatives only where the batch has some.
    pub(crate) fn new(loss: &Loss, temperature: Temperature, has_hard: bool) -> Self {
        let mut terms = Vec::new();
        let groups = loss
            .groups
            .iter()
            .map(|group| PlannedGroup {
                weight: group.weight,
                positives: if group.positive_twice { 2.0 } else { 1.0 },
                terms: group
                    .candidates
                    .iter()
                    .map(|&candidates| term(loss, group, candidates, temperature))
                    .filter(|term| has_hard || term.matrix.inputs().1 != Input::HardNegatives)
                    .map(|term| {
                        terms.iter().position(|&known| known == term).unwrap_or_else(|| {
                            terms.push(term);
                            terms.len() - 1
                        })
                    })
                    .collect(),
            })
            .collect();
        Self { terms, groups }
    }

    /// The distinct score matrices, in a fixed order.
    pub(crate) fn matrices(&self) -> Vec<Matrix> {
        use Matrix::{Cross, DocumentHard, DocumentOwn, Documents, Queries, QueryHard, QueryOwn};
        let all = [Cross, Queries, Documents, QueryHard, DocumentHard, QueryOwn, DocumentOwn];
        let needed = |matrix: &Matrix| self.terms.iter().any(|term| term.matrix == *matrix);
        all.into_iter().filter(needed).collect()
    }

    /// The terms on a matrix whose anchors lie along an axis, with their positions.
    pub(crate) fn terms_on(
        &self,
        matrix: Matrix,
        anchors: Axis,
    ) -> impl Iterator<Item = (usize, &Term)> {
        let on = move |term: &Term| term.matrix == matrix && term.anchors == anchors;
        self.terms.iter().enumerate().filter(move |(_, term)| on(term))
    }
}

fn term(loss: &Loss, group: &Group, candidates: Candidates, temperature: Temperature) -> Term {
    let query = group.anchor == Anchor::Query;
    let (own, other) = if query {
        (Matrix::Queries, Matrix::Documents)
    } else {
        (Matrix::Documents, Matrix::Queries)
    };
    let (along, across) =
        if query { (Axis::Rows, Axis::Columns) } else { (Axis::Columns, Axis::Rows) };
    let (matrix, anchors) = match candidates {
        Candidates::Cross => (Matrix::Cross, along),
        Candidates::Opposite => (Matrix::Cross, across),
        Candidates::Same => (own, Axis::Rows),
        Candidates::OppositePositives => (other, Axis::Rows),
        Candidates::HardOwn if query => (Matrix::QueryOwn, Axis::Rows),
        Candidates::HardOwn => (Matrix::DocumentOwn, Axis::Rows),
        Candidates::HardOthers if query => (Matrix::QueryHard, Axis::Rows),
        Candidates::HardOthers | Candidates::OppositeHard => (Matrix::DocumentHard, Axis::Rows),
        Candidates::Hard | Candidates::OppositeSame => {
            unreachable!("a resolved group spells its candidates out")
        }
    };
    let hardness = loss.hardness.filter(|hardness| hardness.acts_on(group.anchor, candidates));
    let scale = temperature.scale() + hardness.map_or(0.0, |hardness| hardness.strength);
    Term { matrix, anchors, scale }
}

impl Loss {
    /// Floating-point operations of the matrix products in one call of
    /// [`value_and_gradients`](Self::value_and_gradients): the work that no implementation avoids.
    ///
    /// A score matrix costs three products (scores, gradients of both sides), one that is its own
    /// transpose half of that. Tiles computed twice for want of memory do not count.
    pub fn product_flops(&self, rows: usize, negatives: usize, dim: usize) -> f64 {
        let plan = Plan::new(self, self.temperature, negatives > 0);
        let (rows, hard) = (rows as f64, negatives as f64);
        let products = |matrix: Matrix| match matrix {
            Matrix::Cross => 3.0 * rows * rows,
            Matrix::Queries | Matrix::Documents => 1.5 * rows * rows,
            Matrix::QueryHard | Matrix::DocumentHard => 3.0 * rows * rows * hard,
            Matrix::QueryOwn | Matrix::DocumentOwn => 3.0 * rows * hard,
        };
        2.0 * dim as f64 * plan.matrices().into_iter().map(products).sum::<f64>()
    }
}

#[cfg(test)]
mod tests {
    use crate::{LossConfig, Preset};

    #[test]
    fn samtone_query_costs_four_and_a_half_products() {
        let flops = |preset, negatives| {
            let loss = LossConfig::preset(preset).resolve().unwrap();
            loss.product_flops(100, negatives, 10) / (2.0 * 100.0 * 100.0 * 10.0)
        };
        assert_eq!(flops(Preset::SamtoneQuery, 0), 4.5);
        assert_eq!(flops(Preset::Samtone, 0), 6.0);
        assert_eq!(flops(Preset::InBatch, 1), 3.0 + 3.0 + 0.03);
    }
}
