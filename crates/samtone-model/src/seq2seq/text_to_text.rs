//! Texts to texts: a T5 with its tokenizer, and its folder.

use std::path::Path;
use std::sync::Arc;

use burn::module::AutodiffModule;
use burn::tensor::backend::{AutodiffBackend, Backend};
use samtone_text::{TextTokenizer, TokenBatch};
use serde_json::json;

use super::config::Decoding;
use super::hugging_face;
use super::model::Seq2Seq;
use crate::error::ModelError;
use crate::folder::checkpoint::{self, HostTensor, WEIGHTS};
use crate::folder::model_folder::ModelFolder;
use crate::folder::{self, CONFIG, TokenizerFiles, replace_folder};

/// An encoder-decoder and its tokenizer: what a Hugging Face folder of T5 holds.
///
/// # Examples
///
/// ```no_run
/// use burn::backend::Flex;
/// use samtone_model::{Decoding, TextToText};
///
/// let t5 = TextToText::<Flex>::open("t5-v1_1-small".as_ref(), &Default::default())?;
/// let answers = t5.answer(&["who directed Pulp Fiction?"], 64, Decoding::default(), 32)?;
/// # Ok::<(), samtone_model::ModelError>(())
/// ```
#[derive(Clone, Debug)]
pub struct TextToText<B: Backend> {
    /// The model.
    pub model: Seq2Seq<B>,
    tokenizer: Arc<TextTokenizer>,
    /// The files beside the one that the tokenizer was made of.
    tokenizer_files: Arc<TokenizerFiles>,
}

impl<B: Backend> TextToText<B> {
    /// Joins a model and its tokenizer.
    ///
    /// # Errors
    /// If the tokenizer makes ids that the model lacks.
    pub fn new(model: Seq2Seq<B>, tokenizer: Arc<TextTokenizer>) -> Result<Self, ModelError> {
        let (expected, got) = (model.config().encoder.vocab_size, tokenizer.vocab_size());
        if got > expected {
            return Err(ModelError::Vocabulary { expected, got });
        }
        Ok(Self { model, tokenizer, tokenizer_files: Arc::default() })
    }

    /// Opens a folder that `T5ForConditionalGeneration` opens, with its `tokenizer.json`, or the run
    /// folder that holds it.
    ///
    /// # Errors
    /// If a file is missing or broken, or a tensor is missing, left over, of another shape or not
    /// finite; each is named.
    pub fn open(path: &Path, device: &B::Device) -> Result<Self, ModelError> {
        let path = &ModelFolder::find(path)?;
        let tokenizer = folder::read_tokenizer(path)?;
        let tokenizer_files = TokenizerFiles::read(path, &tokenizer, MODEL_MAX_TOKENS)?.into();
        let opened = Self::new(Seq2Seq::open(path, device)?, Arc::new(tokenizer))?;
        Ok(Self { tokenizer_files, ..opened })
    }

    /// Writes such a folder, the tokenizer's files as they were where it was opened. It takes the place of what is at `path`, whole or not at all.
    ///
    /// # Errors
    /// If the folder cannot be written.
    pub fn save(&self, path: &Path) -> Result<(), ModelError> {
        replace_folder(path, |folder| {
            let (config, pad_id) = (self.model.config(), self.tokenizer.pad_id());
            let mut parameters = Vec::new();
            self.model.for_each_parameter(|parameter, values| {
                let values = values.into_data().convert::<f32>();
                let values = values.into_vec().expect("converted to f32 above");
                let tensor = HostTensor { shape: parameter.shape.clone(), values };
                parameters.push((parameter.name.clone(), tensor));
            });
            checkpoint::write(&folder.join(WEIGHTS), &parameters)?;
            let file = hugging_face::seq2seq_config_json(config, pad_id);
            folder::write_json(&folder.join(CONFIG), &file)?;
            let generation = json!({
                "decoder_start_token_id": config.start_id,
                "eos_token_id": config.end_id,
                "pad_token_id": pad_id,
            });
            folder::write_json(&folder.join("generation_config.json"), &generation)?;
            folder::write_tokenizer(
                folder,
                &self.tokenizer,
                &self.tokenizer_files,
                MODEL_MAX_TOKENS,
            )
        })
    }

    /// The tokenizer.
    pub fn tokenizer(&self) -> &Arc<TextTokenizer> {
        &self.tokenizer
    }

    /// Writes a text for every one of `texts`, in their order: read up to `max_tokens`, sorted by
    /// length inside, `batch` of them at once.
    ///
    /// # Errors
    /// If a text cannot be encoded or decoded.
    pub fn answer<S: AsRef<str> + Sync>(
        &self,
        texts: &[S],
        max_tokens: usize,
        decoding: Decoding,
        batch: usize,
    ) -> Result<Vec<String>, ModelError> {
        let tokenizer = |source| ModelError::Tokenizer { source };
        let rows = self.tokenizer.encode_batch(texts, max_tokens).map_err(tokenizer)?;
        let mut order: Vec<usize> = (0..rows.len()).collect();
        order.sort_by_key(|&row| rows[row].len());
        let mut answers = vec![String::new(); rows.len()];
        for some in order.chunks(batch.max(1)) {
            let inputs: Vec<&[u32]> = some.iter().map(|&row| rows[row].as_slice()).collect();
            let inputs = TokenBatch::pad(&inputs, self.tokenizer.pad_id());
            for (&row, ids) in some.iter().zip(self.model.generate(&inputs, decoding)) {
                answers[row] = self.tokenizer.decode(&ids).map_err(tokenizer)?;
            }
        }
        Ok(answers)
    }

    /// The same around another model of the same shape (a trained one).
    #[must_use]
    pub fn with_model<C: Backend>(&self, model: Seq2Seq<C>) -> TextToText<C> {
        let (tokenizer, tokenizer_files) = (self.tokenizer.clone(), self.tokenizer_files.clone());
        TextToText { model, tokenizer, tokenizer_files }
    }
}

impl<B: AutodiffBackend> TextToText<B> {
    /// The same without gradients, for evaluation.
    pub fn valid(&self) -> TextToText<B::InnerBackend> {
        self.with_model(self.model.valid())
    }
}

/// What tokenizers are told a text may hold: relative positions set no limit of their own.
const MODEL_MAX_TOKENS: usize = 512;
