//! `samtone encode`.

mod input;
mod writer;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Instant;

use anyhow::Context;
use burn::tensor::backend::{AutodiffBackend, Backend};
use indicatif::ProgressBar;
use input::{Content, Input};
use samtone_eval::EvalError;
use samtone_model::{Retriever, Side};
use samtone_train::run::similarity_of;
use serde::Serialize;
use writer::{Plan, Writer, check_place};

use super::reading::{TextChoice, document_text, plural};
use crate::device::{DeviceArgs, OnBackend};
use crate::output::{Format, progress, warn};

/// Texts held at once: enough to sort by length to good effect, and all that memory must hold.
const WINDOW: usize = 4096;

/// Embed queries or documents into a folder that `samtone search` reads.
///
/// A corpus of any size streams by in bounded memory. Called again after an interruption, it goes on
/// where it was. The rows are in the input's order.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  samtone encode --model runs/first/model --input data/faq/corpus.jsonl --side document --out faq
  samtone encode --model runs/first/model --input questions.jsonl --side query --out asked")]
pub(crate) struct Args {
    /// The model: its folder.
    #[arg(long, value_name = "FOLDER")]
    model: PathBuf,
    /// The texts: `queries.jsonl` or `corpus.jsonl` of a BEIR folder, plain, `.gz` or `.zst`.
    #[arg(long, value_name = "FILE")]
    input: PathBuf,
    /// Which tower embeds them.
    #[arg(long, value_enum)]
    side: SideChoice,
    /// What of a document the model reads; what the model's folder says, or `title-text`, if absent.
    #[arg(long, value_enum)]
    document_text: Option<TextChoice>,
    /// The folder to write.
    #[arg(long, value_name = "FOLDER")]
    out: PathBuf,
    /// Embed only the I-th of N parts of the input, each a run of consecutive texts.
    #[arg(long, value_name = "I/N", default_value = "1/1")]
    shard: Shard,
    /// Cut texts to this many tokens, instead of the model's own number.
    #[arg(long, value_name = "TOKENS")]
    max_tokens: Option<usize>,
    /// Compute at most this many tokens at once.
    #[arg(long, value_name = "TOKENS", default_value_t = 4096)]
    batch_tokens: usize,
    #[command(flatten)]
    device: DeviceArgs,
}

/// `--side`.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum SideChoice {
    /// Texts are queries.
    Query,
    /// Texts are documents.
    Document,
}

/// `--shard`: one of several parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Shard {
    /// From 1.
    part: usize,
    parts: usize,
}

impl Shard {
    /// The texts of this part, of `total`.
    fn range(self, total: usize) -> std::ops::Range<usize> {
        let start = |part: usize| (part as u128 * total as u128 / self.parts as u128) as usize;
        start(self.part - 1)..start(self.part)
    }
}

impl FromStr for Shard {
    type Err = &'static str;

    fn from_str(s: &str) -> std::result::Result<Self, Self::Err> {
        let parsed = s.split_once('/').and_then(|(part, parts)| {
            let shard = Self { part: part.parse().ok()?, parts: parts.parse().ok()? };
            (1..=shard.parts).contains(&shard.part).then_some(shard)
        });
        parsed.ok_or("expected I/N with 1 <= I <= N")
    }
}

impl std::fmt::Display for Shard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.part, self.parts)
    }
}

/// What `--format json` prints.
#[derive(Serialize)]
struct Result {
    texts: usize,
    tokens: usize,
    dim: usize,
    /// Texts that an interrupted call had embedded before.
    resumed: usize,
    seconds: f64,
    texts_per_second: f64,
    tokens_per_second: f64,
    out: PathBuf,
}

impl From<SideChoice> for Side {
    fn from(choice: SideChoice) -> Self {
        match choice {
            SideChoice::Query => Self::Query,
            SideChoice::Document => Self::Document,
        }
    }
}

pub(crate) fn run(args: &Args, format: Format) -> anyhow::Result<()> {
    check_place(&args.out)?;
    let result = args.device.backend.run(Encode(args))??;
    format.print(&result, |result| {
        let resumed = match result.resumed {
            0 => String::new(),
            n => format!(" ({n} of them before)"),
        };
        format!(
            "{} texts{resumed} as embeddings of {} dimensions in {:.1} s, {:.0} texts/s, {:.0} tokens/s: `{}`",
            result.texts,
            result.dim,
            result.seconds,
            result.texts_per_second,
            result.tokens_per_second,
            result.out.display()
        )
    })
}

struct Encode<'a>(&'a Args);

impl OnBackend for Encode<'_> {
    type Output = anyhow::Result<Result>;

    fn run<B: AutodiffBackend>(self, device: &B::Device) -> Self::Output {
        encode::<B::InnerBackend>(self.0, device)
    }
}

fn encode<B: Backend>(args: &Args, device: &B::Device) -> anyhow::Result<Result> {
    let side = args.side.into();
    let mut retriever = Retriever::<B>::open(&args.model, device)
        .with_context(|| format!("cannot encode with `{}`", args.model.display()))?;
    if let Some(max_tokens) = args.max_tokens {
        retriever.set_max_tokens(side, max_tokens)?;
    }
    let input =
        Input { path: &args.input, side, text: document_text(args.document_text, &retriever) };
    let content = input.scan()?;
    if let Some(id) = &content.unwritable {
        let error = EvalError::UnwritableId { id: id.clone() };
        let hint = error.hint().unwrap_or_default();
        warn(format_args!("{error}, so `samtone search` will not write a run: {hint}"));
    }
    let shard = args.shard.range(content.texts);
    let plan = plan(args, &retriever, &input, content, shard.len())?;
    let writer = Writer::open(&args.out, plan, WINDOW)?;
    let resumed = writer.done();
    let bar = progress(shard.len() as u64, plural(side));
    bar.set_position(resumed as u64);
    bar.reset_eta();

    let (start, batch_tokens) = (Instant::now(), args.batch_tokens);
    let (tokens, ids, texts) = (0, Vec::new(), Vec::new());
    let mut window = Window {
        retriever: &retriever,
        side,
        batch_tokens,
        writer,
        bar,
        start,
        tokens,
        ids,
        texts,
    };
    let mut at = 0;
    let read = input.for_each(|id, text| {
        if (shard.start + resumed..shard.end).contains(&at) {
            window.push(id, text)?;
        }
        at += 1;
        Ok(())
    })?;
    window.flush()?;
    let Window { writer, bar, tokens, .. } = window;
    bar.finish_and_clear();
    writer.finish(&read)?;
    let seconds = start.elapsed().as_secs_f64();
    Ok(Result {
        texts: shard.len(),
        tokens,
        dim: retriever.dim(),
        resumed,
        seconds,
        texts_per_second: (shard.len() - resumed) as f64 / seconds,
        tokens_per_second: tokens as f64 / seconds,
        out: args.out.clone(),
    })
}

/// What decides the `rows` embeddings of an input.
fn plan<B: Backend>(
    args: &Args,
    retriever: &Retriever<B>,
    input: &Input<'_>,
    content: Content,
    rows: usize,
) -> anyhow::Result<Plan> {
    Ok(Plan {
        version: env!("CARGO_PKG_VERSION").into(),
        model: fingerprint(&args.model)?,
        input: content.fingerprint,
        side: input.side.name().into(),
        document_text: input.text,
        shard: args.shard.to_string(),
        max_tokens: retriever.max_tokens(input.side),
        batch_tokens: args.batch_tokens,
        backend: args.device.backend.to_string(),
        similarity: similarity_of(retriever).into(),
        rows,
        dim: retriever.dim(),
    })
}

/// Texts on their way to a folder of embeddings.
struct Window<'a, B: Backend> {
    retriever: &'a Retriever<B>,
    side: Side,
    batch_tokens: usize,
    writer: Writer,
    bar: ProgressBar,
    start: Instant,
    /// Tokens embedded.
    tokens: usize,
    /// The texts not yet embedded, and their ids.
    ids: Vec<String>,
    texts: Vec<String>,
}

impl<B: Backend> Window<'_, B> {
    fn push(&mut self, id: String, text: String) -> anyhow::Result<()> {
        self.ids.push(id);
        self.texts.push(text);
        if self.ids.len() == WINDOW { self.flush() } else { Ok(()) }
    }

    /// Embeds and writes what is held.
    fn flush(&mut self) -> anyhow::Result<()> {
        if self.ids.is_empty() {
            return Ok(());
        }
        let rows = self.retriever.tokenize(self.side, &self.texts)?;
        self.tokens += rows.iter().map(Vec::len).sum::<usize>();
        let embeddings = self.retriever.encode_tokens(self.side, &rows, self.batch_tokens);
        self.writer.append(&self.ids, &embeddings)?;
        self.bar.inc(self.ids.len() as u64);
        let rate = self.tokens as f64 / self.start.elapsed().as_secs_f64();
        self.bar.set_message(format!("{rate:.0} tokens/s"));
        self.ids.clear();
        self.texts.clear();
        Ok(())
    }
}

/// BLAKE3 of a model folder's files and their names, in hexadecimal; its card decides nothing.
fn fingerprint(folder: &Path) -> anyhow::Result<String> {
    fn files(folder: &Path, found: &mut Vec<PathBuf>) -> std::io::Result<()> {
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            if path.is_dir() {
                files(&path, found)?;
            } else if path.extension().is_none_or(|extension| extension != "md") {
                found.push(path);
            }
        }
        Ok(())
    }
    let hash = || {
        let mut found = Vec::new();
        files(folder, &mut found)?;
        found.sort();
        let mut hash = blake3::Hasher::new();
        for path in found {
            let name = path.strip_prefix(folder).unwrap_or(&path).to_string_lossy().into_owned();
            hash.update(blake3::hash(name.as_bytes()).as_bytes());
            let content = blake3::Hasher::new().update_reader(File::open(&path)?)?.finalize();
            hash.update(content.as_bytes());
        }
        Ok::<_, std::io::Error>(hash.finalize().to_hex().to_string())
    };
    hash().with_context(|| format!("cannot read `{}`", folder.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_cover_the_input_once() {
        for (total, parts) in [(0, 1), (10, 3), (7, 7), (3, 5)] {
            let texts: Vec<usize> =
                (1..=parts).flat_map(|part| Shard { part, parts }.range(total)).collect();
            assert_eq!(texts, (0..total).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_shard_that_cannot_be_is_refused() {
        assert_eq!("2/3".parse(), Ok(Shard { part: 2, parts: 3 }));
        for bad in ["0/3", "4/3", "1", "a/b", "1/0"] {
            assert!(bad.parse::<Shard>().is_err(), "{bad}");
        }
    }
}
