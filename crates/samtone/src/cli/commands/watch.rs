//! `samtone watch`.

use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use samtone_train::run::{ENVIRONMENT, METRICS, SUMMARY, State, Status};

use crate::error::Failure;
use crate::output::Format;
use crate::run_files::RunFiles;
use crate::run_report;

/// Show a run in the browser while it goes on.
///
/// Serves the page of the run at an address of this machine that no other reaches, and says which; the
/// page shows what is new without being loaded again. Nothing is opened or sent elsewhere. Ends with Ctrl-C
/// or its terminal.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  samtone watch runs/faq
  samtone watch runs/faq --port 8080")]
pub(crate) struct Args {
    /// The run folder.
    run: PathBuf,
    /// The port; any that is free if absent.
    #[arg(long, default_value_t = 0)]
    port: u16,
}

/// What `--format json` prints.
#[derive(serde::Serialize)]
struct Served<'a> {
    run: &'a Path,
    url: String,
}

pub(crate) fn run(args: &Args, format: Format) -> anyhow::Result<()> {
    // What is wrong with the folder is said before anything is served.
    RunFiles::read(&args.run)?;
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, args.port));
    let listener = TcpListener::bind(address).map_err(|error| {
        Failure::new(
            format!("cannot serve at {address}: {error}"),
            "`--port` takes another; without it any that is free is taken",
        )
    })?;
    let address = listener.local_addr()?;
    let served = Served { run: &args.run, url: format!("http://{address}/") };
    format
        .print(&served, |served| format!("{} is shown at {}", served.run.display(), served.url))?;
    let shown = Shown { run: &args.run, address, page: Mutex::default() };
    let (shown, open) = (&shown, &AtomicUsize::new(0));
    thread::scope(|scope| {
        for stream in listener.incoming().flatten() {
            if open.fetch_add(1, Ordering::Relaxed) < MOST_AT_ONCE {
                scope.spawn(move || {
                    // A browser that went away has no answer to miss.
                    let _ = shown.serve(stream);
                    open.fetch_sub(1, Ordering::Relaxed);
                });
            } else {
                open.fetch_sub(1, Ordering::Relaxed);
            }
        }
    });
    Ok(())
}

/// Connections that are answered at once; more are closed.
const MOST_AT_ONCE: usize = 16;

/// How long a request may take to come, and an answer to be read.
const PATIENCE: Duration = Duration::from_secs(10);

/// Bytes of a request's line and headers.
const LONGEST_HEAD: usize = 8192;

/// The page of a run, at an address.
struct Shown<'a> {
    run: &'a Path,
    address: SocketAddr,
    page: Mutex<Page>,
}

/// The page as it was made last.
#[derive(Clone, Default)]
struct Page {
    made_of: Vec<(u64, Option<SystemTime>)>,
    state: Option<State>,
    html: Arc<str>,
    tag: String,
}

impl Shown<'_> {
    /// Answers the one request of a connection, whose body, if it has one, nobody reads.
    fn serve(&self, mut stream: TcpStream) -> io::Result<()> {
        stream.set_write_timeout(Some(PATIENCE))?;
        let head = read_head(&mut stream)?;
        let (status, headers, body) = self.answer(&head);
        let length = body.len();
        write!(
            stream,
            "HTTP/1.1 {status}\r\n{headers}Content-Length: {length}\r\nConnection: close\r\n\r\n"
        )?;
        stream.write_all(body.as_bytes())?;
        stream.flush()
    }

    /// The status, own headers and body that answer a request.
    fn answer(&self, head: &[u8]) -> (&'static str, String, Arc<str>) {
        let empty = |status| (status, String::new(), Arc::from(""));
        let mut headers = [httparse::EMPTY_HEADER; 64];
        let mut request = httparse::Request::new(&mut headers);
        if request.parse(head).is_err() {
            return empty("400 Bad Request");
        }
        let values = |name: &'static str| {
            let own = request.headers.iter().filter(move |h| h.name.eq_ignore_ascii_case(name));
            own.map(|header| String::from_utf8_lossy(header.value))
        };
        let mut hosts = values("Host").peekable();
        if hosts.peek().is_none() || !hosts.all(|host| self.is_own(&host)) {
            return empty("403 Forbidden");
        }
        if (request.method, request.path) != (Some("GET"), Some("/")) {
            return empty("404 Not Found");
        }
        match self.page() {
            Err(error) => {
                let text = format!("the run cannot be shown: {error:#}");
                ("500 Internal Server Error", String::new(), text.into())
            }
            Ok(page) if values("If-None-Match").any(|known| known == page.tag) => {
                empty("304 Not Modified")
            }
            Ok(Page { html, tag, .. }) => {
                let headers = format!(
                    "Content-Type: text/html; charset=utf-8\r\nCache-Control: no-store\r\nETag: {tag}\r\n"
                );
                ("200 OK", headers, html)
            }
        }
    }

    /// Whether `host` is this server's: a page of another one whose name was made to mean this machine
    /// names that one as host.
    fn is_own(&self, host: &str) -> bool {
        let port = self.address.port();
        let (name, of_host) = host.rsplit_once(':').unwrap_or((host, "80"));
        let names = [self.address.ip().to_string(), "localhost".into()];
        of_host == port.to_string() && names.iter().any(|own| own.eq_ignore_ascii_case(name))
    }

    /// The page, made anew where a file that it is made of has changed.
    fn page(&self) -> anyhow::Result<Page> {
        let mut page = self.page.lock().unwrap_or_else(PoisonError::into_inner);
        let (made_of, state) = (stamps(self.run), Some(Status::read(self.run)?.state));
        if page.html.is_empty() || made_of != page.made_of || state != page.state {
            let html = run_report::page(&RunFiles::read(self.run)?)?.live().to_html()?;
            let tag = format!("\"{}\"", blake3::hash(html.as_bytes()).to_hex());
            *page = Page { made_of, state, html: html.into(), tag };
        }
        Ok(page.clone())
    }
}

/// The line and headers of a request, with the empty line after them and what came with it.
fn read_head(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let started = Instant::now();
    let (mut head, mut part) = (Vec::new(), [0; 1024]);
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        let left = PATIENCE.saturating_sub(started.elapsed());
        if head.len() > LONGEST_HEAD || left.is_zero() {
            return Err(io::ErrorKind::InvalidData.into());
        }
        stream.set_read_timeout(Some(left))?;
        match stream.read(&mut part)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            length => head.extend(&part[..length]),
        }
    }
    Ok(head)
}

/// Sizes and times of what a page is made of.
fn stamps(run: &Path) -> Vec<(u64, Option<SystemTime>)> {
    let names = [
        METRICS,
        "baseline/metrics.jsonl",
        "data.json",
        "origin.json",
        SUMMARY,
        "queries.json",
        ENVIRONMENT,
    ];
    let stamp = |name: &str| {
        let metadata = std::fs::metadata(run.join(name));
        metadata.map_or((0, None), |metadata| (metadata.len(), metadata.modified().ok()))
    };
    names.map(stamp).to_vec()
}
