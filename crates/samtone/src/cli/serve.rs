//! A model, and perhaps an index, over HTTP.
//!
//! Requests become token rows, which wait in a queue ([`queue`]); the thread that owns the model takes
//! from it as many tokens as it computes at once ([`encoder`]), whosever they are. What speaks HTTP
//! ([`http`]) knows of the model a small trait alone, so that nothing of it is compiled for a backend.

mod bodies;
mod encoder;
mod http;
mod metrics;
mod openai;
mod page;
mod queue;
mod refusal;
mod search;
mod service;
mod tei;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use encoder::Encode;
pub(crate) use encoder::Reader;
pub(crate) use http::Listening;
pub(crate) use service::{Limits, Model, Service, Token};

/// Answers who asks at `listening` until `stop`, computing on this thread with `encode`. Returns when
/// all that was asked before is answered, or the time for it is up.
///
/// # Errors
/// If there are no threads for it, or the model does not compute any more.
pub(crate) fn run(
    service: Service,
    listening: Listening,
    stop: Arc<AtomicBool>,
    encode: &Encode<'_>,
) -> anyhow::Result<()> {
    let service = Arc::new(service);
    let web = {
        let (service, stop) = (Arc::clone(&service), Arc::clone(&stop));
        let serve = move || {
            let _closing = Closing(Arc::clone(&service));
            listening.serve(&service, &stop)
        };
        thread::Builder::new().name("http".into()).spawn(serve)?
    };
    let worked =
        encoder::work(&service.queue, &service.metrics, service.limits.batch_tokens, encode);
    if worked.is_err() {
        // Nobody would be answered: whoever watches over the process starts it again.
        service.queue.abandon();
        stop.store(true, Ordering::Relaxed);
    }
    let served = web.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    worked?;
    served
}

/// Closes the queue at last, whatever becomes of the thread, so that the one that computes ends too.
struct Closing(Arc<Service>);

impl Drop for Closing {
    fn drop(&mut self) {
        self.0.queue.close();
    }
}
