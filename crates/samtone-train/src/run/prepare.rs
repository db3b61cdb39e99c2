//! From the configuration to token rows: what a run trains and is judged on.

use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use burn::tensor::backend::Backend;
use samtone_data::embedded::World;
use samtone_data::{DataError, Dataset, Pair};
use samtone_model::{ModelError, Retriever, Side};
use samtone_text::{DocumentText, TextTokenizer, TokenCache};

use crate::config::{DataConfig, EMBEDDED, ExperimentConfig, is_pairs_file, set_name};
use crate::error::TrainError;
use crate::run::identity::data_sum;

/// The data sets of a run, each read once.
#[derive(Debug)]
pub(crate) struct Sources {
    sets: Vec<SourceSet>,
}

/// A data set with the splits that the run uses.
#[derive(Debug)]
struct SourceSet {
    path: PathBuf,
    splits: Vec<String>,
    dataset: Arc<Dataset>,
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
            let dataset = load_data(path, &splits)?;
            let splits = splits.into_iter().map(String::from).collect();
            sets.push(SourceSet { path: path.into(), splits, dataset: Arc::new(dataset) });
        }
        Ok(Self { sets })
    }

    /// What each set is called and the sum of what the run uses of it.
    pub(crate) fn sums(&self) -> impl Iterator<Item = (String, blake3::Hash)> {
        self.sets.iter().map(|set| {
            let splits: Vec<&str> = set.splits.iter().map(String::as_str).collect();
            (format!("the data of `{}`", set.path.display()), data_sum(&set.dataset, &splits))
        })
    }

    /// The index of the set at `path`.
    fn index(&self, path: &Path) -> usize {
        self.sets
            .iter()
            .position(|set| set.path == path)
            .expect("every set of the configuration was read")
    }
}

/// Reads the splits of the data at `path`: a folder in BEIR layout, a file of pairs, which is the first of
/// the splits, or [`EMBEDDED`].
///
/// # Errors
/// What is wrong with the files, by file and line, and splits that are missing or empty.
///
/// # Panics
/// If `splits` is empty.
pub fn load_data(path: &Path, splits: &[&str]) -> Result<Dataset, DataError> {
    let dataset = if path == Path::new(EMBEDDED) {
        World::generate(EMBEDDED_SEED, World::DEFAULT_SIZE).dataset()
    } else if is_pairs_file(path) {
        Dataset::load_pairs(path, splits[0])?
    } else {
        Dataset::load(path, splits)?
    };
    // A file of pairs is one split, the embedded world has its own.
    let is_known = |split: &&str| dataset.split_names().any(|known| known == *split);
    match splits.iter().find(|split| !is_known(split)) {
        None => Ok(dataset),
        Some(split) => {
            let available = dataset.split_names().map(String::from).collect();
            Err(DataError::NoSplit { dir: path.into(), split: (*split).to_owned(), available })
        }
    }
}

/// The embedded corpus is one data set: the run's seed does not change it.
pub const EMBEDDED_SEED: u64 = 0;

/// The split that a zero-shot folder is judged on.
const ZERO_SHOT_SPLIT: &str = "test";

/// A split to train on.
#[derive(Clone, Debug)]
pub(crate) struct TrainSet {
    /// Its index among the sources.
    pub(crate) source: usize,
    /// The path it was read from.
    pub(crate) path: PathBuf,
    /// Its split.
    pub(crate) split: String,
    /// Its documents, queries and judgments.
    pub(crate) dataset: Arc<Dataset>,
    /// Its training pairs, as indices into the data set.
    pub(crate) pairs: Vec<Pair>,
}

/// The splits to train on.
///
/// # Errors
/// Fewer pairs than one batch, or none with what the configuration wants to learn from.
pub(crate) fn train_sets(
    sources: &Sources,
    config: &ExperimentConfig,
) -> Result<Vec<TrainSet>, TrainError> {
    let batch = config.train.batch_size;
    let mut sets = Vec::new();
    for (path, split) in config.data.training_sets() {
        let source = sources.index(path);
        let dataset = sources.sets[source].dataset.clone();
        let (pairs, path, split) = (dataset.pairs(split), path.to_owned(), split.to_owned());
        if pairs.len() < batch {
            let folder = path;
            return Err(TrainError::TooFewPairs { folder, split, pairs: pairs.len(), batch });
        }
        sets.push(TrainSet { source, path, split, dataset, pairs });
    }
    let has = |what: fn(&Pair) -> bool| sets.iter().any(|set| set.pairs.iter().any(what));
    let has_none = !has(|pair| !pair.negatives.is_empty());
    let wants_negatives = config.train.negatives() > 0 || config.distillation.is_some();
    let missing = if wants_negatives && has_none {
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
pub(crate) struct TestSet {
    /// Its index among the sources.
    pub(crate) source: usize,
    /// The folder's own name.
    pub(crate) name: String,
    /// Its documents, queries and judgments.
    pub(crate) dataset: Arc<Dataset>,
    /// The split.
    pub(crate) split: String,
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
pub(crate) struct Prepared {
    /// What is trained on.
    pub(crate) train: Vec<TrainSet>,
    /// The dev set.
    pub(crate) dev: Option<TestSet>,
    /// The test set.
    pub(crate) test: Option<TestSet>,
    /// Sets of other domains.
    pub(crate) zero_shot: Vec<TestSet>,
    rows: Vec<TokenRows>,
}

impl Prepared {
    /// Tokenises everything once, as `retriever` reads it, or finds it in the folder `cache`.
    ///
    /// # Errors
    /// A text that cannot be tokenised, or a cache that cannot be written.
    pub(crate) fn new<B: Backend>(
        sources: &Sources,
        train: Vec<TrainSet>,
        config: &ExperimentConfig,
        retriever: &Retriever<B>,
        cache: &Path,
    ) -> Result<Self, TrainError> {
        let (data, text) = (&config.data, config.data.document_text());
        let rows = sources
            .sets
            .iter()
            .map(|set| token_rows(&set.dataset, retriever, text, cache))
            .collect::<Result<_, _>>()?;
        let test_set = |(folder, split): (&Path, &str)| {
            let source = sources.index(folder);
            let dataset = sources.sets[source].dataset.clone();
            TestSet { source, name: set_name(folder), dataset, split: split.to_owned(), text }
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

    /// The share of the training pairs whose text on `side` fills all `limit` tokens, in [0, 1].
    pub(crate) fn filled(&self, side: Side, limit: usize) -> f64 {
        let (mut pairs, mut full) = (0, 0);
        for set in &self.train {
            let rows = self.train_rows(set);
            pairs += set.pairs.len();
            let is_full = |pair: &&Pair| match side {
                Side::Query => rows.queries.row_len(pair.query) >= limit,
                Side::Document => rows.documents.row_len(pair.document) >= limit,
            };
            full += set.pairs.iter().filter(is_full).count();
        }
        full as f64 / pairs.max(1) as f64
    }

    /// The set that speaks for the run, test before dev.
    pub(crate) fn speaking(&self) -> Option<&TestSet> {
        self.test.as_ref().or(self.dev.as_ref())
    }

    /// Whether `set` is the one that speaks for the run.
    pub(crate) fn speaks(&self, set: &TestSet) -> bool {
        self.speaking().is_some_and(|speaking| std::ptr::eq(speaking, set))
    }

    /// What the run is judged on, and what it is to the run.
    pub(crate) fn judged(&self) -> Vec<(&'static str, &TestSet)> {
        let own = self
            .dev
            .iter()
            .map(|set| ("dev", set))
            .chain(self.test.iter().map(|set| ("test", set)));
        own.chain(self.zero_shot.iter().map(|set| ("zero-shot", set))).collect()
    }

    /// The token rows of a training set's data.
    pub(crate) fn train_rows(&self, set: &TrainSet) -> &TokenRows {
        &self.rows[set.source]
    }

    /// The token rows of `set`'s data.
    pub(crate) fn rows(&self, set: &TestSet) -> &TokenRows {
        &self.rows[set.source]
    }
}

/// A WordPiece vocabulary of the texts that training pairs: no test text takes part.
pub(crate) fn train_tokenizer(
    train: &[TrainSet],
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
            documents.map(|i| set.dataset.document(i).passage(config.data.document_text())),
        );
    }
    let (vocab_size, lowercase) = (config.model.vocab_size(), config.data.lowercase);
    Ok(TextTokenizer::train_wordpiece(&texts, vocab_size, lowercase.unwrap_or(true))?)
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
            dataset.documents().for_each(|document| put(&document.passage(text)));
        })?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Configuration;

    fn config(text: &str) -> ExperimentConfig {
        ExperimentConfig::parse(text, Path::new("x.toml"), &[]).unwrap()
    }

    /// A file of three pairs, the last without a negative.
    fn pairs(folder: &Path) -> PathBuf {
        let path = folder.join("pairs.jsonl");
        let text = r#"{"query": "a", "positive": "A", "negatives": ["x"]}
{"query": "b", "positive": "B", "negatives": ["y"]}
{"query": "c", "positive": "C"}
"#;
        std::fs::write(&path, text).unwrap();
        path
    }

    #[test]
    fn a_set_of_several_splits_is_read_once() {
        let config = config("");
        let sources = Sources::load(&config.data).unwrap();
        assert_eq!(sources.sets.len(), 1);
        assert_eq!(sources.sets[0].splits, ["train", "dev", "test"]);
        let names: Vec<String> = sources.sums().map(|(name, _)| name).collect();
        assert_eq!(names, ["the data of `embedded`"]);
    }

    #[test]
    fn a_split_that_is_not_there_is_told_before_any_work() {
        let config = config("[data]\ntest_split = \"tset\"");
        let error = Sources::load(&config.data).unwrap_err();
        assert!(error.to_string().contains("`tset`"), "{error}");
        assert_eq!(
            error.hint().as_deref(),
            Some("did you mean `test`? there are: `dev`, `test`, `train`")
        );
    }

    #[test]
    fn a_folder_without_a_dev_split_is_told_how_to_get_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data");
        World::generate(0, 100).save(&path).unwrap();
        std::fs::remove_file(path.join("qrels/dev.tsv")).unwrap();
        let config = config(&format!("[data]\ntrain = {path:?}"));
        let hint = Sources::load(&config.data).unwrap_err().hint().unwrap();
        assert!(hint.contains("`samtone split` makes `dev` of another"), "{hint}");
        assert!(hint.contains("an empty `data.dev_split` does without"), "{hint}");
    }

    #[test]
    fn too_few_pairs_and_pairs_without_what_is_learned_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = pairs(folder.path());
        let sets = |keys: &str| {
            let text =
                format!("[data]\ntrain = {path:?}\ndev_split = \"\"\ntest_split = \"\"\n{keys}");
            let config = config(&text);
            train_sets(&Sources::load(&config.data)?, &config)
        };
        let error = sets("[train]\nbatch_size = 4").unwrap_err();
        assert!(matches!(error, TrainError::TooFewPairs { pairs: 3, batch: 4, .. }), "{error}");
        let sets_of_three = sets("[train]\nbatch_size = 3\nhard_negatives = 1").unwrap();
        assert_eq!(sets_of_three[0].pairs.len(), 3);
        let error =
            sets("[train]\nbatch_size = 3\nhard_negatives = 1\n[distillation]").unwrap_err();
        assert!(error.to_string().contains("teacher's score"), "{error}");
    }
}
