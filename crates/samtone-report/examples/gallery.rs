//! Writes two reports into a folder: every figure with plausible numbers, and every figure with
//! hostile texts. `cargo xtask test-browser` drives a browser over both.
//!
//! ```text
//! cargo run -p samtone-report --example gallery -- FOLDER
//! ```

use std::{error::Error, path::PathBuf};

use samtone_report::{
    BrowsedQuery, Curve, Estimate, Histogram, KeyValues, LearningCurves, MetricTable, Neighbour,
    NeighbourBrowser, Point, Ranking, Report, Scatter, Section, Tsne,
};

fn main() -> Result<(), Box<dyn Error>> {
    let folder = PathBuf::from(std::env::args_os().nth(1).ok_or("usage: gallery FOLDER")?);
    let hostile = hostile_texts();
    for (name, report) in [
        ("gallery", gallery(|kind, i| format!("{kind} {i}: {}", SENTENCES[i % SENTENCES.len()]))?),
        ("hostile", gallery(|_, i| hostile[i % hostile.len()].clone())?),
    ] {
        report.write_figures(folder.join(name))?;
        report.write(folder.join(format!("{name}.html")))?;
    }
    Ok(())
}

/// Every figure once or twice; `text` gives the names and texts.
fn gallery(text: impl Fn(&str, usize) -> String) -> Result<Report, Box<dyn Error>> {
    let mut random = Random(7);
    let is_plain = text("x", 0).starts_with('x');
    let name = |plain: &str, i: usize| {
        if is_plain { plain.to_owned() } else { text("name", i) }
    };

    let models = [name("in-batch", 11), name("samtone", 12)];
    let mut losses = LearningCurves::new(name("Training loss", 1), "step", "loss (nats)")
        .description("Mean over the batch, every step.");
    let mut dev = LearningCurves::new(name("Development MRR@10", 2), "step", "MRR@10")
        .description("Every 50 steps, on the development split.");
    for (m, model) in models.iter().enumerate() {
        let slower = 1.0 + 0.35 * m as f64;
        let loss = |step: f64| 1.1 * slower + 4.0 * (-step / (140.0 * slower)).exp();
        let points = (0..1000)
            .map(|step| f64::from(step))
            .map(|step| (step, loss(step) + 0.25 * random.gaussian()));
        losses = losses.curve(Curve::new(model, points.collect()));
        let mrr = |step: f64| 0.62 + 0.03 * m as f64 - 0.55 * (-step / 220.0).exp();
        let points = (0..=20).map(|i| f64::from(i) * 50.0).map(|step| (step, mrr(step)));
        dev = dev.curve(Curve::new(model, points.collect()));
    }

    let metrics = ["mrr@10", "ndcg@10", "recall@100", "p@1"];
    let row = |base: f64| {
        [0.0, 0.045, 0.31, -0.1].map(|d| {
            let value = base + d;
            Estimate::with_interval(value, value - 0.021, value + 0.019)
        })
    };
    let table = MetricTable::new(name("Test metrics", 3), metrics)
        .description("Means over 1,000 test queries, with 95 % bootstrap intervals.")
        .row(&models[1], row(0.641))
        .row(&models[0], row(0.618))
        .baseline(name("BM25", 13), row(0.534));

    let (mut planes, mut spread) = (Vec::new(), Vec::new());
    for (m, gap) in [2.6, 0.25].into_iter().enumerate() {
        let embeddings = towers(&mut random, 200, gap);
        let tsne = Tsne { epochs: 500, ..Tsne::default() }.project(&embeddings, DIM)?;
        let mut plane = Scatter::new(
            format!("{}: queries and documents", models[m]),
            [name("queries", 14), name("documents", 15)],
        )
        .description(format!(
            "t-SNE, perplexity 30, KL divergence {:.2} nats.",
            tsne.kl_divergence
        ));
        plane.points = tsne
            .positions
            .iter()
            .enumerate()
            .map(|(i, &position)| Point {
                position,
                group: i / 200,
                id: name(&format!("{}{}", ["q", "d"][i / 200], i % 200), i),
                text: text(["What is asked in", "What stands in"][i / 200], i % 200),
                partner: Some((i + 200) % 400),
            })
            .collect();
        planes.push(plane);

        let mut cosines = Histogram::new(
            format!("{}: top-1 cosine", models[m]),
            "cosine(query, its top-1 document)",
        )
        .description("Where the two part, the score tells right from wrong.");
        let center = 0.62 + 0.14 * m as f64;
        let draw = |random: &mut Random, n: usize, center: f64| {
            (0..n).map(|_| (center + 0.07 * random.gaussian()).min(0.999)).collect()
        };
        cosines = cosines.group(name("right", 16), draw(&mut random, 640, center + 0.08));
        spread.push(cosines.group(name("wrong", 17), draw(&mut random, 360, center - 0.05)));
    }
    let ratio = (0..2000).map(|_| 1.0 + 0.2 * random.gaussian()).collect();
    let wide = (0..2000).map(|_| 0.55 + 0.3 * random.gaussian()).collect();
    let ratios = Histogram::new(name("Regularisation", 4), "s(q_i, q_j) / s(q_i, d_j)")
        .description("Random pairs; around 1, the towers share one space.")
        .range(-0.5, 2.0)
        .reference(1.0)
        .group(&models[0], wide)
        .group(&models[1], ratio);

    let mut browser = NeighbourBrowser::new(name("Neighbours", 5), &models)
        .description("The top documents under each model; the right one is marked.");
    for i in 0..60 {
        let ranking = |offset: usize| {
            let right = (i * 7 + offset * 3) % 8;
            let document = |rank: usize| Neighbour {
                id: name(&format!("d{}", i * 5 + rank), i + rank),
                text: text("A document about", i * 3 + rank),
                score: 0.9 - 0.05 * rank as f64 - 0.01 * offset as f64,
                is_relevant: rank == right,
            };
            Ranking {
                first_relevant: (right < 7).then_some(right + 1),
                documents: (0..5).map(document).collect(),
            }
        };
        browser.queries.push(BrowsedQuery {
            id: name(&format!("q{i}"), i),
            text: text("A question about", i),
            rankings: vec![ranking(0), ranking(i % 3)],
        });
    }

    let config = serde_json::json!({
        "seed": 0,
        "data": { "train": text("folder", 6), "lowercase": true },
        "loss": { "preset": "samtone", "temperature": 0.05 },
        "train": { "steps": 1000, "batch_size": 128, "lr": 0.0005, "schedule": "linear" },
    });
    let environment = KeyValues::new("Environment")
        .row(name("backend", 18), "flex")
        .row("threads", 2)
        .row(name("device", 19), text("cpu", 20))
        .row("pairs per second", 412.6);

    Ok(Report::new(name("Same-tower negatives on a small world", 7))
        .summary(name(
            "Two asymmetric dual encoders, trained with and without same-tower negatives.",
            8,
        ))
        .command(name("samtone ablate --config experiments/towers.toml --run-dir runs/towers", 9))
        .highlight("MRR@10 on test", "0.641", "BM25 0.534")
        .highlight("nDCG@10 on test", "0.686", "BM25 0.579")
        .highlight("Probe AUC", "0.58", "in-batch 0.99; 0.5 is mixed")
        .highlight(name("Speed", 10), "413 pairs/s", "2 threads, flex")
        .section(
            Section::new(name("Results", 21))
                .text("Intervals that overlap leave the order open.")
                .figure(table),
        )
        .section(Section::new(name("Learning", 22)).figure(losses).figure(dev))
        .section(
            planes.into_iter().fold(
                Section::new(name("Towers", 23))
                    .text("Two islands: a query's neighbours are queries. One cloud: its neighbours are documents."),
                Section::figure,
            ),
        )
        .section(spread.into_iter().fold(Section::new("Scores"), Section::figure).figure(ratios))
        .section(Section::new(name("Neighbours", 24)).figure(browser))
        .section(
            Section::new("Setting")
                .figure(KeyValues::from_json("Configuration", &config))
                .figure(environment),
        ))
}

const DIM: usize = 24;

/// `pairs` queries, then their documents: topics in common, the towers `gap` apart.
fn towers(random: &mut Random, pairs: usize, gap: f64) -> Vec<f32> {
    let topics: Vec<f64> = (0..12 * DIM).map(|_| random.gaussian()).collect();
    let mut out = Vec::new();
    for side in [0.0, 1.0] {
        for i in 0..pairs {
            let topic = &topics[i % 12 * DIM..][..DIM];
            let place = topic.iter().enumerate().map(|(k, t)| {
                let own = ((i * 31 + k * 17) as f64).sin();
                let shift = if k < 6 { side * gap } else { 0.0 };
                (t + 0.6 * own + shift + 0.15 * random.gaussian()) as f32
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

/// A hundred texts that break careless pages.
fn hostile_texts() -> Vec<String> {
    let seeds = [
        "<script>window.pwned = true</script>".to_owned(),
        "</script><script>window.pwned = true</script>".to_owned(),
        "<img src=x onerror=\"window.pwned = true\">".to_owned(),
        "<svg onload=window.pwned=true>".to_owned(),
        "\"><iframe src=https://example.org></iframe>".to_owned(),
        "' onmouseover='window.pwned=true' x='".to_owned(),
        "<!-- <script> --!> ]]> <![CDATA[".to_owned(),
        "</title></style></textarea><b>bold".to_owned(),
        "&lt;script&gt; &amp;amp; &#0; &unknown;".to_owned(),
        "javascript:window.pwned=true".to_owned(),
        "</figure></main></body></html>".to_owned(),
        "{{constructor.constructor('window.pwned=1')()}} ${window.pwned=1}".to_owned(),
        "\\u003cscript\\u003e \\x3c \\\" \\".to_owned(),
        "url(https://example.org/x.png) } body { display: none }".to_owned(),
        "\u{202e}gnirts desrever a\u{202d} \u{2066}isolated".to_owned(),
        "مرحبا بالعالم، هذا نص طويل من اليمين إلى اليسار".to_owned(),
        "שלום עולם (123) <b>".to_owned(),
        "👩🏽‍🚀👨‍👩‍👧‍👦🏳️‍🌈🇺🇳 e\u{301}\u{302}\u{303}\u{304}".to_owned(),
        format!("Z{}", "\u{334}\u{35d}\u{311}".repeat(200)),
        "nul \0 bell \u{7} escape \u{1b}[31m delete \u{7f} \u{85}".to_owned(),
        "\u{fffe}\u{ffff}\u{fdd0}\u{1ffff} \u{feff}bom \u{200b}zero width".to_owned(),
        String::from_utf8_lossy(b"broken \xff\xfe\xc3\x28 \xed\xa0\x80 utf-8").into_owned(),
        "line\nbreak\r\nand\ttab\u{2028}separator\u{2029}paragraph\u{b}\u{c}".to_owned(),
        "very long ".repeat(20_000),
        "unbroken".repeat(5_000),
        "漢字かな交じり文。".repeat(400),
        String::new(),
        "   ".to_owned(),
        "=HYPERLINK(\"https://example.org\",\"x\")".to_owned(),
        "../../etc/passwd%00".to_owned(),
        "NaN, \"Infinity\"; null\n\"quoted\"".to_owned(),
        "\u{1d573}\u{1d58a}\u{1d591}\u{1d591}\u{1d594} ﷽ ꧅".to_owned(),
        "<a href=\"https://example.org\">link</a>".to_owned(),
        "<base href=//example.org><link rel=stylesheet href=//example.org>".to_owned(),
        "<meta http-equiv=refresh content=\"0;url=https://example.org\">".to_owned(),
    ];
    // The same again in other company: at the end of a text, and doubled around one.
    let after = seeds.iter().map(|text| format!("ordinary words, then {text}"));
    let around = seeds.iter().map(|text| format!("{text} between {text}"));
    seeds.iter().cloned().chain(after).chain(around).take(100).collect()
}

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
