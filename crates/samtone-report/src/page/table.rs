//! A table that the script lets the reader sort.

use std::fmt::Write as _;

use crate::markup::{BEST, Markup, STAR, name};
use crate::{Table, TableCell};

/// Writes `table`.
pub(super) fn write(out: &mut Markup, table: &Table) {
    let title = name(&table.title);
    out.push(format_args!(
        "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"{title}\">\
         <table class=\"sorted\"><thead><tr>"
    ));
    for column in &table.columns {
        let column = name(&column.name);
        out.push(format_args!("<th scope=\"col\"><bdi>{column}</bdi></th>"));
    }
    out.put("</tr></thead><tbody>\n");
    let best: Vec<Option<f64>> =
        (0..table.columns.len()).map(|column| table.best(column)).collect();
    for row in &table.rows {
        out.put(if row.mark.is_empty() { "<tr>" } else { "<tr class=\"marked\">" });
        for (column, best) in best.iter().enumerate() {
            let cell = row.cells.get(column).cloned().unwrap_or_default();
            let is_best = best.is_some() && *best == cell.number;
            if column == 0 {
                out.put("<th scope=\"row\"");
                write_cell(out, &cell, is_best);
                if !row.mark.is_empty() {
                    let mark = name(&row.mark);
                    out.push(format_args!(" <bdi class=\"tag\">{mark}</bdi>"));
                }
                out.put("</th>");
            } else {
                out.put("<td");
                write_cell(out, &cell, is_best);
                out.put("</td>");
            }
        }
        out.put("</tr>\n");
    }
    out.put("</tbody></table></div>\n");
}

/// The rest of a cell's tag, and what stands in it.
fn write_cell(out: &mut Markup, cell: &TableCell, is_best: bool) {
    if let Some(number) = cell.number.filter(|number| number.is_finite()) {
        out.push(format_args!(" data-number=\"{number}\""));
    }
    let text = if cell.text.is_empty() { "–".to_owned() } else { out.text(&cell.text) };
    let class = if is_best { "value best" } else { "value" };
    if cell.file.is_empty() {
        out.push(format_args!("><bdi class=\"{class}\">{text}</bdi>"));
    } else {
        let file = encoded(&cell.file);
        out.push(format_args!("><a href=\"{file}\"><bdi class=\"{class}\">{text}</bdi></a>"));
    }
    if is_best {
        out.put(BEST);
    }
    if cell.is_significant {
        out.put(STAR);
    }
}

/// A relative path as a link: what is no letter, digit, `-`, `_`, `.` or `/` is percent-encoded, so that
/// no name can be a scheme or leave its attribute. No path is longer than systems allow.
fn encoded(path: &str) -> String {
    let mut out = String::from("./");
    for byte in path.bytes().take(LONGEST_PATH) {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'/' => {
                out.push(char::from(byte));
            }
            _ => {
                let _ = write!(out, "%{byte:02X}");
            }
        }
    }
    out
}

/// Linux' `PATH_MAX`.
const LONGEST_PATH: usize = 4096;

#[cfg(test)]
mod tests {
    use super::encoded;

    #[test]
    fn no_name_is_a_scheme_or_leaves_its_attribute() {
        assert_eq!(encoded("a/report.html"), "./a/report.html");
        assert_eq!(encoded("javascript:alert(1)"), "./javascript%3Aalert%281%29");
        assert_eq!(encoded("\"><b c='é'"), "./%22%3E%3Cb%20c%3D%27%C3%A9%27");
        assert_eq!(encoded("//example.org"), ".///example.org");
    }
}
