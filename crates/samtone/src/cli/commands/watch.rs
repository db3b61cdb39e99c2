//! `samtone watch`.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::anyhow;
use samtone_train::run::{State, Status};
use tiny_http::{Header, Method, Request, Response, Server};

use crate::error::Failure;
use crate::output::{Format, say};
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
    let server = Server::http(address).map_err(|error| {
        Failure::new(
            format!("cannot serve at {address}: {error}"),
            "`--port` takes another; without it any that is free is taken",
        )
    })?;
    let address =
        server.server_addr().to_ip().ok_or_else(|| anyhow!("the server has no address"))?;
    let served = Served { run: &args.run, url: format!("http://{address}/") };
    format
        .print(&served, |served| format!("{} is shown at {}", served.run.display(), served.url))?;
    let mut page = Page::default();
    for request in server.incoming_requests() {
        let answered = page.answer(request, address, &args.run);
        if let Err(error) = answered {
            say(format_args!("a browser went away: {error}"));
        }
    }
    Ok(())
}

/// The page as it was made last.
#[derive(Default)]
struct Page {
    made_of: Vec<(u64, Option<SystemTime>)>,
    state: Option<State>,
    html: String,
    tag: String,
}

impl Page {
    fn answer(&mut self, request: Request, address: SocketAddr, run: &Path) -> std::io::Result<()> {
        if !is_own(&request, address) {
            return request.respond(Response::empty(403));
        }
        if *request.method() != Method::Get || request.url() != "/" {
            return request.respond(Response::empty(404));
        }
        if let Err(error) = self.renew(run) {
            let text = format!("the run cannot be shown: {error:#}");
            return request.respond(Response::from_string(text).with_status_code(500));
        }
        let known = header(&request, "If-None-Match");
        if known.is_some_and(|known| known == self.tag) {
            return request.respond(Response::empty(304));
        }
        let response = Response::from_string(&self.html)
            .with_header(line("Content-Type", "text/html; charset=utf-8"))
            .with_header(line("Cache-Control", "no-store"))
            .with_header(line("ETag", &self.tag));
        request.respond(response)
    }

    /// Makes the page anew where a file that it is made of has changed.
    fn renew(&mut self, run: &Path) -> anyhow::Result<()> {
        let (made_of, state) = (stamps(run), Some(Status::read(run)?.state));
        if self.html.is_empty() || made_of != self.made_of || state != self.state {
            self.html = run_report::page(&RunFiles::read(run)?)?.live().to_html()?;
            self.tag = format!("\"{}\"", blake3::hash(self.html.as_bytes()).to_hex());
            (self.made_of, self.state) = (made_of, state);
        }
        Ok(())
    }
}

/// Whether the request comes from a page of this server or from the reader: a page of another server
/// whose name was made to mean this machine names that one as host.
fn is_own(request: &Request, address: SocketAddr) -> bool {
    let own = [address.to_string(), format!("localhost:{}", address.port())];
    header(request, "Host").is_some_and(|host| own.contains(&host))
}

fn header(request: &Request, name: &'static str) -> Option<String> {
    let found = request.headers().iter().find(|header| header.field.equiv(name))?;
    Some(found.value.as_str().to_owned())
}

fn line(name: &str, value: &str) -> Header {
    Header::from_bytes(name, value).expect("the headers are plain ASCII")
}

/// Sizes and times of what a page is made of.
fn stamps(run: &Path) -> Vec<(u64, Option<SystemTime>)> {
    let names = [
        "metrics.jsonl",
        "baseline/metrics.jsonl",
        "data.json",
        "origin.json",
        "summary.json",
        "queries.json",
        "environment.json",
    ];
    let stamp = |name: &str| {
        let metadata = std::fs::metadata(run.join(name));
        metadata.map_or((0, None), |metadata| (metadata.len(), metadata.modified().ok()))
    };
    names.map(stamp).to_vec()
}
