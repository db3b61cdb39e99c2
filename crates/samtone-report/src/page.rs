//! The page: one HTML file with everything in it.
//!
//! Every figure is there twice: as markup that needs no script (a drawing, a table), and, for
//! drawings, as a [`Plot`] in JSON from which the script makes the interactive one. A content
//! security policy names the one script and the one style sheet by hash and forbids every request,
//! so that a mistake in escaping could not run anything either.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use crate::export::{self, figure_names};
use crate::plot::{NAME_CHARS, Plot, Summary};
use crate::scale::{extent, number, padded};
use crate::svg::{self, Style};
use crate::text::{clean, embed_json, escape, slug, unique};
use crate::theme::{DARK, LIGHT};
use crate::{
    Estimate, Figure, KeyValues, MetricTable, NeighbourBrowser, Ranking, Report, ReportError,
    Section,
};

/// The most bytes a page may take.
const MAX_BYTES: usize = 3_000_000;
/// The lengths texts are cut to, in characters: the first that keeps the page small enough counts.
const TEXT_CHARS: [usize; 4] = [320, 160, 80, 40];

const STYLE: &str = include_str!("../assets/report.css");
const SCRIPT: &str = include_str!("../assets/report.js");

impl Report {
    /// The whole page as one string: no network, no other file.
    ///
    /// Texts are cut to 320 characters, and further where the page would otherwise pass 3 MB.
    ///
    /// # Errors
    ///
    /// [`ReportError::TooLarge`] when even short texts do not bring the page below 3 MB.
    pub fn to_html(&self) -> Result<String, ReportError> {
        render(self)
    }

    /// Writes the page to `path`.
    ///
    /// # Errors
    ///
    /// As [`Report::to_html`], and [`ReportError::Write`] when the file cannot be written.
    pub fn write(&self, path: impl AsRef<Path>) -> Result<(), ReportError> {
        export::write(path.as_ref(), self.to_html()?.as_bytes())
    }
}

fn render(report: &Report) -> Result<String, ReportError> {
    let mut bytes = 0;
    for max_chars in TEXT_CHARS {
        let page = Page::new(report, max_chars).finish();
        if page.len() < MAX_BYTES {
            return Ok(page);
        }
        bytes = page.len();
    }
    Err(ReportError::TooLarge { bytes, limit: MAX_BYTES })
}

/// A page under way.
struct Page<'a> {
    report: &'a Report,
    max_chars: usize,
    out: String,
    plots: Vec<Plot>,
}

/// What the script reads.
#[derive(Serialize)]
struct Data<'a> {
    plots: &'a [Plot],
}

impl<'a> Page<'a> {
    fn new(report: &'a Report, max_chars: usize) -> Self {
        Self { report, max_chars, out: String::new(), plots: Vec::new() }
    }

    fn push(&mut self, markup: std::fmt::Arguments<'_>) {
        self.out.write_fmt(markup).expect("a string takes everything");
    }

    /// Text from outside, cut and escaped.
    fn text(&self, text: &str) -> String {
        cut(text, self.max_chars)
    }

    fn finish(mut self) -> String {
        let report = self.report;
        self.head();
        self.paragraph("summary", &report.summary, 1000);
        self.highlights();
        if !report.command.is_empty() {
            let command = cut(&report.command, 4000);
            self.push(format_args!(
                "<div class=\"command\"><span>To repeat it</span><pre tabindex=\"0\" \
                 aria-label=\"Command\"><code>{command}</code></pre></div>\n"
            ));
        }
        self.out.push_str("</header>\n");
        let anchors = section_anchors(report);
        self.contents(&anchors);
        self.out.push_str("<main id=\"content\">\n");
        let mut names = figure_names(report).into_iter();
        for (section, anchor) in report.sections.iter().zip(&anchors) {
            self.section(section, anchor, names.by_ref());
        }
        let data = embed_json(&Data { plots: &self.plots });
        self.push(format_args!(
            "</main>\n<footer>Written by samtone {}. This page is complete: it loads nothing.\
             </footer>\n<script type=\"application/json\" id=\"data\">{data}</script>\n\
             <script>{SCRIPT}</script>\n</body>\n</html>\n",
            env!("CARGO_PKG_VERSION")
        ));
        self.out
    }

    /// Everything up to the title.
    fn head(&mut self) {
        let title = cut(&self.report.title, 200);
        let style = format!(
            ":root{{{}}}@media (prefers-color-scheme:dark){{:root{{{}}}}}@media print{{:root{{{}}}}}{STYLE}",
            LIGHT.css(),
            DARK.css(),
            LIGHT.css()
        );
        let hash = |source: &str| BASE64.encode(Sha256::digest(source.as_bytes()));
        self.push(format_args!(
            r##"<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'sha256-{}'; script-src 'sha256-{}'; base-uri 'none'; form-action 'none'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="generator" content="samtone {}">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<a class="skip" href="#content">Skip to the content</a>
<header>
<h1 dir="auto">{title}</h1>
"##,
            hash(&style),
            hash(SCRIPT),
            env!("CARGO_PKG_VERSION")
        ));
    }

    /// A text from outside, if there is one.
    fn paragraph(&mut self, class: &str, text: &str, max_chars: usize) {
        if !text.is_empty() {
            let text = cut(text, max_chars);
            self.push(format_args!("<p class=\"{class}\" dir=\"auto\">{text}</p>\n"));
        }
    }

    /// Links to the sections, if there are several.
    fn contents(&mut self, anchors: &[String]) {
        if anchors.len() > 1 {
            self.out.push_str("<nav aria-label=\"Sections\"><ul>");
            for (section, anchor) in self.report.sections.iter().zip(anchors) {
                let title = cut(&section.title, 60);
                self.push(format_args!("<li><a href=\"#{anchor}\" dir=\"auto\">{title}</a></li>"));
            }
            self.out.push_str("</ul></nav>\n");
        }
    }

    /// A section, its figures under the next of `names`.
    fn section(&mut self, section: &Section, anchor: &str, names: impl Iterator<Item = String>) {
        self.push(format_args!(
            "<section id=\"{anchor}\" aria-labelledby=\"title-of-{anchor}\">\n\
             <h2 id=\"title-of-{anchor}\" dir=\"auto\">{}</h2>\n",
            cut(&section.title, 200)
        ));
        self.paragraph("prose", &section.text, 4000);
        self.out.push_str("<div class=\"figures\">\n");
        let wide = wide(&section.figures);
        for ((figure, wide), name) in section.figures.iter().zip(wide).zip(names) {
            self.figure(figure, &name, wide);
        }
        self.out.push_str("</div>\n</section>\n");
    }

    fn highlights(&mut self) {
        if self.report.highlights.is_empty() {
            return;
        }
        self.out.push_str("<dl class=\"highlights\">");
        for highlight in &self.report.highlights {
            let (label, value) = (self.text(&highlight.label), self.text(&highlight.value));
            let detail = self.text(&highlight.detail);
            self.push(format_args!(
                "<div><dt dir=\"auto\">{label}</dt><dd><strong dir=\"auto\">{value}</strong>\
                 <span dir=\"auto\">{detail}</span></dd></div>"
            ));
        }
        self.out.push_str("</dl>\n");
    }

    fn figure(&mut self, figure: &Figure, name: &str, is_wide: bool) {
        let class = match figure {
            Figure::LearningCurves(_) | Figure::Histogram(_) => "plot",
            Figure::Scatter(_) => "plot plane",
            Figure::MetricTable(_) => "metrics",
            Figure::NeighbourBrowser(_) => "neighbours",
            Figure::KeyValues(_) => "key-values",
        };
        let wide = if is_wide { " wide" } else { "" };
        let index = self.plots.len();
        let plot = Plot::of(figure, self.max_chars);
        let data = if plot.is_some() { format!(" data-plot=\"{index}\"") } else { String::new() };
        let (title, description) = match figure {
            Figure::LearningCurves(figure) => (&figure.title, &figure.description),
            Figure::MetricTable(figure) => (&figure.title, &figure.description),
            Figure::Scatter(figure) => (&figure.title, &figure.description),
            Figure::Histogram(figure) => (&figure.title, &figure.description),
            Figure::NeighbourBrowser(figure) => (&figure.title, &figure.description),
            Figure::KeyValues(figure) => (&figure.title, &figure.description),
        };
        self.push(format_args!(
            "<figure class=\"{class}{wide}\" id=\"figure-{name}\"{data} \
             aria-labelledby=\"title-of-figure-{name}\">\n<figcaption><h3 id=\"title-of-figure-{name}\" \
             dir=\"auto\">{}</h3>",
            cut(title, 200)
        ));
        if !description.is_empty() {
            let description = cut(description, 1000);
            self.push(format_args!(
                "<p id=\"text-of-figure-{name}\" dir=\"auto\">{description}</p>"
            ));
        }
        self.out.push_str("</figcaption>\n");
        match figure {
            Figure::MetricTable(table) => self.metric_table(table),
            Figure::NeighbourBrowser(browser) => self.neighbours(browser),
            Figure::KeyValues(table) => self.key_values(table),
            Figure::LearningCurves(_) | Figure::Scatter(_) | Figure::Histogram(_) => {}
        }
        if let Some(plot) = plot {
            let style = Style { theme: &LIGHT, has_title: false, outlines: None };
            let drawing = svg::draw(&plot, style);
            self.push(format_args!("<div class=\"canvas\">{drawing}</div>\n"));
            for note in &plot.notes {
                self.push(format_args!("<p class=\"note\">{note}</p>\n"));
            }
            self.summary(&plot.summary);
            self.plots.push(plot);
        }
        self.out.push_str("</figure>\n");
    }

    fn summary(&mut self, summary: &Summary) {
        self.out.push_str(
            "<details class=\"numbers\"><summary>Numbers</summary><div class=\"scroll\" \
             tabindex=\"0\"><table><thead><tr>",
        );
        for head in &summary.head {
            self.push(format_args!("<th scope=\"col\">{head}</th>"));
        }
        self.out.push_str("</tr></thead><tbody>");
        for row in &summary.rows {
            self.out.push_str("<tr>");
            for (column, cell) in row.iter().enumerate() {
                let cell = escape(cell);
                if column == 0 {
                    self.push(format_args!("<th scope=\"row\" dir=\"auto\">{cell}</th>"));
                } else {
                    self.push(format_args!("<td>{cell}</td>"));
                }
            }
            self.out.push_str("</tr>");
        }
        self.out.push_str("</tbody></table></div></details>\n");
    }

    fn metric_table(&mut self, table: &MetricTable) {
        let axes: Vec<Option<(f64, f64)>> = (0..table.metrics.len())
            .map(|column| {
                let estimates = table.rows.iter().filter_map(|row| *row.values.get(column)?);
                let ends = estimates.flat_map(|estimate| {
                    let (low, high) = estimate.interval.unwrap_or((estimate.value, estimate.value));
                    [low, estimate.value, high]
                });
                // A single value has nothing to lie beside.
                let ends = extent(ends).filter(|(low, high)| low < high);
                ends.map(|ends| padded(ends, 0.06))
            })
            .collect();
        self.out.push_str(
            "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Table\"><table>\
             <thead><tr><th scope=\"col\"><span class=\"unseen\">System</span></th>",
        );
        for metric in &table.metrics {
            let metric = self.text(metric);
            self.push(format_args!("<th scope=\"col\" dir=\"auto\">{metric}</th>"));
        }
        self.out.push_str("</tr></thead><tbody>\n");
        let best: Vec<Option<f64>> =
            (0..table.metrics.len()).map(|column| table.best(column)).collect();
        for row in &table.rows {
            let class = if row.is_baseline { " class=\"baseline\"" } else { "" };
            let name = self.text(&row.name);
            let tag = if row.is_baseline { " <small>baseline</small>" } else { "" };
            self.push(format_args!("<tr{class}><th scope=\"row\"><bdi>{name}</bdi>{tag}</th>"));
            for (column, axis) in axes.iter().enumerate() {
                match row.values.get(column).copied().flatten() {
                    Some(estimate) => {
                        self.estimate(estimate, *axis, best[column] == Some(estimate.value));
                    }
                    None => self.out.push_str("<td>–</td>"),
                }
            }
            self.out.push_str("</tr>\n");
        }
        self.out.push_str("</tbody></table></div>\n");
    }

    /// A cell: the value, bold if it `is_best`, its interval in figures, and both as a small drawing on
    /// the `axis`.
    fn estimate(&mut self, estimate: Estimate, axis: Option<(f64, f64)>, is_best: bool) {
        let class = if is_best { "value best" } else { "value" };
        self.push(format_args!("<td><span class=\"{class}\">{}</span>", number(estimate.value)));
        if let Some((from, to)) = estimate.finite_interval() {
            let (from, to) = (number(from), number(to));
            self.push(format_args!(" <span class=\"interval\">{from} to {to}</span>"));
        }
        if let Some((low, high)) = axis.filter(|_| estimate.value.is_finite()) {
            let x = |value: f64| (1000.0 * (value - low) / (high - low)).round() / 10.0;
            self.out.push_str(
                "<svg class=\"whisker\" viewBox=\"0 0 100 8\" preserveAspectRatio=\"none\" \
                 aria-hidden=\"true\"><path class=\"axis\" d=\"M0 4H100\"/>",
            );
            if let Some((from, to)) = estimate.finite_interval() {
                self.push(format_args!("<path class=\"range\" d=\"M{} 4H{}\"/>", x(from), x(to)));
            }
            self.push(format_args!("<path class=\"dot\" d=\"M{} 0V8\"/></svg>", x(estimate.value)));
        }
        self.out.push_str("</td>");
    }

    fn neighbours(&mut self, browser: &NeighbourBrowser) {
        // The controls are made by the script: without it they would do nothing.
        self.out.push_str("<div class=\"queries\">\n");
        for query in &browser.queries {
            let best = query.rankings.iter().filter_map(|ranking| ranking.first_relevant).min();
            let worst = query.rankings.iter().map(|r| r.first_relevant.unwrap_or(usize::MAX)).max();
            let state = match (best, worst) {
                (Some(1), Some(1)) => "right",
                (Some(1), _) => "split",
                _ => "wrong",
            };
            let (text, id) = (self.text(&query.text), name(&query.id));
            self.push(format_args!(
                "<details data-state=\"{state}\"><summary><span class=\"query\"><bdi \
                 class=\"id\">{id}</bdi> <bdi>{text}</bdi></span><span class=\"ranks\">"
            ));
            for (model, ranking) in browser.models.iter().zip(&query.rankings) {
                let model = name(model);
                let (class, rank) = rank(ranking);
                self.push(format_args!(
                    "<span class=\"rank {class}\"><bdi>{model}</bdi> {rank}</span>"
                ));
            }
            self.out.push_str("</span></summary>\n<div class=\"models\">\n");
            for (model, ranking) in browser.models.iter().zip(&query.rankings) {
                let model = name(model);
                let (class, rank) = rank(ranking);
                self.push(format_args!(
                    "<div><h4><bdi>{model}</bdi> <span class=\"rank {class}\">{rank}</span></h4><ol>"
                ));
                for document in &ranking.documents {
                    let (id, text) = (name(&document.id), self.text(&document.text));
                    let (class, tag) = if document.is_relevant {
                        (" class=\"relevant\"", "<span class=\"tag\">right</span> ")
                    } else {
                        ("", "")
                    };
                    let score = number(document.score);
                    self.push(format_args!(
                        "<li{class}><p class=\"meta\">{tag}<bdi class=\"id\">{id}</bdi> \
                         <span class=\"score\">{score}</span></p><p dir=\"auto\">{text}</p></li>"
                    ));
                }
                self.out.push_str("</ol></div>\n");
            }
            self.out.push_str("</div></details>\n");
        }
        self.out.push_str("</div>\n");
    }

    fn key_values(&mut self, table: &KeyValues) {
        self.out.push_str("<dl class=\"pairs\">\n");
        for (name, value) in &table.rows {
            let (name, value) = (self.text(name), self.text(value));
            self.push(format_args!(
                "<div><dt><bdi>{name}</bdi></dt><dd dir=\"auto\">{value}</dd></div>\n"
            ));
        }
        self.out.push_str("</dl>\n");
    }
}

/// Which figures take the whole width: tables with many columns or rows, and of an odd number of
/// others in a row the last, which would leave a hole beside it.
fn wide(figures: &[Figure]) -> Vec<bool> {
    let is_wide = |figure: &Figure| match figure {
        Figure::LearningCurves(_) | Figure::Histogram(_) | Figure::Scatter(_) => false,
        Figure::MetricTable(_) | Figure::NeighbourBrowser(_) => true,
        Figure::KeyValues(table) => table.rows.len() > NARROW_ROWS,
    };
    let mut wide: Vec<bool> = figures.iter().map(is_wide).collect();
    for run in wide.chunk_by_mut(|a, b| a == b) {
        if let [rest @ .., last] = run
            && rest.len().is_multiple_of(2)
        {
            *last = true;
        }
    }
    wide
}

/// The most rows that names and values take in one column.
const NARROW_ROWS: usize = 24;

/// Text from outside, cut and escaped.
fn cut(text: &str, max_chars: usize) -> String {
    escape(&clean(text, max_chars))
}

/// A name or id from outside, cut and escaped.
fn name(text: &str) -> String {
    cut(text, NAME_CHARS)
}

/// How well a ranking did: a class, and the first right document's rank in words.
fn rank(ranking: &Ranking) -> (&'static str, String) {
    match ranking.first_relevant {
        Some(1) => ("right", "rank 1".to_owned()),
        Some(rank) => ("wrong", format!("rank {rank}")),
        None => ("wrong", "not found".to_owned()),
    }
}

/// An anchor a section: from its title, made unique.
fn section_anchors(report: &Report) -> Vec<String> {
    let mut taken = HashSet::new();
    let stems = report.sections.iter().map(|section| format!("section-{}", slug(&section.title)));
    stems.map(|stem| unique(stem, &mut taken)).collect()
}
