//! What a run trains on.

use samtone_report::{
    ExampleGroup, ExampleText, Examples, KeyValues, Piece, Section, Table, TableCell, TableColumn,
};
use samtone_train::run::{DataRecord, Findings, SeenPiece, SeenRow, TokenLengths, TrainedSet};

use crate::words::{grouped, percent};

/// Sizes, lengths, findings and examples.
pub(super) fn section(data: &DataRecord) -> Section {
    let mut section = Section::new("Data").figure(sizes(data)).figure(lengths(data));
    for set in &data.train {
        section = section.figure(findings(set));
        if let Some(found) = set.findings.as_ref().filter(|found| !found.leaks.is_empty()) {
            section = section.figure(leaks(&set.name, found));
        }
    }
    if data.examples.is_empty() { section } else { section.figure(examples(data)) }
}

fn whole(number: usize) -> TableCell {
    TableCell::shown(grouped(number), number as f64)
}

fn sizes(data: &DataRecord) -> Table {
    let columns = ["set", "for", "queries", "documents", "pairs", "own negatives a pair"];
    let mut table = Table::new("Sizes", columns.map(TableColumn::new))
        .description(format!("Every row of a batch takes {} hard negatives.", data.negatives));
    for set in &data.train {
        let (fewest, most, mean) = set.own_negatives;
        let negatives = match (fewest, most) {
            (fewest, most) if fewest == most => grouped(most),
            _ => format!("{fewest} to {most}, {mean:.1} on average"),
        };
        table = table.row([
            TableCell::text(&set.name),
            TableCell::text("train"),
            whole(set.queries),
            whole(set.documents),
            whole(set.pairs),
            TableCell::shown(negatives, mean),
        ]);
    }
    for set in &data.judged {
        let name = TableCell::text(format!("{}, {}", set.name, set.split));
        let sizes = [TableCell::text(&set.role), whole(set.queries), whole(set.documents)];
        table = table.row(
            [name].into_iter().chain(sizes).chain([TableCell::default(), TableCell::default()]),
        );
    }
    table
}

fn lengths(data: &DataRecord) -> Table {
    let columns = ["texts", "50 %", "90 %", "99 %", "longest", "limit", "fill the limit"];
    let table = Table::new("Lengths of training texts", columns.map(TableColumn::new)).description(
        "In tokens, prompts and special tokens among them, after the cut: so many texts have no more. \
         What fills the limit is cut, or just as long.",
    );
    let rows = data.train.iter().flat_map(|set| {
        [("queries", &set.query_tokens), ("documents", &set.document_tokens)]
            .map(|(side, tokens)| (format!("{side} of {}", set.name), tokens))
    });
    rows.fold(table, |table, (name, tokens)| {
        let TokenLengths { p50, p90, p99, max, limit, filled } = *tokens;
        let numbers = [p50, p90, p99, max, limit].map(whole);
        let filled = TableCell::shown(percent(filled), filled);
        table.row([TableCell::text(name)].into_iter().chain(numbers).chain([filled]))
    })
}

fn findings(set: &TrainedSet) -> KeyValues {
    let title = format!("Findings in {}", set.name);
    let Some(found) = &set.findings else {
        return KeyValues::new(title).description(
            "Not checked: more than 100,000 texts take minutes. `samtone lint` checks them.",
        );
    };
    let figure =
        KeyValues::new(title).description("What `samtone lint` finds, with the first ids.");
    let mut figure = found.counts.iter().fold(figure, |figure, (kind, count)| {
        let examples = found.examples.get(kind).map_or_else(String::new, |ids| {
            format!(": {}{}", ids.join(", "), if ids.len() < *count { ", …" } else { "" })
        });
        figure.row(kind.replace('-', " "), format!("{}{examples}", grouped(*count)))
    });
    if figure.rows.is_empty() {
        figure = figure.row("findings", "none");
    }
    figure.row(
        "pairs of rows of one document in a batch, on average",
        format!("{:.3}", found.same_document),
    )
}

fn leaks(name: &str, found: &Findings) -> Table {
    let columns = ["judged set", "queries", "of these trained on", "nearly"];
    let more = ["relevant documents", "of these trained on", "nearly"];
    let table = Table::new(
        format!("Leaks into {name}"),
        columns.into_iter().chain(more).map(TableColumn::new),
    )
    .description("Judged queries and relevant documents that are in the training pairs, word for word or nearly.");
    found.leaks.iter().fold(table, |table, leak| {
        let numbers = [
            leak.queries,
            leak.leaked_queries.0,
            leak.leaked_queries.1,
            leak.documents,
            leak.leaked_documents.0,
            leak.leaked_documents.1,
        ];
        table.row([TableCell::text(&leak.set)].into_iter().chain(numbers.map(whole)))
    })
}

fn examples(data: &DataRecord) -> Examples {
    let mut figure = Examples::new("As the model sees them").description(format!(
        "The first {} pairs of the first step, token by token: prompts outlined, special tokens grey, what \
         is cut off crossed out.",
        data.examples.len()
    ));
    for pair in &data.examples {
        let own = [("query", &pair.query), ("document", &pair.document)];
        let negatives = pair.negatives.iter().map(|row| ("hard negative", row));
        figure.examples.push(ExampleGroup {
            title: format!("{} – {}", pair.query.id, pair.document.id),
            texts: own.into_iter().chain(negatives).map(|(role, row)| text(role, row)).collect(),
        });
    }
    figure
}

fn text(role: &str, row: &SeenRow) -> ExampleText {
    let tokens = |piece: &SeenPiece| if let SeenPiece::More(tokens) = piece { *tokens } else { 1 };
    let (read, whole) = (row.tokens.iter().map(tokens).sum::<usize>(), row.whole);
    let piece = |piece: &SeenPiece| match piece {
        SeenPiece::Text(text) => Piece::Token(text.clone()),
        SeenPiece::Prompt(text) => Piece::Prompt(text.clone()),
        SeenPiece::Special(text) => Piece::Special(text.clone()),
        SeenPiece::More(tokens) => Piece::Special(format!("… {} tokens …", grouped(*tokens))),
    };
    ExampleText {
        role: role.into(),
        detail: if read < whole {
            format!("{read} of {whole} tokens")
        } else {
            format!("{whole} tokens")
        },
        pieces: row.tokens.iter().map(piece).collect(),
        cut: row.cut.clone(),
    }
}
