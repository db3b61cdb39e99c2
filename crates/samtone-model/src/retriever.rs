//! A dual encoder with its tokenizers, prompts and lengths: texts to embeddings.

use std::path::Path;
use std::sync::Arc;

use burn::module::{AutodiffModule, Module};
use burn::tensor::backend::{AutodiffBackend, Backend};
use samtone_text::{DocumentText, TextTokenizer, TokenBatch};

use crate::config::Similarity;
use crate::dual_encoder::DualEncoder;
use crate::error::ModelError;
use crate::folder::checkpoint::HostTensor;
use crate::folder::model_folder::ModelFolder;
use crate::folder::{
    self, Base, Layout, Prompts, SamtoneFile, Settings, SideSettings, TokenizerFiles, TowerContent,
    replace_folder,
};
use crate::length_batches::length_batches;
use crate::part::Part;
use crate::precision::Precision;
use crate::side::Side;

/// A dual encoder that reads text.
///
/// # Examples
///
/// ```
/// use burn::backend::Flex;
/// use samtone_text::TextTokenizer;
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
    /// How its embeddings are compared.
    pub similarity: Similarity,
    /// What of a document it was trained on, if that is known.
    pub document_text: Option<DocumentText>,
    tokenizers: [Arc<TextTokenizer>; 2],
    settings: [SideSettings; 2],
    include_prompt: bool,
    kept: Arc<[Kept; 2]>,
}

/// What of each side's folder is written again, but not used here.
#[derive(Clone, Debug, Default)]
struct Kept {
    /// All prompts; of the two sides' names, the settings hold the text.
    prompts: Prompts,
    /// The tokenizer's other files.
    tokenizer_files: TokenizerFiles,
    /// Where the encoder's own weights are.
    base: Option<Base>,
}

impl<B: Backend> Retriever<B> {
    /// Joins a model and its tokenizer; `settings` are the query's, then the document's.
    ///
    /// Embeddings are compared by the cosine, and prompts pooled with their texts.
    ///
    /// # Errors
    /// If the tokenizer makes ids that the model lacks, or a length leaves no room beside its special
    /// tokens.
    pub fn new(
        model: DualEncoder<B>,
        tokenizer: TextTokenizer,
        settings: [SideSettings; 2],
    ) -> Result<Self, ModelError> {
        let tokenizer = model.config().encoder.fitted(tokenizer);
        let tokenizer = tokenizer.map_err(|source| ModelError::Tokenizer { source })?;
        let tokenizer = Arc::new(tokenizer);
        let mut retriever = Self {
            model,
            temperature: None,
            similarity: Similarity::default(),
            document_text: None,
            tokenizers: [tokenizer.clone(), tokenizer],
            settings,
            include_prompt: true,
            kept: Arc::default(),
        };
        retriever.fit()?;
        Ok(retriever)
    }

    /// Checks that the parts fit together, and has the model leave out what is not pooled.
    fn fit(&mut self) -> Result<(), ModelError> {
        for side in Side::ALL {
            let tokenizer = self.tokenizer(side);
            folder::check_class(&self.model.config().encoder, tokenizer)?;
            let (max_tokens, special) = (self.max_tokens(side), tokenizer.special_tokens());
            if max_tokens <= special {
                return Err(ModelError::NoRoom { side, max_tokens, special });
            }
        }
        let [query, document] = Side::ALL.map(|side| self.prompt_tokens(side));
        self.model.unpooled = [query?, document?];
        Ok(())
    }

    /// The tokens at the head of every text of `side` that are its prompt's and not pooled, counted
    /// as sentence-transformers counts them: the prompt is encoded alone, and what closes a text
    /// left out. So the special tokens before a text are the prompt's. It is measured under the length
    /// of its side; sentence-transformers 6 takes that of both sides even where `query_length` or
    /// `document_length` cuts the prompt itself.
    fn prompt_tokens(&self, side: Side) -> Result<usize, ModelError> {
        let prompt = self.prompt(side);
        if self.include_prompt || prompt.is_empty() {
            return Ok(0);
        }
        let tokenizer = self.tokenizer(side);
        let row = tokenizer
            .encode(prompt, self.max_tokens(side))
            .map_err(|source| ModelError::Tokenizer { source })?;
        let last = row.last().expect("every text has a token");
        let added = tokenizer.inner().get_added_tokens_decoder();
        let is_special = added.get(last).is_some_and(|token| token.special);
        Ok(row.len() - usize::from(is_special))
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
    /// As [`ModelFolder::read_tokenizer`], [`Retriever::new`] and [`ModelFolder::load`].
    pub fn load(folder: &ModelFolder, seed: u64, device: &B::Device) -> Result<Self, ModelError> {
        let query = Arc::new(folder.read_tokenizer(Side::Query)?);
        let document = if folder.is_one() {
            query.clone()
        } else {
            Arc::new(folder.read_tokenizer(Side::Document)?)
        };
        let kept = [(Side::Query, &query), (Side::Document, &document)].map(|(side, tokenizer)| {
            let tower = folder.tower(side);
            let prompts = tower.settings.prompts.clone();
            Ok::<_, ModelError>(Kept {
                prompts,
                tokenizer_files: tower.tokenizer_files(tokenizer)?,
                base: Some(tower.base.clone()),
            })
        });
        let [of_query, of_document] = kept;
        let mut retriever = Self {
            model: folder.load(seed, device)?,
            temperature: folder.temperature,
            similarity: folder.similarity,
            document_text: folder.document_text,
            tokenizers: [query, document],
            settings: [folder.query.clone(), folder.document.clone()],
            include_prompt: folder.include_prompt,
            kept: Arc::new([of_query?, of_document?]),
        };
        retriever.fit()?;
        Ok(retriever)
    }

    /// The same, its layers computing in `precision`: to embed with, not to save.
    ///
    /// # Errors
    /// If `device`, where the model lies, does not compute in it.
    pub fn compute_in(self, precision: Precision, device: &B::Device) -> Result<Self, ModelError> {
        if !precision.is_on::<B>(device) {
            return Err(ModelError::Precision { precision, backend: B::name(device) });
        }
        Ok(Self { model: self.model.compute_in(precision), ..self })
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

    /// Whether a prompt's tokens are pooled with the text's; if not, they are only read.
    pub fn include_prompt(&self) -> bool {
        self.include_prompt
    }

    /// Texts of `side` are cut to this many tokens, the special ones included.
    pub fn max_tokens(&self, side: Side) -> usize {
        self.model.config().encoder.longest_text(self.settings[side as usize].max_tokens)
    }

    /// Cuts texts of `side` to `max_tokens` tokens, or to what the encoder can read if that is less.
    ///
    /// # Errors
    /// If that leaves no room beside the special tokens.
    pub fn set_max_tokens(&mut self, side: Side, max_tokens: usize) -> Result<(), ModelError> {
        let before = self.settings[side as usize].max_tokens.replace(max_tokens);
        let fitted = self.fit();
        if fitted.is_err() {
            self.settings[side as usize].max_tokens = before;
        }
        fitted
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
    ///
    /// An empty row is read as one padding token, which is what [`Retriever::tokenize`] makes of a
    /// text without any.
    pub fn encode_tokens(&self, side: Side, rows: &[Vec<u32>], batch_tokens: usize) -> Vec<f32> {
        let dim = self.dim();
        let pad_id = self.tokenizer(side).pad_id();
        let lengths: Vec<usize> = rows.iter().map(Vec::len).collect();
        let mut embeddings = vec![0.0; rows.len() * dim];
        for now in length_batches(&lengths, batch_tokens) {
            let empty: &[u32] = &[pad_id];
            let row = |&row: &usize| if rows[row].is_empty() { empty } else { &rows[row] };
            let texts: Vec<&[u32]> = now.iter().map(row).collect();
            let states = self.model.encode(side, &TokenBatch::pad(&texts, pad_id), None);
            let states = states.into_data().convert::<f32>();
            let states = states.as_slice::<f32>().expect("converted to f32 above");
            for (&row, state) in now.iter().zip(states.chunks_exact(dim)) {
                embeddings[row * dim..][..dim].copy_from_slice(state);
            }
        }
        embeddings
    }

    /// The same with its adapters in the weights, as any other model: to be read where adapters are
    /// not. Towers that share a base have their own weights then.
    ///
    /// # Errors
    /// As [`DualEncoder::merged`].
    pub fn merged(self, device: &B::Device) -> Result<Self, ModelError> {
        let unpooled = Side::ALL.map(|side| self.model.unpooled(side));
        Ok(Self { model: self.model.merged(device)?.with_unpooled(unpooled), ..self })
    }

    /// Writes the model folder: what `SentenceTransformer(path)` opens, or for two towers two such
    /// folders, `query/` and `document/`. Of an encoder with adapters these alone are written, beside the
    /// name of the folder that they are on. The folder takes the place of what is at `path`, whole or
    /// not at all.
    ///
    /// sentence-transformers knows one length a tower: of one tower for both sides it is the longer
    /// one, beside which `samtone.json` has both.
    ///
    /// # Errors
    /// If the folder cannot be written.
    pub fn save(&self, path: &Path) -> Result<(), ModelError> {
        replace_folder(path, |folder| {
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
    /// As [`Retriever::save`], or if the model has adapters, for which sentence-transformers 6 looks for
    /// a base in a folder of the stage's name.
    pub fn save_router(&self, path: &Path) -> Result<(), ModelError> {
        if self.model.config().adapter.is_some() {
            return Err(ModelError::RouterOfAdapters);
        }
        replace_folder(path, |folder| {
            self.write_samtone(folder)?;
            let write =
                |side, route| self.tower_content(side).write_stages(folder, Layout::Route(route));
            let [query, document] = if self.is_siamese() {
                let stages = write(Side::Document, "shared")?;
                [stages.clone(), stages]
            } else {
                [write(Side::Query, "query")?, write(Side::Document, "document")?]
            };
            folder::write_routes(folder, &[(Side::Query, query), (Side::Document, document)])?;
            folder::write_modules(folder, &[(String::new(), "Router")])?;
            self.folder_settings(&Side::ALL).write(folder)
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
            document_text: self.document_text,
            temperature: self.temperature,
        };
        file.write(folder)
    }

    /// Writes `side`'s tower for the texts of `readers`.
    fn write_tower(&self, folder: &Path, side: Side, readers: &[Side]) -> Result<(), ModelError> {
        let stages = self.tower_content(side).write_stages(folder, Layout::Plain)?;
        folder::write_modules(folder, &stages)?;
        self.folder_settings(readers).write(folder)
    }

    /// The prompts of `readers` among those kept, and the similarity.
    fn folder_settings(&self, readers: &[Side]) -> Settings {
        let mut prompts = Prompts::default();
        for &side in readers {
            let kept = &self.kept[side as usize].prompts;
            prompts.texts.extend(kept.texts.clone());
            prompts.default = prompts.default.or_else(|| kept.default.clone());
        }
        for side in Side::ALL {
            prompts.texts.remove(side.name());
        }
        for &side in readers {
            prompts.texts.insert(side.name().to_owned(), self.prompt(side).to_owned());
        }
        Settings { prompts, similarity: self.similarity }
    }

    fn tower_content(&self, side: Side) -> TowerContent<'_> {
        let mut parameters = Vec::new();
        let is_adapted = self.model.config().adapter.is_some();
        self.model.for_each_parameter(|parameter, values| {
            let is_written =
                !is_adapted || parameter.is_trainable || parameter.part == Part::Projection;
            if is_written && parameter.side.is_none_or(|own| own == side) {
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
        TowerContent {
            config: self.model.config(),
            include_prompt: self.include_prompt,
            max_tokens,
            tokenizer: self.tokenizer(side),
            tokenizer_files: &self.kept[side as usize].tokenizer_files,
            base: self.kept[side as usize].base.as_ref(),
            parameters,
        }
    }

    /// The same retriever around another model of the same shape (a trained one).
    #[must_use]
    pub fn with_model<C: Backend>(&self, model: DualEncoder<C>) -> Retriever<C> {
        Retriever {
            model: model.with_unpooled(Side::ALL.map(|side| self.model.unpooled(side))),
            temperature: self.temperature,
            similarity: self.similarity,
            document_text: self.document_text,
            tokenizers: self.tokenizers.clone(),
            settings: self.settings.clone(),
            include_prompt: self.include_prompt,
            kept: self.kept.clone(),
        }
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
