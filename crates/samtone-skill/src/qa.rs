//! A whole closed-book fine-tuning: questions in, a model that answers them and its judgment out.
//!
//! ```text
//! run/  config.toml, metrics.jsonl, checkpoints/, environment.json, as of any run
//!       model/                   the fine-tuned model's folder
//!       predictions-SPLIT.jsonl  question, prediction, answers, whether it is right
//!       summary.json             results alone
//! ```

use std::path::{Path, PathBuf};
use std::time::Instant;

use burn::tensor::backend::AutodiffBackend;
use samtone_data::embedded::{Split, World};
use samtone_data::reading::{QaPair, Triple};
use samtone_model::{Seq2Seq, TextToText};
use samtone_text::{Key, TextTokenizer};
use samtone_train::TrainError;
use samtone_train::config::{Configuration, EMBEDDED};
use samtone_train::run::{
    Before, EMBEDDED_SEED, ENVIRONMENT, Environment, Event, Identity, MODEL, Metrics, Outcome,
    Place, RunFolder, RunOptions, SUMMARY, Work,
};
use serde::Serialize;

use crate::config::{DecodingConfig, LearningConfig, QaConfig, QuestionConfig, Start};
use crate::corpus::{ExampleSource, MaskForm, Mixture, matched, read_questions};
use crate::fit::{Fitted, Lesson, fit};
use crate::judge::{predict, share, write_predictions};
use crate::records::Records;
use crate::summary::{QaResult, QaSummary};

/// Fine-tunes on questions, judges by exact match and writes the run folder.
///
/// # Errors
/// Anything that keeps the run from starting or going on; checkpoints stay.
pub fn qa<B: AutodiffBackend>(
    config: &QaConfig,
    options: RunOptions<'_>,
    device: &B::Device,
    observe: &mut dyn FnMut(Event<'_>),
) -> Result<Outcome<QaSummary, QaConfig>, TrainError> {
    let started = Instant::now();
    let path = options.folder;
    let config = &QaConfig { model: config.model.pinned()?, ..config.clone() };
    let mut now = Identity::new(config, Vec::new());
    let mut folder = RunFolder::open(path, options.resume, &now)?;
    if folder.is_finished() {
        return Outcome::of_finished(&folder, config.clone(), Vec::new());
    }
    observe(Event::Phase("reading the questions"));
    let questions = Questions::load(&config.data)?;
    let (data, model) = (&config.data, &config.model);
    let texts = || Ok(questions.texts());
    let start = open::<B>(model, folder.vocabulary().as_deref(), config.seed, texts, device)?;
    for file in data.files() {
        now.reads_file(file)?;
    }
    model.path.iter().try_for_each(|path| now.reads_model(path))?;
    let place = Place { folder: path, stop: options.stop, job: None, started };
    let tuning = Tuning {
        questions: &questions,
        data,
        train: &config.train,
        eval: &config.eval,
        seed: config.seed,
    };
    let steps = config.train.steps(tuning.mixture(start.tokenizer())?.pass());
    let vocabulary = model.path.is_none().then(|| &**start.tokenizer());
    let now = Identity { chunk: config.train.chunk(), steps, ..now };
    folder.take(&now)?;
    folder.begin(&now, &config.to_toml(), vocabulary)?;
    let tuned = tuning.run(&start, "questions", &place, device, observe)?;
    folder.unfinish()?;
    tuned.model.valid().save(&path.join(MODEL))?;
    let summary = QaSummary { seed: config.seed, steps: tuned.steps, result: tuned.result };
    end(&folder, config, summary, options.backend, &start, &tuned.work, tuned.before.and(started))
}

/// Writes what a run from `start` found and what it took: it has ended then.
pub(crate) fn end<B: AutodiffBackend, S: Serialize, C: Clone>(
    folder: &RunFolder<'_>,
    config: &C,
    summary: S,
    backend: &str,
    start: &TextToText<B>,
    work: &Work,
    legs: Before,
) -> Result<Outcome<S, C>, TrainError> {
    let environment = Environment::new(backend, start.model.num_parameters(), work, legs);
    folder.write_json(ENVIRONMENT, &environment)?;
    folder.write_json(SUMMARY, &summary)?;
    let (config, changed) = (config.clone(), Vec::new());
    Ok(Outcome { summary, environment, config, changed, was_finished: false })
}

impl QuestionConfig {
    /// Everything that is read.
    pub(crate) fn files(&self) -> impl Iterator<Item = &PathBuf> {
        let Self { train, dev, test, matched, .. } = self;
        [Some(train), dev.as_ref(), test.as_ref(), matched.as_ref()].into_iter().flatten()
    }
}

/// The questions of a fine-tuning, by split.
#[derive(Clone, Debug)]
pub(crate) struct Questions {
    pub(crate) train: Vec<QaPair>,
    pub(crate) dev: Vec<QaPair>,
    pub(crate) test: Vec<QaPair>,
    /// For each test question whether the triples speak of it; empty if no triples were given.
    is_matched: Vec<bool>,
}

impl Questions {
    pub(crate) fn load(data: &QuestionConfig) -> Result<Self, TrainError> {
        let world = |split| World::generate(EMBEDDED_SEED, data.embedded_size).qa(split);
        let embedded = PathBuf::from(EMBEDDED);
        let beside_train = (data.train == embedded).then_some(&embedded);
        let read = |path: Option<&PathBuf>, split| match path.or(beside_train) {
            None => Ok(Vec::new()),
            Some(path) if *path == embedded => Ok(world(split)),
            Some(path) => read_questions(path),
        };
        let train = read(Some(&data.train), Split::Train)?;
        if train.is_empty() {
            let (folder, split) = (data.train.clone(), "train".into());
            return Err(TrainError::TooFewPairs { folder, split, pairs: 0, batch: 1 });
        }
        let dev = read(data.dev.as_ref(), Split::Dev)?;
        let test = read(data.test.as_ref(), Split::Test)?;
        let is_matched = match &data.matched {
            None => Vec::new(),
            Some(path) => matched(&test, open_triples(path, data.embedded_size)?.iter())?,
        };
        Ok(Self { train, dev, test, is_matched })
    }

    /// Of a closed part, whose questions are all spoken of.
    pub(crate) fn of_part(splits: [Vec<QaPair>; 3]) -> Self {
        let [train, dev, test] = splits;
        Self { train, dev, test, is_matched: Vec::new() }
    }

    /// What a vocabulary is made of.
    pub(crate) fn texts(&self) -> Vec<String> {
        let texts = |pair: &QaPair| [vec![pair.question.clone()], pair.answers.clone()].concat();
        self.train.iter().flat_map(texts).collect()
    }

    /// The splits that are judged.
    fn judged(&self) -> impl Iterator<Item = (&'static str, &[QaPair])> {
        let splits = [("dev", self.dev.as_slice()), ("test", self.test.as_slice())];
        splits.into_iter().filter(|(_, questions)| !questions.is_empty())
    }
}

/// One fine-tuning, of whatever model.
pub(crate) struct Tuning<'a> {
    pub(crate) questions: &'a Questions,
    pub(crate) data: &'a QuestionConfig,
    pub(crate) train: &'a LearningConfig,
    pub(crate) eval: &'a DecodingConfig,
    pub(crate) seed: u64,
}

/// A fine-tuned model.
pub(crate) struct Tuned<B: AutodiffBackend> {
    pub(crate) model: TextToText<B>,
    pub(crate) result: QaResult,
    pub(crate) steps: usize,
    pub(crate) work: Work,
    pub(crate) before: Before,
}

impl Tuning<'_> {
    /// The questions as examples; fails if a length leaves nothing of them.
    pub(crate) fn mixture(&self, tokenizer: &TextTokenizer) -> Result<Mixture, TrainError> {
        let source = ExampleSource::Questions(Records::in_memory(self.questions.train.clone()));
        let key = Key::new(self.seed).child("questions");
        let lens = [self.data.max_input, self.data.max_target];
        Ok(Mixture::new(vec![(1.0, source)], MaskForm::default(), lens, tokenizer, key)?)
    }

    /// Fine-tunes `start` in `place`, judges and writes the predictions there.
    pub(crate) fn run<B: AutodiffBackend>(
        &self,
        start: &TextToText<B>,
        name: &str,
        place: &Place<'_>,
        device: &B::Device,
        observe: &mut dyn FnMut(Event<'_>),
    ) -> Result<Tuned<B>, TrainError> {
        let Self { questions, data, train, eval, seed } = *self;
        let mixture = self.mixture(start.tokenizer())?;
        let steps = train.steps(mixture.pass());
        let dropout = Key::new(seed).child("questions").child("dropout");
        let lesson = Lesson { name, mixture: &mixture, train, steps, dropout };
        let judge = |model: &TextToText<B::InnerBackend>| {
            let dev = predict(model, &questions.dev, data, eval)?;
            Ok::<_, TrainError>(Metrics::from([("exact_match".to_owned(), share(&dev))]))
        };
        let Fitted { model, steps, train_loss, work, before } =
            fit(start, &lesson, &judge, place, device, observe)?;
        observe(Event::Phase("answering"));
        let mut result = QaResult { train_loss, ..QaResult::default() };
        let valid = model.valid();
        for (split, asked) in questions.judged() {
            let predictions = predict(&valid, asked, data, eval)?;
            let path = place.folder.join(format!("predictions-{split}.jsonl"));
            write_predictions(&path, &predictions)?;
            result.exact_match.insert(split.into(), share(&predictions));
            result.questions.insert(split.into(), predictions.len());
            if split == "test" && !questions.is_matched.is_empty() {
                let pairs = predictions.iter().zip(&questions.is_matched);
                let kept: Vec<_> = pairs.filter_map(|(p, is)| is.then_some(p)).collect();
                result.questions.insert("test_matched".into(), kept.len());
                result.exact_match.insert("test_matched".into(), share(kept));
            }
        }
        Ok(Tuned { model, result, steps, work, before })
    }
}

/// The triples of a file, or of the embedded world.
pub(crate) fn open_triples(path: &Path, size: usize) -> Result<Records<Triple>, TrainError> {
    if path == Path::new(EMBEDDED) {
        let world = World::generate(EMBEDDED_SEED, size);
        return Ok(Records::in_memory(world.triples().to_vec()));
    }
    Ok(Records::open(path, |line| Triple::parse(line).map(Some))?)
}

/// The model before its first step: read from `start.path`, or random weights with the `vocabulary`
/// that there is or one of `texts`.
pub(crate) fn open<B: AutodiffBackend>(
    start: &Start,
    vocabulary: Option<&Path>,
    seed: u64,
    texts: impl FnOnce() -> Result<Vec<String>, TrainError>,
    device: &B::Device,
) -> Result<TextToText<B>, TrainError> {
    if let Some(path) = &start.path {
        return Ok(TextToText::open(path, device)?);
    }
    let tokenizer = match vocabulary {
        Some(path) => TextTokenizer::from_file(path)?,
        None => TextTokenizer::train_text_to_text(&texts()?, start.encoder.vocab_size)?,
    };
    let config = start.seq2seq(tokenizer.vocab_size());
    Ok(TextToText::new(Seq2Seq::init(&config, seed, device)?, tokenizer.into())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_of_a_file_bring_none_of_the_embedded_world() {
        let embedded = Questions::load(&QuestionConfig::default()).unwrap();
        assert_eq!(embedded.judged().count(), 2);

        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("train.jsonl");
        std::fs::write(&file, r#"{"question": "who", "answers": ["she"]}"#).unwrap();
        let mut data = QuestionConfig { train: file, ..QuestionConfig::default() };
        assert_eq!(Questions::load(&data).unwrap().judged().count(), 0);
        data.test = Some(EMBEDDED.into());
        assert_eq!(Questions::load(&data).unwrap().test.len(), embedded.test.len());
    }
}
