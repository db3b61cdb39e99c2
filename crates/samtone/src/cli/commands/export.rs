//! `samtone export`.

use std::path::PathBuf;

use anyhow::{Context, ensure};
use burn::tensor::backend::{AutodiffBackend, Backend};
use samtone_model::{Retriever, Side, Similarity};
use samtone_text::DocumentText;
use serde::Serialize;

use super::reading::model_folder;
use crate::device::{DeviceArgs, OnBackend};
use crate::error::Usage;
use crate::output::Format;

/// Texts embedded before and after: short and long, plain and odd.
const PROBES: [&str; 6] = [
    "water",
    "Which river runs through the old town?",
    "The well behind the mill has been dry since the summer before last.",
    "ÆØÅ naïve façade 東京 — 42 % of €3.50!",
    "a a a a a a a a",
    "It was the longest of the days they had spent on the road, and nobody spoke of the house they \
     had left, nor of the one they hoped to find; they counted the milestones, shared the bread, \
     and listened to the wheels until the light was gone.",
];

/// Write a model folder that sentence-transformers opens, and check it by embedding texts with it.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  samtone export --model runs/first/model --out for-python
  samtone export --model runs/first/model --layout router --out for-python
  samtone export --model runs/adapted --merge --out for-everyone")]
pub(crate) struct Args {
    /// The model: its folder, a run's, or its name in the Hugging Face cache.
    #[arg(long, value_name = "MODEL")]
    model: PathBuf,
    /// The folder to write.
    #[arg(long, value_name = "FOLDER")]
    out: PathBuf,
    /// How two towers are laid out.
    #[arg(long, value_enum, default_value_t)]
    layout: Layout,
    /// Put adapters into the weights that they are on: a model like any other.
    #[arg(long)]
    merge: bool,
    #[command(flatten)]
    device: DeviceArgs,
}

/// `--layout`.
#[derive(Clone, Copy, Debug, Default, clap::ValueEnum)]
enum Layout {
    /// One folder a tower, which every reader opens.
    #[default]
    Towers,
    /// One folder with a `Router`, which sentence-transformers alone opens.
    Router,
}

/// What `--format json` prints.
#[derive(Serialize)]
struct Result {
    out: PathBuf,
    dim: usize,
    parameters: usize,
    /// The largest difference of an element of the probe texts' embeddings.
    largest_difference: f32,
    texts: usize,
}

pub(crate) fn run(args: &Args, format: Format) -> anyhow::Result<()> {
    if args.out.exists() {
        let message = format!("`{}` exists already", args.out.display());
        return Err(Usage::new(message).with_hint("give another `--out`").into());
    }
    samtone_files::prepare_file(&args.out)
        .with_context(|| format!("cannot write `{}`", args.out.display()))?;
    let result = args.device.backend.run(Export(args))??;
    format.print(&result, |result| {
        format!(
            "{} parameters, {} dimensions: `{}`\n{} texts embedded through it differ by at most {:e}",
            result.parameters,
            result.dim,
            result.out.display(),
            result.texts,
            result.largest_difference
        )
    })
}

struct Export<'a>(&'a Args);

impl OnBackend for Export<'_> {
    type Output = anyhow::Result<Result>;

    fn run<B: AutodiffBackend>(self, device: &B::Device) -> Self::Output {
        export::<B::InnerBackend>(self.0, device)
    }
}

/// How far a folder's embeddings may be from the model's, as a share of the greatest number: a merged
/// weight is rounded once more, in f32, and nothing else is computed otherwise.
const TOLERANCE: f32 = 1e-3;

/// The model card in a folder.
const CARD: &str = "README.md";

/// How a model reads texts and compares embeddings.
#[derive(Debug, PartialEq)]
struct Reading {
    prompts: [String; 2],
    include_prompt: bool,
    max_tokens: [usize; 2],
    document_text: Option<DocumentText>,
    similarity: Similarity,
}

impl Reading {
    fn of<B: Backend>(retriever: &Retriever<B>) -> Self {
        Self {
            prompts: Side::ALL.map(|side| retriever.prompt(side).to_owned()),
            include_prompt: retriever.include_prompt(),
            max_tokens: Side::ALL.map(|side| retriever.max_tokens(side)),
            document_text: retriever.document_text,
            similarity: retriever.similarity,
        }
    }
}

fn export<B: Backend>(args: &Args, device: &B::Device) -> anyhow::Result<Result> {
    let open = || {
        let model = model_folder(&args.model)?;
        let retriever = Retriever::<B>::open(&model, device)?;
        let merged = args.merge.then(|| retriever.clone().merged(device)).transpose()?;
        anyhow::Ok((model, retriever, merged))
    };
    let (model, retriever, merged) =
        open().with_context(|| format!("cannot export `{}`", args.model.display()))?;
    let exported = merged.as_ref().unwrap_or(&retriever);
    let write = || {
        match args.layout {
            Layout::Towers => exported.save(&args.out)?,
            // The model's card says how to load its towers, which a router is not.
            Layout::Router => return Ok(exported.save_router(&args.out)?),
        }
        let card = model.join(CARD);
        if card.is_file() {
            std::fs::copy(card, args.out.join(CARD))?;
        }
        anyhow::Ok(())
    };
    write().with_context(|| format!("cannot write `{}`", args.out.display()))?;
    let written = Retriever::<B>::open(&args.out, device).context("what was written is broken")?;
    let mut largest_difference = 0.0_f32;
    let (before, after) = (Reading::of(&retriever), Reading::of(&written));
    ensure!(before == after, "what was written reads otherwise: {after:?}, not {before:?}");
    for side in Side::ALL {
        let before = retriever.encode_texts(side, &PROBES)?;
        let after = written.encode_texts(side, &PROBES)?;
        let greatest = before.iter().fold(0.0_f32, |greatest, x| greatest.max(x.abs()));
        for difference in before.iter().zip(&after).map(|(a, b)| (a - b).abs()) {
            ensure!(
                difference <= TOLERANCE * greatest,
                "what was written embeds otherwise: {difference} apart, of numbers up to {greatest}"
            );
            largest_difference = largest_difference.max(difference);
        }
    }
    Ok(Result {
        out: args.out.clone(),
        dim: retriever.dim(),
        parameters: exported.model.num_parameters(),
        largest_difference,
        texts: PROBES.len() * Side::ALL.len(),
    })
}
