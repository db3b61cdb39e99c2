//! Rows of strings as text, Markdown and LaTeX.

use std::fmt::Write;

/// How a table is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Style {
    /// Columns of equal width, for a terminal.
    #[default]
    Text,
    /// A Markdown table.
    Markdown,
    /// A LaTeX `tabular` in booktabs' style.
    Latex,
}

/// Writes a table, its first two columns to the left and the others to the right.
pub(super) fn render(header: &[String], rows: &[Vec<String>], style: Style) -> String {
    match style {
        Style::Text => text(header, rows),
        Style::Markdown => markdown(header, rows),
        Style::Latex => latex(header, rows),
    }
}

const LEFT: usize = 2;

fn text(header: &[String], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().map(|row| &row[column]).chain([&header[column]]);
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..header.len()).map(width).collect();
    let mut out = String::new();
    for row in std::iter::once(header).chain(rows.iter().map(Vec::as_slice)) {
        let mut line = String::new();
        for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
            if column < LEFT {
                write!(line, "{cell:<width$}  ")
            } else {
                write!(line, "{cell:>width$}  ")
            }
            .expect("a string takes anything");
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

fn markdown(header: &[String], rows: &[Vec<String>]) -> String {
    let line = |cells: &[String]| {
        let cells: Vec<String> = cells.iter().map(|cell| cell.replace('|', "\\|")).collect();
        format!("| {} |\n", cells.join(" | "))
    };
    let mut out = line(header);
    let rules: Vec<String> = (0..header.len())
        .map(|column| if column < LEFT { "---" } else { "---:" }.to_owned())
        .collect();
    out.push_str(&line(&rules));
    out.extend(rows.iter().map(|row| line(row)));
    out
}

fn latex(header: &[String], rows: &[Vec<String>]) -> String {
    let line = |cells: &[String]| {
        let cells: Vec<String> = cells.iter().map(|cell| escape(cell)).collect();
        format!("{} \\\\\n", cells.join(" & "))
    };
    let columns = "l".repeat(LEFT) + &"r".repeat(header.len() - LEFT);
    let mut out =
        format!("\\begin{{tabular}}{{{columns}}}\n\\toprule\n{}\\midrule\n", line(header));
    out.extend(rows.iter().map(|row| line(row)));
    out.push_str("\\bottomrule\n\\end{tabular}\n");
    out
}

/// Escapes what LaTeX would take for its own.
fn escape(cell: &str) -> String {
    let mut out = String::with_capacity(cell.len());
    for c in cell.chars() {
        match c {
            '&' | '%' | '$' | '#' | '_' | '{' | '}' => {
                out.push('\\');
                out.push(c);
            }
            '~' => out.push_str("\\textasciitilde{}"),
            '^' => out.push_str("\\textasciicircum{}"),
            '\\' => out.push_str("\\textbackslash{}"),
            _ => out.push(c),
        }
    }
    // `[` after `\\` would be its argument; cells start with a run's name, so guard that alone.
    if out.starts_with('[') { format!("{{}}{out}") } else { out }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn render_small(style: Style) -> String {
        let header = ["run", "metric", "mean"].map(str::to_owned);
        render(&header, &[["a_b|c", "p@1", "0.5"].map(str::to_owned).to_vec()], style)
    }

    #[test]
    fn text_is_aligned() {
        assert_eq!(render_small(Style::Text), "run    metric  mean\na_b|c  p@1      0.5\n");
    }

    #[test]
    fn markdown_escapes_bars() {
        assert_eq!(
            render_small(Style::Markdown),
            "| run | metric | mean |\n| --- | --- | ---: |\n| a_b\\|c | p@1 | 0.5 |\n"
        );
    }

    #[test]
    fn latex_escapes_its_own_signs() {
        let latex = render_small(Style::Latex);
        assert!(latex.starts_with("\\begin{tabular}{llr}\n\\toprule\nrun & metric & mean \\\\\n"));
        assert!(latex.contains("a\\_b|c & p@1 & 0.5 \\\\\n"));
    }
}
