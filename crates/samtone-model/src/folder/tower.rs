//! One tower's folder: its description, its weights, and how both are written.

use std::path::{Path, PathBuf};

use samtone_text::TextTokenizer;
use serde_json::{Map, Value};

use super::json::{create_folder, write_json};
use super::limits::{Limits, Task};
use super::samtone::SamtoneFile;
use super::settings::Settings;
use super::stages::{
    DENSE_WEIGHT, Stage, check_norm, read_dense, read_modules, read_pooling, read_routes,
    write_dense, write_pooling,
};
use super::tokenizer::{TokenizerSettings, write_tokenizer};
use super::{CONFIG, unsupported};
use crate::arch::static_table;
use crate::config::{DualEncoderConfig, EncoderConfig, Pooling, Sharing};
use crate::error::ModelError;
use crate::folder::checkpoint::{self, Checkpoint, HostTensor, WEIGHTS};
use crate::folder::hugging_face;
use crate::side::Side;

/// The description of one tower's folder.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct TowerFolder {
    /// The encoder's folder.
    pub(crate) path: PathBuf,
    pub(crate) encoder: EncoderConfig,
    pub(crate) pooling: Pooling,
    /// Whether a prompt's tokens are pooled with the text's.
    pub(crate) include_prompt: bool,
    /// The projection's folder and its dimensions.
    pub(crate) projection: Option<(PathBuf, usize)>,
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
        let mut encoder_folder = path.to_owned();
        let mut pooling = (Pooling::Mean, true);
        let mut projection = None;
        let mut normalize = stages.is_none();
        // A table of model2vec's own, or a stage.
        let mut is_table = false;
        if stages.is_none()
            && let Some(of_table) = static_table::files::normalizes(path)?
        {
            (is_table, normalize) = (true, of_table);
        }
        if let Some((file, stages)) = stages {
            let expected = "Transformer and Pooling or StaticEmbedding, at most one Dense, then at most \
                 one Normalize";
            for (at, stage) in stages.iter().enumerate() {
                let place = stage.place(file, path)?;
                match (at, stage.kind()) {
                    (0, "Transformer") => encoder_folder = place,
                    (0, "StaticEmbedding") => (encoder_folder, is_table) = (place, true),
                    (1, "Pooling") if !is_table => pooling = read_pooling(&place)?,
                    (1.., "Dense")
                        if (at > 1 || is_table) && projection.is_none() && !normalize =>
                    {
                        let dim = read_dense(&place)?;
                        projection = Some((place, dim));
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
        let encoder = if is_table {
            EncoderConfig::Static(static_table::files::read_config(&encoder_folder)?)
        } else {
            hugging_face::read_config(&encoder_folder.join(CONFIG))?
        };
        let dim = projection.as_ref().map_or(encoder.hidden(), |(_, dim)| *dim);
        let (pooling, include_prompt) = pooling;
        Ok(Self {
            pooling,
            include_prompt,
            projection,
            normalize,
            settings: Settings::read(path, dim)?,
            limits: Limits::read(&encoder_folder, Task::States)?,
            tokenizer: TokenizerSettings::read(&encoder_folder)?,
            encoder,
            path: encoder_folder,
        })
    }

    /// Texts of `side` are cut to this many tokens; none: no file says.
    pub(crate) fn max_tokens(&self, side: Side) -> Option<usize> {
        self.limits.max_tokens(side).or(self.tokenizer.max_tokens)
    }

    /// What two towers that are to be one model differ in, if they do.
    pub(crate) fn differs_from(&self, other: &Self) -> Option<&'static str> {
        let dim = |tower: &Self| tower.projection.as_ref().map(|(_, dim)| *dim);
        let same = [
            ("the encoder", self.encoder == other.encoder),
            ("the pooling", self.pooling == other.pooling),
            ("`include_prompt`", self.include_prompt == other.include_prompt),
            ("the projection", dim(self) == dim(other)),
            ("the last norm", self.normalize == other.normalize),
            ("`do_lower_case`", self.limits.lowercase == other.limits.lowercase),
            ("`similarity_fn_name`", self.settings.similarity == other.settings.similarity),
        ];
        same.into_iter().find(|(_, same)| !same).map(|(what, _)| what)
    }

    /// The tower's tokenizer, as its folder has it.
    pub(crate) fn read_tokenizer(&self) -> Result<TextTokenizer, ModelError> {
        self.tokenizer.read_tokenizer(&self.path)
    }

    /// The tower's weights under the names of its parameters.
    pub(crate) fn read_weights(&self) -> Result<TowerWeights, ModelError> {
        let encoder = hugging_face::read_weights(&self.path, &self.encoder)?;
        let projection = match &self.projection {
            Some((folder, _)) => Some(Checkpoint::read(folder, |_| false)?),
            None => None,
        };
        Ok(TowerWeights { encoder, projection })
    }
}

/// The weights of one tower, as its folder holds them.
#[derive(Debug)]
pub(crate) struct TowerWeights {
    encoder: Checkpoint,
    projection: Option<Checkpoint>,
}

/// The projection's weight among the parameters of a tower.
const PROJECTION: &str = "projection.weight";

impl TowerWeights {
    /// The values of a parameter and the file they came from; none if it is a projection and the
    /// folder has none.
    pub(crate) fn get(
        &self,
        name: &str,
        shape: &[usize],
    ) -> Result<Option<(&HostTensor, &Path)>, ModelError> {
        let (checkpoint, name) = match (name, &self.projection) {
            (PROJECTION, None) => return Ok(None),
            (PROJECTION, Some(projection)) => (projection, DENSE_WEIGHT),
            _ => (&self.encoder, name),
        };
        Ok(Some((checkpoint.get(name, shape)?, checkpoint.path())))
    }

    /// Checks that the files hold nothing but `names`.
    pub(crate) fn check_names(&self, names: &[&str]) -> Result<(), ModelError> {
        self.encoder.check_names(|name| names.contains(&name))?;
        let projects = names.contains(&PROJECTION);
        match &self.projection {
            Some(projection) => projection.check_names(|name| projects && name == DENSE_WEIGHT),
            None => Ok(()),
        }
    }
}

/// Everything one tower's folder is written from.
pub(crate) struct TowerContent<'a> {
    pub(crate) config: &'a DualEncoderConfig,
    pub(crate) include_prompt: bool,
    pub(crate) max_tokens: usize,
    pub(crate) tokenizer: &'a TextTokenizer,
    /// The names of the tokenizer's special tokens by their key, where they are known.
    pub(crate) special: &'a Map<String, Value>,
    /// Every parameter of the tower by name.
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
        let (projection, encoder): (Vec<_>, Vec<_>) =
            self.parameters.into_iter().partition(|(name, _)| name == PROJECTION);

        let is_table = matches!(config.encoder, EncoderConfig::Static(_));
        let place = next(if is_table { "StaticEmbedding" } else { "Transformer" })?;
        let encoder = hugging_face::file_tensors(&config.encoder, encoder);
        checkpoint::write(&place.join(WEIGHTS), &encoder)?;
        let pad_id = self.tokenizer.pad_id();
        if let Some(file) = hugging_face::config_json(&config.encoder, pad_id) {
            write_json(&place.join(CONFIG), &file)?;
        }
        write_tokenizer(&place, self.tokenizer, self.special, self.max_tokens)?;
        if !is_table {
            Limits::write(&place, self.max_tokens)?;
            let (pooling, hidden) = (config.pooling, config.encoder.hidden());
            write_pooling(&next("Pooling")?, pooling, self.include_prompt, hidden)?;
        }
        if let Some((_, weight)) = projection.into_iter().next() {
            write_dense(&next("Dense")?, weight)?;
        }
        if config.normalize {
            next("Normalize")?;
        }
        Ok(written)
    }
}
