//! From arguments to a server.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use burn::tensor::backend::{AutodiffBackend, Backend};
use samtone_model::{Retriever, Side};
use samtone_train::run::similarity_of;
use serde::Serialize;

use super::Args;
use crate::commands::passages::{Embedder, Passages};
use crate::commands::reading::model_folder;
use crate::device::OnBackend;
use crate::error::Usage;
use crate::output::Format;
use crate::runner::stop_on_signals;
use crate::serve::{self, Limits, Listening, Model, Reader, Service, Token};

/// Characters of a token at least.
const SHORTEST: usize = 16;

/// The token's variable.
const VARIABLE: &str = "SAMTONE_TOKEN";

/// What `--format json` prints.
#[derive(Serialize)]
struct Served<'a> {
    url: String,
    model: &'a str,
    documents: Option<usize>,
}

pub(super) fn run(args: &Args, format: Format) -> anyhow::Result<()> {
    let token = token(args)?;
    let is_secured = args.allow_remote && token.is_some();
    if !args.host.is_loopback() && !is_secured {
        let message = format!("`{}` is reached from other machines", args.host);
        let hint = format!(
            "`--allow-remote` with a token of `--token-file` or `{VARIABLE}` listens there; without \
             them only this machine is served"
        );
        return Err(Usage::new(message).with_hint(hint).into());
    }
    if args.max_texts > args.max_queue {
        let message = format!(
            "a request may have {} texts, but {} at most may wait",
            args.max_texts, args.max_queue
        );
        let hint = "raise `--max-queue`, or lower `--max-texts`";
        return Err(Usage::new(message).with_hint(hint).into());
    }
    // That the address is taken is said before the model is read.
    let listening = Listening::at(SocketAddr::new(args.host, args.port))?;
    args.device.backend.run(Serve { args, format, token, listening })?
}

/// The token that who asks must send, if there is one.
fn token(args: &Args) -> anyhow::Result<Option<String>> {
    let (token, place) = match &args.token_file {
        Some(path) => {
            let place = format!("`{}`", path.display());
            let read = std::fs::read_to_string(path);
            (read.with_context(|| format!("cannot read the token in {place}"))?, place)
        }
        None => match std::env::var(VARIABLE) {
            Ok(token) => (token, format!("`{VARIABLE}`")),
            Err(_) => return Ok(None),
        },
    };
    let token = token.trim();
    if token.len() < SHORTEST || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        let message = format!("the token in {place} is not {SHORTEST} letters or digits, or more");
        let hint = "`openssl rand -hex 32` makes one";
        return Err(Usage::new(message).with_hint(hint).into());
    }
    Ok(Some(token.to_owned()))
}

struct Serve<'a> {
    args: &'a Args,
    format: Format,
    token: Option<String>,
    listening: Listening,
}

impl OnBackend for Serve<'_> {
    type Output = anyhow::Result<()>;

    fn run<B: AutodiffBackend>(self, device: &B::Device) -> Self::Output {
        let Self { args, format, token, listening } = self;
        let open = || {
            let model = model_folder(&args.model)?;
            let retriever = args.precision.open::<B::InnerBackend>(&model, device)?;
            anyhow::Ok((model, Arc::new(retriever)))
        };
        let (folder, retriever) =
            open().with_context(|| format!("cannot serve `{}`", args.model.display()))?;
        let embedder = Embedder {
            retriever: &*retriever,
            model: &folder,
            backend: args.device.backend,
            precision: args.precision.into(),
        };
        let passages = args.data.as_deref();
        let passages =
            passages.map(|data| args.passages.open(data, &embedder, true)).transpose()?;
        let reader: Arc<dyn Reader> = Arc::<Retriever<B::InnerBackend>>::clone(&retriever);
        let alike = reads_alike(&retriever).then_some(Side::Document);
        let name = args.name.clone();
        let model = Model {
            name: name.unwrap_or_else(|| args.model.display().to_string()),
            dim: retriever.dim(),
            similarity: similarity_of(&retriever),
            normalizes: retriever.model.config().normalize,
            max_tokens: Side::ALL.map(|side| retriever.max_tokens(side)),
            side: args.input_type.map(Into::into).or(alike),
            reader,
        };
        let limits = Limits {
            body: args.max_body,
            texts: args.max_texts,
            queue: args.max_queue,
            connections: args.max_connections,
            batch_tokens: args.batch_tokens,
            grace: Duration::from_secs(args.grace),
        };
        let documents = passages.as_ref().map(Passages::count);
        let served = Served {
            url: format!("http://{}", listening.address),
            model: &model.name.clone(),
            documents,
        };
        let service = Service::new(model, passages, limits, token.as_deref().map(Token::new));
        let stop = stop_on_signals()?;
        format.print(&served, |served| served.url.clone())?;
        let batch_tokens = args.batch_tokens;
        let encode = |side, rows: &[Vec<u32>]| retriever.encode_tokens(side, rows, batch_tokens);
        serve::run(service, listening, stop, &encode)
    }
}

/// Whether a text has one embedding, be it a query or a document.
fn reads_alike<B: Backend>(retriever: &Retriever<B>) -> bool {
    let [query, document] =
        Side::ALL.map(|side| (retriever.prompt(side), retriever.max_tokens(side)));
    retriever.model.config().sharing.is_siamese() && query == document
}
