//! From the configuration to token rows: what a run reads before its first step.

use std::path::{Path, PathBuf};

use samtone_data::embedded::World;
use samtone_data::{Dataset, DocumentText, Pair, TextTokenizer};

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

/// The token ids of many texts, end to end.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rows {
    ids: Vec<u32>,
    ends: Vec<usize>,
}

impl Rows {
    /// The token ids of text `row`.
    pub(crate) fn get(&self, row: usize) -> &[u32] {
        let start = if row == 0 { 0 } else { self.ends[row - 1] };
        &self.ids[start..self.ends[row]]
    }

    /// All rows in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &[u32]> {
        (0..self.ends.len()).map(|row| self.get(row))
    }

    fn push(&mut self, ids: &[u32]) {
        self.ids.extend_from_slice(ids);
        self.ends.push(self.ids.len());
    }
}

/// The token rows of a data set's queries and documents, by their indices.
#[derive(Clone, Debug)]
pub(crate) struct TokenRows {
    /// The queries.
    pub(crate) queries: Rows,
    /// The documents.
    pub(crate) documents: Rows,
}

/// What a run trains and is judged on, tokenised.
#[derive(Debug)]
pub(crate) struct Prepared<'a> {
    /// The tokenizer of both towers.
    pub(crate) tokenizer: TextTokenizer,
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
    /// Trains or reads the tokenizer, and tokenises everything once.
    ///
    /// # Errors
    /// A tokenizer that cannot be trained or read, or fewer pairs than one batch.
    pub(crate) fn new(
        sources: &'a Sources,
        config: &'a ExperimentConfig,
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
        let tokenizer = match &config.model.path {
            Some(folder) => TextTokenizer::from_file(&folder.join("tokenizer.json"))?,
            None => train_tokenizer(train, &pairs, config)?,
        };
        let rows = sources
            .folders
            .iter()
            .map(|(_, dataset)| token_rows(dataset, &tokenizer, config))
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
            tokenizer,
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
    let queries = used(|pair| pair.query).into_iter().map(|i| train.queries()[i].text.clone());
    let documents = used(|pair| pair.document)
        .into_iter()
        .map(|i| train.documents()[i].passage(config.data.document_text).into_owned());
    let texts: Vec<String> = queries.chain(documents).collect();
    let vocab_size = config.model.encoder.vocab_size();
    Ok(TextTokenizer::train_wordpiece(&texts, vocab_size, true)?)
}

fn token_rows(
    dataset: &Dataset,
    tokenizer: &TextTokenizer,
    config: &ExperimentConfig,
) -> Result<TokenRows, TrainError> {
    let model = &config.model;
    let queries = dataset.queries().iter().map(|query| query.text.clone());
    let documents = dataset
        .documents()
        .iter()
        .map(|document| document.passage(config.data.document_text).into_owned());
    Ok(TokenRows {
        queries: tokenise(tokenizer, queries, &model.query_prompt, model.query_max_len)?,
        documents: tokenise(tokenizer, documents, &model.document_prompt, model.document_max_len)?,
    })
}

fn tokenise(
    tokenizer: &TextTokenizer,
    texts: impl Iterator<Item = String>,
    prompt: &str,
    max_len: usize,
) -> Result<Rows, TrainError> {
    let texts: Vec<String> = texts.map(|text| format!("{prompt}{text}")).collect();
    let mut rows = Rows::default();
    for ids in tokenizer.encode_batch(&texts, max_len)? {
        rows.push(&ids);
    }
    Ok(rows)
}
