//! A processor's page of the record: a section for each comparison, a row for each peer.

use std::fmt;

use anyhow::Context;
use serde_json::Value;

use crate::processor::Processor;

/// A line that a script prints.
#[derive(Debug, PartialEq)]
pub(crate) enum Line {
    /// The peers with their versions.
    Peers(String),
    Row(Row),
}

/// samtone beside one peer.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Row {
    pub(crate) work: String,
    pub(crate) precision: String,
    pub(crate) peer: String,
    /// Of the figures: seconds, or something a second.
    unit: String,
    samtone: f64,
    theirs: f64,
    /// samtone's time over the peer's: the median of the turns, the least and the most.
    ratio: [f64; 3],
    /// What the ratio should be at most.
    pub(crate) aim: Option<f64>,
}

impl Line {
    /// From JSON: `{"peers": ["torch 2.15.0"]}` or a row.
    pub(crate) fn read(line: &str) -> anyhow::Result<Self> {
        let value: Value = serde_json::from_str(line).context("no JSON")?;
        if let Some(peers) = value["peers"].as_array() {
            let names: Option<Vec<&str>> = peers.iter().map(Value::as_str).collect();
            return Ok(Self::Peers(names.context("a peer that is no text")?.join(", ")));
        }
        let text = |name: &str| {
            let text = value[name].as_str().with_context(|| format!("no text `{name}`"))?;
            anyhow::Ok(text.to_owned())
        };
        let number =
            |name: &str| value[name].as_f64().with_context(|| format!("no number `{name}`"));
        Ok(Self::Row(Row {
            work: text("work")?,
            precision: text("precision")?,
            peer: text("peer")?,
            unit: text("unit")?,
            samtone: number("samtone")?,
            theirs: number("theirs")?,
            ratio: [number("ratio")?, number("least")?, number("most")?],
            aim: None,
        }))
    }
}

/// Three digits of a number, all before its point.
fn digits(number: f64) -> String {
    let places = [100.0, 10.0, 1.0].into_iter().take_while(|least| number < *least).count();
    format!("{number:.places$}")
}

/// A number with its unit; short times in milliseconds.
fn figure(number: f64, unit: &str) -> String {
    if unit == "s" && number < 1.0 {
        return format!("{} ms", digits(1000.0 * number));
    }
    format!("{} {unit}", digits(number))
}

impl Row {
    fn cells(&self) -> [String; 7] {
        let [ratio, least, most] = self.ratio;
        [
            self.work.clone(),
            self.precision.clone(),
            figure(self.samtone, &self.unit),
            self.peer.clone(),
            figure(self.theirs, &self.unit),
            format!("{ratio:.2} ({least:.2}–{most:.2})"),
            self.aim.map(|aim| format!("{aim:.2}")).unwrap_or_default(),
        ]
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [work, precision, samtone, peer, theirs, ratio, aim] = self.cells();
        write!(f, "{work}, {precision}: {samtone}; {peer} {theirs}; ratio {ratio}")?;
        if aim.is_empty() { Ok(()) } else { write!(f, ", aim {aim}") }
    }
}

/// What one comparison found.
pub(crate) struct Section {
    pub(crate) title: &'static str,
    /// Sentences, each a line.
    pub(crate) about: &'static str,
    pub(crate) threads: usize,
    /// The peers with their versions.
    pub(crate) peers: String,
    /// The share of the machine that other work took, where it is known.
    pub(crate) others: Option<f64>,
    pub(crate) rows: Vec<Row>,
}

impl Section {
    fn text(&self) -> String {
        let Self { title, about, threads, peers, others, rows } = self;
        let version = env!("CARGO_PKG_VERSION");
        let threads = if *threads == 1 { "1 thread".into() } else { format!("{threads} threads") };
        let mut text = format!("## {title}\n\n{about}{threads}; samtone {version}, {peers}.\n");
        if let Some(others) = others {
            text += &format!("Other work took {:.0} % of the machine.\n", 100.0 * others);
        }
        text += "\n";
        text += "| work | | samtone | beside | | ratio | aim |\n|---|---|---:|---|---:|---|---:|\n";
        for row in rows {
            text += &format!("| {} |\n", row.cells().join(" | ")).replace("  ", " ");
        }
        text
    }
}

/// The page of one processor.
pub(crate) struct Page {
    head: String,
    /// Titles and texts, in their order; empty ones are not there.
    sections: Vec<(&'static str, String)>,
}

impl Page {
    /// What `text`, an earlier page or nothing, has under `titles`.
    pub(crate) fn read(text: &str, processor: &Processor, titles: &[&'static str]) -> Self {
        let Processor { kind, words } = processor;
        let head = format!(
            "# Beside Python's libraries: {kind}\n\n\
             {words}.\n\
             `cargo xtask bench-peers` wrote this page (`CONTRIBUTING.md`).\n\n\
             Sides take turns in one run; figures are medians.\n\
             Other work slows PyTorch more than samtone: only a run with next to none counts.\n\
             A ratio is samtone's time over the peer's: the median of the turns, with the least \
             and the most; the aim is what it should be at most.\n"
        );
        let found = |title: &str| {
            let head = format!("## {title}\n");
            let start = text.find(&format!("\n{head}"))? + 1;
            let end = text[start..].find("\n## ").map_or(text.len(), |end| start + end);
            Some(text[start..end].trim_end().to_owned() + "\n")
        };
        let sections = titles.iter().map(|title| (*title, found(title).unwrap_or_default()));
        Self { head, sections: sections.collect() }
    }

    /// Puts a section in the place of what the page had under its title.
    pub(crate) fn set(&mut self, section: &Section) {
        for (title, text) in &mut self.sections {
            if *title == section.title {
                *text = section.text();
            }
        }
    }

    pub(crate) fn text(&self) -> String {
        let mut text = self.head.clone();
        for (_, section) in self.sections.iter().filter(|(_, text)| !text.is_empty()) {
            text.push('\n');
            text.push_str(section);
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn processor() -> Processor {
        Processor { kind: "intel-avx512".into(), words: "A processor, 2 cores".into() }
    }

    fn row(work: &str) -> Row {
        Row {
            work: work.into(),
            precision: "f32".into(),
            peer: "PyTorch".into(),
            unit: "s".into(),
            samtone: 0.1054,
            theirs: 1.5,
            ratio: [0.0703, 0.06, 0.1],
            aim: None,
        }
    }

    fn section(title: &'static str, rows: Vec<Row>) -> Section {
        let peers = "torch 2.15.0".into();
        Section { title, about: "About it.\n", threads: 2, peers, others: Some(0.234), rows }
    }

    #[test]
    fn lines_are_read_and_faults_named() {
        let line = r#"{"work": "a", "precision": "f32", "unit": "s", "peer": "PyTorch",
            "samtone": 0.1054, "theirs": 1.5, "ratio": 0.0703, "least": 0.06, "most": 0.1}"#;
        assert_eq!(Line::read(line).unwrap(), Line::Row(row("a")));
        let error = |line: &str| format!("{:#}", Line::read(line).unwrap_err());
        assert!(error("no").contains("no JSON"));
        assert_eq!(error(r#"{"peers": [1]}"#), "a peer that is no text");
        assert_eq!(error(&line.replace("most", "last")), "no number `most`");
        assert_eq!(error(&line.replace("\"a\"", "null")), "no text `work`");
    }

    #[test]
    fn figures_have_three_digits_and_their_unit() {
        for (number, unit, expected) in [
            (0.000_123_4, "s", "0.123 ms"),
            (0.0456, "s", "45.6 ms"),
            (0.2284, "s", "228 ms"),
            (2.394, "s", "2.39 s"),
            (113.4, "s", "113 s"),
            (1234.5, "GFLOP/s", "1234 GFLOP/s"),
            (73.55, "pairs/s", "73.5 pairs/s"),
            (0.0, "s", "0.000 ms"),
        ] {
            assert_eq!(figure(number, unit), expected);
        }
    }

    #[test]
    fn a_section_has_a_line_for_each_row() {
        let aimed = Row { aim: Some(0.6), ..row("b") };
        let expected = "\
## The loss

About it.
2 threads; samtone VERSION, torch 2.15.0.
Other work took 23 % of the machine.

| work | | samtone | beside | | ratio | aim |
|---|---|---:|---|---:|---|---:|
| a | f32 | 105 ms | PyTorch | 1.50 s | 0.07 (0.06–0.10) | |
| b | f32 | 105 ms | PyTorch | 1.50 s | 0.07 (0.06–0.10) | 0.60 |
";
        let expected = expected.replace("VERSION", env!("CARGO_PKG_VERSION"));
        assert_eq!(section("The loss", vec![row("a"), aimed]).text(), expected);
    }

    #[test]
    fn a_run_replaces_what_it_measured_and_keeps_the_rest() {
        let titles = ["The loss", "Training", "Exact search"];
        let mut first = Page::read("", &processor(), &titles);
        first.set(&section("Exact search", vec![row("old search")]));
        first.set(&section("The loss", vec![row("old loss")]));
        let mut second = Page::read(&first.text(), &processor(), &titles);
        assert_eq!(second.text(), first.text());
        second.set(&section("The loss", vec![row("new loss")]));
        let text = second.text();
        let at = |part: &str| text.find(part);
        assert!(
            at("# Beside Python's libraries: intel-avx512\n\nA processor, 2 cores.\n") == Some(0)
        );
        assert_eq!(at("old loss"), None);
        assert_eq!(at("Training"), None);
        assert!(at("new loss").unwrap() < at("old search").unwrap(), "{text}");
    }
}
