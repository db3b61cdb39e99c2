//! Files: the page, and beside it each figure as a drawing and as numbers.

use std::collections::HashSet;
use std::fs;
use std::path::Path;

use crate::plot::Plot;
use crate::svg::{self, Style};
use crate::text::{slug, unique};
use crate::theme::LIGHT;
use crate::{Figure, Piece, Report, ReportError, TableCell};

pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<(), ReportError> {
    fs::write(path, bytes).map_err(|source| ReportError::Write { path: path.to_owned(), source })
}

/// A name for every figure, in reading order: from its title, made unique.
pub(crate) fn figure_names(report: &Report) -> Vec<String> {
    let mut taken = HashSet::new();
    let figures = report.sections.iter().flat_map(|section| &section.figures);
    figures
        .map(|figure| {
            let stem = match slug(figure.title()) {
                stem if stem.is_empty() => "figure".to_owned(),
                stem => stem,
            };
            unique(stem, &mut taken)
        })
        .collect()
}

impl Report {
    /// Writes every figure into `folder`, which is created: `NAME.svg` and, with the feature `png`,
    /// `NAME.png` for what is drawn; `NAME.csv` and `NAME.json` for the numbers behind it.
    ///
    /// # Errors
    ///
    /// [`ReportError::Write`] when a file cannot be written, [`ReportError::Png`] when a drawing
    /// cannot be rasterised.
    pub fn write_figures(&self, folder: impl AsRef<Path>) -> Result<(), ReportError> {
        write_figures(self, folder.as_ref())
    }
}

/// How a drawing looks in a file of its own.
const FILE: Style<'_> = Style { theme: &LIGHT, has_title: true, outlines: None };

impl Figure {
    /// The figure as a drawing of its own, SVG; `None` for those that are text.
    ///
    /// # Examples
    ///
    /// ```
    /// use samtone_report::{Estimate, Figure, KeyValues, MetricTable};
    ///
    /// let table = MetricTable::new("Gain", ["mrr@10"]).row("a", [Estimate::new(0.02)]);
    /// assert!(Figure::from(table).to_svg().unwrap().starts_with("<svg "));
    /// assert_eq!(Figure::from(KeyValues::new("Run")).to_svg(), None);
    /// ```
    pub fn to_svg(&self) -> Option<String> {
        draw(self, FILE)
    }
}

fn write_figures(report: &Report, folder: &Path) -> Result<(), ReportError> {
    fs::create_dir_all(folder)
        .map_err(|source| ReportError::Write { path: folder.to_owned(), source })?;
    let figures = report.sections.iter().flat_map(|section| &section.figures);
    for (figure, name) in figures.zip(figure_names(report)) {
        let path = |extension: &str| folder.join(format!("{name}.{extension}"));
        if let Some(svg) = figure.to_svg() {
            write(&path("svg"), svg.as_bytes())?;
            #[cfg(feature = "png")]
            {
                let font = crate::png::Font::open_sans();
                let svg = draw(figure, Style { outlines: Some(&font), ..FILE });
                let png = crate::png::rasterise(&svg.unwrap_or_default())
                    .map_err(|source| ReportError::Png { figure: name.clone(), source })?;
                write(&path("png"), &png)?;
            }
        }
        write(&path("csv"), &csv(figure))?;
        let json = serde_json::to_vec_pretty(figure).expect("string keys, no failing serialisers");
        write(&path("json"), &json)?;
    }
    Ok(())
}

/// The figure as a drawing; `None` for those that are text.
pub(crate) fn draw(figure: &Figure, style: Style<'_>) -> Option<String> {
    match figure {
        Figure::MetricTable(table) => Some(svg::draw_table(table, style)),
        figure => Plot::of(figure, 0).map(|plot| svg::draw(&plot, style)),
    }
}

/// The numbers behind a figure, one row a value (RFC 4180).
fn csv(figure: &Figure) -> Vec<u8> {
    let mut out = Csv::new();
    match figure {
        Figure::LearningCurves(figure) => {
            out.row(["curve", "x", "y"]);
            for curve in &figure.curves {
                for (x, y) in &curve.points {
                    out.row([curve.name.as_str(), &x.to_string(), &y.to_string()]);
                }
            }
        }
        Figure::MetricTable(figure) => {
            out.row(["system", "baseline", "metric", "value", "low", "high"]);
            for row in &figure.rows {
                for (metric, estimate) in figure.metrics.iter().zip(&row.values) {
                    let Some(estimate) = estimate else { continue };
                    let (low, high) =
                        estimate.interval.map_or_else(Default::default, |(low, high)| {
                            (low.to_string(), high.to_string())
                        });
                    let baseline = if row.is_baseline { "true" } else { "false" };
                    let value = estimate.value.to_string();
                    out.row([row.name.as_str(), baseline, metric, &value, &low, &high]);
                }
            }
        }
        Figure::Scatter(figure) => {
            out.row(["group", "id", "x", "y", "partner", "text"]);
            for point in &figure.points {
                let group = figure.groups.get(point.group).map_or("", String::as_str);
                let partner = point.partner.and_then(|index| figure.points.get(index));
                let (x, y) = point.position;
                let partner = partner.map_or("", |partner| partner.id.as_str());
                out.row([group, &point.id, &x.to_string(), &y.to_string(), partner, &point.text]);
            }
        }
        Figure::Histogram(figure) => {
            out.row(["group", "value"]);
            for group in &figure.groups {
                for value in &group.values {
                    out.row([group.name.as_str(), &value.to_string()]);
                }
            }
        }
        Figure::NeighbourBrowser(figure) => {
            out.row(["query", "model", "rank", "document", "score", "relevant", "text"]);
            for query in &figure.queries {
                for (model, ranking) in figure.models.iter().zip(&query.rankings) {
                    for (index, document) in ranking.documents.iter().enumerate() {
                        let rank = (index + 1).to_string();
                        let relevant = if document.is_relevant { "true" } else { "false" };
                        let score = document.score.to_string();
                        let (id, text) = (&document.id, &document.text);
                        out.row([query.id.as_str(), model, &rank, id, &score, relevant, text]);
                    }
                }
            }
        }
        Figure::KeyValues(figure) => {
            out.row(["name", "value"]);
            for row in &figure.rows {
                out.row([row.name.as_str(), &row.value]);
            }
        }
        Figure::Table(figure) => {
            out.row(figure.columns.iter().map(|column| column.name.as_str()));
            for row in &figure.rows {
                let cells = (0..figure.columns.len()).map(|column| row.cells.get(column));
                let cells = cells.map(|cell| cell.map_or_else(String::new, value));
                out.row(cells.collect::<Vec<_>>().iter().map(String::as_str));
            }
        }
        Figure::Examples(figure) => {
            out.row(["example", "text", "kind", "piece"]);
            for example in &figure.examples {
                for text in &example.texts {
                    let row =
                        |kind, piece| [example.title.as_str(), text.role.as_str(), kind, piece];
                    for piece in &text.pieces {
                        let kind = match piece {
                            Piece::Token(_) => "token",
                            Piece::Prompt(_) => "prompt",
                            Piece::Special(_) => "special",
                        };
                        out.row(row(kind, piece.text()));
                    }
                    if !text.cut.is_empty() {
                        out.row(row("cut", &text.cut));
                    }
                }
            }
        }
    }
    out.into_bytes()
}

/// A cell's number with all its digits, or its text.
fn value(cell: &TableCell) -> String {
    cell.number.map_or_else(|| cell.text.clone(), |number| number.to_string())
}

/// Rows of comma-separated fields, quoted where they must be.
struct Csv(csv::Writer<Vec<u8>>);

impl Csv {
    fn new() -> Self {
        let mut builder = csv::WriterBuilder::new();
        Self(builder.terminator(csv::Terminator::CRLF).from_writer(Vec::new()))
    }

    fn row<'a>(&mut self, fields: impl IntoIterator<Item = &'a str>) {
        self.0.write_record(fields).expect("rows of one length, written to memory");
    }

    fn into_bytes(self) -> Vec<u8> {
        self.0.into_inner().expect("memory takes what is flushed")
    }
}
