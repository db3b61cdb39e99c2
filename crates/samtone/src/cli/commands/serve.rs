//! `samtone serve`.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use super::at_least_one;
use super::passages::PassageArgs;
use super::reading::{PrecisionChoice, SideChoice};
use crate::device::DeviceArgs;
use crate::encoding::BATCH_TOKENS;
use crate::output::Format;

#[cfg(feature = "serve")]
mod start;

/// Answer over HTTP: embeddings as OpenAI's and text-embeddings-inference's servers, searches, and a page
/// to try them.
///
/// The first line on stdout is the address. Ctrl-C and a termination signal end it when all that was
/// asked before is answered.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  samtone serve --model runs/faq
  samtone serve --model runs/faq --data faq --index vectors --port 8080
  samtone serve --model M --host 0.0.0.0 --allow-remote --token-file /etc/samtone/token")]
pub(crate) struct Args {
    /// The model: its folder, a run's, or its name in the Hugging Face cache.
    #[arg(long, value_name = "MODEL")]
    model: PathBuf,
    /// The documents to search: a folder in BEIR layout, or its `corpus.jsonl` alone, plain, `.gz` or
    /// `.zst`; without them there are embeddings alone.
    #[arg(long, value_name = "DATA")]
    data: Option<PathBuf>,
    #[command(flatten)]
    passages: PassageArgs,
    /// What the model is called in answers; as `--model` if absent.
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// What a text is where a request does not say it; must be said if absent and the model reads queries
    /// and documents differently.
    #[arg(long, value_enum, value_name = "SIDE")]
    input_type: Option<SideChoice>,
    /// The address to listen at.
    #[arg(long, value_name = "ADDRESS", default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    host: IpAddr,
    /// The port; 0: any that is free.
    #[arg(long, default_value_t = 8080)]
    port: u16,
    /// Listen at an address that other machines reach; wants a token.
    #[arg(long)]
    allow_remote: bool,
    /// A file with the token that who asks must send (`Authorization: Bearer TOKEN`); that of the
    /// environment's `SAMTONE_TOKEN` if absent.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Bytes of a request's body at most.
    #[arg(long, value_name = "BYTES", default_value_t = 4 << 20, value_parser = at_least_one)]
    max_body: usize,
    /// Texts of a request at most.
    #[arg(long, value_name = "TEXTS", default_value_t = 2048, value_parser = at_least_one)]
    max_texts: usize,
    /// Texts that wait or are being embedded at most; who asks for more is told to come again.
    #[arg(long, value_name = "TEXTS", default_value_t = 8192, value_parser = at_least_one)]
    max_queue: usize,
    /// Connections at most; more wait until one is closed.
    #[arg(long, value_name = "N", default_value_t = 1024, value_parser = at_least_one)]
    max_connections: usize,
    /// Seconds that requests have to end once the server is to end.
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    grace: u64,
    /// Compute at most this many tokens at once.
    #[arg(long, value_name = "TOKENS", default_value_t = BATCH_TOKENS, value_parser = at_least_one)]
    batch_tokens: usize,
    /// What the model's layers compute in: the halves are less exact, and faster where the device
    /// multiplies them faster.
    #[arg(long, value_enum, default_value_t)]
    precision: PrecisionChoice,
    #[command(flatten)]
    device: DeviceArgs,
}

#[cfg(feature = "serve")]
pub(crate) fn run(args: &Args, format: Format) -> anyhow::Result<()> {
    start::run(args, format)
}

#[cfg(not(feature = "serve"))]
pub(crate) fn run(_: &Args, _: Format) -> anyhow::Result<()> {
    let hint = "build with `--features serve`";
    Err(crate::error::Usage::new("this build of `samtone` has no server").with_hint(hint).into())
}
