//! The HTTP server: connections, routes, and who may ask.

use std::net::{SocketAddr, TcpListener};
use std::num::NonZero;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context;
use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, Method, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener as AsyncListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};
use tokio_io_timeout::TimeoutStream;

use super::metrics::TEXT;
use super::refusal::{Refusal, Shape};
use super::service::Service;
use super::{openai, page, search, tei};
use crate::error::Failure;
use crate::output::say;

/// How long the head of a request may take to come, a connection wait for the next one, and a client not
/// take anything of its answer.
const PATIENCE: Duration = Duration::from_secs(90);

/// How long after a signal the server begins to stop, at most.
const LOOK: Duration = Duration::from_millis(50);

/// Threads that speak HTTP; the model's own are as many as the machine has.
const THREADS: usize = 2;

/// An address that is listened at, though nobody is answered yet.
pub(crate) struct Listening {
    listener: TcpListener,
    pub(crate) address: SocketAddr,
}

impl Listening {
    /// # Errors
    /// If the address is not this machine's, or taken.
    pub(crate) fn at(address: SocketAddr) -> anyhow::Result<Self> {
        let listen = || {
            let listener = TcpListener::bind(address)?;
            listener.set_nonblocking(true)?;
            Ok((listener.local_addr()?, listener))
        };
        let (address, listener) = listen().map_err(|error: std::io::Error| {
            let hint = "`--port` takes another, `--port 0` any that is free; `--host` is to be an \
                        address of this machine";
            Failure::new(format!("cannot serve at {address}: {error}"), hint)
        })?;
        Ok(Self { listener, address })
    }

    /// Answers until `stop`, and then what was asked before.
    pub(super) fn serve(self, service: &Arc<Service>, stop: &AtomicBool) -> anyhow::Result<()> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(THREADS)
            // They make tokens and search, beside those that compute.
            .max_blocking_threads(std::thread::available_parallelism().map_or(1, NonZero::get))
            .thread_name("http")
            .enable_io()
            .enable_time()
            .build()
            .context("cannot start threads for HTTP")?;
        let served = runtime.block_on(self.accept(service, stop));
        // What is still asked has had its time.
        runtime.shutdown_background();
        served
    }

    async fn accept(self, service: &Arc<Service>, stop: &AtomicBool) -> anyhow::Result<()> {
        let listener = AsyncListener::from_std(self.listener).context("cannot listen")?;
        let routes = routes(service, self.address);
        let (room, open) =
            (Arc::new(Semaphore::new(service.limits.connections)), GracefulShutdown::new());
        while !stop.load(Ordering::Relaxed) {
            let Ok(accepted) = timeout(LOOK, next(&listener, &room)).await else { continue };
            match accepted {
                Ok((stream, permit)) => {
                    // Answers are sent at once, however short.
                    let _ = stream.set_nodelay(true);
                    let mut stream = TimeoutStream::new(stream);
                    stream.set_write_timeout(Some(PATIENCE));
                    let served = http1::Builder::new()
                        .timer(TokioTimer::new())
                        .header_read_timeout(PATIENCE)
                        .serve_connection(
                            TokioIo::new(Box::pin(stream)),
                            TowerToHyperService::new(routes.clone()),
                        );
                    let served = open.watch(served);
                    tokio::spawn(async move {
                        // A client that went away has no answer to miss.
                        let _ = served.await;
                        drop(permit);
                    });
                }
                // One that went away before it was accepted, or no file is left for it.
                Err(_) => sleep(LOOK).await,
            }
        }
        drop(listener);
        say("stopping: what was asked is still answered");
        if timeout(service.limits.grace, open.shutdown()).await.is_err() {
            let seconds = service.limits.grace.as_secs();
            say(format_args!("warning: after {seconds} s not all was answered"));
        }
        Ok(())
    }
}

/// The next connection that there is room for.
async fn next(
    listener: &AsyncListener,
    room: &Arc<Semaphore>,
) -> std::io::Result<(TcpStream, OwnedSemaphorePermit)> {
    let permit = Arc::clone(room).acquire_owned().await.map_err(std::io::Error::other)?;
    Ok((listener.accept().await?.0, permit))
}

/// What a handler is given.
type Served = State<Arc<Service>>;

fn routes(service: &Arc<Service>, address: SocketAddr) -> Router {
    let asked = Arc::new(Asked { service: Arc::clone(service), address });
    Router::new()
        .route("/", get(async || page::page()).post(tei::embed))
        .route(HEALTH, get("ok\n"))
        .route("/info", get(async |State(service): Served| tei::info(&service)))
        .route("/metrics", get(async |State(service): Served| metrics(&service)))
        .route("/v1/models", get(async |State(service): Served| openai::models(&service)))
        .route("/v1/embeddings", post(openai::embeddings))
        .route("/embed", post(tei::embed))
        .route("/search", post(search::search))
        .method_not_allowed_fallback(async || Refusal::wrong_method())
        .fallback(async || {
            Refusal::unknown("nothing is served here: see `/`, `/info` and docs/serve.md")
        })
        .with_state(Arc::clone(service))
        .layer(from_fn_with_state(asked, answer))
}

/// Where a load balancer asks whether this server answers.
const HEALTH: &str = "/health";

fn metrics(service: &Service) -> Result<Response, Refusal> {
    let text = service.metrics.text(service.queue.texts()).map_err(Refusal::failed)?;
    Ok(([(header::CONTENT_TYPE, HeaderValue::from_static(TEXT))], text).into_response())
}

/// What is asked, and where.
struct Asked {
    service: Arc<Service>,
    address: SocketAddr,
}

/// Every answer passes here: counted, a refusal in the shape of its protocol.
async fn answer(State(asked): State<Arc<Asked>>, request: Request<Body>, next: Next) -> Response {
    let start = Instant::now();
    let path = request.uri().path().to_owned();
    let mut response = match asked.admit(&request) {
        Ok(()) => next.run(request).await,
        Err(refusal) => refusal.into_response(),
    };
    if let Some(refusal) = response.extensions_mut().remove::<Refusal>() {
        response = refusal.response(Shape::at(&path));
    }
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    asked.service.metrics.answered(&path, response.status(), start.elapsed());
    response
}

impl Asked {
    /// Refuses who has not the token; where none is wanted, whom a browser sends under another name: a
    /// page of another server whose name was made to mean this machine.
    fn admit(&self, request: &Request<Body>) -> Result<(), Refusal> {
        let (headers, path) = (request.headers(), request.uri().path());
        // Of `/` the page alone.
        let is_open = path == HEALTH || path == "/" && request.method() != Method::POST;
        match &self.service.token {
            Some(_) if is_open => Ok(()),
            Some(token) => {
                let given = headers.get(header::AUTHORIZATION).map(HeaderValue::as_bytes);
                let given = given.and_then(|given| given.split_at_checked(BEARER.len()));
                match given {
                    Some((scheme, given))
                        if scheme.eq_ignore_ascii_case(BEARER) && token.is(given) =>
                    {
                        Ok(())
                    }
                    _ => Err(Refusal::wrong_token()),
                }
            }
            None => {
                let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
                match host {
                    Some(host) if self.is_own(host) => Ok(()),
                    _ => Err(Refusal::wrong_host()),
                }
            }
        }
    }

    fn is_own(&self, host: &str) -> bool {
        let (name, port) = match host.rsplit_once(':') {
            Some((name, port)) if !port.ends_with(']') => (name, port),
            _ => (host, "80"),
        };
        let ip = self.address.ip();
        let names = [ip.to_string(), format!("[{ip}]"), "localhost".into()];
        port == self.address.port().to_string()
            && names.iter().any(|own| own.eq_ignore_ascii_case(name))
    }
}

const BEARER: &[u8] = b"Bearer ";
