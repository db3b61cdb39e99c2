//! `samtone encode`.

use std::path::PathBuf;

use anyhow::Context;
use burn::tensor::backend::{AutodiffBackend, Backend};
use samtone_eval::EvalError;
use serde::Serialize;

use super::at_least_one;
use super::reading::{
    DtypeChoice, PrecisionChoice, SideChoice, TextChoice, document_text, model_folder,
};
use crate::device::{DeviceArgs, OnBackend};
use crate::embeddings::{FileFormat, check_company, check_kin, missing_in, ranges};
use crate::encoding::{BATCH_TOKENS, Encoded, Input, Job, Shape, check_place, cut, expand, marks};
use crate::output::{Format, say, warn};
use crate::shard::{Shard, ShardChoice};
use crate::stream::Readable;

/// Embed queries or documents into a folder that `samtone search` reads.
///
/// A corpus of any size streams by in bounded memory. Called again after an interruption, it goes on
/// where it was. The rows are in the input's order. With `--shard` many machines embed a part each, to
/// the same bytes.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  samtone encode --model runs/first/model --input data/faq/corpus.jsonl --side document --out faq
  samtone encode --model M --input corpus-*.jsonl --side document --shard auto --out parts
  samtone encode --missing --out parts")]
pub(crate) struct Args {
    /// The model: its folder, a run's, or its name in the Hugging Face cache.
    #[arg(long, value_name = "MODEL", required_unless_present = "missing")]
    model: Option<PathBuf>,
    /// The texts: `queries.jsonl` or `corpus.jsonl` of a BEIR folder, or plain lines (`.txt`), plain,
    /// `.gz` or `.zst`; `-` is stdin. A text without `_id` is named by its line's number. Several files,
    /// or a pattern (`*`, `?`, `[…]`), are read one after the other.
    #[arg(long, value_name = "FILE", num_args = 1.., required_unless_present = "missing")]
    input: Vec<PathBuf>,
    /// Which tower embeds them.
    #[arg(long, value_enum, required_unless_present = "missing")]
    side: Option<SideChoice>,
    /// What of a document the model reads; what the model's folder says, or `title-text`, if absent.
    #[arg(long, value_enum)]
    document_text: Option<TextChoice>,
    /// The folder to write; of a part, that of all parts, in which it is `part-I-of-N`.
    #[arg(long, value_name = "FOLDER")]
    out: PathBuf,
    /// Embed only the I-th of N parts of the input, each a run of consecutive texts: `I/N`; `auto`, as
    /// the scheduler or launcher says that started this process; or `auto/N`, where it knows no N, or
    /// does some parts again. Slurm, SGE, LSF and PBS arrays, Kubernetes, AWS and Google Batch, Slurm's
    /// steps and MPI's launchers are known.
    #[arg(long, value_name = "PART", default_value = "1/1")]
    shard: ShardChoice,
    /// Embed nothing: print the numbers of the parts that `--out` lacks, as `7,12-14`.
    #[arg(
        long,
        conflicts_with_all = [
            "model", "input", "side", "document_text", "shard", "max_tokens", "batch_tokens", "dims",
            "dtype", "out_format", "precision", "backend",
        ]
    )]
    missing: bool,
    /// Cut texts to this many tokens, instead of the model's own number.
    #[arg(long, value_name = "TOKENS")]
    max_tokens: Option<usize>,
    /// Compute at most this many tokens at once.
    #[arg(long, value_name = "TOKENS", default_value_t = BATCH_TOKENS)]
    batch_tokens: usize,
    /// Keep only the first N numbers of each embedding, at length 1 again where they are compared by
    /// cosine.
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    dims: Option<usize>,
    /// What the numbers are stored as.
    #[arg(long, value_enum, default_value_t)]
    dtype: DtypeChoice,
    /// The file that holds them, beside `ids.txt`; `search` reads the first two.
    #[arg(long, value_enum, default_value_t)]
    out_format: FileFormat,
    /// What the model's layers compute in: the halves are less exact, and faster where the device
    /// multiplies them faster.
    #[arg(long, value_enum, default_value_t)]
    precision: PrecisionChoice,
    #[command(flatten)]
    device: DeviceArgs,
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

/// What `--missing --format json` prints.
#[derive(Serialize)]
struct Missing {
    parts: usize,
    missing: Vec<usize>,
}

pub(crate) fn run(args: &Args, format: Format) -> anyhow::Result<()> {
    if args.missing {
        let (parts, missing) = missing_in(&args.out)?;
        return format.print(&Missing { parts, missing }, |found| ranges(&found.missing));
    }
    let (shard, by) = args.shard.resolve(|name| std::env::var(name).ok())?;
    if let Some(by) = by {
        say(format_args!("part {} of {}, by `{by}`", shard.part, shard.parts));
    }
    check_company(&args.out, shard)?;
    let out = match shard {
        Shard::WHOLE => args.out.clone(),
        part => args.out.join(part.folder()),
    };
    check_place(&out)?;
    let result = args.device.backend.run(Encode { args, shard, out })??;
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

struct Encode<'a> {
    args: &'a Args,
    shard: Shard,
    /// The part's own folder.
    out: PathBuf,
}

impl OnBackend for Encode<'_> {
    type Output = anyhow::Result<Result>;

    fn run<B: AutodiffBackend>(self, device: &B::Device) -> Self::Output {
        self.encode::<B::InnerBackend>(device)
    }
}

impl Encode<'_> {
    fn encode<B: Backend>(self, device: &B::Device) -> anyhow::Result<Result> {
        let Self { args, shard, out } = self;
        let (path, side) =
            args.model.as_deref().zip(args.side).expect("clap asks for both without `--missing`");
        let side = side.into();
        let open = || {
            let model = model_folder(path)?;
            let mut retriever = args.precision.open::<B>(&model, device)?;
            if let Some(max_tokens) = args.max_tokens {
                retriever.set_max_tokens(side, max_tokens)?;
            }
            anyhow::Ok((model, retriever))
        };
        let (model, retriever) =
            open().with_context(|| format!("cannot encode with `{}`", path.display()))?;
        let text = document_text(args.document_text, &retriever);
        let read = expand(&args.input)?;
        let read =
            read.iter().map(|path| Readable::open(path)).collect::<anyhow::Result<Vec<_>>>()?;
        let files: Vec<PathBuf> = read.iter().map(|file| file.path().to_owned()).collect();
        let job = Job {
            model: &model,
            input: Input { pieces: cut(&files, shard)?, has_ids: files.len() > 1, side, text },
            shard,
            files: if shard == Shard::WHOLE { Vec::new() } else { marks(&files)? },
            batch_tokens: args.batch_tokens,
            backend: args.device.backend,
            precision: args.precision.into(),
            shape: Shape { dims: args.dims, dtype: args.dtype.into(), format: args.out_format },
        };
        let content = job.input.scan()?;
        if let Some(id) = &content.unwritable {
            let error = EvalError::UnwritableId { id: id.clone() };
            let hint = error.hint().unwrap_or_default();
            warn(format_args!("{error}, so `samtone search` will not write a run: {hint}"));
        }
        let plan = job.plan(&retriever, &content)?;
        if shard != Shard::WHOLE {
            check_kin(&args.out, &plan)?;
        }
        let dim = plan.dim;
        let Encoded { texts, tokens, resumed, seconds } =
            job.run(&retriever, &content, plan, &out)?;
        Ok(Result {
            texts,
            tokens,
            dim,
            resumed,
            seconds,
            texts_per_second: (texts - resumed) as f64 / seconds,
            tokens_per_second: tokens as f64 / seconds,
            out,
        })
    }
}
