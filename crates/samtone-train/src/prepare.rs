//! From the configuration to a model and token rows: what a run has before its first step.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use burn::tensor::backend::Backend;
use samtone_data::cache::TokenCache;
use samtone_data::embedded::World;
use samtone_data::{Dataset, DocumentText, Pair, TextTokenizer};
use samtone_model::{DualEncoder, ModelError, ModelFolder, Retriever, Side, SideSettings};

use crate::config::{DataConfig, EMBEDDED, ExperimentConfig, is_pairs_file, set_name};
use crate::error::TrainError;

/// The data sets of a run, each read once.
#[derive(Debug)]
pub(crate) struct Sources {
    sets: Vec<(PathBuf, Dataset)>,
}

impl Sources {
    /// Reads every set that `config` names, with the splits that it uses, and checks them.
    ///
    /// # Errors
    /// Anything wrong with the files, by file and line, and splits that are missing or empty.
    pub(crate) fn load(config: &DataConfig) -> Result<Self, TrainError> {
        let mut wanted: Vec<(&Path, Vec<&str>)> = Vec::new();
        let zero_shot = config.zero_shot.iter().map(|folder| (folder.as_path(), ZERO_SHOT_SPLIT));
        let judged = config.dev_set().into_iter().chain(config.test_set()).chain(zero_shot);
        for (path, split) in config.training_sets().into_iter().chain(judged) {
            match wanted.iter_mut().find(|(known, _)| *known == path) {
                Some((_, splits)) if splits.contains(&split) => {}
                Some((_, splits)) => splits.push(split),
                None => wanted.push((path, vec![split])),
            }
        }
        let mut sets = Vec::new();
        for (path, splits) in wanted {
            let mut dataset = if path == Path::new(EMBEDDED) {
                World::generate(EMBEDDED_SEED, World::DEFAULT_SIZE).dataset()
            } else if is_pairs_file(path) {
                Dataset::load_pairs(path, splits[0])?
            } else {
                Dataset::load(path, &splits)?
            };
            if config.lowercase {
                dataset.lowercase();
            }
            sets.push((path.to_owned(), dataset));
        }
        Ok(Self { sets })
    }

    /// The index of the set at `path`.
    fn index(&self, path: &Path) -> usize {
        self.sets
            .iter()
            .position(|(known, _)| known == path)
            .expect("every set of the configuration was read")
    }
}

/// The embedded corpus is one data set: the run's seed does not change it.
pub(crate) const EMBEDDED_SEED: u64 = 0;

/// The split that a zero-shot folder is judged on.
const ZERO_SHOT_SPLIT: &str = "test";

/// A split to train on.
#[derive(Clone, Debug)]
pub(crate) struct TrainSet<'a> {
    /// Its index among the sources.
    pub(crate) source: usize,
    /// The path it was read from.
    pub(crate) path: &'a Path,
    /// Its split.
    pub(crate) split: &'a str,
    /// Its documents, queries and judgments.
    pub(crate) dataset: &'a Dataset,
    /// Its training pairs, as indices into the data set.
    pub(crate) pairs: Vec<Pair>,
}

/// Checks that `device` computes with what `train.precision` asks for.
///
/// # Errors
/// [`TrainError::Precision`] where it does not.
pub(crate) fn check_precision<B: Backend>(
    config: &ExperimentConfig,
    device: &B::Device,
) -> Result<(), TrainError> {
    let precision = config.train.precision;
    match precision.half() {
        Some(half) if !B::supports_dtype(device, half) => {
            Err(TrainError::Precision { precision, backend: B::name(device) })
        }
        _ => Ok(()),
    }
}

/// The splits to train on.
///
/// # Errors
/// Fewer pairs than one batch, or none with what the configuration wants to learn from.
pub(crate) fn train_sets<'a>(
    sources: &'a Sources,
    config: &'a ExperimentConfig,
) -> Result<Vec<TrainSet<'a>>, TrainError> {
    let batch = config.train.batch_size;
    let mut sets = Vec::new();
    for (path, split) in config.data.training_sets() {
        let source = sources.index(path);
        let dataset = &sources.sets[source].1;
        let pairs = dataset.pairs(split);
        if pairs.len() < batch {
            let (folder, split) = (path.to_owned(), split.to_owned());
            return Err(TrainError::TooFewPairs { folder, split, pairs: pairs.len(), batch });
        }
        sets.push(TrainSet { source, path, split, dataset, pairs });
    }
    let has = |what: fn(&Pair) -> bool| sets.iter().any(|set| set.pairs.iter().any(what));
    let missing = if config.train.hard_negatives > 0 && !has(|pair| !pair.negatives.is_empty()) {
        Some(("hard negative", "train.hard_negatives"))
    } else if config.distillation.is_some() && !has(|pair| pair.scores.len() > 1) {
        Some(("teacher's score", "distillation"))
    } else {
        None
    };
    match missing {
        Some((what, key)) => {
            Err(TrainError::NothingToLearn { data: config.data.train.to_string(), what, key })
        }
        None => Ok(sets),
    }
}

/// A split to judge on.
#[derive(Clone, Debug)]
pub(crate) struct TestSet<'a> {
    /// Its index among the sources.
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

/// The token ids of a data set's queries and documents, by their indices, mapped from files.
#[derive(Debug)]
pub(crate) struct TokenRows {
    pub(crate) queries: TokenCache,
    pub(crate) documents: TokenCache,
}

/// What a run trains and is judged on, tokenised.
#[derive(Debug)]
pub(crate) struct Prepared<'a> {
    /// What is trained on.
    pub(crate) train: Vec<TrainSet<'a>>,
    /// The dev set.
    pub(crate) dev: Option<TestSet<'a>>,
    /// The test set.
    pub(crate) test: Option<TestSet<'a>>,
    /// Sets of other domains.
    pub(crate) zero_shot: Vec<TestSet<'a>>,
    rows: Vec<TokenRows>,
}

impl<'a> Prepared<'a> {
    /// Tokenises everything once, as `retriever` reads it, or finds it in the folder `cache`.
    ///
    /// # Errors
    /// A text that cannot be tokenised, or a cache that cannot be written.
    pub(crate) fn new<B: Backend>(
        sources: &'a Sources,
        train: Vec<TrainSet<'a>>,
        config: &'a ExperimentConfig,
        retriever: &Retriever<B>,
        cache: &Path,
    ) -> Result<Self, TrainError> {
        let data = &config.data;
        let rows = sources
            .sets
            .iter()
            .map(|(_, dataset)| token_rows(dataset, retriever, data.document_text, cache))
            .collect::<Result<_, _>>()?;
        let test_set = |(folder, split): (&'a Path, &'a str)| {
            let source = sources.index(folder);
            let dataset = &sources.sets[source].1;
            TestSet {
                source,
                name: set_name(folder),
                dataset,
                split,
                queries: dataset.queries_of(split),
                text: data.document_text,
            }
        };
        Ok(Self {
            train,
            dev: data.dev_set().map(test_set),
            test: data.test_set().map(test_set),
            zero_shot: data
                .zero_shot
                .iter()
                .map(|folder| test_set((folder, ZERO_SHOT_SPLIT)))
                .collect(),
            rows,
        })
    }

    /// The token rows of a training set's data.
    pub(crate) fn train_rows(&self, set: &TrainSet<'_>) -> &TokenRows {
        &self.rows[set.source]
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
    train: &[TrainSet<'_>],
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
    let tokenizer = train_tokenizer(train, config)?;
    let dual_encoder = model.dual_encoder(tokenizer.vocab_size());
    let weights = DualEncoder::init(&dual_encoder, config.seed, device)?;
    Ok(Retriever::new(weights, tokenizer, settings)?)
}

/// A WordPiece vocabulary of the texts that training pairs: no test text takes part.
fn train_tokenizer(
    train: &[TrainSet<'_>],
    config: &ExperimentConfig,
) -> Result<TextTokenizer, TrainError> {
    let mut texts: Vec<Cow<'_, str>> = Vec::new();
    for set in train {
        let used = |index: fn(&Pair) -> usize| {
            let mut used: Vec<usize> = set.pairs.iter().map(index).collect();
            used.sort_unstable();
            used.dedup();
            used
        };
        let queries = used(|pair| pair.query).into_iter();
        texts.extend(queries.map(|i| Cow::Borrowed(set.dataset.queries()[i].text.as_str())));
        let documents = used(|pair| pair.document).into_iter();
        texts.extend(
            documents.map(|i| set.dataset.documents()[i].passage(config.data.document_text)),
        );
    }
    let vocab_size = config.model.encoder.vocab_size();
    Ok(TextTokenizer::train_wordpiece(&texts, vocab_size, true)?)
}

/// Passes texts to its argument, one after the other.
type EachText<'a> = dyn Fn(&mut dyn FnMut(&str)) + 'a;

fn token_rows<B: Backend>(
    dataset: &Dataset,
    retriever: &Retriever<B>,
    text: DocumentText,
    cache: &Path,
) -> Result<TokenRows, TrainError> {
    let rows = |side, each_text: &EachText<'_>| {
        let prompt = retriever.prompt(side);
        TokenCache::of_stream(cache, retriever.tokenizer(side), retriever.max_tokens(side), |put| {
            each_text(&mut |text| {
                if prompt.is_empty() { put(text) } else { put(&format!("{prompt}{text}")) }
            });
            Ok(())
        })
        .map_err(|source| ModelError::Tokenizer { source })
    };
    Ok(TokenRows {
        queries: rows(Side::Query, &|put| {
            dataset.queries().iter().for_each(|query| put(&query.text));
        })?,
        documents: rows(Side::Document, &|put| {
            dataset.documents().iter().for_each(|document| put(&document.passage(text)));
        })?,
    })
}
