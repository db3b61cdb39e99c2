//! Drawings as SVG, complete in themselves: no style sheet, no script, no font to load.

use std::fmt::Write as _;

use crate::{
    Estimate, MetricTable,
    plot::{Bars, Cloud, Line, Marks, Plot, share, smooth},
    scale::{extent, padded, ticks},
    text::{clean, escape},
    theme::{Theme, dashes, point_path, round},
};

/// Writes text where no font is at hand: as outlines.
pub(crate) trait Outlines {
    /// The text's width and its outlines as path data, from the origin to the right, for a font
    /// size in pixels.
    fn outline(&self, text: &str, size: f64) -> (f64, String);
}

/// How a drawing looks.
#[derive(Clone, Copy)]
pub(crate) struct Style<'a> {
    pub(crate) theme: &'a Theme,
    /// Whether the title stands over the drawing.
    pub(crate) has_title: bool,
    /// Text as outlines instead of `<text>`.
    pub(crate) outlines: Option<&'a dyn Outlines>,
}

/// The font a drawing asks for; the last is always there.
const FONT: &str = "system-ui, 'Segoe UI', Roboto, 'Open Sans', 'Noto Sans', sans-serif";
const WIDTH: f64 = 720.0;
const TITLE_HEIGHT: f64 = 34.0;

/// The pixels the axes span, and the values at their ends.
struct Frame {
    left: f64,
    top: f64,
    width: f64,
    height: f64,
    /// Left, right, bottom, top.
    domain: [f64; 4],
}

impl Frame {
    fn x(&self, value: f64) -> f64 {
        let [low, high, ..] = self.domain;
        round(self.left + (value - low) / (high - low) * self.width)
    }

    fn y(&self, value: f64) -> f64 {
        let [.., low, high] = self.domain;
        round(self.top + (high - value) / (high - low) * self.height)
    }

    fn right(&self) -> f64 {
        self.left + self.width
    }

    fn bottom(&self) -> f64 {
        self.top + self.height
    }
}

/// Where a text stands relative to its point.
#[derive(Clone, Copy, PartialEq)]
enum Anchor {
    Start,
    Middle,
    End,
}

/// How a text is written.
#[derive(Clone, Copy)]
struct Type<'a> {
    size: f64,
    is_bold: bool,
    color: &'a str,
    anchor: Anchor,
}

/// A drawing under way.
struct Canvas<'a> {
    style: Style<'a>,
    theme: &'a Theme,
    out: String,
}

impl<'a> Canvas<'a> {
    fn new(style: Style<'a>) -> Self {
        Self { style, theme: style.theme, out: String::new() }
    }

    fn push(&mut self, markup: std::fmt::Arguments<'_>) {
        self.out.write_fmt(markup).expect("a string takes everything");
    }

    fn names(&self) -> Type<'a> {
        Type { size: 13.0, is_bold: false, color: self.theme.text, anchor: Anchor::Start }
    }

    fn numbers(&self, anchor: Anchor) -> Type<'a> {
        Type { size: 12.0, is_bold: false, color: self.theme.muted, anchor }
    }

    fn text(&mut self, x: f64, y: f64, kind: Type<'_>, text: &str) {
        self.turned_text(x, y, 0.0, kind, text);
    }

    /// Writes `text` turned by `angle` degrees around its point.
    fn turned_text(&mut self, x: f64, y: f64, angle: f64, kind: Type<'_>, text: &str) {
        let (x, y) = (round(x), round(y));
        let Type { size, is_bold, color, anchor } = kind;
        let turn = if angle == 0.0 { String::new() } else { format!(" rotate({angle})") };
        if let Some(font) = self.style.outlines {
            let (width, path) = font.outline(text, size);
            let shift = match anchor {
                Anchor::Start => 0.0,
                Anchor::Middle => -width / 2.0,
                Anchor::End => -width,
            };
            let stroke = if is_bold {
                format!(r#" stroke="{color}" stroke-width=".5""#)
            } else {
                String::new()
            };
            self.push(format_args!(
                r#"<path transform="translate({x} {y}){turn} translate({} 0)" d="{path}" fill="{color}"{stroke}/>"#,
                round(shift)
            ));
            return;
        }
        let place = if angle == 0.0 {
            format!(r#"x="{x}" y="{y}""#)
        } else {
            format!(r#"transform="translate({x} {y}){turn}""#)
        };
        let anchor = match anchor {
            Anchor::Start => "",
            Anchor::Middle => r#" text-anchor="middle""#,
            Anchor::End => r#" text-anchor="end""#,
        };
        let weight = if is_bold { r#" font-weight="600""# } else { "" };
        // The text's own direction must not turn what stands around it.
        self.push(format_args!(
            r#"<text {place} font-size="{size}"{weight} fill="{color}"{anchor} unicode-bidi="isolate">{}</text>"#,
            escape(text)
        ));
    }

    /// The finished drawing: background, accessible name and, if asked for, the title over `self`.
    fn finish(mut self, title: &str, description: &str, height: f64) -> String {
        let height = height.ceil();
        let body = std::mem::take(&mut self.out);
        self.push(format_args!(
            r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" role="img" font-family="{FONT}"><title>{}</title><desc>{}</desc><rect width="{WIDTH}" height="{height}" fill="{}"/>"#,
            escape(title),
            escape(description),
            self.theme.surface
        ));
        if self.style.has_title {
            let kind = Type { size: 16.0, is_bold: true, ..self.names() };
            self.text(16.0, 23.0, kind, &clean(title, 80));
        }
        self.out.push_str(&body);
        self.out.push_str("</svg>\n");
        self.out
    }
}

/// The plot as a standalone drawing.
pub(crate) fn draw(plot: &Plot, style: Style<'_>) -> String {
    let top = if style.has_title { TITLE_HEIGHT } else { 6.0 };
    let mut canvas = Canvas::new(style);
    let legend_height = legend(&mut canvas, plot, top);
    let is_plane = matches!(plot.marks, Marks::Points { .. });
    let mut frame = if is_plane {
        Frame {
            left: 12.0,
            top: top + legend_height,
            width: WIDTH - 24.0,
            height: 500.0,
            domain: plot.domain,
        }
    } else {
        let left = left_margin(plot);
        Frame {
            left,
            top: top + legend_height + 4.0,
            width: WIDTH - left - 20.0,
            height: 320.0,
            domain: plot.domain,
        }
    };
    if is_plane {
        frame.domain = same_scale(plot.domain, frame.width, frame.height);
        canvas.push(format_args!(
            r#"<rect x="{}" y="{}" width="{}" height="{}" rx="6" fill="none" stroke="{}"/>"#,
            frame.left, frame.top, frame.width, frame.height, style.theme.border
        ));
    } else {
        axes(&mut canvas, plot, &frame);
    }
    match &plot.marks {
        Marks::Lines { smoothing, reference, series } => {
            lines(&mut canvas, &frame, series, smoothing.unwrap_or(0.0));
            guide(&mut canvas, &frame, *reference);
        }
        Marks::Points { series } => points(&mut canvas, &frame, series),
        Marks::Bars { edges, reference, series } => {
            bars(&mut canvas, &frame, edges, series);
            guide(&mut canvas, &frame, *reference);
        }
    }
    let bottom = frame.bottom() + if is_plane { 12.0 } else { 50.0 };
    canvas.finish(&plot.title, &plot.description, bottom)
}

/// Draws the legend from `top` down and returns the height it takes.
fn legend(canvas: &mut Canvas<'_>, plot: &Plot, top: f64) -> f64 {
    let names = plot.names();
    let (mut x, mut y) = (16.0, top + 12.0);
    for (index, name) in names.iter().enumerate() {
        let width = 30.0 + text_width(name, 13.0) + 18.0;
        if x + width > WIDTH && x > 16.0 {
            (x, y) = (16.0, y + 20.0);
        }
        let color = canvas.theme.series(index);
        match plot.marks {
            Marks::Lines { .. } => canvas.push(format_args!(
                r#"<path d="M{x} {y}h22" stroke="{color}" stroke-width="2"{} fill="none"/>"#,
                dash_attribute(index)
            )),
            Marks::Points { .. } => canvas.push(format_args!(
                r#"<path d="{}" transform="translate({} {y})" fill="{color}"/>"#,
                point_path(index, 5.0),
                x + 11.0
            )),
            Marks::Bars { .. } => canvas.push(format_args!(
                r#"<rect x="{x}" y="{}" width="22" height="10" fill="{color}" fill-opacity=".25" stroke="{color}" stroke-width="1.5"{}/>"#,
                y - 5.0,
                dash_attribute(index)
            )),
        }
        canvas.text(x + 30.0, y + 4.5, canvas.names(), name);
        x = round(x + width);
    }
    if names.is_empty() { 0.0 } else { y - top + 16.0 }
}

/// A text's width in pixels, roughly: fonts differ.
fn text_width(text: &str, size: f64) -> f64 {
    text.chars().map(|c| if u32::from(c) < 0x1100 { 0.57 } else { 1.0 }).sum::<f64>() * size
}

/// The dashes of a series' line as an attribute, absent for an unbroken line.
fn dash_attribute(series: usize) -> String {
    match dashes(series) {
        "" => String::new(),
        dashes => format!(r#" stroke-dasharray="{dashes}""#),
    }
}

/// The domain widened so that one unit is as long on both axes.
fn same_scale([left, right, bottom, top]: [f64; 4], width: f64, height: f64) -> [f64; 4] {
    let unit = ((right - left) / width).max((top - bottom) / height);
    let (x, y) = (f64::midpoint(left, right), f64::midpoint(bottom, top));
    let (dx, dy) = (unit * width / 2.0, unit * height / 2.0);
    [x - dx, x + dx, y - dy, y + dy]
}

/// About how many horizontal grid lines there are.
const ROWS: usize = 6;

/// Pixels left of the axis: the numbers at it and the axis' name beside them.
fn left_margin(plot: &Plot) -> f64 {
    let [.., bottom, top] = plot.domain;
    let texts = ticks(bottom, top, ROWS).into_iter();
    let widest = texts.map(|(_, text)| text_width(&text, 12.0)).fold(0.0, f64::max);
    (32.0 + widest).ceil().max(64.0)
}

fn axes(canvas: &mut Canvas<'_>, plot: &Plot, frame: &Frame) {
    let Theme { grid, muted, .. } = *canvas.theme;
    let [left, right, bottom, top] = frame.domain;
    let (start, end, floor) = (frame.left, frame.right(), frame.bottom());
    for (value, text) in ticks(bottom, top, ROWS) {
        let y = frame.y(value);
        canvas.push(format_args!(r#"<path d="M{start} {y}H{end}" stroke="{grid}"/>"#));
        canvas.text(start - 8.0, y + 4.0, canvas.numbers(Anchor::End), &text);
    }
    for (value, text) in ticks(left, right, 8) {
        let x = frame.x(value);
        canvas.push(format_args!(r#"<path d="M{x} {floor}v5" stroke="{muted}"/>"#));
        canvas.text(x, floor + 19.0, canvas.numbers(Anchor::Middle), &text);
    }
    canvas.push(format_args!(r#"<path d="M{start} {floor}H{end}" stroke="{muted}"/>"#));
    let kind = canvas.numbers(Anchor::Middle);
    canvas.text(start + frame.width / 2.0, floor + 40.0, kind, &plot.x_label);
    canvas.turned_text(16.0, frame.top + frame.height / 2.0, -90.0, kind, &plot.y_label);
}

fn lines(canvas: &mut Canvas<'_>, frame: &Frame, series: &[Line], smoothing: f64) {
    for line in series.iter().filter(|line| line.is_muted) {
        canvas.push(format_args!(
            r#"<path d="{}" fill="none" stroke="{}" stroke-opacity=".35"/>"#,
            line_path(&smooth(&line.points, smoothing), frame),
            canvas.theme.muted
        ));
    }
    for (index, line) in series.iter().enumerate().filter(|(_, line)| !line.is_muted) {
        let color = canvas.theme.series(index);
        if smoothing > 0.0 {
            canvas.push(format_args!(
                r#"<path d="{}" fill="none" stroke="{color}" stroke-opacity=".3"/>"#,
                line_path(&line.points, frame)
            ));
        }
        canvas.push(format_args!(
            r#"<path d="{}" fill="none" stroke="{color}" stroke-width="2" stroke-linejoin="round" stroke-linecap="round"{}/>"#,
            line_path(&smooth(&line.points, smoothing), frame),
            dash_attribute(index)
        ));
    }
}

/// A path through the points, broken at gaps; a point between two gaps becomes a dot.
fn line_path(points: &[(f64, Option<f64>)], frame: &Frame) -> String {
    let mut out = String::new();
    let mut is_open = false;
    for (index, &(x, y)) in points.iter().enumerate() {
        let Some(y) = y else {
            is_open = false;
            continue;
        };
        let (x, y) = (frame.x(x), frame.y(y));
        let _ = write!(out, "{}{x} {y}", if is_open { 'L' } else { 'M' });
        if !is_open && points.get(index + 1).is_none_or(|next| next.1.is_none()) {
            out.push_str("h.01");
        }
        is_open = true;
    }
    out
}

fn points(canvas: &mut Canvas<'_>, frame: &Frame, series: &[Cloud]) {
    let Theme { surface, .. } = *canvas.theme;
    for (index, cloud) in series.iter().enumerate() {
        let color = canvas.theme.series(index);
        canvas.push(format_args!(
            r#"<g fill="{color}" fill-opacity=".72" stroke="{surface}" stroke-width=".5">"#
        ));
        let path = point_path(index, 3.6);
        for dot in &cloud.points {
            let (x, y) = (frame.x(dot.0), frame.y(dot.1));
            canvas.push(format_args!(r#"<path transform="translate({x} {y})" d="{path}"/>"#));
        }
        canvas.out.push_str("</g>");
    }
}

fn bars(canvas: &mut Canvas<'_>, frame: &Frame, edges: &[f64], series: &[Bars]) {
    for (index, group) in series.iter().enumerate() {
        let mut path = format!("M{} {}", frame.x(edges[0]), frame.bottom());
        for (bin, count) in group.counts.iter().enumerate() {
            let y = frame.y(share(*count, group.total));
            let _ = write!(path, "V{y}H{}", frame.x(edges[bin + 1]));
        }
        let _ = write!(path, "V{}", frame.bottom());
        let color = canvas.theme.series(index);
        canvas.push(format_args!(
            r#"<path d="{path}" fill="{color}" fill-opacity=".22" stroke="{color}" stroke-width="1.5"{}/>"#,
            dash_attribute(index)
        ));
    }
}

/// The x that is marked, if one is.
fn guide(canvas: &mut Canvas<'_>, frame: &Frame, reference: Option<f64>) {
    if let Some(value) = reference {
        let (x, color) = (frame.x(value), canvas.theme.text);
        canvas.push(format_args!(
            r#"<path d="M{x} {}V{}" stroke="{color}" stroke-width="1.5" stroke-dasharray="4 4"/>"#,
            frame.top,
            frame.bottom()
        ));
    }
}

/// The table as dots with their intervals: one panel a metric, up to four panels a line.
pub(crate) fn draw_table(table: &MetricTable, style: Style<'_>) -> String {
    const ROW: f64 = 26.0;
    const HEAD: f64 = 26.0;
    let names: Vec<String> = table.rows.iter().map(|row| clean(&row.name, 32)).collect();
    let widest = names.iter().map(|name| text_width(name, 13.0)).fold(0.0, f64::max);
    let label = widest.clamp(60.0, 230.0) + 28.0;
    let per_line = table.metrics.len().clamp(1, 4);
    let panel = (WIDTH - label - 16.0) / per_line as f64;
    let line_height = HEAD + names.len() as f64 * ROW + 34.0;
    let first = if style.has_title { TITLE_HEIGHT + 8.0 } else { 8.0 };

    let mut canvas = Canvas::new(style);
    for (column, metric) in table.metrics.iter().enumerate() {
        let (line, place) = (column / per_line, column % per_line);
        let top = first + line as f64 * line_height;
        let estimates: Vec<Option<Estimate>> =
            table.rows.iter().map(|row| row.values.get(column).copied().flatten()).collect();
        let ends = estimates.iter().flatten().flat_map(|estimate| {
            let (low, high) = estimate.interval.unwrap_or((estimate.value, estimate.value));
            [low, estimate.value, high]
        });
        let ends = ends.chain(table.reference);
        let (low, high) = padded(extent(ends).unwrap_or((0.0, 1.0)), 0.12);
        let frame = Frame {
            left: round(label + panel * place as f64 + 8.0),
            top: top + HEAD,
            width: panel - 24.0,
            height: names.len() as f64 * ROW,
            domain: [low, high, 0.0, 1.0],
        };
        let head = Type { is_bold: true, ..canvas.names() };
        canvas.text(frame.left, top + 15.0, head, &clean(metric, 22));
        for (value, text) in ticks(low, high, 3) {
            let (x, grid) = (frame.x(value), canvas.theme.grid);
            let (top, bottom) = (frame.top, frame.bottom());
            canvas.push(format_args!(r#"<path d="M{x} {top}V{bottom}" stroke="{grid}"/>"#));
            let kind = Type { size: 11.0, ..canvas.numbers(Anchor::Middle) };
            canvas.text(x, bottom + 16.0, kind, &text);
        }
        guide(&mut canvas, &frame, table.reference);
        for (index, estimate) in estimates.into_iter().enumerate() {
            let y = frame.top + (index as f64 + 0.5) * ROW;
            if place == 0 {
                canvas.text(16.0, y + 4.5, canvas.names(), &names[index]);
            }
            if let Some(estimate) = estimate.filter(|estimate| estimate.value.is_finite()) {
                whisker(&mut canvas, &frame, y, estimate, table.rows[index].is_baseline);
            }
        }
    }
    let lines = table.metrics.len().div_ceil(per_line);
    let height = first + lines as f64 * line_height;
    let title = clean(&table.title, 200);
    canvas.finish(&title, &clean(&table.description, 1000), height)
}

/// A dot at the value, hollow for a baseline, and a line over its interval.
fn whisker(canvas: &mut Canvas<'_>, frame: &Frame, y: f64, estimate: Estimate, is_baseline: bool) {
    let color = if is_baseline { canvas.theme.muted } else { canvas.theme.series(0) };
    let fill = if is_baseline { canvas.theme.surface } else { color };
    if let Some((low, high)) = estimate.finite_interval() {
        let (low, high) = (frame.x(low), frame.x(high));
        canvas.push(format_args!(
            r#"<path d="M{low} {y}H{high}" stroke="{color}" stroke-width="2"/>"#
        ));
    }
    let x = frame.x(estimate.value);
    canvas.push(format_args!(
        r#"<circle cx="{x}" cy="{y}" r="4.5" fill="{fill}" stroke="{color}" stroke-width="2"/>"#
    ));
}
