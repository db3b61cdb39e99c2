//! Values over steps.

use serde::Serialize;

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
    /// The curves; of more than eight those that are not muted stand out.
    pub curves: Vec<Curve>,
    /// Whether the values are what they are, such as learning rates: the page does not smooth them.
    pub is_exact: bool,
    /// An x to mark, such as the best step.
    pub reference: Option<f64>,
}

/// One curve of [`LearningCurves`].
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Curve {
    /// The name in the legend.
    pub name: String,
    /// (x, y), by ascending x. A value that is not finite leaves a gap.
    pub points: Vec<(f64, f64)>,
    /// Whether it is one of many: drawn in grey below the others, and not in the legend.
    pub is_muted: bool,
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

    /// The values are what they are: the page does not smooth them.
    #[must_use]
    pub fn exact(mut self) -> Self {
        self.is_exact = true;
        self
    }

    /// Marks an x.
    #[must_use]
    pub fn reference(mut self, x: f64) -> Self {
        self.reference = Some(x);
        self
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
        Self { name: name.into(), points, is_muted: false }
    }

    /// The curve as one of many.
    #[must_use]
    pub fn muted(mut self) -> Self {
        self.is_muted = true;
        self
    }
}
