//! What `cargo xtask test-browser` drives a browser over; `page.rs` is the example to copy.
//!
//! Writes reports into a folder: every figure with plausible numbers, every figure with hostile texts,
//! and the pages of ten and of a hundred runs. `cargo xtask test-browser` drives a browser over all of them.
//!
//! ```text
//! cargo run -p samtone-report --example gallery -- FOLDER
//! ```

#[path = "../tests/report/hostile.rs"]
mod hostile;

use std::{error::Error, path::PathBuf};

use samtone_report::{
    Better, BrowsedQuery, Curve, Estimate, ExampleGroup, ExampleText, Examples, Histogram,
    KeyValues, LearningCurves, MetricTable, Neighbour, NeighbourBrowser, Piece, Point, Ranking,
    RelevantDocument, Report, Scatter, Section, Table, TableCell, TableColumn, Tsne,
};

fn main() -> Result<(), Box<dyn Error>> {
    let folder = PathBuf::from(std::env::args_os().nth(1).ok_or("usage: gallery FOLDER")?);
    for (name, words) in [("gallery", Words::Plain), ("hostile", Words::Hostile(hostile::texts()))]
    {
        let report = gallery(&words)?;
        report.write_figures(folder.join(name))?;
        report.write(folder.join(format!("{name}.html")))?;
    }
    for count in [10, 100] {
        many(count).write(folder.join(format!("{count}-runs.html")))?;
    }
    Ok(())
}

/// Where names and texts come from.
enum Words {
    Plain,
    Hostile(Vec<String>),
}

impl Words {
    /// `plain`, or the `i`th hostile text.
    fn name(&self, plain: &str, i: usize) -> String {
        match self {
            Self::Plain => plain.to_owned(),
            Self::Hostile(texts) => texts[i % texts.len()].clone(),
        }
    }

    /// The `i`th of some sentences, or hostile text.
    fn text(&self, start: &str, i: usize) -> String {
        self.name(&format!("{start} {i}: {}", SENTENCES[i % SENTENCES.len()]), i)
    }
}

/// Every figure once or twice.
fn gallery(words: &Words) -> Result<Report, Box<dyn Error>> {
    let mut random = Random(7);
    let models = [words.name("in-batch", 11), words.name("samtone", 12)];
    let learning = learning(words, &models, &mut random);
    let towers = towers(words, &models, &mut random)?;
    let scores = scores(words, &models, &mut random);
    Ok(Report::new(words.name("Same-tower negatives on a small world", 7))
        .summary(words.name("Two asymmetric dual encoders, with and without same-tower negatives. Invented numbers: this page shows what a report can hold.", 8))
        .command(words.name("cargo run -p samtone-report --example gallery -- FOLDER", 9))
        .highlight("MRR@10 on test", "0.641", "BM25 0.534")
        .highlight("nDCG@10 on test", "0.686", "BM25 0.579")
        .highlight("Probe AUC", "0.58", "in-batch 0.99; 0.5 is mixed")
        .highlight(words.name("Speed", 10), "413 pairs/s", "2 threads, flex")
        .section(
            Section::new(words.name("Results", 21))
                .text("Intervals that overlap leave the order open.")
                .figure(metrics(words, &models)),
        )
        .section(learning)
        .section(towers)
        .section(scores)
        .section(Section::new(words.name("Neighbours", 24)).figure(neighbours(words, &models)))
        .section(
            Section::new(words.name("Data", 25))
                .figure(lengths(words))
                .figure(examples(words)),
        )
        .section(setting(words)))
}

fn metrics(words: &Words, models: &[String; 2]) -> MetricTable {
    let row = |base: f64| {
        [0.0, 0.045, 0.31, -0.1].map(|d| {
            let value = base + d;
            Estimate::with_interval(value, value - 0.021, value + 0.019)
        })
    };
    MetricTable::new(words.name("Test metrics", 3), ["mrr@10", "ndcg@10", "recall@100", "p@1"])
        .description("Means over 1,000 test queries, with 95 % bootstrap intervals.")
        .row(&models[1], row(0.641))
        .row(&models[0], row(0.618))
        .baseline(words.name("BM25", 13), row(0.534))
}

fn learning(words: &Words, models: &[String; 2], random: &mut Random) -> Section {
    let mut losses = LearningCurves::new(words.name("Training loss", 1), "step", "loss (nats)")
        .description("Mean over the batch, every step.");
    let mut dev = LearningCurves::new(words.name("Development MRR@10", 2), "step", "MRR@10")
        .description("Every 50 steps, on the development split.");
    for (m, model) in models.iter().enumerate() {
        let slower = 1.0 + 0.35 * m as f64;
        let loss = |step: f64| 1.1 * slower + 4.0 * (-step / (140.0 * slower)).exp();
        let steps = (0..1000).map(f64::from);
        let points = steps.map(|step| (step, loss(step) + 0.25 * random.gaussian()));
        losses = losses.curve(Curve::new(model, points.collect()));
        let mrr = |step: f64| 0.62 + 0.03 * m as f64 - 0.55 * (-step / 220.0).exp();
        let points = (0..=20).map(|i| f64::from(i) * 50.0).map(|step| (step, mrr(step)));
        dev = dev.curve(Curve::new(model, points.collect()));
    }
    Section::new(words.name("Learning", 22)).figure(losses).figure(dev)
}

fn towers(
    words: &Words,
    models: &[String; 2],
    random: &mut Random,
) -> Result<Section, Box<dyn Error>> {
    let mut section = Section::new(words.name("Towers", 23)).text(
        "Two islands: a query's neighbours are queries. One cloud: its neighbours are documents.",
    );
    for (model, gap) in models.iter().zip([2.6, 0.25]) {
        let embeddings = embeddings(random, 200, gap);
        let tsne = Tsne { epochs: 500, ..Tsne::default() }.project(&embeddings, DIM)?;
        let groups = [words.name("queries", 14), words.name("documents", 15)];
        let mut plane = Scatter::new(format!("{model}: queries and documents"), groups)
            .description(format!(
                "t-SNE, perplexity 30, KL divergence {:.2} nats.",
                tsne.kl_divergence
            ));
        let point = |(i, position): (usize, &(f64, f64))| Point {
            position: *position,
            group: i / 200,
            id: words.name(&format!("{}{}", ["q", "d"][i / 200], i % 200), i),
            text: words.text(["What is asked in", "What stands in"][i / 200], i % 200),
            partner: Some((i + 200) % 400),
        };
        plane.points = tsne.positions.iter().enumerate().map(point).collect();
        section = section.figure(plane);
    }
    Ok(section)
}

fn scores(words: &Words, models: &[String; 2], random: &mut Random) -> Section {
    let mut draw = |count: usize, center: f64, spread: f64| -> Vec<f64> {
        (0..count).map(|_| center + spread * random.gaussian()).collect()
    };
    let mut section = Section::new("Scores");
    for (model, center) in models.iter().zip([0.60, 0.72]) {
        section = section.figure(
            Histogram::new(format!("{model}: top-1 cosine"), "cosine(query, its top-1 document)")
                .description("Where the two part, the score tells right from wrong.")
                .group(words.name("right", 16), draw(640, center + 0.08, 0.06))
                .group(words.name("wrong", 17), draw(360, center - 0.05, 0.07)),
        );
    }
    section.figure(
        Histogram::new(words.name("Regularisation", 4), "s(q_i, q_j) / s(q_i, d_j)")
            .description("Random pairs; around 1, the towers share one space.")
            .range(-0.5, 2.0)
            .reference(1.0)
            .group(&models[0], draw(2000, 0.55, 0.3))
            .group(&models[1], draw(2000, 1.0, 0.2)),
    )
}

fn neighbours(words: &Words, models: &[String; 2]) -> NeighbourBrowser {
    let mut browser = NeighbourBrowser::new(words.name("Top documents", 5), models)
        .description("Under each model; the right one is marked.");
    for i in 0..60 {
        let ranking = |offset: usize| {
            let right = (i * 7 + offset * 3) % 8;
            let document = |rank: usize| Neighbour {
                id: words.name(&format!("d{}", i * 5 + rank), i + rank),
                text: words.text("A document about", i * 3 + rank),
                score: 0.9 - 0.05 * rank as f64 - 0.01 * offset as f64,
                is_relevant: rank == right,
                note: words.name("BM25 rank 4", 29),
            };
            Ranking {
                first_relevant: (right < 7).then_some(right + 1),
                documents: (0..5).map(document).collect(),
            }
        };
        browser.queries.push(BrowsedQuery {
            id: words.name(&format!("q{i}"), i),
            text: words.text("A question about", i),
            rankings: vec![ranking(0), ranking(i % 3)],
            groups: vec![words.name(["won against BM25", "lost against BM25"][i % 2], 26 + i % 2)],
            relevant: vec![RelevantDocument {
                id: words.name(&format!("d{}", i * 5), i),
                text: words.text("A document about", i * 3),
                note: words.name("rank 3, score 0.71, BM25 rank 9", 28),
            }],
        });
    }
    browser
}

fn setting(words: &Words) -> Section {
    let config = serde_json::json!({
        "seed": 0,
        "data": { "train": words.name("world/train", 6), "lowercase": true },
        "loss": { "preset": "samtone", "temperature": 0.05 },
        "train": { "steps": 1000, "batch_size": 128, "lr": 0.0005, "schedule": "linear" },
    });
    let environment = KeyValues::new("Environment")
        .row(words.name("backend", 18), "flex")
        .row("threads", 2)
        .row(words.name("device", 19), words.name("cpu", 20))
        .row("pairs per second", 412.6);
    Section::new("Setting")
        .figure(
            KeyValues::from_json("Configuration", &config)
                .mark("changed", |name| name.ends_with("lr") || name == "seed"),
        )
        .figure(environment)
}

fn lengths(words: &Words) -> Table {
    let columns = ["texts", "50 %", "90 %", "longest", "limit", "cut"];
    let name = |(i, name): (usize, &str)| TableColumn::new(words.name(name, 31 + i));
    let row = |name: &str, i| {
        let numbers = [9.0, 14.0, 31.0, 64.0].map(|n| TableCell::shown(format!("{n}"), n));
        let cut = TableCell::shown("2.5 %", 0.025);
        [TableCell::text(words.name(name, i))]
            .into_iter()
            .chain(numbers)
            .chain([cut])
            .collect::<Vec<_>>()
    };
    Table::new(words.name("Lengths", 30), columns.into_iter().enumerate().map(name))
        .description("Tokens, prompts and special tokens among them.")
        .row(row("queries", 37))
        .row(row("documents", 38))
}

fn examples(words: &Words) -> Examples {
    let mut figure = Examples::new(words.name("As the model sees them", 39))
        .description("The first pairs of the first step.");
    for i in 0..4 {
        let text = |role: &str, prompt: &str, cut: bool| {
            let sentence = SENTENCES[(2 * i + usize::from(cut)) % SENTENCES.len()];
            let tokens = sentence.split(' ').map(|word| Piece::Token(words.name(word, 40 + i)));
            let prompt =
                prompt.split_terminator(' ').map(|word| Piece::Prompt(words.name(word, 50)));
            ExampleText {
                role: words.name(role, 60),
                detail: words.name("12 tokens", 61),
                pieces: std::iter::once(Piece::Special("[CLS]".into()))
                    .chain(prompt)
                    .chain(tokens)
                    .chain([Piece::Special("[SEP]".into())])
                    .collect(),
                cut: if cut {
                    words.text("and what is beyond the limit", i)
                } else {
                    String::new()
                },
            }
        };
        let texts = vec![text("query", "query :", false), text("document", "", i % 2 == 0)];
        figure.examples.push(ExampleGroup { title: words.text("Pair", i), texts });
    }
    figure
}

/// The page of `count` runs.
fn many(count: usize) -> Report {
    let mut random = Random(11);
    let names: Vec<String> = (0..count)
        .map(|i| {
            format!(
                "{}/{}/seed-{}",
                ["samtone", "in-batch", "pair", "gte"][i % 4],
                ["sde", "ade"][i / 4 % 2],
                i / 8
            )
        })
        .collect();
    let columns = [
        TableColumn::new("run"),
        TableColumn::new("state"),
        TableColumn::new("mrr@10").better(Better::Higher),
        TableColumn::new("ndcg@10").better(Better::Higher),
        TableColumn::new("training loss"),
        TableColumn::new("steps"),
        TableColumn::new("time"),
        TableColumn::new("loss.preset"),
        TableColumn::new("train.lr"),
    ];
    let mut table = Table::new("Runs", columns).description(
        "Bold is the best of its column. A star: it differs from the first run (p < 0.05 after Holm).",
    );
    let mut losses = LearningCurves::new("Loss", "step", "loss (nats)");
    for (i, name) in names.iter().enumerate() {
        let value = 0.6 + 0.02 * random.gaussian();
        let own = TableCell::number(value);
        let cells = [
            TableCell::text(name).file(format!("{name}/report.html")),
            TableCell::text("finished"),
            if value > 0.63 { own.significant() } else { own },
            TableCell::number(value + 0.04),
            TableCell::number(2.0 - value),
            TableCell::shown("1 000", 1000.0),
            TableCell::shown(format!("{} min", 10 + i % 7), (10 + i % 7) as f64),
            TableCell::text(name.split('/').next().unwrap_or_default()),
            TableCell::shown("5e-5", 5e-5),
        ];
        table = table.marked_row(if i == 0 { "baseline" } else { "" }, cells);
        let points = (0..500).map(|step| {
            let step = f64::from(step);
            (step, 2.0 - value + 4.0 * (-step / 90.0).exp() + 0.05 * random.gaussian())
        });
        let curve = Curve::new(name, points.collect());
        losses = losses.curve(if i < 8 { curve } else { curve.muted() });
    }
    let mut dev = LearningCurves::new("mrr@10 on dev", "step", "mrr@10").exact();
    for curve in &losses.curves {
        let points = curve.points.iter().step_by(50).map(|(x, y)| (*x, 0.8 - y / 8.0)).collect();
        dev = dev.curve(Curve { points, ..curve.clone() });
    }
    Report::new(format!("{count} runs"))
        .summary("Invented numbers: this page shows how many runs a report can hold.")
        .section(Section::new("Results").figure(table))
        .section(Section::new("Training").figure(losses).figure(dev))
}

const DIM: usize = 24;

/// `pairs` queries, then their documents: topics in common, the towers `gap` apart.
fn embeddings(random: &mut Random, pairs: usize, gap: f64) -> Vec<f32> {
    let topics: Vec<f64> = (0..12 * DIM).map(|_| random.gaussian()).collect();
    let own: Vec<f64> = (0..pairs * DIM).map(|_| random.gaussian()).collect();
    let mut out = Vec::new();
    for side in [0.0, 1.0] {
        for i in 0..pairs {
            let topic = &topics[i % 12 * DIM..][..DIM];
            let own = &own[i * DIM..][..DIM];
            let place = topic.iter().zip(own).enumerate().map(|(k, (topic, own))| {
                let shift = if k < 6 { side * gap } else { 0.0 };
                (0.8 * topic + own + shift + 0.4 * random.gaussian()) as f32
            });
            out.extend(place);
        }
    }
    out
}

const SENTENCES: [&str; 8] = [
    "the lighthouse of Orsk was built by Mira Tolan in 1874",
    "which river passes below the bridge that Anselm Roe painted?",
    "a ferry crosses the sound twice a day, in winter once",
    "the third symphony was first played in the old corn exchange",
    "who wrote the letters found behind the organ?",
    "its harbour froze for eleven weeks, longer than in any year on record",
    "where did the cartographer spend her last years?",
    "the mill burned down twice and was rebuilt in brick",
];

/// A small generator for the example's numbers.
struct Random(u64);

impl Random {
    fn uniform(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.0 >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn gaussian(&mut self) -> f64 {
        (0..12).map(|_| self.uniform()).sum::<f64>() - 6.0
    }
}
