//! A whole infusion: triples and text in, a model that knows them out; and what it then answers.
//!
//! ```text
//! run/  config.toml, metrics.jsonl, checkpoints/, environment.json, as of any run
//!       model/         the infused T5, a Hugging Face folder: also a dual encoder's `model.path`
//!       part/          triples.tsv and qa/, where a closed part is learned
//!       qa-infused/    the fine-tuning of the infused model, with its predictions
//!       qa-plain/      the same fine-tuning of the model before infusion
//!       text/, qa-text/  the same after half the steps on text alone
//!       summary.json   results alone
//! ```

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

use burn::tensor::backend::{AutodiffBackend, Backend};
use samtone_data::embedded::World;
use samtone_data::reading::{Compression, Line, QaPair, Triple, write_qa, write_triples};
use samtone_data::{DataError, Fault};
use samtone_eval::exact_match;
use samtone_model::TextToText;
use samtone_text::{Key, TextTokenizer};
use samtone_train::TrainError;
use samtone_train::config::{Configuration, EMBEDDED};
use samtone_train::run::{
    Before, EMBEDDED_SEED, Event, Identity, MODEL, Metrics, Outcome, Place, RunFolder, RunOptions,
};
use serde::Deserialize;

use crate::config::{CorpusConfig, DecodingConfig, FineTuning, InfuseConfig};
use crate::corpus::{ExampleSource, Mixture, Sentence, closed_part};
use crate::fit::{Fitted, Lesson, fit};
use crate::qa::{Questions, Tuned, Tuning, end, open, open_triples};
use crate::records::Records;
use crate::summary::InfuseSummary;

/// The configuration of `samtone infuse` with nothing given, as TOML.
pub const QUICK_START: &str = include_str!("quick_start.toml");

/// Records of each corpus that a vocabulary is made of, at most.
const VOCABULARY_RECORDS: usize = 200_000;

/// Triples that the infused model is asked for, at most.
const ASKED_TRIPLES: usize = 1000;

/// Infuses, fine-tunes with and without infusion if asked to, and writes the run folder.
///
/// # Errors
/// Anything that keeps the run from starting or going on; checkpoints stay.
pub fn infuse<B: AutodiffBackend>(
    config: &InfuseConfig,
    options: RunOptions<'_>,
    device: &B::Device,
    observe: &mut dyn FnMut(Event<'_>),
) -> Result<Outcome<InfuseSummary, InfuseConfig>, TrainError> {
    let started = Instant::now();
    let path = options.folder;
    let config = &InfuseConfig { model: config.model.pinned()?, ..config.clone() };
    let mut now = Identity::new(config, Vec::new());
    let mut folder = RunFolder::open(path, options.resume, &now)?;
    if folder.is_finished() {
        return Outcome::of_finished(&folder, config.clone(), Vec::new());
    }
    observe(Event::Phase("reading the corpora"));
    let mut corpus = Corpus::load(&config.data, observe)?;
    let questions = corpus.questions(config)?;
    let texts = || corpus.texts(config.seed, questions.as_ref());
    let vocabulary = folder.vocabulary();
    let start = open::<B>(&config.model, vocabulary.as_deref(), config.seed, texts, device)?;
    for file in config.files() {
        now.reads_file(file)?;
    }
    config.model.path.iter().try_for_each(|path| now.reads_model(path))?;
    let key = Key::new(config.seed);
    let mixture = corpus.mixture(&config.data, start.tokenizer(), key.child("infusion"))?;
    let tuning = config.tuning(questions.as_ref());
    tuning.as_ref().map(|tuning| tuning.mixture(start.tokenizer())).transpose()?;

    let steps = config.train.steps(mixture.pass());
    folder.take(&now)?;
    let vocabulary = config.model.path.is_none().then(|| &**start.tokenizer());
    let now = Identity { chunk: config.train.chunk(), steps, ..now };
    folder.begin(&now, &config.to_toml(), vocabulary)?;
    if let (Some(_), Some(questions)) = (config.data.part, &questions) {
        write_part(&path.join("part"), &corpus.triples, questions)?;
    }
    let place = Place { folder: path, stop: options.stop, job: None, started };
    let dropout = key.child("dropout");
    let lesson = Lesson {
        name: "triples",
        mixture: &mixture,
        train: &config.train,
        steps,
        dropout: dropout.child("infusion"),
    };
    let Fitted { model: infused, steps: done, train_loss, work, before } =
        fit(&start, &lesson, &unjudged::<B::InnerBackend>, &place, device, observe)?;
    folder.unfinish()?;
    infused.valid().save(&path.join(MODEL))?;
    observe(Event::Phase("asking for the triples"));
    let mut summary = InfuseSummary {
        seed: config.seed,
        steps: done,
        train_loss,
        triples: corpus.triples.len(),
        facts: corpus.facts(&infused, config)?,
        ..InfuseSummary::default()
    };

    let mut asking = Asking::<B> { place: &place, device, before, summary: &mut summary };
    if let (Some(qa), Some(tuning)) = (&config.qa, &tuning) {
        asking.ask("infused", &infused, tuning, observe)?;
        if qa.plain {
            asking.ask("plain", &start, tuning, observe)?;
        }
        if qa.text_control {
            let mixture = corpus.text_alone(&config.data, start.tokenizer(), key.child("text"))?;
            let (steps, dropout) = (steps.div_ceil(2), dropout.child("text"));
            let lesson = Lesson { name: "text", mixture: &mixture, steps, dropout, ..lesson };
            let read = asking.learn_first(&start, &lesson, observe)?;
            asking.ask("text", &read, tuning, observe)?;
        }
    }
    let legs = asking.before.and(started);
    end(&folder, config, summary, options.backend, &start, &work, legs)
}

/// No dev set tells what a model is worth.
#[expect(clippy::unnecessary_wraps, reason = "it stands for a `Judge`")]
fn unjudged<B: Backend>(_: &TextToText<B>) -> Result<Metrics, TrainError> {
    Ok(Metrics::new())
}

/// The questions that models are asked after an infusion, each after the same fine-tuning.
struct Asking<'a, B: AutodiffBackend> {
    place: &'a Place<'a>,
    device: &'a B::Device,
    before: Before,
    summary: &'a mut InfuseSummary,
}

impl<B: AutodiffBackend> Asking<'_, B> {
    /// Trains `start` on another `lesson`, in a folder of its name beside the run.
    fn learn_first(
        &self,
        start: &TextToText<B>,
        lesson: &Lesson<'_>,
        observe: &mut dyn FnMut(Event<'_>),
    ) -> Result<TextToText<B>, TrainError> {
        let path = self.place.folder;
        let beside = path.join(lesson.name);
        let place = Place { folder: &beside, ..*self.place };
        let fitted = fit(start, lesson, &unjudged::<B::InnerBackend>, &place, self.device, observe);
        Ok(fitted.map_err(|error| error.in_run(path))?.model)
    }

    /// Fine-tunes and judges `model` beside the run.
    fn ask(
        &mut self,
        name: &str,
        model: &TextToText<B>,
        tuning: &Tuning<'_>,
        observe: &mut dyn FnMut(Event<'_>),
    ) -> Result<(), TrainError> {
        let path = self.place.folder;
        let beside = path.join(format!("qa-{name}"));
        let place = Place { folder: &beside, ..*self.place };
        let lesson = format!("questions ({name})");
        let Tuned { result, before, .. } = tuning
            .run(model, &lesson, &place, self.device, observe)
            .map_err(|error| error.in_run(path))?;
        if before.seconds > self.before.seconds {
            self.before = before;
        }
        self.summary.exact_match.insert(name.into(), result.exact_match);
        self.summary.questions = result.questions;
        Ok(())
    }
}

impl InfuseConfig {
    /// How models are taught to answer `questions`, if they are to be asked.
    fn tuning<'a>(&'a self, questions: Option<&'a Questions>) -> Option<Tuning<'a>> {
        let FineTuning { data, train, eval, .. } = self.qa.as_ref()?;
        Some(Tuning { questions: questions?, data, train, eval, seed: self.seed })
    }

    /// Everything that is read, the model aside.
    fn files(&self) -> impl Iterator<Item = &PathBuf> {
        let Self { data, qa, .. } = self;
        let corpora = [Some(&data.triples), data.sentences.as_ref(), data.text.as_ref()];
        let questions = qa.iter().flat_map(|qa| qa.data.files());
        corpora.into_iter().flatten().chain(questions)
    }
}

/// What is learned.
struct Corpus {
    triples: Records<Triple>,
    sentences: Option<Records<Sentence>>,
    text: Option<Records<String>>,
}

impl Corpus {
    fn load(data: &CorpusConfig, observe: &mut dyn FnMut(Event<'_>)) -> Result<Self, TrainError> {
        let some = |what: &'static str, len: usize| {
            if len == 0 { Err(DataError::NothingOf { what }) } else { Ok(()) }
        };
        let triples = open_triples(&data.triples, data.embedded_size)?;
        some("triple", triples.len())?;
        let sentences = match &data.sentences {
            None => None,
            Some(path) => {
                let mut longer = 0;
                let sentences = Records::open_each(path, Sentence::parse, |sentence| {
                    longer += sentence.longer_triples;
                })?;
                warn_of_sentences(sentences.unused(), longer, observe);
                Some(sentences)
            }
        };
        if let Some(sentences) = &sentences {
            some("sentence that names one of its entities", sentences.len())?;
        }
        let text =
            data.text.as_ref().map(|path| open_text(path, data.embedded_size)).transpose()?;
        if let Some(text) = &text {
            some("text", text.len())?;
        }
        Ok(Self { triples, sentences, text })
    }

    /// The questions of a configuration, if it has any. Where a closed part is learned: keeps it of
    /// the triples, and gives the questions that it answers.
    fn questions(&mut self, config: &InfuseConfig) -> Result<Option<Questions>, TrainError> {
        let Some(qa) = &config.qa else { return Ok(None) };
        let questions = Questions::load(&qa.data)?;
        let Some(size) = config.data.part else { return Ok(Some(questions)) };
        let triples = self.triples.iter().collect::<Result<Vec<_>, _>>()?;
        let Questions { train, dev, test, .. } = questions;
        let key = Key::new(config.data.part_seed).child("part");
        let (part, chosen) = closed_part(&triples, &[train, dev, test], size, key);
        let splits: [Vec<QaPair>; 3] = chosen.try_into().expect("as many splits as given");
        if splits[0].is_empty() {
            return Err(
                DataError::NothingOf { what: "training question that the part answers" }.into()
            );
        }
        self.triples = Records::in_memory(part);
        Ok(Some(Questions::of_part(splits)))
    }

    /// What a vocabulary is made of.
    fn texts(&self, seed: u64, questions: Option<&Questions>) -> Result<Vec<String>, TrainError> {
        let key = Key::new(seed).child("vocabulary");
        let mut texts = questions.map(Questions::texts).unwrap_or_default();
        for Triple { subject, relation, object } in self.triples.sample(VOCABULARY_RECORDS, key)? {
            texts.push(format!("{subject}, {relation}, {object}"));
        }
        if let Some(sentences) = &self.sentences {
            let sentences = sentences.sample(VOCABULARY_RECORDS, key)?;
            texts.extend(sentences.into_iter().map(|sentence| sentence.text));
        }
        if let Some(text) = &self.text {
            texts.extend(text.sample(VOCABULARY_RECORDS, key)?);
        }
        Ok(texts)
    }

    fn mixture(
        &self,
        data: &CorpusConfig,
        tokenizer: &TextTokenizer,
        key: Key,
    ) -> Result<Mixture, DataError> {
        let (records, object_share) = (self.triples.clone(), data.object_share);
        let mut parts =
            vec![(data.triple_weight, ExampleSource::Triples { records, object_share })];
        if let Some(sentences) = &self.sentences {
            parts.push((data.sentence_weight, ExampleSource::Sentences(sentences.clone())));
        }
        if let Some(text) = &self.text {
            parts.push((data.text_weight, ExampleSource::Texts(text.clone())));
        }
        Mixture::new(parts, data.mask, [data.max_input, data.max_target], tokenizer, key)
    }

    fn text_alone(
        &self,
        data: &CorpusConfig,
        tokenizer: &TextTokenizer,
        key: Key,
    ) -> Result<Mixture, DataError> {
        let text = self.text.clone().expect("the configuration was checked to name a text");
        let lens = [data.max_input, data.max_target];
        Mixture::new(vec![(1.0, ExampleSource::Texts(text))], data.mask, lens, tokenizer, key)
    }

    /// The share of the triples whose masked object `model` writes; any object that the subject has
    /// under the relation is right.
    fn facts<B: AutodiffBackend>(
        &self,
        model: &TextToText<B>,
        config: &InfuseConfig,
    ) -> Result<f64, TrainError> {
        let data = &config.data;
        let key = Key::new(config.seed).child("facts");
        let asked = self.triples.sample(ASKED_TRIPLES, key)?;
        let side = |triple: &Triple| (triple.subject.clone(), triple.relation.clone());
        let mut objects: HashMap<(String, String), Vec<String>> =
            asked.iter().map(|triple| (side(triple), Vec::new())).collect();
        for triple in self.triples.iter() {
            let triple = triple?;
            if let Some(objects) = objects.get_mut(&side(&triple)) {
                objects.push(triple.object);
            }
        }
        let inputs: Vec<String> = asked
            .iter()
            .map(|triple| {
                let [input, _] = data.mask.mask_object(triple);
                input
            })
            .collect();
        let eval = DecodingConfig::default();
        let decoding = eval.decoding(data.max_target);
        let written = model.valid().answer(&inputs, data.max_input, decoding, eval.batch_size)?;
        let right = asked.iter().zip(&written);
        let right = right.filter(|(triple, written)| exact_match(written, &objects[&side(triple)]));
        Ok(right.count() as f64 / asked.len() as f64)
    }
}

/// Says what of the sentences was not taken as it stands.
fn warn_of_sentences(unused: usize, longer: usize, observe: &mut dyn FnMut(Event<'_>)) {
    if unused > 0 {
        let what = format!("{unused} sentences name none of their entities and are left out");
        observe(Event::Warning(what));
    }
    if longer > 0 {
        let what = format!(
            "{longer} triples of the sentences have more than three parts: the first and the last are \
             taken as their entities"
        );
        observe(Event::Warning(what));
    }
}

/// The texts of a file, of a folder in BEIR layout, or of another generated world.
fn open_text(path: &Path, size: usize) -> Result<Records<String>, TrainError> {
    if path == Path::new(EMBEDDED) {
        // Another world: the same language, none of the facts.
        let world = World::generate(EMBEDDED_SEED + 1, size);
        let texts = world.documents().iter().map(|document| document.text.clone());
        return Ok(Records::in_memory(texts.collect()));
    }
    let path = match Compression::ALL.map(|c| path.join(format!("corpus.jsonl{}", c.suffix()))) {
        files if path.is_dir() => files
            .into_iter()
            .find(|file| file.exists())
            .ok_or_else(|| DataError::NotBeir { dir: path.into(), missing: "corpus.jsonl" })?,
        _ => path.to_owned(),
    };
    let name = path.to_string_lossy();
    let bare = name.strip_suffix(Compression::of(&path).suffix()).unwrap_or(&name);
    let is_json = Path::new(bare).extension().is_some_and(|end| end == "jsonl");
    Ok(Records::open(&path, if is_json { json_text } else { plain_text })?)
}

fn plain_text(line: Line<'_>) -> Result<Option<String>, Fault> {
    let text = line.text()?.trim();
    Ok((!text.is_empty()).then(|| text.to_owned()))
}

fn json_text(line: Line<'_>) -> Result<Option<String>, Fault> {
    #[derive(Deserialize)]
    struct Record {
        text: String,
    }
    let record: Record = line.json()?;
    let text = record.text.trim();
    Ok((!text.is_empty()).then(|| text.to_owned()))
}

/// Writes what a closed part holds, so that it can be looked at and used elsewhere.
fn write_part(
    folder: &Path,
    triples: &Records<Triple>,
    questions: &Questions,
) -> Result<(), TrainError> {
    let qa = folder.join("qa");
    std::fs::create_dir_all(&qa)
        .map_err(|source| TrainError::Write { path: qa.clone(), source })?;
    let triples = triples.iter().collect::<Result<Vec<_>, _>>()?;
    write_triples(&folder.join("triples.tsv"), &triples)?;
    let Questions { train, dev, test, .. } = questions;
    for (split, questions) in [("train", train), ("dev", dev), ("test", test)] {
        write_qa(&qa.join(format!("{split}.jsonl")), questions)?;
    }
    Ok(())
}
