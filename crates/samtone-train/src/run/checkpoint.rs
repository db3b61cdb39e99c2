//! Checkpoints that are whole or absent, and finding the newest.
//!
//! A checkpoint is a folder `step-N` that appears at once: a reader never sees half of one. Its
//! `manifest.json` holds the BLAKE3 sum of every file, so that a torn disk is noticed too.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use samtone_files::write_folder;
use serde::{Deserialize, Serialize};

use crate::error::TrainError;

const MANIFEST: &str = "manifest.json";
const PREFIX: &str = "step-";

/// What a checkpoint's folder holds.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Manifest {
    /// Steps done.
    step: usize,
    /// File name to BLAKE3 sum, in hexadecimal.
    files: BTreeMap<String, String>,
}

/// The folder of a run's checkpoints.
#[derive(Clone, Debug)]
pub struct Checkpoints {
    folder: PathBuf,
}

/// An intact checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Saved {
    /// Steps done when it was written.
    pub step: usize,
    /// Its folder.
    pub path: PathBuf,
}

impl Checkpoints {
    /// The checkpoints under `folder`, which need not exist.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into() }
    }

    /// Lets `fill` write the files of the checkpoint of `step` into a folder, then removes all but the
    /// newest `keep` and that of the step `best`.
    ///
    /// # Errors
    /// [`TrainError::Write`]; earlier checkpoints are untouched then.
    pub fn write(
        &self,
        step: usize,
        fill: impl FnOnce(&Path) -> io::Result<()>,
        keep: usize,
        best: Option<usize>,
    ) -> Result<Saved, TrainError> {
        let path = self.folder.join(format!("{PREFIX}{step}"));
        let whole = |folder: &Path| {
            fill(folder)?;
            write_manifest(folder, step)
        };
        write_folder(&path, whole)
            .map_err(|source| TrainError::Write { path: path.clone(), source })?;
        let old = self.steps().into_iter().rev().skip(keep);
        for old in old.filter(|&old| best != Some(old)) {
            // A checkpoint that cannot be removed costs space, not the run.
            let _ = fs::remove_dir_all(self.folder.join(format!("{PREFIX}{old}")));
        }
        self.remove_leftovers();
        Ok(Saved { step, path })
    }

    /// Removes what killed runs left half written.
    fn remove_leftovers(&self) {
        let entries = fs::read_dir(&self.folder).into_iter().flatten().flatten();
        let hidden = format!(".{PREFIX}");
        for entry in entries {
            if entry.file_name().to_string_lossy().starts_with(&hidden) {
                let _ = fs::remove_dir_all(entry.path());
            }
        }
    }

    /// The newest intact checkpoint, and the torn ones newer than it.
    pub fn newest(&self) -> (Option<Saved>, Vec<PathBuf>) {
        let mut torn = Vec::new();
        for step in self.steps().into_iter().rev() {
            match self.at(step) {
                Some(checkpoint) => return (Some(checkpoint), torn),
                None => torn.push(self.folder.join(format!("{PREFIX}{step}"))),
            }
        }
        (None, torn)
    }

    /// The checkpoint of `step`, if it is there and intact.
    pub fn at(&self, step: usize) -> Option<Saved> {
        let path = self.folder.join(format!("{PREFIX}{step}"));
        is_intact(&path, step).then_some(Saved { step, path })
    }

    /// The steps that have a folder, ascending.
    fn steps(&self) -> Vec<usize> {
        let entries = fs::read_dir(&self.folder).into_iter().flatten().flatten();
        let mut steps: Vec<usize> = entries
            .filter_map(|entry| entry.file_name().to_str()?.strip_prefix(PREFIX)?.parse().ok())
            .collect();
        steps.sort_unstable();
        steps
    }
}

impl Saved {
    /// The bytes of one of its files.
    ///
    /// # Errors
    /// [`TrainError::Read`].
    pub fn read(&self, name: &str) -> Result<Vec<u8>, TrainError> {
        let path = self.path.join(name);
        fs::read(&path).map_err(|source| TrainError::Read { path, source })
    }
}

fn is_intact(path: &Path, step: usize) -> bool {
    let manifest = fs::read(path.join(MANIFEST))
        .ok()
        .and_then(|bytes| serde_json::from_slice::<Manifest>(&bytes).ok());
    manifest.is_some_and(|manifest| {
        manifest.step == step
            && manifest
                .files
                .iter()
                .all(|(name, sum)| blake3_sum(&path.join(name)).is_ok_and(|found| found == *sum))
    })
}

/// Writes the sums of the files in the folder of the checkpoint of `step`.
fn write_manifest(folder: &Path, step: usize) -> io::Result<()> {
    let mut manifest = Manifest { step, files: BTreeMap::new() };
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        manifest.files.insert(name, blake3_sum(&entry.path())?);
    }
    fs::write(folder.join(MANIFEST), serde_json::to_vec_pretty(&manifest)?)
}

/// The BLAKE3 sum of a file, in hexadecimal.
fn blake3_sum(path: &Path) -> io::Result<String> {
    let mut sum = blake3::Hasher::new();
    sum.update_reader(File::open(path)?)?;
    Ok(sum.finalize().to_hex().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(text: &str) -> impl FnOnce(&Path) -> io::Result<()> {
        move |folder| {
            fs::write(folder.join("weights"), text)?;
            fs::write(folder.join("state"), "{}")
        }
    }

    #[test]
    fn the_newest_are_kept_and_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let checkpoints = Checkpoints::new(folder.path().join("checkpoints"));
        assert_eq!(checkpoints.newest(), (None, vec![]));
        for step in [5, 10, 20] {
            checkpoints.write(step, files(&step.to_string()), 2, None).unwrap();
        }
        let (newest, torn) = checkpoints.newest();
        let newest = newest.unwrap();
        assert_eq!((newest.step, torn.len()), (20, 0));
        assert_eq!(newest.read("weights").unwrap(), b"20");
        assert_eq!(checkpoints.steps(), [10, 20]);
    }

    #[test]
    fn the_best_stays_beside_the_newest() {
        let folder = tempfile::tempdir().unwrap();
        let checkpoints = Checkpoints::new(folder.path());
        for (step, best) in [(1, 1), (2, 1), (3, 1), (4, 4), (5, 4)] {
            checkpoints.write(step, files("x"), 1, Some(best)).unwrap();
            assert!(checkpoints.at(best).is_some(), "step {step}");
        }
        assert_eq!(checkpoints.steps(), [4, 5]);
    }

    #[test]
    fn a_torn_checkpoint_is_passed_over() {
        let folder = tempfile::tempdir().unwrap();
        let checkpoints = Checkpoints::new(folder.path());
        checkpoints.write(1, files("one"), 9, None).unwrap();
        checkpoints.write(2, files("two"), 9, None).unwrap();
        checkpoints.write(3, files("three"), 9, None).unwrap();
        fs::write(folder.path().join("step-3/weights"), b"thr").unwrap();
        fs::remove_file(folder.path().join("step-2/manifest.json")).unwrap();
        let (newest, torn) = checkpoints.newest();
        assert_eq!(newest.unwrap().step, 1);
        assert_eq!(torn.len(), 2);
    }

    #[test]
    fn an_unfinished_write_is_no_checkpoint_and_no_obstacle() {
        let folder = tempfile::tempdir().unwrap();
        let checkpoints = Checkpoints::new(folder.path());
        fs::create_dir_all(folder.path().join(".step-4.partial-x")).unwrap();
        fs::write(folder.path().join(".step-4.partial-x/weights"), b"half").unwrap();
        assert_eq!(checkpoints.newest(), (None, vec![]));
        fs::create_dir_all(folder.path().join(".step-9.partial-y")).unwrap();
        checkpoints.write(4, files("four"), 1, None).unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        assert_eq!(checkpoints.newest().0.unwrap().step, 4);
    }
}
