//! A run before its first step: the configuration resolved, the data read, the model opened.

use std::fmt::Display;
use std::path::Path;

use burn::tensor::backend::Backend;
use samtone_model::{
    DenseLayers, DualEncoder, DualEncoderConfig, ModelError, ModelFolder, Retriever, Side,
    SideSettings,
};
use samtone_text::TextTokenizer;
use serde::Serialize;

use crate::config::{
    ExperimentConfig, LR_FROM_MODEL, LR_FROM_RANDOM, LR_OF_ADAPTERS, ModelConfig, Warmup,
};
use crate::error::TrainError;
use crate::run::identity::Identity;
use crate::run::prepare::{Prepared, Sources, TrainSet, train_sets, train_tokenizer};
use crate::run::record::Event;
use crate::run::similarity;

/// The longest query and document from random weights, in tokens, where nothing else is said.
const LENGTHS: [usize; 2] = [64, 128];

/// A configuration with what it leaves open filled in: from the model folder, or the defaults of
/// random weights.
#[derive(Clone, Debug)]
pub(crate) struct Resolved {
    /// Every key that decides something has a value.
    pub(crate) config: ExperimentConfig,
    /// The folder that the model starts from, as the configuration wants it.
    pub(crate) folder: Option<ModelFolder>,
    /// What the configuration changes of the folder, a line each.
    pub(crate) changed: Vec<String>,
}

impl ExperimentConfig {
    /// Fills in what is left open, and checks it against the model folder.
    ///
    /// # Errors
    /// A folder that cannot be read, or a key that does not fit it.
    pub(crate) fn resolve(&self) -> Result<Resolved, TrainError> {
        let mut config = self.clone();
        // With the commit: the run goes on with the same model, whatever becomes of its name.
        config.model.path = self.model.path.as_deref().map(ModelFolder::pin).transpose()?;
        let mut folder = config.model.path.as_deref().map(ModelFolder::open).transpose()?;
        let changed = if let Some(folder) = &mut folder {
            config.settle(folder)?
        } else {
            config.settle_random()?;
            Vec::new()
        };
        let similarity = config.loss.similarity;
        config.loss = config.loss.written_out()?;
        if let Some(stage) = &mut config.second_stage {
            if stage.loss.similarity.is_some_and(|own| Some(own) != similarity) {
                return Err(TrainError::Misfit {
                    key: "second_stage.loss.similarity",
                    problem: "is not `loss.similarity`: a model is compared in one way".into(),
                });
            }
            stage.loss.similarity = similarity;
            stage.loss = stage.loss.written_out()?;
        }
        let train = &mut config.train;
        if train.steps.is_none() {
            train.epochs.get_or_insert(1.0);
        }
        let (lr, warmup) = match &folder {
            Some(folder) if folder.config.adapter.is_some() => (LR_OF_ADAPTERS, Warmup::FROM_MODEL),
            Some(_) => (LR_FROM_MODEL, Warmup::FROM_MODEL),
            None => (LR_FROM_RANDOM, Warmup::FROM_RANDOM),
        };
        config.eval.start.get_or_insert(folder.is_some());
        train.lr.get_or_insert(lr);
        train.warmup.get_or_insert(warmup);
        Ok(Resolved { config, folder, changed })
    }

    /// Joins the configuration and the folder: what one says and the other leaves open holds, what
    /// both say is the configuration's.
    fn settle(&mut self, folder: &mut ModelFolder) -> Result<Vec<String>, TrainError> {
        let mut changed = Vec::new();
        let (model, shape) = (&mut self.model, &mut folder.config);
        settle("model.sharing", &mut model.sharing, &mut shape.sharing, &mut changed);
        settle("model.pooling", &mut model.pooling, &mut shape.pooling, &mut changed);
        settle("model.normalize", &mut model.normalize, &mut shape.normalize, &mut changed);
        let has_projection = shape.projection.is_some();
        if let Some(asked) = model.projection
            && shape.projection.as_ref().map(DenseLayers::dim) != Some(asked)
        {
            let own = shape.projection.as_ref().map_or("none".into(), |own| own.dim().to_string());
            changed.push(format!("`model.projection`: {own} → {asked}"));
            shape.projection = Some(asked.into());
        }
        let is_drawn = shape.projection.is_some() && !has_projection;
        model.projection = shape.projection.as_ref().map(DenseLayers::dim);
        settle_adapter(model, shape, &mut changed)?;
        shape.freeze = model.freeze.unwrap_or_default();
        shape.validate()?;
        let is_frozen = shape.adapter.is_some() || shape.freeze.base;
        if is_drawn && is_frozen && !shape.freeze.train_head {
            let problem =
                "is drawn anew and would stay so: train it with `model.freeze.train_head`";
            return Err(TrainError::Misfit { key: "model.projection", problem: problem.into() });
        }
        let limit = shape.encoder.max_tokens();
        let [query, document] = Side::ALL.map(|side| folder.max_tokens(side));
        let sides = [
            ("model.query_max_len", &mut model.query_max_len, &mut folder.query, query),
            ("model.document_max_len", &mut model.document_max_len, &mut folder.document, document),
        ];
        for (key, asked, side, mut own) in sides {
            check_length(key, *asked, limit)?;
            settle(key, asked, &mut own, &mut changed);
            side.max_tokens = Some(own);
        }
        let prompts = [
            ("model.query_prompt", &mut model.query_prompt, &mut folder.query),
            ("model.document_prompt", &mut model.document_prompt, &mut folder.document),
        ];
        for (key, asked, side) in prompts {
            settle(key, asked, &mut side.prompt, &mut changed);
        }
        let mut own = similarity::of_loss(folder.similarity);
        settle("loss.similarity", &mut self.loss.similarity, &mut own, &mut changed);
        folder.similarity = similarity::of_model(own);
        if let Some(asked) = self.data.lowercase {
            let mut asked = Some(asked);
            settle("data.lowercase", &mut asked, &mut folder.lowercase, &mut changed);
        } else if folder.lowercase {
            self.data.lowercase = Some(true);
        }
        let mut own = folder.document_text.or(self.data.document_text).unwrap_or_default();
        settle("data.document_text", &mut self.data.document_text, &mut own, &mut changed);
        folder.document_text = Some(own);
        Ok(changed)
    }

    /// The defaults of random weights.
    fn settle_random(&mut self) -> Result<(), TrainError> {
        let model = &mut self.model;
        if model.adapters().is_some() {
            let problem = "needs `model.path`: adapters change a model that is there".into();
            return Err(TrainError::Misfit { key: "model.adapter", problem });
        }
        let encoder = model.encoder.get_or_insert_default();
        let (limit, usual) = (encoder.max_tokens(), encoder.usual_tokens());
        model.sharing.get_or_insert_default();
        model.pooling.get_or_insert_default();
        model.normalize.get_or_insert(true);
        model.query_prompt.get_or_insert_default();
        model.document_prompt.get_or_insert_default();
        let lengths = [
            ("model.query_max_len", &mut model.query_max_len),
            ("model.document_max_len", &mut model.document_max_len),
        ];
        for ((key, length), default) in lengths.into_iter().zip(LENGTHS) {
            check_length(key, *length, limit)?;
            length.get_or_insert(usual.map_or(default, |usual| default.min(usual)));
        }
        self.loss.similarity.get_or_insert_default();
        self.data.lowercase.get_or_insert(true);
        self.data.document_text.get_or_insert_default();
        Ok(())
    }
}

/// The most hard negatives a row that are taken unasked: each costs a text's passes.
const NEGATIVES_UNASKED: usize = 7;

impl ExperimentConfig {
    /// Hard negatives a row where the configuration does not say: as many as the middle one of the rows
    /// with some has.
    fn default_negatives(&self, train: &[TrainSet], observe: &mut dyn FnMut(Event<'_>)) -> usize {
        let mut counts: Vec<usize> = train
            .iter()
            .flat_map(|set| set.pairs.iter().map(|pair| pair.negatives.len()))
            .filter(|&count| count > 0)
            .collect();
        counts.sort_unstable();
        let Some(&middle) = counts.get(counts.len().saturating_sub(1) / 2) else { return 0 };
        let uses_them = self.distillation.is_some()
            || self
                .losses()
                .any(|(_, loss)| loss.resolve().is_ok_and(|loss| loss.uses_hard_negatives()));
        if !uses_them {
            observe(Event::Warning(format!(
                "the data has hard negatives, and the loss `{}` looks at none",
                self.loss_name()
            )));
            return 0;
        }
        let taken = middle.min(NEGATIVES_UNASKED);
        observe(Event::Chosen(format!(
            "`train.hard_negatives` = {taken}: {} rows of the data have some, {middle} the middle one of them",
            counts.len()
        )));
        taken
    }
}

/// Takes the adapters that are asked for, or those that are there; a folder's own are not replaced.
fn settle_adapter(
    model: &mut ModelConfig,
    shape: &mut DualEncoderConfig,
    changed: &mut Vec<String>,
) -> Result<(), TrainError> {
    match (&model.adapter, &shape.adapter) {
        (Some(asked), Some(own)) if asked != own => {
            return Err(TrainError::Misfit {
                key: "model.adapter",
                problem:
                    "is another than the model's own: leave it out to train that further, or merge \
                          it first (`samtone export --merge`)"
                        .into(),
            });
        }
        (_, Some(own)) => model.adapter = Some(own.clone()),
        (_, None) => {
            model.adapter = model.adapters();
            shape.adapter.clone_from(&model.adapter);
            if let Some(adapter) = &shape.adapter {
                changed.push(format!("`model.adapter`: none → r = {}", adapter.r));
            }
        }
    }
    Ok(())
}

/// Takes `asked` where it is given, and notes it if that is something else; else what is there.
fn settle<T: Clone + PartialEq + Serialize>(
    key: &str,
    asked: &mut Option<T>,
    own: &mut T,
    changed: &mut Vec<String>,
) {
    match asked {
        Some(asked) if asked != own => {
            changed.push(format!("`{key}`: {} → {}", written(own), written(asked)));
            *own = asked.clone();
        }
        _ => *asked = Some(own.clone()),
    }
}

/// A value as a configuration spells it.
fn written(value: &impl Serialize) -> impl Display {
    serde_json::to_value(value).unwrap_or_default()
}

/// Checks that the encoder can read texts of this many tokens.
fn check_length(
    key: &'static str,
    asked: Option<usize>,
    limit: Option<usize>,
) -> Result<(), TrainError> {
    match (asked, limit) {
        (Some(asked), Some(limit)) if asked > limit => Err(TrainError::Misfit {
            key,
            problem: format!("is {asked}: the encoder reads {limit} tokens at most"),
        }),
        _ => Ok(()),
    }
}

/// A run before its first step.
#[derive(Debug)]
pub(crate) struct Session<B: Backend> {
    /// The configuration, resolved.
    pub(crate) config: ExperimentConfig,
    /// The model with its tokenizer, prompts and lengths.
    pub(crate) retriever: Retriever<B>,
    /// What is trained on.
    pub(crate) train: Vec<TrainSet>,
    /// What the run is and reads.
    pub(crate) identity: Identity,
    sources: Sources,
}

impl<B: Backend> Session<B> {
    /// Reads the data and opens the model. `vocabulary` is that of the run, if it has begun and has
    /// one of its own.
    ///
    /// # Errors
    /// What would keep the run from starting.
    pub(crate) fn open(
        resolved: Resolved,
        vocabulary: Option<&Path>,
        device: &B::Device,
        observe: &mut dyn FnMut(Event<'_>),
    ) -> Result<Self, TrainError> {
        let Resolved { mut config, folder, changed } = resolved;
        check_precision::<B>(&config, device)?;
        observe(Event::Phase("reading the data"));
        let sources = Sources::load(&config.data)?;
        let train = train_sets(&sources, &config)?;
        if config.train.hard_negatives.is_none() {
            config.train.hard_negatives = Some(config.default_negatives(&train, observe));
        }
        observe(Event::Phase("tokenising"));
        let retriever = match folder {
            Some(folder) => Retriever::load(&folder, config.seed, device).map_err(key_of_length)?,
            None => random(&train, &config, vocabulary, device)?,
        };
        check_dims(&config, retriever.dim())?;
        if retriever.model.num_trainable() == 0 {
            let problem = "leaves nothing to train".into();
            return Err(TrainError::Misfit { key: "model.freeze", problem });
        }
        let mut identity = Identity::new(&config, changed);
        for (name, sum) in sources.sums() {
            identity.reads(name, sum);
        }
        for side in Side::ALL {
            let sum = blake3::hash(retriever.tokenizer(side).fingerprint().as_bytes());
            identity.reads(format!("the {}'s tokenizer", side.name()), sum);
        }
        identity.reads("the weights before the first step", weights_sum(&retriever));
        Ok(Self { config, retriever, train, identity, sources })
    }

    /// Everything tokenised once, as the retriever reads it, or found in the folder `cache`.
    ///
    /// # Errors
    /// A text that cannot be tokenised, or a cache that cannot be written.
    pub(crate) fn tokenise(&self, cache: &Path) -> Result<Prepared, TrainError> {
        Prepared::new(&self.sources, self.train.clone(), &self.config, &self.retriever, cache)
    }
}

/// Random weights and a vocabulary of the training texts.
fn random<B: Backend>(
    train: &[TrainSet],
    config: &ExperimentConfig,
    vocabulary: Option<&Path>,
    device: &B::Device,
) -> Result<Retriever<B>, TrainError> {
    let model = &config.model;
    let tokenizer = match vocabulary {
        Some(path) => TextTokenizer::from_file(path)?,
        None => train_tokenizer(train, config)?,
    };
    let dual_encoder = model.dual_encoder(tokenizer.vocab_size());
    let weights = DualEncoder::init(&dual_encoder, config.seed, device)?;
    let settings = [
        (&model.query_prompt, model.query_max_len),
        (&model.document_prompt, model.document_max_len),
    ]
    .map(|(prompt, max_tokens)| SideSettings {
        prompt: prompt.clone().unwrap_or_default(),
        max_tokens,
    });
    let mut retriever = Retriever::new(weights, tokenizer, settings).map_err(key_of_length)?;
    retriever.similarity = similarity::of_model(config.loss.similarity.unwrap_or_default());
    retriever.document_text = config.data.document_text;
    Ok(retriever)
}

/// The key to blame for a length that holds nothing beside the special tokens.
fn key_of_length(error: ModelError) -> TrainError {
    match error {
        ModelError::NoRoom { side, max_tokens, special } => TrainError::Misfit {
            key: match side {
                Side::Query => "model.query_max_len",
                Side::Document => "model.document_max_len",
            },
            problem: format!("is {max_tokens}: no room is left beside {special} special tokens"),
        },
        other => other.into(),
    }
}

/// Checks that an embedding has all the dimensions that are asked for.
fn check_dims(config: &ExperimentConfig, dim: usize) -> Result<(), TrainError> {
    let dims = config.matryoshka.as_ref().map_or(&[][..], |matryoshka| &matryoshka.dims);
    match dims.iter().find(|&&asked| asked > dim) {
        None => Ok(()),
        Some(asked) => Err(TrainError::Misfit {
            key: "matryoshka.dims",
            problem: format!("holds {asked}: expected 1 to {dim}, the embedding's"),
        }),
    }
}

/// Checks that `device` computes with what `train.precision` asks for.
fn check_precision<B: Backend>(
    config: &ExperimentConfig,
    device: &B::Device,
) -> Result<(), TrainError> {
    let precision = config.train.precision;
    if precision.is_on::<B>(device) {
        return Ok(());
    }
    Err(TrainError::Precision { precision, backend: B::name(device) })
}

/// The sum of every weight.
fn weights_sum<B: Backend>(retriever: &Retriever<B>) -> blake3::Hash {
    let mut sum = blake3::Hasher::new();
    retriever.model.for_each_parameter(|parameter, values| {
        sum.update(parameter.name.as_bytes());
        for value in values.into_data().iter::<f32>() {
            sum.update(&value.to_le_bytes());
        }
    });
    sum.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Configuration;

    fn resolve(text: &str) -> Result<Resolved, TrainError> {
        ExperimentConfig::parse(text, Path::new("x.toml"), &[])?.resolve()
    }

    #[test]
    fn random_weights_take_the_defaults_and_the_encoder_s_limit() {
        let Resolved { config, changed, .. } = resolve("").unwrap();
        assert_eq!(
            (config.model.query_max_len, config.model.document_max_len),
            (Some(64), Some(128))
        );
        assert_eq!((config.data.lowercase, config.model.normalize), (Some(true), Some(true)));
        assert_eq!((config.train.steps, config.train.epochs), (None, Some(1.0)));
        assert_eq!((config.train.lr, config.train.warmup), (Some(5e-4), Some(Warmup::Steps(100))));
        assert!(changed.is_empty());
        let short = "[model.encoder]\ntype = \"bert\"\nmax_positions = 32";
        let Resolved { config, .. } = resolve(short).unwrap();
        assert_eq!(
            (config.model.query_max_len, config.model.document_max_len),
            (Some(32), Some(32))
        );
        let error = resolve(&format!("[model]\nquery_max_len = 33\n{short}")).unwrap_err();
        assert!(error.to_string().contains("`model.query_max_len` is 33"), "{error}");
    }

    #[test]
    fn two_stages_compare_in_one_way() {
        let stages = |own: &str| {
            resolve(&format!(
                "[loss]\nsimilarity = \"dot\"\n[second_stage.loss]\npreset = \"st\"{own}"
            ))
        };
        let resolved = stages("").unwrap().config.second_stage.unwrap();
        assert_eq!(resolved.loss.similarity, Some(samtone_loss::Similarity::Dot));
        let error = stages("\nsimilarity = \"cosine\"").unwrap_err();
        assert!(error.to_string().contains("second_stage.loss.similarity"), "{error}");
    }

    #[test]
    fn what_the_configuration_says_wins_and_is_told() {
        let mut changed = Vec::new();
        let (mut asked, mut own) = (Some(3), 5);
        settle("a", &mut asked, &mut own, &mut changed);
        assert_eq!((asked, own, &changed[..]), (Some(3), 3, &["`a`: 5 → 3".to_owned()][..]));
        let (mut asked, mut own) = (None, 7);
        settle("b", &mut asked, &mut own, &mut changed);
        assert_eq!((asked, own, changed.len()), (Some(7), 7, 1));
    }
}
