//! Models in the cache of Hugging Face's libraries.
//!
//! A model's folder `models--organisation--name` has a file `refs/REVISION` with a commit for each
//! revision that was asked for, a folder `snapshots/COMMIT` with a link for each file of it, and the
//! bytes in `blobs/`. Those libraries fetch file by file what they happen to need, so a snapshot may be
//! any part of a model; what it lacks must be known, or a model would be read as another.

use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::environment::Environment;
use crate::error::HubError;
use crate::files::{
    ADAPTER_WEIGHTS, WEIGHTS, is_length, is_of_model, modules, split, stages, wanted,
};
use crate::name::{ModelName, is_commit, is_hexadecimal};

/// Fewest digits of an abbreviated commit, as git has it.
const FEWEST_DIGITS: usize = 4;

/// What an unfinished file's name ends in.
pub(crate) const INCOMPLETE: &str = ".incomplete";

/// Files without which a model is another one: that a repository has none of them must be known.
pub(crate) const TELLING: [&str; 6] = [
    "modules.json",
    "config_sentence_transformers.json",
    "sentence_bert_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "model.safetensors",
];

/// The folder in which Hugging Face's libraries keep models on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HubCache {
    root: PathBuf,
}

/// A model in the cache, at one commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// What was asked for.
    pub name: ModelName,
    /// The commit that this is, in 40 hexadecimal digits.
    pub commit: String,
    /// Its files.
    pub folder: PathBuf,
}

impl Snapshot {
    /// The name by which this commit is found, whatever becomes of the revision.
    pub fn pinned(&self) -> ModelName {
        self.name.at(&self.commit)
    }
}

impl HubCache {
    /// The cache in the folder `root`.
    pub fn new(root: PathBuf) -> Self {
        Self { root }
    }

    /// The cache that the environment names: `HF_HUB_CACHE`, or `hub` in `HF_HOME`, in
    /// `XDG_CACHE_HOME/huggingface` or in `~/.cache/huggingface`.
    ///
    /// # Errors
    /// [`HubError::NoHome`].
    pub fn of_machine() -> Result<Self, HubError> {
        Environment::OWN.cache().map(Self::new)
    }

    /// The folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The model's folder, whether it is there or not.
    pub(crate) fn folder(&self, name: &ModelName) -> PathBuf {
        self.root.join(name.folder())
    }

    /// The snapshot of the model that `name` names. Nothing is fetched.
    ///
    /// # Errors
    /// If the cache does not hold the model at that revision, or only a part of it.
    pub fn find(&self, name: &ModelName) -> Result<Snapshot, HubError> {
        let folder = self.folder(name);
        if !folder.is_dir() {
            return Err(HubError::NotCached { name: name.clone(), cache: self.root.clone() });
        }
        let commit = commit(&folder, name)?;
        let place = folder.join("snapshots").join(&commit);
        let partial = names(&folder.join("blobs"))?;
        let partial = partial.iter().filter(|blob| blob.ends_with(INCOMPLETE)).count();
        let missing = Held { folder: &folder, commit: &commit, place: &place }.missing(partial)?;
        if !missing.is_empty() {
            let name = name.clone();
            return Err(HubError::Part { name, snapshot: place, missing, partial });
        }
        Ok(Snapshot { name: name.clone(), commit, folder: place })
    }
}

/// The commit that a revision of the model in `folder` is.
fn commit(folder: &Path, name: &ModelName) -> Result<String, HubError> {
    let asked = name.revision_or_main();
    let path = folder.join("refs").join(asked);
    match fs::read_to_string(&path) {
        Ok(text) if is_commit(text.trim()) => return Ok(text.trim().to_owned()),
        Ok(_) => {
            let source = std::io::Error::new(ErrorKind::InvalidData, "it holds no commit");
            return Err(HubError::Io { path, source });
        }
        Err(error) if is_absence(&error) => {}
        Err(source) => return Err(HubError::Io { path, source }),
    }
    let commits = names(&folder.join("snapshots"))?;
    if asked.len() >= FEWEST_DIGITS && is_hexadecimal(asked) {
        let mut meant: Vec<String> =
            commits.iter().filter(|commit| commit.starts_with(asked)).cloned().collect();
        match meant.len() {
            0 => {}
            1 => return Ok(meant.remove(0)),
            _ => return Err(HubError::Ambiguous { name: name.clone(), commits: meant }),
        }
    }
    let refs = folder.join("refs");
    let mut known: Vec<String> = files_in(&refs)?.0.into_iter().collect();
    known.extend(commits);
    Err(HubError::NoRevision { name: name.clone(), folder: folder.to_owned(), known })
}

/// What a cache holds of one commit.
struct Held<'a> {
    /// The model's folder.
    folder: &'a Path,
    commit: &'a str,
    /// The snapshot's folder.
    place: &'a Path,
}

impl Held<'_> {
    /// The files that are not there, or could be wanting, where `partial` files are unfinished.
    fn missing(&self, partial: usize) -> Result<Vec<String>, HubError> {
        let (there, dangling) = files_in(self.place)?;
        let read = |name: &str| fs::read(self.place.join(name)).ok();
        let stages = stages(&read);
        if let Some(listed) = self.listing() {
            let listed: Vec<&str> = listed.iter().map(String::as_str).collect();
            let essential = wanted(&listed, &stages).essential.into_iter();
            let missing = essential.filter(|file| !there.contains(*file));
            return Ok(missing.map(str::to_owned).collect());
        }
        let is_kept = |file: &String| is_of_model(split(file).0, &stages);
        let mut missing: Vec<String> = dangling.into_iter().filter(is_kept).collect();
        missing.extend(self.untold(&there, partial));
        for module in modules(&read) {
            let inside = format!("{}/", module.path);
            let is_there = there.iter().any(|file| file.starts_with(&inside));
            if !module.path.is_empty() && !module.is_bare() && !is_there {
                missing.push(inside);
            }
        }
        let weights: Vec<&String> = there
            .iter()
            .filter(|file| {
                let (folder, name) = split(file);
                let is_weight =
                    WEIGHTS.iter().any(|(whole, index)| [*whole, *index].contains(&name));
                is_weight && is_of_model(folder, &stages)
            })
            .collect();
        let is_there = |name: &&str| there.contains(*name);
        if there.contains("adapter_config.json") {
            // Its base has weights of its own, elsewhere.
            if !ADAPTER_WEIGHTS.iter().any(is_there) {
                missing.push(ADAPTER_WEIGHTS[0].to_owned());
            }
        } else if weights.is_empty() {
            missing.push(WEIGHTS[0].0.to_owned());
        }
        for index in weights.into_iter().filter(|file| file.ends_with(".index.json")) {
            let folder = split(index).0;
            let shards = shards(read(index)).into_iter();
            let shards = shards.map(|name| match folder {
                "" => name,
                folder => format!("{folder}/{name}"),
            });
            missing.extend(shards.filter(|shard| !there.contains(shard)));
        }
        missing.sort();
        missing.dedup();
        Ok(missing)
    }

    /// The telling files that are not there and may be on the hub.
    fn untold(&self, there: &BTreeSet<String>, partial: usize) -> Vec<String> {
        let has = |name: &str| there.contains(name);
        // What is fetched as a whole alone has it, and every repository does.
        let is_whole = partial == 0 && has(".gitattributes");
        let marks = self.folder.join(".no_exist").join(self.commit);
        let is_untold = |name: &str| !has(name) && !is_whole && !marks.join(name).exists();
        let (is_ours, is_encoder) = (has("samtone.json"), has("config.json"));
        let mut untold = Vec::new();
        if !is_ours && !is_encoder && !has("modules.json") && !has("adapter_config.json") {
            untold.push("config.json");
        }
        let has_length = || there.iter().any(|file| is_length(file));
        for name in TELLING {
            let matters = match name {
                "modules.json" => !is_ours,
                "config_sentence_transformers.json" => has("modules.json"),
                "sentence_bert_config.json" => has("modules.json") && is_encoder && !has_length(),
                // Other weights than these are taken where there are none of these.
                "model.safetensors" => is_encoder && !has("model.safetensors.index.json"),
                _ => is_encoder,
            };
            if matters && is_untold(name) {
                untold.push(name);
            }
        }
        untold.into_iter().map(str::to_owned).collect()
    }

    /// The files of the commit, where `huggingface_hub` has written their list down.
    fn listing(&self) -> Option<BTreeSet<String>> {
        #[derive(Deserialize)]
        struct Tree {
            format_version: u32,
            files: std::collections::BTreeMap<String, serde_json::Value>,
        }
        let path = self.folder.join("trees").join(format!("{}.json", self.commit));
        let tree: Tree = serde_json::from_slice(&fs::read(path).ok()?).ok()?;
        (tree.format_version == 1).then(|| tree.files.into_keys().collect())
    }
}

/// The files that an index of weights names.
fn shards(index: Option<Vec<u8>>) -> BTreeSet<String> {
    #[derive(Deserialize)]
    struct Index {
        weight_map: std::collections::BTreeMap<String, String>,
    }
    let index = index.and_then(|bytes| serde_json::from_slice::<Index>(&bytes).ok());
    index.map(|index| index.weight_map.into_values().collect()).unwrap_or_default()
}

/// The names in a folder, in order; none where there is no such folder.
fn names(folder: &Path) -> Result<Vec<String>, HubError> {
    let fault = |source| HubError::Io { path: folder.to_owned(), source };
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if is_absence(&error) => return Ok(Vec::new()),
        Err(source) => return Err(fault(source)),
    };
    let mut names = Vec::new();
    for entry in entries {
        // A name that is no text is none of ours.
        names.extend(entry.map_err(fault)?.file_name().into_string());
    }
    names.sort();
    Ok(names)
}

/// The files below `folder` by their paths in it, and the links that lead nowhere.
fn files_in(folder: &Path) -> Result<(BTreeSet<String>, Vec<String>), HubError> {
    let (mut files, mut dangling) = (BTreeSet::new(), Vec::new());
    let mut open = vec![String::new()];
    while let Some(inside) = open.pop() {
        for name in names(&folder.join(&inside))? {
            let path = if inside.is_empty() { name } else { format!("{inside}/{name}") };
            match fs::metadata(folder.join(&path)) {
                Ok(found) if found.is_dir() => open.push(path),
                Ok(_) => drop(files.insert(path)),
                Err(_) => dangling.push(path),
            }
        }
    }
    Ok((files, dangling))
}

fn is_absence(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory | ErrorKind::IsADirectory)
}
