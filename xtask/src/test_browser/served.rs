//! The page of `samtone serve`.

use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::json;

use super::chromium::{Chromium, Page};
use super::server::{Server, wait};
use super::{DESKTOP, PHONE, fits};

/// A text that runs, where it is taken for markup.
const HOSTILE: &str = "</script><script>window.pwned = 1</script><img src=x onerror='window.pwned = 2'>\
                       <a href='javascript:window.pwned = 3'>mill</a> \u{202e}backwards";

/// Documents of the page: more than it shows at first.
const DOCUMENTS: usize = 30;

/// The token of the server that wants one.
const TOKEN: &str = "a-token-of-some-length";

/// Serves documents with hostile texts by the model of `run`, and asks for them as people do.
pub(super) fn check(browser: &mut Chromium, samtone: &Path, run: &Path) -> Result<()> {
    if !has_server(samtone)? {
        eprintln!(
            "the page of `samtone serve` is not checked: SAMTONE_FEATURES=samtone/serve does"
        );
        return Ok(());
    }
    let folder = run.with_file_name("served");
    fs::create_dir_all(&folder)?;
    let line = |number: usize| {
        let title = if number == 0 { HOSTILE } else { "Mills" };
        let text = format!("{HOSTILE} The mill {number} grinds corn.\nIt stands by the river.");
        json!({ "_id": format!("<b>{number}</b>"), "title": title, "text": text }).to_string()
            + "\n"
    };
    fs::write(folder.join("corpus.jsonl"), (0..DOCUMENTS).map(line).collect::<String>())?;
    let [serve, model, data, port] = ["serve", "--model", "--data", "--port"].map(OsStr::new);
    let arguments =
        [serve, model, run.as_os_str(), data, folder.as_os_str(), port, OsStr::new("0")];

    let mut server = Server::start(samtone, &arguments)?;
    let mut page = browser.open(&server.url, DESKTOP)?;
    answers_come(&mut page).context("answers")?;
    sliders_work(&mut page).context("sliders")?;
    texts_stay_text(&mut page).context("hostile text")?;
    is_said_to_all(&mut page).context("accessibility")?;
    page.requested_only_from(&server.url).context("network")?;
    page.quiet().context("console")?;
    server.end();
    page.eval("document.querySelector('#ask button').click()")?;
    let said = "document.getElementById('error').textContent === 'The server does not answer.'";
    wait(&mut page, said, "the page does not say that its server has ended")?;
    page.close()?;

    let token = folder.with_extension("token");
    fs::write(&token, TOKEN)?;
    let secret = [&arguments[..], &[OsStr::new("--token-file"), token.as_os_str()]].concat();
    let server = Server::start(samtone, &secret)?;
    for (name, size) in [("desktop", DESKTOP), ("phone", PHONE)] {
        for scheme in ["light", "dark"] {
            let mut page = browser.open_in(&server.url, size, scheme)?;
            token_is_asked_for(&mut page).context("token")?;
            answers_come(&mut page).context("answers")?;
            fits(&mut page, size.0).with_context(|| format!("{name} width"))?;
            let picture = folder.join(format!("../../serve-{name}-{scheme}.png"));
            fs::write(picture, page.screenshot()?)?;
            page.close()?;
        }
    }
    Ok(())
}

/// Whether the build has the command: without its feature it says what is missing.
fn has_server(samtone: &Path) -> Result<bool> {
    let mut command = Command::new(samtone);
    let output = command.args(["serve", "--model", "no-such-model", "--port", "0"]).output()?;
    Ok(!String::from_utf8_lossy(&output.stderr).contains("has no server"))
}

const HITS: &str = "document.querySelectorAll('#hits > li').length";

/// A question that is typed and entered is answered, by keyboard alone.
fn answers_come(page: &mut Page<'_>) -> Result<()> {
    wait(page, "!document.getElementById('ask').hidden", "there is no form")?;
    let focus = page.eval("document.activeElement.id")?;
    ensure!(focus == "query", "the focus is on {focus}");
    page.call("Input.insertText", &json!({ "text": "who grinds corn?" }))?;
    page.key("Enter")?;
    wait(page, &format!("{HITS} === 10"), "there are no ten answers")?;
    let status = page.eval("document.getElementById('status').textContent")?;
    let status = status.as_str().unwrap_or_default();
    ensure!(status.starts_with("10 answers in "), "the page says {status:?}");
    let summary = page.eval("document.getElementById('summary').textContent")?;
    let summary = summary.as_str().unwrap_or_default();
    ensure!(summary.contains(&format!(": {DOCUMENTS} documents, ")), "the page says {summary:?}");
    Ok(())
}

/// Arrow keys on the slider change the number of answers, which are asked for again.
fn sliders_work(page: &mut Page<'_>) -> Result<()> {
    page.eval("document.getElementById('k').focus()")?;
    page.call("Input.dispatchKeyEvent", &json!({
        "type": "rawKeyDown", "key": "ArrowRight", "code": "ArrowRight", "windowsVirtualKeyCode": 39,
    }))?;
    page.call("Input.dispatchKeyEvent", &json!({ "type": "keyUp", "key": "ArrowRight" }))?;
    wait(page, &format!("{HITS} === 11"), "the slider changes nothing")?;
    let said = page.eval("document.getElementById('k-text').textContent")?;
    ensure!(said == "11", "the slider says {said}");
    // There is no graph, so there is nothing to choose.
    let hidden = page.eval("document.getElementById('of-ef').hidden")?;
    ensure!(hidden == true, "a slider for no graph");
    Ok(())
}

fn texts_stay_text(page: &mut Page<'_>) -> Result<()> {
    let found = page.eval(
        "[
            String(window.pwned),
            document.scripts.length,
            document.querySelectorAll('#hits :not(li, h2, p, span)').length,
            document.querySelectorAll('img, iframe, link, base, object, embed, a:not(.skip)').length,
            [...document.querySelectorAll('*')].filter(node => [...node.attributes].some(a => a.name.startsWith('on'))).length,
            [...document.querySelectorAll('#hits .text')].every(text => text.textContent.startsWith('</script>')),
        ]",
    )?;
    ensure!(
        found == json!(["undefined", 1, 0, 0, 0, true]),
        "something of the texts became markup: {found}"
    );
    Ok(())
}

/// What can be used has a name, and what changes is told to who does not see it.
fn is_said_to_all(page: &mut Page<'_>) -> Result<()> {
    let nameless = page.eval(
        "[...document.querySelectorAll('button, input, ol')]
            .filter(node => !(node.ariaLabel ?? node.labels?.[0]?.textContent ?? node.textContent).trim())
            .map(node => node.outerHTML.slice(0, 80))",
    )?;
    ensure!(nameless == json!([]), "without a name: {nameless}");
    let live = page.eval(
        "[document.getElementById('status').role, document.getElementById('error').role,
          document.documentElement.lang, document.querySelectorAll('h1').length,
          document.querySelectorAll('main').length]",
    )?;
    ensure!(live == json!(["status", "alert", "en", 1, 1]), "not said: {live}");
    Ok(())
}

/// A wrong token is refused, the right one opens the page.
fn token_is_asked_for(page: &mut Page<'_>) -> Result<()> {
    wait(page, "!document.getElementById('access').hidden", "no token is asked for")?;
    for token in ["another-token-than-it", TOKEN] {
        page.eval("document.getElementById('token').value = ''")?;
        page.eval("document.getElementById('token').focus()")?;
        page.call("Input.insertText", &json!({ "text": token }))?;
        page.key("Enter")?;
        if token != TOKEN {
            let refused = "document.getElementById('error').textContent.includes('token')";
            wait(page, refused, "a wrong token is not refused")?;
        }
    }
    wait(page, "document.getElementById('access').hidden", "the token does not open the page")
}
