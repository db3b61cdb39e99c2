//! Headless Chromium over its debugging pipe: JSON messages, each ended by a zero byte.
//!
//! The pipe needs neither a port nor a WebSocket, so this needs no dependency but a JSON reader.
//! Protocol: <https://chromedevtools.github.io/devtools-protocol/>.

use std::{
    env,
    ffi::OsString,
    io::{BufRead as _, BufReader, Write as _},
    path::PathBuf,
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc::{Receiver, channel},
    thread,
    time::Duration,
};

use anyhow::{Context, Result, anyhow, bail, ensure};
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_mins(1);

/// A running browser with a profile of its own.
pub(super) struct Chromium {
    process: Child,
    commands: ChildStdin,
    messages: Receiver<Value>,
    events: Vec<Value>,
    last_id: u64,
    profile: PathBuf,
}

impl Chromium {
    pub(super) fn start() -> Result<Self> {
        let program = find()?;
        let profile = env::temp_dir().join(format!("samtone-browser-{}", std::process::id()));
        // The browser reads commands from descriptor 3 and answers on 4.
        let mut process = Command::new("sh")
            .args(["-c", "exec \"$0\" \"$@\" 3<&0 4>&1 </dev/null >/dev/null 2>&1"])
            .arg(&program)
            .args([
                "--headless",
                "--remote-debugging-pipe",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-quic",
                "--no-first-run",
                "--disable-background-networking",
                "--disable-component-update",
                "--disable-sync",
                "--hide-scrollbars",
            ])
            .arg(format!("--user-data-dir={}", profile.display()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start `{}`", program.display()))?;
        let commands = process.stdin.take().context("a pipe was asked for")?;
        let mut answers = BufReader::new(process.stdout.take().context("a pipe was asked for")?);
        let (sender, messages) = channel();
        thread::spawn(move || {
            let mut bytes = Vec::new();
            while matches!(answers.read_until(0, &mut bytes), Ok(read) if read > 0) {
                bytes.pop();
                let Ok(message) = serde_json::from_slice(&bytes) else { break };
                bytes.clear();
                if sender.send(message).is_err() {
                    break;
                }
            }
        });
        Ok(Self { process, commands, messages, events: Vec::new(), last_id: 0, profile })
    }

    /// Opens a page of `size` pixels and waits until it is loaded.
    pub(super) fn open(&mut self, url: &str, size: (u32, u32)) -> Result<Page<'_>> {
        self.open_in(url, size, "light")
    }

    /// The same in the colour scheme `light` or `dark`.
    pub(super) fn open_in(
        &mut self,
        url: &str,
        size: (u32, u32),
        scheme: &str,
    ) -> Result<Page<'_>> {
        let mut page = self.blank(size)?;
        let features = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
        page.call("Emulation.setEmulatedMedia", &json!({ "features": features }))?;
        page.go(url)?;
        Ok(page)
    }

    /// The same with scripts turned off.
    pub(super) fn open_still(&mut self, url: &str, size: (u32, u32)) -> Result<Page<'_>> {
        let mut page = self.blank(size)?;
        page.call("Emulation.setScriptExecutionDisabled", &json!({ "value": true }))?;
        page.go(url)?;
        Ok(page)
    }

    fn blank(&mut self, (width, height): (u32, u32)) -> Result<Page<'_>> {
        self.events.clear();
        let target = self.call("Target.createTarget", None, &json!({ "url": "about:blank" }))?;
        let target = target["targetId"].as_str().context("no target")?.to_owned();
        let attach = json!({ "targetId": target, "flatten": true });
        let session = self.call("Target.attachToTarget", None, &attach)?;
        let session = session["sessionId"].as_str().context("no session")?.to_owned();
        let mut page = Page { browser: self, session, target };
        for domain in ["Page", "Runtime", "Network", "Log"] {
            page.call(&format!("{domain}.enable"), &json!({}))?;
        }
        page.call(
            "Emulation.setDeviceMetricsOverride",
            &json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600 }),
        )?;
        Ok(page)
    }

    fn call(&mut self, method: &str, session: Option<&str>, parameters: &Value) -> Result<Value> {
        self.last_id += 1;
        let id = self.last_id;
        let mut message = json!({ "id": id, "method": method, "params": parameters });
        if let Some(session) = session {
            message["sessionId"] = session.into();
        }
        let mut bytes = serde_json::to_vec(&message)?;
        bytes.push(0);
        self.commands.write_all(&bytes).context("the browser does not listen")?;
        loop {
            let answer = self.receive(method)?;
            if answer["id"] != id {
                self.events.push(answer);
            } else if let Some(error) = answer.get("error") {
                bail!("{method}: {error}");
            } else {
                return Ok(answer["result"].clone());
            }
        }
    }

    fn receive(&self, waiting_for: &str) -> Result<Value> {
        self.messages
            .recv_timeout(PATIENCE)
            .map_err(|_| anyhow!("no answer from the browser to `{waiting_for}`"))
    }
}

impl Drop for Chromium {
    fn drop(&mut self) {
        // Nothing can be done about a failure here, and nothing depends on it.
        let _ = self.call("Browser.close", None, &json!({}));
        let _ = self.process.wait();
        let _ = std::fs::remove_dir_all(&self.profile);
    }
}

/// The browser's program: the variable `CHROMIUM`, else the first known name on the path.
fn find() -> Result<PathBuf> {
    if let Some(program) = env::var_os("CHROMIUM") {
        return Ok(program.into());
    }
    let path = env::var_os("PATH").unwrap_or_default();
    let names = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];
    let programs = names.iter().flat_map(|name| {
        env::split_paths(&path).map(move |folder| folder.join(OsString::from(name)))
    });
    programs
        .into_iter()
        .find(|program| program.is_file())
        .context("no Chromium found; install the package `chromium` or set CHROMIUM to a program")
}

/// A page under test.
pub(super) struct Page<'a> {
    browser: &'a mut Chromium,
    session: String,
    target: String,
}

impl Page<'_> {
    pub(super) fn call(&mut self, method: &str, parameters: &Value) -> Result<Value> {
        self.browser.call(method, Some(&self.session), parameters)
    }

    fn go(&mut self, url: &str) -> Result<()> {
        self.call("Page.navigate", &json!({ "url": url }))?;
        let is_loaded = |event: &Value| event["method"] == "Page.loadEventFired";
        while !self.browser.events.iter().any(is_loaded) {
            let event = self.browser.receive(url)?;
            self.browser.events.push(event);
        }
        Ok(())
    }

    /// The value of a JavaScript expression.
    pub(super) fn eval(&mut self, expression: &str) -> Result<Value> {
        let parameters = json!({
            "expression": expression, "returnByValue": true, "awaitPromise": true, "userGesture": true,
        });
        let answer = self.call("Runtime.evaluate", &parameters)?;
        if let Some(thrown) = answer.get("exceptionDetails") {
            bail!("{expression}\nthrew {}", thrown["exception"]["description"]);
        }
        Ok(answer["result"]["value"].clone())
    }

    /// Sends a mouse event of the left button, at the window's pixels.
    pub(super) fn mouse(&mut self, kind: &str, x: f64, y: f64) -> Result<()> {
        let held = u8::from(kind != "mouseMoved");
        let button = if held == 1 { "left" } else { "none" };
        let event = json!({
            "type": kind, "x": x, "y": y, "button": button, "buttons": held, "clickCount": held,
        });
        self.call("Input.dispatchMouseEvent", &event)?;
        Ok(())
    }

    pub(super) fn click(&mut self, x: f64, y: f64) -> Result<()> {
        self.mouse("mousePressed", x, y)?;
        self.mouse("mouseReleased", x, y)
    }

    pub(super) fn wheel(&mut self, x: f64, y: f64, delta: f64) -> Result<()> {
        let event = json!({ "type": "mouseWheel", "x": x, "y": y, "deltaX": 0, "deltaY": delta });
        self.call("Input.dispatchMouseEvent", &event)?;
        Ok(())
    }

    /// Presses and releases a key, by the name its event carries.
    pub(super) fn key(&mut self, key: &str) -> Result<()> {
        // Enter presses a button by the text that it gives.
        let (kind, text) = if key == "Enter" { ("keyDown", "\r") } else { ("rawKeyDown", "") };
        let code = if key == "Enter" { 13 } else { 0 };
        let event =
            json!({ "type": kind, "key": key, "text": text, "windowsVirtualKeyCode": code });
        self.call("Input.dispatchKeyEvent", &event)?;
        self.call("Input.dispatchKeyEvent", &json!({ "type": "keyUp", "key": key }))?;
        Ok(())
    }

    /// The whole page as a PNG, however long it is.
    pub(super) fn screenshot(&mut self) -> Result<Vec<u8>> {
        let parameters = json!({ "captureBeyondViewport": true });
        let answer = self.call("Page.captureScreenshot", &parameters)?;
        decode_base64(answer["data"].as_str().context("no picture")?)
    }

    /// Fails if the page threw, logged an error or a warning, or broke its security policy.
    pub(super) fn quiet(&self) -> Result<()> {
        let noise: Vec<String> = self
            .browser
            .events
            .iter()
            .filter(|event| match event["method"].as_str() {
                Some("Runtime.exceptionThrown" | "Runtime.consoleAPICalled") => true,
                Some("Log.entryAdded") => event["params"]["entry"]["level"] != "verbose",
                _ => false,
            })
            .map(|event| event["params"].to_string())
            .collect();
        ensure!(noise.is_empty(), "the page was not quiet:\n{}", noise.join("\n"));
        Ok(())
    }

    /// Fails if anything but `url` was requested.
    pub(super) fn requested_only(&self, url: &str) -> Result<()> {
        let requested = self.requested();
        ensure!(requested == [url], "the page requested {requested:?}");
        Ok(())
    }

    /// Fails if anything was requested but what begins with `url`.
    pub(super) fn requested_only_from(&self, url: &str) -> Result<()> {
        let others: Vec<&str> =
            self.requested().into_iter().filter(|asked| !asked.starts_with(url)).collect();
        ensure!(others.is_empty(), "the page requested {others:?}");
        Ok(())
    }

    fn requested(&self) -> Vec<&str> {
        self.browser
            .events
            .iter()
            .filter(|event| event["method"] == "Network.requestWillBeSent")
            .filter_map(|event| event["params"]["request"]["url"].as_str())
            .collect()
    }

    pub(super) fn close(self) -> Result<()> {
        let target = json!({ "targetId": self.target });
        self.browser.call("Target.closeTarget", None, &target)?;
        Ok(())
    }
}

/// Standard base64, as the protocol sends pictures.
fn decode_base64(text: &str) -> Result<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len() / 4 * 3);
    let (mut bits, mut count) = (0_u32, 0);
    for byte in text.bytes().filter(|byte| *byte != b'=') {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => bail!("not base64: byte {byte}"),
        };
        bits = bits << 6 | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            out.push((bits >> count) as u8);
        }
    }
    Ok(out)
}
