//! The figures a report can hold: plain data, no drawing.

use serde::Serialize;

use crate::scale::rounded;

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
}

impl Figure {
    /// The figure's title.
    pub fn title(&self) -> &str {
        match self {
            Self::LearningCurves(figure) => &figure.title,
            Self::MetricTable(figure) => &figure.title,
            Self::Scatter(figure) => &figure.title,
            Self::Histogram(figure) => &figure.title,
            Self::NeighbourBrowser(figure) => &figure.title,
            Self::KeyValues(figure) => &figure.title,
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
figures!(LearningCurves, MetricTable, Scatter, Histogram, NeighbourBrowser, KeyValues);

/// Values over steps, with a smoothing control on the page.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct LearningCurves {
    /// The figure's title.
    pub title: String,
    /// What is shown and how to read it; may be empty.
    pub description: String,
    /// The horizontal axis with its unit, such as `step`.
    pub x_label: String,
    /// The vertical axis with its unit, such as `loss (nats)`.
    pub y_label: String,
    /// The curves.
    pub curves: Vec<Curve>,
}

/// One curve of [`LearningCurves`].
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Curve {
    /// The name in the legend.
    pub name: String,
    /// (x, y), by ascending x. A value that is not finite leaves a gap.
    pub points: Vec<(f64, f64)>,
}

impl LearningCurves {
    /// Axes without curves.
    pub fn new(
        title: impl Into<String>,
        x_label: impl Into<String>,
        y_label: impl Into<String>,
    ) -> Self {
        Self {
            title: title.into(),
            x_label: x_label.into(),
            y_label: y_label.into(),
            ..Self::default()
        }
    }

    /// Adds a curve.
    #[must_use]
    pub fn curve(mut self, curve: Curve) -> Self {
        self.curves.push(curve);
        self
    }
}

impl Curve {
    /// A curve through these points.
    pub fn new(name: impl Into<String>, points: Vec<(f64, f64)>) -> Self {
        Self { name: name.into(), points }
    }
}

/// Metrics of several systems: one row a system, one column a metric.
///
/// # Examples
///
/// ```
/// use samtone_report::{Estimate, MetricTable};
///
/// let table = MetricTable::new("Test metrics", ["mrr@10", "ndcg@10"])
///     .row("samtone", [Estimate::with_interval(0.61, 0.58, 0.64), Estimate::new(0.66)])
///     .baseline("BM25", [Estimate::new(0.52), Estimate::new(0.57)]);
/// assert!(table.rows[1].is_baseline);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct MetricTable {
    /// The figure's title.
    pub title: String,
    /// What is shown, and what the intervals are; may be empty.
    pub description: String,
    /// The columns, such as `mrr@10`.
    pub metrics: Vec<String>,
    /// The rows.
    pub rows: Vec<MetricRow>,
    /// Whether all rows compete and the highest value of a column is the best: it is bold then.
    pub is_ranked: bool,
}

/// One system of a [`MetricTable`].
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct MetricRow {
    /// The system's name.
    pub name: String,
    /// Whether the row is there to compare with, such as BM25.
    pub is_baseline: bool,
    /// One value a metric, in the order of [`MetricTable::metrics`]; `None` is shown as a dash.
    pub values: Vec<Option<Estimate>>,
}

/// A value, with its confidence interval where there is one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Estimate {
    /// The value.
    pub value: f64,
    /// The interval's lower and upper end.
    pub interval: Option<(f64, f64)>,
}

impl Estimate {
    /// A value alone.
    pub fn new(value: f64) -> Self {
        Self { value, interval: None }
    }

    /// A value within an interval.
    pub fn with_interval(value: f64, low: f64, high: f64) -> Self {
        Self { value, interval: Some((low, high)) }
    }

    /// The interval, where both ends can be drawn.
    pub(crate) fn finite_interval(self) -> Option<(f64, f64)> {
        self.interval.filter(|(low, high)| low.is_finite() && high.is_finite())
    }
}

impl From<f64> for Estimate {
    fn from(value: f64) -> Self {
        Self::new(value)
    }
}

impl MetricTable {
    /// A table of these metrics, without rows.
    pub fn new<M: Into<String>>(
        title: impl Into<String>,
        metrics: impl IntoIterator<Item = M>,
    ) -> Self {
        Self {
            title: title.into(),
            metrics: metrics.into_iter().map(Into::into).collect(),
            ..Self::default()
        }
    }

    /// Adds a system.
    #[must_use]
    pub fn row<E: Into<Estimate>>(
        self,
        name: impl Into<String>,
        values: impl IntoIterator<Item = E>,
    ) -> Self {
        self.push(name.into(), false, values)
    }

    /// Adds a system to compare with.
    #[must_use]
    pub fn baseline<E: Into<Estimate>>(
        self,
        name: impl Into<String>,
        values: impl IntoIterator<Item = E>,
    ) -> Self {
        self.push(name.into(), true, values)
    }

    /// All rows compete, and the highest value is the best.
    #[must_use]
    pub fn ranked(mut self) -> Self {
        self.is_ranked = true;
        self
    }

    /// The best value of a column, where rows compete.
    pub(crate) fn best(&self, column: usize) -> Option<f64> {
        let values = self.rows.iter().filter_map(|row| Some((*row.values.get(column)?)?.value));
        values.filter(|value| self.is_ranked && value.is_finite()).max_by(f64::total_cmp)
    }

    fn push<E: Into<Estimate>>(
        mut self,
        name: String,
        is_baseline: bool,
        values: impl IntoIterator<Item = E>,
    ) -> Self {
        let values = values.into_iter().map(|value| Some(value.into())).collect();
        self.rows.push(MetricRow { name, is_baseline, values });
        self
    }
}

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

/// Distributions of several groups over one axis, in bins shared by all.
///
/// Heights are shares of the group, so that groups of different sizes can be compared.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Histogram {
    /// The figure's title.
    pub title: String,
    /// What is shown and how to read it; may be empty.
    pub description: String,
    /// The horizontal axis with its unit.
    pub x_label: String,
    /// The number of bins.
    pub bins: usize,
    /// The ends of the axis; the extremes of the values when `None`. Values outside are counted in
    /// a note.
    pub range: Option<(f64, f64)>,
    /// A value to mark, such as 1 for a ratio.
    pub reference: Option<f64>,
    /// The groups.
    pub groups: Vec<HistogramGroup>,
}

/// One group of a [`Histogram`].
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct HistogramGroup {
    /// The name in the legend.
    pub name: String,
    /// The values; those that are not finite are counted in a note.
    pub values: Vec<f64>,
}

impl Default for Histogram {
    fn default() -> Self {
        Self {
            title: String::new(),
            description: String::new(),
            x_label: String::new(),
            bins: 40,
            range: None,
            reference: None,
            groups: Vec::new(),
        }
    }
}

impl Histogram {
    /// An axis of 40 bins, without groups.
    pub fn new(title: impl Into<String>, x_label: impl Into<String>) -> Self {
        Self { title: title.into(), x_label: x_label.into(), ..Self::default() }
    }

    /// Adds a group.
    #[must_use]
    pub fn group(mut self, name: impl Into<String>, values: Vec<f64>) -> Self {
        self.groups.push(HistogramGroup { name: name.into(), values });
        self
    }

    /// Sets the ends of the axis.
    #[must_use]
    pub fn range(mut self, low: f64, high: f64) -> Self {
        self.range = Some((low, high));
        self
    }

    /// Marks a value on the axis.
    #[must_use]
    pub fn reference(mut self, value: f64) -> Self {
        self.reference = Some(value);
        self
    }
}

/// The top documents of sampled queries under each model, the right ones marked.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct NeighbourBrowser {
    /// The figure's title.
    pub title: String,
    /// What is shown and how to read it; may be empty.
    pub description: String,
    /// The models, in the order of [`BrowsedQuery::rankings`].
    pub models: Vec<String>,
    /// The queries.
    pub queries: Vec<BrowsedQuery>,
}

/// One query of a [`NeighbourBrowser`].
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct BrowsedQuery {
    /// The query's id.
    pub id: String,
    /// The query's text.
    pub text: String,
    /// One ranking a model.
    pub rankings: Vec<Ranking>,
}

/// What one model found for one query.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Ranking {
    /// The rank of the first right document, counted from 1, also where it lies below `documents`;
    /// `None` when it was not found.
    pub first_relevant: Option<usize>,
    /// The top documents, best first.
    pub documents: Vec<Neighbour>,
}

/// One document of a [`Ranking`].
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Neighbour {
    /// The document's id.
    pub id: String,
    /// The document's text.
    pub text: String,
    /// The score it was ranked by.
    pub score: f64,
    /// Whether the judgments call it right.
    pub is_relevant: bool,
}

impl NeighbourBrowser {
    /// A browser of these models, without queries.
    pub fn new<M: Into<String>>(
        title: impl Into<String>,
        models: impl IntoIterator<Item = M>,
    ) -> Self {
        Self {
            title: title.into(),
            models: models.into_iter().map(Into::into).collect(),
            ..Self::default()
        }
    }
}

/// Names and values, such as a configuration or an environment.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct KeyValues {
    /// The figure's title.
    pub title: String,
    /// What is shown; may be empty.
    pub description: String,
    /// The names and values, in order.
    pub rows: Vec<(String, String)>,
}

impl KeyValues {
    /// No rows yet.
    pub fn new(title: impl Into<String>) -> Self {
        Self { title: title.into(), ..Self::default() }
    }

    /// Adds a row.
    #[must_use]
    #[expect(clippy::needless_pass_by_value, reason = "numbers can be written in place")]
    pub fn row(mut self, name: impl Into<String>, value: impl ToString) -> Self {
        self.rows.push((name.into(), value.to_string()));
        self
    }

    /// One row a leaf of `value`, named by its path: `train.batch_size`. A null is a dash; of
    /// fractions six digits are kept.
    ///
    /// # Examples
    ///
    /// ```
    /// use samtone_report::KeyValues;
    ///
    /// let config = serde_json::json!({ "seed": 0, "train": { "steps": 200 } });
    /// let table = KeyValues::from_json("Configuration", &config);
    /// assert_eq!(table.rows[1], ("train.steps".to_owned(), "200".to_owned()));
    /// ```
    pub fn from_json(title: impl Into<String>, value: &serde_json::Value) -> Self {
        let mut rows = Vec::new();
        flatten(String::new(), value, &mut rows);
        Self { title: title.into(), rows, ..Self::default() }
    }
}

fn flatten(path: String, value: &serde_json::Value, rows: &mut Vec<(String, String)>) {
    match value {
        serde_json::Value::Object(fields) if !fields.is_empty() => {
            for (name, field) in fields {
                let separator = if path.is_empty() { "" } else { "." };
                flatten(format!("{path}{separator}{name}"), field, rows);
            }
        }
        serde_json::Value::String(text) => rows.push((path, text.clone())),
        serde_json::Value::Null => rows.push((path, "–".to_owned())),
        serde_json::Value::Number(number) if number.is_f64() => {
            let rounded = number.as_f64().map(rounded).and_then(serde_json::Number::from_f64);
            rows.push((path, rounded.as_ref().unwrap_or(number).to_string()));
        }
        other => rows.push((path, other.to_string())),
    }
}
