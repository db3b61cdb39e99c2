//! What a pass through a tower knows beside its states.

use burn::tensor::backend::Backend;

use crate::blocks::dropout::Dropout;
use crate::blocks::layout::Layout;
use crate::blocks::streamed::{Attend, attend};
use crate::side::Side;

/// A pass of one batch through an encoder.
#[derive(Debug)]
pub(crate) struct Pass<'a, B: Backend> {
    /// How the tokens of the texts lie among the rows.
    pub(crate) layout: &'a Layout,
    /// Whose adapters take part, where the towers have their own.
    pub(crate) side: Side,
    /// What drops elements; none: nothing does.
    pub(crate) dropout: Option<Dropout>,
    /// How it attends.
    pub(crate) attend: Attend<B>,
}

#[expect(clippy::expl_impl_clone_on_copy, reason = "derived it would ask for `B: Copy`")]
impl<B: Backend> Clone for Pass<'_, B> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<B: Backend> Copy for Pass<'_, B> {}

impl<'a, B: Backend> Pass<'a, B> {
    /// A pass through a model of one tower.
    pub(crate) fn new(layout: &'a Layout, dropout: Option<Dropout>) -> Self {
        Self::of(Side::Query, layout, dropout)
    }

    /// A pass through the tower of a side.
    pub(crate) fn of(side: Side, layout: &'a Layout, dropout: Option<Dropout>) -> Self {
        Self { layout, side, dropout, attend }
    }
}
