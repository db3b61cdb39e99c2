//! Texts token by token.

use crate::markup::{Markup, name};
use crate::{Examples, Piece};

/// Writes `figure`.
pub(super) fn write(out: &mut Markup, figure: &Examples) {
    out.put("<div class=\"examples\">\n");
    for (place, example) in figure.examples.iter().enumerate() {
        let title = name(&example.title);
        // The first is open: what the others hold is seen from it.
        let open = if place == 0 { " open" } else { "" };
        out.push(format_args!("<details{open}><summary><bdi>{title}</bdi></summary><dl>\n"));
        for text in &example.texts {
            let (role, detail) = (name(&text.role), name(&text.detail));
            out.push(format_args!(
                "<div><dt><bdi>{role}</bdi> <small>{detail}</small></dt><dd class=\"tokens\" dir=\"auto\">"
            ));
            for piece in &text.pieces {
                let class = match piece {
                    Piece::Token(_) => "token",
                    Piece::Prompt(_) => "token prompt",
                    Piece::Special(_) => "token special",
                };
                let piece = name(piece.text());
                out.push(format_args!("<bdi class=\"{class}\">{piece}</bdi> "));
            }
            if !text.cut.is_empty() {
                let cut = out.text(&text.cut);
                out.push(format_args!(
                    "<span class=\"tag wrong\">cut here</span> <del dir=\"auto\">{cut}</del>"
                ));
            }
            out.put("</dd></div>\n");
        }
        out.put("</dl></details>\n");
    }
    out.put("</div>\n");
}
