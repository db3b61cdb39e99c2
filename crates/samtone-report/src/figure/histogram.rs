//! Distributions over one axis.

use serde::Serialize;

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
