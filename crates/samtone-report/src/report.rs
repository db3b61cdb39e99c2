//! What a report says: plain data, no drawing.

use serde::Serialize;

use crate::Figure;

/// A report: a title, how to repeat it, and sections of figures.
///
/// # Examples
///
/// ```
/// use samtone_report::{Curve, LearningCurves, Report, Section};
///
/// let loss = LearningCurves::new("Training loss", "step", "loss (nats)")
///     .curve(Curve::new("samtone", vec![(0.0, 4.8), (100.0, 1.9), (200.0, 1.1)]));
/// let report = Report::new("Quick start")
///     .command("samtone train")
///     .section(Section::new("Learning curves").figure(loss));
///
/// let page = report.to_html()?;
/// assert!(page.starts_with("<!doctype html>"));
/// # Ok::<(), samtone_report::ReportError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Report {
    /// The page's title.
    pub title: String,
    /// One or two sentences below the title: what was done, on what.
    pub summary: String,
    /// The command line that repeats the run; not shown when empty.
    pub command: String,
    /// The few numbers to see first.
    pub highlights: Vec<Highlight>,
    /// The sections, in reading order.
    pub sections: Vec<Section>,
    /// Whether a server gives the page anew while it changes: the page then asks the address that it came
    /// from for what is new, and shows it.
    #[serde(skip)]
    pub is_live: bool,
}

/// One of the few numbers a reader should see first.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Highlight {
    /// What the number is, such as `nDCG@10 on test`.
    pub label: String,
    /// The number as it should be read, unit included.
    pub value: String,
    /// What to compare it with, such as `BM25 0.412`; may be empty.
    pub detail: String,
}

/// A heading, a paragraph and figures.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Section {
    /// The heading.
    pub title: String,
    /// What to look for, in prose; may be empty.
    pub text: String,
    /// The figures, side by side where the page is wide enough.
    pub figures: Vec<Figure>,
}

impl Report {
    /// An empty report with this title.
    pub fn new(title: impl Into<String>) -> Self {
        Self { title: title.into(), ..Self::default() }
    }

    /// Says in a sentence or two what was done.
    #[must_use]
    pub fn summary(mut self, summary: impl Into<String>) -> Self {
        self.summary = summary.into();
        self
    }

    /// Says which command repeats it.
    #[must_use]
    pub fn command(mut self, command: impl Into<String>) -> Self {
        self.command = command.into();
        self
    }

    /// Adds a number to see first.
    #[must_use]
    pub fn highlight(
        mut self,
        label: impl Into<String>,
        value: impl Into<String>,
        detail: impl Into<String>,
    ) -> Self {
        self.highlights.push(Highlight {
            label: label.into(),
            value: value.into(),
            detail: detail.into(),
        });
        self
    }

    /// The page is served, and shows what is new.
    #[must_use]
    pub fn live(mut self) -> Self {
        self.is_live = true;
        self
    }

    /// Adds a section at the end.
    #[must_use]
    pub fn section(mut self, section: Section) -> Self {
        self.sections.push(section);
        self
    }
}

impl Section {
    /// An empty section with this heading.
    pub fn new(title: impl Into<String>) -> Self {
        Self { title: title.into(), ..Self::default() }
    }

    /// Says what to look for.
    #[must_use]
    pub fn text(mut self, text: impl Into<String>) -> Self {
        self.text = text.into();
        self
    }

    /// Adds a figure at the end.
    #[must_use]
    pub fn figure(mut self, figure: impl Into<Figure>) -> Self {
        self.figures.push(figure.into());
        self
    }
}
