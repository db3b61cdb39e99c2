//! The page: one HTML file with everything in it.
//!
//! Every figure is there twice: as markup that needs no script (a drawing, a table), and, for
//! drawings, as a [`Plot`] in JSON from which the script makes the interactive one. A content
//! security policy names the one script and the one style sheet by hash and forbids every request,
//! so that a mistake in escaping could not run anything either.

mod examples;
mod key_values;
mod metrics;
mod neighbours;
mod table;

use std::collections::HashSet;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use crate::export::{self, figure_names};
use crate::markup::{Markup, cut};
use crate::plot::{Plot, Summary};
use crate::svg::{self, Style};
use crate::text::{MOST_COPIED, embed_json, escape, exact, slug, unique};
use crate::theme::{DARK, LIGHT};
use crate::{Figure, Report, ReportError, Section};

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

/// A page of another body in the look of the reports, which a server hands out and which asks nobody else.
///
/// `style` is CSS behind the reports' own, `body` markup that holds no text from outside, and `script`
/// the one script, behind it. As in a report the security policy names both by their hashes.
///
/// # Examples
///
/// ```
/// let page = samtone_report::served_page("Try it", "", "<h1>Try it</h1>", "fetch('/')");
/// assert!(page.contains("connect-src 'self'"));
/// ```
pub fn served_page(title: &str, style: &str, body: &str, script: &str) -> String {
    let head = head(&escape(title), style, script, true);
    format!("{head}<body>\n{SKIP}{body}<script>{script}</script>\n</body>\n</html>\n")
}

/// The way past what stands before the content.
const SKIP: &str = "<a class=\"skip\" href=\"#content\">Skip to the content</a>\n";

/// A page up to its body; `title` is escaped. One that `is_served` asks its server for what is new, and
/// nobody else.
fn head(title: &str, style: &str, script: &str, is_served: bool) -> String {
    let style = format!(
        ":root{{{}}}@media (prefers-color-scheme:dark){{:root{{{}}}}}@media print{{:root{{{}}}}}{STYLE}{style}",
        LIGHT.css(),
        DARK.css(),
        LIGHT.css()
    );
    let connect = if is_served { "; connect-src 'self'" } else { "" };
    let hash = |source: &str| BASE64.encode(Sha256::digest(source.as_bytes()));
    format!(
        r#"<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'sha256-{}'; script-src 'sha256-{}'{connect}; base-uri 'none'; form-action 'none'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="generator" content="samtone {}">
<title>{title}</title>
<style>{style}</style>
</head>
"#,
        hash(&style),
        hash(script),
        env!("CARGO_PKG_VERSION")
    )
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
    out: Markup,
    plots: Vec<Plot>,
}

/// What the script reads.
#[derive(Serialize)]
struct Data<'a> {
    plots: &'a [Plot],
}

impl<'a> Page<'a> {
    fn new(report: &'a Report, max_chars: usize) -> Self {
        Self { report, out: Markup::new(max_chars), plots: Vec::new() }
    }

    fn finish(mut self) -> String {
        let report = self.report;
        self.head();
        self.paragraph("summary", &report.summary, 1000);
        self.highlights();
        if !report.command.is_empty() {
            let is_short = report.command.len() <= MOST_COPIED;
            let command =
                if is_short { exact(&report.command) } else { cut(&report.command, MOST_COPIED) };
            let copied =
                if is_short { format!(" data-copied=\"{command}\"") } else { String::new() };
            self.out.push(format_args!(
                "<div class=\"command\"{copied}><span>To repeat it</span>\
                 <pre tabindex=\"0\" aria-label=\"Command\"><code>{command}</code></pre></div>\n"
            ));
        }
        self.out.put("</header>\n");
        let anchors = section_anchors(report);
        self.contents(&anchors);
        self.out.put("<main id=\"content\">\n");
        let mut names = figure_names(report).into_iter();
        for (section, anchor) in report.sections.iter().zip(&anchors) {
            self.section(section, anchor, names.by_ref());
        }
        let data = embed_json(&Data { plots: &self.plots });
        self.out.push(format_args!(
            "</main>\n<footer>Written by samtone {}. This page is complete: it loads nothing.\
             </footer>\n<script type=\"application/json\" id=\"data\">{data}</script>\n\
             <script>{SCRIPT}</script>\n</body>\n</html>\n",
            env!("CARGO_PKG_VERSION")
        ));
        self.out.finish()
    }

    /// Everything up to the title.
    fn head(&mut self) {
        let title = cut(&self.report.title, 200);
        let is_live = self.report.is_live;
        let live = if is_live { " data-live" } else { "" };
        self.out.put(&head(&title, "", SCRIPT, is_live));
        self.out
            .push(format_args!("<body{live}>\n{SKIP}<header>\n<h1 dir=\"auto\">{title}</h1>\n"));
    }

    /// A text from outside, if there is one.
    fn paragraph(&mut self, class: &str, text: &str, max_chars: usize) {
        if !text.is_empty() {
            let text = cut(text, max_chars);
            self.out.push(format_args!("<p class=\"{class}\" dir=\"auto\">{text}</p>\n"));
        }
    }

    /// Links to the sections, if there are several.
    fn contents(&mut self, anchors: &[String]) {
        if anchors.len() > 1 {
            self.out.put("<nav aria-label=\"Sections\"><ul>");
            for (section, anchor) in self.report.sections.iter().zip(anchors) {
                let title = cut(&section.title, 60);
                self.out
                    .push(format_args!("<li><a href=\"#{anchor}\" dir=\"auto\">{title}</a></li>"));
            }
            self.out.put("</ul></nav>\n");
        }
    }

    /// A section, its figures under the next of `names`.
    fn section(&mut self, section: &Section, anchor: &str, names: impl Iterator<Item = String>) {
        self.out.push(format_args!(
            "<section id=\"{anchor}\" aria-labelledby=\"title-of-{anchor}\">\n\
             <h2 id=\"title-of-{anchor}\" dir=\"auto\">{}</h2>\n",
            cut(&section.title, 200)
        ));
        self.paragraph("prose", &section.text, 4000);
        self.out.put("<div class=\"figures\">\n");
        let wide = wide(&section.figures);
        for ((figure, wide), name) in section.figures.iter().zip(wide).zip(names) {
            self.figure(figure, &name, wide);
        }
        self.out.put("</div>\n</section>\n");
    }

    fn highlights(&mut self) {
        if self.report.highlights.is_empty() {
            return;
        }
        self.out.put("<dl class=\"highlights\">");
        for highlight in &self.report.highlights {
            let (label, value) = (self.out.text(&highlight.label), self.out.text(&highlight.value));
            let detail = self.out.text(&highlight.detail);
            self.out.push(format_args!(
                "<div><dt dir=\"auto\">{label}</dt><dd><strong dir=\"auto\">{value}</strong>\
                 <span dir=\"auto\">{detail}</span></dd></div>"
            ));
        }
        self.out.put("</dl>\n");
    }

    fn figure(&mut self, figure: &Figure, name: &str, is_wide: bool) {
        let class = match figure {
            Figure::LearningCurves(_) | Figure::Histogram(_) => "plot",
            Figure::Scatter(_) => "plot plane",
            Figure::MetricTable(_) => "metrics",
            Figure::NeighbourBrowser(_) => "neighbours",
            Figure::KeyValues(_) => "key-values",
            Figure::Table(_) => "table",
            Figure::Examples(_) => "texts",
        };
        let wide = if is_wide { " wide" } else { "" };
        let index = self.plots.len();
        let plot = Plot::of(figure, self.out.max_chars());
        let data = if plot.is_some() { format!(" data-plot=\"{index}\"") } else { String::new() };
        let (title, description) = figure.caption();
        self.out.push(format_args!(
            "<figure class=\"{class}{wide}\" id=\"figure-{name}\"{data} \
             aria-labelledby=\"title-of-figure-{name}\">\n<figcaption><h3 id=\"title-of-figure-{name}\" \
             dir=\"auto\">{}</h3>",
            cut(title, 200)
        ));
        if !description.is_empty() {
            let description = cut(description, 1000);
            self.out.push(format_args!(
                "<p id=\"text-of-figure-{name}\" dir=\"auto\">{description}</p>"
            ));
        }
        self.out.put("</figcaption>\n");
        match figure {
            Figure::MetricTable(table) => metrics::write(&mut self.out, table),
            Figure::NeighbourBrowser(browser) => neighbours::write(&mut self.out, browser),
            Figure::KeyValues(table) => key_values::write(&mut self.out, table),
            Figure::Table(figure) => table::write(&mut self.out, figure),
            Figure::Examples(figure) => examples::write(&mut self.out, figure),
            Figure::LearningCurves(_) | Figure::Scatter(_) | Figure::Histogram(_) => {}
        }
        if let Some(plot) = plot {
            let style = Style { theme: &LIGHT, has_title: false, outlines: None };
            let drawing = svg::draw(&plot, style);
            self.out.push(format_args!("<div class=\"canvas\">{drawing}</div>\n"));
            for note in &plot.notes {
                self.out.push(format_args!("<p class=\"note\">{note}</p>\n"));
            }
            self.summary(&plot.summary);
            self.plots.push(plot);
        }
        self.out.put("</figure>\n");
    }

    fn summary(&mut self, summary: &Summary) {
        self.out.put(
            "<details class=\"numbers\"><summary>Numbers</summary><div class=\"scroll\" \
             tabindex=\"0\" role=\"region\" aria-label=\"Numbers\"><table><thead><tr>",
        );
        for head in &summary.head {
            self.out.push(format_args!("<th scope=\"col\">{head}</th>"));
        }
        self.out.put("</tr></thead><tbody>");
        for row in &summary.rows {
            self.out.put("<tr>");
            for (column, cell) in row.iter().enumerate() {
                let cell = escape(cell);
                if column == 0 {
                    self.out.push(format_args!("<th scope=\"row\" dir=\"auto\">{cell}</th>"));
                } else {
                    self.out.push(format_args!("<td>{cell}</td>"));
                }
            }
            self.out.put("</tr>");
        }
        self.out.put("</tbody></table></div></details>\n");
    }
}

/// Which figures take the whole width: tables with many columns or rows, and of an odd number of
/// others in a row the last, which would leave a hole beside it.
fn wide(figures: &[Figure]) -> Vec<bool> {
    let is_wide = |figure: &Figure| match figure {
        Figure::LearningCurves(_) | Figure::Histogram(_) | Figure::Scatter(_) => false,
        Figure::MetricTable(_) | Figure::NeighbourBrowser(_) | Figure::Examples(_) => true,
        Figure::KeyValues(table) => table.rows.len() > NARROW_ROWS,
        Figure::Table(table) => table.columns.len() > NARROW_COLUMNS,
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

/// The most columns of a table beside another figure.
const NARROW_COLUMNS: usize = 4;

/// An anchor a section: from its title, made unique.
fn section_anchors(report: &Report) -> Vec<String> {
    let mut taken = HashSet::new();
    let stems = report.sections.iter().map(|section| format!("section-{}", slug(&section.title)));
    stems.map(|stem| unique(stem, &mut taken)).collect()
}
