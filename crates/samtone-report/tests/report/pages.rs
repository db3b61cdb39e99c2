//! The page and the files beside it: hostile texts, limits, repeatability.

use std::fs;

use samtone_report::{
    Better, BrowsedQuery, Curve, Estimate, ExampleGroup, ExampleText, Examples, Figure, Histogram,
    KeyValues, LearningCurves, MetricTable, Neighbour, NeighbourBrowser, Piece, Point, Ranking,
    RelevantDocument, Report, ReportError, Scatter, Section, Table, TableCell, TableColumn,
};

/// Every figure, with `text` in every place that takes one.
fn every_figure(text: &str) -> Report {
    let point = |x: f64, group| Point {
        position: (x, -x),
        group,
        id: text.to_owned(),
        text: text.to_owned(),
        partner: Some(0),
    };
    let mut scatter = Scatter::new(text, [text, text]).description(text);
    scatter.points = vec![point(1.0, 0), point(2.0, 1), point(f64::NAN, 0), point(3.0, 7)];

    let document = Neighbour {
        id: text.into(),
        text: text.into(),
        score: 0.5,
        is_relevant: true,
        note: text.into(),
    };
    let ranking = Ranking { first_relevant: Some(1), documents: vec![document.clone(), document] };
    let mut browser = NeighbourBrowser::new(text, [text]).description(text);
    let relevant = vec![RelevantDocument { id: text.into(), text: text.into(), note: text.into() }];
    browser.queries = vec![BrowsedQuery {
        id: text.into(),
        text: text.into(),
        rankings: vec![ranking],
        groups: vec![text.into(), format!("{text} again")],
        relevant,
    }];
    let pieces = [Piece::Special, Piece::Prompt, Piece::Token].map(|kind| kind(text.into()));
    let seen = ExampleText {
        role: text.into(),
        detail: text.into(),
        pieces: pieces.to_vec(),
        cut: format!("{text} cut"),
    };
    let mut examples = Examples::new(text).description(text);
    examples.examples = vec![ExampleGroup { title: text.into(), texts: vec![seen] }];
    let table =
        Table::new(text, [TableColumn::new(text), TableColumn::new(text).better(Better::Lower)])
            .description(text)
            .marked_row(
                format!("{text} mark"),
                [TableCell::text(text).file(text), TableCell::number(0.5)],
            )
            .row([TableCell::text(text), TableCell::shown(text, f64::NAN).significant()]);

    Report::new(text).summary(text).command(text).highlight(text, text, text).section(
        Section::new(text)
            .text(text)
            .figure(
                LearningCurves::new(text, text, text)
                    .description(text)
                    .curve(Curve::new(text, vec![(0.0, 1.0), (1.0, f64::NAN), (2.0, 0.5)])),
            )
            .figure(
                MetricTable::new(text, [text, text])
                    .description(text)
                    .row(text, [Estimate::with_interval(0.5, 0.4, 0.6), Estimate::new(0.1)])
                    .baseline(text, [0.2, f64::NAN]),
            )
            .figure(scatter)
            .figure(
                Histogram::new(text, text)
                    .description(text)
                    .reference(0.3)
                    .group(text, vec![0.1, 0.4, f64::INFINITY]),
            )
            .figure(browser)
            .figure(table)
            .figure(examples)
            .figure(
                KeyValues::new(text)
                    .description(text)
                    .row(text, text)
                    .copied_row("copied", text, format!("{text} whole"))
                    .mark(text, |name| name == "copied"),
            ),
    )
}

/// The page's tags in order, without attributes: what a text must not change.
fn skeleton(page: &str) -> Vec<&str> {
    let tags = page.split('<').skip(1);
    tags.map(|tag| tag.split([' ', '>', '\n']).next().unwrap_or_default()).collect()
}

#[test]
fn the_best_of_a_column_is_bold_where_rows_compete() {
    let table =
        MetricTable::new("m", ["a", "b"]).row("x", [0.1, 0.7]).baseline("y", [0.3, f64::NAN]);
    let page = |table: MetricTable| {
        let section = Section::new("s").figure(table);
        Report::new("r").section(section).to_html().unwrap()
    };
    assert!(!page(table.clone()).contains("value best\""));
    let ranked = page(table.ranked_by(["a", "b"]));
    let bold: Vec<&str> = ranked
        .split("value best\">")
        .skip(1)
        .map(|rest| rest.split('<').next().unwrap_or_default())
        .collect();
    assert_eq!(bold, ["0.7000", "0.3000"]);
}

#[test]
fn a_reference_is_drawn_where_the_values_are_too_far_off() {
    let table = MetricTable::new("gain", ["mrr@10"]).row("x", [0.5]);
    let drawn = |table: MetricTable| Figure::from(table).to_svg().unwrap();
    assert!(!drawn(table.clone()).contains("stroke-dasharray"));
    let drawn = drawn(table.reference(0.0));
    assert!(drawn.contains("stroke-dasharray"));
    assert!(drawn.contains(">0.0<") || drawn.contains(">0<"), "{drawn}");
}

#[test]
fn the_best_number_of_a_sorted_column_is_bold_and_a_star_is_significance() {
    let columns = [
        TableColumn::new("run"),
        TableColumn::new("loss").better(Better::Lower),
        TableColumn::new("mrr").better(Better::Higher),
        TableColumn::new("step"),
    ];
    let row = |name, loss, mrr: TableCell| {
        [TableCell::text(name), TableCell::number(loss), mrr, TableCell::shown("9 steps", 9.0)]
    };
    let table = Table::new("runs", columns)
        .row(row("a", 2.0, TableCell::number(0.25).significant()))
        .row(row("b", 1.5, TableCell::number(0.125)));
    let page = Report::new("r").section(Section::new("s").figure(table)).to_html().unwrap();
    let after = |pattern: &str| -> Vec<String> {
        let rest = page.split(pattern).skip(1);
        rest.map(|rest| rest.split('<').next().unwrap().to_owned()).collect()
    };
    assert_eq!(after("value best\">"), ["0.2500", "1.5000"]);
    assert_eq!(page.matches("class=\"star\"").count(), 1);
    assert!(page.contains("0.2500</bdi><span class=\"unseen\"> (best)</span><span class=\"star\""));
    assert!(page.contains(" data-number=\"9\"><bdi class=\"value\">9 steps"));
}

#[test]
fn many_curves_are_thinned_and_the_muted_ones_come_last() {
    let points: Vec<(f64, f64)> = (0..3000).map(|x| (f64::from(x), f64::from(x % 7))).collect();
    let figure = (0..100).fold(LearningCurves::new("c", "x", "y").exact(), |figure, i| {
        let curve = Curve::new(format!("run {i}"), points.clone());
        figure.curve(if i == 60 { curve } else { curve.muted() })
    });
    let page = Report::new("r").section(Section::new("s").figure(figure)).to_html().unwrap();
    assert!(page.len() < 500_000, "{} bytes", page.len());
    let data = page.split("id=\"data\">").nth(1).unwrap().split("</script>").next().unwrap();
    let data: serde_json::Value = serde_json::from_str(data).unwrap();
    let plot = &data["plots"][0];
    assert!(plot["smoothing"].is_null());
    assert_eq!(
        (&plot["series"][0]["name"], &plot["series"][1]["muted"]),
        (&"run 60".into(), &true.into())
    );
    let series = plot["series"].as_array().unwrap();
    assert!(series.iter().all(|line| line["points"].as_array().unwrap().len() <= 80));
}

#[test]
fn only_a_live_page_may_ask_and_only_its_own_server() {
    let report = Report::new("r");
    assert!(!report.to_html().unwrap().contains("connect-src"));
    let live = report.live().to_html().unwrap();
    assert!(live.contains("; connect-src 'self'; base-uri") && live.contains("<body data-live>"));
}

#[test]
fn no_text_changes_the_markup() {
    let plain = every_figure("plain").to_html().unwrap();
    let texts = crate::hostile::texts();
    assert_eq!(texts.len(), 100);
    for text in texts.iter().filter(|text| !text.is_empty()) {
        let page = every_figure(text).to_html().unwrap();
        let start = text.chars().take(40).collect::<String>();
        assert_eq!(skeleton(&page), skeleton(&plain), "{start:?}");
        for (at, _) in page.match_indices("<svg xmlns") {
            let drawing = page[at..].split_inclusive("</svg>").next().unwrap();
            roxmltree::Document::parse(drawing).unwrap_or_else(|e| panic!("{start:?}: {e}"));
        }
        assert!(!page.contains('\0') && page.len() < 300_000, "{start:?}: {} bytes", page.len());
    }
    every_figure("").to_html().unwrap();
}

#[test]
fn hostile_texts_go_unharmed_through_every_file() {
    let texts = crate::hostile::texts();
    // Pixels take their time: every core draws a share.
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for share in texts.chunks(texts.len().div_ceil(threads)) {
            scope.spawn(move || share.iter().for_each(|text| check_files(text)));
        }
    });
}

/// Every file of every figure holds `text` as the text it is.
fn check_files(text: &str) {
    let start = text.chars().take(40).collect::<String>();
    let folder = tempfile::tempdir().unwrap();
    every_figure(text).write_figures(folder.path()).unwrap();
    let mut seen = 0;
    for entry in fs::read_dir(folder.path()).unwrap() {
        let path = entry.unwrap().path();
        let bytes = fs::read(&path).unwrap();
        match path.extension().unwrap().to_str().unwrap() {
            "svg" => {
                let svg = String::from_utf8(bytes).unwrap();
                let tree = roxmltree::Document::parse(&svg)
                    .unwrap_or_else(|error| panic!("{start:?}: {error}"));
                let names = tree.descendants().map(|node| node.tag_name().name().to_owned());
                let known = ["", "svg", "title", "desc", "rect", "text", "path", "g", "circle"];
                assert!(names.into_iter().all(|name| known.contains(&name.as_str())));
            }
            "csv" => {
                let mut reader = csv::Reader::from_reader(bytes.as_slice());
                let row = reader.records().next().unwrap().unwrap();
                assert!(row.iter().any(|field| field == text), "{start:?} in {}", path.display());
            }
            "json" => {
                let value: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
                assert_eq!(value["title"], text);
            }
            _ => assert_eq!(bytes[..4], *b"\x89PNG", "{}", path.display()),
        }
        seen += 1;
    }
    assert_eq!(seen, if cfg!(feature = "png") { 24 } else { 20 }, "{start:?}");
}

#[test]
fn the_page_asks_for_nothing() {
    let page = every_figure("plain").to_html().unwrap();
    for (at, _) in page.match_indices("http") {
        let rest = &page[at..];
        assert!(
            rest.starts_with("http://www.w3.org/2000/svg") || rest.starts_with("http-equiv"),
            "{}",
            &rest[..60]
        );
    }
    assert!(page.contains("default-src 'none'"));
}

#[test]
fn the_same_report_gives_the_same_bytes() {
    assert_eq!(every_figure("x").to_html().unwrap(), every_figure("x").to_html().unwrap());
}

fn queries(count: usize) -> Report {
    let document =
        Neighbour { id: "d".into(), text: "words ".repeat(200), score: 0.5, ..Default::default() };
    let ranking = Ranking { first_relevant: None, documents: vec![document; 10] };
    let query = BrowsedQuery {
        id: "q".into(),
        text: "words ".repeat(200),
        rankings: vec![ranking.clone(), ranking],
        ..Default::default()
    };
    let mut browser = NeighbourBrowser::new("neighbours", ["a", "b"]);
    browser.queries = vec![query; count];
    Report::new("large").section(Section::new("all").figure(browser))
}

#[test]
fn long_texts_are_cut_until_the_page_fits() {
    let page = queries(400).to_html().unwrap();
    assert!((1_000_000..3_000_000).contains(&page.len()), "{} bytes", page.len());
}

#[test]
fn a_page_that_cannot_fit_is_an_error_with_a_hint() {
    let error = queries(2_000).to_html().unwrap_err();
    assert!(matches!(error, ReportError::TooLarge { limit: 3_000_000, .. }), "{error}");
    assert!(error.hint().is_some());
}

#[test]
fn figures_of_one_title_get_files_of_their_own() {
    let table = || KeyValues::new("Run").row("a", 1);
    let report = Report::new("r").section(Section::new("s").figure(table()).figure(table()));
    let folder = tempfile::tempdir().unwrap();
    report.write_figures(folder.path()).unwrap();
    for name in ["run.csv", "run.json", "run-2.csv", "run-2.json"] {
        assert!(folder.path().join(name).is_file(), "{name}");
    }
}

#[test]
fn no_anchor_stands_twice_in_a_page_whatever_the_titles() {
    let figure = |title| KeyValues::new(title).row("a", 1);
    let titles = ["A-3", "A", "A", "A title", "A-2", "∑", "∑"];
    let report = titles.iter().fold(Report::new("r"), |report, title| {
        report.section(Section::new(*title).figure(figure(*title)))
    });
    let page = report.to_html().unwrap();
    let mut anchors: Vec<&str> =
        page.split(" id=\"").skip(1).map(|rest| rest.split('"').next().unwrap()).collect();
    let count = anchors.len();
    anchors.sort_unstable();
    anchors.dedup();
    assert_eq!(anchors.len(), count, "{anchors:?}");
    assert!(count > 4 * titles.len());
}

#[test]
fn a_page_that_cannot_be_written_names_its_path() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("missing").join("report.html");
    let error = Report::new("r").write(&path).unwrap_err();
    assert!(error.to_string().contains("missing"), "{error}");
}

#[test]
fn no_figure_leaves_a_hole_beside_it() {
    let curves = || LearningCurves::new("c", "x", "y");
    let table = || MetricTable::new("t", ["m"]);
    let rows = |count: usize| {
        (0..count).fold(KeyValues::new("k"), |table, i| table.row(i.to_string(), ""))
    };
    let wide = |section: Section| -> Vec<bool> {
        let page = Report::new("r").section(section).to_html().unwrap();
        let figures = page.split("<figure class=\"").skip(1);
        figures.map(|figure| figure.split('"').next().unwrap().ends_with(" wide")).collect()
    };
    let section = || Section::new("s");
    assert_eq!(wide(section().figure(curves())), [true]);
    assert_eq!(
        wide(section().figure(curves()).figure(curves()).figure(table())),
        [false, false, true]
    );
    let three = section().figure(curves()).figure(curves()).figure(curves());
    assert_eq!(wide(three.figure(table())), [false, false, true, true]);
    assert_eq!(wide(section().figure(rows(60)).figure(rows(3))), [true, true]);
    assert_eq!(wide(section().figure(rows(9)).figure(rows(3))), [false, false]);
}

#[test]
fn empty_figures_are_drawn() {
    let report = Report::new("empty").section(
        Section::new("nothing")
            .figure(LearningCurves::new("curves", "x", "y"))
            .figure(MetricTable::new("table", Vec::<String>::new()))
            .figure(Scatter::new("points", Vec::<String>::new()))
            .figure(Histogram::new("bars", "x").group("none", vec![]))
            .figure(NeighbourBrowser::new("queries", Vec::<String>::new()))
            .figure(KeyValues::new("values"))
            .figure(Table::new("rows", []))
            .figure(Examples::new("texts")),
    );
    let folder = tempfile::tempdir().unwrap();
    report.write_figures(folder.path()).unwrap();
    assert!(!report.to_html().unwrap().contains("NaN"));
}
