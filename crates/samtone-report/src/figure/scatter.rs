//! Points in a plane.

use serde::Serialize;

/// Points in a plane whose axes have no unit, such as a t-SNE projection.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Scatter {
    /// The figure's title.
    pub title: String,
    /// What is shown and how to read it; may be empty.
    pub description: String,
    /// The groups in the legend, such as `queries` and `documents`.
    pub groups: Vec<String>,
    /// The points.
    pub points: Vec<Point>,
}

/// One point of a [`Scatter`].
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Point {
    /// The position.
    pub position: (f64, f64),
    /// An index into [`Scatter::groups`].
    pub group: usize,
    /// The id shown above the text.
    pub id: String,
    /// The text shown when the point is hovered.
    pub text: String,
    /// The index of the point it belongs with, such as a query's document: drawn as a line.
    pub partner: Option<usize>,
}

impl Scatter {
    /// A plane with these groups, without points.
    pub fn new<G: Into<String>>(
        title: impl Into<String>,
        groups: impl IntoIterator<Item = G>,
    ) -> Self {
        Self {
            title: title.into(),
            groups: groups.into_iter().map(Into::into).collect(),
            ..Self::default()
        }
    }
}
