//! What models find for queries, query by query.

use crate::markup::{Markup, name};
use crate::scale::number;
use crate::text::escape;
use crate::{BrowsedQuery, Neighbour, NeighbourBrowser, Ranking};

/// Writes `browser`. The controls are made by the script: without it they would do nothing.
pub(super) fn write(out: &mut Markup, browser: &NeighbourBrowser) {
    let mut groups: Vec<&str> = Vec::new();
    for group in browser.queries.iter().flat_map(|query| &query.groups) {
        if !groups.contains(&group.as_str()) {
            groups.push(group);
        }
    }
    let names: Vec<String> = groups.iter().map(|group| crate::text::clean(group, 60)).collect();
    let names = serde_json::to_string(&names).expect("texts are representable as JSON");
    out.push(format_args!("<div class=\"queries\" data-groups=\"{}\">\n", escape(&names)));
    for query in &browser.queries {
        write_query(out, browser, query, &groups);
    }
    out.put("</div>\n");
}

fn write_query(
    out: &mut Markup,
    browser: &NeighbourBrowser,
    query: &BrowsedQuery,
    groups: &[&str],
) {
    let (text, id) = (out.text(&query.text), name(&query.id));
    let places =
        groups.iter().enumerate().filter(|(_, group)| query.groups.iter().any(|g| g == *group));
    let places: Vec<String> = places.map(|(place, _)| place.to_string()).collect();
    out.push(format_args!(
        "<details data-state=\"{}\" data-groups=\"{}\"><summary><span class=\"query\"><bdi \
         class=\"id\">{id}</bdi> <bdi>{text}</bdi></span><span class=\"ranks\">",
        state(query),
        places.join(" ")
    ));
    for (model, ranking) in browser.models.iter().zip(&query.rankings) {
        let (model, (class, rank)) = (name(model), rank(ranking));
        out.push(format_args!("<span class=\"rank {class}\"><bdi>{model}</bdi> {rank}</span>"));
    }
    out.put("</span></summary>\n");
    if !query.relevant.is_empty() {
        out.put("<div class=\"wanted\"><h4>Right documents</h4><ul>");
        for document in &query.relevant {
            let (id, text) = (name(&document.id), out.text(&document.text));
            let note = out.text(&document.note);
            out.push(format_args!(
                "<li class=\"relevant\"><p class=\"meta\"><bdi class=\"id\">{id}</bdi> \
                 <bdi>{note}</bdi></p><p dir=\"auto\">{text}</p></li>"
            ));
        }
        out.put("</ul></div>\n");
    }
    out.put("<div class=\"models\">\n");
    for (model, ranking) in browser.models.iter().zip(&query.rankings) {
        let (model, (class, rank)) = (name(model), rank(ranking));
        out.push(format_args!(
            "<div><h4><bdi>{model}</bdi> <span class=\"rank {class}\">{rank}</span></h4><ol>"
        ));
        for document in &ranking.documents {
            write_document(out, document);
        }
        out.put("</ol></div>\n");
    }
    out.put("</div></details>\n");
}

fn write_document(out: &mut Markup, document: &Neighbour) {
    let (id, text, note) = (name(&document.id), out.text(&document.text), out.text(&document.note));
    let (class, tag) = if document.is_relevant {
        (" class=\"relevant\"", "<span class=\"tag\">right</span> ")
    } else {
        ("", "")
    };
    let score = number(document.score);
    out.push(format_args!(
        "<li{class}><p class=\"meta\">{tag}<bdi class=\"id\">{id}</bdi> <span \
         class=\"score\">{score}</span> <bdi>{note}</bdi></p><p dir=\"auto\">{text}</p></li>"
    ));
}

/// What the page filters by where no query has a group.
fn state(query: &BrowsedQuery) -> &'static str {
    let ranks = || query.rankings.iter().map(|ranking| ranking.first_relevant);
    match (ranks().flatten().min(), ranks().map(|rank| rank.unwrap_or(usize::MAX)).max()) {
        (Some(1), Some(1)) => "right",
        (Some(1), _) => "split",
        _ => "wrong",
    }
}

/// How well a ranking did: a class, and the first right document's rank in words.
fn rank(ranking: &Ranking) -> (&'static str, String) {
    match ranking.first_relevant {
        Some(1) => ("right", "rank 1".to_owned()),
        Some(rank) => ("wrong", format!("rank {rank}")),
        None => ("wrong", "not found".to_owned()),
    }
}
