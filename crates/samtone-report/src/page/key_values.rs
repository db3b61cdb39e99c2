//! Names and values.

use crate::KeyValues;
use crate::markup::{Markup, name};
use crate::text::{MOST_COPIED, exact};

/// Writes `table`.
pub(super) fn write(out: &mut Markup, table: &KeyValues) {
    out.put("<dl class=\"pairs\">\n");
    for row in &table.rows {
        let (key, value) = (out.text(&row.name), out.text(&row.value));
        let class = if row.mark.is_empty() { "" } else { " class=\"marked\"" };
        out.push(format_args!("<div{class}><dt><bdi>{key}</bdi>"));
        if !row.mark.is_empty() {
            let mark = name(&row.mark);
            out.push(format_args!(" <bdi class=\"tag\">{mark}</bdi>"));
        }
        out.put("</dt><dd");
        if (1..=MOST_COPIED).contains(&row.copied.len()) {
            let copied = exact(&row.copied);
            out.push(format_args!(" data-copied=\"{copied}\""));
        }
        out.push(format_args!("><span dir=\"auto\">{value}</span></dd></div>\n"));
    }
    out.put("</dl>\n");
}
