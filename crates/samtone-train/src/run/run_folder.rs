//! A run folder in the hands of one process.

use std::fs::{self, File, TryLockError};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use samtone_text::TextTokenizer;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::TrainError;
use crate::run::identity::{self, Identity};

/// The configuration in a run folder.
pub const CONFIG: &str = "config.toml";

/// The lines that a run logs, a step or a dev evaluation each.
pub const METRICS: &str = "metrics.jsonl";

/// The results; a run that has them, and its model, has ended.
pub const SUMMARY: &str = "summary.json";

/// The trained model's folder.
pub const MODEL: &str = "model";

/// The machine, versions, times and speeds.
pub const ENVIRONMENT: &str = "environment.json";

/// The tokenised texts.
pub(crate) const TOKENS: &str = "tokens";

/// The tokenizer of a run that made its own.
pub(crate) const VOCABULARY: &str = "tokenizer.json";

/// The file whose lock says that a process writes the folder.
const LOCK: &str = ".lock";

/// The right to write a run folder, which no other process has until this is dropped.
#[derive(Debug)]
pub(crate) struct Hold {
    /// The system gives its lock back when it closes the file, however the process ends.
    _lock: File,
}

impl Hold {
    /// Whether a process has `folder`.
    pub(crate) fn is_taken(folder: &Path) -> bool {
        let lock = File::open(folder.join(LOCK));
        lock.is_ok_and(|lock| matches!(lock.try_lock_shared(), Err(TryLockError::WouldBlock)))
    }

    /// Makes `folder` if it is not there and takes it.
    ///
    /// # Errors
    /// [`TrainError::RunInUse`] if another process has it.
    pub(crate) fn take(folder: &Path) -> Result<Self, TrainError> {
        let path = folder.join(LOCK);
        let failed = |source| TrainError::Write { path: path.clone(), source };
        fs::create_dir_all(folder)
            .map_err(|source| TrainError::Write { path: folder.into(), source })?;
        let lock = File::options().create(true).append(true).open(&path).map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(TrainError::RunInUse { path: folder.into() }),
            Err(TryLockError::Error(source)) => Err(failed(source)),
        }
    }
}

/// A run folder that is begun or gone on with.
#[derive(Debug)]
pub struct RunFolder<'a> {
    path: &'a Path,
    hold: Option<Hold>,
    /// The run that it holds already.
    then: Option<Identity>,
    is_finished: bool,
}

impl<'a> RunFolder<'a> {
    /// Takes the folder at `path` for the run of `now`'s configuration: a new one, or, if `resume`, the
    /// one that it holds. A folder that is not there is not made yet.
    ///
    /// # Errors
    /// [`TrainError::RunExists`], [`TrainError::RunInUse`], [`TrainError::OtherRun`].
    pub fn open(path: &'a Path, resume: bool, now: &Identity) -> Result<Self, TrainError> {
        check_folder(path, resume)?;
        let hold = path.exists().then(|| Hold::take(path)).transpose()?;
        let mut folder = Self { path, hold, then: None, is_finished: false };
        if is_begun(path) {
            let then = Identity::read(path)?;
            let is_same = then.allows(now, path)?;
            folder.is_finished =
                is_same && path.join(SUMMARY).is_file() && path.join(MODEL).is_dir();
            folder.then = Some(then);
        }
        Ok(folder)
    }

    /// Whether the run has ended as it is asked for.
    pub fn is_finished(&self) -> bool {
        self.is_finished
    }

    /// The vocabulary of the run, if it has begun and has one of its own.
    pub fn vocabulary(&self) -> Option<PathBuf> {
        let path = self.path.join(VOCABULARY);
        (self.then.is_some() && path.is_file()).then_some(path)
    }

    /// What the run was when it began.
    pub(crate) fn then(&self) -> Option<&Identity> {
        self.then.as_ref()
    }

    /// Makes the folder, if it is not there, and checks that what is read is what its run began with.
    ///
    /// # Errors
    /// [`TrainError::OtherRun`], [`TrainError::RunInUse`].
    pub fn take(&mut self, now: &Identity) -> Result<(), TrainError> {
        if let Some(then) = &self.then {
            return then.same_inputs(now, self.path);
        }
        if self.hold.is_none() {
            self.hold = Some(Hold::take(self.path)?);
            check_folder(self.path, false)?; // Another may have been faster.
        }
        Ok(())
    }

    /// Begins the run, or goes on with it: writes what it is. `vocabulary` is kept, where the run made
    /// its own.
    ///
    /// # Errors
    /// [`TrainError::OtherRun`] for a run that would be shorter than it was.
    pub fn begin(
        &self,
        now: &Identity,
        config: &str,
        vocabulary: Option<&TextTokenizer>,
    ) -> Result<(), TrainError> {
        if let Some(then) = &self.then {
            then.is_prolonged_to(now.steps, self.path)?;
        } else if let Some(vocabulary) = vocabulary {
            vocabulary.save(&self.path.join(VOCABULARY))?;
        }
        now.write(self.path)?;
        self.write(CONFIG, config.as_bytes())
    }

    /// Before anything of a finished run is replaced: it is none until its results are written again.
    ///
    /// # Errors
    /// If the summary cannot be removed.
    pub fn unfinish(&self) -> Result<(), TrainError> {
        let path = self.path.join(SUMMARY);
        match fs::remove_file(&path) {
            Err(source) if source.kind() != ErrorKind::NotFound => {
                Err(TrainError::Write { path, source })
            }
            _ => Ok(()),
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.path
    }

    /// Whether it has a file of this name.
    pub fn has(&self, name: &str) -> bool {
        self.path.join(name).is_file()
    }

    /// Replaces one of its files.
    ///
    /// # Errors
    /// [`TrainError::Write`].
    pub fn write(&self, name: &str, bytes: &[u8]) -> Result<(), TrainError> {
        let path = self.path.join(name);
        samtone_files::replace(&path, bytes).map_err(|source| TrainError::Write { path, source })
    }

    /// Replaces one of its JSON files.
    ///
    /// # Errors
    /// [`TrainError::Write`].
    pub fn write_json<T: Serialize>(&self, name: &str, value: &T) -> Result<(), TrainError> {
        let mut json = serde_json::to_vec_pretty(value).expect("records are representable as JSON");
        json.push(b'\n');
        self.write(name, &json)
    }

    /// Reads one of its JSON files.
    ///
    /// # Errors
    /// [`TrainError::Read`], for a file that is not what was written too.
    pub fn read_json<T: DeserializeOwned>(&self, name: &str) -> Result<T, TrainError> {
        let path = self.path.join(name);
        let read = fs::read(&path).and_then(|bytes| Ok(serde_json::from_slice(&bytes)?));
        read.map_err(|source| TrainError::Read { path, source })
    }
}

/// Checks that `folder` can take a new run or, if `resume`, holds one to go on with or can take one.
///
/// # Errors
/// [`TrainError::RunExists`].
pub fn check_folder(folder: &Path, resume: bool) -> Result<(), TrainError> {
    if is_begun(folder) && resume || !folder.exists() || is_empty(folder) {
        Ok(())
    } else {
        Err(TrainError::RunExists { path: folder.into() })
    }
}

/// Whether `folder` holds a run: its configuration is written once all is known to be good.
pub fn is_begun(folder: &Path) -> bool {
    folder.join(CONFIG).is_file()
}

/// Whether `folder` holds nothing, or what a run leaves that did not begin.
fn is_empty(folder: &Path) -> bool {
    fs::read_dir(folder).is_ok_and(|entries| {
        entries.flatten().all(|entry| {
            let name = entry.file_name();
            let leftovers = [TOKENS, identity::FILE, VOCABULARY];
            name.as_encoded_bytes().starts_with(b".") || leftovers.iter().any(|left| name == **left)
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_one_process_s_until_it_is_let_go() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run");
        let hold = Hold::take(&path).unwrap();
        let error = Hold::take(&path).unwrap_err();
        assert!(matches!(error, TrainError::RunInUse { .. }), "{error}");
        check_folder(&path, false).unwrap();
        drop(hold);
        Hold::take(&path).unwrap();
    }

    #[test]
    fn a_folder_with_something_else_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("thesis.txt"), "").unwrap();
        for resume in [false, true] {
            let error = check_folder(folder.path(), resume).unwrap_err();
            assert!(matches!(error, TrainError::RunExists { .. }), "{error}");
        }
        fs::write(folder.path().join(CONFIG), "").unwrap();
        check_folder(folder.path(), true).unwrap();
        check_folder(folder.path(), false).unwrap_err();
    }
}
