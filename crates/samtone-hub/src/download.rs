//! A model's files from the hub into the cache, in the layout of Hugging Face's libraries.
//!
//! First the list of the repository's files at one commit, then the bytes of those wanted, each under
//! the name of its sum, then the links of the snapshot, and last the revision: a reader finds the old
//! state or the new one, and what broke off is gone on with.

mod blob;
mod client;
mod event;
mod listing;
mod sum;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

pub use client::HubClient;
pub use event::DownloadEvent;
use event::Observer;
use listing::{Listing, RemoteFile};

use crate::cache::{HubCache, Snapshot, TELLING};
use crate::error::HubError;
use crate::files::{WEIGHTS, split, stages, wanted};
use crate::name::ModelName;

/// A model that was fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Download {
    /// Where it lies now.
    pub snapshot: Snapshot,
    /// Files of it.
    pub files: usize,
    /// Their bytes.
    pub bytes: u64,
    /// Those bytes that were not there before.
    pub fetched: u64,
}

impl HubClient {
    /// Fetches into `cache` what a retriever needs of the model `name`; what is there is not fetched
    /// again. `observe` is told how far it is.
    ///
    /// # Errors
    /// Whatever keeps the model from being whole. What arrived stays for the next call; no revision
    /// names a commit of which a file is missing.
    pub fn download(
        &self,
        cache: &HubCache,
        name: &ModelName,
        observe: Observer<'_>,
    ) -> Result<Download, HubError> {
        let Listing { commit, files } = self.listing(name, observe)?;
        let place = Place::new(cache, name, &commit)?;
        let at = |file: &str| files.iter().find(|remote| remote.path == file);
        let paths: Vec<&str> = files.iter().map(|file| file.path.as_str()).collect();
        let mut fetcher =
            Fetcher { client: self, name, commit: &commit, place: &place, done: 0, fetched: 0 };

        // What names the folders of the model comes first: which files are wanted hangs on it.
        let mut described = Vec::new();
        for root in ["modules.json", "router_config.json", "samtone.json"] {
            if let Some(remote) = at(root) {
                let remote = fetcher.measured(remote, observe)?;
                fetcher.fetch(&remote, &mut |_| {})?;
                let path = place.blob(&remote.sum);
                let bytes = fs::read(&path).map_err(|source| HubError::Io { path, source })?;
                described.push((root, bytes));
            }
        }
        let read = |name: &str| {
            described.iter().find(|(root, _)| *root == name).map(|(_, bytes)| bytes.clone())
        };
        let stages = stages(&read);
        let chosen = wanted(&paths, &stages);
        is_model(name, &paths, &chosen.essential)?;

        let mut remotes = Vec::new();
        for file in chosen.essential.iter().chain(&chosen.beside) {
            let remote = at(file).expect("it is chosen among these");
            remotes.push(fetcher.measured(remote, observe)?);
        }
        let bytes = remotes.iter().map(|remote| remote.size).sum();
        let there = remotes.iter().map(|remote| place.there(remote)).sum();
        let files = remotes.len();
        observe(DownloadEvent::Begun { commit: &commit, files, bytes, there });
        fetcher.done = 0;
        for remote in &remotes {
            fetcher.fetch(remote, observe)?;
        }
        for remote in &remotes {
            place.link(remote)?;
        }
        let absent = TELLING.into_iter().filter(|name| !paths.contains(name));
        place.mark_absent(absent)?;
        place.point(name.revision_or_main())?;
        let snapshot = cache.find(name)?;
        Ok(Download { snapshot, files, bytes, fetched: fetcher.fetched })
    }
}

/// Checks that a retriever may be read from the `essential` files of a repository.
fn is_model(name: &ModelName, files: &[&str], essential: &[&str]) -> Result<(), HubError> {
    let has = |wanted: &dyn Fn(&str) -> bool| essential.iter().any(|file| wanted(file));
    let is_weight = |file: &str| {
        let name = split(file).1;
        WEIGHTS.iter().any(|(whole, index)| [*whole, *index].contains(&name))
    };
    let is_description =
        |file: &str| ["config.json", "modules.json", "samtone.json"].contains(&file);
    let expected = if !has(&is_description) {
        "`config.json`"
    } else if !has(&is_weight) {
        "weights (`model.safetensors`)"
    } else {
        return Ok(());
    };
    let files = files.iter().map(|&file| file.to_owned()).collect();
    Err(HubError::NoModel { name: name.clone(), expected, files })
}

/// Where a commit's files go.
struct Place {
    /// The model's folder in the cache.
    folder: PathBuf,
    /// The folder of the locks on its blobs.
    locks: PathBuf,
    commit: String,
}

impl Place {
    fn new(cache: &HubCache, name: &ModelName, commit: &str) -> Result<Self, HubError> {
        let folder = cache.folder(name);
        let locks = cache.root().join(".locks").join(name.folder());
        for path in [folder.join("blobs"), locks.clone()] {
            create_folder(&path)?;
        }
        Ok(Self { folder, locks, commit: commit.to_owned() })
    }

    /// The bytes whose sum this is.
    fn blob(&self, sum: &str) -> PathBuf {
        self.folder.join("blobs").join(sum)
    }

    /// Bytes of a file that need not be fetched.
    fn there(&self, remote: &RemoteFile) -> u64 {
        let blob = self.blob(&remote.sum);
        if blob::is_whole(&blob, remote.size) {
            return remote.size;
        }
        let partial = blob::size(&blob::unfinished(&blob));
        if partial <= remote.size { partial } else { 0 }
    }

    /// Gives a blob its name in the snapshot.
    fn link(&self, remote: &RemoteFile) -> Result<(), HubError> {
        let path = self.folder.join("snapshots").join(&self.commit).join(&remote.path);
        let fault = |source| HubError::Io { path: path.clone(), source };
        if let Some(folder) = path.parent() {
            create_folder(folder)?;
        }
        let up = "../".repeat(2 + remote.path.matches('/').count());
        let target = PathBuf::from(format!("{up}blobs/{}", remote.sum));
        if fs::read_link(&path).is_ok_and(|found| found == target) {
            return Ok(());
        }
        let new = path.with_file_name(format!(".{}.{}", remote.sum, std::process::id()));
        link(&target, &self.blob(&remote.sum), &new)
            .and_then(|()| fs::rename(&new, &path))
            .map_err(fault)
    }

    /// Notes of files that the repository does not have them, as `huggingface_hub` does.
    fn mark_absent<'a>(&self, files: impl Iterator<Item = &'a str>) -> Result<(), HubError> {
        let marks = self.folder.join(".no_exist").join(&self.commit);
        create_folder(&marks)?;
        for file in files {
            let path = marks.join(file);
            fs::File::create(&path).map_err(|source| HubError::Io { path, source })?;
        }
        Ok(())
    }

    /// Lets `revision` name the commit, unless it is one itself.
    fn point(&self, revision: &str) -> Result<(), HubError> {
        if self.commit.starts_with(revision) {
            return Ok(());
        }
        let path = self.folder.join("refs").join(revision);
        if let Some(folder) = path.parent() {
            create_folder(folder)?;
        }
        samtone_files::replace(&path, self.commit.as_bytes())
            .map_err(|source| HubError::Io { path, source })
    }
}

/// Makes `new` a link to `target`, which is `blob` from where it lies.
#[cfg(unix)]
fn link(target: &Path, _blob: &Path, new: &Path) -> io::Result<()> {
    std::os::unix::fs::symlink(target, new)
}

/// A copy, where links are not for everybody.
#[cfg(not(unix))]
fn link(_target: &Path, blob: &Path, new: &Path) -> io::Result<()> {
    fs::copy(blob, new).map(drop)
}

fn create_folder(path: &Path) -> Result<(), HubError> {
    fs::create_dir_all(path).map_err(|source| HubError::Io { path: path.to_owned(), source })
}

/// Files on their way.
struct Fetcher<'a> {
    client: &'a HubClient,
    name: &'a ModelName,
    commit: &'a str,
    place: &'a Place,
    /// Bytes of the files before this one.
    done: u64,
    /// Bytes that were not there.
    fetched: u64,
}

impl Fetcher<'_> {
    /// `remote` with its size and sum, asked for where the list has none.
    fn measured(
        &self,
        remote: &listing::Entry,
        observe: Observer<'_>,
    ) -> Result<RemoteFile, HubError> {
        let path = remote.path.clone();
        if let Some((sum, size)) = remote.measure.clone() {
            return Ok(RemoteFile { path, sum, size });
        }
        let (sum, size) = self.client.measure(self.name, self.commit, &path, observe)?;
        Ok(RemoteFile { path, sum, size })
    }

    /// Sees to it that the bytes of `remote` are there.
    fn fetch(&mut self, remote: &RemoteFile, observe: Observer<'_>) -> Result<(), HubError> {
        let place = self.place;
        let target = place.blob(&remote.sum);
        if !blob::is_whole(&target, remote.size) {
            observe(DownloadEvent::File { file: &remote.path, bytes: remote.size });
            self.fetched += remote.size - place.there(remote);
            let lock = place.locks.join(format!("{}.lock", remote.sum));
            let url = self.client.file_url(self.name, self.commit, &remote.path);
            let before = self.done;
            let request = blob::Request { client: self.client, name: self.name, url: &url, remote };
            request.fetch(&target, &lock, &mut |event| match event {
                DownloadEvent::At { bytes } => observe(DownloadEvent::At { bytes: before + bytes }),
                other => observe(other),
            })?;
        }
        self.done += remote.size;
        observe(DownloadEvent::At { bytes: self.done });
        Ok(())
    }
}
