//! `cargo xtask test-browser`: the reports in a real browser.
//!
//! Drives headless Chromium over a report with every figure, one with hostile texts in every place,
//! some of many runs, and those of a short quick start: its training, the analysis of both its
//! models, the page of several runs, and what `samtone watch` and `samtone serve` serve. Wants a `chromium` on the path
//! (Debian's package is one) or in the variable `CHROMIUM`.

mod chromium;
mod live;
mod served;
mod server;

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};
use chromium::{Chromium, Page};
use serde_json::{Value, json};

use crate::check::build;

/// Widths in pixels and the name of each.
const DESKTOP: (u32, u32) = (1280, 900);
const PHONE: (u32, u32) = (390, 844);
/// A4 between margins of 1 cm, at 96 pixels an inch.
const PAPER: (u32, u32) = (718, 1047);

/// Makes the reports and checks each, or those that are named alone; screenshots land in a folder.
pub(crate) fn test_browser() -> Result<()> {
    let folder = target_folder().join("browser");
    fs::create_dir_all(&folder).with_context(|| format!("cannot create `{}`", folder.display()))?;
    let mut browser = Chromium::start()?;
    let named: Vec<PathBuf> = env::args_os().skip(2).map(PathBuf::from).collect();
    let is_own = named.is_empty();
    let reports = if is_own { make(&folder)? } else { named };
    for report in &reports {
        let report = fs::canonicalize(report)
            .with_context(|| format!("no report at `{}`", report.display()))?;
        check(&mut browser, &report, &folder)
            .with_context(|| format!("in `{}`", report.display()))?;
    }
    if is_own {
        let (samtone, run) = (build()?.join("samtone"), folder.join("runs/quick-start"));
        live::check(&mut browser, &samtone, &run).context("live")?;
        served::check(&mut browser, &samtone, &run).context("served")?;
    }
    let (sound, folder) = (reports.len(), folder.display());
    eprintln!("test-browser: {sound} reports are sound; screenshots in {folder}");
    Ok(())
}

/// Makes a report of every kind in `folder`.
fn make(folder: &Path) -> Result<Vec<PathBuf>> {
    let programs = build()?;
    let (gallery, samtone) = (programs.join("examples/gallery"), programs.join("samtone"));
    run(&gallery, "", &[("", folder)])?;
    let runs = folder.join("runs");
    if runs.exists() {
        fs::remove_dir_all(&runs).with_context(|| format!("cannot remove `{}`", runs.display()))?;
    }
    let (trained, other) = (runs.join("quick-start"), runs.join("other"));
    let more = "--set train.eval_every=20 --set train.best_by=ndcg@10";
    run(&samtone, &format!("train --set train.steps=60 {more}"), &[("--run-dir", &trained)])?;
    let more = "--unset train.baseline --set train.lr=1e-3 --set seed=1";
    run(&samtone, &format!("train --set train.steps=30 {more}"), &[("--run-dir", &other)])?;
    let several = folder.join("several.html");
    run(&samtone, "report", &[("", &runs), ("--out", &several)])?;
    let (analysis, models) =
        (runs.join("analysis"), ["model", "baseline/model"].map(|model| trained.join(model)));
    run(
        &samtone,
        "analyze --data embedded --points 100 --queries 20",
        &[("--model", &models[0]), ("--model", &models[1]), ("--out", &analysis)],
    )?;
    let drawn = ["gallery.html", "hostile.html", "10-runs.html", "100-runs.html", "several.html"];
    let written = [trained, other, analysis].map(|made| made.join("report.html"));
    Ok(drawn.iter().map(|name| folder.join(name)).chain(written).collect())
}

/// `PROGRAM WORDS`, then each option with its path.
fn run(program: &Path, words: &str, options: &[(&str, &Path)]) -> Result<()> {
    let mut command = Command::new(program);
    command.args(words.split_whitespace());
    for (option, path) in options {
        command.args(Some(option).filter(|option| !option.is_empty())).arg(path);
    }
    let status = command.status().with_context(|| format!("cannot start {command:?}"))?;
    ensure!(status.success(), "{command:?} ended with {status}");
    Ok(())
}

fn target_folder() -> PathBuf {
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| PathBuf::from("target"), PathBuf::from)
}

/// Every check of one report, on a fresh page each time.
fn check(browser: &mut Chromium, report: &Path, folder: &Path) -> Result<()> {
    let url = format!("file://{}", report.display());
    // A run's report is named after its folder: they are all called `report.html`.
    let named = report.ends_with("report.html").then(|| report.parent()).flatten();
    let stem =
        named.unwrap_or(report).file_stem().unwrap_or_default().to_string_lossy().into_owned();

    opens_fast(browser, &url)?;
    let mut page = browser.open(&url, DESKTOP)?;
    drawings_come_alive(&mut page).context("drawings")?;
    hover_shows_text(&mut page).context("hover")?;
    legend_toggles(&mut page).context("legend")?;
    zoom_works(&mut page).context("zoom")?;
    keys_work(&mut page).context("keyboard")?;
    smoothing_works(&mut page).context("smoothing")?;
    neighbours_filter(&mut page).context("neighbours")?;
    tables_sort(&mut page).context("tables")?;
    buttons_copy(&mut page).context("copy buttons")?;
    texts_stay_text(&mut page).context("hostile text")?;
    names_are_there(&mut page).context("accessible names")?;
    page.call("Page.printToPDF", &json!({})).context("print")?;
    page.requested_only(&url).context("network")?;
    page.quiet().context("console")?;
    page.close()?;

    for (name, size) in [("desktop", DESKTOP), ("phone", PHONE)] {
        for scheme in ["light", "dark"] {
            let mut page = browser.open_in(&url, size, scheme)?;
            fits(&mut page, size.0).with_context(|| format!("{name} width"))?;
            labels_are_legible(&mut page).with_context(|| format!("{name} width"))?;
            let png = page.screenshot()?;
            fs::write(folder.join(format!("{stem}-{name}-{scheme}.png")), png)?;
            page.quiet().context("console")?;
            page.close()?;
        }
    }
    let mut page = browser.open(&url, PAPER)?;
    page.call("Emulation.setEmulatedMedia", &json!({ "media": "print" }))?;
    fits(&mut page, PAPER.0).context("on paper")?;
    fs::write(folder.join(format!("{stem}-paper.png")), page.screenshot()?)?;
    page.close()?;
    works_without_script(browser, &url).context("without script")
}

/// Milliseconds in which a page is loaded and its script is done.
const LONGEST_LOAD: f64 = 1000.0;

/// How often a page is opened: the fastest counts, as the machine may do something else meanwhile.
const OPENED: usize = 3;

fn opens_fast(browser: &mut Chromium, url: &str) -> Result<()> {
    let mut fastest = f64::INFINITY;
    for _ in 0..OPENED {
        let mut page = browser.open(url, DESKTOP)?;
        let loaded = page.eval("performance.getEntriesByType('navigation')[0].loadEventEnd")?;
        fastest = fastest.min(loaded.as_f64().context("a time")?);
        page.close()?;
    }
    ensure!(fastest < LONGEST_LOAD, "the page takes {fastest:.0} ms to open");
    eprintln!("{url}: open after {fastest:.0} ms");
    Ok(())
}

/// A click, and Enter, on a head sorts the rows by its column, each the other way round.
fn tables_sort(page: &mut Page<'_>) -> Result<()> {
    let wrong = page.eval(
        "[...document.querySelectorAll('figure.table')].flatMap(figure => {
            const rows = () => [...figure.querySelector('tbody').rows];
            const before = rows().length;
            return [...figure.querySelectorAll('thead th')].flatMap((head, column) => {
                const orders = [1, 2].map(() => {
                    head.querySelector('button').click();
                    const numbers = rows().map(row => row.cells[column].dataset.number).filter(n => n !== undefined).map(Number);
                    const sign = head.ariaSort === 'ascending' ? 1 : -1;
                    const isSorted = numbers.every((n, i) => i === 0 || sign * (n - numbers[i - 1]) >= 0);
                    return isSorted && rows().length === before ? head.ariaSort : 'unsorted';
                });
                const isRight = orders[0] !== orders[1] && !orders.includes('unsorted');
                return isRight ? [] : [`${head.textContent}: ${orders}`];
            });
        })",
    )?;
    ensure!(wrong == json!([]), "not sorted: {wrong}");
    let is_there = page.eval(
        "document.querySelector('button.sort')?.focus() ?? document.activeElement.matches('.sort')",
    )?;
    if is_there == true {
        let order = "document.querySelector('button.sort').parentElement.ariaSort";
        let before = page.eval(order)?;
        page.key("Enter")?;
        ensure!(page.eval(order)? != before, "Enter on a head sorts nothing");
    }
    Ok(())
}

/// A copy button says what became of it.
fn buttons_copy(page: &mut Page<'_>) -> Result<()> {
    let silent = page.eval(
        "(async () => {
            const buttons = [...document.querySelectorAll('button.copy')];
            buttons.forEach(button => button.click());
            await new Promise(resolve => setTimeout(resolve, 200));
            return buttons.filter(button => button.textContent === 'Copy').length;
        })()",
    )?;
    ensure!(silent == 0, "{silent} copy buttons do nothing");
    Ok(())
}

fn drawings_come_alive(page: &mut Page<'_>) -> Result<()> {
    let counts = page.eval(
        "[document.querySelectorAll('figure[data-plot]').length,
          document.querySelectorAll('figure[data-plot] svg.live').length,
          document.querySelectorAll('figure').length]",
    )?;
    ensure!(counts[2].as_u64() > Some(0), "the page has no figure");
    ensure!(counts[0] == counts[1], "{} of {} drawings are interactive", counts[1], counts[0]);
    Ok(())
}

/// Scrolls the nth drawing into view and returns the middle of `selector` within its figure.
fn place(page: &mut Page<'_>, plot: u64, selector: &str) -> Result<(f64, f64)> {
    let place = page.eval(&format!(
        "(() => {{
            const node = document.querySelectorAll('figure[data-plot]')[{plot}].querySelector({selector:?});
            node.scrollIntoView({{ block: 'center', behavior: 'instant' }});
            const box = node.getBoundingClientRect();
            return [box.x + box.width / 2, box.y + box.height / 2];
        }})()"
    ))?;
    let at = |index: usize| place[index].as_f64().context("no such element");
    Ok((at(0)?, at(1)?))
}

/// Evaluates `body` with `figure` as the nth drawing's figure.
fn in_plot(page: &mut Page<'_>, plot: u64, body: &str) -> Result<Value> {
    page.eval(&format!(
        "(() => {{ const figure = document.querySelectorAll('figure[data-plot]')[{plot}]; return {body}; }})()"
    ))
}

fn plots(page: &mut Page<'_>) -> Result<u64> {
    let count = page.eval("document.querySelectorAll('figure[data-plot]').length")?;
    count.as_u64().context("a count")
}

const TIP: &str = "(tip => tip.hidden ? '' : tip.textContent)(figure.querySelector('.tip'))";

fn hover_shows_text(page: &mut Page<'_>) -> Result<()> {
    for plot in 0..plots(page)? {
        let kind = in_plot(page, plot, &format!("{PLOTS}[{plot}].kind"))?;
        let target = if kind == "points" { ".dots path" } else { "svg.live" };
        let (x, y) = place(page, plot, target)?;
        page.mouse("mouseMoved", x, y)?;
        let tip = in_plot(page, plot, TIP)?;
        let tip = tip.as_str().unwrap_or_default();
        ensure!(!tip.trim().is_empty(), "drawing {plot} ({kind}) shows nothing at ({x}, {y})");
        if kind == "points" {
            // What is shown is a point's text, whole, or the group's name where it has none.
            let known = in_plot(
                page,
                plot,
                &format!(
                    "{PLOTS}[{plot}].series.some(s => s.points.some(p => {TIP}.includes(p[3]) && {TIP}.includes(s.name)))"
                ),
            )?;
            ensure!(known == true, "drawing {plot} shows no point's text: {tip:?}");
        }
        page.mouse("mouseMoved", 2.0, 2.0)?;
        let tip = in_plot(page, plot, TIP)?;
        ensure!(tip == "", "drawing {plot} still shows {tip} after the pointer left");
    }
    Ok(())
}

/// The plots as the page embeds them.
const PLOTS: &str = "JSON.parse(document.getElementById('data').textContent).plots";

fn legend_toggles(page: &mut Page<'_>) -> Result<()> {
    let count = "figure.querySelectorAll('svg.live .series').length";
    for plot in 0..plots(page)? {
        let before = in_plot(page, plot, count)?.as_u64().context("a count")?;
        for expected in [before - 1, before] {
            let (x, y) = place(page, plot, ".legend")?;
            page.click(x, y)?;
            let shown = in_plot(page, plot, count)?;
            ensure!(shown == expected, "drawing {plot} shows {shown} series, not {expected}");
            let pressed =
                in_plot(page, plot, "figure.querySelector('.legend').ariaPressed === 'true'")?;
            ensure!(pressed == (expected == before), "drawing {plot}: pressed is {pressed}");
        }
    }
    Ok(())
}

fn zoom_works(page: &mut Page<'_>) -> Result<()> {
    let zoom = "Number(figure.querySelector('svg.live').dataset.zoom)";
    let drawn = "figure.querySelector('svg.live .series').innerHTML";
    for plot in 0..plots(page)? {
        let whole = in_plot(page, plot, drawn)?;
        let (x, y) = place(page, plot, "[aria-label='Zoom in']")?;
        page.click(x, y)?;
        ensure!(in_plot(page, plot, zoom)?.as_f64() > Some(1.5), "drawing {plot}: the button");

        let (x, y) = place(page, plot, "svg.live")?;
        let near = in_plot(page, plot, drawn)?;
        ensure!(near != whole, "drawing {plot} does not change");
        page.mouse("mousePressed", x, y)?;
        page.mouse("mouseMoved", x + 40.0, y + 10.0)?;
        page.mouse("mouseReleased", x + 40.0, y + 10.0)?;
        ensure!(in_plot(page, plot, drawn)? != near, "drawing {plot} does not move when dragged");

        // Dragging gave the drawing the focus, so the wheel zooms.
        page.wheel(x, y, -300.0)?;
        ensure!(in_plot(page, plot, zoom)?.as_f64() > Some(1.7), "drawing {plot}: the wheel");

        let (x, y) = place(page, plot, "[aria-label='Reset zoom']")?;
        page.click(x, y)?;
        ensure!(in_plot(page, plot, zoom)? == 1, "drawing {plot} is not reset");
        ensure!(in_plot(page, plot, drawn)? == whole, "drawing {plot} is not as it was");
    }
    Ok(())
}

fn keys_work(page: &mut Page<'_>) -> Result<()> {
    let zoom = "Number(figure.querySelector('svg.live').dataset.zoom)";
    for plot in 0..plots(page)? {
        place(page, plot, "svg.live")?;
        in_plot(page, plot, "figure.querySelector('svg.live').focus()")?;
        page.key("ArrowRight")?;
        let first = in_plot(page, plot, TIP)?;
        ensure!(first != "", "drawing {plot}: an arrow selects nothing");
        page.key("ArrowRight")?;
        page.key("ArrowRight")?;
        page.key("+")?;
        ensure!(in_plot(page, plot, zoom)?.as_f64() > Some(1.5), "drawing {plot}: plus");
        page.key("0")?;
        ensure!(in_plot(page, plot, zoom)? == 1, "drawing {plot}: 0");
        page.key("Escape")?;
        ensure!(in_plot(page, plot, TIP)? == "", "drawing {plot}: Escape");
    }
    Ok(())
}

fn smoothing_works(page: &mut Page<'_>) -> Result<()> {
    for plot in 0..plots(page)? {
        let moved = in_plot(
            page,
            plot,
            "(range => {
                if (!range) return true;
                const drawn = () => figure.querySelector('svg.live .line:not(.muted)').getAttribute('d');
                const before = drawn();
                range.value = range.value > 0.5 ? 0.3 : 0.9;
                range.dispatchEvent(new Event('input'));
                return drawn() !== before;
            })(figure.querySelector('input[type=range]'))",
        )?;
        ensure!(moved == true, "drawing {plot}: the curve does not change");
    }
    Ok(())
}

fn neighbours_filter(page: &mut Page<'_>) -> Result<()> {
    let counts = page.eval(
        "[...document.querySelectorAll('figure.neighbours')].map(figure => {
            const shown = () => figure.querySelectorAll('.queries > details:not([hidden])').length;
            const search = figure.querySelector('input[type=search]');
            const all = shown();
            search.value = '\\u0001 nowhere';
            search.dispatchEvent(new Event('input'));
            const none = shown();
            search.value = '';
            search.dispatchEvent(new Event('input'));
            return [all, none, shown()];
        })",
    )?;
    for counts in counts.as_array().into_iter().flatten() {
        ensure!(counts[1] == 0 && counts[0] == counts[2], "filtering gives {counts}");
    }
    Ok(())
}

fn texts_stay_text(page: &mut Page<'_>) -> Result<()> {
    let found = page.eval(
        "[
            String(window.pwned),
            document.scripts.length,
            document.querySelectorAll('img, iframe, link, base, object, embed, form, textarea, b:not(.tip b), a:not(nav a, .skip, .table a[href^=\"./\"]), meta[http-equiv=refresh], image, use, foreignObject').length,
            [...document.querySelectorAll('*')].filter(node => [...node.attributes].some(a => a.name.startsWith('on'))).length,
        ]",
    )?;
    ensure!(
        found == json!(["undefined", 2, 0, 0]),
        "something of the texts became markup: {found}"
    );
    Ok(())
}

fn names_are_there(page: &mut Page<'_>) -> Result<()> {
    let nameless = page.eval(
        "[...document.querySelectorAll('figure, button, input, select, svg.live')]
            .filter(node => {
                const label = document.getElementById(node.getAttribute('aria-labelledby'));
                const name = node.ariaLabel ?? label?.textContent ?? node.closest('label')?.textContent ?? node.textContent;
                // A hostile title may be empty; the element that holds it must still be there.
                return !label && !name.trim() && !node.matches('.legend');
            })
            .map(node => node.outerHTML.slice(0, 80))",
    )?;
    ensure!(nameless == json!([]), "without a name: {nameless}");
    Ok(())
}

/// Nothing makes the page wider than the window.
fn fits(page: &mut Page<'_>, width: u32) -> Result<()> {
    let wide = page.eval(&format!(
        "[document.scrollingElement.scrollWidth, ...[...document.querySelectorAll('body *')]
            .filter(node => node.getBoundingClientRect().right > {width} && !node.closest('.scroll, nav, pre, svg'))
            .slice(0, 5)
            .map(node => node.outerHTML.slice(0, 80))]"
    ))?;
    ensure!(wide[0].as_u64() <= Some(width.into()), "the page is too wide for {width}: {wide}");
    Ok(())
}

/// No two texts of a drawing lie over each other, and none is cut off at its edge.
fn labels_are_legible(page: &mut Page<'_>) -> Result<()> {
    let found = page.eval(
        "[...document.querySelectorAll('svg.live')].flatMap(drawing => {
            const frame = drawing.getBoundingClientRect();
            const boxes = [...drawing.querySelectorAll('text')].map(text => [text.textContent, text.getBoundingClientRect()]);
            const out = boxes.filter(([, a]) => a.width && (a.left < frame.left - 1 || a.right > frame.right + 1));
            const over = boxes.filter(([, a], i) => boxes.some(([, b], j) =>
                j < i && a.left < b.right && b.left < a.right && a.top + 2 < b.bottom && b.top + 2 < a.bottom));
            return [...out, ...over].map(([text]) => `${drawing.ariaLabel.slice(0, 40)}: ${text}`);
        })",
    )?;
    ensure!(found == json!([]), "labels overlap or are cut off: {found}");
    Ok(())
}

fn works_without_script(browser: &mut Chromium, url: &str) -> Result<()> {
    let mut page = browser.open_still(url, DESKTOP)?;
    let counts = page.eval(
        "[document.querySelectorAll('figure[data-plot]').length,
          document.querySelectorAll('figure[data-plot] svg[role=img] path').length > 0]",
    )?;
    ensure!(counts[0] == 0 || counts[1] == true, "the drawings are empty");
    page.close()
}
