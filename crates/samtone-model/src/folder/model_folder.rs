//! A model folder as a whole: opened, perhaps changed, then loaded.

use std::path::{Path, PathBuf};

use burn::tensor::backend::Backend;
use samtone_hub::HubCache;
use samtone_text::{DocumentText, TextTokenizer};

use crate::config::{DualEncoderConfig, Freeze, Similarity};
use crate::dual_encoder::DualEncoder;
use crate::error::ModelError;
use crate::folder::checkpoint::HostTensor;
use crate::folder::{SideSettings, TowerFolder, locate, read_towers};
use crate::parameter;
use crate::projection::DenseLayers;
use crate::side::Side;

/// A model folder whose descriptions are read and whose weights are not, yet.
///
/// Reads what this crate and sentence-transformers 2 to 6 write (its `Router` too), plain Hugging Face
/// encoders (pooled by the mean, normalized), and PEFT's adapters, through the folder that they are on. Between opening and loading the fields may be
/// changed: two towers may start from one ([`sharing`](DualEncoderConfig::sharing)), a projection may
/// be added, another pooling, prompt or length chosen, adapters put on the encoder.
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
    /// The model folder that `path` stands for: itself; where it is the run folder of a training, its
    /// `model`; and where there is no such folder and it is a name on Hugging Face's hub
    /// ([`ModelName`](samtone_hub::ModelName)), the model's snapshot in the cache of this machine ([`HubCache`]). Nothing is
    /// fetched.
    ///
    /// # Errors
    /// [`ModelError::NoFolder`], or [`ModelError::NotCached`] where it could be a name.
    pub fn find(path: &Path) -> Result<PathBuf, ModelError> {
        locate::find(path)
    }

    /// The path by which [`find`](Self::find) finds the same model later: that of a folder as it is, a
    /// name with the commit that its revision is now.
    ///
    /// # Errors
    /// As [`find`](Self::find).
    pub fn pin(path: &Path) -> Result<PathBuf, ModelError> {
        let snapshot = locate::snapshot(path, HubCache::of_machine)?;
        Ok(snapshot.map_or_else(|| path.to_owned(), |found| found.pinned().to_string().into()))
    }

    /// Reads the descriptions in the folder that [`find`](Self::find) finds.
    ///
    /// # Errors
    /// If a file is missing or broken, or asks for what this crate does not have.
    pub fn open(path: &Path) -> Result<Self, ModelError> {
        let snapshot = locate::snapshot(path, HubCache::of_machine)?;
        let folder =
            snapshot.as_ref().map_or_else(|| locate::find(path), |it| Ok(it.folder.clone()))?;
        let ([mut query, mut document], samtone) = read_towers(&folder)?;
        // What an adapter trained on it calls it by.
        for tower in [&mut query, &mut document] {
            if let Some(snapshot) = &snapshot
                && tower.adapter.is_none()
                && tower.base.folder == snapshot.folder
            {
                snapshot.name.repository().clone_into(&mut tower.base.name);
                tower.base.revision = Some(snapshot.commit.clone());
            }
        }
        let config = DualEncoderConfig {
            encoder: query.encoder.clone(),
            sharing: samtone.sharing,
            pooling: query.pooling,
            projection: query.projection(),
            normalize: query.normalize,
            adapter: query.adapter_config().cloned(),
            freeze: Freeze::default(),
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
        tokenizer
            .and_then(|tokenizer| self.config.encoder.fitted(tokenizer))
            .map_err(|source| ModelError::Tokenizer { source })
    }

    pub(crate) fn tower(&self, side: Side) -> &TowerFolder {
        &self.towers[side as usize]
    }

    /// Whether one folder serves both sides.
    pub(crate) fn is_one(&self) -> bool {
        let [query, document] = &self.towers;
        query.path == document.path && query.adapter == document.adapter
    }

    /// What of the folder may surprise who looks at its files, a line each, to be said before its
    /// embeddings are used.
    pub fn remarks(&self) -> Vec<String> {
        let towers = if self.is_one() { &self.towers[..1] } else { &self.towers[..] };
        let mut remarks = Vec::new();
        for tower in towers {
            let path = tower.path.display();
            if tower.is_bare {
                remarks.push(format!(
                    "`{path}` is an encoder alone: its states are pooled by their mean and normalized"
                ));
            }
            let unread: Vec<String> =
                tower.settings.prompts.unread().map(|name| format!("`{name}`")).collect();
            if !unread.is_empty() {
                remarks.push(format!(
                    "`{path}` has prompts that are not read: {}; queries and documents have those \
                     named `query` and `document`",
                    unread.join(", ")
                ));
            }
        }
        remarks
    }

    /// Reads the weights. A projection and adapters are drawn from `seed` where the folder has none.
    ///
    /// # Errors
    /// If another projection or another adapter is asked for than the folder has, if a tensor is missing, left over, of another shape or not finite, or if towers should share
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
        if let Some(adapter) = query.adapter_config()
            && self.config.adapter.as_ref() != Some(adapter)
        {
            return Err(ModelError::OtherAdapter { path: query.path.clone() });
        }
        let beside = query;
        let query = query.read_weights(None)?;
        let document =
            if self.is_one() { None } else { Some(document.read_weights(Some((beside, &query)))?) };
        let model = DualEncoder::build(&self.config, device, &mut |parameter, init| {
            let (name, shape) = (parameter.name.as_str(), parameter.shape.as_slice());
            let of_document = document.as_ref().unwrap_or(&query);
            let found = match parameter.side {
                Some(Side::Document) => of_document.get(name, shape)?,
                Some(Side::Query) => query.get(name, shape)?,
                None => {
                    let found = query.get(name, shape)?;
                    if let (Some(found), Some(document)) = (found, &document) {
                        let other = document.get(name, shape)?;
                        tied(name, found, other.expect("both towers are built alike"))?;
                    }
                    found
                }
            };
            Ok(match found {
                Some((tensor, _)) => tensor.values.clone(),
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

/// Checks that both towers' copies of a shared tensor are equal.
fn tied(
    name: &str,
    (query, query_path): (&HostTensor, &Path),
    (document, document_path): (&HostTensor, &Path),
) -> Result<(), ModelError> {
    // The same tensor, of a base that both towers' adapters are on.
    if std::ptr::eq(query, document) {
        return Ok(());
    }
    let differs = query.values.iter().zip(&document.values).position(|(a, b)| a != b);
    match differs {
        None => Ok(()),
        Some(element) => Err(ModelError::Untied {
            tensor: name.to_owned(),
            query: query_path.to_owned(),
            document: document_path.to_owned(),
            element,
        }),
    }
}
