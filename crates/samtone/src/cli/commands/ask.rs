//! `samtone ask`.

mod answer;
mod sentence;

use std::io::{BufRead, IsTerminal, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use burn::tensor::backend::{AutodiffBackend, Backend};
use samtone_data::reading::{find_corpus, for_each_document};
use samtone_data::{DataError, Document};
use samtone_model::{Retriever, Side};
use samtone_train::run::similarity_of;

use self::answer::{Answer, Corpus, Reranking};
use super::at_least_one;
use super::reading::{PrecisionChoice, TextChoice, document_text, model_folder};
use super::rerank::RerankArgs;
use crate::device::{DeviceArgs, OnBackend};
use crate::embeddings::{Embeddings, joined};
use crate::encoding::{BATCH_TOKENS, Input, Job, Shape, check_place, fingerprint};
use crate::error::{Failure, Usage};
use crate::index::Index;
use crate::output::{Format, say};
use crate::shard::Shard;

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
    /// The documents' embeddings: a folder as `samtone encode` writes it, or that of its parts, or each
    /// of them; made and kept if absent.
    #[arg(long, value_name = "FOLDER", conflicts_with_all = ["cache", "document_text"])]
    documents: Vec<PathBuf>,
    /// The documents' embeddings: a folder that `samtone index` made an index.
    #[arg(
        long,
        value_name = "FOLDER",
        conflicts_with_all = ["documents", "cache", "document_text"]
    )]
    index: Option<PathBuf>,
    /// Ask the index's graph, of which N documents or more are scored, or as many as are shown: the more,
    /// the fewer are missed.
    #[arg(long, value_name = "N", value_parser = at_least_one, requires = "index")]
    ef: Option<usize>,
    /// Where embeddings are kept; `.samtone` beside the documents if absent.
    #[arg(long, value_name = "FOLDER")]
    cache: Option<PathBuf>,
    /// What of a document the model reads; what the model's folder says, or `title-text`, if absent.
    #[arg(long, value_enum)]
    document_text: Option<TextChoice>,
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
        let file = if args.data.is_dir() { find_corpus(&args.data)? } else { args.data.clone() };
        let documents = read_documents(&file)?;
        let exact = |documents| {
            let similarity = similarity_of(&retriever);
            Index { documents, similarity, graph: None }
        };
        let index = match (&args.index, &args.documents[..]) {
            (Some(folder), _) => Index::open(folder, args.ef)?,
            (None, []) => exact(kept(args, &model, &retriever, &file)?),
            (None, folders) => exact(Embeddings::open(folders)?),
        };
        let embeddings = &index.documents;
        let folders = args.index.as_ref().map_or(&args.documents[..], std::slice::from_ref);
        if !folders.is_empty() {
            check(embeddings, &joined(folders), &model, &file)?;
        }
        let text = embeddings.origin.as_ref().and_then(|origin| origin.document_text);
        let reranking = reranker.map(|reranker| Reranking {
            reranker,
            text: text.unwrap_or_else(|| document_text(args.document_text, &retriever)),
        });
        let corpus = Corpus::new(&retriever, documents, index, reranking)?;
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

fn read_documents(file: &Path) -> Result<Vec<Document>, DataError> {
    let mut documents = Vec::new();
    for_each_document(file, |line, _| {
        documents.push(line.into_document());
        Ok(())
    })?;
    Ok(documents)
}

/// Refuses embeddings, of `folders`, that are another model's or of other documents.
fn check(embeddings: &Embeddings, folders: &str, model: &Path, file: &Path) -> anyhow::Result<()> {
    let Some(origin) = &embeddings.origin else { return Ok(()) };
    let refuse = |what: &str| {
        let hint =
            "encode the documents again, or let `ask` do it without `--documents` or `--index`";
        Err(Failure::new(format!("{folders} was encoded {what}"), hint).into())
    };
    if origin.model != fingerprint(model)? {
        return refuse("with another model");
    }
    if let (Some(inputs), Some(text)) = (embeddings.inputs(), origin.document_text)
        && !Input::whole(file, Side::Document, text).is(&inputs)?
    {
        return refuse("from other texts");
    }
    Ok(())
}

/// The embeddings of the documents in `file`, made if they are not there yet.
fn kept<B: Backend>(
    args: &Args,
    model: &Path,
    retriever: &Retriever<B>,
    file: &Path,
) -> anyhow::Result<Embeddings> {
    let text = document_text(args.document_text, retriever);
    let job = Job {
        model,
        input: Input::whole(file, Side::Document, text),
        shard: Shard::WHOLE,
        files: Vec::new(),
        batch_tokens: BATCH_TOKENS,
        backend: args.device.backend,
        precision: args.precision.into(),
        shape: Shape::default(),
    };
    let content = job.input.scan()?;
    let plan = job.plan(retriever, &content)?;
    let beside = || file.with_file_name(".samtone");
    let folder = args.cache.clone().unwrap_or_else(beside).join(plan.key()?);
    if Embeddings::file_in(&folder).is_none() {
        let texts = content.texts;
        say(format_args!("embedding {texts} documents once, into `{}`", folder.display()));
        check_place(&folder).map_err(|error| {
            let hint = "`--cache` names another folder to keep embeddings in";
            Failure::new(format!("{error:#}"), hint)
        })?;
        let encoded = job.run(retriever, &content, plan, &folder)?;
        say(format_args!("done in {:.1} s", encoded.seconds));
    }
    Embeddings::open(&[folder])
}
