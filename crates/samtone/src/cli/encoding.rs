//! Texts to a folder of embeddings: all that `samtone encode` does, and what `samtone ask` does before
//! the first question.

mod input;
mod writer;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Instant;

use anyhow::Context;
use burn::tensor::backend::Backend;
pub(crate) use input::{Content, Input};
use samtone_eval::search::Dtype;
use samtone_model::{Precision, Retriever, Side};
use samtone_train::run::similarity_of;
use writer::Writer;
pub(crate) use writer::{Plan, check_place};

use crate::commands::reading::{cut, dims, plural};
use crate::device::BackendChoice;
use crate::embeddings::FileFormat;
use crate::progress::Progress;

/// Texts held at once: enough to sort by length to good effect, and all that memory must hold.
const WINDOW: usize = 4096;

/// Tokens computed at once where nothing else is said.
pub(crate) const BATCH_TOKENS: usize = 4096;

/// What is embedded, and in which way.
pub(crate) struct Job<'a> {
    /// The model folder.
    pub(crate) model: &'a Path,
    pub(crate) input: Input<'a>,
    /// Which part of the input.
    pub(crate) shard: Shard,
    pub(crate) batch_tokens: usize,
    pub(crate) backend: BackendChoice,
    pub(crate) precision: Precision,
    pub(crate) shape: Shape,
}

/// What becomes of the embeddings.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Shape {
    /// Only so many of their first numbers; all if absent.
    pub(crate) dims: Option<usize>,
    pub(crate) dtype: Dtype,
    pub(crate) format: FileFormat,
}

/// What was embedded.
pub(crate) struct Encoded {
    pub(crate) texts: usize,
    /// Tokens of this call.
    pub(crate) tokens: usize,
    /// Texts that an interrupted call had embedded before.
    pub(crate) resumed: usize,
    pub(crate) seconds: f64,
}

impl Job<'_> {
    /// What decides the embeddings of an input that holds `content`.
    pub(crate) fn plan<B: Backend>(
        &self,
        retriever: &Retriever<B>,
        content: &Content,
    ) -> anyhow::Result<Plan> {
        Ok(Plan {
            version: env!("CARGO_PKG_VERSION").into(),
            model: fingerprint(self.model)?,
            input: content.fingerprint.clone(),
            side: self.input.side.name().into(),
            document_text: self.input.text,
            shard: self.shard.to_string(),
            max_tokens: retriever.max_tokens(self.input.side),
            batch_tokens: self.batch_tokens,
            backend: self.backend.to_string(),
            precision: self.precision,
            similarity: similarity_of(retriever).into(),
            rows: self.shard.range(content.texts).len(),
            dim: dims(self.shape.dims, retriever.dim())?,
            dtype: self.shape.dtype,
            format: self.shape.format,
        })
    }

    /// Embeds the input into the folder `out`, from where an interrupted call with the same plan was.
    pub(crate) fn run<B: Backend>(
        &self,
        retriever: &Retriever<B>,
        content: &Content,
        plan: Plan,
        out: &Path,
    ) -> anyhow::Result<Encoded> {
        let (side, batch_tokens) = (self.input.side, self.batch_tokens);
        let shard = self.shard.range(content.texts);
        let dim = plan.dim;
        let writer = Writer::open(out, plan, WINDOW)?;
        let resumed = writer.done();
        let bar = Progress::new(shard.len() as u64, plural(side));
        bar.begin_at(resumed as u64);

        let start = Instant::now();
        let (tokens, ids, texts) = (0, Vec::new(), Vec::new());
        let mut window =
            Window { retriever, side, batch_tokens, dim, writer, bar, start, tokens, ids, texts };
        let mut at = 0;
        let read = self.input.for_each(|id, text| {
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
        Ok(Encoded { texts: shard.len(), tokens, resumed, seconds: start.elapsed().as_secs_f64() })
    }
}

/// One of several parts of an input, each a run of consecutive texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shard {
    /// From 1.
    part: usize,
    parts: usize,
}

impl Shard {
    /// All of the input.
    pub(crate) const WHOLE: Self = Self { part: 1, parts: 1 };

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

/// Texts on their way to a folder of embeddings.
struct Window<'a, B: Backend> {
    retriever: &'a Retriever<B>,
    side: Side,
    batch_tokens: usize,
    /// Numbers to keep of each embedding.
    dim: usize,
    writer: Writer,
    bar: Progress,
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
        let similarity = similarity_of(self.retriever);
        let embeddings = cut(embeddings.into(), self.retriever.dim(), self.dim, similarity);
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
pub(crate) fn fingerprint(folder: &Path) -> anyhow::Result<String> {
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
