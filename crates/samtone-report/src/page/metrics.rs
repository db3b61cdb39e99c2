//! Metrics of several systems, as a table with a small drawing in each cell.

use crate::markup::{BEST, Markup, STAR, name};
use crate::scale::{extent, number, padded};
use crate::{Estimate, MetricTable};

/// Writes `table`.
pub(super) fn write(out: &mut Markup, table: &MetricTable) {
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
    let title = name(&table.title);
    out.push(format_args!(
        "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"{title}\"><table>\
         <thead><tr><th scope=\"col\"><span class=\"unseen\">System</span></th>"
    ));
    for (metric, axis) in table.metrics.iter().zip(&axes) {
        let metric = out.text(metric);
        out.push(format_args!("<th scope=\"col\"><bdi>{metric}</bdi>"));
        if let Some((low, high)) = axis {
            let (low, high) = (number(*low), number(*high));
            out.push(format_args!(
                "<span class=\"ends\" aria-hidden=\"true\"><span>{low}</span><span>{high}</span></span>"
            ));
        }
        out.put("</th>");
    }
    out.put("</tr></thead><tbody>\n");
    let best: Vec<Option<f64>> =
        (0..table.metrics.len()).map(|column| table.best(column)).collect();
    for row in &table.rows {
        let class = if row.is_baseline { " class=\"baseline\"" } else { "" };
        let name = out.text(&row.name);
        let tag = if row.is_baseline { " <small>baseline</small>" } else { "" };
        out.push(format_args!("<tr{class}><th scope=\"row\"><bdi>{name}</bdi>{tag}</th>"));
        for (column, axis) in axes.iter().enumerate() {
            match row.values.get(column).copied().flatten() {
                Some(estimate) => {
                    write_estimate(out, estimate, *axis, best[column] == Some(estimate.value));
                }
                None => out.put("<td>–</td>"),
            }
        }
        out.put("</tr>\n");
    }
    out.put("</tbody></table></div>\n");
}

/// A cell: the value, bold if it `is_best`, its interval in figures, and both as a small drawing on
/// the `axis`.
fn write_estimate(out: &mut Markup, estimate: Estimate, axis: Option<(f64, f64)>, is_best: bool) {
    let class = if is_best { "value best" } else { "value" };
    out.push(format_args!("<td><span class=\"{class}\">{}</span>", number(estimate.value)));
    if is_best {
        out.put(BEST);
    }
    if estimate.is_significant {
        out.put(STAR);
    }
    if let Some((from, to)) = estimate.finite_interval() {
        let (from, to) = (number(from), number(to));
        out.push(format_args!(" <span class=\"interval\">{from} to {to}</span>"));
    }
    if let Some((low, high)) = axis.filter(|_| estimate.value.is_finite()) {
        let x = |value: f64| (1000.0 * (value - low) / (high - low)).round() / 10.0;
        out.put(
            "<svg class=\"whisker\" viewBox=\"0 0 100 8\" preserveAspectRatio=\"none\" \
             aria-hidden=\"true\"><path class=\"axis\" d=\"M0 4H100\"/>",
        );
        if let Some((from, to)) = estimate.finite_interval() {
            out.push(format_args!("<path class=\"range\" d=\"M{} 4H{}\"/>", x(from), x(to)));
        }
        out.push(format_args!("<path class=\"dot\" d=\"M{} 0V8\"/></svg>", x(estimate.value)));
    }
    out.put("</td>");
}
