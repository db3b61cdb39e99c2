//! From the configuration to a model and token rows: what a run has before its first step.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use burn::tensor::backend::Backend;
use samtone_data::embedded::World;
use samtone_data::{Dataset, DocumentText, Pair, TextTokenizer};
use samtone_model::{DualEncoder, ModelFolder, Retriever, Side, SideSettings};

use crate::config::{DataConfig, EMBEDDED, ExperimentConfig};
use crate::error::TrainError;

/// The data folders of a run, each read once.
#[derive(Debug)]
pub(crate) struct Sources {
    folders: Vec<(PathBuf, Dataset)>,
}

impl Sources {
    /// Reads every folder that `config` names, with the splits that it uses, and checks them.
    ///
    /// # Errors
    /// Anything wrong with the files, by file and line, and splits that are missing or empty.
    pub(crate) fn load(config: &DataConfig) -> Result<Self, TrainError> {
        let mut wanted: Vec<(PathBuf, Vec<&str>)> = Vec::new();
        let uses = [
            Some((&config.train, config.train_split.as_str())),
            config.dev_set(),
            config.test_set(),
        ];
        let zero_shot = config.zero_shot.iter().map(|folder| Some((folder, ZERO_SHOT_SPLIT)));
        for (folder, split) in uses.into_iter().chain(zero_shot).flatten() {
            match wanted.iter_mut().find(|(known, _)| known == folder) {
                Some((_, splits)) if splits.contains(&split) => {}
                Some((_, splits)) => splits.push(split),
                None => wanted.push((folder.clone(), vec![split])),
            }
        }
        let mut folders = Vec::new();
        for (folder, splits) in wanted {
            let mut dataset = if folder == Path::new(EMBEDDED) {
                World::generate(EMBEDDED_SEED, World::DEFAULT_SIZE).dataset()
            } else {
                Dataset::load(&folder, &splits)?
            };
            if config.lowercase {
                dataset.lowercase();
            }
            folders.push((folder, dataset));
        }
        Ok(Self { folders })
    }

    /// The index of `folder`.
    fn index(&self, folder: &Path) -> usize {
        self.folders
            .iter()
            .position(|(known, _)| known == folder)
            .expect("every folder of the configuration was read")
    }

    /// The data set read from `folder`.
    fn dataset(&self, folder: &Path) -> &Dataset {
        &self.folders[self.index(folder)].1
    }
}

/// The embedded corpus is one data set: the run's seed does not change it.
const EMBEDDED_SEED: u64 = 0;

/// The split that a zero-shot folder is judged on.
const ZERO_SHOT_SPLIT: &str = "test";

impl DataConfig {
    /// Folder and split of the dev set, if there is one.
    fn dev_set(&self) -> Option<(&PathBuf, &str)> {
        let folder = self.dev.as_ref().unwrap_or(&self.train);
        (!self.dev_split.is_empty()).then_some((folder, &self.dev_split))
    }

    /// Folder and split of the test set, if there is one.
    fn test_set(&self) -> Option<(&PathBuf, &str)> {
        let folder = self.test.as_ref().unwrap_or(&self.train);
        (!self.test_split.is_empty()).then_some((folder, &self.test_split))
    }
}

/// A split to judge on.
#[derive(Clone, Debug)]
pub(crate) struct TestSet<'a> {
    /// The folder's index among the sources.
    source: usize,
    /// The folder's own name.
    pub(crate) name: String,
    /// Its documents, queries and judgments.
    pub(crate) dataset: &'a Dataset,
    /// The split.
    pub(crate) split: &'a str,
    /// The split's queries, as indices into the data set's.
    pub(crate) queries: Vec<usize>,
    /// What of a document is read.
    pub(crate) text: DocumentText,
}

/// The token ids of a data set's queries and documents, by their indices.
#[derive(Clone, Debug)]
pub(crate) struct TokenRows {
    pub(crate) queries: Vec<Vec<u32>>,
    pub(crate) documents: Vec<Vec<u32>>,
}

/// What a run trains and is judged on, tokenised.
#[derive(Debug)]
pub(crate) struct Prepared<'a> {
    /// The training data.
    pub(crate) train: &'a Dataset,
    /// The training pairs, as indices into the training data.
    pub(crate) pairs: Vec<Pair>,
    /// The dev set.
    pub(crate) dev: Option<TestSet<'a>>,
    /// The test set.
    pub(crate) test: Option<TestSet<'a>>,
    /// Sets of other domains.
    pub(crate) zero_shot: Vec<TestSet<'a>>,
    train_source: usize,
    rows: Vec<TokenRows>,
}

impl<'a> Prepared<'a> {
    /// Tokenises everything once, as `retriever` reads it.
    ///
    /// # Errors
    /// A text that cannot be tokenised, or fewer pairs than one batch.
    pub(crate) fn new<B: Backend>(
        sources: &'a Sources,
        config: &'a ExperimentConfig,
        retriever: &Retriever<B>,
    ) -> Result<Self, TrainError> {
        let data = &config.data;
        let train_source = sources.index(&data.train);
        let train = sources.dataset(&data.train);
        let pairs = train.pairs(&data.train_split);
        if pairs.len() < config.train.batch_size {
            return Err(TrainError::TooFewPairs {
                folder: data.train.clone(),
                split: data.train_split.clone(),
                pairs: pairs.len(),
                batch: config.train.batch_size,
            });
        }
        let rows = sources
            .folders
            .iter()
            .map(|(_, dataset)| token_rows(dataset, retriever, data.document_text))
            .collect::<Result<_, _>>()?;
        let test_set = |folder: &'a PathBuf, split: &'a str| {
            let dataset = sources.dataset(folder);
            TestSet {
                source: sources.index(folder),
                name: folder
                    .file_name()
                    .map_or_else(|| folder.display().to_string(), |n| n.to_string_lossy().into()),
                dataset,
                split,
                queries: dataset.queries_of(split),
                text: data.document_text,
            }
        };
        Ok(Self {
            train,
            pairs,
            dev: data.dev_set().map(|(folder, split)| test_set(folder, split)),
            test: data.test_set().map(|(folder, split)| test_set(folder, split)),
            zero_shot: data
                .zero_shot
                .iter()
                .map(|folder| test_set(folder, ZERO_SHOT_SPLIT))
                .collect(),
            train_source,
            rows,
        })
    }

    /// The token rows of the training data.
    pub(crate) fn train_rows(&self) -> &TokenRows {
        &self.rows[self.train_source]
    }

    /// The token rows of `set`'s data.
    pub(crate) fn rows(&self, set: &TestSet<'_>) -> &TokenRows {
        &self.rows[set.source]
    }
}

/// The model before its first step, with its tokenizer: read from `model.path`, or random weights
/// and a WordPiece vocabulary of the training texts.
///
/// # Errors
/// A model folder that cannot be read, or a vocabulary that cannot be made.
pub(crate) fn start<B: Backend>(
    sources: &Sources,
    config: &ExperimentConfig,
    device: &B::Device,
) -> Result<Retriever<B>, TrainError> {
    let model = &config.model;
    let settings = [
        (&model.query_prompt, model.query_max_len),
        (&model.document_prompt, model.document_max_len),
    ]
    .map(|(prompt, max_len)| SideSettings { prompt: prompt.clone(), max_tokens: Some(max_len) });
    if let Some(path) = &model.path {
        let mut folder = ModelFolder::open(path)?;
        folder.config.sharing = model.sharing;
        folder.config.pooling = model.pooling;
        folder.config.projection = model.projection.or(folder.config.projection);
        [folder.query, folder.document] = settings;
        return Ok(Retriever::load(&folder, config.seed, device)?);
    }
    let train = sources.dataset(&config.data.train);
    let tokenizer = train_tokenizer(train, &train.pairs(&config.data.train_split), config)?;
    let dual_encoder = model.dual_encoder(tokenizer.vocab_size());
    let weights = DualEncoder::init(&dual_encoder, config.seed, device)?;
    Ok(Retriever::new(weights, tokenizer, settings)?)
}

/// A WordPiece vocabulary of the texts that training reads: no test text takes part.
fn train_tokenizer(
    train: &Dataset,
    pairs: &[Pair],
    config: &ExperimentConfig,
) -> Result<TextTokenizer, TrainError> {
    let used = |index: fn(&Pair) -> usize| {
        let mut used: Vec<usize> = pairs.iter().map(index).collect();
        used.sort_unstable();
        used.dedup();
        used
    };
    let queries = used(|pair| pair.query).into_iter().map(|i| train.queries()[i].text.as_str());
    let documents = used(|pair| pair.document)
        .into_iter()
        .map(|i| train.documents()[i].passage(config.data.document_text));
    let texts: Vec<Cow<'_, str>> = queries.map(Cow::Borrowed).chain(documents).collect();
    let vocab_size = config.model.encoder.vocab_size();
    Ok(TextTokenizer::train_wordpiece(&texts, vocab_size, true)?)
}

fn token_rows<B: Backend>(
    dataset: &Dataset,
    retriever: &Retriever<B>,
    text: DocumentText,
) -> Result<TokenRows, TrainError> {
    let queries: Vec<&str> = dataset.queries().iter().map(|query| query.text.as_str()).collect();
    let documents: Vec<Cow<'_, str>> =
        dataset.documents().iter().map(|document| document.passage(text)).collect();
    Ok(TokenRows {
        queries: retriever.tokenize(Side::Query, &queries)?,
        documents: retriever.tokenize(Side::Document, &documents)?,
    })
}
