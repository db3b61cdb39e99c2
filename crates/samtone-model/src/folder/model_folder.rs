//! A model folder as a whole: opened, perhaps changed, then loaded.

use std::path::{Path, PathBuf};

use burn::tensor::backend::Backend;
use samtone_text::{DocumentText, TextTokenizer};

use crate::config::{DualEncoderConfig, Similarity};
use crate::dual_encoder::DualEncoder;
use crate::error::ModelError;
use crate::folder::checkpoint::HostTensor;
use crate::folder::{CONFIG, SideSettings, TowerFolder, TowerWeights, read_towers};
use crate::parameter;
use crate::projection::DenseLayers;
use crate::side::Side;

/// A model folder whose descriptions are read and whose weights are not, yet.
///
/// Reads what this crate and sentence-transformers 2 to 6 write (its `Router` too), and plain Hugging
/// Face encoders (pooled by the mean, normalized). Between opening and loading the fields may be
/// changed: two towers may start from one ([`sharing`](DualEncoderConfig::sharing)), a projection may
/// be added, another pooling, prompt or length chosen.
///
/// # Examples
///
/// ```no_run
/// use burn::backend::Flex;
/// use samtone_model::{DualEncoder, ModelFolder, Sharing};
///
/// let mut folder = ModelFolder::open("all-MiniLM-L6-v2".as_ref())?;
/// folder.config.sharing = Sharing::AdeSpl;
/// folder.config.projection = Some(256.into());
/// let model: DualEncoder<Flex> = folder.load(42, &Default::default())?;
/// # Ok::<(), samtone_model::ModelError>(())
/// ```
#[derive(Clone, Debug)]
pub struct ModelFolder {
    /// What the folder holds, and what [`load`](Self::load) will make of it.
    pub config: DualEncoderConfig,
    /// The query side's prompt and length.
    pub query: SideSettings,
    /// The document side's prompt and length.
    pub document: SideSettings,
    /// How embeddings are compared; what says nothing means the cosine.
    pub similarity: Similarity,
    /// What of a document the model was trained on, if the folder says so.
    pub document_text: Option<DocumentText>,
    /// The temperature learned in training, if it was learned.
    pub temperature: Option<f64>,
    /// Whether texts are turned into lower case before the tokenizer reads them
    /// (`do_lower_case`). A tokenizer that does so itself needs no such word: folders written by this
    /// crate never have it.
    pub lowercase: bool,
    /// Whether a prompt's tokens are pooled with the text's; if not, they are only read.
    pub include_prompt: bool,
    /// The towers' folders, the same twice if one serves both sides.
    towers: [TowerFolder; 2],
}

impl ModelFolder {
    /// The model folder that `path` stands for: itself, or, where it is the run folder of a training,
    /// its `model`.
    ///
    /// # Errors
    /// [`ModelError::NoFolder`].
    pub fn find(path: &Path) -> Result<PathBuf, ModelError> {
        if !path.is_dir() {
            return Err(ModelError::NoFolder { path: path.to_owned() });
        }
        let is_model = |folder: &Path| DESCRIPTIONS.iter().any(|name| folder.join(name).is_file());
        let shipped = path.join("model");
        Ok(if !is_model(path) && is_model(&shipped) { shipped } else { path.to_owned() })
    }

    /// Reads the descriptions in the folder that [`find`](Self::find) finds.
    ///
    /// # Errors
    /// If a file is missing or broken, or asks for what this crate does not have.
    pub fn open(path: &Path) -> Result<Self, ModelError> {
        let ([query, document], samtone) = read_towers(&Self::find(path)?)?;
        let config = DualEncoderConfig {
            encoder: query.encoder.clone(),
            sharing: samtone.sharing,
            pooling: query.pooling,
            projection: query.projection(),
            normalize: query.normalize,
        };
        if let Some(what) = query.differs_from(&document) {
            return Err(ModelError::UnlikeTowers {
                query: query.path.clone(),
                document: document.path.clone(),
                what,
            });
        }
        let settings = |tower: &TowerFolder, side: Side, max_tokens: Option<usize>| SideSettings {
            prompt: tower.settings.prompts.of(side),
            max_tokens: max_tokens.or(tower.max_tokens(side)),
        };
        Ok(Self {
            query: settings(&query, Side::Query, samtone.query_max_tokens),
            document: settings(&document, Side::Document, samtone.document_max_tokens),
            similarity: query.settings.similarity,
            document_text: samtone.document_text,
            temperature: samtone.temperature,
            lowercase: query.limits.lowercase,
            include_prompt: query.include_prompt,
            towers: [query, document],
            config,
        })
    }

    /// Texts of `side` are cut to this many tokens.
    pub fn max_tokens(&self, side: Side) -> usize {
        self.config.encoder.longest_text(self.side(side).max_tokens)
    }

    /// The prompt and the length of `side`.
    pub fn side(&self, side: Side) -> &SideSettings {
        match side {
            Side::Query => &self.query,
            Side::Document => &self.document,
        }
    }

    /// The tokenizer of `side`, lower-casing if [`lowercase`](Self::lowercase) says so.
    ///
    /// # Errors
    /// If its file is missing or broken, the model has no embedding for one of its tokens, or
    /// transformers would read the folder with another normalizer than the file has.
    pub fn read_tokenizer(&self, side: Side) -> Result<TextTokenizer, ModelError> {
        let tokenizer = self.tower(side).read_tokenizer()?;
        let tokenizer = if self.lowercase { tokenizer.lowercased() } else { Ok(tokenizer) };
        let ids = self.config.encoder.vocab_size();
        let tokenizer = tokenizer.and_then(|tokenizer| tokenizer.limited_to(ids));
        tokenizer.map_err(|source| ModelError::Tokenizer { source })
    }

    pub(crate) fn tower(&self, side: Side) -> &TowerFolder {
        &self.towers[side as usize]
    }

    /// Whether one folder serves both sides.
    pub(crate) fn is_one(&self) -> bool {
        self.towers[0].path == self.towers[1].path
    }

    /// Reads the weights. A projection is drawn from `seed` where the folder has none.
    ///
    /// # Errors
    /// If another projection is asked for than the folder has, if a tensor is missing, left over, of another shape or not finite, or if towers should share
    /// a tensor whose two copies differ.
    pub fn load<B: Backend>(
        &self,
        seed: u64,
        device: &B::Device,
    ) -> Result<DualEncoder<B>, ModelError> {
        let [query, document] = &self.towers;
        let own = query.projection();
        if own.is_some() && own != self.config.projection {
            return Err(ModelError::OtherProjection {
                path: query.path.clone(),
                own: own.map_or(0, |own| own.dim()),
                asked: self.config.projection.as_ref().map(DenseLayers::dim),
            });
        }
        let query = query.read_weights()?;
        let document = if self.is_one() { None } else { Some(document.read_weights()?) };
        let read = |weights: &TowerWeights, name: &str, shape: &[usize]| {
            let found = weights.get(name, shape)?;
            Ok::<_, ModelError>(found.map(|(tensor, path)| (tensor.clone(), path.to_owned())))
        };
        let model = DualEncoder::build(&self.config, device, &mut |parameter, init| {
            let (name, shape) = (parameter.name.as_str(), parameter.shape.as_slice());
            let of_document = document.as_ref().unwrap_or(&query);
            let found = match parameter.side {
                Some(Side::Document) => read(of_document, name, shape)?,
                Some(Side::Query) => read(&query, name, shape)?,
                None => {
                    let found = read(&query, name, shape)?;
                    if let (Some(found), Some(document)) = (&found, &document) {
                        let other = read(document, name, shape)?;
                        tied(name, found, &other.expect("both towers have a projection"))?;
                    }
                    found
                }
            };
            Ok(match found {
                Some((tensor, _)) => tensor.values,
                None => parameter::draw(seed, parameter, init),
            })
        })?;
        let names: Vec<&str> = model.parameters().iter().map(|p| p.name.as_str()).collect();
        for weights in [Some(&query), document.as_ref()].into_iter().flatten() {
            weights.check_names(&names)?;
        }
        Ok(model)
    }
}

/// The files of which every model folder has one.
const DESCRIPTIONS: [&str; 4] = [CONFIG, "modules.json", "samtone.json", "adapter_config.json"];

/// Checks that both towers' copies of a shared tensor are equal.
fn tied(
    name: &str,
    (query, query_path): &(HostTensor, PathBuf),
    (document, document_path): &(HostTensor, PathBuf),
) -> Result<(), ModelError> {
    let differs = query.values.iter().zip(&document.values).position(|(a, b)| a != b);
    match differs {
        None => Ok(()),
        Some(element) => Err(ModelError::Untied {
            tensor: name.to_owned(),
            query: query_path.clone(),
            document: document_path.clone(),
            element,
        }),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_run_folder_stands_for_its_model() {
        let home = tempfile::tempdir().unwrap();
        let place = |name: &str| home.path().join(name);
        for name in ["run/model/query", "model/model", "empty/model"] {
            fs::create_dir_all(place(name)).unwrap();
        }
        for file in ["run/model/samtone.json", "model/modules.json", "model/model/config.json"] {
            fs::write(place(file), "{}").unwrap();
        }
        for (given, found) in [
            ("run", "run/model"),
            ("run/model", "run/model"),
            ("model", "model"),
            ("empty", "empty"),
        ] {
            assert_eq!(ModelFolder::find(&place(given)).unwrap(), place(found));
        }
        let error = ModelFolder::find(&place("none")).unwrap_err();
        assert!(matches!(error, ModelError::NoFolder { .. }), "{error}");
    }
}
