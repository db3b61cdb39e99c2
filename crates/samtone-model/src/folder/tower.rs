//! One tower's folder: its description, its weights, and how both are written.

use std::path::{Path, PathBuf};

use samtone_text::TextTokenizer;

use super::json::{create_folder, write_json};
use super::limits::{Limits, Task};
use super::names::{DOWN, UP};
use super::peft::{self, Adapter, AdapterFolder, Base};
use super::samtone::SamtoneFile;
use super::settings::Settings;
use super::stages::{
    Stage, check_norm, read_dense, read_modules, read_pooling, read_routes, write_dense,
    write_pooling,
};
use super::tokenizer::{TOKENIZER, TokenizerFiles, TokenizerSettings, write_tokenizer};
use super::{CONFIG, unsupported};
use crate::adapter::AdapterConfig;
use crate::arch::static_table;
use crate::config::{DualEncoderConfig, EncoderConfig, LONGEST_OF_TABLES, Pooling, Sharing};
use crate::error::ModelError;
use crate::folder::checkpoint::{self, Checkpoint, HostTensor, WEIGHTS};
use crate::folder::hugging_face;
use crate::folder::keys::TokenIds;
use crate::projection::{DenseLayer, DenseLayers};
use crate::side::Side;

/// The description of one tower's folder.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct TowerFolder {
    /// The folder of the encoder's tokenizer, and of its weights or of their adapter.
    pub(crate) path: PathBuf,
    /// Where the encoder's own weights are.
    pub(crate) base: Base,
    /// The adapter on them, if there is one.
    pub(crate) adapter: Option<Adapter>,
    pub(crate) encoder: EncoderConfig,
    /// Whether it is an encoder alone, of which no file says what its states become.
    pub(crate) is_bare: bool,
    pub(crate) pooling: Pooling,
    /// Whether a prompt's tokens are pooled with the text's.
    pub(crate) include_prompt: bool,
    /// The dense layers after pooling, each with its folder.
    pub(crate) dense: Vec<(PathBuf, DenseLayer)>,
    pub(crate) normalize: bool,
    pub(crate) settings: Settings,
    pub(crate) limits: Limits,
    pub(crate) tokenizer: TokenizerSettings,
}

/// Both sides' towers, the same twice if there is but one.
pub(crate) fn read_towers(folder: &Path) -> Result<([TowerFolder; 2], SamtoneFile), ModelError> {
    let samtone = SamtoneFile::read(folder)?;
    if let Some((file, [query, document])) = read_routes(folder)? {
        let towers = [
            TowerFolder::read(folder, Some((&file, &query)))?,
            TowerFolder::read(folder, Some((&file, &document)))?,
        ];
        let is_one = towers[0].path == towers[1].path;
        let sharing = if is_one { Sharing::Sde } else { Sharing::Ade };
        return Ok((towers, samtone.unwrap_or(SamtoneFile { sharing, ..SamtoneFile::default() })));
    }
    let samtone = samtone.unwrap_or_default();
    let read = |folder: &Path| {
        let modules = read_modules(folder)?;
        let stages = modules.as_ref().map(|(file, stages)| (file.as_path(), stages.as_slice()));
        TowerFolder::read(folder, stages)
    };
    let towers = if samtone.sharing.is_siamese() {
        let tower = read(folder)?;
        [tower.clone(), tower]
    } else {
        let [query, document] = Side::ALL.map(|side| read(&folder.join(side.name())));
        [query?, document?]
    };
    Ok((towers, samtone))
}

impl TowerFolder {
    /// Reads a tower's description: a sentence-transformers folder with its stages and the file that
    /// names them, or an encoder alone, which is pooled by the mean and normalized.
    fn read(path: &Path, stages: Option<(&Path, &[Stage])>) -> Result<Self, ModelError> {
        if stages.is_none()
            && let Some(adapter) = AdapterFolder::read(path)?
        {
            return Self::read_adapted(path, &adapter);
        }
        let mut encoder_folder = path.to_owned();
        let mut pooling = (Pooling::Mean, true);
        let mut dense = Vec::new();
        let mut normalize = stages.is_none();
        // A table of model2vec's own, or a stage.
        let mut is_table = false;
        if stages.is_none()
            && let Some(of_table) = static_table::files::normalizes(path)?
        {
            (is_table, normalize) = (true, of_table);
        }
        if let Some((file, stages)) = stages {
            let expected = "Transformer and Pooling or StaticEmbedding, any Dense, then at most one \
                 Normalize";
            for (at, stage) in stages.iter().enumerate() {
                let place = stage.place(file, path)?;
                match (at, stage.kind()) {
                    (0, "Transformer") => encoder_folder = place,
                    (0, "StaticEmbedding") => (encoder_folder, is_table) = (place, true),
                    (1, "Pooling") if !is_table => pooling = read_pooling(&place)?,
                    (1.., "Dense") if (at > 1 || is_table) && !normalize => {
                        let layer = read_dense(&place)?;
                        dense.push((place, layer));
                    }
                    (1.., "Normalize") if (at > 1 || is_table) && at + 1 == stages.len() => {
                        check_norm(&place)?;
                        normalize = true;
                    }
                    _ => return Err(unsupported(file, "type", stage.class(), expected)),
                }
            }
            if stages.is_empty() || (stages.len() < 2 && !is_table) {
                return Err(unsupported(file, "type", "too few stages", expected));
            }
        }
        let adapter = AdapterFolder::read(&encoder_folder)?;
        let base = match &adapter {
            Some(adapter) => encoder_of(adapter.base()?)?,
            None => Base::of_folder(&encoder_folder),
        };
        let encoder = if is_table {
            EncoderConfig::Static(static_table::files::read_config(&encoder_folder)?)
        } else {
            hugging_face::read_config(&base.folder.join(CONFIG))?
        };
        let adapter = adapter.map(|adapter| adapter.load(&encoder)).transpose()?;
        let (pooling, include_prompt) = pooling;
        let pooled = pooling.parts().count().saturating_mul(encoder.hidden());
        let dim = dense.last().map_or(pooled, |(_, layer)| layer.dim);
        Ok(Self {
            pooling,
            include_prompt,
            dense,
            normalize,
            settings: Settings::read(path, dim)?,
            limits: Limits::read(&encoder_folder, Task::States)?,
            tokenizer: if is_table {
                TokenizerSettings::of_table(&encoder_folder)?
            } else {
                TokenizerSettings::read(&encoder_folder)?
            },
            encoder,
            is_bare: stages.is_none() && !is_table,
            base,
            adapter,
            path: encoder_folder,
        })
    }

    /// Reads the tower that an adapter alone makes of its base: the adapter's folder has nothing of its
    /// own but, perhaps, the tokenizer.
    fn read_adapted(path: &Path, adapter: &AdapterFolder) -> Result<Self, ModelError> {
        let base = adapter.base()?;
        let modules = read_modules(&base.folder)?;
        let stages = modules.as_ref().map(|(file, stages)| (file.as_path(), stages.as_slice()));
        let tower = Self::read(&base.folder, stages)?;
        if tower.adapter.is_some() {
            return Err(ModelError::Adapter { path: base.folder.join(peft::DESCRIPTION) });
        }
        let adapter = Some(adapter.load(&tower.encoder)?);
        let base = Base { folder: tower.base.folder.clone(), ..base };
        if !path.join(TOKENIZER).exists() {
            return Ok(Self { base, adapter, ..tower });
        }
        let tokenizer = TokenizerSettings::read(path)?;
        Ok(Self { path: path.to_owned(), base, adapter, tokenizer, ..tower })
    }

    /// Texts of `side` are cut to this many tokens; none: no file says.
    pub(crate) fn max_tokens(&self, side: Side) -> Option<usize> {
        // As in sentence-transformers: a length of the stage's own stands, the tokenizer's is held to the
        // length that the encoder was made for.
        let of_tokenizer = [self.tokenizer.max_tokens, self.encoder.usual_tokens()];
        self.limits.max_tokens(side).or(of_tokenizer.into_iter().flatten().min())
    }

    /// The dense layers after pooling; none if there is none.
    pub(crate) fn projection(&self) -> Option<DenseLayers> {
        let layers: Vec<DenseLayer> = self.dense.iter().map(|(_, layer)| *layer).collect();
        (!layers.is_empty()).then(|| layers.into())
    }

    /// What two towers that are to be one model differ in, if they do.
    pub(crate) fn differs_from(&self, other: &Self) -> Option<&'static str> {
        let same = [
            ("the encoder", self.encoder == other.encoder),
            ("the adapter", self.adapter_config() == other.adapter_config()),
            ("the pooling", self.pooling == other.pooling),
            ("`include_prompt`", self.include_prompt == other.include_prompt),
            ("the projection", self.projection() == other.projection()),
            ("the last norm", self.normalize == other.normalize),
            ("`do_lower_case`", self.limits.lowercase == other.limits.lowercase),
            ("`similarity_fn_name`", self.settings.similarity == other.settings.similarity),
        ];
        same.into_iter().find(|(_, same)| !same).map(|(what, _)| what)
    }

    /// The files beside the one that `tokenizer` was made of.
    pub(crate) fn tokenizer_files(
        &self,
        tokenizer: &TextTokenizer,
    ) -> Result<TokenizerFiles, ModelError> {
        let of_side = |side| self.encoder.longest_text(self.max_tokens(side));
        let max_tokens = of_side(Side::Query).max(of_side(Side::Document));
        TokenizerFiles::read(&self.path, tokenizer, max_tokens)
    }

    /// The tower's tokenizer, as its folder has it.
    pub(crate) fn read_tokenizer(&self) -> Result<TextTokenizer, ModelError> {
        self.tokenizer.read_tokenizer(&self.path)
    }

    /// The adapter's description, if there is one.
    pub(crate) fn adapter_config(&self) -> Option<&AdapterConfig> {
        self.adapter.as_ref().map(|adapter| &adapter.config)
    }

    /// The tower's weights under the names of its parameters; the encoder's own are those of `beside`,
    /// if it has the same.
    pub(crate) fn read_weights(
        &self,
        beside: Option<(&Self, &TowerWeights)>,
    ) -> Result<TowerWeights, ModelError> {
        let same = beside.filter(|(tower, _)| tower.base.folder == self.base.folder);
        let encoder = match same {
            Some((_, weights)) => weights.encoder.clone(),
            None => hugging_face::read_weights(&self.base.folder, &self.encoder)?,
        };
        let adapter = self.adapter.as_ref().map(|adapter| adapter.weights.clone());
        let dense = self.dense.iter().map(|(folder, _)| Checkpoint::read(folder, |_| false));
        Ok(TowerWeights { encoder, adapter, dense: dense.collect::<Result<_, _>>()? })
    }
}

/// The encoder's folder of a model that an adapter belongs on.
fn encoder_of(base: Base) -> Result<Base, ModelError> {
    let folder = match read_modules(&base.folder)? {
        Some((file, stages)) => match stages.first() {
            Some(first) => first.place(&file, &base.folder)?,
            None => base.folder,
        },
        None => base.folder,
    };
    if folder.join(peft::DESCRIPTION).exists() {
        return Err(ModelError::Adapter { path: folder.join(peft::DESCRIPTION) });
    }
    Ok(Base { folder, ..base })
}

/// The weights of one tower, as its folder holds them.
#[derive(Debug)]
pub(crate) struct TowerWeights {
    encoder: Checkpoint,
    /// The adapter's tensors, which stand for the encoder's of the same names.
    adapter: Option<Checkpoint>,
    dense: Vec<Checkpoint>,
}

/// Of a parameter's name the number of its dense layer, and its name in that layer's file; none if it
/// is no dense layer's.
fn dense_tensor(name: &str) -> Option<(usize, String)> {
    let rest = name.strip_prefix("projection.")?;
    let numbered = rest.split_once('.').and_then(|(n, rest)| Some((n.parse().ok()?, rest)));
    let (number, rest) = numbered.unwrap_or((0, rest));
    Some((number, format!("linear.{rest}")))
}

impl TowerWeights {
    /// The values of a parameter and the file they came from; none if it is a projection's or an
    /// adapter's and the folder has none.
    pub(crate) fn get(
        &self,
        name: &str,
        shape: &[usize],
    ) -> Result<Option<(&HostTensor, &Path)>, ModelError> {
        let Some((number, own)) = dense_tensor(name) else {
            let is_adapter = name.ends_with(DOWN) || name.ends_with(UP);
            let holds = |adapter: &&Checkpoint| is_adapter || adapter.shape(name).is_some();
            let file = match self.adapter.as_ref().filter(holds) {
                None if is_adapter => return Ok(None),
                None => &self.encoder,
                Some(adapter) => adapter,
            };
            return Ok(Some((file.get(name, shape)?, file.path())));
        };
        let Some(checkpoint) = self.dense.get(number) else { return Ok(None) };
        Ok(Some((checkpoint.get(&own, shape)?, checkpoint.path())))
    }

    /// Checks that the files hold nothing but `names`.
    pub(crate) fn check_names(&self, names: &[&str]) -> Result<(), ModelError> {
        for file in [Some(&self.encoder), self.adapter.as_ref()].into_iter().flatten() {
            file.check_names(|name| names.contains(&name))?;
        }
        let dense: Vec<_> = names.iter().filter_map(|name| dense_tensor(name)).collect();
        for (number, checkpoint) in self.dense.iter().enumerate() {
            let is_known = |name: &str| dense.iter().any(|(n, own)| *n == number && own == name);
            checkpoint.check_names(is_known)?;
        }
        Ok(())
    }
}

/// Everything one tower's folder is written from.
pub(crate) struct TowerContent<'a> {
    pub(crate) config: &'a DualEncoderConfig,
    pub(crate) include_prompt: bool,
    pub(crate) max_tokens: usize,
    pub(crate) tokenizer: &'a TextTokenizer,
    /// The tokenizer's other files, where there are any.
    pub(crate) tokenizer_files: &'a TokenizerFiles,
    /// Where the encoder's own weights are, if the tower was read from a folder.
    pub(crate) base: Option<&'a Base>,
    /// Every parameter of the tower by name; with adapters, of the encoder those alone that were trained.
    pub(crate) parameters: Vec<(String, HostTensor)>,
}

/// How the stages of a tower are laid out in a folder.
#[derive(Clone, Copy)]
pub(crate) enum Layout<'a> {
    /// The encoder at the top, the other stages in numbered folders.
    Plain,
    /// Every stage in a folder of its own whose name starts with a route's.
    Route(&'a str),
}

impl TowerContent<'_> {
    /// Writes the tower's stages into `folder`; gives each one's path and kind.
    pub(crate) fn write_stages(
        self,
        folder: &Path,
        layout: Layout<'_>,
    ) -> Result<Vec<(String, &'static str)>, ModelError> {
        let mut written = Vec::new();
        let mut next = |kind: &'static str| {
            let number = written.len();
            let path = match layout {
                Layout::Plain if number == 0 => String::new(),
                Layout::Plain => format!("{number}_{kind}"),
                Layout::Route(route) => format!("{route}_{number}_{kind}"),
            };
            written.push((path.clone(), kind));
            let place = if path.is_empty() { folder.to_owned() } else { folder.join(path) };
            create_folder(&place)?;
            Ok::<PathBuf, ModelError>(place)
        };
        let config = self.config;
        let (dense, encoder): (Vec<_>, Vec<_>) =
            self.parameters.into_iter().partition(|(name, _)| dense_tensor(name).is_some());

        let is_table = matches!(config.encoder, EncoderConfig::Static(_));
        let place = next(if is_table { "StaticEmbedding" } else { "Transformer" })?;
        if config.adapter.is_some() {
            peft::write(&place, config, self.base.ok_or(ModelError::Baseless)?, encoder)?;
        } else {
            let encoder = hugging_face::file_tensors(&config.encoder, encoder);
            checkpoint::write(&place.join(WEIGHTS), &encoder)?;
            let ids = TokenIds::of(self.tokenizer);
            if let Some(file) = hugging_face::config_json(&config.encoder, ids) {
                write_json(&place.join(CONFIG), &file)?;
            }
        }
        let of_table = is_table && self.max_tokens < LONGEST_OF_TABLES;
        let cut = of_table && self.tokenizer.file_limit() != Some(self.max_tokens);
        let cut = cut.then(|| self.tokenizer.with_file_limit(self.max_tokens)).transpose();
        let cut = cut.map_err(|source| ModelError::Tokenizer { source })?;
        let tokenizer = cut.as_ref().unwrap_or(self.tokenizer);
        write_tokenizer(&place, tokenizer, self.tokenizer_files, self.max_tokens)?;
        if !is_table {
            Limits::write(&place, self.max_tokens)?;
            let (pooling, hidden) = (config.pooling, config.encoder.hidden());
            write_pooling(&next("Pooling")?, pooling, self.include_prompt, hidden)?;
        }
        for (number, &layer) in config.dense_layers().iter().enumerate() {
            let tensors = dense.iter().filter_map(|(name, tensor)| {
                let (own, name) = dense_tensor(name)?;
                (own == number).then(|| (name, tensor.clone()))
            });
            write_dense(&next("Dense")?, layer, &tensors.collect::<Vec<_>>())?;
        }
        if config.normalize {
            next("Normalize")?;
        }
        Ok(written)
    }
}
