//! A study's page and its figures, made of nothing but the study's file and its records.

use std::collections::{BTreeMap, BTreeSet};

use samtone_report::{Estimate, Figure, MetricRow, MetricTable};
use serde_json::Value as Json;
use toml::Value;

use super::compare::{POWER, RESAMPLES, Row, SIGNIFICANT, SIGNS, Tested, correct, rows, together};
use super::plan::{Comparison, SEED, Study, label, short};
use super::record::Record;

/// The files of a page below `docs/studies`, by their names there.
pub(crate) fn files(
    study: &Study,
    records: &BTreeMap<&str, Record>,
) -> anyhow::Result<BTreeMap<String, String>> {
    let mut files = BTreeMap::new();
    let mut page = head(study, records);
    for comparison in &study.comparisons {
        let rows = rows(study, comparison, records)?;
        page += &Section { study, comparison, rows: &rows, varied: varied(study, comparison) }
            .text(&mut files);
    }
    page += &runs(study, records);
    files.insert(format!("{}.md", study.name), page);
    Ok(files)
}

/// The title, what is asked, what was run on what, and how numbers are to be read.
fn head(study: &Study, records: &BTreeMap<&str, Record>) -> String {
    let Study { name, title, about, metric, runs, .. } = study;
    let about = about.trim();
    let told = |values: BTreeSet<String>| values.into_iter().collect::<Vec<_>>().join("; ");
    let versions = records.values().filter_map(|record| {
        let text = |key: &str| record.environment[key].as_str();
        Some(format!("samtone {} on `{}`", text("samtone")?, text("backend")?))
    });
    let versions = told(versions.collect());
    let hours: f64 = records.values().filter_map(Record::seconds).sum::<f64>() / 3600.0;
    let failed = records.values().filter(|record| record.failed.is_some()).count();
    let axes = study.axes().into_iter().map(|(axis, values)| {
        vec![format!("`{axis}`"), values.into_iter().map(label).collect::<Vec<_>>().join(", ")]
    });
    format!(
        "# {title}

`cargo xtask study {name}` made this page of `benches/studies/{name}.toml` and the records in `benches/record/studies/{name}`; with `--check` it tells whether they agree.

{about}

## What was run

{} of {} runs, {hours:.1} hours in all; {failed} had no finite loss.
{versions}.
What the runs have in common, and what names stand for, is in the study's file.

{}
## How to read it

- A difference is {metric} of a value less that of the baseline, over the same queries and the same seeds, all else equal.
- Over queries: a query's values are averaged over the seeds; then come the bootstrap's 95 % interval ({RESAMPLES} resamples) and p of the paired randomisation test ({SIGNS} sign patterns). They say whether these models differ on other queries of the kind.
- Several rows together: a query's differences are averaged over the rows first, and all queries count alike.
- Over seeds, where there are two at least: the interval and p of the paired t test on the runs' means. They say whether other seeds would tell the same; one seed says nothing of others.
- p (Holm) is p after Holm's correction over its column; bold is below {SIGNIFICANT}.
- \"Could see\" is the power: the smallest true difference that the test finds {:.0} times in a hundred at the level of Holm's first step, {SIGNIFICANT} divided by the rows; it is (t₁₋α⁄₂ + t₀.₈) standard errors (Bloom 1995). What is smaller may be there unseen.

",
        records.len(),
        runs.len(),
        table(&["varied", "values"].map(String::from), axes),
        100.0 * POWER,
    )
}

/// The axes that make a condition of a comparison: those with several values, seeds aside.
fn varied<'a>(study: &'a Study, comparison: &Comparison) -> Vec<&'a str> {
    let is_condition = |axis: &str| axis != SEED && axis != comparison.of;
    let axes = study.axes().into_iter();
    let axes = axes.filter(|(axis, values)| is_condition(axis) && values.len() > 1);
    axes.map(|(axis, _)| axis).collect()
}

/// A comparison's part of the page.
struct Section<'a> {
    study: &'a Study,
    comparison: &'a Comparison,
    rows: &'a [Row<'a>],
    varied: Vec<&'a str>,
}

impl Section<'_> {
    fn text(&self, files: &mut BTreeMap<String, String>) -> String {
        let Comparison { of, against, .. } = self.comparison;
        let head = format!("## `{of}` against {}\n\n", label(against));
        if self.rows.is_empty() {
            return head + "No pair of runs is recorded yet.\n\n";
        }
        let mut text = head + &self.by_setting() + "\n";
        for (name, figure) in self.figures() {
            let path = format!("{}/{name}.svg", self.study.name);
            text += &format!("![{}]({path})\n\n", figure.title);
            let drawn = Figure::from(figure).to_svg().expect("a table of metrics is drawn");
            files.insert(path, drawn);
        }
        text + &self.in_full() + "\n"
    }

    /// Each value everywhere, and under each setting that it was tried with.
    fn by_setting(&self) -> String {
        let axes = self.study.axes();
        let mut found: Vec<(Vec<String>, Tested, Vec<String>)> = Vec::new();
        let settings = self.varied.iter().flat_map(|axis| {
            axes[axis].iter().map(move |setting| (Some((*axis, *setting)), short(axis)))
        });
        let places: Vec<(Option<(&str, &Value)>, &str)> =
            std::iter::once((None, "")).chain(settings).collect();
        for value in axes[self.comparison.of.as_str()].iter().copied() {
            for (setting, axis) in &places {
                let is_in = |row: &&Row<'_>| {
                    row.value == value
                        && setting.is_none_or(|(axis, at)| row.run.axes.get(axis) == Some(at))
                };
                let rows: Vec<&Row<'_>> = self.rows.iter().filter(is_in).collect();
                let Some(tested) = together(&rows) else { continue };
                let place = setting
                    .map_or_else(|| "everywhere".into(), |(_, at)| format!("{axis} {}", label(at)));
                let each = || rows.iter().filter_map(|row| Some(&row.found.as_ref()?.queries));
                let told = |is_up: bool| {
                    let is_so =
                        |tested: &&Tested| tested.is_told() && (tested.difference > 0.0) == is_up;
                    each().filter(is_so).count().to_string()
                };
                let names = vec![label(value), place, each().count().to_string()];
                found.push((names, tested, vec![told(true), told(false)]));
            }
        }
        correct(found.iter_mut().map(|(_, tested, _)| tested).collect());
        let head = ["", "where", "rows", "difference"].into_iter().chain(TESTED);
        let head: Vec<String> =
            head.chain(["rows better", "rows worse"]).map(String::from).collect();
        let rows = found.into_iter().map(|(mut cells, tested, told)| {
            cells.push(signed(tested.difference));
            cells.extend(tested.cells());
            cells.extend(told);
            cells
        });
        table(&head, rows)
    }

    /// A drawing for each value of the axis that asks for them: a line a condition, a panel a value.
    fn figures(&self) -> Vec<(String, MetricTable)> {
        let Comparison { of, against, figures: by } = self.comparison;
        let baseline = label(against);
        let parts: Vec<Option<&Value>> = match by {
            None => vec![None],
            Some(axis) => self.study.axes()[axis.as_str()].iter().copied().map(Some).collect(),
        };
        let figure = |part: Option<&Value>| {
            let is_in =
                |row: &&Row<'_>| by.as_ref().is_none_or(|axis| row.run.axes.get(axis) == part);
            let mut panels: Vec<String> = Vec::new();
            let mut lines: Vec<(String, BTreeMap<String, Estimate>)> = Vec::new();
            for row in self.rows.iter().filter(is_in) {
                let name = self.condition(row, by.as_deref()).join(", ");
                for (panel, tested) in row.tested() {
                    if !panels.contains(&panel) {
                        panels.push(panel.clone());
                    }
                    let at = lines.iter().position(|(line, _)| *line == name);
                    let at = at.unwrap_or_else(|| {
                        lines.push((name.clone(), BTreeMap::new()));
                        lines.len() - 1
                    });
                    let (low, high) = tested.interval;
                    let estimate = Estimate::with_interval(tested.difference, low, high);
                    lines[at].1.insert(panel, estimate);
                }
            }
            let place = part.map(label);
            let title = [format!("{}: difference to {baseline}", self.study.metric)];
            let title = title.into_iter().chain(place.clone()).collect::<Vec<_>>().join(", ");
            let mut drawn = MetricTable::new(title, panels.clone())
                .description("Differences with their 95 % intervals, a line a condition.")
                .reference(0.0);
            drawn.rows.extend(lines.into_iter().map(|(name, found)| MetricRow {
                name,
                is_baseline: false,
                values: panels.iter().map(|panel| found.get(panel).copied()).collect(),
            }));
            let name = [short(of).to_owned(), baseline.clone()].into_iter().chain(place);
            (file_name(&name.collect::<Vec<_>>().join("-")), drawn)
        };
        let figures = parts.into_iter().map(figure);
        figures.filter(|(_, figure)| !figure.rows.is_empty()).collect()
    }

    /// Every difference with its tests.
    fn in_full(&self) -> String {
        let Comparison { of, against, .. } = self.comparison;
        let over_seeds = |row: &Row<'_>| row.tested().len() > 1;
        let has_seeds = self.rows.iter().any(over_seeds);
        let mut head: Vec<String> = self.varied.iter().map(|axis| short(axis).to_owned()).collect();
        head.extend((self.study.judged.len() > 1).then(|| "on".into()));
        head.extend([short(of), "seeds"].map(String::from));
        head.extend([self.study.metric.to_string(), label(against), "difference".into()]);
        head.extend(TESTED.map(String::from));
        if has_seeds {
            head.extend(TESTED.map(|name| format!("seeds: {name}")));
        }
        let rows = self.rows.iter().map(|row| {
            let mut cells = self.condition(row, None);
            cells.push(label(row.value));
            let failed = (row.failed > 0).then(|| format!("{} not finite", row.failed));
            cells.push(row.seeds.iter().cloned().chain(failed).collect::<Vec<_>>().join(", "));
            if let Some(found) = &row.found {
                cells.extend([found.mean, found.baseline].map(|mean| format!("{mean:.4}")));
                cells.push(signed(found.queries.difference));
                cells.extend(found.queries.cells());
                cells.extend(found.over_seeds.iter().flat_map(Tested::cells));
            }
            cells
        });
        table(&head, rows)
    }

    /// Where the row is on the axes that vary, `but` for one, and the evaluation where there are several.
    fn condition(&self, row: &Row<'_>, but: Option<&str>) -> Vec<String> {
        let axes = self.varied.iter().filter(|axis| but != Some(axis));
        let places = axes.map(|axis| row.run.axes.get(*axis).map(label).unwrap_or_default());
        places.chain((self.study.judged.len() > 1).then(|| row.on.to_owned())).collect()
    }
}

impl Row<'_> {
    /// Over queries and over seeds, as far as there are any, by the names of their panels.
    fn tested(&self) -> Vec<(String, &Tested)> {
        let Some(found) = &self.found else { return Vec::new() };
        let value = label(self.value);
        let over_seeds =
            found.over_seeds.as_ref().map(|tested| (format!("{value}, seeds"), tested));
        std::iter::once((value, &found.queries)).chain(over_seeds).collect()
    }
}

/// What [`Tested::cells`] are.
const TESTED: [&str; 4] = ["95 % interval", "p", "p (Holm)", "could see"];

impl Tested {
    fn cells(&self) -> [String; 4] {
        let (low, high) = self.interval;
        let p = format!("{:.4}", self.p_holm);
        [
            format!("{} to {}", signed(low), signed(high)),
            format!("{:.4}", self.p),
            if self.is_told() { format!("**{p}**") } else { p },
            format!("{:.4}", self.least),
        ]
    }
}

/// Every run with what it is made of.
fn runs(study: &Study, records: &BTreeMap<&str, Record>) -> String {
    let axes = study.axes();
    let metric = study.metric.to_string();
    let processors: BTreeSet<&str> = records.values().map(|r| r.processor.as_str()).collect();
    let listed = processors.iter().enumerate();
    let listed = listed.map(|(place, words)| format!("Processor {} is {words}.\n", place + 1));
    let mut head: Vec<String> = axes.keys().map(|axis| short(axis).to_owned()).collect();
    head.extend(study.judged.iter().map(|on| format!("{metric} on {on}")));
    head.extend(["start", "BM25", "hours", "others", "commit", "processor", ""].map(String::from));
    let recorded = study.runs.iter().filter_map(|run| Some((run, records.get(run.name.as_str())?)));
    let rows = recorded.map(|(run, record)| {
        let place = |axis: &&str| run.axes.get(*axis).map(label).unwrap_or_default();
        let number = |value: &Json| value.as_f64().map(|v| format!("{v:.4}")).unwrap_or_default();
        let processor = processors.iter().position(|words| *words == record.processor);
        let mut cells: Vec<String> = axes.keys().map(place).collect();
        cells.extend(study.judged.iter().map(|on| match record.queries.get(on) {
            Some(found) => format!("{:.4}", found.mean()),
            None => "not finite".into(),
        }));
        cells.extend([
            number(&record.summary["start"]["test"][&metric]),
            number(&record.summary["bm25"][&metric]),
            record.seconds().map(|seconds| format!("{:.4}", seconds / 3600.0)).unwrap_or_default(),
            record.others.map(|share| format!("{:.0} %", 100.0 * share)).unwrap_or_default(),
            record.commit.chars().take(10).collect(),
            processor.map(|place| (place + 1).to_string()).unwrap_or_default(),
            format!("[record](../../benches/record/studies/{}/{}.json)", study.name, run.name),
        ]);
        cells
    });
    format!(
        "## Every run

A run's record holds the command that repeats it, in a folder where data and models lie under the names that it says, by samtone of its commit; on a processor of the same kind the digits are the same.
Start is the model before its first step, where it was judged; others is the share of the machine that other work took, for which the run took longer.
{}
{}",
        listed.collect::<String>(),
        table(&head, rows)
    )
}

/// A table of Markdown; a row may end early.
fn table(head: &[String], rows: impl Iterator<Item = Vec<String>>) -> String {
    let line = |cells: &[String]| {
        let cells: Vec<String> =
            cells.iter().map(|text| text.replace('|', "\\|").replace('\n', " ")).collect();
        format!("| {} |\n", cells.join(" | ")).replace("  ", " ")
    };
    let mut text = line(head) + "|" + &"---|".repeat(head.len()) + "\n";
    for mut cells in rows {
        cells.resize(head.len(), String::new());
        text += &line(&cells);
    }
    text
}

fn signed(number: f64) -> String {
    format!("{number:+.4}")
}

/// Words as a file's name.
fn file_name(words: &str) -> String {
    let kept = |c: char| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '-' };
    words.chars().map(kept).collect()
}
