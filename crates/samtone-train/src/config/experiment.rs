//! What decides a run's result: the experiment configuration.

use std::collections::BTreeSet;
use std::path::PathBuf;

use samtone_eval::Metric;
use samtone_loss::LossConfig;
use samtone_model::{
    AdapterConfig, DenseLayers, DualEncoderConfig, EncoderConfig, Freeze, Pooling, Precision,
    Sharing,
};
use serde::{Deserialize, Deserializer, Serialize};

use super::ablate::{AblateConfig, LossVariant, SecondStageConfig};
use super::data::DataConfig;
use crate::step::distillation::DistillationConfig;
use crate::step::objective::MatryoshkaConfig;
use crate::step::optimizer::{OptimizerName, Update};
use crate::step::schedule::Decay;

/// A whole experiment: same configuration, same machine, same result.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ExperimentConfig {
    /// The root of all randomness.
    pub seed: u64,
    /// What is trained and judged on.
    pub data: DataConfig,
    /// The dual encoder.
    pub model: ModelConfig,
    /// The contrastive loss.
    pub loss: LossConfig,
    /// The loss of shortened embeddings beside that of whole ones; none if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub matryoshka: Option<MatryoshkaConfig>,
    /// What is learned from a teacher's scores beside the contrastive loss; nothing if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub distillation: Option<DistillationConfig>,
    /// Another loss for the last part of the steps; none if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub second_stage: Option<SecondStageConfig>,
    /// The optimisation.
    pub train: TrainConfig,
    /// How the result is judged.
    pub eval: EvalConfig,
    /// The grid of runs that `samtone ablate` trains; `train` leaves it aside.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ablate: Option<AblateConfig>,
}

/// `[model]`: a model folder to start from, or the sizes of one with random weights.
///
/// What is absent stays as the folder has it, or, from random weights, takes the value named here.
/// A run fills it in, and its `config.toml` says with what.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ModelConfig {
    /// A model folder (Hugging Face or sentence-transformers layout) whose weights and tokenizer
    /// both towers start from, or the name of a model in the cache of this machine, as in
    /// `organisation/name@revision`; random weights if absent. Resolved, a name has its commit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<PathBuf>,
    /// The encoder's architecture where it starts from random weights; its `vocab_size` is that of
    /// the WordPiece vocabulary trained on the training texts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub encoder: Option<EncoderConfig>,
    /// How the towers share parameters; `sde`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sharing: Option<Sharing>,
    /// Adapters on the encoder of `path`, whose own weights are frozen then; the folder's, else none, or
    /// where `sharing` is `ade-adapter` those of rank 16.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub adapter: Option<AdapterConfig>,
    /// What is not trained; nothing, but what is under adapters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub freeze: Option<Freeze>,
    /// How token states become one vector; `mean`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pooling: Option<Pooling>,
    /// Size of the embedding after the bias-free projection; none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub projection: Option<usize>,
    /// Whether embeddings are divided by their length; they are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub normalize: Option<bool>,
    /// Longest query, in tokens with the special ones; longer ones are cut. 64.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub query_max_len: Option<usize>,
    /// Longest document, in tokens with the special ones; longer ones are cut. 128.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub document_max_len: Option<usize>,
    /// Written before every query; nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub query_prompt: Option<String>,
    /// Written before every document; nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub document_prompt: Option<String>,
}

impl ModelConfig {
    /// The dual encoder of this section, with random weights and `vocab_size` token ids.
    pub fn dual_encoder(&self, vocab_size: usize) -> DualEncoderConfig {
        let mut encoder = self.encoder.clone().unwrap_or_default();
        encoder.set_vocab_size(vocab_size);
        DualEncoderConfig {
            encoder,
            sharing: self.sharing.unwrap_or_default(),
            pooling: self.pooling.unwrap_or_default(),
            projection: self.projection.map(DenseLayers::from),
            normalize: self.normalize.unwrap_or(true),
            adapter: self.adapters(),
            freeze: self.freeze.unwrap_or_default(),
        }
    }

    /// The adapters that are asked for: `ade-adapter` wants some in any case.
    pub(crate) fn adapters(&self) -> Option<AdapterConfig> {
        let wants = self.sharing == Some(Sharing::AdeAdapter);
        self.adapter.clone().or_else(|| wants.then(AdapterConfig::default))
    }

    /// The most token ids that a vocabulary made for the training may have.
    pub(crate) fn vocab_size(&self) -> usize {
        self.encoder.clone().unwrap_or_default().vocab_size()
    }
}

/// `[train]`: the optimisation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TrainConfig {
    /// Optimiser steps; `epochs` decides if absent.
    pub steps: Option<usize>,
    /// Passes over the training pairs; one if neither this nor `steps` is given.
    pub epochs: Option<f64>,
    /// Pairs that the loss sees at once.
    pub batch_size: usize,
    /// Pairs whose activations exist at once.
    pub chunk: Chunk,
    /// Whether layers are computed again on the way back.
    pub recompute: Recompute,
    /// Memory that `"auto"` may plan with, in GiB; half of the machine's if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_gib: Option<f64>,
    /// What token embedders and layers compute with.
    pub precision: Precision,
    /// Which rows may share a batch.
    pub sampler: Sampler,
    /// Hard negatives a row; chosen anew at each step where the data has more for it, and filled up
    /// with random documents where it has fewer. 0 leaves those of the data aside. If absent, as many
    /// as a row of the data has, 7 at most, where the loss looks at them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hard_negatives: Option<usize>,
    /// Rows are sorted by document length within windows of this many batches, so that little
    /// padding is computed; 0 sorts nothing.
    pub bucket: usize,
    /// The update rule.
    pub optimizer: OptimizerName,
    /// The highest learning rate; if absent 3e-5 for a model that is there, 2e-4 for adapters on one, 5e-4
    /// for random weights.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lr: Option<f64>,
    /// The projection's highest learning rate; `lr` if absent.
    pub projection_lr: Option<f64>,
    /// The learned temperature's highest learning rate; `lr` if absent.
    pub temperature_lr: Option<f64>,
    /// Each layer learns at this share of the rate of the one above it.
    pub layer_decay: f64,
    /// Steps until the highest learning rate; if absent `"10%"` for a model that is there, 100 for
    /// random weights.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub warmup: Option<Warmup>,
    /// How the learning rate falls after the warmup.
    pub schedule: Decay,
    /// Decoupled weight decay, on every parameter but biases and norms.
    pub weight_decay: f64,
    /// Largest global norm of the gradient; 0 turns clipping off.
    pub clip: f64,
    /// Steps between checkpoints; 0 writes one at the end alone.
    pub checkpoint_every: usize,
    /// Steps between dev evaluations; 0 judges at the end alone.
    pub eval_every: usize,
    /// The metric of `eval.metrics` by which dev evaluations choose the run's model; the model of
    /// the last step if absent.
    #[serde(deserialize_with = "metric_name")]
    pub best_by: Option<String>,
    /// Dev evaluations without a better `best_by` after which the run ends; 0 never ends it early.
    pub patience: usize,
    /// Steps between lines of `metrics.jsonl`.
    pub log_every: usize,
    /// Checkpoints kept, the newest ones; the best one stays beside them.
    pub keep: usize,
    /// A loss preset that the same model is also trained with, for comparison; into `baseline/`.
    pub baseline: Option<samtone_loss::Preset>,
}

impl Default for TrainConfig {
    fn default() -> Self {
        Self {
            steps: None,
            epochs: None,
            batch_size: 64,
            chunk: Chunk::default(),
            recompute: Recompute::default(),
            memory_gib: None,
            precision: Precision::default(),
            sampler: Sampler::default(),
            hard_negatives: None,
            bucket: 16,
            optimizer: OptimizerName::default(),
            lr: None,
            projection_lr: None,
            temperature_lr: None,
            layer_decay: 1.0,
            warmup: None,
            schedule: Decay::default(),
            weight_decay: 0.01,
            clip: 1.0,
            checkpoint_every: 0,
            eval_every: 0,
            best_by: None,
            patience: 0,
            log_every: 10,
            keep: 2,
            baseline: None,
        }
    }
}

impl TrainConfig {
    /// The highest learning rate, that of random weights where none is given.
    pub fn peak_lr(&self) -> f64 {
        self.lr.unwrap_or(LR_FROM_RANDOM)
    }

    /// Hard negatives a row, none where nothing is said.
    pub fn negatives(&self) -> usize {
        self.hard_negatives.unwrap_or(0)
    }
}

/// The highest learning rate from random weights.
pub(crate) const LR_FROM_RANDOM: f64 = 5e-4;
/// That of a model that is there: what BERT and its like are fine-tuned with.
pub(crate) const LR_FROM_MODEL: f64 = 3e-5;
/// That of adapters, which start from nothing.
pub(crate) const LR_OF_ADAPTERS: f64 = 2e-4;

/// How long the learning rate rises: a number of steps, or a share of all as `"10%"`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "WarmupForm", into = "WarmupForm")]
pub enum Warmup {
    /// This many steps.
    Steps(usize),
    /// This share of the run's steps, in percent.
    Percent(f64),
}

impl Warmup {
    /// From random weights.
    pub(crate) const FROM_RANDOM: Self = Self::Steps(100);
    /// For a model that is there.
    pub(crate) const FROM_MODEL: Self = Self::Percent(10.0);

    /// Of a run of `steps` steps.
    pub fn of(self, steps: usize) -> usize {
        match self {
            Self::Steps(warmup) => warmup,
            #[expect(clippy::cast_sign_loss, reason = "checked to be in [0, 100]")]
            Self::Percent(percent) => (percent / 100.0 * steps as f64).round() as usize,
        }
    }
}

/// How [`Warmup`] is written.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum WarmupForm {
    Steps(usize),
    Share(String),
}

impl TryFrom<WarmupForm> for Warmup {
    type Error = String;

    fn try_from(form: WarmupForm) -> Result<Self, String> {
        let text = match form {
            WarmupForm::Steps(steps) => return Ok(Self::Steps(steps)),
            WarmupForm::Share(text) => text,
        };
        let percent = text.trim().strip_suffix('%').and_then(|number| number.trim().parse().ok());
        match percent.filter(|percent| (0.0..=100.0).contains(percent)) {
            Some(percent) => Ok(Self::Percent(percent)),
            None => {
                Err(format!("expected a number of steps or a share as \"10%\", got \"{text}\""))
            }
        }
    }
}

impl From<Warmup> for WarmupForm {
    fn from(warmup: Warmup) -> Self {
        match warmup {
            Warmup::Steps(steps) => Self::Steps(steps),
            Warmup::Percent(percent) => Self::Share(format!("{percent}%")),
        }
    }
}

/// Which rows may share a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Sampler {
    /// No two rows with the same query or the same document, where that is possible.
    #[default]
    NoDuplicates,
    /// Any rows; what they share is left to the loss's masks.
    Random,
}

/// How many pairs are encoded with their activations kept: `"auto"` or a number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "ChunkForm", into = "ChunkForm")]
pub enum Chunk {
    /// The whole batch where it fits into memory, else as many as do: see [`crate::run::plan`].
    #[default]
    Auto,
    /// This many pairs.
    Pairs(usize),
}

/// How [`Chunk`] is written.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum ChunkForm {
    Pairs(usize),
    Name(String),
}

impl TryFrom<ChunkForm> for Chunk {
    type Error = String;

    fn try_from(form: ChunkForm) -> Result<Self, String> {
        match form {
            ChunkForm::Pairs(0) => Err("a chunk holds at least one pair".into()),
            ChunkForm::Pairs(pairs) => Ok(Self::Pairs(pairs)),
            ChunkForm::Name(name) if name == "auto" => Ok(Self::Auto),
            ChunkForm::Name(name) => Err(format!("expected \"auto\" or a number, got \"{name}\"")),
        }
    }
}

impl From<Chunk> for ChunkForm {
    fn from(chunk: Chunk) -> Self {
        match chunk {
            Chunk::Auto => Self::Name("auto".into()),
            Chunk::Pairs(pairs) => Self::Pairs(pairs),
        }
    }
}

/// Which activations are kept for the way back, at the price of computing the others a second time
/// (Chen et al. 2016, arXiv:1604.06174). Gradients are the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Recompute {
    /// All are kept.
    None,
    /// What each layer reads; the activations of one layer exist at a time.
    Layers,
    /// All where that fits into memory, else as `Layers`: see [`crate::run::plan`].
    #[default]
    Auto,
}

/// `[eval]`: how the result is judged.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EvalConfig {
    /// The metrics of `summary.json`, by the names that they are printed by.
    #[serde(deserialize_with = "metric_names")]
    pub metrics: Vec<String>,
    /// Texts encoded at once.
    pub batch_size: usize,
    /// Documents kept for each query.
    pub top_k: usize,
    /// Whether the model is judged before its first step as well; if absent, one that is there is, and
    /// random weights are not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start: Option<bool>,
    /// The most documents that the dev evaluations on the way look in: of a larger data set those that
    /// are judged, the nearest by BM25 and by the start, and random others. 0 looks in all.
    pub dev_documents: usize,
}

impl Default for EvalConfig {
    fn default() -> Self {
        Self {
            metrics: ["mrr@10", "p@1", "ndcg@10", "recall@100"].map(String::from).to_vec(),
            batch_size: 64,
            top_k: 100,
            start: None,
            dev_documents: 10_000,
        }
    }
}

impl EvalConfig {
    /// The metric that queries, curves and comparisons of runs go by: the first that says how good a
    /// ranking is.
    pub fn leading(&self) -> Option<Metric> {
        self.metrics.iter().filter_map(|name| name.parse().ok()).find(Metric::is_quality)
    }
}

/// The name that the metric `name` is printed by; one of no metric is kept, to be refused by its place.
fn printed(name: String) -> String {
    match name.parse::<Metric>() {
        Ok(metric) => metric.to_string(),
        Err(_) => name,
    }
}

fn metric_name<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    Ok(Option::<String>::deserialize(from)?.map(printed))
}

fn metric_names<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    Ok(Vec::<String>::deserialize(from)?.into_iter().map(printed).collect())
}

impl ExperimentConfig {
    /// The loss in a word: its preset's name.
    pub fn loss_name(&self) -> String {
        match self.loss.group {
            Some(_) => "groups of its own".into(),
            None => self.loss.preset.unwrap_or_default().to_string(),
        }
    }

    /// Of the dimensions that the loss is taken at, those that are fewer than all `dim`; the most first.
    pub(crate) fn shorter_dims(&self, dim: usize) -> Vec<usize> {
        let dims = self.matryoshka.iter().flat_map(|matryoshka| &matryoshka.dims).copied();
        let shorter: BTreeSet<usize> = dims.filter(|&shorter| shorter < dim).collect();
        shorter.into_iter().rev().collect()
    }

    /// The losses of the run, with their keys.
    pub(crate) fn losses(&self) -> impl Iterator<Item = (&'static str, &LossConfig)> {
        let second = self.second_stage.as_ref().map(|stage| ("second_stage.loss", &stage.loss));
        [("loss", &self.loss)].into_iter().chain(second)
    }

    /// The losses that `samtone ablate` compares.
    pub fn variants(&self) -> Vec<LossVariant> {
        let grid =
            self.ablate.as_ref().map(|grid| &grid.losses).filter(|losses| !losses.is_empty());
        grid.cloned().unwrap_or_else(|| {
            vec![LossVariant {
                name: self.loss_name(),
                loss: self.loss.clone(),
                second_stage: self.second_stage.clone(),
            }]
        })
    }

    /// The name of the loss that the others are compared with.
    pub fn compared_loss(&self) -> String {
        let named = self.ablate.as_ref().and_then(|grid| grid.baseline.clone());
        named.unwrap_or_else(|| self.variants()[0].name.clone())
    }
}

impl From<&TrainConfig> for Update {
    fn from(config: &TrainConfig) -> Self {
        Self {
            rule: config.optimizer,
            weight_decay: config.weight_decay,
            layer_decay: config.layer_decay,
            projection_rate: config.projection_lr.map_or(1.0, |lr| lr / config.peak_lr()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::data::TrainingData;
    use super::super::settings::Configuration;
    use super::super::written::Override;
    use super::*;
    use crate::error::TrainError;

    fn parse(text: &str, overrides: &[&str]) -> Result<ExperimentConfig, TrainError> {
        parse_with(text, &Override::set_all(overrides.iter().copied()))
    }

    fn parse_with(text: &str, overrides: &[Override]) -> Result<ExperimentConfig, TrainError> {
        ExperimentConfig::parse(text, Path::new("x.toml"), overrides)
    }

    #[track_caller]
    fn check_error(text: &str, overrides: &[&str], expected: &str, hint: Option<&str>) {
        let error = parse(text, overrides).unwrap_err();
        assert_eq!(error.to_string(), expected);
        assert_eq!(error.hint().as_deref(), hint);
    }

    #[test]
    fn nothing_given_is_the_default() {
        assert_eq!(parse("", &[]).unwrap(), ExperimentConfig::default());
    }

    #[test]
    fn the_resolved_form_reads_back() {
        let config = parse("seed = 3\n[train]\nsteps = 7\nchunk = 5", &[]).unwrap();
        assert_eq!(parse(&config.to_toml(), &[]).unwrap(), config);
    }

    #[test]
    fn a_tables_type_may_come_after_its_keys() {
        let keys = ["model.encoder.hidden=32", "model.encoder.heads=2", "model.encoder.type=bert"];
        let reversed: Vec<&str> = keys.iter().rev().copied().collect();
        assert_eq!(parse("", &keys).unwrap(), parse("", &reversed).unwrap());
        let missing = "`--set model.encoder.hidden=32`: missing field `type`";
        check_error("", &keys[..2], missing, None);
        let misspelt = ["model.encoder.hiden=32", "model.encoder.type=bert", "seed=1"];
        let error = parse("", &misspelt).unwrap_err().to_string();
        assert!(error.contains("hiden"), "{error}");
    }

    #[test]
    fn overrides_need_no_quotes_and_the_last_one_wins() {
        let config = parse(
            "[train]\nsteps = 7",
            &["train.steps=8", "train.steps=9", "loss.preset=in-batch", "data.train=some/where"],
        )
        .unwrap();
        assert_eq!(config.train.steps, Some(9));
        assert_eq!(config.data.train, TrainingData::One("some/where".into()));
        assert_eq!(config.loss.preset, Some(samtone_loss::Preset::InBatch));
    }

    #[test]
    fn a_warmup_is_a_number_or_a_share() {
        let warmup = |text: &str| parse("", &[&format!("train.warmup={text}")]);
        let config = warmup("7").unwrap();
        assert_eq!(config.train.warmup.unwrap().of(400), 7);
        let config = warmup("7%").unwrap();
        assert_eq!(config.train.warmup.unwrap().of(400), 28);
        assert_eq!(parse(&config.to_toml(), &[]).unwrap(), config);
        for wrong in ["-1%", "101%", "NaN%", "ten", "1.5"] {
            let error = warmup(wrong).unwrap_err().to_string();
            assert!(error.contains("warmup"), "{error}");
        }
    }

    #[test]
    fn a_key_is_taken_away_and_blanks_are_kept() {
        let text = "[train]\nsteps = 7\nbest_by = \"mrr@10\"\neval_every = 2";
        let unset = |key: &str| Override::Unset(key.into());
        let config = parse_with(text, &[unset("train.best_by"), unset("train.steps")]).unwrap();
        assert_eq!((config.train.best_by, config.train.steps), (None, None));
        assert_eq!(config.train.eval_every, 2);
        let error = parse_with(text, &[unset("train.bestby")]).unwrap_err();
        assert_eq!(error.to_string(), "`--unset train.bestby`: unknown field `bestby`");
        assert_eq!(error.hint().as_deref(), Some("did you mean `best_by`?"));
        let config = parse("", &["model.query_prompt=query: ", "data.test_split="]).unwrap();
        assert_eq!(config.model.query_prompt.as_deref(), Some("query: "));
        assert_eq!(config.data.test_split, "");
    }

    #[test]
    fn a_mistyped_key_names_its_place_and_the_nearest_key() {
        check_error(
            "seed = 1\n[train]\nbatchsize = 7\n",
            &[],
            "`x.toml`, line 3, column 1: unknown field `batchsize`",
            Some("did you mean `batch_size`?"),
        );
        check_error(
            "",
            &["trian.steps=3"],
            "`--set trian.steps=3`: unknown field `trian`",
            Some("did you mean `train`?"),
        );
    }

    #[test]
    fn several_training_sets_read_back_and_their_mistakes_are_named() {
        let text = "[[data.train]]\npath = \"a\"\nweight = 2.0\n[[data.train]]\npath = \"b\"\nweight = 1.0\nsplit = \"dev\"\n";
        let config = parse(text, &[]).unwrap();
        let sets = config.data.training_sets();
        assert_eq!(sets, [(Path::new("a"), "train"), (Path::new("b"), "dev")]);
        assert_eq!(config.data.train.weights(), Some(vec![2.0, 1.0]));
        assert_eq!(config.data.dev_set(), None);
        assert_eq!(parse(&config.to_toml(), &[]).unwrap(), config);
        check_error(
            &text.replace("weight = 2.0", "wieght = 2.0"),
            &[],
            "`x.toml`, line 3, column 1: unknown field `wieght`",
            Some("did you mean `weight`?"),
        );
        check_error(
            &text.replace("weight = 2.0\n", ""),
            &[],
            "`x.toml`: `data.train.weight`: expected in all tables or in none",
            None,
        );
    }

    #[test]
    fn keys_that_need_each_other_say_so() {
        for (text, expected) in [
            (
                "[train]\npatience = 2",
                "`train.patience` needs `train.best_by`, the metric it watches",
            ),
            (
                "[train]\nbest_by = \"mrr@10\"",
                "`train.best_by` needs `train.eval_every` and a dev split",
            ),
            (
                "[distillation]\nloss = \"kl\"\n[train]\nhard_negatives = 0",
                "`distillation` needs `train.hard_negatives` of at least 1",
            ),
            (
                "[loss]\npreset = \"samtone-document\"\n[train]\nhard_negatives = 1",
                "`train.hard_negatives` is 1, but the loss `samtone-document` looks at none",
            ),
            (
                "[matryoshka]\ndims = [384, 500]",
                "`matryoshka.dims` holds 500: expected 1 to 384, the embedding's",
            ),
            (
                "[data]\nzero_shot = [\"a/test\", \"b/test\"]",
                "`data.zero_shot` holds two folders named `test`: results go by that name, rename one",
            ),
            (
                "[second_stage]\nshare = 1.0",
                "`second_stage.share` is 1: expected a number between 0 and 1",
            ),
            (
                "[model]\npath = \"m\"\nfreeze.train_norms = true\n[ablate]\nsharing = [\"sde\", \"ade-adapter\"]",
                "`ablate.sharing` holds `ade-adapter`: `sharing` is ade-adapter, expected no bias, norm or \
                 module of the base trained: the towers share it",
            ),
        ] {
            check_error(text, &[], &format!("`x.toml`: {expected}"), None);
        }
    }

    #[test]
    fn a_mistake_is_blamed_on_what_brought_it() {
        let steps = "[train]\nsteps = 7";
        for (text, overrides, expected) in [
            (
                steps,
                vec!["train.lr=0"],
                "`--set train.lr=0`: `train.lr` is 0: expected a finite number > 0",
            ),
            (
                "[train]\nlr = 0.0",
                vec!["train.steps=3"],
                "`x.toml`: `train.lr` is 0: expected a finite number > 0",
            ),
            (
                steps,
                vec!["eval.metrics=[\"recall@100\"]", "eval.top_k=10"],
                "`--set eval.top_k=10`: `eval.top_k` is 10, but `recall@100` looks at 100 documents",
            ),
            (
                steps,
                vec!["train.best_by=mrr@10", "train.lr=1e-3"],
                "`--set train.best_by=mrr@10`: `train.best_by` needs `train.eval_every` and a dev split",
            ),
            (
                "[model]\npath = \"m\"\n[model.encoder]\ntype = \"bert\"",
                vec![],
                "`x.toml`: `model.encoder` and `model.path` are both given: a folder has its own sizes",
            ),
        ] {
            check_error(text, &overrides, expected, None);
        }
        let both = parse(steps, &["train.best_by=mrr@10", "train.eval_every=2"]).unwrap();
        assert_eq!(both.train.eval_every, 2);
    }

    #[test]
    fn an_override_takes_the_place_of_its_rival() {
        let config = parse("[train]\nsteps = 7", &["train.epochs=2"]).unwrap();
        assert_eq!((config.train.steps, config.train.epochs), (None, Some(2.0)));
        let config = parse("[train]\nsteps = 7", &["train.epochs=2", "train.steps=9"]).unwrap();
        assert_eq!((config.train.steps, config.train.epochs), (Some(9), None));
        let config = parse("[model.encoder]\ntype = \"bert\"", &["model.path=m"]).unwrap();
        assert_eq!(config.model.encoder, None);
        check_error(
            "[train]\nsteps = 7\nepochs = 2.0",
            &[],
            "`x.toml`: `train.steps` and `train.epochs` are both given: expected one",
            None,
        );
    }

    #[test]
    fn values_out_of_range_are_named() {
        check_error(
            "[train]\nbatch_size = 0",
            &[],
            "`x.toml`: `train.batch_size` is 0: expected a positive number",
            None,
        );
        assert!(parse("[loss]\ntemperature = 0.0", &[]).is_err());
        assert!(parse("[train]\nchunk = \"some\"", &[]).is_err());
        assert!(parse("[train]\nsteps = 1\nepochs = 1.0", &[]).is_err());
        assert!(parse("[eval]\nmetrics = [\"mrr@ten\"]", &[]).is_err());
    }

    #[test]
    fn metrics_are_called_as_they_are_printed() {
        let eval = "[eval]\nmetrics = [\"holes@10\", \"nDCG@10\", \"RR\"]\n";
        let choice = |by: &str| format!("{eval}[train]\neval_every = 2\nbest_by = \"{by}\"\n");
        let config = parse(&choice("ndcg_cut_10"), &[]).unwrap();
        assert_eq!(config.eval.metrics, ["holes@10", "ndcg@10", "mrr"]);
        assert_eq!(config.train.best_by.as_deref(), Some("ndcg@10"));
        assert_eq!(config.eval.leading(), Some(Metric::NDCG_10));
        let error = parse(&choice("holes@10"), &[]).unwrap_err().to_string();
        assert!(error.contains("does not say how good a ranking is"), "{error}");
    }
}
