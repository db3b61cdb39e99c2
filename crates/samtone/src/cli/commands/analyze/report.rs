//! The page and the files of `samtone analyze`.

use std::ops::Range;
use std::path::Path;

use anyhow::Context;
use samtone_eval::statistics::Geometry;
use samtone_report::{
    BrowsedQuery, Estimate, Histogram, KeyValues, MetricTable, Neighbour, NeighbourBrowser, Point,
    Ranking, Report, Scatter, Section,
};

use super::found::{Analysis, FOUND, ModelAnalysis, Sample};

/// Writes `analysis.json`, `report.html` and `figures/` into `folder`; `top` documents a query are
/// browsed.
pub(super) fn write(
    folder: &Path,
    analysis: &Analysis<'_>,
    sample: &Sample,
    top: usize,
    command: &str,
) -> anyhow::Result<()> {
    let wrong = || format!("cannot write the analysis into `{}`", folder.display());
    let json = serde_json::to_string_pretty(analysis).context("cannot write the result as JSON")?;
    samtone_files::replace(&folder.join("analysis.json"), (json + "\n").as_bytes())
        .with_context(wrong)?;
    let report = report(analysis, sample, top, command);
    report.write_figures(folder.join("figures"))?;
    report.write(folder.join("report.html"))?;
    Ok(())
}

fn report(analysis: &Analysis<'_>, sample: &Sample, top: usize, command: &str) -> Report {
    let models = &analysis.models;
    let names: Vec<&str> = models.iter().map(|model| model.name.as_str()).collect();
    let mut report = Report::new(format!("Towers of {}", names.join(" and ")))
        .summary(format!(
            "{} queries and {} documents: {}, {} split.",
            analysis.queries,
            analysis.documents,
            analysis.data.display(),
            analysis.split
        ))
        .command(command);
    for model in models {
        for (name, value) in &model.geometry[..2] {
            report = report.highlight(format!("{name}, {}", model.name), format!("{value:.3}"), "");
        }
    }
    report
        .section(Section::new("Retrieval").figure(metrics(models)))
        .section(towers(analysis, sample))
        .section(scores(models))
        .section(Section::new("Neighbours").figure(neighbours(models, sample, top)))
        .section(Section::new("Setting").figure(setting(analysis)))
}

fn metrics(models: &[ModelAnalysis]) -> MetricTable {
    let names = models.iter().take(1).flat_map(|model| &model.metrics);
    let table = MetricTable::new("Metrics", names.map(|measured| measured.metric.as_str()))
        .description("Means over queries by trec_eval's rules, with 95 % bootstrap intervals.");
    models.iter().fold(table, |table, model| {
        let estimates = model.metrics.iter().map(|measured| {
            Estimate::with_interval(measured.mean, measured.interval.0, measured.interval.1)
        });
        table.row(&model.name, estimates)
    })
}

fn towers(analysis: &Analysis<'_>, sample: &Sample) -> Section {
    let models = &analysis.models;
    let mut section = Section::new("Towers").text(
        "Two islands: queries lie with queries, a linear probe tells the towers apart (AUC near \
         1) and their centroids lie far from each other. One cloud: a query lies among its \
         documents. What the plane shows the numbers must say too: t-SNE keeps neighbourhoods, \
         not distances, and the probe reads every dimension where the plane has two.",
    );
    for model in models {
        let mut plane = Scatter::new(
            format!("{}: queries and documents", model.name),
            ["queries", "documents"],
        )
        .description(format!(
            "t-SNE of {} pairs, perplexity {}, divergence {:.3} nats. In the full space: {}. \
             Hovering joins a query and its document.",
            analysis.points,
            analysis.perplexity,
            model.kl_divergence,
            model.geometry[..2]
                .iter()
                .map(|(name, value)| format!("{name} {value:.3}"))
                .collect::<Vec<_>>()
                .join(", ")
        ));
        plane.points = points(model, sample);
        section = section.figure(plane);
    }
    let (between, within) = (
        0..Geometry::BETWEEN,
        Geometry::BETWEEN..models.first().map_or(Geometry::BETWEEN, |m| m.geometry.len()),
    );
    section
        .figure(geometry("Between the towers", models, between).description(format!(
            "Of unit embeddings, over {} pairs. Probe AUC: how well a linear classifier tells \
             queries from documents, 0.5 is not at all. Centroid gap: distance of the towers' \
             means. Alignment: mean squared distance in a pair, 0 is best.",
            analysis.pairs
        )))
        .figure(geometry("Within each tower", models, within).description(
            "Uniformity: lower is more even. Effective rank: dimensions in use. Hubness: \
             skewness of how often a document is among a query's first 10, and the share of \
             documents that never are.",
        ))
}

fn geometry(title: &str, models: &[ModelAnalysis], part: Range<usize>) -> MetricTable {
    let numbers = |model: &'_ ModelAnalysis| model.geometry[part.clone()].to_vec();
    let names = models.first().map(numbers).unwrap_or_default().into_iter().map(|named| named.0);
    models.iter().fold(MetricTable::new(title, names), |table, model| {
        table.row(&model.name, numbers(model).into_iter().map(|named| named.1))
    })
}

/// The plotted queries, then their documents.
fn points(model: &ModelAnalysis, sample: &Sample) -> Vec<Point> {
    let pairs = &sample.pairs[..sample.points];
    let queries = pairs.iter().map(|&(place, _)| {
        let query = &sample.dataset.queries()[sample.queries[place]];
        (0, query.id.clone(), query.text.clone())
    });
    let documents = pairs.iter().map(|&(_, document)| {
        let document = sample.dataset.document(document);
        (1, document.id.to_owned(), document.passage(sample.text).into_owned())
    });
    let places = queries.chain(documents).zip(&model.drawn.positions).enumerate();
    places
        .map(|(index, ((group, id, text), &position))| Point {
            position,
            group,
            id,
            text,
            partner: Some((index + pairs.len()) % (2 * pairs.len())),
        })
        .collect()
}

fn scores(models: &[ModelAnalysis]) -> Section {
    let all = models.iter().flat_map(|model| model.drawn.first.iter().map(|first| first.0));
    let (low, high) =
        all.fold((1.0_f64, -1.0_f64), |(low, high), cosine| (low.min(cosine), high.max(cosine)));
    let mut section = Section::new("Scores");
    for model in models {
        let of = |right: bool| {
            let first = model.drawn.first.iter().filter(|first| first.1 == right);
            first.map(|first| first.0).collect::<Vec<f64>>()
        };
        section = section.figure(
            Histogram::new(
                format!("{}: top-1 cosine", model.name),
                "cosine(query, its top-1 document)",
            )
            .description("Where the two part, the score tells right from wrong.")
            .range(low, high)
            .group("right", of(true))
            .group("wrong", of(false)),
        );
    }
    let ratios = Histogram::new("Queries among queries", "s(q_i, q_j) / s(q_i, d_j)")
        .description(
            "Random pairs, cosines. Around 1, another query is as near as its document: the \
             towers share one space.",
        )
        .range(-0.5, 2.5)
        .reference(1.0);
    section.figure(
        models
            .iter()
            .fold(ratios, |figure, model| figure.group(&model.name, model.drawn.ratios.clone())),
    )
}

fn neighbours(models: &[ModelAnalysis], sample: &Sample, top: usize) -> NeighbourBrowser {
    let names = models.iter().map(|model| model.name.as_str());
    let mut browser = NeighbourBrowser::new("Top documents", names).description(format!(
        "{} queries, sampled. The rank is that of the first right document, looked for among the \
         first {FOUND}.",
        sample.browsed.len()
    ));
    for &place in &sample.browsed {
        let query = &sample.dataset.queries()[sample.queries[place]];
        let ranking = |model: &ModelAnalysis| {
            let hits = &model.drawn.hits[place];
            let right = |document: usize| sample.is_relevant(place, document);
            let document = |index: usize, score: f32| {
                let document = sample.dataset.document(index);
                Neighbour {
                    id: document.id.to_owned(),
                    text: document.passage(sample.text).into_owned(),
                    score: score.into(),
                    is_relevant: right(index),
                    note: String::new(),
                }
            };
            Ranking {
                first_relevant: hits.iter().position(|hit| right(hit.index)).map(|at| at + 1),
                documents: hits
                    .iter()
                    .take(top)
                    .map(|hit| document(hit.index, hit.score))
                    .collect(),
            }
        };
        browser.queries.push(BrowsedQuery {
            id: query.id.clone(),
            text: query.text.clone(),
            rankings: models.iter().map(ranking).collect(),
            ..BrowsedQuery::default()
        });
    }
    browser
}

fn setting(analysis: &Analysis<'_>) -> KeyValues {
    let table = KeyValues::new("Analysis")
        .row("data", analysis.data.display())
        .row("split", analysis.split)
        .row("pairs measured", analysis.pairs)
        .row("pairs plotted", analysis.points)
        .row("perplexity", analysis.perplexity)
        .row("seed", analysis.seed);
    analysis.models.iter().fold(table, |table, model| {
        let (path, dim) = (model.model.display(), model.dim);
        let value = format!("{path}, {dim} dimensions, searched by {}", model.similarity);
        table.row(&model.name, value)
    })
}
