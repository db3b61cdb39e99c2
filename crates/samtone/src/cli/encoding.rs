//! Texts to a folder of embeddings: all that `samtone encode` does, and what `samtone ask` does before
//! the first question.

mod input;
mod pieces;
mod writer;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Context;
use burn::tensor::backend::Backend;
pub(crate) use input::{Content, Input, Text};
pub(crate) use pieces::{FileMark, cut, expand, marks};
use samtone_eval::search::Dtype;
use samtone_model::{Precision, Retriever, Side};
use samtone_train::run::similarity_of;
pub(crate) use writer::{Plan, check_place};
use writer::{Source, Writer};

use crate::commands::reading::{cut as first_numbers, dims, plural};
use crate::device::BackendChoice;
use crate::embeddings::FileFormat;
use crate::progress::Progress;
use crate::shard::Shard;

/// Texts held at once: enough to sort by length to good effect, and all that memory must hold.
const WINDOW: usize = 4096;

/// Tokens computed at once where nothing else is said.
pub(crate) const BATCH_TOKENS: usize = 4096;

/// What is embedded, and in which way.
pub(crate) struct Job<'a> {
    /// The model folder.
    pub(crate) model: &'a Path,
    /// The texts, of which `shard` says which part of an input they are.
    pub(crate) input: Input,
    pub(crate) shard: Shard,
    /// Of a part: the files that the parts were cut from.
    pub(crate) files: Vec<FileMark>,
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
            files: self.files.clone(),
            max_tokens: retriever.max_tokens(self.input.side),
            batch_tokens: self.batch_tokens,
            backend: self.backend.to_string(),
            precision: self.precision,
            similarity: similarity_of(retriever).into(),
            rows: content.texts,
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
        let dim = plan.dim;
        let writer = Writer::open(out, plan)?;
        let bar = Progress::new(content.texts as u64, plural(side));
        let start = Instant::now();
        let mut window = Window {
            retriever,
            side,
            batch_tokens,
            dim,
            writer,
            bar,
            start,
            at: 0,
            resumed: None,
            tokens: 0,
            block: (0, 0),
            ids: Vec::new(),
            texts: Vec::new(),
        };
        let read = self.input.for_each(|text| window.push(text))?;
        window.flush()?;
        let Window { writer, bar, tokens, resumed, .. } = window;
        bar.finish_and_clear();
        let texts = |each: &mut dyn FnMut(Text) -> anyhow::Result<()>| self.input.for_each(each);
        writer.finish(&read, &Source { texts: &texts, model: self.model })?;
        let (texts, resumed) = (content.texts, resumed.unwrap_or(content.texts));
        Ok(Encoded { texts, tokens, resumed, seconds: start.elapsed().as_secs_f64() })
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
    /// Texts passed over or embedded.
    at: usize,
    /// Texts passed over, once one is embedded.
    resumed: Option<usize>,
    /// Tokens embedded.
    tokens: usize,
    /// The block of the texts not yet embedded.
    block: (usize, u64),
    /// These texts, and their ids.
    ids: Vec<String>,
    texts: Vec<String>,
}

impl<B: Backend> Window<'_, B> {
    fn push(&mut self, Text { id, text, block }: Text) -> anyhow::Result<()> {
        if block != self.block {
            self.flush()?;
            self.block = block;
        }
        self.ids.push(id);
        self.texts.push(text);
        if self.ids.len() == WINDOW { self.flush() } else { Ok(()) }
    }

    /// Embeds and writes what is held, unless an interrupted call did.
    fn flush(&mut self) -> anyhow::Result<()> {
        let first = self.at;
        self.at += self.ids.len();
        if self.at > self.writer.done() {
            if self.resumed.is_none() {
                // Of what was written, texts that are computed together with others are again.
                self.writer.keep(first)?;
                self.bar.begin_at(first as u64);
                self.resumed = Some(first);
            }
            self.embed()?;
        }
        self.ids.clear();
        self.texts.clear();
        Ok(())
    }

    fn embed(&mut self) -> anyhow::Result<()> {
        let rows = self.retriever.tokenize(self.side, &self.texts)?;
        self.tokens += rows.iter().map(Vec::len).sum::<usize>();
        let embeddings = self.retriever.encode_tokens(self.side, &rows, self.batch_tokens);
        let similarity = similarity_of(self.retriever);
        let embeddings =
            first_numbers(embeddings.into(), self.retriever.dim(), self.dim, similarity);
        self.writer.append(&self.ids, &embeddings)?;
        self.bar.inc(self.ids.len() as u64);
        let rate = self.tokens as f64 / self.start.elapsed().as_secs_f64();
        self.bar.set_message(format!("{rate:.0} tokens/s"));
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
