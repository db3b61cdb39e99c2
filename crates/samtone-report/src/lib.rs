//! Numbers to one self-contained HTML file, drawings and tables.
//!
//! A [`Report`] is plain data: a title, the command that repeats it, and [`Section`]s of
//! [`Figure`]s. [`Report::write`] makes one page of it that needs no network and no other file,
//! reads well on a phone and in print, in light and dark, and explores with mouse, touch and
//! keyboard. [`Report::write_figures`] puts every figure beside it as SVG, PNG, CSV and JSON.
//!
//! Texts come from data sets and are trusted in nothing: they are cut, stripped of what markup
//! cannot hold, escaped where they land, and the page's security policy runs only its own script.
//!
//! The crate computes no statistic and knows neither models nor data sets. The one exception is
#![cfg_attr(
    feature = "tsne",
    doc = "[`Tsne`], which turns embeddings into positions for a [`Scatter`]."
)]
#![cfg_attr(not(feature = "tsne"), doc = "the t-SNE projection, behind the feature `tsne`.")]
//!
//! # Features
//!
//! Both are on by default; without them the crate builds in a few seconds.
//!
//! - `png`: drawings as pixels beside the SVG.
//! - `tsne`: the Barnes-Hut t-SNE projection.
//!
//! # Examples
//!
//! ```
//! use samtone_report::{Histogram, KeyValues, Report, Section};
//!
//! let cosines = Histogram::new("Top-1 cosine", "cosine(query, top-1 document)")
//!     .description("Where the two part, the score tells right from wrong.")
//!     .group("right", vec![0.81, 0.92, 0.88])
//!     .group("wrong", vec![0.52, 0.61]);
//! let report = Report::new("Analysis")
//!     .section(Section::new("Scores").figure(cosines))
//!     .section(Section::new("Setting").figure(KeyValues::new("Run").row("seed", 0)));
//!
//! let folder = std::env::temp_dir().join("samtone-report-example");
//! report.write_figures(&folder)?;
//! report.write(folder.join("report.html"))?;
//! # std::fs::remove_dir_all(folder).unwrap();
//! # Ok::<(), samtone_report::ReportError>(())
//! ```

mod error;
mod export;
mod figure;
mod markup;
mod page;
mod plot;
#[cfg(feature = "png")]
mod png;
mod report;
mod scale;
mod svg;
mod text;
mod theme;
#[cfg(feature = "tsne")]
mod tsne;

pub use error::ReportError;
pub use figure::{
    Better, BrowsedQuery, Curve, Estimate, ExampleGroup, ExampleText, Examples, Figure, Histogram,
    HistogramGroup, KeyValue, KeyValues, LearningCurves, MetricRow, MetricTable, Neighbour,
    NeighbourBrowser, Piece, Point, Ranking, RelevantDocument, Scatter, Table, TableCell,
    TableColumn, TableRow,
};
pub use page::served_page;
pub use report::{Highlight, Report, Section};
#[cfg(feature = "tsne")]
pub use tsne::{Projection, Tsne};
