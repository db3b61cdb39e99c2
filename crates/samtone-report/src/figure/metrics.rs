//! Metrics of several systems, with their intervals.

use serde::Serialize;

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
    /// The metrics in which all rows compete: their highest value is bold.
    pub ranked: Vec<String>,
    /// A value to mark in the drawing, such as 0 for differences.
    pub reference: Option<f64>,
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
    /// Whether it has a star: it differs from what it is compared with by more than chance.
    pub is_significant: bool,
}

impl Estimate {
    /// A value alone.
    pub fn new(value: f64) -> Self {
        Self { value, ..Self::default() }
    }

    /// A value within an interval.
    pub fn with_interval(value: f64, low: f64, high: f64) -> Self {
        Self { value, interval: Some((low, high)), ..Self::default() }
    }

    /// It differs from what it is compared with by more than chance.
    #[must_use]
    pub fn significant(mut self) -> Self {
        self.is_significant = true;
        self
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

    /// All rows compete in these metrics, and the highest value is the best.
    #[must_use]
    pub fn ranked_by<M: Into<String>>(mut self, metrics: impl IntoIterator<Item = M>) -> Self {
        self.ranked = metrics.into_iter().map(Into::into).collect();
        self
    }

    /// Marks a value in the drawing.
    #[must_use]
    pub fn reference(mut self, value: f64) -> Self {
        self.reference = Some(value);
        self
    }

    /// The best value of a column, where rows compete.
    pub(crate) fn best(&self, column: usize) -> Option<f64> {
        let is_ranked = self.metrics.get(column).is_some_and(|metric| self.ranked.contains(metric));
        let values = self.rows.iter().filter_map(|row| Some((*row.values.get(column)?)?.value));
        values.filter(|value| is_ranked && value.is_finite()).max_by(f64::total_cmp)
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
