//! One tower's folder: its description, its weights, and how both are written.

use std::path::{Path, PathBuf};

use samtone_text::TextTokenizer;

use super::json::{create_folder, read_json_if_there, write_json};
use super::limits::{Limits, Task};
use super::samtone::SamtoneFile;
use super::settings::Settings;
use super::stages::{
    Stage, check_norm, read_dense, read_modules, read_pooling, read_routes,
    write_dense, write_pooling,
};
use super::tokenizer::{TokenizerFiles, TokenizerSettings, write_tokenizer};
use super::{CONFIG, unsupported};
use crate::config::{DualEncoderConfig, EncoderConfig, Pooling, Sharing};
use crate::error::ModelError;
use crate::folder::checkpoint::{self, Checkpoint, HostTensor, WEIGHTS};
use crate::folder::hugging_face;
use crate::projection::{DenseLayer, DenseLayers};
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
        let mut encoder_folder = path.to_owned();
        let mut pooling = (Pooling::Mean, true);
        let mut dense = Vec::new();
        let mut normalize = stages.is_none();
        if let Some((file, stages)) = stages {
            let expected = "Transformer, Pooling, any Dense, then at most one Normalize";
            for (at, stage) in stages.iter().enumerate() {
                let place = stage.place(file, path)?;
                match (at, stage.kind()) {
                    (0, "Transformer") => encoder_folder = place,
                    (1, "Pooling") => pooling = read_pooling(&place)?,
                    (2.., "Dense") if !normalize => {
                        let layer = read_dense(&place)?;
                        dense.push((place, layer));
                    }
                    (2.., "Normalize") if at + 1 == stages.len() => {
                        check_norm(&place)?;
                        normalize = true;
                    }
                    _ => return Err(unsupported(file, "type", stage.class(), expected)),
                }
            }
            if stages.len() < 2 {
                return Err(unsupported(file, "type", "too few stages", expected));
            }
        }
        check_no_adapter(&encoder_folder)?;
        let encoder = hugging_face::read_config(&encoder_folder.join(CONFIG))?;
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
            tokenizer: TokenizerSettings::read(&encoder_folder)?,
            encoder,
            path: encoder_folder,
        })
    }

    /// Texts of `side` are cut to this many tokens; none: no file says.
    pub(crate) fn max_tokens(&self, side: Side) -> Option<usize> {
        self.limits.max_tokens(side).or(self.tokenizer.max_tokens)
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

    /// The tower's weights under the names of its parameters.
    pub(crate) fn read_weights(&self) -> Result<TowerWeights, ModelError> {
        let encoder = hugging_face::read_weights(&self.path, &self.encoder)?;
        let dense = self.dense.iter().map(|(folder, _)| Checkpoint::read(folder, |_| false));
        Ok(TowerWeights { encoder, dense: dense.collect::<Result<_, _>>()? })
    }
}

/// Checks that a folder's weights are a model's own: transformers would put an adapter on another's.
pub(crate) fn check_no_adapter(folder: &Path) -> Result<(), ModelError> {
    #[derive(serde::Deserialize)]
    struct Adapter {
        base_model_name_or_path: Option<String>,
    }
    let path = folder.join("adapter_config.json");
    match read_json_if_there::<Adapter>(&path)? {
        None => Ok(()),
        Some(adapter) => Err(ModelError::Adapter { path, base: adapter.base_model_name_or_path }),
    }
}

/// The weights of one tower, as its folder holds them.
#[derive(Debug)]
pub(crate) struct TowerWeights {
    encoder: Checkpoint,
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
    /// The values of a parameter and the file they came from; none if it is a projection's and the
    /// folder has none.
    pub(crate) fn get(
        &self,
        name: &str,
        shape: &[usize],
    ) -> Result<Option<(&HostTensor, &Path)>, ModelError> {
        let Some((number, own)) = dense_tensor(name) else {
            return Ok(Some((self.encoder.get(name, shape)?, self.encoder.path())));
        };
        let Some(checkpoint) = self.dense.get(number) else { return Ok(None) };
        Ok(Some((checkpoint.get(&own, shape)?, checkpoint.path())))
    }

    /// Checks that the files hold nothing but `names`.
    pub(crate) fn check_names(&self, names: &[&str]) -> Result<(), ModelError> {
        self.encoder.check_names(|name| names.contains(&name))?;
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
        let (dense, encoder): (Vec<_>, Vec<_>) =
            self.parameters.into_iter().partition(|(name, _)| dense_tensor(name).is_some());

        let place = next("Transformer")?;
        checkpoint::write(&place.join(WEIGHTS), &encoder)?;
        let pad_id = self.tokenizer.pad_id();
        write_json(&place.join(CONFIG), &hugging_face::config_json(&config.encoder, pad_id))?;
        write_tokenizer(&place, self.tokenizer, self.tokenizer_files, self.max_tokens)?;
        Limits::write(&place, self.max_tokens)?;

        let (pooling, hidden) = (config.pooling, config.encoder.hidden());
        write_pooling(&next("Pooling")?, pooling, self.include_prompt, hidden)?;
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
