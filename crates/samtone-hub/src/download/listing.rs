//! What files a model has at a commit.

use std::path::{Component, Path};

use serde::Deserialize;

use super::client::HubClient;
use super::event::Observer;
use super::sum::{SUM, is_sum};
use crate::error::HubError;
use crate::name::{ModelName, is_commit};

/// The files of a repository at one commit.
pub(super) struct Listing {
    pub(super) commit: String,
    pub(super) files: Vec<Entry>,
}

/// A file of the repository.
pub(super) struct Entry {
    /// Its path in the repository, safe inside a folder.
    pub(super) path: String,
    /// Its sum and its bytes, if the list has them.
    pub(super) measure: Option<(String, u64)>,
}

/// A file to fetch.
pub(super) struct RemoteFile {
    pub(super) path: String,
    /// SHA-256 of what git stores elsewhere, 64 digits, or git's own SHA-1, 40.
    pub(super) sum: String,
    /// Bytes.
    pub(super) size: u64,
}

#[derive(Deserialize)]
struct Answer {
    sha: String,
    #[serde(default)]
    siblings: Vec<Sibling>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Sibling {
    rfilename: String,
    blob_id: Option<String>,
    size: Option<u64>,
    lfs: Option<Stored>,
}

/// What git stores elsewhere.
#[derive(Deserialize)]
struct Stored {
    sha256: String,
    size: Option<u64>,
}

impl HubClient {
    /// The files of the model at its revision.
    pub(super) fn listing(
        &self,
        name: &ModelName,
        observe: Observer<'_>,
    ) -> Result<Listing, HubError> {
        let url = self.listing_url(name);
        let bytes = self.read(name, &url, observe)?;
        let answer: Answer = serde_json::from_slice(&bytes)
            .map_err(|source| HubError::Listing { url: url.clone(), source })?;
        let strange = |what, got: &str, expected| HubError::Strange {
            name: name.clone(),
            what,
            got: got.to_owned(),
            expected,
        };
        if !is_commit(&answer.sha) {
            return Err(strange("the commit", &answer.sha, "40 hexadecimal digits"));
        }
        let mut files = Vec::new();
        for sibling in answer.siblings {
            let path = sibling.rfilename;
            if !is_inside(&path) {
                return Err(strange("a file", &path, "a path inside the repository"));
            }
            let measure = match (sibling.lfs, sibling.blob_id) {
                (Some(lfs), _) => Some(lfs.sha256).zip(lfs.size.or(sibling.size)),
                (None, id) => id.zip(sibling.size),
            };
            if let Some((sum, _)) = &measure
                && !is_sum(sum)
            {
                return Err(strange("the sum", sum, SUM));
            }
            files.push(Entry { path, measure });
        }
        Ok(Listing { commit: answer.sha, files })
    }
}

/// Whether `path` leads nowhere but into the folder that it is joined to.
fn is_inside(path: &str) -> bool {
    let is_plain = !path.is_empty() && !path.contains(['\\', ':']) && !path.contains("//");
    let is_name = |part| matches!(part, Component::Normal(_));
    is_plain && !path.chars().any(char::is_control) && Path::new(path).components().all(is_name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_leads_out_is_refused() {
        for path in ["config.json", "1_Pooling/config.json", "a b", "ä/.b"] {
            assert!(is_inside(path), "{path}");
        }
        for path in
            ["", "/etc/passwd", "../x", "a/../../x", "a\\..\\x", "c:x", "a//b", "a\nb", "./a"]
        {
            assert!(!is_inside(path), "{path}");
        }
    }
}
