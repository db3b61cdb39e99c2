//! Writing files and folders that are whole or absent.
//!
//! [`write_whole`] lets a closure fill a file, [`replace`] takes its bytes, [`write_folder`] lets a
//! closure fill a folder; [`prepare_file`] finds out before the work whether a place can be written, and
//! [`give_usual_mode`] mends what another's writing left.
//!
//! Everything is written beside its place under another name, flushed to the disk and renamed, so
//! that a reader sees the old content or the new one and a crash leaves no half. A link is
//! followed. What is no regular file (a pipe, a device) is written to, never replaced. Files get the
//! modes of the umask.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

/// Where Linux shows the streams of processes.
const PROCESSES: &str = "/proc";

/// Most links that are followed one after the other.
const MAX_LINKS: usize = 40;

/// Lets `write` fill the file at `path`, which then appears or changes at once.
///
/// # Errors
/// `write`'s own, or one of writing the file; the old content stays then.
pub fn write_whole<T, E: From<io::Error>>(
    path: &Path,
    write: impl FnOnce(&mut BufWriter<File>) -> Result<T, E>,
) -> Result<T, E> {
    let target = follow(path)?;
    if !is_replaceable(&target)? {
        let file = OpenOptions::new().append(true).open(&target)?;
        let mut out = BufWriter::new(file);
        let value = write(&mut out)?;
        out.flush()?;
        return Ok(value);
    }
    let partial = partial_beside(&target)?;
    let mut out = BufWriter::new(partial.reopen()?);
    let value = write(&mut out)?;
    out.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
    partial.persist(&target).map_err(|error| error.error)?;
    flush_folder(parent(&target))?;
    Ok(value)
}

/// Replaces the content of the file at `path` by `bytes`, as [`write_whole`] does.
///
/// # Errors
/// One of writing the file; the old content stays then.
pub fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    write_whole(path, |out| out.write_all(bytes))
}

/// Lets `write` fill a folder, which then appears at `path` at once, in the place of what is there.
///
/// # Errors
/// `write`'s own, or one of moving the folder; what was there stays then.
pub fn write_folder<T, E: From<io::Error>>(
    path: &Path,
    write: impl FnOnce(&Path) -> Result<T, E>,
) -> Result<T, E> {
    fs::create_dir_all(parent(path))?;
    let path = &follow(path)?;
    let folder = parent(path);
    let partial = tempfile::Builder::new().prefix(&hidden(path)).tempdir_in(folder)?;
    let inside = partial.path().join("whole");
    fs::create_dir(&inside)?;
    let value = write(&inside)?;
    flush_tree(&inside)?;
    if path.exists() {
        // Two renames: for a moment there is nothing at `path`, never a half.
        fs::rename(path, partial.path().join("old"))?;
    }
    fs::rename(&inside, path)?;
    flush_folder(folder)?;
    Ok(value)
}

/// Makes sure, before the work, that a file can be written at `path`: makes the folders above it and
/// tries.
///
/// # Errors
/// What would keep [`write_whole`] from beginning.
pub fn prepare_file(path: &Path) -> io::Result<()> {
    fs::create_dir_all(parent(path))?;
    let target = follow(path)?;
    if is_replaceable(&target)? {
        partial_beside(&target).map(drop)
    } else if fs::metadata(&target)?.permissions().readonly() {
        Err(io::ErrorKind::PermissionDenied.into())
    } else {
        Ok(())
    }
}

/// Gives the file at `path`, which something else wrote for its owner alone, the mode of the umask.
///
/// # Errors
/// If it is not there, or its mode cannot be changed.
pub fn give_usual_mode(path: &Path) -> io::Result<()> {
    let new = new_file(parent(path), &hidden(path))?;
    fs::set_permissions(path, new.as_file().metadata()?.permissions())
}

/// Whether a new file may take the place of what is at `path`.
fn is_replaceable(path: &Path) -> io::Result<bool> {
    match fs::metadata(path) {
        Ok(found) if found.is_dir() => Err(io::ErrorKind::IsADirectory.into()),
        Ok(found) => Ok(found.is_file() && !path.starts_with(PROCESSES)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
        Err(error) => Err(error),
    }
}

/// Where the links at `path` lead; they may end where nothing is yet. A process's own stream
/// (`/dev/stdout`, a shell's `>(...)`) is itself: its link says what it is, not always where.
fn follow(path: &Path) -> io::Result<PathBuf> {
    let mut target = path.to_owned();
    for _ in 0..MAX_LINKS {
        if let (Ok(folder), Some(name)) = (fs::canonicalize(parent(&target)), target.file_name()) {
            target = folder.join(name);
        }
        if target.starts_with(PROCESSES) {
            return Ok(target);
        }
        let Ok(next) = fs::read_link(&target) else { return Ok(target) };
        target = parent(&target).join(next);
    }
    Err(io::Error::other("too many links lead from one to the next"))
}

/// A new file beside `target`, with the mode of the one that is there or else of the umask.
fn partial_beside(target: &Path) -> io::Result<NamedTempFile> {
    let partial = new_file(parent(target), &hidden(target))?;
    if let Ok(found) = fs::metadata(target) {
        partial.as_file().set_permissions(found.permissions())?;
    }
    Ok(partial)
}

/// A new file in `folder`, with the mode of the umask.
fn new_file(folder: &Path, prefix: &OsStr) -> io::Result<NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(prefix);
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    builder.tempfile_in(folder)
}

/// The beginning of the names that stand in for `path` while it is written: hidden ones.
fn hidden(path: &Path) -> OsString {
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(".partial-");
    name
}

/// The folder that `path` lies in.
fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    }
}

/// Waits until the disk has everything in `folder`.
fn flush_tree(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() { flush_tree(&path)? } else { File::open(&path)?.sync_all()? }
    }
    flush_folder(folder)
}

/// Waits until the disk has the names in `folder`.
///
/// # Errors
/// What the system says.
pub fn flush_folder(folder: &Path) -> io::Result<()> {
    // Windows cannot open a folder as a file, and flushes its entries with them.
    if cfg!(windows) { Ok(()) } else { File::open(folder)?.sync_all() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_changes_at_once_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.txt");
        replace(&path, b"old").unwrap();
        let torn = write_whole(&path, |out| {
            out.write_all(b"new, but to")?;
            Err::<(), io::Error>(io::Error::other("torn"))
        });
        assert_eq!(torn.unwrap_err().to_string(), "torn");
        assert_eq!(fs::read(&path).unwrap(), b"old");
        replace(&path, b"new").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(names(folder.path()), ["a.txt"]);
    }

    #[test]
    fn a_folder_takes_the_place_of_another_at_once_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("above/model");
        let write = |text: &'static str, ends: io::Result<()>| {
            write_folder(&path, |inside| {
                fs::write(inside.join(text), text)?;
                ends
            })
        };
        write("one", Ok(())).unwrap();
        write("two", Err(io::Error::other("torn"))).unwrap_err();
        assert_eq!(names(&path), ["one"]);
        write("three", Ok(())).unwrap();
        assert_eq!(names(&path), ["three"]);
        assert_eq!(names(path.parent().unwrap()), ["model"]);
    }

    #[test]
    fn a_place_is_tried_before_the_work() {
        let folder = tempfile::tempdir().unwrap();
        prepare_file(&folder.path().join("deep/down/run.trec")).unwrap();
        assert_eq!(names(&folder.path().join("deep/down")), [""; 0]);
        fs::write(folder.path().join("file"), "").unwrap();
        prepare_file(&folder.path().join("file/run.trec")).unwrap_err();
        let error = prepare_file(folder.path()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::IsADirectory);
    }

    #[cfg(unix)]
    #[test]
    fn links_are_followed_and_what_is_no_file_is_written_to() {
        use std::os::unix::fs::{FileTypeExt, PermissionsExt, symlink};
        let folder = tempfile::tempdir().unwrap();
        let place = |name: &str| folder.path().join(name);
        fs::create_dir(place("sub")).unwrap();
        fs::write(place("sub/target"), "old").unwrap();
        symlink("sub/target", place("link")).unwrap();
        symlink("sub/none", place("dangling")).unwrap();
        for link in ["link", "dangling"] {
            replace(&place(link), b"new").unwrap();
            assert!(fs::symlink_metadata(place(link)).unwrap().is_symlink());
            assert_eq!(fs::read(place(link)).unwrap(), b"new");
        }
        symlink("sub", place("linked")).unwrap();
        write_folder(&place("linked"), |inside| fs::write(inside.join("whole"), "")).unwrap();
        assert!(fs::symlink_metadata(place("linked")).unwrap().is_symlink());
        assert_eq!(names(&place("sub")), ["whole"]);
        replace(&place("sub/target"), b"new").unwrap();
        fs::set_permissions(place("sub/target"), PermissionsExt::from_mode(0o640)).unwrap();
        replace(&place("sub/target"), b"newer").unwrap();
        let mode = fs::metadata(place("sub/target")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o640);
        let pipe = place("pipe");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status().unwrap();
        assert!(made.success());
        let reader = std::thread::spawn({
            let pipe = pipe.clone();
            move || fs::read(pipe).unwrap()
        });
        replace(&pipe, b"through").unwrap();
        assert_eq!(reader.join().unwrap(), b"through");
        assert!(fs::symlink_metadata(&pipe).unwrap().file_type().is_fifo());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_stream_that_the_process_has_is_written_to_wherever_it_ends() {
        use std::os::fd::AsRawFd;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("redirected");
        fs::write(&path, "before ").unwrap();
        let stream = OpenOptions::new().append(true).open(&path).unwrap();
        for place in ["/dev/fd", "/proc/self/fd"] {
            let place = Path::new(place).join(stream.as_raw_fd().to_string());
            prepare_file(&place).unwrap();
            replace(&place, b"and after ").unwrap();
        }
        assert_eq!(fs::read(&path).unwrap(), b"before and after and after ");
        // A file in memory is a file.
        if let Ok(folder) = tempfile::tempdir_in("/dev/shm") {
            let path = folder.path().join("run");
            replace(&path, b"one").unwrap();
            replace(&path, b"two").unwrap();
            assert_eq!(fs::read(&path).unwrap(), b"two");
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_new_file_has_the_mode_that_the_umask_leaves() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        replace(&folder.path().join("ours"), b"").unwrap();
        fs::write(folder.path().join("plain"), b"").unwrap();
        let mode =
            |name: &str| fs::metadata(folder.path().join(name)).unwrap().permissions().mode();
        assert_eq!(mode("ours"), mode("plain"));
    }
}
