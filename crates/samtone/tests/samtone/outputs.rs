//! Where results and messages go: to files, pipes and links, and to readers that go away.

use std::fs;
use std::io::Read;
use std::os::unix::fs::{FileTypeExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Stdio};

/// `samtone` in the folder of the snapshots' inputs.
fn samtone(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_samtone"));
    command.current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cli")).args(arguments);
    command
}

/// Runs a command whose readers of stdout and stderr have gone away, and returns its exit code.
fn code_unread(command: &mut Command) -> Option<i32> {
    // A pipe without a reader is what a reader that goes away leaves.
    let unread = || {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        Stdio::from(writer)
    };
    command.stdin(Stdio::null()).stdout(unread()).stderr(unread()).status().unwrap().code()
}

#[test]
fn nobody_need_read_what_a_command_says() {
    let lint = ["lint", "lint.in/data", "--deny"];
    assert_eq!(code_unread(&mut samtone(&lint)), Some(1));
    let refused = ["bm25", "--data", "bm25.in/wells", "--split", "tset"];
    assert_eq!(code_unread(&mut samtone(&refused)), Some(1));
    let spoken = ["bm25", "--data", "bm25.in/wells", "--split", "train"];
    assert_eq!(code_unread(&mut samtone(&spoken)), Some(0));
    assert_eq!(code_unread(&mut samtone(&["bm25", "--nonsense"])), Some(2));
    assert_eq!(code_unread(&mut samtone(&["--help"])), Some(0));
}

#[cfg(feature = "flex")]
#[test]
fn nobody_need_read_what_a_training_says() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    let mut train =
        samtone(&["train", "--set", "train.steps=2", "--set", "model.encoder.layers=1"]);
    assert_eq!(code_unread(train.arg("--run-dir").arg(&run)), Some(0));
    assert!(run.join("model/model.safetensors").is_file());
}

/// The commands that write a file without a model, but for its name.
const WRITING: [&[&str]; 4] = [
    &["bm25", "--data", "bm25.in/wells", "--split", "train", "--out"],
    &["mine", "--data", "mine.in/wells", "--bm25", "--out"],
    &["eval", "--run", "eval.in/dense.trec", "--qrels", "eval.in/qrels.txt", "--mteb"],
    &["loss", "--embeddings", "loss.in/pairs.safetensors", "--gradients"],
];

fn write(arguments: &[&str], path: &Path) {
    let output = samtone(arguments).arg(path).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_file_has_the_mode_of_the_umask_and_its_folder_is_made() {
    let folder = tempfile::tempdir().unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode();
    fs::write(folder.path().join("plain"), "").unwrap();
    for (i, arguments) in WRITING.iter().enumerate() {
        let path = folder.path().join(format!("{i}/deep/file"));
        write(arguments, &path);
        assert!(fs::metadata(&path).unwrap().len() > 0, "{arguments:?}");
        assert_eq!(mode(&path), mode(&folder.path().join("plain")), "{arguments:?}");
    }
}

#[test]
fn a_link_is_followed_and_a_pipe_written_to() {
    let folder = tempfile::tempdir().unwrap();
    for (i, arguments) in WRITING.iter().enumerate() {
        let place = |name: &str| folder.path().join(format!("{name}{i}"));
        let (file, target, link, pipe) =
            (place("file"), place("target"), place("link"), place("pipe"));
        write(arguments, &file);
        fs::write(&target, "old").unwrap();
        symlink(&target, &link).unwrap();
        write(arguments, &link);
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink(), "{arguments:?}");
        assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let mut read = Vec::new();
        std::thread::scope(|scope| {
            scope.spawn(|| write(arguments, &pipe));
            fs::File::open(&pipe).unwrap().read_to_end(&mut read).unwrap();
        });
        assert!(fs::symlink_metadata(&pipe).unwrap().file_type().is_fifo(), "{arguments:?}");
        if arguments[0] != "eval" {
            // The MTEB file holds how long it took.
            let expected = fs::read(&file).unwrap();
            assert_eq!(fs::read(&target).unwrap(), expected, "{arguments:?}");
            assert_eq!(read, expected, "{arguments:?}");
        }
    }
}
