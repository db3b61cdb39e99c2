//! What a pass through a tower knows beside its states.

use crate::blocks::dropout::Dropout;
use crate::blocks::layout::Layout;
use crate::side::Side;

/// A pass of one batch through an encoder.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pass<'a> {
    /// How the tokens of the texts lie among the rows.
    pub(crate) layout: &'a Layout,
    /// Whose adapters take part, where the towers have their own.
    pub(crate) side: Side,
    /// What drops elements; none: nothing does.
    pub(crate) dropout: Option<Dropout>,
}

impl<'a> Pass<'a> {
    /// A pass through a model of one tower.
    pub(crate) fn new(layout: &'a Layout, dropout: Option<Dropout>) -> Self {
        Self { layout, side: Side::Query, dropout }
    }
}
