//! The figures a report can hold: plain data, no drawing.

pub(crate) mod curves;
pub(crate) mod examples;
pub(crate) mod histogram;
pub(crate) mod key_values;
pub(crate) mod metrics;
pub(crate) mod neighbours;
pub(crate) mod scatter;
pub(crate) mod table;

use serde::Serialize;

pub use self::curves::{Curve, LearningCurves};
pub use self::examples::{ExampleGroup, ExampleText, Examples, Piece};
pub use self::histogram::{Histogram, HistogramGroup};
pub use self::key_values::{KeyValue, KeyValues};
pub use self::metrics::{Estimate, MetricRow, MetricTable};
pub use self::neighbours::{BrowsedQuery, Neighbour, NeighbourBrowser, Ranking, RelevantDocument};
pub use self::scatter::{Point, Scatter};
pub use self::table::{Better, Table, TableCell, TableColumn, TableRow};

/// A figure of a [`Section`](crate::Section).
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Figure {
    /// Values over steps.
    LearningCurves(LearningCurves),
    /// Metrics of several systems, with their intervals.
    MetricTable(MetricTable),
    /// Points in a plane, such as a t-SNE projection.
    Scatter(Scatter),
    /// Distributions over one axis.
    Histogram(Histogram),
    /// The top documents of sampled queries under each model.
    NeighbourBrowser(NeighbourBrowser),
    /// Names and values, such as a configuration.
    KeyValues(KeyValues),
    /// Rows and columns of anything, to be sorted.
    Table(Table),
    /// Texts as a model sees them.
    Examples(Examples),
}

impl Figure {
    /// The figure's title.
    pub fn title(&self) -> &str {
        self.caption().0
    }

    /// Its title, and what is shown and how to read it.
    pub(crate) fn caption(&self) -> (&str, &str) {
        match self {
            Self::LearningCurves(figure) => (&figure.title, &figure.description),
            Self::MetricTable(figure) => (&figure.title, &figure.description),
            Self::Scatter(figure) => (&figure.title, &figure.description),
            Self::Histogram(figure) => (&figure.title, &figure.description),
            Self::NeighbourBrowser(figure) => (&figure.title, &figure.description),
            Self::KeyValues(figure) => (&figure.title, &figure.description),
            Self::Table(figure) => (&figure.title, &figure.description),
            Self::Examples(figure) => (&figure.title, &figure.description),
        }
    }
}

/// Builds `From<T> for Figure` and the `description` setter each figure has.
macro_rules! figures {
    ($($name:ident),*) => {$(
        impl From<$name> for Figure {
            fn from(figure: $name) -> Self {
                Self::$name(figure)
            }
        }

        impl $name {
            /// Says in a sentence or two what is shown and how to read it.
            #[must_use]
            pub fn description(mut self, description: impl Into<String>) -> Self {
                self.description = description.into();
                self
            }
        }
    )*};
}
figures!(
    LearningCurves,
    MetricTable,
    Scatter,
    Histogram,
    NeighbourBrowser,
    KeyValues,
    Table,
    Examples
);
