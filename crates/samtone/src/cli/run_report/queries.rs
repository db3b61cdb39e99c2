//! Queries won, lost and answered worst.

use samtone_loss::{FalseNegatives, Loss};
use samtone_report::{
    BrowsedQuery, Neighbour, NeighbourBrowser, Ranking, RelevantDocument, Section,
};
use samtone_train::config::ExperimentConfig;
use samtone_train::run::{ShownDocument, ShownQueries, ShownQuery};

use crate::words::grouped;

/// The chosen queries of a run.
pub(super) fn section(shown: &ShownQueries, config: &ExperimentConfig) -> Section {
    let loss = config.loss.resolve();
    let false_negatives = loss.as_ref().map_or(FalseNegatives::NONE, Loss::false_negatives);
    let hides_copies = false_negatives.ids || false_negatives.known;
    let mut browser = NeighbourBrowser::new("Won, lost and worst", &shown.systems).description(
        format!(
            "{} of the {} queries of {}: those whose {} differs most, and the worst. A rank is that of \
             the first right document; one by BM25 is told of its first documents.",
            shown.queries.len(),
            grouped(shown.judged),
            shown.split,
            shown.metric
        ),
    );
    browser.queries =
        shown.queries.iter().map(|query| browsed(query, shown, hides_copies)).collect();
    Section::new("Queries").figure(browser)
}

fn browsed(query: &ShownQuery, shown: &ShownQueries, hides_copies: bool) -> BrowsedQuery {
    let text = |id: &String| shown.documents.get(id).cloned().unwrap_or_default();
    let relevant = |id: &String| RelevantDocument {
        id: id.clone(),
        text: text(id),
        note: ranks(id, query, &shown.systems),
    };
    let neighbour = |document: &ShownDocument, system: &str| Neighbour {
        id: document.id.clone(),
        text: text(&document.id),
        score: document.score.into(),
        is_relevant: query.right.contains(&document.id),
        note: note(document, system, hides_copies),
    };
    let rankings = query.found.iter().zip(&shown.systems).map(|(found, system)| Ranking {
        first_relevant: found.right.first().map(|right| right.1),
        documents: found.first.iter().map(|document| neighbour(document, system)).collect(),
    });
    BrowsedQuery {
        id: query.id.clone(),
        text: query.text.clone(),
        rankings: rankings.collect(),
        groups: query.groups.clone(),
        relevant: query.right.iter().map(relevant).collect(),
    }
}

/// Where every system ranks the right document `id`.
fn ranks(id: &str, query: &ShownQuery, systems: &[String]) -> String {
    let rank = |(system, found): (&String, &samtone_train::run::ShownRanking)| match found
        .right
        .iter()
        .find(|right| right.0 == id)
    {
        Some((_, rank, score)) => format!("{system}: rank {rank}, score {score:.4}"),
        None => format!("{system}: not found"),
    };
    systems.iter().zip(&query.found).map(rank).collect::<Vec<_>>().join(" · ")
}

/// What else is known of a document that a system found; whether training hides one that reads as a right
/// one.
fn note(document: &ShownDocument, system: &str, hides_copies: bool) -> String {
    let mut notes = Vec::new();
    if system != "BM25" {
        notes.extend(document.bm25_rank.map(|rank| format!("BM25 rank {rank}")));
    }
    if document.is_copy {
        let hidden = if hides_copies { ": masked in training" } else { "" };
        notes.push(format!("reads as a right one{hidden}"));
    }
    if document.is_trained {
        notes.push("a training positive".into());
    }
    notes.join(" · ")
}
