//! The page and the files beside it: hostile texts, limits, repeatability.

use std::fs;

use samtone_report::{
    BrowsedQuery, Curve, Estimate, Histogram, KeyValues, LearningCurves, MetricTable, Neighbour,
    NeighbourBrowser, Point, Ranking, Report, ReportError, Scatter, Section,
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

    let document = Neighbour { id: text.into(), text: text.into(), score: 0.5, is_relevant: true };
    let ranking = Ranking { first_relevant: Some(1), documents: vec![document.clone(), document] };
    let mut browser = NeighbourBrowser::new(text, [text]).description(text);
    browser.queries =
        vec![BrowsedQuery { id: text.into(), text: text.into(), rankings: vec![ranking] }];

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
            .figure(KeyValues::new(text).description(text).row(text, text)),
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
    let ranked = page(table.ranked());
    let bold: Vec<&str> = ranked
        .split("value best\">")
        .skip(1)
        .map(|rest| rest.split('<').next().unwrap_or_default())
        .collect();
    assert_eq!(bold, ["0.7000", "0.3000"]);
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
        assert!(!page.contains('\0') && page.len() < 200_000, "{start:?}: {} bytes", page.len());
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
    assert_eq!(seen, if cfg!(feature = "png") { 20 } else { 16 }, "{start:?}");
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
        Neighbour { id: "d".into(), text: "words ".repeat(200), score: 0.5, is_relevant: false };
    let ranking = Ranking { first_relevant: None, documents: vec![document; 10] };
    let query = BrowsedQuery {
        id: "q".into(),
        text: "words ".repeat(200),
        rankings: vec![ranking.clone(), ranking],
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
    let rows = |count| {
        let name = |i: usize| (i.to_string(), String::new());
        KeyValues { rows: (0..count).map(name).collect(), ..KeyValues::new("k") }
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
            .figure(KeyValues::new("values")),
    );
    let folder = tempfile::tempdir().unwrap();
    report.write_figures(folder.path()).unwrap();
    assert!(!report.to_html().unwrap().contains("NaN"));
}
