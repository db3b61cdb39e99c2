//! What can be wrong with a model's configuration and files.

use std::path::{Path, PathBuf};

use crate::precision::Precision;
use crate::side::Side;

/// A mistake in a model's configuration or files.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// A configuration value that no encoder can have.
    #[error("`{key}` is {got}, expected {expected}")]
    Config {
        /// The configuration key.
        key: &'static str,
        /// The value found.
        got: String,
        /// What would be accepted.
        expected: &'static str,
    },
    /// A device that does not compute in a float type.
    #[error("{backend} does not compute in `{precision}` here")]
    Precision {
        /// What was asked for.
        precision: Precision,
        /// Burn's name of the backend.
        backend: String,
    },
    /// A file of the model folder cannot be read or written.
    #[error("cannot access `{}`", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// There is no folder where a model should be.
    #[error("`{}` is no folder", path.display())]
    NoFolder {
        /// Where it should be.
        path: PathBuf,
    },
    /// There is no folder where a model should be, nor does the cache hold it by that name.
    #[error("`{}` is no folder", path.display())]
    NotCached {
        /// What should be a folder or a name.
        path: PathBuf,
        /// What was looked for, and where.
        #[source]
        source: Box<samtone_hub::HubError>,
    },
    /// A JSON file is broken, or lacks or mistypes a key.
    #[error("cannot read `{}`", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// What and where, with line and column.
        #[source]
        source: serde_json::Error,
    },
    /// A file asks for something this crate does not have.
    #[error("`{}` has `{key}` = `{got}`, expected {expected}", path.display())]
    Unsupported {
        /// The file.
        path: PathBuf,
        /// The key in it.
        key: &'static str,
        /// The value found.
        got: String,
        /// What would be accepted.
        expected: &'static str,
    },
    /// A file of sentence-transformers has a key that this crate does not know.
    #[error("`{}` has a key `{key}`, which may change embeddings and is unknown here", path.display())]
    UnknownKey {
        /// The file.
        path: PathBuf,
        /// The key in it.
        key: String,
    },
    /// A file of PyTorch's holds what is no dictionary of tensors.
    #[error("byte {at} of the pickle in `{}`: {got}, expected {expected}", path.display())]
    Pickle {
        /// The file.
        path: PathBuf,
        /// The byte: of the file, or where the file is an archive of its entry `data.pkl`.
        at: usize,
        /// What is there.
        got: String,
        /// What would be accepted.
        expected: &'static str,
    },
    /// A file of PyTorch's is an archive that cannot be opened.
    #[error("`{}` is not an intact file of PyTorch's", path.display())]
    Archive {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: zip::result::ZipError,
    },
    /// A file of PyTorch's is put together otherwise than PyTorch does.
    #[error("`{}` has {got}, expected {expected}", path.display())]
    PytorchFile {
        /// The file.
        path: PathBuf,
        /// What it has.
        got: String,
        /// What would be accepted.
        expected: &'static str,
    },
    /// A tensor of a file of PyTorch's lies where the file holds nothing.
    #[error("tensor `{tensor}` of `{}` has {got}", path.display())]
    PickledTensor {
        /// The file.
        path: PathBuf,
        /// The tensor.
        tensor: String,
        /// What it says of itself.
        got: String,
    },
    /// A safetensors file is truncated or malformed.
    #[error("`{}` is not an intact safetensors file", path.display())]
    Safetensors {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: safetensors::SafeTensorError,
    },
    /// The index of a sharded checkpoint and its shards contradict each other.
    #[error("tensor `{tensor}` is not where `{}` says: {problem}", path.display())]
    Shard {
        /// The index file.
        path: PathBuf,
        /// The tensor.
        tensor: String,
        /// What is wrong.
        problem: &'static str,
    },
    /// A checkpoint lacks a tensor that the configuration asks for.
    #[error("`{}` lacks tensor `{tensor}`, expected of shape {expected:?}", path.display())]
    MissingTensor {
        /// The checkpoint.
        path: PathBuf,
        /// The tensor.
        tensor: String,
        /// The shape it should have.
        expected: Vec<usize>,
    },
    /// A checkpoint holds a tensor that the configuration does not ask for.
    #[error("`{}` holds tensor `{tensor}` of shape {got:?}, which the model lacks", path.display())]
    ExtraTensor {
        /// The checkpoint.
        path: PathBuf,
        /// The tensor.
        tensor: String,
        /// Its shape.
        got: Vec<usize>,
    },
    /// A tensor has another shape than the configuration gives it.
    #[error("tensor `{tensor}` of `{}` has shape {got:?}, expected {expected:?}", path.display())]
    TensorShape {
        /// The checkpoint.
        path: PathBuf,
        /// The tensor.
        tensor: String,
        /// The shape of the configuration.
        expected: Vec<usize>,
        /// The shape in the file.
        got: Vec<usize>,
    },
    /// A tensor that holds several parameters cannot be split into them.
    #[error("tensor `{tensor}` of `{}` has shape {got:?}, which does not divide into its parts", path.display())]
    Unsplittable {
        /// The checkpoint.
        path: PathBuf,
        /// The tensor.
        tensor: String,
        /// The shape in the file.
        got: Vec<usize>,
    },
    /// A static table's `mapping` gives a token a row that the table lacks.
    #[error("`mapping` of `{}` gives token {token} row {got}, of {rows} rows", path.display())]
    Mapping {
        /// The checkpoint.
        path: PathBuf,
        /// The token.
        token: usize,
        /// Its row.
        got: i64,
        /// Rows of the table.
        rows: usize,
    },
    /// A tensor's elements are of another type.
    #[error("tensor `{tensor}` of `{}` has type {got}, expected {expected}", path.display())]
    TensorType {
        /// The checkpoint.
        path: PathBuf,
        /// The tensor.
        tensor: String,
        /// The type in the file.
        got: String,
        /// The types that are read.
        expected: &'static str,
    },
    /// A tensor holds an infinity or something that is not a number.
    #[error("tensor `{tensor}` of `{}` is not finite at element {element}", path.display())]
    NonFiniteTensor {
        /// The checkpoint.
        path: PathBuf,
        /// The tensor.
        tensor: String,
        /// Its first bad element, row-major.
        element: usize,
    },
    /// The towers should share a tensor, but their copies differ.
    #[error(
        "tensor `{tensor}` should be shared, but `{}` and `{}` differ at element {element}",
        query.display(),
        document.display()
    )]
    Untied {
        /// The tensor.
        tensor: String,
        /// The query tower's checkpoint.
        query: PathBuf,
        /// The document tower's checkpoint.
        document: PathBuf,
        /// The first element that differs, row-major.
        element: usize,
    },
    /// Adapters were to be stages of a router.
    #[error("sentence-transformers finds no base for adapters that are stages of a router")]
    RouterOfAdapters,
    /// The folder has no tokenizer file, or another one than this crate reads.
    #[error(
        "`{}` does not exist{}",
        path.display(),
        only.map_or(String::new(), |only| format!(", only `{only}`, which Python makes it from"))
    )]
    NoTokenizer {
        /// The file that is wanted.
        path: PathBuf,
        /// What is there to make it from.
        only: Option<&'static str>,
    },
    /// The tokenizer's two files contradict each other.
    #[error(
        "`{}` has `{key}` = {got}, but `tokenizer.json` beside it says {other}",
        path.display()
    )]
    TokenizerFiles {
        /// `tokenizer_config.json`, whose absent keys have transformers' defaults.
        path: PathBuf,
        /// The key in it.
        key: &'static str,
        /// What it says.
        got: String,
        /// What `tokenizer.json` says.
        other: String,
    },
    /// An encoder whose texts transformers reads by a tokenizer of its own making.
    #[error(
        "transformers reads the texts of every `{model_type}` by its `{class}`, where this tokenizer has \
         {found}"
    )]
    TokenizerClass {
        /// The encoder's `model_type`.
        model_type: &'static str,
        /// The class.
        class: &'static str,
        /// What the tokenizer has otherwise.
        found: String,
    },
    /// A length leaves no room for the text.
    #[error(
        "a longest {} of {max_tokens} tokens leaves no room beside the tokenizer's {special} special \
         ones",
        side.name()
    )]
    NoRoom {
        /// Of which texts.
        side: Side,
        /// The length, in tokens.
        max_tokens: usize,
        /// Special tokens of every text.
        special: usize,
    },
    /// The tokenizer cannot be read or written, or cannot encode a text.
    #[error(transparent)]
    Tokenizer {
        /// Why.
        source: samtone_text::TextError,
    },
    /// The tokenizer of a model that writes texts makes ids that its token embedder lacks.
    #[error("the tokenizer has {got} tokens, but the model has embeddings for {expected}")]
    Vocabulary {
        /// Ids of the token embedder.
        expected: usize,
        /// Tokens of the tokenizer.
        got: usize,
    },
    /// Another projection is asked for than the folder has.
    #[error(
        "`{}` has a projection of its own, to {own} dimensions, and {} was asked for",
        path.display(),
        asked.map_or("none".to_owned(), |asked| format!("another, to {asked},"))
    )]
    OtherProjection {
        /// The folder.
        path: PathBuf,
        /// Dimensions of what it has.
        own: usize,
        /// Dimensions of what is asked for, if anything is.
        asked: Option<usize>,
    },
    /// An adapter belongs on another adapter's folder.
    #[error("`{}` is an adapter itself, on which no other is put", path.display())]
    Adapter {
        /// Its `adapter_config.json`.
        path: PathBuf,
    },
    /// The model that an adapter belongs on is not there.
    #[error("the model that `{}` puts its adapter on is not there", path.display())]
    NoBase {
        /// The adapter's `adapter_config.json`.
        path: PathBuf,
        /// What was looked for.
        #[source]
        source: Box<ModelError>,
    },
    /// Another adapter is asked for than the folder has.
    #[error("`{}` has an adapter of its own, and another was asked for", path.display())]
    OtherAdapter {
        /// The folder.
        path: PathBuf,
    },
    /// A model with adapters whose own weights lie in no folder cannot be written as adapters.
    #[error("the weights that the adapters are on lie in no folder")]
    Baseless,
    /// An adapter is asked for where the encoder has no such module.
    #[error(
        "`{key}` names `{name}`, which no module of the encoder is called: there are `{}`",
        known.join("`, `")
    )]
    NoModule {
        /// The configuration key.
        key: &'static str,
        /// The name.
        name: String,
        /// The ends of the names of the encoder's modules.
        known: Vec<String>,
    },
    /// The two towers of a folder are built differently.
    #[error("`{}` and `{}` differ in {what}", query.display(), document.display())]
    UnlikeTowers {
        /// What is different.
        what: &'static str,
        /// The query tower's folder.
        query: PathBuf,
        /// The document tower's folder.
        document: PathBuf,
    },
}

impl ModelError {
    /// What to try next, where there is a likely answer.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Precision { .. } => Some("every backend computes in `f32`".into()),
            Self::NotCached { source, .. } => source.hint(),
            Self::Untied { .. } => {
                Some("towers with weights of their own need `sharing = \"ade\"`".into())
            }
            Self::ExtraTensor { .. }
            | Self::MissingTensor { .. }
            | Self::TensorShape { .. }
            | Self::Unsplittable { .. } => {
                Some("check that `config.json` belongs to this checkpoint".into())
            }
            Self::OtherProjection { own, .. } => Some(format!(
                "leave `projection` out to train the folder's own, or give {own} as it is"
            )),
            Self::Tokenizer { source } => source.hint(),
            Self::NoTokenizer { path, only } => {
                let needs = match only {
                    Some(only) if Path::new(only).extension().is_some_and(|it| it == "model") => {
                        " (with `pip install sentencepiece`)"
                    }
                    _ => "",
                };
                let (first, place) = writable(parent(path));
                let python = resave("AutoTokenizer", &place);
                Some(format!("{first}transformers writes it{needs}: `{python}`"))
            }
            Self::Adapter { path } => {
                let folder = parent(path).display();
                Some(format!("merge it: `samtone export --merge --model {folder} --out NEW`"))
            }
            Self::NoBase { source, .. } => source.hint(),
            Self::OtherAdapter { path } => Some(format!(
                "leave `adapter` out to train the folder's own, or merge it: \
                 `samtone export --merge --model {} --out NEW`",
                path.display()
            )),
            Self::RouterOfAdapters => Some(
                "merge them into the weights (`samtone export --merge --layout router`), or write a \
                 folder for each tower"
                    .into(),
            ),
            Self::Baseless => {
                Some("start from a model folder, or merge the adapters into the weights".into())
            }
            Self::TokenizerFiles { path, .. } => {
                let (first, place) = writable(parent(path));
                let python = resave("AutoTokenizer", &place);
                Some(format!(
                    "{first}transformers goes by the former and makes both say it: `{python}`"
                ))
            }
            Self::Safetensors { .. }
            | Self::Archive { .. }
            | Self::PytorchFile { .. }
            | Self::PickledTensor { .. } => {
                Some("the file may be cut short: copy or download it again".into())
            }
            Self::Pickle { path, .. } => {
                let (first, place) = writable(parent(path));
                Some(format!(
                    "only weights are read, and no code is run; {first}transformers can convert an \
                     encoder: `{}`; sentence-transformers a folder with its stages: `{}`",
                    resave("AutoModel", &place),
                    resave("SentenceTransformer", &place)
                ))
            }
            _ => None,
        }
    }
}

/// The folder a file lies in.
fn parent(path: &Path) -> &Path {
    path.parent().unwrap_or(path)
}

/// Where a model folder may be changed, and what is to be done first: the folder itself, or a copy where
/// it lies in the hub's cache, whose snapshots are what was fetched and nothing else.
fn writable(folder: &Path) -> (String, String) {
    let model = folder.ancestors().find_map(|inside| {
        let is_snapshots = inside.file_name().is_some_and(|name| name == "snapshots");
        let model = inside.parent()?.file_name()?.to_str()?.strip_prefix("models--")?;
        is_snapshots.then(|| model.rsplit("--").next().unwrap_or(model))
    });
    let folder = folder.display();
    match model {
        None => (String::new(), folder.to_string()),
        Some(name) => {
            let first =
                format!("the cache must stay as it is: `cp -rL \"{folder}\" \"{name}\"`, then ");
            (first, name.to_owned())
        }
    }
}

/// The Python that reads a folder and writes it as its library writes one today.
fn resave(class: &str, folder: &str) -> String {
    if class == "SentenceTransformer" {
        return format!("{class}(\"{folder}\").save_pretrained(\"{folder}\")");
    }
    format!("{class}.from_pretrained(\"{folder}\").save_pretrained(\"{folder}\")")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_is_copied_before_it_is_written_anew() {
        let file = |folder: &str| Path::new(folder).join("tokenizer.json");
        let hint = |folder: &str| {
            ModelError::NoTokenizer { path: file(folder), only: None }.hint().unwrap()
        };
        let python = |folder: &str| {
            format!(
                "transformers writes it: `AutoTokenizer.from_pretrained(\"{folder}\")\
                 .save_pretrained(\"{folder}\")`"
            )
        };
        for own in ["mine/model", "models--a--b/mine", "snapshots/12"] {
            assert_eq!(hint(own), python(own));
        }
        let snapshot = "hub/models--org--name/snapshots/12ab";
        for inside in [snapshot, &format!("{snapshot}/0_Transformer")] {
            let first =
                format!("the cache must stay as it is: `cp -rL \"{inside}\" \"name\"`, then ");
            assert_eq!(hint(inside), first + &python("name"));
        }
        for error in [
            ModelError::Pickle { path: file(snapshot), at: 0, got: String::new(), expected: "" },
            ModelError::TokenizerFiles {
                path: file(snapshot),
                key: "",
                got: String::new(),
                other: String::new(),
            },
        ] {
            let hint = error.hint().unwrap();
            let written: Vec<&str> = hint.split("save_pretrained(\"").skip(1).collect();
            assert!(
                !written.is_empty() && written.iter().all(|it| it.starts_with("name")),
                "{hint}"
            );
        }
    }
}
