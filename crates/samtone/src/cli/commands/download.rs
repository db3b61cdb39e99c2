//! `samtone download`, the one command that goes to the network.

use indicatif::DecimalBytes;
use samtone_hub::{Download, DownloadEvent, HubCache, HubClient, ModelName};
use serde::Serialize;

use crate::output::{Format, say};
use crate::progress::{Progress, time};

/// Fetch a model of the Hugging Face hub into this machine's cache, where its name finds it.
///
/// Every `--model` and `model.path` takes the name then, as in `--model intfloat/e5-small-v2`, and so do
/// the libraries of Hugging Face, whose cache it is: HF_HUB_CACHE, else HF_HOME/hub, else
/// ~/.cache/huggingface/hub. What a retriever is read from is fetched, nothing else. What is there
/// already is not fetched again, and what broke off goes on.
///
/// A private or gated model wants a token: HF_TOKEN, or that of `hf auth login`. HF_ENDPOINT names
/// another hub, HTTPS_PROXY a proxy, HF_HUB_OFFLINE=1 forbids it all.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  samtone download sentence-transformers/all-MiniLM-L6-v2
  samtone download intfloat/e5-small-v2@main")]
pub(crate) struct Args {
    /// The model: `organisation/name`, and behind an `@` a branch, a tag or a commit; `main` if absent.
    #[arg(value_name = "NAME")]
    name: ModelName,
}

/// What `--format json` prints.
#[derive(Serialize)]
struct Result {
    name: String,
    commit: String,
    /// With the commit: what finds this state of the model whatever becomes of its name.
    pinned: String,
    folder: std::path::PathBuf,
    files: usize,
    bytes: u64,
    /// Bytes that were not there before.
    fetched: u64,
}

pub(crate) fn run(args: &Args, format: Format) -> anyhow::Result<()> {
    let (client, cache) = (HubClient::of_machine()?, HubCache::of_machine()?);
    let progress = Progress::bytes("bytes");
    let downloaded = client.download(&cache, &args.name, &mut |event| show(event, &progress));
    progress.finish_and_clear();
    let Download { snapshot, files, bytes, fetched } = downloaded?;
    let result = Result {
        name: args.name.to_string(),
        pinned: snapshot.pinned().to_string(),
        commit: snapshot.commit,
        folder: snapshot.folder,
        files,
        bytes,
        fetched,
    };
    format.print(&result, |result| {
        format!(
            "{} files, {} ({} fetched): `{}`\nnext: --model {} (or {}, which stays this commit)",
            result.files,
            DecimalBytes(result.bytes),
            DecimalBytes(result.fetched),
            result.folder.display(),
            result.name,
            result.pinned
        )
    })
}

fn show(event: DownloadEvent<'_>, progress: &Progress) {
    match event {
        DownloadEvent::Begun { commit, files, bytes, there } => {
            let (all, left) = (DecimalBytes(bytes), DecimalBytes(bytes - there));
            say(format_args!("commit {commit}: {files} files of {all}, {left} to fetch"));
            progress.set_length(bytes);
            progress.begin_at(there);
        }
        DownloadEvent::File { file, .. } => progress.set_message(file),
        DownloadEvent::At { bytes } => drop(progress.set_position(bytes)),
        DownloadEvent::Retry { why, pause } => {
            let cause = std::error::Error::source(why).map(|cause| format!(" ({cause})"));
            let (cause, pause) = (cause.unwrap_or_default(), time(pause.as_secs_f64()));
            progress.say(&format!("{why}{cause}: again in {pause}"));
        }
        _ => {}
    }
}
