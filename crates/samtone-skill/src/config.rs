//! What decides an infusion and a fine-tuning, as the user writes it.

use std::path::PathBuf;

use samtone_model::{Decoding, Head, ModelError, ModelFolder, Seq2SeqConfig, T5Config};
use samtone_train::config::rules::{self, Mistake};
use samtone_train::config::{Chunk, Configuration, EMBEDDED};
use samtone_train::run::LARGEST_CHUNK;
use samtone_train::step::{Decay, OptimizerName, Update};
use serde::{Deserialize, Serialize};

use crate::corpus::MaskForm;

/// `samtone infuse`: a model learns triples, and is perhaps asked about them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct InfuseConfig {
    /// The root of all randomness.
    pub seed: u64,
    /// What is learned.
    pub data: CorpusConfig,
    /// The model that learns it.
    pub model: Start,
    /// The optimisation.
    pub train: LearningConfig,
    /// Questions to fine-tune on and judge by afterwards.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub qa: Option<FineTuning>,
}

/// `samtone qa`: closed-book fine-tuning and its evaluation.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct QaConfig {
    /// The root of all randomness.
    pub seed: u64,
    /// The questions.
    pub data: QuestionConfig,
    /// The model that answers them.
    pub model: Start,
    /// The optimisation.
    pub train: LearningConfig,
    /// How answers are written.
    pub eval: DecodingConfig,
}

/// `[data]` of an infusion: the corpora and their mixture.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CorpusConfig {
    /// A file of triples (subject, tab, relation, tab, object), or `"embedded"`: the generated
    /// world's.
    pub triples: PathBuf,
    /// Sentences that tell triples, as KELM's corpus has them: JSON lines.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sentences: Option<PathBuf>,
    /// Plain text: a file with one text a line, JSON lines with `text`, a folder in BEIR layout, or
    /// `"embedded"`: the prose of another generated world. None: no text is mixed in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<PathBuf>,
    /// Share of the triples among all examples, before they are made to sum to 1.
    pub triple_weight: f64,
    /// Share of the sentences.
    pub sentence_weight: f64,
    /// Share of the text: the paper's mixture is one half.
    pub text_weight: f64,
    /// What stands for a masked entity: `"literal"` (`[MASK]`) or `"sentinel"` (T5's).
    pub mask: MaskForm,
    /// Share of the triples whose object is masked; in the others it is the subject.
    pub object_share: f64,
    /// Longest text read, in tokens; longer ones are cut.
    pub max_input: usize,
    /// Longest text written, in tokens.
    pub max_target: usize,
    /// Learn a closed part of the graph alone: the triples that answer some of `qa`'s questions, about
    /// this many, and only the questions that they answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub part: Option<usize>,
    /// Which part: the run's seed does not change it.
    pub part_seed: u64,
    /// Facts of the embedded world.
    pub embedded_size: usize,
}

impl Default for CorpusConfig {
    fn default() -> Self {
        Self {
            triples: EMBEDDED.into(),
            sentences: None,
            text: None,
            triple_weight: 1.0,
            sentence_weight: 1.0,
            text_weight: 1.0,
            mask: MaskForm::default(),
            object_share: 0.5,
            max_input: 64,
            max_target: 32,
            part: None,
            part_seed: 0,
            embedded_size: 600,
        }
    }
}

/// `[data]` of a fine-tuning.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct QuestionConfig {
    /// Questions to learn from, in any format `read_questions` knows, or `"embedded"`: the generated
    /// world's, whose dev and test questions come with them.
    pub train: PathBuf,
    /// Questions to look at on the way; none if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dev: Option<PathBuf>,
    /// Questions to be judged by.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub test: Option<PathBuf>,
    /// Triples for the paper's "-matched" subset of the test questions: those that some triple speaks
    /// of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub matched: Option<PathBuf>,
    /// Longest question, in tokens.
    pub max_input: usize,
    /// Longest answer, in tokens.
    pub max_target: usize,
    /// Facts of the embedded world.
    pub embedded_size: usize,
}

impl Default for QuestionConfig {
    fn default() -> Self {
        Self {
            train: EMBEDDED.into(),
            dev: None,
            test: None,
            matched: None,
            max_input: 64,
            max_target: 32,
            embedded_size: CorpusConfig::default().embedded_size,
        }
    }
}

/// `[model]`: a T5 to start from, or the sizes of one with random weights.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Start {
    /// A Hugging Face folder of T5 with its `tokenizer.json`, or the name of one in the cache; random
    /// weights if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<PathBuf>,
    /// Sizes where it starts from random weights; `vocab_size` is the most that the vocabulary trained
    /// on the corpora may have.
    pub encoder: T5Config,
    /// Layers of the decoder; as many as the encoder's if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decoder_layers: Option<usize>,
    /// The head: `"own"` (version 1.1), `"tied-scaled"` (1.0) or `"tied"`.
    pub head: Head,
}

impl Default for Start {
    fn default() -> Self {
        Self { path: None, encoder: T5Config::default(), decoder_layers: None, head: Head::Own }
    }
}

impl Start {
    /// The same, its path with the commit where it is a name ([`ModelFolder::pin`]).
    ///
    /// # Errors
    /// If there is no such model.
    pub(crate) fn pinned(&self) -> Result<Self, ModelError> {
        let path = self.path.as_deref().map(ModelFolder::pin).transpose()?;
        Ok(Self { path, ..self.clone() })
    }

    /// The model of this section, with random weights and `vocab_size` token ids.
    pub(crate) fn seq2seq(&self, vocab_size: usize) -> Seq2SeqConfig {
        Seq2SeqConfig {
            encoder: T5Config { vocab_size, ..self.encoder.clone() },
            decoder_layers: self.decoder_layers.unwrap_or(self.encoder.layers),
            head: self.head,
            ..Seq2SeqConfig::default()
        }
    }
}

/// `[train]`: the optimisation. The defaults are the paper's, but for the batch (1,024 and 128 there).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LearningConfig {
    /// Optimiser steps; `epochs` decides if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub steps: Option<usize>,
    /// Passes over the triples, or over the questions; one if neither this nor `steps` is given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub epochs: Option<f64>,
    /// Examples of a step.
    pub batch_size: usize,
    /// Examples whose activations exist at once; 128 if `"auto"`.
    pub chunk: Chunk,
    /// The update rule.
    pub optimizer: OptimizerName,
    /// The highest learning rate.
    pub lr: f64,
    /// Steps until the highest learning rate.
    pub warmup: usize,
    /// How the learning rate falls after the warmup.
    pub schedule: Decay,
    /// Decoupled weight decay, on every parameter but biases and norms.
    pub weight_decay: f64,
    /// Largest global norm of the gradient; 0 turns clipping off.
    pub clip: f64,
    /// Steps between checkpoints; 0 writes one at the end alone.
    pub checkpoint_every: usize,
    /// Steps between looks at the dev questions; 0 looks at the end alone.
    pub eval_every: usize,
    /// Steps between lines of `metrics.jsonl`.
    pub log_every: usize,
    /// Checkpoints kept, the newest ones.
    pub keep: usize,
}

impl Default for LearningConfig {
    fn default() -> Self {
        Self {
            steps: None,
            epochs: None,
            batch_size: 64,
            chunk: Chunk::default(),
            optimizer: OptimizerName::Adafactor,
            lr: 1e-3,
            warmup: 0,
            schedule: Decay::Constant,
            weight_decay: 0.0,
            clip: 0.0,
            checkpoint_every: 0,
            eval_every: 0,
            log_every: 10,
            keep: 2,
        }
    }
}

impl LearningConfig {
    /// Steps of a training whose pass takes `pass` examples.
    #[expect(clippy::cast_sign_loss, reason = "the number is at least 1")]
    pub(crate) fn steps(&self, pass: f64) -> usize {
        let examples = self.epochs.unwrap_or(1.0) * pass;
        self.steps.unwrap_or_else(|| (examples / self.batch_size as f64).ceil().max(1.0) as usize)
    }

    /// Examples whose activations exist at once.
    pub(crate) fn chunk(&self) -> usize {
        match self.chunk {
            Chunk::Auto => LARGEST_CHUNK,
            Chunk::Pairs(examples) => examples,
        }
    }
}

impl From<&LearningConfig> for Update {
    fn from(config: &LearningConfig) -> Self {
        Self {
            rule: config.optimizer,
            weight_decay: config.weight_decay,
            layer_decay: 1.0,
            projection_rate: 1.0,
        }
    }
}

/// `[eval]`: how answers are written.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DecodingConfig {
    /// Hypotheses kept; 1 is greedy decoding.
    pub beams: usize,
    /// A finished hypothesis scores `Σ ln p / tokens^length_penalty`.
    pub length_penalty: f64,
    /// Questions answered at once.
    pub batch_size: usize,
}

impl Default for DecodingConfig {
    fn default() -> Self {
        Self { beams: 1, length_penalty: 1.0, batch_size: 128 }
    }
}

impl DecodingConfig {
    pub(crate) fn decoding(&self, max_tokens: usize) -> Decoding {
        Decoding { max_tokens, beams: self.beams, length_penalty: self.length_penalty }
    }
}

/// `[qa]` of an infusion: the fine-tuning that follows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FineTuning {
    /// The questions.
    pub data: QuestionConfig,
    /// The optimisation.
    pub train: LearningConfig,
    /// How answers are written.
    pub eval: DecodingConfig,
    /// Fine-tune the model as it was before the infusion too.
    pub plain: bool,
    /// The paper's control: half the steps on the text alone, then the same fine-tuning.
    pub text_control: bool,
}

impl Default for FineTuning {
    fn default() -> Self {
        Self {
            data: QuestionConfig::default(),
            train: LearningConfig::default(),
            eval: DecodingConfig::default(),
            plain: true,
            text_control: false,
        }
    }
}

impl Configuration for InfuseConfig {
    const RIVALS: &[[&str; 2]] =
        &[["train.steps", "train.epochs"], ["qa.train.steps", "qa.train.epochs"]];

    fn mistake(&self) -> Mistake {
        let CorpusConfig { triple_weight, sentence_weight, text_weight, object_share, .. } =
            self.data;
        let weights = [
            ("triple_weight", triple_weight),
            ("sentence_weight", sentence_weight),
            ("text_weight", text_weight),
        ];
        if let Some(mistake) = rules::above_zero("data", weights) {
            return Some(mistake);
        }
        if !(0.0..=1.0).contains(&object_share) {
            return Some(format!("`data.object_share` is {object_share}: expected 0 to 1"));
        }
        if self.data.part.is_some() && self.qa.is_none() {
            return Some("`data.part` is chosen by the questions of `qa`, which is absent".into());
        }
        let control = self.qa.as_ref().is_some_and(|qa| qa.text_control);
        if control && self.data.text.is_none() {
            return Some("`qa.text_control` needs `data.text`".into());
        }
        lengths("data", self.data.max_input, self.data.max_target)
            .or_else(|| self.model.mistake())
            .or_else(|| self.train.mistake("train"))
            .or_else(|| {
                let qa = self.qa.as_ref()?;
                lengths("qa.data", qa.data.max_input, qa.data.max_target)
                    .or_else(|| qa.train.mistake("qa.train"))
                    .or_else(|| qa.eval.mistake("qa.eval"))
            })
    }
}

impl Configuration for QaConfig {
    const RIVALS: &[[&str; 2]] = &[["train.steps", "train.epochs"]];

    fn mistake(&self) -> Mistake {
        lengths("data", self.data.max_input, self.data.max_target)
            .or_else(|| self.model.mistake())
            .or_else(|| self.train.mistake("train"))
            .or_else(|| self.eval.mistake("eval"))
    }
}

impl Start {
    fn mistake(&self) -> Mistake {
        let checked = self.seq2seq(self.encoder.vocab_size).validate();
        checked.err().map(|error| format!("`model`: {error}"))
    }
}

impl LearningConfig {
    fn mistake(&self, section: &str) -> Mistake {
        let Self { steps, epochs, .. } = *self;
        let whole = [
            ("steps", steps.unwrap_or(1)),
            ("batch_size", self.batch_size),
            ("log_every", self.log_every),
            ("keep", self.keep),
        ];
        let limits = [("weight_decay", self.weight_decay), ("clip", self.clip)];
        rules::counts(section, whole)
            .or_else(|| {
                rules::above_zero(section, [("lr", self.lr), ("epochs", epochs.unwrap_or(1.0))])
            })
            .or_else(|| rules::not_below_zero(section, limits))
            .or_else(|| rules::duration(section, steps, epochs))
    }
}

impl DecodingConfig {
    fn mistake(&self, section: &str) -> Mistake {
        rules::counts(section, [("beams", self.beams), ("batch_size", self.batch_size)])
    }
}

/// A token beside the end of a text is the least that can be learned.
fn lengths(section: &str, max_input: usize, max_target: usize) -> Mistake {
    let both = [("max_input", max_input), ("max_target", max_target)];
    let short = both.into_iter().find(|(_, length)| *length < 4);
    short.map(|(key, length)| {
        format!(
            "`{section}.{key}` is {length}: expected at least 4, words beside the special tokens"
        )
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use samtone_train::TrainError;
    use samtone_train::config::Override;

    fn parse(text: &str, overrides: &[&str]) -> Result<InfuseConfig, TrainError> {
        let overrides = Override::set_all(overrides.iter().copied());
        InfuseConfig::parse(text, Path::new("x.toml"), &overrides)
    }

    #[test]
    fn the_resolved_form_reads_back() {
        let config =
            parse("[data]\npart = 7\n[qa.train]\nepochs = 3.0", &["train.steps=9"]).unwrap();
        assert_eq!(
            (config.train.steps, config.qa.as_ref().unwrap().train.epochs),
            (Some(9), Some(3.0))
        );
        assert_eq!(parse(&config.to_toml(), &[]).unwrap(), config);
        let config = QaConfig::default();
        assert_eq!(QaConfig::parse(&config.to_toml(), Path::new("y"), &[]).unwrap(), config);
    }

    #[test]
    fn mistakes_are_named() {
        for (text, expected) in [
            ("[data]\npart = 7", "`x.toml`: `data.part` is chosen by"),
            ("[data]\nobject_share = 1.5", "`data.object_share` is 1.5"),
            ("[data]\ntext_weight = 0.0", "`data.text_weight` is 0"),
            ("[data]\ntriple = \"x\"", "line 2, column 1: unknown field `triple`"),
            ("[qa.train]\nlr = -1.0", "`qa.train.lr` is -1"),
            ("[model.encoder]\nheads = 0", "`model`: `heads` is 0"),
            ("[qa]\ntext_control = true", "needs `data.text`"),
        ] {
            let error = parse(text, &[]).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
