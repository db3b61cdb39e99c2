//! Questions to the hub, and its answers: redirects, refusals and patience.

use std::io::Read;
use std::sync::Arc;
use std::time::Duration;

use ureq::http::{HeaderMap, Response, Uri, header};
use ureq::tls::{RootCerts, TlsConfig};
use ureq::{Agent, Body, Proxy};

use super::event::{DownloadEvent, Observer};
use super::sum::{SUM, is_sum};
use crate::environment::Environment;
use crate::error::HubError;
use crate::name::ModelName;

/// Tries of one question.
const TRIES: u32 = 5;
/// The pause after the first try; each further one is twice as long.
const PAUSE: Duration = Duration::from_secs(1);
/// The longest that the hub may have us wait.
const LONGEST_PAUSE: Duration = Duration::from_mins(2);
/// Redirects of one question.
const REDIRECTS: usize = 8;
/// How long a server may be silent.
const SILENCE: Duration = Duration::from_mins(1);
const CONNECT: Duration = Duration::from_secs(20);
/// The longest list of files, and the longest message.
const LONGEST_LIST: u64 = 64 << 20;
const LONGEST_MESSAGE: u64 = 500;

/// Who asks the Hugging Face hub for files.
pub struct HubClient {
    agent: Agent,
    /// Without a slash at its end.
    endpoint: String,
    token: Option<String>,
    /// Whether the environment's proxies are used.
    by_proxy: bool,
    pause: Duration,
}

impl std::fmt::Debug for HubClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { endpoint, token, .. } = self;
        // The token is nobody else's business.
        let token = token.as_ref().map(|_| "…");
        f.debug_struct("HubClient").field("endpoint", endpoint).field("token", &token).finish()
    }
}

/// What went wrong, and whether it may pass.
pub(super) struct Trouble {
    why: Box<HubError>,
    /// The pause that the hub asks for, where it may pass.
    passes: Option<Duration>,
}

impl Trouble {
    fn passing(why: HubError, pause: Duration) -> Self {
        Self { why: Box::new(why), passes: Some(pause) }
    }
}

impl From<HubError> for Trouble {
    fn from(why: HubError) -> Self {
        Self { why: Box::new(why), passes: None }
    }
}

/// Tries that failed one after the other.
pub(super) struct Patience {
    tries: u32,
    pause: Duration,
}

impl Patience {
    /// Something was reached: what fails from now on is counted anew.
    pub(super) fn renew(&mut self) {
        self.tries = 0;
    }

    /// Waits before the next try.
    ///
    /// # Errors
    /// The trouble, if it lasts.
    pub(super) fn bear(&mut self, trouble: Trouble, observe: Observer<'_>) -> Result<(), HubError> {
        self.tries += 1;
        let Some(asked) = trouble.passes.filter(|_| self.tries < TRIES) else {
            return Err(*trouble.why);
        };
        let own = self.pause * 2_u32.pow(self.tries - 1);
        let pause = asked.max(own).min(LONGEST_PAUSE);
        observe(DownloadEvent::Retry { why: &trouble.why, pause });
        std::thread::sleep(pause);
        Ok(())
    }
}

impl HubClient {
    /// A client of the hub at `endpoint`, as in `https://huggingface.co`, without a token or a proxy.
    ///
    /// # Errors
    /// [`HubError::Endpoint`].
    pub fn new(endpoint: &str) -> Result<Self, HubError> {
        let wrong = || HubError::Endpoint { got: endpoint.to_owned() };
        let uri: Uri = endpoint.parse().map_err(|_| wrong())?;
        if !matches!(uri.scheme_str(), Some("http" | "https")) || uri.host().is_none() {
            return Err(wrong());
        }
        // The machine's own certificates: those of a company's proxy are among them.
        let tls = TlsConfig::builder()
            .root_certs(RootCerts::PlatformVerifier)
            .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .build();
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .proxy(None)
            .tls_config(tls)
            .user_agent(concat!("samtone/", env!("CARGO_PKG_VERSION")))
            .accept_encoding("identity")
            .timeout_connect(Some(CONNECT))
            .timeout_recv_response(Some(SILENCE))
            .timeout_per_read(Some(SILENCE))
            .build();
        Ok(Self {
            agent: config.new_agent(),
            endpoint: endpoint.trim_end_matches('/').to_owned(),
            token: None,
            by_proxy: false,
            pause: PAUSE,
        })
    }

    /// The client that the environment describes: `HF_ENDPOINT`; `HF_TOKEN`, the file `HF_TOKEN_PATH`
    /// or `token` in `HF_HOME`; `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY`.
    ///
    /// # Errors
    /// [`HubError::Offline`] if `HF_HUB_OFFLINE` is set, and as [`new`](Self::new).
    pub fn of_machine() -> Result<Self, HubError> {
        let environment = Environment::OWN;
        if let Some(variable) = environment.offline() {
            return Err(HubError::Offline { variable });
        }
        let client = Self::new(&environment.endpoint())?;
        Ok(Self { token: environment.token()?, by_proxy: true, ..client })
    }

    /// Sends `token` to the hub, and to nobody else.
    #[must_use]
    pub fn with_token(mut self, token: &str) -> Self {
        self.token = Some(token.to_owned());
        self
    }

    /// Waits so long after the first failure, and twice as long after each further one: a second if
    /// nothing is said.
    #[must_use]
    pub fn with_pause(mut self, pause: Duration) -> Self {
        self.pause = pause;
        self
    }

    pub(super) fn patience(&self) -> Patience {
        Patience { tries: 0, pause: self.pause }
    }

    pub(super) fn listing_url(&self, name: &ModelName) -> String {
        let (endpoint, repository) = (&self.endpoint, name.repository());
        let revision = quoted(name.revision_or_main(), "");
        format!("{endpoint}/api/models/{repository}/revision/{revision}?blobs=true")
    }

    pub(super) fn file_url(&self, name: &ModelName, commit: &str, file: &str) -> String {
        let (endpoint, repository) = (&self.endpoint, name.repository());
        format!("{endpoint}/{repository}/resolve/{commit}/{}", quoted(file, "/"))
    }

    /// What is at `url`, a short text.
    pub(super) fn read(
        &self,
        name: &ModelName,
        url: &str,
        observe: Observer<'_>,
    ) -> Result<Vec<u8>, HubError> {
        let mut patience = self.patience();
        loop {
            let read = || {
                let (at, response) = self.get(name, url, 0)?;
                let mut bytes = Vec::new();
                let mut body = response.into_body().into_reader().take(LONGEST_LIST);
                body.read_to_end(&mut bytes).map_err(|error| unreachable(&at, error))?;
                Ok(bytes)
            };
            match read() {
                Ok(bytes) => return Ok(bytes),
                Err(trouble) => patience.bear(trouble, observe)?,
            }
        }
    }

    /// The sum and the size of a file, from the headers of the hub's first answer.
    pub(super) fn measure(
        &self,
        name: &ModelName,
        commit: &str,
        file: &str,
        observe: Observer<'_>,
    ) -> Result<(String, u64), HubError> {
        let url = self.file_url(name, commit, file);
        let mut patience = self.patience();
        let headers = loop {
            match self.first_headers(name, &url) {
                Ok(headers) => break headers,
                Err(trouble) => patience.bear(trouble, observe)?,
            }
        };
        let strange = |what, got: String, expected| HubError::Strange {
            name: name.clone(),
            what,
            got,
            expected,
        };
        if let Some(other) = text(&headers, "x-repo-commit")
            && other != commit
        {
            return Err(strange("the commit", other, "the commit that was asked for"));
        }
        let sum = text(&headers, "x-linked-etag").or_else(|| text(&headers, "etag"));
        let sum = sum.unwrap_or_default();
        let sum = sum.trim_start_matches("W/").trim_matches('"');
        if !is_sum(sum) {
            return Err(strange("the sum", sum.to_owned(), SUM));
        }
        let size = text(&headers, "x-linked-size").or_else(|| text(&headers, "content-length"));
        let size = size.unwrap_or_default();
        match size.parse() {
            Ok(bytes) => Ok((sum.to_owned(), bytes)),
            Err(_) => Err(strange("the size", size, "a number of bytes")),
        }
    }

    /// The headers of the answer that is the hub's own: what another host says of a file is not asked.
    fn first_headers(&self, name: &ModelName, url: &str) -> Result<HeaderMap, Trouble> {
        let mut url = url.to_owned();
        for _ in 0..REDIRECTS {
            let response = self.ask(&url, "HEAD", 0)?;
            match redirect(&response, &url) {
                Some(next) if self.is_hub(&next) => url = next,
                None if !response.status().is_success() => {
                    return Err(self.refusal(name, &url, response));
                }
                _ => return Ok(response.headers().clone()),
            }
        }
        Err(around_and_around(&url).into())
    }

    /// The answer of `url`, from the byte `from` on if the server can do that; where it came from in the
    /// end.
    pub(super) fn get(
        &self,
        name: &ModelName,
        url: &str,
        from: u64,
    ) -> Result<(String, Response<Body>), Trouble> {
        let mut at = url.to_owned();
        for _ in 0..REDIRECTS {
            let response = self.ask(&at, "GET", from)?;
            if let Some(next) = redirect(&response, &at) {
                at = next;
            } else if response.status().is_success() || response.status() == 416 {
                return Ok((at, response));
            } else {
                return Err(self.refusal(name, &at, response));
            }
        }
        Err(around_and_around(url).into())
    }

    /// One question and its answer, whatever that is. Only the hub itself sees the token.
    fn ask(&self, url: &str, method: &str, from: u64) -> Result<Response<Body>, Trouble> {
        let uri: Uri = url.parse().map_err(|_| HubError::Endpoint { got: url.to_owned() })?;
        let request = match method {
            "HEAD" => self.agent.head(&uri),
            _ => self.agent.get(&uri),
        };
        let mut request = request.config().proxy(self.proxy(&uri)?).build();
        if let Some(token) = &self.token
            && self.is_hub(url)
        {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        if from > 0 {
            request = request.header(header::RANGE, format!("bytes={from}-"));
        }
        request.call().map_err(|error| unreachable(url, error))
    }

    fn proxy(&self, uri: &Uri) -> Result<Option<Proxy>, HubError> {
        let (Some(scheme), Some(host), true) = (uri.scheme_str(), uri.host(), self.by_proxy) else {
            return Ok(None);
        };
        let Some(proxy) = Environment::OWN.proxy(scheme, host) else { return Ok(None) };
        Proxy::new(&proxy).map(Some).map_err(|source| HubError::Unreachable {
            // It may hold a password.
            host: "the proxy of the environment".into(),
            source: source.into(),
        })
    }

    /// Whether `url` is the hub's: scheme, host and port.
    fn is_hub(&self, url: &str) -> bool {
        origin(url).is_some_and(|asked| origin(&self.endpoint) == Some(asked))
    }

    /// Why an answer is none.
    fn refusal(&self, name: &ModelName, url: &str, response: Response<Body>) -> Trouble {
        let status = response.status().as_u16();
        let headers = response.headers();
        let code = text(headers, "x-error-code").unwrap_or_default();
        let wait = text(headers, "retry-after").and_then(|seconds| seconds.parse().ok());
        let wait = wait.map(Duration::from_secs).unwrap_or_default();
        let message = text(headers, "x-error-message").unwrap_or_default();
        let (name, with_token) = (name.clone(), self.token.is_some());
        let endpoint = self.endpoint.clone();
        let is_hub = self.is_hub(url);
        let url = url.split('?').next().unwrap_or_default().to_owned();
        let error = match (status, &*code) {
            (401 | 403, "GatedRepo") if is_hub => HubError::Gated { name, endpoint, with_token },
            (404, "RevisionNotFound") if is_hub => HubError::NoRevisionOnHub { name },
            (404, "EntryNotFound") => HubError::Answer { url, status, message },
            // Who may not see a model is told what is told of one that is not there.
            (401, _) if is_hub && (!with_token || code == "RepoNotFound") => {
                HubError::NotOnHub { name, endpoint, with_token }
            }
            (404, _) if is_hub => HubError::NotOnHub { name, endpoint, with_token },
            (401 | 403, _) if is_hub => HubError::Refused { name, message, with_token },
            // A signed address elsewhere has had its time: the hub gives a new one.
            (401 | 403 | 408 | 429 | 500 | 502..=504, _) => {
                return Trouble::passing(HubError::Answer { url, status, message }, wait);
            }
            _ => {
                let mut said = String::new();
                let body = response.into_body().into_reader().take(LONGEST_MESSAGE);
                let is_text = { body }.read_to_string(&mut said).is_ok() && !said.contains('<');
                let message = if message.is_empty() && is_text { said } else { message };
                HubError::Answer { url, status, message: message.trim().to_owned() }
            }
        };
        error.into()
    }
}

/// Where an answer leads, from `url`.
fn redirect(response: &Response<Body>, url: &str) -> Option<String> {
    let is_redirect = matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308);
    let to = text(response.headers(), "location").filter(|_| is_redirect)?;
    Some(joined(url, &to))
}

/// The address that `to` is, on a page at `url`.
fn joined(url: &str, to: &str) -> String {
    let scheme = url.split_once("://").map_or("https", |(scheme, _)| scheme);
    if to.contains("://") {
        return to.to_owned();
    }
    if let Some(rest) = to.strip_prefix("//") {
        return format!("{scheme}://{rest}");
    }
    let path = url.find("://").map_or(0, |at| at + 3);
    let path = url[path..].find('/').map_or(url.len(), |at| path + at);
    if to.starts_with('/') {
        return format!("{}{to}", &url[..path]);
    }
    let folder = url.split('?').next().unwrap_or(url);
    let folder = folder.rfind('/').filter(|&at| at >= path).unwrap_or(path);
    format!("{}/{to}", &url[..folder])
}

/// Scheme, host and port.
fn origin(url: &str) -> Option<(String, String, u16)> {
    let uri: Uri = url.parse().ok()?;
    let scheme = uri.scheme_str()?.to_ascii_lowercase();
    let port = uri.port_u16().unwrap_or(if scheme == "https" { 443 } else { 80 });
    Some((scheme, uri.host()?.to_ascii_lowercase(), port))
}

/// A header's text.
fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name)?.to_str().ok().map(str::to_owned)
}

/// Nobody answers at `url`, or no longer.
pub(super) fn unreachable(
    url: &str,
    source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> Trouble {
    let host = origin(url).map_or_else(
        || url.to_owned(),
        |(scheme, host, port)| {
            let is_usual = matches!((&*scheme, port), ("https", 443) | ("http", 80));
            if is_usual {
                format!("{scheme}://{host}")
            } else {
                format!("{scheme}://{host}:{port}")
            }
        },
    );
    Trouble::passing(HubError::Unreachable { host, source: source.into() }, Duration::ZERO)
}

fn around_and_around(url: &str) -> HubError {
    let (url, message) = (url.to_owned(), "one redirect leads to the next".to_owned());
    HubError::Answer { url, status: 302, message }
}

/// `text` with what an address may not hold percent-encoded, letters of `kept` aside.
fn quoted(text: &str, kept: &str) -> String {
    let mut out = String::new();
    for &byte in text.as_bytes() {
        let c = char::from(byte);
        if c.is_ascii_alphanumeric() || "-_.~".contains(c) || c.is_ascii() && kept.contains(c) {
            out.push(c);
        } else {
            out += &format!("%{byte:02X}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_joined_to_the_page_that_names_it() {
        let url = "https://hub.org:8/a/b/resolve/main/c?d=e/f";
        for (to, expected) in [
            ("http://cdn.org/x?y", "http://cdn.org/x?y"),
            ("//cdn.org/x", "https://cdn.org/x"),
            ("/n/m", "https://hub.org:8/n/m"),
            ("x", "https://hub.org:8/a/b/resolve/main/x"),
        ] {
            assert_eq!(joined(url, to), expected);
        }
        assert_eq!(joined("http://hub.org", "/x"), "http://hub.org/x");
        assert_eq!(joined("http://hub.org", "x"), "http://hub.org/x");
    }

    #[test]
    fn only_scheme_host_and_port_of_the_hub_are_the_hub() {
        let client = HubClient::new("https://Hub.org/").unwrap();
        for url in ["https://hub.org/a", "https://hub.org:443/b?c"] {
            assert!(client.is_hub(url), "{url}");
        }
        for url in ["http://hub.org/a", "https://hub.org:444/", "https://cdn.hub.org/", "/a"] {
            assert!(!client.is_hub(url), "{url}");
        }
    }

    #[test]
    fn an_address_holds_what_was_meant() {
        assert_eq!(quoted("refs/pr/1", ""), "refs%2Fpr%2F1");
        assert_eq!(quoted("1_P/a b#ä", "/"), "1_P/a%20b%23%C3%A4");
        for wrong in ["", "hub", "ftp://hub.org", "https://"] {
            assert!(HubClient::new(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_token_is_not_shown() {
        let client = HubClient::new("https://hub.org").unwrap().with_token("hf_secret");
        assert!(!format!("{client:?}").contains("secret"));
    }
}
