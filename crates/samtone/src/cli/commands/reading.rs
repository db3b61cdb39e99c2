//! How a model reads and compares texts: as asked for, or else as its folder says.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use burn::tensor::backend::Backend;
use samtone_eval::search::{Dtype, Similarity};
use samtone_model::{ModelError, ModelFolder, Precision, Retriever, Side};
use samtone_text::DocumentText;
use samtone_train::run::{Embedded, JudgedSplit, similarity_of};
use serde::{Deserialize, Serialize};

use crate::error::Usage;
use crate::output::{say, warn};
use crate::progress::Progress;

/// Texts embedded at once where nothing else is said: as `eval.batch_size`.
pub(crate) const BATCH_SIZE: usize = 64;

/// Candidates for each binary document to find, where nothing else is said: sentence-transformers'
/// `rescore_multiplier`.
pub(crate) const RESCORE: usize = 4;

/// `--side`, `--input-type`.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub(crate) enum SideChoice {
    /// Texts are queries.
    Query,
    /// Texts are documents.
    Document,
}

impl From<SideChoice> for Side {
    fn from(choice: SideChoice) -> Self {
        match choice {
            SideChoice::Query => Self::Query,
            SideChoice::Document => Self::Document,
        }
    }
}

/// `--document-text`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum TextChoice {
    /// Title, a space, text.
    #[default]
    TitleText,
    /// The text alone.
    Text,
}

impl From<TextChoice> for DocumentText {
    fn from(choice: TextChoice) -> Self {
        match choice {
            TextChoice::TitleText => Self::TitleText,
            TextChoice::Text => Self::Text,
        }
    }
}

/// `--similarity`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum SimilarityChoice {
    /// The dot product of the embeddings over their lengths.
    #[default]
    Cosine,
    /// The dot product.
    Dot,
}

impl std::fmt::Display for SimilarityChoice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Cosine => "cosine",
            Self::Dot => "dot",
        })
    }
}

impl From<SimilarityChoice> for Similarity {
    fn from(choice: SimilarityChoice) -> Self {
        match choice {
            SimilarityChoice::Cosine => Self::Cosine,
            SimilarityChoice::Dot => Self::Dot,
        }
    }
}

impl From<Similarity> for SimilarityChoice {
    fn from(similarity: Similarity) -> Self {
        match similarity {
            Similarity::Cosine => Self::Cosine,
            Similarity::Dot => Self::Dot,
        }
    }
}

/// The model folder at `path`, in the run folder there, or in the cache under that name; which of the
/// latter two is said.
pub(crate) fn model_folder(path: &Path) -> Result<PathBuf, ModelError> {
    let found = ModelFolder::find(path)?;
    let (given, model) = (path.display(), found.display());
    if !path.is_dir() {
        say(format_args!("`{given}` is in the Hugging Face cache: `{model}`"));
    } else if found != path {
        say(format_args!("`{given}` is a run folder, its model is `{model}`"));
    }
    Ok(found)
}

/// `--precision`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum PrecisionChoice {
    /// 32 bits.
    #[default]
    F32,
    /// 16 bits with the range of f32.
    Bf16,
    /// 16 bits with a narrower range.
    F16,
}

impl From<PrecisionChoice> for Precision {
    fn from(choice: PrecisionChoice) -> Self {
        match choice {
            PrecisionChoice::F32 => Self::F32,
            PrecisionChoice::Bf16 => Self::Bf16,
            PrecisionChoice::F16 => Self::F16,
        }
    }
}

impl PrecisionChoice {
    /// The model in `folder`, to embed with.
    pub(crate) fn open<B: Backend>(
        self,
        folder: &Path,
        device: &B::Device,
    ) -> Result<Retriever<B>, ModelError> {
        let folder = ModelFolder::open(folder)?;
        for remark in folder.remarks() {
            say(remark);
        }
        let (retriever, precision) = (Retriever::<B>::load(&folder, 0, device)?, self.into());
        if retriever.model.unfuses(precision) {
            let name = B::name(device);
            warn(format_args!(
                "`{precision}` leaves the fused operations of {name}: `f32` is faster"
            ));
        }
        retriever.compute_in(precision, device)
    }
}

/// How embeddings of `retriever` are compared: as `asked` for, or else as its folder says.
pub(crate) fn similarity<B: Backend>(
    asked: Option<SimilarityChoice>,
    retriever: &Retriever<B>,
) -> Similarity {
    let own = similarity_of(retriever);
    if asked.is_none() && own != Similarity::default() {
        say("embeddings are compared by their dot product, as the model's folder says");
    }
    asked.map_or(own, Into::into)
}

/// What `retriever` reads of a document: as `asked` for, or else as its folder says, or else title and
/// text.
pub(crate) fn document_text<B: Backend>(
    asked: Option<TextChoice>,
    retriever: &Retriever<B>,
) -> DocumentText {
    asked.map(Into::into).or(retriever.document_text).unwrap_or_default()
}

/// `--dtype`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum DtypeChoice {
    /// Four bytes a number.
    #[default]
    F32,
    /// Two bytes.
    F16,
    /// One byte: 255 steps between a dimension's least and greatest number.
    Int8,
    /// One bit: the sign.
    Binary,
}

impl From<DtypeChoice> for Dtype {
    fn from(choice: DtypeChoice) -> Self {
        match choice {
            DtypeChoice::F32 => Self::F32,
            DtypeChoice::F16 => Self::F16,
            DtypeChoice::Int8 => Self::Int8,
            DtypeChoice::Binary => Self::Binary,
        }
    }
}

/// How many of an embedding's `dim` numbers are wanted.
pub(crate) fn dims(wanted: Option<usize>, dim: usize) -> Result<usize, Usage> {
    match wanted {
        Some(dims) if dims > dim => {
            Err(Usage::new(format!("`--dims` is {dims}, but embeddings have {dim} dimensions")))
        }
        wanted => Ok(wanted.unwrap_or(dim)),
    }
}

/// The first `to` numbers of each row, at length 1 again for the cosine; untouched if that is all.
pub(crate) fn cut(
    rows: Cow<'_, [f32]>,
    dim: usize,
    to: usize,
    similarity: Similarity,
) -> Cow<'_, [f32]> {
    if to == dim { rows } else { samtone_eval::search::cut(&rows, dim, to, similarity).into() }
}

/// Embeds the queries and documents of a split under progress bars.
pub(crate) fn embed<B: Backend>(
    retriever: &Retriever<B>,
    split: &JudgedSplit<'_>,
    text: DocumentText,
    batch_size: usize,
) -> Result<Embedded, ModelError> {
    let mut watch = Watch::default();
    let embedded = split
        .embed(retriever, text, batch_size, &mut |side, done, total| watch.at(side, done, total))?;
    watch.end();
    Ok(embedded)
}

/// A bar for each side whose texts are embedded.
#[derive(Default)]
pub(crate) struct Watch(Option<Progress>);

impl Watch {
    /// `done` of a side's `total` texts are embedded; none when it begins.
    pub(crate) fn at(&mut self, side: Side, done: usize, total: usize) {
        if done == 0 {
            self.end();
            self.0 = Some(Progress::new(total as u64, plural(side)));
        }
        if let Some(bar) = &self.0 {
            bar.set_position(done as u64);
        }
    }

    pub(crate) fn end(&mut self) {
        if let Some(bar) = self.0.take() {
            bar.finish_and_clear();
        }
    }
}

/// What a side's texts are called.
pub(crate) fn plural(side: Side) -> &'static str {
    match side {
        Side::Query => "queries",
        Side::Document => "documents",
    }
}
