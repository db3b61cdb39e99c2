//! Where a model is: a folder, or a name of the hub in the cache of this machine.

use std::path::{Path, PathBuf};

use samtone_hub::{HubCache, HubError, ModelName, Snapshot};

use super::CONFIG;
use crate::error::ModelError;

/// The model folder that `path` stands for: itself; where it is the run folder of a training, its
/// `model`; the snapshot of a name.
///
/// # Errors
/// If there is none.
pub(crate) fn find(path: &Path) -> Result<PathBuf, ModelError> {
    if let Some(snapshot) = snapshot(path, HubCache::of_machine)? {
        return Ok(snapshot.folder);
    }
    let is_model = |folder: &Path| DESCRIPTIONS.iter().any(|name| folder.join(name).is_file());
    let shipped = path.join("model");
    Ok(if !is_model(path) && is_model(&shipped) { shipped } else { path.to_owned() })
}

/// The files of which every model folder has one.
const DESCRIPTIONS: [&str; 4] = [CONFIG, "modules.json", "samtone.json", "adapter_config.json"];

/// The snapshot that `path` names; none: it is a folder, which wins.
pub(crate) fn snapshot(
    path: &Path,
    cache: impl FnOnce() -> Result<HubCache, HubError>,
) -> Result<Option<Snapshot>, ModelError> {
    if path.is_dir() {
        return Ok(None);
    }
    let name = if path.exists() { None } else { ModelName::of_path(path) };
    let name = name.ok_or_else(|| ModelError::NoFolder { path: path.to_owned() })?;
    let found = cache().and_then(|cache| cache.find(&name));
    let fault = |source| ModelError::NotCached { path: path.to_owned(), source: Box::new(source) };
    found.map(Some).map_err(fault)
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
            assert_eq!(find(&place(given)).unwrap(), place(found));
        }
        let error = find(&place("none")).unwrap_err();
        assert!(matches!(error, ModelError::NoFolder { .. }), "{error}");
    }

    #[test]
    fn a_name_is_looked_up_where_there_is_no_folder_of_that_name() {
        let home = tempfile::tempdir().unwrap();
        let in_cache =
            |path: &str| snapshot(path.as_ref(), || Ok(HubCache::new(home.path().into())));
        let commit = "0123456789".repeat(4);
        let model = home.path().join("models--org--name");
        let folder = model.join("snapshots").join(&commit);
        for path in [&folder, &model.join("refs")] {
            fs::create_dir_all(path).unwrap();
        }
        for file in ["config.json", "model.safetensors", ".gitattributes"] {
            fs::write(folder.join(file), "{}").unwrap();
        }
        fs::write(model.join("refs/main"), &commit).unwrap();
        let found = in_cache("org/name").unwrap().unwrap();
        assert_eq!(found.folder, folder);
        assert_eq!(found.pinned().to_string(), format!("org/name@{commit}"));
        // A folder wins, and is no name; nor is a file.
        assert_eq!(in_cache("src").unwrap(), None);
        let error = in_cache("Cargo.toml").unwrap_err();
        assert!(matches!(error, ModelError::NoFolder { .. }), "{error}");
        let error = in_cache("org/other").unwrap_err();
        assert_eq!(error.to_string(), "`org/other` is no folder");
        let source = std::error::Error::source(&error).unwrap().to_string();
        assert!(source.ends_with("holds no model `org/other`"), "{source}");
        assert!(error.hint().unwrap().contains("`samtone download org/other`"));
        for path in ["./org/name", "/org/name", "a/b/c", "a b"] {
            let error = in_cache(path).unwrap_err();
            assert!(matches!(error, ModelError::NoFolder { .. }), "{path}: {error}");
            assert_eq!(error.hint(), None);
        }
    }
}
