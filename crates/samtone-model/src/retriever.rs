//! A dual encoder with its tokenizers, prompts and lengths: texts to embeddings.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use burn::module::{AutodiffModule, Module};
use burn::tensor::backend::{AutodiffBackend, Backend};
use samtone_data::{TextTokenizer, TokenBatch};

use crate::checkpoint::HostTensor;
use crate::config::Side;
use crate::dual_encoder::DualEncoder;
use crate::error::ModelError;
use crate::folder::{self, SamtoneFile, SideSettings, Stages, TowerContent, whole};
use crate::model_folder::ModelFolder;

/// What a text is cut to where neither the model nor its folder has a limit, in tokens.
const DEFAULT_MAX_TOKENS: usize = 512;

/// A dual encoder that reads text.
///
/// # Examples
///
/// ```
/// use burn::backend::Flex;
/// use samtone_data::TextTokenizer;
/// use samtone_model::{
///     BertConfig, DualEncoder, DualEncoderConfig, EncoderConfig, Retriever, Side, SideSettings,
/// };
///
/// let texts = ["a well holds water", "water runs", "a well runs dry"];
/// let tokenizer = TextTokenizer::train_wordpiece(&texts, 60, true)?;
/// let bert = BertConfig {
///     vocab_size: tokenizer.vocab_size(),
///     hidden: 32,
///     layers: 1,
///     heads: 2,
///     ..BertConfig::default()
/// };
/// let config = DualEncoderConfig { encoder: EncoderConfig::Bert(bert), ..Default::default() };
/// let model = DualEncoder::<Flex>::init(&config, 42, &Default::default())?;
/// let settings = SideSettings { prompt: "query: ".into(), max_tokens: Some(16) };
/// let retriever = Retriever::new(model, tokenizer, [settings, SideSettings::default()])?;
///
/// let embeddings = retriever.encode_texts(Side::Query, &["which well is dry?"])?;
/// assert_eq!(embeddings.len(), retriever.dim());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Retriever<B: Backend> {
    /// The towers.
    pub model: DualEncoder<B>,
    /// The temperature learned in training, if it was learned.
    pub temperature: Option<f64>,
    tokenizers: [Arc<TextTokenizer>; 2],
    settings: [SideSettings; 2],
}

impl<B: Backend> Retriever<B> {
    /// Joins a model and its tokenizer; `settings` are the query's, then the document's.
    ///
    /// # Errors
    /// If the tokenizer makes ids that the model lacks.
    pub fn new(
        model: DualEncoder<B>,
        tokenizer: TextTokenizer,
        settings: [SideSettings; 2],
    ) -> Result<Self, ModelError> {
        let tokenizer = Arc::new(tokenizer);
        Self::join(model, [tokenizer.clone(), tokenizer], settings)
    }

    fn join(
        model: DualEncoder<B>,
        tokenizers: [Arc<TextTokenizer>; 2],
        settings: [SideSettings; 2],
    ) -> Result<Self, ModelError> {
        let expected = model.config().encoder.vocab_size();
        for tokenizer in &tokenizers {
            let got = tokenizer.vocab_size();
            if got > expected {
                return Err(ModelError::Vocabulary { expected, got });
            }
        }
        Ok(Self { model, temperature: None, tokenizers, settings })
    }

    /// Loads a model folder as it is.
    ///
    /// # Errors
    /// As [`ModelFolder::open`] and [`ModelFolder::load`], or if a tokenizer cannot be read.
    pub fn open(path: &Path, device: &B::Device) -> Result<Self, ModelError> {
        Self::load(&ModelFolder::open(path)?, 0, device)
    }

    /// Loads an opened, perhaps changed folder; what it lacks is drawn from `seed`.
    ///
    /// # Errors
    /// As [`ModelFolder::load`], or if a tokenizer cannot be read.
    pub fn load(folder: &ModelFolder, seed: u64, device: &B::Device) -> Result<Self, ModelError> {
        let tokenizer = |side| {
            TextTokenizer::from_file(&folder.tokenizer_path(side))
                .map_err(|source| ModelError::Tokenizer { source })
        };
        let query = Arc::new(tokenizer(Side::Query)?);
        let document =
            if folder.tokenizer_path(Side::Query) == folder.tokenizer_path(Side::Document) {
                query.clone()
            } else {
                Arc::new(tokenizer(Side::Document)?)
            };
        let settings = [folder.query.clone(), folder.document.clone()];
        let mut retriever = Self::join(folder.load(seed, device)?, [query, document], settings)?;
        retriever.temperature = folder.temperature;
        Ok(retriever)
    }

    /// Dimensions of an embedding.
    pub fn dim(&self) -> usize {
        self.model.config().dim()
    }

    /// The tokenizer of `side`.
    pub fn tokenizer(&self, side: Side) -> &TextTokenizer {
        &self.tokenizers[side as usize]
    }

    /// Put before every text of `side`.
    pub fn prompt(&self, side: Side) -> &str {
        &self.settings[side as usize].prompt
    }

    /// Texts of `side` are cut to this many tokens.
    pub fn max_tokens(&self, side: Side) -> usize {
        let limit = self.model.config().encoder.max_tokens();
        let asked = self.settings[side as usize].max_tokens;
        match (asked, limit) {
            (Some(asked), Some(limit)) => asked.min(limit),
            (asked, limit) => asked.or(limit).unwrap_or(DEFAULT_MAX_TOKENS),
        }
    }

    /// Cuts texts of `side` to `max_tokens` tokens, or to what the encoder can read if that is less.
    pub fn set_max_tokens(&mut self, side: Side, max_tokens: usize) {
        self.settings[side as usize].max_tokens = Some(max_tokens);
    }

    /// The token ids of texts of `side`, prompted and cut.
    ///
    /// # Errors
    /// If the tokenizer cannot encode a text.
    pub fn tokenize<S: AsRef<str> + Sync>(
        &self,
        side: Side,
        texts: &[S],
    ) -> Result<Vec<Vec<u32>>, ModelError> {
        let (tokenizer, limit) = (self.tokenizer(side), self.max_tokens(side));
        let rows = match self.prompt(side) {
            "" => tokenizer.encode_batch(texts, limit),
            prompt => {
                let prompted: Vec<String> =
                    texts.iter().map(|text| format!("{prompt}{}", text.as_ref())).collect();
                tokenizer.encode_batch(&prompted, limit)
            }
        };
        rows.map_err(|source| ModelError::Tokenizer { source })
    }

    /// Embeds texts of `side`, in their order.
    ///
    /// # Shapes
    /// - returns `[texts, dim]`, row-major
    ///
    /// # Errors
    /// If the tokenizer cannot encode a text.
    pub fn encode_texts<S: AsRef<str> + Sync>(
        &self,
        side: Side,
        texts: &[S],
    ) -> Result<Vec<f32>, ModelError> {
        Ok(self.encode_tokens(side, &self.tokenize(side, texts)?, DEFAULT_BATCH_TOKENS))
    }

    /// Embeds token rows of `side`, in their order, sorted by length inside and computed in batches
    /// of at most `batch_tokens` tokens, or of one row where that is longer.
    ///
    /// # Shapes
    /// - returns `[rows, dim]`, row-major
    pub fn encode_tokens(&self, side: Side, rows: &[Vec<u32>], batch_tokens: usize) -> Vec<f32> {
        let dim = self.dim();
        let pad_id = self.tokenizer(side).pad_id();
        let mut order: Vec<usize> = (0..rows.len()).collect();
        order.sort_by_key(|&row| std::cmp::Reverse(rows[row].len()));
        let mut embeddings = vec![0.0; rows.len() * dim];
        let mut rest = order.as_slice();
        while let Some(&longest) = rest.first() {
            let fitting = (batch_tokens / rows[longest].len()).clamp(1, rest.len());
            let (now, later) = rest.split_at(fitting);
            rest = later;
            let texts: Vec<&[u32]> = now.iter().map(|&row| rows[row].as_slice()).collect();
            let states = self.model.encode(side, &TokenBatch::pad(&texts, pad_id), None);
            let states = states.into_data().convert::<f32>();
            let states = states.as_slice::<f32>().expect("converted to f32 above");
            for (&row, state) in now.iter().zip(states.chunks_exact(dim)) {
                embeddings[row * dim..][..dim].copy_from_slice(state);
            }
        }
        embeddings
    }

    /// Writes the model folder: what `SentenceTransformer(path)` opens, or for two towers two such
    /// folders, `query/` and `document/`. The folder appears whole or not at all.
    ///
    /// # Errors
    /// If `path` exists already, or cannot be written.
    pub fn save(&self, path: &Path) -> Result<(), ModelError> {
        whole(path, |folder| {
            self.write_samtone(folder)?;
            if self.is_siamese() {
                return self.write_tower(folder, Side::Document, &Side::ALL);
            }
            for side in Side::ALL {
                let folder = folder.join(side.name());
                folder::create_folder(&folder)?;
                self.write_tower(&folder, side, &[side])?;
            }
            Ok(())
        })
    }

    /// Writes both towers as one sentence-transformers folder that routes queries and documents
    /// (its `Router`, which few other readers know).
    ///
    /// # Errors
    /// As [`Retriever::save`].
    pub fn save_router(&self, path: &Path) -> Result<(), ModelError> {
        whole(path, |folder| {
            self.write_samtone(folder)?;
            let write =
                |side, route| self.tower_content(side).write_stages(folder, Stages::Route(route));
            let [query, document] = if self.is_siamese() {
                let stages = write(Side::Document, "shared")?;
                [stages.clone(), stages]
            } else {
                [write(Side::Query, "query")?, write(Side::Document, "document")?]
            };
            folder::write_router(folder, &[(Side::Query, query), (Side::Document, document)])?;
            let top = [(String::new(), "Router")];
            let normalize = self.model.config().normalize;
            folder::write_top(folder, &top, &self.prompts(&Side::ALL), normalize)
        })
    }

    fn is_siamese(&self) -> bool {
        self.model.config().sharing.is_siamese()
    }

    fn write_samtone(&self, folder: &Path) -> Result<(), ModelError> {
        let file = SamtoneFile {
            sharing: self.model.config().sharing,
            query_max_tokens: self.settings[0].max_tokens,
            document_max_tokens: self.settings[1].max_tokens,
            temperature: self.temperature,
        };
        folder::write_samtone(folder, &file)
    }

    /// Writes `side`'s tower for the texts of `readers`.
    fn write_tower(&self, folder: &Path, side: Side, readers: &[Side]) -> Result<(), ModelError> {
        let stages = self.tower_content(side).write_stages(folder, Stages::Plain)?;
        let normalize = self.model.config().normalize;
        folder::write_top(folder, &stages, &self.prompts(readers), normalize)
    }

    fn prompts(&self, sides: &[Side]) -> BTreeMap<&str, &str> {
        sides.iter().map(|&side| (side.name(), self.prompt(side))).collect()
    }

    fn tower_content(&self, side: Side) -> TowerContent<'_> {
        let mut parameters = Vec::new();
        self.model.for_each_parameter(|parameter, values| {
            if parameter.side.is_none_or(|own| own == side) {
                let values = values.into_data().convert::<f32>();
                let values = values.into_vec().expect("converted to f32 above");
                let tensor = HostTensor { shape: parameter.shape.clone(), values };
                parameters.push((parameter.name.clone(), tensor));
            }
        });
        let max_tokens = if self.is_siamese() {
            self.max_tokens(Side::Query).max(self.max_tokens(Side::Document))
        } else {
            self.max_tokens(side)
        };
        let (config, tokenizer) = (self.model.config(), self.tokenizer(side));
        TowerContent { config, max_tokens, tokenizer, parameters }
    }

    /// The same retriever around another model of the same shape (a trained one).
    #[must_use]
    pub fn with_model<C: Backend>(&self, model: DualEncoder<C>) -> Retriever<C> {
        let Self { temperature, tokenizers, settings, .. } = self.clone();
        Retriever { model, temperature, tokenizers, settings }
    }

    /// Moves the model to `device`.
    #[must_use]
    pub fn to_device(self, device: &B::Device) -> Self {
        Self { model: self.model.to_device(device), ..self }
    }
}

impl<B: AutodiffBackend> Retriever<B> {
    /// The retriever without gradients, for evaluation.
    pub fn valid(&self) -> Retriever<B::InnerBackend> {
        self.with_model(self.model.valid())
    }
}

/// Tokens computed at once where the caller does not say.
const DEFAULT_BATCH_TOKENS: usize = 4096;
