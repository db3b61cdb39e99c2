//! A query and a document read together, and scored.

use std::path::Path;
use std::sync::Arc;

use burn::tensor::backend::Backend;
use samtone_text::{PairTokens, TextTokenizer, TokenBatch};

use crate::arch::bert::{BertEmbedder, BertStack};
use crate::blocks::ops::{Linear, layout};
use crate::blocks::pass::Pass;
use crate::config::{Freeze, Pooling};
use crate::error::ModelError;
use crate::folder::{CrossEncoderFolder, ScoreActivation};
use crate::length_batches::length_batches;
use crate::parameter::{Builder, Init};
use crate::part::Part;

/// A cross-encoder: how relevant a document is to a query, by one BERT that reads both (Nogueira and
/// Cho 2019, arXiv:1901.04085).
///
/// Where a [`Retriever`](crate::Retriever) embeds each text once, this reads every pair anew: too slow
/// to search with, and more exact. It teaches, sorts out what was mined, and reorders what was found.
/// Only for inference.
///
/// # Examples
///
/// ```no_run
/// use burn::backend::Flex;
/// use samtone_model::CrossEncoder;
///
/// let path = "ms-marco-MiniLM-L6-v2".as_ref();
/// let model = CrossEncoder::<Flex>::open(path, &Default::default())?;
/// let pairs = [("which well is dry?", "the old well"), ("which well is dry?", "the mill")];
/// let scores = model.score(&pairs, 4096)?;
/// assert_eq!(scores.len(), 2);
/// # Ok::<(), samtone_model::ModelError>(())
/// ```
#[derive(Clone, Debug)]
pub struct CrossEncoder<B: Backend> {
    embedder: BertEmbedder<B>,
    stack: BertStack<B>,
    pooler: Linear<B>,
    classifier: Linear<B>,
    activation: ScoreActivation,
    tokenizer: Arc<TextTokenizer>,
    /// Whether the encoder is told which text a token is of.
    tells_types: bool,
    max_tokens: usize,
}

impl<B: Backend> CrossEncoder<B> {
    /// Whether the folder at `path` holds a cross-encoder rather than a retriever, of this
    /// architecture or another.
    ///
    /// # Errors
    /// If its `config.json` is broken.
    pub fn is_at(path: &Path) -> Result<bool, ModelError> {
        CrossEncoderFolder::is_at(path)
    }

    /// Opens the folder of a `BertForSequenceClassification` with one label, as transformers or
    /// sentence-transformers' `CrossEncoder` writes it.
    ///
    /// # Errors
    /// If a file is missing or broken, asks for what this crate does not have, or a tensor is missing,
    /// left over, of another shape or not finite; each is named.
    pub fn open(path: &Path, device: &B::Device) -> Result<Self, ModelError> {
        let folder = CrossEncoderFolder::open(path)?;
        let tokenizer = folder.read_tokenizer()?;
        let tokenizer = tokenizer.limited_to(folder.bert.vocab_size);
        let tokenizer = tokenizer.map_err(|source| ModelError::Tokenizer { source })?;
        let checkpoint = folder.read_weights()?;
        let mut source = |parameter: &crate::Parameter, _: Init| {
            Ok(checkpoint.get(&parameter.name, &parameter.shape)?.values.clone())
        };
        let mut builder = Builder::new(device, &mut source);
        builder.freeze(Freeze::ALL);
        let embedder = BertEmbedder::new(&mut builder, &folder.bert)?;
        let stack = BertStack::new(&mut builder, &folder.bert)?;
        builder.part(Part::Head);
        let hidden = folder.bert.hidden;
        let mut linear =
            |name, outputs| Linear::new(&mut builder, name, [hidden, outputs], Init::Zeros, true);
        let (pooler, classifier) = (linear("pooler.dense", hidden)?, linear("classifier", 1)?);
        let parameters = builder.finish();
        checkpoint.check_names(|name| parameters.iter().any(|known| known.name == name))?;
        Ok(Self {
            embedder,
            stack,
            pooler,
            classifier,
            activation: folder.activation,
            tokenizer: Arc::new(tokenizer),
            tells_types: folder.tokenizer.tells_types,
            max_tokens: folder.max_tokens,
        })
    }

    /// Pairs are cut to this many tokens, the special ones included: the longer text loses its end.
    pub fn max_tokens(&self) -> usize {
        self.max_tokens
    }

    /// Scores pairs of a query and a document, in their order: the more relevant, the higher. They are
    /// sorted by length inside and computed in batches of at most `batch_tokens` tokens, or of one pair
    /// where that is longer; a score does not depend on the rest of its batch.
    ///
    /// # Errors
    /// If the tokenizer cannot encode a text, or the length leaves no room beside its special tokens.
    pub fn score<Q: AsRef<str> + Sync, D: AsRef<str> + Sync>(
        &self,
        pairs: &[(Q, D)],
        batch_tokens: usize,
    ) -> Result<Vec<f32>, ModelError> {
        let rows = self.tokenizer.encode_pairs(pairs, self.max_tokens);
        let rows = rows.map_err(|source| ModelError::Tokenizer { source })?;
        let lengths: Vec<usize> = rows.iter().map(|row| row.ids.len()).collect();
        let mut scores = vec![0.0; rows.len()];
        for now in length_batches(&lengths, batch_tokens) {
            let batch: Vec<&PairTokens> = now.iter().map(|&row| &rows[row]).collect();
            for (row, score) in now.into_iter().zip(self.score_batch(&batch)) {
                scores[row] = score;
            }
        }
        Ok(scores)
    }

    fn score_batch(&self, rows: &[&PairTokens]) -> Vec<f32> {
        let pad = |of: fn(&PairTokens) -> &[u32], with| {
            TokenBatch::pad(&rows.iter().map(|row| of(row)).collect::<Vec<_>>(), with)
        };
        let ids = pad(|row| &row.ids, self.tokenizer.pad_id());
        let layout = layout(&ids, &self.embedder.words());
        let types = self.tells_types.then(|| layout.ids(&pad(|row| &row.types, 0)));
        let pass = Pass::new(&layout, None);
        let x = self.embedder.forward(layout.ids(&ids), types, pass);
        let x = self.stack.forward(0..self.stack.depth(), x, pass);
        let x = Pooling::Cls.forward(x, &layout, 0);
        // [batch, hidden]
        let logits = self.classifier.forward(self.pooler.forward(x).tanh());
        // [batch, 1]
        let logits = logits.into_data().convert::<f32>().into_vec::<f32>();
        let logits = logits.expect("converted to f32 above");
        match self.activation {
            ScoreActivation::Identity => logits,
            ScoreActivation::Sigmoid => {
                logits.into_iter().map(|x| 1.0 / (1.0 + (-x).exp())).collect()
            }
        }
    }
}
