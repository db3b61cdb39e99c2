//! `samtone ask`.

mod answer;
mod sentence;

use std::io::{BufRead, IsTerminal, Write};
use std::path::PathBuf;

use anyhow::Context;
use burn::tensor::backend::AutodiffBackend;

use self::answer::{Answer, Corpus};
use super::at_least_one;
use super::passages::{Embedder, PassageArgs};
use super::reading::{PrecisionChoice, model_folder};
use super::rerank::RerankArgs;
use crate::device::{DeviceArgs, OnBackend};
use crate::error::Usage;
use crate::output::{Format, say};

/// Ask a question and read the passages that answer it best; without one, a prompt that asks again.
///
/// The documents are embedded the first time, go on after an interruption, and are kept: under the
/// hashes of the model, the texts and every setting, so that what is kept is never stale.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  samtone ask --model runs/faq --data faq \"how is cystic fibrosis treated\"
  samtone ask --model runs/faq --data faq --format json < questions.txt
  samtone ask --model runs/faq --data faq --rerank ms-marco-MiniLM-L6-v2 --rerank-top 20")]
pub(crate) struct Args {
    /// The question; without it every line of stdin is one.
    #[arg(value_name = "QUESTION")]
    question: Option<String>,
    /// The model: its folder, a run's, or its name in the Hugging Face cache.
    #[arg(long, value_name = "MODEL")]
    model: PathBuf,
    /// The documents: a folder in BEIR layout, or its `corpus.jsonl` alone, plain, `.gz` or `.zst`.
    #[arg(long, value_name = "DATA")]
    data: PathBuf,
    /// How many passages to show.
    #[arg(short, long, default_value_t = 5, value_name = "K", value_parser = at_least_one)]
    k: usize,
    #[command(flatten)]
    passages: PassageArgs,
    #[command(flatten)]
    rerank: RerankArgs,
    /// What the model's layers compute in: the halves are less exact, and faster where the device
    /// multiplies them faster.
    #[arg(long, value_enum, default_value_t)]
    precision: PrecisionChoice,
    #[command(flatten)]
    device: DeviceArgs,
}

pub(crate) fn run(args: &Args, format: Format) -> anyhow::Result<()> {
    if args.question.as_ref().is_some_and(|question| question.trim().is_empty()) {
        return Err(Usage::new("the question is empty").into());
    }
    args.device.backend.run(Ask { args, format })?
}

struct Ask<'a> {
    args: &'a Args,
    format: Format,
}

impl OnBackend for Ask<'_> {
    type Output = anyhow::Result<()>;

    fn run<B: AutodiffBackend>(self, device: &B::Device) -> Self::Output {
        let Self { args, format } = self;
        let open = || {
            let model = model_folder(&args.model)?;
            let retriever = args.precision.open::<B::InnerBackend>(&model, device)?;
            anyhow::Ok((model, retriever))
        };
        let (model, retriever) =
            open().with_context(|| format!("cannot ask `{}`", args.model.display()))?;
        let reranker = args.rerank.open::<B::InnerBackend>(device)?;
        let embedder = Embedder {
            retriever: &retriever,
            model: &model,
            backend: args.device.backend,
            precision: args.precision.into(),
        };
        let passages = args.passages.open(&args.data, &embedder, false)?;
        let corpus = Corpus { retriever: &retriever, passages, reranker };
        let answer = |question: &str| {
            let answer = corpus.answer(question, args.k)?;
            format.print(&answer, Answer::text)
        };
        match &args.question {
            Some(question) => answer(question),
            None => each_question(answer),
        }
    }
}

/// Answers the lines of stdin until it ends; who types them sees a prompt.
fn each_question(mut answer: impl FnMut(&str) -> anyhow::Result<()>) -> anyhow::Result<()> {
    let stdin = std::io::stdin();
    let prompts = stdin.is_terminal();
    let mut line = String::new();
    loop {
        if prompts {
            let mut out = std::io::stderr().lock();
            let _ = out.write_all(b"? ").and_then(|()| out.flush());
        }
        line.clear();
        if stdin.lock().read_line(&mut line).context("cannot read a question from stdin")? == 0 {
            break;
        }
        let question = line.trim();
        if !question.is_empty() {
            answer(question)?;
        }
    }
    if prompts {
        say("");
    }
    Ok(())
}
